/* SPDX-License-Identifier: MIT */
/*
 * Programs whose memory is counted: allocate as told, then print /proc/self/smaps
 *
 *	footprint threads N EVENTS	N threads at once, each EVENTS allocations and frees
 *	footprint short N EVENTS	N threads one after the other
 *	footprint stacks N		N allocations, each by a call path of its own
 *
 * Nothing is live when the memory is counted, and the program's own memory does not depend on what
 * is preloaded: what the numbers have more under a tracer is the tracer's.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_THREADS = 256 };

static pthread_barrier_t all_done, counted;
static long n_events;

static void allocate(long n)
{
	for (long i = 0; i < n; i += 2) {
		char *block = malloc(16 + (size_t)i % 256);

		if (block)
			*(volatile char *)block = 1; /* so that the pair is not left out */
		free(block);
	}
}

static void print_smaps(void)
{
	char text[4096];
	ssize_t n;
	int fd = open("/proc/self/smaps", O_RDONLY);

	if (fd < 0)
		exit(3);
	while ((n = read(fd, text, sizeof(text))) > 0)
		if (write(1, text, (size_t)n) != n)
			exit(3);
	close(fd);
}

static void *stay(void *arg)
{
	(void)arg;
	allocate(n_events);
	pthread_barrier_wait(&all_done);
	pthread_barrier_wait(&counted);
	return NULL;
}

static void *leave(void *arg)
{
	(void)arg;
	allocate(n_events);
	return NULL;
}

static int threads(unsigned n)
{
	pthread_t ids[MAX_THREADS];

	if (n > MAX_THREADS)
		return 2;
	pthread_barrier_init(&all_done, NULL, n + 1);
	pthread_barrier_init(&counted, NULL, n + 1);
	for (unsigned i = 0; i < n; i++)
		if (pthread_create(&ids[i], NULL, stay, NULL) != 0)
			return 1;
	pthread_barrier_wait(&all_done);
	print_smaps();
	pthread_barrier_wait(&counted);
	for (unsigned i = 0; i < n; i++)
		pthread_join(ids[i], NULL);
	return 0;
}

static int short_threads(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		pthread_t id;

		if (pthread_create(&id, NULL, leave, NULL) != 0)
			return 1;
		pthread_join(id, NULL);
	}
	print_smaps();
	return 0;
}

/* A path of 20 calls, left or right by the bits of `path`. */
static int left(unsigned path, unsigned depth);
static int right(unsigned path, unsigned depth);

static int descend(unsigned path, unsigned depth)
{
	if (depth == 0) {
		allocate(1);
		return 1;
	}
	return path & 1 ? left(path >> 1, depth - 1) + 1 : right(path >> 1, depth - 1) + 2;
}

__attribute__((noinline)) static int left(unsigned path, unsigned depth)
{
	return descend(path, depth) + 1;
}

__attribute__((noinline)) static int right(unsigned path, unsigned depth)
{
	return descend(path, depth) + 2;
}

static int stacks(unsigned n)
{
	volatile int sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum = descend(i * 2654435761U >> 12, 20);
	(void)sum;
	print_smaps();
	return 0;
}

int main(int argc, char **argv)
{
	unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 0;

	n_events = argc > 3 ? atol(argv[3]) : 0;
	if (n && !strcmp(argv[1], "threads"))
		return threads(n);
	if (n && !strcmp(argv[1], "short"))
		return short_threads(n);
	if (n && !strcmp(argv[1], "stacks"))
		return stacks(n);
	fprintf(stderr, "usage: footprint threads|short N EVENTS | stacks N\n");
	return 2;
}

/* SPDX-License-Identifier: MIT */
/*
 * Microbenchmark of an allocation and its free, at a given stack depth
 *
 *	micro DEPTH THREADS PAIRS [cross]
 *
 * Each thread keeps 10 000 live blocks: a step takes one of about 1 000 random call paths of DEPTH
 * frames that part near the root, frees an old block at the leaf and allocates a new one. With
 * `cross` a thread frees what the other has allocated. Prints nanoseconds a pair (wall, one
 *thread's view).
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_LIVE = 10000, N_PATHS = 1000, MAX_THREADS = 16 };

struct worker {
	unsigned path, state, size;
	void *_Atomic *slot;
};

static unsigned depth;
static long n_pairs;
static void *_Atomic slots[MAX_THREADS][N_LIVE];
static unsigned n_threads;
static int cross;

static unsigned next(unsigned *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

__attribute__((noinline)) static int leaf(struct worker *w)
{
	char *block = malloc(w->size);

	if (block)
		block[0] = (char)w->size;
	free(atomic_exchange_explicit(w->slot, block, memory_order_acq_rel));
	return 1;
}

/* Four functions call each other in an order that the path decides: no two frames look the same. */
#define STEP(name) __attribute__((noinline)) static int name(struct worker *w, unsigned left)
STEP(step_a);
STEP(step_b);
STEP(step_c);
STEP(step_d);

static int descend(struct worker *w, unsigned left)
{
	if (left == 0)
		return leaf(w);
	switch (next(&w->path) & 3) {
	case 0:
		return step_a(w, left - 1) + 1;
	case 1:
		return step_b(w, left - 1) + 2;
	case 2:
		return step_c(w, left - 1) + 3;
	default:
		return step_d(w, left - 1) + 4;
	}
}

STEP(step_a)
{
	volatile char pad[8] = {1};

	return descend(w, left) + pad[0];
}

STEP(step_b)
{
	volatile char pad[24] = {1};

	return descend(w, left) + pad[0];
}

STEP(step_c)
{
	volatile char pad[40] = {1};

	return descend(w, left) + pad[0];
}

STEP(step_d)
{
	volatile char pad[56] = {1};

	return descend(w, left) + pad[0];
}

static void *work(void *arg)
{
	unsigned self = (unsigned)(uintptr_t)arg, state = self + 1;
	unsigned target = cross ? (self + 1) % n_threads : self;
	struct worker w = {0};

	for (long i = 0; i < n_pairs; i++) {
		w.path = next(&state) % N_PATHS * 2654435761U;
		w.size = 16 + next(&state) % 400;
		w.slot = &slots[target][next(&state) % N_LIVE];
		descend(&w,
			depth > 5 ? depth - 5 : 1); /* work, leaf, main and what is below main */
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[MAX_THREADS];
	struct timespec begin, end;

	if (argc < 4 || atoi(argv[2]) < 1 || atoi(argv[2]) > MAX_THREADS) {
		fprintf(stderr, "usage: micro DEPTH THREADS PAIRS [cross]\n");
		return 2;
	}
	depth = (unsigned)atoi(argv[1]);
	n_threads = (unsigned)atoi(argv[2]);
	n_pairs = atol(argv[3]);
	cross = argc > 4 && !strcmp(argv[4], "cross");

	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (n_threads == 1) {
		work(NULL);
	} else {
		for (unsigned i = 0; i < n_threads; i++)
			pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i);
		for (unsigned i = 0; i < n_threads; i++)
			pthread_join(threads[i], NULL);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.1f ns a pair\n",
	       ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
		       (double)n_pairs);
	return 0;
}

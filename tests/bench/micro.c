/* SPDX-License-Identifier: MIT */
/*
 * Microbenchmark of an allocation and its free, at a given stack depth
 *
 *	micro DEPTH THREADS PAIRS [BURST [cross]]
 *
 * Each thread keeps 10 000 live blocks: a step takes one of about 1 000 random call paths of DEPTH
 * calls that part near the root, and at the leaf, BURST times (1), frees an old block and allocates
 * a new one. With the leaf, main() and what is below main() a stack has DEPTH + 6 frames in one
 * thread. With `cross` the threads share one table of blocks, so that of two threads each frees
 *what the other has allocated every second time. Prints nanoseconds a pair (wall, one thread's
 *view).
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
	unsigned path, state;
	void *_Atomic *slots; /* N_LIVE: those that this worker renews */
};

static unsigned depth, burst = 1;
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
	for (unsigned i = 0; i < burst; i++) {
		unsigned size = 16 + next(&w->state) % 400;
		void *_Atomic *slot = &w->slots[next(&w->state) % N_LIVE];
		char *block = malloc(size);

		if (block)
			block[0] = (char)size;
		free(atomic_exchange_explicit(slot, block, memory_order_acq_rel));
	}
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
	unsigned self = (unsigned)(uintptr_t)arg;
	struct worker w = {.state = self + 1, .slots = slots[cross ? 0 : self]};

	for (long i = 0; i < n_pairs; i += burst) {
		w.path = next(&w.state) % N_PATHS * 2654435761U;
		descend(&w, depth);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[MAX_THREADS];
	struct timespec begin, end;

	if (argc < 4 || atoi(argv[2]) < 1 || atoi(argv[2]) > MAX_THREADS) {
		fprintf(stderr, "usage: micro DEPTH THREADS PAIRS [BURST [cross]]\n");
		return 2;
	}
	depth = (unsigned)atoi(argv[1]);
	n_threads = (unsigned)atoi(argv[2]);
	n_pairs = atol(argv[3]);
	burst = argc > 4 && atoi(argv[4]) > 0 ? (unsigned)atoi(argv[4]) : 1;
	cross = argc > 5 && !strcmp(argv[5], "cross");

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

/* SPDX-License-Identifier: MIT */
/*
 * Threads hand blocks to each other as fast as they can
 *
 *	handoff THREADS EVENTS SLOTS
 *
 * A few slots hold blocks. Each step takes what is in one and leaves something else there: a new
 * block, nothing, or the block that another slot had, reallocated. So nearly all blocks die in
 * another thread than the one that they were born in, at once, and the allocator hands their
 * addresses out again in a third. Sizes are few, so that addresses come back often; one in 64 lies
 * above glibc's largest bin for threads, so that arenas and their locks take part.
 *
 * Makes EVENTS calls in all, some more at the end to free what is left, and prints their numbers:
 * allocations, frees, reallocations.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_THREADS = 64, MAX_SLOTS = 4096 };

struct worker {
	pthread_t thread;
	unsigned state;
	unsigned long n_events; /* to make */
	unsigned long n_allocs, n_frees, n_reallocs;
};

static void *_Atomic slots[MAX_SLOTS];
static unsigned n_slots;

static unsigned next(struct worker *w)
{
	w->state = w->state * 1664525 + 1013904223;
	return w->state >> 8;
}

static size_t some_size(struct worker *w)
{
	unsigned draw = next(w) % 64;

	return draw ? 16 + draw % 4 * 16 : 3000 + next(w) % 3000;
}

static void release(struct worker *w, void *block)
{
	if (block) {
		free(block);
		w->n_frees++;
	}
}

static void *handoff(void *argument)
{
	struct worker *w = argument;

	while (w->n_allocs + w->n_frees + w->n_reallocs < w->n_events) {
		void *_Atomic *slot = &slots[next(w) % n_slots];
		unsigned draw = next(w) % 8;
		void *block = NULL;

		if (draw == 0) {
			block = atomic_exchange(&slots[next(w) % n_slots], NULL);
			if (block) {
				block = realloc(block, some_size(w));
				w->n_reallocs++;
			}
		} else if (draw < 7) {
			block = malloc(some_size(w));
			w->n_allocs++;
		}
		release(w, atomic_exchange(slot, block));
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct worker workers[MAX_THREADS];
	struct worker *all = &workers[0];
	unsigned n_threads;
	unsigned long n_events;

	if (argc != 4)
		return 2;
	n_threads = (unsigned)atoi(argv[1]);
	n_events = strtoul(argv[2], NULL, 0);
	n_slots = (unsigned)atoi(argv[3]);
	if (!n_threads || n_threads > MAX_THREADS || !n_slots || n_slots > MAX_SLOTS)
		return 2;

	for (unsigned i = 0; i < n_threads; i++) {
		workers[i].state = i * 7919 + 1;
		workers[i].n_events = n_events / n_threads;
		if (pthread_create(&workers[i].thread, NULL, handoff, &workers[i]))
			return 3;
	}
	for (unsigned i = 0; i < n_threads; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < n_slots; i++)
		release(all, slots[i]);
	for (unsigned i = 1; i < n_threads; i++) {
		all->n_allocs += workers[i].n_allocs;
		all->n_frees += workers[i].n_frees;
		all->n_reallocs += workers[i].n_reallocs;
	}
	printf("%lu %lu %lu\n", all->n_allocs, all->n_frees, all->n_reallocs);
	return 0;
}

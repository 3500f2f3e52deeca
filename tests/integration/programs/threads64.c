/* SPDX-License-Identifier: MIT */
/*
 * A program of 64 threads that hand blocks to each other
 *
 * Each thread allocates, keeps some, and gives every fourth block to its neighbour, which frees it.
 * What it prints depends on the work alone, not on the schedule.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_THREADS = 64, N_ROUNDS = 4000, N_KEPT = 32 };

struct worker {
	pthread_t thread;
	_Atomic(char *) mailbox; /* a block for this worker to free, or NULL */
	struct worker *neighbour;
	uint32_t random;
	uint64_t sum;
};

static struct worker workers[N_THREADS];

static uint32_t next_random(struct worker *worker)
{
	worker->random = worker->random * 1664525u + 1013904223u;
	return worker->random >> 8;
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	char *kept[N_KEPT] = {NULL};
	char name[16];

	snprintf(name, sizeof(name), "worker-%d", (int)(worker - workers));
	pthread_setname_np(pthread_self(), name);
	for (int round = 0; round < N_ROUNDS; round++) {
		size_t size = 16 + next_random(worker) % 500;
		char *block = malloc(size);
		int slot = (int)(next_random(worker) % N_KEPT);

		memset(block, round, size);
		worker->sum += size + (unsigned char)block[size - 1];
		if (round % 4 == 0) {
			free(atomic_exchange(&worker->neighbour->mailbox, block));
			free(atomic_exchange(&worker->mailbox, NULL));
		} else {
			free(kept[slot]);
			kept[slot] = block;
		}
	}
	for (int i = 0; i < N_KEPT; i++)
		free(kept[i]);
	return NULL;
}

int main(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < N_THREADS; i++) {
		workers[i].neighbour = &workers[(i + 1) % N_THREADS];
		workers[i].random = (uint32_t)i * 7919u + 1;
		if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0)
			return 1;
	}
	for (int i = 0; i < N_THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		sum += workers[i].sum;
	}
	for (int i = 0; i < N_THREADS; i++)
		free(atomic_exchange(&workers[i].mailbox, NULL));
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}

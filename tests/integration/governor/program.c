/* SPDX-License-Identifier: MIT */
/*
 * A program whose load is told to it, line by line on standard input; answers "ok"
 *
 *	load       two threads allocate, reallocate, pass blocks to each other and free, all the
 *time rest       they stop, and have freed all that they had keep N S   allocates N blocks of S
 *bytes in keep_here() drop N     frees the N oldest of these end        prints the address and size
 *of each block that is left of them, and exits
 *
 * The blocks of the load have sizes below 1000 and from 70001 to 70999, kept ones others.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 100000, PASSED = 256 };

static struct {
	void *volatile block;
	size_t size;
} kept[MAX];
static unsigned n_kept, first;

static _Atomic int loaded, n_resting;
static _Atomic(void *) passed[PASSED];

__attribute__((noinline)) static void keep_here(unsigned n, size_t size)
{
	while (n-- > 0 && n_kept < MAX) {
		kept[n_kept].block = malloc(size);
		kept[n_kept++].size = size;
	}
}

__attribute__((noinline)) static void *deep(unsigned depth, size_t size)
{
	void *volatile block = depth ? deep(depth - 1, size) : malloc(size);

	return block;
}

/* One thread puts blocks in, the other one takes them out; both may find that the other is slow. */
static void work(unsigned id, unsigned i)
{
	void *volatile own = deep(i % 40, 16 + i % 900);
	void *volatile grown = malloc(8);

	grown = realloc(grown, i % 100 ? 100 + i % 500 : 70001 + i % 999);
	free(own);
	if (id == 0)
		free(atomic_exchange(&passed[i % PASSED], malloc(1 + i % 600)));
	else
		free(atomic_exchange(&passed[i * 7 % PASSED], NULL));
	free(grown);
}

static void *run(void *arg)
{
	unsigned id = (unsigned)(size_t)arg;

	for (unsigned i = 0;; i++) {
		if (!atomic_load(&loaded)) {
			for (unsigned k = 0; id == 0 && k < PASSED; k++)
				free(atomic_exchange(&passed[k], NULL));
			atomic_fetch_add(&n_resting, 1);
			while (!atomic_load(&loaded)) {
				struct timespec a_while = {.tv_nsec = 1000000};

				nanosleep(&a_while, NULL);
			}
			atomic_fetch_sub(&n_resting, 1);
		}
		work(id, i);
	}
	return NULL;
}

static void wait_for_resting(int n)
{
	while (atomic_load(&n_resting) != n) {
		struct timespec a_while = {.tv_nsec = 1000000};

		nanosleep(&a_while, NULL);
	}
}

int main(void)
{
	pthread_t threads[2];
	char line[64];

	for (size_t i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, run, (void *)i);
	wait_for_resting(2);
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "end\n") != 0) {
		unsigned n, size;

		if (sscanf(line, "keep %u %u", &n, &size) == 2)
			keep_here(n, size);
		else if (sscanf(line, "drop %u", &n) == 1)
			for (; n > 0 && first < n_kept; n--)
				free(kept[first++].block);
		else if (strcmp(line, "load\n") == 0)
			atomic_store(&loaded, 1);
		else if (strcmp(line, "rest\n") == 0) {
			atomic_store(&loaded, 0);
			wait_for_resting(2);
			/* What the one put in after the other had looked. */
			for (unsigned k = 0; k < PASSED; k++)
				free(atomic_exchange(&passed[k], NULL));
		}
		puts("ok");
		fflush(stdout);
	}
	for (; first < n_kept; first++)
		printf("%zu %zu\n", (size_t)kept[first].block, kept[first].size);
	return 0;
}

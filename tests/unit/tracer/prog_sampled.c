/* SPDX-License-Identifier: MIT */
/* Scenes for the tests of sampling; argv[1] names one. Numbers go to stdout as "name hex". */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *name, uint64_t value)
{
	dprintf(1, "%s %lx\n", name, (unsigned long)value);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* ---- handoff: whoever made a block, the next thread frees it or makes it larger */

enum { THREADS = 3, ROUNDS = 150000, HANDS = 256 };

static _Atomic(void *) hands[THREADS][HANDS];
static _Atomic uint64_t n_blocks, n_bytes;

static void *hand_on(void *argument)
{
	size_t me = (size_t)(uintptr_t)argument;
	uint64_t state = me + 1, bytes = 0, blocks = 0;

	for (unsigned made = 0; made < ROUNDS; made++) {
		uint64_t r = next_random(&state);
		/* 16 to 2000 bytes, now and then 100 000. */
		size_t size = r % 1000 == 0 ? 100000 : 16 + r % 1985;
		void *block = malloc(size), *old;

		bytes += size;
		blocks++;
		if ((r >> 16 & 7) == 0) {
			block = realloc(block, size += 500);
			bytes += size;
			blocks++;
		}
		old = atomic_exchange(&hands[(me + 1) % THREADS][r >> 32 & (HANDS - 1)], block);
		free(old);

		/* Every other one that comes here is made larger, or smaller, and handed on. */
		old = atomic_exchange(&hands[me][r >> 48 & (HANDS - 1)], NULL);
		if (old && r & UINT64_C(1) << 62) {
			size = 16 + (r >> 20) % 3000;
			old = realloc(old, size);
			bytes += size;
			blocks++;
			old = atomic_exchange(&hands[me][r >> 40 & (HANDS - 1)], old);
		}
		free(old);
	}
	atomic_fetch_add(&n_blocks, blocks);
	atomic_fetch_add(&n_bytes, bytes);
	return NULL;
}

static int scene_handoff(void)
{
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, hand_on, (void *)(uintptr_t)i) != 0)
			return 1;
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < THREADS; i++)
		for (size_t k = 0; k < HANDS; k++)
			free(hands[i][k]);
	tell("blocks", n_blocks);
	tell("bytes", n_bytes);
	return 0;
}

/* ---- fork: the child frees what its parent made */

static int scene_fork(void)
{
	enum { N = 20000 };
	static void *blocks[N];
	pid_t child;
	int status;

	for (size_t i = 0; i < N; i++)
		blocks[i] = malloc(100 + i % 100);
	child = fork();
	for (size_t i = 0; i < N; i++)
		free(blocks[i]);
	for (size_t i = 0; i < N; i++)
		blocks[i] = malloc(300);
	for (size_t i = 0; i < N; i++)
		free(blocks[i]);
	if (child == 0)
		_exit(0);
	return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}

/* ---- realloc: one block, larger and larger, and a failure in between */

static int scene_realloc(void)
{
	char *block = malloc(64), *failed;

	tell("first", (uintptr_t)block);
	block = realloc(block, 50000000);
	tell("second", (uintptr_t)block);
	failed = realloc(block, SIZE_MAX / 4);
	if (failed)
		return 1;
	block[0] = 1;
	block = realloc(block, 60000000);
	free(block);
	block = malloc(40000000);
	block = realloc(block, 0);
	return block != NULL;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (!strcmp(name, "handoff"))
		return scene_handoff();
	if (!strcmp(name, "fork"))
		return scene_fork();
	if (!strcmp(name, "realloc"))
		return scene_realloc();
	return 2;
}

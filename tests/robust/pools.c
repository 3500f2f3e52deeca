/* SPDX-License-Identifier: MIT */
/*
 * Pools that tell of themselves. Sizes say what is what:
 *	66001 memory of the pool	66011 objects that stay		66012 objects that are given
 *back 66013 objects that a reset lets go	66014 objects of threads	66015 objects in a
 *mapping
 *
 * With an argument: so many rounds of objects of 66014 bytes beside blocks of all sizes, and
 * nothing else.
 */
#include <fragtrace/mark.h>

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char *memory;
static int shared_pool;

static char *at(unsigned i)
{
	return memory + i * 16;
}

static void *in_thread(void *argument)
{
	unsigned first = *(unsigned *)argument;

	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < 10; i++)
			fragtrace_pool_alloc(&shared_pool, at(first + i), 66014);
		for (unsigned i = 0; i < 10; i++)
			fragtrace_pool_free(&shared_pool, at(first + i));
	}
	return NULL;
}

static void churn(long rounds)
{
	memory = malloc(66001);
	fragtrace_pool_create(&shared_pool, "churn");
	fragtrace_pool_add(&shared_pool, memory);
	for (long round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < 200; i++)
			fragtrace_pool_alloc(&shared_pool, at(i), 66014);
		for (unsigned i = 0; i < 200; i++) {
			/* What compresses badly makes the recording longer. */
			void *volatile block = malloc(100 + (size_t)(rand() % 3000));

			fragtrace_pool_free(&shared_pool, at(i));
			free(block);
		}
	}
	fragtrace_pool_alloc(&shared_pool, at(0), 66014);
}

int main(int argc, char **argv)
{
	int pool, scratch, unnamed;
	unsigned firsts[4] = {1000, 1100, 1200, 1300};
	pthread_t threads[4];
	char *mapped =
		mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (argc > 1) {
		churn(strtol(argv[1], NULL, 10));
		return 0;
	}
	memory = malloc(66001);
	fragtrace_pool_create(&pool, "a pool");
	fragtrace_pool_create(&scratch, "scratch; \"2\"");
	fragtrace_pool_add(&pool, memory);
	fragtrace_pool_add(&pool, mapped); /* is no block */
	/* The first one begins where the block does. */
	for (unsigned i = 0; i < 10; i++)
		fragtrace_pool_alloc(&pool, at(i), 66011);
	for (unsigned i = 10; i < 40; i++)
		fragtrace_pool_alloc(&pool, at(i), 66012);
	for (unsigned i = 10; i < 40; i++)
		fragtrace_pool_free(&pool, at(i));
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 100; i < 120; i++)
			fragtrace_pool_alloc(&scratch, at(i), 66013);
		fragtrace_pool_reset(&scratch);
	}
	for (unsigned i = 100; i < 107; i++)
		fragtrace_pool_alloc(&scratch, at(i), 66013);
	fragtrace_pool_destroy(&scratch);
	fragtrace_pool_alloc(&unnamed, mapped, 66015);
	for (unsigned i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, in_thread, &firsts[i]);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

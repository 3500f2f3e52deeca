/* SPDX-License-Identifier: MIT */
/*
 * Each C allocation call, on two threads, under whatever allocator is preloaded
 *
 * The sizes are in no use elsewhere, so that a recording can be asked for them one by one:
 * allocators.py knows them. What it prints depends on the contents of the blocks alone.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 200 };

static void *fill(void *block, size_t size)
{
	if (!block)
		abort();
	return memset(block, 'x', size);
}

static void *work(void *unused)
{
	size_t sum = 0;

	for (int i = 0; i < N; i++) {
		void *aligned = NULL;
		char *grown = fill(malloc(30011), 30011);

		free(fill(malloc(30001), 30001));
		free(fill(calloc(3, 10001), 30003));
		if (posix_memalign(&aligned, 128, 30007) != 0)
			abort();
		free(fill(aligned, 30007));
		free(fill(aligned_alloc(64, 30016), 30016));
		free(fill(memalign(64, 30017), 30017));

		grown = realloc(grown, 90001);
		fill(grown + 30011, 90001 - 30011);
		grown = realloc(grown, 20011);
		grown = reallocarray(grown, 3, 10007);
		for (int j = 0; j < 20011; j++)
			sum += grown[j] == 'x';
		free(grown);
	}
	if (!fill(malloc(30029), 30029)) /* stays */
		abort();
	printf("%zu\n", sum);
	return unused;
}

int main(void)
{
	pthread_t thread;

	work(NULL);
	if (pthread_create(&thread, NULL, work, NULL) != 0)
		abort();
	pthread_join(thread, NULL);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Blocks by an allocator's own names: test-doors ALLOCATE RESIZE RELEASE [COMMON]
 *
 * The functions are looked up as the program's own would be. 100 blocks of 63001 bytes come, 50 of
 * them grow to 63002, and all go again; then as many of 63003 by malloc(), going by free(); with
 * COMMON, 63004 by ALLOCATE go by free(). jemalloc's names take flags after that, 0 here.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 100 };

static void *find(const char *name)
{
	void *function = dlsym(RTLD_DEFAULT, name);

	if (!function) {
		fprintf(stderr, "test-doors: no %s\n", name);
		exit(3);
	}
	return function;
}

int main(int argc, char **argv)
{
	void *(*allocate)(size_t, int), *(*resize)(void *, size_t, int), (*release)(void *, int);
	void *blocks[N];

	if (argc < 4)
		return 2;
	*(void **)&allocate = find(argv[1]);
	*(void **)&resize = find(argv[2]);
	*(void **)&release = find(argv[3]);
	for (int i = 0; i < N; i++) {
		blocks[i] = allocate(63001, 0);
		memset(blocks[i], i, 63001);
	}
	for (int i = 0; i < N / 2; i++)
		blocks[i] = resize(blocks[i], 63002, 0);
	for (int i = 0; i < N; i++)
		release(blocks[i], 0);
	for (int i = 0; i < N; i++) {
		blocks[i] = malloc(63003);
		memset(blocks[i], i, 63003);
	}
	for (int i = 0; i < N; i++)
		free(blocks[i]);
	for (int i = 0; i < N && argc > 4; i++) {
		blocks[i] = allocate(63004, 0);
		memset(blocks[i], i, 63004);
	}
	for (int i = 0; i < N && argc > 4; i++)
		free(blocks[i]);
	puts("done");
	return 0;
}

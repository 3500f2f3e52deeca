/* SPDX-License-Identifier: MIT */
/*
 * A heap with survivors, and what malloc_trim() really returns of it
 *
 *	survivors scattered|clustered a|b
 *
 * 200 000 blocks of three sites; 15 % outlive the rest, one by one among them or in runs. All
 * blocks of site_a are freed and the heap is trimmed; with `b` those of site_b follow. Prints how
 * many resident pages of the heap the last trim returned, by its own page table.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 200000, PAGE = 4096, RUN = 2000 };

static char *blocks[BLOCKS], sites[BLOCKS];
static uint64_t state = UINT64_C(88172645463325252);

static unsigned below(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state % n);
}

__attribute__((noinline)) static char *site_a(size_t size)
{
	char *block = malloc(size);

	memset(block, 1, size);
	return block;
}

__attribute__((noinline)) static char *site_b(size_t size)
{
	char *block = malloc(size);

	memset(block, 2, size);
	return block;
}

__attribute__((noinline)) static char *site_c(size_t size)
{
	char *block = malloc(size);

	memset(block, 3, size);
	return block;
}

static void free_all(char site)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		if (sites[i] == site)
			free(blocks[i]);
}

/* Resident pages from the first block to the end of the heap. */
static long resident(void)
{
	uint64_t first = (uint64_t)(uintptr_t)blocks[0] / PAGE;
	uint64_t last = (uint64_t)(uintptr_t)sbrk(0) / PAGE, entry[512];
	int fd = open("/proc/self/pagemap", O_RDONLY);
	long pages = 0;

	if (fd < 0)
		_exit(77);
	while (first < last) {
		size_t want = last - first < 512 ? last - first : 512;
		ssize_t got = pread(fd, entry, want * 8, (off_t)(first * 8));

		if (got <= 0)
			_exit(77);
		for (ssize_t i = 0; i < got / 8; i++)
			pages += (long)(entry[i] >> 63);
		first += (uint64_t)got / 8;
	}
	close(fd);
	return pages;
}

static long trim(void)
{
	long before = resident();

	malloc_trim(0);
	return before - resident();
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;

	static char output[256];

	setvbuf(stdout, output, _IOFBF, sizeof(output)); /* no block after the last free */

	int clustered = strcmp(argv[1], "clustered") == 0;

	for (unsigned i = 0; i < BLOCKS; i++) {
		/* The last one stays, so that the end of the heap takes no part. */
		int survives = clustered ? i / RUN % 7 == 0 : below(100) < 15;
		/* Runs of site b of their own, so that it has pages alone. */
		int b = clustered ? i / RUN % 14 == 0 : below(15) < 2;

		survives |= i == BLOCKS - 1;
		sites[i] = !survives ? 'a' : b ? 'b' : 'c';
		if (i == BLOCKS - 1)
			sites[i] = 'c';
		blocks[i] = sites[i] == 'a'   ? site_a(16 + below(240))
			    : sites[i] == 'b' ? site_b(48)
					      : site_c(16 + below(500));
	}
	free_all('a');
	usleep(2200000); /* longer than samples of its pages are apart */

	long pages = trim();

	if (argv[2][0] == 'b') {
		free_all('b');
		pages = trim();
	}
	printf("%ld\n", pages);
	fflush(stdout);
	_exit(0); /* nothing is torn down */
}

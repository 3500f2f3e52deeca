/* SPDX-License-Identifier: MIT */
/*
 * Ten million allocations, as an application makes them
 *
 * Sizes, lifetimes and call paths are drawn so that they resemble an application's more than a
 * loop's: most blocks are small and die young, some live long, and they come from some dozens of
 * stacks of different depth. Prints a checksum, so that nothing is optimized away.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_SHORT = 64, N_LONG = 65536 };

static uint64_t state = 88172645463325252u;
static void *short_lived[N_SHORT], *long_lived[N_LONG];
static uint64_t sum;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static size_t draw_size(uint64_t r)
{
	static const unsigned char common[16] = {16, 16, 24, 24, 24, 32, 32,  40,
						 48, 48, 64, 64, 80, 96, 128, 200};

	return r % 64 ? common[(r >> 8) % 16] : 256 + (r >> 8) % 4096;
}

static __attribute__((noinline)) void *make(uint64_t r)
{
	size_t size = draw_size(r);
	char *block = malloc(size);

	block[0] = (char)r;
	sum += size;
	return block;
}

/* Call paths: a binary tree of `depth` levels, the way through it drawn from r. */
static void *left(uint64_t r, int depth);
static void *right(uint64_t r, int depth);

static __attribute__((noinline)) void *left(uint64_t r, int depth)
{
	void *block = depth == 0	      ? make(r)
		      : r >> (40 + depth) & 1 ? left(r, depth - 1)
					      : right(r, depth - 1);

	sum++;
	return block;
}

static __attribute__((noinline)) void *right(uint64_t r, int depth)
{
	void *block = depth == 0	      ? make(r)
		      : r >> (40 + depth) & 1 ? right(r, depth - 1)
					      : left(r, depth - 1);

	sum++;
	return block;
}

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000000;

	for (unsigned long i = 0; i < n; i++) {
		uint64_t r = next_random();
		void *block = left(r, 3 + (int)(r >> 32) % 4);
		void **slot = r % 16 ? &short_lived[i % N_SHORT] : &long_lived[(r >> 24) % N_LONG];

		free(*slot);
		*slot = block;
	}
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}

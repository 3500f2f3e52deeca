/* SPDX-License-Identifier: MIT */
/*
 * The buddy: allocations and frees a second
 *
 *	bench_buddy [PAGES]
 *
 * Random traffic on one thread: half of the memory is taken by blocks of orders 0 to 3, as often as
 *the kernel's per-cpu lists take them (most of order 0), then each step frees a random block and
 *allocates another. Once in little memory, which the caches hold, and once in PAGES (4 Mi: 16 GiB
 *of pages of 4 KiB). docs/MODELS.md has what it printed. Fails on no clock.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fa_buddy.h"
#include "fa_ufi.h"

enum { STEPS = 20000000, SMALL_PAGES = 1 << 14, MEDIUM_PAGES = 1 << 18 };

struct block {
	uint32_t page;
	unsigned order;
};

static uint64_t seed = 88172645463325252U;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* 0 for 7 of 8, 1 for 7 of 64, ... */
static unsigned order_of(uint64_t random)
{
	unsigned order = 0;

	while (order < 3 && (random & 7) == 0) {
		random >>= 3;
		order++;
	}
	return order;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run(uint32_t n_pages)
{
	struct fa_buddy buddy;
	struct ft_error *error = fa_buddy_init(&buddy, n_pages, FA_MAX_ORDER, FA_PAGEBLOCK_ORDER);
	struct block *blocks = malloc(n_pages * sizeof(*blocks));
	size_t n = 0;
	double start;

	if (error || !blocks) {
		fputs("bench_buddy: out of memory\n", stderr);
		exit(1);
	}
	fa_buddy_add(&buddy, 0, n_pages);
	while (buddy.free_pages > n_pages / 2) {
		unsigned order = order_of(next());

		blocks[n++] = (struct block){fa_buddy_alloc(&buddy, order, 0), order};
	}
	start = seconds();
	for (unsigned step = 0; step < STEPS; step++) {
		uint64_t random = next();
		struct block *block = &blocks[random % n];
		unsigned order = order_of(random >> 40);

		fa_buddy_free(&buddy, block->page, block->order, false);
		*block = (struct block){fa_buddy_alloc(&buddy, order, 0), order};
	}
	printf("%u pages, %zu blocks: %.1f M operations/s, %.2f splits and %.2f merges each\n",
	       n_pages, n, 2 * (double)STEPS / (seconds() - start) / 1e6,
	       (double)buddy.counts.splits / (double)buddy.counts.allocs,
	       (double)buddy.counts.merges / (double)buddy.counts.frees);
	if (!fa_buddy_check(&buddy)) {
		fputs("bench_buddy: lists and pages differ\n", stderr);
		exit(1);
	}
	free(blocks);
	fa_buddy_deinit(&buddy);
}

int main(int argc, char **argv)
{
	unsigned long n_pages = argc > 1 ? strtoul(argv[1], NULL, 10) : 1UL << 22;

	if (n_pages < SMALL_PAGES || n_pages > UINT32_MAX / 2) {
		fputs("usage: bench_buddy [PAGES], at least 16384\n", stderr);
		return 2;
	}
	run(SMALL_PAGES);
	run(MEDIUM_PAGES);
	run((uint32_t)n_pages);
	return 0;
}

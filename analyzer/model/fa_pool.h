/* SPDX-License-Identifier: MIT */
/*
 * Pool: zeroed pieces of memory that go all at once
 *
 * The records of a large heap are visited at random, and in small pages each visit would miss the
 * TLB: but for the first piece, the memory is asked for in huge pages. Without them it is only
 * slower. Single-threaded.
 */
#ifndef FA_POOL_H
#define FA_POOL_H

#include <stddef.h>

enum { FA_POOL_LINE = 64, FA_POOL_MAX = 2 << 20 };

struct fa_pool {
	unsigned char **chunks; /* owned; zeroed memory is an empty pool */
	size_t n_chunks, room;
	size_t used, size; /* of the last chunk */
};

void fa_pool_deinit(struct fa_pool *pool);

/* `size` bytes, at most FA_POOL_MAX, aligned to a cache line. NULL when out of memory. */
void *fa_pool_take(struct fa_pool *pool, size_t size);

#endif

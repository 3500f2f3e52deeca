/* SPDX-License-Identifier: MIT */
/* Pool: see fa_pool.h. */
#include "fa_pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FIRST_CHUNK = 128 << 10, HUGE_PAGE = 2 << 20 };

void fa_pool_deinit(struct fa_pool *pool)
{
	for (size_t i = 0; i < pool->n_chunks; i++)
		free(pool->chunks[i]);
	free(pool->chunks);
	*pool = (struct fa_pool){0};
}

/* Most heaps are small: the first chunk is in small pages. */
static int add_chunk(struct fa_pool *pool, size_t at_least)
{
	size_t size = pool->n_chunks || at_least > FIRST_CHUNK ? HUGE_PAGE : FIRST_CHUNK;

	if (pool->n_chunks == pool->room) {
		size_t room = pool->room ? pool->room * 2 : 8;
		unsigned char **chunks = realloc(pool->chunks, room * sizeof(*chunks));

		if (!chunks)
			return 0;
		pool->chunks = chunks;
		pool->room = room;
	}

	unsigned char *chunk = aligned_alloc(size == HUGE_PAGE ? HUGE_PAGE : FA_POOL_LINE, size);

	if (!chunk)
		return 0;
	if (size == HUGE_PAGE)
		madvise(chunk, size, MADV_HUGEPAGE);
	pool->chunks[pool->n_chunks++] = chunk;
	pool->used = 0;
	pool->size = size;
	return 1;
}

void *fa_pool_take(struct fa_pool *pool, size_t size)
{
	size = (size + FA_POOL_LINE - 1) & ~(size_t)(FA_POOL_LINE - 1);
	if (size > pool->size - pool->used && !add_chunk(pool, size))
		return NULL;

	unsigned char *piece = pool->chunks[pool->n_chunks - 1] + pool->used;

	pool->used += size;
	return memset(piece, 0, size);
}

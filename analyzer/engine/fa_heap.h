/* SPDX-License-Identifier: MIT */
/*
 * Live heap: the blocks, by number
 *
 * What a number is, the index (fa_index.h) knows; here is what a block is: 64 bytes, one cache
 * line, in segments of one huge page, so that no block is ever copied or moved.
 *
 * While events are resolved ahead, the index is in use by another thread: only what takes a number
 * may be called then.
 *
 *   a number lives here between the step that it is born in and the one that it dies in; n_live of
 *   them do, without the one that is dying
 *
 * Internal to the engine.
 */
#ifndef FA_HEAP_H
#define FA_HEAP_H

#include "fa_index.h"
#include "fa_pass.h"

enum { HEAP_SEGMENT_BITS = 15, HEAP_SEGMENT_BLOCKS = 1 << HEAP_SEGMENT_BITS };
_Static_assert(sizeof(struct fa_block) == 64, "one cache line");

struct fa_heap {
	struct fa_index *index; /* owned; on cache lines of its own */
	size_t n_live;
	struct fa_block **segments; /* of HEAP_SEGMENT_BLOCKS each. Address 0: not live */
	uint32_t n_segments, segments_capacity;
	uint32_t n_blocks; /* numbers below it have lived */
	uint32_t dying;	   /* number + 1, or 0 */
};

struct ft_error *fa_heap_init(struct fa_heap *heap);
void fa_heap_deinit(struct fa_heap *heap);

/* `number` < n_blocks. */
static inline struct fa_block *heap_block(const struct fa_heap *heap, uint32_t number)
{
	return &heap->segments[number >> HEAP_SEGMENT_BITS][number & (HEAP_SEGMENT_BLOCKS - 1)];
}

/* Room for blocks up to `number`. False: out of memory. */
bool fa_heap_reach(struct fa_heap *heap, uint32_t number);

/* Block `number`, which does not live, comes to life at `address`; the rest of it is zero. NULL:
 * out of memory. It stays where it is while it lives. */
static inline struct fa_block *fa_heap_born(struct fa_heap *heap, uint32_t number, uint64_t address)
{
	struct fa_block *block;

	if (__builtin_expect(number >= heap->n_blocks, 0) && !fa_heap_reach(heap, number))
		return NULL;
	block = heap_block(heap, number);
	*block = (struct fa_block){.address = address};
	heap->n_live++;
	return block;
}

/* It is not live any more, but stays as it is, outside of all, until fa_heap_release(). One at a
 * time. */
static inline struct fa_block *fa_heap_die(struct fa_heap *heap, uint32_t number)
{
	heap->dying = number + 1;
	heap->n_live--;
	return heap_block(heap, number);
}

/* Nothing happens when none is dying. */
static inline void fa_heap_release(struct fa_heap *heap)
{
	if (heap->dying)
		heap_block(heap, heap->dying - 1)->address = 0;
	heap->dying = 0;
}

/*
 * With the index at hand: before events are resolved, and for tests.
 */

/* `address` is not 0. NULL when out of memory, or when it is live: then *taken is true and nothing
 * has changed. */
struct fa_block *fa_heap_insert(struct fa_heap *heap, uint64_t address, bool *taken);
/* It dies, until fa_heap_release(). NULL when it was not live. */
struct fa_block *fa_heap_take(struct fa_heap *heap, uint64_t address);
struct fa_block *fa_heap_find(const struct fa_heap *heap, uint64_t address);

/* Number the blocks anew, by birth: what is visited then does not depend on what lived and died
 * before. Pointers to blocks become invalid. */
struct ft_error *fa_heap_sort(struct fa_heap *heap);

/* Verify what is said here and in fa_index.h; for tests. */
bool fa_heap_check(const struct fa_heap *heap);

#endif

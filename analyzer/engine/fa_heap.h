/* SPDX-License-Identifier: MIT */
/*
 * Live heap: address -> block
 *
 * Two levels, because blocks are fat and probing wants lean lines: a table of 8-byte slots (upper
 * hash bits and the number of a block), open addressing, and a pool of blocks with a free list.
 * 80 to 96 bytes a live block: 64 of its own, which are one cache line, and two to four slots. Both
 * levels can be prefetched, so that a replay which looks a few events ahead seldom waits for
 * memory. They lie in huge pages where the kernel has them: a large heap is visited at random, and
 * each visit would miss the TLB.
 *
 * The pool grows by segments of one huge page: no block is ever copied or moved.
 *
 *   a slot is in use  <=>  its block is live        n_live == slots in use <= half of all
 *   the home of a slot is the upper bits of its tag: growing and closing gaps touch no block
 *
 * Internal to the engine.
 */
#ifndef FA_HEAP_H
#define FA_HEAP_H

#include "fa_pass.h"

enum { HEAP_SEGMENT_BITS = 15, HEAP_SEGMENT_BLOCKS = 1 << HEAP_SEGMENT_BITS };
_Static_assert(sizeof(struct fa_block) == 64, "one cache line");

struct heap_slot {
	uint32_t tag;	/* upper half of the hash */
	uint32_t block; /* number of the block + 1; 0: empty */
};

struct fa_heap {
	struct heap_slot *slots;
	unsigned bits; /* log2 of their number, 1..32 */
	size_t n_live;
	/* Of HEAP_SEGMENT_BLOCKS each. Address 0: not live; `stack` is then the next free one + 1.
	 */
	struct fa_block **segments;
	uint32_t n_segments, segments_capacity;
	uint32_t n_blocks, first_free; /* first_free: number + 1, or 0 */
};

struct ft_error *fa_heap_init(struct fa_heap *heap);
void fa_heap_deinit(struct fa_heap *heap);

/* Pointers to blocks stay valid while they live. */
struct fa_block *fa_heap_find(const struct fa_heap *heap, uint64_t address);

/* `address` is not 0. NULL when out of memory, or when it is live: then *taken is true and nothing
 * has changed. What is returned is zeroed but for its address. */
struct fa_block *fa_heap_insert(struct fa_heap *heap, uint64_t address, bool *taken);

/* Remove and copy out; false when it was not live. */
bool fa_heap_remove(struct fa_heap *heap, uint64_t address, struct fa_block *ret);

/* The same with heap_tag(address) at hand. */
struct fa_block *fa_heap_insert_tagged(struct fa_heap *heap, uint64_t address, uint32_t tag,
				       bool *taken);
bool fa_heap_remove_tagged(struct fa_heap *heap, uint64_t address, uint32_t tag,
			   struct fa_block *ret);

/* Number the blocks anew, by birth: what is visited then does not depend on what lived and died
 * before. Pointers to blocks become invalid. */
struct ft_error *fa_heap_sort(struct fa_heap *heap);

/* Verify the equations above; for tests. */
bool fa_heap_check(const struct fa_heap *heap);

/* `number` < n_blocks. */
static inline struct fa_block *heap_block(const struct fa_heap *heap, uint32_t number)
{
	return &heap->segments[number >> HEAP_SEGMENT_BITS][number & (HEAP_SEGMENT_BLOCKS - 1)];
}

/* One multiplication is not enough: addresses come in arithmetic progressions, and so would their
 * homes; the runs that this makes cost more than the second one. */
static inline uint32_t heap_tag(uint64_t address)
{
	address = (address ^ address >> 33) * UINT64_C(0xff51afd7ed558ccd);
	return (uint32_t)(((address ^ address >> 33) * UINT64_C(0xc4ceb9fe1a85ec53)) >> 32);
}

static inline size_t heap_home(const struct fa_heap *heap, uint32_t tag)
{
	return tag >> (32 - heap->bits);
}

/* gcc takes a function that only prefetches for one without effect and drops calls to it: these
 * must be inlined before it can think so. */
#define HEAP_PREFETCH static inline __attribute__((always_inline)) void

/* First: the slot. */
HEAP_PREFETCH fa_heap_prefetch_slot(const struct fa_heap *heap, uint32_t tag)
{
	__builtin_prefetch(&heap->slots[heap_home(heap, tag)]);
}

/* Some events later: the block that the slot names, to be prefetched, if it is near its home, as
 * nearly all are; or NULL. */
static inline const struct fa_block *fa_heap_near(const struct fa_heap *heap, uint32_t tag)
{
	enum { NEAR = 4 };
	size_t mask = ((size_t)1 << heap->bits) - 1, home = heap_home(heap, tag);

	for (size_t i = home; i < home + NEAR; i++) {
		const struct heap_slot *slot = &heap->slots[i & mask];

		if (!slot->block)
			return NULL;
		if (slot->tag == tag)
			return heap_block(heap, slot->block - 1);
	}
	return NULL;
}

#endif

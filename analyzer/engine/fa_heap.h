/* SPDX-License-Identifier: MIT */
/*
 * Live heap: address -> block
 *
 * Two levels, because blocks are fat and probing wants lean lines: a table of 8-byte slots (upper
 * hash bits and the number of a block), open addressing, and a pool of blocks with a free list.
 * About 70 bytes a live block. Both levels can be prefetched, so that a replay which looks a few
 * events ahead seldom waits for memory.
 *
 *   a slot is in use  <=>  its block is live        n_live == slots in use <= half of all
 *   the home of a slot is the upper bits of its tag: growing and closing gaps touch no block
 *
 * Internal to the engine.
 */
#ifndef FA_HEAP_H
#define FA_HEAP_H

#include "fa_pass.h"

struct heap_slot {
	uint32_t tag;	/* upper half of the hash */
	uint32_t block; /* number of the block + 1; 0: empty */
};

struct fa_heap {
	struct heap_slot *slots;
	unsigned bits; /* log2 of their number, 1..32 */
	size_t n_live;
	struct fa_block *blocks; /* address 0: not live; `stack` is then the next free one + 1 */
	uint32_t n_blocks, capacity, first_free; /* first_free: number + 1, or 0 */
};

struct ft_error *fa_heap_init(struct fa_heap *heap);
void fa_heap_deinit(struct fa_heap *heap);

/* Numbers of blocks stay valid while they live; pointers until the next insert. */
struct fa_block *fa_heap_find(const struct fa_heap *heap, uint64_t address);

/* `address` must not be live and not be 0. NULL when out of memory. */
struct fa_block *fa_heap_insert(struct fa_heap *heap, uint64_t address);

/* Remove and copy out; false when it was not live. */
bool fa_heap_remove(struct fa_heap *heap, uint64_t address, struct fa_block *ret);

/* Verify the equations above; for tests. */
bool fa_heap_check(const struct fa_heap *heap);

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
HEAP_PREFETCH fa_heap_prefetch_slot(const struct fa_heap *heap, uint64_t address)
{
	__builtin_prefetch(&heap->slots[heap_home(heap, heap_tag(address))]);
}

/* Some events later: the block that the slot names, if the slot is at home. */
HEAP_PREFETCH fa_heap_prefetch_block(const struct fa_heap *heap, uint64_t address)
{
	uint32_t tag = heap_tag(address);
	const struct heap_slot *slot = &heap->slots[heap_home(heap, tag)];

	if (slot->block && slot->tag == tag)
		__builtin_prefetch(&heap->blocks[slot->block - 1]);
}

#endif

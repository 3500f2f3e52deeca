/* SPDX-License-Identifier: MIT */
/*
 * Live heap: address -> block
 *
 * Two levels, because blocks are fat and probing wants lean lines: a table of buckets, each one
 * cache line of seven slots (a part of the hash and the number of a block), and a pool of blocks
 * with a free list. A bucket's tags are compared all at once, so that neither the place of a slot
 * nor what is beside it costs a branch that the processor can't foresee: seven of eight look-ups
 * are one line and no loop.
 * 80 to 96 bytes a live block: 64 of its own, which are one cache line, and its part of the table.
 * Both levels can be prefetched, so that a replay which looks a few events ahead seldom waits for
 * memory. They lie in huge pages where the kernel has them: a large heap is visited at random, and
 * each visit would miss the TLB.
 *
 * The pool grows by segments of one huge page: no block is ever copied or moved.
 *
 *   a slot is in use  <=>  its block is live and not known by number
 *   n_live == slots in use + blocks known by number; slots in use <= 4 a bucket
 *   the home of a block is the bucket that the upper bits of its tag say; it is there, or in the
 *   first behind it that had room when it was born
 *   bucket.passed == number of live blocks whose home is it or before it and whose place is behind
 *   it: where it is 0, what is not found is not there, and growing touches no block
 *
 * Internal to the engine.
 */
#ifndef FA_HEAP_H
#define FA_HEAP_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "fa_pass.h"

enum {
	HEAP_SEGMENT_BITS = 15,
	HEAP_SEGMENT_BLOCKS = 1 << HEAP_SEGMENT_BITS,
	HEAP_SLOTS = 7, /* of a bucket, */
	HEAP_FILL = 4,	/* of which so many are in use at most, on the average */
};
_Static_assert(sizeof(struct fa_block) == 64, "one cache line");

struct heap_bucket {
	uint32_t tag[HEAP_SLOTS]; /* upper half of the hash; 0 in an empty slot */
	uint32_t passed;
	uint32_t block[HEAP_SLOTS]; /* number of the block + 1; 0: empty */
	uint32_t none;		    /* 0 */
};
_Static_assert(sizeof(struct heap_bucket) == 64, "one cache line");

struct fa_heap {
	struct heap_bucket *buckets;
	unsigned bits; /* log2 of their number, 1..31 */
	size_t n_live;
	/* Of HEAP_SEGMENT_BLOCKS each. Address 0: not live; `stack` is then the next free one + 1.
	 */
	struct fa_block **segments;
	uint32_t n_segments, segments_capacity;
	uint32_t n_blocks, first_free; /* first_free: number + 1, or 0 */
	uint32_t dying;		       /* taken and not yet released: number + 1, or 0 */
};

struct ft_error *fa_heap_init(struct fa_heap *heap);
void fa_heap_deinit(struct fa_heap *heap);

/* Pointers to blocks stay valid while they live. */
struct fa_block *fa_heap_find(const struct fa_heap *heap, uint64_t address);

/* `address` is not 0. NULL when out of memory, or when it is live: then *taken is true and nothing
 * has changed. What is returned is zeroed but for its address. */
struct fa_block *fa_heap_insert(struct fa_heap *heap, uint64_t address, bool *taken);

/* Take it out of the table: it is not live any more, but stays as it is, outside of all, until
 * fa_heap_release(). One at a time. NULL when it was not live. */
struct fa_block *fa_heap_take(struct fa_heap *heap, uint64_t address);
/* Its memory may be another's now. Nothing happens when none was taken. */
void fa_heap_release(struct fa_heap *heap);

/* The same with heap_tag(address) at hand. */
struct fa_block *fa_heap_insert_tagged(struct fa_heap *heap, uint64_t address, uint32_t tag,
				       bool *taken);
struct fa_block *fa_heap_take_tagged(struct fa_heap *heap, uint64_t address, uint32_t tag);

/*
 * The same of a block that whoever frees it knows by number: it is live, but in no bucket and found
 * by no address. That saves writing the table for most blocks of most programs, which die young.
 */
struct fa_block *fa_heap_insert_numbered(struct fa_heap *heap, uint64_t address, uint32_t tag,
					 bool *taken, uint32_t *number);
struct fa_block *fa_heap_take_numbered(struct fa_heap *heap, uint32_t number);

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

/* The slots whose values are `value`, as bits. `values` are eight, of which the last is none. */
static inline uint32_t heap_match(const uint32_t *values, uint32_t value)
{
	const uint32_t slots = (1 << HEAP_SLOTS) - 1;
#ifdef __SSE2__
	const __m128i want = _mm_set1_epi32((int)value);
	__m128i low = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)values), want);
	__m128i high = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)(values + 4)), want);

	low = _mm_packs_epi32(low, high);
	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, _mm_setzero_si128())) & slots;
#else
	uint32_t found = 0;

	for (unsigned i = 0; i < HEAP_SLOTS; i++)
		found |= (uint32_t)(values[i] == value) << i;
	return found & slots;
#endif
}

/* gcc takes a function that only prefetches for one without effect and drops calls to it: these
 * must be inlined before it can think so. */
#define HEAP_PREFETCH static inline __attribute__((always_inline)) void

/* First: the bucket. */
HEAP_PREFETCH fa_heap_prefetch_slot(const struct fa_heap *heap, uint32_t tag)
{
	__builtin_prefetch(&heap->buckets[heap_home(heap, tag)]);
}

/* Some events later: the block to be prefetched, if its bucket has it, as nearly all do; else any.
 * There is a pool. */
static inline const struct fa_block *fa_heap_near(const struct fa_heap *heap, uint32_t tag)
{
	const struct heap_bucket *bucket = &heap->buckets[heap_home(heap, tag)];
	/* Without one it is the last, which names none. */
	uint32_t found = heap_match(bucket->tag, tag) | 1 << HEAP_SLOTS;
	uint32_t number = bucket->block[(unsigned)__builtin_ctz(found)];

	return heap_block(heap, number - (number > 0));
}

#endif

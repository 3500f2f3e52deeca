/* SPDX-License-Identifier: MIT */
/* Live heap: see fa_heap.h. */
#include "fa_heap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HEAP_FIRST_BITS = 8, HEAP_MAX_BITS = 30, HEAP_FIRST_SEGMENTS = 16 };

static const size_t huge_page = (size_t)2 << 20;

/* Huge pages are a request: without them it is only slower. */
static void *alloc_huge(size_t size)
{
	void *memory = aligned_alloc(huge_page, size);

	if (memory)
		madvise(memory, size, MADV_HUGEPAGE);
	return memory;
}

static struct heap_bucket *alloc_buckets(unsigned bits)
{
	size_t size = sizeof(struct heap_bucket) << bits;
	struct heap_bucket *buckets = size < huge_page ? aligned_alloc(64, size) : alloc_huge(size);

	if (buckets)
		memset(buckets, 0, size);
	return buckets;
}

struct ft_error *fa_heap_init(struct fa_heap *heap)
{
	*heap = (struct fa_heap){.bits = HEAP_FIRST_BITS};
	heap->buckets = alloc_buckets(heap->bits);
	return heap->buckets ? NULL : &ft_enomem;
}

void fa_heap_deinit(struct fa_heap *heap)
{
	for (uint32_t i = 0; i < heap->n_segments; i++)
		free(heap->segments[i]);
	free(heap->segments);
	free(heap->buckets);
	*heap = (struct fa_heap){0};
}

static inline struct heap_bucket *home_of(const struct fa_heap *heap, uint32_t tag)
{
	return &heap->buckets[heap_home(heap, tag)];
}

/* Behind the last one is the first. */
static inline struct heap_bucket *next_bucket(const struct fa_heap *heap,
					      struct heap_bucket *bucket)
{
	size_t next = (size_t)(bucket - heap->buckets) + 1;

	return &heap->buckets[next >> heap->bits ? 0 : next];
}

/* The bucket that has `address`, and *slot in it; NULL: none has. */
static inline struct heap_bucket *find_slot(const struct fa_heap *heap, uint64_t address,
					    uint32_t tag, unsigned *slot)
{
	for (struct heap_bucket *bucket = home_of(heap, tag);; bucket = next_bucket(heap, bucket)) {
		for (uint32_t found = heap_match(bucket->tag, tag); found; found &= found - 1) {
			uint32_t number;

			*slot = (unsigned)__builtin_ctz(found);
			number = bucket->block[*slot];
			if (__builtin_expect(
				    number && heap_block(heap, number - 1)->address == address, 1))
				return bucket;
		}
		if (__builtin_expect(!bucket->passed, 1))
			return NULL;
	}
}

struct fa_block *fa_heap_find(const struct fa_heap *heap, uint64_t address)
{
	unsigned slot;
	const struct heap_bucket *bucket = find_slot(heap, address, heap_tag(address), &slot);

	return bucket ? heap_block(heap, bucket->block[slot] - 1) : NULL;
}

/* Put block `number` into the first bucket from its home on that has room. */
static inline void put_slot(struct fa_heap *heap, uint32_t tag, uint32_t number)
{
	struct heap_bucket *bucket = home_of(heap, tag);
	uint32_t empty;

	for (;; bucket = next_bucket(heap, bucket)) {
		empty = heap_match(bucket->block, 0);
		if (__builtin_expect(empty != 0, 1))
			break;
		bucket->passed++;
	}

	unsigned slot = (unsigned)__builtin_ctz(empty);

	bucket->tag[slot] = tag;
	bucket->block[slot] = number;
}

static bool heap_grow(struct fa_heap *heap)
{
	if (heap->bits == HEAP_MAX_BITS)
		return false;

	struct fa_heap bigger = *heap;
	size_t n = (size_t)1 << heap->bits;

	bigger.bits++;
	bigger.buckets = alloc_buckets(bigger.bits);
	if (!bigger.buckets)
		return false;
	for (size_t i = 0; i < n; i++)
		for (unsigned s = 0; s < HEAP_SLOTS; s++)
			if (heap->buckets[i].block[s])
				put_slot(&bigger, heap->buckets[i].tag[s],
					 heap->buckets[i].block[s]);
	free(heap->buckets);
	*heap = bigger;
	return true;
}

/* The first segment is in small pages: most heaps are small. */
static bool add_segment(struct fa_heap *heap)
{
	const size_t size = HEAP_SEGMENT_BLOCKS * sizeof(struct fa_block);

	if (heap->n_segments == UINT32_MAX >> HEAP_SEGMENT_BITS)
		return false;
	if (heap->n_segments == heap->segments_capacity) {
		uint32_t capacity =
			heap->segments_capacity ? heap->segments_capacity * 2 : HEAP_FIRST_SEGMENTS;
		struct fa_block **list = realloc(heap->segments, capacity * sizeof(*list));

		if (!list)
			return false;
		heap->segments = list;
		heap->segments_capacity = capacity;
	}

	struct fa_block *blocks = heap->n_segments ? alloc_huge(size) : aligned_alloc(64, size);

	if (!blocks)
		return false;
	heap->segments[heap->n_segments++] = blocks;
	return true;
}

/* Number + 1 of a block to use, or 0. */
static uint32_t block_take(struct fa_heap *heap)
{
	uint32_t number = heap->first_free;

	if (number) {
		heap->first_free = heap_block(heap, number - 1)->stack;
		/* The one after it is old, and wanted next. */
		if (heap->first_free)
			__builtin_prefetch(heap_block(heap, heap->first_free - 1), 1);
		return number;
	}
	if (heap->n_blocks == (uint64_t)heap->n_segments << HEAP_SEGMENT_BITS && !add_segment(heap))
		return 0;
	return ++heap->n_blocks;
}

struct fa_block *fa_heap_insert(struct fa_heap *heap, uint64_t address, bool *taken)
{
	return fa_heap_insert_tagged(heap, address, heap_tag(address), taken);
}

/* A new block, number + 1 in *number. NULL: out of memory, or there is one at its address. */
static inline struct fa_block *block_make(struct fa_heap *heap, uint64_t address, uint32_t tag,
					  bool *taken, uint32_t *number)
{
	struct fa_block *block;
	unsigned slot;

	*taken = find_slot(heap, address, tag, &slot) != NULL;
	if (*taken)
		return NULL;
	*number = block_take(heap);
	if (!*number)
		return NULL;
	heap->n_live++;
	block = heap_block(heap, *number - 1);
	*block = (struct fa_block){.address = address};
	return block;
}

struct fa_block *fa_heap_insert_tagged(struct fa_heap *heap, uint64_t address, uint32_t tag,
				       bool *taken)
{
	struct fa_block *block;
	uint32_t number;

	*taken = false;
	if (__builtin_expect(heap->n_live >> heap->bits >= HEAP_FILL, 0) && !heap_grow(heap))
		return NULL;
	block = block_make(heap, address, tag, taken, &number);
	if (block)
		put_slot(heap, tag, number);
	return block;
}

struct fa_block *fa_heap_insert_numbered(struct fa_heap *heap, uint64_t address, uint32_t tag,
					 bool *taken, uint32_t *number)
{
	struct fa_block *block = block_make(heap, address, tag, taken, number);

	if (block)
		--*number;
	return block;
}

struct fa_block *fa_heap_take_numbered(struct fa_heap *heap, uint32_t number)
{
	heap->dying = number + 1;
	heap->n_live--;
	return heap_block(heap, number);
}

struct fa_block *fa_heap_take(struct fa_heap *heap, uint64_t address)
{
	return fa_heap_take_tagged(heap, address, heap_tag(address));
}

struct fa_block *fa_heap_take_tagged(struct fa_heap *heap, uint64_t address, uint32_t tag)
{
	unsigned slot;
	struct heap_bucket *bucket = find_slot(heap, address, tag, &slot);

	if (!bucket)
		return NULL;
	for (struct heap_bucket *b = home_of(heap, tag); b != bucket; b = next_bucket(heap, b))
		b->passed--;
	heap->dying = bucket->block[slot];
	bucket->tag[slot] = bucket->block[slot] = 0;
	heap->n_live--;
	return heap_block(heap, heap->dying - 1);
}

void fa_heap_release(struct fa_heap *heap)
{
	if (!heap->dying)
		return;

	struct fa_block *block = heap_block(heap, heap->dying - 1);

	block->address = 0;
	block->stack = heap->first_free;
	heap->first_free = heap->dying;
	heap->dying = 0;
}

static int compare_births(const void *a, const void *b)
{
	const struct fa_block *x = *(const struct fa_block *const *)a;
	const struct fa_block *y = *(const struct fa_block *const *)b;

	if (x->born_seq != y->born_seq)
		return x->born_seq < y->born_seq ? -1 : 1;
	return x->address < y->address ? -1 : x->address > y->address;
}

struct ft_error *fa_heap_sort(struct fa_heap *heap)
{
	const struct fa_block **order = malloc((heap->n_live + 1) * sizeof(*order));
	struct ft_error *error = order ? NULL : &ft_enomem;
	struct fa_heap sorted = {0};
	size_t n = 0;
	bool taken;

	if (!error)
		error = fa_heap_init(&sorted);
	for (uint32_t i = 0; !error && i < heap->n_blocks; i++)
		if (heap_block(heap, i)->address)
			order[n++] = heap_block(heap, i);
	if (!error)
		qsort(order, n, sizeof(*order), compare_births);
	for (size_t i = 0; !error && i < n; i++) {
		struct fa_block *block = fa_heap_insert(&sorted, order[i]->address, &taken);

		if (block)
			*block = *order[i];
		else
			error = &ft_enomem;
	}
	free(order);
	if (error) {
		fa_heap_deinit(&sorted);
		return error;
	}
	fa_heap_deinit(heap);
	*heap = sorted;
	return NULL;
}

bool fa_heap_check(const struct fa_heap *heap)
{
	const size_t n = (size_t)1 << heap->bits;
	size_t n_used = 0, n_live = 0, n_passed = 0, n_displaced = 0;

	for (size_t i = 0; i < n; i++) {
		const struct heap_bucket *bucket = &heap->buckets[i];

		n_passed += bucket->passed;
		if (bucket->none)
			return false;
		for (unsigned s = 0; s < HEAP_SLOTS; s++) {
			uint32_t number = bucket->block[s], tag = bucket->tag[s];
			unsigned slot;

			if (!number && tag)
				return false;
			if (!number)
				continue;
			n_used++;
			n_displaced += (i - heap_home(heap, tag)) & (n - 1);
			if (number > heap->n_blocks)
				return false;

			uint64_t address = heap_block(heap, number - 1)->address;

			if (!address || heap_tag(address) != tag ||
			    find_slot(heap, address, tag, &slot) != bucket || slot != s)
				return false;
		}
	}
	for (uint32_t i = 0; i < heap->n_blocks; i++)
		n_live += heap_block(heap, i)->address != 0 && i + 1 != heap->dying;
	return n_used <= heap->n_live && n_live == heap->n_live && n_passed == n_displaced &&
	       n_used <= n * HEAP_FILL;
}

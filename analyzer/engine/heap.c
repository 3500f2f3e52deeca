/* SPDX-License-Identifier: MIT */
/* Live heap: see fa_heap.h. */
#include "fa_heap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HEAP_FIRST_BITS = 10, HEAP_MAX_BITS = 32, HEAP_FIRST_SEGMENTS = 16 };

static const size_t huge_page = (size_t)2 << 20;

/* Huge pages are a request: without them it is only slower. */
static void *alloc_huge(size_t size)
{
	void *memory = aligned_alloc(huge_page, size);

	if (memory)
		madvise(memory, size, MADV_HUGEPAGE);
	return memory;
}

static struct heap_slot *alloc_slots(unsigned bits)
{
	size_t size = sizeof(struct heap_slot) << bits;

	if (size < huge_page)
		return calloc(1, size);

	struct heap_slot *slots = alloc_huge(size);

	if (slots)
		memset(slots, 0, size);
	return slots;
}

struct ft_error *fa_heap_init(struct fa_heap *heap)
{
	*heap = (struct fa_heap){.bits = HEAP_FIRST_BITS};
	heap->slots = alloc_slots(heap->bits);
	return heap->slots ? NULL : &ft_enomem;
}

void fa_heap_deinit(struct fa_heap *heap)
{
	for (uint32_t i = 0; i < heap->n_segments; i++)
		free(heap->segments[i]);
	free(heap->segments);
	free(heap->slots);
	*heap = (struct fa_heap){0};
}

/* The slot of `address`, or the empty one where it would go; there is always an empty one. */
static size_t heap_probe(const struct fa_heap *heap, uint64_t address, uint32_t tag)
{
	size_t mask = ((size_t)1 << heap->bits) - 1;

	for (size_t i = heap_home(heap, tag);; i = (i + 1) & mask) {
		const struct heap_slot *slot = &heap->slots[i];

		if (!slot->block ||
		    (slot->tag == tag && heap_block(heap, slot->block - 1)->address == address))
			return i;
	}
}

struct fa_block *fa_heap_find(const struct fa_heap *heap, uint64_t address)
{
	const struct heap_slot *slot = &heap->slots[heap_probe(heap, address, heap_tag(address))];

	return slot->block ? heap_block(heap, slot->block - 1) : NULL;
}

static bool heap_grow(struct fa_heap *heap)
{
	if (heap->bits == HEAP_MAX_BITS)
		return false;

	struct fa_heap bigger = *heap;
	size_t n = (size_t)1 << heap->bits;

	bigger.bits++;

	size_t mask = ((size_t)1 << bigger.bits) - 1;

	bigger.slots = alloc_slots(bigger.bits);
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!heap->slots[i].block)
			continue;

		size_t to = heap_home(&bigger, heap->slots[i].tag);

		while (bigger.slots[to].block)
			to = (to + 1) & mask;
		bigger.slots[to] = heap->slots[i];
	}
	free(heap->slots);
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

struct fa_block *fa_heap_insert_tagged(struct fa_heap *heap, uint64_t address, uint32_t tag,
				       bool *taken)
{
	*taken = false;
	if ((heap->n_live + 1) * 2 > (size_t)1 << heap->bits && !heap_grow(heap))
		return NULL;

	struct heap_slot *slot = &heap->slots[heap_probe(heap, address, tag)];

	*taken = slot->block != 0;
	if (*taken)
		return NULL;

	uint32_t number = block_take(heap);

	if (!number)
		return NULL;
	*slot = (struct heap_slot){.tag = tag, .block = number};
	heap->n_live++;

	struct fa_block *block = heap_block(heap, number - 1);

	*block = (struct fa_block){.address = address};
	return block;
}

bool fa_heap_remove(struct fa_heap *heap, uint64_t address, struct fa_block *ret)
{
	return fa_heap_remove_tagged(heap, address, heap_tag(address), ret);
}

bool fa_heap_remove_tagged(struct fa_heap *heap, uint64_t address, uint32_t tag,
			   struct fa_block *ret)
{
	size_t mask = ((size_t)1 << heap->bits) - 1;
	size_t gap = heap_probe(heap, address, tag);
	uint32_t number = heap->slots[gap].block;

	if (!number)
		return false;

	/* Close the gap: move back each follower whose home is not behind it (Knuth 6.4, R). */
	for (size_t i = (gap + 1) & mask; heap->slots[i].block; i = (i + 1) & mask) {
		size_t home = heap_home(heap, heap->slots[i].tag);

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			heap->slots[gap] = heap->slots[i];
			gap = i;
		}
	}
	heap->slots[gap] = (struct heap_slot){0};
	heap->n_live--;

	struct fa_block *block = heap_block(heap, number - 1);

	*ret = *block;
	block->address = 0;
	block->stack = heap->first_free;
	heap->first_free = number;
	return true;
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
	size_t n_used = 0, n_live = 0;

	for (size_t i = 0; i < (size_t)1 << heap->bits; i++) {
		const struct heap_slot *slot = &heap->slots[i];

		if (!slot->block)
			continue;
		n_used++;
		if (slot->block > heap->n_blocks)
			return false;

		uint64_t address = heap_block(heap, slot->block - 1)->address;

		if (!address || heap_tag(address) != slot->tag ||
		    heap_probe(heap, address, slot->tag) != i)
			return false;
	}
	for (uint32_t i = 0; i < heap->n_blocks; i++)
		n_live += heap_block(heap, i)->address != 0;
	return n_used == heap->n_live && n_live == heap->n_live &&
	       heap->n_live * 2 <= (size_t)1 << heap->bits;
}

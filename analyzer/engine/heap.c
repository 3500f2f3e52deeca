/* SPDX-License-Identifier: MIT */
/* Live heap: see fa_heap.h. */
#include "fa_heap.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "huge.h"

enum { FIRST_SEGMENTS = 16, LINE = 64 };

/* Huge pages are a request: without them it is only slower. */
void *fa_alloc_huge(size_t size)
{
	const size_t huge_page = (size_t)2 << 20;
	void *memory;

	if (size < huge_page)
		return aligned_alloc(LINE, (size + LINE - 1) & -(size_t)LINE);
	memory = aligned_alloc(huge_page, (size + huge_page - 1) & -huge_page);
	if (memory)
		madvise(memory, size, MADV_HUGEPAGE);
	return memory;
}

struct ft_error *fa_heap_init(struct fa_heap *heap)
{
	*heap = (struct fa_heap){0};
	heap->index = fa_alloc_huge(sizeof(*heap->index));
	if (heap->index && fa_index_init(heap->index))
		return NULL;
	free(heap->index);
	heap->index = NULL;
	return &ft_enomem;
}

void fa_heap_deinit(struct fa_heap *heap)
{
	for (uint32_t i = 0; i < heap->n_segments; i++)
		free(heap->segments[i]);
	free(heap->segments);
	if (heap->index)
		fa_index_deinit(heap->index);
	free(heap->index);
	*heap = (struct fa_heap){0};
}

/* The first segment is in small pages: most heaps are small. */
static bool add_segment(struct fa_heap *heap)
{
	const size_t size = HEAP_SEGMENT_BLOCKS * sizeof(struct fa_block);

	if (heap->n_segments == heap->segments_capacity) {
		uint32_t capacity =
			heap->segments_capacity ? heap->segments_capacity * 2 : FIRST_SEGMENTS;
		struct fa_block **list = realloc(heap->segments, capacity * sizeof(*list));

		if (!list)
			return false;
		heap->segments = list;
		heap->segments_capacity = capacity;
	}

	struct fa_block *blocks =
		heap->n_segments ? fa_alloc_huge(size) : aligned_alloc(LINE, size);

	if (!blocks)
		return false;
	heap->segments[heap->n_segments++] = blocks;
	return true;
}

bool fa_heap_reach(struct fa_heap *heap, uint32_t number)
{
	while (number >> HEAP_SEGMENT_BITS >= heap->n_segments)
		if (!add_segment(heap))
			return false;
	/* Numbers come in order, so that this is one at a time. */
	for (; heap->n_blocks <= number; heap->n_blocks++)
		heap_block(heap, heap->n_blocks)->address = 0;
	return true;
}

struct fa_block *fa_heap_insert(struct fa_heap *heap, uint64_t address, bool *taken)
{
	uint32_t number;

	*taken = fa_index_find(heap->index, address) != 0;
	if (*taken)
		return NULL;
	number = fa_index_insert(heap->index, address);
	return number ? fa_heap_born(heap, number - 1, address) : NULL;
}

struct fa_block *fa_heap_take(struct fa_heap *heap, uint64_t address)
{
	uint32_t number;

	return fa_index_remove(heap->index, address, &number) && number
		       ? fa_heap_die(heap, number - 1)
		       : NULL;
}

struct fa_block *fa_heap_find(const struct fa_heap *heap, uint64_t address)
{
	uint32_t number = fa_index_find(heap->index, address);

	return number ? heap_block(heap, number - 1) : NULL;
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
	size_t n_live = 0, n_found = 0;

	for (uint32_t i = 0; i < heap->n_blocks; i++) {
		uint64_t address = heap_block(heap, i)->address;

		if (!address || i + 1 == heap->dying)
			continue;
		n_live++;
		/* Others, whose deaths are known beforehand, are in no bucket. */
		n_found += fa_index_find(heap->index, address) == i + 1;
	}
	return n_live == heap->n_live && heap->index->n_slots == n_found &&
	       heap->n_blocks <= heap->index->n_numbers && fa_index_check(heap->index);
}

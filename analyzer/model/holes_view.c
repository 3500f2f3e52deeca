/* SPDX-License-Identifier: MIT */
/* Holes, one by one: see fa_holes.h, holes_impl.h. */
#include "holes_impl.h"

bool fa_holes_next(const struct fa_holes *holes, uint64_t *cursor, uint64_t *start, uint64_t *end)
{
	/* Searching only moves the memory of the leaves found lately. */
	struct fa_holes *h = (struct fa_holes *)(uintptr_t)holes;
	uint64_t at, stop;

	while (fa_holes_next_covered(h, *cursor, &at)) {
		uint64_t gap = fa_holes_covered_end(h, at, UINT64_MAX);

		if (!fa_holes_next_covered(h, gap, &stop))
			return false;
		*cursor = stop;
		if (!same_region(h, gap - h->phase, stop - h->phase))
			continue;
		*start = gap - h->phase;
		*end = stop - h->phase;
		return true;
	}
	return false;
}

/* The first page behind the one of `at`, in its cell or at the beginning of the next, that no edge
 * of a block is on. False: there is none, *page is then where the next cell begins. */
static bool next_unused(struct fa_holes *h, const struct fa_holes_cell *cell, uint64_t at,
			uint64_t *page)
{
	uint64_t base = at & -(UINT64_C(1) << CELL_SHIFT);
	uint32_t unused = (uint32_t)(uint16_t)~cell->used >> page_of(at) >> 1;

	if (unused) {
		unsigned ahead = 1 + (unsigned)__builtin_ctz(unused);

		*page = base + ((uint64_t)(page_of(at) + ahead) << PAGE_SHIFT);
		return true;
	}
	*page = base + (UINT64_C(1) << CELL_SHIFT);
	cell = cell_find(h, *page);
	return !cell || !(cell->used & 1);
}

bool fa_holes_next_large(const struct fa_holes *holes, uint64_t *cursor, uint64_t *start,
			 uint64_t *end)
{
	struct fa_holes *h = (struct fa_holes *)(uintptr_t)holes;
	uint64_t at, gap, stop;

	while (fa_holes_next_covered(h, *cursor, &at)) {
		const struct fa_holes_cell *cell = cell_find(h, at);

		/* A block that ends with 8 bytes on a page of positions leaves a page of memory
		 * free that is none here: such cells are looked at hole by hole. */
		if (cell && !cell->is_fine) {
			bool inside;

			if (!next_unused(h, cell, at, &at)) {
				*cursor = at;
				continue;
			}
			if (!fa_holes_next_covered(h, at, &stop))
				return false;
			*cursor = stop;
			if (!fa_holes_prev_covered(h, at, &gap, &inside) || inside)
				continue;
		} else {
			gap = fa_holes_covered_end(h, at, UINT64_MAX);
			if (!fa_holes_next_covered(h, gap, &stop))
				return false;
			*cursor = stop;
		}
		*start = gap - h->phase;
		*end = stop - h->phase;
		if ((*start + PAGE - 1) >> PAGE_SHIFT < *end >> PAGE_SHIFT &&
		    same_region(h, *start, *end))
			return true;
	}
	return false;
}

bool fa_holes_first(const struct fa_holes *holes, uint64_t from, uint64_t *start)
{
	struct fa_holes *h = (struct fa_holes *)(uintptr_t)holes;

	if (!fa_holes_next_covered(h, from + h->phase, start))
		return false;
	*start -= h->phase;
	return true;
}

bool fa_holes_last_end(const struct fa_holes *holes, uint64_t to, uint64_t *end)
{
	struct fa_holes *h = (struct fa_holes *)(uintptr_t)holes;
	bool inside;

	if (!fa_holes_prev_covered(h, to + h->phase, end, &inside) || inside)
		return false;
	*end -= h->phase;
	return true;
}

uint8_t fa_holes_tags(const struct fa_holes *holes, uint64_t address)
{
	size_t i = fa_regions_index(&holes->regions, address + 1);

	return i < holes->regions.n && holes->regions.items[i].start <= address
		       ? holes->regions.items[i].tags
		       : 0;
}

/* The largest hole that begins in the cell, by looking. */
static uint64_t cell_largest(struct fa_holes *h, const struct fa_holes_cell *cell, uint64_t base)
{
	const uint64_t limit = base + (UINT64_C(1) << CELL_SHIFT);
	uint64_t at, stop, largest = 0;

	if (!cell->used || !fa_holes_next_covered(h, base, &at))
		return 0;
	while (at < limit) {
		uint64_t gap = fa_holes_covered_end(h, at, limit + 1);

		/* A hole belongs to the cell of the byte before it. */
		if (gap > limit || !fa_holes_next_covered(h, gap, &stop))
			break;
		if (stop - gap > largest && same_region(h, gap - h->phase, stop - h->phase))
			largest = stop - gap;
		at = stop;
	}
	return largest;
}

uint64_t fa_holes_largest(struct fa_holes *h)
{
	uint64_t largest = 0;

	for (size_t i = 0; i < h->n_cells; i++)
		if (!(h->bounds[i] & STALE) && h->bounds[i] > largest)
			largest = h->bounds[i];
	for (size_t l = 0; l < h->n_leaves; l++)
		for (unsigned c = 0; c < LEAF_CELLS; c++) {
			uint32_t index = h->leaves[l].cell[c];
			uint64_t *bound = index ? &h->bounds[index - 1] : NULL;

			if (!bound || !(*bound & STALE) || (*bound & ~(uint64_t)STALE) <= largest)
				continue;
			*bound = cell_largest(h, cell_at(h, index - 1),
					      (h->leaves[l].key << LEAF_SHIFT) +
						      ((uint64_t)c << CELL_SHIFT));
			if (*bound < PAGE)
				*bound = 0;
			if (*bound > largest)
				largest = *bound;
		}
	for (unsigned i = FA_HOLES_SMALL; !largest && --i;)
		if (h->small[i])
			largest = UINT64_C(8) * i;
	return largest;
}

uint64_t fa_holes_used_cells(const struct fa_holes *h)
{
	uint64_t n = 0;

	for (size_t l = 0; l < h->n_leaves; l++)
		n += (unsigned)__builtin_popcountll(h->leaves[l].used);
	return n;
}

size_t fa_holes_memory(const struct fa_holes *h)
{
	size_t bytes = h->n_slabs * CELL_SLAB * sizeof(struct fa_holes_cell) +
		       h->slab_room * (CELL_SLAB * sizeof(*h->bounds) + sizeof(*h->cells)) +
		       h->leaf_room * sizeof(*h->leaves) + h->fine_room * sizeof(*h->fine) +
		       h->regions.room * sizeof(*h->regions.items) +
		       h->leaf_map.n_slots * sizeof(*h->leaf_map.slots);

	for (unsigned l = 0; l < N_UPPER; l++)
		bytes += h->upper[l].n_slots * sizeof(*h->upper[l].slots);
	return bytes;
}

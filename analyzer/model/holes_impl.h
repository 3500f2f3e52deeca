/* SPDX-License-Identifier: MIT */
/*
 * Holes: the bits, which the files of it share
 *
 *	holes.c		blocks come and go, and what that changes
 *	holes_cells.c	cells and their bits, and who is next to whom
 *	holes_view.c	the holes one by one, and the largest
 *
 * Positions are addresses plus `phase`, so that glibc's extents, too, begin at multiples of 16;
 * pages of positions only group bits and are no pages of memory. Whatever is said about memory
 * (holes, regions, pages) is computed from addresses.
 */
#ifndef HOLES_IMPL_H
#define HOLES_IMPL_H

#include "fa_holes.h"

enum {
	PAGE_SHIFT = 12,
	PAGE = 1 << PAGE_SHIFT,
	CELL_SHIFT = 16,
	CELL_PAGES = 1 << (CELL_SHIFT - PAGE_SHIFT),
	LEAF_SHIFT = 22,
	LEAF_CELLS = 1 << (LEAF_SHIFT - CELL_SHIFT),
	CELL_SLAB = 64,
	N_UPPER = 7, /* 64^7 leaves are all addresses there are */
	STALE = 1,
};

struct fa_holes_cell {
	uint16_t used;		      /* pages with any bit */
	uint16_t is_fine;	      /* pages with a bit for 8 bytes */
	uint16_t spans;		      /* pages whose last block goes on beyond their end */
	uint8_t tags;		      /* that the cell's region is known to have */
	bool is_covered;	      /* whether the cell is known to be in a region */
	uint64_t bits[CELL_PAGES][4]; /* a bit for 16 bytes; of a fine page [0] indexes `fine` */
};

struct fa_holes_leaf {
	uint64_t key;
	uint64_t used;		   /* cells with any page in use */
	uint32_t cell[LEAF_CELLS]; /* index + 1 */
};

static inline struct fa_holes_cell *cell_at(const struct fa_holes *h, size_t index)
{
	return &h->cells[index / CELL_SLAB][index % CELL_SLAB];
}

static inline struct fa_holes_leaf *leaf_find(struct fa_holes *h, uint64_t key)
{
	unsigned slot = (unsigned)key % FA_HOLES_RECENT;

	if (h->recent[slot].key != key + 1) {
		const uint64_t *index = ft_map_get(&h->leaf_map, key);

		if (!index)
			return NULL;
		h->recent[slot].key = key + 1;
		h->recent[slot].leaf = *index;
	}
	return &h->leaves[h->recent[slot].leaf];
}

/* Index + 1 of the cell, or 0. */
static inline uint32_t cell_index(struct fa_holes *h, uint64_t pos)
{
	const struct fa_holes_leaf *leaf = leaf_find(h, pos >> LEAF_SHIFT);

	return leaf ? leaf->cell[(pos >> CELL_SHIFT) & (LEAF_CELLS - 1)] : 0;
}

static inline struct fa_holes_cell *cell_find(struct fa_holes *h, uint64_t pos)
{
	uint32_t index = cell_index(h, pos);

	return index ? cell_at(h, index - 1) : NULL;
}

static inline unsigned page_of(uint64_t pos)
{
	return (unsigned)(pos >> PAGE_SHIFT) & (CELL_PAGES - 1);
}

/* Whether [start, end) between two blocks belongs to the heap. Only the birth of a block between
 * the two can change the answer, and that ends the gap: what was entered is taken back alike. */
static inline bool same_region(const struct fa_holes *h, uint64_t start, uint64_t end)
{
	if ((end >> CELL_SHIFT) - ((start - 1) >> CELL_SHIFT) <= 1)
		return true;

	size_t i = fa_regions_index(&h->regions, start);

	return i < h->regions.n && h->regions.items[i].end > end;
}

/* First covered position >= pos that lies on an edge page. Called for positions outside blocks it
 * is the start of the next block. */
bool fa_holes_next_covered(struct fa_holes *h, uint64_t pos, uint64_t *ret);

/* End of the last covered stretch before pos. *inside: pos lies in the interior of a block. */
bool fa_holes_prev_covered(struct fa_holes *h, uint64_t pos, uint64_t *ret, bool *inside);

/* End of the covered stretch around pos, which is covered and on an edge page; looks no further
 * than `limit`. */
uint64_t fa_holes_covered_end(struct fa_holes *h, uint64_t pos, uint64_t limit);

/* Everything that writing the edge at [from, to), within one page, may need memory for. */
bool fa_holes_edge_prepare(struct fa_holes *h, uint64_t from, uint64_t to);

/* Both edges of the block; its interior has no bits. */
void fa_holes_block_write(struct fa_holes *h, uint64_t from, uint64_t to, bool value);

#endif

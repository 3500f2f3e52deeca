/* SPDX-License-Identifier: MIT */
/* Holes: see fa_holes.h, holes_impl.h. */
#include <string.h>

#include "holes_impl.h"

/* ---- regions ------------------------------------------------------------------------------------
 */

static struct ft_error *region_cover(struct fa_holes *h, uint64_t start, uint64_t end, uint8_t tags)
{
	const uint64_t cell = UINT64_C(1) << CELL_SHIFT;

	return fa_regions_cover(&h->regions, start & ~(cell - 1), (end + cell - 1) & ~(cell - 1),
				tags);
}

/* ---- accounting --------------------------------------------------------------------------------
 */

/* Whole pages of [start, end). */
static bool whole_pages(uint64_t start, uint64_t end, uint64_t *first, uint64_t *last)
{
	*first = (start + PAGE - 1) >> PAGE_SHIFT;
	*last = end >> PAGE_SHIFT;
	return *first < *last;
}

/* Enter (one = 1) or take back (one = -1) the hole between two positions, if it is one. */
static void hole_count(struct fa_holes *h, uint64_t pos, uint64_t end_pos, uint64_t one)
{
	uint64_t start = pos - h->phase, end = end_pos - h->phase, size = end - start;

	if (!size || !same_region(h, start, end))
		return;

	h->totals.hole_bytes += one * size;
	if (size < PAGE) {
		h->small[size / 8] += (uint32_t)one;
		return;
	}

	unsigned bin = fa_hole_bin(size);
	uint64_t first, last;

	h->totals.bin_holes[bin] += one;
	h->totals.bin_bytes[bin] += one * size;
	if (whole_pages(start, end, &first, &last)) {
		h->totals.free_pages += one * (last - first);
		if (one == 1)
			fa_orders_add(&h->totals.orders, first, last);
		else
			fa_orders_remove(&h->totals.orders, first, last);
	}
	/* The chunk begins 8 before the hole and ends 8 before its end. */
	if (whole_pages(start - 8 + 48, end - 8, &first, &last))
		h->totals.trim_pages += one * (last - first);

	uint64_t *bound = &h->bounds[cell_index(h, pos - 1) - 1];

	if (one != 1)
		*bound |= size == *bound ? STALE : 0;
	else if (size >= (*bound & ~(uint64_t)STALE))
		*bound = size;
}

/* ---- within one page ---------------------------------------------------------------------------
 *
 * Most blocks lie in one page with other blocks on both sides of them. Then all holes that change
 * are smaller than a page and begin in one cell, and the region, the tree and the bits of use stay
 * as they are.
 */

struct near {
	struct fa_holes_cell *cell;
	uint64_t *words;
	unsigned from, to;	/* the block, in units of 16 bytes within the page */
	unsigned before, after; /* end of the block before it, begin of the one after it */
};

enum { PAGE_UNITS = PAGE >> 4 };

/* End of the last set stretch below unit `to` of a page, or 0. */
static inline unsigned units_last(const uint64_t *words, unsigned to)
{
	unsigned w = to >> 6;
	uint64_t found = to & 63 ? words[w] & ((UINT64_C(1) << (to & 63)) - 1) : 0;

	while (!found && w)
		found = words[--w];
	return found ? w * 64 + 64 - (unsigned)__builtin_clzll(found) : 0;
}

/* First set unit >= from, which is in the page; or PAGE_UNITS. */
static inline unsigned units_first(const uint64_t *words, unsigned from)
{
	unsigned w = from >> 6;
	uint64_t found = words[w] & (UINT64_MAX << (from & 63));

	while (!found && w < 3)
		found = words[++w];
	return found ? w * 64 + (unsigned)__builtin_ctzll(found) : PAGE_UNITS;
}

static inline void units_write(uint64_t *words, unsigned from, unsigned to, bool value)
{
	for (unsigned unit = from; unit < to;) {
		unsigned bit = unit & 63, room = 64 - bit, left = to - unit;
		unsigned m = room < left ? room : left;
		uint64_t mask = (UINT64_MAX >> (64 - m)) << bit;

		if (value)
			words[unit >> 6] |= mask;
		else
			words[unit >> 6] &= ~mask;
		unit += m;
	}
}

static inline unsigned unit_of(uint64_t pos)
{
	return (unsigned)(pos & (PAGE - 1)) >> 4;
}

static inline bool has_tags(const struct fa_holes_cell *cell, uint8_t tags)
{
	return cell->is_covered && (cell->tags & tags) == tags;
}

/* False: look for the neighbours elsewhere. `clear`: nothing may be set in the block's place. */
static inline bool look_near(struct fa_holes *h, uint64_t from, uint64_t to, bool clear,
			     struct near *n)
{
	unsigned page = page_of(from);

	if ((from ^ (to - 1)) >> PAGE_SHIFT || (from | to) & 15)
		return false;
	n->cell = cell_find(h, from);
	if (!n->cell || n->cell->is_fine >> page & 1)
		return false;
	n->words = n->cell->bits[page];
	n->from = unit_of(from);
	n->to = unit_of(to - 1) + 1;
	n->before = units_last(n->words, n->from);
	if (!n->before || n->to == PAGE_UNITS)
		return false;
	n->after = units_first(n->words, clear ? n->from : n->to);
	return n->after < PAGE_UNITS && n->after >= n->to;
}

static inline bool add_near(struct fa_holes *h, uint64_t from, uint64_t to, uint8_t tags)
{
	struct near n;

	if (!look_near(h, from, to, true, &n) || !has_tags(n.cell, tags))
		return false;
	units_write(n.words, n.from, n.to, true);
	h->small[2 * (n.after - n.before)]--;
	h->small[2 * (n.from - n.before)]++;
	h->small[2 * (n.after - n.to)]++;
	h->totals.hole_bytes -= to - from;
	return true;
}

static inline bool remove_near(struct fa_holes *h, uint64_t from, uint64_t to)
{
	struct near n;

	if (!look_near(h, from, to, false, &n))
		return false;
	units_write(n.words, n.from, n.to, false);
	h->small[2 * (n.from - n.before)]--;
	h->small[2 * (n.after - n.to)]--;
	h->small[2 * (n.after - n.before)]++;
	h->totals.hole_bytes += to - from;
	return true;
}

/* ---- from one page into another ----------------------------------------------------------------
 *
 * The same for a block that ends in another page than it begins, with a block before it in the one
 * and after it in the other. Only the hole that is there without it can be larger than a page.
 */

struct far {
	struct fa_holes_cell *head, *tail;
	unsigned page;		/* of its begin */
	uint64_t *first, *last; /* bits of both pages */
	unsigned from, before;	/* in units, of the first page */
	unsigned to, after;	/* of the last one */
};

static inline bool look_far(struct fa_holes *h, uint64_t from, uint64_t to, bool clear,
			    struct far *f)
{
	unsigned page = page_of(from), last = page_of(to - 1);

	if (!((from ^ (to - 1)) >> PAGE_SHIFT) || (from | to) & 15)
		return false;
	f->head = f->tail = cell_find(h, from);
	if (!f->head)
		return false;
	if ((from ^ (to - 1)) >> CELL_SHIFT) {
		if (((to - 1) >> PAGE_SHIFT) - (from >> PAGE_SHIFT) > 1)
			return false;
		f->tail = cell_find(h, to - 1);
		if (!f->tail)
			return false;
	} else if (clear && f->head->used & ((1u << last) - 1) & ~((2u << page) - 1)) {
		return false; /* something begins or ends between its edges */
	}
	if (f->head->is_fine >> page & 1 || f->tail->is_fine >> last & 1)
		return false;
	f->page = page;
	f->first = f->head->bits[page];
	f->last = f->tail->bits[last];
	f->from = unit_of(from);
	f->to = unit_of(to - 1) + 1;
	f->before = units_last(f->first, f->from);
	if (!f->before || f->to == PAGE_UNITS)
		return false;
	if (clear && (f->head->spans >> page & 1 || units_first(f->first, f->from) < PAGE_UNITS))
		return false;
	f->after = units_first(f->last, clear ? 0 : f->to);
	return f->after < PAGE_UNITS && f->after >= f->to;
}

/* Enter (one = 1) or take back (one = -1) the hole in place of the block, and the other way round
 * those beside it. */
static inline void far_count(struct fa_holes *h, uint64_t from, uint64_t to, const struct far *f,
			     uint64_t one)
{
	uint64_t before = (f->from - f->before) * UINT64_C(16);
	uint64_t after = (f->after - f->to) * UINT64_C(16);

	hole_count(h, from - before, to + after, one);
	h->small[before / 8] -= (uint32_t)one;
	h->small[after / 8] -= (uint32_t)one;
	h->totals.hole_bytes -= one * (before + after);
}

static inline bool add_far(struct fa_holes *h, uint64_t from, uint64_t to, uint8_t tags)
{
	struct far f;

	if (!look_far(h, from, to, true, &f) || !has_tags(f.head, tags) || !has_tags(f.tail, tags))
		return false;
	far_count(h, from, to, &f, UINT64_MAX);
	units_write(f.first, f.from, PAGE_UNITS, true);
	units_write(f.last, 0, f.to, true);
	f.head->spans |= (uint16_t)(1u << f.page);
	return true;
}

static inline bool remove_far(struct fa_holes *h, uint64_t from, uint64_t to)
{
	struct far f;

	if (!look_far(h, from, to, false, &f))
		return false;
	units_write(f.first, f.from, PAGE_UNITS, false);
	units_write(f.last, 0, f.to, false);
	f.head->spans &= (uint16_t) ~(1u << f.page);
	far_count(h, from, to, &f, 1);
	return true;
}

struct ft_error *fa_holes_add(struct fa_holes *h, uint64_t start, uint64_t end, uint8_t tags,
			      bool *refused)
{
	uint64_t from = start + h->phase, to = end + h->phase, before, after;
	uint64_t head_end = (from | (PAGE - 1)) + 1, tail = (to - 1) & ~(uint64_t)(PAGE - 1);
	bool inside;

	*refused = start >= end || (start | end) & 7 || to < from;
	if (*refused || add_near(h, from, to, tags) || add_far(h, from, to, tags))
		return NULL;

	bool has_before = fa_holes_prev_covered(h, from, &before, &inside);
	bool has_after = fa_holes_next_covered(h, from, &after);

	*refused = (has_before && inside) || (has_after && after < to);
	if (*refused)
		return NULL;

	if (head_end >= to) {
		if (!fa_holes_edge_prepare(h, from, to))
			return &ft_enomem;
	} else if (!fa_holes_edge_prepare(h, from, head_end) ||
		   !fa_holes_edge_prepare(h, tail, to)) {
		return &ft_enomem;
	}

	if (has_before && has_after)
		hole_count(h, before, after, UINT64_MAX);
	/* Not earlier: the hole that goes must be judged as it was when it came. */
	struct ft_error *error = region_cover(h, start, end, tags);

	if (error) {
		if (has_before && has_after)
			hole_count(h, before, after, 1);
		return error;
	}
	/* When all of the block is in one cell, of positions and of addresses. */
	if (!((start ^ (to - 1)) >> CELL_SHIFT)) {
		struct fa_holes_cell *cell = cell_find(h, from);

		cell->tags |= tags;
		cell->is_covered = true;
	}
	fa_holes_block_write(h, from, to, true);
	if (has_before)
		hole_count(h, before, from, 1);
	if (has_after)
		hole_count(h, to, after, 1);
	return NULL;
}

void fa_holes_remove(struct fa_holes *h, uint64_t start, uint64_t end)
{
	uint64_t from = start + h->phase, to = end + h->phase, before, after;
	bool inside;

	if (remove_near(h, from, to) || remove_far(h, from, to))
		return;

	bool has_before = fa_holes_prev_covered(h, from, &before, &inside);
	bool has_after = fa_holes_next_covered(h, to, &after);

	if (has_before)
		hole_count(h, before, from, UINT64_MAX);
	if (has_after)
		hole_count(h, to, after, UINT64_MAX);
	fa_holes_block_write(h, from, to, false);
	if (has_before && has_after)
		hole_count(h, before, after, 1);
}

/* Enter or take back the holes that any byte of [from, to) lies in. */
static void count_gaps(struct fa_holes *h, uint64_t from, uint64_t to, uint64_t one)
{
	uint64_t gap = 0, after;
	bool inside, has_gap = fa_holes_prev_covered(h, from, &gap, &inside) && !inside;

	while (fa_holes_next_covered(h, from, &after)) {
		if (has_gap)
			hole_count(h, gap, after, one);
		if (after >= to)
			return;
		from = gap = fa_holes_covered_end(h, after, UINT64_MAX);
		has_gap = true;
	}
}

struct ft_error *fa_holes_cover(struct fa_holes *h, uint64_t start, uint64_t end, uint8_t tags)
{
	size_t i = fa_regions_index(&h->regions, end);
	struct ft_error *error;

	if (i < h->regions.n && h->regions.items[i].start <= start) {
		h->regions.items[i].tags |= tags;
		return NULL;
	}
	count_gaps(h, start + h->phase, end + h->phase, UINT64_MAX);
	error = region_cover(h, start, end, tags);
	count_gaps(h, start + h->phase, end + h->phase, 1);
	return error;
}

void fa_holes_prefetch(struct fa_holes *h, uint64_t address)
{
	uint64_t pos = address + h->phase;
	struct fa_holes_cell *cell = cell_find(h, pos);

	if (!cell)
		return;
	__builtin_prefetch(cell->bits[page_of(pos)], 1);
	__builtin_prefetch(cell, 1);
}

const struct fa_hole_totals *fa_holes_totals(struct fa_holes *h)
{
	struct fa_hole_totals *totals = &h->totals;
	const unsigned large = fa_hole_bin(PAGE);

	memset(totals->bin_holes, 0, large * sizeof(*totals->bin_holes));
	memset(totals->bin_bytes, 0, large * sizeof(*totals->bin_bytes));
	for (unsigned i = 1; i < FA_HOLES_SMALL; i++) {
		totals->bin_holes[fa_hole_bin(i * 8)] += h->small[i];
		totals->bin_bytes[fa_hole_bin(i * 8)] += UINT64_C(8) * i * h->small[i];
	}
	totals->n_holes = 0;
	for (unsigned b = 0; b < FA_HOLE_BINS; b++)
		totals->n_holes += totals->bin_holes[b];
	return totals;
}

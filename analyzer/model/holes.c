/* SPDX-License-Identifier: MIT */
/*
 * Holes: see fa_holes.h.
 *
 * Positions are addresses plus `phase`, so that glibc's extents, too, begin at multiples of 16;
 * pages of positions only group bits and are no pages of memory. Whatever is said about memory
 * (holes, regions, pages) is computed from addresses.
 */
#include "fa_holes.h"

#include <stdlib.h>
#include <string.h>

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
	uint16_t used;	  /* pages with any bit */
	uint16_t is_fine; /* pages with a bit for 8 bytes */
	uint16_t spans;	  /* pages whose last block goes on beyond their end */
	uint8_t tags;	  /* that the cell's region is known to have */
	bool is_covered;  /* whether the cell is known to be in a region */
	uint32_t index;
	uint64_t bits[CELL_PAGES][4]; /* a bit for 16 bytes; of a fine page [0] indexes `fine` */
};

struct fa_holes_leaf {
	uint64_t key;
	uint64_t used;		   /* cells with any page in use */
	uint32_t cell[LEAF_CELLS]; /* index + 1 */
};

void fa_holes_init(struct fa_holes *holes, unsigned phase)
{
	*holes = (struct fa_holes){.phase = phase};
	holes->free_fine = UINT64_MAX;
}

void fa_holes_deinit(struct fa_holes *holes)
{
	fa_pool_deinit(&holes->pool);
	for (unsigned l = 0; l < N_UPPER; l++)
		ft_map_deinit(&holes->upper[l]);
	ft_map_deinit(&holes->leaf_map);
	free(holes->cells);
	free(holes->bounds);
	free(holes->leaves);
	free(holes->fine);
	fa_regions_deinit(&holes->regions);
	*holes = (struct fa_holes){0};
}

/* ---- leaves in use: bitmap tree ----------------------------------------------------------------
 */

static bool tree_set(struct fa_holes *h, uint64_t key)
{
	for (unsigned l = 0; l < N_UPPER; l++, key >>= 6) {
		uint64_t *word = ft_map_put(&h->upper[l], key >> 6, NULL);

		if (!word)
			return false; /* lower levels may be set: a search then finds nothing there
				       */
		bool was_used = *word;

		*word |= UINT64_C(1) << (key & 63);
		if (was_used)
			break;
	}
	return true;
}

static void tree_clear(struct fa_holes *h, uint64_t key)
{
	for (unsigned l = 0; l < N_UPPER; l++, key >>= 6) {
		uint64_t *word = ft_map_get(&h->upper[l], key >> 6);

		*word &= ~(UINT64_C(1) << (key & 63));
		if (*word)
			break;
	}
}

static uint64_t tree_word(const struct fa_holes *h, unsigned level, uint64_t key)
{
	const uint64_t *word = ft_map_get(&h->upper[level], key);

	return word ? *word : 0;
}

/* Smallest used leaf >= key. */
static bool tree_next(const struct fa_holes *h, uint64_t key, uint64_t *ret)
{
	for (unsigned l = 0; l < N_UPPER; l++) {
		uint64_t word = tree_word(h, l, key >> 6) & (UINT64_MAX << (key & 63));

		if (word) {
			key = (key & ~UINT64_C(63)) | (unsigned)__builtin_ctzll(word);
			while (l--)
				key = key << 6 | (unsigned)__builtin_ctzll(tree_word(h, l, key));
			*ret = key;
			return true;
		}
		key = (key >> 6) + 1;
	}
	return false;
}

/* Largest used leaf <= key. */
static bool tree_prev(const struct fa_holes *h, uint64_t key, uint64_t *ret)
{
	for (unsigned l = 0; l < N_UPPER; l++) {
		uint64_t word = tree_word(h, l, key >> 6) & (UINT64_MAX >> (63 - (key & 63)));

		if (word) {
			key = (key & ~UINT64_C(63)) | (63 - (unsigned)__builtin_clzll(word));
			while (l--)
				key = key << 6 |
				      (63 - (unsigned)__builtin_clzll(tree_word(h, l, key)));
			*ret = key;
			return true;
		}
		if (!(key >> 6))
			return false;
		key = (key >> 6) - 1;
	}
	return false;
}

/* ---- cells --------------------------------------------------------------------------------------
 */

static struct fa_holes_cell *cell_at(const struct fa_holes *h, size_t index)
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

static struct fa_holes_leaf *leaf_make(struct fa_holes *h, uint64_t key)
{
	struct fa_holes_leaf *leaf = leaf_find(h, key);

	if (leaf)
		return leaf;
	if (h->n_leaves == h->leaf_room) {
		size_t room = h->leaf_room ? h->leaf_room * 2 : 16;
		struct fa_holes_leaf *leaves = realloc(h->leaves, room * sizeof(*leaves));

		if (!leaves)
			return NULL;
		h->leaves = leaves;
		h->leaf_room = room;
	}

	uint64_t *index = ft_map_put(&h->leaf_map, key, NULL);

	if (!index)
		return NULL;
	*index = h->n_leaves;
	h->leaves[h->n_leaves] = (struct fa_holes_leaf){.key = key};
	return &h->leaves[h->n_leaves++];
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

static struct fa_holes_cell *cell_make(struct fa_holes *h, uint64_t pos)
{
	struct fa_holes_leaf *leaf = leaf_make(h, pos >> LEAF_SHIFT);

	if (!leaf)
		return NULL;

	uint32_t *index = &leaf->cell[(pos >> CELL_SHIFT) & (LEAF_CELLS - 1)];

	if (*index)
		return cell_at(h, *index - 1);
	if (h->n_cells == h->n_slabs * CELL_SLAB) {
		if (h->n_slabs == h->slab_room) {
			size_t room = h->slab_room ? h->slab_room * 2 : 16;
			struct fa_holes_cell **cells = realloc(h->cells, room * sizeof(*cells));

			if (!cells)
				return NULL;
			h->cells = cells;

			uint64_t *bounds = realloc(h->bounds, room * CELL_SLAB * sizeof(*bounds));

			if (!bounds)
				return NULL;
			h->bounds = bounds;
			h->slab_room = room;
		}
		h->cells[h->n_slabs] =
			fa_pool_take(&h->pool, CELL_SLAB * sizeof(struct fa_holes_cell));
		if (!h->cells[h->n_slabs])
			return NULL;
		h->n_slabs++;
	}
	h->bounds[h->n_cells] = 0;
	cell_at(h, h->n_cells)->index = (uint32_t)h->n_cells;
	*index = (uint32_t)++h->n_cells;
	return cell_at(h, *index - 1);
}

/* ---- bits of a page ----------------------------------------------------------------------------
 */

static unsigned page_of(uint64_t pos)
{
	return (unsigned)(pos >> PAGE_SHIFT) & (CELL_PAGES - 1);
}

/* The words of the page, and how many bytes a bit stands for (log2). */
static uint64_t *page_words(const struct fa_holes *h, struct fa_holes_cell *cell, unsigned page,
			    unsigned *grain)
{
	if (cell->is_fine >> page & 1) {
		*grain = 3;
		return h->fine[cell->bits[page][0]];
	}
	*grain = 4;
	return cell->bits[page];
}

/* From here on every edge in the page may be any multiple of 8. */
static bool page_refine(struct fa_holes *h, struct fa_holes_cell *cell, unsigned page)
{
	uint64_t index = h->free_fine;

	if (index != UINT64_MAX) {
		h->free_fine = h->fine[index][0];
	} else {
		if (h->n_fine == h->fine_room) {
			size_t room = h->fine_room ? h->fine_room * 2 : 16;
			uint64_t(*fine)[8] = realloc(h->fine, room * sizeof(*fine));

			if (!fine)
				return false;
			h->fine = fine;
			h->fine_room = room;
		}
		index = h->n_fine++;
	}

	uint64_t wide[8] = {0};

	for (unsigned unit = 0; unit < 256; unit++)
		if (cell->bits[page][unit / 64] >> (unit % 64) & 1)
			wide[unit / 32] |= UINT64_C(3) << (unit % 32 * 2);
	memcpy(h->fine[index], wide, sizeof(wide));
	memset(cell->bits[page], 0, sizeof(cell->bits[page]));
	cell->bits[page][0] = index;
	cell->is_fine |= (uint16_t)(1u << page);
	return true;
}

/* First set byte >= from within the page, or PAGE. */
static unsigned page_first(const struct fa_holes *h, struct fa_holes_cell *cell, unsigned page,
			   unsigned from)
{
	unsigned grain;
	const uint64_t *words = page_words(h, cell, page, &grain);
	unsigned unit = from >> grain, n_words = grain == 3 ? 8 : 4;
	uint64_t mask = UINT64_MAX << (unit & 63);

	for (unsigned w = unit >> 6; w < n_words; w++, mask = UINT64_MAX)
		if (words[w] & mask) {
			unsigned at = (w * 64 + (unsigned)__builtin_ctzll(words[w] & mask))
				      << grain;

			return at > from ? at : from;
		}
	return PAGE;
}

/* End of the last set stretch below `to` (> 0) within the page, or 0. */
static unsigned page_last(const struct fa_holes *h, struct fa_holes_cell *cell, unsigned page,
			  unsigned to)
{
	unsigned grain;
	const uint64_t *words = page_words(h, cell, page, &grain);
	unsigned unit = (to - 1) >> grain;
	uint64_t mask = UINT64_MAX >> (63 - (unit & 63));

	for (unsigned w = unit >> 6; w != UINT32_MAX; w--, mask = UINT64_MAX)
		if (words[w] & mask) {
			unsigned end = (w * 64 + 64 - (unsigned)__builtin_clzll(words[w] & mask))
				       << grain;

			return end < to ? end : to;
		}
	return 0;
}

/* First clear byte >= from within the page, or PAGE. */
static unsigned page_gap(const struct fa_holes *h, struct fa_holes_cell *cell, unsigned page,
			 unsigned from)
{
	unsigned grain;
	const uint64_t *words = page_words(h, cell, page, &grain);
	unsigned unit = from >> grain, n_words = grain == 3 ? 8 : 4;
	uint64_t mask = UINT64_MAX << (unit & 63);

	for (unsigned w = unit >> 6; w < n_words; w++, mask = UINT64_MAX)
		if (~words[w] & mask)
			return (w * 64 + (unsigned)__builtin_ctzll(~words[w] & mask)) << grain;
	return PAGE;
}

static void page_write(const struct fa_holes *h, struct fa_holes_cell *cell, unsigned page,
		       unsigned from, unsigned to, bool value)
{
	unsigned grain;
	uint64_t *words = page_words(h, cell, page, &grain);

	for (unsigned unit = from >> grain, end = to >> grain; unit < end;) {
		unsigned bit = unit & 63, n = 64 - bit < end - unit ? 64 - bit : end - unit;
		uint64_t mask = (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << bit;

		if (value)
			words[unit >> 6] |= mask;
		else
			words[unit >> 6] &= ~mask;
		unit += n;
	}
}

/* ---- neighbours --------------------------------------------------------------------------------
 */

static uint64_t page_base(uint64_t pos, unsigned page)
{
	return (pos & ~(uint64_t)((1 << CELL_SHIFT) - 1)) + ((uint64_t)page << PAGE_SHIFT);
}

/* First covered position >= pos that lies on an edge page. Called for positions outside blocks it
 * is the start of the next block. */
static bool next_covered(struct fa_holes *h, uint64_t pos, uint64_t *ret)
{
	struct fa_holes_leaf *leaf = leaf_find(h, pos >> LEAF_SHIFT);
	unsigned c = (unsigned)(pos >> CELL_SHIFT) & (LEAF_CELLS - 1), page = page_of(pos);

	if (leaf && leaf->used >> c & 1) {
		struct fa_holes_cell *cell = cell_at(h, leaf->cell[c] - 1);

		if (cell->used >> page & 1) {
			unsigned at = page_first(h, cell, page, (unsigned)pos & (PAGE - 1));

			if (at < PAGE) {
				*ret = page_base(pos, page) + at;
				return true;
			}
		}

		unsigned more = cell->used & (UINT32_MAX << page << 1);

		if (more) {
			page = (unsigned)__builtin_ctz(more);
			*ret = page_base(pos, page) + page_first(h, cell, page, 0);
			return true;
		}
	}

	uint64_t key, cells = leaf && c < 63 ? leaf->used & (UINT64_MAX << (c + 1)) : 0;

	if (!cells) {
		if (!tree_next(h, (pos >> LEAF_SHIFT) + 1, &key))
			return false;
		leaf = leaf_find(h, key);
		cells = leaf->used;
	}
	c = (unsigned)__builtin_ctzll(cells);

	struct fa_holes_cell *cell = cell_at(h, leaf->cell[c] - 1);

	page = (unsigned)__builtin_ctz(cell->used);
	*ret = (leaf->key << LEAF_SHIFT) + ((uint64_t)c << CELL_SHIFT) +
	       ((uint64_t)page << PAGE_SHIFT) + page_first(h, cell, page, 0);
	return true;
}

/* End of the last covered stretch before pos. *inside: pos lies in the interior of a block. */
static bool prev_covered(struct fa_holes *h, uint64_t pos, uint64_t *ret, bool *inside)
{
	struct fa_holes_leaf *leaf = leaf_find(h, pos >> LEAF_SHIFT);
	unsigned c = (unsigned)(pos >> CELL_SHIFT) & (LEAF_CELLS - 1), page = page_of(pos);
	struct fa_holes_cell *cell;

	*inside = false;
	if (leaf && leaf->used >> c & 1) {
		unsigned off = (unsigned)pos & (PAGE - 1);

		cell = cell_at(h, leaf->cell[c] - 1);
		if (off && cell->used >> page & 1) {
			unsigned end = page_last(h, cell, page, off);

			if (end) {
				*ret = page_base(pos, page) + end;
				return true;
			}
		}

		unsigned less = cell->used & ((1u << page) - 1);

		if (less) {
			page = 31 - (unsigned)__builtin_clz(less);
			*inside = cell->spans >> page & 1;
			*ret = page_base(pos, page) + page_last(h, cell, page, PAGE);
			return true;
		}
	}

	uint64_t key, cells = leaf ? leaf->used & ((UINT64_C(1) << c) - 1) : 0;

	if (!cells) {
		if (!(pos >> LEAF_SHIFT) || !tree_prev(h, (pos >> LEAF_SHIFT) - 1, &key))
			return false;
		leaf = leaf_find(h, key);
		cells = leaf->used;
	}
	c = 63 - (unsigned)__builtin_clzll(cells);
	cell = cell_at(h, leaf->cell[c] - 1);
	page = 31 - (unsigned)__builtin_clz(cell->used);
	*inside = cell->spans >> page & 1;
	*ret = (leaf->key << LEAF_SHIFT) + ((uint64_t)c << CELL_SHIFT) +
	       ((uint64_t)page << PAGE_SHIFT) + page_last(h, cell, page, PAGE);
	return true;
}

/* End of the covered stretch around pos, which is covered and on an edge page; looks no further
 * than `limit`. */
static uint64_t covered_end(struct fa_holes *h, uint64_t pos, uint64_t limit)
{
	while (pos < limit) {
		struct fa_holes_cell *cell = cell_find(h, pos);
		unsigned page = page_of(pos);

		if (!cell || !(cell->used >> page & 1))
			return pos;

		unsigned gap = page_gap(h, cell, page, (unsigned)pos & (PAGE - 1));
		bool spans = cell->spans >> page & 1;

		pos = page_base(pos, page) + gap;
		if (gap < PAGE)
			return pos;
		/* The block's last page is the next that is in use. */
		if (spans && !next_covered(h, pos, &pos))
			return pos;
	}
	return pos;
}

/* ---- regions ------------------------------------------------------------------------------------
 */

static struct ft_error *region_cover(struct fa_holes *h, uint64_t start, uint64_t end, uint8_t tags)
{
	const uint64_t cell = UINT64_C(1) << CELL_SHIFT;

	return fa_regions_cover(&h->regions, start & ~(cell - 1), (end + cell - 1) & ~(cell - 1),
				tags);
}

/* Whether [start, end) between two blocks belongs to the heap. Only the birth of a block between
 * the two can change the answer, and that ends the gap: what was entered is taken back alike. */
static bool same_region(const struct fa_holes *h, uint64_t start, uint64_t end)
{
	if ((end >> CELL_SHIFT) - ((start - 1) >> CELL_SHIFT) <= 1)
		return true;

	size_t i = fa_regions_index(&h->regions, start);

	return i < h->regions.n && h->regions.items[i].end > end;
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

/* Bits of [from, to) within one page. The cell exists, and is fine if it must be. */
static void edge_write(struct fa_holes *h, uint64_t from, uint64_t to, bool value)
{
	struct fa_holes_leaf *leaf = leaf_find(h, from >> LEAF_SHIFT);
	unsigned c = (unsigned)(from >> CELL_SHIFT) & (LEAF_CELLS - 1), page = page_of(from);
	struct fa_holes_cell *cell = cell_at(h, leaf->cell[c] - 1);
	unsigned low = (unsigned)from & (PAGE - 1);

	page_write(h, cell, page, low, low + (unsigned)(to - from), value);
	if (value) {
		cell->used |= (uint16_t)(1u << page);
		leaf->used |= UINT64_C(1) << c;
		return;
	}
	if (page_first(h, cell, page, 0) < PAGE)
		return;

	if (cell->is_fine >> page & 1) {
		uint64_t index = cell->bits[page][0];

		h->fine[index][0] = h->free_fine;
		h->free_fine = index;
		cell->bits[page][0] = 0;
		cell->is_fine &= (uint16_t) ~(1u << page);
	}
	cell->used &= (uint16_t) ~(1u << page);
	if (cell->used)
		return;
	leaf->used &= ~(UINT64_C(1) << c);
	if (!leaf->used)
		tree_clear(h, leaf->key);
}

/* Everything that writing the edge at [from, to) may need memory for. */
static bool edge_prepare(struct fa_holes *h, uint64_t from, uint64_t to)
{
	struct fa_holes_cell *cell = cell_make(h, from);

	if (!cell || (!leaf_find(h, from >> LEAF_SHIFT)->used && !tree_set(h, from >> LEAF_SHIFT)))
		return false;
	return !((from | to) & 8) || cell->is_fine >> page_of(from) & 1 ||
	       page_refine(h, cell, page_of(from));
}

/* Both edges of the block; its interior has no bits. */
static void block_write(struct fa_holes *h, uint64_t from, uint64_t to, bool value)
{
	uint64_t head_end = (from | (PAGE - 1)) + 1, tail = (to - 1) & ~(uint64_t)(PAGE - 1);

	if (head_end >= to) {
		edge_write(h, from, to, value);
		return;
	}

	struct fa_holes_cell *cell = cell_find(h, from);

	if (value)
		cell->spans |= (uint16_t)(1u << page_of(from));
	else
		cell->spans &= (uint16_t) ~(1u << page_of(from));
	edge_write(h, from, head_end, value);
	edge_write(h, tail, to, value);
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

	bool has_before = prev_covered(h, from, &before, &inside);
	bool has_after = next_covered(h, from, &after);

	*refused = (has_before && inside) || (has_after && after < to);
	if (*refused)
		return NULL;

	if (head_end >= to) {
		if (!edge_prepare(h, from, to))
			return &ft_enomem;
	} else if (!edge_prepare(h, from, head_end) || !edge_prepare(h, tail, to)) {
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
	block_write(h, from, to, true);
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

	bool has_before = prev_covered(h, from, &before, &inside);
	bool has_after = next_covered(h, to, &after);

	if (has_before)
		hole_count(h, before, from, UINT64_MAX);
	if (has_after)
		hole_count(h, to, after, UINT64_MAX);
	block_write(h, from, to, false);
	if (has_before && has_after)
		hole_count(h, before, after, 1);
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

/* ---- queries ------------------------------------------------------------------------------------
 */

bool fa_holes_next(const struct fa_holes *holes, uint64_t *cursor, uint64_t *start, uint64_t *end)
{
	/* Searching only moves the memory of the leaves found lately. */
	struct fa_holes *h = (struct fa_holes *)(uintptr_t)holes;
	uint64_t at, stop;

	while (next_covered(h, *cursor, &at)) {
		uint64_t gap = covered_end(h, at, UINT64_MAX);

		if (!next_covered(h, gap, &stop))
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

bool fa_holes_first(const struct fa_holes *holes, uint64_t from, uint64_t *start)
{
	struct fa_holes *h = (struct fa_holes *)(uintptr_t)holes;

	if (!next_covered(h, from + h->phase, start))
		return false;
	*start -= h->phase;
	return true;
}

bool fa_holes_last_end(const struct fa_holes *holes, uint64_t to, uint64_t *end)
{
	struct fa_holes *h = (struct fa_holes *)(uintptr_t)holes;
	bool inside;

	if (!prev_covered(h, to + h->phase, end, &inside) || inside)
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

	if (!cell->used || !next_covered(h, base, &at))
		return 0;
	while (at < limit) {
		uint64_t gap = covered_end(h, at, limit + 1);

		/* A hole belongs to the cell of the byte before it. */
		if (gap > limit || !next_covered(h, gap, &stop))
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

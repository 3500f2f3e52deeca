/* SPDX-License-Identifier: MIT */
/* Holes, cells and their bits: see holes_impl.h. */
#include <stdlib.h>
#include <string.h>

#include "holes_impl.h"

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
	*index = (uint32_t)++h->n_cells;
	return cell_at(h, *index - 1);
}

/* ---- bits of a page ----------------------------------------------------------------------------
 */

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

bool fa_holes_next_covered(struct fa_holes *h, uint64_t pos, uint64_t *ret)
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

bool fa_holes_prev_covered(struct fa_holes *h, uint64_t pos, uint64_t *ret, bool *inside)
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

uint64_t fa_holes_covered_end(struct fa_holes *h, uint64_t pos, uint64_t limit)
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
		if (spans && !fa_holes_next_covered(h, pos, &pos))
			return pos;
	}
	return pos;
}

/* ---- edges --------------------------------------------------------------------------------------
 */

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

bool fa_holes_edge_prepare(struct fa_holes *h, uint64_t from, uint64_t to)
{
	struct fa_holes_cell *cell = cell_make(h, from);

	if (!cell || (!leaf_find(h, from >> LEAF_SHIFT)->used && !tree_set(h, from >> LEAF_SHIFT)))
		return false;
	return !((from | to) & 8) || cell->is_fine >> page_of(from) & 1 ||
	       page_refine(h, cell, page_of(from));
}

void fa_holes_block_write(struct fa_holes *h, uint64_t from, uint64_t to, bool value)
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

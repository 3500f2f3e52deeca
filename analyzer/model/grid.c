/* SPDX-License-Identifier: MIT */
/* Grid: see fa_grid.h. */
#include "fa_grid.h"

#include <stdlib.h>
#include <string.h>

enum {
	GRID_FIRST_SHIFT = 12,
	/* Gaps of up to this many rows stay in the picture: leaving them out would save little and
	 * hide that the addresses are near each other. */
	BAND_GAP = 4,
};

struct fa_granule {
	uint64_t key; /* address >> shift */
	uint64_t live;
	uint8_t *cells; /* of all columns; those not yet closed are 0 */
	uint8_t tags;
};

struct ft_error *fa_grid_init(struct fa_grid *grid, uint32_t n_columns, size_t max_granules)
{
	*grid = (struct fa_grid){
		.shift = GRID_FIRST_SHIFT, .n_columns = n_columns, .max_granules = max_granules};
	ft_map_init(&grid->index);
	ft_arena_init(&grid->cells);
	ft_arena_init(&grid->spare);
	return NULL;
}

void fa_grid_deinit(struct fa_grid *grid)
{
	ft_map_deinit(&grid->index);
	ft_arena_deinit(&grid->cells);
	ft_arena_deinit(&grid->spare);
	free(grid->granules);
	*grid = (struct fa_grid){0};
}

/* The granule of `key`, or NULL. */
static inline struct fa_granule *granule_recall(struct fa_grid *grid, uint64_t key)
{
	unsigned slot = (unsigned)key % FA_GRID_RECENT;

	if (__builtin_expect(grid->recent[slot].key != key + 1, 0)) {
		const uint64_t *index = ft_map_get(&grid->index, key);

		if (!index)
			return NULL;
		grid->recent[slot].key = key + 1;
		grid->recent[slot].granule = *index;
	}
	return &grid->granules[grid->recent[slot].granule];
}

static int granule_order(const void *a, const void *b)
{
	const struct fa_granule *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

/* Twice the granule: neighbours become one, their histories the mean. */
static struct ft_error *grid_coarsen(struct fa_grid *grid)
{
	size_t n = 0;

	grid->spare = grid->cells;
	ft_arena_init(&grid->cells);
	ft_map_deinit(&grid->index);
	memset(grid->recent, 0, sizeof(grid->recent));
	if (grid->n_granules)
		qsort(grid->granules, grid->n_granules, sizeof(*grid->granules), granule_order);

	for (size_t i = 0; i < grid->n_granules; n++) {
		struct fa_granule sum = {.key = grid->granules[i].key >> 1};
		uint8_t *cells = ft_arena_alloc(&grid->cells, grid->n_columns);
		const uint8_t *half[2] = {NULL, NULL};

		if (!cells)
			return &ft_enomem;
		for (; i < grid->n_granules && grid->granules[i].key >> 1 == sum.key; i++) {
			sum.live += grid->granules[i].live;
			sum.tags |= grid->granules[i].tags;
			half[grid->granules[i].key & 1] = grid->granules[i].cells;
		}
		for (uint32_t c = 0; c < grid->n_columns; c++)
			cells[c] = (uint8_t)(((half[0] ? half[0][c] : 0) +
					      (half[1] ? half[1][c] : 0) + 1) /
					     2);
		sum.cells = cells;
		grid->granules[n] = sum;

		uint64_t *index = ft_map_put(&grid->index, sum.key, NULL);

		if (!index)
			return &ft_enomem;
		*index = n;
	}
	grid->n_granules = n;
	grid->shift++;
	ft_arena_deinit(&grid->spare);
	return NULL;
}

static struct ft_error *granule_make(struct fa_grid *grid, uint64_t key, struct fa_granule **ret)
{
	bool created;
	uint64_t *index = ft_map_put(&grid->index, key, &created);

	if (!index)
		return &ft_enomem;
	if (created) {
		if (grid->n_granules == grid->granule_room) {
			size_t room = grid->granule_room ? grid->granule_room * 2 : 64;
			struct fa_granule *granules =
				realloc(grid->granules, room * sizeof(*granules));

			if (!granules)
				return &ft_enomem;
			grid->granules = granules;
			grid->granule_room = room;
		}

		uint8_t *cells = ft_arena_alloc(&grid->cells, grid->n_columns);

		if (!cells)
			return &ft_enomem;
		memset(cells, 0, grid->n_columns);
		*index = grid->n_granules++;
		grid->granules[*index] = (struct fa_granule){.key = key, .cells = cells};
	}
	*ret = &grid->granules[*index];
	return NULL;
}

/* Bytes of [start, end) within the granule. */
static uint64_t granule_share(const struct fa_grid *grid, uint64_t key, uint64_t start,
			      uint64_t end)
{
	uint64_t low = key << grid->shift, high = (key + 1) << grid->shift;

	return (end < high ? end : high) - (start > low ? start : low);
}

struct ft_error *fa_grid_add(struct fa_grid *grid, uint64_t start, uint64_t end, uint8_t tags)
{
	/* Mostly one that is there, for all of it. */
	if (start >> grid->shift == (end - 1) >> grid->shift) {
		struct fa_granule *granule = granule_recall(grid, start >> grid->shift);

		if (granule) {
			granule->live += end - start;
			granule->tags |= tags;
			return NULL;
		}
	}

	/* Coarsen first for all the block's granules, so that it is counted in one width. */
	while (grid->n_granules + (((end - 1) >> grid->shift) - (start >> grid->shift)) >=
	       grid->max_granules) {
		if (((end - 1) >> grid->shift) == (start >> grid->shift) &&
		    ft_map_get(&grid->index, start >> grid->shift))
			break;

		struct ft_error *error = grid_coarsen(grid);

		if (error)
			return error;
	}

	for (uint64_t key = start >> grid->shift; key <= (end - 1) >> grid->shift; key++) {
		struct fa_granule *granule;
		struct ft_error *error = granule_make(grid, key, &granule);

		if (error)
			return error;
		granule->live += granule_share(grid, key, start, end);
		granule->tags |= tags;
	}
	return NULL;
}

void fa_grid_remove(struct fa_grid *grid, uint64_t start, uint64_t end)
{
	for (uint64_t key = start >> grid->shift; key <= (end - 1) >> grid->shift; key++) {
		struct fa_granule *granule = granule_recall(grid, key);

		if (granule)
			granule->live -= granule_share(grid, key, start, end);
	}
}

void fa_grid_next_column(struct fa_grid *grid)
{
	if (grid->column >= grid->n_columns)
		return;
	for (size_t i = 0; i < grid->n_granules; i++) {
		const struct fa_granule *granule = &grid->granules[i];
		/* Round up: a granule with one live byte is not empty. */
		uint64_t level =
			((granule->live * 255) + ((UINT64_C(1) << grid->shift) - 1)) >> grid->shift;

		granule->cells[grid->column] = (uint8_t)(level < 255 ? level : 255);
	}
	grid->column++;
}

/* ---- picture ------------------------------------------------------------------------------------
 */

/* Cut the sorted granules into bands for rows of 2^shift bytes. Returns the number of rows; bands
 * may be NULL to count only. */
static uint64_t bands_cut(const struct fa_granule *granules, size_t n, unsigned granule_shift,
			  unsigned shift, struct fa_band *bands, size_t *n_bands)
{
	uint64_t rows = 0, first = 0, last = 0;

	*n_bands = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t row = granules[i].key >> (shift - granule_shift);

		if (i && row - last <= BAND_GAP + 1) {
			rows += row - last;
		} else {
			first = row;
			rows++;
			++*n_bands;
		}
		last = row;
		if (!bands)
			continue;

		struct fa_band *band = &bands[*n_bands - 1];

		if (first == row && band->n_rows == 0)
			*band = (struct fa_band){.start = row << shift,
						 .first_row = (uint32_t)(rows - 1)};
		band->end = (row + 1) << shift;
		band->n_rows = (uint32_t)(row - first + 1);
		band->tags |= granules[i].tags;
	}
	return rows;
}

/* Add each granule's history to its row: the mean over the row's addresses, 1 at least where
 * anything was live. */
static struct ft_error *picture_fill(const struct fa_grid *grid, const struct fa_granule *granules,
				     size_t n, unsigned shift, struct fa_picture *picture)
{
	size_t n_cells = (size_t)picture->n_rows * picture->n_columns;
	uint32_t *sums = calloc(n_cells ? n_cells : 1, sizeof(*sums));

	picture->cells = malloc(n_cells ? n_cells : 1);
	if (!sums || !picture->cells) {
		free(sums);
		return &ft_enomem;
	}

	size_t band = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t address = granules[i].key << grid->shift;

		while (address >= picture->bands[band].end)
			band++;

		uint32_t row = picture->bands[band].first_row +
			       (uint32_t)((address - picture->bands[band].start) >> shift);

		for (uint32_t c = 0; c < picture->n_columns; c++)
			sums[(size_t)c * picture->n_rows + row] += granules[i].cells[c];
	}
	for (size_t i = 0; i < n_cells; i++) {
		uint32_t level = sums[i] >> (shift - grid->shift);

		picture->cells[i] = (uint8_t)(sums[i] && !level ? 1 : level);
	}
	free(sums);
	return NULL;
}

struct ft_error *fa_grid_fold(const struct fa_grid *grid, uint32_t max_rows, struct fa_picture *ret)
{
	struct fa_picture picture = {.n_columns = grid->column};
	size_t n = grid->n_granules;
	struct fa_granule *sorted = malloc((n ? n : 1) * sizeof(*sorted));

	if (!sorted)
		return &ft_enomem;
	if (n)
		memcpy(sorted, grid->granules, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), granule_order);

	unsigned shift = grid->shift;

	while (bands_cut(sorted, n, grid->shift, shift, NULL, &picture.n_bands) > max_rows)
		shift++;

	struct ft_error *error = &ft_enomem;

	picture.bin_bytes = UINT64_C(1) << shift;
	picture.bands = calloc(picture.n_bands ? picture.n_bands : 1, sizeof(*picture.bands));
	if (picture.bands) {
		picture.n_rows = (uint32_t)bands_cut(sorted, n, grid->shift, shift, picture.bands,
						     &picture.n_bands);
		error = picture_fill(grid, sorted, n, shift, &picture);
	}
	free(sorted);
	if (error) {
		fa_picture_deinit(&picture);
		return error;
	}
	*ret = picture;
	return NULL;
}

void fa_picture_deinit(struct fa_picture *picture)
{
	free(picture->bands);
	free(picture->cells);
	*picture = (struct fa_picture){0};
}

/* SPDX-License-Identifier: MIT */
/*
 * Grid: how full which addresses were over time
 *
 * Counts live bytes by granule of 2^shift bytes and keeps, at the end of each column, one byte a
 * granule. The granule begins at a page and doubles whenever more than `max_granules` were ever in
 * use, so that memory is bounded (max_granules x columns bytes) whatever the heap does; what was
 * recorded before is then averaged.
 *
 * At the end the grid is folded into a picture of few rows; address gaps that nobody used are left
 * out of it. Single-threaded.
 */
#ifndef FA_GRID_H
#define FA_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_arena.h"
#include "ft_error.h"
#include "ft_map.h"

struct fa_granule; /* live bytes, tags, history */

enum { FA_GRID_RECENT = 4096 };

struct fa_grid {
	unsigned shift;
	uint32_t n_columns, column; /* in all; being filled */
	size_t max_granules;
	struct ft_map index; /* address >> shift -> granule */
	struct {
		uint64_t key; /* + 1; 0: none */
		size_t granule;
	} recent[FA_GRID_RECENT]; /* found lately, by the low bits of their key */
	struct fa_granule *granules;
	size_t n_granules, granule_room;
	struct ft_arena cells; /* n_columns bytes a granule */
	struct ft_arena spare; /* the former ones, while coarsening */
};

struct ft_error *fa_grid_init(struct fa_grid *grid, uint32_t n_columns, size_t max_granules);
void fa_grid_deinit(struct fa_grid *grid);

/* The block [start, end) came to life; `tags` are remembered for its granules for good. After an
 * error only deinit is allowed. */
struct ft_error *fa_grid_add(struct fa_grid *grid, uint64_t start, uint64_t end, uint8_t tags);
void fa_grid_remove(struct fa_grid *grid, uint64_t start, uint64_t end);

/* Close the column: 0 for granules without a live byte, else 1..255 by their share of live bytes.
 * No effect once all columns are closed. */
void fa_grid_next_column(struct fa_grid *grid);

/* A stretch of addresses without a long gap. */
struct fa_band {
	uint64_t start, end; /* multiples of bin_bytes */
	uint32_t first_row, n_rows;
	uint8_t tags;
};

struct fa_picture {
	uint64_t bin_bytes; /* addresses a row stands for */
	uint32_t n_rows, n_columns;
	struct fa_band *bands; /* in address order */
	size_t n_bands;
	uint8_t *cells; /* column by column, n_rows to a column */
};

/* Fold into at most `max_rows` rows. Release with fa_picture_deinit(). Nothing ever live gives a
 * picture without rows. */
struct ft_error *fa_grid_fold(const struct fa_grid *grid, uint32_t max_rows,
			      struct fa_picture *ret);
void fa_picture_deinit(struct fa_picture *picture);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Residency: which pages the kernel held at one moment
 *
 * A list of runs of 4 KiB pages, by address. What no run covers was not looked at.
 */
#ifndef FA_RESIDENCY_H
#define FA_RESIDENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_error.h"

enum fa_residency_state { FA_RUN_ABSENT, FA_RUN_RESIDENT, FA_RUN_SWAPPED, FA_RUN_HUGE };

struct fa_residency_run {
	uint64_t page, n_pages; /* address >> 12 */
	uint8_t state;
};

struct fa_residency {
	struct fa_residency_run *runs; /* owned; zeroed memory knows nothing */
	size_t n, room;
	uint64_t resident, swapped, huge; /* pages in all; `resident` includes `huge` */
};

void fa_residency_deinit(struct fa_residency *residency);
void fa_residency_clear(struct fa_residency *residency);

/* Append [page, page + n_pages), which begins at or after the end of the last one. */
struct ft_error *fa_residency_add(struct fa_residency *residency, uint64_t page, uint64_t n_pages,
				  uint8_t state);

struct fa_residency_count {
	uint64_t known, resident, swapped, huge;
};
/* Pages of [first, last). */
struct fa_residency_count fa_residency_count(const struct fa_residency *residency, uint64_t first,
					     uint64_t last);

/* Bits of the `n` <= 32 pages from `first` on: looked at, and resident. */
void fa_residency_bits(const struct fa_residency *residency, uint64_t first, unsigned n,
		       uint32_t *known, uint32_t *resident);

#endif

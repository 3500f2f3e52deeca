/* SPDX-License-Identifier: MIT */
/*
 * Regions: a growing set of address ranges
 *
 * Sorted, and neither overlapping nor touching each other: what meets is merged. Tags of merged
 * ranges are joined. Single-threaded.
 */
#ifndef FA_REGIONS_H
#define FA_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_error.h"

struct fa_region {
	uint64_t start, end;
	uint8_t tags; /* the caller's */
};

struct fa_regions {
	struct fa_region *items; /* owned; zeroed memory is an empty set */
	size_t n, room;
};

void fa_regions_deinit(struct fa_regions *regions);

/* Put [start, end) into the set. On error the set is unchanged. */
struct ft_error *fa_regions_cover(struct fa_regions *regions, uint64_t start, uint64_t end,
				  uint8_t tags);

/* Index of the first region that ends at or after `address`; n when there is none. */
size_t fa_regions_index(const struct fa_regions *regions, uint64_t address);

/* Whether any byte of [start, end) is in the set. */
bool fa_regions_meet(const struct fa_regions *regions, uint64_t start, uint64_t end);

#endif

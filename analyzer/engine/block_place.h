/* SPDX-License-Identifier: MIT */
/* Where a block of the engine's lies: fa_place.h. */
#ifndef BLOCK_PLACE_H
#define BLOCK_PLACE_H

#include "fa_pass.h"
#include "fa_place.h"

static inline struct fa_place block_place(bool is_glibc, const struct fa_block *block)
{
	return fa_place_of(is_glibc, block->address, block->size, block->usable, block->flags);
}

static inline void block_extent(bool is_glibc, const struct fa_block *block, uint64_t *start,
				uint64_t *end)
{
	struct fa_place place = block_place(is_glibc, block);

	*start = place.start;
	*end = place.end;
}

#endif

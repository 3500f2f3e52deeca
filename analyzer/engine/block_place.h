/* SPDX-License-Identifier: MIT */
/* Which bytes a block really takes: see allocator.c. Inlined into the loop of the replay. */
#ifndef BLOCK_PLACE_H
#define BLOCK_PLACE_H

#include "fa_layout.h"
#include "fa_pass.h"

enum { GLIBC_HEADER = 8, GLIBC_MMAP_HEADER = 16, GLIBC_MIN_USABLE = 24 };

static inline void block_extent(bool is_glibc, const struct fa_block *block, uint64_t *start,
				uint64_t *end)
{
	uint64_t usable = block->usable;

	*start = block->address & ~UINT64_C(7);
	if (is_glibc && block->flags & FT_EVENT_F_MMAPPED) {
		*start -= GLIBC_MMAP_HEADER;
	} else if (is_glibc) {
		/* Equal sizes: exact or unknown; the rule gives the right answer for both. */
		if (usable == block->size) {
			usable = ((usable + GLIBC_HEADER + 15) & ~UINT64_C(15)) - GLIBC_HEADER;
			if (usable < GLIBC_MIN_USABLE)
				usable = GLIBC_MIN_USABLE;
		}
		if (usable % 16 == 8 && usable >= GLIBC_MIN_USABLE && !(block->address & 15))
			*start -= GLIBC_HEADER;
	}
	if (!usable)
		usable = 8;
	*end = (block->address + usable + 7) & ~UINT64_C(7);
}

static inline struct fa_place block_place(bool is_glibc, const struct fa_block *block)
{
	struct fa_place place = {
		.own_mapping = is_glibc && block->flags & FT_EVENT_F_MMAPPED,
		.tag = block->flags & FT_EVENT_F_NON_MAIN ? FA_TAG_ARENA : FA_TAG_MAIN,
	};

	block_extent(is_glibc, block, &place.start, &place.end);
	return place;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Page map: the records, which the files of it share
 *
 *	pagemap.c	blocks come and go, residency
 *	pagemap_view.c	who holds what: shares, pages one by one, the map in larger pages
 */
#ifndef PAGEMAP_IMPL_H
#define PAGEMAP_IMPL_H

#include "fa_pagemap.h"

enum { GROUP_SHIFT = 4, GROUP = 1 << GROUP_SHIFT, FA_SLAB = 256, SPILLED = 255 };

struct fa_page {
	uint32_t live : 22;   /* bytes; a 2 MiB page fits */
	uint32_t absent : 1;  /* live > 0, and known not to be resident */
	uint32_t n_sites : 8; /* 0..FA_PAGE_SITES, or SPILLED: site[0] is then an index of spills */
	uint32_t site[FA_PAGE_SITES];
	uint32_t share[FA_PAGE_SITES]; /* bytes | blocks << SHARE_BLOCKS */
};
_Static_assert(sizeof(struct fa_page) == 28, "with fa_holes at most 64 bytes a page");

/* Both counts of a share are one word, so that they change with one addition. At most 513 blocks
 * have bytes on a 4 KiB page; on larger pages blocks are not counted. */
enum { SHARE_BLOCKS = 22, SHARE_BYTES = (1 << SHARE_BLOCKS) - 1 };

/* The sites of a crowded page, in no order. Sites and shares are apart, so that looking for a site
 * goes through half of the lines. 4 KiB pages hold at most 128 malloc blocks, so that a walk is
 * short. */
enum { SPILL_STEP = 8 };

struct fa_page_spill {
	uint32_t *sites;  /* `room`, and as many shares behind them; kept for the next user */
	uint32_t n, room; /* in use; a multiple of SPILL_STEP */
	uint32_t next_free;
};

static inline uint32_t *spill_shares(const struct fa_page_spill *spill)
{
	return spill->sites + spill->room;
}

static inline struct fa_page *group_at(const struct fa_pagemap *map, size_t index)
{
	return map->slab[index / FA_SLAB] + (index % FA_SLAB) * GROUP;
}

#endif

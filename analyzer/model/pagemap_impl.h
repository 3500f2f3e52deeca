/* SPDX-License-Identifier: MIT */
/*
 * Page map: the records, which the files of it share
 *
 *	pagemap.c	blocks come and go, residency
 *	pagemap_view.c	who holds what: shares, pages one by one, the map in larger pages
 */
#ifndef PAGEMAP_IMPL_H
#define PAGEMAP_IMPL_H

#include <string.h>

#include "fa_pagemap.h"

enum { GROUP_SHIFT = 4, GROUP = 1 << GROUP_SHIFT, FA_SLAB = 256, SPILLED = 255 };

struct fa_page {
	uint32_t live : 22;   /* bytes; a 2 MiB page fits */
	uint32_t absent : 1;  /* live > 0, and known not to be resident */
	uint32_t n_sites : 8; /* 0..FA_PAGE_SITES, or SPILLED: see below */
	uint32_t site[FA_PAGE_SITES];
	uint32_t share[FA_PAGE_SITES]; /* bytes | blocks << SHARE_BLOCKS */
};
_Static_assert(sizeof(struct fa_page) == 28, "with fa_holes at most 64 bytes a page");

/* Both counts of a share are one word, so that they change with one addition. At most 513 blocks
 * have bytes on a 4 KiB page; on larger pages blocks are not counted. */
enum { SHARE_BLOCKS = 22, SHARE_BYTES = (1 << SHARE_BLOCKS) - 1 };

/*
 * The sites of a crowded page are a list of its own, in no order; site[0] and site[1] of the record
 * are then its address, site[2] its length and room. Sites and shares are apart, so that looking
 * for a site goes through half of the lines. 4 KiB pages hold at most 128 malloc blocks, so that a
 * walk is short.
 */
enum { LIST_STEP = 8, LIST_ROOM_BITS = 5 };

struct page_list {
	uint32_t *sites; /* LIST_STEP << room_log2, and as many shares behind them */
	uint32_t n, room_log2;
};

static inline struct page_list list_of(const struct fa_page *page)
{
	struct page_list list = {
		.n = page->site[2] >> LIST_ROOM_BITS,
		.room_log2 = page->site[2] & ((1 << LIST_ROOM_BITS) - 1),
	};

	memcpy(&list.sites, page->site, sizeof(list.sites));
	return list;
}

static inline void list_keep(struct fa_page *page, struct page_list list)
{
	memcpy(page->site, &list.sites, sizeof(list.sites));
	page->site[2] = list.n << LIST_ROOM_BITS | list.room_log2;
}

static inline uint32_t *list_shares(struct page_list list)
{
	return list.sites + ((size_t)LIST_STEP << list.room_log2);
}

static inline struct fa_page *group_at(const struct fa_pagemap *map, size_t index)
{
	return map->slab[index / FA_SLAB] + (index % FA_SLAB) * GROUP;
}

#endif

/* SPDX-License-Identifier: MIT */
/* Page map: see fa_pagemap.h. */
#include "fa_pagemap.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP_SHIFT = 4, GROUP = 1 << GROUP_SHIFT, FA_SLAB = 256, SPILLED = 255 };

struct fa_page {
	uint32_t live : 24;   /* bytes; a 2 MiB page fits */
	uint32_t n_sites : 8; /* 0..FA_PAGE_SITES, or SPILLED: site[0] is then an index of spills */
	uint32_t site[FA_PAGE_SITES];
	uint32_t bytes[FA_PAGE_SITES];
};
_Static_assert(sizeof(struct fa_page) == 28, "with fa_holes at most 64 bytes a page");

struct fa_share {
	uint32_t site, bytes;
};

/* The sites of a crowded page, in no order: the first in the entry, which is one cache line, the
 * others behind it. 4 KiB pages hold at most 128 malloc blocks, so that a walk is short. */
enum { SPILL_FIRST = 5 };

struct fa_page_spill {
	struct fa_share first[SPILL_FIRST];
	struct fa_share *more; /* kept for the next user of the entry */
	uint32_t n, room;      /* shares in use; of `more` */
	uint32_t next_free;
	uint32_t unused;
};
_Static_assert(sizeof(struct fa_page_spill) == 64, "one cache line");

static struct fa_share *share_at(struct fa_page_spill *spill, uint32_t i)
{
	return i < SPILL_FIRST ? &spill->first[i] : &spill->more[i - SPILL_FIRST];
}

/* Append a share. False when out of memory. */
static bool share_add(struct fa_page_spill *spill, uint32_t site, uint32_t bytes)
{
	if (spill->n >= SPILL_FIRST && spill->n - SPILL_FIRST == spill->room) {
		uint32_t room = spill->room ? spill->room * 2 : 8;
		struct fa_share *more = realloc(spill->more, room * sizeof(*more));

		if (!more)
			return false;
		spill->more = more;
		spill->room = room;
	}
	*share_at(spill, spill->n++) = (struct fa_share){site, bytes};
	return true;
}

void fa_pagemap_init(struct fa_pagemap *map, unsigned shift, bool with_sites)
{
	*map = (struct fa_pagemap){.shift = shift, .with_sites = with_sites};
	map->free_spill = UINT32_MAX;
}

void fa_pagemap_deinit(struct fa_pagemap *map)
{
	for (size_t i = 0; i < map->n_slabs; i++)
		free(map->slab[i]);
	free(map->slab);
	for (size_t i = 0; i < map->n_spills; i++)
		free(map->spills[i].more);
	free(map->spills);
	free(map->interior);
	ft_map_deinit(&map->groups);
	*map = (struct fa_pagemap){0};
}

static struct fa_page *group_at(const struct fa_pagemap *map, size_t index)
{
	return map->slab[index / FA_SLAB] + (index % FA_SLAB) * GROUP;
}

/* The record of `page`, or NULL when it never had a block's edge. */
static struct fa_page *page_find(const struct fa_pagemap *map, uint64_t page)
{
	const uint64_t *index = ft_map_get(&map->groups, page >> GROUP_SHIFT);

	return index ? &group_at(map, *index)[page & (GROUP - 1)] : NULL;
}

/* The same, found faster the next time. */
static struct fa_page *page_recall(struct fa_pagemap *map, uint64_t page)
{
	uint64_t key = page >> GROUP_SHIFT;
	unsigned slot = (unsigned)key % FA_PAGE_RECENT;

	if (map->recent[slot].key != key + 1) {
		const uint64_t *index = ft_map_get(&map->groups, key);

		if (!index)
			return NULL;
		map->recent[slot].key = key + 1;
		map->recent[slot].group = group_at(map, *index);
	}
	return &map->recent[slot].group[page & (GROUP - 1)];
}

static bool slab_grow(struct fa_pagemap *map)
{
	if (map->n_slabs == map->slab_room) {
		size_t room = map->slab_room ? map->slab_room * 2 : 16;
		struct fa_page **slab = realloc(map->slab, room * sizeof(*slab));

		if (!slab)
			return false;
		map->slab = slab;
		map->slab_room = room;
	}
	map->slab[map->n_slabs] = calloc((size_t)FA_SLAB * GROUP, sizeof(struct fa_page));
	return map->slab[map->n_slabs] && ++map->n_slabs;
}

static struct fa_page *page_make(struct fa_pagemap *map, uint64_t page)
{
	struct fa_page *found = page_recall(map, page);

	if (found)
		return found;
	if (map->n_groups == map->n_slabs * FA_SLAB && !slab_grow(map))
		return NULL;

	uint64_t *index = ft_map_put(&map->groups, page >> GROUP_SHIFT, NULL);

	if (!index)
		return NULL;
	*index = map->n_groups++;
	return page_recall(map, page);
}

static struct fa_page_spill *spill_take(struct fa_pagemap *map, uint32_t *index)
{
	if (map->free_spill == UINT32_MAX) {
		if (map->n_spills == map->spill_room) {
			size_t room = map->spill_room ? map->spill_room * 2 : 64;
			struct fa_page_spill *spills = realloc(map->spills, room * sizeof(*spills));

			if (!spills)
				return NULL;
			map->spills = spills;
			map->spill_room = room;
		}
		map->spills[map->n_spills] = (struct fa_page_spill){.next_free = UINT32_MAX};
		map->free_spill = (uint32_t)map->n_spills++;
	}

	struct fa_page_spill *spill = &map->spills[map->free_spill];

	*index = map->free_spill;
	map->free_spill = spill->next_free;
	spill->n = 0;
	return spill;
}

static void spill_give(struct fa_pagemap *map, uint32_t index)
{
	map->spills[index].next_free = map->free_spill;
	map->free_spill = index;
}

/* Account `bytes` more of `site` on the page. False when out of memory, nothing changed then. */
static bool sites_add(struct fa_pagemap *map, struct fa_page *page, uint32_t site, uint32_t bytes)
{
	struct fa_page_spill *spill;

	if (page->n_sites != SPILLED) {
		for (unsigned i = 0; i < page->n_sites; i++)
			if (page->site[i] == site) {
				page->bytes[i] += bytes;
				return true;
			}
		if (page->n_sites < FA_PAGE_SITES) {
			page->site[page->n_sites] = site;
			page->bytes[page->n_sites++] = bytes;
			return true;
		}

		uint32_t index;

		spill = spill_take(map, &index);
		if (!spill)
			return false;
		/* They fit into the entry itself. */
		for (unsigned i = 0; i < FA_PAGE_SITES; i++)
			share_add(spill, page->site[i], page->bytes[i]);
		page->n_sites = SPILLED;
		page->site[0] = index;
	}

	spill = &map->spills[page->site[0]];
	for (uint32_t i = 0; i < spill->n; i++)
		if (share_at(spill, i)->site == site) {
			share_at(spill, i)->bytes += bytes;
			return true;
		}
	return share_add(spill, site, bytes);
}

static void sites_remove(struct fa_pagemap *map, struct fa_page *page, uint32_t site,
			 uint32_t bytes)
{
	if (page->n_sites != SPILLED) {
		for (unsigned i = 0; i < page->n_sites; i++) {
			if (page->site[i] != site)
				continue;
			page->bytes[i] -= bytes;
			if (!page->bytes[i]) {
				page->n_sites--;
				page->site[i] = page->site[page->n_sites];
				page->bytes[i] = page->bytes[page->n_sites];
			}
			return;
		}
		return;
	}

	uint32_t index = page->site[0];
	struct fa_page_spill *spill = &map->spills[index];

	for (uint32_t i = 0; i < spill->n; i++) {
		struct fa_share *share = share_at(spill, i);

		if (share->site != site)
			continue;
		share->bytes -= bytes;
		if (!share->bytes)
			*share = *share_at(spill, --spill->n);
		break;
	}
	if (spill->n > FA_PAGE_SITES)
		return;
	/* The record can hold them again. */
	page->n_sites = spill->n;
	for (uint32_t i = 0; i < spill->n; i++) {
		page->site[i] = spill->first[i].site;
		page->bytes[i] = spill->first[i].bytes;
	}
	spill_give(map, index);
}

static unsigned decile(const struct fa_pagemap *map, uint32_t live)
{
	unsigned d = 1 + (unsigned)(((uint64_t)live * 10) >> map->shift);

	return d < FA_OCCUPANCY ? d : FA_OCCUPANCY - 1;
}

/* Enter or take back one page's contribution to the totals. */
static void totals_page(struct fa_pagemap *map, uint32_t live, uint64_t one)
{
	if (!live)
		return;
	map->totals.live_pages += one;
	map->totals.pinned_free_bytes += one * ((UINT64_C(1) << map->shift) - live);
	map->totals.occupancy[decile(map, live)] += one;
}

static bool edge_add(struct fa_pagemap *map, struct fa_page *page, uint32_t bytes, uint32_t site)
{
	if (map->with_sites && !sites_add(map, page, site, bytes))
		return false;
	totals_page(map, page->live, UINT64_MAX);
	page->live += bytes;
	totals_page(map, page->live, 1);
	return true;
}

static void edge_remove(struct fa_pagemap *map, uint64_t number, uint32_t bytes, uint32_t site)
{
	struct fa_page *page = page_recall(map, number);

	if (!page || page->live < bytes)
		return;
	if (map->with_sites)
		sites_remove(map, page, site, bytes);
	totals_page(map, page->live, UINT64_MAX);
	page->live -= bytes;
	totals_page(map, page->live, 1);
}

/* Pages that the block covers alone: always full, so that a count of them is enough. */
static void interior(struct fa_pagemap *map, uint64_t n_pages, uint32_t site, uint64_t one)
{
	map->totals.live_pages += one * n_pages;
	map->totals.occupancy[FA_OCCUPANCY - 1] += one * n_pages;
	if (map->with_sites && n_pages)
		map->interior[site] += one * n_pages;
}

static bool interior_room(struct fa_pagemap *map, uint32_t site)
{
	if (site < map->n_interior)
		return true;

	size_t n = (size_t)site + site / 2 + 64;
	uint64_t *counts = realloc(map->interior, n * sizeof(*counts));

	if (!counts)
		return false;
	memset(counts + map->n_interior, 0, (n - map->n_interior) * sizeof(*counts));
	map->interior = counts;
	map->n_interior = n;
	return true;
}

struct ft_error *fa_pagemap_add(struct fa_pagemap *map, uint64_t start, uint64_t end, uint32_t site,
				bool *refused)
{
	const uint32_t page_bytes = UINT32_C(1) << map->shift;
	uint64_t first = start >> map->shift, last = (end - 1) >> map->shift;
	uint32_t head = (uint32_t)((first == last ? end : (first + 1) << map->shift) - start);
	uint32_t tail = first == last ? 0 : (uint32_t)(end - (last << map->shift));
	struct fa_page *first_page = page_make(map, first);
	struct fa_page *last_page = tail ? page_make(map, last) : first_page;

	if (!first_page || !last_page)
		return &ft_enomem;
	*refused = first_page->live + head > page_bytes || last_page->live + tail > page_bytes;
	if (*refused)
		return NULL;

	if (map->with_sites && last - first > 1 && !interior_room(map, site))
		return &ft_enomem;
	if (!edge_add(map, first_page, head, site))
		return &ft_enomem;
	if (tail) {
		if (!edge_add(map, last_page, tail, site))
			return &ft_enomem;
		interior(map, last - first - 1, site, 1);
	}
	map->totals.live_bytes += end - start;
	return NULL;
}

void fa_pagemap_remove(struct fa_pagemap *map, uint64_t start, uint64_t end, uint32_t site)
{
	uint64_t first = start >> map->shift, last = (end - 1) >> map->shift;

	if (first == last) {
		edge_remove(map, first, (uint32_t)(end - start), site);
	} else {
		edge_remove(map, first, (uint32_t)(((first + 1) << map->shift) - start), site);
		edge_remove(map, last, (uint32_t)(end - (last << map->shift)), site);
		interior(map, last - first - 1, site, UINT64_MAX);
	}
	map->totals.live_bytes -= end - start;
}

void fa_pagemap_prefetch(struct fa_pagemap *map, uint64_t address)
{
	const struct fa_page *page = page_recall(map, address >> map->shift);

	if (page)
		__builtin_prefetch(page, 1);
}

void fa_pagemap_prefetch_sites(struct fa_pagemap *map, uint64_t address)
{
	const struct fa_page *page = page_recall(map, address >> map->shift);

	if (page && page->n_sites == SPILLED)
		__builtin_prefetch(&map->spills[page->site[0]], 1);
}

uint32_t fa_pagemap_live(const struct fa_pagemap *map, uint64_t address)
{
	const struct fa_page *page = page_find(map, address >> map->shift);

	return page ? page->live : 0;
}

static void pin_add(struct fa_pin *pins, size_t n, uint32_t site, uint64_t free_bytes,
		    uint32_t n_sites)
{
	if (site >= n)
		return;

	struct fa_pin *pin = &pins[site];

	pin->any += free_bytes;
	pin->pages_any += free_bytes > 0;
	pin->shapley += (double)free_bytes / n_sites;
	if (n_sites == 1) {
		pin->sole += free_bytes;
		pin->pages_sole++;
	}
}

static void page_pins(const struct fa_pagemap *map, const struct fa_page *page, struct fa_pin *pins,
		      size_t n)
{
	uint64_t free_bytes = (UINT64_C(1) << map->shift) - page->live;

	if (page->n_sites == SPILLED) {
		struct fa_page_spill *spill = &map->spills[page->site[0]];

		for (uint32_t i = 0; i < spill->n; i++)
			pin_add(pins, n, share_at(spill, i)->site, free_bytes, spill->n);
	} else {
		for (unsigned i = 0; i < page->n_sites; i++)
			pin_add(pins, n, page->site[i], free_bytes, page->n_sites);
	}
}

void fa_pagemap_pins(const struct fa_pagemap *map, struct fa_pin *pins, size_t n)
{
	for (size_t g = 0; g < map->n_groups; g++)
		for (unsigned i = 0; i < GROUP; i++)
			if (group_at(map, g)[i].live)
				page_pins(map, &group_at(map, g)[i], pins, n);
	for (size_t site = 0; site < n && site < map->n_interior; site++)
		pins[site].pages_sole += map->interior[site];
}

/* Bytes of all sites of the page, and that no site stands there twice or with nothing. */
static bool page_check(const struct fa_pagemap *map, const struct fa_page *page)
{
	uint64_t bytes = 0;

	if (page->live > UINT32_C(1) << map->shift)
		return false;
	if (!map->with_sites)
		return true;
	if (page->n_sites == SPILLED) {
		struct fa_page_spill *spill = &map->spills[page->site[0]];

		if (spill->n <= FA_PAGE_SITES)
			return false;
		for (uint32_t i = 0; i < spill->n; i++) {
			bytes += share_at(spill, i)->bytes;
			if (!share_at(spill, i)->bytes)
				return false;
		}
	} else {
		for (unsigned i = 0; i < page->n_sites; i++) {
			bytes += page->bytes[i];
			if (!page->bytes[i])
				return false;
		}
	}
	return bytes == page->live;
}

bool fa_pagemap_check(const struct fa_pagemap *map)
{
	uint64_t pinned = 0, edges_live = 0, full = 0;

	for (size_t g = 0; g < map->n_groups; g++)
		for (unsigned i = 0; i < GROUP; i++) {
			const struct fa_page *page = &group_at(map, g)[i];

			if (!page_check(map, page))
				return false;
			if (!page->live)
				continue;
			pinned += (UINT64_C(1) << map->shift) - page->live;
			edges_live += page->live;
			full++;
		}
	/* What is live and not on an edge page lies on interior pages, which are full. */
	full += (map->totals.live_bytes - edges_live) >> map->shift;

	uint64_t by_decile = 0;

	for (unsigned d = 0; d < FA_OCCUPANCY; d++)
		by_decile += map->totals.occupancy[d];
	return pinned == map->totals.pinned_free_bytes && full == map->totals.live_pages &&
	       by_decile == full;
}

size_t fa_pagemap_memory(const struct fa_pagemap *map)
{
	size_t bytes = map->n_slabs * FA_SLAB * GROUP * sizeof(struct fa_page) +
		       map->slab_room * sizeof(*map->slab) +
		       map->groups.n_slots * sizeof(*map->groups.slots) +
		       map->spill_room * sizeof(*map->spills);

	for (size_t i = 0; i < map->n_spills; i++)
		bytes += map->spills[i].room * sizeof(*map->spills[i].more);
	return bytes;
}

/* SPDX-License-Identifier: MIT */
/* Page map: see fa_pagemap.h. */
#include "fa_pagemap.h"

#include <stdlib.h>
#include <string.h>

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

static uint32_t *spill_shares(const struct fa_page_spill *spill)
{
	return spill->sites + spill->room;
}

/* The place of `site` in the entry, or spill->n. */
static inline uint32_t spill_find(const struct fa_page_spill *spill, uint32_t site)
{
	for (uint32_t i = 0; i < spill->n; i += SPILL_STEP) {
		const uint32_t *sites = spill->sites + i;
		uint32_t found = 0;

		for (unsigned k = 0; k < SPILL_STEP; k++)
			found |= (uint32_t)(sites[k] == site) << k;
		if (found) {
			uint32_t at = i + (uint32_t)__builtin_ctz(found);

			/* What is behind the last one is left from before. */
			return at < spill->n ? at : spill->n;
		}
	}
	return spill->n;
}

/* Append a share. False when out of memory. */
static bool spill_add(struct fa_page_spill *spill, uint32_t site, uint32_t share)
{
	if (spill->n == spill->room) {
		uint32_t room = spill->room ? spill->room * 2 : SPILL_STEP;
		uint32_t *sites = calloc(room, 2 * sizeof(*sites));

		if (!sites)
			return false;
		if (spill->n) {
			memcpy(sites, spill->sites, spill->n * sizeof(*sites));
			memcpy(sites + room, spill_shares(spill), spill->n * sizeof(*sites));
		}
		free(spill->sites);
		spill->sites = sites;
		spill->room = room;
	}
	spill->sites[spill->n] = site;
	spill_shares(spill)[spill->n++] = share;
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
		free(map->spills[i].sites);
	free(map->spills);
	free(map->keys);
	free(map->spans);
	ft_map_deinit(&map->span_map);
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
	size_t n_groups = (map->n_slabs + 1) * FA_SLAB;
	uint64_t *keys = realloc(map->keys, n_groups * sizeof(*keys));

	if (!keys)
		return false;
	map->keys = keys;
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
	*index = map->n_groups;
	map->keys[map->n_groups++] = page >> GROUP_SHIFT;
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

/* What `bytes` of one block are in a share. */
static uint32_t share_of(const struct fa_pagemap *map, uint32_t bytes)
{
	return map->shift == FA_PAGE_SHIFT ? bytes | UINT32_C(1) << SHARE_BLOCKS : bytes;
}

/* Account a share more of `site` on the page. False when out of memory, nothing changed then. */
static bool sites_add(struct fa_pagemap *map, struct fa_page *page, uint32_t site, uint32_t share)
{
	struct fa_page_spill *spill;

	if (page->n_sites != SPILLED) {
		for (unsigned i = 0; i < page->n_sites; i++)
			if (page->site[i] == site) {
				page->share[i] += share;
				return true;
			}
		if (page->n_sites < FA_PAGE_SITES) {
			page->site[page->n_sites] = site;
			page->share[page->n_sites++] = share;
			return true;
		}

		uint32_t index;

		spill = spill_take(map, &index);
		if (!spill)
			return false;
		for (unsigned i = 0; i < FA_PAGE_SITES; i++)
			if (!spill_add(spill, page->site[i], page->share[i])) {
				spill_give(map, index);
				return false;
			}
		page->n_sites = SPILLED;
		page->site[0] = index;
	}

	spill = &map->spills[page->site[0]];

	uint32_t at = spill_find(spill, site);

	if (at == spill->n)
		return spill_add(spill, site, share);
	spill_shares(spill)[at] += share;
	return true;
}

static void sites_remove(struct fa_pagemap *map, struct fa_page *page, uint32_t site,
			 uint32_t share)
{
	if (page->n_sites != SPILLED) {
		for (unsigned i = 0; i < page->n_sites; i++) {
			if (page->site[i] != site)
				continue;
			page->share[i] -= share;
			if (!page->share[i]) {
				page->n_sites--;
				page->site[i] = page->site[page->n_sites];
				page->share[i] = page->share[page->n_sites];
			}
			return;
		}
		return;
	}

	uint32_t index = page->site[0];
	struct fa_page_spill *spill = &map->spills[index];

	uint32_t at = spill_find(spill, site), *shares = spill_shares(spill);

	if (at < spill->n) {
		shares[at] -= share;
		if (!shares[at]) {
			spill->n--;
			spill->sites[at] = spill->sites[spill->n];
			shares[at] = shares[spill->n];
		}
	}
	if (spill->n > FA_PAGE_SITES)
		return;
	/* The record can hold them again. */
	page->n_sites = spill->n;
	for (uint32_t i = 0; i < spill->n; i++) {
		page->site[i] = spill->sites[i];
		page->share[i] = shares[i];
	}
	spill_give(map, index);
}

static unsigned decile(const struct fa_pagemap *map, uint32_t live)
{
	unsigned d = 1 + (unsigned)(((uint64_t)live * 10) >> map->shift);

	return d < FA_OCCUPANCY ? d : FA_OCCUPANCY - 1;
}

/* Enter or take back one page's contribution to the totals. */
static void totals_page(struct fa_pagemap *map, const struct fa_page *page, uint64_t one)
{
	uint32_t live = page->live;

	if (!live)
		return;
	map->totals.live_pages += one;
	map->totals.occupancy[decile(map, live)] += one;
	if (page->absent) {
		map->totals.absent_pages += one;
		map->totals.absent_live_bytes += one * live;
	} else {
		map->totals.pinned_free_bytes += one * ((UINT64_C(1) << map->shift) - live);
	}
}

/* The page has `live` bytes now and is resident, if it has any. */
static inline void page_set(struct fa_pagemap *map, struct fa_page *page, uint32_t live)
{
	struct fa_page_totals *totals = &map->totals;
	const uint64_t page_bytes = UINT64_C(1) << map->shift;
	uint32_t before = page->live;

	if (__builtin_expect(page->absent || !before || !live, 0)) {
		totals_page(map, page, UINT64_MAX);
		page->live = live;
		page->absent = 0;
		totals_page(map, page, 1);
		return;
	}
	page->live = live;
	totals->pinned_free_bytes += (page_bytes - live) - (page_bytes - before);

	unsigned from = decile(map, before), to = decile(map, live);

	if (from != to) {
		totals->occupancy[from]--;
		totals->occupancy[to]++;
	}
}

static bool edge_add(struct fa_pagemap *map, struct fa_page *page, uint32_t bytes, uint32_t site)
{
	if (map->with_sites && !sites_add(map, page, site, share_of(map, bytes)))
		return false;
	page_set(map, page, page->live + bytes);
	return true;
}

static void edge_remove(struct fa_pagemap *map, uint64_t number, uint32_t bytes, uint32_t site)
{
	struct fa_page *page = page_recall(map, number);

	if (!page || page->live < bytes)
		return;
	if (map->with_sites)
		sites_remove(map, page, site, share_of(map, bytes));
	if (__builtin_expect(page->absent && page->live > bytes, 0)) {
		/* It stays absent: nothing was born on it. */
		totals_page(map, page, UINT64_MAX);
		page->live -= bytes;
		totals_page(map, page, 1);
	} else {
		page_set(map, page, page->live - bytes);
	}
}

/* Pages that a block covers alone: always full, so that the span is all there is to know. */
static bool span_add(struct fa_pagemap *map, uint64_t first, uint64_t n_pages, uint32_t site)
{
	uint64_t *index = ft_map_put(&map->span_map, first, NULL);

	if (!index)
		return false;
	if (!map->free_span) {
		if (map->n_spans == map->span_room) {
			size_t room = map->span_room ? map->span_room * 2 : 64;
			struct fa_page_span *spans = realloc(map->spans, room * sizeof(*spans));

			if (!spans)
				return false;
			map->spans = spans;
			map->span_room = room;
		}
		*index = map->n_spans++;
	} else {
		*index = map->free_span - 1;
		map->free_span = map->spans[*index].first;
	}
	map->spans[*index] =
		(struct fa_page_span){.first = first, .n_pages = n_pages, .site = site};
	map->totals.live_pages += n_pages;
	map->totals.occupancy[FA_OCCUPANCY - 1] += n_pages;
	return true;
}

static void span_remove(struct fa_pagemap *map, uint64_t first)
{
	uint64_t index;

	if (!ft_map_remove(&map->span_map, first, &index))
		return;

	struct fa_page_span *span = &map->spans[index];

	map->totals.live_pages -= span->n_pages;
	map->totals.occupancy[FA_OCCUPANCY - 1] -= span->n_pages;
	map->totals.absent_pages -= span->n_absent;
	map->totals.absent_live_bytes -= span->n_absent << map->shift;
	*span = (struct fa_page_span){.first = map->free_span};
	map->free_span = index + 1;
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

	if (!edge_add(map, first_page, head, site))
		return &ft_enomem;
	if (tail) {
		if (!edge_add(map, last_page, tail, site))
			return &ft_enomem;
		if (last - first > 1 && !span_add(map, first + 1, last - first - 1, site))
			return &ft_enomem;
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
		if (last - first > 1)
			span_remove(map, first + 1);
	}
	map->totals.live_bytes -= end - start;
}

const struct fa_page *fa_pagemap_prefetch(struct fa_pagemap *map, uint64_t address)
{
	const struct fa_page *page = page_recall(map, address >> map->shift);

	if (page)
		__builtin_prefetch(page, 1);
	return page;
}

void fa_pagemap_prefetch_entry(const struct fa_pagemap *map, const struct fa_page *page)
{
	if (page->n_sites == SPILLED)
		__builtin_prefetch(&map->spills[page->site[0]], 1);
}

void fa_pagemap_prefetch_sites(const struct fa_pagemap *map, const struct fa_page *page)
{
	enum { LINE = 64 / sizeof(uint32_t) };

	if (page->n_sites != SPILLED)
		return;

	const struct fa_page_spill *spill = &map->spills[page->site[0]];

	/* At most 513 sites; mostly two or three lines. */
	for (uint32_t i = 0; i < spill->n; i += LINE) {
		__builtin_prefetch(spill->sites + i, 1);
		__builtin_prefetch(spill_shares(spill) + i, 1);
	}
}

uint32_t fa_pagemap_live(const struct fa_pagemap *map, uint64_t address)
{
	const struct fa_page *page = page_find(map, address >> map->shift);

	return page ? page->live : 0;
}

/* ---- residency ---------------------------------------------------------------------------------
 */

uint64_t fa_pagemap_set_residency(struct fa_pagemap *map, const struct fa_residency *residency)
{
	uint64_t n_resident = 0;

	for (size_t g = 0; g < map->n_groups; g++) {
		struct fa_page *group = group_at(map, g);
		uint32_t known, resident;

		fa_residency_bits(residency, map->keys[g] << GROUP_SHIFT, GROUP, &known, &resident);
		for (unsigned i = 0; i < GROUP; i++) {
			uint32_t absent = known >> i & ~(resident >> i) & 1;

			if (!group[i].live)
				continue;
			n_resident += resident >> i & 1;
			if (absent == group[i].absent)
				continue;
			totals_page(map, &group[i], UINT64_MAX);
			group[i].absent = absent;
			totals_page(map, &group[i], 1);
		}
	}
	for (size_t i = 0; i < map->n_spans; i++) {
		struct fa_page_span *span = &map->spans[i];

		if (!span->n_pages)
			continue;

		struct fa_residency_count count =
			fa_residency_count(residency, span->first, span->first + span->n_pages);
		uint64_t n_absent = count.known - count.resident;

		map->totals.absent_pages += n_absent - span->n_absent;
		map->totals.absent_live_bytes += (n_absent - span->n_absent) << map->shift;
		span->n_absent = n_absent;
		n_resident += count.resident;
	}
	return n_resident;
}

uint64_t fa_pagemap_count_resident(const struct fa_pagemap *map,
				   const struct fa_residency *residency)
{
	uint64_t n = 0;

	for (size_t g = 0; g < map->n_groups; g++) {
		const struct fa_page *group = group_at(map, g);
		uint32_t known, resident;

		fa_residency_bits(residency, map->keys[g] << GROUP_SHIFT, GROUP, &known, &resident);
		for (unsigned i = 0; resident; i++, resident >>= 1)
			n += (resident & 1) && group[i].live;
	}
	for (size_t i = 0; i < map->n_spans; i++)
		if (map->spans[i].n_pages)
			n += fa_residency_count(residency, map->spans[i].first,
						map->spans[i].first + map->spans[i].n_pages)
				     .resident;
	return n;
}

/* ---- who holds it ------------------------------------------------------------------------------
 */

/* Who holds the free bytes of one page, dealt out site after site. The bytes that do not divide go
 * to those who come first, counted from the page's number on, so that no site is always the first.
 */
struct deal {
	struct fa_pin *pins;
	size_t n; /* of pins; sites >= n are left out */
	uint64_t free_bytes;
	uint64_t share, rest; /* free_bytes / n_sites, and what is left */
	uint32_t n_sites, rank;
};

/* n_sites > 0. */
static struct deal deal_open(struct fa_pin *pins, size_t n, uint64_t number, uint64_t free_bytes,
			     uint32_t n_sites)
{
	return (struct deal){.pins = pins,
			     .n = n,
			     .free_bytes = free_bytes,
			     .share = free_bytes / n_sites,
			     .rest = free_bytes % n_sites,
			     .n_sites = n_sites,
			     .rank = (uint32_t)(number % n_sites)};
}

static void deal_next(struct deal *deal, uint32_t site)
{
	uint64_t share = deal->share + (deal->rank < deal->rest);

	if (++deal->rank == deal->n_sites)
		deal->rank = 0;
	if (site >= deal->n)
		return;

	struct fa_pin *pin = &deal->pins[site];

	pin->any += deal->free_bytes;
	pin->pages_any += deal->free_bytes > 0;
	pin->shapley += share;
	if (deal->n_sites == 1) {
		pin->sole += deal->free_bytes;
		pin->pages_sole++;
	}
}

static void page_pins(const struct fa_pagemap *map, const struct fa_page *page, uint64_t number,
		      struct fa_pin *pins, size_t n)
{
	uint64_t free_bytes = (UINT64_C(1) << map->shift) - page->live;

	/* A full page counts only for whom it is all his. */
	if (page->absent || !page->n_sites || (!free_bytes && page->n_sites > 1))
		return;
	if (page->n_sites == SPILLED) {
		struct fa_page_spill *spill = &map->spills[page->site[0]];
		struct deal deal = deal_open(pins, n, number, free_bytes, spill->n);

		for (uint32_t i = 0; i < spill->n; i++)
			deal_next(&deal, spill->sites[i]);
	} else {
		struct deal deal = deal_open(pins, n, number, free_bytes, page->n_sites);

		for (unsigned i = 0; i < page->n_sites; i++)
			deal_next(&deal, page->site[i]);
	}
}

/* Start to fetch what hangs on the pages of group `g`: their entries, or what is behind those. */
static void group_prefetch(const struct fa_pagemap *map, size_t g, bool behind)
{
	if (g >= map->n_groups)
		return;
	for (unsigned i = 0; i < GROUP; i++) {
		const struct fa_page *page = &group_at(map, g)[i];

		if (page->n_sites != SPILLED)
			continue;

		const struct fa_page_spill *spill = &map->spills[page->site[0]];

		__builtin_prefetch(behind ? (const void *)spill->sites : spill);
	}
}

void fa_pagemap_pins(const struct fa_pagemap *map, struct fa_pin *pins, size_t n)
{
	for (size_t g = 0; g < map->n_groups; g++) {
		const struct fa_page *group = group_at(map, g);

		group_prefetch(map, g + 2, false);
		group_prefetch(map, g + 1, true);
		for (unsigned i = 0; i < GROUP; i++)
			if (group[i].live)
				page_pins(map, &group[i], (map->keys[g] << GROUP_SHIFT) + i, pins,
					  n);
	}
	for (size_t i = 0; map->with_sites && i < map->n_spans; i++)
		if (map->spans[i].n_pages && map->spans[i].site < n)
			pins[map->spans[i].site].pages_sole +=
				map->spans[i].n_pages - map->spans[i].n_absent;
}

static void view_add(struct fa_page_view *view, uint32_t site, uint32_t share)
{
	if (view->n_sites < FA_PAGE_VIEW_SITES)
		view->sites[view->n_sites++] =
			(struct fa_page_share){.site = site,
					       .bytes = share & SHARE_BYTES,
					       .blocks = share >> SHARE_BLOCKS};
}

void fa_pagemap_visit(const struct fa_pagemap *map,
		      void (*visit)(void *ctx, const struct fa_page_view *page), void *ctx)
{
	struct fa_page_share sites[FA_PAGE_VIEW_SITES];

	for (size_t g = 0; g < map->n_groups; g++)
		for (unsigned i = 0; i < GROUP; i++) {
			const struct fa_page *page = &group_at(map, g)[i];
			struct fa_page_view view = {
				.address = ((map->keys[g] << GROUP_SHIFT) + i) << map->shift,
				.live = page->live,
				.free_bytes =
					page->absent ? 0 : (UINT32_C(1) << map->shift) - page->live,
				.absent = page->absent,
				.sites = sites,
			};

			if (!page->live)
				continue;
			if (page->n_sites == SPILLED) {
				struct fa_page_spill *spill = &map->spills[page->site[0]];

				for (uint32_t k = 0; k < spill->n; k++)
					view_add(&view, spill->sites[k], spill_shares(spill)[k]);
			} else {
				for (unsigned k = 0; k < page->n_sites; k++)
					view_add(&view, page->site[k], page->share[k]);
			}
			visit(ctx, &view);
		}
}

void fa_pagemap_visit_spans(const struct fa_pagemap *map,
			    void (*visit)(void *ctx, const struct fa_page_span *span), void *ctx)
{
	for (size_t i = 0; i < map->n_spans; i++)
		if (map->spans[i].n_pages)
			visit(ctx, &map->spans[i]);
}

/* ---- in larger pages ---------------------------------------------------------------------------
 */

/* A stretch of addresses with live bytes: a group of records, or the pages of one block. */
struct stretch {
	uint64_t first, n_pages; /* in the map's own pages */
	const struct fa_page *group;
	uint32_t site; /* without a group */
};

static int stretch_order(const void *a, const void *b)
{
	const struct stretch *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

/* One large page being gathered. */
struct coarse {
	const struct fa_pagemap *map;
	unsigned shift;
	uint64_t number;
	uint64_t live;
	struct ft_map sites; /* of this page */
	struct fa_page_totals *totals;
	struct fa_pin *pins;
	size_t n;
};

/* A large page with `live` > 0 bytes. */
static void coarse_total(struct fa_page_totals *totals, unsigned shift, uint64_t live)
{
	uint64_t page_bytes = UINT64_C(1) << shift;
	unsigned d = 1 + (unsigned)(live * 10 / page_bytes);

	totals->live_bytes += live;
	totals->live_pages++;
	totals->pinned_free_bytes += page_bytes - live;
	totals->occupancy[d < FA_OCCUPANCY ? d : FA_OCCUPANCY - 1]++;
}

/* Large pages that one block covers alone. */
static void coarse_full(struct fa_page_totals *totals, unsigned shift, uint64_t n)
{
	totals->live_bytes += n << shift;
	totals->live_pages += n;
	totals->occupancy[FA_OCCUPANCY - 1] += n;
}

static void coarse_close(struct coarse *c)
{
	uint64_t site, value;
	size_t cursor = 0;

	if (c->live)
		coarse_total(c->totals, c->shift, c->live);
	if (c->live && ft_map_count(&c->sites)) {
		struct deal deal =
			deal_open(c->pins, c->n, c->number, (UINT64_C(1) << c->shift) - c->live,
				  (uint32_t)ft_map_count(&c->sites));

		while (ft_map_next(&c->sites, &cursor, &site, &value))
			deal_next(&deal, (uint32_t)site);
	}
	c->live = 0;
	ft_map_deinit(&c->sites);
	ft_map_init(&c->sites);
}

static void coarse_add(struct coarse *c, uint64_t number, uint64_t live)
{
	if (number != c->number) {
		coarse_close(c);
		c->number = number;
	}
	c->live += live;
}

static bool coarse_site(struct coarse *c, uint32_t site)
{
	return ft_map_put(&c->sites, site, NULL);
}

static bool coarse_group(struct coarse *c, const struct stretch *stretch)
{
	const unsigned up = c->shift - c->map->shift;

	for (unsigned i = 0; i < GROUP; i++) {
		const struct fa_page *page = &stretch->group[i];

		if (!page->live)
			continue;
		coarse_add(c, (stretch->first + i) >> up, page->live);
		if (page->n_sites == SPILLED) {
			struct fa_page_spill *spill = &c->map->spills[page->site[0]];

			for (uint32_t k = 0; k < spill->n; k++)
				if (!coarse_site(c, spill->sites[k]))
					return false;
		} else {
			for (unsigned k = 0; k < page->n_sites; k++)
				if (!coarse_site(c, page->site[k]))
					return false;
		}
	}
	return true;
}

static bool coarse_span(struct coarse *c, const struct stretch *stretch)
{
	const unsigned up = c->shift - c->map->shift;
	uint64_t at = stretch->first, end = stretch->first + stretch->n_pages;

	while (at < end) {
		uint64_t number = at >> up, stop = (number + 1) << up;

		/* Large pages inside of the block: all alike. */
		if (at == number << up && stop <= end && number != c->number) {
			uint64_t n = (end - at) >> up;

			coarse_close(c);
			coarse_full(c->totals, c->shift, n);
			if (stretch->site < c->n)
				c->pins[stretch->site].pages_sole += n;
			at += n << up;
			continue;
		}
		if (stop > end)
			stop = end;
		coarse_add(c, number, (stop - at) << c->map->shift);
		if (!coarse_site(c, stretch->site))
			return false;
		at = stop;
	}
	return true;
}

/* Add to the live bytes of a large page. */
static bool live_add(struct ft_map *live, uint64_t number, uint64_t bytes)
{
	uint64_t *slot = ft_map_put(live, number, NULL);

	if (slot)
		*slot += bytes;
	return slot;
}

/* Of a span: what is on large pages that others may share. The others count as full. */
static bool count_span(const struct fa_page_span *span, unsigned up, struct ft_map *live,
		       unsigned page_shift, struct fa_page_totals *totals)
{
	uint64_t at = span->first, end = span->first + span->n_pages;
	uint64_t full = (at + (UINT64_C(1) << up) - 1) >> up, full_end = end >> up;

	if (full > full_end) /* inside of one large page */
		return live_add(live, at >> up, (end - at) << page_shift);
	if (full_end > full)
		coarse_full(totals, up + page_shift, full_end - full);
	return (at == full << up || live_add(live, at >> up, ((full << up) - at) << page_shift)) &&
	       (end == full_end << up ||
		live_add(live, full_end, (end - (full_end << up)) << page_shift));
}

/* Totals alone: no order is needed. */
static struct ft_error *coarse_count(const struct fa_pagemap *map, unsigned huge_shift,
				     struct fa_page_totals *totals)
{
	const unsigned up = huge_shift - map->shift;
	uint64_t number = UINT64_MAX, bytes = 0, value;
	size_t cursor = 0;
	struct ft_map live;
	bool done = true;

	ft_map_init(&live);
	for (size_t g = 0; done && g < map->n_groups; g++) {
		const struct fa_page *group = group_at(map, g);
		const uint64_t first = map->keys[g] << GROUP_SHIFT;

		for (unsigned i = 0; done && i < GROUP; i++) {
			if (!group[i].live)
				continue;
			if ((first + i) >> up != number) {
				done = !bytes || live_add(&live, number, bytes);
				number = (first + i) >> up;
				bytes = 0;
			}
			bytes += group[i].live;
		}
	}
	done = done && (!bytes || live_add(&live, number, bytes));
	for (size_t i = 0; done && i < map->n_spans; i++)
		if (map->spans[i].n_pages)
			done = count_span(&map->spans[i], up, &live, map->shift, totals);
	while (done && ft_map_next(&live, &cursor, &number, &value))
		coarse_total(totals, huge_shift, value);
	ft_map_deinit(&live);
	return done ? NULL : &ft_enomem;
}

struct ft_error *fa_pagemap_coarse(const struct fa_pagemap *map, unsigned huge_shift,
				   struct fa_page_totals *totals, struct fa_pin *pins, size_t n)
{
	*totals = (struct fa_page_totals){0};
	if (!pins || !map->with_sites)
		return coarse_count(map, huge_shift, totals);

	size_t n_stretches = 0;
	struct stretch *stretches =
		malloc((map->n_groups * GROUP + map->n_spans + 1) * sizeof(*stretches));
	struct coarse coarse = {.map = map,
				.shift = huge_shift,
				.number = UINT64_MAX,
				.totals = totals,
				.pins = pins,
				.n = n};
	bool done = true;

	if (!stretches)
		return &ft_enomem;
	/* A span may begin between two pages of a group, not within a page. */
	for (size_t g = 0; g < map->n_groups; g++)
		stretches[n_stretches++] = (struct stretch){.first = map->keys[g] << GROUP_SHIFT,
							    .n_pages = GROUP,
							    .group = group_at(map, g)};
	for (size_t i = 0; i < map->n_spans; i++)
		if (map->spans[i].n_pages)
			stretches[n_stretches++] = (struct stretch){
				.first = map->spans[i].first,
				.n_pages = map->spans[i].n_pages,
				.site = map->spans[i].site,
			};
	qsort(stretches, n_stretches, sizeof(*stretches), stretch_order);
	ft_map_init(&coarse.sites);
	for (size_t i = 0; done && i < n_stretches; i++)
		done = stretches[i].group ? coarse_group(&coarse, &stretches[i])
					  : coarse_span(&coarse, &stretches[i]);
	coarse_close(&coarse);
	ft_map_deinit(&coarse.sites);
	free(stretches);
	return done ? NULL : &ft_enomem;
}

/* ---- for tests ---------------------------------------------------------------------------------
 */

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
			bytes += spill_shares(spill)[i] & SHARE_BYTES;
			if (!spill_shares(spill)[i])
				return false;
		}
	} else {
		for (unsigned i = 0; i < page->n_sites; i++) {
			bytes += page->share[i] & SHARE_BYTES;
			if (!page->share[i])
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
			if (!page->absent)
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
		       map->spill_room * sizeof(*map->spills) +
		       map->n_slabs * FA_SLAB * sizeof(*map->keys) +
		       map->span_room * sizeof(*map->spans) +
		       map->span_map.n_slots * sizeof(*map->span_map.slots);

	for (size_t i = 0; i < map->n_spills; i++)
		bytes += map->spills[i].room * 2 * sizeof(*map->spills[i].sites);
	return bytes;
}

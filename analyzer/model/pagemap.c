/* SPDX-License-Identifier: MIT */
/* Page map: see fa_pagemap.h. */
#include "pagemap_impl.h"

#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ---- lists of crowded pages --------------------------------------------------------------------
 */

/* Which of LIST_STEP sites are `site`, as bits. */
static inline uint32_t list_match(const uint32_t *sites, uint32_t site)
{
#ifdef __SSE2__
	const __m128i want = _mm_set1_epi32((int)site);
	__m128i low = _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)sites), want);
	__m128i high = _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)(sites + 4)), want);

	low = _mm_packs_epi32(low, high);
	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, _mm_setzero_si128()));
#else
	uint32_t found = 0;

	for (unsigned k = 0; k < LIST_STEP; k++)
		found |= (uint32_t)(sites[k] == site) << k;
	return found;
#endif
}

/* The place of `site` in the list, or its length. */
static inline uint32_t list_find(struct page_list list, uint32_t site)
{
	for (uint32_t i = 0; i < list.n; i += LIST_STEP) {
		uint32_t found = list_match(list.sites + i, site);

		if (found) {
			uint32_t at = i + (uint32_t)__builtin_ctz(found);

			/* What is behind the last one is left from before. */
			return at < list.n ? at : list.n;
		}
	}
	return list.n;
}

/* An empty list. False when out of memory. */
static bool list_take(struct fa_pagemap *map, uint32_t room_log2, struct page_list *ret)
{
	size_t bytes = (size_t)LIST_STEP * 2 * sizeof(uint32_t) << room_log2;
	uint32_t *sites = NULL;

	if (room_log2 < FA_PAGE_LISTS) {
		sites = map->free_lists[room_log2];
		if (sites) {
			memcpy(&map->free_lists[room_log2], sites, sizeof(void *));
		} else {
			sites = fa_pool_take(&map->pool, bytes);
			map->list_bytes += bytes;
		}
	}
	*ret = (struct page_list){.sites = sites, .room_log2 = room_log2};
	return sites;
}

static void list_give(struct fa_pagemap *map, struct page_list list)
{
	memcpy(list.sites, &map->free_lists[list.room_log2], sizeof(void *));
	map->free_lists[list.room_log2] = list.sites;
}

/* Append a share. False when out of memory. */
static bool list_add(struct fa_pagemap *map, struct page_list *list, uint32_t site, uint32_t share)
{
	if (list->n == (uint32_t)LIST_STEP << list->room_log2) {
		struct page_list bigger;

		if (!list_take(map, list->room_log2 + 1, &bigger))
			return false;
		memcpy(bigger.sites, list->sites, list->n * sizeof(*list->sites));
		memcpy(list_shares(bigger), list_shares(*list), list->n * sizeof(*list->sites));
		bigger.n = list->n;
		list_give(map, *list);
		*list = bigger;
	}
	list->sites[list->n] = site;
	list_shares(*list)[list->n++] = share;
	return true;
}

/* ---- records -----------------------------------------------------------------------------------
 */

void fa_pagemap_init(struct fa_pagemap *map, unsigned shift, bool with_sites)
{
	*map = (struct fa_pagemap){.shift = shift, .with_sites = with_sites};
}

void fa_pagemap_deinit(struct fa_pagemap *map)
{
	fa_pool_deinit(&map->pool);
	free(map->slab);
	free(map->keys);
	free(map->spans);
	ft_map_deinit(&map->span_map);
	fa_sparse_deinit(&map->groups);
	*map = (struct fa_pagemap){0};
}

/* The record of `page`, or NULL when it never had a block's edge. */
static inline struct fa_page *page_find(struct fa_pagemap *map, uint64_t page)
{
	uint32_t index = fa_sparse_get(&map->groups, page >> GROUP_SHIFT);

	return index ? &group_at(map, index - 1)[page & (GROUP - 1)] : NULL;
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
	map->slab[map->n_slabs] =
		fa_pool_take(&map->pool, (size_t)FA_SLAB * GROUP * sizeof(struct fa_page));
	return map->slab[map->n_slabs] && ++map->n_slabs;
}

static struct fa_page *page_make(struct fa_pagemap *map, uint64_t page)
{
	struct fa_page *found = page_find(map, page);

	if (found)
		return found;
	if (map->n_groups == map->n_slabs * FA_SLAB && !slab_grow(map))
		return NULL;

	uint32_t *index = fa_sparse_make(&map->groups, page >> GROUP_SHIFT);

	if (!index)
		return NULL;
	map->keys[map->n_groups++] = page >> GROUP_SHIFT;
	*index = (uint32_t)map->n_groups;
	return page_find(map, page);
}

/* What `bytes` of one block are in a share. */
static uint32_t share_of(const struct fa_pagemap *map, uint32_t bytes)
{
	return map->shift == FA_PAGE_SHIFT ? bytes | UINT32_C(1) << SHARE_BLOCKS : bytes;
}

/* Account a share more of `site` on the page. False when out of memory, nothing changed then. */
static bool sites_add(struct fa_pagemap *map, struct fa_page *page, uint32_t site, uint32_t share)
{
	struct page_list list;

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
		if (!list_take(map, 0, &list))
			return false;
		for (unsigned i = 0; i < FA_PAGE_SITES; i++)
			list_add(map, &list, page->site[i], page->share[i]);
		page->n_sites = SPILLED;
	} else {
		list = list_of(page);
	}

	uint32_t at = list_find(list, site);

	if (at < list.n) {
		list_shares(list)[at] += share;
		return true;
	}

	bool added = list_add(map, &list, site, share);

	list_keep(page, list);
	return added;
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

	struct page_list list = list_of(page);
	uint32_t at = list_find(list, site), *shares = list_shares(list);

	if (at == list.n)
		return;
	shares[at] -= share;
	if (shares[at])
		return;
	list.n--;
	list.sites[at] = list.sites[list.n];
	shares[at] = shares[list.n];
	if (list.n > FA_PAGE_SITES) {
		list_keep(page, list);
		return;
	}
	/* The record can hold them again. */
	page->n_sites = list.n;
	for (uint32_t i = 0; i < list.n; i++) {
		page->site[i] = list.sites[i];
		page->share[i] = shares[i];
	}
	list_give(map, list);
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
	struct fa_page *page = page_find(map, number);

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

static void page_touch(struct fa_pagemap *map, uint64_t number)
{
	struct fa_page *page = page_find(map, number);

	/* A page that is absent has live bytes. */
	if (page && page->absent)
		page_set(map, page, page->live);
}

void fa_pagemap_touch(struct fa_pagemap *map, uint64_t start, uint64_t end)
{
	uint64_t first = start >> map->shift, last = (end - 1) >> map->shift;

	if (!map->totals.absent_pages)
		return;
	page_touch(map, first);
	if (last != first)
		page_touch(map, last);
}

void fa_pagemap_prefetch(struct fa_pagemap *map, uint64_t address)
{
	const struct fa_page *page = page_find(map, address >> map->shift);

	if (page)
		__builtin_prefetch(page, 1);
}

void fa_pagemap_prefetch_sites(struct fa_pagemap *map, uint64_t address)
{
	enum { LINE = 64 / sizeof(uint32_t) };
	const struct fa_page *page = page_find(map, address >> map->shift);

	if (!page || page->n_sites != SPILLED)
		return;

	struct page_list list = list_of(page);

	/* At most 513 sites; mostly one or two lines. */
	__builtin_prefetch(list.sites, 1);
	if (list.room_log2)
		__builtin_prefetch(list_shares(list), 1);
	for (uint32_t i = LINE; i < list.n; i += LINE) {
		__builtin_prefetch(list.sites + i, 1);
		__builtin_prefetch(list_shares(list) + i, 1);
	}
}

uint32_t fa_pagemap_live(const struct fa_pagemap *map, uint64_t address)
{
	/* Searching only moves the memory of the leaves found lately. */
	const struct fa_page *page =
		page_find((struct fa_pagemap *)(uintptr_t)map, address >> map->shift);

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
		struct page_list list = list_of(page);

		if (list.n <= FA_PAGE_SITES)
			return false;
		for (uint32_t i = 0; i < list.n; i++) {
			bytes += list_shares(list)[i] & SHARE_BYTES;
			if (!list_shares(list)[i])
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
	return map->n_slabs * FA_SLAB * GROUP * sizeof(struct fa_page) +
	       map->slab_room * sizeof(*map->slab) + fa_sparse_memory(&map->groups) +
	       map->list_bytes + map->n_slabs * FA_SLAB * sizeof(*map->keys) +
	       map->span_room * sizeof(*map->spans) +
	       map->span_map.n_slots * sizeof(*map->span_map.slots);
}

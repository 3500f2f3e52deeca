/* SPDX-License-Identifier: MIT */
/* Page map, as it is looked at: see fa_pagemap.h. */
#include <stdlib.h>

#include "pagemap_impl.h"

/* ---- who holds it ------------------------------------------------------------------------------
 */

/* Who holds the free bytes of one page, dealt out site after site. The bytes that do not divide all
 * go to one, the heir: the same whatever the order of the sites, which depends on what the page
 * went through, and another one from page to page. */
struct deal {
	struct fa_pin *pins;
	size_t n; /* of pins; sites >= n are left out */
	uint64_t free_bytes;
	uint64_t share, rest; /* free_bytes / n_sites, and what is left */
	uint32_t n_sites, heir;
};

/* No two sites of a page have the same; the smallest is the heir's. */
static inline uint32_t deal_key(uint64_t number, uint32_t site)
{
	return (site ^ (uint32_t)number) * UINT32_C(0x9e3779b1);
}

static inline bool deal_before(uint64_t number, uint32_t site, uint32_t other)
{
	return deal_key(number, site) < deal_key(number, other);
}

static uint32_t heir_of(uint64_t number, const uint32_t *sites, uint32_t n_sites)
{
	uint32_t heir = sites[0];

	for (uint32_t i = 1; i < n_sites; i++)
		if (deal_before(number, sites[i], heir))
			heir = sites[i];
	return heir;
}

/* n_sites > 0. */
static struct deal deal_open(struct fa_pin *pins, size_t n, uint64_t free_bytes, uint32_t n_sites,
			     uint32_t heir)
{
	return (struct deal){.pins = pins,
			     .n = n,
			     .free_bytes = free_bytes,
			     .share = free_bytes / n_sites,
			     .rest = free_bytes % n_sites,
			     .n_sites = n_sites,
			     .heir = heir};
}

static void deal_next(const struct deal *deal, uint32_t site)
{
	if (site >= deal->n)
		return;

	struct fa_pin *pin = &deal->pins[site];

	pin->any += deal->free_bytes;
	pin->pages_any += deal->free_bytes > 0;
	pin->shapley += deal->share + (site == deal->heir ? deal->rest : 0);
	if (deal->n_sites == 1) {
		pin->sole += deal->free_bytes;
		pin->pages_sole++;
	}
}

static void page_pins(const struct fa_pagemap *map, const struct fa_page *page, uint64_t number,
		      struct fa_pin *pins, size_t n)
{
	uint64_t free_bytes = (UINT64_C(1) << map->shift) - page->live;
	const uint32_t *sites = page->site;
	uint32_t n_sites = page->n_sites;

	/* A full page counts only for whom it is all his. */
	if (page->absent || !n_sites || (!free_bytes && n_sites > 1))
		return;
	if (n_sites == SPILLED) {
		struct page_list list = list_of(page);

		sites = list.sites;
		n_sites = list.n;
	}

	struct deal deal = deal_open(pins, n, free_bytes, n_sites, heir_of(number, sites, n_sites));

	for (uint32_t i = 0; i < n_sites; i++)
		deal_next(&deal, sites[i]);
}

/* Start to fetch what hangs on the pages of group `g`. */
static inline __attribute__((always_inline)) void group_prefetch(const struct fa_pagemap *map,
								 size_t g)
{
	if (g >= map->n_groups)
		return;
	for (unsigned i = 0; i < GROUP; i++) {
		const struct fa_page *page = &group_at(map, g)[i];

		if (page->n_sites == SPILLED)
			__builtin_prefetch(list_of(page).sites);
	}
}

void fa_pagemap_pins(const struct fa_pagemap *map, struct fa_pin *pins, size_t n)
{
	for (size_t g = 0; g < map->n_groups; g++) {
		const struct fa_page *group = group_at(map, g);

		group_prefetch(map, g + 1);
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
				struct page_list list = list_of(page);

				for (uint32_t k = 0; k < list.n; k++)
					view_add(&view, list.sites[k], list_shares(list)[k]);
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

static uint32_t coarse_heir(const struct coarse *c)
{
	uint64_t site, value;
	size_t cursor = 0;
	uint32_t heir = 0;

	for (bool first = true; ft_map_next(&c->sites, &cursor, &site, &value); first = false)
		if (first || deal_before(c->number, (uint32_t)site, heir))
			heir = (uint32_t)site;
	return heir;
}

static void coarse_close(struct coarse *c)
{
	uint64_t site, value;
	size_t cursor = 0;

	if (c->live)
		coarse_total(c->totals, c->shift, c->live);
	if (c->live && ft_map_count(&c->sites)) {
		struct deal deal = deal_open(c->pins, c->n, (UINT64_C(1) << c->shift) - c->live,
					     (uint32_t)ft_map_count(&c->sites), coarse_heir(c));

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
			struct page_list list = list_of(page);

			for (uint32_t k = 0; k < list.n; k++)
				if (!coarse_site(c, list.sites[k]))
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

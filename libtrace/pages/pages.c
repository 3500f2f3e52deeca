/* SPDX-License-Identifier: MIT */
/* Pages: see ft_pages.h. */
#include "ft_pages.h"

#include <stdlib.h>

#include "fa_place.h"
#include "ft_error.h"

enum { GLIBC_PHASE = 8, CELL_BYTES = 64 << 10 };

struct ft_pages {
	struct ft_page_counter counter;
	bool is_glibc;
	struct fa_regions regions; /* as fa_holes has them: ever in use, in units of 64 KiB */
	struct fa_region recent;   /* one of them */
	struct fa_pin *pins;	   /* by site */
	size_t n_pins;
};

static bool failed(struct ft_error *error)
{
	if (!error)
		return false;
	ft_error_destroy(error);
	return true;
}

static void module(void *ctx, const char *path)
{
	struct ft_pages *pages = ctx;

	if (fa_place_allocator(path))
		pages->is_glibc = false;
}

static bool cover(struct ft_pages *pages, const struct fa_place *place)
{
	uint64_t cell = CELL_BYTES, start = place->start & ~(cell - 1),
		 end = (place->end + cell - 1) & ~(cell - 1);

	if (failed(fa_regions_cover(&pages->regions, start, end, place->tag)))
		return false;
	pages->recent = pages->regions.items[fa_regions_index(&pages->regions, start + 1)];
	return true;
}

static bool events(void *ctx, const struct ft_event *events, size_t n)
{
	struct ft_pages *pages = ctx;

	for (size_t i = 0; i < n; i++) {
		const struct ft_event *e = &events[i];
		uint64_t usable = e->usable > e->size ? e->usable : e->size;

		if (e->kind == FT_EVENT_FREE || !e->address || e->address & FT_ADDRESS_POOL)
			continue;

		struct fa_place place =
			fa_place_of(pages->is_glibc, e->address, e->size, usable, e->flags);

		if (place.own_mapping ||
		    (place.start >= pages->recent.start && place.end <= pages->recent.end))
			continue;
		if (!cover(pages, &place))
			return false;
	}
	return true;
}

/* ---- counting ---------------------------------------------------------------------------------
 */

static bool pins_grow(struct ft_pages *pages, uint32_t site)
{
	size_t n = pages->n_pins ? pages->n_pins : 1024;
	struct fa_pin *pins;

	if (site < pages->n_pins)
		return true;
	while (n <= site)
		n *= 2;
	pins = realloc(pages->pins, n * sizeof(*pins));
	if (!pins)
		return false;
	pages->pins = pins;
	pages->n_pins = n;
	return true;
}

static bool lay_out(struct ft_pages *pages, struct fa_layout *layout, struct ft_page_blocks *blocks,
		    struct ft_page_rollup *ret)
{
	struct ft_event e;

	for (size_t i = 0; i < pages->regions.n; i++)
		if (failed(fa_regions_cover(&layout->holes.regions, pages->regions.items[i].start,
					    pages->regions.items[i].end,
					    pages->regions.items[i].tags)))
			return false;
	while (ft_page_blocks_next(blocks, &e)) {
		uint64_t usable = e.usable > e.size ? e.usable : e.size;
		struct fa_place place =
			fa_place_of(pages->is_glibc, e.address, e.size, usable, e.flags);

		if (e.address & FT_ADDRESS_POOL)
			continue;
		if (!pins_grow(pages, e.stack) ||
		    failed(fa_layout_add(layout, &place, e.address, e.stack)))
			return false;
		ret->n_blocks++;
		ret->live_bytes += e.size;
		ret->usable_bytes += usable;
	}
	return true;
}

static void add_pages(const struct fa_page_totals *totals, struct ft_page_rollup *ret)
{
	ret->n_pages += totals->live_pages;
	ret->pinned_bytes += totals->pinned_free_bytes;
	for (unsigned i = 0; i < FT_PAGES_OCCUPANCY; i++)
		ret->occupancy[i] += totals->occupancy[i];
}

static void add_holes(struct fa_holes *holes, struct ft_page_rollup *ret)
{
	const struct fa_hole_totals *totals = fa_holes_totals(holes);

	ret->n_holes = totals->n_holes;
	ret->hole_bytes = totals->hole_bytes;
	ret->largest_hole = fa_holes_largest(holes);
	ret->n_free_pages = totals->free_pages;
	ret->trim_pages = totals->trim_pages;
	for (unsigned i = 0; i < FT_PAGES_ORDERS; i++)
		ret->orders[i] = totals->orders.n[i];
	for (unsigned b = 0; b < FA_HOLE_BINS; b++) {
		unsigned log2 = 63 - (unsigned)__builtin_clzll(fa_hole_bin_start(b) | 1);

		ret->holes[log2] += totals->bin_holes[b];
		ret->holes_bytes[log2] += totals->bin_bytes[b];
	}
}

/* The sites with the largest shares; of equal ones the first. */
static void add_pins(struct ft_pages *pages, const struct fa_layout *layout,
		     struct ft_page_rollup *ret)
{
	memset(pages->pins, 0, pages->n_pins * sizeof(*pages->pins));
	fa_pagemap_pins(&layout->pages, pages->pins, pages->n_pins);
	fa_pagemap_pins(&layout->mapped, pages->pins, pages->n_pins);
	for (size_t s = 0; s < pages->n_pins; s++) {
		const struct fa_pin *pin = &pages->pins[s];
		uint32_t i = ret->n_pins;

		if (!pin->shapley ||
		    (i == FT_PAGES_PINS && pin->shapley <= ret->pins[i - 1].shapley))
			continue;
		if (i < FT_PAGES_PINS)
			ret->n_pins++;
		else
			i--;
		for (; i && ret->pins[i - 1].shapley < pin->shapley; i--)
			ret->pins[i] = ret->pins[i - 1];
		ret->pins[i] = (struct ft_page_pin){.site = (uint32_t)s,
						    .sole = pin->sole,
						    .shapley = pin->shapley,
						    .any = pin->any};
	}
}

static bool count(void *ctx, struct ft_page_blocks *blocks, struct ft_page_rollup *ret)
{
	struct ft_pages *pages = ctx;
	struct fa_layout *layout = malloc(sizeof(*layout));
	struct fa_page_totals huge;
	bool ok;

	if (!layout)
		return false;
	fa_layout_init(layout, pages->is_glibc ? GLIBC_PHASE : 0);
	ok = pins_grow(pages, 0) && lay_out(pages, layout, blocks, ret) &&
	     !failed(fa_pagemap_coarse(&layout->pages, FA_HUGE_SHIFT, &huge, NULL, 0));
	if (ok) {
		ret->page_bytes = 1 << FA_PAGE_SHIFT;
		ret->n_huge_pages = huge.live_pages;
		ret->huge_live_bytes = huge.live_bytes;
		add_pages(&layout->pages.totals, ret);
		add_pages(&layout->mapped.totals, ret);
		add_holes(&layout->holes, ret);
		add_pins(pages, layout, ret);
	}
	fa_layout_deinit(layout);
	free(layout);
	return ok;
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct ft_pages *ft_pages_create(void)
{
	struct ft_pages *pages = calloc(1, sizeof(*pages));

	if (!pages)
		return NULL;
	pages->is_glibc = true;
	pages->counter = (struct ft_page_counter){
		.ctx = pages, .module = module, .events = events, .count = count};
	return pages;
}

void ft_pages_destroy(struct ft_pages *pages)
{
	if (!pages)
		return;
	fa_regions_deinit(&pages->regions);
	free(pages->pins);
	free(pages);
}

const struct ft_page_counter *ft_pages_counter(const struct ft_pages *pages)
{
	return &pages->counter;
}

/* SPDX-License-Identifier: MIT */
/* A map of the heap at the moment: addresses in bins, how full and how resident. See frag.h. */
#include <stdlib.h>

#include "frag.h"
#include "ft_cleanup.h"

struct filling {
	struct frag_bins *bins;
	const struct frag_moment *moment;
	uint64_t *live; /* bytes, by bin */
};

/* The bin of an address, or SIZE_MAX. */
static size_t bin_of(const struct filling *f, uint64_t address)
{
	const struct frag_moment *moment = f->moment;
	size_t low = 0, high = moment->n_regions - 1;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (moment->regions[mid].end <= address)
			low = mid + 1;
		else
			high = mid;
	}
	if (low >= moment->n_regions - 1 || moment->regions[low].start > address)
		return SIZE_MAX;
	return moment->regions[low].first_bin + (address >> f->bins->shift) -
	       (moment->regions[low].start >> f->bins->shift);
}

static void bin_page(void *ctx, const struct fa_page_view *page)
{
	struct filling *f = ctx;
	size_t bin = bin_of(f, page->address);

	if (bin < f->bins->n)
		f->live[bin] += page->live;
}

static void bin_span(void *ctx, const struct fa_page_span *span)
{
	struct filling *f = ctx;
	uint64_t at = span->first << FA_PAGE_SHIFT, end = at + (span->n_pages << FA_PAGE_SHIFT);

	while (at < end) {
		uint64_t stop = ((at >> f->bins->shift) + 1) << f->bins->shift;
		size_t bin = bin_of(f, at);

		stop = stop < end ? stop : end;
		if (bin < f->bins->n)
			f->live[bin] += stop - at;
		at = stop;
	}
}

static uint64_t bins_of(const struct frag_region *region, unsigned shift)
{
	return ((region->end - 1) >> shift) - (region->start >> shift) + 1;
}

struct ft_error *frag_fill_bins(struct frag *frag)
{
	struct frag_moment *moment = &frag->moment;
	struct frag_bins *bins = &moment->bins;
	size_t n_regions = moment->n_regions - 1; /* not the blocks with mappings of their own */
	uint64_t n;

	for (bins->shift = FA_PAGE_SHIFT;; bins->shift++) {
		n = 0;
		for (size_t i = 0; i < n_regions; i++)
			n += bins_of(&moment->regions[i], bins->shift);
		if (n <= FRAG_BINS || bins->shift >= 40)
			break;
	}
	bins->n = n;

	ft_auto_free uint64_t *live = calloc(n + 1, sizeof(*live));
	struct filling filling = {.bins = bins, .moment = moment, .live = live};

	bins->live = calloc(n + 1, 1);
	bins->resident = calloc(n + 1, 1);
	if (!live || !bins->live || !bins->resident)
		return &ft_enomem;
	n = 0;
	for (size_t i = 0; i < n_regions; i++) {
		moment->regions[i].first_bin = n;
		n += bins_of(&moment->regions[i], bins->shift);
	}
	fa_pagemap_visit(&frag->layout->pages, bin_page, &filling);
	fa_pagemap_visit_spans(&frag->layout->pages, bin_span, &filling);
	for (size_t i = 0; i < n_regions; i++) {
		const struct frag_region *region = &moment->regions[i];
		uint64_t first = region->start >> bins->shift;

		for (uint64_t b = 0; b < bins_of(region, bins->shift); b++) {
			uint64_t from = (first + b) << bins->shift,
				 to = from + (UINT64_C(1) << bins->shift);
			size_t at = region->first_bin + b;
			uint64_t bytes, resident;

			from = from > region->start ? from : region->start;
			to = to < region->end ? to : region->end;
			bytes = to - from;
			resident = moment->sampled ? fa_residency_count(&frag->samples.residency,
									from >> FA_PAGE_SHIFT,
									to >> FA_PAGE_SHIFT)
								     .resident *
							     PAGE
						   : bytes;
			/* 0 is nothing, 255 all: what is little is still something. */
			bins->live[at] = (uint8_t)(live[at] ? 1 + live[at] * 254 / bytes : 0);
			bins->resident[at] = (uint8_t)(resident ? 1 + resident * 254 / bytes : 0);
		}
	}
	return NULL;
}

/* ---- pages by their live share -----------------------------------------------------------------
 */

static void fill_page(void *ctx, const struct fa_page_view *page)
{
	struct frag_moment *moment = ctx;
	uint64_t step = (uint64_t)page->live * (FRAG_FILL - 1) >> FA_PAGE_SHIFT;

	moment->fill[page->absent][1 + (step < FRAG_FILL - 1 ? step : FRAG_FILL - 2)]++;
}

static void fill_span(void *ctx, const struct fa_page_span *span)
{
	struct frag_moment *moment = ctx;

	moment->fill[0][FRAG_FILL - 1] += span->n_pages - span->n_absent;
	moment->fill[1][FRAG_FILL - 1] += span->n_absent;
}

/* As page_occupancy_hist, more finely, and whether they are resident. */
void frag_fill_pages(struct frag *frag)
{
	struct frag_moment *moment = &frag->moment;
	uint64_t empty = moment->empty_pages, free_pages = moment->holes.free_pages;

	/* Resident ones without a live byte may lie beside all holes, too. */
	moment->fill[0][0] = empty;
	moment->fill[1][0] = free_pages > empty ? free_pages - empty : 0;
	for (unsigned i = 0; i < 2; i++) {
		const struct fa_pagemap *map = i ? &frag->layout->mapped : &frag->layout->pages;

		fa_pagemap_visit(map, fill_page, moment);
		fa_pagemap_visit_spans(map, fill_span, moment);
	}
}

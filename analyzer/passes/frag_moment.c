/* SPDX-License-Identifier: MIT */
/* One moment of the heap in full: see frag.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "frag.h"
#include "ft_cleanup.h"

void frag_moment_deinit(struct frag_moment *moment)
{
	free(moment->sites);
	free(moment->examples);
	free(moment->regions);
	free(moment->bins.live);
	free(moment->bins.resident);
	frag_slabs_deinit(&moment->slabs);
}

/* ---- sites -------------------------------------------------------------------------------------
 */

static int site_order(const void *a, const void *b)
{
	const struct frag_site *x = a, *y = b;

	if (x->pin.shapley != y->pin.shapley)
		return x->pin.shapley < y->pin.shapley ? 1 : -1;
	if (x->pin.any != y->pin.any)
		return x->pin.any < y->pin.any ? 1 : -1;
	return (x->stack > y->stack) - (x->stack < y->stack);
}

/* Sites that hold free bytes, largest first; the smaller ones only as a sum. */
static struct ft_error *moment_sites(struct frag *frag, const struct fa_engine *engine)
{
	size_t n_stacks = fa_engine_n_stacks(engine), n = 0;
	ft_auto_free struct fa_pin *pins = calloc(2 * n_stacks, sizeof(*pins));
	struct frag_moment *moment = &frag->moment;

	if (!pins)
		return &ft_enomem;
	fa_pagemap_pins(&frag->layout->pages, pins, n_stacks);
	fa_pagemap_pins(&frag->layout->mapped, pins, n_stacks);
	FT_TRY(fa_pagemap_coarse(&frag->layout->pages, FA_HUGE_SHIFT, &moment->huge,
				 pins + n_stacks, n_stacks));
	for (size_t s = 0; s < n_stacks; s++)
		n += pins[s].any > 0;

	ft_auto_free struct frag_site *sites = calloc(n ? n : 1, sizeof(*sites));

	if (!sites)
		return &ft_enomem;
	n = 0;
	for (size_t s = 0; s < n_stacks; s++)
		if (pins[s].any)
			sites[n++] = (struct frag_site){
				.stack = (uint32_t)s, .pin = pins[s], .huge = pins[n_stacks + s]};
	qsort(sites, n, sizeof(*sites), site_order);
	for (size_t i = FRAG_SITES; i < n; i++)
		moment->other_shapley += sites[i].pin.shapley;
	moment->n_sites = n < FRAG_SITES ? n : FRAG_SITES;
	moment->n_other = n - moment->n_sites;
	for (size_t i = 0; i < moment->n_sites; i++) {
		struct fa_site site;

		fa_engine_site(engine, sites[i].stack, &site);
		sites[i].live_bytes = site.live_bytes;
	}
	moment->sites = ft_take(sites);
	return NULL;
}

/* ---- the burst before --------------------------------------------------------------------------
 */

/* The last rise to the highest point, from and back to half of the way between it and what is live
 * now; none when there was no fall since. Moments of the series are the resolution. */
static void find_burst(struct frag *frag)
{
	const struct frag_series *series = &frag->series;
	struct frag_moment *moment = &frag->moment;
	uint64_t live = moment->heap.live_bytes, half;
	uint32_t top = 0, n = 0, k;

	while (n < series->n && series->time_ns[n] <= moment->at_ns)
		n++;
	for (k = 0; k < n; k++)
		if (series->live_bytes[k] >= series->live_bytes[top])
			top = k;
	if (!n || series->live_bytes[top] < live + live / 4)
		return;
	moment->burst_peak = series->live_bytes[top];
	half = live + (moment->burst_peak - live) / 2;
	for (k = top; k > 0 && series->live_bytes[k - 1] > half;)
		k--;
	moment->burst_from_ns = k ? series->time_ns[k - 1] : 0;
	for (k = top; k + 1 < n && series->live_bytes[k] > half;)
		k++;
	moment->burst_to_ns = series->time_ns[k];
	moment->burst_peak_ns = series->time_ns[top];
	moment->has_burst = true;
}

/* ---- example pages -----------------------------------------------------------------------------
 */

/* The emptiest page of each of the first sites, and one page more of the first. */
struct candidates {
	const struct frag_moment *moment;
	const uint32_t *rank; /* by stack: place in the table + 1 */
	uint64_t address[FRAG_EXAMPLES];
	uint32_t free_bytes[FRAG_EXAMPLES], live[FRAG_EXAMPLES], n_sites[FRAG_EXAMPLES];
};

static void candidate_page(void *ctx, const struct fa_page_view *page)
{
	struct candidates *c = ctx;

	for (uint32_t i = 0; i < page->n_sites; i++) {
		uint32_t rank = c->rank[page->sites[i].site];

		if (!rank || rank > FRAG_EXAMPLES)
			continue;
		rank--;
		if (page->free_bytes < c->free_bytes[rank] ||
		    (page->free_bytes == c->free_bytes[rank] && c->address[rank] &&
		     page->address >= c->address[rank]))
			continue;
		c->address[rank] = page->address;
		c->free_bytes[rank] = page->free_bytes;
		c->live[rank] = page->live;
		c->n_sites[rank] = page->n_sites;
	}
}

static struct ft_error *find_examples(struct frag *frag, const uint32_t *rank,
				      struct ft_map *by_page)
{
	struct frag_moment *moment = &frag->moment;
	struct candidates c = {.moment = moment, .rank = rank};

	moment->examples = calloc(FRAG_EXAMPLES, sizeof(*moment->examples));
	if (!moment->examples)
		return &ft_enomem;
	fa_pagemap_visit(&frag->layout->pages, candidate_page, &c);
	for (unsigned i = 0; i < FRAG_EXAMPLES; i++) {
		bool created;
		uint64_t *at;

		if (!c.free_bytes[i])
			continue;
		at = ft_map_put(by_page, c.address[i] >> FA_PAGE_SHIFT, &created);
		if (!at)
			return &ft_enomem;
		if (!created)
			continue; /* the emptiest page of two sites */
		*at = moment->n_examples;
		moment->examples[moment->n_examples++] = (struct frag_example){
			.address = c.address[i], .live = c.live[i], .n_sites = c.n_sites[i]};
	}
	return NULL;
}

static void example_block(struct frag_moment *moment, const struct ft_map *by_page,
			  uint64_t address, const struct fa_block *block)
{
	const uint64_t *at = ft_map_get(by_page, address >> FA_PAGE_SHIFT);
	struct frag_example *example = at ? &moment->examples[*at] : NULL;

	if (!example)
		return;
	if (example->n_blocks < FRAG_EXAMPLE_BLOCKS)
		example->blocks[example->n_blocks] = (struct frag_example_block){
			.address = block->address,
			.size = block->size,
			.age_ns =
				moment->at_ns > block->born_ns ? moment->at_ns - block->born_ns : 0,
			.site = block->stack,
			.thread = block->thread};
	example->n_blocks++;
}

static int example_block_order(const void *a, const void *b)
{
	const struct frag_example_block *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

/* ---- blocks ------------------------------------------------------------------------------------
 */

/* One walk over the live blocks: ages, survivors of the burst, requested bytes by region, and who
 * is on the example pages. */
static struct ft_error *moment_blocks(struct frag *frag, const struct fa_engine *engine)
{
	struct frag_moment *moment = &frag->moment;
	size_t n_stacks = fa_engine_n_stacks(engine), cursor = 0;
	ft_auto_free uint32_t *rank = calloc(n_stacks, sizeof(*rank));
	struct frag_regions regions = {moment->regions, moment->n_regions, 0};
	struct ft_map by_page, burst_pages;
	const struct fa_block *block;
	struct ft_error *error;

	if (!rank)
		return &ft_enomem;
	for (size_t i = 0; i < moment->n_sites; i++)
		rank[moment->sites[i].stack] = (uint32_t)i + 1;
	ft_map_init(&by_page);
	ft_map_init(&burst_pages);
	error = find_examples(frag, rank, &by_page);
	while (!error && fa_engine_next_laid(engine, &cursor, &block)) {
		uint64_t start, end, bytes = 0;
		bool own = frag->glibc && block->flags & FT_EVENT_F_MMAPPED;
		const struct fa_pagemap *map = own ? &frag->layout->mapped : &frag->layout->pages;
		bool in_burst = moment->has_burst && block->born_ns >= moment->burst_from_ns &&
				block->born_ns <= moment->burst_to_ns;

		fa_engine_extent(engine, block, &start, &end);

		uint64_t head_end = (start | (PAGE - 1)) + 1, tail = (end - 1) & -(uint64_t)PAGE;
		bool head_partial = fa_pagemap_partial(map, start);
		bool tail_partial = head_end < end && fa_pagemap_partial(map, tail);

		frag_regions_block(&regions, own, block, start, end);
		example_block(moment, &by_page, start, block);
		if (head_end < end)
			example_block(moment, &by_page, tail, block);
		bytes += head_partial ? (head_end < end ? head_end : end) - start : 0;
		bytes += tail_partial ? end - tail : 0;
		if (in_burst) {
			moment->burst_blocks++;
			moment->burst_bytes += end - start;
			if ((head_partial &&
			     !ft_map_put(&burst_pages, start >> FA_PAGE_SHIFT, NULL)) ||
			    (tail_partial &&
			     !ft_map_put(&burst_pages, tail >> FA_PAGE_SHIFT, NULL)))
				error = &ft_enomem;
		}
		if (block->stack >= n_stacks || !rank[block->stack])
			continue;

		struct frag_site *site = &moment->sites[rank[block->stack] - 1];

		site->extent_bytes += end - start;
		site->age_weight += (double)bytes;
		site->burst_bytes += in_burst ? bytes : 0;
		if (moment->at_ns > block->born_ns)
			site->age_sum += (double)bytes * (double)(moment->at_ns - block->born_ns);
	}
	moment->burst_pages = ft_map_count(&burst_pages);
	for (size_t i = 0; i < moment->n_examples; i++) {
		struct frag_example *example = &moment->examples[i];

		qsort(example->blocks,
		      example->n_blocks < FRAG_EXAMPLE_BLOCKS ? example->n_blocks
							      : FRAG_EXAMPLE_BLOCKS,
		      sizeof(*example->blocks), example_block_order);
	}
	ft_map_deinit(&by_page);
	ft_map_deinit(&burst_pages);
	return error;
}

/* ---- all of it ---------------------------------------------------------------------------------
 */

/* A sample of a heap of another size says nothing about this one, nor does one from its youth:
 * pages that are resident now may not have been touched then. */
static bool sample_is_of(const struct frag *frag, uint64_t at_ns)
{
	const struct frag_samples *samples = &frag->samples;
	uint64_t held = fa_layout_held_pages(frag->layout);

	return samples->has_residency && samples->held_then >= held - held / 4 &&
	       samples->held_then <= held + held / 4 + 256 && at_ns / 2 <= samples->at_ns;
}

struct ft_error *frag_moment_take(struct frag *frag, const struct fa_engine *engine, uint64_t at_ns)
{
	struct frag_moment *moment = &frag->moment;

	moment->taken = true;
	moment->at_ns = at_ns;
	moment->heap = *fa_engine_totals(engine);
	moment->heap.live_bytes = moment->heap.laid_bytes;
	moment->sampled = sample_is_of(frag, at_ns);
	if (!moment->sampled && frag->samples.has_residency) {
		/* What an unfit sample said of pages is forgotten. */
		struct fa_residency nothing = {0};

		fa_pagemap_set_residency(&frag->layout->pages, &nothing);
		fa_pagemap_set_residency(&frag->layout->mapped, &nothing);
	}
	moment->pages = frag->layout->pages.totals;
	moment->mapped = frag->layout->mapped.totals;
	moment->holes = *fa_holes_totals(&frag->layout->holes);
	moment->largest_hole = fa_holes_largest(&frag->layout->holes);
	moment->extents = moment->pages.live_bytes + moment->mapped.live_bytes;
	if (moment->sampled) {
		uint64_t live =
			fa_pagemap_count_resident(&frag->layout->pages, &frag->samples.residency);

		moment->empty_pages =
			frag->samples.heap_resident > live ? frag->samples.heap_resident - live : 0;
	} else {
		moment->empty_pages = moment->holes.free_pages;
	}
	moment->resident_pages = moment->pages.live_pages - moment->pages.absent_pages +
				 moment->mapped.live_pages - moment->mapped.absent_pages +
				 moment->empty_pages;
	moment->footprint = moment->resident_pages * PAGE;
	if (moment->sampled)
		moment->sample_ns = frag->samples.at_ns;
	if (!frag->samples.n_items &&
	    frag_mappings_footprint(frag, at_ns, &moment->footprint, &moment->sample_ns) &&
	    at_ns / 2 <= moment->sample_ns) {
		uint64_t live = moment->pages.live_pages + moment->mapped.live_pages;
		uint64_t resident = moment->footprint / PAGE;

		/* As many of the empty pages as the size leaves room for. */
		resident = resident > live ? resident - live : 0;
		moment->mappings = true;
		if (resident < moment->empty_pages)
			moment->empty_pages = resident;
	} else if (!moment->sampled) {
		moment->footprint = moment->resident_pages * PAGE;
	}
	if (frag->samples.n_series && moment->sampled) {
		moment->waterfall = frag->samples.series[frag->samples.n_series - 1];
		moment->has_waterfall = true;
	}
	find_burst(frag);
	FT_TRY(moment_sites(frag, engine));
	FT_TRY(frag_regions_make(frag, moment->sampled, &moment->regions, &moment->n_regions));
	FT_TRY(moment_blocks(frag, engine));
	frag_regions_pages(frag, moment->regions, moment->n_regions);
	FT_TRY(frag_trim(frag, engine, at_ns, moment->sampled, &moment->trim));
	FT_TRY(frag_fill_bins(frag));
	frag_fill_pages(frag);
	FT_TRY(frag_slabs_take(frag, engine));
	return frag_find_sets(frag);
}

/* What a site's share of free bytes cost over time: bytes x seconds, by the moments of the pins. */
struct ft_error *frag_moment_finish(struct frag *frag, const struct fa_engine *engine)
{
	struct frag_moment *moment = &frag->moment;
	const struct frag_pins *pins = &frag->pins;
	ft_auto_free uint32_t *rank = calloc(fa_engine_n_stacks(engine), sizeof(*rank));

	if (!rank)
		return &ft_enomem;
	for (size_t i = 0; i < moment->n_sites; i++)
		rank[moment->sites[i].stack] = (uint32_t)i + 1;
	for (size_t c = 0; c < pins->n_cells; c++) {
		const struct frag_pin_cell *cell = &pins->cells[c];
		uint64_t from = cell->bucket ? pins->time_ns[cell->bucket - 1]
					     : fa_engine_detail_ns(engine);

		if (rank[cell->site])
			moment->sites[rank[cell->site] - 1].cost +=
				(double)cell->shapley *
				(double)(pins->time_ns[cell->bucket] - from) / 1e9;
	}
	return NULL;
}

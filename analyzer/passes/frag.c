/* SPDX-License-Identifier: MIT */
/*
 * Fragmentation: what keeps memory that nobody uses
 *
 * Rebuilds the layout of the heap from the extents of live blocks: how full pages are, where the
 * holes are, and which sites hold pages that are mostly empty. Everything is exact after each
 * event; 512 moments of it are kept as series, and one in full: the end of the window, or the
 * moment before the program began to clean up for its exit.
 *
 * What a recording of calls can not tell is residency: pages between live blocks are taken for
 * resident unless the mappings were sampled, which corrects the footprint alone. Space before the
 * first and after the last live block of a region is not counted at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_format.h"
#include "fa_holes.h"
#include "fa_pagemap.h"
#include "fa_regions.h"
#include "fa_trend.h"
#include "ft_cleanup.h"

enum {
	FRAG_MOMENTS = 512,
	FRAG_SITES = 200,
	FRAG_REGIONS = 256,
	PAGE = 1 << FA_PAGE_SHIFT,
	FRAG_AHEAD = 16,
	TAG_MAIN = 1,
	TAG_ARENA = 2,
};

/* A site that holds pages, at the moment described. */
struct frag_site {
	uint32_t stack;
	struct fa_pin pin;
	uint64_t live_bytes;
	double age_weight, age_sum; /* bytes on partial pages; those times their age in ns */
	uint64_t shapley_bytes;	    /* rounded so that all add up */
};

/* The heap at one moment. */
struct frag_moment {
	bool taken;
	uint64_t at_ns;
	struct fa_totals heap;
	struct fa_page_totals pages, huge;
	struct fa_hole_totals holes;
	uint64_t largest_hole;
	struct frag_site *sites; /* owned; by shapley, largest first; FRAG_SITES at most */
	size_t n_sites, n_other;
	uint64_t other_shapley;
};

struct frag_series {
	uint32_t n, stride; /* moments kept; ticks between two */
	uint64_t *time_ns, *live_bytes, *pinned, *largest, *hole_bytes, *pages, *trimmable;
	int64_t *footprint;  /* -1: no sample yet */
	double *uf;	     /* FA_ORDERS a moment */
	uint32_t *occupancy; /* FA_OCCUPANCY a moment */
};

/* A mapping of the program that holds blocks, as last sampled. */
struct frag_mapping {
	uint64_t start, end;
	int64_t rss;
	const char *kind;
};

/* A block that came or went. */
struct frag_change {
	uint64_t address, start, end;
	uint32_t stack;
	bool born, own_mapping;
	uint8_t tag;
};

struct frag {
	bool glibc;
	struct frag_change queue[FRAG_AHEAD]; /* [n_applied, n_pushed), modulo */
	uint64_t n_pushed, n_applied;
	struct fa_pagemap pages, huge;
	struct fa_holes holes;
	struct fa_regions mapped; /* ever held by blocks with mappings of their own */
	struct ft_map refused;	  /* addresses of blocks that fit nowhere */
	uint64_t n_refused;
	struct frag_series series;
	struct frag_moment moment;
	/* From the samples of mappings: */
	struct frag_mapping *mappings;
	size_t n_mappings, mapping_room;
	uint32_t sampled_to; /* series moments whose footprint is settled */
	uint64_t sample_ns;  /* of the last sample before the moment */
	int64_t footprint;   /* then; -1: unknown */
	const char *verdict;
	char text[512];
};

/* ---- blocks come and go ------------------------------------------------------------------------
 */

static struct ft_error *frag_refuse(struct frag *frag, const struct frag_change *change)
{
	frag->n_refused++;
	return ft_map_put(&frag->refused, change->address, NULL) ? NULL : &ft_enomem;
}

static struct ft_error *frag_born(struct frag *frag, const struct frag_change *change)
{
	const uint64_t start = change->start, end = change->end;
	bool refused;

	/* A block with a mapping of its own leaves nothing behind: no hole before or after it. */
	if (!change->own_mapping) {
		FT_TRY(fa_holes_add(&frag->holes, start, end, change->tag, &refused));
		if (refused)
			return frag_refuse(frag, change);
	}
	FT_TRY(fa_pagemap_add(&frag->pages, start, end, change->stack, &refused));
	if (refused) {
		if (!change->own_mapping)
			fa_holes_remove(&frag->holes, start, end);
		return frag_refuse(frag, change);
	}
	FT_TRY(fa_pagemap_add(&frag->huge, start, end, 0, &refused));
	return change->own_mapping ? fa_regions_cover(&frag->mapped, start, end, 0) : NULL;
}

static void frag_died(struct frag *frag, const struct frag_change *change)
{
	if (ft_map_count(&frag->refused) && ft_map_remove(&frag->refused, change->address, NULL))
		return;
	if (!change->own_mapping)
		fa_holes_remove(&frag->holes, change->start, change->end);
	fa_pagemap_remove(&frag->pages, change->start, change->end, change->stack);
	fa_pagemap_remove(&frag->huge, change->start, change->end, 0);
}

static struct ft_error *frag_apply(struct frag *frag, const struct frag_change *change)
{
	if (change->born)
		return frag_born(frag, change);
	frag_died(frag, change);
	return NULL;
}

/* Queue a change. Each waits for FRAG_AHEAD others, while its records come from memory. */
static struct ft_error *frag_push(struct frag *frag, const struct fa_engine *engine,
				  const struct fa_block *block, bool born)
{
	struct frag_change *slot = &frag->queue[frag->n_pushed % FRAG_AHEAD];

	if (frag->n_pushed - frag->n_applied == FRAG_AHEAD) {
		FT_TRY(frag_apply(frag, slot));
		frag->n_applied++;
	}
	*slot = (struct frag_change){
		.address = block->address,
		.stack = block->stack,
		.born = born,
		.own_mapping = frag->glibc && block->flags & FT_EVENT_F_MMAPPED,
		.tag = block->flags & FT_EVENT_F_NON_MAIN ? TAG_ARENA : TAG_MAIN,
	};
	fa_engine_extent(engine, block, &slot->start, &slot->end);
	frag->n_pushed++;

	fa_pagemap_prefetch(&frag->pages, slot->start);
	if (!slot->own_mapping)
		fa_holes_prefetch(&frag->holes, slot->start);
	if ((slot->start ^ (slot->end - 1)) >> FA_PAGE_SHIFT) {
		fa_pagemap_prefetch(&frag->pages, slot->end - 1);
		if (!slot->own_mapping)
			fa_holes_prefetch(&frag->holes, slot->end - 8);
	}
	if (frag->n_pushed - frag->n_applied > FRAG_AHEAD / 2) {
		slot = &frag->queue[(frag->n_pushed - FRAG_AHEAD / 2) % FRAG_AHEAD];
		fa_pagemap_prefetch_sites(&frag->pages, slot->start);
	}
	return NULL;
}

/* Before anybody looks. */
static struct ft_error *frag_flush(struct frag *frag)
{
	for (; frag->n_applied < frag->n_pushed; frag->n_applied++)
		FT_TRY(frag_apply(frag, &frag->queue[frag->n_applied % FRAG_AHEAD]));
	return NULL;
}

static struct ft_error *frag_on_step(struct fa_pass *pass, const struct fa_step *step)
{
	struct frag *frag = fa_pass_state(pass);

	if (step->died)
		FT_TRY(frag_push(frag, fa_pass_engine(pass), step->died, false));
	return step->born ? frag_push(frag, fa_pass_engine(pass), step->born, true) : NULL;
}

/* ---- series ------------------------------------------------------------------------------------
 */

static struct ft_error *series_init(struct frag_series *series, uint32_t n_ticks)
{
	series->stride = (n_ticks + FRAG_MOMENTS - 1) / FRAG_MOMENTS;

	size_t n = (n_ticks + series->stride - 1) / series->stride;
	uint64_t **columns[] = {&series->time_ns,  &series->live_bytes, &series->pinned,
				&series->largest,  &series->hole_bytes, &series->pages,
				&series->trimmable};

	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
		*columns[i] = calloc(n, sizeof(uint64_t));
		if (!*columns[i])
			return &ft_enomem;
	}
	series->footprint = calloc(n, sizeof(*series->footprint));
	series->uf = calloc(n * FA_ORDERS, sizeof(*series->uf));
	series->occupancy = calloc(n * FA_OCCUPANCY, sizeof(*series->occupancy));
	return series->footprint && series->uf && series->occupancy ? NULL : &ft_enomem;
}

static void series_deinit(struct frag_series *series)
{
	free(series->time_ns);
	free(series->live_bytes);
	free(series->pinned);
	free(series->largest);
	free(series->hole_bytes);
	free(series->pages);
	free(series->trimmable);
	free(series->footprint);
	free(series->uf);
	free(series->occupancy);
}

static uint32_t u32_clamp(uint64_t value)
{
	return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static struct ft_error *frag_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct frag *frag = fa_pass_state(pass);
	struct frag_series *series = &frag->series;
	const struct fa_page_totals *pages = &frag->pages.totals;
	const struct fa_hole_totals *holes = &frag->holes.totals;
	uint32_t k = series->n;

	if ((tick + 1) % series->stride && tick + 1 != fa_engine_n_ticks(fa_pass_engine(pass)))
		return NULL;
	FT_TRY(frag_flush(frag));
	series->time_ns[k] = time_ns;
	series->live_bytes[k] = fa_engine_totals(fa_pass_engine(pass))->live_bytes;
	series->pinned[k] = pages->pinned_free_bytes;
	series->largest[k] = fa_holes_largest(&frag->holes);
	series->hole_bytes[k] = holes->hole_bytes;
	series->pages[k] = pages->live_pages + holes->free_pages;
	series->trimmable[k] = holes->trim_pages * PAGE;
	for (unsigned o = 0; o < FA_ORDERS; o++)
		series->uf[(size_t)k * FA_ORDERS + o] = fa_uf_index(&holes->orders, o);
	series->occupancy[(size_t)k * FA_OCCUPANCY] = u32_clamp(holes->free_pages);
	for (unsigned d = 1; d < FA_OCCUPANCY; d++)
		series->occupancy[(size_t)k * FA_OCCUPANCY + d] = u32_clamp(pages->occupancy[d]);
	series->n++;
	return NULL;
}

/* ---- the moment --------------------------------------------------------------------------------
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
	ft_auto_free struct fa_pin *pins = calloc(n_stacks, sizeof(*pins));
	struct frag_moment *moment = &frag->moment;

	if (!pins)
		return &ft_enomem;
	fa_pagemap_pins(&frag->pages, pins, n_stacks);
	for (size_t s = 0; s < n_stacks; s++)
		n += pins[s].any > 0;

	ft_auto_free struct frag_site *sites = calloc(n ? n : 1, sizeof(*sites));

	if (!sites)
		return &ft_enomem;
	n = 0;
	for (size_t s = 0; s < n_stacks; s++)
		if (pins[s].any)
			sites[n++] = (struct frag_site){.stack = (uint32_t)s, .pin = pins[s]};
	qsort(sites, n, sizeof(*sites), site_order);

	for (size_t i = 0; i < n; i++) {
		sites[i].shapley_bytes = sites[i].pin.shapley;
		if (i >= FRAG_SITES)
			moment->other_shapley += sites[i].shapley_bytes;
	}
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

/* How old the blocks are that hold partial pages, by their bytes on those pages. */
static struct ft_error *moment_ages(struct frag *frag, const struct fa_engine *engine)
{
	struct frag_moment *moment = &frag->moment;
	size_t n_stacks = fa_engine_n_stacks(engine), cursor = 0;
	ft_auto_free uint32_t *rank = calloc(n_stacks, sizeof(*rank));
	const struct fa_block *block;

	if (!rank)
		return &ft_enomem;
	for (size_t i = 0; i < moment->n_sites; i++)
		rank[moment->sites[i].stack] = (uint32_t)i + 1;
	while (fa_engine_next_live(engine, &cursor, &block)) {
		uint64_t start, end, bytes = 0;

		if (block->stack >= n_stacks || !rank[block->stack])
			continue;
		fa_engine_extent(engine, block, &start, &end);

		uint64_t head_end = (start | (PAGE - 1)) + 1, tail = (end - 1) & -(uint64_t)PAGE;

		if (fa_pagemap_partial(&frag->pages, start))
			bytes += (head_end < end ? head_end : end) - start;
		if (head_end < end && fa_pagemap_partial(&frag->pages, tail))
			bytes += end - tail;

		struct frag_site *site = &moment->sites[rank[block->stack] - 1];

		site->age_weight += (double)bytes;
		if (moment->at_ns > block->born_ns)
			site->age_sum += (double)bytes * (double)(moment->at_ns - block->born_ns);
	}
	return NULL;
}

static struct ft_error *moment_take(struct frag *frag, const struct fa_engine *engine,
				    uint64_t at_ns)
{
	struct frag_moment *moment = &frag->moment;

	FT_TRY(frag_flush(frag));
	moment->taken = true;
	moment->at_ns = at_ns;
	moment->heap = *fa_engine_totals(engine);
	moment->pages = frag->pages.totals;
	moment->huge = frag->huge.totals;
	moment->holes = frag->holes.totals;
	moment->largest_hole = fa_holes_largest(&frag->holes);
	FT_TRY(moment_sites(frag, engine));
	return moment_ages(frag, engine);
}

static struct ft_error *frag_on_teardown(struct fa_pass *pass)
{
	struct frag *frag = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);
	uint64_t seq, at_ns;

	if (!fa_engine_teardown(engine, &seq, &at_ns))
		return NULL;
	return moment_take(frag, engine, at_ns);
}

/* ---- residency ---------------------------------------------------------------------------------
 */

/* Resident bytes of all mappings that hold or held blocks. */
static int64_t mappings_rss(const struct frag *frag)
{
	int64_t rss = 0;

	for (size_t i = 0; i < frag->n_mappings; i++)
		if (frag->mappings[i].rss > 0)
			rss += frag->mappings[i].rss;
	return rss;
}

/* The samples up to `time_ns` are complete: settle what is described before it. */
static void footprint_settle(struct frag *frag, uint64_t time_ns, uint64_t sample_ns)
{
	int64_t rss = frag->n_mappings ? mappings_rss(frag) : -1;

	while (frag->sampled_to < frag->series.n &&
	       frag->series.time_ns[frag->sampled_to] < time_ns)
		frag->series.footprint[frag->sampled_to++] = rss;
	if (frag->moment.at_ns >= sample_ns && sample_ns) {
		frag->sample_ns = sample_ns;
		frag->footprint = rss;
	}
}

struct frag_samples {
	struct frag *frag;
	uint64_t time_ns;
};

static struct ft_error *frag_mapping_row(void *ctx, const struct ft_mapping_row *row)
{
	struct frag_samples *samples = ctx;
	struct frag *frag = samples->frag;
	const char *kind = row->kind ? row->kind : "";
	size_t i = 0;

	if (row->time_ns != samples->time_ns) {
		footprint_settle(frag, row->time_ns, samples->time_ns);
		samples->time_ns = row->time_ns;
	}
	while (i < frag->n_mappings && frag->mappings[i].start != row->start)
		i++;
	if (row->end <= row->start ||
	    (strcmp(kind, "heap") != 0 && strcmp(kind, "arena") != 0 &&
	     strcmp(kind, "mmap") != 0) ||
	    (!fa_regions_meet(&frag->holes.regions, row->start, row->end) &&
	     !fa_regions_meet(&frag->mapped, row->start, row->end))) {
		if (i < frag->n_mappings)
			frag->mappings[i] = frag->mappings[--frag->n_mappings];
		return NULL;
	}

	if (i == frag->n_mappings) {
		if (frag->n_mappings == frag->mapping_room) {
			size_t room = frag->mapping_room ? frag->mapping_room * 2 : 64;
			struct frag_mapping *mappings =
				realloc(frag->mappings, room * sizeof(*mappings));

			if (!mappings)
				return &ft_enomem;
			frag->mappings = mappings;
			frag->mapping_room = room;
		}
		frag->n_mappings++;
	}
	frag->mappings[i] = (struct frag_mapping){row->start, row->end, row->rss,
						  strcmp(kind, "heap") == 0    ? "heap"
						  : strcmp(kind, "arena") == 0 ? "arena"
									       : "mmap"};
	return NULL;
}

/* Mappings are written when they change, so that the time of their last look is that of the figures
 * taken with them. */
static struct ft_error *frag_sample_row(void *ctx, const struct ft_sample_row *row)
{
	struct frag *frag = ctx;

	if (row->time_ns <= frag->moment.at_ns && row->time_ns > frag->sample_ns && row->source &&
	    strncmp(row->source, "smaps", 5) == 0)
		frag->sample_ns = row->time_ns;
	return NULL;
}

static uint64_t moment_held(const struct frag_moment *moment)
{
	return (moment->pages.live_pages + moment->holes.free_pages) * PAGE;
}

static struct ft_error *frag_sample_mappings(struct frag *frag, const struct fa_engine *engine)
{
	struct frag_samples samples = {.frag = frag};
	uint64_t held = moment_held(&frag->moment), then = 0;

	frag->footprint = -1;
	FT_TRY(ft_reader_mappings(fa_engine_reader(engine), frag_mapping_row, &samples));
	footprint_settle(frag, UINT64_MAX, samples.time_ns);
	FT_TRY(ft_reader_samples(fa_engine_reader(engine), frag_sample_row, frag));

	/* A sample of a heap of another size says nothing about this one, nor does one from its
	 * youth: pages that are resident now may not have been touched then. */
	for (uint32_t k = 0; k < frag->series.n && frag->series.time_ns[k] <= frag->sample_ns; k++)
		then = frag->series.pages[k] * PAGE;
	if (then < held - held / 10 || then > held + held / 10 ||
	    frag->moment.at_ns / 2 > frag->sample_ns)
		frag->footprint = -1;
	return NULL;
}

/* ---- verdict -----------------------------------------------------------------------------------
 */

static uint64_t moment_footprint(const struct frag *frag)
{
	return frag->footprint >= 0 ? (uint64_t)frag->footprint : moment_held(&frag->moment);
}

/* Whether the series' lows kept rising over the last half of the time before the moment. */
static bool frag_rising(const struct frag *frag, const uint64_t *values)
{
	double troughs[FA_TREND_TROUGHS];
	size_t last = 0;

	while (last < frag->series.n && frag->series.time_ns[last] <= frag->moment.at_ns)
		last++;
	if (last / 2 < FA_TREND_TROUGHS)
		return false;
	fa_troughs(values, last / 2, last, troughs);

	struct fa_trend trend = fa_trough_test(troughs);

	/* Rising by a hundredth is no finding. */
	return trend.growing && trend.growth > 0.02 * (double)values[last - 1];
}

/* Whole free pages that are resident, as far as is known: all of them without a sample. */
static uint64_t moment_empty(const struct frag *frag)
{
	const struct frag_moment *moment = &frag->moment;
	uint64_t resident = moment_footprint(frag) / PAGE;

	if (resident <= moment->pages.live_pages)
		return 0;
	resident -= moment->pages.live_pages;
	return PAGE * (resident < moment->holes.free_pages ? resident : moment->holes.free_pages);
}

static uint64_t moment_trimmable(const struct frag *frag)
{
	uint64_t empty = moment_empty(frag), trim = frag->moment.holes.trim_pages * PAGE;

	return trim < empty ? trim : empty;
}

/* One sentence: what holds the memory, with the figures that say so. */
static struct ft_error *frag_judge(struct frag *frag, struct fa_engine *engine)
{
	const struct frag_moment *moment = &frag->moment;
	uint64_t held = moment_held(moment), live = moment->heap.live_bytes;
	uint64_t pinned = moment->pages.pinned_free_bytes, empty = moment_empty(frag);
	uint64_t large = held / 4 > 1 << 20 ? held / 4 : 1 << 20;
	struct fa_text a, b, c;
	struct fa_finding finding = {.section = "frag", .severity = FA_OK, .text = frag->text};

	if (pinned >= large && pinned >= empty / 2) {
		const char *site = moment->n_sites
					   ? fa_engine_site_name(engine, moment->sites[0].stack)
					   : "??";
		uint64_t share = moment->n_sites ? moment->sites[0].shapley_bytes : 0;

		frag->verdict = "pinned";
		finding.severity = pinned > live ? FA_MEDIUM : FA_LOW;
		finding.site = moment->n_sites ? moment->sites[0].stack : 0;
		finding.weight = pinned;
		snprintf(frag->text, sizeof(frag->text),
			 "%s of free memory lie on pages that %s of live blocks keep%s; %.300s "
			 "holds %s of them (%s)",
			 fa_format_bytes(pinned, &a), fa_format_bytes(live, &b),
			 frag_rising(frag, frag->series.pinned) ? ", and it is growing" : "", site,
			 share > pinned / 2 ? "most" : "the largest part",
			 fa_format_bytes(share, &c));
	} else if (empty >= large) {
		frag->verdict = "retained";
		finding.severity = FA_INFO;
		finding.weight = empty;
		snprintf(frag->text, sizeof(frag->text),
			 "%s of whole pages without a live byte lie between live blocks%s: the "
			 "allocator keeps them%s%s",
			 fa_format_bytes(empty, &a),
			 frag_rising(frag, frag->series.hole_bytes) ? ", and more of them over time"
								    : "",
			 frag->glibc ? "; malloc_trim() would give back " : "",
			 frag->glibc ? fa_format_bytes(moment_trimmable(frag), &b) : "");
	} else if (frag_rising(frag, frag->series.live_bytes)) {
		frag->verdict = "growing";
		snprintf(frag->text, sizeof(frag->text),
			 "live memory itself grows; pages are well filled (%s live, %s held)",
			 fa_format_bytes(live, &a), fa_format_bytes(held, &b));
	} else if (moment_footprint(frag) > live + live / 2 &&
		   moment_footprint(frag) - live > 1 << 20 &&
		   moment->heap.peak_bytes > live + live / 2) {
		frag->verdict = "past_peak";
		finding.severity = FA_INFO;
		finding.weight = moment_footprint(frag) - live;
		snprintf(frag->text, sizeof(frag->text),
			 "the heap takes %s for %s of live blocks: what is left of the peak of %s",
			 fa_format_bytes(moment_footprint(frag), &a), fa_format_bytes(live, &b),
			 fa_format_bytes(moment->heap.peak_bytes, &c));
	} else {
		frag->verdict = "fine";
		snprintf(frag->text, sizeof(frag->text),
			 live < held - held / 4 ? "little memory is at stake: %s of live blocks on "
						  "%s of pages"
						: "pages are well filled: %s of live blocks on %s "
						  "of pages",
			 fa_format_bytes(live, &a), fa_format_bytes(held, &b));
	}
	finding.code = frag->verdict;
	return finding.severity > FA_OK ? fa_engine_finding_add(engine, &finding) : NULL;
}

/* ---- life cycle --------------------------------------------------------------------------------
 */

static struct ft_error *frag_init(struct fa_pass *pass)
{
	struct frag *frag = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	const struct fa_block *block;
	size_t cursor = 0;

	frag->glibc = strcmp(fa_engine_allocator(engine), "glibc") == 0;
	fa_pagemap_init(&frag->pages, FA_PAGE_SHIFT, true);
	fa_pagemap_init(&frag->huge, FA_HUGE_SHIFT, false);
	fa_holes_init(&frag->holes, frag->glibc ? 8 : 0);
	ft_map_init(&frag->refused);
	FT_TRY(series_init(&frag->series, fa_engine_n_ticks(engine)));
	while (fa_engine_next_live(engine, &cursor, &block))
		FT_TRY(frag_push(frag, engine, block, true));
	return frag_flush(frag);
}

static struct ft_error *frag_finish(struct fa_pass *pass)
{
	struct frag *frag = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);

	if (!frag->moment.taken)
		FT_TRY(moment_take(frag, engine, fa_engine_to_ns(engine)));
	FT_TRY(frag_sample_mappings(frag, engine));
	return frag_judge(frag, engine);
}

static void frag_deinit(struct fa_pass *pass)
{
	struct frag *frag = fa_pass_state(pass);

	fa_pagemap_deinit(&frag->pages);
	fa_pagemap_deinit(&frag->huge);
	fa_holes_deinit(&frag->holes);
	fa_regions_deinit(&frag->mapped);
	ft_map_deinit(&frag->refused);
	series_deinit(&frag->series);
	free(frag->moment.sites);
	free(frag->mappings);
}

/* ---- answer ------------------------------------------------------------------------------------
 */

static void kv_ratio(struct fa_json *json, const char *key, double part, double whole)
{
	if (whole > 0)
		fa_json_kv_f64(json, key, part / whole);
	else
		fa_json_kv_null(json, key);
}

static void emit_metrics(const struct frag *frag, struct fa_json *json)
{
	const struct frag_moment *moment = &frag->moment;
	const struct fa_totals *heap = &moment->heap;

	fa_json_key(json, "metrics");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "live_bytes", heap->live_bytes);
	fa_json_kv_u64(json, "footprint_bytes", moment_footprint(frag));
	kv_ratio(json, "overhead_ratio", (double)moment_footprint(frag), (double)heap->live_bytes);
	kv_ratio(json, "internal_pct", 100 * (double)(heap->live_usable - heap->live_bytes),
		 (double)heap->live_usable);
	fa_json_kv_u64(json, "pinned_free_bytes", moment->pages.pinned_free_bytes);
	fa_json_kv_u64(json, "largest_hole", moment->largest_hole);
	fa_json_kv_u64(json, "hole_bytes", moment->holes.hole_bytes);
	fa_json_kv_u64(json, "holes", moment->holes.n_holes);
	fa_json_kv_u64(json, "empty_bytes", moment_empty(frag));
	if (frag->glibc)
		fa_json_kv_u64(json, "trimmable_bytes", moment_trimmable(frag));
	else
		fa_json_kv_null(json, "trimmable_bytes");

	fa_json_key(json, "uf_index");
	fa_json_array_begin(json);
	for (unsigned o = 0; o < FA_ORDERS; o++)
		fa_json_f64(json, fa_uf_index(&moment->holes.orders, o));
	fa_json_array_end(json);

	fa_json_key(json, "page_occupancy_hist");
	fa_json_array_begin(json);
	fa_json_u64(json, moment->holes.free_pages);
	for (unsigned d = 1; d < FA_OCCUPANCY; d++)
		fa_json_u64(json, moment->pages.occupancy[d]);
	fa_json_array_end(json);

	fa_json_key(json, "hole_size_hist");
	fa_json_array_begin(json);
	for (unsigned i = 0; i < FA_HOLE_BINS; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "blocks", moment->holes.bin_holes[i]);
		fa_json_kv_u64(json, "bytes", moment->holes.bin_bytes[i]);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);

	fa_json_kv_u64(json, "pages", moment_held(moment) / PAGE);
	kv_ratio(json, "huge_util", 100 * (double)moment->huge.live_bytes,
		 (double)moment->huge.live_pages * (1 << FA_HUGE_SHIFT));
	fa_json_object_end(json);
}

static const char *region_kind(const struct frag *frag, const struct fa_region *region)
{
	for (size_t i = 0; i < frag->n_mappings; i++)
		if (frag->mappings[i].start < region->end && frag->mappings[i].end > region->start)
			return frag->mappings[i].kind;
	if (!frag->glibc)
		return "mmap";
	return region->tags & TAG_MAIN ? "heap" : "arena";
}

static void emit_regions(const struct frag *frag, struct fa_json *json)
{
	size_t n = frag->holes.regions.n;

	fa_json_key(json, "regions");
	fa_json_array_begin(json);
	for (size_t i = 0; i < n && i < FRAG_REGIONS; i++) {
		const struct fa_region *region = &frag->holes.regions.items[i];

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "start", region->start);
		fa_json_kv_u64(json, "end", region->end);
		fa_json_kv_string(json, "kind", region_kind(frag, region));
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_kv_u64(json, "regions_left_out", n > FRAG_REGIONS ? n - FRAG_REGIONS : 0);
}

static void emit_sites(const struct frag *frag, struct fa_engine *engine, struct fa_json *json)
{
	const struct frag_moment *moment = &frag->moment;

	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < moment->n_sites; i++) {
		const struct frag_site *site = &moment->sites[i];

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "site", site->stack);
		fa_json_kv_string(json, "name", fa_engine_site_name(engine, site->stack));
		fa_json_kv_u64(json, "sole", site->pin.sole);
		fa_json_kv_u64(json, "shapley", site->shapley_bytes);
		fa_json_kv_u64(json, "any", site->pin.any);
		fa_json_kv_u64(json, "pages_sole", site->pin.pages_sole);
		fa_json_kv_u64(json, "pages_any", site->pin.pages_any);
		fa_json_kv_u64(json, "live_bytes", site->live_bytes);
		kv_ratio(json, "density", (double)site->pin.shapley, (double)site->live_bytes);
		if (site->age_weight > 0)
			fa_json_kv_u64(json, "age_ns",
				       (uint64_t)(site->age_sum / site->age_weight));
		else
			fa_json_kv_null(json, "age_ns");
		fa_json_key(json, "stack");
		fa_engine_emit_stack(engine, site->stack, json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);

	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", moment->n_other);
	fa_json_kv_u64(json, "shapley", moment->other_shapley);
	fa_json_object_end(json);
}

static void emit_columns(const struct frag *frag, struct fa_doc *doc)
{
	const struct frag_series *series = &frag->series;
	size_t n = series->n;

	fa_doc_column(doc, "frag.time_ns", FA_U64, series->time_ns, n);
	fa_doc_column(doc, "frag.live_bytes", FA_U64, series->live_bytes, n);
	fa_doc_column(doc, "frag.pinned_free_bytes", FA_U64, series->pinned, n);
	fa_doc_column(doc, "frag.largest_hole", FA_U64, series->largest, n);
	fa_doc_column(doc, "frag.hole_bytes", FA_U64, series->hole_bytes, n);
	fa_doc_column(doc, "frag.pages", FA_U64, series->pages, n);
	if (frag->glibc)
		fa_doc_column(doc, "frag.trimmable_bytes", FA_U64, series->trimmable, n);
	fa_doc_column(doc, "frag.footprint_bytes", FA_I64, series->footprint, n);
	fa_doc_column(doc, "frag.uf_index", FA_F64, series->uf, n * FA_ORDERS);
	fa_doc_column(doc, "frag.page_occupancy", FA_U32, series->occupancy, n * FA_OCCUPANCY);
}

static struct ft_error *frag_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct frag *frag = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct fa_json *json = fa_doc_begin(doc, "frag");

	fa_json_kv_u64(json, "at_ns", frag->moment.at_ns);
	fa_json_kv_string(json, "allocator", fa_engine_allocator(engine));
	emit_metrics(frag, json);
	fa_json_kv_string(json, "residency", frag->footprint >= 0 ? "sampled" : "assumed");
	if (frag->footprint >= 0)
		fa_json_kv_u64(json, "sample_ns", frag->sample_ns);
	else
		fa_json_kv_null(json, "sample_ns");
	fa_json_kv_u64(json, "unplaced_blocks", frag->n_refused);
	emit_regions(frag, json);
	emit_sites(frag, engine, json);
	fa_json_key(json, "verdict");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "code", frag->verdict);
	fa_json_kv_string(json, "text", frag->text);
	fa_json_object_end(json);
	fa_doc_end(doc);
	emit_columns(frag, doc);
	return NULL;
}

const struct fa_pass_ops fa_pass_frag = {
	.name = "frag",
	.summary = "page occupancy, holes, and the sites that keep pages",
	.state_size = sizeof(struct frag),
	.needs_all_blocks = true,
	.init = frag_init,
	.on_step = frag_on_step,
	.on_tick = frag_on_tick,
	.on_teardown = frag_on_teardown,
	.finish = frag_finish,
	.emit = frag_emit,
	.deinit = frag_deinit,
};

/* SPDX-License-Identifier: MIT */
/*
 * Fragmentation: what keeps memory that nobody uses
 *
 * Looks at the layout of the heap (fa_layout.h): how full pages are, where the holes are, and which
 * sites hold pages that are mostly empty. 512 moments of it are kept as series, and one in full:
 * the end of the window, or the moment before the program began to clean up for its exit.
 *
 * What a recording of calls can not tell is residency: that comes from samples of the kernel's page
 * tables (frag_samples.c). Without them pages between live blocks are taken for resident, and the
 * document says so. Space before the first and after the last live block of a region is no hole.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "frag.h"
#include "ft_cleanup.h"

/* ---- blocks come and go ------------------------------------------------------------------------
 */

/* The heap of a block: NULL when out of memory. */
static struct frag_arena *arena_of(struct frag *frag, const struct fa_place *place)
{
	uint64_t base = place->tag == FA_TAG_MAIN ? 0 : place->start & -FRAG_ARENA_BYTES;

	if (frag->last_arena < frag->n_arenas && frag->arenas[frag->last_arena].base == base)
		return &frag->arenas[frag->last_arena];
	for (size_t i = 0; i < frag->n_arenas; i++)
		if (frag->arenas[i].base == base) {
			frag->last_arena = i;
			return &frag->arenas[i];
		}
	if (frag->n_arenas == frag->arena_room) {
		size_t room = frag->arena_room ? frag->arena_room * 2 : 16;
		struct frag_arena *arenas = realloc(frag->arenas, room * sizeof(*arenas));

		if (!arenas)
			return NULL;
		frag->arenas = arenas;
		frag->arena_room = room;
	}
	frag->last_arena = frag->n_arenas;
	frag->arenas[frag->n_arenas] =
		(struct frag_arena){.base = base, .first = UINT64_MAX, .since = frag->n_requests};
	return &frag->arenas[frag->n_arenas++];
}

static struct ft_error *heap_born(struct frag *frag, const struct fa_place *place)
{
	uint64_t bytes = place->end - place->start;

	if (frag->glibc) {
		struct frag_arena *arena = arena_of(frag, place);

		if (!arena)
			return &ft_enomem;
		arena->live += bytes;
		if (arena->live > arena->peak)
			arena->peak = arena->live;
		if (place->start < arena->first)
			arena->first = place->start;
		if (bytes >= FA_MMAP_THRESHOLD) {
			frag->large_live += bytes;
			if (frag->large_live > frag->large_peak)
				frag->large_peak = frag->large_live;
		}
	}
	frag->live_heap += bytes;
	if (frag->live_heap > frag->peak_heap)
		frag->peak_heap = frag->live_heap;
	return NULL;
}

static void heap_died(struct frag *frag, const struct fa_place *place)
{
	uint64_t bytes = place->end - place->start;

	if (frag->glibc) {
		struct frag_arena *arena = arena_of(frag, place);

		if (arena)
			arena->live -= bytes;
		if (bytes >= FA_MMAP_THRESHOLD)
			frag->large_live -= bytes;
	}
	frag->live_heap -= bytes;
}

/* ---- are holes of use? -------------------------------------------------------------------------
 */

/* The bin of the quantile of the requests that came since `before`; FA_HOLE_BINS without any. */
static unsigned requests_quantile(const struct frag *frag, const uint32_t *before, double quantile)
{
	uint64_t n = 0, sum = 0;

	for (unsigned b = 0; b < FA_HOLE_BINS; b++)
		n += (uint32_t)(frag->requests[b] - before[b]);
	for (unsigned b = 0; b < FA_HOLE_BINS; b++) {
		sum += (uint32_t)(frag->requests[b] - before[b]);
		if (n && (double)sum >= quantile * (double)n)
			return b;
	}
	return FA_HOLE_BINS;
}

/* Share of the bytes of holes that can take a request of that bin's smallest size, percent. */
static double useful_pct(const uint64_t *hole_bytes, unsigned bin)
{
	uint64_t all = 0, useful = 0;

	for (unsigned b = 0; b < FA_HOLE_BINS; b++) {
		all += hole_bytes[b];
		useful += b >= bin ? hole_bytes[b] : 0;
	}
	return all && bin < FA_HOLE_BINS ? 100 * (double)useful / (double)all : NAN;
}

/* The requests after the oldest waiting moment are complete (or all that there are). */
static void useful_close(struct frag *frag)
{
	struct frag_series *series = &frag->series;
	const struct frag_useful *moment = &series->waiting[series->useful_first++];

	series->useful[2 * (size_t)moment->k] =
		useful_pct(moment->hole_bytes, requests_quantile(frag, moment->requests, 0.5));
	series->useful[2 * (size_t)moment->k + 1] =
		useful_pct(moment->hole_bytes, requests_quantile(frag, moment->requests, 0.95));
	frag->request_due = series->useful_first < series->useful_last
				    ? series->waiting[series->useful_first].due
				    : UINT64_MAX;
}

static struct ft_error *useful_open(struct frag *frag, uint32_t k)
{
	struct frag_series *series = &frag->series;

	/* What is done makes room for what comes. */
	if (series->useful_last == series->useful_room && series->useful_first) {
		series->useful_last -= series->useful_first;
		memmove(series->waiting, series->waiting + series->useful_first,
			series->useful_last * sizeof(*series->waiting));
		series->useful_first = 0;
	}
	if (series->useful_last == series->useful_room) {
		size_t room = series->useful_room ? series->useful_room * 2 : 8;
		struct frag_useful *waiting = realloc(series->waiting, room * sizeof(*waiting));

		if (!waiting)
			return &ft_enomem;
		series->waiting = waiting;
		series->useful_room = room;
	}

	struct frag_useful *moment = &series->waiting[series->useful_last++];

	moment->k = k;
	moment->due = frag->n_requests + FRAG_USEFUL_REQUESTS;
	memcpy(moment->hole_bytes, fa_holes_totals(&frag->layout->holes)->bin_bytes,
	       sizeof(moment->hole_bytes));
	memcpy(moment->requests, frag->requests, sizeof(moment->requests));
	if (frag->request_due == UINT64_MAX)
		frag->request_due = moment->due;
	return NULL;
}

/* ---- steps -------------------------------------------------------------------------------------
 */

/* glibc's caches and thresholds, which follow from who frees what. */
static struct ft_error *glibc_died(struct frag *frag, const struct fa_engine *engine,
				   const struct fa_step *step)
{
	const struct fa_place *place = step->died_at;
	uint32_t thread =
		step->event->thread < fa_engine_n_threads(engine) ? step->event->thread : 0;

	if (!place->own_mapping)
		return fa_tcache_free(&frag->tcache, thread, step->died->address,
				      place->end - place->start);
	/* A realloc unmaps without looking at the threshold. */
	if (step->born ||
	    !fa_mmap_threshold_free(&frag->threshold,
				    (place->end - place->start + PAGE - 1) & -(uint64_t)PAGE))
		return NULL;
	frag->threshold.raised_ns = step->event->time_ns;
	frag->threshold.raised_by = step->died->size;
	frag->threshold.stack = step->died->stack;
	frag->threshold.thread = thread;
	return NULL;
}

static inline struct ft_error *frag_on_step(struct fa_pass *pass, const struct fa_step *step)
{
	struct frag *frag = fa_pass_state(pass);
	const struct fa_place *place = step->died_at;

	if (place) {
		if (!place->own_mapping)
			heap_died(frag, place);
		if (frag->glibc)
			FT_TRY(glibc_died(frag, fa_pass_engine(pass), step));
	}
	place = step->born_at;
	if (!place)
		return NULL;
	if (!place->own_mapping) {
		FT_TRY(heap_born(frag, place));
		if (frag->glibc)
			fa_tcache_alloc(&frag->tcache, step->born->thread, step->born->address,
					place->end - place->start);
	}
	frag->requests[fa_hole_bin(place->end - place->start)]++;
	if (++frag->n_requests >= frag->request_due)
		useful_close(frag);
	return NULL;
}

FA_ON_STEPS(frag);

/* A sample is due. */
static struct ft_error *frag_on_alarm(struct fa_pass *pass, uint64_t time_ns)
{
	struct frag *frag = fa_pass_state(pass);

	FT_TRY(fa_engine_layout(fa_pass_engine(pass), &frag->layout));
	return frag_samples_until(frag, pass, time_ns);
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
	series->internal = calloc(n, sizeof(*series->internal));
	series->overhead = calloc(n, sizeof(*series->overhead));
	series->useful = calloc(2 * n, sizeof(*series->useful));
	series->uf = calloc(n * FA_ORDERS, sizeof(*series->uf));
	series->occupancy = calloc(n * FA_OCCUPANCY, sizeof(*series->occupancy));
	series->hole_hist = calloc(n * FRAG_HOLE_LOG2, sizeof(*series->hole_hist));
	return series->footprint && series->internal && series->overhead && series->useful &&
			       series->uf && series->occupancy && series->hole_hist
		       ? NULL
		       : &ft_enomem;
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
	free(series->internal);
	free(series->overhead);
	free(series->useful);
	free(series->uf);
	free(series->occupancy);
	free(series->hole_hist);
	free(series->waiting);
}

static uint32_t u32_clamp(uint64_t value)
{
	return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

struct ft_error *frag_pin_cell(struct frag_pins *pins, struct frag_pin_cell **ret)
{
	if (pins->n_cells == pins->room) {
		size_t room = pins->room ? pins->room * 2 : 256;
		struct frag_pin_cell *cells = realloc(pins->cells, room * sizeof(*cells));

		if (!cells)
			return &ft_enomem;
		pins->cells = cells;
		pins->room = room;
	}
	*ret = &pins->cells[pins->n_cells++];
	return NULL;
}

/* All sites, as they are now. */
static struct ft_error *pins_take(struct frag *frag, const struct fa_engine *engine,
				  uint64_t time_ns)
{
	struct frag_pins *pins = &frag->pins;
	size_t n_stacks = fa_engine_n_stacks(engine);
	struct fa_page_totals huge;

	memset(pins->scratch, 0, n_stacks * sizeof(*pins->scratch));
	fa_pagemap_pins(&frag->layout->pages, pins->scratch, n_stacks);
	fa_pagemap_pins(&frag->layout->mapped, pins->scratch, n_stacks);
	for (size_t s = 0; s < n_stacks; s++) {
		if (!pins->scratch[s].any)
			continue;
		struct frag_pin_cell *cell;

		FT_TRY(frag_pin_cell(pins, &cell));
		*cell = (struct frag_pin_cell){.site = (uint32_t)s,
					       .bucket = pins->n,
					       .sole = pins->scratch[s].sole,
					       .shapley = pins->scratch[s].shapley};
	}
	if (pins->n >= pins->next_slabs) {
		FT_TRY(frag_slabs_gains(engine, &pins->has_slabs, &pins->mesh_gain[pins->n],
					&pins->compact_gain[pins->n]));
		pins->next_slabs =
			pins->n + 1 + (uint32_t)(fa_engine_n_live(engine) / FRAG_SLABS_COST);
	} else {
		pins->mesh_gain[pins->n] = pins->mesh_gain[pins->n - 1];
		pins->compact_gain[pins->n] = pins->compact_gain[pins->n - 1];
	}
	FT_TRY(fa_pagemap_coarse(&frag->layout->pages, FA_HUGE_SHIFT, &huge, NULL, 0));
	pins->huge_util[pins->n] =
		huge.live_pages
			? 100 * (double)huge.live_bytes / (double)(huge.live_pages << FA_HUGE_SHIFT)
			: NAN;
	pins->time_ns[pins->n++] = time_ns;
	return NULL;
}

/* What malloc_trim() would give back at moment k. Where there is much to look at, moments between
 * have what the one before had. */
static struct ft_error *series_trim(struct frag *frag, const struct fa_engine *engine, uint32_t k,
				    bool is_last)
{
	struct frag_series *series = &frag->series;
	struct frag_trim trim;

	if (k < series->next_trim && !is_last) {
		series->trimmable[k] = series->trimmable[k - 1];
		return NULL;
	}
	FT_TRY(frag_trim(frag, engine, series->time_ns[k], frag->samples.has_residency, &trim));
	series->trimmable[k] = trim.pages * PAGE;
	series->next_trim = k + 1 + (uint32_t)(trim.cost / FRAG_TRIM_COST);
	return NULL;
}

static struct ft_error *frag_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct frag *frag = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct frag_series *series = &frag->series;
	const struct fa_totals *heap = fa_engine_totals(engine);
	uint32_t k = series->n;
	bool is_last = tick + 1 == fa_engine_n_ticks(engine);

	if ((tick + 1) % series->stride && !is_last)
		return NULL;
	FT_TRY(fa_engine_layout(engine, &frag->layout));

	const struct fa_page_totals *pages = &frag->layout->pages.totals,
				    *mapped = &frag->layout->mapped.totals;
	const struct fa_hole_totals *holes = fa_holes_totals(&frag->layout->holes);

	series->time_ns[k] = time_ns;
	series->live_bytes[k] = heap->laid_bytes;
	series->pinned[k] = pages->pinned_free_bytes + mapped->pinned_free_bytes;
	series->largest[k] = fa_holes_largest(&frag->layout->holes);
	series->hole_bytes[k] = holes->hole_bytes;
	series->pages[k] = fa_layout_held_pages(frag->layout);
	FT_TRY(series_trim(frag, engine, k, is_last));
	series->footprint[k] = frag_footprint(frag);
	series->internal[k] = heap->live_usable
				      ? 100 * (double)(heap->live_usable - heap->laid_bytes) /
						(double)heap->live_usable
				      : NAN;
	series->overhead[k] = heap->laid_bytes ? (double)(series->footprint[k] >= 0
								  ? (uint64_t)series->footprint[k]
								  : series->pages[k] * PAGE) /
							 (double)heap->laid_bytes
					       : NAN;
	series->useful[2 * (size_t)k] = series->useful[2 * (size_t)k + 1] = NAN;
	FT_TRY(useful_open(frag, k));
	for (unsigned o = 0; o < FA_ORDERS; o++)
		series->uf[(size_t)k * FA_ORDERS + o] = fa_uf_index(&holes->orders, o);
	series->occupancy[(size_t)k * FA_OCCUPANCY] = u32_clamp(holes->free_pages);
	for (unsigned d = 1; d < FA_OCCUPANCY; d++)
		series->occupancy[(size_t)k * FA_OCCUPANCY + d] =
			u32_clamp(pages->occupancy[d] + mapped->occupancy[d]);
	for (unsigned b = 0; b < FA_HOLE_BINS; b++)
		if (holes->bin_bytes[b])
			series->hole_hist[(size_t)k * FRAG_HOLE_LOG2 + 63 -
					  (unsigned)__builtin_clzll(fa_hole_bin_start(b) | 1)] +=
				holes->bin_bytes[b];
	series->n++;
	if ((series->n % frag->pins.stride == 0 || is_last) && frag->pins.n < FRAG_PIN_MOMENTS + 1)
		return pins_take(frag, engine, time_ns);
	return NULL;
}

/* ---- life cycle --------------------------------------------------------------------------------
 */

static struct ft_error *frag_init(struct fa_pass *pass)
{
	struct frag *frag = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	const struct fa_block *block;
	uint32_t n_ticks = fa_engine_n_ticks(engine), n_moments;
	size_t cursor = 0;

	frag->glibc = strcmp(fa_engine_allocator(engine), "glibc") == 0;
	frag->n_stacks = fa_engine_n_stacks(engine);
	frag->request_due = UINT64_MAX;
	frag->threshold.bytes = FA_MMAP_THRESHOLD;
	FT_TRY(series_init(&frag->series, n_ticks));
	n_moments = (n_ticks + frag->series.stride - 1) / frag->series.stride;
	frag->pins.stride = (n_moments + FRAG_PIN_MOMENTS - 1) / FRAG_PIN_MOMENTS;
	frag->pins.scratch = calloc(fa_engine_n_stacks(engine), sizeof(*frag->pins.scratch));
	if (!frag->pins.scratch)
		return &ft_enomem;
	FT_TRY(frag_rolled(frag, engine, n_moments));
	FT_TRY(frag_samples_load(frag, pass));
	while (fa_engine_next_laid(engine, &cursor, &block)) {
		struct fa_place place;

		fa_engine_place(engine, block, &place);
		if (!place.own_mapping)
			FT_TRY(heap_born(frag, &place));
	}
	return NULL;
}

static struct ft_error *frag_on_teardown(struct fa_pass *pass)
{
	struct frag *frag = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	uint64_t seq, at_ns;

	if (!fa_engine_teardown(engine, &seq, &at_ns))
		return NULL;
	FT_TRY(fa_engine_layout(engine, &frag->layout));
	FT_TRY(frag_samples_until(frag, pass, at_ns));
	return frag_moment_take(frag, engine, at_ns);
}

static struct ft_error *frag_finish(struct fa_pass *pass)
{
	struct frag *frag = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);

	FT_TRY(fa_engine_layout(engine, &frag->layout));
	FT_TRY(frag_samples_until(frag, pass, fa_engine_to_ns(engine)));
	if (!frag->moment.taken)
		FT_TRY(frag_moment_take(frag, engine, fa_engine_to_ns(engine)));
	while (frag->series.useful_first < frag->series.useful_last)
		useful_close(frag);
	FT_TRY(frag_moment_finish(frag, engine));
	return frag_judge(frag, engine);
}

static void frag_deinit(struct fa_pass *pass)
{
	struct frag *frag = fa_pass_state(pass);

	fa_tcache_deinit(&frag->tcache);
	series_deinit(&frag->series);
	frag_samples_deinit(&frag->samples);
	frag_moment_deinit(&frag->moment);
	frag_arenas_deinit(&frag->by_arena);
	free(frag->arenas);
	free(frag->pins.cells);
	free(frag->pins.scratch);
}

const struct fa_pass_ops fa_pass_frag = {
	.name = "frag",
	.summary = "page occupancy, holes, and the sites that keep pages",
	.state_size = sizeof(struct frag),
	.needs_all_blocks = true,
	.needs_layout = true,
	.init = frag_init,
	.on_steps = frag_on_steps,
	.on_tick = frag_on_tick,
	.on_alarm = frag_on_alarm,
	.on_teardown = frag_on_teardown,
	.finish = frag_finish,
	.emit = frag_emit,
	.deinit = frag_deinit,
};

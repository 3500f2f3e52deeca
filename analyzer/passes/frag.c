/* SPDX-License-Identifier: MIT */
/*
 * Fragmentation: what keeps memory that nobody uses
 *
 * Rebuilds the layout of the heap from the extents of live blocks: how full pages are, where the
 * holes are, and which sites hold pages that are mostly empty. Everything is exact after each
 * event; 512 moments of it are kept as series, and one in full: the end of the window, or the
 * moment before the program began to clean up for its exit.
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

static struct ft_error *frag_refuse(struct frag *frag, const struct frag_change *change)
{
	frag->n_refused++;
	return ft_map_put(&frag->refused, change->address, NULL) ? NULL : &ft_enomem;
}

/* The heap of a block: NULL when out of memory. */
static struct frag_arena *arena_of(struct frag *frag, const struct frag_change *change)
{
	uint64_t base = change->tag == TAG_MAIN ? 0 : change->start & -FRAG_ARENA_BYTES;

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

static struct ft_error *heap_born(struct frag *frag, const struct frag_change *change)
{
	uint64_t bytes = change->end - change->start;

	if (frag->glibc) {
		struct frag_arena *arena = arena_of(frag, change);

		if (!arena)
			return &ft_enomem;
		arena->live += bytes;
		if (arena->live > arena->peak)
			arena->peak = arena->live;
		if (change->start < arena->first)
			arena->first = change->start;
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

static void heap_died(struct frag *frag, const struct frag_change *change)
{
	uint64_t bytes = change->end - change->start;

	if (frag->glibc) {
		struct frag_arena *arena = arena_of(frag, change);

		if (arena)
			arena->live -= bytes;
		if (bytes >= FA_MMAP_THRESHOLD)
			frag->large_live -= bytes;
	}
	frag->live_heap -= bytes;
}

static struct ft_error *frag_born(struct frag *frag, const struct frag_change *change)
{
	const uint64_t start = change->start, end = change->end;
	bool refused;

	/* A block with a mapping of its own leaves nothing behind: no hole before or after it. */
	if (change->own_mapping) {
		FT_TRY(fa_pagemap_add(&frag->mapped, start, end, change->stack, &refused));
		return refused ? frag_refuse(frag, change)
			       : fa_regions_cover(&frag->own, start, end, 0);
	}
	FT_TRY(fa_holes_add(&frag->holes, start, end, change->tag, &refused));
	if (refused)
		return frag_refuse(frag, change);
	FT_TRY(fa_pagemap_add(&frag->pages, start, end, change->stack, &refused));
	if (refused) {
		fa_holes_remove(&frag->holes, start, end);
		return frag_refuse(frag, change);
	}
	return heap_born(frag, change);
}

static void frag_died(struct frag *frag, const struct frag_change *change)
{
	if (ft_map_count(&frag->refused) && ft_map_remove(&frag->refused, change->address, NULL))
		return;
	if (change->own_mapping) {
		fa_pagemap_remove(&frag->mapped, change->start, change->end, change->stack);
		return;
	}
	fa_holes_remove(&frag->holes, change->start, change->end);
	fa_pagemap_remove(&frag->pages, change->start, change->end, change->stack);
	heap_died(frag, change);
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
				  const struct fa_block *block, bool born,
				  const struct frag_change **ret)
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
	*ret = slot;

	if (!slot->own_mapping) {
		fa_pagemap_prefetch(&frag->pages, slot->start);
		fa_holes_prefetch(&frag->holes, slot->start);
		if ((slot->start ^ (slot->end - 1)) >> FA_PAGE_SHIFT) {
			fa_pagemap_prefetch(&frag->pages, slot->end - 1);
			fa_holes_prefetch(&frag->holes, slot->end - 8);
		}
	}
	if (frag->n_pushed - frag->n_applied > FRAG_AHEAD / 2) {
		const struct frag_change *due =
			&frag->queue[(frag->n_pushed - FRAG_AHEAD / 2) % FRAG_AHEAD];

		fa_pagemap_prefetch_sites(&frag->pages, due->start);
	}
	return NULL;
}

/* Before anybody looks. */
struct ft_error *frag_flush(struct frag *frag)
{
	for (; frag->n_applied < frag->n_pushed; frag->n_applied++)
		FT_TRY(frag_apply(frag, &frag->queue[frag->n_applied % FRAG_AHEAD]));
	return NULL;
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
	memcpy(moment->hole_bytes, frag->holes.totals.bin_bytes, sizeof(moment->hole_bytes));
	memcpy(moment->requests, frag->requests, sizeof(moment->requests));
	if (frag->request_due == UINT64_MAX)
		frag->request_due = moment->due;
	return NULL;
}

/* ---- steps -------------------------------------------------------------------------------------
 */

/* glibc's caches and thresholds, which follow from who frees what. */
static struct ft_error *glibc_died(struct frag *frag, const struct fa_engine *engine,
				   const struct fa_step *step, const struct frag_change *change)
{
	uint32_t thread =
		step->event->thread < fa_engine_n_threads(engine) ? step->event->thread : 0;

	if (!change->own_mapping)
		return fa_tcache_free(&frag->tcache, thread, change->address,
				      change->end - change->start);
	/* A realloc unmaps without looking at the threshold. */
	if (step->born ||
	    !fa_mmap_threshold_free(&frag->threshold,
				    (change->end - change->start + PAGE - 1) & -(uint64_t)PAGE))
		return NULL;
	frag->threshold.raised_ns = step->event->time_ns;
	frag->threshold.raised_by = step->died->size;
	frag->threshold.stack = step->died->stack;
	frag->threshold.thread = thread;
	return NULL;
}

static struct ft_error *frag_on_step(struct fa_pass *pass, const struct fa_step *step)
{
	struct frag *frag = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);
	const struct frag_change *change;

	if (step->event->time_ns >= frag->samples.next_ns)
		FT_TRY(frag_samples_until(frag, engine, step->event->time_ns));
	if (step->died) {
		FT_TRY(frag_push(frag, engine, step->died, false, &change));
		if (frag->glibc)
			FT_TRY(glibc_died(frag, engine, step, change));
	}
	if (!step->born)
		return NULL;
	FT_TRY(frag_push(frag, engine, step->born, true, &change));

	uint64_t bytes = change->end - change->start;

	if (frag->glibc && !change->own_mapping)
		fa_tcache_alloc(&frag->tcache, step->born->thread, change->address, bytes);
	frag->requests[fa_hole_bin(bytes)]++;
	if (++frag->n_requests >= frag->request_due) {
		FT_TRY(frag_flush(frag));
		useful_close(frag);
	}
	return NULL;
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

/* All sites, as they are now. */
static struct ft_error *pins_take(struct frag *frag, const struct fa_engine *engine,
				  uint64_t time_ns)
{
	struct frag_pins *pins = &frag->pins;
	size_t n_stacks = fa_engine_n_stacks(engine);
	struct fa_page_totals huge;

	memset(pins->scratch, 0, n_stacks * sizeof(*pins->scratch));
	fa_pagemap_pins(&frag->pages, pins->scratch, n_stacks);
	fa_pagemap_pins(&frag->mapped, pins->scratch, n_stacks);
	for (size_t s = 0; s < n_stacks; s++) {
		if (!pins->scratch[s].any)
			continue;
		if (pins->n_cells == pins->room) {
			size_t room = pins->room ? pins->room * 2 : 256;
			struct frag_pin_cell *cells = realloc(pins->cells, room * sizeof(*cells));

			if (!cells)
				return &ft_enomem;
			pins->cells = cells;
			pins->room = room;
		}
		pins->cells[pins->n_cells++] =
			(struct frag_pin_cell){.site = (uint32_t)s,
					       .bucket = pins->n,
					       .sole = pins->scratch[s].sole,
					       .shapley = pins->scratch[s].shapley};
	}
	FT_TRY(fa_pagemap_coarse(&frag->pages, FA_HUGE_SHIFT, &huge, NULL, 0));
	pins->huge_util[pins->n] =
		huge.live_pages
			? 100 * (double)huge.live_bytes / (double)(huge.live_pages << FA_HUGE_SHIFT)
			: NAN;
	pins->time_ns[pins->n++] = time_ns;
	return NULL;
}

static struct ft_error *frag_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct frag *frag = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);
	struct frag_series *series = &frag->series;
	const struct fa_page_totals *pages = &frag->pages.totals, *mapped = &frag->mapped.totals;
	const struct fa_hole_totals *holes = &frag->holes.totals;
	const struct fa_totals *heap = fa_engine_totals(engine);
	uint32_t k = series->n;
	bool is_last = tick + 1 == fa_engine_n_ticks(engine);

	if (time_ns >= frag->samples.next_ns)
		FT_TRY(frag_samples_until(frag, engine, time_ns));
	if ((tick + 1) % series->stride && !is_last)
		return NULL;
	FT_TRY(frag_flush(frag));
	series->time_ns[k] = time_ns;
	series->live_bytes[k] = heap->live_bytes;
	series->pinned[k] = pages->pinned_free_bytes + mapped->pinned_free_bytes;
	series->largest[k] = fa_holes_largest(&frag->holes);
	series->hole_bytes[k] = holes->hole_bytes;
	series->pages[k] = frag_held_pages(frag);
	series->trimmable[k] = holes->trim_pages * PAGE;
	series->footprint[k] = frag_footprint(frag);
	series->internal[k] = heap->live_usable
				      ? 100 * (double)(heap->live_usable - heap->live_bytes) /
						(double)heap->live_usable
				      : NAN;
	series->overhead[k] = heap->live_bytes ? (double)(series->footprint[k] >= 0
								  ? (uint64_t)series->footprint[k]
								  : series->pages[k] * PAGE) /
							 (double)heap->live_bytes
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
	const struct frag_change *change;
	const struct fa_block *block;
	uint32_t n_ticks = fa_engine_n_ticks(engine), n_moments;
	size_t cursor = 0;

	frag->glibc = strcmp(fa_engine_allocator(engine), "glibc") == 0;
	frag->n_stacks = fa_engine_n_stacks(engine);
	frag->request_due = UINT64_MAX;
	frag->threshold.bytes = FA_MMAP_THRESHOLD;
	fa_pagemap_init(&frag->pages, FA_PAGE_SHIFT, true);
	fa_pagemap_init(&frag->mapped, FA_PAGE_SHIFT, true);
	fa_holes_init(&frag->holes, frag->glibc ? 8 : 0);
	ft_map_init(&frag->refused);
	FT_TRY(series_init(&frag->series, n_ticks));
	n_moments = (n_ticks + frag->series.stride - 1) / frag->series.stride;
	frag->pins.stride = (n_moments + FRAG_PIN_MOMENTS - 1) / FRAG_PIN_MOMENTS;
	frag->pins.scratch = calloc(fa_engine_n_stacks(engine), sizeof(*frag->pins.scratch));
	if (!frag->pins.scratch)
		return &ft_enomem;
	FT_TRY(frag_samples_load(frag, engine));
	while (fa_engine_next_live(engine, &cursor, &block))
		FT_TRY(frag_push(frag, engine, block, true, &change));
	return frag_flush(frag);
}

static struct ft_error *frag_on_teardown(struct fa_pass *pass)
{
	struct frag *frag = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);
	uint64_t seq, at_ns;

	if (!fa_engine_teardown(engine, &seq, &at_ns))
		return NULL;
	FT_TRY(frag_samples_until(frag, engine, at_ns));
	return frag_moment_take(frag, engine, at_ns);
}

static struct ft_error *frag_finish(struct fa_pass *pass)
{
	struct frag *frag = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);

	FT_TRY(frag_samples_until(frag, engine, fa_engine_to_ns(engine)));
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

	fa_pagemap_deinit(&frag->pages);
	fa_pagemap_deinit(&frag->mapped);
	fa_holes_deinit(&frag->holes);
	fa_regions_deinit(&frag->own);
	fa_tcache_deinit(&frag->tcache);
	ft_map_deinit(&frag->refused);
	series_deinit(&frag->series);
	frag_samples_deinit(&frag->samples);
	frag_moment_deinit(&frag->moment);
	free(frag->arenas);
	free(frag->pins.cells);
	free(frag->pins.scratch);
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

/* SPDX-License-Identifier: MIT */
/*
 * Residency and the waterfall: see frag.h
 *
 * A sample of pages says which pages of the writable anonymous mappings were in memory. Joined with
 * the layout at the same time it gives where the resident memory is, each part counted by itself:
 * inside of the heap page by page, outside of it by the kernel's figures for whole mappings. What
 * is then missing from, or too much for, the resident size is the residual.
 */
#include <stdlib.h>
#include <string.h>

#include "frag.h"
#include "ft_cleanup.h"

void frag_samples_deinit(struct frag_samples *samples)
{
	free(samples->changes);
	free(samples->maps);
	ft_map_deinit(&samples->map_index);
	free(samples->items);
	fa_residency_deinit(&samples->residency);
	free(samples->ranges);
	free(samples->series);
}

/* Room for one more item of `size` bytes. */
static bool more_room(void *items, size_t n, size_t *room, size_t size)
{
	void **at = items;

	if (n < *room)
		return true;

	size_t wanted = *room ? *room * 2 : 64;
	void *grown = realloc(*at, wanted * size);

	if (!grown)
		return false;
	*at = grown;
	*room = wanted;
	return true;
}

/* ---- loading -----------------------------------------------------------------------------------
 */

static enum frag_kind kind_of(const char *name)
{
	static const char *const names[] = {"heap", "arena", "mmap", "file", "stack", "tracer"};

	for (size_t i = 0; name && i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(name, names[i]) == 0)
			return (enum frag_kind)i;
	return KIND_OTHER;
}

static struct ft_error *load_mapping(void *ctx, const struct ft_mapping_row *row)
{
	struct frag_samples *samples = ctx;

	if (!more_room(&samples->changes, samples->n_changes, &samples->changes_room,
		       sizeof(*samples->changes)))
		return &ft_enomem;
	samples->changes[samples->n_changes++] = (struct frag_map_change){
		.time_ns = row->time_ns,
		.map = {.start = row->start,
			.end = row->end,
			.rss = row->rss > 0 ? row->rss : 0,
			.swap = row->swap > 0 ? row->swap : 0,
			.kind = kind_of(row->kind)},
	};
	return NULL;
}

static struct ft_error *load_sample(void *ctx, const struct ft_residency_row *row)
{
	struct frag_samples *samples = ctx;

	if (row->page_bytes < PAGE || row->page_bytes % PAGE)
		return NULL; /* pages of no machine that we know */
	if (!more_room(&samples->items, samples->n_items, &samples->items_room,
		       sizeof(*samples->items)))
		return &ft_enomem;
	samples->items[samples->n_items++] = (struct frag_sample){.id = row->id,
								  .rss = row->rss,
								  .time_ns = row->time_ns,
								  .page_bytes = row->page_bytes,
								  .unchanged = row->unchanged};
	return NULL;
}

struct ft_error *frag_samples_load(struct frag *frag, struct fa_pass *pass)
{
	const struct fa_engine *engine = fa_pass_engine(pass);
	struct frag_samples *samples = &frag->samples;

	ft_map_init(&samples->map_index);
	FT_TRY(ft_reader_mappings(fa_engine_reader(engine), load_mapping, samples));
	FT_TRY(ft_reader_residency(fa_engine_reader(engine), load_sample, samples));
	samples->series = calloc(FRAG_MOMENTS + 1, sizeof(*samples->series));
	if (!samples->series)
		return &ft_enomem;
	samples->stride = (samples->n_items + FRAG_MOMENTS - 1) / FRAG_MOMENTS;
	frag->by_arena.stride = (samples->n_items + FRAG_PIN_MOMENTS - 1) / FRAG_PIN_MOMENTS;
	if (samples->n_items)
		fa_pass_alarm(pass, samples->items[0].time_ns);
	return NULL;
}

/* ---- mappings ----------------------------------------------------------------------------------
 */

static struct ft_error *map_change(struct frag_samples *samples, const struct frag_map *map)
{
	bool created;
	uint64_t *index;

	if (map->end <= map->start) {
		uint64_t at;

		if (!ft_map_remove(&samples->map_index, map->start, &at))
			return NULL;
		samples->maps[at] = samples->maps[--samples->n_maps];
		if (at < samples->n_maps)
			*ft_map_get(&samples->map_index, samples->maps[at].start) = at;
		return NULL;
	}
	if (!more_room(&samples->maps, samples->n_maps, &samples->maps_room,
		       sizeof(*samples->maps)))
		return &ft_enomem;
	index = ft_map_put(&samples->map_index, map->start, &created);
	if (!index)
		return &ft_enomem;
	if (created)
		*index = samples->n_maps++;
	samples->maps[*index] = *map;
	return NULL;
}

/* ---- what is heap ------------------------------------------------------------------------------
 */

static struct ft_error *range_add(struct frag_samples *samples, uint64_t start, uint64_t end,
				  enum frag_kind kind)
{
	if (start >= end)
		return NULL;
	if (!more_room(&samples->ranges, samples->n_ranges, &samples->ranges_room,
		       sizeof(*samples->ranges)))
		return &ft_enomem;
	samples->ranges[samples->n_ranges++] = (struct frag_range){start, end, kind};
	return NULL;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* glibc's part of an anonymous mapping, which may have been merged with its neighbours: arenas by
 * their place, and the main heap where the break could not grow. */
static struct ft_error *glibc_ranges(struct frag *frag, const struct frag_map *map)
{
	const struct fa_regions *regions = &frag->layout->holes.regions;

	for (size_t i = 0; i < frag->n_arenas; i++) {
		uint64_t base = frag->arenas[i].base;

		if (base && base >= map->start && base < map->end)
			FT_TRY(range_add(&frag->samples, base,
					 min_u64(map->end, base + FRAG_ARENA_BYTES), KIND_ARENA));
	}
	for (size_t i = fa_regions_index(regions, map->start + 1);
	     i < regions->n && regions->items[i].start < map->end; i++)
		if (regions->items[i].tags == FA_TAG_MAIN)
			FT_TRY(range_add(&frag->samples,
					 max_u64(map->start, regions->items[i].start),
					 min_u64(map->end, regions->items[i].end), KIND_MMAP));
	return NULL;
}

static int range_order(const void *a, const void *b)
{
	const struct frag_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static struct ft_error *find_ranges(struct frag *frag)
{
	struct frag_samples *samples = &frag->samples;

	samples->n_ranges = 0;
	for (size_t i = 0; i < samples->n_maps; i++) {
		const struct frag_map *map = &samples->maps[i];

		if (map->kind > KIND_MMAP)
			continue;
		if (map->kind == KIND_HEAP)
			FT_TRY(range_add(samples, map->start, map->end, KIND_HEAP));
		else if (frag->glibc)
			FT_TRY(glibc_ranges(frag, map));
		else if (fa_regions_meet(&frag->layout->holes.regions, map->start, map->end))
			FT_TRY(range_add(samples, map->start, map->end, KIND_MMAP));
	}
	if (samples->n_ranges)
		qsort(samples->ranges, samples->n_ranges, sizeof(*samples->ranges), range_order);
	return NULL;
}

/* ---- one sample --------------------------------------------------------------------------------
 */

static struct ft_error *load_runs(struct frag *frag, const struct fa_engine *engine,
				  const struct frag_sample *sample)
{
	struct fa_residency *residency = &frag->samples.residency;
	ft_auto_free struct ft_page_run *runs = NULL;
	const uint64_t pages = sample->page_bytes / PAGE;
	size_t n;

	if (sample->unchanged && frag->samples.has_residency)
		return NULL;
	FT_TRY(ft_reader_residency_runs(fa_engine_reader(engine), sample->id, &runs, &n));
	fa_residency_clear(residency);
	for (size_t i = 0; i < n; i++) {
		static const uint8_t states[] = {FA_RUN_ABSENT, FA_RUN_RESIDENT, FA_RUN_SWAPPED,
						 FA_RUN_HUGE};

		FT_TRY(fa_residency_add(residency, runs[i].start / PAGE, runs[i].n_pages * pages,
					states[runs[i].state]));
	}
	return NULL;
}

static void waterfall_outside(const struct frag *frag, uint64_t heap_pages, uint64_t mapped_pages,
			      struct frag_waterfall *w)
{
	const struct frag_samples *samples = &frag->samples;

	for (size_t i = 0; i < samples->n_maps; i++) {
		const struct frag_map *map = &samples->maps[i];

		switch (map->kind) {
		case KIND_HEAP:
		case KIND_ARENA:
		case KIND_MMAP:
			break; /* page by page */
		case KIND_FILE:
			w->file += map->rss;
			break;
		case KIND_STACK:
			w->stack += map->rss;
			break;
		case KIND_TRACER:
			w->tracer += map->rss;
			break;
		case KIND_OTHER:
			w->other += map->rss;
			break;
		}
	}
	/* Pages that were looked at and are neither in a heap nor under a block of its own. */
	w->other += (int64_t)(samples->residency.resident - heap_pages - mapped_pages) * PAGE;
}

static struct frag_waterfall waterfall(const struct frag *frag, const struct fa_engine *engine,
				       const struct frag_sample *sample, uint64_t live_pages,
				       uint64_t mapped_pages)
{
	const struct fa_totals *heap = fa_engine_totals(engine);
	const struct fa_page_totals *pages = &frag->layout->pages.totals,
				    *mapped = &frag->layout->mapped.totals;
	uint64_t heap_pages = frag->samples.heap_resident;
	struct frag_waterfall w = {
		.time_ns = sample->time_ns,
		.rss = sample->rss,
		.live_req = (int64_t)heap->laid_bytes,
		.round = (int64_t)(heap->live_usable - heap->laid_bytes),
		.meta = (int64_t)(pages->live_bytes + mapped->live_bytes - heap->live_usable),
		.pin_free = (int64_t)(pages->pinned_free_bytes + mapped->pinned_free_bytes),
		.empty_res =
			heap_pages > live_pages ? (int64_t)(heap_pages - live_pages) * PAGE : 0,
		.live_nr = (int64_t)(pages->absent_live_bytes + mapped->absent_live_bytes),
		.swap = (int64_t)frag->samples.residency.swapped * PAGE,
	};

	waterfall_outside(frag, heap_pages, mapped_pages, &w);
	w.residual = w.rss - (w.file + w.stack + w.other + w.tracer + w.live_req + w.round +
			      w.meta + w.pin_free + w.empty_res - w.live_nr);
	return w;
}

static struct ft_error *apply_sample(struct frag *frag, const struct fa_engine *engine,
				     const struct frag_sample *sample)
{
	struct frag_samples *samples = &frag->samples;

	while (samples->next_change < samples->n_changes &&
	       samples->changes[samples->next_change].time_ns <= sample->time_ns)
		FT_TRY(map_change(samples, &samples->changes[samples->next_change++].map));
	FT_TRY(load_runs(frag, engine, sample));
	FT_TRY(find_ranges(frag));
	samples->has_residency = true;
	samples->at_ns = sample->time_ns;
	samples->heap_resident = 0;
	for (size_t i = 0; i < samples->n_ranges; i++)
		samples->heap_resident +=
			fa_residency_count(&samples->residency,
					   samples->ranges[i].start >> FA_PAGE_SHIFT,
					   samples->ranges[i].end >> FA_PAGE_SHIFT)
				.resident;

	uint64_t live = fa_pagemap_set_residency(&frag->layout->pages, &samples->residency);
	uint64_t mapped = fa_pagemap_set_residency(&frag->layout->mapped, &samples->residency);

	samples->held_then = fa_layout_held_pages(frag->layout);
	if (samples->n_series < FRAG_MOMENTS && sample->rss >= 0 &&
	    sample->time_ns >= fa_engine_detail_ns(engine))
		samples->series[samples->n_series++] =
			waterfall(frag, engine, sample, live, mapped);

	struct frag_arenas *arenas = &frag->by_arena;

	/* Those that are looked at, of many: about as many of them as there are to be. */
	if (sample->time_ns < fa_engine_detail_ns(engine) || arenas->n > FRAG_PIN_MOMENTS ||
	    (samples->next < arenas->next && samples->next < samples->n_items))
		return NULL;
	arenas->next = samples->next + arenas->stride;
	return frag_arenas_take(frag, engine, sample->time_ns);
}

struct ft_error *frag_samples_until(struct frag *frag, struct fa_pass *pass, uint64_t time_ns)
{
	const struct fa_engine *engine = fa_pass_engine(pass);
	struct frag_samples *samples = &frag->samples;

	while (samples->next < samples->n_items &&
	       samples->items[samples->next].time_ns <= time_ns) {
		const struct frag_sample *sample = &samples->items[samples->next++];

		/* Every nth of very many, and the last. */
		if (samples->next % samples->stride && samples->next < samples->n_items)
			continue;

		struct frag_sample alone = *sample;

		/* The one before it may have been left out. */
		if (samples->stride > 1 || !samples->has_residency)
			alone.unchanged = false;
		FT_TRY(apply_sample(frag, engine, &alone));
	}
	fa_pass_alarm(pass, samples->next < samples->n_items ? samples->items[samples->next].time_ns
							     : UINT64_MAX);
	return NULL;
}

int64_t frag_footprint(const struct frag *frag)
{
	const struct frag_samples *samples = &frag->samples;
	const struct frag_waterfall *w;

	if (!samples->n_series)
		return -1;
	w = &samples->series[samples->n_series - 1];
	return w->live_req + w->round + w->meta + w->pin_free + w->empty_res - w->live_nr;
}

bool frag_mappings_footprint(struct frag *frag, uint64_t time_ns, uint64_t *footprint,
			     uint64_t *sample_ns)
{
	struct frag_samples *samples = &frag->samples;

	*footprint = *sample_ns = 0;
	while (samples->next_change < samples->n_changes &&
	       samples->changes[samples->next_change].time_ns <= time_ns) {
		const struct frag_map_change *change = &samples->changes[samples->next_change++];

		if (map_change(samples, &change->map))
			return false;
		*sample_ns = change->time_ns;
	}
	for (size_t i = 0; i < samples->n_maps; i++) {
		const struct frag_map *map = &samples->maps[i];

		if (map->kind <= KIND_MMAP &&
		    (fa_regions_meet(&frag->layout->holes.regions, map->start, map->end) ||
		     fa_regions_meet(&frag->layout->own, map->start, map->end)))
			*footprint += (uint64_t)map->rss;
	}
	return *footprint > 0;
}

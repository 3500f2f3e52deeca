/* SPDX-License-Identifier: MIT */
/*
 * Resume: a replay that does not begin with the first event
 *
 * A window begins at the nearest keyframe before it: the heap is filled from it and is then what a
 * replay of all that came before would have left (block for block; the latest allocation of each
 * thread is told, too).
 *
 * A recording that was kept within a budget has no events before some keyframe, but roll-ups of
 * them. They are applied to totals and accounts of sites, passes that can take them get them
 * (on_span), and at the keyframe the heap is filled without counting it again. Passes that need
 * each event begin there, as with a window.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_impl.h"
#include "ft_cleanup.h"

static uint32_t known(uint32_t id, size_t n)
{
	return id < n ? id : 0;
}

/* ---- where to begin ---------------------------------------------------------------------------
 */

size_t fa_engine_chunk_of(const struct ft_reader *reader, uint64_t seq)
{
	size_t i = 0;

	while (i < ft_reader_n_chunks(reader) && ft_reader_chunk_info(reader, i)->first_seq < seq)
		i++;
	return i;
}

struct bounds {
	const struct fa_engine *engine;
	uint64_t first_ns; /* of the first one that is in the window */
	uint64_t n, last_ns;
};

static struct ft_error *find_bounds(void *ctx, const struct ft_rollup *rollup)
{
	struct bounds *bounds = ctx;

	if (!rollup->n_events)
		return NULL;
	bounds->n++;
	if (rollup->last_ns >= bounds->engine->from_ns && bounds->first_ns == UINT64_MAX)
		bounds->first_ns = rollup->first_ns;
	bounds->last_ns = rollup->last_ns;
	return NULL;
}

static struct ft_error *no_detail(const struct fa_engine *engine, uint64_t first_ns)
{
	return ft_error_create(FT_ERROR_USAGE,
			       "%s: what was live before %.3f s is not in the recording %s: --to "
			       "must be later",
			       ft_reader_path(engine->reader), (double)first_ns / 1e9,
			       fa_engine_is_whole(engine->reader)
				       ? "(it goes on from another one)"
				       : "any more (it was kept within a budget)");
}

bool fa_engine_is_whole(const struct ft_reader *reader)
{
	return ft_reader_first_seq(reader) == ft_reader_begin_seq(reader);
}

uint64_t fa_engine_first_ns(const struct ft_reader *reader)
{
	return fa_engine_is_whole(reader) ? ft_reader_begin_ns(reader)
					  : ft_reader_chunk_info(reader, 0)->first_ns;
}

/* The oldest events are gone: begin at the keyframe that is in their place. */
static struct ft_error *find_oldest(struct fa_engine *engine,
				    const struct ft_keyframe_info *keyframes, size_t n)
{
	uint64_t first_seq = ft_reader_first_seq(engine->reader);
	struct bounds bounds = {.engine = engine, .first_ns = UINT64_MAX};

	if (n && keyframes[0].seq == first_seq)
		engine->start = &keyframes[0];
	if (!engine->start)
		return ft_error_create(FT_ERROR_INPUT,
				       "%s: the recording is damaged: it begins with event %" PRIu64
				       " and has no keyframe there",
				       ft_reader_path(engine->reader), first_seq);
	engine->detail_ns = fa_engine_first_ns(engine->reader);
	if (fa_engine_is_whole(engine->reader)) {
		if (engine->from_ns < engine->detail_ns)
			engine->from_ns = engine->detail_ns;
		return engine->to_ns < engine->detail_ns ? no_detail(engine, engine->detail_ns)
							 : NULL;
	}
	if (engine->from_ns > engine->start->time_ns)
		return NULL;
	/* A recording that goes on from another one begins there, not in the middle of an interval.
	 */
	if (engine->from_ns <= ft_reader_begin_ns(engine->reader))
		engine->from_ns = bounds.first_ns = ft_reader_begin_ns(engine->reader);
	FT_TRY(ft_reader_rollups(engine->reader, engine->start->seq, find_bounds, &bounds));
	engine->n_rollups = bounds.n;
	if (!bounds.n) {
		engine->from_ns = engine->detail_ns;
	} else {
		engine->rolled = true;
		if (engine->from_ns && bounds.first_ns != UINT64_MAX)
			engine->from_ns = bounds.first_ns;
	}
	return engine->to_ns < engine->detail_ns ? no_detail(engine, engine->detail_ns) : NULL;
}

struct ft_error *fa_engine_find_start(struct fa_engine *engine)
{
	const struct ft_keyframe_info *keyframes;
	size_t n;

	engine->detail_ns = engine->kept_ns = engine->from_ns;
	if (engine->options.no_keyframes && !ft_reader_first_seq(engine->reader))
		return NULL;
	FT_TRY(ft_reader_keyframes(engine->reader, &keyframes, &n));
	if (ft_reader_first_seq(engine->reader))
		FT_TRY(find_oldest(engine, keyframes, n));
	/* What a forked child inherited is in none of its own keyframes. */
	if (engine->rolled || engine->inheritance.seeded || engine->options.no_keyframes)
		goto found;
	for (size_t i = 0; i < n && keyframes[i].time_ns < engine->from_ns; i++)
		engine->start = &keyframes[i];
	if (engine->from_ns > engine->detail_ns)
		engine->detail_ns = engine->from_ns;
found:
	engine->kept_ns = engine->rolled ? engine->detail_ns : engine->from_ns;
	engine->n_gone = engine->n_rollups;
	if (engine->start)
		engine->first_chunk = fa_engine_chunk_of(engine->reader, engine->start->seq);
	return NULL;
}

/* The latest keyframe that the question allows: what is judged before the teardown needs events up
 * to there. */
static const struct ft_keyframe_info *newest(const struct fa_engine *engine,
					     const struct ft_keyframe_info *keyframes, size_t n)
{
	while (n && engine->has_teardown && keyframes[n - 1].seq > engine->teardown_seq)
		n--;
	return n ? &keyframes[n - 1] : NULL;
}

struct ft_error *fa_engine_find_rolled(struct fa_engine *engine)
{
	uint64_t begin_ns = ft_reader_begin_ns(engine->reader);
	const struct ft_keyframe_info *keyframes, *start;
	struct bounds bounds = {.engine = engine, .first_ns = UINT64_MAX};
	size_t n;

	if (!engine->options.rolled_events || engine->options.no_keyframes ||
	    engine->inheritance.forked || engine->options.from_ns > begin_ns ||
	    engine->to_ns < engine->end_ns)
		return NULL;
	FT_TRY(ft_reader_keyframes(engine->reader, &keyframes, &n));
	start = newest(engine, keyframes, n);
	if (!start ||
	    start->seq < ft_reader_first_seq(engine->reader) + engine->options.rolled_events)
		return NULL;
	FT_TRY(ft_reader_rollups(engine->reader, start->seq, find_bounds, &bounds));
	if (!bounds.n)
		return NULL;
	engine->start = start;
	engine->rolled = true;
	engine->n_rollups = bounds.n;
	engine->first_chunk = fa_engine_chunk_of(engine->reader, start->seq);
	engine->detail_ns =
		engine->first_chunk < ft_reader_n_chunks(engine->reader)
			? ft_reader_chunk_info(engine->reader, engine->first_chunk)->first_ns
			: start->time_ns;
	return NULL;
}

/* ---- the heap at a keyframe -------------------------------------------------------------------
 */

/* *n_backing: of these blocks, those that a pool divides. */
static struct ft_error *resume(struct fa_engine *engine, bool counted, uint64_t *n_backing)
{
	ft_auto_free struct ft_event *events = NULL;
	ft_auto_free uint64_t *latest = NULL;
	uint64_t bytes = 0;

	*n_backing = 0;
	if (!engine->start)
		return NULL;
	events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
	latest = calloc(engine->n_threads, sizeof(*latest));
	if (!events || !latest)
		return &ft_enomem;
	for (uint32_t part = 0; part < engine->start->n_parts; part++) {
		size_t n;

		FT_TRY(ft_reader_keyframe_part(engine->reader, engine->start, part, events, &n));
		for (size_t i = 0; i < n; i++) {
			FT_TRY(fa_engine_revive(engine, &events[i], counted));
			bytes += events[i].size;
			*n_backing += events[i].api == FT_API_POOL_BACKING;
			if (events[i].flags & FT_EVENT_F_LATEST)
				latest[known(events[i].thread, engine->n_threads)] =
					events[i].address;
		}
	}
	/* Each thread's latest allocation, if it lives: the keyframe is in the order of births, and
	 * a realloc keeps its block's. */
	free(engine->last_address);
	engine->last_address = ft_take(latest);
	if (bytes != engine->start->bytes)
		return ft_error_create(FT_ERROR_INPUT,
				       "%s: the recording is damaged: keyframe %" PRIu64
				       " does not hold as many bytes as its rows state",
				       ft_reader_path(engine->reader), engine->start->seq);
	return NULL;
}

struct ft_error *fa_engine_resume(struct fa_engine *engine, bool counted)
{
	uint64_t n_backing;

	return resume(engine, counted, &n_backing);
}

/* ---- roll-ups ---------------------------------------------------------------------------------
 */

/* Times of the span in its middle: half an interval is as near as it can be told. */
static uint64_t middle(const struct ft_rollup *rollup)
{
	return rollup->first_ns + (rollup->last_ns - rollup->first_ns) / 2;
}

/* Peaks first: accounts that are not in the span are at the peak as they are. */
static void span_peak(struct fa_engine *engine, const struct ft_rollup *rollup)
{
	struct fa_totals *totals = &engine->totals;

	if (rollup->peak_bytes <= totals->peak_bytes)
		return;
	totals->peak_bytes = rollup->peak_bytes;
	totals->peak_variance = rollup->peak_variance;
	totals->peak_ns = rollup->peak_ns;
	totals->peak_seq = rollup->peak_seq;
	engine->epoch++;
	for (uint32_t i = 0; i < rollup->sites.n; i++) {
		const struct ft_rollup_account *a = &rollup->sites.accounts[i];
		struct site_account *site = &engine->sites[known(a->id, engine->n_own_stacks)];

		site->epoch = engine->epoch;
		site->peak_bytes = a->value[FT_ROLLUP_PEAK_BYTES];
		site->peak_blocks = (uint32_t)a->value[FT_ROLLUP_PEAK_BLOCKS];
		if (engine->site_errors)
			engine->site_errors[a->id].peak = a->value[FT_ROLLUP_PEAK_VARIANCE];
	}
}

static void span_sites(struct fa_engine *engine, const struct ft_rollup *rollup)
{
	for (uint32_t i = 0; i < rollup->sites.n; i++) {
		const struct ft_rollup_account *a = &rollup->sites.accounts[i];
		uint32_t stack = known(a->id, engine->n_own_stacks);
		struct site_account *site = fa_engine_touch_site(engine, stack);

		site->live_bytes = a->value[FT_ROLLUP_LIVE_BYTES];
		site->live_blocks = (uint32_t)a->value[FT_ROLLUP_LIVE_BLOCKS];
		site->allocations += a->value[FT_ROLLUP_BORN_BLOCKS];
		site->bytes_allocated += a->value[FT_ROLLUP_BORN_BYTES];
		site->temporary += a->value[FT_ROLLUP_TEMPORARY];
		site->temporary_bytes += a->value[FT_ROLLUP_TEMPORARY_BYTES];
		if (engine->site_errors) {
			struct site_errors *errors = &engine->site_errors[stack];

			errors->live += a->value[FT_ROLLUP_BORN_VARIANCE] -
					a->value[FT_ROLLUP_FREED_VARIANCE];
			errors->allocated += a->value[FT_ROLLUP_BORN_VARIANCE];
			errors->samples += a->value[FT_ROLLUP_SAMPLES];
		}
	}
	for (uint32_t i = 0; i < rollup->threads.n; i++) {
		const struct ft_rollup_account *a = &rollup->threads.accounts[i];
		struct fa_thread_live *live = &engine->thread_live[known(a->id, engine->n_threads)];

		live->bytes = a->value[FT_ROLLUP_LIVE_BYTES];
		live->blocks = a->value[FT_ROLLUP_LIVE_BLOCKS];
		live->variance +=
			a->value[FT_ROLLUP_BORN_VARIANCE] - a->value[FT_ROLLUP_FREED_VARIANCE];
	}
}

static void span_totals(struct fa_engine *engine, const struct ft_rollup *rollup)
{
	struct fa_totals *totals = &engine->totals;

	totals->live_blocks = rollup->live_blocks;
	totals->live_bytes = rollup->live_bytes;
	totals->live_usable = rollup->live_usable;
	totals->live_variance = rollup->live_variance;
	totals->n_allocs += rollup->n_allocs;
	totals->n_frees += rollup->n_frees;
	totals->bytes_allocated += rollup->bytes_allocated;
	totals->bytes_freed += rollup->bytes_freed;
	totals->n_unknown_frees += rollup->n_unknown_frees;
	totals->n_overlaps += rollup->n_overlaps;
	totals->n_events += rollup->n_events;
	totals->allocated_variance += rollup->allocated_variance;
}

static struct ft_error *apply(void *ctx, const struct ft_rollup *rollup)
{
	struct fa_engine *engine = ctx;
	/* What was carried over from another recording is there before the window. */
	bool inside = rollup->n_events && rollup->first_ns >= engine->from_ns;
	struct fa_span span = {.rollup = rollup, .time_ns = middle(rollup)};

	if (inside && !engine->window_begun)
		FT_TRY(fa_engine_begin_window(engine, ENGINE_WHOLE));
	if (inside)
		FT_TRY(fa_engine_run_due(engine, span.time_ns));
	span_peak(engine, rollup);
	span_sites(engine, rollup);
	span_totals(engine, rollup);
	for (size_t i = 0; i < engine->n_passes && inside; i++)
		if (engine->passes[i].ops->on_span)
			FT_TRY(engine->passes[i].ops->on_span(&engine->passes[i], &span));
	return NULL;
}

/* The roll-ups say what is live at their end; so does the keyframe, but that what pools divide
 * counts as none. (Earlier writers counted it.) */
static struct ft_error *check_agreement(const struct fa_engine *engine, uint64_t n_backing)
{
	uint64_t live = engine->totals.live_blocks;

	if (live == engine->start->n_blocks - n_backing || live == engine->start->n_blocks ||
	    engine->sample_bytes)
		return NULL;
	return ft_error_create(FT_ERROR_INPUT,
			       "%s: the recording is damaged: %" PRIu64
			       " blocks are live after its roll-ups, and %" PRIu64
			       " in the keyframe there",
			       ft_reader_path(engine->reader), engine->totals.live_blocks,
			       engine->start->n_blocks);
}

struct ft_error *fa_engine_roll(struct fa_engine *engine)
{
	FT_TRY(ft_reader_rollups(engine->reader, engine->start->seq, apply, engine));
	if (!engine->window_begun)
		FT_TRY(fa_engine_begin_window(engine, ENGINE_WHOLE));

	uint64_t n_backing;

	FT_TRY(resume(engine, true, &n_backing));
	FT_TRY(check_agreement(engine, n_backing));
	FT_TRY(fa_engine_begin_window(engine, ENGINE_DETAIL));
	for (size_t i = 0; i < engine->n_passes; i++)
		if (engine->passes[i].ops->on_detail)
			FT_TRY(engine->passes[i].ops->on_detail(&engine->passes[i]));
	return NULL;
}

/* ---- for passes -------------------------------------------------------------------------------
 */

bool fa_engine_rolled(const struct fa_engine *engine)
{
	return engine->rolled;
}

bool fa_engine_has_resumed(const struct fa_engine *engine)
{
	return engine->start;
}

uint64_t fa_engine_detail_ns(const struct fa_engine *engine)
{
	return engine->detail_ns;
}

uint64_t fa_engine_n_rollups(const struct fa_engine *engine)
{
	return engine->n_rollups;
}

uint64_t fa_engine_kept_ns(const struct fa_engine *engine, uint64_t *n_gone)
{
	*n_gone = engine->n_gone;
	return engine->kept_ns;
}

void fa_engine_thread_live(const struct fa_engine *engine, uint32_t thread,
			   struct fa_thread_live *ret)
{
	*ret = engine->thread_live && thread < engine->n_threads ? engine->thread_live[thread]
								 : (struct fa_thread_live){0};
}

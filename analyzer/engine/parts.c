/* SPDX-License-Identifier: MIT */
/*
 * Parts: a replay that is cut at keyframes, with its parts side by side
 *
 * What lives at a keyframe is all that the events behind it need of those before. Each part has an
 * engine, a reader and a thread of its own; the last part is that of the engine that was asked,
 * which joins the others to itself, latest first. Passes that can't be joined (what they keep is a
 * history: a layout, a simulated allocator) are replayed in one go, and so is what has no keyframes
 * or too few events to be worth it. Nobody can tell by the result.
 *
 * Each part has the whole live heap of its moment: there are no more of them than fit MAX_BYTES.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "engine_impl.h"
#include "feed.h"
#include "ft_cleanup.h"

enum {
	MAX_PARTS = 16,
	PART_EVENTS = 1 << 22, /* fewer are replayed sooner than a keyframe is read */
	EVENTS_A_BLOCK = 4,    /* of the keyframe */
	BLOCK_BYTES = 128,     /* of a live one, with its share of the index */
	POLL_MS = 100
};
#define MAX_BYTES (UINT64_C(512) << 20)

/* Between two parts. */
struct cut {
	uint64_t seq, time_ns; /* of the first event behind it */
	size_t chunk;	       /* that begins with it */
};

struct part {
	struct parts *parts;
	const struct cut *from, *to;
	struct ft_reader *reader; /* owned */
	struct fa_engine *engine; /* owned; its thread's until that has ended */
	struct ft_error *error;	  /* likewise */
	pthread_t thread;
	_Atomic uint64_t n_done;
};

struct parts {
	struct fa_engine *engine;  /* the one that was asked: the last part's */
	struct fa_options options; /* its own */
	size_t n_cuts;
	struct cut cuts[MAX_PARTS - 1];
	struct part list[MAX_PARTS - 1]; /* all but the last */
	size_t n_started;
	uint64_t n_done, total; /* of the last part, as it said */
	atomic_bool stop;
};

/* ---- where to cut ------------------------------------------------------------------------------
 */

static bool can_be_joined(const struct fa_engine *engine)
{
	for (size_t i = 0; i < engine->n_passes; i++) {
		const struct fa_pass_ops *ops = engine->passes[i].ops;

		if (!ops->join &&
		    (ops->on_steps || ops->on_tick || ops->on_alarm || ops->on_teardown))
			return false;
	}
	return !engine->layout && !engine->needs_places;
}

static bool can_be_cut(const struct fa_engine *engine)
{
	return !engine->rolled && !engine->inheritance.forked && !engine->options.no_keyframes &&
	       ft_reader_state(engine->reader) == FT_STATE_COMPLETE && can_be_joined(engine);
}

/* The events of the window, from the chunk that it begins in. */
static void window_events(const struct fa_engine *engine, uint64_t *first, uint64_t *end)
{
	const struct ft_reader *reader = engine->reader;

	*first = *end = 0;
	for (size_t i = engine->first_chunk; i < ft_reader_n_chunks(reader); i++) {
		const struct ft_chunk_info *info = ft_reader_chunk_info(reader, i);

		if (info->first_ns > engine->to_ns)
			break;
		if (info->last_ns < engine->from_ns || !*end)
			*first = info->first_seq;
		*end = info->first_seq + info->n_events;
	}
}

/* False: no chunk begins there. */
static bool cut_at(const struct fa_engine *engine, const struct ft_keyframe_info *keyframe,
		   struct cut *ret)
{
	const struct ft_reader *reader = engine->reader;
	size_t chunk = fa_engine_chunk_of(reader, keyframe->seq);
	const struct ft_chunk_info *info;

	if (chunk >= ft_reader_n_chunks(reader))
		return false;
	info = ft_reader_chunk_info(reader, chunk);
	*ret = (struct cut){keyframe->seq, info->first_ns, chunk};
	return info->first_seq == keyframe->seq && keyframe->time_ns > engine->from_ns &&
	       info->first_ns <= engine->to_ns;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a < b ? b - a : a - b;
}

/* Cuts as near as keyframes are to those that would make equal parts. */
static struct ft_error *find_cuts(struct parts *parts, uint32_t n_wanted)
{
	struct fa_engine *engine = parts->engine;
	const struct ft_keyframe_info *keyframes;
	uint64_t first, end, least = engine->options.part_events;
	size_t n_keyframes;

	if (!least)
		least = PART_EVENTS;
	FT_TRY(ft_reader_keyframes(engine->reader, &keyframes, &n_keyframes));
	window_events(engine, &first, &end);
	for (size_t k = 0; k < n_keyframes; k++) {
		uint64_t fit = 1 + MAX_BYTES / (keyframes[k].n_blocks * BLOCK_BYTES + 1);

		if (n_wanted > fit)
			n_wanted = (uint32_t)fit;
	}
	for (uint32_t i = 1; i < n_wanted; i++) {
		uint64_t after = parts->n_cuts ? parts->cuts[parts->n_cuts - 1].seq : first;
		uint64_t ideal = first + (end - first) / n_wanted * i;
		struct cut best = {0}, cut;

		for (size_t k = 0; k < n_keyframes; k++) {
			uint64_t room = keyframes[k].n_blocks * EVENTS_A_BLOCK;

			if (room < least || engine->options.part_events)
				room = least;
			if (keyframes[k].seq < after + room || keyframes[k].seq + room > end ||
			    !cut_at(engine, &keyframes[k], &cut))
				continue;
			if (!best.seq || distance(cut.seq, ideal) < distance(best.seq, ideal))
				best = cut;
		}
		if (best.seq)
			parts->cuts[parts->n_cuts++] = best;
	}
	return NULL;
}

/* ---- a part ------------------------------------------------------------------------------------
 */

/* `from` NULL: it begins as the replay does; `to` NULL: it ends so. */
static struct ft_error *set_part(struct fa_engine *engine, const struct cut *from,
				 const struct cut *to)
{
	const struct ft_keyframe_info *keyframes;
	size_t n;

	if (to) {
		engine->end_chunk = to->chunk;
		engine->end_due_ns = to->time_ns;
	}
	if (!from)
		return NULL;
	engine->is_later_part = true;
	engine->part_ns = from->time_ns;
	engine->first_chunk = from->chunk;
	FT_TRY(ft_reader_keyframes(engine->reader, &keyframes, &n));
	for (size_t k = 0; k < n; k++)
		if (keyframes[k].seq == from->seq)
			engine->start = &keyframes[k];
	/* What is due before its first event, the part before does. */
	while (engine->next_tick < engine->n_ticks && engine->next_tick_ns < from->time_ns)
		fa_engine_pass_tick(engine);
	engine->teardown_seen = engine->has_teardown && engine->teardown_seq < from->seq;
	return NULL;
}

static bool part_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct part *part = ctx;

	(void)total;
	atomic_store_explicit(&part->n_done, done, memory_order_relaxed);
	return !atomic_load_explicit(&part->parts->stop, memory_order_relaxed);
}

/* As the user sees it. */
static bool all_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct parts *parts = ctx;

	parts->n_done = done;
	parts->total = total;
	for (size_t i = 0; i < parts->n_started; i++)
		done += atomic_load_explicit(&parts->list[i].n_done, memory_order_relaxed);
	return !atomic_load_explicit(&parts->stop, memory_order_relaxed) &&
	       (!parts->options.progress ||
		parts->options.progress(parts->options.progress_ctx, done, total));
}

static struct ft_error *replay_part(struct part *part)
{
	const struct fa_engine *model = part->parts->engine;
	struct fa_options options = model->options;

	options.progress = part_progress;
	options.progress_ctx = part;
	FT_TRY(fa_engine_create(part->reader, &options, &part->engine));
	for (size_t i = 0; i < model->n_passes; i++)
		FT_TRY(fa_engine_add(part->engine, model->passes[i].ops));
	FT_TRY(set_part(part->engine, part->from, part->to));
	return fa_engine_replay(part->engine);
}

static void *run(void *arg)
{
	struct part *part = arg;

	part->error = replay_part(part);
	if (part->error)
		atomic_store_explicit(&part->parts->stop, true, memory_order_relaxed);
	return NULL;
}

/* ---- join --------------------------------------------------------------------------------------
 */

/* An account as it was when the heap was at its peak, where that was in the part before. */
static void join_peak(struct fa_engine *engine, const struct fa_engine *earlier)
{
	for (uint32_t i = 0; i < engine->n_stacks; i++) {
		struct site_account *site = &engine->sites[i];
		struct fa_site at_peak;

		fa_engine_site(earlier, i, &at_peak);
		site->epoch = engine->epoch;
		site->peak_bytes = at_peak.peak_bytes;
		site->peak_blocks = (uint32_t)at_peak.peak_blocks;
		if (engine->site_errors)
			engine->site_errors[i].peak = at_peak.peak_variance;
	}
	engine->totals.peak_bytes = earlier->totals.peak_bytes;
	engine->totals.peak_variance = earlier->totals.peak_variance;
	engine->totals.peak_ns = earlier->totals.peak_ns;
	engine->totals.peak_seq = earlier->totals.peak_seq;
}

static void join_totals(struct fa_totals *totals, const struct fa_totals *earlier)
{
	totals->n_allocs += earlier->n_allocs;
	totals->n_frees += earlier->n_frees;
	totals->bytes_allocated += earlier->bytes_allocated;
	totals->bytes_freed += earlier->bytes_freed;
	totals->n_unknown_frees += earlier->n_unknown_frees;
	totals->n_overlaps += earlier->n_overlaps;
	totals->n_events += earlier->n_events;
	totals->allocated_variance += earlier->allocated_variance;
}

static struct ft_error *join(struct fa_engine *engine, struct fa_engine *earlier)
{
	for (size_t i = 0; i < engine->n_passes; i++)
		if (engine->passes[i].ops->join)
			FT_TRY(engine->passes[i].ops->join(&engine->passes[i],
							   &earlier->passes[i]));
	/* The first time that the peak was reached counts: a part begins with what lived before. */
	if (earlier->totals.peak_bytes >= engine->totals.peak_bytes)
		join_peak(engine, earlier);
	for (size_t i = 0; i < engine->n_stacks; i++) {
		struct site_account *site = &engine->sites[i];
		const struct site_account *before = &earlier->sites[i];

		site->allocations += before->allocations;
		site->bytes_allocated += before->bytes_allocated;
		site->temporary += before->temporary;
		site->temporary_bytes += before->temporary_bytes;
		if (engine->site_errors) {
			engine->site_errors[i].allocated += earlier->site_errors[i].allocated;
			engine->site_errors[i].samples += earlier->site_errors[i].samples;
		}
	}
	join_totals(&engine->totals, &earlier->totals);
	free(engine->start_blocks);
	engine->start_blocks = earlier->start_blocks;
	earlier->start_blocks = NULL;
	return NULL;
}

/* ---- all of it ---------------------------------------------------------------------------------
 */

/* Readers for all, or the replay is in one go. */
static bool open_readers(struct parts *parts)
{
	for (size_t i = 0; i < parts->n_cuts; i++) {
		parts->list[i].reader = fa_feed_open_again(parts->engine->reader);
		if (!parts->list[i].reader)
			return false;
	}
	return true;
}

static bool join_soon(pthread_t thread)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += POLL_MS * 1000000L;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	return pthread_timedjoin_np(thread, NULL, &until) != ETIMEDOUT;
}

/* The user may give up meanwhile. */
static void wait_for(struct parts *parts)
{
	for (size_t i = 0; i < parts->n_started; i++)
		while (!join_soon(parts->list[i].thread))
			if (!all_progress(parts, parts->n_done, parts->total))
				atomic_store_explicit(&parts->stop, true, memory_order_relaxed);
}

static struct ft_error *start(struct parts *parts)
{
	for (size_t i = 0; i < parts->n_cuts; i++) {
		struct part *part = &parts->list[i];
		int failed;

		part->parts = parts;
		part->from = i ? &parts->cuts[i - 1] : NULL;
		part->to = &parts->cuts[i];
		failed = pthread_create(&part->thread, NULL, run, part);
		if (failed)
			return ft_error_os(failed, "no thread to replay a part with");
		parts->n_started++;
	}
	return NULL;
}

/* Of several errors the one that is not a consequence: what failed first has stopped the others. */
static struct ft_error *first_error(struct parts *parts, struct ft_error *error)
{
	for (size_t i = 0; i < parts->n_started; i++) {
		struct ft_error **other = &parts->list[i].error;

		if (*other && (!error || error->kind == FT_ERROR_STOPPED)) {
			ft_error_destroy(error);
			error = *other;
			*other = NULL;
		}
	}
	return error;
}

static struct ft_error *replay_parts(struct parts *parts)
{
	struct fa_engine *engine = parts->engine;
	struct ft_error *error = start(parts);

	if (!error)
		error = set_part(engine, &parts->cuts[parts->n_cuts - 1], NULL);
	if (!error)
		error = fa_engine_replay(engine);
	if (error)
		atomic_store_explicit(&parts->stop, true, memory_order_relaxed);
	wait_for(parts);
	error = first_error(parts, error);
	for (size_t i = parts->n_cuts; i-- > 0 && !error;) {
		error = join(engine, parts->list[i].engine);
		/* What it held is not needed any more, and the next one is as large. */
		fa_engine_destroy(parts->list[i].engine);
		parts->list[i].engine = NULL;
	}
	return error;
}

static void parts_destroy(struct parts *parts)
{
	for (size_t i = 0; i < parts->n_cuts; i++) {
		fa_engine_destroy(parts->list[i].engine);
		ft_reader_close(parts->list[i].reader);
		ft_error_destroy(parts->list[i].error);
	}
	free(parts);
}

struct ft_error *fa_engine_replay_parts(struct fa_engine *engine)
{
	uint32_t n_threads =
		engine->options.n_threads ? engine->options.n_threads : fa_feed_processors();
	struct parts *parts;
	struct ft_error *error;

	if (n_threads < 2 || !can_be_cut(engine))
		return fa_engine_replay(engine);
	parts = calloc(1, sizeof(*parts));
	if (!parts)
		return &ft_enomem;
	parts->engine = engine;
	parts->options = engine->options;
	error = find_cuts(parts, n_threads < MAX_PARTS ? n_threads : MAX_PARTS);
	if (!error && parts->n_cuts && open_readers(parts)) {
		engine->options.progress = all_progress;
		engine->options.progress_ctx = parts;
		engine->options.n_threads = n_threads / ((uint32_t)parts->n_cuts + 1);
		error = replay_parts(parts);
		engine->options = parts->options;
	} else if (!error) {
		error = fa_engine_replay(engine);
	}
	parts_destroy(parts);
	return error;
}

/* SPDX-License-Identifier: MIT */
/*
 * Replay: events -> live heap, totals, sites -> steps
 *
 * The inner loop of everything offline. An event costs one look-up in the heap and one in the site
 * table; both are prefetched a few events ahead, because with a large heap each would be a cache
 * miss.
 */
#include <stdlib.h>

#include "engine_impl.h"
#include "feed.h"
#include "ft_cleanup.h"

enum { PREFETCH_SLOT = 24, PREFETCH_BLOCK = 12 };

/* ---- sites -------------------------------------------------------------------------------------
 */

static struct site_account *site_touch(struct fa_engine *engine, uint32_t stack)
{
	struct site_account *site = &engine->sites[stack];

	if (site->epoch != engine->epoch) {
		site->peak_bytes = site->live_bytes;
		site->peak_blocks = site->live_blocks;
		if (engine->site_errors)
			engine->site_errors[stack].peak = engine->site_errors[stack].live;
		site->epoch = engine->epoch;
	}
	return site;
}

void fa_engine_site(const struct fa_engine *engine, uint32_t stack, struct fa_site *ret)
{
	*ret = (struct fa_site){0};
	if (stack >= engine->n_stacks)
		return;

	const struct site_account *site = &engine->sites[stack];
	bool untouched = site->epoch != engine->epoch;
	uint64_t start = engine->start_blocks ? engine->start_blocks[stack] : 0;

	*ret = (struct fa_site){
		.allocations = site->allocations,
		.frees = start + site->allocations - site->live_blocks,
		.bytes_allocated = site->bytes_allocated,
		.live_blocks = site->live_blocks,
		.live_bytes = site->live_bytes,
		.peak_blocks = untouched ? site->live_blocks : site->peak_blocks,
		.peak_bytes = untouched ? site->live_bytes : site->peak_bytes,
		.temporary = site->temporary,
		.temporary_bytes = site->temporary_bytes,
	};
	if (engine->site_errors) {
		const struct site_errors *errors = &engine->site_errors[stack];

		ret->live_variance = errors->live;
		ret->peak_variance = untouched ? errors->live : errors->peak;
		ret->allocated_variance = errors->allocated;
		ret->samples = errors->samples;
	}
}

/* What only a sampled recording has: `sign` is 1 for a birth, -1 for a death. What its own thread
 * allocated meanwhile, a sample does not know: no block is temporary. */
static void account_error(struct fa_engine *engine, const struct fa_block *block, int sign)
{
	struct site_errors *errors = &engine->site_errors[block->stack];
	struct fa_totals *totals = &engine->totals;
	uint64_t variance = fa_engine_variance(engine, block);

	if (sign > 0) {
		errors->live += variance;
		errors->allocated += variance;
		errors->samples++;
		totals->live_variance += variance;
		totals->allocated_variance += variance;
		totals->live_usable += fa_engine_usable(engine, block);
	} else {
		errors->live -= variance;
		totals->live_variance -= variance;
		totals->live_usable -= fa_engine_usable(engine, block);
	}
}

static void account_born(struct fa_engine *engine, const struct fa_block *block)
{
	struct site_account *site = site_touch(engine, block->stack);
	struct fa_totals *totals = &engine->totals;

	site->live_bytes += block->bytes;
	site->live_blocks += block->blocks;
	site->allocations += block->blocks;
	site->bytes_allocated += block->bytes;
	totals->live_blocks += block->blocks;
	totals->live_bytes += block->bytes;
	totals->n_allocs += block->blocks;
	totals->bytes_allocated += block->bytes;
	if (engine->site_errors) {
		account_error(engine, block, 1);
		return;
	}
	totals->live_usable += block->usable;
	engine->last_address[block->thread] = block->address;
}

static void account_died(struct fa_engine *engine, const struct fa_block *block)
{
	struct site_account *site = site_touch(engine, block->stack);
	struct fa_totals *totals = &engine->totals;

	if (block->stack >= engine->n_own_stacks)
		engine->inheritance.n_frees++;
	site->live_bytes -= block->bytes;
	site->live_blocks -= block->blocks;
	totals->live_blocks -= block->blocks;
	totals->live_bytes -= block->bytes;
	totals->n_frees += block->blocks;
	totals->bytes_freed += block->bytes;
	if (engine->site_errors)
		account_error(engine, block, -1);
	else
		totals->live_usable -= block->usable;
}

static void account_temporary(struct fa_engine *engine, const struct fa_block *block,
			      uint32_t thread)
{
	if (engine->site_errors || block->thread != thread ||
	    engine->last_address[thread] != block->address)
		return;
	engine->sites[block->stack].temporary++;
	engine->sites[block->stack].temporary_bytes += block->size;
	engine->last_address[thread] = 0;
}

/* ---- steps -------------------------------------------------------------------------------------
 */

static struct ft_error *dispatch(struct fa_engine *engine, struct fa_step *step)
{
	struct fa_totals *totals = &engine->totals;

	if (totals->live_bytes > totals->peak_bytes) {
		totals->peak_bytes = totals->live_bytes;
		totals->peak_variance = totals->live_variance;
		totals->peak_ns = step->event->time_ns;
		totals->peak_seq = step->event->seq;
		step->new_peak = true;
		engine->epoch++;
	}
	for (size_t i = 0; i < engine->n_steppers; i++)
		FT_TRY(engine->steppers[i]->ops->on_step(engine->steppers[i], step));
	return NULL;
}

/* Ids that the recording's tables do not know become 0, "none": passes index arrays with them. */
static uint32_t known_stack(const struct fa_engine *engine, uint32_t stack)
{
	return stack < engine->n_own_stacks ? stack : 0;
}

static uint32_t known_thread(const struct fa_engine *engine, uint32_t thread)
{
	return thread < engine->n_threads ? thread : 0;
}

static void block_fill(const struct fa_engine *engine, struct fa_block *block,
		       const struct ft_event *event)
{
	block->address = event->address;
	block->size = event->size;
	block->usable = event->usable > event->size ? event->usable : event->size;
	block->stack = known_stack(engine, event->stack);
	block->thread = known_thread(engine, event->thread);
	block->api = event->api;
	block->flags = event->flags;
	block->bytes = block->size;
	block->blocks = 1;
	if (engine->sample_bytes)
		fa_engine_weigh(engine, block, event->seq);
}

/* A block comes to an address that is still taken: the free of the old one was not seen. It dies in
 * a step of its own. */
static struct ft_error *evict(struct fa_engine *engine, const struct ft_event *event)
{
	struct fa_block died;

	fa_heap_remove(&engine->heap, event->address, &died);
	engine->totals.n_overlaps++;
	account_died(engine, &died);
	return dispatch(engine, &(struct fa_step){.event = event, .died = &died});
}

/* The event's new block, empty but for its address. */
static struct ft_error *insert(struct fa_engine *engine, const struct ft_event *event,
			       bool *overlap, struct fa_block **ret)
{
	bool taken;

	*ret = fa_heap_insert(&engine->heap, event->address, overlap);
	if (__builtin_expect(*overlap, 0)) {
		FT_TRY(evict(engine, event));
		*ret = fa_heap_insert(&engine->heap, event->address, &taken);
	}
	return *ret ? NULL : &ft_enomem;
}

static struct ft_error *replay_alloc(struct fa_engine *engine, const struct ft_event *event)
{
	struct fa_step step = {.event = event};
	struct fa_block *block;

	FT_TRY(insert(engine, event, &step.overlap, &block));
	block_fill(engine, block, event);
	block->born_ns = event->time_ns;
	block->born_seq = event->seq;
	account_born(engine, block);
	step.born = block;
	return dispatch(engine, &step);
}

static struct ft_error *replay_free(struct fa_engine *engine, const struct ft_event *event)
{
	struct fa_block died;
	struct fa_step step = {.event = event};

	if (fa_heap_remove(&engine->heap, event->address, &died)) {
		account_died(engine, &died);
		account_temporary(engine, &died, event->thread);
		step.died = &died;
	} else {
		engine->totals.n_unknown_frees++;
		step.unknown_free = true;
	}
	return dispatch(engine, &step);
}

static struct ft_error *replay_realloc(struct fa_engine *engine, const struct ft_event *event)
{
	struct fa_block died;
	struct fa_step step = {.event = event};
	struct fa_block *block;

	if (fa_heap_remove(&engine->heap, event->old_address, &died)) {
		step.died = &died;
	} else {
		engine->totals.n_unknown_frees++;
		step.unknown_free = true;
	}

	/* The old block is out of the table but still in the totals, so that a pass which is told
	 * of an overlap sees it as live, as it is. */
	FT_TRY(insert(engine, event, &step.overlap, &block));
	block_fill(engine, block, event);
	block->born_ns = step.died ? died.born_ns : event->time_ns;
	block->born_seq = step.died ? died.born_seq : event->seq;
	if (step.died)
		account_died(engine, &died);
	account_born(engine, block);
	step.born = block;
	return dispatch(engine, &step);
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

static struct ft_error *run_ticks(struct fa_engine *engine, uint64_t time_ns)
{
	while (engine->next_tick < engine->n_ticks && time_ns > engine->next_tick_ns) {
		uint32_t tick = engine->next_tick++;
		uint64_t at = engine->next_tick_ns;

		engine->next_tick_ns = fa_engine_tick_ns(engine, engine->next_tick);
		for (size_t i = 0; i < engine->n_passes; i++)
			if (engine->passes[i].ops->on_tick)
				FT_TRY(engine->passes[i].ops->on_tick(&engine->passes[i], tick,
								      at));
	}
	return NULL;
}

static struct ft_error *run_teardown(struct fa_engine *engine)
{
	engine->teardown_seen = true;
	for (size_t i = 0; i < engine->n_passes; i++)
		if (engine->passes[i].ops->on_teardown)
			FT_TRY(engine->passes[i].ops->on_teardown(&engine->passes[i]));
	return NULL;
}

static struct ft_error *replay_event(struct fa_engine *engine, const struct ft_event *event)
{
	engine->totals.n_events++;
	switch (event->kind) {
	case FT_EVENT_ALLOC:
		return event->address ? replay_alloc(engine, event) : NULL;
	case FT_EVENT_FREE:
		return replay_free(engine, event);
	case FT_EVENT_REALLOC:
		return event->address ? replay_realloc(engine, event) : NULL;
	}
	return NULL;
}

HEAP_PREFETCH prefetch(const struct fa_engine *engine, const struct ft_event *events, size_t i,
		       size_t n)
{
	const struct fa_heap *heap = &engine->heap;

	if (i + PREFETCH_SLOT < n) {
		const struct ft_event *ahead = &events[i + PREFETCH_SLOT];

		fa_heap_prefetch_slot(heap, ahead->kind == FT_EVENT_REALLOC ? ahead->old_address
									    : ahead->address);
	}
	if (i + PREFETCH_BLOCK < n) {
		const struct ft_event *ahead = &events[i + PREFETCH_BLOCK];

		if (ahead->kind != FT_EVENT_ALLOC)
			fa_heap_prefetch_block(heap, ahead->kind == FT_EVENT_REALLOC
							     ? ahead->old_address
							     : ahead->address);
		if (ahead->stack && ahead->stack < engine->n_stacks)
			__builtin_prefetch(&engine->sites[ahead->stack], 1);
	}
}

/* The window begins: what was before counts as live, and as nothing else. */
static struct ft_error *begin_window(struct fa_engine *engine)
{
	struct fa_totals *totals = &engine->totals;

	*totals = (struct fa_totals){
		.live_blocks = totals->live_blocks,
		.live_bytes = totals->live_bytes,
		.live_usable = totals->live_usable,
		.peak_bytes = totals->live_bytes,
		.live_variance = totals->live_variance,
		.peak_variance = totals->live_variance,
		.peak_ns = engine->from_ns,
	};
	engine->epoch++;
	if (engine->from_ns || engine->inheritance.n_blocks) {
		engine->start_blocks = calloc(engine->n_stacks, sizeof(*engine->start_blocks));
		if (!engine->start_blocks)
			return &ft_enomem;
		for (size_t i = 0; i < engine->n_stacks; i++) {
			struct site_account *site = &engine->sites[i];

			engine->start_blocks[i] = site->live_blocks;
			site->allocations = 0;
			site->bytes_allocated = 0;
			site->temporary = 0;
			site->temporary_bytes = 0;
			if (engine->site_errors) {
				engine->site_errors[i].allocated = 0;
				engine->site_errors[i].samples = 0;
			}
		}
	}
	for (size_t i = 0; i < engine->n_passes; i++) {
		struct fa_pass *pass = &engine->passes[i];

		pass->initialized = true;
		if (pass->ops->init)
			FT_TRY(pass->ops->init(pass));
		if (pass->ops->on_step)
			engine->steppers[engine->n_steppers++] = pass;
	}
	return NULL;
}

static struct ft_error *replay_chunk(struct fa_engine *engine, const struct ft_event *events,
				     size_t n, bool *inside)
{
	for (size_t i = 0; i < n; i++) {
		const struct ft_event *event = &events[i];

		prefetch(engine, events, i, n);
		if (!*inside && event->time_ns >= engine->from_ns) {
			FT_TRY(begin_window(engine));
			*inside = true;
		}
		if (event->time_ns > engine->to_ns)
			break;
		if (*inside && event->time_ns > engine->next_tick_ns)
			FT_TRY(run_ticks(engine, event->time_ns));
		if (engine->has_teardown && !engine->teardown_seen && *inside &&
		    event->seq >= engine->teardown_seq)
			FT_TRY(run_teardown(engine));
		FT_TRY(replay_event(engine, event));
	}
	return NULL;
}

static struct ft_error *replay_feed(struct fa_engine *engine, struct fa_feed *feed)
{
	uint64_t done = 0, total = ft_reader_n_events(engine->reader);
	const struct ft_event *events;
	bool inside = false;
	size_t n;

	FT_TRY(fa_engine_inherit(engine));
	if (!engine->from_ns) {
		FT_TRY(begin_window(engine));
		inside = true;
	}
	for (;;) {
		FT_TRY(fa_feed_next(feed, &events, &n));
		if (!n)
			break;
		FT_TRY(replay_chunk(engine, events, n, &inside));
		done += n;
		if (engine->options.progress &&
		    !engine->options.progress(engine->options.progress_ctx, done, total))
			return ft_error_create(FT_ERROR_STOPPED, "stopped by the user");
	}
	if (!inside)
		FT_TRY(begin_window(engine));
	return run_ticks(engine, UINT64_MAX);
}

struct ft_error *fa_engine_replay(struct fa_engine *engine)
{
	struct fa_feed *feed;
	struct ft_error *error;

	FT_TRY(fa_feed_create(engine->reader, engine->to_ns, &feed));
	error = replay_feed(engine, feed);
	fa_feed_destroy(feed);
	return error;
}

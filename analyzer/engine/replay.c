/* SPDX-License-Identifier: MIT */
/*
 * Replay: events -> live heap, totals, sites -> steps
 *
 * The inner loop of everything offline. Which blocks an event is about has been resolved before
 * (fa_index.h, feed.h); block and site are asked for some groups of events ahead, because with a
 * large heap each would be a cache miss.
 */
#include <stdlib.h>

#include "block_place.h"
#include "engine_impl.h"
#include "feed.h"
#include "ft_cleanup.h"

/* Events whose memory is asked for together, and how many such groups ahead. */
enum { GROUP = ENGINE_GROUP, AHEAD = 2 };

/* ---- sites -------------------------------------------------------------------------------------
 */

static inline struct site_account *site_touch(struct fa_engine *engine, uint32_t stack)
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

struct site_account *fa_engine_touch_site(struct fa_engine *engine, uint32_t stack)
{
	return site_touch(engine, stack);
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
	/* An object's memory is its backing block's. */
	if (!fa_block_is_object(block)) {
		totals->live_usable += block->usable;
		totals->laid_bytes += block->size;
	}
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
	if (engine->site_errors) {
		account_error(engine, block, -1);
	} else if (!fa_block_is_object(block)) {
		totals->live_usable -= block->usable;
		totals->laid_bytes -= block->size;
	}
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

/* Tell the passes of the steps so far. */
static struct ft_error *tell(struct fa_engine *engine)
{
	struct engine_steps *steps = &engine->steps;
	const struct fa_steps told = {.all = steps->all,
				      .births = steps->births,
				      .deaths = steps->deaths,
				      .n = steps->n,
				      .n_births = steps->n_births,
				      .n_deaths = steps->n_deaths};

	steps->n = steps->n_births = steps->n_deaths = 0;
	for (size_t i = 0; told.n && i < engine->n_steppers; i++)
		FT_TRY(engine->steppers[i]->ops->on_steps(engine->steppers[i], &told));
	return NULL;
}

/* Where its blocks lie, which the layout is told of when somebody asks: one goes before another
 * comes. */
static struct ft_error *lay_out(struct fa_engine *engine, struct fa_step *step,
				struct fa_place *died_at, struct fa_place *born_at)
{
	const struct fa_block *died = step->died, *born = step->born;

	if (died && !fa_block_is_object(died)) {
		*died_at = block_place(engine->is_glibc, died);
		step->died_at = step->block_at = died_at;
		if (engine->has_layout)
			FT_TRY(fa_batch_died(&engine->batch, died_at, died->address, died->stack,
					     step->died_number, died->slot));
	}
	if (!born)
		return NULL;
	step->block_at = NULL;
	if (fa_block_is_object(born))
		return NULL;
	*born_at = block_place(engine->is_glibc, born);
	step->born_at = step->block_at = born_at;
	if (!engine->has_layout)
		return NULL;
	return fa_batch_born(&engine->batch, born_at, born->address, born->stack, step->born_number,
			     &heap_block(&engine->heap, step->born_number)->slot);
}

/* The next step, in its place; there is room for those of a group of events. */
static inline struct fa_step *new_step(struct fa_engine *engine, const struct ft_event *event)
{
	struct fa_step *step = &engine->steps.all[engine->steps.n];

	*step = (struct fa_step){.event = event};
	return step;
}

/* new_step(), whose blocks are at hand, is to be told: copies of them are. */
static struct ft_error *add_step(struct fa_engine *engine, struct fa_step *step)
{
	struct engine_steps *steps = &engine->steps;
	size_t i = steps->n++;

	steps->births[steps->n_births] = steps->deaths[steps->n_deaths] = step;
	if (step->died) {
		steps->copies[i].died = *step->died;
		step->died = step->block = &steps->copies[i].died;
		step->block_number = step->died_number;
		steps->n_deaths++;
	}
	if (step->born) {
		steps->copies[i].born = *step->born;
		step->born = step->block = &steps->copies[i].born;
		step->block_number = step->born_number;
		steps->n_births++;
	}
	if (engine->needs_places)
		FT_TRY(lay_out(engine, step, &steps->copies[i].died_at, &steps->copies[i].born_at));
	return step->unknown_free ? tell(engine) : NULL;
}

static inline struct ft_error *dispatch(struct fa_engine *engine, struct fa_step *step)
{
	struct fa_totals *totals = &engine->totals;

	if (totals->live_bytes > totals->peak_bytes) {
		totals->peak_bytes = totals->live_bytes;
		totals->peak_variance = totals->live_variance;
		totals->peak_ns = step->event->time_ns;
		totals->peak_seq = step->event->seq;
		engine->epoch++;
	}
	step->live_bytes = totals->live_bytes;
	step->n_allocs = totals->n_allocs;
	return engine->n_steppers || engine->has_layout ? add_step(engine, step) : NULL;
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
}

/* What it stands for in a sampled recording, once its birth is known; what a pool divides stands
 * for nothing, as its objects count. */
static inline void block_weigh(const struct fa_engine *engine, struct fa_block *block)
{
	if (block->api == FT_API_POOL_BACKING)
		block->bytes = block->blocks = 0;
	else if (engine->sample_bytes)
		fa_engine_weigh(engine, block);
}

/* A block comes to an address that is still taken: the free of the old one was not seen. It dies in
 * a step of its own. */
static struct ft_error *evict(struct fa_engine *engine, const struct ft_event *event)
{
	uint32_t number = engine->resolution->evicted[engine->n_evicted++];
	const struct fa_block *died = fa_heap_die(&engine->heap, number - 1);
	struct fa_step *step = new_step(engine, event);

	engine->totals.n_overlaps++;
	account_died(engine, died);
	step->died = died;
	step->died_number = number - 1;
	FT_TRY(dispatch(engine, step));
	fa_heap_release(&engine->heap);
	return NULL;
}

/* The event's new block, empty but for its address, in the step *ret. */
static inline struct ft_error *insert(struct fa_engine *engine, const struct ft_event *event,
				      uint32_t born, struct fa_block **block, struct fa_step **ret)
{
	if (__builtin_expect(born & FA_EVICTS, 0))
		FT_TRY(evict(engine, event));
	*ret = new_step(engine, event);
	(*ret)->born_number = (born & ~FA_EVICTS) - 1;
	(*ret)->overlap = born & FA_EVICTS;
	(*ret)->born = *block = fa_heap_born(&engine->heap, (*ret)->born_number, event->address);
	return *block ? NULL : &ft_enomem;
}

static inline struct ft_error *replay_alloc(struct fa_engine *engine, const struct ft_event *event,
					    uint32_t born)
{
	struct fa_block *block;
	struct fa_step *step;

	FT_TRY(insert(engine, event, born, &block, &step));
	block_fill(engine, block, event);
	block->born_ns = event->time_ns;
	block->born_seq = event->seq;
	block_weigh(engine, block);
	account_born(engine, block);
	return dispatch(engine, step);
}

static inline struct ft_error *replay_free(struct fa_engine *engine, const struct ft_event *event,
					   uint32_t died)
{
	struct fa_step *step = new_step(engine, event);

	if (__builtin_expect(died != 0, 1)) {
		step->died = fa_heap_die(&engine->heap, died - 1);
		step->died_number = died - 1;
		account_died(engine, step->died);
		account_temporary(engine, step->died, event->thread);
	} else {
		engine->totals.n_unknown_frees++;
		step->unknown_free = true;
	}
	FT_TRY(dispatch(engine, step));
	fa_heap_release(&engine->heap);
	return NULL;
}

static struct ft_error *replay_realloc(struct fa_engine *engine, const struct ft_event *event,
				       const struct fa_resolved *resolved)
{
	/* Without one the new block is born now. */
	struct fa_block died = {.born_ns = event->time_ns, .born_seq = event->seq}, *block;
	struct fa_step *step;

	if (resolved->died) {
		/* A copy: its memory is that of the new one, as a rule. */
		died = *fa_heap_die(&engine->heap, resolved->died - 1);
		fa_heap_release(&engine->heap);
	} else {
		/* Of memory that is no block there is nothing to say. */
		if (!resolved->born)
			return NULL;
		engine->totals.n_unknown_frees++;
	}

	/* The old block is out of the heap but still in the totals, so that a pass which is told
	 * of an overlap sees it as live, as it is. */
	FT_TRY(insert(engine, event, resolved->born, &block, &step));
	step->unknown_free = !resolved->died;
	block_fill(engine, block, event);
	block->born_ns = died.born_ns;
	block->born_seq = died.born_seq;
	if (resolved->died) {
		step->died = &died;
		step->died_number = resolved->died - 1;
		/* It is where and what it was. */
		if (event->api == FT_API_POOL_BACKING) {
			block->size = died.size;
			block->usable = died.usable;
			block->flags = died.flags;
		}
		account_died(engine, &died);
	}
	block_weigh(engine, block);
	account_born(engine, block);
	return dispatch(engine, step);
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

void fa_engine_pass_tick(struct fa_engine *engine)
{
	engine->next_tick_ns = ++engine->next_tick < engine->n_ticks
				       ? fa_engine_tick_ns(engine, engine->next_tick)
				       : UINT64_MAX;
}

static struct ft_error *run_tick(struct fa_engine *engine)
{
	uint32_t tick = engine->next_tick;
	uint64_t at = engine->next_tick_ns;

	fa_engine_pass_tick(engine);
	for (size_t i = 0; i < engine->n_passes; i++)
		if (engine->passes[i].ops->on_tick && engine->passes[i].initialized)
			FT_TRY(engine->passes[i].ops->on_tick(&engine->passes[i], tick, at));
	return NULL;
}

/* The pass that wants to be called first, or NULL. */
static struct fa_pass *first_alarm(struct fa_engine *engine)
{
	struct fa_pass *first = NULL;

	for (size_t i = 0; i < engine->n_passes; i++)
		if (engine->passes[i].alarm_ns < (first ? first->alarm_ns : UINT64_MAX))
			first = &engine->passes[i];
	return first;
}

/* Ticks and alarms that come before an event at `time_ns`; sets when the next one does. */
struct ft_error *fa_engine_run_due(struct fa_engine *engine, uint64_t time_ns)
{
	for (;;) {
		struct fa_pass *pass = first_alarm(engine);
		uint64_t alarm_ns = pass ? pass->alarm_ns : UINT64_MAX;
		uint64_t tick_ns = engine->next_tick_ns;

		if (pass && alarm_ns <= time_ns && alarm_ns <= tick_ns) {
			pass->alarm_ns = UINT64_MAX;
			FT_TRY(pass->ops->on_alarm(pass, alarm_ns));
		} else if (tick_ns < time_ns) {
			FT_TRY(run_tick(engine));
		} else {
			/* A tick is for events later than it. */
			engine->due_ns = tick_ns < alarm_ns ? tick_ns + 1 : alarm_ns;
			return NULL;
		}
	}
}

static struct ft_error *run_teardown(struct fa_engine *engine)
{
	engine->teardown_seen = true;
	for (size_t i = 0; i < engine->n_passes; i++)
		if (engine->passes[i].ops->on_teardown)
			FT_TRY(engine->passes[i].ops->on_teardown(&engine->passes[i]));
	return NULL;
}

static inline struct ft_error *replay_event(struct fa_engine *engine, const struct ft_event *event,
					    const struct fa_resolved *resolved)
{
	engine->totals.n_events++;
	switch (event->kind) {
	case FT_EVENT_ALLOC:
		return event->address ? replay_alloc(engine, event, resolved->born) : NULL;
	case FT_EVENT_FREE:
		return replay_free(engine, event, resolved->died);
	case FT_EVENT_REALLOC:
		return event->address ? replay_realloc(engine, event, resolved) : NULL;
	}
	return NULL;
}

/* gcc drops calls to functions that only prefetch, unless they are inlined before it sees that. */
#define LOOK_AHEAD static inline __attribute__((always_inline)) void

/*
 * Each step is a short loop of its own over a group: a processor that waits for a line, or for the
 * translation of an address, looks only so many instructions ahead for others to ask for.
 */
LOOK_AHEAD look_ahead_blocks(struct fa_engine *engine, size_t from, size_t to)
{
	const struct fa_resolved *resolved = engine->resolution->events;

	for (size_t i = from; i < to; i++) {
		/* One of both, as a rule; what is not there yet was not used lately either. */
		uint32_t number =
			(resolved[i].died ? resolved[i].died : resolved[i].born & ~FA_EVICTS);

		if (number - 1 < engine->heap.n_blocks)
			__builtin_prefetch(heap_block(&engine->heap, number - 1), 1);
	}
}

LOOK_AHEAD look_ahead_accounts(struct fa_engine *engine, const struct ft_event *events, size_t from,
			       size_t to, size_t n)
{
	for (size_t i = from; i < to; i++) {
		/* Another processor has written them. */
		__builtin_prefetch(&events[i + 2 * GROUP < n ? i + 2 * GROUP : i]);
		if (events[i].stack && events[i].stack < engine->n_stacks)
			__builtin_prefetch(&engine->sites[events[i].stack], 1);
	}
}

/* Start to fetch what the events after events[i..i + GROUP) want; i is a multiple of GROUP. */
LOOK_AHEAD look_ahead(struct fa_engine *engine, const struct ft_event *events, size_t i, size_t n)
{
	size_t from = i + AHEAD * GROUP < n ? i + AHEAD * GROUP : n;
	size_t to = from + GROUP < n ? from + GROUP : n;

	look_ahead_blocks(engine, from, to);
	look_ahead_accounts(engine, events, from, to, n);
}

/* Blocks from before the window. */
static struct ft_error *begin_layout(struct fa_engine *engine)
{
	const struct fa_block *block;
	size_t cursor = 0;

	engine->has_layout = true;
	while (fa_engine_next_laid(engine, &cursor, &block)) {
		struct fa_place place;

		fa_engine_place(engine, block, &place);
		FT_TRY(fa_layout_add(engine->layout, &place, block->address, block->stack));
	}
	return NULL;
}

struct ft_error *fa_engine_revive(struct fa_engine *engine, const struct ft_event *birth,
				  bool counted)
{
	struct fa_block *block;
	bool taken;

	block = fa_heap_insert(&engine->heap, birth->address, &taken);
	if (taken)
		return ft_error_create(
			FT_ERROR_INPUT,
			"%s: the recording is damaged: a keyframe has two blocks at 0x%llx",
			ft_reader_path(engine->reader), (unsigned long long)birth->address);
	if (!block)
		return &ft_enomem;
	block_fill(engine, block, birth);
	block->flags &= (uint8_t)~FT_EVENT_F_LATEST;
	block->born_ns = birth->time_ns;
	block->born_seq = birth->seq;
	block_weigh(engine, block);
	/* Roll-ups do not tell what the heap's blocks were asked for. */
	if (counted && !engine->sample_bytes && !fa_block_is_object(block))
		engine->totals.laid_bytes += block->size;
	if (!counted)
		account_born(engine, block);
	return NULL;
}

/* Passes begin. */
static struct ft_error *init_passes(struct fa_engine *engine, enum engine_stretch stretch)
{
	if (stretch & ENGINE_DETAIL && engine->layout)
		FT_TRY(begin_layout(engine));
	engine->due_ns = 0; /* they may set alarms */
	for (size_t i = 0; i < engine->n_passes; i++) {
		struct fa_pass *pass = &engine->passes[i];
		bool detail = pass->ops->on_steps && !pass->ops->on_span;

		if (!(stretch & (detail ? ENGINE_DETAIL : ENGINE_WHOLE)))
			continue;
		pass->initialized = true;
		if (pass->ops->init)
			FT_TRY(pass->ops->init(pass));
	}
	if (!(stretch & ENGINE_DETAIL))
		return NULL;
	for (size_t i = 0; i < engine->n_passes; i++)
		if (engine->passes[i].ops->on_steps)
			engine->steppers[engine->n_steppers++] = &engine->passes[i];
	return NULL;
}

/* The window begins: what was before counts as live, and as nothing else. */
struct ft_error *fa_engine_begin_window(struct fa_engine *engine, enum engine_stretch stretch)
{
	if (stretch == ENGINE_DETAIL)
		return init_passes(engine, stretch);
	engine->window_begun = true;
	/* The same order whether the heap was replayed from the start or from a keyframe. */
	if (engine->from_ns && !engine->is_later_part && engine->heap.n_live)
		FT_TRY(fa_heap_sort(&engine->heap));

	struct fa_totals *totals = &engine->totals;

	*totals = (struct fa_totals){
		.live_blocks = totals->live_blocks,
		.live_bytes = totals->live_bytes,
		.live_usable = totals->live_usable,
		.laid_bytes = totals->laid_bytes,
		.peak_bytes = totals->live_bytes,
		.live_variance = totals->live_variance,
		.peak_variance = totals->live_variance,
		.peak_ns = engine->from_ns,
	};
	engine->epoch++;
	if (engine->from_ns || engine->is_later_part || engine->inheritance.n_blocks) {
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
	return init_passes(engine, stretch);
}

/* The first of events[from..n) that is at `time_ns` or later; n: none is. */
static size_t find_time(const struct ft_event *events, size_t from, size_t n, uint64_t time_ns)
{
	size_t low = from, high = n;

	if (events[n - 1].time_ns < time_ns)
		return n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (events[mid].time_ns < time_ns)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Where something other than an event comes next, in events[from..n): n when nothing does. What is
 * due at `from` has been done. */
static size_t find_stop(const struct fa_engine *engine, const struct ft_event *events, size_t from,
			size_t n, bool inside)
{
	uint64_t stop_ns = engine->to_ns < UINT64_MAX ? engine->to_ns + 1 : UINT64_MAX;

	if (!inside)
		stop_ns = engine->from_ns < stop_ns ? engine->from_ns : stop_ns;
	else if (engine->due_ns < stop_ns)
		stop_ns = engine->due_ns;

	size_t stop = find_time(events, from, n, stop_ns);

	/* Sequence numbers have no gaps. */
	if (inside && engine->has_teardown && !engine->teardown_seen &&
	    events[from].seq < engine->teardown_seq &&
	    engine->teardown_seq - events[from].seq < stop - from)
		stop = from + (size_t)(engine->teardown_seq - events[from].seq);
	return stop;
}

static struct ft_error *replay_chunk(struct fa_engine *engine, struct fa_feed *feed,
				     const struct ft_event *events, size_t n, bool *inside)
{
	size_t ahead = 0; /* where events begin that were not looked at */
	/* When the window begins, all blocks get new numbers. */
	size_t resolved = *inside ? n : find_time(events, 0, n, engine->from_ns);

	if (!fa_feed_is_resolved(feed))
		FT_TRY(fa_feed_resolve(feed, engine->heap.index, 0, resolved, 0));
	engine->resolution = fa_feed_resolution(feed);
	engine->n_evicted = 0;
	for (size_t i = 0; i < n;) {
		const struct ft_event *event = &events[i];

		if (!*inside && event->time_ns >= engine->from_ns) {
			FT_TRY(fa_engine_begin_window(engine, ENGINE_BOTH));
			*inside = true;
			FT_TRY(fa_feed_resolve(feed, engine->heap.index, i, n, i));
			resolved = n;
		}
		if (event->time_ns > engine->to_ns)
			break;
		if (*inside && event->time_ns >= engine->due_ns)
			FT_TRY(fa_engine_run_due(engine, event->time_ns));
		if (*inside && engine->has_teardown && !engine->teardown_seen &&
		    event->seq >= engine->teardown_seq) {
			FT_TRY(run_teardown(engine));
			/* It may have set alarms. */
			FT_TRY(fa_engine_run_due(engine, event->time_ns));
		}

		size_t stop = find_stop(engine, events, i, n, *inside);

		while (i < stop) {
			if (i == ahead) {
				look_ahead(engine, events, i, resolved);
				ahead += GROUP;
			}

			size_t end = stop < ahead ? stop : ahead;

			for (; i < end; i++)
				FT_TRY(replay_event(engine, &events[i],
						    &engine->resolution->events[i]));
			FT_TRY(tell(engine));
		}
	}
	return NULL;
}

/* What was live before the first event. */
static struct ft_error *begin(struct fa_engine *engine, bool *inside)
{
	if (engine->rolled) {
		*inside = true;
		return fa_engine_roll(engine);
	}
	if (engine->start)
		FT_TRY(fa_engine_resume(engine, false));
	else
		FT_TRY(fa_engine_inherit(engine));
	if (!engine->from_ns || engine->is_later_part) {
		*inside = true;
		return fa_engine_begin_window(engine, ENGINE_BOTH);
	}
	return NULL;
}

static struct ft_error *replay_feed(struct fa_engine *engine, struct fa_feed *feed, bool *inside)
{
	uint64_t done = 0, total = ft_reader_n_events(engine->reader);
	const struct ft_event *events;
	size_t n;

	for (;;) {
		FT_TRY(fa_feed_next(feed, &events, &n));
		if (!n)
			break;
		FT_TRY(replay_chunk(engine, feed, events, n, inside));
		done += n;
		if (engine->options.progress &&
		    !engine->options.progress(engine->options.progress_ctx, done, total))
			return ft_error_create(FT_ERROR_STOPPED, "stopped by the user");
	}
	return NULL;
}

struct ft_error *fa_engine_replay(struct fa_engine *engine)
{
	struct fa_feed_options options = {.first = engine->first_chunk,
					  .end = engine->end_chunk,
					  .to_ns = engine->to_ns,
					  .n_threads = engine->options.n_threads};
	struct fa_feed *feed;
	struct ft_error *error;
	bool inside = false;

	FT_TRY(begin(engine, &inside));
	/* Once the window has begun nobody but the feed touches the index. */
	options.index = inside ? engine->heap.index : NULL;
	FT_TRY(fa_feed_create(engine->reader, &options, &feed));
	error = replay_feed(engine, feed, &inside);
	fa_feed_destroy(feed);
	if (error)
		return error;
	if (!inside)
		FT_TRY(fa_engine_begin_window(engine, ENGINE_BOTH));
	if (engine->end_chunk)
		return fa_engine_run_due(engine, engine->end_due_ns);
	/* The last tick is at the end of the window. */
	return fa_engine_run_due(engine,
				 engine->to_ns < UINT64_MAX ? engine->to_ns + 1 : UINT64_MAX);
}

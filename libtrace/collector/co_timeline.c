/* SPDX-License-Identifier: MIT */
/* Timeline: see co_timeline.h. */
#include "co_timeline.h"

#define MS UINT64_C(1000000)

/* A program, or this collector, that was stopped for long gets a gap, not a row a tick. */
enum { MAX_TICKS_AT_ONCE = 256 };

void co_timeline_init(struct co_timeline *timeline)
{
	*timeline = (struct co_timeline){.next_tick = 20 * MS, .interval = 20 * MS};
}

static void emit_row(struct co_timeline *timeline, uint64_t time_ns, co_timeline_fn *emit,
		     void *ctx)
{
	uint64_t live = co_timeline_live(timeline);
	struct ft_timeline_row row = {
		.time_ns = time_ns,
		.n_allocs = co_timeline_blocks(timeline, timeline->n_allocs),
		.n_frees = co_timeline_blocks(timeline, timeline->n_frees),
		.bytes_allocated = timeline->bytes_allocated,
		.bytes_freed = timeline->bytes_freed,
		.live_blocks = co_timeline_live_blocks(timeline),
		.live_bytes = live,
		.peak_bytes = timeline->interval_peak,
		.usable_bytes = timeline->usable_bytes,
		.rss = -1,
		.pss = -1,
		.anon = -1,
		.swap = -1,
		.tracer = -1,
	};

	emit(ctx, &row, timeline->interval);
	timeline->interval_peak = live;
}

void co_timeline_advance_slow(struct co_timeline *timeline, uint64_t time_ns, co_timeline_fn *emit,
			      void *ctx)
{
	for (int n = 0; time_ns >= timeline->next_tick; n++) {
		if (n == MAX_TICKS_AT_ONCE)
			timeline->next_tick += (time_ns - timeline->next_tick) /
					       timeline->interval * timeline->interval;
		emit_row(timeline, timeline->next_tick, emit, ctx);
		if (timeline->next_tick >= 40000 * MS)
			timeline->interval = 1000 * MS;
		else if (timeline->next_tick >= 4000 * MS)
			timeline->interval = 100 * MS;
		timeline->next_tick += timeline->interval;
	}
}

void co_timeline_finish(struct co_timeline *timeline, uint64_t time_ns, co_timeline_fn *emit,
			void *ctx)
{
	co_timeline_advance(timeline, time_ns, emit, ctx);
	/* The last tick may lie at this very time: a row a time. */
	if (timeline->next_tick - time_ns < timeline->interval || time_ns == 0)
		emit_row(timeline, time_ns, emit, ctx);
}

void co_timeline_rotate(struct co_timeline *timeline, uint64_t time_ns)
{
	timeline->carried_blocks += timeline->n_allocs - timeline->n_frees;
	timeline->carried_bytes += timeline->bytes_allocated - timeline->bytes_freed;
	timeline->n_allocs = timeline->n_frees = 0;
	timeline->bytes_allocated = timeline->bytes_freed = 0;
	timeline->peak_bytes = timeline->interval_peak = timeline->carried_bytes;
	timeline->peak_ns = time_ns;
}

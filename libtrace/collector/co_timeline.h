/* SPDX-License-Identifier: MIT */
/*
 * Timeline: the heap's totals at ticks of event time
 *
 * Every 20 ms for 4 s, every 100 ms until 40 s, then every second: 3600 rows an hour at most. The
 * peak within an interval is exact, because it is taken from the events themselves, however late
 * they are drained.
 */
#ifndef CO_TIMELINE_H
#define CO_TIMELINE_H

#include <stdint.h>

#include "fragtrace/store.h"

struct co_timeline {
	unsigned count_bits; /* counts of blocks are in units of 2^-count_bits */
	/* Of this recording, but for what its first event found live: live_blocks ==
	 * carried_blocks + n_allocs - n_frees, of blocks whose birth is known. */
	uint64_t carried_blocks, carried_bytes;
	uint64_t n_allocs, n_frees;
	uint64_t bytes_allocated, bytes_freed;
	uint64_t usable_bytes;
	uint64_t interval_peak; /* highest live bytes since the last tick */
	uint64_t peak_bytes, peak_ns;
	uint64_t next_tick, interval;
};

typedef void co_timeline_fn(void *ctx, const struct ft_timeline_row *row, uint64_t interval);

void co_timeline_init(struct co_timeline *timeline);

static inline uint64_t co_timeline_live(const struct co_timeline *timeline)
{
	return timeline->carried_bytes + timeline->bytes_allocated - timeline->bytes_freed;
}

/* A count of blocks as a row has it. */
static inline uint64_t co_timeline_blocks(const struct co_timeline *timeline, uint64_t count)
{
	return (count + (UINT64_C(1) << timeline->count_bits >> 1)) >> timeline->count_bits;
}

static inline uint64_t co_timeline_live_blocks(const struct co_timeline *timeline)
{
	return co_timeline_blocks(timeline, timeline->carried_blocks) +
	       co_timeline_blocks(timeline, timeline->n_allocs) -
	       co_timeline_blocks(timeline, timeline->n_frees);
}

/* After each event. */
static inline void co_timeline_peak(struct co_timeline *timeline, uint64_t time_ns)
{
	uint64_t live = co_timeline_live(timeline);

	if (live > timeline->interval_peak) {
		timeline->interval_peak = live;
		if (live > timeline->peak_bytes) {
			timeline->peak_bytes = live;
			timeline->peak_ns = time_ns;
		}
	}
}

/* Before an event at `time_ns`, and when time has passed without events: rows for all ticks up to
 * it. `rss` and the other samples of a row are -1 as given to `emit`. */
void co_timeline_advance_slow(struct co_timeline *timeline, uint64_t time_ns, co_timeline_fn *emit,
			      void *ctx);

static inline void co_timeline_advance(struct co_timeline *timeline, uint64_t time_ns,
				       co_timeline_fn *emit, void *ctx)
{
	if (time_ns >= timeline->next_tick)
		co_timeline_advance_slow(timeline, time_ns, emit, ctx);
}

/* The next recording of the same program begins: what lives is carried over. */
void co_timeline_rotate(struct co_timeline *timeline, uint64_t time_ns);

/* The last row, at the end of the recording. */
void co_timeline_finish(struct co_timeline *timeline, uint64_t time_ns, co_timeline_fn *emit,
			void *ctx);

#endif

/* SPDX-License-Identifier: MIT */
/* Recording below a limit: see tr_governor.h. */
#include "tr_governor.h"

#include "ft_governor.h"
#include "tr_record.h"
#include "tr_sample.h"

bool tr_choosy, tr_governed;

/* Address of a block that was left out; 0: none. */
static _Atomic uintptr_t left_out[TR_LEFT_OUT_SLOTS];
static _Atomic bool leaves_out_ever; /* a slot may hold something */

static _Atomic uint32_t step_seen;
static _Atomic uint32_t depth;	 /* of stacks, now */
static _Atomic bool leaving_out; /* blocks are, now */
static uint64_t timed_most;	 /* ticks that one event counts at most, */
static uint64_t timer_ticks;	 /* and those that reading the clock takes */

static __thread struct {
	uint32_t random;
	int32_t left;	 /* events to the next that is measured */
	uint32_t weight; /* events that it stands for */
} pace;

/* ---- the step in force ------------------------------------------------------------------------
 */

static void adopt(uint32_t step)
{
	struct ft_governor_step now = ft_governor_step(step);
	unsigned frames = tr_settings.depth;

	if (now.depth && now.depth < frames)
		frames = now.depth;
	atomic_store_explicit(&depth, frames, memory_order_relaxed);
	if (now.sample_bytes) {
		tr_sample_set_rate(now.sample_bytes);
		atomic_store_explicit(&leaves_out_ever, true, memory_order_relaxed);
	}
	atomic_store_explicit(&leaving_out, now.sample_bytes != 0, memory_order_relaxed);
	atomic_store_explicit(&step_seen, step, memory_order_relaxed);
}

/* The header is there only as long as the session is: a forked child has none. */
static inline bool look(void)
{
	uint32_t step;

	if (!tr_session_live())
		return false;
	step = atomic_load_explicit(&tr_session.header->governor_step, memory_order_relaxed);
	if (tr_unlikely(step != atomic_load_explicit(&step_seen, memory_order_relaxed)))
		adopt(step);
	return true;
}

static uint64_t ticks_of(uint64_t ns)
{
	uint64_t from_ns, from, passed;

	if (!tr_use_tsc)
		return ns;
	/* Once, in the constructor or after a fork: a tenth of a millisecond tells it well enough.
	 */
	from_ns = tr_stamp_clock();
	from = tr_stamp();
	while ((passed = tr_stamp_clock() - from_ns) < 100000)
		;
	return ns * (tr_stamp() - from) / passed;
}

void tr_governor_start(uint32_t limit, struct ft_segment_header *header)
{
	tr_governed = limit && header;
	tr_choosy = tr_governed || tr_sampling;
	atomic_store_explicit(&depth, tr_settings.depth, memory_order_relaxed);
	atomic_store_explicit(&leaving_out, false, memory_order_relaxed);
	atomic_store_explicit(&step_seen, 0, memory_order_relaxed);
	if (!tr_governed)
		return;
	timed_most = ticks_of(TR_TIMED_MOST_NS);
	timer_ticks = UINT64_MAX;
	for (int i = 0; i < 64; i++) {
		uint64_t from = tr_stamp(), took = tr_stamp() - from;

		timer_ticks = took < timer_ticks ? took : timer_ticks;
	}
}

unsigned tr_governor_depth(struct tr_lane *lane)
{
	unsigned frames = atomic_load_explicit(&depth, memory_order_relaxed);

	if (tr_likely(lane->depth == frames))
		return frames;
#ifdef __x86_64__
	/* What is remembered was cut elsewhere. */
	if (lane->depth)
		tr_walk_reset(&lane->walker, lane->walker.memo);
#endif
	lane->depth = frames;
	return frames;
}

/* ---- what is left out -------------------------------------------------------------------------
 */

static inline _Atomic uintptr_t *slot_of(const void *block)
{
	uintptr_t at = (uintptr_t)block >> 4;

	return &left_out[(at ^ at >> 17) & (TR_LEFT_OUT_SLOTS - 1)];
}

bool tr_governor_left_out(const void *block)
{
	return atomic_load_explicit(slot_of(block), memory_order_relaxed) == (uintptr_t)block;
}

void tr_governor_recorded(const void *block)
{
	if (tr_likely(!atomic_load_explicit(&leaves_out_ever, memory_order_relaxed)))
		return;
	if (tr_governor_left_out(block))
		atomic_store_explicit(slot_of(block), 0, memory_order_relaxed);
}

bool tr_governor_frees(const void *block)
{
	if (tr_likely(!atomic_load_explicit(&leaves_out_ever, memory_order_relaxed)) ||
	    !tr_governor_left_out(block))
		return true;
	atomic_store_explicit(slot_of(block), 0, memory_order_relaxed);
	return false;
}

static void count_left_out(size_t size)
{
	struct tr_lane *lane = tr_self.lane;
	struct ft_segment_header *header = tr_session.header;

	/* By thread, where it has a ring: nobody else writes there. */
	if (tr_likely(lane != NULL)) {
		struct ft_ring_header *ring = lane->producer.header;

		atomic_store_explicit(
			&ring->n_left_out,
			atomic_load_explicit(&ring->n_left_out, memory_order_relaxed) + 1,
			memory_order_relaxed);
		atomic_store_explicit(
			&ring->bytes_left_out,
			atomic_load_explicit(&ring->bytes_left_out, memory_order_relaxed) + size,
			memory_order_relaxed);
		return;
	}
	atomic_fetch_add_explicit(&header->n_left_out, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&header->bytes_left_out, size, memory_order_relaxed);
}

bool tr_governor_takes(const void *block, size_t size)
{
	if (!look() || tr_likely(!atomic_load_explicit(&leaving_out, memory_order_relaxed)) ||
	    tr_sample_strikes(size)) {
		tr_governor_recorded(block);
		return true;
	}
	atomic_store_explicit(slot_of(block), (uintptr_t)block, memory_order_relaxed);
	count_left_out(size);
	return false;
}

/* ---- what it takes ----------------------------------------------------------------------------
 */

struct tr_timed tr_timed_begin(void)
{
	if (tr_likely(--pace.left > 0))
		return (struct tr_timed){0};
	if (!pace.random)
		pace.random = (uint32_t)((uintptr_t)&pace >> 4) | 1;
	/* Xorshift (Marsaglia, 2003). */
	pace.random ^= pace.random << 13;
	pace.random ^= pace.random >> 17;
	pace.random ^= pace.random << 5;
	return (struct tr_timed){tr_stamp()};
}

void tr_timed_end(struct tr_timed timed)
{
	struct tr_lane *lane = tr_self.lane;
	uint64_t took, weight = pace.weight;

	if (tr_likely(!timed.since))
		return;
	took = tr_stamp() - timed.since;
	pace.weight = TR_TIMED_OF / 2 + pace.random % TR_TIMED_OF;
	pace.left = (int32_t)pace.weight;
	took = took > timer_ticks ? took - timer_ticks : 0;
	if (took > timed_most)
		took = timed_most;
	/* The first event of a thread, with which everything begins, stands for itself. */
	if (!lane || !tr_session_live())
		return;

	struct ft_ring_header *ring = lane->producer.header;

	atomic_store_explicit(&ring->recording_ticks,
			      atomic_load_explicit(&ring->recording_ticks, memory_order_relaxed) +
				      took * (weight ? weight : 1),
			      memory_order_relaxed);
}

size_t tr_governor_memory(void)
{
	return tr_governed ? sizeof(left_out) : 0;
}

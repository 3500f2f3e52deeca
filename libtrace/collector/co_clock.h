/* SPDX-License-Identifier: MIT */
/*
 * Stamps to times
 *
 * Stamps are TSC ticks (or nanoseconds of CLOCK_MONOTONIC); times in a recording are nanoseconds of
 * CLOCK_MONOTONIC since its start. The relation is piecewise linear: a knot is set about once a
 * second, and everything that is converted lies between the last knot and a reading made just now,
 * so that a frequency that is known only roughly never costs more than the error of one reading.
 *
 * co_timebase_time() never goes back: times do not decrease with the sequence number.
 *
 * A guest that is restored from a snapshot, or moved to another host, may find its TSC ahead or
 * behind. Ahead is one piece that is too steep. Behind, the old stamps seem to come from the
 * future: what is there is committed in the order in which it lies, and the relation begins anew.
 */
#ifndef CO_CLOCK_H
#define CO_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Ticks that are converted at once: more are taken for so many, which no clock reaches. */
#define CO_TICKS_MAX (UINT64_C(1) << 58)

struct co_reading {
	uint64_t stamp;
	int64_t monotonic_ns;
};

/* Both clocks at one moment (the best of a few tries). `source` is an enum ft_clock_source. */
struct co_reading co_clock_read(uint32_t source);

/* A stamp alone, ordered after all loads before it: cheaper than a reading. */
uint64_t co_clock_stamp(uint32_t source);

int64_t co_clock_monotonic(void);

struct co_timebase {
	uint32_t source;
	int64_t start_ns;	/* CLOCK_MONOTONIC at time 0 */
	struct co_reading knot; /* start of the current linear piece */
	struct co_reading now;	/* its end: the last reading */
	double ns_per_tick;	/* of the current piece */
	uint64_t last_ns;	/* last time given out */
};

/*
 * Start with the reading that the traced program claims for its start. A claim that contradicts
 * `rate` (nanoseconds a tick, measured by ourselves) is replaced by what the rate gives.
 */
void co_timebase_init(struct co_timebase *base, uint32_t source, struct co_reading claimed,
		      struct co_reading now, double rate);

/* Take a new reading into account. Returns true when it has become a knot (at most once a second).
 */
bool co_timebase_update(struct co_timebase *base, struct co_reading now);

/* Is the reading from before the last one, by more than clocks of one machine ever differ? */
bool co_timebase_has_gone_back(const struct co_timebase *base, struct co_reading now);

/* A new beginning at `now`, which is a knot. Times go on from where they were. */
void co_timebase_restart(struct co_timebase *base, struct co_reading now);

/* Time of a stamp from before the last knot. */
uint64_t co_timebase_before(const struct co_timebase *base, uint64_t stamp);

/* Time of a stamp as it is: for facts beside the event stream. */
static inline uint64_t co_timebase_peek(const struct co_timebase *base, uint64_t stamp)
{
	uint64_t ticks = stamp - base->knot.stamp;

	if (__builtin_expect(stamp < base->knot.stamp, 0))
		return co_timebase_before(base, stamp);
	if (__builtin_expect(ticks > CO_TICKS_MAX, 0))
		ticks = CO_TICKS_MAX;
	return (uint64_t)(base->knot.monotonic_ns - base->start_ns +
			  (int64_t)((double)(int64_t)ticks * base->ns_per_tick));
}

/* Time of a stamp, not before any time given out so far. */
static inline uint64_t co_timebase_time(struct co_timebase *base, uint64_t stamp)
{
	uint64_t ns = co_timebase_peek(base, stamp);

	if (ns > base->last_ns)
		base->last_ns = ns;
	return base->last_ns;
}

/* Ticks in `ns` nanoseconds. */
uint64_t co_timebase_ticks(const struct co_timebase *base, uint64_t ns);

#endif

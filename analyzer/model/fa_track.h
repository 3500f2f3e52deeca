/* SPDX-License-Identifier: MIT */
/*
 * Track: a figure on 64 equal steps of a window, held where nothing happens
 *
 * Kept for each call stack of a replay, so that it is small: 32 bytes, and 24 for each step in
 * which the figure changed (the lowest value within the step and the value at its end). Series are
 * held to the end of the window: a program that falls silent shows a level, not a trend.
 *
 * The caller knows which step it is and never goes back. Single-threaded.
 */
#ifndef FA_TRACK_H
#define FA_TRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "ft_arena.h"

enum { FA_TRACK_STEPS = 64 };

struct fa_track_value {
	uint64_t low, end;
	uint32_t step;
};

struct fa_track {
	uint64_t live, low;	       /* now, and the lowest within `step` */
	struct fa_track_value *values; /* finished steps with activity, in the caller's arena */
	uint32_t step;
	uint16_t n, capacity;
};

/* Put the finished step away; false when out of memory. */
bool fa_track_flush(struct fa_track *track, uint32_t step, struct ft_arena *arena);

/* Add to the figure in `step` (modulo 2^64: also a subtraction). */
static inline bool fa_track_add(struct fa_track *track, uint32_t step, uint64_t delta,
				struct ft_arena *arena)
{
	if (__builtin_expect(track->step != step, 0) && !fa_track_flush(track, step, arena))
		return false;
	track->live += delta;
	if (track->live < track->low)
		track->low = track->live;
	return true;
}

/* In the place of a step: nothing has happened since the caller began. */
#define FA_TRACK_IDLE UINT32_MAX

/* The figure is `live` when the caller begins, in `step`, or before any: FA_TRACK_IDLE. */
static inline void fa_track_begin(struct fa_track *track, uint32_t step, uint64_t live)
{
	track->live = track->low = live;
	track->step = step;
}

/* Put the steps of `earlier` before those of `track`, which began idle with what that ended with.
 * As if one had seen both: steps in which nothing happened have no value. False when out of memory.
 */
bool fa_track_join(struct fa_track *track, const struct fa_track *earlier, struct ft_arena *arena);

/* Add the whole series to `low` and `end`, quiet steps held. Lows of several tracks add up to a
 * lower bound of the low of their sum. */
void fa_track_expand(const struct fa_track *track, uint64_t low[FA_TRACK_STEPS],
		     uint64_t end[FA_TRACK_STEPS]);

#endif

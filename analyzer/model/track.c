/* SPDX-License-Identifier: MIT */
/* Tracks: see fa_track.h. */
#include "fa_track.h"

#include <string.h>

bool fa_track_flush(struct fa_track *track, uint32_t step, struct ft_arena *arena)
{
	if (track->step == FA_TRACK_IDLE) {
		track->low = track->live;
		track->step = step;
		return true;
	}
	if (track->n == track->capacity) {
		uint16_t capacity = track->capacity ? (uint16_t)(track->capacity * 2) : 2;
		struct fa_track_value *values = ft_arena_alloc(arena, capacity * sizeof(*values));

		if (!values)
			return false;
		if (track->n)
			memcpy(values, track->values, track->n * sizeof(*values));
		track->values = values;
		track->capacity = capacity;
	}
	track->values[track->n++] =
		(struct fa_track_value){.low = track->low, .end = track->live, .step = track->step};
	track->low = track->live;
	track->step = step;
	return true;
}

bool fa_track_join(struct fa_track *track, const struct fa_track *earlier, struct ft_arena *arena)
{
	const struct fa_track_value last = {
		.low = earlier->low, .end = earlier->live, .step = earlier->step};
	size_t n = earlier->n + (size_t)track->n, room = n + 1, at = earlier->n;
	bool is_idle = track->step == FA_TRACK_IDLE;
	struct fa_track_value *values;

	if (last.step == FA_TRACK_IDLE)
		return true;
	if (is_idle) {
		track->step = last.step;
		track->low = last.low;
	}
	if (!earlier->n && is_idle)
		return true;
	values = ft_arena_alloc(arena, room * sizeof(*values));
	if (!values)
		return false;
	if (earlier->n)
		memcpy(values, earlier->values, earlier->n * sizeof(*values));
	if (last.step < (track->n ? track->values[0].step : track->step))
		values[at++] = last;
	else if (track->n && last.low < track->values[0].low)
		track->values[0].low = last.low;
	else if (!track->n && last.low < track->low)
		track->low = last.low;
	if (track->n)
		memcpy(values + at, track->values, track->n * sizeof(*values));
	track->values = values;
	track->n = (uint16_t)(at + track->n);
	track->capacity = (uint16_t)room;
	return true;
}

static void add(uint64_t *low, uint64_t *end, uint32_t from, uint32_t to, uint64_t value)
{
	for (uint32_t i = from; i < to && i < FA_TRACK_STEPS; i++) {
		low[i] += value;
		end[i] += value;
	}
}

void fa_track_expand(const struct fa_track *track, uint64_t low[FA_TRACK_STEPS],
		     uint64_t end[FA_TRACK_STEPS])
{
	uint64_t held = 0;
	uint32_t step = 0;

	/* Every track starts in step 0, so that nothing is held before its first value. */
	for (uint16_t i = 0; i <= track->n; i++) {
		struct fa_track_value value = {
			.low = track->low, .end = track->live, .step = track->step};

		if (i < track->n)
			value = track->values[i];
		add(low, end, step, value.step, held);
		if (value.step < FA_TRACK_STEPS) {
			low[value.step] += value.low;
			end[value.step] += value.end;
		}
		step = value.step + 1;
		held = value.end;
	}
	add(low, end, step, FA_TRACK_STEPS, held);
}

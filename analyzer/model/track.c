/* SPDX-License-Identifier: MIT */
/* Tracks: see fa_track.h. */
#include "fa_track.h"

#include <string.h>

bool fa_track_flush(struct fa_track *track, uint32_t step, struct ft_arena *arena)
{
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

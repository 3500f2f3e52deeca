/* SPDX-License-Identifier: MIT */
/* Who mapped which addresses: see co_ranges.h. */
#include "co_ranges.h"

#include <stdlib.h>
#include <string.h>

void co_ranges_deinit(struct co_ranges *ranges)
{
	free(ranges->list);
	ranges->list = NULL;
	ranges->n = ranges->capacity = 0;
}

static void tell(struct co_ranges *ranges, uint32_t site, int64_t bytes, int32_t n)
{
	if (ranges->changed)
		ranges->changed(ranges->ctx, site, bytes, n);
}

/* The first in the list that begins below `address`. */
static uint32_t first_below(const struct co_ranges *ranges, uint64_t address)
{
	uint32_t low = 0, high = ranges->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (ranges->list[middle].start < address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void join_neighbours(struct co_ranges *ranges)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ranges->n; i++) {
		const struct co_range range = ranges->list[i];
		struct co_range *above = n ? &ranges->list[n - 1] : NULL;

		if (above && above->start == range.end && above->site == range.site &&
		    above->born < ranges->settled && range.born < ranges->settled) {
			above->start = range.start;
			if (range.born > above->born)
				above->born = range.born;
			tell(ranges, range.site, 0, -1);
			continue;
		}
		ranges->list[n++] = range;
	}
	ranges->n = n;
}

/* Room for one more. False: there is none. */
static bool make_room(struct co_ranges *ranges)
{
	uint32_t capacity = ranges->capacity ? ranges->capacity * 2 : 64;
	struct co_range *list;

	if (ranges->n < ranges->capacity)
		return true;
	join_neighbours(ranges);
	if (ranges->n < ranges->capacity / 4 * 3)
		return true;
	list = capacity <= CO_RANGES_MAX ? realloc(ranges->list, capacity * sizeof(*list)) : NULL;
	if (!list)
		return ranges->n < ranges->capacity;
	ranges->list = list;
	ranges->capacity = capacity;
	return true;
}

/* The range overlaps with none. Room may be made: indices are not what they were. */
static void insert(struct co_ranges *ranges, const struct co_range *range)
{
	uint32_t at;

	if (!make_room(ranges)) {
		ranges->n_left_out++;
		return;
	}
	at = first_below(ranges, range->start);
	memmove(ranges->list + at + 1, ranges->list + at, (ranges->n - at) * sizeof(*range));
	ranges->list[at] = *range;
	ranges->n++;
	tell(ranges, range->site, (int64_t)(range->end - range->start), 1);
}

void co_ranges_cut(struct co_ranges *ranges, uint64_t start, uint64_t end, uint64_t born)
{
	uint32_t from = first_below(ranges, end), to = from, n = from;
	struct co_range rest = {0}; /* of one that goes beyond both ends: there is no other then */

	for (; to < ranges->n && ranges->list[to].end > start; to++) {
		struct co_range range = ranges->list[to];
		uint64_t low = range.start > start ? range.start : start;
		uint64_t high = range.end < end ? range.end : end;
		int32_t n_left = (range.end > high) + (range.start < low);

		if (range.born > born) {
			ranges->list[n++] = range;
			continue;
		}
		if (n_left == 2) {
			/* The lower part is put in again, as one that is new. */
			rest = range;
			rest.end = low;
			low = range.start;
		}
		tell(ranges, range.site, -(int64_t)(high - low), n_left ? 0 : -1);
		if (range.end > high) {
			ranges->list[n] = range;
			ranges->list[n++].start = high;
		} else if (range.start < low) {
			ranges->list[n] = range;
			ranges->list[n++].end = low;
		}
	}
	if (n < to) {
		memmove(ranges->list + n, ranges->list + to,
			(ranges->n - to) * sizeof(*ranges->list));
		ranges->n -= to - n;
	}
	if (rest.end)
		insert(ranges, &rest);
}

void co_ranges_add(struct co_ranges *ranges, const struct co_range *range)
{
	uint64_t at = range->end;

	co_ranges_cut(ranges, range->start, range->end, range->born);
	/* Between what is younger, as the word of a handler inside of a hook may come late. */
	while (at > range->start) {
		uint32_t i = first_below(ranges, at);
		bool found = i < ranges->n && ranges->list[i].end > range->start;
		uint64_t next = found ? ranges->list[i].start : range->start;
		struct co_range part = *range;

		part.start = found ? ranges->list[i].end : range->start;
		part.end = at;
		if (part.start < part.end)
			insert(ranges, &part);
		at = next;
	}
}

uint64_t co_ranges_move(struct co_ranges *ranges, uint64_t old, uint64_t old_bytes, uint64_t early,
			uint64_t to, uint64_t bytes, uint64_t born, uint32_t site)
{
	uint64_t end = old + (old_bytes < bytes ? old_bytes : bytes), at = to + bytes, added = 0;
	uint64_t least = to == old && old_bytes < bytes ? to + old_bytes : to == old ? at : to;
	uint32_t from = first_below(ranges, end), n = 0;
	struct co_range *moved = NULL;

	while (from + n < ranges->n && ranges->list[from + n].end > old)
		n++;
	if (n)
		moved = malloc(n * sizeof(*moved)); /* none: all of it is the caller's */
	if (moved)
		memcpy(moved, ranges->list + from, n * sizeof(*moved));
	co_ranges_cut(ranges, old, old + old_bytes, early);
	co_ranges_cut(ranges, to, to + bytes, UINT64_MAX);

	/* Downwards, as the list is; between those that move is what the site gets. */
	for (uint32_t i = 0; i <= n; i++) {
		struct co_range range = {.start = to, .end = to, .born = born};
		bool is_last = i == n || !moved;

		if (!is_last) {
			uint64_t low = moved[i].start > old ? moved[i].start : old;
			uint64_t high = moved[i].end < end ? moved[i].end : end;

			if (moved[i].born > early)
				continue;
			range.start = low - old + to;
			range.end = high - old + to;
			range.site = moved[i].site;
		}
		struct co_range gap = {.start = range.end, .end = at, .born = born, .site = site};

		if (gap.start < least)
			gap.start = least;
		if (gap.start < gap.end) {
			insert(ranges, &gap);
			added += gap.end - gap.start;
		}
		if (is_last)
			break;
		insert(ranges, &range);
		at = range.start;
	}
	free(moved);
	return added;
}

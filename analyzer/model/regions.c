/* SPDX-License-Identifier: MIT */
/* Regions: see fa_regions.h. */
#include "fa_regions.h"

#include <stdlib.h>
#include <string.h>

void fa_regions_deinit(struct fa_regions *regions)
{
	free(regions->items);
	*regions = (struct fa_regions){0};
}

size_t fa_regions_index(const struct fa_regions *regions, uint64_t address)
{
	size_t low = 0, high = regions->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (regions->items[mid].end < address)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool fa_regions_meet(const struct fa_regions *regions, uint64_t start, uint64_t end)
{
	size_t i = fa_regions_index(regions, start + 1);

	return i < regions->n && regions->items[i].start < end;
}

struct ft_error *fa_regions_cover(struct fa_regions *regions, uint64_t start, uint64_t end,
				  uint8_t tags)
{
	size_t first = fa_regions_index(regions, start), last = first;

	if (first < regions->n && regions->items[first].start <= start &&
	    regions->items[first].end >= end) {
		regions->items[first].tags |= tags;
		return NULL;
	}
	while (last < regions->n && regions->items[last].start <= end)
		last++;

	if (first == last) {
		if (regions->n == regions->room) {
			size_t room = regions->room ? regions->room * 2 : 16;
			struct fa_region *items = realloc(regions->items, room * sizeof(*items));

			if (!items)
				return &ft_enomem;
			regions->items = items;
			regions->room = room;
		}
		memmove(regions->items + first + 1, regions->items + first,
			(regions->n - first) * sizeof(*regions->items));
		regions->items[first] = (struct fa_region){start, end, tags};
		regions->n++;
		return NULL;
	}

	/* One region takes over all that it touches. */
	struct fa_region *into = &regions->items[first];

	for (size_t i = first; i < last; i++)
		tags |= regions->items[i].tags;
	if (start < into->start)
		into->start = start;
	into->end = regions->items[last - 1].end > end ? regions->items[last - 1].end : end;
	into->tags = tags;
	memmove(into + 1, regions->items + last, (regions->n - last) * sizeof(*regions->items));
	regions->n -= last - first - 1;
	return NULL;
}

/* SPDX-License-Identifier: MIT */
/* Scan of events: see ft_vtab_scan.h. */
#include "ft_vtab_scan.h"

#include <stdlib.h>

static bool in_range(struct ft_vtab_range range, uint64_t value)
{
	return value >= range.low && value <= range.high;
}

static bool overlaps(struct ft_vtab_range range, uint64_t low, uint64_t high)
{
	return low <= range.high && high >= range.low;
}

/* The one value of a range, if it has just one that an id can have. */
static const uint32_t *only(struct ft_vtab_range range, uint32_t *value)
{
	if (range.low != range.high || range.low > UINT32_MAX)
		return NULL;
	*value = (uint32_t)range.low;
	return value;
}

static bool chunk_may_match(struct ft_scan *scan, size_t index)
{
	const struct ft_chunk_info *info = &scan->catalog->chunks[index];
	const struct ft_scan_filter *filter = &scan->filter;
	uint32_t thread, stack;

	if (!overlaps(filter->time, info->first_ns, info->last_ns) ||
	    !overlaps(filter->seq, info->first_seq, info->first_seq + info->n_events - 1) ||
	    !overlaps(filter->address, info->min_address, info->max_address))
		return false;
	return ft_catalog_may_have(scan->catalog, index, only(filter->thread, &thread),
				   only(filter->stack, &stack));
}

static bool event_matches(const struct ft_scan_filter *filter, const struct ft_event *event)
{
	return in_range(filter->time, event->time_ns) && in_range(filter->seq, event->seq) &&
	       in_range(filter->address, event->address) && in_range(filter->stack, event->stack) &&
	       in_range(filter->thread, event->thread);
}

void ft_scan_start(struct ft_scan *scan, const struct ft_scan_filter *filter)
{
	size_t by_seq = ft_catalog_find_seq(scan->catalog, filter->seq.low);
	size_t by_time = ft_catalog_find_ns(scan->catalog, filter->time.low);

	scan->filter = *filter;
	scan->chunk = by_seq > by_time ? by_seq : by_time;
	scan->at = scan->n_events = 0;
	scan->event = NULL;
}

static struct ft_error *enter_chunk(struct ft_scan *scan, size_t index)
{
	const struct ft_chunk_info *info = &scan->catalog->chunks[index];

	if (scan->decoded != index + 1) {
		scan->decoded = 0;
		if (!scan->events)
			scan->events = malloc(FT_CHUNK_EVENTS * sizeof(*scan->events));
		if (!scan->events)
			return &ft_enomem;

		size_t n;

		FT_TRY(ft_catalog_chunk(scan->catalog, index, scan->events, &n));
		scan->decoded = index + 1;
	}
	scan->n_events = info->n_events;
	scan->at = scan->filter.seq.low > info->first_seq
			   ? (size_t)(scan->filter.seq.low - info->first_seq)
			   : 0;
	return NULL;
}

struct ft_error *ft_scan_next(struct ft_scan *scan)
{
	for (;;) {
		while (scan->at < scan->n_events) {
			const struct ft_event *event = &scan->events[scan->at++];

			if (event->time_ns > scan->filter.time.high ||
			    event->seq > scan->filter.seq.high) {
				scan->event = NULL;
				return NULL;
			}
			if (event_matches(&scan->filter, event)) {
				scan->event = event;
				return NULL;
			}
		}
		do {
			if (scan->chunk >= scan->catalog->n_chunks ||
			    scan->catalog->chunks[scan->chunk].first_ns > scan->filter.time.high) {
				scan->event = NULL;
				return NULL;
			}
		} while (!chunk_may_match(scan, scan->chunk++));
		FT_TRY(enter_chunk(scan, scan->chunk - 1));
	}
}

void ft_scan_deinit(struct ft_scan *scan)
{
	free(scan->events);
	scan->events = NULL;
}

void ft_scan_cost(const struct ft_catalog *catalog, sqlite3_index_info *info, bool one, bool window,
		  bool selected)
{
	double rows = (double)catalog->n_events;

	if (one)
		rows = 1;
	if (window)
		rows /= 100;
	/* Such events lie in most chunks: fewer rows, but hardly less work. */
	info->estimatedCost = rows + FT_CHUNK_EVENTS;
	if (selected) {
		rows /= 50;
		info->estimatedCost *= 0.7;
	}
	info->estimatedRows = rows < 1 ? 1 : (int64_t)rows;
}

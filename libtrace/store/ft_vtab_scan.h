/* SPDX-License-Identifier: MIT */
/*
 * Scan: the events of a recording that a filter lets through, in order
 *
 * Chunks that can't have such events are not decoded. The chunk decoded last is kept over a
 * restart, so that a join which comes back to the same chunk does not decode it again.
 */
#ifndef FT_VTAB_SCAN_H
#define FT_VTAB_SCAN_H

#include "ft_catalog.h"
#include "ft_vtab.h"

struct ft_scan_filter {
	struct ft_vtab_range seq, time, address, stack, thread;
};

struct ft_scan {
	struct ft_catalog *catalog;
	struct ft_scan_filter filter;
	const struct ft_event *event; /* the one at hand; NULL at the end */

	struct ft_event *events; /* FT_CHUNK_EVENTS, on first use */
	size_t n_events, at;	 /* in the chunk at hand */
	size_t chunk;		 /* the next one to look at */
	size_t decoded;		 /* which one `events` holds, + 1; 0: none */
};

/* Set the filter; then call ft_scan_next() for the first event. */
void ft_scan_start(struct ft_scan *scan, const struct ft_scan_filter *filter);
struct ft_error *ft_scan_next(struct ft_scan *scan);
void ft_scan_deinit(struct ft_scan *scan);

/* What SQLite should think of a scan: one event, a window, events of one stack or thread, or all.
 */
void ft_scan_cost(const struct ft_catalog *catalog, sqlite3_index_info *info, bool one, bool window,
		  bool selected);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The program's own mappings, by the calls that made them
 *
 * Each call is a row, as far as CO_MAP_ROWS goes. What each site has mapped and not unmapped is
 * kept for the whole run. None of it is an event: blocks and their totals do not know of it.
 */
#ifndef CO_MAPPED_H
#define CO_MAPPED_H

#include <stdbool.h>
#include <stdint.h>

#include "fragtrace/store.h"

#include "co_ranges.h"
#include "co_record.h"
#include "ft_map.h"

struct co_ring;
struct co_session;

/* Rows of single calls, and sites. What comes later is counted. */
enum { CO_MAP_ROWS = 1 << 20, CO_MAP_SITES = 1 << 20 };

struct co_mapped {
	struct co_ranges ranges; /* sites as in `sites` */
	struct ft_map by_key;	 /* stack, call and advice -> index + 1 */
	struct ft_map_site_row *sites;
	bool *dirty;
	uint32_t n_sites, capacity;
	uint64_t n_calls, n_rows;
	uint64_t live_bytes, peak_bytes;
};

void co_mapped_init(struct co_mapped *mapped);
void co_mapped_deinit(struct co_mapped *mapped);

/* A FT_WIRE_MAP record. False: it is none. */
bool co_mapped_record(struct co_session *session, struct co_ring *ring,
		      const struct co_record *record, uint64_t time_ns);

/* The rows of the sites that have changed. */
void co_mapped_write(struct co_session *session);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Page map: which pages hold live bytes, how many, and whose
 *
 * Fed with the extents of live blocks, one add and one remove a block. A block covers its interior
 * pages alone, so that only its first and last page need a record: an update takes constant time
 * whatever the size of the block.
 *
 * For a page p of P bytes let L(p) be its live bytes, S(p) the sites with live bytes on it, and
 * F(p) = P - L(p) its free bytes. Removing all blocks of a set of sites T frees the pages with
 * S(p) within T; as a cooperative game this is a sum of unanimity games, so that
 *
 *	sole(s)    = sum of F(p) where S(p) = {s}           what removing s alone gives back
 *	shapley(s) = sum of F(p) / |S(p)| where s in S(p)   fair share; adds up to the pinned bytes
 *	any(s)     = sum of F(p) where s in S(p)            what it gives when s goes last
 *
 * Always: sole <= shapley <= any for each site, and the shapley values of all sites add up to
 * pinned_free_bytes.
 *
 * Extents should not overlap (fa_holes finds those that do). Single-threaded.
 */
#ifndef FA_PAGEMAP_H
#define FA_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_error.h"
#include "ft_map.h"

enum {
	FA_PAGE_SHIFT = 12,
	FA_HUGE_SHIFT = 21,
	FA_OCCUPANCY = 11, /* empty, then ten deciles: [0, 10 %) without empty, ... [90, 100 %] */
	FA_PAGE_SITES = 3, /* sites that a page record holds itself */
	FA_PAGE_RECENT = 64,
};

/* All values are exact after each add and remove. */
struct fa_page_totals {
	uint64_t live_bytes;		  /* sum of the extents */
	uint64_t live_pages;		  /* pages with at least one live byte */
	uint64_t pinned_free_bytes;	  /* free bytes on those pages */
	uint64_t occupancy[FA_OCCUPANCY]; /* live pages by decile; [0] stays 0: the map does not
					   * know which empty pages belong to the heap */
};

struct fa_page; /* 28 bytes, in groups of 16 neighbours */
struct fa_page_spill;

struct fa_pagemap {
	unsigned shift;
	bool with_sites;
	struct ft_map groups;  /* page / 16 -> index of the group */
	struct fa_page **slab; /* groups, FA_SLAB to an allocation */
	size_t n_groups, n_slabs, slab_room;
	struct {
		uint64_t key; /* + 1; 0: none */
		struct fa_page *group;
	} recent[FA_PAGE_RECENT];     /* groups found lately, by the low bits of their key */
	struct fa_page_spill *spills; /* pages with more than FA_PAGE_SITES sites */
	size_t n_spills, spill_room;
	uint32_t free_spill; /* list of unused entries, UINT32_MAX ends it */
	uint64_t *interior;  /* by site: pages that its blocks cover alone */
	size_t n_interior;
	struct fa_page_totals totals;
};

/* `shift`: log2 of the page size, 12 to 21. Without sites only the totals are kept. */
void fa_pagemap_init(struct fa_pagemap *map, unsigned shift, bool with_sites);
void fa_pagemap_deinit(struct fa_pagemap *map);

/*
 * The block [start, end) of `site` came to life. Refused (*refused, nothing changed) when one of
 * its edge pages has no room for it, as blocks that overlap others may find it: remove only what
 * was taken. After an error only deinit is allowed.
 */
struct ft_error *fa_pagemap_add(struct fa_pagemap *map, uint64_t start, uint64_t end, uint32_t site,
				bool *refused);
/* It died. Exactly what was added before. */
void fa_pagemap_remove(struct fa_pagemap *map, uint64_t start, uint64_t end, uint32_t site);

/* An update at `address` is coming soon: start to fetch its record. */
void fa_pagemap_prefetch(struct fa_pagemap *map, uint64_t address);
/* The record should be there by now: fetch what hangs on it. */
void fa_pagemap_prefetch_sites(struct fa_pagemap *map, uint64_t address);

/* Live bytes of the page that holds `address` as far as it has a record; interior pages of one
 * block read as 0. For tests and close-ups. */
uint32_t fa_pagemap_live(const struct fa_pagemap *map, uint64_t address);

/* True when `address` lies on a page with both live and free bytes. */
static inline bool fa_pagemap_partial(const struct fa_pagemap *map, uint64_t address)
{
	uint32_t live = fa_pagemap_live(map, address);

	return live && live < UINT32_C(1) << map->shift;
}

struct fa_pin {
	uint64_t sole, any;
	double shapley;
	uint64_t pages_sole; /* pages that removing the site alone empties, full ones too */
	uint64_t pages_any;  /* pages with free bytes that it holds a part of */
};

/* Add each page to `pins`, indexed by site; sites >= n are left out. */
void fa_pagemap_pins(const struct fa_pagemap *map, struct fa_pin *pins, size_t n);

/* The equations above, recomputed from the records. For tests. */
bool fa_pagemap_check(const struct fa_pagemap *map);

/* Memory held, and records in use, for the ledger and for tests. */
size_t fa_pagemap_memory(const struct fa_pagemap *map);

#endif

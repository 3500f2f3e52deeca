/* SPDX-License-Identifier: MIT */
/*
 * Page map: which pages hold live bytes, how many, and whose
 *
 * Fed with the extents of live blocks, one add and one remove a block. A block covers its interior
 * pages alone, so that only its first and last page need a record: an update takes constant time
 * whatever the size of the block.
 *
 * For a page p of P bytes let L(p) be its live bytes, S(p) the sites with live bytes on it, and
 * F(p) = P - L(p) its free bytes; a page that is known not to be resident has F(p) = 0. Removing
 *all blocks of a set of sites T frees the pages with S(p) within T; as a cooperative game this is a
 *sum of unanimity games, so that
 *
 *	sole(s)    = sum of F(p) where S(p) = {s}           what removing s alone gives back
 *	shapley(s) = sum of F(p) / |S(p)| where s in S(p)   fair share; adds up to the pinned bytes
 *	any(s)     = sum of F(p) where s in S(p)            what it gives when s goes last
 *
 * Always: sole <= shapley <= any for each site, and the shapley values of all sites add up to
 * pinned_free_bytes: each page's free bytes are dealt out in whole bytes, those that do not divide
 *to one of its sites, whichever way the page came about.
 *
 * Without samples of residency a page with live bytes counts as resident. A sample corrects that;
 * from then on a page that was absent is resident again as soon as a block is born on it.
 *
 * Extents should not overlap (fa_holes finds those that do). Single-threaded.
 */
#ifndef FA_PAGEMAP_H
#define FA_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fa_pool.h"
#include "fa_residency.h"
#include "fa_sparse.h"
#include "ft_error.h"
#include "ft_map.h"

enum {
	FA_PAGE_SHIFT = 12,
	FA_HUGE_SHIFT = 21,
	FA_OCCUPANCY = 11, /* empty, then ten deciles: [0, 10 %) without empty, ... [90, 100 %] */
	FA_PAGE_SITES = 3, /* sites that a page record holds itself */
	FA_PAGE_LISTS = 16,
};

/* All values are exact after each add and remove. */
struct fa_page_totals {
	uint64_t live_bytes;		  /* sum of the extents */
	uint64_t live_pages;		  /* pages with at least one live byte */
	uint64_t pinned_free_bytes;	  /* free bytes on those of them that are resident */
	uint64_t occupancy[FA_OCCUPANCY]; /* live pages by decile; [0] stays 0: the map does not
					   * know which empty pages belong to the heap */
	uint64_t absent_pages;		  /* of live_pages: not resident */
	uint64_t absent_live_bytes;	  /* live bytes on them */
};

struct fa_page; /* 28 bytes, in groups of 16 neighbours */

/* The pages that one block covers alone. */
struct fa_page_span {
	uint64_t first, n_pages; /* n_pages 0: unused, `first` is then the next unused one + 1 */
	uint64_t n_absent;
	uint32_t site;
};

struct fa_pagemap {
	unsigned shift;
	bool with_sites;
	struct fa_sparse groups; /* page / 16 -> index of the group + 1 */
	struct fa_page **slab;	 /* groups, FA_SLAB to an allocation */
	size_t n_groups, n_slabs, slab_room;
	struct fa_pool pool;		 /* slabs, and lists of pages with many sites */
	void *free_lists[FA_PAGE_LISTS]; /* by room: unused ones; each begins with the next */
	size_t list_bytes;
	uint64_t *keys;		/* by group: page / 16 */
	struct ft_map span_map; /* first page -> index of the span */
	struct fa_page_span *spans;
	size_t n_spans, span_room;
	uint64_t free_span; /* + 1; 0: none */
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

/* Pages with live bytes on which a block came and went are resident: its first and its last, as all
 * that is between them was its own. */
void fa_pagemap_touch(struct fa_pagemap *map, uint64_t start, uint64_t end);

/* An update at `address` is coming: start to fetch its record. Some updates later, when it should
 * be there, fetch what hangs on it. */
void fa_pagemap_prefetch(struct fa_pagemap *map, uint64_t address);
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

/* Take over what a sample of residency says of pages with live bytes; pages that it does not know
 * count as resident. Returns how many pages with live bytes it says are resident. Only for maps of
 * 4 KiB pages. */
uint64_t fa_pagemap_set_residency(struct fa_pagemap *map, const struct fa_residency *residency);

/* Pages with live bytes that are resident in the sample, whatever happened since. */
uint64_t fa_pagemap_count_resident(const struct fa_pagemap *map,
				   const struct fa_residency *residency);

struct fa_pin {
	uint64_t sole, shapley, any;
	uint64_t
		pages_sole; /* resident pages that removing the site alone empties, full ones too */
	uint64_t pages_any; /* pages with free bytes that it holds a part of */
};

/* Add each page to `pins`, indexed by site; sites >= n are left out. */
void fa_pagemap_pins(const struct fa_pagemap *map, struct fa_pin *pins, size_t n);

/* One page with live and free bytes, and who holds it. */
struct fa_page_view {
	uint64_t address;
	uint32_t live, free_bytes; /* free_bytes 0: not resident, or full */
	uint32_t n_sites;
	bool absent;
	struct fa_page_share {
		uint32_t site, bytes;
		uint32_t blocks; /* that have bytes here; counted for 4 KiB pages only */
	} * sites;		 /* n_sites; valid during the visit */
};
enum { FA_PAGE_VIEW_SITES = 1024 };

/* Visit the pages that have a record and live bytes (all but those inside of blocks), in no
 * particular but a repeatable order. Sites beyond FA_PAGE_VIEW_SITES are not shown. */
void fa_pagemap_visit(const struct fa_pagemap *map,
		      void (*visit)(void *ctx, const struct fa_page_view *page), void *ctx);

/* Visit the stretches of pages that one block covers alone. */
void fa_pagemap_visit_spans(const struct fa_pagemap *map,
			    void (*visit)(void *ctx, const struct fa_page_span *span), void *ctx);

/*
 * The same map seen in pages of 2^huge_shift bytes (more than its own): totals and, unless `pins`
 * is NULL, what each site holds, which takes time for sorting. Pages count as resident.
 */
struct ft_error *fa_pagemap_coarse(const struct fa_pagemap *map, unsigned huge_shift,
				   struct fa_page_totals *totals, struct fa_pin *pins, size_t n);

/* The equations above, recomputed from the records. For tests. */
bool fa_pagemap_check(const struct fa_pagemap *map);

/* Memory held, and records in use, for the ledger and for tests. */
size_t fa_pagemap_memory(const struct fa_pagemap *map);

#endif

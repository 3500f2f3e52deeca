/* SPDX-License-Identifier: MIT */
/*
 * A zone of the Linux page allocator, as a model
 *
 * A buddy allocator whose pageblocks have migrate types, with the rules of mm/page_alloc.c for what
 * happens when the lists of the wanted type are empty, per-cpu lists in front of it, watermarks,
 *and the reserve for high-order atomic requests. Compaction is in fa_compact.h.
 *
 * Rules differ between kernels:
 *	6.15 and later	claim a whole pageblock if that pays, scanning from the largest block down;
 *			else steal the smallest block that fits and leave its pageblock as it is
 *			(__rmqueue_claim(), __rmqueue_steal())
 *	up to 6.14	one pass from the largest block down; a small movable request that can't
 *have the pageblock takes the smallest block (__rmqueue_fallback())
 *
 * What the model leaves out: reclaim, NUMA and other zones, page guards, shuffling, CMA. Which page
 * of a list is handed out is the kernel's rule; the lists' order at the start is not known from
 * outside, so that a replay agrees in distribution, never page by page.
 *
 * Single-threaded. Pages are as in fa_buddy.h, 4 KiB each unless the caller means something else.
 */
#ifndef FA_ZONE_H
#define FA_ZONE_H

#include "fa_buddy.h"

enum fa_migratetype {
	FA_UNMOVABLE,
	FA_MOVABLE,
	FA_RECLAIMABLE,
	FA_HIGHATOMIC,
	FA_ISOLATE,
	FA_MIGRATETYPES,
};

enum fa_zone_rules { FA_RULES_6_15, FA_RULES_6_14 };

enum {
	FA_COSTLY_ORDER = 3, /* PAGE_ALLOC_COSTLY_ORDER: per-cpu lists hold orders up to it */
	FA_PCP_TYPES = 3,    /* UNMOVABLE, MOVABLE, RECLAIMABLE */
	FA_PCP_LISTS = FA_PCP_TYPES * (FA_COSTLY_ORDER + 1) + 2, /* + order 9, movable or not */
	FA_MAX_CPUS = 256,
};

enum fa_watermark { FA_WMARK_MIN, FA_WMARK_LOW, FA_WMARK_HIGH, FA_WMARKS };

struct fa_zone_options {
	enum fa_zone_rules rules;
	bool no_grouping;   /* page_group_by_mobility_disabled: a machine with little memory */
	bool zone_movable;  /* every pageblock is MOVABLE; other requests are refused */
	bool no_fragment;   /* ALLOC_NOFRAGMENT on every request, as vm.defrag_mode has it */
	unsigned cpus;	    /* with per-cpu lists; 0: requests go to the buddy directly */
	unsigned pcp_batch; /* pages to a refill or drain (/proc/zoneinfo: batch) */
	unsigned pcp_high;  /* pages that a cpu may hold (zoneinfo: high) */
	uint64_t watermarks[FA_WMARKS]; /* pages (zoneinfo: min, low, high) */
	unsigned boost_factor; /* vm.watermark_boost_factor; the kernel's default is 15000 */
};

struct fa_pcp_list {
	uint32_t *pages; /* the last one is the hottest */
	unsigned n, room;
};

struct fa_pcp {
	struct fa_pcp_list lists[FA_PCP_LISTS];
	unsigned count; /* pages */
	unsigned next;	/* list that the next drain begins with */
};

/* What happened so far. */
struct fa_zone_counts {
	uint64_t requests, failed;
	uint64_t fallbacks; /* requests served from another type (mm_page_alloc_extfrag) */
	uint64_t claims;    /* of which a pageblock changed its type */
	uint64_t steals;    /* of which one block was taken and the pageblock stays mixed */
	uint64_t pcp_hits, refills, drains;
	uint64_t boosts;				     /* watermark boosts */
	uint64_t highatomic_reserved, highatomic_unreserved; /* pageblocks */
};

struct fa_zone {
	struct fa_buddy buddy;
	struct fa_zone_options options;
	struct fa_pcp *pcps; /* options.cpus of them */
	uint64_t managed_pages;
	uint64_t watermark_boost; /* pages */
	uint64_t n_highatomic;	  /* pages in pageblocks of that type */
	struct fa_zone_counts counts;
	/* Compaction's memory: fa_compact.h. */
	struct fa_zone_compact {
		uint32_t migrate_page[2], free_page; /* where the scanners go on; async, sync */
		unsigned considered, defer_shift;
		int order_failed;
		uint8_t *skip; /* a pageblock: PB_compact_skip */
	} compact;
};

struct fa_zone_request {
	unsigned order;
	enum fa_migratetype type;
	unsigned cpu;
	bool atomic; /* GFP_ATOMIC of high order: may use, and causes, the HIGHATOMIC reserve */
};

/* All pages absent; all pageblocks MOVABLE. Fill it with fa_buddy_add() and fa_buddy_add_used(), or
 * fa_zone_add(), then call fa_zone_ready(). */
struct ft_error *fa_zone_init(struct fa_zone *zone, uint64_t n_pages,
			      const struct fa_zone_options *options);
void fa_zone_deinit(struct fa_zone *zone);

/* The pageblock of `page` has this type; before it is filled. */
void fa_zone_set_type(struct fa_zone *zone, uint32_t page, enum fa_migratetype type);
/* Filled: counts the managed pages. */
void fa_zone_ready(struct fa_zone *zone);

/* First page of the block, or FA_BUDDY_NONE: no memory of that kind (*error NULL), or none for the
 * model itself. A MOVABLE block carries FA_PAGE_MOVABLE in buddy.state. */
uint32_t fa_zone_alloc(struct fa_zone *zone, struct fa_zone_request request,
		       struct ft_error **error);

/* False, and nothing is changed, unless exactly this block is in use. */
bool fa_zone_free(struct fa_zone *zone, uint32_t page, unsigned order, unsigned cpu,
		  struct ft_error **error);

/* The per-cpu lists go back to the buddy (drain_all_pages()). */
void fa_zone_drain(struct fa_zone *zone);

/* Pages in per-cpu lists: neither free for the buddy nor in use. */
uint64_t fa_zone_pcp_pages(const struct fa_zone *zone);

/* The pageblock of the reserve give back their type (unreserve_highatomic_pageblock()): one that
 * has a free block becomes `type`. False: there was none. */
bool fa_zone_unreserve(struct fa_zone *zone, enum fa_migratetype type);

/* __zone_watermark_ok(): may a request of this order go ahead while `mark` pages stay free? */
bool fa_zone_watermark_ok(const struct fa_zone *zone, unsigned order, uint64_t mark, bool atomic);

/* Free pages of a pageblock, and used ones that are movable. */
void fa_zone_count_block(const struct fa_zone *zone, uint32_t page, unsigned *n_free,
			 unsigned *n_movable);

/* Pageblocks that hold used pages of other mobility than their type says: what fallbacks leave. */
uint64_t fa_zone_mixed_blocks(const struct fa_zone *zone);

/* Per-cpu lists and buddy agree. For tests. */
bool fa_zone_check(const struct fa_zone *zone);

/* ---- the rules, for those who explain them ----------------------------------------------------
 */

/* The types to fall back to, in order (mm/page_alloc.c: fallbacks[]). */
extern const uint8_t fa_zone_fallbacks[FA_PCP_TYPES][2];

/* should_try_claim_block(), formerly can_steal_fallback(). */
bool fa_zone_should_claim(const struct fa_zone *zone, unsigned order, enum fa_migratetype type);

/* find_suitable_fallback(): the type of a list of `order` that a request may be served from; -1:
 * none there; -2 (rules of 6.15, `claimable`): nor in any smaller order. */
int fa_zone_find_fallback(const struct fa_zone *zone, unsigned order, enum fa_migratetype type,
			  bool claimable);

#endif

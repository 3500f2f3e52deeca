/* SPDX-License-Identifier: MIT */
/*
 * Memory compaction, as a model (mm/compaction.c; rules read in v6.5 and v6.19)
 *
 * Two scanners: one goes up from the start of the zone and isolates movable blocks, 32 pages at a
 * time; the other goes down from its end and isolates free ones for them to move to. They end where
 * they meet, or when enough has been won.
 *
 * Left out: the searches of the free lists that only make the kernel's scanners faster
 * (fast_find_migrateblock(), fast_isolate_freepages()), contention, page locks and dirty pages: a
 * block that is marked movable moves.
 *
 * Times are not modelled: the cost of a run is what it scans and what it copies.
 */
#ifndef FA_COMPACT_H
#define FA_COMPACT_H

#include "fa_zone.h"

enum fa_compact_mode {
	FA_COMPACT_ASYNC,      /* the first direct attempt: only pageblocks of the wanted type */
	FA_COMPACT_SYNC_LIGHT, /* direct retries, kcompactd */
	FA_COMPACT_SYNC,       /* /proc/sys/vm/compact_memory */
};

enum fa_compact_result {
	FA_COMPACT_SKIPPED,  /* not suitable: too little is free, or it is not fragmentation */
	FA_COMPACT_DEFERRED, /* it failed lately */
	FA_COMPACT_SUCCESS,  /* a block of the order can be had, or the score is low enough */
	FA_COMPACT_COMPLETE, /* the whole zone was scanned */
	FA_COMPACT_PARTIAL,  /* the scanners met, having begun somewhere inside */
	FA_COMPACT_STOPPED,  /* max_pages */
};

struct fa_compact_request {
	int order; /* that is wanted; -1: as much as can be had */
	enum fa_migratetype type;
	enum fa_compact_mode mode;
	bool whole_zone; /* scan from the ends, and ignore what earlier runs remember */
	bool any_target; /* pageblocks of every type may be moved to (ignore_block_suitable) */
	unsigned proactiveness;	 /* not 0: go on until the score is below its low mark */
	unsigned max_move_order; /* movable blocks up to it are moved: whole (large folios, 6.10),
				  * or page by page where no free block is as large */
	uint64_t max_pages;	 /* copied, by all runs that `stats` counts; 0: no limit */
	/* A block has moved. May be NULL. */
	void (*moved)(void *context, uint32_t from, uint32_t to, unsigned order);
	void *context;
};

struct fa_compact_stats {
	uint64_t migrate_scanned, free_scanned; /* pages looked at */
	uint64_t isolated;			/* pages taken by the free scanner */
	uint64_t moved_pages, moved_blocks;
	uint64_t batches;
};

/* One run of compact_zone(); what it does is added to `stats`. *error: no memory for the model; the
 * zone is as after a shorter run.
 */
enum fa_compact_result fa_compact(struct fa_zone *zone, const struct fa_compact_request *request,
				  struct fa_compact_stats *stats, struct ft_error **error);

/* ---- what starts it ---------------------------------------------------------------------------
 */

enum { FA_EXTFRAG_THRESHOLD = 500, FA_PROACTIVENESS = 20, FA_DEFER_SHIFT_MAX = 6 };

/*
 * compaction_suitable(): enough is free to move pages to, and, for orders above 3 only, the extfrag
 * index does not say that the lack of memory is the reason (0 <= index <= threshold; -1000, a
 * request that would succeed, passes).
 */
bool fa_compact_suitable(const struct fa_zone *zone, unsigned order, int extfrag_threshold);

/* __alloc_pages_direct_compact(): async first, then sync-light, unless deferred or unsuitable. */
enum fa_compact_result fa_compact_direct(struct fa_zone *zone, unsigned order,
					 enum fa_migratetype type, int extfrag_threshold,
					 struct fa_compact_stats *stats, struct ft_error **error);

/* kcompactd on its own account: runs when the score is above the high mark of `proactiveness`
 * (vm.compaction_proactiveness, 1..100), until it is at the low one. SKIPPED: there was no need. */
enum fa_compact_result fa_compact_proactive(struct fa_zone *zone, unsigned proactiveness,
					    struct fa_compact_stats *stats,
					    struct ft_error **error);

/* echo 1 > /proc/sys/vm/compact_memory */
enum fa_compact_result fa_compact_manual(struct fa_zone *zone, struct fa_compact_stats *stats,
					 struct ft_error **error);

/* fragmentation_score_wmark(): low, and high. */
unsigned fa_compact_score_low(unsigned proactiveness);
unsigned fa_compact_score_high(unsigned proactiveness);

/* fragmentation_score_node(): of all zones, weighted by their present pages. */
unsigned fa_compact_node_score(const struct fa_orders *zones, const uint64_t *present, size_t n);

/* compaction_deferred(), defer_compaction(), compaction_defer_reset() */
bool fa_compact_deferred(struct fa_zone *zone, int order);
void fa_compact_defer(struct fa_zone *zone, int order);
void fa_compact_defer_reset(struct fa_zone *zone, int order, bool alloc_success);

#endif

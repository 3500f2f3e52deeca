/* SPDX-License-Identifier: MIT */
/*
 * The kernel's fragmentation indices
 *
 * Free memory is described as Linux does: n[o] free blocks of 2^o pages, o = 0..10, each naturally
 * aligned. The formulas are those of mm/vmstat.c and mm/compaction.c with their integer divisions,
 * so that they can be compared with /proc/buddyinfo and debugfs digit by digit; fa_uf_index() is
 * the same quantity without rounding, for curves.
 *
 * The source of the blocks may be a zone of the kernel or the page map of one heap.
 */
#ifndef FA_UFI_H
#define FA_UFI_H

#include <stdint.h>

enum { FA_ORDERS = 11, FA_MAX_ORDER = 10 };

struct fa_orders {
	uint64_t n[FA_ORDERS];
};

/*
 * Add (or take away) the free run of pages [start, end), cut as the buddy allocator would hold it:
 * into the fewest naturally aligned blocks of at most 2^10 pages. A maximal run has exactly one
 * such cut. Time is independent of the length.
 */
void fa_orders_add(struct fa_orders *orders, uint64_t start, uint64_t end);
void fa_orders_remove(struct fa_orders *orders, uint64_t start, uint64_t end);

uint64_t fa_orders_free_pages(const struct fa_orders *orders);

/* Unusable free space index, 0..1: the share of free memory that a request of 2^order pages cannot
 * use. 0 when nothing is free: for a heap that is the absence of holes, not of memory. */
double fa_uf_index(const struct fa_orders *orders, unsigned order);

/* debugfs extfrag/unusable_index in thousandths; 1000 when nothing is free. */
unsigned fa_unusable_milli(const struct fa_orders *orders, unsigned order);

/* debugfs extfrag/extfrag_index in thousandths: -1000 when a request would succeed, towards 0 for
 * lack of memory, towards 1000 for fragmentation. */
int fa_extfrag_milli(const struct fa_orders *orders, unsigned order);

/* extfrag_for_order(), percent: what proactive compaction weighs. 0 when nothing is free. */
unsigned fa_frag_score(const struct fa_orders *orders, unsigned order);

#endif

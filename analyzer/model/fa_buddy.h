/* SPDX-License-Identifier: MIT */
/*
 * A binary buddy allocator, as a model
 *
 * Memory is the pages 0 .. n_pages - 1. A page is whatever the caller says it is: 4 KiB of a zone,
 * 4 KiB of a heap, or the smallest block of an arena of 32 bytes. Blocks have 2^order pages and are
 * naturally aligned. Split, merge and the order of the free lists are those of Linux
 * (mm/page_alloc.c: expand(), __free_one_page(), buddy_merge_likely(), v6.19): a block is taken
 * from the head of the list of the smallest order that has one, the upper halves of what is split
 * go to the heads of theirs, and a freed block goes to the head, or to the tail where it is likely
 * to be merged soon.
 *
 * Free blocks are kept apart by the type of the pageblock that they lie in (fa_zone.h gives types a
 * meaning); a plain buddy allocator has one type, 0. As in the kernel, blocks of less than a
 * pageblock only ever merge within one pageblock, hence within one type.
 *
 * Pages start absent: nobody owns them. fa_buddy_add() makes them free. Ten bytes a page;
 * single-threaded.
 */
#ifndef FA_BUDDY_H
#define FA_BUDDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fa_ufi.h"
#include "ft_error.h"

enum {
	FA_BUDDY_ORDERS = 31, /* orders 0 .. 30 */
	FA_BUDDY_TYPES = 6,
	FA_PAGEBLOCK_ORDER = 9, /* of x86-64 with 4 KiB pages */
};

struct fa_buddy_list {
	uint32_t head, tail; /* FA_BUDDY_NONE: empty */
	uint32_t n;
};

enum { FA_BUDDY_NONE = UINT32_MAX };

struct fa_buddy_counts {
	uint64_t allocs, frees, splits, merges;
};

struct fa_buddy {
	uint32_t n_pages;
	unsigned max_order, pageblock_order;
	uint8_t *state; /* a page: see buddy.c */
	struct fa_buddy_link {
		uint32_t next, prev;
	} * links;
	uint8_t *types; /* a pageblock */
	struct fa_buddy_list lists[FA_BUDDY_ORDERS][FA_BUDDY_TYPES];
	uint32_t nonempty[FA_BUDDY_TYPES]; /* a bit an order: its list has blocks */
	uint64_t free_pages;
	struct fa_buddy_counts counts;
};

/* ---- the state of a page --------------------------------------------------------------------- */

/* The first page of a block says what the block is; every other page of it is FA_PAGE_INSIDE. */
enum {
	FA_PAGE_ORDER = 0x1f,
	FA_PAGE_MOVABLE = 0x20, /* with USED: the caller's own mark */
	FA_PAGE_USED = 0x40,
	FA_PAGE_FREE = 0x80,
	FA_PAGE_PARKED = FA_PAGE_USED | FA_PAGE_FREE, /* in a per-cpu list: neither of them */
	FA_PAGE_KIND = FA_PAGE_USED | FA_PAGE_FREE,
	FA_PAGE_INSIDE = 0x00,
	FA_PAGE_ABSENT = 0xff, /* of kind PARKED too, but MOVABLE, which a parked block never is */
};

/* ---- use ------------------------------------------------------------------------------------- */

/* `max_order` <= 30; pageblocks of 2^pageblock_order pages (more than max_order: they never part
 * anything). At most 2^32 - 2^max_order pages. */
struct ft_error *fa_buddy_init(struct fa_buddy *buddy, uint64_t n_pages, unsigned max_order,
			       unsigned pageblock_order);
void fa_buddy_deinit(struct fa_buddy *buddy);

/* More pages at the end, absent so far. On error nothing has changed. */
struct ft_error *fa_buddy_grow(struct fa_buddy *buddy, uint64_t n_pages);

/* Absent pages [start, end) become free, in address order, merged with what is beside them. False,
 * and nothing is changed, unless all of them are absent. */
bool fa_buddy_add(struct fa_buddy *buddy, uint32_t start, uint32_t end);

/* Absent pages [start, end) become used, a block of 2^order pages each that is needed to cover
 * them: what a snapshot says of memory whose blocks are not known. */
bool fa_buddy_add_used(struct fa_buddy *buddy, uint32_t start, uint32_t end);

/* A block of 2^order pages of `type`, or FA_BUDDY_NONE. */
uint32_t fa_buddy_alloc(struct fa_buddy *buddy, unsigned order, unsigned type);

/* The used block [page, page + 2^order) becomes free. `to_tail`: it was freed in a hurry to be
 * merged (FPI_TO_TAIL). False, and nothing is changed, unless it is exactly a used block. */
bool fa_buddy_free(struct fa_buddy *buddy, uint32_t page, unsigned order, bool to_tail);

/*
 * The block at `page` goes soon: start to fetch what is known of it, and whether its buddy is free;
 * and some blocks later, when that should be there, the buddy's place in its list. (gcc takes
 * functions that only prefetch for ones without effect, unless they are inlined before it sees
 * that.)
 */
static inline __attribute__((always_inline)) void fa_buddy_prefetch(const struct fa_buddy *buddy,
								    uint32_t page, unsigned order)
{
	uint32_t other = page ^ (UINT32_C(1) << (order & 31));

	__builtin_prefetch(&buddy->state[page], 1);
	__builtin_prefetch(&buddy->links[page], 1);
	__builtin_prefetch(&buddy->state[other < buddy->n_pages ? other : page]);
}

static inline __attribute__((always_inline)) void fa_buddy_prefetch_merge(
	const struct fa_buddy *buddy, uint32_t page, unsigned order)
{
	uint32_t other = page ^ (UINT32_C(1) << (order & 31));

	/* Most are not. */
	if (__builtin_expect(other < buddy->n_pages && buddy->state[other] & FA_PAGE_FREE, 0))
		__builtin_prefetch(&buddy->links[other], 1);
}

/*
 * For replaying what a real allocator did. Take: exactly this block leaves the free block that
 * holds it, whose rest stays free. Give: it becomes free, whatever used blocks its pages belonged
 * to (the kernel frees in other pieces than it allocated). False, and nothing is changed, if the
 * model's state contradicts it.
 */
bool fa_buddy_take(struct fa_buddy *buddy, uint32_t page, unsigned order);
bool fa_buddy_give(struct fa_buddy *buddy, uint32_t page, unsigned order);

/* Used pages [page, page + 2^order) become exactly one used block, whatever blocks they were of:
 * how the caller frees them need not be how it got them. False, and nothing is changed, unless all
 * of them are used. */
bool fa_buddy_reshape(struct fa_buddy *buddy, uint32_t page, unsigned order);

/* The free block that holds `page`: its first page and its order; FA_BUDDY_NONE if it isn't free.
 */
uint32_t fa_buddy_free_block(const struct fa_buddy *buddy, uint32_t page, unsigned *order);
/* The used block that starts at `page`: true, and its order. */
static inline bool fa_buddy_used_at(const struct fa_buddy *buddy, uint32_t page, unsigned *order);

unsigned fa_buddy_type(const struct fa_buddy *buddy, uint32_t page);
/* The pageblock of `page` changes its type; its free blocks move to the heads of the lists of the
 * new one, in address order (move_freepages_block()). Returns the pages moved. */
uint32_t fa_buddy_retype(struct fa_buddy *buddy, uint32_t page, unsigned type);

/* For allocators built on top (fa_zone.h): this free block leaves its list, its pages are used as
 * one block of 2^order at its start, and the rest goes to the lists of `type`. */
void fa_buddy_expand(struct fa_buddy *buddy, uint32_t page, unsigned order, unsigned high,
		     unsigned type);

/* First block of a list; FA_BUDDY_NONE if it is empty. */
static inline uint32_t fa_buddy_first(const struct fa_buddy *buddy, unsigned order, unsigned type)
{
	return buddy->lists[order][type].head;
}

/* Free blocks by order, orders above 10 counted as blocks of order 10; what fa_ufi.h takes. */
struct fa_orders fa_buddy_orders(const struct fa_buddy *buddy);

/* Every list agrees with the pages and the counts. For tests; linear. */
bool fa_buddy_check(const struct fa_buddy *buddy);

size_t fa_buddy_memory(const struct fa_buddy *buddy);

static inline bool fa_buddy_used_at(const struct fa_buddy *buddy, uint32_t page, unsigned *order)
{
	uint8_t state = buddy->state[page];

	*order = state & FA_PAGE_ORDER;
	return (state & FA_PAGE_KIND) == FA_PAGE_USED;
}

#endif

/* SPDX-License-Identifier: MIT */
/* A binary buddy allocator: see fa_buddy.h. */
#include "fa_buddy.h"

#include <stdlib.h>
#include <string.h>

/* Types below this one merge with each other in blocks of a pageblock or more
 * (migratetype_is_mergeable(), mm/page_alloc.c). */
enum { MERGEABLE_TYPES = 3 };

static uint32_t pages_of(unsigned order)
{
	return UINT32_C(1) << order;
}

struct ft_error *fa_buddy_init(struct fa_buddy *buddy, uint64_t n_pages, unsigned max_order,
			       unsigned pageblock_order)
{
	*buddy = (struct fa_buddy){.max_order = max_order, .pageblock_order = pageblock_order};
	for (unsigned o = 0; o < FA_BUDDY_ORDERS; o++)
		for (unsigned t = 0; t < FA_BUDDY_TYPES; t++)
			buddy->lists[o][t] =
				(struct fa_buddy_list){FA_BUDDY_NONE, FA_BUDDY_NONE, 0};
	if (max_order >= FA_BUDDY_ORDERS)
		return ft_error_create(FT_ERROR_USAGE, "a buddy of order %u: the largest is %d",
				       max_order, FA_BUDDY_ORDERS - 1);
	return fa_buddy_grow(buddy, n_pages);
}

struct ft_error *fa_buddy_grow(struct fa_buddy *buddy, uint64_t n_pages)
{
	size_t old_blocks = (buddy->n_pages >> buddy->pageblock_order) + 1;
	size_t blocks = (n_pages >> buddy->pageblock_order) + 1;
	struct fa_buddy_link *links;
	uint8_t *state, *types;

	if (n_pages > (UINT64_C(1) << 32) - pages_of(buddy->max_order))
		return ft_error_create(FT_ERROR_USAGE, "a buddy of %llu pages is too large",
				       (unsigned long long)n_pages);
	state = realloc(buddy->state, n_pages + 1);
	buddy->state = state ? state : buddy->state;
	links = realloc(buddy->links, (n_pages + 1) * sizeof(*links));
	buddy->links = links ? links : buddy->links;
	types = realloc(buddy->types, blocks);
	if (types && !buddy->types)
		old_blocks = 0;
	buddy->types = types ? types : buddy->types;
	if (!state || !links || !types)
		return &ft_enomem;
	if (blocks > old_blocks)
		memset(types + old_blocks, 0, blocks - old_blocks);
	memset(state + buddy->n_pages, FA_PAGE_ABSENT, n_pages + 1 - buddy->n_pages);
	buddy->n_pages = (uint32_t)n_pages;
	return NULL;
}

void fa_buddy_deinit(struct fa_buddy *buddy)
{
	free(buddy->state);
	free(buddy->links);
	free(buddy->types);
	*buddy = (struct fa_buddy){0};
}

size_t fa_buddy_memory(const struct fa_buddy *buddy)
{
	return sizeof(*buddy) + (size_t)buddy->n_pages * (1 + sizeof(*buddy->links)) +
	       (buddy->n_pages >> buddy->pageblock_order) + 1;
}

unsigned fa_buddy_type(const struct fa_buddy *buddy, uint32_t page)
{
	return buddy->types[page >> buddy->pageblock_order];
}

/* ---- free lists ------------------------------------------------------------------------------ */

static void list_insert(struct fa_buddy *buddy, uint32_t page, unsigned order, unsigned type,
			bool at_tail)
{
	struct fa_buddy_list *list = &buddy->lists[order][type];
	struct fa_buddy_link *link = &buddy->links[page];

	buddy->state[page] = (uint8_t)(FA_PAGE_FREE | order);
	link->prev = at_tail ? list->tail : FA_BUDDY_NONE;
	link->next = at_tail ? FA_BUDDY_NONE : list->head;
	*(link->prev == FA_BUDDY_NONE ? &list->head : &buddy->links[link->prev].next) = page;
	*(link->next == FA_BUDDY_NONE ? &list->tail : &buddy->links[link->next].prev) = page;
	list->n++;
	buddy->nonempty[type] |= pages_of(order);
	buddy->free_pages += pages_of(order);
}

static void list_remove(struct fa_buddy *buddy, uint32_t page, unsigned order, unsigned type)
{
	struct fa_buddy_list *list = &buddy->lists[order][type];
	const struct fa_buddy_link *link = &buddy->links[page];

	buddy->state[page] = FA_PAGE_INSIDE;
	*(link->prev == FA_BUDDY_NONE ? &list->head : &buddy->links[link->prev].next) = link->next;
	*(link->next == FA_BUDDY_NONE ? &list->tail : &buddy->links[link->next].prev) = link->prev;
	if (--list->n == 0)
		buddy->nonempty[type] &= ~pages_of(order);
	buddy->free_pages -= pages_of(order);
}

static bool is_free_block(const struct fa_buddy *buddy, uint32_t page, unsigned order)
{
	return page < buddy->n_pages && buddy->state[page] == (FA_PAGE_FREE | order);
}

static void set_types(struct fa_buddy *buddy, uint32_t page, unsigned order, unsigned type)
{
	uint32_t first = page >> buddy->pageblock_order;

	memset(buddy->types + first, (int)type, (size_t)1 << (order - buddy->pageblock_order));
}

/* ---- split and merge ------------------------------------------------------------------------- */

/* Halve the block [page, page + 2^high), which is on no list, down to 2^order pages at its start.
 */
static void split_down(struct fa_buddy *buddy, uint32_t page, unsigned order, unsigned high,
		       unsigned type)
{
	buddy->counts.splits += high - order;
	while (high > order) {
		high--;
		list_insert(buddy, page + pages_of(high), high, type, false);
	}
}

void fa_buddy_expand(struct fa_buddy *buddy, uint32_t page, unsigned order, unsigned high,
		     unsigned type)
{
	list_remove(buddy, page, high, fa_buddy_type(buddy, page));
	if (high >= buddy->pageblock_order && fa_buddy_type(buddy, page) != type)
		set_types(buddy, page, high, type);
	split_down(buddy, page, order, high, type);
	buddy->state[page] = (uint8_t)(FA_PAGE_USED | order);
	buddy->counts.allocs++;
}

uint32_t fa_buddy_alloc(struct fa_buddy *buddy, unsigned order, unsigned type)
{
	if (order > buddy->max_order || type >= FA_BUDDY_TYPES)
		return FA_BUDDY_NONE;

	uint32_t fit = buddy->nonempty[type] & ~(pages_of(order) - 1);

	if (!fit)
		return FA_BUDDY_NONE;

	unsigned high = (unsigned)__builtin_ctz(fit);
	uint32_t page = buddy->lists[high][type].head;

	list_remove(buddy, page, high, type);
	split_down(buddy, page, order, high, type);
	buddy->state[page] = (uint8_t)(FA_PAGE_USED | order);
	buddy->counts.allocs++;
	return page;
}

/* May blocks of 2^order pages of these types become one? */
static bool may_merge(const struct fa_buddy *buddy, unsigned order, unsigned type, unsigned other)
{
	return order < buddy->pageblock_order || type == other ||
	       (type < MERGEABLE_TYPES && other < MERGEABLE_TYPES);
}

/* buddy_merge_likely(): the block that it would be half of has a free buddy already. */
static bool merge_likely(const struct fa_buddy *buddy, uint32_t page, unsigned order)
{
	uint32_t above = page & ~pages_of(order);

	return order + 1 < buddy->max_order &&
	       is_free_block(buddy, above ^ pages_of(order + 1), order + 1);
}

/* The block, of one type, on no list and of no used block, becomes free. */
static void insert_block(struct fa_buddy *buddy, uint32_t page, unsigned order, bool to_tail)
{
	unsigned type = fa_buddy_type(buddy, page);

	while (order < buddy->max_order) {
		uint32_t other = page ^ pages_of(order);

		if (!is_free_block(buddy, other, order))
			break;

		unsigned other_type = fa_buddy_type(buddy, other);

		if (!may_merge(buddy, order, type, other_type))
			break;
		list_remove(buddy, other, order, other_type);
		if (other_type != type)
			set_types(buddy, other, order, type);
		buddy->state[page] = FA_PAGE_INSIDE;
		page &= other;
		order++;
		buddy->counts.merges++;
	}
	list_insert(buddy, page, order, type, to_tail || merge_likely(buddy, page, order));
}

/* The same for any block. Of several pageblocks each may be of a type of its own by now, and a list
 * has blocks of one: split_large_buddy(). */
static void insert_merged(struct fa_buddy *buddy, uint32_t page, unsigned order, bool to_tail)
{
	unsigned piece = order > buddy->pageblock_order ? buddy->pageblock_order : order;

	for (uint32_t at = page; at < page + pages_of(order); at += pages_of(piece))
		insert_block(buddy, at, piece, to_tail);
}

bool fa_buddy_free(struct fa_buddy *buddy, uint32_t page, unsigned order, bool to_tail)
{
	if (page >= buddy->n_pages || order > buddy->max_order ||
	    (buddy->state[page] & ~FA_PAGE_MOVABLE) != (FA_PAGE_USED | order))
		return false;
	buddy->state[page] = FA_PAGE_INSIDE;
	insert_merged(buddy, page, order, to_tail);
	buddy->counts.frees++;
	return true;
}

uint32_t fa_buddy_retype(struct fa_buddy *buddy, uint32_t page, unsigned type)
{
	uint32_t start = page & ~(pages_of(buddy->pageblock_order) - 1), moved = 0;
	unsigned from = fa_buddy_type(buddy, page), order;
	uint32_t whole = fa_buddy_free_block(buddy, start, &order);

	if (whole != FA_BUDDY_NONE && order >= buddy->pageblock_order) {
		list_remove(buddy, whole, order, from);
		set_types(buddy, whole, order, type);
		list_insert(buddy, whole, order, type, false);
		return pages_of(buddy->pageblock_order);
	}

	uint32_t end = start + pages_of(buddy->pageblock_order);

	for (uint32_t at = start; at < end && at < buddy->n_pages;) {
		uint8_t state = buddy->state[at];

		order = state & FA_PAGE_ORDER;
		if ((state & FA_PAGE_KIND) != FA_PAGE_FREE) {
			at += (state & FA_PAGE_KIND) == FA_PAGE_USED ? pages_of(order) : 1;
			continue;
		}
		list_remove(buddy, at, order, from);
		list_insert(buddy, at, order, type, false);
		moved += pages_of(order);
		at += pages_of(order);
	}
	buddy->types[start >> buddy->pageblock_order] = (uint8_t)type;
	return moved;
}

/* ---- what lies where ------------------------------------------------------------------------- */

/* The block of either kind whose first page may lie below `page`; FA_BUDDY_NONE: neither. */
static uint32_t block_of(const struct fa_buddy *buddy, uint32_t page, uint8_t kind, unsigned *order)
{
	if (page >= buddy->n_pages)
		return FA_BUDDY_NONE;
	for (unsigned o = 0; o <= buddy->max_order; o++) {
		uint32_t start = page & ~(pages_of(o) - 1);
		uint8_t state = buddy->state[start];

		if (state == FA_PAGE_INSIDE || state == FA_PAGE_ABSENT)
			continue;
		*order = state & FA_PAGE_ORDER;
		/* The nearest block that starts at or below it holds the page, or nothing does. */
		if ((state & FA_PAGE_KIND) == kind && *order >= o)
			return start;
		if (*order >= o)
			return FA_BUDDY_NONE;
	}
	return FA_BUDDY_NONE;
}

uint32_t fa_buddy_free_block(const struct fa_buddy *buddy, uint32_t page, unsigned *order)
{
	return block_of(buddy, page, FA_PAGE_FREE, order);
}

static bool inside(const struct fa_buddy *buddy, uint32_t page, unsigned order)
{
	return order <= buddy->max_order && !(page & (pages_of(order) - 1)) &&
	       page < buddy->n_pages && pages_of(order) <= buddy->n_pages - page;
}

bool fa_buddy_take(struct fa_buddy *buddy, uint32_t page, unsigned order)
{
	unsigned high;
	uint32_t start;

	if (!inside(buddy, page, order))
		return false;
	start = fa_buddy_free_block(buddy, page, &high);
	if (start == FA_BUDDY_NONE || high < order)
		return false;

	unsigned type = fa_buddy_type(buddy, start);

	list_remove(buddy, start, high, type);
	buddy->counts.splits += high - order;
	while (high > order) {
		high--;

		uint32_t upper = start + pages_of(high);
		bool in_upper = page >= upper;

		list_insert(buddy, in_upper ? start : upper, high, type, false);
		start = in_upper ? upper : start;
	}
	buddy->state[page] = (uint8_t)(FA_PAGE_USED | order);
	buddy->counts.allocs++;
	return true;
}

/* The used block that holds `page` falls into pieces, of which one is [page, page + 2^order). */
static void break_used(struct fa_buddy *buddy, uint32_t page, unsigned order)
{
	unsigned high;
	uint32_t start = block_of(buddy, page, FA_PAGE_USED, &high);

	if (start == FA_BUDDY_NONE || high <= order)
		return;

	uint8_t mark = buddy->state[start] & (FA_PAGE_USED | FA_PAGE_MOVABLE);

	buddy->state[start] = FA_PAGE_INSIDE;
	while (high > order) {
		high--;

		uint32_t upper = start + pages_of(high);
		bool in_upper = page >= upper;

		buddy->state[in_upper ? start : upper] = (uint8_t)(mark | high);
		start = in_upper ? upper : start;
	}
}

bool fa_buddy_reshape(struct fa_buddy *buddy, uint32_t page, unsigned order)
{
	unsigned high;
	uint8_t mark = 0;

	if (!inside(buddy, page, order))
		return false;
	for (uint32_t i = page; i < page + pages_of(order);) {
		uint32_t start = block_of(buddy, i, FA_PAGE_USED, &high);

		if (start == FA_BUDDY_NONE)
			return false;
		mark |= buddy->state[start] & FA_PAGE_MOVABLE;
		i = start + pages_of(high);
	}
	break_used(buddy, page, order);
	memset(buddy->state + page, FA_PAGE_INSIDE, pages_of(order));
	buddy->state[page] = (uint8_t)(FA_PAGE_USED | mark | order);
	return true;
}

bool fa_buddy_give(struct fa_buddy *buddy, uint32_t page, unsigned order)
{
	unsigned high;

	if (!inside(buddy, page, order) ||
	    block_of(buddy, page, FA_PAGE_FREE, &high) != FA_BUDDY_NONE ||
	    block_of(buddy, page, FA_PAGE_PARKED, &high) != FA_BUDDY_NONE)
		return false;
	for (uint32_t i = page; i < page + pages_of(order); i++)
		if (buddy->state[i] & FA_PAGE_FREE) /* absent pages have the bit too */
			return false;
	break_used(buddy, page, order);
	memset(buddy->state + page, FA_PAGE_INSIDE, pages_of(order));
	insert_merged(buddy, page, order, false);
	buddy->counts.frees++;
	return true;
}

/* ---- filling --------------------------------------------------------------------------------- */

static bool all_absent(const struct fa_buddy *buddy, uint32_t start, uint32_t end)
{
	if (start > end || end > buddy->n_pages)
		return false;
	for (uint32_t i = start; i < end; i++)
		if (buddy->state[i] != FA_PAGE_ABSENT)
			return false;
	return true;
}

/* The largest block that starts at `start` and ends by `end`. */
static unsigned largest_at(const struct fa_buddy *buddy, uint32_t start, uint32_t end)
{
	unsigned order = buddy->max_order;

	while ((start & (pages_of(order) - 1)) || pages_of(order) > end - start)
		order--;
	return order;
}

bool fa_buddy_add(struct fa_buddy *buddy, uint32_t start, uint32_t end)
{
	if (!all_absent(buddy, start, end))
		return false;
	memset(buddy->state + start, FA_PAGE_INSIDE, end - start);

	struct fa_buddy_counts before = buddy->counts;

	for (unsigned order; start < end; start += pages_of(order)) {
		order = largest_at(buddy, start, end);
		insert_merged(buddy, start, order, true);
	}
	buddy->counts = before;
	return true;
}

bool fa_buddy_add_used(struct fa_buddy *buddy, uint32_t start, uint32_t end)
{
	if (!all_absent(buddy, start, end))
		return false;
	memset(buddy->state + start, FA_PAGE_INSIDE, end - start);
	for (unsigned order; start < end; start += pages_of(order)) {
		order = largest_at(buddy, start, end);
		buddy->state[start] = (uint8_t)(FA_PAGE_USED | order);
	}
	return true;
}

/* ---- figures and checks ---------------------------------------------------------------------- */

struct fa_orders fa_buddy_orders(const struct fa_buddy *buddy)
{
	struct fa_orders orders = {0};

	for (unsigned o = 0; o <= buddy->max_order; o++)
		for (unsigned t = 0; t < FA_BUDDY_TYPES; t++) {
			unsigned at = o < FA_MAX_ORDER ? o : FA_MAX_ORDER;

			orders.n[at] += (uint64_t)buddy->lists[o][t].n << (o - at);
		}
	return orders;
}

/* The blocks of one list, as far as they are sound; UINT64_MAX: one is not. */
static uint64_t check_list(const struct fa_buddy *buddy, unsigned order, unsigned type)
{
	const struct fa_buddy_list *list = &buddy->lists[order][type];
	uint32_t before = FA_BUDDY_NONE;
	uint64_t n = 0;

	for (uint32_t page = list->head; page != FA_BUDDY_NONE; page = buddy->links[page].next) {
		if (!inside(buddy, page, order) || !is_free_block(buddy, page, order) ||
		    fa_buddy_type(buddy, page) != type || buddy->links[page].prev != before ||
		    n++ > buddy->n_pages)
			return UINT64_MAX;
		before = page;
	}
	return list->tail == before && n == list->n ? n : UINT64_MAX;
}

bool fa_buddy_check(const struct fa_buddy *buddy)
{
	uint64_t listed = 0, seen = 0;

	for (unsigned o = 0; o <= buddy->max_order; o++)
		for (unsigned t = 0; t < FA_BUDDY_TYPES; t++) {
			uint64_t n = check_list(buddy, o, t);

			if (n == UINT64_MAX || !n != !(buddy->nonempty[t] >> o & 1))
				return false;
			listed += n << o;
		}
	for (uint32_t page = 0; page < buddy->n_pages;) {
		uint8_t state = buddy->state[page];
		unsigned order = state & FA_PAGE_ORDER;

		if (state == FA_PAGE_ABSENT) {
			page++;
			continue;
		}
		/* Every block is followed by another one, and nothing starts inside of it. */
		if (state == FA_PAGE_INSIDE || !inside(buddy, page, order))
			return false;
		for (uint32_t i = 1; i < pages_of(order); i++)
			if (buddy->state[page + i] != FA_PAGE_INSIDE)
				return false;
		if ((state & FA_PAGE_KIND) == FA_PAGE_FREE) {
			unsigned type = fa_buddy_type(buddy, page);
			uint32_t other = page ^ pages_of(order);

			seen += pages_of(order);
			/* Two that should have been merged. (Whole pageblocks may have come to one
			 * type later.) */
			if (order < buddy->max_order && order < buddy->pageblock_order &&
			    is_free_block(buddy, other, order) &&
			    fa_buddy_type(buddy, other) == type)
				return false;
		}
		page += pages_of(order);
	}
	return seen == listed && listed == buddy->free_pages;
}

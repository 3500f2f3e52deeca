/* SPDX-License-Identifier: MIT */
/* A zone of the Linux page allocator: see fa_zone.h. */
#include "fa_zone.h"

#include <stdlib.h>
#include <string.h>

enum { PAGEBLOCK = 1 << FA_PAGEBLOCK_ORDER };

const uint8_t fa_zone_fallbacks[FA_PCP_TYPES][2] = {
	[FA_UNMOVABLE] = {FA_RECLAIMABLE, FA_MOVABLE},
	[FA_MOVABLE] = {FA_RECLAIMABLE, FA_UNMOVABLE},
	[FA_RECLAIMABLE] = {FA_UNMOVABLE, FA_MOVABLE},
};

struct ft_error *fa_zone_init(struct fa_zone *zone, uint64_t n_pages,
			      const struct fa_zone_options *options)
{
	*zone = (struct fa_zone){.options = *options};
	FT_TRY(fa_buddy_init(&zone->buddy, n_pages, FA_MAX_ORDER, FA_PAGEBLOCK_ORDER));
	if (options->cpus > FA_MAX_CPUS)
		return ft_error_create(FT_ERROR_USAGE, "a zone with %u processors: at most %d",
				       options->cpus, FA_MAX_CPUS);

	size_t n_blocks = (n_pages >> FA_PAGEBLOCK_ORDER) + 1;

	zone->pcps = calloc(options->cpus + 1, sizeof(*zone->pcps));
	zone->compact.skip = calloc(n_blocks, 1);
	if (!zone->pcps || !zone->compact.skip)
		return &ft_enomem;
	memset(zone->buddy.types, FA_MOVABLE, n_blocks);
	return NULL;
}

void fa_zone_deinit(struct fa_zone *zone)
{
	for (unsigned c = 0; zone->pcps && c < zone->options.cpus; c++)
		for (unsigned l = 0; l < FA_PCP_LISTS; l++)
			free(zone->pcps[c].lists[l].pages);
	free(zone->pcps);
	free(zone->compact.skip);
	fa_buddy_deinit(&zone->buddy);
	*zone = (struct fa_zone){0};
}

void fa_zone_set_type(struct fa_zone *zone, uint32_t page, enum fa_migratetype type)
{
	zone->buddy.types[page >> FA_PAGEBLOCK_ORDER] = (uint8_t)type;
}

void fa_zone_ready(struct fa_zone *zone)
{
	const struct fa_buddy *buddy = &zone->buddy;

	zone->managed_pages = zone->n_highatomic = 0;
	for (uint32_t page = 0; page < buddy->n_pages; page++)
		zone->managed_pages += buddy->state[page] != FA_PAGE_ABSENT;
	for (uint32_t page = 0; page < buddy->n_pages; page += PAGEBLOCK)
		zone->n_highatomic += fa_buddy_type(buddy, page) == FA_HIGHATOMIC ? PAGEBLOCK : 0;
	zone->compact.migrate_page[0] = zone->compact.migrate_page[1] = 0;
	zone->compact.free_page = buddy->n_pages;
	zone->compact.order_failed = FA_MAX_ORDER + 1;
}

void fa_zone_count_block(const struct fa_zone *zone, uint32_t page, unsigned *n_free,
			 unsigned *n_movable)
{
	const struct fa_buddy *buddy = &zone->buddy;
	uint32_t at = page & ~(uint32_t)(PAGEBLOCK - 1), end = at + PAGEBLOCK;

	*n_free = *n_movable = 0;
	while (at < end && at < buddy->n_pages) {
		uint8_t state = buddy->state[at];
		uint32_t n = 1;

		if (state != FA_PAGE_ABSENT && state != FA_PAGE_INSIDE)
			n = UINT32_C(1) << (state & FA_PAGE_ORDER);
		if (n > end - at)
			n = end - at;
		if ((state & FA_PAGE_KIND) == FA_PAGE_FREE)
			*n_free += n;
		else if ((state & FA_PAGE_KIND) == FA_PAGE_USED && (state & FA_PAGE_MOVABLE))
			*n_movable += n;
		at += n;
	}
}

uint64_t fa_zone_mixed_blocks(const struct fa_zone *zone)
{
	const struct fa_buddy *buddy = &zone->buddy;
	uint64_t mixed = 0;

	for (uint32_t start = 0; start < buddy->n_pages; start += PAGEBLOCK) {
		bool want_movable = fa_buddy_type(buddy, start) == FA_MOVABLE, other = false;
		uint32_t end =
			start + PAGEBLOCK < buddy->n_pages ? start + PAGEBLOCK : buddy->n_pages;

		for (uint32_t at = start; at < end && !other; at++) {
			uint8_t state = buddy->state[at];

			other = (state & FA_PAGE_KIND) == FA_PAGE_USED &&
				!!(state & FA_PAGE_MOVABLE) != want_movable;
		}
		mixed += other;
	}
	return mixed;
}

/* ---- watermarks ------------------------------------------------------------------------------ */

bool fa_zone_watermark_ok(const struct fa_zone *zone, unsigned order, uint64_t mark, bool atomic)
{
	const struct fa_buddy *buddy = &zone->buddy;
	uint64_t need = (UINT64_C(1) << order) - 1, have = buddy->free_pages;

	/* __zone_watermark_unusable_free() */
	if (!atomic)
		need += zone->n_highatomic;
	have = have > need ? have - need : 0;
	if (atomic)
		mark -= mark / 2;
	if (have <= mark)
		return false;
	if (order == 0)
		return true;
	for (unsigned o = order; o <= FA_MAX_ORDER; o++) {
		for (unsigned t = 0; t < FA_PCP_TYPES; t++)
			if (buddy->lists[o][t].n)
				return true;
		if (atomic && buddy->lists[o][FA_HIGHATOMIC].n)
			return true;
	}
	return false;
}

static void boost_watermark(struct fa_zone *zone)
{
	uint64_t high = zone->options.watermarks[FA_WMARK_HIGH], cap;

	if (!zone->options.boost_factor)
		return;
	cap = high * zone->options.boost_factor / 10000;
	/* A small zone is not boosted: it could be more than there is. */
	if (PAGEBLOCK * 4 > zone->managed_pages || !cap)
		return;
	if (cap < PAGEBLOCK)
		cap = PAGEBLOCK;
	zone->watermark_boost += PAGEBLOCK;
	if (zone->watermark_boost > cap)
		zone->watermark_boost = cap;
	zone->counts.boosts++;
}

/* ---- fallback -------------------------------------------------------------------------------- */

bool fa_zone_should_claim(const struct fa_zone *zone, unsigned order, enum fa_migratetype type)
{
	return order >= FA_PAGEBLOCK_ORDER / 2 || type == FA_RECLAIMABLE || type == FA_UNMOVABLE ||
	       zone->options.no_grouping;
}

int fa_zone_find_fallback(const struct fa_zone *zone, unsigned order, enum fa_migratetype type,
			  bool claimable)
{
	if (claimable && !fa_zone_should_claim(zone, order, type))
		return zone->options.rules == FA_RULES_6_15 ? -2 : -1;
	if (zone->options.zone_movable || (int)type >= FA_PCP_TYPES)
		return -1;
	for (unsigned i = 0; i < 2; i++)
		if (zone->buddy.lists[order][fa_zone_fallbacks[type][i]].n)
			return fa_zone_fallbacks[type][i];
	return -1;
}

/* A block of half a pageblock or more: the whole pageblock goes over to the new type. */
static uint32_t take_whole(struct fa_zone *zone, uint32_t page, unsigned high, unsigned order,
			   enum fa_migratetype type)
{
	fa_buddy_expand(&zone->buddy, page, order, high, type);
	zone->counts.claims++;
	return page;
}

/* Does the pageblock become ours? It does when half of it is free or like us. */
static bool claim_block(struct fa_zone *zone, uint32_t page, enum fa_migratetype type,
			enum fa_migratetype block_type)
{
	unsigned n_free, n_movable, alike = 0;

	fa_zone_count_block(zone, page, &n_free, &n_movable);
	if (type == FA_MOVABLE)
		alike = n_movable;
	else if (block_type == FA_MOVABLE)
		/* What is neither free nor movable there is of a type like ours, or may be. */
		alike = PAGEBLOCK - (n_free + n_movable);
	if (n_free + alike < PAGEBLOCK / 2 && !zone->options.no_grouping)
		return false;
	fa_buddy_retype(&zone->buddy, page, type);
	zone->counts.claims++;
	return true;
}

/* try_to_claim_block(), and what steal_suitable_fallback() did of it before 6.15. */
static uint32_t try_claim(struct fa_zone *zone, uint32_t page, unsigned high, unsigned order,
			  enum fa_migratetype type, enum fa_migratetype block_type)
{
	if (high >= FA_PAGEBLOCK_ORDER)
		return take_whole(zone, page, high, order, type);
	boost_watermark(zone);
	if (!claim_block(zone, page, type, block_type))
		return FA_BUDDY_NONE;
	return fa_buddy_alloc(&zone->buddy, order, type);
}

static uint32_t steal(struct fa_zone *zone, unsigned high, unsigned order, int fallback)
{
	uint32_t page = fa_buddy_first(&zone->buddy, high, (unsigned)fallback);

	fa_buddy_expand(&zone->buddy, page, order, high, (unsigned)fallback);
	zone->counts.steals++;
	return page;
}

static unsigned least_order(const struct fa_zone *zone, unsigned order)
{
	return zone->options.no_fragment && order < FA_PAGEBLOCK_ORDER ? FA_PAGEBLOCK_ORDER : order;
}

static uint32_t fallback_6_15(struct fa_zone *zone, unsigned order, enum fa_migratetype type)
{
	int least = (int)least_order(zone, order);

	for (int high = FA_MAX_ORDER; high >= least; high--) {
		int fallback = fa_zone_find_fallback(zone, (unsigned)high, type, true);

		if (fallback == -1)
			continue;
		if (fallback == -2)
			break;

		uint32_t page = try_claim(
			zone, fa_buddy_first(&zone->buddy, (unsigned)high, (unsigned)fallback),
			(unsigned)high, order, type, (enum fa_migratetype)fallback);

		if (page != FA_BUDDY_NONE)
			return page;
	}
	if (zone->options.no_fragment)
		return FA_BUDDY_NONE;
	for (unsigned high = order; high <= FA_MAX_ORDER; high++) {
		int fallback = fa_zone_find_fallback(zone, high, type, false);

		if (fallback >= 0)
			return steal(zone, high, order, fallback);
	}
	return FA_BUDDY_NONE;
}

static uint32_t fallback_6_14(struct fa_zone *zone, unsigned order, enum fa_migratetype type)
{
	int least = (int)least_order(zone, order), fallback = -1, high;

	for (high = FA_MAX_ORDER; high >= least && fallback < 0; high--)
		fallback = fa_zone_find_fallback(zone, (unsigned)high, type, false);
	if (fallback < 0)
		return FA_BUDDY_NONE;
	high++;

	bool can_claim = fa_zone_should_claim(zone, (unsigned)high, type);

	/* A small movable request that can't have the pageblock splits the smallest block. */
	if (!can_claim && type == FA_MOVABLE && (unsigned)high > order) {
		fallback = -1;
		for (high = (int)order; fallback < 0; high++)
			fallback = fa_zone_find_fallback(zone, (unsigned)high, type, false);
		high--;
		can_claim = fa_zone_should_claim(zone, (unsigned)high, type);
	}
	if (can_claim) {
		uint32_t page = try_claim(
			zone, fa_buddy_first(&zone->buddy, (unsigned)high, (unsigned)fallback),
			(unsigned)high, order, type, (enum fa_migratetype)fallback);

		if (page != FA_BUDDY_NONE)
			return page;
	}
	return steal(zone, (unsigned)high, order, fallback);
}

/* ---- the high-order atomic reserve ------------------------------------------------------------
 */

/* reserve_highatomic_pageblock(): 1 % of the zone, and none where that is less than a pageblock. */
static void reserve_highatomic(struct fa_zone *zone, uint32_t page)
{
	uint64_t share = zone->managed_pages / 100;
	uint64_t most = (share + PAGEBLOCK - 1) / PAGEBLOCK * PAGEBLOCK;

	if (share < PAGEBLOCK || zone->n_highatomic >= most ||
	    fa_buddy_type(&zone->buddy, page) >= FA_HIGHATOMIC)
		return;
	fa_buddy_retype(&zone->buddy, page, FA_HIGHATOMIC);
	zone->n_highatomic += PAGEBLOCK;
	zone->counts.highatomic_reserved++;
}

bool fa_zone_unreserve(struct fa_zone *zone, enum fa_migratetype type)
{
	/* Keep one unless there is nothing else. */
	if (zone->n_highatomic <= PAGEBLOCK)
		return false;
	for (unsigned o = 0; o <= FA_MAX_ORDER; o++) {
		uint32_t page = fa_buddy_first(&zone->buddy, o, FA_HIGHATOMIC);

		if (page == FA_BUDDY_NONE)
			continue;
		fa_buddy_retype(&zone->buddy, page, type);

		uint64_t pages = o > FA_PAGEBLOCK_ORDER ? UINT64_C(1) << o : PAGEBLOCK;

		zone->n_highatomic -= pages < zone->n_highatomic ? pages : zone->n_highatomic;
		zone->counts.highatomic_unreserved++;
		return true;
	}
	return false;
}

/* ---- below the per-cpu lists ------------------------------------------------------------------
 */

/* __rmqueue() */
static uint32_t rmqueue(struct fa_zone *zone, unsigned order, enum fa_migratetype type)
{
	uint32_t page = fa_buddy_alloc(&zone->buddy, order, type);

	if (page != FA_BUDDY_NONE)
		return page;
	page = zone->options.rules == FA_RULES_6_15 ? fallback_6_15(zone, order, type)
						    : fallback_6_14(zone, order, type);
	if (page != FA_BUDDY_NONE)
		zone->counts.fallbacks++;
	return page;
}

static uint32_t rmqueue_buddy(struct fa_zone *zone, const struct fa_zone_request *request)
{
	uint32_t page = FA_BUDDY_NONE;

	if (request->atomic && request->order)
		page = fa_buddy_alloc(&zone->buddy, request->order, FA_HIGHATOMIC);
	if (page == FA_BUDDY_NONE)
		page = rmqueue(zone, request->order, request->type);
	if (page == FA_BUDDY_NONE && request->atomic)
		page = fa_buddy_alloc(&zone->buddy, request->order, FA_HIGHATOMIC);
	if (page != FA_BUDDY_NONE && request->atomic && request->order)
		reserve_highatomic(zone, page);
	return page;
}

/* ---- per-cpu lists --------------------------------------------------------------------------- */

/* order_to_pindex(); -1: such blocks pass the per-cpu lists by. */
static int pcp_index(unsigned order, unsigned type)
{
	if (order <= FA_COSTLY_ORDER)
		return type < FA_PCP_TYPES ? (int)(order * FA_PCP_TYPES + type) : -1;
	if (order == FA_PAGEBLOCK_ORDER)
		return FA_PCP_LISTS - 2 + (type == FA_MOVABLE);
	return -1;
}

static unsigned pcp_order(unsigned index)
{
	return index < FA_PCP_LISTS - 2 ? index / FA_PCP_TYPES : FA_PAGEBLOCK_ORDER;
}

static bool pcp_push(struct fa_zone *zone, struct fa_pcp *pcp, unsigned index, uint32_t page)
{
	struct fa_pcp_list *list = &pcp->lists[index];

	if (list->n == list->room) {
		unsigned room = list->room ? list->room * 2 : 64;
		uint32_t *pages = realloc(list->pages, room * sizeof(*pages));

		if (!pages)
			return false;
		list->pages = pages;
		list->room = room;
	}
	list->pages[list->n++] = page;
	pcp->count += 1U << pcp_order(index);
	zone->buddy.state[page] = (uint8_t)(FA_PAGE_PARKED | pcp_order(index));
	return true;
}

static void pcp_give_back(struct fa_zone *zone, struct fa_pcp *pcp, unsigned index, unsigned at)
{
	struct fa_pcp_list *list = &pcp->lists[index];
	unsigned order = pcp_order(index);
	uint32_t page = list->pages[at];

	memmove(list->pages + at, list->pages + at + 1, (list->n - at - 1) * sizeof(uint32_t));
	list->n--;
	pcp->count -= 1U << order;
	zone->buddy.state[page] = (uint8_t)(FA_PAGE_USED | order);
	fa_buddy_free(&zone->buddy, page, order, false);
}

/* free_pcppages_bulk(): `n` pages, the coldest of each list in turn. */
static void pcp_drain(struct fa_zone *zone, struct fa_pcp *pcp, unsigned n)
{
	zone->counts.drains++;
	for (unsigned idle = 0, freed = 0; freed < n && idle < FA_PCP_LISTS;) {
		unsigned index = pcp->next++ % FA_PCP_LISTS;

		if (!pcp->lists[index].n) {
			idle++;
			continue;
		}
		idle = 0;
		pcp_give_back(zone, pcp, index, 0);
		freed += 1U << pcp_order(index);
	}
}

void fa_zone_drain(struct fa_zone *zone)
{
	for (unsigned c = 0; c < zone->options.cpus; c++)
		while (zone->pcps[c].count)
			pcp_drain(zone, &zone->pcps[c], zone->pcps[c].count);
}

uint64_t fa_zone_pcp_pages(const struct fa_zone *zone)
{
	uint64_t pages = 0;

	for (unsigned c = 0; c < zone->options.cpus; c++)
		pages += zone->pcps[c].count;
	return pages;
}

/* rmqueue_pcplist() with rmqueue_bulk() */
static uint32_t pcp_alloc(struct fa_zone *zone, struct fa_pcp *pcp, unsigned index,
			  const struct fa_zone_request *request, struct ft_error **error)
{
	struct fa_pcp_list *list = &pcp->lists[index];

	if (list->n) {
		zone->counts.pcp_hits++;
	} else {
		unsigned batch = zone->options.pcp_batch >> request->order;

		zone->counts.refills++;
		/* The kernel puts them at the tail in the order it gets them, and takes the head.
		 */
		for (unsigned i = 0; i < (batch ? batch : 1); i++) {
			uint32_t page = rmqueue(zone, request->order, request->type);

			if (page == FA_BUDDY_NONE)
				break;
			if (!pcp_push(zone, pcp, index, page)) {
				fa_buddy_free(&zone->buddy, page, request->order, false);
				*error = &ft_enomem;
				return FA_BUDDY_NONE;
			}
		}
		if (!list->n)
			return FA_BUDDY_NONE;
		for (unsigned a = 0, b = list->n - 1; a < b; a++, b--) {
			uint32_t page = list->pages[a];

			list->pages[a] = list->pages[b];
			list->pages[b] = page;
		}
	}
	uint32_t page = list->pages[--list->n];

	pcp->count -= 1U << request->order;
	zone->buddy.state[page] = (uint8_t)(FA_PAGE_USED | request->order);
	return page;
}

uint32_t fa_zone_alloc(struct fa_zone *zone, struct fa_zone_request request,
		       struct ft_error **error)
{
	bool fits = request.order <= FA_MAX_ORDER && (int)request.type < FA_PCP_TYPES &&
		    (request.type == FA_MOVABLE || !zone->options.zone_movable);
	int index =
		zone->options.cpus && !request.atomic ? pcp_index(request.order, request.type) : -1;
	uint32_t page = FA_BUDDY_NONE;

	*error = NULL;
	zone->counts.requests++;
	if (fits && index >= 0)
		page = pcp_alloc(zone, &zone->pcps[request.cpu % zone->options.cpus],
				 (unsigned)index, &request, error);
	else if (fits)
		page = rmqueue_buddy(zone, &request);
	if (page == FA_BUDDY_NONE)
		zone->counts.failed++;
	else if (request.type == FA_MOVABLE)
		zone->buddy.state[page] |= FA_PAGE_MOVABLE;
	return page;
}

bool fa_zone_free(struct fa_zone *zone, uint32_t page, unsigned order, unsigned cpu,
		  struct ft_error **error)
{
	unsigned have;

	*error = NULL;
	if (page >= zone->buddy.n_pages || !fa_buddy_used_at(&zone->buddy, page, &have) ||
	    have != order)
		return false;

	unsigned type = fa_buddy_type(&zone->buddy, page);
	int index = -1;

	/* Pages of the reserve go to MOVABLE's list; isolated ones to the buddy
	 * (free_frozen_pages()).
	 */
	if (zone->options.cpus && type != FA_ISOLATE)
		index = pcp_index(order, type == FA_HIGHATOMIC ? FA_MOVABLE : type);
	if (index < 0)
		return fa_buddy_free(&zone->buddy, page, order, false);

	struct fa_pcp *pcp = &zone->pcps[cpu % zone->options.cpus];

	if (!pcp_push(zone, pcp, (unsigned)index, page)) {
		*error = &ft_enomem;
		return false;
	}
	if (pcp->count > zone->options.pcp_high)
		pcp_drain(zone, pcp, zone->options.pcp_batch ? zone->options.pcp_batch : 1);
	return true;
}

bool fa_zone_check(const struct fa_zone *zone)
{
	for (unsigned c = 0; c < zone->options.cpus; c++) {
		unsigned pages = 0;

		for (unsigned l = 0; l < FA_PCP_LISTS; l++) {
			const struct fa_pcp_list *list = &zone->pcps[c].lists[l];

			pages += list->n << pcp_order(l);
			for (unsigned i = 0; i < list->n; i++)
				if (zone->buddy.state[list->pages[i]] !=
				    (FA_PAGE_PARKED | pcp_order(l)))
					return false;
		}
		if (pages != zone->pcps[c].count)
			return false;
	}
	return fa_buddy_check(&zone->buddy);
}

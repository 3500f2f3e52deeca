/* SPDX-License-Identifier: MIT */
/* Memory compaction: see fa_compact.h. */
#include "fa_compact.h"

#include <stdlib.h>
#include <string.h>

enum { PAGEBLOCK = 1 << FA_PAGEBLOCK_ORDER, CLUSTER = 32 /* COMPACT_CLUSTER_MAX */ };

/* ---- one run --------------------------------------------------------------------------------- */

struct block_list {
	uint32_t *pages;
	size_t n, room;
};

/* struct compact_control */
struct run {
	struct fa_zone *zone;
	const struct fa_compact_request *request;
	struct fa_compact_stats *stats;
	struct ft_error *error;
	uint32_t migrate, free_at;	      /* the scanners; free_at: start of a pageblock */
	struct block_list sources;	      /* isolated, first pages */
	struct block_list targets[FA_ORDERS]; /* isolated free blocks, marked used */
	uint64_t n_source_pages, n_target_pages;
	bool no_target; /* the free scanner found nothing more */
};

static bool push(struct run *run, struct block_list *list, uint32_t page)
{
	if (list->n == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		uint32_t *pages = realloc(list->pages, room * sizeof(*pages));

		if (!pages) {
			run->error = &ft_enomem;
			return false;
		}
		list->pages = pages;
		list->room = room;
	}
	list->pages[list->n++] = page;
	return true;
}

static uint32_t block_start(uint32_t page)
{
	return page & ~(uint32_t)(PAGEBLOCK - 1);
}

static uint8_t *skip_bit(const struct run *run, uint32_t page)
{
	return &run->zone->compact.skip[page >> FA_PAGEBLOCK_ORDER];
}

static bool met(const struct run *run)
{
	return run->free_at >> FA_PAGEBLOCK_ORDER <= run->migrate >> FA_PAGEBLOCK_ORDER;
}

/* suitable_migration_source() */
static bool is_source(const struct run *run, uint32_t page)
{
	if (!run->request->whole_zone && *skip_bit(run, page))
		return false;
	if (run->request->mode != FA_COMPACT_ASYNC)
		return true;

	unsigned type = fa_buddy_type(&run->zone->buddy, page);

	return run->request->type == FA_MOVABLE ? type == FA_MOVABLE : type == run->request->type;
}

/* suitable_migration_target() */
static bool is_target(const struct run *run, uint32_t page)
{
	const struct fa_buddy *buddy = &run->zone->buddy;
	int wanted = run->request->order > 0 ? run->request->order : FA_PAGEBLOCK_ORDER;
	uint8_t state = buddy->state[page];

	if (!run->request->whole_zone && *skip_bit(run, page))
		return false;
	/* It is what compaction is to make. */
	if ((state & FA_PAGE_KIND) == FA_PAGE_FREE && (state & FA_PAGE_ORDER) >= wanted)
		return false;
	return run->request->any_target || fa_buddy_type(buddy, page) == FA_MOVABLE;
}

/* isolate_migratepages(): up to 32 pages of one pageblock. False: there are no more pageblocks. */
static bool isolate_sources(struct run *run)
{
	const struct fa_buddy *buddy = &run->zone->buddy;

	while (!met(run) && !run->n_source_pages && !run->error) {
		uint32_t begin = run->migrate, end = block_start(begin) + PAGEBLOCK, at = begin;

		if (begin == block_start(begin) && !is_source(run, begin)) {
			run->migrate = end;
			continue;
		}
		while (at < end && run->n_source_pages < CLUSTER) {
			uint8_t state = buddy->state[at];
			unsigned order = state & FA_PAGE_ORDER;
			uint32_t pages = 1;

			if (state != FA_PAGE_ABSENT && state != FA_PAGE_INSIDE)
				pages = UINT32_C(1) << order;
			run->stats->migrate_scanned++;
			if ((state & FA_PAGE_KIND) == FA_PAGE_USED && (state & FA_PAGE_MOVABLE) &&
			    order <= run->request->max_move_order) {
				if (!push(run, &run->sources, at))
					break;
				run->n_source_pages += pages;
			}
			at += pages;
		}
		run->migrate = at < end ? at : end;
		if (!run->n_source_pages && begin == block_start(begin))
			*skip_bit(run, begin) = 1;
	}
	return run->n_source_pages > 0;
}

/* isolate_freepages_block(): whole free blocks leave their lists. */
static uint64_t isolate_block(struct run *run, uint32_t start)
{
	struct fa_buddy *buddy = &run->zone->buddy;
	uint64_t taken = 0;

	for (uint32_t at = start; at < start + PAGEBLOCK && at < buddy->n_pages && !run->error;) {
		uint8_t state = buddy->state[at];
		unsigned order = state & FA_PAGE_ORDER;

		run->stats->free_scanned++;
		if (state == FA_PAGE_ABSENT || state == FA_PAGE_INSIDE) {
			at++;
			continue;
		}
		if ((state & FA_PAGE_KIND) == FA_PAGE_FREE && order < FA_ORDERS &&
		    push(run, &run->targets[order], at)) {
			fa_buddy_take(buddy, at, order);
			taken += UINT64_C(1) << order;
			if (run->n_target_pages + taken >= run->n_source_pages)
				break;
		}
		at += UINT32_C(1) << order;
	}
	return taken;
}

/* isolate_freepages(): down from free_at until there is room for what was isolated. */
static void isolate_targets(struct run *run)
{
	while (run->n_target_pages < run->n_source_pages && !run->error) {
		if (met(run)) {
			run->no_target = true;
			return;
		}

		uint64_t taken = 0;

		if (is_target(run, run->free_at)) {
			taken = isolate_block(run, run->free_at);
			if (!taken)
				*skip_bit(run, run->free_at) = 1;
		}
		run->n_target_pages += taken;
		run->stats->isolated += taken;
		/* A block that was not emptied is looked at again. */
		if (run->n_target_pages < run->n_source_pages)
			run->free_at -= PAGEBLOCK;
	}
}

/* compaction_alloc(): a block of 2^order pages out of the isolated ones. */
static uint32_t take_target(struct run *run, unsigned order)
{
	struct fa_buddy *buddy = &run->zone->buddy;
	unsigned high = order;

	while (high < FA_ORDERS && !run->targets[high].n)
		high++;

	const uint32_t *pages = high < FA_ORDERS ? run->targets[high].pages : NULL;

	if (!pages)
		return FA_BUDDY_NONE;

	uint32_t page = pages[--run->targets[high].n];

	while (high > order) {
		uint32_t upper;

		high--;
		upper = page + (UINT32_C(1) << high);
		buddy->state[upper] = (uint8_t)(FA_PAGE_USED | high);
		buddy->state[page] = (uint8_t)(FA_PAGE_USED | high);
		if (!push(run, &run->targets[high], upper)) {
			fa_buddy_free(buddy, upper, high, false);
			run->n_target_pages -= UINT64_C(1) << high;
		}
	}
	run->n_target_pages -= UINT64_C(1) << order;
	return page;
}

static bool move(struct run *run, uint32_t from, unsigned order)
{
	struct fa_buddy *buddy = &run->zone->buddy;
	uint32_t to;

	if (run->n_target_pages < UINT64_C(1) << order)
		isolate_targets(run);
	to = take_target(run, order);
	if (to == FA_BUDDY_NONE)
		return false;
	buddy->state[to] = (uint8_t)(FA_PAGE_USED | FA_PAGE_MOVABLE | order);
	fa_buddy_free(buddy, from, order, false);
	run->stats->moved_blocks++;
	run->stats->moved_pages += UINT64_C(1) << order;
	if (run->request->moved)
		run->request->moved(run->request->context, from, to, order);
	return true;
}

/* migrate_pages(): a block that finds no place stays where it is; a large folio is split first, and
 * its pages move one by one. */
static void migrate(struct run *run)
{
	struct fa_buddy *buddy = &run->zone->buddy;

	run->stats->batches++;
	for (size_t i = 0; i < run->sources.n; i++) {
		uint32_t from = run->sources.pages[i];
		unsigned order = buddy->state[from] & FA_PAGE_ORDER;

		if (move(run, from, order) || !order)
			continue;
		memset(buddy->state + from, FA_PAGE_USED | FA_PAGE_MOVABLE, (size_t)1 << order);
		for (uint32_t page = 0; page < UINT32_C(1) << order; page++)
			if (!move(run, from + page, 0))
				break;
	}
	run->sources.n = 0;
	run->n_source_pages = 0;
}

static unsigned zone_score(const struct fa_zone *zone)
{
	struct fa_orders orders = fa_buddy_orders(&zone->buddy);

	return fa_frag_score(&orders, FA_PAGEBLOCK_ORDER);
}

/* __compact_finished(): is what was wanted there? */
static bool won(const struct run *run)
{
	const struct fa_compact_request *request = run->request;

	if (request->proactiveness)
		return zone_score(run->zone) <= fa_compact_score_low(request->proactiveness);
	if (request->order < 0 || run->migrate != block_start(run->migrate))
		return false;
	for (unsigned o = (unsigned)request->order; o <= FA_MAX_ORDER; o++)
		if (fa_buddy_first(&run->zone->buddy, o, request->type) != FA_BUDDY_NONE ||
		    fa_zone_find_fallback(run->zone, o, request->type, true) >= 0)
			return true;
	return false;
}

static void remember(struct run *run)
{
	struct fa_zone_compact *state = &run->zone->compact;

	if (met(run)) {
		state->migrate_page[0] = state->migrate_page[1] = 0;
		state->free_page = run->zone->buddy.n_pages;
		memset(state->skip, 0, (run->zone->buddy.n_pages >> FA_PAGEBLOCK_ORDER) + 1);
		return;
	}
	state->migrate_page[0] = run->migrate;
	if (run->request->mode != FA_COMPACT_ASYNC)
		state->migrate_page[1] = run->migrate;
	state->free_page = run->free_at;
}

static void run_end(struct run *run)
{
	struct fa_buddy *buddy = &run->zone->buddy;

	for (unsigned o = 0; o < FA_ORDERS; o++) {
		for (size_t i = 0; i < run->targets[o].n; i++)
			fa_buddy_free(buddy, run->targets[o].pages[i], o, false);
		free(run->targets[o].pages);
	}
	free(run->sources.pages);
}

enum fa_compact_result fa_compact(struct fa_zone *zone, const struct fa_compact_request *request,
				  struct fa_compact_stats *stats, struct ft_error **error)
{
	uint32_t end = zone->buddy.n_pages;
	struct run run = {.zone = zone, .request = request, .stats = stats};
	bool whole = request->whole_zone || request->order < 0 || request->proactiveness;
	enum fa_compact_result result = FA_COMPACT_STOPPED;

	*error = NULL;
	if (!end)
		return FA_COMPACT_COMPLETE;
	if (!whole) {
		run.migrate = zone->compact.migrate_page[request->mode != FA_COMPACT_ASYNC];
		end = zone->compact.free_page;
	}
	whole = whole || (!run.migrate && end == zone->buddy.n_pages);
	run.free_at = block_start(end - 1);

	while (!run.error) {
		if (run.no_target || met(&run)) {
			result = whole ? FA_COMPACT_COMPLETE : FA_COMPACT_PARTIAL;
			break;
		}
		if (won(&run)) {
			result = FA_COMPACT_SUCCESS;
			break;
		}
		if (request->max_pages && stats->moved_pages >= request->max_pages)
			break;
		if (isolate_sources(&run))
			migrate(&run);
	}
	remember(&run);
	run_end(&run);
	*error = run.error;
	return result;
}

/* ---- what starts it ---------------------------------------------------------------------------
 */

bool fa_compact_suitable(const struct fa_zone *zone, unsigned order, int extfrag_threshold)
{
	const uint64_t *marks = zone->options.watermarks;
	uint64_t gap = UINT64_C(2) << order, mark; /* compact_gap() */

	/* Up to 6.14 the low mark for costly orders and the min mark for others; later the mark of
	 * the caller, which is the min one here, and the difference for costly orders: the same
	 * sum. */
	mark = order > FA_COSTLY_ORDER ? marks[FA_WMARK_LOW] : marks[FA_WMARK_MIN];
	if (!fa_zone_watermark_ok(zone, 0, mark + gap, false))
		return false;
	if (order <= FA_COSTLY_ORDER)
		return true;

	struct fa_orders orders = fa_buddy_orders(&zone->buddy);
	int index = fa_extfrag_milli(&orders, order);

	return !(index >= 0 && index <= extfrag_threshold);
}

unsigned fa_compact_score_low(unsigned proactiveness)
{
	return proactiveness < 95 ? 100 - proactiveness : 5;
}

unsigned fa_compact_score_high(unsigned proactiveness)
{
	unsigned high = fa_compact_score_low(proactiveness) + 10;

	return high < 100 ? high : 100;
}

unsigned fa_compact_node_score(const struct fa_orders *zones, const uint64_t *present, size_t n)
{
	uint64_t all = 0, score = 0;

	for (size_t i = 0; i < n; i++)
		all += present[i];
	for (size_t i = 0; i < n; i++)
		score += present[i] * fa_frag_score(&zones[i], FA_PAGEBLOCK_ORDER) / (all + 1);
	return (unsigned)score;
}

bool fa_compact_deferred(struct fa_zone *zone, int order)
{
	struct fa_zone_compact *state = &zone->compact;
	unsigned limit = 1U << state->defer_shift;

	if (order < state->order_failed)
		return false;
	if (++state->considered >= limit) {
		state->considered = limit;
		return false;
	}
	return true;
}

void fa_compact_defer(struct fa_zone *zone, int order)
{
	struct fa_zone_compact *state = &zone->compact;

	state->considered = 0;
	if (state->defer_shift < FA_DEFER_SHIFT_MAX)
		state->defer_shift++;
	if (order < state->order_failed)
		state->order_failed = order;
}

void fa_compact_defer_reset(struct fa_zone *zone, int order, bool alloc_success)
{
	struct fa_zone_compact *state = &zone->compact;

	if (alloc_success)
		state->considered = state->defer_shift = 0;
	if (order >= state->order_failed)
		state->order_failed = order + 1;
}

enum fa_compact_result fa_compact_direct(struct fa_zone *zone, unsigned order,
					 enum fa_migratetype type, int extfrag_threshold,
					 struct fa_compact_stats *stats, struct ft_error **error)
{
	enum fa_compact_result result = FA_COMPACT_SKIPPED;

	*error = NULL;
	if (!fa_compact_suitable(zone, order, extfrag_threshold))
		return FA_COMPACT_SKIPPED;
	if (fa_compact_deferred(zone, (int)order))
		return FA_COMPACT_DEFERRED;
	for (int mode = FA_COMPACT_ASYNC; mode <= FA_COMPACT_SYNC_LIGHT; mode++) {
		struct fa_compact_request request = {
			.order = (int)order, .type = type, .mode = (enum fa_compact_mode)mode};

		result = fa_compact(zone, &request, stats, error);
		if (result == FA_COMPACT_SUCCESS || *error)
			break;
	}
	if (result == FA_COMPACT_SUCCESS)
		fa_compact_defer_reset(zone, (int)order, false);
	else if (result == FA_COMPACT_COMPLETE || result == FA_COMPACT_PARTIAL)
		fa_compact_defer(zone, (int)order);
	return result;
}

enum fa_compact_result fa_compact_proactive(struct fa_zone *zone, unsigned proactiveness,
					    struct fa_compact_stats *stats, struct ft_error **error)
{
	struct fa_compact_request request = {.order = -1,
					     .type = FA_MOVABLE,
					     .mode = FA_COMPACT_SYNC_LIGHT,
					     .whole_zone = true,
					     .proactiveness = proactiveness};

	*error = NULL;
	if (!proactiveness || zone_score(zone) <= fa_compact_score_high(proactiveness))
		return FA_COMPACT_SKIPPED;
	return fa_compact(zone, &request, stats, error);
}

enum fa_compact_result fa_compact_manual(struct fa_zone *zone, struct fa_compact_stats *stats,
					 struct ft_error **error)
{
	struct fa_compact_request request = {
		.order = -1, .type = FA_MOVABLE, .mode = FA_COMPACT_SYNC, .whole_zone = true};

	return fa_compact(zone, &request, stats, error);
}

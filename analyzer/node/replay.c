/* SPDX-License-Identifier: MIT */
/*
 * The models against the kernel's own events
 *
 * State replay. From the first snapshot on, a binary buddy does what the events say: exactly these
 * blocks leave it, exactly these come back. An event that the model's state contradicts is counted;
 * at the second snapshot the page frames are compared one by one, stretch by stretch at the times
 * at which they were read. A frame differs if it is neither as the model has it when the stretch
 * began to be read nor as it has it at the end.
 *
 * Policy replay. A zone with the kernel's rules gets the same requests (order, type) and the same
 * ends of blocks, and chooses page frames by itself. At ten moments its free lists are compared
 * with buddyinfo: W1 is the distance between the two distributions of free pages over orders, 0
 * when they are equal and 1 when they are at opposite ends.
 *
 * What crosses the border of the buddy lists (mm/page_alloc.c, 6.18): mm_page_alloc_zone_locked;
 * mm_page_alloc_extfrag, unless a pageblock was claimed with a smaller block, which then goes
 * through zone_locked too; mm_page_pcpu_drain; mm_page_free of orders that per-cpu lists don't
 * hold. A free that finds its per-cpu list locked goes to the buddy lists without an event: where a
 * block is taken that was freed, and neither drained nor allocated since, it is one of these
 * (`bypassed`). The per-cpu lists are the kernel's own here: their traffic is what is replayed.
 * Compaction isolates pages without events, so that a replay ends where one begins.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "node_impl.h"

enum { STRETCH_MAX = NA_STRETCH, STRETCH_SHIFT = 15 };

/* ---- what kinds of events there are ---------------------------------------------------------- */

static struct ft_error *scan_event(void *ctx, const struct ft_node_event *event)
{
	struct na_node *node = ctx;
	struct na_events *events = &node->events;
	int zone;

	if (!events->n[0]++)
		events->first_ns = event->time_ns;
	events->n[event->kind]++;
	events->last_ns = event->time_ns;
	switch (event->kind) {
	case FT_NODE_ALLOC:
		events->alloc_orders[event->order < FT_NODE_ORDERS ? event->order
								   : FT_NODE_ORDERS - 1]++;
		return NULL;
	case FT_NODE_FALLBACK:
		*(event->flag ? &events->claims : &events->steals) += 1;
		return NULL;
	case FT_NODE_COMPACT_END:
		events->ends[event->n < NA_ENDS ? event->n : 0]++;
		return NULL;
	case FT_NODE_COMPACT_BEGIN:
		if (event->time_ns < events->compact_ns)
			events->compact_ns = event->time_ns;
		return NULL;
	case FT_NODE_TAKE:
	case FT_NODE_DRAIN:
		break;
	default:
		return NULL;
	}
	/* The first event on a pageblock tells its type: that of the list. */
	zone = na_zone_of(node, event->pfn);
	if (zone >= 0 && node->block_types[zone] && event->type < FA_MIGRATETYPES) {
		uint8_t *type =
			&node->block_types[zone][(event->pfn - na_base(&node->zones[zone])) >>
						 FA_PAGEBLOCK_ORDER];

		if (*type == 0xff)
			*type = event->type;
	}
	return NULL;
}

struct ft_error *na_scan_events(struct na_node *node)
{
	node->events.compact_ns = UINT64_MAX;
	for (size_t z = 0; z < node->n_zones; z++) {
		const struct ft_node_zone_row *row = &node->zones[z].row;
		size_t n = (size_t)((row->spanned + NA_STRETCH) >> FA_PAGEBLOCK_ORDER) + 2;

		if (!row->present || row->spanned > NA_MODEL_PAGES)
			continue;
		node->block_types[z] = malloc(n);
		if (!node->block_types[z])
			return &ft_enomem;
		memset(node->block_types[z], 0xff, n);
	}
	return ft_reader_node_events(node->reader, scan_event, node);
}

/* ---- the state replay ------------------------------------------------------------------------ */

/* A stretch of the first snapshot: events before it are in it already. */
struct stretch_time {
	uint64_t begin_ns, end_ns;
};

struct zone_state {
	bool on;
	uint64_t base;
	struct fa_buddy buddy;
	struct stretch_time *times; /* by page >> STRETCH_SHIFT */
	struct fa_zone policy;
	uint32_t *map;	/* real page -> the policy's page */
	uint8_t *freed; /* a bit a page: in a per-cpu list, as far as events tell */
	bool has_policy;
	struct fa_orders seen, had; /* at the second snapshot: the kernel's, and the model's */
};

/* A stretch of the second snapshot that is being compared. */
struct pending {
	struct ft_node_pages_row row;
	struct ft_node_run *runs; /* owned */
	bool begun;
};

struct replayer {
	struct na_node *node;
	struct zone_state zones[NA_ZONES];
	uint64_t end_ns;
	struct pending *stretches;
	size_t n_stretches, at, room;
	uint8_t *differs; /* STRETCH_MAX pages of the stretch: they differed when it began */
	const struct na_moment *points[NA_CHECKPOINTS];
	size_t n_points, point;
	uint64_t policy_ns; /* when the policy replay begins */
	bool policy_begun;
};

static struct ft_error *fill_state(void *ctx, const struct ft_node_pages_row *row)
{
	struct replayer *r = ctx;
	int z = na_zone_of(r->node, row->first_pfn);
	struct zone_state *zone = z >= 0 ? &r->zones[z] : NULL;
	uint64_t at;

	if (!zone || !zone->on)
		return NULL;
	at = row->first_pfn - zone->base;
	if (row->n_pages > STRETCH_MAX || at + row->n_pages > zone->buddy.n_pages ||
	    at >> STRETCH_SHIFT != (at + row->n_pages - 1) >> STRETCH_SHIFT)
		return ft_error_create(FT_ERROR_INPUT,
				       "%s: the recording is damaged: a snapshot's stretch",
				       ft_reader_path(r->node->reader));
	zone->times[at >> STRETCH_SHIFT] = (struct stretch_time){row->begin_ns, row->end_ns};
	for (size_t i = 0; i < row->n_runs; i++) {
		const struct ft_node_run *run = &row->runs[i];
		uint64_t size = UINT64_C(1) << run->order, end = at + run->n * size;

		if (run->kind == FT_NODE_FREE) {
			fa_buddy_add(&zone->buddy, (uint32_t)at, (uint32_t)end);
			at = end;
			continue;
		}
		/* What is absent now may be plugged in later: freed, without having been there. */
		for (; at < end; at += size)
			fa_buddy_add_used(&zone->buddy, (uint32_t)at, (uint32_t)(at + size));
	}
	return NULL;
}

static struct ft_error *keep_stretch(void *ctx, const struct ft_node_pages_row *row)
{
	struct replayer *r = ctx;
	struct pending *pending;
	int z = na_zone_of(r->node, row->first_pfn);

	if (z < 0 || !r->zones[z].on || row->n_pages > STRETCH_MAX ||
	    row->first_pfn - r->zones[z].base + row->n_pages > r->zones[z].buddy.n_pages)
		return NULL;
	if (r->n_stretches == r->room) {
		size_t room = r->room ? r->room * 2 : 256;
		struct pending *bigger = realloc(r->stretches, room * sizeof(*bigger));

		if (!bigger)
			return &ft_enomem;
		r->stretches = bigger;
		r->room = room;
	}
	pending = &r->stretches[r->n_stretches];
	*pending = (struct pending){.row = *row};
	pending->runs = malloc((row->n_runs + 1) * sizeof(*pending->runs));
	if (!pending->runs)
		return &ft_enomem;
	memcpy(pending->runs, row->runs, row->n_runs * sizeof(*pending->runs));
	r->n_stretches++;
	return NULL;
}

/* Does the model have a free page there? Calls `visit` for each page of the stretch that is not as
 * the snapshot has it. */
static void compare_stretch(struct replayer *r, struct pending *pending, bool at_end,
			    struct na_zone_replay *result)
{
	struct zone_state *zone = &r->zones[na_zone_of(r->node, pending->row.first_pfn)];
	uint64_t first = pending->row.first_pfn - zone->base, at = first;
	const struct fa_buddy *buddy = &zone->buddy;
	uint64_t free_until = 0; /* pages below it are of a free block of the model */

	for (size_t i = 0; i < pending->row.n_runs; i++) {
		const struct ft_node_run *run = &pending->runs[i];
		uint64_t end = at + ((uint64_t)run->n << run->order);
		bool free = run->kind == FT_NODE_FREE;

		if (free && !at_end)
			fa_orders_add(&zone->seen, at, end);
		for (; at < end; at++) {
			uint8_t state = buddy->state[at];

			if ((state & FA_PAGE_KIND) == FA_PAGE_FREE && state != FA_PAGE_INSIDE) {
				unsigned order = state & FA_PAGE_ORDER;

				free_until = at + (UINT64_C(1) << order);
				if (!at_end)
					zone->had.n[order < FA_MAX_ORDER ? order : FA_MAX_ORDER] +=
						1;
			}

			bool differs = free != (at < free_until);

			if (!at_end)
				r->differs[at - first] = differs;
			else if (differs && r->differs[at - first])
				result->different++;
		}
	}
	if (at_end)
		result->compared += pending->row.n_pages;
}

/* Compare all that was read before this time. */
static void compare_until(struct replayer *r, uint64_t time_ns)
{
	while (r->at < r->n_stretches) {
		struct pending *pending = &r->stretches[r->at];
		int z = na_zone_of(r->node, pending->row.first_pfn);
		struct na_zone_replay *result = &r->node->replay.zones[z];

		if (!pending->begun) {
			if (pending->row.begin_ns > time_ns)
				return;
			compare_stretch(r, pending, false, result);
			pending->begun = true;
		}
		if (pending->row.end_ns > time_ns)
			return;
		compare_stretch(r, pending, true, result);
		r->at++;
	}
}

/* ---- the policy replay ----------------------------------------------------------------------- */

/* The zone as the state replay has it now, with types of pageblocks. */
static struct ft_error *begin_policy(struct replayer *r, size_t z)
{
	struct zone_state *zone = &r->zones[z];
	const struct fa_buddy *buddy = &zone->buddy;
	uint32_t n = buddy->n_pages;
	struct fa_zone model;
	struct ft_error *error;

	/* Types, and which pages are movable, are those of the first snapshot. */
	FT_TRY(na_zone_model(r->node, z, 1, false, &model));
	error = fa_zone_init(&zone->policy, n, &model.options);
	for (uint32_t block = 0; !error && block < n; block += 1U << FA_PAGEBLOCK_ORDER)
		fa_zone_set_type(&zone->policy, block,
				 (enum fa_migratetype)fa_buddy_type(&model.buddy, block));
	for (uint32_t at = 0; !error && at < n;) {
		uint8_t state = buddy->state[at];
		uint32_t size = 1;

		if (state != FA_PAGE_ABSENT && state != FA_PAGE_INSIDE)
			size = UINT32_C(1) << (state & FA_PAGE_ORDER);
		if ((state & FA_PAGE_KIND) == FA_PAGE_FREE) {
			fa_buddy_add(&zone->policy.buddy, at, at + size);
		} else if ((state & FA_PAGE_KIND) == FA_PAGE_USED) {
			fa_buddy_add_used(&zone->policy.buddy, at, at + size);
			if ((model.buddy.state[at] & FA_PAGE_KIND) == FA_PAGE_USED)
				zone->policy.buddy.state[at] |=
					model.buddy.state[at] & FA_PAGE_MOVABLE;
		}
		at += size;
	}
	fa_zone_deinit(&model);
	FT_TRY(error);
	zone->has_policy = true;
	fa_zone_ready(&zone->policy);
	zone->map = malloc((n + (size_t)1) * sizeof(*zone->map));
	if (!zone->map)
		return &ft_enomem;
	for (uint32_t i = 0; i < n; i++)
		zone->map[i] = i;
	return NULL;
}

static struct ft_error *policy_take(struct zone_state *zone, uint32_t page, unsigned order,
				    uint8_t type)
{
	struct fa_zone_request request = {.order = order,
					  .type = type < FA_PCP_TYPES ? (enum fa_migratetype)type
								      : FA_UNMOVABLE,
					  .atomic = type == FA_HIGHATOMIC};
	struct ft_error *error;
	uint32_t got = fa_zone_alloc(&zone->policy, request, &error);

	FT_TRY(error);
	for (uint32_t i = 0; i < UINT32_C(1) << order; i++)
		zone->map[page + i] = got == FA_BUDDY_NONE ? FA_BUDDY_NONE : got + i;
	return NULL;
}

/* The blocks that stand for these pages come back, in the largest pieces that lie together. */
static struct ft_error *policy_give(struct zone_state *zone, uint32_t page, unsigned order)
{
	uint32_t first = zone->map[page], n = UINT32_C(1) << order;
	bool together = first != FA_BUDDY_NONE && !(first & (n - 1));
	struct ft_error *error;

	for (uint32_t i = 1; i < n && together; i++)
		together = zone->map[page + i] == first + i;
	if (together && fa_buddy_reshape(&zone->policy.buddy, first, order)) {
		fa_zone_free(&zone->policy, first, order, 0, &error);
		return error;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = zone->map[page + i];

		if (at == FA_BUDDY_NONE || !fa_buddy_reshape(&zone->policy.buddy, at, 0))
			continue;
		fa_zone_free(&zone->policy, at, 0, 0, &error);
		FT_TRY(error);
	}
	return NULL;
}

static double distance(const struct fa_orders *a, const struct fa_orders *b)
{
	double all_a = (double)fa_orders_free_pages(a), all_b = (double)fa_orders_free_pages(b);
	double sum = 0, c_a = 0, c_b = 0;

	if (all_a <= 0 || all_b <= 0)
		return all_a > 0 || all_b > 0;
	for (unsigned o = 0; o < FA_MAX_ORDER; o++) {
		c_a += (double)(a->n[o] << o) / all_a;
		c_b += (double)(b->n[o] << o) / all_b;
		sum += fabs(c_a - c_b);
	}
	return sum / FA_MAX_ORDER;
}

static void check_points(struct replayer *r, uint64_t time_ns)
{
	while (r->policy_begun && r->point < r->n_points &&
	       r->points[r->point]->time_ns <= time_ns) {
		const struct na_moment *moment = r->points[r->point++];

		for (size_t z = 0; z < r->node->n_zones; z++) {
			struct zone_state *zone = &r->zones[z];
			struct na_zone_replay *result = &r->node->replay.zones[z];
			struct fa_orders ours;
			struct fa_orders exact;

			if (!zone->has_policy || result->n_points == NA_CHECKPOINTS)
				continue;
			ours = fa_buddy_orders(&zone->policy.buddy);
			exact = fa_buddy_orders(&zone->buddy);
			result->points[result->n_points].time_ns = moment->time_ns;
			result->points[result->n_points].w1 = distance(&ours, &moment->zones[z]);
			result->points[result->n_points].unusable = fa_uf_index(&ours, 9);
			result->points[result->n_points].state_unusable = fa_uf_index(&exact, 9);
			result->points[result->n_points++].unusable_real =
				fa_uf_index(&moment->zones[z], 9);
		}
	}
}

/* ---- events ---------------------------------------------------------------------------------- */

/* Per-cpu lists hold orders 0 to 3, and with transparent huge pages 9 (pcp_allowed_order()). */
static bool passes_pcp_by(unsigned order)
{
	return (order > FA_COSTLY_ORDER && order != FA_PAGEBLOCK_ORDER) || order > FA_MAX_ORDER;
}

enum direction { NOTHING, TAKES, GIVES };

static enum direction direction_of(const struct ft_node_event *event)
{
	switch (event->kind) {
	case FT_NODE_TAKE:
		return TAKES;
	case FT_NODE_FALLBACK:
		/* A claim with a block below a pageblock's order is in zone_locked as well. */
		return event->flag && event->n < FA_PAGEBLOCK_ORDER ? NOTHING : TAKES;
	case FT_NODE_DRAIN:
		return GIVES;
	case FT_NODE_RELEASE:
		return passes_pcp_by(event->order) ? GIVES : NOTHING;
	default:
		return NOTHING;
	}
}

static void mark_freed(struct zone_state *zone, uint32_t page, unsigned order, bool freed)
{
	for (uint32_t i = page; i < page + (UINT32_C(1) << order); i++) {
		zone->freed[i >> 3] &= (uint8_t) ~(1U << (i & 7));
		zone->freed[i >> 3] |= (uint8_t)(freed ? 1U << (i & 7) : 0);
	}
}

/* Some of the block is used, and all that is was freed last: it must be in the buddy lists. */
static bool take_bypassed(struct zone_state *zone, uint32_t page, unsigned order)
{
	unsigned ignored;

	for (uint32_t i = page; i < page + (UINT32_C(1) << order); i++)
		if (fa_buddy_free_block(&zone->buddy, i, &ignored) == FA_BUDDY_NONE &&
		    !(zone->freed[i >> 3] >> (i & 7) & 1))
			return false;
	for (uint32_t i = page; i < page + (UINT32_C(1) << order); i++)
		if (fa_buddy_free_block(&zone->buddy, i, &ignored) == FA_BUDDY_NONE)
			fa_buddy_give(&zone->buddy, i, 0);
	return fa_buddy_take(&zone->buddy, page, order);
}

/* Who has the pages, above the buddy lists. */
static void follow(struct zone_state *zone, const struct ft_node_event *event)
{
	uint64_t at = event->pfn - zone->base;

	if (at + (UINT64_C(1) << event->order) > zone->buddy.n_pages ||
	    event->time_ns < zone->times[at >> STRETCH_SHIFT].begin_ns)
		return;
	if (event->kind == FT_NODE_RELEASE)
		mark_freed(zone, (uint32_t)at, event->order, !passes_pcp_by(event->order));
	else if (event->kind == FT_NODE_ALLOC || event->kind == FT_NODE_DRAIN)
		mark_freed(zone, (uint32_t)at, event->order, false);
}

static struct ft_error *apply(struct replayer *r, struct zone_state *zone,
			      struct na_zone_replay *result, const struct ft_node_event *event,
			      enum direction direction)
{
	uint64_t at = event->pfn - zone->base;
	const struct stretch_time *time = &zone->times[at >> STRETCH_SHIFT];
	uint32_t page = (uint32_t)at;
	bool good;

	if (at + (UINT64_C(1) << event->order) > zone->buddy.n_pages ||
	    event->time_ns < time->begin_ns)
		return NULL;
	good = direction == TAKES ? fa_buddy_take(&zone->buddy, page, event->order)
				  : fa_buddy_give(&zone->buddy, page, event->order);
	if (event->time_ns <= time->end_ns) {
		result->ambiguous++;
		return NULL;
	}
	if (!good && direction == TAKES && take_bypassed(zone, page, event->order)) {
		result->bypassed++;
		good = true;
	}
	result->n_events++;
	result->takes += direction == TAKES;
	result->fallbacks += event->kind == FT_NODE_FALLBACK;
	if (!good) {
		*(direction == TAKES ? &result->impossible_takes : &result->impossible_frees) += 1;
		return NULL;
	}
	if (!zone->has_policy)
		return NULL;
	return direction == TAKES ? policy_take(zone, page, event->order, event->type)
				  : policy_give(zone, page, event->order);
}

static struct ft_error *replay_event(void *ctx, const struct ft_node_event *event)
{
	struct replayer *r = ctx;
	enum direction direction = direction_of(event);
	int z;

	if (event->time_ns >= r->end_ns)
		return NULL;
	if (!r->policy_begun && event->time_ns >= r->policy_ns) {
		for (size_t i = 0; i < r->node->n_zones; i++)
			if (r->zones[i].on)
				FT_TRY(begin_policy(r, i));
		r->policy_begun = true;
	}
	check_points(r, event->time_ns);
	compare_until(r, event->time_ns);
	if (event->kind == FT_NODE_FALLBACK && direction == NOTHING) {
		z = na_zone_of(r->node, event->pfn);
		if (z >= 0)
			r->node->replay.zones[z].fallbacks++;
	}
	if (event->kind > FT_NODE_FALLBACK)
		return NULL;
	z = na_zone_of(r->node, event->pfn);
	if (z < 0 || !r->zones[z].on)
		return NULL;
	follow(&r->zones[z], event);
	if (direction == NOTHING)
		return NULL;
	r->node->replay.n_events++;
	return apply(r, &r->zones[z], &r->node->replay.zones[z], event, direction);
}

/* ---- a replay -------------------------------------------------------------------------------- */

static struct ft_error *prepare(struct replayer *r)
{
	for (size_t z = 0; z < r->node->n_zones; z++) {
		const struct ft_node_zone_row *row = &r->node->zones[z].row;
		struct zone_state *zone = &r->zones[z];
		uint64_t n;

		zone->base = na_base(&r->node->zones[z]);
		n = row->start_pfn + row->spanned - zone->base;
		if (!r->node->snapshots[0].zones[z].has || row->spanned > NA_MODEL_PAGES)
			continue;
		zone->times = calloc((n >> STRETCH_SHIFT) + 1, sizeof(*zone->times));
		zone->freed = calloc((n >> 3) + 1, 1);
		if (!zone->times || !zone->freed)
			return &ft_enomem;
		FT_TRY(fa_buddy_init(&zone->buddy, n, FA_MAX_ORDER, FA_PAGEBLOCK_ORDER));
		zone->on = true;
		r->node->replay.zones[z].managed = row->managed;
	}
	r->differs = malloc(STRETCH_MAX);
	return r->differs ? NULL : &ft_enomem;
}

/* Ten moments, evenly in time. */
static void choose_points(struct replayer *r)
{
	const struct na_node *node = r->node;
	uint64_t from = r->policy_ns, span = r->end_ns - from;

	for (size_t i = 0, m = 0; i < NA_CHECKPOINTS && span; i++) {
		uint64_t want = from + span / NA_CHECKPOINTS * (i + 1);
		const struct na_moment *best = NULL;

		for (; m < node->n_moments && node->moments[m].time_ns < want; m++)
			if (node->moments[m].time_ns > from)
				best = &node->moments[m];
		if (best)
			r->points[r->n_points++] = best;
	}
}

static struct ft_error *run(struct replayer *r)
{
	struct na_node *node = r->node;

	FT_TRY(prepare(r));
	FT_TRY(ft_reader_node_pages(node->reader, 1, fill_state, r));
	if (node->n_snapshots > 1 && r->end_ns > node->snapshots[1].end_ns)
		FT_TRY(ft_reader_node_pages(node->reader, 2, keep_stretch, r));
	choose_points(r);
	FT_TRY(ft_reader_node_events(node->reader, replay_event, r));
	compare_until(r, r->end_ns);
	check_points(r, r->end_ns);
	for (size_t z = 0; z < node->n_zones; z++) {
		struct na_zone_replay *result = &node->replay.zones[z];

		if (r->zones[z].has_policy)
			result->model_fallbacks = r->zones[z].policy.counts.fallbacks;
		for (unsigned o = 0; o < FA_ORDERS && result->compared; o++) {
			double difference = fabs(fa_uf_index(&r->zones[z].seen, o) -
						 fa_uf_index(&r->zones[z].had, o));

			if (difference > result->unusable_difference)
				result->unusable_difference = difference;
		}
	}
	node->replay.has = true;
	return NULL;
}

static void replayer_deinit(struct replayer *r)
{
	for (size_t z = 0; z < NA_ZONES; z++) {
		if (r->zones[z].on)
			fa_buddy_deinit(&r->zones[z].buddy);
		if (r->zones[z].has_policy)
			fa_zone_deinit(&r->zones[z].policy);
		free(r->zones[z].map);
		free(r->zones[z].times);
		free(r->zones[z].freed);
	}
	for (size_t i = 0; i < r->n_stretches; i++)
		free(r->stretches[i].runs);
	free(r->stretches);
	free(r->differs);
}

struct ft_error *na_replay(struct na_node *node)
{
	struct na_replay *replay = &node->replay;
	uint64_t end = node->n_snapshots > 1 ? node->snapshots[1].end_ns + 1 : UINT64_MAX;
	struct replayer *r;
	struct ft_error *error;

	if (!node->events.n[FT_NODE_TAKE] && !node->events.n[FT_NODE_DRAIN]) {
		replay->why = "no events of pages were recorded (--trace)";
		return NULL;
	}
	if (!node->n_snapshots || !node->snapshots[0].end_ns) {
		replay->why = "no page frames were recorded (--kpageflags)";
		return NULL;
	}
	if (end == UINT64_MAX)
		end = node->events.last_ns + 1;
	if (node->lost_ns < end) {
		end = node->lost_ns;
		replay->why = "events were lost";
	}
	if (node->events.compact_ns < end) {
		end = node->events.compact_ns;
		replay->why = "the kernel compacted, which moves pages without events";
	}
	if (end <= node->snapshots[0].end_ns) {
		replay->why = replay->why ? replay->why : "the recording ends with its snapshot";
		return NULL;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return &ft_enomem;
	r->node = node;
	r->end_ns = end;
	r->policy_ns = node->snapshots[0].end_ns + 1;
	replay->from_ns = node->snapshots[0].end_ns;
	replay->to_ns = end;
	error = run(r);
	replayer_deinit(r);
	free(r);
	return error;
}

/* SPDX-License-Identifier: MIT */
/*
 * Page frames: what snapshots show, and what remedies would win
 *
 * A remedy is tried on a model of each zone: the pages that drop_caches would free become free, the
 * kernel's two scanners run over what is movable. Dropping is an upper bound (the kernel leaves
 * pages that somebody holds, and slab is not part of it); compaction's error is in docs/MODELS.md.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_impl.h"

enum {
	PAGEBLOCK = 1 << FA_PAGEBLOCK_ORDER,
	FEW = 8,	    /* unmovable pages that hold a pageblock */
	MAX_MOVE_ORDER = 8, /* skip_isolation_on_order(), mm/compaction.c: below a pageblock's */
};

static bool is_movable(uint8_t kind)
{
	return kind == FT_NODE_MOVABLE || kind == FT_NODE_CACHE;
}

static bool is_used(uint8_t kind)
{
	return kind != FT_NODE_FREE && kind != FT_NODE_ABSENT;
}

/* ---- what a snapshot shows ------------------------------------------------------------------- */

struct look {
	struct na_node *node;
	struct na_snapshot *snapshot;
	uint32_t number;
	struct {
		uint64_t block; /* the pageblock that is being counted, + 1 */
		uint64_t movable, unmovable;
		uint64_t begin_ns, end_ns;
	} zones[NA_ZONES];
};

static void block_end(struct look *look, size_t zone)
{
	struct na_frames *frames = &look->snapshot->zones[zone];
	uint64_t movable = look->zones[zone].movable, unmovable = look->zones[zone].unmovable;

	if (look->zones[zone].block) {
		frames->pageblocks++;
		frames->mixed += movable && unmovable;
		frames->pinned_by_few += movable && unmovable && unmovable <= FEW;
	}
	look->zones[zone].movable = look->zones[zone].unmovable = 0;
}

/* Count the pages [at, at + n) of one kind, pageblock by pageblock. */
static void count_pages(struct look *look, size_t zone, uint64_t at, uint64_t n, uint8_t kind)
{
	while (n) {
		uint64_t block = at / PAGEBLOCK, left = PAGEBLOCK - at % PAGEBLOCK;
		uint64_t here = n < left ? n : left;

		if (look->zones[zone].block != block + 1) {
			block_end(look, zone);
			look->zones[zone].block = block + 1;
		}
		*(is_movable(kind) ? &look->zones[zone].movable : &look->zones[zone].unmovable) +=
			here;
		at += here;
		n -= here;
	}
}

static struct ft_error *look_at(void *ctx, const struct ft_node_pages_row *row)
{
	struct look *look = ctx;
	struct na_snapshot *snapshots = look->node->snapshots;
	int zone = na_zone_of(look->node, row->first_pfn);
	uint64_t at = row->first_pfn;
	struct na_frames *frames;

	if (zone < 0 || row->snapshot != look->number)
		return NULL;
	look->snapshot = &snapshots[look->number - 1];
	frames = &look->snapshot->zones[zone];
	if (!frames->has)
		look->zones[zone].begin_ns = row->begin_ns;
	if (!look->snapshot->end_ns)
		look->snapshot->begin_ns = row->begin_ns;
	frames->has = true;
	look->zones[zone].end_ns = look->snapshot->end_ns = row->end_ns;
	for (size_t i = 0; i < row->n_runs; i++) {
		const struct ft_node_run *run = &row->runs[i];
		uint64_t n = (uint64_t)run->n << run->order;

		frames->pages[run->kind] += n;
		if (run->kind == FT_NODE_FREE)
			fa_orders_add(&frames->orders, at, at + n);
		else if (is_used(run->kind))
			count_pages(look, (size_t)zone, at, n, run->kind);
		at += n;
	}
	return NULL;
}

/* Does the cut of the free pages give buddyinfo? Only a zone that stood still can tell. */
static int agreement(const struct na_node *node, size_t zone, uint64_t begin_ns, uint64_t end_ns,
		     const struct fa_orders *orders)
{
	const struct fa_orders *before = na_orders_before(node, zone, begin_ns);
	const struct fa_orders *after = na_orders_after(node, zone, end_ns);

	if (!before || !after || memcmp(before, after, sizeof(*before)) != 0)
		return -1;
	return memcmp(before, orders, sizeof(*before)) == 0;
}

static struct ft_error *take_snapshot(struct na_node *node, uint32_t number)
{
	struct look *look = calloc(1, sizeof(*look));
	struct ft_error *error;

	if (!look)
		return &ft_enomem;
	look->node = node;
	look->number = number;
	error = ft_reader_node_pages(node->reader, number, look_at, look);
	for (size_t z = 0; !error && look->snapshot && z < node->n_zones; z++) {
		struct na_frames *frames = &look->snapshot->zones[z];

		block_end(look, z);
		if (frames->has)
			frames->agrees = agreement(node, z, look->zones[z].begin_ns,
						   look->zones[z].end_ns, &frames->orders);
	}
	if (look->snapshot)
		node->n_snapshots = number;
	free(look);
	return error;
}

/* ---- a model of a zone ----------------------------------------------------------------------- */

struct zone_run {
	uint64_t pfn;
	struct ft_node_run run;
};

struct zone_runs {
	const struct na_node *node;
	int zone;
	struct zone_run *runs;
	size_t n, room;
	uint64_t end; /* runs go up */
};

static struct ft_error *keep_runs(void *ctx, const struct ft_node_pages_row *row)
{
	struct zone_runs *runs = ctx;
	uint64_t at = row->first_pfn;

	if (na_zone_of(runs->node, at) != runs->zone)
		return NULL;
	if (runs->n + row->n_runs > runs->room) {
		size_t room = (runs->n + row->n_runs) * 2;
		struct zone_run *bigger = realloc(runs->runs, room * sizeof(*bigger));

		if (!bigger)
			return &ft_enomem;
		runs->runs = bigger;
		runs->room = room;
	}
	if (at < runs->end)
		return ft_error_create(FT_ERROR_INPUT,
				       "%s: the recording is damaged: a snapshot goes back",
				       ft_reader_path(runs->node->reader));
	for (size_t i = 0; i < row->n_runs; i++) {
		runs->runs[runs->n++] = (struct zone_run){at, row->runs[i]};
		at += (uint64_t)row->runs[i].n << row->runs[i].order;
	}
	runs->end = at;
	return NULL;
}

unsigned na_guess_type(uint64_t movable, uint64_t unmovable)
{
	return unmovable > movable ? FA_UNMOVABLE : FA_MOVABLE;
}

static struct ft_error *set_types(struct fa_zone *zone, const struct zone_runs *runs,
				  const uint8_t *told, uint64_t base)
{
	size_t n_blocks = zone->buddy.n_pages / PAGEBLOCK + 1;
	uint32_t(*counts)[2] = calloc(n_blocks, sizeof(*counts));

	if (!counts)
		return &ft_enomem;
	for (size_t i = 0; i < runs->n; i++) {
		const struct ft_node_run *run = &runs->runs[i].run;
		uint64_t at = runs->runs[i].pfn - base, n = (uint64_t)run->n << run->order;

		for (; is_used(run->kind) && n && at / PAGEBLOCK < n_blocks;) {
			uint64_t left = PAGEBLOCK - at % PAGEBLOCK, here = n < left ? n : left;

			counts[at / PAGEBLOCK][is_movable(run->kind) ? 0 : 1] += (uint32_t)here;
			at += here;
			n -= here;
		}
	}
	for (size_t b = 0; b < n_blocks; b++) {
		unsigned type = na_guess_type(counts[b][0], counts[b][1]);

		if (told && told[b] != 0xff)
			type = told[b];
		if (b * PAGEBLOCK < zone->buddy.n_pages)
			fa_zone_set_type(zone, (uint32_t)(b * PAGEBLOCK),
					 (enum fa_migratetype)type);
	}
	free(counts);
	return NULL;
}

static void fill_run(struct fa_zone *zone, uint64_t at, const struct ft_node_run *run, bool drop)
{
	uint64_t size = UINT64_C(1) << run->order, end = at + run->n * size;

	if (run->kind == FT_NODE_ABSENT || end > zone->buddy.n_pages)
		return;
	if (run->kind == FT_NODE_FREE || (drop && run->kind == FT_NODE_CACHE)) {
		fa_buddy_add(&zone->buddy, (uint32_t)at, (uint32_t)end);
		return;
	}
	for (; at < end; at += size) {
		fa_buddy_add_used(&zone->buddy, (uint32_t)at, (uint32_t)(at + size));
		if (is_movable(run->kind))
			zone->buddy.state[at] |= FA_PAGE_MOVABLE;
	}
}

/* Zones of kernels from 6.15 on have the newer rules. */
static enum fa_zone_rules rules_of(const struct na_node *node)
{
	const char *kernel = ft_reader_meta(node->reader, "kernel");
	int major = 0, minor = 0;

	if (kernel && sscanf(kernel, "%d.%d", &major, &minor) == 2 &&
	    (major < 6 || (major == 6 && minor < 15)))
		return FA_RULES_6_14;
	return FA_RULES_6_15;
}

static uint64_t mark(const struct na_node *node, size_t zone, const char *key)
{
	char source[32];
	int64_t first, last;

	snprintf(source, sizeof(source), "zone %zu", zone + 1);
	na_figure(node, source, key, &first, &last);
	return last > 0 ? (uint64_t)last : 0;
}

struct ft_error *na_zone_model(const struct na_node *node, size_t zone, uint32_t snapshot,
			       bool drop, struct fa_zone *ret)
{
	const struct ft_node_zone_row *row = &node->zones[zone].row;
	uint64_t base = na_base(&node->zones[zone]);
	struct fa_zone_options options = {.rules = rules_of(node),
					  .zone_movable = !strcmp(row->name, "Movable"),
					  .watermarks = {mark(node, zone, "min"),
							 mark(node, zone, "low"),
							 mark(node, zone, "high")}};
	struct zone_runs runs = {.node = node, .zone = (int)zone};
	struct ft_error *error;

	error = fa_zone_init(ret, row->start_pfn + row->spanned - base, &options);
	if (!error)
		error = ft_reader_node_pages(node->reader, snapshot, keep_runs, &runs);
	if (!error)
		error = set_types(ret, &runs, node->block_types[zone], base);
	for (size_t i = 0; !error && i < runs.n; i++)
		fill_run(ret, runs.runs[i].pfn - base, &runs.runs[i].run, drop);
	free(runs.runs);
	if (error) {
		fa_zone_deinit(ret);
		return error;
	}
	fa_zone_ready(ret);
	return NULL;
}

/* ---- remedies -------------------------------------------------------------------------------- */

static struct ft_error *run_compaction(struct fa_zone *zone, struct na_remedy *ret)
{
	struct fa_compact_request request = {.order = -1,
					     .type = FA_MOVABLE,
					     .mode = FA_COMPACT_SYNC,
					     .whole_zone = true,
					     .max_move_order = MAX_MOVE_ORDER};
	struct fa_compact_stats stats = {0};
	struct fa_orders orders;
	struct ft_error *error;

	fa_compact(zone, &request, &stats, &error);
	orders = fa_buddy_orders(&zone->buddy);
	ret->after = na_huge(&orders);
	ret->moved_pages = stats.moved_pages;
	ret->has = true;
	return error;
}

static struct ft_error *try_remedies(struct na_node *node, size_t z, uint32_t snapshot)
{
	const struct na_frames *frames = &node->snapshots[snapshot - 1].zones[z];
	uint64_t before = na_huge(&frames->orders), cache = frames->pages[FT_NODE_CACHE];
	struct fa_zone zone;
	struct fa_orders orders;
	struct ft_error *error;

	if (!frames->has || node->zones[z].row.spanned > NA_MODEL_PAGES)
		return NULL;
	FT_TRY(na_zone_model(node, z, snapshot, false, &zone));
	node->compact[z] = (struct na_remedy){.before = before};
	error = run_compaction(&zone, &node->compact[z]);
	fa_zone_deinit(&zone);
	FT_TRY(error);
	FT_TRY(na_zone_model(node, z, snapshot, true, &zone));
	orders = fa_buddy_orders(&zone.buddy);
	node->drop[z] = (struct na_remedy){
		.has = true, .before = before, .after = na_huge(&orders), .freed_pages = cache};
	node->both[z] = (struct na_remedy){.before = before, .freed_pages = cache};
	error = run_compaction(&zone, &node->both[z]);
	fa_zone_deinit(&zone);
	return error;
}

/* What the compaction that really ran won, beside what the model says of the snapshot before it. */
static void compare_action(struct na_node *node, uint32_t snapshot)
{
	for (size_t z = 0; z < node->n_zones; z++) {
		const struct fa_orders *before = na_orders_before(node, z, node->action.begin_ns);
		const struct fa_orders *after = na_orders_after(node, z, node->action.end_ns);

		if (before && after)
			node->measured[z] = (struct na_remedy){
				.has = true, .before = na_huge(before), .after = na_huge(after)};
		if (snapshot)
			node->predicted[z] = node->compact[z];
	}
}

struct ft_error *na_frames(struct na_node *node)
{
	uint32_t best = 0;

	node->snapshots = calloc(NA_SNAPSHOTS, sizeof(*node->snapshots));
	if (!node->snapshots)
		return &ft_enomem;
	for (uint32_t i = 1; i <= NA_SNAPSHOTS; i++)
		FT_TRY(take_snapshot(node, i));
	/* The last one, unless the machine was compacted before it. */
	for (uint32_t i = 1; i <= node->n_snapshots; i++)
		if (node->snapshots[i - 1].end_ns &&
		    (!node->has_action || node->snapshots[i - 1].end_ns <= node->action.begin_ns))
			best = i;
	for (size_t z = 0; best && z < node->n_zones; z++)
		FT_TRY(try_remedies(node, z, best));
	if (node->has_action)
		compare_action(node, best);
	return NULL;
}

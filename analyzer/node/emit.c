/* SPDX-License-Identifier: MIT */
/* The section `node` and its columns: see reports/FORMAT.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node_impl.h"

enum { MOMENTS = 512 };

static const char *const page_names[FT_NODE_PAGE_KINDS] = {"absent", "free", "movable",
							   "cache",  "slab", "other"};

static struct ft_error *emit_source(void *ctx, const struct ft_node_source_row *row)
{
	struct fa_json *json = ctx;

	fa_json_object_begin(json);
	fa_json_kv_string(json, "name", row->name);
	fa_json_kv_string(json, "status", row->status);
	fa_json_kv_string(json, "detail", row->detail);
	fa_json_object_end(json);
	return NULL;
}

/* ---- zones ----------------------------------------------------------------------------------- */

static void emit_orders(struct fa_json *json, const char *key, const struct fa_orders *orders)
{
	fa_json_key(json, key);
	fa_json_array_begin(json);
	for (unsigned o = 0; o < FA_ORDERS; o++)
		fa_json_u64(json, orders->n[o]);
	fa_json_array_end(json);
}

static void emit_state(struct fa_json *json, const char *key, const struct fa_orders *orders)
{
	fa_json_key(json, key);
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "free_pages", fa_orders_free_pages(orders));
	emit_orders(json, "free_blocks", orders);
	fa_json_key(json, "uf_index");
	fa_json_array_begin(json);
	for (unsigned o = 0; o < FA_ORDERS; o++)
		fa_json_f64(json, fa_uf_index(orders, o));
	fa_json_array_end(json);
	fa_json_kv_u64(json, "huge_blocks", na_huge(orders));
	fa_json_kv_u64(json, "score", fa_frag_score(orders, FA_PAGEBLOCK_ORDER));
	fa_json_object_end(json);
}

static void emit_frames(struct fa_json *json, const struct na_frames *frames)
{
	fa_json_key(json, "frames");
	if (!frames || !frames->has) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	for (unsigned k = 0; k < FT_NODE_PAGE_KINDS; k++)
		fa_json_kv_u64(json, page_names[k], frames->pages[k]);
	fa_json_kv_u64(json, "used_pageblocks", frames->pageblocks);
	fa_json_kv_u64(json, "mixed_pageblocks", frames->mixed);
	fa_json_kv_u64(json, "pinned_by_few", frames->pinned_by_few);
	fa_json_object_end(json);
}

static void emit_figure(struct fa_json *json, const struct na_node *node, const char *source,
			const char *key)
{
	int64_t first, last;

	if (na_figure(node, source, key, &first, &last))
		fa_json_kv_i64(json, key, last);
	else
		fa_json_kv_null(json, key);
}

static void emit_zone(const struct na_node *node, size_t z, struct fa_json *json)
{
	const struct na_zone *zone = &node->zones[z];
	const struct na_frames *frames = NULL;
	char source[32];

	for (uint32_t i = 0; i < node->n_snapshots; i++)
		if (node->snapshots[i].zones[z].has)
			frames = &node->snapshots[i].zones[z];
	snprintf(source, sizeof(source), "zone %zu", z + 1);
	fa_json_object_begin(json);
	fa_json_kv_i64(json, "node", zone->row.node);
	fa_json_kv_string(json, "name", zone->name);
	fa_json_kv_u64(json, "managed_pages", zone->row.managed);
	fa_json_key(json, "watermarks");
	fa_json_object_begin(json);
	emit_figure(json, node, source, "min");
	emit_figure(json, node, source, "low");
	emit_figure(json, node, source, "high");
	emit_figure(json, node, source, "boost");
	fa_json_object_end(json);
	if (node->n_moments) {
		emit_state(json, "first", &node->moments[0].zones[z]);
		emit_state(json, "last", &node->moments[node->n_moments - 1].zones[z]);
	} else {
		fa_json_kv_null(json, "first");
		fa_json_kv_null(json, "last");
	}
	fa_json_key(json, "pageblocks");
	fa_json_array_begin(json);
	for (size_t i = 0; i < zone->n_types; i++) {
		fa_json_object_begin(json);
		fa_json_kv_string(json, "type", zone->types[i].name);
		fa_json_kv_u64(json, "first", zone->types[i].blocks_first);
		fa_json_kv_u64(json, "last", zone->types[i].blocks_last);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	emit_frames(json, frames);
	fa_json_object_end(json);
}

/* ---- counters, slabs, events ----------------------------------------------------------------- */

/* By how much a counter went up; null where the kernel does not have it. */
static void emit_counter(struct fa_json *json, const struct na_node *node, const char *key)
{
	int64_t first, last;

	if (na_figure(node, "vmstat", key, &first, &last))
		fa_json_kv_i64(json, key, last - first);
	else
		fa_json_kv_null(json, key);
}

static void emit_counters(const struct na_node *node, struct fa_json *json)
{
	static const char *const keys[] = {"compact_stall",
					   "compact_fail",
					   "compact_success",
					   "compact_daemon_wake",
					   "compact_migrate_scanned",
					   "compact_free_scanned",
					   "compact_isolated",
					   "thp_fault_alloc",
					   "thp_fault_fallback",
					   "thp_collapse_alloc",
					   "thp_collapse_alloc_failed",
					   "thp_split_page",
					   "pgmigrate_success",
					   "pgmigrate_fail",
					   "kswapd_low_wmark_hit_quickly",
					   "drop_pagecache",
					   "drop_slab",
					   "oom_kill"};

	fa_json_key(json, "counters");
	fa_json_object_begin(json);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		emit_counter(json, node, keys[i]);
	fa_json_object_end(json);
	fa_json_key(json, "pressure");
	fa_json_object_begin(json);
	for (size_t i = 0; i < 2; i++) {
		static const char *const totals[] = {"some.total", "full.total"};
		static const char *const names[] = {"some_us", "full_us"};
		int64_t first, last;

		if (na_figure(node, "pressure", totals[i], &first, &last))
			fa_json_kv_i64(json, names[i], last - first);
		else
			fa_json_kv_null(json, names[i]);
	}
	fa_json_object_end(json);
}

static void emit_slabs(const struct na_node *node, unsigned top, struct fa_json *json)
{
	uint64_t bytes = 0, waste = 0;

	fa_json_key(json, "slabs");
	if (!node->n_slabs) {
		fa_json_null(json);
		return;
	}
	for (size_t i = 0; i < node->n_slabs; i++) {
		bytes += node->slabs[i].last.slabs * node->slabs[i].last.pages_per_slab * 4096;
		waste += node->slabs[i].waste;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "bytes", bytes);
	fa_json_kv_u64(json, "waste_bytes", waste);
	fa_json_key(json, "caches");
	fa_json_array_begin(json);
	for (size_t i = 0; i < node->n_slabs && i < top; i++) {
		const struct na_slab *slab = &node->slabs[i];

		fa_json_object_begin(json);
		fa_json_kv_string(json, "cache", slab->cache);
		fa_json_kv_u64(json, "bytes", slab->last.slabs * slab->last.pages_per_slab * 4096);
		fa_json_kv_u64(json, "waste_bytes", slab->waste);
		fa_json_kv_u64(json, "object_bytes", slab->last.object_bytes);
		fa_json_kv_u64(json, "objects", slab->last.objects);
		fa_json_kv_u64(json, "active_objects", slab->last.active_objects);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
}

static void emit_events(const struct na_node *node, struct fa_json *json)
{
	const struct na_events *events = &node->events;
	uint64_t allocs = events->n[FT_NODE_ALLOC];
	uint64_t fallbacks = events->claims + events->steals;

	fa_json_key(json, "events");
	if (!events->n[0]) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "events", events->n[0]);
	fa_json_kv_u64(json, "lost", node->n_lost);
	fa_json_kv_u64(json, "allocations", allocs);
	fa_json_kv_u64(json, "frees", events->n[FT_NODE_RELEASE]);
	fa_json_kv_u64(json, "buddy_allocations", events->n[FT_NODE_TAKE]);
	fa_json_kv_u64(json, "pcp_drained", events->n[FT_NODE_DRAIN]);
	fa_json_kv_u64(json, "fallbacks", fallbacks);
	fa_json_kv_u64(json, "claims", events->claims);
	fa_json_kv_u64(json, "steals", events->steals);
	if (allocs)
		fa_json_kv_f64(json, "fallbacks_per_million",
			       1e6 * (double)fallbacks / (double)allocs);
	else
		fa_json_kv_null(json, "fallbacks_per_million");
	fa_json_kv_u64(json, "compactions", events->n[FT_NODE_COMPACT_BEGIN]);
	/* enum compact_result, include/linux/compaction.h */
	static const char *const ends[NA_ENDS] = {"not_suitable",     "skipped",   "deferred",
						  "no_suitable_page", "continue",  "complete",
						  "partial_skipped",  "contended", "success"};

	fa_json_key(json, "compaction_ends");
	fa_json_object_begin(json);
	for (unsigned i = 0; i < NA_ENDS; i++)
		if (events->ends[i])
			fa_json_kv_u64(json, ends[i], events->ends[i]);
	fa_json_object_end(json);
	fa_json_key(json, "allocations_by_order");
	fa_json_array_begin(json);
	for (unsigned o = 0; o < FT_NODE_ORDERS; o++)
		fa_json_u64(json, events->alloc_orders[o]);
	fa_json_array_end(json);
	fa_json_object_end(json);
}

/* ---- how far the models hold here ------------------------------------------------------------ */

static void emit_points(struct fa_json *json, const struct na_zone_replay *zone)
{
	double w1 = 0, worst = 0;

	fa_json_key(json, "checkpoints");
	fa_json_array_begin(json);
	for (size_t i = 0; i < zone->n_points; i++) {
		double difference = zone->points[i].unusable - zone->points[i].unusable_real;

		difference = difference < 0 ? -difference : difference;
		w1 = zone->points[i].w1 > w1 ? zone->points[i].w1 : w1;
		worst = difference > worst ? difference : worst;
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "time_ns", zone->points[i].time_ns);
		fa_json_kv_f64(json, "w1", zone->points[i].w1);
		fa_json_kv_f64(json, "unusable9", zone->points[i].unusable);
		fa_json_kv_f64(json, "unusable9_kernel", zone->points[i].unusable_real);
		fa_json_kv_f64(json, "unusable9_state", zone->points[i].state_unusable);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_kv_f64(json, "worst_w1", w1);
	fa_json_kv_f64(json, "worst_unusable9_difference", worst);
}

static void emit_zone_replay(const struct na_node *node, size_t z, struct fa_json *json)
{
	const struct na_zone_replay *zone = &node->replay.zones[z];
	uint64_t impossible = zone->impossible_takes + zone->impossible_frees;

	fa_json_object_begin(json);
	fa_json_kv_string(json, "zone", node->zones[z].name);
	fa_json_kv_i64(json, "node", node->zones[z].row.node);
	fa_json_kv_u64(json, "events", zone->n_events);
	fa_json_kv_u64(json, "impossible_allocations", zone->impossible_takes);
	fa_json_kv_u64(json, "impossible_frees", zone->impossible_frees);
	fa_json_kv_f64(json, "impossible_per_million",
		       zone->n_events ? 1e6 * (double)impossible / (double)zone->n_events : 0);
	fa_json_kv_u64(json, "bypassed", zone->bypassed);
	fa_json_kv_u64(json, "not_judged", zone->ambiguous);
	fa_json_kv_u64(json, "compared_pages", zone->compared);
	if (zone->compared) {
		fa_json_kv_u64(json, "different_pages", zone->different);
		fa_json_kv_f64(json, "different_share",
			       zone->managed ? (double)zone->different / (double)zone->managed : 0);
		fa_json_kv_f64(json, "worst_unusable_difference", zone->unusable_difference);
	} else {
		fa_json_kv_null(json, "different_pages");
		fa_json_kv_null(json, "different_share");
		fa_json_kv_null(json, "worst_unusable_difference");
	}
	fa_json_key(json, "policy");
	fa_json_object_begin(json);
	emit_points(json, zone);
	fa_json_kv_u64(json, "requests", zone->takes);
	fa_json_kv_u64(json, "fallbacks", zone->model_fallbacks);
	fa_json_kv_u64(json, "fallbacks_kernel", zone->fallbacks);
	fa_json_object_end(json);
	fa_json_object_end(json);
}

static void emit_replay(const struct na_node *node, struct fa_json *json)
{
	const struct na_replay *replay = &node->replay;

	fa_json_kv_string(json, "replay_note", replay->why);
	fa_json_key(json, "replay");
	if (!replay->has) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "from_ns", replay->from_ns);
	fa_json_kv_u64(json, "to_ns", replay->to_ns);
	fa_json_kv_u64(json, "events", replay->n_events);
	fa_json_key(json, "zones");
	fa_json_array_begin(json);
	for (size_t z = 0; z < node->n_zones; z++)
		if (replay->zones[z].managed)
			emit_zone_replay(node, z, json);
	fa_json_array_end(json);
	fa_json_object_end(json);
}

static void emit_compaction(const struct na_node *node, struct fa_json *json)
{
	fa_json_key(json, "compaction");
	if (!node->has_action) {
		fa_json_null(json);
		return;
	}
	fa_json_array_begin(json);
	for (size_t z = 0; z < node->n_zones; z++) {
		const struct na_remedy *real = &node->measured[z], *model = &node->predicted[z];

		if (!real->has || !node->zones[z].row.managed)
			continue;
		fa_json_object_begin(json);
		fa_json_kv_string(json, "zone", node->zones[z].name);
		fa_json_kv_i64(json, "node", node->zones[z].row.node);
		fa_json_kv_u64(json, "huge_blocks_before", real->before);
		fa_json_kv_u64(json, "huge_blocks_after", real->after);
		fa_json_kv_i64(json, "won", (int64_t)real->after - (int64_t)real->before);
		if (model->has)
			fa_json_kv_i64(json, "model_won",
				       (int64_t)model->after - (int64_t)model->before);
		else
			fa_json_kv_null(json, "model_won");
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
}

static void emit_held(const struct na_node *node, struct fa_json *json)
{
	fa_json_key(json, "held");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "index_lines", node->index_lines);
	fa_json_kv_u64(json, "index_lines_equal", node->index_equal);
	fa_json_key(json, "cuts");
	fa_json_array_begin(json);
	for (uint32_t i = 0; i < node->n_snapshots; i++)
		for (size_t z = 0; z < node->n_zones; z++) {
			const struct na_frames *frames = &node->snapshots[i].zones[z];

			if (!frames->has)
				continue;
			fa_json_object_begin(json);
			fa_json_kv_u64(json, "snapshot", i + 1);
			fa_json_kv_string(json, "zone", node->zones[z].name);
			fa_json_key(json, "equals_buddyinfo");
			if (frames->agrees < 0)
				fa_json_null(json);
			else
				fa_json_bool(json, frames->agrees);
			fa_json_object_end(json);
		}
	fa_json_array_end(json);
	emit_replay(node, json);
	emit_compaction(node, json);
	fa_json_object_end(json);
}

/* ---- columns --------------------------------------------------------------------------------- */

static void emit_columns(const struct na_node *node, struct fa_doc *doc)
{
	size_t stride = node->n_moments / MOMENTS + 1, n = 0;
	size_t n_max = node->n_moments / stride + 1;
	uint64_t *times = calloc(n_max, sizeof(*times));
	uint64_t *blocks = calloc(n_max * node->n_zones * FA_ORDERS + 1, sizeof(*blocks));
	double *unusable = calloc(n_max * node->n_zones + 1, sizeof(*unusable));

	for (size_t m = 0; times && blocks && unusable && m < node->n_moments; m += stride, n++) {
		const struct na_moment *moment = &node->moments[m];

		times[n] = moment->time_ns;
		for (size_t z = 0; z < node->n_zones; z++) {
			memcpy(blocks + (n * node->n_zones + z) * FA_ORDERS, moment->zones[z].n,
			       sizeof(moment->zones[z].n));
			unusable[n * node->n_zones + z] =
				fa_uf_index(&moment->zones[z], FA_PAGEBLOCK_ORDER);
		}
	}
	fa_doc_column(doc, "node.time_ns", FA_U64, times, n);
	fa_doc_column(doc, "node.free_blocks", FA_U64, blocks, n * node->n_zones * FA_ORDERS);
	fa_doc_column(doc, "node.unusable9", FA_F64, unusable, n * node->n_zones);
	free(times);
	free(blocks);
	free(unusable);
}

/* ---- the section ----------------------------------------------------------------------------- */

void na_emit(const struct na_node *node, const struct fa_node_options *options, struct fa_doc *doc)
{
	struct fa_json *json = fa_doc_begin(doc, "node");
	struct ft_reader *reader = node->reader;

	fa_json_kv_string(json, "kernel", ft_reader_meta(reader, "kernel"));
	fa_json_kv_i64(json, "cpus", ft_reader_meta_int(reader, "cpus", 0));
	fa_json_kv_i64(json, "page_bytes", ft_reader_meta_int(reader, "page_bytes", 4096));
	fa_json_kv_string(json, "thp", ft_reader_meta(reader, "thp_enabled"));
	fa_json_kv_u64(json, "moments", node->n_moments);
	fa_json_kv_u64(json, "duration_ns",
		       node->n_moments ? node->moments[node->n_moments - 1].time_ns -
						 node->moments[0].time_ns
				       : 0);
	fa_json_kv_u64(json, "last_ns",
		       node->n_moments ? node->moments[node->n_moments - 1].time_ns : 0);
	fa_json_key(json, "sources");
	fa_json_array_begin(json);
	ft_error_destroy(ft_reader_node_sources(reader, emit_source, json));
	fa_json_array_end(json);
	fa_json_key(json, "zones");
	fa_json_array_begin(json);
	for (size_t z = 0; z < node->n_zones; z++)
		emit_zone(node, z, json);
	fa_json_array_end(json);
	emit_counters(node, json);
	emit_slabs(node, options->top ? options->top : 10, json);
	emit_events(node, json);
	na_emit_advice(node, json);
	emit_held(node, json);
	fa_doc_end(doc);
	emit_columns(node, doc);
}

static void node_deinit(struct na_node *node)
{
	for (size_t z = 0; z < NA_ZONES; z++)
		free(node->block_types[z]);
	free(node->moments);
	free(node->slabs);
	free(node->snapshots);
	ft_map_deinit(&node->slab_index);
	ft_arena_deinit(&node->arena);
	free(node);
}

struct ft_error *fa_node_analyse(struct ft_reader *reader, const struct fa_node_options *options,
				 struct fa_doc *doc)
{
	struct na_node *node = calloc(1, sizeof(*node));
	struct ft_error *error;

	if (!node)
		return &ft_enomem;
	node->reader = reader;
	ft_arena_init(&node->arena);
	ft_map_init(&node->slab_index);
	error = na_load(node);
	if (!error)
		error = na_scan_events(node);
	if (!error)
		error = na_frames(node);
	if (!error)
		error = na_replay(node);
	if (!error)
		na_emit(node, options, doc);
	node_deinit(node);
	return error ? error : fa_doc_check(doc);
}

/* SPDX-License-Identifier: MIT */
/*
 * What an operator can do, and what it would bring
 *
 * Each remedy comes with figures: measured where it ran, from the model where the recording has
 * page frames, and none where neither is there. Rules of the kernel: mm/compaction.c for the marks
 * of proactive compaction, set_recommended_min_free_kbytes() of mm/khugepaged.c.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "fa_format.h"
#include "node_impl.h"

enum { HUGE_SHIFT = 21, PAGE_SHIFT = 12 };

static struct na_remedy sum(const struct na_node *node, const struct na_remedy *zones)
{
	struct na_remedy all = {0};

	for (size_t z = 0; z < node->n_zones; z++) {
		if (!zones[z].has)
			continue;
		all.has = true;
		all.before += zones[z].before;
		all.after += zones[z].after;
		all.moved_pages += zones[z].moved_pages;
		all.freed_pages += zones[z].freed_pages;
	}
	return all;
}

static int64_t won(const struct na_remedy *remedy)
{
	return (int64_t)remedy->after - (int64_t)remedy->before;
}

static void emit_effect(struct fa_json *json, const char *key, const struct na_remedy *remedy)
{
	fa_json_key(json, key);
	if (!remedy->has) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "huge_blocks_before", remedy->before);
	fa_json_kv_u64(json, "huge_blocks_after", remedy->after);
	fa_json_kv_i64(json, "won_huge_blocks", won(remedy));
	fa_json_kv_u64(json, "moved_bytes", remedy->moved_pages << PAGE_SHIFT);
	fa_json_kv_u64(json, "freed_bytes", remedy->freed_pages << PAGE_SHIFT);
	fa_json_object_end(json);
}

__attribute__((format(printf, 3, 4))) static void emit_text(struct fa_json *json, bool worth,
							    const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fa_json_kv_bool(json, "worth_it", worth);
	fa_json_kv_string(json, "text", text);
}

static const char *bytes(uint64_t n, struct fa_text *out)
{
	return fa_format_bytes(n, out);
}

static uint64_t gain_bytes(const struct na_remedy *remedy)
{
	return won(remedy) > 0 ? (uint64_t)won(remedy) << HUGE_SHIFT : 0;
}

static void advise_compact(const struct na_node *node, struct fa_json *json)
{
	struct na_remedy model = sum(node, node->compact), real = sum(node, node->measured);
	const struct na_remedy *best = real.has ? &real : &model;
	struct fa_text gain, moved;

	fa_json_object_begin(json);
	fa_json_kv_string(json, "id", "compact_memory");
	fa_json_kv_string(json, "command", "echo 1 > /proc/sys/vm/compact_memory");
	emit_effect(json, "model", &model);
	emit_effect(json, "measured", &real);
	if (real.has)
		emit_text(json, gain_bytes(best) > 0,
			  "Compaction ran: %" PRIi64 " more free pages of 2 MiB (%s).", won(best),
			  bytes(gain_bytes(best), &gain));
	else if (model.has)
		emit_text(json, gain_bytes(best) > 0,
			  "Compaction would win about %" PRIi64
			  " free pages of 2 MiB (%s), for %s moved.",
			  won(best), bytes(gain_bytes(best), &gain),
			  bytes(model.moved_pages << PAGE_SHIFT, &moved));
	else
		emit_text(json, false,
			  "What compaction would win is not known: record with --kpageflags, or "
			  "with --try-compact.");
	fa_json_object_end(json);
}

static void advise_drop(const struct na_node *node, struct fa_json *json)
{
	struct na_remedy drop = sum(node, node->drop), both = sum(node, node->both);
	struct fa_text freed, gain, more;
	int64_t first, cached, shmem, dirty, mapped, reclaimable;

	na_figure(node, "meminfo", "Cached", &first, &cached);
	na_figure(node, "meminfo", "Shmem", &first, &shmem);
	na_figure(node, "meminfo", "Dirty", &first, &dirty);
	na_figure(node, "meminfo", "Mapped", &first, &mapped);
	na_figure(node, "meminfo", "SReclaimable", &first, &reclaimable);
	cached -= shmem + dirty + mapped;
	cached = cached > 0 ? cached : 0;
	fa_json_object_begin(json);
	fa_json_kv_string(json, "id", "drop_caches");
	fa_json_kv_string(json, "command", "sync; echo 1 > /proc/sys/vm/drop_caches");
	emit_effect(json, "model", &drop);
	emit_effect(json, "model_with_compaction", &both);
	fa_json_kv_null(json, "measured");
	fa_json_kv_u64(json, "reclaimable_slab_bytes", reclaimable > 0 ? (uint64_t)reclaimable : 0);
	if (drop.has)
		emit_text(json, gain_bytes(&drop) > 0,
			  "Dropping clean page cache frees %s at most and makes %" PRIi64
			  " more free pages of 2 MiB (%s); compacted afterwards %s in all. What "
			  "was cached is read from disk again.",
			  bytes(drop.freed_pages << PAGE_SHIFT, &freed), won(&drop),
			  bytes(gain_bytes(&drop), &gain), bytes(gain_bytes(&both), &more));
	else
		emit_text(
			json, false,
			"Dropping clean page cache frees %s at most; in which blocks is not known "
			"without --kpageflags.",
			bytes((uint64_t)cached, &freed));
	fa_json_object_end(json);
}

/* Did anybody want pages of 2 MiB and not get them? */
static int64_t demand(const struct na_node *node)
{
	static const char *const keys[] = {"thp_fault_fallback", "compact_stall", "compact_fail",
					   "thp_collapse_alloc_failed"};
	int64_t all = 0, first, last;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (na_figure(node, "vmstat", keys[i], &first, &last))
			all += last - first;
	return all;
}

static unsigned node_score(const struct na_node *node)
{
	struct fa_orders orders[NA_ZONES];
	uint64_t present[NA_ZONES];

	if (!node->n_moments)
		return 0;
	for (size_t z = 0; z < node->n_zones; z++) {
		orders[z] = node->moments[node->n_moments - 1].zones[z];
		present[z] = node->zones[z].row.present;
	}
	return fa_compact_node_score(orders, present, node->n_zones);
}

static void advise_proactive(const struct na_node *node, struct fa_json *json)
{
	int64_t first, setting;
	bool known = na_figure(node, "sysctl", "vm.compaction_proactiveness", &first, &setting);
	unsigned score = node_score(node), high, wanted = score < 100 ? 111 - score : 10;
	int64_t wants = demand(node);

	fa_json_object_begin(json);
	fa_json_kv_string(json, "id", "compaction_proactiveness");
	fa_json_kv_u64(json, "score", score);
	if (!known || setting < 0 || setting > 100) {
		fa_json_kv_null(json, "setting");
		fa_json_kv_null(json, "starts_above");
		emit_text(json, false, "vm.compaction_proactiveness is not known.");
		fa_json_object_end(json);
		return;
	}
	high = fa_compact_score_high((unsigned)setting);
	fa_json_kv_i64(json, "setting", setting);
	if (setting)
		fa_json_kv_u64(json, "starts_above", high);
	else
		fa_json_kv_null(json, "starts_above");
	if (setting && score > high)
		emit_text(json, false,
			  "The score is %u, above %u where the kernel compacts by itself "
			  "(vm.compaction_proactiveness = %" PRIi64 ").",
			  score, high, setting);
	else if (wanted > 100)
		emit_text(json, false,
			  "The score is %u: there is nothing for proactive compaction to do.",
			  score);
	else
		emit_text(json, wants > 0,
			  "The score is %u. With vm.compaction_proactiveness = %" PRIi64
			  " the kernel does nothing before it is above %u; from %u on it would "
			  "compact now.%s",
			  score, setting, setting ? high : 100, wanted,
			  wants > 0 ? " Somebody wanted huge pages and did not get them."
				    : " Nobody went without a huge page meanwhile.");
	fa_json_object_end(json);
}

static void advise_min_free(const struct na_node *node, struct fa_json *json)
{
	enum { PAGEBLOCK_KIB = 2048, TYPES = 3 };
	uint64_t zones = 0, managed = 0, wanted, cap;
	int64_t first, setting;
	bool known = na_figure(node, "sysctl", "vm.min_free_kbytes", &first, &setting);
	const struct na_events *events = &node->events;
	uint64_t fallbacks = events->claims + events->steals;

	for (size_t z = 0; z < node->n_zones; z++) {
		zones += node->zones[z].row.managed > 0;
		managed += node->zones[z].row.managed;
	}
	/* Two free pageblocks a zone, and room to keep the types apart; a twentieth of all memory
	 * at most. */
	wanted = PAGEBLOCK_KIB * zones * (2 + TYPES * TYPES);
	cap = managed * 4 / 20;
	wanted = wanted < cap ? wanted : cap;
	fa_json_object_begin(json);
	fa_json_kv_string(json, "id", "min_free_kbytes");
	if (known)
		fa_json_kv_i64(json, "setting", setting);
	else
		fa_json_kv_null(json, "setting");
	fa_json_kv_u64(json, "recommended", wanted);
	if (!known)
		emit_text(json, false, "vm.min_free_kbytes is not known.");
	else if ((uint64_t)setting >= wanted)
		emit_text(json, false,
			  "vm.min_free_kbytes = %" PRIi64
			  " is enough to keep pageblocks of different types apart (%" PRIu64
			  " for this machine's zones).",
			  setting, wanted);
	else
		emit_text(json, fallbacks > 0,
			  "vm.min_free_kbytes = %" PRIi64 " is below %" PRIu64
			  ", what the kernel takes where huge pages are on: with more kept free, "
			  "fewer requests are served from pageblocks of another type.",
			  setting, wanted);
	fa_json_object_end(json);
}

void na_emit_advice(const struct na_node *node, struct fa_json *json)
{
	fa_json_key(json, "advice");
	fa_json_array_begin(json);
	advise_compact(node, json);
	advise_drop(node, json);
	advise_proactive(node, json);
	advise_min_free(node, json);
	fa_json_array_end(json);
	fa_json_kv_u64(json, "score", node_score(node));
}

/* SPDX-License-Identifier: MIT */
/*
 * A machine's recording: two zones, of which the larger one goes to pieces
 *
 * At moment m of 64 the zone Normal has lost m/64 of its free blocks of order 10 to single pages,
 * so that what no page of 2 MiB can have goes from 0 to 63/64. Known answers of browser.test.mjs.
 */
#include <stdlib.h>
#include <string.h>

#include "fa_json.h"
#include "fixture.h"

enum { MOMENTS = 64, ZONES = 3, ORDERS = 11, BLOCKS = 64 * 16 };

static const struct {
	const char *name;
	uint64_t pages;
} zones[ZONES] = {{"DMA", 4096}, {"Normal", 2 * BLOCKS << 10}, {"Movable", 0}};

/* Free blocks of a zone at a moment, by order. */
static void blocks_at(unsigned zone, uint64_t m, uint64_t blocks[ORDERS])
{
	memset(blocks, 0, ORDERS * sizeof(*blocks));
	if (zone == 0)
		blocks[10] = 2;
	if (zone != 1)
		return;
	blocks[10] = BLOCKS - m * BLOCKS / MOMENTS;
	blocks[0] = (m * BLOCKS / MOMENTS) << 10;
}

static uint64_t free_pages(const uint64_t blocks[ORDERS])
{
	uint64_t n = 0;

	for (unsigned o = 0; o < ORDERS; o++)
		n += blocks[o] << o;
	return n;
}

static double unusable(const uint64_t blocks[ORDERS], unsigned order)
{
	uint64_t n = 0;

	for (unsigned o = 0; o < order; o++)
		n += blocks[o] << o;
	return free_pages(blocks) ? (double)n / (double)free_pages(blocks) : 0;
}

static void emit_state(struct fa_json *json, const char *key, unsigned zone, uint64_t m)
{
	uint64_t blocks[ORDERS];

	blocks_at(zone, m, blocks);
	fa_json_key(json, key);
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "free_pages", free_pages(blocks));
	fixture_numbers(json, "free_blocks", blocks, ORDERS);
	fa_json_key(json, "uf_index");
	fa_json_array_begin(json);
	for (unsigned o = 0; o < ORDERS; o++)
		fa_json_f64(json, unusable(blocks, o));
	fa_json_array_end(json);
	fa_json_kv_u64(json, "huge_blocks", 2 * blocks[10]);
	fa_json_kv_u64(json, "score", (uint64_t)(100 * unusable(blocks, 9)));
	fa_json_object_end(json);
}

static void emit_type(struct fa_json *json, const char *type, uint64_t first, uint64_t last)
{
	fa_json_object_begin(json);
	fa_json_kv_string(json, "type", type);
	fa_json_kv_u64(json, "first", first);
	fa_json_kv_u64(json, "last", last);
	fa_json_object_end(json);
}

static void emit_zone(struct fa_json *json, unsigned zone)
{
	static const char *const marks[] = {"min", "low", "high", "boost"};
	static const char *const kinds[] = {"absent", "free", "movable", "cache", "slab", "other"};

	fa_json_object_begin(json);
	fa_json_kv_i64(json, "node", 0);
	fa_json_kv_string(json, "name", zones[zone].name);
	fa_json_kv_u64(json, "managed_pages", zones[zone].pages);
	fa_json_key(json, "watermarks");
	fa_json_object_begin(json);
	for (unsigned i = 0; i < ARRAY(marks); i++)
		fa_json_kv_u64(json, marks[i], zones[zone].pages / 100 * (i + 1));
	fa_json_object_end(json);
	emit_state(json, "first", zone, 0);
	emit_state(json, "last", zone, MOMENTS - 1);
	fa_json_key(json, "pageblocks");
	fa_json_array_begin(json);
	emit_type(json, "Unmovable", 10, 200);
	emit_type(json, "Movable", 4000, 3810);
	fa_json_array_end(json);
	fa_json_key(json, "frames");
	if (zone != 1) {
		fa_json_null(json);
	} else {
		fa_json_object_begin(json);
		for (unsigned i = 0; i < ARRAY(kinds); i++)
			fa_json_kv_u64(json, kinds[i], i ? zones[zone].pages >> i : 0);
		fa_json_kv_u64(json, "used_pageblocks", 2048);
		fa_json_kv_u64(json, "mixed_pageblocks", 512);
		fa_json_kv_u64(json, "pinned_by_few", 300);
		fa_json_object_end(json);
	}
	fa_json_object_end(json);
}

static void emit_effect(struct fa_json *json, const char *key, uint64_t before, uint64_t after,
			uint64_t moved)
{
	fa_json_key(json, key);
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "huge_blocks_before", before);
	fa_json_kv_u64(json, "huge_blocks_after", after);
	fa_json_kv_i64(json, "won_huge_blocks", (int64_t)after - (int64_t)before);
	fa_json_kv_u64(json, "moved_bytes", moved);
	fa_json_kv_u64(json, "freed_bytes", 0);
	fa_json_object_end(json);
}

static void emit_advice(struct fa_json *json)
{
	fa_json_key(json, "advice");
	fa_json_array_begin(json);
	fa_json_object_begin(json);
	fa_json_kv_string(json, "id", "compact_memory");
	fa_json_kv_string(json, "command", "echo 1 > /proc/sys/vm/compact_memory");
	emit_effect(json, "model", 32, 1700, (uint64_t)(100 * MIB));
	fa_json_kv_null(json, "measured");
	fa_json_kv_bool(json, "worth_it", true);
	fa_json_kv_string(json, "text", "Compaction would win about 1668 free pages of 2 MiB.");
	fa_json_object_end(json);
	fa_json_object_begin(json);
	fa_json_kv_string(json, "id", "min_free_kbytes");
	fa_json_kv_i64(json, "setting", 67584);
	fa_json_kv_u64(json, "recommended", 67584);
	fa_json_kv_bool(json, "worth_it", false);
	fa_json_kv_string(json, "text", "vm.min_free_kbytes = 67584 is enough.");
	fa_json_object_end(json);
	fa_json_array_end(json);
	fa_json_kv_u64(json, "score", 98);
}

static void emit_counters(struct fa_json *json)
{
	fa_json_key(json, "counters");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "thp_fault_alloc", 100);
	fa_json_kv_u64(json, "thp_fault_fallback", 4321);
	fa_json_kv_u64(json, "compact_stall", 12);
	fa_json_kv_u64(json, "compact_fail", 7);
	fa_json_kv_null(json, "oom_kill");
	fa_json_object_end(json);
	fa_json_key(json, "pressure");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "some_us", 1500000);
	fa_json_kv_u64(json, "full_us", 20000);
	fa_json_object_end(json);
}

static void emit_slabs(struct fa_json *json)
{
	static const char *const caches[] = {"dentry", NULL, "kmalloc-512"};

	fa_json_key(json, "slabs");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "bytes", (uint64_t)(190 * MIB));
	fa_json_kv_u64(json, "waste_bytes", (uint64_t)(27 * MIB));
	fa_json_key(json, "caches");
	fa_json_array_begin(json);
	for (unsigned i = 0; i < ARRAY(caches); i++) {
		fa_json_object_begin(json);
		fa_json_kv_string(json, "cache", caches[i] ? caches[i] : fixture_hostile_name);
		fa_json_kv_u64(json, "bytes", (uint64_t)(40 * MIB) >> i);
		fa_json_kv_u64(json, "waste_bytes", (uint64_t)(11 * MIB) >> i);
		fa_json_kv_u64(json, "object_bytes", 192);
		fa_json_kv_u64(json, "objects", 1000);
		fa_json_kv_u64(json, "active_objects", 700);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
}

static void emit_held(struct fa_json *json)
{
	fa_json_key(json, "held");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "index_lines", 192);
	fa_json_kv_u64(json, "index_lines_equal", 192);
	fa_json_key(json, "cuts");
	fa_json_array_begin(json);
	fa_json_array_end(json);
	fa_json_kv_string(json, "replay_note", "the recording has no events");
	fa_json_kv_null(json, "replay");
	fa_json_kv_null(json, "compaction");
	fa_json_object_end(json);
}

static void emit_sources(struct fa_json *json)
{
	static const char *const sources[][3] = {{"buddyinfo", "read", NULL},
						 {"kpageflags", "denied", "Permission denied"},
						 {"trace", "off", NULL}};

	fa_json_key(json, "sources");
	fa_json_array_begin(json);
	for (unsigned i = 0; i < ARRAY(sources); i++) {
		fa_json_object_begin(json);
		fa_json_kv_string(json, "name", sources[i][0]);
		fa_json_kv_string(json, "status", sources[i][1]);
		fa_json_kv_string(json, "detail", sources[i][2]);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
}

static void emit_columns(const struct fixture *f, struct fa_doc *doc)
{
	uint64_t times[MOMENTS], blocks[MOMENTS][ZONES][ORDERS];
	double shares[MOMENTS][ZONES];

	for (unsigned m = 0; m < MOMENTS; m++) {
		times[m] = f->duration_ns / MOMENTS * (m + 1);
		for (unsigned z = 0; z < ZONES; z++) {
			blocks_at(z, m, blocks[m][z]);
			shares[m][z] = unusable(blocks[m][z], 9);
		}
	}
	fa_doc_column(doc, "node.time_ns", FA_U64, times, MOMENTS);
	fa_doc_column(doc, "node.free_blocks", FA_U64, blocks, (size_t)MOMENTS * ZONES * ORDERS);
	fa_doc_column(doc, "node.unusable9", FA_F64, shares, (size_t)MOMENTS * ZONES);
}

void fixture_machine(const struct fixture *f, struct fa_doc *doc)
{
	struct fa_json *json = fa_doc_begin(doc, "node");

	fa_json_kv_string(json, "kernel", "6.18.0");
	fa_json_kv_i64(json, "cpus", 2);
	fa_json_kv_i64(json, "page_bytes", 4096);
	fa_json_kv_string(json, "thp", "always [madvise] never");
	fa_json_kv_u64(json, "moments", MOMENTS);
	fa_json_kv_u64(json, "duration_ns", f->duration_ns / MOMENTS * (MOMENTS - 1));
	fa_json_kv_u64(json, "last_ns", f->duration_ns);
	emit_sources(json);
	fa_json_key(json, "zones");
	fa_json_array_begin(json);
	for (unsigned z = 0; z < ZONES; z++)
		emit_zone(json, z);
	fa_json_array_end(json);
	emit_counters(json);
	emit_slabs(json);
	fa_json_kv_null(json, "events");
	emit_advice(json);
	emit_held(json);
	fa_doc_end(doc);
	emit_columns(f, doc);
}

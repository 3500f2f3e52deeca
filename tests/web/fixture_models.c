/* SPDX-License-Identifier: MIT */
/* Models, lifetimes, bad frees, and another recording: small numbers whose answers are known. */
#include <string.h>

#include "fixture.h"

enum {
	N_BUDDY = 8,
	N_ORDERS = 11,
	N_STRIP = 64,
	N_LIVES = 48,
	N_SIZES = 40,
	N_OLDER = 32,
};

/* ---- free lists and compaction -----------------------------------------------------------------
 */

/* 2^(10-o) free blocks of order o; from the middle on none above order 6. */
static uint64_t free_blocks(size_t moment, size_t order)
{
	return moment >= N_BUDDY / 2 && order > 6 ? 0 : UINT64_C(1) << (10 - order);
}

static void emit_use(struct fa_json *json, const char *key)
{
	fa_json_key(json, key);
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "requested_bytes", (uint64_t)(500 * MIB));
	fa_json_kv_u64(json, "rounded_bytes", (uint64_t)(640 * MIB));
	fa_json_kv_u64(json, "held_bytes", (uint64_t)(1024 * MIB));
	fa_json_kv_u64(json, "passed_by_bytes", 0);
	fa_json_kv_u64(json, "passed_by_blocks", 0);
	fa_json_object_end(json);
}

static void emit_buddy(const struct fixture *f, struct fa_doc *doc)
{
	static uint64_t time[N_BUDDY], blocks[N_BUDDY][N_ORDERS];
	uint64_t now[N_ORDERS];
	struct fa_json *json = fa_doc_begin(doc, "buddy");

	for (size_t i = 0; i < N_BUDDY; i++) {
		time[i] = f->duration_ns / N_BUDDY * (i + 1);
		for (size_t o = 0; o < N_ORDERS; o++)
			blocks[i][o] = free_blocks(i, o);
	}
	for (size_t o = 0; o < N_ORDERS; o++)
		now[o] = free_blocks(N_BUDDY - 1, o);
	fa_json_kv_u64(json, "at_ns", f->duration_ns);
	fa_json_key(json, "zone");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "free_pages", 7168);
	fixture_numbers(json, "free_blocks", now, N_ORDERS);
	fa_json_kv_u64(json, "score", 100);
	fa_json_object_end(json);
	fa_json_key(json, "arena");
	fa_json_object_begin(json);
	emit_use(json, "now");
	emit_use(json, "peak");
	fa_json_object_end(json);
	fa_doc_end(doc);
	fa_doc_column(doc, "buddy.time_ns", FA_U64, time, N_BUDDY);
	fa_doc_column(doc, "buddy.free_blocks", FA_U64, blocks, N_BUDDY * N_ORDERS);
}

static void emit_state(struct fa_json *json, const char *key, uint64_t huge, uint64_t score)
{
	static const uint64_t none[N_ORDERS];

	fa_json_key(json, key);
	fa_json_object_begin(json);
	fixture_numbers(json, "free_blocks", none, N_ORDERS);
	fa_json_kv_f64(json, "uf_index", (double)score / 100);
	fa_json_kv_u64(json, "score", score);
	fa_json_kv_u64(json, "huge_blocks", huge);
	fa_json_object_end(json);
}

/* Every other bin full, then all of them in the upper half; one bin can't be moved. */
static void emit_compact(const struct fixture *f, struct fa_doc *doc)
{
	static const uint64_t steps[][2] = {{1 << 20, 2 << 20}, {4 << 20, 6 << 20}};
	uint64_t before[N_STRIP], after[N_STRIP], fixed[N_STRIP] = {[N_STRIP - 1] = 255};
	struct fa_json *json = fa_doc_begin(doc, "compact");

	for (size_t i = 0; i < N_STRIP; i++) {
		before[i] = i % 2 ? 255 : 0;
		after[i] = i >= N_STRIP / 2 ? 255 : 0;
	}
	fa_json_kv_u64(json, "at_ns", f->duration_ns);
	fa_json_kv_u64(json, "pages", 4096);
	fa_json_kv_u64(json, "used_pages", 2048);
	fa_json_kv_u64(json, "packed_pages", 1900);
	fa_json_kv_u64(json, "unmovable_pages", 64);
	emit_state(json, "before", 0, 100);
	emit_state(json, "after", 3, 25);
	fa_json_kv_u64(json, "moved_pages", 1024);
	fa_json_kv_u64(json, "moved_bytes", 4 << 20);
	fa_json_kv_u64(json, "won_bytes", 6 << 20);
	fa_json_kv_u64(json, "migrate_scanned", 2048);
	fa_json_kv_u64(json, "free_scanned", 2048);
	fa_json_kv_u64(json, "batches", 32);
	fa_json_key(json, "budget");
	fa_json_array_begin(json);
	for (size_t i = 0; i < ARRAY(steps); i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "moved_bytes", steps[i][0]);
		fa_json_kv_u64(json, "won_bytes", steps[i][1]);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fixture_numbers(json, "strip_before", before, N_STRIP);
	fixture_numbers(json, "strip_after", after, N_STRIP);
	fixture_numbers(json, "strip_unmovable", fixed, N_STRIP);
	fa_doc_end(doc);
}

void fixture_models(const struct fixture *f, struct fa_doc *doc)
{
	emit_buddy(f, doc);
	emit_compact(f, doc);
}

/* ---- lifetimes ----------------------------------------------------------------------------------
 */

/* 1000 blocks of 64 bytes lived 2^10 ns, 10 blocks of 4 KiB 2^30 ns; 5 live ones are 2^40 ns old.
 */
static uint64_t lives(size_t size, size_t bin, bool bytes)
{
	if (size == 6 && bin == 10)
		return bytes ? 64000 : 1000;
	if (size == 12 && bin == 30)
		return bytes ? 40960 : 10;
	return 0;
}

static void emit_bins(struct fa_json *json, const char *key, bool freed)
{
	fa_json_key(json, key);
	fa_json_array_begin(json);
	for (size_t bin = 0; bin < N_LIVES; bin++) {
		uint64_t blocks = freed	      ? lives(6, bin, false) + lives(12, bin, false)
				  : bin == 40 ? 5
					      : 0;

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "blocks", blocks);
		fa_json_kv_u64(json, "bytes",
			       freed ? lives(6, bin, true) + lives(12, bin, true) : blocks * 100);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
}

static void emit_life_site(struct fa_json *json, uint64_t site, unsigned bin)
{
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "site", site);
	fa_json_kv_u64(json, "freed", bin == 10 ? 1000 : 10);
	fixture_numbers(json, "median_ns", (const uint64_t[]){1ull << bin, 2ull << bin}, 2);
	fixture_numbers(json, "p90_ns", (const uint64_t[]){1ull << bin, 2ull << bin}, 2);
	fa_json_kv_null(json, "oldest_born_ns");
	fa_json_kv_null(json, "youngest_born_ns");
	fa_json_object_end(json);
}

void fixture_lifetimes(const struct fixture *f, struct fa_doc *doc)
{
	static uint64_t blocks[N_SIZES][N_LIVES], bytes[N_SIZES][N_LIVES];
	struct fa_json *json = fa_doc_begin(doc, "lifetimes");

	fa_json_kv_bool(json, "estimated", f->sampled);
	emit_bins(json, "freed", true);
	emit_bins(json, "live", false);
	fa_json_kv_u64(json, "unknown", 0);
	fa_json_kv_u64(json, "size_bins", N_SIZES);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	emit_life_site(json, 8, 10);
	emit_life_site(json, 6, 30);
	fa_json_array_end(json);
	fa_json_kv_u64(json, "other_sites", 0);
	fa_doc_end(doc);
	for (size_t size = 0; size < N_SIZES; size++)
		for (size_t bin = 0; bin < N_LIVES; bin++) {
			blocks[size][bin] = lives(size, bin, false);
			bytes[size][bin] = lives(size, bin, true);
		}
	fa_doc_column(doc, "lifetimes.blocks", FA_U64, blocks, N_SIZES * N_LIVES);
	fa_doc_column(doc, "lifetimes.bytes", FA_U64, bytes, N_SIZES * N_LIVES);

	json = fa_doc_begin(doc, "usage");
	fa_json_key(json, "sizes");
	fa_json_array_begin(json);
	for (size_t size = 0; size < N_SIZES; size++) {
		uint64_t asked =
			size >= 5 && size <= 13 ? (size == 6 ? 900 : 100) * (uint64_t)MIB : 0;

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "blocks", asked >> size);
		fa_json_kv_u64(json, "requested_bytes", asked);
		fa_json_kv_u64(json, "usable_bytes", asked + asked / 14);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_doc_end(doc);
}

/* ---- bad frees ----------------------------------------------------------------------------------
 */

static void emit_call(struct fa_json *json, const char *key, uint64_t time_ns, size_t site,
		      bool hostile)
{
	fa_json_key(json, key);
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "time_ns", time_ns);
	fa_json_kv_u64(json, "thread", 3);
	fa_json_kv_string(json, "call", "malloc");
	fixture_stack(json, "stack", site, hostile);
	fa_json_object_end(json);
}

void fixture_errors(const struct fixture *f, struct fa_doc *doc)
{
	static const char *const kinds[] = {"double_free", "interior_free", "invalid_free"};
	bool any = strcmp(f->kind, "soak") == 0 || f->hostile;
	struct fa_json *json = fa_doc_begin(doc, "errors");

	fa_json_kv_bool(json, "all_frees_seen", !f->sampled);
	if (f->sampled)
		fa_json_kv_string(json, "limits", "a sample: double frees are not found");
	else
		fa_json_kv_null(json, "limits");
	fa_json_key(json, "errors");
	fa_json_array_begin(json);
	for (size_t i = 0; any && i < ARRAY(kinds); i++) {
		fa_json_object_begin(json);
		fa_json_kv_string(json, "kind", kinds[i]);
		fa_json_kv_u64(json, "address", 0x55d0c4a3b010 + 64 * i);
		fa_json_kv_u64(json, "time_ns", (i + 2) * HOUR);
		fa_json_kv_u64(json, "thread", 3);
		fa_json_kv_string(json, "call", "free");
		fa_json_kv_u64(json, "count", i + 1);
		if (i == 1)
			fa_json_kv_u64(json, "offset", 16);
		else
			fa_json_kv_null(json, "offset");
		fa_json_kv_string(json, "region", i == 2 ? "file" : NULL);
		fa_json_kv_string(json, "mapping",
				  i < 2	       ? NULL
				  : f->hostile ? fixture_hostile_name
					       : "/usr/share/dict/words");
		fa_json_kv_null(json, "given_bytes");
		fa_json_kv_null(json, "block_bytes");
		fixture_stack(json, "stack", i, f->hostile);
		if (i == 2)
			fa_json_kv_null(json, "allocated");
		else
			emit_call(json, "allocated", HOUR, 2 + i, f->hostile);
		if (i)
			fa_json_kv_null(json, "freed");
		else
			emit_call(json, "freed", 3 * HOUR / 2, 4, f->hostile);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_kv_u64(json, "more", 0);
	fa_json_kv_u64(json, "suppressed", 0);
	fa_doc_end(doc);
}

/* ---- another recording
 * --------------------------------------------------------------------------- */

static void emit_run(struct fa_json *json, const char *key, uint64_t live, uint64_t duration_ns)
{
	fa_json_key(json, key);
	fa_json_object_begin(json);
	fa_json_kv_string(json, "path", key);
	fa_json_kv_string(json, "program", "cacheserver");
	fa_json_kv_bool(json, "complete", true);
	fa_json_kv_u64(json, "duration_ns", duration_ns);
	fa_json_kv_u64(json, "live_bytes", live);
	fa_json_kv_u64(json, "live_blocks", live / 1800);
	fa_json_kv_u64(json, "peak_bytes", live * 2);
	fa_json_kv_u64(json, "rss_max", live * 3);
	fa_json_kv_u64(json, "allocations", duration_ns / 1000000);
	fa_json_kv_u64(json, "allocated_bytes", live * 100);
	fa_json_kv_null(json, "rate_bytes_per_s");
	fa_json_kv_string(json, "verdict", "growing");
	fa_json_object_end(json);
}

static void emit_side(struct fa_json *json, const char *key, uint64_t live)
{
	fa_json_key(json, key);
	if (!live) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", 1);
	fa_json_kv_u64(json, "live_bytes", live);
	fa_json_kv_u64(json, "live_blocks", live / 512);
	fa_json_object_end(json);
}

/* A ran for half as long: what is twice as much in B is the same by time. */
void fixture_diff(const struct fixture *f, struct fa_doc *doc)
{
	static const struct {
		const char *status;
		unsigned a, b; /* MiB */
	} rows[] = {{"changed", 50, 143}, {"new", 0, 22}, {"gone", 60, 0}, {"changed", 91, 182}};
	static uint64_t time[N_OLDER], live[N_OLDER], allocations[N_OLDER];
	uint64_t half = f->duration_ns / 2;
	struct fa_json *json = fa_doc_begin(doc, "diff");

	emit_run(json, "a", (uint64_t)(201 * MIB), half);
	emit_run(json, "b", (uint64_t)(347 * MIB), f->duration_ns);
	fa_json_kv_null(json, "operation");
	fa_json_kv_bool(json, "same_program", true);
	fa_json_kv_u64(json, "rebuilt_modules", 1);
	fa_json_key(json, "rebuilt");
	fa_json_array_begin(json);
	fa_json_object_begin(json);
	fa_json_kv_string(json, "module", "/usr/local/bin/cacheserver");
	fa_json_kv_string(json, "a", "0123");
	fa_json_kv_string(json, "b", "4567");
	fa_json_object_end(json);
	fa_json_array_end(json);
	fa_json_key(json, "scale");
	fa_json_object_begin(json);
	fa_json_kv_f64(json, "time", 2);
	fa_json_kv_f64(json, "events", 2);
	fa_json_object_end(json);
	fa_json_kv_u64(json, "new", 1);
	fa_json_kv_u64(json, "gone", 1);
	fa_json_kv_u64(json, "changed", 2);
	fa_json_kv_u64(json, "same", 40);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < ARRAY(rows); i++) {
		int64_t a = (int64_t)rows[i].a << 20, b = (int64_t)rows[i].b << 20;

		fa_json_object_begin(json);
		fa_json_kv_string(json, "name", fixture_site(f, i));
		fa_json_kv_string(json, "status", rows[i].status);
		emit_side(json, "a", (uint64_t)a);
		emit_side(json, "b", (uint64_t)b);
		fa_json_kv_i64(json, "delta_live_bytes", b - a);
		fa_json_kv_i64(json, "delta_live_bytes_by_time", b - 2 * a);
		fa_json_kv_i64(json, "delta_live_bytes_by_events", b - 2 * a);
		fa_json_kv_null(json, "delta_rate_bytes_per_s");
		fixture_stack(json, "stack", i, false);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", 40);
	fa_json_kv_i64(json, "delta_live_bytes", -(int64_t)(3 * MIB));
	fa_json_object_end(json);
	fa_doc_end(doc);
	for (size_t i = 0; i < N_OLDER; i++) {
		time[i] = half / N_OLDER * (i + 1);
		live[i] = (uint64_t)(201 * MIB) / N_OLDER * (i + 1);
		allocations[i] = (uint64_t)25092011 / N_OLDER * (i + 1);
	}
	fa_doc_column(doc, "diff.a_time_ns", FA_U64, time, N_OLDER);
	fa_doc_column(doc, "diff.a_live_bytes", FA_U64, live, N_OLDER);
	fa_doc_column(doc, "diff.a_allocations", FA_U64, allocations, N_OLDER);
}

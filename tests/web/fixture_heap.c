/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>

#include "fixture_heap.h"

#define ARRAY(a) (sizeof(a) / sizeof((a)[0]))
#define MIB	 (1 << 20)

enum { N_SAMPLES = 120 };

/* MiB at the end: 20+1+9+11+520+30+16+412+171-4 = 1186, and 4 that nothing explains. */
static const struct {
	const char *name;
	int mib;
	bool grows;
} terms[] = {
	{"rss", 1190, true},	  {"file", 20, false},	 {"stack", 1, false},
	{"other", 9, false},	  {"tracer", 11, false}, {"live_req", 520, true},
	{"round", 30, true},	  {"meta", 16, true},	 {"pin_free", 412, true},
	{"empty_res", 171, true}, {"live_nr", 4, true},	 {"swap", 3, false},
	{"residual", 4, false},
};

static int64_t term_at(size_t term, size_t sample)
{
	int64_t end = (int64_t)terms[term].mib * MIB, outside = (int64_t)45 * MIB;

	if (term == 0) /* files, stacks, the rest, the tracer and the residual do not grow */
		return outside + (end - outside) * (int64_t)(sample + 1) / N_SAMPLES;
	return terms[term].grows ? end * (int64_t)(sample + 1) / N_SAMPLES : end;
}

static void emit_remedy(struct fa_json *json, const char *code, uint64_t saves, bool exact,
			uint64_t value, const char *pool)
{
	fa_json_object_begin(json);
	fa_json_kv_string(json, "code", code);
	fa_json_kv_string(json, "text", "a remedy in the words of the analyzer");
	fa_json_kv_u64(json, "saves_bytes", saves);
	fa_json_kv_bool(json, "exact", exact);
	if (value)
		fa_json_kv_u64(json, "value", value);
	else
		fa_json_kv_null(json, "value");
	fa_json_key(json, "set");
	if (pool) {
		fa_json_object_begin(json);
		fa_json_key(json, "sites");
		fa_json_array_begin(json);
		fa_json_u64(json, 1);
		fa_json_array_end(json);
		fa_json_key(json, "names");
		fa_json_array_begin(json);
		fa_json_string(json, pool);
		fa_json_array_end(json);
		fa_json_kv_u64(json, "free_bytes", saves);
		fa_json_kv_u64(json, "pages", 51200);
		fa_json_kv_u64(json, "live_bytes", 2 * MIB);
		fa_json_object_end(json);
	} else {
		fa_json_null(json);
	}
	fa_json_object_end(json);
}

void fixture_held(struct fa_json *json, uint64_t duration_ns, const char *name,
		  void (*emit_stack)(struct fa_json *json))
{
	fa_json_kv_u64(json, "sample_ns", duration_ns);
	fa_json_key(json, "waterfall");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "time_ns", duration_ns);
	for (size_t i = 0; i < ARRAY(terms); i++)
		fa_json_kv_u64(json, terms[i].name, (uint64_t)term_at(i, N_SAMPLES - 1));
	fa_json_object_end(json);

	fa_json_key(json, "closing");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "samples", N_SAMPLES - 1);
	fa_json_kv_u64(json, "p95_bytes", 4 * MIB);
	fa_json_kv_u64(json, "max_bytes", 5 * MIB);
	fa_json_kv_f64(json, "p95_pct", 0.9);
	fa_json_kv_f64(json, "within_pct", 97.5);
	fa_json_object_end(json);

	fa_json_key(json, "peak");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "bytes", 1200ull * MIB);
	fa_json_kv_u64(json, "time_ns", duration_ns / 1000 * 434);
	fa_json_kv_u64(json, "from_ns", duration_ns / 1000 * 420);
	fa_json_kv_u64(json, "to_ns", duration_ns / 1000 * 446);
	fa_json_kv_u64(json, "survivors", 48213);
	fa_json_kv_u64(json, "survivor_bytes", 23 * MIB);
	fa_json_kv_u64(json, "survivor_pages", 25600); /* 100 MiB */
	fa_json_object_end(json);

	fa_json_key(json, "mmap_threshold");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "bytes", 2 * MIB);
	fa_json_kv_u64(json, "times_raised", 3);
	fa_json_kv_u64(json, "time_ns", duration_ns / 100 * 31);
	fa_json_kv_u64(json, "block_bytes", 2 * MIB - 4096);
	fa_json_kv_u64(json, "thread", 9);
	fa_json_kv_u64(json, "site", 7);
	fa_json_kv_string(json, "name", name);
	emit_stack(json);
	fa_json_object_end(json);

	/* one that the page has no words for, and not in order */
	fa_json_key(json, "remedies");
	fa_json_array_begin(json);
	emit_remedy(json, "malloc_trim", 160ull * MIB, true, 0, NULL);
	emit_remedy(json, "trim_threshold", 12ull * MIB, false, 131072, NULL);
	emit_remedy(json, "mmap_threshold", 40ull * MIB, false, 131072, NULL);
	emit_remedy(json, "arena_max", 9ull * MIB, false, 2, NULL);
	emit_remedy(json, "pool", 200ull * MIB, false, 0, name);
	emit_remedy(json, "of_tomorrow", 1ull * MIB, false, 0, NULL);
	fa_json_array_end(json);
}

void fixture_waterfall(struct fa_doc *doc, uint64_t duration_ns)
{
	static uint64_t time[N_SAMPLES];
	static int64_t column[N_SAMPLES];

	for (size_t i = 0; i < N_SAMPLES; i++)
		time[i] = duration_ns / N_SAMPLES * (i + 1);
	fa_doc_column(doc, "waterfall.time_ns", FA_U64, time, N_SAMPLES);
	for (size_t k = 0; k < ARRAY(terms); k++) {
		char name[32];

		for (size_t i = 0; i < N_SAMPLES; i++)
			column[i] = term_at(k, i);
		snprintf(name, sizeof(name), "waterfall.%s", terms[k].name);
		fa_doc_column(doc, name, FA_I64, column, N_SAMPLES);
	}
}

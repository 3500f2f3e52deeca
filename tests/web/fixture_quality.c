/* SPDX-License-Identifier: MIT */
/* The sections that say how far a recording can be trusted. */
#include "fixture.h"

/* A number, or null for 0. */
static void emit_some(struct fa_json *json, const char *key, uint64_t value)
{
	if (value)
		fa_json_kv_u64(json, key, value);
	else
		fa_json_kv_null(json, key);
}

/* Below 3 %: all, shorter stacks, one block per 64 KiB for two hours, all again. */
static void emit_governor(struct fa_json *json)
{
	static const struct {
		uint64_t time_ns, step, depth, sample_bytes, overhead_ppm, blocks;
	} steps[] = {
		{0, 0, 0, 0, 0, 0},
		{2 * HOUR, 1, 8, 0, 41200, 0},
		{4 * HOUR, 2, 8, 65536, 36000, 0},
		{6 * HOUR, 1, 8, 0, 11500, 1234567},
		{12 * HOUR, 1, 8, 0, 24800, 1234567},
	};

	fa_json_object_begin(json);
	fa_json_kv_u64(json, "limit_ppm", 30000);
	fa_json_key(json, "steps");
	fa_json_array_begin(json);
	for (size_t i = 0; i < ARRAY(steps); i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "time_ns", steps[i].time_ns);
		fa_json_kv_u64(json, "step", steps[i].step);
		emit_some(json, "depth", steps[i].depth);
		emit_some(json, "sample_bytes", steps[i].sample_bytes);
		fa_json_kv_u64(json, "overhead_ppm", steps[i].overhead_ppm);
		fa_json_kv_u64(json, "left_out_blocks", steps[i].blocks);
		fa_json_kv_u64(json, "left_out_bytes", steps[i].blocks * 100);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
}

void fixture_quality(const struct fixture *f, struct fa_doc *doc, bool empty)
{
	struct fa_json *json = fa_doc_begin(doc, "quality");

	fa_json_kv_u64(json, "events", empty ? 0 : 100204551);
	fa_json_kv_u64(json, "events_written", empty ? 0 : 100204551);
	fa_json_kv_u64(json, "unknown_frees", empty ? 0 : 12);
	fa_json_kv_u64(json, "overlaps", 0);
	fa_json_key(json, "losses");
	fa_json_array_begin(json);
	if (f->lost) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "first_ns", 3 * HOUR);
		fa_json_kv_u64(json, "last_ns", 3 * HOUR + 2 * SEC);
		fa_json_kv_u64(json, "thread", 3);
		fa_json_kv_u64(json, "events", 18220);
		fa_json_kv_string(json, "reason", "the collector stalled");
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "governor");
	if (f->governed)
		emit_governor(json);
	else
		fa_json_null(json);
	fa_json_kv_f64(json, "symbolised_pct", empty ? 0 : 99.2);
	fa_json_kv_u64(json, "frames_resolved", empty ? 0 : 4121);
	fa_json_kv_u64(json, "frames", empty ? 0 : 4154);
	fa_json_kv_u64(json, "tracer_bytes", 11534336);
	fa_json_kv_f64(json, "bytes_per_event", empty ? 0 : 2.14);
	fa_json_key(json, "meta");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "kernel", "Linux 6.1.0-25-amd64");
	fa_json_kv_string(json, "libc", "glibc 2.36");
	fa_json_kv_string(json, "clock", "tsc");
	fa_json_kv_string(json, "on_full", "wait");
	fa_json_object_end(json);
	fa_doc_end(doc);
}

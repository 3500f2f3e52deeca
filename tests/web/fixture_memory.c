/* SPDX-License-Identifier: MIT */
/* Fixtures: what the program mapped itself, its pools, and the mappings of its address space. */
#include <stddef.h>

#include "fixture.h"

static const char *name_of(const struct fixture *f, const char *name)
{
	return f->hostile ? fixture_hostile_name : name;
}

static void emit_pools(const struct fixture *f, struct fa_doc *doc)
{
	struct fa_json *json = fa_doc_begin(doc, "pools");

	fa_json_key(json, "pools");
	fa_json_array_begin(json);
	for (unsigned i = 0; i < 12; i++) {
		fa_json_object_begin(json);
		if (i)
			fa_json_kv_string(json, "name", name_of(f, i == 1 ? "sessions" : "frames"));
		else
			fa_json_kv_null(json, "name");
		fa_json_kv_u64(json, "address", 0x55d0c4a3b000 + i * 64);
		fa_json_kv_u64(json, "created_ns", f->duration_ns / 8);
		if (i == 2)
			fa_json_kv_u64(json, "destroyed_ns", f->duration_ns / 2);
		else
			fa_json_kv_null(json, "destroyed_ns");
		fa_json_kv_u64(json, "allocations", 4000);
		fa_json_kv_u64(json, "frees", 3000);
		fa_json_kv_u64(json, "allocated_bytes", 64 * (uint64_t)MIB);
		fa_json_kv_u64(json, "live_objects", 1000);
		fa_json_kv_u64(json, "live_bytes", 16 * (uint64_t)MIB);
		fa_json_kv_u64(json, "peak_bytes", 20 * (uint64_t)MIB);
		fa_json_kv_u64(json, "memory_bytes", 32 * (uint64_t)MIB);
		fixture_stack(json, "stack", i % fixture_n_sites(), f->hostile);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_doc_end(doc);
}

static void emit_mapped(const struct fixture *f, struct fa_doc *doc)
{
	static const struct {
		const char *call, *kind, *advice, *name;
		uint64_t live;
	} sites[] = {
		{"mmap", "anonymous", NULL, "ring_init", UINT64_C(96) << 20},
		{"mmap", "file", NULL, "index_map", UINT64_C(32) << 20},
		{"madvise", NULL, "DONTNEED", "cache_shrink", 0},
	};
	struct fa_json *json = fa_doc_begin(doc, "mapped");

	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < sizeof(sites) / sizeof(*sites); i++) {
		fa_json_object_begin(json);
		fa_json_kv_string(json, "call", sites[i].call);
		if (sites[i].kind)
			fa_json_kv_string(json, "kind", sites[i].kind);
		else
			fa_json_kv_null(json, "kind");
		if (sites[i].advice)
			fa_json_kv_string(json, "advice", sites[i].advice);
		else
			fa_json_kv_null(json, "advice");
		fa_json_kv_u64(json, "calls", 3);
		fa_json_kv_u64(json, "bytes", 128 * (uint64_t)MIB);
		fa_json_kv_u64(json, "live_bytes", sites[i].live);
		fa_json_kv_u64(json, "live_ranges", sites[i].live ? 2 : 0);
		fa_json_kv_u64(json, "peak_bytes", 128 * (uint64_t)MIB);
		fa_json_kv_string(json, "name", name_of(f, sites[i].name));
		fixture_stack(json, "stack", i, f->hostile);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", 7);
	fa_json_kv_u64(json, "live_bytes", MIB);
	fa_json_object_end(json);
	fa_json_kv_u64(json, "calls", 9);
	fa_json_kv_u64(json, "live_bytes", 129 * (uint64_t)MIB);
	fa_json_kv_u64(json, "live_ranges", 4);
	fa_json_kv_u64(json, "peak_bytes", 300 * (uint64_t)MIB);
	fa_doc_end(doc);
}

static void emit_mappings(const struct fixture *f, struct fa_doc *doc)
{
	struct fa_json *json = fa_doc_begin(doc, "mappings");

	fa_json_kv_u64(json, "sampled_ns", f->duration_ns - 1);
	fa_json_key(json, "mappings");
	fa_json_array_begin(json);
	for (uint64_t i = 0; i < 14; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "start", 0x7f31a4000000 + i * (64 * (uint64_t)MIB));
		fa_json_kv_u64(json, "end",
			       0x7f31a4000000 + i * (64 * (uint64_t)MIB) + 8 * (uint64_t)MIB);
		fa_json_kv_string(json, "perms", "rw-p");
		if (i % 2)
			fa_json_kv_string(json, "path", name_of(f, "/usr/lib/libindex.so"));
		else
			fa_json_kv_null(json, "path");
		fa_json_kv_string(json, "kind", i % 2 ? "file" : "anonymous");
		fa_json_kv_u64(json, "since_ns", i);
		fa_json_kv_u64(json, "rss", 4 * (uint64_t)MIB);
		fa_json_kv_u64(json, "swap", 0);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "mappings", 3);
	fa_json_kv_u64(json, "bytes", 12 * (uint64_t)MIB);
	fa_json_kv_u64(json, "rss", 0);
	fa_json_object_end(json);
	fa_json_kv_u64(json, "bytes", 124 * (uint64_t)MIB);
	fa_json_kv_u64(json, "rss", 56 * (uint64_t)MIB);
	fa_doc_end(doc);
}

void fixture_memory(const struct fixture *f, struct fa_doc *doc)
{
	emit_pools(f, doc);
	emit_mapped(f, doc);
	emit_mappings(f, doc);
}

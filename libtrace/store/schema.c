/* SPDX-License-Identifier: MIT */
/*
 * The tables of format 1: see FORMAT.md
 *
 * STRICT, so that a column has one type for every reader. The blob of a chunk is its row's last
 * column: SQLite then reads a directory of chunks without touching the blobs' pages.
 */
#include "ft_schema.h"

#include <stddef.h>

const char ft_schema_sql[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;"
	"CREATE TABLE process(id INTEGER PRIMARY KEY CHECK(id = 1), pid INTEGER, ppid INTEGER,"
	" exe TEXT, argv TEXT, parent_recording TEXT, fork_ns INTEGER, start_realtime_ns INTEGER,"
	" end_ns INTEGER, exit_kind TEXT, exit_code INTEGER) STRICT;"
	"CREATE TABLE thread(id INTEGER PRIMARY KEY, tid INTEGER, name TEXT, start_function "
	"INTEGER,"
	" start_ns INTEGER NOT NULL, end_ns INTEGER, n_threads INTEGER) STRICT;"
	"CREATE TABLE module(id INTEGER PRIMARY KEY, path TEXT, build_id TEXT,"
	" bias INTEGER NOT NULL, start_address INTEGER NOT NULL, end_address INTEGER NOT NULL,"
	" load_ns INTEGER NOT NULL, unload_ns INTEGER, last_stack INTEGER) STRICT;"
	"CREATE TABLE event_chunk(id INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL,"
	" n_events INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,"
	" min_address INTEGER NOT NULL, max_address INTEGER NOT NULL, max_stack INTEGER NOT NULL,"
	" max_thread INTEGER NOT NULL, threads BLOB NOT NULL, stacks BLOB NOT NULL,"
	" data BLOB NOT NULL) STRICT;"
	"CREATE TABLE stack_chunk(id INTEGER PRIMARY KEY, n_nodes INTEGER NOT NULL,"
	" max_id INTEGER NOT NULL, data BLOB NOT NULL) STRICT;"
	"CREATE TABLE keyframe(id INTEGER PRIMARY KEY, seq INTEGER NOT NULL,"
	" time_ns INTEGER NOT NULL, part INTEGER NOT NULL, n_parts INTEGER NOT NULL,"
	" n_blocks INTEGER NOT NULL, bytes INTEGER NOT NULL, data BLOB NOT NULL,"
	" UNIQUE(seq, part)) STRICT;"
	"CREATE TABLE site_rollup(id INTEGER PRIMARY KEY, level INTEGER NOT NULL,"
	" first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, first_seq INTEGER NOT NULL,"
	" n_events INTEGER NOT NULL, n_sites INTEGER NOT NULL, n_threads INTEGER NOT NULL,"
	" n_pairs INTEGER NOT NULL, cohort_shift INTEGER NOT NULL, n_allocs INTEGER NOT NULL,"
	" n_frees INTEGER NOT NULL, bytes_allocated INTEGER NOT NULL,"
	" bytes_freed INTEGER NOT NULL, unknown_frees INTEGER NOT NULL,"
	" overlaps INTEGER NOT NULL, low_bytes INTEGER NOT NULL, peak_bytes INTEGER NOT NULL,"
	" peak_ns INTEGER NOT NULL, peak_seq INTEGER NOT NULL, peak_variance INTEGER NOT NULL,"
	" allocated_variance INTEGER NOT NULL, live_blocks INTEGER NOT NULL,"
	" live_bytes INTEGER NOT NULL, usable_bytes INTEGER NOT NULL,"
	" live_variance INTEGER NOT NULL, data BLOB NOT NULL, threads BLOB NOT NULL,"
	" pairs BLOB NOT NULL, n_largest INTEGER NOT NULL, largest BLOB NOT NULL) STRICT;"
	"CREATE TABLE page_rollup(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
	" seq INTEGER NOT NULL, page_bytes INTEGER NOT NULL, n_blocks INTEGER NOT NULL,"
	" live_bytes INTEGER NOT NULL, usable_bytes INTEGER NOT NULL, n_pages INTEGER NOT NULL,"
	" n_free_pages INTEGER NOT NULL, pinned_bytes INTEGER NOT NULL, n_holes INTEGER NOT NULL,"
	" hole_bytes INTEGER NOT NULL, largest_hole INTEGER NOT NULL, trim_pages INTEGER NOT NULL,"
	" n_huge_pages INTEGER NOT NULL, huge_live_bytes INTEGER NOT NULL, data BLOB NOT NULL,"
	" pins BLOB NOT NULL) STRICT;"
	"CREATE TABLE string(id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;"
	"CREATE TABLE symbol_frame(module INTEGER NOT NULL, \"offset\" INTEGER NOT NULL,"
	" depth INTEGER NOT NULL, function INTEGER, file INTEGER, line INTEGER,"
	" PRIMARY KEY(module, \"offset\", depth)) STRICT, WITHOUT ROWID;"
	"CREATE VIEW symbol AS SELECT f.module, f.\"offset\", f.depth, a.text AS function,"
	" b.text AS file, f.line FROM symbol_frame f LEFT JOIN string a ON a.id = f.function"
	" LEFT JOIN string b ON b.id = f.file;"
	"CREATE TABLE site(stack INTEGER PRIMARY KEY, n_frames INTEGER NOT NULL,"
	" text TEXT NOT NULL) STRICT;"
	"CREATE TABLE site_total(stack INTEGER PRIMARY KEY, n_allocs INTEGER NOT NULL,"
	" n_frees INTEGER NOT NULL, bytes_allocated INTEGER NOT NULL,"
	" bytes_freed INTEGER NOT NULL, live_blocks INTEGER NOT NULL, live_bytes INTEGER NOT NULL,"
	" peak_bytes INTEGER NOT NULL) STRICT;"
	"CREATE TABLE timeline(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
	" n_allocs INTEGER NOT NULL, n_frees INTEGER NOT NULL, bytes_allocated INTEGER NOT NULL,"
	" bytes_freed INTEGER NOT NULL, live_blocks INTEGER NOT NULL, live_bytes INTEGER NOT NULL,"
	" peak_bytes INTEGER NOT NULL, usable_bytes INTEGER NOT NULL, rss INTEGER, pss INTEGER,"
	" anon INTEGER, swap INTEGER, tracer INTEGER) STRICT;"
	"CREATE TABLE mapping(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
	" start_address INTEGER NOT NULL, end_address INTEGER NOT NULL, perms TEXT, path TEXT,"
	" kind TEXT, rss INTEGER, swap INTEGER) STRICT;"
	"CREATE TABLE sample(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
	" source TEXT NOT NULL, key TEXT NOT NULL, value INTEGER) STRICT;"
	"CREATE TABLE residency(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
	" took_ns INTEGER NOT NULL, method TEXT, page_bytes INTEGER NOT NULL, rss INTEGER,"
	" n_resident INTEGER NOT NULL, n_swapped INTEGER NOT NULL, data BLOB) STRICT;"
	"CREATE TABLE mark(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, seq INTEGER NOT NULL,"
	" kind TEXT NOT NULL, label TEXT, n INTEGER) STRICT;"
	"CREATE TABLE error(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, kind TEXT NOT NULL,"
	" address INTEGER NOT NULL, thread INTEGER NOT NULL, stack INTEGER NOT NULL,"
	" alloc_stack INTEGER NOT NULL, free_stack INTEGER NOT NULL, call TEXT, size INTEGER,"
	" block_size INTEGER, region TEXT, mapping TEXT, \"offset\" INTEGER) STRICT;"
	"CREATE TABLE governor(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
	" step INTEGER NOT NULL, depth INTEGER, sample_bytes INTEGER, overhead_ppm INTEGER NOT "
	"NULL,"
	" n_left_out INTEGER NOT NULL, bytes_left_out INTEGER NOT NULL) STRICT;"
	"CREATE TABLE pool(id INTEGER PRIMARY KEY, address INTEGER NOT NULL, name TEXT,"
	" created_ns INTEGER NOT NULL, destroyed_ns INTEGER, thread INTEGER NOT NULL,"
	" stack INTEGER NOT NULL, n_allocs INTEGER NOT NULL, n_frees INTEGER NOT NULL,"
	" bytes_allocated INTEGER NOT NULL, live_objects INTEGER NOT NULL,"
	" live_bytes INTEGER NOT NULL, peak_bytes INTEGER NOT NULL,"
	" memory_bytes INTEGER NOT NULL) STRICT;"
	"CREATE TABLE map_call(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
	" seq INTEGER NOT NULL, thread INTEGER NOT NULL, stack INTEGER NOT NULL,"
	" call TEXT NOT NULL, address INTEGER NOT NULL, bytes INTEGER NOT NULL,"
	" old_address INTEGER NOT NULL, old_bytes INTEGER NOT NULL, prot INTEGER,"
	" flags INTEGER) STRICT;"
	"CREATE TABLE map_site(stack INTEGER NOT NULL, call TEXT NOT NULL, prot INTEGER,"
	" flags INTEGER, n_calls INTEGER NOT NULL, bytes INTEGER NOT NULL,"
	" live_bytes INTEGER NOT NULL, live_ranges INTEGER NOT NULL,"
	" peak_bytes INTEGER NOT NULL, advice INTEGER NOT NULL,"
	" PRIMARY KEY(stack, call, advice)) STRICT;"
	"CREATE TABLE loss(id INTEGER PRIMARY KEY, first_ns INTEGER NOT NULL,"
	" last_ns INTEGER NOT NULL, thread INTEGER NOT NULL, n_events INTEGER NOT NULL,"
	" reason TEXT NOT NULL) STRICT;"
	"CREATE TABLE clock(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, tsc INTEGER NOT NULL,"
	" boottime_ns INTEGER NOT NULL, realtime_ns INTEGER NOT NULL) STRICT;"
	"CREATE TABLE child(id INTEGER PRIMARY KEY, start_ns INTEGER NOT NULL, end_ns INTEGER,"
	" pid INTEGER, ppid INTEGER, exe TEXT, argv TEXT, origin TEXT, exit_kind TEXT,"
	" exit_code INTEGER, n_allocs INTEGER NOT NULL, n_frees INTEGER NOT NULL,"
	" bytes_allocated INTEGER NOT NULL, peak_bytes INTEGER NOT NULL,"
	" n_lost INTEGER NOT NULL) STRICT;";

/* Those that every recording has; `residency`, `child`, `pool`, `governor`, `map_call` and
 * `map_site` came later.
 */
const char *const ft_schema_tables[] = {
	"meta",	      "process",     "thread",	    "module", "event_chunk",  "stack_chunk",
	"keyframe",   "site_rollup", "page_rollup", "string", "symbol_frame", "site",
	"site_total", "timeline",    "mapping",	    "sample", "mark",	      "error",
	"loss",	      "clock",	     NULL,
};

/* ---- a machine's recording: FORMAT.md, section 9 -----------------------------------------------
 */

#define ORDERS(x)                                                                        \
#x "0 INTEGER NOT NULL, " #x "1 INTEGER NOT NULL, " #x "2 INTEGER NOT NULL, " #x \
	   "3 INTEGER NOT NULL, " #x "4 INTEGER NOT NULL, " #x "5 INTEGER NOT NULL, " #x \
	   "6 INTEGER NOT NULL, " #x "7 INTEGER NOT NULL, " #x "8 INTEGER NOT NULL, " #x \
	   "9 INTEGER NOT NULL, " #x "10 INTEGER NOT NULL"

const char ft_node_schema_sql[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;"
	"CREATE TABLE node_source(name TEXT PRIMARY KEY, path TEXT, status TEXT NOT NULL,"
	" detail TEXT) STRICT;"
	"CREATE TABLE node_zone(id INTEGER PRIMARY KEY, node INTEGER NOT NULL, name TEXT NOT NULL,"
	" start_pfn INTEGER NOT NULL, spanned INTEGER NOT NULL, present INTEGER NOT NULL,"
	" managed INTEGER NOT NULL) STRICT;"
	"CREATE TABLE node_free(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
	" zone INTEGER NOT NULL, type TEXT, " ORDERS(
		n) ") STRICT;"
		   "CREATE TABLE node_block(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
		   " zone INTEGER NOT NULL, type TEXT NOT NULL, n INTEGER NOT NULL) STRICT;"
		   "CREATE TABLE node_slab(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
		   " cache TEXT NOT NULL, active_objects INTEGER NOT NULL, objects INTEGER NOT "
		   "NULL,"
		   " object_bytes INTEGER NOT NULL, objects_per_slab INTEGER NOT NULL,"
		   " pages_per_slab INTEGER NOT NULL, slabs INTEGER NOT NULL) STRICT;"
		   "CREATE TABLE node_index(id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
		   " zone INTEGER NOT NULL, kind TEXT NOT NULL, " ORDERS(
			   i) ","
			      " steady INTEGER NOT NULL) STRICT;"
			      "CREATE TABLE node_pages(id INTEGER PRIMARY KEY, snapshot INTEGER "
			      "NOT NULL,"
			      " first_pfn INTEGER NOT NULL, n_pages INTEGER NOT NULL, begin_ns "
			      "INTEGER NOT NULL,"
			      " end_ns INTEGER NOT NULL, data BLOB NOT NULL) STRICT;"
			      "CREATE TABLE node_event_chunk(id INTEGER PRIMARY KEY, cpu INTEGER "
			      "NOT NULL,"
			      " n_events INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns "
			      "INTEGER NOT NULL,"
			      " data BLOB NOT NULL) STRICT;"
			      "CREATE TABLE node_action(id INTEGER PRIMARY KEY, kind TEXT NOT NULL,"
			      " begin_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL) STRICT;"
			      "CREATE TABLE sample(id INTEGER PRIMARY KEY, time_ns INTEGER NOT "
			      "NULL,"
			      " source TEXT NOT NULL, key TEXT NOT NULL, value INTEGER) STRICT;"
			      "CREATE TABLE loss(id INTEGER PRIMARY KEY, first_ns INTEGER NOT NULL,"
			      " last_ns INTEGER NOT NULL, thread INTEGER NOT NULL, n_events "
			      "INTEGER NOT NULL,"
			      " reason TEXT NOT NULL) STRICT;";

const char *const ft_node_schema_tables[] = {
	"meta",	     "node_source", "node_zone",  "node_free",	      "node_block",
	"node_slab", "node_index",  "node_pages", "node_event_chunk", "node_action",
	"sample",    "loss",	    NULL,
};

/* SPDX-License-Identifier: MIT */
/* Reader of a recording: the plain rows. */
#include <stdio.h>

#include "ft_cleanup.h"
#include "ft_columns.h"
#include "ft_db.h"
#include "ft_reader.h"
#include "ft_residency.h"

/*
 * A visit is one query. `FETCH` fills `row` from `stmt`; the callback's error ends the visit.
 *
 * While a callback runs, the query's read transaction is open: callbacks are short.
 */
#define VISIT(reader, SQL, ROW, ...)                                                 \
	do {                                                                         \
		ft_auto_stmt sqlite3_stmt *stmt = NULL;                              \
		int rc;                                                              \
                                                                                     \
		FT_TRY(ft_db_prepare((reader)->db, (reader)->path, SQL, &stmt));     \
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {                    \
			const ROW row = __VA_ARGS__;                                 \
                                                                                     \
			FT_TRY(visit(ctx, &row));                                    \
		}                                                                    \
		if (rc != SQLITE_DONE)                                               \
			return ft_db_error((reader)->db, (reader)->path, "a table"); \
		return NULL;                                                         \
	} while (0)

#define TIMELINE_COLUMNS                                                                     \
	"time_ns, n_allocs, n_frees, bytes_allocated, bytes_freed, live_blocks, live_bytes," \
	" peak_bytes, usable_bytes, rss, pss, anon, swap, tracer"

#define U(column)   ft_db_u64(stmt, column)
#define U32(column) (uint32_t) ft_db_u64(stmt, column)
#define I(column)   sqlite3_column_int64(stmt, column)
#define OPT(column) ft_db_opt(stmt, column)
#define T(column)   ft_db_time(stmt, column)
#define S(column)   ft_db_text(stmt, column)

static struct ft_error *keep(struct ft_reader *reader, const char *text, const char **ret)
{
	*ret = text ? ft_arena_strdup(&reader->arena, text) : NULL;
	return text && !*ret ? &ft_enomem : NULL;
}

struct ft_error *ft_reader_process(struct ft_reader *reader, struct ft_process_row *ret)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	*ret = (struct ft_process_row){
		.fork_ns = FT_TIME_NONE, .end_ns = FT_TIME_NONE, .exit_code = -1};
	FT_TRY(ft_db_prepare(reader->db, reader->path,
			     "SELECT pid, ppid, exe, argv, parent_recording, fork_ns,"
			     " start_realtime_ns, end_ns, exit_kind, exit_code FROM process",
			     &stmt));

	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_DONE)
		return NULL;
	if (rc != SQLITE_ROW)
		return ft_db_error(reader->db, reader->path, "process");
	ret->pid = I(0);
	ret->ppid = I(1);
	FT_TRY(keep(reader, S(2), &ret->exe));
	FT_TRY(keep(reader, S(3), &ret->argv_json));
	FT_TRY(keep(reader, S(4), &ret->parent_recording));
	ret->fork_ns = T(5);
	ret->start_realtime_ns = I(6);
	ret->end_ns = T(7);
	FT_TRY(keep(reader, S(8), &ret->exit_kind));
	ret->exit_code = I(9);
	return NULL;
}

struct ft_error *ft_reader_threads(struct ft_reader *reader,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_thread_row *row),
				   void *ctx)
{
	VISIT(reader,
	      ft_db_has_column(reader->db, "thread", "n_threads")
		      ? "SELECT id, tid, name, start_function, start_ns, end_ns,"
			" coalesce(n_threads, 1) FROM thread ORDER BY id"
		      : "SELECT id, tid, name, start_function, start_ns, end_ns, 1 FROM thread"
			" ORDER BY id",
	      struct ft_thread_row,
	      {.id = U32(0),
	       .tid = I(1),
	       .name = S(2),
	       .start_function = U(3),
	       .start_ns = U(4),
	       .end_ns = T(5),
	       .n_threads = U32(6)});
}

struct ft_error *ft_reader_modules(struct ft_reader *reader,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_module_row *row),
				   void *ctx)
{
	VISIT(reader,
	      ft_db_has_column(reader->db, "module", "last_stack")
		      ? "SELECT id, path, build_id, bias, start_address, end_address, load_ns,"
			" unload_ns, last_stack FROM module ORDER BY id"
		      : "SELECT id, path, build_id, bias, start_address, end_address, load_ns,"
			" unload_ns, NULL FROM module ORDER BY id",
	      struct ft_module_row,
	      {.id = U32(0),
	       .path = S(1),
	       .build_id = S(2),
	       .bias = U(3),
	       .start = U(4),
	       .end = U(5),
	       .load_ns = U(6),
	       .unload_ns = T(7),
	       .last_stack = U32(8)});
}

static struct ft_timeline_row timeline_row(sqlite3_stmt *stmt)
{
	return (struct ft_timeline_row){.time_ns = U(0),
					.n_allocs = U(1),
					.n_frees = U(2),
					.bytes_allocated = U(3),
					.bytes_freed = U(4),
					.live_blocks = U(5),
					.live_bytes = U(6),
					.peak_bytes = U(7),
					.usable_bytes = U(8),
					.rss = OPT(9),
					.pss = OPT(10),
					.anon = OPT(11),
					.swap = OPT(12),
					.tracer = OPT(13)};
}

struct ft_error *ft_reader_timeline(struct ft_reader *reader,
				    struct ft_error *(*visit)(void *ctx,
							      const struct ft_timeline_row *row),
				    void *ctx)
{
	VISIT(reader, "SELECT " TIMELINE_COLUMNS " FROM timeline ORDER BY time_ns, id",
	      struct ft_timeline_row, timeline_row(stmt));
}

struct ft_error *ft_reader_timeline_tail(
	struct ft_reader *reader, uint32_t max,
	struct ft_error *(*visit)(void *ctx, const struct ft_timeline_row *row), void *ctx)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
		 "SELECT " TIMELINE_COLUMNS " FROM (SELECT id, " TIMELINE_COLUMNS
		 " FROM timeline ORDER BY id DESC LIMIT %u) ORDER BY id",
		 max);
	VISIT(reader, sql, struct ft_timeline_row, timeline_row(stmt));
}

struct ft_error *ft_reader_site_totals(
	struct ft_reader *reader,
	struct ft_error *(*visit)(void *ctx, const struct ft_site_total_row *row), void *ctx)
{
	VISIT(reader,
	      "SELECT stack, n_allocs, n_frees, bytes_allocated, bytes_freed, live_blocks,"
	      " live_bytes, peak_bytes FROM site_total ORDER BY stack",
	      struct ft_site_total_row,
	      {.stack = U32(0),
	       .n_allocs = U(1),
	       .n_frees = U(2),
	       .bytes_allocated = U(3),
	       .bytes_freed = U(4),
	       .live_blocks = U(5),
	       .live_bytes = U(6),
	       .peak_bytes = U(7)});
}

struct ft_error *ft_reader_samples(struct ft_reader *reader,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_sample_row *row),
				   void *ctx)
{
	VISIT(reader, "SELECT time_ns, source, key, value FROM sample ORDER BY time_ns, id",
	      struct ft_sample_row, {.time_ns = U(0), .source = S(1), .key = S(2), .value = I(3)});
}

struct ft_error *ft_reader_mappings(struct ft_reader *reader,
				    struct ft_error *(*visit)(void *ctx,
							      const struct ft_mapping_row *row),
				    void *ctx)
{
	VISIT(reader,
	      "SELECT time_ns, start_address, end_address, perms, path, kind, rss, swap"
	      " FROM mapping ORDER BY time_ns, id",
	      struct ft_mapping_row,
	      {.time_ns = U(0),
	       .start = U(1),
	       .end = U(2),
	       .perms = S(3),
	       .path = S(4),
	       .kind = S(5),
	       .rss = OPT(6),
	       .swap = OPT(7)});
}

/* The table came later than the first recordings of this format. */
static struct ft_error *has_residency(struct ft_reader *reader, bool *ret)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	FT_TRY(ft_db_prepare(reader->db, reader->path,
			     "SELECT 1 FROM sqlite_schema WHERE name = 'residency'"
			     " AND type = 'table' AND rootpage > 0",
			     &stmt));

	int rc = sqlite3_step(stmt);

	*ret = rc == SQLITE_ROW;
	return *ret || rc == SQLITE_DONE ? NULL
					 : ft_db_error(reader->db, reader->path, "residency");
}

struct ft_error *ft_reader_residency(struct ft_reader *reader,
				     struct ft_error *(*visit)(void *ctx,
							       const struct ft_residency_row *row),
				     void *ctx)
{
	bool has_table;

	FT_TRY(has_residency(reader, &has_table));
	if (!has_table)
		return NULL;
	VISIT(reader,
	      "SELECT id, time_ns, took_ns, method, page_bytes, rss, n_resident, n_swapped,"
	      " data IS NULL FROM residency ORDER BY time_ns, id",
	      struct ft_residency_row,
	      {.id = I(0),
	       .time_ns = U(1),
	       .took_ns = U(2),
	       .method = S(3),
	       .page_bytes = U32(4),
	       .rss = OPT(5),
	       .n_resident = U(6),
	       .n_swapped = U(7),
	       .unchanged = I(8)});
}

struct ft_error *ft_reader_residency_runs(struct ft_reader *reader, int64_t id,
					  struct ft_page_run **ret, size_t *n)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	*ret = NULL;
	*n = 0;
	FT_TRY(ft_db_prepare(reader->db, reader->path,
			     "SELECT page_bytes, data FROM residency"
			     " WHERE id <= ? AND data IS NOT NULL ORDER BY id DESC LIMIT 1",
			     &stmt));
	sqlite3_bind_int64(stmt, 1, id);

	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_DONE)
		return NULL;
	if (rc != SQLITE_ROW)
		return ft_db_error(reader->db, reader->path, "residency");

	uint64_t page_bytes = U(0);
	const char *damage = "its page size is none";

	if (page_bytes >= 1024 && page_bytes <= 1 << 30 && !(page_bytes & (page_bytes - 1)))
		damage = ft_residency_decode(sqlite3_column_blob(stmt, 1),
					     (size_t)sqlite3_column_bytes(stmt, 1),
					     (uint32_t)page_bytes, ret, n);
	if (!damage)
		return NULL;
	if (damage == ft_unpack_nomem)
		return &ft_enomem;
	return ft_error_create(FT_ERROR_INPUT,
			       "%s: the recording is damaged: residency sample %lld: %s",
			       reader->path, (long long)id, damage);
}

struct ft_error *ft_reader_marks(struct ft_reader *reader,
				 struct ft_error *(*visit)(void *ctx,
							   const struct ft_mark_row *row),
				 void *ctx)
{
	VISIT(reader,
	      ft_db_has_column(reader->db, "mark", "n")
		      ? "SELECT time_ns, seq, kind, label, coalesce(n, 1) FROM mark"
			" ORDER BY time_ns, id"
		      : "SELECT time_ns, seq, kind, label, 1 FROM mark ORDER BY time_ns, id",
	      struct ft_mark_row,
	      {.time_ns = U(0), .seq = U(1), .kind = S(2), .label = S(3), .n = U(4)});
}

/* The columns that came later, or NULLs in their place. */
static struct ft_error *error_columns(struct ft_reader *reader, const char **ret)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	FT_TRY(ft_db_prepare(reader->db, reader->path,
			     "SELECT 1 FROM pragma_table_info('error') WHERE name = 'region'",
			     &stmt));
	*ret = sqlite3_step(stmt) == SQLITE_ROW
		       ? "SELECT time_ns, kind, address, thread, stack, alloc_stack, free_stack,"
			 " call, size, block_size, region, mapping, \"offset\" FROM error"
			 " ORDER BY time_ns, id"
		       : "SELECT time_ns, kind, address, thread, stack, alloc_stack, free_stack,"
			 " NULL, NULL, NULL, NULL, NULL, NULL FROM error ORDER BY time_ns, id";
	return NULL;
}

struct ft_error *ft_reader_errors(struct ft_reader *reader,
				  struct ft_error *(*visit)(void *ctx,
							    const struct ft_error_row *row),
				  void *ctx)
{
	const char *sql;

	FT_TRY(error_columns(reader, &sql));
	VISIT(reader, sql, struct ft_error_row,
	      {.time_ns = U(0),
	       .kind = S(1),
	       .address = U(2),
	       .thread = U32(3),
	       .stack = U32(4),
	       .alloc_stack = U32(5),
	       .free_stack = U32(6),
	       .call = S(7),
	       .size = OPT(8),
	       .block_size = OPT(9),
	       .region = S(10),
	       .mapping = S(11),
	       .offset = OPT(12)});
}

struct ft_error *ft_reader_losses(struct ft_reader *reader,
				  struct ft_error *(*visit)(void *ctx,
							    const struct ft_loss_row *row),
				  void *ctx)
{
	VISIT(reader,
	      "SELECT first_ns, last_ns, thread, n_events, reason FROM loss ORDER BY first_ns, id",
	      struct ft_loss_row,
	      {.first_ns = U(0),
	       .last_ns = U(1),
	       .thread = U32(2),
	       .n_events = U(3),
	       .reason = S(4)});
}

struct ft_error *ft_reader_clocks(struct ft_reader *reader,
				  struct ft_error *(*visit)(void *ctx,
							    const struct ft_clock_row *row),
				  void *ctx)
{
	VISIT(reader,
	      "SELECT time_ns, tsc, boottime_ns, realtime_ns FROM clock ORDER BY time_ns, id",
	      struct ft_clock_row,
	      {.time_ns = U(0), .tsc = U(1), .boottime_ns = I(2), .realtime_ns = I(3)});
}

struct ft_error *ft_reader_symbols(struct ft_reader *reader,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_symbol_row *row),
				   void *ctx)
{
	VISIT(reader,
	      "SELECT f.module, f.\"offset\", f.depth, a.text, b.text, f.line FROM symbol_frame f"
	      " LEFT JOIN string a ON a.id = f.function LEFT JOIN string b ON b.id = f.file"
	      " ORDER BY f.module, f.\"offset\", f.depth",
	      struct ft_symbol_row,
	      {.module = U32(0),
	       .offset = U(1),
	       .depth = U32(2),
	       .function = S(3),
	       .file = S(4),
	       .line = I(5)});
}

/* Files of earlier writers lack some tables. */
static struct ft_error *has_table(struct ft_reader *reader, const char *name, bool *ret)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	FT_TRY(ft_db_prepare(reader->db, reader->path,
			     "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?",
			     &stmt));
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	*ret = sqlite3_step(stmt) == SQLITE_ROW;
	return NULL;
}

struct ft_error *ft_reader_pools(struct ft_reader *reader,
				 struct ft_error *(*visit)(void *ctx,
							   const struct ft_pool_row *row),
				 void *ctx)
{
	bool there = false;

	FT_TRY(has_table(reader, "pool", &there));
	if (!there)
		return NULL;
	VISIT(reader,
	      "SELECT id, address, name, created_ns, destroyed_ns, thread, stack, n_allocs, "
	      "n_frees,"
	      " bytes_allocated, live_objects, live_bytes, peak_bytes, memory_bytes FROM pool"
	      " ORDER BY id",
	      struct ft_pool_row,
	      {.id = U32(0),
	       .address = U(1),
	       .name = S(2),
	       .created_ns = U(3),
	       .destroyed_ns = T(4),
	       .thread = U32(5),
	       .stack = U32(6),
	       .n_allocs = U(7),
	       .n_frees = U(8),
	       .bytes_allocated = U(9),
	       .live_objects = U(10),
	       .live_bytes = U(11),
	       .peak_bytes = U(12),
	       .memory_bytes = U(13)});
}

struct ft_error *ft_reader_governor(struct ft_reader *reader,
				    struct ft_error *(*visit)(void *ctx,
							      const struct ft_governor_row *row),
				    void *ctx)
{
	bool there = false;

	FT_TRY(has_table(reader, "governor", &there));
	if (!there)
		return NULL;
	VISIT(reader,
	      "SELECT time_ns, step, depth, sample_bytes, overhead_ppm, n_left_out, bytes_left_out"
	      " FROM governor ORDER BY time_ns, id",
	      struct ft_governor_row,
	      {.time_ns = U(0),
	       .step = U32(1),
	       .depth = U32(2),
	       .sample_bytes = U(3),
	       .overhead_ppm = U(4),
	       .n_left_out = U(5),
	       .bytes_left_out = U(6)});
}

struct ft_error *ft_reader_map_sites(struct ft_reader *reader,
				     struct ft_error *(*visit)(void *ctx,
							       const struct ft_map_site_row *row),
				     void *ctx)
{
	bool there = false;

	FT_TRY(has_table(reader, "map_site", &there));
	if (!there)
		return NULL;
	VISIT(reader,
	      "SELECT stack, call, prot, flags, n_calls, bytes, live_bytes, live_ranges, peak_bytes"
	      " FROM map_site ORDER BY live_bytes DESC, peak_bytes DESC, bytes DESC,"
	      " stack, call, advice",
	      struct ft_map_site_row,
	      {.stack = U32(0),
	       .call = S(1),
	       .prot = OPT(2),
	       .flags = OPT(3),
	       .n_calls = U(4),
	       .bytes = U(5),
	       .live_bytes = U(6),
	       .live_ranges = U(7),
	       .peak_bytes = U(8)});
}

struct ft_error *ft_reader_children(struct ft_reader *reader,
				    struct ft_error *(*visit)(void *ctx,
							      const struct ft_child_row *row),
				    void *ctx)
{
	bool there = false;

	FT_TRY(has_table(reader, "child", &there));
	if (!there)
		return NULL;
	VISIT(reader,
	      "SELECT start_ns, end_ns, pid, ppid, exe, argv, origin, exit_kind, exit_code,"
	      " n_allocs, n_frees, bytes_allocated, peak_bytes, n_lost FROM child ORDER BY id",
	      struct ft_child_row,
	      {.start_ns = U(0),
	       .end_ns = T(1),
	       .pid = I(2),
	       .ppid = I(3),
	       .exe = S(4),
	       .argv_json = S(5),
	       .origin = S(6),
	       .exit_kind = S(7),
	       .exit_code = I(8),
	       .n_allocs = U(9),
	       .n_frees = U(10),
	       .bytes_allocated = U(11),
	       .peak_bytes = U(12),
	       .n_lost = U(13)});
}

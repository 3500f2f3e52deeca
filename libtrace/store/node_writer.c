/* SPDX-License-Identifier: MIT */
/*
 * Writer of a machine's recording: see fragtrace/node.h
 *
 * Rows go to SQLite as they come, in one transaction that a commit ends.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fragtrace/node.h"
#include "ft_blank.h"
#include "ft_cleanup.h"
#include "ft_db.h"
#include "ft_node_chunk.h"
#include "ft_schema.h"

enum { ZSTD_LEVEL = 3, FOLD_WAIT_MS = 3000 };

enum statement {
	STMT_META,
	STMT_SOURCE,
	STMT_ZONE,
	STMT_FREE,
	STMT_BLOCK,
	STMT_SLAB,
	STMT_INDEX,
	STMT_PAGES,
	STMT_EVENTS,
	STMT_ACTION,
	STMT_SAMPLE,
	STMT_LOSS,
	STMT_N
};

static const char *const statements[STMT_N] = {
	[STMT_META] = "INSERT OR REPLACE INTO meta VALUES(?,?)",
	[STMT_SOURCE] = "INSERT OR REPLACE INTO node_source VALUES(?,?,?,?)",
	[STMT_ZONE] = "INSERT OR REPLACE INTO node_zone VALUES(?,?,?,?,?,?,?)",
	[STMT_FREE] = "INSERT INTO node_free VALUES(NULL,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STMT_BLOCK] = "INSERT INTO node_block VALUES(NULL,?,?,?,?)",
	[STMT_SLAB] = "INSERT INTO node_slab VALUES(NULL,?,?,?,?,?,?,?,?)",
	[STMT_INDEX] = "INSERT INTO node_index VALUES(NULL,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STMT_PAGES] = "INSERT INTO node_pages VALUES(NULL,?,?,?,?,?,?)",
	[STMT_EVENTS] = "INSERT INTO node_event_chunk VALUES(NULL,?,?,?,?,?)",
	[STMT_ACTION] = "INSERT INTO node_action VALUES(NULL,?,?,?)",
	[STMT_SAMPLE] = "INSERT INTO sample VALUES(NULL,?,?,?,?)",
	[STMT_LOSS] = "INSERT INTO loss VALUES(NULL,?,?,?,?,?)",
};

struct ft_node_writer {
	char *path;
	sqlite3 *db;
	sqlite3_stmt *stmts[STMT_N];
	int lock_fd;
	bool in_transaction, begun;
	struct ft_packer *packer;
	struct ft_strbuf blob;
};

#define RUN(writer, stmt, ...) \
	ft_db_run((writer)->db, (writer)->path, (writer)->stmts[stmt], __VA_ARGS__)

static struct ft_error *begin(struct ft_node_writer *writer)
{
	if (writer->in_transaction)
		return NULL;
	FT_TRY(ft_db_exec(writer->db, writer->path, "BEGIN IMMEDIATE"));
	writer->in_transaction = true;
	return NULL;
}

static void destroy(struct ft_node_writer *writer)
{
	for (size_t i = 0; i < STMT_N; i++)
		sqlite3_finalize(writer->stmts[i]);
	sqlite3_close(writer->db);
	if (writer->lock_fd >= 0)
		close(writer->lock_fd);
	ft_packer_destroy(writer->packer);
	ft_strbuf_deinit(&writer->blob);
	free(writer->path);
	free(writer);
}

static struct ft_error *set_up(struct ft_node_writer *writer)
{
	if (sqlite3_open_v2(writer->path, &writer->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		return writer->db ? ft_db_error(writer->db, writer->path, "cannot open")
				  : &ft_enomem;
	FT_TRY(ft_blank_setup(writer->path, writer->db, FOLD_WAIT_MS, &writer->lock_fd));
	for (size_t i = 0; i < STMT_N; i++)
		FT_TRY(ft_db_prepare(writer->db, writer->path, statements[i], &writer->stmts[i]));
	return NULL;
}

struct ft_error *ft_node_writer_create(const char *path, struct ft_node_writer **ret)
{
	struct ft_node_writer *writer = calloc(1, sizeof(*writer));
	struct ft_error *error;

	if (!writer)
		return &ft_enomem;
	writer->lock_fd = -1;
	ft_strbuf_init(&writer->blob);
	writer->path = strdup(path);
	writer->packer = ft_packer_create(ZSTD_LEVEL);
	error = writer->path && writer->packer ? ft_blank_create(path, ft_node_schema_sql, "node")
					       : &ft_enomem;
	if (!error) {
		error = set_up(writer);
		/* Nothing is in it, and it would only block its name. */
		if (error)
			unlink(path);
	}
	if (error) {
		destroy(writer);
		return error;
	}
	*ret = writer;
	return NULL;
}

void ft_node_writer_close(struct ft_node_writer *writer)
{
	if (!writer)
		return;
	ft_error_destroy(ft_node_writer_commit(writer));
	destroy(writer);
}

struct ft_error *ft_node_writer_commit(struct ft_node_writer *writer)
{
	if (!writer->begun)
		FT_TRY(ft_node_writer_meta(writer, "state", "recording"));
	writer->begun = true;
	if (!writer->in_transaction)
		return NULL;
	FT_TRY(ft_db_exec(writer->db, writer->path, "COMMIT"));
	writer->in_transaction = false;
	return NULL;
}

struct ft_error *ft_node_writer_finish(struct ft_node_writer *writer)
{
	struct ft_error *error = ft_node_writer_meta(writer, "state", "complete");

	writer->begun = true;
	if (!error)
		error = ft_node_writer_commit(writer);
	if (!error) {
		for (size_t i = 0; i < STMT_N; i++) {
			sqlite3_finalize(writer->stmts[i]);
			writer->stmts[i] = NULL;
		}
		ft_db_fold(writer->db, FOLD_WAIT_MS);
	}
	destroy(writer);
	return error;
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct ft_error *ft_node_writer_meta(struct ft_node_writer *writer, const char *key,
				     const char *value)
{
	FT_TRY(begin(writer));
	return RUN(writer, STMT_META, "ss", key, value);
}

struct ft_error *ft_node_writer_meta_int(struct ft_node_writer *writer, const char *key,
					 int64_t value)
{
	FT_TRY(begin(writer));
	return RUN(writer, STMT_META, "si", key, value);
}

struct ft_error *ft_node_writer_source(struct ft_node_writer *writer,
				       const struct ft_node_source_row *row)
{
	FT_TRY(begin(writer));
	return RUN(writer, STMT_SOURCE, "ssss", row->name, row->path, row->status, row->detail);
}

struct ft_error *ft_node_writer_zone(struct ft_node_writer *writer,
				     const struct ft_node_zone_row *row)
{
	FT_TRY(begin(writer));
	return RUN(writer, STMT_ZONE, "iisuuuu", (int64_t)row->id, row->node, row->name,
		   row->start_pfn, row->spanned, row->present, row->managed);
}

struct ft_error *ft_node_writer_free(struct ft_node_writer *writer,
				     const struct ft_node_free_row *row)
{
	const uint64_t *n = row->n;

	FT_TRY(begin(writer));
	return RUN(writer, STMT_FREE, "uisuuuuuuuuuuu", row->time_ns, (int64_t)row->zone, row->type,
		   n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10]);
}

struct ft_error *ft_node_writer_block(struct ft_node_writer *writer,
				      const struct ft_node_block_row *row)
{
	FT_TRY(begin(writer));
	return RUN(writer, STMT_BLOCK, "uisu", row->time_ns, (int64_t)row->zone, row->type, row->n);
}

struct ft_error *ft_node_writer_slab(struct ft_node_writer *writer,
				     const struct ft_node_slab_row *row)
{
	FT_TRY(begin(writer));
	return RUN(writer, STMT_SLAB, "usuuuuuu", row->time_ns, row->cache, row->active_objects,
		   row->objects, row->object_bytes, row->objects_per_slab, row->pages_per_slab,
		   row->slabs);
}

struct ft_error *ft_node_writer_index(struct ft_node_writer *writer,
				      const struct ft_node_index_row *row)
{
	const int64_t *m = row->milli;

	FT_TRY(begin(writer));
	return RUN(writer, STMT_INDEX, "uisiiiiiiiiiiii", row->time_ns, (int64_t)row->zone,
		   row->kind, m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8], m[9], m[10],
		   (int64_t)row->steady);
}

struct ft_error *ft_node_writer_pages(struct ft_node_writer *writer,
				      const struct ft_node_pages_row *row)
{
	ft_strbuf_clear(&writer->blob);
	if (!ft_node_pages_encode(row->runs, row->n_runs, writer->packer, &writer->blob))
		return &ft_enomem;
	FT_TRY(begin(writer));
	return RUN(writer, STMT_PAGES, "iuuuub", (int64_t)row->snapshot, row->first_pfn,
		   (uint64_t)row->n_pages, row->begin_ns, row->end_ns, writer->blob.data,
		   writer->blob.len);
}

struct ft_error *ft_node_writer_events(struct ft_node_writer *writer,
				       const struct ft_node_event *events, size_t n)
{
	if (!n)
		return NULL;
	ft_strbuf_clear(&writer->blob);
	if (!ft_node_events_encode(events, n, writer->packer, &writer->blob))
		return &ft_enomem;
	FT_TRY(begin(writer));
	return RUN(writer, STMT_EVENTS, "iuuub", (int64_t)events[0].cpu, (uint64_t)n,
		   events[0].time_ns, events[n - 1].time_ns, writer->blob.data, writer->blob.len);
}

struct ft_error *ft_node_writer_action(struct ft_node_writer *writer,
				       const struct ft_node_action_row *row)
{
	FT_TRY(begin(writer));
	return RUN(writer, STMT_ACTION, "suu", row->kind, row->begin_ns, row->end_ns);
}

struct ft_error *ft_node_writer_sample(struct ft_node_writer *writer,
				       const struct ft_sample_row *row)
{
	FT_TRY(begin(writer));
	return RUN(writer, STMT_SAMPLE, "ussi", row->time_ns, row->source, row->key, row->value);
}

struct ft_error *ft_node_writer_loss(struct ft_node_writer *writer, const struct ft_loss_row *row)
{
	FT_TRY(begin(writer));
	return RUN(writer, STMT_LOSS, "uuuus", row->first_ns, row->last_ns, (int64_t)row->thread,
		   row->n_events, row->reason);
}

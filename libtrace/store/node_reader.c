/* SPDX-License-Identifier: MIT */
/* Reader of a machine's recording: see fragtrace/node.h. */
#include <stdlib.h>
#include <string.h>

#include "fragtrace/node.h"
#include "ft_cleanup.h"
#include "ft_db.h"
#include "ft_node_chunk.h"
#include "ft_reader.h"

#define U(column)   ft_db_u64(stmt, column)
#define U32(column) (uint32_t) ft_db_u64(stmt, column)
#define I(column)   sqlite3_column_int64(stmt, column)
#define S(column)   ft_db_text(stmt, column)

/* A visit is one query; the callback's error ends it. */
#define VISIT(SQL, ROW, ...)                                                                   \
	do {                                                                                   \
		ft_auto_stmt sqlite3_stmt *stmt = NULL;                                        \
		int rc;                                                                        \
                                                                                               \
		FT_TRY(ft_db_prepare(reader->db, reader->path, SQL, &stmt));                   \
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {                              \
			const struct ROW row = __VA_ARGS__;                                    \
                                                                                               \
			FT_TRY(visit(ctx, &row));                                              \
		}                                                                              \
		return rc == SQLITE_DONE ? NULL : ft_db_error(reader->db, reader->path, #ROW); \
	} while (0)

FT_NODE_VISIT(sources, ft_node_source_row)
{
	VISIT("SELECT name, path, status, detail FROM node_source ORDER BY rowid",
	      ft_node_source_row, {.name = S(0), .path = S(1), .status = S(2), .detail = S(3)});
}

FT_NODE_VISIT(zones, ft_node_zone_row)
{
	VISIT("SELECT id, node, name, start_pfn, spanned, present, managed FROM node_zone"
	      " ORDER BY id",
	      ft_node_zone_row,
	      {.id = U32(0),
	       .node = I(1),
	       .name = S(2),
	       .start_pfn = U(3),
	       .spanned = U(4),
	       .present = U(5),
	       .managed = U(6)});
}

FT_NODE_VISIT(free, ft_node_free_row)
{
	VISIT("SELECT time_ns, zone, type, n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10"
	      " FROM node_free ORDER BY id",
	      ft_node_free_row,
	      {.time_ns = U(0),
	       .zone = U32(1),
	       .type = S(2),
	       .n = {U(3), U(4), U(5), U(6), U(7), U(8), U(9), U(10), U(11), U(12), U(13)}});
}

FT_NODE_VISIT(blocks, ft_node_block_row)
{
	VISIT("SELECT time_ns, zone, type, n FROM node_block ORDER BY id", ft_node_block_row,
	      {.time_ns = U(0), .zone = U32(1), .type = S(2), .n = U(3)});
}

FT_NODE_VISIT(slabs, ft_node_slab_row)
{
	VISIT("SELECT time_ns, cache, active_objects, objects, object_bytes, objects_per_slab,"
	      " pages_per_slab, slabs FROM node_slab ORDER BY id",
	      ft_node_slab_row,
	      {.time_ns = U(0),
	       .cache = S(1),
	       .active_objects = U(2),
	       .objects = U(3),
	       .object_bytes = U(4),
	       .objects_per_slab = U(5),
	       .pages_per_slab = U(6),
	       .slabs = U(7)});
}

FT_NODE_VISIT(indices, ft_node_index_row)
{
	VISIT("SELECT time_ns, zone, kind, i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, steady"
	      " FROM node_index ORDER BY id",
	      ft_node_index_row,
	      {.time_ns = U(0),
	       .zone = U32(1),
	       .kind = S(2),
	       .milli = {I(3), I(4), I(5), I(6), I(7), I(8), I(9), I(10), I(11), I(12), I(13)},
	       .steady = I(14) != 0});
}

FT_NODE_VISIT(actions, ft_node_action_row)
{
	VISIT("SELECT kind, begin_ns, end_ns FROM node_action ORDER BY id", ft_node_action_row,
	      {.kind = S(0), .begin_ns = U(1), .end_ns = U(2)});
}

static struct ft_error *damaged(const struct ft_reader *reader, const char *table, int64_t id,
				const char *damage)
{
	if (damage == ft_unpack_nomem)
		return &ft_enomem;
	return ft_error_create(FT_ERROR_INPUT, "%s: the recording is damaged: %s %lld: %s",
			       reader->path, table, (long long)id, damage);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static struct ft_error *pages_row(const struct ft_reader *reader, sqlite3_stmt *stmt,
				  struct ft_unpacker *unpacker, struct ft_node_pages_row *row,
				  struct ft_node_run **runs)
{
	uint64_t n_pages = U(3);
	const char *damage = NULL;

	*row = (struct ft_node_pages_row){.snapshot = U32(1),
					  .first_pfn = U(2),
					  .n_pages = (uint32_t)n_pages,
					  .begin_ns = U(4),
					  .end_ns = U(5)};
	if (!n_pages || n_pages > FT_NODE_PAGES_MAX)
		damage = "no, or too many, page frames";
	else if (row->first_pfn > UINT64_MAX >> 12)
		damage = "page frames beyond all memory";
	else
		damage = ft_node_pages_decode(sqlite3_column_blob(stmt, 6),
					      (size_t)sqlite3_column_bytes(stmt, 6), row->n_pages,
					      unpacker, runs, &row->n_runs);
	row->runs = *runs;
	return damage ? damaged(reader, "node_pages", I(0), damage) : NULL;
}

struct ft_error *ft_reader_node_pages(
	struct ft_reader *reader, uint32_t snapshot,
	struct ft_error *(*visit)(void *ctx, const struct ft_node_pages_row *row), void *ctx)
{
	struct ft_unpacker *unpacker = ft_unpacker_create();
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	struct ft_error *error = unpacker ? NULL : &ft_enomem;
	int rc = SQLITE_DONE;

	if (!error)
		error = ft_db_prepare(reader->db, reader->path,
				      "SELECT id, snapshot, first_pfn, n_pages, begin_ns, end_ns,"
				      " data FROM node_pages WHERE ?1 = 0 OR snapshot = ?1"
				      " ORDER BY id",
				      &stmt);
	if (!error)
		sqlite3_bind_int64(stmt, 1, snapshot);
	while (!error && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct ft_node_run *runs = NULL;
		struct ft_node_pages_row row;

		error = pages_row(reader, stmt, unpacker, &row, &runs);
		if (!error)
			error = visit(ctx, &row);
		free(runs);
	}
	if (!error && rc != SQLITE_DONE)
		error = ft_db_error(reader->db, reader->path, "node_pages");
	ft_unpacker_destroy(unpacker);
	return error;
}

/* ---- events ---------------------------------------------------------------------------------- */

/* The events of one cpu, a chunk at a time. */
struct stream {
	sqlite3_stmt *stmt;
	struct ft_node_event *events;
	size_t n, at;
	uint64_t last_ns;
	uint16_t cpu;
	bool over;
};

static struct ft_error *stream_fill(struct ft_reader *reader, struct stream *stream,
				    struct ft_unpacker *unpacker)
{
	while (stream->at == stream->n && !stream->over) {
		sqlite3_stmt *stmt = stream->stmt;
		int rc = sqlite3_step(stmt);
		const char *damage;

		stream->over = rc != SQLITE_ROW;
		if (rc == SQLITE_DONE)
			return NULL;
		if (rc != SQLITE_ROW)
			return ft_db_error(reader->db, reader->path, "node_event_chunk");
		stream->at = stream->n = 0;
		damage = ft_node_events_decode(sqlite3_column_blob(stmt, 1),
					       (size_t)sqlite3_column_bytes(stmt, 1), stream->cpu,
					       unpacker, stream->events, &stream->n);
		if (!damage && stream->n && stream->events[0].time_ns < stream->last_ns)
			damage = "it goes back in time";
		if (damage) {
			stream->n = 0;
			return damaged(reader, "node_event_chunk", I(0), damage);
		}
		if (stream->n)
			stream->last_ns = stream->events[stream->n - 1].time_ns;
	}
	return NULL;
}

static struct ft_error *streams_open(struct ft_reader *reader, struct stream **ret, size_t *n)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	int rc;

	FT_TRY(ft_db_prepare(reader->db, reader->path,
			     "SELECT DISTINCT cpu FROM node_event_chunk ORDER BY cpu", &stmt));
	*ret = calloc(FT_NODE_MAX_CPUS, sizeof(**ret));
	if (!*ret)
		return &ft_enomem;
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct stream *stream = &(*ret)[*n];
		int64_t cpu = I(0);

		if (*n == FT_NODE_MAX_CPUS || cpu < 0 || cpu > UINT16_MAX)
			return damaged(reader, "node_event_chunk of cpu", cpu, "no such cpu");
		*stream = (struct stream){.cpu = (uint16_t)cpu};
		(*n)++;
		stream->events = malloc(FT_NODE_CHUNK_EVENTS * sizeof(*stream->events));
		if (!stream->events)
			return &ft_enomem;
		FT_TRY(ft_db_prepare(reader->db, reader->path,
				     "SELECT id, data FROM node_event_chunk WHERE cpu = ?"
				     " ORDER BY id",
				     &stream->stmt));
		sqlite3_bind_int64(stream->stmt, 1, cpu);
	}
	return rc == SQLITE_DONE ? NULL : ft_db_error(reader->db, reader->path, "node_event_chunk");
}

/* Few cpus have events at a time: the smallest is looked for. */
static struct ft_error *streams_merge(
	struct ft_reader *reader, struct stream *streams, size_t n, struct ft_unpacker *unpacker,
	struct ft_error *(*visit)(void *ctx, const struct ft_node_event *row), void *ctx)
{
	for (size_t i = 0; i < n; i++)
		FT_TRY(stream_fill(reader, &streams[i], unpacker));
	for (;;) {
		struct stream *first = NULL;

		for (size_t i = 0; i < n; i++)
			if (!streams[i].over &&
			    (!first || streams[i].events[streams[i].at].time_ns <
					       first->events[first->at].time_ns))
				first = &streams[i];
		if (!first)
			return NULL;
		FT_TRY(visit(ctx, &first->events[first->at]));
		first->at++;
		FT_TRY(stream_fill(reader, first, unpacker));
	}
}

FT_NODE_VISIT(events, ft_node_event)
{
	struct ft_unpacker *unpacker = ft_unpacker_create();
	struct stream *streams = NULL;
	size_t n = 0;
	struct ft_error *error = unpacker ? streams_open(reader, &streams, &n) : &ft_enomem;

	if (!error)
		error = streams_merge(reader, streams, n, unpacker, visit, ctx);
	for (size_t i = 0; i < n; i++) {
		sqlite3_finalize(streams[i].stmt);
		free(streams[i].events);
	}
	free(streams);
	ft_unpacker_destroy(unpacker);
	return error;
}

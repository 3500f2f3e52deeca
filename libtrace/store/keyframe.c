/* SPDX-License-Identifier: MIT */
/*
 * What stands for events that are gone: keyframes and roll-ups, as a reader sees them
 *
 * Like the events they are as of one commit for a recording that is still written: keyframes are
 * read at once, and those that have gone since are told by their missing parts.
 */
#include <stdlib.h>

#include "ft_cleanup.h"
#include "ft_db.h"
#include "ft_reader.h"
#include "ft_rollup_rows.h"

static struct ft_error *damaged(const struct ft_reader *reader, const char *what, uint64_t id,
				const char *why)
{
	if (why == ft_unpack_nomem)
		return &ft_enomem;
	return ft_error_create(FT_ERROR_INPUT, "%s: the recording is damaged: %s %llu: %s",
			       reader->path, what, (unsigned long long)id, why);
}

uint64_t ft_reader_first_seq(const struct ft_reader *reader)
{
	return reader->catalog.n_chunks ? reader->catalog.chunks[0].first_seq
					: ft_reader_begin_seq(reader);
}

/* A number of meta that nobody vouches for. */
static uint64_t begin_of(const struct ft_reader *reader, const char *key)
{
	int64_t value = ft_reader_meta_int((struct ft_reader *)(uintptr_t)reader, key, 0);

	return value > 0 ? (uint64_t)value : 0;
}

uint64_t ft_reader_begin_seq(const struct ft_reader *reader)
{
	return begin_of(reader, "begin_seq");
}

uint64_t ft_reader_begin_ns(const struct ft_reader *reader)
{
	return begin_of(reader, "begin_ns");
}

/* ---- keyframes --------------------------------------------------------------------------------
 */

static struct ft_error *read_keyframe(struct ft_reader *reader, sqlite3_stmt *stmt,
				      struct ft_keyframe_info *info)
{
	uint64_t n_rows = ft_db_u64(stmt, 2), n_parts = ft_db_u64(stmt, 3);

	*info = (struct ft_keyframe_info){.seq = ft_db_u64(stmt, 0),
					  .time_ns = ft_db_u64(stmt, 1),
					  .n_parts = (uint32_t)n_parts,
					  .n_blocks = ft_db_u64(stmt, 4),
					  .bytes = ft_db_u64(stmt, 5)};
	if (!n_parts || n_parts > UINT32_MAX || n_rows != n_parts)
		return damaged(reader, "keyframe", info->seq, "a part of it is missing");
	if (info->n_blocks > n_parts * FT_CHUNK_EVENTS)
		return damaged(reader, "keyframe", info->seq, "it has too many blocks");
	return NULL;
}

struct ft_error *ft_reader_keyframes(struct ft_reader *reader, const struct ft_keyframe_info **ret,
				     size_t *n)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	size_t capacity = 0;
	int rc;

	if (!reader->keyframes) {
		FT_TRY(ft_db_prepare(reader->db, reader->path,
				     "SELECT seq, min(time_ns), count(*), max(n_parts),"
				     " sum(n_blocks), sum(bytes) FROM keyframe GROUP BY seq"
				     " ORDER BY seq",
				     &stmt));
		reader->n_keyframes = 0;
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
			if (reader->n_keyframes == capacity) {
				size_t bigger = capacity ? capacity * 2 : 64;
				struct ft_keyframe_info *list =
					realloc(reader->keyframes, bigger * sizeof(*list));

				if (!list)
					return &ft_enomem;
				reader->keyframes = list;
				capacity = bigger;
			}
			FT_TRY(read_keyframe(reader, stmt,
					     &reader->keyframes[reader->n_keyframes]));
			reader->n_keyframes++;
		}
		if (rc != SQLITE_DONE)
			return ft_db_error(reader->db, reader->path, "keyframes");
	}
	*ret = reader->keyframes;
	*n = reader->n_keyframes;
	return NULL;
}

struct ft_error *ft_reader_keyframe_part(struct ft_reader *reader,
					 const struct ft_keyframe_info *keyframe, uint32_t part,
					 struct ft_event *events, size_t *n)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	struct ft_chunk_facts facts;
	const char *why = "a part of it is missing";

	if (!reader->catalog.decoder)
		reader->catalog.decoder = ft_decoder_create();
	if (!reader->catalog.decoder)
		return &ft_enomem;
	FT_TRY(ft_db_prepare(reader->db, reader->path,
			     "SELECT n_blocks, data FROM keyframe WHERE seq = ? AND part = ?",
			     &stmt));
	sqlite3_bind_int64(stmt, 1, (int64_t)keyframe->seq);
	sqlite3_bind_int64(stmt, 2, part);
	*n = 0;

	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_ROW) {
		size_t len = (size_t)sqlite3_column_bytes(stmt, 1);
		const void *data = sqlite3_column_blob(stmt, 1);

		why = len ? ft_decode_keyframe(reader->catalog.decoder, data, len, events, n,
					       &facts)
			  : NULL;
		if (!why && *n != ft_db_u64(stmt, 0))
			why = "its number of blocks is not what its row states";
		if (!why && *n && events[*n - 1].seq >= keyframe->seq)
			why = "a block in it is born later";
	} else if (rc != SQLITE_DONE) {
		return ft_db_error(reader->db, reader->path, "keyframe");
	}
	return why ? damaged(reader, "keyframe", keyframe->seq, why) : NULL;
}

/* ---- roll-ups ---------------------------------------------------------------------------------
 */

/* Recordings of earlier writers have an empty table with fewer columns. */
static struct ft_error *has_rollups(struct ft_reader *reader, bool *ret)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	FT_TRY(ft_db_prepare(reader->db, reader->path, "SELECT 1 FROM site_rollup LIMIT 1", &stmt));

	int rc = sqlite3_step(stmt);

	*ret = rc == SQLITE_ROW;
	return rc == SQLITE_ROW || rc == SQLITE_DONE
		       ? NULL
		       : ft_db_error(reader->db, reader->path, "roll-ups");
}

#define OLDEST_FIRST " FROM site_rollup WHERE first_seq < ? ORDER BY first_seq"

struct ft_error *ft_reader_rollups(struct ft_reader *reader, uint64_t until_seq,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_rollup *rollup),
				   void *ctx)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	struct ft_unpacker *unpacker;
	struct ft_error *error = NULL;
	uint64_t next_seq = 0, last_ns = 0;
	bool first = true, has = false;
	int rc = SQLITE_DONE;

	FT_TRY(has_rollups(reader, &has));
	if (!has || !until_seq)
		return NULL;
	FT_TRY(ft_db_prepare(reader->db, reader->path,
			     ft_db_has_column(reader->db, "site_rollup", "largest")
				     ? "SELECT id," FT_ROLLUP_COLUMNS OLDEST_FIRST
				     : "SELECT id," FT_ROLLUP_COLUMNS_EARLIER OLDEST_FIRST,
			     &stmt));
	sqlite3_bind_int64(stmt, 1, (int64_t)until_seq);
	unpacker = ft_unpacker_create();
	if (!unpacker)
		return &ft_enomem;
	while (!error && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct ft_rollup rollup = {0};
		const char *why = ft_rollup_from_row(unpacker, stmt, &rollup);

		if (!why && !rollup.n_events &&
		    (!rollup.first_seq || rollup.first_seq != ft_reader_begin_seq(reader)))
			why = "it has no events";
		if (!why && !first && rollup.first_seq != next_seq)
			why = "it does not begin where the one before it ends";
		if (!why && rollup.first_ns < last_ns)
			why = "it begins before the one before it ends";
		if (!why && rollup.first_seq + rollup.n_events > until_seq)
			why = "it has events that are still there";
		error = why ? damaged(reader, "roll-up", ft_db_u64(stmt, 0), why)
			    : visit(ctx, &rollup);
		next_seq = rollup.first_seq + rollup.n_events;
		last_ns = rollup.last_ns;
		first = false;
		ft_rollup_clear(&rollup);
	}
	ft_unpacker_destroy(unpacker);
	if (!error && rc != SQLITE_DONE)
		error = ft_db_error(reader->db, reader->path, "roll-ups");
	if (!error && !first && next_seq != until_seq)
		error = damaged(reader, "roll-up", next_seq,
				"what follows is neither in a roll-up nor in a chunk");
	return error;
}

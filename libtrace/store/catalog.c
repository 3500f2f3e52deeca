/* SPDX-License-Identifier: MIT */
/* Catalog: see ft_catalog.h. */
#include "ft_catalog.h"

#include <stdlib.h>
#include <string.h>

#include "ft_cleanup.h"
#include "ft_columns.h"
#include "ft_db.h"
#include "ft_directory.h"
#include "ft_stackchunk.h"

static struct ft_error *damaged(const struct ft_catalog *catalog, const char *what, int64_t id,
				const char *why)
{
	if (why == ft_unpack_nomem)
		return &ft_enomem;
	return ft_error_create(FT_ERROR_INPUT, "%s: the recording is damaged: %s %lld: %s",
			       catalog->path, what, (long long)id, why);
}

/* The claims of a row about its chunk, as far as they can be checked without its events. */
static const char *info_check(const struct ft_chunk_info *info, const struct ft_chunk_info *before,
			      int64_t max_thread)
{
	if (!info->n_events || info->n_events > FT_CHUNK_EVENTS)
		return "its number of events is out of range";
	if (info->first_seq > UINT64_MAX / 2)
		return "its sequence number is out of range";
	if (info->first_ns > info->last_ns || info->last_ns > INT64_MAX)
		return "its times are out of order";
	if (info->min_address > info->max_address)
		return "its addresses are out of order";
	if (max_thread < 0 || max_thread > FT_MAX_THREAD)
		return "its threads are out of range";
	if (before && before->first_seq + before->n_events != info->first_seq)
		return "events before it are missing";
	if (before && before->last_ns > info->first_ns)
		return "it begins before the chunk before it ends";
	return NULL;
}

static struct ft_error *read_directory(struct ft_catalog *catalog)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	size_t capacity = 0;
	int rc;

	FT_TRY(ft_db_prepare(catalog->db, catalog->path,
			     "SELECT id, first_seq, n_events, first_ns, last_ns, min_address,"
			     " max_address, max_stack, max_thread, length(data)"
			     " FROM event_chunk ORDER BY id",
			     &stmt));
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (catalog->n_chunks == capacity) {
			size_t bigger = capacity ? capacity * 2 : 64;
			struct ft_chunk_info *chunks =
				realloc(catalog->chunks, bigger * sizeof(*chunks));

			if (!chunks)
				return &ft_enomem;
			catalog->chunks = chunks;
			capacity = bigger;
		}

		struct ft_chunk_info *info = &catalog->chunks[catalog->n_chunks];
		int64_t n_events = sqlite3_column_int64(stmt, 2);
		int64_t max_stack = sqlite3_column_int64(stmt, 7);
		int64_t max_thread = sqlite3_column_int64(stmt, 8);

		*info = (struct ft_chunk_info){
			.id = sqlite3_column_int64(stmt, 0),
			.first_seq = ft_db_u64(stmt, 1),
			.n_events = n_events >= 0 && n_events <= FT_CHUNK_EVENTS
					    ? (uint32_t)n_events
					    : 0,
			.first_ns = ft_db_u64(stmt, 3),
			.last_ns = ft_db_u64(stmt, 4),
			.min_address = ft_db_u64(stmt, 5),
			.max_address = ft_db_u64(stmt, 6),
			.n_bytes = (uint32_t)sqlite3_column_int64(stmt, 9),
		};

		const char *why =
			max_stack < 0 || max_stack > UINT32_MAX
				? "its stacks are out of range"
				: info_check(info, catalog->n_chunks ? info - 1 : NULL, max_thread);

		if (why)
			return damaged(catalog, "event chunk", info->id, why);
		catalog->n_chunks++;
		catalog->n_events += info->n_events;
		if (max_stack > catalog->max_stack)
			catalog->max_stack = (uint32_t)max_stack;
		if (max_thread > catalog->max_thread)
			catalog->max_thread = (uint32_t)max_thread;
	}
	return rc == SQLITE_DONE ? NULL : ft_db_error(catalog->db, catalog->path, "event chunks");
}

struct ft_error *ft_catalog_init(struct ft_catalog *catalog, sqlite3 *db, const char *path)
{
	*catalog = (struct ft_catalog){.db = db, .path = path};
	return read_directory(catalog);
}

void ft_catalog_end_statements(struct ft_catalog *catalog)
{
	sqlite3_finalize(catalog->chunk_stmt);
	sqlite3_finalize(catalog->sets_stmt);
	catalog->chunk_stmt = catalog->sets_stmt = NULL;
}

void ft_catalog_deinit(struct ft_catalog *catalog)
{
	ft_catalog_end_statements(catalog);
	ft_decoder_destroy(catalog->decoder);
	free(catalog->chunks);
	free(catalog->stacks);
	*catalog = (struct ft_catalog){0};
}

/* ---- events -------------------------------------------------------------------------------------
 */

static const char *facts_check(const struct ft_chunk_info *info, const struct ft_chunk_facts *facts)
{
	if (facts->first_ns != info->first_ns || facts->last_ns != info->last_ns)
		return "its times are not those that its row states";
	if (facts->min_address != info->min_address || facts->max_address != info->max_address)
		return "its addresses are not those that its row states";
	return NULL;
}

static const char folded[] = "it was folded";

/* A live writer with a budget deletes from the front, and a keyframe stands for it. */
static bool was_folded(const struct ft_catalog *catalog, const struct ft_chunk_info *info)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	bool ret = sqlite3_prepare_v2(catalog->db,
				      "SELECT 1 FROM event_chunk WHERE id > ?1 AND first_seq ="
				      " (SELECT min(seq) FROM keyframe)"
				      " AND id = (SELECT min(id) FROM event_chunk)",
				      -1, &stmt, NULL) == SQLITE_OK;

	if (ret)
		sqlite3_bind_int64(stmt, 1, info->id);
	return ret && sqlite3_step(stmt) == SQLITE_ROW;
}

struct ft_error *ft_catalog_chunk(struct ft_catalog *catalog, size_t index, struct ft_event *events,
				  size_t *n)
{
	const struct ft_chunk_info *info = &catalog->chunks[index];
	struct ft_chunk_facts facts;
	struct ft_error *error = NULL;
	const char *why = NULL;

	if (!catalog->decoder)
		catalog->decoder = ft_decoder_create();
	if (!catalog->decoder)
		return &ft_enomem;
	if (!catalog->chunk_stmt)
		FT_TRY(ft_db_prepare(catalog->db, catalog->path,
				     "SELECT n_events, data FROM event_chunk WHERE id = ?",
				     &catalog->chunk_stmt));

	sqlite3_stmt *stmt = catalog->chunk_stmt;

	catalog->n_decoded++;

	sqlite3_bind_int64(stmt, 1, info->id);
	if (sqlite3_step(stmt) == SQLITE_ROW) {
		int64_t n_row = sqlite3_column_int64(stmt, 0);
		const void *blob = sqlite3_column_blob(stmt, 1);
		size_t len = (size_t)sqlite3_column_bytes(stmt, 1);

		why = blob ? ft_decode(catalog->decoder, blob, len, info->first_seq, events, n,
				       &facts)
			   : "it is empty";
		if (!why && *n != (uint64_t)n_row)
			why = "its number of events is not what its row states";
		/* The tail of a live recording may have grown since the directory was read. */
		if (!why && *n < info->n_events)
			why = "it has lost events";
		if (!why && *n == info->n_events)
			why = facts_check(info, &facts);
		if (!why &&
		    (facts.max_stack > catalog->max_stack ||
		     facts.max_thread > catalog->max_thread) &&
		    *n == info->n_events)
			why = "it has stacks or threads that its row does not state";
		if (!why)
			*n = info->n_events;
	} else if (sqlite3_errcode(catalog->db) == SQLITE_DONE ||
		   sqlite3_errcode(catalog->db) == SQLITE_OK) {
		why = was_folded(catalog, info) ? folded : "it is gone";
	} else {
		error = ft_db_error(catalog->db, catalog->path, "event chunk");
	}
	if (why == folded)
		error = ft_error_create(FT_ERROR_BUSY,
					"%s: the oldest events went while they were read: the "
					"recording is kept within a budget; try again",
					catalog->path);
	else if (why)
		error = damaged(catalog, "event chunk", info->id, why);
	sqlite3_reset(stmt);
	return error;
}

static struct ft_error *visit_part(
	struct ft_catalog *catalog, sqlite3_stmt *row, uint64_t seq, struct ft_event *events,
	struct ft_error *(*visit)(void *ctx, const struct ft_event *birth), void *ctx)
{
	const void *blob = sqlite3_column_blob(row, 1);
	size_t len = (size_t)sqlite3_column_bytes(row, 1), n = 0;
	struct ft_chunk_facts facts;
	const char *why =
		len ? ft_decode_keyframe(catalog->decoder, blob, len, events, &n, &facts) : NULL;

	if (!why && n != ft_db_u64(row, 0))
		why = "its number of blocks is not what its row states";
	if (why)
		return damaged(catalog, "keyframe", (int64_t)seq, why);
	for (size_t i = 0; i < n; i++) {
		events[i].flags &= (uint8_t)~FT_EVENT_F_LATEST;
		FT_TRY(visit(ctx, &events[i]));
	}
	return NULL;
}

struct ft_error *ft_catalog_carried(struct ft_catalog *catalog,
				    struct ft_error *(*visit)(void *ctx,
							      const struct ft_event *birth),
				    void *ctx)
{
	uint64_t seq = catalog->n_chunks ? catalog->chunks[0].first_seq : 0;
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	ft_auto_free struct ft_event *events = NULL;
	int rc;

	if (catalog->n_chunks && !seq)
		return NULL;
	if (!catalog->decoder)
		catalog->decoder = ft_decoder_create();
	events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
	if (!catalog->decoder || !events)
		return &ft_enomem;
	/* Without any event it is the only one. */
	FT_TRY(ft_db_prepare(catalog->db, catalog->path,
			     "SELECT n_blocks, data FROM keyframe WHERE seq ="
			     " CASE ?1 WHEN 0 THEN (SELECT min(seq) FROM keyframe) ELSE ?1 END"
			     " ORDER BY part",
			     &stmt));
	sqlite3_bind_int64(stmt, 1, (int64_t)seq);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		FT_TRY(visit_part(catalog, stmt, seq, events, visit, ctx));
	return rc == SQLITE_DONE ? NULL : ft_db_error(catalog->db, catalog->path, "keyframe");
}

bool ft_catalog_may_have(struct ft_catalog *catalog, size_t index, const uint32_t *thread,
			 const uint32_t *stack)
{
	bool may = true;

	if (!thread && !stack)
		return true;
	if (!catalog->sets_stmt &&
	    sqlite3_prepare_v3(catalog->db, "SELECT threads, stacks FROM event_chunk WHERE id = ?",
			       -1, SQLITE_PREPARE_PERSISTENT, &catalog->sets_stmt,
			       NULL) != SQLITE_OK)
		return true;

	sqlite3_stmt *stmt = catalog->sets_stmt;

	sqlite3_bind_int64(stmt, 1, catalog->chunks[index].id);
	if (sqlite3_step(stmt) == SQLITE_ROW) {
		const uint8_t *threads = sqlite3_column_blob(stmt, 0);
		size_t n_threads = (size_t)sqlite3_column_bytes(stmt, 0);
		const uint8_t *stacks = sqlite3_column_blob(stmt, 1);
		size_t n_stacks = (size_t)sqlite3_column_bytes(stmt, 1);

		may = (!thread || ft_directory_may_have(threads, n_threads, *thread)) &&
		      (!stack || ft_directory_may_have(stacks, n_stacks, *stack));
	}
	sqlite3_reset(stmt);
	return may;
}

size_t ft_catalog_find_ns(const struct ft_catalog *catalog, uint64_t time_ns)
{
	size_t low = 0, high = catalog->n_chunks;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (catalog->chunks[middle].last_ns < time_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t ft_catalog_find_seq(const struct ft_catalog *catalog, uint64_t seq)
{
	size_t low = 0, high = catalog->n_chunks;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (catalog->chunks[middle].first_seq + catalog->chunks[middle].n_events <= seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- stacks -------------------------------------------------------------------------------------
 */

/* Ids are handed out one after another; a table for ids far beyond the number of nodes would let a
 * few bytes ask for gigabytes. */
static bool stacks_plausible(uint64_t max_id, uint64_t n_nodes)
{
	return max_id <= 16 * n_nodes + (1 << 20);
}

static struct ft_error *stacks_count(struct ft_catalog *catalog, uint64_t *max_id)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	uint64_t n_nodes = 0;
	int rc;

	*max_id = catalog->max_stack;
	FT_TRY(ft_db_prepare(catalog->db, catalog->path,
			     "SELECT id, n_nodes, max_id FROM stack_chunk", &stmt));
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		int64_t n = sqlite3_column_int64(stmt, 1), id = sqlite3_column_int64(stmt, 2);

		if (n < 1 || n > FT_STACK_CHUNK_NODES || id < 1 || id > UINT32_MAX)
			return damaged(catalog, "stack chunk", sqlite3_column_int64(stmt, 0),
				       "its numbers are out of range");
		n_nodes += (uint64_t)n;
		if ((uint64_t)id > *max_id)
			*max_id = (uint64_t)id;
	}
	if (rc != SQLITE_DONE)
		return ft_db_error(catalog->db, catalog->path, "stack chunks");
	if (!stacks_plausible(*max_id, n_nodes))
		return ft_error_create(
			FT_ERROR_INPUT, "%s: the recording is damaged: stack %llu with %llu nodes",
			catalog->path, (unsigned long long)*max_id, (unsigned long long)n_nodes);
	return NULL;
}

static struct ft_error *stacks_fill(struct ft_catalog *catalog, struct ft_stack_codec *codec,
				    struct ft_stack_node *nodes, struct ft_stack_node *stacks,
				    uint64_t max_id)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	int rc;

	FT_TRY(ft_db_prepare(catalog->db, catalog->path,
			     "SELECT id, n_nodes, data FROM stack_chunk ORDER BY id", &stmt));
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		int64_t chunk = sqlite3_column_int64(stmt, 0);
		const void *blob = sqlite3_column_blob(stmt, 2);
		size_t n = 0;
		const char *why =
			blob ? ft_stack_decode(codec, blob, (size_t)sqlite3_column_bytes(stmt, 2),
					       nodes, &n)
			     : "it is empty";

		if (!why && n != (uint64_t)sqlite3_column_int64(stmt, 1))
			why = "its number of nodes is not what its row states";
		if (why)
			return damaged(catalog, "stack chunk", chunk, why);
		for (size_t i = 0; i < n; i++) {
			/* What a live writer has added since the table was sized. */
			if (nodes[i].id > max_id)
				continue;
			if (stacks[nodes[i].id].id)
				return damaged(catalog, "stack chunk", chunk,
					       "it has a node a second time");
			stacks[nodes[i].id] = nodes[i];
		}
	}
	return rc == SQLITE_DONE ? NULL : ft_db_error(catalog->db, catalog->path, "stack chunks");
}

struct ft_error *ft_catalog_stacks(struct ft_catalog *catalog)
{
	uint64_t max_id;

	if (catalog->stacks)
		return NULL;
	FT_TRY(stacks_count(catalog, &max_id));

	ft_auto_free struct ft_stack_node *stacks = calloc(max_id + 1, sizeof(*stacks));
	ft_auto_free struct ft_stack_node *nodes = malloc(FT_STACK_CHUNK_NODES * sizeof(*nodes));
	struct ft_stack_codec *codec = ft_stack_codec_create(1);
	struct ft_error *error = &ft_enomem;

	if (stacks && nodes && codec)
		error = stacks_fill(catalog, codec, nodes, stacks, max_id);
	ft_stack_codec_destroy(codec);
	FT_TRY(error);
	for (uint64_t id = 0; id <= max_id; id++)
		stacks[id].id = (uint32_t)id;
	catalog->stacks = ft_take(stacks);
	catalog->n_stacks = max_id + 1;
	return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * The index of a recording that keeps everything: a budget without limits
 *
 * Keyframes and roll-ups cost the writer a second table of live blocks and time, and a recording
 * that is replayed in a second needs none. So they begin late, when it has become long, or when
 * another recording is to go on from it: the writer reads its own chunks back, some of them each
 * time that it has written one, until it has caught up. What is written is what would have been
 * written from the beginning. Where the program would have to wait for the writer the index falls
 * behind again, at a seam between chunks.
 */
#include <stdlib.h>

#include "ft_cleanup.h"
#include "ft_writer.h"

/* Chunks read back for each one that is written, and at each commit. */
enum { CATCH_UP_CHUNKS = 4 };

struct chunk {
	struct ft_event *events;
	size_t n;
	uint64_t seq, bytes;
};

static struct ft_error *read_back(struct ft_writer *writer, struct chunk *chunk)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	struct ft_decoder *decoder = ft_decoder_create();
	struct ft_chunk_facts facts;
	const char *why = "it is gone";

	if (!decoder)
		return &ft_enomem;

	struct ft_error *error =
		ft_db_prepare(writer->db, writer->path,
			      "SELECT first_seq, data FROM event_chunk WHERE id = ?", &stmt);

	if (!error) {
		sqlite3_bind_int64(stmt, 1, writer->next_followed);
		if (sqlite3_step(stmt) == SQLITE_ROW) {
			chunk->seq = ft_db_u64(stmt, 0);
			chunk->bytes = (uint64_t)sqlite3_column_bytes(stmt, 1);
			why = ft_decode(decoder, sqlite3_column_blob(stmt, 1), (size_t)chunk->bytes,
					chunk->seq, chunk->events, &chunk->n, &facts);
		}
		if (why)
			error = ft_error_create(
				FT_ERROR_INPUT, "%s: its event chunk %lld can't be read back: %s",
				writer->path, (long long)writer->next_followed, why);
	}
	ft_decoder_destroy(decoder);
	return error;
}

/* The oldest chunk that the budget has not seen; after the last one it sees events as they come. */
static struct ft_error *catch_up(struct ft_writer *writer)
{
	ft_auto_free struct ft_event *events = NULL;
	struct chunk chunk = {0};

	if (writer->next_followed == writer->tail_id) {
		writer->catching_up = false;
		writer->n_followed = 0;
		ft_writer_follow_events(writer);
		return NULL;
	}
	chunk.events = events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
	if (!events)
		return &ft_enomem;

	struct ft_error *error = read_back(writer, &chunk);

	if (error) {
		ft_budget_give_up(writer->budget);
		return error;
	}
	ft_budget_events(writer->budget, chunk.events, chunk.n, chunk.seq);
	ft_budget_written(writer->budget, chunk.n, chunk.bytes);
	writer->followed_bytes += chunk.bytes;
	writer->next_followed++;
	if (!ft_budget_cut_due(writer->budget, writer->followed_bytes))
		return NULL;
	FT_TRY(ft_writer_begin(writer));
	return ft_budget_cut(writer->budget, writer->next_followed, writer->followed_bytes);
}

void ft_writer_set_busy(struct ft_writer *writer, bool busy)
{
	writer->busy = busy;
}

void ft_writer_fall_behind(struct ft_writer *writer)
{
	if (ft_budget_is_limited(writer->budget) || ft_budget_keeps_up(writer->budget))
		return;
	writer->catching_up = true;
	writer->next_followed = writer->tail_id;
	writer->followed_bytes = writer->event_bytes;
}

static struct ft_error *begin(struct ft_writer *writer)
{
	FT_TRY(ft_budget_create(writer->db, writer->path, &writer->index_limits, &writer->budget));
	writer->catching_up = true;
	writer->next_followed = 1;
	writer->followed_bytes = 0;
	return NULL;
}

static bool is_due(const struct ft_writer *writer)
{
	return !writer->budget && writer->index_limits.index_events &&
	       writer->tail_seq >= writer->index_limits.index_events;
}

static bool is_behind(const struct ft_writer *writer)
{
	return writer->catching_up && !ft_budget_failed(writer->budget);
}

/* Without an index the recording is still a recording. */
static struct ft_error *do_without(struct ft_writer *writer, struct ft_error *error)
{
	if (error && (!writer->budget || ft_budget_failed(writer->budget))) {
		ft_error_destroy(error);
		writer->index_limits.index_events = 0;
		return NULL;
	}
	return error;
}

struct ft_error *ft_writer_index(struct ft_writer *writer)
{
	struct ft_error *error = is_due(writer) ? begin(writer) : NULL;

	for (int i = 0; i < CATCH_UP_CHUNKS && !error && is_behind(writer) && !writer->busy; i++)
		error = catch_up(writer);
	return do_without(writer, error);
}

struct ft_error *ft_writer_catch_up(struct ft_writer *writer, bool *behind)
{
	struct ft_error *error = is_behind(writer) ? catch_up(writer) : NULL;

	*behind = !error && is_behind(writer);
	return do_without(writer, error);
}

/* One that ended is of no use any more: all anew. */
static struct ft_error *forget(struct ft_writer *writer)
{
	FT_TRY(ft_writer_begin(writer));
	FT_TRY(ft_budget_forget(writer->budget));
	ft_budget_destroy(writer->budget);
	writer->budget = NULL;
	return NULL;
}

struct ft_error *ft_writer_follow(struct ft_writer *writer, bool *ready)
{
	*ready = false;
	if (writer->budget && !ft_budget_is_limited(writer->budget) &&
	    ft_budget_failed(writer->budget))
		FT_TRY(forget(writer));
	if (!writer->budget)
		FT_TRY(begin(writer));
	ft_budget_keep_up(writer->budget);
	if (is_behind(writer))
		FT_TRY(catch_up(writer));
	if (ft_budget_failed(writer->budget))
		return ft_error_create(FT_ERROR_OS,
				       "%s: there was no memory for a table of its live blocks",
				       writer->path);
	*ready = !writer->catching_up;
	return NULL;
}

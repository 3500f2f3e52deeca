/* SPDX-License-Identifier: MIT */
/*
 * Going on in another recording
 *
 * The next recording of the same process begins at the event after the last one of this: with the
 * live table as a keyframe, the stacks, the modules, and the threads that live or own a block. It
 * is then what a recording is whose older events were deleted, but that nothing stands for these.
 *
 * Which blocks live the writer knows if it has a budget. Else it finds out when it is asked first:
 * it reads back its own chunks, one a call so that its caller can go on writing meanwhile, and from
 * the last one on follows what it writes.
 */
#include <stdlib.h>

#include "ft_cleanup.h"
#include "ft_keyframe.h"
#include "ft_writer.h"

/* ---- which blocks live ------------------------------------------------------------------------
 */

static struct ft_error *follow_chunk(struct ft_writer *writer, struct ft_event *events)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	struct ft_decoder *decoder = ft_decoder_create();
	struct ft_chunk_facts facts;
	const char *why = "it is gone";
	size_t n = 0;
	uint64_t seq = 0;

	if (!decoder)
		return &ft_enomem;

	struct ft_error *error =
		ft_db_prepare(writer->db, writer->path,
			      "SELECT first_seq, data FROM event_chunk WHERE id = ?", &stmt);

	if (!error) {
		sqlite3_bind_int64(stmt, 1, writer->next_followed);
		if (sqlite3_step(stmt) == SQLITE_ROW) {
			seq = ft_db_u64(stmt, 0);
			why = ft_decode(decoder, sqlite3_column_blob(stmt, 1),
					(size_t)sqlite3_column_bytes(stmt, 1), seq, events, &n,
					&facts);
		}
		if (why)
			error = ft_error_create(
				FT_ERROR_INPUT, "%s: its event chunk %lld can't be read back: %s",
				writer->path, (long long)writer->next_followed, why);
	}
	ft_decoder_destroy(decoder);
	FT_TRY(error);
	ft_follow_events(writer->follow, events, n, seq);
	writer->next_followed++;
	return NULL;
}

static void stop_following(struct ft_writer *writer)
{
	if (writer->follow)
		ft_follow_deinit(writer->follow);
	free(writer->follow);
	writer->follow = NULL;
	writer->follows = false;
	writer->next_followed = 1;
	writer->n_followed = 0;
}

static struct ft_error *catch_up(struct ft_writer *writer)
{
	ft_auto_free struct ft_event *events = malloc(FT_CHUNK_EVENTS * sizeof(*events));

	if (!events)
		return &ft_enomem;
	if (!writer->follow) {
		writer->follow = calloc(1, sizeof(*writer->follow));
		if (!writer->follow || !ft_follow_init(writer->follow, 0))
			return &ft_enomem;
	}
	if (writer->next_followed < writer->tail_id)
		return follow_chunk(writer, events);
	writer->follows = true;
	ft_writer_follow_events(writer);
	return NULL;
}

struct ft_error *ft_writer_follow(struct ft_writer *writer, bool *ready)
{
	struct ft_error *error = NULL;
	bool failed;

	if (!writer->budget && !writer->follows)
		error = catch_up(writer);
	failed = writer->budget ? ft_budget_failed(writer->budget)
				: writer->follow && writer->follow->failed;
	if (!error && failed)
		error = ft_error_create(FT_ERROR_OS,
					"%s: there was no memory for a table of its live blocks",
					writer->path);
	if (error && !writer->budget)
		stop_following(writer);
	*ready = !error && (writer->budget || writer->follows);
	return error;
}

/* ---- what is carried over ---------------------------------------------------------------------
 */

/* Rows as they are; `keep` NULL: all. */
static struct ft_error *copy_rows(struct ft_writer *to, const struct ft_writer *from,
				  const char *select_sql, const char *insert_sql,
				  bool (*keep)(void *ctx, sqlite3_stmt *row), void *ctx)
{
	ft_auto_stmt sqlite3_stmt *select = NULL, *insert = NULL;
	int rc;

	FT_TRY(ft_db_prepare(from->db, from->path, select_sql, &select));
	FT_TRY(ft_db_prepare(to->db, to->path, insert_sql, &insert));
	while ((rc = sqlite3_step(select)) == SQLITE_ROW) {
		if (keep && !keep(ctx, select))
			continue;
		for (int i = 0; i < sqlite3_column_count(select); i++)
			if (sqlite3_bind_value(insert, i + 1, sqlite3_column_value(select, i)) !=
			    SQLITE_OK)
				return ft_db_error(to->db, to->path, insert_sql);
		if (sqlite3_step(insert) != SQLITE_DONE || sqlite3_reset(insert) != SQLITE_OK)
			return ft_db_error(to->db, to->path, insert_sql);
	}
	return rc == SQLITE_DONE ? NULL : ft_db_error(from->db, from->path, select_sql);
}

/* Threads that own a block, a bit each. */
struct owners {
	unsigned char *bits;
	uint64_t n; /* threads above are none */
};

static struct ft_error *find_owners(const struct ft_follow *follow, struct owners *owners)
{
	for (uint32_t i = 0; i < follow->live.n_blocks; i++)
		if (follow->live.blocks[i].address && follow->live.blocks[i].thread >= owners->n)
			owners->n = follow->live.blocks[i].thread + UINT64_C(1);
	owners->bits = calloc(owners->n / 8 + 1, 1);
	if (!owners->bits)
		return &ft_enomem;
	for (uint32_t i = 0; i < follow->live.n_blocks; i++)
		if (follow->live.blocks[i].address)
			owners->bits[follow->live.blocks[i].thread / 8] |=
				(unsigned char)(1 << follow->live.blocks[i].thread % 8);
	return NULL;
}

/* One that has ended and left nothing is of no interest any more: there may be millions. */
static bool is_wanted(void *ctx, sqlite3_stmt *thread)
{
	enum { ID, END = 5 };
	const struct owners *owners = ctx;
	uint64_t id = ft_db_u64(thread, ID);

	return sqlite3_column_type(thread, END) == SQLITE_NULL ||
	       (id < owners->n && owners->bits[id / 8] >> id % 8 & 1);
}

static struct ft_error *copy_tables(struct ft_writer *to, const struct ft_writer *from,
				    const struct ft_follow *follow)
{
	struct owners owners = {0};
	struct ft_error *error = find_owners(follow, &owners);

	if (!error)
		error = copy_rows(to, from, "SELECT * FROM thread ORDER BY id",
				  "INSERT INTO thread VALUES(?,?,?,?,?,?)", is_wanted, &owners);
	free(owners.bits);
	FT_TRY(error);
	FT_TRY(copy_rows(to, from, "SELECT * FROM module ORDER BY id",
			 "INSERT INTO module VALUES(?,?,?,?,?,?,?,?,?)", NULL, NULL));
	return copy_rows(to, from, "SELECT n_nodes, max_id, data FROM stack_chunk ORDER BY id",
			 "INSERT INTO stack_chunk VALUES(NULL,?,?,?)", NULL, NULL);
}

static struct ft_error *carry_follow(struct ft_writer *writer, struct ft_writer *from)
{
	struct ft_keyframes keyframes;
	struct ft_error *error = &ft_enomem;

	if (ft_keyframes_init(&keyframes))
		error = ft_keyframe_write(&keyframes, writer->db, writer->path, from->follow,
					  writer->tail_seq, ft_tick_floor(from->last_ns));
	ft_keyframes_deinit(&keyframes);
	FT_TRY(error);
	writer->follow = from->follow;
	writer->follows = true;
	from->follow = NULL;
	from->follows = false;
	return NULL;
}

struct ft_error *ft_writer_continue(struct ft_writer *writer, struct ft_writer *from,
				    uint64_t begin_ns)
{
	FT_TRY(ft_writer_commit(from, true));
	ft_writer_follow_events(from);
	if (writer->n_events || writer->tail_seq || !writer->budget != !from->budget ||
	    (from->budget ? ft_budget_failed(from->budget) : !from->follows))
		return ft_error_create(FT_ERROR_USAGE, "%s: it can't go on from %s", writer->path,
				       from->path);
	FT_TRY(ft_writer_begin(writer));
	writer->tail_seq = from->tail_seq + from->n_events;
	writer->last_ns = from->last_ns;
	FT_TRY(ft_writer_meta_int(writer, "begin_seq", (int64_t)writer->tail_seq));
	FT_TRY(ft_writer_meta_int(writer, "begin_ns", (int64_t)ft_tick_floor(begin_ns)));
	FT_TRY(copy_tables(writer, from,
			   from->budget ? ft_budget_follow(from->budget) : from->follow));
	return from->budget ? ft_budget_take_over(writer->budget, from->budget)
			    : carry_follow(writer, from);
}

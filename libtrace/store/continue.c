/* SPDX-License-Identifier: MIT */
/*
 * Going on in another recording
 *
 * The next recording of the same process begins at the event after the last one of this: with the
 * live table as a keyframe, the stacks, the modules, and the threads that live or own a block. It
 * is then what a recording is whose older events were deleted, but that nothing stands for these.
 *
 * Which blocks live the budget knows; one without limits begins with this, if there is none yet
 * (index.c).
 */
#include <stdlib.h>

#include "ft_cleanup.h"
#include "ft_writer.h"

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
				  "INSERT INTO thread VALUES(?,?,?,?,?,?,?)", is_wanted, &owners);
	free(owners.bits);
	FT_TRY(error);
	FT_TRY(copy_rows(to, from, "SELECT * FROM module ORDER BY id",
			 "INSERT INTO module VALUES(?,?,?,?,?,?,?,?,?)", NULL, NULL));
	return copy_rows(to, from, "SELECT n_nodes, max_id, data FROM stack_chunk ORDER BY id",
			 "INSERT INTO stack_chunk VALUES(NULL,?,?,?)", NULL, NULL);
}

struct ft_error *ft_writer_continue(struct ft_writer *writer, struct ft_writer *from,
				    uint64_t begin_ns)
{
	FT_TRY(ft_writer_commit(from, true));
	ft_writer_follow_events(from);
	if (writer->n_events || writer->tail_seq || !ft_writer_is_followed(from) ||
	    ft_budget_failed(from->budget) ||
	    (!writer->budget && ft_budget_is_limited(from->budget)))
		return ft_error_create(FT_ERROR_USAGE, "%s: it can't go on from %s", writer->path,
				       from->path);
	if (!writer->budget)
		FT_TRY(ft_budget_create(writer->db, writer->path, &from->index_limits,
					&writer->budget));
	FT_TRY(ft_writer_begin(writer));
	writer->tail_seq = from->tail_seq + from->n_events;
	writer->last_ns = from->last_ns;
	FT_TRY(ft_writer_meta_int(writer, "begin_seq", (int64_t)writer->tail_seq));
	FT_TRY(ft_writer_meta_int(writer, "begin_ns", (int64_t)ft_tick_floor(begin_ns)));
	FT_TRY(copy_tables(writer, from, ft_budget_follow(from->budget)));
	return ft_budget_take_over(writer->budget, from->budget);
}

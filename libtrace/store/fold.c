/* SPDX-License-Identifier: MIT */
/*
 * Folding: the oldest events go, and the file with its log stays within the budget
 *
 * What the two take together is bounded by parts:
 *
 *	the log    what a checkpoint waits for, and the transaction that comes on top of it
 *	the file   the rest: groups are deleted before what is new needs their pages, so that the
 *		   file does not become longer than that
 *
 * How much a transaction writes is measured, so that the samplers' rows and the roll-ups have their
 * share without being named. A reader that stays in one transaction keeps the log from being
 * written anew, and makes it longer for as long.
 */
#include <string.h>

#include "budget_impl.h"
#include "ft_cleanup.h"
#include "ft_strbuf.h"
#include "ft_thin.h"

enum {
	COMMIT_WINDOW =
		1024,	/* the most that a commit wrote counts for so many more, or twice that */
	SPARE_PART = 4, /* of a group: a commit may write more than any before it */
	VACUUM_PAGES = 256,    /* given back at a commit, at most */
	MERGE_PART = 4,	       /* of a group: bytes of roll-ups rewritten at a commit, */
	MERGE_FACTOR = 2,      /* or so many times the last one, if that is more */
	MERGE_BYTES = 1 << 20, /* without a budget */
};

/* ---- the log ----------------------------------------------------------------------------------
 */

static uint64_t log_pages(const struct ft_budget *budget)
{
	uint64_t pages = budget->limits.max_bytes / LOG_PARTS / PAGE_BYTES;

	if (!budget->limits.max_bytes || pages > MAX_LOG_PAGES)
		return MAX_LOG_PAGES;
	return pages < MIN_LOG_PAGES ? MIN_LOG_PAGES : pages;
}

/* After each commit, with the log's length in frames. In place of SQLite's own: a checkpoint that
 * can't be made now is made after one of the next commits, whatever the reason. */
static int after_commit(void *ctx, sqlite3 *db, const char *name, int n_frames)
{
	struct ft_budget *budget = ctx;
	uint64_t now = (uint64_t)n_frames;
	uint64_t written = now > budget->log_frames ? now - budget->log_frames : now;

	budget->log_frames = now;
	if (budget->n_commits++ % COMMIT_WINDOW == 0) {
		budget->commit_frames[1] = budget->commit_frames[0];
		budget->commit_frames[0] = 0;
	}
	if (written > budget->commit_frames[0])
		budget->commit_frames[0] = written;
	if (now >= log_pages(budget))
		sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	return SQLITE_OK;
}

struct ft_error *ft_budget_watch_log(struct ft_budget *budget)
{
	ft_auto_strbuf struct ft_strbuf sql;

	ft_strbuf_init(&sql);
	ft_strbuf_addf(&sql, "PRAGMA journal_size_limit=%llu",
		       (unsigned long long)log_pages(budget) * PAGE_BYTES);
	if (sql.failed)
		return &ft_enomem;
	FT_TRY(ft_db_exec(budget->db, budget->path, sql.data));
	sqlite3_wal_hook(budget->db, after_commit, budget);
	return NULL;
}

/* ---- the file ---------------------------------------------------------------------------------
 */

/* What the database itself may take: the rest is for the log. */
static uint64_t file_limit(const struct ft_budget *budget)
{
	uint64_t frames = budget->commit_frames[0] > budget->commit_frames[1]
				  ? budget->commit_frames[0]
				  : budget->commit_frames[1];
	uint64_t commit = budget->keyframe_bytes + 2 * budget->rollup_bytes +
			  2 * ft_budget_group_bytes(budget);
	uint64_t spare = ft_budget_group_bytes(budget) / SPARE_PART;

	if (frames * FRAME_BYTES > commit)
		commit = frames * FRAME_BYTES;

	uint64_t log = log_pages(budget) * FRAME_BYTES + commit + spare;

	return budget->limits.max_bytes > 2 * log ? budget->limits.max_bytes - log
						  : budget->limits.max_bytes / 2;
}

static struct ft_error *pragma_value(struct ft_budget *budget, enum budget_statement which,
				     uint64_t *ret)
{
	sqlite3_stmt *stmt = budget->stmts[which];
	struct ft_error *error = NULL;

	if (sqlite3_step(stmt) == SQLITE_ROW)
		*ret = ft_db_u64(stmt, 0);
	else
		error = ft_db_error(budget->db, budget->path, "cannot read its size");
	sqlite3_reset(stmt);
	return error;
}

/* Bytes of the pages that hold something. */
static struct ft_error *used_bytes(struct ft_budget *budget, uint64_t *used, uint64_t *file)
{
	uint64_t pages = 0, unused = 0;

	FT_TRY(pragma_value(budget, STMT_PAGES, &pages));
	FT_TRY(pragma_value(budget, STMT_FREE_PAGES, &unused));
	*file = pages * PAGE_BYTES;
	*used = (pages - unused) * PAGE_BYTES;
	return NULL;
}

static bool too_old(const struct ft_budget *budget)
{
	return budget->limits.max_age_ns &&
	       budget->points[0].time_ns + budget->limits.max_age_ns < budget->last_ns;
}

/* Delete the events before the oldest keyframe; it is the recording's beginning then. */
static struct ft_error *fold_group(struct ft_budget *budget)
{
	struct point point = budget->points[0];

	memmove(budget->points, budget->points + 1, --budget->n_points * sizeof(*budget->points));
	FT_TRY(RUN(budget, STMT_DELETE_CHUNKS, "i", point.chunk_id));
	FT_TRY(RUN(budget, STMT_DELETE_KEYFRAMES, "u", point.seq));
	budget->first_seq = point.seq;
	budget->first_ns = point.time_ns;
	return NULL;
}

struct ft_error *ft_budget_make_room(struct ft_budget *budget, uint64_t bytes, int64_t last_chunk)
{
	uint64_t used = 0, file = 0, limit = file_limit(budget);

	if (!is_limited(budget) || budget->follow.failed)
		return NULL;
	FT_TRY(used_bytes(budget, &used, &file));
	/* The last group stays: a recording has events. */
	while (budget->n_points && budget->points[0].chunk_id < last_chunk &&
	       ((budget->limits.max_bytes && used + bytes > limit) || too_old(budget))) {
		FT_TRY(fold_group(budget));
		FT_TRY(used_bytes(budget, &used, &file));
	}
	budget->cramped = budget->limits.max_bytes && used + bytes > limit;
	return NULL;
}

/* The file is longer than it may be, and has pages to give back. */
static struct ft_error *vacuum(struct ft_budget *budget)
{
	uint64_t pages = ft_budget_group_bytes(budget) / PAGE_BYTES;
	ft_auto_strbuf struct ft_strbuf sql;

	ft_strbuf_init(&sql);
	ft_strbuf_addf(&sql, "PRAGMA incremental_vacuum(%d)",
		       (int)(pages < VACUUM_PAGES ? pages : VACUUM_PAGES));
	return sql.failed ? &ft_enomem : ft_db_exec(budget->db, budget->path, sql.data);
}

static uint64_t merge_bytes(const struct ft_budget *budget)
{
	uint64_t part = ft_budget_group_bytes(budget) / MERGE_PART;
	uint64_t enough = budget->rollup_bytes * MERGE_FACTOR;

	if (!budget->limits.max_bytes)
		return MERGE_BYTES;
	return part > enough ? part : enough;
}

/* Fewer of the samplers' rows: of those before the detailed stretch, and where all that may go of
 * the events is gone, of all. */
static struct ft_error *thin(struct ft_budget *budget, bool cramped)
{
	uint64_t rows = FT_THIN_ROWS;

	if (budget->limits.max_bytes && budget->limits.max_bytes / THIN_PART < rows)
		rows = budget->limits.max_bytes / THIN_PART;
	return ft_thin_rows(budget->db, budget->path, cramped ? INT64_MAX : budget->first_ns,
			    budget->last_ns, rows, budget->limits.max_bytes / THIN_BLOBS);
}

struct ft_error *ft_budget_fold(struct ft_budget *budget, int64_t last_chunk)
{
	uint64_t first = budget->first_seq;

	FT_TRY(ft_budget_make_room(budget, ft_budget_group_bytes(budget), last_chunk));
	budget->folded |= budget->first_seq != first;
	budget->thinned = false;
	return NULL;
}

/* What is to be done, and whether there is anything. */
static struct ft_error *tidy(struct ft_budget *budget, bool act, bool *ret)
{
	uint64_t used = 0, file = 0, group = ft_budget_group_bytes(budget),
		 limit = file_limit(budget);
	bool cramped = false;

	*ret = true;
	/* One of both at a time: each goes through the roll-ups. */
	if (ft_budget_merges(budget) && !budget->folds_threads)
		return act ? ft_budget_merge(budget, merge_bytes(budget)) : NULL;
	if (ft_budget_folds_threads(budget))
		return act ? ft_budget_fold_threads(budget, merge_bytes(budget)) : NULL;
	FT_TRY(used_bytes(budget, &used, &file));
	if (budget->limits.max_bytes)
		cramped = used + group > limit;
	/* Once after a commit: what is too much may be nothing that can be thinned out. */
	if (budget->folded || (cramped && !budget->thinned)) {
		budget->folded = budget->folded && !act;
		budget->thinned = act;
		return act ? thin(budget, cramped) : NULL;
	}
	if (budget->limits.max_bytes && file > limit + group && used < file)
		return act ? vacuum(budget) : NULL;
	*ret = false;
	return NULL;
}

struct ft_error *ft_budget_is_tidy(struct ft_budget *budget, bool *ret)
{
	bool work = false;

	if (!budget->follow.failed)
		FT_TRY(tidy(budget, false, &work));
	*ret = !work;
	return NULL;
}

struct ft_error *ft_budget_tidy(struct ft_budget *budget)
{
	bool work;

	return tidy(budget, true, &work);
}

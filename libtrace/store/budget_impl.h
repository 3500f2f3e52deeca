/* SPDX-License-Identifier: MIT */
/* The budget's inside, shared by its files: cuts (budget.c), what is deleted (fold.c), roll-ups
 * that become longer (merge.c), and threads that are gone (fold_threads.c). */
#ifndef BUDGET_IMPL_H
#define BUDGET_IMPL_H

#include "ft_budget.h"
#include "ft_db.h"
#include "ft_keyframe.h"
#include "ft_rollup_rows.h"
#include "ft_rollup_threads.h"

enum {
	PAGE_BYTES = 4096,	       /* of SQLite: the default, which a recording has */
	FRAME_BYTES = PAGE_BYTES + 24, /* of its write-ahead log */
	GROUPS = 32,		       /* a group of chunks is this part of the budget */
	INTERVALS = 1024,	       /* in the life of the recording, by time */
	MAX_ROLLUPS = INTERVALS,       /* merged above that */
	MIN_ROLLUPS = 16,	       /* kept whatever they take */
	ROLLUP_SHARE = 4,	       /* they may take this part of the budget, */
	CRAMPED_SHARE = 16,	       /* or this one where nothing else can go; */
	INDEX_SHARE = 16,	       /* without one, this part of the events' bytes */
	MIN_LOG_PAGES = 16,	       /* write-ahead log, and its checkpoint: */
	MAX_LOG_PAGES = 2000,	       /* bounds, */
	LOG_PARTS = 16,		       /* and part of the budget */
	THIN_PART = 4096, /* of the budget: rows of a table that stay whatever their age, */
	THIN_BLOBS = 16,  /* and the bytes of residency that do */
};

enum budget_statement {
	STMT_ROLLUP,
	STMT_DELETE_CHUNKS,
	STMT_DELETE_KEYFRAMES,
	STMT_PAGES,
	STMT_FREE_PAGES,
	STMT_MERGE_SELECT,
	STMT_MERGE_DELETE,
	STMT_ROLLUP_BYTES,
	BUDGET_STMT_N
};

/* A keyframe in the file: where the recording may begin. */
struct point {
	uint64_t seq, time_ns;
	int64_t chunk_id;
};

struct ft_budget {
	sqlite3 *db;
	const char *path;
	struct ft_limits limits;
	struct ft_follow follow;
	sqlite3_stmt *stmts[BUDGET_STMT_N];
	struct ft_packer *packer;
	struct ft_unpacker *unpacker;
	struct ft_keyframes keyframes;

	struct point *points; /* oldest first */
	size_t n_points, points_capacity;
	uint64_t keyframe_at_bytes;			    /* event bytes at the last keyframe */
	uint64_t rollup_bytes;				    /* of the last roll-up */
	uint64_t keyframe_seq, keyframe_ns, keyframe_bytes; /* the last one */
	uint64_t last_ns;				    /* of the last event */
	uint64_t first_seq, first_ns;			    /* where the events in the file begin */
	uint64_t n_written; /* events that chunks have, and their bytes: */
	uint64_t written_bytes;
	unsigned coarser;      /* intervals are merged to 2^coarser of their usual length */
	uint64_t cut_at_bytes; /* event bytes at the last cut */
	bool keeps_up;	       /* however many blocks live, and however busy the writer is */

	/* Who counts pages; NULL: nobody, or not any more. */
	const struct ft_page_counter *pages;
	uint64_t pages_ns, n_pages; /* the last time; rows of it in the file */

	/* The log: frames after the last commit, and the most that one has written lately: in the
	 * window of commits that has begun, and in the one before it. */
	uint64_t log_frames, n_commits, commit_frames[2];
	bool folded;  /* since rows were thinned out */
	bool thinned; /* they were, since the last commit of what was recorded */
	bool cramped; /* no events are left that may go, and it is not enough */

	/* A pass over the roll-ups that merges neighbours, some at each commit. */
	bool merging;
	int64_t merge_id;	 /* the row that it is at */
	uint64_t merge_longest;	 /* ns: neighbours that are together not longer are merged */
	uint64_t n_since_merged; /* roll-ups written since the last one */

	/* One that folds threads that are gone: fold_threads.c. */
	uint64_t n_ended; /* threads, since the last one */
	bool folds_threads;
	struct ft_thread_fold threads;
	int64_t thread_rollup_id;
};

#define RUN(budget, stmt, ...) \
	ft_db_run((budget)->db, (budget)->path, (budget)->stmts[stmt], __VA_ARGS__)

static inline bool is_limited(const struct ft_budget *budget)
{
	return budget->limits.max_bytes || budget->limits.max_age_ns;
}

/* Bytes of events between two keyframes, unless those are larger. */
uint64_t ft_budget_group_bytes(const struct ft_budget *budget);
/* Of the next interval, by time. */
uint64_t ft_budget_interval_ns(const struct ft_budget *budget, uint64_t now_ns);
/* Cohorts of the next interval: so fine that the recording's life is cut into so many. */
uint32_t ft_budget_cohort_shift(const struct ft_budget *budget);

/* Delete groups until `bytes` more fit in the budget, or no group is left that may go. */
struct ft_error *ft_budget_make_room(struct ft_budget *budget, uint64_t bytes, int64_t last_chunk);
/* Checkpoints, and what the log may take. */
struct ft_error *ft_budget_watch_log(struct ft_budget *budget);

/* Whether there may be too many roll-ups; merge them, up to about `bytes` of new rows. */
bool ft_budget_merges(const struct ft_budget *budget);
struct ft_error *ft_budget_merge(struct ft_budget *budget, uint64_t bytes);

/* Whether so many threads have ended that they are to be folded; do it, likewise. */
bool ft_budget_folds_threads(const struct ft_budget *budget);
struct ft_error *ft_budget_fold_threads(struct ft_budget *budget, uint64_t bytes);

#endif

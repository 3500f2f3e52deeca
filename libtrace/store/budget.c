/* SPDX-License-Identifier: MIT */
/* Budget: see ft_budget.h. Thinning of the rows that samplers write is in thin.c. */
#include "ft_budget.h"

#include <stdlib.h>
#include <string.h>

#include "ft_chunk.h"
#include "ft_cleanup.h"
#include "ft_db.h"
#include "ft_keyframe.h"
#include "ft_rollup_rows.h"
#include "ft_thin.h"

enum {
	ZSTD_LEVEL = 1,
	PAGE_BYTES = 4096,	   /* of SQLite: the default, which a recording has */
	GROUPS = 32,		   /* a group of chunks is this part of the budget */
	CUTS = 4,		   /* intervals in a group, by bytes */
	INTERVALS = 1024,	   /* in the life of the recording, by time */
	MAX_ROLLUPS = INTERVALS,   /* merged above that */
	MIN_ROLLUPS = 96,	   /* kept whatever they take */
	ROLLUP_SHARE = 4,	   /* they may take this part of the budget */
	COHORTS = 512,		   /* of the life of the recording */
	LIVE_FACTOR = 4,	   /* events between keyframes, in live blocks */
	KEYFRAME_EVENTS = 1 << 20, /* and at least so many */
	AGE_PARTS = 16,		   /* keyframes in the time of max_age */
	MIN_LOG_PAGES = 32,	   /* write-ahead log, and its checkpoint: */
	MAX_LOG_PAGES = 2000,	   /* bounds, */
	LOG_PARTS = 16,		   /* and part of the budget */
	VACUUM_PAGES = 256,	   /* given back at a commit */
};

#define MIN_INTERVAL_NS UINT64_C(50000000)
#define MIN_GROUP_BYTES (UINT64_C(32) << 10)
#define MAX_GROUP_BYTES (UINT64_C(32) << 20)

enum budget_statement {
	STMT_ROLLUP,
	STMT_DELETE_CHUNKS,
	STMT_DELETE_KEYFRAMES,
	STMT_PAGES,
	STMT_FREE_PAGES,
	STMT_VACUUM,
	STMT_N
};

static const char *const statements[STMT_N] = {
	[STMT_ROLLUP] = FT_ROLLUP_INSERT,
	[STMT_DELETE_CHUNKS] = "DELETE FROM event_chunk WHERE id < ?",
	[STMT_DELETE_KEYFRAMES] = "DELETE FROM keyframe WHERE seq < ?",
	[STMT_PAGES] = "PRAGMA page_count",
	[STMT_FREE_PAGES] = "PRAGMA freelist_count",
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
	sqlite3_stmt *stmts[STMT_N];
	struct ft_packer *packer;
	struct ft_unpacker *unpacker;
	struct ft_keyframes keyframes;

	struct point *points; /* oldest first */
	size_t n_points, points_capacity;
	uint64_t cut_bytes, keyframe_at_bytes; /* event bytes at the last cut and keyframe */
	uint64_t keyframe_seq, keyframe_ns, keyframe_bytes; /* the last one */
	uint64_t last_ns;				    /* of the last event */
	uint64_t first_seq;				    /* of the first chunk in the file */
	uint64_t n_rollups; /* written since they were last merged */
	unsigned coarser;   /* intervals are merged to 2^coarser of their usual length */
};

#define RUN(budget, stmt, ...) \
	ft_db_run((budget)->db, (budget)->path, (budget)->stmts[stmt], __VA_ARGS__)

static bool keeps_rollups(const struct ft_budget *budget)
{
	return budget->limits.max_bytes || budget->limits.max_age_ns;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

static uint64_t group_bytes(const struct ft_budget *budget)
{
	return clamp(budget->limits.max_bytes / GROUPS, MIN_GROUP_BYTES, MAX_GROUP_BYTES);
}

static uint64_t log_pages(const struct ft_budget *budget)
{
	return budget->limits.max_bytes ? clamp(budget->limits.max_bytes / LOG_PARTS / PAGE_BYTES,
						MIN_LOG_PAGES, MAX_LOG_PAGES)
					: MAX_LOG_PAGES;
}

/* What the database itself may take: the rest is for the log, which may hold a transaction more
 * than its checkpoint waits for. */
static uint64_t file_limit(const struct ft_budget *budget)
{
	uint64_t log = log_pages(budget) * PAGE_BYTES + 2 * group_bytes(budget);

	return budget->limits.max_bytes > 2 * log ? budget->limits.max_bytes - log
						  : budget->limits.max_bytes / 2;
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct ft_error *ft_budget_set_limits(struct ft_budget *budget, const struct ft_limits *limits)
{
	ft_auto_strbuf struct ft_strbuf sql;

	budget->limits = *limits;
	ft_strbuf_init(&sql);
	ft_strbuf_addf(&sql, "PRAGMA wal_autocheckpoint=%llu; PRAGMA journal_size_limit=%llu",
		       (unsigned long long)log_pages(budget),
		       (unsigned long long)log_pages(budget) * PAGE_BYTES);
	return sql.failed ? &ft_enomem : ft_db_exec(budget->db, budget->path, sql.data);
}

struct ft_error *ft_budget_create(sqlite3 *db, const char *path, const struct ft_limits *limits,
				  struct ft_budget **ret)
{
	struct ft_budget *budget = calloc(1, sizeof(*budget));
	struct ft_error *error = NULL;

	if (!budget)
		return &ft_enomem;
	budget->db = db;
	budget->path = path;
	budget->packer = ft_packer_create(ZSTD_LEVEL);
	budget->unpacker = ft_unpacker_create();
	if (!ft_follow_init(&budget->follow, limits->sample_bytes) || !budget->packer ||
	    !budget->unpacker || !ft_keyframes_init(&budget->keyframes))
		error = &ft_enomem;
	for (size_t i = 0; i < STMT_N && !error; i++)
		if (statements[i])
			error = ft_db_prepare(db, path, statements[i], &budget->stmts[i]);
	if (!error)
		error = ft_budget_set_limits(budget, limits);
	if (error) {
		ft_budget_destroy(budget);
		return error;
	}
	*ret = budget;
	return NULL;
}

void ft_budget_destroy(struct ft_budget *budget)
{
	if (!budget)
		return;
	for (size_t i = 0; i < STMT_N; i++)
		sqlite3_finalize(budget->stmts[i]);
	ft_follow_deinit(&budget->follow);
	ft_packer_destroy(budget->packer);
	ft_unpacker_destroy(budget->unpacker);
	ft_keyframes_deinit(&budget->keyframes);
	free(budget->points);
	free(budget);
}

struct ft_follow *ft_budget_follow(struct ft_budget *budget)
{
	return &budget->follow;
}

void ft_budget_events(struct ft_budget *budget, const struct ft_event *events, size_t n,
		      uint64_t seq)
{
	ft_follow_events(&budget->follow, events, n, seq);
	if (n)
		budget->last_ns = ft_tick_floor(events[n - 1].time_ns);
}

bool ft_budget_failed(const struct ft_budget *budget)
{
	return budget->follow.failed;
}

uint64_t ft_budget_commit_bytes(const struct ft_budget *budget)
{
	return budget->limits.max_bytes ? group_bytes(budget) : UINT64_MAX;
}

/* ---- cuts -------------------------------------------------------------------------------------
 */

static uint64_t interval_ns(const struct ft_budget *budget, uint64_t now_ns)
{
	uint64_t length = now_ns / INTERVALS;

	return length > MIN_INTERVAL_NS ? length : MIN_INTERVAL_NS;
}

static bool keyframe_due(const struct ft_budget *budget, uint64_t event_bytes)
{
	const struct ft_rollup *now = &budget->follow.now;
	uint64_t n_events = now->first_seq + now->n_events - budget->keyframe_seq;
	uint64_t enough = (uint64_t)budget->follow.n_live * LIVE_FACTOR;
	uint64_t least =
		budget->limits.keyframe_events ? budget->limits.keyframe_events : KEYFRAME_EVENTS;
	uint64_t bytes = event_bytes - budget->keyframe_at_bytes;

	if (budget->limits.max_bytes && bytes >= group_bytes(budget) &&
	    bytes >= budget->keyframe_bytes)
		return true;
	if (budget->limits.max_age_ns && n_events &&
	    budget->last_ns - budget->keyframe_ns >= budget->limits.max_age_ns / AGE_PARTS &&
	    bytes >= budget->keyframe_bytes)
		return true;
	return n_events >= (enough > least ? enough : least);
}

bool ft_budget_cut_due(const struct ft_budget *budget, uint64_t event_bytes)
{
	const struct ft_rollup *now = &budget->follow.now;

	if (budget->follow.failed || !now->n_events)
		return false;
	if (keyframe_due(budget, event_bytes))
		return true;
	return keeps_rollups(budget) &&
	       (budget->last_ns - now->first_ns >= interval_ns(budget, budget->last_ns) ||
		(budget->limits.max_bytes &&
		 event_bytes - budget->cut_bytes >= group_bytes(budget) / CUTS));
}

bool ft_budget_gap_due(const struct ft_budget *budget, uint64_t time_ns)
{
	return keeps_rollups(budget) && !budget->follow.failed &&
	       time_ns > budget->last_ns + interval_ns(budget, time_ns);
}

/* Cohorts of the next interval: so fine that the recording's life is cut into so many. */
static uint32_t cohort_shift(const struct ft_budget *budget)
{
	uint32_t shift = FT_TICK_SHIFT;

	while (budget->last_ns >> shift >= (uint64_t)COHORTS >> budget->coarser)
		shift++;
	return shift > budget->follow.now.cohort_shift ? shift : budget->follow.now.cohort_shift;
}

struct ft_error *ft_budget_keyframe(struct ft_budget *budget, int64_t chunk_id)
{
	const struct ft_rollup *now = &budget->follow.now;

	if (budget->n_points == budget->points_capacity) {
		size_t capacity = budget->points_capacity ? budget->points_capacity * 2 : 64;
		struct point *points = realloc(budget->points, capacity * sizeof(*points));

		if (!points)
			return &ft_enomem;
		budget->points = points;
		budget->points_capacity = capacity;
	}
	budget->keyframe_seq = now->first_seq + now->n_events;
	budget->keyframe_ns = budget->last_ns;
	FT_TRY(ft_keyframe_write(&budget->keyframes, budget->db, budget->path, &budget->follow,
				 budget->keyframe_seq, budget->keyframe_ns));
	budget->keyframe_bytes = budget->keyframes.n_bytes;
	budget->points[budget->n_points++] = (struct point){
		.seq = budget->keyframe_seq, .time_ns = budget->last_ns, .chunk_id = chunk_id};
	return NULL;
}

struct ft_error *ft_budget_cut(struct ft_budget *budget, int64_t chunk_id, uint64_t event_bytes)
{
	bool due = keyframe_due(budget, event_bytes);
	struct ft_error *error = NULL;
	struct ft_rollup rollup;

	if (!budget->follow.now.n_events)
		return NULL;
	if (!ft_follow_cut(&budget->follow, cohort_shift(budget), &rollup))
		return NULL; /* failed: what is in the file stays true */
	if (keeps_rollups(budget)) {
		error = ft_rollup_write(budget->db, budget->path, budget->stmts[STMT_ROLLUP],
					budget->packer, 0, &rollup);
		budget->n_rollups++;
	}
	ft_rollup_clear(&rollup);
	budget->cut_bytes = event_bytes;
	if (error || !due)
		return error;
	budget->keyframe_at_bytes = event_bytes;
	return ft_budget_keyframe(budget, chunk_id);
}

/* What lives where there were no events yet: a roll-up of an interval that has none. */
static struct ft_error *write_carried(struct ft_budget *budget)
{
	struct ft_rollup rollup;
	struct ft_error *error;

	if (!ft_follow_carried(&budget->follow, &rollup))
		return &ft_enomem;
	error = ft_rollup_write(budget->db, budget->path, budget->stmts[STMT_ROLLUP],
				budget->packer, 0, &rollup);
	ft_rollup_clear(&rollup);
	return error;
}

struct ft_error *ft_budget_take_over(struct ft_budget *budget, struct ft_budget *from)
{
	struct ft_follow empty = budget->follow;
	struct ft_rollup rest;

	/* Its last interval is in its chunks. */
	if (!ft_follow_cut(&from->follow, cohort_shift(from), &rest))
		return &ft_enomem;
	ft_rollup_clear(&rest);
	budget->follow = from->follow;
	from->follow = empty;
	budget->last_ns = from->last_ns;
	budget->first_seq = budget->follow.now.first_seq;
	budget->coarser = from->coarser;
	FT_TRY(ft_budget_keyframe(budget, 1));
	return keeps_rollups(budget) ? write_carried(budget) : NULL;
}

/* ---- folding ----------------------------------------------------------------------------------
 */

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
	return NULL;
}

/* Merge neighbours that are together not longer than they may be. Rows of the detailed stretch are
 * left alone: the recording may begin after any of them. */
static struct ft_error *merge_pass(struct ft_budget *budget, uint64_t longest, uint64_t *n_left)
{
	ft_auto_stmt sqlite3_stmt *select = NULL, *remove = NULL;
	struct ft_rollup kept = {0};
	struct ft_error *error = NULL;
	int64_t kept_id = 0;
	uint32_t shift = cohort_shift(budget);
	bool changed = false;
	int rc;

	*n_left = 0;
	FT_TRY(ft_db_prepare(budget->db, budget->path,
			     "SELECT id," FT_ROLLUP_COLUMNS
			     " FROM site_rollup WHERE first_seq + n_events <= ? ORDER BY id",
			     &select));
	FT_TRY(ft_db_prepare(budget->db, budget->path, "DELETE FROM site_rollup WHERE id = ?",
			     &remove));
	sqlite3_bind_int64(select, 1, (int64_t)budget->first_seq);
	while (!error && (rc = sqlite3_step(select)) == SQLITE_ROW) {
		struct ft_rollup next, both;
		int64_t id = sqlite3_column_int64(select, 0);
		const char *damage = ft_rollup_from_row(budget->unpacker, select, &next);

		if (damage) {
			error = ft_error_create(FT_ERROR_INPUT,
						"%s: the recording is damaged: roll-up %lld: %s",
						budget->path, (long long)id, damage);
			break;
		}
		uint32_t finest = next.cohort_shift > kept.cohort_shift ? next.cohort_shift
									: kept.cohort_shift;

		/* One without events says what was carried over: it stays as it is. */
		if (kept_id && kept.n_events && next.last_ns - kept.first_ns <= longest) {
			if (!ft_rollup_merge(&kept, &next, finest > shift ? finest : shift, &both))
				error = &ft_enomem;
			else
				error = ft_db_run(budget->db, budget->path, remove, "i", id);
			ft_rollup_clear(&next);
			if (error)
				break;
			ft_rollup_clear(&kept);
			kept = both;
			changed = true;
			continue;
		}
		if (changed)
			error = ft_rollup_write(budget->db, budget->path,
						budget->stmts[STMT_ROLLUP], budget->packer, kept_id,
						&kept);
		ft_rollup_clear(&kept);
		kept = next;
		kept_id = id;
		changed = false;
		++*n_left;
	}
	if (!error && rc != SQLITE_DONE)
		error = ft_db_error(budget->db, budget->path, "roll-ups");
	if (!error && changed)
		error = ft_rollup_write(budget->db, budget->path, budget->stmts[STMT_ROLLUP],
					budget->packer, kept_id, &kept);
	ft_rollup_clear(&kept);
	return error;
}

static struct ft_error *rollup_bytes(struct ft_budget *budget, uint64_t *bytes, uint64_t *n)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	FT_TRY(ft_db_prepare(
		budget->db, budget->path,
		"SELECT count(*), total(length(data) + length(threads) + length(pairs))"
		" FROM site_rollup",
		&stmt));
	if (sqlite3_step(stmt) != SQLITE_ROW)
		return ft_db_error(budget->db, budget->path, "roll-ups");
	*n = ft_db_u64(stmt, 0);
	*bytes = ft_db_u64(stmt, 1);
	return NULL;
}

static struct ft_error *merge_rollups(struct ft_budget *budget)
{
	uint64_t bytes = 0, n = 0, n_left = 0;

	FT_TRY(rollup_bytes(budget, &bytes, &n));

	bool large = budget->limits.max_bytes && bytes > budget->limits.max_bytes / ROLLUP_SHARE;

	if (n <= MAX_ROLLUPS && !large)
		return NULL;
	budget->n_rollups = 0;
	FT_TRY(merge_pass(budget, (interval_ns(budget, budget->last_ns) << budget->coarser) * 2,
			  &n_left));
	FT_TRY(rollup_bytes(budget, &bytes, &n));
	/* Coarser from now on, as long as there is something left to be told. */
	if (budget->limits.max_bytes && bytes > budget->limits.max_bytes / ROLLUP_SHARE &&
	    INTERVALS >> (budget->coarser + 1) >= MIN_ROLLUPS)
		budget->coarser++;
	return NULL;
}

/* The file is longer than it may be, and has pages to give back. */
static struct ft_error *vacuum(struct ft_budget *budget)
{
	ft_auto_strbuf struct ft_strbuf sql;

	ft_strbuf_init(&sql);
	ft_strbuf_addf(&sql, "PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
	return sql.failed ? &ft_enomem : ft_db_exec(budget->db, budget->path, sql.data);
}

struct ft_error *ft_budget_fold(struct ft_budget *budget, int64_t last_chunk)
{
	uint64_t used = 0, file = 0, limit = file_limit(budget);
	bool folded = false;

	if (!keeps_rollups(budget) || budget->follow.failed)
		return NULL;
	FT_TRY(used_bytes(budget, &used, &file));
	/* The last group stays: a recording has events. */
	while (budget->n_points && budget->points[0].chunk_id < last_chunk &&
	       ((budget->limits.max_bytes && used > limit) || too_old(budget))) {
		FT_TRY(fold_group(budget));
		FT_TRY(used_bytes(budget, &used, &file));
		folded = true;
	}
	if (folded) {
		FT_TRY(merge_rollups(budget));
		FT_TRY(ft_thin_rows(budget->db, budget->path,
				    budget->points && budget->n_points ? budget->points[0].time_ns
								       : budget->last_ns));
	}
	if (budget->limits.max_bytes && file > limit && used < file)
		FT_TRY(vacuum(budget));
	return NULL;
}

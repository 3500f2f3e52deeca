/* SPDX-License-Identifier: MIT */
/* Budget: see ft_budget.h. Cuts: intervals and keyframes. What is deleted is in fold.c, what
 * roll-ups become in merge.c, and thinning of the rows that samplers write in thin.c. */
#include <stdlib.h>
#include <string.h>

#include "budget_impl.h"
#include "ft_chunk.h"
#include "ft_cleanup.h"
#include "ft_page_rollup.h"

enum {
	ZSTD_LEVEL = 1,
	COHORTS = 512,		   /* of the life of the recording */
	LIVE_FACTOR = 4,	   /* events between keyframes, in live blocks */
	KEYFRAME_EVENTS = 1 << 20, /* and at least so many */
	KEYFRAME_SHARE = 8,	   /* or, in a budget, so many times their bytes */
	AGE_PARTS = 16,		   /* keyframes in the time of max_age */
	CHUNK_PARTS = 2,	   /* of a group: a chunk has no more bytes */
	MIN_CHUNK_EVENTS = 1024,
	FIRST_EVENT_BYTES = 8, /* of an event in a chunk, before there is one */
	MAX_PAGE_ROLLUPS = 1024,
	PAGE_ROLLUP_PART = 32 << 10, /* of the budget: there are no more than so */
	PAGES_NS_PER_BLOCK = 15000,  /* between two: a fiftieth of a processor */
	ROLLUP_FACTOR = 2,	     /* a group has so many times the bytes of its roll-up */
	/* Without limits: */
	INDEX_KEYFRAME_EVENTS = 1 << 22, /* between keyframes, at least, and 4 x the live blocks, */
	INDEX_KEYFRAME_SHARE = 4,	 /* and so many times their bytes */
	INDEX_INTERVAL_EVENTS = 1 << 16, /* between roll-ups, and */
	INDEX_ROLLUP_SHARE = 16,	 /* so many times their bytes */
	INDEX_LIVE_BLOCKS = 1 << 22,	 /* more: no index */
};

#define MIN_INTERVAL_NS UINT64_C(50000000)
#define MIN_GROUP_BYTES (UINT64_C(32) << 10)
#define MAX_GROUP_BYTES (UINT64_C(32) << 20)

static const char *const statements[BUDGET_STMT_N] = {
	[STMT_ROLLUP] = FT_ROLLUP_INSERT,
	[STMT_DELETE_CHUNKS] = "DELETE FROM event_chunk WHERE id < ?",
	[STMT_DELETE_KEYFRAMES] = "DELETE FROM keyframe WHERE seq < ?",
	[STMT_PAGES] = "PRAGMA page_count",
	[STMT_FREE_PAGES] = "PRAGMA freelist_count",
	[STMT_MERGE_SELECT] =
		"SELECT id," FT_ROLLUP_COLUMNS " FROM site_rollup WHERE id >= ? ORDER BY id",
	[STMT_MERGE_DELETE] = "DELETE FROM site_rollup WHERE id = ?",
	[STMT_ROLLUP_BYTES] = ("SELECT count(*), total(length(data) + length(threads) +"
			       " length(pairs) + length(largest)) FROM site_rollup"),
};

/* The roll-up of an interval as a new row. */
static struct ft_error *write_rollup(struct ft_budget *budget, const struct ft_rollup *rollup)
{
	budget->n_since_merged++;
	return ft_rollup_write(budget->db, budget->path, budget->stmts[STMT_ROLLUP], budget->packer,
			       0, rollup, &budget->rollup_bytes);
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

uint64_t ft_budget_group_bytes(const struct ft_budget *budget)
{
	return clamp(budget->limits.max_bytes / GROUPS, MIN_GROUP_BYTES, MAX_GROUP_BYTES);
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct ft_error *ft_budget_set_limits(struct ft_budget *budget, const struct ft_limits *limits)
{
	budget->limits = *limits;
	return ft_budget_watch_log(budget);
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
	for (size_t i = 0; i < BUDGET_STMT_N && !error; i++)
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
	sqlite3_wal_hook(budget->db, NULL, NULL);
	for (size_t i = 0; i < BUDGET_STMT_N; i++)
		sqlite3_finalize(budget->stmts[i]);
	ft_follow_deinit(&budget->follow);
	ft_packer_destroy(budget->packer);
	ft_unpacker_destroy(budget->unpacker);
	ft_keyframes_deinit(&budget->keyframes);
	if (budget->folds_threads)
		ft_thread_fold_deinit(&budget->threads);
	free(budget->points);
	free(budget);
}

void ft_budget_set_pages(struct ft_budget *budget, const struct ft_page_counter *counter)
{
	budget->pages = counter;
}

void ft_budget_module(const struct ft_budget *budget, const char *path)
{
	if (budget->pages)
		budget->pages->module(budget->pages->ctx, path);
}

struct ft_follow *ft_budget_follow(struct ft_budget *budget)
{
	return &budget->follow;
}

bool ft_budget_is_limited(const struct ft_budget *budget)
{
	return is_limited(budget);
}

void ft_budget_keep_up(struct ft_budget *budget)
{
	budget->keeps_up = true;
}

bool ft_budget_keeps_up(const struct ft_budget *budget)
{
	return budget->keeps_up;
}

struct ft_error *ft_budget_forget(struct ft_budget *budget)
{
	FT_TRY(ft_db_exec(budget->db, budget->path, "DELETE FROM keyframe"));
	return ft_db_exec(budget->db, budget->path, "DELETE FROM site_rollup");
}

void ft_budget_give_up(struct ft_budget *budget)
{
	ft_follow_deinit(&budget->follow);
	budget->follow.failed = true;
}

void ft_budget_events(struct ft_budget *budget, const struct ft_event *events, size_t n,
		      uint64_t seq)
{
	ft_follow_events(&budget->follow, events, n, seq);
	if (!is_limited(budget) && budget->follow.live.n_live > INDEX_LIVE_BLOCKS &&
	    !budget->keeps_up)
		ft_budget_give_up(budget);
	if (budget->pages && !budget->pages->events(budget->pages->ctx, events, n))
		budget->pages = NULL;
	if (n)
		budget->last_ns = ft_tick_floor(events[n - 1].time_ns);
}

bool ft_budget_failed(const struct ft_budget *budget)
{
	return budget->follow.failed;
}

uint64_t ft_budget_commit_bytes(const struct ft_budget *budget)
{
	return budget->limits.max_bytes ? ft_budget_group_bytes(budget) : UINT64_MAX;
}

size_t ft_budget_chunk_events(const struct ft_budget *budget)
{
	uint64_t most = ft_budget_group_bytes(budget) / CHUNK_PARTS, n = most / FIRST_EVENT_BYTES;

	if (!budget->limits.max_bytes)
		return FT_CHUNK_EVENTS;
	if (budget->written_bytes)
		n = (uint64_t)((double)most * (double)budget->n_written /
			       (double)budget->written_bytes);
	return (size_t)clamp(n, MIN_CHUNK_EVENTS, FT_CHUNK_EVENTS);
}

void ft_budget_written(struct ft_budget *budget, size_t n_events, uint64_t bytes)
{
	budget->n_written += n_events;
	budget->written_bytes += bytes;
}

/* ---- cuts -------------------------------------------------------------------------------------
 */

uint64_t ft_budget_interval_ns(const struct ft_budget *budget, uint64_t now_ns)
{
	uint64_t length = now_ns / INTERVALS << budget->coarser;

	return length > MIN_INTERVAL_NS ? length : MIN_INTERVAL_NS;
}

static bool keyframe_due(const struct ft_budget *budget, uint64_t event_bytes)
{
	const struct ft_rollup *now = &budget->follow.now;
	uint64_t n_events = now->first_seq + now->n_events - budget->keyframe_seq;
	uint64_t enough = (uint64_t)budget->follow.live.n_live * LIVE_FACTOR;
	uint64_t least =
		budget->limits.keyframe_events ? budget->limits.keyframe_events : KEYFRAME_EVENTS;
	uint64_t bytes = event_bytes - budget->keyframe_at_bytes;

	if (budget->limits.max_bytes && bytes >= ft_budget_group_bytes(budget) &&
	    bytes >= budget->keyframe_bytes && bytes >= budget->rollup_bytes * ROLLUP_FACTOR)
		return true;
	if (budget->limits.max_age_ns && n_events &&
	    budget->last_ns - budget->keyframe_ns >= budget->limits.max_age_ns / AGE_PARTS &&
	    bytes >= budget->keyframe_bytes)
		return true;
	if (!is_limited(budget) && !budget->limits.keyframe_events)
		return n_events >=
			       (enough > INDEX_KEYFRAME_EVENTS ? enough : INDEX_KEYFRAME_EVENTS) &&
		       bytes >= budget->keyframe_bytes * INDEX_KEYFRAME_SHARE;
	/* For who begins in the middle; what these take is bounded too. */
	return n_events >= (enough > least ? enough : least) &&
	       (!budget->limits.max_bytes || bytes >= budget->keyframe_bytes * KEYFRAME_SHARE);
}

/* Whether what has come since the last cut, of so many bytes, is enough for a roll-up. */
static bool is_worth_it(const struct ft_budget *budget, uint64_t bytes)
{
	uint64_t enough = budget->limits.keyframe_events &&
					  budget->limits.keyframe_events < INDEX_INTERVAL_EVENTS
				  ? budget->limits.keyframe_events
				  : INDEX_INTERVAL_EVENTS;

	return is_limited(budget) || (budget->follow.now.n_events >= enough &&
				      bytes >= budget->rollup_bytes * INDEX_ROLLUP_SHARE);
}

bool ft_budget_cut_due(const struct ft_budget *budget, uint64_t event_bytes)
{
	const struct ft_rollup *now = &budget->follow.now;

	if (budget->follow.failed || !now->n_events)
		return false;
	if (keyframe_due(budget, event_bytes))
		return true;
	return is_worth_it(budget, event_bytes - budget->cut_at_bytes) &&
	       budget->last_ns - now->first_ns >= ft_budget_interval_ns(budget, budget->last_ns);
}

bool ft_budget_gap_due(const struct ft_budget *budget, uint64_t time_ns)
{
	return is_worth_it(budget, UINT64_MAX) && !budget->follow.failed &&
	       time_ns > budget->last_ns + ft_budget_interval_ns(budget, time_ns);
}

uint32_t ft_budget_cohort_shift(const struct ft_budget *budget)
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

/* Sorting and placing a block takes a third of a microsecond. By the recording's clock, so that the
 * same events leave the same rows. */
static bool pages_due(const struct ft_budget *budget)
{
	return budget->pages && is_limited(budget) &&
	       budget->last_ns - budget->pages_ns >=
		       budget->follow.live.n_live * PAGES_NS_PER_BLOCK;
}

static struct ft_error *write_pages(struct ft_budget *budget)
{
	uint64_t most = MAX_PAGE_ROLLUPS;
	ft_auto_free struct ft_page_rollup *pages = calloc(1, sizeof(*pages));
	struct ft_page_blocks blocks;
	bool ok = false;

	if (pages && ft_page_blocks_init(&blocks, &budget->follow)) {
		ok = budget->pages->count(budget->pages->ctx, &blocks, pages);
		ft_page_blocks_deinit(&blocks);
	}
	budget->pages_ns = budget->last_ns;
	if (!ok) {
		budget->pages = NULL; /* as without: the recording goes on */
		return NULL;
	}
	pages->time_ns = budget->last_ns;
	pages->seq = budget->follow.now.first_seq;
	FT_TRY(ft_page_rollup_write(budget->db, budget->path, budget->packer, pages));
	budget->n_pages++;
	if (budget->limits.max_bytes && budget->limits.max_bytes / PAGE_ROLLUP_PART < most)
		most = budget->limits.max_bytes / PAGE_ROLLUP_PART;
	if (budget->n_pages <= most)
		return NULL;
	FT_TRY(ft_page_rollup_thin(budget->db, budget->path, most / 2));
	budget->n_pages = most / 2;
	return NULL;
}

struct ft_error *ft_budget_cut(struct ft_budget *budget, int64_t chunk_id, uint64_t event_bytes)
{
	bool due = keyframe_due(budget, event_bytes);
	struct ft_error *error;
	struct ft_rollup rollup;

	if (!budget->follow.now.n_events)
		return NULL;
	/* What is written will be about as large as the last time. */
	FT_TRY(ft_budget_make_room(budget, budget->rollup_bytes + budget->keyframe_bytes,
				   chunk_id));
	if (!ft_follow_cut(&budget->follow, ft_budget_cohort_shift(budget), &rollup))
		return NULL; /* failed: what is in the file stays true */
	budget->cut_at_bytes = event_bytes;
	error = write_rollup(budget, &rollup);
	ft_rollup_clear(&rollup);
	if (!error && pages_due(budget))
		error = write_pages(budget);
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
	error = write_rollup(budget, &rollup);
	ft_rollup_clear(&rollup);
	return error;
}

struct ft_error *ft_budget_take_over(struct ft_budget *budget, struct ft_budget *from)
{
	struct ft_follow empty = budget->follow;
	struct ft_rollup rest;

	/* Its last interval is in its chunks. */
	if (!ft_follow_cut(&from->follow, ft_budget_cohort_shift(from), &rest))
		return &ft_enomem;
	ft_rollup_clear(&rest);
	budget->follow = from->follow;
	from->follow = empty;
	from->follow.failed = true; /* it knows of no block any more */
	budget->pages = from->pages;
	budget->last_ns = from->last_ns;
	budget->first_seq = budget->follow.now.first_seq;
	budget->first_ns = from->last_ns;
	budget->coarser = from->coarser;
	FT_TRY(ft_budget_keyframe(budget, 1));
	return write_carried(budget);
}

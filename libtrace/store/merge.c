/* SPDX-License-Identifier: MIT */
/*
 * Roll-ups that become longer
 *
 * There are to be about as many of them however long a recording becomes, and they may take a part
 * of the budget. A pass goes over all, oldest first, and merges neighbours that are together not
 * longer than an interval may be by then. It rewrites as much as there is, which in one transaction
 * would be a log as long: each commit takes a few rows, and the pass remembers where it is. A
 * merged row and what it was made of are in one commit, so that no moment counts anything twice.
 *
 * A roll-up never reaches over a keyframe of the detailed stretch: the recording may begin there.
 */
#include "budget_impl.h"

enum {
	MERGE_ROWS = 64, /* looked at in a commit */
	MERGE_AFTER = 8, /* new roll-ups, before they are counted again */
};

static struct ft_error *rollup_bytes(struct ft_budget *budget, uint64_t *bytes, uint64_t *n)
{
	sqlite3_stmt *stmt = budget->stmts[STMT_ROLLUP_BYTES];
	bool there = sqlite3_step(stmt) == SQLITE_ROW;

	if (there) {
		*n = ft_db_u64(stmt, 0);
		*bytes = ft_db_u64(stmt, 1);
	}
	sqlite3_reset(stmt);
	return there ? NULL : ft_db_error(budget->db, budget->path, "roll-ups");
}

/* Whether the recording may come to begin with event `seq`. */
static bool is_point(const struct ft_budget *budget, uint64_t seq)
{
	size_t low = 0, high = budget->n_points;

	if (seq == budget->first_seq)
		return true;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (budget->points[middle].seq < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low < budget->n_points && budget->points[low].seq == seq;
}

/* The row that neighbours are being merged into. */
struct kept {
	struct ft_rollup rollup;
	int64_t id; /* 0: none */
	bool changed;
};

static bool may_merge(const struct ft_budget *budget, const struct kept *kept,
		      const struct ft_rollup *next)
{
	/* One without events says what was carried over: it stays as it is. */
	return kept->id && kept->rollup.n_events &&
	       next->last_ns - kept->rollup.first_ns <= budget->merge_longest &&
	       !is_point(budget, next->first_seq);
}

static struct ft_error *merge_into(struct ft_budget *budget, struct kept *kept, int64_t id,
				   const struct ft_rollup *next)
{
	uint32_t shift = ft_budget_cohort_shift(budget);
	uint32_t finest = next->cohort_shift > kept->rollup.cohort_shift
				  ? next->cohort_shift
				  : kept->rollup.cohort_shift;
	struct ft_rollup both;

	if (!ft_rollup_merge(&kept->rollup, next, finest > shift ? finest : shift, &both))
		return &ft_enomem;
	ft_rollup_clear(&kept->rollup);
	kept->rollup = both;
	kept->changed = true;
	return RUN(budget, STMT_MERGE_DELETE, "i", id);
}

/* Write it, if it has become another, and add its bytes to *written. */
static struct ft_error *put_down(struct ft_budget *budget, struct kept *kept, uint64_t *written)
{
	struct ft_error *error = NULL;
	uint64_t bytes = 0;

	if (kept->changed)
		error = ft_rollup_write(budget->db, budget->path, budget->stmts[STMT_ROLLUP],
					budget->packer, kept->id, &kept->rollup, &bytes);
	ft_rollup_clear(&kept->rollup);
	*kept = (struct kept){0};
	*written += bytes;
	return error;
}

/* From budget->merge_id on; *done: the pass is at its end. */
static struct ft_error *merge_some(struct ft_budget *budget, uint64_t most, bool *done)
{
	sqlite3_stmt *select = budget->stmts[STMT_MERGE_SELECT];
	struct kept kept = {0};
	struct ft_error *error = NULL;
	uint64_t written = 0;
	unsigned n_rows = 0;
	int rc = SQLITE_ROW;

	sqlite3_bind_int64(select, 1, budget->merge_id);
	while (!error && (rc = sqlite3_step(select)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(select, 0);
		struct ft_rollup next;
		const char *damage = ft_rollup_from_row(budget->unpacker, select, &next);

		if (damage) {
			error = ft_error_create(FT_ERROR_INPUT,
						"%s: the recording is damaged: roll-up %lld: %s",
						budget->path, (long long)id, damage);
			break;
		}
		if (may_merge(budget, &kept, &next)) {
			error = merge_into(budget, &kept, id, &next);
			ft_rollup_clear(&next);
			n_rows++;
			continue;
		}
		error = put_down(budget, &kept, &written);
		kept = (struct kept){.rollup = next, .id = id};
		/* The next commit goes on with this one. */
		if (written >= most || ++n_rows > MERGE_ROWS)
			break;
	}
	if (!error && rc != SQLITE_ROW && rc != SQLITE_DONE)
		error = ft_db_error(budget->db, budget->path, "roll-ups");
	sqlite3_reset(select);
	budget->merge_id = kept.id;
	*done = rc == SQLITE_DONE;

	struct ft_error *last = put_down(budget, &kept, &written);

	if (!error)
		return last;
	ft_error_destroy(last);
	return error;
}

static bool is_large(const struct ft_budget *budget, uint64_t bytes)
{
	uint64_t share = budget->cramped ? CRAMPED_SHARE : ROLLUP_SHARE;

	if (!is_limited(budget))
		return bytes > budget->written_bytes / INDEX_SHARE;
	return budget->limits.max_bytes && bytes > budget->limits.max_bytes / share;
}

static void begin_pass(struct ft_budget *budget)
{
	budget->merging = true;
	budget->merge_id = 0;
	budget->merge_longest = ft_budget_interval_ns(budget, budget->last_ns) * 2;
}

bool ft_budget_merges(const struct ft_budget *budget)
{
	return budget->merging || budget->n_since_merged >= MERGE_AFTER;
}

struct ft_error *ft_budget_merge(struct ft_budget *budget, uint64_t most)
{
	uint64_t bytes = 0, n = 0;
	bool done = false;

	if (!budget->merging) {
		budget->n_since_merged = 0;
		FT_TRY(rollup_bytes(budget, &bytes, &n));
		if (n <= MAX_ROLLUPS && !is_large(budget, bytes))
			return NULL;
		begin_pass(budget);
	}
	FT_TRY(merge_some(budget, most, &done));
	if (!done)
		return NULL;
	budget->merging = false;
	FT_TRY(rollup_bytes(budget, &bytes, &n));
	/* Coarser from now on, as long as there is something left to be told. */
	if (is_large(budget, bytes) && INTERVALS >> (budget->coarser + 1) >= MIN_ROLLUPS) {
		budget->coarser++;
		begin_pass(budget);
	}
	return NULL;
}

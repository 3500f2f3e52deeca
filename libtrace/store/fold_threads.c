/* SPDX-License-Identifier: MIT */
/*
 * Threads that are gone become one of their kind
 *
 * A server that starts a thread for each connection leaves a row for each, and an account in the
 * roll-up of when it ran: in days more than a budget has. Who reads the recording makes one row of
 * those that are alike and have ended. So does this, with those that ended before the detailed
 * stretch and that nothing in it is about: the first of a kind comes to stand for the others.
 *
 * The roll-ups are gone through first, some at each commit. Until the last one of them it is all
 * the same to a reader, who has both threads in one row. Then the other threads' rows are deleted,
 * and the follower forgets them.
 */
#include <stdlib.h>

#include "budget_impl.h"
#include "ft_cleanup.h"
#include "ft_thread_kind.h"

enum {
	FOLD_ROWS = 64,	    /* roll-ups looked at in a commit */
	ALIKE = 16,	    /* fewer of a kind stay as they are: the reader shows them */
	THREAD_PART = 4096, /* of the budget: threads that end between two folds, */
	MIN_THREADS = 64,   /* bounds */
	MAX_THREADS = 1 << 14,
};

struct candidate {
	uint32_t id, n;
	uint64_t kind;
};

struct candidates {
	struct candidate *list;
	size_t n, capacity;
	struct ft_map n_alike, first; /* by kind */
};

static void candidates_deinit(struct candidates *c)
{
	free(c->list);
	ft_map_deinit(&c->n_alike);
	ft_map_deinit(&c->first);
}

static struct ft_error *add_candidate(struct candidates *c, const struct candidate *candidate)
{
	uint64_t *n = ft_map_put(&c->n_alike, candidate->kind, NULL);

	if (c->n == c->capacity) {
		size_t capacity = c->capacity ? c->capacity * 2 : 256;
		struct candidate *list = realloc(c->list, capacity * sizeof(*list));

		if (!list)
			return &ft_enomem;
		c->list = list;
		c->capacity = capacity;
	}
	if (!n)
		return &ft_enomem;
	*n += candidate->n;
	c->list[c->n++] = *candidate;
	return NULL;
}

/* Threads that nothing in the detailed stretch is about, nor any row that names a thread. */
static struct ft_error *find_candidates(struct ft_budget *budget, struct candidates *c)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	int rc;

	FT_TRY(ft_db_prepare(budget->db, budget->path,
			     "SELECT id, coalesce(n_threads, 1), start_function, name FROM thread"
			     " WHERE end_ns < ? AND id NOT IN (SELECT thread FROM error)"
			     " AND id NOT IN (SELECT thread FROM pool) ORDER BY id",
			     &stmt));
	sqlite3_bind_int64(stmt, 1, (int64_t)budget->first_ns);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const struct candidate candidate = {
			.id = (uint32_t)ft_db_u64(stmt, 0),
			.n = (uint32_t)ft_db_u64(stmt, 1),
			.kind = ft_thread_kind(ft_db_u64(stmt, 2), ft_db_text(stmt, 3))};

		if (ft_follow_thread_is_gone(&budget->follow, candidate.id, budget->first_seq))
			FT_TRY(add_candidate(c, &candidate));
	}
	return rc == SQLITE_DONE ? NULL : ft_db_error(budget->db, budget->path, "threads");
}

/* Who stands for whom. */
static struct ft_error *choose(struct ft_thread_fold *fold, struct candidates *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct candidate *candidate = &c->list[i];
		uint64_t *first, *into;
		bool created;

		if (*ft_map_get(&c->n_alike, candidate->kind) < ALIKE)
			continue;
		first = ft_map_put(&c->first, candidate->kind, &created);
		if (first && created)
			*first = candidate->id;
		into = ft_map_put(&fold->into, candidate->id, NULL);
		if (!first || !into)
			return &ft_enomem;
		*into = *first;
	}
	return NULL;
}

static struct ft_error *begin(struct ft_budget *budget)
{
	struct candidates c = {0};
	struct ft_error *error;

	budget->n_ended = 0;
	ft_map_init(&c.n_alike);
	ft_map_init(&c.first);
	ft_thread_fold_init(&budget->threads);
	error = find_candidates(budget, &c);
	if (!error)
		error = choose(&budget->threads, &c);
	budget->folds_threads = !error && ft_map_count(&budget->threads.into);
	budget->thread_rollup_id = 0;
	candidates_deinit(&c);
	if (!budget->folds_threads)
		ft_thread_fold_deinit(&budget->threads);
	return error;
}

static struct ft_error *fold_row(struct ft_budget *budget, sqlite3_stmt *row, int64_t id,
				 uint64_t *written)
{
	struct ft_error *error = NULL;
	struct ft_rollup rollup;
	const char *damage = ft_rollup_from_row(budget->unpacker, row, &rollup);
	uint64_t bytes = 0;
	bool changed;

	if (damage)
		return ft_error_create(FT_ERROR_INPUT,
				       "%s: the recording is damaged: roll-up %lld: %s",
				       budget->path, (long long)id, damage);
	if (!ft_rollup_fold_threads(&rollup, &budget->threads, &changed))
		error = &ft_enomem;
	else if (changed)
		error = ft_rollup_write(budget->db, budget->path, budget->stmts[STMT_ROLLUP],
					budget->packer, id, &rollup, &bytes);
	ft_rollup_clear(&rollup);
	*written += bytes;
	return error;
}

static struct ft_error *fold_some(struct ft_budget *budget, uint64_t most, bool *done)
{
	sqlite3_stmt *select = budget->stmts[STMT_MERGE_SELECT];
	struct ft_error *error = NULL;
	uint64_t written = 0;
	int rc = SQLITE_ROW;

	sqlite3_bind_int64(select, 1, budget->thread_rollup_id);
	for (unsigned n = 0; !error && n < FOLD_ROWS && written < most; n++) {
		int64_t id;

		rc = sqlite3_step(select);
		if (rc != SQLITE_ROW)
			break;
		id = sqlite3_column_int64(select, 0);
		error = fold_row(budget, select, id, &written);
		budget->thread_rollup_id = id + 1;
	}
	if (!error && rc != SQLITE_ROW && rc != SQLITE_DONE)
		error = ft_db_error(budget->db, budget->path, "roll-ups");
	sqlite3_reset(select);
	*done = rc == SQLITE_DONE;
	return error;
}

static struct ft_error *end(struct ft_budget *budget)
{
	ft_auto_stmt sqlite3_stmt *add = NULL, *remove = NULL;
	uint64_t id, into;
	size_t cursor = 0;

	FT_TRY(ft_db_prepare(budget->db, budget->path,
			     "UPDATE thread SET n_threads = coalesce(n_threads, 1) + (SELECT"
			     " coalesce(n_threads, 1) FROM thread WHERE id = ?1) WHERE id = ?2",
			     &add));
	FT_TRY(ft_db_prepare(budget->db, budget->path, "DELETE FROM thread WHERE id = ?", &remove));
	while (ft_map_next(&budget->threads.into, &cursor, &id, &into)) {
		if (id == into)
			continue;
		FT_TRY(ft_db_run(budget->db, budget->path, add, "uu", id, into));
		FT_TRY(ft_db_run(budget->db, budget->path, remove, "u", id));
		ft_follow_forget_thread(&budget->follow, (uint32_t)id);
	}
	return NULL;
}

void ft_budget_thread(struct ft_budget *budget, uint64_t end_ns)
{
	budget->n_ended += end_ns != FT_TIME_NONE;
}

bool ft_budget_folds_threads(const struct ft_budget *budget)
{
	uint64_t enough = budget->limits.max_bytes / THREAD_PART;

	if (!budget->limits.max_bytes || enough > MAX_THREADS)
		enough = MAX_THREADS;
	if (enough < MIN_THREADS)
		enough = MIN_THREADS;
	return budget->folds_threads ||
	       (is_limited(budget) && budget->first_seq && budget->n_ended >= enough);
}

struct ft_error *ft_budget_fold_threads(struct ft_budget *budget, uint64_t most)
{
	struct ft_error *error;
	bool done = false;

	if (!budget->folds_threads)
		return begin(budget);
	error = fold_some(budget, most, &done);
	if (!error && done)
		error = end(budget);
	if (error || done) {
		ft_thread_fold_deinit(&budget->threads);
		budget->folds_threads = false;
	}
	return error;
}

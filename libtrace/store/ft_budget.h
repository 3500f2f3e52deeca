/* SPDX-License-Identifier: MIT */
/*
 * Budget: keyframes, roll-ups, and what goes when a recording has had its share of the disk
 *
 * Belongs to a writer and works on its connection, inside its transactions: what it deletes and
 * what stands for that are in one commit. A cut ends an interval (a roll-up is written) and, when
 * enough has come since the last one, a keyframe is written; both are at the end of a chunk. The
 * chunks between two keyframes are a group: folding deletes the oldest group, of which the roll-ups
 * are there already. So nothing is read back, and a crash finds a group, or what stands for it, or
 * both; a reader takes the chunks where there are some.
 *
 * Without limits nothing is deleted, and both are an index of the events. They are then written
 * less often, so that they stay a small part of the file, and no more once too many blocks live.
 *
 * Freed pages of the file are used again; they are given back to the file system only when the file
 * is above its limit (after a lower one was set), a few at each commit.
 */
#ifndef FT_BUDGET_H
#define FT_BUDGET_H

#include <stdbool.h>

#include "fragtrace/store.h"
#include "ft_follow.h"
#include "ft_sqlite.h"

struct ft_budget;

/* `db` and `path` are borrowed. */
struct ft_error *ft_budget_create(sqlite3 *db, const char *path, const struct ft_limits *limits,
				  struct ft_budget **ret);
void ft_budget_destroy(struct ft_budget *budget); /* NULL is fine */
struct ft_error *ft_budget_set_limits(struct ft_budget *budget, const struct ft_limits *limits);

/* Take statistics of pages at the ends of intervals; borrowed. */
void ft_budget_set_pages(struct ft_budget *budget, const struct ft_page_counter *counter);
/* A row of a thread has been written. */
void ft_budget_thread(struct ft_budget *budget, uint64_t end_ns);
void ft_budget_module(const struct ft_budget *budget, const char *path);

struct ft_follow *ft_budget_follow(struct ft_budget *budget);

/* Events that have been given to the writer, in order. Out of memory ends the keeping of keyframes
 * (ft_budget_failed()), not the recording. */
void ft_budget_events(struct ft_budget *budget, const struct ft_event *events, size_t n,
		      uint64_t seq);
bool ft_budget_failed(const struct ft_budget *budget);

/* Whether anything will be deleted. Without limits the budget is an index (index.c). */
bool ft_budget_is_limited(const struct ft_budget *budget);
/* Failed from now on, with no memory in use. An index does that by itself when too many blocks
 * live, unless it was told to keep up. */
void ft_budget_give_up(struct ft_budget *budget);
void ft_budget_keep_up(struct ft_budget *budget);
bool ft_budget_keeps_up(const struct ft_budget *budget);
/* Delete what was written, which is true as far as it goes, so that it can be made anew. */
struct ft_error *ft_budget_forget(struct ft_budget *budget);

/* Whether the chunk at hand should end here; `event_bytes` of all chunks so far, it included. */
bool ft_budget_cut_due(const struct ft_budget *budget, uint64_t event_bytes);
/* Whether an event at `time_ns` comes so much later that what was before is to be cut off. */
bool ft_budget_gap_due(const struct ft_budget *budget, uint64_t time_ns);

/* All events so far are in whole chunks; the next chunk has the number `chunk_id`. */
struct ft_error *ft_budget_cut(struct ft_budget *budget, int64_t chunk_id, uint64_t event_bytes);

/* The live table as a keyframe, now; as ft_budget_cut(). */
struct ft_error *ft_budget_keyframe(struct ft_budget *budget, int64_t chunk_id);

/* Go on from another recording's budget, which has followed all its events and is then at its end:
 * the live table as a keyframe, and an account of it for roll-ups. Before the first event. */
struct ft_error *ft_budget_take_over(struct ft_budget *budget, struct ft_budget *from);

/* Before a commit: delete what is over the limits. `last_chunk`: the newest one in the file. */
struct ft_error *ft_budget_fold(struct ft_budget *budget, int64_t last_chunk);

/* In a transaction of its own, after that commit, unless it is tidy: one of merging some roll-ups,
 * thinning out a table, giving pages back. Each makes the log longer; together they would make it
 * longer than it may be. */
struct ft_error *ft_budget_is_tidy(struct ft_budget *budget, bool *ret);
struct ft_error *ft_budget_tidy(struct ft_budget *budget);

/* A transaction should not become larger than this, so that the log does not. UINT64_MAX: no limit.
 */
uint64_t ft_budget_commit_bytes(const struct ft_budget *budget);

/* No chunk should have more events than so: a small budget is to be kept too. */
size_t ft_budget_chunk_events(const struct ft_budget *budget);
/* A chunk of so many has been written. */
void ft_budget_written(struct ft_budget *budget, size_t n_events, uint64_t bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Follower: the live table and the accounts of an interval, beside a writer
 *
 * Sees each event once, in order, as the analyzer would (analyzer/engine/replay.c: the same rules
 * for what an event means, so that a replay from here on gives what one from the start gives). At a
 * cut the interval since the last one becomes a roll-up, and the live table can be written as a
 * keyframe.
 *
 * Memory: 69 to 82 bytes a live block, 200 a call stack that allocated. Knows no file.
 * Single-threaded.
 */
#ifndef FT_FOLLOW_H
#define FT_FOLLOW_H

#include <stdbool.h>

#include "fragtrace/event.h"
#include "fragtrace/rollup.h"
#include "ft_follow_table.h"
#include "ft_map.h"

struct ft_follow_account {
	uint32_t id, interval; /* of `value`: sums and extremes are of that interval */
	uint64_t touched_seq;  /* where that begins; of a free entry: the next one + 1 */
	uint64_t epoch;	       /* see struct site_account of the engine */
	uint64_t value[FT_ROLLUP_FIELDS];
	uint64_t live_variance;
};

/* What died in the interval and is older than it, by account and birth. Open addressing. */
struct ft_follow_cohort {
	uint64_t key; /* (number of the account + 1) << 32 | birth; 0: the slot is empty */
	uint64_t blocks, bytes;
};

struct ft_follow_cohorts {
	struct ft_follow_cohort *slots;
	size_t n_slots, n_used; /* a power of two, or 0; at most 3/4 of them */
};

struct ft_follow_accounts {
	uint32_t *index; /* by id: number of the account + 1 */
	size_t n_index;
	struct ft_follow_account *list;
	uint32_t n, capacity, first_free; /* number + 1 */
	uint32_t *touched;		  /* numbers of those that did something in the interval */
	uint32_t n_touched;
	struct ft_follow_cohorts cohorts;
};

struct ft_follow {
	uint64_t sample_bytes; /* 0: not sampled */
	struct ft_follow_table live;
	struct ft_follow_accounts sites, threads;
	uint64_t *last_address; /* by thread: its latest allocation, 0 once it freed that itself */
	size_t n_last;
	struct ft_map pairs; /* owner << 32 | freer -> bytes */

	struct ft_rollup now; /* totals of the interval; its arrays stay empty until a cut */
	uint32_t interval;
	uint64_t epoch;
	bool failed; /* out of memory: nothing of this can be used any more */
};

bool ft_follow_init(struct ft_follow *follow, uint64_t sample_bytes);
void ft_follow_deinit(struct ft_follow *follow);

/* Times are rounded as a chunk rounds them; `seq` is of the first one. */
void ft_follow_events(struct ft_follow *follow, const struct ft_event *events, size_t n,
		      uint64_t seq);

/* Whether no event from `seq` on is about the thread or a block of it, and no block of it lives;
 * its account is then of no use any more. */
bool ft_follow_thread_is_gone(const struct ft_follow *follow, uint32_t id, uint64_t seq);
void ft_follow_forget_thread(struct ft_follow *follow, uint32_t id);

/* The interval since the last cut as a roll-up, of new arrays; a new one begins. False: out of
 * memory. */
bool ft_follow_cut(struct ft_follow *follow, uint32_t next_shift, struct ft_rollup *ret);

/* What lives right after a cut, as a roll-up of no events, of new arrays. False: out of memory. */
bool ft_follow_carried(const struct ft_follow *follow, struct ft_rollup *ret);

/* The live blocks by time of birth: n_live numbers for ft_follow_birth(); free() them. NULL: out of
 * memory. */
struct ft_follow_order {
	uint64_t seq;
	uint32_t number;
};
struct ft_follow_order *ft_follow_live(const struct ft_follow *follow);
/* A live block as the event of its birth, as a keyframe has it. */
struct ft_event ft_follow_birth(const struct ft_follow *follow, uint32_t number);

/* For a heap that begins with what another recording had: these blocks are live, in several calls;
 * after the last one, events count from `next_seq` on. */
void ft_follow_seed(struct ft_follow *follow, const struct ft_event *births, size_t n);
void ft_follow_seeded(struct ft_follow *follow, uint64_t next_seq);

#endif

/* SPDX-License-Identifier: MIT */
/* Threads of a roll-up that become one. Internal to the store. */
#ifndef FT_ROLLUP_THREADS_H
#define FT_ROLLUP_THREADS_H

#include "ft_map.h"
#include "ft_rollup.h"

/* Which thread stands for others, and what these had at the end of the roll-ups so far. */
struct ft_thread_fold {
	struct ft_map into;	     /* thread -> the one that stands for it; that one for itself */
	struct ft_map blocks, bytes; /* of that: live, by roll-ups from the first one on */
};

void ft_thread_fold_init(struct ft_thread_fold *fold);
void ft_thread_fold_deinit(struct ft_thread_fold *fold);

/*
 * Accounts of these threads, and what they freed or had freed, become those of the thread that
 * stands for them. Lowest live bytes are those of one thread after another, as the analyzer has
 * them of threads that are alike. Called for all roll-ups, in their order. *changed: the roll-up
 * has become another. False: out of memory.
 */
bool ft_rollup_fold_threads(struct ft_rollup *rollup, struct ft_thread_fold *fold, bool *changed);

#endif

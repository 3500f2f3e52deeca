/* SPDX-License-Identifier: MIT */
/* A follower's inside, shared by its files: events (follow.c), and what it gives away
 * (follow_cut.c). */
#ifndef FOLLOW_IMPL_H
#define FOLLOW_IMPL_H

#include "ft_follow.h"

/* The account of an id, which is about to change. NULL: out of memory. */
struct ft_follow_account *ft_follow_touch(struct ft_follow *follow,
					  struct ft_follow_accounts *accounts, uint32_t id);

/* Empty, with a part of the memory. */
void ft_follow_cohorts_clear(struct ft_follow_cohorts *cohorts);

/* The next interval begins as this one ends. */
void ft_follow_begin_interval(struct ft_follow *follow, uint32_t shift);

#endif

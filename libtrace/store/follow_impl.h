/* SPDX-License-Identifier: MIT */
/* A follower's inside, shared by its files: events (follow.c), and what it gives away
 * (follow_cut.c). */
#ifndef FOLLOW_IMPL_H
#define FOLLOW_IMPL_H

#include "ft_follow.h"

/* The account of an id, which is about to change, when it is new to the interval or to the peak. */
struct ft_follow_account *ft_follow_renew(struct ft_follow *follow,
					  struct ft_follow_accounts *accounts, uint32_t id);

/* The account of an id, which is about to change. NULL: out of memory. */
static inline struct ft_follow_account *ft_follow_touch(struct ft_follow *follow,
							struct ft_follow_accounts *accounts,
							uint32_t id)
{
	if (__builtin_expect(id < accounts->n_index && accounts->index[id], 1)) {
		struct ft_follow_account *account = &accounts->list[accounts->index[id] - 1];

		if (__builtin_expect(account->interval == follow->interval &&
					     account->epoch == follow->epoch,
				     1))
			return account;
	}
	return ft_follow_renew(follow, accounts, id);
}

/* Empty, with a part of the memory. */
void ft_follow_cohorts_clear(struct ft_follow_cohorts *cohorts);

/* The next interval begins as this one ends. */
void ft_follow_begin_interval(struct ft_follow *follow, uint32_t shift);

#endif

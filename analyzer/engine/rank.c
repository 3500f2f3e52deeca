/* SPDX-License-Identifier: MIT */
/* Ranking sites: see fa_engine.h. */
#include <stdlib.h>

#include "fa_engine.h"

static int compare_ranked(const void *a, const void *b)
{
	const struct fa_ranked *x = a, *y = b;

	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

void fa_rank(struct fa_ranked *list, size_t n)
{
	qsort(list, n, sizeof(*list), compare_ranked);
}

struct ft_error *fa_rank_stacks(struct fa_ranked *list, size_t n, size_t max, uint32_t **ret,
				size_t *n_ret)
{
	size_t n_kept = n < max ? n : max;
	uint32_t *stacks = malloc((n_kept + 1) * sizeof(*stacks));

	if (!stacks)
		return &ft_enomem;
	fa_rank(list, n);
	for (size_t i = 0; i < n_kept; i++)
		stacks[i] = list[i].stack;
	*ret = stacks;
	*n_ret = n_kept;
	return NULL;
}

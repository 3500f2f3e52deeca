/* SPDX-License-Identifier: MIT */
/*
 * Sites that pin together: pairs, and sets whose removal empties most
 *
 * v(T) is the free bytes on pages whose sites are all in T. It is supermodular: a site may be worth
 * nothing alone and much beside another, so that growing a set greedily has no guarantee. Sets are
 * therefore grown from nothing and from each of the heaviest pairs, and the best of each size
 * is kept.
 */
#include <stdlib.h>
#include <string.h>

#include "frag.h"
#include "ft_cleanup.h"

/* Pages with the same set of sites, as bits of places in the table of sites. */
struct group {
	uint32_t mask;
	uint64_t bytes, pages;
};

struct sets {
	const struct frag_moment *moment;
	uint32_t *rank;	     /* by stack: place in the table + 1, of the first FRAG_SET_SITES */
	struct ft_map masks; /* mask -> index of groups */
	struct group *groups;
	size_t n, room;
	uint64_t pair_bytes[FRAG_SET_SITES][FRAG_SET_SITES]; /* sum of F / |S| */
	uint64_t pair_pages[FRAG_SET_SITES][FRAG_SET_SITES];
	bool failed;
};

static void group_add(struct sets *sets, uint32_t mask, uint64_t bytes, uint64_t pages)
{
	bool created;
	uint64_t *index = ft_map_put(&sets->masks, mask, &created);

	if (index && created && sets->n == sets->room) {
		size_t room = sets->room ? sets->room * 2 : 256;
		struct group *groups = realloc(sets->groups, room * sizeof(*groups));

		if (!groups)
			index = NULL;
		else {
			sets->groups = groups;
			sets->room = room;
		}
	}
	if (!index) {
		sets->failed = true;
		return;
	}
	if (created) {
		*index = sets->n;
		sets->groups[sets->n++] = (struct group){.mask = mask};
	}
	sets->groups[*index].bytes += bytes;
	sets->groups[*index].pages += pages;
}

static void add_page(void *ctx, const struct fa_page_view *page)
{
	struct sets *sets = ctx;
	uint32_t mask = 0;
	bool others = false;

	if (page->absent || sets->failed)
		return;
	for (uint32_t i = 0; i < page->n_sites; i++) {
		uint32_t rank = sets->rank[page->sites[i].site];

		if (rank)
			mask |= UINT32_C(1) << (rank - 1);
		else
			others = true;
	}
	for (uint32_t a = mask; page->free_bytes && a; a &= a - 1)
		for (uint32_t b = a & (a - 1); b; b &= b - 1) {
			unsigned i = (unsigned)__builtin_ctz(a), k = (unsigned)__builtin_ctz(b);

			sets->pair_bytes[i][k] += page->free_bytes / page->n_sites;
			sets->pair_pages[i][k]++;
		}
	if (!others)
		group_add(sets, mask, page->free_bytes, 1);
}

static void add_span(void *ctx, const struct fa_page_span *span)
{
	struct sets *sets = ctx;
	uint32_t rank = sets->rank[span->site];

	if (rank && span->n_pages > span->n_absent)
		group_add(sets, UINT32_C(1) << (rank - 1), 0, span->n_pages - span->n_absent);
}

static struct group value_of(const struct sets *sets, uint32_t mask)
{
	struct group sum = {.mask = mask};

	for (size_t i = 0; i < sets->n; i++)
		if (!(sets->groups[i].mask & ~mask)) {
			sum.bytes += sets->groups[i].bytes;
			sum.pages += sets->groups[i].pages;
		}
	return sum;
}

/* Grow from `mask`, keeping the best of each size. */
static void grow(const struct sets *sets, uint32_t mask, struct group best[FRAG_SET_MAX + 1])
{
	for (unsigned size = (unsigned)__builtin_popcount(mask);; size++) {
		struct group now = value_of(sets, mask), next = {0};

		if (size && now.bytes > best[size].bytes)
			best[size] = now;
		if (size == FRAG_SET_MAX)
			return;
		for (uint32_t s = 0; s < sets->moment->n_sites && s < FRAG_SET_SITES; s++) {
			struct group with;

			if (mask >> s & 1)
				continue;
			with = value_of(sets, mask | UINT32_C(1) << s);
			if (!next.mask || with.bytes > next.bytes)
				next = with;
		}
		if (!next.mask)
			return;
		mask = next.mask;
	}
}

static void keep_pairs(const struct sets *sets, struct frag_moment *moment)
{
	for (uint32_t a = 0; a < FRAG_SET_SITES; a++)
		for (uint32_t b = a + 1; b < FRAG_SET_SITES; b++) {
			size_t at = moment->n_pairs;

			if (!sets->pair_bytes[a][b])
				continue;
			while (at && moment->pairs[at - 1].bytes < sets->pair_bytes[a][b])
				at--;
			if (at == FRAG_PAIRS)
				continue;
			if (moment->n_pairs < FRAG_PAIRS)
				moment->n_pairs++;
			memmove(moment->pairs + at + 1, moment->pairs + at,
				(moment->n_pairs - at - 1) * sizeof(*moment->pairs));
			moment->pairs[at] = (struct frag_pair){.a = a,
							       .b = b,
							       .bytes = sets->pair_bytes[a][b],
							       .pages = sets->pair_pages[a][b]};
		}
}

struct ft_error *frag_find_sets(struct frag *frag)
{
	struct frag_moment *moment = &frag->moment;
	struct group best[FRAG_SET_MAX + 1] = {{0}};
	ft_auto_free struct sets *sets = calloc(1, sizeof(*sets));

	if (!sets)
		return &ft_enomem;
	sets->moment = moment;
	sets->rank = calloc(frag->n_stacks, sizeof(*sets->rank));
	if (!sets->rank)
		return &ft_enomem;
	for (uint32_t i = 0; i < moment->n_sites && i < FRAG_SET_SITES; i++)
		sets->rank[moment->sites[i].stack] = i + 1;
	ft_map_init(&sets->masks);
	fa_pagemap_visit(&frag->layout->pages, add_page, sets);
	fa_pagemap_visit_spans(&frag->layout->pages, add_span, sets);
	if (!sets->failed) {
		keep_pairs(sets, moment);
		grow(sets, 0, best);
		for (size_t i = 0; i < moment->n_pairs; i++)
			grow(sets,
			     UINT32_C(1) << moment->pairs[i].a | UINT32_C(1) << moment->pairs[i].b,
			     best);
	}
	for (unsigned size = 1; size <= FRAG_SET_MAX; size++) {
		struct frag_set *set = &moment->sets[moment->n_sets];

		/* A larger set has to be worth more. */
		if (!best[size].bytes || (moment->n_sets && best[size].bytes <= set[-1].bytes))
			continue;
		*set = (struct frag_set){.bytes = best[size].bytes, .pages = best[size].pages};
		for (uint32_t m = best[size].mask; m; m &= m - 1) {
			uint32_t at = (uint32_t)__builtin_ctz(m);

			set->sites[set->n++] = at;
			set->live += moment->sites[at].extent_bytes;
		}
		moment->n_sets++;
	}
	for (size_t i = 0; i < moment->n_pairs; i++) {
		moment->pairs[i].a = moment->sites[moment->pairs[i].a].stack;
		moment->pairs[i].b = moment->sites[moment->pairs[i].b].stack;
	}
	ft_map_deinit(&sets->masks);
	free(sets->groups);
	free(sets->rank);
	return sets->failed ? &ft_enomem : NULL;
}

/* SPDX-License-Identifier: MIT */
/* What a follower gives away: intervals as roll-ups, the live table as births. See ft_follow.h. */
#include <stdlib.h>
#include <string.h>

#include "follow_impl.h"
#include "ft_rollup.h"

/* ---- cuts -------------------------------------------------------------------------------------
 */

static int compare_ids(const void *a, const void *b)
{
	const struct ft_rollup_account *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* While cohorts are sorted their `birth` has the number of their account above it. */
static bool cut_cohorts(const struct ft_follow_accounts *from, struct ft_rollup_accounts *to)
{
	size_t n = from->cohorts.n_used;

	to->cohorts = calloc(n + 1, sizeof(*to->cohorts));
	if (!to->cohorts)
		return false;
	for (size_t i = 0; i < from->cohorts.n_slots; i++) {
		const struct ft_follow_cohort *cohort = &from->cohorts.slots[i];

		if (!cohort->key)
			continue;

		uint64_t id = from->list[(cohort->key >> 32) - 1].id;

		to->cohorts[to->n_cohorts++] =
			(struct ft_rollup_cohort){.birth = id << 32 | (cohort->key & UINT32_MAX),
						  .blocks = cohort->blocks,
						  .bytes = cohort->bytes};
	}
	qsort(to->cohorts, n, sizeof(*to->cohorts), ft_rollup_compare_cohorts);
	return true;
}

static bool cut_accounts(const struct ft_follow_accounts *from, struct ft_rollup_accounts *to)
{
	to->accounts = calloc((size_t)from->n_touched + 1, sizeof(*to->accounts));
	if (!to->accounts || !cut_cohorts(from, to))
		return false;
	for (uint32_t i = 0; i < from->n_touched; i++) {
		const struct ft_follow_account *account = &from->list[from->touched[i]];

		to->accounts[i].id = account->id;
		memcpy(to->accounts[i].value, account->value, sizeof(account->value));
	}
	to->n = from->n_touched;
	qsort(to->accounts, to->n, sizeof(*to->accounts), compare_ids);
	for (uint32_t i = 0, c = 0; i < to->n; i++) {
		struct ft_rollup_account *account = &to->accounts[i];

		account->first_cohort = c;
		for (; c < to->n_cohorts && to->cohorts[c].birth >> 32 == account->id; c++)
			to->cohorts[c].birth &= UINT32_MAX;
		account->n_cohorts = c - account->first_cohort;
	}
	return true;
}

/* Values at the peak of those that were not touched since it, before they are written. */
static void settle_peaks(struct ft_follow *follow, struct ft_follow_accounts *accounts)
{
	for (uint32_t i = 0; i < accounts->n_touched; i++)
		ft_follow_touch(follow, accounts, accounts->list[accounts->touched[i]].id);
}

static bool cut_pairs(const struct ft_follow *follow, struct ft_rollup *to)
{
	uint64_t key, bytes;
	size_t cursor = 0;

	to->pairs = calloc(ft_map_count(&follow->pairs) + 1, sizeof(*to->pairs));
	if (!to->pairs)
		return false;
	while (ft_map_next(&follow->pairs, &cursor, &key, &bytes))
		to->pairs[to->n_pairs++] = (struct ft_rollup_pair){
			.owner = (uint32_t)(key >> 32), .freer = (uint32_t)key, .bytes = bytes};
	qsort(to->pairs, to->n_pairs, sizeof(*to->pairs), ft_rollup_compare_pairs);
	return true;
}

void ft_follow_begin_interval(struct ft_follow *follow, uint32_t shift)
{
	struct ft_rollup *now = &follow->now;

	*now = (struct ft_rollup){.cohort_shift = shift,
				  .first_ns = now->last_ns,
				  .last_ns = now->last_ns,
				  .first_seq = now->first_seq + now->n_events,
				  .low_bytes = now->live_bytes,
				  .peak_bytes = now->live_bytes,
				  .peak_variance = now->live_variance,
				  .peak_ns = now->last_ns,
				  .peak_seq = now->first_seq + now->n_events,
				  .live_blocks = now->live_blocks,
				  .live_bytes = now->live_bytes,
				  .live_usable = now->live_usable,
				  .live_variance = now->live_variance};
	follow->interval++;
	follow->epoch++;
	follow->sites.n_touched = follow->threads.n_touched = 0;
	ft_follow_cohorts_clear(&follow->sites.cohorts);
	ft_follow_cohorts_clear(&follow->threads.cohorts);
	ft_map_deinit(&follow->pairs);
	ft_map_init(&follow->pairs);
}

bool ft_follow_cut(struct ft_follow *follow, uint32_t next_shift, struct ft_rollup *ret)
{
	if (follow->failed)
		return false;
	settle_peaks(follow, &follow->sites);
	settle_peaks(follow, &follow->threads);
	*ret = follow->now;
	if (!cut_accounts(&follow->sites, &ret->sites) ||
	    !cut_accounts(&follow->threads, &ret->threads) || !cut_pairs(follow, ret)) {
		follow->failed = true;
		free(ret->sites.accounts);
		free(ret->sites.cohorts);
		free(ret->threads.accounts);
		free(ret->threads.cohorts);
		free(ret->pairs);
		return false;
	}
	ft_follow_begin_interval(follow, next_shift);
	return true;
}

/* As accounts that were touched and did nothing. */
static bool carried_accounts(const struct ft_follow_accounts *from, struct ft_rollup_accounts *to)
{
	to->accounts = calloc((size_t)from->n + 1, sizeof(*to->accounts));
	to->cohorts = calloc(1, sizeof(*to->cohorts));
	if (!to->accounts || !to->cohorts)
		return false;
	for (uint32_t i = 0; i < from->n; i++) {
		const struct ft_follow_account *account = &from->list[i];
		uint64_t blocks = account->value[FT_ROLLUP_LIVE_BLOCKS];
		uint64_t bytes = account->value[FT_ROLLUP_LIVE_BYTES];
		struct ft_rollup_account *row = &to->accounts[to->n];

		if (!blocks && !bytes)
			continue;
		to->n++;
		row->id = account->id;
		row->value[FT_ROLLUP_LIVE_BLOCKS] = row->value[FT_ROLLUP_PEAK_BLOCKS] = blocks;
		row->value[FT_ROLLUP_LIVE_BYTES] = row->value[FT_ROLLUP_LOW_BYTES] =
			row->value[FT_ROLLUP_PEAK_BYTES] = bytes;
		row->value[FT_ROLLUP_BORN_VARIANCE] = row->value[FT_ROLLUP_PEAK_VARIANCE] =
			account->live_variance;
	}
	qsort(to->accounts, to->n, sizeof(*to->accounts), compare_ids);
	return true;
}

bool ft_follow_carried(const struct ft_follow *follow, struct ft_rollup *ret)
{
	bool ok;

	if (follow->failed)
		return false;
	*ret = follow->now;
	ok = carried_accounts(&follow->sites, &ret->sites);
	ok = carried_accounts(&follow->threads, &ret->threads) && ok;
	ret->pairs = calloc(1, sizeof(*ret->pairs));
	if (ok && ret->pairs)
		return true;
	free(ret->sites.accounts);
	free(ret->sites.cohorts);
	free(ret->threads.accounts);
	free(ret->threads.cohorts);
	free(ret->pairs);
	return false;
}

/* ---- keyframes --------------------------------------------------------------------------------
 */

static int compare_births(const void *a, const void *b)
{
	const struct ft_follow_order *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

struct ft_follow_order *ft_follow_live(const struct ft_follow *follow)
{
	struct ft_follow_order *order = malloc((follow->live.n_live + 1) * sizeof(*order));
	size_t n = 0;

	for (uint32_t i = 0; order && i < follow->live.n_blocks; i++)
		if (follow->live.blocks[i].address)
			order[n++] = (struct ft_follow_order){
				.seq = follow->live.blocks[i].born_seq, .number = i};
	if (order)
		qsort(order, n, sizeof(*order), compare_births);
	return order;
}

struct ft_event ft_follow_birth(const struct ft_follow *follow, uint32_t number)
{
	const struct ft_follow_block *block = &follow->live.blocks[number];
	bool latest = block->thread < follow->n_last &&
		      follow->last_address[block->thread] == block->address;

	return (struct ft_event){.seq = block->born_seq,
				 .time_ns = block->born_ns,
				 .address = block->address,
				 .size = block->size,
				 .usable = block->usable,
				 .stack = block->stack,
				 .thread = block->thread,
				 .kind = FT_EVENT_ALLOC,
				 .api = block->api,
				 .flags =
					 (uint8_t)(block->flags | (latest ? FT_EVENT_F_LATEST : 0)),
				 .align_log2 = block->align_log2};
}

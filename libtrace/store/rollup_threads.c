/* SPDX-License-Identifier: MIT */
/* Threads of a roll-up that become one: see ft_rollup_threads.h. */
#include "ft_rollup_threads.h"

#include <stdlib.h>
#include <string.h>

void ft_thread_fold_init(struct ft_thread_fold *fold)
{
	ft_map_init(&fold->into);
	ft_map_init(&fold->blocks);
	ft_map_init(&fold->bytes);
}

void ft_thread_fold_deinit(struct ft_thread_fold *fold)
{
	ft_map_deinit(&fold->into);
	ft_map_deinit(&fold->blocks);
	ft_map_deinit(&fold->bytes);
}

static uint32_t stands_for(const struct ft_thread_fold *fold, uint32_t id)
{
	const uint64_t *into = ft_map_get(&fold->into, id);

	return into ? (uint32_t)*into : id;
}

/* Several accounts as one: first sums of what changed. */
struct sum {
	uint64_t value[FT_ROLLUP_FIELDS];
	uint64_t low; /* of live bytes, to what they were at the start of the interval: not positive
		       */
};

static uint64_t change(const uint64_t *value, int born, int freed)
{
	return value[born] - value[freed];
}

static void add(struct sum *sum, const uint64_t *value)
{
	uint64_t before = change(sum->value, FT_ROLLUP_BORN_BYTES, FT_ROLLUP_FREED_BYTES);
	uint64_t start = value[FT_ROLLUP_LIVE_BYTES] -
			 change(value, FT_ROLLUP_BORN_BYTES, FT_ROLLUP_FREED_BYTES);
	uint64_t low = before + value[FT_ROLLUP_LOW_BYTES] - start;

	if ((int64_t)low < (int64_t)sum->low)
		sum->low = low;
	for (int f = 0; f < FT_ROLLUP_FIELDS; f++)
		sum->value[f] += value[f];
}

/* What was live when the interval began, by the ones before it; `carried`: this one says it. */
static bool settle(struct ft_thread_fold *fold, struct sum *sum, uint32_t id, bool carried)
{
	uint64_t *blocks = ft_map_put(&fold->blocks, id, NULL);
	uint64_t *bytes = ft_map_put(&fold->bytes, id, NULL);

	if (!blocks || !bytes)
		return false;
	if (carried) {
		*blocks = sum->value[FT_ROLLUP_LIVE_BLOCKS];
		*bytes = sum->value[FT_ROLLUP_LIVE_BYTES];
		return true;
	}
	sum->value[FT_ROLLUP_LOW_BYTES] = *bytes + sum->low;
	*blocks += change(sum->value, FT_ROLLUP_BORN_BLOCKS, FT_ROLLUP_FREED_BLOCKS);
	*bytes += change(sum->value, FT_ROLLUP_BORN_BYTES, FT_ROLLUP_FREED_BYTES);
	sum->value[FT_ROLLUP_LIVE_BLOCKS] = *blocks;
	sum->value[FT_ROLLUP_LIVE_BYTES] = *bytes;
	return true;
}

/* cohorts[first..n) by birth, those of one birth as one. Returns how many are left. */
static uint32_t gather_cohorts(struct ft_rollup_cohort *cohorts, uint32_t first, uint32_t n)
{
	uint32_t end = first;

	if (n > first)
		qsort(cohorts + first, n - first, sizeof(*cohorts), ft_rollup_compare_cohorts);
	for (uint32_t i = first; i < n; i++) {
		if (end > first && cohorts[end - 1].birth == cohorts[i].birth) {
			cohorts[end - 1].blocks += cohorts[i].blocks;
			cohorts[end - 1].bytes += cohorts[i].bytes;
		} else {
			cohorts[end++] = cohorts[i];
		}
	}
	return end;
}

/* An account by the thread that will stand for it. */
struct place {
	uint32_t into, index;
};

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->into != y->into)
		return x->into < y->into ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static bool fold_accounts(const struct ft_rollup_accounts *from, struct ft_thread_fold *fold,
			  bool carried, struct ft_rollup_accounts *to)
{
	struct place *places = malloc((from->n + (size_t)1) * sizeof(*places));
	bool ok = true;

	to->accounts = calloc(from->n + (size_t)1, sizeof(*to->accounts));
	to->cohorts = calloc(from->n_cohorts + (size_t)1, sizeof(*to->cohorts));
	for (uint32_t i = 0; places && i < from->n; i++)
		places[i] = (struct place){stands_for(fold, from->accounts[i].id), i};
	ok = places && to->accounts && to->cohorts;
	if (ok)
		qsort(places, from->n, sizeof(*places), compare_places);
	for (uint32_t i = 0; ok && i < from->n;) {
		struct ft_rollup_account *account = &to->accounts[to->n++];
		struct sum sum = {0};
		uint32_t n = to->n_cohorts;

		account->id = places[i].into;
		account->first_cohort = n;
		for (; i < from->n && places[i].into == account->id; i++) {
			const struct ft_rollup_account *a = &from->accounts[places[i].index];

			add(&sum, a->value);
			memcpy(to->cohorts + n, from->cohorts + a->first_cohort,
			       a->n_cohorts * sizeof(*to->cohorts));
			n += a->n_cohorts;
		}
		if (ft_map_get(&fold->into, account->id)) {
			ok = settle(fold, &sum, account->id, carried);
			n = gather_cohorts(to->cohorts, account->first_cohort, n);
		}
		memcpy(account->value, sum.value, sizeof(account->value));
		account->n_cohorts = n - account->first_cohort;
		to->n_cohorts = n;
	}
	free(places);
	return ok;
}

static void fold_pairs(struct ft_rollup *rollup, const struct ft_thread_fold *fold)
{
	struct ft_rollup_pair *pairs = rollup->pairs;
	uint32_t n = 0;

	for (uint32_t i = 0; i < rollup->n_pairs; i++) {
		pairs[i].owner = stands_for(fold, pairs[i].owner);
		pairs[i].freer = stands_for(fold, pairs[i].freer);
	}
	if (rollup->n_pairs)
		qsort(pairs, rollup->n_pairs, sizeof(*pairs), ft_rollup_compare_pairs);
	for (uint32_t i = 0; i < rollup->n_pairs; i++) {
		if (n && !ft_rollup_compare_pairs(&pairs[n - 1], &pairs[i]))
			pairs[n - 1].bytes += pairs[i].bytes;
		else
			pairs[n++] = pairs[i];
	}
	rollup->n_pairs = n;
}

static bool is_concerned(const struct ft_rollup *rollup, const struct ft_thread_fold *fold)
{
	for (uint32_t i = 0; i < rollup->threads.n; i++)
		if (ft_map_get(&fold->into, rollup->threads.accounts[i].id))
			return true;
	for (uint32_t i = 0; i < rollup->n_pairs; i++)
		if (ft_map_get(&fold->into, rollup->pairs[i].owner) ||
		    ft_map_get(&fold->into, rollup->pairs[i].freer))
			return true;
	return false;
}

bool ft_rollup_fold_threads(struct ft_rollup *rollup, struct ft_thread_fold *fold, bool *changed)
{
	struct ft_rollup_accounts folded = {0};

	*changed = is_concerned(rollup, fold);
	if (!*changed)
		return true;
	if (!fold_accounts(&rollup->threads, fold, !rollup->n_events, &folded)) {
		free(folded.accounts);
		free(folded.cohorts);
		return false;
	}
	free(rollup->threads.accounts);
	free(rollup->threads.cohorts);
	rollup->threads = folded;
	fold_pairs(rollup, fold);
	return true;
}

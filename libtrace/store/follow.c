/* SPDX-License-Identifier: MIT */
/* Follower: see ft_follow.h. */
#include "ft_follow.h"

#include <stdlib.h>
#include <string.h>

#include "ft_chunk.h"
#include "ft_weight.h"

enum { FIRST_BITS = 10, PREFETCH_AHEAD = 16 };

bool ft_follow_init(struct ft_follow *follow, uint64_t sample_bytes)
{
	*follow = (struct ft_follow){.sample_bytes = sample_bytes, .bits = FIRST_BITS};
	for (int i = 0; i < 2; i++) {
		ft_map_init(&follow->sites.cohorts[i]);
		ft_map_init(&follow->threads.cohorts[i]);
	}
	ft_map_init(&follow->pairs);
	follow->interval = 1;
	follow->epoch = 1;
	follow->now.cohort_shift = FT_TICK_SHIFT;
	follow->slots = calloc((size_t)1 << follow->bits, sizeof(*follow->slots));
	return follow->slots != NULL;
}

static void accounts_deinit(struct ft_follow_accounts *accounts)
{
	free(accounts->index);
	free(accounts->list);
	free(accounts->touched);
	for (int i = 0; i < 2; i++)
		ft_map_deinit(&accounts->cohorts[i]);
}

void ft_follow_deinit(struct ft_follow *follow)
{
	free(follow->slots);
	free(follow->blocks);
	free(follow->last_address);
	accounts_deinit(&follow->sites);
	accounts_deinit(&follow->threads);
	ft_map_deinit(&follow->pairs);
	*follow = (struct ft_follow){0};
}

/* ---- live blocks ------------------------------------------------------------------------------
 */

static inline size_t home(const struct ft_follow *follow, uint64_t address)
{
	return ft_hash_u64(address) >> (64 - follow->bits);
}

static inline size_t probe(const struct ft_follow *follow, uint64_t address)
{
	size_t mask = ((size_t)1 << follow->bits) - 1, i = home(follow, address);

	while (follow->slots[i] && follow->blocks[follow->slots[i] - 1].address != address)
		i = (i + 1) & mask;
	return i;
}

static bool grow_slots(struct ft_follow *follow)
{
	uint32_t *old = follow->slots;
	size_t n = (size_t)1 << follow->bits;

	if (follow->bits == 32)
		return false;
	follow->slots = calloc(n * 2, sizeof(*follow->slots));
	if (!follow->slots) {
		follow->slots = old;
		return false;
	}
	follow->bits++;
	for (size_t i = 0; i < n; i++)
		if (old[i])
			follow->slots[probe(follow, follow->blocks[old[i] - 1].address)] = old[i];
	free(old);
	return true;
}

/* Number + 1 of a block to use; 0: out of memory. */
static uint32_t take_block(struct ft_follow *follow)
{
	uint32_t number = follow->first_free;

	if (number) {
		follow->first_free = follow->blocks[number - 1].stack;
		return number;
	}
	if (follow->n_blocks == follow->capacity) {
		uint64_t capacity = follow->capacity ? follow->capacity * UINT64_C(3) / 2 : 1024;
		struct ft_follow_block *blocks =
			capacity <= UINT32_MAX / 2
				? realloc(follow->blocks, capacity * sizeof(*blocks))
				: NULL;

		if (!blocks)
			return 0;
		follow->blocks = blocks;
		follow->capacity = (uint32_t)capacity;
	}
	return ++follow->n_blocks;
}

/* `address` is not live. Its block, to be filled; NULL: out of memory. */
static struct ft_follow_block *insert(struct ft_follow *follow, uint64_t address)
{
	if ((follow->n_live + 1) * 2 > (size_t)1 << follow->bits && !grow_slots(follow))
		return NULL;

	uint32_t number = take_block(follow);

	if (!number)
		return NULL;
	follow->blocks[number - 1].address = address;
	follow->slots[probe(follow, address)] = number;
	follow->n_live++;
	return &follow->blocks[number - 1];
}

static bool take(struct ft_follow *follow, uint64_t address, struct ft_follow_block *ret)
{
	size_t mask = ((size_t)1 << follow->bits) - 1, gap = probe(follow, address);
	uint32_t number = follow->slots[gap];

	if (!number)
		return false;
	*ret = follow->blocks[number - 1];
	/* Close the gap: move back each follower whose home is not behind it (Knuth 6.4, R). */
	for (size_t i = (gap + 1) & mask; follow->slots[i]; i = (i + 1) & mask) {
		size_t at = home(follow, follow->blocks[follow->slots[i] - 1].address);

		if (((i - at) & mask) >= ((i - gap) & mask)) {
			follow->slots[gap] = follow->slots[i];
			gap = i;
		}
	}
	follow->slots[gap] = 0;
	follow->blocks[number - 1].address = 0;
	follow->blocks[number - 1].stack = follow->first_free;
	follow->first_free = number;
	follow->n_live--;
	return true;
}

/* ---- accounts ---------------------------------------------------------------------------------
 */

/* What a block counts for: the engine's fa_block.bytes and .blocks, and their variance. */
struct share {
	uint64_t bytes, blocks, usable, variance;
};

static struct share share_of(const struct ft_follow *follow, const struct ft_follow_block *block)
{
	uint64_t usable = block->usable > block->size ? block->usable : block->size;

	if (!follow->sample_bytes)
		return (struct share){.bytes = block->size, .blocks = 1, .usable = usable};

	struct ft_weight weight = ft_weight_of(block->size, follow->sample_bytes);

	return (struct share){.bytes = weight.bytes,
			      .blocks = ft_weight_round(&weight, block->born_seq),
			      .usable = ft_weight_scale(&weight, usable),
			      .variance = weight.variance};
}

static bool index_grow(struct ft_follow_accounts *accounts, uint32_t id)
{
	size_t n = accounts->n_index ? accounts->n_index : 1024;
	uint32_t *index;

	while (n <= id)
		n *= 2;
	index = realloc(accounts->index, n * sizeof(*index));
	if (!index)
		return false;
	memset(index + accounts->n_index, 0, (n - accounts->n_index) * sizeof(*index));
	accounts->index = index;
	accounts->n_index = n;
	return true;
}

static bool list_grow(struct ft_follow_accounts *accounts)
{
	uint32_t capacity = accounts->capacity ? accounts->capacity * 2 : 256;
	struct ft_follow_account *list = realloc(accounts->list, capacity * sizeof(*list));

	if (list)
		accounts->list = list;

	uint32_t *touched = realloc(accounts->touched, capacity * sizeof(*touched));

	if (touched)
		accounts->touched = touched;
	if (!list || !touched)
		return false;
	accounts->capacity = capacity;
	return true;
}

/* The account of an id, which is about to change. NULL: out of memory. */
static struct ft_follow_account *touch(struct ft_follow *follow,
				       struct ft_follow_accounts *accounts, uint32_t id)
{
	if (__builtin_expect(id >= accounts->n_index, 0) && !index_grow(accounts, id))
		return NULL;
	if (__builtin_expect(!accounts->index[id], 0)) {
		if (accounts->n == accounts->capacity && !list_grow(accounts))
			return NULL;
		accounts->list[accounts->n] = (struct ft_follow_account){.id = id};
		accounts->index[id] = ++accounts->n;
	}

	uint32_t number = accounts->index[id] - 1;
	struct ft_follow_account *account = &accounts->list[number];

	if (account->interval != follow->interval) {
		uint64_t blocks = account->value[FT_ROLLUP_LIVE_BLOCKS];
		uint64_t bytes = account->value[FT_ROLLUP_LIVE_BYTES];

		account->interval = follow->interval;
		memset(account->value, 0, sizeof(account->value));
		account->value[FT_ROLLUP_LIVE_BLOCKS] = blocks;
		account->value[FT_ROLLUP_LIVE_BYTES] = bytes;
		account->value[FT_ROLLUP_LOW_BYTES] = bytes;
		accounts->touched[accounts->n_touched++] = number;
	}
	if (account->epoch != follow->epoch) {
		account->epoch = follow->epoch;
		account->value[FT_ROLLUP_PEAK_BLOCKS] = account->value[FT_ROLLUP_LIVE_BLOCKS];
		account->value[FT_ROLLUP_PEAK_BYTES] = account->value[FT_ROLLUP_LIVE_BYTES];
		account->value[FT_ROLLUP_PEAK_VARIANCE] = account->live_variance;
	}
	return account;
}

static void count_born(struct ft_follow_account *account, const struct share *share)
{
	account->value[FT_ROLLUP_BORN_BLOCKS] += share->blocks;
	account->value[FT_ROLLUP_BORN_BYTES] += share->bytes;
	account->value[FT_ROLLUP_LIVE_BLOCKS] += share->blocks;
	account->value[FT_ROLLUP_LIVE_BYTES] += share->bytes;
	account->value[FT_ROLLUP_BORN_VARIANCE] += share->variance;
	account->value[FT_ROLLUP_SAMPLES] += share->variance != 0;
	account->live_variance += share->variance;
}

static void count_died(struct ft_follow_account *account, const struct share *share)
{
	account->value[FT_ROLLUP_FREED_BLOCKS] += share->blocks;
	account->value[FT_ROLLUP_FREED_BYTES] += share->bytes;
	account->value[FT_ROLLUP_LIVE_BLOCKS] -= share->blocks;
	account->value[FT_ROLLUP_LIVE_BYTES] -= share->bytes;
	account->value[FT_ROLLUP_FREED_VARIANCE] += share->variance;
	account->live_variance -= share->variance;
}

static void count_low(struct ft_follow_account *account)
{
	if (account->value[FT_ROLLUP_LIVE_BYTES] < account->value[FT_ROLLUP_LOW_BYTES])
		account->value[FT_ROLLUP_LOW_BYTES] = account->value[FT_ROLLUP_LIVE_BYTES];
}

/* A death of a block from before the interval, by its birth. */
static bool count_cohort(struct ft_follow *follow, struct ft_follow_accounts *accounts,
			 const struct ft_follow_account *account,
			 const struct ft_follow_block *block, const struct share *share)
{
	uint64_t birth = block->born_ns >> follow->now.cohort_shift;
	uint64_t key = (uint64_t)(account - accounts->list) << 32 | birth;
	uint64_t *blocks = ft_map_put(&accounts->cohorts[0], key, NULL);
	uint64_t *bytes = ft_map_put(&accounts->cohorts[1], key, NULL);

	if (!blocks || !bytes)
		return false;
	*blocks += share->blocks;
	*bytes += share->bytes;
	return true;
}

/* ---- events -----------------------------------------------------------------------------------
 */

static void total_born(struct ft_follow *follow, const struct share *share)
{
	struct ft_rollup *now = &follow->now;

	now->n_allocs += share->blocks;
	now->bytes_allocated += share->bytes;
	now->allocated_variance += share->variance;
	now->live_blocks += share->blocks;
	now->live_bytes += share->bytes;
	now->live_usable += share->usable;
	now->live_variance += share->variance;
}

static void total_died(struct ft_follow *follow, const struct share *share)
{
	struct ft_rollup *now = &follow->now;

	now->n_frees += share->blocks;
	now->bytes_freed += share->bytes;
	now->live_blocks -= share->blocks;
	now->live_bytes -= share->bytes;
	now->live_usable -= share->usable;
	now->live_variance -= share->variance;
}

/* The end of a step: extremes of the whole heap. */
static void step(struct ft_follow *follow, uint64_t time_ns, uint64_t seq)
{
	struct ft_rollup *now = &follow->now;

	if (now->live_bytes > now->peak_bytes) {
		now->peak_bytes = now->live_bytes;
		now->peak_variance = now->live_variance;
		now->peak_ns = time_ns;
		now->peak_seq = seq;
		follow->epoch++;
	}
	if (now->live_bytes < now->low_bytes)
		now->low_bytes = now->live_bytes;
}

static uint64_t *last_of(struct ft_follow *follow, uint32_t thread)
{
	if (thread >= follow->n_last) {
		size_t n = follow->n_last ? follow->n_last : 64;
		uint64_t *last;

		while (n <= thread)
			n *= 2;
		last = realloc(follow->last_address, n * sizeof(*last));
		if (!last)
			return NULL;
		memset(last + follow->n_last, 0, (n - follow->n_last) * sizeof(*last));
		follow->last_address = last;
		follow->n_last = n;
	}
	return &follow->last_address[thread];
}

/* `moved`: the death is half of a realloc. */
static bool died(struct ft_follow *follow, const struct ft_follow_block *block,
		 const struct ft_event *event, bool moved)
{
	struct share share = share_of(follow, block);
	struct ft_follow_account *site = touch(follow, &follow->sites, block->stack);
	struct ft_follow_account *thread = touch(follow, &follow->threads, block->thread);
	bool old = block->born_seq < follow->now.first_seq && !moved;

	if (!site || !thread)
		return false;
	total_died(follow, &share);
	count_died(site, &share);
	count_died(thread, &share);
	count_low(thread);
	if (!moved)
		count_low(site);
	if (block->thread != event->thread) {
		uint64_t key = (uint64_t)block->thread << 32 | event->thread;
		uint64_t *bytes = ft_map_put(&follow->pairs, key, NULL);

		if (!bytes)
			return false;
		*bytes += share.bytes;
	}
	return !old || (count_cohort(follow, &follow->sites, site, block, &share) &&
			count_cohort(follow, &follow->threads, thread, block, &share));
}

/* The engine's "temporary": a thread frees what it allocated last. */
static bool count_temporary(struct ft_follow *follow, const struct ft_follow_block *block,
			    uint32_t by)
{
	uint64_t *last;

	if (follow->sample_bytes || block->thread != by)
		return true;
	last = last_of(follow, by);
	if (!last)
		return false;
	if (*last == block->address) {
		struct ft_follow_account *site =
			&follow->sites.list[follow->sites.index[block->stack] - 1];

		site->value[FT_ROLLUP_TEMPORARY]++;
		site->value[FT_ROLLUP_TEMPORARY_BYTES] += block->size;
		*last = 0;
	}
	return true;
}

/* Whoever still lives where a block is born: its free was not seen. */
static bool evict(struct ft_follow *follow, const struct ft_event *event, uint64_t time_ns,
		  uint64_t seq)
{
	struct ft_follow_block block;

	if (!take(follow, event->address, &block))
		return true;
	follow->now.n_overlaps++;
	if (!died(follow, &block, event, false))
		return false;
	step(follow, time_ns, seq);
	return true;
}

/* `from`: the block that a realloc took, NULL: none. */
static bool born(struct ft_follow *follow, const struct ft_event *event, uint64_t time_ns,
		 uint64_t seq, const struct ft_follow_block *from)
{
	if (!evict(follow, event, time_ns, seq))
		return false;

	struct ft_follow_block *block = insert(follow, event->address);

	if (!block)
		return false;
	*block = (struct ft_follow_block){.address = event->address,
					  .size = event->size,
					  .usable = event->usable,
					  .born_ns = from ? from->born_ns : time_ns,
					  .born_seq = from ? from->born_seq : seq,
					  .stack = event->stack,
					  .thread = event->thread,
					  .api = event->api,
					  .flags = event->flags,
					  .align_log2 = event->align_log2};
	if (from && !died(follow, from, event, true))
		return false;

	struct share share = share_of(follow, block);
	struct ft_follow_account *site = touch(follow, &follow->sites, block->stack);
	struct ft_follow_account *thread = touch(follow, &follow->threads, block->thread);
	uint64_t *last = follow->sample_bytes ? NULL : last_of(follow, event->thread);

	if (!site || !thread || (!last && !follow->sample_bytes))
		return false;
	total_born(follow, &share);
	count_born(site, &share);
	count_born(thread, &share);
	/* A realloc is one step: its old block's site stood lower only if it is another one. */
	if (from) {
		count_low(site);
		if (from->stack != block->stack)
			count_low(&follow->sites.list[follow->sites.index[from->stack] - 1]);
	}
	if (last)
		*last = event->address;
	return true;
}

static bool follow_event(struct ft_follow *follow, const struct ft_event *event, uint64_t seq)
{
	uint64_t time_ns = ft_tick_floor(event->time_ns);
	struct ft_follow_block block;
	bool ok = true, known;

	if (!follow->now.n_events++) {
		follow->now.first_ns = time_ns;
		follow->now.peak_ns = time_ns;
	}
	follow->now.last_ns = time_ns;
	switch (event->kind) {
	case FT_EVENT_ALLOC:
		if (!event->address)
			return true;
		ok = born(follow, event, time_ns, seq, NULL);
		break;
	case FT_EVENT_FREE:
		known = take(follow, event->address, &block);
		follow->now.n_unknown_frees += !known;
		if (known)
			ok = died(follow, &block, event, false) &&
			     count_temporary(follow, &block, event->thread);
		break;
	case FT_EVENT_REALLOC:
		if (!event->address)
			return true;
		known = take(follow, event->old_address, &block);
		follow->now.n_unknown_frees += !known;
		ok = born(follow, event, time_ns, seq, known ? &block : NULL);
		break;
	}
	step(follow, time_ns, seq);
	return ok;
}

void ft_follow_events(struct ft_follow *follow, const struct ft_event *events, size_t n,
		      uint64_t seq)
{
	for (size_t i = 0; i < n && !follow->failed; i++) {
		if (i + PREFETCH_AHEAD < n)
			__builtin_prefetch(
				&follow->slots[home(follow, events[i + PREFETCH_AHEAD].address)]);
		if (!follow_event(follow, &events[i], seq + i))
			follow->failed = true;
	}
}

/* ---- cuts -------------------------------------------------------------------------------------
 */

static int compare_ids(const void *a, const void *b)
{
	const struct ft_rollup_account *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* While a cohort is sorted its `birth` has the number of its account above it. */
static int compare_cohorts(const void *a, const void *b)
{
	const struct ft_rollup_cohort *x = a, *y = b;

	return x->birth < y->birth ? -1 : x->birth > y->birth;
}

static bool cut_cohorts(const struct ft_follow_accounts *from, struct ft_rollup_accounts *to)
{
	size_t n = ft_map_count(&from->cohorts[0]), cursor = 0;
	uint64_t key, blocks;

	to->cohorts = calloc(n + 1, sizeof(*to->cohorts));
	if (!to->cohorts)
		return false;
	while (ft_map_next(&from->cohorts[0], &cursor, &key, &blocks)) {
		uint64_t id = from->list[key >> 32].id;

		to->cohorts[to->n_cohorts++] =
			(struct ft_rollup_cohort){.birth = id << 32 | (key & UINT32_MAX),
						  .blocks = blocks,
						  .bytes = *ft_map_get(&from->cohorts[1], key)};
	}
	qsort(to->cohorts, n, sizeof(*to->cohorts), compare_cohorts);
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
		touch(follow, accounts, accounts->list[accounts->touched[i]].id);
}

static int compare_pairs(const void *a, const void *b)
{
	const struct ft_rollup_pair *x = a, *y = b;

	if (x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
	return x->freer < y->freer ? -1 : x->freer > y->freer;
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
	qsort(to->pairs, to->n_pairs, sizeof(*to->pairs), compare_pairs);
	return true;
}

static void clear_map(struct ft_map *map)
{
	ft_map_deinit(map);
	ft_map_init(map);
}

/* The next interval begins as this one ends. */
static void begin_interval(struct ft_follow *follow, uint32_t shift)
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
	for (int i = 0; i < 2; i++) {
		clear_map(&follow->sites.cohorts[i]);
		clear_map(&follow->threads.cohorts[i]);
	}
	clear_map(&follow->pairs);
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
	begin_interval(follow, next_shift);
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
	struct ft_follow_order *order = malloc((follow->n_live + 1) * sizeof(*order));
	size_t n = 0;

	for (uint32_t i = 0; order && i < follow->n_blocks; i++)
		if (follow->blocks[i].address)
			order[n++] = (struct ft_follow_order){.seq = follow->blocks[i].born_seq,
							      .number = i};
	if (order)
		qsort(order, n, sizeof(*order), compare_births);
	return order;
}

struct ft_event ft_follow_birth(const struct ft_follow *follow, uint32_t number)
{
	const struct ft_follow_block *block = &follow->blocks[number];
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

void ft_follow_seed(struct ft_follow *follow, const struct ft_event *births, size_t n)
{
	for (size_t i = 0; i < n && !follow->failed; i++) {
		struct ft_event event = births[i];
		uint64_t *last = last_of(follow, event.thread);
		bool latest = event.flags & FT_EVENT_F_LATEST;

		event.flags &= (uint8_t)~FT_EVENT_F_LATEST;
		if (!last || !born(follow, &event, event.time_ns, event.seq, NULL))
			follow->failed = true;
		else
			follow->last_address[event.thread] = latest ? event.address : 0;
	}
}

void ft_follow_seeded(struct ft_follow *follow, uint64_t next_seq)
{
	follow->now.first_seq = next_seq;
	follow->now.n_events = 0;
	begin_interval(follow, follow->now.cohort_shift);
}

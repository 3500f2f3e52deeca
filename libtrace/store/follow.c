/* SPDX-License-Identifier: MIT */
/* Follower: see ft_follow.h. */
#include <stdlib.h>
#include <string.h>

#include "follow_impl.h"
#include "ft_chunk.h"
#include "ft_weight.h"

/* Events between a look at a slot, at its block, and the event itself. */
enum {
	AHEAD_SLOT = 24,
	AHEAD_BLOCK = 12,
	LARGE_LIVE = 1 << 13,
	FIRST_COHORTS = 256,
	MOST_KEPT_COHORTS = 1 << 16
};

bool ft_follow_init(struct ft_follow *follow, uint64_t sample_bytes)
{
	*follow = (struct ft_follow){.sample_bytes = sample_bytes};
	ft_map_init(&follow->pairs);
	follow->interval = 1;
	follow->epoch = 1;
	follow->now.cohort_shift = FT_TICK_SHIFT;
	return ft_follow_table_init(&follow->live);
}

static void accounts_deinit(struct ft_follow_accounts *accounts)
{
	free(accounts->index);
	free(accounts->list);
	free(accounts->touched);
	free(accounts->cohorts.slots);
}

void ft_follow_deinit(struct ft_follow *follow)
{
	ft_follow_table_deinit(&follow->live);
	free(follow->last_address);
	accounts_deinit(&follow->sites);
	accounts_deinit(&follow->threads);
	ft_map_deinit(&follow->pairs);
	*follow = (struct ft_follow){0};
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

	/* What a pool divides is counted object by object; the memory is the block's. */
	if (block->api == FT_API_POOL_BACKING)
		return (struct share){.usable = usable};
	if (!follow->sample_bytes)
		return (struct share){.bytes = block->size,
				      .blocks = 1,
				      .usable = block->address & FT_ADDRESS_POOL ? 0 : usable};

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

static bool add_account(struct ft_follow_accounts *accounts, uint32_t id)
{
	uint32_t number = accounts->first_free;

	if (number) {
		accounts->first_free = (uint32_t)accounts->list[number - 1].touched_seq;
	} else {
		if (accounts->n == accounts->capacity && !list_grow(accounts))
			return false;
		number = ++accounts->n;
	}
	accounts->list[number - 1] = (struct ft_follow_account){.id = id};
	accounts->index[id] = number;
	return true;
}

struct ft_follow_account *ft_follow_renew(struct ft_follow *follow,
					  struct ft_follow_accounts *accounts, uint32_t id)
{
	if (__builtin_expect(id >= accounts->n_index, 0) && !index_grow(accounts, id))
		return NULL;
	if (__builtin_expect(!accounts->index[id], 0) && !add_account(accounts, id))
		return NULL;

	uint32_t number = accounts->index[id] - 1;
	struct ft_follow_account *account = &accounts->list[number];

	if (account->interval != follow->interval) {
		uint64_t blocks = account->value[FT_ROLLUP_LIVE_BLOCKS];
		uint64_t bytes = account->value[FT_ROLLUP_LIVE_BYTES];

		account->interval = follow->interval;
		account->touched_seq = follow->now.first_seq;
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
	if (share->variance) {
		account->value[FT_ROLLUP_BORN_VARIANCE] += share->variance;
		account->value[FT_ROLLUP_SAMPLES]++;
		account->live_variance += share->variance;
	}
}

static void count_died(struct ft_follow_account *account, const struct share *share)
{
	account->value[FT_ROLLUP_FREED_BLOCKS] += share->blocks;
	account->value[FT_ROLLUP_FREED_BYTES] += share->bytes;
	account->value[FT_ROLLUP_LIVE_BLOCKS] -= share->blocks;
	account->value[FT_ROLLUP_LIVE_BYTES] -= share->bytes;
	if (share->variance) {
		account->value[FT_ROLLUP_FREED_VARIANCE] += share->variance;
		account->live_variance -= share->variance;
	}
}

static void count_low(struct ft_follow_account *account)
{
	if (account->value[FT_ROLLUP_LIVE_BYTES] < account->value[FT_ROLLUP_LOW_BYTES])
		account->value[FT_ROLLUP_LOW_BYTES] = account->value[FT_ROLLUP_LIVE_BYTES];
}

/* ---- cohorts ----------------------------------------------------------------------------------
 */

/* The slot of a key, or the empty one that it may have. */
static struct ft_follow_cohort *cohort_slot(const struct ft_follow_cohorts *cohorts, uint64_t key)
{
	size_t i = ft_hash_u64(key) & (cohorts->n_slots - 1);

	while (cohorts->slots[i].key && cohorts->slots[i].key != key)
		i = (i + 1) & (cohorts->n_slots - 1);
	return &cohorts->slots[i];
}

static bool cohorts_grow(struct ft_follow_cohorts *cohorts)
{
	size_t n = cohorts->n_slots ? cohorts->n_slots * 2 : FIRST_COHORTS;
	struct ft_follow_cohorts bigger = {
		.slots = calloc(n, sizeof(*bigger.slots)), .n_slots = n, .n_used = cohorts->n_used};

	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < cohorts->n_slots; i++)
		if (cohorts->slots[i].key)
			*cohort_slot(&bigger, cohorts->slots[i].key) = cohorts->slots[i];
	free(cohorts->slots);
	*cohorts = bigger;
	return true;
}

void ft_follow_cohorts_clear(struct ft_follow_cohorts *cohorts)
{
	if (cohorts->n_slots > MOST_KEPT_COHORTS) {
		free(cohorts->slots);
		*cohorts = (struct ft_follow_cohorts){0};
	} else if (cohorts->n_used) {
		memset(cohorts->slots, 0, cohorts->n_slots * sizeof(*cohorts->slots));
		cohorts->n_used = 0;
	}
}

/* A death of a block from before the interval, by its birth. */
static bool count_cohort(struct ft_follow *follow, struct ft_follow_accounts *accounts,
			 const struct ft_follow_account *account,
			 const struct ft_follow_block *block, const struct share *share)
{
	struct ft_follow_cohorts *cohorts = &accounts->cohorts;
	uint64_t birth = block->born_ns >> follow->now.cohort_shift;
	uint64_t key = (uint64_t)(account - accounts->list + 1) << 32 | birth;
	struct ft_follow_cohort *cohort;

	if (cohorts->n_used * 4 >= cohorts->n_slots * 3 && !cohorts_grow(cohorts))
		return false;
	cohort = cohort_slot(cohorts, key);
	if (!cohort->key) {
		cohort->key = key;
		cohorts->n_used++;
	}
	cohort->blocks += share->blocks;
	cohort->bytes += share->bytes;
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

/* `from`: the block that a realloc took, NULL: none. */
static void keep_largest(struct ft_follow *follow, const struct ft_event *event, uint64_t time_ns,
			 uint64_t seq, const struct ft_follow_block *from)
{
	uint64_t old_size = from ? from->size : 0;

	if (event->size > old_size)
		ft_largest_add(&follow->now.largest, &(struct ft_birth){.seq = seq,
									.time_ns = time_ns,
									.size = event->size,
									.old_size = old_size,
									.stack = event->stack,
									.thread = event->thread,
									.api = event->api});
}

/* `moved`: the death is half of a realloc. */
static bool died(struct ft_follow *follow, const struct ft_follow_block *block,
		 const struct ft_event *event, bool moved)
{
	struct share share = share_of(follow, block);
	struct ft_follow_account *site = ft_follow_touch(follow, &follow->sites, block->stack);
	struct ft_follow_account *thread = ft_follow_touch(follow, &follow->threads, block->thread);
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

	if (!ft_follow_table_take(&follow->live, event->address, &block))
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

	struct ft_follow_block *block = ft_follow_table_insert(&follow->live, event->address);

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
	struct ft_follow_account *site = ft_follow_touch(follow, &follow->sites, block->stack);
	struct ft_follow_account *thread = ft_follow_touch(follow, &follow->threads, block->thread);
	uint64_t *last = follow->sample_bytes ? NULL : last_of(follow, event->thread);

	if (!site || !thread || (!last && !follow->sample_bytes))
		return false;
	total_born(follow, &share);
	count_born(site, &share);
	count_born(thread, &share);
	if (__builtin_expect(ft_largest_wants(&follow->now.largest, event->size), 0))
		keep_largest(follow, event, time_ns, seq, from);
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
		known = ft_follow_table_take(&follow->live, event->address, &block);
		follow->now.n_unknown_frees += !known;
		if (known)
			ok = died(follow, &block, event, false) &&
			     count_temporary(follow, &block, event->thread);
		break;
	case FT_EVENT_REALLOC:
		if (!event->address)
			return true;
		known = ft_follow_table_take(&follow->live, event->old_address, &block);
		/* Of memory that is no block there is nothing to say. */
		if (!known && event->api == FT_API_POOL_BACKING)
			return true;
		follow->now.n_unknown_frees += !known;
		ok = born(follow, event, time_ns, seq, known ? &block : NULL);
		break;
	}
	step(follow, time_ns, seq);
	return ok;
}

/* The address whose block an event takes, or makes. */
static inline uint64_t sought(const struct ft_event *event)
{
	return event->kind == FT_EVENT_REALLOC ? event->old_address : event->address;
}

void ft_follow_events(struct ft_follow *follow, const struct ft_event *events, size_t n,
		      uint64_t seq)
{
	/* What fits into the caches is not asked for. */
	bool large = follow->live.n_live > LARGE_LIVE;

	for (size_t i = 0; i < n && !follow->failed; i++) {
		if (large && i + AHEAD_SLOT < n)
			ft_follow_table_prefetch(&follow->live, sought(&events[i + AHEAD_SLOT]));
		if (large && i + AHEAD_BLOCK < n)
			ft_follow_table_prefetch_block(&follow->live,
						       sought(&events[i + AHEAD_BLOCK]));
		if (!follow_event(follow, &events[i], seq + i))
			follow->failed = true;
	}
}

/* ---- threads that are gone --------------------------------------------------------------------
 */

bool ft_follow_thread_is_gone(const struct ft_follow *follow, uint32_t id, uint64_t seq)
{
	const struct ft_follow_accounts *threads = &follow->threads;
	const struct ft_follow_account *account;

	if (id >= threads->n_index || !threads->index[id])
		return true;
	account = &threads->list[threads->index[id] - 1];
	return account->touched_seq < seq && !account->value[FT_ROLLUP_LIVE_BLOCKS];
}

void ft_follow_forget_thread(struct ft_follow *follow, uint32_t id)
{
	struct ft_follow_accounts *threads = &follow->threads;
	uint32_t number = id < threads->n_index ? threads->index[id] : 0;

	if (!number)
		return;
	threads->index[id] = 0;
	threads->list[number - 1] = (struct ft_follow_account){.touched_seq = threads->first_free};
	threads->first_free = number;
}

/* ---- a heap that is there already -------------------------------------------------------------
 */

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
	ft_follow_begin_interval(follow, follow->now.cohort_shift);
}

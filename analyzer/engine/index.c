/* SPDX-License-Identifier: MIT */
/* Index: see fa_index.h. */
#include "fa_index.h"

#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "fragtrace/store.h"
#include "huge.h"

enum { FIRST_BITS = 8, MAX_BITS = 30, FIRST_ROOM = 1 << 12, GROUP = 64, AHEAD = 4 * GROUP };
static const uint32_t max_numbers = FA_EVICTS - 2;

/* ---- the table ---------------------------------------------------------------------------------
 */

static struct index_bucket *alloc_buckets(unsigned bits)
{
	size_t size = sizeof(struct index_bucket) << bits;
	struct index_bucket *buckets = fa_alloc_huge(size);

	if (buckets)
		memset(buckets, 0, size);
	return buckets;
}

bool fa_index_init(struct fa_index *index)
{
	*index = (struct fa_index){.bits = FIRST_BITS};
	index->buckets = alloc_buckets(index->bits);
	return index->buckets;
}

void fa_index_deinit(struct fa_index *index)
{
	free(index->buckets);
	free(index->free);
	*index = (struct fa_index){0};
}

/* A permutation of the lower 48 bits. One multiplication is not enough: addresses come in
 * arithmetic progressions, and so would their homes. */
static inline uint64_t hash_of(uint64_t address)
{
	const uint64_t mask = (UINT64_C(1) << INDEX_HASH_BITS) - 1;
	uint64_t hash = address & mask;

	hash = (hash ^ hash >> 25) * UINT64_C(0xff51afd7ed558ccd) & mask;
	return (hash ^ hash >> 24) * UINT64_C(0xc4ceb9fe1a85ec53) & mask;
}

static inline size_t home_number(const struct fa_index *index, uint64_t hash)
{
	return hash >> (INDEX_HASH_BITS - index->bits);
}

static inline struct index_bucket *home_of(const struct fa_index *index, uint64_t hash)
{
	return &index->buckets[home_number(index, hash)];
}

/* Behind the last one is the first. */
static inline struct index_bucket *next_bucket(const struct fa_index *index,
					       struct index_bucket *bucket)
{
	size_t next = (size_t)(bucket - index->buckets) + 1;

	return &index->buckets[next >> index->bits ? 0 : next];
}

/* The slots whose values are `value`, as bits; eight words are read. */
static inline uint32_t match(const uint32_t *values, uint32_t value)
{
	const uint32_t slots = (1 << INDEX_SLOTS) - 1;
#ifdef __SSE2__
	const __m128i want = _mm_set1_epi32((int)value);
	__m128i low = _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)values), want);
	__m128i high = _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)(values + 4)), want);

	low = _mm_packs_epi32(low, high);
	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, _mm_setzero_si128())) & slots;
#else
	uint32_t found = 0;

	for (unsigned i = 0; i < INDEX_SLOTS; i++)
		found |= (uint32_t)(values[i] == value) << i;
	return found & slots;
#endif
}

/* The bucket that has `hash`, and *slot in it; NULL: none has. */
static inline struct index_bucket *find_slot(const struct fa_index *index, uint64_t hash,
					     unsigned *slot)
{
	for (struct index_bucket *bucket = home_of(index, hash);;
	     bucket = next_bucket(index, bucket)) {
		uint32_t found = match(bucket->tag, (uint32_t)hash);

		for (; found; found &= found - 1) {
			*slot = (unsigned)__builtin_ctz(found);
			if (__builtin_expect(
				    bucket->high[*slot] == hash >> 32 && bucket->number[*slot], 1))
				return bucket;
		}
		if (__builtin_expect(!bucket->passed, 1))
			return NULL;
	}
}

/* Put a number into the first bucket from its home on that has room. */
static inline void put_slot(struct fa_index *index, uint64_t hash, uint32_t number)
{
	struct index_bucket *bucket = home_of(index, hash);
	uint32_t empty;

	for (;; bucket = next_bucket(index, bucket)) {
		empty = match(bucket->number, 0);
		if (__builtin_expect(empty != 0, 1))
			break;
		bucket->passed++;
	}

	unsigned slot = (unsigned)__builtin_ctz(empty);

	bucket->tag[slot] = (uint32_t)hash;
	bucket->high[slot] = (uint16_t)(hash >> 32);
	bucket->number[slot] = number;
}

static inline uint64_t slot_hash(const struct index_bucket *bucket, unsigned slot)
{
	return (uint64_t)bucket->high[slot] << 32 | bucket->tag[slot];
}

static bool grow(struct fa_index *index)
{
	if (index->bits == MAX_BITS)
		return false;

	struct fa_index bigger = *index;
	size_t n = (size_t)1 << index->bits;

	bigger.bits++;
	bigger.buckets = alloc_buckets(bigger.bits);
	if (!bigger.buckets)
		return false;
	for (size_t i = 0; i < n; i++)
		for (unsigned s = 0; s < INDEX_SLOTS; s++)
			if (index->buckets[i].number[s])
				put_slot(&bigger, slot_hash(&index->buckets[i], s),
					 index->buckets[i].number[s]);
	free(index->buckets);
	*index = bigger;
	return true;
}

/* ---- numbers -----------------------------------------------------------------------------------
 */

/* A number + 1 for a block, or 0. */
static inline uint32_t number_take(struct fa_index *index)
{
	if (index->n_free)
		return index->free[--index->n_free];
	return index->n_numbers < max_numbers ? ++index->n_numbers : 0;
}

static bool more_room(struct fa_index *index)
{
	size_t room = index->room ? index->room * 2 : FIRST_ROOM;
	uint32_t *list = realloc(index->free, room * sizeof(*list));

	if (!list)
		return false;
	index->free = list;
	index->room = room;
	return true;
}

static inline bool number_give(struct fa_index *index, uint32_t number)
{
	if (__builtin_expect(index->n_free == index->room, 0) && !more_room(index))
		return false;
	index->free[index->n_free++] = number;
	return true;
}

/* ---- one address -------------------------------------------------------------------------------
 */

uint32_t fa_index_find(const struct fa_index *index, uint64_t address)
{
	unsigned slot;
	const struct index_bucket *bucket = find_slot(index, hash_of(address), &slot);

	return bucket ? bucket->number[slot] : 0;
}

static inline uint32_t insert(struct fa_index *index, uint64_t hash)
{
	uint32_t number;

	if (__builtin_expect(index->n_slots >> index->bits >= INDEX_FILL, 0) && !grow(index))
		return 0;
	number = number_take(index);
	if (number) {
		put_slot(index, hash, number);
		index->n_slots++;
	}
	return number;
}

uint32_t fa_index_insert(struct fa_index *index, uint64_t address)
{
	return insert(index, hash_of(address));
}

/* *number + 1 of what was there, or 0. False: out of memory. */
static inline bool remove_hash(struct fa_index *index, uint64_t hash, uint32_t *number)
{
	unsigned slot;
	struct index_bucket *bucket = find_slot(index, hash, &slot);

	*number = 0;
	if (!bucket)
		return true;
	for (struct index_bucket *b = home_of(index, hash); b != bucket; b = next_bucket(index, b))
		b->passed--;
	*number = bucket->number[slot];
	bucket->tag[slot] = bucket->number[slot] = 0;
	index->n_slots--;
	return number_give(index, *number);
}

bool fa_index_remove(struct fa_index *index, uint64_t address, uint32_t *number)
{
	return remove_hash(index, hash_of(address), number);
}

/* ---- the events of a chunk ---------------------------------------------------------------------
 */

bool fa_resolution_init(struct fa_resolution *resolution)
{
	*resolution = (struct fa_resolution){0};
	resolution->events = malloc(FT_CHUNK_EVENTS * sizeof(*resolution->events));
	return resolution->events;
}

void fa_resolution_deinit(struct fa_resolution *resolution)
{
	free(resolution->events);
	free(resolution->evicted);
	*resolution = (struct fa_resolution){0};
}

/* A block comes to an address that is still taken: the free of the old one was not seen. */
static bool evict(struct fa_index *index, uint64_t hash, struct fa_resolution *resolution)
{
	if (resolution->n_evicted == resolution->room) {
		size_t room = resolution->room ? resolution->room * 2 : 16;
		uint32_t *evicted = realloc(resolution->evicted, room * sizeof(*evicted));

		if (!evicted)
			return false;
		resolution->evicted = evicted;
		resolution->room = room;
	}
	return remove_hash(index, hash, &resolution->evicted[resolution->n_evicted++]);
}

/* What is born, number + 1; 0: out of memory. `paired`: whoever frees it knows its number. That
 * saves writing the table for most blocks of most programs, which die young. */
static inline uint32_t resolve_birth(struct fa_index *index, uint64_t hash, bool paired,
				     struct fa_resolution *resolution)
{
	uint32_t evicts = 0, number;
	unsigned slot;

	if (__builtin_expect(find_slot(index, hash, &slot) != NULL, 0)) {
		if (!evict(index, hash, resolution))
			return 0;
		evicts = FA_EVICTS;
	}
	number = paired ? number_take(index) : insert(index, hash);
	return number ? number | evicts : 0;
}

/* The functions that follow are false when out of memory. */
static inline bool resolve_realloc(struct fa_index *index, const struct ft_event *event,
				   uint64_t hash, struct fa_resolution *resolution,
				   struct fa_resolved *ret)
{
	if (!remove_hash(index, hash, &ret->died))
		return false;
	/* Of memory that is no block there is nothing to say. */
	if (!ret->died && event->api == FT_API_POOL_BACKING)
		return true;
	ret->born = resolve_birth(index, hash_of(event->address), false, resolution);
	return ret->born;
}

static inline bool resolve(struct fa_index *index, const struct ft_event *event, uint64_t hash,
			   size_t paired, struct fa_resolution *resolution, struct fa_resolved *ret)
{
	*ret = (struct fa_resolved){0};
	switch (event->kind) {
	case FT_EVENT_ALLOC:
		if (!event->address)
			return true;
		ret->born = resolve_birth(index, hash, event->pair > 0, resolution);
		return ret->born;
	case FT_EVENT_FREE:
		if (event->pair <= paired)
			return remove_hash(index, hash, &ret->died);
		ret->died = resolution->events[event->pair - 1].born & ~FA_EVICTS;
		return number_give(index, ret->died);
	case FT_EVENT_REALLOC:
		return !event->address || resolve_realloc(index, event, hash, resolution, ret);
	}
	return true;
}

/* A short loop of its own over a group of events: a processor that waits for a line, or for the
 * translation of an address, looks only so many instructions ahead for others to ask for. gcc takes
 * a function that only prefetches for one without effect, unless it is inlined. */
static inline __attribute__((always_inline)) void look_ahead(const struct fa_index *index,
							     const struct ft_event *events,
							     size_t from, size_t to,
							     uint64_t *hashes)
{
	for (size_t i = from; i < to; i++) {
		bool is_realloc = events[i].kind == FT_EVENT_REALLOC;
		uint64_t hash = hash_of(is_realloc ? events[i].old_address : events[i].address);

		hashes[i % AHEAD] = hash;
		__builtin_prefetch(home_of(index, hash), 1);
	}
}

bool fa_index_resolve(struct fa_index *index, const struct ft_event *events, size_t from, size_t to,
		      size_t paired, struct fa_resolution *resolution)
{
	uint64_t hashes[AHEAD];
	size_t ahead = to - from < 2 * GROUP ? to : from + 2 * GROUP;

	if (from == 0)
		resolution->n_evicted = 0;
	look_ahead(index, events, from, ahead, hashes);
	for (size_t i = from; i < to;) {
		size_t end = to - i < GROUP ? to : i + GROUP;
		size_t next = to - ahead < GROUP ? to : ahead + GROUP;

		look_ahead(index, events, ahead, next, hashes);
		ahead = next;
		for (; i < end; i++)
			if (!resolve(index, &events[i], hashes[i % AHEAD], paired, resolution,
				     &resolution->events[i]))
				return false;
	}
	return true;
}

/* ---- for tests ---------------------------------------------------------------------------------
 */

bool fa_index_check(const struct fa_index *index)
{
	const size_t n = (size_t)1 << index->bits;
	size_t n_used = 0, n_passed = 0, n_displaced = 0;

	for (size_t i = 0; i < n; i++) {
		const struct index_bucket *bucket = &index->buckets[i];

		n_passed += bucket->passed;
		for (unsigned s = 0; s < INDEX_SLOTS; s++) {
			uint64_t hash = slot_hash(bucket, s);
			unsigned slot;

			if (!bucket->number[s] && bucket->tag[s])
				return false;
			if (!bucket->number[s])
				continue;
			n_used++;
			n_displaced += (i - home_number(index, hash)) & (n - 1);
			if (bucket->number[s] > index->n_numbers ||
			    find_slot(index, hash, &slot) != bucket || slot != s)
				return false;
		}
	}
	return n_used == index->n_slots && n_passed == n_displaced && n_used <= n * INDEX_FILL;
}

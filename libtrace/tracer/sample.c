/* SPDX-License-Identifier: MIT */
/* Sampling: see tr_sample.h. */
#include "tr_sample.h"

#ifdef __x86_64__
#include <xmmintrin.h>
#endif

#include "tr_session.h"

enum {
	BUCKET = 8, /* slots, one cache line */
	N_BUCKETS = TR_SAMPLE_SLOTS / BUCKET,
	/* Counters do not overflow: threads that are about to step back are fewer than the rest. */
	PAGE_LIMIT = 60000,
	HELD = 1, /* in a slot: a realloc is at work, the address is not in the set */
};
_Static_assert((N_BUCKETS & (N_BUCKETS - 1)) == 0, "buckets are masked");

bool tr_sampling;
__thread struct tr_sampler tr_sampler;
_Atomic uint16_t tr_sample_pages[TR_SAMPLE_PAGES];

static _Alignas(64) _Atomic uint64_t slots[TR_SAMPLE_SLOTS]; /* address, | HELD; 0 is empty */

static uint64_t rate, seed;
static _Atomic uint64_t n_samplers;

/* ---- chance ---------------------------------------------------------------------------------- */

/* SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). */
static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

double tr_sample_minus_log(double x)
{
	union {
		double value;
		uint64_t bits;
	} u = {.value = x};
	int exponent = (int)(u.bits >> 52) - 1023;
	double t, t2, sum = 0;

	/* x = m 2^exponent with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh((m - 1) / (m + 1)).
	 */
	u.bits = (u.bits & UINT64_C(0xfffffffffffff)) | UINT64_C(1023) << 52;
	if (u.value > 1.4142135623730951) {
		u.value /= 2;
		exponent++;
	}
	t = (u.value - 1) / (u.value + 1);
	t2 = t * t;
	for (int k = 15; k > 0; k -= 2)
		sum = sum * t2 + 1.0 / k;
	return -(2 * t * sum + exponent * 0.69314718055994530942);
}

/*
 * Bytes up to and including the next strike: P(more than n) = exp(-n / rate) for whole n. In the
 * default floating-point environment: the program may have unmasked an exception, which would end
 * it here, and may look at the flags.
 */
static int64_t draw(struct tr_sampler *sampler)
{
	uint64_t bits = mix(sampler->random += UINT64_C(0x9e3779b97f4a7c15));
#ifdef __x86_64__
	enum { ALL_MASKED = 0x1f80 };
	unsigned environment = _mm_getcsr();

	_mm_setcsr(ALL_MASKED);
	/* The compiler knows nothing of the register: what it guards must not move past it. */
	__asm__ volatile("" : "+r"(bits) : : "memory");
#endif
	double uniform = (double)((bits >> 11) + 1) * 0x1p-53;
	int64_t bytes = (int64_t)(tr_sample_minus_log(uniform) * (double)rate) + 1;

#ifdef __x86_64__
	__asm__ volatile("" : "+r"(bytes) : : "memory");
	_mm_setcsr(environment);
#endif
	return bytes;
}

void tr_sample_start(uint64_t new_rate, uint64_t new_seed)
{
	rate = new_rate;
	seed = new_seed;
	if (!seed && tr_sys(SYS_getrandom, &seed, sizeof(seed), 1 /* GRND_NONBLOCK */) < 0)
		seed = (uint64_t)tr_sys(SYS_getpid) << 32 ^ (uintptr_t)&new_seed;
	atomic_store_explicit(&n_samplers, 0, memory_order_relaxed);
	tr_sampler = (struct tr_sampler){0};
	tr_sampling = rate != 0;
}

/* Threads differ by the order in which they come here. */
static void seed_sampler(struct tr_sampler *sampler)
{
	sampler->random =
		mix(seed + mix(atomic_fetch_add_explicit(&n_samplers, 1, memory_order_relaxed)));
	sampler->seeded = true;
}

void tr_sample_set_rate(uint64_t new_rate)
{
	rate = new_rate;
}

bool tr_sample_strikes(size_t size)
{
	struct tr_sampler *sampler = &tr_sampler;

	sampler->left -= (int64_t)(size + !size);
	if (tr_likely(sampler->left > 0))
		return false;
	/* A count that has not begun: one begins, and this block is its first. */
	if (tr_unlikely(!sampler->seeded)) {
		seed_sampler(sampler);
		sampler->left = draw(sampler) - (int64_t)(size + !size);
		if (sampler->left > 0)
			return false;
	}
	sampler->left = draw(sampler);
	return true;
}

bool tr_sample_due(const void *block, size_t size)
{
	struct tr_sampler *sampler = &tr_sampler;

	if (tr_unlikely(!sampler->seeded)) {
		if (atomic_load_explicit(&tr_session.state, memory_order_relaxed) != TR_READY) {
			sampler->left = 0;
			return false;
		}
		seed_sampler(sampler);
		sampler->left = draw(sampler) - (int64_t)(size + !size);
		if (sampler->left > 0)
			return false;
	}
	sampler->left = draw(sampler);
	if (atomic_load_explicit(&tr_session.state, memory_order_relaxed) != TR_READY)
		return false;
	if (tr_sample_add(block))
		return true;
	if (tr_session_live())
		atomic_fetch_add_explicit(&tr_session.header->n_sample_full, 1,
					  memory_order_relaxed);
	return false;
}

/* ---- the set --------------------------------------------------------------------------------- */

static _Atomic uint16_t *page_of(const void *block)
{
	return &tr_sample_pages[(uintptr_t)block >> 12 & (TR_SAMPLE_PAGES - 1)];
}

static void find_buckets(const void *block, tr_sample_slot *buckets[2])
{
	uint64_t hash = mix((uintptr_t)block);
	uint64_t first = hash & (N_BUCKETS - 1), second = hash >> 32 & (N_BUCKETS - 1);

	if (second == first)
		second ^= 1;
	buckets[0] = slots + first * BUCKET;
	buckets[1] = slots + second * BUCKET;
}

static tr_sample_slot *find(const void *block)
{
	tr_sample_slot *buckets[2];

	find_buckets(block, buckets);
	for (unsigned b = 0; b < 2; b++)
		for (unsigned i = 0; i < BUCKET; i++)
			if (atomic_load_explicit(&buckets[b][i], memory_order_relaxed) ==
			    (uintptr_t)block)
				return &buckets[b][i];
	return NULL;
}

static unsigned count_empty(const tr_sample_slot *bucket)
{
	unsigned n = 0;

	for (unsigned i = 0; i < BUCKET; i++)
		n += atomic_load_explicit(&bucket[i], memory_order_relaxed) == 0;
	return n;
}

static bool put_in(tr_sample_slot *bucket, const void *block)
{
	for (unsigned i = 0; i < BUCKET; i++) {
		uint64_t empty = 0;

		if (!atomic_load_explicit(&bucket[i], memory_order_relaxed) &&
		    atomic_compare_exchange_strong_explicit(&bucket[i], &empty, (uintptr_t)block,
							    memory_order_release,
							    memory_order_relaxed))
			return true;
	}
	return false;
}

bool tr_sample_add(const void *block)
{
	_Atomic uint16_t *page = page_of(block);
	tr_sample_slot *buckets[2];

	/* A free that we have not seen (made inside libc, say) left it there. */
	if (tr_sample_maybe(block) && find(block))
		return true;

	if (atomic_fetch_add_explicit(page, 1, memory_order_relaxed) < PAGE_LIMIT) {
		find_buckets(block, buckets);

		unsigned emptier = count_empty(buckets[1]) > count_empty(buckets[0]);

		if (put_in(buckets[emptier], block) || put_in(buckets[!emptier], block))
			return true;
	}
	atomic_fetch_sub_explicit(page, 1, memory_order_relaxed);
	return false;
}

tr_sample_slot *tr_sample_hold(const void *block)
{
	tr_sample_slot *slot = tr_sample_maybe(block) ? find(block) : NULL;
	uint64_t expected = (uintptr_t)block;

	/* Of two threads that free one block, which is the program's error, one gets it. Acquire
	 * pairs with the release in put_in(). */
	if (slot &&
	    atomic_compare_exchange_strong_explicit(slot, &expected, expected | HELD,
						    memory_order_acquire, memory_order_relaxed))
		return slot;
	return NULL;
}

void tr_sample_drop(tr_sample_slot *slot, const void *block)
{
	atomic_store_explicit(slot, 0, memory_order_release);
	atomic_fetch_sub_explicit(page_of(block), 1, memory_order_relaxed);
}

void tr_sample_keep(tr_sample_slot *slot, const void *block)
{
	atomic_store_explicit(slot, (uintptr_t)block, memory_order_release);
}

bool tr_sample_remove(const void *block)
{
	tr_sample_slot *slot = tr_sample_hold(block);

	if (slot)
		tr_sample_drop(slot, block);
	return slot != NULL;
}

size_t tr_sample_memory(void)
{
	return tr_sampling ? sizeof(slots) + sizeof(tr_sample_pages) : 0;
}

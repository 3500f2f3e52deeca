/* SPDX-License-Identifier: MIT */
/*
 * Sampling: which blocks are recorded
 *
 * Each thread counts down the bytes that it allocates. When the count runs out, that block is
 * recorded, and the count starts anew from an exponentially distributed number with the mean `rate`
 * (FRAGTRACE_SAMPLE). So the bytes that a program asks for are struck at random by a Poisson
 * process of one strike in `rate` bytes, and a block is recorded if any of its bytes is struck:
 *
 *	P(recorded) = 1 - exp(-size / rate), independently of all other blocks
 *
 * Independently, because the distribution has no memory: what is left of a count after a block that
 * was not struck, and a new count, are distributed alike. A block of 0 bytes counts as one of 1
 * byte, so that there is none that is never seen.
 *
 * A realloc is a free of the old block and an allocation of the new one. The new block, whatever
 * became of the old one, is counted down in full and recorded with the probability of its own size;
 * to keep a recorded block recorded would give grown blocks two chances and overstate them. The
 * event is a REALLOC when both are recorded, the FREE or the ALLOC that is left when one of them
 *is, and nothing when none is.
 *
 * The frees of recorded blocks are recorded, and no others: a set of their addresses tells them
 * apart. It is of the process, of a fixed size, without locks. In front of the set a counter for
 * each page of addresses (by their low bits) says that no block of such a page is in it, which is
 * so for nearly all frees: one load, shared by neighbours. The set is two-choice hashing in buckets
 * of one cache line. A block that finds both of its buckets full is not recorded, and counted
 * (ft_segment.h, n_sample_full): that begins when two thirds of the slots are taken, 87 000 live
 * blocks, or 42 GiB of live memory at a rate of 512 KiB.
 *
 *	an address is in the set  <=>  a recorded block lives there, whose free is still to come
 *	the counter of its page counts it, from before it enters until after it has left
 *
 * Whoever frees a block knows of it through the program's own synchronisation, which orders the
 * entry before the look-up. An address leaves before the real free, that is before any other thread
 * can be given it.
 *
 * Cost: a subtraction an allocation, a load a free; no stamp, no stack, no ring. No thread is met,
 * and none gets a ring, before its first block that is recorded.
 */
#ifndef TR_SAMPLE_H
#define TR_SAMPLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tr_sys.h"

enum {
	TR_SAMPLE_SLOTS = 1 << 17, /* 1 MiB, committed on touch */
	TR_SAMPLE_PAGES = 1 << 16, /* counters, 128 KiB: pages of 256 MiB side by side differ */
};

/* A handler that interrupts the countdown can make it miss, or count twice, its own bytes: both
 * are as likely to matter as any other byte is. */
struct tr_sampler {
	int64_t left;	 /* bytes to the next strike; not above 0: ask tr_sample_due() */
	uint64_t random; /* state of the generator */
	bool seeded;
};

extern bool tr_sampling; /* set before the first session is live, then constant */
extern __thread struct tr_sampler tr_sampler;
extern _Atomic uint16_t tr_sample_pages[TR_SAMPLE_PAGES];

/* A session begins: the rate in force (0: everything is recorded) and a new seed. The set is kept:
 * a forked child frees blocks of its parent. `seed` 0: one from the kernel. */
void tr_sample_start(uint64_t rate, uint64_t seed);

/* With a limit (tr_governor.h): the rate from now on; and whether a block of this size is struck.
 * No set knows of it. */
void tr_sample_set_rate(uint64_t rate);
bool tr_sample_strikes(size_t size);

/* The countdown has run out, or has not begun. Is `block` to be recorded? Then it is in the set. */
bool tr_sample_due(const void *block, size_t size);

/* A block has been allocated: is it to be recorded? */
static inline bool tr_sample_alloc(const void *block, size_t size)
{
	struct tr_sampler *sampler = &tr_sampler;

	sampler->left -= (int64_t)(size + !size);
	return tr_unlikely(sampler->left <= 0) && tr_sample_due(block, size);
}

bool tr_sample_remove(const void *block);

/* False for certain, or look in the set. */
static inline bool tr_sample_maybe(const void *block)
{
	/* Relaxed: see above, who frees a block has been told of it. */
	return tr_unlikely(atomic_load_explicit(
				   &tr_sample_pages[(uintptr_t)block >> 12 & (TR_SAMPLE_PAGES - 1)],
				   memory_order_relaxed) != 0);
}

/* A block is about to be freed: was it recorded? It is then no longer in the set. */
static inline bool tr_sample_free(const void *block)
{
	return tr_sample_maybe(block) && tr_sample_remove(block);
}

/*
 * A block is about to be reallocated, which may fail: if it was recorded, take its address out but
 * keep its place. Then, once: tr_sample_drop(), or tr_sample_keep() to have it in the set again.
 */
typedef _Atomic uint64_t tr_sample_slot;

tr_sample_slot *tr_sample_hold(const void *block); /* NULL: it was not recorded */
void tr_sample_drop(tr_sample_slot *slot, const void *block);
void tr_sample_keep(tr_sample_slot *slot, const void *block);

/* Private memory that this may touch, at most. */
size_t tr_sample_memory(void);

/* ---- parts, for tests ------------------------------------------------------------------------ */

/* -ln(x) for 0 < x <= 1, within 1e-11: there is no libm in here. */
double tr_sample_minus_log(double x);

/* Put in, without asking the countdown. False: both buckets are full. */
bool tr_sample_add(const void *block);

#endif

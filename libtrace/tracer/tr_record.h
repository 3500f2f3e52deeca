/* SPDX-License-Identifier: MIT */
/*
 * From a hook to a record in the ring
 *
 * Order is the point here (ft_segment.h, `floor`): a free is stamped and published before the real
 * free runs, so that no other thread can be given the address with an older stamp, and so that an
 * abort inside free() leaves the record that explains it. An allocation is stamped after the
 * real call has returned. A realloc has both stamps and is one record, written after the call.
 *
 * `frame` is the hook's own frame address: the unwinder starts at its caller.
 */
#ifndef TR_RECORD_H
#define TR_RECORD_H

#include <sys/single_threaded.h>
#include <time.h>
#ifdef __x86_64__
#include <x86intrin.h>
#endif

#include "tr_sample.h"
#include "tr_thread.h"

extern bool tr_use_tsc;

static inline uint64_t tr_stamp_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t tr_stamp(void)
{
#ifdef __x86_64__
	if (tr_likely(tr_use_tsc))
		return __rdtsc();
#endif
	return tr_stamp_clock();
}

/*
 * Not before what stands before it has completed, atomic operations above all: by them a thread
 * gets an address from the allocator, or a block from another thread that it then frees. Without
 * the fence the processor may read the clock while it still waits for that memory, and the stamp of
 * a free comes out older than that of the birth.
 */
static inline uint64_t tr_stamp_ordered(void)
{
#ifdef __x86_64__
	if (!__libc_single_threaded)
		_mm_lfence();
#endif
	return tr_stamp();
}

void tr_record_alloc(enum ft_api api, void *block, size_t size, unsigned align_log2,
		     const void *frame);

/* `given`: the size that came with the call, which the block should have; TR_NO_SIZE: none. */
#define TR_NO_SIZE SIZE_MAX
void tr_record_free(enum ft_api api, const void *block, size_t given, const void *frame);

/* The call that another one is inside of; frame NULL: none. */
struct tr_nest {
	const void *frame;
	uint32_t depth;
};

/* The block whose end is recorded, so that the free inside is passed over, and by whom. */
struct tr_deleting {
	const void *block, *frame;
};

struct tr_realloc {
	uint64_t early; /* stamp before the real call; 0: not recorded */
	uint64_t outer_floor;
	bool left_out; /* below a limit: the old block's birth was (tr_governor.h) */
	bool foreign;  /* set between: malloc_usable_size() does not know the blocks */
	struct tr_deleting deleting;
	struct tr_nest nest;
	struct tr_lane *lane;
	tr_sample_slot *held; /* when sampling: the old block's, NULL if it was not recorded */
};

/* This one is part of a realloc of the same block, which records it: it only has to be passed on.
 */
bool tr_realloc_is_inner(const void *old, const void *frame);

void tr_realloc_begin(struct tr_realloc *call, enum ft_api api, const void *old, const void *frame);
/* block NULL and size 0: the block was freed; block NULL otherwise: the call failed. */
void tr_realloc_end(struct tr_realloc *call, enum ft_api api, const void *old, void *block,
		    size_t size, const void *frame);

/*
 * Around a real function that allocates by calling another one that is hooked: operator new calls
 * malloc, and other allocators' calloc or posix_memalign may. What is allocated inside is held
 * back: if it is what the outer function returns, it is recorded as the outer's. What _begin()
 * returns goes to _end(), which sets it again whatever was left without returning in between.
 */
struct tr_nest tr_nest_begin(const void *frame);
/* `mallocs`: malloc_usable_size() knows the block, even if no malloc was seen inside. */
void tr_nest_end(const struct tr_nest *outer, enum ft_api api, void *block, size_t size,
		 unsigned align_log2, bool mallocs, const void *frame);
void tr_nest_unwound(void); /* an exception passes */

/* Around a real operator delete: the free of `block` inside is not recorded once more. */
struct tr_deleting tr_delete_begin(const void *block, const void *frame);
void tr_delete_end(const struct tr_deleting *outer, const void *block);

/* The thread, or the process, ends here: no call that is under way on this thread returns. What
 * waits for one is recorded. */
void tr_record_last(void);

void tr_record_mark(const char *label);
void tr_record_pool(enum ft_wire_pool what, const void *pool, const void *block, size_t size,
		    const char *name, const void *frame);

/* The lane is entered: no stamp that it publishes from now on is older than its last one. What
 * _set_floor() returns goes to _restore_floor(). */
uint64_t tr_set_floor(struct tr_self *self, struct tr_lane *lane, const void *frame);
void tr_restore_floor(struct tr_lane *lane, uint64_t outer);
void tr_count_lost(struct tr_lane *lane);
void tr_count_event(struct tr_lane *lane); /* before it is published */

/* A record of at most TR_SIDE_WORDS words, of a call for which tr_enter() gave no lane: it is kept
 * for the hook that has the lane, without a stack. words[0] lacks the length. */
void tr_record_nested(struct tr_self *self, const uint64_t *words, unsigned n);

/* A mark of the tracer's own, in a lane that is entered. Left out where there is no room. */
void tr_write_mark(struct tr_lane *lane, enum ft_wire_mark kind, const char *text, uint64_t stamp);

/*
 * Room for `words` words, LOSS and THREAD records that were owed written first. NULL: the ring
 * stays full and the policy says not to wait (longer). The lane must be entered.
 */
uint64_t *tr_reserve(struct tr_lane *lane, unsigned words, uint64_t stamp);

static inline void tr_publish(struct tr_lane *lane, unsigned words, uint64_t stamp)
{
	ft_ring_publish(&lane->producer, words);
	lane->last_stamp = stamp;
}

#endif

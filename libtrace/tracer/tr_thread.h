/* SPDX-License-Identifier: MIT */
/*
 * What the tracer knows of a thread
 *
 * struct tr_self lives in the thread's static TLS; struct tr_lane is the private half of a shared
 * ring, and stays when the thread goes: the next thread that takes the ring over continues it.
 *
 * A hook owns the lane between tr_enter() and tr_leave(). Who comes meanwhile on the same thread is
 * a signal handler that interrupted us (or the unwinder, if it allocates): its events go to
 * the side buffer, without a stack, and the owner writes them out when it leaves. Nobody waits.
 */
#ifndef TR_THREAD_H
#define TR_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fragtrace/event.h"
#include "ft_ring.h"
#include "tr_session.h"
#ifdef __x86_64__
#include "tr_fp.h"
#include "tr_walk.h"
#endif

enum {
	TR_MAX_DEPTH = 512,
	TR_DEFAULT_DEPTH = 256,
	TR_N_SIDE = 512, /* nested events that fit; later ones are counted as lost */
	TR_SIDE_WORDS = 8,
	TR_N_MEMOS = 8, /* threads whose stacks are memorized (tr_walk.h) */
};

struct tr_lane {
	struct ft_ring_producer producer;
	uint64_t last_stamp; /* of the last record published */
	uint32_t serial;
	bool announced;	     /* FT_WIRE_THREAD of the present owner is in the ring */
	bool after_loss;     /* the next event says so */
	bool owing;	     /* LOSS, THREAD or MODULE records must come before the next event */
	uint64_t n_lost_now; /* lost since the last FT_WIRE_LOSS */
	uint64_t start_routine;
	unsigned depth; /* of the stacks that the walker remembers; 0: none yet (tr_governor.h) */
	_Atomic uintptr_t stack_at; /* the owner's stack is around it */

	_Atomic int32_t tid;	/* of the owner */
	_Atomic uint32_t ended; /* enum tr_lane_end */

	_Atomic uint32_t n_side;
	uint32_t side_at; /* index + 1 of the one that is being written out, when the ring's tail
			     was */
	uint64_t side_tail;
	uint64_t side[TR_N_SIDE][TR_SIDE_WORDS];

	uintptr_t pcs[TR_MAX_DEPTH];   /* of a stack that is to be interned, and the hashes of */
	uint64_t hashes[TR_MAX_DEPTH]; /* each frame with its callers */
#ifdef __x86_64__
	struct tr_extent own_stack; /* for tr_fp_walk() */
	struct tr_walker walker;
#endif
};

enum tr_lane_end {
	TR_LANE_OWNED = 0,
	TR_LANE_ENDED = 1, /* the owner is on its way out: free for others once its tid is gone */
	TR_LANE_TAKING = 2,
};

/* A block that was allocated inside another call, not yet recorded. A slot is claimed by
 * tr_claim(), because a handler may come at any instruction and leave a block in one. */
struct tr_inner {
	uint8_t state; /* enum tr_inner_state */
	uint8_t api, align_log2;
	void *block;
	size_t size;
};

enum tr_inner_state { TR_INNER_EMPTY = 0, TR_INNER_CLAIMED = 1, TR_INNER_FULL = 2 };
enum { TR_N_INNER = 4, TR_N_ALL_INNER = 32 };

/* Change `from` into CLAIMED if it is still `from`: in one instruction, which handlers on this
 * thread can't split. No other thread is concerned, so no bus lock is paid. */
static inline bool tr_claim(uint8_t *state, uint8_t from)
{
#ifdef __x86_64__
	uint8_t seen = from;

	__asm__ volatile("cmpxchgb %2, %1"
			 : "+a"(seen), "+m"(*state)
			 : "q"((uint8_t)TR_INNER_CLAIMED)
			 : "memory", "cc");
	return seen == from;
#else
	return __atomic_compare_exchange_n(state, &from, TR_INNER_CLAIMED, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED);
#endif
}

/*
 * `owner`: the hook that has the lane; others are nested in it. NULL: none.
 *
 * `nest`, `inner`: operator new calls malloc. The block that malloc returned waits in `inner`;
 * operator new records it as its own when it returns the same address, else it is recorded as what
 * it is (a signal handler's, a new handler's). `deleting`: operator delete calls free with this
 * address, already recorded. `more_inner`: slots past TR_N_INNER may be in use, as handlers can
 * come in numbers while a call sleeps or waits for a processor; they are looked at only then.
 *
 * `mover`: the realloc whose floor the lane has, or NULL.
 *
 * A call may be left for good: by longjmp() out of a signal handler or a new-handler, or by
 * cancellation. These states are therefore frames of the hooks that they belong to, and end with
 * those (tr_frame_is_gone()); that of `deleting` is `deleter`. One word each: a handler may come
 * between any two. nest_depth counts for exceptions only.
 */
struct tr_self {
	struct tr_lane *lane;
	const void *owner, *nest, *deleter, *deleting, *mover;
	uint32_t nest_depth;
	uint8_t destructor_rounds;
	void *start_routine;
	size_t stack_size; /* of the stack that glibc began the thread on; 0: not known */
	uint64_t stamp;	   /* of the event whose stack is being taken */
	bool more_inner;
	struct tr_inner inner[TR_N_ALL_INNER];
};

extern __thread struct tr_self tr_self;

extern struct tr_lane *tr_lanes; /* n_rings of them, committed on touch */

/*
 * Has the call with the frame `outer` been left without returning, now that one with the frame
 * `frame` runs on the same thread? Frames of calls that are under way are below those that they
 * interrupted, or on another stack. True only if that is certain.
 */
bool tr_frame_is_gone_slow(const void *outer, const void *frame);

static inline bool tr_frame_is_gone(const void *outer, const void *frame)
{
	return tr_unlikely((uintptr_t)frame >= (uintptr_t)outer) && outer &&
	       tr_frame_is_gone_slow(outer, frame);
}

/* The lane's owner was left: it has published nothing, or all of its record. */
void tr_take_back(struct tr_self *self);

/* First event of a thread, of a forked child, or an event inside a hook. NULL: no lane to write to
 * (then self->owner tells a nested event from an untraced process). */
struct tr_lane *tr_enter_slow(struct tr_self *self, const void *frame);
void tr_leave_slow(struct tr_self *self, struct tr_lane *lane);

/* `frame`: the hook's. */
static inline struct tr_lane *tr_enter(struct tr_self *self, const void *frame)
{
	if (tr_unlikely(self->owner || !self->lane || !tr_session_live()))
		return tr_enter_slow(self, frame);
	self->owner = frame;
	/* A signal handler on this thread sees `owner` before any of what follows, and the reverse
	 * in tr_leave(). */
	atomic_signal_fence(memory_order_seq_cst);
	return self->lane;
}

static inline void tr_leave(struct tr_self *self, struct tr_lane *lane)
{
	atomic_signal_fence(memory_order_seq_cst);
	self->owner = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	if (tr_unlikely(atomic_load_explicit(&lane->n_side, memory_order_relaxed) != 0))
		tr_leave_slow(self, lane);
}

bool tr_threads_init(void);  /* once, in the constructor */
void tr_threads_reset(void); /* a new session: all lanes are nobody's, the caller's too */

/* The name that the kernel has for the calling thread. */
void tr_thread_name(uint64_t words[2]);

/* Tell the collector of the lane's owner, if it has not been told. False: no room. */
bool tr_thread_announce(struct tr_lane *lane, uint64_t stamp);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Threads and their rings
 *
 * A thread gets a ring with its first event and keeps it to its very last one: libc frees things of
 * a thread after all destructors have run. The end of a thread is therefore taken from the kernel:
 * our key's destructor, in its last round, writes FT_WIRE_THREAD_END and marks the lane ENDED, and
 * a thread that needs a ring takes over an ENDED lane whose tid no longer exists (tgkill: ESRCH).
 * The tid's new owner, if there is one, makes the lane look busy a while longer and nothing worse.
 * Lanes of threads that ran no destructor are found in the same way, two looks a new thread.
 */
#include "tr_thread.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "tr_maps.h"
#include "tr_module.h"
#include "tr_real.h"
#include "tr_record.h"

__thread struct tr_self tr_self;
struct tr_lane *tr_lanes;

#ifdef __x86_64__
/* Of the first lanes; the memory that a thread may take is bounded. */
static struct tr_memo memos[TR_N_MEMOS];
#endif

extern void *__libc_stack_end; /* the loader's: where the first thread's stack began */

static pthread_key_t end_key;
static size_t default_stack_size;

void tr_thread_name(uint64_t words[2])
{
	words[0] = words[1] = 0;
	tr_sys(SYS_prctl, PR_GET_NAME, words);
}

bool tr_thread_announce(struct tr_lane *lane, uint64_t stamp)
{
	enum { WORDS = 6 };

	if (lane->announced)
		return true;

	uint64_t *w = ft_ring_reserve(&lane->producer, WORDS);

	if (!w)
		return false;
	w[0] = ft_wire_head(FT_WIRE_THREAD, 0, 0, WORDS,
			    (uint32_t)atomic_load_explicit(&lane->tid, memory_order_relaxed));
	w[1] = stamp;
	w[2] = lane->start_routine;
	tr_thread_name(w + 3);
	w[5] = lane->serial;
	tr_publish(lane, WORDS, stamp);
	lane->announced = true;
	return true;
}

/* ---- finding a ring ---------------------------------------------------------------------------
 */

static bool is_gone(int32_t tid, int32_t own_tid)
{
	return tid == own_tid || tr_sys(SYS_tgkill, tr_session.pid, tid, 0) == -ESRCH;
}

static bool try_take(struct tr_lane *lane, uint32_t from, int32_t own_tid)
{
	uint32_t seen = from;
	int32_t tid = atomic_load_explicit(&lane->tid, memory_order_acquire);

	if (!tid || !atomic_compare_exchange_strong(&lane->ended, &seen, TR_LANE_TAKING))
		return false;
	if (tid == atomic_load_explicit(&lane->tid, memory_order_acquire) && is_gone(tid, own_tid))
		return true;
	/* An owner that ends at this moment sets ENDED itself: leave that. */
	seen = TR_LANE_TAKING;
	atomic_compare_exchange_strong(&lane->ended, &seen, from);
	return false;
}

static struct tr_lane *acquire(int32_t tid)
{
	static _Atomic uint32_t look_at;
	struct ft_segment_header *segment = tr_session.header;
	uint32_t limit = atomic_load(&tr_session.n_lanes);
	uint32_t used = atomic_load_explicit(&segment->n_rings_used, memory_order_acquire);

	if (used > limit)
		used = limit;
	for (uint32_t i = 0; i < used; i++)
		if (atomic_load_explicit(&tr_lanes[i].ended, memory_order_acquire) ==
			    TR_LANE_ENDED &&
		    try_take(tr_lanes + i, TR_LANE_ENDED, tid))
			return tr_lanes + i;

	/* Out of rings: look at all. Else at two, so that such lanes do not pile up. */
	for (uint32_t n = used < limit ? 2 : used; used && n-- > 0;) {
		struct tr_lane *lane =
			tr_lanes +
			atomic_fetch_add_explicit(&look_at, 1, memory_order_relaxed) % used;

		if (try_take(lane, TR_LANE_OWNED, tid))
			return lane;
	}

	if (used < limit) {
		uint32_t i = atomic_fetch_add(&segment->n_rings_used, 1);

		/* There may be fewer by now: after the addition, which who takes them away looks
		 * at (tr_session_make_room()). */
		limit = atomic_load(&tr_session.n_lanes);
		if (i < limit) {
			struct tr_lane *lane = tr_lanes + i;

			ft_ring_producer_init(
				&lane->producer, tr_session.rings + i,
				(uint64_t *)(void *)(tr_session.bodies + i * segment->ring_bytes),
				segment->ring_bytes);
			return lane;
		}
		atomic_store(&segment->n_rings_used, limit);
	}
	return NULL;
}

static struct tr_lane *attach(struct tr_self *self, const void *frame)
{
	struct ft_segment_header *segment = tr_session.header;
	int32_t tid = (int32_t)tr_sys(SYS_gettid);
	struct tr_lane *lane = acquire(tid);

	if (!lane) {
		atomic_fetch_add_explicit(&segment->n_no_ring, 1, memory_order_relaxed);
		return NULL;
	}
	lane->serial = atomic_fetch_add(&segment->n_threads, 1) + 1;
	lane->announced = false;
	lane->start_routine = (uint64_t)(uintptr_t)self->start_routine;
	atomic_store_explicit(&lane->stack_at, (uintptr_t)frame, memory_order_relaxed);
	atomic_store_explicit(&lane->n_side, 0, memory_order_relaxed);
	lane->side_at = 0;
#ifdef __x86_64__
	/* What the last owner's walks knew was about a stack that may be unmapped. */
	tr_walk_reset(&lane->walker, lane - tr_lanes < TR_N_MEMOS ? &memos[lane - tr_lanes] : NULL);
	lane->own_stack = (struct tr_extent){0};
	lane->walker.own_size = self->stack_size;
	lane->walker.own_low = (uintptr_t)__builtin_thread_pointer() - self->stack_size;
#endif
	atomic_store_explicit(&lane->producer.header->thread, lane->serial, memory_order_relaxed);
	/* A floor that the last owner left behind (it died inside a realloc) is not ours. */
	atomic_store_explicit(&lane->producer.header->floor, 0, memory_order_relaxed);
	atomic_store_explicit(&lane->producer.header->state, FT_RING_ACTIVE, memory_order_release);
	atomic_store_explicit(&lane->tid, tid, memory_order_release);
	atomic_store_explicit(&lane->ended, TR_LANE_OWNED, memory_order_release);
	tr_session_account();
	return lane;
}

/*
 * Signals wait while a thread looks for its ring: what a handler allocates then would have neither
 * a ring nor a side buffer to go to, and finding a ring takes page faults and system calls, long
 * enough to be hit. Those that an instruction of ours could raise are left as they are: blocked,
 * they would kill the process past its own handler, and a debugger's single step is one of them.
 */
struct held_signals {
	uint64_t before; /* as the kernel has it */
	bool held;
};

static struct held_signals hold_signals(void)
{
	struct held_signals signals;
	uint64_t of_instructions = UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGBUS - 1) |
				   UINT64_C(1) << (SIGILL - 1) | UINT64_C(1) << (SIGFPE - 1) |
				   UINT64_C(1) << (SIGTRAP - 1);
	uint64_t all = ~of_instructions;

	signals.held =
		tr_sys(SYS_rt_sigprocmask, SIG_BLOCK, &all, &signals.before, sizeof(all)) == 0;
	return signals;
}

static void release_signals(const struct held_signals *signals)
{
	if (signals->held)
		tr_sys(SYS_rt_sigprocmask, SIG_SETMASK, &signals->before, NULL,
		       sizeof(signals->before));
}

/* Enter with a new ring. NULL, and not entered: there is none to be had. */
static struct tr_lane *enter_first(struct tr_self *self, const void *frame)
{
	struct held_signals signals = hold_signals();
	/* A handler may have come just before, and found one. */
	bool is_new = !self->lane;

	self->owner = frame;
	atomic_signal_fence(memory_order_seq_cst);
	if (is_new)
		self->lane = attach(self, frame);
	if (!self->lane)
		self->owner = NULL;
	/* What comes after this finds us entered, and the side buffer. */
	release_signals(&signals);

	struct tr_lane *lane = self->lane;

	if (is_new && lane) {
		uint64_t stamp = tr_stamp();

		pthread_setspecific(end_key, lane);
		/* Without its THREAD record nothing may follow. */
		lane->owing = true;
		if (!lane->n_lost_now && tr_thread_announce(lane, stamp)) {
			lane->owing = false;
			tr_modules_emit(lane, stamp);
		}
	}
	return lane;
}

/* ---- calls that were left -------------------------------------------------------------------- */

/* The stack that the kernel or glibc made for this thread, and not one that the program switches
 * to: its top is known, and above it is no frame. */
static bool is_threads_own(const struct tr_extent *mapping, uintptr_t a, uintptr_t b)
{
	uintptr_t tops[2] = {(uintptr_t)__libc_stack_end, (uintptr_t)__builtin_thread_pointer()};

	for (unsigned i = 0; i < 2; i++)
		if (tops[i] - mapping->low < mapping->high - mapping->low && a < tops[i] &&
		    b < tops[i])
			return true;
	return false;
}

bool tr_frame_is_gone_slow(const void *outer, const void *frame)
{
	uintptr_t there = (uintptr_t)outer, here = (uintptr_t)frame;
	stack_t own = {.ss_flags = SS_DISABLE};
	struct tr_extent mapping;

	if (tr_sys(SYS_sigaltstack, NULL, &own) < 0)
		return false;

	uintptr_t low = (uintptr_t)own.ss_sp, size = own.ss_flags & SS_DISABLE ? 0 : own.ss_size;
	bool was_on_it = there - low < size, is_on_it = here - low < size;

	/* The handler that runs there has interrupted the call; or was left, if it made the call.
	 */
	if (was_on_it != is_on_it)
		return was_on_it;
	/* Coroutines' stacks are mappings of their own, or blocks, where nothing is certain. */
	return was_on_it || (tr_find_mapping(here, &mapping) &&
			     there - mapping.low < mapping.high - mapping.low &&
			     is_threads_own(&mapping, here, there));
}

void tr_take_back(struct tr_self *self)
{
	struct tr_lane *lane = self->lane;

	self->owner = NULL;
	if (!lane)
		return;
	/* It was writing this one out, and has done so. */
	if (lane->side_at && lane->producer.tail != lane->side_tail)
		lane->side[lane->side_at - 1][0] = 0;
	lane->side_at = 0;
	/* The last record's, or the one's before: the next one is not written as a difference. */
	lane->last_stamp = 0;
#ifdef __x86_64__
	tr_walk_reset(&lane->walker, lane->walker.memo);
#endif
	atomic_store_explicit(&lane->producer.header->waiting, 0, memory_order_relaxed);
}

struct tr_lane *tr_enter_slow(struct tr_self *self, const void *frame)
{
	if (atomic_load_explicit(&tr_session.state, memory_order_relaxed) != TR_READY)
		return NULL;

	int saved_errno = errno;

	if (!*tr_session.alive)
		tr_session_after_fork(); /* resets our own state too */
	if (self->owner && tr_session_live() && tr_frame_is_gone(self->owner, frame))
		tr_take_back(self);
	if (self->owner || !tr_session_live()) {
		errno = saved_errno;
		return NULL;
	}

	struct tr_lane *lane = self->lane;

	if (!lane) {
		lane = enter_first(self, frame);
	} else {
		self->owner = frame;
		atomic_signal_fence(memory_order_seq_cst);
	}
	errno = saved_errno;
	return lane;
}

/* ---- the end of a thread ----------------------------------------------------------------------
 */

static void on_thread_end(void *value)
{
	struct tr_self *self = &tr_self;
	struct tr_lane *lane = value;

	if (lane != self->lane || !tr_session_live())
		return;
	/* Destructors of the program may allocate in every round. */
	if (++self->destructor_rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
		pthread_setspecific(end_key, value);
		return;
	}

	tr_record_last();
	lane = tr_enter(self, __builtin_frame_address(0));
	if (!lane)
		return;

	uint64_t stamp = tr_stamp();
	uint64_t *w = tr_reserve(lane, 4, stamp);

	if (w) {
		w[0] = ft_wire_head(
			FT_WIRE_THREAD_END, 0, 0, 4,
			(uint32_t)atomic_load_explicit(&lane->tid, memory_order_relaxed));
		w[1] = stamp;
		tr_thread_name(w + 2);
		tr_publish(lane, 4, stamp);
	}
	tr_leave(self, lane);
	atomic_store_explicit(&lane->ended, TR_LANE_ENDED, memory_order_release);
}

/* ---- the start of a thread --------------------------------------------------------------------
 */

/* What a new thread is to call, from pthread_create() to its first instruction. */
struct start {
	void *(*routine)(void *);
	void *argument;
	size_t stack_size;
	_Atomic uint32_t next; /* index + 1 of the next free one */
};

enum { N_STARTS = 2048 };

static struct start starts[N_STARTS];
static _Atomic uint64_t free_starts; /* turn << 32 | index + 1: the turn defeats ABA */
static _Atomic uint32_t n_starts;

static struct start *take_start(void)
{
	uint64_t head = atomic_load_explicit(&free_starts, memory_order_acquire);

	while ((uint32_t)head) {
		struct start *start = starts + (uint32_t)head - 1;
		uint64_t next = ((head >> 32) + 1) << 32 |
				atomic_load_explicit(&start->next, memory_order_relaxed);

		if (atomic_compare_exchange_weak_explicit(
			    &free_starts, &head, next, memory_order_acquire, memory_order_acquire))
			return start;
	}

	uint32_t i = atomic_load_explicit(&n_starts, memory_order_relaxed);

	while (i < N_STARTS)
		if (atomic_compare_exchange_weak(&n_starts, &i, i + 1))
			return starts + i;
	return NULL;
}

static void give_start(struct start *start)
{
	uint64_t head = atomic_load_explicit(&free_starts, memory_order_relaxed), mine;

	do {
		atomic_store_explicit(&start->next, (uint32_t)head, memory_order_relaxed);
		mine = ((head >> 32) + 1) << 32 | (uint32_t)(start - starts + 1);
	} while (!atomic_compare_exchange_weak_explicit(
		&free_starts, &head, mine, memory_order_release, memory_order_relaxed));
}

/* Always with the tail call, so that no frame of ours lies at the bottom of every stack. */
__attribute__((optimize("O2"), noinline)) static void *begin_thread(void *argument)
{
	struct start *start = argument;
	void *(*routine)(void *) = start->routine;

	argument = start->argument;
	tr_self.start_routine = (void *)routine;
	tr_self.stack_size = start->stack_size;
	give_start(start);
	return routine(argument);
}

__attribute__((visibility("default"))) int pthread_create(pthread_t *thread,
							  const pthread_attr_t *attributes,
							  void *(*routine)(void *), void *argument)
{
	if (tr_unlikely(!tr_real.pthread_create))
		tr_real_resolve();

	struct start *start = tr_session_live() ? take_start() : NULL;

	if (!start)
		return tr_real.pthread_create(thread, attributes, routine, argument);
	start->routine = routine;
	start->argument = argument;
	start->stack_size = default_stack_size;
	if (attributes)
		pthread_attr_getstacksize(attributes, &start->stack_size);

	int failed = tr_real.pthread_create(thread, attributes, begin_thread, start);

	if (failed)
		give_start(start);
	return failed;
}

/* ---- set-up -----------------------------------------------------------------------------------
 */

bool tr_threads_init(void)
{
	pthread_attr_t attributes;

	/* Only to ask: none of it is allocated, so that nothing is to be given back. */
	if (pthread_attr_init(&attributes) == 0)
		pthread_attr_getstacksize(&attributes, &default_stack_size);
	return pthread_key_create(&end_key, on_thread_end) == 0;
}

void tr_threads_reset(void)
{
	void *start_routine = tr_self.start_routine;
	size_t stack_size = tr_self.stack_size;

	tr_self = (struct tr_self){.start_routine = start_routine, .stack_size = stack_size};
}

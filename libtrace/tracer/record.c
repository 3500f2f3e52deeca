/* SPDX-License-Identifier: MIT */
/* From a hook to a record in the ring: see tr_record.h. */
#include "tr_record.h"

#include <linux/futex.h>
#include <string.h>

#include "tr_governor.h"
#include "tr_module.h"
#include "tr_real.h"
#include "tr_stack.h"
#include "tr_suspect.h"

bool tr_use_tsc;

/* ---- a full ring ---------------------------------------------------------------------------- */

enum {
	SLICE_NS = 10 * 1000 * 1000,
	ATTACH_LIMIT_MS = 5000, /* a collector that has not come by then does not come */
};

/* Ends an idle collector's nap. */
static void ring_doorbell(void)
{
	struct ft_segment_header *segment = tr_session.header;

	atomic_fetch_add_explicit(&segment->doorbell, 1, memory_order_release);
	tr_sys(SYS_futex, &segment->doorbell, FUTEX_WAKE, 1);
}

/* Sleep until there is room for `words`, the collector stalls, or nobody will ever read. */
static uint64_t *wait_for_room(struct tr_lane *lane, unsigned words)
{
	struct ft_segment_header *segment = tr_session.header;
	struct ft_ring_header *ring = lane->producer.header;
	uint64_t beat = atomic_load_explicit(&segment->heartbeat, memory_order_relaxed);
	uint64_t since = tr_stamp_clock();
	static const struct timespec slice = {.tv_nsec = SLICE_NS};

	/* Another thread has given this very heartbeat up: do not wait for it once more each. */
	if (atomic_load_explicit(&tr_session.stalled_at, memory_order_relaxed) == beat + 1)
		return NULL;
	atomic_fetch_add_explicit(&ring->n_waits, 1, memory_order_relaxed);
	ring_doorbell();

	for (;;) {
		uint32_t turn = atomic_load_explicit(&ring->futex, memory_order_acquire);
		uint32_t attached = atomic_load_explicit(&segment->attached, memory_order_acquire);

		/* Pairs with the exchange in ft_ring_release(): it sees us, or we see the room. */
		atomic_store_explicit(&ring->waiting, 1, memory_order_seq_cst);
		lane->producer.cached_head =
			atomic_load_explicit(&ring->head, memory_order_seq_cst);

		uint64_t *room = ft_ring_reserve(&lane->producer, words);

		if (room) {
			atomic_store_explicit(&ring->waiting, 0, memory_order_relaxed);
			return room;
		}
		if (attached == FT_ATTACHED_REFUSED)
			break;
		tr_sys(SYS_futex, &ring->futex, FUTEX_WAIT, turn, &slice);

		uint64_t now = tr_stamp_clock();
		uint64_t seen = atomic_load_explicit(&segment->heartbeat, memory_order_relaxed);

		if (seen != beat) {
			beat = seen;
			since = now;
		}
		if (attached == FT_ATTACHED_NOT_YET
			    ? now - tr_session.started_ns > ATTACH_LIMIT_MS * UINT64_C(1000000)
			    : now - since > tr_settings.stall_limit_ms * UINT64_C(1000000))
			break;
	}
	atomic_store_explicit(&ring->waiting, 0, memory_order_relaxed);
	atomic_store_explicit(&tr_session.stalled_at, beat + 1, memory_order_relaxed);
	return NULL;
}

/*
 * Write what the stream lacks before another event may go into it. Drop mode ends when an eighth of
 * the ring is free, so that it does not end for one record.
 */
static bool pay(struct tr_lane *lane, uint64_t stamp)
{
	unsigned comfortable = (unsigned)((lane->producer.mask + 1) / 8 / 8);

	if (!ft_ring_reserve(&lane->producer, comfortable))
		return false;
	lane->owing = false;
	if (lane->n_lost_now) {
		uint64_t *w = ft_ring_reserve(&lane->producer, 3);

		w[0] = ft_wire_head(FT_WIRE_LOSS, 0, 0, 3, 0);
		w[1] = stamp;
		w[2] = lane->n_lost_now;
		tr_publish(lane, 3, stamp);
		lane->n_lost_now = 0;
		lane->after_loss = true;
	}
	if (!tr_thread_announce(lane, stamp)) {
		lane->owing = true;
		return false;
	}
	tr_modules_emit(lane, stamp);
	return true;
}

static uint64_t *reserve_slow(struct tr_lane *lane, unsigned words, uint64_t stamp)
{
	if (lane->owing && !pay(lane, stamp))
		return NULL;

	uint64_t *room = ft_ring_reserve(&lane->producer, words);

	if (!room && !tr_settings.drop_on_full)
		room = wait_for_room(lane, words);
	return room;
}

uint64_t *tr_reserve(struct tr_lane *lane, unsigned words, uint64_t stamp)
{
	if (tr_likely(!lane->owing)) {
		uint64_t *room = ft_ring_reserve(&lane->producer, words);

		if (tr_likely(room)) {
			/* Before it is full: who rings only then has to wait. */
			if (tr_unlikely(lane->producer.half_full)) {
				lane->producer.half_full = false;
				ring_doorbell();
			}
			return room;
		}
	}
	return reserve_slow(lane, words, stamp);
}

void tr_count_lost(struct tr_lane *lane)
{
	struct ft_ring_header *ring = lane->producer.header;

	lane->n_lost_now++;
	lane->owing = true;
	atomic_store_explicit(&ring->n_lost,
			      atomic_load_explicit(&ring->n_lost, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* ---- one event ------------------------------------------------------------------------------ */

static inline uint64_t set_floor(struct tr_self *self, struct tr_lane *lane, const void *frame)
{
	struct ft_ring_header *ring = lane->producer.header;
	uint64_t outer = atomic_load_explicit(&ring->floor, memory_order_relaxed);

	/* Inside a realloc of the interrupted code: its floor is the older one. */
	if (tr_unlikely(outer) && self->mover && !tr_frame_is_gone(self->mover, frame))
		return outer;
	self->mover = NULL;
	atomic_store_explicit(&ring->floor, lane->last_stamp | 1, memory_order_relaxed);
	return 0;
}

static inline void restore_floor(struct tr_lane *lane, uint64_t outer)
{
	/* Release: who sees the floor gone sees the record. */
	atomic_store_explicit(&lane->producer.header->floor, outer, memory_order_release);
}

uint64_t tr_set_floor(struct tr_self *self, struct tr_lane *lane, const void *frame)
{
	return set_floor(self, lane, frame);
}

void tr_restore_floor(struct tr_lane *lane, uint64_t outer)
{
	restore_floor(lane, outer);
}

static inline void count_event(struct tr_lane *lane)
{
	struct ft_ring_header *ring = lane->producer.header;

	atomic_store_explicit(&ring->n_events,
			      atomic_load_explicit(&ring->n_events, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

void tr_count_event(struct tr_lane *lane)
{
	count_event(lane);
}

static inline unsigned take_loss_flag(struct tr_lane *lane)
{
	unsigned flags = lane->after_loss ? FT_EVENT_F_AFTER_LOSS : 0;

	lane->after_loss = false;
	return flags;
}

/*
 * What the allocator reserved. glibc keeps it in the word before the block, with two bits that say
 * where the block lies; one load from a line that the program is about to touch anyway.
 *
 * Another allocator has to be asked, and may allocate to answer: tcmalloc makes the object that
 * knows at the first question, by operator new, which is our hook. Only the hook that has the lane
 * asks, so that no question is asked inside another one, nor for an event that nobody records.
 */
static inline size_t usable_size(const struct tr_lane *lane, void *block, size_t size,
				 unsigned *flags)
{
	size_t usable;

	if (tr_likely(tr_real.glibc)) {
		size_t chunk = ((const size_t *)block)[-1];

		usable = (chunk & ~(size_t)7) - ((chunk & 2) ? 2 : 1) * sizeof(size_t);
		if (chunk & 2)
			*flags |= FT_EVENT_F_MMAPPED;
		else if (chunk & 4)
			*flags |= FT_EVENT_F_NON_MAIN;
	} else {
		usable = lane && tr_real.malloc_usable_size ? tr_real.malloc_usable_size(block)
							    : size;
	}
	return usable < size ? size : usable;
}

struct event {
	unsigned n; /* words */
	uint64_t words[TR_SIDE_WORDS];
};

static inline void event_size(struct event *event, unsigned address_word, void *block, size_t size,
			      size_t usable, unsigned align_log2)
{
	size_t extra = usable - size < FT_WIRE_EXTRA_ESCAPE ? usable - size : FT_WIRE_EXTRA_ESCAPE;

	event->words[address_word] = (uint64_t)(uintptr_t)block | (uint64_t)extra
									  << FT_WIRE_ADDRESS_BITS;
	event->words[address_word + 1] = size;
	event->n = address_word + 2;
	if (tr_unlikely(extra == FT_WIRE_EXTRA_ESCAPE))
		event->words[event->n++] = usable;
	if (align_log2)
		event->words[event->n++] = align_log2;
}

/* words[0] lacks flags of the lane, the length and the stack; words[1] is the stamp. */
static inline void write_event(struct tr_lane *lane, const struct event *event, uint32_t stack)
{
	uint64_t *w = tr_reserve(lane, event->n, event->words[1]);
	uint64_t head = event->words[0] | (uint64_t)event->n << 24 | (uint64_t)stack << 32;
	bool is_event = ft_wire_type(head) != FT_WIRE_MAP;
	unsigned n;

	if (tr_unlikely(!w)) {
		tr_count_lost(lane);
		return;
	}
	/* Only now: what the reserve has written is what a short record adds to. */
	if (tr_likely(is_event))
		head |= (uint64_t)take_loss_flag(lane) << 16;
	n = ft_wire_shorten(head, event->words, lane->last_stamp, w);
	if (tr_unlikely(!n)) {
		n = event->n;
		for (unsigned i = 1; i < n; i++)
			w[i] = event->words[i];
		w[0] = head;
	}
	if (tr_likely(is_event))
		count_event(lane);
	tr_publish(lane, n, event->words[1]);
}

/*
 * The usual record, short and with nothing in its way, without a detour through struct event:
 * words[1] and [2] of the short form, and the head without its length. False: nothing was written.
 */
static inline __attribute__((always_inline)) bool write_short(struct tr_lane *lane, uint64_t head,
							      unsigned n, uint64_t first,
							      uint64_t second, uint64_t stamp)
{
	struct ft_ring_producer *producer = &lane->producer;
	uint64_t tail = producer->tail, at = tail & producer->mask, bytes = n * UINT64_C(8);
	uint64_t delta = stamp - lane->last_stamp;
	uint64_t *w = producer->body + at / 8;

	if (tr_unlikely(tail - producer->cached_head + bytes > producer->limit ||
			at + bytes > producer->mask + 1 || delta > UINT32_MAX || lane->owing ||
			lane->after_loss))
		return false;
	if (n == FT_WIRE_SHORT_FREE_WORDS)
		head |= delta << 32;
	else
		w[2] = second | delta << 32;
	w[0] = head | (uint64_t)n << 24;
	w[1] = first;
	count_event(lane);
	tr_publish(lane, n, stamp);
	return true;
}

/* An event inside a hook of the same thread: the interrupted hook writes it out when it leaves. */
static void write_nested(struct tr_self *self, const struct event *event)
{
	struct tr_lane *lane = self->lane;

	if (!self->owner || !tr_session_live())
		return; /* untraced */
	if (!lane) {
		/* The interrupted hook was just looking for a ring, and is interrupted by a fault:
		 * all other signals wait. */
		atomic_fetch_add_explicit(&tr_session.header->n_no_ring, 1, memory_order_relaxed);
		return;
	}

	/* Only handlers on this very thread compete, and they finish before we go on. */
	uint32_t i = atomic_load_explicit(&lane->n_side, memory_order_relaxed);

	do {
		if (i == TR_N_SIDE) {
			tr_count_lost(lane);
			return;
		}
	} while (!atomic_compare_exchange_weak_explicit(
		&lane->n_side, &i, i + 1, memory_order_relaxed, memory_order_relaxed));
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(lane->side[i], event->words, sizeof(lane->side[i]));
	lane->side[i][0] |= (uint64_t)event->n << 24;
}

void tr_record_nested(struct tr_self *self, const uint64_t *words, unsigned n)
{
	struct event event = {.n = n};

	memcpy(event.words, words, n * sizeof(*words));
	write_nested(self, &event);
}

void tr_leave_slow(struct tr_self *self, struct tr_lane *lane)
{
	const void *frame = __builtin_frame_address(0);

	while (atomic_load_explicit(&lane->n_side, memory_order_relaxed) && !self->owner) {
		self->owner = frame;
		atomic_signal_fence(memory_order_seq_cst);

		uint64_t outer = set_floor(self, lane, frame);
		uint32_t done = 0, n = 0;

		/* A handler may add more while we write: empty is empty only by exchange. */
		do {
			for (; done < n; done++) {
				struct event event = {.n = ft_wire_words(lane->side[done][0])};

				memcpy(event.words, lane->side[done], sizeof(event.words));
				event.words[0] &= ~(UINT64_C(0xff) << 24);
				lane->side_tail = lane->producer.tail;
				atomic_signal_fence(memory_order_seq_cst);
				lane->side_at = done + 1;
				/* Else its own handler was left before it was complete. */
				if (event.n)
					write_event(lane, &event, 0);
				atomic_signal_fence(memory_order_seq_cst);
				lane->side[done][0] = 0;
				atomic_signal_fence(memory_order_seq_cst);
				lane->side_at = 0;
			}
			n = done;
		} while (!atomic_compare_exchange_strong_explicit(
			&lane->n_side, &n, 0, memory_order_relaxed, memory_order_relaxed));
		restore_floor(lane, outer);
		atomic_signal_fence(memory_order_seq_cst);
		self->owner = NULL;
		atomic_signal_fence(memory_order_seq_cst);
	}
}

static inline void write_alloc(struct tr_self *self, enum ft_api api, void *block, size_t size,
			       unsigned align_log2, bool known, const void *frame)
{
	struct tr_lane *lane = tr_enter(self, frame);
	uint64_t outer = lane ? set_floor(self, lane, frame) : 0;
	uint64_t stamp = tr_stamp_ordered();
	unsigned flags = 0;
	size_t usable = known ? usable_size(lane, block, size, &flags) : size;
	size_t extra = usable - size;
	struct event event;
	uint32_t stack = 0;

	if (tr_likely(lane)) {
		stack = tr_stack(lane, frame, stamp);
		if (tr_likely(size <= UINT32_MAX && extra < FT_WIRE_EXTRA_ESCAPE && !align_log2) &&
		    tr_likely(write_short(
			    lane, ft_wire_head(FT_WIRE_SHORT_ALLOC, api, flags, 0, stack),
			    FT_WIRE_SHORT_ALLOC_WORDS,
			    (uint64_t)(uintptr_t)block | extra << FT_WIRE_ADDRESS_BITS, size,
			    stamp))) {
			restore_floor(lane, outer);
			tr_leave(self, lane);
			return;
		}
	}
	event.words[0] = ft_wire_head(FT_WIRE_ALLOC, api, flags, 0, 0);
	event.words[1] = stamp;
	event_size(&event, 2, block, size, usable, align_log2);
	if (tr_unlikely(!lane)) {
		write_nested(self, &event);
		return;
	}
	write_event(lane, &event, stack);
	restore_floor(lane, outer);
	tr_leave(self, lane);
}

/* With a limit: the step that is in force says whether it is recorded, and what it takes may be
 * measured. */
static __attribute__((noinline)) void record_alloc_governed(struct tr_self *self, enum ft_api api,
							    void *block, size_t size,
							    unsigned align_log2, bool known,
							    const void *frame)
{
	struct tr_timed timed = tr_timed_begin();

	if (tr_governor_takes(block, size))
		write_alloc(self, api, block, size, align_log2, known, frame);
	tr_timed_end(timed);
}

static inline void record_alloc(struct tr_self *self, enum ft_api api, void *block, size_t size,
				unsigned align_log2, bool known, const void *frame)
{
	if (tr_unlikely(tr_choosy)) {
		if (tr_governed) {
			record_alloc_governed(self, api, block, size, align_log2, known, frame);
			return;
		}
		if (!tr_sample_alloc(block, size))
			return;
	}
	write_alloc(self, api, block, size, align_log2, known, frame);
}

static inline void set_inner_state(struct tr_inner *inner, enum tr_inner_state state)
{
	atomic_signal_fence(memory_order_seq_cst);
	inner->state = (uint8_t)state;
	atomic_signal_fence(memory_order_seq_cst);
}

/* The block that waits there, if one does, turns out to be nobody's but the inner call's. */
static void flush_inner(struct tr_self *self, struct tr_inner *slot, const void *frame)
{
	if (!tr_claim(&slot->state, TR_INNER_FULL))
		return;

	struct tr_inner inner = *slot;

	set_inner_state(slot, TR_INNER_EMPTY);
	record_alloc(self, inner.api, inner.block, inner.size, inner.align_log2, true, frame);
}

static void push_inner(struct tr_self *self, enum ft_api api, void *block, size_t size,
		       unsigned align_log2, const void *frame)
{
	for (unsigned i = 0; i < TR_N_ALL_INNER; i++) {
		struct tr_inner *slot = &self->inner[i];

		if (!tr_claim(&slot->state, TR_INNER_EMPTY))
			continue;
		if (tr_unlikely(i >= TR_N_INNER))
			self->more_inner = true;
		slot->block = block;
		slot->size = size;
		slot->api = (uint8_t)api;
		slot->align_log2 = (uint8_t)align_log2;
		set_inner_state(slot, TR_INNER_FULL);
		return;
	}
	record_alloc(self, api, block, size, align_log2, true, frame);
}

static inline unsigned n_inner(const struct tr_self *self)
{
	return tr_unlikely(self->more_inner) ? TR_N_ALL_INNER : TR_N_INNER;
}

static inline struct tr_inner *find_inner(struct tr_self *self, const void *block)
{
	for (unsigned i = 0, n = n_inner(self); i < n; i++)
		if (self->inner[i].state == TR_INNER_FULL && self->inner[i].block == block)
			return &self->inner[i];
	return NULL;
}

/* Of calls that were left, nobody knows the stack. */
static void record_abandoned(struct tr_self *self, const struct tr_inner *inner)
{
	struct event event;
	unsigned flags = 0;

	if (tr_unlikely(tr_sampling) && !tr_sample_alloc(inner->block, inner->size))
		return;
	if (tr_unlikely(tr_governed))
		tr_governor_recorded(inner->block);

	struct tr_lane *lane = tr_enter(self, __builtin_frame_address(0));

	event.words[1] = tr_stamp_ordered();

	size_t usable = usable_size(lane, inner->block, inner->size, &flags);

	event.words[0] = ft_wire_head(FT_WIRE_ALLOC, inner->api, flags, 0, 0);
	event_size(&event, 2, inner->block, inner->size, usable, inner->align_log2);
	if (!lane) {
		write_nested(self, &event);
		return;
	}
	write_event(lane, &event, 0);
	tr_leave(self, lane);
}

/* The call that the blocks wait for does not return any more: they are what they are. */
static __attribute__((noinline)) void abandon_nest(struct tr_self *self)
{
	self->nest = NULL;
	self->nest_depth = 0;
	self->more_inner = false;
	for (unsigned i = 0; i < TR_N_ALL_INNER; i++) {
		struct tr_inner *slot = &self->inner[i], inner;

		if (!tr_claim(&slot->state, TR_INNER_FULL)) {
			/* Claimed by one that was left, too. */
			set_inner_state(slot, TR_INNER_EMPTY);
			continue;
		}
		inner = *slot;
		set_inner_state(slot, TR_INNER_EMPTY);
		record_abandoned(self, &inner);
	}
}

/* The outermost call has returned `block`: that one is its own, the others are not. True if it was
 * among them. */
static bool settle_inner(struct tr_self *self, const void *block, const void *frame)
{
	struct tr_inner *own = find_inner(self, block);
	bool found = own && tr_claim(&own->state, TR_INNER_FULL);
	unsigned n;

	if (found)
		set_inner_state(own, TR_INNER_EMPTY);
	/* What a handler allocates waits up to here, and no longer. */
	self->nest_depth = 0;
	self->nest = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	n = n_inner(self);
	if (tr_unlikely(n > TR_N_INNER))
		self->more_inner = false;
	for (unsigned i = 0; i < n; i++)
		if (tr_unlikely(self->inner[i].state == TR_INNER_FULL))
			flush_inner(self, &self->inner[i], frame);
	return found;
}

/* A block that waits is about to go: it comes into the stream before that. */
static inline void flush_if_inner(struct tr_self *self, const void *block, const void *frame)
{
	struct tr_inner *inner;

	if (tr_likely(!self->nest))
		return;
	inner = find_inner(self, block);
	if (inner)
		flush_inner(self, inner, frame);
}

void tr_record_alloc(enum ft_api api, void *block, size_t size, unsigned align_log2,
		     const void *frame)
{
	struct tr_self *self = &tr_self;

	if (tr_unlikely(self->nest != NULL)) {
		if (tr_likely(!tr_frame_is_gone(self->nest, frame))) {
			push_inner(self, api, block, size, align_log2, frame);
			return;
		}
		abandon_nest(self);
	}
	record_alloc(self, api, block, size, align_log2, true, frame);
}

static inline uint32_t free_stack(struct tr_lane *lane, enum ft_api api, const void *frame,
				  uint64_t stamp)
{
	uint32_t watch = atomic_load_explicit(&tr_session.header->watch, memory_order_relaxed);

	return tr_unlikely(tr_settings.free_stacks || watch >> api & 1)
		       ? tr_stack(lane, frame, stamp)
		       : 0;
}

/* The address word of a free, and one more where the size does not fit beside the address. */
static inline void event_given(struct event *event, const void *block, size_t given)
{
	uint64_t tag = given + 1; /* TR_NO_SIZE: 0 */

	if (tr_unlikely(tag >= FT_WIRE_GIVEN_ESCAPE)) {
		tag = FT_WIRE_GIVEN_ESCAPE;
		event->words[event->n++] = given;
	}
	event->words[2] = (uint64_t)(uintptr_t)block | tag << FT_WIRE_ADDRESS_BITS;
}

static inline void write_free(struct tr_self *self, enum ft_api api, const void *block,
			      size_t given, const void *frame);

static __attribute__((noinline)) void record_free_governed(struct tr_self *self, enum ft_api api,
							   const void *block, size_t given,
							   const void *frame)
{
	struct tr_timed timed = tr_timed_begin();

	if (tr_governor_frees(block))
		write_free(self, api, block, given, frame);
	tr_timed_end(timed);
}

void tr_record_free(enum ft_api api, const void *block, size_t given, const void *frame)
{
	struct tr_self *self = &tr_self;

	if (tr_unlikely(self->deleting == block)) {
		/* The free inside operator delete, or a delete inside a delete. */
		self->deleting = NULL;
		if (tr_likely(!tr_frame_is_gone(self->deleter, frame)))
			return;
	}
	flush_if_inner(self, block, frame);
	if (tr_unlikely(tr_choosy)) {
		if (tr_governed) {
			record_free_governed(self, api, block, given, frame);
			return;
		}
		if (!tr_sample_free(block))
			return;
	}
	write_free(self, api, block, given, frame);
}

static inline void write_free(struct tr_self *self, enum ft_api api, const void *block,
			      size_t given, const void *frame)
{
	struct tr_lane *lane = tr_enter(self, frame);
	uint64_t outer = lane ? set_floor(self, lane, frame) : 0;
	uint64_t stamp = tr_stamp_ordered();
	uint32_t stack = lane ? free_stack(lane, api, frame, stamp) : 0;
	uint64_t tag = given + 1; /* TR_NO_SIZE: 0 */

	if (tr_unlikely(!lane || stack || tag >= FT_WIRE_GIVEN_ESCAPE) ||
	    tr_unlikely(!write_short(
		    lane, ft_wire_head(FT_WIRE_SHORT_FREE, api, 0, 0, 0), FT_WIRE_SHORT_FREE_WORDS,
		    (uint64_t)(uintptr_t)block | tag << FT_WIRE_ADDRESS_BITS, 0, stamp))) {
		struct event event = {.n = 3};

		event.words[0] = ft_wire_head(FT_WIRE_FREE, api, 0, 0, 0);
		event.words[1] = stamp;
		event_given(&event, block, given);
		if (!lane) {
			write_nested(self, &event);
			return;
		}
		write_event(lane, &event, stack);
	}
	/* The free is in the ring already: a bad address may end the program here as well. */
	if (tr_unlikely(tr_is_suspect(block, given)))
		tr_suspect(lane, api, block, given, stamp, frame);
	restore_floor(lane, outer);
	tr_leave(self, lane);
}

/* ---- realloc -------------------------------------------------------------------------------- */

/* glibc's does it all inside; another one may call the hooked malloc and free. */
static inline void begin_inside(struct tr_realloc *call, struct tr_self *self, const void *old,
				const void *frame)
{
	if (tr_unlikely(!tr_real.glibc)) {
		call->nest = tr_nest_begin(frame);
		call->deleting = tr_delete_begin(old, frame);
	}
}

bool tr_realloc_is_inner(const void *old, const void *frame)
{
	const struct tr_self *self = &tr_self;

	if (tr_likely(!self->nest) || self->deleting != old)
		return false;
	/* Of a new block, only inside of a realloc that was to make one. */
	return (old || self->deleter == self->nest) && !tr_frame_is_gone(self->deleter, frame);
}

void tr_realloc_begin(struct tr_realloc *call, enum ft_api api, const void *old, const void *frame)
{
	struct tr_self *self = &tr_self;

	flush_if_inner(self, old, frame);
	call->lane = NULL;
	call->foreign = false;
	call->left_out = tr_unlikely(tr_governed) && old && tr_governor_left_out(old);
	if (call->left_out) {
		begin_inside(call, self, old, frame);
		return;
	}
	if (tr_unlikely(tr_sampling)) {
		call->held = old ? tr_sample_hold(old) : NULL;
		if (!call->held) {
			begin_inside(call, self, old, frame);
			return;
		}
	}

	/* Not held over the real call: a handler that comes in there has a lane to write to. The
	 * floor is, and the handler leaves it as it found it. */
	struct tr_lane *lane = tr_enter(self, frame);

	call->lane = lane;
	if (lane) {
		call->outer_floor = set_floor(self, lane, frame);
		if (!call->outer_floor)
			self->mover = frame;
		/* What dies of it leaves no other record. */
		if (tr_unlikely(old && tr_is_suspect(old, TR_NO_SIZE)))
			tr_suspect(lane, api, old, TR_NO_SIZE, tr_stamp_ordered(), frame);
		tr_leave(self, lane);
	}
	begin_inside(call, self, old, frame);
	call->early = tr_stamp_ordered();
}

void tr_realloc_end(struct tr_realloc *call, enum ft_api api, const void *old, void *block,
		    size_t size, const void *frame)
{
	struct tr_self *self = &tr_self;
	struct event event;
	unsigned flags = 0;

	if (tr_unlikely(!tr_real.glibc)) {
		tr_delete_end(&call->deleting, old);
		self->nest_depth = call->nest.depth;
		if (!call->nest.frame)
			settle_inner(self, block, frame);
	}
	if (!block && !(old && size == 0)) {
		/* It failed: what was live stays live. */
		if (tr_unlikely(tr_sampling) && call->held)
			tr_sample_keep(call->held, old);
		if (call->lane && call->lane == self->lane && tr_session_live()) {
			restore_floor(call->lane, call->outer_floor);
			if (!call->outer_floor)
				self->mover = NULL;
		}
		return;
	}

	bool born = block != NULL;

	if (tr_unlikely(tr_governed)) {
		/* Of a block that was left out there is no death, but perhaps a birth. */
		if (call->left_out) {
			if (block)
				record_alloc(self, api, block, size, 0, true, frame);
			return;
		}
		born = block && tr_governor_takes(block, size);
	}
	if (tr_unlikely(tr_sampling)) {
		if (call->held)
			tr_sample_drop(call->held, old);
		born = block && tr_sample_alloc(block, size);
		if (!call->held) {
			if (born)
				write_alloc(self, api, block, size, 0, true, frame);
			return;
		}
	}

	struct tr_lane *lane = tr_enter(self, frame);

	if (!born && !old) {
		/* realloc(NULL, n), left out: nothing has happened. */
		if (lane) {
			restore_floor(lane, lane == call->lane ? call->outer_floor : 0);
			if (lane != call->lane || !call->outer_floor)
				self->mover = NULL;
			tr_leave(self, lane);
		}
		return;
	}
	if (!born) {
		event.n = 3;
		event.words[0] = ft_wire_head(FT_WIRE_FREE, api, 0, 0, 0);
		event.words[1] = call->early;
		event.words[2] = (uint64_t)(uintptr_t)old;
	} else {
		uint64_t late = tr_stamp_ordered();
		size_t usable = call->foreign ? size : usable_size(lane, block, size, &flags);

		if (old) {
			event.words[0] = ft_wire_head(FT_WIRE_REALLOC, api, flags, 0, 0);
			event.words[1] = call->early;
			event.words[2] = late;
			event.words[3] = (uint64_t)(uintptr_t)old;
			event_size(&event, 4, block, size, usable, 0);
		} else {
			event.words[0] = ft_wire_head(FT_WIRE_ALLOC, api, flags, 0, 0);
			event.words[1] = late;
			event_size(&event, 2, block, size, usable, 0);
		}
	}
	if (!lane) {
		write_nested(self, &event);
		return;
	}
	if (lane != call->lane)
		call->outer_floor = 0; /* forked, or attached, meanwhile */
	/* A realloc's one stack is where the new block was born and where the old one died. */
	write_event(lane, &event,
		    born ? tr_stack(lane, frame, event.words[1])
			 : free_stack(lane, api, frame, event.words[1]));
	restore_floor(lane, call->outer_floor);
	if (!call->outer_floor)
		self->mover = NULL;
	tr_leave(self, lane);
}

/* ---- operator new --------------------------------------------------------------------------- */

struct tr_nest tr_nest_begin(const void *frame)
{
	struct tr_self *self = &tr_self;

	if (tr_unlikely(self->nest != NULL) && tr_frame_is_gone(self->nest, frame))
		abandon_nest(self);

	struct tr_nest outer = {.frame = self->nest, .depth = self->nest_depth};

	if (tr_likely(!outer.frame))
		self->nest = frame;
	self->nest_depth = outer.depth + 1;
	return outer;
}

void tr_nest_end(const struct tr_nest *outer, enum ft_api api, void *block, size_t size,
		 unsigned align_log2, bool mallocs, const void *frame)
{
	struct tr_self *self = &tr_self;

	if (outer->frame) {
		self->nest_depth = outer->depth;
		/* new[] calls new, nothrow new calls new: it is the outermost that was called. */
		if (block && !find_inner(self, block))
			push_inner(self, api, block, size, align_log2, frame);
		return;
	}

	/* A block of somebody's own pool has no chunk header to read. */
	bool known = settle_inner(self, block, frame) || mallocs;

	if (block)
		record_alloc(self, api, block, size, align_log2, known, frame);
}

void tr_nest_unwound(void)
{
	struct tr_self *self = &tr_self;

	if (self->nest && (self->nest_depth == 0 || --self->nest_depth == 0))
		settle_inner(self, NULL, __builtin_frame_address(0));
}

struct tr_deleting tr_delete_begin(const void *block, const void *frame)
{
	struct tr_self *self = &tr_self;
	struct tr_deleting outer = {.block = self->deleting, .frame = self->deleter};

	/* A handler that comes between the two finds the outer one. */
	self->deleting = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	self->deleter = frame;
	atomic_signal_fence(memory_order_seq_cst);
	self->deleting = block;
	return outer;
}

void tr_delete_end(const struct tr_deleting *outer, const void *block)
{
	struct tr_self *self = &tr_self;

	self->deleting = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	self->deleter = outer->frame;
	atomic_signal_fence(memory_order_seq_cst);
	self->deleting = outer->block == block ? NULL : outer->block;
}

/* ---- the last of a thread ------------------------------------------------------------------- */

void tr_record_last(void)
{
	struct tr_self *self = &tr_self;
	struct tr_lane *lane = self->lane;

	if (self->owner)
		tr_take_back(self);
	if (self->nest)
		abandon_nest(self);
	self->deleting = NULL;
	if (lane && atomic_load_explicit(&lane->n_side, memory_order_relaxed))
		tr_leave_slow(self, lane);
}

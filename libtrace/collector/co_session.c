/* SPDX-License-Identifier: MIT */
/* Session: life, and the draining of rings. See co_session.h; what records mean is in co_apply.c.
 */
#include "co_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ft_error.h"
#include "ft_governor.h"
#include "ft_weight.h"

/* ---- life ------------------------------------------------------------------------------------ */

struct ft_error *co_session_create(struct co_spill *spill, pid_t pid, struct co_segment *segment,
				   double rate, struct co_session **ret)
{
	static _Atomic uint64_t next_id = 1;
	struct co_session *session = calloc(1, sizeof(*session));

	if (!session) {
		co_segment_unmap(segment);
		return &ft_enomem;
	}
	session->n_refs = 1;
	session->id = next_id++;
	session->pid = pid;
	session->segment = *segment;
	session->spill = spill;
	session->rate = rate;
	*segment = (struct co_segment){0};
	pthread_mutex_init(&session->lock, NULL);
	co_late_init(&session->late);
	co_errors_init(&session->errors);
	co_mapped_init(&session->mapped);
	co_pools_init(&session->pools);
	co_live_init(&session->live);
	co_timeline_init(&session->timeline);
	if (session->segment.sample_bytes)
		session->timeline.count_bits = FT_WEIGHT_BLOCK_BITS;
	session->sites_interval = CO_SITES_NS;
	/* A forked child frees blocks of its parent, which are not known here: none is left out,
	 * lest such frees be taken for those of blocks that were. */
	co_governor_init(&session->governor, session->segment.max_overhead / 1e6,
			 session->segment.parent_pid ||
					 session->segment.origin.kind == CO_ORIGIN_FORK
				 ? FT_GOVERNOR_CUTS
				 : FT_GOVERNOR_STEPS - 1);
	session->floor_limit_ns = CO_FLOOR_LIMIT_NS;
	session->slack_ns = CO_SLACK_NS;

	char link[64];
	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	ssize_t len = readlink(link, session->host_exe, sizeof(session->host_exe) - 1);
	session->host_exe[len > 0 ? len : 0] = 0;

	session->rings = calloc(session->segment.n_rings, sizeof(*session->rings));
	if (!session->rings ||
	    !co_stacks_init(&session->stacks, session->segment.nodes, session->segment.max_nodes)) {
		co_session_unref(session);
		return &ft_enomem;
	}

	struct co_reading now = co_clock_read(session->segment.clock_source);
	struct co_reading start = {session->segment.start_stamp,
				   session->segment.start_monotonic_ns};

	co_timebase_init(&session->timebase, session->segment.clock_source, start, now, rate);
	session->sites_written = now.monotonic_ns;

	co_session_op(session, co_op_create(CO_OP_OPEN, 0));
	if (session->segment.max_overhead)
		co_governor_row(session, 0);
	co_session_flush(session);
	*ret = session;
	return NULL;
}

struct co_session *co_session_ref(struct co_session *session)
{
	atomic_fetch_add_explicit(&session->n_refs, 1, memory_order_relaxed);
	return session;
}

void co_session_unref(struct co_session *session)
{
	/* Acquire and release: whoever frees sees what the others did before they let go. */
	if (!session || atomic_fetch_sub_explicit(&session->n_refs, 1, memory_order_acq_rel) != 1)
		return;

	if (session->rings)
		for (uint32_t i = 0; i < session->segment.n_rings && session->rings[i].open; i++)
			co_queue_deinit(&session->rings[i].queue);
	free(session->rings);
	co_merge_deinit(&session->merge);
	co_live_deinit(&session->live);
	co_stacks_deinit(&session->stacks);
	co_late_deinit(&session->late);
	co_errors_deinit(&session->errors);
	co_mapped_deinit(&session->mapped);
	co_pools_deinit(&session->pools);
	for (uint32_t i = 0; i < session->n_modules; i++) {
		free((char *)(uintptr_t)session->modules[i].row.path);
		free((char *)(uintptr_t)session->modules[i].row.build_id);
	}
	free(session->modules);
	co_segment_unmap(&session->segment);
	pthread_mutex_destroy(&session->lock);
	free(session);
}

void co_session_end(struct co_session *session, enum co_end_kind kind, int code)
{
	uint32_t expected = 0;

	/* 1 reserves, 2 publishes: the first to tell is the one that counts. */
	if (!atomic_compare_exchange_strong(&session->ended, &expected, 1))
		return;
	session->end_kind = kind;
	session->end_code = code;
	atomic_store_explicit(&session->ended, 2, memory_order_release);
}

struct co_sums co_session_sums(const struct co_session *session)
{
	const struct co_timeline *timeline = &session->timeline;
	struct co_sums sums = session->before;

	sums.n_allocs += co_timeline_blocks(timeline, timeline->n_allocs);
	sums.n_frees += co_timeline_blocks(timeline, timeline->n_frees);
	if (timeline->peak_bytes > sums.peak_bytes)
		sums.peak_bytes = timeline->peak_bytes;
	return sums;
}

uint64_t co_session_time(const struct co_session *session, int64_t monotonic_ns)
{
	int64_t ns = monotonic_ns - session->timebase.start_ns;

	return ns > 0 ? (uint64_t)ns : 0;
}

/* ---- towards the write thread ---------------------------------------------------------------- */

/* While the disk takes its time the program may go on waiting as long as blocks get written. */
static void session_progress(void *ctx)
{
	struct co_session *session = ctx;

	atomic_fetch_add_explicit(&session->segment.header->heartbeat, 1, memory_order_relaxed);
}

void co_session_flush(struct co_session *session)
{
	if (!session->block)
		return;
	session->block->session = co_session_ref(session);
	session->block->part = atomic_load_explicit(&session->part, memory_order_relaxed);
	co_spill_put(session->spill, session->block);
	session->block = NULL;
}

static struct co_spill_block *session_block(struct co_session *session)
{
	if (!session->block) {
		session->block = co_spill_get(session->spill, session_progress, session);
		session->block_since = session->timebase.now.monotonic_ns;
	}
	return session->block;
}

void co_session_op(struct co_session *session, struct co_op *op)
{
	struct co_spill_block *block = op ? session_block(session) : NULL;

	if (!block) {
		free(op);
		session->out_of_memory = true;
		return;
	}
	co_block_add(block, op);
}

void co_session_node(void *ctx, const struct ft_stack_node *node)
{
	struct co_session *session = ctx;

	if (session->block && session->block->n_nodes == CO_BLOCK_NODES)
		co_session_flush(session);

	struct co_spill_block *block = session_block(session);

	if (block)
		block->nodes[block->n_nodes++] = *node;
	else
		session->out_of_memory = true;
}

struct ft_event *co_session_event(struct co_session *session)
{
	if (session->block && session->block->n_events == CO_BLOCK_EVENTS)
		co_session_flush(session);

	struct co_spill_block *block = session_block(session);

	if (!block) {
		session->out_of_memory = true;
		return NULL;
	}
	session->counters.n_events++;
	return &block->events[block->n_events++];
}

void co_session_thread_row(struct co_session *session, const struct co_thread *thread,
			   uint64_t end_ns)
{
	struct ft_thread_row row = {.id = thread->serial,
				    .tid = thread->tid,
				    .name = thread->name,
				    .start_function = thread->start_function,
				    .start_ns = thread->start_ns,
				    .end_ns = end_ns};

	co_session_op(session, co_op_thread(&row));
}

struct co_op *co_session_add_module(struct co_session *session, const struct ft_module_row *row,
				    uint32_t serial)
{
	struct co_op *op = NULL;

	pthread_mutex_lock(&session->lock);
	if (session->n_modules == session->modules_capacity &&
	    session->modules_capacity < CO_MAX_MODULES) {
		uint32_t capacity = session->modules_capacity ? session->modules_capacity * 2 : 32;
		struct co_module *modules = realloc(session->modules, capacity * sizeof(*modules));

		if (modules) {
			session->modules = modules;
			session->modules_capacity = capacity;
		}
	}
	if (session->n_modules < session->modules_capacity) {
		struct co_module *module = &session->modules[session->n_modules++];

		*module = (struct co_module){.row = *row, .serial = serial, .live = true};
		module->row.id = session->n_modules;
		module->row.path = strdup(row->path);
		module->row.build_id =
			row->build_id && *row->build_id ? strdup(row->build_id) : NULL;
		op = module->row.path ? co_op_module(&module->row) : NULL;
	}
	pthread_mutex_unlock(&session->lock);
	return op;
}

/* ---- draining -------------------------------------------------------------------------------- */

/* A ring whose producer wrote nonsense is emptied unread, so that nobody waits for room in it. */
static void skip_broken_ring(struct co_session *session, struct co_ring *ring)
{
	struct ft_ring_header *header = ring->consumer.header;

	if (!ring->broken_counted) {
		ring->broken_counted = true;
		session->counters.n_broken_rings++;
	}
	ring->consumer.head = atomic_load_explicit(&header->tail, memory_order_acquire);
	ring->released = ring->consumer.head;
	if (ft_ring_release(&ring->consumer))
		co_futex_wake(&header->futex);
}

/*
 * A stamp from the future is no stamp: it would hold back its ring and, once written, push all
 * later times forward. `ceiling` is the newest reading of the clock; it is read again only when a
 * record is newer than that.
 */
static uint64_t honest_stamp(const struct co_session *session, uint64_t stamp, uint64_t *ceiling)
{
	if (stamp <= *ceiling)
		return stamp;
	*ceiling = co_clock_stamp(session->timebase.source);
	return stamp <= *ceiling ? stamp : *ceiling;
}

/* A thread's serial as a ring says it, or 0: they are given out one after the other, and readers
 * make tables by them, so that none is far ahead of all that were seen before. */
static uint32_t honest_serial(struct co_session *session, uint32_t serial)
{
	enum { AHEAD = 1 << 16, MOST = 1 << 26 };

	if (serial > session->greatest_serial + AHEAD || serial > MOST) {
		session->counters.n_bad_records++;
		return 0;
	}
	if (serial > session->greatest_serial)
		session->greatest_serial = serial;
	return serial;
}

/* What is known about new records only here: whose they are, and that they are not of the future.
 */
static void complete_records(struct co_session *session, struct co_ring *ring,
			     struct co_record *records, uint32_t n)
{
	uint64_t ceiling = session->timebase.now.stamp, newest = ring->newest;
	uint32_t serial = ring->serial;

	for (uint32_t i = 0; i < n; i++) {
		struct co_record *record = &records[i];

		if (record->type <= FT_WIRE_REALLOC)
			session->counters.n_records++;
		else if (record->type == FT_WIRE_THREAD)
			record->side->words[5] = serial =
				honest_serial(session, (uint32_t)record->side->words[5]);
		record->thread = serial;
		record->stamp = honest_stamp(session, record->stamp, &ceiling);
		if (record->stamp > newest)
			newest = record->stamp;
	}
	ring->serial = serial;
	ring->newest = newest;
}

/* A ring of which a page takes longer than this is a slow one; smaller rings are not worth it, and
 * need their room. */
#define SLOW_PAGE_NS INT64_C(500000000)
enum { LEAST_PAGED_RING = 64 << 10 };

/*
 * Tell the producer of the room that there is. A thread that writes seldom would touch a page of
 * its ring for the first time, leave it for good, and go on to the next: all of the ring in the
 * end, for nothing. What was read of such a ring goes back to the kernel. Pages only, and before
 * they are told of as room, for then the producer may write to them again; so that the room of a
 * ring that has been read to its end is told by whole pages.
 */
static void give_room(struct co_session *session, struct co_ring *ring, bool exhausted)
{
	const struct co_segment *segment = &session->segment;
	uint64_t to = ring->consumer.head,
		 first = (ring->released + FT_SEGMENT_PAGE - 1) & -(uint64_t)FT_SEGMENT_PAGE;
	int64_t now = session->timebase.now.monotonic_ns;

	if (exhausted && segment->ring_bytes >= LEAST_PAGED_RING) {
		to &= -(uint64_t)FT_SEGMENT_PAGE;
		if (to <= ring->released)
			return;
		if (now - ring->paged_ns >= SLOW_PAGE_NS)
			co_segment_ring_discard(segment, ring->queue.index, first, to);
	}
	if (to >= first)
		ring->paged_ns = now;
	ring->released = to;
	if (ft_ring_release_to(&ring->consumer, to))
		co_futex_wake(&ring->consumer.header->futex);
}

/* Move records from a ring to its queue. Returns true if the ring was read to its end. */
static bool drain_ring(struct co_session *session, struct co_ring *ring, uint32_t limit, bool *some)
{
	struct co_queue *queue = &ring->queue;
	uint64_t n_bad = 0;
	uint32_t count = co_queue_count(queue), n = 0;
	bool exhausted = false;

	/* Idle rings need no room for a batch. */
	if (!ft_ring_has_next(&ring->consumer)) {
		exhausted = true;
	} else if (count < limit) {
		uint32_t room = limit - count < CO_BATCH ? limit - count : CO_BATCH;
		struct co_record *records = co_queue_reserve(queue, room);

		if (records)
			n = co_record_take(&ring->consumer, records, room, &n_bad, &exhausted);
		else
			session->out_of_memory = true;
		complete_records(session, ring, records, n);
		queue->n += n;
		session->counters.n_bad_records += n_bad;
	}

	if (n || n_bad) {
		*some = true;
		give_room(session, ring, exhausted);
	}
	if (ring->consumer.broken) {
		skip_broken_ring(session, ring);
		return true;
	}
	return exhausted;
}

static void open_ring(struct co_session *session, uint32_t index)
{
	struct co_ring *ring = &session->rings[index];
	struct ft_ring_header *header = &session->segment.rings[index];

	ft_ring_consumer_init(&ring->consumer, header,
			      co_segment_ring_body(&session->segment, index),
			      session->segment.ring_bytes);
	/* The first read starts at 0, whatever the header says: nothing has been taken yet. */
	ring->consumer.head = ring->consumer.cached_tail = 0;
	ring->serial =
		honest_serial(session, atomic_load_explicit(&header->thread, memory_order_relaxed));
	ring->queue.index = index;
	ring->open = true;
}

/* Lower `bound` to the ring's floor, unless it has been held for too long. */
static uint64_t below_floor(struct co_session *session, struct co_ring *ring, uint64_t floor,
			    uint64_t bound)
{
	int64_t now = session->timebase.now.monotonic_ns;

	if (floor == 0 || floor > ring->floor) {
		ring->floor = floor;
		ring->floor_since = now;
	}
	if (floor == 0 || floor >= bound)
		return bound;
	if (now - ring->floor_since > session->floor_limit_ns) {
		if (ring->floor_since >= 0) {
			session->counters.n_passed_over++;
			ring->floor_since = INT64_MIN / 2; /* counted once a floor */
		}
		return bound;
	}
	return floor;
}

/* Read all rings; returns the stamp below which everything has been read. */
static uint64_t drain_rings(struct co_session *session, uint64_t bound, bool final, bool *some,
			    bool *more)
{
	uint32_t n_rings = co_segment_n_rings_used(&session->segment);
	uint32_t limit = n_rings ? CO_QUEUED_MAX / n_rings : 0;

	/* A ring that is ahead of the others in time is not read any further meanwhile. */
	if (limit < CO_QUEUE_MIN)
		limit = CO_QUEUE_MIN;

	for (uint32_t i = 0; i < n_rings; i++) {
		struct co_ring *ring = &session->rings[i];

		if (!ring->open)
			open_ring(session, i);

		/* The floor before the records: a floor that is gone when we look has had its
		 * record published, and we will read it. Acquire pairs with the release that
		 * clears it. */
		uint64_t floor =
			atomic_load_explicit(&ring->consumer.header->floor, memory_order_acquire);

		if (!final)
			bound = below_floor(session, ring, floor, bound);
		if (!drain_ring(session, ring, limit, some)) {
			const struct co_queue *queue = &ring->queue;
			uint64_t unread = ring->newest;

			/* What is unread is not older, as far as is known. A queue that is full of
			 * one stamp must move all the same. */
			if (co_queue_count(queue) >= limit &&
			    queue->records[queue->head].stamp >= unread)
				unread++;
			*more = true;
			if (unread < bound)
				bound = unread;
		}
		if (co_queue_count(&ring->queue) && !co_merge_add(&session->merge, &ring->queue))
			session->out_of_memory = true;
	}
	return bound;
}

/* The program waits at its end until what it has published so far is in the file. */
static void answer_exit(struct co_session *session, uint64_t now, uint64_t bound)
{
	struct ft_segment_header *header = session->segment.header;

	if (!session->exit_seen) {
		if (atomic_load_explicit(&header->exiting, memory_order_acquire) !=
		    FT_EXITING_WAITING)
			return;
		session->exit_seen = true;
		session->exit_stamp = now;
		return;
	}
	if (!session->exit_answered && bound > session->exit_stamp) {
		session->exit_answered = true;
		co_session_op(session, co_op_create(CO_OP_COMMIT, 0));
		co_session_flush(session);
	}
}

void co_session_clock(struct co_session *session)
{
	const struct co_reading *knot = &session->timebase.knot;
	struct timespec boot, real;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &real);

	/* The other clocks are read now and moved back to the knot. */
	int64_t ago = co_clock_monotonic() - knot->monotonic_ns;
	struct co_op *op = co_op_create(CO_OP_CLOCK, 0);

	if (op)
		op->clock = (struct ft_clock_row){
			.time_ns = co_session_time(session, knot->monotonic_ns),
			.tsc = session->segment.clock_source == FT_CLOCK_TSC ? knot->stamp : 0,
			.boottime_ns = boot.tv_sec * INT64_C(1000000000) + boot.tv_nsec - ago,
			.realtime_ns = real.tv_sec * INT64_C(1000000000) + real.tv_nsec - ago};
	co_session_op(session, op);
}

/* The clock has gone back, and all stamps that were read before are written: none is waited for. */
static void restart_clock(struct co_session *session, struct co_reading now)
{
	co_timebase_restart(&session->timebase, now);
	co_session_clock(session);
	co_request_restamp(session, now.stamp);
	session->committed_stamp = 0;
	if (session->exit_seen)
		session->exit_stamp = now.stamp;
	for (uint32_t i = 0; i < session->segment.n_rings && session->rings[i].open; i++)
		session->rings[i].newest = session->rings[i].floor = 0;
}

enum co_pass_result co_session_pass(struct co_session *session)
{
	bool some = false, more = false;
	bool final = atomic_load_explicit(&session->ended, memory_order_acquire) == 2;
	struct co_reading now = co_clock_read(session->timebase.source);
	bool back = co_timebase_has_gone_back(&session->timebase, now);

	if (co_timebase_update(&session->timebase, now))
		co_session_clock(session);

	uint64_t slack = co_timebase_ticks(&session->timebase, (uint64_t)session->slack_ns);
	/* Stamps are honest ones, so that the last bound is above all of them. */
	uint64_t bound = final || back ? UINT64_MAX : now.stamp > slack ? now.stamp - slack : 0;

	co_merge_begin(&session->merge);
	uint64_t drained = drain_rings(session, bound, final || back, &some, &more);

	bound = back ? drained : co_request_bound(session, drained);
	more |= bound < drained; /* what is left waits in the queues */
	co_merge_run(&session->merge, bound, co_apply, session);
	if (back) {
		restart_clock(session, now);
		bound = now.stamp;
	}

	bool at_end = final && ((!some && !more) || session->end_kind == CO_END_DETACHED);

	more |= co_request_serve(session, bound);

	if (!final) {
		co_apply_timeline(session, co_timebase_peek(&session->timebase, bound), false);
		answer_exit(session, now.stamp, bound);
		co_governor_pass(session);
		if (session->exit_seen && !session->exit_answered)
			more = true;
	} else if (at_end) {
		co_request_abandon(session);
		co_end_write(session);
		session->finished = true;
		return CO_PASS_SOME;
	} else {
		more = true; /* once more: the end comes when a whole pass finds nothing */
	}

	if (now.monotonic_ns - session->sites_written > session->sites_interval) {
		co_end_write_sites(session);
		co_mapped_write(session);
		/* At most a percent of the time goes into this. */
		int64_t took = co_clock_monotonic() - now.monotonic_ns;
		session->sites_interval = took * 100 > CO_SITES_NS ? took * 100 : CO_SITES_NS;
		session->sites_written = now.monotonic_ns;
	}
	if (session->block && now.monotonic_ns - session->block_since > CO_FLUSH_NS)
		co_session_flush(session);
	atomic_fetch_add_explicit(&session->segment.header->heartbeat, 1, memory_order_relaxed);
	return more ? CO_PASS_MORE : some ? CO_PASS_SOME : CO_PASS_IDLE;
}

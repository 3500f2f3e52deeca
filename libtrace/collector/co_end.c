/* SPDX-License-Identifier: MIT */
/*
 * The end of a recording: totals, losses, and the ledger
 *
 * Every figure that a report needs to say how complete it is goes into `meta` here.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "co_session.h"

void co_end_write_sites(struct co_session *session)
{
	struct co_stacks *stacks = &session->stacks;
	uint32_t n_dirty = 0, n = 0;

	for (uint32_t i = 0; i < stacks->n_sites; i++)
		n_dirty += stacks->sites[i].dirty;
	if (!n_dirty)
		return;

	struct co_op *op = co_op_create(CO_OP_SITES, n_dirty * sizeof(struct ft_site_total_row));

	if (op) {
		struct ft_site_total_row *rows = (struct ft_site_total_row *)(void *)op->data;

		for (uint32_t i = 0; i < stacks->n_sites; i++) {
			struct co_site *site = &stacks->sites[i];

			if (!site->dirty)
				continue;
			site->dirty = false;

			uint64_t n_allocs = co_timeline_blocks(&session->timeline, site->n_allocs);
			uint64_t n_frees = co_timeline_blocks(&session->timeline, site->n_frees);

			rows[n++] = (struct ft_site_total_row){
				.stack = site->stack,
				.n_allocs = n_allocs,
				.n_frees = n_frees,
				.bytes_allocated = site->bytes_allocated,
				.bytes_freed = site->bytes_freed,
				.live_blocks = co_timeline_blocks(&session->timeline,
								  site->carried_blocks) +
					       n_allocs - n_frees,
				.live_bytes = co_site_live(site),
				.peak_bytes = site->peak_bytes};
		}
		op->n_sites = n;
	}
	co_session_op(session, op);
}

static void write_threads(struct co_session *session, uint64_t end_ns)
{
	for (uint32_t i = 0; i < session->segment.n_rings && session->rings[i].open; i++) {
		struct co_thread thread;

		pthread_mutex_lock(&session->lock);
		thread = session->rings[i].thread;
		session->rings[i].thread.live = false;
		pthread_mutex_unlock(&session->lock);
		if (thread.live && thread.serial)
			co_session_thread_row(session, &thread, end_ns);
	}
}

static void write_loss(struct co_session *session, uint64_t first_ns, uint64_t last_ns,
		       uint32_t thread, uint64_t n, const char *reason)
{
	struct co_op *op = co_op_create(CO_OP_LOSS, 0);

	if (op)
		op->loss = (struct ft_loss_row){.first_ns = first_ns,
						.last_ns = last_ns,
						.thread = thread,
						.n_events = n,
						.reason = reason};
	co_session_op(session, op);
	session->counters.n_lost += n;
}

static void put_int(struct co_session *session, const char *key, uint64_t value)
{
	co_session_op(session, co_op_meta_int(key, value > INT64_MAX ? INT64_MAX : (int64_t)value));
}

static uint64_t load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* Events of threads that found no ring, and rows or events that we could not keep: when and how
 * many these are is not known. */
static void write_gaps(struct co_session *session, uint64_t end_ns)
{
	uint64_t n_no_ring = load(&session->segment.header->n_no_ring);

	if (n_no_ring > session->n_no_ring_told)
		write_loss(session, session->begin_ns, end_ns, 0,
			   n_no_ring - session->n_no_ring_told, "no_ring");
	session->n_no_ring_told = n_no_ring;
	if (session->out_of_memory)
		write_loss(session, session->begin_ns, end_ns, 0, 0, "no_memory");
	session->out_of_memory = false;
}

/* Losses that no record could tell of any more. */
static void write_losses(struct co_session *session, uint64_t end_ns)
{
	for (uint32_t i = 0; i < session->segment.n_rings && session->rings[i].open; i++) {
		const struct co_ring *ring = &session->rings[i];
		const struct ft_ring_header *header = ring->consumer.header;
		uint64_t n_lost = load(&header->n_lost);

		if (n_lost > ring->n_lost_told)
			write_loss(session, ring->last_ns, end_ns, ring->thread.serial,
				   n_lost - ring->n_lost_told, "ring_full");
		if (ring->consumer.broken)
			write_loss(session, ring->last_ns, end_ns, ring->thread.serial, 0,
				   "ring_damaged");
	}
	write_gaps(session, end_ns);
}

/* What the program has touched of the segment, at most. */
static uint64_t shared_bytes(const struct co_session *session)
{
	const struct co_segment *segment = &session->segment;
	const struct ft_segment_header *header = segment->header;
	uint64_t n = sizeof(*header);

	for (uint32_t i = 0; i < segment->n_rings && session->rings[i].open; i++) {
		uint64_t written = load(&session->rings[i].consumer.header->tail);

		n += sizeof(struct ft_ring_header);
		n += written < header->ring_bytes ? written : header->ring_bytes;
	}
	return n + (UINT64_C(1) + atomic_load_explicit(&header->n_nodes, memory_order_relaxed)) *
			   sizeof(struct ft_segment_node);
}

/* Counters that never go back: each recording has its own share. */
struct ledger {
	struct co_session *session;
	unsigned n;
};

static void put_share(struct ledger *ledger, const char *key, uint64_t value)
{
	uint64_t *before = &ledger->session->ledger_before[ledger->n++];

	if (key)
		put_int(ledger->session, key, value - *before);
	*before = value;
}

/* In an order that stays. */
static void write_shares(struct co_session *session)
{
	const struct co_counters *counters = &session->counters;
	const struct ft_segment_header *header = session->segment.header;
	bool self_check = session->segment.options & FT_OPTION_SELF_CHECK;
	struct ledger ledger = {session, 0};
	uint64_t n_events = 0, n_waits = 0;

	for (uint32_t i = 0; i < session->segment.n_rings && session->rings[i].open; i++) {
		n_events += load(&session->rings[i].consumer.header->n_events);
		n_waits += load(&session->rings[i].consumer.header->n_waits);
	}
	put_share(&ledger, "ring_events", n_events);
	put_share(&ledger, "ring_waits", n_waits);
	put_share(&ledger, "events_written", counters->n_events);
	put_share(&ledger, "events_read", counters->n_records);
	put_share(&ledger, "lost_events", counters->n_lost);
	put_share(&ledger, session->was_paused ? "paused_events" : NULL, counters->n_paused);
	put_share(&ledger, session->segment.max_overhead ? "unrecorded_frees" : NULL,
		  counters->n_unrecorded);
	put_share(&ledger, "unknown_frees", counters->n_unknown_frees);
	put_share(&ledger, "invalid_frees", session->errors.n_invalid);
	put_share(&ledger, "bad_sizes", session->errors.n_bad_sizes);
	put_share(&ledger, "errors_without_row", session->errors.n_left_out);
	put_share(&ledger, "inversions", counters->n_inversions);
	put_share(&ledger, "implied_frees", counters->n_implied_frees);
	put_share(&ledger, "swallowed_frees", counters->n_swallowed_frees);
	put_share(&ledger, "floors_passed_over", counters->n_passed_over);
	put_share(&ledger, "bad_records", counters->n_bad_records);
	put_share(&ledger, "damaged_rings", counters->n_broken_rings);
	put_share(&ledger, "untracked_blocks", counters->n_untracked);
	put_share(&ledger, "bad_stacks", session->stacks.n_bad);
	put_share(&ledger, "raw_stack_frames", session->stacks.n_raw);
	put_share(&ledger, "stacks_without_node", load(&header->n_no_node));
	put_share(&ledger, "map_calls", session->mapped.n_calls);
	put_share(&ledger, "map_calls_without_row",
		  session->mapped.n_calls - session->mapped.n_rows);
	put_share(&ledger, self_check ? "self_check_stacks" : NULL, load(&header->n_checked));
	put_share(&ledger, self_check ? "self_check_differences" : NULL,
		  load(&header->n_differences));
	put_share(&ledger, self_check ? "self_check_explained" : NULL, load(&header->n_explained));
}

static void write_ledger(struct co_session *session)
{
	uint64_t spill_peak_bytes, spill_waits;
	struct rusage usage;
	struct timespec cpu;

	write_shares(session);
	put_int(session, "ring_bytes", session->segment.ring_bytes);
	put_int(session, "rings", co_segment_n_rings_used(&session->segment));
	put_int(session, "live_table_bytes", co_live_bytes(&session->live));
	if (session->segment.sample_bytes)
		put_int(session, "sample_set_full", load(&session->segment.header->n_sample_full));
	put_int(session, "map_ranges_left_out", session->mapped.ranges.n_left_out);
	put_int(session, "mapped_peak_bytes", session->mapped.peak_bytes);
	put_int(session, "peak_bytes", session->timeline.peak_bytes);
	put_int(session, "peak_ns", session->timeline.peak_ns);
	put_int(session, "tracer_bytes", load(&session->segment.header->tracer_bytes));
	put_int(session, "tracer_shared_bytes", shared_bytes(session));
	co_session_op(session, co_op_meta("tracer_memory",
					  "at most 4 MiB + 1 MiB a thread that allocates + 48 "
					  "bytes a node of the tree of stacks"));
	co_spill_stats(session->spill, &spill_peak_bytes, &spill_waits);
	put_int(session, "spill_peak_bytes", spill_peak_bytes);
	put_int(session, "spill_waits", spill_waits);

	/* Of the collector as a whole: it may serve other recordings too. */
	put_int(session, "collector_pid", (uint64_t)getpid());
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		put_int(session, "collector_peak_rss", (uint64_t)usage.ru_maxrss * 1024);
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
		put_int(session, "collector_cpu_ns",
			(uint64_t)cpu.tv_sec * UINT64_C(1000000000) + (uint64_t)cpu.tv_nsec);
	co_session_op(
		session,
		co_op_meta(
			"collector_memory",
			"64 MiB spill + 48 bytes a live block + 8 bytes a stack node (32 past the "
			"tree's end, at most 128 MiB) + 72 bytes a site + at most 32 MiB of "
			"records that wait for their turn"));
}

/* How the program ended, as far as anybody knows. */
static void write_end(struct co_session *session, uint64_t end_ns)
{
	bool said_goodbye =
		atomic_load_explicit(&session->segment.header->exiting, memory_order_acquire);
	struct co_op *op = co_op_create(CO_OP_END, 0);
	const char *kind = "unknown", *program_end = "unknown";

	switch (session->end_kind) {
	case CO_END_EXIT:
		kind = program_end = "exit";
		break;
	case CO_END_SIGNAL:
		kind = "signal";
		program_end = "killed";
		break;
	case CO_END_EXEC:
		kind = program_end = "exec";
		break;
	case CO_END_DETACHED:
		program_end = "detached";
		break;
	case CO_END_UNKNOWN:
		if (said_goodbye)
			kind = "exit";
		program_end = said_goodbye ? "exit" : "killed";
		break;
	}
	co_session_op(session, co_op_meta("program_end", program_end));
	if (op) {
		op->end.end_ns = end_ns;
		op->end.exit_kind = kind;
		op->end.exit_code = session->end_kind <= CO_END_SIGNAL ? session->end_code : -1;
	}
	co_session_op(session, op);
}

/* What both a last and an intermediate end say. */
static void write_account(struct co_session *session, uint64_t end_ns)
{
	co_apply_timeline(session, end_ns, true);
	for (uint32_t i = 0; i < session->segment.n_rings; i++)
		co_errors_settle(session, &session->rings[i]);
	co_end_write_sites(session);
	co_mapped_write(session);
	co_pools_write(session);
	if (session->segment.max_overhead)
		co_governor_row(session, end_ns);
}

void co_end_write(struct co_session *session)
{
	uint64_t end_ns = co_session_time(session, session->timebase.now.monotonic_ns);

	if (end_ns < session->timebase.last_ns)
		end_ns = session->timebase.last_ns;
	write_account(session, end_ns);
	write_threads(session, end_ns);
	write_losses(session, end_ns);
	write_ledger(session);
	write_end(session, end_ns);
	co_session_flush(session);
}

/* ---- going on in another recording ----------------------------------------------------------- */

/* Accounts begin anew with what lives. */
static void carry_over(struct co_session *session, uint64_t time_ns)
{
	struct co_stacks *stacks = &session->stacks;

	session->before = co_session_sums(session);
	session->begin_ns = time_ns;
	co_timeline_rotate(&session->timeline, time_ns);
	for (uint32_t i = 0; i < stacks->n_sites; i++) {
		struct co_site *site = &stacks->sites[i];

		site->carried_blocks += site->n_allocs - site->n_frees;
		site->carried_bytes += site->bytes_allocated - site->bytes_freed;
		site->n_allocs = site->n_frees = 0;
		site->bytes_allocated = site->bytes_freed = 0;
		site->peak_bytes = site->carried_bytes;
		site->dirty = site->carried_blocks != 0;
	}
	for (uint32_t i = 0; i < session->mapped.n_sites; i++)
		session->mapped.dirty[i] = true;
}

void co_end_rotate(struct co_session *session, struct co_request *request)
{
	uint64_t at_ns = co_timebase_peek(&session->timebase, request->stamp);
	struct co_op *op = co_op_create(CO_OP_ROTATE, 0);

	if (!op) {
		co_request_finish(request, "out of memory");
		return;
	}
	if (at_ns < session->timebase.last_ns)
		at_ns = session->timebase.last_ns;
	write_account(session, at_ns);
	write_gaps(session, at_ns);
	write_ledger(session);
	co_session_op(session, co_op_meta("program_end", "rotated"));
	op->rotate.request = request;
	op->rotate.at_ns = at_ns;
	co_session_op(session, op);
	co_session_flush(session);
	/* After the block: what a sampler sees of this comes behind it. */
	atomic_fetch_add_explicit(&session->part, 1, memory_order_release);
	carry_over(session, at_ns);
	co_session_clock(session);
	if (session->paused)
		co_request_mark(session, request, "pause");
	if (session->segment.max_overhead)
		co_governor_row(session, at_ns);
	co_apply_timeline(session, at_ns, true);
}

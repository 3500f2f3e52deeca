/* SPDX-License-Identifier: MIT */
/*
 * Records, in order, become events and rows
 *
 * The allocator's own order of events at one address is restored here where stamps alone did not
 * give it: an address that is handed out while it is still live had a free that we have not seen
 * yet. An implied free is written in its place, and the real one, should it come, is swallowed
 * (co_late.h).
 *
 * A realloc takes its place at its late stamp, where its new block was born. Its old block died at
 * some moment since the early one; when another thread got that address meanwhile, the implied free
 * says so and the realloc is written as the plain birth that is left of it.
 */
#include <stdlib.h>
#include <string.h>

#include "co_session.h"
#include "ft_weight.h"

enum { LOOK_AHEAD = 16 };

static const unsigned wire_flags = FT_EVENT_F_MMAPPED | FT_EVENT_F_NON_MAIN | FT_EVENT_F_AFTER_LOSS;

/* ---- timeline -------------------------------------------------------------------------------- */

static void timeline_row(void *ctx, const struct ft_timeline_row *row, uint64_t interval)
{
	struct co_session *session = ctx;
	struct co_op *op = co_op_create(CO_OP_TIMELINE, 0);

	if (op) {
		op->timeline = *row;
		/* The newest sample of this interval, if there was one. */
		pthread_mutex_lock(&session->lock);
		for (uint32_t i = 0; i < session->n_rss && i < CO_RSS_SAMPLES; i++) {
			const struct co_rss *rss =
				&session->rss[(session->n_rss - 1 - i) % CO_RSS_SAMPLES];

			if (rss->time_ns > row->time_ns || rss->time_ns + interval <= row->time_ns)
				continue;
			op->timeline.rss = rss->rss;
			op->timeline.pss = rss->pss;
			op->timeline.anon = rss->anon;
			op->timeline.swap = rss->swap;
			op->timeline.tracer = rss->tracer;
			break;
		}
		pthread_mutex_unlock(&session->lock);
	}
	co_session_op(session, op);
}

void co_apply_timeline(struct co_session *session, uint64_t time_ns, bool final)
{
	if (time_ns < session->timebase.last_ns)
		time_ns = session->timebase.last_ns;
	if (final)
		co_timeline_finish(&session->timeline, time_ns, timeline_row, session);
	else
		co_timeline_advance(&session->timeline, time_ns, timeline_row, session);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* The time of a record that is written now. */
static uint64_t event_time(struct co_session *session, const struct co_record *record)
{
	uint64_t time_ns = co_timebase_time(&session->timebase, record->stamp);

	if (record->stamp < session->committed_stamp)
		session->counters.n_inversions++;
	else
		session->committed_stamp = record->stamp;
	co_timeline_advance(&session->timeline, time_ns, timeline_row, session);
	return time_ns;
}

static void write_event(struct co_session *session, struct co_ring *ring, enum ft_event_kind kind,
			const struct co_record *record, uint64_t time_ns, uint32_t stack)
{
	struct ft_event *event = co_session_event(session);

	if (!event)
		return;
	*event =
		(struct ft_event){.time_ns = time_ns,
				  .address = record->address,
				  .size = record->size,
				  .usable = record->usable,
				  .old_address = kind == FT_EVENT_REALLOC ? record->old_address : 0,
				  .stack = stack,
				  .thread = record->thread,
				  .kind = (uint8_t)kind,
				  .api = record->api < FT_API_N ? record->api : 0,
				  .flags = (uint8_t)(record->flags & wire_flags),
				  .align_log2 = record->align_log2};
	if (ring->after_loss)
		event->flags |= FT_EVENT_F_AFTER_LOSS;
	ring->after_loss = false;
	ring->last_ns = time_ns;
}

/* What a block counts for in the totals: itself, or in a sampled recording all that it stands for.
 */
struct share {
	uint64_t bytes, usable;
	uint64_t blocks; /* in units of 2^-count_bits of the timeline */
};

static inline struct share share_of(const struct co_session *session, const struct co_block *block)
{
	uint64_t usable = block->extra == CO_EXTRA_UNKNOWN ? 0 : block->size + block->extra;

	/* What it holds is counted object by object; of these, it has the memory. */
	if (session->stacks.sites[block->site].api == FT_API_POOL_BACKING)
		return (struct share){.usable = usable};
	if (block->address & FT_ADDRESS_POOL)
		return (struct share){.bytes = block->size, .blocks = 1};

	if (!session->segment.sample_bytes)
		return (struct share){.bytes = block->size, .usable = usable, .blocks = 1};

	struct ft_weight weight = ft_weight_of(block->size, session->segment.sample_bytes);

	return (struct share){.bytes = weight.bytes,
			      .usable = ft_weight_scale(&weight, usable),
			      .blocks = weight.blocks};
}

/* Totals of a block's death. */
static void count_death(struct co_session *session, const struct co_block *block)
{
	struct co_site *site = &session->stacks.sites[block->site];
	struct share share = share_of(session, block);

	session->timeline.n_frees += share.blocks;
	session->timeline.bytes_freed += share.bytes;
	session->timeline.usable_bytes -= share.usable;
	site->n_frees += share.blocks;
	site->bytes_freed += share.bytes;
	site->dirty = true;
}

/* Totals of a block's birth. */
static void count_birth(struct co_session *session, const struct co_block *block, uint8_t api,
			uint64_t time_ns)
{
	struct co_site *site = &session->stacks.sites[block->site];
	struct share share;

	site->api = api;
	share = share_of(session, block);
	session->timeline.n_allocs += share.blocks;
	session->timeline.bytes_allocated += share.bytes;
	session->timeline.usable_bytes += share.usable;
	co_timeline_peak(&session->timeline, time_ns);
	site->n_allocs += share.blocks;
	site->bytes_allocated += share.bytes;
	site->dirty = true;
	if (co_site_live(site) > site->peak_bytes)
		site->peak_bytes = co_site_live(site);
}

/* The stack that a record names, as co_stacks numbers it. */
static inline uint32_t stack_of(const struct co_ring *ring, const struct co_record *record)
{
	return record->stack == FT_WIRE_RAW_STACK ? ring->raw_stack : record->stack;
}

uint32_t co_session_stack(struct co_session *session, const struct co_ring *ring,
			  const struct co_record *record)
{
	return co_stacks_file_id(&session->stacks, stack_of(ring, record), co_session_node,
				 session);
}

/* A block lived at the address that is born again: its free is late. */
static void imply_free(struct co_session *session, const struct co_block *block,
		       const struct co_record *birth, uint64_t time_ns)
{
	struct ft_event *event = co_session_event(session);

	count_death(session, block);
	session->counters.n_implied_frees++;
	co_late_expect(&session->late, birth->address, birth->stamp,
		       co_timebase_ticks(&session->timebase, CO_LATE_NS));
	if (event)
		*event = (struct ft_event){.time_ns = time_ns,
					   .address = birth->address,
					   .thread = birth->thread,
					   .kind = FT_EVENT_FREE,
					   .api = FT_API_UNKNOWN,
					   .flags = FT_EVENT_F_IMPLIED};
}

/* A free that is written now; `block` is what dies, NULL when that is not known. */
static void write_free(struct co_session *session, struct co_ring *ring,
		       const struct co_record *record, uint64_t time_ns,
		       const struct co_block *block)
{
	uint32_t stack = record->stack ? co_session_stack(session, ring, record) : 0;

	if (block)
		count_death(session, block);
	else
		session->counters.n_unknown_frees++;
	write_event(session, ring, FT_EVENT_FREE, record, time_ns, stack);
}

/* The common end of an allocation and of a realloc: a block is born. */
static void apply_birth(struct co_session *session, struct co_ring *ring, enum ft_event_kind kind,
			const struct co_record *record, uint64_t time_ns)
{
	uint32_t site =
		co_stacks_site(&session->stacks, stack_of(ring, record), co_session_node, session);
	uint64_t extra = record->usable ? record->usable - record->size : CO_EXTRA_UNKNOWN;
	struct co_block block = {.address = record->address,
				 .size = record->size,
				 .site = site,
				 .extra = extra < CO_EXTRA_UNKNOWN ? (uint32_t)extra
								   : CO_EXTRA_UNKNOWN};
	struct co_block old;
	enum co_live_put put = co_live_put(&session->live, &block, &old);

	if (put == CO_LIVE_REPLACED || put == CO_LIVE_REPLACED_LOST)
		imply_free(session, &old, record, time_ns);
	write_event(session, ring, kind, record, time_ns, session->stacks.sites[site].stack);
	if (put == CO_LIVE_NO_MEMORY || put == CO_LIVE_REPLACED_LOST)
		session->counters.n_untracked++;
	else
		count_birth(session, &block, record->api, time_ns);
}

/* What a death says of errors; `block` NULL: not known. */
static inline void note_free(struct co_session *session, struct co_ring *ring,
			     const struct co_record *record, const struct co_block *block,
			     uint64_t time_ns)
{
	if (ring->last_free.has_row)
		co_errors_settle(session, ring);
	ring->last_free.address = record->address;
	ring->last_free.stamp = record->stamp;
	ring->last_free.was_live = block != NULL;
	if (block && ((record->given && record->given - 1 != block->size) ||
		      ft_api_mismatch(session->stacks.sites[block->site].api, record->api) ||
		      session->errors.watched >> (record->api & 31) & 1))
		co_errors_bad_free(session, ring, record, block, time_ns);
}

/* Is this the death of a block that has been written as dead already? */
static bool is_late_death(struct co_session *session, uint64_t address, uint64_t stamp)
{
	if (!co_late_take(&session->late, address, stamp))
		return false;
	session->counters.n_swallowed_frees++;
	return true;
}

/* An event of a block that is not known because it was left out; by whom, where both did, nobody
 * knows. */
static void count_left_out(struct co_session *session)
{
	if (session->was_paused)
		session->counters.n_paused++;
	else
		session->counters.n_unrecorded++;
}

/* Is a block that is not known one that was left out? Not where there was no memory to know it. */
static bool leaves_unknown_out(const struct co_session *session)
{
	return session->was_paused || (session->left_out && !session->counters.n_untracked);
}

static void apply_alloc(struct co_session *session, struct co_ring *ring,
			const struct co_record *record)
{
	uint64_t time_ns;

	if (session->paused) {
		session->counters.n_paused++;
		return;
	}
	time_ns = event_time(session, record);
	apply_birth(session, ring, FT_EVENT_ALLOC, record, time_ns);
	if (record->api == FT_API_POOL_ALLOC)
		co_pools_born(session, record, time_ns);
}

void co_apply_free(struct co_session *session, struct co_ring *ring, const struct co_record *record)
{
	struct co_block block;

	if (record->api == FT_API_POOL_FREE)
		co_pools_died(session, record);

	if (is_late_death(session, record->address, record->stamp))
		return;
	/* Its birth was left out, and so is its death. */
	if (leaves_unknown_out(session) && !co_live_find(&session->live, record->address, &block)) {
		count_left_out(session);
		note_free(session, ring, record, NULL, 0);
		return;
	}

	bool known = co_live_remove(&session->live, record->address, &block);
	uint64_t time_ns = event_time(session, record);

	write_free(session, ring, record, time_ns, known ? &block : NULL);
	note_free(session, ring, record, known ? &block : NULL, time_ns);
}

/* While it is paused, and afterwards for blocks of that time, a realloc is a death or a birth
 * alone. True if that was all. */
static bool apply_paused_realloc(struct co_session *session, struct co_ring *ring,
				 const struct co_record *record)
{
	struct co_block old;
	bool known = record->old_address && co_live_find(&session->live, record->old_address, &old);
	struct co_record part = *record;

	if (!session->paused && known)
		return false;
	/* A plain allocation, as always. */
	if (!session->paused && !record->old_address)
		return false;
	count_left_out(session);
	if (session->paused && known) {
		part.address = record->old_address;
		part.old_address = 0;
		part.size = part.usable = 0;
		part.stack = 0;
		part.given = 0;
		co_apply_free(session, ring, &part);
	} else if (!session->paused) {
		part.old_address = 0;
		apply_alloc(session, ring, &part);
	}
	return true;
}

void co_apply_realloc(struct co_session *session, struct co_ring *ring,
		      const struct co_record *record)
{
	if (leaves_unknown_out(session) && apply_paused_realloc(session, ring, record))
		return;

	uint64_t time_ns = event_time(session, record);
	enum ft_event_kind kind = FT_EVENT_REALLOC;
	struct co_block old;

	if (record->old_address == 0 || is_late_death(session, record->old_address, record->early))
		kind = FT_EVENT_ALLOC; /* the death of the old block is already written */
	else if (co_live_remove(&session->live, record->old_address, &old))
		count_death(session, &old);
	else
		session->counters.n_unknown_frees++;
	apply_birth(session, ring, kind, record, time_ns);
}

/* ---- rare records ---------------------------------------------------------------------------- */

static void apply_thread(struct co_session *session, struct co_ring *ring,
			 const struct co_record *record, uint64_t time_ns)
{
	struct co_thread thread = {.serial = (uint32_t)record->side->words[5],
				   .tid = (int32_t)ft_wire_upper(record->side->words[0]),
				   .start_function = record->side->words[2],
				   .start_ns = time_ns,
				   .live = true};
	struct co_thread before;

	co_wire_name(record->side, 3, thread.name);

	pthread_mutex_lock(&session->lock);
	before = ring->thread;
	ring->thread = thread;
	pthread_mutex_unlock(&session->lock);

	/* A thread that takes over the ring of one that left without a word says that it is gone.
	 */
	if (before.live && before.serial != thread.serial)
		co_session_thread_row(session, &before,
				      ring->last_ns > before.start_ns ? ring->last_ns
								      : before.start_ns);
	if (thread.serial)
		co_session_thread_row(session, &thread, FT_TIME_NONE);
}

static void apply_thread_end(struct co_session *session, struct co_ring *ring,
			     const struct co_record *record, uint64_t time_ns)
{
	struct co_thread ended;

	pthread_mutex_lock(&session->lock);
	ended = ring->thread;
	ring->thread.live = false;
	pthread_mutex_unlock(&session->lock);

	if (!ended.live || !ended.serial)
		return;
	co_wire_name(record->side, 2, ended.name);
	co_session_thread_row(session, &ended, time_ns);
}

/*
 * The stacks that were numbered so far are of the module's time, those that come are of another's
 * (FORMAT.md). But other threads' events with nodes that were made after its end may have come
 * before the word of it: the first number that such a node got, less one.
 */
static uint32_t last_stack_of(const struct co_session *session, const struct co_module *module,
			      uint64_t last_node)
{
	enum {
		MOST = 1 << 16
	}; /* so many nodes are looked at: what is late is so by microseconds */
	const struct co_stacks *stacks = &session->stacks;
	uint32_t last = stacks->n_file_ids;

	for (uint64_t i = last_node + 1; i < stacks->max_nodes && i <= last_node + MOST; i++) {
		uint32_t file_id = stacks->refs[i].file_id;
		uint64_t pc;

		if (!file_id || file_id > last)
			continue;
		pc = *(const volatile uint64_t *)&stacks->nodes[i].pc;
		if (pc - 1 >= module->row.start && pc - 1 < module->row.end)
			last = file_id - 1;
	}
	return last;
}

/* As above; the lock is held. The module may have been ended by its successor: then only for the
 * stacks. */
static struct co_op *end_module(struct co_session *session, struct co_module *module,
				uint64_t time_ns, uint64_t last_node)
{
	uint32_t last = last_stack_of(session, module, last_node);

	if (module->live) {
		module->live = false;
		module->row.unload_ns = time_ns;
		module->row.last_stack = last;
	} else if (last < module->row.last_stack) {
		module->row.last_stack = last;
	} else {
		return NULL;
	}
	return co_op_module(&module->row);
}

/* The module that lies where this one lies now was unloaded: its end comes from another thread, too
 * late. */
static struct co_op *end_replaced(struct co_session *session, const struct co_wire_module *by,
				  uint64_t time_ns)
{
	struct co_op *op = NULL;

	pthread_mutex_lock(&session->lock);
	for (uint32_t i = 0; i < session->n_modules && !op; i++) {
		struct co_module *module = &session->modules[i];

		if (module->live && module->row.start < by->end && module->row.end > by->start)
			op = end_module(session, module, time_ns, UINT32_MAX);
	}
	pthread_mutex_unlock(&session->lock);
	return op;
}

/* The sampler may have met it before the tracer's word of it came: then that row is made its. */
static struct co_op *take_over(struct co_session *session, const struct ft_module_row *row,
			       uint32_t serial)
{
	struct co_op *op = NULL;

	pthread_mutex_lock(&session->lock);
	for (uint32_t i = 0; i < session->n_modules && !op; i++) {
		struct co_module *module = &session->modules[i];
		char *build_id;

		if (!module->live || module->serial || !serial || module->row.start >= row->end ||
		    module->row.end <= row->start || !module->row.path ||
		    strcmp(module->row.path, row->path) != 0)
			continue;
		build_id = *row->build_id ? strdup(row->build_id) : NULL;
		free((char *)(uintptr_t)module->row.build_id);
		module->row = (struct ft_module_row){.id = module->row.id,
						     .path = module->row.path,
						     .build_id = build_id,
						     .bias = row->bias,
						     .start = row->start,
						     .end = row->end,
						     .load_ns = row->load_ns,
						     .unload_ns = FT_TIME_NONE};
		module->serial = serial;
		op = co_op_module(&module->row);
	}
	pthread_mutex_unlock(&session->lock);
	return op;
}

static void apply_module_end(struct co_session *session, const struct co_record *record,
			     uint64_t time_ns)
{
	const struct co_side *side = record->side;
	struct co_op *op = NULL;

	pthread_mutex_lock(&session->lock);
	for (uint32_t i = session->n_modules; i-- > 0;) {
		struct co_module *module = &session->modules[i];

		if (module->row.start == side->words[2] &&
		    module->serial == ft_wire_upper(side->words[0])) {
			op = end_module(session, module, time_ns, (uint32_t)side->words[3]);
			break;
		}
	}
	pthread_mutex_unlock(&session->lock);
	if (op)
		co_session_op(session, op);
}

static void apply_module(struct co_session *session, const struct co_record *record,
			 uint64_t time_ns)
{
	struct co_wire_module wire;
	struct ft_module_row row;
	struct co_op *op;

	if (!co_wire_module(record->side, &wire)) {
		session->counters.n_bad_records++;
		return;
	}
	row = (struct ft_module_row){.path = wire.path,
				     .build_id = wire.build_id,
				     .bias = wire.bias,
				     .start = wire.start,
				     .end = wire.end,
				     .load_ns = time_ns,
				     .unload_ns = FT_TIME_NONE};
	op = take_over(session, &row, wire.serial);
	if (!op) {
		while ((op = end_replaced(session, &wire, time_ns)))
			co_session_op(session, op);
		op = co_session_add_module(session, &row, wire.serial);
	}
	if (op)
		co_session_op(session, op);
}

static void apply_loss(struct co_session *session, struct co_ring *ring,
		       const struct co_record *record, uint64_t time_ns)
{
	uint64_t n = record->side->words[2];
	struct co_op *op = co_op_create(CO_OP_LOSS, 0);

	if (op)
		op->loss = (struct ft_loss_row){.first_ns = ring->last_ns,
						.last_ns = time_ns,
						.thread = record->thread,
						.n_events = n,
						.reason = "ring_full"};
	co_session_op(session, op);
	session->counters.n_lost += n;
	ring->n_lost_told += n;
	ring->after_loss = true;
	ring->last_ns = time_ns;
}

static void apply_mark(struct co_session *session, const struct co_record *record, uint64_t time_ns)
{
	char label[FT_WIRE_MAX_WORDS * 8];
	struct ft_mark_row row = {.time_ns = time_ns,
				  .seq = session->counters.n_events,
				  .kind = ft_wire_api(record->side->words[0]) ==
							  FT_WIRE_MARK_SELF_CHECK
						  ? "self_check"
						  : "user",
				  .label = label};

	if (co_wire_mark(record->side, label))
		co_session_op(session, co_op_mark(&row));
	else
		session->counters.n_bad_records++;
}

static void apply_stack(struct co_session *session, struct co_ring *ring,
			const struct co_record *record)
{
	uint32_t from = record->api == FT_WIRE_STACK_MORE ? ring->raw_stack : record->stack;

	ring->raw_stack = co_stacks_raw(&session->stacks, from, record->side->words + 2,
					record->side->n_words - 2, co_session_node, session);
}

static void apply_side(struct co_session *session, struct co_ring *ring,
		       const struct co_record *record)
{
	uint64_t time_ns = co_timebase_time(&session->timebase, record->stamp);

	switch (record->type) {
	case FT_WIRE_POOL:
		co_pools_record(session, ring, record, time_ns);
		break;
	case FT_WIRE_MAP:
		if (!co_mapped_record(session, ring, record, time_ns))
			session->counters.n_bad_records++;
		break;
	case FT_WIRE_THREAD:
		apply_thread(session, ring, record, time_ns);
		break;
	case FT_WIRE_THREAD_END:
		apply_thread_end(session, ring, record, time_ns);
		break;
	case FT_WIRE_MODULE:
		apply_module(session, record, time_ns);
		break;
	case FT_WIRE_MODULE_END:
		apply_module_end(session, record, time_ns);
		break;
	case FT_WIRE_LOSS:
		apply_loss(session, ring, record, time_ns);
		break;
	case FT_WIRE_MARK:
		apply_mark(session, record, time_ns);
		break;
	case FT_WIRE_STACK:
		apply_stack(session, ring, record);
		break;
	case FT_WIRE_ERROR:
		co_errors_record(session, ring, record, time_ns,
				 co_session_stack(session, ring, record));
		break;
	}
	free(record->side);
}

void co_apply(void *ctx, struct co_queue *queue, const struct co_record *records, uint32_t n)
{
	struct co_session *session = ctx;
	struct co_ring *ring = &session->rings[queue->index];

	if (ring->last_free.has_row && records[0].type != FT_WIRE_ERROR)
		co_errors_settle(session, ring);
	for (uint32_t i = 0; i < n; i++) {
		const struct co_record *record = &records[i];

		if (i + LOOK_AHEAD < n)
			co_live_prefetch(&session->live, records[i + LOOK_AHEAD].address);

		switch (record->type) {
		case FT_WIRE_ALLOC:
			apply_alloc(session, ring, record);
			break;
		case FT_WIRE_FREE:
			co_apply_free(session, ring, record);
			break;
		case FT_WIRE_REALLOC:
			co_apply_realloc(session, ring, record);
			break;
		default:
			apply_side(session, ring, record);
		}
	}
}

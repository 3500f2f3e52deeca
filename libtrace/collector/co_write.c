/* SPDX-License-Identifier: MIT */
/* The write thread: see co_write.h. */
#include "co_write.h"

#include <stdlib.h>
#include <string.h>

#include "co_recording.h"
#include "ft_error.h"
#include "ft_quantity.h"

/* While it prepares a rotation, the thread reads a chunk back after so many blocks: 1.6 million
 * events a second pass meanwhile. */
enum { HISTORY = 4096, COMMIT_MS = 800, TICK_MS = 200, PREPARE_BLOCKS = 16 };

struct co_write {
	struct co_spill *spill;
	co_news_fn *news;
	void *ctx;
	uint64_t min_events;
	struct ft_limits limits;
	bool behind; /* an index is: there is work for idle times */
	struct co_writer_state *recordings;
	unsigned n_held;		     /* blocks of all recordings */
	struct co_ancestry history[HISTORY]; /* a ring of the latest that have ended */
	unsigned n_history;
};

struct ft_error *co_write_create(struct co_spill *spill, co_news_fn *news, void *ctx,
				 struct co_write **ret)
{
	struct co_write *write = calloc(1, sizeof(*write));

	if (!write)
		return &ft_enomem;
	write->spill = spill;
	write->news = news;
	write->ctx = ctx;
	*ret = write;
	return NULL;
}

void co_write_set_min_events(struct co_write *write, uint64_t min_events)
{
	write->min_events = min_events;
}

void co_write_set_limits(struct co_write *write, const struct ft_limits *limits)
{
	write->limits = *limits;
}

static void drop_held(struct co_write *write, struct co_writer_state *recording);

void co_write_destroy(struct co_write *write)
{
	if (!write)
		return;
	for (struct co_writer_state *r = write->recordings, *next; r; r = next) {
		next = r->next;
		drop_held(write, r);
		co_recording_destroy(r);
	}
	for (unsigned i = 0; i < HISTORY; i++)
		co_ancestry_clear(&write->history[i]);
	free(write);
}

static void tell(struct co_write *write, enum co_news_kind kind, struct co_session *session,
		 const char *path, const char *message)
{
	struct co_news news = {.kind = kind, .session = session, .path = path, .message = message};

	if (write->news)
		write->news(write->ctx, &news);
}

/* For who asks something of a recording that is not written (any more). */
static const char *why_not(const struct co_writer_state *recording)
{
	return recording && recording->failure ? recording->failure
					       : "the recording can't be written";
}

/* The file can't be written (any more): say so once, and let the program go on without us. */
static void recording_fail(struct co_write *write, struct co_session *session,
			   struct ft_error *error)
{
	struct co_writer_state *recording = session->writer;

	atomic_store_explicit(&session->failed, 1, memory_order_release);
	co_segment_set_attached(&session->segment, FT_ATTACHED_REFUSED);
	tell(write, CO_NEWS_FAILED, session, recording ? recording->own.path : NULL,
	     error->message);
	if (recording && !recording->failure)
		recording->failure = strdup(error->message);
	ft_error_destroy(error);
	if (recording) {
		co_recording_unprepare(recording, why_not(recording));
		recording->undecided = false;
		drop_held(write, recording);
		ft_writer_close(recording->writer);
		recording->writer = NULL;
	}
}

/* ---- who comes of whom ----------------------------------------------------------------------- */

static struct co_writer_state *recording_of(const struct co_write *write, uint64_t id)
{
	struct co_writer_state *r = write->recordings;

	while (r && r->own.id != id)
		r = r->next;
	return r;
}

static const struct co_ancestry *past_of(const struct co_write *write, uint64_t id)
{
	for (unsigned i = 0; i < HISTORY && i < write->n_history; i++) {
		const struct co_ancestry *past =
			&write->history[(write->n_history - 1 - i) % HISTORY];

		if (past->id == id)
			return past;
	}
	return NULL;
}

/* The open recording of an image, or of the nearest one that it comes of; NULL: none is open. */
static struct co_writer_state *open_owner(const struct co_write *write, uint64_t id)
{
	for (unsigned i = 0; id && i < HISTORY; i++) {
		struct co_writer_state *r = recording_of(write, id);

		if (r && !r->undecided)
			return r->writer ? r : NULL;
		if (r) {
			id = r->session->segment.origin.parent;
		} else {
			const struct co_ancestry *past = past_of(write, id);

			/* Its own file is closed. */
			if (!past || past->owner == id)
				return NULL;
			id = past->owner;
		}
	}
	return NULL;
}

static void decide(struct co_write *write, struct co_writer_state *recording);

/* Fill in the parent. One that is undecided gets its file now: the child's names it. */
static void find_parent(struct co_write *write, struct co_writer_state *recording)
{
	uint64_t id = recording->session->segment.origin.parent;
	struct co_writer_state *r = id ? recording_of(write, id) : NULL;
	const struct co_ancestry *past;

	if (r && r->undecided)
		decide(write, r);
	past = r ? &r->own : id ? past_of(write, id) : NULL;
	/* The fork may have been before the parent's recording was closed for another one. */
	if (r && r->before.path && co_recording_fork_ns(recording, &r->own) < r->begin_ns)
		past = &r->before;
	if (!past || !past->path || !co_ancestry_copy(&recording->parent, past))
		return;
	r = recording_of(write, past->owner);
	if (r)
		r->named = true;
}

static void remember(struct co_write *write, const struct co_ancestry *ancestry)
{
	struct co_ancestry *slot = &write->history[write->n_history++ % HISTORY];

	if (!co_ancestry_copy(slot, ancestry))
		co_ancestry_clear(slot);
}

/* ---- held blocks ----------------------------------------------------------------------------- */

static void hold(struct co_write *write, struct co_writer_state *recording,
		 struct co_spill_block *block)
{
	block->next = NULL;
	*recording->held_tail = block;
	recording->held_tail = &block->next;
	recording->n_held++;
	write->n_held++;
}

static void drop_held(struct co_write *write, struct co_writer_state *recording)
{
	while (recording->held) {
		struct co_spill_block *block = recording->held;
		struct co_session *session = block->session;

		recording->held = block->next;
		co_spill_recycle(write->spill, block);
		co_session_unref(session);
		write->n_held--;
	}
	recording->held_tail = &recording->held;
	recording->n_held = 0;
}

/* Make the file, with all that was held back. */
static void decide(struct co_write *write, struct co_writer_state *recording)
{
	struct ft_error *error;

	recording->undecided = false;
	find_parent(write, recording);
	error = co_recording_open(recording, &write->limits);
	if (!error)
		tell(write, CO_NEWS_OPENED, recording->session, recording->own.path, NULL);
	for (struct co_spill_block *b = recording->held; b && !error; b = b->next)
		error = co_recording_rows(recording, b);
	drop_held(write, recording);
	if (error)
		recording_fail(write, recording->session, error);
}

static struct ft_error *begin_recording(struct co_write *write, struct co_session *session)
{
	struct co_writer_state *recording = co_recording_create(session);

	if (!recording)
		return &ft_enomem;
	recording->next = write->recordings;
	write->recordings = recording;
	session->writer = recording;
	if (write->min_events && open_owner(write, session->segment.origin.parent))
		recording->undecided = true;
	else
		decide(write, recording);
	return NULL;
}

/* ---- the end --------------------------------------------------------------------------------- */

static bool has_few_calls(const struct co_write *write, const struct co_writer_state *recording)
{
	return recording->n_events < write->min_events && !recording->named &&
	       !recording->has_errors;
}

/*
 * An image of few calls becomes a row of the recording that it comes of, if that is still written
 * and no other recording needs this one. True if so.
 */
static bool becomes_row(struct co_write *write, struct co_writer_state *recording,
			const struct co_op *end)
{
	uint64_t id = recording->own.id, parent = recording->session->segment.origin.parent;
	struct co_writer_state *owner;
	const struct co_ancestry *past;
	struct ft_error *error;
	uint64_t fork_ns;

	if (!has_few_calls(write, recording))
		return false;
	owner = open_owner(write, parent);
	if (!owner)
		return false;
	error = co_recording_add_child(owner, recording, end);
	if (error) {
		recording_fail(write, owner->session, error);
		return false;
	}
	if (recording->writer)
		ft_writer_discard(recording->writer);
	recording->writer = NULL;
	recording->undecided = false;

	/* Whoever comes of it comes of the owner, as far as files go. */
	past = parent == owner->own.id ? &owner->own : past_of(write, parent);
	fork_ns = past ? co_recording_fork_ns(recording, past) : FT_TIME_NONE;
	if (co_ancestry_copy(&recording->own, &owner->own)) {
		recording->own.id = id;
		recording->own.fork_ns = fork_ns;
	}
	return true;
}

static void close_recording(struct co_write *write, struct co_session *session)
{
	struct co_writer_state *recording = session->writer;
	bool is_file = recording && recording->own.owner == recording->own.id;

	co_segment_set_attached(&session->segment, FT_ATTACHED_REFUSED);
	tell(write, CO_NEWS_FINISHED, session, is_file ? recording->own.path : NULL, NULL);
	if (!recording)
		return;
	remember(write, &recording->own);
	for (struct co_writer_state **r = &write->recordings; *r; r = &(*r)->next)
		if (*r == recording) {
			*r = recording->next;
			break;
		}
	session->writer = NULL;
	drop_held(write, recording);
	co_recording_destroy(recording);
}

/* An image that has ended too, and may become a row of this one's recording, whether it has a file
 * by now or not. */
static bool awaits_rows(const struct co_write *write, const struct co_writer_state *recording)
{
	for (const struct co_writer_state *r = write->recordings; r; r = r->next)
		if (r != recording && (r->undecided || has_few_calls(write, r)) &&
		    atomic_load_explicit(&r->session->ended, memory_order_acquire) &&
		    open_owner(write, r->session->segment.origin.parent) == recording)
			return true;
	return false;
}

static void end_recording(struct co_write *write, struct co_writer_state *recording,
			  const struct co_op *end)
{
	struct ft_error *error = NULL;

	if (!becomes_row(write, recording, end)) {
		if (recording->undecided)
			decide(write, recording);
		if (recording->writer)
			error = co_recording_end(recording, end);
		if (error)
			recording_fail(write, recording->session, error);
	}
	close_recording(write, recording->session);
}

/* The end of an image; and of those that have waited for it. */
static void end_or_wait(struct co_write *write, struct co_writer_state *recording,
			const struct co_op *end)
{
	recording->end = *end;
	recording->end_waits = true;
	for (struct co_writer_state *r = write->recordings, *next; r; r = next) {
		next = r->next;
		if (!r->end_waits || awaits_rows(write, r))
			continue;
		end_recording(write, r, &r->end);
		next = write->recordings; /* others may have waited for this one */
	}
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* Whatever became of the file, the program is not kept waiting for it. */
static void answer_commit(struct co_session *session)
{
	atomic_store_explicit(&session->segment.header->committed, 1, memory_order_release);
	co_futex_wake(&session->segment.header->committed);
}

static void write_rows(struct co_write *write, struct co_writer_state *recording,
		       const struct co_spill_block *block)
{
	struct ft_error *error = co_recording_rows(recording, block);

	if (error)
		recording_fail(write, recording->session, error);
}

static void commit(struct co_write *write, struct co_writer_state *recording)
{
	struct ft_error *error = co_recording_commit(recording);

	if (error)
		recording_fail(write, recording->session, error);
}

/* What a block asks for besides its rows. */
struct wishes {
	bool open, commit, answer, has_end, has_errors;
	struct co_request *flushes, *rotation;
	uint64_t rotate_ns;
	struct co_op end; /* a copy: blocks go when a recording is decided */
};

static struct wishes read_wishes(const struct co_spill_block *block)
{
	struct wishes wishes = {0};

	for (const struct co_op *op = block->ops; op; op = op->next) {
		wishes.open |= op->kind == CO_OP_OPEN;
		wishes.answer |= op->kind == CO_OP_COMMIT;
		wishes.has_errors |= op->kind == CO_OP_ERROR;
		wishes.commit |= op->kind == CO_OP_COMMIT || op->kind == CO_OP_FLUSH;
		if (op->kind == CO_OP_FLUSH) {
			op->request->next = wishes.flushes;
			wishes.flushes = op->request;
		}
		if (op->kind == CO_OP_ROTATE) {
			wishes.rotation = op->rotate.request;
			wishes.rotate_ns = op->rotate.at_ns;
		}
		if (op->kind == CO_OP_END) {
			wishes.has_end = true;
			wishes.end = *op;
		}
	}
	return wishes;
}

/* A new limit (CO_CONTROL_MAX_SIZE); what is wrong with it, or NULL. */
static const char *set_limit(struct co_write *write, struct co_writer_state *recording,
			     const char *size)
{
	struct ft_limits limits = {.max_bytes = ft_parse_size(size),
				   .max_age_ns = write->limits.max_age_ns,
				   .sample_bytes = recording->session->segment.sample_bytes};
	struct ft_error *error;

	if (!write->limits.max_bytes && !write->limits.max_age_ns)
		return "the recording was begun without --max-size or --max-age: its events stay";
	if (limits.max_bytes < CO_MIN_MAX_SIZE)
		return "the least budget is 1MiB";
	recording->limits = limits;
	error = ft_writer_set_limits(recording->writer, &limits);
	if (!error)
		return NULL;
	recording_fail(write, recording->session, error);
	return why_not(recording);
}

/* ---- rotation -------------------------------------------------------------------------------- */

/* The first half: the next file is made, and then found out which blocks live. */
static void prepare(struct co_writer_state *recording, struct co_request *request)
{
	struct ft_error *error;

	if (recording->next_writer) {
		co_request_finish(request, "it is being rotated already");
		return;
	}
	error = co_recording_prepare(recording);
	if (error) {
		co_request_finish(request, error->message);
		ft_error_destroy(error);
		return;
	}
	recording->preparing = request;
}

/* A step of it in each recording. True if there is more to do. */
static bool prepare_step(struct co_write *write)
{
	bool more = false;

	for (struct co_writer_state *r = write->recordings; r; r = r->next) {
		struct co_request *request = r->preparing;
		bool ready = false;
		struct ft_error *error;

		if (!request)
			continue;
		error = ft_writer_follow(r->writer, &ready);
		if (error) {
			co_recording_unprepare(r, error->message);
			ft_error_destroy(error);
		} else if (ready) {
			r->preparing = NULL;
			request->prepared = true;
			co_request_finish(request, NULL);
		} else {
			more = true;
		}
	}
	return more;
}

/* The second half: what comes from now on is the next recording's. */
static void rotate(struct co_write *write, struct co_writer_state *recording,
		   struct co_request *request, uint64_t at_ns)
{
	struct ft_error *error;

	if (!recording || !recording->writer || !recording->next_writer) {
		co_request_finish(request, why_not(recording));
		return;
	}
	error = co_recording_rotate(recording, at_ns, &request->closed);
	if (error) {
		recording_fail(write, recording->session, error);
		co_request_finish(request, why_not(recording));
		return;
	}
	tell(write, CO_NEWS_ROTATED, recording->session, recording->own.path, NULL);
	co_recording_tell_rotated(recording, request);
	co_request_finish(request, NULL);
}

static void answer_flushes(struct co_write *write, struct co_writer_state *recording,
			   struct co_request *requests)
{
	bool is_written = recording && recording->writer;

	while (requests) {
		struct co_request *request = requests;

		const char *error = is_written ? NULL : why_not(recording);

		requests = request->next;
		if (!error && request->verb == CO_CONTROL_ROTATE) {
			prepare(recording, request);
			continue;
		}
		if (!error && request->verb == CO_CONTROL_MAX_SIZE) {
			error = set_limit(write, recording, request->label);
			is_written = recording->writer != NULL;
		}
		co_request_finish(request, error);
	}
}

/* Takes the block over. */
static void write_block(struct co_write *write, struct co_spill_block *block)
{
	struct co_session *session = block->session;
	struct wishes wishes = read_wishes(block);
	struct ft_error *error = wishes.open ? begin_recording(write, session) : NULL;
	struct co_writer_state *recording;

	if (error)
		recording_fail(write, session, error);
	recording = session->writer;
	if (recording) {
		recording->n_events += block->n_events;
		recording->has_errors |= wishes.has_errors;
	}
	if (recording && recording->undecided) {
		hold(write, recording, block);
		if (wishes.commit || recording->n_events >= write->min_events ||
		    recording->n_held >= CO_HELD_BLOCKS)
			decide(write, recording);
		block = NULL;
	} else if (recording && recording->writer) {
		ft_writer_set_busy(recording->writer, co_spill_is_crowded(write->spill));
		write_rows(write, recording, block);
	}
	if (wishes.commit && recording && recording->writer)
		commit(write, recording);
	if (wishes.answer)
		answer_commit(session);
	answer_flushes(write, recording, wishes.flushes);
	if (wishes.rotation)
		rotate(write, recording, wishes.rotation, wishes.rotate_ns);
	if (wishes.has_end && recording)
		end_or_wait(write, recording, &wishes.end);
	else if (wishes.has_end)
		close_recording(write, session);
	if (!block)
		return; /* with the reference */
	co_spill_recycle(write->spill, block);
	co_session_unref(session);
}

/* Commit what has waited for long enough; make files of what can't be held any longer. */
static void do_due(struct co_write *write)
{
	int64_t now = co_clock_monotonic();
	struct co_writer_state *oldest = NULL;

	for (struct co_writer_state *r = write->recordings; r; r = r->next) {
		if (r->undecided) {
			oldest = r;
			if (now - r->born_ns >= CO_UNDECIDED_MS * INT64_C(1000000))
				decide(write, r);
		} else if (r->writer && r->dirty &&
			   now - r->committed_ns >= COMMIT_MS * INT64_C(1000000)) {
			commit(write, r);
		}
	}
	if (write->n_held > CO_HELD_BLOCKS_ALL && oldest && oldest->undecided)
		decide(write, oldest);
}

/* Nobody wants anything: a step for each index that fell behind. True if one still is. */
static bool catch_up(struct co_write *write)
{
	bool some = false;

	for (struct co_writer_state *r = write->recordings; r; r = r->next) {
		bool behind = false;
		struct ft_error *error = r->writer ? ft_writer_catch_up(r->writer, &behind) : NULL;

		if (error)
			recording_fail(write, r->session, error);
		r->dirty |= behind;
		some |= behind;
	}
	return some;
}

bool co_write_step(struct co_write *write, int timeout_ms)
{
	bool preparing = prepare_step(write), some = false;
	struct co_spill_block *block;

	for (int i = 0; i < (preparing ? PREPARE_BLOCKS : 1); i++) {
		block = co_spill_take(write->spill, preparing || write->behind ? 0 : timeout_ms);
		if (!block)
			break;
		write_block(write, block);
		some = true;
	}
	if (!some)
		write->behind = catch_up(write);
	do_due(write);
	return some || !co_spill_is_done(write->spill);
}

void co_write_run(struct co_write *write)
{
	while (co_write_step(write, TICK_MS))
		;
}

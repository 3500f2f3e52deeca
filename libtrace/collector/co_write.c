/* SPDX-License-Identifier: MIT */
/* The write thread: see co_write.h. */
#include "co_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "co_name.h"
#include "ft_cleanup.h"
#include "ft_error.h"
#include "ft_strbuf.h"

enum { HISTORY = 256, MAX_NAMES = 100000, COMMIT_MS = 800, TICK_MS = 200 };

/* A recording that is being written. */
struct co_writer_state {
	struct co_writer_state *next;
	struct co_session *session; /* a reference */
	struct ft_writer *writer;   /* NULL after a failure */
	char *path;
	char *parent; /* recording of the parent image, NULL when there is none */
	uint64_t fork_ns;
	int64_t committed_ns; /* CLOCK_MONOTONIC */
	bool dirty;
};

/* Which file belonged to which pid, for the children that name it as their parent. */
struct history {
	pid_t pid;
	int64_t start_monotonic_ns;
	char *path;
};

struct co_write {
	struct co_spill *spill;
	co_news_fn *news;
	void *ctx;
	struct co_writer_state *recordings;
	struct history history[HISTORY]; /* a ring of the latest */
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

static void recording_destroy(struct co_writer_state *recording)
{
	ft_writer_close(recording->writer);
	free(recording->path);
	free(recording->parent);
	co_session_unref(recording->session);
	free(recording);
}

void co_write_destroy(struct co_write *write)
{
	if (!write)
		return;
	for (struct co_writer_state *r = write->recordings, *next; r; r = next) {
		next = r->next;
		recording_destroy(r);
	}
	for (unsigned i = 0; i < HISTORY; i++)
		free(write->history[i].path);
	free(write);
}

static void tell(struct co_write *write, enum co_news_kind kind, struct co_session *session,
		 const char *path, const char *message)
{
	struct co_news news = {.kind = kind, .session = session, .path = path, .message = message};

	if (write->news)
		write->news(write->ctx, &news);
}

/* The file can't be written (any more): say so once, and let the program go on without us. */
static void recording_fail(struct co_write *write, struct co_session *session,
			   struct ft_error *error)
{
	struct co_writer_state *recording = session->writer;

	atomic_store_explicit(&session->failed, 1, memory_order_release);
	co_segment_set_attached(&session->segment, FT_ATTACHED_REFUSED);
	tell(write, CO_NEWS_FAILED, session, recording ? recording->path : NULL, error->message);
	ft_error_destroy(error);
	if (recording) {
		ft_writer_close(recording->writer);
		recording->writer = NULL;
	}
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Append text as a JSON string; bytes that are no UTF-8 become U+FFFD. */
static void add_json_string(struct ft_strbuf *buf, const char *text)
{
	const unsigned char *c = (const unsigned char *)text;

	ft_strbuf_addc(buf, '"');
	while (*c) {
		unsigned n = *c < 0x80		       ? 1
			     : *c >= 0xc2 && *c < 0xe0 ? 2
			     : *c >= 0xe0 && *c < 0xf0 ? 3
			     : *c >= 0xf0 && *c < 0xf5 ? 4
						       : 0;

		for (unsigned i = 1; i < n; i++)
			if ((c[i] & 0xc0) != 0x80)
				n = 0;
		if ((n == 3 && ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f))) ||
		    (n == 4 && ((c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))))
			n = 0;
		if (n == 0)
			ft_strbuf_adds(buf, "\xef\xbf\xbd");
		else if (*c == '"' || *c == '\\')
			ft_strbuf_addf(buf, "\\%c", *c);
		else if (*c < ' ' || *c == 0x7f)
			ft_strbuf_addf(buf, "\\u%04x", *c);
		else
			ft_strbuf_add(buf, c, n);
		c += n ? n : 1;
	}
	ft_strbuf_addc(buf, '"');
}

static void add_argv(struct ft_strbuf *buf, const struct co_segment *segment)
{
	char word[sizeof(segment->argv) + 1];
	uint32_t at = 0;

	ft_strbuf_addc(buf, '[');
	while (at < segment->argv_bytes) {
		size_t len = strnlen(segment->argv + at, segment->argv_bytes - at);

		memcpy(word, segment->argv + at, len);
		word[len] = 0;
		if (at)
			ft_strbuf_addc(buf, ',');
		add_json_string(buf, word);
		at += (uint32_t)len + 1;
	}
	ft_strbuf_addc(buf, ']');
}

static const char *session_exe(const struct co_session *session)
{
	return session->segment.exe[0] ? session->segment.exe : session->host_exe;
}

static struct ft_error *write_process(struct co_writer_state *recording, uint64_t end_ns,
				      const char *exit_kind, int64_t exit_code)
{
	const struct co_session *session = recording->session;
	ft_auto_strbuf struct ft_strbuf argv;

	ft_strbuf_init(&argv);
	add_argv(&argv, &session->segment);
	if (argv.failed)
		return &ft_enomem;

	struct ft_process_row row = {.pid = session->pid,
				     .ppid = session->segment.ppid,
				     .exe = session_exe(session),
				     .argv_json = argv.data,
				     .parent_recording = recording->parent,
				     .fork_ns = recording->fork_ns,
				     .start_realtime_ns = session->segment.start_realtime_ns,
				     .end_ns = end_ns,
				     .exit_kind = exit_kind,
				     .exit_code = exit_code};

	return ft_writer_process(recording->writer, &row);
}

/* The file of the image that this one was forked from, and the time of that in the file's terms. */
static void find_parent(const struct co_write *write, struct co_writer_state *recording)
{
	const struct co_session *session = recording->session;

	recording->fork_ns = FT_TIME_NONE;
	if (session->segment.parent_pid <= 0)
		return;
	for (unsigned i = 0; i < HISTORY && i < write->n_history; i++) {
		const struct history *past = &write->history[(write->n_history - 1 - i) % HISTORY];
		struct co_reading start = {session->segment.start_stamp,
					   session->segment.start_monotonic_ns};
		double ago;

		if (past->pid != session->segment.parent_pid)
			continue;
		/* The fork was before our time 0; both starts are on the same clock. */
		ago = start.stamp > session->segment.fork_stamp
			      ? (double)(start.stamp - session->segment.fork_stamp) * session->rate
			      : 0;
		recording->parent = strdup(past->path);
		if (session->segment.fork_stamp && ago < 1e18 &&
		    start.monotonic_ns - (int64_t)ago >= past->start_monotonic_ns)
			recording->fork_ns = (uint64_t)(start.monotonic_ns - (int64_t)ago -
							past->start_monotonic_ns);
		return;
	}
}

static void remember(struct co_write *write, const struct co_writer_state *recording)
{
	struct history *slot = &write->history[write->n_history++ % HISTORY];

	free(slot->path);
	*slot = (struct history){.pid = recording->session->pid,
				 .start_monotonic_ns =
					 recording->session->segment.start_monotonic_ns,
				 .path = strdup(recording->path)};
	if (!slot->path)
		slot->pid = 0;
}

/* Create the file under the first name that is free. */
static struct ft_error *create_file(struct co_writer_state *recording)
{
	const struct co_session *session = recording->session;
	struct co_name_facts facts = {.cwd = session->segment.cwd,
				      .argv0 = session->segment.argv,
				      .exe = session_exe(session),
				      .pid = session->pid,
				      .start_realtime_ns = session->segment.start_realtime_ns};

	for (unsigned attempt = 1; attempt <= MAX_NAMES; attempt++) {
		ft_auto_free char *path = co_name_expand(session->segment.output, &facts, attempt);
		struct ft_error *error;

		if (!path)
			return &ft_enomem;
		error = ft_writer_create(path, &recording->writer);
		if (!error) {
			recording->path = ft_take(path);
			return NULL;
		}
		if (error->kind != FT_ERROR_OS || error->os_errno != EEXIST)
			return error;
		ft_error_destroy(error);
	}
	return ft_error_create(FT_ERROR_USAGE, "no free name for the recording %s",
			       session->segment.output);
}

/* Settings of the tracer that a reader of the recording should know. */
static struct ft_error *write_settings(struct ft_writer *writer, const struct co_segment *segment)
{
	static const char *const names[FT_UNWIND_N] = {"auto", "dwarf", "fp", "none", "libunwind"};
	uint32_t unwind = segment->options & FT_OPTION_UNWIND_MASK;

	FT_TRY(ft_writer_meta(writer, "unwind", unwind < FT_UNWIND_N ? names[unwind] : "unknown"));
	FT_TRY(ft_writer_meta_int(writer, "free_stacks",
				  !!(segment->options & FT_OPTION_FREE_STACKS)));
	if (!segment->sample_bytes)
		return NULL;
	return ft_writer_meta_int(writer, "sample_bytes", (int64_t)segment->sample_bytes);
}

static struct ft_error *open_recording(struct co_write *write, struct co_session *session)
{
	struct co_writer_state *recording = calloc(1, sizeof(*recording));

	if (!recording)
		return &ft_enomem;
	recording->session = co_session_ref(session);
	recording->committed_ns = co_clock_monotonic();
	recording->next = write->recordings;
	write->recordings = recording;
	session->writer = recording;

	FT_TRY(create_file(recording));
	find_parent(write, recording);
	remember(write, recording);
	FT_TRY(write_process(recording, FT_TIME_NONE, NULL, -1));
	FT_TRY(ft_writer_meta(recording->writer, "collector_version", FT_VERSION));
	FT_TRY(ft_writer_meta(recording->writer, "clock",
			      session->segment.clock_source == FT_CLOCK_TSC ? "tsc" : "monotonic"));
	FT_TRY(write_settings(recording->writer, &session->segment));
	FT_TRY(ft_writer_commit(recording->writer, false));
	tell(write, CO_NEWS_OPENED, session, recording->path, NULL);
	return NULL;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static struct ft_error *write_sites(struct ft_writer *writer, const struct co_op *op)
{
	const struct ft_site_total_row *rows = (const void *)op->data;

	for (size_t i = 0; i < op->n_sites; i++)
		FT_TRY(ft_writer_site_total(writer, &rows[i]));
	return NULL;
}

static struct ft_error *commit(struct co_writer_state *recording)
{
	/* The program has ended and there is more than a moment's work left: readers are told. */
	if (atomic_load_explicit(&recording->session->ended, memory_order_acquire))
		FT_TRY(ft_writer_set_ending(recording->writer));
	FT_TRY(ft_writer_commit(recording->writer, true));
	recording->dirty = false;
	recording->committed_ns = co_clock_monotonic();
	atomic_store_explicit(&recording->session->file_bytes,
			      ft_writer_event_bytes(recording->writer), memory_order_relaxed);
	return NULL;
}

static struct ft_error *write_end(struct co_writer_state *recording, const struct co_op *op)
{
	struct ft_error *error =
		write_process(recording, op->end.end_ns, op->end.exit_kind, op->end.exit_code);

	if (!error)
		error = ft_writer_meta_int(recording->writer, "event_bytes",
					   (int64_t)ft_writer_event_bytes(recording->writer));
	if (error)
		return error;
	error = ft_writer_finish(recording->writer);
	recording->writer = NULL; /* gone whatever was returned */
	return error;
}

static struct ft_error *write_op(struct co_writer_state *recording, const struct co_op *op)
{
	struct ft_writer *writer = recording->writer;

	switch (op->kind) {
	case CO_OP_META:
		return ft_writer_meta(writer, op->meta.key, op->meta.text);
	case CO_OP_META_INT:
		return ft_writer_meta_int(writer, op->meta.key, op->meta.value);
	case CO_OP_THREAD:
		return ft_writer_thread(writer, &op->thread);
	case CO_OP_MODULE:
		return ft_writer_module(writer, &op->module);
	case CO_OP_TIMELINE:
		return ft_writer_timeline(writer, &op->timeline);
	case CO_OP_SITES:
		return write_sites(writer, op);
	case CO_OP_SAMPLE:
		return ft_writer_sample(writer, &op->sample);
	case CO_OP_MAPPING:
		return ft_writer_mapping(writer, &op->mapping);
	case CO_OP_RESIDENCY:
		return ft_writer_residency(writer, &op->residency);
	case CO_OP_MARK:
		return ft_writer_mark(writer, &op->mark);
	case CO_OP_ERROR:
		return ft_writer_error(writer, &op->error);
	case CO_OP_LOSS:
		return ft_writer_loss(writer, &op->loss);
	case CO_OP_CLOCK:
		return ft_writer_clock(writer, &op->clock);
	case CO_OP_OPEN:
	case CO_OP_COMMIT:
	case CO_OP_END:
		break; /* not rows: see write_block() */
	}
	return NULL;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static struct ft_error *write_rows(struct co_writer_state *recording,
				   const struct co_spill_block *block)
{
	for (const struct co_op *op = block->ops; op; op = op->next)
		FT_TRY(write_op(recording, op));
	for (uint32_t i = 0; i < block->n_nodes; i++)
		FT_TRY(ft_writer_stack_node(recording->writer, &block->nodes[i]));
	for (uint32_t i = 0; i < block->n_events; i++)
		FT_TRY(ft_writer_event(recording->writer, &block->events[i], NULL));
	recording->dirty = true;
	return NULL;
}

/* Whatever became of the file, the program is not kept waiting for it. */
static void answer_commit(struct co_session *session)
{
	atomic_store_explicit(&session->segment.header->committed, 1, memory_order_release);
	co_futex_wake(&session->segment.header->committed);
}

static void close_recording(struct co_write *write, struct co_session *session)
{
	struct co_writer_state *recording = session->writer;

	co_segment_set_attached(&session->segment, FT_ATTACHED_REFUSED);
	tell(write, CO_NEWS_FINISHED, session, recording ? recording->path : NULL, NULL);
	if (!recording)
		return;
	for (struct co_writer_state **r = &write->recordings; *r; r = &(*r)->next)
		if (*r == recording) {
			*r = recording->next;
			break;
		}
	session->writer = NULL;
	recording_destroy(recording);
}

static void write_block(struct co_write *write, struct co_spill_block *block)
{
	struct co_session *session = block->session;
	const struct co_op *end = NULL;
	bool wants_commit = false;
	struct ft_error *error = NULL;

	for (const struct co_op *op = block->ops; op && !error; op = op->next) {
		if (op->kind == CO_OP_OPEN)
			error = open_recording(write, session);
		else if (op->kind == CO_OP_COMMIT)
			wants_commit = true;
		else if (op->kind == CO_OP_END)
			end = op;
	}

	struct co_writer_state *recording = session->writer;

	if (!error && recording && recording->writer) {
		error = write_rows(recording, block);
		if (!error && wants_commit)
			error = commit(recording);
		if (!error && end)
			error = write_end(recording, end);
	}
	if (error)
		recording_fail(write, session, error);
	if (wants_commit)
		answer_commit(session);
	if (end)
		close_recording(write, session);
}

static void commit_due(struct co_write *write)
{
	int64_t now = co_clock_monotonic();

	for (struct co_writer_state *r = write->recordings; r; r = r->next) {
		struct ft_error *error;

		if (!r->writer || !r->dirty || now - r->committed_ns < COMMIT_MS * INT64_C(1000000))
			continue;
		error = commit(r);
		if (error)
			recording_fail(write, r->session, error);
	}
}

bool co_write_step(struct co_write *write, int timeout_ms)
{
	struct co_spill_block *block = co_spill_take(write->spill, timeout_ms);

	if (block) {
		struct co_session *session = block->session;

		write_block(write, block);
		co_spill_recycle(write->spill, block);
		co_session_unref(session);
	}
	commit_due(write);
	return block || !co_spill_is_done(write->spill);
}

void co_write_run(struct co_write *write)
{
	while (co_write_step(write, TICK_MS))
		;
}

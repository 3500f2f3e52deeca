/* SPDX-License-Identifier: MIT */
/* One recording: see co_recording.h. */
#include "co_recording.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "co_name.h"
#include "ft_cleanup.h"
#include "ft_error.h"
#include "ft_pages.h"
#include "ft_strbuf.h"

enum {
	MAX_NAMES = 100000,
	INDEX_EVENTS = 1 << 22, /* less is replayed in a second */
};

/* ---- life ------------------------------------------------------------------------------------ */

static void name_image(struct co_ancestry *own)
{
	uint64_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint64_t)co_clock_monotonic();
	snprintf(own->image, sizeof(own->image), "%016llx", (unsigned long long)random);
}

struct co_writer_state *co_recording_create(struct co_session *session)
{
	struct co_writer_state *recording = calloc(1, sizeof(*recording));

	if (!recording)
		return NULL;
	recording->session = co_session_ref(session);
	recording->born_ns = recording->committed_ns = co_clock_monotonic();
	recording->held_tail = &recording->held;
	name_image(&recording->own);
	recording->own.id = session->id;
	recording->own.start_ns = session->segment.start_monotonic_ns;
	recording->own.fork_ns = FT_TIME_NONE;
	return recording;
}

void co_recording_destroy(struct co_writer_state *recording)
{
	co_recording_unprepare(recording, "the recording has ended");
	ft_writer_close(recording->writer);
	ft_pages_destroy(recording->pages);
	co_ancestry_clear(&recording->own);
	co_ancestry_clear(&recording->parent);
	co_ancestry_clear(&recording->before);
	free(recording->failure);
	co_session_unref(recording->session);
	free(recording);
}

bool co_ancestry_copy(struct co_ancestry *to, const struct co_ancestry *from)
{
	char *path = from->path ? strdup(from->path) : NULL;

	if (from->path && !path)
		return false;
	free(to->path);
	*to = *from;
	to->path = path;
	return true;
}

void co_ancestry_clear(struct co_ancestry *ancestry)
{
	free(ancestry->path);
	*ancestry = (struct co_ancestry){0};
}

uint64_t co_recording_fork_ns(const struct co_writer_state *recording,
			      const struct co_ancestry *parent)
{
	const struct co_segment *segment = &recording->session->segment;
	int64_t at;
	double ago;

	if (segment->origin.kind != CO_ORIGIN_FORK || !parent->path)
		return FT_TIME_NONE;
	/* What the parent did since it parted from the owner of that file is not known. */
	if (parent->owner != parent->id)
		return parent->fork_ns;
	/* The fork was before our time 0; both starts are on the same clock. */
	ago = segment->start_stamp > segment->fork_stamp
		      ? (double)(segment->start_stamp - segment->fork_stamp) *
				recording->session->rate
		      : 0;
	if (!segment->fork_stamp || ago >= 1e18)
		return FT_TIME_NONE;
	at = segment->start_monotonic_ns - (int64_t)ago - parent->start_ns;
	return at >= 0 ? (uint64_t)at : FT_TIME_NONE;
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
				     .parent_recording = recording->parent.path,
				     .fork_ns = co_recording_fork_ns(recording, &recording->parent),
				     .start_realtime_ns = session->segment.start_realtime_ns,
				     .end_ns = end_ns,
				     .exit_kind = exit_kind,
				     .exit_code = exit_code};

	return ft_writer_process(recording->writer, &row);
}

/* Create the file under the first name that is free. */
static struct ft_error *create_file(const struct co_writer_state *recording,
				    struct ft_writer **writer, char **ret)
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
		error = ft_writer_create(path, writer);
		if (!error) {
			*ret = ft_take(path);
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
	if (segment->max_overhead)
		FT_TRY(ft_writer_meta_int(writer, "max_overhead_ppm", segment->max_overhead));
	if (!segment->sample_bytes)
		return NULL;
	return ft_writer_meta_int(writer, "sample_bytes", (int64_t)segment->sample_bytes);
}

static const char *origin_name(const struct co_session *session)
{
	static const char *const names[] = {
		[CO_ORIGIN_START] = "start", [CO_ORIGIN_FORK] = "fork", [CO_ORIGIN_EXEC] = "exec"};

	return names[session->segment.origin.kind];
}

/* The budget, and what a reader is to know of it. */
static struct ft_error *set_limits(struct co_writer_state *recording, struct ft_limits limits)
{
	limits.sample_bytes = recording->session->segment.sample_bytes;
	limits.index_events = INDEX_EVENTS;
	FT_TRY(ft_writer_set_limits(recording->writer, &limits));
	if (!limits.max_bytes && !limits.max_age_ns)
		return NULL;
	if (!limits.sample_bytes) {
		if (!recording->pages)
			recording->pages = ft_pages_create();
		if (!recording->pages)
			return &ft_enomem;
		FT_TRY(ft_writer_set_pages(recording->writer, ft_pages_counter(recording->pages)));
	}
	if (limits.max_bytes)
		FT_TRY(ft_writer_meta_int(recording->writer, "max_bytes",
					  (int64_t)limits.max_bytes));
	if (limits.max_age_ns)
		FT_TRY(ft_writer_meta_int(recording->writer, "max_age_ns",
					  (int64_t)limits.max_age_ns));
	return NULL;
}

/* What a file says from its beginning on. */
static struct ft_error *write_beginning(struct co_writer_state *recording)
{
	const struct co_session *session = recording->session;
	struct ft_writer *writer = recording->writer;

	FT_TRY(write_process(recording, FT_TIME_NONE, NULL, -1));
	FT_TRY(ft_writer_meta(writer, "collector_version", FT_VERSION));
	FT_TRY(ft_writer_meta(writer, "clock",
			      session->segment.clock_source == FT_CLOCK_TSC ? "tsc" : "monotonic"));
	FT_TRY(ft_writer_meta(writer, "origin", origin_name(session)));
	FT_TRY(ft_writer_meta(writer, "image", recording->own.image));
	if (recording->parent.path)
		FT_TRY(ft_writer_meta(writer, "parent_image", recording->parent.image));
	FT_TRY(write_settings(writer, &session->segment));
	return set_limits(recording, recording->limits);
}

struct ft_error *co_recording_open(struct co_writer_state *recording,
				   const struct ft_limits *limits)
{
	recording->undecided = false;
	recording->limits = *limits;
	FT_TRY(create_file(recording, &recording->writer, &recording->own.path));
	recording->own.owner = recording->own.id;
	FT_TRY(write_beginning(recording));
	return ft_writer_commit(recording->writer, false);
}

/* ---- going on in another file ---------------------------------------------------------------- */

struct ft_error *co_recording_prepare(struct co_writer_state *recording)
{
	return create_file(recording, &recording->next_writer, &recording->next_path);
}

void co_recording_unprepare(struct co_writer_state *recording, const char *why)
{
	if (recording->preparing)
		co_request_finish(recording->preparing, why);
	recording->preparing = NULL;
	if (recording->next_writer)
		ft_writer_discard(recording->next_writer);
	recording->next_writer = NULL;
	free(recording->next_path);
	recording->next_path = NULL;
}

/* The name of a file in the same folder is its last part. */
static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static struct ft_error *begin_next(struct co_writer_state *recording, struct ft_writer *from,
				   uint64_t at_ns)
{
	struct ft_writer *writer = recording->writer;

	FT_TRY(write_beginning(recording));
	FT_TRY(ft_writer_meta_int(writer, "part", (int64_t)recording->part + 1));
	FT_TRY(ft_writer_meta(writer, "continues", name_of(recording->before.path)));
	FT_TRY(ft_writer_meta(writer, "continues_image", recording->before.image));
	FT_TRY(ft_writer_continue(writer, from, at_ns));
	return ft_writer_commit(writer, false);
}

static struct ft_error *end_before(struct co_writer_state *recording, struct ft_writer *writer,
				   uint64_t at_ns)
{
	struct ft_writer *next = recording->writer;
	struct ft_error *error;

	recording->writer = writer;
	error = write_process(recording, at_ns, "rotated", -1);
	recording->writer = next;
	if (!error)
		error = ft_writer_meta(writer, "continued_by", name_of(recording->own.path));
	if (!error)
		error = ft_writer_meta(writer, "continued_by_image", recording->own.image);
	if (!error)
		error = ft_writer_meta_int(writer, "event_bytes",
					   (int64_t)ft_writer_event_bytes(writer));
	if (error) {
		ft_writer_close(writer);
		return error;
	}
	return ft_writer_finish(writer);
}

/* The next can't be begun: this one is the image's again, and cut off where it would have ended.
 * Its rows of the end are there, but it does not say that it is all. */
static void stay(struct co_writer_state *recording, struct ft_writer *writer)
{
	ft_writer_discard(recording->writer);
	recording->writer = NULL;
	recording->part--;
	co_ancestry_clear(&recording->own);
	recording->own = recording->before;
	recording->before = (struct co_ancestry){0};
	ft_error_destroy(ft_writer_commit(writer, true));
	ft_writer_close(writer);
}

struct ft_error *co_recording_rotate(struct co_writer_state *recording, uint64_t at_ns,
				     char **closed)
{
	struct ft_writer *from = recording->writer;
	struct ft_error *error;

	*closed = strdup(recording->own.path);
	if (!*closed || !co_ancestry_copy(&recording->before, &recording->own))
		return &ft_enomem;
	free(recording->own.path);
	recording->own.path = ft_take(recording->next_path);
	name_image(&recording->own);
	recording->writer = recording->next_writer;
	recording->next_writer = NULL;
	recording->part++;
	recording->begin_ns = at_ns;
	recording->named = true; /* by the file before: it stays, however few events follow */

	/* The next is whole before this one says that it is: at each moment both are readable. */
	error = begin_next(recording, from, at_ns);
	if (error) {
		stay(recording, from);
		return error;
	}
	return end_before(recording, from, at_ns);
}

void co_recording_tell_rotated(const struct co_writer_state *recording, struct co_request *request)
{
	ft_auto_strbuf struct ft_strbuf text;

	ft_strbuf_init(&text);
	ft_strbuf_adds(&text, "{\"closed\":");
	add_json_string(&text, request->closed);
	ft_strbuf_adds(&text, ",\"recording\":");
	add_json_string(&text, recording->own.path);
	ft_strbuf_addc(&text, '}');
	if (!text.failed && text.len < sizeof(request->answer))
		memcpy(request->answer, text.data, text.len + 1);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static struct ft_error *write_sites(struct ft_writer *writer, const struct co_op *op)
{
	const struct ft_site_total_row *rows = (const void *)op->data;

	for (size_t i = 0; i < op->n_sites; i++)
		FT_TRY(ft_writer_site_total(writer, &rows[i]));
	return NULL;
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
	case CO_OP_POOL:
		return ft_writer_pool(writer, &op->pool);
	case CO_OP_GOVERNOR:
		return ft_writer_governor(writer, &op->governor);
	case CO_OP_MAP_CALL:
		return ft_writer_map_call(writer, &op->map_call);
	case CO_OP_MAP_SITE:
		return ft_writer_map_site(writer, &op->map_site);
	case CO_OP_ERROR:
		return ft_writer_error(writer, &op->error);
	case CO_OP_LOSS:
		return ft_writer_loss(writer, &op->loss);
	case CO_OP_CLOCK:
		return ft_writer_clock(writer, &op->clock);
	case CO_OP_OPEN:
	case CO_OP_COMMIT:
	case CO_OP_FLUSH:
	case CO_OP_ROTATE:
	case CO_OP_END:
		break; /* not rows: see write_block() */
	}
	return NULL;
}

/* A sampler's rows say what has changed since those before, which the file before has. */
static bool stands_alone(const struct co_op *op)
{
	return op->kind == CO_OP_MODULE || op->kind == CO_OP_THREAD;
}

struct ft_error *co_recording_rows(struct co_writer_state *recording,
				   const struct co_spill_block *block)
{
	for (const struct co_op *op = block->ops; op; op = op->next)
		if (block->part >= recording->part || stands_alone(op))
			FT_TRY(write_op(recording, op));
	for (uint32_t i = 0; i < block->n_nodes; i++)
		FT_TRY(ft_writer_stack_node(recording->writer, &block->nodes[i]));
	FT_TRY(ft_writer_events(recording->writer, block->events, block->n_events));
	recording->dirty = true;
	return NULL;
}

struct ft_error *co_recording_commit(struct co_writer_state *recording)
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

struct ft_error *co_recording_end(struct co_writer_state *recording, const struct co_op *end)
{
	struct ft_error *error =
		write_process(recording, end->end.end_ns, end->end.exit_kind, end->end.exit_code);

	if (!error)
		error = ft_writer_meta_int(recording->writer, "event_bytes",
					   (int64_t)ft_writer_event_bytes(recording->writer));
	if (error)
		return error;
	error = ft_writer_finish(recording->writer);
	recording->writer = NULL; /* gone whatever was returned */
	return error;
}

struct ft_error *co_recording_add_child(struct co_writer_state *parent,
					const struct co_writer_state *child,
					const struct co_op *end)
{
	const struct co_session *session = child->session;
	const struct co_timeline *timeline = &session->timeline;
	int64_t since = session->segment.start_monotonic_ns - parent->own.start_ns;
	ft_auto_strbuf struct ft_strbuf argv;

	ft_strbuf_init(&argv);
	add_argv(&argv, &session->segment);
	if (argv.failed)
		return &ft_enomem;

	uint64_t start_ns = since > 0 ? (uint64_t)since : 0;
	struct ft_child_row row = {.start_ns = start_ns,
				   .end_ns = start_ns + end->end.end_ns,
				   .pid = session->pid,
				   .ppid = session->segment.ppid,
				   .exe = session_exe(session),
				   .argv_json = argv.data,
				   .origin = origin_name(session),
				   .exit_kind = end->end.exit_kind,
				   .exit_code = end->end.exit_code,
				   .n_allocs = co_timeline_blocks(timeline, timeline->n_allocs),
				   .n_frees = co_timeline_blocks(timeline, timeline->n_frees),
				   .bytes_allocated = timeline->bytes_allocated,
				   .peak_bytes = timeline->peak_bytes,
				   .n_lost = session->counters.n_lost};

	parent->dirty = true;
	return ft_writer_child(parent->writer, &row);
}

/* SPDX-License-Identifier: MIT */
/*
 * Writer of a recording
 *
 * Rows and full chunks go to SQLite as they come, inside one transaction that ft_writer_commit()
 * ends: what a commit returned for is durable (synchronous=FULL), and a reader sees whole commits
 * only. Events wait in `events` until they fill a chunk; stack nodes wait in `nodes` until a
 * commit, so that they always arrive with, or before, the first event that names them.
 *
 * A commit that flushes writes the waiting events as the tail chunk, which later commits replace as
 * long as it is shorter than TAIL_EVENTS: a program with few events does not leave a row a second.
 *
 *   events[i] is number tail_seq + i        the chunk `tail_id` in the file is a prefix of `events`
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fragtrace/store.h"
#include "ft_blank.h"
#include "ft_cleanup.h"
#include "ft_directory.h"
#include "ft_residency.h"
#include "ft_schema.h"
#include "ft_writer.h"

enum {
	ZSTD_LEVEL = 1,
	TAIL_EVENTS = 8192,
	FOLLOW_EVENTS = 1024, /* shown to the budget while they are in the cache */
	FOLD_WAIT_MS = 3000,
	TIDY_PARTS = 8,
	SITE_ROW_BYTES = 32
};

static const char *const statements[STMT_N] = {
	[STMT_META] = "INSERT OR REPLACE INTO meta VALUES(?,?)",
	[STMT_PROCESS] = "INSERT OR REPLACE INTO process VALUES(1,?,?,?,?,?,?,?,?,?,?)",
	[STMT_THREAD] = "INSERT OR REPLACE INTO thread VALUES(?,?,?,?,?,?,NULL)",
	[STMT_MODULE] = "INSERT OR REPLACE INTO module VALUES(?,?,?,?,?,?,?,?,?)",
	[STMT_TIMELINE] = "INSERT INTO timeline VALUES(NULL,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STMT_SITE_TOTAL] = "INSERT OR REPLACE INTO site_total VALUES(?,?,?,?,?,?,?,?)",
	[STMT_SAMPLE] = "INSERT INTO sample VALUES(NULL,?,?,?,?)",
	[STMT_MAPPING] = "INSERT INTO mapping VALUES(NULL,?,?,?,?,?,?,?,?)",
	[STMT_RESIDENCY] = "INSERT INTO residency VALUES(NULL,?,?,?,?,?,?,?,?)",
	[STMT_MARK] = "INSERT INTO mark VALUES(NULL,?,?,?,?,NULL)",
	[STMT_ERROR] = "INSERT INTO error VALUES(NULL,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STMT_POOL] = "INSERT OR REPLACE INTO pool VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STMT_GOVERNOR] = "INSERT INTO governor VALUES(NULL,?,?,?,?,?,?,?)",
	[STMT_MAP_CALL] = "INSERT INTO map_call VALUES(NULL,?,?,?,?,?,?,?,?,?,?,?)",
	[STMT_MAP_SITE] = "INSERT OR REPLACE INTO map_site VALUES(?,?,?,?,?,?,?,?,?,?)",
	[STMT_LOSS] = "INSERT INTO loss VALUES(NULL,?,?,?,?,?)",
	[STMT_CLOCK] = "INSERT INTO clock VALUES(NULL,?,?,?,?)",
	[STMT_CHILD] = "INSERT INTO child VALUES(NULL,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STMT_EVENT_CHUNK] = "INSERT OR REPLACE INTO event_chunk VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
	[STMT_STACK_CHUNK] = "INSERT INTO stack_chunk VALUES(NULL,?,?,?)",
};

/* ---- life ---------------------------------------------------------------------------------------
 */

static void writer_destroy(struct ft_writer *writer)
{
	ft_budget_destroy(writer->budget);
	for (size_t i = 0; i < STMT_N; i++)
		sqlite3_finalize(writer->stmts[i]);
	sqlite3_close(writer->db);
	if (writer->lock_fd >= 0)
		close(writer->lock_fd);
	ft_encoder_destroy(writer->encoder);
	ft_stack_codec_destroy(writer->stack_codec);
	ft_strbuf_deinit(&writer->blob);
	free(writer->events);
	free(writer->nodes);
	free(writer->path);
	free(writer);
}

struct ft_error *ft_writer_begin(struct ft_writer *writer)
{
	if (writer->in_transaction)
		return NULL;
	FT_TRY(ft_db_exec(writer->db, writer->path, "BEGIN IMMEDIATE"));
	writer->in_transaction = true;
	return NULL;
}

static struct ft_error *writer_end(struct ft_writer *writer)
{
	if (!writer->in_transaction)
		return NULL;
	FT_TRY(ft_db_exec(writer->db, writer->path, "COMMIT"));
	writer->in_transaction = false;
	return NULL;
}

static struct ft_error *writer_setup(struct ft_writer *writer)
{
	FT_TRY(ft_blank_setup(writer->path, writer->db, FOLD_WAIT_MS, &writer->lock_fd));
	for (size_t i = 0; i < STMT_N; i++)
		FT_TRY(ft_db_prepare(writer->db, writer->path, statements[i], &writer->stmts[i]));

	/* Says whether a reader may ask its own kernel about the program's pid. */
	char space[64] = "";

	if (readlink("/proc/self/ns/pid", space, sizeof(space) - 1) > 0)
		FT_TRY(ft_writer_meta(writer, "pid_namespace", space));
	return NULL;
}

/* A log that is left of another recording of this name would be taken for this one's. */
static struct ft_error *remove_stale_log(const char *path)
{
	ft_auto_strbuf struct ft_strbuf name;

	ft_strbuf_init(&name);
	ft_strbuf_addf(&name, "%s-wal", path);
	if (name.failed)
		return &ft_enomem;
	unlink(name.data);
	return NULL;
}

static struct ft_error *writer_open(struct ft_writer *writer)
{
	FT_TRY(ft_blank_create(writer->path, ft_schema_sql, NULL));

	struct ft_error *error = remove_stale_log(writer->path);

	if (!error &&
	    sqlite3_open_v2(writer->path, &writer->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		error = writer->db ? ft_db_error(writer->db, writer->path, "cannot open")
				   : &ft_enomem;
	if (!error)
		error = writer_setup(writer);
	/* Nothing is in it, and it would only block its name. */
	if (error)
		unlink(writer->path);
	return error;
}

struct ft_error *ft_writer_create(const char *path, struct ft_writer **ret)
{
	struct ft_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return &ft_enomem;
	writer->lock_fd = -1;
	writer->tail_id = 1;
	writer->chunk_events = FT_CHUNK_EVENTS;
	ft_strbuf_init(&writer->blob);
	writer->path = strdup(path);
	writer->events = malloc(FT_CHUNK_EVENTS * sizeof(*writer->events));
	writer->nodes = malloc(FT_STACK_CHUNK_NODES * sizeof(*writer->nodes));
	writer->encoder = ft_encoder_create(ZSTD_LEVEL);
	writer->stack_codec = ft_stack_codec_create(ZSTD_LEVEL);

	bool have = writer->path && writer->events && writer->nodes && writer->encoder &&
		    writer->stack_codec;
	struct ft_error *error = have ? writer_open(writer) : &ft_enomem;

	if (error) {
		writer_destroy(writer);
		return error;
	}
	*ret = writer;
	return NULL;
}

void ft_writer_close(struct ft_writer *writer)
{
	if (!writer)
		return;
	/* Who closes without ft_writer_finish() is past caring about errors: what was committed
	 * stays. Where SQLite has rolled a transaction back, what is left of it in memory has
	 * nothing to follow on. */
	if (!writer->in_transaction || !sqlite3_get_autocommit(writer->db))
		ft_error_destroy(ft_writer_commit(writer, true));
	writer_destroy(writer);
}

void ft_writer_discard(struct ft_writer *writer)
{
	static const char *const suffixes[] = {"-shm", "-wal", ""};
	ft_auto_strbuf struct ft_strbuf name;

	/* The name last: who is given it next has a log of its own. SQLite, which still has the
	 * file open, leaves that alone. */
	ft_strbuf_init(&name);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		ft_strbuf_clear(&name);
		ft_strbuf_addf(&name, "%s%s", writer->path, suffixes[i]);
		if (!name.failed)
			unlink(name.data);
	}
	writer_destroy(writer);
}

/* ---- chunks -------------------------------------------------------------------------------------
 */

static struct ft_error *write_nodes(struct ft_writer *writer)
{
	uint32_t max_id = 0;

	if (!writer->n_nodes)
		return NULL;
	for (size_t i = 0; i < writer->n_nodes; i++)
		if (writer->nodes[i].id > max_id)
			max_id = writer->nodes[i].id;
	ft_strbuf_clear(&writer->blob);
	if (!ft_stack_encode(writer->stack_codec, writer->nodes, writer->n_nodes, &writer->blob))
		return &ft_enomem;
	FT_TRY(ft_writer_begin(writer));
	FT_TRY(RUN(writer, STMT_STACK_CHUNK, "uub", (int64_t)writer->n_nodes, (int64_t)max_id,
		   writer->blob.data, writer->blob.len));
	writer->event_bytes += writer->blob.len;
	writer->n_nodes = 0;
	return NULL;
}

void ft_writer_follow_events(struct ft_writer *writer)
{
	const struct ft_event *events = writer->events + writer->n_followed;
	size_t n = writer->n_events - writer->n_followed;
	uint64_t seq = writer->tail_seq + writer->n_followed;

	if (!ft_writer_is_followed(writer))
		return;
	ft_budget_events(writer->budget, events, n, seq);
	writer->n_followed = writer->n_events;
}

/* The chunk is as it will stay; the next event begins another one. */
static void seal_tail(struct ft_writer *writer)
{
	writer->tail_id++;
	writer->tail_seq += writer->n_events;
	writer->n_events = writer->n_flushed = writer->n_followed = 0;
	writer->tail_bytes = 0;
	if (writer->busy && ft_writer_is_followed(writer))
		ft_writer_fall_behind(writer);
}

/* Write what waits as the tail chunk, in place of its shorter self. */
static struct ft_error *write_tail(struct ft_writer *writer)
{
	struct ft_chunk_facts facts;
	struct ft_directory_sets sets;

	if (writer->n_flushed == writer->n_events)
		return NULL;
	ft_strbuf_clear(&writer->blob);
	if (!ft_encode(writer->encoder, writer->events, writer->n_events, &writer->blob, &facts))
		return &ft_enomem;
	ft_directory_sets_make(writer->events, writer->n_events, &sets);
	FT_TRY(ft_writer_begin(writer));
	FT_TRY(RUN(writer, STMT_EVENT_CHUNK, "iuuuuuuuubbb", writer->tail_id,
		   (int64_t)writer->tail_seq, (int64_t)writer->n_events, (int64_t)facts.first_ns,
		   (int64_t)facts.last_ns, (int64_t)facts.min_address, (int64_t)facts.max_address,
		   (int64_t)facts.max_stack, (int64_t)facts.max_thread, sets.threads,
		   sets.n_threads, sets.stacks, sets.n_stacks, writer->blob.data,
		   writer->blob.len));
	if (ft_writer_is_followed(writer))
		ft_budget_written(writer->budget, writer->n_events, writer->blob.len);
	writer->event_bytes += writer->blob.len - writer->tail_bytes;
	writer->tail_bytes = writer->blob.len;
	writer->n_flushed = writer->n_events;
	return NULL;
}

/* The interval of the budget ends here, and with it the chunk. */
static struct ft_error *cut(struct ft_writer *writer)
{
	ft_writer_follow_events(writer);
	FT_TRY(write_nodes(writer));
	FT_TRY(write_tail(writer));
	if (writer->n_events)
		seal_tail(writer);
	FT_TRY(ft_writer_begin(writer));
	return ft_budget_cut(writer->budget, writer->tail_id, writer->event_bytes);
}

static struct ft_error *write_events(struct ft_writer *writer)
{
	ft_writer_follow_events(writer);
	FT_TRY(write_tail(writer));
	if (ft_writer_is_followed(writer) && ft_budget_cut_due(writer->budget, writer->event_bytes))
		FT_TRY(cut(writer));
	if (writer->n_events >= TAIL_EVENTS || writer->n_events >= writer->chunk_events)
		seal_tail(writer);
	if (writer->budget)
		writer->chunk_events = ft_budget_chunk_events(writer->budget);
	return ft_writer_index(writer);
}

static struct ft_error *event_refused(const struct ft_writer *writer, const struct ft_event *event)
{
	if (event->time_ns < writer->last_ns)
		return ft_error_create(FT_ERROR_USAGE, "%s: an event goes back in time",
				       writer->path);
	return ft_error_create(FT_ERROR_USAGE, "%s: an event of kind %u, call %u, 2^%u",
			       writer->path, event->kind, event->api, event->align_log2);
}

/* Time has passed without events: what was before it is an interval of its own. */
static struct ft_error *close_gap(struct ft_writer *writer, uint64_t time_ns)
{
	/* Those that it has not seen yet may be younger than it thinks. */
	ft_writer_follow_events(writer);
	return ft_budget_gap_due(writer->budget, time_ns) ? cut(writer) : NULL;
}

static struct ft_error *write_full(struct ft_writer *writer)
{
	FT_TRY(write_events(writer));
	/* Before the log becomes long. Stacks come with, or before, the events that name them. */
	if (!writer->budget ||
	    writer->event_bytes - writer->committed_bytes < ft_budget_commit_bytes(writer->budget))
		return NULL;
	return ft_writer_commit(writer, true);
}

struct ft_error *ft_writer_events(struct ft_writer *writer, const struct ft_event *events, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct ft_event *event = &events[i];

		if (event->kind < FT_EVENT_ALLOC || event->kind > FT_EVENT_REALLOC ||
		    event->api >= FT_API_N || event->align_log2 > 63 ||
		    event->time_ns < writer->last_ns)
			return event_refused(writer, event);
		if (ft_writer_is_followed(writer) && event->time_ns != writer->last_ns &&
		    ft_budget_gap_due(writer->budget, event->time_ns))
			FT_TRY(close_gap(writer, event->time_ns));
		writer->last_ns = event->time_ns;
		writer->events[writer->n_events++] = *event;
		if (writer->n_events >= writer->chunk_events)
			FT_TRY(write_full(writer));
		else if (ft_writer_is_followed(writer) &&
			 writer->n_events - writer->n_followed >= FOLLOW_EVENTS)
			ft_writer_follow_events(writer);
	}
	return NULL;
}

struct ft_error *ft_writer_event(struct ft_writer *writer, const struct ft_event *event,
				 uint64_t *seq)
{
	uint64_t own = writer->tail_seq + writer->n_events;

	FT_TRY(ft_writer_events(writer, event, 1));
	if (seq)
		*seq = own;
	return NULL;
}

struct ft_error *ft_writer_stack_node(struct ft_writer *writer, const struct ft_stack_node *node)
{
	if (!node->id || node->parent >= node->id)
		return ft_error_create(FT_ERROR_USAGE, "%s: stack node %u under %u", writer->path,
				       node->id, node->parent);
	writer->nodes[writer->n_nodes++] = *node;
	return writer->n_nodes == FT_STACK_CHUNK_NODES ? write_nodes(writer) : NULL;
}

/* What the budget has to do beside its events, a little of it: each part is a commit. */
static struct ft_error *tidy(struct ft_writer *writer)
{
	for (int i = 0; i < TIDY_PARTS; i++) {
		bool is_tidy;

		FT_TRY(ft_budget_is_tidy(writer->budget, &is_tidy));
		if (is_tidy)
			break;
		FT_TRY(ft_writer_begin(writer));
		FT_TRY(ft_budget_tidy(writer->budget));
		FT_TRY(writer_end(writer));
	}
	return NULL;
}

struct ft_error *ft_writer_commit(struct ft_writer *writer, bool flush_chunk)
{
	if (!writer->begun)
		FT_TRY(ft_writer_meta(writer, "state", "recording"));
	writer->begun = true;
	FT_TRY(write_nodes(writer));
	if (flush_chunk)
		FT_TRY(write_events(writer));
	if (writer->budget) {
		FT_TRY(ft_writer_begin(writer));
		FT_TRY(ft_budget_fold(writer->budget,
				      writer->n_flushed ? writer->tail_id + 1 : writer->tail_id));
	}
	writer->committed_bytes = writer->event_bytes;
	writer->rows_bytes = 0;
	FT_TRY(writer_end(writer));
	return writer->budget ? tidy(writer) : NULL;
}

struct ft_error *ft_writer_set_limits(struct ft_writer *writer, const struct ft_limits *limits)
{
	if (writer->budget && ft_budget_is_limited(writer->budget))
		return ft_budget_set_limits(writer->budget, limits);
	if (writer->tail_seq || writer->n_events)
		return ft_error_create(FT_ERROR_USAGE,
				       "%s: limits can't be set any more: the recording has events "
				       "and no keyframe",
				       writer->path);
	writer->index_limits = *limits;
	if (!limits->max_bytes && !limits->max_age_ns &&
	    (limits->index_events || !limits->keyframe_events))
		return NULL;
	FT_TRY(ft_budget_create(writer->db, writer->path, limits, &writer->budget));
	writer->chunk_events = ft_budget_chunk_events(writer->budget);
	return NULL;
}

struct ft_error *ft_writer_set_pages(struct ft_writer *writer,
				     const struct ft_page_counter *counter)
{
	if (!writer->budget || writer->tail_seq || writer->n_events)
		return ft_error_create(FT_ERROR_USAGE,
				       "%s: pages are counted from the first event on, and with "
				       "limits only",
				       writer->path);
	ft_budget_set_pages(writer->budget, counter);
	return NULL;
}

struct ft_error *ft_writer_set_ending(struct ft_writer *writer)
{
	writer->begun = true;
	FT_TRY(ft_writer_meta(writer, "state", "finishing"));
	return ft_writer_commit(writer, false);
}

/* One plain file. A reader that is at work may prevent that: the recording is complete and readable
 * with its -wal file too. */
static void writer_fold(struct ft_writer *writer)
{
	ft_budget_destroy(writer->budget);
	writer->budget = NULL;
	for (size_t i = 0; i < STMT_N; i++) {
		sqlite3_finalize(writer->stmts[i]);
		writer->stmts[i] = NULL;
	}
	ft_db_fold(writer->db, FOLD_WAIT_MS);
}

struct ft_error *ft_writer_finish(struct ft_writer *writer)
{
	struct ft_error *error = ft_writer_meta(writer, "state", "complete");

	writer->begun = true;
	if (!error)
		error = ft_writer_commit(writer, true);
	if (!error)
		writer_fold(writer);
	writer_destroy(writer);
	return error;
}

uint64_t ft_writer_event_bytes(const struct ft_writer *writer)
{
	return writer->event_bytes;
}

/* ---- rows ---------------------------------------------------------------------------------------
 */

struct ft_error *ft_writer_meta(struct ft_writer *writer, const char *key, const char *value)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_META, "ss", key, value);
}

struct ft_error *ft_writer_meta_int(struct ft_writer *writer, const char *key, int64_t value)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_META, "si", key, value);
}

struct ft_error *ft_writer_process(struct ft_writer *writer, const struct ft_process_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_PROCESS, "iisssttisi", row->pid, row->ppid, row->exe,
		   row->argv_json, row->parent_recording, row->fork_ns, row->start_realtime_ns,
		   row->end_ns, row->exit_kind, row->exit_code);
}

struct ft_error *ft_writer_thread(struct ft_writer *writer, const struct ft_thread_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	if (writer->budget)
		ft_budget_thread(writer->budget, row->end_ns);
	return RUN(writer, STMT_THREAD, "uisztt", (int64_t)row->id, row->tid, row->name,
		   row->start_function, row->start_ns, row->end_ns);
}

struct ft_error *ft_writer_module(struct ft_writer *writer, const struct ft_module_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	if (writer->budget)
		ft_budget_module(writer->budget, row->path);
	return RUN(writer, STMT_MODULE, "ussuuuttz", (int64_t)row->id, row->path, row->build_id,
		   row->bias, row->start, row->end, row->load_ns, row->unload_ns,
		   (uint64_t)row->last_stack);
}

struct ft_error *ft_writer_timeline(struct ft_writer *writer, const struct ft_timeline_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_TIMELINE, "uuuuuuuuunnnnn", row->time_ns, row->n_allocs,
		   row->n_frees, row->bytes_allocated, row->bytes_freed, row->live_blocks,
		   row->live_bytes, row->peak_bytes, row->usable_bytes, row->rss, row->pss,
		   row->anon, row->swap, row->tracer);
}

struct ft_error *ft_writer_site_total(struct ft_writer *writer, const struct ft_site_total_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	/* There may be many, all at once: a budget takes them in parts. */
	writer->rows_bytes += SITE_ROW_BYTES;
	if (writer->budget && writer->rows_bytes >= ft_budget_commit_bytes(writer->budget)) {
		FT_TRY(ft_writer_commit(writer, false));
		FT_TRY(ft_writer_begin(writer));
	}
	return RUN(writer, STMT_SITE_TOTAL, "uuuuuuuu", (int64_t)row->stack, row->n_allocs,
		   row->n_frees, row->bytes_allocated, row->bytes_freed, row->live_blocks,
		   row->live_bytes, row->peak_bytes);
}

struct ft_error *ft_writer_sample(struct ft_writer *writer, const struct ft_sample_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_SAMPLE, "ussi", row->time_ns, row->source, row->key, row->value);
}

struct ft_error *ft_writer_mapping(struct ft_writer *writer, const struct ft_mapping_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_MAPPING, "uuusssnn", row->time_ns, row->start, row->end, row->perms,
		   row->path, row->kind, row->rss, row->swap);
}

struct ft_error *ft_writer_residency(struct ft_writer *writer, const struct ft_residency_row *row)
{
	uint64_t n[FT_PAGES_N] = {0};

	for (size_t i = 0; i < row->n_runs; i++)
		n[row->runs[i].state] += row->runs[i].n_pages;
	ft_strbuf_clear(&writer->blob);
	if (!row->unchanged && !ft_residency_encode(row->runs, row->n_runs, row->page_bytes,
						    ZSTD_LEVEL, &writer->blob))
		return &ft_enomem;
	FT_TRY(ft_writer_begin(writer));
	/* SQLite binds a null pointer as NULL. */
	return RUN(writer, STMT_RESIDENCY, "uusunuub", row->time_ns, row->took_ns, row->method,
		   (uint64_t)row->page_bytes, row->rss, n[FT_PAGES_RESIDENT] + n[FT_PAGES_HUGE],
		   n[FT_PAGES_SWAPPED], row->unchanged ? NULL : writer->blob.data,
		   writer->blob.len);
}

struct ft_error *ft_writer_mark(struct ft_writer *writer, const struct ft_mark_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_MARK, "uuss", row->time_ns, row->seq, row->kind, row->label);
}

struct ft_error *ft_writer_error(struct ft_writer *writer, const struct ft_error_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_ERROR, "usuuuuusnnssn", row->time_ns, row->kind, row->address,
		   (int64_t)row->thread, (int64_t)row->stack, (int64_t)row->alloc_stack,
		   (int64_t)row->free_stack, row->call, row->size, row->block_size, row->region,
		   row->mapping, row->offset);
}

struct ft_error *ft_writer_pool(struct ft_writer *writer, const struct ft_pool_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_POOL, "uusttuuuuuuuuu", (int64_t)row->id, row->address, row->name,
		   row->created_ns, row->destroyed_ns, (int64_t)row->thread, (int64_t)row->stack,
		   row->n_allocs, row->n_frees, row->bytes_allocated, row->live_objects,
		   row->live_bytes, row->peak_bytes, row->memory_bytes);
}

struct ft_error *ft_writer_governor(struct ft_writer *writer, const struct ft_governor_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_GOVERNOR, "uuzzuuu", row->time_ns, (int64_t)row->step,
		   (int64_t)row->depth, row->sample_bytes, row->overhead_ppm, row->n_left_out,
		   row->bytes_left_out);
}

struct ft_error *ft_writer_map_call(struct ft_writer *writer, const struct ft_map_call_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_MAP_CALL, "uuuusuuuunn", row->time_ns, row->seq,
		   (int64_t)row->thread, (int64_t)row->stack, row->call, row->address, row->bytes,
		   row->old_address, row->old_bytes, row->prot, row->flags);
}

struct ft_error *ft_writer_map_site(struct ft_writer *writer, const struct ft_map_site_row *row)
{
	int64_t advice = strcmp(row->call, "madvise") == 0 ? row->flags : 0;

	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_MAP_SITE, "usnnuuuuui", (int64_t)row->stack, row->call, row->prot,
		   row->flags, row->n_calls, row->bytes, row->live_bytes, row->live_ranges,
		   row->peak_bytes, advice);
}

struct ft_error *ft_writer_loss(struct ft_writer *writer, const struct ft_loss_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_LOSS, "uuuus", row->first_ns, row->last_ns, (int64_t)row->thread,
		   row->n_events, row->reason);
}

struct ft_error *ft_writer_clock(struct ft_writer *writer, const struct ft_clock_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_CLOCK, "uuii", row->time_ns, row->tsc, row->boottime_ns,
		   row->realtime_ns);
}

struct ft_error *ft_writer_child(struct ft_writer *writer, const struct ft_child_row *row)
{
	FT_TRY(ft_writer_begin(writer));
	return RUN(writer, STMT_CHILD, "ttiissssiuuuuu", row->start_ns, row->end_ns, row->pid,
		   row->ppid, row->exe, row->argv_json, row->origin, row->exit_kind, row->exit_code,
		   row->n_allocs, row->n_frees, row->bytes_allocated, row->peak_bytes, row->n_lost);
}

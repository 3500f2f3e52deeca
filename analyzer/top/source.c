/* SPDX-License-Identifier: MIT */
/* Where `top` has its accounts from: see fa_top_source.h. */
#include "fa_top_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fa_json_read.h"
#include "fragtrace/store.h"
#include "ft_arena.h"
#include "ft_cleanup.h"
#include "ft_control.h"

enum {
	TAIL_ROWS = 64, /* of the timeline: one of them has the resident bytes */
	PID_DIGITS = 9,
	POLL_MS = 20
};

const char *fa_top_state_name(enum fa_top_state state)
{
	static const char *const names[] = {"recording", "file",    "rotated",
					    "ended",	 "cut_off", "gone"};

	return names[state];
}

/* ---- the collector -----------------------------------------------------------------------------
 */

static struct ft_error *apply_account(struct fa_top *top, const struct ft_watch *watch)
{
	const struct co_account *a = &watch->account;
	struct fa_top_totals totals = {
		.begin_ns = a->begin_ns,
		.time_ns = a->time_ns,
		.n_events = a->n_events,
		.n_lost = a->n_lost,
		.n_allocs = a->n_allocs,
		.n_frees = a->n_frees,
		.bytes_allocated = a->bytes_allocated,
		.bytes_freed = a->bytes_freed,
		.live_blocks = a->live_blocks,
		.live_bytes = a->live_bytes,
		.usable_bytes = a->usable_bytes,
		.peak_bytes = a->peak_bytes,
		.rss = a->rss,
		.swap = a->swap,
		.tracer = a->tracer,
	};
	ft_auto_free struct fa_top_site *sites =
		calloc(a->n_sites ? a->n_sites : 1, sizeof(*sites));
	size_t n = 0;

	if (!sites)
		return &ft_enomem;
	for (size_t i = 0; i < a->n_sites; i++) {
		/* The site of events without a stack is there whether there are any or not. */
		if (!watch->sites[i].n_allocs && !watch->sites[i].n_frees &&
		    !watch->sites[i].live_blocks)
			continue;
		sites[n++] = (struct fa_top_site){
			.stack = watch->sites[i].stack,
			.n_allocs = watch->sites[i].n_allocs,
			.n_frees = watch->sites[i].n_frees,
			.bytes_allocated = watch->sites[i].bytes_allocated,
			.bytes_freed = watch->sites[i].bytes_freed,
			.live_blocks = watch->sites[i].live_blocks,
			.live_bytes = watch->sites[i].live_bytes,
			.peak_bytes = watch->sites[i].peak_bytes,
		};
	}
	return fa_top_apply(top, &totals, sites, n);
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Has it another recording by now (*rotated), `next` is that one. */
static struct ft_error *take_answer(struct fa_top_source *source, const struct ft_watch *watch,
				    struct fa_top *top, bool *rotated)
{
	*rotated = false;
	if (source->ask && watch->account.part != source->part) {
		*rotated = true;
		/* The name follows the account: for a moment it is still that of the old file. */
		if (strcmp(watch->recording, source->path) != 0)
			snprintf(source->next, sizeof(source->next), "%s", watch->recording);
		return NULL;
	}
	if (!source->path[0])
		snprintf(source->path, sizeof(source->path), "%s", watch->recording);
	else if (!source->ask && !is_same_file(watch->recording, source->path))
		return ft_error_create(FT_ERROR_USAGE, "process %d is recorded elsewhere",
				       (int)source->pid);
	source->state = FA_TOP_RECORDING;
	source->part = watch->account.part;
	source->sample_bytes = watch->account.sample_bytes;
	source->paused = watch->account.paused;
	return apply_account(top, watch);
}

static struct ft_error *ask(struct fa_top_source *source, struct fa_top *top, bool *rotated)
{
	ft_auto_free struct ft_watch *watch = NULL;

	*rotated = false;
	FT_TRY(ft_watch_read(source->pid, &watch));
	return take_answer(source, watch, top, rotated);
}

/* ---- the file ----------------------------------------------------------------------------------
 */

struct tables {
	struct fa_top_totals totals;
	struct fa_top_site *sites;
	size_t n, capacity;
};

static struct ft_error *take_timeline(void *ctx, const struct ft_timeline_row *row)
{
	struct fa_top_totals *totals = ctx;

	totals->time_ns = row->time_ns;
	totals->n_allocs = row->n_allocs;
	totals->n_frees = row->n_frees;
	totals->bytes_allocated = row->bytes_allocated;
	totals->bytes_freed = row->bytes_freed;
	totals->live_blocks = row->live_blocks;
	totals->live_bytes = row->live_bytes;
	totals->usable_bytes = row->usable_bytes;
	if (row->peak_bytes > totals->peak_bytes)
		totals->peak_bytes = row->peak_bytes;
	if (row->rss >= 0)
		totals->rss = row->rss;
	if (row->swap >= 0)
		totals->swap = row->swap;
	if (row->tracer >= 0)
		totals->tracer = row->tracer;
	return NULL;
}

static struct ft_error *take_loss(void *ctx, const struct ft_loss_row *row)
{
	struct fa_top_totals *totals = ctx;

	totals->n_lost += row->n_events;
	return NULL;
}

static struct ft_error *take_site(void *ctx, const struct ft_site_total_row *row)
{
	struct tables *tables = ctx;

	if (tables->n == tables->capacity) {
		size_t capacity = tables->capacity ? 2 * tables->capacity : 256;
		struct fa_top_site *sites = reallocarray(tables->sites, capacity, sizeof(*sites));

		if (!sites)
			return &ft_enomem;
		tables->sites = sites;
		tables->capacity = capacity;
	}
	tables->sites[tables->n++] = (struct fa_top_site){
		.stack = row->stack,
		.n_allocs = row->n_allocs,
		.n_frees = row->n_frees,
		.bytes_allocated = row->bytes_allocated,
		.bytes_freed = row->bytes_freed,
		.live_blocks = row->live_blocks,
		.live_bytes = row->live_bytes,
		.peak_bytes = row->peak_bytes,
	};
	return NULL;
}

static struct ft_error *read_tables(struct ft_reader *reader, struct tables *tables)
{
	struct fa_top_totals *totals = &tables->totals;

	totals->begin_ns = ft_reader_begin_ns(reader);
	totals->rss = totals->swap = totals->tracer = -1;
	FT_TRY(ft_reader_timeline_tail(reader, TAIL_ROWS, take_timeline, totals));
	totals->peak_bytes =
		(uint64_t)ft_reader_meta_int(reader, "peak_bytes", (int64_t)totals->peak_bytes);
	totals->n_events = (uint64_t)ft_reader_meta_int(reader, "events_written",
							(int64_t)ft_reader_n_events(reader));
	FT_TRY(ft_reader_losses(reader, take_loss, totals));
	return ft_reader_site_totals(reader, take_site, tables);
}

static struct ft_error *apply_tables(struct ft_reader *reader, struct fa_top *top)
{
	struct tables tables = {0};
	struct ft_error *error = read_tables(reader, &tables);

	/* A cut-off recording may end before its first row. */
	if (!error && tables.totals.time_ns)
		error = fa_top_apply(top, &tables.totals, tables.sites, tables.n);
	free(tables.sites);
	return error;
}

/* The program's own word for itself: argv[0], or its file. */
static void take_program(struct fa_top_source *source, const struct ft_process_row *process)
{
	const struct fa_value *argv = NULL;
	const char *name = process->exe, *slash;
	struct ft_arena arena;

	ft_arena_init(&arena);
	if (process->argv_json)
		ft_error_destroy(fa_json_parse(&arena, process->argv_json, &argv));
	if (argv && argv->first && argv->first->kind == FA_STRING)
		name = argv->first->text;
	slash = name ? strrchr(name, '/') : NULL;
	snprintf(source->program, sizeof(source->program), "%s",
		 slash	? slash + 1
		 : name ? name
			: "");
	ft_arena_deinit(&arena);
}

static struct ft_error *take_facts(struct fa_top_source *source, struct ft_reader *reader)
{
	struct ft_process_row process = {0};
	const char *next = ft_reader_meta(reader, "continued_by");

	FT_TRY(ft_reader_process(reader, &process));
	take_program(source, &process);
	if (!source->pid)
		source->pid = (pid_t)process.pid;
	source->sample_bytes = (uint64_t)ft_reader_meta_int(reader, "sample_bytes", 0);
	source->exit_code = process.exit_code;
	snprintf(source->exit_kind, sizeof(source->exit_kind), "%s",
		 process.exit_kind ? process.exit_kind : "");
	if (next)
		snprintf(source->next, sizeof(source->next), "%s", next);
	switch (ft_reader_state(reader)) {
	case FT_STATE_RECORDING:
		source->state = FA_TOP_FILE;
		break;
	case FT_STATE_CUT_OFF:
		source->state = FA_TOP_CUT_OFF;
		break;
	case FT_STATE_COMPLETE:
		source->state = next ? FA_TOP_ROTATED : FA_TOP_ENDED;
		break;
	}
	return NULL;
}

static struct ft_error *read_file(struct fa_top_source *source, unsigned flags, struct fa_top *top,
				  bool apply)
{
	struct ft_reader *reader;
	struct ft_error *error;

	FT_TRY(ft_reader_open(source->path, flags | FT_READER_ROWS, &reader));
	error = take_facts(source, reader);
	if (!error && apply)
		error = apply_tables(reader, top);
	ft_reader_close(reader);
	return error;
}

/* ---- both --------------------------------------------------------------------------------------
 */

/* What the file says of the program; the account of whom it says nothing of is as good. */
static void learn_program(struct fa_top_source *source, struct fa_top *top)
{
	if (!source->path[0] || source->program[0])
		return;
	ft_error_destroy(read_file(source, FT_READER_NO_WAIT, top, false));
	source->state = FA_TOP_RECORDING;
}

/* A program is recorded before its recording has a file. */
static struct ft_error *watch_with_file(pid_t pid, unsigned wait_ms, struct ft_watch **ret)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};

	for (;;) {
		FT_TRY(ft_watch_read(pid, ret));
		if ((*ret)->recording[0] || wait_ms < POLL_MS)
			return NULL;
		free(*ret);
		*ret = NULL;
		wait_ms -= POLL_MS;
		nanosleep(&pause, NULL);
	}
}

static struct ft_error *open_process(struct fa_top_source *source, unsigned wait_ms,
				     struct fa_top *top)
{
	ft_auto_free struct ft_watch *watch = NULL;
	bool rotated;

	FT_TRY(watch_with_file(source->pid, wait_ms, &watch));
	FT_TRY(take_answer(source, watch, top, &rotated));
	source->ask = true;
	learn_program(source, top);
	return NULL;
}

static struct ft_error *open_file(struct fa_top_source *source, const char *path, unsigned flags,
				  struct fa_top *top)
{
	struct ft_error *error;
	bool rotated;

	snprintf(source->path, sizeof(source->path), "%s", path);
	FT_TRY(read_file(source, flags, top, false));
	if (source->state == FA_TOP_FILE) {
		error = ask(source, top, &rotated);
		source->ask = !error;
		if (!error)
			return NULL;
		ft_error_destroy(error);
		source->state = FA_TOP_FILE;
	}
	return read_file(source, FT_READER_NO_WAIT, top, true);
}

struct ft_error *fa_top_source_open(struct fa_top_source *source, const char *what, bool no_wait,
				    unsigned file_ms, struct fa_top *top)
{
	size_t len = strlen(what);

	*source = (struct fa_top_source){.exit_code = -1};
	if (!len || len > PID_DIGITS || strspn(what, "0123456789") != len)
		return open_file(source, what, no_wait ? FT_READER_NO_WAIT : 0, top);
	source->pid = (pid_t)atoi(what);
	return open_process(source, file_ms, top);
}

/* The collector has gone, or has done with this recording: the file says the rest. */
static struct ft_error *read_end(struct fa_top_source *source, struct fa_top *top)
{
	struct stat st;

	if (!source->path[0] || stat(source->path, &st) < 0) {
		source->state = FA_TOP_GONE;
		return NULL;
	}
	FT_TRY(read_file(source, FT_READER_NO_WAIT, top, false));
	/* Of the tables only the last version is better than what the collector said. */
	return fa_top_is_over(source->state) ? read_file(source, FT_READER_NO_WAIT, top, true)
					     : NULL;
}

struct ft_error *fa_top_source_read(struct fa_top_source *source, struct fa_top *top)
{
	bool rotated = false;

	if (fa_top_is_over(source->state))
		return NULL;
	if (!source->ask)
		return read_file(source, FT_READER_NO_WAIT, top, true);

	struct ft_error *error = ask(source, top, &rotated);

	if (!error && !rotated) {
		learn_program(source, top);
		return NULL;
	}
	if (error && error->kind == FT_ERROR_NOMEM)
		return error;
	ft_error_destroy(error);
	return read_end(source, top);
}

struct ft_error *fa_top_source_tables(struct fa_top_source *source, struct fa_top *top)
{
	return read_file(source, FT_READER_NO_WAIT, top, true);
}

/* SPDX-License-Identifier: MIT */
/*
 * The pass over a recording
 *
 * Collect: the program counters of all stack nodes, less one, because a return address may already
 * belong to the next line or function, and the start routines of threads as they are. Where modules
 * used the same range one after the other, that of a node is known (ft_module_had()); a start
 * routine is looked up in all: rows are keyed by module, and a reader who knows the time picks the
 * right one.
 *
 * Then one job a module, and the answers become rows.
 */
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "fragtrace/store.h"
#include "ft_cleanup.h"
#include "ft_symbol.h"
#include "jobs.h"

enum { DEFAULT_SECONDS = 60 };

#define ANY_STACK UINT32_MAX

#define DEFAULT_CACHE_BYTES (UINT64_C(256) << 20)
#define DEFAULT_DEBUG_DIRS  "/usr/lib/debug"

struct module {
	uint32_t id;
	const char *path, *build_id; /* in the pass's arena */
	uint64_t bias, start, end, load_ns, unload_ns;
	uint32_t last_stack;
	struct ft_lookup *lookups; /* owned */
	size_t n, max;
};

/* Rows are held back until all are there: a writer would lock the recording for the whole pass. */
struct row {
	uint64_t offset;
	uint32_t module, depth;
	struct ft_frame frame; /* strings in `names` */
};

struct pass {
	struct ft_arena strings;
	struct module *modules; /* sorted by start */
	uint64_t *max_end;	/* of modules [0..i] */
	size_t n_modules, max_modules;
	struct ft_map seen; /* pc and module, mixed -> 1 */
	struct ft_job *jobs;
	size_t n_jobs;
	struct row *rows;
	size_t n_rows, max_rows;
	struct ft_frame_table names; /* only for its string pool */
	struct ft_symbolize_result *result;
	bool named; /* the current job has given a name */
};

static void pass_deinit(struct pass *pass)
{
	for (size_t i = 0; i < pass->n_modules; i++)
		free(pass->modules[i].lookups);
	ft_frame_table_deinit(&pass->names);
	free(pass->rows);
	free(pass->jobs);
	free(pass->max_end);
	free(pass->modules);
	ft_map_deinit(&pass->seen);
	ft_arena_deinit(&pass->strings);
}

/* ---- collect --------------------------------------------------------------------------------- */

static struct ft_error *add_module(void *ctx, const struct ft_module_row *row)
{
	struct pass *pass = ctx;

	if (!row->path || row->end <= row->start)
		return NULL;
	if (pass->n_modules == pass->max_modules) {
		size_t max = pass->max_modules ? pass->max_modules * 2 : 64;
		struct module *bigger = reallocarray(pass->modules, max, sizeof(*bigger));
		if (!bigger)
			return &ft_enomem;
		pass->modules = bigger;
		pass->max_modules = max;
	}
	struct module module = {
		.id = row->id,
		.path = ft_arena_strdup(&pass->strings, row->path),
		.build_id = row->build_id ? ft_arena_strdup(&pass->strings, row->build_id) : NULL,
		.bias = row->bias,
		.start = row->start,
		.end = row->end,
		.load_ns = row->load_ns,
		.unload_ns = row->unload_ns,
		.last_stack = row->last_stack,
	};
	if (!module.path || (row->build_id && !module.build_id))
		return &ft_enomem;
	pass->modules[pass->n_modules++] = module;
	return NULL;
}

static int compare_modules(const void *a, const void *b)
{
	const struct module *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static struct ft_error *sort_modules(struct pass *pass)
{
	pass->max_end = calloc(pass->n_modules ? pass->n_modules : 1, sizeof(*pass->max_end));
	if (!pass->max_end)
		return &ft_enomem;
	if (pass->n_modules)
		qsort(pass->modules, pass->n_modules, sizeof(*pass->modules), compare_modules);
	uint64_t max_end = 0;
	for (size_t i = 0; i < pass->n_modules; i++) {
		if (pass->modules[i].end > max_end)
			max_end = pass->modules[i].end;
		pass->max_end[i] = max_end;
	}
	return NULL;
}

static struct ft_error *add_lookup(struct module *module, struct ft_lookup lookup)
{
	if (module->n == module->max) {
		size_t max = module->max ? module->max * 2 : 64;
		struct ft_lookup *bigger =
			reallocarray(module->lookups, max, sizeof(*module->lookups));
		if (!bigger)
			return &ft_enomem;
		module->lookups = bigger;
		module->max = max;
	}
	module->lookups[module->n++] = lookup;
	return NULL;
}

/* Ask for `pc` in one module; once. */
static struct ft_error *add_pc_of(struct pass *pass, struct module *module, uint64_t pc,
				  unsigned back)
{
	bool created;

	if (!ft_map_put(&pass->seen, pc ^ module->id * UINT64_C(0x9e3779b97f4a7c15), &created))
		return &ft_enomem;
	if (!created)
		return NULL;
	return add_lookup(module, (struct ft_lookup){.offset = pc - module->bias,
						     .address = pc - back - module->bias});
}

/* `back` is 1 for a return address, of a stack; ANY_STACK: ask every module that was ever there. */
static struct ft_error *add_pc(struct pass *pass, uint32_t stack, uint64_t pc, unsigned back)
{
	struct module *found = NULL, *last = NULL;
	uint64_t address = pc - back;
	size_t low = 0, high = pass->n_modules;

	if (pc <= back)
		return NULL;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (pass->modules[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low; i-- > 0 && pass->max_end[i] > address;) {
		struct module *module = &pass->modules[i];
		if (module->end <= address)
			continue;
		if (stack == ANY_STACK)
			FT_TRY(add_pc_of(pass, module, pc, back));
		if (!last || module->load_ns > last->load_ns)
			last = module;
		if (ft_module_had(module->unload_ns, module->last_stack, stack) &&
		    (!found || module->load_ns < found->load_ns))
			found = module;
	}
	if (!last) {
		bool created;
		if (!ft_map_put(&pass->seen, pc, &created))
			return &ft_enomem;
		pass->result->n_outside += created;
		return NULL;
	}
	return add_pc_of(pass, found ? found : last, pc, back);
}

static struct ft_error *add_thread(void *ctx, const struct ft_thread_row *row)
{
	return add_pc(ctx, ANY_STACK, row->start_function, 0);
}

/* The stacks that are asked for, up to their roots. */
static struct ft_error *collect_stacks(struct pass *pass, struct ft_reader *reader,
				       const uint32_t *stacks, size_t n_stacks)
{
	const struct ft_stack_node *nodes;
	size_t n;

	FT_TRY(ft_reader_modules(reader, add_module, pass));
	FT_TRY(sort_modules(pass));
	FT_TRY(ft_reader_stacks(reader, &nodes, &n));
	for (size_t i = 0; i < n_stacks; i++)
		/* A parent is older than its child: nothing goes in circles. */
		for (uint32_t id = stacks[i]; id && id < n;
		     id = nodes[id].parent < id ? nodes[id].parent : 0)
			FT_TRY(add_pc(pass, id, nodes[id].pc, 1));
	return NULL;
}

static struct ft_error *collect(struct pass *pass, struct ft_reader *reader)
{
	FT_TRY(ft_reader_modules(reader, add_module, pass));
	FT_TRY(sort_modules(pass));

	const struct ft_stack_node *nodes;
	size_t n;
	FT_TRY(ft_reader_stacks(reader, &nodes, &n));
	for (size_t i = 1; i < n; i++)
		FT_TRY(add_pc(pass, (uint32_t)i, nodes[i].pc, 1));
	return ft_reader_threads(reader, add_thread, pass);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static int compare_lookups(const void *a, const void *b)
{
	const struct ft_lookup *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int compare_jobs(const void *a, const void *b)
{
	const struct ft_job *x = a, *y = b;

	return x->module < y->module ? -1 : x->module > y->module;
}

static struct ft_error *make_jobs(struct pass *pass, int64_t start_realtime_ns)
{
	pass->jobs = calloc(pass->n_modules ? pass->n_modules : 1, sizeof(*pass->jobs));
	if (!pass->jobs)
		return &ft_enomem;
	for (size_t i = 0; i < pass->n_modules; i++) {
		struct module *module = &pass->modules[i];
		if (!module->n)
			continue;
		qsort(module->lookups, module->n, sizeof(*module->lookups), compare_lookups);
		pass->jobs[pass->n_jobs++] = (struct ft_job){
			.module = module->id,
			.identity = {.path = module->path,
				     .build_id = module->build_id,
				     .not_after_realtime_ns = start_realtime_ns},
			.lookups = module->lookups,
			.n = module->n,
		};
		pass->result->n_addresses += module->n;
	}
	pass->result->n_modules = (uint32_t)pass->n_jobs;
	/* Modules are numbered as they were loaded: the program itself comes first. */
	qsort(pass->jobs, pass->n_jobs, sizeof(*pass->jobs), compare_jobs);
	return NULL;
}

static struct ft_error *keep_frame(void *ctx, const struct ft_job *job, uint64_t offset,
				   uint32_t depth, const struct ft_frame *frame)
{
	struct pass *pass = ctx;

	if (pass->n_rows == pass->max_rows) {
		size_t max = pass->max_rows ? pass->max_rows * 2 : 256;
		struct row *bigger = reallocarray(pass->rows, max, sizeof(*bigger));
		if (!bigger)
			return &ft_enomem;
		pass->rows = bigger;
		pass->max_rows = max;
	}
	pass->rows[pass->n_rows++] = (struct row){
		.offset = offset,
		.module = job->module,
		.depth = depth,
		.frame = {.function = ft_frame_table_intern(&pass->names, frame->function),
			  .file = ft_frame_table_intern(&pass->names, frame->file),
			  .line = frame->line},
	};
	pass->result->n_frames++;
	if (depth == 0) {
		pass->result->n_resolved += frame->function != NULL;
		pass->result->n_with_line += frame->line > 0;
		pass->named |= frame->function != NULL;
	}
	return pass->names.failed ? &ft_enomem : NULL;
}

static struct ft_error *end_job(void *ctx, const struct ft_job *job, const struct ft_job_end *end)
{
	struct pass *pass = ctx;
	struct ft_symbolize_result *result = pass->result;

	result->n_modules_missing += end->status == FT_OBJECT_MISSING;
	result->n_modules_mismatched += end->status == FT_OBJECT_MISMATCHED;
	result->n_modules_damaged += end->status == FT_OBJECT_DAMAGED;
	result->n_cached += end->n_cached;
	result->n_modules_unnamed += !pass->named;
	result->timed_out |= end->timed_out != 0;
	pass->named = false;
	return NULL;
}

static struct ft_error *visit_rows(const struct pass *pass,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_symbol_row *row),
				   void *ctx)
{
	for (size_t i = 0; i < pass->n_rows; i++) {
		const struct row *row = &pass->rows[i];
		struct ft_symbol_row out = {
			.module = row->module,
			.offset = row->offset,
			.depth = row->depth,
			.function = row->frame.function,
			.file = row->frame.file,
			.line = row->frame.line,
		};
		FT_TRY(visit(ctx, &out));
	}
	return NULL;
}

static struct ft_error *write_row(void *ctx, const struct ft_symbol_row *row)
{
	return ft_symbol_writer_add(ctx, row);
}

static struct ft_error *write_rows(const struct pass *pass, const char *path)
{
	struct ft_symbol_writer *writer;
	FT_TRY(ft_symbol_writer_open(path, &writer));
	struct ft_error *error = visit_rows(pass, write_row, writer);
	if (!error)
		error = ft_symbol_writer_commit(writer);
	ft_symbol_writer_close(writer);
	return error;
}

static struct ft_error *run_jobs(struct pass *pass, bool isolate,
				 const struct ft_job_settings *settings)
{
	struct ft_job_sink sink = {.frame = keep_frame, .end = end_job, .ctx = pass};

	return (isolate ? ft_jobs_run_isolated : ft_jobs_run)(pass->jobs, pass->n_jobs, settings,
							      &sink);
}

static struct ft_error *run(struct pass *pass, const char *path, bool isolate,
			    const struct ft_job_settings *settings)
{
	struct ft_reader *reader;
	FT_TRY(ft_reader_open(path, 0, &reader));
	struct ft_process_row process = {0};
	struct ft_error *error = ft_reader_process(reader, &process);
	int64_t start_realtime_ns = process.start_realtime_ns;
	if (!error)
		error = collect(pass, reader);
	ft_reader_close(reader);
	if (error)
		return error;
	FT_TRY(make_jobs(pass, start_realtime_ns));
	FT_TRY(run_jobs(pass, isolate, settings));
	return write_rows(pass, path);
}

static void pass_init(struct pass *pass, struct ft_symbolize_result *result)
{
	*pass = (struct pass){.result = result};
	ft_arena_init(&pass->strings);
	ft_map_init(&pass->seen);
	ft_frame_table_init(&pass->names);
}

/* `default_cache` is the caller's: what the settings borrow. */
static struct ft_job_settings job_settings(const struct ft_symbolize_options *options,
					   char **default_cache)
{
	unsigned seconds = options->max_seconds ? options->max_seconds : DEFAULT_SECONDS;

	*default_cache = options->use_cache && !options->cache_dir ? ft_cache_default_dir() : NULL;
	return (struct ft_job_settings){
		.debug_dirs = options->debug_dirs ? options->debug_dirs : DEFAULT_DEBUG_DIRS,
		.cache_dir = !options->use_cache  ? NULL
			     : options->cache_dir ? options->cache_dir
						  : *default_cache,
		.cache_max_bytes =
			options->cache_max_bytes ? options->cache_max_bytes : DEFAULT_CACHE_BYTES,
		.deadline = ft_monotonic_seconds() + seconds,
		.nice = options->nice,
	};
}

static const struct ft_symbolize_options defaults;

struct ft_error *ft_symbolize(const char *path, const struct ft_symbolize_options *options,
			      struct ft_symbolize_result *result)
{
	struct ft_symbolize_result ignored;

	if (!options)
		options = &defaults;
	if (!result)
		result = &ignored;
	*result = (struct ft_symbolize_result){0};

	double start = ft_monotonic_seconds();
	ft_auto_free char *default_cache = NULL;
	struct ft_job_settings settings = job_settings(options, &default_cache);

	struct pass pass;
	pass_init(&pass, result);
	struct ft_error *error = run(&pass, path, options->isolate, &settings);
	pass_deinit(&pass);
	result->seconds = ft_monotonic_seconds() - start;
	result->timed_out |= start + result->seconds >= settings.deadline;
	return ft_error_context(error, "symbols of %s", path);
}

static struct ft_error *run_stacks(struct pass *pass, struct ft_reader *reader,
				   const uint32_t *stacks, size_t n, bool isolate,
				   const struct ft_job_settings *settings)
{
	struct ft_process_row process = {0};

	FT_TRY(ft_reader_process(reader, &process));
	FT_TRY(collect_stacks(pass, reader, stacks, n));
	FT_TRY(make_jobs(pass, process.start_realtime_ns));
	return run_jobs(pass, isolate, settings);
}

struct ft_error *ft_symbolize_stacks(struct ft_reader *reader, const uint32_t *stacks, size_t n,
				     const struct ft_symbolize_options *options,
				     struct ft_error *(*visit)(void *ctx,
							       const struct ft_symbol_row *row),
				     void *ctx)
{
	struct ft_symbolize_result result = {0};
	ft_auto_free char *default_cache = NULL;

	if (!options)
		options = &defaults;

	struct ft_job_settings settings = job_settings(options, &default_cache);
	struct pass pass;
	pass_init(&pass, &result);
	struct ft_error *error = run_stacks(&pass, reader, stacks, n, options->isolate, &settings);
	if (!error)
		error = visit_rows(&pass, visit, ctx);
	pass_deinit(&pass);
	return ft_error_context(error, "symbols of %s", ft_reader_path(reader));
}

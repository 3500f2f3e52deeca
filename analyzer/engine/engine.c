/* SPDX-License-Identifier: MIT */
/* Engine: life cycle, window, findings. The loop is in replay.c, the names are in names.c. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_impl.h"
#include "fa_doc.h"
#include "ft_cleanup.h"

/* ---- create ------------------------------------------------------------------------------------
 */

static struct ft_error *max_time(void *ctx, const struct ft_timeline_row *row)
{
	uint64_t *end_ns = ctx;

	if (row->time_ns > *end_ns)
		*end_ns = row->time_ns;
	return NULL;
}

/*
 * The end of the recording: that of the process, of its last event, or of its last sample,
 * whichever is latest. A program that fell silent ran on: rates are per second of its life.
 */
struct ft_error *fa_recording_end(struct ft_reader *reader, uint64_t *ret)
{
	size_t n_chunks = ft_reader_n_chunks(reader);
	struct ft_process_row process = {.end_ns = FT_TIME_NONE};
	uint64_t end_ns = n_chunks ? ft_reader_chunk_info(reader, n_chunks - 1)->last_ns : 0;

	FT_TRY(ft_reader_process(reader, &process));
	if (process.end_ns != FT_TIME_NONE && process.end_ns > end_ns)
		end_ns = process.end_ns;
	FT_TRY(ft_reader_timeline(reader, max_time, &end_ns));
	if (end_ns < ft_reader_begin_ns(reader))
		end_ns = ft_reader_begin_ns(reader);
	*ret = end_ns;
	return NULL;
}

static struct ft_error *max_thread(void *ctx, const struct ft_thread_row *row)
{
	size_t *n = ctx;

	if (row->id >= *n)
		*n = (size_t)row->id + 1;
	return NULL;
}

static char *copy_text(struct fa_engine *engine, const char *text)
{
	return text ? ft_arena_strdup(&engine->arena, text) : NULL;
}

static struct ft_error *add_thread(void *ctx, const struct ft_thread_row *row)
{
	struct fa_engine *engine = ctx;

	engine->threads[row->id] = (struct fa_thread){
		.id = row->id,
		.tid = row->tid,
		.name = copy_text(engine, row->name),
		.start_pc = row->start_function,
		.start_ns = row->start_ns,
		.end_ns = row->end_ns,
		.n_threads = row->n_threads,
	};
	return NULL;
}

static struct ft_error *engine_init(struct fa_engine *engine)
{
	const struct ft_stack_node *nodes;
	uint64_t end_ns = 0;

	FT_TRY(fa_heap_init(&engine->heap));
	FT_TRY(fa_recording_end(engine->reader, &end_ns));
	engine->end_ns = end_ns;
	FT_TRY(fa_engine_find_allocator(engine));
	engine->from_ns = engine->options.from_ns < end_ns ? engine->options.from_ns : end_ns;
	engine->to_ns = engine->options.to_ns && engine->options.to_ns < end_ns
				? engine->options.to_ns
				: end_ns;
	if (engine->to_ns < engine->from_ns)
		return ft_error_create(FT_ERROR_USAGE, "the window ends before it begins");
	engine->epoch = 1;

	FT_TRY(ft_reader_stacks(engine->reader, &nodes, &engine->n_stacks));
	if (!engine->n_stacks)
		engine->n_stacks = 1;
	FT_TRY(fa_engine_find_parent(engine));
	FT_TRY(fa_engine_find_start(engine));
	if (!engine->options.tables_only)
		FT_TRY(fa_engine_find_teardown(engine));
	FT_TRY(fa_engine_find_rolled(engine));
	engine->n_ticks = engine->options.n_ticks ? engine->options.n_ticks : ENGINE_TICKS;
	engine->next_tick_ns = fa_engine_tick_ns(engine, 0);
	engine->n_threads = 1;
	FT_TRY(ft_reader_threads(engine->reader, max_thread, &engine->n_threads));
	engine->threads = calloc(engine->n_threads, sizeof(*engine->threads));
	engine->last_address = calloc(engine->n_threads, sizeof(*engine->last_address));

	/* calloc, not aligned_alloc: pages of stacks that never allocate are then never touched. */
	engine->sites_memory = calloc(engine->n_stacks + 1, sizeof(*engine->sites));
	if (!engine->threads || !engine->last_address || !engine->sites_memory)
		return &ft_enomem;
	engine->sites =
		(struct site_account *)(((uintptr_t)engine->sites_memory + 63) & ~(uintptr_t)63);
	FT_TRY(fa_engine_find_rate(engine));
	if (engine->rolled) {
		engine->thread_live = calloc(engine->n_threads, sizeof(*engine->thread_live));
		if (!engine->thread_live)
			return &ft_enomem;
	}
	return ft_reader_threads(engine->reader, add_thread, engine);
}

struct ft_error *fa_engine_create(struct ft_reader *reader, const struct fa_options *options,
				  struct fa_engine **ret)
{
	struct fa_engine *engine = calloc(1, sizeof(*engine));
	struct ft_error *error;

	if (!engine)
		return &ft_enomem;
	engine->reader = reader;
	if (options)
		engine->options = *options;
	ft_arena_init(&engine->arena);
	error = engine_init(engine);
	if (error) {
		fa_engine_destroy(engine);
		return error;
	}
	*ret = engine;
	return NULL;
}

void fa_engine_destroy(struct fa_engine *engine)
{
	if (!engine)
		return;
	for (size_t i = 0; i < engine->n_passes; i++) {
		struct fa_pass *pass = &engine->passes[i];

		if (pass->initialized && pass->ops->deinit)
			pass->ops->deinit(pass);
		free(pass->state);
	}
	fa_engine_destroy(engine->parent);
	ft_reader_close(engine->parent_reader);
	fa_heap_deinit(&engine->heap);
	fa_batch_deinit(&engine->batch);
	if (engine->layout)
		fa_layout_deinit(engine->layout);
	free(engine->layout);
	fa_names_destroy(engine->names);
	fa_suppressed_destroy(engine->suppressed);
	ft_arena_deinit(&engine->arena);
	free(engine->sites_memory);
	free(engine->start_blocks);
	free(engine->site_errors);
	free(engine->last_address);
	free(engine->thread_live);
	free(engine->threads);
	free(engine);
}

/* ---- passes ------------------------------------------------------------------------------------
 */

struct ft_error *fa_engine_add(struct fa_engine *engine, const struct fa_pass_ops *ops)
{
	for (size_t i = 0; i < engine->n_passes; i++)
		if (engine->passes[i].ops == ops)
			return NULL;
	assert(engine->n_passes < ENGINE_MAX_PASSES && engine->n_refused < ENGINE_MAX_PASSES);
	if (fa_engine_refuses(engine, ops)) {
		engine->refused[engine->n_refused++] = ops;
		return NULL;
	}

	engine->needs_places |= ops->needs_places || ops->needs_layout;
	if (ops->needs_layout && !engine->layout) {
		engine->layout = malloc(sizeof(*engine->layout));
		if (!engine->layout)
			return &ft_enomem;
		fa_layout_init(engine->layout, engine->is_glibc ? 8 : 0);
		fa_batch_init(&engine->batch, engine->layout);
	}

	struct fa_pass *pass = &engine->passes[engine->n_passes];

	pass->state = calloc(1, ops->state_size ? ops->state_size : 1);
	if (!pass->state)
		return &ft_enomem;
	pass->ops = ops;
	pass->engine = engine;
	pass->alarm_ns = UINT64_MAX;
	engine->n_passes++;
	return NULL;
}

void *fa_pass_state(const struct fa_pass *pass)
{
	return pass->state;
}

void fa_pass_alarm(struct fa_pass *pass, uint64_t time_ns)
{
	pass->alarm_ns = time_ns;
}

struct fa_engine *fa_pass_engine(const struct fa_pass *pass)
{
	return pass->engine;
}

struct ft_error *fa_engine_run(struct fa_engine *engine)
{
	if (engine->options.tables_only) {
		FT_TRY(fa_engine_read_totals(engine));
	} else {
		FT_TRY(fa_engine_replay_parts(engine));
		FT_TRY(fa_engine_load_names(engine));
	}
	for (size_t i = 0; i < engine->n_passes; i++)
		if (engine->passes[i].ops->finish)
			FT_TRY(engine->passes[i].ops->finish(&engine->passes[i]));
	return NULL;
}

struct ft_error *fa_engine_emit(struct fa_engine *engine, struct fa_doc *doc)
{
	for (size_t i = 0; i < engine->n_passes; i++)
		FT_TRY(engine->passes[i].ops->emit(&engine->passes[i], doc));
	for (size_t i = 0; i < engine->n_refused; i++) {
		struct fa_json *json = fa_doc_begin(doc, engine->refused[i]->name);

		fa_json_kv_string(json, "unavailable",
				  fa_engine_refuses(engine, engine->refused[i]));
		fa_doc_end(doc);
	}
	return NULL;
}

/* ---- facts -------------------------------------------------------------------------------------
 */

struct ft_reader *fa_engine_reader(const struct fa_engine *engine)
{
	return engine->reader;
}

struct ft_error *fa_engine_layout(struct fa_engine *engine, struct fa_layout **ret)
{
	assert(engine->layout);
	FT_TRY(fa_batch_apply(&engine->batch));
	*ret = engine->layout;
	return NULL;
}

const struct fa_totals *fa_engine_totals(const struct fa_engine *engine)
{
	return &engine->totals;
}

uint32_t fa_engine_max_sites(const struct fa_engine *engine)
{
	return engine->options.max_sites ? engine->options.max_sites : ENGINE_MAX_SITES;
}

const struct fa_options *fa_engine_options(const struct fa_engine *engine)
{
	return &engine->options;
}

uint64_t fa_engine_from_ns(const struct fa_engine *engine)
{
	return engine->from_ns;
}

uint64_t fa_engine_to_ns(const struct fa_engine *engine)
{
	return engine->to_ns;
}

uint64_t fa_engine_part_ns(const struct fa_engine *engine)
{
	return engine->is_later_part ? engine->part_ns : engine->from_ns;
}

uint32_t fa_engine_n_ticks(const struct fa_engine *engine)
{
	return engine->n_ticks;
}

uint64_t fa_engine_tick_ns(const struct fa_engine *engine, uint32_t tick)
{
	/* 128 bits: months of nanoseconds times thousands of ticks. */
	return engine->from_ns + (uint64_t)((unsigned __int128)(engine->to_ns - engine->from_ns) *
					    (tick + UINT64_C(1)) / engine->n_ticks);
}

bool fa_engine_teardown(const struct fa_engine *engine, uint64_t *seq, uint64_t *time_ns)
{
	if (!engine->has_teardown)
		return false;
	*seq = engine->teardown_seq;
	*time_ns = engine->teardown_ns;
	return true;
}

size_t fa_engine_n_stacks(const struct fa_engine *engine)
{
	return engine->n_stacks;
}

size_t fa_engine_n_threads(const struct fa_engine *engine)
{
	return engine->n_threads;
}

const struct fa_thread *fa_engine_thread(const struct fa_engine *engine, uint32_t id)
{
	return id < engine->n_threads && engine->threads[id].id ? &engine->threads[id] : NULL;
}

bool fa_engine_next_live(const struct fa_engine *engine, size_t *cursor,
			 const struct fa_block **ret)
{
	while (*cursor < engine->heap.n_blocks) {
		uint32_t number = (uint32_t)(*cursor)++;
		const struct fa_block *block = heap_block(&engine->heap, number);

		if (block->address && number + 1 != engine->heap.dying) {
			*ret = block;
			return true;
		}
	}
	return false;
}

bool fa_engine_next_laid(const struct fa_engine *engine, size_t *cursor,
			 const struct fa_block **ret)
{
	while (fa_engine_next_live(engine, cursor, ret))
		if (!fa_block_is_object(*ret))
			return true;
	return false;
}

size_t fa_engine_n_live(const struct fa_engine *engine)
{
	return engine->heap.n_live;
}

/* ---- findings ----------------------------------------------------------------------------------
 */

const char *fa_severity_name(enum fa_severity severity)
{
	static const char *const names[] = {"ok", "info", "low", "medium", "high"};

	return names[severity];
}

static bool finding_before(const struct fa_finding *a, const struct fa_finding *b)
{
	if (a->severity != b->severity)
		return a->severity > b->severity;
	return a->weight > b->weight;
}

/* Texts of params included; false when out of memory. */
static bool copy_params(struct fa_engine *engine, struct fa_finding *finding)
{
	size_t size = finding->n_params * sizeof(*finding->params);
	struct fa_param *params = ft_arena_alloc(&engine->arena, size ? size : 1);

	if (!params)
		return false;
	if (size)
		memcpy(params, finding->params, size);
	for (size_t i = 0; i < finding->n_params; i++) {
		if (params[i].kind != FA_PARAM_TEXT || !params[i].text)
			continue;
		params[i].text = copy_text(engine, params[i].text);
		if (!params[i].text)
			return false;
	}
	finding->params = params;
	return true;
}

struct ft_error *fa_engine_finding_add(struct fa_engine *engine, const struct fa_finding *finding)
{
	struct fa_finding *list = engine->findings;
	size_t at = engine->n_findings;

	while (at > 0 && finding_before(finding, &list[at - 1]))
		at--;
	if (at == ENGINE_MAX_FINDINGS)
		return NULL;

	struct fa_finding copy = *finding;

	copy.text = copy_text(engine, finding->text);
	if (!copy.text || !copy_params(engine, &copy))
		return &ft_enomem;
	if (engine->n_findings < ENGINE_MAX_FINDINGS)
		engine->n_findings++;
	memmove(list + at + 1, list + at, (engine->n_findings - at - 1) * sizeof(*list));
	list[at] = copy;
	return NULL;
}

const struct fa_finding *fa_engine_finding(const struct fa_engine *engine, size_t index)
{
	return index < engine->n_findings ? &engine->findings[index] : NULL;
}

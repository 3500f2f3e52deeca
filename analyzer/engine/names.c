/* SPDX-License-Identifier: MIT */
/*
 * Names: stacks of the recording -> frames as people read them
 *
 * Modules, symbols and stacks are loaded when the first name is asked for. Each pc is looked up
 * once. Texts are interned, because a function stands in thousands of frames.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_impl.h"
#include "fa_json.h"
#include "ft_cleanup.h"
#include "ft_map.h"

enum { NAMES_MAX_DEPTH = 1024 }; /* of one stack; deeper ones are cut at the outer end */

struct name_module {
	uint32_t id;
	uint64_t start, end, bias, load_ns, unload_ns;
	uint32_t last_stack;
	const char *path;
	bool tracer, runtime;
};

struct name_symbol {
	uint32_t module, depth;
	uint64_t offset;
	const char *function, *file;
	int64_t line;
};

/* A resolved pc: its module and a run of symbols, innermost inlined function first. */
struct name_pc {
	const struct name_module *module; /* NULL: in none */
	const struct name_symbol *symbols;
	size_t n_symbols;
	uint64_t offset;
	bool several;	      /* modules lay there, one after the other: */
	struct name_pc *next; /* the same pc in another one */
};

/* What is remembered of a stack once it was asked for. */
struct name_site {
	const char *name;
	bool classified, system;
};

struct fa_names {
	struct ft_reader *reader;
	struct ft_arena arena;
	struct ft_map interned;	     /* hash of the text -> pointer */
	struct name_module *modules; /* by start, then load time */
	size_t n_modules;
	struct name_symbol *symbols; /* by module, offset, depth */
	size_t n_symbols, symbols_capacity;
	struct ft_map pcs; /* pc -> pointer to a name_pc in the arena */
	const struct ft_stack_node *nodes;
	size_t n_nodes;
	struct name_site *sites; /* by stack */
};

/* ---- load --------------------------------------------------------------------------------------
 */

static const char *intern(struct fa_names *names, const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	if (!text)
		return NULL;
	for (const char *p = text; *p; p++)
		hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);

	/* Another text with this hash moves on to the next key. */
	for (;; hash++) {
		bool created;
		uint64_t *value = ft_map_put(&names->interned, hash, &created);

		if (!value)
			return NULL;
		if (created)
			*value = (uintptr_t)ft_arena_strdup(&names->arena, text);
		if (!*value || !strcmp((const char *)(uintptr_t)*value, text))
			return (const char *)(uintptr_t)*value;
	}
}

static struct ft_error *add_module(void *ctx, const struct ft_module_row *row)
{
	struct fa_names *names = ctx;
	struct name_module *modules =
		realloc(names->modules, (names->n_modules + 1) * sizeof(*modules));

	if (!modules)
		return &ft_enomem;
	names->modules = modules;
	modules[names->n_modules++] = (struct name_module){
		.id = row->id,
		.start = row->start,
		.end = row->end,
		.bias = row->bias,
		.load_ns = row->load_ns,
		.unload_ns = row->unload_ns,
		.last_stack = row->last_stack,
		.path = intern(names, row->path),
		.tracer = row->path && fa_module_is_tracer(row->path),
		.runtime = row->path && fa_module_is_runtime(row->path),
	};
	return NULL;
}

static struct ft_error *add_symbol(void *ctx, const struct ft_symbol_row *row)
{
	struct fa_names *names = ctx;

	if (names->n_symbols == names->symbols_capacity) {
		size_t capacity = names->symbols_capacity ? names->symbols_capacity * 2 : 1024;
		struct name_symbol *symbols = realloc(names->symbols, capacity * sizeof(*symbols));

		if (!symbols)
			return &ft_enomem;
		names->symbols = symbols;
		names->symbols_capacity = capacity;
	}
	names->symbols[names->n_symbols++] = (struct name_symbol){
		.module = row->module,
		.depth = row->depth,
		.offset = row->offset,
		.function = intern(names, row->function),
		.file = intern(names, row->file),
		.line = row->line,
	};
	return NULL;
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_modules(const void *a, const void *b)
{
	const struct name_module *x = a, *y = b;
	int by_start = compare_u64(x->start, y->start);

	if (by_start)
		return by_start;
	return x->load_ns != y->load_ns ? compare_u64(x->load_ns, y->load_ns)
					: compare_u64(x->id, y->id);
}

static int compare_symbols(const void *a, const void *b)
{
	const struct name_symbol *x = a, *y = b;

	if (x->module != y->module)
		return compare_u64(x->module, y->module);
	if (x->offset != y->offset)
		return compare_u64(x->offset, y->offset);
	return compare_u64(x->depth, y->depth);
}

/* By place; of what came twice the first is as good as the second. */
static void sort_symbols(struct fa_names *names)
{
	size_t n = 0;

	if (!names->n_symbols)
		return;
	qsort(names->symbols, names->n_symbols, sizeof(*names->symbols), compare_symbols);
	for (size_t i = 1; i < names->n_symbols; i++)
		if (compare_symbols(&names->symbols[n], &names->symbols[i]) != 0)
			names->symbols[++n] = names->symbols[i];
	names->n_symbols = n + 1;
}

static struct ft_error *names_load(struct fa_names *names)
{
	FT_TRY(ft_reader_modules(names->reader, add_module, names));
	FT_TRY(ft_reader_symbols(names->reader, add_symbol, names));
	FT_TRY(ft_reader_stacks(names->reader, &names->nodes, &names->n_nodes));
	if (names->n_modules)
		qsort(names->modules, names->n_modules, sizeof(*names->modules), compare_modules);
	sort_symbols(names);
	names->sites = calloc(names->n_nodes + 1, sizeof(*names->sites));
	return names->sites ? NULL : &ft_enomem;
}

void fa_names_destroy(struct fa_names *names)
{
	if (!names)
		return;
	ft_arena_deinit(&names->arena);
	ft_map_deinit(&names->interned);
	ft_map_deinit(&names->pcs);
	free(names->modules);
	free(names->symbols);
	free(names->sites);
	free(names);
}

/* ---- a pc --------------------------------------------------------------------------------------
 */

/* The module at `pc` when the stack was seen first (ft_module_had()). */
static const struct name_module *find_module(const struct fa_names *names, uint32_t stack,
					     uint64_t pc, bool *several)
{
	const struct name_module *found = NULL, *last = NULL;
	size_t low = 0, high = names->n_modules;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (names->modules[middle].start <= pc)
			low = middle + 1;
		else
			high = middle;
	}
	*several = false;
	while (low-- > 0) {
		const struct name_module *module = &names->modules[low];

		if (pc >= module->end)
			continue;
		*several = last != NULL;
		if (!last || module->load_ns > last->load_ns)
			last = module;
		if (ft_module_had(module->unload_ns, module->last_stack, stack) &&
		    (!found || module->load_ns < found->load_ns))
			found = module;
	}
	return found ? found : last;
}

static void find_symbols(const struct fa_names *names, struct name_pc *at)
{
	uint32_t module = at->module ? at->module->id : 0;
	size_t low = 0, high = names->n_symbols;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct name_symbol *symbol = &names->symbols[middle];

		if (symbol->module < module ||
		    (symbol->module == module && symbol->offset < at->offset))
			low = middle + 1;
		else
			high = middle;
	}
	at->symbols = names->symbols + low;
	while (low + at->n_symbols < names->n_symbols &&
	       at->symbols[at->n_symbols].module == module &&
	       at->symbols[at->n_symbols].offset == at->offset)
		at->n_symbols++;
}

/* A frame of a stack. NULL when out of memory. */
static const struct name_pc *resolve_pc(struct fa_names *names, uint32_t stack, uint64_t pc)
{
	uint64_t *value = ft_map_put(&names->pcs, pc, NULL);
	const struct name_module *module;
	struct name_pc *at;
	bool several;

	if (!value)
		return NULL;
	at = (struct name_pc *)(uintptr_t)*value;
	if (at && !at->several)
		return at;
	module = find_module(names, stack, pc, &several);
	while (at && at->module != module)
		at = at->next;
	if (at)
		return at;

	at = ft_arena_alloc(&names->arena, sizeof(*at));
	if (!at)
		return NULL;
	*at = (struct name_pc){.module = module,
			       .offset = module ? pc - module->bias : pc,
			       .several = several,
			       .next = (struct name_pc *)(uintptr_t)*value};
	find_symbols(names, at);
	*value = (uintptr_t)at;
	return at;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* "module+0xoffset" */
static const char *place_name(struct fa_names *names, const char *module, uint64_t offset)
{
	char text[320];

	if (module)
		snprintf(text, sizeof(text), "%.256s+0x%llx", base_name(module),
			 (unsigned long long)offset);
	else
		snprintf(text, sizeof(text), "0x%llx", (unsigned long long)offset);
	return intern(names, text);
}

/* ---- stacks ------------------------------------------------------------------------------------
 */

static struct fa_names *engine_names(struct fa_engine *engine)
{
	/* Out of memory here means no names: frames show as addresses. */
	if (!engine->names)
		ft_error_destroy(fa_engine_load_names(engine));
	return engine->names;
}

/* A stack of the parent's recording: its names are there. */
static bool is_inherited(const struct fa_engine *engine, uint32_t stack)
{
	return engine->parent && stack >= engine->n_own_stacks;
}

static uint32_t inherited_stack(const struct fa_engine *engine, uint32_t stack)
{
	return (uint32_t)(stack - engine->n_own_stacks);
}

size_t fa_engine_frames(struct fa_engine *engine, uint32_t stack, struct fa_frame *frames,
			size_t max)
{
	struct fa_names *names;
	size_t n = 0, depth = 0;

	if (is_inherited(engine, stack))
		return fa_engine_frames(engine->parent, inherited_stack(engine, stack), frames,
					max);
	names = engine_names(engine);
	if (!names)
		return 0;
	for (uint32_t id = stack; id && id < names->n_nodes && depth < NAMES_MAX_DEPTH; depth++) {
		const struct ft_stack_node *node = &names->nodes[id];
		const struct name_pc *at = resolve_pc(names, id, node->pc);

		/* A parent is older than its child: a damaged file can't send us in circles. */
		id = node->parent < id ? node->parent : 0;
		if (!at || (at->module && at->module->tracer))
			continue;

		size_t n_here = at->n_symbols ? at->n_symbols : 1;

		for (size_t i = 0; i < n_here; i++, n++) {
			if (n >= max)
				continue;
			frames[n] = (struct fa_frame){
				.module = at->module ? at->module->path : NULL,
				.offset = at->offset,
				.inlined = i + 1 < n_here,
			};
			if (at->n_symbols) {
				frames[n].function = at->symbols[i].function;
				frames[n].file = at->symbols[i].file;
				frames[n].line = at->symbols[i].line;
			}
		}
	}
	return n;
}

static enum frame_kind frame_kind(const struct fa_frame *frame)
{
	if (frame->module && fa_module_is_runtime(frame->module))
		return FRAME_RUNTIME;
	return frame->function ? fa_function_kind(frame->function) : FRAME_USER;
}

size_t fa_engine_user_frames(struct fa_engine *engine, uint32_t stack, struct fa_frame *frames,
			     size_t max)
{
	size_t n = fa_engine_frames(engine, stack, frames, max), first = 0;

	while (first < n && first < max && frame_kind(&frames[first]) != FRAME_USER)
		first++;
	if (first == n || first == max)
		return n < max ? n : max;
	n = (n < max ? n : max) - first;
	memmove(frames, frames + first, n * sizeof(*frames));
	return n;
}

const char *fa_engine_site_name(struct fa_engine *engine, uint32_t stack)
{
	struct fa_names *names = engine_names(engine);
	struct fa_frame frames[128];

	if (is_inherited(engine, stack))
		return fa_engine_site_name(engine->parent, inherited_stack(engine, stack));
	if (!names || !stack || stack >= names->n_nodes)
		return "(no stack)";
	if (names->sites[stack].name)
		return names->sites[stack].name;

	size_t n = fa_engine_frames(engine, stack, frames, 128);
	const struct fa_frame *best = NULL;
	enum frame_kind best_kind = FRAME_WRAPPER;

	if (n > 128)
		n = 128;

	/* The first frame of the program; without one its last wrapper, without one the innermost
	 * frame of the runtime. */
	for (size_t i = 0; i < n; i++) {
		enum frame_kind kind = frame_kind(&frames[i]);

		if (kind == FRAME_USER || !best ||
		    (kind == FRAME_WRAPPER && best_kind != FRAME_USER)) {
			best = &frames[i];
			best_kind = kind;
		}
		if (kind == FRAME_USER)
			break;
	}

	const char *name = NULL;

	if (!best)
		name = "(no stack)";
	else if (best->function)
		name = best->function;
	else
		name = place_name(names, best->module, best->offset);
	if (!name)
		name = "(out of memory)";
	names->sites[stack].name = name;
	return name;
}

bool fa_engine_site_is_system(struct fa_engine *engine, uint32_t stack)
{
	struct fa_names *names = engine_names(engine);
	struct fa_frame frames[64];

	if (is_inherited(engine, stack))
		return fa_engine_site_is_system(engine->parent, inherited_stack(engine, stack));
	if (!names || !stack || stack >= names->n_nodes)
		return false;

	struct name_site *site = &names->sites[stack];

	if (site->classified)
		return site->system;
	site->classified = true;

	size_t n = fa_engine_frames(engine, stack, frames, 64);
	bool user = n > 64;

	/* Nothing but the runtime on the stack, or one of its known one-time allocations before the
	 * program's first frame. */
	for (size_t i = 0; i < n && i < 64 && !user; i++) {
		user = frame_kind(&frames[i]) != FRAME_RUNTIME;
		if (!user && frames[i].function && fa_function_is_startup(frames[i].function)) {
			site->system = true;
			return true;
		}
	}
	site->system = n > 0 && !user;
	return site->system;
}

void fa_engine_emit_stack(struct fa_engine *engine, uint32_t stack, struct fa_json *json)
{
	struct fa_frame frames[256];
	size_t n = fa_engine_frames(engine, stack, frames, 256);

	fa_json_array_begin(json);
	for (size_t i = 0; i < n && i < 256; i++) {
		const struct fa_frame *frame = &frames[i];

		fa_json_object_begin(json);
		fa_json_kv_string(json, "function", frame->function);
		fa_json_kv_string(json, "file", frame->file);
		if (frame->line > 0)
			fa_json_kv_i64(json, "line", frame->line);
		else
			fa_json_kv_null(json, "line");
		fa_json_kv_string(json, "module", frame->module);
		fa_json_kv_u64(json, "offset", frame->offset);
		fa_json_kv_bool(json, "inlined", frame->inlined);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
}

void fa_engine_symbolised(struct fa_engine *engine, uint64_t *resolved, uint64_t *frames)
{
	struct fa_names *names = engine_names(engine);

	*resolved = *frames = 0;
	for (size_t i = 1; names && i < names->n_nodes; i++) {
		const struct name_pc *at =
			names->nodes[i].pc ? resolve_pc(names, (uint32_t)i, names->nodes[i].pc)
					   : NULL;

		if (!at || (at->module && at->module->tracer))
			continue;
		++*frames;
		*resolved += at->n_symbols && at->symbols[0].function;
	}
}

struct ft_error *fa_engine_add_symbols(struct fa_engine *engine, const struct ft_symbol_row *rows,
				       size_t n)
{
	FT_TRY(fa_engine_load_names(engine));

	struct fa_names *names = engine->names;

	for (size_t i = 0; i < n; i++)
		FT_TRY(add_symbol(names, &rows[i]));
	sort_symbols(names);
	/* Everything is looked up again. */
	ft_map_deinit(&names->pcs);
	ft_map_init(&names->pcs);
	memset(names->sites, 0, (names->n_nodes + 1) * sizeof(*names->sites));
	return NULL;
}

struct ft_error *fa_engine_load_names(struct fa_engine *engine)
{
	if (engine->names)
		return NULL;

	struct fa_names *names = calloc(1, sizeof(*names));
	struct ft_error *error;

	if (!names)
		return &ft_enomem;
	names->reader = engine->reader;
	ft_arena_init(&names->arena);
	ft_map_init(&names->interned);
	ft_map_init(&names->pcs);
	error = names_load(names);
	if (error) {
		fa_names_destroy(names);
		return error;
	}
	engine->names = names;

	for (size_t i = 1; i < engine->n_threads; i++) {
		struct fa_thread *thread = &engine->threads[i];

		if (!thread->start_pc)
			continue;

		const struct name_pc *at = resolve_pc(names, UINT32_MAX, thread->start_pc);

		if (at && at->n_symbols)
			thread->start_function = at->symbols[at->n_symbols - 1].function;
		if (at && !thread->start_function)
			thread->start_function =
				place_name(names, at->module ? at->module->path : NULL, at->offset);
	}
	return NULL;
}

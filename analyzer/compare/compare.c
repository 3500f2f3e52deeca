/* SPDX-License-Identifier: MIT */
/* Comparing two recordings: see fa_compare.h. The document's section is written by emit.c. */
#include "fa_compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fa_name.h"
#include "ft_arena.h"
#include "ft_cleanup.h"
#include "ft_map.h"

enum { MAX_FRAMES = 256 };

/* ---- modules -----------------------------------------------------------------------------------
 */

struct module {
	const char *path, *build_id; /* NULL: it has none */
};

struct modules {
	struct ft_arena arena;
	struct module *list;
	size_t n;
	const char *exe; /* path of the program */
};

static void modules_deinit(struct modules *modules)
{
	ft_arena_deinit(&modules->arena);
	free(modules->list);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* "libfoo.so.1.2" is libfoo, "libfoo-1.2.so" is libfoo-1.2. */
static size_t stem_length(const char *name)
{
	const char *so = strstr(name, ".so");

	return so && (!so[3] || so[3] == '.') ? (size_t)(so - name) : strlen(name);
}

static bool same_stem(const char *a, const char *b)
{
	size_t len = stem_length(a);

	return len == stem_length(b) && !memcmp(a, b, len);
}

static struct ft_error *add_module(void *ctx, const struct ft_module_row *row)
{
	struct modules *modules = ctx;
	struct module *list;

	if (!row->path)
		return NULL;
	list = realloc(modules->list, (modules->n + 1) * sizeof(*list));
	if (!list)
		return &ft_enomem;
	modules->list = list;
	list[modules->n] = (struct module){
		.path = ft_arena_strdup(&modules->arena, row->path),
		.build_id = row->build_id ? ft_arena_strdup(&modules->arena, row->build_id) : NULL,
	};
	return list[modules->n++].path ? NULL : &ft_enomem;
}

static struct ft_error *modules_load(struct ft_reader *reader, struct modules *ret)
{
	struct ft_process_row process = {0};

	ft_arena_init(&ret->arena);
	FT_TRY(ft_reader_modules(reader, add_module, ret));
	FT_TRY(ft_reader_process(reader, &process));
	if (process.exe) {
		ret->exe = ft_arena_strdup(&ret->arena, process.exe);
		if (!ret->exe)
			return &ft_enomem;
	}
	return NULL;
}

/* The module's name in a key: the program itself has none. */
static const char *module_stem(const struct modules *modules, const char *path, size_t *len)
{
	if (modules->exe && !strcmp(path, modules->exe)) {
		*len = 0;
		return "";
	}
	*len = stem_length(base_name(path));
	return base_name(path);
}

/* The other side's module of the same name, or NULL. */
static const struct module *counterpart(const struct modules *own, const struct modules *other,
					const char *path)
{
	size_t len, other_len;
	const char *stem = module_stem(own, path, &len);

	for (size_t i = 0; i < other->n; i++) {
		const char *other_stem = module_stem(other, other->list[i].path, &other_len);

		if (len == other_len && !memcmp(stem, other_stem, len))
			return &other->list[i];
	}
	return NULL;
}

static bool same_build(const struct module *a, const struct module *b)
{
	if (a->build_id && b->build_id)
		return !strcmp(a->build_id, b->build_id);
	/* Neither has an id: the same file is taken for the same build. */
	return !a->build_id && !b->build_id && !strcmp(a->path, b->path);
}

static const struct module *find_module(const struct modules *modules, const char *path)
{
	for (size_t i = 0; i < modules->n; i++)
		if (!strcmp(modules->list[i].path, path))
			return &modules->list[i];
	return NULL;
}

/* ---- normal stacks -----------------------------------------------------------------------------
 */

/* Who makes keys: one side, and the other one's modules. */
struct keys {
	struct fa_engine *engine;
	const struct modules *own, *other;
	struct ft_map same; /* path (pointer, interned by the engine) -> 1 other build, 2 same */
	struct ft_strbuf text;
};

static bool has_same_build(struct keys *keys, const char *path)
{
	uint64_t *known = ft_map_put(&keys->same, (uintptr_t)path, NULL);

	if (!known)
		return false;
	if (!*known) {
		const struct module *own = find_module(keys->own, path);
		const struct module *other = counterpart(keys->own, keys->other, path);

		*known = own && other && same_build(own, other) ? 2 : 1;
	}
	return *known == 2;
}

static bool is_below_main(const char *function)
{
	return !strncmp(function, "__libc_start", 12) || !strcmp(function, "_start") ||
	       !strcmp(function, "start_thread") || !strncmp(function, "clone", 5) ||
	       !strncmp(function, "__clone", 7) || !strncmp(function, "__GI___clone", 12);
}

static void add_frame(struct keys *keys, const struct fa_frame *frame)
{
	struct ft_strbuf *text = &keys->text;

	if (frame->module) {
		size_t len;
		const char *stem = module_stem(keys->own, frame->module, &len);

		ft_strbuf_add(text, stem, len);
	}
	ft_strbuf_addc(text, '!');
	if (frame->function)
		fa_name_normal(frame->function, text);
	else if (frame->module && has_same_build(keys, frame->module))
		ft_strbuf_addf(text, "+%llx", (unsigned long long)frame->offset);
	ft_strbuf_addc(text, '\n');
}

/* FNV-1a over the lines of the normal stack. 0 when out of memory. */
static uint64_t key_of(struct keys *keys, uint32_t stack)
{
	struct fa_frame frames[MAX_FRAMES];
	size_t n = fa_engine_frames(keys->engine, stack, frames, MAX_FRAMES), last = 0;
	struct ft_strbuf *text = &keys->text;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	ft_strbuf_clear(text);
	for (size_t i = 0; i < n && i < MAX_FRAMES; i++) {
		size_t begin = text->len;

		if (frames[i].function && i && is_below_main(frames[i].function))
			continue;
		add_frame(keys, &frames[i]);
		if (text->failed)
			return 0;
		/* The same as the one before: recursion. */
		if (begin && text->len - begin == begin - last &&
		    !memcmp(text->data + begin, text->data + last, begin - last))
			text->len = begin;
		else
			last = begin;
	}
	for (size_t i = 0; i < text->len; i++)
		hash = (hash ^ (unsigned char)text->data[i]) * UINT64_C(0x100000001b3);
	return hash ? hash : 1;
}

/* ---- rows --------------------------------------------------------------------------------------
 */

struct builder {
	struct fa_difference *rows;
	size_t n, capacity;
	struct ft_map by_key; /* key -> index */
};

static struct fa_difference *row_of(struct builder *b, uint64_t key)
{
	bool created;
	uint64_t *index = key ? ft_map_put(&b->by_key, key, &created) : NULL;

	if (!index)
		return NULL;
	if (created) {
		if (b->n == b->capacity) {
			size_t capacity = b->capacity ? b->capacity * 2 : 256;
			struct fa_difference *rows = realloc(b->rows, capacity * sizeof(*rows));

			if (!rows)
				return NULL;
			b->rows = rows;
			b->capacity = capacity;
		}
		*index = b->n;
		b->rows[b->n++] = (struct fa_difference){.key = key};
	}
	return &b->rows[*index];
}

static void add_account(struct fa_figures *f, uint32_t stack, const struct fa_site *site)
{
	if (!f->present || site->bytes_allocated > f->stack_bytes) {
		f->stack = stack;
		f->stack_bytes = site->bytes_allocated;
	}
	f->present = true;
	f->n_sites++;
	f->live_bytes += site->live_bytes;
	f->live_blocks += site->live_blocks;
	f->peak_bytes += site->peak_bytes;
	f->allocated_bytes += site->bytes_allocated;
	f->allocations += site->allocations;
}

static void add_growth(struct fa_figures *f, const struct fa_value *leak)
{
	const char *verdict = fa_value_text(leak, "verdict");
	bool growing = verdict && !strcmp(verdict, "growing");
	bool suspect = verdict && !strcmp(verdict, "suspect");

	if (!growing && !suspect)
		return;
	f->growing |= growing;
	f->suspect |= suspect;
	f->rate += fa_value_f64(leak, "rate_bytes_per_s");
	f->rate_low += fa_value_f64(leak, "rate_low");
	f->rate_high += fa_value_f64(leak, "rate_high");
	f->per_operation += fa_value_f64(leak, "bytes_per_operation");
}

static struct ft_error *add_side(struct builder *builder, const struct fa_side *side,
				 struct keys *keys, bool is_b, uint64_t **keys_ret)
{
	size_t n = fa_engine_n_stacks(side->engine);
	ft_auto_free uint64_t *key_by_stack = calloc(n + 1, sizeof(*key_by_stack));
	const struct fa_value *leaks = fa_value_get(side->leaks, "leaks");

	if (!key_by_stack)
		return &ft_enomem;
	for (uint32_t i = 0; i < n; i++) {
		struct fa_site site;

		fa_engine_site(side->engine, i, &site);
		if (!site.allocations && !site.live_blocks)
			continue;
		key_by_stack[i] = key_of(keys, i);

		struct fa_difference *row = row_of(builder, key_by_stack[i]);

		if (!row)
			return &ft_enomem;
		add_account(is_b ? &row->b : &row->a, i, &site);
	}
	for (const struct fa_value *leak = leaks ? leaks->first : NULL; leak; leak = leak->next) {
		uint64_t stack = fa_value_u64(leak, "site");
		struct fa_difference *row = stack < n ? row_of(builder, key_by_stack[stack]) : NULL;

		if (row)
			add_growth(is_b ? &row->b : &row->a, leak);
	}
	if (keys_ret) {
		*keys_ret = key_by_stack;
		key_by_stack = NULL;
	}
	return NULL;
}

static int compare_rows(const void *a, const void *b)
{
	const struct fa_difference *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	if (x->b.allocated_bytes != y->b.allocated_bytes)
		return x->b.allocated_bytes > y->b.allocated_bytes ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

/* Bytes of live memory that differ, or that the difference in growth makes in the time of b. */
static void weigh(struct fa_comparison *c, double seconds)
{
	for (size_t i = 0; i < c->n_rows; i++) {
		struct fa_difference *row = &c->rows[i];
		double live = fabs((double)row->b.live_bytes - (double)row->a.live_bytes);
		double growth = fabs(row->b.rate - row->a.rate) * seconds;

		row->weight = live > growth ? live : growth;
	}
	if (c->n_rows)
		qsort(c->rows, c->n_rows, sizeof(*c->rows), compare_rows);
}

static const char *operation_of(const struct fa_side *side)
{
	return fa_value_text(fa_value_get(fa_value_get(side->leaks, "process"), "operation"),
			     "label");
}

static const char *keep(struct fa_comparison *c, const char *text, bool *failed)
{
	const char *kept = text ? ft_arena_strdup(&c->arena, text) : NULL;

	*failed |= text && !kept;
	return kept;
}

static struct ft_error *compare_builds(const struct modules *a, const struct modules *b,
				       struct fa_comparison *ret)
{
	bool failed = false;

	ret->same_program = a->exe && b->exe && same_stem(base_name(a->exe), base_name(b->exe));
	ret->rebuilt = ft_arena_alloc(&ret->arena, (b->n + 1) * sizeof(*ret->rebuilt));
	if (!ret->rebuilt)
		return &ft_enomem;
	for (size_t i = 0; i < b->n; i++) {
		const struct module *own = &b->list[i], *other = counterpart(b, a, own->path);

		if (!other || same_build(other, own))
			continue;
		ret->rebuilt[ret->n_rebuilt++] = (struct fa_rebuilt){
			.module = keep(ret, base_name(own->path), &failed),
			.build_a = keep(ret, other->build_id, &failed),
			.build_b = keep(ret, own->build_id, &failed),
		};
	}
	return failed ? &ft_enomem : NULL;
}

static struct ft_error *fill(struct builder *builder, const struct fa_side *a,
			     const struct fa_side *b, const struct modules *of_a,
			     const struct modules *of_b, uint64_t **keys_of_b)
{
	struct keys keys = {.engine = a->engine, .own = of_a, .other = of_b};
	struct ft_error *error;

	error = add_side(builder, a, &keys, false, NULL);
	ft_map_deinit(&keys.same);
	ft_strbuf_deinit(&keys.text);
	if (error)
		return error;
	keys = (struct keys){.engine = b->engine, .own = of_b, .other = of_a};
	error = add_side(builder, b, &keys, true, keys_of_b);
	ft_map_deinit(&keys.same);
	ft_strbuf_deinit(&keys.text);
	return error;
}

struct ft_error *fa_compare(const struct fa_side *a, const struct fa_side *b,
			    struct fa_comparison *ret)
{
	const char *operation_a = operation_of(a), *operation_b = operation_of(b);
	struct modules of_a = {0}, of_b = {0};
	struct builder builder = {0};
	struct ft_error *error;

	*ret = (struct fa_comparison){0};
	ft_arena_init(&ret->arena);
	error = modules_load(fa_engine_reader(a->engine), &of_a);
	if (!error)
		error = modules_load(fa_engine_reader(b->engine), &of_b);
	if (!error)
		error = fill(&builder, a, b, &of_a, &of_b, &ret->keys_of_b);
	if (!error)
		error = compare_builds(&of_a, &of_b, ret);
	if (!error) {
		ret->per_operation =
			operation_a && operation_b && !strcmp(operation_a, operation_b);
		ret->rows = builder.rows;
		ret->n_rows = builder.n;
		ret->n_stacks_of_b = fa_engine_n_stacks(b->engine);
		weigh(ret,
		      (double)(fa_engine_to_ns(b->engine) - fa_engine_from_ns(b->engine)) / 1e9);
	} else {
		free(builder.rows);
		fa_comparison_deinit(ret);
	}
	ft_map_deinit(&builder.by_key);
	modules_deinit(&of_a);
	modules_deinit(&of_b);
	return error;
}

void fa_comparison_deinit(struct fa_comparison *comparison)
{
	free(comparison->rows);
	free(comparison->keys_of_b);
	ft_arena_deinit(&comparison->arena);
	*comparison = (struct fa_comparison){0};
}

const struct fa_difference *fa_comparison_find(const struct fa_comparison *comparison,
					       uint64_t stack_of_b)
{
	uint64_t key =
		stack_of_b < comparison->n_stacks_of_b ? comparison->keys_of_b[stack_of_b] : 0;

	for (size_t i = 0; key && i < comparison->n_rows; i++)
		if (comparison->rows[i].key == key)
			return &comparison->rows[i];
	return NULL;
}

const char *fa_difference_status(const struct fa_difference *difference)
{
	const struct fa_figures *a = &difference->a, *b = &difference->b;
	double live = fabs((double)b->live_bytes - (double)a->live_bytes);

	if (!a->present)
		return "new";
	if (!b->present)
		return "gone";
	/* Rates differ when their intervals do not touch. */
	if (a->growing != b->growing || a->rate_low > b->rate_high || b->rate_low > a->rate_high)
		return "changed";
	return live > 4096 && live > 0.1 * (double)a->live_bytes && !b->growing ? "changed"
										: "same";
}

/* SPDX-License-Identifier: MIT */
/*
 * Mappings: what the program's address space held when it was last looked at
 *
 * From the samples of /proc/PID/smaps, of which the recording has what changed: a mapping is as its
 * last row says, up to the end of the window, and gone if that says so. By resident bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "ft_arena.h"
#include "ft_cleanup.h"
#include "ft_map.h"

enum { LISTED = 100 };

struct mapped {
	uint64_t start, end, since_ns, last_ns;
	const char *perms, *path, *kind;
	int64_t rss, swap;
};

struct mappings {
	struct ft_map at; /* start -> index + 1 in list */
	struct mapped *list;
	size_t n, capacity;
	struct ft_arena names;
	uint64_t n_rows, last_ns;
};

static struct ft_error *mappings_init(struct fa_pass *pass)
{
	struct mappings *m = fa_pass_state(pass);

	ft_map_init(&m->at);
	ft_arena_init(&m->names);
	return NULL;
}

/* A text of the arena's, or NULL for none. */
static struct ft_error *keep(struct mappings *m, const char *text, const char **ret)
{
	*ret = text ? ft_arena_strdup(&m->names, text) : NULL;
	return text && !*ret ? &ft_enomem : NULL;
}

static struct ft_error *take_row(void *ctx, const struct ft_mapping_row *row)
{
	struct fa_pass *pass = ctx;
	struct mappings *m = fa_pass_state(pass);
	uint64_t *index;
	struct mapped *mapped;

	if (row->time_ns > fa_engine_to_ns(fa_pass_engine(pass)))
		return NULL;
	m->n_rows++;
	m->last_ns = row->time_ns;
	index = ft_map_put(&m->at, row->start, NULL);
	if (!index)
		return &ft_enomem;
	if (!*index) {
		if (m->n == m->capacity) {
			size_t capacity = m->capacity ? m->capacity * 2 : 256;
			struct mapped *list = realloc(m->list, capacity * sizeof(*list));

			if (!list)
				return &ft_enomem;
			m->list = list;
			m->capacity = capacity;
		}
		m->list[m->n] = (struct mapped){.start = row->start};
		*index = ++m->n;
	}
	mapped = &m->list[*index - 1];
	if (mapped->end == mapped->start)
		mapped->since_ns = row->time_ns;
	mapped->end = row->end;
	mapped->last_ns = row->time_ns;
	mapped->rss = row->rss;
	mapped->swap = row->swap;
	if (mapped->end == mapped->start)
		return NULL;
	if (!mapped->perms || !row->perms || strcmp(mapped->perms, row->perms) != 0)
		FT_TRY(keep(m, row->perms, &mapped->perms));
	if (!mapped->path || !row->path || strcmp(mapped->path, row->path) != 0)
		FT_TRY(keep(m, row->path, &mapped->path));
	if (!mapped->kind || !row->kind || strcmp(mapped->kind, row->kind) != 0)
		FT_TRY(keep(m, row->kind, &mapped->kind));
	return NULL;
}

static int compare_mapped(const void *a, const void *b)
{
	const struct mapped *x = a, *y = b;

	if (x->rss != y->rss)
		return x->rss > y->rss ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

static struct ft_error *mappings_finish(struct fa_pass *pass)
{
	struct mappings *m = fa_pass_state(pass);
	size_t kept = 0;

	FT_TRY(ft_reader_mappings(fa_engine_reader(fa_pass_engine(pass)), take_row, pass));
	for (size_t i = 0; i < m->n; i++)
		if (m->list[i].end > m->list[i].start)
			m->list[kept++] = m->list[i];
	m->n = kept;
	if (m->n)
		qsort(m->list, m->n, sizeof(*m->list), compare_mapped);
	return NULL;
}

static void emit_size(struct fa_json *json, const char *key, int64_t size)
{
	if (size >= 0)
		fa_json_kv_i64(json, key, size);
	else
		fa_json_kv_null(json, key);
}

static struct ft_error *mappings_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct mappings *m = fa_pass_state(pass);
	struct fa_json *json = fa_doc_begin(doc, "mappings");
	uint64_t bytes = 0, other_bytes = 0;
	int64_t rss = 0, other_rss = 0;
	size_t n_other = 0;

	fa_json_key(json, "sampled_ns");
	if (m->n_rows)
		fa_json_u64(json, m->last_ns);
	else
		fa_json_null(json);
	fa_json_key(json, "mappings");
	fa_json_array_begin(json);
	for (size_t i = 0; i < m->n; i++) {
		const struct mapped *mapped = &m->list[i];

		bytes += mapped->end - mapped->start;
		rss += mapped->rss > 0 ? mapped->rss : 0;
		if (i >= LISTED) {
			n_other++;
			other_bytes += mapped->end - mapped->start;
			other_rss += mapped->rss > 0 ? mapped->rss : 0;
			continue;
		}
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "start", mapped->start);
		fa_json_kv_u64(json, "end", mapped->end);
		fa_json_kv_string(json, "perms", mapped->perms);
		fa_json_kv_string(json, "path", mapped->path);
		fa_json_kv_string(json, "kind", mapped->kind);
		fa_json_kv_u64(json, "since_ns", mapped->since_ns);
		emit_size(json, "rss", mapped->rss);
		emit_size(json, "swap", mapped->swap);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "mappings", n_other);
	fa_json_kv_u64(json, "bytes", other_bytes);
	fa_json_kv_i64(json, "rss", other_rss);
	fa_json_object_end(json);
	fa_json_kv_u64(json, "bytes", bytes);
	fa_json_kv_i64(json, "rss", rss);
	fa_doc_end(doc);
	return NULL;
}

static void mappings_deinit(struct fa_pass *pass)
{
	struct mappings *m = fa_pass_state(pass);

	ft_map_deinit(&m->at);
	ft_arena_deinit(&m->names);
	free(m->list);
}

const struct fa_pass_ops fa_pass_mappings = {
	.name = "mappings",
	.summary = "the program's mappings when they were last sampled",
	.state_size = sizeof(struct mappings),
	.init = mappings_init,
	.finish = mappings_finish,
	.emit = mappings_emit,
	.deinit = mappings_deinit,
};

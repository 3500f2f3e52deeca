/* SPDX-License-Identifier: MIT */
/* Exports: the table of formats, and what they share. See fa_export.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export_impl.h"
#include "fa_json_read.h"

static const char *const with_series[] = {"timeline", "quality", "summary", NULL};
static const char *const without_series[] = {"quality", "summary", NULL};
static const char *const all[] = {NULL};

const struct fa_export_format fa_export_formats[] = {
	{"folded", false, without_series, fa_export_folded},
	{"speedscope", false, without_series, fa_export_speedscope},
	{"pprof", true, without_series, fa_export_pprof},
	{"gperftools", false, without_series, fa_export_gperftools},
	{"massif", false, with_series, fa_export_massif},
	{"csv", false, with_series, fa_export_csv},
	{"json", false, all, fa_export_json},
	{"perfetto", true, with_series, fa_export_perfetto},
	{NULL, false, NULL, NULL},
};

const struct fa_export_format *fa_export_format_find(const char *name)
{
	for (const struct fa_export_format *f = fa_export_formats; f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

const char *fa_metric_name(enum fa_metric metric)
{
	static const char *const names[FA_N_METRICS] = {"leaked", "peak", "allocated", "count",
							"temporary"};

	return names[metric];
}

/* ---- stacks ------------------------------------------------------------------------------------
 */

void fa_export_walk_init(struct fa_export_walk *walk, const struct fa_export_source *source)
{
	*walk = (struct fa_export_walk){.source = source};
}

/* All frames of a stack, however deep. */
static size_t expand(struct fa_export_walk *walk, uint32_t stack)
{
	struct fa_engine *engine = walk->source->engine;
	size_t n = fa_engine_frames(engine, stack, walk->frames, walk->room);

	if (n <= walk->room)
		return n;

	struct fa_frame *frames = realloc(walk->frames, 2 * n * sizeof(*frames));

	if (!frames) {
		walk->error = &ft_enomem;
		return 0;
	}
	walk->frames = frames;
	walk->room = 2 * n;
	return fa_engine_frames(engine, stack, walk->frames, walk->room);
}

static void redact_frames(struct fa_export_walk *walk, size_t n)
{
	struct fa_redactor *redact = walk->source->redact;

	for (size_t i = 0; redact && i < n; i++) {
		struct fa_frame *frame = &walk->frames[i];

		frame->function = fa_redact_text(redact, frame->function);
		frame->module = fa_redact_path(redact, frame->module);
		frame->file = fa_redact_path(redact, frame->file);
	}
}

/* So that no value is without a place. */
static const struct fa_frame no_stack = {.function = "(no stack)"};

bool fa_export_next(struct fa_export_walk *walk, struct fa_export_stack *ret)
{
	struct fa_engine *engine = walk->source->engine;

	while (!walk->error && walk->next < fa_engine_n_stacks(engine)) {
		struct fa_export_stack *s = ret;

		s->id = (uint32_t)walk->next++;
		fa_engine_site(engine, s->id, &s->site);
		if (!s->site.allocations && !s->site.live_bytes && !s->site.peak_bytes)
			continue;
		s->n_frames = expand(walk, s->id);
		redact_frames(walk, s->n_frames);
		s->frames = walk->frames;
		if (!s->n_frames) {
			s->frames = &no_stack;
			s->n_frames = 1;
		}
		s->value[FA_METRIC_LEAKED] = s->site.live_bytes;
		s->value[FA_METRIC_PEAK] = s->site.peak_bytes;
		s->value[FA_METRIC_ALLOCATED] = s->site.bytes_allocated;
		s->value[FA_METRIC_COUNT] = s->site.allocations;
		s->value[FA_METRIC_TEMPORARY] = s->site.temporary;
		return !walk->error;
	}
	return false;
}

struct ft_error *fa_export_walk_end(struct fa_export_walk *walk)
{
	free(walk->frames);
	return walk->error;
}

unsigned fa_export_n_metrics(const struct fa_export_source *source)
{
	return fa_engine_sample_bytes(source->engine) ? FA_N_METRICS - 1 : FA_N_METRICS;
}

const char *fa_export_frame_text(const struct fa_frame *frame, char buffer[FA_EXPORT_TEXT])
{
	const char *slash = frame->module ? strrchr(frame->module, '/') : NULL;

	if (frame->function)
		return frame->function;
	if (!frame->module)
		snprintf(buffer, FA_EXPORT_TEXT, "0x%llx", (unsigned long long)frame->offset);
	else
		snprintf(buffer, FA_EXPORT_TEXT, "%.400s+0x%llx", slash ? slash + 1 : frame->module,
			 (unsigned long long)frame->offset);
	return buffer;
}

/* ---- tables ------------------------------------------------------------------------------------
 */

bool fa_intern_put(struct fa_intern *table, const void *data, size_t len, uint32_t *ret,
		   bool *created)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);

	/* Something else with this hash moves on to the next key. */
	for (;; hash++) {
		bool is_new;
		uint64_t *id = ft_map_put(&table->by_hash, hash, &is_new);

		if (!id)
			return false;
		if (!is_new) {
			const struct fa_interned *e = &table->entries[*id];

			if (e->len != len || memcmp(e->data, data, len) != 0)
				continue;
		} else {
			if (table->n == table->room) {
				size_t room = table->room ? table->room * 2 : 256;
				void *entries =
					realloc(table->entries, room * sizeof(*table->entries));

				if (!entries)
					return false;
				table->entries = entries;
				table->room = room;
			}

			char *copy = ft_arena_strndup(&table->arena, data, len);

			if (!copy)
				return false;
			*id = table->n;
			table->entries[table->n++] = (struct fa_interned){copy, len};
		}
		*ret = (uint32_t)*id;
		if (created)
			*created = is_new;
		return true;
	}
}

bool fa_intern_text(struct fa_intern *table, const char *text, uint32_t *ret)
{
	return fa_intern_put(table, text ? text : "", text ? strlen(text) : 0, ret, NULL);
}

void fa_intern_deinit(struct fa_intern *table)
{
	ft_map_deinit(&table->by_hash);
	ft_arena_deinit(&table->arena);
	free(table->entries);
}

/* ---- output ------------------------------------------------------------------------------------
 */

struct ft_error *fa_export_flush(struct ft_strbuf *buf, FILE *out)
{
	if (buf->failed)
		return &ft_enomem;
	errno = 0;
	if (buf->len && fwrite(buf->data, 1, buf->len, out) != buf->len)
		return ft_error_os(errno, "cannot write the export");
	ft_strbuf_clear(buf);
	return NULL;
}

struct ft_error *fa_export_flush_some(struct ft_strbuf *buf, FILE *out)
{
	return buf->len > (64 << 10) || buf->failed ? fa_export_flush(buf, out) : NULL;
}

uint64_t fa_export_column(const struct fa_export_source *source, const char *name,
			  const uint64_t **ret)
{
	const struct fa_column *column = fa_doc_column_find(source->doc, name);

	*ret = column && column->type == FA_U64 ? column->data : NULL;
	return *ret ? column->n : 0;
}

struct ft_error *fa_export_summary(const struct fa_export_source *source, struct ft_arena *arena,
				   const struct fa_value **ret)
{
	const char *text = fa_doc_section(source->doc, "summary");

	*ret = NULL;
	return text ? fa_json_parse(arena, text, ret) : NULL;
}

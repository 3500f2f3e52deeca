/* SPDX-License-Identifier: MIT */
/* Fitting the page into a size: see rp_fit.h. */
#include "rp_fit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fa_json_read.h"
#include "ft_arena.h"
#include "ft_cleanup.h"

/* What a page may have, from full to little. */
static const struct step {
	unsigned rows, frames, name_bytes; /* 0: all */
} steps[] = {
	{0, 0, 0},	{0, 48, 0},   {0, 24, 256}, {250, 24, 256},
	{100, 16, 128}, {40, 10, 96}, {15, 6, 64},
};
enum { N_STEPS = sizeof(steps) / sizeof(*steps) };

/* Lists of rows, where what they leave out is said, and series that have a row each. */
static const struct list {
	const char *section, *rows;
	const char *other; /* an object of sums, or a count */
	const char *columns[2];
} lists[] = {
	{"leaks", "leaks", "other", {"leaks.series"}},
	{"sites", "sites", "other", {NULL}},
	{"reallocs", "sites", "other", {NULL}},
	{"usage", "sites", "other_sites", {NULL}},
	{"lifetimes", "sites", "other_sites", {NULL}},
	{"errors", "errors", "more", {NULL}},
	{"frag", "sites", "other", {"frag.pin_shapley", "frag.pin_sole"}},
	{"diff", "sites", "other", {NULL}},
};

static const struct list *list_of(const char *section)
{
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
		if (!strcmp(lists[i].section, section))
			return &lists[i];
	return NULL;
}

/* ---- values ------------------------------------------------------------------------------------
 */

static void put_text(const struct step *step, const char *text, struct fa_json *json)
{
	size_t len = step->name_bytes;
	ft_auto_strbuf struct ft_strbuf cut = {0};

	if (!len || strlen(text) <= len) {
		fa_json_string(json, text);
		return;
	}
	while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--; /* not within a character */
	ft_strbuf_add(&cut, text, len);
	ft_strbuf_adds(&cut, "...");
	json->out->failed |= cut.failed;
	fa_json_string(json, ft_strbuf_text(&cut));
}

/* In the place of the outer frames of a stack. */
static void put_more_frames(size_t n, struct fa_json *json)
{
	char text[64];

	snprintf(text, sizeof(text), "(%zu more)", n);
	fa_json_object_begin(json);
	fa_json_kv_string(json, "function", text);
	fa_json_kv_null(json, "file");
	fa_json_kv_null(json, "line");
	fa_json_kv_null(json, "module");
	fa_json_kv_null(json, "offset");
	fa_json_kv_bool(json, "inlined", false);
	fa_json_object_end(json);
}

static void put_value(const struct step *step, const struct fa_value *value,
		      struct fa_json *json) /* NOLINT(misc-no-recursion): as deep as the text */
{
	bool stack = value->key && !strcmp(value->key, "stack");
	size_t n = 0;

	switch (value->kind) {
	case FA_STRING:
		put_text(step, value->text, json);
		break;
	case FA_ARRAY:
		fa_json_array_begin(json);
		for (const struct fa_value *v = value->first; v; v = v->next, n++) {
			if (stack && step->frames && n == step->frames && v->next) {
				put_more_frames(value->n - n, json);
				break;
			}
			put_value(step, v, json);
		}
		fa_json_array_end(json);
		break;
	case FA_OBJECT:
		fa_json_object_begin(json);
		for (const struct fa_value *v = value->first; v; v = v->next) {
			fa_json_key(json, v->key);
			put_value(step, v, json);
		}
		fa_json_object_end(json);
		break;
	default:
		fa_value_emit(value, json);
	}
}

/* ---- sections ----------------------------------------------------------------------------------
 */

/* The sums of all others, with those rows that go. */
static void put_other(const struct fa_value *other, const struct fa_value *gone, size_t n_gone,
		      struct fa_json *json)
{
	if (other->kind == FA_NUMBER) {
		fa_json_u64(json, strtoull(other->text, NULL, 10) + n_gone);
		return;
	}
	fa_json_object_begin(json);
	for (const struct fa_value *v = other->first; v; v = v->next) {
		int64_t sum = v->kind == FA_NUMBER ? strtoll(v->text, NULL, 10) : 0;

		fa_json_key(json, v->key);
		if (v->kind != FA_NUMBER) {
			fa_value_emit(v, json);
			continue;
		}
		if (!strcmp(v->key, "sites"))
			sum += (int64_t)n_gone;
		for (const struct fa_value *row = gone; row; row = row->next)
			if (strcmp(v->key, "sites") != 0)
				sum += fa_value_i64(row, v->key);
		fa_json_i64(json, sum);
	}
	fa_json_object_end(json);
}

/* How many rows of the section's list stay; *gone is the first that does not. */
static size_t rows_kept(const struct list *list, const struct step *step,
			const struct fa_value *section, const struct fa_value **gone, size_t *n)
{
	const struct fa_value *rows = list ? fa_value_get(section, list->rows) : NULL;
	const struct fa_value *row = rows && rows->kind == FA_ARRAY ? rows->first : NULL;
	size_t kept = 0;

	*n = row ? rows->n : 0;
	*gone = NULL;
	if (!step->rows || *n <= step->rows || !fa_value_get(section, list->other))
		return *n;
	for (; kept < step->rows; kept++)
		row = row->next;
	*gone = row;
	return kept;
}

static void put_section(const struct list *list, const struct step *step,
			const struct fa_value *section, const struct fa_value *gone, size_t kept,
			size_t n, struct fa_json *json)
{
	fa_json_object_begin(json);
	for (const struct fa_value *v = section->first; v; v = v->next) {
		size_t at = 0;

		fa_json_key(json, v->key);
		if (gone && !strcmp(v->key, list->rows)) {
			fa_json_array_begin(json);
			for (const struct fa_value *row = v->first; at < kept;
			     row = row->next, at++)
				put_value(step, row, json);
			fa_json_array_end(json);
		} else if (gone && !strcmp(v->key, list->other)) {
			put_other(v, gone, n - kept, json);
		} else {
			put_value(step, v, json);
		}
	}
	fa_json_object_end(json);
}

static struct ft_error *cut_section(struct fa_doc *doc, const char *name, const struct step *step)
{
	const struct list *list = list_of(name);
	ft_auto_strbuf struct ft_strbuf text = {0};
	ft_auto_arena struct ft_arena arena;
	const struct fa_value *section, *gone;
	struct fa_json json;
	size_t kept, n;

	ft_arena_init(&arena);
	FT_TRY(fa_json_parse(&arena, fa_doc_section(doc, name), &section));
	kept = rows_kept(list, step, section, &gone, &n);
	fa_json_init(&json, &text);
	put_section(list, step, section, gone, kept, n, &json);
	if (text.failed)
		return &ft_enomem;
	fa_doc_replace(doc, name, &text);
	for (unsigned i = 0; gone && i < 2 && list->columns[i]; i++) {
		const struct fa_column *column = fa_doc_column_find(doc, list->columns[i]);

		if (column && column->n % n == 0)
			fa_doc_column_cut(doc, list->columns[i], column->n / n * kept);
	}
	return NULL;
}

/* ---- size --------------------------------------------------------------------------------------
 */

static ssize_t count_bytes(void *cookie, const char *data, size_t size)
{
	*(uint64_t *)cookie += size;
	return (ssize_t)size;
}

static struct ft_error *measure(const struct fa_doc *doc, const struct rp_options *options,
				uint64_t *ret)
{
	FILE *out = fopencookie(ret, "w", (cookie_io_functions_t){.write = count_bytes});
	struct ft_error *error;

	if (!out)
		return &ft_enomem;
	*ret = 0;
	error = rp_report_write(doc, options, out);
	fclose(out);
	return error;
}

/* "coarsened":[{"what":"rows","limit":250},...] at the end of section quality. */
static struct ft_error *note(struct fa_doc *doc, const struct step *step)
{
	const char *quality = fa_doc_section(doc, "quality");
	struct ft_strbuf text = {0};
	const char *between = "";

	if (!quality)
		return NULL;
	ft_strbuf_add(&text, quality, strlen(quality) - 1);
	ft_strbuf_adds(&text, strlen(quality) > 2 ? ",\"coarsened\":[" : "\"coarsened\":[");
	for (unsigned i = 0; i < 3; i++) {
		static const char *const what[] = {"rows", "frames", "name_bytes"};
		unsigned limit = i == 0 ? step->rows : i == 1 ? step->frames : step->name_bytes;

		if (!limit)
			continue;
		ft_strbuf_addf(&text, "%s{\"what\":\"%s\",\"limit\":%u}", between, what[i], limit);
		between = ",";
	}
	ft_strbuf_adds(&text, "]}");
	fa_doc_replace(doc, "quality", &text);
	ft_strbuf_deinit(&text);
	return fa_doc_check(doc);
}

struct ft_error *rp_fit(struct fa_doc *doc, const struct rp_options *options, uint64_t max_bytes,
			struct rp_fitted *ret)
{
	const char *name;

	*ret = (struct rp_fitted){0};
	FT_TRY(measure(doc, options, &ret->bytes));
	while (ret->bytes > max_bytes && ret->step + 1 < N_STEPS) {
		const struct step *step = &steps[++ret->step];

		for (size_t i = 0; (name = fa_doc_section_name(doc, i)); i++)
			FT_TRY(cut_section(doc, name, step));
		FT_TRY(measure(doc, options, &ret->bytes));
	}
	ret->rows = steps[ret->step].rows;
	ret->frames = steps[ret->step].frames;
	ret->name_bytes = steps[ret->step].name_bytes;
	return ret->step ? note(doc, &steps[ret->step]) : NULL;
}

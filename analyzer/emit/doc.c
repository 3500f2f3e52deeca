/* SPDX-License-Identifier: MIT */
/* The analysis document: see fa_doc.h. */
#include "fa_doc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ft_cleanup.h"

struct doc_section {
	char *name;
	struct ft_strbuf text;
	struct fa_json json;
};

/* Both lists are sorted by name; a section is allocated alone because its writer is lent out. */
struct fa_doc {
	struct doc_section **sections;
	size_t n_sections;
	struct fa_column *columns; /* name and data owned */
	size_t n_columns;
	struct doc_section *open;
	struct doc_section sink; /* where text goes once memory ran out */
	bool failed;
};

struct ft_error *fa_doc_create(struct fa_doc **ret)
{
	struct fa_doc *doc = calloc(1, sizeof(*doc));

	if (!doc)
		return &ft_enomem;
	doc->sink.text.failed = true;
	*ret = doc;
	return NULL;
}

static void section_destroy(struct doc_section *section)
{
	if (!section)
		return;
	ft_strbuf_deinit(&section->text);
	free(section->name);
	free(section);
}

void fa_doc_destroy(struct fa_doc *doc)
{
	if (!doc)
		return;
	for (size_t i = 0; i < doc->n_sections; i++)
		section_destroy(doc->sections[i]);
	for (size_t i = 0; i < doc->n_columns; i++) {
		free((void *)(uintptr_t)doc->columns[i].name);
		free((void *)(uintptr_t)doc->columns[i].data);
	}
	free(doc->sections);
	free(doc->columns);
	free(doc);
}

struct ft_error *fa_doc_check(const struct fa_doc *doc)
{
	if (doc->failed)
		return &ft_enomem;
	for (size_t i = 0; i < doc->n_sections; i++)
		if (doc->sections[i]->text.failed)
			return &ft_enomem;
	return NULL;
}

/* Index of `name`, or where it belongs. */
static size_t section_position(const struct fa_doc *doc, const char *name, bool *found)
{
	size_t i = 0;

	while (i < doc->n_sections && strcmp(doc->sections[i]->name, name) < 0)
		i++;
	*found = i < doc->n_sections && !strcmp(doc->sections[i]->name, name);
	return i;
}

static struct doc_section *section_add(struct fa_doc *doc, const char *name)
{
	bool found;
	size_t at = section_position(doc, name, &found);

	assert(!found);

	struct doc_section **sections =
		realloc(doc->sections, (doc->n_sections + 1) * sizeof(struct doc_section *));

	if (!sections)
		return NULL;
	doc->sections = sections;

	struct doc_section *section = calloc(1, sizeof(*section));

	if (!section)
		return NULL;
	section->name = strdup(name);
	if (!section->name) {
		free(section);
		return NULL;
	}
	memmove(sections + at + 1, sections + at,
		(doc->n_sections - at) * sizeof(struct doc_section *));
	sections[at] = section;
	doc->n_sections++;
	return section;
}

struct fa_json *fa_doc_begin(struct fa_doc *doc, const char *name)
{
	assert(!doc->open);
	doc->open = section_add(doc, name);
	if (!doc->open) {
		doc->failed = true;
		doc->open = &doc->sink;
	}
	fa_json_init(&doc->open->json, &doc->open->text);
	fa_json_object_begin(&doc->open->json);
	return &doc->open->json;
}

void fa_doc_end(struct fa_doc *doc)
{
	assert(doc->open && doc->open->json.depth == 1);
	fa_json_object_end(&doc->open->json);
	doc->open = NULL;
}

size_t fa_column_size(enum fa_column_type type)
{
	switch (type) {
	case FA_U8:
		return 1;
	case FA_U32:
		return 4;
	case FA_U64:
	case FA_I64:
	case FA_F64:
		return 8;
	}
	return 0;
}

void fa_doc_column(struct fa_doc *doc, const char *name, enum fa_column_type type, const void *data,
		   size_t n)
{
	size_t at = 0, size = n * fa_column_size(type);
	ft_auto_free char *own_name = strdup(name);
	ft_auto_free void *own_data = malloc(size ? size : 1);
	struct fa_column *columns = realloc(doc->columns, (doc->n_columns + 1) * sizeof(*columns));

	if (columns)
		doc->columns = columns;
	if (!columns || !own_name || !own_data) {
		doc->failed = true;
		return;
	}
	if (size)
		memcpy(own_data, data, size);
	while (at < doc->n_columns && strcmp(columns[at].name, name) < 0)
		at++;
	assert(at == doc->n_columns || strcmp(columns[at].name, name) != 0);
	memmove(columns + at + 1, columns + at, (doc->n_columns - at) * sizeof(*columns));
	columns[at] = (struct fa_column){
		.name = ft_take(own_name), .type = type, .data = ft_take(own_data), .n = n};
	doc->n_columns++;
}

void fa_doc_replace(struct fa_doc *doc, const char *name, struct ft_strbuf *text)
{
	bool found;
	size_t at = section_position(doc, name, &found);
	struct ft_strbuf old;

	assert(found && !doc->open);
	old = doc->sections[at]->text;
	doc->sections[at]->text = *text;
	*text = old;
}

void fa_doc_column_cut(struct fa_doc *doc, const char *name, size_t n)
{
	for (size_t i = 0; i < doc->n_columns; i++)
		if (!strcmp(doc->columns[i].name, name) && n < doc->columns[i].n)
			doc->columns[i].n = n;
}

const char *fa_doc_section(const struct fa_doc *doc, const char *name)
{
	bool found;
	size_t at = section_position(doc, name, &found);

	return found ? ft_strbuf_text(&doc->sections[at]->text) : NULL;
}

const char *fa_doc_section_name(const struct fa_doc *doc, size_t index)
{
	return index < doc->n_sections ? doc->sections[index]->name : NULL;
}

const struct fa_column *fa_doc_column_at(const struct fa_doc *doc, size_t index)
{
	return index < doc->n_columns ? &doc->columns[index] : NULL;
}

const struct fa_column *fa_doc_column_find(const struct fa_doc *doc, const char *name)
{
	for (size_t i = 0; i < doc->n_columns; i++)
		if (!strcmp(doc->columns[i].name, name))
			return &doc->columns[i];
	return NULL;
}

void fa_column_emit(struct fa_json *json, const struct fa_column *column, size_t i)
{
	switch (column->type) {
	case FA_U8:
		fa_json_u64(json, ((const uint8_t *)column->data)[i]);
		break;
	case FA_U32:
		fa_json_u64(json, ((const uint32_t *)column->data)[i]);
		break;
	case FA_U64:
		fa_json_u64(json, ((const uint64_t *)column->data)[i]);
		break;
	case FA_I64:
		fa_json_i64(json, ((const int64_t *)column->data)[i]);
		break;
	case FA_F64:
		fa_json_f64(json, ((const double *)column->data)[i]);
		break;
	}
}

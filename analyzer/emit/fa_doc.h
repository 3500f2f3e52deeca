/* SPDX-License-Identifier: MIT */
/*
 * The analysis document: facts as JSON, series as typed columns
 *
 * One document holds everything that text, HTML and --json render. Its keys and columns
 * are specified in reports/FORMAT.md. Out of memory is remembered and returned by fa_doc_check().
 */
#ifndef FA_DOC_H
#define FA_DOC_H

#include <stddef.h>
#include <stdint.h>

#include "fa_json.h"
#include "ft_error.h"

struct fa_doc;

enum fa_column_type { FA_U8 = 1, FA_U32 = 2, FA_U64 = 3, FA_I64 = 4, FA_F64 = 5 };

/* Bytes a value. */
size_t fa_column_size(enum fa_column_type type);

struct fa_column {
	const char *name; /* "timeline.live_bytes" */
	enum fa_column_type type;
	const void *data; /* little-endian, n values */
	size_t n;
};

struct ft_error *fa_doc_create(struct fa_doc **ret);
void fa_doc_destroy(struct fa_doc *doc); /* NULL is fine */
struct ft_error *fa_doc_check(const struct fa_doc *doc);

/*
 * Begin section `name`: a JSON writer with the section's object already open; fa_doc_end() closes
 * it. A second begin of the same name is an error of the caller. Sections are written in sorted
 * order of their names, whatever the order of the passes.
 */
struct fa_json *fa_doc_begin(struct fa_doc *doc, const char *name);
void fa_doc_end(struct fa_doc *doc);

/* Add a column; the data is copied. */
void fa_doc_column(struct fa_doc *doc, const char *name, enum fa_column_type type, const void *data,
		   size_t n);

/* Put `text`, an object, in the place of a section's text, which is there; takes it over. */
void fa_doc_replace(struct fa_doc *doc, const char *name, struct ft_strbuf *text);

/* Keep only the first `n` values of a column, which is there. */
void fa_doc_column_cut(struct fa_doc *doc, const char *name, size_t n);

/* The text of a section ("{...}"), or NULL; borrowed until destroy. */
const char *fa_doc_section(const struct fa_doc *doc, const char *name);
/* Sections and columns by index, sorted by name; NULL past the end. */
const char *fa_doc_section_name(const struct fa_doc *doc, size_t index);
const struct fa_column *fa_doc_column_at(const struct fa_doc *doc, size_t index);
const struct fa_column *fa_doc_column_find(const struct fa_doc *doc,
					   const char *name); /* or NULL */

/* Write the value `i` of a column. */
void fa_column_emit(struct fa_json *json, const struct fa_column *column, size_t i);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * JSON reader for the documents that fa_json.h writes
 *
 * Text output renders the analysis document, like everything else does, and so needs to read it.
 * Values live in an arena of the caller's; a missing member reads as NULL, and every accessor takes
 * NULL, so that a chain of look-ups needs no checks.
 */
#ifndef FA_JSON_READ_H
#define FA_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_arena.h"
#include "ft_error.h"

enum fa_value_kind { FA_NULL, FA_BOOL, FA_NUMBER, FA_STRING, FA_ARRAY, FA_OBJECT };

struct fa_value {
	enum fa_value_kind kind;
	const char *key;  /* in an object */
	const char *text; /* string, or a number as written */
	bool boolean;
	size_t n;		/* items */
	struct fa_value *first; /* items of an array or object, in order */
	struct fa_value *next;	/* its sibling */
};

/* Parse a whole text. FT_ERROR_INPUT when it is not JSON. */
struct ft_error *fa_json_parse(struct ft_arena *arena, const char *text,
			       const struct fa_value **ret);

const struct fa_value *fa_value_get(const struct fa_value *object, const char *key);
bool fa_value_is_null(const struct fa_value *value); /* missing counts as null */
const char *fa_value_text(const struct fa_value *object,
			  const char *key);			       /* NULL unless a string */
uint64_t fa_value_u64(const struct fa_value *object, const char *key); /* 0 when absent */
int64_t fa_value_i64(const struct fa_value *object, const char *key);
double fa_value_f64(const struct fa_value *object, const char *key);
bool fa_value_true(const struct fa_value *object, const char *key);

struct fa_json;
/* Write a value again, numbers as they were. */
void fa_value_emit(const struct fa_value *value, struct fa_json *json);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Streaming JSON writer
 *
 * Commas and nesting are kept by the writer. Keys are ASCII literals of ours; text is untrusted:
 * invalid UTF-8 becomes U+FFFD, control characters are escaped, and `<` is written as \u003c so
 * that a document can stand inside HTML. Integers are exact.
 */
#ifndef FA_JSON_H
#define FA_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "ft_strbuf.h"

struct fa_json {
	struct ft_strbuf *out; /* borrowed */
	unsigned depth;
	uint64_t has_item; /* bit d: something stands at depth d already */
	bool after_key;
};

void fa_json_init(struct fa_json *json, struct ft_strbuf *out);

void fa_json_object_begin(struct fa_json *json);
void fa_json_object_end(struct fa_json *json);
void fa_json_array_begin(struct fa_json *json);
void fa_json_array_end(struct fa_json *json);
void fa_json_key(struct fa_json *json, const char *key);

void fa_json_string(struct fa_json *json, const char *text); /* NULL writes null */
void fa_json_u64(struct fa_json *json, uint64_t value);
void fa_json_i64(struct fa_json *json, int64_t value);
void fa_json_f64(struct fa_json *json,
		 double value); /* shortest form that reads back; NaN and inf are null */
void fa_json_raw(struct fa_json *json, const char *text); /* a value that is JSON already */
void fa_json_bool(struct fa_json *json, bool value);
void fa_json_null(struct fa_json *json);

/* key and value in one call */
void fa_json_kv_string(struct fa_json *json, const char *key, const char *text);
void fa_json_kv_u64(struct fa_json *json, const char *key, uint64_t value);
void fa_json_kv_i64(struct fa_json *json, const char *key, int64_t value);
void fa_json_kv_f64(struct fa_json *json, const char *key, double value);
void fa_json_kv_bool(struct fa_json *json, const char *key, bool value);
void fa_json_kv_null(struct fa_json *json, const char *key);

#endif

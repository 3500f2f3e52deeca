/* SPDX-License-Identifier: MIT */
/* Streaming JSON writer: see fa_json.h. */
#include "fa_json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_MAX_DEPTH = 63 };

void fa_json_init(struct fa_json *json, struct ft_strbuf *out)
{
	*json = (struct fa_json){.out = out};
}

/* What stands before an item: a comma unless it is the first one or the value of a key. */
static void json_separate(struct fa_json *json)
{
	uint64_t bit = UINT64_C(1) << json->depth;

	if (json->after_key)
		json->after_key = false;
	else if (json->depth && (json->has_item & bit))
		ft_strbuf_addc(json->out, ',');
	json->has_item |= bit;
}

static void json_open(struct fa_json *json, char c)
{
	json_separate(json);
	ft_strbuf_addc(json->out, c);
	assert(json->depth < JSON_MAX_DEPTH);
	json->depth++;
	json->has_item &= ~(UINT64_C(1) << json->depth);
}

static void json_close(struct fa_json *json, char c)
{
	assert(json->depth > 0 && !json->after_key);
	json->depth--;
	ft_strbuf_addc(json->out, c);
}

void fa_json_object_begin(struct fa_json *json)
{
	json_open(json, '{');
}

void fa_json_object_end(struct fa_json *json)
{
	json_close(json, '}');
}

void fa_json_array_begin(struct fa_json *json)
{
	json_open(json, '[');
}

void fa_json_array_end(struct fa_json *json)
{
	json_close(json, ']');
}

void fa_json_key(struct fa_json *json, const char *key)
{
	assert(!json->after_key);
	fa_json_string(json, key);
	ft_strbuf_addc(json->out, ':');
	json->after_key = true;
}

/*
 * Length of the valid UTF-8 sequence at `s`, or 0. Overlong forms, surrogates and what lies beyond
 * U+10FFFF are invalid (Unicode 15, table 3-7). The text ends with a NUL, which is no continuation
 * byte: nothing is read past it.
 */
static size_t utf8_length(const unsigned char *s)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (s[0] == 0xe0)
		lo = 0xa0;
	else if (s[0] == 0xed)
		hi = 0x9f;
	else if (s[0] == 0xf0)
		lo = 0x90;
	else if (s[0] == 0xf4)
		hi = 0x8f;
	if (s[1] < lo || s[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return n;
}

void fa_json_string(struct fa_json *json, const char *text)
{
	if (!text) {
		fa_json_null(json);
		return;
	}
	json_separate(json);
	ft_strbuf_addc(json->out, '"');

	const unsigned char *s = (const unsigned char *)text;

	while (*s) {
		/* The longest stretch that needs no escape goes out in one piece. */
		size_t run = 0;

		while (s[run] >= 0x20 && s[run] < 0x7f && s[run] != '"' && s[run] != '\\' &&
		       s[run] != '<')
			run++;
		ft_strbuf_add(json->out, s, run);
		s += run;
		if (!*s)
			break;

		size_t n = utf8_length(s);

		if (n == 0) {
			ft_strbuf_adds(json->out, "\xef\xbf\xbd");
			n = 1;
		} else if (n > 1) {
			ft_strbuf_add(json->out, s, n);
		} else if (*s == '"' || *s == '\\') {
			ft_strbuf_addc(json->out, '\\');
			ft_strbuf_addc(json->out, (char)*s);
		} else if (*s == '\n') {
			ft_strbuf_adds(json->out, "\\n");
		} else if (*s == '\t') {
			ft_strbuf_adds(json->out, "\\t");
		} else {
			ft_strbuf_addf(json->out, "\\u%04x", *s);
		}
		s += n;
	}
	ft_strbuf_addc(json->out, '"');
}

void fa_json_u64(struct fa_json *json, uint64_t value)
{
	json_separate(json);
	ft_strbuf_addf(json->out, "%" PRIu64, value);
}

void fa_json_i64(struct fa_json *json, int64_t value)
{
	json_separate(json);
	ft_strbuf_addf(json->out, "%" PRId64, value);
}

void fa_json_f64(struct fa_json *json, double value)
{
	char text[40];

	if (!isfinite(value)) {
		fa_json_null(json);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	json_separate(json);
	ft_strbuf_adds(json->out, text);
}

void fa_json_raw(struct fa_json *json, const char *text)
{
	json_separate(json);
	ft_strbuf_adds(json->out, text);
}

void fa_json_bool(struct fa_json *json, bool value)
{
	json_separate(json);
	ft_strbuf_adds(json->out, value ? "true" : "false");
}

void fa_json_null(struct fa_json *json)
{
	json_separate(json);
	ft_strbuf_adds(json->out, "null");
}

void fa_json_kv_string(struct fa_json *json, const char *key, const char *text)
{
	fa_json_key(json, key);
	fa_json_string(json, text);
}

void fa_json_kv_u64(struct fa_json *json, const char *key, uint64_t value)
{
	fa_json_key(json, key);
	fa_json_u64(json, value);
}

void fa_json_kv_i64(struct fa_json *json, const char *key, int64_t value)
{
	fa_json_key(json, key);
	fa_json_i64(json, value);
}

void fa_json_kv_f64(struct fa_json *json, const char *key, double value)
{
	fa_json_key(json, key);
	fa_json_f64(json, value);
}

void fa_json_kv_bool(struct fa_json *json, const char *key, bool value)
{
	fa_json_key(json, key);
	fa_json_bool(json, value);
}

void fa_json_kv_null(struct fa_json *json, const char *key)
{
	fa_json_key(json, key);
	fa_json_null(json);
}

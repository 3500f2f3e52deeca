/* SPDX-License-Identifier: MIT */
/* JSON reader: see fa_json_read.h. */
#include "fa_json_read.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "fa_json.h"

enum { READ_MAX_DEPTH = 64 };

struct json_input {
	struct ft_arena *arena;
	const char *start, *at;
	struct ft_error *error;
};

static bool input_fail(struct json_input *in, const char *what)
{
	if (!in->error)
		in->error = ft_error_create(FT_ERROR_INPUT, "JSON: %s at byte %zu", what,
					    (size_t)(in->at - in->start));
	return false;
}

static bool input_nomem(struct json_input *in)
{
	in->error = &ft_enomem;
	return false;
}

static void skip_space(struct json_input *in)
{
	while (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r')
		in->at++;
}

static bool read_hex4(struct json_input *in, unsigned *ret)
{
	unsigned value = 0;

	for (int i = 0; i < 4; i++) {
		unsigned char c = (unsigned char)*in->at;

		if (!isxdigit(c))
			return input_fail(in, "bad \\u escape");
		value = value * 16 + (unsigned)(isdigit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
		in->at++;
	}
	*ret = value;
	return true;
}

/* Code points above U+FFFF are written as plain UTF-8 by our writer: no surrogate pairs here. */
static char *put_utf8(char *out, unsigned code)
{
	if (code < 0x80) {
		*out++ = (char)code;
	} else if (code < 0x800) {
		*out++ = (char)(0xc0 | code >> 6);
		*out++ = (char)(0x80 | (code & 0x3f));
	} else {
		*out++ = (char)(0xe0 | code >> 12);
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
		*out++ = (char)(0x80 | (code & 0x3f));
	}
	return out;
}

static bool read_string(struct json_input *in, const char **ret)
{
	static const char escapes[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
	const char *end = ++in->at;

	while (*end && *end != '"')
		end += *end == '\\' && end[1] ? 2 : 1;
	if (!*end)
		return input_fail(in, "string without end");

	/* An escape is never shorter than what it stands for. */
	char *text = ft_arena_alloc(in->arena, (size_t)(end - in->at) + 1), *out = text;

	if (!text)
		return input_nomem(in);
	while (in->at < end) {
		if (*in->at != '\\') {
			*out++ = *in->at++;
			continue;
		}
		in->at++;
		if (*in->at == 'u') {
			unsigned code = 0;

			in->at++;
			if (!read_hex4(in, &code))
				return false;
			out = put_utf8(out, code);
			continue;
		}

		const char *which = strchr(escapes, *in->at);

		if (!which)
			return input_fail(in, "bad escape");
		*out++ = meaning[which - escapes];
		in->at++;
	}
	*out = '\0';
	in->at = end + 1;
	*ret = text;
	return true;
}

static bool read_value(struct json_input *in, struct fa_value *value, unsigned depth);

static bool read_items(struct json_input *in, struct fa_value *value, unsigned depth)
{
	bool object = *in->at++ == '{';
	char close = object ? '}' : ']';
	struct fa_value **link = &value->first;

	value->kind = object ? FA_OBJECT : FA_ARRAY;
	skip_space(in);
	if (*in->at == close) {
		in->at++;
		return true;
	}
	for (;;) {
		struct fa_value *item = ft_arena_alloc(in->arena, sizeof(*item));

		if (!item)
			return input_nomem(in);
		*item = (struct fa_value){0};
		skip_space(in);
		if (object) {
			if (*in->at != '"')
				return input_fail(in, "key expected");
			if (!read_string(in, &item->key))
				return false;
			skip_space(in);
			if (*in->at++ != ':')
				return input_fail(in, "':' expected");
		}
		if (!read_value(in, item, depth + 1))
			return false;
		*link = item;
		link = &item->next;
		value->n++;
		skip_space(in);
		if (*in->at == ',') {
			in->at++;
			continue;
		}
		if (*in->at != close)
			return input_fail(in, "',' or end expected");
		in->at++;
		return true;
	}
}

static bool read_number(struct json_input *in, struct fa_value *value)
{
	char *end;

	strtod(in->at, &end);
	if (end == in->at || (*in->at != '-' && !isdigit((unsigned char)*in->at)))
		return input_fail(in, "value expected");
	value->kind = FA_NUMBER;
	value->text = ft_arena_strndup(in->arena, in->at, (size_t)(end - in->at));
	if (!value->text)
		return input_nomem(in);
	in->at = end;
	return true;
}

static bool read_value(struct json_input *in, struct fa_value *value, unsigned depth)
{
	if (depth > READ_MAX_DEPTH)
		return input_fail(in, "nested too deeply");
	skip_space(in);
	switch (*in->at) {
	case '{':
	case '[':
		return read_items(in, value, depth);
	case '"':
		value->kind = FA_STRING;
		return read_string(in, &value->text);
	}
	if (!strncmp(in->at, "true", 4)) {
		value->kind = FA_BOOL;
		value->boolean = true;
		in->at += 4;
	} else if (!strncmp(in->at, "false", 5)) {
		value->kind = FA_BOOL;
		in->at += 5;
	} else if (!strncmp(in->at, "null", 4)) {
		in->at += 4;
	} else {
		return read_number(in, value);
	}
	return true;
}

struct ft_error *fa_json_parse(struct ft_arena *arena, const char *text,
			       const struct fa_value **ret)
{
	struct json_input in = {.arena = arena, .start = text, .at = text};
	struct fa_value *value = ft_arena_alloc(arena, sizeof(*value));

	if (!value)
		return &ft_enomem;
	*value = (struct fa_value){0};
	if (!read_value(&in, value, 0))
		return in.error;
	skip_space(&in);
	if (*in.at) {
		input_fail(&in, "text after the end");
		return in.error;
	}
	*ret = value;
	return NULL;
}

const struct fa_value *fa_value_get(const struct fa_value *object, const char *key)
{
	if (!object || object->kind != FA_OBJECT)
		return NULL;
	for (const struct fa_value *item = object->first; item; item = item->next)
		if (!strcmp(item->key, key))
			return item;
	return NULL;
}

bool fa_value_is_null(const struct fa_value *value)
{
	return !value || value->kind == FA_NULL;
}

const char *fa_value_text(const struct fa_value *object, const char *key)
{
	const struct fa_value *value = fa_value_get(object, key);

	return value && value->kind == FA_STRING ? value->text : NULL;
}

static const char *number_text(const struct fa_value *object, const char *key)
{
	const struct fa_value *value = fa_value_get(object, key);

	return value && value->kind == FA_NUMBER ? value->text : "0";
}

uint64_t fa_value_u64(const struct fa_value *object, const char *key)
{
	return strtoull(number_text(object, key), NULL, 10);
}

int64_t fa_value_i64(const struct fa_value *object, const char *key)
{
	return strtoll(number_text(object, key), NULL, 10);
}

double fa_value_f64(const struct fa_value *object, const char *key)
{
	return strtod(number_text(object, key), NULL);
}

bool fa_value_true(const struct fa_value *object, const char *key)
{
	const struct fa_value *value = fa_value_get(object, key);

	return value && value->kind == FA_BOOL && value->boolean;
}

void fa_value_emit(const struct fa_value *value, struct fa_json *json)
{
	switch (value->kind) {
	case FA_NULL:
		fa_json_null(json);
		break;
	case FA_BOOL:
		fa_json_bool(json, value->boolean);
		break;
	case FA_NUMBER:
		fa_json_raw(json, value->text);
		break;
	case FA_STRING:
		fa_json_string(json, value->text);
		break;
	case FA_ARRAY:
	case FA_OBJECT:
		(value->kind == FA_ARRAY ? fa_json_array_begin : fa_json_object_begin)(json);
		for (const struct fa_value *item = value->first; item; item = item->next) {
			if (item->key)
				fa_json_key(json, item->key);
			fa_value_emit(item, json);
		}
		(value->kind == FA_ARRAY ? fa_json_array_end : fa_json_object_end)(json);
		break;
	}
}

/* SPDX-License-Identifier: MIT */
/* Redaction: see fa_redact.h. */
#include "fa_redact.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "fa_json_read.h"
#include "ft_arena.h"
#include "ft_cleanup.h"

static const char hidden[] = "(redacted)";

enum kind { KIND_DIR, KIND_ARG, KIND_NAME, KIND_LABEL, N_KINDS };

/* Something that must not be seen, and what is seen instead. */
struct secret {
	const char *text, *stand_in;
	size_t len;
};

struct secrets {
	struct secret *list; /* longest first: the part of a longer one is not replaced before it */
	size_t n, room;
};

struct fa_redactor {
	unsigned what;
	struct secrets secrets[N_KINDS];
	struct ft_arena arena;
};

struct ft_error *fa_redactor_create(unsigned what, struct fa_redactor **ret)
{
	struct fa_redactor *r = calloc(1, sizeof(*r));

	if (!r)
		return &ft_enomem;
	r->what = what;
	ft_arena_init(&r->arena);
	*ret = r;
	return NULL;
}

void fa_redactor_destroy(struct fa_redactor *redactor)
{
	if (!redactor)
		return;
	for (unsigned k = 0; k < N_KINDS; k++)
		free(redactor->secrets[k].list);
	ft_arena_deinit(&redactor->arena);
	free(redactor);
}

/* ---- secrets -----------------------------------------------------------------------------------
 */

static const struct secret *find(const struct secrets *s, const char *text, size_t len)
{
	for (size_t i = 0; i < s->n && s->list[i].len >= len; i++)
		if (s->list[i].len == len && !memcmp(s->list[i].text, text, len))
			return &s->list[i];
	return NULL;
}

/* The stand-in of a text, which is a secret from now on; NULL when out of memory. */
static const char *stand_in(struct fa_redactor *r, enum kind kind, const char *text, size_t len)
{
	static const char *const names[N_KINDS] = {"dir", "arg", "name", "label"};
	struct secrets *s = &r->secrets[kind];
	const struct secret *known = find(s, text, len);
	size_t at = s->n;
	char name[32];

	if (known)
		return known->stand_in;
	if (s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 64;
		struct secret *list = realloc(s->list, room * sizeof(*list));

		if (!list)
			return NULL;
		s->list = list;
		s->room = room;
	}
	snprintf(name, sizeof(name), "%s%zu", names[kind], s->n + 1);

	const struct secret made = {
		.text = ft_arena_strndup(&r->arena, text, len),
		.stand_in = ft_arena_strdup(&r->arena, name),
		.len = len,
	};

	if (!made.text || !made.stand_in)
		return NULL;
	while (at > 0 && s->list[at - 1].len < len)
		at--;
	memmove(s->list + at + 1, s->list + at, (s->n - at) * sizeof(*s->list));
	s->list[at] = made;
	s->n++;
	return made.stand_in;
}

/* A directory, and those that it is in: one of them may be named alone. */
static const char *directory(struct fa_redactor *r, const char *text, size_t len)
{
	const char *name = stand_in(r, KIND_DIR, text, len);

	while (len > 1 && text[len - 1] != '/')
		len--;
	while (len > 1 && text[len - 1] == '/')
		len--;
	if (name && len > 1 && !find(&r->secrets[KIND_DIR], text, len) && memchr(text, '/', len))
		directory(r, text, len); /* NOLINT(misc-no-recursion): once for each level */
	return name;
}

static bool is_path_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("/._-+~@%=,", c)) ||
	       (unsigned char)c > 127;
}

/* ---- texts -------------------------------------------------------------------------------------
 */

static const char *finish(struct fa_redactor *r, struct ft_strbuf *buf)
{
	const char *text = buf->failed ? NULL : ft_arena_strndup(&r->arena, buf->data, buf->len);

	ft_strbuf_deinit(buf);
	return text ? text : hidden;
}

const char *fa_redact_path(struct fa_redactor *redactor, const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL, *name;
	struct ft_strbuf buf;

	if (!slash || !(redactor->what & FA_REDACT_PATHS))
		return path;
	/* "/" itself is nobody's. */
	name = slash == path ? "" : directory(redactor, path, (size_t)(slash - path));
	if (!name)
		return hidden;
	ft_strbuf_init(&buf);
	ft_strbuf_adds(&buf, name);
	ft_strbuf_adds(&buf, slash);
	return finish(redactor, &buf);
}

/*
 * Whether what stands at `text` up to `len` is a path with a directory: absolute, or with a file's
 * extension at its end, so that "MiB/h" is none. *ret is the length of the directory.
 */
static bool has_directory(const char *text, size_t len, size_t *ret)
{
	size_t slash = len;
	bool extension;

	while (slash > 0 && text[slash - 1] != '/')
		slash--;
	if (slash < 2)
		return false;
	extension = memchr(text + slash, '.', len - slash) != NULL;
	*ret = slash - 1;
	return text[0] == '/' || text[0] == '~' || !memcmp(text, "./", 2) ||
	       (slash > 2 && !memcmp(text, "../", 3)) || extension;
}

/* Copy `text` with the secrets of a kind replaced where they stand as words of their own. */
static void replace_known(const struct secrets *s, const char *text, struct ft_strbuf *out)
{
	for (const char *at = text; *at;) {
		size_t i = 0;

		for (; i < s->n; i++) {
			const struct secret *secret = &s->list[i];

			if (*at == *secret->text && !strncmp(at, secret->text, secret->len) &&
			    (at == text || !isalnum((unsigned char)at[-1])) &&
			    !isalnum((unsigned char)at[secret->len]))
				break;
		}
		if (i < s->n) {
			ft_strbuf_adds(out, s->list[i].stand_in);
			at += s->list[i].len;
		} else {
			ft_strbuf_addc(out, *at++);
		}
	}
	ft_strbuf_addc(out, '\0');
}

/* The same with the directories of paths that are not known yet. */
static bool replace_paths(struct fa_redactor *r, const char *text, struct ft_strbuf *out)
{
	while (*text) {
		size_t len = 0, dir;
		const char *name;

		while (is_path_char(text[len]))
			len++;
		if (len && memchr(text, '/', len) && has_directory(text, len, &dir)) {
			name = directory(r, text, dir);
			if (!name)
				return false;
			ft_strbuf_adds(out, name);
			ft_strbuf_add(out, text + dir, len - dir);
		} else {
			ft_strbuf_add(out, text, len);
		}
		text += len;
		if (*text)
			ft_strbuf_addc(out, *text++);
	}
	ft_strbuf_addc(out, '\0');
	return true;
}

const char *fa_redact_text(struct fa_redactor *redactor, const char *text)
{
	ft_auto_strbuf struct ft_strbuf labels = {0}, known = {0}, paths = {0};
	const char *at = text;

	if (!text)
		return NULL;
	if (redactor->what & FA_REDACT_ARGS && redactor->secrets[KIND_LABEL].n) {
		replace_known(&redactor->secrets[KIND_LABEL], at, &labels);
		at = labels.data;
	}
	if (at && redactor->what & FA_REDACT_PATHS && strchr(at, '/')) {
		replace_known(&redactor->secrets[KIND_DIR], at, &known);
		if (known.failed || !replace_paths(redactor, known.data, &paths))
			return hidden;
		at = paths.data;
	}
	if (labels.failed || known.failed || paths.failed || !at)
		return hidden;
	if (!strcmp(at, text))
		return text;

	const char *kept = ft_arena_strdup(&redactor->arena, at);

	return kept ? kept : hidden;
}

static const char *replace_whole(struct fa_redactor *r, enum kind kind, const char *text)
{
	const char *name = r->what & FA_REDACT_ARGS ? stand_in(r, kind, text, strlen(text)) : text;

	return name ? name : hidden;
}

/* ---- documents ---------------------------------------------------------------------------------
 */

static bool is_one_of(const char *key, const char *const *list)
{
	for (; key && *list; list++)
		if (!strcmp(key, *list))
			return true;
	return false;
}

static const char *const path_keys[] = {"file", "module", "exe", "path", "parent_recording", NULL};
static const char *const id_keys[] = {"pid", "ppid", "tid", NULL};
static const char *const machine_keys[] = {"pid_namespace", "collector_pid", "image",
					   "parent_image", NULL};

/* Where a value stands. */
struct place {
	const char *section, *list; /* the list: key of the nearest array above */
	const char *key;
	size_t index; /* in that array */
};

static const char *redact_string(struct fa_redactor *r, const struct place *at, const char *text)
{
	if (is_one_of(at->key, path_keys))
		return fa_redact_path(r, text);
	if (at->list && !at->key && !strcmp(at->list, "argv"))
		return at->index ? replace_whole(r, KIND_ARG, text) : fa_redact_path(r, text);
	if (at->key && (!strcmp(at->key, "label") || !strcmp(at->key, "operation")))
		return replace_whole(r, KIND_LABEL, text);
	if (at->key && at->list && !strcmp(at->section, "threads") &&
	    !strcmp(at->list, "threads") && !strcmp(at->key, "name"))
		return replace_whole(r, KIND_NAME, text);
	return fa_redact_text(r, text);
}

static void redact_value(struct fa_redactor *r, const struct place *at,
			 const struct fa_value *value,
			 struct fa_json *json) /* NOLINT(misc-no-recursion): as deep as the text */
{
	struct place inner = *at;

	switch (value->kind) {
	case FA_STRING:
		fa_json_string(json, redact_string(r, at, value->text));
		break;
	case FA_ARRAY:
		inner = (struct place){.section = at->section, .list = at->key};
		fa_json_array_begin(json);
		for (const struct fa_value *v = value->first; v; v = v->next, inner.index++)
			redact_value(r, &inner, v, json);
		fa_json_array_end(json);
		break;
	case FA_OBJECT:
		fa_json_object_begin(json);
		for (const struct fa_value *v = value->first; v; v = v->next) {
			if (r->what & FA_REDACT_ENV && is_one_of(v->key, machine_keys))
				continue;
			inner.key = v->key;
			fa_json_key(json, v->key);
			redact_value(r, &inner, v, json);
		}
		fa_json_object_end(json);
		break;
	case FA_NUMBER:
		if (r->what & FA_REDACT_ENV && is_one_of(at->key, id_keys)) {
			fa_json_null(json);
			break;
		}
		fa_value_emit(value, json);
		break;
	default:
		fa_value_emit(value, json);
	}
}

static struct ft_error *redact_section(struct fa_redactor *r, const char *name, const char *text,
				       struct ft_strbuf *out)
{
	const struct place place = {.section = name};
	ft_auto_arena struct ft_arena arena;
	const struct fa_value *value;
	struct fa_json json;

	ft_arena_init(&arena);
	FT_TRY(fa_json_parse(&arena, text, &value));
	ft_strbuf_init(out);
	fa_json_init(&json, out);
	redact_value(r, &place, value, &json);
	return out->failed ? &ft_enomem : NULL;
}

/* The first time is to learn all secrets: a sentence may name what only a later section lists. */
struct ft_error *fa_redact_doc(struct fa_redactor *redactor, struct fa_doc *doc)
{
	struct ft_error *error = NULL;
	const char *name;

	for (unsigned turn = 0; turn < 2; turn++)
		for (size_t i = 0; !error && (name = fa_doc_section_name(doc, i)); i++) {
			struct ft_strbuf text = {0};

			error = redact_section(redactor, name, fa_doc_section(doc, name), &text);
			if (!error && turn)
				fa_doc_replace(doc, name, &text);
			ft_strbuf_deinit(&text);
		}
	return error ? error : fa_doc_check(doc);
}

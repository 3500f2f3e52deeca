/* SPDX-License-Identifier: MIT */
/*
 * Valgrind's suppressions
 *
 * Format and meaning as in the Valgrind manual, 2.5 "Suppressing errors", and Memcheck's 4.4. An
 * entry is at least a name, a kind and one frame that is not "...".
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "ft_cleanup.h"
#include "ft_symbol.h"
#include "suppress_impl.h"

enum { CALLERS_MAX = 64, IDENTIFIERS_MAX = 64 };

/* ---- names -------------------------------------------------------------------------------------
 */

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* "3Foo" at `at`: the length of the identifier and where it is; 0 when there is none. */
static size_t identifier_at(const char *at, const char **name)
{
	char *after;
	unsigned long len;

	if (!isdigit((unsigned char)*at))
		return 0;
	len = strtoul(at, &after, 10);
	if (!len || len > strlen(after) || isdigit((unsigned char)*after))
		return 0;
	for (size_t i = 0; i < len; i++)
		if (!is_name_char(after[i]))
			return 0;
	*name = after;
	return len;
}

/* The identifiers of a mangled name with wildcards. */
static struct ft_error *find_identifiers(struct ft_arena *arena, struct caller *caller)
{
	const char *list[IDENTIFIERS_MAX + 1];
	size_t n = 0;

	for (const char *at = caller->pattern; *at && n < IDENTIFIERS_MAX;) {
		const char *name;
		size_t len = identifier_at(at, &name);

		if (!len) {
			/* A number that counts none is skipped as a whole. */
			at += isdigit((unsigned char)*at) ? strspn(at, "0123456789") : 1;
			continue;
		}
		list[n] = ft_arena_strndup(arena, name, len);
		if (!list[n++])
			return &ft_enomem;
		at = name + len;
	}
	list[n] = NULL;
	caller->identifiers = ft_arena_alloc(arena, (n + 1) * sizeof(*list));
	if (!caller->identifiers)
		return &ft_enomem;
	memcpy(caller->identifiers, list, (n + 1) * sizeof(*list));
	return NULL;
}

/* What Valgrind sees as a mangled name: it is compared with more than its text. */
static struct ft_error *prepare_function(struct ft_arena *arena, struct caller *caller)
{
	if (strncmp(caller->pattern, "_Z", 2) != 0 && strncmp(caller->pattern, "*_Z", 3) != 0)
		return NULL;
	if (strpbrk(caller->pattern, "*?"))
		return find_identifiers(arena, caller);

	ft_auto_free char *readable = ft_demangle(caller->pattern);

	if (!readable)
		return NULL;
	caller->readable = ft_arena_strdup(arena, readable);
	return caller->readable ? NULL : &ft_enomem;
}

/* ---- parse -------------------------------------------------------------------------------------
 */

static bool line_is(const struct line_reader *reader, const char *text)
{
	return reader->len == strlen(text) && !memcmp(reader->text, text, reader->len);
}

static bool line_begins(const struct line_reader *reader, const char *text)
{
	return reader->len >= strlen(text) && !memcmp(reader->text, text, strlen(text));
}

/* Whether the word of `len` characters is in the NULL-terminated list. */
static bool is_word(const char *text, size_t len, const char *const *words)
{
	for (; *words; words++)
		if (strlen(*words) == len && !memcmp(*words, text, len))
			return true;
	return false;
}

/* "Memcheck,Other:Leak". *ours: it is Memcheck's; *kind is its kind then. */
static struct ft_error *parse_kind(const struct line_reader *reader, bool *ours, const char **kind,
				   size_t *kind_len)
{
	static const char *const memcheck[] = {"Memcheck", NULL};
	static const char *const kinds[] = {
		"Param",   "User",     "Cond",	     "Value0",	    "Value1", "Value2",	 "Value4",
		"Value8",  "Value16",  "Value32",    "Addr1",	    "Addr2",  "Addr4",	 "Addr8",
		"Addr16",  "Addr32",   "Jump",	     "Free",	    "Leak",   "Overlap", "Mempool",
		"BadSize", "BadAlign", "FishyValue", "ReallocZero", NULL};
	const char *end = reader->text + reader->len;
	const char *colon = memchr(reader->text, ':', reader->len);

	if (!colon)
		return line_error(reader, "no TOOL:KIND, such as Memcheck:Leak");
	*ours = false;
	for (const char *tool = reader->text; tool <= colon;) {
		const char *comma = memchr(tool, ',', (size_t)(colon - tool));
		const char *stop = comma ? comma : colon;

		*ours |= is_word(tool, (size_t)(stop - tool), memcheck);
		tool = stop + 1;
	}
	*kind = colon + 1;
	*kind_len = (size_t)(end - *kind);
	if (*ours && !is_word(*kind, *kind_len, kinds))
		return line_error(reader, "Memcheck has no kind '%.*s'", (int)*kind_len, *kind);
	return NULL;
}

/* "match-leak-kinds: definite,possible" */
static struct ft_error *parse_leak_kinds(const struct line_reader *reader, unsigned *ret)
{
	static const char *const names[] = {"definite", "indirect", "possible", "reachable",
					    "all",	"none",	    NULL};
	static const unsigned bits[] = {FA_LEAK_DEFINITE,  FA_LEAK_INDIRECT, FA_LEAK_POSSIBLE,
					FA_LEAK_REACHABLE, FA_LEAK_ALL,	     0};
	const char *at = (const char *)memchr(reader->text, ':', reader->len) + 1;
	const char *end = reader->text + reader->len;

	*ret = 0;
	while (at <= end) {
		while (at < end && (*at == ' ' || *at == '\t'))
			at++;

		const char *comma = memchr(at, ',', (size_t)(end - at));
		size_t len = (size_t)((comma ? comma : end) - at), i = 0;

		while (names[i] && (strlen(names[i]) != len || memcmp(names[i], at, len) != 0))
			i++;
		if (!names[i])
			return line_error(reader, "no leak kind '%.*s'", (int)len, at);
		*ret |= bits[i];
		at += len + 1;
	}
	return NULL;
}

static struct ft_error *parse_source(struct caller *caller, char *text)
{
	char *colon = strrchr(text, ':');

	caller->kind = CALLER_SOURCE;
	if (colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1)) {
		caller->line = strtoll(colon + 1, NULL, 10);
		*colon = '\0';
	}
	return NULL;
}

static struct ft_error *parse_caller(struct fa_suppressions *set, const struct line_reader *reader,
				     struct caller *caller)
{
	static const char *const names[] = {"fun:", "obj:", "src:"};

	*caller = (struct caller){.kind = CALLER_ANY};
	if (line_is(reader, "..."))
		return NULL;
	for (int i = 0; i < 3; i++) {
		if (!line_begins(reader, names[i]))
			continue;

		char *pattern = ft_arena_strndup(&set->arena, reader->text + 4, reader->len - 4);

		if (!pattern)
			return &ft_enomem;
		caller->kind = (enum caller_kind)i;
		caller->pattern = pattern;
		if (caller->kind == CALLER_SOURCE)
			return parse_source(caller, pattern);
		return caller->kind == CALLER_FUNCTION ? prepare_function(&set->arena, caller)
						       : NULL;
	}
	return line_error(reader, "a frame begins with fun:, obj: or src:, or is '...': '%.*s'",
			  (int)(reader->len < 60 ? reader->len : 60), reader->text);
}

static struct ft_error *unfinished(const struct line_reader *reader)
{
	return line_error(reader, "the file ends within an entry: '}' is missing");
}

static struct ft_error *skip_entry(struct line_reader *reader)
{
	while (line_next_used(reader))
		if (line_is(reader, "}"))
			return NULL;
	return unfinished(reader);
}

/* The frames, up to the closing brace; `reader` is at the first of them. */
static struct ft_error *parse_callers(struct fa_suppressions *set, struct line_reader *reader,
				      struct rule *rule)
{
	struct caller callers[CALLERS_MAX];
	bool anchored = false;
	size_t n = 0;

	for (; !line_is(reader, "}"); n++) {
		if (n == CALLERS_MAX)
			return line_error(reader, "more than %d frames", CALLERS_MAX);
		FT_TRY(parse_caller(set, reader, &callers[n]));
		anchored |= callers[n].kind != CALLER_ANY;
		if (!line_next_used(reader))
			return unfinished(reader);
	}
	if (!anchored)
		return line_error(reader, "no frame but '...': it would cover everything");

	struct caller *copy = ft_arena_alloc(&set->arena, n * sizeof(*copy));

	if (!copy)
		return &ft_enomem;
	memcpy(copy, callers, n * sizeof(*copy));
	rule->callers = copy;
	rule->n_callers = n;
	return NULL;
}

/* What follows an opening brace. */
static struct ft_error *parse_entry(struct fa_suppressions *set, struct line_reader *reader)
{
	struct rule rule = {.info = {.path = reader->path, .line = reader->number},
			    .leak_kinds = FA_LEAK_ALL};
	const char *kind = NULL;
	size_t kind_len = 0;
	bool ours = false;

	if (!line_next_used(reader))
		return unfinished(reader);
	if (line_is(reader, "}"))
		return line_error(reader, "an entry without a name");
	rule.info.name = ft_arena_strndup(&set->arena, reader->text, reader->len);
	if (!rule.info.name)
		return &ft_enomem;
	if (!line_next_used(reader))
		return unfinished(reader);
	FT_TRY(parse_kind(reader, &ours, &kind, &kind_len));
	if (!ours)
		return skip_entry(reader);

	bool leak = kind_len == 4 && !memcmp(kind, "Leak", 4);

	if (!leak && !(kind_len == 4 && !memcmp(kind, "Free", 4)))
		return skip_entry(reader);
	rule.kind = leak ? FA_SUPPRESS_LEAK : FA_SUPPRESS_FREE;
	if (!line_next_used(reader))
		return unfinished(reader);
	if (leak && line_begins(reader, "match-leak-kinds:")) {
		FT_TRY(parse_leak_kinds(reader, &rule.leak_kinds));
		if (!line_next_used(reader))
			return unfinished(reader);
	}
	FT_TRY(parse_callers(set, reader, &rule));
	return rule_add(set, &rule);
}

struct ft_error *valgrind_parse(struct fa_suppressions *set, struct line_reader *reader)
{
	while (line_next_used(reader)) {
		if (!line_is(reader, "{"))
			return line_error(reader, "an entry begins with '{' on a line of its own");
		FT_TRY(parse_entry(set, reader));
	}
	return NULL;
}

/* ---- match -------------------------------------------------------------------------------------
 */

/* '*' any text, '?' one character; linear but for the last '*'. */
static bool glob_matches(const char *pattern, const char *text)
{
	const char *star = NULL, *resume = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = ++pattern;
			resume = text;
		} else if (*pattern == '?' || *pattern == *text) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

/* Whether all identifiers stand in the name, whole and in this order. */
static bool has_identifiers(const char *name, const char *const *identifiers)
{
	while (*identifiers && *name) {
		size_t len = 0;

		while (is_name_char(name[len]))
			len++;
		if (len && strlen(*identifiers) == len && !memcmp(name, *identifiers, len))
			identifiers++;
		name += len ? len : 1;
	}
	return !*identifiers;
}

static bool is_cxx(const char *function)
{
	return strchr(function, '(') || strstr(function, "::");
}

/* Any call of the allocation family. */
static bool matches_any_call(const char *pattern)
{
	static const unsigned char apis[] = {1, 2, 3, 5, 6, 7, 8, 9, 14, 15, 16, 17}; /* ft_api */

	for (size_t i = 0; i < sizeof(apis); i++)
		if (glob_matches(pattern, fa_suppress_call(apis[i]).linkage))
			return true;
	return false;
}

static bool function_matches(const struct caller *caller, const struct fa_suppress_frame *frame)
{
	const char *function = frame->function, *public = public_name(frame);

	if (public && glob_matches(caller->pattern, public))
		return true;
	if (frame->call && !function)
		return matches_any_call(caller->pattern);
	if (frame->linkage)
		return glob_matches(caller->pattern, frame->linkage);
	if (!function)
		return glob_matches(caller->pattern, "???");
	/* A name that nobody has made readable is its symbol. */
	if (caller->readable)
		return !strcmp(caller->readable, function) || !strcmp(caller->pattern, function);
	if (!is_cxx(function) || is_cxx(caller->pattern))
		return glob_matches(caller->pattern, function);
	if (caller->identifiers)
		return has_identifiers(function, caller->identifiers);

	/* A C++ function, whose symbol begins with _Z: a pattern that does not can't mean it,
	 * unless it begins with a wildcard. Then it is taken to be about an identifier. */
	return (*caller->pattern == '*' || *caller->pattern == '?') &&
	       glob_matches(caller->pattern, function);
}

static bool source_matches(const struct caller *caller, const struct fa_suppress_frame *frame)
{
	const char *slash = frame->file ? strrchr(frame->file, '/') : NULL;

	if (!frame->file || (caller->line && caller->line != frame->line))
		return false;
	return glob_matches(caller->pattern, frame->file) ||
	       (slash && glob_matches(caller->pattern, slash + 1));
}

static bool caller_matches(const struct caller *caller, const struct fa_suppress_frame *frame)
{
	switch (caller->kind) {
	case CALLER_FUNCTION:
		return function_matches(caller, frame);
	case CALLER_OBJECT:
		/* The call itself is the allocator's, wherever that is. */
		return glob_matches(caller->pattern, frame->module ? frame->module : "???");
	case CALLER_SOURCE:
		return source_matches(caller, frame);
	case CALLER_ANY:
		break;
	}
	return true;
}

/* As with a glob: only the last "..." has to be gone back to. */
bool valgrind_matches(const struct rule *rule, const struct fa_suppress_frame *frames, size_t n)
{
	size_t at = 0, frame = 0, resume = 0, after_any = SIZE_MAX;

	while (at < rule->n_callers) {
		if (rule->callers[at].kind == CALLER_ANY) {
			after_any = ++at;
			resume = frame;
		} else if (frame < n && caller_matches(&rule->callers[at], &frames[frame])) {
			at++;
			frame++;
		} else if (after_any != SIZE_MAX && resume < n) {
			at = after_any;
			frame = ++resume;
		} else {
			return false;
		}
	}
	return true;
}

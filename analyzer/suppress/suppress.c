/* SPDX-License-Identifier: MIT */
/* Suppressions: the set, and what both formats share. See fa_suppress.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fragtrace/event.h"
#include "ft_cleanup.h"
#include "suppress_impl.h"

enum { FILE_MAX = 16 << 20 };

/* ---- lines -------------------------------------------------------------------------------------
 */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

bool line_next(struct line_reader *reader)
{
	const char *at = reader->at;

	if (at == reader->end)
		return false;

	const char *end = memchr(at, '\n', (size_t)(reader->end - at));

	reader->at = end ? end + 1 : reader->end;
	if (!end)
		end = reader->end;
	while (at < end && is_blank(*at))
		at++;
	while (end > at && is_blank(end[-1]))
		end--;
	reader->text = at;
	reader->len = (size_t)(end - at);
	reader->number++;
	return true;
}

bool line_next_used(struct line_reader *reader)
{
	while (line_next(reader))
		if (reader->len && *reader->text != '#')
			return true;
	return false;
}

struct ft_error *line_error(const struct line_reader *reader, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return ft_error_create(FT_ERROR_INPUT, "%s:%u: %s", reader->path, reader->number, text);
}

const char *public_name(const struct fa_suppress_frame *frame)
{
	const char *slash = frame->module ? strrchr(frame->module, '/') : NULL;
	const char *name = frame->function;

	if (!slash || !name ||
	    (strncmp(slash, "/libc.so", 8) != 0 && strncmp(slash, "/libc-", 6) != 0))
		return NULL;
	if (!strncmp(name, "__GI_", 5))
		name += 5;
	if (!strncmp(name, "__", 2))
		name += 2;
	return name == frame->function || !*name ? NULL : name;
}

/* ---- the set -----------------------------------------------------------------------------------
 */

struct ft_error *fa_suppressions_create(struct fa_suppressions **ret)
{
	struct fa_suppressions *set = calloc(1, sizeof(*set));

	if (!set)
		return &ft_enomem;
	ft_arena_init(&set->arena);
	*ret = set;
	return NULL;
}

void fa_suppressions_destroy(struct fa_suppressions *set)
{
	if (!set)
		return;
	ft_arena_deinit(&set->arena);
	free(set->rules);
	free(set);
}

struct ft_error *rule_add(struct fa_suppressions *set, const struct rule *rule)
{
	if (set->n_rules == set->capacity) {
		size_t capacity = set->capacity ? set->capacity * 2 : 16;
		struct rule *rules = realloc(set->rules, capacity * sizeof(*rules));

		if (!rules)
			return &ft_enomem;
		set->rules = rules;
		set->capacity = capacity;
	}
	set->rules[set->n_rules++] = *rule;
	return NULL;
}

struct ft_error *fa_suppressions_parse(struct fa_suppressions *set, const char *path,
				       const char *text, size_t len)
{
	const char *name = ft_arena_strdup(&set->arena, path);
	struct line_reader first = {.path = name, .at = text, .end = text + len};
	struct line_reader reader = first;
	size_t n_before = set->n_rules;
	struct ft_error *error;

	if (!name)
		return &ft_enomem;
	if (memchr(text, '\0', len))
		return ft_error_create(FT_ERROR_INPUT, "%s: is no text", path);

	/* The first line that says something tells the formats apart. */
	if (!line_next_used(&first))
		return NULL;
	error = *first.text == '{' ? valgrind_parse(set, &reader) : lsan_parse(set, &reader);
	if (error)
		set->n_rules = n_before;
	return error;
}

struct ft_error *fa_suppressions_read(struct fa_suppressions *set, const char *path)
{
	ft_auto_fclose FILE *file = fopen(path, "re");
	ft_auto_strbuf struct ft_strbuf text = {0};
	size_t n;

	if (!file)
		return ft_error_os(errno, "cannot open suppressions %s", path);
	do {
		char *room = ft_strbuf_reserve(&text, 65536);

		if (!room)
			return &ft_enomem;
		n = fread(room, 1, 65536, file);
		text.len += n;
		if (text.len > FILE_MAX)
			return ft_error_create(FT_ERROR_INPUT,
					       "%s: larger than 16 MiB, so no suppressions", path);
	} while (n);
	if (ferror(file))
		return ft_error_os(errno, "cannot read suppressions %s", path);
	return fa_suppressions_parse(set, path, text.data, text.len);
}

size_t fa_suppressions_count(const struct fa_suppressions *set)
{
	return set ? set->n_rules : 0;
}

const struct fa_suppression *fa_suppressions_at(const struct fa_suppressions *set, size_t index)
{
	return &set->rules[index].info;
}

ptrdiff_t fa_suppressions_match(const struct fa_suppressions *set, enum fa_suppress_kind kind,
				unsigned kinds, const struct fa_suppress_frame *frames, size_t n)
{
	for (size_t i = 0; set && i < set->n_rules; i++) {
		const struct rule *rule = &set->rules[i];

		if (rule->kind != kind || (kind == FA_SUPPRESS_LEAK && !(rule->leak_kinds & kinds)))
			continue;
		if (rule->pattern ? lsan_matches(rule, frames, n)
				  : valgrind_matches(rule, frames, n))
			return (ptrdiff_t)i;
	}
	return -1;
}

/* ---- the call ----------------------------------------------------------------------------------
 */

struct fa_suppress_frame fa_suppress_call(unsigned api)
{
	static const struct {
		const char *function, *linkage;
	} operators[] = {
		[FT_API_NEW] = {"operator new(unsigned long)", "_Znwm"},
		[FT_API_NEW_ARRAY] = {"operator new[](unsigned long)", "_Znam"},
		[FT_API_NEW_ALIGNED] = {"operator new(unsigned long, std::align_val_t)",
					"_ZnwmSt11align_val_t"},
		[FT_API_NEW_ARRAY_ALIGNED] = {"operator new[](unsigned long, std::align_val_t)",
					      "_ZnamSt11align_val_t"},
		[FT_API_DELETE] = {"operator delete(void*)", "_ZdlPv"},
		[FT_API_DELETE_ARRAY] = {"operator delete[](void*)", "_ZdaPv"},
		[FT_API_DELETE_SIZED] = {"operator delete(void*, unsigned long)", "_ZdlPvm"},
		[FT_API_DELETE_ARRAY_SIZED] = {"operator delete[](void*, unsigned long)",
					       "_ZdaPvm"},
		[FT_API_DELETE_ALIGNED] = {"operator delete(void*, std::align_val_t)",
					   "_ZdlPvSt11align_val_t"},
		[FT_API_DELETE_ARRAY_ALIGNED] = {"operator delete[](void*, std::align_val_t)",
						 "_ZdaPvSt11align_val_t"},
	};

	if (api == FT_API_UNKNOWN || api >= FT_API_N)
		return (struct fa_suppress_frame){.call = true};
	if (api < sizeof(operators) / sizeof(*operators) && operators[api].function)
		return (struct fa_suppress_frame){.function = operators[api].function,
						  .linkage = operators[api].linkage,
						  .call = true};

	const char *name = ft_api_name((enum ft_api)api);

	return (struct fa_suppress_frame){.function = name, .linkage = name, .call = true};
}

/* SPDX-License-Identifier: MIT */
/*
 * LeakSanitizer's suppressions
 *
 * Format and meaning as documented in clang's documentation of AddressSanitizer and
 * LeakSanitizer: one `leak:PATTERN` a line.
 */
#include <string.h>

#include "suppress_impl.h"

struct ft_error *lsan_parse(struct fa_suppressions *set, struct line_reader *reader)
{
	while (line_next_used(reader)) {
		static const char kind[] = "leak:";
		size_t skip = sizeof(kind) - 1;

		if (reader->len < skip || memcmp(reader->text, kind, skip) != 0)
			return line_error(reader,
					  "neither 'leak:PATTERN' (LeakSanitizer) nor an entry "
					  "in braces (Valgrind): '%.*s'",
					  (int)(reader->len < 60 ? reader->len : 60), reader->text);

		const char *pattern =
			ft_arena_strndup(&set->arena, reader->text + skip, reader->len - skip);

		if (!pattern)
			return &ft_enomem;
		FT_TRY(rule_add(set, &(struct rule){
					     .info = {.name = pattern,
						      .path = reader->path,
						      .line = reader->number},
					     .kind = FA_SUPPRESS_LEAK,
					     .leak_kinds = FA_LEAK_ALL,
					     .pattern = pattern,
				     }));
	}
	return NULL;
}

/* The first place at or after `text` where `part` stands, or NULL. */
static const char *find_part(const char *text, const char *part, size_t len)
{
	size_t rest = strlen(text);

	for (; rest >= len; text++, rest--)
		if (!memcmp(text, part, len))
			return text;
	return NULL;
}

/*
 * Parts between '*' must be found one after the other. '^' ties the first part to the begin, '$'
 * says that the text has ended, unless a '*' is right before it; what follows a '$' is not looked
 * at. Nothing matches the empty text.
 */
static bool pattern_matches(const char *pattern, const char *text)
{
	bool tied = false, after_star = false;

	if (!text || !*text)
		return false;
	if (*pattern == '^') {
		tied = true;
		pattern++;
	}
	while (*pattern) {
		if (*pattern == '*') {
			tied = false;
			after_star = true;
			pattern++;
			continue;
		}
		if (*pattern == '$')
			return !*text || after_star;
		if (!*text)
			return false;

		size_t len = strcspn(pattern, "*$");
		const char *found = find_part(text, pattern, len);

		if (!found || (tied && found != text))
			return false;
		text = found + len;
		pattern += len;
		tied = after_star = false;
	}
	return true;
}

bool lsan_matches(const struct rule *rule, const struct fa_suppress_frame *frames, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *module = frames[i].module ? frames[i].module : "<unknown module>";

		if ((!frames[i].call && pattern_matches(rule->pattern, module)) ||
		    pattern_matches(rule->pattern, frames[i].function) ||
		    pattern_matches(rule->pattern, public_name(&frames[i])) ||
		    pattern_matches(rule->pattern, frames[i].file))
			return true;
	}
	return false;
}

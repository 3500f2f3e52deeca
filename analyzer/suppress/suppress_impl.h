/* SPDX-License-Identifier: MIT */
/* What the files of this layer share. */
#ifndef SUPPRESS_IMPL_H
#define SUPPRESS_IMPL_H

#include "fa_suppress.h"
#include "ft_arena.h"

enum caller_kind { CALLER_FUNCTION, CALLER_OBJECT, CALLER_SOURCE, CALLER_ANY };

/* A line of a Valgrind entry. Texts are in the set's arena. */
struct caller {
	enum caller_kind kind;
	const char *pattern;
	const char *readable;	  /* demangled; NULL unless the pattern is one mangled name */
	const char **identifiers; /* NULL-terminated; NULL unless mangled with wildcards */
	int64_t line;		  /* of a source; 0: any */
};

struct rule {
	struct fa_suppression info;
	enum fa_suppress_kind kind;
	unsigned leak_kinds;
	const char *pattern; /* LSan; else NULL */
	const struct caller *callers;
	size_t n_callers;
};

struct fa_suppressions {
	struct ft_arena arena;
	struct rule *rules;
	size_t n_rules, capacity;
};

/* Lines of a text, one after the other, without blanks at their ends. */
struct line_reader {
	const char *path, *at, *end;
	const char *text; /* of the line at hand, not terminated */
	size_t len;
	unsigned number; /* from 1 */
};

/* False at the end of the text. */
bool line_next(struct line_reader *reader);
/* The same, past empty lines and comments. */
bool line_next_used(struct line_reader *reader);
__attribute__((format(printf, 2, 3))) struct ft_error *line_error(const struct line_reader *reader,
								  const char *format, ...);

struct ft_error *rule_add(struct fa_suppressions *set, const struct rule *rule);

/*
 * The C library's functions have internal names in its debug information (__strdup, __GI___strdup)
 * and public ones in its symbol table: the public one, or NULL when there is no other.
 */
const char *public_name(const struct fa_suppress_frame *frame);

/* lsan.c */
struct ft_error *lsan_parse(struct fa_suppressions *set, struct line_reader *reader);
bool lsan_matches(const struct rule *rule, const struct fa_suppress_frame *frames, size_t n);

/* valgrind.c */
struct ft_error *valgrind_parse(struct fa_suppressions *set, struct line_reader *reader);
bool valgrind_matches(const struct rule *rule, const struct fa_suppress_frame *frames, size_t n);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Suppressions: which allocations somebody has already looked at
 *
 * Two formats are read, each with its own tool's meaning, so that a project's existing file works.
 *
 * LeakSanitizer: lines `leak:PATTERN`, comments with '#'. A pattern matches when it is found
 * anywhere in the path of a module, in a function or in a source file of any frame; `*` stands for
 * any text, `^` at the begin and `$` at the end tie it to the ends.
 *
 * Valgrind: entries `{ NAME / TOOLS:KIND / frames }`. Frames are compared from the allocation call
 * outwards: `fun:`, `obj:` and `src:FILE[:LINE]` with the wildcards `*` and `?`, and `...` for any
 * number of frames. The stack may go on behind the last one. Entries of kind Leak are about
 * leaks, those of kind Free about bad frees; others, and those of other tools, are read and have no
 * effect.
 *
 * Valgrind compares mangled names, recordings hold readable ones. A pattern without a wildcard is
 * made readable. In a pattern with wildcards the identifiers count (`_ZN3Foo3bar*`: Foo and bar in
 * this order). As an addition, a pattern with a readable C++ name (`fun:Foo::bar*`) is compared
 * with it as it is.
 */
#ifndef FA_SUPPRESS_H
#define FA_SUPPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_error.h"
#include "ft_strbuf.h"

struct fa_suppressions;

enum fa_suppress_kind { FA_SUPPRESS_LEAK = 1, FA_SUPPRESS_FREE = 2 };

/* Memcheck's leak kinds, as bits. */
enum fa_leak_kinds {
	FA_LEAK_DEFINITE = 1,
	FA_LEAK_INDIRECT = 2,
	FA_LEAK_POSSIBLE = 4,
	FA_LEAK_REACHABLE = 8,
	FA_LEAK_ALL = 15,
};

/* A frame to compare with; NULL and 0 where unknown. */
struct fa_suppress_frame {
	const char *function; /* as people read it */
	const char *linkage;  /* the symbol itself, where it is known */
	const char *file;
	int64_t line;
	const char *module; /* path */
	bool inlined;	    /* the next frame is at the same address */
	bool call; /* the call of the allocation family itself; without a name: one of them */
};

struct fa_suppression {
	const char *name; /* LSan: the pattern; Valgrind: the entry's name */
	const char *path; /* of the file it is from */
	unsigned line;	  /* where it begins */
};

struct ft_error *fa_suppressions_create(struct fa_suppressions **ret);
void fa_suppressions_destroy(struct fa_suppressions *set); /* NULL is fine */

/*
 * Add the suppressions of a file, of either format. FT_ERROR_OS when it can't be read,
 * FT_ERROR_INPUT with "PATH:LINE: what is wrong" in the message; the set is then as it was.
 */
struct ft_error *fa_suppressions_read(struct fa_suppressions *set, const char *path);

/* The same for a text of `len` bytes; `path` is for messages. */
struct ft_error *fa_suppressions_parse(struct fa_suppressions *set, const char *path,
				       const char *text, size_t len);

size_t fa_suppressions_count(const struct fa_suppressions *set);
/* By index; borrowed. */
const struct fa_suppression *fa_suppressions_at(const struct fa_suppressions *set, size_t index);

/*
 * The index of the first suppression that covers a leak (`kinds`: what it may be, FA_LEAK_ALL when
 * that is unknown) or a bad free, or -1. `frames` are innermost first and begin with the call of
 * the allocation family itself.
 */
ptrdiff_t fa_suppressions_match(const struct fa_suppressions *set, enum fa_suppress_kind kind,
				unsigned kinds, const struct fa_suppress_frame *frames, size_t n);

/* ---- writing -----------------------------------------------------------------------------------
 */

enum fa_suppress_format { FA_SUPPRESS_LSAN, FA_SUPPRESS_VALGRIND };

/*
 * Append a suppression that covers this stack: for Valgrind the stack frame by frame, for LSan the
 * function `name` wherever it stands. Comments of the caller's may stand around it.
 */
void fa_suppress_print(enum fa_suppress_format format, const char *name,
		       const struct fa_suppress_frame *frames, size_t n, struct ft_strbuf *out);

/* How the call behind an event looks as a frame. */
struct fa_suppress_frame fa_suppress_call(unsigned api);

#endif

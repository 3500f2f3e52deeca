/* SPDX-License-Identifier: MIT */
/*
 * The table of options: it drives parsing (options.c), --help, and completions (completion.c)
 */
#ifndef FA_CLI_OPTION_ROWS_H
#define FA_CLI_OPTION_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli.h"

enum option_id {
	OPT_HELP = 'h',
	OPT_OUTPUT = 'o',
	OPT_FORCE = 'f',
	OPT_TOP = 'n',
	OPT_QUIET = 'q',
	OPT_BATCH = 'b',
	OPT_DELAY = 'd',
	OPT_JSON = 256,
	OPT_CSV,
	OPT_FROM,
	OPT_TO,
	OPT_AT,
	OPT_SITES,
	OPT_PAGES,
	OPT_SERIES,
	OPT_QUICK,
	OPT_FAST,
	OPT_SVG,
	OPT_MIN_BLOCK,
	OPT_ARENA,
	OPT_UNMOVABLE,
	OPT_BY,
	OPT_SORT,
	OPT_NO_WAIT,
	OPT_NO_KEYFRAMES,
	OPT_JOBS,
	OPT_COLOR,
	OPT_ASCII,
	OPT_UNITS,
	OPT_LANG,
	OPT_PER,
	OPT_LIMIT,
	OPT_MAX_GROWTH,
	OPT_MAX_LIVE,
	OPT_MAX_RSS,
	OPT_MAX_ERRORS,
	OPT_BASELINE,
	OPT_FORMAT,
	OPT_ALLOW_PARTIAL,
	OPT_SUPPRESSIONS,
	OPT_PRINT_SUPPRESSIONS,
	OPT_VERSION,
	OPT_EXPORT_FORMAT,
	OPT_METRIC,
	OPT_ROWS,
	OPT_REDACT,
	OPT_MAX_HTML_SIZE,
	OPT_ITERATIONS,
	OPT_TOP_SITES,
	OPT_TOP_SORT,
	OPT_FILTER,
};

struct option_row {
	const char *name, *argument, *help; /* an argument in brackets may be left out */
	int id;				    /* a letter is also its short form, but see `letter` */
	const char *const *choices;	    /* words that the argument is one of; NULL: not words */
	const char *word; /* by which verbs name it; NULL: its name (verbs share a name for
			   * different things) */
	char letter;	  /* the short form, where the letter means another option elsewhere */
};

/* The short form of an option, 0: it has none. */
static inline char option_letter(const struct option_row *row)
{
	return row->letter ? row->letter : row->id < 256 ? (char)row->id : '\0';
}

enum { OPTION_ROWS_MAX = 64 };
extern const struct option_row option_rows[]; /* ends with a NULL name */
extern const char *const redact_words[];      /* of --redact */

const struct option_row *option_row_by_id(int id);
/* Row `index` of those that a verb takes, in the order of its help, the common ones last; NULL past
 * the end. */
const struct option_row *option_row_of(const struct cli_verb *verb, size_t index);

#endif

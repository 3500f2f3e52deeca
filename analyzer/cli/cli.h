/* SPDX-License-Identifier: MIT */
/*
 * fraganalyze: what its files share
 *
 * stdout is the result, stderr is progress and warnings. Text is rendered from the analysis
 * document, the same that --json prints and the HTML report holds.
 */
#ifndef FA_CLI_H
#define FA_CLI_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "fa_compare.h"
#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_export.h"
#include "fa_format.h"
#include "fa_json_read.h"
#include "fa_top_view.h"

enum cli_status {
	CLI_OK = 0,
	CLI_FAILED = 1, /* or, of check and errors: something is wrong with the program */
	CLI_USAGE = 2,
	CLI_INPUT = 3,	 /* missing, can't be opened, no recording, damaged, newer */
	CLI_PARTIAL = 4, /* check: nothing is wrong, but not all of it could be judged */
	CLI_INTERRUPTED = 130,
};

enum cli_color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };
/* Orders of `sites`. */
enum cli_sort {
	SORT_PEAK,
	SORT_ALLOCATED,
	SORT_TEMPORARY,
	SORT_LIVE,
	SORT_COUNT,
	SORT_REALLOC,
	SORT_LARGEST
};
enum cli_format { FORMAT_TEXT, FORMAT_MARKDOWN, FORMAT_JUNIT, FORMAT_SARIF };
enum cli_by { BY_LIVE, BY_PEAK, BY_ALLOCATED, BY_TEMPORARY };

enum { CLI_MAX_SUPPRESSIONS = 64, CLI_MAX_UNMOVABLE = 64 };

struct cli_options {
	const char *path;	 /* the recording */
	const char *second_path; /* of diff */
	const char *per;	 /* label of marks that count operations */
	const char *sql;
	const char *from, *to, *at; /* as typed; see cli_parse_time(); from and to may be labels of
				     * marks, `at` is "peak", too */
	uint64_t limit_bytes;	    /* 0: not given */
	const char *output, *lang;
	const char *suppressions[CLI_MAX_SUPPRESSIONS]; /* files */
	unsigned n_suppressions;
	const char *print_suppressions; /* "lsan", "valgrind", or NULL */
	unsigned top;			/* 0: the verb's own number */
	unsigned jobs;			/* 0: as processors are there */
	enum cli_color color;
	enum cli_by by;
	enum cli_sort sort;
	enum cli_format format;
	const char *unmovable[CLI_MAX_UNMOVABLE]; /* sites that stay where they are */
	unsigned n_unmovable;
	uint64_t min_block, arena_bytes;
	const char *baseline;
	double max_growth; /* bytes a second */
	const char *max_growth_text;
	uint64_t max_live, max_rss, max_errors;
	bool has_max_growth, has_max_live, has_max_rss, allow_partial;
	const char *svg;
	const char *export_format;
	enum fa_metric metric;
	unsigned redact;	 /* FA_REDACT_... */
	uint64_t max_html_bytes; /* 0: the default */
	bool timeline_rows;	 /* export csv: moments, not sites */
	bool sites, pages, series;
	bool batch;
	unsigned iterations; /* 0: without end */
	double delay_s;	     /* 0: the default */
	enum fa_top_sort top_sort;
	bool has_top_sort;
	const char *filter;
	bool quick;		/* from the small tables alone */
	uint64_t rolled_events; /* see fa_options */
	bool opened_before;	/* internal: what there is to say of its state was said */
	bool json, csv, force, no_wait, no_keyframes, ascii, plain_bytes, quiet;
};

struct cli_verb {
	const char *name, *summary, *operands, *example;
	const char *options; /* names of the options it takes, blank-separated, in --help's order */
	const char *const *passes; /* NULL: does not replay; see analyse.c */
	int (*run)(const struct cli_verb *verb, const struct cli_options *options);
};

extern const struct cli_verb cli_verbs[]; /* ends with a NULL name */
const struct cli_verb *cli_verb_find(const char *name);

/* ---- options.c, option_rows.c
 * ---------------------------------------------------------------------------------
 */

/* Parse what follows the verb. Returns CLI_OK and fills `ret`, or has said what is wrong (or
 * printed the help: *done). */
int cli_parse(const struct cli_verb *verb, int argc, char **argv, struct cli_options *ret,
	      bool *done);
void cli_print_help(const struct cli_verb *verb); /* NULL: of the program */

/*
 * "90", "90s", "1.5h", "1h30m", "250ms": since the start; with "-" before: back from the end.
 * False when it is none of these.
 */
bool cli_parse_time(const char *text, uint64_t end_ns, uint64_t *ret);

/* "4096", "64KiB", "1.5 MiB", "2GB" (1000s); false when it is no size. */
bool cli_parse_size(const char *text, uint64_t *ret);
/* A size, '/' and a unit of time, "1MiB/h"; bytes a second. */
bool cli_parse_rate(const char *text, double *ret);

/* ---- analyse.c ---------------------------------------------------------------------------------
 */

__attribute__((format(printf, 1, 2))) void cli_warn(const char *format, ...);

/* Print "fraganalyze: MESSAGE", release the error, and return the exit status it means. */
int cli_fail(struct ft_error *error, int status);
/* The same for an error of reading the recording. */
int cli_fail_input(struct ft_error *error);

/* Open with the warnings that its state deserves. */
struct ft_error *cli_open(const struct cli_options *options, struct ft_reader **ret);

struct cli_analysis {
	struct ft_reader *reader;
	struct fa_engine *engine;
	struct fa_doc *doc;
	struct fa_suppressions *suppressions;
	struct ft_arena arena; /* of parsed sections */
};

/* Open, replay, emit. Returns an exit status, having reported what went wrong. */
int cli_analyse(const struct cli_options *options, const char *const *passes,
		struct cli_analysis *ret);
/* The same up to the moment that --at names, "peak" or a time. */
int cli_analyse_moment(const struct cli_options *options, const char *const *passes,
		       struct cli_analysis *ret);
/* The same for the recording of a machine: the section `node`. */
int cli_analyse_node(const struct cli_options *options, struct cli_analysis *ret);
/* Replay without a pass up to a time, for the engine's own totals and sites. *ret is to be
 * destroyed whatever is returned. */
struct ft_error *cli_replay(const struct cli_options *options, struct ft_reader *reader,
			    uint64_t to_ns, struct fa_engine **ret);
/* What the small tables know, at once: the pass `summary` without a replay. Says nothing when that
 * is not to be had; false then. */
bool cli_glance(const struct cli_options *options, struct cli_analysis *ret);
void cli_analysis_deinit(struct cli_analysis *analysis);

/* The analysis as a side of a comparison; the pass `leaks` must have run. */
struct fa_side cli_side(struct cli_analysis *analysis);

/* A section, parsed; an absent one reads as NULL. */
const struct fa_value *cli_section(struct cli_analysis *analysis, const char *name);

/* Replace in the document what --redact says; the redactor, NULL without it, is the caller's. */
int cli_redact(const struct cli_options *options, struct cli_analysis *analysis,
	       struct fa_redactor **ret);

/* Print a section as the verb's JSON. */
void cli_print_json(const struct cli_analysis *analysis, const char *section);
/* The same with "columns" {name: [values]} behind it: those whose names begin with one of
 * `prefixes`, which ends with NULL. */
void cli_print_json_columns(const struct cli_analysis *analysis, const char *section,
			    const char *const *prefixes);
/* All sections; without the series, which are columns. */
void cli_print_document(const struct cli_analysis *analysis);

/* From here on the first SIGINT only sets what cli_interrupted() returns; the second one kills. */
void cli_catch_interrupt(void);
bool cli_interrupted(void);

/* ---- output.c ----------------------------------------------------------------------------------
 */

/* Writes a result; `out` is flushed or closed by the caller. */
typedef struct ft_error *(*cli_writer)(void *ctx, FILE *out);

/* Before the work: whether cli_write_output() would refuse to overwrite. Says so. */
int cli_check_output(const char *path, bool force);
/* Write to `path`, "-" for stdout. An existing file is replaced with `force` only, and by a whole
 * one. */
struct ft_error *cli_write_output(const char *path, bool force, cli_writer write, void *ctx);

/* ---- term.c ------------------------------------------------------------------------------------
 */

enum term_style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_RED, STYLE_YELLOW, STYLE_GREEN };

void term_init(const struct cli_options *options);
unsigned term_width(void); /* 0: a pipe, nothing is cut */
const char *term_on(enum term_style style);
const char *term_off(void);
enum term_style term_severity_style(const char *severity);

/* Print text of the recording: control characters become '?', and it is cut to `width` columns
 * (0: not at all) with "..." at its end. */
void term_text(const char *text, unsigned width);
/* The name of a function, short; see fa_name_short(). In a pipe it is as it is. */
void term_name(const char *function, unsigned width);
/* The same over several lines, broken at blanks, further lines indented. */
void term_wrapped(const char *text, unsigned first_column, unsigned indent);
/* How many lines it would take. */
unsigned term_wrapped_lines(const char *text, unsigned first_column, unsigned indent);
/* A line of bars, `width` columns, the highest of `values` within each column; 0..max. */
void term_spark(const uint64_t *values, size_t n, uint64_t max, unsigned width);

/* "+-12 %", the relative error that the row has as `key`, `width` columns wide; "-" where it is
 * null, "" where the row has no such key: the figure is exact. */
const char *term_error(const struct fa_value *row, const char *key, int width, struct fa_text *out);
/* One line that says so, where a section's figures are estimates. */
void term_estimated(const struct fa_value *section);

const char *term_bytes(uint64_t bytes, struct fa_text *out); /* honours --units */
const char *term_rate(double bytes_per_s, struct fa_text *out);

/* "    #0 function at file:line (module+0x12)", one line a frame; at most `max`. */
void term_stack(const struct fa_value *stack, size_t max);
/* A frame on one line without its end. */
void term_frame(const struct fa_value *frame, unsigned width);

/* ---- the verbs, a file each --------------------------------------------------------------------
 */

int verb_summary(const struct cli_verb *verb, const struct cli_options *options);
int verb_leaks(const struct cli_verb *verb, const struct cli_options *options);
int verb_sites(const struct cli_verb *verb, const struct cli_options *options);
int verb_threads(const struct cli_verb *verb, const struct cli_options *options);
int verb_map(const struct cli_verb *verb, const struct cli_options *options);
int verb_frag(const struct cli_verb *verb, const struct cli_options *options);
int verb_buddy(const struct cli_verb *verb, const struct cli_options *options);
int verb_compact(const struct cli_verb *verb, const struct cli_options *options);
int verb_check(const struct cli_verb *verb, const struct cli_options *options);
int verb_diff(const struct cli_verb *verb, const struct cli_options *options);
int verb_export(const struct cli_verb *verb, const struct cli_options *options);
int verb_completion(const struct cli_verb *verb, const struct cli_options *options);
int verb_node(const struct cli_verb *verb, const struct cli_options *options);
int verb_errors(const struct cli_verb *verb, const struct cli_options *options);
int verb_report(const struct cli_verb *verb, const struct cli_options *options);
int verb_query(const struct cli_verb *verb, const struct cli_options *options);
int verb_top(const struct cli_verb *verb, const struct cli_options *options);
int verb_resolve(const struct cli_verb *verb, const struct cli_options *options);

#endif

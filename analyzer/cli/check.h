/* SPDX-License-Identifier: MIT */
/*
 * fraganalyze check: what its files share
 *
 * A check is a list of criteria that were looked at, each with its findings; the formats write the
 * same list.
 */
#ifndef FA_CLI_CHECK_H
#define FA_CLI_CHECK_H

#include "cli.h"
#include "ft_strbuf.h"

enum check_level {
	CHECK_NOTE,    /* said, and no more */
	CHECK_WARNING, /* does not fail the check */
	CHECK_ERROR,   /* fails it */
};

/* Where in the source a finding is; NULL and 0 where unknown. */
struct check_place {
	const char *function, *file;
	uint64_t line;
	const struct fa_value *stack;
};

struct check_finding {
	const char *criterion; /* of the list below; static */
	const char *code;      /* "growing", "max_live", ...: stable, static */
	enum check_level level;
	const char *text; /* one line */
	struct check_place place;
};

/* One thing that was asked for. */
struct check_criterion {
	const char *name, *title; /* static */
	const char *unjudged;	  /* why it could not be judged; NULL: it was */
};

enum { CHECK_MAX_CRITERIA = 8 };

struct check_result {
	const char *path, *program;
	uint64_t duration_ns;
	struct check_criterion criteria[CHECK_MAX_CRITERIA];
	size_t n_criteria;
	struct check_finding *findings;
	size_t n_findings, capacity;
	size_t n_errors, n_warnings, n_unjudged;
	int status; /* exit status */
};

/* check_format.c: append the result in a format. */
void check_write_text(const struct check_result *result, struct ft_strbuf *out);
void check_write_markdown(const struct check_result *result, struct ft_strbuf *out);
void check_write_junit(const struct check_result *result, struct ft_strbuf *out);
void check_write_json(const struct check_result *result, struct ft_strbuf *out);
void check_write_sarif(const struct check_result *result, struct ft_strbuf *out);

#endif

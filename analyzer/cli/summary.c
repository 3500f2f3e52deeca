/* SPDX-License-Identifier: MIT */
/* fraganalyze summary: the verdict, the numbers, the suspects and what to type next; 25 lines. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "ft_cleanup.h"

enum {
	LINES = 25,
	LINES_FIXED = 13, /* head, numbers, sparks, next, and what is empty between them */
	LINES_TABLE = 2,  /* of the suspects, beside its rows */
	SUSPECTS = 5,
	NOTES = 3,
	LABEL = 8, /* columns */
	SPARK_WIDTH = 56
};

static void print_head(const struct fa_value *summary)
{
	const struct fa_value *program = fa_value_get(summary, "program");
	const struct fa_value *totals = fa_value_get(summary, "totals");
	uint64_t threads = fa_value_u64(summary, "threads");
	struct fa_text duration, events;
	const char *name = fa_value_text(program, "name");

	printf("%s", term_on(STYLE_BOLD));
	term_text(name ? name : "(unknown program)", 32);
	printf("%s (pid %" PRId64 ")  %s  %s events  %" PRIu64 " thread%s\n", term_off(),
	       fa_value_i64(program, "pid"),
	       fa_format_time(fa_value_u64(summary, "duration_ns"), &duration),
	       fa_format_count(fa_value_u64(totals, "events"), &events), threads,
	       threads == 1 ? "" : "s");
	if (fa_value_true(summary, "estimated"))
		printf("estimated from a sample of one block per %s; +- is one standard error\n",
		       fa_format_bytes(fa_value_u64(summary, "sample_bytes"), &duration));
}

/* "HIGH  sentence", the sentence over as many lines as it needs. */
static void print_judgement(const struct fa_value *finding)
{
	const char *severity = fa_value_text(finding, "severity");
	const char *text = fa_value_text(finding, "text");
	char label[8] = "";

	for (size_t i = 0; severity && severity[i] && i < sizeof(label) - 1; i++)
		label[i] = (char)toupper((unsigned char)severity[i]);
	printf("%s%-6s%s  ", term_on(term_severity_style(severity)), label, term_off());
	term_wrapped(text ? text : "", LABEL, LABEL);
}

static unsigned judgement_lines(const struct fa_value *finding)
{
	const char *text = fa_value_text(finding, "text");

	return term_wrapped_lines(text ? text : "", LABEL, LABEL);
}

static void print_numbers(const struct fa_value *summary)
{
	const struct fa_value *totals = fa_value_get(summary, "totals");
	const struct fa_value *rss = fa_value_get(summary, "rss");
	struct fa_text a, b, c, d;

	printf("  live at end  %-10s%s in %s blocks\n",
	       term_bytes(fa_value_u64(totals, "live_bytes"), &a),
	       term_error(totals, "live_bytes_relative_error", 8, &d),
	       fa_format_count(fa_value_u64(totals, "live_blocks"), &b));
	printf("  peak         %-10s%s at %s\n", term_bytes(fa_value_u64(totals, "peak_bytes"), &a),
	       term_error(totals, "peak_bytes_relative_error", 8, &d),
	       fa_format_time(fa_value_u64(totals, "peak_ns"), &b));
	printf("  allocated    %-10s%s in %s calls; %s blocks freed\n",
	       term_bytes(fa_value_u64(totals, "bytes_allocated"), &a),
	       term_error(totals, "bytes_allocated_relative_error", 8, &d),
	       fa_format_count(fa_value_u64(totals, "allocations"), &b),
	       fa_format_count(fa_value_u64(totals, "frees"), &c));
	if (fa_value_is_null(rss))
		puts("  RSS          not sampled");
	else
		printf("  RSS          %-10s at the end, %s at most\n",
		       term_bytes(fa_value_u64(rss, "last"), &a),
		       term_bytes(fa_value_u64(rss, "max"), &b));
}

/* RSS samples on the ticks of the timeline: the latest one at each. */
static uint64_t *rss_on_ticks(const struct fa_doc *doc, const struct fa_column *ticks)
{
	const struct fa_column *times = fa_doc_column_find(doc, "rss.time_ns");
	const struct fa_column *bytes = fa_doc_column_find(doc, "rss.bytes");
	uint64_t *values;
	size_t k = 0;

	if (!times || !bytes || !times->n)
		return NULL;
	values = calloc(ticks->n + 1, sizeof(*values));
	for (size_t i = 0; values && i < ticks->n; i++) {
		while (k + 1 < times->n &&
		       ((const uint64_t *)times->data)[k + 1] <= ((const uint64_t *)ticks->data)[i])
			k++;
		values[i] = ((const uint64_t *)bytes->data)[k];
	}
	return values;
}

static uint64_t maximum(const uint64_t *values, size_t n)
{
	uint64_t high = 0;

	for (size_t i = 0; i < n; i++)
		high = values[i] > high ? values[i] : high;
	return high;
}

/* Each on its own scale, named at its end: on a common one the smaller is a flat line. */
static void print_sparks(const struct fa_doc *doc)
{
	const struct fa_column *ticks = fa_doc_column_find(doc, "timeline.time_ns");
	const struct fa_column *live = fa_doc_column_find(doc, "timeline.peak_bytes");
	struct fa_text text;

	if (!ticks || !live || !live->n)
		return;

	ft_auto_free uint64_t *rss = rss_on_ticks(doc, ticks);
	uint64_t live_max = maximum(live->data, live->n);
	uint64_t rss_max = rss ? maximum(rss, ticks->n) : 0;

	fputs("  live |", stdout);
	term_spark(live->data, live->n, live_max, SPARK_WIDTH);
	printf("| %s\n", term_bytes(live_max, &text));
	if (rss) {
		fputs("  RSS  |", stdout);
		term_spark(rss, ticks->n, rss_max, SPARK_WIDTH);
		printf("| %s\n", term_bytes(rss_max, &text));
	}
}

static const struct fa_value *next_suspect(const struct fa_value *leaks,
					   const struct fa_value *const *shown, size_t n_shown)
{
	const struct fa_value *best = NULL;

	for (const struct fa_value *row = leaks ? leaks->first : NULL; row; row = row->next) {
		bool seen = false;

		for (size_t i = 0; i < n_shown; i++)
			seen |= shown[i] == row;
		if (!seen && (!best || fa_value_u64(row, "score") > fa_value_u64(best, "score")))
			best = row;
	}
	return best && fa_value_u64(best, "score") >= 10 ? best : NULL;
}

static void print_suspects(const struct fa_value *leaks, size_t max)
{
	const struct fa_value *shown[SUSPECTS];
	unsigned width = term_width();

	for (size_t n = 0; n < SUSPECTS && n < max; n++) {
		const struct fa_value *row = next_suspect(leaks, shown, n);
		struct fa_text bytes, blocks, rate;

		if (!row)
			return;
		shown[n] = row;
		if (n == 0)
			printf("\n%s  %10s %8s %12s  %-11s  %s%s\n", term_on(STYLE_BOLD), "LIVE",
			       "BLOCKS", "RATE", "VERDICT", "SITE", term_off());
		printf("  %10s %8s %12s  %-11s  ", term_bytes(fa_value_u64(row, "bytes"), &bytes),
		       fa_format_count(fa_value_u64(row, "blocks"), &blocks),
		       fa_value_is_null(fa_value_get(row, "rate_bytes_per_s"))
			       ? "-"
			       : term_rate(fa_value_f64(row, "rate_bytes_per_s"), &rate),
		       fa_value_text(row, "verdict"));
		term_name(fa_value_text(row, "name"), width > 60 ? width - 50 : width ? 30 : 0);
		putchar('\n');
	}
}

/* A path as a shell takes it: in quotes unless it is plain. */
static void print_quoted(const char *path)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-./+:,@%";

	if (*path && strspn(path, plain) == strlen(path)) {
		fputs(path, stdout);
		return;
	}
	putchar('\'');
	for (const char *p = path; *p; p++)
		if (*p == '\'')
			fputs("'\\''", stdout);
		else
			putchar((unsigned char)*p < 0x20 ? '?' : *p);
	putchar('\'');
}

static void print_next(const char *path, bool estimated)
{
	static const char *const verbs[] = {"leaks", "frag", "report"};
	static const char *const why[] = {"the stacks", "the layout: pages, holes",
					  "all of it as HTML"};

	for (size_t i = 0; i < 3; i++) {
		/* Of a sample the layout can't be told. */
		if (estimated && i == 1)
			continue;
		printf("%s fraganalyze %-6s ", i ? "     " : "next:", verbs[i]);
		print_quoted(path);
		printf("   %s# %s%s\n", term_on(STYLE_DIM), why[i], term_off());
	}
}

int verb_summary(const struct cli_verb *verb, const struct cli_options *options)
{
	struct cli_analysis a;
	int status = cli_analyse(options, verb->passes, &a);

	if (status != CLI_OK)
		return status;
	if (options->json) {
		cli_print_json(&a, "summary");
		cli_analysis_deinit(&a);
		return CLI_OK;
	}

	const struct fa_value *summary = cli_section(&a, "summary");
	const struct fa_value *verdict = fa_value_get(summary, "verdict");
	const struct fa_value *findings = fa_value_get(summary, "findings");
	const char *said = fa_value_text(verdict, "text");
	bool estimated = fa_value_true(summary, "estimated");
	unsigned notes = 0, lines = judgement_lines(verdict) + estimated, room;

	print_head(summary);
	print_judgement(verdict);
	for (const struct fa_value *f = findings ? findings->first : NULL; f && notes < NOTES;
	     f = f->next) {
		const char *text = fa_value_text(f, "text");
		const char *code = fa_value_text(f, "code");

		/* What grows is in the table below, and the head says what is estimated. */
		if (!text || (said && !strcmp(text, said)) || !strcmp(code, "growing") ||
		    !strcmp(code, "suspect") || !strcmp(code, "estimated"))
			continue;
		if (lines + judgement_lines(f) > LINES - LINES_FIXED - LINES_TABLE - SUSPECTS)
			break;
		print_judgement(f);
		lines += judgement_lines(f);
		notes++;
	}
	putchar('\n');
	print_numbers(summary);
	putchar('\n');
	print_sparks(a.doc);
	/* A long sentence takes the place of rows of the table, but not of the first. */
	room = lines + 1 < LINES - LINES_FIXED - LINES_TABLE
		       ? LINES - LINES_FIXED - LINES_TABLE - lines
		       : 1;
	print_suspects(fa_value_get(cli_section(&a, "leaks"), "leaks"), room);
	putchar('\n');
	print_next(options->path, estimated);
	cli_analysis_deinit(&a);
	return CLI_OK;
}

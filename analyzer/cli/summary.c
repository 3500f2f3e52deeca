/* SPDX-License-Identifier: MIT */
/* fraganalyze summary: the verdict, the numbers, the suspects and what to type next; 25 lines. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "ft_cleanup.h"

enum {
	LINES = 25,
	LINES_FIXED = 13, /* head, numbers, sparks, next, and what is empty between them */
	LINES_TABLE = 2,  /* of the suspects, beside its rows */
	SUSPECTS = 5,
	NOTES = 3,
	LABEL = 8,	  /* columns */
	SPARK_WIDTH = 56, /* at most */
	SCORE_MIN = 10,	  /* of what is worth a row */
	N_NEXT = 3
};

/* So many are replayed in a second or two. */
static const uint64_t rolled_events = 1 << 23;

static void print_head(const struct fa_value *summary)
{
	const struct fa_value *program = fa_value_get(summary, "program");
	const struct fa_value *totals = fa_value_get(summary, "totals");
	uint64_t threads = fa_value_u64(summary, "threads");
	struct fa_text duration, events;
	const char *name = fa_value_text(program, "name");

	printf("%s", term_on(STYLE_BOLD));
	term_text(name ? name : "(unknown program)", term_width() ? 26 : 0);
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
	unsigned width = term_width() && term_width() < 76 ? term_width() - 20 : SPARK_WIDTH;

	fputs("  live |", stdout);
	term_spark(live->data, live->n, live_max, width);
	printf("| %s\n", term_bytes(live_max, &text));
	if (rss) {
		fputs("  RSS  |", stdout);
		term_spark(rss, ticks->n, rss_max, width);
		printf("| %s\n", term_bytes(rss_max, &text));
	}
}

/* A row of the table: a group of sites that grows, or a site of its own. */
struct suspect {
	const struct fa_value *row;
	uint64_t score;
};

static const struct fa_value *group_of(const struct fa_value *groups, const struct fa_value *site)
{
	const struct fa_value *group = groups ? groups->first : NULL;

	if (fa_value_is_null(fa_value_get(site, "group")))
		return NULL;
	for (uint64_t i = fa_value_u64(site, "group"); group && i > 0; i--)
		group = group->next;
	return group;
}

/* Put the row where its score belongs, unless it is there; at most SUSPECTS are kept. */
static size_t insert_suspect(struct suspect *list, size_t n, const struct fa_value *row,
			     uint64_t score)
{
	size_t at = n;

	for (size_t i = 0; i < n; i++)
		if (list[i].row == row)
			return n;
	while (at > 0 && list[at - 1].score < score)
		at--;
	if (at == SUSPECTS)
		return n;
	if (n < SUSPECTS)
		n++;
	memmove(list + at + 1, list + at, (n - at - 1) * sizeof(*list));
	list[at] = (struct suspect){row, score};
	return n;
}

/* The worst rows; sites that one caller answers for are one. */
static size_t find_suspects(const struct fa_value *section, struct suspect *list)
{
	const struct fa_value *leaks = fa_value_get(section, "leaks");
	const struct fa_value *groups = fa_value_get(section, "groups");
	size_t n = 0;

	for (const struct fa_value *site = leaks ? leaks->first : NULL; site; site = site->next) {
		const struct fa_value *group = group_of(groups, site);
		uint64_t score = fa_value_u64(site, "score");

		if (score >= SCORE_MIN)
			n = insert_suspect(list, n, group ? group : site, score);
	}
	return n;
}

static void print_suspects(const struct suspect *list, size_t n)
{
	unsigned width = term_width();

	if (n)
		printf("\n%s  %10s %8s %12s  %-11s  %s%s\n", term_on(STYLE_BOLD), "LIVE", "BLOCKS",
		       "RATE", "VERDICT", "SITE", term_off());
	for (size_t i = 0; i < n; i++) {
		const struct fa_value *row = list[i].row;
		struct fa_text bytes, blocks, rate;

		printf("  %10s %8s %12s  %-11s  ", term_bytes(fa_value_u64(row, "bytes"), &bytes),
		       fa_format_count(fa_value_u64(row, "blocks"), &blocks),
		       fa_value_is_null(fa_value_get(row, "rate_bytes_per_s"))
			       ? "-"
			       : term_rate(fa_value_f64(row, "rate_bytes_per_s"), &rate),
		       fa_value_text(row, "verdict"));
		term_name(fa_value_text(row, "name"), width > 66 ? width - 50 : width ? 16 : 0);
		putchar('\n');
	}
}

/* ---- what to do next ---------------------------------------------------------------------------
 */

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

struct next {
	const char *verb, *why;
};

static void print_command(const char *path, const struct next *next, bool first)
{
	unsigned width = term_width();

	printf("%s fraganalyze %-6s ", first ? "next:" : "     ", next->verb);
	print_quoted(path);
	/* A path that fills the line needs no comment. */
	if (!width || strlen(path) + strlen(next->why) + 32 <= width)
		printf("   %s# %s%s", term_on(STYLE_DIM), next->why, term_off());
	putchar('\n');
}

static bool has_finding(const struct fa_value *findings, const char *section, const char *but)
{
	for (const struct fa_value *f = findings ? findings->first : NULL; f; f = f->next) {
		const char *own = fa_value_text(f, "section");
		const char *code = fa_value_text(f, "code");

		if (own && code && !strcmp(own, section) && strcmp(code, but) != 0)
			return true;
	}
	return false;
}

/* Three commands: what answers the findings first, then what tells more, at last all of it. */
static void print_next(const char *path, const struct fa_value *summary, bool estimated)
{
	static const struct next errors = {"errors", "the bad frees"},
				 leaks = {"leaks", "the stacks"},
				 sites = {"sites", "the peak, lifetimes, reallocs"},
				 frag = {"frag", "the layout: pages, holes"},
				 report = {"report", "all of it as HTML"};
	const struct fa_value *totals = fa_value_get(summary, "totals");
	const struct fa_value *findings = fa_value_get(summary, "findings");
	bool grows = has_finding(findings, "leaks", "plateau");
	/* Most of what there was at the peak is gone: the question is what it was. */
	bool peaked = fa_value_u64(totals, "peak_bytes") / 2 > fa_value_u64(totals, "live_bytes");
	const struct next *list[5];
	size_t n = 0;

	if (has_finding(findings, "errors", ""))
		list[n++] = &errors;
	if (grows || !peaked)
		list[n++] = &leaks;
	/* Of a sample the layout can't be told. */
	if (!estimated && (has_finding(findings, "frag", "fine") || !peaked))
		list[n++] = &frag;
	if (peaked)
		list[n++] = &sites;
	for (size_t i = 0; i < n && i < N_NEXT - 1; i++)
		print_command(path, list[i], i == 0);
	print_command(path, &report, n == 0);
}

static void print_suppressed(const struct fa_value *suppressed)
{
	uint64_t sites = fa_value_u64(suppressed, "sites");
	struct fa_text bytes;

	if (!fa_value_is_null(suppressed))
		printf("  suppressed   %-10s of %" PRIu64 " site%s\n",
		       term_bytes(fa_value_u64(suppressed, "bytes"), &bytes), sites,
		       sites == 1 ? "" : "s");
}

/* Does it say of which stretch every event was looked at? */
static bool is_about_detail(const char *code)
{
	return !strcmp(code, "rolled_up") || !strcmp(code, "from_rollups");
}

/* The verdict and what else there is to say, in at most `max` lines. Returns how many. */
static unsigned print_judgements(const struct fa_value *summary, unsigned max)
{
	const struct fa_value *verdict = fa_value_get(summary, "verdict");
	const struct fa_value *findings = fa_value_get(summary, "findings");
	const char *said = fa_value_text(verdict, "text");
	unsigned notes = 0, lines = judgement_lines(verdict);

	print_judgement(verdict);
	/* All that follows is read by what there is of the recording. */
	for (const struct fa_value *f = findings ? findings->first : NULL; f; f = f->next) {
		const char *text = fa_value_text(f, "text");

		if (!is_about_detail(fa_value_text(f, "code")) ||
		    (said && text && !strcmp(text, said)))
			continue;
		print_judgement(f);
		lines += judgement_lines(f);
		notes++;
	}
	for (const struct fa_value *f = findings ? findings->first : NULL; f && notes < NOTES;
	     f = f->next) {
		const char *text = fa_value_text(f, "text");
		const char *code = fa_value_text(f, "code");

		/* What grows and what is suppressed is said below, what is estimated above. */
		if (!text || (said && !strcmp(text, said)) || !strcmp(code, "growing") ||
		    !strcmp(code, "suspect") || !strcmp(code, "estimated") ||
		    !strcmp(code, "suppressed") || is_about_detail(code))
			continue;
		if (lines + judgement_lines(f) > max)
			break;
		print_judgement(f);
		lines += judgement_lines(f);
		notes++;
	}
	return lines;
}

static void print_summary(struct cli_analysis *a, const char *path)
{
	const struct fa_value *summary = cli_section(a, "summary");
	const struct fa_value *leaks = cli_section(a, "leaks");
	const struct fa_value *suppressed = fa_value_get(leaks, "suppressed");
	bool estimated = fa_value_true(summary, "estimated");
	unsigned fixed = LINES_FIXED + LINES_TABLE + estimated + !fa_value_is_null(suppressed);
	struct suspect suspects[SUSPECTS];
	size_t n = find_suspects(leaks, suspects), room;
	unsigned lines;

	print_head(summary);
	lines = fixed + print_judgements(summary, LINES - fixed - SUSPECTS);
	putchar('\n');
	print_numbers(summary);
	print_suppressed(suppressed);
	putchar('\n');
	print_sparks(a->doc);
	/* A long sentence takes the place of rows of the table, but not of the first. */
	room = lines + 1 < LINES ? LINES - lines : 1;
	print_suspects(suspects, n < room ? n : room);
	putchar('\n');
	print_next(path, summary, estimated);
}

/* ---- what the small tables know ----------------------------------------------------------------
 */

enum { GLANCE_LINES = 7 };

static void print_glance(struct cli_analysis *a)
{
	const struct fa_value *summary = cli_section(a, "summary");

	print_head(summary);
	putchar('\n');
	print_numbers(summary);
	puts("  as the recorder counted");
}

static int quick_summary(const struct cli_options *options)
{
	static const char *const passes[] = {"summary", NULL};
	static const struct next next = {"summary", "the verdict, by a replay"};
	struct cli_analysis a;
	int status = cli_analyse(options, passes, &a);

	if (status != CLI_OK)
		return status;
	if (options->json) {
		cli_print_json(&a, "summary");
	} else {
		print_glance(&a);
		putchar('\n');
		print_command(options->path, &next, true);
	}
	cli_analysis_deinit(&a);
	return CLI_OK;
}

/* On a terminal: the numbers at once; the answer then takes their place. False: nothing shown. */
static bool show_glance(const struct cli_options *options)
{
	struct cli_analysis a;

	/* Where lines wrap, it would not be known how many there are to take back. */
	if (options->json || options->quiet || options->from || options->to ||
	    !isatty(STDOUT_FILENO) || term_width() < 80 || !cli_glance(options, &a))
		return false;
	print_glance(&a);
	fflush(stdout);
	cli_analysis_deinit(&a);
	return true;
}

int verb_summary(const struct cli_verb *verb, const struct cli_options *given)
{
	struct cli_options with_rollups = *given, *options = &with_rollups;
	struct cli_analysis a;
	bool shown;
	int status;

	if (options->quick)
		return quick_summary(options);
	if (!options->rolled_events)
		options->rolled_events = rolled_events;
	shown = show_glance(options);
	status = cli_analyse(options, verb->passes, &a);
	if (status != CLI_OK)
		return status;
	if (shown)
		printf("\033[%dA\r\033[J", GLANCE_LINES);
	if (options->json)
		cli_print_json(&a, "summary");
	else
		print_summary(&a, options->path);
	cli_analysis_deinit(&a);
	return CLI_OK;
}

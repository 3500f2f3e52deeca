/* SPDX-License-Identifier: MIT */
/* fraganalyze diff: what is different between two recordings, site by site. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "fa_compare.h"

enum { DEFAULT_TOP = 10, JSON_TOP = 500, STACK_MAX = 12 };

/* Growth each second, or each operation. */
static const char *rate_text(const struct fa_value *figures, bool per_operation,
			     struct fa_text *out)
{
	const char *key = per_operation ? "bytes_per_operation" : "rate_bytes_per_s";
	double rate = fa_value_f64(figures, key);

	if (fa_value_is_null(fa_value_get(figures, key)))
		return "-";
	if (!per_operation)
		return term_rate(rate, out);
	return term_bytes(rate > 0 ? (uint64_t)(rate + 0.5) : 0, out);
}

static const char *live_text(const struct fa_value *figures, struct fa_text *out)
{
	if (fa_value_is_null(figures))
		return "-";
	return term_bytes(fa_value_u64(figures, "live_bytes"), out);
}

static void print_side(const char *label, const struct fa_value *side, bool per_operation)
{
	struct fa_text duration, live, peak, rate, count;
	const char *name = fa_value_text(side, "program");

	printf("%s%s%s  ", term_on(STYLE_BOLD), label, term_off());
	term_text(fa_value_text(side, "path"), term_width() ? term_width() - 5 : 0);
	fputs("\n   ", stdout);
	term_text(name ? name : "(unknown program)", 32);
	printf(", %s: live %s, peak %s",
	       fa_format_time(fa_value_u64(side, "duration_ns"), &duration),
	       term_bytes(fa_value_u64(side, "live_bytes"), &live),
	       term_bytes(fa_value_u64(side, "peak_bytes"), &peak));
	if (!fa_value_is_null(fa_value_get(side, "rate_bytes_per_s")))
		printf(", grows by %s", term_rate(fa_value_f64(side, "rate_bytes_per_s"), &rate));
	if (per_operation)
		printf(", %s operations",
		       fa_format_count(fa_value_u64(side, "operations"), &count));
	putchar('\n');
}

static void print_notes(const struct fa_value *diff, bool per_operation)
{
	uint64_t rebuilt = fa_value_u64(diff, "rebuilt_modules");
	const char *operation = fa_value_text(diff, "operation");

	if (!fa_value_true(diff, "same_program"))
		puts("These are different programs: only what they share can be compared.");
	if (rebuilt)
		printf("%" PRIu64 " module%s not the same build: compared by the names of "
		       "functions.\n",
		       rebuilt, rebuilt == 1 ? " is" : "s are");
	if (per_operation) {
		fputs("Growth is given for each \"", stdout);
		term_text(operation, 60);
		puts("\".");
	}
}

static void print_row(const struct fa_value *row, bool per_operation)
{
	const struct fa_value *a = fa_value_get(row, "a"), *b = fa_value_get(row, "b");
	const char *status = fa_value_text(row, "status");
	bool worse = fa_value_true(b, "growing") && !fa_value_true(a, "growing");
	struct fa_text rate_a, rate_b, live_a, live_b;

	printf("%s%12s %12s %10s %10s  %-7s  ", term_on(worse ? STYLE_RED : STYLE_BOLD),
	       rate_text(a, per_operation, &rate_a), rate_text(b, per_operation, &rate_b),
	       live_text(a, &live_a), live_text(b, &live_b), status);
	term_name(fa_value_text(row, "name"), term_width() > 80 ? term_width() - 58 : 22);
	printf("%s\n", term_off());
	term_stack(fa_value_get(row, "stack"), STACK_MAX);
}

static void print_diff(const struct fa_value *diff, unsigned top, bool per_operation)
{
	const struct fa_value *sites = fa_value_get(diff, "sites");
	const char *unit = per_operation ? "EACH OP." : "GROWTH";
	unsigned shown = 0;

	print_side("A", fa_value_get(diff, "a"), per_operation);
	print_side("B", fa_value_get(diff, "b"), per_operation);
	print_notes(diff, per_operation);
	printf("Sites: %" PRIu64 " new, %" PRIu64 " gone, %" PRIu64 " changed, %" PRIu64
	       " as before.\n",
	       fa_value_u64(diff, "new"), fa_value_u64(diff, "gone"), fa_value_u64(diff, "changed"),
	       fa_value_u64(diff, "same"));
	for (const struct fa_value *row = sites ? sites->first : NULL; row && shown < top;
	     row = row->next) {
		const char *status = fa_value_text(row, "status");

		if (!strcmp(status, "same"))
			continue;
		if (!shown++)
			printf("\n%s%10s A %10s B %10s %10s  %-7s  SITE%s\n", term_on(STYLE_BOLD),
			       unit, unit, "LIVE A", "LIVE B", "STATUS", term_off());
		print_row(row, per_operation);
	}
}

static struct ft_error *compare(struct cli_analysis *a, struct cli_analysis *b, size_t max,
				struct fa_doc **ret)
{
	struct fa_side of_a = cli_side(a), of_b = cli_side(b);
	struct fa_comparison comparison;

	FT_TRY(fa_doc_create(ret));
	FT_TRY(fa_compare(&of_a, &of_b, &comparison));
	fa_comparison_emit(&comparison, &of_a, &of_b, max, *ret);
	fa_comparison_deinit(&comparison);
	return fa_doc_check(*ret);
}

int verb_diff(const struct cli_verb *verb, const struct cli_options *options)
{
	unsigned top = options->top ? options->top : DEFAULT_TOP;
	struct cli_options own = *options;
	struct cli_analysis a, b;
	struct fa_doc *doc = NULL;
	struct ft_error *error;
	int status;

	own.top = 0;
	status = cli_analyse(&own, verb->passes, &a);
	if (status != CLI_OK)
		return status;
	own.path = options->second_path;
	status = cli_analyse(&own, verb->passes, &b);
	if (status != CLI_OK) {
		cli_analysis_deinit(&a);
		return status;
	}

	error = compare(&a, &b, options->json && options->top ? options->top : JSON_TOP, &doc);
	if (error) {
		status = cli_fail(error, CLI_FAILED);
	} else if (options->json) {
		printf("{\"schema\":1,%s\n", fa_doc_section(doc, "diff") + 1);
	} else {
		const struct fa_value *diff = NULL;

		error = fa_json_parse(&a.arena, fa_doc_section(doc, "diff"), &diff);
		if (!error)
			print_diff(diff, top, options->per != NULL);
		else
			status = cli_fail(error, CLI_FAILED);
	}
	fa_doc_destroy(doc);
	cli_analysis_deinit(&b);
	cli_analysis_deinit(&a);
	return status;
}

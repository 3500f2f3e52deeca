/* SPDX-License-Identifier: MIT */
/*
 * fraganalyze leaks: the table of sites with their stacks
 *
 * By default what is live; --by=peak, allocated and temporary show the same sites by another
 * figure, from the section `sites`.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "ft_cleanup.h"

enum { DEFAULT_TOP = 10, STACK_MAX = 16 };

/* ---- live --------------------------------------------------------------------------------------
 */

/* Age at the end of the window. */
static const char *age(const struct fa_value *row, const char *key, uint64_t to_ns,
		       struct fa_text *out)
{
	uint64_t born = fa_value_u64(row, key);

	if (fa_value_is_null(fa_value_get(row, key)))
		return "-";
	return fa_format_time(to_ns > born ? to_ns - born : 0, out);
}

/* Why a verdict is what it is, for those that a person asks about. */
static const char *reason_text(const char *code)
{
	static const struct {
		const char *code, *text;
	} reasons[] = {
		{"never_released", "what it leaves behind is never freed"},
		{"few_blocks", "a block that only grows"},
		{"only_trend", "its level rises, but what is old is freed"},
		{"only_survivors",
		 "blocks survive from all of the run, but its level does not rise"},
		{"survivors_old", "what is left is from the begin of the run"},
		{"survivors_young", "only young blocks are left"},
		{"stopped", "it grew, and stopped"},
		{"slowing", "it fills ever more slowly"},
		{"short_run", "the run is too short to tell"},
		{"loss", "the frees may be in a loss of events"},
		{"fell_before", "it held as much before and let go of it: the run is too short"},
		{"long_lived", "old blocks are freed in the end: the run is too short"},
		{"late", "it began too late in the run"},
	};

	for (size_t i = 0; code && i < sizeof(reasons) / sizeof(*reasons); i++)
		if (!strcmp(reasons[i].code, code))
			return reasons[i].text;
	return NULL;
}

static void print_growth(const struct fa_value *row)
{
	const char *reason = reason_text(fa_value_text(fa_value_get(row, "reason"), "code"));
	const struct fa_value *each = fa_value_get(row, "bytes_per_operation");
	struct fa_text bytes, least;
	const char *separator = "    ";

	if (!fa_value_is_null(each)) {
		printf("%s%s an operation", separator,
		       term_bytes((uint64_t)(fa_value_f64(row, "bytes_per_operation") + 0.5),
				  &bytes));
		separator = "; ";
	}
	if (reason) {
		printf("%s%s", separator, reason);
		separator = "; ";
	}
	if (!fa_value_is_null(fa_value_get(row, "resolvable_bytes_per_s")) &&
	    fa_value_is_null(fa_value_get(row, "rate_bytes_per_s"))) {
		printf("%sa leak from %s on would show", separator,
		       term_rate(fa_value_f64(row, "resolvable_bytes_per_s"), &least));
		separator = "; ";
	}
	if (*separator == ';')
		putchar('\n');
}

static void print_live_row(const struct fa_value *row, uint64_t to_ns)
{
	struct fa_text bytes, blocks, rate, oldest, youngest, error;
	const char *verdict = fa_value_text(row, "verdict");
	bool hot = verdict && !strcmp(verdict, "growing");

	printf("%s%10s%s %8s %12s %8s %8s %4" PRIu64 "  %-11s  ",
	       term_on(hot ? STYLE_RED : STYLE_BOLD),
	       term_bytes(fa_value_u64(row, "bytes"), &bytes),
	       term_error(row, "bytes_relative_error", 10, &error),
	       fa_format_count(fa_value_u64(row, "blocks"), &blocks),
	       fa_value_is_null(fa_value_get(row, "rate_bytes_per_s"))
		       ? "-"
		       : term_rate(fa_value_f64(row, "rate_bytes_per_s"), &rate),
	       age(row, "first_ns", to_ns, &oldest), age(row, "last_ns", to_ns, &youngest),
	       fa_value_u64(row, "threads"), verdict);
	term_name(fa_value_text(row, "name"), term_width() > 100 ? term_width() - 72 : 0);
	printf("%s%s\n", fa_value_true(row, "system") ? "  (start-up of the C library)" : "",
	       term_off());
	print_growth(row);
	term_stack(fa_value_get(row, "stack"), STACK_MAX);
}

/* When the limit can be reached at the earliest. */
static void print_limit(const struct fa_value *limit)
{
	struct fa_text bytes, left;

	if (fa_value_is_null(limit) || fa_value_is_null(fa_value_get(limit, "not_before_ns")))
		return;
	printf("The limit of %s is not reached before another %s.\n",
	       term_bytes(fa_value_u64(limit, "bytes"), &bytes),
	       fa_format_time(fa_value_u64(limit, "not_before_ns"), &left));
}

static void print_suppressed(const struct fa_value *suppressed)
{
	const struct fa_value *rules = fa_value_get(suppressed, "rules");
	uint64_t sites = fa_value_u64(suppressed, "sites"), used = 0;
	struct fa_text bytes, blocks;

	if (fa_value_is_null(suppressed))
		return;
	for (const struct fa_value *rule = rules ? rules->first : NULL; rule; rule = rule->next)
		used += fa_value_u64(rule, "sites") > 0;
	printf("Suppressed: %s in %s block%s of %" PRIu64 " site%s (%" PRIu64
	       " of %zu suppressions had an effect).\n",
	       term_bytes(fa_value_u64(suppressed, "bytes"), &bytes),
	       fa_format_count(fa_value_u64(suppressed, "blocks"), &blocks),
	       fa_value_u64(suppressed, "blocks") == 1 ? "" : "s", sites, sites == 1 ? "" : "s",
	       used, rules ? rules->n : 0);
}

static void print_live(struct cli_analysis *a, unsigned top)
{
	const struct fa_value *section = cli_section(a, "leaks");
	const struct fa_value *leaks = fa_value_get(section, "leaks");
	const struct fa_value *process = fa_value_get(section, "process");
	const struct fa_value *other = fa_value_get(section, "other");
	uint64_t to_ns = fa_engine_to_ns(a->engine), rest_bytes, rest_sites;
	struct fa_text text;
	unsigned shown = 0;

	if (!leaks || !leaks->n) {
		term_estimated(section);
		puts(fa_value_u64(fa_value_get(section, "suppressed"), "sites")
			     ? "Nothing else is live at the end."
		     : fa_value_true(section, "estimated")
			     ? "No block of the sample is live at the end."
			     : "Nothing is live at the end.");
		print_suppressed(fa_value_get(section, "suppressed"));
		return;
	}
	rest_bytes = fa_value_u64(other, "bytes");
	rest_sites = fa_value_u64(other, "sites");
	term_estimated(section);
	printf("%s%10s%s %8s %12s %8s %8s %4s  %-11s  %s%s\n", term_on(STYLE_BOLD), "LIVE",
	       fa_value_true(section, "estimated") ? "     ERROR" : "", "BLOCKS", "RATE", "OLDEST",
	       "YOUNGEST", "THR", "VERDICT", "SITE", term_off());
	for (const struct fa_value *row = leaks->first; row; row = row->next) {
		if (shown < top) {
			print_live_row(row, to_ns);
			shown++;
		} else {
			rest_bytes += fa_value_u64(row, "bytes");
			rest_sites++;
		}
	}
	if (rest_sites)
		printf("%10s in %" PRIu64 " more site%s (--top N shows more)\n",
		       term_bytes(rest_bytes, &text), rest_sites, rest_sites == 1 ? "" : "s");
	print_suppressed(fa_value_get(section, "suppressed"));
	printf("\nThe heap as a whole: %s", fa_value_text(process, "verdict"));
	if (!fa_value_is_null(fa_value_get(process, "resolvable_bytes_per_s")))
		printf("; growth from about %s would show",
		       term_rate(fa_value_f64(process, "resolvable_bytes_per_s"), &text));
	puts(".");
	print_limit(fa_value_get(process, "limit"));
	puts("Without a scan for pointers it is unknown whether a block can still be reached.");
}

/* A suppression for each site that the table would show, start-up data of the C library left out.
 */
static int print_suppressions(struct cli_analysis *a, unsigned top, const char *format)
{
	const struct fa_value *leaks = fa_value_get(cli_section(a, "leaks"), "leaks");
	enum fa_suppress_format as =
		!strcmp(format, "lsan") ? FA_SUPPRESS_LSAN : FA_SUPPRESS_VALGRIND;
	ft_auto_strbuf struct ft_strbuf out = {0};
	struct ft_error *error;

	for (const struct fa_value *row = leaks ? leaks->first : NULL; row && top > 0;
	     row = row->next, top--) {
		struct fa_text bytes, blocks;
		size_t begin = out.len;

		if (fa_value_true(row, "system"))
			continue;
		error = fa_engine_print_suppression(a->engine, (uint32_t)fa_value_u64(row, "site"),
						    as, &out);
		if (error)
			return cli_fail(error, CLI_FAILED);
		/* Two sites of one function are one line of LSan's. */
		if (as == FA_SUPPRESS_LSAN &&
		    strstr(ft_strbuf_text(&out), out.data + begin) != out.data + begin)
			continue;
		printf("# %s in %s blocks, %s\n%s",
		       fa_format_bytes(fa_value_u64(row, "bytes"), &bytes),
		       fa_format_count(fa_value_u64(row, "blocks"), &blocks),
		       fa_value_text(row, "verdict"), out.data + begin);
	}
	return CLI_OK;
}

/* ---- by another figure -------------------------------------------------------------------------
 */

struct figure {
	const char *key, *blocks_key, *title, *blocks_title, *error_key;
};

static const struct figure figures[] = {
	[BY_LIVE] = {"live_bytes", "live_blocks", "LIVE", "BLOCKS", "live_relative_error"},
	[BY_PEAK] = {"peak_bytes", "peak_blocks", "AT PEAK", "BLOCKS", "peak_relative_error"},
	[BY_ALLOCATED] = {"allocated_bytes", "allocations", "ALLOCATED", "CALLS",
			  "allocated_relative_error"},
	[BY_TEMPORARY] = {"temporary_bytes", "temporary", "TEMPORARY", "BLOCKS",
			  "temporary_relative_error"},
};

static const struct figure *sorting; /* qsort has no context */

static int compare_rows(const void *a, const void *b)
{
	const struct fa_value *x = *(const struct fa_value *const *)a;
	const struct fa_value *y = *(const struct fa_value *const *)b;
	/* What costs of a temporary is the call, not its size. */
	const char *key = sorting == &figures[BY_TEMPORARY] ? sorting->blocks_key : sorting->key;
	uint64_t left = fa_value_u64(x, key), right = fa_value_u64(y, key);

	if (left != right)
		return left > right ? -1 : 1;
	left = fa_value_u64(x, "site");
	right = fa_value_u64(y, "site");
	return left < right ? -1 : left > right;
}

/* Rows of `sites` by a figure; those that have none of it are left out. */
static const struct fa_value **sort_sites(const struct fa_value *sites, const struct figure *figure,
					  size_t *n_ret)
{
	size_t n = 0, max = sites ? sites->n : 0;
	const struct fa_value **rows = malloc((max + 1) * sizeof(struct fa_value *));

	for (const struct fa_value *row = rows && sites ? sites->first : NULL; row; row = row->next)
		if (fa_value_u64(row, figure->key) || fa_value_u64(row, figure->blocks_key))
			rows[n++] = row;
	sorting = figure;
	if (n)
		qsort(rows, n, sizeof(*rows), compare_rows);
	*n_ret = n;
	return rows;
}

static void print_by(const struct fa_value *const *rows, size_t n, const struct figure *figure,
		     bool estimated, unsigned top)
{
	if (!n)
		puts("No site has any.");
	else
		printf("%s%10s%s %8s  %s%s\n", term_on(STYLE_BOLD), figure->title,
		       estimated ? "     ERROR" : "", figure->blocks_title, "SITE", term_off());
	for (size_t i = 0; i < n && i < top; i++) {
		struct fa_text bytes, blocks, error;

		printf("%s%10s%s %8s  ", term_on(STYLE_BOLD),
		       term_bytes(fa_value_u64(rows[i], figure->key), &bytes),
		       term_error(rows[i], figure->error_key, 10, &error),
		       fa_format_count(fa_value_u64(rows[i], figure->blocks_key), &blocks));
		term_name(fa_value_text(rows[i], "name"),
			  term_width() > 40 ? term_width() - 22 : 0);
		printf("%s\n", term_off());
		term_stack(fa_value_get(rows[i], "stack"), STACK_MAX);
	}
	if (n > top)
		printf("%zu more sites (--top N shows more)\n", n - top);
}

static int print_by_json(const struct cli_analysis *a, const struct fa_value *const *rows, size_t n,
			 const char *by, size_t top)
{
	struct ft_strbuf text;
	struct fa_json json;
	bool failed;

	ft_strbuf_init(&text);
	fa_json_init(&json, &text);
	fa_json_object_begin(&json);
	fa_json_kv_u64(&json, "schema", 1);
	fa_json_kv_string(&json, "by", by);
	fa_engine_emit_estimated(a->engine, &json);
	fa_json_key(&json, "sites");
	fa_json_array_begin(&json);
	for (size_t i = 0; i < n && i < top; i++)
		fa_value_emit(rows[i], &json);
	fa_json_array_end(&json);
	fa_json_object_end(&json);
	failed = text.failed;
	if (!failed)
		puts(ft_strbuf_text(&text));
	ft_strbuf_deinit(&text);
	return failed ? cli_fail(&ft_enomem, CLI_FAILED) : CLI_OK;
}

int verb_leaks(const struct cli_verb *verb, const struct cli_options *options)
{
	static const char *const names[] = {"live", "peak", "allocated", "temporary"};
	struct cli_options own = *options;
	unsigned top = options->top ? options->top : DEFAULT_TOP;
	struct cli_analysis a;
	int status;

	/* Text says how much the rest is: the analysis must hold it. */
	if (!own.json && own.top)
		own.top = top > 500 ? top : 500;
	status = cli_analyse(&own, verb->passes, &a);
	if (status != CLI_OK)
		return status;

	if (options->print_suppressions) {
		status = print_suppressions(&a, top, options->print_suppressions);
	} else if (options->by == BY_LIVE) {
		if (options->json)
			cli_print_json(&a, "leaks");
		else
			print_live(&a, top);
	} else {
		const struct figure *figure = &figures[options->by];
		const struct fa_value *section = cli_section(&a, "sites");
		bool estimated = fa_value_true(section, "estimated");
		size_t n;
		ft_auto_free const struct fa_value **rows =
			sort_sites(fa_value_get(section, "sites"), figure, &n);

		if (!rows)
			status = cli_fail(&ft_enomem, CLI_FAILED);
		else if (options->json)
			status = print_by_json(&a, rows, n, names[options->by],
					       options->top ? options->top : 500);
		else if (estimated && options->by == BY_TEMPORARY)
			puts("A sample does not know which blocks are temporary.");
		else {
			term_estimated(section);
			print_by(rows, n, figure, estimated, top);
		}
	}
	cli_analysis_deinit(&a);
	return status;
}

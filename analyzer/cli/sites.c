/* SPDX-License-Identifier: MIT */
/*
 * fraganalyze sites: what each call stack does with memory, by one of its figures
 *
 * The table is from the section `sites`; a second line a site has what `lifetimes`, `reallocs` and
 * `usage` say about it. --sort=realloc lists the sites of `reallocs`, --sort=largest the single
 * allocations of `largest`.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "ft_cleanup.h"

enum { DEFAULT_TOP = 10, STACK_MAX = 12, HISTOGRAM_WIDTH = 48, POOLS = 20 };

/* The sections, parsed. */
struct facts {
	const struct fa_value *sites, *largest, *lifetimes, *reallocs, *usage;
	uint64_t to_ns;
};

struct order {
	const char *title, *key;
};

static const struct order orders[] = {
	[SORT_PEAK] = {"AT PEAK", "peak_bytes"},
	[SORT_ALLOCATED] = {"ALLOCATED", "allocated_bytes"},
	[SORT_TEMPORARY] = {"TEMPORARY", "temporary"},
	[SORT_LIVE] = {"LIVE", "live_bytes"},
	[SORT_COUNT] = {"CALLS", "allocations"},
	[SORT_REALLOC] = {"REALLOCS", "calls"},
};

static const struct order *sorting; /* qsort has no context */

static int compare_rows(const void *a, const void *b)
{
	const struct fa_value *x = *(const struct fa_value *const *)a;
	const struct fa_value *y = *(const struct fa_value *const *)b;
	uint64_t left = fa_value_u64(x, sorting->key), right = fa_value_u64(y, sorting->key);

	if (left != right)
		return left > right ? -1 : 1;
	left = fa_value_u64(x, "site");
	right = fa_value_u64(y, "site");
	return left < right ? -1 : left > right;
}

/* The rows that have any of the figure, most first. NULL when out of memory. */
static const struct fa_value **sort_rows(const struct fa_value *list, const struct order *order,
					 size_t *n_ret)
{
	const struct fa_value **rows = malloc(((list ? list->n : 0) + 1) * sizeof(*rows));
	size_t n = 0;

	for (const struct fa_value *row = rows && list ? list->first : NULL; row; row = row->next)
		if (fa_value_u64(row, order->key))
			rows[n++] = row;
	sorting = order;
	if (n)
		qsort(rows, n, sizeof(*rows), compare_rows);
	*n_ret = n;
	return rows;
}

static const struct fa_value *find_site(const struct fa_value *section, uint64_t site)
{
	const struct fa_value *list = fa_value_get(section, "sites");

	for (const struct fa_value *row = list ? list->first : NULL; row; row = row->next)
		if (fa_value_u64(row, "site") == site)
			return row;
	return NULL;
}

/* ---- a site ------------------------------------------------------------------------------------
 */

/* "half live less than 4.10 ms, 9 of 10 less than 16.4 ms" */
static void print_lives(const struct fa_value *row, const char *indent)
{
	const struct fa_value *median = fa_value_get(row, "median_ns");
	const struct fa_value *p90 = fa_value_get(row, "p90_ns");
	struct fa_text a, b;

	if (fa_value_is_null(median) || !median->first || fa_value_is_null(median->first->next) ||
	    fa_value_is_null(p90->first->next))
		return;
	printf("%sfreed: half within %s, 9 of 10 within %s\n", indent,
	       fa_format_time(strtoull(median->first->next->text, NULL, 10), &a),
	       fa_format_time(strtoull(p90->first->next->text, NULL, 10), &b));
}

static void print_ages(const struct fa_value *row, uint64_t to_ns, const char *indent)
{
	struct fa_text a, b;

	if (!row || fa_value_is_null(fa_value_get(row, "oldest_born_ns")))
		return;

	uint64_t oldest = fa_value_u64(row, "oldest_born_ns");
	uint64_t youngest = fa_value_u64(row, "youngest_born_ns");

	printf("%slive: the oldest for %s, the youngest for %s\n", indent,
	       fa_format_time(to_ns > oldest ? to_ns - oldest : 0, &a),
	       fa_format_time(to_ns > youngest ? to_ns - youngest : 0, &b));
}

static void print_reallocs(const struct fa_value *row, const char *indent)
{
	struct fa_text calls, moved, copied, longest;

	if (!fa_value_u64(row, "calls"))
		return;
	printf("%srealloc: %s calls, %s moved (%s copied), longest chain %s\n", indent,
	       fa_format_count(fa_value_u64(row, "calls"), &calls),
	       fa_format_count(fa_value_u64(row, "moved"), &moved),
	       term_bytes(fa_value_u64(row, "copied_bytes"), &copied),
	       fa_format_count(fa_value_u64(row, "longest"), &longest));
}

static void print_usage(const struct fa_value *row, const char *indent)
{
	uint64_t requested = fa_value_u64(row, "requested_bytes");
	uint64_t usable = fa_value_u64(row, "usable_bytes");
	struct fa_text mean, busiest;

	if (usable > requested)
		printf("%srounding: %.1f %% of the bytes it took were not asked for\n", indent,
		       100.0 * (double)(usable - requested) / (double)usable);
	if (row && !fa_value_is_null(fa_value_get(row, "allocations_per_s")))
		printf("%srate: %s allocations/s, %s/s at its busiest\n", indent,
		       fa_format_count((uint64_t)fa_value_f64(row, "allocations_per_s"), &mean),
		       fa_format_count((uint64_t)fa_value_f64(row, "busiest_allocations_per_s"),
				       &busiest));
}

static void print_site(const struct facts *facts, const struct fa_value *row,
		       const struct order *order)
{
	uint64_t site = fa_value_u64(row, "site"), calls = fa_value_u64(row, "allocations");
	bool counted = order == &orders[SORT_TEMPORARY] || order == &orders[SORT_COUNT] ||
		       order == &orders[SORT_REALLOC];
	uint64_t first = fa_value_u64(row, order->key);
	struct fa_text a, b, c, d;
	unsigned width = term_width();

	printf("%s%10s", term_on(STYLE_BOLD),
	       counted ? fa_format_count(first, &a) : term_bytes(first, &a));
	if (order == &orders[SORT_REALLOC]) {
		printf(" %9s %10s %9s", fa_format_count(fa_value_u64(row, "moved"), &b),
		       term_bytes(fa_value_u64(row, "copied_bytes"), &c),
		       fa_format_count(fa_value_u64(row, "longest"), &d));
	} else {
		printf(" %10s %10s %8s %4.0f%%", term_bytes(fa_value_u64(row, "live_bytes"), &b),
		       term_bytes(fa_value_u64(row, "allocated_bytes"), &c),
		       fa_format_count(calls, &d),
		       calls ? 100.0 * (double)fa_value_u64(row, "temporary") / (double)calls : 0);
	}
	fputs("  ", stdout);
	term_name(fa_value_text(row, "name"), width > 70 ? width - 50 : width ? 30 : 0);
	printf("%s\n", term_off());
	print_ages(find_site(facts->lifetimes, site), facts->to_ns, "      ");
	print_lives(find_site(facts->lifetimes, site), "      ");
	print_reallocs(find_site(facts->reallocs, site), "      ");
	print_usage(find_site(facts->usage, site), "      ");
	term_stack(fa_value_get(row, "stack"), STACK_MAX);
}

static void print_table(const struct facts *facts, const struct fa_value *const *rows, size_t n,
			const struct order *order, unsigned top)
{
	if (!n) {
		puts("No site has any.");
		return;
	}
	if (order == &orders[SORT_REALLOC])
		printf("%s%10s %9s %10s %9s  SITE%s\n", term_on(STYLE_BOLD), order->title, "MOVED",
		       "COPIED", "LONGEST", term_off());
	else
		printf("%s%10s %10s %10s %8s %5s  SITE%s\n", term_on(STYLE_BOLD), order->title,
		       "LIVE", "ALLOCATED", "CALLS", "TEMP", term_off());
	for (size_t i = 0; i < n && i < top; i++)
		print_site(facts, rows[i], order);
	if (n > top)
		printf("%zu more sites (--top N shows more)\n", n - top);
}

/* ---- single allocations ------------------------------------------------------------------------
 */

static void print_allocation(const struct fa_value *row)
{
	const struct fa_value *old = fa_value_get(row, "old_size");
	struct fa_text size, before, at;
	unsigned width = term_width();

	printf("%s%10s %10s %10s %7" PRIu64 " %-14s ", term_on(STYLE_BOLD),
	       term_bytes(fa_value_u64(row, "size"), &size),
	       fa_value_is_null(old) ? "-" : term_bytes(fa_value_u64(row, "old_size"), &before),
	       fa_format_time(fa_value_u64(row, "time_ns"), &at), fa_value_u64(row, "thread"),
	       fa_value_text(row, "call"));
	term_name(fa_value_text(row, "name"), width > 80 ? width - 58 : width ? 22 : 0);
	puts(term_off());
	term_stack(fa_value_get(row, "stack"), STACK_MAX);
}

/* Which of them are not there, if some may be missing. */
static void print_since(const struct facts *facts)
{
	struct fa_text at;

	if (!fa_value_is_null(fa_value_get(facts->largest, "since_ns")))
		printf("Those before %s are not in the recording.\n",
		       fa_format_time(fa_value_u64(facts->largest, "since_ns"), &at));
}

static void print_largest(const struct facts *facts, unsigned top)
{
	const struct fa_value *list = fa_value_get(facts->largest, "allocations");
	unsigned shown = 0;

	printf("%s%10s %10s %10s %7s %-14s SITE%s\n", term_on(STYLE_BOLD), "LARGEST", "WAS", "AT",
	       "THREAD", "CALL", term_off());
	for (const struct fa_value *row = list->first; row && shown < top; row = row->next, shown++)
		print_allocation(row);
	if (list->n > shown)
		printf("%zu more (--top N shows more)\n", list->n - shown);
	print_since(facts);
}

/* ---- the heap as a whole -----------------------------------------------------------------------
 */

/* "lifetimes  512 ns |..#=-.  :| 17.2 s": freed blocks by the log of their lifetime. */
static void print_histogram(const struct fa_value *bins)
{
	uint64_t values[64], max = 0, all = 0;
	size_t n = 0, first = SIZE_MAX, last = 0;
	struct fa_text from, to, count;

	for (const struct fa_value *bin = bins ? bins->first : NULL; bin && n < 64;
	     bin = bin->next, n++) {
		values[n] = fa_value_u64(bin, "blocks");
		all += values[n];
		if (!values[n])
			continue;
		max = values[n] > max ? values[n] : max;
		first = first == SIZE_MAX ? n : first;
		last = n;
	}
	if (!all)
		return;
	printf("lifetimes of %s freed blocks  %s |", fa_format_count(all, &count),
	       fa_format_time(first ? UINT64_C(1) << first : 0, &from));
	term_spark(values + first, last - first + 1, max, (unsigned)(last - first + 1));
	printf("| %s\n", fa_format_time(UINT64_C(2) << last, &to));
}

/* One line: --sort=largest has the others. */
static void print_largest_line(const struct facts *facts)
{
	const struct fa_value *first = fa_value_get(facts->largest, "allocations")->first;
	struct fa_text size, at;

	if (!first)
		return;
	printf("largest allocation %s at %s in ", term_bytes(fa_value_u64(first, "size"), &size),
	       fa_format_time(fa_value_u64(first, "time_ns"), &at));
	term_name(fa_value_text(first, "name"), 0);
	puts(" (--sort=largest: the next ones)");
}

static void print_whole(struct cli_analysis *a, const struct facts *facts)
{
	const struct fa_value *totals = fa_value_get(cli_section(a, "summary"), "totals");
	const struct fa_value *reallocs = fa_value_get(facts->reallocs, "total");
	uint64_t live = fa_value_u64(totals, "live_bytes");
	uint64_t usable = fa_value_u64(totals, "usable_bytes");
	struct fa_text x, y, z;

	printf("peak %s at %s", term_bytes(fa_value_u64(totals, "peak_bytes"), &x),
	       fa_format_time(fa_value_u64(totals, "peak_ns"), &y));
	printf(", live at the end %s", term_bytes(live, &z));
	if (usable > live)
		printf(" (%s with rounding)", term_bytes(usable, &x));
	putchar('\n');
	print_largest_line(facts);
	print_histogram(fa_value_get(facts->lifetimes, "freed"));
	print_reallocs(reallocs, "");
	putchar('\n');
}

/* The program's own pools, if it told of any. */
static void print_pools(struct cli_analysis *a)
{
	const struct fa_value *pools = fa_value_get(cli_section(a, "pools"), "pools");
	struct fa_text x, y, z, n;
	size_t shown = 0;

	if (!pools || !pools->n)
		return;
	printf("%s\n%10s %10s %10s %8s  POOL%s\n", term_on(STYLE_BOLD), "LIVE", "PEAK", "MEMORY",
	       "OBJECTS", term_off());
	for (const struct fa_value *p = pools->first; p && shown < POOLS; p = p->next, shown++) {
		const char *name = fa_value_text(p, "name");

		printf("%10s %10s %10s %8s  ", term_bytes(fa_value_u64(p, "live_bytes"), &x),
		       term_bytes(fa_value_u64(p, "peak_bytes"), &y),
		       term_bytes(fa_value_u64(p, "memory_bytes"), &z),
		       fa_format_count(fa_value_u64(p, "allocations"), &n));
		if (name)
			term_text(name, 0);
		else
			printf("0x%" PRIx64, fa_value_u64(p, "address"));
		if (!fa_value_is_null(fa_value_get(p, "destroyed_ns")))
			printf(" (destroyed)");
		putchar('\n');
	}
	if (pools->n > POOLS)
		printf("%zu more pools\n", pools->n - POOLS);
}

static const char *or_nothing(const char *text)
{
	return text ? text : "";
}

/* What it took from the kernel itself, if anything: no part of the table above. */
static void print_mapped(struct cli_analysis *a, unsigned top)
{
	const struct fa_value *mapped = cli_section(a, "mapped");
	const struct fa_value *sites = fa_value_get(mapped, "sites");
	struct fa_text x, y, z, n;
	size_t shown = 0;

	if (!sites || !sites->n)
		return;
	printf("\nmapped by the program itself: %s",
	       term_bytes(fa_value_u64(mapped, "live_bytes"), &x));
	if (!fa_value_is_null(fa_value_get(mapped, "peak_bytes")))
		printf(", at the peak %s", term_bytes(fa_value_u64(mapped, "peak_bytes"), &y));
	printf("; %s calls\n%s%10s %10s %10s %8s  CALL%s\n",
	       fa_format_count(fa_value_u64(mapped, "calls"), &n), term_on(STYLE_BOLD), "MAPPED",
	       "PEAK", "IN ALL", "CALLS", term_off());
	for (const struct fa_value *s = sites->first; s && shown < top; s = s->next, shown++) {
		const char *kind = fa_value_text(s, "kind"), *advice = fa_value_text(s, "advice");
		const char *name = fa_value_text(s, "name");

		printf("%s%10s %10s %10s %8s  %s%s%s%s", term_on(STYLE_BOLD),
		       term_bytes(fa_value_u64(s, "live_bytes"), &x),
		       term_bytes(fa_value_u64(s, "peak_bytes"), &y),
		       term_bytes(fa_value_u64(s, "bytes"), &z),
		       fa_format_count(fa_value_u64(s, "calls"), &n), fa_value_text(s, "call"),
		       kind || advice ? " " : "", or_nothing(kind), or_nothing(advice));
		if (name) {
			fputs(" in ", stdout);
			term_name(name, 0);
		}
		puts(term_off());
		term_stack(fa_value_get(s, "stack"), STACK_MAX);
	}
	if (sites->n > shown)
		printf("%zu more calls (--top N shows more)\n", sites->n - shown);
}

static void print_sections(const struct cli_analysis *a)
{
	static const char *const names[] = {"largest",	"lifetimes", "mapped", "pools",
					    "reallocs", "sites",     "usage"};

	fputs("{\"schema\":1", stdout);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		printf(",\"%s\":%s", names[i], fa_doc_section(a->doc, names[i]));
	puts("}");
}

/* The table that was asked for. */
static int print_rows(const struct facts *facts, enum cli_sort sort, unsigned top)
{
	const struct fa_value *section = sort == SORT_REALLOC ? facts->reallocs : facts->sites;
	size_t n;

	if (sort == SORT_LARGEST) {
		print_largest(facts, top);
		return CLI_OK;
	}

	ft_auto_free const struct fa_value **rows =
		sort_rows(fa_value_get(section, "sites"), &orders[sort], &n);

	if (!rows)
		return cli_fail(&ft_enomem, CLI_FAILED);
	print_table(facts, rows, n, &orders[sort], top);
	return CLI_OK;
}

int verb_sites(const struct cli_verb *verb, const struct cli_options *options)
{
	unsigned top = options->top ? options->top : DEFAULT_TOP;
	struct cli_options own = *options;
	struct cli_analysis a;
	int status;

	/* Text says how many more there are: the analysis must hold them. */
	if (!own.json && own.top)
		own.top = top > 500 ? top : 500;
	status = cli_analyse(&own, verb->passes, &a);
	if (status != CLI_OK)
		return status;
	if (options->json) {
		print_sections(&a);
		cli_analysis_deinit(&a);
		return CLI_OK;
	}

	struct facts facts = {
		.sites = cli_section(&a, "sites"),
		.largest = cli_section(&a, "largest"),
		.lifetimes = cli_section(&a, "lifetimes"),
		.reallocs = cli_section(&a, "reallocs"),
		.usage = cli_section(&a, "usage"),
		.to_ns = fa_engine_to_ns(a.engine),
	};
	const char *unavailable = fa_value_text(facts.reallocs, "unavailable");

	if (options->sort == SORT_REALLOC && unavailable) {
		cli_warn("%s: --sort=realloc: %s", options->path, unavailable);
		status = CLI_INPUT;
	} else {
		term_estimated(facts.sites);
		print_whole(&a, &facts);
		status = print_rows(&facts, options->sort, top);
		print_pools(&a);
		print_mapped(&a, top);
	}
	cli_analysis_deinit(&a);
	return status;
}

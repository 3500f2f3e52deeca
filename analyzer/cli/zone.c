/* SPDX-License-Identifier: MIT */
/*
 * fraganalyze buddy, fraganalyze compact: two models of the heap's pages
 *
 * Both say first what they are: neither is the machine's physical memory.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"

enum { ORDERS = 11, STRIP = 64, BUDGET_ROWS = 8, BAR = 40 };

/* Item `i` of an array; 0 past its end. */
static double item(const struct fa_value *list, size_t i)
{
	const struct fa_value *value = list ? list->first : NULL;

	while (value && i--)
		value = value->next;
	return value && value->kind == FA_NUMBER ? strtod(value->text, NULL) : 0;
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

/* ---- buddy ----------------------------------------------------------------------------------- */

static void print_orders(const struct fa_value *zone)
{
	const struct fa_value *blocks = fa_value_get(zone, "free_blocks");
	const struct fa_value *unusable = fa_value_get(zone, "uf_index");
	struct fa_text size, count;

	printf("\n%s%5s %9s %10s %9s%s\n", term_on(STYLE_BOLD), "ORDER", "BLOCK", "FREE",
	       "UNUSABLE", term_off());
	for (unsigned o = 0; o < ORDERS; o++)
		printf("%5u %9s %10s %7.1f %%\n", o, term_bytes(UINT64_C(4096) << o, &size),
		       fa_format_count((uint64_t)item(blocks, o), &count), 100 * item(unusable, o));
}

static void print_arena(const struct fa_value *arena)
{
	const struct fa_value *peak = fa_value_get(arena, "peak");
	const struct fa_value *failure = fa_value_get(arena, "first_failure");
	uint64_t requested = fa_value_u64(peak, "requested_bytes");
	uint64_t rounded = fa_value_u64(peak, "rounded_bytes");
	uint64_t held = fa_value_u64(peak, "held_bytes");
	struct fa_text a, b, c;

	printf("\nThese requests on a buddy allocator with blocks of %s to %s, at their most:\n",
	       term_bytes(fa_value_u64(arena, "smallest_block"), &a),
	       term_bytes(fa_value_u64(arena, "largest_block"), &b));
	printf("  %-12s %10s\n", "requested", term_bytes(requested, &a));
	printf("  %-12s %10s  %s%.1f %% internal fragmentation%s\n", "rounded",
	       term_bytes(rounded, &a), term_on(STYLE_DIM), percent(rounded - requested, rounded),
	       term_off());
	printf("  %-12s %10s  %s%.1f %% free then%s\n", "held", term_bytes(held, &a),
	       term_on(STYLE_DIM), percent(held - rounded, held), term_off());
	if (fa_value_u64(peak, "passed_by_blocks"))
		printf("  %-12s %10s  %slarger than its largest block%s\n", "beside it",
		       term_bytes(fa_value_u64(peak, "passed_by_bytes"), &a), term_on(STYLE_DIM),
		       term_off());
	printf("  %s splits, %s merges\n", fa_format_count(fa_value_u64(arena, "splits"), &a),
	       fa_format_count(fa_value_u64(arena, "merges"), &b));
	if (fa_value_is_null(failure)) {
		if (!fa_value_is_null(fa_value_get(arena, "fixed_bytes")))
			puts("  no request failed");
		return;
	}
	printf("  %s requests failed; the first at %s: %s, with %s free",
	       fa_format_count(fa_value_u64(arena, "failed"), &a),
	       fa_format_time(fa_value_u64(failure, "time_ns"), &(struct fa_text){{0}}),
	       term_bytes(fa_value_u64(failure, "bytes"), &b),
	       term_bytes(fa_value_u64(failure, "free_bytes"), &c));
	printf(" in blocks of %s at most (order %" PRIu64 " was needed)\n",
	       term_bytes(fa_value_u64(failure, "largest_free"), &a),
	       fa_value_u64(failure, "order"));
}

int verb_buddy(const struct cli_verb *verb, const struct cli_options *options)
{
	struct cli_analysis a;
	struct fa_text at, pages;
	int status = cli_analyse_moment(options, verb->passes, &a);

	if (status != CLI_OK)
		return status;
	if (options->json) {
		cli_print_json(&a, "buddy");
		cli_analysis_deinit(&a);
		return CLI_OK;
	}

	const struct fa_value *buddy = cli_section(&a, "buddy");
	const struct fa_value *zone = fa_value_get(buddy, "zone");

	printf("The heap as a zone of 4 KiB pages at %s: ",
	       fa_format_time(fa_value_u64(buddy, "at_ns"), &at));
	printf("%s free between its blocks,\n%" PRIu64
	       " %% of them of no use to a huge page (2 MiB)\n",
	       fa_format_count(fa_value_u64(zone, "free_pages"), &pages),
	       fa_value_u64(zone, "score"));
	print_orders(zone);
	print_arena(fa_value_get(buddy, "arena"));
	cli_analysis_deinit(&a);
	return CLI_OK;
}

/* ---- compact --------------------------------------------------------------------------------- */

static void print_strip(const char *title, const struct fa_value *bins)
{
	static const char shades[] = " .:-=+*#%@";
	size_t n = bins ? bins->n : 0, width = n < STRIP ? n : STRIP;

	printf("  %-9s |", title);
	for (size_t i = 0; i < width; i++) {
		double sum = 0;
		size_t from = i * n / width, to = (i + 1) * n / width;

		for (size_t k = from; k < to; k++)
			sum += item(bins, k);
		sum /= (double)(to > from ? to - from : 1);
		putchar(sum <= 0 ? ' ' : shades[1 + (size_t)(sum * 8.99 / 255)]);
	}
	puts("|");
}

/* Eight steps of the curve, each with what it wins in all. */
static void print_budget(const struct fa_value *compact)
{
	const struct fa_value *budget = fa_value_get(compact, "budget");
	size_t n = budget ? budget->n : 0, row = 0;
	uint64_t most = fa_value_u64(compact, "won_bytes");
	struct fa_text moved, won;

	if (!most)
		return;
	printf("\n%s%10s %10s%s\n", term_on(STYLE_BOLD), "MOVED", "WON", term_off());
	for (const struct fa_value *point = n ? budget->first : NULL; point;
	     point = point->next, row++) {
		uint64_t bytes = fa_value_u64(point, "won_bytes");
		unsigned bar = (unsigned)((double)bytes / (double)most * BAR);

		if (row % (n / BUDGET_ROWS + 1) && row + 1 != n)
			continue;
		printf("%10s %10s%s", term_bytes(fa_value_u64(point, "moved_bytes"), &moved),
		       term_bytes(bytes, &won), bar ? "  " : "");
		while (bar--)
			putchar('#');
		putchar('\n');
	}
}

static void print_unmovable(const struct fa_value *compact, const struct cli_options *options)
{
	const struct fa_value *unmovable = fa_value_get(compact, "unmovable");
	struct fa_text bytes, pages;

	if (!options->n_unmovable)
		return;
	if (!fa_value_u64(unmovable, "sites")) {
		cli_warn("--unmovable: no live block is of such a site");
		return;
	}
	printf("%" PRIu64 " sites do not move: %s hold %s pages in place\n",
	       fa_value_u64(unmovable, "sites"),
	       term_bytes(fa_value_u64(unmovable, "bytes"), &bytes),
	       fa_format_count(fa_value_u64(compact, "unmovable_pages"), &pages));
}

int verb_compact(const struct cli_verb *verb, const struct cli_options *options)
{
	struct cli_analysis a;
	struct fa_text one, two;
	int status = cli_analyse_moment(options, verb->passes, &a);

	if (status != CLI_OK)
		return status;
	if (options->json) {
		cli_print_json(&a, "compact");
		cli_analysis_deinit(&a);
		return CLI_OK;
	}

	const struct fa_value *compact = cli_section(&a, "compact");
	const struct fa_value *before = fa_value_get(compact, "before");
	const struct fa_value *after = fa_value_get(compact, "after");
	uint64_t used = fa_value_u64(compact, "used_pages");
	uint64_t packed = fa_value_u64(compact, "packed_pages");

	printf("If pages could move, at %s: %s moved win %s in free pages of 2 MiB\n",
	       fa_format_time(fa_value_u64(compact, "at_ns"), &(struct fa_text){{0}}),
	       term_bytes(fa_value_u64(compact, "moved_bytes"), &one),
	       term_bytes(fa_value_u64(compact, "won_bytes"), &two));
	printf("%s of %s pages are in use; blocks side by side would take %s\n",
	       fa_format_count(used, &one), fa_format_count(fa_value_u64(compact, "pages"), &two),
	       fa_format_count(packed, &(struct fa_text){{0}}));
	print_unmovable(compact, options);
	printf("\n  unusable for 2 MiB: %.0f %% before, %.0f %% after\n",
	       100 * fa_value_f64(before, "uf_index"), 100 * fa_value_f64(after, "uf_index"));
	print_strip("before", fa_value_get(compact, "strip_before"));
	print_strip("after", fa_value_get(compact, "strip_after"));
	if (options->n_unmovable)
		print_strip("unmovable", fa_value_get(compact, "strip_unmovable"));
	print_budget(compact);
	printf("\n%sA C program's blocks can't be moved: this is what a moving allocator, or a "
	       "restart,\n"
	       "could win at most.%s\n",
	       term_on(STYLE_DIM), term_off());
	cli_analysis_deinit(&a);
	return CLI_OK;
}

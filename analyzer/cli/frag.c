/* SPDX-License-Identifier: MIT */
/* fraganalyze frag: how full the heap's pages are, its holes, and the sites that pin pages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { DEFAULT_TOP = 10, STACK_MAX = 12, BAR = 40 };

static void print_bytes(const char *title, const struct fa_value *metrics, const char *key,
			const char *meaning)
{
	const struct fa_value *value = fa_value_get(metrics, key);
	struct fa_text text;

	printf("  %-18s %-10s  %s%s%s\n", title,
	       fa_value_is_null(value) ? "unknown" : term_bytes(fa_value_u64(metrics, key), &text),
	       term_on(STYLE_DIM), meaning, term_off());
}

/* At the end of a line; nothing where there is nothing to show. */
static void print_bar(uint64_t value, uint64_t most)
{
	unsigned n = (unsigned)((double)value / (double)most * BAR + 0.5);

	if (n)
		fputs("  ", stdout);
	while (n--)
		putchar('#');
	putchar('\n');
}

static void print_metrics(const struct fa_value *metrics)
{
	print_bytes("live", metrics, "live_bytes", "what the program asked for and holds");
	print_bytes("footprint", metrics, "footprint_bytes", "resident pages of its heaps");
	if (!fa_value_is_null(fa_value_get(metrics, "overhead_ratio")))
		printf("  %-18s %-10.2f  %sfootprint / live%s\n", "overhead",
		       fa_value_f64(metrics, "overhead_ratio"), term_on(STYLE_DIM), term_off());
	if (!fa_value_is_null(fa_value_get(metrics, "internal_pct"))) {
		char share[16];

		snprintf(share, sizeof(share), "%.1f %%", fa_value_f64(metrics, "internal_pct"));
		printf("  %-18s %-10s  %srounding, of usable bytes%s\n", "internal", share,
		       term_on(STYLE_DIM), term_off());
	}
	print_bytes("pinned", metrics, "pinned_free_bytes",
		    "free bytes on pages that hold a block");
	print_bytes("empty", metrics, "empty_bytes", "whole free pages between blocks");
	print_bytes("trimmable", metrics, "trimmable_bytes", "what malloc_trim() would return");
	print_bytes("holes", metrics, "hole_bytes", "free bytes between blocks");
	print_bytes("largest hole", metrics, "largest_hole", "the largest block that fits in one");
}

/* Pages by how full they are, a bar each: empty, then deciles. */
static void print_occupancy(const struct fa_value *metrics)
{
	const struct fa_value *hist = fa_value_get(metrics, "page_occupancy_hist");
	uint64_t most = 0;
	unsigned decile = 0;

	for (const struct fa_value *bin = hist ? hist->first : NULL; bin; bin = bin->next) {
		uint64_t pages = strtoull(bin->text, NULL, 10);

		most = pages > most ? pages : most;
	}
	if (!most)
		return;
	puts("\nPages by how full they are:");
	for (const struct fa_value *bin = hist->first; bin; bin = bin->next, decile++) {
		uint64_t pages = strtoull(bin->text, NULL, 10);
		struct fa_text count;
		char label[16];

		snprintf(label, sizeof(label), decile ? "%u-%u %%" : "empty", decile * 10 - 10,
			 decile * 10);
		printf("  %-9s %8s", label, fa_format_count(pages, &count));
		print_bar(pages, most);
	}
}

static void print_orders(const struct fa_value *metrics)
{
	const struct fa_value *orders = fa_value_get(metrics, "uf_index");
	unsigned order = 0;

	if (!orders || !orders->n)
		return;
	fputs("\nUnusable free space index by order (0: all of it usable, 1: none):\n ", stdout);
	for (const struct fa_value *v = orders->first; v; v = v->next, order++)
		printf(" %u:%.2f", order, v->kind == FA_NUMBER ? strtod(v->text, NULL) : 0.0);
	putchar('\n');
}

static void print_sites(const struct fa_value *sites, unsigned top)
{
	unsigned shown = 0;

	if (!sites || !sites->n)
		return;
	printf("\n%s%10s %10s %10s  %s%s\n", term_on(STYLE_BOLD), "PINS ALONE", "SHARE", "LIVE",
	       "SITE", term_off());
	for (const struct fa_value *s = sites->first; s && shown < top; s = s->next, shown++) {
		struct fa_text sole, share, live;

		printf("%10s %10s %10s  ", term_bytes(fa_value_u64(s, "sole"), &sole),
		       term_bytes(fa_value_u64(s, "shapley"), &share),
		       term_bytes(fa_value_u64(s, "live_bytes"), &live));
		term_name(fa_value_text(s, "name"), term_width() > 50 ? term_width() - 36 : 0);
		putchar('\n');
		term_stack(fa_value_get(s, "stack"), STACK_MAX);
	}
	if (sites->n > top)
		printf("%zu more sites (--top N shows more)\n", sites->n - top);
}

/* Holes by size: are they of use to anybody? */
static void print_holes(const struct fa_value *metrics)
{
	const struct fa_value *hist = fa_value_get(metrics, "hole_size_hist");
	uint64_t most = 0;
	unsigned bin = 0;

	for (const struct fa_value *v = hist ? hist->first : NULL; v; v = v->next)
		if (fa_value_u64(v, "bytes") > most)
			most = fa_value_u64(v, "bytes");
	if (!most)
		return;
	puts("\nHoles by size (from ... to twice that):");
	for (const struct fa_value *v = hist->first; v; v = v->next, bin++) {
		uint64_t bytes = fa_value_u64(v, "bytes");
		struct fa_text size, sum, count;

		if (!bytes)
			continue;
		printf("  %-9s %8s  %10s", term_bytes(UINT64_C(1) << bin, &size),
		       fa_format_count(fa_value_u64(v, "blocks"), &count), term_bytes(bytes, &sum));
		print_bar(bytes, most);
	}
}

/* When the heap was largest, as a time that cli_parse_time() reads exactly. */
static int find_peak(const struct cli_options *options, char *buffer, size_t size)
{
	static const char *const passes[] = {"summary", NULL};
	struct cli_analysis a;
	int status = cli_analyse(options, passes, &a);

	if (status != CLI_OK)
		return status;

	uint64_t ns = fa_value_u64(fa_value_get(cli_section(&a, "summary"), "totals"), "peak_ns");

	snprintf(buffer, size, "%" PRIu64 ".%09" PRIu64 "s", ns / 1000000000, ns % 1000000000);
	cli_analysis_deinit(&a);
	return CLI_OK;
}

int verb_frag(const struct cli_verb *verb, const struct cli_options *typed)
{
	struct cli_options moment = *typed;
	const struct cli_options *options = &moment;
	struct cli_analysis a;
	char peak[48];
	int status = CLI_OK;
	struct fa_text at;

	if (typed->at && typed->to) {
		fputs("fraganalyze: --at and --to exclude each other\n", stderr);
		return CLI_USAGE;
	}
	if (typed->at) {
		moment.to = typed->at;
		if (strcmp(typed->at, "peak") == 0) {
			struct cli_options all = *typed;

			all.at = NULL;
			moment.no_wait = true; /* waited for, and warned of, the first time */
			moment.to = peak;
			status = find_peak(&all, peak, sizeof(peak));
		}
	}
	if (status == CLI_OK)
		status = cli_analyse(options, verb->passes, &a);

	if (status != CLI_OK)
		return status;
	if (options->json) {
		cli_print_json(&a, "frag");
		cli_analysis_deinit(&a);
		return CLI_OK;
	}

	const struct fa_value *frag = cli_section(&a, "frag");
	const struct fa_value *metrics = fa_value_get(frag, "metrics");
	const char *text = fa_value_text(fa_value_get(frag, "verdict"), "text");
	const char *residency = fa_value_text(frag, "residency");

	term_wrapped(text ? text : "Nothing is known about the layout of this heap", 0, 0);
	printf("\nAt %s, residency %s:\n", fa_format_time(fa_value_u64(frag, "at_ns"), &at),
	       residency ? residency : "unknown");
	print_metrics(metrics);
	print_occupancy(metrics);
	print_holes(metrics);
	print_orders(metrics);
	print_sites(fa_value_get(frag, "sites"), options->top ? options->top : DEFAULT_TOP);
	cli_analysis_deinit(&a);
	return CLI_OK;
}

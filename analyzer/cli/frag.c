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

/* ---- where the resident memory is ---------------------------------------------------------------
 */

static void print_waterfall(const struct fa_value *frag)
{
	static const struct {
		const char *key, *title, *meaning;
	} terms[] = {
		{"live_req", "requested", "what the program asked for and holds"},
		{"round", "rounding", "usable beyond that"},
		{"meta", "headers", "the allocator's, in front of blocks"},
		{"pin_free", "pinned", "free, on pages that hold a block"},
		{"empty_res", "empty", "free pages that the allocator keeps"},
		{"live_nr", "not touched", "live, on no resident page: taken off"},
		{"file", "files", "code and mapped files"},
		{"stack", "stacks", "of the main thread"},
		{"other", "other", "anonymous memory that is no heap"},
		{"tracer", "fragtrace", "the tracer's own"},
		{"residual", "residual", "what these terms leave unexplained"},
	};
	const struct fa_value *w = fa_value_get(frag, "waterfall");
	struct fa_text size;
	double rss;

	if (fa_value_is_null(w))
		return;
	rss = fa_value_f64(w, "rss");
	printf("\nThe resident size of %s at %s:\n", term_bytes(fa_value_u64(w, "rss"), &size),
	       fa_format_time(fa_value_u64(w, "time_ns"), &(struct fa_text){{0}}));
	for (size_t i = 0; i < sizeof(terms) / sizeof(*terms); i++) {
		int64_t value = fa_value_i64(w, terms[i].key);
		bool minus = value < 0 || (i == 5 && value > 0);

		if (!value && i != sizeof(terms) / sizeof(*terms) - 1)
			continue;
		printf("  %-12s %c%-10s %5.1f %%  %s%s%s\n", terms[i].title, minus ? '-' : ' ',
		       term_bytes((uint64_t)(value < 0 ? -value : value), &size),
		       100 * (double)(value < 0 ? -value : value) / (rss > 0 ? rss : 1),
		       term_on(STYLE_DIM), terms[i].meaning, term_off());
	}
	putchar('\n');
}

/* ---- who pins pages -----------------------------------------------------------------------------
 */

static void print_names(const struct fa_value *names)
{
	for (const struct fa_value *v = names ? names->first : NULL; v; v = v->next)
		printf("%s%s", v == names->first ? "" : ", ", v->kind == FA_STRING ? v->text : "?");
	putchar('\n');
}

static void print_sites_long(const struct fa_value *frag, unsigned top)
{
	const struct fa_value *sites = fa_value_get(frag, "sites"), *sets, *pairs;
	unsigned shown = 0;

	printf("\n%s%10s %10s %10s %8s %8s %9s %9s  %s%s\n", term_on(STYLE_BOLD), "PINS ALONE",
	       "SHARE", "AT MOST", "PAGES", "DENSITY", "AGE", "IN PEAK", "SITE", term_off());
	for (const struct fa_value *s = sites ? sites->first : NULL; s && shown < top;
	     s = s->next, shown++) {
		struct fa_text sole, share, any, count, age;
		char density[16] = "-", born[16] = "-";

		if (!fa_value_is_null(fa_value_get(s, "density")))
			snprintf(density, sizeof(density), "%.1f", fa_value_f64(s, "density"));
		if (!fa_value_is_null(fa_value_get(s, "born_in_peak")))
			snprintf(born, sizeof(born), "%.0f %%",
				 100 * fa_value_f64(s, "born_in_peak"));
		printf("%10s %10s %10s %8s %8s %9s %9s  ",
		       term_bytes(fa_value_u64(s, "sole"), &sole),
		       term_bytes(fa_value_u64(s, "shapley"), &share),
		       term_bytes(fa_value_u64(s, "any"), &any),
		       fa_format_count(fa_value_u64(s, "pages_sole"), &count), density,
		       fa_value_is_null(fa_value_get(s, "age_ns"))
			       ? "-"
			       : fa_format_time(fa_value_u64(s, "age_ns"), &age),
		       born);
		term_text(fa_value_text(s, "name"), term_width() > 90 ? term_width() - 72 : 0);
		putchar('\n');
		term_stack(fa_value_get(s, "stack"), STACK_MAX);
	}
	sets = fa_value_get(frag, "sets");
	if (sets && sets->n)
		puts("\nSets of sites, and the free bytes on pages that only they hold:");
	for (const struct fa_value *s = sets ? sets->first : NULL; s; s = s->next) {
		struct fa_text size, count;

		printf("  %10s on %8s pages  ", term_bytes(fa_value_u64(s, "free_bytes"), &size),
		       fa_format_count(fa_value_u64(s, "pages"), &count));
		print_names(fa_value_get(s, "names"));
	}
	pairs = fa_value_get(frag, "pairs");
	if (pairs && pairs->n)
		puts("\nSites that share pages:");
	for (const struct fa_value *p = pairs ? pairs->first : NULL; p; p = p->next) {
		const char *a = fa_value_text(p, "a_name"), *b = fa_value_text(p, "b_name");
		struct fa_text size, count;

		printf("  %10s on %8s pages  %s, %s\n",
		       term_bytes(fa_value_u64(p, "shared_bytes"), &size),
		       fa_format_count(fa_value_u64(p, "pages"), &count), a ? a : "?", b ? b : "?");
	}
}

/* A page as a line of 64 characters, 64 bytes each: a letter for each site. */
static void print_page(const struct fa_value *page)
{
	const struct fa_value *blocks = fa_value_get(page, "blocks");
	uint64_t address = fa_value_u64(page, "address"), sites[26];
	char strip[65];
	unsigned n_sites = 0, shown = 0;
	struct fa_text live, age;

	memset(strip, '.', 64);
	strip[64] = 0;
	for (const struct fa_value *b = blocks ? blocks->first : NULL; b; b = b->next) {
		uint64_t from = fa_value_u64(b, "address"), to = from + fa_value_u64(b, "size");
		uint64_t site = fa_value_u64(b, "site");
		unsigned s = 0;

		while (s < n_sites && sites[s] != site)
			s++;
		if (s == n_sites && n_sites < 26)
			sites[n_sites++] = site;
		from = from < address ? address : from;
		to = to > address + 4096 ? address + 4096 : to;
		for (uint64_t at = from / 64; from < to && at <= (to - 1) / 64; at++)
			strip[at - address / 64] = s < 26 ? (char)('A' + s) : '+';
	}
	printf("\n%14" PRIx64 " |%s| %s live, %" PRIu64 " blocks of %" PRIu64 " sites\n", address,
	       strip, term_bytes(fa_value_u64(page, "live_bytes"), &live),
	       fa_value_u64(page, "n_blocks"), fa_value_u64(page, "sites"));
	for (unsigned s = 0; s < n_sites && shown < 6; s++)
		for (const struct fa_value *b = blocks->first; b; b = b->next) {
			const char *name = fa_value_text(b, "name");

			if (fa_value_u64(b, "site") != sites[s])
				continue;
			printf("%17c %s, %s, %s old\n", 'A' + s, name ? name : "?",
			       term_bytes(fa_value_u64(b, "size"), &live),
			       fa_format_time(fa_value_u64(b, "age_ns"), &age));
			shown++;
			break;
		}
}

static void print_pages(const struct fa_value *frag, unsigned top)
{
	const struct fa_value *pages = fa_value_get(frag, "examples");

	puts("\nPages with most free bytes of the sites that pin most, 64 bytes a character:");
	for (const struct fa_value *p = pages ? pages->first : NULL; p && top--; p = p->next)
		print_page(p);
}

/* ---- why, and what would help -------------------------------------------------------------------
 */

static void print_why(const struct fa_value *frag)
{
	const struct fa_value *peak = fa_value_get(frag, "peak");
	const struct fa_value *threshold = fa_value_get(frag, "mmap_threshold");
	const struct fa_value *remedies = fa_value_get(frag, "remedies");
	struct fa_text a, b, c;

	if (!fa_value_is_null(peak))
		printf("\nThe peak of %s was at %s; %s of blocks born in it are live, on parts of "
		       "%" PRIu64 " pages.\n",
		       term_bytes(fa_value_u64(peak, "bytes"), &a),
		       fa_format_time(fa_value_u64(peak, "time_ns"), &b),
		       term_bytes(fa_value_u64(peak, "survivor_bytes"), &c),
		       fa_value_u64(peak, "survivor_pages"));
	if (!fa_value_is_null(threshold)) {
		const char *name = fa_value_text(threshold, "name");

		printf("\nThe free of a block of %s at %s raised M_MMAP_THRESHOLD to %s; made by "
		       "%s.\n",
		       term_bytes(fa_value_u64(threshold, "block_bytes"), &a),
		       fa_format_time(fa_value_u64(threshold, "time_ns"), &b),
		       term_bytes(fa_value_u64(threshold, "bytes"), &c), name ? name : "?");
	}
	if (remedies && remedies->n)
		puts("\nWhat would help:");
	for (const struct fa_value *r = remedies ? remedies->first : NULL; r; r = r->next) {
		const char *text = fa_value_text(r, "text");

		fputs("  - ", stdout);
		term_wrapped(text ? text : "", 4, 4);
		printf("    (saves %s%s)\n", fa_value_true(r, "exact") ? "" : "about ",
		       term_bytes(fa_value_u64(r, "saves_bytes"), &a));
	}
}

/* ---- slabs --------------------------------------------------------------------------------------
 */

static void print_slab_classes(const struct fa_value *classes, unsigned top)
{
	uint64_t last = UINT64_MAX;

	printf("%s%10s %10s %8s %8s %8s %10s %10s %10s%s\n", term_on(STYLE_BOLD), "BLOCK", "SLAB",
	       "SLABS", "LIVE", "FULL", "FREE", "COMPACTED", "MESHED", term_off());
	/* The classes stand by size: show those with most free bytes, one after another. */
	while (top--) {
		const struct fa_value *best = NULL;
		struct fa_text size, slab, slabs, live, free_bytes, compacted, meshed;
		char full[16];

		for (const struct fa_value *c = classes->first; c; c = c->next)
			if (fa_value_u64(c, "free_bytes") < last &&
			    (!best ||
			     fa_value_u64(c, "free_bytes") > fa_value_u64(best, "free_bytes")))
				best = c;
		if (!best)
			return;
		last = fa_value_u64(best, "free_bytes");
		snprintf(full, sizeof(full), "%.0f %%",
			 100 * fa_value_f64(best, "blocks") / fa_value_f64(best, "slots"));
		printf("%10s %10s %8s %8s %8s %10s %10s %10s\n",
		       term_bytes(fa_value_u64(best, "size"), &size),
		       term_bytes(fa_value_u64(best, "slab_bytes"), &slab),
		       fa_format_count(fa_value_u64(best, "slabs"), &slabs),
		       fa_format_count(fa_value_u64(best, "blocks"), &live), full,
		       term_bytes(last, &free_bytes),
		       term_bytes(fa_value_u64(best, "compact_gain_bytes"), &compacted),
		       term_bytes(fa_value_u64(best, "mesh_gain_bytes"), &meshed));
	}
}

/* What the slabs hold and, with `sites`, who holds them. */
static void print_slabs(const struct fa_value *frag, unsigned top, bool with_sites)
{
	const struct fa_value *slabs = fa_value_get(frag, "slabs"), *sites;
	struct fa_text count, bytes, free_bytes, compacted, meshed;
	const char *allocator = fa_value_text(frag, "allocator");

	if (fa_value_is_null(slabs))
		return;
	printf("\n%s has %s slabs of %s, of which %s are free and of use to one size alone.\n"
	       "Blocks moved together would empty slabs of %s, meshing those of %s or more.\n",
	       allocator ? allocator : "The allocator",
	       fa_format_count(fa_value_u64(slabs, "slabs"), &count),
	       term_bytes(fa_value_u64(slabs, "bytes"), &bytes),
	       term_bytes(fa_value_u64(slabs, "free_bytes"), &free_bytes),
	       term_bytes(fa_value_u64(slabs, "compact_gain_bytes"), &compacted),
	       term_bytes(fa_value_u64(slabs, "mesh_gain_bytes"), &meshed));
	if (fa_value_u64(slabs, "unplaced_blocks"))
		printf("%s blocks of %s are in slabs that their addresses do not tell.\n",
		       fa_format_count(fa_value_u64(slabs, "unplaced_blocks"), &count),
		       term_bytes(fa_value_u64(slabs, "unplaced_bytes"), &bytes));
	sites = fa_value_get(slabs, with_sites ? "sites" : "classes");
	if (!sites || !sites->n)
		return;
	if (!with_sites) {
		print_slab_classes(sites, top);
		return;
	}
	printf("%s%10s %10s %10s %8s  %s%s\n", term_on(STYLE_BOLD), "PINS ALONE", "SHARE",
	       "AT MOST", "SLABS", "SITE", term_off());
	for (const struct fa_value *s = sites->first; s && top--; s = s->next) {
		printf("%10s %10s %10s %8s  ", term_bytes(fa_value_u64(s, "sole"), &bytes),
		       term_bytes(fa_value_u64(s, "shapley"), &free_bytes),
		       term_bytes(fa_value_u64(s, "any"), &compacted),
		       fa_format_count(fa_value_u64(s, "slabs_sole"), &count));
		term_text(fa_value_text(s, "name"), term_width() > 60 ? term_width() - 44 : 0);
		putchar('\n');
		term_stack(fa_value_get(s, "stack"), STACK_MAX);
	}
}

int verb_frag(const struct cli_verb *verb, const struct cli_options *options)
{
	struct cli_analysis a;
	int status = cli_analyse_moment(options, verb->passes, &a);
	struct fa_text at;

	if (status != CLI_OK)
		return status;
	if (options->json) {
		static const char *const columns[] = {"frag.", "waterfall.", NULL};

		if (options->series)
			cli_print_json_columns(&a, "frag", columns);
		else
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
	if (options->sites) {
		print_sites_long(frag, options->top ? options->top : DEFAULT_TOP);
		print_slabs(frag, options->top ? options->top : DEFAULT_TOP, true);
	} else if (options->pages) {
		print_pages(frag, options->top ? options->top : DEFAULT_TOP);
	} else {
		print_waterfall(frag);
		print_metrics(metrics);
		print_occupancy(metrics);
		print_holes(metrics);
		print_orders(metrics);
		print_slabs(frag, options->top ? options->top : DEFAULT_TOP, false);
		print_sites(fa_value_get(frag, "sites"), options->top ? options->top : DEFAULT_TOP);
		print_why(frag);
	}
	cli_analysis_deinit(&a);
	return CLI_OK;
}

/* SPDX-License-Identifier: MIT */
/* fraganalyze node: the memory of a machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "fa_node.h"

enum { ORDERS = 11, COLUMN = 6 };

static const struct fa_value *first_of(const struct fa_value *list)
{
	return list ? list->first : NULL;
}

static double item(const struct fa_value *list, size_t i)
{
	const struct fa_value *value = first_of(list);

	while (value && i--)
		value = value->next;
	return value && value->kind == FA_NUMBER ? strtod(value->text, NULL) : 0;
}

/* ---- free memory ----------------------------------------------------------------------------- */

static void print_zones(const struct fa_value *node)
{
	struct fa_text text;

	printf("\n%s%-16s %10s %10s %9s  FREE BLOCKS BY ORDER 0..10%s\n", term_on(STYLE_BOLD),
	       "ZONE", "MANAGED", "FREE", "UNUSABLE", term_off());
	for (const struct fa_value *zone = first_of(fa_value_get(node, "zones")); zone;
	     zone = zone->next) {
		const struct fa_value *last = fa_value_get(zone, "last");
		const struct fa_value *blocks = fa_value_get(last, "free_blocks");
		char name[48];

		if (!fa_value_u64(zone, "managed_pages"))
			continue;
		snprintf(name, sizeof(name), "%" PRIi64 " %.40s", fa_value_i64(zone, "node"),
			 fa_value_text(zone, "name"));
		term_text(name, 16);
		printf("%*s %10s", (int)(16 - (strlen(name) < 16 ? strlen(name) : 16)), "",
		       term_bytes(fa_value_u64(zone, "managed_pages") * 4096, &text));
		printf(" %10s %7.1f %% ",
		       term_bytes(fa_value_u64(last, "free_pages") * 4096, &text),
		       100 * item(fa_value_get(last, "uf_index"), 9));
		for (size_t o = 0; o < ORDERS; o++)
			printf(" %.0f", item(blocks, o));
		putchar('\n');
	}
	printf("%sUNUSABLE: the share of free memory that can't be had as pages of 2 MiB%s\n",
	       term_on(STYLE_DIM), term_off());
}

/* One line of bars a zone: unusable(9) over time. */
static void print_timeline(const struct fa_doc *doc, const struct fa_value *node)
{
	const struct fa_column *column = fa_doc_column_find(doc, "node.unusable9");
	const struct fa_value *zones = fa_value_get(node, "zones");
	size_t n_zones = zones ? zones->n : 0, z = 0;
	size_t n = column && n_zones ? column->n / n_zones : 0;
	uint64_t *values = n > 1 ? calloc(n, sizeof(*values)) : NULL;
	struct fa_text text;

	if (!values)
		return;
	printf("\nunusable for 2 MiB over %s\n",
	       fa_format_time(fa_value_u64(node, "duration_ns"), &text));
	for (const struct fa_value *zone = first_of(zones); zone; zone = zone->next, z++) {
		if (!fa_value_u64(zone, "managed_pages"))
			continue;
		for (size_t i = 0; i < n; i++)
			values[i] =
				(uint64_t)(1000 * ((const double *)column->data)[i * n_zones + z]);
		printf("  %-10.10s ", fa_value_text(zone, "name"));
		term_spark(values, n, 1000, 60);
		printf(" %.1f %%\n", (double)values[n - 1] / 10);
	}
	free(values);
}

static void print_frames(const struct fa_value *node)
{
	uint64_t used = 0, mixed = 0, few = 0;
	bool has = false;

	for (const struct fa_value *zone = first_of(fa_value_get(node, "zones")); zone;
	     zone = zone->next) {
		const struct fa_value *frames = fa_value_get(zone, "frames");

		has = has || !fa_value_is_null(frames);
		used += fa_value_u64(frames, "used_pageblocks");
		mixed += fa_value_u64(frames, "mixed_pageblocks");
		few += fa_value_u64(frames, "pinned_by_few");
	}
	if (has)
		printf("\n%" PRIu64 " of %" PRIu64
		       " pageblocks in use (2 MiB) are mixed: they hold pages that can move and "
		       "pages that can't;\n%" PRIu64 " of these are held by 8 pages or fewer\n",
		       mixed, used, few);
}

static void print_types(const struct fa_value *node)
{
	for (const struct fa_value *zone = first_of(fa_value_get(node, "zones")); zone;
	     zone = zone->next) {
		bool any = false;

		for (const struct fa_value *type = first_of(fa_value_get(zone, "pageblocks")); type;
		     type = type->next) {
			uint64_t first = fa_value_u64(type, "first");
			uint64_t last = fa_value_u64(type, "last");

			if (first == last)
				continue;
			if (!any)
				printf("pageblocks of %s:", fa_value_text(zone, "name"));
			any = true;
			printf(" %s %" PRIu64 " -> %" PRIu64 ";", fa_value_text(type, "type"),
			       first, last);
		}
		if (any)
			putchar('\n');
	}
}

/* ---- what happened --------------------------------------------------------------------------- */

static void print_counters(const struct fa_value *node)
{
	const struct fa_value *counters = fa_value_get(node, "counters");
	const struct fa_value *events = fa_value_get(node, "events");
	struct fa_text a, b;

	printf("\nhuge pages: %s faults served, %s not; compaction: %s direct, %s of them in "
	       "vain\n",
	       fa_format_count(fa_value_u64(counters, "thp_fault_alloc"), &a),
	       fa_format_count(fa_value_u64(counters, "thp_fault_fallback"), &b),
	       fa_format_count(fa_value_u64(counters, "compact_stall"), &(struct fa_text){{0}}),
	       fa_format_count(fa_value_u64(counters, "compact_fail"), &(struct fa_text){{0}}));
	if (fa_value_is_null(events))
		return;
	printf("%s events: %s allocations, %" PRIu64 " served from pageblocks of another type "
	       "(%.1f a million)\n",
	       fa_format_count(fa_value_u64(events, "events"), &a),
	       fa_format_count(fa_value_u64(events, "allocations"), &b),
	       fa_value_u64(events, "fallbacks"), fa_value_f64(events, "fallbacks_per_million"));
	if (fa_value_u64(events, "lost"))
		cli_warn("%" PRIu64 " events were lost: the kernel overwrote them",
			 fa_value_u64(events, "lost"));
}

static void print_slabs(const struct fa_value *node)
{
	const struct fa_value *slabs = fa_value_get(node, "slabs");
	struct fa_text a, b;

	if (fa_value_is_null(slabs))
		return;
	printf("\nslabs hold %s, %s of it without an object\n",
	       term_bytes(fa_value_u64(slabs, "bytes"), &a),
	       term_bytes(fa_value_u64(slabs, "waste_bytes"), &b));
	printf("%s%10s %10s %9s  %s%s\n", term_on(STYLE_BOLD), "WASTE", "HELD", "OBJECT", "CACHE",
	       term_off());
	for (const struct fa_value *cache = first_of(fa_value_get(slabs, "caches")); cache;
	     cache = cache->next) {
		printf("%10s %10s %9" PRIu64 "  ",
		       term_bytes(fa_value_u64(cache, "waste_bytes"), &a),
		       term_bytes(fa_value_u64(cache, "bytes"), &b),
		       fa_value_u64(cache, "object_bytes"));
		term_text(fa_value_text(cache, "cache"), 40);
		putchar('\n');
	}
}

static void print_advice(const struct fa_value *node)
{
	printf("\n%sWHAT CAN BE DONE%s\n", term_on(STYLE_BOLD), term_off());
	for (const struct fa_value *advice = first_of(fa_value_get(node, "advice")); advice;
	     advice = advice->next) {
		const char *command = fa_value_text(advice, "command");

		fputs(fa_value_true(advice, "worth_it") ? "* " : "  ", stdout);
		term_wrapped(fa_value_text(advice, "text"), 2, 2);
		if (command && fa_value_true(advice, "worth_it"))
			printf("    %s\n", command);
	}
}

/* ---- models ---------------------------------------------------------------------------------- */

static void print_replay(const struct fa_value *held)
{
	for (const struct fa_value *zone =
		     first_of(fa_value_get(fa_value_get(held, "replay"), "zones"));
	     zone; zone = zone->next) {
		const struct fa_value *policy = fa_value_get(zone, "policy");

		if (!fa_value_u64(zone, "events"))
			continue;
		printf("  %s: %" PRIu64 " events replayed, %.1f a million impossible",
		       fa_value_text(zone, "zone"), fa_value_u64(zone, "events"),
		       fa_value_f64(zone, "impossible_per_million"));
		if (fa_value_u64(zone, "compared_pages"))
			printf("; %.4f %% of pages differ, unusable by %.4f",
			       100 * fa_value_f64(zone, "different_share"),
			       fa_value_f64(zone, "worst_unusable_difference"));
		printf(";\n    placement by the model: W1 %.3f, unusable(9) off by %.3f at worst\n",
		       fa_value_f64(policy, "worst_w1"),
		       fa_value_f64(policy, "worst_unusable9_difference"));
	}
}

static void print_held(const struct fa_value *node)
{
	const struct fa_value *held = fa_value_get(node, "held");
	const char *note = fa_value_text(held, "replay_note");
	unsigned cuts = 0, equal = 0;

	for (const struct fa_value *cut = first_of(fa_value_get(held, "cuts")); cut;
	     cut = cut->next)
		if (!fa_value_is_null(fa_value_get(cut, "equals_buddyinfo"))) {
			cuts++;
			equal += fa_value_true(cut, "equals_buddyinfo");
		}
	printf("\n%sTHE MODELS ON THIS MACHINE%s\n", term_on(STYLE_BOLD), term_off());
	printf("  indices: %" PRIu64 " of %" PRIu64 " lines as the kernel says\n",
	       fa_value_u64(held, "index_lines_equal"), fa_value_u64(held, "index_lines"));
	if (cuts)
		printf("  free page frames cut into blocks: %u of %u zones as buddyinfo has them\n",
		       equal, cuts);
	print_replay(held);
	if (note)
		printf("  no replay further: %s\n", note);
	if (fa_value_u64(fa_value_get(fa_value_get(node, "events"), "compaction_ends"),
			 "contended"))
		puts("  the kernel gave up a compaction before its end (contended): a large folio "
		     "that "
		     "found no\n  place, or a lock");
	for (const struct fa_value *zone = first_of(fa_value_get(held, "compaction")); zone;
	     zone = zone->next)
		if (!fa_value_is_null(fa_value_get(zone, "model_won")))
			printf("  compaction of %s: %" PRIi64 " pages of 2 MiB won, %" PRIi64
			       " by the model\n",
			       fa_value_text(zone, "zone"), fa_value_i64(zone, "won"),
			       fa_value_i64(zone, "model_won"));
}

static void print_sources(const struct fa_value *node)
{
	for (const struct fa_value *source = first_of(fa_value_get(node, "sources")); source;
	     source = source->next) {
		const char *status = fa_value_text(source, "status");
		const char *detail = fa_value_text(source, "detail");

		if (status && strcmp(status, "read") != 0 && strcmp(status, "off") != 0)
			cli_warn("without %s: %s", fa_value_text(source, "name"),
				 detail ? detail : status);
	}
}

/* ---- the verb -------------------------------------------------------------------------------- */

static void print_text(const struct fa_doc *doc, const struct fa_value *node)
{
	struct fa_text time;

	printf("Memory of a machine with Linux %s, %" PRIi64 " CPUs: %" PRIu64 " moments in %s\n",
	       fa_value_text(node, "kernel") ? fa_value_text(node, "kernel") : "?",
	       fa_value_i64(node, "cpus"), fa_value_u64(node, "moments"),
	       fa_format_time(fa_value_u64(node, "duration_ns"), &time));
	print_sources(node);
	print_zones(node);
	print_timeline(doc, node);
	print_frames(node);
	print_types(node);
	print_counters(node);
	print_slabs(node);
	print_advice(node);
	print_held(node);
}

int cli_analyse_node(const struct cli_options *options, struct cli_analysis *ret)
{
	struct ft_error *error;

	*ret = (struct cli_analysis){0};
	ft_arena_init(&ret->arena);
	error = ft_reader_open(options->path,
			       FT_READER_NODE | (options->no_wait ? FT_READER_NO_WAIT : 0),
			       &ret->reader);
	if (!error)
		error = fa_doc_create(&ret->doc);
	if (!error)
		error = fa_node_analyse(ret->reader, &(struct fa_node_options){.top = options->top},
					ret->doc);
	if (!error)
		return CLI_OK;
	cli_analysis_deinit(ret);
	return cli_fail_input(error);
}

int verb_node(const struct cli_verb *verb, const struct cli_options *options)
{
	static const char *const prefixes[] = {"node.", NULL};
	struct cli_analysis a;
	int status = cli_analyse_node(options, &a);

	if (status != CLI_OK)
		return status;
	if (options->json && options->series)
		cli_print_json_columns(&a, "node", prefixes);
	else if (options->json)
		cli_print_json(&a, "node");
	else
		print_text(a.doc, cli_section(&a, "node"));
	cli_analysis_deinit(&a);
	return CLI_OK;
}

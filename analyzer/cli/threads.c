/* SPDX-License-Identifier: MIT */
/* fraganalyze threads: a row a thread, and who freed whose memory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "ft_cleanup.h"

enum { DEFAULT_TOP = 20, PAIRS_MAX = 10 };

static int compare_threads(const void *a, const void *b)
{
	const struct fa_value *x = *(const struct fa_value *const *)a;
	const struct fa_value *y = *(const struct fa_value *const *)b;
	uint64_t left = fa_value_u64(x, "live_bytes"), right = fa_value_u64(y, "live_bytes");

	if (left == right) {
		left = fa_value_u64(x, "allocated_bytes");
		right = fa_value_u64(y, "allocated_bytes");
	}
	if (left != right)
		return left > right ? -1 : 1;
	left = fa_value_u64(x, "id");
	right = fa_value_u64(y, "id");
	return left < right ? -1 : left > right;
}

static void print_thread(const struct fa_value *thread)
{
	struct fa_text live, blocks, allocated, others, rate, error;
	const char *name = fa_value_text(thread, "name");

	printf("%10s%s %8s %10s %15s %11s  ", term_bytes(fa_value_u64(thread, "live_bytes"), &live),
	       term_error(thread, "live_relative_error", 10, &error),
	       fa_format_count(fa_value_u64(thread, "live_blocks"), &blocks),
	       term_bytes(fa_value_u64(thread, "allocated_bytes"), &allocated),
	       term_bytes(fa_value_u64(thread, "freed_by_others_bytes"), &others),
	       fa_value_is_null(fa_value_get(thread, "rate_bytes_per_s"))
		       ? "-"
		       : term_rate(fa_value_f64(thread, "rate_bytes_per_s"), &rate));
	if (fa_value_true(thread, "folded")) {
		term_text(name ? name : "(other threads)", term_width() ? 20 : 0);
		printf(" %s%" PRIu64 " threads%s\n", term_on(STYLE_DIM),
		       fa_value_u64(thread, "threads"), term_off());
		return;
	}
	if (fa_value_is_null(fa_value_get(thread, "tid")))
		fputs("(unknown)", stdout);
	else
		term_text(name ? name : "(no name)", term_width() ? 20 : 0);
	printf(" %s#%" PRIu64 "%s\n", term_on(STYLE_DIM), fa_value_u64(thread, "id"), term_off());
}

struct pair {
	size_t from, to;
	uint64_t bytes;
};

static int compare_pairs(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x->from != y->from ? (x->from < y->from ? -1 : 1)
				  : (x->to < y->to ? -1 : x->to > y->to);
}

static const struct fa_value *item_at(const struct fa_value *array, size_t index)
{
	const struct fa_value *item = array ? array->first : NULL;

	while (item && index--)
		item = item->next;
	return item;
}

static void print_name(const struct fa_value *threads, const struct fa_value *id)
{
	if (fa_value_is_null(id)) {
		fputs("(other threads)", stdout);
		return;
	}
	for (const struct fa_value *t = threads->first; t; t = t->next) {
		if (fa_value_u64(t, "id") != strtoull(id->text, NULL, 10))
			continue;

		const char *name = fa_value_text(t, "name");

		term_text(name ? name : "(no name)", 0);
	}
	printf(" #%s", id->text);
}

static void print_matrix(const struct fa_value *section)
{
	const struct fa_value *matrix = fa_value_get(section, "free_matrix");
	const struct fa_value *ids = fa_value_get(matrix, "ids");
	const struct fa_value *bytes = fa_value_get(matrix, "bytes");
	const struct fa_value *threads = fa_value_get(section, "threads");
	size_t n = ids ? ids->n : 0, n_pairs = 0;
	ft_auto_free struct pair *pairs = malloc((n * n + 1) * sizeof(*pairs));

	if (!pairs || !bytes)
		return;
	for (size_t i = 0; i < n; i++) {
		const struct fa_value *row = item_at(bytes, i);

		for (size_t j = 0; j < n; j++) {
			uint64_t value = strtoull(item_at(row, j)->text, NULL, 10);

			if (i != j && value)
				pairs[n_pairs++] = (struct pair){i, j, value};
		}
	}
	if (!n_pairs) {
		puts("\nEvery block that was freed was freed by the thread that allocated it.");
		return;
	}
	qsort(pairs, n_pairs, sizeof(*pairs), compare_pairs);
	puts("\nFreed by another thread than allocated it:");
	for (size_t i = 0; i < n_pairs && i < PAIRS_MAX; i++) {
		struct fa_text text;

		printf("%10s  ", term_bytes(pairs[i].bytes, &text));
		print_name(threads, item_at(ids, pairs[i].from));
		fputs(" -> ", stdout);
		print_name(threads, item_at(ids, pairs[i].to));
		putchar('\n');
	}
	if (n_pairs > PAIRS_MAX)
		printf("%10s  %zu more pairs\n", "", n_pairs - PAIRS_MAX);
}

/* Arenas of which one grows while others have memory free. */
static void print_arenas(const struct fa_value *arenas)
{
	uint64_t imbalance = fa_value_u64(arenas, "imbalance_bytes");
	struct fa_text text;

	if (!fa_value_is_null(arenas) && imbalance)
		printf("\n%s are free in arenas of malloc that do not grow, while another does.\n",
		       term_bytes(imbalance, &text));
}

static int print_text(struct cli_analysis *a, unsigned top)
{
	const struct fa_value *section = cli_section(a, "threads");
	const struct fa_value *threads = fa_value_get(section, "threads");
	size_t n = 0;
	ft_auto_free const struct fa_value **rows =
		malloc(((threads ? threads->n : 0) + 1) * sizeof(struct fa_value *));

	if (!rows)
		return cli_fail(&ft_enomem, CLI_FAILED);
	for (const struct fa_value *t = threads ? threads->first : NULL; t; t = t->next)
		rows[n++] = t;
	qsort(rows, n, sizeof(*rows), compare_threads);
	term_estimated(section);
	printf("%s%10s%s %8s %10s %15s %11s  %s%s\n", term_on(STYLE_BOLD), "LIVE",
	       fa_value_true(section, "estimated") ? "     ERROR" : "", "BLOCKS", "ALLOCATED",
	       "FREED BY OTHERS", "RATE", "THREAD", term_off());
	for (size_t i = 0; i < n && i < top; i++)
		print_thread(rows[i]);
	if (n > top)
		printf("%zu more threads (--top N shows more)\n", n - top);
	print_matrix(section);
	print_arenas(fa_value_get(section, "arenas"));
	return CLI_OK;
}

int verb_threads(const struct cli_verb *verb, const struct cli_options *options)
{
	struct cli_analysis a;
	int status = cli_analyse(options, verb->passes, &a);

	if (status != CLI_OK)
		return status;
	if (options->json)
		cli_print_json(&a, "threads");
	else
		status = print_text(&a, options->top ? options->top : DEFAULT_TOP);
	cli_analysis_deinit(&a);
	return status;
}

/* SPDX-License-Identifier: MIT */
/*
 * Sampled recordings: figures are estimates, add up, and know how good they are
 *
 * A program is made up, call by call; of each block a fixed generator says whether it is in the
 * recording. What the program really did is kept beside it.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ft_error.h"
#include "scene.h"

enum { KIB = 1024, RATE = 512 * KIB };

static uint64_t state;

static double uniform(void)
{
	return (double)(scene_random(&state) >> 11) * 0x1p-53;
}

static bool is_sampled(uint64_t size, uint64_t rate)
{
	return uniform() < -expm1(-(double)size / (double)rate);
}

static void begin(struct scene *s, uint64_t rate)
{
	char text[32];

	scene_begin(s);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)rate);
	ck_assert_ptr_null(ft_writer_meta(s->writer, "sample_bytes", text));
}

/* ---- a program of five sites and three threads ------------------------------------------------
 */

enum { N_SITES = 5, N_CALLS = 300000 };

static const uint64_t sizes[N_SITES] = {40, 700, 6000, RATE, 5 * RATE};

struct truth {
	double allocated[N_SITES], live[N_SITES], calls[N_SITES];
};

/* Each call allocates; two thirds of the blocks are freed soon, some of them by another thread. */
static void record_program(struct scene *s, struct truth *truth)
{
	uint64_t address = UINT64_C(0x10000000);

	*truth = (struct truth){0};
	for (unsigned i = 0; i < N_CALLS; i++) {
		/* Small ones are many. */
		uint64_t r = scene_random(&state);
		uint32_t site = r % 1000 == 0 ? 4 : r % 300 == 0 ? 3 : (uint32_t)(r >> 20) % 3;
		bool sampled = is_sampled(sizes[site], RATE), freed = (r >> 40) % 3 != 0;
		uint32_t thread = 1 + i % 3;

		truth->allocated[site] += (double)sizes[site];
		truth->calls[site]++;
		if (!freed)
			truth->live[site] += (double)sizes[site];
		s->now_ns += 10000;
		if (!sampled)
			continue;
		scene_alloc(s, address, sizes[site], site, thread);
		if (freed)
			scene_free(s, address, i % 7 ? thread : 1 + (i + 1) % 3);
		address += sizes[site] + 4096;
	}
	scene_finish(s, false);
}

static double number(const struct fa_value *object, const char *key)
{
	ck_assert_msg(!fa_value_is_null(fa_value_get(object, key)), "%s is not there", key);
	return fa_value_f64(object, key);
}

static double sum_of(const struct fa_value *array, const char *key)
{
	double sum = 0;

	for (const struct fa_value *row = array->first; row; row = row->next)
		sum += fa_value_f64(row, key);
	return sum;
}

START_TEST(estimates_are_near_the_truth_and_say_how_near)
{
	struct scene s;
	struct truth truth;
	double squares = 0;

	state = 17;
	begin(&s, RATE);
	record_program(&s, &truth);
	scene_analyse(&s, NULL, 0, 0);

	const struct fa_value *sites = fa_value_get(scene_section(&s, "sites"), "sites");
	const struct fa_value *totals = fa_value_get(scene_section(&s, "summary"), "totals");
	double all = 0;

	for (uint32_t i = 0; i < N_SITES; i++) {
		const struct fa_value *row = scene_row(sites, "site", scene_stack(i));
		double allocated = number(row, "allocated_bytes");
		double error = number(row, "allocated_error");
		double live = number(row, "live_bytes"), live_error = number(row, "live_error");

		/* Stated errors are those of the theory, within what the sample leaves open. */
		double p = -expm1(-(double)sizes[i] / RATE);
		double sigma = (double)sizes[i] * sqrt(truth.calls[i] * (1 - p) / p);

		ck_assert_double_le(fabs(allocated - truth.allocated[i]), 4 * error + 1);
		ck_assert_double_le(fabs(live - truth.live[i]), 4 * live_error + 1);
		ck_assert_double_le(fabs(error - sigma), 0.5 * sigma + 1);
		ck_assert_double_eq_tol(number(row, "allocated_relative_error"), error / allocated,
					1e-5);
		ck_assert(fa_value_is_null(fa_value_get(row, "temporary")));
		ck_assert_double_le(fabs(number(row, "allocations") * (double)sizes[i] - allocated),
				    0.05 * allocated);
		squares += error * error;
		all += truth.allocated[i];
	}
	ck_assert_double_le(fabs(number(totals, "bytes_allocated") - all),
			    4 * number(totals, "bytes_allocated_error"));
	/* Errors of sites are independent. */
	ck_assert_double_eq_tol(number(totals, "bytes_allocated_error"), sqrt(squares), 5);
	ck_assert_double_lt(number(totals, "bytes_allocated_relative_error"), 0.05);
	scene_end(&s);
}
END_TEST

START_TEST(sums_agree_to_the_byte)
{
	struct scene s;
	struct truth truth;

	state = 18;
	begin(&s, RATE);
	record_program(&s, &truth);
	scene_analyse(&s, NULL, 0, 0);

	const struct fa_value *sites = fa_value_get(scene_section(&s, "sites"), "sites");
	const struct fa_value *leaks = fa_value_get(scene_section(&s, "leaks"), "leaks");
	const struct fa_value *threads = fa_value_get(scene_section(&s, "threads"), "threads");
	const struct fa_value *totals = fa_value_get(scene_section(&s, "summary"), "totals");
	const struct fa_value *matrix =
		fa_value_get(fa_value_get(scene_section(&s, "threads"), "free_matrix"), "bytes");
	double freed = number(totals, "bytes_allocated") - number(totals, "live_bytes");
	double in_matrix = 0;
	struct {
		const struct fa_value *rows;
		const char *key, *total;
	} sums[] = {{sites, "allocated_bytes", "bytes_allocated"},
		    {sites, "allocations", "allocations"},
		    {sites, "live_bytes", "live_bytes"},
		    {sites, "live_blocks", "live_blocks"},
		    {sites, "peak_bytes", "peak_bytes"},
		    {leaks, "bytes", "live_bytes"},
		    {leaks, "blocks", "live_blocks"},
		    {threads, "allocated_bytes", "bytes_allocated"},
		    {threads, "allocations", "allocations"},
		    {threads, "live_bytes", "live_bytes"},
		    {threads, "live_blocks", "live_blocks"}};
	static const struct {
		const char *column, *total;
	} columns[] = {{"timeline.live_bytes", "live_bytes"},
		       {"timeline.live_blocks", "live_blocks"},
		       {"timeline.usable_bytes", "usable_bytes"},
		       {"timeline.allocated_bytes", "bytes_allocated"},
		       {"timeline.allocations", "allocations"}};

	for (size_t i = 0; i < sizeof(sums) / sizeof(*sums); i++)
		ck_assert_msg(sum_of(sums[i].rows, sums[i].key) == number(totals, sums[i].total),
			      "%s: %.0f of %.0f", sums[i].key, sum_of(sums[i].rows, sums[i].key),
			      number(totals, sums[i].total));
	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
		const struct fa_column *column = scene_column(&s, columns[i].column);

		ck_assert((double)scene_u64(column, column->n - 1) ==
			  number(totals, columns[i].total));
	}
	for (const struct fa_value *row = matrix->first; row; row = row->next)
		for (const struct fa_value *cell = row->first; cell; cell = cell->next)
			in_matrix += strtod(cell->text, NULL);
	ck_assert(in_matrix == freed);

	/* The flame graph, too; of what is temporary it says nothing. */
	const struct fa_value *flame = scene_section(&s, "flame");
	const struct fa_column *allocated = scene_column(&s, "flame.allocated");
	double sum = 0;

	for (size_t i = 0; i < allocated->n; i++)
		sum += (double)scene_u64(allocated, i);
	ck_assert(sum == number(totals, "bytes_allocated"));
	for (const struct fa_value *m = fa_value_get(flame, "metrics")->first; m; m = m->next)
		ck_assert_str_ne(m->text, "temporary");
	ck_assert_ptr_null(fa_doc_column_find(s.doc, "flame.temporary"));

	/* All sections say what they are. */
	static const char *const sections[] = {"summary", "leaks", "sites", "threads", "flame"};

	for (size_t i = 0; i < 5; i++) {
		ck_assert(fa_value_true(scene_section(&s, sections[i]), "estimated"));
		ck_assert(number(scene_section(&s, sections[i]), "sample_bytes") == RATE);
	}
	scene_end(&s);
}
END_TEST

/* A window has its own errors, and what lived before it counts as live. */
START_TEST(a_window_is_estimated_as_the_whole_is)
{
	struct scene s;
	struct truth truth;
	struct fa_site site;

	state = 19;
	begin(&s, RATE);
	record_program(&s, &truth);
	scene_analyse(&s, NULL, 1500 * MS, 2000 * MS);

	const struct fa_totals *totals = fa_engine_totals(s.engine);
	uint64_t live = 0, allocated = 0, variance = 0, live_variance = 0;

	for (uint32_t i = 0; i < N_SITES; i++) {
		fa_engine_site(s.engine, scene_stack(i), &site);
		live += site.live_bytes;
		allocated += site.bytes_allocated;
		variance += site.allocated_variance;
		live_variance += site.live_variance;
	}
	ck_assert_uint_eq(live, totals->live_bytes);
	ck_assert_uint_eq(allocated, totals->bytes_allocated);
	ck_assert_uint_eq(variance, totals->allocated_variance);
	ck_assert_uint_eq(live_variance, totals->live_variance);
	ck_assert_uint_gt(live_variance, 0);
	ck_assert_uint_gt(allocated, 0);
	scene_end(&s);
}
END_TEST

START_TEST(the_layout_is_refused_with_the_reason)
{
	struct scene s;

	begin(&s, RATE);
	scene_alloc(&s, 0x10000000, 4 * RATE, 1, 1);
	s.now_ns = SEC;
	scene_finish(&s, false);
	scene_analyse(&s, NULL, 0, 0);
	for (int i = 0; i < 2; i++) {
		const struct fa_value *section = scene_section(&s, i ? "map" : "frag");
		const char *reason = fa_value_text(section, "unavailable");

		ck_assert_uint_eq(section->n, 1);
		ck_assert_ptr_nonnull(reason);
		ck_assert_ptr_nonnull(strstr(reason, "sample"));
		ck_assert_ptr_nonnull(strstr(reason, "512 KiB"));
	}
	ck_assert_ptr_null(fa_doc_column_find(s.doc, "frag.time_ns"));
	ck_assert_ptr_null(fa_doc_column_find(s.doc, "map.occupancy"));
	ck_assert_ptr_nonnull(fa_engine_refuses(s.engine, fa_pass_find("frag")));
	ck_assert_ptr_null(fa_engine_refuses(s.engine, fa_pass_find("leaks")));

	/* The errors say what they can't find. */
	const struct fa_value *errors = scene_section(&s, "errors");

	ck_assert(!fa_value_true(errors, "all_frees_seen"));
	ck_assert_ptr_nonnull(fa_value_text(errors, "limits"));
	scene_end(&s);
}
END_TEST

START_TEST(a_full_recording_is_exact)
{
	struct scene s;

	scene_begin(&s);
	scene_alloc(&s, 0x10000000, 100, 1, 1);
	scene_free(&s, 0x10000000, 1);
	scene_alloc(&s, 0x10000000, 300, 1, 1);
	s.now_ns = SEC;
	scene_finish(&s, false);
	scene_analyse(&s, NULL, 0, 0);

	const struct fa_value *summary = scene_section(&s, "summary");
	const struct fa_value *sites = fa_value_get(scene_section(&s, "sites"), "sites");

	ck_assert(!fa_value_true(summary, "estimated"));
	ck_assert(fa_value_is_null(fa_value_get(summary, "sample_bytes")));
	ck_assert_ptr_null(fa_value_get(fa_value_get(summary, "totals"), "live_bytes_error"));
	ck_assert_ptr_null(fa_value_get(sites->first, "live_error"));
	ck_assert_uint_eq(fa_value_u64(sites->first, "temporary"), 1);
	ck_assert_uint_eq(fa_value_u64(sites->first, "allocated_bytes"), 400);
	ck_assert(fa_value_true(scene_section(&s, "errors"), "all_frees_seen"));
	scene_end(&s);
}
END_TEST

START_TEST(a_rate_that_is_none_is_refused)
{
	static const char *const rates[] = {
		"0", "", "-5", "x", "512KiB", "67108865", "99999999999999999999999"};
	struct fa_engine *engine = NULL;
	struct ft_reader *reader;
	struct ft_error *error;
	struct scene s;

	scene_begin(&s);
	ck_assert_ptr_null(ft_writer_meta(s.writer, "sample_bytes", rates[_i]));
	scene_alloc(&s, 0x10000000, 100, 1, 1);
	scene_finish(&s, false);
	ck_assert_ptr_null(ft_reader_open(s.path, 0, &reader));
	error = fa_engine_create(reader, NULL, &engine);
	ck_assert_ptr_nonnull(error);
	ck_assert_int_eq(error->kind, FT_ERROR_INPUT);
	ck_assert_ptr_nonnull(strstr(error->message, "sample_bytes"));
	ft_error_destroy(error);
	ft_reader_close(reader);
	scene_end(&s);
}
END_TEST

/* ---- growth ---------------------------------------------------------------------------------- */

/*
 * 30 s of a leak of 200 bytes a millisecond (6 MB in all) beside a cache of 2000 entries that are
 * replaced at random, 10 000 a second. Returns the verdict on a site.
 */
static void growth(uint64_t rate, uint64_t seed, char leak[32], char cache[32])
{
	enum { ENTRIES = 2000 };
	static uint64_t entries[ENTRIES];
	uint64_t address = UINT64_C(0x10000000);
	struct scene s;

	state = seed;
	memset(entries, 0, sizeof(entries));
	begin(&s, rate);
	for (unsigned ms = 0; ms < 30000; ms++) {
		s.now_ns = ms * MS;
		if (is_sampled(200, rate))
			scene_alloc(&s, address += 4096, 200, 1, 1);
		for (unsigned i = 0; i < 10; i++) {
			uint64_t *entry = &entries[scene_random(&state) % ENTRIES];

			if (*entry)
				scene_free(&s, *entry, 1);
			*entry = 0;
			if (!is_sampled(1000, rate))
				continue;
			*entry = address += 4096;
			scene_alloc(&s, *entry, 1000, 2, 1);
		}
	}
	scene_finish(&s, false);
	scene_analyse(&s, (const char *[]){"leaks", "summary", NULL}, 0, 0);
	for (uint32_t site = 1; site <= 2; site++) {
		const struct fa_value *row =
			scene_row(fa_value_get(scene_section(&s, "leaks"), "leaks"), "site",
				  scene_stack(site));

		strcpy(site == 1 ? leak : cache, row ? fa_value_text(row, "verdict") : "none");
	}
	scene_end(&s);
}

START_TEST(few_samples_are_unsure_and_many_are_not)
{
	char leak[32], cache[32];
	unsigned unsure = 0;

	/* 6 MB at 4 KiB: 1500 samples. */
	for (uint64_t seed = 1; seed <= 5; seed++) {
		growth(4 * KIB, seed, leak, cache);
		ck_assert_str_eq(leak, "growing");
		ck_assert_msg(strcmp(cache, "growing") && strcmp(cache, "suspect"),
			      "the cache is %s", cache);
	}
	/* At 512 KiB: a dozen, and four of the cache. */
	for (uint64_t seed = 1; seed <= 20; seed++) {
		growth(RATE, seed, leak, cache);
		ck_assert_msg(!strcmp(leak, "unsure") || !strcmp(leak, "none"), "the leak is %s",
			      leak);
		ck_assert_msg(!strcmp(cache, "unsure") || !strcmp(cache, "none"), "the cache is %s",
			      cache);
		unsure += !strcmp(leak, "unsure");
	}
	ck_assert_uint_ge(unsure, 19);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sampled");
	TCase *tcase = tcase_create("sampled");

	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, estimates_are_near_the_truth_and_say_how_near);
	tcase_add_test(tcase, sums_agree_to_the_byte);
	tcase_add_test(tcase, a_window_is_estimated_as_the_whole_is);
	tcase_add_test(tcase, the_layout_is_refused_with_the_reason);
	tcase_add_test(tcase, a_full_recording_is_exact);
	tcase_add_loop_test(tcase, a_rate_that_is_none_is_refused, 0, 7);
	tcase_add_test(tcase, few_samples_are_unsure_and_many_are_not);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

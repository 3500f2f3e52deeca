/* SPDX-License-Identifier: MIT */
/*
 * Growth: guilty and innocent sites side by side, on a virtual clock
 *
 * Ten minutes of a program in which each site plays one part. The verdicts must tell them apart;
 * the rates of the guilty must hold the true ones in their intervals.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fa_trend.h"
#include "scene.h"

enum part {
	LEAK,	       /* 100 bytes a 100 ms, never freed */
	LEAK_IN_CHURN, /* 1 block in 50 of a busy site is kept */
	LATE_LEAK,     /* starts after 70 % of the run */
	CACHE,	       /* 200 entries, the oldest goes when one comes */
	WARM_UP,       /* 500 blocks in the first 20 %, then nothing */
	SLOW_FILL,     /* approaches its bound exponentially, all of it stays */
	SAWTOOTH,      /* fills for 30 s, then drops all */
	BUFFER,	       /* one block that realloc grows */
	STEADY,	       /* one block that realloc moves without growing */
	CHURN,	       /* allocates and frees at once */
	N_PARTS
};

static const char *const expected[N_PARTS] = {
	[LEAK] = "growing",	 [LEAK_IN_CHURN] = "growing", [LATE_LEAK] = "growing",
	[CACHE] = "plateau",	 [WARM_UP] = "never_freed",   [SLOW_FILL] = "never_freed",
	[SAWTOOTH] = "sawtooth", [BUFFER] = "growing",	      [STEADY] = "churn",
};

struct world {
	struct scene s;
	uint64_t random, next_address;
	uint64_t cache[200], cache_at;
	uint64_t teeth[600], n_teeth;
	uint64_t buffer, buffer_size, steady, slow;
	uint64_t kept[20000], n_kept;
};

static uint64_t fresh(struct world *w)
{
	return w->next_address += 0x1000;
}

/* 100 ms of the program, `share` of its run being over. */
static void play(struct world *w, uint64_t tick, double share)
{
	struct scene *s = &w->s;
	uint64_t address = fresh(w);

	scene_alloc(s, address, 100, LEAK, 1);
	w->kept[w->n_kept++] = address;

	for (int i = 0; i < 5; i++) {
		address = fresh(w);
		scene_alloc(s, address, 200, LEAK_IN_CHURN, 1);
		if ((tick * 5 + (uint64_t)i) % 50)
			scene_free(s, address, 1);
	}
	if (share > 0.7)
		scene_alloc(s, fresh(w), 64, LATE_LEAK, 1);

	if (w->cache[w->cache_at])
		scene_free(s, w->cache[w->cache_at], 1);
	w->cache[w->cache_at] = fresh(w);
	scene_alloc(s, w->cache[w->cache_at], 50 + scene_random(&w->random) % 200, CACHE, 1);
	w->cache_at = (w->cache_at + 1) % 200;

	if (share < 0.2)
		scene_alloc(s, fresh(w), 300, WARM_UP, 1);

	/* 1 - exp(-t/tau) with tau a tenth of the run: its end is flat. */
	while ((double)w->slow < 400 * (1 - exp(-share * 10))) {
		scene_alloc(s, fresh(w), 500, SLOW_FILL, 1);
		w->slow++;
	}

	w->teeth[w->n_teeth++] = fresh(w);
	scene_alloc(s, w->teeth[w->n_teeth - 1], 400, SAWTOOTH, 1);
	if (w->n_teeth == 310) {
		while (w->n_teeth)
			scene_free(s, w->teeth[--w->n_teeth], 1);
	}

	address = fresh(w);
	w->buffer_size += 64;
	if (w->buffer)
		scene_realloc(s, w->buffer, address, w->buffer_size, BUFFER, 1);
	else
		scene_alloc(s, address, w->buffer_size, BUFFER, 1);
	w->buffer = address;

	address = fresh(w);
	if (w->steady)
		scene_realloc(s, w->steady, address, 8000 + scene_random(&w->random) % 500, STEADY,
			      1);
	else
		scene_alloc(s, address, 8000, STEADY, 1);
	w->steady = address;

	for (int i = 0; i < 20; i++) {
		scene_alloc(s, 0x800, 1000, CHURN, 1);
		scene_free(s, 0x800, 1);
	}
}

static void run_world(struct world *w, uint64_t n_ticks, uint64_t tick_ns, uint64_t seed)
{
	*w = (struct world){.random = seed, .next_address = 0x100000};
	scene_begin(&w->s);
	for (uint64_t tick = 0; tick < n_ticks; tick++) {
		w->s.now_ns += tick_ns;
		play(w, tick, (double)tick / (double)n_ticks);
	}
}

static void check_rate(const struct fa_value *row, double rate)
{
	double low = fa_value_f64(row, "rate_low"), high = fa_value_f64(row, "rate_high");
	double middle = fa_value_f64(row, "rate_bytes_per_s");

	ck_assert_msg(middle > rate * 0.9 && middle < rate * 1.1, "rate %f, true %f", middle, rate);
	ck_assert(low <= middle && middle <= high);
}

static void check_verdicts(struct world *w)
{
	const struct fa_value *leaks = fa_value_get(scene_section(&w->s, "leaks"), "leaks");

	for (uint32_t part = 0; part < N_PARTS; part++) {
		const struct fa_value *row = scene_row(leaks, "site", scene_stack(part));

		if (!expected[part]) {
			ck_assert_ptr_null(row);
			continue;
		}
		ck_assert_msg(row != NULL, "site %u is missing", part);
		ck_assert_msg(!strcmp(fa_value_text(row, "verdict"), expected[part]),
			      "site %u: %s, not %s", part, fa_value_text(row, "verdict"),
			      expected[part]);
		ck_assert_str_eq(fa_value_text(row, "class"), "unknown");
	}
}

static const char *const passes[] = {"leaks", "summary", NULL};

START_TEST(guilty_and_innocent_sites_are_told_apart)
{
	static struct world w;

	run_world(&w, 6000, 100 * MS, 1 + (uint64_t)_i * 7919);
	scene_finish(&w.s, false);
	scene_analyse(&w.s, passes, 0, UINT64_MAX);
	check_verdicts(&w);

	const struct fa_value *leaks = fa_value_get(scene_section(&w.s, "leaks"), "leaks");

	check_rate(scene_row(leaks, "site", scene_stack(LEAK)), 1000);
	check_rate(scene_row(leaks, "site", scene_stack(LEAK_IN_CHURN)), 200);
	check_rate(scene_row(leaks, "site", scene_stack(BUFFER)), 640);

	const struct fa_value *verdict = fa_value_get(scene_section(&w.s, "summary"), "verdict");

	ck_assert_str_eq(fa_value_text(verdict, "code"), "growing");
	ck_assert_ptr_nonnull(strstr(fa_value_text(verdict, "text"), "reachability unknown"));
	scene_end(&w.s);
}
END_TEST

START_TEST(a_teardown_hides_nothing)
{
	static struct world w;

	/* The program frees its leak in the last second: a container, cleaned up at exit. */
	run_world(&w, 6000, 100 * MS, 42);
	for (uint64_t i = 0; i < w.n_kept; i++) {
		w.s.now_ns += 100000;
		scene_free(&w.s, w.kept[i], 1);
	}
	scene_finish(&w.s, false);
	scene_analyse(&w.s, passes, 0, UINT64_MAX);
	check_verdicts(&w);

	const struct fa_value *leaks = fa_value_get(scene_section(&w.s, "leaks"), "leaks");
	const struct fa_value *row = scene_row(leaks, "site", scene_stack(LEAK));

	ck_assert_uint_eq(fa_value_u64(row, "bytes"), 0);
	check_rate(row, 1000);
	/* Nothing of it is live at the end, and the sentence does not give that as its size. */
	const struct fa_value *verdict = fa_value_get(scene_section(&w.s, "summary"), "verdict");

	ck_assert_ptr_nonnull(
		strstr(fa_value_text(verdict, "text"), "all of it freed at the end: growing"));
	scene_end(&w.s);
}
END_TEST

START_TEST(silence_is_no_growth)
{
	static struct world w;

	/* All of it happens in the first tenth; then the program sleeps. */
	run_world(&w, 600, 100 * MS, 3);
	w.s.now_ns *= 10;
	scene_finish(&w.s, false);
	scene_analyse(&w.s, passes, 0, UINT64_MAX);

	const struct fa_value *leaks = fa_value_get(scene_section(&w.s, "leaks"), "leaks");

	for (const struct fa_value *row = leaks->first; row; row = row->next) {
		ck_assert_str_ne(fa_value_text(row, "verdict"), "growing");
		ck_assert_str_ne(fa_value_text(row, "verdict"), "suspect");
	}
	scene_end(&w.s);
}
END_TEST

START_TEST(a_short_run_is_unsure)
{
	static struct world w;

	run_world(&w, 6000, MS / 10, 4); /* 0.6 s */
	scene_finish(&w.s, false);
	scene_analyse(&w.s, passes, 0, UINT64_MAX);

	const struct fa_value *section = scene_section(&w.s, "leaks");
	const struct fa_value *leaks = fa_value_get(section, "leaks");
	const struct fa_value *summary = scene_section(&w.s, "summary");

	ck_assert_str_eq(fa_value_text(fa_value_get(section, "process"), "verdict"), "unsure");
	ck_assert_str_eq(fa_value_text(fa_value_get(summary, "verdict"), "code"), "unsure");
	for (const struct fa_value *row = leaks->first; row; row = row->next)
		ck_assert_str_ne(fa_value_text(row, "verdict"), "growing");
	ck_assert_str_eq(
		fa_value_text(scene_row(leaks, "site", scene_stack(LEAK_IN_CHURN)), "verdict"),
		"unsure");
	scene_end(&w.s);
}
END_TEST

/* Four buffers that grow: a trend, but nothing is born after the start. */
START_TEST(one_test_alone_makes_a_suspect)
{
	static struct scene s;

	scene_begin(&s);
	for (uint64_t i = 0; i < 2400; i++) {
		uint64_t address = 0x100000 + i * 0x100000;

		s.now_ns += 25 * MS;
		if (i < 4)
			scene_alloc(&s, address, 1000, 0, 1);
		else
			scene_realloc(&s, address - 0x400000, address, 1000 + i * 20, 0, 1);
	}
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *summary = scene_section(&s, "summary");
	const char *text = fa_value_text(fa_value_get(summary, "verdict"), "text");
	bool others = false;

	ck_assert_str_eq(fa_value_text(fa_value_get(summary, "verdict"), "code"), "suspect");
	ck_assert_msg(strstr(text, "may grow") && strstr(text, "in 4 blocks") &&
			      strstr(text, "only one of two tests"),
		      "%s", text);
	for (const struct fa_value *f = fa_value_get(summary, "findings")->first; f; f = f->next) {
		ck_assert(strncmp(fa_value_text(f, "text"), "No site grows", 13) != 0);
		others |= !strncmp(fa_value_text(f, "text"), "No other site grows", 19);
	}
	ck_assert(others);
	/* Named as it was called, not as its file. */
	ck_assert_str_eq(fa_value_text(fa_value_get(summary, "program"), "name"), "scene");
	scene_end(&s);
}
END_TEST

START_TEST(blocks_that_a_loss_may_have_freed_are_unsure)
{
	static struct world w;

	run_world(&w, 6000, 100 * MS, 5);
	ck_assert_ptr_null(ft_writer_loss(w.s.writer, &(struct ft_loss_row){
							      .first_ns = 590 * SEC,
							      .last_ns = 595 * SEC,
							      .thread = 1,
							      .n_events = 100,
							      .reason = "ring_full",
						      }));
	scene_finish(&w.s, false);
	scene_analyse(&w.s, passes, 0, UINT64_MAX);

	const struct fa_value *leaks = fa_value_get(scene_section(&w.s, "leaks"), "leaks");

	ck_assert_str_eq(fa_value_text(scene_row(leaks, "site", scene_stack(LEAK)), "verdict"),
			 "unsure");
	scene_end(&w.s);
}
END_TEST

/* ---- the tests themselves ----------------------------------------------------------------------
 */

START_TEST(mann_kendall_knows_its_values)
{
	double up[12], flat[12], down[12];

	for (int i = 0; i < 12; i++) {
		up[i] = i * i;
		flat[i] = 5;
		down[i] = -i;
	}
	/* S = 66, var = 12 * 11 * 29 / 18 */
	ck_assert(fabs(fa_mann_kendall(up, 12) - 65 / sqrt(12.0 * 11 * 29 / 18)) < 1e-9);
	ck_assert(fa_mann_kendall(flat, 12) == 0);
	ck_assert(fabs(fa_mann_kendall(down, 12) + fa_mann_kendall(up, 12)) < 1e-9);
}
END_TEST

START_TEST(theil_sen_ignores_an_outlier)
{
	double values[12];

	for (int i = 0; i < 12; i++)
		values[i] = 3 * i + 7;
	values[5] = 1e9;

	struct fa_slope slope = fa_theil_sen(values, 12);

	ck_assert(fabs(slope.slope - 3) < 1e-9);
	ck_assert(slope.low <= 3 && slope.high >= 3);
	ck_assert(slope.residual < 1e-9);
}
END_TEST

START_TEST(cohorts_of_a_leak_a_cache_and_a_warm_up)
{
	static const uint64_t leak[8] = {900, 1100, 1000, 950, 1050, 1000, 990, 1010};
	static const uint64_t cache[8] = {0, 0, 0, 0, 0, 0, 3000, 9000};
	static const uint64_t warm[8] = {9000, 500, 0, 0, 0, 0, 0, 0};
	static const uint64_t small[8] = {100, 100, 100, 100, 100, 100, 100, 100};
	static const uint64_t gap[8] = {1000, 1000, 0, 1000, 1000, 1000, 1000, 1000};

	ck_assert(fa_cohort_test(leak));
	ck_assert(fa_cohort_test(gap));
	ck_assert(!fa_cohort_test(cache));
	ck_assert(!fa_cohort_test(warm));
	ck_assert(!fa_cohort_test(small));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("growth");
	TCase *tcase = tcase_create("growth");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, guilty_and_innocent_sites_are_told_apart, 0, 3);
	tcase_add_test(tcase, a_teardown_hides_nothing);
	tcase_add_test(tcase, silence_is_no_growth);
	tcase_add_test(tcase, a_short_run_is_unsure);
	tcase_add_test(tcase, one_test_alone_makes_a_suspect);
	tcase_add_test(tcase, blocks_that_a_loss_may_have_freed_are_unsure);
	tcase_add_test(tcase, mann_kendall_knows_its_values);
	tcase_add_test(tcase, theil_sen_ignores_an_outlier);
	tcase_add_test(tcase, cohorts_of_a_leak_a_cache_and_a_warm_up);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

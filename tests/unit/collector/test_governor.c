/* SPDX-License-Identifier: MIT */
/* The steps that keep the overhead below a limit: windows in, steps out. */
#include <check.h>
#include <stdlib.h>

#include "co_governor.h"
#include "ft_governor.h"

enum { MOST = FT_GOVERNOR_STEPS - 1 };

#define WINDOW ((uint64_t)CO_GOVERNOR_WINDOW_NS)

static struct co_governor governor;

static void setup(void)
{
	co_governor_init(&governor, 0.05, MOST);
}

/* A window of a program that uses a whole processor, of which recording is `overhead` of the rest.
 */
static bool feed(double overhead)
{
	return co_governor_feed(&governor, WINDOW,
				(uint64_t)((double)WINDOW * overhead / (1 + overhead)));
}

START_TEST(below_the_limit_nothing_happens)
{
	for (int i = 0; i < 1000; i++)
		ck_assert(!feed(0.049));
	ck_assert_uint_eq(governor.step, 0);
}
END_TEST

START_TEST(each_window_above_the_limit_is_a_step)
{
	for (unsigned i = 1; i <= MOST; i++) {
		ck_assert(feed(0.051));
		ck_assert_uint_eq(governor.step, i);
	}
	ck_assert(!feed(10));
	ck_assert_uint_eq(governor.step, MOST);
}
END_TEST

START_TEST(between_half_the_limit_and_the_limit_the_step_stays)
{
	feed(1);
	feed(1);
	for (int i = 0; i < 1000; i++)
		ck_assert(!feed(i % 2 ? 0.026 : 0.049));
	ck_assert_uint_eq(governor.step, 2);
}
END_TEST

START_TEST(when_the_load_falls_it_comes_back_step_by_step)
{
	unsigned n = 0;

	while (governor.step < MOST)
		feed(1);
	for (unsigned step = MOST; step > 0; n++)
		if (feed(0.01))
			ck_assert_uint_eq(governor.step, --step);
	ck_assert_uint_eq(n, MOST * CO_GOVERNOR_PATIENCE);
	ck_assert(!feed(0.01));
}
END_TEST

START_TEST(one_window_that_is_not_quiet_begins_the_count_anew)
{
	feed(1);
	for (int i = 0; i < 100; i++)
		for (int k = 0; k < CO_GOVERNOR_PATIENCE; k++)
			ck_assert(!feed(k == CO_GOVERNOR_PATIENCE - 1 ? 0.04 : 0.01));
	ck_assert_uint_eq(governor.step, 1);
}
END_TEST

START_TEST(a_program_that_does_nothing_is_not_slowed_down)
{
	feed(1);
	/* Half a millisecond in all, and all of it recording. */
	for (int i = 0; i < CO_GOVERNOR_PATIENCE; i++)
		co_governor_feed(&governor, WINDOW / 1000, WINDOW / 1000);
	ck_assert_uint_eq(governor.step, 0);
	/* More recording than time, as a measurement of few events may have it, is a lot. */
	ck_assert(co_governor_feed(&governor, WINDOW, 2 * WINDOW));
	ck_assert_uint_eq(governor.step, 1);
}
END_TEST

START_TEST(a_constant_load_does_not_swing)
{
	/* At step 2 it is too dear, at step 3 so cheap that going back looks safe, each time. */
	enum { WINDOWS = 100000 };
	unsigned n_changes = 0, n_above = 0, last_changes = 0;

	for (int i = 0; i < WINDOWS; i++) {
		bool above = governor.step < 3;

		n_above += above;
		n_changes += feed(above ? 0.2 : 0.001);
		if (i == WINDOWS - 10000)
			last_changes = n_changes;
	}
	/* In the end it is tried every two minutes. */
	ck_assert_uint_le(n_changes - last_changes, 2 * (10000 / CO_GOVERNOR_MOST_PATIENCE + 1));
	ck_assert_uint_le(n_above, WINDOWS / CO_GOVERNOR_MOST_PATIENCE + 20);
}
END_TEST

START_TEST(after_a_long_rest_it_is_quick_again)
{
	unsigned n = 0;

	for (int i = 0; i < 5000; i++)
		feed(governor.step < 3 ? 0.2 : 0.001);
	ck_assert_uint_gt(governor.patience, CO_GOVERNOR_PATIENCE);
	for (int i = 0; i < 5000; i++)
		feed(0);
	ck_assert_uint_eq(governor.step, 0);
	feed(1);
	feed(1);
	while (governor.step)
		feed(0), n++;
	ck_assert_uint_eq(n, 2 * CO_GOVERNOR_PATIENCE);
}
END_TEST

START_TEST(any_load_gives_steps_that_are_there_one_at_a_time)
{
	uint32_t before = 0;

	srand(3);
	for (int i = 0; i < 200000; i++) {
		bool changed;

		if (i == 100000)
			governor.most = FT_GOVERNOR_CUTS;
		changed =
			co_governor_feed(&governor, (uint64_t)rand() % (2 * WINDOW),
					 (uint64_t)rand() % (WINDOW / (uint64_t)(1 + rand() % 40)));
		ck_assert(changed == (governor.step != before));
		ck_assert(governor.step + 1 >= before && governor.step <= before + 1);
		ck_assert_uint_le(governor.step, MOST);
		ck_assert_uint_ge(governor.patience, CO_GOVERNOR_PATIENCE);
		ck_assert_uint_le(governor.patience, CO_GOVERNOR_MOST_PATIENCE);
		if (i > 100010)
			ck_assert_uint_le(governor.step, FT_GOVERNOR_CUTS);
		before = governor.step;
	}
}
END_TEST

START_TEST(limits_are_percentages)
{
	static const struct {
		const char *text;
		uint32_t ppm;
	} good[] = {{"5%", 50000},     {"5", 50000},	   {"0.5%", 5000},   {"0.1", 1000},
		    {"100%", 1000000}, {"1000", 10000000}, {"2.75%", 27500}, {"5.%", 50000}};
	static const char *const bad[] = {"",
					  "%",
					  "x",
					  "-1",
					  "0",
					  "0.05%",
					  "1001",
					  "5 %",
					  "5%%",
					  "5x",
					  "1e1",
					  ".5",
					  "99999999999999999999"};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		ck_assert_uint_eq(ft_overhead_parse(good[i].text), good[i].ppm);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(ft_overhead_parse(bad[i]) == 0, "%s", bad[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("governor");
	TCase *c = tcase_create("governor");

	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, below_the_limit_nothing_happens);
	tcase_add_test(c, each_window_above_the_limit_is_a_step);
	tcase_add_test(c, between_half_the_limit_and_the_limit_the_step_stays);
	tcase_add_test(c, when_the_load_falls_it_comes_back_step_by_step);
	tcase_add_test(c, one_window_that_is_not_quiet_begins_the_count_anew);
	tcase_add_test(c, a_program_that_does_nothing_is_not_slowed_down);
	tcase_add_test(c, a_constant_load_does_not_swing);
	tcase_add_test(c, after_a_long_rest_it_is_quick_again);
	tcase_add_test(c, any_load_gives_steps_that_are_there_one_at_a_time);
	tcase_add_test(c, limits_are_percentages);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

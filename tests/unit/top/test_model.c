/* SPDX-License-Identifier: MIT */
/* What `top` knows: rates against a list of all accounts, orders, what is kept. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fa_top.h"

#define SECOND UINT64_C(1000000000)

static struct fa_top *top;

static void setup(void)
{
	ck_assert_ptr_null(fa_top_create(&top));
}

static void teardown(void)
{
	fa_top_destroy(top);
}

static void apply(uint64_t time_ns, uint64_t begin_ns, const struct fa_top_site *sites, size_t n)
{
	struct fa_top_totals totals = {
		.begin_ns = begin_ns, .time_ns = time_ns, .rss = -1, .swap = -1, .tracer = -1};

	for (size_t i = 0; i < n; i++) {
		totals.live_bytes += sites[i].live_bytes;
		totals.bytes_allocated += sites[i].bytes_allocated;
		totals.bytes_freed += sites[i].bytes_freed;
		totals.n_allocs += sites[i].n_allocs;
		totals.n_events += sites[i].n_allocs + sites[i].n_frees;
	}
	ck_assert_ptr_null(fa_top_apply(top, &totals, sites, n));
}

static struct fa_top_site site(uint32_t stack, uint64_t allocated, uint64_t freed)
{
	return (struct fa_top_site){.stack = stack,
				    .n_allocs = allocated,
				    .n_frees = freed,
				    .bytes_allocated = allocated,
				    .bytes_freed = freed,
				    .live_blocks = allocated - freed,
				    .live_bytes = allocated - freed};
}

static struct fa_top_row row_of(uint32_t stack)
{
	struct fa_top_row rows[64];
	size_t n = fa_top_rank(top, FA_TOP_LIVE, false, NULL, NULL, 0, rows, 64);

	for (size_t i = 0; i < n; i++)
		if (rows[i].site->stack == stack)
			return rows[i];
	ck_abort_msg("no site %u", stack);
	return rows[0];
}

static void assert_near(double a, double b)
{
	ck_assert_msg(fabs(a - b) <= 1e-6 * (1 + fabs(b)), "%g is not %g", a, b);
}

START_TEST(one_account_of_an_old_recording_has_no_rates)
{
	struct fa_top_site sites[] = {site(3, 500, 100)};
	struct fa_top_rates rates;

	apply(1000 * SECOND, 0, sites, 1);
	fa_top_rates(top, &rates);
	ck_assert(!rates.known);
	ck_assert(rates.minute_s == 0);
	ck_assert_uint_eq(fa_top_n_growing(top), 0);
	assert_near(row_of(3).start, 0.4);
}
END_TEST

START_TEST(a_young_recording_has_grown_since_it_began)
{
	/* It goes on from another: 50 bytes lived when it began. */
	struct fa_top_site sites[] = {site(3, 500, 100)};
	struct fa_top_rates rates;

	sites[0].live_bytes += 50;
	apply(30 * SECOND, 10 * SECOND, sites, 1);
	fa_top_rates(top, &rates);
	assert_near(rates.minute_s, 20);
	assert_near(rates.live, 400 / 20.0);
	assert_near(row_of(3).minute, 400 / 20.0);
	assert_near(row_of(3).start, 400 / 20.0);
	ck_assert_uint_eq(fa_top_n_growing(top), 1);
}
END_TEST

START_TEST(rates_are_those_of_a_list_of_all_accounts)
{
	enum { SITES = 5, MAX = 3000 };
	static uint64_t times[MAX], live[MAX][SITES];
	struct fa_top_site sites[SITES];
	uint64_t allocs[SITES] = {0}, frees[SITES] = {0}, now = 100 * SECOND;

	srand(1);
	for (size_t k = 0; k < MAX; k++) {
		uint64_t before[SITES];
		size_t from = k;

		now += (uint64_t)(rand() % 2500 + 1) * (SECOND / 1000);
		times[k] = now;
		for (uint32_t i = 0; i < SITES; i++) {
			before[i] = allocs[i];
			allocs[i] += (uint64_t)rand() % 1000;
			frees[i] += (uint64_t)rand() % (allocs[i] - frees[i] + 1);
			sites[i] = site(i + 1, allocs[i], frees[i]);
			live[k][i] = sites[i].live_bytes;
		}
		apply(now, 0, sites, SITES);
		if (!k)
			continue;

		/* Where the minute begins: what is kept is at least 5 s apart, so that the model
		 * may have any account between 60 and 65 (and one delay) ago; the first one before.
		 */
		struct fa_top_rates rates;

		fa_top_rates(top, &rates);
		while (from-- > 0 &&
		       fabs((double)(now - times[from]) / 1e9 - rates.minute_s) > 1e-9)
			;
		ck_assert_msg(from < k, "account %zu: a minute of %g s", k, rates.minute_s);
		if (now - times[0] > 68 * SECOND)
			ck_assert_msg(rates.minute_s >= 60 && rates.minute_s < 68,
				      "account %zu: %g", k, rates.minute_s);
		else if (now - times[0] < 60 * SECOND)
			ck_assert_uint_eq(from, 0);
		for (uint32_t i = 0; i < SITES; i++) {
			struct fa_top_row row = row_of(i + 1);
			double s = (double)(now - times[k - 1]) / 1e9;

			assert_near(row.minute,
				    ((double)live[k][i] - (double)live[from][i]) / rates.minute_s);
			assert_near(row.allocs, (double)(allocs[i] - before[i]) / s);
			assert_near(row.start, (double)live[k][i] / ((double)now / 1e9));
		}
	}
}
END_TEST

START_TEST(a_site_that_was_not_there_had_nothing)
{
	struct fa_top_site sites[] = {site(3, 500, 100), site(9, 80, 0)};

	apply(100 * SECOND, 0, sites, 1);
	apply(110 * SECOND, 0, sites, 2);
	assert_near(row_of(9).minute, 8);
	assert_near(row_of(9).allocs, 8);
	assert_near(row_of(3).minute, 0);
	ck_assert_uint_eq(fa_top_n_growing(top), 1);
}
END_TEST

START_TEST(a_site_that_is_gone_has_nothing)
{
	struct fa_top_site sites[] = {site(3, 500, 100), site(9, 80, 0)};

	apply(100 * SECOND, 0, sites, 2);
	apply(110 * SECOND, 0, sites, 1);
	ck_assert_uint_eq(row_of(9).site->live_bytes, 0);
	assert_near(row_of(9).minute, -8);
}
END_TEST

START_TEST(an_account_of_the_same_time_replaces_the_last)
{
	struct fa_top_site first[] = {site(3, 100, 0)}, second[] = {site(3, 200, 0)};
	struct fa_top_rates rates;

	apply(100 * SECOND, 0, first, 1);
	apply(110 * SECOND, 0, second, 1);
	second[0].live_bytes = 250;
	apply(110 * SECOND, 0, second, 1);
	fa_top_rates(top, &rates);
	assert_near(rates.events, 10);
	assert_near(rates.minute_s, 10);
	assert_near(row_of(3).minute, 15);
	assert_near(row_of(3).allocs, 10);
}
END_TEST

static bool is_odd(void *ctx, const struct fa_top_row *row)
{
	(*(unsigned *)ctx)++;
	return row->site->stack % 2;
}

START_TEST(rows_come_in_order_and_idle_sites_last)
{
	struct fa_top_site before[] = {site(1, 10, 0), site(2, 40, 0), site(3, 5, 5),
				       site(4, 100, 0)};
	struct fa_top_site after[] = {site(1, 30, 0), site(2, 45, 25), site(3, 5, 5),
				      site(4, 100, 60)};
	static const uint32_t orders[FA_TOP_N_SORTS][4] = {[FA_TOP_LIVE] = {4, 1, 2, 3},
							   [FA_TOP_BLOCKS] = {4, 1, 2, 3},
							   [FA_TOP_MINUTE] = {1, 2, 4, 3},
							   [FA_TOP_START] = {4, 1, 2, 3},
							   [FA_TOP_ALLOCS] = {1, 2, 4, 3}};
	struct fa_top_row rows[4];
	unsigned n_asked = 0;

	apply(100 * SECOND, 0, before, 4);
	apply(110 * SECOND, 0, after, 4);
	for (int sort = 0; sort < FA_TOP_N_SORTS; sort++) {
		ck_assert_uint_eq(
			fa_top_rank(top, (enum fa_top_sort)sort, false, NULL, NULL, 0, rows, 4), 4);
		for (int i = 0; i < 4; i++)
			ck_assert_msg(rows[i].site->stack == orders[sort][i],
				      "order %d, row %d: %u", sort, i, rows[i].site->stack);
	}
	ck_assert_uint_eq(fa_top_rank(top, FA_TOP_MINUTE, true, NULL, NULL, 0, rows, 4), 4);
	ck_assert_uint_eq(rows[0].site->stack, 4);
	ck_assert_uint_eq(rows[3].site->stack, 3);
	/* Of those that are accepted, from the second one on. */
	ck_assert_uint_eq(fa_top_rank(top, FA_TOP_LIVE, false, is_odd, &n_asked, 1, rows, 4), 1);
	ck_assert_uint_eq(rows[0].site->stack, 3);
	ck_assert_uint_eq(n_asked, 4);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("top-model");
	TCase *c = tcase_create("model");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, one_account_of_an_old_recording_has_no_rates);
	tcase_add_test(c, a_young_recording_has_grown_since_it_began);
	tcase_add_test(c, rates_are_those_of_a_list_of_all_accounts);
	tcase_add_test(c, a_site_that_was_not_there_had_nothing);
	tcase_add_test(c, a_site_that_is_gone_has_nothing);
	tcase_add_test(c, an_account_of_the_same_time_replaces_the_last);
	tcase_add_test(c, rows_come_in_order_and_idle_sites_last);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Sampling: the choice is unbiased, the set of addresses is exact
 *
 * The estimates are tested with the weights that the collector and the analyzer use. All seeds are
 * fixed, so that a test which passes once always does; the bounds are those of the theory, in
 * standard errors, and not fitted to the seeds.
 */
#include <check.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ft_sample.h"
#include "ft_weight.h"
#include "tr_sample.h"
#include "tr_session.h"

/* What sample.c takes from the rest of the tracer. */
struct tr_session tr_session;
static struct ft_segment_header header;
static const uint32_t alive = 1;

enum { KIB = 1024, RATE = 512 * KIB };

static void setup(void)
{
	tr_session.header = &header;
	tr_session.alive = &alive;
	atomic_store(&tr_session.state, TR_READY);
	atomic_store(&header.n_sample_full, 0);
	tr_sample_start(RATE, 1);
}

static void *address(uint64_t i)
{
	return (void *)(uintptr_t)(UINT64_C(0x7f0000000000) + i * 16);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* ---- texts and numbers ----------------------------------------------------------------------- */

START_TEST(sizes_are_read_as_people_write_them)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {{"1", 1},
		     {"524288", 524288},
		     {"512K", 524288},
		     {"512KiB", 524288},
		     {"1M", 1 << 20},
		     {"64MiB", 64 << 20},
		     {"65MiB", 0},
		     {"67108865", 0},
		     {"99999999999999999999999", 0},
		     {"9999999K", 0},
		     {"", 0},
		     {"0", 0},
		     {"-1", 0},
		     {"K", 0},
		     {"1k", 0},
		     {"1KB", 0},
		     {"1Ki", 0},
		     {"1 K", 0},
		     {"12x", 0},
		     {"512KiB ", 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_msg(ft_sample_parse(cases[i].text) == cases[i].bytes, "%s",
			      cases[i].text);
}
END_TEST

START_TEST(the_logarithm_is_that_of_libm)
{
	uint64_t state = 7;

	ck_assert(tr_sample_minus_log(1) == 0);
	for (int i = 0; i < 1000000; i++) {
		double x = (double)((next_random(&state) >> 11) + 1) * 0x1p-53;

		if (i % 2)
			x = ldexp(x, -(int)(state % 50));
		if (fabs(tr_sample_minus_log(x) + log(x)) > 1e-11 * (1 - log(x)))
			ck_abort_msg("ln %a", x);
	}
	for (double x = 0x1p-53; x <= 1; x *= 2)
		ck_assert(fabs(tr_sample_minus_log(x) + log(x)) < 1e-11 * (1 - log(x)));
}
END_TEST

/* Weights: whole, never below the size, and right at both ends. */
START_TEST(weights_follow_the_probability)
{
	static const uint64_t rates[] = {1, 4096, RATE, FT_SAMPLE_MAX};

	for (size_t r = 0; r < 4; r++)
		for (uint64_t size = 0; size < UINT64_C(1) << 45; size = size * 5 / 4 + 1) {
			struct ft_weight w = ft_weight_of(size, rates[r]);
			long double p = -expm1l(-(long double)(size ? size : 1) / rates[r]);
			long double variance = (1 - p) * size * size / p / p / rates[r] / rates[r];

			ck_assert(fabsl(w.bytes - size / p) <= 0.5001L + size / p * 1e-14L);
			ck_assert(fabsl(w.blocks / 65536.0L - 1 / p) < 1e-5L + 1e-14L / p);
			ck_assert(fabsl(w.variance / 0x1p24L - variance) < 1e-6L);
			ck_assert_uint_ge(w.bytes, size);
			ck_assert_uint_le(w.variance, 1 << FT_WEIGHT_VARIANCE_BITS);
		}
	ck_assert_uint_eq(ft_weight_of(UINT64_MAX, RATE).bytes, UINT64_MAX);
	ck_assert_uint_eq(ft_weight_of(12345, 0).bytes, 12345);
	ck_assert_uint_eq(ft_weight_of(12345, 0).blocks, 65536);
	ck_assert_uint_eq(ft_weight_of(12345, 0).variance, 0);

	struct ft_weight some = ft_weight_of(100, RATE);

	ck_assert_uint_eq(ft_weight_scale(&some, UINT64_MAX), UINT64_MAX);
}
END_TEST

/* ---- the choice ------------------------------------------------------------------------------ */

/* A program of one site: `n` blocks of `size` bytes. Its estimates and their standard errors. */
struct estimate {
	double bytes, blocks, error;
	uint64_t n_taken;
};

static struct estimate sample(uint64_t size, unsigned n, uint64_t seed)
{
	struct ft_weight weight = ft_weight_of(size, RATE);
	struct estimate e = {0};
	uint64_t variance = 0;

	tr_sample_start(RATE, seed);
	for (unsigned i = 0; i < n; i++) {
		if (!tr_sample_alloc(address(i), size))
			continue;
		e.n_taken++;
		e.bytes += (double)weight.bytes;
		e.blocks += (double)weight.blocks / 65536;
		variance += weight.variance;
		ck_assert(tr_sample_free(address(i)));
	}
	e.error = ft_weight_error(variance, RATE);
	return e;
}

/*
 * For sizes from far below the rate to far above it: the mean of many runs is the truth within 4 of
 * its standard errors; the errors that the runs state are, on the mean, the scatter that they have;
 * and as many runs as should lie within 2 of their own errors.
 */
START_TEST(estimates_are_unbiased_and_know_their_error)
{
	static const struct {
		uint64_t size;
		unsigned n, runs;
	} cases[] = {{0, 5000000, 20},	  {1, 5000000, 20},	 {64, 1000000, 200},
		     {5000, 20000, 1000}, {100000, 1000, 2000},	 {RATE / 2, 200, 4000},
		     {RATE, 200, 4000},	  {3 * RATE, 200, 4000}, {20 * RATE, 100, 2000}};
	uint64_t size = cases[_i].size;
	double truth = (double)size * cases[_i].n, n = cases[_i].runs;
	double sum = 0, sum_blocks = 0, squares = 0, errors = 0;
	unsigned within = 0;

	for (unsigned run = 0; run < cases[_i].runs; run++) {
		struct estimate e = sample(size, cases[_i].n, run + 1);

		sum += e.bytes;
		sum_blocks += e.blocks;
		squares += (e.bytes - truth) * (e.bytes - truth);
		errors += e.error * e.error;
		within += fabs(e.bytes - truth) <= 2 * e.error + 1;
	}

	double p = -expm1(-(double)(size ? size : 1) / RATE);
	double sigma_blocks = sqrt(cases[_i].n * (1 - p) / p / n);
	double sigma = (double)size * sigma_blocks;

	ck_assert_msg(fabs(sum / n - truth) <= 4 * sigma + truth * 1e-6, "%.0f is %.0f +- %.0f",
		      truth, sum / n, sigma);
	ck_assert_msg(fabs(sum_blocks / n - cases[_i].n) <= 4 * sigma_blocks + cases[_i].n * 1e-5,
		      "%u blocks are %.0f", cases[_i].n, sum_blocks / n);
	/* Where hardly any block is ever missed, there is no scatter to compare. */
	if (size && cases[_i].n * (1 - p) * n > 100) {
		double scatter = sqrt(squares / n), stated = sqrt(errors / n);

		ck_assert_msg(fabs(scatter - stated) <=
				      4 * stated / sqrt(2 * n) + 1 + stated * 0.02,
			      "errors of %.0f are stated, %.0f are seen", stated, scatter);
		ck_assert_msg(within >= (0.95 - 4 * sqrt(0.05 * 0.95 / n) - 0.02) * n,
			      "%u of %.0f within 2 standard errors", within, n);
	}
}
END_TEST

/* Blocks of other sizes in between change nothing for a site: choices are independent. */
START_TEST(sites_do_not_disturb_each_other)
{
	enum { RUNS = 300, N = 20000 };
	double sums[2] = {0}, products = 0;
	double truth[2] = {N * 48.0, N * 3000.0};
	double sigma[2];

	for (int s = 0; s < 2; s++) {
		double p = -expm1(-(s ? 3000.0 : 48.0) / RATE);

		sigma[s] = (s ? 3000.0 : 48.0) * sqrt(N * (1 - p) / p);
	}
	for (unsigned run = 0; run < RUNS; run++) {
		double estimate[2] = {0};

		tr_sample_start(RATE, run + 1);
		for (unsigned i = 0; i < N; i++)
			for (int s = 0; s < 2; s++) {
				uint64_t size = s ? 3000 : 48;

				if (!tr_sample_alloc(address(i), size))
					continue;
				estimate[s] += (double)ft_weight_of(size, RATE).bytes;
				tr_sample_free(address(i));
			}
		for (int s = 0; s < 2; s++)
			sums[s] += estimate[s];
		products +=
			(estimate[0] - truth[0]) / sigma[0] * (estimate[1] - truth[1]) / sigma[1];
	}
	for (int s = 0; s < 2; s++)
		ck_assert(fabs(sums[s] / RUNS - truth[s]) < 4 * sigma[s] / sqrt(RUNS));
	/* The correlation of independent ones scatters by 1 / sqrt(runs). */
	ck_assert(fabs(products / RUNS) < 4 / sqrt(RUNS));
}
END_TEST

static uint64_t gaps(uint64_t seed, uint64_t *list, size_t n)
{
	uint64_t since = 0, sum = 0;
	size_t found = 0;

	tr_sample_start(RATE, seed);
	for (uint64_t i = 0; found < n; i++) {
		since += 100;
		if (!tr_sample_alloc(address(i % 1000), 100))
			continue;
		tr_sample_free(address(i % 1000));
		list[found++] = since;
		sum += since;
		since = 0;
	}
	return sum;
}

START_TEST(a_seed_repeats_the_choice)
{
	uint64_t a[50], b[50], c[50];

	gaps(11, a, 50);
	gaps(11, b, 50);
	gaps(12, c, 50);
	ck_assert_mem_eq(a, b, sizeof(a));
	ck_assert_mem_ne(a, c, sizeof(a));
	/* None given: the kernel's, so that two runs differ. */
	gaps(0, b, 50);
	gaps(0, c, 50);
	ck_assert_mem_ne(b, c, sizeof(b));
}
END_TEST

START_TEST(nothing_is_taken_without_a_session)
{
	atomic_store(&tr_session.state, TR_OFF);
	tr_sample_start(1, 1);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert(!tr_sample_alloc(address(i), 100000));
	atomic_store(&tr_session.state, TR_READY);
	ck_assert(tr_sample_alloc(address(1), 100000));
	ck_assert(tr_sample_free(address(1)));
}
END_TEST

/* What the program set up for its own arithmetic is neither used nor changed. */
START_TEST(the_floating_point_environment_is_as_found)
{
	uint64_t upward[20], nearest[20];

	gaps(5, nearest, 20);
	feclearexcept(FE_ALL_EXCEPT);
	fesetround(FE_UPWARD);
	feenableexcept(FE_INEXACT | FE_UNDERFLOW);
	tr_sample_start(RATE, 5);

	size_t found = 0;
	uint64_t since = 0;

	for (uint64_t i = 0; found < 20; i++) {
		since += 100;
		if (!tr_sample_alloc(address(i), 100))
			continue;
		tr_sample_free(address(i));
		upward[found++] = since;
		since = 0;
	}
	ck_assert_int_eq(fegetround(), FE_UPWARD);
	ck_assert_int_eq(fegetexcept(), FE_INEXACT | FE_UNDERFLOW);
	fedisableexcept(FE_ALL_EXCEPT);
	ck_assert_int_eq(fetestexcept(FE_ALL_EXCEPT), 0);
	fesetround(FE_TONEAREST);
	ck_assert_mem_eq(upward, nearest, sizeof(upward));
}
END_TEST

/* ---- the set --------------------------------------------------------------------------------- */

/* Random additions and removals against a plain array of flags. */
START_TEST(the_set_is_exact)
{
	enum { N = 200000, LIMIT = TR_SAMPLE_SLOTS / 2 };
	bool *in = calloc(N, sizeof(*in));
	uint64_t state = 3;
	unsigned n = 0;

	for (unsigned step = 0; step < 4000000; step++) {
		/* Some close together, some on pages that share a counter. */
		uint64_t i = next_random(&state) % N;
		void *block = address(i % 2 ? i : i << 24);

		if (next_random(&state) % 2 && n < LIMIT) {
			if (!in[i] && !tr_sample_add(block))
				ck_abort_msg("full with %u", n);
			n += !in[i];
			in[i] = true;
		} else {
			if (tr_sample_free(block) != in[i])
				ck_abort_msg("block %u is %d", (unsigned)i, in[i]);
			n -= in[i];
			in[i] = false;
		}
	}
	for (unsigned i = 0; i < N; i++)
		ck_assert_int_eq(tr_sample_free(address(i % 2 ? i : (uint64_t)i << 24)), in[i]);
	for (unsigned i = 0; i < TR_SAMPLE_PAGES; i++)
		ck_assert_uint_eq(atomic_load(&tr_sample_pages[i]), 0);
	free(in);
}
END_TEST

START_TEST(an_address_enters_once)
{
	/* Its free was not seen: it is there still. */
	ck_assert(tr_sample_add(address(9)));
	ck_assert(tr_sample_add(address(9)));
	ck_assert(tr_sample_free(address(9)));
	ck_assert(!tr_sample_free(address(9)));
	ck_assert(!tr_sample_maybe(address(9)));
}
END_TEST

START_TEST(a_realloc_that_fails_changes_nothing)
{
	tr_sample_slot *slot;

	ck_assert_ptr_null(tr_sample_hold(address(5)));
	ck_assert(tr_sample_add(address(5)));
	slot = tr_sample_hold(address(5));
	ck_assert_ptr_nonnull(slot);
	/* While it is at work the address is not in the set, and may come back from elsewhere. */
	ck_assert(!tr_sample_free(address(5)));
	ck_assert(tr_sample_add(address(5)));
	ck_assert(tr_sample_free(address(5)));
	tr_sample_keep(slot, address(5));
	ck_assert(tr_sample_free(address(5)));
	ck_assert(!tr_sample_free(address(5)));
}
END_TEST

/* It is filled to two thirds before the first block finds no place; then blocks are counted and not
 * taken, and those that are in it are found as before. */
START_TEST(a_full_set_refuses_and_counts)
{
	enum { N = TR_SAMPLE_SLOTS * 2 };
	bool *in = calloc(N, sizeof(*in));
	unsigned n = 0, first_refused = 0;

	tr_sample_start(1, 1);
	for (unsigned i = 0; i < N; i++) {
		in[i] = tr_sample_alloc(address(i), 1000);
		n += in[i];
		if (!in[i] && !first_refused)
			first_refused = i;
	}
	ck_assert_uint_le(n, TR_SAMPLE_SLOTS);
	ck_assert_uint_gt(n, TR_SAMPLE_SLOTS - TR_SAMPLE_SLOTS / 100);
	ck_assert_uint_gt(first_refused, TR_SAMPLE_SLOTS / 3 * 2);
	ck_assert_uint_eq(atomic_load(&header.n_sample_full), N - n);
	for (unsigned i = 0; i < N; i++)
		if (tr_sample_free(address(i)) != in[i])
			ck_abort_msg("block %u", i);
	free(in);
}
END_TEST

/* More blocks on one page's counter than it may count. */
START_TEST(a_counter_does_not_overflow)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < 70000; i++)
		n += tr_sample_add(address(i << 24)); /* 256 MiB apart */
	ck_assert_uint_le(n, 65535);
	ck_assert_uint_gt(n, 50000);
	for (uint64_t i = 0; i < 70000; i++)
		n -= tr_sample_free(address(i << 24));
	ck_assert_uint_eq(n, 0);
	ck_assert(!tr_sample_maybe(address(0)));
}
END_TEST

enum { THREADS = 4, ROUNDS = 200000, HAND = 64 };

/* Blocks go from hand to hand: one thread puts an address in, the next takes it out. */
static _Atomic uint64_t hands[THREADS][HAND];

static void *hand_on(void *argument)
{
	size_t me = (size_t)(uintptr_t)argument;
	uint64_t made = 0, taken = 0, wrong = 0;

	while (taken < ROUNDS || made < ROUNDS) {
		if (made < ROUNDS) {
			/* Own addresses, used again and again as an allocator does. */
			uint64_t i = me * 1000000 + made % 512;
			_Atomic uint64_t *hand = &hands[(me + 1) % THREADS][made % HAND];

			if (!atomic_load_explicit(hand, memory_order_acquire)) {
				wrong += !tr_sample_add(address(i));
				atomic_store_explicit(hand, i + 1, memory_order_release);
				made++;
			}
		}
		for (unsigned h = 0; h < HAND; h++) {
			uint64_t i = atomic_load_explicit(&hands[me][h], memory_order_acquire);

			if (!i)
				continue;
			wrong += !tr_sample_free(address(i - 1));
			wrong += tr_sample_free(address(i - 1));
			atomic_store_explicit(&hands[me][h], 0, memory_order_release);
			taken++;
		}
	}
	return (void *)(uintptr_t)wrong;
}

START_TEST(threads_hand_blocks_on)
{
	pthread_t threads[THREADS];
	void *wrong;

	for (size_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hand_on, (void *)(uintptr_t)i),
				 0);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &wrong);
		ck_assert_ptr_null(wrong);
	}
	for (unsigned i = 0; i < TR_SAMPLE_PAGES; i++)
		ck_assert_uint_eq(atomic_load(&tr_sample_pages[i]), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sample");
	TCase *tcase = tcase_create("sample");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, sizes_are_read_as_people_write_them);
	tcase_add_test(tcase, the_logarithm_is_that_of_libm);
	tcase_add_test(tcase, weights_follow_the_probability);
	tcase_add_loop_test(tcase, estimates_are_unbiased_and_know_their_error, 0, 9);
	tcase_add_test(tcase, sites_do_not_disturb_each_other);
	tcase_add_test(tcase, a_seed_repeats_the_choice);
	tcase_add_test(tcase, nothing_is_taken_without_a_session);
	tcase_add_test(tcase, the_floating_point_environment_is_as_found);
	tcase_add_test(tcase, the_set_is_exact);
	tcase_add_test(tcase, an_address_enters_once);
	tcase_add_test(tcase, a_realloc_that_fails_changes_nothing);
	tcase_add_test(tcase, a_full_set_refuses_and_counts);
	tcase_add_test(tcase, a_counter_does_not_overflow);
	tcase_add_test(tcase, threads_hand_blocks_on);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/* Trend tests: see fa_trend.h. */
#include "fa_trend.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum { TREND_MAX = 64, TREND_MAX_PAIRS = TREND_MAX * (TREND_MAX - 1) / 2 };

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Variance of Kendall's S under "no trend", with ties (values sorted). */
static double kendall_variance(const double *sorted, size_t n)
{
	double variance = (double)n * (double)(n - 1) * (2.0 * (double)n + 5);

	for (size_t i = 0; i < n;) {
		size_t tie = 1;

		while (i + tie < n && sorted[i + tie] == sorted[i])
			tie++;
		variance -= (double)tie * (double)(tie - 1) * (2.0 * (double)tie + 5);
		i += tie;
	}
	return variance / 18;
}

static double variance_of(const double *values, size_t n)
{
	double sorted[TREND_MAX];

	for (size_t i = 0; i < n; i++)
		sorted[i] = values[i];
	qsort(sorted, n, sizeof(*sorted), compare_double);
	return kendall_variance(sorted, n);
}

double fa_mann_kendall(const double *values, size_t n)
{
	long s = 0;

	assert(n <= TREND_MAX);
	if (n < 4)
		return 0;
	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; j < n; j++)
			s += (values[j] > values[i]) - (values[j] < values[i]);

	double variance = variance_of(values, n);

	if (s == 0 || variance <= 0)
		return 0;
	return ((double)s - (s > 0 ? 1 : -1)) / sqrt(variance);
}

/* The value at rank `at` (0..n-1, may lie between two) of sorted values. */
static double at_rank(const double *sorted, size_t n, double at)
{
	if (at <= 0)
		return sorted[0];
	if (at >= (double)(n - 1))
		return sorted[n - 1];

	size_t below = (size_t)at;

	return sorted[below] + (sorted[below + 1] - sorted[below]) * (at - (double)below);
}

struct fa_slope fa_theil_sen(const double *values, size_t n)
{
	double slopes[TREND_MAX_PAIRS], offsets[TREND_MAX];
	struct fa_slope result;
	size_t n_slopes = 0;

	assert(n >= 2 && n <= TREND_MAX);
	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; j < n; j++)
			slopes[n_slopes++] = (values[j] - values[i]) / (double)(j - i);
	qsort(slopes, n_slopes, sizeof(*slopes), compare_double);

	/* Sen: the ends are the slopes at the ranks N/2 -+ C/2, C = z * sqrt(var S); 80 %: z
	 * = 1.28. */
	double middle = ((double)n_slopes - 1) / 2;
	double reach = 1.2816 * sqrt(fmax(variance_of(values, n), 0)) / 2;

	result.slope = at_rank(slopes, n_slopes, middle);
	result.low = at_rank(slopes, n_slopes, middle - reach);
	result.high = at_rank(slopes, n_slopes, middle + reach);

	for (size_t i = 0; i < n; i++)
		offsets[i] = values[i] - result.slope * (double)i;
	qsort(offsets, n, sizeof(*offsets), compare_double);

	double offset = at_rank(offsets, n, ((double)n - 1) / 2);

	for (size_t i = 0; i < n; i++)
		offsets[i] = fabs(offsets[i] - offset);
	qsort(offsets, n, sizeof(*offsets), compare_double);
	result.residual = at_rank(offsets, n, ((double)n - 1) / 2);
	return result;
}

void fa_troughs(const uint64_t *values, size_t first, size_t last, double troughs[FA_TREND_TROUGHS])
{
	size_t n = last - first;

	assert(last >= first + FA_TREND_TROUGHS);
	for (size_t w = 0; w < FA_TREND_TROUGHS; w++) {
		size_t from = first + n * w / FA_TREND_TROUGHS;
		size_t to = first + n * (w + 1) / FA_TREND_TROUGHS;
		uint64_t low = UINT64_MAX;

		for (size_t i = from; i < to; i++)
			if (values[i] < low)
				low = values[i];
		troughs[w] = (double)low;
	}
}

struct fa_trend fa_trough_test(const double troughs[FA_TREND_TROUGHS])
{
	enum { N = FA_TREND_TROUGHS };
	struct fa_trend trend = {
		.z = fa_mann_kendall(troughs, N),
		.slope = fa_theil_sen(troughs, N),
	};

	trend.growth = trend.slope.slope * (N - 1);

	/* What each half gained, between means of a few troughs: single ones may be off. */
	double start = (troughs[0] + troughs[1] + troughs[2]) / 3;
	double middle =
		(troughs[N / 2 - 2] + troughs[N / 2 - 1] + troughs[N / 2] + troughs[N / 2 + 1]) / 4;
	double end = (troughs[N - 3] + troughs[N - 2] + troughs[N - 1]) / 3;

	/* One or two steps up are events, no trend. */
	unsigned rises = 0;

	for (int i = 1; i < N; i++)
		rises += troughs[i] > troughs[i - 1];

	trend.growing = rises >= 3 && trend.z > 2.33 && trend.slope.low >= 0 &&
			trend.growth > fmax(FA_TREND_MIN_BYTES, 2 * trend.slope.residual) &&
			end > middle && end - middle >= 0.35 * (middle - start);
	return trend;
}

bool fa_cohort_test(const uint64_t bytes[FA_TREND_COHORTS])
{
	double total = 0, older = 0;
	unsigned n_filled = 0;

	for (size_t i = 0; i < FA_TREND_COHORTS; i++) {
		n_filled += bytes[i] > 0;
		total += (double)bytes[i];
		if (i < FA_TREND_COHORTS / 2)
			older += (double)bytes[i];
	}

	double younger = total - older;

	return n_filled >= FA_TREND_COHORTS - 1 && total > FA_TREND_MIN_BYTES &&
	       older >= 0.5 * younger && older <= 2 * younger;
}

unsigned fa_teeth(const uint64_t *values, size_t n)
{
	uint64_t low = UINT64_MAX, high = 0;
	unsigned falls = 0;
	bool up = false;

	for (size_t i = 0; i < n; i++) {
		low = values[i] < low ? values[i] : low;
		high = values[i] > high ? values[i] : high;
	}

	/* Small teeth on a high plateau are noise, and so is what stays in the middle of the range.
	 */
	bool big = n && high > low && high - low >= high / 2;

	for (size_t i = 0; i < n && big; i++) {
		double place = (double)(values[i] - low) / (double)(high - low);

		if (place >= 0.75) {
			up = true;
		} else if (place <= 0.25 && up) {
			up = false;
			falls++;
		}
	}
	return falls;
}

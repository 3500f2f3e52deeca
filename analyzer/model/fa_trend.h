/* SPDX-License-Identifier: MIT */
/*
 * Trend: is a series going up, how fast, and are survivors born all the time?
 *
 * Two tests that see different things, and the verdict from both:
 *
 * Trough test. A series is cut into 12 windows; each gives its minimum. Sawtooth, churn and daily
 * work disappear in the minima. The minima grow if Mann-Kendall's z is above 2.33, the lower end of
 * the Theil-Sen slope is not negative, the growth is more than noise and comes in at least three
 * steps, and the second half gained at least 0.35 of what the first did (a cache that still fills
 * slows down).
 *
 * Cohort test. What is alive at the end, by the time of its birth, in 8 windows, the youngest
 * quarter left out. A leak leaves about the same in every window; a cache leaves the youngest,
 * warm-up the oldest.
 *
 * Growing is cohort AND trough; the trough alone where there are at most 2 blocks (one buffer that
 * is reallocated is always young). One test alone makes a suspect.
 *
 * Mann 1945; Kendall 1975; Sen, JASA 63 (1968). Pure functions, no allocation.
 */
#ifndef FA_TREND_H
#define FA_TREND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FA_TREND_TROUGHS = 12,
	FA_TREND_COHORTS = 8,
	FA_TREND_MIN_BYTES = 4096,
};

/* Mann-Kendall's z, corrected for ties and for continuity; 0 for fewer than 4 values. n <= 64. */
double fa_mann_kendall(const double *values, size_t n);

/* Theil-Sen: median of the slopes between all pairs, and Sen's 80 % interval (10..90 %), per step.
 * n in 2..64. */
struct fa_slope {
	double slope, low, high;
	double residual; /* median distance of a value from the line */
};
struct fa_slope fa_theil_sen(const double *values, size_t n);

/* Minimum of each of FA_TREND_TROUGHS windows of `values[first..last)`; at least that many values.
 */
void fa_troughs(const uint64_t *values, size_t first, size_t last,
		double troughs[FA_TREND_TROUGHS]);

struct fa_trend {
	bool growing;
	double z, growth;      /* growth: from the first trough to the last, by the slope; bytes */
	struct fa_slope slope; /* per window */
};
struct fa_trend fa_trough_test(const double troughs[FA_TREND_TROUGHS]);

/* `bytes`: survivors by birth window, oldest first. */
bool fa_cohort_test(const uint64_t bytes[FA_TREND_COHORTS]);

/* How often a series falls from the upper to the lower quarter of its range; 0 when the range is
 * less than half of the highest value. */
unsigned fa_teeth(const uint64_t *values, size_t n);

#endif

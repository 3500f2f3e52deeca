/* SPDX-License-Identifier: MIT */
/* Growth: see fa_growth.h. */
#include "fa_growth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = FA_TRACK_STEPS, COHORTS = FA_TREND_COHORTS };

/* The part of the working life that each run of the tests looks at, from its end. Cohorts and
 * troughs differ in where warm-up is cut. */
static const double cohort_spans[FA_GROWTH_SPANS] = {0.80, 0.35};
static const double trough_spans[FA_GROWTH_SPANS] = {2.0 / 3, 0.35};

static const double min_life_s = 2;
/* Of what got old, the share freed after all that still looks like a leak; see the header. */
static const double max_freed_old = 0.10;
/* The same without a trend to support it: of all ages, and of the older half. */
static const double max_freed_alone = 0.20, max_freed_old_alone = 0.02;
static const uint64_t min_blocks_alone = 16;
/* A trend without survivors to support it: what it gained, of the level at the end. */
static const double min_growth_of_level = 0.05;
/* Older to younger half of the survivors, from where on a steady decline means a cache that fills.
 */
static const double slow_ratio = 1.5;
/* A site that held this much of its level before, and then let go of half, is no news. */
static const double fell_level = 0.8, fell_to = 0.5;

const char *fa_verdict_name(enum fa_verdict verdict)
{
	static const char *const names[] = {"growing", "suspect",     "plateau", "sawtooth",
					    "churn",   "never_freed", "freed",	 "unsure"};

	return names[verdict];
}

const char *fa_reason_name(enum fa_reason reason)
{
	static const char *const names[] = {
		[FA_WHY_BOTH_TESTS] = "both_tests",
		[FA_WHY_NEVER_RELEASED] = "never_released",
		[FA_WHY_FEW_BLOCKS] = "few_blocks",
		[FA_WHY_ONLY_TREND] = "only_trend",
		[FA_WHY_ONLY_SURVIVORS] = "only_survivors",
		[FA_WHY_SURVIVORS_OLD] = "survivors_old",
		[FA_WHY_SURVIVORS_YOUNG] = "survivors_young",
		[FA_WHY_STOPPED] = "stopped",
		[FA_WHY_LEVEL] = "level",
		[FA_WHY_TEETH] = "teeth",
		[FA_WHY_TURNOVER] = "turnover",
		[FA_WHY_NO_FREE] = "no_free",
		[FA_WHY_ALL_FREED] = "all_freed",
		[FA_WHY_SHORT_RUN] = "short_run",
		[FA_WHY_LOSS] = "loss",
		[FA_WHY_FELL_BEFORE] = "fell_before",
		[FA_WHY_LONG_LIVED] = "long_lived",
		[FA_WHY_SLOWING] = "slowing",
		[FA_WHY_LATE] = "late",
		[FA_WHY_FEW_SAMPLES] = "few_samples",
	};

	return names[reason];
}

/* ---- cohorts -----------------------------------------------------------------------------------
 */

/* The window of a birth, given the share of the life that has passed since (1: its begin), or -1.
 */
static int cohort_window(double age, int span)
{
	double oldest = cohort_spans[span], youngest = oldest / 4;
	double window = (oldest - age) / (oldest - youngest) * COHORTS;

	return window >= 0 && window < COHORTS ? (int)window : -1;
}

void fa_life_freed(const struct fa_life *life, uint64_t born_ns, uint64_t died_ns, uint64_t bytes,
		   struct fa_cohorts cohorts[FA_GROWTH_SPANS])
{
	double length = (double)(life->end_ns - life->from_ns);

	if (died_ns >= life->end_ns || born_ns < life->from_ns)
		return;

	double birth = (double)(born_ns - life->from_ns) / length;
	double age = (double)(died_ns - born_ns) / length;

	for (int span = 0; span < FA_GROWTH_SPANS; span++) {
		int window = cohort_window(1 - birth, span);
		double youngest = cohort_spans[span] / 4;

		if (window < 0 || age < youngest)
			continue;
		cohorts[span].freed_bytes += bytes;
		/* The age that the youngest block of the older half has at the end. */
		if (window < COHORTS / 2 && age >= (cohort_spans[span] + youngest) / 2)
			cohorts[span].freed_old_bytes += bytes;
	}
}

void fa_life_survivor(const struct fa_life *life, uint64_t born_ns, uint64_t bytes, uint64_t blocks,
		      struct fa_cohorts cohorts[FA_GROWTH_SPANS], uint64_t births[FA_TRACK_STEPS])
{
	if (born_ns < life->from_ns || life->end_ns <= life->from_ns)
		return;

	double since = (double)(born_ns - life->from_ns);
	double age = 1 - since / (double)(life->end_ns - life->from_ns);
	size_t step = (size_t)(since / (double)(life->to_ns - life->from_ns) * STEPS);

	births[step < STEPS ? step : STEPS - 1] += bytes;
	for (int span = 0; span < FA_GROWTH_SPANS; span++) {
		int window = cohort_window(age, span);

		if (window < 0)
			continue;
		cohorts[span].bytes[window] += bytes;
		cohorts[span].blocks[window] += blocks;
	}
}

uint64_t fa_life_step_end(const struct fa_life *life, uint32_t step)
{
	if (step >= STEPS)
		return UINT64_MAX;
	return life->from_ns +
	       (uint64_t)((unsigned __int128)(life->to_ns - life->from_ns) * (step + 1) / STEPS);
}

void fa_life_init(struct fa_life *life, uint64_t from_ns, uint64_t to_ns, uint64_t end_ns)
{
	double length = (double)(end_ns - from_ns), window = (double)(to_ns - from_ns);

	*life = (struct fa_life){
		.from_ns = from_ns,
		.to_ns = to_ns,
		.end_ns = end_ns,
		.min_freed_age_ns = (uint64_t)(length * cohort_spans[FA_GROWTH_SPANS - 1] / 4),
		.window_s = window / 1e9,
		.life_s = length / 1e9,
		.n_steps = end_ns >= to_ns ? (size_t)STEPS : (size_t)(length / window * STEPS),
	};
	life->too_short = life->life_s < min_life_s ||
			  (double)life->n_steps * trough_spans[0] < FA_TREND_TROUGHS;
}

static uint64_t sum(const uint64_t *values, size_t n)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += values[i];
	return total;
}

static double share(uint64_t part, uint64_t rest)
{
	return part ? (double)part / ((double)part + (double)rest) : 0;
}

static double freed_share(const struct fa_cohorts *c)
{
	return share(c->freed_bytes, sum(c->bytes, COHORTS));
}

static double freed_old_share(const struct fa_cohorts *c)
{
	return share(c->freed_old_bytes, sum(c->bytes, COHORTS / 2));
}

/* ---- pace --------------------------------------------------------------------------------------
 */

/* Survivors a window for each allocation that the program made in it: a leak keeps its pace,
 * however the load changes; a cache that fills slows down. */
static void paces(const struct fa_evidence *e, int span, double pace[COHORTS])
{
	double from = (double)e->n_life * (1 - cohort_spans[span]);
	double window = (double)e->n_life * cohort_spans[span] * 3 / 4 / COHORTS;
	double all = 0;

	for (size_t w = 0; w < COHORTS; w++) {
		double activity = 0, start = from + window * (double)w, end = start + window;

		for (size_t i = (size_t)start; i < STEPS && (double)i < end; i++) {
			double low = (double)i > start ? (double)i : start;
			double high = (double)(i + 1) < end ? (double)(i + 1) : end;

			activity += (double)e->activity[i] * (high - low);
		}
		pace[w] = activity;
		all += activity;
	}
	for (size_t w = 0; w < COHORTS; w++) {
		/* Where next to nothing ran, a quotient would say nothing. */
		double least = all / COHORTS / 10;

		pace[w] = all > 0 ? (double)e->cohorts[span].bytes[w] / fmax(pace[w], least)
				  : (double)e->cohorts[span].bytes[w];
	}
}

static double older_to_younger(const double pace[COHORTS])
{
	double older = 0, younger = 0;

	for (size_t i = 0; i < COHORTS; i++)
		*(i < COHORTS / 2 ? &older : &younger) += pace[i];
	return younger > 0 ? older / younger : INFINITY;
}

/* Fewer and fewer survivors, window for window. Where only the short span speaks for growth
 * (`late`), it is enough that the long one has most of them early. */
static bool slows_down(const struct fa_evidence *e, int span, bool late)
{
	double pace[COHORTS];

	paces(e, span, pace);
	return older_to_younger(pace) > slow_ratio &&
	       (late || fa_mann_kendall(pace, COHORTS) < -2.33);
}

/* The cohort test, or, where the pace only scatters and nothing old was ever freed (bursts), with
 * wider bounds; two windows may then be empty if there is a trend. */
static bool cohorts_pass(const struct fa_evidence *e, int span, bool trend)
{
	const struct fa_cohorts *c = &e->cohorts[span];
	double pace[COHORTS], ratio;
	size_t n_filled = 0;

	if (fa_cohort_test(c->bytes))
		return true;
	for (size_t i = 0; i < COHORTS; i++)
		n_filled += c->bytes[i] > 0;
	paces(e, span, pace);
	ratio = older_to_younger(pace);
	return n_filled >= COHORTS - (trend ? 2 : 1) &&
	       sum(c->bytes, COHORTS) > FA_TREND_MIN_BYTES && !c->freed_old_bytes &&
	       ratio > 1.0 / 3 && ratio < 3 && fabs(fa_mann_kendall(pace, COHORTS)) < 1.96;
}

static double cohort_window_s(const struct fa_evidence *e, int span)
{
	return e->life_s * cohort_spans[span] * 3 / 4 / COHORTS;
}

/* ---- rates -------------------------------------------------------------------------------------
 */

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Where a leak began within the span: the first window that is filled as the others are. The one
 * that it began in is partly filled and left out. */
static size_t first_full_window(const uint64_t values[COHORTS])
{
	uint64_t sorted[COHORTS];
	size_t first = 0;

	memcpy(sorted, values, sizeof(sorted));
	qsort(sorted, COHORTS, sizeof(*sorted), compare_u64);

	const uint64_t *middle = sorted + COHORTS / 2;
	double median = ((double)middle[-1] + (double)middle[0]) / 2;

	while (first < COHORTS / 4 && (double)values[first] < 0.1 * median)
		first++;
	if (first && first < COHORTS / 4 + 1 && (double)values[first] < 0.9 * median)
		first++;
	return first;
}

/* Mean of the survivors a window, with Student's 80 % interval over the windows. */
static void rate_from_cohorts(const struct fa_evidence *e, int span, struct fa_growth *g)
{
	static const double student_90[COHORTS] = {0,	  3.078, 1.886, 1.638,
						   1.533, 1.476, 1.440, 1.415};
	const struct fa_cohorts *c = &e->cohorts[span];
	size_t first = first_full_window(c->bytes), n = COHORTS - first;
	double window_s = cohort_window_s(e, span), square = 0;
	double mean = (double)sum(c->bytes + first, n) / (double)n;

	for (size_t i = first; i < COHORTS; i++)
		square += ((double)c->bytes[i] - mean) * ((double)c->bytes[i] - mean);

	double error = student_90[n - 1] * sqrt(square / (double)(n - 1) / (double)n);

	g->has_rate = g->has_block_rate = true;
	g->rate = mean / window_s;
	g->rate_low = fmax(mean - error, 0) / window_s;
	g->rate_high = (mean + error) / window_s;
	g->block_rate = (double)sum(c->blocks + first, n) / (double)n / window_s;
	g->growth = mean * (double)n;
	g->from_share = 1 - cohort_spans[span] * (1 - 0.75 * (double)first / COHORTS);
	g->to_share = 1 - cohort_spans[span] / 4;
}

/* A site that frees nothing has no young blocks that may go: everything since it began, the first
 * fifth of the life left out, counts. The more is measured, the less a burst at an end matters. */
static void rate_from_births(const struct fa_evidence *e, int span, struct fa_growth *g)
{
	size_t first = (size_t)ceil((double)e->n_life * g->from_share), last = e->n_life;
	double idle = 0.05 * (double)sum(e->activity, e->n_life) / (double)e->n_life, bytes = 0;

	/* The rest at the end of a program that was left to itself is no part of it. */
	while (last > first && (double)e->activity[last - 1] < idle)
		last--;
	if (e->frees || span > 0 || first >= last)
		return;
	for (size_t i = first; i < last; i++)
		bytes += (double)e->births[i];

	double rate = bytes / ((double)(last - first) * e->window_s / STEPS);

	g->block_rate *= g->rate > 0 ? rate / g->rate : 1;
	g->rate = rate;
	g->rate_low = fmin(g->rate_low, rate);
	g->rate_high = fmax(g->rate_high, rate);
	g->growth = bytes;
	g->from_share = (double)first / (double)e->n_life;
	g->to_share = (double)last / (double)e->n_life;
}

struct trough_result {
	struct fa_trend trend;
	double window_s, from_share;
	bool valid;
};

/* One run of the trough test; invalid when its part of the life is too short for it. */
static struct trough_result judge_troughs(const struct fa_evidence *e, int span)
{
	double troughs[FA_TREND_TROUGHS];
	size_t n = (size_t)ceil((double)e->n_life * trough_spans[span]);
	struct trough_result r = {0};

	if (n < FA_TREND_TROUGHS)
		return r;
	fa_troughs(e->low, e->n_life - n, e->n_life, troughs);
	r.trend = fa_trough_test(troughs);
	r.window_s = (double)n / FA_TREND_TROUGHS * e->window_s / STEPS;
	r.from_share = 1 - (double)n / (double)e->n_life;
	r.valid = true;
	return r;
}

static void rate_from_troughs(const struct trough_result *r, struct fa_growth *g)
{
	g->has_rate = true;
	g->rate = r->trend.slope.slope / r->window_s;
	g->rate_low = r->trend.slope.low / r->window_s;
	g->rate_high = r->trend.slope.high / r->window_s;
	g->growth = r->trend.growth;
	g->from_share = r->from_share;
	g->to_share = 1;
}

/* ---- is it over? -------------------------------------------------------------------------------
 */

/*
 * Whether the survivors stop being born before the end, in steps: the empty steps at the end are
 * more than twice the longest gap before, and the program was at work in them. 0: they do not.
 */
static size_t stopped_at(const struct fa_evidence *e)
{
	size_t last = 0, gap = 0, longest = 0;

	for (size_t i = e->n_life / 5; i < e->n_life; i++) {
		if (e->births[i]) {
			last = i + 1;
			longest = gap > longest ? gap : longest;
			gap = 0;
		} else if (last) {
			gap++;
		}
	}

	/* The step in which the life ends may be a short one. */
	size_t quiet = last ? e->n_life - last : 0;

	if (quiet <= 2 * longest + 2)
		return 0;

	double at_work = (double)sum(e->activity + last, quiet) / (double)quiet;
	size_t fifth = e->n_life / 5;
	double before = (double)sum(e->activity + fifth, last - fifth) / (double)(last - fifth);

	return at_work > 0.3 * before ? last : 0;
}

/* Whether the level of the end was reached before and then given up. */
static bool fell_before(const struct fa_evidence *e)
{
	uint64_t now = e->n_life ? e->end[e->n_life - 1] : 0;
	bool high = false;

	for (size_t i = e->n_life / 5; i < e->n_life; i++) {
		if ((double)e->end[i] >= fell_level * (double)now)
			high = true;
		else if (high && (double)e->low[i] <= fell_to * (double)now)
			return true;
	}
	return false;
}

/* The steps in which most (95 %) of the survivors were born. */
static void births_range(const struct fa_evidence *e, size_t *from, size_t *to)
{
	double total = 0, before = 0;

	for (size_t i = 0; i < STEPS; i++)
		total += (double)e->births[i];

	*from = *to = 0;
	for (size_t i = 0; i < STEPS; i++) {
		if (before * 40 < total)
			*from = i;
		before += (double)e->births[i];
		if (before * 40 < total * 39)
			*to = i + 1;
	}
}

/* ---- verdicts ----------------------------------------------------------------------------------
 */

static void verdict(struct fa_growth *g, enum fa_verdict verdict, enum fa_reason reason,
		    double value)
{
	g->verdict = verdict;
	g->reason = reason;
	g->value = value;
}

static double share_of_life(const struct fa_evidence *e, size_t step)
{
	double s = e->n_life ? 100.0 * (double)step / (double)e->n_life : 0;

	return s < 100 ? s : 100;
}

/* Survivors of this span speak for growth; the verdict, unless it depends on a trend. */
static bool judge_survivors(const struct fa_evidence *e, int span, bool trend, struct fa_growth *g)
{
	const struct fa_cohorts *c = &e->cohorts[span];
	bool alone = freed_share(c) <= max_freed_alone &&
		     freed_old_share(c) <= max_freed_old_alone &&
		     sum(c->blocks, COHORTS) >= min_blocks_alone;
	size_t stop = stopped_at(e);

	if (stop) {
		verdict(g, FA_PLATEAU, FA_WHY_STOPPED, share_of_life(e, stop));
		return true;
	}
	/* Only lately: a tooth of a saw looks the same while it rises. */
	if (span > 0 && fell_before(e)) {
		verdict(g, FA_UNSURE, FA_WHY_FELL_BEFORE, 0);
		return true;
	}
	if (slows_down(e, 0, span > 0)) {
		verdict(g, FA_UNSURE, FA_WHY_SLOWING, 0);
		return true;
	}
	rate_from_cohorts(e, span, g);
	rate_from_births(e, span, g);
	if (trend)
		verdict(g, FA_GROWING, FA_WHY_BOTH_TESTS, 0);
	else if (alone)
		verdict(g, FA_GROWING, FA_WHY_NEVER_RELEASED, 0);
	else
		verdict(g, FA_SUSPECT, FA_WHY_ONLY_SURVIVORS, 0);
	return true;
}

/* Growth, or what looks like it; false when nothing does. */
static bool judge_growth(const struct fa_evidence *e, const struct trough_result troughs[],
			 struct fa_growth *g)
{
	double freed_old = freed_old_share(&e->cohorts[0]);
	bool passed = false;
	int trend = -1;

	for (int span = FA_GROWTH_SPANS; span-- > 0;)
		if (troughs[span].valid && troughs[span].trend.growing)
			trend = span;
	for (int span = 0; span < FA_GROWTH_SPANS; span++) {
		if (!cohorts_pass(e, span, trend >= 0))
			continue;
		passed = true;
		/* What dies of age in the long span dies in the short one, too, but is not seen. */
		if (freed_old <= max_freed_old &&
		    freed_old_share(&e->cohorts[span]) <= max_freed_old)
			return judge_survivors(e, span, trend >= 0, g);
	}
	if (trend < 0)
		return false;
	if (passed) {
		verdict(g, FA_UNSURE, FA_WHY_LONG_LIVED, 100 * freed_old);
		return true;
	}
	if (trend > 0 && fell_before(e)) {
		verdict(g, FA_UNSURE, FA_WHY_FELL_BEFORE, 0);
		return true;
	}
	if (e->blocks <= 2) {
		rate_from_troughs(&troughs[trend], g);
		verdict(g, FA_GROWING, FA_WHY_FEW_BLOCKS, 0);
		return true;
	}
	if (slows_down(e, 0, false)) {
		verdict(g, FA_PLATEAU, FA_WHY_SLOWING, 0);
		return true;
	}
	/* The level of a full cache wanders a little with the sizes of its entries. */
	if (troughs[trend].trend.growth < min_growth_of_level * (double)e->bytes)
		return false;
	rate_from_troughs(&troughs[trend], g);
	verdict(g, FA_SUSPECT, FA_WHY_ONLY_TREND, 0);
	return true;
}

/* A site that began too late for the last 35 % to be full of it, and has kept what it got. */
static bool is_late(const struct fa_evidence *e, double *began)
{
	size_t first = 0;

	while (first < e->n_life && !e->end[first])
		first++;
	*began = share_of_life(e, first);
	return *began > 100 * (1 -
			       cohort_spans[FA_GROWTH_SPANS - 1] * (0.25 + 0.75 * 7 / COHORTS)) &&
	       e->bytes > FA_TREND_MIN_BYTES && e->blocks >= min_blocks_alone && !e->frees;
}

static void judge_quiet(const struct fa_evidence *e, struct fa_growth *g)
{
	uint64_t peak = 0;
	size_t from, to;
	double began;

	for (size_t i = 0; i < STEPS; i++)
		peak = e->end[i] > peak ? e->end[i] : peak;

	unsigned teeth = peak > FA_TREND_MIN_BYTES ? fa_teeth(e->end, e->n_life) : 0;

	births_range(e, &from, &to);
	if (!e->end_blocks)
		verdict(g, FA_FREED, FA_WHY_ALL_FREED, 0);
	else if (!e->too_short && is_late(e, &began))
		verdict(g, FA_UNSURE, FA_WHY_LATE, began);
	else if (!e->frees)
		verdict(g, FA_NEVER_FREED, FA_WHY_NO_FREE, 0);
	else if (teeth >= 3)
		verdict(g, FA_SAWTOOTH, FA_WHY_TEETH, teeth);
	else if (peak && e->bytes_allocated / 100 > peak)
		verdict(g, FA_CHURN, FA_WHY_TURNOVER, (double)e->bytes_allocated / (double)peak);
	else if (e->too_short)
		verdict(g, FA_UNSURE, FA_WHY_SHORT_RUN, 0);
	else if (to && share_of_life(e, to) < 65)
		verdict(g, FA_PLATEAU, FA_WHY_SURVIVORS_OLD, share_of_life(e, to));
	else if (to && share_of_life(e, from) > 35)
		verdict(g, FA_PLATEAU, FA_WHY_SURVIVORS_YOUNG, 100 - share_of_life(e, from));
	else
		verdict(g, FA_PLATEAU, FA_WHY_LEVEL, 0);
}

/* The smallest rate that would have shown: at least one block in each birth window and 4 KiB in
 * all, more than what survives anyway, and, where old blocks are freed, more than the noise of the
 * troughs. */
static void resolve(const struct fa_evidence *e, const struct trough_result *trough,
		    struct fa_growth *g)
{
	const struct fa_cohorts *c = &e->cohorts[0];
	double cohort_s = cohort_window_s(e, 0) * COHORTS, floor = FA_TREND_MIN_BYTES;

	if (e->too_short || !trough->valid || e->life_s <= 0)
		return;
	if (e->allocations)
		floor = fmax(floor, (double)e->bytes_allocated / (double)e->allocations * COHORTS);

	/* The survivors of the fuller half: a leak must fill the other to half of that. */
	uint64_t older = sum(c->bytes, COHORTS / 2),
		 younger = sum(c->bytes + COHORTS / 2, COHORTS / 2);
	bool grows = g->verdict == FA_GROWING || g->verdict == FA_SUSPECT;

	if (!grows)
		floor = fmax(floor, 2 * fabs((double)older - (double)younger));
	g->resolvable = floor / cohort_s;
	if (c->freed_bytes) {
		double noise = fmax(FA_TREND_MIN_BYTES, 2 * trough->trend.slope.residual);

		g->resolvable =
			fmax(g->resolvable, noise / (trough->window_s * (FA_TREND_TROUGHS - 1)));
	}
	g->has_resolvable = true;
}

/* See fa_growth.h. What a sample could have shown is what would have escaped this. */
static void doubt_sample(const struct fa_evidence *e, struct fa_growth *g)
{
	enum { PARTS = 8 };
	bool hot = g->verdict == FA_GROWING || g->verdict == FA_SUSPECT;
	double error = sqrt(e->variance);
	bool vague = e->bytes ? error * PARTS > (double)e->bytes
			      : sqrt(e->allocated_variance) * PARTS > (double)e->bytes_allocated;

	if (vague || (hot && g->growth < 3 * error)) {
		verdict(g, FA_UNSURE, FA_WHY_FEW_SAMPLES, 0);
		g->has_rate = g->has_block_rate = false;
	}
	if (g->has_resolvable)
		g->resolvable =
			fmax(g->resolvable, fmax(3 * error, PARTS * PARTS * e->sample_bytes) /
						    (cohort_window_s(e, 0) * COHORTS));
}

static void add_all(uint64_t *to, const uint64_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] += from[i];
}

void fa_evidence_add(struct fa_evidence *to, const struct fa_evidence *from)
{
	add_all(to->low, from->low, STEPS);
	add_all(to->end, from->end, STEPS);
	for (size_t i = 0; i < STEPS; i++)
		to->births[i] += from->births[i];
	for (int span = 0; span < FA_GROWTH_SPANS; span++) {
		struct fa_cohorts *c = &to->cohorts[span];

		add_all(c->bytes, from->cohorts[span].bytes, COHORTS);
		add_all(c->blocks, from->cohorts[span].blocks, COHORTS);
		c->freed_bytes += from->cohorts[span].freed_bytes;
		c->freed_old_bytes += from->cohorts[span].freed_old_bytes;
	}
	to->blocks += from->blocks;
	to->bytes += from->bytes;
	to->doubtful_bytes += from->doubtful_bytes;
	to->allocations += from->allocations;
	to->frees += from->frees;
	to->bytes_allocated += from->bytes_allocated;
	to->end_blocks += from->end_blocks;
	to->variance += from->variance;
	to->allocated_variance += from->allocated_variance;
}

void fa_growth_judge(const struct fa_evidence *e, struct fa_growth *ret)
{
	struct trough_result troughs[FA_GROWTH_SPANS];

	*ret = (struct fa_growth){0};
	for (int span = 0; span < FA_GROWTH_SPANS; span++)
		troughs[span] = judge_troughs(e, span);

	if (e->doubtful_bytes * 2 > e->bytes)
		verdict(ret, FA_UNSURE, FA_WHY_LOSS, 0);
	else if (e->too_short || e->bytes <= FA_TREND_MIN_BYTES || !judge_growth(e, troughs, ret))
		judge_quiet(e, ret);
	resolve(e, &troughs[0], ret);
	if (e->sample_bytes > 0)
		doubt_sample(e, ret);
}

/* SPDX-License-Identifier: MIT */
/* Leaks: verdicts of sites and of the process, and which rows the table holds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "leaks_impl.h"

bool leaks_is_hot(const struct fa_growth *growth)
{
	return growth->verdict == FA_GROWING || growth->verdict == FA_SUSPECT;
}

/* ---- sites -------------------------------------------------------------------------------------
 */

static double squared(double x)
{
	return x * x;
}

static void evidence_of_run(const struct leaks *l, struct fa_evidence *e)
{
	*e = (struct fa_evidence){
		.n_life = l->life.n_steps,
		.window_s = l->life.window_s,
		.life_s = l->life.life_s,
		.too_short = l->life.too_short,
	};
	memcpy(e->activity, l->activity, sizeof(e->activity));
}

void leaks_evidence(const struct leaks *l, const struct fa_engine *engine, uint32_t stack,
		    struct fa_evidence *ret)
{
	const uint64_t *index = ft_map_get(&l->by_stack, stack);
	struct fa_site site;

	evidence_of_run(l, ret);
	fa_engine_site(engine, stack, &site);
	fa_track_expand(&l->tracks[stack], ret->low, ret->end);
	ret->allocations = site.allocations;
	ret->frees = site.frees;
	ret->bytes_allocated = site.bytes_allocated;
	ret->end_blocks = site.live_blocks;
	ret->sample_bytes = (double)fa_engine_sample_bytes(engine);
	ret->allocated_variance = squared(fa_engine_error(engine, site.allocated_variance));
	if (index) {
		const struct survivors *s = &l->survivors[*index];

		memcpy(ret->cohorts, s->cohorts, sizeof(ret->cohorts));
		memcpy(ret->births, s->births, sizeof(ret->births));
		ret->blocks = s->blocks;
		ret->bytes = s->bytes;
		ret->doubtful_bytes = s->doubtful_bytes;
		ret->variance = squared(fa_engine_error(engine, s->variance));
	}
	for (int span = 0; span < FA_GROWTH_SPANS; span++) {
		ret->cohorts[span].freed_bytes = l->freed[stack].bytes[span];
		ret->cohorts[span].freed_old_bytes = l->freed[stack].old_bytes[span];
	}
}

static int compare_rows(const void *a, const void *b)
{
	const struct leak_row *x = a, *y = b;

	if (x->system != y->system)
		return x->system ? 1 : -1;
	if (x->site.live_bytes != y->site.live_bytes)
		return x->site.live_bytes > y->site.live_bytes ? -1 : 1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static struct ft_error *collect(struct leaks *l, struct fa_engine *engine)
{
	l->rows = calloc(l->n_survivors + 1, sizeof(*l->rows));
	if (!l->rows)
		return &ft_enomem;
	for (size_t i = 0; i < l->n_survivors; i++) {
		struct leak_row row = {
			.stack = l->survivors[i].stack,
			.survivors = &l->survivors[i],
		};
		struct fa_evidence evidence;

		fa_engine_site(engine, row.stack, &row.site);
		leaks_evidence(l, engine, row.stack, &evidence);
		fa_growth_judge(&evidence, &row.growth);
		if (!row.site.live_blocks && !leaks_is_hot(&row.growth))
			continue;
		if (fa_engine_suppress(engine, row.stack, row.site.live_blocks,
				       row.site.live_bytes)) {
			row.survivors->suppressed = true;
			continue;
		}
		row.system = !leaks_is_hot(&row.growth) && row.site.live_bytes <= 256 * 1024 &&
			     fa_engine_site_is_system(engine, row.stack);
		l->rows[l->n_all++] = row;
	}
	qsort(l->rows, l->n_all, sizeof(*l->rows), compare_rows);
	return NULL;
}

/* 0..100: how much a person should care. */
static void score_rows(const struct leaks *l, uint64_t live_bytes)
{
	double total = 0;

	for (size_t i = 0; i < l->n_all; i++)
		if (leaks_is_hot(&l->rows[i].growth))
			total += fmax(l->rows[i].growth.rate, 0);
	for (size_t i = 0; i < l->n_all; i++) {
		struct leak_row *row = &l->rows[i];
		double share = live_bytes ? (double)row->site.live_bytes / (double)live_bytes : 0;
		double growth = total > 0 ? fmax(row->growth.rate, 0) / total : 0;

		if (row->growth.verdict == FA_GROWING)
			row->score = 70 + 30 * growth;
		else if (row->growth.verdict == FA_SUSPECT)
			row->score = 40 + 20 * growth;
		else if (row->system)
			row->score = 0;
		else if (row->growth.verdict == FA_NEVER_FREED || row->growth.verdict == FA_UNSURE)
			row->score = 10 + 25 * share;
		else
			row->score = 10 * share;
	}
}

/* Keep what the table may hold: what grows first, then by bytes. */
static void choose(struct leaks *l, size_t max)
{
	size_t hot = 0, n_hot = 0, kept = 0;

	for (size_t i = 0; i < l->n_all; i++)
		hot += leaks_is_hot(&l->rows[i].growth) || l->rows[i].group;

	size_t room = max > hot ? max - hot : 0;

	for (size_t i = 0; i < l->n_all; i++) {
		struct leak_row *row = &l->rows[i];
		bool is_hot = leaks_is_hot(&row->growth) || row->group;

		if (is_hot ? n_hot >= max : !room) {
			l->n_other++;
			l->other_bytes += row->site.live_bytes;
			l->other_blocks += row->site.live_blocks;
			continue;
		}
		if (is_hot)
			n_hot++;
		else
			room--;
		l->rows[kept++] = *row;
	}
	l->n_rows = kept;
}

/* ---- the process -------------------------------------------------------------------------------
 */

/* The heap as a whole: whether it grows, and the smallest rate that this recording could show. */
static void judge_process(struct leaks *l, const struct fa_engine *engine)
{
	struct fa_evidence e;
	struct fa_growth growth;

	l->process_verdict = l->life.too_short ? "unsure" : "plateau";
	for (size_t i = 0; i < l->n_groups; i++) {
		const struct fa_growth *g = &l->groups[i].growth;

		if (g->verdict == FA_SUSPECT && strcmp(l->process_verdict, "plateau") == 0)
			l->process_verdict = "suspect";
		if (g->verdict != FA_GROWING)
			continue;
		l->process_verdict = "growing";
		l->rate += g->rate;
		l->rate_low += g->rate_low;
		l->rate_high += g->rate_high;
	}

	/* Without births there are no cohorts: the trend alone speaks. */
	evidence_of_run(l, &e);
	fa_track_expand(&l->heap, e.low, e.end);
	e.blocks = e.end_blocks = UINT64_MAX;
	e.bytes = l->heap.live;
	e.frees = l->totals->n_frees;
	e.bytes_allocated = l->totals->bytes_allocated;
	e.sample_bytes = (double)fa_engine_sample_bytes(engine);
	e.variance = squared(fa_engine_error(engine, l->totals->live_variance));
	e.allocated_variance = squared(fa_engine_error(engine, l->totals->allocated_variance));
	e.cohorts[0].freed_bytes = 1; /* in a heap, something always is */
	fa_growth_judge(&e, &growth);
	l->has_resolvable = growth.has_resolvable;
	l->resolvable = growth.resolvable;
	if (growth.verdict == FA_SUSPECT && !strcmp(l->process_verdict, "plateau"))
		l->process_verdict = "suspect";
}

struct ft_error *leaks_judge(struct leaks *l, struct fa_engine *engine)
{
	FT_TRY(collect(l, engine));
	score_rows(l, fa_engine_totals(engine)->live_bytes);
	FT_TRY(leaks_group(l, engine));
	judge_process(l, engine);
	choose(l, fa_engine_max_sites(engine));
	l->series = calloc(l->n_rows * LEAKS_STEPS + 1, sizeof(*l->series));
	if (!l->series)
		return &ft_enomem;
	for (size_t i = 0; i < l->n_rows; i++) {
		uint64_t low[LEAKS_STEPS] = {0};

		fa_track_expand(&l->tracks[l->rows[i].stack], low, l->series + i * LEAKS_STEPS);
	}
	return NULL;
}

/* ---- operations --------------------------------------------------------------------------------
 */

size_t leaks_operations(const struct leaks *l, const struct fa_growth *growth, double *seconds)
{
	double from = (double)l->life.from_ns + growth->from_share * l->life.life_s * 1e9;
	double to = (double)l->life.from_ns + growth->to_share * l->life.life_s * 1e9;
	size_t n = 0;

	*seconds = (to - from) / 1e9;
	if (!growth->has_rate)
		return 0;
	for (size_t i = 0; i < l->n_marks; i++)
		if ((double)l->marks[i].time_ns >= from && (double)l->marks[i].time_ns < to)
			n += l->marks[i].n;
	return n;
}

/* ---- time to limit -----------------------------------------------------------------------------
 */

struct sampled {
	struct leaks *l;
	uint64_t cgroup_max, live, rss;
	bool has_rss;
};

static struct ft_error *find_limit(void *ctx, const struct ft_sample_row *row)
{
	struct sampled *s = ctx;

	if (row->time_ns <= s->l->life.to_ns && row->source && row->key && row->value > 0 &&
	    !strcmp(row->source, "cgroup") && !strcmp(row->key, "memory.max"))
		s->cgroup_max = (uint64_t)row->value;
	return NULL;
}

static struct ft_error *find_rss(void *ctx, const struct ft_timeline_row *row)
{
	struct sampled *s = ctx;

	if (row->rss < 0 || row->time_ns > s->l->life.to_ns)
		return NULL;
	s->has_rss = true;
	s->rss = (uint64_t)row->rss;
	s->live = row->live_bytes;
	return NULL;
}

/*
 * Resident memory grows by more than what leaks: headers, rounding and holes grow with it. The
 * ratio of the last sample scales the rate, and the upper end of its interval gives the earliest
 * moment.
 */
struct ft_error *leaks_limit(struct leaks *l, struct fa_engine *engine)
{
	struct sampled s = {.l = l};
	uint64_t wanted = fa_engine_options(engine)->limit_bytes;

	FT_TRY(ft_reader_samples(fa_engine_reader(engine), find_limit, &s));
	FT_TRY(ft_reader_timeline(fa_engine_reader(engine), find_rss, &s));
	l->limit_bytes = wanted ? wanted : s.cgroup_max;
	l->limit_source = wanted ? "option" : s.cgroup_max ? "cgroup" : NULL;
	l->has_rss = s.has_rss;
	l->rss_bytes = s.has_rss ? s.rss : l->totals->live_bytes;
	l->per_live = s.has_rss && s.live ? fmax((double)s.rss / (double)s.live, 1) : 1;
	if (!l->limit_bytes || l->rate_low <= 0 || l->rate_high <= 0)
		return NULL;

	double left = l->limit_bytes > l->rss_bytes ? (double)(l->limit_bytes - l->rss_bytes) : 0;
	double seconds = left / (l->rate_high * l->per_live);

	l->has_time_left = seconds < 1e9; /* three decades: no statement */
	if (l->has_time_left)
		l->not_before_ns = (uint64_t)(seconds * 1e9);
	return NULL;
}

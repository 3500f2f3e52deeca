/* SPDX-License-Identifier: MIT */
/*
 * Leaks: what is still live, by call stack, and which of it grows
 *
 * Two things are gathered while the heap is replayed. Each site's live bytes on 64 equal steps of
 * the window (the lowest within a step and the value at its end), held over the steps in which
 * nothing happened, so that silence is no growth. And, at the end of the working life (before the
 * teardown, when there is one), the survivors by time of birth. The tests are in model/fa_trend.h.
 *
 * Memory: a site that was active in k of the 64 steps costs 32 + 24 k bytes. The common one, active
 * in one step, costs 80.
 *
 * "Leak" needs reachability; without a mark scan the class is "unknown" and the sentence says so.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_format.h"
#include "fa_trend.h"
#include "ft_arena.h"
#include "ft_cleanup.h"
#include "ft_map.h"

enum { STEPS = FA_TREND_STEPS, N_SPANS = 2 };

/* The part of the working life that each run of the tests looks at, from its end: the second one
 * finds leaks that start late. Cohorts and troughs differ in where warm-up is cut. */
static const double cohort_spans[N_SPANS] = {0.80, 0.35};
static const double trough_spans[N_SPANS] = {2.0 / 3, 0.35};

static const uint64_t min_life_ns = UINT64_C(2000000000);

struct step_value {
	uint64_t low, end; /* live bytes within the step, and when it ended */
	uint32_t step;
};

struct track {
	uint64_t live, low;	   /* now, and the lowest within `step` */
	struct step_value *values; /* finished steps with activity, in an arena */
	uint32_t step;
	uint16_t n, capacity;
};

/* What the survivors of a site look like. */
struct survivors {
	uint32_t stack;
	uint64_t cohorts[N_SPANS][FA_TREND_COHORTS]; /* bytes by birth, before the teardown */
	uint64_t blocks, bytes;			     /* before the teardown */
	uint64_t doubtful_bytes;		     /* of them: a loss may hold their free */
	uint64_t first_ns, last_ns;		     /* births of what is live at the end */
	uint32_t threads;			     /* that allocated it */
};

enum leak_verdict { GROWING, SUSPECT, PLATEAU, SAWTOOTH, CHURN, NEVER_FREED, FREED, UNSURE };

static const char *const verdict_names[] = {"growing", "suspect",     "plateau", "sawtooth",
					    "churn",   "never_freed", "freed",	 "unsure"};

struct leak_row {
	uint32_t stack;
	enum leak_verdict verdict;
	bool system;
	bool has_rate;
	double rate, rate_low, rate_high; /* bytes a second */
	double growth;			  /* bytes over the time that was judged */
	double score;
	struct fa_site site;
	struct survivors *survivors; /* NULL: nothing was live */
};

struct leaks {
	struct ft_arena arena;
	struct track *tracks; /* by stack */
	struct track heap;    /* of all sites together */
	uint32_t step;
	uint64_t next_step_ns;
	uint64_t from_ns, to_ns, life_end_ns; /* life_end: where the working life ends */
	bool surveyed;
	uint64_t doubtful_before_ns; /* blocks born before may have died in a loss */

	struct survivors *survivors;
	size_t n_survivors, survivors_capacity;
	struct ft_map by_stack; /* stack -> index in survivors */

	struct leak_row *rows; /* listed */
	size_t n_rows;
	uint64_t *series; /* n_rows x STEPS */
	uint64_t n_other, other_bytes, other_blocks;
	bool too_short;
	const char *process_verdict;
	double resolvable;
	bool has_resolvable;
};

/* ---- gather ------------------------------------------------------------------------------------
 */

static uint64_t step_end(const struct leaks *l, uint32_t step)
{
	if (step >= STEPS)
		return UINT64_MAX;
	return l->from_ns +
	       (uint64_t)((unsigned __int128)(l->to_ns - l->from_ns) * (step + 1) / STEPS);
}

static struct ft_error *find_loss(void *ctx, const struct ft_loss_row *row)
{
	struct leaks *l = ctx;

	/* What is missing at the end hides no free of what we call alive before it. */
	if (row->reason && !strcmp(row->reason, "cut_off"))
		return NULL;
	if (row->first_ns <= l->to_ns && row->last_ns >= l->doubtful_before_ns)
		l->doubtful_before_ns = row->last_ns + 1;
	return NULL;
}

static struct ft_error *leaks_init(struct fa_pass *pass)
{
	struct leaks *l = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	size_t n_stacks = fa_engine_n_stacks(engine);
	uint64_t seq;

	ft_arena_init(&l->arena);
	ft_map_init(&l->by_stack);
	l->from_ns = fa_engine_from_ns(engine);
	l->to_ns = fa_engine_to_ns(engine);
	l->next_step_ns = step_end(l, 0);
	if (!fa_engine_teardown(engine, &seq, &l->life_end_ns))
		l->life_end_ns = l->to_ns;
	l->tracks = calloc(n_stacks, sizeof(*l->tracks));
	if (!l->tracks)
		return &ft_enomem;
	for (size_t i = 0; i < n_stacks && l->from_ns; i++) {
		struct fa_site site;

		fa_engine_site(engine, (uint32_t)i, &site);
		if (site.live_bytes)
			l->tracks[i].live = l->tracks[i].low = site.live_bytes;
	}
	l->heap.live = l->heap.low = fa_engine_totals(engine)->live_bytes;
	return ft_reader_losses(fa_engine_reader(engine), find_loss, l);
}

/* Put the finished step away. */
static struct ft_error *track_flush(struct leaks *l, struct track *track)
{
	if (track->n == track->capacity) {
		uint16_t capacity = track->capacity ? (uint16_t)(track->capacity * 2) : 2;
		struct step_value *values = ft_arena_alloc(&l->arena, capacity * sizeof(*values));

		if (!values)
			return &ft_enomem;
		if (track->n)
			memcpy(values, track->values, track->n * sizeof(*values));
		track->values = values;
		track->capacity = capacity;
	}
	track->values[track->n++] =
		(struct step_value){.low = track->low, .end = track->live, .step = track->step};
	track->low = track->live;
	track->step = l->step;
	return NULL;
}

static inline struct ft_error *track_add(struct leaks *l, struct track *track, uint64_t delta)
{
	if (track->step != l->step)
		FT_TRY(track_flush(l, track));
	track->live += delta; /* modulo 2^64: also a subtraction */
	if (track->live < track->low)
		track->low = track->live;
	return NULL;
}

static struct ft_error *leaks_on_step(struct fa_pass *pass, const struct fa_step *step)
{
	struct leaks *l = fa_pass_state(pass);
	const struct fa_block *born = step->born, *died = step->died;

	while (step->event->time_ns > l->next_step_ns)
		l->next_step_ns = step_end(l, ++l->step);
	FT_TRY(track_add(l, &l->heap, (born ? born->size : 0) - (died ? died->size : 0)));
	if (born && died && born->stack == died->stack)
		return track_add(l, &l->tracks[born->stack], born->size - died->size);
	if (died)
		FT_TRY(track_add(l, &l->tracks[died->stack], 0 - died->size));
	if (born)
		FT_TRY(track_add(l, &l->tracks[born->stack], born->size));
	return NULL;
}

static struct ft_error *survivors_of(struct leaks *l, uint32_t stack, struct survivors **ret)
{
	bool created;
	uint64_t *index = ft_map_put(&l->by_stack, stack, &created);

	if (!index)
		return &ft_enomem;
	if (created) {
		if (l->n_survivors == l->survivors_capacity) {
			size_t capacity = l->survivors_capacity ? l->survivors_capacity * 2 : 256;
			struct survivors *list = realloc(l->survivors, capacity * sizeof(*list));

			if (!list)
				return &ft_enomem;
			l->survivors = list;
			l->survivors_capacity = capacity;
		}
		*index = l->n_survivors;
		l->survivors[l->n_survivors++] =
			(struct survivors){.stack = stack, .first_ns = UINT64_MAX};
	}
	*ret = &l->survivors[*index];
	return NULL;
}

/* The survivors at the end of the working life, by birth. */
static struct ft_error *survey(struct fa_pass *pass)
{
	struct leaks *l = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	double life = (double)(l->life_end_ns - l->from_ns);
	const struct fa_block *block;
	size_t cursor = 0;

	l->surveyed = true;
	while (fa_engine_next_live(engine, &cursor, &block)) {
		struct survivors *s;

		FT_TRY(survivors_of(l, block->stack, &s));
		s->blocks++;
		s->bytes += block->size;
		if (block->born_ns < l->doubtful_before_ns)
			s->doubtful_bytes += block->size;
		if (block->born_ns < l->from_ns || life <= 0)
			continue;

		double age = 1 - (double)(block->born_ns - l->from_ns) / life; /* 1: the oldest */

		for (int span = 0; span < N_SPANS; span++) {
			double oldest = cohort_spans[span], youngest = oldest / 4;
			double window = (oldest - age) / (oldest - youngest) * FA_TREND_COHORTS;

			if (window >= 0 && window < FA_TREND_COHORTS)
				s->cohorts[span][(int)window] += block->size;
		}
	}
	return NULL;
}

/* Ages and threads of what is live at the end. */
static struct ft_error *survey_end(struct fa_pass *pass)
{
	struct leaks *l = fa_pass_state(pass);
	const struct fa_block *block;
	struct ft_map seen; /* stack << 32 | thread */
	struct ft_error *error = NULL;
	size_t cursor = 0;

	ft_map_init(&seen);
	while (!error && fa_engine_next_live(fa_pass_engine(pass), &cursor, &block)) {
		struct survivors *s;
		bool created;

		error = survivors_of(l, block->stack, &s);
		if (error)
			break;
		if (!ft_map_put(&seen, (uint64_t)block->stack << 32 | block->thread, &created)) {
			error = &ft_enomem;
			break;
		}
		s->threads += created;
		if (block->born_ns < s->first_ns)
			s->first_ns = block->born_ns;
		if (block->born_ns > s->last_ns)
			s->last_ns = block->born_ns;
	}
	ft_map_deinit(&seen);
	return error;
}

/* ---- judge -------------------------------------------------------------------------------------
 */

/* The track on all 64 steps, quiet ones held. */
static void track_expand(const struct track *track, uint64_t low[STEPS], uint64_t end[STEPS])
{
	uint64_t held = 0;
	uint32_t step = 0;

	/* Every track starts in step 0, so that nothing is held before its first value. */
	for (uint16_t i = 0; i < track->n; i++) {
		const struct step_value *value = &track->values[i];

		for (; step < value->step && step < STEPS; step++)
			low[step] = end[step] = held;
		if (step < STEPS) {
			low[step] = value->low;
			end[step] = value->end;
			step++;
		}
		held = value->end;
	}
	for (; step < track->step && step < STEPS; step++)
		low[step] = end[step] = held;
	if (step < STEPS) {
		low[step] = track->low;
		end[step] = track->live;
		step++;
	}
	for (; step < STEPS; step++)
		low[step] = end[step] = track->live;
}

/* Steps of the working life. */
static size_t life_steps(const struct leaks *l)
{
	if (l->life_end_ns >= l->to_ns)
		return STEPS;
	return (size_t)((double)(l->life_end_ns - l->from_ns) / (double)(l->to_ns - l->from_ns) *
			STEPS);
}

/* One run of the trough test; false when its part of the life is too short for it. */
static bool judge_troughs(const struct leaks *l, const uint64_t low[STEPS], int span,
			  struct fa_trend *trend, double *window_s)
{
	double troughs[FA_TREND_TROUGHS];
	size_t last = life_steps(l);
	size_t n = (size_t)ceil((double)last * trough_spans[span]);

	if (n < FA_TREND_TROUGHS)
		return false;
	fa_troughs(low, last - n, last, troughs);
	*trend = fa_trough_test(troughs);
	*window_s = (double)n / FA_TREND_TROUGHS * (double)(l->to_ns - l->from_ns) / 1e9 / STEPS;
	return true;
}

static void rate_from_troughs(struct leak_row *row, const struct fa_trend *trend, double window_s)
{
	row->has_rate = true;
	row->rate = trend->slope.slope / window_s;
	row->rate_low = trend->slope.low / window_s;
	row->rate_high = trend->slope.high / window_s;
	row->growth = trend->growth;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Survivors a window over its length; the interval leaves out the extreme window at either end. */
static void rate_from_cohorts(const struct leaks *l, struct leak_row *row, int span)
{
	uint64_t sorted[FA_TREND_COHORTS];
	double life_s = (double)(l->life_end_ns - l->from_ns) / 1e9;
	double window_s = life_s * cohort_spans[span] * 3 / 4 / FA_TREND_COHORTS;

	memcpy(sorted, row->survivors->cohorts[span], sizeof(sorted));
	qsort(sorted, FA_TREND_COHORTS, sizeof(*sorted), compare_u64);
	row->has_rate = true;
	row->rate = ((double)sorted[3] + (double)sorted[4]) / 2 / window_s;
	row->rate_low = (double)sorted[1] / window_s;
	row->rate_high = (double)sorted[6] / window_s;
	row->growth = row->rate * window_s * FA_TREND_COHORTS;
}

static enum leak_verdict judge_growth(const struct leaks *l, struct leak_row *row,
				      const uint64_t low[STEPS])
{
	bool trend = false, cohort = false;
	int cohort_span = 0;

	for (int span = 0; span < N_SPANS; span++) {
		struct fa_trend test;
		double window_s;

		if (!trend && judge_troughs(l, low, span, &test, &window_s) && test.growing) {
			trend = true;
			rate_from_troughs(row, &test, window_s);
		}
		if (!cohort && fa_cohort_test(row->survivors->cohorts[span])) {
			cohort = true;
			cohort_span = span;
		}
	}
	if (trend && (cohort || row->survivors->blocks <= 2))
		return GROWING;
	if (cohort && !trend)
		rate_from_cohorts(l, row, cohort_span);
	return trend || cohort ? SUSPECT : PLATEAU;
}

static void judge(const struct leaks *l, struct leak_row *row, uint64_t end[STEPS])
{
	const struct fa_site *site = &row->site;
	uint64_t low[STEPS];
	uint64_t peak = 0;

	track_expand(&l->tracks[row->stack], low, end);
	for (int i = 0; i < STEPS; i++)
		peak = end[i] > peak ? end[i] : peak;

	row->verdict = PLATEAU;
	if (!l->too_short && row->survivors && row->survivors->bytes > FA_TREND_MIN_BYTES)
		row->verdict = judge_growth(l, row, low);
	if (row->survivors && row->survivors->doubtful_bytes * 2 > row->survivors->bytes) {
		row->verdict = UNSURE;
		row->has_rate = false;
	}
	if (row->verdict != PLATEAU)
		return;
	if (!site->live_blocks)
		row->verdict = FREED;
	else if (!site->frees)
		row->verdict = NEVER_FREED;
	else if (fa_teeth(end, STEPS) >= 3 && peak > FA_TREND_MIN_BYTES)
		row->verdict = SAWTOOTH;
	else if (peak && site->bytes_allocated / 100 > peak)
		row->verdict = CHURN;
	else if (l->too_short)
		row->verdict = UNSURE;
}

/* The heap as a whole: whether it grows, and the smallest rate that this recording could show. */
static void judge_process(struct leaks *l, bool any_growing)
{
	uint64_t low[STEPS] = {0}, end[STEPS] = {0};
	struct fa_trend test;
	double window_s;

	l->process_verdict = l->too_short ? "unsure" : any_growing ? "growing" : "plateau";
	track_expand(&l->heap, low, end);
	if (l->too_short || !judge_troughs(l, low, 0, &test, &window_s))
		return;
	l->has_resolvable = true;
	l->resolvable = fmax(FA_TREND_MIN_BYTES, 2 * test.slope.residual) /
			(window_s * (FA_TREND_TROUGHS - 1));
	if (!any_growing && test.growing)
		l->process_verdict = "suspect";
}

/* 0..100: how much a person should care. */
static void score_rows(const struct leaks *l, struct leak_row *rows, size_t n, uint64_t live_bytes)
{
	double total_growth = 0;

	for (size_t i = 0; i < n; i++)
		if (rows[i].verdict == GROWING || rows[i].verdict == SUSPECT)
			total_growth += rows[i].growth;
	for (size_t i = 0; i < n; i++) {
		struct leak_row *row = &rows[i];
		double share = live_bytes ? (double)row->site.live_bytes / (double)live_bytes : 0;
		double growth = total_growth > 0 ? row->growth / total_growth : 0;

		if (row->verdict == GROWING)
			row->score = 70 + 30 * growth;
		else if (row->verdict == SUSPECT)
			row->score = 40 + 20 * growth;
		else if (row->system)
			row->score = 0;
		else if (row->verdict == NEVER_FREED || row->verdict == UNSURE)
			row->score = 10 + 25 * share;
		else
			row->score = 10 * share;
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

static bool is_hot(const struct leak_row *row)
{
	return row->verdict == GROWING || row->verdict == SUSPECT;
}

/* ---- findings ----------------------------------------------------------------------------------
 */

static struct ft_error *find_growing(struct fa_engine *engine, const struct leak_row *row)
{
	struct fa_text rate, low, high, bytes, blocks;
	double peak = (double)fa_engine_totals(engine)->peak_bytes;
	char text[1024];

	fa_format_rate(row->rate, &rate);
	fa_format_rate(row->rate_low, &low);
	fa_format_rate(row->rate_high, &high);
	snprintf(text, sizeof(text),
		 "%.400s %s by %s (%s to %s), %s in %s block%s live at the end: "
		 "%s, reachability unknown",
		 fa_engine_site_name(engine, row->stack),
		 row->verdict == GROWING ? "grows" : "may grow", rate.s, low.s, high.s,
		 fa_format_bytes(row->site.live_bytes, &bytes),
		 fa_format_count(row->site.live_blocks, &blocks),
		 row->site.live_blocks == 1 ? "" : "s",
		 row->verdict == GROWING ? "growing" : "only one of two tests says so");
	return fa_engine_finding_add(engine,
				     &(struct fa_finding){
					     .code = verdict_names[row->verdict],
					     .severity = row->verdict == SUSPECT    ? FA_LOW
							 : row->growth < peak / 100 ? FA_MEDIUM
										    : FA_HIGH,
					     .text = text,
					     .section = "leaks",
					     .site = row->stack,
					     .weight = row->growth > 0 ? (uint64_t)row->growth : 0,
				     });
}

static struct ft_error *find_rest(struct leaks *l, struct fa_engine *engine,
				  const struct leak_row *rows, size_t n, bool any_growing)
{
	uint64_t bytes = 0, n_sites = 0, n_suspects = 0;
	struct fa_text size, rate, life;
	char text[512];

	for (size_t i = 0; i < n; i++) {
		n_suspects += rows[i].verdict == SUSPECT;
		if (rows[i].verdict != NEVER_FREED || rows[i].system)
			continue;
		bytes += rows[i].site.live_bytes;
		n_sites++;
	}
	if (n_sites) {
		snprintf(text, sizeof(text),
			 "%s from %" PRIu64 " site%s was never freed; that alone is no leak",
			 fa_format_bytes(bytes, &size), n_sites, n_sites == 1 ? "" : "s");
		FT_TRY(fa_engine_finding_add(engine, &(struct fa_finding){.code = "never_freed",
									  .severity = FA_INFO,
									  .text = text,
									  .section = "leaks",
									  .weight = bytes}));
	}
	if (any_growing)
		return NULL;
	if (l->too_short)
		snprintf(text, sizeof(text),
			 "%s of work is too short to tell growth from start-up (2 s at least)",
			 fa_format_time(l->life_end_ns - l->from_ns, &life));
	else if (l->has_resolvable)
		snprintf(text, sizeof(text), "No %ssite grows (rates from about %s would show)",
			 n_suspects ? "other " : "", fa_format_rate(l->resolvable, &rate));
	else
		snprintf(text, sizeof(text), "No %ssite grows", n_suspects ? "other " : "");
	return fa_engine_finding_add(engine, &(struct fa_finding){
						     .code = l->too_short ? "unsure" : "plateau",
						     .severity = l->too_short ? FA_INFO : FA_OK,
						     .text = text,
						     .section = "leaks",
						     /* Not "fine": before all facts. */
						     .weight = l->too_short ? UINT64_MAX : 0,
					     });
}

/* ---- finish ------------------------------------------------------------------------------------
 */

static struct ft_error *collect(struct leaks *l, struct fa_engine *engine, struct leak_row **ret,
				size_t *n_ret)
{
	struct leak_row *rows = calloc(l->n_survivors + 1, sizeof(*rows));
	uint64_t end[STEPS];
	size_t n = 0;

	if (!rows)
		return &ft_enomem;
	for (size_t i = 0; i < l->n_survivors; i++) {
		struct leak_row row = {
			.stack = l->survivors[i].stack,
			.survivors = &l->survivors[i],
		};

		fa_engine_site(engine, row.stack, &row.site);
		judge(l, &row, end);
		if (!row.site.live_blocks && !is_hot(&row))
			continue;
		if (fa_engine_suppress(engine, row.stack, row.site.live_blocks,
				       row.site.live_bytes))
			continue;
		row.system = !is_hot(&row) && row.site.live_bytes <= 256 * 1024 &&
			     fa_engine_site_is_system(engine, row.stack);
		rows[n++] = row;
	}
	*ret = rows;
	*n_ret = n;
	return NULL;
}

/* Keep what the table may hold: what grows first, then by bytes. */
static void choose(struct leaks *l, struct leak_row *rows, size_t n, size_t max)
{
	size_t hot = 0, kept = 0;

	for (size_t i = 0; i < n; i++)
		hot += is_hot(&rows[i]);

	size_t room = max > hot ? max - hot : 0;

	for (size_t i = 0; i < n; i++) {
		bool keep = is_hot(&rows[i]) ? kept < max : room > 0;

		if (!keep) {
			l->n_other++;
			l->other_bytes += rows[i].site.live_bytes;
			l->other_blocks += rows[i].site.live_blocks;
			continue;
		}
		if (!is_hot(&rows[i]))
			room--;
		rows[kept++] = rows[i];
	}
	l->rows = rows;
	l->n_rows = kept;
}

static struct ft_error *leaks_finish(struct fa_pass *pass)
{
	struct leaks *l = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct leak_row *rows;
	bool any_growing = false;
	size_t n;

	if (!l->surveyed)
		FT_TRY(survey(pass));
	FT_TRY(survey_end(pass));
	l->too_short = l->life_end_ns - l->from_ns < min_life_ns ||
		       (double)life_steps(l) * trough_spans[0] < FA_TREND_TROUGHS;
	FT_TRY(collect(l, engine, &rows, &n));
	l->rows = rows; /* owned by the state from here on */
	score_rows(l, rows, n, fa_engine_totals(engine)->live_bytes);
	qsort(rows, n, sizeof(*rows), compare_rows);
	for (size_t i = 0; i < n; i++) {
		any_growing |= rows[i].verdict == GROWING;
		if (is_hot(&rows[i]))
			FT_TRY(find_growing(engine, &rows[i]));
	}
	judge_process(l, any_growing);
	FT_TRY(find_rest(l, engine, rows, n, any_growing));
	choose(l, rows, n, fa_engine_max_sites(engine));

	l->series = malloc((l->n_rows * STEPS + 1) * sizeof(*l->series));
	if (!l->series)
		return &ft_enomem;
	for (size_t i = 0; i < l->n_rows; i++) {
		uint64_t low[STEPS];

		track_expand(&l->tracks[l->rows[i].stack], low, l->series + i * STEPS);
	}
	return NULL;
}

/* ---- emit --------------------------------------------------------------------------------------
 */

static void emit_time(struct fa_json *json, const char *key, bool known, uint64_t value)
{
	if (known)
		fa_json_kv_u64(json, key, value);
	else
		fa_json_kv_null(json, key);
}

static void emit_rate(struct fa_json *json, const char *key, bool known, double value)
{
	if (known)
		fa_json_kv_f64(json, key, value);
	else
		fa_json_kv_null(json, key);
}

static void emit_row(struct fa_engine *engine, const struct leak_row *row, struct fa_json *json)
{
	const struct survivors *s = row->survivors;
	bool live = row->site.live_blocks > 0;

	fa_json_object_begin(json);
	fa_json_kv_u64(json, "site", row->stack);
	fa_json_kv_string(json, "name", fa_engine_site_name(engine, row->stack));
	fa_json_kv_string(json, "verdict", verdict_names[row->verdict]);
	fa_json_kv_string(json, "class", "unknown");
	fa_json_kv_bool(json, "system", row->system);
	fa_json_kv_u64(json, "bytes", row->site.live_bytes);
	fa_json_kv_u64(json, "blocks", row->site.live_blocks);
	emit_rate(json, "rate_bytes_per_s", row->has_rate, row->rate);
	emit_rate(json, "rate_low", row->has_rate, row->rate_low);
	emit_rate(json, "rate_high", row->has_rate, row->rate_high);
	fa_json_kv_u64(json, "score", (uint64_t)llround(row->score));
	emit_time(json, "first_ns", live, s->first_ns);
	emit_time(json, "last_ns", live, s->last_ns);
	fa_json_kv_u64(json, "threads", s->threads);
	fa_json_kv_u64(json, "allocated_bytes", row->site.bytes_allocated);
	fa_json_kv_u64(json, "allocations", row->site.allocations);
	fa_json_kv_u64(json, "frees", row->site.frees);
	fa_json_kv_u64(json, "peak_bytes", row->site.peak_bytes);
	fa_json_kv_u64(json, "temporary", row->site.temporary);
	fa_json_key(json, "stack");
	fa_engine_emit_stack(engine, row->stack, json);
	fa_json_object_end(json);
}

static struct ft_error *leaks_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct leaks *l = fa_pass_state(pass);
	struct fa_json *json = fa_doc_begin(doc, "leaks");

	fa_json_key(json, "leaks");
	fa_json_array_begin(json);
	for (size_t i = 0; i < l->n_rows; i++)
		emit_row(fa_pass_engine(pass), &l->rows[i], json);
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", l->n_other);
	fa_json_kv_u64(json, "bytes", l->other_bytes);
	fa_json_kv_u64(json, "blocks", l->other_blocks);
	fa_json_object_end(json);
	fa_json_key(json, "process");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "verdict", l->process_verdict);
	emit_rate(json, "resolvable_bytes_per_s", l->has_resolvable, l->resolvable);
	fa_json_object_end(json);
	fa_engine_emit_suppressed(fa_pass_engine(pass), json);
	fa_doc_end(doc);
	fa_doc_column(doc, "leaks.series", FA_U64, l->series, l->n_rows * STEPS);
	return NULL;
}

static void leaks_deinit(struct fa_pass *pass)
{
	struct leaks *l = fa_pass_state(pass);

	ft_arena_deinit(&l->arena);
	ft_map_deinit(&l->by_stack);
	free(l->tracks);
	free(l->survivors);
	free(l->rows);
	free(l->series);
}

const struct fa_pass_ops fa_pass_leaks = {
	.name = "leaks",
	.summary = "what is still live, by call stack, and which of it grows",
	.state_size = sizeof(struct leaks),
	.init = leaks_init,
	.on_step = leaks_on_step,
	.on_teardown = survey,
	.finish = leaks_finish,
	.emit = leaks_emit,
	.deinit = leaks_deinit,
};

/* SPDX-License-Identifier: MIT */
/*
 * Leaks: what is still live, by call stack, and which of it grows
 *
 * Gathered while the heap is replayed: each site's live bytes on 64 equal steps of the window, and
 * what it freed so late that it could have passed for a leak. At the end of the working life
 * (before the teardown, when there is one): the survivors by time of birth. The tests are in
 * model/fa_growth.h.
 *
 * Memory: a stack costs 64 bytes, and 24 for each step in which it was active; one with survivors
 * 0.9 KiB more.
 *
 * "Leak" needs reachability; without a mark scan the class is "unknown" and the sentence says so.
 *
 * Operations are counted by marks of one label: the one asked for, or else the label that was set
 * most often, from eight times on.
 */
#include <stdlib.h>
#include <string.h>

#include "fragtrace/rollup.h"
#include "ft_cleanup.h"
#include "leaks_impl.h"

enum { MIN_MARKS = 8 };

/* ---- window, losses, marks ---------------------------------------------------------------------
 */

static struct ft_error *find_loss(void *ctx, const struct ft_loss_row *row)
{
	struct leaks *l = ctx;

	/* What is missing at the end hides no free of what we call alive before it. */
	if (row->reason && !strcmp(row->reason, "cut_off"))
		return NULL;
	if (row->first_ns <= l->life.to_ns && row->last_ns >= l->doubtful_before_ns)
		l->doubtful_before_ns = row->last_ns + 1;
	return NULL;
}

/* Marks of programs and users, by label. */
struct labels {
	struct leaks *l;
	const char *wanted;
	struct label {
		const char *text;
		size_t n_rows;
		uint64_t n;
	} list[256]; /* more labels than that name no operation */
	size_t n;
	bool failed;
};

static struct ft_error *count_label(void *ctx, const struct ft_mark_row *row)
{
	struct labels *labels = ctx;
	size_t i = 0;

	if (!row->label || !row->kind || strcmp(row->kind, "user") != 0 ||
	    row->time_ns < labels->l->life.from_ns || row->time_ns > labels->l->life.end_ns ||
	    (labels->wanted && strcmp(labels->wanted, row->label) != 0))
		return NULL;
	while (i < labels->n && strcmp(labels->list[i].text, row->label) != 0)
		i++;
	if (i == sizeof(labels->list) / sizeof(labels->list[0]))
		return NULL;
	if (i == labels->n) {
		labels->list[i].text = ft_arena_strdup(&labels->l->arena, row->label);
		if (!labels->list[i].text)
			return &ft_enomem;
		labels->n++;
	}
	labels->list[i].n_rows++;
	labels->list[i].n += row->n;
	return NULL;
}

static struct ft_error *take_mark(void *ctx, const struct ft_mark_row *row)
{
	struct leaks *l = ctx;

	if (row->label && row->kind && !strcmp(row->kind, "user") &&
	    !strcmp(row->label, l->mark_label) && row->time_ns >= l->life.from_ns &&
	    row->time_ns <= l->life.end_ns)
		l->marks[l->n_marks++] = (struct leaks_mark){row->time_ns, row->n};
	return NULL;
}

static int compare_times(const void *a, const void *b)
{
	const struct leaks_mark *x = a, *y = b;

	return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

static struct ft_error *find_marks(struct leaks *l, const struct fa_engine *engine)
{
	struct ft_reader *reader = fa_engine_reader(engine);
	ft_auto_free struct labels *labels = calloc(1, sizeof(*labels));
	const struct label *best = NULL;

	if (!labels)
		return &ft_enomem;
	labels->l = l;
	labels->wanted = fa_engine_options(engine)->per_mark;
	FT_TRY(ft_reader_marks(reader, count_label, labels));
	for (size_t i = 0; i < labels->n; i++)
		if (!best || labels->list[i].n > best->n)
			best = &labels->list[i];
	if (!best || (!labels->wanted && best->n < MIN_MARKS)) {
		if (labels->wanted)
			return ft_error_create(
				FT_ERROR_USAGE,
				"--per: the recording has no mark '%s' in this window",
				labels->wanted);
		return NULL;
	}
	l->mark_label = best->text;
	l->n_operations = best->n;
	l->marks = malloc(best->n_rows * sizeof(*l->marks));
	if (!l->marks)
		return &ft_enomem;
	FT_TRY(ft_reader_marks(reader, take_mark, l));
	qsort(l->marks, l->n_marks, sizeof(*l->marks), compare_times);
	return NULL;
}

/* ---- gather ------------------------------------------------------------------------------------
 */

/* `n_allocs`: of the heap so far. */
static void next_step(struct leaks *l, uint64_t time_ns, uint64_t n_allocs)
{
	while (time_ns > l->next_step_ns) {
		if (l->step < LEAKS_STEPS)
			l->activity[l->step] += n_allocs - l->activity_seen;
		l->activity_seen = n_allocs;
		l->next_step_ns = fa_life_step_end(&l->life, ++l->step);
	}
}

static struct ft_error *leaks_init(struct fa_pass *pass)
{
	struct leaks *l = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	size_t n_stacks = fa_engine_n_stacks(engine);
	uint64_t seq, end_ns;
	uint32_t first;

	ft_arena_init(&l->arena);
	ft_map_init(&l->by_stack);
	l->totals = fa_engine_totals(engine);
	if (!fa_engine_teardown(engine, &seq, &end_ns))
		end_ns = fa_engine_to_ns(engine);
	fa_life_init(&l->life, fa_engine_from_ns(engine), fa_engine_to_ns(engine), end_ns);
	l->next_step_ns = fa_life_step_end(&l->life, 0);
	l->tracks = calloc(n_stacks, sizeof(*l->tracks));
	l->freed = calloc(n_stacks, sizeof(*l->freed));
	if (!l->tracks || !l->freed)
		return &ft_enomem;
	next_step(l, fa_engine_part_ns(engine), 0);
	first = fa_engine_part_ns(engine) > l->life.from_ns ? FA_TRACK_IDLE : 0;
	for (size_t i = 0; i < n_stacks && fa_engine_part_ns(engine); i++) {
		struct fa_site site;

		fa_engine_site(engine, (uint32_t)i, &site);
		fa_track_begin(&l->tracks[i], first, site.live_bytes);
	}
	fa_track_begin(&l->heap, first, l->totals->live_bytes);
	FT_TRY(ft_reader_losses(fa_engine_reader(engine), find_loss, l));
	return find_marks(l, engine);
}

static void count_freed(struct leaks *l, uint32_t stack, uint64_t born_ns, uint64_t time_ns,
			uint64_t bytes)
{
	struct fa_cohorts cohorts[FA_GROWTH_SPANS] = {0};
	struct leak_freed *freed = &l->freed[stack];

	fa_life_freed(&l->life, born_ns, time_ns, bytes, cohorts);
	for (int span = 0; span < FA_GROWTH_SPANS; span++) {
		freed->bytes[span] += cohorts[span].freed_bytes;
		freed->old_bytes[span] += cohorts[span].freed_old_bytes;
	}
}

static inline bool track(struct leaks *l, uint32_t stack, uint64_t delta)
{
	return fa_track_add(&l->tracks[stack], l->step, delta, &l->arena);
}

static inline bool track_step(struct leaks *l, const struct fa_step *step)
{
	const struct fa_block *born = step->born, *died = step->died;
	const struct fa_block *block = step->block;
	uint64_t sign = (uint64_t)(born != NULL) - 1; /* no branch: it can't be foreseen */

	if (__builtin_expect(step->event->time_ns > l->next_step_ns, 0))
		next_step(l, step->event->time_ns, step->n_allocs);
	if (!fa_track_add(&l->heap, l->step, step->live_bytes - l->heap.live, &l->arena))
		return false;
	if (__builtin_expect((born != NULL) == (died != NULL), 0)) {
		if (!born || !died)
			return true;
		if (born->stack == died->stack)
			return track(l, born->stack, born->bytes - died->bytes);
		if (!track(l, died->stack, 0 - died->bytes))
			return false;
	}
	return track(l, block->stack, (block->bytes ^ sign) - sign);
}

static struct ft_error *leaks_on_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct leaks *l = fa_pass_state(pass);

	for (size_t i = 0; i < steps->n; i++)
		if (!track_step(l, &steps->all[i]))
			return &ft_enomem;
	for (size_t i = 0; i < steps->n_deaths; i++) {
		const struct fa_block *died = steps->deaths[i]->died;
		uint64_t time_ns = steps->deaths[i]->event->time_ns;

		if (time_ns - died->born_ns >= l->life.min_freed_age_ns && !steps->deaths[i]->born)
			count_freed(l, died->stack, died->born_ns, time_ns, died->bytes);
	}
	return NULL;
}

/* First to the lowest value, then to that at the end. */
static bool track_span(struct fa_track *track, uint32_t step, uint64_t low, uint64_t end,
		       struct ft_arena *arena)
{
	return fa_track_add(track, step, low - track->live, arena) &&
	       fa_track_add(track, step, end - track->live, arena);
}

static struct ft_error *leaks_on_span(struct fa_pass *pass, const struct fa_span *span)
{
	struct leaks *l = fa_pass_state(pass);
	const struct ft_rollup *rollup = span->rollup;
	const size_t n_stacks = fa_engine_n_stacks(fa_pass_engine(pass));
	bool ok;

	next_step(l, span->time_ns, l->totals->n_allocs - rollup->n_allocs);
	ok = track_span(&l->heap, l->step, rollup->low_bytes, rollup->live_bytes, &l->arena);
	for (uint32_t i = 0; i < rollup->sites.n && ok; i++) {
		const struct ft_rollup_account *a = &rollup->sites.accounts[i];
		uint32_t stack = a->id < n_stacks ? a->id : 0;

		ok = track_span(&l->tracks[stack], l->step, a->value[FT_ROLLUP_LOW_BYTES],
				a->value[FT_ROLLUP_LIVE_BYTES], &l->arena);
		for (uint32_t c = 0; c < a->n_cohorts; c++) {
			const struct ft_rollup_cohort *cohort =
				&rollup->sites.cohorts[a->first_cohort + c];
			uint64_t born_ns = ft_rollup_birth_ns(rollup, cohort);

			if (born_ns + l->life.min_freed_age_ns <= span->time_ns)
				count_freed(l, stack, born_ns, span->time_ns, cohort->bytes);
		}
	}
	return ok ? NULL : &ft_enomem;
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
	const struct fa_engine *engine = fa_pass_engine(pass);
	const struct fa_block *block;
	size_t cursor = 0;

	l->surveyed = true;
	while (fa_engine_next_live(engine, &cursor, &block)) {
		struct survivors *s;

		FT_TRY(survivors_of(l, block->stack, &s));
		s->blocks += block->blocks;
		s->bytes += block->bytes;
		s->variance += fa_engine_variance(engine, block);
		if (block->born_ns < l->doubtful_before_ns)
			s->doubtful_bytes += block->bytes;
		fa_life_survivor(&l->life, block->born_ns, block->bytes, block->blocks, s->cohorts,
				 s->births);
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

static int compare_stacks(const void *a, const void *b)
{
	const struct survivors *x = a, *y = b;

	return (x->stack > y->stack) - (x->stack < y->stack);
}

/* By stack: of callers that explain the same, which one is named is not to depend on where blocks
 * are in the heap, which a replay in parts has in another order. */
static struct ft_error *sort_survivors(struct leaks *l)
{
	if (l->n_survivors)
		qsort(l->survivors, l->n_survivors, sizeof(*l->survivors), compare_stacks);
	for (size_t i = 0; i < l->n_survivors; i++) {
		uint64_t *index = ft_map_get(&l->by_stack, l->survivors[i].stack);

		if (!index)
			return &ft_enomem;
		*index = i;
	}
	return NULL;
}

static struct ft_error *leaks_join(struct fa_pass *pass, struct fa_pass *earlier)
{
	struct leaks *l = fa_pass_state(pass), *before = fa_pass_state(earlier);
	size_t n_stacks = fa_engine_n_stacks(fa_pass_engine(pass));
	uint64_t n_allocs = before->totals->n_allocs;
	bool ok = fa_track_join(&l->heap, &before->heap, &l->arena);

	for (size_t i = 0; i < n_stacks; i++) {
		ok &= fa_track_join(&l->tracks[i], &before->tracks[i], &l->arena);
		for (int span = 0; span < FA_GROWTH_SPANS; span++) {
			l->freed[i].bytes[span] += before->freed[i].bytes[span];
			l->freed[i].old_bytes[span] += before->freed[i].old_bytes[span];
		}
	}
	for (size_t i = 0; i < LEAKS_STEPS; i++)
		l->activity[i] += before->activity[i];
	if (before->step < LEAKS_STEPS)
		l->activity[before->step] += n_allocs - before->activity_seen;
	/* The heap's allocations will be those of both. */
	l->activity_seen += n_allocs;
	/* Only one of them has the end of the working life. */
	if (before->surveyed) {
		l->surveyed = true;
		l->survivors = ft_take(before->survivors);
		l->n_survivors = before->n_survivors;
		l->survivors_capacity = before->survivors_capacity;
		ft_map_deinit(&l->by_stack);
		l->by_stack = before->by_stack;
		ft_map_init(&before->by_stack);
	}
	return ok ? NULL : &ft_enomem;
}

static struct ft_error *leaks_finish(struct fa_pass *pass)
{
	struct leaks *l = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);

	next_step(l, l->life.to_ns, l->totals->n_allocs);
	if (l->step < LEAKS_STEPS)
		l->activity[l->step] += l->totals->n_allocs - l->activity_seen;
	if (!l->surveyed)
		FT_TRY(survey(pass));
	FT_TRY(survey_end(pass));
	FT_TRY(sort_survivors(l));
	FT_TRY(leaks_judge(l, engine));
	FT_TRY(leaks_limit(l, engine));
	return leaks_find(l, engine);
}

static void leaks_deinit(struct fa_pass *pass)
{
	struct leaks *l = fa_pass_state(pass);

	ft_arena_deinit(&l->arena);
	ft_map_deinit(&l->by_stack);
	free(l->tracks);
	free(l->freed);
	free(l->survivors);
	free(l->marks);
	free(l->rows);
	free(l->series);
}

const struct fa_pass_ops fa_pass_leaks = {
	.name = "leaks",
	.summary = "what is still live, by call stack, and which of it grows",
	.state_size = sizeof(struct leaks),
	.init = leaks_init,
	.on_steps = leaks_on_steps,
	.on_span = leaks_on_span,
	.on_teardown = survey,
	.join = leaks_join,
	.finish = leaks_finish,
	.emit = leaks_emit,
	.deinit = leaks_deinit,
};

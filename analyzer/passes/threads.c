/* SPDX-License-Identifier: MIT */
/*
 * Threads: who allocates, who holds, and who frees whose memory
 *
 * A block belongs to the thread that allocated it, whoever frees it: allocations minus frees of one
 * thread would make every producer look like a leak. The matrix shows the traffic.
 *
 * Threads that have ended are folded by start routine and name when there are many of a kind, so
 * that a leak of one block a thread is seen, and so that a server's thousands of threads stay a
 * table. Growth of a row is judged by the tests that sites have.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "fragtrace/rollup.h"
#include "ft_thread_kind.h"
#include "threads_impl.h"

/* ---- rows --------------------------------------------------------------------------------------
 */

/* Digits of a name are numbers of a pool: "conn-17" and "conn-4" are "conn-#". */
static const char *folded_name(struct threads *t, const char *name)
{
	char *copy = name ? ft_arena_strdup(&t->arena, name) : NULL, *to = copy;

	for (const char *from = copy; from && *from; from++) {
		if (isdigit((unsigned char)*from)) {
			if (to == copy || to[-1] != '#')
				*to++ = '#';
		} else {
			*to++ = *from;
		}
	}
	if (copy)
		*to = '\0';
	return copy;
}

static bool has_ended(const struct threads *t, const struct fa_thread *thread)
{
	return thread->end_ns != FT_TIME_NONE && thread->end_ns < t->life.to_ns;
}

static uint32_t row_add(struct threads *t, uint32_t id, const char *name)
{
	if (t->n_rows == THREADS_ROWS) {
		t->rows[THREADS_ROWS - 1].other = true;
		t->rows[THREADS_ROWS - 1].name = NULL;
		return THREADS_ROWS - 1;
	}
	t->rows[t->n_rows] = (struct thread_row){.id = id, .name = name};
	return (uint32_t)t->n_rows++;
}

/* Which row counts each thread. */
static struct ft_error *rows_init(struct threads *t, const struct fa_engine *engine)
{
	struct ft_map kinds, rows; /* how many have ended; the row of a folded kind */
	struct ft_error *error = NULL;

	ft_map_init(&kinds);
	ft_map_init(&rows);
	for (int pass = 0; pass < 2 && !error; pass++) {
		for (uint32_t id = 0; id < t->n_threads && !error; id++) {
			const struct fa_thread *thread = fa_engine_thread(engine, id);
			bool created = true, ended = thread && has_ended(t, thread);
			const char *name = ended ? folded_name(t, thread->name) : NULL;
			uint64_t kind = ended ? ft_thread_kind(thread->start_pc, thread->name) : 0,
				 *n = NULL, *row = NULL;

			if (ended)
				n = ft_map_put(&kinds, kind, NULL);
			if (ended && !n)
				error = &ft_enomem;
			if (pass == 0) {
				if (n)
					*n += thread->n_threads;
				continue;
			}
			/* Who has no row is one with who is not known. */
			if (!thread && id) {
				t->row_of[id] = t->row_of[0];
				continue;
			}
			if (n && *n > THREADS_FOLD) {
				row = ft_map_put(&rows, kind, &created);
				if (!row)
					error = &ft_enomem;
			}
			t->row_of[id] = row && !created ? (uint32_t)*row
					: row		? row_add(t, id, name)
					      : row_add(t, id, thread ? thread->name : NULL);
			if (row)
				*row = t->row_of[id];
			t->rows[t->row_of[id]].folded |= row != NULL;
			t->rows[t->row_of[id]].n_threads += thread ? thread->n_threads : 0;
		}
	}
	ft_map_deinit(&kinds);
	ft_map_deinit(&rows);
	return error;
}

/* ---- gather ------------------------------------------------------------------------------------
 */

/* Asked for each event: where nothing is estimated, without a call. */
static inline uint64_t variance_of(const struct threads *t, const struct fa_engine *engine,
				   const struct fa_block *block)
{
	return t->estimated ? fa_engine_variance(engine, block) : 0;
}

/* What is live at the start of the window. */
static struct ft_error *count_live(struct threads *t, struct fa_engine *engine)
{
	const struct fa_block *block;
	struct fa_thread_live live;
	size_t cursor = 0;

	while (fa_engine_next_live(engine, &cursor, &block)) {
		struct thread_row *row = &t->rows[t->row_of[block->thread]];

		row->live_bytes += block->bytes;
		row->live_blocks += block->blocks;
		row->live_variance += variance_of(t, engine, block);
		if (t->has_arenas && !fa_block_is_object(block))
			FT_TRY(threads_arena_step(
				t, engine, &(struct fa_step){.born = block, .block = block}));
	}
	for (uint32_t id = 0; id < t->n_threads && fa_engine_rolled(engine); id++) {
		struct thread_row *row = &t->rows[t->row_of[id]];

		fa_engine_thread_live(engine, id, &live);
		row->live_bytes += live.bytes;
		row->live_blocks += live.blocks;
		row->live_variance += live.variance;
	}
	for (size_t i = 0; i < t->n_rows; i++)
		fa_track_begin(&t->rows[i].track, t->first_step, t->rows[i].live_bytes);
	if (fa_engine_part_ns(engine) > fa_engine_from_ns(engine))
		threads_arena_begin(t);
	return NULL;
}

static struct ft_error *threads_init(struct fa_pass *pass)
{
	struct threads *t = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	uint64_t seq, end_ns;

	ft_arena_init(&t->arena);
	ft_map_init(&t->foreign);
	ft_map_init(&t->by_base);
	t->n_threads = fa_engine_n_threads(engine);
	t->estimated = fa_engine_sample_bytes(engine) != 0;
	t->has_arenas = !t->estimated && !strcmp(fa_engine_allocator(engine), "glibc");
	if (!fa_engine_teardown(engine, &seq, &end_ns))
		end_ns = fa_engine_to_ns(engine);
	fa_life_init(&t->life, fa_engine_from_ns(engine), fa_engine_to_ns(engine), end_ns);
	t->next_step_ns = fa_life_step_end(&t->life, 0);
	while (fa_engine_part_ns(engine) > t->next_step_ns)
		t->next_step_ns = fa_life_step_end(&t->life, ++t->step);
	t->first_step = fa_engine_part_ns(engine) > t->life.from_ns ? FA_TRACK_IDLE : 0;
	t->row_of = calloc(t->n_threads, sizeof(*t->row_of));
	t->rows = calloc(THREADS_ROWS, sizeof(*t->rows));
	t->series = calloc(THREADS_ROWS * THREADS_SERIES, sizeof(*t->series));
	if (!t->row_of || !t->rows || !t->series)
		return &ft_enomem;
	FT_TRY(rows_init(t, engine));
	return count_live(t, engine);
}

static struct ft_error *count_foreign(struct threads *t, uint32_t from, uint32_t to, uint64_t bytes)
{
	uint64_t pair = (uint64_t)from << 32 | to;

	t->rows[from].freed_by_others_bytes += bytes;
	if (!t->last_bytes || t->last_pair != pair) {
		t->last_bytes = ft_map_put(&t->foreign, pair, NULL);
		if (!t->last_bytes)
			return &ft_enomem;
		t->last_pair = pair;
	}
	*t->last_bytes += bytes;
	return NULL;
}

static inline void count_born(struct threads *t, const struct fa_engine *engine,
			      const struct fa_block *born)
{
	struct thread_row *owner = &t->rows[t->row_of[born->thread]];
	uint64_t variance = variance_of(t, engine, born);

	owner->live_bytes += born->bytes;
	owner->live_blocks += born->blocks;
	owner->allocated_bytes += born->bytes;
	owner->allocations += born->blocks;
	owner->live_variance += variance;
	owner->allocated_variance += variance;
}

static inline struct ft_error *count_died(struct threads *t, const struct fa_engine *engine,
					  const struct fa_step *step)
{
	const struct fa_block *died = step->died;
	uint32_t thread = step->event->thread < t->n_threads ? step->event->thread : 0;
	struct thread_row *owner = &t->rows[t->row_of[died->thread]];

	owner->live_bytes -= died->bytes;
	owner->live_blocks -= died->blocks;
	owner->live_variance -= variance_of(t, engine, died);
	t->rows[t->row_of[thread]].freed_bytes += died->bytes;
	if (!step->born && step->event->time_ns - died->born_ns >= t->life.min_freed_age_ns)
		fa_life_freed(&t->life, died->born_ns, step->event->time_ns, died->bytes,
			      owner->cohorts);
	if (thread == died->thread) {
		owner->freed_own_bytes += died->bytes;
		return NULL;
	}
	return count_foreign(t, t->row_of[died->thread], t->row_of[thread], died->bytes);
}

/* What needs the order of births and deaths: the lowest value of each row, and arenas. */
static inline struct ft_error *track_step(struct threads *t, const struct fa_engine *engine,
					  const struct fa_step *step)
{
	const struct fa_block *born = step->born, *died = step->died;
	const struct fa_block *block = step->block;
	uint64_t sign = (uint64_t)(born != NULL) - 1; /* no branch: it can't be foreseen */
	bool arenas = t->has_arenas;

	while (__builtin_expect(step->event->time_ns > t->next_step_ns, 0))
		t->next_step_ns = fa_life_step_end(&t->life, ++t->step);
	if (__builtin_expect((born != NULL) == (died != NULL), 0)) {
		if (!born || !died)
			return NULL;
		if (!fa_track_add(&t->rows[t->row_of[died->thread]].track, t->step, 0 - died->bytes,
				  &t->arena))
			return &ft_enomem;
		/* What becomes an object leaves its place to others, and the other way round. */
		arenas = arenas && !fa_block_is_object(died);
	}
	if (arenas && !fa_block_is_object(block))
		FT_TRY(threads_arena_step(t, engine, step));
	return fa_track_add(&t->rows[t->row_of[block->thread]].track, t->step,
			    (block->bytes ^ sign) - sign, &t->arena)
		       ? NULL
		       : &ft_enomem;
}

static struct ft_error *threads_on_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct threads *t = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);

	for (size_t i = 0; i < steps->n; i++)
		FT_TRY(track_step(t, engine, &steps->all[i]));
	for (size_t i = 0; i < steps->n_births; i++)
		count_born(t, engine, steps->births[i]->born);
	for (size_t i = 0; i < steps->n_deaths; i++)
		FT_TRY(count_died(t, engine, steps->deaths[i]));
	return NULL;
}

/* What a thread did in a rolled-up interval. The row's lowest value is counted with the threads one
 * after another: of a folded row it may lie above the true one, never below what one of them had.
 */
static struct ft_error *span_thread(struct threads *t, const struct ft_rollup *rollup,
				    const struct ft_rollup_account *a, uint64_t time_ns)
{
	uint32_t id = a->id < t->n_threads ? a->id : 0;
	struct thread_row *row = &t->rows[t->row_of[id]];
	const uint64_t *value = a->value;
	uint64_t change = value[FT_ROLLUP_BORN_BYTES] - value[FT_ROLLUP_FREED_BYTES];
	uint64_t low = value[FT_ROLLUP_LOW_BYTES] - (value[FT_ROLLUP_LIVE_BYTES] - change);

	row->live_bytes += change;
	row->live_blocks += value[FT_ROLLUP_BORN_BLOCKS] - value[FT_ROLLUP_FREED_BLOCKS];
	row->live_variance += value[FT_ROLLUP_BORN_VARIANCE] - value[FT_ROLLUP_FREED_VARIANCE];
	row->allocated_bytes += value[FT_ROLLUP_BORN_BYTES];
	row->allocations += value[FT_ROLLUP_BORN_BLOCKS];
	row->allocated_variance += value[FT_ROLLUP_BORN_VARIANCE];
	/* Its own, but for what the pairs take out again. */
	row->freed_own_bytes += value[FT_ROLLUP_FREED_BYTES];
	row->freed_bytes += value[FT_ROLLUP_FREED_BYTES];
	for (uint32_t c = 0; c < a->n_cohorts; c++) {
		const struct ft_rollup_cohort *cohort =
			&rollup->threads.cohorts[a->first_cohort + c];
		uint64_t born_ns = ft_rollup_birth_ns(rollup, cohort);

		if (born_ns + t->life.min_freed_age_ns <= time_ns)
			fa_life_freed(&t->life, born_ns, time_ns, cohort->bytes, row->cohorts);
	}
	return fa_track_add(&row->track, t->step, low, &t->arena) &&
			       fa_track_add(&row->track, t->step, change - low, &t->arena)
		       ? NULL
		       : &ft_enomem;
}

static struct ft_error *threads_on_span(struct fa_pass *pass, const struct fa_span *span)
{
	struct threads *t = fa_pass_state(pass);
	const struct ft_rollup *rollup = span->rollup;

	while (span->time_ns > t->next_step_ns)
		t->next_step_ns = fa_life_step_end(&t->life, ++t->step);
	for (uint32_t i = 0; i < rollup->threads.n; i++)
		FT_TRY(span_thread(t, rollup, &rollup->threads.accounts[i], span->time_ns));
	for (uint32_t i = 0; i < rollup->n_pairs; i++) {
		const struct ft_rollup_pair *pair = &rollup->pairs[i];
		uint32_t from = t->row_of[pair->owner < t->n_threads ? pair->owner : 0];
		uint32_t to = t->row_of[pair->freer < t->n_threads ? pair->freer : 0];

		t->rows[from].freed_own_bytes -= pair->bytes;
		t->rows[from].freed_bytes -= pair->bytes;
		t->rows[to].freed_bytes += pair->bytes;
		FT_TRY(count_foreign(t, from, to, pair->bytes));
	}
	return NULL;
}

/* Arenas are known by addresses: those of what lives where events begin. */
static struct ft_error *threads_on_detail(struct fa_pass *pass)
{
	struct threads *t = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);
	const struct fa_block *block;
	size_t cursor = 0;

	while (t->has_arenas && fa_engine_next_live(engine, &cursor, &block))
		FT_TRY(threads_arena_step(t, engine,
					  &(struct fa_step){.born = block, .block = block}));
	return NULL;
}

static struct ft_error *threads_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct threads *t = fa_pass_state(pass);
	size_t n_steps =
		(tick + UINT64_C(1)) * THREADS_SERIES / fa_engine_n_ticks(fa_pass_engine(pass));

	for (; t->n_filled < n_steps; t->n_filled++)
		for (size_t i = 0; i < t->n_rows; i++)
			t->series[i * THREADS_SERIES + t->n_filled] = t->rows[i].live_bytes;
	return NULL;
}

/* The survivors at the end of the working life. */
static struct ft_error *survey(struct fa_pass *pass)
{
	struct threads *t = fa_pass_state(pass);
	const struct fa_block *block;
	size_t cursor = 0;

	t->surveyed = true;
	while (fa_engine_next_live(fa_pass_engine(pass), &cursor, &block)) {
		struct thread_row *row = &t->rows[t->row_of[block->thread]];

		row->survivor_blocks += block->blocks;
		row->survivor_bytes += block->bytes;
		fa_life_survivor(&t->life, block->born_ns, block->bytes, block->blocks,
				 row->cohorts, row->births);
	}
	return NULL;
}

static void join_cohorts(struct fa_cohorts *to, const struct fa_cohorts *from)
{
	for (int window = 0; window < FA_TREND_COHORTS; window++) {
		to->bytes[window] += from->bytes[window];
		to->blocks[window] += from->blocks[window];
	}
	to->freed_bytes += from->freed_bytes;
	to->freed_old_bytes += from->freed_old_bytes;
}

/* What is live now is known; what was done adds up. */
static struct ft_error *join_row(struct threads *t, struct thread_row *row,
				 const struct thread_row *before)
{
	row->allocated_bytes += before->allocated_bytes;
	row->allocations += before->allocations;
	row->allocated_variance += before->allocated_variance;
	row->freed_by_others_bytes += before->freed_by_others_bytes;
	row->freed_own_bytes += before->freed_own_bytes;
	row->freed_bytes += before->freed_bytes;
	row->survivor_blocks += before->survivor_blocks;
	row->survivor_bytes += before->survivor_bytes;
	for (int span = 0; span < FA_GROWTH_SPANS; span++)
		join_cohorts(&row->cohorts[span], &before->cohorts[span]);
	for (int step = 0; step < FA_TRACK_STEPS; step++)
		row->births[step] += before->births[step];
	return fa_track_join(&row->track, &before->track, &t->arena) ? NULL : &ft_enomem;
}

static struct ft_error *threads_join(struct fa_pass *pass, struct fa_pass *earlier)
{
	struct threads *t = fa_pass_state(pass);
	const struct threads *before = fa_pass_state(earlier);
	uint64_t pair, bytes, *sum;
	size_t cursor = 0;

	for (size_t i = 0; i < t->n_rows; i++) {
		FT_TRY(join_row(t, &t->rows[i], &before->rows[i]));
		memcpy(&t->series[i * THREADS_SERIES], &before->series[i * THREADS_SERIES],
		       before->n_filled * sizeof(*t->series));
	}
	if (t->n_filled < before->n_filled)
		t->n_filled = before->n_filled;
	t->last_bytes = NULL;
	while (ft_map_next(&before->foreign, &cursor, &pair, &bytes)) {
		sum = ft_map_put(&t->foreign, pair, NULL);
		if (!sum)
			return &ft_enomem;
		*sum += bytes;
	}
	t->surveyed |= before->surveyed;
	return t->has_arenas ? threads_arena_join(t, before) : NULL;
}

/* ---- judge -------------------------------------------------------------------------------------
 */

static void judge_row(const struct threads *t, struct thread_row *row)
{
	struct fa_evidence e = {
		.n_life = t->life.n_steps,
		.window_s = t->life.window_s,
		.life_s = t->life.life_s,
		.too_short = t->life.too_short,
		.blocks = row->survivor_blocks,
		.bytes = row->survivor_bytes,
		.allocations = row->allocations,
		.frees = row->freed_own_bytes + row->freed_by_others_bytes ? 1 : 0,
		.bytes_allocated = row->allocated_bytes,
		.end_blocks = row->live_blocks,
	};

	fa_track_expand(&row->track, e.low, e.end);
	memcpy(e.cohorts, row->cohorts, sizeof(e.cohorts));
	memcpy(e.births, row->births, sizeof(e.births));
	fa_growth_judge(&e, &row->growth);
}

static uint64_t traffic(const struct thread_row *row)
{
	return row->allocated_bytes + row->freed_bytes;
}

static bool before(const struct threads *t, uint32_t a, uint32_t b)
{
	const struct thread_row *x = &t->rows[a], *y = &t->rows[b];

	if (x->live_bytes != y->live_bytes)
		return x->live_bytes > y->live_bytes;
	return traffic(x) != traffic(y) ? traffic(x) > traffic(y) : a < b;
}

static void row_merge(struct threads *t, struct thread_row *to, size_t from)
{
	const struct thread_row *row = &t->rows[from];
	uint64_t *sum = &t->series[(size_t)(to - t->rows) * THREADS_SERIES];

	to->n_threads += row->n_threads;
	to->allocated_bytes += row->allocated_bytes;
	to->allocations += row->allocations;
	to->live_bytes += row->live_bytes;
	to->live_blocks += row->live_blocks;
	to->live_variance += row->live_variance;
	to->allocated_variance += row->allocated_variance;
	to->freed_by_others_bytes += row->freed_by_others_bytes;
	to->freed_own_bytes += row->freed_own_bytes;
	to->freed_bytes += row->freed_bytes;
	for (size_t i = 0; i < THREADS_SERIES; i++)
		sum[i] += t->series[from * THREADS_SERIES + i];
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The rows that hold most, by id; the rest is added to one of them, which is then "other". */
static void choose(struct threads *t, const struct fa_engine *engine)
{
	uint32_t order[THREADS_ROWS], n = 0;

	for (uint32_t i = 0; i < t->n_rows; i++) {
		const struct thread_row *row = &t->rows[i];

		if (row->n_threads || row->allocations || row->freed_bytes || row->live_blocks)
			order[n++] = i;
	}
	for (uint32_t i = 1; i < n; i++)
		for (uint32_t j = i; j > 0 && before(t, order[j], order[j - 1]); j--) {
			uint32_t swap = order[j];

			order[j] = order[j - 1];
			order[j - 1] = swap;
		}
	t->n_listed = n < THREADS_LISTED ? n : THREADS_LISTED;
	memcpy(t->listed, order, t->n_listed * sizeof(*order));
	qsort(t->listed, t->n_listed, sizeof(*t->listed), compare_ids);
	if (n <= THREADS_LISTED)
		return;

	struct thread_row *rest = &t->rows[order[THREADS_LISTED]];

	rest->other = true;
	for (uint32_t i = THREADS_LISTED + 1; i < n; i++)
		row_merge(t, rest, order[i]);
	t->listed[t->n_listed++] = order[THREADS_LISTED];
}

static struct ft_error *threads_finish(struct fa_pass *pass)
{
	struct threads *t = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);

	if (!t->surveyed)
		FT_TRY(survey(pass));
	for (size_t i = 0; i < t->n_rows; i++)
		judge_row(t, &t->rows[i]);
	choose(t, engine);
	return t->has_arenas ? threads_arena_finish(t, engine) : NULL;
}

static void threads_deinit(struct fa_pass *pass)
{
	struct threads *t = fa_pass_state(pass);

	ft_arena_deinit(&t->arena);
	ft_map_deinit(&t->foreign);
	ft_map_deinit(&t->by_base);
	free(t->row_of);
	free(t->rows);
	free(t->series);
	free(t->arenas);
}

const struct fa_pass_ops fa_pass_threads = {
	.name = "threads",
	.summary = "memory by allocating thread, and who frees whose",
	.state_size = sizeof(struct threads),
	.init = threads_init,
	.on_steps = threads_on_steps,
	.on_span = threads_on_span,
	.on_detail = threads_on_detail,
	.on_tick = threads_on_tick,
	.on_teardown = survey,
	.join = threads_join,
	.finish = threads_finish,
	.emit = threads_emit,
	.deinit = threads_deinit,
};

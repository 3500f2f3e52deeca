/* SPDX-License-Identifier: MIT */
/*
 * Threads: who allocates, who holds, and who frees whose memory
 *
 * A block belongs to the thread that allocated it, whoever frees it: allocations minus frees of one
 * thread would make every producer look like a leak. The matrix shows the traffic.
 */
#include <stdlib.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_trend.h"
#include "ft_cleanup.h"
#include "ft_map.h"

enum { SERIES = 128, MATRIX_MAX = 16, VAGUE = 8 };

struct thread_account {
	uint64_t allocated_bytes, allocations;
	uint64_t live_bytes, live_blocks;
	uint64_t live_variance, allocated_variance;
	uint64_t freed_by_others_bytes;
	uint64_t freed_own_bytes; /* of its own blocks */
	uint64_t freed_bytes;	  /* of anybody's */
};

struct threads {
	struct thread_account *accounts; /* by thread id */
	size_t n;
	bool estimated;
	uint64_t *series;		 /* by thread, then step */
	size_t n_filled;		 /* steps of the series that are there */
	struct ft_map foreign;		 /* allocating thread << 32 | freeing thread -> bytes */
	uint64_t last_pair, *last_bytes; /* the latest entry of `foreign`: pairs come in runs */
};

/* Asked for each event: where nothing is estimated, without a call. */
static inline uint64_t variance_of(const struct threads *t, const struct fa_engine *engine,
				   const struct fa_block *block)
{
	return t->estimated ? fa_engine_variance(engine, block) : 0;
}

static struct ft_error *threads_init(struct fa_pass *pass)
{
	struct threads *t = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	const struct fa_block *block;
	size_t cursor = 0;

	t->n = fa_engine_n_threads(engine);
	t->estimated = fa_engine_sample_bytes(engine) != 0;
	ft_map_init(&t->foreign);
	t->accounts = calloc(t->n, sizeof(*t->accounts));
	t->series = calloc(t->n * SERIES, sizeof(*t->series));
	if (!t->accounts || !t->series)
		return &ft_enomem;
	while (fa_engine_next_live(engine, &cursor, &block)) {
		t->accounts[block->thread].live_bytes += block->bytes;
		t->accounts[block->thread].live_blocks += block->blocks;
		t->accounts[block->thread].live_variance += variance_of(t, engine, block);
	}
	return NULL;
}

static struct ft_error *count_foreign(struct threads *t, const struct fa_block *died,
				      uint32_t thread)
{
	uint64_t pair = (uint64_t)died->thread << 32 | thread;

	t->accounts[died->thread].freed_by_others_bytes += died->bytes;
	if (!t->last_bytes || t->last_pair != pair) {
		t->last_bytes = ft_map_put(&t->foreign, pair, NULL);
		if (!t->last_bytes)
			return &ft_enomem;
		t->last_pair = pair;
	}
	*t->last_bytes += died->bytes;
	return NULL;
}

static struct ft_error *threads_on_step(struct fa_pass *pass, const struct fa_step *step)
{
	struct threads *t = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);

	if (step->died) {
		const struct fa_block *died = step->died;
		struct thread_account *owner = &t->accounts[died->thread];
		uint32_t thread = step->event->thread < t->n ? step->event->thread : 0;

		owner->live_bytes -= died->bytes;
		owner->live_blocks -= died->blocks;
		owner->live_variance -= variance_of(t, engine, died);
		t->accounts[thread].freed_bytes += died->bytes;
		if (thread == died->thread)
			owner->freed_own_bytes += died->bytes;
		else
			FT_TRY(count_foreign(t, died, thread));
	}
	if (step->born) {
		struct thread_account *owner = &t->accounts[step->born->thread];

		owner->live_bytes += step->born->bytes;
		owner->live_blocks += step->born->blocks;
		owner->allocated_bytes += step->born->bytes;
		owner->allocations += step->born->blocks;

		uint64_t variance = variance_of(t, engine, step->born);

		owner->live_variance += variance;
		owner->allocated_variance += variance;
	}
	return NULL;
}

static struct ft_error *threads_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct threads *t = fa_pass_state(pass);
	size_t n_steps = (tick + UINT64_C(1)) * SERIES / fa_engine_n_ticks(fa_pass_engine(pass));

	for (; t->n_filled < n_steps; t->n_filled++)
		for (size_t i = 0; i < t->n; i++)
			t->series[i * SERIES + t->n_filled] = t->accounts[i].live_bytes;
	return NULL;
}

static bool is_listed(const struct threads *t, const struct fa_engine *engine, size_t id)
{
	const struct thread_account *account = &t->accounts[id];

	return fa_engine_thread(engine, (uint32_t)id) || account->allocations ||
	       account->freed_bytes || account->live_blocks;
}

/* Rate after the first third, from troughs; false when the window is too short to say. */
static bool thread_rate(const struct fa_engine *engine, const uint64_t *series, double *ret)
{
	double seconds = (double)(fa_engine_to_ns(engine) - fa_engine_from_ns(engine)) / 1e9;
	double troughs[FA_TREND_TROUGHS];

	if (seconds < 2)
		return false;
	fa_troughs(series, SERIES / 3, SERIES, troughs);

	double window_s = seconds * 2 / 3 / FA_TREND_TROUGHS;

	*ret = fa_theil_sen(troughs, FA_TREND_TROUGHS).slope / window_s;
	return true;
}

static void emit_thread(const struct threads *t, const struct fa_engine *engine, size_t id,
			struct fa_json *json)
{
	const struct thread_account *account = &t->accounts[id];
	const struct fa_thread *thread = fa_engine_thread(engine, (uint32_t)id);
	double rate;

	fa_json_object_begin(json);
	fa_json_kv_u64(json, "id", id);
	if (thread)
		fa_json_kv_i64(json, "tid", thread->tid);
	else
		fa_json_kv_null(json, "tid");
	fa_json_kv_string(json, "name", thread ? thread->name : NULL);
	fa_json_kv_string(json, "start_function", thread ? thread->start_function : NULL);
	if (thread)
		fa_json_kv_u64(json, "start_ns", thread->start_ns);
	else
		fa_json_kv_null(json, "start_ns");
	if (thread && thread->end_ns != FT_TIME_NONE)
		fa_json_kv_u64(json, "end_ns", thread->end_ns);
	else
		fa_json_kv_null(json, "end_ns");
	fa_json_kv_u64(json, "allocated_bytes", account->allocated_bytes);
	fa_json_kv_u64(json, "allocations", account->allocations);
	fa_json_kv_u64(json, "live_bytes", account->live_bytes);
	fa_json_kv_u64(json, "live_blocks", account->live_blocks);
	fa_json_kv_u64(json, "freed_by_others_bytes", account->freed_by_others_bytes);
	fa_engine_emit_error(engine, "allocated_error", "allocated_relative_error",
			     account->allocated_bytes, account->allocated_variance, json);
	fa_engine_emit_error(engine, "live_error", "live_relative_error", account->live_bytes,
			     account->live_variance, json);
	/* Of few samples, their noise would be the rate. */
	if (fa_engine_error(engine, account->live_variance) * VAGUE <=
		    (double)account->live_bytes &&
	    thread_rate(engine, t->series + id * SERIES, &rate))
		fa_json_kv_f64(json, "rate_bytes_per_s", rate);
	else
		fa_json_kv_null(json, "rate_bytes_per_s");
	fa_json_object_end(json);
}

/* The threads with most traffic, by id; all of them if they are few. `has_other`: some are left. */
static size_t choose_ids(const struct threads *t, const struct fa_engine *engine,
			 uint32_t ids[MATRIX_MAX], bool *has_other)
{
	size_t n = 0;

	*has_other = false;
	for (size_t id = 0; id < t->n; id++) {
		const struct thread_account *account = &t->accounts[id];
		uint64_t traffic = account->allocated_bytes + account->freed_bytes;

		if (!is_listed(t, engine, id))
			continue;

		/* Insertion by traffic; the loser of a full list is out. */
		size_t at = n;

		while (at > 0) {
			const struct thread_account *before = &t->accounts[ids[at - 1]];

			if (before->allocated_bytes + before->freed_bytes >= traffic)
				break;
			at--;
		}
		if (n == MATRIX_MAX)
			*has_other = true;
		else
			n++;
		for (size_t i = n - 1; i > at; i--)
			ids[i] = ids[i - 1];
		if (at < n)
			ids[at] = (uint32_t)id;
	}
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0 && ids[j - 1] > ids[j]; j--) {
			uint32_t swap = ids[j];

			ids[j] = ids[j - 1];
			ids[j - 1] = swap;
		}
	return n;
}

static size_t index_of(const uint32_t *ids, size_t n, uint32_t id)
{
	size_t i = 0;

	while (i < n && ids[i] != id)
		i++;
	return i; /* n: other */
}

static void emit_matrix(const struct threads *t, const struct fa_engine *engine,
			struct fa_json *json)
{
	uint64_t bytes[MATRIX_MAX + 1][MATRIX_MAX + 1] = {0};
	uint32_t ids[MATRIX_MAX];
	bool has_other;
	size_t n = choose_ids(t, engine, ids, &has_other), cursor = 0;
	uint64_t pair, value;

	for (size_t id = 0; id < t->n; id++) {
		size_t at = index_of(ids, n, (uint32_t)id);

		bytes[at][at] += t->accounts[id].freed_own_bytes;
	}
	while (ft_map_next(&t->foreign, &cursor, &pair, &value))
		bytes[index_of(ids, n, (uint32_t)(pair >> 32))][index_of(ids, n, (uint32_t)pair)] +=
			value;

	fa_json_key(json, "free_matrix");
	fa_json_object_begin(json);
	fa_json_key(json, "ids");
	fa_json_array_begin(json);
	for (size_t i = 0; i < n; i++)
		fa_json_u64(json, ids[i]);
	if (has_other)
		fa_json_null(json);
	fa_json_array_end(json);
	fa_json_key(json, "bytes");
	fa_json_array_begin(json);
	for (size_t i = 0; i < n + has_other; i++) {
		fa_json_array_begin(json);
		for (size_t j = 0; j < n + has_other; j++)
			fa_json_u64(json, bytes[i][j]);
		fa_json_array_end(json);
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
}

static struct ft_error *threads_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct threads *t = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct fa_json *json = fa_doc_begin(doc, "threads");
	ft_auto_free uint64_t *series = malloc((t->n * SERIES + 1) * sizeof(*series));
	size_t n = 0;

	fa_engine_emit_estimated(engine, json);
	fa_json_key(json, "threads");
	fa_json_array_begin(json);
	for (size_t id = 0; id < t->n; id++) {
		if (!is_listed(t, engine, id))
			continue;
		emit_thread(t, engine, id, json);
		for (size_t i = 0; series && i < SERIES; i++)
			series[n++] = t->series[id * SERIES + i];
	}
	fa_json_array_end(json);
	emit_matrix(t, engine, json);
	fa_doc_end(doc);
	if (!series)
		return &ft_enomem;
	fa_doc_column(doc, "threads.series", FA_U64, series, n);
	return NULL;
}

static void threads_deinit(struct fa_pass *pass)
{
	struct threads *t = fa_pass_state(pass);

	free(t->accounts);
	free(t->series);
	ft_map_deinit(&t->foreign);
}

const struct fa_pass_ops fa_pass_threads = {
	.name = "threads",
	.summary = "memory by allocating thread, and who frees whose",
	.state_size = sizeof(struct threads),
	.init = threads_init,
	.on_step = threads_on_step,
	.on_tick = threads_on_tick,
	.emit = threads_emit,
	.deinit = threads_deinit,
};

/* SPDX-License-Identifier: MIT */
/* Threads: the section of the document. */
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "ft_cleanup.h"
#include "threads_impl.h"

enum { VAGUE = 8 };

/* Rate after the first third, from troughs; false when the window is too short to say. */
static bool thread_rate(const struct threads *t, const uint64_t *series, double *ret)
{
	double troughs[FA_TREND_TROUGHS];

	if (t->life.window_s < 2)
		return false;
	fa_troughs(series, THREADS_SERIES / 3, THREADS_SERIES, troughs);
	*ret = fa_theil_sen(troughs, FA_TREND_TROUGHS).slope /
	       (t->life.window_s * 2 / 3 / FA_TREND_TROUGHS);
	return true;
}

static void emit_ns(struct fa_json *json, const char *key, const struct fa_thread *thread,
		    uint64_t value)
{
	if (thread && value != FT_TIME_NONE)
		fa_json_kv_u64(json, key, value);
	else
		fa_json_kv_null(json, key);
}

static void emit_f64(struct fa_json *json, const char *key, bool known, double value)
{
	if (known)
		fa_json_kv_f64(json, key, value);
	else
		fa_json_kv_null(json, key);
}

static void emit_rate(const struct threads *t, const struct fa_engine *engine,
		      const struct thread_row *row, struct fa_json *json)
{
	const struct fa_growth *growth = &row->growth;
	double rate = growth->rate;
	/* Of few samples, their noise would be the rate. */
	bool vague = fa_engine_error(engine, row->live_variance) * VAGUE > (double)row->live_bytes;
	bool judged = !vague && !row->other && growth->has_rate;
	bool known = judged ||
		     (!vague &&
		      thread_rate(t, t->series + (size_t)(row - t->rows) * THREADS_SERIES, &rate));

	emit_f64(json, "rate_bytes_per_s", known, rate);
	emit_f64(json, "rate_low", judged, growth->rate_low);
	emit_f64(json, "rate_high", judged, growth->rate_high);
	fa_json_kv_string(json, "verdict",
			  row->other || vague ? NULL : fa_verdict_name(growth->verdict));
}

static void emit_row(const struct threads *t, const struct fa_engine *engine,
		     const struct thread_row *row, struct fa_json *json)
{
	const struct fa_thread *thread = fa_engine_thread(engine, row->id);
	const struct fa_thread *one = row->n_threads == 1 && !row->other ? thread : NULL;
	uint64_t freed = row->freed_own_bytes + row->freed_by_others_bytes;

	fa_json_object_begin(json);
	fa_json_kv_u64(json, "id", row->id);
	fa_json_kv_u64(json, "threads", row->n_threads);
	fa_json_kv_bool(json, "folded", row->folded || row->other);
	if (one)
		fa_json_kv_i64(json, "tid", one->tid);
	else
		fa_json_kv_null(json, "tid");
	fa_json_kv_string(json, "name", row->other ? NULL : row->name);
	fa_json_kv_string(json, "start_function",
			  thread && !row->other ? thread->start_function : NULL);
	emit_ns(json, "start_ns", row->other ? NULL : thread, thread ? thread->start_ns : 0);
	emit_ns(json, "end_ns", one, one ? one->end_ns : 0);
	fa_json_kv_u64(json, "allocated_bytes", row->allocated_bytes);
	fa_json_kv_u64(json, "allocations", row->allocations);
	fa_json_kv_u64(json, "live_bytes", row->live_bytes);
	fa_json_kv_u64(json, "live_blocks", row->live_blocks);
	fa_json_kv_u64(json, "freed_by_others_bytes", row->freed_by_others_bytes);
	emit_f64(json, "freed_by_others_pct", freed > 0,
		 freed ? 100.0 * (double)row->freed_by_others_bytes / (double)freed : 0);
	fa_engine_emit_error(engine, "allocated_error", "allocated_relative_error",
			     row->allocated_bytes, row->allocated_variance, json);
	fa_engine_emit_error(engine, "live_error", "live_relative_error", row->live_bytes,
			     row->live_variance, json);
	emit_rate(t, engine, row, json);
	fa_json_object_end(json);
}

/* ---- who frees whose ---------------------------------------------------------------------------
 */

static uint64_t traffic(const struct thread_row *row)
{
	return row->allocated_bytes + row->freed_bytes;
}

/* The rows with most traffic, in order; `of` gets the place of each row, n for all others. */
static size_t choose(const struct threads *t, uint32_t ids[THREADS_MATRIX], uint8_t *of,
		     bool *has_other)
{
	size_t n = 0, n_all = 0, count = 0;

	for (uint32_t i = 0; i < t->n_rows; i++) {
		size_t at = n;

		if (!t->rows[i].n_threads && !traffic(&t->rows[i]))
			continue;
		n_all++;
		while (at > 0 && traffic(&t->rows[ids[at - 1]]) < traffic(&t->rows[i]))
			at--;
		if (n < THREADS_MATRIX)
			n++;
		for (size_t k = n - 1; k > at; k--)
			ids[k] = ids[k - 1];
		if (at < n)
			ids[at] = i;
	}
	*has_other = n_all > n;
	memset(of, (int)n, t->n_rows);
	for (size_t i = 0; i < n; i++)
		of[ids[i]] = 0;
	for (uint32_t i = 0; i < t->n_rows; i++) {
		if (of[i])
			continue;
		of[i] = (uint8_t)count;
		ids[count++] = i;
	}
	return n;
}

static void emit_matrix(const struct threads *t, struct fa_json *json)
{
	uint64_t bytes[THREADS_MATRIX + 1][THREADS_MATRIX + 1] = {0}, pair, value;
	uint32_t ids[THREADS_MATRIX];
	uint8_t of[THREADS_ROWS];
	bool has_other;
	size_t n = choose(t, ids, of, &has_other), cursor = 0;

	for (size_t i = 0; i < t->n_rows; i++)
		bytes[of[i]][of[i]] += t->rows[i].freed_own_bytes;
	while (ft_map_next(&t->foreign, &cursor, &pair, &value))
		bytes[of[pair >> 32]][of[(uint32_t)pair]] += value;

	fa_json_key(json, "free_matrix");
	fa_json_object_begin(json);
	fa_json_key(json, "ids");
	fa_json_array_begin(json);
	for (size_t i = 0; i < n; i++)
		fa_json_u64(json, t->rows[ids[i]].id);
	if (has_other)
		fa_json_null(json);
	fa_json_array_end(json);
	fa_json_key(json, "bytes");
	fa_json_array_begin(json);
	for (size_t i = 0; i < n + has_other; i++) {
		fa_json_array_begin(json);
		for (size_t k = 0; k < n + has_other; k++)
			fa_json_u64(json, bytes[i][k]);
		fa_json_array_end(json);
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
}

struct ft_error *threads_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct threads *t = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct fa_json *json = fa_doc_begin(doc, "threads");
	ft_auto_free uint64_t *series =
		malloc((t->n_listed * THREADS_SERIES + 1) * sizeof(*series));
	uint64_t remote = 0, freed = 0;

	fa_json_key(json, "threads");
	fa_json_array_begin(json);
	for (size_t i = 0; i < t->n_listed; i++) {
		emit_row(t, engine, &t->rows[t->listed[i]], json);
		if (series)
			memcpy(series + i * THREADS_SERIES,
			       t->series + (size_t)t->listed[i] * THREADS_SERIES,
			       THREADS_SERIES * sizeof(*series));
	}
	fa_json_array_end(json);
	for (size_t i = 0; i < t->n_listed; i++) {
		const struct thread_row *row = &t->rows[t->listed[i]];

		remote += row->freed_by_others_bytes;
		freed += row->freed_by_others_bytes + row->freed_own_bytes;
	}
	emit_f64(json, "freed_by_others_pct", freed > 0,
		 freed ? 100.0 * (double)remote / (double)freed : 0);
	emit_matrix(t, json);
	threads_arena_emit(t, json);
	fa_engine_emit_estimated(engine, json);
	fa_doc_end(doc);
	if (!series)
		return &ft_enomem;
	fa_doc_column(doc, "threads.series", FA_U64, series, t->n_listed * THREADS_SERIES);
	return NULL;
}

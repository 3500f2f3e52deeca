/* SPDX-License-Identifier: MIT */
/* Comparing two recordings: the section `diff`. */
#include <math.h>
#include <stdio.h>

#include "fa_compare.h"

enum { MAX_REBUILT = 64 };

static double seconds_of(const struct fa_side *side)
{
	return (double)(fa_engine_to_ns(side->engine) - fa_engine_from_ns(side->engine)) / 1e9;
}

static uint64_t operations_of(const struct fa_side *side)
{
	return fa_value_u64(fa_value_get(fa_value_get(side->leaks, "process"), "operation"), "n");
}

/* A number, or null for NaN and what is not known. */
static void emit_number(struct fa_json *json, const char *key, bool known, double value)
{
	if (known && isfinite(value))
		fa_json_kv_f64(json, key, value);
	else
		fa_json_kv_null(json, key);
}

static void emit_copy(struct fa_json *json, const char *key, const struct fa_value *value)
{
	fa_json_key(json, key);
	if (value)
		fa_value_emit(value, json);
	else
		fa_json_null(json);
}

/* What the sides have as a whole. */
static void emit_side(struct fa_json *json, const char *key, const struct fa_side *side,
		      bool per_operation)
{
	const struct fa_totals *totals = fa_engine_totals(side->engine);
	const struct fa_value *process = fa_value_get(side->leaks, "process");
	double seconds = seconds_of(side);
	uint64_t operations = operations_of(side);

	fa_json_key(json, key);
	fa_json_object_begin(json);
	fa_json_kv_string(json, "path", ft_reader_path(fa_engine_reader(side->engine)));
	emit_copy(json, "program", fa_value_get(fa_value_get(side->summary, "program"), "name"));
	emit_copy(json, "complete", fa_value_get(side->summary, "complete"));
	fa_json_kv_u64(json, "duration_ns",
		       fa_engine_to_ns(side->engine) - fa_engine_from_ns(side->engine));
	fa_json_kv_u64(json, "live_bytes", totals->live_bytes);
	fa_json_kv_u64(json, "live_blocks", totals->live_blocks);
	fa_json_kv_u64(json, "peak_bytes", totals->peak_bytes);
	emit_copy(json, "rss_max", fa_value_get(fa_value_get(side->summary, "rss"), "max"));
	fa_json_kv_u64(json, "allocations", totals->n_allocs);
	fa_json_kv_u64(json, "allocated_bytes", totals->bytes_allocated);
	emit_number(json, "allocated_bytes_per_s", seconds > 0,
		    (double)totals->bytes_allocated / seconds);
	emit_copy(json, "rate_bytes_per_s", fa_value_get(process, "rate_bytes_per_s"));
	emit_copy(json, "verdict", fa_value_get(process, "verdict"));
	if (per_operation)
		fa_json_kv_u64(json, "operations", operations);
	else
		fa_json_kv_null(json, "operations");
	fa_json_object_end(json);
}

/* What a figure of side a is multiplied by to be what it would be in the time, or with the
 * allocations, of side b. NaN where a has none. */
struct scale {
	double time, events;
};

static struct scale scale_of(const struct fa_side *a, const struct fa_side *b)
{
	double allocations = (double)fa_engine_totals(a->engine)->n_allocs;

	return (struct scale){
		.time = seconds_of(a) > 0 ? seconds_of(b) / seconds_of(a) : NAN,
		.events = allocations > 0
				  ? (double)fa_engine_totals(b->engine)->n_allocs / allocations
				  : NAN,
	};
}

static void emit_figures(struct fa_json *json, const char *key, const struct fa_figures *f,
			 double seconds, uint64_t operations)
{
	bool rate = f->growing || f->suspect;

	fa_json_key(json, key);
	if (!f->present) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", f->n_sites);
	fa_json_kv_u64(json, "live_bytes", f->live_bytes);
	fa_json_kv_u64(json, "live_blocks", f->live_blocks);
	fa_json_kv_u64(json, "peak_bytes", f->peak_bytes);
	fa_json_kv_u64(json, "allocated_bytes", f->allocated_bytes);
	fa_json_kv_u64(json, "allocations", f->allocations);
	emit_number(json, "allocated_bytes_per_s", seconds > 0,
		    (double)f->allocated_bytes / seconds);
	emit_number(json, "allocated_bytes_per_operation", operations > 0,
		    (double)f->allocated_bytes / (double)operations);
	fa_json_kv_bool(json, "growing", f->growing);
	emit_number(json, "rate_bytes_per_s", rate, f->rate);
	emit_number(json, "rate_low", rate, f->rate_low);
	emit_number(json, "rate_high", rate, f->rate_high);
	emit_number(json, "bytes_per_operation", rate && operations, f->per_operation);
	fa_json_object_end(json);
}

/* What is more (or less) in b, as it is and with a scaled. */
static void emit_delta(struct fa_json *json, const char *name, uint64_t a, uint64_t b,
		       const struct scale *scale)
{
	char key[64];

	snprintf(key, sizeof(key), "delta_%s", name);
	fa_json_kv_i64(json, key, (int64_t)b - (int64_t)a);
	snprintf(key, sizeof(key), "delta_%s_by_time", name);
	emit_number(json, key, true, round((double)b - (double)a * scale->time));
	snprintf(key, sizeof(key), "delta_%s_by_events", name);
	emit_number(json, key, true, round((double)b - (double)a * scale->events));
}

static void emit_rebuilt(const struct fa_comparison *c, struct fa_json *json)
{
	fa_json_kv_u64(json, "rebuilt_modules", c->n_rebuilt);
	fa_json_key(json, "rebuilt");
	fa_json_array_begin(json);
	for (size_t i = 0; i < c->n_rebuilt && i < MAX_REBUILT; i++) {
		fa_json_object_begin(json);
		fa_json_kv_string(json, "module", c->rebuilt[i].module);
		fa_json_kv_string(json, "a", c->rebuilt[i].build_a);
		fa_json_kv_string(json, "b", c->rebuilt[i].build_b);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
}

static void emit_row(const struct fa_comparison *c, const struct fa_difference *row,
		     const struct fa_side *a, const struct fa_side *b, const struct scale *scale,
		     struct fa_json *json)
{
	const struct fa_side *named = row->b.present ? b : a;
	uint32_t stack = row->b.present ? row->b.stack : row->a.stack;
	bool rate = row->a.growing || row->a.suspect || row->b.growing || row->b.suspect;

	fa_json_object_begin(json);
	fa_json_kv_string(json, "name", fa_engine_site_name(named->engine, stack));
	fa_json_kv_string(json, "status", fa_difference_status(row));
	emit_figures(json, "a", &row->a, seconds_of(a), c->per_operation ? operations_of(a) : 0);
	emit_figures(json, "b", &row->b, seconds_of(b), c->per_operation ? operations_of(b) : 0);
	emit_delta(json, "live_bytes", row->a.live_bytes, row->b.live_bytes, scale);
	emit_delta(json, "peak_bytes", row->a.peak_bytes, row->b.peak_bytes, scale);
	emit_delta(json, "allocated_bytes", row->a.allocated_bytes, row->b.allocated_bytes, scale);
	emit_number(json, "delta_rate_bytes_per_s", rate, row->b.rate - row->a.rate);
	emit_number(json, "delta_bytes_per_operation", rate && c->per_operation,
		    row->b.per_operation - row->a.per_operation);
	fa_json_key(json, "stack");
	fa_engine_emit_stack(named->engine, stack, json);
	fa_json_object_end(json);
}

void fa_comparison_emit(const struct fa_comparison *comparison, const struct fa_side *a,
			const struct fa_side *b, size_t max, struct fa_doc *doc)
{
	struct fa_json *json = fa_doc_begin(doc, "diff");
	size_t listed = comparison->n_rows < max ? comparison->n_rows : max;
	const struct scale scale = scale_of(a, b);
	int64_t rest_live = 0;
	size_t n_new = 0, n_gone = 0, n_changed = 0;

	emit_side(json, "a", a, comparison->per_operation);
	emit_side(json, "b", b, comparison->per_operation);
	emit_copy(
		json, "operation",
		comparison->per_operation
			? fa_value_get(fa_value_get(fa_value_get(b->leaks, "process"), "operation"),
				       "label")
			: NULL);
	fa_json_kv_bool(json, "same_program", comparison->same_program);
	emit_rebuilt(comparison, json);
	fa_json_key(json, "scale");
	fa_json_object_begin(json);
	emit_number(json, "time", true, scale.time);
	emit_number(json, "events", true, scale.events);
	fa_json_object_end(json);
	for (size_t i = 0; i < comparison->n_rows; i++) {
		const struct fa_difference *row = &comparison->rows[i];
		char status = *fa_difference_status(row);

		n_new += status == 'n';
		n_gone += status == 'g';
		n_changed += status == 'c';
		if (i >= listed)
			rest_live += (int64_t)row->b.live_bytes - (int64_t)row->a.live_bytes;
	}
	fa_json_kv_u64(json, "new", n_new);
	fa_json_kv_u64(json, "gone", n_gone);
	fa_json_kv_u64(json, "changed", n_changed);
	fa_json_kv_u64(json, "same", comparison->n_rows - n_new - n_gone - n_changed);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < listed; i++)
		emit_row(comparison, &comparison->rows[i], a, b, &scale, json);
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", comparison->n_rows - listed);
	fa_json_kv_i64(json, "delta_live_bytes", rest_live);
	fa_json_object_end(json);
	fa_doc_end(doc);
}

void fa_comparison_emit_series(const struct fa_doc *of_a, struct fa_doc *doc)
{
	static const struct {
		const char *from, *to;
	} series[] = {
		{"timeline.time_ns", "diff.a_time_ns"},
		{"timeline.live_bytes", "diff.a_live_bytes"},
		{"timeline.live_blocks", "diff.a_live_blocks"},
		{"timeline.peak_bytes", "diff.a_peak_bytes"},
		{"timeline.low_bytes", "diff.a_low_bytes"},
		{"timeline.allocations", "diff.a_allocations"},
		{"rss.time_ns", "diff.a_rss_time_ns"},
		{"rss.bytes", "diff.a_rss_bytes"},
	};

	for (size_t i = 0; i < sizeof(series) / sizeof(*series); i++) {
		const struct fa_column *column = fa_doc_column_find(of_a, series[i].from);

		if (column)
			fa_doc_column(doc, series[i].to, column->type, column->data, column->n);
	}
}

/* SPDX-License-Identifier: MIT */
/* What `top` shows, as JSON: keys are stable, unknown values are null. */
#include <stdlib.h>

#include "fa_json.h"
#include "view_impl.h"

static void put_size(struct fa_json *json, const char *key, int64_t value)
{
	if (value < 0)
		fa_json_kv_null(json, key);
	else
		fa_json_kv_i64(json, key, value);
}

static void put_rate(struct fa_json *json, const char *key, bool known, double value)
{
	if (known)
		fa_json_kv_f64(json, key, value);
	else
		fa_json_kv_null(json, key);
}

static void put_totals(struct fa_json *json, const struct fa_top_totals *t,
		       const struct fa_top_rates *rates)
{
	fa_json_kv_u64(json, "begin_ns", t->begin_ns);
	fa_json_kv_u64(json, "time_ns", t->time_ns);
	fa_json_kv_u64(json, "live_bytes", t->live_bytes);
	fa_json_kv_u64(json, "live_blocks", t->live_blocks);
	fa_json_kv_u64(json, "usable_bytes", t->usable_bytes);
	fa_json_kv_u64(json, "peak_bytes", t->peak_bytes);
	put_size(json, "rss_bytes", t->rss);
	put_size(json, "swap_bytes", t->swap);
	put_size(json, "tracer_bytes", t->tracer);
	fa_json_kv_u64(json, "events", t->n_events);
	fa_json_kv_u64(json, "lost_events", t->n_lost);
	fa_json_kv_u64(json, "allocations", t->n_allocs);
	fa_json_kv_u64(json, "frees", t->n_frees);
	put_rate(json, "events_per_s", rates->known, rates->events);
	put_rate(json, "allocations_per_s", rates->known, rates->allocs);
	put_rate(json, "frees_per_s", rates->known, rates->frees);
	put_rate(json, "minute_s", rates->minute_s > 0, rates->minute_s);
	put_rate(json, "live_bytes_per_s", rates->minute_s > 0, rates->live);
	put_rate(json, "rss_bytes_per_s", rates->rss_known, rates->rss);
}

static void put_site(struct fa_json *json, const struct fa_top_scene *scene,
		     const struct fa_top_row *row, const struct fa_top_rates *rates)
{
	const struct fa_top_site *site = row->site;
	const struct fa_top_name *name =
		scene->names ? fa_top_names_get(scene->names, site->stack) : NULL;

	fa_json_object_begin(json);
	fa_json_kv_u64(json, "site", site->stack);
	fa_json_kv_string(json, "name", name ? name->function : NULL);
	fa_json_kv_string(json, "file", name ? name->file : NULL);
	if (name && name->line > 0)
		fa_json_kv_i64(json, "line", name->line);
	else
		fa_json_kv_null(json, "line");
	fa_json_kv_u64(json, "live_bytes", site->live_bytes);
	fa_json_kv_u64(json, "live_blocks", site->live_blocks);
	fa_json_kv_u64(json, "peak_bytes", site->peak_bytes);
	fa_json_kv_u64(json, "allocations", site->n_allocs);
	fa_json_kv_u64(json, "frees", site->n_frees);
	fa_json_kv_u64(json, "allocated_bytes", site->bytes_allocated);
	put_rate(json, "minute_bytes_per_s", rates->minute_s > 0, row->minute);
	fa_json_kv_f64(json, "start_bytes_per_s", row->start);
	put_rate(json, "allocations_per_s", rates->known, row->allocs);
	fa_json_object_end(json);
}

void fa_top_json(struct fa_top_view *view, const struct fa_top_scene *scene, size_t max,
		 struct ft_strbuf *out)
{
	struct fa_top_row *rows = calloc(max ? max : 1, sizeof(*rows));
	const struct fa_top_source *source = scene->source;
	struct fa_top_rates rates;
	unsigned n_naming = 0;
	size_t n = rows ? fa_top_view_rows(view, scene, rows, max, &n_naming) : 0;
	struct fa_json json;

	fa_top_rates(scene->top, &rates);
	fa_json_init(&json, out);
	fa_json_object_begin(&json);
	fa_json_kv_u64(&json, "schema", 1);
	fa_json_kv_string(&json, "state", fa_top_state_name(source->state));
	fa_json_kv_string(&json, "recording", source->path[0] ? source->path : NULL);
	fa_json_kv_string(&json, "continued_by", source->next[0] ? source->next : NULL);
	fa_json_kv_string(&json, "program", source->program[0] ? source->program : NULL);
	put_size(&json, "pid", source->pid ? source->pid : -1);
	fa_json_kv_string(&json, "exit_kind", source->exit_kind[0] ? source->exit_kind : NULL);
	put_size(&json, "exit_code", source->exit_kind[0] ? source->exit_code : -1);
	fa_json_kv_bool(&json, "paused", source->paused);
	fa_json_kv_bool(&json, "estimated", source->sample_bytes != 0);
	put_totals(&json, fa_top_totals(scene->top), &rates);
	fa_json_kv_u64(&json, "n_sites", fa_top_n_sites(scene->top));
	fa_json_kv_u64(&json, "n_growing", fa_top_n_growing(scene->top));
	fa_json_key(&json, "sites");
	fa_json_array_begin(&json);
	for (size_t i = 0; i < n; i++)
		put_site(&json, scene, &rows[i], &rates);
	fa_json_array_end(&json);
	fa_json_object_end(&json);
	ft_strbuf_addc(out, '\n');
	free(rows);
}

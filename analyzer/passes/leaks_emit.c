/* SPDX-License-Identifier: MIT */
/* Leaks: findings and the section of the document. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "fa_doc.h"
#include "fa_format.h"
#include "leaks_impl.h"

/* ---- findings ----------------------------------------------------------------------------------
 */

static struct fa_param param_text(const char *name, const char *value)
{
	return (struct fa_param){.name = name, .kind = FA_PARAM_TEXT, .text = value};
}

static struct fa_param param_u64(const char *name, uint64_t value)
{
	return (struct fa_param){.name = name, .kind = FA_PARAM_U64, .u64 = value};
}

static struct fa_param param_f64(const char *name, double value)
{
	return (struct fa_param){.name = name, .kind = FA_PARAM_F64, .f64 = value};
}

/* Bytes an operation within the stretch of the rate; false when there are no operations. */
static bool per_operation(const struct leaks *l, const struct fa_growth *growth, double *ret)
{
	double seconds;
	size_t n = leaks_operations(l, growth, &seconds);

	if (!n)
		return false;
	*ret = seconds / (double)n;
	return true;
}

static struct ft_error *find_growing(const struct leaks *l, struct fa_engine *engine,
				     const struct leak_group *group)
{
	const struct fa_growth *growth = &group->growth;
	double peak = (double)fa_engine_totals(engine)->peak_bytes, seconds;
	bool sure = growth->verdict == FA_GROWING;
	bool has_operations = per_operation(l, growth, &seconds);
	struct fa_text rate, low, high, bytes, blocks, each;
	char text[1024], operation[160] = "", end[96];
	struct fa_param params[] = {
		param_text("name", group->name),
		param_f64("rate_bytes_per_s", growth->rate),
		param_f64("rate_low", growth->rate_low),
		param_f64("rate_high", growth->rate_high),
		param_u64("bytes", group->bytes),
		param_u64("blocks", group->blocks),
		param_u64("sites", group->n_sites),
		param_text("class", "unknown"),
		param_text("reason", fa_reason_name(growth->reason)),
		param_text("operation", has_operations ? l->mark_label : NULL),
		param_f64("bytes_per_operation", has_operations ? growth->rate * seconds : NAN),
	};

	if (has_operations)
		snprintf(operation, sizeof(operation), ", %s each \"%.100s\"",
			 fa_format_bytes((uint64_t)fmax(growth->rate * seconds + 0.5, 0), &each),
			 l->mark_label);
	fa_format_rate(growth->rate, &rate);
	fa_format_rate(growth->rate_low, &low);
	fa_format_rate(growth->rate_high, &high);
	/* It grew all the same, and was judged before the clean-up. */
	if (!group->blocks)
		snprintf(end, sizeof(end), "all of it freed at the end");
	else
		snprintf(end, sizeof(end), "%s in %s block%s live at the end",
			 fa_format_bytes(group->bytes, &bytes),
			 fa_format_count(group->blocks, &blocks), group->blocks == 1 ? "" : "s");
	snprintf(text, sizeof(text), "%.400s %s by %s (%s to %s)%s, %s: %s, reachability unknown",
		 group->name, sure ? "grows" : "may grow", rate.s, low.s, high.s, operation, end,
		 sure ? "growing" : "only one of two tests says so");
	return fa_engine_finding_add(
		engine, &(struct fa_finding){
				.code = fa_verdict_name(growth->verdict),
				.severity = !sure			  ? FA_LOW
					    : growth->growth < peak / 100 ? FA_MEDIUM
									  : FA_HIGH,
				.text = text,
				.params = params,
				.n_params = sizeof(params) / sizeof(params[0]),
				.section = "leaks",
				.site = group->stack,
				.weight = growth->growth > 0 ? (uint64_t)growth->growth : 0,
			});
}

static struct ft_error *find_never_freed(const struct leaks *l, struct fa_engine *engine)
{
	uint64_t bytes = 0, n_sites = 0;
	struct fa_text size;
	char text[256];

	for (size_t i = 0; i < l->n_all; i++) {
		if (l->rows[i].growth.verdict != FA_NEVER_FREED || l->rows[i].system ||
		    l->rows[i].group)
			continue;
		bytes += l->rows[i].site.live_bytes;
		n_sites++;
	}
	if (!n_sites)
		return NULL;
	snprintf(text, sizeof(text),
		 "%s from %" PRIu64 " site%s was never freed; that alone is no leak",
		 fa_format_bytes(bytes, &size), n_sites, n_sites == 1 ? "" : "s");

	struct fa_param params[] = {param_u64("bytes", bytes), param_u64("sites", n_sites)};

	return fa_engine_finding_add(engine, &(struct fa_finding){.code = "never_freed",
								  .severity = FA_INFO,
								  .text = text,
								  .params = params,
								  .n_params = 2,
								  .section = "leaks",
								  .weight = bytes});
}

/* Nothing grows: how sure is that? */
static struct ft_error *find_none(const struct leaks *l, struct fa_engine *engine, bool suspects)
{
	struct fa_text rate, life;
	char text[256];
	struct fa_param params[] = {
		param_u64("life_ns", l->life.end_ns - l->life.from_ns),
		param_u64("suspects", suspects),
		param_f64("resolvable_bytes_per_s", l->has_resolvable ? l->resolvable : NAN),
	};

	if (l->life.too_short)
		snprintf(text, sizeof(text),
			 "%s of work is too short to tell growth from start-up (2 s at least)",
			 fa_format_time(l->life.end_ns - l->life.from_ns, &life));
	else if (l->has_resolvable)
		snprintf(text, sizeof(text), "No %ssite grows (rates from about %s would show)",
			 suspects ? "other " : "", fa_format_rate(l->resolvable, &rate));
	else
		snprintf(text, sizeof(text), "No %ssite grows", suspects ? "other " : "");
	return fa_engine_finding_add(engine,
				     &(struct fa_finding){
					     .code = l->life.too_short ? "unsure" : "plateau",
					     .severity = l->life.too_short ? FA_INFO : FA_OK,
					     .text = text,
					     .params = params,
					     .n_params = 3,
					     .section = "leaks",
					     /* Not "fine": before all facts. */
					     .weight = l->life.too_short ? UINT64_MAX : 0,
				     });
}

/* When the limit can be reached at the earliest. */
static struct ft_error *find_limit(const struct leaks *l, struct fa_engine *engine)
{
	struct fa_text limit, left;
	char text[256];
	struct fa_param params[] = {
		param_u64("limit_bytes", l->limit_bytes),
		param_text("source", l->limit_source),
		param_u64("not_before_ns", l->not_before_ns),
	};

	if (!l->has_time_left)
		return NULL;
	snprintf(text, sizeof(text),
		 "At this rate the limit of %s (%s) is not reached before another %s",
		 fa_format_bytes(l->limit_bytes, &limit),
		 *l->limit_source == 'c' ? "of the control group" : "as asked for",
		 fa_format_time(l->not_before_ns, &left));
	return fa_engine_finding_add(engine, &(struct fa_finding){
						     .code = "limit",
						     .severity = FA_INFO,
						     .text = text,
						     .params = params,
						     .n_params = 3,
						     .section = "leaks",
						     .weight = UINT64_MAX - 1,
					     });
}

struct ft_error *leaks_find(struct leaks *l, struct fa_engine *engine)
{
	bool growing = false, suspects = false;

	for (size_t i = 0; i < l->n_groups; i++) {
		growing |= l->groups[i].growth.verdict == FA_GROWING;
		suspects |= l->groups[i].growth.verdict == FA_SUSPECT;
		FT_TRY(find_growing(l, engine, &l->groups[i]));
	}
	FT_TRY(find_never_freed(l, engine));
	FT_TRY(find_limit(l, engine));
	FT_TRY(fa_engine_find_suppressed(engine));
	return growing ? NULL : find_none(l, engine, suspects);
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

static void emit_number(struct fa_json *json, const char *key, bool known, double value)
{
	if (known)
		fa_json_kv_f64(json, key, value);
	else
		fa_json_kv_null(json, key);
}

/* The names of the values that some reasons have. */
static const char *reason_value(enum fa_reason reason)
{
	switch (reason) {
	case FA_WHY_SURVIVORS_OLD:
	case FA_WHY_STOPPED:
		return "until_pct";
	case FA_WHY_SURVIVORS_YOUNG:
		return "last_pct";
	case FA_WHY_LATE:
		return "began_pct";
	case FA_WHY_LONG_LIVED:
		return "freed_pct";
	case FA_WHY_TEETH:
	case FA_WHY_TURNOVER:
		return "times";
	default:
		return NULL;
	}
}

static void emit_growth(const struct leaks *l, const struct fa_growth *growth, struct fa_json *json)
{
	const char *name = reason_value(growth->reason);
	double seconds = 0;
	bool has_operations = growth->has_rate && per_operation(l, growth, &seconds);

	fa_json_kv_string(json, "verdict", fa_verdict_name(growth->verdict));
	fa_json_kv_string(json, "class", "unknown");
	fa_json_key(json, "reason");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "code", fa_reason_name(growth->reason));
	if (name)
		fa_json_kv_f64(json, name, round(growth->value));
	fa_json_object_end(json);
	emit_number(json, "rate_bytes_per_s", growth->has_rate, growth->rate);
	emit_number(json, "rate_low", growth->has_rate, growth->rate_low);
	emit_number(json, "rate_high", growth->has_rate, growth->rate_high);
	emit_number(json, "rate_blocks_per_s", growth->has_block_rate, growth->block_rate);
	emit_number(json, "bytes_per_operation", has_operations, growth->rate * seconds);
	emit_number(json, "blocks_per_operation", has_operations && growth->has_block_rate,
		    growth->block_rate * seconds);
	emit_number(json, "resolvable_bytes_per_s", growth->has_resolvable, growth->resolvable);
}

static void emit_row(const struct leaks *l, struct fa_engine *engine, const struct leak_row *row,
		     struct fa_json *json)
{
	const struct survivors *s = row->survivors;
	bool live = row->site.live_blocks > 0;

	fa_json_object_begin(json);
	fa_json_kv_u64(json, "site", row->stack);
	fa_json_kv_string(json, "name",
			  row->group ? l->groups[row->group - 1].name
				     : fa_engine_site_name(engine, row->stack));
	emit_growth(l, &row->growth, json);
	emit_time(json, "group", row->group, row->group ? row->group - 1 : 0);
	fa_json_kv_bool(json, "system", row->system);
	fa_json_kv_u64(json, "bytes", row->site.live_bytes);
	fa_json_kv_u64(json, "blocks", row->site.live_blocks);
	fa_json_kv_u64(json, "score", (uint64_t)llround(row->score));
	emit_time(json, "first_ns", live, s->first_ns);
	emit_time(json, "last_ns", live, s->last_ns);
	fa_json_kv_u64(json, "threads", s->threads);
	fa_json_kv_u64(json, "allocated_bytes", row->site.bytes_allocated);
	fa_json_kv_u64(json, "allocations", row->site.allocations);
	fa_json_kv_u64(json, "frees", row->site.frees);
	fa_json_kv_u64(json, "peak_bytes", row->site.peak_bytes);
	if (fa_engine_sample_bytes(engine)) {
		fa_json_kv_null(json, "temporary");
		fa_json_kv_u64(json, "samples", row->site.samples);
		fa_engine_emit_error(engine, "bytes_error", "bytes_relative_error",
				     row->site.live_bytes, row->site.live_variance, json);
		fa_engine_emit_error(engine, "allocated_error", "allocated_relative_error",
				     row->site.bytes_allocated, row->site.allocated_variance, json);
	} else {
		fa_json_kv_u64(json, "temporary", row->site.temporary);
	}
	fa_json_key(json, "stack");
	fa_engine_emit_stack(engine, row->stack, json);
	fa_json_object_end(json);
}

static void emit_group(const struct leaks *l, const struct leak_group *group, struct fa_json *json)
{
	fa_json_object_begin(json);
	fa_json_kv_string(json, "name", group->name);
	emit_growth(l, &group->growth, json);
	fa_json_kv_u64(json, "bytes", group->bytes);
	fa_json_kv_u64(json, "blocks", group->blocks);
	fa_json_kv_u64(json, "depth", group->depth);
	fa_json_kv_u64(json, "n_sites", group->n_sites);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < group->n_stacks; i++)
		fa_json_u64(json, group->stacks[i]);
	fa_json_array_end(json);
	fa_json_object_end(json);
}

static void emit_process(const struct leaks *l, struct fa_json *json)
{
	bool growing = l->rate > 0;

	fa_json_key(json, "process");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "verdict", l->process_verdict);
	emit_number(json, "resolvable_bytes_per_s", l->has_resolvable, l->resolvable);
	emit_number(json, "rate_bytes_per_s", growing, l->rate);
	emit_number(json, "rate_low", growing, l->rate_low);
	emit_number(json, "rate_high", growing, l->rate_high);
	fa_json_kv_u64(json, "life_end_ns", l->life.end_ns);
	fa_json_key(json, "operation");
	if (l->mark_label) {
		fa_json_object_begin(json);
		fa_json_kv_string(json, "label", l->mark_label);
		fa_json_kv_u64(json, "n", l->n_operations);
		fa_json_object_end(json);
	} else {
		fa_json_null(json);
	}
	fa_json_key(json, "limit");
	if (l->limit_bytes) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "bytes", l->limit_bytes);
		fa_json_kv_string(json, "source", l->limit_source);
		emit_time(json, "rss_bytes", l->has_rss, l->rss_bytes);
		emit_number(json, "rss_per_live", l->has_rss, l->per_live);
		emit_time(json, "not_before_ns", l->has_time_left, l->not_before_ns);
		fa_json_object_end(json);
	} else {
		fa_json_null(json);
	}
	fa_json_object_end(json);
}

struct ft_error *leaks_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct leaks *l = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct fa_json *json = fa_doc_begin(doc, "leaks");

	fa_engine_emit_estimated(engine, json);
	fa_json_key(json, "leaks");
	fa_json_array_begin(json);
	for (size_t i = 0; i < l->n_rows; i++)
		emit_row(l, engine, &l->rows[i], json);
	fa_json_array_end(json);
	fa_json_key(json, "groups");
	fa_json_array_begin(json);
	for (size_t i = 0; i < l->n_groups; i++)
		emit_group(l, &l->groups[i], json);
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", l->n_other);
	fa_json_kv_u64(json, "bytes", l->other_bytes);
	fa_json_kv_u64(json, "blocks", l->other_blocks);
	fa_json_object_end(json);
	emit_process(l, json);
	fa_engine_emit_suppressed(engine, json);
	fa_doc_end(doc);
	fa_doc_column(doc, "leaks.series", FA_U64, l->series, l->n_rows * LEAKS_STEPS);
	return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * Summary: the verdict and the numbers that go with it
 *
 * What the other passes found, worst first, and the totals. The verdict is the worst finding; where
 * only good ones are left, it says that.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_format.h"
#include "fa_json_read.h"
#include "ft_map.h"

struct summary {
	int64_t rss_last, rss_max; /* -1: not sampled */
	uint64_t from_ns, to_ns;
	uint64_t n_lost;
	uint64_t n_threads;
};

static struct ft_error *add_rss(void *ctx, const struct ft_timeline_row *row)
{
	struct summary *s = ctx;

	if (row->rss < 0 || row->time_ns < s->from_ns || row->time_ns > s->to_ns)
		return NULL;
	s->rss_last = row->rss;
	if (row->rss > s->rss_max)
		s->rss_max = row->rss;
	return NULL;
}

static struct ft_error *add_loss(void *ctx, const struct ft_loss_row *row)
{
	struct summary *s = ctx;

	s->n_lost += row->n_events;
	return NULL;
}

/* The figures are estimates; and too low where sampled blocks found no place in the tracer. */
static struct ft_error *add_sampled(struct fa_engine *engine)
{
	const char *full = ft_reader_meta(fa_engine_reader(engine), "sample_set_full");
	uint64_t n_full = full ? strtoull(full, NULL, 10) : 0;
	const struct fa_totals *totals = fa_engine_totals(engine);
	double error = fa_engine_error(engine, totals->allocated_variance);
	struct fa_text rate, bytes, plus_minus;
	char text[256];

	if (!fa_engine_sample_bytes(engine))
		return NULL;
	snprintf(text, sizeof(text),
		 "All figures are estimates from a sample of one block per %s: %s allocated, "
		 "standard error %s",
		 fa_format_bytes(fa_engine_sample_bytes(engine), &rate),
		 fa_format_bytes(totals->bytes_allocated, &bytes),
		 fa_format_bytes((uint64_t)error, &plus_minus));
	FT_TRY(fa_engine_finding_add(engine, &(struct fa_finding){.code = "estimated",
								  .severity = FA_INFO,
								  .text = text,
								  .section = "summary",
								  .weight = UINT64_MAX - 1}));
	if (!n_full)
		return NULL;
	snprintf(
		text, sizeof(text),
		"%s blocks of the sample found no place in the tracer and are missing: figures are "
		"too low; sample with a larger number of bytes",
		fa_format_count(n_full, &bytes));
	return fa_engine_finding_add(engine, &(struct fa_finding){.code = "sample_full",
								  .severity = FA_MEDIUM,
								  .text = text,
								  .section = "quality",
								  .weight = n_full});
}

/* What is known by interval: events that are gone, and those that nobody wanted to wait for. */
static struct ft_error *add_rolled(struct fa_engine *engine)
{
	uint64_t from_ns = fa_engine_from_ns(engine), detail_ns = fa_engine_detail_ns(engine),
		 n_gone;
	uint64_t kept_ns = fa_engine_kept_ns(engine, &n_gone);
	struct fa_text from, detail;
	char text[256];

	if (n_gone) {
		snprintf(text, sizeof(text),
			 "Full detail begins at %s; from %s to there the recording is rolled up "
			 "into "
			 "%" PRIu64
			 " intervals (it was kept within a budget): the layout is that since then",
			 fa_format_time(kept_ns, &detail), fa_format_time(from_ns, &from), n_gone);
		FT_TRY(fa_engine_finding_add(engine,
					     &(struct fa_finding){.code = "rolled_up",
								  .severity = FA_INFO,
								  .text = text,
								  .section = "summary",
								  .weight = UINT64_MAX - 2}));
	}
	if (fa_engine_n_rollups(engine) == n_gone)
		return NULL;
	snprintf(text, sizeof(text),
		 "Up to %s judged by %" PRIu64
		 " roll-ups that the recording has, from there on by each event; "
		 "--no-keyframes goes through all of it",
		 fa_format_time(detail_ns, &detail), fa_engine_n_rollups(engine));
	return fa_engine_finding_add(engine, &(struct fa_finding){.code = "from_rollups",
								  .severity = FA_INFO,
								  .text = text,
								  .section = "summary",
								  .weight = UINT64_MAX - 3});
}

/* A recording that is one of several of the same process. */
static struct ft_error *add_part(struct fa_engine *engine)
{
	struct ft_reader *reader = fa_engine_reader(engine);
	const char *before = ft_reader_meta(reader, "continues");
	const char *after = ft_reader_meta(reader, "continued_by");
	struct fa_text begin;
	char text[512];

	if (before) {
		snprintf(text, sizeof(text),
			 "Goes on from %.300s at %s: what was live then is known with its age, and "
			 "counts as allocated there",
			 before, fa_format_time(ft_reader_begin_ns(reader), &begin));
		FT_TRY(fa_engine_finding_add(engine, &(struct fa_finding){.code = "continues",
									  .severity = FA_INFO,
									  .text = text,
									  .section = "summary",
									  .weight = 2}));
	}
	if (!after)
		return NULL;
	snprintf(text, sizeof(text), "The program ran on: %.300s is the next recording of it",
		 after);
	return fa_engine_finding_add(engine, &(struct fa_finding){.code = "continued",
								  .severity = FA_INFO,
								  .text = text,
								  .section = "summary",
								  .weight = 1});
}

static struct ft_error *summary_finish(struct fa_pass *pass)
{
	struct summary *s = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct ft_reader *reader = fa_engine_reader(engine);

	*s = (struct summary){
		.rss_last = -1,
		.rss_max = -1,
		.from_ns = fa_engine_from_ns(engine),
		.to_ns = fa_engine_to_ns(engine),
	};
	for (size_t i = 0; i < fa_engine_n_threads(engine); i++) {
		const struct fa_thread *thread = fa_engine_thread(engine, (uint32_t)i);

		s->n_threads += thread ? thread->n_threads : 0;
	}
	FT_TRY(ft_reader_timeline(reader, add_rss, s));
	FT_TRY(ft_reader_losses(reader, add_loss, s));
	FT_TRY(add_rolled(engine));
	FT_TRY(add_part(engine));
	return add_sampled(engine);
}

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path;
}

static const struct fa_value *parse_argv(struct ft_arena *arena, const char *argv_json)
{
	const struct fa_value *argv = NULL;

	if (argv_json)
		ft_error_destroy(fa_json_parse(arena, argv_json, &argv));
	return argv && argv->kind == FA_ARRAY ? argv : NULL;
}

/* As the user calls it: the file may have another name (redis-server is a link to redis-check-rdb),
 * and a login shell has a dash in front. */
static const char *program_name(const struct ft_process_row *process, const struct fa_value *argv)
{
	const struct fa_value *first = argv ? argv->first : NULL;
	const char *name = first && first->kind == FA_STRING ? base_name(first->text) : NULL;

	if (name && *name == '-')
		name++;
	return name && *name ? name : base_name(process->exe);
}

/* The arguments are stored as JSON; they are read and written anew, so that nothing that is not
 * ours reaches the document unescaped. */
static void emit_argv(const struct fa_value *argv, struct fa_json *json)
{
	fa_json_key(json, "argv");
	if (!argv) {
		fa_json_null(json);
		return;
	}
	fa_json_array_begin(json);
	for (const struct fa_value *item = argv->first; item; item = item->next)
		fa_json_string(json, item->kind == FA_STRING ? item->text : NULL);
	fa_json_array_end(json);
}

static void emit_program(const struct ft_process_row *process, struct fa_json *json)
{
	struct ft_arena arena;

	ft_arena_init(&arena);

	const struct fa_value *argv = parse_argv(&arena, process->argv_json);

	fa_json_key(json, "program");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "name", program_name(process, argv));
	fa_json_kv_string(json, "exe", process->exe);
	emit_argv(argv, json);
	fa_json_kv_i64(json, "pid", process->pid);
	fa_json_kv_string(json, "exit_kind", process->exit_kind);
	if (process->exit_kind && process->exit_code >= 0)
		fa_json_kv_i64(json, "exit_code", process->exit_code);
	else
		fa_json_kv_null(json, "exit_code");
	fa_json_object_end(json);
	ft_arena_deinit(&arena);
}

static void emit_recording(struct ft_reader *reader, const struct ft_process_row *process,
			   struct fa_json *json)
{
	static const char *const states[] = {"complete", "recording", "cut_off"};
	struct stat st;

	fa_json_key(json, "recording");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "path", ft_reader_path(reader));
	if (stat(ft_reader_path(reader), &st) == 0)
		fa_json_kv_i64(json, "bytes", st.st_size);
	else
		fa_json_kv_null(json, "bytes");
	fa_json_kv_string(json, "state", states[ft_reader_state(reader)]);
	fa_json_kv_i64(json, "started_realtime_ns", process->start_realtime_ns);
	fa_json_kv_string(json, "tool_version", ft_reader_meta(reader, "software_version"));
	fa_json_object_end(json);
}

static void emit_totals(const struct summary *s, const struct fa_engine *engine,
			struct fa_json *json)
{
	const struct fa_totals *totals = fa_engine_totals(engine);

	fa_json_key(json, "totals");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "allocations", totals->n_allocs);
	fa_json_kv_u64(json, "frees", totals->n_frees);
	fa_json_kv_u64(json, "bytes_allocated", totals->bytes_allocated);
	fa_json_kv_u64(json, "live_blocks", totals->live_blocks);
	fa_json_kv_u64(json, "live_bytes", totals->live_bytes);
	fa_json_kv_u64(json, "usable_bytes", totals->live_usable);
	fa_json_kv_u64(json, "peak_bytes", totals->peak_bytes);
	fa_json_kv_u64(json, "peak_ns", totals->peak_ns);
	fa_json_kv_u64(json, "events", totals->n_events);
	fa_json_kv_u64(json, "lost_events", s->n_lost);
	fa_engine_emit_error(engine, "bytes_allocated_error", "bytes_allocated_relative_error",
			     totals->bytes_allocated, totals->allocated_variance, json);
	fa_engine_emit_error(engine, "live_bytes_error", "live_bytes_relative_error",
			     totals->live_bytes, totals->live_variance, json);
	fa_engine_emit_error(engine, "peak_bytes_error", "peak_bytes_relative_error",
			     totals->peak_bytes, totals->peak_variance, json);
	fa_json_object_end(json);

	fa_json_key(json, "rss");
	if (s->rss_max >= 0) {
		fa_json_object_begin(json);
		fa_json_kv_i64(json, "last", s->rss_last);
		fa_json_kv_i64(json, "max", s->rss_max);
		fa_json_object_end(json);
	} else {
		fa_json_null(json);
	}
}

/* The values of a finding's sentence, for renderers that have words of their own. */
static void emit_params(const struct fa_finding *finding, struct fa_json *json)
{
	fa_json_key(json, "params");
	fa_json_object_begin(json);
	for (size_t i = 0; i < finding->n_params; i++) {
		const struct fa_param *param = &finding->params[i];

		switch (param->kind) {
		case FA_PARAM_TEXT:
			fa_json_kv_string(json, param->name, param->text);
			break;
		case FA_PARAM_U64:
			fa_json_kv_u64(json, param->name, param->u64);
			break;
		case FA_PARAM_F64:
			fa_json_kv_f64(json, param->name, param->f64);
			break;
		}
	}
	fa_json_object_end(json);
}

static void emit_verdict(const struct fa_engine *engine, struct fa_json *json)
{
	const struct fa_finding *worst = fa_engine_finding(engine, 0), *shown = worst;
	const struct fa_totals *totals = fa_engine_totals(engine);

	/* Facts of rank "info" are no verdict while there is a judgement. */
	for (size_t i = 0; shown && shown->severity == FA_INFO; i++)
		shown = fa_engine_finding(engine, i);
	if (!shown)
		shown = worst;

	fa_json_key(json, "verdict");
	fa_json_object_begin(json);
	if (!totals->n_events) {
		fa_json_kv_string(json, "code", "no_events");
		fa_json_kv_string(json, "severity", fa_severity_name(FA_INFO));
		fa_json_kv_string(json, "text", "Nothing was allocated or freed in this window");
	} else if (shown) {
		fa_json_kv_string(json, "code", shown->code);
		fa_json_kv_string(json, "severity", fa_severity_name(shown->severity));
		fa_json_kv_string(json, "text", shown->text);
		emit_params(shown, json);
	} else {
		fa_json_kv_string(json, "code", "none");
		fa_json_kv_string(json, "severity", fa_severity_name(FA_OK));
		fa_json_kv_string(json, "text", "Nothing to report");
	}
	fa_json_object_end(json);

	fa_json_key(json, "findings");
	fa_json_array_begin(json);
	for (size_t i = 0; fa_engine_finding(engine, i); i++) {
		const struct fa_finding *finding = fa_engine_finding(engine, i);

		fa_json_object_begin(json);
		fa_json_kv_string(json, "code", finding->code);
		fa_json_kv_string(json, "severity", fa_severity_name(finding->severity));
		fa_json_kv_string(json, "text", finding->text);
		emit_params(finding, json);
		fa_json_kv_string(json, "section", finding->section);
		if (finding->site)
			fa_json_kv_u64(json, "site", finding->site);
		else
			fa_json_kv_null(json, "site");
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
}

/* ---- marks ------------------------------------------------------------------------------------
 */

/* More marks of one label than that count operations, and are no phases. */
enum { PHASE_MARKS = 16, MOST_MARKS = 64 };

struct marks {
	const struct summary *s;
	struct ft_map counts; /* hash of a label -> how often */
	struct fa_json *json;
	size_t n, n_left_out;
};

static uint64_t hash_label(const char *label)
{
	uint64_t hash = 0;

	for (; *label; label++)
		hash = ft_hash_u64(hash ^ (unsigned char)*label);
	return hash ? hash : 1;
}

static bool is_shown(const struct summary *s, const struct ft_mark_row *row)
{
	return row->label && row->kind && !strcmp(row->kind, "user") &&
	       row->time_ns >= s->from_ns && row->time_ns <= s->to_ns;
}

static struct ft_error *count_mark(void *ctx, const struct ft_mark_row *row)
{
	struct marks *marks = ctx;
	uint64_t *count;

	if (!is_shown(marks->s, row))
		return NULL;
	count = ft_map_put(&marks->counts, hash_label(row->label), NULL);
	if (!count)
		return &ft_enomem;
	*count += row->n;
	return NULL;
}

static struct ft_error *emit_mark(void *ctx, const struct ft_mark_row *row)
{
	struct marks *marks = ctx;
	const uint64_t *count;

	if (!is_shown(marks->s, row))
		return NULL;
	/* Not counted: it has come since, into a recording that goes on. */
	count = ft_map_get(&marks->counts, hash_label(row->label));
	if (!count || *count > PHASE_MARKS || marks->n == MOST_MARKS) {
		marks->n_left_out += row->n;
		return NULL;
	}
	marks->n++;
	fa_json_object_begin(marks->json);
	fa_json_kv_u64(marks->json, "time_ns", row->time_ns);
	fa_json_kv_string(marks->json, "label", row->label);
	fa_json_object_end(marks->json);
	return NULL;
}

/* The phases that the program, or somebody else, has marked. */
static struct ft_error *emit_marks(const struct summary *s, struct ft_reader *reader,
				   struct fa_json *json)
{
	struct marks marks = {.s = s, .json = json};
	struct ft_error *error;

	ft_map_init(&marks.counts);
	fa_json_key(json, "marks");
	fa_json_array_begin(json);
	error = ft_reader_marks(reader, count_mark, &marks);
	if (!error)
		error = ft_reader_marks(reader, emit_mark, &marks);
	fa_json_array_end(json);
	fa_json_kv_u64(json, "marks_left_out", marks.n_left_out);
	ft_map_deinit(&marks.counts);
	return error;
}

/* ---- the section ------------------------------------------------------------------------------
 */

static struct ft_error *summary_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct summary *s = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct ft_reader *reader = fa_engine_reader(engine);
	struct ft_process_row process = {0};
	struct ft_error *error;

	FT_TRY(ft_reader_process(reader, &process));

	uint64_t n_gone;
	struct fa_json *json = fa_doc_begin(doc, "summary");

	fa_engine_emit_estimated(engine, json);
	emit_program(&process, json);
	emit_recording(reader, &process, json);
	fa_json_kv_u64(json, "from_ns", s->from_ns);
	fa_json_kv_u64(json, "to_ns", s->to_ns);
	fa_json_kv_u64(json, "duration_ns", s->to_ns - s->from_ns);
	fa_json_kv_u64(json, "detail_ns", fa_engine_kept_ns(engine, &n_gone));
	fa_json_kv_bool(json, "rolled_up", n_gone > 0);
	fa_json_kv_u64(json, "replayed_ns", fa_engine_detail_ns(engine));
	fa_json_kv_u64(json, "rollups", fa_engine_n_rollups(engine));
	fa_json_kv_bool(json, "complete", ft_reader_state(reader) == FT_STATE_COMPLETE);
	emit_totals(s, engine, json);
	fa_json_kv_u64(json, "threads", s->n_threads);
	error = emit_marks(s, reader, json);
	emit_verdict(engine, json);
	fa_doc_end(doc);
	return error;
}

const struct fa_pass_ops fa_pass_summary = {
	.name = "summary",
	.summary = "verdict, totals, findings",
	.state_size = sizeof(struct summary),
	.finish = summary_finish,
	.emit = summary_emit,
};

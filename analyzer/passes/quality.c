/* SPDX-License-Identifier: MIT */
/*
 * Quality: can this recording be trusted?
 *
 * The ledger that every report shows: events written and read, what was lost, frees of blocks that
 * were never seen, names that could not be found, and the tracer's own memory.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_format.h"
#include "ft_arena.h"

struct loss {
	uint64_t first_ns, last_ns, n_events;
	uint32_t thread;
	const char *reason;
};

struct quality {
	struct ft_arena arena;
	struct loss *losses;
	size_t n_losses;
	uint64_t n_lost;      /* events, as far as known */
	int64_t tracer_bytes; /* -1: not sampled */
	uint64_t packed_bytes, frames, resolved;
	char *parent;
	struct ft_governor_row *steps;
	size_t n_steps;
	uint64_t n_children; /* rows of images without a recording of their own */
};

/* What the ledger repeats of the recording's own notes. */
static const char *const meta_keys[] = {
	"state",
	"software_version",
	"collector_version",
	"format_version",
	"clock",
	"tick_ns",
	"program_end",
	"allocator",
	"residency",
	"residency_error",
	"events_read",
	"events_written",
	"ring_events",
	"lost_events",
	"implied_frees",
	"swallowed_frees",
	"unknown_frees",
	"inversions",
	"floors_passed_over",
	"bad_records",
	"bad_stacks",
	"stacks_without_node",
	"untracked_blocks",
	"damaged_rings",
	"ring_waits",
	"spill_waits",
	"spill_peak_bytes",
	"event_bytes",
	"collector_peak_rss",
	"collector_cpu_ns",
	"collector_memory",
	"tracer_bytes",
	"sample_bytes",
	"max_bytes",
	"max_age_ns",
	"sample_set_full",
	"max_overhead_ppm",
	"unrecorded_frees",
};

static struct ft_error *add_loss(void *ctx, const struct ft_loss_row *row)
{
	struct quality *q = ctx;
	struct loss *losses = realloc(q->losses, (q->n_losses + 1) * sizeof(*losses));

	if (!losses)
		return &ft_enomem;
	q->losses = losses;
	losses[q->n_losses++] = (struct loss){
		.first_ns = row->first_ns,
		.last_ns = row->last_ns,
		.n_events = row->n_events,
		.thread = row->thread,
		.reason = row->reason ? ft_arena_strdup(&q->arena, row->reason) : NULL,
	};
	q->n_lost += row->n_events;
	return NULL;
}

static struct ft_error *add_step(void *ctx, const struct ft_governor_row *row)
{
	struct quality *q = ctx;
	struct ft_governor_row *steps = realloc(q->steps, (q->n_steps + 1) * sizeof(*steps));

	if (!steps)
		return &ft_enomem;
	q->steps = steps;
	q->steps[q->n_steps++] = *row;
	return NULL;
}

static struct ft_error *last_tracer(void *ctx, const struct ft_timeline_row *row)
{
	struct quality *q = ctx;

	if (row->tracer >= 0)
		q->tracer_bytes = row->tracer;
	return NULL;
}

static struct ft_error *quality_init(struct fa_pass *pass)
{
	struct quality *q = fa_pass_state(pass);

	ft_arena_init(&q->arena);
	q->tracer_bytes = -1;
	return NULL;
}

/* What a killed program had live it did not leak. */
static struct ft_error *add_killed(const struct ft_process_row *process, struct fa_engine *engine)
{
	const char *name = sigabbrev_np((int)process->exit_code);
	char text[160];

	if (!process->exit_kind || strcmp(process->exit_kind, "signal") != 0)
		return NULL;
	snprintf(text, sizeof(text),
		 "The program was cut off by %s%s: what it held then it had no chance to free",
		 name ? "SIG" : "a signal", name ? name : "");
	return fa_engine_finding_add(engine, &(struct fa_finding){.code = "killed",
								  .severity = FA_INFO,
								  .text = text,
								  .section = "quality"});
}

/* How long each kind of step was in force. */
static void add_up_steps(const struct quality *q, uint64_t end_ns, uint64_t *cut_ns,
			 uint64_t *left_out_ns)
{
	*cut_ns = *left_out_ns = 0;
	for (size_t i = 0; i < q->n_steps; i++) {
		uint64_t from = q->steps[i].time_ns;
		uint64_t to = i + 1 < q->n_steps ? q->steps[i + 1].time_ns : end_ns;

		if (to > from && q->steps[i].sample_bytes)
			*left_out_ns += to - from;
		else if (to > from && q->steps[i].step)
			*cut_ns += to - from;
	}
}

/* What a limit of the overhead has cost the recording. */
static struct ft_error *add_governed(const struct quality *q, struct fa_engine *engine)
{
	const struct ft_governor_row *last = q->n_steps ? &q->steps[q->n_steps - 1] : NULL;
	double limit = (double)ft_reader_meta_int(fa_engine_reader(engine), "max_overhead_ppm", 0);
	struct fa_text cut, left_out, blocks, bytes;
	uint64_t cut_ns, left_out_ns;
	char text[320];

	add_up_steps(q, fa_engine_to_ns(engine), &cut_ns, &left_out_ns);
	if (!last || (!cut_ns && !left_out_ns && !last->n_left_out))
		return NULL;
	fa_format_time(cut_ns, &cut);
	if (last->n_left_out)
		snprintf(
			text, sizeof(text),
			"To keep what recording adds below %g %%, stacks were cut for %s, and for "
			"%s blocks were left out (%s of %s): figures of that time are lower bounds",
			limit / 1e4, cut.s, fa_format_time(left_out_ns, &left_out),
			fa_format_count(last->n_left_out, &blocks),
			fa_format_bytes(last->bytes_left_out, &bytes));
	else
		snprintf(text, sizeof(text),
			 "To keep what recording adds below %g %%, stacks were cut for %s: a site "
			 "may be two there",
			 limit / 1e4, cut.s);
	return fa_engine_finding_add(
		engine, &(struct fa_finding){.code = "governed",
					     .severity = last->n_left_out ? FA_LOW : FA_INFO,
					     .text = text,
					     .section = "quality",
					     .weight = last->bytes_left_out});
}

static void emit_governor(const struct quality *q, struct ft_reader *reader, struct fa_json *json)
{
	if (!q->n_steps) {
		fa_json_kv_null(json, "governor");
		return;
	}
	fa_json_key(json, "governor");
	fa_json_object_begin(json);
	fa_json_kv_i64(json, "limit_ppm", ft_reader_meta_int(reader, "max_overhead_ppm", 0));
	fa_json_key(json, "steps");
	fa_json_array_begin(json);
	for (size_t i = 0; i < q->n_steps; i++) {
		const struct ft_governor_row *step = &q->steps[i];

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "time_ns", step->time_ns);
		fa_json_kv_u64(json, "step", step->step);
		if (step->depth)
			fa_json_kv_u64(json, "depth", step->depth);
		else
			fa_json_kv_null(json, "depth");
		if (step->sample_bytes)
			fa_json_kv_u64(json, "sample_bytes", step->sample_bytes);
		else
			fa_json_kv_null(json, "sample_bytes");
		fa_json_kv_u64(json, "overhead_ppm", step->overhead_ppm);
		fa_json_kv_u64(json, "left_out_blocks", step->n_left_out);
		fa_json_kv_u64(json, "left_out_bytes", step->bytes_left_out);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
}

static struct ft_error *add_findings(const struct quality *q, struct fa_engine *engine)
{
	struct fa_text events;
	char text[256];

	if (q->n_losses) {
		snprintf(text, sizeof(text),
			 "The recording has %zu gap%s (%s events known to be missing): blocks "
			 "around them are unsure",
			 q->n_losses, q->n_losses == 1 ? "" : "s",
			 fa_format_count(q->n_lost, &events));
		FT_TRY(fa_engine_finding_add(engine, &(struct fa_finding){.code = "losses",
									  .severity = FA_MEDIUM,
									  .text = text,
									  .section = "quality",
									  .weight = q->n_lost}));
	}
	if (ft_reader_state(fa_engine_reader(engine)) == FT_STATE_CUT_OFF)
		FT_TRY(fa_engine_finding_add(
			engine,
			&(struct fa_finding){
				.code = "cut_off",
				.severity = FA_LOW,
				.text = "The recording was cut off: what came after is not in it",
				.section = "quality"}));
	return NULL;
}

static struct ft_error *count_child(void *ctx, const struct ft_child_row *row)
{
	struct quality *q = ctx;

	q->n_children += row->n_allocs || row->n_frees || row->pid;
	return NULL;
}

static struct ft_error *add_unknown_inheritance(struct fa_engine *engine)
{
	const struct fa_inheritance *inheritance = fa_engine_inheritance(engine);
	char text[640];

	if (!inheritance->forked || !inheritance->unknown)
		return NULL;
	snprintf(text, sizeof(text),
		 "What this forked child inherited is not known: %s. Its frees of such blocks are "
		 "counted, and not judged",
		 inheritance->unknown);
	return fa_engine_finding_add(engine, &(struct fa_finding){.code = "inheritance_unknown",
								  .severity = FA_INFO,
								  .text = text,
								  .section = "quality"});
}

static struct ft_error *quality_finish(struct fa_pass *pass)
{
	struct quality *q = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct ft_reader *reader = fa_engine_reader(engine);
	struct ft_process_row process = {0};

	FT_TRY(ft_reader_losses(reader, add_loss, q));
	FT_TRY(ft_reader_governor(reader, add_step, q));
	FT_TRY(ft_reader_timeline(reader, last_tracer, q));
	FT_TRY(ft_reader_process(reader, &process));
	if (process.parent_recording && *process.parent_recording) {
		q->parent = ft_arena_strdup(&q->arena, process.parent_recording);
	}
	for (size_t i = 0; i < ft_reader_n_chunks(reader); i++)
		q->packed_bytes += ft_reader_chunk_info(reader, i)->n_bytes;
	fa_engine_symbolised(engine, &q->resolved, &q->frames);
	FT_TRY(ft_reader_children(reader, count_child, q));
	FT_TRY(add_killed(&process, engine));
	FT_TRY(add_unknown_inheritance(engine));
	FT_TRY(add_governed(q, engine));
	return add_findings(q, engine);
}

static struct ft_error *quality_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct quality *q = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct ft_reader *reader = fa_engine_reader(engine);
	const struct fa_totals *totals = fa_engine_totals(engine);
	uint64_t n_events = ft_reader_n_events(reader);
	int64_t written = ft_reader_meta_int(reader, "events_written", -1);
	const struct fa_inheritance *inheritance = fa_engine_inheritance(engine);
	bool guessed = inheritance->forked && inheritance->unknown;
	struct fa_json *json = fa_doc_begin(doc, "quality");

	fa_json_kv_u64(json, "events", totals->n_events);
	if (written >= 0)
		fa_json_kv_i64(json, "events_written", written);
	else
		fa_json_kv_u64(json, "events_written", n_events);
	/* A free that nobody knows of may be of an inherited block if these are not known. */
	fa_json_kv_u64(json, "unknown_frees", guessed ? 0 : totals->n_unknown_frees);
	fa_json_kv_u64(json, "inherited_frees",
		       inheritance->n_frees + (guessed ? totals->n_unknown_frees : 0));
	fa_json_kv_u64(json, "inherited_blocks", inheritance->n_blocks);
	fa_json_kv_u64(json, "inherited_bytes", inheritance->n_bytes);
	fa_json_kv_u64(json, "small_children", q->n_children);
	fa_json_kv_string(json, "parent_recording", q->parent);
	fa_json_kv_u64(json, "overlaps", totals->n_overlaps);
	fa_json_kv_u64(json, "lost_events", q->n_lost);
	fa_json_key(json, "losses");
	fa_json_array_begin(json);
	for (size_t i = 0; i < q->n_losses; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "first_ns", q->losses[i].first_ns);
		fa_json_kv_u64(json, "last_ns", q->losses[i].last_ns);
		fa_json_kv_u64(json, "thread", q->losses[i].thread);
		fa_json_kv_u64(json, "events", q->losses[i].n_events);
		fa_json_kv_string(json, "reason", q->losses[i].reason);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	emit_governor(q, reader, json);
	if (q->frames)
		fa_json_kv_f64(json, "symbolised_pct",
			       100.0 * (double)q->resolved / (double)q->frames);
	else
		fa_json_kv_null(json, "symbolised_pct");
	fa_json_kv_u64(json, "frames_resolved", q->resolved);
	fa_json_kv_u64(json, "frames", q->frames);
	if (q->tracer_bytes >= 0)
		fa_json_kv_i64(json, "tracer_bytes", q->tracer_bytes);
	else
		fa_json_kv_null(json, "tracer_bytes");
	if (n_events)
		fa_json_kv_f64(json, "bytes_per_event", (double)q->packed_bytes / (double)n_events);
	else
		fa_json_kv_null(json, "bytes_per_event");
	fa_json_key(json, "meta");
	fa_json_object_begin(json);
	for (size_t i = 0; i < sizeof(meta_keys) / sizeof(*meta_keys); i++) {
		const char *value = ft_reader_meta(reader, meta_keys[i]);

		if (value)
			fa_json_kv_string(json, meta_keys[i], value);
	}
	fa_json_object_end(json);
	fa_doc_end(doc);
	return NULL;
}

static void quality_deinit(struct fa_pass *pass)
{
	struct quality *q = fa_pass_state(pass);

	ft_arena_deinit(&q->arena);
	free(q->losses);
	free(q->steps);
}

const struct fa_pass_ops fa_pass_quality = {
	.name = "quality",
	.summary = "the ledger: losses, unknown frees, names found",
	.state_size = sizeof(struct quality),
	.init = quality_init,
	.finish = quality_finish,
	.emit = quality_emit,
	.deinit = quality_deinit,
};

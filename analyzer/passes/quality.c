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

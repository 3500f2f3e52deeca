/* SPDX-License-Identifier: MIT */
/*
 * Sampled recordings: blocks that stand for others
 *
 * Bytes are rounded to whole numbers by size alone. Numbers of blocks are not: 1.58 blocks, what a
 * block of the rate's own size stands for, would always be 2. They are rounded up or down by chance
 * (of the block's sequence number, so that it is the same each time), up as often as the fraction
 * says: all sums stay whole, add up, and are right on the mean.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine_impl.h"
#include "fa_format.h"
#include "fa_json.h"
#include "ft_weight.h"

enum { SAMPLE_MAX_BITS = 26 }; /* 64 MiB: FORMAT.md, I20 */

static struct ft_error *first_left_out(void *ctx, const struct ft_governor_row *row)
{
	uint64_t *first_ns = ctx;

	if ((row->sample_bytes || row->n_left_out) && row->time_ns < *first_ns)
		*first_ns = row->time_ns;
	return NULL;
}

/* Where a limit of the overhead had blocks left out: what lies in the heap is known before that. */
static struct ft_error *find_left_out(struct fa_engine *engine)
{
	uint64_t whole_ms;

	engine->left_out_ns = UINT64_MAX;
	FT_TRY(ft_reader_governor(engine->reader, first_left_out, &engine->left_out_ns));
	whole_ms = engine->left_out_ns / 1000000;
	if (engine->left_out_ns <= engine->to_ns)
		snprintf(engine->refusal, sizeof(engine->refusal),
			 "from %.3f s on blocks were left out to keep the overhead low "
			 "(--max-overhead): that can only be told from every block; before that, "
			 "with --to %.3fs",
			 (double)engine->left_out_ns / 1e9,
			 (double)(whole_ms ? whole_ms - 1 : 0) / 1e3);
	return NULL;
}

struct ft_error *fa_engine_find_rate(struct fa_engine *engine)
{
	const char *meta = ft_reader_meta(engine->reader, "sample_bytes");
	struct fa_text rate;
	char *end;

	FT_TRY(find_left_out(engine));
	if (!meta)
		return NULL;
	engine->sample_bytes = strtoull(meta, &end, 10);
	if (!*meta || *end || !engine->sample_bytes ||
	    engine->sample_bytes > UINT64_C(1) << SAMPLE_MAX_BITS)
		return ft_error_create(FT_ERROR_INPUT, "%s: meta.sample_bytes is no sampling rate",
				       ft_reader_path(engine->reader));
	snprintf(engine->refusal, sizeof(engine->refusal),
		 "the recording is a sample (--sample, one block per %s): that can only be told "
		 "from "
		 "every block",
		 fa_format_bytes(engine->sample_bytes, &rate));
	engine->site_errors = calloc(engine->n_stacks, sizeof(*engine->site_errors));
	return engine->site_errors ? NULL : &ft_enomem;
}

void fa_engine_weigh(const struct fa_engine *engine, struct fa_block *block)
{
	struct ft_weight weight = ft_weight_of(block->size, engine->sample_bytes);

	block->bytes = weight.bytes;
	block->blocks = (uint32_t)ft_weight_round(&weight, block->born_seq);
}

uint64_t fa_engine_usable(const struct fa_engine *engine, const struct fa_block *block)
{
	if (!engine->sample_bytes)
		return block->usable;

	struct ft_weight weight = ft_weight_of(block->size, engine->sample_bytes);

	return ft_weight_scale(&weight, block->usable);
}

const char *fa_engine_refuses(const struct fa_engine *engine, const struct fa_pass_ops *ops)
{
	return ops->needs_all_blocks &&
			       (engine->sample_bytes || engine->left_out_ns <= engine->to_ns)
		       ? engine->refusal
		       : NULL;
}

uint64_t fa_engine_sample_bytes(const struct fa_engine *engine)
{
	return engine->sample_bytes;
}

uint64_t fa_engine_variance(const struct fa_engine *engine, const struct fa_block *block)
{
	return engine->sample_bytes ? ft_weight_of(block->size, engine->sample_bytes).variance : 0;
}

double fa_engine_error(const struct fa_engine *engine, uint64_t variance)
{
	return ft_weight_error(variance, engine->sample_bytes);
}

void fa_engine_emit_estimated(const struct fa_engine *engine, struct fa_json *json)
{
	fa_json_kv_bool(json, "estimated", engine->sample_bytes != 0);
	if (engine->sample_bytes)
		fa_json_kv_u64(json, "sample_bytes", engine->sample_bytes);
	else
		fa_json_kv_null(json, "sample_bytes");
}

void fa_engine_emit_error(const struct fa_engine *engine, const char *key, const char *relative_key,
			  uint64_t bytes, uint64_t variance, struct fa_json *json)
{
	double error;

	if (!engine->sample_bytes)
		return;
	error = fa_engine_error(engine, variance);
	fa_json_kv_u64(json, key, (uint64_t)llround(error));
	if (!relative_key)
		return;
	if (bytes)
		fa_json_kv_f64(json, relative_key, error / (double)bytes);
	else
		fa_json_kv_null(json, relative_key);
}

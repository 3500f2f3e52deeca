/* SPDX-License-Identifier: MIT */
/*
 * Largest: the single allocations that were largest, when, and by whom
 *
 * A block that is allocated or made larger by a realloc, by its requested bytes; objects of the
 * program's own pools, and the blocks that these lie in, like all others. Roll-ups keep as many of
 * each interval as are listed here, so that the list is the same whether events are there or not;
 * those of earlier writers keep none.
 */
#include "fa_doc.h"
#include "fa_engine.h"
#include "fragtrace/rollup.h"

static struct ft_error *largest_on_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct ft_largest *largest = fa_pass_state(pass);

	for (size_t i = 0; i < steps->n_births; i++) {
		const struct fa_step *step = steps->births[i];
		const struct fa_block *born = step->born;

		if (__builtin_expect(!ft_largest_wants(largest, born->size), 1))
			continue;

		uint64_t old_size = step->died ? step->died->size : 0;

		if (born->size > old_size)
			ft_largest_add(largest, &(struct ft_birth){.seq = step->event->seq,
								   .time_ns = step->event->time_ns,
								   .size = born->size,
								   .old_size = old_size,
								   .stack = born->stack,
								   .thread = born->thread,
								   .api = born->api});
	}
	return NULL;
}

static struct ft_error *largest_on_span(struct fa_pass *pass, const struct fa_span *span)
{
	ft_largest_join(fa_pass_state(pass), &span->rollup->largest);
	return NULL;
}

static struct ft_error *largest_join(struct fa_pass *pass, struct fa_pass *earlier)
{
	struct ft_largest *largest = fa_pass_state(pass),
			  both = *(struct ft_largest *)fa_pass_state(earlier);

	/* Of equal ones the first counts. */
	ft_largest_join(&both, largest);
	*largest = both;
	return NULL;
}

static void emit_birth(struct fa_engine *engine, const struct ft_birth *birth, struct fa_json *json)
{
	/* A roll-up may name what no table knows. */
	uint32_t stack = birth->stack < fa_engine_n_stacks(engine) ? birth->stack : 0;

	fa_json_object_begin(json);
	fa_json_kv_u64(json, "seq", birth->seq);
	fa_json_kv_u64(json, "time_ns", birth->time_ns);
	fa_json_kv_u64(json, "size", birth->size);
	if (birth->old_size)
		fa_json_kv_u64(json, "old_size", birth->old_size);
	else
		fa_json_kv_null(json, "old_size");
	fa_json_kv_string(json, "call", ft_api_name(birth->api));
	fa_json_kv_u64(json, "thread", birth->thread);
	fa_json_kv_u64(json, "site", stack);
	fa_json_kv_string(json, "name", fa_engine_site_name(engine, stack));
	fa_json_key(json, "stack");
	fa_engine_emit_stack(engine, stack, json);
	fa_json_object_end(json);
}

static struct ft_error *largest_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct ft_largest *largest = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct fa_json *json = fa_doc_begin(doc, "largest");

	fa_json_key(json, "allocations");
	fa_json_array_begin(json);
	for (uint32_t i = 0; i < largest->n; i++)
		emit_birth(engine, &largest->births[i], json);
	fa_json_array_end(json);
	if (largest->unknown)
		fa_json_kv_u64(json, "since_ns", fa_engine_detail_ns(engine));
	else
		fa_json_kv_null(json, "since_ns");
	fa_doc_end(doc);
	return NULL;
}

const struct fa_pass_ops fa_pass_largest = {
	.name = "largest",
	.summary = "the largest single allocations",
	.state_size = sizeof(struct ft_largest),
	.on_steps = largest_on_steps,
	.on_span = largest_on_span,
	.join = largest_join,
	.emit = largest_emit,
};

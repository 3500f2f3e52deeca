/* SPDX-License-Identifier: MIT */
/*
 * Pools: what the program's own pools had (fragtrace/mark.h), as the recording has it
 *
 * Their objects are blocks in all that is said elsewhere; here is whose they were. Figures are
 * those of the whole recording, whatever the window is.
 */
#include "fa_doc.h"
#include "fa_engine.h"

static struct ft_error *emit_pool(void *ctx, const struct ft_pool_row *row)
{
	struct fa_pass *pass = ((void **)ctx)[0];
	struct fa_json *json = ((void **)ctx)[1];

	fa_json_object_begin(json);
	fa_json_kv_string(json, "name", row->name);
	fa_json_kv_u64(json, "address", row->address);
	fa_json_kv_u64(json, "created_ns", row->created_ns);
	if (row->destroyed_ns == FT_TIME_NONE)
		fa_json_kv_null(json, "destroyed_ns");
	else
		fa_json_kv_u64(json, "destroyed_ns", row->destroyed_ns);
	fa_json_kv_u64(json, "allocations", row->n_allocs);
	fa_json_kv_u64(json, "frees", row->n_frees);
	fa_json_kv_u64(json, "allocated_bytes", row->bytes_allocated);
	fa_json_kv_u64(json, "live_objects", row->live_objects);
	fa_json_kv_u64(json, "live_bytes", row->live_bytes);
	fa_json_kv_u64(json, "peak_bytes", row->peak_bytes);
	fa_json_kv_u64(json, "memory_bytes", row->memory_bytes);
	fa_json_key(json, "stack");
	if (row->stack && row->stack < fa_engine_n_stacks(fa_pass_engine(pass)))
		fa_engine_emit_stack(fa_pass_engine(pass), row->stack, json);
	else
		fa_json_null(json);
	fa_json_object_end(json);
	return NULL;
}

static struct ft_error *pools_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	struct fa_json *json = fa_doc_begin(doc, "pools");
	void *ctx[] = {(void *)(uintptr_t)pass, json};

	fa_json_key(json, "pools");
	fa_json_array_begin(json);
	FT_TRY(ft_reader_pools(fa_engine_reader(fa_pass_engine(pass)), emit_pool, ctx));
	fa_json_array_end(json);
	fa_doc_end(doc);
	return NULL;
}

const struct fa_pass_ops fa_pass_pools = {
	.name = "pools",
	.summary = "what the program's own pools had",
	.emit = pools_emit,
};

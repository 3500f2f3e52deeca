/* SPDX-License-Identifier: MIT */
/* Slabs and spans of allocators of size classes, at the moment: see frag.h. */
#include <stdlib.h>

#include "fa_json.h"
#include "frag.h"
#include "ft_cleanup.h"

enum { EMIT_SITES = 50 };

void frag_slabs_deinit(struct frag_slabs *slabs)
{
	fa_slabs_deinit(&slabs->found);
	free(slabs->sites);
}

static int site_order(const void *a, const void *b)
{
	const struct frag_slab_site *x = a, *y = b;

	if (x->pin.shapley != y->pin.shapley)
		return x->pin.shapley < y->pin.shapley ? 1 : -1;
	return (x->stack > y->stack) - (x->stack < y->stack);
}

struct ft_error *frag_slabs_take(struct frag *frag, const struct fa_engine *engine)
{
	struct frag_slabs *slabs = &frag->moment.slabs;
	size_t n_stacks = fa_engine_n_stacks(engine), cursor = 0, n = 0;
	const struct fa_block *block;

	slabs->known = fa_slabs_init(&slabs->found, fa_engine_allocator(engine));
	if (!slabs->known)
		return NULL;

	ft_auto_free struct fa_pin *pins = calloc(n_stacks, sizeof(*pins));

	if (!pins)
		return &ft_enomem;
	while (fa_engine_next_laid(engine, &cursor, &block))
		FT_TRY(fa_slabs_add(&slabs->found, block->address, block->usable, block->stack));
	FT_TRY(fa_slabs_finish(&slabs->found, pins, n_stacks));
	for (size_t s = 0; s < n_stacks; s++)
		n += pins[s].any > 0;
	slabs->sites = calloc(n ? n : 1, sizeof(*slabs->sites));
	if (!slabs->sites)
		return &ft_enomem;
	for (size_t s = 0; s < n_stacks; s++)
		if (pins[s].any)
			slabs->sites[slabs->n_sites++] =
				(struct frag_slab_site){.stack = (uint32_t)s, .pin = pins[s]};
	qsort(slabs->sites, n, sizeof(*slabs->sites), site_order);
	return NULL;
}

struct ft_error *frag_slabs_gains(const struct fa_engine *engine, bool *known, uint64_t *mesh,
				  uint64_t *compact)
{
	struct fa_slabs slabs = {0};
	const struct fa_block *block;
	struct ft_error *error = NULL;
	size_t cursor = 0;

	*known = fa_slabs_init(&slabs, fa_engine_allocator(engine));
	while (*known && !error && fa_engine_next_laid(engine, &cursor, &block))
		error = fa_slabs_add(&slabs, block->address, block->usable, block->stack);
	if (*known && !error)
		error = fa_slabs_finish(&slabs, NULL, 0);
	*mesh = slabs.total.mesh_gain_bytes;
	*compact = slabs.total.compact_gain_bytes;
	fa_slabs_deinit(&slabs);
	return error;
}

/* ---- the document ------------------------------------------------------------------------------
 */

static void emit_class(const struct fa_slab_class *class, struct fa_json *json)
{
	fa_json_kv_u64(json, "slabs", class->slabs);
	fa_json_kv_u64(json, "full_slabs", class->full_slabs);
	fa_json_kv_u64(json, "slots", class->slots);
	fa_json_kv_u64(json, "blocks", class->blocks);
	fa_json_kv_u64(json, "free_bytes", class->free_bytes);
	fa_json_kv_u64(json, "compact_gain_bytes", class->compact_gain_bytes);
	fa_json_kv_u64(json, "mesh_gain_bytes", class->mesh_gain_bytes);
}

static void emit_sites(const struct frag_slabs *slabs, struct fa_engine *engine,
		       struct fa_json *json)
{
	uint64_t other = 0;

	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < slabs->n_sites; i++) {
		const struct frag_slab_site *site = &slabs->sites[i];

		if (i >= EMIT_SITES) {
			other += site->pin.shapley;
			continue;
		}
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "site", site->stack);
		fa_json_kv_string(json, "name", fa_engine_site_name(engine, site->stack));
		fa_json_kv_u64(json, "sole", site->pin.sole);
		fa_json_kv_u64(json, "shapley", site->pin.shapley);
		fa_json_kv_u64(json, "any", site->pin.any);
		fa_json_kv_u64(json, "slabs_sole", site->pin.pages_sole);
		fa_json_key(json, "stack");
		fa_engine_emit_stack(engine, site->stack, json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites",
		       slabs->n_sites > EMIT_SITES ? slabs->n_sites - EMIT_SITES : 0);
	fa_json_kv_u64(json, "shapley", other);
	fa_json_object_end(json);
}

void frag_slabs_emit(const struct frag *frag, struct fa_engine *engine, struct fa_json *json)
{
	const struct frag_slabs *slabs = &frag->moment.slabs;
	const struct fa_slabs *found = &slabs->found;

	fa_json_key(json, "slabs");
	if (!slabs->known) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "bytes", found->bytes);
	emit_class(&found->total, json);
	fa_json_kv_u64(json, "large_blocks", found->large_blocks);
	fa_json_kv_u64(json, "large_bytes", found->large_bytes);
	fa_json_kv_u64(json, "unplaced_blocks", found->unplaced_blocks);
	fa_json_kv_u64(json, "unplaced_bytes", found->unplaced_bytes);
	fa_json_key(json, "classes");
	fa_json_array_begin(json);
	for (size_t i = 0; i < found->sizes.n; i++) {
		if (!found->classes[i].slabs)
			continue;
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "size", found->classes[i].size);
		fa_json_kv_u64(json, "slab_bytes", found->classes[i].slab_bytes);
		emit_class(&found->classes[i], json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	emit_sites(slabs, engine, json);
	fa_json_object_end(json);
}

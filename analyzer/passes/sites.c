/* SPDX-License-Identifier: MIT */
/*
 * Sites: what each stack allocated, had at the heap's peak, and did not need the heap for
 *
 * The engine keeps the accounts; this pass ranks them. A table by any of its figures needs the
 * first rows by that figure: the section holds the union of them.
 */
#include <stdlib.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "ft_cleanup.h"

enum { BY_LIVE, BY_PEAK, BY_ALLOCATED, BY_TEMPORARY, BY_COUNT, N_RANKINGS };

struct sites {
	uint32_t *listed; /* stacks, by live bytes */
	size_t n_listed;
	struct fa_site other;
	size_t n_other;
};

static uint64_t figure(const struct fa_site *site, int ranking)
{
	switch (ranking) {
	case BY_LIVE:
		return site->live_bytes;
	case BY_PEAK:
		return site->peak_bytes;
	case BY_ALLOCATED:
		return site->bytes_allocated;
	case BY_TEMPORARY:
		return site->temporary;
	default:
		return site->allocations;
	}
}

static struct ft_error *sites_finish(struct fa_pass *pass)
{
	struct sites *s = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	size_t n_stacks = fa_engine_n_stacks(engine), max = fa_engine_max_sites(engine);
	ft_auto_free struct fa_ranked *ranked = malloc(n_stacks * sizeof(*ranked));
	ft_auto_free unsigned char *chosen = calloc(n_stacks, 1);
	struct fa_site site;

	if (!ranked || !chosen)
		return &ft_enomem;
	for (int ranking = N_RANKINGS - 1; ranking >= 0; ranking--) {
		size_t n = 0;

		for (size_t i = 0; i < n_stacks; i++) {
			fa_engine_site(engine, (uint32_t)i, &site);
			if (figure(&site, ranking))
				ranked[n++] =
					(struct fa_ranked){(uint32_t)i, figure(&site, ranking)};
		}
		fa_rank(ranked, n);
		for (size_t i = 0; i < n && i < max; i++)
			chosen[ranked[i].stack] = 1;
	}

	size_t n = 0;

	for (size_t i = 0; i < n_stacks; i++) {
		fa_engine_site(engine, (uint32_t)i, &site);
		if (chosen[i]) {
			ranked[n++] = (struct fa_ranked){(uint32_t)i, site.live_bytes};
		} else if (site.allocations || site.live_blocks) {
			s->n_other++;
			s->other.live_bytes += site.live_bytes;
			s->other.live_blocks += site.live_blocks;
			s->other.peak_bytes += site.peak_bytes;
			s->other.bytes_allocated += site.bytes_allocated;
			s->other.allocations += site.allocations;
			s->other.temporary += site.temporary;
		}
	}
	return fa_rank_stacks(ranked, n, n, &s->listed, &s->n_listed);
}

static void emit_temporary(const struct fa_engine *engine, const char *key, uint64_t value,
			   struct fa_json *json)
{
	if (fa_engine_sample_bytes(engine))
		fa_json_kv_null(json, key);
	else
		fa_json_kv_u64(json, key, value);
}

static void emit_errors(const struct fa_engine *engine, const struct fa_site *site,
			struct fa_json *json)
{
	if (!fa_engine_sample_bytes(engine))
		return;
	fa_json_kv_u64(json, "samples", site->samples);
	fa_engine_emit_error(engine, "live_error", "live_relative_error", site->live_bytes,
			     site->live_variance, json);
	fa_engine_emit_error(engine, "peak_error", "peak_relative_error", site->peak_bytes,
			     site->peak_variance, json);
	fa_engine_emit_error(engine, "allocated_error", "allocated_relative_error",
			     site->bytes_allocated, site->allocated_variance, json);
}

static struct ft_error *sites_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct sites *s = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct fa_json *json = fa_doc_begin(doc, "sites");

	fa_engine_emit_estimated(engine, json);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < s->n_listed; i++) {
		struct fa_site site;

		fa_engine_site(engine, s->listed[i], &site);
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "site", s->listed[i]);
		fa_json_kv_string(json, "name", fa_engine_site_name(engine, s->listed[i]));
		fa_json_kv_u64(json, "live_bytes", site.live_bytes);
		fa_json_kv_u64(json, "live_blocks", site.live_blocks);
		fa_json_kv_u64(json, "peak_bytes", site.peak_bytes);
		fa_json_kv_u64(json, "peak_blocks", site.peak_blocks);
		fa_json_kv_u64(json, "allocated_bytes", site.bytes_allocated);
		fa_json_kv_u64(json, "allocations", site.allocations);
		emit_temporary(engine, "temporary", site.temporary, json);
		emit_temporary(engine, "temporary_bytes", site.temporary_bytes, json);
		emit_errors(engine, &site, json);
		fa_json_key(json, "stack");
		fa_engine_emit_stack(engine, s->listed[i], json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", s->n_other);
	fa_json_kv_u64(json, "live_bytes", s->other.live_bytes);
	fa_json_kv_u64(json, "live_blocks", s->other.live_blocks);
	fa_json_kv_u64(json, "peak_bytes", s->other.peak_bytes);
	fa_json_kv_u64(json, "allocated_bytes", s->other.bytes_allocated);
	fa_json_kv_u64(json, "allocations", s->other.allocations);
	emit_temporary(engine, "temporary", s->other.temporary, json);
	fa_json_object_end(json);
	fa_doc_end(doc);
	return NULL;
}

static void sites_deinit(struct fa_pass *pass)
{
	struct sites *s = fa_pass_state(pass);

	free(s->listed);
}

const struct fa_pass_ops fa_pass_sites = {
	.name = "sites",
	.summary = "live, at the peak, allocated in total and temporary, by call stack",
	.state_size = sizeof(struct sites),
	.finish = sites_finish,
	.emit = sites_emit,
	.deinit = sites_deinit,
};

/* SPDX-License-Identifier: MIT */
/*
 * Lifetimes: how long blocks lived, how large they were, and how old is what is left
 *
 * Of logical blocks: a realloc goes on with the life of its block, and the site is the one that a
 * block had at its end. A block whose free was not seen (another came to its address) has no known
 * lifetime and is counted apart.
 *
 * Bins are powers of two. A quantile of a site is therefore known as the bin that holds it: both of
 * its bounds are given.
 *
 * Memory: 208 bytes a site that freed or kept anything.
 */
#include <stdlib.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "ft_arena.h"
#include "ft_cleanup.h"

enum {
	BINS = 48,  /* of time: bin i is from 2^i ns on, the first from 0, the last without end */
	SIZES = 40, /* of size: likewise, in bytes */
	ROWS_A_SITE = 20, /* this section has no stacks: so many rows for one of the others */
};

struct tally {
	uint64_t blocks, bytes;
};

struct site_lives {
	uint32_t freed[BINS]; /* saturate */
	uint64_t n_freed;
	uint64_t oldest_ns, youngest_ns; /* births of what is live at the end */
};

struct lifetimes {
	struct ft_arena arena;
	struct site_lives **sites; /* by stack; NULL: nothing happened */
	struct tally freed[BINS], live[BINS];
	uint64_t matrix_blocks[SIZES * BINS], matrix_bytes[SIZES * BINS]; /* freed; a row a size */
	uint64_t n_unknown;
	uint32_t *listed;
	size_t n_listed;
	uint64_t n_other;
};

static unsigned log2_bin(uint64_t value, unsigned n)
{
	unsigned bin = value ? 63 - (unsigned)__builtin_clzll(value) : 0;

	return bin < n ? bin : n - 1;
}

static struct ft_error *lifetimes_init(struct fa_pass *pass)
{
	struct lifetimes *l = fa_pass_state(pass);

	ft_arena_init(&l->arena);
	l->sites = calloc(fa_engine_n_stacks(fa_pass_engine(pass)), sizeof(*l->sites));
	return l->sites ? NULL : &ft_enomem;
}

static inline void add_freed(struct site_lives *site, unsigned bin, uint32_t blocks)
{
	if (__builtin_add_overflow(site->freed[bin], blocks, &site->freed[bin]))
		site->freed[bin] = UINT32_MAX;
}

static struct site_lives *site_of(struct lifetimes *l, uint32_t stack)
{
	struct site_lives *site = l->sites[stack];

	if (!site) {
		site = ft_arena_alloc(&l->arena, sizeof(*site));
		if (!site)
			return NULL;
		*site = (struct site_lives){.oldest_ns = UINT64_MAX};
		l->sites[stack] = site;
	}
	return site;
}

static struct ft_error *count_freed(struct lifetimes *l, const struct fa_step *step)
{
	const struct fa_block *died = step->died;
	uint64_t life_ns = step->event->time_ns - died->born_ns;
	unsigned bin = log2_bin(life_ns, BINS), size = log2_bin(died->size, SIZES);
	struct site_lives *site = site_of(l, died->stack);

	if (!site)
		return &ft_enomem;
	site->n_freed += died->blocks;
	add_freed(site, bin, died->blocks);
	l->freed[bin].blocks += died->blocks;
	l->freed[bin].bytes += died->bytes;
	l->matrix_blocks[size * BINS + bin] += died->blocks;
	l->matrix_bytes[size * BINS + bin] += died->bytes;
	return NULL;
}

static struct ft_error *lifetimes_on_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct lifetimes *l = fa_pass_state(pass);

	for (size_t i = 0; i < steps->n_deaths; i++) {
		const struct fa_step *step = steps->deaths[i];

		if (step->born)
			continue;
		if (step->event->kind == FT_EVENT_FREE)
			FT_TRY(count_freed(l, step));
		else
			l->n_unknown++;
	}
	return NULL;
}

static void join_tallies(struct tally *to, const struct tally *from)
{
	for (unsigned i = 0; i < BINS; i++) {
		to[i].blocks += from[i].blocks;
		to[i].bytes += from[i].bytes;
	}
}

static struct ft_error *lifetimes_join(struct fa_pass *pass, struct fa_pass *earlier)
{
	struct lifetimes *l = fa_pass_state(pass);
	const struct lifetimes *before = fa_pass_state(earlier);
	size_t n_stacks = fa_engine_n_stacks(fa_pass_engine(pass));

	join_tallies(l->freed, before->freed);
	for (unsigned i = 0; i < SIZES * BINS; i++) {
		l->matrix_blocks[i] += before->matrix_blocks[i];
		l->matrix_bytes[i] += before->matrix_bytes[i];
	}
	l->n_unknown += before->n_unknown;
	for (size_t i = 0; i < n_stacks; i++) {
		const struct site_lives *from = before->sites[i];
		struct site_lives *site = from ? site_of(l, (uint32_t)i) : NULL;

		if (!from)
			continue;
		if (!site)
			return &ft_enomem;
		site->n_freed += from->n_freed;
		for (unsigned bin = 0; bin < BINS; bin++)
			add_freed(site, bin, from->freed[bin]);
	}
	return NULL;
}

/* The sites that allocated most. */
static struct ft_error *choose(struct lifetimes *l, const struct fa_engine *engine)
{
	size_t n_stacks = fa_engine_n_stacks(engine), n = 0;
	size_t max = (size_t)fa_engine_max_sites(engine) * ROWS_A_SITE;
	ft_auto_free struct fa_ranked *ranked = malloc((n_stacks + 1) * sizeof(*ranked));

	if (!ranked)
		return &ft_enomem;
	for (size_t i = 0; i < n_stacks; i++) {
		struct fa_site site;

		if (!l->sites[i])
			continue;
		fa_engine_site(engine, (uint32_t)i, &site);
		ranked[n++] = (struct fa_ranked){(uint32_t)i, site.bytes_allocated};
	}
	FT_TRY(fa_rank_stacks(ranked, n, max, &l->listed, &l->n_listed));
	l->n_other = n - l->n_listed;
	return NULL;
}

static struct ft_error *lifetimes_finish(struct fa_pass *pass)
{
	struct lifetimes *l = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);
	uint64_t end_ns = fa_engine_to_ns(engine);
	const struct fa_block *block;
	size_t cursor = 0;

	while (fa_engine_next_live(engine, &cursor, &block)) {
		struct site_lives *site = site_of(l, block->stack);
		uint64_t age_ns = end_ns > block->born_ns ? end_ns - block->born_ns : 0;
		unsigned bin = log2_bin(age_ns, BINS);

		if (!site)
			return &ft_enomem;
		l->live[bin].blocks += block->blocks;
		l->live[bin].bytes += block->bytes;
		if (block->born_ns < site->oldest_ns)
			site->oldest_ns = block->born_ns;
		if (block->born_ns > site->youngest_ns)
			site->youngest_ns = block->born_ns;
	}
	return choose(l, engine);
}

/* ---- emit --------------------------------------------------------------------------------------
 */

static void emit_bins(struct fa_json *json, const char *key, const struct tally *bins)
{
	fa_json_key(json, key);
	fa_json_array_begin(json);
	for (unsigned i = 0; i < BINS; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "blocks", bins[i].blocks);
		fa_json_kv_u64(json, "bytes", bins[i].bytes);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
}

/* The bin that holds the quantile, as [from, to]; the last one has no end. */
static void emit_quantile(struct fa_json *json, const char *key, const struct site_lives *site,
			  double share)
{
	uint64_t all = 0, passed = 0;
	unsigned bin = 0;

	fa_json_key(json, key);
	for (unsigned i = 0; i < BINS; i++)
		all += site->freed[i];
	if (!all) {
		fa_json_null(json);
		return;
	}
	for (bin = 0; bin < BINS - 1; bin++) {
		passed += site->freed[bin];
		if ((double)passed >= (double)all * share)
			break;
	}
	fa_json_array_begin(json);
	fa_json_u64(json, bin ? UINT64_C(1) << bin : 0);
	if (bin < BINS - 1)
		fa_json_u64(json, UINT64_C(2) << bin);
	else
		fa_json_null(json);
	fa_json_array_end(json);
}

static void emit_site(const struct lifetimes *l, uint32_t stack, struct fa_json *json)
{
	const struct site_lives *site = l->sites[stack];

	fa_json_object_begin(json);
	fa_json_kv_u64(json, "site", stack);
	fa_json_kv_u64(json, "freed", site->n_freed);
	emit_quantile(json, "median_ns", site, 0.5);
	emit_quantile(json, "p90_ns", site, 0.9);
	if (site->oldest_ns != UINT64_MAX) {
		fa_json_kv_u64(json, "oldest_born_ns", site->oldest_ns);
		fa_json_kv_u64(json, "youngest_born_ns", site->youngest_ns);
	} else {
		fa_json_kv_null(json, "oldest_born_ns");
		fa_json_kv_null(json, "youngest_born_ns");
	}
	fa_json_object_end(json);
}

static struct ft_error *lifetimes_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct lifetimes *l = fa_pass_state(pass);
	struct fa_json *json = fa_doc_begin(doc, "lifetimes");

	fa_engine_emit_estimated(fa_pass_engine(pass), json);
	emit_bins(json, "freed", l->freed);
	emit_bins(json, "live", l->live);
	fa_json_kv_u64(json, "unknown", l->n_unknown);
	fa_json_kv_u64(json, "size_bins", SIZES);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < l->n_listed; i++)
		emit_site(l, l->listed[i], json);
	fa_json_array_end(json);
	fa_json_kv_u64(json, "other_sites", l->n_other);
	fa_doc_end(doc);
	fa_doc_column(doc, "lifetimes.blocks", FA_U64, l->matrix_blocks, (size_t)SIZES * BINS);
	fa_doc_column(doc, "lifetimes.bytes", FA_U64, l->matrix_bytes, (size_t)SIZES * BINS);
	return NULL;
}

static void lifetimes_deinit(struct fa_pass *pass)
{
	struct lifetimes *l = fa_pass_state(pass);

	ft_arena_deinit(&l->arena);
	free(l->sites);
	free(l->listed);
}

const struct fa_pass_ops fa_pass_lifetimes = {
	.name = "lifetimes",
	.summary = "how long blocks lived by size and site, and how old is what is left",
	.state_size = sizeof(struct lifetimes),
	.init = lifetimes_init,
	.on_steps = lifetimes_on_steps,
	.join = lifetimes_join,
	.finish = lifetimes_finish,
	.emit = lifetimes_emit,
	.deinit = lifetimes_deinit,
};

/* SPDX-License-Identifier: MIT */
/*
 * Reallocs: chains of them as one logical block
 *
 * A block that is made larger step by step is one block to its author, and a row of them to the
 * allocator. By the site that calls realloc: how often, how often the block had to move, how much
 * was copied for that, and how long the chains got that ended there (freed, or still alive).
 *
 * Memory: 16 to 43 bytes a live block that was ever reallocated, and 64 a site that does it.
 */
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "ft_arena.h"
#include "ft_cleanup.h"
#include "ft_map.h"

enum { LENGTHS = 24 }; /* chains of 2^i calls and more */

struct site_reallocs {
	uint32_t stack;
	uint64_t calls, moved, grown, shrunk;
	uint64_t copied_bytes; /* of blocks that moved: what both sizes have in common */
	uint64_t chains, longest;
};

/* The end of a block that is older than the part of a replay in which it died: how long its chain
 * was by then, an earlier part knows. */
struct old_end {
	uint64_t born_seq, calls; /* calls: in later parts */
	uint32_t stack;
};

struct reallocs {
	struct ft_arena arena;
	struct ft_map by_stack; /* stack -> struct site_reallocs * */
	struct ft_map chains;	/* born_seq of a live block -> calls so far */
	uint64_t *chained;	/* owned; a bit for each number of a block: it is in `chains` */
	size_t n_chained;	/* words */
	uint64_t first_seq;	/* blocks born before are older than the part; 0: none is */
	bool is_later_part, begun, joined;
	struct old_end *old_ends; /* owned */
	size_t n_old_ends, old_ends_room;
	struct site_reallocs total;
	uint64_t lengths[LENGTHS];
	struct site_reallocs *sites; /* listed */
	size_t n_sites;
	struct site_reallocs other;
	size_t n_other;
};

static struct ft_error *reallocs_init(struct fa_pass *pass)
{
	struct reallocs *r = fa_pass_state(pass);

	ft_arena_init(&r->arena);
	ft_map_init(&r->by_stack);
	ft_map_init(&r->chains);
	r->is_later_part =
		fa_engine_part_ns(fa_pass_engine(pass)) > fa_engine_from_ns(fa_pass_engine(pass));
	return NULL;
}

static struct site_reallocs *site_of(struct reallocs *r, uint32_t stack)
{
	uint64_t *value = ft_map_put(&r->by_stack, stack, NULL);

	if (!value)
		return NULL;
	if (!*value) {
		struct site_reallocs *site = ft_arena_alloc(&r->arena, sizeof(*site));

		if (!site)
			return NULL;
		*site = (struct site_reallocs){.stack = stack};
		*value = (uintptr_t)site;
	}
	return (struct site_reallocs *)(uintptr_t)*value;
}

static void count_call(struct site_reallocs *site, const struct fa_block *from,
		       const struct fa_block *to)
{
	site->calls++;
	site->grown += to->size > from->size;
	site->shrunk += to->size < from->size;
	if (to->address != from->address) {
		site->moved++;
		site->copied_bytes += from->size < to->size ? from->size : to->size;
	}
}

static struct ft_error *end_chain(struct reallocs *r, uint32_t stack, uint64_t length)
{
	struct site_reallocs *site = site_of(r, stack);
	unsigned bin = 63 - (unsigned)__builtin_clzll(length);

	if (!site)
		return &ft_enomem;
	site->chains++;
	r->total.chains++;
	if (length > site->longest)
		site->longest = length;
	if (length > r->total.longest)
		r->total.longest = length;
	r->lengths[bin < LENGTHS ? bin : LENGTHS - 1]++;
	return NULL;
}

/* Most blocks that die were never reallocated: that is to cost a look at a bit. */
static bool is_chained(const struct reallocs *r, uint32_t number)
{
	return number / 64 < r->n_chained && r->chained[number / 64] >> number % 64 & 1;
}

static void unchain(struct reallocs *r, uint32_t number)
{
	if (is_chained(r, number))
		r->chained[number / 64] &= ~(UINT64_C(1) << number % 64);
}

static struct ft_error *chain(struct reallocs *r, uint32_t number)
{
	if (number / 64 >= r->n_chained) {
		size_t n = (size_t)number / 64 * 2 + 64;
		uint64_t *chained = realloc(r->chained, n * sizeof(*chained));

		if (!chained)
			return &ft_enomem;
		memset(chained + r->n_chained, 0, (n - r->n_chained) * sizeof(*chained));
		r->chained = chained;
		r->n_chained = n;
	}
	r->chained[number / 64] |= UINT64_C(1) << number % 64;
	return NULL;
}

static struct ft_error *put_off(struct reallocs *r, const struct old_end *end)
{
	if (r->n_old_ends == r->old_ends_room) {
		size_t room = r->old_ends_room ? r->old_ends_room * 2 : 256;
		struct old_end *ends = realloc(r->old_ends, room * sizeof(*ends));

		if (!ends)
			return &ft_enomem;
		r->old_ends = ends;
		r->old_ends_room = room;
	}
	r->old_ends[r->n_old_ends++] = *end;
	return NULL;
}

static struct ft_error *on_free(struct reallocs *r, const struct fa_block *died, uint32_t number)
{
	uint64_t length = 0;
	bool is_old = died->born_seq < r->first_seq;

	if (!is_chained(r, number) && !is_old)
		return NULL;
	unchain(r, number);
	ft_map_remove(&r->chains, died->born_seq, &length);
	if (is_old)
		return put_off(r, &(struct old_end){died->born_seq, length, died->stack});
	return length ? end_chain(r, died->stack, length) : NULL;
}

static struct ft_error *on_death(struct reallocs *r, const struct fa_step *step)
{
	const struct fa_block *born = step->born, *died = step->died;

	if (!born)
		return on_free(r, died, step->died_number);

	bool was_chained = is_chained(r, step->died_number);

	unchain(r, step->died_number);
	if (was_chained || born->api != FT_API_POOL_BACKING)
		FT_TRY(chain(r, step->born_number));
	if (born->api == FT_API_POOL_BACKING)
		return NULL;

	struct site_reallocs *site = site_of(r, born->stack);
	uint64_t *calls = ft_map_put(&r->chains, born->born_seq, NULL);

	if (!site || !calls)
		return &ft_enomem;
	++*calls;
	count_call(site, died, born);
	count_call(&r->total, died, born);
	return NULL;
}

static struct ft_error *reallocs_on_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct reallocs *r = fa_pass_state(pass);

	if (!r->begun) {
		r->begun = true;
		r->first_seq = r->is_later_part ? steps->all[0].event->seq : 0;
	}
	for (size_t i = 0; i < steps->n_deaths; i++)
		FT_TRY(on_death(r, steps->deaths[i]));
	return NULL;
}

static void join_counts(struct site_reallocs *to, const struct site_reallocs *from)
{
	to->calls += from->calls;
	to->moved += from->moved;
	to->grown += from->grown;
	to->shrunk += from->shrunk;
	to->copied_bytes += from->copied_bytes;
	to->chains += from->chains;
	if (from->longest > to->longest)
		to->longest = from->longest;
}

/* What of the blocks that were older than this part the part before knows. */
static struct ft_error *join_chains(struct reallocs *r, struct reallocs *before)
{
	size_t n = r->n_old_ends, cursor = 0;
	uint64_t born_seq, calls, *sum;

	r->n_old_ends = 0;
	for (size_t i = 0; i < n; i++) {
		struct old_end end = r->old_ends[i];

		if (ft_map_remove(&before->chains, end.born_seq, &calls))
			end.calls += calls;
		if (end.born_seq < before->first_seq)
			FT_TRY(put_off(r, &end));
		else if (end.calls)
			FT_TRY(end_chain(r, end.stack, end.calls));
	}
	for (size_t i = 0; i < before->n_old_ends; i++)
		FT_TRY(put_off(r, &before->old_ends[i]));
	while (ft_map_next(&before->chains, &cursor, &born_seq, &calls)) {
		sum = ft_map_put(&r->chains, born_seq, NULL);
		if (!sum)
			return &ft_enomem;
		*sum += calls;
	}
	return NULL;
}

static struct ft_error *reallocs_join(struct fa_pass *pass, struct fa_pass *earlier)
{
	struct reallocs *r = fa_pass_state(pass), *before = fa_pass_state(earlier);
	uint64_t stack, value;
	size_t cursor = 0;

	FT_TRY(join_chains(r, before));
	while (ft_map_next(&before->by_stack, &cursor, &stack, &value)) {
		struct site_reallocs *site = site_of(r, (uint32_t)stack);

		if (!site)
			return &ft_enomem;
		join_counts(site, (const struct site_reallocs *)(uintptr_t)value);
	}
	join_counts(&r->total, &before->total);
	for (unsigned i = 0; i < LENGTHS; i++)
		r->lengths[i] += before->lengths[i];
	r->first_seq = before->first_seq;
	r->joined = true;
	return NULL;
}

static int compare_sites(const void *a, const void *b)
{
	const struct site_reallocs *x = a, *y = b;

	if (x->calls != y->calls)
		return x->calls > y->calls ? -1 : 1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static struct ft_error *reallocs_finish(struct fa_pass *pass)
{
	struct reallocs *r = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);
	size_t max = fa_engine_max_sites(engine), cursor = 0, n = 0;
	const struct fa_block *block;
	uint64_t key, value;

	while (fa_engine_next_live(engine, &cursor, &block)) {
		/* Numbers of blocks are a part's own. */
		const uint64_t *length = r->joined || is_chained(r, (uint32_t)(cursor - 1))
						 ? ft_map_get(&r->chains, block->born_seq)
						 : NULL;

		if (length)
			FT_TRY(end_chain(r, block->stack, *length));
	}
	r->sites = malloc((ft_map_count(&r->by_stack) + 1) * sizeof(*r->sites));
	if (!r->sites)
		return &ft_enomem;
	cursor = 0;
	while (ft_map_next(&r->by_stack, &cursor, &key, &value))
		r->sites[n++] = *(const struct site_reallocs *)(uintptr_t)value;
	if (n)
		qsort(r->sites, n, sizeof(*r->sites), compare_sites);
	r->n_sites = n < max ? n : max;
	for (size_t i = r->n_sites; i < n; i++) {
		r->n_other++;
		r->other.calls += r->sites[i].calls;
		r->other.moved += r->sites[i].moved;
		r->other.copied_bytes += r->sites[i].copied_bytes;
		r->other.chains += r->sites[i].chains;
	}
	return NULL;
}

static void emit_counts(const struct site_reallocs *site, struct fa_json *json)
{
	fa_json_kv_u64(json, "calls", site->calls);
	fa_json_kv_u64(json, "moved", site->moved);
	fa_json_kv_u64(json, "copied_bytes", site->copied_bytes);
	fa_json_kv_u64(json, "chains", site->chains);
}

static void emit_shape(const struct site_reallocs *site, struct fa_json *json)
{
	fa_json_kv_u64(json, "grown", site->grown);
	fa_json_kv_u64(json, "shrunk", site->shrunk);
	fa_json_kv_u64(json, "longest", site->longest);
}

static struct ft_error *reallocs_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct reallocs *r = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct fa_json *json = fa_doc_begin(doc, "reallocs");

	fa_json_key(json, "total");
	fa_json_object_begin(json);
	emit_counts(&r->total, json);
	emit_shape(&r->total, json);
	fa_json_object_end(json);
	fa_json_key(json, "lengths");
	fa_json_array_begin(json);
	for (unsigned i = 0; i < LENGTHS; i++)
		fa_json_u64(json, r->lengths[i]);
	fa_json_array_end(json);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < r->n_sites; i++) {
		const struct site_reallocs *site = &r->sites[i];

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "site", site->stack);
		fa_json_kv_string(json, "name", fa_engine_site_name(engine, site->stack));
		emit_counts(site, json);
		emit_shape(site, json);
		fa_json_key(json, "stack");
		fa_engine_emit_stack(engine, site->stack, json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", r->n_other);
	emit_counts(&r->other, json);
	fa_json_object_end(json);
	fa_doc_end(doc);
	return NULL;
}

static void reallocs_deinit(struct fa_pass *pass)
{
	struct reallocs *r = fa_pass_state(pass);

	ft_arena_deinit(&r->arena);
	ft_map_deinit(&r->by_stack);
	ft_map_deinit(&r->chains);
	free(r->chained);
	free(r->old_ends);
	free(r->sites);
}

const struct fa_pass_ops fa_pass_reallocs = {
	.name = "reallocs",
	.summary = "chains of reallocs as one block: calls, moves, bytes copied",
	.state_size = sizeof(struct reallocs),
	.needs_all_blocks = true,
	.init = reallocs_init,
	.on_steps = reallocs_on_steps,
	.join = reallocs_join,
	.finish = reallocs_finish,
	.emit = reallocs_emit,
	.deinit = reallocs_deinit,
};

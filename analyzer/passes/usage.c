/* SPDX-License-Identifier: MIT */
/*
 * Usage: bytes asked for and bytes taken, and how fast, by site and by size
 *
 * What the allocator rounds up is lost for as long as the block lives: of all that was allocated,
 * and of what is live. Rates are means over the window, beside the busiest of its 64 steps: a site
 * that works in bursts has them far apart.
 *
 * Memory: 64 bytes a site.
 */
#include <stdlib.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "ft_cleanup.h"

enum {
	STEPS = 64,
	SIZES = 40,	  /* requests from 2^i bytes on, the first from 0, the last without end */
	ROWS_A_SITE = 20, /* this section has no stacks: so many rows for one of the others */
};

struct site_usage {
	uint64_t requested, usable; /* of all allocations */
	uint64_t live_usable;
	uint64_t step_bytes, busiest_bytes; /* within `step`; in the busiest step */
	uint32_t step_calls, busiest_calls, step;
	uint32_t spare;
};
_Static_assert(sizeof(struct site_usage) <= 64, "one cache line");

struct size_usage {
	uint64_t blocks, requested, usable;
};

/* What a site did in its first step in a later part of a replay, once that is over: the part before
 * may have had more of the step. */
struct site_first {
	uint64_t bytes;
	uint32_t calls, step;
};

struct usage {
	struct site_usage *sites; /* by stack */
	struct site_first *first; /* likewise; calls 0: not over. NULL: not a later part */
	struct size_usage sizes[SIZES];
	uint32_t step;
	uint64_t from_ns, to_ns, next_step_ns;
	uint32_t *listed;
	size_t n_listed;
	uint64_t n_other;
	bool estimated;
};

static uint64_t step_end(const struct usage *u, uint32_t step)
{
	if (step + 1 >= STEPS)
		return UINT64_MAX;
	return u->from_ns +
	       (uint64_t)((unsigned __int128)(u->to_ns - u->from_ns) * (step + 1) / STEPS);
}

/* Asked for each event: where nothing is estimated, without a call. */
static inline uint64_t usable_of(const struct fa_pass *pass, const struct fa_block *block)
{
	const struct usage *u = fa_pass_state(pass);

	return u->estimated ? fa_engine_usable(fa_pass_engine(pass), block) : block->usable;
}

static struct ft_error *usage_init(struct fa_pass *pass)
{
	struct usage *u = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	const struct fa_block *block;
	size_t cursor = 0;

	u->estimated = fa_engine_sample_bytes(engine) != 0;
	u->from_ns = fa_engine_detail_ns(engine);
	u->to_ns = fa_engine_to_ns(engine);
	u->next_step_ns = step_end(u, 0);
	u->sites = calloc(fa_engine_n_stacks(engine), sizeof(*u->sites));
	if (!u->sites)
		return &ft_enomem;
	while (fa_engine_part_ns(engine) > u->next_step_ns)
		u->next_step_ns = step_end(u, ++u->step);
	if (fa_engine_part_ns(engine) > u->from_ns) {
		u->first = calloc(fa_engine_n_stacks(engine), sizeof(*u->first));
		if (!u->first)
			return &ft_enomem;
	}
	while (fa_engine_next_live(engine, &cursor, &block))
		u->sites[block->stack].live_usable += usable_of(pass, block);
	return NULL;
}

static void was_busy(struct site_usage *site, uint64_t bytes, uint32_t calls)
{
	if (bytes > site->busiest_bytes)
		site->busiest_bytes = bytes;
	if (calls > site->busiest_calls)
		site->busiest_calls = calls;
}

static void end_step(struct usage *u, struct site_usage *site, uint32_t step)
{
	struct site_first *first = u->first ? &u->first[site - u->sites] : NULL;

	if (first && !first->calls)
		*first = (struct site_first){site->step_bytes, site->step_calls, site->step};
	else
		was_busy(site, site->step_bytes, site->step_calls);
	site->step_bytes = 0;
	site->step_calls = 0;
	site->step = step;
}

static inline void count_born(struct usage *u, const struct fa_block *born, uint64_t usable)
{
	struct site_usage *site = &u->sites[born->stack];
	unsigned bin = born->size ? 63 - (unsigned)__builtin_clzll(born->size) : 0;
	struct size_usage *size = &u->sizes[bin < SIZES ? bin : SIZES - 1];

	if (site->step != u->step)
		end_step(u, site, u->step);
	site->requested += born->bytes;
	site->usable += usable;
	site->live_usable += usable;
	site->step_bytes += born->bytes;
	site->step_calls += born->blocks;
	size->blocks += born->blocks;
	size->requested += born->bytes;
	size->usable += usable;
}

static struct ft_error *usage_on_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct usage *u = fa_pass_state(pass);

	for (size_t i = 0; i < steps->n_births; i++) {
		const struct fa_block *born = steps->births[i]->born;

		while (steps->births[i]->event->time_ns > u->next_step_ns)
			u->next_step_ns = step_end(u, ++u->step);
		count_born(u, born, usable_of(pass, born));
	}
	for (size_t i = 0; i < steps->n_deaths; i++) {
		const struct fa_block *died = steps->deaths[i]->died;

		u->sites[died->stack].live_usable -= usable_of(pass, died);
	}
	return NULL;
}

/*
 * A site's steps are its first one, those between, of which the busiest is known, and the last,
 * which is not over; the first one is the last where there is no other. `first` is that of `site`,
 * `before_first` that of `before`, or NULL: nothing comes before that part.
 */
static void join_steps(struct site_usage *site, struct site_first *first,
		       const struct site_usage *before, const struct site_first *before_first)
{
	struct site_first last = {before->step_bytes, before->step_calls, before->step};
	struct site_first joined = before_first ? *before_first : (struct site_first){0};
	bool is_first = before_first && !before_first->calls, is_over = first->calls;

	was_busy(site, before->busiest_bytes, before->busiest_calls);
	if (!is_over && (!site->step_calls || site->step == last.step)) {
		/* The last one goes on, or nothing came after it. */
		site->step_bytes += last.bytes;
		site->step_calls += last.calls;
		site->step = last.calls ? last.step : site->step;
	} else {
		if (is_over && first->step == last.step) {
			last.bytes += first->bytes;
			last.calls += first->calls;
		} else if (is_over) {
			was_busy(site, first->bytes, first->calls);
		}
		if (is_first)
			joined = last;
		else
			was_busy(site, last.bytes, last.calls);
	}
	*first = joined;
}

static struct ft_error *usage_join(struct fa_pass *pass, struct fa_pass *earlier)
{
	struct usage *u = fa_pass_state(pass);
	const struct usage *before = fa_pass_state(earlier);
	size_t n_stacks = fa_engine_n_stacks(fa_pass_engine(pass));

	for (size_t i = 0; i < n_stacks; i++) {
		u->sites[i].requested += before->sites[i].requested;
		u->sites[i].usable += before->sites[i].usable;
		join_steps(&u->sites[i], &u->first[i], &before->sites[i],
			   before->first ? &before->first[i] : NULL);
	}
	for (unsigned i = 0; i < SIZES; i++) {
		u->sizes[i].blocks += before->sizes[i].blocks;
		u->sizes[i].requested += before->sizes[i].requested;
		u->sizes[i].usable += before->sizes[i].usable;
	}
	return NULL;
}

static struct ft_error *usage_finish(struct fa_pass *pass)
{
	struct usage *u = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	size_t n_stacks = fa_engine_n_stacks(engine), n = 0;
	size_t max = (size_t)fa_engine_max_sites(engine) * ROWS_A_SITE;
	ft_auto_free struct fa_ranked *ranked = malloc((n_stacks + 1) * sizeof(*ranked));

	if (!ranked)
		return &ft_enomem;
	for (size_t i = 0; i < n_stacks; i++) {
		struct fa_site site;

		fa_engine_site(engine, (uint32_t)i, &site);
		if (!site.allocations && !site.live_blocks)
			continue;
		end_step(u, &u->sites[i], u->step);
		if (u->first)
			was_busy(&u->sites[i], u->first[i].bytes, u->first[i].calls);
		ranked[n++] = (struct fa_ranked){(uint32_t)i, site.bytes_allocated};
	}
	FT_TRY(fa_rank_stacks(ranked, n, max, &u->listed, &u->n_listed));
	u->n_other = n - u->n_listed;
	return NULL;
}

/* A number a second; null where no time passed. */
static void emit_rate(struct fa_json *json, const char *key, double count, double seconds)
{
	if (seconds > 0)
		fa_json_kv_f64(json, key, count / seconds);
	else
		fa_json_kv_null(json, key);
}

static void emit_site(const struct usage *u, const struct fa_engine *engine, uint32_t stack,
		      struct fa_json *json)
{
	const struct site_usage *own = &u->sites[stack];
	double seconds = (double)(u->to_ns - u->from_ns) / 1e9;
	struct fa_site site;

	fa_engine_site(engine, stack, &site);
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "site", stack);
	fa_json_kv_u64(json, "requested_bytes", own->requested);
	fa_json_kv_u64(json, "usable_bytes", own->usable);
	fa_json_kv_u64(json, "live_bytes", site.live_bytes);
	fa_json_kv_u64(json, "live_usable_bytes", own->live_usable);
	emit_rate(json, "allocations_per_s", (double)site.allocations, seconds);
	emit_rate(json, "bytes_per_s", (double)site.bytes_allocated, seconds);
	emit_rate(json, "busiest_allocations_per_s", own->busiest_calls, seconds / STEPS);
	emit_rate(json, "busiest_bytes_per_s", (double)own->busiest_bytes, seconds / STEPS);
	fa_json_object_end(json);
}

static struct ft_error *usage_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct usage *u = fa_pass_state(pass);
	struct fa_json *json = fa_doc_begin(doc, "usage");

	fa_engine_emit_estimated(fa_pass_engine(pass), json);
	fa_json_key(json, "sizes");
	fa_json_array_begin(json);
	for (unsigned i = 0; i < SIZES; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "blocks", u->sizes[i].blocks);
		fa_json_kv_u64(json, "requested_bytes", u->sizes[i].requested);
		fa_json_kv_u64(json, "usable_bytes", u->sizes[i].usable);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < u->n_listed; i++)
		emit_site(u, fa_pass_engine(pass), u->listed[i], json);
	fa_json_array_end(json);
	fa_json_kv_u64(json, "other_sites", u->n_other);
	fa_doc_end(doc);
	return NULL;
}

static void usage_deinit(struct fa_pass *pass)
{
	struct usage *u = fa_pass_state(pass);

	free(u->sites);
	free(u->first);
	free(u->listed);
}

const struct fa_pass_ops fa_pass_usage = {
	.name = "usage",
	.summary = "bytes asked for and taken, and rates, by site and size",
	.state_size = sizeof(struct usage),
	.init = usage_init,
	.on_steps = usage_on_steps,
	.join = usage_join,
	.finish = usage_finish,
	.emit = usage_emit,
	.deinit = usage_deinit,
};

/* SPDX-License-Identifier: MIT */
/* What `top` knows: see fa_top.h. */
#include <stdlib.h>
#include <string.h>

#include "fa_top.h"
#include "ft_map.h"

#define SECOND_NS UINT64_C(1000000000)
#define STEP_NS	  (FA_TOP_STEP_S * SECOND_NS)
#define MINUTE_NS (60 * SECOND_NS)

struct site {
	struct fa_top_site now;
	uint64_t allocs_before;	    /* at the account before */
	uint64_t past[FA_TOP_PAST]; /* live bytes, by slot */
	uint32_t account;	    /* number of the last one that it was in */
};

/* An account that is kept. */
struct past {
	uint64_t time_ns, live_bytes;
	int64_t rss;
};

struct fa_top {
	struct fa_top_totals now, before;
	uint32_t n_accounts; /* that began a rate */
	struct site *sites;
	size_t n_sites, capacity;
	struct ft_map by_stack; /* stack -> index */
	struct past past[FA_TOP_PAST];
	unsigned n_past;	  /* so far: account i is in slot i % FA_TOP_PAST */
	struct fa_top_row *order; /* of `capacity` */
};

struct ft_error *fa_top_create(struct fa_top **ret)
{
	struct fa_top *top = calloc(1, sizeof(*top));

	if (!top)
		return &ft_enomem;
	ft_map_init(&top->by_stack);
	*ret = top;
	return NULL;
}

void fa_top_destroy(struct fa_top *top)
{
	if (!top)
		return;
	ft_map_deinit(&top->by_stack);
	free(top->sites);
	free(top->order);
	free(top);
}

/* ---- accounts ----------------------------------------------------------------------------------
 */

static struct site *site_of(struct fa_top *top, uint32_t stack)
{
	bool created;
	uint64_t *index = ft_map_put(&top->by_stack, stack, &created);

	if (!index)
		return NULL;
	if (!created)
		return &top->sites[*index];
	if (top->n_sites == top->capacity) {
		size_t capacity = top->capacity ? 2 * top->capacity : 256;
		struct site *sites = realloc(top->sites, capacity * sizeof(*sites));
		struct fa_top_row *order = realloc(top->order, capacity * sizeof(*order));

		top->sites = sites ? sites : top->sites;
		top->order = order ? order : top->order;
		if (!sites || !order) {
			ft_map_remove(&top->by_stack, stack, NULL);
			return NULL;
		}
		top->capacity = capacity;
	}
	*index = top->n_sites;
	/* What was not there in the accounts before had nothing alive. */
	top->sites[top->n_sites] = (struct site){.now.stack = stack};
	return &top->sites[top->n_sites++];
}

/* The slot of the account at hand. */
static unsigned slot_of(const struct fa_top *top)
{
	return (top->n_past - 1) % FA_TOP_PAST;
}

/* The account that the last minute is counted from: the youngest that is a minute old, or the
 * oldest. NULL: there is none but the last. */
static const struct past *minute_ago(const struct fa_top *top)
{
	unsigned oldest = top->n_past > FA_TOP_PAST ? top->n_past - FA_TOP_PAST : 0;
	const struct past *found = NULL;

	for (unsigned i = oldest; i < top->n_past; i++) {
		const struct past *past = &top->past[i % FA_TOP_PAST];

		if (past->time_ns >= top->now.time_ns)
			break;
		if (!found || top->now.time_ns - past->time_ns >= MINUTE_NS)
			found = past;
	}
	return found;
}

/* What was alive when the recording began: what is, less what it has seen come and go. */
static uint64_t at_begin(uint64_t live, uint64_t allocated, uint64_t freed)
{
	return live + freed - allocated;
}

/* A recording that is younger than a minute has the account of its beginning, too. */
static void keep_beginning(struct fa_top *top)
{
	const struct fa_top_totals *now = &top->now;

	if (top->n_past || now->time_ns <= now->begin_ns ||
	    now->time_ns - now->begin_ns > MINUTE_NS)
		return;
	top->n_past++;
	top->past[slot_of(top)] = (struct past){
		.time_ns = now->begin_ns,
		.live_bytes = at_begin(now->live_bytes, now->bytes_allocated, now->bytes_freed),
		.rss = -1};
	for (size_t i = 0; i < top->n_sites; i++) {
		struct site *site = &top->sites[i];

		site->past[slot_of(top)] = at_begin(site->now.live_bytes, site->now.bytes_allocated,
						    site->now.bytes_freed);
	}
}

/* Whether the account at hand is kept, in a slot of its own. */
static bool keep(struct fa_top *top)
{
	if (top->n_past && top->now.time_ns - top->past[slot_of(top)].time_ns < STEP_NS)
		return false;
	top->n_past++;
	top->past[slot_of(top)] = (struct past){.time_ns = top->now.time_ns,
						.live_bytes = top->now.live_bytes,
						.rss = top->now.rss};
	return true;
}

struct ft_error *fa_top_apply(struct fa_top *top, const struct fa_top_totals *totals,
			      const struct fa_top_site *sites, size_t n)
{
	bool next = !top->n_accounts || totals->time_ns > top->now.time_ns;

	if (next) {
		top->before = top->now;
		top->n_accounts++;
		for (size_t i = 0; i < top->n_sites; i++)
			top->sites[i].allocs_before = top->sites[i].now.n_allocs;
	}
	top->now = *totals;
	for (size_t i = 0; i < n; i++) {
		struct site *site = site_of(top, sites[i].stack);

		if (!site)
			return &ft_enomem;
		site->now = sites[i];
		site->account = top->n_accounts;
	}
	for (size_t i = 0; i < top->n_sites; i++)
		if (top->sites[i].account != top->n_accounts)
			top->sites[i].now.live_blocks = top->sites[i].now.live_bytes = 0;
	keep_beginning(top);
	if (next && keep(top))
		for (size_t i = 0; i < top->n_sites; i++)
			top->sites[i].past[slot_of(top)] = top->sites[i].now.live_bytes;
	return NULL;
}

/* ---- figures -----------------------------------------------------------------------------------
 */

const struct fa_top_totals *fa_top_totals(const struct fa_top *top)
{
	return &top->now;
}

size_t fa_top_n_sites(const struct fa_top *top)
{
	return top->n_sites;
}

static double per_second(uint64_t from, uint64_t to, uint64_t ns)
{
	double difference = to >= from ? (double)(to - from) : -(double)(from - to);

	return ns ? difference * 1e9 / (double)ns : 0;
}

/* The tables of a file may be behind what the collector said before. */
static double count_per_second(uint64_t from, uint64_t to, uint64_t ns)
{
	return to > from ? per_second(from, to, ns) : 0;
}

/* Nanoseconds between the two last accounts; 0: there is one. */
static uint64_t last_step(const struct fa_top *top)
{
	return top->n_accounts > 1 ? top->now.time_ns - top->before.time_ns : 0;
}

void fa_top_rates(const struct fa_top *top, struct fa_top_rates *ret)
{
	const struct past *past = minute_ago(top);
	uint64_t step = last_step(top);

	*ret = (struct fa_top_rates){
		.known = step != 0,
		.events = count_per_second(top->before.n_events, top->now.n_events, step),
		.allocs = count_per_second(top->before.n_allocs, top->now.n_allocs, step),
		.frees = count_per_second(top->before.n_frees, top->now.n_frees, step),
	};
	if (!past)
		return;

	uint64_t ns = top->now.time_ns - past->time_ns;

	ret->minute_s = (double)ns / 1e9;
	ret->live = per_second(past->live_bytes, top->now.live_bytes, ns);
	ret->rss_known = past->rss >= 0 && top->now.rss >= 0;
	if (ret->rss_known)
		ret->rss = per_second((uint64_t)past->rss, (uint64_t)top->now.rss, ns);
}

static struct fa_top_row row_of(const struct fa_top *top, const struct site *site,
				const struct past *past)
{
	struct fa_top_row row = {.site = &site->now};

	if (past)
		row.minute = per_second(site->past[past - top->past], site->now.live_bytes,
					top->now.time_ns - past->time_ns);
	if (top->now.time_ns > top->now.begin_ns)
		row.start = per_second(site->now.bytes_freed, site->now.bytes_allocated,
				       top->now.time_ns - top->now.begin_ns);
	row.allocs = count_per_second(site->allocs_before, site->now.n_allocs, last_step(top));
	return row;
}

size_t fa_top_n_growing(const struct fa_top *top)
{
	const struct past *past = minute_ago(top);
	size_t n = 0;

	for (size_t i = 0; past && i < top->n_sites; i++)
		n += top->sites[i].now.live_bytes > top->sites[i].past[past - top->past];
	return n;
}

/* ---- order -------------------------------------------------------------------------------------
 */

static double figure(const struct fa_top_row *row, enum fa_top_sort sort)
{
	switch (sort) {
	case FA_TOP_BLOCKS:
		return (double)row->site->live_blocks;
	case FA_TOP_MINUTE:
		return row->minute;
	case FA_TOP_START:
		return row->start;
	case FA_TOP_ALLOCS:
		return row->allocs;
	default:
		return (double)row->site->live_bytes;
	}
}

static bool is_idle(const struct fa_top_row *row)
{
	return !row->site->live_bytes && !row->site->live_blocks && row->minute == 0 &&
	       row->allocs == 0;
}

struct order {
	enum fa_top_sort sort;
	bool ascending;
};

static int compare(const void *a, const void *b, void *ctx)
{
	const struct fa_top_row *x = a, *y = b;
	const struct order *order = ctx;
	double left = figure(x, order->sort), right = figure(y, order->sort);

	if (is_idle(x) != is_idle(y))
		return is_idle(x) ? 1 : -1;
	if (left != right)
		return (left > right) == order->ascending ? 1 : -1;
	if (x->site->live_bytes != y->site->live_bytes)
		return x->site->live_bytes > y->site->live_bytes ? -1 : 1;
	return x->site->stack < y->site->stack ? -1 : x->site->stack > y->site->stack;
}

size_t fa_top_rank(struct fa_top *top, enum fa_top_sort sort, bool ascending, fa_top_accept *accept,
		   void *ctx, size_t skip, struct fa_top_row *rows, size_t max)
{
	const struct past *past = minute_ago(top);
	struct order order = {sort, ascending};
	size_t n = 0;

	for (size_t i = 0; i < top->n_sites; i++)
		top->order[i] = row_of(top, &top->sites[i], past);
	if (top->n_sites)
		qsort_r(top->order, top->n_sites, sizeof(*top->order), compare, &order);
	for (size_t i = 0; i < top->n_sites && n < max; i++) {
		if (accept && !accept(ctx, &top->order[i]))
			continue;
		if (skip)
			skip--;
		else
			rows[n++] = top->order[i];
	}
	return n;
}

/* SPDX-License-Identifier: MIT */
/*
 * What `top` knows: the last account of a recording, and how it came there
 *
 * Pure: it is fed one account after another and asked for rates and for rows in an order. Accounts
 * have totals and a figure or two a site, never blocks: the memory is about 300 bytes a site,
 * however many blocks live. Growth "over the last minute" is that since the account about a minute
 * ago, for which every fifth second's is kept; on a shorter acquaintance, since the first, and of a
 * younger recording since it began.
 */
#ifndef FA_TOP_H
#define FA_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_error.h"

enum {
	FA_TOP_PAST = 14, /* accounts that are kept, */
	FA_TOP_STEP_S = 5 /* at least so far apart: the oldest is a minute old, and not much more */
};

/* -1 where it is not known. Counts are those of the recording. */
struct fa_top_totals {
	uint64_t begin_ns, time_ns;
	uint64_t n_events, n_lost;
	uint64_t n_allocs, n_frees, bytes_allocated, bytes_freed;
	uint64_t live_blocks, live_bytes, usable_bytes, peak_bytes;
	int64_t rss, swap, tracer;
};

struct fa_top_site {
	uint32_t stack; /* 0: events without a stack */
	uint64_t n_allocs, n_frees, bytes_allocated, bytes_freed;
	uint64_t live_blocks, live_bytes, peak_bytes;
};

struct fa_top_rates {
	bool known;		      /* there were two accounts */
	double events, allocs, frees; /* a second, since the account before */
	/* Growth in bytes a second over the last minute. */
	double live, rss;
	double minute_s; /* how long that is; 0: one account is not enough */
	bool rss_known;
};

struct fa_top_row {
	const struct fa_top_site *site; /* until the next account */
	double minute; /* growth in bytes a second; meaningless while fa_top_rates.minute_s is 0 */
	double start;  /* growth since the recording began */
	double allocs; /* allocations a second since the account before */
};

/* Largest first; equal ones by live bytes, then by stack. */
enum fa_top_sort {
	FA_TOP_LIVE,
	FA_TOP_BLOCKS,
	FA_TOP_MINUTE,
	FA_TOP_START,
	FA_TOP_ALLOCS,
	FA_TOP_N_SORTS
};

struct fa_top;

struct ft_error *fa_top_create(struct fa_top **ret);
void fa_top_destroy(struct fa_top *top); /* NULL is fine */

/* The next account. One that is not younger than the last replaces it and begins no new rate. Each
 * stack comes at most once; sites that are not among `sites` have gone. */
struct ft_error *fa_top_apply(struct fa_top *top, const struct fa_top_totals *totals,
			      const struct fa_top_site *sites, size_t n);

const struct fa_top_totals *fa_top_totals(const struct fa_top *top);
void fa_top_rates(const struct fa_top *top, struct fa_top_rates *ret);
size_t fa_top_n_sites(const struct fa_top *top);
/* Sites that grow over the last minute. */
size_t fa_top_n_growing(const struct fa_top *top);

/* Whether a site is shown; NULL: all. Sites are asked for in the order of the rows. */
typedef bool fa_top_accept(void *ctx, const struct fa_top_row *row);

/* Rows `skip`, `skip` + 1 ... of those that are accepted, at most `max`; sites that have nothing
 * alive and do nothing come last, whatever the order. Returns how many were written. */
size_t fa_top_rank(struct fa_top *top, enum fa_top_sort sort, bool ascending, fa_top_accept *accept,
		   void *ctx, size_t skip, struct fa_top_row *rows, size_t max);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Who mapped which addresses: ranges that do not overlap, each with its site
 *
 * An array in descending order of addresses, because the kernel maps downwards: what is new mostly
 * goes to its end. Finding is a binary search, a change costs what lies below it. Neighbours of one
 * site are joined when room runs short. 32 bytes a range, at most CO_RANGES_MAX of them.
 *
 * `born` is the stamp of a range's birth. A call that unmaps is known only after it has returned,
 * when its place may be another thread's already: it takes what was born before it began.
 */
#ifndef CO_RANGES_H
#define CO_RANGES_H

#include <stdbool.h>
#include <stdint.h>

enum { CO_RANGES_MAX = 1 << 20 };

struct co_range {
	uint64_t start, end, born;
	uint32_t site;
};

/* What a site has has changed, by so many bytes and ranges. */
typedef void co_ranges_fn(void *ctx, uint32_t site, int64_t bytes, int32_t n_ranges);

struct co_ranges {
	struct co_range *list;
	uint32_t n, capacity;
	co_ranges_fn *changed;
	void *ctx;
	uint64_t n_left_out; /* ranges that there was no room for */
	uint64_t settled;    /* ranges born before this may be joined: set by the owner */
};

void co_ranges_deinit(struct co_ranges *ranges);

/* [start, end) is the site's from now on, but for what was born after it. */
void co_ranges_add(struct co_ranges *ranges, const struct co_range *range);

/* Nobody has [start, end) any more, as far as it was born up to `born`. */
void co_ranges_cut(struct co_ranges *ranges, uint64_t start, uint64_t end, uint64_t born);

/*
 * What was born up to `early` in the first `bytes` of [old, old + old_bytes) is at `to` from now
 * on, and none of the rest is left. What [to, to + bytes) has besides is `site`'s, but what was not
 * known of a place that stays where it was: there may be holes. Returns how many bytes that is.
 * `born` is the stamp of the new ranges.
 */
uint64_t co_ranges_move(struct co_ranges *ranges, uint64_t old, uint64_t old_bytes, uint64_t early,
			uint64_t to, uint64_t bytes, uint64_t born, uint32_t site);

#endif

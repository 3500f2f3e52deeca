/* SPDX-License-Identifier: MIT */
/*
 * Roll-ups: what an interval of a recording did, without its events
 *
 * A recording that is kept within a budget loses its oldest events. For each interval of them it
 * keeps what each call stack and each thread did, and how the whole heap stood: enough for totals,
 * timelines, growth and traffic between threads; not for the places of blocks. FORMAT.md 6.
 */
#ifndef FRAGTRACE_ROLLUP_H
#define FRAGTRACE_ROLLUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What an account counts, in the order of the columns. In a sampled recording blocks and bytes are
 * the estimates that the analyzer makes of each block; otherwise variances and samples are 0. */
enum ft_rollup_field {
	FT_ROLLUP_BORN_BLOCKS, /* a realloc is a death and a birth */
	FT_ROLLUP_BORN_BYTES,
	FT_ROLLUP_FREED_BLOCKS, /* of this account's blocks, by whomever */
	FT_ROLLUP_FREED_BYTES,
	FT_ROLLUP_LIVE_BLOCKS, /* at the end of the interval */
	FT_ROLLUP_LIVE_BYTES,
	FT_ROLLUP_LOW_BYTES,   /* lowest live bytes, from the start of the interval on */
	FT_ROLLUP_PEAK_BLOCKS, /* live when the whole heap was at its highest in the interval */
	FT_ROLLUP_PEAK_BYTES,
	FT_ROLLUP_TEMPORARY, /* freed by their own thread before it allocated anything else */
	FT_ROLLUP_TEMPORARY_BYTES,
	FT_ROLLUP_BORN_VARIANCE,
	FT_ROLLUP_FREED_VARIANCE,
	FT_ROLLUP_PEAK_VARIANCE,
	FT_ROLLUP_SAMPLES,
	FT_ROLLUP_FIELDS
};

/* Freed in the interval, and born before it: by time of birth. A realloc is no such death. */
struct ft_rollup_cohort {
	uint64_t birth; /* born at [birth << cohort_shift, (birth + 1) << cohort_shift) */
	uint64_t blocks, bytes;
};

/* A call stack or a thread that did something in the interval. */
struct ft_rollup_account {
	uint32_t id;
	uint32_t first_cohort, n_cohorts; /* in the list beside it; oldest first */
	uint64_t value[FT_ROLLUP_FIELDS];
};

struct ft_rollup_accounts {
	struct ft_rollup_account *accounts; /* by id */
	struct ft_rollup_cohort *cohorts;
	uint32_t n, n_cohorts;
};

/* Bytes that one thread allocated and another one freed (a realloc frees its old block). */
struct ft_rollup_pair {
	uint32_t owner, freer;
	uint64_t bytes;
};

/*
 * The largest births: of blocks that were allocated, or made larger by a realloc, by requested
 * bytes.
 *
 *   births[i].size >= births[i + 1].size; of equal ones the earlier is first
 *   births[i].size > births[i].old_size for i < n; all zero from n on
 */
enum { FT_LARGEST = 16 };

struct ft_birth {
	uint64_t seq, time_ns; /* of the event */
	uint64_t size;	       /* requested; in a sampled recording, too */
	uint64_t old_size;     /* of the block that the realloc took; 0: none, or it was not seen */
	uint32_t stack, thread;
	uint8_t api; /* enum ft_api */
};

struct ft_largest {
	struct ft_birth births[FT_LARGEST];
	uint32_t n;
	bool unknown; /* nobody kept them: an earlier writer's roll-up, or made of one */
};

/* Whether a birth of so many bytes is one of the largest. */
static inline bool ft_largest_wants(const struct ft_largest *largest, uint64_t size)
{
	return size > largest->births[FT_LARGEST - 1].size;
}

/* Put it in its place, where ft_largest_wants() it. Equal ones come in the order of their events.
 */
static inline void ft_largest_add(struct ft_largest *largest, const struct ft_birth *birth)
{
	uint32_t at = largest->n < FT_LARGEST ? largest->n++ : FT_LARGEST - 1;

	for (; at && largest->births[at - 1].size < birth->size; at--)
		largest->births[at] = largest->births[at - 1];
	largest->births[at] = *birth;
}

/* Those of what came after it, too. */
static inline void ft_largest_join(struct ft_largest *largest, const struct ft_largest *next)
{
	for (uint32_t i = 0; i < next->n && ft_largest_wants(largest, next->births[i].size); i++)
		ft_largest_add(largest, &next->births[i]);
	largest->unknown |= next->unknown;
}

struct ft_rollup {
	uint32_t level; /* how often it was merged */
	uint32_t cohort_shift;
	uint64_t first_ns, last_ns; /* (first_ns, last_ns] */
	uint64_t first_seq, n_events;
	/* The whole heap: within the interval, */
	uint64_t n_allocs, n_frees, bytes_allocated, bytes_freed;
	uint64_t n_unknown_frees, n_overlaps;
	uint64_t low_bytes, peak_bytes, peak_ns, peak_seq, peak_variance, allocated_variance;
	/* and at its end. */
	uint64_t live_blocks, live_bytes, live_usable, live_variance;

	struct ft_rollup_accounts sites, threads;
	struct ft_rollup_pair *pairs; /* by owner, then freer */
	uint32_t n_pairs;
	struct ft_largest largest;
};

/* The middle of a cohort's births. */
static inline uint64_t ft_rollup_birth_ns(const struct ft_rollup *rollup,
					  const struct ft_rollup_cohort *cohort)
{
	return (cohort->birth << rollup->cohort_shift) +
	       ((UINT64_C(1) << rollup->cohort_shift) >> 1);
}

/*
 * Pages: the layout of the heap at a moment. Figures are those of `fraganalyze frag` for a window
 * that ends there, all resident: what a page map of 4 KiB pages says of pages with live bytes, and
 * of the holes between blocks.
 */
enum {
	FT_PAGES_OCCUPANCY = 11, /* live pages by decile of use; [0] stays 0 */
	FT_PAGES_ORDERS = 11,	 /* free pages in holes, as naturally aligned blocks of 2^i pages */
	FT_PAGES_HOLES = 48,	 /* holes of [2^i, 2^(i+1)) bytes */
	FT_PAGES_PINS = 32,	 /* sites: those with the largest shares */
};

/* A site's part of the pinned bytes: of pages that it holds alone, its fair share of all, and of
 * all that it holds a part of. */
struct ft_page_pin {
	uint32_t site; /* call stack */
	uint64_t sole, shapley, any;
};

struct ft_page_rollup {
	uint64_t time_ns, seq; /* after the events below `seq`, the last of them at `time_ns` */
	uint64_t page_bytes;
	uint64_t n_blocks, live_bytes, usable_bytes; /* of the blocks that have a place */
	uint64_t n_pages;			     /* with live bytes */
	uint64_t n_free_pages;			     /* whole ones in holes */
	uint64_t pinned_bytes;			     /* free bytes on pages with live bytes */
	uint64_t n_holes, hole_bytes, largest_hole;
	uint64_t trim_pages;			/* whole pages that each hole could give back */
	uint64_t n_huge_pages, huge_live_bytes; /* stretches of 2 MiB with live bytes */
	uint64_t occupancy[FT_PAGES_OCCUPANCY];
	uint64_t orders[FT_PAGES_ORDERS];
	uint64_t holes[FT_PAGES_HOLES], holes_bytes[FT_PAGES_HOLES];
	uint32_t n_pins;
	struct ft_page_pin pins[FT_PAGES_PINS]; /* by shapley, largest first */
};

#ifdef __cplusplus
}
#endif
#endif

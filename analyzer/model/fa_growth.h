/* SPDX-License-Identifier: MIT */
/*
 * Growth: a verdict on what one site, group of sites or thread holds
 *
 * The tests are in fa_trend.h; this is how they are put together. They look at the working life:
 *the window up to the program's teardown. Two spans of it are judged, its last 80 % and its last 35
 *% (leaks that start late). In each span the survivors' births are counted in 8 windows, the
 *youngest quarter of the span left out, because what is that young may still be freed.
 *
 * Beside trend and survivors there is a third fact, which separates a leak from a population that
 * lives long: of the blocks that reached the age of the older four windows, how many were freed
 * after all. Of a leak none are. A cache whose entries live as long as the run loses a share of
 *them that is computed from its life times: with exponential life times of mean T in a run of
 *length T, 14 %; of T/2, 25 %.
 *
 * And survivors are compared with the program's activity: a leak keeps its pace, a cache that fills
 * slows down.
 *
 *	growing   cohorts, old blocks are not freed, and a trend; or, in place of the trend, next to
 *		  nothing that reached that age was ever freed; or a trend of one or two blocks
 *	suspect   a trend without cohorts, or cohorts without trend and with some old blocks freed
 *	unsure    the run is too short for the site: old blocks are freed at a rate that will end
 *the growth; it has held as much before and let go of it; it began too late; a loss plateau,
 *sawtooth, churn, never_freed, freed: no growth; see FORMAT.md
 *
 * A sampled recording has one more way to be unsure. The tests tell growth from churn by parts of
 * the bytes: where the standard error of all of them is more than an eighth (of small blocks: fewer
 * than 64 samples), the noise is as large as what they look for; and what grew by less than three
 * standard errors may not have grown.
 *
 * Pure functions, no allocation.
 */
#ifndef FA_GROWTH_H
#define FA_GROWTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fa_track.h"
#include "fa_trend.h"

enum { FA_GROWTH_SPANS = 2 };

enum fa_verdict {
	FA_GROWING,
	FA_SUSPECT,
	FA_PLATEAU,
	FA_SAWTOOTH,
	FA_CHURN,
	FA_NEVER_FREED,
	FA_FREED,
	FA_UNSURE
};
const char *fa_verdict_name(enum fa_verdict verdict); /* "growing", ..., "never_freed", ... */

/* Why; `value` of the result belongs to some of them. */
enum fa_reason {
	FA_WHY_BOTH_TESTS,	/* growing: survivors and trend */
	FA_WHY_NEVER_RELEASED,	/* growing: survivors, and none that old was ever freed */
	FA_WHY_FEW_BLOCKS,	/* growing: a trend of one or two blocks */
	FA_WHY_ONLY_TREND,	/* suspect */
	FA_WHY_ONLY_SURVIVORS,	/* suspect */
	FA_WHY_SURVIVORS_OLD,	/* plateau: survivors only from the first `value` % of the run */
	FA_WHY_SURVIVORS_YOUNG, /* plateau: survivors only from the last `value` % of the run */
	FA_WHY_STOPPED,		/* plateau: grew until `value` % of the run, then no more */
	FA_WHY_LEVEL,		/* plateau: the level holds */
	FA_WHY_TEETH,		/* sawtooth: fell back `value` times */
	FA_WHY_TURNOVER,	/* churn: allocated `value` times what it ever held */
	FA_WHY_NO_FREE,		/* never_freed */
	FA_WHY_ALL_FREED,	/* freed */
	FA_WHY_SHORT_RUN,	/* unsure: for any site of this run */
	FA_WHY_LOSS,		/* unsure: the frees may be in a loss of events */
	FA_WHY_FELL_BEFORE,	/* unsure: it has held as much before, and let go of it */
	FA_WHY_LONG_LIVED,	/* unsure: `value` % of what got old was freed after all */
	FA_WHY_SLOWING,		/* plateau or unsure: it fills ever more slowly, as caches do */
	FA_WHY_LATE,		/* unsure: it began after `value` % of the run */
	FA_WHY_FEW_SAMPLES,	/* unsure: of a sampled recording, and too few of it */
};
const char *fa_reason_name(enum fa_reason reason);

/* Survivors of a span by birth, oldest window first, and what got as old but was freed. */
struct fa_cohorts {
	uint64_t bytes[FA_TREND_COHORTS], blocks[FA_TREND_COHORTS];
	/* Bytes born in the windows and freed, within the working life, at an age of at least the
	 * youngest of them; and those born in the older half freed at the age of that half. */
	uint64_t freed_bytes, freed_old_bytes;
};

/* The window that is judged, and where the working life ends in it. */
struct fa_life {
	uint64_t from_ns, to_ns, end_ns;
	uint64_t min_freed_age_ns; /* frees of younger blocks say nothing: fa_life_freed() */
	double window_s, life_s;
	size_t n_steps; /* of FA_TRACK_STEPS in the working life */
	bool too_short;
};
void fa_life_init(struct fa_life *life, uint64_t from_ns, uint64_t to_ns, uint64_t end_ns);
uint64_t fa_life_step_end(const struct fa_life *life, uint32_t step); /* UINT64_MAX past the last */
/* Count a block that is live at the end of the working life. */
void fa_life_survivor(const struct fa_life *life, uint64_t born_ns, uint64_t bytes, uint64_t blocks,
		      struct fa_cohorts cohorts[FA_GROWTH_SPANS], uint64_t births[FA_TRACK_STEPS]);
/* Count a block that was freed, at an age of min_freed_age_ns at least. */
void fa_life_freed(const struct fa_life *life, uint64_t born_ns, uint64_t died_ns, uint64_t bytes,
		   struct fa_cohorts cohorts[FA_GROWTH_SPANS]);

struct fa_evidence {
	uint64_t low[FA_TRACK_STEPS], end[FA_TRACK_STEPS]; /* live bytes on steps of the window */
	size_t n_life;					   /* of them in the working life */
	double window_s, life_s;			   /* seconds */
	struct fa_cohorts cohorts[FA_GROWTH_SPANS];
	/* Survivors' bytes by step of birth; the program's allocations by step: when it rests, the
	 * site may rest, too. */
	uint64_t births[FA_TRACK_STEPS];
	uint64_t activity[FA_TRACK_STEPS];
	uint64_t blocks, bytes, doubtful_bytes; /* live at the end of the working life */
	/* of the whole window */
	uint64_t allocations, frees, bytes_allocated, end_blocks;
	bool too_short; /* struct fa_life */
	/* Of a sampled recording: its rate, and the variances of `bytes` and `bytes_allocated` in
	 * bytes^2; 0: exact. */
	double sample_bytes, variance, allocated_variance;
};

struct fa_growth {
	enum fa_verdict verdict;
	enum fa_reason reason;
	double value; /* of the reason */
	bool has_rate;
	double rate, rate_low, rate_high; /* bytes a second, 80 % interval */
	bool has_block_rate;
	double block_rate;	     /* blocks a second */
	double from_share, to_share; /* of the working life: where they were measured */
	double growth;		     /* bytes within that stretch */
	bool has_resolvable;
	double resolvable; /* the smallest rate, bytes a second, that would have made it `growing`
			    */
};

/* Add the evidence of another site of the same window: that of a group. */
void fa_evidence_add(struct fa_evidence *sum, const struct fa_evidence *part);

void fa_growth_judge(const struct fa_evidence *evidence, struct fa_growth *ret);

#endif

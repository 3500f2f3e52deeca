/* SPDX-License-Identifier: MIT */
/*
 * Leaks: what the files of this pass share
 *
 *	leaks.c		gathers while the heap is replayed: series, survivors, what was freed late
 *	leaks_judge.c	a verdict for each site and for the process; which rows are listed
 *	leaks_group.c	what grows, by the narrowest caller that explains it
 *	leaks_emit.c	findings and the section of the document
 */
#ifndef LEAKS_IMPL_H
#define LEAKS_IMPL_H

#include "fa_engine.h"
#include "fa_growth.h"
#include "fa_track.h"
#include "ft_arena.h"
#include "ft_map.h"

enum { LEAKS_STEPS = FA_TRACK_STEPS, LEAKS_MAX_GROUPS = 64, LEAKS_MAX_GROUP_SITES = 64 };

/* What was freed at an age at which cohorts are counted: fa_life_freed(). */
struct leak_freed {
	uint64_t bytes[FA_GROWTH_SPANS], old_bytes[FA_GROWTH_SPANS];
};

/* What the survivors of a site look like; all but the last line as of the end of the working life.
 */
struct survivors {
	uint32_t stack;
	struct fa_cohorts cohorts[FA_GROWTH_SPANS]; /* without what was freed */
	uint64_t births[LEAKS_STEPS];		    /* bytes by step of birth */
	uint64_t blocks, bytes;
	uint64_t doubtful_bytes;    /* of them: a loss may hold their free */
	uint64_t variance;	    /* of them, in a sampled recording: fa_engine_error() */
	uint64_t first_ns, last_ns; /* births of what is live at the end */
	uint32_t threads;	    /* that allocated it */
	bool suppressed;	    /* by the user: in no row and in no group */
};

struct leak_row {
	uint32_t stack;
	uint32_t group; /* index + 1, or 0 */
	bool system;
	struct fa_growth growth;
	double score;
	struct fa_site site;
	struct survivors *survivors;
};

/* Sites that a caller answers for. */
struct leak_group {
	uint32_t stack;	  /* the site of it that grows most */
	const char *name; /* of the caller; owned by the engine */
	size_t depth; /* of the caller among the user's frames of `stack`; 0: it allocates itself */
	struct fa_growth growth;
	uint64_t bytes, blocks; /* live at the end */
	uint32_t *stacks;	/* most growth first, in the arena; n_sites, at most 64 are kept */
	size_t n_sites, n_stacks;
};

struct leaks_mark {
	uint64_t time_ns, n; /* n: operations */
};

struct leaks {
	struct ft_arena arena;
	struct fa_track *tracks;  /* by stack */
	struct leak_freed *freed; /* by stack */
	struct fa_track heap;	  /* of all sites together */
	const struct fa_totals *totals;
	uint64_t activity[LEAKS_STEPS], activity_seen; /* allocations in each step, and so far */
	uint32_t step;
	uint64_t next_step_ns;
	struct fa_life life;
	bool surveyed;
	uint64_t doubtful_before_ns; /* blocks born before may have died in a loss */

	struct survivors *survivors;
	size_t n_survivors, survivors_capacity;
	struct ft_map by_stack; /* stack -> index in survivors */

	struct leak_row *rows; /* listed */
	size_t n_rows, n_all;
	uint64_t *series; /* n_rows x STEPS */
	uint64_t n_other, other_bytes, other_blocks;

	struct leak_group groups[LEAKS_MAX_GROUPS]; /* most growth first */
	size_t n_groups;

	/* Operations: marks of one label. */
	const char *mark_label;	  /* NULL: none; in the arena */
	struct leaks_mark *marks; /* in order */
	size_t n_marks;
	uint64_t n_operations;

	/* The process. */
	const char *process_verdict;
	double resolvable;
	bool has_resolvable;
	double rate, rate_low, rate_high; /* of all that is growing, bytes a second */
	uint64_t limit_bytes;		  /* 0: none known */
	const char *limit_source;	  /* "option", "cgroup" */
	uint64_t rss_bytes;
	bool has_rss, has_time_left;
	uint64_t not_before_ns; /* from the end of the window */
	double per_live;	/* resident bytes a live byte */
};

/* leaks_judge.c */
void leaks_evidence(const struct leaks *l, const struct fa_engine *engine, uint32_t stack,
		    struct fa_evidence *ret);
struct ft_error *leaks_judge(struct leaks *l, struct fa_engine *engine);
bool leaks_is_hot(const struct fa_growth *growth); /* growing or suspect */
struct ft_error *leaks_limit(struct leaks *l, struct fa_engine *engine);
/* Marks within the stretch in which a rate was measured, and its length; 0: none. */
size_t leaks_operations(const struct leaks *l, const struct fa_growth *growth, double *seconds);

/* leaks_group.c; fills `groups` and the `group` of rows. */
struct ft_error *leaks_group(struct leaks *l, struct fa_engine *engine);

/* leaks_emit.c */
struct ft_error *leaks_find(struct leaks *l, struct fa_engine *engine);
struct ft_error *leaks_emit(const struct fa_pass *pass, struct fa_doc *doc);

#endif

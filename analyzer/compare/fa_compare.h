/* SPDX-License-Identifier: MIT */
/*
 * Comparing two recordings
 *
 * Two runs, or two builds, of one program have other stack ids, other addresses and other lines.
 * What they share is the row of functions: a site is known by its normal stack, a frame by its
 * module (without a version; the program itself is "the program" whatever its file is called) and
 * its function (without the suffixes of clones). A frame without a name is its offset where both
 * sides have the same build of the module, else only its module. What repeats itself is one frame,
 * so that the depth of a recursion makes no difference, and the C library's frames below main are
 * left out. All sites of a side with the same normal stack are one.
 */
#ifndef FA_COMPARE_H
#define FA_COMPARE_H

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_json_read.h"

/* One side: an engine that has run with the pass `leaks`, and that section of its document. */
struct fa_side {
	struct fa_engine *engine;
	const struct fa_value *summary, *leaks;
};

/* What a site does on one side. */
struct fa_figures {
	bool present;
	uint32_t stack;	      /* one that stands for them: the one with the most allocated bytes, */
	uint64_t stack_bytes; /* which are so many */
	uint32_t n_sites;     /* stacks of the recording that are this site */
	uint64_t live_bytes, live_blocks, peak_bytes, allocated_bytes, allocations;
	bool growing, suspect;		  /* any of them */
	double rate, rate_low, rate_high; /* sums over those that are growing or suspect */
	double per_operation;		  /* likewise; bytes */
};

struct fa_difference {
	uint64_t key;
	struct fa_figures a, b;
	double weight; /* bytes: what it makes of a difference, for sorting */
};

/* A module of both sides that is not the same build. */
struct fa_rebuilt {
	const char *module;	       /* base name, of side b */
	const char *build_a, *build_b; /* build ids; NULL: it has none */
};

struct fa_comparison {
	struct fa_difference *rows; /* owned; most weight first */
	size_t n_rows;
	bool per_operation; /* both sides have operations of the same label */
	bool same_program;  /* the same file name */
	struct fa_rebuilt *rebuilt;
	size_t n_rebuilt;
	struct ft_arena arena; /* of `rebuilt` and its texts */
	uint64_t *keys_of_b;   /* owned; by stack of side b, 0: not a site */
	size_t n_stacks_of_b;
};

struct ft_error *fa_compare(const struct fa_side *a, const struct fa_side *b,
			    struct fa_comparison *ret);
void fa_comparison_deinit(struct fa_comparison *comparison);

/* The row that a site of side b went into, or NULL. */
const struct fa_difference *fa_comparison_find(const struct fa_comparison *comparison,
					       uint64_t stack_of_b);

/* "new", "gone", "changed", "same" */
const char *fa_difference_status(const struct fa_difference *difference);

/* Write section `diff`, at most `max` rows; the rest is added up. */
void fa_comparison_emit(const struct fa_comparison *comparison, const struct fa_side *a,
			const struct fa_side *b, size_t max, struct fa_doc *doc);

/* Columns `diff.a_...`: the series of side a, to be drawn against those that `doc`, the document of
 * side b, has itself. The pass `timeline` must have run for `of_a`. */
void fa_comparison_emit_series(const struct fa_doc *of_a, struct fa_doc *doc);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Threads: what the files of this pass share
 *
 *	threads.c	rows, and what is counted while the heap is replayed
 *	threads_arena.c	glibc's arenas
 *	threads_emit.c	the section of the document
 */
#ifndef THREADS_IMPL_H
#define THREADS_IMPL_H

#include "fa_engine.h"
#include "fa_growth.h"
#include "ft_arena.h"
#include "ft_map.h"

enum {
	THREADS_SERIES = 128,
	THREADS_ROWS = 512,  /* gathered; what does not fit shares the last one */
	THREADS_LISTED = 64, /* written, and one for the rest */
	THREADS_FOLD = 8,    /* more ended threads than that of one kind are one row */
	THREADS_MATRIX = 16,
	THREADS_ARENAS = 4096,
	THREADS_ARENAS_LISTED = 16,
};

/* A thread, or threads that have ended and were alike. */
struct thread_row {
	uint32_t id; /* of the (first) thread */
	uint32_t n_threads;
	bool folded, other;
	const char *name; /* digits of folded ones are '#'; in the arena */
	uint64_t allocated_bytes, allocations;
	uint64_t live_bytes, live_blocks;
	uint64_t live_variance, allocated_variance;
	uint64_t freed_by_others_bytes;
	uint64_t freed_own_bytes; /* of its own blocks */
	uint64_t freed_bytes;	  /* of anybody's */
	struct fa_track track;
	struct fa_cohorts cohorts[FA_GROWTH_SPANS];
	uint64_t births[FA_TRACK_STEPS];
	uint64_t survivor_blocks, survivor_bytes; /* at the end of the working life */
	struct fa_growth growth;
};

/*
 * One piece of 64 MiB that malloc's arenas are made of, aligned to its size (heap_info in glibc's
 * malloc/arena.c); all of the main arena is one.
 */
struct thread_arena {
	uint64_t base;			 /* 0: the main arena */
	uint64_t low, high;		 /* what was handed out of it */
	uint64_t live_bytes, peak_bytes; /* with headers */
	struct fa_track track;
	bool grows;
};

struct threads {
	struct ft_arena arena;
	uint32_t *row_of; /* by thread id */
	size_t n_threads;
	struct thread_row *rows;
	size_t n_rows;
	uint64_t *series;		 /* by row, then step */
	size_t n_filled;		 /* steps of the series that are there */
	struct ft_map foreign;		 /* allocating row << 32 | freeing row -> bytes */
	uint64_t last_pair, *last_bytes; /* the latest entry of `foreign`: pairs come in runs */
	bool estimated, surveyed;
	struct fa_life life;
	uint32_t step, first_step; /* now; in which tracks begin: 0 or FA_TRACK_IDLE */
	uint64_t next_step_ns;

	bool has_arenas;
	struct thread_arena *arenas;
	size_t n_arenas, arenas_capacity;
	struct ft_map by_base;
	uint64_t last_base;
	size_t last_arena;
	uint64_t imbalance_bytes; /* free in arenas that do not grow while another does */

	uint32_t listed[THREADS_LISTED + 1]; /* rows in the order written */
	size_t n_listed;
};

/* threads_arena.c */
struct ft_error *threads_arena_step(struct threads *t, const struct fa_engine *engine,
				    const struct fa_step *step);
/* What lives is there already, and did not come now. */
void threads_arena_begin(struct threads *t);
struct ft_error *threads_arena_join(struct threads *t, const struct threads *before);
struct ft_error *threads_arena_finish(struct threads *t, struct fa_engine *engine);
void threads_arena_emit(const struct threads *t, struct fa_json *json);

/* threads_emit.c */
struct ft_error *threads_emit(const struct fa_pass *pass, struct fa_doc *doc);

#endif

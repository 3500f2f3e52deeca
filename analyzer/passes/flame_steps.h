/* SPDX-License-Identifier: MIT */
/*
 * Steps of the flame graph: what each stack did in equal steps of the window
 *
 * So that a range of time has a flame graph of its own. At the end of a step all sites are asked
 * for; steps cost nothing per event. Memory is bounded: where many stacks are at work steps are
 * joined, two by two, so that rows times steps stay within FLAME_CELLS as long as there are
 * FLAME_STEPS_LEAST.
 */
#ifndef FLAME_STEPS_H
#define FLAME_STEPS_H

#include <stddef.h>
#include <stdint.h>

#include "ft_error.h"

enum {
	FLAME_STEPS = 64,      /* a power of two */
	FLAME_STEPS_LEAST = 8, /* whatever the number of stacks */
	FLAME_CELLS = 1 << 20, /* of 24 bytes */
};

enum flame_step_kind {
	FLAME_LIVE,	 /* bytes at the end of the step */
	FLAME_ALLOCATED, /* bytes within it */
	FLAME_COUNT,	 /* allocations within it */
	FLAME_N_KINDS
};

struct fa_engine;

struct flame_steps {
	unsigned n_ticks;	       /* of the engine */
	unsigned taken;		       /* of FLAME_STEPS */
	unsigned shift;		       /* so many times were steps joined */
	size_t n;		       /* steps that there are now */
	uint64_t time_ns[FLAME_STEPS]; /* their ends */
	size_t n_stacks, n_rows;
	uint32_t *row_of; /* by stack: its row + 1; 0: it has done nothing */
	/* Row by row, FLAME_STEPS >> shift of them; and what each row had at the end of the step
	 * before (FLAME_LIVE is not used). */
	uint64_t *cells[FLAME_N_KINDS], *before[FLAME_N_KINDS];
	size_t row_room;
};

struct ft_error *flame_steps_init(struct flame_steps *steps, const struct fa_engine *engine);
/* To be called at each tick of the engine. */
struct ft_error *flame_steps_tick(struct flame_steps *steps, const struct fa_engine *engine,
				  uint32_t tick, uint64_t time_ns);
/* The `n` steps of one stack; NULL: it did nothing. */
const uint64_t *flame_steps_of(const struct flame_steps *steps, size_t stack,
			       enum flame_step_kind kind);
void flame_steps_deinit(struct flame_steps *steps);

#endif

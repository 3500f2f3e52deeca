/* SPDX-License-Identifier: MIT */
/*
 * Soak programs with known truth, on a virtual clock
 *
 * A scenario is a list of actors: call sites that allocate in a way of their own. The world plays
 * them against one clock and writes what a recorder would have written, so that days pass in
 * seconds. It counts what it leaks: the truth is what happened, not what was meant.
 */
#ifndef SOAK_H
#define SOAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum soak_kind {
	SOAK_FLOW,   /* blocks come at `period`, in bursts, and live as `life` says */
	SOAK_LRU,    /* a cache of `capacity` entries: the oldest, or a random one, goes */
	SOAK_FILL,   /* a cache of `capacity` keys that is asked for random keys: misses allocate */
	SOAK_SAW,    /* gathers `capacity` blocks, then drops all */
	SOAK_BUFFER, /* one block that realloc grows by `size` at each turn */
	SOAK_DOUBLE, /* one table, rebuilt at twice the size as it fills; `capacity`: entries at
			most */
	SOAK_STEADY, /* one block that realloc moves without growing */
	SOAK_ONCE,   /* `capacity` blocks at `from`, kept */
	SOAK_THREADS, /* a thread each turn: works, frees, and with `keep` leaves a block behind */
	SOAK_INHERIT, /* frees blocks that only the parent process has allocated */
	SOAK_OPERATE, /* a mark at each turn, then as SOAK_FLOW */
};

enum soak_life { SOAK_EVER, SOAK_EXP, SOAK_PARETO, SOAK_UNIFORM };

struct soak_actor {
	const char *path; /* "main>loop>handler>function", outermost first */
	enum soak_kind kind;
	bool regular;	       /* turns come by the clock, a tenth early or late */
	double period;	       /* seconds between turns, mean of an exponential */
	uint32_t burst;	       /* blocks a turn; 0: 1 */
	uint64_t size, spread; /* size + 0..spread */
	enum soak_life life;
	double life_s;	 /* mean (exp), least (Pareto), greatest (uniform) */
	double alpha;	 /* Pareto */
	double keep;	 /* share of the blocks that is never freed */
	double from, to; /* share of the run in which it acts; to 0: 1 */
	double daily;	 /* amplitude of the daily cycle of its load, 0..1 */
	uint32_t capacity;
	bool random;		/* LRU: a random entry goes */
	uint32_t thread, freer; /* serials; 0: 1 */
	uint32_t fan;		/* spread over so many stacks: callers "caller_N" */
	/* The truth. */
	const char *guilty; /* function that answers for the leak; NULL: innocent */
	double tolerance;   /* of the rate; 0: 0.10 */
};

struct soak_scenario {
	const char *name, *what;
	double seconds;	  /* of the run */
	double teardown;  /* share of the run at its end in which all is freed; 0: none */
	bool frees_leaks; /* the teardown frees what was leaked, too */
	double idle_from; /* share of the run from which nothing happens; 0: none */
	bool child;	  /* recorded after a fork */
	struct soak_actor actors[12]; /* ends with a NULL path */
};

extern const struct soak_scenario soak_scenarios[]; /* ends with a NULL name */

#endif

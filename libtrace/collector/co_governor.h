/* SPDX-License-Identifier: MIT */
/*
 * Keeping what recording adds below a limit: which step is in force (ft_governor.h)
 *
 * Each window the time that the program's threads have spent recording is compared with the rest of
 * their time. Above the limit the next step is taken at once. Back it goes one step when `patience`
 * windows in a row were below half of the limit; a step back that has to be taken again soon makes
 * the next one wait twice as long, so that a constant load does not swing between two steps.
 *
 * The controller is a pure function of the windows; co_governor_pass() feeds it.
 */
#ifndef CO_GOVERNOR_H
#define CO_GOVERNOR_H

#include <stdbool.h>
#include <stdint.h>

struct co_session;

#define CO_GOVERNOR_WINDOW_NS INT64_C(500000000)

enum {
	CO_GOVERNOR_PATIENCE = 4,	/* windows; at least, */
	CO_GOVERNOR_MOST_PATIENCE = 240 /* and at most: two minutes */
};

struct co_governor {
	double limit;	   /* of the program's own time; 0: none */
	uint32_t most;	   /* the last step that may be taken */
	uint32_t step;	   /* in force */
	uint32_t n_below;  /* windows in a row */
	uint32_t patience; /* windows below until the next step back */
	uint32_t n_back;   /* windows since the last step back; UINT32_MAX: long ago */
	double overhead;   /* of the last window */
	/* co_governor_pass(): */
	int64_t window_since;
	uint64_t cpu_ns, recording_ticks; /* when it began */
	bool has_cpu;			  /* the program's time can be read */
};

/* The window's time: of the program in all, and of that recording. Returns whether the step has
 * changed. */
bool co_governor_feed(struct co_governor *governor, uint64_t cpu_ns, uint64_t recording_ns);

void co_governor_init(struct co_governor *governor, double limit, uint32_t most);

/* Once a pass of the drain thread: when a window is over, measure, decide, and tell the program and
 * the recording. */
void co_governor_pass(struct co_session *session);

/* A row of the step that is in force: at the beginning of a recording and at its end. */
void co_governor_row(struct co_session *session, uint64_t time_ns);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The list of sessions that threads share, and how they sleep
 *
 * The main thread adds, the drain thread removes what is finished; each thread works on its own
 * copy (with references) and takes a new one when the generation has moved.
 */
#ifndef CO_ROSTER_H
#define CO_ROSTER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "co_session.h"

struct co_roster {
	pthread_mutex_t lock;
	struct co_session **sessions; /* references */
	uint32_t n, capacity;
	_Atomic uint32_t generation; /* a futex: bumped to wake everybody too */
	_Atomic uint32_t stopping;
};

void co_roster_init(struct co_roster *roster);
void co_roster_deinit(struct co_roster *roster);

bool co_roster_add(struct co_roster *roster, struct co_session *session); /* takes a reference */
void co_roster_remove(struct co_roster *roster, struct co_session *session);

/* Wake the threads that sleep. */
void co_roster_wake(struct co_roster *roster);
void co_roster_stop(struct co_roster *roster);

/* A thread's own copy. */
struct co_roster_copy {
	struct co_session **sessions;
	uint32_t n;
	uint32_t generation;
	bool valid;
};

/* Bring the copy up to date; true if it changed. */
bool co_roster_refresh(struct co_roster *roster, struct co_roster_copy *copy);
void co_roster_copy_deinit(struct co_roster_copy *copy);

/*
 * Sleep until the roster's generation is no longer that of the copy, a doorbell rings (its value
 * differs from doorbells[i], which the caller read before it looked for work; NULL: not of
 * interest), or `ns` have passed.
 */
void co_roster_nap(struct co_roster *roster, const struct co_roster_copy *copy,
		   const uint32_t *doorbells, int64_t ns);

#endif

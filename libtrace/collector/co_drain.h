/* SPDX-License-Identifier: MIT */
/*
 * The drain thread: all sessions, one pass after the other
 *
 * Comes back at once while rings hold more than a batch, after a millisecond while there is
 * something to do, and sleeps up to CO_NAP_NS while there is nothing; a program that has
 * filled half a ring, or ends, rings its doorbell.
 */
#ifndef CO_DRAIN_H
#define CO_DRAIN_H

#include "co_roster.h"

#define CO_NAP_NS INT64_C(50000000)

/* Work until the roster stops: the body of the drain thread. */
void co_drain_run(struct co_roster *roster);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What every example needs besides the thing that it shows: its arguments and its pace
 *
 * An example takes `[SECONDS [ROUNDS]]` and spreads ROUNDS rounds of its work evenly over SECONDS.
 * How much it allocates depends on ROUNDS alone, so that its expected findings are exact figures on
 * any machine; SECONDS only stretches them over time.
 */
#ifndef EXAMPLES_PACE_H
#define EXAMPLES_PACE_H

#include <stdlib.h>
#include <time.h>

struct pace {
	double seconds;
	long rounds;
	struct timespec start;
};

static inline struct pace pace_start(int argc, char **argv, long rounds)
{
	struct pace pace = {5.0, rounds, {0, 0}};

	if (argc > 1)
		pace.seconds = strtod(argv[1], NULL);
	if (argc > 2)
		pace.rounds = strtol(argv[2], NULL, 10);
	clock_gettime(CLOCK_MONOTONIC, &pace.start);
	return pace;
}

/* Sleep until the moment at which round `round` is due. Rounds that are late do not sleep. */
static inline void pace_round(const struct pace *pace, long round)
{
	double due = pace->seconds * (double)round / (double)pace->rounds;
	struct timespec at = pace->start;

	at.tv_sec += (time_t)due;
	at.tv_nsec += (long)((due - (double)(time_t)due) * 1e9);
	if (at.tv_nsec >= 1000000000L) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000L;
	}
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A leak in one of four threads
 *
 * Four workers do the same kind of work: allocate a line, use it, free it. The one named "auditor"
 * keeps every line that it formats (audit_append), the others keep nothing. Sites alone would blame
 * a helper that all four share (line_new); the thread tells whose fault it is.
 *
 * Expected findings:
 *
 * args: 3 1000
 * expect: leaks site=audit_append bytes=128000 blocks=1000 verdict=growing
 * expect: leaks site=worker_step absent
 * expect: threads thread=auditor live_bytes=128000 allocated_bytes=128000
 * expect: threads thread=reader live_bytes=0 allocated_bytes=128000
 * expect: threads thread=parser live_bytes=0 allocated_bytes=128000
 * expect: threads thread=writer live_bytes=0 allocated_bytes=128000
 */
#include <pthread.h>
#include <stdio.h>

#include "pace.h"

enum { N_WORKERS = 4, LINE_BYTES = 128 };

static struct pace pace;

struct worker {
	const char *name;
	void (*step)(long round);
	pthread_t thread;
};

static char *line_new(long round)
{
	char *line = malloc(LINE_BYTES);

	snprintf(line, LINE_BYTES, "line %ld", round);
	return line;
}

static void worker_step(long round)
{
	free(line_new(round));
}

/* The leak: an audit trail that is written to nowhere. */
static void audit_append(long round)
{
	static char *trail;

	trail = line_new(round);
	(void)trail;
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	pthread_setname_np(pthread_self(), worker->name);
	for (long round = 0; round < pace.rounds; round++) {
		worker->step(round);
		pace_round(&pace, round + 1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct worker workers[N_WORKERS] = {
		{"reader", worker_step, 0},
		{"parser", worker_step, 0},
		{"writer", worker_step, 0},
		{"auditor", audit_append, 0},
	};

	pace = pace_start(argc, argv, 1000);
	for (int i = 0; i < N_WORKERS; i++)
		if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0)
			return 1;
	for (int i = 0; i < N_WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	return 0;
}

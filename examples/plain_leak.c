/* SPDX-License-Identifier: MIT */
/*
 * A plain leak
 *
 * A server that answers requests. Each request allocates and frees what it needs; every second one
 * also leaves a 96-byte session behind that nobody frees (session_open). Next to it the table of
 * routes is allocated once and kept for the whole run, which is no leak: its size never changes.
 *
 * Expected findings (tests/integration/examples/run.py reads these lines, see its head):
 *
 * args: 3 2000
 * expect: leaks site=session_open bytes=96000 blocks=1000 verdict=growing
 * expect: leaks site=routes_load bytes=2048 blocks=32 verdict!=growing,suspect
 * expect: leaks site=request_read absent
 * expect: leaks site=reply_format absent
 * expect: summary totals.live_bytes>=98048 totals.allocations>=7032 totals.lost_events=0
 */
#include <stdio.h>
#include <string.h>

#include "pace.h"

enum { N_ROUTES = 32, ROUTE_BYTES = 64, SESSION_BYTES = 96 };

static char *routes[N_ROUTES];
static char *last_session; /* the only pointer to a session; the next one overwrites it */

static void routes_load(void)
{
	for (int i = 0; i < N_ROUTES; i++) {
		routes[i] = malloc(ROUTE_BYTES);
		snprintf(routes[i], ROUTE_BYTES, "/route/%d", i);
	}
}

static char *request_read(long round)
{
	char *request = malloc(256);

	snprintf(request, 256, "GET %s HTTP/1.1", routes[round % N_ROUTES]);
	return request;
}

/* The leak: the session belongs to the connection, and nothing closes it. */
static void session_open(long round)
{
	last_session = malloc(SESSION_BYTES);
	snprintf(last_session, SESSION_BYTES, "session %ld", round);
}

static char *reply_format(const char *request)
{
	char *small = malloc(32);
	char *reply;

	snprintf(small, 32, "%zu", strlen(request));
	reply = realloc(small, 512);
	return reply;
}

int main(int argc, char **argv)
{
	struct pace pace = pace_start(argc, argv, 2000);

	routes_load();
	for (long round = 0; round < pace.rounds; round++) {
		char *request = request_read(round);
		char *reply = reply_format(request);

		if (round % 2)
			session_open(round);
		free(reply);
		free(request);
		pace_round(&pace, round + 1);
	}
	return 0;
}

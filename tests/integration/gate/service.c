/* SPDX-License-Identifier: MIT */
/*
 * A service in two builds, for comparing recordings
 *
 * VERSION 1 loses 100 bytes an operation in session_open. VERSION 2 has other lines and addresses,
 * loses twice as much there and 77 bytes an operation in feature_new; feature_old is gone. VERSION
 * 0 loses nothing. Arguments: operations, milliseconds for each.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fragtrace/mark.h"

#define KEEP_FRAME __attribute__((noinline))

static void *volatile kept;

#if VERSION == 2
/* Functions of a later version push the others to other lines and addresses. */
static KEEP_FRAME void *feature_new(void)
{
	char *block = malloc(77);

	block[0] = 1; /* or the call would be the last one, and a jump */
	return block;
}
#endif

static KEEP_FRAME void *session_open(size_t size)
{
	char *block = malloc(size);

	block[0] = 1; /* or the call would be the last one, and a jump */
	return block;
}

#if VERSION == 1
static KEEP_FRAME void *feature_old(void)
{
	char *block = malloc(5000);

	block[0] = 1; /* or the call would be the last one, and a jump */
	return block;
}
#endif

static void rest(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 100;
	long ms = argc > 2 ? atol(argv[2]) : 1;

#if VERSION == 1
	kept = feature_old();
#endif
	for (int i = 0; i < n; i++) {
		void *request = session_open(300);

		fragtrace_mark("request");
#if VERSION > 0
		kept = session_open(VERSION * 100);
#endif
#if VERSION == 2
		kept = feature_new();
#endif
		free(request);
		rest(ms);
	}
	return 0;
}

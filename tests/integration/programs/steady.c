/* SPDX-License-Identifier: MIT */
/*
 * Allocates and frees until it is killed, or for SECONDS; says on stdout when it has begun
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *volatile kept[1024];

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 3600;
	struct timespec start, now;
	unsigned random = 1;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned long round = 0;; round++) {
		void *volatile *slot;

		random = random * 1664525u + 1013904223u;
		slot = &kept[(random >> 8) % 1024];
		free(*slot);
		*slot = malloc(16 + random % 1000);
		if (round == 10000) {
			puts("begun");
			fflush(stdout);
		}
		if (round % 256 == 0) {
			clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){0, 500000}, NULL);
			clock_gettime(CLOCK_MONOTONIC, &now);
			if ((double)(now.tv_sec - start.tv_sec) +
				    (double)(now.tv_nsec - start.tv_nsec) * 1e-9 >
			    seconds)
				return 0;
		}
	}
}

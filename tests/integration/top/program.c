/* SPDX-License-Identifier: MIT */
/*
 * A program to look on at: does one thing for each line on standard input, answers "ok"
 *
 *	grow N     allocates N blocks of 1000 bytes in grow_here() and keeps them
 *	churn N    allocates and frees N blocks in churn_here()
 *	end        ends with status 3
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 100000, BYTES = 1000 };

static void *volatile kept[MAX]; /* volatile: what nobody reads is not allocated either */
static unsigned n_kept;

__attribute__((noinline)) static void grow_here(unsigned n)
{
	while (n-- > 0 && n_kept < MAX)
		kept[n_kept++] = malloc(BYTES);
}

__attribute__((noinline)) static void churn_here(unsigned n)
{
	while (n-- > 0) {
		void *volatile p = malloc(64);

		free(p);
	}
}

int main(void)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		unsigned n = 0;

		if (sscanf(line, "grow %u", &n) == 1)
			grow_here(n);
		else if (sscanf(line, "churn %u", &n) == 1)
			churn_here(n);
		else if (strcmp(line, "end\n") == 0)
			break;
		puts("ok");
		fflush(stdout);
	}
	return 3;
}

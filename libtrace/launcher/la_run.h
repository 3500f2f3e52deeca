/* SPDX-License-Identifier: MIT */
/*
 * fragtrace run: record one program and what it starts
 */
#ifndef LA_RUN_H
#define LA_RUN_H

#include <stdbool.h>

#include "fragtrace/error.h"

struct la_run_options {
	const char *output; /* NULL: the default name */
	bool no_symbols;
	bool self_check, free_stacks;
	/* As given; NULL: the default. */
	const char *depth, *on_full, *stall_limit, *unwind, *follow, *min_events, *max_size,
		*max_age;
	const char *sample;	  /* a size that ft_sample_parse() takes */
	const char *max_overhead; /* what ft_overhead_parse() takes */
	char **argv;		  /* the program's; NULL-terminated */
};

/*
 * Run it to its end. *status gets the exit status; *signal the number of the signal that ended the
 * program, or 0. Messages about the recording are written to stderr.
 */
struct ft_error *la_run(const struct la_run_options *options, int *status, int *signal);

#endif

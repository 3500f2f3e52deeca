/* SPDX-License-Identifier: MIT */
/*
 * fragtrace node: record what the kernel says of its memory
 *
 * What can't be read is left out, and the recording says so: without root there are buddyinfo,
 * zoneinfo, vmstat and pressure; the rest needs it, or a kernel that has it.
 */
#ifndef NO_RECORD_H
#define NO_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "ft_error.h"

struct no_options {
	const char *output;   /* NULL: node.frag */
	uint64_t interval_ns; /* of samples */
	uint64_t duration_ns; /* 0: until SIGINT or SIGTERM */
	unsigned buffer_kib;  /* of a cpu's trace buffer */
	bool pages;	      /* look at every page frame, at the start and at the end */
	bool trace;	      /* the tracepoints of pages and compaction */
	bool try_compact;     /* have the kernel compact at the end, and look again */
	bool quiet;
};

/* Record until it is over, then say on stdout what there is, and on stderr what is missing. */
struct ft_error *no_record(const struct no_options *options);

/* The verb: argv[0] is "node". Returns the exit status. */
int no_command(int argc, char **argv);

#endif

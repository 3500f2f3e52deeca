/* SPDX-License-Identifier: MIT */
/*
 * Between those who ask (`fragtrace ctl`, `fraganalyze top`) and a collector
 *
 * One request, one answer, a struct each, on a connection to the address of the process
 * (ft_hello.h). Both sides check that the other is the same user or root.
 */
#ifndef CO_CONTROL_H
#define CO_CONTROL_H

#include <stdint.h>

#define CO_CONTROL_MAGIC UINT64_C(0x31304c5254434746) /* "FGCTRL01" */

enum co_control_verb {
	CO_CONTROL_MARK = 1, /* text: the label */
	CO_CONTROL_PAUSE,
	CO_CONTROL_RESUME,
	CO_CONTROL_FLUSH,    /* answered when all that was published before is in the file */
	CO_CONTROL_STATS,    /* answered with a JSON object */
	CO_CONTROL_MAX_SIZE, /* text: a size; the budget from now on */
	CO_CONTROL_ROTATE,   /* go on in another file; answered with a JSON object when the one
				before is final, which may take its symbols' time */
	CO_CONTROL_WATCH,    /* answered with the recording's name ("": it has no file yet), and a
				descriptor attached (SCM_RIGHTS) of a struct co_account and its sites
			      */
};

/* The least budget of a recording: below it there is room for little but its tables. */
#define CO_MIN_MAX_SIZE (UINT64_C(1) << 20)

struct co_control_request {
	uint64_t magic;
	uint32_t verb;	 /* enum co_control_verb */
	uint32_t n_text; /* bytes of text */
	char text[2000];
};

struct co_control_answer {
	uint64_t magic;
	uint32_t failed; /* 1: text says why */
	uint32_t n_text;
	char text[4080];
};

#define CO_ACCOUNT_MAGIC UINT64_C(0x3130484354574746) /* "FGWTCH01" */

/*
 * The account of a recording at one moment, in a file of memory: this, then n_sites of struct
 * co_watch_site. Counts and bytes are those of the recording at hand (it may be the program's
 * second); in a sampled recording they are estimates. -1: not sampled yet.
 */
struct co_account {
	uint64_t magic;
	uint32_t header_bytes, site_bytes; /* of the two structs */
	uint64_t n_sites;
	int32_t pid;
	uint32_t part; /* recordings of this image before this one */
	uint64_t begin_ns, time_ns;
	uint64_t n_events; /* since the start of the program, like the losses */
	uint64_t n_lost, n_unknown_frees, n_paused;
	uint64_t n_allocs, n_frees, bytes_allocated, bytes_freed;
	uint64_t live_blocks, live_bytes, usable_bytes, peak_bytes, peak_ns;
	uint64_t sample_bytes; /* 0: every block is recorded */
	int64_t rss, swap, tracer;
	uint32_t paused;
	uint32_t pad;
};

struct co_account_site {
	uint32_t stack; /* as the file numbers it; 0: events without a stack */
	uint32_t pad;
	uint64_t n_allocs, n_frees, bytes_allocated, bytes_freed;
	uint64_t live_blocks, live_bytes, peak_bytes;
};

#endif

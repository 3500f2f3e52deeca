/* SPDX-License-Identifier: MIT */
/*
 * Between `fragtrace ctl` and a collector
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

#endif

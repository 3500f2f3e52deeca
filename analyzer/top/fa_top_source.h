/* SPDX-License-Identifier: MIT */
/*
 * Where `top` has its accounts from
 *
 * While a program is recorded its collector is asked (ft_control.h): it has every figure in memory,
 * so that neither the program nor the file is touched, and the cost is by site, not by event. Who
 * can't ask (another user's recording, another pid namespace), and whoever looks at a recording
 * that has ended, reads its tables, whose sites are up to half a minute old while it is written.
 */
#ifndef FA_TOP_SOURCE_H
#define FA_TOP_SOURCE_H

#include <sys/types.h>

#include "fa_top.h"

enum fa_top_state {
	FA_TOP_RECORDING, /* the collector answers */
	FA_TOP_FILE,	  /* it is written, and its tables are read */
	/* What follows is the end: there is no further account. */
	FA_TOP_ROTATED, /* closed, and gone on with in another file */
	FA_TOP_ENDED,
	FA_TOP_CUT_OFF, /* its writer died */
	FA_TOP_GONE	/* the program ended, and no file is left of it */
};
static inline bool fa_top_is_over(enum fa_top_state state)
{
	return state >= FA_TOP_ROTATED;
}
const char *fa_top_state_name(enum fa_top_state state); /* "recording", "ended", ... */

struct fa_top_source {
	enum fa_top_state state;
	pid_t pid;	    /* as the recording has it; 0: unknown */
	char path[4096];    /* of the recording; "": it has no file yet */
	char next[4096];    /* after a rotation: the file that it goes on in; "": unknown */
	char program[256];  /* as it was called, or "" */
	char exit_kind[16]; /* "exit", "signal", ..., "" */
	int64_t exit_code;  /* -1: unknown */
	uint64_t sample_bytes;
	bool paused;
	/* Internal. */
	bool ask;
	uint32_t part;
};

/* `what` is a file, or all digits: a process. With `no_wait` a recording that is being finished is
 * not waited for. A process is recorded a moment before its recording has a file, which names are
 * in: that is waited for so many milliseconds, and then done without. Reads the first account into
 * `top`. Errors of a file are those of ft_reader_open(); of a process FT_ERROR_USAGE: it is not
 * recorded. */
struct ft_error *fa_top_source_open(struct fa_top_source *source, const char *what, bool no_wait,
				    unsigned file_ms, struct fa_top *top);

/* The next account; after the end nothing. */
struct ft_error *fa_top_source_read(struct fa_top_source *source, struct fa_top *top);

/* The account of the tables as they are now, into another `top`. */
struct ft_error *fa_top_source_tables(struct fa_top_source *source, struct fa_top *top);

#endif

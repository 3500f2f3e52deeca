/* SPDX-License-Identifier: MIT */
/*
 * Names of sites for `top`, looked up beside it
 *
 * A recording gets its names at its end. Until then a thread of this looks them up, those that are
 * asked for and no others, in the files of the modules (ft_symbol.h), and remembers them: the
 * screen never waits for debug information. The file is open only while there is something to look
 * up: it is a writer's.
 */
#ifndef FA_TOP_NAMES_H
#define FA_TOP_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "ft_error.h"

struct fa_top_names;

/* Text lives as long as the names do. */
struct fa_top_name {
	const char *function; /* or module+0xoffset, or "(no stack)" */
	const char *file;     /* NULL: unknown */
	int64_t line;
};

/* Of the recording at `path`, of any state. */
struct ft_error *fa_top_names_create(const char *path, struct fa_top_names **ret);
/* NULL is fine. Does not wait for a look-up that is under way, which ends with the process: who
 * lives on keeps the memory of it. */
void fa_top_names_destroy(struct fa_top_names *names);

/* The name of a site, or NULL: it is not known yet, and is being looked up from here on. */
const struct fa_top_name *fa_top_names_get(struct fa_top_names *names, uint32_t stack);

/* Wait until everything that was asked for is known, at most so long. */
void fa_top_names_wait(struct fa_top_names *names, unsigned milliseconds);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Finding programs: the one to record, and our own parts
 */
#ifndef LA_PROGRAM_H
#define LA_PROGRAM_H

#include "fragtrace/error.h"

enum la_status {
	LA_OWN_FAILURE = 125, /* fragtrace itself could not do it, or refuses to */
	LA_NOT_EXECUTABLE = 126,
	LA_NOT_FOUND = 127,
};

/*
 * The path that `name` means to a shell, after checking that preloading a library into it works: no
 * static, foreign or setuid program. On error *status gets the exit status to end with.
 */
struct ft_error *la_find_program(const char *name, char **path, int *status);

/* Parts of Fragtrace, beside this program: in a build tree or installed. */
struct ft_error *la_find_library(char **path);
struct ft_error *la_find_collector(char **path);
struct ft_error *la_find_analyzer(char **path);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Names of recordings
 *
 * Patterns: %p pid, %n program name (as it was started:
 * the last part of argv[0]), %h host name, %t start time (YYYYMMDD-HHMMSS), %% a percent
 * sign. What a program may have put into its own name can't leave the folder.
 */
#ifndef CO_NAME_H
#define CO_NAME_H

#include <stdint.h>

struct co_name_facts {
	const char *cwd;   /* relative patterns start here */
	const char *argv0; /* what the program was called as, or NULL */
	const char *exe;   /* path of its file, for programs that were called as nothing */
	int64_t pid;
	int64_t start_realtime_ns;
};

#define CO_NAME_DEFAULT "%n.%p.frag"

/*
 * The absolute path of the attempt-th candidate (1: as the pattern says; 2: NAME.2.frag; ...).
 * malloc'ed, NULL when out of memory. "" and NULL patterns are CO_NAME_DEFAULT.
 */
char *co_name_expand(const char *pattern, const struct co_name_facts *facts, unsigned attempt);

#endif

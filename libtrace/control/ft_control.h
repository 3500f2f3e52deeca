/* SPDX-License-Identifier: MIT */
/*
 * A word with the collector of a running program
 *
 * The collector is found by the address of the process (ft_hello.h); the program is not disturbed.
 */
#ifndef FT_CONTROL_H
#define FT_CONTROL_H

#include <stdbool.h>
#include <sys/types.h>

#include "co_control.h"
#include "ft_error.h"

/*
 * Ask about the process `pid` and wait for the answer, at most 10 s, a rotation longer; `text` may
 * be NULL. A refusal is an error with the collector's words. *fd, if `fd` is not NULL, is what came
 * with the answer, for the caller to close, or -1.
 *
 * FT_ERROR_USAGE: there is no such process, it is not recorded, or the request was refused.
 */
struct ft_error *ft_control_ask(pid_t pid, enum co_control_verb verb, const char *text,
				struct co_control_answer *ret, int *fd);

/* The account of the recording of `pid`: one allocation, free() it. */
struct ft_watch {
	char recording[4096]; /* "": it has no file yet */
	struct co_account account;
	struct co_account_site sites[]; /* account.n_sites */
};
struct ft_error *ft_watch_read(pid_t pid, struct ft_watch **ret);

#endif

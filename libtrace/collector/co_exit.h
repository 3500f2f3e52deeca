/* SPDX-License-Identifier: MIT */
/*
 * How somebody else's child ended
 */
#ifndef CO_EXIT_H
#define CO_EXIT_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * The wait status of a process that has ended and that is no child of ours: from its pidfd (Linux
 * 6.15 and newer keep it there), else from /proc while it is a zombie. False when it can't be
 * known.
 */
bool co_exit_status(int pidfd, pid_t pid, int *status);

#endif

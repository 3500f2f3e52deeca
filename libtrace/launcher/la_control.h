/* SPDX-License-Identifier: MIT */
/*
 * fragtrace mark and fragtrace ctl: a word with the collector of a running program
 */
#ifndef LA_CONTROL_H
#define LA_CONTROL_H

#include <sys/types.h>

#include "co_control.h"
#include "fragtrace/error.h"

/* Ask, and print on stdout what comes back, if anything does. Waits at most 10 s. */
struct ft_error *la_control(pid_t pid, enum co_control_verb verb, const char *text);

#endif

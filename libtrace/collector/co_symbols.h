/* SPDX-License-Identifier: MIT */
/* The last step of a recording: names for its stacks. Its own process calls this: what reads debug
 * information of all kinds must not take a collector down that others rely on. */
#ifndef CO_SYMBOLS_H
#define CO_SYMBOLS_H

#include "fragtrace/error.h"

struct ft_error *co_symbols_add(const char *path);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The account of a recording, for somebody who looks on
 *
 * What is counted anyway is copied out: 64 bytes a site and no look at a block, an event or the
 * file. A hundred thousand sites are some milliseconds of the drain thread, which the rings bear.
 */
#ifndef CO_WATCH_H
#define CO_WATCH_H

#include <stdint.h>

struct co_session;

/* A descriptor of a file of memory with a struct co_account (co_control.h) and its sites, as of
 * `stamp`; -1 when there is no memory for it. From the drain thread. */
int co_watch_write(struct co_session *session, uint64_t stamp);

#endif

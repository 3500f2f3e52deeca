/* SPDX-License-Identifier: MIT */
/* The way to the collector */
#ifndef TR_COLLECTOR_H
#define TR_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Hand the segment to a collector: the one of FRAGTRACE_SOCKET, the one that this process tree has
 * started before, or a new one. `parent_key`: of the image that this one was forked from, else 0.
 * No descriptor stays open. Returns 0 or -errno. Bounded: waits at most 2 s for a collector that
 * does not take connections.
 */
int tr_collector_connect(int segment_fd, uint64_t key, uint64_t parent_key);

/* Is this process, or one that it descends from, recorded? (That is: was this image exec'ed by a
 * traced one?) */
bool tr_collector_has_ancestor(void);

/* 64 bits that nobody can guess, as far as the kernel has any. */
uint64_t tr_random(void);

/* The command line's memory, which the stub overwrites in its own copy. Once, in the constructor.
 */
void tr_collector_init(int argc, char **argv);

#endif

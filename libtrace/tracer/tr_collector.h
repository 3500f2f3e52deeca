/* SPDX-License-Identifier: MIT */
/* The way to the collector */
#ifndef TR_COLLECTOR_H
#define TR_COLLECTOR_H

#include <stdint.h>

/*
 * Hand the segment to a collector: the one of FRAGTRACE_SOCKET, the one that this process tree has
 * started before, or a new one. No descriptor stays open. Returns 0 or -errno. Bounded: waits at
 * most 2 s for a collector that does not take connections.
 */
int tr_collector_connect(int segment_fd);

/* The command line's memory, which the stub overwrites in its own copy. Once, in the constructor.
 */
void tr_collector_init(int argc, char **argv);

#endif

/* SPDX-License-Identifier: MIT */
/* What is mapped where in this process, from /proc/self/maps. Costs some system calls: not for
 * every event. */
#ifndef TR_MAPS_H
#define TR_MAPS_H

#include <stdbool.h>
#include <stdint.h>

/* Memory at [low, high). */
struct tr_extent {
	uintptr_t low, high;
};

/* The mapping that `address` lies in. False, and *ret is 0: there is none, or nobody can tell. */
bool tr_find_mapping(uintptr_t address, struct tr_extent *ret);

#endif

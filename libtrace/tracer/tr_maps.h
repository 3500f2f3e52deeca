/* SPDX-License-Identifier: MIT */
/* What is mapped where in this process, from /proc/self/maps. Costs some system calls: not for
 * every event. */
#ifndef TR_MAPS_H
#define TR_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tr_sys.h"

/* Memory at [low, high). */
struct tr_extent {
	uintptr_t low, high;
};

/* The mapping that `address` lies in. False, and *ret is 0: there is none, or nobody can tell. */
bool tr_find_mapping(uintptr_t address, struct tr_extent *ret);

struct tr_mapping {
	uintptr_t low, high;
	uint64_t offset; /* in the file, of `low` */
	char perms[4];	 /* "rwxp" */
	bool known;	 /* false: the mappings could not be read */
};

/* The same, and what it is: `name` gets the path or [name], cut to its room, "" for none. */
bool tr_read_mapping(uintptr_t address, struct tr_mapping *ret, char *name, size_t room);

/* Can the 8 bytes at `address` be read? By a system call that copies them from there, and then
 * finds that it is not to do anything. */
static inline bool tr_is_readable(uintptr_t address)
{
	enum { HOW_NONE = -1 };

	return tr_sys(SYS_rt_sigprocmask, HOW_NONE, address, NULL, 8) != -EFAULT;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The control group of a process: what it uses, and how much it may
 *
 * Version 2, and the memory controller of version 1 where that has it. A limit of any group above
 * holds as well: the lowest counts.
 */
#ifndef CO_CGROUP_H
#define CO_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct co_cgroup {
	char folder[512]; /* of the group, "": unknown */
	size_t root;	  /* how much of it is the hierarchy's root */
	bool is_v1;
};

/* `text` is that of /proc/PID/cgroup; `mount` is where the hierarchies are, mostly /sys/fs/cgroup.
 */
void co_cgroup_find(struct co_cgroup *group, const char *text, const char *mount);

/* Bytes that the group uses, or of the nearest one above that can be read; -1: unknown. */
int64_t co_cgroup_used(const struct co_cgroup *group);

/* The lowest limit of the group and of all above it that can be read; -1: there is none. */
int64_t co_cgroup_limit(const struct co_cgroup *group);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A traced image's segment, seen from the collector
 *
 * The program can write anywhere in it at any time. Sizes and offsets are copied once, checked
 * against the file's own size, and used from the copy alone; the file is sealed against shrinking
 * before it is mapped, so that no access can fault.
 */
#ifndef CO_SEGMENT_H
#define CO_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fragtrace/error.h"

#include "ft_segment.h"

/* How an image came to be, as far as the collector has seen the one before it. */
enum co_origin_kind {
	CO_ORIGIN_START, /* the first of its tree, or nobody knows */
	CO_ORIGIN_FORK,	 /* a copy of its parent: inherits the parent's blocks */
	CO_ORIGIN_EXEC,	 /* began with an empty heap */
};

struct co_origin {
	enum co_origin_kind kind;
	uint64_t parent; /* id of the parent's session, or of the image that exec'ed; else 0 */
};

struct co_segment {
	struct co_origin origin; /* set by whoever makes a session of it */
	void *base;
	uint64_t size;
	ino_t inode; /* of the memfd: how its mapping is recognised in /proc/PID/maps */

	/* Our copies of what does not change. */
	uint32_t n_rings;
	uint32_t max_nodes;
	uint64_t ring_bytes;
	uint32_t clock_source;
	uint32_t options;      /* enum ft_option */
	uint64_t sample_bytes; /* 0: not sampled */
	uint32_t max_overhead; /* ft_governor.h; 0: no limit */
	int32_t ppid, parent_pid;
	uint64_t start_stamp, fork_stamp;
	int64_t start_monotonic_ns, start_realtime_ns, start_boottime_ns;
	char output[1024], cwd[1024], exe[1024];
	char argv[4096]; /* terminated, as the texts above */
	uint32_t argv_bytes;

	/* Into the mapping. */
	struct ft_segment_header *header;
	struct ft_ring_header *rings;
	const struct ft_segment_node *nodes;
	const char *bodies;
};

/* Seal, map and check. The descriptor stays the caller's. */
struct ft_error *co_segment_map(int fd, struct co_segment *segment);
void co_segment_unmap(struct co_segment *segment);

const uint64_t *co_segment_ring_body(const struct co_segment *segment, uint32_t ring);

/* Give the memory of a ring's pages from position `from` to `to` back to the kernel. Both are
 * multiples of FT_SEGMENT_PAGE, and all in between has been read but not been released: the
 * producer writes none of it meanwhile. They read as zeros until it does. */
void co_segment_ring_discard(const struct co_segment *segment, uint32_t ring, uint64_t from,
			     uint64_t to);

/* Rings that have ever been used, not more than there are. */
uint32_t co_segment_n_rings_used(const struct co_segment *segment);

/* Wake whoever waits on a futex in the segment. */
void co_futex_wake(_Atomic uint32_t *word);

/* Tell the program's threads: enum ft_attached. */
void co_segment_set_attached(struct co_segment *segment, uint32_t attached);

#endif

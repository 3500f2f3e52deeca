/* SPDX-License-Identifier: MIT */
/*
 * What /proc says about a process: parsing only
 *
 * The texts are the kernel's, but paths in them are the program's: anything may stand there.
 */
#ifndef CO_PROCFS_H
#define CO_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct co_map {
	uint64_t start, end, offset;
	uint64_t inode;
	char perms[5];
	char *path; /* into the text; NULL for anonymous mappings */
	int64_t rss, swap;
	const char *kind; /* of ft_mapping_row; static text */
	bool unannounced; /* code of a file that the tracer has not told of, seen once before */
};

struct co_maps {
	struct co_map *maps; /* by address; none is empty, no two overlap */
	size_t n, capacity;
	char *text; /* owned; the paths point into it */
};

void co_maps_deinit(struct co_maps *maps);

/*
 * Parse the text of /proc/PID/smaps (or maps) and classify the mappings. Takes the malloc'ed,
 * NUL-terminated text over and changes it. `segment_inode` is the inode of the tracer's memfd.
 * False when out of memory.
 */
bool co_maps_parse(struct co_maps *maps, char *text, ino_t segment_inode);

/* "Key:   123 kB" of a text like smaps_rollup, in bytes; -1 when it is not there. */
int64_t co_procfs_kb(const char *text, const char *key);

/* A whole file as NUL-terminated malloc'ed text of at most `max` bytes; NULL when unreadable. */
char *co_procfs_read(const char *path, size_t max);

#endif

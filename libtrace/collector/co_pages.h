/* SPDX-License-Identifier: MIT */
/*
 * Residency: which pages of another process are in memory, by the kernel's own page tables
 *
 * Linux 6.7 and later answer for whole ranges at once (the ioctl PAGEMAP_SCAN), and can tell the
 * shared page of zeros, which is no resident memory; before, /proc/PID/pagemap has eight bytes for
 * each page. Both need the permission that debugging the process would need.
 */
#ifndef CO_PAGES_H
#define CO_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fragtrace/store.h"

struct co_pages {
	int fd;		/* of /proc/PID/pagemap; -1 when it may not be read */
	int open_errno; /* why */
	bool no_scan;	/* the kernel has no PAGEMAP_SCAN */
	uint64_t page_bytes;
	struct ft_page_run *runs; /* of the sample at hand, and */
	size_t n_runs, room;
	struct ft_page_run *before; /* of the last one that was kept */
	size_t n_before, before_room;
	bool overflow; /* more than FT_RESIDENCY_RUNS, or no memory: the sample at hand is void */
	bool kept;     /* the sample at hand */
};

void co_pages_open(struct co_pages *pages, pid_t pid);
void co_pages_close(struct co_pages *pages);

/* "pagemap_scan", "pagemap", or "none". */
const char *co_pages_method(const struct co_pages *pages);

/* Begin a sample; one that has not been kept is forgotten. */
void co_pages_begin(struct co_pages *pages);
/* The sample at hand is in the recording: the next are compared with it. */
void co_pages_keep(struct co_pages *pages);
/* The next sample is the first one of a recording: none of those kept is in it. */
void co_pages_forget(struct co_pages *pages);
/* Look at the mapping [start, end); in order of addresses. False when it can't be read (any more).
 */
bool co_pages_scan(struct co_pages *pages, uint64_t start, uint64_t end);
/* Enter [start, end) as not resident without looking. */
void co_pages_absent(struct co_pages *pages, uint64_t start, uint64_t end);
/* Whether the sample has the same runs as the last that was kept. */
bool co_pages_unchanged(const struct co_pages *pages);

#endif

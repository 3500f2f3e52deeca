/* SPDX-License-Identifier: MIT */
/* Residency: see co_pages.h. */
#include "co_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* include/uapi/linux/fs.h of Linux 6.7; older headers have none of it. */
struct scan_region {
	uint64_t start, end, categories;
};
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL   _IOWR('f', 16, struct scan_arg)
#define SCAN_PRESENT (UINT64_C(1) << 3)
#define SCAN_SWAPPED (UINT64_C(1) << 4)
#define SCAN_ZERO    (UINT64_C(1) << 5)
#define SCAN_HUGE    (UINT64_C(1) << 6)

/* Documentation/admin-guide/mm/pagemap.rst */
#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)

enum { SCAN_REGIONS = 1024, READ_ENTRIES = 4096 };

void co_pages_open(struct co_pages *pages, pid_t pid)
{
	char path[64];

	*pages = (struct co_pages){.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE)};
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	pages->fd = open(path, O_RDONLY | O_CLOEXEC);
	pages->open_errno = pages->fd < 0 ? errno : 0;
}

void co_pages_close(struct co_pages *pages)
{
	if (pages->fd >= 0)
		close(pages->fd);
	free(pages->runs);
	free(pages->before);
	*pages = (struct co_pages){.fd = -1};
}

const char *co_pages_method(const struct co_pages *pages)
{
	return pages->fd < 0 ? "none" : pages->no_scan ? "pagemap" : "pagemap_scan";
}

void co_pages_begin(struct co_pages *pages)
{
	if (pages->kept) {
		struct ft_page_run *runs = pages->before;
		size_t room = pages->before_room;

		pages->before = pages->runs;
		pages->n_before = pages->n_runs;
		pages->before_room = pages->room;
		pages->runs = runs;
		pages->room = room;
	}
	pages->n_runs = 0;
	pages->overflow = false;
	pages->kept = false;
}

void co_pages_keep(struct co_pages *pages)
{
	pages->kept = !pages->overflow;
}

void co_pages_forget(struct co_pages *pages)
{
	pages->n_runs = pages->n_before = 0;
	pages->kept = false;
}

static void add_run(struct co_pages *pages, uint64_t start, uint64_t end, uint8_t state)
{
	uint64_t n_pages = (end - start) / pages->page_bytes;

	if (!n_pages || pages->overflow)
		return;
	if (pages->n_runs) {
		struct ft_page_run *last = &pages->runs[pages->n_runs - 1];

		if (last->start + last->n_pages * pages->page_bytes == start &&
		    last->state == state) {
			last->n_pages += n_pages;
			return;
		}
	}
	if (pages->n_runs == pages->room) {
		size_t room = pages->room ? pages->room * 2 : 256;
		struct ft_page_run *runs = room <= FT_RESIDENCY_RUNS
						   ? realloc(pages->runs, room * sizeof(*runs))
						   : NULL;

		if (!runs) {
			pages->overflow = true;
			return;
		}
		pages->runs = runs;
		pages->room = room;
	}
	pages->runs[pages->n_runs++] =
		(struct ft_page_run){.start = start, .n_pages = n_pages, .state = state};
}

void co_pages_absent(struct co_pages *pages, uint64_t start, uint64_t end)
{
	add_run(pages, start, end, FT_PAGES_ABSENT);
}

static uint8_t scan_state(uint64_t categories)
{
	if (categories & SCAN_ZERO)
		return FT_PAGES_ABSENT;
	if (categories & SCAN_PRESENT)
		return categories & SCAN_HUGE ? FT_PAGES_HUGE : FT_PAGES_RESIDENT;
	return categories & SCAN_SWAPPED ? FT_PAGES_SWAPPED : FT_PAGES_ABSENT;
}

static bool scan_range(struct co_pages *pages, uint64_t start, uint64_t end)
{
	struct scan_region regions[SCAN_REGIONS];
	uint64_t done = start; /* all before it is entered */

	for (uint64_t at = start; at < end;) {
		struct scan_arg arg = {
			.size = sizeof(arg),
			.start = at,
			.end = end,
			.vec = (uint64_t)(uintptr_t)regions,
			.vec_len = SCAN_REGIONS,
			.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
			.return_mask = SCAN_PRESENT | SCAN_SWAPPED | SCAN_ZERO | SCAN_HUGE,
		};
		int n = ioctl(pages->fd, SCAN_IOCTL, &arg);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		for (int i = 0; i < n; i++) {
			co_pages_absent(pages, done, regions[i].start);
			add_run(pages, regions[i].start, regions[i].end,
				scan_state(regions[i].categories));
			done = regions[i].end;
		}
		/* With room left all was walked. The kernel's own walk_end is stale when it filled
		 * its buffer on the way (6.7 to 6.18 at least), then behind the last region. */
		if (n < SCAN_REGIONS)
			break;
		at = arg.walk_end > done ? arg.walk_end : done;
	}
	co_pages_absent(pages, done, end);
	return true;
}

static bool read_range(struct co_pages *pages, uint64_t start, uint64_t end)
{
	uint64_t entries[READ_ENTRIES];

	while (start < end) {
		uint64_t want = (end - start) / pages->page_bytes;
		ssize_t got = pread(pages->fd, entries,
				    (want < READ_ENTRIES ? want : READ_ENTRIES) * sizeof(*entries),
				    (off_t)(start / pages->page_bytes * sizeof(*entries)));

		if (got < (ssize_t)sizeof(*entries))
			return false;
		for (size_t i = 0; i < (size_t)got / sizeof(*entries); i++) {
			uint8_t state = entries[i] & ENTRY_PRESENT   ? FT_PAGES_RESIDENT
					: entries[i] & ENTRY_SWAPPED ? FT_PAGES_SWAPPED
								     : FT_PAGES_ABSENT;

			add_run(pages, start, start + pages->page_bytes, state);
			start += pages->page_bytes;
		}
	}
	return true;
}

bool co_pages_scan(struct co_pages *pages, uint64_t start, uint64_t end)
{
	if (pages->fd < 0)
		return false;
	if (!pages->no_scan) {
		size_t n_runs = pages->n_runs;
		uint64_t last_pages = n_runs ? pages->runs[n_runs - 1].n_pages : 0;

		if (scan_range(pages, start, end))
			return true;
		if (errno != ENOTTY && errno != EINVAL)
			return false;
		pages->no_scan = true;
		pages->n_runs = n_runs;
		if (n_runs)
			pages->runs[n_runs - 1].n_pages = last_pages;
	}
	return read_range(pages, start, end);
}

bool co_pages_unchanged(const struct co_pages *pages)
{
	if (pages->n_runs != pages->n_before)
		return false;
	for (size_t i = 0; i < pages->n_runs; i++)
		if (pages->runs[i].start != pages->before[i].start ||
		    pages->runs[i].n_pages != pages->before[i].n_pages ||
		    pages->runs[i].state != pages->before[i].state)
			return false;
	return true;
}

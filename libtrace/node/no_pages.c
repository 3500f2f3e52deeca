/* SPDX-License-Identifier: MIT */
/* /proc/kpageflags: see no_pages.h. */
#include "no_pages.h"

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

/* include/uapi/linux/kernel-page-flags.h */
enum {
	KPF_DIRTY = 4,
	KPF_LRU = 5,
	KPF_SLAB = 7,
	KPF_WRITEBACK = 8,
	KPF_BUDDY = 10,
	KPF_MMAP = 11,
	KPF_ANON = 12,
	KPF_SWAPBACKED = 14,
	KPF_COMPOUND_HEAD = 15,
	KPF_COMPOUND_TAIL = 16,
	KPF_UNEVICTABLE = 18,
	KPF_HWPOISON = 19,
	KPF_NOPAGE = 20,
	KPF_OFFLINE = 23,
};

enum { PAGEBLOCK = 512 };

static uint64_t bit(unsigned n)
{
	return UINT64_C(1) << n;
}

enum ft_node_page no_page_kind(uint64_t flags)
{
	if (flags & (bit(KPF_NOPAGE) | bit(KPF_OFFLINE)))
		return FT_NODE_ABSENT;
	if (flags & bit(KPF_BUDDY))
		return FT_NODE_FREE;
	if (flags & bit(KPF_SLAB))
		return FT_NODE_SLAB;
	if (flags & bit(KPF_HWPOISON))
		return FT_NODE_OTHER;
	/* On its way to a list of the LRU, in a cpu's batch; compaction empties these first. */
	if (!(flags & bit(KPF_LRU)))
		return flags & bit(KPF_MMAP) && flags & bit(KPF_ANON) ? FT_NODE_MOVABLE
								      : FT_NODE_OTHER;
	if (flags & (bit(KPF_UNEVICTABLE) | bit(KPF_ANON) | bit(KPF_SWAPBACKED) | bit(KPF_MMAP) |
		     bit(KPF_DIRTY) | bit(KPF_WRITEBACK)))
		return FT_NODE_MOVABLE;
	return FT_NODE_CACHE;
}

/* The order of the compound page that begins at flags[0]; 0: it is none, or not whole. */
static unsigned compound_order(const uint64_t *flags, size_t at, size_t n)
{
	size_t end = at + 1;
	unsigned order = 0;

	if (!(flags[at] & bit(KPF_COMPOUND_HEAD)))
		return 0;
	while (end < n && flags[end] & bit(KPF_COMPOUND_TAIL))
		end++;
	while (order < 10 && (size_t)2 << order <= end - at && !(at & (((size_t)2 << order) - 1)))
		order++;
	return order;
}

/* A whole pageblock without a single flag. */
static bool is_bare(const uint64_t *flags, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (flags[i])
			return false;
	return true;
}

size_t no_pages_runs(const uint64_t *flags, uint64_t first, size_t n, struct ft_node_run *runs)
{
	size_t n_runs = 0, bare_until = 0;

	for (size_t at = 0; at < n;) {
		enum ft_node_page kind = no_page_kind(flags[at]);
		unsigned order = 0;

		if (!((first + at) % PAGEBLOCK) && n - at >= PAGEBLOCK &&
		    is_bare(flags + at, PAGEBLOCK))
			bare_until = at + PAGEBLOCK;
		if (at < bare_until)
			kind = FT_NODE_ABSENT;

		/* The flags of tails are those of the head, but for what marks the page itself. */
		if (kind != FT_NODE_FREE && kind != FT_NODE_ABSENT)
			order = compound_order(flags, at, n);
		if (n_runs && runs[n_runs - 1].kind == kind && runs[n_runs - 1].order == order)
			runs[n_runs - 1].n++;
		else
			runs[n_runs++] = (struct ft_node_run){
				.kind = (uint8_t)kind, .order = (uint8_t)order, .n = 1};
		at += (size_t)1 << order;
	}
	return n_runs;
}

int no_pages_read(int fd, uint64_t first, size_t n, uint64_t *flags)
{
	char *at = (char *)flags;
	size_t left = n * sizeof(*flags);

	while (left) {
		ssize_t got =
			pread(fd, at, left, (off_t)(first * sizeof(*flags)) + (at - (char *)flags));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (!got)
			break;
		at += got;
		left -= (size_t)got;
	}
	for (size_t i = n - left / sizeof(*flags); i < n; i++)
		flags[i] = bit(KPF_NOPAGE);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * /proc/kpageflags: what each page frame is used for
 *
 * The kinds are those of enum ft_node_page. A frame is MOVABLE when it is on a list of the LRU, or
 * on its way there: also where it is locked into memory (vm.compact_unevictable_allowed is 1 unless
 * somebody says otherwise). CACHE is the part of them that
 * /proc/sys/vm/drop_caches would free: of a file, clean, not mapped, not shared memory.
 */
#ifndef NO_PAGES_H
#define NO_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "fragtrace/node.h"

enum { NO_PAGES_AT_ONCE = 1 << 15 }; /* a multiple of the largest block of the buddy allocator */

enum ft_node_page no_page_kind(uint64_t flags);

/*
 * The runs of `n` frames from `first` on with these flags. Memory that was never handed to the
 * allocator has no flags at all, as single pages of the kernel's own have: a whole pageblock (2
 * MiB) like that counts as absent. Compound pages become blocks of their order as far as they are
 * whole and aligned. `runs` has room for n; the result is how many there are. Pure.
 */
size_t no_pages_runs(const uint64_t *flags, uint64_t first, size_t n, struct ft_node_run *runs);

/* Read the flags of [first, first + n) from an open /proc/kpageflags; frames beyond its end are
 * absent. 0, or errno. */
int no_pages_read(int fd, uint64_t first, size_t n, uint64_t *flags);

#endif

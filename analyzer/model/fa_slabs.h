/* SPDX-License-Identifier: MIT */
/*
 * Slabs: where an allocator of size classes has put its blocks, read off their addresses
 *
 * Such an allocator cuts a slab (tcmalloc: span, mimalloc: page) into slots of one size. A free
 *slot is of use to that size alone until the whole slab is empty: what pins memory is then not the
 *page but the slab. A block's slab follows from its address where only one place fits:
 *
 * - jemalloc: a slab of slots of s bytes begins at a page and is lcm(s, page) bytes long (src/sc.c,
 *   size_class()): no two of its pages leave the same remainder by s.
 * - tcmalloc: gperftools; a span begins at a page of 8 KiB and is as long as src/common.cc,
 *   SizeMap::Init() has it. Where several pages fit, as with powers of two in long spans, the block
 *   is not placed.
 * - mimalloc: 2.x; slots of up to 16 KiB lie in pages of 64 KiB that are aligned to their size
 *   (MI_SMALL_PAGE_SHIFT, MI_SMALL_OBJ_SIZE_MAX in include/mimalloc/types.h). The first slot begins
 *   a little behind the page's begin, which the addresses tell.
 *
 * With L(a) the bytes of the live slots of a slab, F(a) those of its free slots, and S(a) the sites
 * with blocks in it, what a site holds is what fa_pagemap.h defines, slab for page. What is left
 * behind the last slot is lost to all and counted nowhere.
 *
 * Pure: no events, no I/O. Single-threaded.
 */
#ifndef FA_SLABS_H
#define FA_SLABS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fa_pagemap.h"
#include "fa_sizeclass.h"

struct fa_slab_block; /* 24 bytes: a block and where its slab is */

/* All slabs of one size. */
struct fa_slab_class {
	uint32_t size;	     /* bytes of a slot */
	uint32_t slab_bytes; /* of a slab */
	uint64_t slabs, full_slabs;
	uint64_t slots, blocks; /* of these slabs; of them live */
	uint64_t free_bytes;	/* (slots - blocks) * size */
	/* Slabs that would be empty if blocks could be moved together, in bytes: all but
	 * ceil(blocks / slots of a slab). */
	uint64_t compact_gain_bytes;
	/* Slabs that could share their memory with another one without moving an address (Powers et
	 * al., "Mesh", PLDI 2019: their live slots are disjoint, both less than 80 % full), in
	 * bytes. Pairs are found greedily with FA_MESH_PROBES tries each: a lower bound. */
	uint64_t mesh_gain_bytes;
};
enum { FA_MESH_PROBES = 64 };

struct fa_slabs {
	enum fa_size_scheme scheme;
	struct fa_size_classes sizes;
	struct fa_slab_block *blocks; /* that have a place; owned */
	size_t n, room;
	uint64_t large_blocks, large_bytes; /* larger than any slot: in no slab */
	/* Blocks that fit in several places or none, or beside blocks of another size. */
	uint64_t unplaced_blocks, unplaced_bytes;

	/* After fa_slabs_finish(): by size, those without slabs too. */
	struct fa_slab_class classes[FA_SIZE_CLASSES_MAX];
	struct fa_slab_class total; /* sums; size and slab_bytes are 0 */
	uint64_t bytes;		    /* of all slabs */
};

/* Whether the slabs of an allocator ("jemalloc", ...) can be read off; false: nothing is done. */
bool fa_slabs_init(struct fa_slabs *slabs, const char *allocator);
void fa_slabs_deinit(struct fa_slabs *slabs);

/* A live block of `usable` bytes, as the allocator has it: the size of its slot. */
struct ft_error *fa_slabs_add(struct fa_slabs *slabs, uint64_t address, uint64_t usable,
			      uint32_t site);

/*
 * All blocks are there: find the slabs. What each site holds is added to `pins`, indexed by site
 * (sites >= n_pins are left out; pages are slabs there). The shapley values of all sites add up to
 * the free bytes of all slabs.
 */
struct ft_error *fa_slabs_finish(struct fa_slabs *slabs, struct fa_pin *pins, size_t n_pins);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Holes: the free runs between live blocks
 *
 * Knows where live blocks are, not which ones: a bit for 16 bytes (8 where a block's edge asks for
 * it) of each page that holds an edge of a block. A new or dying block finds its two neighbours
 * and exchanges at most three holes, so that every figure is exact after each event, at a cost that
 * depends neither on the size of the block nor on the number of blocks.
 *
 * What lies between two live blocks is a hole only inside one region: a stretch of addresses in
 * which no 64 KiB were without ever holding a live byte. Space that the heap was never seen to use
 * belongs to somebody else as far as we know: it is unknown, never free. For the same reason
 * nothing before the first or after the last live block of a region is counted.
 *
 *	hole_bytes == sum of sizes of holes          n_holes == number of holes, none is empty
 *	order counts: whole pages inside holes, cut as the buddy allocator would
 *
 * Single-threaded.
 */
#ifndef FA_HOLES_H
#define FA_HOLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fa_pool.h"
#include "fa_regions.h"
#include "fa_ufi.h"
#include "ft_error.h"
#include "ft_map.h"

/* Sizes by the 8 bytes below 256, above that eight to each power of two. */
enum { FA_HOLE_BINS = 32 + 8 * 40, FA_HOLES_RECENT = 1024, FA_HOLES_SMALL = 512 };

static inline unsigned fa_hole_bin(uint64_t size)
{
	if (size < 256)
		return (unsigned)(size / 8);

	unsigned log2 = 63 - (unsigned)__builtin_clzll(size);
	unsigned bin = 32 + (log2 - 8) * 8 + ((unsigned)(size >> (log2 - 3)) & 7);

	return bin < FA_HOLE_BINS ? bin : FA_HOLE_BINS - 1;
}

/* The smallest size in a bin. */
static inline uint64_t fa_hole_bin_start(unsigned bin)
{
	return bin < 32 ? UINT64_C(8) * bin : (UINT64_C(8) + (bin & 7)) << (bin / 8 + 1);
}

struct fa_hole_totals {
	uint64_t n_holes, hole_bytes;
	uint64_t bin_holes[FA_HOLE_BINS]; /* by fa_hole_bin(size) */
	uint64_t bin_bytes[FA_HOLE_BINS];
	uint64_t free_pages;	 /* whole 4 KiB pages in holes */
	struct fa_orders orders; /* the same pages, as naturally aligned blocks */
	/* What glibc's malloc_trim() would return: of a free chunk at p of s bytes the pages in
	 * [p + 48, p + s). Holes are taken as one chunk each, which holds after consolidation. */
	uint64_t trim_pages;
};

struct fa_holes_leaf;
struct fa_holes_cell;

struct fa_holes {
	unsigned phase;		/* 8 for glibc, whose extents begin 8 below a multiple of 16 */
	struct ft_map leaf_map; /* address >> 22 -> index */
	struct fa_holes_leaf *leaves;
	size_t n_leaves, leaf_room;
	struct {
		uint64_t key; /* + 1; 0: none */
		size_t leaf;
	} recent[FA_HOLES_RECENT];    /* leaves found lately, by the low bits of their key */
	struct fa_pool pool;	      /* slabs */
	struct fa_holes_cell **cells; /* 64 KiB each, in slabs */
	size_t n_cells, n_slabs, slab_room;
	/* By cell: no hole of a page or more that starts in it is larger, and one is as large
	 * unless bit 0 is set; 0: there is none. */
	uint64_t *bounds;
	/* By size / 8: holes smaller than a page. [0] counts nothing. */
	uint32_t small[FA_HOLES_SMALL];
	struct ft_map upper[7]; /* which leaves are in use: 64-ary bitmap tree over them */
	uint64_t (*fine)[8];	/* bits of pages that need one for 8 bytes */
	size_t n_fine, fine_room;
	uint64_t free_fine;
	struct fa_regions regions; /* ever in use, in units of 64 KiB */
	/* Not those of holes smaller than a page by size, nor n_holes: fa_holes_totals(). */
	struct fa_hole_totals totals;
};

/* `phase`: extents are multiples of 16 less this, mostly; others that are multiples of 8 are
 * handled too. 0 or 8. */
void fa_holes_init(struct fa_holes *holes, unsigned phase);
void fa_holes_deinit(struct fa_holes *holes);

/*
 * The extent [start, end), multiples of 8, came to life. Refused (*refused, nothing changed) when
 * it overlaps a live one, which is how damaged recordings and unknown allocators show; remove only
 * what was taken. `tags` join those of its region. After an error only deinit is allowed.
 */
struct ft_error *fa_holes_add(struct fa_holes *holes, uint64_t start, uint64_t end, uint8_t tags,
			      bool *refused);
void fa_holes_remove(struct fa_holes *holes, uint64_t start, uint64_t end);

/* An extent came and went, and nobody looked: its region is known from here on. What lives now is
 * of no account, it may lie where the extent was. */
struct ft_error *fa_holes_cover(struct fa_holes *holes, uint64_t start, uint64_t end, uint8_t tags);

/* An update at `address` is coming soon: start to fetch its bits. */
void fa_holes_prefetch(struct fa_holes *holes, uint64_t address);

/* All figures, as they are now; valid until the next update. */
const struct fa_hole_totals *fa_holes_totals(struct fa_holes *holes);

/* Size of the largest hole; 0 without holes. Amortised: looks again only where the largest one
 * went. */
uint64_t fa_holes_largest(struct fa_holes *holes);

/* Visit the holes in address order: from *cursor (0 first). */
bool fa_holes_next(const struct fa_holes *holes, uint64_t *cursor, uint64_t *start, uint64_t *end);

/* The same of those that whole pages lie in; it costs a look at each 64 KiB, and at these. */
bool fa_holes_next_large(const struct fa_holes *holes, uint64_t *cursor, uint64_t *start,
			 uint64_t *end);

/* Start of the first live extent that begins at or after `from`, which is in none. */
bool fa_holes_first(const struct fa_holes *holes, uint64_t from, uint64_t *start);
/* End of the last live extent below `to`, which is in none. */
bool fa_holes_last_end(const struct fa_holes *holes, uint64_t to, uint64_t *end);
/* Tags of the region that holds `address`; 0 outside of all. */
uint8_t fa_holes_tags(const struct fa_holes *holes, uint64_t address);

/* Stretches of 64 KiB that an edge of a live extent lies in. */
uint64_t fa_holes_used_cells(const struct fa_holes *holes);

size_t fa_holes_memory(const struct fa_holes *holes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Layout: where live blocks lie, and what is between them
 *
 * One picture of the heap for all who ask about places: its pages with their sites (fa_pagemap),
 * the holes between blocks (fa_holes), and the regions that it ever used. Blocks with a mapping of
 * their own leave nothing behind when they go, no hole before or after them: their pages are kept
 * apart.
 *
 * A block that overlaps another, as damaged recordings and unknown allocators have them, has no
 * place: it is counted and left out until it dies. Memory: at most 64 bytes a page that is partly
 * in use. Single-threaded.
 */
#ifndef FA_LAYOUT_H
#define FA_LAYOUT_H

#include "fa_holes.h"
#include "fa_pagemap.h"

/* What kind of heap a block lies in: tags of fa_holes.regions. */
enum { FA_TAG_MAIN = 1, FA_TAG_ARENA = 2 };

/* The bytes of one block, headers and rounding included. */
struct fa_place {
	uint64_t start, end; /* multiples of 8 */
	bool own_mapping;
	uint8_t tag; /* FA_TAG_... */
};

struct fa_layout {
	struct fa_pagemap pages;  /* of the heaps, */
	struct fa_pagemap mapped; /* of blocks with a mapping of their own */
	struct fa_holes holes;
	struct fa_regions own; /* ever held by blocks with mappings of their own */
	struct ft_map refused; /* addresses of blocks without a place */
	uint64_t n_refused;    /* that ever were */
};

/* `phase`: see fa_holes_init(). */
void fa_layout_init(struct fa_layout *layout, unsigned phase);
void fa_layout_deinit(struct fa_layout *layout);

/* The block that a program knows by `address` came to life. After an error only deinit is allowed.
 */
struct ft_error *fa_layout_add(struct fa_layout *layout, const struct fa_place *place,
			       uint64_t address, uint32_t site);
/* It died. */
void fa_layout_remove(struct fa_layout *layout, const struct fa_place *place, uint64_t address,
		      uint32_t site);
/* A block came and went, and nobody looked. But for the region of one without a mapping of its own:
 * fa_holes_cover(). */
struct ft_error *fa_layout_pass(struct fa_layout *layout, const struct fa_place *place);

/* A block whose bytes begin near `address` comes or goes soon: start to fetch its records; then,
 * some updates later, what hangs on them. */
static inline void fa_layout_prefetch(struct fa_layout *layout, uint64_t address)
{
	fa_holes_prefetch(&layout->holes, address);
	fa_pagemap_prefetch(&layout->pages, address);
}

static inline void fa_layout_prefetch_sites(struct fa_layout *layout, uint64_t address)
{
	fa_pagemap_prefetch_sites(&layout->pages, address);
}

/* Pages with live bytes, and free ones between them. */
static inline uint64_t fa_layout_held_pages(const struct fa_layout *layout)
{
	return layout->pages.totals.live_pages + layout->mapped.totals.live_pages +
	       layout->holes.totals.free_pages;
}

#endif

/* SPDX-License-Identifier: MIT */
/* Slabs: see fa_slabs.h. */
#include "fa_slabs.h"

#include <stdlib.h>
#include <string.h>

#include "ft_cleanup.h"

enum { MESH_FULL_PCT = 80, MAX_SLOTS = 8192 };

struct fa_slab_block {
	uint64_t slab; /* address */
	uint32_t offset;
	uint32_t site;
	uint8_t class;
	bool meshed; /* of the first of a slab: it has a partner */
};

bool fa_slabs_init(struct fa_slabs *slabs, const char *allocator)
{
	static const enum fa_size_scheme schemes[] = {FA_SIZES_JEMALLOC, FA_SIZES_TCMALLOC,
						      FA_SIZES_MIMALLOC};

	*slabs = (struct fa_slabs){0};
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		if (strcmp(fa_size_scheme_name(schemes[i]), allocator) != 0)
			continue;
		slabs->scheme = schemes[i];
		fa_size_classes_init(&slabs->sizes, schemes[i]);
		return true;
	}
	return false;
}

void fa_slabs_deinit(struct fa_slabs *slabs)
{
	free(slabs->blocks);
	*slabs = (struct fa_slabs){0};
}

/* ---- the slab of a block -----------------------------------------------------------------------
 */

/* Where slabs can begin: at multiples of this. */
static uint32_t page_of(enum fa_size_scheme scheme)
{
	return scheme == FA_SIZES_JEMALLOC ? 4096 : scheme == FA_SIZES_TCMALLOC ? 8192 : 65536;
}

/* False when not exactly one slab can hold the block. */
static bool find_slab(const struct fa_slabs *slabs, const struct fa_size_class *class,
		      uint64_t address, struct fa_slab_block *block)
{
	uint32_t page = page_of(slabs->scheme);
	uint64_t start = address & -(uint64_t)page;
	unsigned n = 0;

	for (uint64_t offset = address - start; offset + class->size <= class->span;
	     offset += page, start -= page) {
		/* mimalloc's first slot begins where it likes; its slabs have one page. */
		if (slabs->scheme != FA_SIZES_MIMALLOC && offset % class->size)
			continue;
		block->slab = start;
		block->offset = (uint32_t)offset;
		n++;
	}
	return n == 1;
}

struct ft_error *fa_slabs_add(struct fa_slabs *slabs, uint64_t address, uint64_t usable,
			      uint32_t site)
{
	const struct fa_size_class *class;
	struct fa_slab_block block = {.site = site};

	if (!usable) {
		slabs->unplaced_blocks++;
		return NULL;
	}
	class = fa_size_class_of(&slabs->sizes, usable);
	if (!class) {
		slabs->large_blocks++;
		slabs->large_bytes += usable;
		return NULL;
	}
	if (class->size != usable || !find_slab(slabs, class, address, &block)) {
		slabs->unplaced_blocks++;
		slabs->unplaced_bytes += usable;
		return NULL;
	}
	block.class = (uint8_t)(class - slabs->sizes.classes);
	if (slabs->n == slabs->room) {
		size_t room = slabs->room ? slabs->room * 2 : 1024;
		struct fa_slab_block *blocks = realloc(slabs->blocks, room * sizeof(*blocks));

		if (!blocks)
			return &ft_enomem;
		slabs->blocks = blocks;
		slabs->room = room;
	}
	slabs->blocks[slabs->n++] = block;
	return NULL;
}

/* ---- one slab ----------------------------------------------------------------------------------
 */

static int block_order(const void *a, const void *b)
{
	const struct fa_slab_block *x = a, *y = b;

	if (x->slab != y->slab)
		return x->slab < y->slab ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Do the blocks lie in slots of one size, no two on the same? */
static bool is_slab(const struct fa_slab_block *blocks, size_t n, uint32_t size)
{
	for (size_t i = 1; i < n; i++)
		if (blocks[i].class != blocks[0].class ||
		    blocks[i].offset % size != blocks[0].offset % size ||
		    blocks[i].offset == blocks[i - 1].offset)
			return false;
	return true;
}

static int site_order(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Deal the free bytes of a slab out to its sites, in whole bytes. `sites` has room for n. */
static void deal(const struct fa_slab_block *blocks, size_t n, uint64_t free_bytes, uint32_t *sites,
		 struct fa_pin *pins, size_t n_pins)
{
	size_t n_sites = 0;

	for (size_t i = 0; i < n; i++)
		sites[i] = blocks[i].site;
	qsort(sites, n, sizeof(*sites), site_order);
	for (size_t i = 0; i < n; i++)
		if (!n_sites || sites[n_sites - 1] != sites[i])
			sites[n_sites++] = sites[i];
	for (size_t i = 0; i < n_sites; i++) {
		struct fa_pin *pin = &pins[sites[i]];

		if (sites[i] >= n_pins)
			continue;
		pin->shapley += free_bytes / n_sites + (i < free_bytes % n_sites);
		pin->any += free_bytes;
		pin->sole += n_sites == 1 ? free_bytes : 0;
		pin->pages_sole += n_sites == 1;
		pin->pages_any += free_bytes > 0;
	}
}

/* ---- meshing -----------------------------------------------------------------------------------
 */

/* A slab that may share its memory with another one. */
struct open_slab {
	size_t first; /* of its blocks */
	uint32_t n;
	uint8_t class;
};

static int open_order(const void *a, const void *b)
{
	const struct open_slab *x = a, *y = b;

	if (x->class != y->class)
		return x->class < y->class ? -1 : 1;
	if (x->n != y->n)
		return x->n < y->n ? -1 : 1;
	return (x->first > y->first) - (x->first < y->first);
}

static bool disjoint(const struct fa_slab_block *a, size_t n_a, const struct fa_slab_block *b,
		     size_t n_b, uint32_t size)
{
	size_t i = 0, k = 0;

	while (i < n_a && k < n_b) {
		uint32_t x = a[i].offset / size, y = b[k].offset / size;

		if (x == y)
			return false;
		if (x < y)
			i++;
		else
			k++;
	}
	return true;
}

/* Pairs among the open slabs of one class, the emptiest first: each with the next one that fits. */
static uint64_t mesh(struct fa_slab_block *blocks, const struct open_slab *open, size_t n,
		     uint32_t size)
{
	uint64_t pairs = 0;

	for (size_t i = 0; i < n; i++) {
		struct fa_slab_block *a = blocks + open[i].first;
		unsigned probes = 0;

		for (size_t k = i + 1; k < n && probes < FA_MESH_PROBES && !a->meshed; k++) {
			struct fa_slab_block *b = blocks + open[k].first;

			if (b->meshed)
				continue;
			probes++;
			if (!disjoint(a, open[i].n, b, open[k].n, size))
				continue;
			a->meshed = b->meshed = true;
			pairs++;
		}
	}
	return pairs;
}

/* ---- all of them -------------------------------------------------------------------------------
 */

/* What the classes would gain, once their slabs are known; and the sums. */
static void finish_classes(struct fa_slabs *slabs, struct open_slab *open, size_t n_open)
{
	struct fa_slab_class *total = &slabs->total;
	size_t from = 0, to;

	if (n_open)
		qsort(open, n_open, sizeof(*open), open_order);
	for (size_t i = 0; i < slabs->sizes.n; i++, from = to) {
		struct fa_slab_class *class = &slabs->classes[i];
		uint64_t slots = class->slabs ? class->slots / class->slabs : 1;

		for (to = from; to < n_open && open[to].class == i;)
			to++;
		class->free_bytes = (class->slots - class->blocks) * class->size;
		class->compact_gain_bytes =
			(class->slabs - (class->blocks + slots - 1) / slots) * class->slab_bytes;
		class->mesh_gain_bytes = mesh(slabs->blocks, open + from, to - from, class->size) *
					 class->slab_bytes;

		total->slabs += class->slabs;
		total->full_slabs += class->full_slabs;
		total->slots += class->slots;
		total->blocks += class->blocks;
		total->free_bytes += class->free_bytes;
		total->compact_gain_bytes += class->compact_gain_bytes;
		total->mesh_gain_bytes += class->mesh_gain_bytes;
		slabs->bytes += class->slabs * class->slab_bytes;
	}
}

struct ft_error *fa_slabs_finish(struct fa_slabs *slabs, struct fa_pin *pins, size_t n_pins)
{
	ft_auto_free uint32_t *sites = malloc(MAX_SLOTS * sizeof(*sites));
	ft_auto_free struct open_slab *open = NULL;
	struct fa_slab_block *blocks = slabs->blocks;
	size_t n_slabs = 0, n_open = 0, end;

	if (slabs->n)
		qsort(blocks, slabs->n, sizeof(*blocks), block_order);
	for (size_t i = 0; i < slabs->n; i++)
		n_slabs += !i || blocks[i].slab != blocks[i - 1].slab;
	open = malloc((n_slabs + 1) * sizeof(*open));
	if (!sites || !open)
		return &ft_enomem;
	for (size_t i = 0; i < slabs->sizes.n; i++) {
		slabs->classes[i].size = slabs->sizes.classes[i].size;
		slabs->classes[i].slab_bytes = slabs->sizes.classes[i].span;
	}
	for (size_t i = 0; i < slabs->n; i = end) {
		struct fa_slab_class *class = &slabs->classes[blocks[i].class];
		uint64_t next;
		uint32_t slots, live;

		for (end = i + 1; end < slabs->n && blocks[end].slab == blocks[i].slab;)
			end++;
		next = end < slabs->n ? blocks[end].slab - blocks[i].slab : UINT64_MAX;
		live = (uint32_t)(end - i);
		slots = (class->slab_bytes - blocks[i].offset % class->size) / class->size;
		/* One that reaches into the next is none. */
		if (next < class->slab_bytes || !is_slab(blocks + i, live, class->size)) {
			slabs->unplaced_blocks += live;
			for (size_t k = i; k < end; k++)
				slabs->unplaced_bytes += slabs->classes[blocks[k].class].size;
			continue;
		}
		class->slabs++;
		class->full_slabs += live == slots;
		class->slots += slots;
		class->blocks += live;
		deal(blocks + i, live, (uint64_t)(slots - live) * class->size, sites, pins, n_pins);
		if (live * 100 < slots * MESH_FULL_PCT)
			open[n_open++] =
				(struct open_slab){.first = i, .n = live, .class = blocks[i].class};
	}
	finish_classes(slabs, open, n_open);
	return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * Size classes: what a request is rounded up to, and what a slab or span of such blocks wastes
 *
 * Arithmetic only. The tables of a scheme are computed by the rules of its source:
 *
 * - Go: src/internal/runtime/gc/sizeclasses.go (68 classes with the empty one; the sizes and pages
 *   are facts of that file, everything else is computed).
 * - jemalloc: four classes a doubling, quantum 16; a slab is the least number of pages that its
 *   class divides (include/jemalloc/internal/sc.h, src/sc.c, 5.x).
 * - tcmalloc: gperftools, src/common.cc, SizeMap::Init(), pages of 8 KiB.
 * - mimalloc: the same steps up to 16 KiB, in pages of 64 KiB (2.x, include/mimalloc/types.h:
 *   MI_SMALL_OBJ_SIZE_MAX, MI_SMALL_PAGE_SHIFT; src/page-queue.c, _mi_bin()). What the first slot
 *   leaves in front of it is not counted.
 *
 * SLUB is not a table: the slab of any size of object follows from calculate_order() in mm/slub.c.
 */
#ifndef FA_SIZECLASS_H
#define FA_SIZECLASS_H

#include <stddef.h>
#include <stdint.h>

enum fa_size_scheme {
	FA_SIZES_GO,
	FA_SIZES_JEMALLOC,
	FA_SIZES_TCMALLOC,
	FA_SIZES_MIMALLOC,
	FA_SIZE_SCHEMES
};

enum { FA_SIZE_CLASSES_MAX = 128 };

struct fa_size_class {
	uint32_t size;	  /* bytes of a block */
	uint32_t span;	  /* bytes of a slab or span of them */
	uint32_t objects; /* span / size */
	uint32_t tail;	  /* span % size: never used */
};

struct fa_size_classes {
	struct fa_size_class classes[FA_SIZE_CLASSES_MAX]; /* ascending */
	size_t n;
};

const char *fa_size_scheme_name(enum fa_size_scheme scheme);
void fa_size_classes_init(struct fa_size_classes *classes, enum fa_size_scheme scheme);

/* The class that serves a request of `size` > 0 bytes; NULL: larger than all of them. */
const struct fa_size_class *fa_size_class_of(const struct fa_size_classes *classes, uint64_t size);

/* The share of a full span that is wasted when every request is the smallest that the class serves:
 * ((size - previous - 1) * objects + tail) / span, in 0..1. `i` indexes classes. */
double fa_size_class_max_waste(const struct fa_size_classes *classes, size_t i);

/*
 * What if the classes [first, last] were one, that of `last`? Bytes of spans saved (negative: more
 * are needed), given the live blocks of each class (`live`, indexed as classes) and the spans that
 * they really occupy now (`spans`). Exact as far as blocks pack full spans after the merge.
 */
int64_t fa_size_class_merge(const struct fa_size_classes *classes, size_t first, size_t last,
			    const uint64_t *live, const uint64_t *spans);

/* ---- SLUB -------------------------------------------------------------------------------------
 */

struct fa_slub {
	unsigned page_shift; /* 12 */
	unsigned cpus;	     /* num_present_cpus() */
	unsigned max_order;  /* slub_max_order: 3 unless the command line says otherwise */
	unsigned min_order;
};

/* calculate_order(): 2^order pages a slab for objects of `size` bytes, their alignment and metadata
 * included; UINT32_MAX: no slab is large enough. */
unsigned fa_slub_order(const struct fa_slub *slub, uint32_t size);
/* oo_objects() */
unsigned fa_slub_objects(const struct fa_slub *slub, unsigned order, uint32_t size);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What glibc's malloc keeps and gives back, as far as a recording of calls tells
 *
 * From malloc/malloc.c of glibc 2.26 to 2.36 and later:
 *
 *  - A freed chunk of at most 1040 bytes goes to its thread's cache first: 7 of each of 64 sizes.
 * What lies there is in use as far as the heap is concerned: it neither joins its neighbours nor is
 * it trimmed.
 *  - malloc_trim(0) gives back, of each free chunk at p of s bytes, the pages in [p + 48, p + s),
 * in all arenas; and of the main heap's top all but 32 bytes, in whole pages.
 *  - A block of M_MMAP_THRESHOLD bytes (128 KiB at first) gets a mapping of its own. The free of
 * such a block raises the threshold to its size, up to 32 MiB, and the threshold for trimming the
 *    top to twice that.
 *
 * Caches are modelled by what is freed and allocated; chunks that malloc moves there by itself are
 * not seen. Single-threaded.
 */
#ifndef FA_GLIBC_H
#define FA_GLIBC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_error.h"

enum {
	FA_TCACHE_BINS = 64,
	FA_TCACHE_FILL = 7,
	FA_TCACHE_MAX = 32 + 16 * (FA_TCACHE_BINS - 1), /* chunk size */
};
#define FA_MMAP_THRESHOLD     (UINT64_C(128) << 10)
#define FA_MMAP_THRESHOLD_MAX (UINT64_C(32) << 20)

struct fa_tcache_bin {
	uint64_t address[FA_TCACHE_FILL]; /* of blocks, newest last */
	uint64_t n;
};

struct fa_tcache {
	struct fa_tcache_bin **threads; /* FA_TCACHE_BINS each; NULL: nothing freed yet */
	size_t n_threads;
};

void fa_tcache_deinit(struct fa_tcache *tcache); /* zeroed memory is an empty one */

/* Thread `thread` freed the block at `address`, whose chunk is `chunk` bytes, header included. */
struct ft_error *fa_tcache_free(struct fa_tcache *tcache, uint32_t thread, uint64_t address,
				uint64_t chunk);
/* It got a block. */
void fa_tcache_alloc(struct fa_tcache *tcache, uint32_t thread, uint64_t address, uint64_t chunk);

/* A chunk that is free for the program and in use for the heap. */
struct fa_kept {
	uint64_t address, chunk; /* of the block; bytes of the chunk, which begins 16 before it */
};
/* All kept chunks of the threads for which alive(ctx, thread) is true: a new array by address. */
struct ft_error *fa_tcache_kept(const struct fa_tcache *tcache,
				bool (*alive)(const void *ctx, uint32_t thread), const void *ctx,
				struct fa_kept **ret, size_t *n);

/* The pages [*first, *last) that malloc_trim() gives back of the free chunk at p of s bytes. False
 * when there are none. */
bool fa_trim_pages(uint64_t p, uint64_t s, uint64_t *first, uint64_t *last);

/* Likewise of the main heap's top chunk at p, which ends at the break. */
bool fa_trim_top(uint64_t p, uint64_t brk, uint64_t *first, uint64_t *last);

struct fa_mmap_threshold {
	uint64_t bytes;		/* as it is now */
	uint64_t n_raised;	/* how often a free raised it */
	uint64_t raised_ns;	/* the last time, */
	uint64_t raised_by;	/* by the block of so many requested bytes, */
	uint32_t stack, thread; /* made there; freed by that thread */
};

/* A block with a mapping of its own was freed: `mapped` bytes of mapping. True when that raised the
 * threshold. */
bool fa_mmap_threshold_free(struct fa_mmap_threshold *threshold, uint64_t mapped);

#endif

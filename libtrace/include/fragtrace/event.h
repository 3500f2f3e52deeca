/* SPDX-License-Identifier: MIT */
/*
 * Events: what a recording says about the heap
 *
 * An event is one call that changed the heap, in the order in which the allocator made the changes.
 * Enumerator values are on disk: they are never reused, new ones are appended.
 */
#ifndef FRAGTRACE_EVENT_H
#define FRAGTRACE_EVENT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ft_event_kind {
	FT_EVENT_ALLOC = 1, /* a block was born at `address` */
	FT_EVENT_FREE = 2,  /* the block at `address` died */
	FT_EVENT_REALLOC =
		3, /* the block at `old_address` became the one at `address` (maybe the same) */
};

/* The call behind an event. malloc, new and new[] are families of their own: a block must be
 * released by its own family. */
enum ft_api {
	FT_API_UNKNOWN = 0,
	FT_API_MALLOC = 1,
	FT_API_CALLOC = 2,
	FT_API_REALLOC = 3,
	FT_API_REALLOCARRAY = 4,
	FT_API_POSIX_MEMALIGN = 5,
	FT_API_ALIGNED_ALLOC = 6,
	FT_API_MEMALIGN = 7,
	FT_API_VALLOC = 8,
	FT_API_PVALLOC = 9,
	FT_API_FREE = 10,
	FT_API_CFREE = 11,
	FT_API_FREE_SIZED = 12,
	FT_API_FREE_ALIGNED_SIZED = 13,
	FT_API_NEW = 14,	 /* operator new, nothrow too */
	FT_API_NEW_ARRAY = 15,	 /* operator new[] */
	FT_API_NEW_ALIGNED = 16, /* operator new(size, align_val_t) */
	FT_API_NEW_ARRAY_ALIGNED = 17,
	FT_API_DELETE = 18,
	FT_API_DELETE_ARRAY = 19,
	FT_API_DELETE_SIZED = 20,
	FT_API_DELETE_ARRAY_SIZED = 21,
	FT_API_DELETE_ALIGNED = 22, /* with or without a size */
	FT_API_DELETE_ARRAY_ALIGNED = 23,
	/* The program's own word on its pools (fragtrace/mark.h). */
	FT_API_POOL_ALLOC = 24, /* an object; its address has FT_ADDRESS_POOL set */
	FT_API_POOL_FREE = 25,
	FT_API_POOL_RESET = 26, /* it went with all of its pool's */
	FT_API_POOL_BACKING =
		27, /* a realloc in place: the block is memory of a pool from now on */
	FT_API_N    /* not on disk */
};

/* In an address: not a block of the allocator's, but an object that a pool of the program's made in
 * one. Its first byte may be the block's, too. Addresses of user space do not have the bit. */
#define FT_ADDRESS_POOL (UINT64_C(1) << 47)

/* What must release a block: a call of its own family. Of malloc's, all take free() and realloc().
 * Not on disk. */
enum ft_family {
	FT_FAMILY_NONE,
	FT_FAMILY_MALLOC,
	FT_FAMILY_NEW,
	FT_FAMILY_NEW_ARRAY,
	FT_FAMILY_NEW_ALIGNED,
	FT_FAMILY_NEW_ARRAY_ALIGNED,
	FT_FAMILY_POOL,
};
extern const unsigned char ft_api_families[FT_API_N]; /* enum ft_family */

/* Is a block from `born` released by another family's call? */
static inline int ft_api_mismatch(unsigned born, unsigned died)
{
	unsigned from = born < FT_API_N ? ft_api_families[born] : (unsigned)FT_FAMILY_NONE;
	unsigned to = died < FT_API_N ? ft_api_families[died] : (unsigned)FT_FAMILY_NONE;

	return from && to && from != to;
}

/* "malloc", "operator new[]", ...; "unknown" for values out of range. Static text. */
const char *ft_api_name(enum ft_api api);

enum ft_event_flags {
	FT_EVENT_F_MMAPPED = 1 << 0,  /* glibc: the block has a mapping of its own */
	FT_EVENT_F_NON_MAIN = 1 << 1, /* glibc: the block lies in another arena than the main one */
	FT_EVENT_F_IMPLIED =
		1 << 2, /* a free that nobody recorded: the address was handed out again */
	FT_EVENT_F_AFTER_LOSS = 1 << 3, /* first event of its thread after a loss */
	FT_EVENT_F_LATEST = 1 << 4,	/* keyframes only: the latest allocation of its thread */
};

/* Stack and thread ids count from 1 in a recording; 0 is "none". */
struct ft_event {
	uint64_t seq;	  /* 0, 1, 2 ... without gaps in a recording */
	uint64_t time_ns; /* since the start of the recording, CLOCK_MONOTONIC; never decreases with
			     seq */
	uint64_t address; /* what the call returned or took */
	uint64_t size;	  /* requested bytes; 0 for a free */
	uint64_t usable;  /* what the allocator reserved, >= size; 0 when unknown and for a free */
	uint64_t old_address; /* realloc: the block that went in; otherwise 0 */
	uint32_t stack;	 /* the allocating stack; of a free only with --free-stacks, otherwise 0 */
	uint32_t thread; /* thread serial */
	uint8_t kind;	 /* enum ft_event_kind */
	uint8_t api;	 /* enum ft_api */
	uint8_t flags;	 /* enum ft_event_flags */
	uint8_t align_log2; /* requested alignment of the aligned calls, otherwise 0 */
	/* From the reader, of a plain allocation and the plain free of its block where one chunk
	 * has both: number of the other one in the chunk, counted from 1; else 0. Not written. */
	uint32_t pair;
};

#ifdef __cplusplus
}
#endif
#endif

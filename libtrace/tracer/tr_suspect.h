/* SPDX-License-Identifier: MIT */
/*
 * Bad frees, seen before the allocator sees them
 *
 * The tracer keeps no table of live blocks. What it can do for a few instructions is to look where
 * the address lies and, in glibc's heap, at what lies there: the word before a block, which glibc
 * is about to read anyway. Three things come of it, each as a record with the stack of the call:
 *
 *	FT_WIRE_INVALID_FREE	no block can be there: the address is in a stack, a module, a file,
 *				the kernel's mappings or no mapping; in anonymous memory that is not
 *				glibc's; or in its heap where glibc would refuse it (misaligned, or
 *				with a size before it that no chunk has)
 *	FT_WIRE_SUSPECT		it looks as free blocks do: on a free list, or merged. Most live
 *				blocks never do, some may by chance: by itself it says nothing
 *	FT_WIRE_BAD_SIZE	the size that came with the call needs another chunk than this
 *
 * The collector knows what lives: of a block that does, only the last one is news. A free that is
 * not suspect costs its record and no stack, and is told from the events alone.
 *
 * Other allocators' heaps are not known here. With them only the caller's own stack and the memory
 * of modules other than the allocator's are looked at.
 */
#ifndef TR_SUSPECT_H
#define TR_SUSPECT_H

#include "tr_record.h"

/* glibc's main heap, as far as it has been looked at; nothing at first. It is read by every free,
 * and changes when the heap has grown. */
struct tr_main_heap {
	_Atomic uintptr_t low, bytes; /* blocks lie in [low, low + bytes) */
	bool safe_linking;	      /* free lists are as in glibc 2.32 and later */
};
extern struct tr_main_heap tr_main_heap;

/* Once, when the allocator is known. */
void tr_suspect_init(void);

enum { TR_CHUNK_NON_MAIN = 4, TR_CHUNK_FLAGS = 7, TR_CHUNK_MIN = 32, TR_TCACHE_MAX = 1040 };

/*
 * Does the chunk of a block in [low, low + bytes), an area of glibc's that can be read, look as
 * none that is in use? `kind`: the flags, other than PREV_INUSE, that chunks there have. A chunk is
 * a head (size | flags), then the block; free ones have links in it, and glibc 2.32 and later
 * mangles those of short lists by the address that they stand at.
 */
static inline bool tr_chunk_is_suspect(uintptr_t at, size_t given, uintptr_t low, uintptr_t bytes,
				       uintptr_t kind)
{
	const uintptr_t *block = (const uintptr_t *)at;

	if (at & 15)
		return true;

	uintptr_t head = block[-1], size = head & ~(uintptr_t)TR_CHUNK_FLAGS;

	if ((head & 14) != kind || size - TR_CHUNK_MIN > bytes)
		return true;
	if (tr_likely(tr_main_heap.safe_linking)) {
		uintptr_t link = block[0] ^ at >> 12;

		if (tr_unlikely(!(link & 15) && (!link || link - low < bytes)))
			return true;
	}
	if (tr_unlikely(size > TR_TCACHE_MAX) && at - low + size < bytes &&
	    !(*(const uintptr_t *)(at + size - 8) & 1))
		return true;
	if (given != TR_NO_SIZE) {
		uintptr_t needed = (given + 8 + 15) & ~(uintptr_t)15;

		/* What is left over is split off where it could be a chunk of its own. */
		return size < needed || size - needed >= TR_CHUNK_MIN;
	}
	return false;
}

bool tr_is_suspect_elsewhere(const void *block, size_t given);

/* Is the block to be looked at more closely? For the thread that has entered its lane. */
static inline bool tr_is_suspect(const void *block, size_t given)
{
	uintptr_t at = (uintptr_t)block;
	uintptr_t low = atomic_load_explicit(&tr_main_heap.low, memory_order_relaxed);
	uintptr_t bytes = atomic_load_explicit(&tr_main_heap.bytes, memory_order_relaxed);

	if (tr_likely(at - low < bytes))
		return tr_chunk_is_suspect(at, given, low, bytes, 0);
	return tr_is_suspect_elsewhere(block, given);
}

/* Look at it more closely, and write down what is there. The lane is entered; the free itself, if
 * it is one, has been written. */
void tr_suspect(struct tr_lane *lane, enum ft_api api, const void *block, size_t given,
		uint64_t stamp, const void *frame);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Allocators' own names for what they do: glibc's __libc_*, jemalloc's *allocx, tcmalloc's tc_*,
 * mimalloc's mi_*
 *
 * A block that comes by one door and goes by another would be a leak, or a free of nobody's. Like
 * operator new, each is recorded as one call, whatever is called inside. An allocator that calls
 * these from within malloc does so inside of our hook (hooks_c.c).
 *
 * The names exist in the program now even if no such allocator does. Who asks for an allocator by a
 * weak name finds none all the same, as the names that control it (mallctl) are not among these.
 */
#include <stdlib.h>

#include "tr_real.h"
#include "tr_record.h"

#define HOOK  __attribute__((visibility("default")))
#define FRAME __builtin_frame_address(0)

static inline unsigned log2_of(size_t alignment)
{
	return alignment > 1 ? 63U - (unsigned)__builtin_clzll(alignment) : 0;
}

/* A size that can't be: the call fails, and nothing is recorded. */
static inline size_t product(size_t n, size_t size)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? SIZE_MAX : bytes;
}

#define REAL(symbol, type, parameters)         \
	static TR_RUNTIME_SLOT(slot, #symbol); \
	type(*real) parameters = (__typeof__(real))tr_runtime_function(&slot)

#define ALLOCATE(symbol, api, bytes, alignment, parameters, ...)                          \
	void *symbol parameters;                                                          \
	HOOK void *symbol parameters                                                      \
	{                                                                                 \
		REAL(symbol, void *, parameters);                                         \
		if (!real)                                                                \
			return NULL;                                                      \
		struct tr_nest outer = tr_nest_begin(FRAME);                              \
		void *block = real(__VA_ARGS__);                                          \
		tr_nest_end(&outer, api, block, bytes, log2_of(alignment), false, FRAME); \
		return block;                                                             \
	}

#define REALLOCATE(symbol, bytes, parameters, ...)                                 \
	void *symbol parameters;                                                   \
	HOOK void *symbol parameters                                               \
	{                                                                          \
		struct tr_realloc call;                                            \
		REAL(symbol, void *, parameters);                                  \
		if (!real || tr_boot_owns(block))                                  \
			return NULL;                                               \
		tr_realloc_begin(&call, block, FRAME);                             \
		call.foreign = true;                                               \
		void *moved = real(__VA_ARGS__);                                   \
		tr_realloc_end(&call, FT_API_REALLOC, block, moved, bytes, FRAME); \
		return moved;                                                      \
	}

#define RELEASE(symbol, api, parameters, ...)                             \
	void symbol parameters;                                           \
	HOOK void symbol parameters                                       \
	{                                                                 \
		REAL(symbol, void, parameters);                           \
		if (!real || !block || tr_boot_owns(block))               \
			return;                                           \
		tr_record_free(api, block, FRAME);                        \
		struct tr_deleting outer = tr_delete_begin(block, FRAME); \
		real(__VA_ARGS__);                                        \
		tr_delete_end(&outer, block);                             \
	}

/* glibc's, and those of who takes its place under all its names. */
ALLOCATE(__libc_malloc, FT_API_MALLOC, size, 0, (size_t size), size)
ALLOCATE(__libc_calloc, FT_API_CALLOC, product(n, size), 0, (size_t n, size_t size), n, size)
ALLOCATE(__libc_memalign, FT_API_MEMALIGN, size, alignment, (size_t alignment, size_t size),
	 alignment, size)
REALLOCATE(__libc_realloc, size, (void *block, size_t size), block, size)
RELEASE(__libc_free, FT_API_FREE, (void *block), block)

/* jemalloc: the low 6 bits of the flags are the logarithm of the alignment. */
ALLOCATE(mallocx, FT_API_MALLOC, size, (size_t)1 << (flags & 63), (size_t size, int flags), size,
	 flags)
REALLOCATE(rallocx, size, (void *block, size_t size, int flags), block, size, flags)
RELEASE(dallocx, FT_API_FREE, (void *block, int flags), block, flags)
RELEASE(sdallocx, FT_API_FREE_SIZED, (void *block, size_t size, int flags), block, size, flags)

ALLOCATE(tc_malloc, FT_API_MALLOC, size, 0, (size_t size), size)
ALLOCATE(tc_calloc, FT_API_CALLOC, product(n, size), 0, (size_t n, size_t size), n, size)
ALLOCATE(tc_memalign, FT_API_MEMALIGN, size, alignment, (size_t alignment, size_t size), alignment,
	 size)
ALLOCATE(tc_new, FT_API_NEW, size, 0, (size_t size), size)
ALLOCATE(tc_newarray, FT_API_NEW_ARRAY, size, 0, (size_t size), size)
REALLOCATE(tc_realloc, size, (void *block, size_t size), block, size)
RELEASE(tc_free, FT_API_FREE, (void *block), block)
RELEASE(tc_cfree, FT_API_CFREE, (void *block), block)
RELEASE(tc_free_sized, FT_API_FREE_SIZED, (void *block, size_t size), block, size)
RELEASE(tc_delete, FT_API_DELETE, (void *block), block)
RELEASE(tc_deletearray, FT_API_DELETE_ARRAY, (void *block), block)

ALLOCATE(mi_malloc, FT_API_MALLOC, size, 0, (size_t size), size)
ALLOCATE(mi_zalloc, FT_API_CALLOC, size, 0, (size_t size), size)
ALLOCATE(mi_calloc, FT_API_CALLOC, product(n, size), 0, (size_t n, size_t size), n, size)
ALLOCATE(mi_malloc_aligned, FT_API_ALIGNED_ALLOC, size, alignment, (size_t size, size_t alignment),
	 size, alignment)
REALLOCATE(mi_realloc, size, (void *block, size_t size), block, size)
RELEASE(mi_free, FT_API_FREE, (void *block), block)

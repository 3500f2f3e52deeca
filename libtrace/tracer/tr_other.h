/* SPDX-License-Identifier: MIT */
/*
 * What hooks of allocators' own names are made of
 *
 * Each macro makes the hook of one function: how the call is recorded, its parameters as they are
 * declared, and as they are passed on. Expressions for the size and the alignment may use the
 * parameters and, as they are looked at after the call, `block`, which it returned.
 */
#ifndef TR_OTHER_H
#define TR_OTHER_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "tr_real.h"
#include "tr_record.h"

#define HOOK  __attribute__((visibility("default")))
#define FRAME __builtin_frame_address(0)

static inline unsigned log2_of(size_t alignment)
{
	return alignment > 1 ? 63U - (unsigned)__builtin_clzll(alignment) : 0;
}

static inline size_t page_size(void)
{
	return (size_t)getpagesize();
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
		if (tr_realloc_is_inner(block, FRAME))                             \
			return real(__VA_ARGS__);                                  \
		tr_realloc_begin(&call, FT_API_REALLOC, block, FRAME);             \
		call.foreign = true;                                               \
		void *moved = real(__VA_ARGS__);                                   \
		tr_realloc_end(&call, FT_API_REALLOC, block, moved, bytes, FRAME); \
		return moved;                                                      \
	}

#define RELEASE_GIVEN(symbol, api, given, parameters, ...)                \
	void symbol parameters;                                           \
	HOOK void symbol parameters                                       \
	{                                                                 \
		REAL(symbol, void, parameters);                           \
		if (!real || !block || tr_boot_owns(block))               \
			return;                                           \
		tr_record_free(api, block, given, FRAME);                 \
		struct tr_deleting outer = tr_delete_begin(block, FRAME); \
		real(__VA_ARGS__);                                        \
		tr_delete_end(&outer, block);                             \
	}

#define RELEASE(symbol, api, parameters, ...) \
	RELEASE_GIVEN(symbol, api, TR_NO_SIZE, parameters, __VA_ARGS__)
/* Their `size` is to be the requested one. */
#define RELEASE_SIZED(symbol, api, parameters, ...) \
	RELEASE_GIVEN(symbol, api, size, parameters, __VA_ARGS__)

/* As ALLOCATE, of posix_memalign()'s form. */
#define ALLOCATE_INTO(symbol)                                                          \
	int symbol(void **ret, size_t alignment, size_t size);                         \
	HOOK int symbol(void **ret, size_t alignment, size_t size)                     \
	{                                                                              \
		REAL(symbol, int, (void **ret, size_t alignment, size_t size));        \
		if (!real)                                                             \
			return ENOMEM;                                                 \
		struct tr_nest outer = tr_nest_begin(FRAME);                           \
		int failed = real(ret, alignment, size);                               \
		tr_nest_end(&outer, FT_API_POSIX_MEMALIGN, failed ? NULL : *ret, size, \
			    log2_of(alignment), false, FRAME);                         \
		return failed;                                                         \
	}

#endif

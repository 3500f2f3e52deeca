/* SPDX-License-Identifier: MIT */
/*
 * The C allocation calls
 *
 * A hook is call, record, return, and holds no policy. Sizes go on as the program gave them. errno
 * is the real function's: nothing that records touches it (tr_sys.h).
 *
 * Failed calls are not recorded, nor is free(NULL). Blocks of the boot arena (tr_real.h) are known
 * by address and never reach the real allocator.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "tr_module.h"
#include "tr_real.h"
#include "tr_record.h"

#define HOOK  __attribute__((visibility("default")))
#define FRAME __builtin_frame_address(0)

/* Not resolved and not to be resolved now: dlsym() itself is asking. */
#define RESOLVED(name) (tr_likely(tr_real.name) || (tr_real_resolve() && tr_real.name))

void cfree(void *block);
void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t alignment, size_t size);
int dlclose(void *handle);

static inline unsigned log2_of(size_t alignment)
{
	return alignment ? 63U - (unsigned)__builtin_clzll(alignment) : 0;
}

/*
 * An allocator that builds its calls on its public malloc, or on __libc_malloc, comes through our
 * hooks again. glibc's does not, and is spared the bookkeeping.
 */
static inline struct tr_nest begin(const void *frame)
{
	return tr_unlikely(!tr_real.glibc) ? tr_nest_begin(frame) : (struct tr_nest){0};
}

static inline void end(const struct tr_nest *outer, enum ft_api api, void *block, size_t size,
		       size_t alignment, const void *frame)
{
	if (tr_unlikely(!tr_real.glibc))
		tr_nest_end(outer, api, block, size, log2_of(alignment), true, frame);
	else if (tr_likely(block))
		tr_record_alloc(api, block, size, log2_of(alignment), frame);
}

HOOK void *malloc(size_t size)
{
	if (!RESOLVED(malloc))
		return tr_boot_alloc(size, 0);

	struct tr_nest outer = begin(FRAME);
	void *block = tr_real.malloc(size);

	end(&outer, FT_API_MALLOC, block, size, 0, FRAME);
	return block;
}

HOOK void *calloc(size_t n, size_t size)
{
	size_t bytes = 0;

	if (!RESOLVED(calloc))
		return __builtin_mul_overflow(n, size, &bytes) ? NULL : tr_boot_alloc(bytes, 0);

	if (__builtin_mul_overflow(n, size, &bytes))
		return tr_real.calloc(n, size); /* fails as it should */

	struct tr_nest outer = begin(FRAME);
	void *block = tr_real.calloc(n, size);

	end(&outer, FT_API_CALLOC, block, bytes, 0, FRAME);
	return block;
}

/* A block of the boot arena moves to the real heap: for the recording it is born there. */
static void *leave_boot_arena(void *old, size_t size, enum ft_api api, const void *frame)
{
	void *block = RESOLVED(malloc) ? tr_real.malloc(size) : tr_boot_alloc(size, 0);

	if (!block)
		return NULL;

	size_t had = tr_boot_usable(old);

	memcpy(block, old, had < size ? had : size);
	if (!tr_boot_owns(block))
		tr_record_alloc(api, block, size, 0, frame);
	return block;
}

HOOK void *realloc(void *old, size_t size)
{
	struct tr_realloc call;

	if (tr_boot_owns(old))
		return leave_boot_arena(old, size, FT_API_REALLOC, FRAME);
	if (!RESOLVED(realloc))
		return tr_boot_alloc(size, 0);

	tr_realloc_begin(&call, FT_API_REALLOC, old, FRAME);

	void *block = tr_real.realloc(old, size);

	tr_realloc_end(&call, FT_API_REALLOC, old, block, size, FRAME);
	return block;
}

HOOK void *reallocarray(void *old, size_t n, size_t size)
{
	struct tr_realloc call;
	size_t bytes;
	bool overflow = __builtin_mul_overflow(n, size, &bytes);

	if (tr_boot_owns(old)) {
		if (!overflow)
			return leave_boot_arena(old, bytes, FT_API_REALLOCARRAY, FRAME);
		errno = ENOMEM;
		return NULL;
	}
	if (!RESOLVED(reallocarray))
		return overflow ? NULL : tr_boot_alloc(bytes, 0);
	if (overflow)
		return tr_real.reallocarray(old, n, size);
	/* Few other allocators define reallocarray: libc's, in whose place we are, would call this.
	 */
	if (tr_unlikely(tr_real.overtaking_realloc))
		return tr_real.overtaking_realloc(old, bytes);

	tr_realloc_begin(&call, FT_API_REALLOCARRAY, old, FRAME);

	/* glibc's own would call realloc through the symbol table: us, a second time. */
	void *block = tr_real.realloc(old, bytes);

	tr_realloc_end(&call, FT_API_REALLOCARRAY, old, block, bytes, FRAME);
	return block;
}

HOOK void free(void *block)
{
	if (!block || tr_boot_owns(block) || !RESOLVED(free))
		return;
	tr_record_free(FT_API_FREE, block, TR_NO_SIZE, FRAME);
	if (tr_likely(tr_real.glibc)) {
		tr_real.free(block);
		return;
	}

	struct tr_deleting outer = tr_delete_begin(block, FRAME);

	tr_real.free(block);
	tr_delete_end(&outer, block);
}

HOOK void cfree(void *block)
{
	if (!block || tr_boot_owns(block) || !RESOLVED(free))
		return;
	tr_record_free(FT_API_CFREE, block, TR_NO_SIZE, FRAME);
	if (tr_real.cfree)
		tr_real.cfree(block);
	else
		tr_real.free(block);
}

HOOK void free_sized(void *block, size_t size)
{
	if (!block || tr_boot_owns(block) || !RESOLVED(free))
		return;
	tr_record_free(FT_API_FREE_SIZED, block, size, FRAME);
	if (tr_real.free_sized)
		tr_real.free_sized(block, size);
	else
		tr_real.free(block);
}

HOOK void free_aligned_sized(void *block, size_t alignment, size_t size)
{
	if (!block || tr_boot_owns(block) || !RESOLVED(free))
		return;
	tr_record_free(FT_API_FREE_ALIGNED_SIZED, block, size, FRAME);
	if (tr_real.free_aligned_sized)
		tr_real.free_aligned_sized(block, alignment, size);
	else
		tr_real.free(block);
}

HOOK int posix_memalign(void **ret, size_t alignment, size_t size)
{
	if (!RESOLVED(posix_memalign))
		return ENOMEM;

	struct tr_nest outer = begin(FRAME);
	int failed = tr_real.posix_memalign(ret, alignment, size);

	/* *ret is whatever it was if the call failed. */
	end(&outer, FT_API_POSIX_MEMALIGN, failed ? NULL : *ret, size, alignment, FRAME);
	return failed;
}

HOOK void *aligned_alloc(size_t alignment, size_t size)
{
	if (!RESOLVED(aligned_alloc))
		return tr_boot_alloc(size, alignment);

	struct tr_nest outer = begin(FRAME);
	void *block = tr_real.aligned_alloc(alignment, size);

	end(&outer, FT_API_ALIGNED_ALLOC, block, size, alignment, FRAME);
	return block;
}

HOOK void *memalign(size_t alignment, size_t size)
{
	if (!RESOLVED(memalign))
		return tr_boot_alloc(size, alignment);

	struct tr_nest outer = begin(FRAME);
	void *block = tr_real.memalign(alignment, size);

	end(&outer, FT_API_MEMALIGN, block, size, alignment, FRAME);
	return block;
}

HOOK void *valloc(size_t size)
{
	if (!RESOLVED(valloc))
		return tr_boot_alloc(size, 4096);

	struct tr_nest outer = begin(FRAME);
	void *block = tr_real.valloc(size);

	end(&outer, FT_API_VALLOC, block, size, (size_t)getpagesize(), FRAME);
	return block;
}

HOOK void *pvalloc(size_t size)
{
	if (!RESOLVED(pvalloc))
		return tr_boot_alloc(size, 4096);

	struct tr_nest outer = begin(FRAME);
	void *block = tr_real.pvalloc(size);

	end(&outer, FT_API_PVALLOC, block, size, (size_t)getpagesize(), FRAME);
	return block;
}

HOOK size_t malloc_usable_size(void *block)
{
	if (tr_boot_owns(block))
		return tr_boot_usable(block);
	return RESOLVED(malloc_usable_size) ? tr_real.malloc_usable_size(block) : 0;
}

HOOK int dlclose(void *handle)
{
	if (!RESOLVED(dlclose))
		return -1;

	bool live = tr_session_live();

	if (live)
		tr_modules_closing();

	int failed = tr_real.dlclose(handle);

	if (live)
		tr_modules_closed();
	return failed;
}

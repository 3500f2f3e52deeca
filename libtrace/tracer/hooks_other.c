/* SPDX-License-Identifier: MIT */
/*
 * Allocators' own names for what they do: glibc's __libc_*, jemalloc's *allocx, tcmalloc's tc_*
 * (mimalloc's are in hooks_mi.c)
 *
 * A block that comes by one door and goes by another would be a leak, or a free of nobody's. Like
 * operator new, each is recorded as one call, whatever is called inside. An allocator that calls
 * these from within malloc does so inside of our hook (hooks_c.c).
 *
 * The names exist in the program now even if no such allocator does. Who asks for an allocator by a
 * weak name finds none all the same, as the names that control it (mallctl) are not among these.
 */
#include "tr_other.h"

/* glibc's, and those of who takes its place under all its names. */
ALLOCATE(__libc_malloc, FT_API_MALLOC, size, 0, (size_t size), size)
ALLOCATE(__libc_calloc, FT_API_CALLOC, product(n, size), 0, (size_t n, size_t size), n, size)
ALLOCATE(__libc_memalign, FT_API_MEMALIGN, size, alignment, (size_t alignment, size_t size),
	 alignment, size)
ALLOCATE(__libc_valloc, FT_API_VALLOC, size, page_size(), (size_t size), size)
ALLOCATE(__libc_pvalloc, FT_API_PVALLOC, size, page_size(), (size_t size), size)
REALLOCATE(__libc_realloc, size, (void *block, size_t size), block, size)
RELEASE(__libc_free, FT_API_FREE, (void *block), block)
RELEASE(__libc_cfree, FT_API_CFREE, (void *block), block)

/* jemalloc: the low 6 bits of the flags are the logarithm of the alignment. */
ALLOCATE(mallocx, FT_API_MALLOC, size, (size_t)1 << (flags & 63), (size_t size, int flags), size,
	 flags)
REALLOCATE(rallocx, size, (void *block, size_t size, int flags), block, size, flags)
RELEASE(dallocx, FT_API_FREE, (void *block, int flags), block, flags)
/* Any size from the requested to the usable one will do. */
RELEASE(sdallocx, FT_API_FREE_SIZED, (void *block, size_t size, int flags), block, size, flags)

/* In place, to `size` and as much of `extra` as there is room for: what it returns is the size that
 * the block has then, which is below `size` if it could not be done. */
size_t xallocx(void *block, size_t size, size_t extra, int flags);
HOOK size_t xallocx(void *block, size_t size, size_t extra, int flags)
{
	struct tr_realloc call;

	REAL(xallocx, size_t, (void *block, size_t size, size_t extra, int flags));
	if (!real || tr_boot_owns(block))
		return 0;
	if (tr_realloc_is_inner(block, FRAME))
		return real(block, size, extra, flags);
	tr_realloc_begin(&call, FT_API_REALLOC, block, FRAME);
	call.foreign = true;

	size_t usable = real(block, size, extra, flags);
	size_t most = extra > SIZE_MAX - size ? SIZE_MAX : size + extra;

	tr_realloc_end(&call, FT_API_REALLOC, block, usable >= size ? block : NULL,
		       usable < most && usable >= size ? usable : most, FRAME);
	return usable;
}

/* tcmalloc: a tag is a std::nothrow_t. */
ALLOCATE(tc_malloc, FT_API_MALLOC, size, 0, (size_t size), size)
ALLOCATE(tc_malloc_skip_new_handler, FT_API_MALLOC, size, 0, (size_t size), size)
ALLOCATE(tc_calloc, FT_API_CALLOC, product(n, size), 0, (size_t n, size_t size), n, size)
ALLOCATE(tc_memalign, FT_API_MEMALIGN, size, alignment, (size_t alignment, size_t size), alignment,
	 size)
ALLOCATE(tc_valloc, FT_API_VALLOC, size, page_size(), (size_t size), size)
ALLOCATE(tc_pvalloc, FT_API_PVALLOC, size, page_size(), (size_t size), size)
ALLOCATE_INTO(tc_posix_memalign)
ALLOCATE(tc_new, FT_API_NEW, size, 0, (size_t size), size)
ALLOCATE(tc_newarray, FT_API_NEW_ARRAY, size, 0, (size_t size), size)
ALLOCATE(tc_new_nothrow, FT_API_NEW, size, 0, (size_t size, const void *tag), size, tag)
ALLOCATE(tc_newarray_nothrow, FT_API_NEW_ARRAY, size, 0, (size_t size, const void *tag), size, tag)
ALLOCATE(tc_new_aligned, FT_API_NEW_ALIGNED, size, alignment, (size_t size, size_t alignment), size,
	 alignment)
ALLOCATE(tc_newarray_aligned, FT_API_NEW_ARRAY_ALIGNED, size, alignment,
	 (size_t size, size_t alignment), size, alignment)
ALLOCATE(tc_new_aligned_nothrow, FT_API_NEW_ALIGNED, size, alignment,
	 (size_t size, size_t alignment, const void *tag), size, alignment, tag)
ALLOCATE(tc_newarray_aligned_nothrow, FT_API_NEW_ARRAY_ALIGNED, size, alignment,
	 (size_t size, size_t alignment, const void *tag), size, alignment, tag)
REALLOCATE(tc_realloc, size, (void *block, size_t size), block, size)
RELEASE(tc_free, FT_API_FREE, (void *block), block)
RELEASE(tc_cfree, FT_API_CFREE, (void *block), block)
RELEASE_SIZED(tc_free_sized, FT_API_FREE_SIZED, (void *block, size_t size), block, size)
RELEASE(tc_delete, FT_API_DELETE, (void *block), block)
RELEASE(tc_deletearray, FT_API_DELETE_ARRAY, (void *block), block)
RELEASE(tc_delete_nothrow, FT_API_DELETE, (void *block, const void *tag), block, tag)
RELEASE(tc_deletearray_nothrow, FT_API_DELETE_ARRAY, (void *block, const void *tag), block, tag)
RELEASE_SIZED(tc_delete_sized, FT_API_DELETE_SIZED, (void *block, size_t size), block, size)
RELEASE_SIZED(tc_deletearray_sized, FT_API_DELETE_ARRAY_SIZED, (void *block, size_t size), block,
	      size)
RELEASE(tc_delete_aligned, FT_API_DELETE_ALIGNED, (void *block, size_t alignment), block, alignment)
RELEASE(tc_deletearray_aligned, FT_API_DELETE_ARRAY_ALIGNED, (void *block, size_t alignment), block,
	alignment)
RELEASE_SIZED(tc_delete_sized_aligned, FT_API_DELETE_ALIGNED,
	      (void *block, size_t size, size_t alignment), block, size, alignment)
RELEASE_SIZED(tc_deletearray_sized_aligned, FT_API_DELETE_ARRAY_ALIGNED,
	      (void *block, size_t size, size_t alignment), block, size, alignment)
RELEASE(tc_delete_aligned_nothrow, FT_API_DELETE_ALIGNED,
	(void *block, size_t alignment, const void *tag), block, alignment, tag)
RELEASE(tc_deletearray_aligned_nothrow, FT_API_DELETE_ARRAY_ALIGNED,
	(void *block, size_t alignment, const void *tag), block, alignment, tag)

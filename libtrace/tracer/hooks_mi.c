/* SPDX-License-Identifier: MIT */
/*
 * mimalloc's own names (hooks_other.c has the others')
 *
 * Its blocks are all of one family: mi_free() takes what mi_new() gave. What is aligned at an
 * offset into the block is recorded without its alignment, which is not that of its address.
 */
#include <string.h>

#include "tr_other.h"

#define AT(alignment, offset) ((offset) ? 0 : (alignment))

static inline size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static inline size_t wide_size(const unsigned short *text)
{
	size_t n = 0;

	while (text && text[n])
		n++;
	return (n + 1) * sizeof(*text);
}

ALLOCATE(mi_malloc, FT_API_MALLOC, size, 0, (size_t size), size)
ALLOCATE(mi_heap_malloc, FT_API_MALLOC, size, 0, (void *heap, size_t size), heap, size)
ALLOCATE(mi_malloc_small, FT_API_MALLOC, size, 0, (size_t size), size)
ALLOCATE(mi_heap_malloc_small, FT_API_MALLOC, size, 0, (void *heap, size_t size), heap, size)
ALLOCATE(mi_mallocn, FT_API_MALLOC, product(n, size), 0, (size_t n, size_t size), n, size)
ALLOCATE(mi_heap_mallocn, FT_API_MALLOC, product(n, size), 0, (void *heap, size_t n, size_t size),
	 heap, n, size)
ALLOCATE(mi_zalloc, FT_API_CALLOC, size, 0, (size_t size), size)
ALLOCATE(mi_heap_zalloc, FT_API_CALLOC, size, 0, (void *heap, size_t size), heap, size)
ALLOCATE(mi_zalloc_small, FT_API_CALLOC, size, 0, (size_t size), size)
ALLOCATE(mi_calloc, FT_API_CALLOC, product(n, size), 0, (size_t n, size_t size), n, size)
ALLOCATE(mi_heap_calloc, FT_API_CALLOC, product(n, size), 0, (void *heap, size_t n, size_t size),
	 heap, n, size)
ALLOCATE(mi_new, FT_API_MALLOC, size, 0, (size_t size), size)
ALLOCATE(mi_heap_alloc_new, FT_API_MALLOC, size, 0, (void *heap, size_t size), heap, size)
ALLOCATE(mi_new_nothrow, FT_API_MALLOC, size, 0, (size_t size), size)
ALLOCATE(mi_new_n, FT_API_MALLOC, product(n, size), 0, (size_t n, size_t size), n, size)
ALLOCATE(mi_heap_alloc_new_n, FT_API_MALLOC, product(n, size), 0,
	 (void *heap, size_t n, size_t size), heap, n, size)

ALLOCATE(mi_new_aligned, FT_API_ALIGNED_ALLOC, size, alignment, (size_t size, size_t alignment),
	 size, alignment)
ALLOCATE(mi_new_aligned_nothrow, FT_API_ALIGNED_ALLOC, size, alignment,
	 (size_t size, size_t alignment), size, alignment)
ALLOCATE(mi_malloc_aligned, FT_API_ALIGNED_ALLOC, size, alignment, (size_t size, size_t alignment),
	 size, alignment)
ALLOCATE(mi_heap_malloc_aligned, FT_API_ALIGNED_ALLOC, size, alignment,
	 (void *heap, size_t size, size_t alignment), heap, size, alignment)
ALLOCATE(mi_malloc_aligned_at, FT_API_ALIGNED_ALLOC, size, AT(alignment, offset),
	 (size_t size, size_t alignment, size_t offset), size, alignment, offset)
ALLOCATE(mi_heap_malloc_aligned_at, FT_API_ALIGNED_ALLOC, size, AT(alignment, offset),
	 (void *heap, size_t size, size_t alignment, size_t offset), heap, size, alignment, offset)
ALLOCATE(mi_zalloc_aligned, FT_API_ALIGNED_ALLOC, size, alignment, (size_t size, size_t alignment),
	 size, alignment)
ALLOCATE(mi_heap_zalloc_aligned, FT_API_ALIGNED_ALLOC, size, alignment,
	 (void *heap, size_t size, size_t alignment), heap, size, alignment)
ALLOCATE(mi_zalloc_aligned_at, FT_API_ALIGNED_ALLOC, size, AT(alignment, offset),
	 (size_t size, size_t alignment, size_t offset), size, alignment, offset)
ALLOCATE(mi_heap_zalloc_aligned_at, FT_API_ALIGNED_ALLOC, size, AT(alignment, offset),
	 (void *heap, size_t size, size_t alignment, size_t offset), heap, size, alignment, offset)
ALLOCATE(mi_calloc_aligned, FT_API_ALIGNED_ALLOC, product(n, size), alignment,
	 (size_t n, size_t size, size_t alignment), n, size, alignment)
ALLOCATE(mi_heap_calloc_aligned, FT_API_ALIGNED_ALLOC, product(n, size), alignment,
	 (void *heap, size_t n, size_t size, size_t alignment), heap, n, size, alignment)
ALLOCATE(mi_calloc_aligned_at, FT_API_ALIGNED_ALLOC, product(n, size), AT(alignment, offset),
	 (size_t n, size_t size, size_t alignment, size_t offset), n, size, alignment, offset)
ALLOCATE(mi_heap_calloc_aligned_at, FT_API_ALIGNED_ALLOC, product(n, size), AT(alignment, offset),
	 (void *heap, size_t n, size_t size, size_t alignment, size_t offset), heap, n, size,
	 alignment, offset)
ALLOCATE(mi_memalign, FT_API_MEMALIGN, size, alignment, (size_t alignment, size_t size), alignment,
	 size)
ALLOCATE(mi_aligned_alloc, FT_API_ALIGNED_ALLOC, size, alignment, (size_t alignment, size_t size),
	 alignment, size)
ALLOCATE(mi_valloc, FT_API_VALLOC, size, page_size(), (size_t size), size)
ALLOCATE(mi_pvalloc, FT_API_PVALLOC, size, page_size(), (size_t size), size)
ALLOCATE_INTO(mi_posix_memalign)

ALLOCATE(mi_strdup, FT_API_MALLOC, text_size(block), 0, (const char *text), text)
ALLOCATE(mi_heap_strdup, FT_API_MALLOC, text_size(block), 0, (void *heap, const char *text), heap,
	 text)
ALLOCATE(mi_strndup, FT_API_MALLOC, text_size(block), 0, (const char *text, size_t n), text, n)
ALLOCATE(mi_heap_strndup, FT_API_MALLOC, text_size(block), 0,
	 (void *heap, const char *text, size_t n), heap, text, n)
ALLOCATE(mi_mbsdup, FT_API_MALLOC, text_size(block), 0, (const unsigned char *text), text)
ALLOCATE(mi_wcsdup, FT_API_MALLOC, wide_size(block), 0, (const unsigned short *text), text)

REALLOCATE(mi_realloc, size, (void *block, size_t size), block, size)
REALLOCATE(mi_heap_realloc, size, (void *heap, void *block, size_t size), heap, block, size)
REALLOCATE(mi_reallocn, product(n, size), (void *block, size_t n, size_t size), block, n, size)
REALLOCATE(mi_heap_reallocn, product(n, size), (void *heap, void *block, size_t n, size_t size),
	   heap, block, n, size)
REALLOCATE(mi_reallocarray, product(n, size), (void *block, size_t n, size_t size), block, n, size)
REALLOCATE(mi_expand, size, (void *block, size_t size), block, size)
REALLOCATE(mi_rezalloc, size, (void *block, size_t size), block, size)
REALLOCATE(mi_heap_rezalloc, size, (void *heap, void *block, size_t size), heap, block, size)
REALLOCATE(mi_recalloc, product(n, size), (void *block, size_t n, size_t size), block, n, size)
REALLOCATE(mi_heap_recalloc, product(n, size), (void *heap, void *block, size_t n, size_t size),
	   heap, block, n, size)
REALLOCATE(mi_new_realloc, size, (void *block, size_t size), block, size)
REALLOCATE(mi_new_reallocn, product(n, size), (void *block, size_t n, size_t size), block, n, size)
REALLOCATE(mi_realloc_aligned, size, (void *block, size_t size, size_t alignment), block, size,
	   alignment)
REALLOCATE(mi_heap_realloc_aligned, size, (void *heap, void *block, size_t size, size_t alignment),
	   heap, block, size, alignment)
REALLOCATE(mi_realloc_aligned_at, size, (void *block, size_t size, size_t alignment, size_t offset),
	   block, size, alignment, offset)
REALLOCATE(mi_heap_realloc_aligned_at, size,
	   (void *heap, void *block, size_t size, size_t alignment, size_t offset), heap, block,
	   size, alignment, offset)
REALLOCATE(mi_rezalloc_aligned, size, (void *block, size_t size, size_t alignment), block, size,
	   alignment)
REALLOCATE(mi_heap_rezalloc_aligned, size, (void *heap, void *block, size_t size, size_t alignment),
	   heap, block, size, alignment)
REALLOCATE(mi_rezalloc_aligned_at, size,
	   (void *block, size_t size, size_t alignment, size_t offset), block, size, alignment,
	   offset)
REALLOCATE(mi_heap_rezalloc_aligned_at, size,
	   (void *heap, void *block, size_t size, size_t alignment, size_t offset), heap, block,
	   size, alignment, offset)
REALLOCATE(mi_recalloc_aligned, product(n, size),
	   (void *block, size_t n, size_t size, size_t alignment), block, n, size, alignment)
REALLOCATE(mi_heap_recalloc_aligned, product(n, size),
	   (void *heap, void *block, size_t n, size_t size, size_t alignment), heap, block, n, size,
	   alignment)
REALLOCATE(mi_recalloc_aligned_at, product(n, size),
	   (void *block, size_t n, size_t size, size_t alignment, size_t offset), block, n, size,
	   alignment, offset)
REALLOCATE(mi_heap_recalloc_aligned_at, product(n, size),
	   (void *heap, void *block, size_t n, size_t size, size_t alignment, size_t offset), heap,
	   block, n, size, alignment, offset)
REALLOCATE(mi_aligned_recalloc, product(n, size),
	   (void *block, size_t n, size_t size, size_t alignment), block, n, size, alignment)
REALLOCATE(mi_aligned_offset_recalloc, product(n, size),
	   (void *block, size_t n, size_t size, size_t alignment, size_t offset), block, n, size,
	   alignment, offset)
/* They free the block if it can't be resized. */
REALLOCATE(mi_reallocf, moved ? size : 0, (void *block, size_t size), block, size)
REALLOCATE(mi_heap_reallocf, moved ? size : 0, (void *heap, void *block, size_t size), heap, block,
	   size)

RELEASE(mi_free, FT_API_FREE, (void *block), block)
RELEASE(mi_cfree, FT_API_CFREE, (void *block), block)
RELEASE(mi_free_size, FT_API_FREE_SIZED, (void *block, size_t size), block, size)
RELEASE(mi_free_aligned, FT_API_FREE, (void *block, size_t alignment), block, alignment)
RELEASE(mi_free_size_aligned, FT_API_FREE_ALIGNED_SIZED,
	(void *block, size_t size, size_t alignment), block, size, alignment)

/* NetBSD's: the block's address is in a variable, and an error is returned. */
int mi_reallocarr(void *variable, size_t n, size_t size);
HOOK int mi_reallocarr(void *variable, size_t n, size_t size)
{
	struct tr_realloc call;
	void *block, *moved;

	REAL(mi_reallocarr, int, (void *variable, size_t n, size_t size));
	if (!real || !variable)
		return EINVAL;
	memcpy(&block, variable, sizeof(block));
	if (tr_realloc_is_inner(block, FRAME))
		return real(variable, n, size);
	tr_realloc_begin(&call, FT_API_REALLOC, block, FRAME);
	call.foreign = true;

	int failed = real(variable, n, size);

	memcpy(&moved, variable, sizeof(moved));
	tr_realloc_end(&call, FT_API_REALLOCARRAY, block, failed ? NULL : moved,
		       failed ? SIZE_MAX : product(n, size), FRAME);
	return failed;
}

/* A block only where the caller brings no room. */
#define REALPATH(symbol, parameters, ...)                                                    \
	char *symbol parameters;                                                             \
	HOOK char *symbol parameters                                                         \
	{                                                                                    \
		REAL(symbol, char *, parameters);                                            \
		if (!real)                                                                   \
			return NULL;                                                         \
		struct tr_nest outer = tr_nest_begin(FRAME);                                 \
		char *found = real(__VA_ARGS__);                                             \
		tr_nest_end(&outer, FT_API_MALLOC, room ? NULL : found, text_size(found), 0, \
			    false, FRAME);                                                   \
		return found;                                                                \
	}

REALPATH(mi_realpath, (const char *path, char *room), path, room)
REALPATH(mi_heap_realpath, (void *heap, const char *path, char *room), heap, path, room)

int mi_dupenv_s(char **ret, size_t *size, const char *name);
HOOK int mi_dupenv_s(char **ret, size_t *size, const char *name)
{
	REAL(mi_dupenv_s, int, (char **ret, size_t *size, const char *name));
	if (!real)
		return EINVAL;

	struct tr_nest outer = tr_nest_begin(FRAME);
	int failed = real(ret, size, name);
	char *block = failed || !ret ? NULL : *ret;

	tr_nest_end(&outer, FT_API_MALLOC, block, text_size(block), 0, false, FRAME);
	return failed;
}

/* All blocks of a heap go with it. */
typedef bool visit_block(const void *heap, const void *area, void *block, size_t size, void *frame);

static bool release(const void *heap, const void *area, void *block, size_t size, void *frame)
{
	if (block)
		tr_record_free(FT_API_FREE, block, TR_NO_SIZE, frame);
	return true;
}

void mi_heap_destroy(void *heap);
HOOK void mi_heap_destroy(void *heap)
{
	static TR_RUNTIME_SLOT(visiting, "mi_heap_visit_blocks");
	bool (*visit)(const void *heap, bool blocks, visit_block *visitor, void *frame) =
		(__typeof__(visit))tr_runtime_function(&visiting);

	REAL(mi_heap_destroy, void, (void *heap));
	if (!real)
		return;
	if (visit && heap)
		visit(heap, true, release, FRAME);
	real(heap);
}

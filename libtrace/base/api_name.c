/* SPDX-License-Identifier: MIT */
/* Names of the allocation calls: see fragtrace/event.h. */
#include "fragtrace/event.h"

const char *ft_api_name(enum ft_api api)
{
	static const char *const names[FT_API_N] = {
		[FT_API_UNKNOWN] = "unknown",
		[FT_API_MALLOC] = "malloc",
		[FT_API_CALLOC] = "calloc",
		[FT_API_REALLOC] = "realloc",
		[FT_API_REALLOCARRAY] = "reallocarray",
		[FT_API_POSIX_MEMALIGN] = "posix_memalign",
		[FT_API_ALIGNED_ALLOC] = "aligned_alloc",
		[FT_API_MEMALIGN] = "memalign",
		[FT_API_VALLOC] = "valloc",
		[FT_API_PVALLOC] = "pvalloc",
		[FT_API_FREE] = "free",
		[FT_API_CFREE] = "cfree",
		[FT_API_FREE_SIZED] = "free_sized",
		[FT_API_FREE_ALIGNED_SIZED] = "free_aligned_sized",
		[FT_API_NEW] = "operator new",
		[FT_API_NEW_ARRAY] = "operator new[]",
		[FT_API_NEW_ALIGNED] = "operator new(align_val_t)",
		[FT_API_NEW_ARRAY_ALIGNED] = "operator new[](align_val_t)",
		[FT_API_DELETE] = "operator delete",
		[FT_API_DELETE_ARRAY] = "operator delete[]",
		[FT_API_DELETE_SIZED] = "operator delete(size)",
		[FT_API_DELETE_ARRAY_SIZED] = "operator delete[](size)",
		[FT_API_DELETE_ALIGNED] = "operator delete(align_val_t)",
		[FT_API_DELETE_ARRAY_ALIGNED] = "operator delete[](align_val_t)",
		[FT_API_POOL_ALLOC] = "pool_alloc",
		[FT_API_POOL_FREE] = "pool_free",
		[FT_API_POOL_RESET] = "pool_reset",
		[FT_API_POOL_BACKING] = "pool_add",
	};

	return (unsigned)api < FT_API_N ? names[api] : names[FT_API_UNKNOWN];
}

const unsigned char ft_api_families[FT_API_N] = {
	[FT_API_MALLOC] = FT_FAMILY_MALLOC,
	[FT_API_CALLOC] = FT_FAMILY_MALLOC,
	[FT_API_REALLOC] = FT_FAMILY_MALLOC,
	[FT_API_REALLOCARRAY] = FT_FAMILY_MALLOC,
	[FT_API_POSIX_MEMALIGN] = FT_FAMILY_MALLOC,
	[FT_API_ALIGNED_ALLOC] = FT_FAMILY_MALLOC,
	[FT_API_MEMALIGN] = FT_FAMILY_MALLOC,
	[FT_API_VALLOC] = FT_FAMILY_MALLOC,
	[FT_API_PVALLOC] = FT_FAMILY_MALLOC,
	[FT_API_FREE] = FT_FAMILY_MALLOC,
	[FT_API_CFREE] = FT_FAMILY_MALLOC,
	[FT_API_FREE_SIZED] = FT_FAMILY_MALLOC,
	[FT_API_FREE_ALIGNED_SIZED] = FT_FAMILY_MALLOC,
	[FT_API_NEW] = FT_FAMILY_NEW,
	[FT_API_NEW_ALIGNED] = FT_FAMILY_NEW_ALIGNED,
	[FT_API_DELETE] = FT_FAMILY_NEW,
	[FT_API_DELETE_SIZED] = FT_FAMILY_NEW,
	[FT_API_DELETE_ALIGNED] = FT_FAMILY_NEW_ALIGNED,
	[FT_API_NEW_ARRAY] = FT_FAMILY_NEW_ARRAY,
	[FT_API_NEW_ARRAY_ALIGNED] = FT_FAMILY_NEW_ARRAY_ALIGNED,
	[FT_API_DELETE_ARRAY] = FT_FAMILY_NEW_ARRAY,
	[FT_API_DELETE_ARRAY_SIZED] = FT_FAMILY_NEW_ARRAY,
	[FT_API_DELETE_ARRAY_ALIGNED] = FT_FAMILY_NEW_ARRAY_ALIGNED,
	[FT_API_POOL_ALLOC] = FT_FAMILY_POOL,
	[FT_API_POOL_FREE] = FT_FAMILY_POOL,
	[FT_API_POOL_RESET] = FT_FAMILY_POOL,
};

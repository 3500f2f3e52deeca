/* SPDX-License-Identifier: MIT */
/*
 * operator new and delete, in all their forms
 *
 * They are recorded as what they are, once: the malloc inside belongs to them (tr_record.h). They
 * are looked for in load order and not by RTLD_NEXT, which knows nothing of a C++ runtime that
 * came RTLD_LOCAL with a plugin of a C program; in such a program the plugin's operator new is
 * bound to us. If there is no runtime at all, malloc does it, and a failure that should have
 * been std::bad_alloc ends the program, as one that nobody catches would.
 *
 * Exceptions pass through the hooks of operator new: the personality routine, given to the unwinder
 * by hand, only counts the frame out. It needs no landing pad and no C++ runtime of our own.
 */
#include <stdlib.h>
#include <unwind.h>

#include "tr_real.h"
#include "tr_record.h"

#define HOOK  __attribute__((visibility("default")))
#define FRAME __builtin_frame_address(0)

_Unwind_Reason_Code tr_new_personality(int version, _Unwind_Action actions,
				       _Unwind_Exception_Class class,
				       struct _Unwind_Exception *exception,
				       struct _Unwind_Context *context);

__attribute__((visibility("hidden"))) _Unwind_Reason_Code tr_new_personality(
	int version, _Unwind_Action actions, _Unwind_Exception_Class class,
	struct _Unwind_Exception *exception, struct _Unwind_Context *context)
{
	if (actions & _UA_CLEANUP_PHASE)
		tr_nest_unwound();
	return _URC_CONTINUE_UNWIND;
}

#ifdef __x86_64__
/* pcrel | sdata4, resolved at link time. */
#define PASS_EXCEPTIONS() __asm__ volatile(".cfi_personality 0x1b, tr_new_personality")
#else
#define PASS_EXCEPTIONS() ((void)0)
#endif

static void *without_runtime(size_t size, size_t alignment, bool may_fail)
{
	void *block = NULL;

	if (size == 0)
		size = 1;
	if (!alignment)
		block = tr_real.malloc ? tr_real.malloc(size) : tr_boot_alloc(size, 0);
	else if (!tr_real.posix_memalign || tr_real.posix_memalign(&block, alignment, size) != 0)
		block = NULL;
	if (!block && !may_fail)
		abort();
	return block;
}

#define NEW(symbol, api, alignment_, may_fail, parameters, ...)                                  \
	void *symbol parameters;                                                                 \
	HOOK void *symbol parameters                                                             \
	{                                                                                        \
		static TR_RUNTIME_SLOT(slot, #symbol);                                           \
		void *(*real)parameters = (__typeof__(real))tr_runtime_function(&slot);          \
		size_t align = alignment_;                                                       \
                                                                                                 \
		PASS_EXCEPTIONS();                                                               \
		struct tr_nest outer = tr_nest_begin(FRAME);                                     \
		void *block = real ? real(__VA_ARGS__) : without_runtime(size, align, may_fail); \
		tr_nest_end(&outer, api, block, size,                                            \
			    align ? 63U - (unsigned)__builtin_clzll(align) : 0,                  \
			    tr_real.new_is_mallocs, FRAME);                                      \
		return block;                                                                    \
	}

#define DELETE(symbol, api, given, parameters, ...)                                    \
	void symbol parameters;                                                        \
	HOOK void symbol parameters                                                    \
	{                                                                              \
		static TR_RUNTIME_SLOT(slot, #symbol);                                 \
		void(*real) parameters = (__typeof__(real))tr_runtime_function(&slot); \
                                                                                       \
		if (!block || tr_boot_owns(block))                                     \
			return;                                                        \
		tr_record_free(api, block, given, FRAME);                              \
		struct tr_deleting outer = tr_delete_begin(block, FRAME);              \
		if (real)                                                              \
			real(__VA_ARGS__);                                             \
		else if (tr_real.free)                                                 \
			tr_real.free(block);                                           \
		tr_delete_end(&outer, block);                                          \
	}

NEW(_Znwm, FT_API_NEW, 0, false, (size_t size), size)
NEW(_Znam, FT_API_NEW_ARRAY, 0, false, (size_t size), size)
NEW(_ZnwmRKSt9nothrow_t, FT_API_NEW, 0, true, (size_t size, const void *tag), size, tag)
NEW(_ZnamRKSt9nothrow_t, FT_API_NEW_ARRAY, 0, true, (size_t size, const void *tag), size, tag)
NEW(_ZnwmSt11align_val_t, FT_API_NEW_ALIGNED, alignment, false, (size_t size, size_t alignment),
    size, alignment)
NEW(_ZnamSt11align_val_t, FT_API_NEW_ARRAY_ALIGNED, alignment, false,
    (size_t size, size_t alignment), size, alignment)
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, FT_API_NEW_ALIGNED, alignment, true,
    (size_t size, size_t alignment, const void *tag), size, alignment, tag)
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, FT_API_NEW_ARRAY_ALIGNED, alignment, true,
    (size_t size, size_t alignment, const void *tag), size, alignment, tag)

DELETE(_ZdlPv, FT_API_DELETE, TR_NO_SIZE, (void *block), block)
DELETE(_ZdaPv, FT_API_DELETE_ARRAY, TR_NO_SIZE, (void *block), block)
DELETE(_ZdlPvm, FT_API_DELETE_SIZED, size, (void *block, size_t size), block, size)
DELETE(_ZdaPvm, FT_API_DELETE_ARRAY_SIZED, size, (void *block, size_t size), block, size)
DELETE(_ZdlPvRKSt9nothrow_t, FT_API_DELETE, TR_NO_SIZE, (void *block, const void *tag), block, tag)
DELETE(_ZdaPvRKSt9nothrow_t, FT_API_DELETE_ARRAY, TR_NO_SIZE, (void *block, const void *tag), block,
       tag)
DELETE(_ZdlPvSt11align_val_t, FT_API_DELETE_ALIGNED, TR_NO_SIZE, (void *block, size_t alignment),
       block, alignment)
DELETE(_ZdaPvSt11align_val_t, FT_API_DELETE_ARRAY_ALIGNED, TR_NO_SIZE,
       (void *block, size_t alignment), block, alignment)
DELETE(_ZdlPvmSt11align_val_t, FT_API_DELETE_ALIGNED, size,
       (void *block, size_t size, size_t alignment), block, size, alignment)
DELETE(_ZdaPvmSt11align_val_t, FT_API_DELETE_ARRAY_ALIGNED, size,
       (void *block, size_t size, size_t alignment), block, size, alignment)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, FT_API_DELETE_ALIGNED, TR_NO_SIZE,
       (void *block, size_t alignment, const void *tag), block, alignment, tag)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, FT_API_DELETE_ARRAY_ALIGNED, TR_NO_SIZE,
       (void *block, size_t alignment, const void *tag), block, alignment, tag)

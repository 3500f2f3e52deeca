/* SPDX-License-Identifier: MIT */
/*
 * The allocator behind the hooks
 *
 * The next definitions after ours: libc's, or those of a jemalloc or tcmalloc that the program
 * brought. Found once in the constructor, or by the first hook that runs before it.
 *
 * dlsym() may itself allocate. What it gets while we are still looking comes from a small boot
 * arena, which is never given back: hooks check by address whether a block is its.
 */
#ifndef TR_REAL_H
#define TR_REAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tr_sys.h"

struct tr_real {
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t n, size_t size);
	void *(*realloc)(void *block, size_t size);
	void *(*reallocarray)(void *block, size_t n, size_t size);
	void (*free)(void *block);
	int (*posix_memalign)(void **ret, size_t alignment, size_t size);
	void *(*aligned_alloc)(size_t alignment, size_t size);
	void *(*memalign)(size_t alignment, size_t size);
	void *(*valloc)(size_t size);
	void *(*pvalloc)(size_t size);
	size_t (*malloc_usable_size)(void *block);
	int (*pthread_create)(void *, const void *, void *(*)(void *), void *);
	int (*dlclose)(void *handle);
	void *(*mmap)(void *address, size_t bytes, int prot, int flags, int fd, long offset);
	int (*munmap)(void *address, size_t bytes);
	void *(*mremap)(void *old, size_t old_bytes, size_t bytes, int flags, ...);
	int (*madvise)(void *address, size_t bytes, int advice);
	int (*brk)(void *address);
	void *(*sbrk)(intptr_t increment);
	/* Later than C's first version in libc: NULL where libc lacks them, free() then does it. */
	void (*cfree)(void *block);
	void (*free_sized)(void *block, size_t size);
	void (*free_aligned_sized)(void *block, size_t alignment, size_t size);
	/* Of an allocator that comes before this library, in LD_PRELOAD or in the program itself:
	 * its blocks are what the program has, and its calls never come here. NULL: none does. */
	void *(*overtaking_realloc)(void *block, size_t size);
	bool glibc;	     /* malloc is glibc's own: chunk headers may be read */
	bool new_is_mallocs; /* operator new comes with malloc from one library: its blocks are
				malloc_usable_size()'s business even where it does not call malloc
			      */
};

extern struct tr_real tr_real;

/* Fill tr_real. False while this very thread is already doing so: use the boot arena. */
bool tr_real_resolve(void);

extern char tr_boot_arena[];
enum { TR_BOOT_BYTES = 64 << 10 };

static inline bool tr_boot_owns(const void *block)
{
	return tr_unlikely((uintptr_t)block - (uintptr_t)tr_boot_arena < TR_BOOT_BYTES);
}

void *tr_boot_alloc(size_t size, size_t alignment); /* zeroed; NULL when it is used up */
size_t tr_boot_usable(const void *block);

/*
 * The address of a function in the first loaded object that defines it, in load order, this library
 * left out. Finds what RTLD_NEXT can't: a C++ runtime that a C program has loaded RTLD_LOCAL with a
 * plugin. Takes the loader's list lock for a moment; for start-up and once a symbol after it.
 */
void *tr_find_function(const char *name);

/*
 * Functions that are not libc's, of which each hook has one slot, in a section so that they can be
 * walked. NULL: nobody has loaded it.
 */
struct tr_runtime_slot {
	_Atomic(void *) function;
	const char *name;
};

#define TR_RUNTIME_SLOT(variable, name_) \
	struct tr_runtime_slot variable  \
		__attribute__((section("tr_runtime"), used)) = {.name = (name_)}

void *tr_runtime_function(struct tr_runtime_slot *slot);

/* Look for all now, so that a hook does not have to; forget them all. */
void tr_runtime_resolve(void);
void tr_runtime_forget(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A preloaded library that only forwards: the floor of what any preloaded tracer costs
 */
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

static void *(*real_malloc)(size_t);
static void (*real_free)(void *);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);

/* dlsym() may call calloc() before it has told us where calloc is. */
static char boot[4096];
static size_t boot_used;

__attribute__((constructor)) static void resolve(void)
{
	*(void **)&real_malloc = dlsym(RTLD_NEXT, "malloc");
	*(void **)&real_free = dlsym(RTLD_NEXT, "free");
	*(void **)&real_realloc = dlsym(RTLD_NEXT, "realloc");
	*(void **)&real_calloc = dlsym(RTLD_NEXT, "calloc");
}

void *malloc(size_t size);
void free(void *block);
void *calloc(size_t n, size_t size);
void *realloc(void *block, size_t size);

void *malloc(size_t size)
{
	if (!real_malloc)
		resolve();
	return real_malloc(size);
}

void free(void *block)
{
	if ((char *)block >= boot && (char *)block < boot + sizeof(boot))
		return;
	if (!real_free)
		resolve();
	real_free(block);
}

void *calloc(size_t n, size_t size)
{
	static int resolving;

	if (!real_calloc && resolving) {
		void *block = boot + boot_used;

		boot_used += (n * size + 15) & ~(size_t)15;
		return boot_used <= sizeof(boot) ? block : NULL;
	}
	if (!real_calloc) {
		resolving = 1;
		resolve();
		resolving = 0;
	}
	return real_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
	if (!real_realloc)
		resolve();
	return real_realloc(block, size);
}

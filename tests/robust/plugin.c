/* SPDX-License-Identifier: MIT */
/*
 * A library to load and unload; built twice, as `one` and as `two`
 *
 * Both have the same code at the same places, but for the size of their frames: a stack that is
 * walked by the rules of the other one goes wrong.
 */
#include <stdlib.h>
#include <string.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#define NAMED(name) JOIN(PLUGIN, name)

void *NAMED(_allocate)(size_t size);
void NAMED(_release)(void *block);
void *NAMED(_inner)(size_t size);

__attribute__((noinline)) void *NAMED(_inner)(size_t size)
{
	char frame[FRAME_BYTES];
	void *block = malloc(size);

	memset(frame, block != NULL, sizeof(frame));
	__asm__ volatile("" : : "r"(frame) : "memory");
	return block;
}

__attribute__((noinline)) void *NAMED(_allocate)(size_t size)
{
	char frame[FRAME_BYTES];
	void *block = NAMED(_inner)(size);

	memset(frame, block != NULL, sizeof(frame));
	__asm__ volatile("" : : "r"(frame) : "memory");
	return block;
}

void NAMED(_release)(void *block)
{
	free(block);
}

/* Allocates while the library is being unloaded, too. */
__attribute__((destructor)) static void leave(void)
{
	free(NAMED(_inner)(64007));
}

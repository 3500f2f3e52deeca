/* SPDX-License-Identifier: MIT */
/*
 * An allocator that a signal handler may interrupt and re-enter
 *
 * Blocks of one size in rings of slots, handed out in turn by an atomic counter; free() is nothing.
 * Enough for a program that holds few blocks at a time, and as long as who frees rarely and who
 * frees at once take from different rings (by a bit of the size): a block that is still held must
 * not be handed out again. Also stands for any allocator that is not libc's: its blocks have no
 * chunk header before them.
 */
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SLOT = 16 << 10, N_SLOTS = 2048 };

static _Alignas(SLOT) char slots[2][N_SLOTS][SLOT];
static _Atomic unsigned long next_slot[2];

void *malloc(size_t size)
{
	if (size > SLOT) {
		errno = ENOMEM;
		return NULL;
	}

	unsigned ring = size >> 1 & 1;

	return slots[ring][atomic_fetch_add(&next_slot[ring], 1) % N_SLOTS];
}

void free(void *block)
{
}

void *calloc(size_t n, size_t size)
{
	void *block = n && size > SLOT / n ? NULL : malloc(n * size);

	return block ? memset(block, 0, n * size) : NULL;
}

/* Called inside realloc, before it allocates: a scene's place to be interrupted at. */
void (*reentrant_pause)(void);

void *realloc(void *block, size_t size)
{
	if (reentrant_pause)
		reentrant_pause();

	void *moved = malloc(size);

	return moved && block ? memcpy(moved, block, size) : moved;
}

size_t malloc_usable_size(void *block)
{
	return block ? SLOT : 0;
}

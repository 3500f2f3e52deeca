/* SPDX-License-Identifier: MIT */
/*
 * Arena: many small allocations that die together
 *
 * Memory comes in blocks that double up to 1 MiB; a request larger than a block gets a block of its
 * own. Nothing is freed before ft_arena_deinit(). Single-threaded.
 */
#ifndef FT_ARENA_H
#define FT_ARENA_H

#include <stddef.h>

struct ft_arena_block;

struct ft_arena {
	struct ft_arena_block *head; /* the block that is being filled, then the full ones */
	size_t n_bytes;		     /* handed out, without alignment losses */
};

void ft_arena_init(struct ft_arena *arena);
void ft_arena_deinit(struct ft_arena *arena);

/* `size` bytes aligned to 16, not zeroed; NULL when out of memory. Size 0 gives a unique pointer.
 */
void *ft_arena_alloc(struct ft_arena *arena, size_t size);

/* A NUL-terminated copy of the first `len` bytes of `text`; NULL when out of memory. */
char *ft_arena_strndup(struct ft_arena *arena, const char *text, size_t len);
char *ft_arena_strdup(struct ft_arena *arena, const char *text);

#define ft_auto_arena __attribute__((cleanup(ft_arena_deinit)))

#endif

/* SPDX-License-Identifier: MIT */
/* Arena: see ft_arena.h. */
#include "ft_arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_ALIGN = 16, ARENA_FIRST = 4096, ARENA_MAX = 1 << 20 };

struct ft_arena_block {
	struct ft_arena_block *next;
	size_t used, size; /* of `data` */
	_Alignas(ARENA_ALIGN) unsigned char data[];
};

void ft_arena_init(struct ft_arena *arena)
{
	*arena = (struct ft_arena){0};
}

void ft_arena_deinit(struct ft_arena *arena)
{
	struct ft_arena_block *block = arena->head;

	while (block) {
		struct ft_arena_block *next = block->next;

		free(block);
		block = next;
	}
	*arena = (struct ft_arena){0};
}

void *ft_arena_alloc(struct ft_arena *arena, size_t size)
{
	struct ft_arena_block *block = arena->head;

	if (size > SIZE_MAX / 2)
		return NULL;
	size_t need = size ? (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1) : ARENA_ALIGN;

	if (!block || block->size - block->used < need) {
		size_t room = block ? block->size * 2 : ARENA_FIRST;

		if (room > ARENA_MAX)
			room = ARENA_MAX;
		if (room < need)
			room = need;
		block = malloc(sizeof(*block) + room);
		if (!block)
			return NULL;
		block->next = arena->head;
		block->used = 0;
		block->size = room;
		arena->head = block;
	}

	void *p = block->data + block->used;

	block->used += need;
	arena->n_bytes += size;
	return p;
}

char *ft_arena_strndup(struct ft_arena *arena, const char *text, size_t len)
{
	char *copy = ft_arena_alloc(arena, len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *ft_arena_strdup(struct ft_arena *arena, const char *text)
{
	return ft_arena_strndup(arena, text, strlen(text));
}

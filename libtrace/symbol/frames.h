/* SPDX-License-Identifier: MIT */
/*
 * Resolved frames of one module
 *
 * An entry is an offset with its frames, innermost first; an entry without frames says that the
 * offset was looked up and has no name. Strings are kept once. Entries are in the order of their
 * addition until ft_frame_table_sort().
 */
#ifndef FT_SYMBOL_FRAMES_H
#define FT_SYMBOL_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_arena.h"
#include "ft_map.h"

/* Longest text that is kept of a name; template instances reach megabytes. */
enum { FT_SYMBOL_NAME_MAX = 8192 };

struct ft_frame {
	const char *function; /* NULL: unknown */
	const char *file;     /* NULL: unknown */
	uint32_t line;	      /* 0: unknown */
};

struct ft_frame_entry {
	uint64_t offset;
	uint32_t first; /* index of frame 0 in `frames` */
	uint32_t n;
};

struct ft_frame_table {
	struct ft_frame_entry *entries;
	size_t n_entries, max_entries;
	struct ft_frame *frames;
	size_t n_frames, max_frames;
	struct ft_arena strings;
	struct ft_map interned; /* hash -> const char *; a colliding text is simply kept twice */
	bool failed;		/* out of memory: an addition was lost */
};

void ft_frame_table_init(struct ft_frame_table *table);
void ft_frame_table_deinit(struct ft_frame_table *table);

/* Start an entry; ft_frame_table_push() then adds its frames. */
void ft_frame_table_begin(struct ft_frame_table *table, uint64_t offset);
void ft_frame_table_push(struct ft_frame_table *table, const char *function, const char *file,
			 uint32_t line);

/* The table's own copy of `text`, cut at FT_SYMBOL_NAME_MAX; NULL for NULL or out of memory. */
const char *ft_frame_table_intern(struct ft_frame_table *table, const char *text);

void ft_frame_table_sort(struct ft_frame_table *table);

/* Find in a sorted table; NULL if absent. */
const struct ft_frame_entry *ft_frame_table_find(const struct ft_frame_table *table,
						 uint64_t offset);

#endif

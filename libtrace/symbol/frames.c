/* SPDX-License-Identifier: MIT */
/* Resolved frames of one module: growing arrays and a string pool. */
#include <stdlib.h>
#include <string.h>

#include "frames.h"

void ft_frame_table_init(struct ft_frame_table *table)
{
	*table = (struct ft_frame_table){0};
	ft_arena_init(&table->strings);
	ft_map_init(&table->interned);
}

void ft_frame_table_deinit(struct ft_frame_table *table)
{
	ft_map_deinit(&table->interned);
	ft_arena_deinit(&table->strings);
	free(table->frames);
	free(table->entries);
}

/* Make room for one more element; false when out of memory. */
static bool grow(void **array, size_t *max, size_t n, size_t element)
{
	if (n < *max)
		return true;
	size_t wanted = *max ? *max * 2 : 64;
	void *bigger = reallocarray(*array, wanted, element);
	if (!bigger)
		return false;
	*array = bigger;
	*max = wanted;
	return true;
}

void ft_frame_table_begin(struct ft_frame_table *table, uint64_t offset)
{
	if (!grow((void **)&table->entries, &table->max_entries, table->n_entries,
		  sizeof(*table->entries))) {
		table->failed = true;
		return;
	}
	table->entries[table->n_entries++] =
		(struct ft_frame_entry){.offset = offset, .first = (uint32_t)table->n_frames};
}

void ft_frame_table_push(struct ft_frame_table *table, const char *function, const char *file,
			 uint32_t line)
{
	if (table->failed || table->n_frames >= UINT32_MAX ||
	    !grow((void **)&table->frames, &table->max_frames, table->n_frames,
		  sizeof(*table->frames))) {
		table->failed = true;
		return;
	}
	table->frames[table->n_frames++] = (struct ft_frame){
		.function = ft_frame_table_intern(table, function),
		.file = ft_frame_table_intern(table, file),
		.line = line,
	};
	table->entries[table->n_entries - 1].n++;
}

/* Length of `text`, at most FT_SYMBOL_NAME_MAX, without half a UTF-8 character at the cut. */
static size_t cut_length(const char *text)
{
	size_t len = strnlen(text, FT_SYMBOL_NAME_MAX + 1);
	if (len <= FT_SYMBOL_NAME_MAX)
		return len;
	len = FT_SYMBOL_NAME_MAX;
	while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	return len;
}

const char *ft_frame_table_intern(struct ft_frame_table *table, const char *text)
{
	if (!text)
		return NULL;

	size_t len = cut_length(text);
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);

	uint64_t *slot = ft_map_put(&table->interned, hash, NULL);
	if (slot && *slot) {
		const char *known = (const char *)(uintptr_t)*slot;
		if (strncmp(known, text, len) == 0 && known[len] == '\0')
			return known;
	}
	char *copy = ft_arena_strndup(&table->strings, text, len);
	if (!copy)
		table->failed = true;
	if (slot)
		*slot = (uint64_t)(uintptr_t)copy;
	return copy;
}

static int compare_entries(const void *a, const void *b)
{
	const struct ft_frame_entry *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

void ft_frame_table_sort(struct ft_frame_table *table)
{
	if (table->n_entries)
		qsort(table->entries, table->n_entries, sizeof(*table->entries), compare_entries);
}

const struct ft_frame_entry *ft_frame_table_find(const struct ft_frame_table *table,
						 uint64_t offset)
{
	if (!table->n_entries)
		return NULL;
	struct ft_frame_entry key = {.offset = offset};
	return bsearch(&key, table->entries, table->n_entries, sizeof(key), compare_entries);
}

/* SPDX-License-Identifier: MIT */
/* Hash map: see ft_map.h. */
#include "ft_map.h"

#include <stdlib.h>

enum { MAP_FIRST = 64 };

void ft_map_init(struct ft_map *map)
{
	*map = (struct ft_map){0};
}

void ft_map_deinit(struct ft_map *map)
{
	free(map->slots);
	*map = (struct ft_map){0};
}

size_t ft_map_count(const struct ft_map *map)
{
	return map->n_used + map->has_zero_key;
}

/* The slot of `key`, or the empty slot where it would go. There is always an empty one. */
static struct ft_map_slot *map_probe(const struct ft_map *map, uint64_t key)
{
	size_t mask = map->n_slots - 1;

	for (size_t i = ft_hash_u64(key) & mask;; i = (i + 1) & mask)
		if (map->slots[i].key == key || !map->slots[i].key)
			return &map->slots[i];
}

static bool map_grow(struct ft_map *map)
{
	struct ft_map bigger = *map;

	bigger.n_slots = map->n_slots ? map->n_slots * 2 : MAP_FIRST;
	bigger.slots = calloc(bigger.n_slots, sizeof(*bigger.slots));
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < map->n_slots; i++)
		if (map->slots[i].key)
			*map_probe(&bigger, map->slots[i].key) = map->slots[i];
	free(map->slots);
	*map = bigger;
	return true;
}

uint64_t *ft_map_get(const struct ft_map *map, uint64_t key)
{
	if (!key)
		return map->has_zero_key ? (uint64_t *)(uintptr_t)&map->zero_value : NULL;
	if (!map->n_slots)
		return NULL;

	struct ft_map_slot *slot = map_probe(map, key);

	return slot->key ? &slot->value : NULL;
}

uint64_t *ft_map_put(struct ft_map *map, uint64_t key, bool *created)
{
	uint64_t *value = ft_map_get(map, key);

	if (created)
		*created = !value;
	if (value)
		return value;
	if (!key) {
		map->has_zero_key = true;
		map->zero_value = 0;
		return &map->zero_value;
	}
	if ((map->n_used + 1) * 4 > map->n_slots * 3 && !map_grow(map))
		return NULL;

	struct ft_map_slot *slot = map_probe(map, key);

	*slot = (struct ft_map_slot){.key = key};
	map->n_used++;
	return &slot->value;
}

bool ft_map_remove(struct ft_map *map, uint64_t key, uint64_t *value)
{
	uint64_t *found = ft_map_get(map, key);

	if (!found)
		return false;
	if (value)
		*value = *found;
	if (!key) {
		map->has_zero_key = false;
		return true;
	}

	/* Close the gap: move back each follower whose home is not behind the gap (Knuth 6.4, R).
	 */
	size_t mask = map->n_slots - 1, gap = (size_t)(map_probe(map, key) - map->slots);

	for (size_t i = (gap + 1) & mask; map->slots[i].key; i = (i + 1) & mask) {
		size_t home = ft_hash_u64(map->slots[i].key) & mask;

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			map->slots[gap] = map->slots[i];
			gap = i;
		}
	}
	map->slots[gap] = (struct ft_map_slot){0};
	map->n_used--;
	return true;
}

bool ft_map_next(const struct ft_map *map, size_t *cursor, uint64_t *key, uint64_t *value)
{
	for (; *cursor < map->n_slots; ++*cursor) {
		const struct ft_map_slot *slot = &map->slots[*cursor];

		if (!slot->key)
			continue;
		*key = slot->key;
		*value = slot->value;
		++*cursor;
		return true;
	}
	if (*cursor > map->n_slots || !map->has_zero_key)
		return false;
	++*cursor;
	*key = 0;
	*value = map->zero_value;
	return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * Hash map from uint64_t to uint64_t
 *
 * Open addressing, linear probing, at most 3/4 full, deletion by shifting back (no tombstones), so
 * that a table under steady churn stays as fast as a fresh one. 16 bytes a slot. Any key is
 * allowed. Single-threaded. A pointer from ft_map_get()/ft_map_put() is valid until the next put or
 * remove.
 */
#ifndef FT_MAP_H
#define FT_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ft_map_slot {
	uint64_t key; /* 0: the slot is empty */
	uint64_t value;
};

struct ft_map {
	struct ft_map_slot *slots; /* n_slots, a power of two; NULL while empty */
	size_t n_slots;
	size_t n_used;	   /* without the zero key */
	bool has_zero_key; /* key 0 marks an empty slot, so that the key 0 lives here */
	uint64_t zero_value;
};

void ft_map_init(struct ft_map *map);
void ft_map_deinit(struct ft_map *map);

/* Number of keys. */
size_t ft_map_count(const struct ft_map *map);

/* The value of `key`, or NULL. */
uint64_t *ft_map_get(const struct ft_map *map, uint64_t key);

/* The value of `key`, made with value 0 if it was not there (*created tells, may be NULL). NULL
 * when out of memory; the map is then unchanged. */
uint64_t *ft_map_put(struct ft_map *map, uint64_t key, bool *created);

/* Remove `key`; *value (may be NULL) gets what it had. False if it was not there. */
bool ft_map_remove(struct ft_map *map, uint64_t key, uint64_t *value);

/* Visit all: start with *cursor == 0, returns false at the end. Order unspecified but repeatable.
 */
bool ft_map_next(const struct ft_map *map, size_t *cursor, uint64_t *key, uint64_t *value);

/* Mix a key so that its low bits are usable as a table index (Stafford's variant 13 of splitmix64).
 */
static inline uint64_t ft_hash_u64(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return x;
}

#endif

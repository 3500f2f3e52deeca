/* SPDX-License-Identifier: MIT */
/*
 * The live blocks of a follower, by address
 *
 * Blocks stay where they are while they live and have a number; a table of numbers, open addressing
 * with linear probing, at most 5/8 full, finds them. A slot keeps the upper half of the address's
 * hash, so that a look-up which ends in vain, and closing a gap, read no block.
 *
 * Memory: 56 bytes a block, and 13 to 26 of the table. Single-threaded.
 */
#ifndef FT_FOLLOW_TABLE_H
#define FT_FOLLOW_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_map.h"

struct ft_follow_block {
	uint64_t address, size, usable;
	uint64_t born_ns, born_seq; /* of the logical block: a realloc keeps them */
	uint32_t stack, thread;
	uint8_t api, flags, align_log2;
};

struct ft_follow_slot {
	uint32_t tag; /* upper half of the hash; its upper `bits` are where the slot wants to be */
	uint32_t number; /* + 1; 0: the slot is empty */
};

struct ft_follow_table {
	struct ft_follow_slot *slots; /* 1 << bits */
	unsigned bits;
	/* Those that live have an address, which is not 0; the others are linked by `stack`. */
	struct ft_follow_block *blocks;
	uint32_t n_blocks, capacity, first_free; /* number + 1 */
	size_t n_live;
};

bool ft_follow_table_init(struct ft_follow_table *table);
void ft_follow_table_deinit(struct ft_follow_table *table);

/* `address` is not live. Its block, to be filled; valid until the next one. NULL: out of memory. */
struct ft_follow_block *ft_follow_table_insert(struct ft_follow_table *table, uint64_t address);
/* The block goes; *ret gets what it was. False: none lives there. */
bool ft_follow_table_take(struct ft_follow_table *table, uint64_t address,
			  struct ft_follow_block *ret);

static inline size_t ft_follow_table_home(const struct ft_follow_table *table, uint32_t tag)
{
	return tag >> (32 - table->bits);
}

/* What an event about `address` will want, in two steps some events apart. Always inlined: gcc 12
 * drops calls of functions that do nothing but prefetch. */
__attribute__((always_inline)) static inline void ft_follow_table_prefetch(
	const struct ft_follow_table *table, uint64_t address)
{
	uint32_t tag = (uint32_t)(ft_hash_u64(address) >> 32);

	__builtin_prefetch(&table->slots[ft_follow_table_home(table, tag)], 1);
}

__attribute__((always_inline)) static inline void ft_follow_table_prefetch_block(
	const struct ft_follow_table *table, uint64_t address)
{
	uint32_t tag = (uint32_t)(ft_hash_u64(address) >> 32);
	size_t mask = ((size_t)1 << table->bits) - 1, i = ft_follow_table_home(table, tag);

	for (unsigned n = 0; n < 8 && table->slots[i].number; n++, i = (i + 1) & mask) {
		if (table->slots[i].tag != tag)
			continue;
		const char *block = (const char *)&table->blocks[table->slots[i].number - 1];

		__builtin_prefetch(block, 1);
		__builtin_prefetch(block + sizeof(struct ft_follow_block) - 1, 1);
		return;
	}
}

#endif

/* SPDX-License-Identifier: MIT */
/* Live blocks of a follower: see ft_follow_table.h. */
#include "ft_follow_table.h"

#include <stdlib.h>

enum { FIRST_BITS = 10, MAX_BITS = 31 };

bool ft_follow_table_init(struct ft_follow_table *table)
{
	*table = (struct ft_follow_table){.bits = FIRST_BITS};
	table->slots = calloc((size_t)1 << table->bits, sizeof(*table->slots));
	return table->slots != NULL;
}

void ft_follow_table_deinit(struct ft_follow_table *table)
{
	free(table->slots);
	free(table->blocks);
	*table = (struct ft_follow_table){0};
}

static inline uint32_t tag_of(uint64_t address)
{
	return (uint32_t)(ft_hash_u64(address) >> 32);
}

/* The slot that has the block, or the empty one that ends the search. */
static inline size_t probe(const struct ft_follow_table *table, uint64_t address, uint32_t tag)
{
	size_t mask = ((size_t)1 << table->bits) - 1, i = ft_follow_table_home(table, tag);

	while (table->slots[i].number &&
	       (table->slots[i].tag != tag ||
		table->blocks[table->slots[i].number - 1].address != address))
		i = (i + 1) & mask;
	return i;
}

static bool grow_slots(struct ft_follow_table *table)
{
	struct ft_follow_slot *old = table->slots;
	size_t n = (size_t)1 << table->bits, mask = n * 2 - 1;

	if (table->bits == MAX_BITS)
		return false;
	table->slots = calloc(n * 2, sizeof(*table->slots));
	if (!table->slots) {
		table->slots = old;
		return false;
	}
	table->bits++;
	for (size_t k = 0; k < n; k++) {
		size_t i = ft_follow_table_home(table, old[k].tag);

		if (!old[k].number)
			continue;
		while (table->slots[i].number)
			i = (i + 1) & mask;
		table->slots[i] = old[k];
	}
	free(old);
	return true;
}

/* Number + 1 of a block to use; 0: out of memory. */
static uint32_t take_number(struct ft_follow_table *table)
{
	uint32_t number = table->first_free;

	if (number) {
		table->first_free = table->blocks[number - 1].stack;
		return number;
	}
	if (table->n_blocks == table->capacity) {
		uint64_t capacity = table->capacity ? table->capacity * UINT64_C(3) / 2 : 1024;
		struct ft_follow_block *blocks =
			capacity <= UINT32_MAX / 2
				? realloc(table->blocks, capacity * sizeof(*blocks))
				: NULL;

		if (!blocks)
			return 0;
		table->blocks = blocks;
		table->capacity = (uint32_t)capacity;
	}
	return ++table->n_blocks;
}

struct ft_follow_block *ft_follow_table_insert(struct ft_follow_table *table, uint64_t address)
{
	if ((table->n_live + 1) * 8 > (size_t)5 << table->bits && !grow_slots(table))
		return NULL;

	uint32_t number = take_number(table), tag = tag_of(address);

	if (!number)
		return NULL;
	table->slots[probe(table, address, tag)] =
		(struct ft_follow_slot){.tag = tag, .number = number};
	table->n_live++;
	table->blocks[number - 1].address = address;
	return &table->blocks[number - 1];
}

bool ft_follow_table_take(struct ft_follow_table *table, uint64_t address,
			  struct ft_follow_block *ret)
{
	size_t mask = ((size_t)1 << table->bits) - 1;
	size_t gap = probe(table, address, tag_of(address));
	uint32_t number = table->slots[gap].number;
	struct ft_follow_block *block;

	if (!number)
		return false;
	block = &table->blocks[number - 1];
	*ret = *block;
	/* Close the gap: move back each follower whose home is not behind it (Knuth 6.4, R). */
	for (size_t i = (gap + 1) & mask; table->slots[i].number; i = (i + 1) & mask) {
		size_t home = ft_follow_table_home(table, table->slots[i].tag);

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			table->slots[gap] = table->slots[i];
			gap = i;
		}
	}
	table->slots[gap] = (struct ft_follow_slot){0};
	block->address = 0;
	block->stack = table->first_free;
	table->first_free = number;
	table->n_live--;
	return true;
}

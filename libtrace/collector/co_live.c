/* SPDX-License-Identifier: MIT */
/* Live blocks: see co_live.h. */
#include "co_live.h"

#include <stdlib.h>
#include <string.h>

enum { MIN_SLOTS = 64 };

void co_live_init(struct co_live *live)
{
	*live = (struct co_live){0};
}

void co_live_deinit(struct co_live *live)
{
	for (size_t i = 0; i < CO_LIVE_PARTS; i++)
		free(live->parts[i].slots);
	co_live_init(live);
}

size_t co_live_count(const struct co_live *live)
{
	size_t n = 0;

	for (size_t i = 0; i < CO_LIVE_PARTS; i++)
		n += live->parts[i].n_used;
	return n;
}

/* The upper 6 bits choose the part, the 32 below them the slot: scaled, not masked, so that a part
 * may have any number of slots. */
static uint32_t home_slot(const struct co_live_part *part, uint64_t hash)
{
	return (uint32_t)(((hash >> 26 & UINT32_MAX) * part->n_slots) >> 32);
}

static uint32_t next_slot(const struct co_live_part *part, uint32_t slot)
{
	return slot + 1 == part->n_slots ? 0 : slot + 1;
}

static void part_place(struct co_live_part *part, const struct co_block *block)
{
	uint32_t slot = home_slot(part, co_live_hash(block->address));

	while (part->slots[slot].address)
		slot = next_slot(part, slot);
	part->slots[slot] = *block;
}

static bool part_grow(struct co_live_part *part)
{
	uint64_t n = part->n_slots ? part->n_slots + (uint64_t)part->n_slots / 2 : MIN_SLOTS;
	struct co_live_part grown = {.n_slots = (uint32_t)n, .n_used = part->n_used};

	if (n > UINT32_MAX)
		return false;
	grown.slots = calloc(n, sizeof(*grown.slots));
	if (!grown.slots)
		return false;
	for (uint32_t i = 0; i < part->n_slots; i++)
		if (part->slots[i].address)
			part_place(&grown, &part->slots[i]);
	free(part->slots);
	*part = grown;
	return true;
}

struct co_block *co_live_find(const struct co_live *live, uint64_t address)
{
	uint64_t hash = co_live_hash(address);
	const struct co_live_part *part = &live->parts[hash >> 58];

	if (!part->n_slots)
		return NULL;
	for (uint32_t slot = home_slot(part, hash); part->slots[slot].address;
	     slot = next_slot(part, slot))
		if (part->slots[slot].address == address)
			return &part->slots[slot];
	return NULL;
}

enum co_live_put co_live_put(struct co_live *live, const struct co_block *block,
			     struct co_block *old)
{
	uint64_t hash = co_live_hash(block->address);
	struct co_live_part *part = &live->parts[hash >> 58];
	uint32_t slot;

	/* At 3/4 it grows; when it can't, it fills up to the last slot, which stays empty so that
	 * probing ends. */
	if ((uint64_t)part->n_used * 4 >= (uint64_t)part->n_slots * 3 && !part_grow(part) &&
	    part->n_used + 1 >= part->n_slots)
		return CO_LIVE_NO_MEMORY;

	for (slot = home_slot(part, hash); part->slots[slot].address; slot = next_slot(part, slot))
		if (part->slots[slot].address == block->address) {
			*old = part->slots[slot];
			part->slots[slot] = *block;
			return CO_LIVE_REPLACED;
		}
	part->slots[slot] = *block;
	part->n_used++;
	return CO_LIVE_NEW;
}

bool co_live_remove(struct co_live *live, uint64_t address, struct co_block *block)
{
	struct co_block *found = co_live_find(live, address);

	if (!found)
		return false;
	*block = *found;

	struct co_live_part *part = &live->parts[co_live_hash(address) >> 58];
	uint32_t hole = (uint32_t)(found - part->slots);

	/* Shift back whoever sits behind the hole and could sit in it: those whose home is not
	 * cyclically in (hole, slot]. */
	for (uint32_t slot = next_slot(part, hole); part->slots[slot].address;
	     slot = next_slot(part, slot)) {
		uint32_t home = home_slot(part, co_live_hash(part->slots[slot].address));
		bool stays =
			hole < slot ? home > hole && home <= slot : home > hole || home <= slot;

		if (!stays) {
			part->slots[hole] = part->slots[slot];
			hole = slot;
		}
	}
	part->slots[hole].address = 0;
	part->n_used--;
	return true;
}

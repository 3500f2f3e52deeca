/* SPDX-License-Identifier: MIT */
/* Live blocks: see co_live.h. */
#include "co_live.h"

#include <stdlib.h>
#include <string.h>

enum { MIN_SLOTS = 64 };

/* A slot's size that sends the reader to the map, and its slack that says "not known". */
#define SIZE_BIG UINT32_MAX
enum { EXTRA_UNKNOWN = 0xffff };

#define ADDRESS_MASK ((UINT64_C(1) << CO_LIVE_ADDRESS_BITS) - 1)

void co_live_init(struct co_live *live)
{
	*live = (struct co_live){0};
	ft_map_init(&live->big);
}

void co_live_deinit(struct co_live *live)
{
	size_t cursor = 0;
	uint64_t address, big;

	for (size_t i = 0; i < CO_LIVE_PARTS; i++)
		free(live->parts[i].slots);
	while (ft_map_next(&live->big, &cursor, &address, &big))
		free((void *)(uintptr_t)big);
	ft_map_deinit(&live->big);
	co_live_init(live);
}

size_t co_live_count(const struct co_live *live)
{
	size_t n = 0;

	for (size_t i = 0; i < CO_LIVE_PARTS; i++)
		n += live->parts[i].n_used;
	return n;
}

uint64_t co_live_bytes(const struct co_live *live)
{
	uint64_t n = live->big.n_slots * sizeof(struct ft_map_slot) +
		     ft_map_count(&live->big) * sizeof(struct co_block);

	for (size_t i = 0; i < CO_LIVE_PARTS; i++)
		n += live->parts[i].n_slots * sizeof(struct co_live_slot);
	return n;
}

/* The upper 6 bits choose the part, the 32 below them the slot: scaled, not masked, so that a part
 * may have any number of slots. */
static inline uint32_t home_slot(const struct co_live_part *part, uint64_t hash)
{
	return (uint32_t)(((hash >> 26 & UINT32_MAX) * part->n_slots) >> 32);
}

static inline uint32_t next_slot(const struct co_live_part *part, uint32_t slot)
{
	return slot + 1 == part->n_slots ? 0 : slot + 1;
}

static inline struct co_live_part *part_of(const struct co_live *live, uint64_t hash)
{
	return (struct co_live_part *)(uintptr_t)&live->parts[hash >> 58];
}

/* The slot of an address, or the empty one where its search ends. The part is not empty. */
static inline uint32_t find_slot(const struct co_live_part *part, uint64_t hash, uint64_t address)
{
	uint32_t slot = home_slot(part, hash);

	while (part->slots[slot].tagged && (part->slots[slot].tagged & ADDRESS_MASK) != address)
		slot = next_slot(part, slot);
	return slot;
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
	for (uint32_t i = 0; i < part->n_slots; i++) {
		const struct co_live_slot *slot = &part->slots[i];
		uint64_t address = slot->tagged & ADDRESS_MASK;

		if (slot->tagged)
			grown.slots[find_slot(&grown, co_live_hash(address), address)] = *slot;
	}
	free(part->slots);
	*part = grown;
	return true;
}

/* ---- slots -------------------------------------------------------------------------------------
 */

static struct co_block *big_block(const struct co_live *live, const struct co_live_slot *slot)
{
	return (struct co_block *)(uintptr_t)*ft_map_get(&live->big, slot->tagged & ADDRESS_MASK);
}

static bool fill_big(struct co_live *live, struct co_live_slot *slot, const struct co_block *block)
{
	struct co_block *big = malloc(sizeof(*big));
	uint64_t *at = big ? ft_map_put(&live->big, block->address, NULL) : NULL;

	if (!at) {
		free(big);
		return false;
	}
	*big = *block;
	*at = (uint64_t)(uintptr_t)big;
	*slot = (struct co_live_slot){.tagged = block->address, .size = SIZE_BIG};
	return true;
}

/* False: out of memory. */
static inline bool fill_slot(struct co_live *live, struct co_live_slot *slot,
			     const struct co_block *block)
{
	uint64_t extra = block->extra == CO_EXTRA_UNKNOWN ? EXTRA_UNKNOWN : block->extra;

	if (__builtin_expect(block->size >= SIZE_BIG || extra > EXTRA_UNKNOWN ||
				     block->extra == EXTRA_UNKNOWN,
			     0))
		return fill_big(live, slot, block);
	*slot = (struct co_live_slot){.tagged = block->address | extra << CO_LIVE_ADDRESS_BITS,
				      .size = (uint32_t)block->size,
				      .site = block->site};
	return true;
}

static inline void read_slot(const struct co_live *live, const struct co_live_slot *slot,
			     struct co_block *block)
{
	uint32_t extra = (uint32_t)(slot->tagged >> CO_LIVE_ADDRESS_BITS);

	if (__builtin_expect(slot->size == SIZE_BIG, 0)) {
		*block = *big_block(live, slot);
		return;
	}
	*block = (struct co_block){.address = slot->tagged & ADDRESS_MASK,
				   .size = slot->size,
				   .site = slot->site,
				   .extra = extra == EXTRA_UNKNOWN ? CO_EXTRA_UNKNOWN : extra};
}

/* The block of the slot, which is to be emptied. */
static inline void take_slot(struct co_live *live, const struct co_live_slot *slot,
			     struct co_block *block)
{
	read_slot(live, slot, block);
	if (__builtin_expect(slot->size == SIZE_BIG, 0)) {
		free(big_block(live, slot));
		ft_map_remove(&live->big, block->address, NULL);
	}
}

/* ---- look-up, birth, death ---------------------------------------------------------------------
 */

bool co_live_find(const struct co_live *live, uint64_t address, struct co_block *block)
{
	uint64_t hash = co_live_hash(address);
	const struct co_live_part *part = part_of(live, hash);
	uint32_t slot;

	if (!part->n_slots)
		return false;
	slot = find_slot(part, hash, address);
	if (!part->slots[slot].tagged)
		return false;
	read_slot(live, &part->slots[slot], block);
	return true;
}

enum co_live_put co_live_put(struct co_live *live, const struct co_block *block,
			     struct co_block *old)
{
	uint64_t hash = co_live_hash(block->address);
	struct co_live_part *part = part_of(live, hash);
	struct co_live_slot *slot;

	/* At 5/8 it grows; when it can't, it fills up to the last slot, which stays empty so that
	 * probing ends. */
	if (__builtin_expect((uint64_t)part->n_used * 8 >= (uint64_t)part->n_slots * 5, 0) &&
	    !part_grow(part) && part->n_used + 1 >= part->n_slots)
		return CO_LIVE_NO_MEMORY;

	slot = &part->slots[find_slot(part, hash, block->address)];
	if (__builtin_expect(slot->tagged != 0, 0)) {
		co_live_remove(live, block->address, old);
		return co_live_put(live, block, &(struct co_block){0}) == CO_LIVE_NEW
			       ? CO_LIVE_REPLACED
			       : CO_LIVE_REPLACED_LOST;
	}
	if (!fill_slot(live, slot, block))
		return CO_LIVE_NO_MEMORY;
	part->n_used++;
	return CO_LIVE_NEW;
}

bool co_live_remove(struct co_live *live, uint64_t address, struct co_block *block)
{
	uint64_t hash = co_live_hash(address);
	struct co_live_part *part = part_of(live, hash);
	uint32_t hole;

	if (!part->n_slots)
		return false;
	hole = find_slot(part, hash, address);
	if (!part->slots[hole].tagged)
		return false;
	take_slot(live, &part->slots[hole], block);

	/* Shift back whoever sits behind the hole and could sit in it: those whose home is not
	 * cyclically in (hole, slot]. */
	for (uint32_t slot = next_slot(part, hole); part->slots[slot].tagged;
	     slot = next_slot(part, slot)) {
		uint32_t home =
			home_slot(part, co_live_hash(part->slots[slot].tagged & ADDRESS_MASK));
		bool stays =
			hole < slot ? home > hole && home <= slot : home > hole || home <= slot;

		if (!stays) {
			part->slots[hole] = part->slots[slot];
			hole = slot;
		}
	}
	part->slots[hole].tagged = 0;
	part->n_used--;
	return true;
}

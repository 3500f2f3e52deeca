/* SPDX-License-Identifier: MIT */
/*
 * Live blocks by address
 *
 * Open addressing in 64 parts that grow on their own, by half: no pause is longer than one part's
 * rehash, and a block costs 24 bytes a slot at a load of 50 to 75 %, that is 32 to 48 bytes. Fuller
 * would be slower by far: each birth looks for a block that is not there.
 * Deletion shifts back, so that churn leaves no tombstones. Single-threaded.
 */
#ifndef CO_LIVE_H
#define CO_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CO_LIVE_PARTS = 64 };

struct co_block {
	uint64_t address; /* 0: the slot is empty */
	uint64_t size;
	uint32_t site;	/* who allocated it: an index of co_stacks */
	uint32_t extra; /* usable - requested, saturated; CO_EXTRA_UNKNOWN */
};
_Static_assert(sizeof(struct co_block) == 24, "memory a live block is stated");

#define CO_EXTRA_UNKNOWN UINT32_MAX

struct co_live {
	struct co_live_part {
		struct co_block *slots;
		uint32_t n_slots, n_used;
	} parts[CO_LIVE_PARTS];
};

void co_live_init(struct co_live *live);
void co_live_deinit(struct co_live *live);

size_t co_live_count(const struct co_live *live);

/* The block at `address`, or NULL; valid until the next insert or remove. */
struct co_block *co_live_find(const struct co_live *live, uint64_t address);

enum co_live_put {
	CO_LIVE_NEW,
	CO_LIVE_REPLACED, /* a block lived there: *old gets it */
	CO_LIVE_NO_MEMORY /* it is not known */
};
enum co_live_put co_live_put(struct co_live *live, const struct co_block *block,
			     struct co_block *old);

/* Remove the block at `address`; *block gets what it was. */
bool co_live_remove(struct co_live *live, uint64_t address, struct co_block *block);

static inline uint64_t co_live_hash(uint64_t address)
{
	return (address >> 3) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Bring the slot of an address nearer: called some records ahead. */
static inline void co_live_prefetch(const struct co_live *live, uint64_t address)
{
	uint64_t hash = co_live_hash(address);
	const struct co_live_part *part = &live->parts[hash >> 58];
	uint64_t slot = ((hash >> 26 & UINT32_MAX) * part->n_slots) >> 32;

	__builtin_prefetch(part->slots + slot, 1);
}

#endif

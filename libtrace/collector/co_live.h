/* SPDX-License-Identifier: MIT */
/*
 * Live blocks by address
 *
 * Open addressing in 64 parts that grow on their own, by half: no pause is longer than one part's
 * rehash. A slot is 16 bytes, four to a cache line, and a part is at most 5/8 full, so that the
 * look-up which every birth makes in vain ends after 2 to 4 slots: 26 to 39 bytes a block. What
 * does not fit into a slot, a block of 4 GiB or one with 64 KiB to spare, is kept whole beside it.
 * Deletion shifts back, so that churn leaves no tombstones. Single-threaded.
 */
#ifndef CO_LIVE_H
#define CO_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_map.h"

enum { CO_LIVE_PARTS = 64, CO_LIVE_ADDRESS_BITS = 48 };

/* A block as callers see it. Addresses have CO_LIVE_ADDRESS_BITS bits. */
struct co_block {
	uint64_t address;
	uint64_t size;
	uint32_t site;	/* who allocated it: an index of co_stacks */
	uint32_t extra; /* usable - requested, saturated; CO_EXTRA_UNKNOWN */
};

#define CO_EXTRA_UNKNOWN UINT32_MAX

struct co_live_slot {
	uint64_t tagged; /* address | extra << 48; 0: the slot is empty */
	uint32_t size;	 /* UINT32_MAX: see co_live.big */
	uint32_t site;
};
_Static_assert(sizeof(struct co_live_slot) == 16, "memory a live block is stated");

struct co_live {
	struct co_live_part {
		struct co_live_slot *slots;
		uint32_t n_slots, n_used;
	} parts[CO_LIVE_PARTS];
	struct ft_map big; /* address -> struct co_block *, of those that do not fit */
};

void co_live_init(struct co_live *live);
void co_live_deinit(struct co_live *live);

size_t co_live_count(const struct co_live *live);
uint64_t co_live_bytes(const struct co_live *live); /* memory in use */

/* Look up the block at `address`; *block gets it. */
bool co_live_find(const struct co_live *live, uint64_t address, struct co_block *block);

enum co_live_put {
	CO_LIVE_NEW,
	CO_LIVE_REPLACED,      /* a block lived there: *old gets it */
	CO_LIVE_REPLACED_LOST, /* the same, and there is no memory for the new one */
	CO_LIVE_NO_MEMORY      /* it is not known */
};
enum co_live_put co_live_put(struct co_live *live, const struct co_block *block,
			     struct co_block *old);

/* Remove the block at `address`; *block gets what it was. */
bool co_live_remove(struct co_live *live, uint64_t address, struct co_block *block);

static inline uint64_t co_live_hash(uint64_t address)
{
	return (address >> 3) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Bring the slot of an address nearer: called some records ahead. Always inlined: gcc 12 takes a
 * function of nothing but a prefetch for one without effects, and drops the call. */
__attribute__((always_inline)) static inline void co_live_prefetch(const struct co_live *live,
								   uint64_t address)
{
	uint64_t hash = co_live_hash(address);
	const struct co_live_part *part = &live->parts[hash >> 58];
	uint64_t slot = ((hash >> 26 & UINT32_MAX) * part->n_slots) >> 32;

	__builtin_prefetch(part->slots + slot, 1);
}

#endif

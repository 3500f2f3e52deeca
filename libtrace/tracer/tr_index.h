/* SPDX-License-Identifier: MIT */
/*
 * The private index over the trie: from the hash of a stack to its node
 *
 * An open-addressing table of 4-byte slots, at most half full, and beside it the hash of each node,
 * in full: two stacks are one if all 64 bits agree. (That any two that differ are joined has a
 * chance of 1 in 10^8 in a recording of 500 000 nodes, and of 1 in 10^5 in one of 2^24.) A table
 * that is half full is followed by one of twice the size, filled from the hashes; the pages of the
 * old one are given back. A slot is written by one compare-and-swap: nobody ever waits, but the one
 * thread that fills the next table. Entries that another thread makes meanwhile may be lost, and a
 * stack then found missing a second time.
 *
 * Memory of a node: 8 bytes for its hash, 8 to 16 of slots; while the next table is filled, 8 more.
 */
#ifndef TR_INDEX_H
#define TR_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TR_INDEX_ID_BITS = 24, TR_INDEX_PROBES = 512 };

struct tr_index {
	/* The table in use: its address, a multiple of 64, plus log2 of its slots. */
	_Atomic uintptr_t table;
	_Atomic uint64_t *hashes; /* by id; stored before the id is in a slot */
};

extern struct tr_index tr_index;

size_t tr_index_bytes(uint64_t max_nodes); /* what tr_index_init() reserves */
bool tr_index_init(uint64_t max_nodes);
/* No node will have a number of max_nodes or more: the address space for them is given back. */
void tr_index_trim(uint64_t max_nodes);
void tr_index_reset(void);
size_t tr_index_memory(void); /* in bytes: what is touched, at most */

/* A slot: the low byte of the hash, then the id; 0 is empty. Its place is the hash's upper bits. */
static inline uint32_t tr_index_slot(uint64_t hash, uint32_t id)
{
	return (uint32_t)hash << TR_INDEX_ID_BITS | id;
}

static inline size_t tr_index_place(uintptr_t table, uint64_t hash)
{
	return hash >> (64 - (table & 63));
}

static inline _Atomic uint32_t *tr_index_slots(uintptr_t table)
{
	return (_Atomic uint32_t *)(table & ~(uintptr_t)63);
}

static inline void tr_index_prefetch(uint64_t hash)
{
	uintptr_t table = atomic_load_explicit(&tr_index.table, memory_order_relaxed);

	__builtin_prefetch((const char *)(table & ~(uintptr_t)63) +
			   tr_index_place(table, hash) * sizeof(uint32_t));
}

/* The node whose stack has this (finished) hash; 0: none. */
static inline uint32_t tr_index_find(uint64_t hash)
{
	/* Acquire pairs with the release in index.c: the table is filled. */
	uintptr_t table = atomic_load_explicit(&tr_index.table, memory_order_acquire);
	_Atomic uint32_t *slots = tr_index_slots(table);
	size_t at = tr_index_place(table, hash), mask = ((size_t)1 << (table & 63)) - 1;

	for (unsigned i = 0; i < TR_INDEX_PROBES; i++, at++) {
		/* Acquire pairs with the release in tr_index_insert(): node and hash are stored. */
		uint32_t slot = atomic_load_explicit(&slots[at & mask], memory_order_acquire);
		uint32_t id = slot & ((1 << TR_INDEX_ID_BITS) - 1);

		if (!slot)
			break;
		if (slot == tr_index_slot(hash, id) &&
		    atomic_load_explicit(&tr_index.hashes[id], memory_order_relaxed) == hash)
			return id;
	}
	return 0;
}

/* Enter a node, once, that is filled in. */
void tr_index_insert(uint64_t hash, uint32_t id);

#endif

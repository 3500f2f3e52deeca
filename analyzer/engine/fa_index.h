/* SPDX-License-Identifier: MIT */
/*
 * Index: address -> number of the live block
 *
 * What each event of a chunk does to the heap is found out in one go, before anything is told of it
 * (fa_index_resolve()): which number dies, and which is born. It depends on nothing but the events
 * before it, so that a thread can do it ahead of the one that replays, and numbers are the same.
 *
 * A table of buckets, each one cache line of six slots: a hash and a number. The hashes of a bucket
 * are compared all at once, so that neither the place of a slot nor what is beside it costs a
 * branch that the processor can't foresee. The hash is a permutation of 48 bits: equal ones are
 * equal addresses, so that no other memory is looked at. (Of addresses beyond that, which no
 * program has, some are taken for each other.) 21 to 43 bytes a live block. In huge pages where the
 * kernel has them: a large heap is visited at random, and each visit would miss the TLB.
 *
 *   a slot is in use  <=>  its block is live, and its death is not known by number beforehand
 *   the home of a block is the bucket that the upper bits of its hash say; it is there, or in the
 *   first behind it that had room when it was born
 *   bucket.passed == number of slots in use whose home is it or before it and whose place is behind
 *   it: where it is 0, what is not found is not there
 *   n_slots == slots in use <= 3 a bucket
 *
 * Numbers of the dead are used again, the latest first. Internal to the engine; used by one thread
 * at a time.
 */
#ifndef FA_INDEX_H
#define FA_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/event.h"

enum {
	INDEX_SLOTS = 6, /* of a bucket, of which */
	INDEX_FILL = 3,	 /* are in use at most, on the average */
	INDEX_HASH_BITS = 48,
};

struct index_bucket {
	uint32_t tag[INDEX_SLOTS];    /* lower bits of the hash; 0 in an empty slot */
	uint32_t number[INDEX_SLOTS]; /* + 1; 0: empty */
	uint16_t high[INDEX_SLOTS];   /* upper bits of the hash */
	uint32_t passed;
};
_Static_assert(sizeof(struct index_bucket) == 64, "one cache line");

struct fa_index {
	struct index_bucket *buckets;
	unsigned bits; /* log2 of their number, 1..31 */
	size_t n_slots;
	uint32_t n_numbers; /* that were ever given */
	uint32_t *free;	    /* numbers + 1, the latest last */
	size_t n_free, room;
};

/* A number + 1, or 0. */
struct fa_resolved {
	uint32_t died;
	uint32_t born; /* with FA_EVICTS: before, the next of `evicted` died there */
};
#define FA_EVICTS (UINT32_C(1) << 31)

/* Of the events of one chunk. Zeroed memory has none. */
struct fa_resolution {
	struct fa_resolved *events; /* owned; FT_CHUNK_EVENTS */
	uint32_t *evicted;	    /* owned; numbers + 1 */
	size_t n_evicted, room;
};

bool fa_index_init(struct fa_index *index); /* false: out of memory */
void fa_index_deinit(struct fa_index *index);

/* Number + 1 of the block at `address`, or 0. */
uint32_t fa_index_find(const struct fa_index *index, uint64_t address);
/* The same of a new one there; 0 when out of memory. It must not be there. */
uint32_t fa_index_insert(struct fa_index *index, uint64_t address);
/* It is not there any more: *number + 1, or 0. False when out of memory. */
bool fa_index_remove(struct fa_index *index, uint64_t address, uint32_t *number);

bool fa_resolution_init(struct fa_resolution *resolution); /* false: out of memory */
void fa_resolution_deinit(struct fa_resolution *resolution);

/*
 * Resolve events[from..to) of a chunk, of which those before are resolved or are no longer of
 * interest; births before `paired` have other numbers now than they were given. False when out of
 * memory.
 */
bool fa_index_resolve(struct fa_index *index, const struct ft_event *events, size_t from, size_t to,
		      size_t paired, struct fa_resolution *resolution);

/* The equations above; for tests. */
bool fa_index_check(const struct fa_index *index);

#endif

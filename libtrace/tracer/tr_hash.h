/* SPDX-License-Identifier: MIT */
/*
 * The hash of a stack
 *
 * That of its callers times a constant, plus the term of its innermost frame, modulo 2^64: a walk
 * from the leaf can sum it up as it goes, and one that takes over the outer frames of an earlier
 * walk takes their hash over. The term is the pc with the stamp of its code (tr_retired.h) above
 * it. Two stacks that differ have the same hash with a chance of about 2^-64.
 */
#ifndef TR_HASH_H
#define TR_HASH_H

#include <stdint.h>

#define TR_HASH_FACTOR UINT64_C(0xd1342543de82ef95)
#define TR_HASH_EMPTY  UINT64_C(0x2545f4914f6cdd1d)

static inline uint64_t tr_hash_term(uintptr_t pc, uint32_t stamp)
{
	return pc ^ (uint64_t)stamp << 48;
}

static inline uint64_t tr_hash_push(uint64_t callers, uint64_t term)
{
	return callers * TR_HASH_FACTOR + term;
}

/* With the upper bits made to depend on all, for a table; one to one, but that it is never 0. (The
 * finalizer of MurmurHash3, in part.) */
static inline uint64_t tr_hash_finish(uint64_t hash)
{
	hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
	hash ^= hash >> 33;
	return hash ? hash : 1;
}

#endif

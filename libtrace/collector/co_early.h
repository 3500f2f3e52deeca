/* SPDX-License-Identifier: MIT */
/*
 * Frees that seem to come before the birth of their block
 *
 * A free is stamped without a fence, because one would cost more than all the rest of its record.
 * The processor may then read the clock before it has completed what stands before the call, such
 * as the atomic exchange by which the thread got the block: the stamp can be older, by as long as
 * an instruction can wait for memory, than that of the birth in another thread. (Later it is never:
 * the clock is read before the real free is seen by anybody.) So a free of a block that is not
 * known is held back for CO_EARLY_NS; when its block is born meanwhile, in another thread, it takes
 * effect right after that. A birth by the same thread really came later: the free is of an older
 * block, which nobody knows (its birth was lost), and whose address the thread was given again.
 */
#ifndef CO_EARLY_H
#define CO_EARLY_H

#include <stdbool.h>

#include "co_record.h"

#define CO_EARLY_NS UINT64_C(1000000)

enum { CO_EARLY_MAX = 64 };

struct co_early {
	struct {
		struct co_record record;
		uint32_t ring;
	} held[CO_EARLY_MAX]; /* in the order in which they came */
	uint32_t n;
};

static inline bool co_early_is_full(const struct co_early *early)
{
	return early->n == CO_EARLY_MAX;
}

/* There must be room. */
static inline void co_early_hold(struct co_early *early, const struct co_record *record,
				 uint32_t ring)
{
	early->held[early->n].record = *record;
	early->held[early->n++].ring = ring;
}

/* Take the free number `i` out. */
void co_early_take(struct co_early *early, uint32_t i, struct co_record *record, uint32_t *ring);

/* Take the first one of `address` out; false when there is none. */
bool co_early_find(struct co_early *early, uint64_t address, struct co_record *record,
		   uint32_t *ring);

#endif

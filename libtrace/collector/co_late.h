/* SPDX-License-Identifier: MIT */
/*
 * Deaths that are still to come
 *
 * Where an address was handed out while it was live, the death of the earlier block has been
 * written as implied, and the record of it may follow: a free whose thread was held up for longer
 * than a floor is honoured, or, in good order, a realloc that frees its old block long before it
 * returns. It is known by a stamp that is older than the birth which it should have preceded; the
 * blocks that were born there since die with younger ones.
 *
 * What never comes (it was lost) is forgotten after CO_LATE_NS.
 */
#ifndef CO_LATE_H
#define CO_LATE_H

#include <stdbool.h>
#include <stdint.h>

#include "ft_map.h"

#define CO_LATE_NS UINT64_C(10000000000)

struct co_late {
	struct ft_map births; /* address -> stamp of the last birth that implied a death, */
	struct ft_map counts; /* and how many deaths are to come */
	size_t sweep_at;      /* number of addresses at which the old ones are looked for */
};

void co_late_init(struct co_late *late);
void co_late_deinit(struct co_late *late);

/* A death at `address` has been implied by a birth with this stamp. `age` is CO_LATE_NS in ticks.
 */
void co_late_expect(struct co_late *late, uint64_t address, uint64_t birth, uint64_t age);

/* A block at `address` died not before `stamp`: true if that death was expected, and is now not any
 * more. */
bool co_late_take_slow(struct co_late *late, uint64_t address, uint64_t stamp);

static inline bool co_late_take(struct co_late *late, uint64_t address, uint64_t stamp)
{
	return ft_map_count(&late->births) && co_late_take_slow(late, address, stamp);
}

#endif

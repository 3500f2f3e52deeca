/* SPDX-License-Identifier: MIT */
/*
 * Pools of the program's own, as it tells of them (fragtrace/mark.h)
 *
 * Objects are in the live table like blocks. Here is which of them a pool has, because a pool may
 * let all of them go at once, and what it had in all. Memory: 16 to 32 bytes an object that lives.
 */
#ifndef CO_POOLS_H
#define CO_POOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/store.h"

#include "co_record.h"
#include "ft_map.h"

struct co_block;
struct co_ring;
struct co_session;

/* More pools than these, that live or did, have no row; their objects are recorded all the same. */
enum { CO_POOLS_MAX = 65536 };

struct co_pool {
	struct ft_pool_row row;
	char *name;	       /* the row's, or NULL */
	struct ft_map objects; /* address -> size */
};

struct co_pools {
	struct ft_map by_address; /* of the pool -> index + 1, of those that live */
	struct co_pool *list;
	uint32_t n, capacity;
};

void co_pools_init(struct co_pools *pools);
void co_pools_deinit(struct co_pools *pools);

/* An object is born, or dies by a call of its own; record->old_address is the pool. */
void co_pools_born(struct co_session *session, const struct co_record *record, uint64_t time_ns);
void co_pools_died(struct co_session *session, const struct co_record *record);

/* A FT_WIRE_POOL record of another kind. */
void co_pools_record(struct co_session *session, struct co_ring *ring,
		     const struct co_record *record, uint64_t time_ns);

/* The rows of all pools. */
void co_pools_write(struct co_session *session);

#endif

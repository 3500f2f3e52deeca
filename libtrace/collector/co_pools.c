/* SPDX-License-Identifier: MIT */
/* Pools of the program's own: see co_pools.h. */
#include "co_pools.h"

#include <stdlib.h>
#include <string.h>

#include "co_session.h"

void co_pools_init(struct co_pools *pools)
{
	*pools = (struct co_pools){0};
	ft_map_init(&pools->by_address);
}

void co_pools_deinit(struct co_pools *pools)
{
	for (uint32_t i = 0; i < pools->n; i++) {
		ft_map_deinit(&pools->list[i].objects);
		free(pools->list[i].name);
	}
	free(pools->list);
	ft_map_deinit(&pools->by_address);
}

static struct co_pool *add_pool(struct co_session *session, uint64_t address, uint64_t time_ns)
{
	struct co_pools *pools = &session->pools;
	struct co_pool *pool;
	uint64_t *index;

	if (pools->n == CO_POOLS_MAX)
		return NULL;
	if (pools->n == pools->capacity) {
		uint32_t capacity = pools->capacity ? pools->capacity * 2 : 16;
		struct co_pool *list = realloc(pools->list, capacity * sizeof(*list));

		if (!list)
			return NULL;
		pools->list = list;
		pools->capacity = capacity;
	}
	index = ft_map_put(&pools->by_address, address, NULL);
	if (!index)
		return NULL;
	pool = &pools->list[pools->n++];
	*pool = (struct co_pool){.row = {.id = pools->n,
					 .address = address,
					 .created_ns = time_ns,
					 .destroyed_ns = FT_TIME_NONE}};
	ft_map_init(&pool->objects);
	*index = pools->n;
	return pool;
}

static struct co_pool *find_pool(struct co_session *session, uint64_t address)
{
	const uint64_t *index = ft_map_get(&session->pools.by_address, address);

	return index ? &session->pools.list[*index - 1] : NULL;
}

/* A pool that nobody said had begun has no name. */
static struct co_pool *need_pool(struct co_session *session, uint64_t address, uint64_t time_ns)
{
	struct co_pool *pool = find_pool(session, address);

	return pool ? pool : add_pool(session, address, time_ns);
}

void co_pools_born(struct co_session *session, const struct co_record *record, uint64_t time_ns)
{
	struct co_pool *pool = need_pool(session, record->old_address, time_ns);
	uint64_t *size = pool ? ft_map_put(&pool->objects, record->address, NULL) : NULL;

	if (!size)
		return;
	*size = record->size;
	pool->row.n_allocs++;
	pool->row.bytes_allocated += record->size;
	pool->row.live_bytes += record->size;
	if (pool->row.live_bytes > pool->row.peak_bytes)
		pool->row.peak_bytes = pool->row.live_bytes;
}

static void object_gone(struct co_pool *pool, uint64_t size)
{
	pool->row.n_frees++;
	pool->row.live_bytes -= size < pool->row.live_bytes ? size : pool->row.live_bytes;
}

void co_pools_died(struct co_session *session, const struct co_record *record)
{
	struct co_pool *pool = find_pool(session, record->old_address);
	uint64_t size;

	if (pool && ft_map_remove(&pool->objects, record->address, &size))
		object_gone(pool, size);
}

/* All objects of the pool die, each in an event of its own. */
static void reset(struct co_session *session, struct co_ring *ring, const struct co_record *record,
		  struct co_pool *pool)
{
	struct co_record death = {.stamp = record->stamp,
				  .stack = record->stack,
				  .thread = record->thread,
				  .type = FT_WIRE_FREE,
				  .api = FT_API_POOL_RESET};
	size_t cursor = 0;
	uint64_t size;

	while (ft_map_next(&pool->objects, &cursor, &death.address, &size)) {
		struct co_block block;

		object_gone(pool, size);
		/* One that went by another pool's name is not there any more. */
		if (co_live_find(&session->live, death.address, &block))
			co_apply_free(session, ring, &death);
	}
	ft_map_deinit(&pool->objects);
	ft_map_init(&pool->objects);
}

static void create(struct co_session *session, const struct co_record *record, uint64_t time_ns,
		   uint32_t stack)
{
	const struct co_side *side = record->side;
	size_t bytes = side->words[4];
	struct co_pool *pool = find_pool(session, side->words[2]);
	char *name;

	if (bytes > (side->n_words - 5) * sizeof(uint64_t)) {
		session->counters.n_bad_records++;
		return;
	}
	/* One that was never destroyed stays in the list, as it was. */
	if (pool)
		ft_map_remove(&session->pools.by_address, side->words[2], NULL);
	pool = add_pool(session, side->words[2], time_ns);
	name = pool && bytes ? malloc(bytes + 1) : NULL;
	if (!name)
		return;
	memcpy(name, side->words + 5, bytes);
	name[bytes] = 0;
	pool->row.name = pool->name = name;
	pool->row.thread = record->thread;
	pool->row.stack = stack;
}

/* A block becomes memory of the pool: a realloc in place, after which it counts as nothing. */
static void add_memory(struct co_session *session, struct co_ring *ring,
		       const struct co_record *record, uint64_t time_ns)
{
	uint64_t address = record->side->words[3] & (FT_ADDRESS_POOL - 1);
	struct co_pool *pool = need_pool(session, record->side->words[2], time_ns);
	struct co_block block;

	if (!co_live_find(&session->live, address, &block))
		return;

	const struct co_record change = {
		.stamp = record->stamp,
		.early = record->stamp,
		.address = address,
		.old_address = address,
		.size = block.size,
		.usable = block.extra == CO_EXTRA_UNKNOWN ? 0 : block.size + block.extra,
		.stack = record->stack,
		.thread = record->thread,
		.type = FT_WIRE_REALLOC,
		.api = FT_API_POOL_BACKING};

	if (pool)
		pool->row.memory_bytes += block.size;
	co_apply_realloc(session, ring, &change);
}

void co_pools_record(struct co_session *session, struct co_ring *ring,
		     const struct co_record *record, uint64_t time_ns)
{
	struct co_pool *pool = find_pool(session, record->side->words[2]);

	switch (record->api) {
	case FT_WIRE_POOL_CREATE:
		create(session, record, time_ns, co_session_stack(session, ring, record));
		break;
	case FT_WIRE_POOL_ADD:
		add_memory(session, ring, record, time_ns);
		break;
	case FT_WIRE_POOL_RESET:
	case FT_WIRE_POOL_DESTROY:
		if (!pool)
			break;
		reset(session, ring, record, pool);
		if (record->api == FT_WIRE_POOL_DESTROY) {
			pool->row.destroyed_ns = time_ns;
			ft_map_remove(&session->pools.by_address, pool->row.address, NULL);
		}
		break;
	}
}

void co_pools_write(struct co_session *session)
{
	for (uint32_t i = 0; i < session->pools.n; i++) {
		struct co_pool *pool = &session->pools.list[i];

		pool->row.live_objects = ft_map_count(&pool->objects);
		co_session_op(session, co_op_pool(&pool->row));
	}
}

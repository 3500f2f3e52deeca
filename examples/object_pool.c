/* SPDX-License-Identifier: MIT */
/*
 * An object pool that leaks: what the allocator does not see
 *
 * Connections are taken from a pool that has one block of 1 MiB. One in sixteen is never given
 * back. For the allocator nothing happens at all; with the five calls of fragtrace/mark.h the
 * objects are blocks like others, with the stacks of those who took them. The block that they lie
 * in counts as none, so that the live bytes are those of the objects. At the end of each round the
 * scratch pool of requests lets all of its objects go at once.
 *
 * Expected findings:
 *
 * args: 3 3200
 * expect: leaks site=pool_take_connection blocks=200 bytes=12800
 * expect: leaks site=parse_request absent
 * expect: sites site=pool_take_connection allocations=3200
 * expect: sites site=parse_request allocations=3200 live_bytes=0
 * expect: summary totals.live_bytes>=12800 totals.live_bytes<=100000
 */
#include <fragtrace/mark.h>

#include "pace.h"

enum { CONNECTION = 64, REQUEST = 200, POOL_BYTES = 1 << 20, PER_ROUND = 32 };

struct pool {
	char *memory, *next;
	void *free_list;
};

static struct pool connections, requests;

static void pool_begin(struct pool *pool, const char *name)
{
	pool->memory = pool->next = malloc(POOL_BYTES);
	fragtrace_pool_create(pool, name);
	fragtrace_pool_add(pool, pool->memory);
}

static void pool_end(struct pool *pool)
{
	fragtrace_pool_destroy(pool);
	free(pool->memory);
}

static void *pool_take_connection(void)
{
	void *connection = connections.free_list;

	if (connection) {
		connections.free_list = *(void **)connection;
	} else {
		connection = connections.next;
		connections.next += CONNECTION;
	}
	fragtrace_pool_alloc(&connections, connection, CONNECTION);
	return connection;
}

static void pool_give_connection(void *connection)
{
	fragtrace_pool_free(&connections, connection);
	*(void **)connection = connections.free_list;
	connections.free_list = connection;
}

static char *parse_request(void)
{
	char *request = requests.next;

	requests.next += REQUEST;
	fragtrace_pool_alloc(&requests, request, REQUEST);
	return request;
}

static void round_ends(void)
{
	fragtrace_pool_reset(&requests);
	requests.next = requests.memory;
}

static void serve(long i)
{
	char *connection = pool_take_connection();
	char *request = parse_request();

	request[0] = connection[1] = 1;
	/* One in sixteen takes a way out that forgets it. */
	if (i % 16 != 7)
		pool_give_connection(connection);
	if (i % PER_ROUND == PER_ROUND - 1)
		round_ends();
}

int main(int argc, char **argv)
{
	struct pace pace = pace_start(argc, argv, 3200);

	pool_begin(&connections, "connections");
	pool_begin(&requests, "requests");
	for (long round = 0; round < pace.rounds; round++) {
		serve(round);
		pace_round(&pace, round + 1);
	}
	pool_end(&requests);
	return 0; /* the pool of connections is left to the end of the process */
}

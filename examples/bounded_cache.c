/* SPDX-License-Identifier: MIT */
/*
 * A bounded cache: memory that looks like a leak and is none
 *
 * A least-recently-used cache of 256 entries of varying size. It fills during the first part of the
 * run and from then on evicts one entry for each that it takes in. Blocks live long, the cache is
 * never torn down, so at the end its blocks are still there; but it does not grow, and a tool that
 * calls this a leak would be wrong.
 *
 * Expected findings:
 *
 * args: 3 4000
 * expect: leaks site=cache_put blocks=256 verdict!=growing,suspect
 * expect: leaks site=cache_init blocks=1 verdict!=growing,suspect
 * expect: summary totals.live_blocks>=257 totals.allocations>=4001
 */
#include <string.h>

#include "pace.h"

enum { CACHE_ENTRIES = 256 };

struct entry {
	struct entry *prev, *next;
	size_t n_bytes;
	char value[];
};

/* The ring of entries, most recently used first; a sentinel, so that no link is ever NULL. */
struct cache {
	struct entry ring;
	size_t n_entries;
};

static struct cache *the_cache;

static void cache_init(void)
{
	the_cache = malloc(sizeof(*the_cache));
	the_cache->ring.prev = the_cache->ring.next = &the_cache->ring;
	the_cache->n_entries = 0;
}

static void cache_evict(void)
{
	struct entry *oldest = the_cache->ring.prev;

	oldest->prev->next = oldest->next;
	oldest->next->prev = oldest->prev;
	the_cache->n_entries--;
	free(oldest);
}

static void cache_put(size_t n_bytes)
{
	struct entry *entry = malloc(sizeof(*entry) + n_bytes);

	entry->n_bytes = n_bytes;
	memset(entry->value, 0, n_bytes);
	entry->prev = &the_cache->ring;
	entry->next = the_cache->ring.next;
	entry->prev->next = entry->next->prev = entry;
	if (++the_cache->n_entries > CACHE_ENTRIES)
		cache_evict();
}

int main(int argc, char **argv)
{
	struct pace pace = pace_start(argc, argv, 4000);
	unsigned value = 1;

	cache_init();
	for (long round = 0; round < pace.rounds; round++) {
		value = value * 1664525u +
			1013904223u; /* sizes vary, and are the same in each run */
		cache_put(64 + (value >> 16) % 1024);
		pace_round(&pace, round + 1);
	}
	return 0;
}

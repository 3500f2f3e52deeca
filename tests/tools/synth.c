/* SPDX-License-Identifier: MIT */
/* Synthetic heap traffic: see synth.h. */
#include "synth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CLASSES = 4096, /* size classes of 16 bytes; larger blocks are always fresh */
	DEPTH = 12,	/* frames of a site */
	PREFIX = 6,	/* frames that sites of a group of 8 share */
	KEEP_ORDER = 32768,
};

struct site {
	uint64_t size;
	uint32_t spread; /* sizes are size + 0 ... spread */
	uint32_t life;	 /* births until a block dies, about */
	uint8_t api;
};

struct block {
	uint64_t address, size, usable;
	uint32_t thread, site;
};

struct free_list {
	uint64_t *addresses;
	size_t n, capacity;
};

struct synth {
	struct synth_options options;
	uint64_t random, seq, now_ns, top;
	struct site *sites;
	struct block *live;
	size_t n_live;
	struct free_list free_lists[CLASSES];
	uint32_t thread, last_site, n_leak_births;
	uint32_t *follow; /* the site that usually follows a site */
};

static uint64_t next_random(struct synth *synth)
{
	/* xorshift64* */
	uint64_t x = synth->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	synth->random = x;
	return x * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t below(struct synth *synth, uint64_t n)
{
	return next_random(synth) % n;
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

struct synth *synth_create(const struct synth_options *options)
{
	struct synth *synth = must(calloc(1, sizeof(*synth)));

	synth->options = *options;
	if (!synth->options.mean_gap_ns)
		synth->options.mean_gap_ns = 400;
	if (!synth->options.n_live)
		synth->options.n_live = 10000;
	if (!synth->options.n_sites)
		synth->options.n_sites = 200;
	if (!synth->options.n_threads)
		synth->options.n_threads = 1;
	synth->random = options->seed * 2654435761u + 88172645463325252u;
	synth->top = UINT64_C(0x555555559000) + 0x2a0;
	synth->thread = 1;

	uint32_t n_sites = synth->options.n_sites;

	synth->sites = must(calloc(n_sites, sizeof(*synth->sites)));
	synth->follow = must(calloc(n_sites, sizeof(*synth->follow)));
	synth->live = must(calloc(synth->options.n_live * 2 + 16, sizeof(*synth->live)));
	for (uint32_t i = 0; i < n_sites; i++) {
		uint64_t kind = below(synth, 100);

		synth->sites[i] = (struct site){
			.size = kind < 85 ? 8 + below(synth, 250) : 256 + below(synth, 8000),
			.spread = kind % 3 ? 0 : (uint32_t)below(synth, 64),
			.life = (uint32_t)(1 << below(synth, 14)),
			.api = kind % 10 == 0	? FT_API_CALLOC
			       : kind % 10 == 1 ? FT_API_NEW
						: FT_API_MALLOC,
		};
		synth->follow[i] = (uint32_t)below(synth, n_sites);
	}
	return synth;
}

void synth_destroy(struct synth *synth)
{
	if (!synth)
		return;
	for (size_t i = 0; i < CLASSES; i++)
		free(synth->free_lists[i].addresses);
	free(synth->sites);
	free(synth->follow);
	free(synth->live);
	free(synth);
}

/* ---- stacks: groups of 8 sites share PREFIX frames, each site has DEPTH - PREFIX of its own
 * ------ */

enum { GROUP = 8, OWN = DEPTH - PREFIX, GROUP_NODES = PREFIX + GROUP * OWN };

size_t synth_n_nodes(const struct synth *synth)
{
	return (size_t)(synth->options.n_sites + GROUP - 1) / GROUP * GROUP_NODES;
}

struct ft_stack_node synth_node(const struct synth *synth, size_t index)
{
	size_t group = index / GROUP_NODES, at = index % GROUP_NODES;
	size_t base = group * GROUP_NODES;
	uint64_t function;
	size_t parent; /* as an id */

	if (at < PREFIX) {
		parent = at ? base + at : 0;
		function = at < 3 ? at : 3 + (group * 7 + at) % 50;
	} else {
		size_t own = (at - PREFIX) % OWN;

		parent = own ? base + at : base + PREFIX;
		function = 100 + ((group * GROUP + (at - PREFIX) / OWN) * 5 + own * own) % 400;
	}
	return (struct ft_stack_node){
		.id = (uint32_t)index + 1,
		.parent = (uint32_t)parent,
		.pc = UINT64_C(0x555555000000) + function * 0x1a3 + 0x45,
	};
}

uint32_t synth_site_stack(const struct synth *synth, uint32_t site)
{
	return site / GROUP * GROUP_NODES + PREFIX + site % GROUP * OWN + OWN;
}

/* ---- events -------------------------------------------------------------------------------------
 */

static uint64_t usable_size(uint64_t size)
{
	uint64_t usable = ((size + 8 + 15) & ~UINT64_C(15)) - 8;

	return usable < 24 ? 24 : usable;
}

static uint64_t heap_take(struct synth *synth, uint64_t usable)
{
	struct free_list *list = usable / 16 < CLASSES ? &synth->free_lists[usable / 16] : NULL;
	uint64_t address = synth->top;

	if (list && list->n)
		return list->addresses[--list->n];
	synth->top += usable + 8;
	return address;
}

static void heap_give(struct synth *synth, uint64_t address, uint64_t usable)
{
	struct free_list *list = usable / 16 < CLASSES ? &synth->free_lists[usable / 16] : NULL;

	if (!list)
		return;
	if (list->n == list->capacity) {
		list->capacity = list->capacity ? list->capacity * 2 : 16;
		list->addresses =
			must(realloc(list->addresses, list->capacity * sizeof(*list->addresses)));
	}
	list->addresses[list->n++] = address;
}

static void birth(struct synth *synth, struct ft_event *event)
{
	uint32_t site = below(synth, 8) ? synth->follow[synth->last_site]
					: (uint32_t)below(synth, synth->options.n_sites);
	const struct site *from = &synth->sites[site];
	struct block *block = &synth->live[synth->n_live];

	synth->last_site = site;
	*block = (struct block){
		.size = from->size + (from->spread ? below(synth, from->spread) : 0),
		.thread = synth->thread,
		.site = site,
	};
	block->usable = usable_size(block->size);
	block->address = heap_take(synth, block->usable);
	*event = (struct ft_event){
		.address = block->address,
		.size = block->size,
		.usable = block->usable,
		.stack = synth_site_stack(synth, site),
		.kind = FT_EVENT_ALLOC,
		.api = from->api,
	};
	if (site == 1 && synth->options.leak_every &&
	    ++synth->n_leak_births % synth->options.leak_every == 0)
		return; /* forgotten */
	synth->n_live++;
}

/* Mostly something recent dies, sometimes anything. */
static size_t pick(struct synth *synth)
{
	uint64_t back = next_random(synth) % 4 ? below(synth, 16) : below(synth, synth->n_live);

	return synth->n_live - 1 - (size_t)(back % synth->n_live);
}

static void death(struct synth *synth, struct ft_event *event)
{
	size_t at = pick(synth);
	struct block block = synth->live[at];

	/* Order is kept where that is cheap: it says how recent a block is. Far from the end the
	 * youngest takes the place, which a model of a million blocks does not notice. */
	synth->n_live--;
	if (synth->n_live - at < KEEP_ORDER)
		memmove(&synth->live[at], &synth->live[at + 1],
			(synth->n_live - at) * sizeof(synth->live[0]));
	else
		synth->live[at] = synth->live[synth->n_live];
	heap_give(synth, block.address, block.usable);
	*event = (struct ft_event){
		.address = block.address,
		.kind = FT_EVENT_FREE,
		.api = synth->sites[block.site].api == FT_API_NEW ? FT_API_DELETE : FT_API_FREE,
	};
}

static void resize(struct synth *synth, struct ft_event *event)
{
	struct block *block = &synth->live[pick(synth)];
	uint64_t old_address = block->address, old_usable = block->usable;

	block->size = block->size * 3 / 2 + 8;
	if (usable_size(block->size) > old_usable) {
		block->usable = usable_size(block->size);
		block->address = heap_take(synth, block->usable);
		heap_give(synth, old_address, old_usable);
	}
	*event = (struct ft_event){
		.address = block->address,
		.old_address = old_address,
		.size = block->size,
		.usable = block->usable,
		.stack = synth_site_stack(synth, block->site),
		.kind = FT_EVENT_REALLOC,
		.api = FT_API_REALLOC,
	};
}

void synth_next(struct synth *synth, struct ft_event *event)
{
	uint64_t want = synth->options.n_live;

	if (below(synth, 8) == 0)
		synth->thread = 1 + (uint32_t)below(synth, synth->options.n_threads);
	synth->now_ns += 20 + below(synth, synth->options.mean_gap_ns * 2);
	if (!synth->n_live || below(synth, 2 * want) >= synth->n_live)
		birth(synth, event);
	else if (below(synth, 50) == 0 && synth->live[synth->n_live - 1].size < 100000)
		resize(synth, event);
	else
		death(synth, event);
	event->seq = synth->seq++;
	event->time_ns = synth->now_ns;
	event->thread = synth->thread;
}

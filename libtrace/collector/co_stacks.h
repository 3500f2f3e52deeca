/* SPDX-License-Identifier: MIT */
/*
 * Stacks and sites
 *
 * The traced program's trie is sparse (ids of lost races) and not trusted; the recording's is dense
 * with parent < id. A trie id gets its number in the file when an event first names it or one of
 * its descendants. A site is a stack that an event named: the totals are kept by site.
 */
#ifndef CO_STACKS_H
#define CO_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/store.h"

#include "ft_segment.h"

struct co_site {
	uint32_t stack;				/* id in the file */
	bool dirty;				/* changed since it was last written */
	uint8_t api;				/* enum ft_api: the call that it ends in */
	uint64_t carried_blocks, carried_bytes; /* as in struct co_timeline */
	uint64_t n_allocs, n_frees, bytes_allocated, bytes_freed;
	uint64_t peak_bytes;
};

static inline uint64_t co_site_live(const struct co_site *site)
{
	return site->carried_bytes + site->bytes_allocated - site->bytes_freed;
}

struct co_stacks {
	const struct ft_segment_node *nodes; /* shared with the program: each value is read once */
	uint32_t max_nodes;

	/* By trie id, and from max_nodes on by raw node; a sparse mapping, touched where ids are
	 * met. */
	struct co_stack_ref {
		uint32_t file_id; /* 0: not met */
		uint32_t site;	  /* index + 1 in sites, 0: no site */
	} * refs;

	struct co_site *sites; /* [0] is the site of events without a stack */
	uint32_t n_sites, sites_capacity;
	uint32_t n_file_ids;

	/* Frames for which the program's trie had no room, under the node in the file that calls
	 * them; found by hash. Node i has the id max_nodes + i; 0 is none. */
	struct co_raw_node {
		uint64_t pc;
		uint32_t parent; /* id in the file */
	} * raw;
	uint32_t *raw_slots; /* node numbers; 0 is empty */
	uint32_t n_raw, raw_capacity, raw_slots_mask;

	uint64_t n_bad; /* ids that led nowhere: out of range, cyclic, not filled in */
};

/* False when out of memory. */
bool co_stacks_init(struct co_stacks *stacks, const struct ft_segment_node *nodes,
		    uint32_t max_nodes);
void co_stacks_deinit(struct co_stacks *stacks);

/* Called for each new node of the file, parents first. */
typedef void co_stack_node_fn(void *ctx, const struct ft_stack_node *node);

/* Slow path of co_stacks_site(). */
uint32_t co_stacks_add_site(struct co_stacks *stacks, uint32_t trie_id, co_stack_node_fn *emit,
			    void *ctx);

/* More raw frames than these, of one recording, have no stack. */
enum { CO_RAW_NODES = 1 << 22 };

/*
 * The stack that goes on from the stack `id` with these pcs, outermost first. Returns an id for
 * co_stacks_site() and co_stacks_file_id(); 0 when `id` makes no sense or there is no room.
 */
uint32_t co_stacks_raw(struct co_stacks *stacks, uint32_t id, const uint64_t *pcs, size_t n,
		       co_stack_node_fn *emit, void *ctx);

/* Index of the site of a trie id; 0, the site without a stack, when the id makes no sense. */
static inline uint32_t co_stacks_site(struct co_stacks *stacks, uint32_t trie_id,
				      co_stack_node_fn *emit, void *ctx)
{
	if (trie_id < stacks->max_nodes + CO_RAW_NODES && stacks->refs[trie_id].site)
		return stacks->refs[trie_id].site - 1;
	return co_stacks_add_site(stacks, trie_id, emit, ctx);
}

/* Id in the file of a trie id, without making it a site. */
uint32_t co_stacks_file_id(struct co_stacks *stacks, uint32_t trie_id, co_stack_node_fn *emit,
			   void *ctx);

#endif

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
	uint32_t stack; /* id in the file */
	bool dirty;	/* changed since it was last written */
	uint64_t n_allocs, n_frees, bytes_allocated, bytes_freed;
	uint64_t peak_bytes;
};

struct co_stacks {
	const struct ft_segment_node *nodes; /* shared with the program: each value is read once */
	uint32_t max_nodes;

	/* By trie id; a sparse mapping of max_nodes entries, touched where ids are met. */
	struct co_stack_ref {
		uint32_t file_id; /* 0: not met */
		uint32_t site;	  /* index + 1 in sites, 0: no site */
	} * refs;

	struct co_site *sites; /* [0] is the site of events without a stack */
	uint32_t n_sites, sites_capacity;
	uint32_t n_file_ids;
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

/* Index of the site of a trie id; 0, the site without a stack, when the id makes no sense. */
static inline uint32_t co_stacks_site(struct co_stacks *stacks, uint32_t trie_id,
				      co_stack_node_fn *emit, void *ctx)
{
	if (trie_id < stacks->max_nodes && stacks->refs[trie_id].site)
		return stacks->refs[trie_id].site - 1;
	return co_stacks_add_site(stacks, trie_id, emit, ctx);
}

/* Id in the file of a trie id, without making it a site. */
uint32_t co_stacks_file_id(struct co_stacks *stacks, uint32_t trie_id, co_stack_node_fn *emit,
			   void *ctx);

#endif

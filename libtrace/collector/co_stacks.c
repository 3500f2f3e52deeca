/* SPDX-License-Identifier: MIT */
/* Stacks and sites: see co_stacks.h. */
#include "co_stacks.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Longer stacks than the tracer ever makes; ends a walk through a scribbled trie. */
enum { MAX_DEPTH = 4096 };

static size_t refs_bytes(uint32_t max_nodes)
{
	return ((size_t)max_nodes + CO_RAW_NODES) * sizeof(struct co_stack_ref);
}

bool co_stacks_init(struct co_stacks *stacks, const struct ft_segment_node *nodes,
		    uint32_t max_nodes)
{
	void *refs = mmap(NULL, refs_bytes(max_nodes), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	*stacks = (struct co_stacks){.nodes = nodes, .max_nodes = max_nodes};
	if (refs == MAP_FAILED)
		return false;
	stacks->refs = refs;
	stacks->sites = calloc(64, sizeof(*stacks->sites));
	if (!stacks->sites) {
		co_stacks_deinit(stacks);
		return false;
	}
	stacks->sites_capacity = 64;
	stacks->n_sites = 1;
	if (max_nodes)
		stacks->refs[0].site = 1;
	return true;
}

void co_stacks_deinit(struct co_stacks *stacks)
{
	if (stacks->refs)
		munmap(stacks->refs, refs_bytes(stacks->max_nodes));
	free(stacks->sites);
	free(stacks->raw);
	free(stacks->raw_slots);
	*stacks = (struct co_stacks){0};
}

uint32_t co_stacks_file_id(struct co_stacks *stacks, uint32_t trie_id, co_stack_node_fn *emit,
			   void *ctx)
{
	uint32_t chain[MAX_DEPTH];
	uint64_t pcs[MAX_DEPTH];
	unsigned n = 0;
	uint32_t id = trie_id;

	if (id >= stacks->max_nodes && id < stacks->max_nodes + CO_RAW_NODES &&
	    stacks->refs[id].file_id)
		return stacks->refs[id].file_id;

	/* Up to a node that has its number, then down again giving numbers. Parents have lower ids,
	 * so that even a scribbled trie has no cycle that passes this. */
	while (id && id < stacks->max_nodes && !stacks->refs[id].file_id) {
		const volatile struct ft_segment_node *node = &stacks->nodes[id];
		uint32_t parent = node->parent;

		if (n == MAX_DEPTH || parent >= id) {
			stacks->n_bad++;
			return 0;
		}
		chain[n] = id;
		pcs[n++] = node->pc;
		id = parent;
	}
	if (id >= stacks->max_nodes) {
		stacks->n_bad++;
		return 0;
	}

	uint32_t file_id = id ? stacks->refs[id].file_id : 0;

	while (n) {
		struct ft_stack_node made = {
			.id = ++stacks->n_file_ids, .parent = file_id, .pc = pcs[--n]};

		file_id = stacks->refs[chain[n]].file_id = made.id;
		emit(ctx, &made);
	}
	return file_id;
}

uint32_t co_stacks_add_site(struct co_stacks *stacks, uint32_t trie_id, co_stack_node_fn *emit,
			    void *ctx)
{
	uint32_t file_id = co_stacks_file_id(stacks, trie_id, emit, ctx);

	if (!file_id)
		return 0;
	if (stacks->n_sites == stacks->sites_capacity) {
		uint32_t capacity = stacks->sites_capacity * 2;
		struct co_site *sites = realloc(stacks->sites, capacity * sizeof(*sites));

		if (!sites)
			return 0;
		stacks->sites = sites;
		stacks->sites_capacity = capacity;
	}
	stacks->sites[stacks->n_sites] = (struct co_site){.stack = file_id};
	stacks->refs[trie_id].site = ++stacks->n_sites;
	return stacks->n_sites - 1;
}

/* ---- raw stacks ------------------------------------------------------------------------------ */

static uint32_t *raw_slot(const struct co_stacks *stacks, uint32_t parent, uint64_t pc)
{
	uint64_t hash = (pc ^ (uint64_t)parent << 32) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t at = (uint32_t)(hash >> 32);

	for (;; at++) {
		uint32_t *slot = &stacks->raw_slots[at & stacks->raw_slots_mask];
		const struct co_raw_node *node = &stacks->raw[*slot];

		if (!*slot || (node->pc == pc && node->parent == parent))
			return slot;
	}
}

/* Room for one more node, in a table that stays at most half full. */
static bool raw_room(struct co_stacks *stacks)
{
	uint32_t capacity = stacks->raw_capacity ? stacks->raw_capacity * 2 : 1024;
	struct co_raw_node *raw;
	uint32_t *slots;

	if (stacks->n_raw + 1 < stacks->raw_capacity)
		return true;
	if (stacks->n_raw + 1 >= CO_RAW_NODES)
		return false;
	raw = realloc(stacks->raw, capacity * sizeof(*raw));
	if (!raw)
		return false;
	stacks->raw = raw;
	slots = calloc((size_t)capacity * 2, sizeof(*slots));
	if (!slots)
		return false;
	free(stacks->raw_slots);
	stacks->raw_slots = slots;
	stacks->raw_slots_mask = capacity * 2 - 1;
	stacks->raw_capacity = capacity;
	for (uint32_t i = 1; i <= stacks->n_raw; i++)
		*raw_slot(stacks, raw[i].parent, raw[i].pc) = i;
	return true;
}

uint32_t co_stacks_raw(struct co_stacks *stacks, uint32_t id, const uint64_t *pcs, size_t n,
		       co_stack_node_fn *emit, void *ctx)
{
	uint32_t file_id = id ? co_stacks_file_id(stacks, id, emit, ctx) : 0;

	if (id && !file_id)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (!raw_room(stacks)) {
			stacks->n_bad++;
			return 0;
		}

		uint32_t *slot = raw_slot(stacks, file_id, pcs[i]);

		if (!*slot) {
			struct ft_stack_node made = {
				.id = ++stacks->n_file_ids, .parent = file_id, .pc = pcs[i]};

			*slot = ++stacks->n_raw;
			stacks->raw[*slot] = (struct co_raw_node){.pc = pcs[i], .parent = file_id};
			stacks->refs[stacks->max_nodes + *slot].file_id = made.id;
			emit(ctx, &made);
		}
		id = stacks->max_nodes + *slot;
		file_id = stacks->refs[id].file_id;
	}
	return id;
}

/* SPDX-License-Identifier: MIT */
/* Sparse array: see fa_sparse.h. */
#include "fa_sparse.h"

#include <stdlib.h>

void fa_sparse_deinit(struct fa_sparse *sparse)
{
	for (size_t i = 0; i < sparse->n_leaves; i++)
		free(sparse->leaves[i]);
	free(sparse->leaves);
	ft_map_deinit(&sparse->index);
	*sparse = (struct fa_sparse){0};
}

static void remember(struct fa_sparse *sparse, uint64_t at, uint32_t *leaf)
{
	unsigned slot = (unsigned)at % FA_SPARSE_RECENT;

	sparse->recent[slot].key = at + 1;
	sparse->recent[slot].leaf = leaf;
}

uint32_t *fa_sparse_find_leaf(struct fa_sparse *sparse, uint64_t at)
{
	const uint64_t *number = ft_map_get(&sparse->index, at);

	if (!number)
		return NULL;
	remember(sparse, at, sparse->leaves[*number]);
	return sparse->leaves[*number];
}

static uint32_t *add_leaf(struct fa_sparse *sparse, uint64_t at)
{
	if (sparse->n_leaves == sparse->room) {
		size_t room = sparse->room ? sparse->room * 2 : 16;
		uint32_t **leaves = realloc(sparse->leaves, room * sizeof(*leaves));

		if (!leaves)
			return NULL;
		sparse->leaves = leaves;
		sparse->room = room;
	}

	uint32_t *leaf = calloc(FA_SPARSE_LEAF, sizeof(*leaf));
	uint64_t *number = leaf ? ft_map_put(&sparse->index, at, NULL) : NULL;

	if (!number) {
		free(leaf);
		return NULL;
	}
	*number = sparse->n_leaves;
	sparse->leaves[sparse->n_leaves++] = leaf;
	remember(sparse, at, leaf);
	return leaf;
}

uint32_t *fa_sparse_make(struct fa_sparse *sparse, uint64_t key)
{
	uint64_t at = key >> FA_SPARSE_SHIFT;
	uint32_t *leaf = fa_sparse_find_leaf(sparse, at);

	if (!leaf)
		leaf = add_leaf(sparse, at);
	return leaf ? &leaf[key & (FA_SPARSE_LEAF - 1)] : NULL;
}

size_t fa_sparse_memory(const struct fa_sparse *sparse)
{
	return sparse->n_leaves * FA_SPARSE_LEAF * sizeof(uint32_t) +
	       sparse->room * sizeof(*sparse->leaves) +
	       sparse->index.n_slots * sizeof(*sparse->index.slots);
}

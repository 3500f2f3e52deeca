/* SPDX-License-Identifier: MIT */
/*
 * Sparse array: key -> number, for keys that lie close together
 *
 * Leaves of 256 neighbours, found by way of those found lately: as cheap as an array as long as the
 * keys in use span less than 2^16. A number is never 0; 0 says that there is none. Single-threaded.
 */
#ifndef FA_SPARSE_H
#define FA_SPARSE_H

#include <stddef.h>
#include <stdint.h>

#include "ft_map.h"

enum { FA_SPARSE_SHIFT = 8, FA_SPARSE_LEAF = 1 << FA_SPARSE_SHIFT, FA_SPARSE_RECENT = 256 };

struct fa_sparse {
	struct {
		uint64_t key; /* + 1; 0: none */
		uint32_t *leaf;
	} recent[FA_SPARSE_RECENT]; /* by the low bits of their key */
	struct ft_map index;	    /* key >> FA_SPARSE_SHIFT -> number of the leaf */
	uint32_t **leaves;	    /* owned; zeroed memory is an empty array */
	size_t n_leaves, room;
};

void fa_sparse_deinit(struct fa_sparse *sparse);

/* The place of `key`, made with 0 if it was not there. NULL when out of memory. It stays valid. */
uint32_t *fa_sparse_make(struct fa_sparse *sparse, uint64_t key);

/* The leaf that holds `key`, or NULL. */
uint32_t *fa_sparse_find_leaf(struct fa_sparse *sparse, uint64_t leaf);

/* The number of `key`; 0: none. */
static inline uint32_t fa_sparse_get(struct fa_sparse *sparse, uint64_t key)
{
	uint64_t at = key >> FA_SPARSE_SHIFT;
	unsigned slot = (unsigned)at % FA_SPARSE_RECENT;
	const uint32_t *leaf = sparse->recent[slot].leaf;

	if (__builtin_expect(sparse->recent[slot].key != at + 1, 0)) {
		leaf = fa_sparse_find_leaf(sparse, at);
		if (!leaf)
			return 0;
	}
	return leaf[key & (FA_SPARSE_LEAF - 1)];
}

size_t fa_sparse_memory(const struct fa_sparse *sparse);

#endif

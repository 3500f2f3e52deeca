/* SPDX-License-Identifier: MIT */
/* Roll-ups as blobs, and two of them as one: see fragtrace/rollup.h and FORMAT.md 6. */
#ifndef FT_ROLLUP_H
#define FT_ROLLUP_H

#include <stdbool.h>

#include "fragtrace/rollup.h"
#include "ft_columns.h"
#include "ft_strbuf.h"

enum {
	FT_ROLLUP_MAX_ACCOUNTS = 1 << 26,
	FT_ROLLUP_MAX_COHORTS = 1024, /* of one account */
	FT_ROLLUP_MAX_PAIRS = 1 << 24,
};

/* Frees what the roll-up owns; it is empty afterwards. */
void ft_rollup_clear(struct ft_rollup *rollup);

/* Orders for qsort(): cohorts by birth, pairs by owner, then freer. */
int ft_rollup_compare_cohorts(const void *a, const void *b);
int ft_rollup_compare_pairs(const void *a, const void *b);

/* Append a blob to `out`. False: out of memory. Nothing to write is a blob of no rows. */
bool ft_rollup_pack(struct ft_packer *packer, const struct ft_rollup_accounts *accounts,
		    struct ft_strbuf *out);
bool ft_rollup_pack_pairs(struct ft_packer *packer, const struct ft_rollup_pair *pairs, uint32_t n,
			  struct ft_strbuf *out);

bool ft_rollup_pack_largest(struct ft_packer *packer, const struct ft_rollup *rollup,
			    struct ft_strbuf *out);

/* The other way, into new arrays. NULL, or what is wrong (ft_unpack_nomem: out of memory). */
const char *ft_rollup_unpack(struct ft_unpacker *unpacker, const void *data, size_t len,
			     struct ft_rollup_accounts *ret);
const char *ft_rollup_unpack_pairs(struct ft_unpacker *unpacker, const void *data, size_t len,
				   struct ft_rollup_pair **ret, uint32_t *n);
/* Into `rollup`, of which times and events are there. */
const char *ft_rollup_unpack_largest(struct ft_unpacker *unpacker, const void *data, size_t len,
				     struct ft_rollup *rollup);

/*
 * Two intervals that follow each other as one, with cohorts of `shift` (at least that of both).
 * `ret` is new. False: out of memory.
 */
bool ft_rollup_merge(const struct ft_rollup *a, const struct ft_rollup *b, uint32_t shift,
		     struct ft_rollup *ret);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Stack chunks: nodes of the stack trie as columns (layout in FORMAT.md, "Stack chunk")
 *
 * A walk from the root puts a new node right behind its parent, and the same caller-callee pairs
 * come back under different roots: mostly a node costs one code byte before zstd.
 */
#ifndef FT_STACKCHUNK_H
#define FT_STACKCHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "fragtrace/store.h"
#include "ft_strbuf.h"

enum { FT_STACK_CHUNK_NODES = 65536 };

struct ft_stack_codec;
struct ft_stack_codec *ft_stack_codec_create(int level); /* NULL when out of memory */
void ft_stack_codec_destroy(struct ft_stack_codec *codec);

/* Append the blob of `n` nodes (1 to FT_STACK_CHUNK_NODES) to `out`. False when out of memory. */
bool ft_stack_encode(struct ft_stack_codec *codec, const struct ft_stack_node *nodes, size_t n,
		     struct ft_strbuf *out);

/* Decode into `nodes` (room for FT_STACK_CHUNK_NODES). Returns NULL, or what is wrong. */
const char *ft_stack_decode(struct ft_stack_codec *codec, const void *data, size_t len,
			    struct ft_stack_node *nodes, size_t *n);

#endif

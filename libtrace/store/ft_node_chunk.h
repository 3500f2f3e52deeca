/* SPDX-License-Identifier: MIT */
/*
 * Page frames and events of a machine as blobs (FORMAT.md, section 9)
 *
 * Decoders believe nothing: they return what is wrong as a static text; out of memory is
 * ft_unpack_nomem.
 */
#ifndef FT_NODE_CHUNK_H
#define FT_NODE_CHUNK_H

#include <stdbool.h>
#include <stddef.h>

#include "fragtrace/node.h"
#include "ft_columns.h"
#include "ft_strbuf.h"

/* Append the blob to `out`; false when out of memory. Runs are not empty. */
bool ft_node_pages_encode(const struct ft_node_run *runs, size_t n, struct ft_packer *packer,
			  struct ft_strbuf *out);
/* The runs, which add up to `n_pages`, in a new array (*ret, free() it). */
const char *ft_node_pages_decode(const void *data, size_t len, uint32_t n_pages,
				 struct ft_unpacker *unpacker, struct ft_node_run **ret, size_t *n);

/* Events of one cpu, in the order of their times. */
bool ft_node_events_encode(const struct ft_node_event *events, size_t n, struct ft_packer *packer,
			   struct ft_strbuf *out);
/* `events` has room for FT_NODE_CHUNK_EVENTS. Times do not go back. */
const char *ft_node_events_decode(const void *data, size_t len, uint16_t cpu,
				  struct ft_unpacker *unpacker, struct ft_node_event *events,
				  size_t *n);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Runs of pages as a blob: which pages of the program's heaps the kernel held, at one moment
 *
 * A container (ft_columns.h) of type 5 with a row for each run and three columns: varint of the
 * pages between the end of the run before and this one (the first: from address 0), varint of the
 * run's pages, and a byte for its state.
 */
#ifndef FT_RESIDENCY_H
#define FT_RESIDENCY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/store.h"
#include "ft_strbuf.h"

/* Append the blob to `out`. Runs are in order of their addresses, none is empty, and they do not
 * overlap. False when out of memory. */
bool ft_residency_encode(const struct ft_page_run *runs, size_t n, uint32_t page_bytes, int level,
			 struct ft_strbuf *out);

/* Decode into a new array (*ret, free() it). NULL, or what is wrong as a static text; out of memory
 * is ft_unpack_nomem. */
const char *ft_residency_decode(const void *data, size_t len, uint32_t page_bytes,
				struct ft_page_run **ret, size_t *n);

#endif

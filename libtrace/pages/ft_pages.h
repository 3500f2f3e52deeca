/* SPDX-License-Identifier: MIT */
/*
 * Pages: what the layout of a heap says, for the roll-ups of a recording
 *
 * Counts with the analyzer's own model (analyzer/model/fa_layout.h), so that the figures of a
 * stretch whose events are gone are those that they would have given. Between two counts it keeps
 * only which regions the heap has ever used; a count lays all live blocks out anew. Memory for the
 * time of a count: at most 64 bytes a page that is partly in use, 32 bytes a call stack, and 16 a
 * live block of the store's. Single-threaded.
 */
#ifndef FT_PAGES_H
#define FT_PAGES_H

#include "fragtrace/store.h"

struct ft_pages;

struct ft_pages *ft_pages_create(void); /* NULL: out of memory */
void ft_pages_destroy(struct ft_pages *pages);
/* For ft_writer_set_pages(); as long as `pages`. */
const struct ft_page_counter *ft_pages_counter(const struct ft_pages *pages);

#endif

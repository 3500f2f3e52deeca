/* SPDX-License-Identifier: MIT */
/*
 * The analysis of a machine's recording (`fragtrace node`)
 *
 * Fills the section `node` of an analysis document and the columns `node.*` (reports/FORMAT.md).
 * What the recording does not have is null in it. The same recording gives the same document.
 */
#ifndef FA_NODE_H
#define FA_NODE_H

#include "fa_doc.h"
#include "fragtrace/node.h"

struct fa_node_options {
	unsigned top; /* slab caches; 0: 10 */
};

/* The reader was opened with FT_READER_NODE. */
struct ft_error *fa_node_analyse(struct ft_reader *reader, const struct fa_node_options *options,
				 struct fa_doc *doc);

#endif

/* SPDX-License-Identifier: MIT */
/* Pages of the heap at moments: rows of the table page_rollup. Internal to the store. */
#ifndef FT_PAGE_ROLLUP_H
#define FT_PAGE_ROLLUP_H

#include "ft_columns.h"
#include "ft_db.h"
#include "ft_follow.h"

/* The live blocks by address, as a counter gets them. */
struct ft_page_blocks {
	const struct ft_follow *follow;
	struct ft_follow_order *order; /* owned */
	size_t at;
};
bool ft_page_blocks_init(struct ft_page_blocks *blocks, const struct ft_follow *follow);
void ft_page_blocks_deinit(struct ft_page_blocks *blocks);

struct ft_error *ft_page_rollup_write(sqlite3 *db, const char *path, struct ft_packer *packer,
				      const struct ft_page_rollup *pages);
/* Leave about `most` rows, at about equal distances in time. */
struct ft_error *ft_page_rollup_thin(sqlite3 *db, const char *path, uint64_t most);

#endif

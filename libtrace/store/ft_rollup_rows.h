/* SPDX-License-Identifier: MIT */
/* Rows of the table site_rollup, for those who write, merge and read them. Internal to the store.
 */
#ifndef FT_ROLLUP_ROWS_H
#define FT_ROLLUP_ROWS_H

#include "ft_db.h"
#include "ft_rollup.h"
#include "ft_strbuf.h"

/* Those of a table of an earlier writer. */
#define FT_ROLLUP_FIRST_COLUMNS                                                                    \
	" level, first_ns, last_ns, first_seq, n_events, n_sites, n_threads, n_pairs,"             \
	" cohort_shift, n_allocs, n_frees, bytes_allocated, bytes_freed, unknown_frees, overlaps," \
	" low_bytes, peak_bytes, peak_ns, peak_seq, peak_variance, allocated_variance,"            \
	" live_blocks, live_bytes, usable_bytes, live_variance, data, threads, pairs"

/* After "SELECT id," and for ft_rollup_from_row(). */
#define FT_ROLLUP_COLUMNS	  FT_ROLLUP_FIRST_COLUMNS ", n_largest, largest"
#define FT_ROLLUP_COLUMNS_EARLIER FT_ROLLUP_FIRST_COLUMNS ", 0, NULL"

#define FT_ROLLUP_INSERT                                                                        \
	"INSERT OR REPLACE INTO site_rollup(id," FT_ROLLUP_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?" \
	",?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"

/* Run FT_ROLLUP_INSERT; `id` 0: a new row. *bytes: of its blobs. */
struct ft_error *ft_rollup_write(sqlite3 *db, const char *path, sqlite3_stmt *insert,
				 struct ft_packer *packer, int64_t id,
				 const struct ft_rollup *rollup, uint64_t *bytes);

/* A row of SELECT id, FT_ROLLUP_COLUMNS (or those of an earlier writer): new arrays in `ret`, for
 * ft_rollup_clear(). NULL, or what is wrong with it. */
const char *ft_rollup_from_row(struct ft_unpacker *unpacker, sqlite3_stmt *row,
			       struct ft_rollup *ret);

#endif

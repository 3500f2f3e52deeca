/* SPDX-License-Identifier: MIT */
/* Rows that samplers write once a second, or so: fewer of the old ones. Internal to the store. */
#ifndef FT_THIN_H
#define FT_THIN_H

#include "ft_db.h"

/*
 * Where a table has more than `rows` rows from before `before_ns`, each second one of them
 * goes (of `sample`, of each figure; of `residency`, where the next row has runs of its own; of
 * `mapping`, what a later row from before `before_ns` has replaced; of `map_call` all go, as the
 * events of that time do). The timeline's peaks are kept: a row takes over that of the one before
 * it that goes. Where the runs of `residency` take more than `blob_bytes` (0: whatever they take)
 * it is too long too. Of `mark`, those that count operations come to stand for two where both are
 * of a 512th of the time up to `now_ns`. One table a call, so that a transaction stays short.
 */
enum { FT_THIN_ROWS = 8192 };
struct ft_error *ft_thin_rows(sqlite3 *db, const char *path, uint64_t before_ns, uint64_t now_ns,
			      uint64_t rows, uint64_t blob_bytes);

#endif

/* SPDX-License-Identifier: MIT */
/* Small helpers around SQLite that writer and reader share. SQLite's errors become ours here. */
#ifndef FT_DB_H
#define FT_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "fragtrace/store.h"
#include "ft_sqlite.h"

/* The connection's last error as one of ours: "PATH: WHAT: text". `path` is its file. */
struct ft_error *ft_db_error(sqlite3 *db, const char *path, const char *what);

struct ft_error *ft_db_exec(sqlite3 *db, const char *path, const char *sql);
struct ft_error *ft_db_prepare(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **ret);

/*
 * Bind values, run to the end, reset. `format` has a letter for each parameter:
 *	i int64_t    u uint64_t (kept bit by bit)    t uint64_t time, FT_TIME_NONE is NULL
 *	z uint64_t, 0 is NULL    n int64_t, negative is NULL    s const char *, NULL is NULL
 *	b const void *, size_t
 * Text that is no UTF-8 is stored as it is; text and blobs must live until the return.
 */
struct ft_error *ft_db_run(sqlite3 *db, const char *path, sqlite3_stmt *stmt, const char *format,
			   ...);

/*
 * Leave WAL mode: one plain file without -wal and -shm. Another connection, even an idle one, holds
 * that up; it is tried again for `wait_ms` (SQLite's own busy handler is not asked for this). False
 * if the file stays as it is, which any reader can read too, or on an error.
 */
bool ft_db_fold(sqlite3 *db, unsigned wait_ms);

/* Recordings of earlier writers lack some columns. */
bool ft_db_has_column(sqlite3 *db, const char *table, const char *column);

static inline uint64_t ft_db_u64(sqlite3_stmt *stmt, int column)
{
	return (uint64_t)sqlite3_column_int64(stmt, column);
}

static inline uint64_t ft_db_time(sqlite3_stmt *stmt, int column)
{
	return sqlite3_column_type(stmt, column) == SQLITE_NULL ? FT_TIME_NONE
								: ft_db_u64(stmt, column);
}

static inline int64_t ft_db_opt(sqlite3_stmt *stmt, int column)
{
	return sqlite3_column_type(stmt, column) == SQLITE_NULL
		       ? -1
		       : sqlite3_column_int64(stmt, column);
}

static inline const char *ft_db_text(sqlite3_stmt *stmt, int column)
{
	return (const char *)sqlite3_column_text(stmt, column);
}

static inline void ft_cleanup_stmt(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}

#define ft_auto_stmt __attribute__((cleanup(ft_cleanup_stmt)))

#endif

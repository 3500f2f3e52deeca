/* SPDX-License-Identifier: MIT */
/* The first moment of a recording, of whatever kind: identity, tables, WAL mode. */
#ifndef FT_BLANK_H
#define FT_BLANK_H

#include "ft_error.h"
#include "ft_sqlite.h"

/* Make the file `path` with these tables and the meta rows that all kinds have, in WAL mode, in one
 * step; it must not exist. `kind` goes to meta.kind; NULL: a program's, which has no such row. */
struct ft_error *ft_blank_create(const char *path, const char *schema, const char *kind);

/* Set a new connection up for writing and take the writer's lock (*lock_fd). */
struct ft_error *ft_blank_setup(const char *path, sqlite3 *db, unsigned busy_ms, int *lock_fd);

#endif

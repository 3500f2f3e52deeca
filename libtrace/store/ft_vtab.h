/* SPDX-License-Identifier: MIT */
/*
 * The virtual tables `event`, `allocation`, `frame` and `stack` over a catalog
 *
 * Columns and meaning are in FORMAT.md ("Tables that are computed"). Constraints on time, sequence,
 * stack, thread and address narrow the chunks that are decoded; SQLite checks them again on each
 * row, so that a narrowing may be generous but never wrong.
 */
#ifndef FT_VTAB_H
#define FT_VTAB_H

#include "ft_catalog.h"
#include "ft_error.h"
#include "ft_names.h"
#include "ft_sqlite.h"

/* Register the modules on a connection. `catalog` must live until the connection is closed. */
struct ft_error *ft_vtab_register(sqlite3 *db, struct ft_catalog *catalog);

/* ---- inside: shared by the tables ---------------------------------------------------------------
 */

/* One a connection. */
struct ft_vtab_context {
	struct ft_catalog *catalog;
	struct ft_names names;
	bool has_names;
	unsigned n_connected; /* tables; their statements go with the last one, before the close */
};

struct ft_vtab {
	sqlite3_vtab base; /* must be first: SQLite sees this part */
	struct ft_vtab_context *context;
};

extern const sqlite3_module ft_vtab_event, ft_vtab_allocation, ft_vtab_frame, ft_vtab_stack;

/* xConnect and xDisconnect of all four. `declaration` is a CREATE TABLE. */
int ft_vtab_connect(sqlite3 *db, void *aux, const char *declaration, sqlite3_vtab **ret);
int ft_vtab_disconnect(sqlite3_vtab *vtab);

/* Keep the error's text for SQLite's message; releases the error and returns the result code. */
int ft_vtab_fail(sqlite3_vtab *vtab, struct ft_error *error);

struct ft_error *ft_vtab_names(struct ft_vtab_context *context);

/*
 * Pushing constraints down: xBestIndex writes one letter pair a constraint into idxStr, the column
 * as 'a' + number and the relation as '=' '<' '>' (with "or equal" counted in), xFilter folds the
 * values into inclusive ranges.
 */
struct ft_vtab_range {
	uint64_t low, high; /* inclusive; low > high: nothing matches */
};

/* Take the usable constraints on columns of `columns` (bit by number). Returns SQLITE_OK or
 * SQLITE_NOMEM; *taken gets the columns taken. */
int ft_vtab_push(sqlite3_index_info *info, uint64_t columns, uint64_t *equal, uint64_t *bounded);

/* Ranges by column number, `n_columns` of them, start as everything. */
void ft_vtab_ranges(const char *plan, int argc, sqlite3_value **argv, struct ft_vtab_range *ranges,
		    size_t n_columns);

#endif

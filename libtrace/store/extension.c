/* SPDX-License-Identifier: MIT */
/*
 * Loadable extension: a recording's events as tables in any sqlite3 shell
 *
 *	$ sqlite3 -readonly soak.frag
 *	sqlite> .load ./fragtrace_sqlite
 *	sqlite> SELECT api, count(*) FROM event GROUP BY api;
 *
 * The tables are those of ft_vtab.h, over the connection's main database, as it is when loaded.
 */
#define FT_SQLITE_EXTENSION_MAIN
#include "ft_sqlite.h"

SQLITE_EXTENSION_INIT1

#include <stdlib.h>

#include "ft_catalog.h"
#include "ft_db.h"
#include "ft_vtab.h"

struct extension {
	struct ft_catalog catalog;
};

/* A module without tables: SQLite tells us through it that the connection is gone. */
static void extension_destroy(void *aux)
{
	struct extension *extension = aux;

	ft_catalog_deinit(&extension->catalog);
	free(extension);
}

static struct ft_error *check_identity(sqlite3 *db)
{
	sqlite3_stmt *stmt = NULL;
	int64_t id, version;

	FT_TRY(ft_db_prepare(db, "main",
			     "SELECT application_id, user_version FROM pragma_application_id,"
			     " pragma_user_version",
			     &stmt));
	sqlite3_step(stmt);
	id = sqlite3_column_int64(stmt, 0);
	version = sqlite3_column_int64(stmt, 1);
	sqlite3_finalize(stmt);
	if (id != FT_APPLICATION_ID)
		return ft_error_create(FT_ERROR_INPUT,
				       "the main database is not a fragtrace recording: open one, "
				       "then load the extension");
	if (version < FT_FORMAT_MIN_READ || version > FT_FORMAT_VERSION)
		return ft_error_create(
			FT_ERROR_NEWER,
			"the recording has format %lld, this extension reads %d to %d",
			(long long)version, FT_FORMAT_MIN_READ, FT_FORMAT_VERSION);
	return NULL;
}

static struct ft_error *extension_start(sqlite3 *db)
{
	static const sqlite3_module none;

	FT_TRY(check_identity(db));

	struct extension *extension = calloc(1, sizeof(*extension));

	if (!extension)
		return &ft_enomem;

	struct ft_error *error = ft_catalog_init(&extension->catalog, db, "main");

	if (error) {
		extension_destroy(extension);
		return error;
	}
	if (sqlite3_create_module_v2(db, "fragtrace", &none, extension, extension_destroy) !=
	    SQLITE_OK)
		return &ft_enomem; /* SQLite has called extension_destroy() */
	return ft_vtab_register(db, &extension->catalog);
}

/* SQLite derives the name from the file's. */
__attribute__((visibility("default"))) int sqlite3_fragtracesqlite_init(
	sqlite3 *db, char **message, const sqlite3_api_routines *api);

int sqlite3_fragtracesqlite_init(sqlite3 *db, char **message, const sqlite3_api_routines *api)
{
	SQLITE_EXTENSION_INIT2(api);

	struct ft_error *error = extension_start(db);

	if (!error)
		return SQLITE_OK;
	*message = sqlite3_mprintf("%s", error->message);
	ft_error_destroy(error);
	return SQLITE_ERROR;
}

/* SPDX-License-Identifier: MIT */
/* The first moment of a recording: see ft_blank.h. */
#include "ft_blank.h"

#include <stdio.h>

#include "fragtrace/store.h"
#include "ft_chunk.h"
#include "ft_cleanup.h"
#include "ft_create.h"
#include "ft_db.h"
#include "ft_lock.h"

static struct ft_error *put_identity(const char *path, sqlite3 *db, const char *kind)
{
	ft_auto_free char *sql = NULL;

	if (asprintf(&sql,
		     "PRAGMA application_id=%d; PRAGMA user_version=%d;"
		     "INSERT INTO meta VALUES('state','creating');"
		     "INSERT INTO meta VALUES('format_version',%d);"
		     "INSERT INTO meta VALUES('software_version','%s');"
		     "INSERT INTO meta VALUES('tick_ns',%d);",
		     FT_APPLICATION_ID, FT_FORMAT_VERSION, FT_FORMAT_VERSION, FT_VERSION,
		     1 << FT_TICK_SHIFT) < 0) {
		sql = NULL;
		return &ft_enomem;
	}
	FT_TRY(ft_db_exec(db, path, sql));
	if (!kind)
		return NULL;

	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	FT_TRY(ft_db_prepare(db, path, "INSERT INTO meta VALUES('kind',?)", &stmt));
	return ft_db_run(db, path, stmt, "s", kind);
}

/* A database with the tables and the identity, as the bytes of its file: sqlite3_free() these. */
static struct ft_error *make_blank(const char *path, const char *schema, const char *kind,
				   unsigned char **bytes, size_t *n)
{
	enum { WRITE_VERSION = 18, READ_VERSION = 19, WAL = 2 }; /* offsets in SQLite's header */
	struct ft_error *error = NULL;
	sqlite3_int64 size = 0;
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		error = &ft_enomem;
	/* Where a budget is lowered, the file can be made shorter a few pages at a time. */
	if (!error)
		error = ft_db_exec(db, path, "PRAGMA auto_vacuum=INCREMENTAL");
	if (!error)
		error = ft_db_exec(db, path, schema);
	if (!error)
		error = put_identity(path, db, kind);
	*bytes = error ? NULL : sqlite3_serialize(db, "main", &size, 0);
	sqlite3_close(db);
	if (error)
		return error;
	if (!*bytes || size <= READ_VERSION)
		return &ft_enomem;
	(*bytes)[WRITE_VERSION] = (*bytes)[READ_VERSION] = WAL;
	*n = (size_t)size;
	return NULL;
}

/* The file appears with its tables and in WAL mode, so that it is a recording from the first moment
 * on, whenever the writer is killed. SQLite has no "create, but only if it is not there" either. */
struct ft_error *ft_blank_create(const char *path, const char *schema, const char *kind)
{
	unsigned char *bytes = NULL;
	size_t n = 0;
	struct ft_error *error = make_blank(path, schema, kind, &bytes, &n);

	if (!error)
		error = ft_create_file(path, bytes, n);
	sqlite3_free(bytes);
	return error;
}

/* The first write makes the -wal file, which has the lock that says "alive". */
struct ft_error *ft_blank_setup(const char *path, sqlite3 *db, unsigned busy_ms, int *lock_fd)
{
	sqlite3_busy_timeout(db, (int)busy_ms);
	/* Some build SQLite so that deleted rows are overwritten with zeros: that would be to write
	 * each chunk twice. */
	FT_TRY(ft_db_exec(db, path,
			  "PRAGMA secure_delete=OFF;"
			  "PRAGMA synchronous=FULL; PRAGMA journal_mode=WAL;"
			  "PRAGMA wal_autocheckpoint=2000;"
			  "INSERT OR REPLACE INTO meta VALUES('state','creating');"));
	return ft_lock_take(path, lock_fd);
}

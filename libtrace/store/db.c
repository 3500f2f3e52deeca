/* SPDX-License-Identifier: MIT */
/* Helpers around SQLite: see ft_db.h. */
#include "ft_db.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

/* Why a file of the database could not be read or written, as the file knows it: what SQLite keeps
 * for the connection may have been lost by the time that it has rolled back. 0: not known. */
static int last_errno(sqlite3 *db)
{
	sqlite3_file *log = NULL;
	int os_errno = 0;

	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK &&
	    log && log->pMethods)
		log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &os_errno);
	if (!os_errno)
		sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &os_errno);
	return os_errno;
}

struct ft_error *ft_db_error(sqlite3 *db, const char *path, const char *what)
{
	int code = sqlite3_errcode(db) & 0xff, os_errno = sqlite3_system_errno(db);

	switch (code) {
	case SQLITE_NOMEM:
		return &ft_enomem;
	case SQLITE_NOTADB:
		return ft_error_create(FT_ERROR_INPUT,
				       "%s: not a recording: it is no SQLite database", path);
	case SQLITE_CORRUPT:
	case SQLITE_TOOBIG:
	case SQLITE_ERROR:
	case SQLITE_SCHEMA:
	case SQLITE_FORMAT:
		return ft_error_create(FT_ERROR_INPUT, "%s: the recording is damaged: %s (%s)",
				       path, sqlite3_errmsg(db), what);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ft_error_create(FT_ERROR_BUSY,
				       "%s: another program is using the recording (%s)", path,
				       what);
	case SQLITE_FULL:
		return ft_error_os(os_errno ? os_errno : ENOSPC, "%s: %s", path, what);
	default:
		if (!os_errno && code == SQLITE_IOERR)
			os_errno = last_errno(db);
		if (os_errno)
			return ft_error_os(os_errno, "%s: %s", path, what);
		return ft_error_create(FT_ERROR_INPUT, "%s: %s: %s", path, what,
				       sqlite3_errmsg(db));
	}
}

struct ft_error *ft_db_exec(sqlite3 *db, const char *path, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return ft_db_error(db, path, sql);
	return NULL;
}

struct ft_error *ft_db_prepare(sqlite3 *db, const char *path, const char *sql, sqlite3_stmt **ret)
{
	if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL) != SQLITE_OK)
		return ft_db_error(db, path, sql);
	return NULL;
}

struct ft_error *ft_db_run(sqlite3 *db, const char *path, sqlite3_stmt *stmt, const char *format,
			   ...)
{
	va_list args;
	int rc = SQLITE_OK;

	va_start(args, format);
	for (int i = 1; *format && rc == SQLITE_OK; i++, format++) {
		int64_t number = 0;
		const void *bytes = NULL;

		switch (*format) {
		case 's':
			rc = sqlite3_bind_text(stmt, i, va_arg(args, const char *), -1,
					       SQLITE_STATIC);
			continue;
		case 'b':
			bytes = va_arg(args, const void *);
			rc = sqlite3_bind_blob64(stmt, i, bytes, va_arg(args, size_t),
						 SQLITE_STATIC);
			continue;
		default:
			number = va_arg(args, int64_t);
		}

		bool none = (*format == 't' && (uint64_t)number == FT_TIME_NONE) ||
			    (*format == 'z' && !number) || (*format == 'n' && number < 0);

		rc = none ? sqlite3_bind_null(stmt, i) : sqlite3_bind_int64(stmt, i, number);
	}
	va_end(args);

	struct ft_error *error = NULL;

	if (rc != SQLITE_OK || sqlite3_step(stmt) != SQLITE_DONE)
		error = ft_db_error(db, path, "cannot write");
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return error;
}

bool ft_db_fold(sqlite3 *db, unsigned wait_ms)
{
	enum { STEP_MS = 5 };

	for (unsigned waited = 0;; waited += STEP_MS) {
		sqlite3_stmt *stmt = NULL;
		bool folded = sqlite3_prepare_v2(db, "PRAGMA journal_mode=DELETE", -1, &stmt,
						 NULL) == SQLITE_OK &&
			      sqlite3_step(stmt) == SQLITE_ROW &&
			      !strcmp(ft_db_text(stmt, 0), "delete");

		sqlite3_finalize(stmt);
		if (folded || waited >= wait_ms)
			return folded;
		nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
	}
}

bool ft_db_has_column(sqlite3 *db, const char *table, const char *column)
{
	return sqlite3_table_column_metadata(db, NULL, table, column, NULL, NULL, NULL, NULL,
					     NULL) == SQLITE_OK;
}

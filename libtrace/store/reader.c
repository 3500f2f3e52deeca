/* SPDX-License-Identifier: MIT */
/*
 * Reader of a recording: opening, identity, state
 *
 * The file may be anything. Before a table is believed: it is a SQLite database, it carries our
 * application_id, its version is one that we read, it has our tables, and they are tables (a schema
 * can name a view or a virtual table "meta" and run code by being read). SQLite is told to distrust
 * the schema and to write nothing.
 *
 * Events are fixed at open. No transaction stays open between two calls, so that a live writer can
 * reset its WAL; rows read later may therefore be of a later commit than the events.
 *
 * A live recording with a budget loses its oldest events while it is read. It is copied into memory
 * at open, in one short transaction, if it is not too large for that; what is in a larger one goes
 * so slowly that who meets a gap (FT_ERROR_BUSY) can begin again.
 */
#include "ft_reader.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ft_cleanup.h"
#include "ft_db.h"
#include "ft_lock.h"
#include "ft_schema.h"
#include "ft_vtab.h"

enum {
	WAIT_STEP_MS = 20,
	WAIT_FINISH_MS = 10000,
	WAIT_CREATE_MS = 1000,
	MAX_META = 4096,
	MAX_VALUE_BYTES = 64 << 20, /* of a text or blob: a chunk is below 8 MiB */
	MAX_COPY_BYTES = 256 << 20, /* of a live recording: read in a fraction of a second */
};

static struct ft_error *harden(struct ft_reader *reader)
{
	sqlite3 *db = reader->db;

	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, 2000);
	sqlite3_limit(db, SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	return ft_db_exec(db, reader->path, "PRAGMA query_only=1; PRAGMA mmap_size=0;");
}

static struct ft_error *pragma_int(struct ft_reader *reader, const char *sql, int64_t *value)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	FT_TRY(ft_db_prepare(reader->db, reader->path, sql, &stmt));
	if (sqlite3_step(stmt) != SQLITE_ROW)
		return ft_db_error(reader->db, reader->path, "cannot read");
	*value = sqlite3_column_int64(stmt, 0);
	return NULL;
}

static struct ft_error *check_identity(struct ft_reader *reader)
{
	int64_t id = 0, version = 0;

	FT_TRY(pragma_int(reader, "PRAGMA application_id", &id));
	FT_TRY(pragma_int(reader, "PRAGMA user_version", &version));
	if (id != FT_APPLICATION_ID)
		return ft_error_create(
			FT_ERROR_INPUT,
			"%s: not a recording: a SQLite database, but not one of fragtrace",
			reader->path);
	if (version > FT_FORMAT_VERSION)
		return ft_error_create(
			FT_ERROR_NEWER,
			"%s: the recording has format %lld, this program reads formats %d to %d: "
			"use the fraganalyze that belongs to the program that recorded it",
			reader->path, (long long)version, FT_FORMAT_MIN_READ, FT_FORMAT_VERSION);
	if (version < FT_FORMAT_MIN_READ)
		return ft_error_create(FT_ERROR_INPUT,
				       "%s: the recording states format %lld, which never existed",
				       reader->path, (long long)version);
	return NULL;
}

static struct ft_error *check_tables(struct ft_reader *reader, const char *const *tables)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	FT_TRY(ft_db_prepare(reader->db, reader->path,
			     "SELECT 1 FROM sqlite_schema WHERE name = ? AND type = 'table'"
			     " AND rootpage > 0",
			     &stmt));
	for (size_t i = 0; tables[i]; i++) {
		sqlite3_bind_text(stmt, 1, tables[i], -1, SQLITE_STATIC);

		int rc = sqlite3_step(stmt);

		if (rc == SQLITE_DONE)
			return ft_error_create(
				FT_ERROR_INPUT,
				"%s: the recording is damaged: it has no table \"%s\"",
				reader->path, tables[i]);
		if (rc != SQLITE_ROW)
			return ft_db_error(reader->db, reader->path, "cannot read");
		sqlite3_reset(stmt);
	}
	return NULL;
}

static struct ft_error *read_meta(struct ft_reader *reader)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	int rc;

	reader->meta = calloc(MAX_META, sizeof(*reader->meta));
	if (!reader->meta)
		return &ft_enomem;
	FT_TRY(ft_db_prepare(reader->db, reader->path, "SELECT key, value FROM meta", &stmt));
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct ft_reader_meta *meta = &reader->meta[reader->n_meta];
		const char *key = ft_db_text(stmt, 0);

		if (!key)
			continue;
		if (reader->n_meta == MAX_META)
			return ft_error_create(
				FT_ERROR_INPUT,
				"%s: the recording is damaged: more than %d meta rows",
				reader->path, MAX_META);
		meta->is_number = sqlite3_column_type(stmt, 1) == SQLITE_INTEGER;
		meta->number = sqlite3_column_int64(stmt, 1);

		const char *text = ft_db_text(stmt, 1);

		meta->key = ft_arena_strdup(&reader->arena, key);
		meta->text = text ? ft_arena_strdup(&reader->arena, text) : NULL;
		if (!meta->key || (text && !meta->text))
			return &ft_enomem;
		reader->n_meta++;
	}
	return rc == SQLITE_DONE ? NULL : ft_db_error(reader->db, reader->path, "meta");
}

/* A recording of a program, or of a machine: the one that the caller can use. */
static struct ft_error *check_kind(struct ft_reader *reader)
{
	const char *kind = ft_reader_meta(reader, "kind");

	reader->is_node = kind && !strcmp(kind, "node");
	if (kind && !reader->is_node)
		return ft_error_create(FT_ERROR_NEWER,
				       "%s: a recording of a kind that this program does not know",
				       reader->path);
	if (reader->flags & FT_READER_ANY_KIND ||
	    reader->is_node == !!(reader->flags & FT_READER_NODE))
		return NULL;
	if (reader->is_node)
		return ft_error_create(FT_ERROR_INPUT,
				       "%s: a recording of a machine's memory, not of a program: "
				       "'fraganalyze node' reads it",
				       reader->path);
	return ft_error_create(FT_ERROR_INPUT,
			       "%s: a recording of a program, not of a machine's memory, which "
			       "'fragtrace node' makes",
			       reader->path);
}

/* Everything that is fixed at open, as of one commit. */
static struct ft_error *read_fixed(struct ft_reader *reader)
{
	static const char *const meta[] = {"meta", NULL};

	FT_TRY(check_identity(reader));
	FT_TRY(check_tables(reader, meta));
	FT_TRY(ft_db_exec(reader->db, reader->path, "BEGIN"));
	FT_TRY(read_meta(reader));
	FT_TRY(check_kind(reader));
	FT_TRY(check_tables(reader, reader->is_node ? ft_node_schema_tables : ft_schema_tables));
	if (reader->is_node)
		return ft_db_exec(reader->db, reader->path, "COMMIT");
	reader->has_catalog = true;
	FT_TRY(ft_catalog_init(&reader->catalog, reader->db, reader->path));
	if (ft_reader_first_seq(reader) < ft_reader_begin_seq(reader))
		return ft_error_create(FT_ERROR_INPUT,
				       "%s: the recording is damaged: it has events from before it "
				       "begins",
				       reader->path);
	return ft_db_exec(reader->db, reader->path, "COMMIT");
}

/* ---- opening ------------------------------------------------------------------------------------
 */

static void reader_reset(struct ft_reader *reader)
{
	if (reader->has_catalog)
		ft_catalog_deinit(&reader->catalog);
	reader->has_catalog = false;
	sqlite3_close(reader->db);
	reader->db = NULL;
	free(reader->meta);
	reader->meta = NULL;
	reader->n_meta = 0;
	free(reader->keyframes);
	reader->keyframes = NULL;
	ft_arena_deinit(&reader->arena);
	ft_arena_init(&reader->arena);
}

static struct ft_error *open_with(struct ft_reader *reader, const char *vfs)
{
	if (sqlite3_open_v2(reader->path, &reader->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
			    vfs) != SQLITE_OK)
		return reader->db ? ft_db_error(reader->db, reader->path, "cannot open")
				  : &ft_enomem;
	FT_TRY(harden(reader));
	/* Exclusive locking keeps the index of the WAL in memory instead of in a -shm file. */
	if (vfs)
		FT_TRY(ft_db_exec(reader->db, reader->path, "PRAGMA locking_mode=EXCLUSIVE"));
	return read_fixed(reader);
}

/*
 * A writer that died while it made one plain file of the recording leaves a rollback journal, which
 * SQLite must undo before anybody can read, and which only a connection that may write can undo.
 * What was committed is in the file before and after.
 */
static void roll_back(const char *path)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
	    SQLITE_OK)
		sqlite3_exec(db, "PRAGMA user_version", NULL, NULL, NULL);
	sqlite3_close(db);
}

/*
 * A recording that was cut off has a -wal file, and to read that SQLite wants a -shm file beside
 * it, which it can't make in a directory that is read-only. "unix-none" locks nothing and exclusive
 * locking needs no -shm, so that the WAL is still read (immutable=1 would ignore it, and with it
 * the last part of the recording). Nobody else may write meanwhile: only done when no writer lives.
 */
static struct ft_error *open_once(struct ft_reader *reader, bool writer_lives)
{
	struct ft_error *error = open_with(reader, NULL);

	if (!error || writer_lives || !reader->db)
		return error;
	if (sqlite3_extended_errcode(reader->db) == SQLITE_READONLY_ROLLBACK) {
		ft_error_destroy(error);
		reader_reset(reader);
		roll_back(reader->path);
		error = open_with(reader, NULL);
		if (!error || !reader->db)
			return error;
	}

	int code = sqlite3_errcode(reader->db) & 0xff;

	if (code != SQLITE_CANTOPEN && code != SQLITE_READONLY && code != SQLITE_IOERR)
		return error;
	reader_reset(reader);

	struct ft_error *again = open_with(reader, "unix-none");

	/* The first message is about what the user can see. */
	ft_error_destroy(again ? again : error);
	return again ? error : NULL;
}

bool ft_reader_may_fold(const struct ft_reader *reader)
{
	struct ft_reader *r = (struct ft_reader *)(uintptr_t)reader;

	return reader->state == FT_STATE_RECORDING && (ft_reader_meta_int(r, "max_bytes", 0) > 0 ||
						       ft_reader_meta_int(r, "max_age_ns", 0) > 0);
}

static struct ft_error *copy_pages(struct ft_reader *reader, sqlite3 *to)
{
	sqlite3_backup *backup = sqlite3_backup_init(to, "main", reader->db, "main");
	int rc;

	if (!backup)
		return ft_db_error(to, reader->path, "cannot copy");
	/* All in one step is all in one transaction: of one commit. */
	rc = sqlite3_backup_step(backup, -1);
	sqlite3_backup_finish(backup);
	return rc == SQLITE_DONE ? NULL : ft_db_error(reader->db, reader->path, "cannot copy");
}

/* Read on in a copy that nobody folds. */
static struct ft_error *copy_into_memory(struct ft_reader *reader)
{
	int64_t n_pages = 0, page_bytes = 0;
	sqlite3 *copy = NULL;
	struct ft_error *error;

	FT_TRY(pragma_int(reader, "PRAGMA page_count", &n_pages));
	FT_TRY(pragma_int(reader, "PRAGMA page_size", &page_bytes));
	if (n_pages * page_bytes > MAX_COPY_BYTES)
		return NULL;
	error = sqlite3_open_v2(":memory:", &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
				NULL) == SQLITE_OK
			? copy_pages(reader, copy)
			: &ft_enomem;
	if (error) {
		sqlite3_close(copy);
		return error;
	}
	reader_reset(reader);
	reader->db = copy;
	FT_TRY(harden(reader));
	return read_fixed(reader);
}

static bool meta_is(struct ft_reader *reader, const char *key, const char *value)
{
	const char *text = ft_reader_meta(reader, key);

	return text && !strcmp(text, value);
}

/*
 * The program is gone although its writer has not said so yet: it learns of it a moment later. Only
 * a writer of our own pid namespace has pids that mean something here.
 */
static bool program_gone(struct ft_reader *reader)
{
	struct ft_process_row process = {0};
	char space[64] = "";

	if (readlink("/proc/self/ns/pid", space, sizeof(space) - 1) <= 0 ||
	    !meta_is(reader, "pid_namespace", space))
		return false;
	if (!reader->is_node)
		ft_error_destroy(ft_reader_process(reader, &process));
	return process.pid > 0 && kill((pid_t)process.pid, 0) < 0 && errno == ESRCH;
}

/* A writer that lives will say "complete" soon. */
static bool is_finishing(struct ft_reader *reader)
{
	return meta_is(reader, "state", "complete") || meta_is(reader, "state", "finishing") ||
	       meta_is(reader, "state", "creating") || program_gone(reader);
}

static struct ft_error *open_waiting(struct ft_reader *reader, unsigned flags)
{
	for (unsigned waited = 0;; waited += WAIT_STEP_MS) {
		/* Before the state is read: a writer that ends in between has said "complete". */
		bool lives = ft_lock_held(reader->path), wait;
		struct ft_error *error = open_once(reader, lives);
		bool complete = !error && meta_is(reader, "state", "complete");

		if (error)
			wait = error->kind == FT_ERROR_BUSY && waited < WAIT_FINISH_MS;
		else if (lives)
			wait = is_finishing(reader) && waited < WAIT_FINISH_MS;
		else
			wait = meta_is(reader, "state", "creating") && waited < WAIT_CREATE_MS;
		if (!wait || flags & FT_READER_NO_WAIT) {
			reader->state = complete ? FT_STATE_COMPLETE
					: lives	 ? FT_STATE_RECORDING
						 : FT_STATE_CUT_OFF;
			if (error || flags & FT_READER_ROWS || !ft_reader_may_fold(reader))
				return error;
			return copy_into_memory(reader);
		}
		ft_error_destroy(error);
		reader_reset(reader);
		nanosleep(&(struct timespec){.tv_nsec = WAIT_STEP_MS * 1000000L}, NULL);
	}
}

struct ft_error *ft_reader_open(const char *path, unsigned flags, struct ft_reader **ret)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return ft_error_os(errno, "%s: cannot open the recording", path);
	if (!S_ISREG(st.st_mode))
		return ft_error_create(FT_ERROR_INPUT, "%s: not a recording: not a regular file",
				       path);
	/* Where a file can't appear with its content, a writer's first step is an empty one. */
	for (unsigned waited = 0; !st.st_size; waited += WAIT_STEP_MS) {
		if (waited >= WAIT_CREATE_MS || flags & FT_READER_NO_WAIT)
			return ft_error_create(FT_ERROR_INPUT,
					       "%s: not a recording: the file is empty", path);
		nanosleep(&(struct timespec){.tv_nsec = WAIT_STEP_MS * 1000000L}, NULL);
		if (stat(path, &st) < 0)
			return ft_error_os(errno, "%s: cannot open the recording", path);
	}
	struct ft_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return &ft_enomem;
	ft_arena_init(&reader->arena);
	reader->flags = flags;
	reader->path = strdup(path);

	struct ft_error *error = reader->path ? open_waiting(reader, flags) : &ft_enomem;

	if (!error && !reader->is_node)
		error = ft_vtab_register(reader->db, &reader->catalog);
	if (error) {
		ft_reader_close(reader);
		return error;
	}
	*ret = reader;
	return NULL;
}

void ft_reader_close(struct ft_reader *reader)
{
	if (!reader)
		return;
	reader_reset(reader);
	ft_arena_deinit(&reader->arena);
	free(reader->path);
	free(reader);
}

/* ---- facts --------------------------------------------------------------------------------------
 */

const char *ft_reader_path(const struct ft_reader *reader)
{
	return reader->path;
}

enum ft_recording_state ft_reader_state(const struct ft_reader *reader)
{
	return reader->state;
}

bool ft_reader_is_node(const struct ft_reader *reader)
{
	return reader->is_node;
}

static const struct ft_reader_meta *find_meta(const struct ft_reader *reader, const char *key)
{
	for (size_t i = 0; i < reader->n_meta; i++)
		if (!strcmp(reader->meta[i].key, key))
			return &reader->meta[i];
	return NULL;
}

const char *ft_reader_meta(struct ft_reader *reader, const char *key)
{
	const struct ft_reader_meta *meta = find_meta(reader, key);

	return meta ? meta->text : NULL;
}

int64_t ft_reader_meta_int(struct ft_reader *reader, const char *key, int64_t fallback)
{
	const struct ft_reader_meta *meta = find_meta(reader, key);

	return meta && meta->is_number ? meta->number : fallback;
}

struct ft_error *ft_reader_stacks(struct ft_reader *reader, const struct ft_stack_node **ret,
				  size_t *n)
{
	FT_TRY(ft_catalog_stacks(&reader->catalog));
	*ret = reader->catalog.stacks;
	*n = reader->catalog.n_stacks;
	return NULL;
}

size_t ft_reader_n_chunks(const struct ft_reader *reader)
{
	return reader->catalog.n_chunks;
}

const struct ft_chunk_info *ft_reader_chunk_info(const struct ft_reader *reader, size_t index)
{
	return &reader->catalog.chunks[index];
}

uint64_t ft_reader_n_events(const struct ft_reader *reader)
{
	return reader->catalog.n_events;
}

uint32_t ft_reader_max_thread(const struct ft_reader *reader)
{
	return reader->catalog.max_thread;
}

struct ft_error *ft_reader_chunk(struct ft_reader *reader, size_t index, struct ft_event *events,
				 size_t *n)
{
	return ft_catalog_chunk(&reader->catalog, index, events, n);
}

struct sqlite3 *ft_reader_sql(struct ft_reader *reader)
{
	return reader->db;
}

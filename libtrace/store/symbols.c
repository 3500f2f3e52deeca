/* SPDX-License-Identifier: MIT */
/*
 * Adding symbols to a recording that nobody writes any more
 *
 * One transaction: a recording has either the names it had or all the new ones. A name or file that
 * many frames share is one row of `string`. The commit also writes `site`: the stacks of sites as
 * text, so that a plain sqlite3 shell shows where the memory went. C++ names are long and stacks
 * deep, therefore the texts have a budget (a fraction of the events' own bytes), spent on the sites
 * with the most live, then the most allocated bytes; the virtual table `stack` has all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "fragtrace/store.h"
#include "ft_catalog.h"
#include "ft_cleanup.h"
#include "ft_db.h"
#include "ft_lock.h"
#include "ft_map.h"
#include "ft_names.h"

enum {
	TEXT_BUDGET_MIN = 256 << 10,
	TEXT_BUDGET_SHARE = 8, /* of the bytes of all event chunks */
	TEXT_MAX_FRAMES = 64,
	/* Without totals (the writer died) the sites are counted from the events. */
	MAX_SITES = 1 << 20,
};

struct string_entry {
	int64_t id;
	struct string_entry *next; /* of the same hash */
	char *text;
};

struct ft_symbol_writer {
	char *path;
	sqlite3 *db;
	sqlite3_stmt *frame_stmt, *string_stmt;
	struct ft_arena arena;
	struct ft_map strings; /* hash of the text -> struct string_entry * */
	int64_t last_string;
};

/* ---- life ---------------------------------------------------------------------------------------
 */

static uint64_t hash_text(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

static struct string_entry *remember(struct ft_symbol_writer *writer, const char *text, int64_t id)
{
	struct string_entry *entry = ft_arena_alloc(&writer->arena, sizeof(*entry));
	char *copy = ft_arena_strdup(&writer->arena, text);
	uint64_t *slot = ft_map_put(&writer->strings, hash_text(text), NULL);

	if (!entry || !copy || !slot)
		return NULL;
	*entry = (struct string_entry){
		.id = id, .text = copy, .next = (struct string_entry *)(uintptr_t)*slot};
	*slot = (uint64_t)(uintptr_t)entry;
	return entry;
}

/* Names of an earlier pass are used again. */
static struct ft_error *read_strings(struct ft_symbol_writer *writer)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	int rc;

	FT_TRY(ft_db_prepare(writer->db, writer->path, "SELECT id, text FROM string", &stmt));
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(stmt, 0);
		const char *text = ft_db_text(stmt, 1);

		if (id > writer->last_string)
			writer->last_string = id;
		if (text && !remember(writer, text, id))
			return &ft_enomem;
	}
	return rc == SQLITE_DONE ? NULL : ft_db_error(writer->db, writer->path, "strings");
}

static struct ft_error *symbol_writer_setup(struct ft_symbol_writer *writer)
{
	if (sqlite3_open_v2(writer->path, &writer->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK)
		return writer->db ? ft_db_error(writer->db, writer->path, "cannot open to write")
				  : &ft_enomem;
	sqlite3_busy_timeout(writer->db, 2000);
	sqlite3_db_config(writer->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(writer->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(writer->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	FT_TRY(ft_db_exec(writer->db, writer->path, "BEGIN IMMEDIATE"));
	FT_TRY(read_strings(writer));
	FT_TRY(ft_db_prepare(writer->db, writer->path,
			     "INSERT OR REPLACE INTO symbol_frame VALUES(?,?,?,?,?,?)",
			     &writer->frame_stmt));
	return ft_db_prepare(writer->db, writer->path, "INSERT INTO string VALUES(?,?)",
			     &writer->string_stmt);
}

struct ft_error *ft_symbol_writer_open(const char *path, struct ft_symbol_writer **ret)
{
	struct ft_reader *reader;

	/* All checks of a reader; then nobody may be writing. */
	FT_TRY(ft_reader_open(path, FT_READER_NO_WAIT, &reader));
	ft_reader_close(reader);
	if (ft_lock_held(path))
		return ft_error_create(FT_ERROR_BUSY, "%s: it is still being recorded", path);

	struct ft_symbol_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return &ft_enomem;
	ft_arena_init(&writer->arena);
	ft_map_init(&writer->strings);
	writer->path = strdup(path);

	struct ft_error *error = writer->path ? symbol_writer_setup(writer) : &ft_enomem;

	if (error) {
		ft_symbol_writer_close(writer);
		return error;
	}
	*ret = writer;
	return NULL;
}

void ft_symbol_writer_close(struct ft_symbol_writer *writer)
{
	if (!writer)
		return;
	sqlite3_finalize(writer->frame_stmt);
	sqlite3_finalize(writer->string_stmt);
	/* An open transaction is rolled back by this. */
	sqlite3_close(writer->db);
	ft_map_deinit(&writer->strings);
	ft_arena_deinit(&writer->arena);
	free(writer->path);
	free(writer);
}

/* ---- symbols ------------------------------------------------------------------------------------
 */

static struct ft_error *intern(struct ft_symbol_writer *writer, const char *text, uint64_t *id)
{
	*id = 0;
	if (!text)
		return NULL;

	uint64_t *slot = ft_map_get(&writer->strings, hash_text(text));
	struct string_entry *entry = slot ? (struct string_entry *)(uintptr_t)*slot : NULL;

	while (entry && strcmp(entry->text, text) != 0)
		entry = entry->next;
	if (!entry) {
		FT_TRY(ft_db_run(writer->db, writer->path, writer->string_stmt, "is",
				 writer->last_string + 1, text));
		entry = remember(writer, text, ++writer->last_string);
		if (!entry)
			return &ft_enomem;
	}
	*id = (uint64_t)entry->id;
	return NULL;
}

struct ft_error *ft_symbol_writer_add(struct ft_symbol_writer *writer,
				      const struct ft_symbol_row *row)
{
	uint64_t function, file;

	FT_TRY(intern(writer, row->function, &function));
	FT_TRY(intern(writer, row->file, &file));
	return ft_db_run(writer->db, writer->path, writer->frame_stmt, "uuuzzz",
			 (int64_t)row->module, row->offset, (int64_t)row->depth, function, file,
			 row->line);
}

/* ---- site texts ---------------------------------------------------------------------------------
 */

struct site {
	uint32_t stack;
	uint64_t live_bytes, bytes_allocated;
};

static int compare_sites(const void *a, const void *b)
{
	const struct site *x = a, *y = b;

	if (x->live_bytes != y->live_bytes)
		return x->live_bytes < y->live_bytes ? 1 : -1;
	if (x->bytes_allocated != y->bytes_allocated)
		return x->bytes_allocated < y->bytes_allocated ? 1 : -1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static struct ft_error *sites_of_totals(struct ft_symbol_writer *writer, struct site *sites,
					size_t *n)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	int rc;

	FT_TRY(ft_db_prepare(writer->db, writer->path,
			     "SELECT stack, live_bytes, bytes_allocated FROM site_total"
			     " WHERE stack > 0 ORDER BY live_bytes DESC, bytes_allocated DESC"
			     " LIMIT ?",
			     &stmt));
	sqlite3_bind_int64(stmt, 1, MAX_SITES);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		sites[(*n)++] = (struct site){
			.stack = (uint32_t)ft_db_u64(stmt, 0),
			.live_bytes = ft_db_u64(stmt, 1),
			.bytes_allocated = ft_db_u64(stmt, 2),
		};
	return rc == SQLITE_DONE ? NULL : ft_db_error(writer->db, writer->path, "site totals");
}

static struct ft_error *sites_of_events(struct ft_catalog *catalog, struct site *sites, size_t *n)
{
	ft_auto_free struct ft_event *events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
	ft_auto_free uint32_t *index = calloc(catalog->n_stacks, sizeof(*index));

	if (!events || !index)
		return &ft_enomem;
	for (size_t chunk = 0; chunk < catalog->n_chunks; chunk++) {
		size_t n_events;

		FT_TRY(ft_catalog_chunk(catalog, chunk, events, &n_events));
		for (size_t i = 0; i < n_events; i++) {
			uint32_t stack = events[i].stack;

			if (events[i].kind == FT_EVENT_FREE || !stack)
				continue;
			if (!index[stack] && *n < MAX_SITES) {
				sites[*n] = (struct site){.stack = stack};
				index[stack] = (uint32_t)++ * n;
			}
			if (index[stack])
				sites[index[stack] - 1].bytes_allocated += events[i].size;
		}
	}
	qsort(sites, *n, sizeof(*sites), compare_sites);
	return NULL;
}

static struct ft_error *site_text(const struct ft_catalog *catalog, struct ft_names *names,
				  uint32_t stack, struct ft_strbuf *text, uint32_t *n_frames)
{
	*n_frames = 0;
	ft_strbuf_clear(text);
	for (; stack; stack = catalog->stacks[stack].parent, ++*n_frames) {
		const char *lines;

		if (*n_frames >= TEXT_MAX_FRAMES)
			continue; /* counted, not shown */
		FT_TRY(ft_names_lines(names, &catalog->stacks[stack], &lines));
		ft_strbuf_adds(text, lines);
	}
	if (text->len)
		text->data[--text->len] = '\0';
	return text->failed ? &ft_enomem : NULL;
}

static struct ft_error *write_texts(struct ft_symbol_writer *writer, struct ft_catalog *catalog,
				    const struct site *sites, size_t n, uint64_t budget)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	ft_auto_strbuf struct ft_strbuf text = {0};
	struct ft_names names;
	struct ft_error *error;
	size_t n_written = 0;

	FT_TRY(ft_db_prepare(writer->db, writer->path, "INSERT INTO site VALUES(?,?,?)", &stmt));
	error = ft_names_init(&names, writer->db, writer->path);
	if (error)
		return error;
	for (size_t i = 0; i < n && !error; i++) {
		uint32_t n_frames;

		if (sites[i].stack >= catalog->n_stacks)
			continue;
		error = site_text(catalog, &names, sites[i].stack, &text, &n_frames);
		if (error || text.len > budget)
			break;
		budget -= text.len;
		error = ft_db_run(writer->db, writer->path, stmt, "uus", (int64_t)sites[i].stack,
				  (int64_t)n_frames, ft_strbuf_text(&text));
		n_written++;
	}
	ft_names_deinit(&names);
	if (error)
		return error;

	ft_auto_stmt sqlite3_stmt *meta = NULL;

	FT_TRY(ft_db_prepare(writer->db, writer->path, "INSERT OR REPLACE INTO meta VALUES(?,?)",
			     &meta));
	return ft_db_run(writer->db, writer->path, meta, "si", "sites_without_text",
			 (int64_t)(n - n_written));
}

static struct ft_error *write_sites(struct ft_symbol_writer *writer, struct ft_catalog *catalog)
{
	ft_auto_free struct site *sites = malloc(MAX_SITES * sizeof(*sites));
	uint64_t budget = 0;
	size_t n = 0;

	if (!sites)
		return &ft_enomem;
	FT_TRY(ft_catalog_stacks(catalog));
	FT_TRY(ft_db_exec(writer->db, writer->path, "DELETE FROM site"));
	FT_TRY(sites_of_totals(writer, sites, &n));
	if (!n)
		FT_TRY(sites_of_events(catalog, sites, &n));
	for (size_t i = 0; i < catalog->n_chunks; i++)
		budget += catalog->chunks[i].n_bytes;
	return write_texts(writer, catalog, sites, n, budget / TEXT_BUDGET_SHARE + TEXT_BUDGET_MIN);
}

struct ft_error *ft_symbol_writer_commit(struct ft_symbol_writer *writer)
{
	struct ft_catalog catalog;
	struct ft_error *error = ft_catalog_init(&catalog, writer->db, writer->path);

	if (!error)
		error = write_sites(writer, &catalog);
	ft_catalog_deinit(&catalog);
	FT_TRY(error);
	FT_TRY(ft_db_exec(writer->db, writer->path, "COMMIT"));

	/* What a writer left in WAL mode becomes one plain file. Somebody who is reading may hold
	 * that up; the next pass will do it. */
	sqlite3_finalize(writer->frame_stmt);
	sqlite3_finalize(writer->string_stmt);
	writer->frame_stmt = writer->string_stmt = NULL;
	ft_db_fold(writer->db, 0);
	return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * A leak for a real program: an SQLite extension whose function remember(text) keeps each argument
 *
 * What it keeps is in a list, reachable and useless, as in a cache that nobody empties.
 */
#include <stdlib.h>
#include <string.h>

#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1

struct note {
	struct note *next;
	char text[];
};

static struct note *notes;

static void remember(sqlite3_context *context, int n, sqlite3_value **values)
{
	const char *text = (const char *)sqlite3_value_text(values[0]);
	struct note *note = malloc(sizeof(*note) + strlen(text ? text : "") + 1);

	if (!note)
		return;
	strcpy(note->text, text ? text : "");
	note->next = notes;
	notes = note;
	sqlite3_result_int(context, n);
}

int sqlite3_remember_init(sqlite3 *db, char **error, const sqlite3_api_routines *api);

__attribute__((visibility("default"))) int sqlite3_remember_init(sqlite3 *db, char **error,
								 const sqlite3_api_routines *api)
{
	SQLITE_EXTENSION_INIT2(api);
	return sqlite3_create_function(db, "remember", 1, SQLITE_UTF8, NULL, remember, NULL, NULL);
}

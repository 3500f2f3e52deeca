/* SPDX-License-Identifier: MIT */
/* What the store's tests share: a recording to work on, and SQL done to it behind the store's back.
 */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fragtrace/store.h"
#include "synth.h"

static inline void ok(struct ft_error *error)
{
	if (error)
		ck_abort_msg("%s", error->message);
}

/* The call must fail with `kind` and say `words`. */
static inline void fails(struct ft_error *error, enum ft_error_kind kind, const char *words)
{
	if (!error)
		ck_abort_msg("it succeeded; expected an error with \"%s\"", words);
	if (error->kind != kind || !strstr(error->message, words))
		ck_abort_msg("kind %d \"%s\"; expected kind %d with \"%s\"", error->kind,
			     error->message, kind, words);
	ft_error_destroy(error);
}

/* A path of this test's own process; whatever was there is gone. */
static inline const char *fresh_path(void)
{
	static char path[64], beside[80];

	snprintf(path, sizeof(path), "store-test.%d.frag", (int)getpid());
	unlink(path);
	snprintf(beside, sizeof(beside), "%s-wal", path);
	unlink(beside);
	snprintf(beside, sizeof(beside), "%s-shm", path);
	unlink(beside);
	return path;
}

static inline void write_stacks(struct ft_writer *writer, const struct synth *synth)
{
	for (size_t i = 0; i < synth_n_nodes(synth); i++) {
		struct ft_stack_node node = synth_node(synth, i);

		ok(ft_writer_stack_node(writer, &node));
	}
}

static inline void write_events(struct ft_writer *writer, struct synth *synth, uint64_t n)
{
	struct ft_event event;

	for (uint64_t i = 0; i < n; i++) {
		synth_next(synth, &event);
		ok(ft_writer_event(writer, &event, NULL));
	}
}

/* A complete recording of `n` synthetic events. */
static inline void make_recording(const char *path, const struct synth_options *options, uint64_t n)
{
	struct synth *synth = synth_create(options);
	struct ft_writer *writer;

	ok(ft_writer_create(path, &writer));
	write_stacks(writer, synth);
	write_events(writer, synth, n);
	ok(ft_writer_finish(writer));
	synth_destroy(synth);
}

static inline void sql(const char *path, const char *statements)
{
	sqlite3 *db;
	char *message = NULL;

	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_exec(db, statements, NULL, NULL, &message);
	if (message)
		ck_abort_msg("%s: %s", statements, message);
	sqlite3_close(db);
}

/* The number that a query answers. */
static inline int64_t number_in(const char *path, const char *query)
{
	sqlite3_stmt *stmt;
	int64_t number;
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, query, -1, &stmt, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	number = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return number;
}

static inline int run_suite(const char *name, TCase *tcase)
{
	Suite *suite = suite_create(name);

	suite_add_tcase(suite, tcase);

	/* Hundreds of recordings, each synced to the disk several times: none of the claims is
	 * about the disk. */
	if (chdir("/dev/shm"))
		fprintf(stderr, "no /dev/shm: on the disk, slowly\n");

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Out of memory at every place
 *
 * The n-th allocation of a whole write or read fails, for n = 1, 5, 9 ... until one succeeds: each
 * time the caller gets an error, and nothing crashes or leaks a file that blocks the next attempt.
 * MEMORY_STRIDE=1 takes every n, which needs half a minute (scripts/prove memory).
 * malloc is replaced in this program, so that SQLite's and zstd's allocations fail too.
 */
#include "store_test.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static long countdown; /* 0: never fails */

static long stride(void)
{
	const char *text = getenv("MEMORY_STRIDE");

	return text ? strtol(text, NULL, 10) : 4;
}

static bool fail_now(void)
{
	if (!countdown || --countdown)
		return false;
	countdown = 1; /* memory stays short: a second attempt inside does not help */
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fail_now() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return fail_now() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return fail_now() ? NULL : __libc_realloc(p, size);
}

static struct ft_error *write_once(const char *path, const struct ft_event *events, size_t n)
{
	struct ft_writer *writer;
	struct ft_error *error = ft_writer_create(path, &writer);

	for (size_t i = 0; i < n && !error; i++) {
		error = ft_writer_event(writer, &events[i], NULL);
		if (error)
			ft_writer_close(writer);
	}
	if (!error) {
		error = ft_writer_stack_node(writer, &(struct ft_stack_node){.id = 1, .pc = 5});
		if (!error)
			error = ft_writer_finish(writer);
		else
			ft_writer_close(writer);
	}
	return error;
}

static struct ft_error *read_once(const char *path, struct ft_event *events)
{
	const struct ft_stack_node *nodes;
	struct ft_reader *reader;
	size_t n;
	struct ft_error *error = ft_reader_open(path, FT_READER_NO_WAIT, &reader);

	if (error)
		return error;
	error = ft_reader_stacks(reader, &nodes, &n);
	if (!error)
		error = ft_reader_chunk(reader, 0, events, &n);
	if (!error && sqlite3_exec((sqlite3 *)ft_reader_sql(reader),
				   "SELECT a.died_ns, s.text, f.file FROM allocation a"
				   " LEFT JOIN stack s ON s.id = a.stack"
				   " LEFT JOIN frame f ON f.id = a.stack",
				   NULL, NULL, NULL) != SQLITE_OK)
		error = &ft_enomem;
	ft_reader_close(reader);
	return error;
}

START_TEST(writer_survives_every_failure)
{
	const char *path = fresh_path();
	struct synth *synth = synth_create(&(struct synth_options){.seed = 1, .n_live = 50});
	struct ft_event events[200];

	for (size_t i = 0; i < 200; i++)
		synth_next(synth, &events[i]);
	for (long n = 1;; n += stride()) {
		countdown = n;

		struct ft_error *error = write_once(path, events, 200);

		countdown = 0;
		fresh_path();
		if (!error)
			break;
		ft_error_destroy(error);
		ck_assert_int_lt(n, 40000);
	}
	synth_destroy(synth);
}
END_TEST

START_TEST(reader_survives_every_failure)
{
	const char *path = fresh_path();
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events));
	long n = 1;

	make_recording(path, &(struct synth_options){.seed = 1, .n_live = 50, .n_sites = 8}, 200);
	for (;; n += stride()) {
		countdown = n;

		struct ft_error *error = read_once(path, events);

		countdown = 0;
		if (!error)
			break;
		ft_error_destroy(error);
		ck_assert_int_lt(n, 40000);
	}
	ck_assert_int_gt(n, 50);
	free(events);
	unlink(path);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("memory");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, writer_survives_every_failure);
	tcase_add_test(tcase, reader_survives_every_failure);
	return run_suite("memory", tcase);
}

/* SPDX-License-Identifier: MIT */
/* The whole pass over recordings written here: which addresses are asked for, and what is added. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "fragtrace/store.h"
#include "ft_symbol.h"

#define BASE  UINT64_C(0x100000000)
#define RANGE UINT64_C(0x100000)

static char folder[64], recording[96];

static void succeed(struct ft_error *error)
{
	ck_assert_msg(!error, "%s", error ? error->message : "");
}

static struct ft_writer *begin(void)
{
	struct ft_writer *writer;

	succeed(ft_writer_create(recording, &writer));
	succeed(ft_writer_process(writer, &(struct ft_process_row){.pid = 1,
								   .exe = "/bin/program",
								   .fork_ns = FT_TIME_NONE,
								   .end_ns = FT_TIME_NONE}));
	return writer;
}

/* Module `id`, loaded at `at`. */
static uint64_t add_module(struct ft_writer *writer, uint32_t id, uint64_t at, const char *path,
			   const char *build_id, uint64_t load_ns, uint64_t unload_ns)
{
	succeed(ft_writer_module(writer, &(struct ft_module_row){.id = id,
								 .path = path,
								 .build_id = build_id,
								 .bias = at,
								 .start = at,
								 .end = at + RANGE,
								 .load_ns = load_ns,
								 .unload_ns = unload_ns}));
	return at;
}

struct found {
	struct ft_symbol_row rows[64];
	size_t n;
};

static struct ft_error *keep_row(void *ctx, const struct ft_symbol_row *row)
{
	struct found *found = ctx;

	ck_assert_uint_lt(found->n, 64);
	found->rows[found->n] = *row;
	found->rows[found->n].function = row->function ? strdup(row->function) : NULL;
	found->rows[found->n++].file = row->file ? strdup(row->file) : NULL;
	return NULL;
}

static void read_symbols(struct found *found)
{
	struct ft_reader *reader;

	*found = (struct found){0};
	succeed(ft_reader_open(recording, 0, &reader));
	succeed(ft_reader_symbols(reader, keep_row, found));
	ft_reader_close(reader);
}

static const char *function_at(const struct found *found, uint32_t module, uint64_t offset,
			       uint32_t depth)
{
	for (size_t i = 0; i < found->n; i++)
		if (found->rows[i].module == module && found->rows[i].offset == offset &&
		    found->rows[i].depth == depth)
			return found->rows[i].function;
	return NULL;
}

static void found_deinit(struct found *found)
{
	for (size_t i = 0; i < found->n; i++) {
		free((void *)(uintptr_t)found->rows[i].function);
		free((void *)(uintptr_t)found->rows[i].file);
	}
}

static struct ft_symbolize_options options_of(bool isolate)
{
	static char debug_dirs[4096];

	snprintf(debug_dirs, sizeof(debug_dirs), "%s/debug", FIXTURES);
	return (struct ft_symbolize_options){.debug_dirs = debug_dirs, .isolate = isolate};
}

START_TEST(stacks_and_start_routines_get_their_names)
{
	char id[130];
	snprintf(id, sizeof(id), "%s", fixture_build_id(fixture_path("plain")));
	uint64_t innermost = fixture_address("plain", "innermost");
	uint64_t local = fixture_address("plain", "local");
	uint64_t renamed = fixture_address("plain", "renamed");

	struct ft_writer *writer = begin();
	uint64_t at = add_module(writer, 1, BASE, fixture_path("plain"), id, 0, FT_TIME_NONE);
	struct ft_stack_node nodes[] = {
		{.id = 1, .parent = 0, .pc = at + local + 1},
		{.id = 2, .parent = 1, .pc = at + innermost + 1},
		{.id = 3, .parent = 0, .pc = at + innermost + 1}, /* asked for once */
		{.id = 4, .parent = 0, .pc = 0x1234},		  /* in no module */
	};
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		succeed(ft_writer_stack_node(writer, &nodes[i]));
	succeed(ft_writer_thread(writer, &(struct ft_thread_row){.id = 1,
								 .tid = 1,
								 .start_function = at + renamed,
								 .end_ns = FT_TIME_NONE}));
	succeed(ft_writer_finish(writer));

	struct ft_symbolize_options options = options_of(_i);
	struct ft_symbolize_result result;
	succeed(ft_symbolize(recording, &options, &result));
	ck_assert_uint_eq(result.n_addresses, 3);
	ck_assert_uint_eq(result.n_resolved, 3);
	ck_assert_uint_eq(result.n_with_line, 3);
	ck_assert_uint_eq(result.n_frames, 5);
	ck_assert_uint_eq(result.n_outside, 1);
	ck_assert_uint_eq(result.n_modules, 1);
	ck_assert_uint_eq(result.n_modules_unnamed, 0);
	ck_assert(!result.timed_out);

	struct found found;
	read_symbols(&found);
	ck_assert_uint_eq(found.n, 5);
	ck_assert_str_eq(function_at(&found, 1, local + 1, 0), "local_function");
	ck_assert_str_eq(function_at(&found, 1, innermost + 1, 0), "innermost");
	ck_assert_str_eq(function_at(&found, 1, innermost + 1, 1), "middle");
	ck_assert_str_eq(function_at(&found, 1, innermost + 1, 2), "outer");
	ck_assert_str_eq(function_at(&found, 1, renamed, 0), "renamed");
	found_deinit(&found);
}
END_TEST

/* dlclose and dlopen reuse addresses: each is asked for the stacks of its time. */
START_TEST(two_modules_that_shared_a_range_have_the_stacks_of_their_time)
{
	char first[130], second[130];
	snprintf(first, sizeof(first), "%s", fixture_build_id(fixture_path("plain")));
	snprintf(second, sizeof(second), "%s", fixture_build_id(fixture_path("library-full.so")));
	uint64_t local = fixture_address("plain", "local");
	uint64_t exported = fixture_address("library.so", "exported");

	struct ft_writer *writer = begin();
	succeed(ft_writer_module(writer, &(struct ft_module_row){.id = 1,
								 .path = fixture_path("plain"),
								 .build_id = first,
								 .bias = BASE,
								 .start = BASE,
								 .end = BASE + 0x100000,
								 .unload_ns = 1000,
								 .last_stack = 1}));
	add_module(writer, 2, BASE, fixture_path("library-full.so"), second, 2000, FT_TIME_NONE);
	succeed(ft_writer_stack_node(writer,
				     &(struct ft_stack_node){.id = 1, .pc = BASE + local + 1}));
	succeed(ft_writer_stack_node(writer,
				     &(struct ft_stack_node){.id = 2, .pc = BASE + exported + 1}));
	succeed(ft_writer_finish(writer));

	struct ft_symbolize_options options = options_of(true);
	struct ft_symbolize_result result;
	succeed(ft_symbolize(recording, &options, &result));
	ck_assert_uint_eq(result.n_modules, 2);
	ck_assert_uint_eq(result.n_addresses, 2);

	struct found found;
	read_symbols(&found);
	ck_assert_str_eq(function_at(&found, 1, local + 1, 0), "local_function");
	ck_assert_str_eq(function_at(&found, 2, exported + 1, 0), "exported");
	found_deinit(&found);
}
END_TEST

START_TEST(modules_without_their_file_are_counted_by_cause)
{
	struct ft_writer *writer = begin();
	add_module(writer, 1, BASE, "/nowhere/gone.so", "00ff", 0, FT_TIME_NONE);
	add_module(writer, 2, BASE + RANGE, fixture_path("plain"), "00ff", 0, FT_TIME_NONE);
	add_module(writer, 3, BASE + 2 * RANGE, fixture_path("addresses"), "00ff", 0, FT_TIME_NONE);
	add_module(writer, 4, BASE + 3 * RANGE, "/nowhere/unused.so", NULL, 0, FT_TIME_NONE);
	for (uint32_t i = 0; i < 3; i++)
		succeed(ft_writer_stack_node(
			writer,
			&(struct ft_stack_node){.id = i + 1, .pc = BASE + i * RANGE + 0x1200}));
	succeed(ft_writer_finish(writer));

	struct ft_symbolize_options options = options_of(true);
	struct ft_symbolize_result result;
	succeed(ft_symbolize(recording, &options, &result));
	ck_assert_uint_eq(result.n_modules, 3);
	ck_assert_uint_eq(result.n_modules_unnamed, 3);
	ck_assert_uint_eq(result.n_modules_missing, 1);
	ck_assert_uint_eq(result.n_modules_mismatched, 1);
	ck_assert_uint_eq(result.n_modules_damaged, 1);
	ck_assert_uint_eq(result.n_frames, 0);
}
END_TEST

START_TEST(a_second_pass_replaces_what_the_first_one_found)
{
	char id[130];
	snprintf(id, sizeof(id), "%s", fixture_build_id(fixture_path("stripped")));
	uint64_t innermost = fixture_address("plain", "innermost");

	struct ft_writer *writer = begin();
	add_module(writer, 1, BASE, fixture_path("symbols-only"), id, 0, FT_TIME_NONE);
	succeed(ft_writer_stack_node(writer,
				     &(struct ft_stack_node){.id = 1, .pc = BASE + innermost + 1}));
	succeed(ft_writer_finish(writer));

	/* First without the debug file, then with it: one frame becomes three. */
	struct ft_symbolize_options options = {.debug_dirs = "/nowhere"};
	struct ft_symbolize_result result;
	succeed(ft_symbolize(recording, &options, &result));
	ck_assert_uint_eq(result.n_frames, 1);
	options = options_of(false);
	for (int i = 0; i < 2; i++) {
		succeed(ft_symbolize(recording, &options, &result));
		ck_assert_uint_eq(result.n_frames, 3);
		struct found found;
		read_symbols(&found);
		ck_assert_uint_eq(found.n, 3);
		ck_assert_str_eq(function_at(&found, 1, innermost + 1, 0), "innermost");
		found_deinit(&found);
	}
}
END_TEST

START_TEST(a_recording_that_is_being_written_is_busy)
{
	struct ft_writer *writer = begin();
	succeed(ft_writer_commit(writer, false));

	struct ft_error *error = ft_symbolize(recording, NULL, NULL);
	ck_assert_ptr_nonnull(error);
	ck_assert_int_eq(error->kind, FT_ERROR_BUSY);
	ft_error_destroy(error);
	succeed(ft_writer_finish(writer));
	succeed(ft_symbolize(recording, NULL, NULL));
}
END_TEST

START_TEST(what_is_no_recording_is_an_error)
{
	struct ft_error *error = ft_symbolize("/nowhere/run.frag", NULL, NULL);
	ck_assert_ptr_nonnull(error);
	ft_error_destroy(error);
	error = ft_symbolize(fixture_path("plain"), NULL, NULL);
	ck_assert_ptr_nonnull(error);
	ck_assert_int_eq(error->kind, FT_ERROR_INPUT);
	ft_error_destroy(error);
}
END_TEST

static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "/tmp/ft-symbolize-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(recording, sizeof(recording), "%s/run.frag", folder);
}

static void remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

int main(void)
{
	Suite *suite = suite_create("symbol-symbolize");
	TCase *tc = tcase_create("symbolize");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, make_folder, remove_folder);
	tcase_add_loop_test(tc, stacks_and_start_routines_get_their_names, 0, 2);
	tcase_add_test(tc, two_modules_that_shared_a_range_have_the_stacks_of_their_time);
	tcase_add_test(tc, modules_without_their_file_are_counted_by_cause);
	tcase_add_test(tc, a_second_pass_replaces_what_the_first_one_found);
	tcase_add_test(tc, a_recording_that_is_being_written_is_busy);
	tcase_add_test(tc, what_is_no_recording_is_an_error);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Names, lines and inline chains of small ELF files with known contents, in every form in which
 * debug information comes
 */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "ft_symbol.h"

static void expect_frame(const struct answers *answers, size_t i, const char *function,
			 const char *source, const char *mark)
{
	ck_assert_uint_gt(answers->n, i);
	const struct answer *frame = &answers->frames[i];
	char path[4096];

	ck_assert_uint_eq(frame->depth, i);
	ck_assert_ptr_nonnull(frame->function);
	ck_assert_str_eq(frame->function, function);
	if (!source) {
		ck_assert_ptr_null(frame->file);
		ck_assert_uint_eq(frame->line, 0);
		return;
	}
	ck_assert_ptr_nonnull(frame->file);
	snprintf(path, sizeof(path), "%s/%s", SOURCES, source);
	ck_assert_str_eq(frame->file, path);
	ck_assert_uint_eq(frame->line, fixture_line(source, mark));
}

/* Everything that inline.c is to say, asked of the fixture `name`. */
static void expect_inline_c(const char *name, const char *build_id)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;

	ask(fixture_path(name), build_id, fixture_address(name, "innermost"), &settings, &answers);
	ck_assert_uint_eq(answers.end.status, FT_OBJECT_OK);
	expect_frame(&answers, 0, "innermost", "inline.c", "innermost");
	expect_frame(&answers, 1, "middle", "inline.c", "middle");
	expect_frame(&answers, 2, "outer", "inline.c", "outer");
	ck_assert_uint_eq(answers.n, 3);
	answers_deinit(&answers);

	ask(fixture_path(name), build_id, fixture_address(name, "outer_end"), &settings, &answers);
	expect_frame(&answers, 0, "outer", "inline.c", "outer_end");
	ck_assert_uint_eq(answers.n, 1);
	answers_deinit(&answers);

	ask(fixture_path(name), build_id, fixture_address(name, "local"), &settings, &answers);
	expect_frame(&answers, 0, "local_function", "inline.c", "local");
	ck_assert_uint_eq(answers.n, 1);
	answers_deinit(&answers);

	ask(fixture_path(name), build_id, fixture_address(name, "renamed"), &settings, &answers);
	expect_frame(&answers, 0, "renamed", "inline.c", "renamed");
	ck_assert_uint_eq(answers.n, 1);
	answers_deinit(&answers);
}

static const char *const dwarf_kinds[] = {"plain",	"dwarf4",      "fixed-address",
					  "compressed", "split-dwarf", "clang"};

START_TEST(an_inline_chain_is_told_innermost_first_with_its_call_lines)
{
	const char *name = dwarf_kinds[_i];

	if (fixture_exists(name))
		expect_inline_c(name, fixture_build_id(fixture_path(name)));
}
END_TEST

START_TEST(a_stripped_program_is_told_by_the_debug_file_of_its_build_id)
{
	expect_inline_c("by-build-id", fixture_build_id(fixture_path("by-build-id")));
}
END_TEST

START_TEST(a_debug_link_is_followed_beside_the_program)
{
	expect_inline_c("by-link/program", NULL);
}
END_TEST

START_TEST(a_debug_link_is_followed_below_the_debug_directory)
{
	expect_inline_c("by-link-far/program", NULL);
}
END_TEST

START_TEST(a_debug_link_with_another_checksum_is_not_believed)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	const char *name = "bad-link/program";

	ask(fixture_path(name), NULL, fixture_address(name, "innermost"), &settings, &answers);
	ck_assert_uint_eq(answers.end.status, FT_OBJECT_OK);
	ck_assert_uint_eq(answers.n, 0);
}
END_TEST

START_TEST(a_removed_program_is_told_by_its_debug_file)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	const char *id = fixture_build_id(fixture_path("plain"));

	ask("/nowhere/program (deleted)", id, fixture_address("plain", "innermost"), &settings,
	    &answers);
	ck_assert_uint_eq(answers.end.status, FT_OBJECT_OK);
	expect_frame(&answers, 0, "innermost", "inline.c", "innermost");
	ck_assert_uint_eq(answers.n, 3);
	answers_deinit(&answers);

	/* The same where another build took its place. */
	ask(fixture_path("other-build"), id, fixture_address("plain", "innermost"), &settings,
	    &answers);
	ck_assert_uint_eq(answers.n, 3);
	answers_deinit(&answers);
}
END_TEST

START_TEST(another_build_gives_no_names)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	uint64_t address = fixture_address("plain", "innermost");

	settings.debug_dirs = "/nowhere";
	ask(fixture_path("plain"), "0123456789abcdef", address, &settings, &answers);
	ck_assert_uint_eq(answers.end.status, FT_OBJECT_MISMATCHED);
	ck_assert_uint_eq(answers.n, 0);

	/* The recording's file had no build-id, this one has. */
	ask(fixture_path("plain"), NULL, address, &settings, &answers);
	ck_assert_uint_eq(answers.end.status, FT_OBJECT_MISMATCHED);
	ck_assert_uint_eq(answers.n, 0);
}
END_TEST

START_TEST(without_build_ids_a_file_newer_than_the_recording_gives_no_names)
{
	struct stat st;
	const char *path = fixture_path("by-link/program");
	ck_assert_int_eq(stat(path, &st), 0);
	int64_t changed = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	uint64_t address = fixture_address("by-link/program", "local");
	struct ft_lookup lookup = {.offset = address, .address = address};
	struct ft_job_settings settings = fixture_settings();

	for (int newer = 0; newer < 2; newer++) {
		struct ft_job job = {
			.identity = {.path = path, .not_after_realtime_ns = changed - newer},
			.lookups = &lookup,
			.n = 1};
		struct answers answers;
		struct ft_job_sink sink = answers_sink(&answers);
		ck_assert_ptr_null(ft_jobs_run(&job, 1, &settings, &sink));
		ck_assert_uint_eq(answers.end.status, newer ? FT_OBJECT_MISMATCHED : FT_OBJECT_OK);
		ck_assert_uint_eq(answers.n, newer ? 0 : 1);
		answers_deinit(&answers);
	}
}
END_TEST

START_TEST(what_is_no_elf_file_is_told_apart_from_what_is_not_there)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	char fifo[] = "/tmp/ft-symbol-fifo-XXXXXX";

	ask("/nowhere/program", "0123", 0x1000, &settings, &answers);
	ck_assert_uint_eq(answers.end.status, FT_OBJECT_MISSING);
	ask(SOURCES "/inline.c", "0123", 0x1000, &settings, &answers);
	ck_assert_uint_eq(answers.end.status, FT_OBJECT_DAMAGED);
	ask(SOURCES, "0123", 0x1000, &settings, &answers);
	ck_assert_uint_eq(answers.end.status, FT_OBJECT_MISSING);

	/* Opening a FIFO would wait for a writer for ever. */
	ck_assert_ptr_nonnull(mkdtemp(fifo));
	char path[64];
	snprintf(path, sizeof(path), "%s/fifo", fifo);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ask(path, "0123", 0x1000, &settings, &answers);
	ck_assert_uint_eq(answers.end.status, FT_OBJECT_MISSING);
	unlink(path);
	rmdir(fifo);
}
END_TEST

START_TEST(without_debug_information_the_symbol_table_names_functions)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	const char *path = fixture_path("symbols-only");
	char id[130];

	snprintf(id, sizeof(id), "%s", fixture_build_id(path));
	settings.debug_dirs = "/nowhere";
	ask(path, id, fixture_address("symbols-only", "innermost"), &settings, &answers);
	expect_frame(&answers, 0, "outer", NULL, NULL);
	ck_assert_uint_eq(answers.n, 1);
	answers_deinit(&answers);
}
END_TEST

START_TEST(a_stripped_library_names_what_it_exports_and_nothing_else)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	const char *path = fixture_path("library.so");
	const char *id = fixture_build_id(path);

	ask(path, id, fixture_address("library.so", "exported"), &settings, &answers);
	expect_frame(&answers, 0, "exported", NULL, NULL);
	answers_deinit(&answers);
	ask(path, id, fixture_address("library.so", "not_exported"), &settings, &answers);
	ck_assert_uint_eq(answers.end.status, FT_OBJECT_OK);
	ck_assert_uint_eq(answers.n, 0);
}
END_TEST

START_TEST(a_stripped_program_has_no_names_rather_than_wrong_ones)
{
	static const char *const labels[] = {"innermost", "outer_end", "local", "renamed"};
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	const char *path = fixture_path("stripped");
	const char *id = fixture_build_id(path);

	settings.debug_dirs = "/nowhere";
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		ask(path, id, fixture_address("stripped", labels[i]), &settings, &answers);
		ck_assert_uint_eq(answers.end.status, FT_OBJECT_OK);
		ck_assert_uint_eq(answers.n, 0);
	}
}
END_TEST

START_TEST(mini_debug_information_names_local_functions)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;

	if (!fixture_exists("mini.so"))
		return;
	const char *path = fixture_path("mini.so");
	ask(path, fixture_build_id(path), fixture_address("mini.so", "not_exported"), &settings,
	    &answers);
	expect_frame(&answers, 0, "not_exported", NULL, NULL);
	answers_deinit(&answers);
}
END_TEST

/* Addresses that nothing covers must not be given to a neighbour. */
START_TEST(an_address_outside_all_code_has_no_name)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	const char *path = fixture_path("plain");
	const char *id = fixture_build_id(path);
	static const uint64_t addresses[] = {0, 1, 0x10, 0x7fffffff, UINT64_MAX};

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		ask(path, id, addresses[i], &settings, &answers);
		ck_assert_uint_eq(answers.n, 0);
	}
}
END_TEST

/* A return address after a call that ends its function belongs to the caller; one that a function
 * starts with and nothing precedes is the function's own (signal trampolines). */
START_TEST(a_return_address_is_looked_up_one_byte_back)
{
	uint64_t address = fixture_address("plain", "innermost");
	struct ft_lookup lookups[] = {{.offset = address + 1, .address = address}};
	const char *path = fixture_path("plain");
	struct ft_job job = {.identity = {.path = path, .build_id = fixture_build_id(path)},
			     .lookups = lookups,
			     .n = 1};
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	struct ft_job_sink sink = answers_sink(&answers);

	ck_assert_ptr_null(ft_jobs_run(&job, 1, &settings, &sink));
	ck_assert_uint_eq(answers.n, 3);
	ck_assert_uint_eq(answers.frames[0].offset, address + 1);
	expect_frame(&answers, 0, "innermost", "inline.c", "innermost");
	answers_deinit(&answers);
}
END_TEST

static void expect_names_cc(const char *name)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	char path[4096], id[130];

	snprintf(path, sizeof(path), "%s", fixture_path(name));
	snprintf(id, sizeof(id), "%s", fixture_build_id(path));
	settings.debug_dirs = "/nowhere";

	ask(path, id, fixture_address(name, "template_member"), &settings, &answers);
	expect_frame(&answers, 0, "shop::shelf<long, 7>::put(long)", "names.cc", "template_member");
	answers_deinit(&answers);

	ask(path, id, fixture_address(name, "hidden"), &settings, &answers);
	expect_frame(&answers, 0, "shop::(anonymous namespace)::hidden(int)", "names.cc", "hidden");
	answers_deinit(&answers);

	ask(path, id, fixture_address(name, "inlined_template"), &settings, &answers);
	expect_frame(&answers, 0, "long shop::shelf<char, 1>::twice<long>(long)", "names.cc",
		     "inlined_template");
	expect_frame(&answers, 1, "shop::(anonymous namespace)::hidden(int)", "names.cc",
		     "inlined_template_call");
	ck_assert_uint_eq(answers.n, 2);
	answers_deinit(&answers);

	ask(path, id, fixture_address(name, "constructor"), &settings, &answers);
	expect_frame(&answers, 0, "shop::basket::basket(int)", "names.cc", "constructor");
	answers_deinit(&answers);

	ask(path, id, fixture_address(name, "lambda"), &settings, &answers);
	expect_frame(&answers, 0, "shop::visit(int)::{lambda}::operator()", "names.cc", "lambda");
	expect_frame(&answers, 1, "shop::visit(int)", "names.cc", "lambda_call");
	ck_assert_uint_eq(answers.n, 2);
	answers_deinit(&answers);
}

START_TEST(cplusplus_functions_have_their_scope_and_parameters)
{
	if (fixture_exists("names"))
		expect_names_cc("names");
}
END_TEST

START_TEST(names_that_dwz_moved_to_a_common_file_are_found)
{
	if (!fixture_exists("dwz/one"))
		return;
	if (fixture_exists("names"))
		expect_names_cc("dwz/one");
	else
		expect_inline_c("dwz/one", fixture_build_id(fixture_path("dwz/one")));
}
END_TEST

/* ---- demangling ------------------------------------------------------------------------------ */

static const struct {
	const char *mangled, *readable;
} names[] = {
	/* C++ */
	{"_Znwm", "operator new(unsigned long)"},
	{"_ZN4shop5shelfIlLi7EE3putEl", "shop::shelf<long, 7>::put(long)"},
	{"_ZNSt6vectorIiSaIiEE9push_backEOi",
	 "std::vector<int, std::allocator<int> >::push_back(int&&)"},
	{"_ZN6basketC4Ei", "basket::basket(int)"},
	{"_ZN12_GLOBAL__N_16hiddenEi", "(anonymous namespace)::hidden(int)"},
	{"_Z3fooi.cold", "foo(int) [clone .cold]"},
	/* Rust, legacy: the hash is left out */
	{"_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE", "core::fmt::Formatter::write_str"},
	{"_ZN58_$LT$alloc..string..String$u20$as$u20$core..fmt..Write$GT$9write_str"
	 "17h0123456789abcdefE",
	 "<alloc::string::String as core::fmt::Write>::write_str"},
	/* Rust, v0 */
	{"_RNvC6_123foo3bar", "123foo::bar"},
	{"_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"},
	{"_RINvNtC3std3mem8align_ofjE", "std::mem::align_of::<usize>"},
	{"_RNCINkXs25_NgCsbmNqQUJIY6D_4core5sliceINyB9_4IterhENuNgNoBb_4iter8iterator8Iterator9"
	 "rpositionNCNgNpB9_6memchr7memrchrs_0E0Bb_",
	 "<core::slice::Iter<u8> as core::iter::iterator::Iterator>::rposition::<core::slice::"
	 "memchr::memrchr::{closure#1}>::{closure#0}"},
	/* neither */
	{"main", NULL},
	{"_Z", NULL},
	{"_ZN", NULL},
	{"_R", NULL},
	{"_start", NULL},
	{"", NULL},
};

START_TEST(a_mangled_name_becomes_readable)
{
	char *readable = ft_demangle(names[_i].mangled);

	if (names[_i].readable) {
		ck_assert_msg(readable != NULL, "%s stays mangled", names[_i].mangled);
		ck_assert_str_eq(readable, names[_i].readable);
	} else {
		ck_assert_msg(readable == NULL, "%s became %s", names[_i].mangled, readable);
	}
	free(readable);
}
END_TEST

/* Each substitution doubles the text: 2^40 characters if nobody bounds it. */
START_TEST(a_name_that_explodes_is_cut)
{
	char bomb[512] = "_Z1fI1aE";
	char *readable;

	snprintf(bomb, sizeof(bomb), "_Z1fSt4pairI1aS_E");
	for (int i = 0; i < 12; i++) {
		size_t len = strlen(bomb);
		snprintf(bomb + len, sizeof(bomb) - len, "St4pairIS%c_S%c_E", '0' + i % 8,
			 '0' + i % 8);
	}
	readable = ft_demangle(bomb);
	if (readable)
		ck_assert_uint_le(strlen(readable), FT_SYMBOL_NAME_MAX);
	free(readable);

	/* Nesting without end must not end the stack. */
	char *deep = malloc(60001);
	memset(deep, 'P', 60000);
	memcpy(deep, "_Z1f", 4);
	deep[60000] = '\0';
	readable = ft_demangle(deep);
	free(readable);
	free(deep);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("symbol-resolve");
	TCase *tc = tcase_create("resolve");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, an_inline_chain_is_told_innermost_first_with_its_call_lines, 0,
			    sizeof(dwarf_kinds) / sizeof(dwarf_kinds[0]));
	tcase_add_test(tc, a_stripped_program_is_told_by_the_debug_file_of_its_build_id);
	tcase_add_test(tc, a_debug_link_is_followed_beside_the_program);
	tcase_add_test(tc, a_debug_link_is_followed_below_the_debug_directory);
	tcase_add_test(tc, a_debug_link_with_another_checksum_is_not_believed);
	tcase_add_test(tc, a_removed_program_is_told_by_its_debug_file);
	tcase_add_test(tc, another_build_gives_no_names);
	tcase_add_test(tc, without_build_ids_a_file_newer_than_the_recording_gives_no_names);
	tcase_add_test(tc, what_is_no_elf_file_is_told_apart_from_what_is_not_there);
	tcase_add_test(tc, without_debug_information_the_symbol_table_names_functions);
	tcase_add_test(tc, a_stripped_library_names_what_it_exports_and_nothing_else);
	tcase_add_test(tc, a_stripped_program_has_no_names_rather_than_wrong_ones);
	tcase_add_test(tc, mini_debug_information_names_local_functions);
	tcase_add_test(tc, an_address_outside_all_code_has_no_name);
	tcase_add_test(tc, a_return_address_is_looked_up_one_byte_back);
	tcase_add_test(tc, cplusplus_functions_have_their_scope_and_parameters);
	tcase_add_test(tc, names_that_dwz_moved_to_a_common_file_are_found);
	tcase_add_loop_test(tc, a_mangled_name_becomes_readable, 0,
			    sizeof(names) / sizeof(names[0]));
	tcase_add_test(tc, a_name_that_explodes_is_cut);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

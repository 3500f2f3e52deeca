/* SPDX-License-Identifier: MIT */
/* Suppressions: what each format's patterns cover, and which files are refused with which line. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fa_suppress.h"
#include "fragtrace/event.h"

/* main -> deep -> leak_a -> malloc */
static const struct fa_suppress_frame stack[] = {
	{.function = "malloc", .linkage = "malloc", .call = true},
	{.function = "leak_a", .file = "/src/app/t.c", .line = 3, .module = "/opt/app/bin/t"},
	{.function = "deep", .file = "/src/app/t.c", .line = 5, .module = "/opt/app/bin/t"},
	{.function = "main", .file = "/src/app/t.c", .line = 6, .module = "/opt/app/bin/t"},
};

static const struct fa_suppress_frame cxx[] = {
	{.function = "operator new(unsigned long)", .linkage = "_Znwm", .call = true},
	{.function = "ns::Foo<int>::bar(char const*)", .module = "/opt/app/lib/libfoo.so.1"},
	{.function = "main", .module = "/opt/app/bin/t"},
};

static struct ft_error *parse(const char *text, struct fa_suppressions **set)
{
	ck_assert_ptr_null(fa_suppressions_create(set));
	return fa_suppressions_parse(*set, "a.supp", text, strlen(text));
}

static bool covers_kind(const char *text, unsigned kinds, const struct fa_suppress_frame *frames,
			size_t n)
{
	struct fa_suppressions *set;
	struct ft_error *error = parse(text, &set);

	if (error)
		ck_abort_msg("%s", error->message);

	bool covered = fa_suppressions_match(set, FA_SUPPRESS_LEAK, kinds, frames, n) >= 0;

	fa_suppressions_destroy(set);
	return covered;
}

static bool covers(const char *text)
{
	return covers_kind(text, FA_LEAK_ALL, stack, 4);
}

static bool covers_cxx(const char *text)
{
	return covers_kind(text, FA_LEAK_ALL, cxx, 3);
}

/* An entry of Valgrind's with these frames. */
static const char *entry(const char *frames)
{
	static char text[1024];

	snprintf(text, sizeof(text), "{\n   name\n   Memcheck:Leak\n%s\n}\n", frames);
	return text;
}

START_TEST(lsan_patterns_match_anywhere_unless_they_are_tied)
{
	static const char *const yes[] = {
		"leak:leak_a",
		"leak:leak_",
		"leak:eak_a",
		"leak:^leak_a$",
		"leak:le*_a",
		"leak:deep",
		"leak:bin/t",
		"leak:app/t.c",
		"leak:malloc",
		"leak:^*k_a$",
		"leak:",
		"  leak:leak_a ",
		"leak:l*k*a",
		"leak:le*",
		"leak:leak_a$x",
		"leak:*",
		"leak:^/opt*/t$",
		"leak:leak_*$",
		"# note\n\nleak:other\nleak:leak_a\n",
	};
	static const char *const no[] = {
		"leak:^eak_a",	"leak:leak_$",	"leak:Leak_a",
		"leak:leak?a",	"leak:a*l*k_b", "leak:calloc",
		"leak:leak_b",	"#leak:leak_a", "",
		"leak:unknown", "leak:^le*a$", /* the first "a" is taken, and it is not the end */
	};

	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
		ck_assert_msg(covers(yes[i]), "'%s' should cover", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		ck_assert_msg(!covers(no[i]), "'%s' should not cover", no[i]);
	/* Tied at both ends; what follows a '$' is not looked at. */
	ck_assert(covers("leak:^deep$$x^"));
}
END_TEST

START_TEST(valgrind_entries_compare_frames_from_the_call_outwards)
{
	static const char *const yes[] = {
		"fun:malloc",
		"fun:malloc\nfun:leak_a",
		"fun:malloc\nfun:leak_a\nfun:deep\nfun:main",
		"fun:*alloc\nobj:*/bin/t",
		"fun:m?lloc\n...\nfun:main",
		"...\nfun:deep",
		"...\nfun:malloc\n...\nfun:main\n...",
		"fun:malloc\n...\nfun:deep\nfun:main",
		"fun:malloc\nsrc:t.c:3",
		"fun:malloc\nsrc:t.c\nsrc:t.c:5",
		"fun:malloc\nsrc:/src/*/t.c",
		"fun:*\nfun:*\nfun:*",
		"match-leak-kinds: definite\nfun:malloc",
		"   # a comment\n\n   fun:malloc   ",
	};
	static const char *const no[] = {
		"fun:leak_a",
		"fun:calloc",
		"fun:malloc\nfun:deep",
		"fun:mallo",
		"fun:malloc\nfun:leak_a\nfun:deep\nfun:main\nfun:x",
		"fun:malloc\nsrc:t.c:4",
		"fun:malloc\n...\nfun:leak_a\nfun:main",
		"obj:/opt/app/bin/t",
		"match-leak-kinds: none\nfun:malloc",
		"fun:Malloc",
		"fun:m?alloc",
	};

	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
		ck_assert_msg(covers(entry(yes[i])), "'%s' should cover", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		ck_assert_msg(!covers(entry(no[i])), "'%s' should not cover", no[i]);
}
END_TEST

START_TEST(leak_kinds_restrict_what_is_known)
{
	const char *text = "{\n n\n Memcheck:Leak\n match-leak-kinds: definite, possible\n"
			   " fun:malloc\n}\n";

	ck_assert(covers_kind(text, FA_LEAK_DEFINITE, stack, 4));
	ck_assert(covers_kind(text, FA_LEAK_POSSIBLE, stack, 4));
	ck_assert(!covers_kind(text, FA_LEAK_REACHABLE, stack, 4));
	ck_assert(!covers_kind(text, FA_LEAK_INDIRECT, stack, 4));
	ck_assert(covers_kind(text, FA_LEAK_ALL, stack, 4)); /* unknown: not shown to be another */
}
END_TEST

START_TEST(other_tools_and_kinds_have_no_effect)
{
	static const char *const texts[] = {
		"{\n n\n Helgrind:Race\n whatever it says\n fun:malloc\n}\n",
		"{\n n\n Memcheck:Cond\n fun:malloc\n}\n",
		"{\n n\n Memcheck:Param\n write(buf)\n fun:malloc\n}\n",
		"{\n n\n Memcheck:Free\n fun:malloc\n}\n",
		"{\n n\n memcheck:leak\n fun:malloc\n}\n",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		ck_assert_msg(!covers(texts[i]), "%s", texts[i]);
	ck_assert(covers("{\n n\n Addrcheck,Memcheck:Leak\n fun:malloc\n}\n"));
	ck_assert(covers("{\n n\n Memcheck,Addrcheck:Leak\n fun:malloc\n}\n"));
}
END_TEST

START_TEST(free_entries_cover_bad_frees_only)
{
	struct fa_suppressions *set;
	struct fa_suppress_frame frames[2] = {fa_suppress_call(FT_API_FREE), stack[1]};

	ck_assert_ptr_null(parse("{\n n\n Memcheck:Free\n fun:free\n fun:leak_a\n}\n", &set));
	ck_assert_int_eq(fa_suppressions_match(set, FA_SUPPRESS_FREE, FA_LEAK_ALL, frames, 2), 0);
	ck_assert_int_eq(fa_suppressions_match(set, FA_SUPPRESS_LEAK, FA_LEAK_ALL, frames, 2), -1);
	fa_suppressions_destroy(set);
}
END_TEST

START_TEST(mangled_names_meet_readable_ones)
{
	static const char *const yes[] = {
		"fun:_Znwm\nfun:_ZN2ns3FooIiE3barEPKc",
		"fun:_Znwm\nfun:_ZN2ns3Foo*3bar*",
		"fun:_Znw?\nfun:_ZN*3Foo*",
		"fun:_Znwm\nfun:ns::Foo<int>::bar*",
		"fun:_Znwm\nfun:*",
		"fun:_Znwm\nfun:*bar*",
		"...\nobj:*/libfoo.so*",
	};
	static const char *const no[] = {
		"fun:_Znam",
		"fun:_Znwm\nfun:_ZN2ns3FooIlE3barEPKc",
		"fun:_Znwm\nfun:_ZN2ns3bar*3Foo*",
		"fun:_Znwm\nfun:_ZN2ns3Fo*2ba*",
		"fun:_Znwm\nfun:ns*", /* the symbol begins with _Z */
		"fun:operator new*",
	};

	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
		ck_assert_msg(covers_cxx(entry(yes[i])), "'%s' should cover", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		ck_assert_msg(!covers_cxx(entry(no[i])), "'%s' should not cover", no[i]);
	ck_assert(covers_cxx("leak:ns::Foo<int>::bar"));
	ck_assert(covers_cxx("leak:libfoo.so"));
}
END_TEST

START_TEST(a_file_that_is_wrong_is_refused_with_its_line)
{
	static const struct {
		const char *text, *word;
	} bad[] = {
		{"leak:a\nrace:b\n", "a.supp:2: "},
		{"fun:f\n", "a.supp:1: "},
		{"\n\n leak\n", "a.supp:3: "},
		{"{\n n\n Memcheck:Leak\n}\n", "a.supp:4: "},
		{"{\n n\n Memcheck:Leak\n ...\n}\n", "a.supp:5: no frame but"},
		{"{\n n\n Memcheck:Leak\n bogus:f\n}\n", "a.supp:4: a frame begins"},
		{"{\n n\n Memcheck:Leek\n fun:f\n}\n", "a.supp:3: Memcheck has no kind"},
		{"{\n n\n Leak\n fun:f\n}\n", "a.supp:3: no TOOL:KIND"},
		{"{\n n\n Memcheck:Leak\n match-leak-kinds: definite,lost\n fun:f\n}\n",
		 "a.supp:4: no leak kind 'lost'"},
		{"{\n n\n Memcheck:Leak\n fun:f\n", "a.supp:4: the file ends"},
		{"{\n n\n", "a.supp:2: the file ends"},
		{"{\n", "a.supp:1: the file ends"},
		{"{\n}\n", "a.supp:2: an entry without a name"},
		{"{\n n\n Memcheck:Leak\n fun:f\n}\nleak:a\n", "a.supp:6: an entry begins"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct fa_suppressions *set;
		struct ft_error *error = parse(bad[i].text, &set);

		ck_assert_msg(error != NULL, "taken: %s", bad[i].text);
		ck_assert_msg(strstr(error->message, bad[i].word) != NULL, "'%s' is not in '%s'",
			      bad[i].word, error->message);
		ck_assert_int_eq(error->kind, FT_ERROR_INPUT);
		ck_assert_uint_eq(fa_suppressions_count(set), 0);
		ft_error_destroy(error);
		fa_suppressions_destroy(set);
	}
}
END_TEST

START_TEST(what_is_printed_covers_what_it_was_printed_for)
{
	static const enum fa_suppress_format formats[] = {FA_SUPPRESS_LSAN, FA_SUPPRESS_VALGRIND};
	struct fa_suppress_frame odd[] = {
		{.call = true},
		{.function = "weird{name}*", .module = "/a b/c*d"},
		{.module = "/no/name.so"},
		{.function = "void ns::f<std::pair<int, char> >(int) const"},
	};

	for (int i = 0; i < 2; i++) {
		struct ft_strbuf text;

		ft_strbuf_init(&text);
		fa_suppress_print(formats[i], "leak_a", stack, 4, &text);
		ck_assert_msg(covers(ft_strbuf_text(&text)), "%s", ft_strbuf_text(&text));
		ck_assert_msg(!covers_cxx(ft_strbuf_text(&text)), "%s", ft_strbuf_text(&text));
		ft_strbuf_clear(&text);
		fa_suppress_print(formats[i], cxx[1].function, cxx, 3, &text);
		ck_assert_msg(covers_cxx(ft_strbuf_text(&text)), "%s", ft_strbuf_text(&text));
		ck_assert_msg(!covers(ft_strbuf_text(&text)), "%s", ft_strbuf_text(&text));
		ft_strbuf_clear(&text);
		fa_suppress_print(formats[i], odd[1].function, odd, 4, &text);
		ck_assert_msg(covers_kind(ft_strbuf_text(&text), FA_LEAK_ALL, odd, 4), "%s",
			      ft_strbuf_text(&text));
		ft_strbuf_deinit(&text);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("suppress");
	TCase *tcase = tcase_create("suppress");
	SRunner *runner;

	tcase_add_test(tcase, lsan_patterns_match_anywhere_unless_they_are_tied);
	tcase_add_test(tcase, valgrind_entries_compare_frames_from_the_call_outwards);
	tcase_add_test(tcase, leak_kinds_restrict_what_is_known);
	tcase_add_test(tcase, other_tools_and_kinds_have_no_effect);
	tcase_add_test(tcase, free_entries_cover_bad_frees_only);
	tcase_add_test(tcase, mangled_names_meet_readable_ones);
	tcase_add_test(tcase, a_file_that_is_wrong_is_refused_with_its_line);
	tcase_add_test(tcase, what_is_printed_covers_what_it_was_printed_for);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

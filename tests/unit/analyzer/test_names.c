/* SPDX-License-Identifier: MIT */
/* Names of functions as people see them and as two builds are compared by them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fa_name.h"

struct pair {
	const char *from, *to;
};

static void check_pairs(void (*change)(const char *, struct ft_strbuf *), const struct pair *pairs,
			size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct ft_strbuf out;

		ft_strbuf_init(&out);
		change(pairs[i].from, &out);
		ck_assert_str_eq(ft_strbuf_text(&out), pairs[i].to);
		ft_strbuf_deinit(&out);
	}
}

START_TEST(templates_are_shortened)
{
	static const struct pair pairs[] = {
		{"session_open", "session_open"},
		{"Foo::bar(int)", "Foo::bar(int)"},
		{"std::vector<int, std::allocator<int> >::push_back(int const&)",
		 "std::vector<int>::push_back(int const&)"},
		{"std::map<int, char, std::less<int>, std::allocator<std::pair<int const, char> > >"
		 "::operator[](int&&)",
		 "std::map<int, char>::operator[](int&&)"},
		{"std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >"
		 "::reserve(unsigned long)",
		 "std::string::reserve(unsigned long)"},
		{"f(std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >"
		 " const&)",
		 "f(std::string const&)"},
		{"a::B<c::VeryLongTypeName, d::AnotherLongTypeName>::go()", "a::B<...>::go()"},
		{"handle(Request const&, Response&, std::function<void (int)>)", "handle(...)"},
		{"Foo::operator<(Foo const&) const", "Foo::operator<(Foo const&) const"},
		{"std::ostream& operator<< <int>(std::ostream&, int)",
		 "std::ostream& operator<< <int>(std::ostream&, int)"},
		{"Foo::operator()(int) const", "Foo::operator()(int) const"},
		{"Foo::operator->() const", "Foo::operator->() const"},
		{"(anonymous namespace)::f()", "(anonymous namespace)::f()"},
		{"main::{lambda(int)#1}::operator()(int) const",
		 "main::{lambda(int)#1}::operator()(int) const"},
		{"cooperator<1>::x", "cooperator<1>::x"},
		{"alloc::vec::Vec<T,A>::push", "alloc::vec::Vec<T,A>::push"},
		/* not balanced: as it is */
		{"broken<int", "broken<int"},
		{"broken>int(", "broken>int("},
		{"", ""},
	};

	check_pairs(fa_name_short, pairs, sizeof(pairs) / sizeof(*pairs));
}
END_TEST

START_TEST(clones_are_their_function)
{
	static const struct pair pairs[] = {
		{"main", "main"},
		{"parse.constprop.0", "parse"},
		{"parse.part.3.isra.0", "parse"},
		{"parse.cold", "parse"},
		{"ns::f(int) [clone .isra.0] [clone .cold]", "ns::f(int)"},
		{"table.lto_priv.12", "table"},
		{"core::fmt::write::h0123456789abcdef", "core::fmt::write"},
		{"core::fmt::write::h0123456789abcdeg", "core::fmt::write::h0123456789abcdeg"},
		{".cold", ".cold"},
		{"a.b", "a.b"},
	};

	check_pairs(fa_name_normal, pairs, sizeof(pairs) / sizeof(*pairs));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("names");
	TCase *tcase = tcase_create("names");
	SRunner *runner;

	tcase_add_test(tcase, templates_are_shortened);
	tcase_add_test(tcase, clones_are_their_function);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

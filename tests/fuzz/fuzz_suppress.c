/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of suppressions and of names: any text is a set of suppressions or an error with a line,
 * any pattern can be compared with any stack, and what is printed for a stack covers it
 */
#include <stdlib.h>
#include <string.h>

#include "fa_name.h"
#include "fa_suppress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool claim)
{
	if (!claim)
		abort();
}

static ptrdiff_t match(const struct fa_suppressions *set, const char *function, const char *module)
{
	struct fa_suppress_frame frames[] = {
		fa_suppress_call(1),
		{.function = function, .module = module, .file = module, .line = 3},
		{.function = "ns::Foo<int>::bar(char const*)", .inlined = true},
		{.module = "/lib/libc.so.6", .function = "__strdup"},
		{.function = "main", .file = "/src/main.c", .line = 7},
		{0},
	};

	fa_suppressions_match(set, FA_SUPPRESS_FREE, FA_LEAK_ALL, frames, 6);
	return fa_suppressions_match(set, FA_SUPPRESS_LEAK, FA_LEAK_ALL, frames, 6);
}

static void check_printed(enum fa_suppress_format format, const char *function, const char *module)
{
	struct fa_suppressions *set;
	struct ft_strbuf text;
	struct fa_suppress_frame frames[] = {
		fa_suppress_call(1),
		{.function = function, .module = module},
	};

	ft_strbuf_init(&text);
	check(fa_suppressions_create(&set) == NULL);
	fa_suppress_print(format, function, frames, 2, &text);
	check(fa_suppressions_parse(set, "printed", text.data, text.len) == NULL);
	check(fa_suppressions_count(set) == 1);
	check(!*function || match(set, function, module) == 0);
	fa_suppressions_destroy(set);
	ft_strbuf_deinit(&text);
}

static void check_names(const char *function)
{
	struct ft_strbuf text;

	ft_strbuf_init(&text);
	fa_name_short(function, &text);
	fa_name_normal(function, &text);
	check(text.len <= 4 * strlen(function) + 64);
	ft_strbuf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fa_suppressions *set;
	char *text = malloc(size + 1);
	struct ft_error *error;

	/* Names in recordings are cut at 8 KiB. */
	memcpy(text, data, size);
	text[size] = '\0';
	check(fa_suppressions_create(&set) == NULL);
	error = fa_suppressions_parse(set, "input", text, size);
	if (error)
		check(!strncmp(error->message, "input:", 6) && fa_suppressions_count(set) == 0);
	else
		match(set, "leak_a", "/opt/app/bin/t");
	if (size <= 8192) {
		if (!error)
			match(set, text, text);
		check_printed(FA_SUPPRESS_LSAN, text, "/m");
		check_printed(FA_SUPPRESS_VALGRIND, text, "/m");
		check_printed(FA_SUPPRESS_VALGRIND, "f", text);
		check_names(text);
	}
	ft_error_destroy(error);
	fa_suppressions_destroy(set);
	free(text);
	return 0;
}

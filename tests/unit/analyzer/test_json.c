/* SPDX-License-Identifier: MIT */
/* JSON out and in: what the writer writes is JSON whatever the text, and reads back as it was. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "fa_doc.h"
#include "fa_format.h"
#include "fa_json.h"
#include "fa_json_read.h"

static const struct fa_value *parse(struct ft_arena *arena, const char *text)
{
	const struct fa_value *value = NULL;
	struct ft_error *error = fa_json_parse(arena, text, &value);

	if (error)
		ck_abort_msg("%s in: %s", error->message, text);
	return value;
}

/* Text that the writer makes of one string, quotes included; of the test's own arena. */
static const char *written(struct ft_arena *arena, const char *text)
{
	struct ft_strbuf out;
	struct fa_json json;
	const char *copy;

	ft_strbuf_init(&out);
	fa_json_init(&json, &out);
	fa_json_string(&json, text);
	copy = ft_arena_strdup(arena, ft_strbuf_text(&out));
	ft_strbuf_deinit(&out);
	return copy;
}

START_TEST(hostile_text_is_escaped)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{"plain", "\"plain\""},
		{"</script>", "\"\\u003c/script>\""},
		{"a\"b\\c", "\"a\\\"b\\\\c\""},
		{"\x01\x1f\x7f\n\t", "\"\\u0001\\u001f\\u007f\\n\\t\""},
		{"\xff\xfe", "\"\xef\xbf\xbd\xef\xbf\xbd\""},		      /* no lead bytes */
		{"\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""},		      /* overlong */
		{"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* surrogate */
		{"\xe4\xb8\xad", "\"\xe4\xb8\xad\""},
		{"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
		{"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
		{"cut \xe4\xb8", "\"cut \xef\xbf\xbd\xef\xbf\xbd\""},
		{NULL, "null"},
	};
	struct ft_arena arena;

	ft_arena_init(&arena);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_str_eq(written(&arena, cases[i].text), cases[i].json);
	ft_arena_deinit(&arena);
}
END_TEST

START_TEST(any_bytes_make_json_that_reads_back)
{
	uint64_t state = 1;
	struct ft_arena arena;

	ft_arena_init(&arena);
	for (int round = 0; round < 2000; round++) {
		char text[24] = "";
		const char *json;

		for (int i = 0; i < 23; i++) {
			state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
			text[i] = (char)(state >> 56);
		}
		json = written(&arena, text);

		/* Writing what was read gives the same text: nothing is lost the second time. */
		ck_assert_str_eq(written(&arena, parse(&arena, json)->text), json);
	}
	ft_arena_deinit(&arena);
}
END_TEST

START_TEST(numbers_are_exact)
{
	static const double values[] = {0, 0.1, 1e300, DBL_MIN, DBL_MAX, -1.5, 1.0 / 3};
	struct ft_strbuf out;
	struct fa_json json;
	struct ft_arena arena;

	ft_arena_init(&arena);
	ft_strbuf_init(&out);
	fa_json_init(&json, &out);
	fa_json_object_begin(&json);
	fa_json_kv_u64(&json, "u", UINT64_MAX);
	fa_json_kv_i64(&json, "i", INT64_MIN);
	fa_json_kv_f64(&json, "nan", NAN);
	fa_json_kv_f64(&json, "inf", -INFINITY);
	fa_json_key(&json, "f");
	fa_json_array_begin(&json);
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
		fa_json_f64(&json, values[i]);
	fa_json_array_end(&json);
	fa_json_object_end(&json);

	const struct fa_value *root = parse(&arena, ft_strbuf_text(&out));
	const struct fa_value *item = fa_value_get(root, "f")->first;

	ck_assert_uint_eq(fa_value_u64(root, "u"), UINT64_MAX);
	ck_assert_int_eq(fa_value_i64(root, "i"), INT64_MIN);
	ck_assert(fa_value_is_null(fa_value_get(root, "nan")));
	ck_assert(fa_value_is_null(fa_value_get(root, "inf")));
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++, item = item->next)
		ck_assert(strtod(item->text, NULL) == values[i]);
	ck_assert_ptr_null(item);
	ft_strbuf_deinit(&out);
	ft_arena_deinit(&arena);
}
END_TEST

START_TEST(broken_json_is_refused)
{
	static const char *const texts[] = {
		"",    "{",   "[1,",   "{\"a\"}", "{\"a\":}",	 "\"open", "[1 2]",
		"nul", "1 2", "{1:2}", "\"\\x\"", "\"\\u12g4\"", "[,]",	   "infinity",
	};
	struct ft_arena arena;

	ft_arena_init(&arena);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		const struct fa_value *value = NULL;
		struct ft_error *error = fa_json_parse(&arena, texts[i], &value);

		ck_assert_msg(error != NULL, "accepted: %s", texts[i]);
		ft_error_destroy(error);
	}
	ft_arena_deinit(&arena);
}
END_TEST

START_TEST(deep_nesting_is_refused_not_followed)
{
	struct ft_arena arena;
	const struct fa_value *value = NULL;
	char *text = malloc(100001);

	ft_arena_init(&arena);
	for (int i = 0; i < 100000; i++)
		text[i] = '[';
	text[100000] = '\0';

	struct ft_error *error = fa_json_parse(&arena, text, &value);

	ck_assert_ptr_nonnull(error);
	ft_error_destroy(error);
	free(text);
	ft_arena_deinit(&arena);
}
END_TEST

START_TEST(sections_and_columns_come_sorted)
{
	static const uint64_t data[] = {3, 1, 2};
	struct fa_doc *doc;

	ck_assert_ptr_null(fa_doc_create(&doc));
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = {"m", "a", "z"};
		struct fa_json *json = fa_doc_begin(doc, names[i]);

		fa_json_kv_u64(json, "i", (uint64_t)i);
		fa_doc_end(doc);
		fa_doc_column(doc, names[i], FA_U64, data, (size_t)i);
	}
	ck_assert_str_eq(fa_doc_section_name(doc, 0), "a");
	ck_assert_str_eq(fa_doc_section_name(doc, 2), "z");
	ck_assert_ptr_null(fa_doc_section_name(doc, 3));
	ck_assert_str_eq(fa_doc_section(doc, "m"), "{\"i\":0}");
	ck_assert_ptr_null(fa_doc_section(doc, "none"));
	ck_assert_str_eq(fa_doc_column_at(doc, 0)->name, "a");
	ck_assert_uint_eq(fa_doc_column_find(doc, "z")->n, 2);
	ck_assert_ptr_null(fa_doc_check(doc));
	fa_doc_destroy(doc);
}
END_TEST

START_TEST(figures_have_three_digits)
{
	struct fa_text t;

	ck_assert_str_eq(fa_format_bytes(1023, &t), "1023 B");
	ck_assert_str_eq(fa_format_bytes(1024, &t), "1.00 KiB");
	ck_assert_str_eq(fa_format_bytes(1048575, &t), "1.00 MiB");
	ck_assert_str_eq(fa_format_bytes(UINT64_C(851443712), &t), "812 MiB");
	ck_assert_str_eq(fa_format_count(9999, &t), "9999");
	ck_assert_str_eq(fa_format_count(100200000, &t), "100 M");
	ck_assert_str_eq(fa_format_rate(2048, &t), "2.00 KiB/s");
	ck_assert_str_eq(fa_format_rate(1, &t), "3.52 KiB/h");
	ck_assert_str_eq(fa_format_rate(0, &t), "0 B/s");
	ck_assert_str_eq(fa_format_rate(-2048, &t), "-2.00 KiB/s");
	ck_assert_str_eq(fa_format_time(14 * 1000000, &t), "14.0 ms");
	ck_assert_str_eq(fa_format_time(UINT64_C(43080) * 1000000000, &t), "11h58m");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("json");
	TCase *tcase = tcase_create("json");

	tcase_add_test(tcase, hostile_text_is_escaped);
	tcase_add_test(tcase, any_bytes_make_json_that_reads_back);
	tcase_add_test(tcase, numbers_are_exact);
	tcase_add_test(tcase, broken_json_is_refused);
	tcase_add_test(tcase, deep_nesting_is_refused_not_followed);
	tcase_add_test(tcase, sections_and_columns_come_sorted);
	tcase_add_test(tcase, figures_have_three_digits);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

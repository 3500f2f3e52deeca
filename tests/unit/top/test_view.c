/* SPDX-License-Identifier: MIT */
/* The view of `top`: what keys do, and that nothing is drawn beyond the screen. */
#include <check.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "fa_top_view.h"

#define SECOND UINT64_C(1000000000)

static struct fa_top_view view;

static void setup(void)
{
	view = (struct fa_top_view){.rows = 24, .columns = 80, .sort = FA_TOP_MINUTE, .delay_s = 1};
}

static enum fa_top_action type(const char *keys)
{
	return fa_top_keys(&view, keys, strlen(keys));
}

START_TEST(orders_go_round_both_ways_and_have_numbers)
{
	for (int i = 1; i <= FA_TOP_N_SORTS; i++) {
		ck_assert_int_eq(type(i % 2 ? ">" : "s"), FA_TOP_REDRAW);
		ck_assert_int_eq(view.sort, (FA_TOP_MINUTE + i) % FA_TOP_N_SORTS);
	}
	for (int i = 0; i < FA_TOP_N_SORTS; i++) {
		ck_assert_int_eq(view.sort, (FA_TOP_MINUTE + FA_TOP_N_SORTS - i) % FA_TOP_N_SORTS);
		type(i % 2 ? "<" : "\033[D");
	}
	type("5");
	ck_assert_int_eq(view.sort, FA_TOP_ALLOCS);
	ck_assert_int_eq(type("6"), FA_TOP_NOTHING);
	type("\033OC");
	ck_assert_int_eq(view.sort, FA_TOP_LIVE);
	type("r");
	ck_assert(view.ascending);
}
END_TEST

START_TEST(a_filter_is_typed_corrected_and_given_up)
{
	type("/abc\x7f\xc3\xa9\x7fQ \r");
	ck_assert_str_eq(view.filter, "abQ ");
	type("f\x15other");
	ck_assert_str_eq(view.typed, "other");
	ck_assert_int_eq(type("\033"), FA_TOP_NOTHING);
	ck_assert_int_eq(fa_top_keys_timeout(&view), FA_TOP_REDRAW);
	ck_assert_int_eq(view.prompt, FA_TOP_NO_PROMPT);
	ck_assert_str_eq(view.filter, "abQ ");
	/* q is text while one types, and so are arrows nothing. */
	type("fq\033[Aq\r");
	ck_assert_str_eq(view.filter, "qq");
	type("=");
	ck_assert_str_eq(view.filter, "");
	type("f");
	for (int i = 0; i < 1000; i++)
		type("x");
	type("\r");
	ck_assert_uint_eq(strlen(view.filter), FA_TOP_LINE - 1);
}
END_TEST

START_TEST(a_delay_is_a_number_within_bounds)
{
	type("d0.25\r");
	ck_assert(view.delay_s == 0.25);
	type("d\r");
	ck_assert(view.delay_s == 0.25);
	static const char *const wrong[] = {"0",  "0.05", "3601", "1e3", "x",
					    "-1", "1 ",	  "0x2",  "."};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		type("d");
		type(wrong[i]);
		type("\r");
		ck_assert(view.delay_s == 0.25);
		ck_assert_str_ne(view.message, "");
	}
	/* Said until the next key. */
	type("x");
	ck_assert_str_eq(view.message, "");
}
END_TEST

START_TEST(keys_of_several_bytes_may_come_in_pieces)
{
	ck_assert_int_eq(type("\033"), FA_TOP_NOTHING);
	ck_assert_int_eq(type("["), FA_TOP_NOTHING);
	ck_assert_int_eq(type("B"), FA_TOP_REDRAW);
	ck_assert_uint_eq(view.skip, 1);
	type("\033[6~");
	ck_assert_uint_eq(view.skip, 1 + 24 - FA_TOP_HEAD - 1);
	type("\033[5~\033[5~");
	ck_assert_uint_eq(view.skip, 0);
	/* Unknown ones do nothing, however long; what follows is read as ever. */
	ck_assert_int_eq(type("\033[1;5A\033[999999999999999999999999;1H"), FA_TOP_NOTHING);
	ck_assert_int_eq(type("\033q"), FA_TOP_QUIT);
}
END_TEST

START_TEST(pause_help_and_quit)
{
	ck_assert_int_eq(type(" "), FA_TOP_REDRAW);
	ck_assert(view.paused);
	ck_assert_int_eq(type("p"), FA_TOP_REFRESH);
	ck_assert(!view.paused);
	type("h");
	ck_assert(view.help);
	ck_assert_int_eq(type("s"), FA_TOP_REDRAW);
	ck_assert(!view.help);
	ck_assert_int_eq(view.sort, FA_TOP_MINUTE);
	ck_assert_int_eq(type("?q"), FA_TOP_QUIT);
}
END_TEST

START_TEST(any_bytes_are_keys)
{
	srand(7);
	for (int i = 0; i < 200000; i++) {
		char c = (char)(rand() % 3 ? rand() % 128 : rand());

		fa_top_keys(&view, &c, 1);
		if (rand() % 50 == 0)
			fa_top_keys_timeout(&view);
		ck_assert_uint_lt(view.sort, FA_TOP_N_SORTS);
		ck_assert_uint_lt(strlen(view.typed), FA_TOP_LINE);
		ck_assert_uint_lt(strlen(view.filter), FA_TOP_LINE);
		ck_assert(view.delay_s >= 0.1);
	}
}
END_TEST

/* ---- drawing -----------------------------------------------------------------------------------
 */

/* The columns that a line of a screen takes, sequences left out; no byte of it moves the cursor. */
static unsigned width_of(const char *line, size_t len)
{
	unsigned width = 0;

	for (size_t i = 0; i < len;) {
		wchar_t c;
		mbstate_t state = {0};
		size_t n;

		if (line[i] == '\033') {
			ck_assert_int_eq(line[i + 1], '[');
			for (i += 2; (unsigned char)line[i] < 0x40; i++)
				;
			i++;
			continue;
		}
		n = mbrtowc(&c, line + i, len - i, &state);
		ck_assert_msg(n > 0 && n <= 4, "a byte that is no character");
		ck_assert_msg(wcwidth(c) >= 0, "a control character");
		ck_assert(c < 0x202a || c > 0x202e);
		width += (unsigned)wcwidth(c);
		i += n;
	}
	return width;
}

static void check_screen(const struct ft_strbuf *out)
{
	const char *at = ft_strbuf_text(out), *end = at + out->len;
	unsigned rows = 1;

	while (at < end) {
		const char *eol = memmem(at, (size_t)(end - at), "\r\n", 2);
		size_t len = (size_t)((eol ? eol : end) - at);

		ck_assert_uint_le(width_of(at, len), view.columns);
		rows += eol != NULL;
		at += len + (eol ? 2 : 0);
	}
	ck_assert_uint_le(rows, view.rows);
}

static struct fa_top *hostile_top(struct fa_top_source *source)
{
	struct fa_top *top;
	struct fa_top_site sites[100];
	struct fa_top_totals totals = {.time_ns = 5 * SECOND,
				       .n_events = UINT64_MAX,
				       .n_lost = UINT64_MAX,
				       .live_bytes = UINT64_MAX,
				       .live_blocks = UINT64_MAX,
				       .peak_bytes = UINT64_MAX,
				       .rss = INT64_MAX,
				       .swap = INT64_MAX,
				       .tracer = INT64_MAX};

	ck_assert_ptr_null(fa_top_create(&top));
	for (uint32_t i = 0; i < 100; i++)
		sites[i] = (struct fa_top_site){.stack = UINT32_MAX - i,
						.live_bytes = UINT64_MAX >> i % 64,
						.live_blocks = UINT64_MAX >> i % 60,
						.bytes_allocated = UINT64_MAX >> i % 50};
	ck_assert_ptr_null(fa_top_apply(top, &totals, sites, 50));
	totals.time_ns += SECOND;
	totals.rss = 0;
	ck_assert_ptr_null(fa_top_apply(top, &totals, sites, 100));
	*source = (struct fa_top_source){
		.pid = 2147483647, .exit_code = INT64_MIN, .sample_bytes = 1};
	strcpy(source->program, "p\033[2J\r\n\xe2\x80\xae\xff\xe6\xbc\xa2\xe5\xad\x97"
				"name");
	memset(source->path, 'x', sizeof(source->path) - 1);
	memset(source->next, '\xe6', sizeof(source->next) - 1);
	strcpy(source->exit_kind, "signal");
	return top;
}

START_TEST(nothing_is_drawn_beyond_the_screen)
{
	struct fa_top_source source;
	struct fa_top *top = hostile_top(&source);
	struct fa_top_scene scene = {.top = top, .source = &source};

	memset(view.filter, 0xe6, 60);
	for (unsigned state = 0; state <= FA_TOP_GONE; state++)
		for (unsigned columns = 20; columns < 200; columns += 7)
			for (unsigned rows = 2; rows < 40; rows += 5) {
				struct ft_strbuf out;

				ft_strbuf_init(&out);
				source.state = (enum fa_top_state)state;
				view.columns = columns;
				view.rows = rows;
				view.color = columns % 2;
				view.help = rows % 3 == 0;
				view.filter[0] = (char)(rows % 2 ? 0 : 0xe6);
				view.prompt = (enum fa_top_prompt)(columns % 3);
				memset(view.typed, 'y', FA_TOP_LINE - 1);
				view.skip = columns;
				fa_top_draw(&view, &scene, &out);
				check_screen(&out);
				ft_strbuf_deinit(&out);
			}
	fa_top_destroy(top);
}
END_TEST

START_TEST(a_view_past_the_last_site_comes_back)
{
	struct fa_top_source source;
	struct fa_top *top = hostile_top(&source);
	struct fa_top_scene scene = {.top = top, .source = &source};
	struct ft_strbuf out;

	ft_strbuf_init(&out);
	view.skip = 1000;
	fa_top_draw(&view, &scene, &out);
	ck_assert_uint_lt(view.skip, 100);
	ck_assert(strstr(ft_strbuf_text(&out), "stack 42949"));
	ft_strbuf_deinit(&out);
	fa_top_destroy(top);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("top-view");
	TCase *c = tcase_create("view");

	if (!setlocale(LC_ALL, "C.UTF-8"))
		return 77;
	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, orders_go_round_both_ways_and_have_numbers);
	tcase_add_test(c, a_filter_is_typed_corrected_and_given_up);
	tcase_add_test(c, a_delay_is_a_number_within_bounds);
	tcase_add_test(c, keys_of_several_bytes_may_come_in_pieces);
	tcase_add_test(c, pause_help_and_quit);
	tcase_add_test(c, any_bytes_are_keys);
	tcase_add_test(c, nothing_is_drawn_beyond_the_screen);
	tcase_add_test(c, a_view_past_the_last_site_comes_back);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

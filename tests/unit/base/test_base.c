/* SPDX-License-Identifier: MIT */
/* Errors, arena, map, strbuf: the ground that all offline code stands on. */
#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fragtrace/event.h"
#include "ft_arena.h"
#include "ft_cleanup.h"
#include "ft_error.h"
#include "ft_map.h"
#include "ft_strbuf.h"

START_TEST(context_goes_before_the_message)
{
	struct ft_error *error = ft_error_os(ENOENT, "%s: cannot open", "a");

	ck_assert_int_eq(error->kind, FT_ERROR_OS);
	ck_assert_int_eq(error->os_errno, ENOENT);
	ck_assert_str_eq(error->message, "a: cannot open: No such file or directory");
	error = ft_error_context(error, "step %d", 3);
	ck_assert_str_eq(error->message, "step 3: a: cannot open: No such file or directory");
	ft_error_destroy(error);
	ck_assert_ptr_null(ft_error_context(NULL, "x"));
	/* The static error is never freed and never changed. */
	ck_assert_ptr_eq(ft_error_context(&ft_enomem, "x"), &ft_enomem);
	ft_error_destroy(&ft_enomem);
	ft_error_destroy(&ft_enomem);
	ck_assert_str_eq(ft_enomem.message, "out of memory");
	ft_error_destroy(NULL);
}
END_TEST

START_TEST(every_call_has_a_name)
{
	for (int i = 0; i < FT_API_N; i++) {
		ck_assert_ptr_nonnull(ft_api_name((enum ft_api)i));
		for (int j = 0; j < i; j++)
			ck_assert_str_ne(ft_api_name((enum ft_api)i), ft_api_name((enum ft_api)j));
	}
	ck_assert_str_eq(ft_api_name((enum ft_api)FT_API_N), "unknown");
	ck_assert_str_eq(ft_api_name((enum ft_api) - 1), "unknown");
}
END_TEST

START_TEST(arena_blocks_are_aligned_and_apart)
{
	struct ft_arena arena;
	unsigned char *blocks[600];
	bool apart = true;

	ft_arena_init(&arena);
	for (size_t i = 0; i < 600; i++) {
		size_t size = i * i % 5000;

		blocks[i] = ft_arena_alloc(&arena, size);
		ck_assert((uintptr_t)blocks[i] % 16 == 0);
		memset(blocks[i], (int)i, size);
	}
	for (size_t i = 0; i < 600; i++)
		for (size_t j = 0; j < i * i % 5000; j++)
			apart = apart && blocks[i][j] == (unsigned char)i;
	ck_assert(apart);
	ck_assert_ptr_ne(ft_arena_alloc(&arena, 0), ft_arena_alloc(&arena, 0));
	ck_assert_ptr_null(ft_arena_alloc(&arena, SIZE_MAX));
	ck_assert_ptr_null(ft_arena_alloc(&arena, SIZE_MAX / 2 + 1));
	memset(ft_arena_alloc(&arena, 3 << 20), 1, 3 << 20); /* more than a block */
	ck_assert_str_eq(ft_arena_strndup(&arena, "hello", 2), "he");
	ck_assert_str_eq(ft_arena_strdup(&arena, ""), "");
	ft_arena_deinit(&arena);
	ft_arena_deinit(&arena);
}
END_TEST

/* Against an array indexed by the key: keys that collide, key 0, removal within a run. */
START_TEST(map_does_what_an_array_does)
{
	enum { KEYS = 700 };
	static uint64_t model[KEYS];
	static bool there[KEYS];
	struct ft_map map;
	uint64_t random = 1, key, value;
	size_t n = 0, cursor, seen;
	bool created, same = true;

	ft_map_init(&map);
	ck_assert_ptr_null(ft_map_get(&map, 5));
	ck_assert(!ft_map_remove(&map, 5, NULL));
	for (int step = 0; step < 200000; step++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		key = (random >> 33) % KEYS;
		if (random >> 32 & 1) {
			uint64_t *slot = ft_map_put(&map, key, &created);

			same = same && slot && created == !there[key] &&
			       *slot == (there[key] ? model[key] : 0);
			*slot = model[key] = random;
			n += !there[key];
			there[key] = true;
		} else {
			value = 0;
			same = same && ft_map_remove(&map, key, &value) == there[key];
			same = same && (!there[key] || value == model[key]);
			n -= there[key];
			there[key] = false;
		}
		same = same && ft_map_count(&map) == n;
		if (step % 1000)
			continue;
		for (uint64_t i = 0; i < KEYS; i++) {
			const uint64_t *slot = ft_map_get(&map, i);

			same = same && (slot != NULL) == there[i] && (!slot || *slot == model[i]);
		}
		for (cursor = seen = 0; ft_map_next(&map, &cursor, &key, &value); seen++)
			same = same && there[key] && value == model[key];
		ck_assert_uint_eq(seen, n);
	}
	ck_assert(same);
	ft_map_deinit(&map);
}
END_TEST

START_TEST(strbuf_grows_and_remembers_failure)
{
	struct ft_strbuf buf;
	char *text;

	ft_strbuf_init(&buf);
	ck_assert_str_eq(ft_strbuf_text(&buf), "");
	for (int i = 0; i < 1000; i++)
		ft_strbuf_addf(&buf, "%d,", i % 10);
	ck_assert_uint_eq(buf.len, 2000);
	ck_assert_uint_eq(strlen(ft_strbuf_text(&buf)), 2000);
	ft_strbuf_clear(&buf);
	ft_strbuf_add(&buf, "a\0b", 3);
	ft_strbuf_adds(&buf, "c");
	ft_strbuf_addc(&buf, 'd');
	ck_assert_uint_eq(buf.len, 5);
	ck_assert_int_eq(memcmp(buf.data, "a\0bcd", 6), 0);
	text = ft_strbuf_steal(&buf);
	ck_assert_int_eq(memcmp(text, "a\0bcd", 6), 0);
	ck_assert_uint_eq(buf.len, 0);
	free(text);
	ft_strbuf_adds(&buf, "x");
	ck_assert_ptr_null(ft_strbuf_reserve(&buf, SIZE_MAX / 2));
	ft_strbuf_adds(&buf, "y");
	ck_assert(buf.failed);
	ck_assert_ptr_null(ft_strbuf_steal(&buf));
	ck_assert(!buf.failed);
	ft_strbuf_deinit(&buf);
}
END_TEST

START_TEST(guards_release_and_hand_over)
{
	ft_auto_free char *text = strdup("x");
	char *taken = ft_take(text);

	ck_assert_ptr_null(text);
	ck_assert_str_eq(taken, "x");
	free(taken);

	ft_auto_close int fd = dup(1);
	int other = ft_take_fd(fd);

	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(close(other), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("base");
	TCase *tcase = tcase_create("base");

	tcase_add_test(tcase, context_goes_before_the_message);
	tcase_add_test(tcase, every_call_has_a_name);
	tcase_add_test(tcase, arena_blocks_are_aligned_and_apart);
	tcase_add_test(tcase, map_does_what_an_array_does);
	tcase_add_test(tcase, strbuf_grows_and_remembers_failure);
	tcase_add_test(tcase, guards_release_and_hand_over);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

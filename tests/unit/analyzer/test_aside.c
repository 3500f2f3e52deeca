/* SPDX-License-Identifier: MIT */
/* Aside: the same items in the same order, with and without a thread; errors come back. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "fa_aside.h"
#include "fa_engine.h"
#include "scene.h"

/* More than fill all buffers. */
enum { ITEMS = 100000, BAD = 70000 };

/* What the function saw. */
struct seen {
	uint64_t n, sum;
	uint64_t fail_at; /* item; 0: never */
	pthread_t thread;
	bool in_order;
};

static struct ft_error *see(void *ctx, const void *items, size_t n)
{
	struct seen *seen = ctx;
	const uint64_t *item = items;

	for (; n--; item++) {
		seen->in_order &= *item == seen->n;
		seen->n++;
		seen->sum += *item * seen->n;
		if (seen->fail_at && *item == seen->fail_at)
			return ft_error_create(FT_ERROR_INPUT, "item %d", BAD);
	}
	seen->thread = pthread_self();
	return NULL;
}

static struct fa_engine *engine_with(struct ft_reader *reader, uint32_t n_threads)
{
	struct fa_options options = {.n_threads = n_threads};
	struct fa_engine *engine;

	ck_assert_ptr_null(fa_engine_create(reader, &options, &engine));
	return engine;
}

static struct ft_reader *some_recording(struct scene *s)
{
	struct ft_reader *reader;

	scene_begin(s);
	scene_finish(s, false);
	ck_assert_ptr_null(ft_reader_open(s->path, FT_READER_NO_WAIT, &reader));
	return reader;
}

START_TEST(items_are_seen_in_order_whoever_looks)
{
	const uint64_t n_items[] = {0, 1, 5000, ITEMS};
	struct scene s;
	struct ft_reader *reader = some_recording(&s);
	struct seen seen[2];

	for (uint32_t i = 0; i < 2; i++) {
		struct fa_engine *engine = engine_with(reader, i ? 2 : 1);
		struct fa_aside *aside;

		seen[i] = (struct seen){.in_order = true, .thread = pthread_self()};
		ck_assert_ptr_null(
			fa_aside_create(engine, sizeof(uint64_t), see, &seen[i], &aside));
		for (uint64_t item = 0; item < n_items[_i]; item++)
			ck_assert_ptr_null(fa_aside_add(aside, &item, sizeof(item)));
		ck_assert_ptr_null(fa_aside_finish(aside));
		ck_assert(seen[i].in_order);
		ck_assert_uint_eq(seen[i].n, n_items[_i]);
		/* A thread only where it is wanted, and only when there is much to do. */
		ck_assert_int_eq(pthread_equal(seen[i].thread, pthread_self()) != 0,
				 i == 0 || n_items[_i] < ITEMS);
		fa_aside_destroy(aside);
		fa_engine_destroy(engine);
	}
	ck_assert_uint_eq(seen[0].sum, seen[1].sum);
	ft_reader_close(reader);
	scene_end(&s);
}
END_TEST

START_TEST(an_error_comes_back_once_and_ends_the_work)
{
	struct scene s;
	struct ft_reader *reader = some_recording(&s);

	for (uint32_t n_threads = 1; n_threads <= 2; n_threads++) {
		struct fa_engine *engine = engine_with(reader, n_threads);
		struct seen seen = {.in_order = true, .fail_at = BAD};
		struct ft_error *error = NULL;
		struct fa_aside *aside;

		ck_assert_ptr_null(fa_aside_create(engine, sizeof(uint64_t), see, &seen, &aside));
		for (uint64_t item = 0; !error && item < ITEMS; item++)
			error = fa_aside_add(aside, &item, sizeof(item));
		if (!error)
			error = fa_aside_finish(aside);
		ck_assert_ptr_nonnull(error);
		ck_assert_str_eq(error->message, "item 70000");
		ck_assert_uint_eq(seen.n, BAD + 1);
		ft_error_destroy(error);
		fa_aside_destroy(aside);
		fa_engine_destroy(engine);
	}
	ft_reader_close(reader);
	scene_end(&s);
}
END_TEST

/* As after an error of somebody else: at any time, with buffers that nobody has run. */
START_TEST(it_can_be_given_up)
{
	struct scene s;
	struct ft_reader *reader = some_recording(&s);
	struct fa_engine *engine = engine_with(reader, 4);
	struct seen seen = {.in_order = true};
	struct fa_aside *aside;

	ck_assert_ptr_null(fa_aside_create(engine, sizeof(uint64_t), see, &seen, &aside));
	for (uint64_t item = 0; item < ITEMS / 2; item++)
		ck_assert_ptr_null(fa_aside_add(aside, &item, sizeof(item)));
	fa_aside_destroy(aside);
	ck_assert(seen.in_order);
	ck_assert_uint_le(seen.n, ITEMS / 2);
	fa_aside_destroy(NULL);
	fa_engine_destroy(engine);
	ft_reader_close(reader);
	scene_end(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("aside");
	TCase *tcase = tcase_create("aside");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, items_are_seen_in_order_whoever_looks, 0, 4);
	tcase_add_test(tcase, an_error_comes_back_once_and_ends_the_work);
	tcase_add_test(tcase, it_can_be_given_up);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

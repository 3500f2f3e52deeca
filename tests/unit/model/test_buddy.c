/* SPDX-License-Identifier: MIT */
/*
 * Buddy: hand-made cases, and a million random operations against a naive allocator
 *
 * The reference keeps each free list as an array that is searched and shifted, and looks a block up
 * by going through all lists. It must hand out the same page for every request.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fa_buddy.h"

enum { ORDER = 10, ONE_TYPE = 31, PAGES = 8192 };

static struct fa_buddy buddy;

static void setup(uint64_t pages, unsigned order, unsigned pageblock)
{
	ck_assert_ptr_null(fa_buddy_init(&buddy, pages, order, pageblock));
}

static void teardown(void)
{
	ck_assert(fa_buddy_check(&buddy));
	fa_buddy_deinit(&buddy);
}

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

START_TEST(halves_come_in_ascending_order)
{
	setup(1024, ORDER, ONE_TYPE);
	ck_assert(fa_buddy_add(&buddy, 0, 1024));
	ck_assert_uint_eq(buddy.lists[10][0].n, 1);
	for (uint32_t i = 0; i < 1024; i++)
		ck_assert_uint_eq(fa_buddy_alloc(&buddy, 0, 0), i);
	ck_assert_uint_eq(fa_buddy_alloc(&buddy, 0, 0), FA_BUDDY_NONE);
	ck_assert_uint_eq(buddy.counts.splits, 1023);
	for (uint32_t i = 0; i < 1024; i++)
		ck_assert(fa_buddy_free(&buddy, i ^ 5, 0, false));
	ck_assert_uint_eq(buddy.lists[10][0].n, 1);
	ck_assert_uint_eq(buddy.counts.merges, 1023);
	teardown();
}
END_TEST

START_TEST(a_free_that_is_none_is_refused)
{
	unsigned order;

	setup(1000, ORDER, ONE_TYPE);
	ck_assert(fa_buddy_add(&buddy, 0, 1000));
	ck_assert(!fa_buddy_add(&buddy, 999, 1000)); /* not absent */

	uint32_t page = fa_buddy_alloc(&buddy, 2, 0);

	ck_assert(!fa_buddy_free(&buddy, page, 1, false));
	ck_assert(!fa_buddy_free(&buddy, page + 1, 0, false));
	ck_assert(!fa_buddy_free(&buddy, 1000, 0, false));
	ck_assert(!fa_buddy_free(&buddy, page, 11, false));
	ck_assert(fa_buddy_used_at(&buddy, page, &order));
	ck_assert_uint_eq(order, 2);
	ck_assert(fa_buddy_free(&buddy, page, 2, false));
	ck_assert(!fa_buddy_free(&buddy, page, 2, false));
	ck_assert_uint_eq(fa_buddy_alloc(&buddy, 11, 0), FA_BUDDY_NONE);
	teardown();
}
END_TEST

START_TEST(the_orders_are_the_greedy_cut)
{
	struct fa_orders expected = {0}, orders;

	setup(5000, ORDER, ONE_TYPE);
	ck_assert(fa_buddy_add(&buddy, 3, 1777));
	ck_assert(fa_buddy_add(&buddy, 1778, 5000));
	ck_assert(fa_buddy_add_used(&buddy, 0, 3));
	fa_orders_add(&expected, 3, 1777);
	fa_orders_add(&expected, 1778, 5000);
	orders = fa_buddy_orders(&buddy);
	ck_assert_mem_eq(&orders, &expected, sizeof(orders));
	/* What was absent between comes, and both runs grow together. */
	ck_assert(fa_buddy_add(&buddy, 1777, 1778));
	ck_assert(fa_buddy_give(&buddy, 0, 1));
	ck_assert(fa_buddy_give(&buddy, 2, 0));
	expected = (struct fa_orders){0};
	fa_orders_add(&expected, 0, 5000);
	orders = fa_buddy_orders(&buddy);
	ck_assert_mem_eq(&orders, &expected, sizeof(orders));
	teardown();
}
END_TEST

START_TEST(a_block_that_may_grow_goes_to_the_tail)
{
	setup(64, 4, ONE_TYPE);
	ck_assert(fa_buddy_add(&buddy, 0, 16));
	for (uint32_t i = 0; i < 16; i++)
		ck_assert_uint_eq(fa_buddy_alloc(&buddy, 0, 0), i);
	ck_assert(fa_buddy_free(&buddy, 8, 0, false));
	/* 2 and 3 free: were 0 freed, half of a pair would wait for 1. */
	ck_assert(fa_buddy_free(&buddy, 2, 0, false));
	ck_assert(fa_buddy_free(&buddy, 3, 0, false));
	ck_assert(fa_buddy_free(&buddy, 0, 0, false));
	ck_assert_uint_eq(fa_buddy_first(&buddy, 0, 0), 8);
	ck_assert_uint_eq(buddy.lists[0][0].tail, 0);
	teardown();
}
END_TEST

START_TEST(types_part_pageblocks)
{
	setup(16, 4, 2);
	ck_assert(fa_buddy_add(&buddy, 0, 16)); /* one block of order 4, type 0 */
	ck_assert_uint_eq(fa_buddy_alloc(&buddy, 0, 1), FA_BUDDY_NONE);

	uint32_t page = fa_buddy_alloc(&buddy, 0, 0);

	ck_assert_uint_eq(page, 0);
	ck_assert_uint_eq(fa_buddy_retype(&buddy, page, 1), 3); /* pages 1, 2-3 */
	ck_assert_uint_eq(fa_buddy_type(&buddy, 3), 1);
	ck_assert_uint_eq(fa_buddy_type(&buddy, 4), 0);
	ck_assert_uint_eq(fa_buddy_alloc(&buddy, 1, 1), 2);
	ck_assert_uint_eq(fa_buddy_alloc(&buddy, 2, 1), FA_BUDDY_NONE);
	ck_assert(fa_buddy_free(&buddy, 2, 1, false));
	/* All of a pageblock is free again: it merges with its neighbour, and takes it along. */
	ck_assert(fa_buddy_free(&buddy, 0, 0, false));
	ck_assert_uint_eq(buddy.lists[4][1].n, 1);
	ck_assert_uint_eq(fa_buddy_type(&buddy, 15), 1);
	teardown();
}
END_TEST

START_TEST(types_that_may_not_merge_stay_apart)
{
	setup(8, 3, 2);
	ck_assert(fa_buddy_add(&buddy, 0, 8));
	ck_assert(fa_buddy_take(&buddy, 0, 2));
	ck_assert_uint_eq(fa_buddy_retype(&buddy, 0, 3), 0);
	ck_assert(fa_buddy_give(&buddy, 0, 2));
	ck_assert_uint_eq(buddy.lists[2][3].n, 1);
	ck_assert_uint_eq(buddy.lists[2][0].n, 1);
	teardown();
}
END_TEST

/* Its pageblocks may have become of different types while it was used. */
START_TEST(a_block_of_pageblocks_of_several_types)
{
	setup(16, 4, 2);
	for (uint32_t block = 0; block < 4; block++)
		buddy.types[block] = (uint8_t)(block == 2);
	ck_assert(fa_buddy_add(&buddy, 0, 16));
	ck_assert(fa_buddy_check(&buddy));
	ck_assert_uint_eq(buddy.free_pages, 16);

	uint32_t page = fa_buddy_alloc(&buddy, 4, fa_buddy_type(&buddy, 0));

	ck_assert_uint_eq(page, 0);
	ck_assert_uint_eq(fa_buddy_retype(&buddy, 8, 3), 0); /* one that must stay apart */
	ck_assert(fa_buddy_free(&buddy, 0, 4, false));
	ck_assert(fa_buddy_check(&buddy));
	ck_assert_uint_eq(fa_buddy_alloc(&buddy, 0, 3), 8);
	ck_assert(fa_buddy_check(&buddy));
	teardown();
}
END_TEST

/* ---- against a naive allocator --------------------------------------------------------------- */

struct naive_list {
	uint32_t pages[PAGES];
	unsigned n;
};

static struct naive_list naive[ORDER + 1];

static int naive_find(uint32_t page, unsigned order)
{
	for (unsigned i = 0; i < naive[order].n; i++)
		if (naive[order].pages[i] == page)
			return (int)i;
	return -1;
}

static void naive_remove(unsigned order, int at)
{
	struct naive_list *list = &naive[order];

	memmove(list->pages + at, list->pages + at + 1,
		(list->n - (unsigned)at - 1) * sizeof(uint32_t));
	list->n--;
}

static void naive_insert(uint32_t page, unsigned order, bool at_tail)
{
	struct naive_list *list = &naive[order];

	if (!at_tail)
		memmove(list->pages + 1, list->pages, list->n * sizeof(uint32_t));
	list->pages[at_tail ? list->n : 0] = page;
	list->n++;
}

static uint32_t naive_alloc(unsigned order)
{
	unsigned high = order;

	while (high <= ORDER && !naive[high].n)
		high++;
	if (high > ORDER)
		return FA_BUDDY_NONE;

	uint32_t page = naive[high].pages[0];

	naive_remove(high, 0);
	while (high-- > order)
		naive_insert(page + (1U << high), high, false);
	return page;
}

static void naive_free(uint32_t page, unsigned order, bool to_tail)
{
	int at;

	while (order < ORDER && (at = naive_find(page ^ (1U << order), order)) >= 0) {
		naive_remove(order, at);
		page &= ~(1U << order);
		order++;
	}
	if (order + 1 < ORDER &&
	    naive_find((page & ~(1U << order)) ^ (1U << (order + 1)), order + 1) >= 0)
		to_tail = true;
	naive_insert(page, order, to_tail);
}

static void compare_lists(void)
{
	for (unsigned o = 0; o <= ORDER; o++) {
		unsigned n = 0;

		for (uint32_t page = fa_buddy_first(&buddy, o, 0); page != FA_BUDDY_NONE;
		     page = buddy.links[page].next)
			ck_assert_uint_eq(page, naive[o].pages[n++]);
		ck_assert_uint_eq(n, naive[o].n);
	}
	ck_assert(fa_buddy_check(&buddy));
}

START_TEST(a_million_operations_as_the_naive_one)
{
	static struct {
		uint32_t page;
		unsigned order;
	} used[PAGES];
	unsigned n_used = 0;

	random_state = 0x9e3779b97f4a7c15 + (unsigned)_i;
	memset(naive, 0, sizeof(naive));
	setup(PAGES, ORDER, ONE_TYPE);
	ck_assert(fa_buddy_add(&buddy, 0, PAGES));
	for (uint32_t page = 0; page < PAGES; page += 1 << ORDER)
		naive_insert(page, ORDER, true);
	for (unsigned i = 0; i < 500000; i++) {
		uint64_t r = next_random();
		/* In waves, so that it runs full and empty. */
		bool want = (r & 255) < ((i / 20000) & 1 ? 90 : 170);

		if (want || !n_used) {
			unsigned order = (unsigned)__builtin_ctzll(r >> 8 | 1 << 11) % (ORDER + 1);
			uint32_t page = fa_buddy_alloc(&buddy, order, 0);

			ck_assert_uint_eq(page, naive_alloc(order));
			if (page != FA_BUDDY_NONE) {
				used[n_used].page = page;
				used[n_used++].order = order;
			}
		} else {
			unsigned at = (unsigned)(r >> 8) % n_used;
			bool to_tail = !(r >> 60);

			ck_assert(fa_buddy_free(&buddy, used[at].page, used[at].order, to_tail));
			naive_free(used[at].page, used[at].order, to_tail);
			used[at] = used[--n_used];
		}
		if (i % 5000 == 0)
			compare_lists();
	}
	while (n_used--) {
		ck_assert(fa_buddy_free(&buddy, used[n_used].page, used[n_used].order, false));
	}
	ck_assert_uint_eq(buddy.lists[ORDER][0].n, PAGES >> ORDER);
	ck_assert_uint_eq(buddy.free_pages, PAGES);
	teardown();
}
END_TEST

/* Any block may be taken and given in any pieces: only which pages are free decides. */
START_TEST(replay_of_any_blocks_keeps_the_cut)
{
	static bool is_free[2048];
	struct fa_orders expected, orders;

	random_state = 77;
	setup(2048, ORDER, 5);
	ck_assert(fa_buddy_add(&buddy, 0, 2048));
	memset(is_free, true, sizeof(is_free));
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t r = next_random();
		unsigned order = (unsigned)__builtin_ctzll(r | 1 << 6);
		uint32_t page = (uint32_t)(r >> 20) % 2048 & ~((1U << order) - 1);
		bool any_free = false, all_free = true, take = r >> 63;

		for (uint32_t p = page; p < page + (1U << order); p++) {
			any_free |= is_free[p];
			all_free &= is_free[p];
		}
		if (take)
			ck_assert(fa_buddy_take(&buddy, page, order) == all_free);
		else
			ck_assert(fa_buddy_give(&buddy, page, order) == !any_free);
		if (take ? all_free : !any_free)
			memset(is_free + page, !take, 1U << order);
		if (i % 1000)
			continue;
		expected = (struct fa_orders){0};
		for (uint32_t s = 0, e; s < 2048; s = e) {
			for (e = s; e < 2048 && is_free[e] == is_free[s];)
				e++;
			if (is_free[s])
				fa_orders_add(&expected, s, e);
		}
		orders = fa_buddy_orders(&buddy);
		ck_assert_mem_eq(&orders, &expected, sizeof(orders));
		ck_assert(fa_buddy_check(&buddy));
	}
	teardown();
}
END_TEST

/* Blocks that are freed in other pieces than they were allocated in. */
START_TEST(used_blocks_take_the_shape_that_is_asked_for)
{
	struct fa_buddy b;
	uint32_t four, one, two;

	ck_assert_ptr_null(fa_buddy_init(&b, 1024, 10, 9));
	ck_assert(fa_buddy_add(&b, 0, 1024));
	four = fa_buddy_alloc(&b, 2, 0);
	one = fa_buddy_alloc(&b, 0, 0);
	two = fa_buddy_alloc(&b, 1, 0);
	ck_assert_uint_eq(four, 0);
	ck_assert_uint_eq(one, 4);
	ck_assert_uint_eq(two, 6);
	ck_assert(fa_buddy_reshape(&b, 2, 0)); /* a piece of the first */
	ck_assert(fa_buddy_free(&b, 2, 0, false));
	ck_assert(!fa_buddy_reshape(&b, 0, 2)); /* page 2 is free */
	ck_assert(!fa_buddy_reshape(&b, 4, 2)); /* page 5 is free */
	ck_assert(!fa_buddy_reshape(&b, 1, 1)); /* not aligned */
	ck_assert(fa_buddy_take(&b, 5, 0));
	ck_assert(fa_buddy_reshape(&b, 4, 2)); /* three blocks become one */
	ck_assert(fa_buddy_free(&b, 4, 2, false));
	ck_assert(fa_buddy_reshape(&b, 0, 1));
	ck_assert(fa_buddy_free(&b, 0, 1, false));
	ck_assert(fa_buddy_reshape(&b, 3, 0));
	ck_assert(fa_buddy_free(&b, 3, 0, false));
	ck_assert(fa_buddy_check(&b));
	ck_assert_uint_eq(fa_buddy_orders(&b).n[10], 1);
	fa_buddy_deinit(&b);
}
END_TEST

START_TEST(too_large_is_said)
{
	struct ft_error *error = fa_buddy_init(&buddy, 100, 31, 9);

	ck_assert_ptr_nonnull(error);
	ck_assert_int_eq(error->kind, FT_ERROR_USAGE);
	ft_error_destroy(error);
	fa_buddy_deinit(&buddy);
	error = fa_buddy_init(&buddy, UINT64_C(1) << 32, 10, 9);
	ck_assert_ptr_nonnull(error);
	ft_error_destroy(error);
	fa_buddy_deinit(&buddy);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("buddy");
	TCase *tests = tcase_create("buddy");

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, halves_come_in_ascending_order);
	tcase_add_test(tests, a_free_that_is_none_is_refused);
	tcase_add_test(tests, the_orders_are_the_greedy_cut);
	tcase_add_test(tests, a_block_that_may_grow_goes_to_the_tail);
	tcase_add_test(tests, types_part_pageblocks);
	tcase_add_test(tests, types_that_may_not_merge_stay_apart);
	tcase_add_test(tests, a_block_of_pageblocks_of_several_types);
	tcase_add_loop_test(tests, a_million_operations_as_the_naive_one, 0, 2);
	tcase_add_test(tests, replay_of_any_blocks_keeps_the_cut);
	tcase_add_test(tests, used_blocks_take_the_shape_that_is_asked_for);
	tcase_add_test(tests, too_large_is_said);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/* Compaction: what moves where, when it starts, and when it ends. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fa_compact.h"

enum { BLOCK = 512, BLOCKS = 64, PAGES = BLOCK * BLOCKS };

static struct fa_zone zone;
static struct ft_error *error;
static struct fa_compact_stats stats;
/* Which object a page holds, kept by moved() alone; 0: free. */
static uint32_t object_of[PAGES];

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Single pages in use: `movable` and `fixed` in 100. */
static void scatter(unsigned movable, unsigned fixed, uint64_t seed)
{
	random_state = seed;
	memset(&stats, 0, sizeof(stats));
	memset(object_of, 0, sizeof(object_of));
	ck_assert_ptr_null(fa_zone_init(&zone, PAGES,
					&(struct fa_zone_options){.watermarks = {100, 125, 150}}));
	for (uint32_t page = 0; page < PAGES; page++) {
		unsigned r = (unsigned)(next_random() % 100);

		if (r >= movable + fixed) {
			ck_assert(fa_buddy_add(&zone.buddy, page, page + 1));
			continue;
		}
		ck_assert(fa_buddy_add_used(&zone.buddy, page, page + 1));
		object_of[page] = page + 1;
		if (r < movable)
			zone.buddy.state[page] |= FA_PAGE_MOVABLE;
	}
	fa_zone_ready(&zone);
	ck_assert(fa_zone_check(&zone));
}

static void teardown(void)
{
	ck_assert(fa_zone_check(&zone));
	fa_zone_deinit(&zone);
}

static void moved(void *context, uint32_t from, uint32_t to, unsigned order)
{
	(void)context;
	for (uint32_t i = 0; i < 1U << order; i++) {
		ck_assert_uint_ne(object_of[from + i], 0);
		ck_assert_uint_eq(object_of[to + i], 0);
		object_of[to + i] = object_of[from + i];
		object_of[from + i] = 0;
	}
}

static unsigned n_whole(void)
{
	struct fa_orders orders = fa_buddy_orders(&zone.buddy);

	return (unsigned)(orders.n[9] + 2 * orders.n[10]);
}

START_TEST(everything_movable_goes_up)
{
	scatter(50, 0, 42 + (unsigned)_i);

	uint64_t free_before = zone.buddy.free_pages;
	struct fa_compact_request request = {.order = -1,
					     .type = FA_MOVABLE,
					     .mode = FA_COMPACT_SYNC,
					     .whole_zone = true,
					     .moved = moved};

	ck_assert_uint_eq(n_whole(), 0);
	ck_assert_int_eq(fa_compact(&zone, &request, &stats, &error), FA_COMPACT_COMPLETE);
	ck_assert_ptr_null(error);
	ck_assert_uint_eq(zone.buddy.free_pages, free_before);
	/* The scanners met at one pageblock: below it nothing is used, above nothing is free. */
	ck_assert_uint_ge(n_whole(), free_before / BLOCK - 2);

	uint32_t first_used = 0, last_free = PAGES - 1;

	while (!object_of[first_used])
		first_used++;
	while (object_of[last_free])
		last_free--;
	ck_assert_uint_ge(first_used / BLOCK + 1, last_free / BLOCK);
	for (uint32_t page = 0; page < PAGES; page++) {
		unsigned order;

		ck_assert_int_eq(object_of[page] != 0, fa_buddy_used_at(&zone.buddy, page, &order));
	}
	ck_assert_uint_le(stats.moved_pages, PAGES - free_before);
	teardown();
}
END_TEST

START_TEST(what_is_pinned_stays)
{
	struct fa_compact_request request = {.order = -1,
					     .type = FA_MOVABLE,
					     .mode = FA_COMPACT_SYNC,
					     .whole_zone = true,
					     .moved = moved};
	static uint32_t pinned[PAGES];

	scatter(40, 3, 99);
	for (uint32_t page = 0; page < PAGES; page++)
		pinned[page] = object_of[page] && !(zone.buddy.state[page] & FA_PAGE_MOVABLE)
				       ? object_of[page]
				       : 0;
	fa_compact(&zone, &request, &stats, &error);
	for (uint32_t page = 0; page < PAGES; page++)
		if (pinned[page])
			ck_assert_uint_eq(object_of[page], pinned[page]);
	/* With 3 in 100 of the pages pinned, hardly a block of 512 has none. */
	ck_assert_uint_le(n_whole(), 1);
	teardown();
}
END_TEST

START_TEST(a_run_ends_with_what_was_asked_for)
{
	struct fa_compact_request request = {
		.order = 6, .type = FA_MOVABLE, .mode = FA_COMPACT_SYNC_LIGHT};

	scatter(50, 0, 7);
	ck_assert_int_eq(fa_compact(&zone, &request, &stats, &error), FA_COMPACT_SUCCESS);
	/* One pageblock was enough. */
	ck_assert_uint_le(stats.moved_pages, BLOCK);

	uint32_t page = fa_zone_alloc(
		&zone, (struct fa_zone_request){.order = 6, .type = FA_MOVABLE}, &error);

	ck_assert_uint_ne(page, FA_BUDDY_NONE);
	teardown();
}
END_TEST

START_TEST(a_budget_is_kept)
{
	struct fa_compact_request request = {.order = -1,
					     .type = FA_MOVABLE,
					     .mode = FA_COMPACT_SYNC,
					     .whole_zone = true,
					     .max_pages = 1000};
	unsigned whole;

	scatter(50, 0, 7);
	ck_assert_int_eq(fa_compact(&zone, &request, &stats, &error), FA_COMPACT_STOPPED);
	ck_assert_uint_ge(stats.moved_pages, 1000);
	ck_assert_uint_lt(stats.moved_pages, 1032); /* a batch more */
	whole = n_whole();
	ck_assert_uint_ge(whole, 2);
	request.max_pages = 2000;
	fa_compact(&zone, &request, &stats, &error);
	ck_assert_uint_gt(n_whole(), whole);
	teardown();
}
END_TEST

START_TEST(async_looks_at_its_own_pageblocks)
{
	struct fa_compact_request request = {
		.order = 9, .type = FA_MOVABLE, .mode = FA_COMPACT_ASYNC, .moved = moved};

	scatter(50, 0, 11);
	for (uint32_t page = 0; page < PAGES / 2; page += BLOCK)
		fa_buddy_retype(&zone.buddy, page, FA_UNMOVABLE);

	static uint32_t before[PAGES / 2];

	memcpy(before, object_of, sizeof(before));
	fa_compact(&zone, &request, &stats, &error);
	ck_assert_uint_gt(stats.moved_pages, 0);
	/* Nothing came or went there: not a source, not a target. */
	ck_assert_mem_eq(before, object_of, sizeof(before));
	teardown();
}
END_TEST

START_TEST(large_folios_move_where_the_kernel_moves_them)
{
	struct fa_compact_request request = {.order = -1,
					     .type = FA_MOVABLE,
					     .mode = FA_COMPACT_SYNC,
					     .whole_zone = true,
					     .max_move_order = _i ? 2 : 0,
					     .moved = moved};

	memset(&stats, 0, sizeof(stats));
	memset(object_of, 0, sizeof(object_of));
	ck_assert_ptr_null(fa_zone_init(&zone, PAGES, &(struct fa_zone_options){0}));
	for (uint32_t page = 0; page < PAGES; page += 4) {
		if (page & 4) {
			ck_assert(fa_buddy_add(&zone.buddy, page, page + 4));
			continue;
		}
		ck_assert(fa_buddy_add_used(&zone.buddy, page, page + 4));
		zone.buddy.state[page] |= FA_PAGE_MOVABLE;
		for (unsigned i = 0; i < 4; i++)
			object_of[page + i] = page + 1;
	}
	fa_zone_ready(&zone);
	fa_compact(&zone, &request, &stats, &error);
	if (_i)
		ck_assert_uint_ge(n_whole(), BLOCKS / 2 - 1);
	else
		ck_assert_uint_eq(stats.moved_pages, 0);
	teardown();
}
END_TEST

/* Free memory in single pages only: a folio of four pages finds no place, and is split. */
START_TEST(a_large_folio_is_split_where_nothing_is_as_large)
{
	struct fa_compact_request request = {.order = -1,
					     .type = FA_MOVABLE,
					     .mode = FA_COMPACT_SYNC,
					     .whole_zone = true,
					     .max_move_order = 8,
					     .moved = moved};
	uint32_t last = (BLOCKS - 1) * BLOCK;

	memset(&stats, 0, sizeof(stats));
	memset(object_of, 0, sizeof(object_of));
	ck_assert_ptr_null(fa_zone_init(&zone, PAGES, &(struct fa_zone_options){.cpus = 0}));
	ck_assert(fa_buddy_add_used(&zone.buddy, 0, 4));
	zone.buddy.state[0] |= FA_PAGE_MOVABLE;
	for (uint32_t i = 0; i < 4; i++)
		object_of[i] = i + 1;
	ck_assert(fa_buddy_add(&zone.buddy, 4, BLOCK));
	for (uint32_t page = last; page < PAGES; page++)
		ck_assert(page & 1 ? fa_buddy_add(&zone.buddy, page, page + 1)
				   : fa_buddy_add_used(&zone.buddy, page, page + 1));
	fa_zone_ready(&zone);
	ck_assert_uint_eq(n_whole(), 0);
	fa_compact(&zone, &request, &stats, &error);
	ck_assert_ptr_null(error);
	ck_assert_uint_eq(stats.moved_pages, 4);
	ck_assert_uint_eq(stats.moved_blocks, 4);
	ck_assert_uint_eq(n_whole(), 1);
}
END_TEST

START_TEST(suitability_knows_why_memory_is_missing)
{
	/* Half is free in single pages: fragmentation. */
	scatter(50, 0, 5);
	ck_assert(fa_compact_suitable(&zone, 9, FA_EXTFRAG_THRESHOLD));
	ck_assert(fa_compact_suitable(&zone, 3, FA_EXTFRAG_THRESHOLD));
	teardown();
	/* Hardly anything is free: there is nowhere to move to. */
	scatter(99, 0, 5);
	ck_assert(!fa_compact_suitable(&zone, 9, FA_EXTFRAG_THRESHOLD));
	ck_assert(fa_compact_suitable(&zone, 3, FA_EXTFRAG_THRESHOLD)); /* 16 pages are enough */
	teardown();

	/* 1300 free pages in five blocks of order 8: the index of order 9 is
	 * 1000 - (1000 + 1280 * 1000 / 512) / 5 = 300: lack of memory rather than fragmentation. */
	memset(&stats, 0, sizeof(stats));
	ck_assert_ptr_null(
		fa_zone_init(&zone, PAGES, &(struct fa_zone_options){.watermarks = {10, 12, 15}}));
	ck_assert(fa_buddy_add_used(&zone.buddy, 0, PAGES));
	fa_zone_ready(&zone);
	for (uint32_t i = 0; i < 5; i++)
		ck_assert(fa_buddy_give(&zone.buddy, i * 2 * BLOCK, 8));

	struct fa_orders orders = fa_buddy_orders(&zone.buddy);

	ck_assert_int_eq(fa_extfrag_milli(&orders, 9), 300);
	ck_assert(!fa_compact_suitable(&zone, 9, 500));
	ck_assert(fa_compact_suitable(&zone, 9, 299));
	ck_assert(fa_compact_suitable(&zone, 3, 500)); /* the index is for orders above 3 */
	teardown();
}
END_TEST

START_TEST(failure_defers_the_next_attempts)
{
	scatter(0, 0, 1);
	for (unsigned shift = 1; shift <= 8; shift++) {
		unsigned skipped = 0, expected = 1U << (shift < 6 ? shift : 6);

		fa_compact_defer(&zone, 4);
		while (fa_compact_deferred(&zone, 4))
			skipped++;
		ck_assert_uint_eq(skipped, expected - 1);
		ck_assert(!fa_compact_deferred(&zone, 3)); /* a smaller order never failed */
	}
	fa_compact_defer_reset(&zone, 4, true);
	ck_assert(!fa_compact_deferred(&zone, 4));
	teardown();
}
END_TEST

START_TEST(direct_compaction_fails_honestly)
{
	enum fa_compact_result result;

	scatter(30, 30, 3); /* pinned everywhere */
	result = fa_compact_direct(&zone, 9, FA_MOVABLE, 500, &stats, &error);
	ck_assert(result == FA_COMPACT_COMPLETE || result == FA_COMPACT_PARTIAL);
	ck_assert_int_eq(fa_compact_direct(&zone, 9, FA_MOVABLE, 500, &stats, &error),
			 FA_COMPACT_DEFERRED);
	teardown();
	scatter(50, 0, 3);
	ck_assert_int_eq(fa_compact_direct(&zone, 9, FA_MOVABLE, 500, &stats, &error),
			 FA_COMPACT_SUCCESS);
	ck_assert_uint_ge(n_whole(), 1);
	teardown();
}
END_TEST

START_TEST(proactive_runs_between_its_marks)
{
	ck_assert_uint_eq(fa_compact_score_low(20), 80);
	ck_assert_uint_eq(fa_compact_score_high(20), 90);
	ck_assert_uint_eq(fa_compact_score_low(100), 5);
	ck_assert_uint_eq(fa_compact_score_high(100), 15);
	ck_assert_uint_eq(fa_compact_score_low(1), 99);
	ck_assert_uint_eq(fa_compact_score_high(1), 100);

	scatter(50, 0, 13);

	struct fa_orders orders = fa_buddy_orders(&zone.buddy);

	ck_assert_uint_eq(fa_frag_score(&orders, 9), 100);
	/* The lowest setting wants more than 100 %. */
	ck_assert_int_eq(fa_compact_proactive(&zone, 1, &stats, &error), FA_COMPACT_SKIPPED);
	ck_assert_int_eq(fa_compact_proactive(&zone, 20, &stats, &error), FA_COMPACT_SUCCESS);
	orders = fa_buddy_orders(&zone.buddy);
	ck_assert_uint_le(fa_frag_score(&orders, 9), 80);
	ck_assert_uint_ge(fa_frag_score(&orders, 9), 75); /* and no further */
	ck_assert_int_eq(fa_compact_proactive(&zone, 20, &stats, &error), FA_COMPACT_SKIPPED);
	teardown();
}
END_TEST

START_TEST(a_node_is_the_sum_of_its_zones)
{
	struct fa_orders zones[2] = {{.n = {[0] = 1000}}, {.n = {[10] = 10}}};
	uint64_t present[2] = {1000, 3000};

	/* 1000 * 100 / 4001 + 0 */
	ck_assert_uint_eq(fa_compact_node_score(zones, present, 2), 24);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("compact");
	TCase *tests = tcase_create("compact");

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, everything_movable_goes_up, 0, 4);
	tcase_add_test(tests, what_is_pinned_stays);
	tcase_add_test(tests, a_run_ends_with_what_was_asked_for);
	tcase_add_test(tests, a_budget_is_kept);
	tcase_add_test(tests, async_looks_at_its_own_pageblocks);
	tcase_add_loop_test(tests, large_folios_move_where_the_kernel_moves_them, 0, 2);
	tcase_add_test(tests, a_large_folio_is_split_where_nothing_is_as_large);
	tcase_add_test(tests, suitability_knows_why_memory_is_missing);
	tcase_add_test(tests, failure_defers_the_next_attempts);
	tcase_add_test(tests, direct_compaction_fails_honestly);
	tcase_add_test(tests, proactive_runs_between_its_marks);
	tcase_add_test(tests, a_node_is_the_sum_of_its_zones);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

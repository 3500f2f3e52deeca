/* SPDX-License-Identifier: MIT */
/* Page frames: flags to kinds and runs. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "no_pages.h"

enum {
	LRU = 1 << 5,
	SLAB = 1 << 7,
	BUDDY = 1 << 10,
	MMAP = 1 << 11,
	ANON = 1 << 12,
	HEAD = 1 << 15,
	TAIL = 1 << 16,
	UNEVICTABLE = 1 << 18,
	NOPAGE = 1 << 20,
};

START_TEST(kinds_of_pages)
{
	ck_assert_int_eq(no_page_kind(NOPAGE), FT_NODE_ABSENT);
	ck_assert_int_eq(no_page_kind(BUDDY), FT_NODE_FREE);
	ck_assert_int_eq(no_page_kind(SLAB), FT_NODE_SLAB);
	ck_assert_int_eq(no_page_kind(0), FT_NODE_OTHER);
	ck_assert_int_eq(no_page_kind(LRU), FT_NODE_CACHE);
	ck_assert_int_eq(no_page_kind(LRU | ANON | MMAP), FT_NODE_MOVABLE);
	/* Locked into memory: not dropped, but moved. */
	ck_assert_int_eq(no_page_kind(LRU | UNEVICTABLE), FT_NODE_MOVABLE);
	/* On its way to the LRU. */
	ck_assert_int_eq(no_page_kind(ANON | MMAP), FT_NODE_MOVABLE);
}
END_TEST

START_TEST(runs_add_up_and_compound_pages_stay_whole)
{
	uint64_t flags[64] = {0};
	struct ft_node_run runs[64];
	size_t n, pages = 0;

	for (size_t i = 8; i < 16; i++) /* a folio of 8 pages */
		flags[i] = LRU | (i == 8 ? HEAD : TAIL);
	for (size_t i = 16; i < 40; i++)
		flags[i] = BUDDY;
	n = no_pages_runs(flags, 0, 64, runs);
	ck_assert_uint_eq(n, 4);
	for (size_t i = 0; i < n; i++)
		pages += (size_t)runs[i].n << runs[i].order;
	ck_assert_uint_eq(pages, 64);
	ck_assert_uint_eq(runs[1].kind, FT_NODE_CACHE);
	ck_assert_uint_eq(runs[1].order, 3);
	ck_assert_uint_eq(runs[1].n, 1);
	ck_assert_uint_eq(runs[2].kind, FT_NODE_FREE);
	ck_assert_uint_eq(runs[2].n, 24);
}
END_TEST

START_TEST(a_pageblock_without_any_flag_was_never_handed_out)
{
	static uint64_t flags[1536];
	static struct ft_node_run runs[1536];

	flags[0] = LRU;
	ck_assert_uint_eq(no_pages_runs(flags, 512, 1536, runs), 3);
	ck_assert_uint_eq(runs[1].kind, FT_NODE_OTHER);
	ck_assert_uint_eq(runs[1].n, 511);
	ck_assert_uint_eq(runs[2].kind, FT_NODE_ABSENT);
	ck_assert_uint_eq(runs[2].n, 1024);
}
END_TEST

/* Any flags at all: the runs cover the pages, and free ones are exactly those with the bit. */
START_TEST(any_flags_give_runs)
{
	static uint64_t flags[4096];
	static struct ft_node_run runs[4096];
	uint64_t seed = 5;

	for (unsigned round = 0; round < 50; round++) {
		size_t n, at = 0, wrong = 0;

		for (size_t i = 0; i < 4096; i++) {
			seed = seed * 6364136223846793005U + 1442695040888963407U;
			flags[i] = seed >> 33 & (seed >> 7) & 0x1ffffff;
		}
		n = no_pages_runs(flags, 0, 4096, runs);
		/* One assertion a round: each of them is a message to another process. */
		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; k < (size_t)runs[i].n << runs[i].order; k++, at++)
				wrong += !runs[i].order && runs[i].kind != no_page_kind(flags[at]);
		ck_assert_uint_eq(wrong, 0);
		ck_assert_uint_eq(at, 4096);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node-pages");
	TCase *tests = tcase_create("pages");

	tcase_add_test(tests, kinds_of_pages);
	tcase_add_test(tests, runs_add_up_and_compound_pages_stay_whole);
	tcase_add_test(tests, a_pageblock_without_any_flag_was_never_handed_out);
	tcase_add_test(tests, any_flags_give_runs);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

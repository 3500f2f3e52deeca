/* SPDX-License-Identifier: MIT */
/* The kernel's indices: against published figures, and against the definition. */
#include <check.h>
#include <stdlib.h>

#include "fa_ufi.h"

/* A Normal zone of a busy Linux 6.18 host: /proc/buddyinfo and the debugfs string read after it.
 * The two files cannot be read at one moment: a digit may differ. */
static const struct fa_orders normal_zone = {
	{9454, 11220, 8995, 4206, 1489, 466, 95, 35, 7, 5, 21}};

START_TEST(free_pages_of_a_buddyinfo_line)
{
	/* 9454 + 22440 + 35980 + 33648 + 23824 + 14912 + 6080 + 4480 + 1792 + 2560 + 21504 */
	ck_assert_uint_eq(fa_orders_free_pages(&normal_zone), 176674);
}
END_TEST

START_TEST(unusable_index_of_a_buddyinfo_line)
{
	/* order 1: 9454 of 176674 pages are single; order 10: all but 21 * 1024 are unusable */
	ck_assert_uint_eq(fa_unusable_milli(&normal_zone, 0), 0);
	ck_assert_uint_eq(fa_unusable_milli(&normal_zone, 1), 9454 * 1000 / 176674);
	ck_assert_uint_eq(fa_unusable_milli(&normal_zone, 2), (9454 + 22440) * 1000 / 176674);
	ck_assert_uint_eq(fa_unusable_milli(&normal_zone, 10),
			  (176674 - 21 * 1024) * 1000 / 176674);
	ck_assert_uint_eq(fa_frag_score(&normal_zone, 10), (176674 - 21 * 1024) * 100 / 176674);
	for (unsigned o = 0; o < FA_ORDERS; o++)
		ck_assert_uint_eq(fa_unusable_milli(&normal_zone, o),
				  (unsigned)(fa_uf_index(&normal_zone, o) * 1000 + 1e-9));
}
END_TEST

START_TEST(nothing_free_is_told_apart_as_the_kernel_does)
{
	struct fa_orders none = {{0}};

	ck_assert_uint_eq(fa_unusable_milli(&none, 3), 1000);
	ck_assert_uint_eq(fa_frag_score(&none, 3), 0);
	ck_assert_int_eq(fa_extfrag_milli(&none, 3), 0);
	ck_assert(fa_uf_index(&none, 3) == 0);
}
END_TEST

START_TEST(extfrag_tells_lack_of_memory_from_fragmentation)
{
	struct fa_orders singles = {{100000}}, few = {{4}};

	ck_assert_int_eq(fa_extfrag_milli(&singles, 0), -1000);
	/* 1000 - (1000 + 100000 * 1000 / 1024) / 100000: nearly all is fragmentation */
	ck_assert_int_eq(fa_extfrag_milli(&singles, 10), 1000);
	ck_assert_int_eq(fa_extfrag_milli(&singles, 3), 1000 - (1000 + 12500000) / 100000);
	/* four single pages for a request of 1024: memory is short whatever their order */
	ck_assert_int_eq(fa_extfrag_milli(&few, 10), 1000 - (1000 + 4000 / 1024) / 4);
}
END_TEST

/* The cut as the definition says it: the largest aligned block that fits, from the left. */
static void cut_slowly(struct fa_orders *orders, uint64_t start, uint64_t end)
{
	while (start < end) {
		unsigned order = FA_MAX_ORDER;

		while (order && (start & ((UINT64_C(1) << order) - 1) ||
				 start + (UINT64_C(1) << order) > end))
			order--;
		orders->n[order]++;
		start += UINT64_C(1) << order;
	}
}

START_TEST(a_run_is_cut_as_the_buddy_allocator_holds_it)
{
	srand(1);
	for (int i = 0; i < 20000; i++) {
		uint64_t start = (uint64_t)rand() % 9000;
		uint64_t end = start + (uint64_t)rand() % (i & 1 ? 40 : 9000);
		struct fa_orders fast = {{0}}, slow = {{0}};

		fa_orders_add(&fast, start, end);
		cut_slowly(&slow, start, end);
		for (unsigned o = 0; o < FA_ORDERS; o++)
			ck_assert_uint_eq(fast.n[o], slow.n[o]);
		fa_orders_remove(&fast, start, end);
		ck_assert_uint_eq(fa_orders_free_pages(&fast), 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ufi");
	TCase *tc = tcase_create("ufi");

	tcase_add_test(tc, free_pages_of_a_buddyinfo_line);
	tcase_add_test(tc, unusable_index_of_a_buddyinfo_line);
	tcase_add_test(tc, nothing_free_is_told_apart_as_the_kernel_does);
	tcase_add_test(tc, extfrag_tells_lack_of_memory_from_fragmentation);
	tcase_add_test(tc, a_run_is_cut_as_the_buddy_allocator_holds_it);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

/* SPDX-License-Identifier: MIT */
/* Arena: what rounding and splitting cost, and which request is the first to fail. */
#include <check.h>
#include <stdlib.h>

#include "fa_arena.h"

static struct fa_arena arena;

static void setup(struct fa_arena_options options)
{
	ck_assert_ptr_null(fa_arena_init(&arena, &options));
}

static void born(uint32_t number, uint64_t size)
{
	ck_assert_ptr_null(fa_arena_born(&arena, number, size, number, number * UINT64_C(10)));
}

static void teardown(void)
{
	ck_assert(fa_buddy_check(&arena.buddy));
	fa_arena_deinit(&arena);
}

START_TEST(a_request_takes_a_power_of_two)
{
	setup((struct fa_arena_options){.smallest = 32, .largest = 4096});
	born(1, 0);
	ck_assert_uint_eq(arena.now.rounded, 32);
	born(2, 33);
	ck_assert_uint_eq(arena.now.rounded, 32 + 64);
	born(3, 4096);
	ck_assert_uint_eq(arena.now.rounded, 32 + 64 + 4096);
	ck_assert_uint_eq(arena.now.held, 2 * 4096);
	born(4, 4097); /* too large for it */
	ck_assert_uint_eq(arena.now.n_passed, 1);
	ck_assert_uint_eq(arena.now.passed_by, 4097);
	ck_assert_uint_eq(arena.now.requested, 33 + 4096);
	fa_arena_died(&arena, 4, 4097);
	fa_arena_died(&arena, 3, 4096);
	fa_arena_died(&arena, 77, 1); /* never came */
	ck_assert_uint_eq(arena.now.passed_by, 0);
	ck_assert_uint_eq(arena.now.rounded, 96);
	ck_assert_uint_eq(arena.peak.rounded, 32 + 64 + 4096);
	ck_assert_uint_eq(arena.n_failed, 0);
	teardown();
}
END_TEST

START_TEST(the_first_failure_is_kept)
{
	setup((struct fa_arena_options){.smallest = 64, .fixed = 1024});
	ck_assert_uint_eq(arena.options.largest, 1024);
	for (uint64_t i = 0; i < 16; i++)
		born(i + 1, 64);
	for (uint64_t i = 0; i < 16; i += 2)
		fa_arena_died(&arena, i + 1, 64);
	/* Half of it is free, in pieces of 64. */
	born(100, 65);
	ck_assert(arena.first_failure.happened);
	ck_assert_uint_eq(arena.first_failure.seq, 100);
	ck_assert_uint_eq(arena.first_failure.time_ns, 1000);
	ck_assert_uint_eq(arena.first_failure.order, 1);
	ck_assert_uint_eq(arena.first_failure.free_bytes, 512);
	ck_assert_uint_eq(arena.first_failure.largest_free, 64);
	born(101, 4000); /* more than the arena */
	ck_assert_uint_eq(arena.n_failed, 2);
	ck_assert_uint_eq(arena.failed_bytes, 4065);
	ck_assert_uint_eq(arena.first_failure.seq, 100);
	fa_arena_died(&arena, 101, 4000);
	fa_arena_died(&arena, 2, 64);
	born(102, 128);
	ck_assert_uint_eq(arena.n_failed, 2);
	teardown();
}
END_TEST

START_TEST(a_size_that_is_none_is_said)
{
	struct fa_arena_options bad[] = {
		{.smallest = 33}, {.smallest = 64, .largest = 32}, {.smallest = 64, .fixed = 63}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ft_error *error = fa_arena_init(&arena, &bad[i]);

		ck_assert_ptr_nonnull(error);
		ck_assert_int_eq(error->kind, FT_ERROR_USAGE);
		ft_error_destroy(error);
		fa_arena_deinit(&arena);
	}
}
END_TEST

/* The sums must be those of the blocks that live, whatever came before; and no two may overlap. */
START_TEST(sums_hold_under_churn)
{
	enum { SLOTS = 3000 };
	static uint64_t sizes[SLOTS];
	uint64_t state = 88172645463325252, requested = 0, rounded = 0;

	setup((struct fa_arena_options){.largest = 1 << 16});
	for (unsigned i = 0; i < 200000; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;

		unsigned slot = (unsigned)(state >> 20) % SLOTS;
		uint64_t was = sizes[slot], power = 32;

		if (was) {
			fa_arena_died(&arena, slot, was);
			while (power < was)
				power <<= 1;
			requested -= was;
			rounded -= power;
			sizes[slot] = 0;
			continue;
		}
		sizes[slot] = 1 + (state >> 40) % (1 + ((state >> 8) & 0xffff));
		born(slot, sizes[slot]);
		while (power < sizes[slot])
			power <<= 1;
		requested += sizes[slot];
		rounded += power;
		ck_assert_uint_eq(arena.now.requested, requested);
		ck_assert_uint_eq(arena.now.rounded, rounded);
		ck_assert_uint_le(rounded, arena.now.held);
		ck_assert_uint_eq(arena.buddy.free_pages << 5, arena.now.held - rounded);
	}
	teardown();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("arena");
	TCase *tests = tcase_create("arena");

	tcase_add_test(tests, a_request_takes_a_power_of_two);
	tcase_add_test(tests, the_first_failure_is_kept);
	tcase_add_test(tests, a_size_that_is_none_is_said);
	tcase_add_test(tests, sums_hold_under_churn);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

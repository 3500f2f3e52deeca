/* SPDX-License-Identifier: MIT */
/* Sparse array and pool: against plain memory. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fa_pool.h"
#include "fa_sparse.h"

enum { KEYS = 4000, FAR = 1 << 20 };

/* Keys of four neighbourhoods, so far apart that they share the places of what was found lately. */
static uint64_t key_of(unsigned i)
{
	return (uint64_t)(i % 4) * FAR * FA_SPARSE_LEAF + i;
}

START_TEST(a_sparse_array_keeps_what_is_put)
{
	static struct fa_sparse sparse;
	static uint32_t want[KEYS];

	for (unsigned step = 0; step < 10 * KEYS; step++) {
		unsigned i = (unsigned)rand() % KEYS;

		ck_assert_uint_eq(fa_sparse_get(&sparse, key_of(i)), want[i]);
		if (step % 3)
			continue;

		uint32_t *place = fa_sparse_make(&sparse, key_of(i));

		ck_assert_ptr_nonnull(place);
		ck_assert_uint_eq(*place, want[i]);
		*place = want[i] = 1 + (uint32_t)rand() % 1000;
	}
	ck_assert_uint_eq(fa_sparse_get(&sparse, UINT64_MAX), 0);
	ck_assert_uint_eq(fa_sparse_get(&sparse, UINT64_MAX - FA_SPARSE_LEAF), 0);
	ck_assert_uint_ge(fa_sparse_memory(&sparse), KEYS * sizeof(uint32_t));
	fa_sparse_deinit(&sparse);
}
END_TEST

START_TEST(pieces_of_a_pool_are_zeroed_aligned_and_apart)
{
	enum { PIECES = 300 };
	struct fa_pool pool = {0};
	static unsigned char *pieces[PIECES];
	static size_t sizes[PIECES];

	for (unsigned i = 0; i < PIECES; i++) {
		sizes[i] = i == 250 ? FA_POOL_MAX : 1 + (size_t)rand() % 30000;
		pieces[i] = fa_pool_take(&pool, sizes[i]);
		ck_assert_ptr_nonnull(pieces[i]);
		ck_assert_uint_eq((uintptr_t)pieces[i] % FA_POOL_LINE, 0);

		unsigned char any = 0;

		for (size_t at = 0; at < sizes[i]; at++)
			any |= pieces[i][at];
		ck_assert_uint_eq(any, 0);
		memset(pieces[i], (int)(i % 255) + 1, sizes[i]);
	}
	for (unsigned i = 0; i < PIECES; i++) {
		ck_assert_uint_eq(pieces[i][0], i % 255 + 1);
		ck_assert_uint_eq(pieces[i][sizes[i] - 1], i % 255 + 1);
	}
	fa_pool_deinit(&pool);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sparse");
	TCase *tc = tcase_create("sparse");

	tcase_add_test(tc, a_sparse_array_keeps_what_is_put);
	tcase_add_test(tc, pieces_of_a_pool_are_zeroed_aligned_and_apart);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

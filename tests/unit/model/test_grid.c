/* SPDX-License-Identifier: MIT */
/* Grid: what the picture must show, and that memory is bounded. */
#include <check.h>
#include <stdlib.h>

#include "fa_grid.h"

static struct fa_grid grid;
static struct fa_picture picture;

static void setup(uint32_t columns, size_t granules)
{
	ck_assert_ptr_null(fa_grid_init(&grid, columns, granules));
}

static void teardown(void)
{
	fa_picture_deinit(&picture);
	fa_grid_deinit(&grid);
}

START_TEST(a_row_is_as_bright_as_it_is_full)
{
	setup(3, 1000);
	ck_assert_ptr_null(fa_grid_add(&grid, 0x10000, 0x10800, 1)); /* half of page 0x10 */
	ck_assert_ptr_null(fa_grid_add(&grid, 0x11000, 0x12000, 1));
	ck_assert_ptr_null(fa_grid_add(&grid, 0x12000, 0x12008, 1));
	fa_grid_next_column(&grid);
	fa_grid_remove(&grid, 0x11000, 0x12000);
	fa_grid_next_column(&grid);
	ck_assert_ptr_null(fa_grid_fold(&grid, 256, &picture));
	ck_assert_uint_eq(picture.n_columns, 2); /* the third was not reached */
	ck_assert_uint_eq(picture.n_rows, 3);
	ck_assert_uint_eq(picture.bin_bytes, 4096);
	ck_assert_uint_eq(picture.cells[0], 128);
	ck_assert_uint_eq(picture.cells[1], 255);
	ck_assert_uint_eq(picture.cells[2], 1); /* little is not nothing */
	ck_assert_uint_eq(picture.cells[3 + 1], 0);
	teardown();
}
END_TEST

START_TEST(gaps_are_left_out)
{
	setup(1, 1000);
	ck_assert_ptr_null(fa_grid_add(&grid, 0x10000, 0x12000, 1));
	ck_assert_ptr_null(fa_grid_add(&grid, 0x7f0000000000, 0x7f0000001000, 2));
	fa_grid_next_column(&grid);
	ck_assert_ptr_null(fa_grid_fold(&grid, 256, &picture));
	ck_assert_uint_eq(picture.n_bands, 2);
	ck_assert_uint_eq(picture.n_rows, 3);
	ck_assert_uint_eq(picture.bands[0].start, 0x10000);
	ck_assert_uint_eq(picture.bands[0].end, 0x12000);
	ck_assert_uint_eq(picture.bands[0].tags, 1);
	ck_assert_uint_eq(picture.bands[1].first_row, 2);
	ck_assert_uint_eq(picture.bands[1].n_rows, 1);
	ck_assert_uint_eq(picture.bands[1].tags, 2);
	ck_assert_uint_eq(picture.cells[2], 255);
	teardown();
}
END_TEST

START_TEST(many_rows_are_folded_to_the_limit)
{
	setup(2, 4096);
	for (uint64_t p = 0; p < 4000; p += 2) /* every second page */
		ck_assert_ptr_null(fa_grid_add(&grid, p << 12, (p + 1) << 12, 1));
	fa_grid_next_column(&grid);
	ck_assert_ptr_null(fa_grid_fold(&grid, 256, &picture));
	ck_assert_uint_le(picture.n_rows, 256);
	ck_assert_uint_eq(picture.bin_bytes, 64 << 10);
	ck_assert_uint_eq(picture.n_rows, 250);
	for (unsigned r = 0; r < 250; r++)
		ck_assert_uint_eq(picture.cells[r], 127);
	teardown();
}
END_TEST

START_TEST(coarsening_keeps_live_bytes_and_bounds_memory)
{
	setup(4, 64);
	for (uint64_t p = 0; p < 10000; p++) {
		ck_assert_ptr_null(fa_grid_add(&grid, p << 12, (p + 1) << 12, 1));
		ck_assert_uint_le(grid.n_granules, 64);
		if (p == 100)
			fa_grid_next_column(&grid);
	}
	fa_grid_next_column(&grid);
	for (uint64_t p = 0; p < 10000; p++)
		fa_grid_remove(&grid, p << 12, (p + 1) << 12);
	fa_grid_next_column(&grid);
	ck_assert_ptr_null(fa_grid_fold(&grid, 256, &picture));
	ck_assert_uint_eq(picture.cells[picture.n_rows], 255);
	for (unsigned r = 0; r < picture.n_rows; r++) /* nothing left after the removal */
		ck_assert_uint_eq(picture.cells[2 * picture.n_rows + r], 0);
	ck_assert_uint_gt(picture.cells[0], 0); /* the early column survived */
	ck_assert_uint_eq(picture.cells[picture.n_rows - 1], 0);
	teardown();
}
END_TEST

START_TEST(a_block_larger_than_the_grid_fits)
{
	setup(1, 64);
	ck_assert_ptr_null(fa_grid_add(&grid, 0x1000, UINT64_C(1) << 40, 1));
	ck_assert_uint_le(grid.n_granules, 64);
	fa_grid_next_column(&grid);
	fa_grid_remove(&grid, 0x1000, UINT64_C(1) << 40);
	ck_assert_ptr_null(fa_grid_fold(&grid, 16, &picture));
	ck_assert_uint_le(picture.n_rows, 16);
	ck_assert_uint_eq(picture.cells[1], 255);
	teardown();
}
END_TEST

START_TEST(nothing_gives_no_rows)
{
	setup(4, 64);
	fa_grid_next_column(&grid);
	ck_assert_ptr_null(fa_grid_fold(&grid, 256, &picture));
	ck_assert_uint_eq(picture.n_rows, 0);
	ck_assert_uint_eq(picture.n_bands, 0);
	teardown();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("grid");
	TCase *tc = tcase_create("grid");

	tcase_add_test(tc, a_row_is_as_bright_as_it_is_full);
	tcase_add_test(tc, gaps_are_left_out);
	tcase_add_test(tc, many_rows_are_folded_to_the_limit);
	tcase_add_test(tc, coarsening_keeps_live_bytes_and_bounds_memory);
	tcase_add_test(tc, a_block_larger_than_the_grid_fits);
	tcase_add_test(tc, nothing_gives_no_rows);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

/* SPDX-License-Identifier: MIT */
/* Size classes: against the figures that the allocators' own sources publish. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "fa_sizeclass.h"

static struct fa_size_classes classes;

/* From the comments of src/internal/runtime/gc/sizeclasses.go: objects and tail waste. */
static const struct {
	unsigned size, objects, tail;
} go[] = {
	{8, 1024, 0},	 {48, 170, 32},	  {80, 102, 32},  {112, 73, 16},   {144, 56, 128},
	{208, 39, 80},	 {240, 34, 32},	  {288, 28, 128}, {320, 25, 192},  {416, 19, 288},
	{640, 12, 512},	 {704, 11, 448},  {896, 9, 128},  {1408, 11, 896}, {1792, 9, 256},
	{2688, 3, 128},	 {3200, 5, 384},  {3456, 7, 384}, {4864, 5, 256},  {5376, 3, 256},
	{6528, 5, 128},	 {6784, 6, 256},  {6912, 7, 768}, {9472, 6, 512},  {9728, 5, 512},
	{10880, 3, 128}, {13568, 3, 256}, {18432, 4, 0},  {19072, 3, 128}, {21760, 3, 256},
	{27264, 3, 128}, {28672, 2, 0},	  {32768, 1, 0},
};

START_TEST(go_wastes_what_its_comments_say)
{
	fa_size_classes_init(&classes, FA_SIZES_GO);
	ck_assert_uint_eq(classes.n, 67);
	for (size_t k = 0; k < sizeof(go) / sizeof(go[0]); k++) {
		const struct fa_size_class *class = fa_size_class_of(&classes, go[k].size);

		ck_assert_ptr_nonnull(class);
		ck_assert_uint_eq(class->size, go[k].size);
		ck_assert_uint_eq(class->objects, go[k].objects);
		ck_assert_uint_eq(class->tail, go[k].tail);
	}
	/* "max waste" of 8, 48 and 128 bytes: 87.50 %, 31.52 %, 11.72 %. */
	ck_assert_uint_eq((unsigned)lround(fa_size_class_max_waste(&classes, 0) * 10000), 8750);
	ck_assert_uint_eq((unsigned)lround(fa_size_class_max_waste(&classes, 4) * 10000), 3152);
	ck_assert_uint_eq((unsigned)lround(fa_size_class_max_waste(&classes, 9) * 10000), 1172);
}
END_TEST

START_TEST(jemalloc_has_four_classes_a_doubling)
{
	static const unsigned sizes[] = {8,   16,  32,	48,  64,  80,  96,  112, 128,
					 160, 192, 224, 256, 320, 384, 448, 512, 640};

	fa_size_classes_init(&classes, FA_SIZES_JEMALLOC);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		ck_assert_uint_eq(classes.classes[i].size, sizes[i]);
	ck_assert_uint_eq(classes.n, 36); /* SC_NBINS with 4 KiB pages */
	ck_assert_uint_eq(classes.classes[35].size, 14336);
	ck_assert_uint_eq(fa_size_class_of(&classes, 80)->span, 5 * 4096);
	ck_assert_uint_eq(fa_size_class_of(&classes, 112)->span, 7 * 4096);
	for (size_t i = 0; i < classes.n; i++)
		ck_assert_uint_eq(classes.classes[i].tail, 0);
	ck_assert_ptr_null(fa_size_class_of(&classes, 14337));
}
END_TEST

START_TEST(tcmalloc_loses_an_eighth_at_most)
{
	fa_size_classes_init(&classes, FA_SIZES_TCMALLOC);
	ck_assert_uint_gt(classes.n, 80);
	ck_assert_uint_lt(classes.n, 90);
	ck_assert_uint_eq(fa_size_class_of(&classes, 1)->size, 8);
	ck_assert_uint_eq(fa_size_class_of(&classes, 17)->size, 32);
	ck_assert_uint_eq(classes.classes[classes.n - 1].size, 256 * 1024);
	for (size_t i = 0; i < classes.n; i++)
		ck_assert_uint_le(classes.classes[i].tail, classes.classes[i].span / 8);
}
END_TEST

START_TEST(a_merge_is_counted_in_spans)
{
	uint64_t live[FA_SIZE_CLASSES_MAX] = {0}, spans[FA_SIZE_CLASSES_MAX] = {0};

	fa_size_classes_init(&classes, FA_SIZES_GO);
	/* 144 .. 192: one span each for a single block; one span serves them all. */
	for (size_t i = 10; i <= 13; i++)
		live[i] = spans[i] = 1;
	ck_assert_int_eq(fa_size_class_merge(&classes, 10, 13, live, spans), 3 * 8192);
	/* Full spans of the smallest: the largest class needs more of them. */
	live[10] = 56;
	live[11] = live[12] = live[13] = spans[11] = spans[12] = spans[13] = 0;
	ck_assert_int_eq(fa_size_class_merge(&classes, 10, 13, live, spans), 8192 - 2 * 8192);
}
END_TEST

START_TEST(slub_follows_the_kernel)
{
	struct fa_slub slub = {.page_shift = 12, .cpus = 2, .max_order = 3};

	/* fls(2) = 2: at least 12 objects. kmalloc-96 fills a page to 1/16; 192: 12 fit in a page,
	 * which leaves 64 bytes of 4096... */
	ck_assert_uint_eq(fa_slub_order(&slub, 96), 0);
	ck_assert_uint_eq(fa_slub_order(&slub, 192), 0);
	ck_assert_uint_eq(fa_slub_objects(&slub, 0, 192), 21);
	ck_assert_uint_eq(fa_slub_order(&slub, 1024), 2); /* 12 of them: 16 fit in 4 pages */
	ck_assert_uint_eq(fa_slub_order(&slub, 4096), 3); /* slub_max_order bounds it */
	ck_assert_uint_eq(fa_slub_order(&slub, 8192), 3);
	ck_assert_uint_eq(fa_slub_order(&slub, 65536), 4);
	ck_assert_uint_eq(fa_slub_order(&slub, 0), UINT32_MAX);
	ck_assert_uint_eq(fa_slub_order(&slub, UINT32_MAX), UINT32_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sizeclass");
	TCase *tests = tcase_create("sizeclass");

	tcase_add_test(tests, go_wastes_what_its_comments_say);
	tcase_add_test(tests, jemalloc_has_four_classes_a_doubling);
	tcase_add_test(tests, tcmalloc_loses_an_eighth_at_most);
	tcase_add_test(tests, a_merge_is_counted_in_spans);
	tcase_add_test(tests, slub_follows_the_kernel);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

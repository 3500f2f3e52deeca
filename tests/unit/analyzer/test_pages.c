/* SPDX-License-Identifier: MIT */
/* The pass `pages` on heaps whose pages can be counted by hand. */
#include <check.h>
#include <stdlib.h>

#include "scene.h"

#define MIB UINT64_C(0x100000)

enum { PAGE = 4096, GRANULE = 65536 };

static const char *const passes[] = {"pages", NULL};

static const struct fa_value *moment_at(struct scene *s, size_t index)
{
	const struct fa_value *moments = fa_value_get(scene_section(s, "pages"), "moments");
	const struct fa_value *moment = moments->first;

	while (index-- && moment)
		moment = moment->next;
	ck_assert_ptr_nonnull(moment);
	return moment;
}

static uint8_t byte_at(struct scene *s, const char *column, size_t index)
{
	const struct fa_column *c = scene_column(s, column);

	ck_assert_uint_lt(index, c->n);
	return ((const uint8_t *)c->data)[index];
}

static uint32_t word_at(struct scene *s, const char *column, size_t index)
{
	const struct fa_column *c = scene_column(s, column);

	ck_assert_uint_lt(index, c->n);
	return ((const uint32_t *)c->data)[index];
}

/* A full page of site 0, one with a block of each of sites 1 and 2, and one far away. */
START_TEST(pages_blocks_sites_and_ages)
{
	struct scene s;

	scene_begin(&s);
	s.now_ns = SEC;
	scene_alloc(&s, 16 * MIB + 8, PAGE - 8, 0, 1);
	scene_alloc(&s, 16 * MIB + PAGE + 512, 256, 1, 2);
	scene_alloc(&s, 16 * MIB + PAGE + 2048, 1024, 2, 3);
	scene_alloc(&s, 64 * MIB + 16, 64, 1, 2);
	s.now_ns = 9 * SEC;
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *last = moment_at(&s, 7);
	uint64_t first = fa_value_u64(last, "first_cell");
	const struct fa_value *near = fa_value_get(last, "regions")->first;

	ck_assert_uint_eq(fa_value_u64(last, "cell_bytes"), PAGE);
	ck_assert_uint_eq(fa_value_u64(last, "n_cells"), 2 * GRANULE / PAGE);
	ck_assert_uint_eq(fa_value_u64(near, "start"), 16 * MIB);
	ck_assert_uint_eq(fa_value_u64(near->next, "start"), 64 * MIB);
	ck_assert_uint_eq(fa_value_u64(near->next, "first_cell"), GRANULE / PAGE);
	ck_assert_ptr_null(near->next->next);

	ck_assert_uint_ge(byte_at(&s, "pages.live", first), 254);
	ck_assert_uint_gt(byte_at(&s, "pages.live", first + 1), 255 * 1280 / PAGE - 2);
	ck_assert_uint_lt(byte_at(&s, "pages.live", first + 1), 255 * 1400 / PAGE);
	ck_assert_uint_eq(byte_at(&s, "pages.live", first + 2), 0);
	/* what holds most of it: site 2, thread 3 on the second page */
	const struct fa_value *sites = fa_value_get(scene_section(&s, "pages"), "sites");
	uint8_t rank = byte_at(&s, "pages.site", first + 1);
	const struct fa_value *site = sites->first;

	for (uint8_t i = 1; i < rank; i++)
		site = site->next;
	ck_assert_uint_eq(fa_value_u64(site, "site"), scene_stack(2));
	ck_assert_uint_eq(byte_at(&s, "pages.thread", first + 1), 3);
	ck_assert_uint_eq(byte_at(&s, "pages.site", first + 2), 0);
	ck_assert_uint_eq(byte_at(&s, "pages.age", first + 1), 32); /* 8 s: 2^32.9 ns */

	/* all blocks fit, by address */
	ck_assert_uint_eq(fa_value_u64(last, "n_blocks"), 4);
	ck_assert_uint_eq(fa_value_u64(last, "blocks_left_out"), 0);
	size_t block = fa_value_u64(last, "first_block");

	ck_assert_uint_eq(scene_u64(scene_column(&s, "pages.block_address"), block + 2),
			  16 * MIB + PAGE + 2048);
	ck_assert_uint_eq(scene_u64(scene_column(&s, "pages.block_size"), block + 2), 1024);
	ck_assert_uint_eq(scene_u64(scene_column(&s, "pages.block_born_ns"), block + 2), SEC);
	ck_assert_uint_eq(word_at(&s, "pages.block_site", block + 2), scene_stack(2));
	ck_assert_uint_eq(word_at(&s, "pages.block_thread", block + 2), 3);
	scene_end(&s);
}
END_TEST

/* More than 65536 pages: cells grow until they fit, and the live bytes stay the same. */
START_TEST(a_large_heap_has_larger_cells)
{
	enum { BLOCKS = 6000 };
	struct scene s;

	scene_begin(&s);
	s.now_ns = SEC;
	for (uint64_t i = 0; i < BLOCKS; i++)
		scene_alloc(&s, 256 * MIB + i * GRANULE + 16, GRANULE / 2 - 32, i % 3, 1);
	s.now_ns = 2 * SEC;
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *last = moment_at(&s, 7);
	uint64_t cell = fa_value_u64(last, "cell_bytes"), n = fa_value_u64(last, "n_cells");
	double live = 0;

	ck_assert_uint_eq(cell, 2 * PAGE);
	ck_assert_uint_le(n, 65536);
	ck_assert_uint_ge(n, (uint64_t)BLOCKS * GRANULE / cell);
	for (uint64_t i = 0; i < n; i++)
		live += byte_at(&s, "pages.live", fa_value_u64(last, "first_cell") + i) / 255.0 *
			(double)cell;
	ck_assert_double_ge(live, 0.99 * BLOCKS * GRANULE / 2);
	ck_assert_double_le(live, 1.01 * BLOCKS * GRANULE / 2);
	/* blocks of the emptiest cells alone */
	ck_assert_uint_le(fa_value_u64(last, "n_blocks"), 4096);
	ck_assert_uint_eq(fa_value_u64(last, "n_blocks") + fa_value_u64(last, "blocks_left_out"),
			  BLOCKS);
	scene_end(&s);
}
END_TEST

/* Random blocks, against a count of pages that looks at each byte's page by itself. */
START_TEST(random_heaps_agree_with_a_count_by_page)
{
	enum { PAGES = 512, BLOCKS = 1500 };
	static uint32_t taken[PAGES];
	uint64_t state = (uint64_t)_i * 77 + 1, at = 16 * MIB;
	struct scene s;

	for (size_t i = 0; i < PAGES; i++)
		taken[i] = 0;
	scene_begin(&s);
	s.now_ns = SEC;
	for (size_t i = 0; i < BLOCKS; i++) {
		uint64_t size = 24 + scene_random(&state) % 120 * 16;

		at += 16 + scene_random(&state) % 40 * 16;
		if (at + size + 64 > 16 * MIB + (uint64_t)PAGES * PAGE)
			break;
		scene_alloc(&s, at, size, (uint32_t)(scene_random(&state) % 5), 1);
		at += (size + 15) / 16 * 16 + 16;
	}
	s.now_ns = 2 * SEC;
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_block *block;
	size_t cursor = 0;

	while (fa_engine_next_live(s.engine, &cursor, &block)) {
		uint64_t start, end;

		fa_engine_extent(s.engine, block, &start, &end);
		for (uint64_t byte = start; byte < end; byte++)
			taken[(byte - 16 * MIB) / PAGE]++;
	}

	const struct fa_value *last = moment_at(&s, 7);

	for (const struct fa_value *r = fa_value_get(last, "regions")->first; r; r = r->next)
		for (uint64_t i = 0; i < fa_value_u64(r, "n_cells"); i++) {
			uint64_t page = (fa_value_u64(r, "start") - 16 * MIB) / PAGE + i;
			uint8_t share = byte_at(&s, "pages.live",
						fa_value_u64(last, "first_cell") +
							fa_value_u64(r, "first_cell") + i);
			uint32_t live = page < PAGES ? taken[page] : 0;

			ck_assert_uint_eq(share, live && live * 255 < PAGE ? 1 : live * 255 / PAGE);
		}
	scene_end(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pages");
	TCase *tcase = tcase_create("pages");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, pages_blocks_sites_and_ages);
	tcase_add_test(tcase, a_large_heap_has_larger_cells);
	tcase_add_loop_test(tcase, random_heaps_agree_with_a_count_by_page, 0, 8);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/*
 * Holes: hand-made heaps, and random ones against a sorted list of blocks
 *
 * The reference keeps a byte for 8 bytes of the heap and a flag for each 64 KiB that was ever in
 * use; it walks all of it for each comparison.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fa_holes.h"

static void add(struct fa_holes *holes, uint64_t start, uint64_t end)
{
	bool refused;

	ck_assert_ptr_null(fa_holes_add(holes, start, end, 0, &refused));
	ck_assert(!refused);
}

START_TEST(a_freed_block_between_two_is_one_hole)
{
	struct fa_holes holes;
	uint64_t cursor = 0, start, end;

	fa_holes_init(&holes, 8);
	add(&holes, 0x5008, 0x5028);
	add(&holes, 0x5028, 0x5128);
	add(&holes, 0x5128, 0x5148);
	ck_assert_uint_eq(fa_holes_totals(&holes)->n_holes, 0);
	fa_holes_remove(&holes, 0x5028, 0x5128);
	ck_assert_uint_eq(fa_holes_totals(&holes)->n_holes, 1);
	ck_assert_uint_eq(fa_holes_totals(&holes)->hole_bytes, 256);
	ck_assert_uint_eq(fa_holes_totals(&holes)->bin_holes[fa_hole_bin(256)], 1);
	ck_assert_uint_eq(fa_holes_largest(&holes), 256);
	ck_assert(fa_holes_next(&holes, &cursor, &start, &end));
	ck_assert_uint_eq(start, 0x5028);
	ck_assert_uint_eq(end, 0x5128);
	ck_assert(!fa_holes_next(&holes, &cursor, &start, &end));
	/* Neighbours die: the hole is at the edge of the heap now, and no hole. */
	fa_holes_remove(&holes, 0x5128, 0x5148);
	ck_assert_uint_eq(fa_holes_totals(&holes)->n_holes, 0);
	ck_assert_uint_eq(fa_holes_largest(&holes), 0);
	fa_holes_deinit(&holes);
}
END_TEST

/* 4 MiB of blocks; every fourth page-sized block freed: a quarter is holes, all of order 0. */
START_TEST(scattered_quarter_is_unusable_above_order_0)
{
	struct fa_holes holes;

	fa_holes_init(&holes, 0);
	for (uint64_t p = 0; p < 1025; p++)
		add(&holes, 0x400000 + p * 4096, 0x400000 + (p + 1) * 4096);
	for (uint64_t p = 1; p < 1025; p += 4)
		fa_holes_remove(&holes, 0x400000 + p * 4096, 0x400000 + (p + 1) * 4096);
	ck_assert_uint_eq(fa_holes_totals(&holes)->hole_bytes, 1 << 20);
	ck_assert_uint_eq(fa_holes_totals(&holes)->free_pages, 256);
	ck_assert_uint_eq(fa_holes_totals(&holes)->orders.n[0], 256);
	ck_assert(fa_uf_index(&fa_holes_totals(&holes)->orders, 0) == 0);
	ck_assert(fa_uf_index(&fa_holes_totals(&holes)->orders, 1) == 1);
	fa_holes_deinit(&holes);
}
END_TEST

/* The same quarter in one piece serves every request up to its size. */
START_TEST(clustered_quarter_is_usable)
{
	struct fa_holes holes;

	fa_holes_init(&holes, 0);
	for (uint64_t p = 0; p < 1025; p++)
		add(&holes, 0x400000 + p * 4096, 0x400000 + (p + 1) * 4096);
	for (uint64_t p = 256; p < 512; p++)
		fa_holes_remove(&holes, 0x400000 + p * 4096, 0x400000 + (p + 1) * 4096);
	ck_assert_uint_eq(fa_holes_totals(&holes)->hole_bytes, 1 << 20);
	ck_assert_uint_eq(fa_holes_totals(&holes)->n_holes, 1);
	ck_assert_uint_eq(fa_holes_totals(&holes)->orders.n[8], 1);
	ck_assert(fa_uf_index(&fa_holes_totals(&holes)->orders, 8) == 0);
	ck_assert(fa_uf_index(&fa_holes_totals(&holes)->orders, 9) == 1);
	ck_assert_uint_eq(fa_holes_largest(&holes), 1 << 20);
	fa_holes_deinit(&holes);
}
END_TEST

/* glibc keeps the header of a free chunk, and returns only what lies on whole pages beyond it. */
START_TEST(trim_spares_the_page_of_the_chunk_header)
{
	struct fa_holes holes;

	fa_holes_init(&holes, 8);
	add(&holes, 0x10008, 0x20008);
	add(&holes, 0x20008, 0x23008); /* chunk at 0x20000 */
	add(&holes, 0x23008, 0x23028);
	fa_holes_remove(&holes, 0x20008, 0x23008);
	/* [0x20030, 0x23000): pages 0x21 and 0x22; page 0x20 keeps the header. */
	ck_assert_uint_eq(fa_holes_totals(&holes)->trim_pages, 2);
	/* Free pages: 0x21, 0x22 as well; the hole ends 8 bytes into 0x23. */
	ck_assert_uint_eq(fa_holes_totals(&holes)->free_pages, 2);
	fa_holes_deinit(&holes);
}
END_TEST

START_TEST(space_never_used_is_no_hole)
{
	struct fa_holes holes;

	fa_holes_init(&holes, 8);
	add(&holes, 0x100008, 0x100028);
	add(&holes, 0x7f0000000018, 0x7f0000000038);
	ck_assert_uint_eq(fa_holes_totals(&holes)->n_holes, 0);
	ck_assert_uint_eq(holes.regions.n, 2);
	/* Half a MiB apart, and what is between was in use once. */
	add(&holes, 0x180008, 0x180028);
	ck_assert_uint_eq(fa_holes_totals(&holes)->n_holes, 0);
	add(&holes, 0x100028, 0x180008);
	fa_holes_remove(&holes, 0x100028, 0x180008);
	ck_assert_uint_eq(fa_holes_totals(&holes)->n_holes, 1);
	ck_assert_uint_eq(fa_holes_totals(&holes)->hole_bytes, 0x180008 - 0x100028);
	ck_assert_uint_eq(holes.regions.n, 2);
	fa_holes_deinit(&holes);
}
END_TEST

START_TEST(overlapping_blocks_are_refused)
{
	struct fa_holes holes;
	bool refused;
	const uint64_t bad[][2] = {
		{0x10008, 0x10018}, /* start of a large block */
		{0x50000, 0x50010}, /* its interior */
		{0x8fff8, 0x90010}, /* its end */
		{0xfff8, 0x10010},  /* into its start */
		{0x8000, 0x100000}, /* around it */
		{0x90000, 0x90000}, /* nothing */
		{0xa0004, 0xa0010}, /* crooked */
	};

	fa_holes_init(&holes, 8);
	add(&holes, 0x10008, 0x90008);
	add(&holes, 0x90028, 0x90048);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_ptr_null(fa_holes_add(&holes, bad[i][0], bad[i][1], 0, &refused));
		ck_assert_msg(refused, "block %zu", i);
	}
	ck_assert_uint_eq(fa_holes_totals(&holes)->n_holes, 1);
	ck_assert_uint_eq(fa_holes_totals(&holes)->hole_bytes, 32);
	fa_holes_deinit(&holes);
}
END_TEST

/* ---- against brute force -----------------------------------------------------------------------
 */

enum { GRAINS = 1 << 17, BLOCKS = GRAINS / 40 };

struct reference {
	uint8_t live[GRAINS];	     /* 8 bytes each */
	uint8_t ever[GRAINS / 8192]; /* 64 KiB each */
	uint64_t base;
	size_t n_grains; /* of GRAINS */
};

/* Holes with whole pages, one by one, are those that all holes have. */
static void large_check(const struct fa_holes *holes)
{
	uint64_t cursor = 0, large = 0, start, end, from, to;

	while (fa_holes_next(holes, &cursor, &start, &end)) {
		if ((start + 4095) / 4096 >= end / 4096)
			continue;
		ck_assert(fa_holes_next_large(holes, &large, &from, &to));
		ck_assert_uint_eq(from, start);
		ck_assert_uint_eq(to, end);
	}
	ck_assert(!fa_holes_next_large(holes, &large, &from, &to));
}

static void reference_check(const struct reference *ref, struct fa_holes *holes)
{
	struct fa_hole_totals want = {0};
	uint64_t largest = 0, cursor = 0, start, end;
	size_t last = SIZE_MAX; /* last live grain */

	for (size_t g = 0; g < ref->n_grains; g++) {
		if (!ref->live[g])
			continue;

		bool connected = last != SIZE_MAX && g > last + 1;

		for (size_t c = last / 8192; connected && c <= g / 8192; c++)
			connected = ref->ever[c];
		if (connected) {
			uint64_t from = ref->base + (last + 1) * 8, to = ref->base + g * 8;
			unsigned bin = fa_hole_bin(to - from);

			want.n_holes++;
			want.hole_bytes += to - from;
			want.bin_holes[bin]++;
			want.bin_bytes[bin] += to - from;
			if ((from + 4095) / 4096 < to / 4096) {
				want.free_pages += to / 4096 - (from + 4095) / 4096;
				fa_orders_add(&want.orders, (from + 4095) / 4096, to / 4096);
			}
			if ((from + 40 + 4095) / 4096 < (to - 8) / 4096)
				want.trim_pages += (to - 8) / 4096 - (from + 40 + 4095) / 4096;
			largest = to - from > largest ? to - from : largest;
			ck_assert(fa_holes_next(holes, &cursor, &start, &end));
			ck_assert_uint_eq(start, from);
			ck_assert_uint_eq(end, to);
		}
		last = g;
	}
	ck_assert(!fa_holes_next(holes, &cursor, &start, &end));
	large_check(holes);
	ck_assert_mem_eq(&want, fa_holes_totals(holes), sizeof(want));
	ck_assert_uint_eq(fa_holes_largest(holes), largest);
}

static void random_heap(unsigned phase, unsigned grain, unsigned max_grains, unsigned events,
			unsigned check_each, uint64_t base, size_t n_grains)
{
	static struct reference ref;
	static struct {
		size_t from, to;
	} blocks[BLOCKS];
	struct fa_holes holes;

	memset(&ref, 0, sizeof(ref));
	memset(blocks, 0, sizeof(blocks));
	ref.base = base;
	ref.n_grains = n_grains;
	fa_holes_init(&holes, phase);
	for (unsigned e = 0; e < events; e++) {
		unsigned b = (unsigned)rand() % (unsigned)(n_grains / 40);
		bool refused, taken = false;

		/* Births prevail first, then deaths, then again. */
		if (blocks[b].to) {
			if (e / 2000 % 2 == 0 && rand() % 4)
				continue;
			fa_holes_remove(&holes, base + blocks[b].from * 8, base + blocks[b].to * 8);
			memset(ref.live + blocks[b].from, 0, blocks[b].to - blocks[b].from);
			blocks[b].to = 0;
		} else {
			size_t n = 1 + (size_t)rand() % (e % 64 ? max_grains : n_grains / 6);
			size_t from = (size_t)rand() % (n_grains - n - 2);

			n = (n + grain - 1) / grain * grain;
			from -= from % grain;
			from += phase && grain > 1; /* 8 above a multiple of 16 */
			for (size_t g = from; g < from + n; g++)
				taken |= ref.live[g];
			ck_assert_ptr_null(fa_holes_add(&holes, base + from * 8,
							base + (from + n) * 8, 0, &refused));
			ck_assert_int_eq(refused, taken);
			if (!refused) {
				memset(ref.live + from, 1, n);
				for (size_t g = from; g < from + n; g++)
					ref.ever[g / 8192] = 1;
				blocks[b].from = from;
				blocks[b].to = from + n;
			}
		}
		if (e % check_each == 0)
			reference_check(&ref, &holes);
	}
	for (unsigned b = 0; b < BLOCKS; b++)
		if (blocks[b].to)
			fa_holes_remove(&holes, base + blocks[b].from * 8, base + blocks[b].to * 8);
	memset(ref.live, 0, sizeof(ref.live));
	reference_check(&ref, &holes);
	fa_holes_deinit(&holes);
}

START_TEST(equals_brute_force_as_glibc_places_blocks)
{
	srand(5);
	random_heap(8, 2, 60, 12000, 1, 0x555555550000, GRAINS / 8);
}
END_TEST

START_TEST(equals_brute_force_with_blocks_of_8_bytes)
{
	srand(6);
	random_heap(0, 1, 40, 10000, 2, 0x7f00003f0000, GRAINS / 8);
}
END_TEST

START_TEST(equals_brute_force_with_large_blocks)
{
	srand(7);
	random_heap(8, 2, 3000, 40000, 50, 0xffff0000, GRAINS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("holes");
	TCase *tc = tcase_create("holes");

	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, a_freed_block_between_two_is_one_hole);
	tcase_add_test(tc, scattered_quarter_is_unusable_above_order_0);
	tcase_add_test(tc, clustered_quarter_is_usable);
	tcase_add_test(tc, trim_spares_the_page_of_the_chunk_header);
	tcase_add_test(tc, space_never_used_is_no_hole);
	tcase_add_test(tc, overlapping_blocks_are_refused);
	tcase_add_test(tc, equals_brute_force_as_glibc_places_blocks);
	tcase_add_test(tc, equals_brute_force_with_blocks_of_8_bytes);
	tcase_add_test(tc, equals_brute_force_with_large_blocks);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

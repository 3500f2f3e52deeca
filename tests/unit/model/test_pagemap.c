/* SPDX-License-Identifier: MIT */
/*
 * Page map: hand-made heaps, and a random one against a map that is recomputed from its blocks
 *
 * The reference knows nothing of edges and interiors: it spreads every block over every page it
 * touches, byte for byte.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fa_holes.h"
#include "fa_pagemap.h"

static void add(struct fa_pagemap *map, uint64_t start, uint64_t end, uint32_t site)
{
	bool refused;

	ck_assert_ptr_null(fa_pagemap_add(map, start, end, site, &refused));
	ck_assert(!refused);
}

START_TEST(half_a_page_pins_the_other_half)
{
	struct fa_pagemap map;

	fa_pagemap_init(&map, FA_PAGE_SHIFT, true);
	add(&map, 0x10000, 0x10800, 7);
	ck_assert_uint_eq(map.totals.live_pages, 1);
	ck_assert_uint_eq(map.totals.pinned_free_bytes, 2048);
	ck_assert_uint_eq(map.totals.occupancy[6], 1); /* 50 % is in [50, 60) */

	struct fa_pin pins[8] = {{0}};

	fa_pagemap_pins(&map, pins, 8);
	ck_assert_uint_eq(pins[7].sole, 2048);
	ck_assert_uint_eq(pins[7].pages_sole, 1);
	fa_pagemap_remove(&map, 0x10000, 0x10800, 7);
	ck_assert_uint_eq(map.totals.live_pages, 0);
	ck_assert_uint_eq(map.totals.pinned_free_bytes, 0);
	fa_pagemap_deinit(&map);
}
END_TEST

START_TEST(two_sites_on_a_page_share_what_neither_can_free_alone)
{
	struct fa_pagemap map;
	struct fa_pin pins[3] = {{0}};

	fa_pagemap_init(&map, FA_PAGE_SHIFT, true);
	add(&map, 0x1000, 0x1010, 1); /* page 1: site 1 and 2 */
	add(&map, 0x1800, 0x1820, 2);
	add(&map, 0x2000, 0x2030, 2); /* page 2: site 2 alone */
	fa_pagemap_pins(&map, pins, 3);

	ck_assert_uint_eq(map.totals.pinned_free_bytes, (4096 - 48) + (4096 - 48));
	ck_assert_uint_eq(pins[1].sole, 0);
	ck_assert_uint_eq(pins[1].any, 4048);
	ck_assert(pins[1].shapley == 2024);
	ck_assert_uint_eq(pins[2].sole, 4048);
	ck_assert_uint_eq(pins[2].any, 8096);
	ck_assert(pins[2].shapley == 4048 + 2024);
	fa_pagemap_deinit(&map);
}
END_TEST

START_TEST(interior_pages_need_no_records)
{
	struct fa_pagemap map;
	struct fa_pin pins[2] = {{0}};
	const uint64_t start = 0x700000000ff8, end = start + (UINT64_C(1) << 40);

	fa_pagemap_init(&map, FA_PAGE_SHIFT, true);
	add(&map, start, end, 1); /* 1 TiB */
	ck_assert_uint_eq(map.totals.live_pages, (UINT64_C(1) << 28) + 1);
	/* 8 bytes of the first page, all but 8 of the last */
	ck_assert_uint_eq(map.totals.occupancy[1], 1);
	ck_assert_uint_eq(map.totals.occupancy[10], UINT64_C(1) << 28);
	ck_assert_uint_eq(map.totals.pinned_free_bytes, 4096);
	ck_assert_uint_lt(fa_pagemap_memory(&map), 1 << 20);

	struct fa_page_totals huge;
	struct fa_pin huge_pins[2] = {{0}};

	ck_assert_ptr_null(fa_pagemap_coarse(&map, FA_HUGE_SHIFT, &huge, huge_pins, 2));
	ck_assert_uint_eq(huge.live_pages, (UINT64_C(1) << 19) + 1);
	ck_assert_uint_eq(huge_pins[1].pages_sole, huge.live_pages);
	ck_assert_uint_eq(huge.live_bytes, UINT64_C(1) << 40);
	fa_pagemap_pins(&map, pins, 2);
	ck_assert_uint_eq(pins[1].pages_sole, (UINT64_C(1) << 28) + 1);
	ck_assert(fa_pagemap_check(&map));
	fa_pagemap_remove(&map, start, end, 1);
	ck_assert_uint_eq(map.totals.live_pages, 0);
	fa_pagemap_deinit(&map);
}
END_TEST

START_TEST(a_quarter_of_each_page_free)
{
	struct fa_pagemap map;

	fa_pagemap_init(&map, FA_PAGE_SHIFT, true);
	for (uint64_t p = 0; p < 1000; p++)
		for (uint64_t b = 0; b < 3; b++)
			add(&map, p * 4096 + b * 1024, p * 4096 + (b + 1) * 1024, 1);
	ck_assert_uint_eq(map.totals.pinned_free_bytes, 1000 * 1024);
	ck_assert_uint_eq(map.totals.occupancy[8], 1000); /* 75 % */
	fa_pagemap_deinit(&map);
}
END_TEST

static void count_view(void *ctx, const struct fa_page_view *page)
{
	struct fa_page_view *sum = ctx;

	sum->live += page->live;
	sum->free_bytes += page->free_bytes;
	for (uint32_t i = 0; i < page->n_sites; i++) {
		sum->sites[page->sites[i].site].bytes += page->sites[i].bytes;
		sum->sites[page->sites[i].site].blocks += page->sites[i].blocks;
	}
}

START_TEST(a_page_knows_its_sites_and_how_many_blocks_they_have)
{
	struct fa_pagemap map;
	struct fa_page_share by_site[40] = {{0}};
	struct fa_page_view sum = {.sites = by_site};

	fa_pagemap_init(&map, FA_PAGE_SHIFT, true);
	for (uint32_t b = 0; b < 512; b++)
		add(&map, 0x1000 + b * 8, 0x1008 + b * 8, b % 40);
	add(&map, 0x2ff8, 0x3008, 39); /* two pages, one byte count each */
	fa_pagemap_remove(&map, 0x1000, 0x1008, 0);
	fa_pagemap_visit(&map, count_view, &sum);
	ck_assert_uint_eq(sum.live, 4096 - 8 + 16);
	ck_assert_uint_eq(sum.free_bytes, 8 + 4088 + 4088);
	ck_assert_uint_eq(by_site[0].blocks, 12);
	ck_assert_uint_eq(by_site[0].bytes, 12 * 8);
	ck_assert_uint_eq(by_site[1].blocks, 13);
	ck_assert_uint_eq(by_site[39].blocks, 12 + 2);
	fa_pagemap_deinit(&map);
}
END_TEST

START_TEST(a_full_page_refuses_more)
{
	struct fa_pagemap map;
	struct fa_page_totals before;
	bool refused;

	fa_pagemap_init(&map, FA_PAGE_SHIFT, true);
	add(&map, 0x1000, 0x3800, 1);
	before = map.totals;
	ck_assert_ptr_null(fa_pagemap_add(&map, 0x1ff0, 0x2000, 2, &refused));
	ck_assert(refused);
	ck_assert_ptr_null(fa_pagemap_add(&map, 0x2000, 0x3900, 2, &refused));
	ck_assert(refused);
	ck_assert_mem_eq(&before, &map.totals, sizeof(before));
	ck_assert(fa_pagemap_check(&map));
	fa_pagemap_deinit(&map);
}
END_TEST

/* ---- against brute force -----------------------------------------------------------------------
 */

enum { SLOTS = 4096, SITES = 9, EVENTS = 120000, CHECK_EACH = 10 };

struct block {
	uint64_t start, end; /* end 0: not live */
	uint32_t site;
};

/* Blocks live in slots of their own, so that they never overlap: 64 KiB for most, a few large. */
static uint64_t slot_start(unsigned slot, unsigned spread)
{
	return UINT64_C(0x555500000000) + (uint64_t)slot * spread;
}

static void brute(const struct block *blocks, unsigned shift, struct fa_page_totals *totals,
		  uint64_t sole[SITES], uint64_t any[SITES], uint64_t shapley_2520[SITES],
		  uint64_t pages_sole[SITES], uint64_t n_pages, uint64_t base)
{
	static uint32_t live[1 << 16], by_site[1 << 16][SITES];
	uint64_t page_bytes = UINT64_C(1) << shift;

	ck_assert_uint_le(n_pages, 1 << 16);
	memset(live, 0, n_pages * sizeof(*live));
	memset(by_site, 0, n_pages * sizeof(*by_site));
	*totals = (struct fa_page_totals){0};
	for (unsigned s = 0; s < SLOTS; s++) {
		if (!blocks[s].end)
			continue;
		totals->live_bytes += blocks[s].end - blocks[s].start;
		for (uint64_t at = blocks[s].start; at < blocks[s].end;) {
			uint64_t page = at / page_bytes, stop = (page + 1) * page_bytes;

			if (stop > blocks[s].end)
				stop = blocks[s].end;
			live[page - base / page_bytes] += (uint32_t)(stop - at);
			by_site[page - base / page_bytes][blocks[s].site] += (uint32_t)(stop - at);
			at = stop;
		}
	}
	for (unsigned s = 0; s < SITES; s++)
		sole[s] = any[s] = shapley_2520[s] = pages_sole[s] = 0;
	for (uint64_t p = 0; p < n_pages; p++) {
		unsigned n = 0;
		uint64_t free_bytes = page_bytes - live[p];

		if (!live[p])
			continue;
		totals->live_pages++;
		totals->pinned_free_bytes += free_bytes;
		totals->occupancy[live[p] == page_bytes
					  ? 10
					  : 1 + live[p] * UINT64_C(10) / page_bytes]++;
		for (unsigned s = 0; s < SITES; s++)
			n += by_site[p][s] > 0;
		for (unsigned s = 0; s < SITES; s++) {
			if (!by_site[p][s])
				continue;
			any[s] += free_bytes;
			shapley_2520[s] += free_bytes * (2520 / n); /* 2520 = lcm(1..10) */
			sole[s] += n == 1 ? free_bytes : 0;
			pages_sole[s] += n == 1;
		}
	}
}

/* What the map says against what the blocks say, seen in pages of 2^shift bytes. */
static void compare_pages(const struct block *blocks, unsigned shift,
			  const struct fa_page_totals *totals, const struct fa_pin pins[SITES],
			  uint64_t n_pages, uint64_t base)
{
	struct fa_page_totals want;
	uint64_t sole[SITES], any[SITES], shapley[SITES], pages_sole[SITES], sum = 0, whole = 0;

	brute(blocks, shift, &want, sole, any, shapley, pages_sole, n_pages, base);
	ck_assert_mem_eq(&want, totals, sizeof(want));
	for (unsigned s = 0; s < SITES; s++) {
		ck_assert_uint_eq(pins[s].sole, sole[s]);
		ck_assert_uint_eq(pins[s].any, any[s]);
		ck_assert_uint_eq(pins[s].pages_sole, pages_sole[s]);
		/* A page's bytes that do not divide: less than one for each of its sites. */
		ck_assert(fabs((double)pins[s].shapley - (double)shapley[s] / 2520) <=
			  (double)(SITES - 1) * (double)pins[s].pages_any);
		ck_assert_uint_le(pins[s].sole, pins[s].shapley);
		ck_assert_uint_le(pins[s].shapley, pins[s].any);
		sum += shapley[s];
		whole += pins[s].shapley;
	}
	/* The shares add up exactly, in units of 1/2520 byte as in bytes. */
	ck_assert_uint_eq(sum, totals->pinned_free_bytes * 2520);
	ck_assert_uint_eq(whole, totals->pinned_free_bytes);
}

/* At the map's own page size, and the same map seen in huge pages. */
static void compare(const struct fa_pagemap *map, const struct block *blocks, uint64_t n_pages,
		    uint64_t base)
{
	struct fa_pin pins[SITES] = {{0}}, huge_pins[SITES] = {{0}};
	struct fa_page_totals huge;
	const uint64_t huge_bytes = UINT64_C(1) << FA_HUGE_SHIFT;

	fa_pagemap_pins(map, pins, SITES);
	compare_pages(blocks, map->shift, &map->totals, pins, n_pages, base);
	if (map->shift == FA_HUGE_SHIFT)
		return;
	ck_assert_ptr_null(fa_pagemap_coarse(map, FA_HUGE_SHIFT, &huge, huge_pins, SITES));
	compare_pages(blocks, FA_HUGE_SHIFT, &huge, huge_pins,
		      (n_pages << map->shift) / huge_bytes + 2, base & ~(huge_bytes - 1));

	struct fa_page_totals alone;

	ck_assert_ptr_null(fa_pagemap_coarse(map, FA_HUGE_SHIFT, &alone, NULL, 0));
	ck_assert_mem_eq(&alone, &huge, sizeof(huge));
}

/* What is left of a page's bytes goes to one of its sites, whichever way the page came about. */
START_TEST(shares_do_not_depend_on_what_pages_went_through)
{
	enum { BLOCKS = 4000, PAGES = 256, PER_PAGE = 32 };
	struct fa_pin pins[2][SITES] = {{{0}}}, huge[2][SITES] = {{{0}}};
	uint64_t with_rest = 0;

	for (unsigned way = 0; way < 2; way++) {
		struct fa_pagemap map;
		struct fa_page_totals totals;

		fa_pagemap_init(&map, FA_PAGE_SHIFT, true);
		for (unsigned i = 0; i < BLOCKS; i++) {
			unsigned at = way ? BLOCKS - 1 - i : i,
				 slot = at * 7919 % (PAGES * PER_PAGE);
			uint64_t start = UINT64_C(0x10000000) + slot * UINT64_C(128);

			/* The other way round, and with one that does not stay. */
			if (way)
				add(&map, start, start + 16, (at + 1) % SITES);
			add(&map, start + 16, start + 48, at * 31 % SITES);
			if (way)
				fa_pagemap_remove(&map, start, start + 16, (at + 1) % SITES);
		}
		fa_pagemap_pins(&map, pins[way], SITES);
		ck_assert_ptr_null(
			fa_pagemap_coarse(&map, FA_HUGE_SHIFT, &totals, huge[way], SITES));
		fa_pagemap_deinit(&map);
	}
	ck_assert_mem_eq(pins[0], pins[1], sizeof(pins[0]));
	ck_assert_mem_eq(huge[0], huge[1], sizeof(huge[0]));
	for (unsigned s = 0; s < SITES; s++)
		with_rest += pins[0][s].shapley % SITES;
	ck_assert_uint_gt(with_rest, 0);
}
END_TEST

/* ---- residency, against brute force ------------------------------------------------------------
 */

static void compare_residency(struct fa_pagemap *map, const struct block *blocks, uint64_t n_pages,
			      uint64_t base)
{
	static uint32_t live[1 << 16];
	static uint8_t state[1 << 16]; /* 0 absent, 1 resident, 2 swapped, 4 not looked at */
	struct fa_residency residency = {0};
	struct fa_pin pins[SITES] = {{0}};
	uint64_t pinned = 0, absent = 0, absent_bytes = 0, resident = 0, live_pages = 0, sum = 0;

	memset(live, 0, n_pages * sizeof(*live));
	for (unsigned s = 0; s < SLOTS; s++)
		for (uint64_t at = blocks[s].start; at < blocks[s].end;) {
			uint64_t stop = (at & -UINT64_C(4096)) + 4096;

			stop = stop < blocks[s].end ? stop : blocks[s].end;
			live[(at - base) >> 12] += (uint32_t)(stop - at);
			at = stop;
		}
	for (uint64_t p = 0, n; p < n_pages; p += n) {
		uint8_t which = "\0\1\1\2\3\4"[rand() % 6];

		n = 1 + (uint64_t)rand() % 40;
		if (n > n_pages - p)
			n = n_pages - p;
		memset(state + p, which, n);
		if (which != 4)
			ck_assert_ptr_null(
				fa_residency_add(&residency, (base >> 12) + p, n, which));
	}
	for (uint64_t p = 0; p < n_pages; p++) {
		bool is_resident = state[p] & 1, is_absent = !is_resident && state[p] != 4;

		live_pages += live[p] > 0;
		resident += live[p] && is_resident;
		absent += live[p] && is_absent;
		absent_bytes += is_absent ? live[p] : 0;
		pinned += live[p] && !is_absent ? 4096 - live[p] : 0;
	}
	ck_assert_uint_eq(fa_pagemap_set_residency(map, &residency), resident);
	ck_assert_uint_eq(map->totals.live_pages, live_pages);
	ck_assert_uint_eq(map->totals.absent_pages, absent);
	ck_assert_uint_eq(map->totals.absent_live_bytes, absent_bytes);
	ck_assert_uint_eq(map->totals.pinned_free_bytes, pinned);
	ck_assert_uint_eq(fa_pagemap_count_resident(map, &residency), resident);
	ck_assert(fa_pagemap_check(map));
	fa_pagemap_pins(map, pins, SITES);
	for (unsigned s = 0; s < SITES; s++)
		sum += pins[s].shapley;
	ck_assert_uint_eq(sum, pinned);

	/* Nothing known: as if it had not been. */
	fa_residency_clear(&residency);
	fa_pagemap_set_residency(map, &residency);
	ck_assert_uint_eq(map->totals.absent_pages, 0);
	ck_assert_uint_eq(map->totals.absent_live_bytes, 0);
	fa_residency_deinit(&residency);
}

static void random_heap(unsigned shift, unsigned spread, unsigned n_slots, uint64_t max_size,
			unsigned events, unsigned check_each)
{
	static struct block blocks[SLOTS];
	struct fa_pagemap map;
	uint64_t base = slot_start(0, spread) & ~((UINT64_C(1) << shift) - 1);
	uint64_t n_pages = ((uint64_t)n_slots * spread >> shift) + 2;

	memset(blocks, 0, sizeof(blocks));
	fa_pagemap_init(&map, shift, true);
	for (unsigned e = 0; e < events; e++) {
		struct block *block = &blocks[(unsigned)rand() % n_slots];

		if (block->end) {
			fa_pagemap_remove(&map, block->start, block->end, block->site);
			block->end = 0;
		} else {
			uint64_t offset = (uint64_t)rand() % (spread - 8) & ~UINT64_C(7);
			uint64_t room = spread - offset;
			uint64_t size =
				8 + ((uint64_t)rand() %
					     (e % 16 ? (max_size < room ? max_size : room) : room) &
				     ~UINT64_C(7));

			if (size > room)
				size = room;
			block->start = slot_start((unsigned)(block - blocks), spread) + offset;
			block->end = block->start + size;
			block->site = (uint32_t)rand() % SITES;
			add(&map, block->start, block->end, block->site);
		}
		if (e % check_each == 0)
			compare(&map, blocks, n_pages, base);
		if (shift == FA_PAGE_SHIFT && e % (16 * check_each) == 0)
			compare_residency(&map, blocks, n_pages, base);
	}
	ck_assert(fa_pagemap_check(&map));
	/* Down to nothing: nothing may be left over. */
	for (unsigned s = 0; s < n_slots; s++)
		if (blocks[s].end)
			fa_pagemap_remove(&map, blocks[s].start, blocks[s].end, blocks[s].site);
	memset(blocks, 0, sizeof(blocks));
	compare(&map, blocks, n_pages, base);
	fa_pagemap_deinit(&map);
}

/* Small blocks, up to 25 on a page, so that pages spill and come back. 10 000 prefixes. */
START_TEST(equals_brute_force_on_crowded_pages)
{
	srand(2);
	random_heap(FA_PAGE_SHIFT, 160, 200, 160, EVENTS / 10, 1);
}
END_TEST

/* Blocks of many pages beside small ones. */
START_TEST(equals_brute_force_on_large_blocks)
{
	srand(3);
	random_heap(FA_PAGE_SHIFT, 40000, 60, 3000, EVENTS / 4, CHECK_EACH);
}
END_TEST

START_TEST(equals_brute_force_on_huge_pages)
{
	srand(4);
	random_heap(FA_HUGE_SHIFT, 1 << 19, 64, 100000, EVENTS / 10, 1);
}
END_TEST

/* Both maps together, on a heap of 400 MB whose every page is partial. */
START_TEST(a_partial_page_costs_at_most_64_bytes)
{
	struct fa_pagemap map;
	struct fa_holes holes;
	const size_t n = 6 << 14;
	bool refused;

	fa_pagemap_init(&map, FA_PAGE_SHIFT, true);
	fa_holes_init(&holes, 8);
	for (uint64_t p = 16; p < n + 16; p++) {
		add(&map, p * 4096 + 56, p * 4096 + 120, 1);
		ck_assert_ptr_null(
			fa_holes_add(&holes, p * 4096 + 56, p * 4096 + 120, 0, &refused));
	}
	ck_assert_uint_eq(fa_holes_totals(&holes)->n_holes, n - 1);
	ck_assert_uint_le(fa_pagemap_memory(&map) + fa_holes_memory(&holes), n * 64);
	fa_pagemap_deinit(&map);
	fa_holes_deinit(&holes);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pagemap");
	TCase *tc = tcase_create("pagemap");

	tcase_set_timeout(tc, 100);
	tcase_add_test(tc, shares_do_not_depend_on_what_pages_went_through);
	tcase_add_test(tc, half_a_page_pins_the_other_half);
	tcase_add_test(tc, two_sites_on_a_page_share_what_neither_can_free_alone);
	tcase_add_test(tc, interior_pages_need_no_records);
	tcase_add_test(tc, a_quarter_of_each_page_free);
	tcase_add_test(tc, a_page_knows_its_sites_and_how_many_blocks_they_have);
	tcase_add_test(tc, a_full_page_refuses_more);
	tcase_add_test(tc, equals_brute_force_on_crowded_pages);
	tcase_add_test(tc, equals_brute_force_on_large_blocks);
	tcase_add_test(tc, equals_brute_force_on_huge_pages);
	tcase_add_test(tc, a_partial_page_costs_at_most_64_bytes);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

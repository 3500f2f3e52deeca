/* SPDX-License-Identifier: MIT */
/* Zone: the rules by hand, one case each, and conservation under random loads. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fa_zone.h"

enum { BLOCK = 512 };

static struct fa_zone zone;
static struct ft_error *error;

static void setup(uint32_t pages, struct fa_zone_options options)
{
	ck_assert_ptr_null(fa_zone_init(&zone, pages, &options));
}

static void fill(uint32_t pages)
{
	ck_assert(fa_buddy_add(&zone.buddy, 0, pages));
	fa_zone_ready(&zone);
}

static void teardown(void)
{
	ck_assert(fa_zone_check(&zone));
	fa_zone_deinit(&zone);
}

static uint32_t get(unsigned order, enum fa_migratetype type)
{
	uint32_t page = fa_zone_alloc(&zone, (struct fa_zone_request){.order = order, .type = type},
				      &error);

	ck_assert_ptr_null(error);
	return page;
}

static void put(uint32_t page, unsigned order)
{
	ck_assert(fa_zone_free(&zone, page, order, 0, &error));
}

START_TEST(a_whole_pageblock_changes_hands)
{
	setup(2048, (struct fa_zone_options){.rules = (enum fa_zone_rules)_i});
	fill(2048);

	uint32_t page = get(0, FA_UNMOVABLE);

	/* The largest block, of two pageblocks. */
	ck_assert_uint_eq(fa_buddy_type(&zone.buddy, page), FA_UNMOVABLE);
	ck_assert_uint_eq(fa_buddy_type(&zone.buddy, page + BLOCK), FA_UNMOVABLE);
	ck_assert_uint_eq(fa_buddy_type(&zone.buddy, page ^ 1024), FA_MOVABLE);
	ck_assert_uint_eq(zone.counts.claims, 1);
	ck_assert_uint_eq(zone.counts.fallbacks, 1);
	ck_assert_uint_eq(fa_zone_mixed_blocks(&zone), 0);
	/* The next comes from the same. */
	ck_assert_uint_eq(get(0, FA_UNMOVABLE), page + 1);
	ck_assert_uint_eq(zone.counts.fallbacks, 1);
	teardown();
}
END_TEST

/* Two pageblocks, each half free in one block of order 8: the lower UNMOVABLE, the upper MOVABLE.
 */
static void two_halves(enum fa_zone_rules rules)
{
	setup(2 * BLOCK, (struct fa_zone_options){.rules = rules});
	fa_zone_set_type(&zone, 0, FA_UNMOVABLE);
	ck_assert(fa_buddy_add_used(&zone.buddy, 0, 256));
	ck_assert(fa_buddy_add(&zone.buddy, 256, 512));
	ck_assert(fa_buddy_add(&zone.buddy, 512, 768));
	ck_assert(fa_buddy_add_used(&zone.buddy, 768, 1024));
	fa_zone_ready(&zone);
}

START_TEST(half_a_pageblock_is_enough_to_claim)
{
	two_halves((enum fa_zone_rules)_i);

	uint32_t page = get(0, FA_RECLAIMABLE);

	/* Falls back to UNMOVABLE first; 256 pages are free, the rest is of no type like it. */
	ck_assert_uint_eq(page, 256);
	ck_assert_uint_eq(fa_buddy_type(&zone.buddy, 256), FA_RECLAIMABLE);
	ck_assert_uint_eq(zone.counts.claims, 1);
	teardown();
}
END_TEST

START_TEST(a_block_with_too_little_is_stolen_from)
{
	two_halves((enum fa_zone_rules)_i);
	ck_assert(fa_buddy_take(&zone.buddy, 256, 0)); /* one page less than half is free */
	ck_assert(fa_buddy_take(&zone.buddy, 512, 8));

	uint32_t page = get(0, FA_MOVABLE);

	/* The smallest block; before 6.15 the largest that would have been worth a claim. */
	ck_assert_uint_eq(page, _i == FA_RULES_6_15 ? 257 : 384);
	ck_assert_uint_eq(fa_buddy_type(&zone.buddy, page), FA_UNMOVABLE);
	ck_assert_uint_eq(zone.counts.steals, 1);
	ck_assert_uint_eq(zone.counts.claims, 0);
	/* It, and the upper one, whose pages the snapshot did not call movable. */
	ck_assert_uint_eq(fa_zone_mixed_blocks(&zone), 2);
	teardown();
}
END_TEST

START_TEST(pages_that_are_like_us_count_for_a_claim)
{
	/* An UNMOVABLE request looks at a MOVABLE pageblock with 8 free pages, the others used and
	 * not movable: they may well be its own kind. */
	setup(BLOCK, (struct fa_zone_options){.rules = (enum fa_zone_rules)_i});
	ck_assert(fa_buddy_add_used(&zone.buddy, 0, 504));
	ck_assert(fa_buddy_add(&zone.buddy, 504, 512));
	fa_zone_ready(&zone);
	ck_assert_uint_eq(get(0, FA_UNMOVABLE), 504);
	ck_assert_uint_eq(fa_buddy_type(&zone.buddy, 0), FA_UNMOVABLE);
	teardown();
}
END_TEST

START_TEST(the_versions_differ_in_what_is_split)
{
	/* A small movable request, and UNMOVABLE blocks of order 2 and 3: neither kernel claims.
	 * With one of order 5, the older one claims from there too, but its pageblock has less than
	 * half, so that it steals from the large one; the newer one steals the smallest. */
	setup(2 * BLOCK, (struct fa_zone_options){.rules = (enum fa_zone_rules)_i});
	fa_zone_set_type(&zone, 0, FA_UNMOVABLE);
	fa_zone_set_type(&zone, BLOCK, FA_UNMOVABLE);
	ck_assert(fa_buddy_add_used(&zone.buddy, 0, 1024));
	fa_zone_ready(&zone);
	ck_assert(fa_buddy_give(&zone.buddy, 32, 5));
	ck_assert(fa_buddy_give(&zone.buddy, 600, 2));

	uint32_t page = get(0, FA_MOVABLE);

	ck_assert_uint_eq(page, _i == FA_RULES_6_15 ? 600 : 32);
	ck_assert_uint_eq(zone.counts.steals, 1);
	teardown();
}
END_TEST

START_TEST(a_movable_zone_serves_no_other)
{
	setup(1024, (struct fa_zone_options){.zone_movable = true});
	fill(1024);
	ck_assert_uint_eq(get(0, FA_UNMOVABLE), FA_BUDDY_NONE);
	ck_assert_uint_ne(get(0, FA_MOVABLE), FA_BUDDY_NONE);
	ck_assert_uint_eq(zone.counts.failed, 1);
	teardown();
}
END_TEST

START_TEST(without_grouping_everything_is_claimed)
{
	setup(2 * BLOCK, (struct fa_zone_options){.no_grouping = true});
	fa_zone_set_type(&zone, 0, FA_UNMOVABLE);
	ck_assert(fa_buddy_add_used(&zone.buddy, 0, 1023));
	ck_assert(fa_buddy_add(&zone.buddy, 1023, 1024));
	fa_zone_ready(&zone);
	ck_assert_uint_eq(get(0, FA_UNMOVABLE), 1023);
	ck_assert_uint_eq(fa_buddy_type(&zone.buddy, 1023), FA_UNMOVABLE);
	teardown();
}
END_TEST

START_TEST(no_fragment_fails_rather_than_mixes)
{
	two_halves(FA_RULES_6_15);
	zone.options.no_fragment = true;
	ck_assert_uint_eq(get(0, FA_RECLAIMABLE), FA_BUDDY_NONE);
	ck_assert_uint_ne(get(0, FA_MOVABLE), FA_BUDDY_NONE);
	teardown();
}
END_TEST

START_TEST(an_atomic_request_reserves_a_pageblock)
{
	enum { PAGES = 200 * BLOCK };
	struct fa_zone_request request = {.order = 3, .type = FA_UNMOVABLE, .atomic = true};

	setup(PAGES, (struct fa_zone_options){0});
	fill(PAGES);

	uint32_t page = fa_zone_alloc(&zone, request, &error);

	/* 1 % are two pageblocks. */
	ck_assert_uint_eq(fa_buddy_type(&zone.buddy, page), FA_HIGHATOMIC);
	ck_assert_uint_eq(zone.n_highatomic, BLOCK);
	ck_assert_uint_eq(fa_zone_alloc(&zone, request, &error), page + 8);
	ck_assert_uint_eq(zone.n_highatomic, BLOCK);
	/* Others can't have it. */
	ck_assert(!fa_zone_watermark_ok(&zone, 0, zone.buddy.free_pages - BLOCK, false));
	ck_assert(fa_zone_watermark_ok(&zone, 0, zone.buddy.free_pages - BLOCK, true));
	ck_assert(!fa_zone_unreserve(&zone, FA_MOVABLE)); /* the last one is kept */
	teardown();
	/* A zone of which 1 % is less than a pageblock has none. */
	setup(50 * BLOCK, (struct fa_zone_options){0});
	fill(50 * BLOCK);
	page = fa_zone_alloc(&zone, request, &error);
	ck_assert_uint_eq(fa_buddy_type(&zone.buddy, page), FA_UNMOVABLE);
	teardown();
}
END_TEST

START_TEST(watermarks_look_at_orders_too)
{
	setup(1024, (struct fa_zone_options){0});
	ck_assert(fa_buddy_add_used(&zone.buddy, 0, 1024));
	fa_zone_ready(&zone);
	for (uint32_t page = 0; page < 1024; page += 2)
		ck_assert(fa_buddy_give(&zone.buddy, page, 0));
	ck_assert(fa_zone_watermark_ok(&zone, 0, 511, false));
	ck_assert(!fa_zone_watermark_ok(&zone, 0, 512, false));
	ck_assert(!fa_zone_watermark_ok(&zone, 1, 0, false)); /* 512 pages, no pair */
	ck_assert(fa_buddy_give(&zone.buddy, 1, 0));
	ck_assert(fa_zone_watermark_ok(&zone, 1, 0, false));
	ck_assert(!fa_zone_watermark_ok(&zone, 2, 0, false));
	teardown();
}
END_TEST

START_TEST(a_claim_boosts_the_watermark)
{
	setup(8 * BLOCK,
	      (struct fa_zone_options){.watermarks = {100, 200, 300}, .boost_factor = 15000});
	fa_zone_set_type(&zone, 0, FA_UNMOVABLE);
	ck_assert(fa_buddy_add_used(&zone.buddy, 0, 256));
	ck_assert(fa_buddy_add(&zone.buddy, 256, 512));
	ck_assert(fa_buddy_add_used(&zone.buddy, 512, 8 * BLOCK));
	fa_zone_ready(&zone);
	get(0, FA_RECLAIMABLE);
	ck_assert_uint_eq(zone.watermark_boost, 512); /* max(512, 300 * 1.5) */
	teardown();
}
END_TEST

START_TEST(cpus_keep_what_they_freed)
{
	setup(4096, (struct fa_zone_options){.cpus = 2, .pcp_batch = 8, .pcp_high = 16});
	fill(4096);

	uint32_t page = get(0, FA_MOVABLE);

	/* The rest of the batch waits, in the order in which it was taken. */
	ck_assert_uint_eq(fa_zone_pcp_pages(&zone), 7);
	ck_assert_uint_eq(get(0, FA_MOVABLE), page + 1);
	put(page, 0);
	ck_assert(!fa_zone_free(&zone, page, 0, 0, &error)); /* parked is not used */
	ck_assert_uint_eq(get(0, FA_MOVABLE), page);	     /* the hottest */
	for (uint32_t i = 0; i < 100; i++)
		get(0, FA_MOVABLE);
	for (uint32_t i = 0; i < 100; i++)
		put(page + i, 0);
	ck_assert_uint_le(fa_zone_pcp_pages(&zone), 16);
	fa_zone_drain(&zone);
	ck_assert_uint_eq(fa_zone_pcp_pages(&zone), 0);
	teardown();
}
END_TEST

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

START_TEST(nothing_is_lost_under_load)
{
	enum { PAGES = 64 * BLOCK };
	static struct {
		uint32_t page;
		unsigned order;
	} used[PAGES];
	static uint8_t owner[PAGES];
	uint64_t n_used = 0, used_pages = 0;

	random_state = 1234567 + (unsigned)_i;
	memset(owner, 0, sizeof(owner));
	setup(PAGES, (struct fa_zone_options){.rules = (enum fa_zone_rules)(_i & 1),
					      .cpus = _i & 2 ? 3 : 0,
					      .pcp_batch = 31,
					      .pcp_high = 200,
					      .boost_factor = 15000,
					      .watermarks = {50, 100, 200}});
	fill(PAGES);
	for (unsigned i = 0; i < 150000; i++) {
		uint64_t r = next_random();

		if ((r & 127) < (i / 30000 & 1 ? 50 : 80) || !n_used) {
			struct fa_zone_request request = {
				.order = (unsigned)__builtin_ctzll(r >> 8 | 1 << 10),
				.type = (enum fa_migratetype)((r >> 32) % 10 < 7 ? FA_MOVABLE
										 : (r >> 40) % 3),
				.cpu = (unsigned)(r >> 50) % 3,
				.atomic = (r >> 55) % 50 == 0};
			uint32_t page = fa_zone_alloc(&zone, request, &error);

			ck_assert_ptr_null(error);
			if (page == FA_BUDDY_NONE)
				continue;
			for (uint32_t p = page; p < page + (1U << request.order); p++)
				ck_assert_uint_eq(owner[p]++, 0);
			used[n_used].page = page;
			used[n_used++].order = request.order;
			used_pages += 1U << request.order;
		} else {
			uint64_t at = (r >> 8) % n_used;
			uint32_t page = used[at].page;

			memset(owner + page, 0, 1U << used[at].order);
			ck_assert(fa_zone_free(&zone, page, used[at].order, (unsigned)(r >> 50) % 3,
					       &error));
			used_pages -= 1U << used[at].order;
			used[at] = used[--n_used];
		}
		ck_assert_uint_eq(used_pages + zone.buddy.free_pages + fa_zone_pcp_pages(&zone),
				  PAGES);
		if (i % 10000 == 0)
			ck_assert(fa_zone_check(&zone));
	}
	ck_assert_uint_gt(zone.counts.steals, 0);
	ck_assert_uint_gt(zone.counts.claims, 0);
	while (n_used--)
		put(used[n_used].page, used[n_used].order);
	fa_zone_drain(&zone);
	ck_assert_uint_eq(zone.buddy.free_pages, PAGES);
	teardown();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("zone");
	TCase *tests = tcase_create("zone");

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, a_whole_pageblock_changes_hands, 0, 2);
	tcase_add_loop_test(tests, half_a_pageblock_is_enough_to_claim, 0, 2);
	tcase_add_loop_test(tests, a_block_with_too_little_is_stolen_from, 0, 2);
	tcase_add_loop_test(tests, pages_that_are_like_us_count_for_a_claim, 0, 2);
	tcase_add_loop_test(tests, the_versions_differ_in_what_is_split, 0, 2);
	tcase_add_test(tests, a_movable_zone_serves_no_other);
	tcase_add_test(tests, without_grouping_everything_is_claimed);
	tcase_add_test(tests, no_fragment_fails_rather_than_mixes);
	tcase_add_test(tests, an_atomic_request_reserves_a_pageblock);
	tcase_add_test(tests, watermarks_look_at_orders_too);
	tcase_add_test(tests, a_claim_boosts_the_watermark);
	tcase_add_test(tests, cpus_keep_what_they_freed);
	tcase_add_loop_test(tests, nothing_is_lost_under_load, 0, 4);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

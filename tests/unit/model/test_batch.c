/* SPDX-License-Identifier: MIT */
/*
 * Batch: a layout that is told of changes in batches against one that is told at once
 *
 * Blocks come and go at random places, many of them at once; now and then both layouts are looked
 * at, and must be the same in all that they say.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fa_batch.h"

enum { SLOTS = 1200, SITES = 9, PHASE = 8 };

/* A place where at most one block is at a time; no two of them overlap. */
struct slot {
	uint64_t base, room;
	uint8_t tag;
	bool own_mapping;
	struct fa_place place;
	uint64_t address;
	uint32_t site, number;
	uint16_t batch_slot;
	bool lives;
};

struct pair {
	struct fa_layout at_once, late;
	struct fa_batch batch;
	struct slot slots[SLOTS];
	uint32_t free_numbers[SLOTS], n_free;
	uint64_t random;
};

static uint64_t next_random(uint64_t *random)
{
	*random = *random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return *random >> 33;
}

/* A dense heap, one of larger blocks, an arena, blocks so far apart that each is a region of its
 * own until a larger one comes between, and mappings of their own. */
static struct slot slot_of(unsigned i)
{
	switch (i % 6) {
	case 0:
	case 1:
		return (struct slot){.base = UINT64_C(0x1000000) +
					     (i / 6 * 2 + i % 6) * UINT64_C(160),
				     .room = 160,
				     .tag = FA_TAG_MAIN};
	case 2:
		return (struct slot){.base = UINT64_C(0x4000000) + i * UINT64_C(10000),
				     .room = 50000,
				     .tag = FA_TAG_MAIN};
	case 3:
		return (struct slot){.base = UINT64_C(0x7f0000000000) + i * UINT64_C(64),
				     .room = 352,
				     .tag = i % 4 ? FA_TAG_ARENA : FA_TAG_MAIN};
	case 4:
		return (struct slot){.base = UINT64_C(0x7e0000000000) + i * UINT64_C(30000),
				     .room = 170000,
				     .tag = FA_TAG_ARENA};
	}
	return (struct slot){.base = UINT64_C(0x7d0000000000) + i * UINT64_C(60000),
			     .room = 300000,
			     .own_mapping = true,
			     .tag = FA_TAG_MAIN};
}

static void pair_begin(struct pair *p, uint64_t seed)
{
	fa_layout_init(&p->at_once, PHASE);
	fa_layout_init(&p->late, PHASE);
	fa_batch_init(&p->batch, &p->late);
	p->random = seed;
	for (unsigned i = 0; i < SLOTS; i++) {
		p->slots[i] = slot_of(i);
		p->free_numbers[p->n_free++] = SLOTS - 1 - i;
	}
}

static void pair_end(struct pair *p)
{
	fa_batch_deinit(&p->batch);
	fa_layout_deinit(&p->at_once);
	fa_layout_deinit(&p->late);
}

static void come(struct pair *p, struct slot *slot)
{
	uint64_t offset = next_random(&p->random) % (slot->room / 2) & -(uint64_t)16;
	uint64_t size = 16 + (next_random(&p->random) % (slot->room - offset - 16) & -(uint64_t)8);

	/* Mostly small ones. */
	if (next_random(&p->random) % 4 && size > 512)
		size = 512;
	slot->place = (struct fa_place){.start = slot->base + offset - PHASE,
					.end = slot->base + offset - PHASE + size,
					.own_mapping = slot->own_mapping,
					.tag = slot->tag};
	slot->address = slot->base + offset;
	slot->site = (uint32_t)(next_random(&p->random) % SITES);
	slot->number = p->free_numbers[--p->n_free];
	slot->lives = true;
	ck_assert_ptr_null(fa_layout_add(&p->at_once, &slot->place, slot->address, slot->site));
	ck_assert_ptr_null(fa_batch_born(&p->batch, &slot->place, slot->address, slot->site,
					 slot->number, &slot->batch_slot));
}

static void go(struct pair *p, struct slot *slot)
{
	fa_layout_remove(&p->at_once, &slot->place, slot->address, slot->site);
	ck_assert_ptr_null(fa_batch_died(&p->batch, &slot->place, slot->address, slot->site,
					 slot->number, slot->batch_slot));
	p->free_numbers[p->n_free++] = slot->number;
	slot->lives = false;
}

static void same_regions(const struct fa_regions *a, const struct fa_regions *b)
{
	ck_assert_uint_eq(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		ck_assert_uint_eq(a->items[i].start, b->items[i].start);
		ck_assert_uint_eq(a->items[i].end, b->items[i].end);
		ck_assert_uint_eq(a->items[i].tags, b->items[i].tags);
	}
}

static void same_pages(const struct fa_pagemap *a, const struct fa_pagemap *b)
{
	struct fa_pin pins[4][SITES] = {{{0}}};
	struct fa_page_totals coarse[2];

	ck_assert(fa_pagemap_check(b));
	ck_assert_mem_eq(&a->totals, &b->totals, sizeof(a->totals));
	fa_pagemap_pins(a, pins[0], SITES);
	fa_pagemap_pins(b, pins[1], SITES);
	ck_assert_mem_eq(pins[0], pins[1], sizeof(pins[0]));
	ck_assert_ptr_null(fa_pagemap_coarse(a, FA_HUGE_SHIFT, &coarse[0], pins[2], SITES));
	ck_assert_ptr_null(fa_pagemap_coarse(b, FA_HUGE_SHIFT, &coarse[1], pins[3], SITES));
	ck_assert_mem_eq(&coarse[0], &coarse[1], sizeof(coarse[0]));
	ck_assert_mem_eq(pins[2], pins[3], sizeof(pins[2]));
}

static void same_holes(struct fa_holes *a, struct fa_holes *b)
{
	uint64_t cursor[2] = {0}, start[2], end[2];

	ck_assert_mem_eq(fa_holes_totals(a), fa_holes_totals(b), sizeof(a->totals));
	ck_assert_uint_eq(fa_holes_largest(a), fa_holes_largest(b));
	ck_assert_uint_eq(fa_holes_used_cells(a), fa_holes_used_cells(b));
	while (fa_holes_next(a, &cursor[0], &start[0], &end[0])) {
		ck_assert(fa_holes_next(b, &cursor[1], &start[1], &end[1]));
		ck_assert_uint_eq(start[0], start[1]);
		ck_assert_uint_eq(end[0], end[1]);
	}
	ck_assert(!fa_holes_next(b, &cursor[1], &start[1], &end[1]));
	same_regions(&a->regions, &b->regions);
}

static void look(struct pair *p)
{
	ck_assert_ptr_null(fa_batch_apply(&p->batch));
	same_pages(&p->at_once.pages, &p->late.pages);
	same_pages(&p->at_once.mapped, &p->late.mapped);
	same_holes(&p->at_once.holes, &p->late.holes);
	same_regions(&p->at_once.own, &p->late.own);
	ck_assert_uint_eq(p->late.n_refused, 0);
}

/* A sample says of some pages that they are not there. */
static void sample(struct pair *p)
{
	struct fa_residency residency = {0};

	ck_assert_ptr_null(fa_batch_apply(&p->batch));
	for (unsigned i = 0; i < 5; i++)
		for (uint64_t page = 0; page < 600; page++) {
			static const uint64_t bases[] = {0x1000000, 0x4000000, 0x7d0000000000,
							 0x7e0000000000, 0x7f0000000000};

			ck_assert_ptr_null(fa_residency_add(
				&residency, (bases[i] >> FA_PAGE_SHIFT) + page, 1,
				next_random(&p->random) % 3 ? FA_RUN_RESIDENT : FA_RUN_ABSENT));
		}
	fa_pagemap_set_residency(&p->at_once.pages, &residency);
	fa_pagemap_set_residency(&p->at_once.mapped, &residency);
	fa_pagemap_set_residency(&p->late.pages, &residency);
	fa_pagemap_set_residency(&p->late.mapped, &residency);
	fa_residency_deinit(&residency);
}

START_TEST(a_layout_is_the_same_however_late_it_is_told)
{
	static struct pair p;
	/* Up to so many changes between two looks. */
	const uint64_t stretch = UINT64_C(1) << (_i % 4 * 4);
	uint64_t until = 1;

	memset(&p, 0, sizeof(p));
	pair_begin(&p, (uint64_t)_i + 1);
	for (uint64_t i = 0; i < 2000 + 50 * stretch && i < 30000; i++) {
		/* Some come back soon to where they have been: those die young. */
		unsigned at = (unsigned)(next_random(&p.random) % (i % 3 ? SLOTS : 30));
		struct slot *slot = &p.slots[i % 3 ? at : (at + i / 100 * 7) % SLOTS];

		if (slot->lives)
			go(&p, slot);
		else
			come(&p, slot);
		if (i < until)
			continue;
		until = i + 1 + next_random(&p.random) % stretch;
		if (next_random(&p.random) % 8 == 0)
			sample(&p);
		else
			look(&p);
	}
	for (unsigned i = 0; i < SLOTS; i++)
		if (p.slots[i].lives)
			go(&p, &p.slots[i]);
	look(&p);
	ck_assert_uint_eq(p.late.pages.totals.live_bytes, 0);
	pair_end(&p);
}
END_TEST

/* More births and deaths than wait at a time. */
START_TEST(a_batch_that_is_full_is_applied)
{
	enum { BLOCKS = 150000 };
	struct fa_layout layout;
	struct fa_batch batch;
	uint16_t *slots = calloc(BLOCKS, sizeof(*slots));

	ck_assert_ptr_nonnull(slots);
	fa_layout_init(&layout, 0);
	fa_batch_init(&batch, &layout);
	for (unsigned round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < BLOCKS; i++) {
			struct fa_place place = {.start = 0x10000 + i * UINT64_C(48),
						 .end = 0x10000 + i * UINT64_C(48) + 32,
						 .tag = FA_TAG_MAIN};

			ck_assert_ptr_null(
				round ? fa_batch_died(&batch, &place, place.start, 1, i, slots[i])
				      : fa_batch_born(&batch, &place, place.start, 1, i,
						      &slots[i]));
		}
		ck_assert_uint_lt(layout.pages.totals.live_bytes, BLOCKS * UINT64_C(32));
		ck_assert_ptr_null(fa_batch_apply(&batch));
		ck_assert_uint_eq(layout.pages.totals.live_bytes,
				  round ? 0 : BLOCKS * UINT64_C(32));
	}
	fa_batch_deinit(&batch);
	fa_layout_deinit(&layout);
	free(slots);
}
END_TEST

/* Two that claim the same bytes: one has no place, and nothing is left of either. */
START_TEST(blocks_that_overlap_leave_nothing_behind)
{
	struct fa_layout layout;
	struct fa_batch batch;
	uint16_t slots[3];
	const struct fa_place places[3] = {{.start = 0x1000, .end = 0x1100, .tag = FA_TAG_MAIN},
					   {.start = 0x1080, .end = 0x1180, .tag = FA_TAG_MAIN},
					   {.start = 0x1100, .end = 0x1200, .tag = FA_TAG_MAIN}};

	fa_layout_init(&layout, 0);
	fa_batch_init(&batch, &layout);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_ptr_null(
			fa_batch_born(&batch, &places[i], places[i].start, 1, i, &slots[i]));
	ck_assert_ptr_null(fa_batch_apply(&batch));
	ck_assert_uint_eq(layout.n_refused, 1);
	ck_assert_uint_eq(layout.pages.totals.live_bytes, 512);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_ptr_null(
			fa_batch_died(&batch, &places[i], places[i].start, 1, i, slots[i]));
	ck_assert_ptr_null(fa_batch_apply(&batch));
	ck_assert_uint_eq(layout.pages.totals.live_bytes, 0);
	ck_assert_uint_eq(fa_holes_totals(&layout.holes)->hole_bytes, 0);
	ck_assert_uint_eq(ft_map_count(&layout.refused), 0);
	fa_batch_deinit(&batch);
	fa_layout_deinit(&layout);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("batch");
	TCase *tc = tcase_create("batch");

	tcase_set_timeout(tc, 100);
	tcase_add_loop_test(tc, a_layout_is_the_same_however_late_it_is_told, 0, 8);
	tcase_add_test(tc, a_batch_that_is_full_is_applied);
	tcase_add_test(tc, blocks_that_overlap_leave_nothing_behind);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

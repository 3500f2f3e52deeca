/* SPDX-License-Identifier: MIT */
/* Slabs: found again from the addresses of blocks that were put there. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fa_slabs.h"

enum { N_SITES = 7 };

static uint64_t seed;

static uint64_t rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

/* What is known of the slabs that were made. */
struct truth {
	uint64_t slabs[FA_SIZE_CLASSES_MAX], blocks[FA_SIZE_CLASSES_MAX], full[FA_SIZE_CLASSES_MAX];
	uint64_t free_bytes;
	struct fa_pin pins[N_SITES];
};

/* A slab of a class at `address`, each slot live with the probability 1 / one_in. */
static void make_slab(struct fa_slabs *slabs, size_t class, uint64_t address, unsigned first,
		      unsigned one_in, struct truth *truth)
{
	const struct fa_size_class *c = &slabs->sizes.classes[class];
	uint32_t slots = (c->span - first) / c->size, live = 0, n_sites = 0;
	bool site_is_there[N_SITES] = {false};
	uint64_t free_bytes, dealt = 0;

	for (uint32_t i = 0; i < slots; i++) {
		uint32_t site = (uint32_t)rnd(N_SITES);

		if (rnd(one_in))
			continue;
		ck_assert_ptr_null(fa_slabs_add(slabs, address + first + (uint64_t)i * c->size,
						c->size, site));
		n_sites += !site_is_there[site];
		site_is_there[site] = true;
		live++;
	}
	if (!live)
		return;
	free_bytes = (uint64_t)(slots - live) * c->size;
	truth->slabs[class]++;
	truth->blocks[class] += live;
	truth->full[class] += live == slots;
	truth->free_bytes += free_bytes;
	for (unsigned s = 0; s < N_SITES; s++) {
		if (!site_is_there[s])
			continue;
		truth->pins[s].any += free_bytes;
		truth->pins[s].sole += n_sites == 1 ? free_bytes : 0;
		truth->pins[s].shapley += free_bytes / n_sites + (dealt++ < free_bytes % n_sites);
	}
}

static void check_found(const struct fa_slabs *slabs, const struct fa_pin *pins,
			const struct truth *truth)
{
	uint64_t shapley = 0;

	ck_assert_uint_eq(slabs->unplaced_blocks, 0);
	for (size_t i = 0; i < slabs->sizes.n; i++) {
		ck_assert_uint_eq(slabs->classes[i].slabs, truth->slabs[i]);
		ck_assert_uint_eq(slabs->classes[i].blocks, truth->blocks[i]);
		ck_assert_uint_eq(slabs->classes[i].full_slabs, truth->full[i]);
	}
	ck_assert_uint_eq(slabs->total.free_bytes, truth->free_bytes);
	for (unsigned s = 0; s < N_SITES; s++) {
		ck_assert_uint_eq(pins[s].sole, truth->pins[s].sole);
		ck_assert_uint_eq(pins[s].shapley, truth->pins[s].shapley);
		ck_assert_uint_eq(pins[s].any, truth->pins[s].any);
		ck_assert_uint_le(pins[s].sole, pins[s].shapley);
		shapley += pins[s].shapley;
	}
	ck_assert_uint_eq(shapley, slabs->total.free_bytes);
}

/* Slabs of all classes side by side, at random fill: each is found, with what its sites hold. */
START_TEST(slabs_are_found_from_their_blocks)
{
	static const char *const allocators[] = {"jemalloc", "mimalloc"};
	struct fa_slabs slabs;
	struct fa_pin pins[N_SITES] = {0};
	struct truth truth = {0};
	uint64_t address = UINT64_C(0x7f0000000000);

	seed = 11;
	ck_assert(fa_slabs_init(&slabs, allocators[_i]));
	for (unsigned i = 0; i < 600; i++) {
		size_t class = rnd(slabs.sizes.n);
		/* mimalloc leaves up to a slot, in steps of its alignment, in front of the first.
		 */
		unsigned first = _i ? 16 * (unsigned)rnd(2) : 0;

		if (slabs.sizes.classes[class].size < 32)
			first = 0;
		make_slab(&slabs, class, address, first, i % 5 ? 1 + (unsigned)rnd(40) : 1, &truth);
		address += slabs.sizes.classes[class].span + (_i ? 0 : 4096 * rnd(3));
	}
	ck_assert_ptr_null(fa_slabs_finish(&slabs, pins, N_SITES));
	check_found(&slabs, pins, &truth);
	fa_slabs_deinit(&slabs);
}
END_TEST

/* tcmalloc's larger powers of two fit at each page of a longer span: those blocks are said to be
 * unplaced, and never put in a slab that is not theirs. */
START_TEST(what_fits_in_two_places_is_left_out)
{
	struct fa_slabs slabs;
	struct fa_pin pins[N_SITES] = {0};
	struct truth truth = {0};
	uint64_t unplaced = 0, address = UINT64_C(0x10000000);

	seed = 5;
	ck_assert(fa_slabs_init(&slabs, "tcmalloc"));
	for (size_t class = 0; class < slabs.sizes.n; class ++) {
		const struct fa_size_class *c = &slabs.sizes.classes[class];

		make_slab(&slabs, class, address, 0, 2, &truth);
		address += c->span;
	}
	ck_assert_uint_gt(slabs.n, 1000);
	ck_assert_uint_gt(slabs.unplaced_blocks, 0);
	ck_assert_ptr_null(fa_slabs_finish(&slabs, pins, N_SITES));
	for (size_t class = 0; class < slabs.sizes.n; class ++) {
		ck_assert_uint_le(slabs.classes[class].slabs, truth.slabs[class]);
		ck_assert_uint_le(slabs.classes[class].blocks, truth.blocks[class]);
		unplaced += truth.blocks[class] - slabs.classes[class].blocks;
	}
	ck_assert_uint_eq(unplaced, slabs.unplaced_blocks);
	fa_slabs_deinit(&slabs);
}
END_TEST

START_TEST(compacting_and_meshing_have_known_answers)
{
	struct fa_slabs slabs;
	struct fa_pin pins[1] = {0};
	const uint64_t at = UINT64_C(0x400000);

	/* Four pages of 64 slots of 64 bytes: the first two mesh, the other two share slot 5. */
	ck_assert(fa_slabs_init(&slabs, "jemalloc"));
	for (uint64_t i = 0; i < 10; i++) {
		fa_slabs_add(&slabs, at + i * 128, 64, 0);
		fa_slabs_add(&slabs, at + 4096 + i * 128 + 64, 64, 0);
	}
	for (uint64_t i = 0; i < 21; i++) {
		fa_slabs_add(&slabs, at + 2 * 4096 + (5 + i * 2) * 64, 64, 0);
		fa_slabs_add(&slabs, at + 3 * 4096 + (5 - i % 6) * 64 + (i / 6) * 512, 64, 0);
	}
	/* No slot is that large; no slot has that size; no slot begins there. */
	fa_slabs_add(&slabs, at + 16 * 4096, 16384, 0);
	fa_slabs_add(&slabs, at + 32 * 4096, 65, 0);
	fa_slabs_add(&slabs, at + 33 * 4096 + 8, 64, 0);
	ck_assert_ptr_null(fa_slabs_finish(&slabs, pins, 1));
	ck_assert_uint_eq(slabs.total.slabs, 4);
	ck_assert_uint_eq(slabs.total.blocks, 62);
	ck_assert_uint_eq(slabs.total.compact_gain_bytes, 3 * 4096);
	ck_assert_uint_eq(slabs.total.mesh_gain_bytes, 4096);
	ck_assert_uint_eq(slabs.large_blocks, 1);
	ck_assert_uint_eq(slabs.unplaced_blocks, 2);
	ck_assert_uint_eq(pins[0].sole, (4 * 64 - 62) * 64);
	ck_assert_uint_eq(pins[0].pages_sole, 4);
	fa_slabs_deinit(&slabs);
}
END_TEST

/* Nothing that a recording may claim of blocks may lead astray. */
START_TEST(blocks_at_random_are_survived)
{
	static const char *const allocators[] = {"jemalloc", "tcmalloc", "mimalloc"};
	struct fa_slabs slabs;
	struct fa_pin pins[N_SITES] = {0};
	uint64_t n = 0;

	seed = 77;
	ck_assert(fa_slabs_init(&slabs, allocators[_i]));
	for (unsigned i = 0; i < 20000; i++, n++)
		ck_assert_ptr_null(fa_slabs_add(&slabs,
						i % 50 ? rnd(1 << 20) : UINT64_MAX - rnd(99999),
						i % 70 ? UINT64_C(8) << rnd(9) : rnd(UINT64_MAX),
						(uint32_t)rnd(2 * N_SITES)));
	ck_assert_ptr_null(fa_slabs_finish(&slabs, pins, N_SITES));
	ck_assert_uint_eq(slabs.total.blocks + slabs.unplaced_blocks + slabs.large_blocks, n);
	fa_slabs_deinit(&slabs);
	ck_assert(!fa_slabs_init(&slabs, "glibc"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model-slabs");
	TCase *slabs = tcase_create("slabs");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(slabs, slabs_are_found_from_their_blocks, 0, 2);
	tcase_add_test(slabs, what_fits_in_two_places_is_left_out);
	tcase_add_test(slabs, compacting_and_meshing_have_known_answers);
	tcase_add_loop_test(slabs, blocks_at_random_are_survived, 0, 3);
	suite_add_tcase(suite, slabs);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

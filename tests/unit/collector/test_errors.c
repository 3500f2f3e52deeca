/* SPDX-License-Identifier: MIT */
/* Bad calls: what becomes a row, and when stacks are asked for. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "fake_store.h"
#include "ft_error.h"
#include "program.h"

static void put_error(struct program *program, uint64_t at, uint64_t address, unsigned kind,
		      unsigned region, uint64_t offset, const char *text, uint32_t node)
{
	uint64_t words[16] = {0};
	unsigned n = 5 + (unsigned)(strlen(text) + 7) / 8;

	words[0] = ft_wire_head(FT_WIRE_ERROR, FT_API_FREE, 0, n, node);
	words[1] = program->start + at;
	words[2] = address;
	words[3] = kind | region << 8 | (uint64_t)strlen(text) << 16;
	words[4] = offset;
	memcpy(words + 5, text, strlen(text));
	ck_assert(program_put(program, 0, words, n));
}

/* A free that gives a size, by a call and with or without a stack. */
static void put_free(struct program *program, uint64_t at, uint64_t address, unsigned api,
		     uint64_t given, uint32_t node)
{
	bool long_form = given + 1 >= FT_WIRE_GIVEN_ESCAPE && given != UINT64_MAX;
	uint64_t words[4] = {ft_wire_head(FT_WIRE_FREE, api, 0, long_form ? 4 : 3, node),
			     program->start + at};

	words[2] = address | (long_form ? FT_WIRE_GIVEN_ESCAPE : given + 1) << FT_WIRE_ADDRESS_BITS;
	words[3] = given;
	ck_assert(program_put(program, 0, words, long_form ? 4 : 3));
}

static void put_new(struct program *program, uint64_t at, uint64_t address, uint64_t size,
		    uint32_t node)
{
	uint64_t words[4] = {ft_wire_head(FT_WIRE_ALLOC, FT_API_NEW, 0, 4, node),
			     program->start + at, address, size};

	ck_assert(program_put(program, 0, words, 4));
}

START_TEST(what_lives_is_no_invalid_free)
{
	struct program program;
	uint32_t node;

	program_init(&program, 1, 1 << 14);
	node = program_node(&program, 0, 0xabc);
	program_alloc(&program, 0, 100, 0x1000, 5, node);
	program_alloc(&program, 0, 100, 0x2000, 5, node);
	/* It looked odd, and was freed in order. */
	program_free(&program, 0, 110, 0x1000);
	put_error(&program, 110, 0x1000, FT_WIRE_SUSPECT, FT_WIRE_REGION_HEAP, 0, "", node);
	/* A realloc of a block that lives; its record comes later. */
	put_error(&program, 120, 0x2000, FT_WIRE_INVALID_FREE, FT_WIRE_REGION_HEAP, 0, "", node);
	/* Freed again, and nobody's. */
	program_free(&program, 0, 130, 0x1000);
	put_error(&program, 130, 0x1000, FT_WIRE_SUSPECT, FT_WIRE_REGION_HEAP, 0, "", node);
	program_free(&program, 0, 140, 0x7000);
	put_error(&program, 140, 0x7000, FT_WIRE_INVALID_FREE, FT_WIRE_REGION_DATA, 0x70,
		  "/bin/program", node);
	put_error(&program, 150, 0x8000, FT_WIRE_INVALID_FREE, FT_WIRE_REGION_UNMAPPED, 0, "",
		  node);
	/* Nonsense. */
	put_error(&program, 160, 0x8000, FT_WIRE_INVALID_FREE, FT_WIRE_REGION_N, 0, "", node);
	put_error(&program, 160, 0x8000, 77, 0, 0, "", node);
	program_end(&program, CO_END_EXIT, 0);

	ck_assert_uint_eq(fake.n_errors, 3);
	ck_assert_str_eq(fake.errors[0].kind, "suspect");
	ck_assert_uint_eq(fake.errors[0].time_ns, 130);
	ck_assert_uint_eq(fake.errors[0].stack, 1);
	ck_assert_str_eq(fake.errors[1].kind, "invalid_free");
	ck_assert_str_eq(fake.errors[1].region, "data");
	ck_assert_str_eq(fake.error_mappings[1], "/bin/program");
	ck_assert_int_eq(fake.errors[1].offset, 0x70);
	ck_assert_str_eq(fake.errors[1].call, "free");
	ck_assert_str_eq(fake.errors[2].region, "unmapped");
	ck_assert_int_eq(fake.errors[2].offset, -1);
	ck_assert_int_eq(fake_meta_int("invalid_frees"), 2);
	ck_assert_int_eq(fake_meta_int("unknown_frees"), 2);
	ck_assert_int_eq(fake_meta_int("bad_records"), 2);
	program_deinit(&program);
}
END_TEST

START_TEST(sizes_are_compared_with_the_requested_one)
{
	struct program program;
	uint32_t node, other;

	program_init(&program, 1, 1 << 14);
	node = program_node(&program, 0, 0xabc);
	other = program_node(&program, 0, 0xdef);
	for (unsigned i = 1; i <= 5; i++)
		put_new(&program, 100, i * 0x1000, i == 4 ? 0xfffe : 100, node);
	put_free(&program, 110, 0x1000, FT_API_DELETE_SIZED, 100, 0); /* right */
	put_free(&program, 120, 0x2000, FT_API_DELETE_SIZED, 99, 0);
	put_free(&program, 130, 0x3000, FT_API_DELETE_SIZED, 70000, 0);
	put_error(&program, 130, 0x3000, FT_WIRE_BAD_SIZE, FT_WIRE_REGION_HEAP, 70000, "", other);
	put_free(&program, 140, 0x4000, FT_API_DELETE_SIZED, 0xfffe,
		 0); /* right, in the long form */
	put_free(&program, 150, 0x9000, FT_API_DELETE_SIZED, 1,
		 0); /* of a block that nobody knows */
	put_free(&program, 160, 0x5000, FT_API_DELETE_SIZED, 0, 0); /* and the last of the ring */
	program_end(&program, CO_END_EXIT, 0);

	ck_assert_uint_eq(fake.n_errors, 3);
	for (size_t i = 0; i < 3; i++) {
		static const int64_t given[] = {99, 70000, 0};

		ck_assert_str_eq(fake.errors[i].kind, "bad_size");
		ck_assert_int_eq(fake.errors[i].size, given[i]);
		ck_assert_int_eq(fake.errors[i].block_size, 100);
		ck_assert_uint_eq(fake.errors[i].alloc_stack, 1);
		ck_assert_uint_eq(fake.errors[i].stack != 0, i == 1);
	}
	ck_assert_int_eq(fake_meta_int("bad_sizes"), 3);
	ck_assert_int_eq(fake_meta_int("bad_records"), 0);
	program_deinit(&program);
}
END_TEST

START_TEST(stacks_are_asked_for_and_given_up_again)
{
	struct program program;
	uint32_t node;
	uint64_t at = 100;

	program_init(&program, 1, 1 << 16);
	node = program_node(&program, 0, 0xabc);
	put_new(&program, at, 0x1000, 100, node);
	put_free(&program, at + 1, 0x1000, FT_API_DELETE, UINT64_MAX, 0);
	program_settle(&program);
	ck_assert_uint_eq(atomic_load(&program.header->watch), 0);

	put_new(&program, at += 10, 0x1000, 100, node);
	put_free(&program, at += 10, 0x1000, FT_API_FREE, UINT64_MAX, 0);
	for (int i = 0; i < 1000 && !atomic_load(&program.header->watch); i++)
		program_settle(&program);
	ck_assert_uint_eq(atomic_load(&program.header->watch), 1 << FT_API_FREE);

	for (int i = 0; i < 64; i++) {
		put_new(&program, at += 10, 0x1000, 100, node);
		put_free(&program, at += 10, 0x1000, FT_API_FREE, UINT64_MAX, node);
	}
	for (int i = 0; i < 1000 && atomic_load(&program.header->watch); i++)
		program_settle(&program);
	ck_assert_uint_eq(atomic_load(&program.header->watch), 0);

	/* Enough has been seen. */
	put_new(&program, at += 10, 0x1000, 100, node);
	put_free(&program, at += 10, 0x1000, FT_API_FREE, UINT64_MAX, 0);
	program_end(&program, CO_END_EXIT, 0);
	ck_assert_uint_eq(atomic_load(&program.header->watch), 0);
	ck_assert_uint_eq(fake.n_errors, 0); /* mismatches are in the events */
	program_deinit(&program);
}
END_TEST

START_TEST(rows_of_one_place_are_bounded)
{
	struct program program;
	uint32_t node;

	program_init(&program, 1, 1 << 18);
	node = program_node(&program, 0, 0xabc);
	for (unsigned i = 0; i < 1000; i++)
		put_error(&program, 100 + i, 0x8000, FT_WIRE_INVALID_FREE, FT_WIRE_REGION_STACK, 1,
			  "", node);
	program_end(&program, CO_END_EXIT, 0);
	ck_assert_int_eq(fake_meta_int("invalid_frees"), 1000);
	ck_assert_int_eq(fake_meta_int("errors_without_row"), 1000 - 64);
	program_deinit(&program);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("collector-errors");
	TCase *errors = tcase_create("errors");
	SRunner *runner;
	int failed;

	tcase_set_timeout(errors, 60);
	tcase_add_test(errors, what_lives_is_no_invalid_free);
	tcase_add_test(errors, sizes_are_compared_with_the_requested_one);
	tcase_add_test(errors, stacks_are_asked_for_and_given_up_again);
	tcase_add_test(errors, rows_of_one_place_are_bounded);
	suite_add_tcase(suite, errors);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

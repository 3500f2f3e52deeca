/* SPDX-License-Identifier: MIT */
/* The kernel's texts: real lines of Linux 6.18, and lines that no kernel writes. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "no_parse.h"

struct seen {
	struct no_orders_line lines[16];
	struct no_block_line blocks[16];
	struct no_slab_line slab;
	size_t n_lines, n_blocks, n_slabs, n_keys;
	char keys[32][128];
	int64_t values[32];
};

static void on_line(void *ctx, const struct no_orders_line *line)
{
	struct seen *seen = ctx;

	seen->lines[seen->n_lines++ % 16] = *line;
}

static void on_block(void *ctx, const struct no_block_line *line)
{
	struct seen *seen = ctx;

	seen->blocks[seen->n_blocks++ % 16] = *line;
}

static void on_slab(void *ctx, const struct no_slab_line *line)
{
	struct seen *seen = ctx;

	seen->slab = *line;
	seen->n_slabs++;
}

static void on_key(void *ctx, const char *key, int64_t value)
{
	struct seen *seen = ctx;
	size_t at = seen->n_keys++ % 32;

	snprintf(seen->keys[at], sizeof(seen->keys[at]), "%s", key);
	seen->values[at] = value;
}

static void on_zone(void *ctx, const struct no_zone_name *zone, const char *key, uint64_t value)
{
	char name[64 + NO_NAME];

	snprintf(name, sizeof(name), "%s %s", zone->zone, key);
	on_key(ctx, name, (int64_t)value);
}

static int64_t value_of(const struct seen *seen, const char *key)
{
	for (size_t i = 0; i < seen->n_keys && i < 32; i++)
		if (!strcmp(seen->keys[i], key))
			return seen->values[i];
	ck_abort_msg("there is no %s", key);
	return 0;
}

START_TEST(buddyinfo_lines)
{
	static const char text[] =
		"Node 0, zone      DMA      0      0      0      0      0      0      0      0 "
		"     1      1      3 \n"
		"Node 1, zone   Normal   1689    439    499    182     56    113    627    142 "
		"    32      1     25 \n"
		"Node x, zone   Normal 1\n";
	struct seen seen = {.n_lines = 0};

	ck_assert_uint_eq(no_parse_buddyinfo(text, strlen(text), on_line, &seen), 1);
	ck_assert_uint_eq(seen.n_lines, 2);
	ck_assert_str_eq(seen.lines[0].zone.zone, "DMA");
	ck_assert_int_eq(seen.lines[0].n[10], 3);
	ck_assert_int_eq(seen.lines[1].zone.node, 1);
	ck_assert_int_eq(seen.lines[1].n[0], 1689);
	ck_assert_int_eq(seen.lines[1].n[6], 627);
}
END_TEST

START_TEST(orders_above_ten_count_as_blocks_of_order_ten)
{
	static const char text[] = "Node 0, zone Normal 1 0 0 0 0 0 0 0 0 0 2 3 1\n";
	struct seen seen = {.n_lines = 0};

	no_parse_buddyinfo(text, strlen(text), on_line, &seen);
	ck_assert_int_eq(seen.lines[0].n[10], 2 + 3 * 2 + 4);
}
END_TEST

START_TEST(indices_in_thousandths)
{
	static const char text[] =
		"Node 0, zone   Normal -1.000 0.001 0.018 0.441 0.726 1.000 0.030 0.032 0.636 "
		"0.726 0.726 \n";
	struct seen seen = {.n_lines = 0};

	ck_assert_uint_eq(no_parse_extfrag(text, strlen(text), on_line, &seen), 0);
	ck_assert_int_eq(seen.lines[0].n[0], -1000);
	ck_assert_int_eq(seen.lines[0].n[1], 1);
	ck_assert_int_eq(seen.lines[0].n[5], 1000);
}
END_TEST

START_TEST(pagetypeinfo_has_two_tables)
{
	static const char text[] =
		"Page block order: 9\nPages per block:  512\n\n"
		"Free pages count per migrate type at order       0      1      2      3      4  "
		"    5      6      7      8      9     10 \n"
		"Node    0, zone   Normal, type    Unmovable    118    105    354    108     17  "
		"    5      1     16      6      0      0 \n"
		"Node    0, zone   Normal, type      Movable >100000      1     89     74     39 "
		"   108    626    126     26      0     25 \n\n"
		"Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic      "
		"Isolate \n"
		"Node 0, zone   Normal           56         1035           61            0       "
		"     0 \n";
	struct seen seen = {.n_lines = 0};
	uint64_t order;

	ck_assert_uint_eq(
		no_parse_pagetypeinfo(text, strlen(text), on_line, on_block, &seen, &order), 0);
	ck_assert_uint_eq(order, 9);
	ck_assert_uint_eq(seen.n_lines, 2);
	ck_assert_str_eq(seen.lines[1].type, "Movable");
	ck_assert_int_eq(seen.lines[1].n[0], 100000);
	ck_assert_uint_eq(seen.n_blocks, 5);
	ck_assert_str_eq(seen.blocks[2].type, "Reclaimable");
	ck_assert_uint_eq(seen.blocks[2].n, 61);
}
END_TEST

START_TEST(zoneinfo_leaves_the_nodes_figures_out)
{
	static const char text[] = "Node 0, zone   Normal\n"
				   "  per-node stats\n"
				   "      nr_inactive_anon 154621\n"
				   "  pages free     59070\n"
				   "        boost    0\n        min      8321\n"
				   "        spanned  5505024\n        cma      0\n"
				   "        protection: (0, 0, 0, 0, 0)\n"
				   "      nr_free_pages 59070\n"
				   "  pagesets\n    cpu: 0\n              count:    3369\n"
				   "              high:     12822\n              batch:    63\n"
				   "  vm stats threshold: 24\n    cpu: 1\n"
				   "              count:    2510\n              batch:    63\n"
				   "  node_unreclaimable:  0\n  start_pfn:           1048576\n";
	struct seen seen = {.n_lines = 0};

	ck_assert_uint_eq(no_parse_zoneinfo(text, strlen(text), on_zone, &seen), 0);
	ck_assert_int_eq(value_of(&seen, "Normal free"), 59070);
	ck_assert_int_eq(value_of(&seen, "Normal min"), 8321);
	ck_assert_int_eq(value_of(&seen, "Normal start_pfn"), 1048576);
	ck_assert_int_eq(value_of(&seen, "Normal pcp.count"), 3369 + 2510);
	ck_assert_int_eq(value_of(&seen, "Normal pcp.high"), 12822);
	for (size_t i = 0; i < seen.n_keys; i++)
		ck_assert_str_ne(seen.keys[i], "Normal nr_inactive_anon");
}
END_TEST

START_TEST(keys_pressure_and_slabs)
{
	static const char keys[] = "compact_stall 12\nMemTotal:  24683620 kB\n-\nx y\n";
	static const char pressure[] = "some avg10=1.25 avg60=0.00 avg300=0.00 total=77\n"
				       "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
	static const char slabs[] =
		"slabinfo - version: 2.1\n# name ...\n"
		"bio-312     12     13    320   12    1 : tunables    0    0    0 : slabdata      "
		"2      3      0\nbroken 1 2\n";
	struct seen seen = {.n_lines = 0};

	ck_assert_uint_eq(no_parse_keys(keys, strlen(keys), on_key, &seen), 2);
	ck_assert_int_eq(value_of(&seen, "compact_stall"), 12);
	ck_assert_int_eq(value_of(&seen, "MemTotal"), 24683620);
	ck_assert_uint_eq(no_parse_pressure(pressure, strlen(pressure), on_key, &seen), 0);
	ck_assert_int_eq(value_of(&seen, "some.avg10"), 125);
	ck_assert_int_eq(value_of(&seen, "full.total"), 5);
	ck_assert_uint_eq(no_parse_slabinfo(slabs, strlen(slabs), on_slab, &seen), 1);
	ck_assert_uint_eq(seen.n_slabs, 1);
	ck_assert_str_eq(seen.slab.cache, "bio-312");
	ck_assert_uint_eq(seen.slab.objects, 13);
	ck_assert_uint_eq(seen.slab.slabs, 3);
}
END_TEST

START_TEST(format_of_an_event)
{
	static const char text[] =
		"name: mm_page_free\nID: 655\nformat:\n"
		"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n"
		"\tfield:unsigned long pfn;\toffset:8;\tsize:8;\tsigned:0;\n"
		"\tfield:unsigned int order;\toffset:16;\tsize:4;\tsigned:0;\n\nprint fmt: \"\"\n";
	static const char stats[] = "entries: 3\noverrun: 17\ncommit overrun: 2\n";
	struct no_format format;

	ck_assert(no_parse_format(text, strlen(text), &format));
	ck_assert_uint_eq(format.id, 655);
	ck_assert_uint_eq(format.n, 2);
	ck_assert_uint_eq(no_format_field(&format, "order")->offset, 16);
	ck_assert_ptr_null(no_format_field(&format, "common_type"));
	ck_assert_uint_eq(no_parse_stat(stats, strlen(stats), "overrun"), 17);
	ck_assert_uint_eq(no_parse_stat(stats, strlen(stats), "commit overrun"), 2);
	ck_assert(!no_parse_format("field:a b;", 10, &format));
}
END_TEST

START_TEST(numbers_that_are_too_large_are_not_understood)
{
	static const char text[] = "Node 0, zone Normal 99999999999999999999 1\n"
				   "Node 0, zone Normal -5 1\nNode 0, zone Normal\n";
	struct seen seen = {.n_lines = 0};

	ck_assert_uint_eq(no_parse_buddyinfo(text, strlen(text), on_line, &seen), 3);
	ck_assert_uint_eq(seen.n_lines, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node-parse");
	TCase *tests = tcase_create("parse");

	tcase_add_test(tests, buddyinfo_lines);
	tcase_add_test(tests, orders_above_ten_count_as_blocks_of_order_ten);
	tcase_add_test(tests, indices_in_thousandths);
	tcase_add_test(tests, pagetypeinfo_has_two_tables);
	tcase_add_test(tests, zoneinfo_leaves_the_nodes_figures_out);
	tcase_add_test(tests, keys_pressure_and_slabs);
	tcase_add_test(tests, format_of_an_event);
	tcase_add_test(tests, numbers_that_are_too_large_are_not_understood);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

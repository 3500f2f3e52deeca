/* SPDX-License-Identifier: MIT */
/*
 * A machine's recording: written, read, analysed
 *
 * The machine is made up: a binary buddy that is driven at random, and tells of it as the kernel
 * would. The state replay must then find nothing impossible and no page that differs; and when a
 * single event is kept back it must find that.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fa_buddy.h"
#include "fa_json_read.h"
#include "fa_node.h"
#include "ft_node_chunk.h"

enum { PAGES = 65536, STRETCH = 32768, BLOCKS = 2000, EVENTS = 40000, MOMENTS = 12 };

static char path[64];
static uint64_t seed;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static void good(struct ft_error *error)
{
	ck_assert_msg(!error, "%s", error ? error->message : "");
}

static void set_up(void)
{
	seed = 88172645463325252U;
	snprintf(path, sizeof(path), "node-test.%d.frag", (int)getpid());
	unlink(path);
}

static void tear_down(void)
{
	unlink(path);
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void snapshot(struct ft_node_writer *writer, const struct fa_buddy *buddy, uint32_t number,
		     uint64_t *time)
{
	static struct ft_node_run runs[STRETCH];

	for (uint32_t first = 0; first < PAGES; first += STRETCH) {
		struct ft_node_pages_row row = {.snapshot = number,
						.first_pfn = first,
						.n_pages = STRETCH,
						.begin_ns = *time,
						.end_ns = *time + 5,
						.runs = runs};

		for (uint32_t page = first; page < first + STRETCH; page++) {
			unsigned order;
			bool is_free = fa_buddy_free_block(buddy, page, &order) != FA_BUDDY_NONE;
			uint8_t kind = is_free ? FT_NODE_FREE : FT_NODE_MOVABLE;

			if (row.n_runs && runs[row.n_runs - 1].kind == kind)
				runs[row.n_runs - 1].n++;
			else
				runs[row.n_runs++] = (struct ft_node_run){.kind = kind, .n = 1};
		}
		good(ft_node_writer_pages(writer, &row));
		*time += 10;
	}
}

static void moment(struct ft_node_writer *writer, const struct fa_buddy *buddy, uint64_t time)
{
	struct fa_orders orders = fa_buddy_orders(buddy);
	struct ft_node_free_row row = {.time_ns = time, .zone = 1};
	struct ft_node_index_row index = {
		.time_ns = time, .zone = 1, .kind = "unusable", .steady = true};

	memcpy(row.n, orders.n, sizeof(row.n));
	for (unsigned o = 0; o < FT_NODE_ORDERS; o++)
		index.milli[o] = fa_unusable_milli(&orders, o);
	good(ft_node_writer_free(writer, &row));
	good(ft_node_writer_index(writer, &index));
}

/* One of the machine's blocks comes or goes, and an event says so. */
static struct ft_node_event step(struct fa_buddy *buddy, uint32_t *blocks, uint8_t *orders,
				 uint64_t time)
{
	size_t i = next() % BLOCKS;
	struct ft_node_event event = {.time_ns = time, .type = 1};

	if (blocks[i] == FA_BUDDY_NONE) {
		orders[i] = (uint8_t)(next() % 8 ? next() % 4 : next() % 10);
		blocks[i] = fa_buddy_alloc(buddy, orders[i], 0);
		if (blocks[i] == FA_BUDDY_NONE)
			ck_abort_msg("the machine is full");
		event.kind = FT_NODE_TAKE;
		event.pfn = blocks[i];
		event.order = orders[i];
		return event;
	}
	if (!fa_buddy_free(buddy, blocks[i], orders[i], false))
		ck_abort_msg("a block that was none");
	event.kind = orders[i] > 3 && orders[i] != 9 ? FT_NODE_RELEASE : FT_NODE_DRAIN;
	event.pfn = blocks[i];
	event.order = orders[i];
	blocks[i] = FA_BUDDY_NONE;
	return event;
}

/* `without`: the number of an event that is kept back. */
static void record(size_t without)
{
	static struct ft_node_event events[EVENTS];
	static uint32_t blocks[BLOCKS];
	static uint8_t orders[BLOCKS];
	struct ft_node_writer *writer = NULL;
	struct ft_node_zone_row zone = {
		.id = 1, .name = "Normal", .spanned = PAGES, .present = PAGES, .managed = PAGES};
	struct fa_buddy buddy;
	uint64_t time = 1000;
	size_t n = 0;

	good(ft_node_writer_create(path, &writer));
	good(ft_node_writer_meta(writer, "kernel", "6.18.0"));
	good(ft_node_writer_zone(writer, &zone));
	good(fa_buddy_init(&buddy, PAGES, 10, 9));
	ck_assert(fa_buddy_add(&buddy, 0, PAGES));
	for (size_t i = 0; i < BLOCKS; i++)
		blocks[i] = FA_BUDDY_NONE;
	for (size_t i = 0; i < BLOCKS; i++)
		step(&buddy, blocks, orders, 0);
	moment(writer, &buddy, time++);
	snapshot(writer, &buddy, 1, &time);
	for (size_t i = 0; i < EVENTS; i++) {
		struct ft_node_event event = step(&buddy, blocks, orders, time += 3);

		if (i != without)
			events[n++] = event;
		if (i % (EVENTS / MOMENTS) == 0)
			moment(writer, &buddy, time + 1);
	}
	good(ft_node_writer_events(writer, events, n));
	time += 10;
	snapshot(writer, &buddy, 2, &time);
	moment(writer, &buddy, time + 1);
	good(ft_node_writer_finish(writer));
	fa_buddy_deinit(&buddy);
}

/* ---- the analysis ---------------------------------------------------------------------------- */

struct result {
	uint64_t events, impossible, different, compared, index_lines, index_equal;
	double unusable, w1;
	size_t n_points;
};

static struct result analyse(void)
{
	struct ft_reader *reader = NULL;
	struct fa_doc *doc = NULL;
	struct ft_arena arena;
	const struct fa_value *node, *held, *zone, *policy;
	struct result r;

	ft_arena_init(&arena);
	good(ft_reader_open(path, FT_READER_NODE, &reader));
	good(fa_doc_create(&doc));
	good(fa_node_analyse(reader, &(struct fa_node_options){.top = 0}, doc));
	good(fa_json_parse(&arena, fa_doc_section(doc, "node"), &node));
	held = fa_value_get(node, "held");
	zone = fa_value_get(fa_value_get(held, "replay"), "zones");
	ck_assert_ptr_nonnull(zone);
	zone = zone->first;
	policy = fa_value_get(zone, "policy");
	r = (struct result){.events = fa_value_u64(zone, "events"),
			    .impossible = fa_value_u64(zone, "impossible_allocations") +
					  fa_value_u64(zone, "impossible_frees"),
			    .different = fa_value_u64(zone, "different_pages"),
			    .compared = fa_value_u64(zone, "compared_pages"),
			    .unusable = fa_value_f64(zone, "worst_unusable_difference"),
			    .index_lines = fa_value_u64(held, "index_lines"),
			    .index_equal = fa_value_u64(held, "index_lines_equal"),
			    .w1 = fa_value_f64(policy, "worst_w1"),
			    .n_points = fa_value_get(policy, "checkpoints")->n};
	fa_doc_destroy(doc);
	ft_reader_close(reader);
	ft_arena_deinit(&arena);
	return r;
}

START_TEST(replay_of_a_machine_that_tells_all)
{
	struct result r;

	record(SIZE_MAX);
	r = analyse();
	ck_assert_uint_eq(r.events, EVENTS);
	ck_assert_uint_eq(r.impossible, 0);
	ck_assert_uint_eq(r.compared, PAGES);
	ck_assert_uint_eq(r.different, 0);
	ck_assert(r.unusable == 0);
	ck_assert_uint_eq(r.index_lines, MOMENTS + 3);
	ck_assert_uint_eq(r.index_equal, r.index_lines);
	ck_assert_uint_eq(r.n_points, 10);
	/* The policy's lists begin in another order than the machine's: alike, not equal. */
	ck_assert(r.w1 < 0.25);
}
END_TEST

START_TEST(an_event_that_was_kept_back_is_found)
{
	for (size_t i = 0; i < 5; i++) {
		struct result r;

		tear_down();
		record(i * 7000 + 11);
		r = analyse();
		ck_assert_uint_eq(r.events, EVENTS - 1);
		ck_assert_uint_gt(r.impossible + r.different, 0);
	}
}
END_TEST

START_TEST(each_kind_of_reader_refuses_the_other)
{
	struct ft_reader *reader = NULL;
	struct ft_writer *writer = NULL;
	struct ft_error *error;

	record(SIZE_MAX);
	error = ft_reader_open(path, 0, &reader);
	ck_assert_ptr_nonnull(error);
	ck_assert_int_eq(error->kind, FT_ERROR_INPUT);
	ck_assert_ptr_nonnull(strstr(error->message, "fraganalyze node"));
	ft_error_destroy(error);
	unlink(path);
	good(ft_writer_create(path, &writer));
	good(ft_writer_finish(writer));
	error = ft_reader_open(path, FT_READER_NODE, &reader);
	ck_assert_ptr_nonnull(error);
	ck_assert_ptr_nonnull(strstr(error->message, "fragtrace node"));
	ft_error_destroy(error);
	good(ft_reader_open(path, FT_READER_ANY_KIND, &reader));
	ck_assert(!ft_reader_is_node(reader));
	ft_reader_close(reader);
}
END_TEST

START_TEST(blobs_come_back_and_damage_is_said)
{
	static struct ft_node_event out[FT_NODE_CHUNK_EVENTS];
	const struct ft_node_event in[] = {
		{.time_ns = 5, .pfn = 9, .cpu = 2, .kind = FT_NODE_TAKE, .order = 3, .type = 1},
		{.time_ns = 5, .pfn = 3, .cpu = 2, .kind = FT_NODE_RELEASE, .order = 10},
		{.time_ns = UINT64_C(1) << 40,
		 .pfn = 77,
		 .n = 8,
		 .cpu = 2,
		 .kind = FT_NODE_FALLBACK,
		 .order = 1,
		 .type = 1,
		 .other_type = 2,
		 .flag = 1},
	};
	const struct ft_node_run runs[] = {{FT_NODE_FREE, 0, 24}, {FT_NODE_MOVABLE, 3, 1}};
	struct ft_unpacker *unpacker = ft_unpacker_create();
	struct ft_packer *packer = ft_packer_create(1);
	ft_auto_strbuf struct ft_strbuf blob;
	struct ft_node_run *again = NULL;
	size_t n = 0;

	ft_strbuf_init(&blob);
	ck_assert(ft_node_events_encode(in, 3, packer, &blob));
	ck_assert_ptr_null(ft_node_events_decode(blob.data, blob.len, 2, unpacker, out, &n));
	ck_assert_uint_eq(n, 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert_mem_eq(&out[i], &in[i], sizeof(in[i]));
	for (size_t cut = 0; cut < blob.len; cut++)
		ck_assert_ptr_nonnull(ft_node_events_decode(blob.data, cut, 2, unpacker, out, &n));
	ft_strbuf_clear(&blob);
	ck_assert(ft_node_pages_encode(runs, 2, packer, &blob));
	ck_assert_ptr_null(ft_node_pages_decode(blob.data, blob.len, 32, unpacker, &again, &n));
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(again[1].order, 3);
	free(again);
	ck_assert_ptr_nonnull(ft_node_pages_decode(blob.data, blob.len, 31, unpacker, &again, &n));
	ck_assert_ptr_nonnull(ft_node_pages_decode(blob.data, blob.len, 33, unpacker, &again, &n));
	ft_packer_destroy(packer);
	ft_unpacker_destroy(unpacker);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node-recording");
	TCase *tests = tcase_create("recording");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 110);
	tcase_add_test(tests, replay_of_a_machine_that_tells_all);
	tcase_add_test(tests, an_event_that_was_kept_back_is_found);
	tcase_add_test(tests, each_kind_of_reader_refuses_the_other);
	tcase_add_test(tests, blobs_come_back_and_damage_is_said);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/*
 * The layout passes on heaps whose answer is known
 *
 * Each test writes a recording of a heap that is laid out by hand, replays it and reads the
 * document. Blocks are as glibc makes them: 8 bytes of header, usable sizes of 16 n + 8.
 */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_json_read.h"
#include "fragtrace/store.h"

enum { MS = 1000000, HEAP = 0x555555559000 };

#define OK(expression)                                                             \
	do {                                                                       \
		struct ft_error *ok_error = (expression);                          \
		ck_assert_msg(!ok_error, "%s", ok_error ? ok_error->message : ""); \
	} while (0)

/* ---- writing ------------------------------------------------------------------------------------
 */

static char path[64];
static struct ft_writer *writer;
static uint64_t now;

static void record_start(const char *allocator)
{
	snprintf(path, sizeof(path), "/tmp/fragtrace-test-%d.frag", (int)getpid());
	unlink(path);
	OK(ft_writer_create(path, &writer));
	OK(ft_writer_process(writer, &(struct ft_process_row){.pid = 1,
							      .exe = "/bin/test",
							      .argv_json = "[\"test\"]",
							      .fork_ns = FT_TIME_NONE,
							      .end_ns = FT_TIME_NONE}));
	OK(ft_writer_thread(writer,
			    &(struct ft_thread_row){.id = 1, .tid = 1, .end_ns = FT_TIME_NONE}));
	if (allocator)
		OK(ft_writer_meta(writer, "allocator", allocator));
	for (uint32_t id = 1; id <= 8; id++)
		OK(ft_writer_stack_node(writer, &(struct ft_stack_node){.id = id,
									.parent = id > 1 ? 1 : 0,
									.pc = 0x1000 * id}));
	now = 0;
}

static void event(struct ft_event e)
{
	uint64_t seq;

	now += 1000;
	e.time_ns = now;
	e.thread = 1;
	OK(ft_writer_event(writer, &e, &seq));
}

/* A block whose chunk is [chunk, chunk + size): the address is 16 beyond, as glibc's are. */
static void chunk_new(uint64_t chunk, uint64_t size, uint32_t stack)
{
	event((struct ft_event){.kind = FT_EVENT_ALLOC,
				.api = FT_API_MALLOC,
				.address = chunk + 16,
				.size = size - 8,
				.usable = size - 8,
				.stack = stack});
}

static void block_free(uint64_t address)
{
	event((struct ft_event){.kind = FT_EVENT_FREE, .api = FT_API_FREE, .address = address});
}

static void chunk_free(uint64_t chunk)
{
	block_free(chunk + 16);
}

/* ---- reading ------------------------------------------------------------------------------------
 */

static struct ft_reader *reader;
static struct fa_engine *engine;
static struct fa_doc *doc;
static struct ft_arena arena;
static const struct fa_value *frag, *metrics;

static void analyze(const struct fa_options *options)
{
	OK(ft_writer_finish(writer));
	OK(ft_reader_open(path, 0, &reader));
	OK(fa_engine_create(reader, options, &engine));
	OK(fa_engine_add(engine, fa_pass_find("frag")));
	OK(fa_engine_add(engine, fa_pass_find("map")));
	OK(fa_engine_add(engine, fa_pass_find("flame")));
	OK(fa_engine_run(engine));
	OK(fa_doc_create(&doc));
	OK(fa_engine_emit(engine, doc));
	OK(fa_doc_check(doc));
	ft_arena_init(&arena);
	OK(fa_json_parse(&arena, fa_doc_section(doc, "frag"), &frag));
	metrics = fa_value_get(frag, "metrics");
	ck_assert_ptr_nonnull(metrics);
}

static void done(void)
{
	fa_doc_destroy(doc);
	fa_engine_destroy(engine);
	ft_reader_close(reader);
	ft_arena_deinit(&arena);
	unlink(path);
}

static uint64_t metric(const char *key)
{
	return fa_value_u64(metrics, key);
}

static double list_at(const struct fa_value *list, unsigned index)
{
	const struct fa_value *item = list->first;

	while (index--)
		item = item->next;
	return strtod(item->text, NULL);
}

static uint64_t fill(const char *key, unsigned step)
{
	return (uint64_t)list_at(fa_value_get(fa_value_get(metrics, "page_fill"), key), step);
}

/* Twice as fine as the histogram by deciles, and resident pages are the footprint. */
static void check_fill(void)
{
	const struct fa_value *hist = fa_value_get(metrics, "page_occupancy_hist");
	uint64_t resident = fill("resident", 0);

	for (unsigned d = 1; d < 11; d++) {
		uint64_t both = 0;

		for (unsigned i = 2 * d - 1; i <= 2 * d; i++) {
			both += fill("resident", i) + fill("absent", i);
			resident += fill("resident", i);
		}
		ck_assert_uint_eq(both, (uint64_t)list_at(hist, d));
	}
	ck_assert_uint_eq(resident * 4096, metric("footprint_bytes"));
}

static uint64_t column_u64(const char *name, size_t index)
{
	const struct fa_column *column = fa_doc_column_find(doc, name);

	ck_assert_ptr_nonnull(column);
	ck_assert_uint_lt(index, column->n);
	return ((const uint64_t *)column->data)[index];
}

static size_t column_n(const char *name)
{
	const struct fa_column *column = fa_doc_column_find(doc, name);

	return column ? column->n : 0;
}

static const struct fa_value *site(uint64_t stack)
{
	const struct fa_value *item = fa_value_get(frag, "sites")->first;

	while (item && fa_value_u64(item, "site") != stack)
		item = item->next;
	return item;
}

/* ---- tests --------------------------------------------------------------------------------------
 */

/* 256 KiB of chunks of 1 KiB, from a page boundary - 8 of extents aside; each fourth one freed. */
START_TEST(a_quarter_of_holes)
{
	record_start("glibc");
	for (uint64_t i = 0; i < 257; i++)
		chunk_new(HEAP + i * 1024, 1024, 1);
	for (uint64_t i = 1; i < 257; i += 4)
		chunk_free(HEAP + i * 1024);
	analyze(NULL);

	ck_assert_uint_eq(metric("hole_bytes"), 64 * 1024);
	ck_assert_uint_eq(metric("holes"), 64);
	ck_assert_uint_eq(metric("largest_hole"), 1024);
	ck_assert_uint_eq(metric("pages"), 65);
	ck_assert_uint_eq(metric("footprint_bytes"), 65 * 4096);
	ck_assert_str_eq(fa_value_text(frag, "residency"), "assumed");
	/* No page is free: nothing to trim, nothing to place a page in. */
	ck_assert_uint_eq(metric("trimmable_bytes"), 0);
	/* Pinned: the holes, and what lies around the heap on its first and last page. */
	ck_assert_uint_eq(metric("pinned_free_bytes"), 65 * 4096 - 193 * 1024);
	ck_assert_uint_eq((uint64_t)list_at(fa_value_get(metrics, "page_occupancy_hist"), 8), 64);
	/* Three quarters of a page, and on one of them the 8 bytes of a header less. */
	ck_assert_uint_eq(fill("resident", 16), 63);
	ck_assert_uint_eq(fill("resident", 15), 1);
	check_fill();
	ck_assert_uint_eq(fa_value_u64(site(1), "sole"), metric("pinned_free_bytes"));
	ck_assert_uint_eq(fa_value_u64(site(1), "shapley"), metric("pinned_free_bytes"));
	ck_assert_uint_eq(fa_value_u64(site(1), "pages_sole"), 65);
	done();
}
END_TEST

/* One small survivor every other page pins as much as a heap of them. */
START_TEST(scattered_survivors_pin_their_pages)
{
	record_start("glibc");
	for (uint64_t i = 0; i < 1000; i++) {
		chunk_new(HEAP + i * 8192, 32, 2);
		chunk_new(HEAP + i * 8192 + 32, 8160, 1);
	}
	for (uint64_t i = 0; i < 1000; i++)
		chunk_free(HEAP + i * 8192 + 32);
	analyze(NULL);

	ck_assert_uint_eq(metric("live_bytes"), 1000 * 24);
	ck_assert_uint_eq(metric("pinned_free_bytes"), 1000 * 4064);
	ck_assert_uint_eq(fa_value_u64(site(2), "sole"), 1000 * 4064);
	ck_assert_uint_eq(fa_value_u64(site(2), "pages_sole"), 1000);
	ck_assert_ptr_null(site(1));
	/* Between two survivors lies one free page; the hole begins 40 bytes into the page before:
	 * the header of the free chunk fits there, the whole page can go. */
	ck_assert_uint_eq(metric("trimmable_bytes"), 999 * 4096);
	ck_assert_uint_eq((uint64_t)list_at(fa_value_get(metrics, "page_occupancy_hist"), 0), 999);
	ck_assert_uint_eq(fill("resident", 0), 999);
	ck_assert_uint_eq(fill("resident", 1), 1000);
	check_fill();
	/* Free pages stand alone: unusable for anything of two pages and more. */
	ck_assert(list_at(fa_value_get(metrics, "uf_index"), 0) == 0);
	ck_assert(list_at(fa_value_get(metrics, "uf_index"), 1) == 1);
	ck_assert_str_eq(fa_value_text(fa_value_get(frag, "verdict"), "code"), "pinned");
	done();
}
END_TEST

/* Six sites in turn: none has most of it. */
START_TEST(the_largest_part_is_not_most)
{
	const char *text;

	record_start("glibc");
	for (uint64_t i = 0; i < 1200; i++) {
		chunk_new(HEAP + i * 8192, 32, 2 + (uint32_t)(i % 6));
		chunk_new(HEAP + i * 8192 + 32, 8160, 1);
	}
	for (uint64_t i = 0; i < 1200; i++)
		chunk_free(HEAP + i * 8192 + 32);
	analyze(NULL);
	text = fa_value_text(fa_value_get(frag, "verdict"), "text");
	ck_assert_msg(strstr(text, "holds the largest part of them (794 KiB)") != NULL, "%s", text);
	done();
}
END_TEST

START_TEST(a_small_sparse_heap_is_not_called_well_filled)
{
	const char *text;

	record_start("glibc");
	for (uint64_t i = 0; i < 100; i++) {
		chunk_new(HEAP + i * 4096, 32, 2);
		chunk_new(HEAP + i * 4096 + 32, 4064, 1);
	}
	for (uint64_t i = 0; i < 100; i++)
		chunk_free(HEAP + i * 4096 + 32);
	analyze(NULL);
	text = fa_value_text(fa_value_get(frag, "verdict"), "text");
	ck_assert_str_eq(fa_value_text(fa_value_get(frag, "verdict"), "code"), "fine");
	ck_assert_str_eq(text,
			 "little memory is at stake: 2.34 KiB of live blocks on 400 KiB of pages");
	done();
}
END_TEST

/* 1000 pages, of which the sample at `sample_ns` of 1.05 s saw 10 resident. */
static void analyze_sampled(uint64_t sample_ns)
{
	record_start("glibc");
	for (uint64_t i = 0; i < 1000; i++)
		chunk_new(HEAP + i * 4096, 4096, 2);
	now = UINT64_C(1050) * MS;
	chunk_new(HEAP + 1000 * 4096, 4096, 2);
	OK(ft_writer_mapping(writer, &(struct ft_mapping_row){.time_ns = sample_ns,
							      .start = HEAP,
							      .end = HEAP + 2000 * 4096,
							      .perms = "rw-p",
							      .path = "[heap]",
							      .kind = "heap",
							      .rss = 10 * 4096}));
	OK(ft_writer_sample(writer, &(struct ft_sample_row){.time_ns = sample_ns,
							    .source = "smaps_rollup",
							    .key = "Rss",
							    .value = 20 * 4096}));
	analyze(NULL);
}

START_TEST(a_sample_counts_for_the_heap_it_saw)
{
	analyze_sampled(UINT64_C(900) * MS);
	ck_assert_str_eq(fa_value_text(frag, "residency"), "mappings");
	ck_assert_uint_eq(metric("footprint_bytes"), 10 * 4096);
	ck_assert_uint_eq(fa_value_u64(frag, "sample_ns"), UINT64_C(900) * MS);
	done();
	/* Pages that are touched later are resident now. */
	analyze_sampled(UINT64_C(50) * MS);
	ck_assert_str_eq(fa_value_text(frag, "residency"), "assumed");
	ck_assert_uint_eq(metric("footprint_bytes"), 1002 * 4096);
	done();
}
END_TEST

static void residency(uint64_t time_ns, int64_t rss, const struct ft_page_run *runs, size_t n)
{
	OK(ft_writer_residency(writer, &(struct ft_residency_row){.time_ns = time_ns,
								  .method = "pagemap",
								  .page_bytes = 4096,
								  .rss = rss,
								  .runs = runs,
								  .n_runs = n}));
}

static int64_t column_i64(const char *name, size_t index)
{
	return (int64_t)column_u64(name, index);
}

/* The main heap of 104 pages, of which the middle ones are freed, and an arena of 65. */
#define ARENA UINT64_C(0x7f0000000000)

static void main_and_arena(void)
{
	record_start("glibc");
	for (uint64_t i = 0; i < 3; i++)
		chunk_new(HEAP + (i > 0) * 4096 + (i > 1) * UINT64_C(409600),
			  i == 1 ? 409600 : 4096, 1);
	for (uint64_t i = 0; i < 2; i++)
		event((struct ft_event){.kind = FT_EVENT_ALLOC,
					.address = ARENA + 0x1010 + i * UINT64_C(65536),
					.size = 65528,
					.usable = 65528,
					.flags = FT_EVENT_F_NON_MAIN,
					.stack = 2});
	chunk_free(HEAP + 4096);
	OK(ft_writer_mapping(writer, &(struct ft_mapping_row){.time_ns = 1,
							      .start = HEAP,
							      .end = HEAP + UINT64_C(104) * 4096,
							      .perms = "rw-p",
							      .path = "[heap]",
							      .kind = "heap",
							      .rss = 0}));
	OK(ft_writer_mapping(writer, &(struct ft_mapping_row){.time_ns = 1,
							      .start = ARENA,
							      .end = ARENA + 0x100000,
							      .perms = "rw-p",
							      .kind = "arena",
							      .rss = 0}));
}

/* Of the 98 whole pages of a free chunk the kernel holds 60, then 20: no more can be given back. */
START_TEST(what_can_be_trimmed_is_resident)
{
	size_t k, q;

	main_and_arena();
	residency(UINT64_C(100) * MS, 300 * 4096,
		  (struct ft_page_run[]){{HEAP, 61, FT_PAGES_RESIDENT},
					 {HEAP + 61 * 4096, 40, FT_PAGES_ABSENT},
					 {HEAP + 101 * 4096, 2, FT_PAGES_RESIDENT},
					 {HEAP + 103 * 4096, 1, FT_PAGES_ABSENT},

					 {ARENA, 256, FT_PAGES_RESIDENT}},
		  5);
	now = UINT64_C(500) * MS;
	chunk_new(HEAP + UINT64_C(102) * 4096, 4096, 1);
	residency(UINT64_C(600) * MS, 200 * 4096,
		  (struct ft_page_run[]){{HEAP, 21, FT_PAGES_RESIDENT},
					 {HEAP + 21 * 4096, 80, FT_PAGES_ABSENT},
					 {HEAP + 101 * 4096, 3, FT_PAGES_RESIDENT},
					 {ARENA, 256, FT_PAGES_ABSENT}},
		  4);
	now = UINT64_C(1000) * MS;
	chunk_new(ARENA + UINT64_C(0x40000), 32, 1);
	analyze(NULL);

	ck_assert_str_eq(fa_value_text(frag, "residency"), "sampled");
	k = column_n("frag.time_ns");
	ck_assert_uint_eq(column_n("frag.trimmable_bytes"), k);
	/* The chunk begins where page 1 does, whose first bytes are its header. */
	ck_assert_uint_eq(column_u64("frag.trimmable_bytes", k / 4), 59 * 4096);
	ck_assert_uint_eq(column_u64("frag.trimmable_bytes", k - 1), 19 * 4096);
	ck_assert_uint_eq(metric("trimmable_bytes"), 19 * 4096);
	/* The arena's two blocks of 16 pages are not resident. */
	ck_assert_uint_eq(fill("absent", 20), 32);
	check_fill();

	/* Two rows of two moments: the main heap, then the arena. */
	ck_assert_uint_eq(fa_value_get(frag, "arenas")->n, 2);
	ck_assert_str_eq(fa_value_text(fa_value_get(frag, "arenas")->first, "kind"), "main");
	ck_assert_uint_eq(fa_value_u64(fa_value_get(frag, "arenas")->first->next, "start"), ARENA);
	q = column_n("frag.arena_time_ns");
	ck_assert_uint_eq(q, 2);
	ck_assert_uint_eq(column_n("frag.arena_slack"), 2 * q);
	ck_assert_int_eq(column_i64("frag.arena_live_req", 0), 2 * 4088);
	ck_assert_int_eq(column_i64("frag.arena_live_req", 1), 3 * 4088);
	ck_assert_int_eq(column_i64("frag.arena_live_req", q), 2 * 65528);
	for (size_t i = 0; i < 2 * q; i++) {
		uint64_t resident = (const uint64_t[]){63, 24, 256, 0}[i] * 4096;
		int64_t sum =
			column_i64("frag.arena_slack", i) - column_i64("frag.arena_live_nr", i);

		/* The terms of each row and moment close by themselves. */
		sum += column_i64("frag.arena_live_req", i) + column_i64("frag.arena_round", i) +
		       column_i64("frag.arena_meta", i);
		ck_assert_int_eq(sum, (int64_t)resident);
		ck_assert_int_eq(column_i64("frag.arena_slack", i),
				 column_i64("frag.arena_pin_free", i) +
					 column_i64("frag.arena_empty_res", i));
	}
	done();
}
END_TEST

/* The same survivors side by side: the rest of the heap is one hole. */
START_TEST(clustered_survivors_leave_one_hole)
{
	record_start("glibc");
	for (uint64_t i = 0; i < 1000; i++)
		chunk_new(HEAP + i * 32, 32, 2);
	for (uint64_t i = 0; i < 1000; i++)
		chunk_new(HEAP + 32000 + i * 8160, 8160, 1);
	chunk_new(HEAP + 32000 + 1000 * 8160, 32, 2);
	for (uint64_t i = 0; i < 1000; i++)
		chunk_free(HEAP + 32000 + i * 8160);
	analyze(NULL);

	ck_assert_uint_eq(metric("holes"), 1);
	ck_assert_uint_eq(metric("largest_hole"), 8160000);
	ck_assert_uint_eq(metric("hole_bytes"), 8160000);
	/* 0x...9000 + 32008 is in page 7, the last chunk's page is 1999: all between are free. */
	ck_assert_uint_eq(metric("trimmable_bytes"),
			  ((HEAP + 32000 + 8160000) / 4096 - (HEAP + 32000 + 48 + 4095) / 4096) *
				  4096);
	ck_assert_uint_le(metric("pinned_free_bytes"), 3 * 4096);
	ck_assert(list_at(fa_value_get(metrics, "uf_index"), 8) < 0.3);
	ck_assert_str_eq(fa_value_text(fa_value_get(frag, "verdict"), "code"), "retained");
	done();
}
END_TEST

/* Two pages with both sites, one with site 2 alone. */
START_TEST(shares_add_up_to_what_is_pinned)
{
	uint64_t sum = 0;

	record_start("glibc");
	for (uint64_t p = 0; p < 3; p++) {
		chunk_new(HEAP + p * 4096 + 64, 32, 2);
		if (p < 2)
			chunk_new(HEAP + p * 4096 + 2048, 48, 3);
		if (p < 1)
			chunk_new(HEAP + p * 4096 + 3072, 64, 4);
	}
	analyze(NULL);
	for (const struct fa_value *s = fa_value_get(frag, "sites")->first; s; s = s->next)
		sum += fa_value_u64(s, "shapley");
	ck_assert_uint_eq(sum, metric("pinned_free_bytes"));
	ck_assert_uint_eq(fa_value_u64(site(2), "sole"), 4064);
	ck_assert_uint_eq(fa_value_u64(site(3), "sole"), 0);
	ck_assert_uint_eq(fa_value_u64(site(3), "any"), 4096 - 144 + 4096 - 80);
	done();
}
END_TEST

/* A block with a mapping of its own leaves no hole where it was. */
START_TEST(own_mappings_leave_no_holes)
{
	record_start("glibc");
	for (uint64_t i = 0; i < 10; i++)
		event((struct ft_event){.kind = FT_EVENT_ALLOC,
					.address = 0x7f0000000010 + i * 0x41000,
					.size = 0x40000,
					.usable = 0x41000 - 16,
					.flags = FT_EVENT_F_MMAPPED,
					.stack = 1});
	for (uint64_t i = 0; i < 10; i += 2)
		block_free(0x7f0000000010 + i * 0x41000);
	analyze(NULL);
	ck_assert_uint_eq(metric("holes"), 0);
	ck_assert_uint_eq(metric("pages"), 5 * 0x41);
	ck_assert_uint_eq(metric("pinned_free_bytes"), 0);
	done();
}
END_TEST

/* jemalloc's blocks have no header, and come in eights. */
START_TEST(blocks_of_other_allocators_have_no_header)
{
	record_start("jemalloc");
	for (uint64_t i = 0; i < 512; i++)
		event((struct ft_event){.kind = FT_EVENT_ALLOC,
					.address = 0x7f0000200000 + i * 8,
					.size = 5,
					.usable = 8,
					.stack = 1});
	for (uint64_t i = 1; i < 511; i += 2)
		block_free(0x7f0000200000 + i * 8);
	analyze(NULL);
	ck_assert_uint_eq(metric("pages"), 1);
	ck_assert_uint_eq(metric("holes"), 255);
	ck_assert_uint_eq(metric("hole_bytes"), 255 * 8);
	ck_assert_uint_eq(metric("largest_hole"), 8);
	ck_assert(fa_value_is_null(fa_value_get(metrics, "trimmable_bytes")));
	ck_assert_uint_eq(fa_value_u64(frag, "unplaced_blocks"), 0);
	ck_assert_uint_eq(column_n("frag.trimmable_bytes"), 0);
	/* One slab, half of it: nothing to compact it with. */
	ck_assert_uint_eq(column_n("frag.mesh_gain_bytes"), column_n("frag.pin_time_ns"));
	ck_assert_uint_eq(column_u64("frag.compact_gain_bytes", column_n("frag.pin_time_ns") - 1),
			  fa_value_u64(fa_value_get(frag, "slabs"), "compact_gain_bytes"));
	done();
}
END_TEST

/* A realloc in place gives back its tail. */
START_TEST(a_shrunk_block_leaves_its_tail)
{
	record_start("glibc");
	chunk_new(HEAP, 4096, 1);
	chunk_new(HEAP + 4096, 32, 1);
	event((struct ft_event){.kind = FT_EVENT_REALLOC,
				.address = HEAP + 16,
				.old_address = HEAP + 16,
				.size = 1000,
				.usable = 1000,
				.stack = 2});
	analyze(NULL);
	ck_assert_uint_eq(metric("holes"), 1);
	ck_assert_uint_eq(metric("hole_bytes"), 4096 - 1008);
	done();
}
END_TEST

/* Blocks that lie on each other come from a damaged recording; nothing else may suffer. */
START_TEST(overlaps_are_counted_and_do_no_harm)
{
	record_start("glibc");
	chunk_new(HEAP, 4096, 1);
	chunk_new(HEAP + 64, 32, 2); /* inside the first */
	chunk_new(HEAP + 8192, 4096, 1);
	chunk_free(HEAP + 64);
	chunk_free(HEAP);
	chunk_new(HEAP + 64, 32, 2); /* room now */
	analyze(NULL);
	ck_assert_uint_eq(fa_value_u64(frag, "unplaced_blocks"), 1);
	ck_assert_uint_eq(metric("holes"), 1);
	ck_assert_uint_eq(metric("hole_bytes"), 8192 - 96);
	done();
}
END_TEST

/* The heap is described as the program had it at work, not after it cleaned up. */
START_TEST(teardown_does_not_hide_the_layout)
{
	record_start("glibc");
	for (uint64_t i = 0; i < 1000; i++)
		chunk_new(HEAP + i * 4096, 2048, 1);
	now += 100 * MS;
	chunk_new(HEAP + 1000 * 4096, 2048, 1);
	for (uint64_t i = 0; i < 1001; i++)
		chunk_free(HEAP + i * 4096);
	analyze(NULL);
	ck_assert_uint_eq(metric("live_bytes"), 1001 * 2040);
	ck_assert_uint_ge(metric("pinned_free_bytes"), 1000 * 2048);
	/* The series goes on to the end. */
	ck_assert_uint_eq(column_u64("frag.live_bytes", column_n("frag.live_bytes") - 1), 0);
	done();
}
END_TEST

/* A window in the middle begins with what was live then. */
START_TEST(a_window_starts_with_the_heap_as_it_was)
{
	struct fa_options options = {0};

	record_start("glibc");
	for (uint64_t i = 0; i < 16; i++)
		chunk_new(HEAP + i * 1024, 1024, 1);
	now += 10 * MS;
	options.from_ns = now;
	now += 10 * MS;
	chunk_free(HEAP + 1024);
	options.to_ns = now;
	now += 10 * MS;
	chunk_free(HEAP + 4096);
	chunk_new(HEAP + 16384, 1024, 1);
	analyze(&options);
	ck_assert_uint_eq(metric("holes"), 1);
	ck_assert_uint_eq(fa_value_u64(frag, "at_ns"), options.to_ns);
	ck_assert_uint_eq(metric("live_bytes"), 15 * 1016);
	done();
}
END_TEST

/* The document's promises about shapes, and that the columns agree with the facts. */
START_TEST(columns_have_the_promised_shapes)
{
	const struct fa_value *map, *flame;
	uint64_t allocated = 0, live = 0;

	record_start("glibc");
	for (uint64_t i = 0; i < 3000; i++) {
		chunk_new(HEAP + i * 160, 160, 1 + (uint32_t)i % 8);
		now += MS;
	}
	chunk_free(HEAP + 160);
	analyze(NULL);

	size_t k = column_n("frag.time_ns");

	ck_assert_uint_gt(k, 100);
	ck_assert_uint_le(k, 512);
	ck_assert_uint_eq(column_n("frag.live_bytes"), k);
	ck_assert_uint_eq(column_n("frag.pinned_free_bytes"), k);
	ck_assert_uint_eq(column_n("frag.trimmable_bytes"), k);
	ck_assert_uint_eq(column_n("frag.hole_size_hist"), 48 * k);
	for (unsigned f = 0; f < 4; f++) {
		const char *const names[] = {"frag.jw_f1", "frag.jw_f2", "frag.jw_f3",
					     "frag.jw_f4"};
		const char *const keys[] = {"jw_f1", "jw_f2", "jw_f3", "jw_f4"};
		const struct fa_column *column = fa_doc_column_find(doc, names[f]);
		double last;

		ck_assert_uint_eq(column_n(names[f]), k);
		last = ((const double *)column->data)[k - 1];
		ck_assert(fabs(last - strtod(fa_value_get(metrics, keys[f])->text, NULL)) < 1e-6);
	}
	ck_assert_uint_eq(column_n("frag.uf_index"), 11 * k);
	ck_assert_uint_eq(column_n("frag.page_occupancy_hist"), 11 * k);
	ck_assert_uint_eq(column_u64("frag.pinned_free_bytes", k - 1), metric("pinned_free_bytes"));
	ck_assert_uint_eq(column_u64("frag.pages", k - 1), metric("pages"));
	ck_assert_uint_eq(column_u64("frag.largest_hole", k - 1), 160);
	for (size_t i = 1; i < k; i++)
		ck_assert_uint_gt(column_u64("frag.time_ns", i), column_u64("frag.time_ns", i - 1));

	OK(fa_json_parse(&arena, fa_doc_section(doc, "map"), &map));
	ck_assert_uint_eq(column_n("map.occupancy"),
			  fa_value_u64(map, "rows") * fa_value_u64(map, "columns"));
	ck_assert_uint_le(fa_value_u64(map, "rows"), 256);
	ck_assert_uint_eq(fa_value_get(map, "time_ns")->n, fa_value_u64(map, "columns"));

	OK(fa_json_parse(&arena, fa_doc_section(doc, "flame"), &flame));
	for (size_t i = 0; i < column_n("flame.parent"); i++) {
		const uint32_t *parent = fa_doc_column_find(doc, "flame.parent")->data;
		const uint32_t *function = fa_doc_column_find(doc, "flame.function")->data;

		ck_assert(i ? parent[i] < i : parent[i] == 0);
		ck_assert_uint_lt(function[i], fa_value_get(flame, "functions")->n);
		allocated += column_u64("flame.allocated", i);
		live += column_u64("flame.leaked", i);
	}
	ck_assert_uint_eq(allocated, 3000 * 152);
	ck_assert_uint_eq(live, 2999 * 152);
	done();
}
END_TEST

START_TEST(an_empty_recording_is_fine)
{
	record_start("glibc");
	analyze(NULL);
	ck_assert_uint_eq(metric("pages"), 0);
	ck_assert(fa_value_is_null(fa_value_get(metrics, "overhead_ratio")));
	ck_assert_str_eq(fa_value_text(fa_value_get(frag, "verdict"), "code"), "fine");
	done();
}
END_TEST

/* 30 000 stacks of 4 frames: the tree is cut to 5000 nodes and loses no byte. */
START_TEST(a_large_flame_graph_is_folded_without_loss)
{
	uint64_t allocated = 0, count = 0;
	const struct fa_value *flame;
	uint32_t id = 9;

	record_start("glibc");
	for (uint64_t i = 0; i < 30000; i++) {
		OK(ft_writer_stack_node(writer, &(struct ft_stack_node){.id = id,
									.parent = 1 + i % 8,
									.pc = 0x100000 + i * 64}));
		OK(ft_writer_stack_node(writer, &(struct ft_stack_node){.id = id + 1,
									.parent = id,
									.pc = 0x900000 + i * 64}));
		id += 2;
		chunk_new(HEAP + i * 32, 32, id - 1);
	}
	analyze(NULL);
	ck_assert_uint_le(column_n("flame.parent"), 5000);
	ck_assert_uint_gt(column_n("flame.parent"), 4500);
	for (size_t i = 0; i < column_n("flame.parent"); i++) {
		allocated += column_u64("flame.allocated", i);
		count += column_u64("flame.count", i);
	}
	ck_assert_uint_eq(allocated, 30000 * 24);
	ck_assert_uint_eq(count, 30000);
	OK(fa_json_parse(&arena, fa_doc_section(doc, "flame"), &flame));
	ck_assert_uint_gt(fa_value_u64(fa_value_get(flame, "other"), "sites"), 20000);
	ck_assert_uint_le(fa_value_get(flame, "functions")->n, 5000);
	done();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("layout");
	TCase *tc = tcase_create("layout");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_quarter_of_holes);
	tcase_add_test(tc, scattered_survivors_pin_their_pages);
	tcase_add_test(tc, the_largest_part_is_not_most);
	tcase_add_test(tc, a_small_sparse_heap_is_not_called_well_filled);
	tcase_add_test(tc, a_sample_counts_for_the_heap_it_saw);
	tcase_add_test(tc, what_can_be_trimmed_is_resident);
	tcase_add_test(tc, clustered_survivors_leave_one_hole);
	tcase_add_test(tc, shares_add_up_to_what_is_pinned);
	tcase_add_test(tc, own_mappings_leave_no_holes);
	tcase_add_test(tc, blocks_of_other_allocators_have_no_header);
	tcase_add_test(tc, a_shrunk_block_leaves_its_tail);
	tcase_add_test(tc, overlaps_are_counted_and_do_no_harm);
	tcase_add_test(tc, teardown_does_not_hide_the_layout);
	tcase_add_test(tc, a_window_starts_with_the_heap_as_it_was);
	tcase_add_test(tc, columns_have_the_promised_shapes);
	tcase_add_test(tc, an_empty_recording_is_fine);
	tcase_add_test(tc, a_large_flame_graph_is_folded_without_loss);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

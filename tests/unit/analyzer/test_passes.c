/* SPDX-License-Identifier: MIT */
/* Passes on small recordings whose answers can be counted by hand. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scene.h"

START_TEST(sites_at_the_exact_peak_and_temporary)
{
	static const char *const passes[] = {"sites", NULL};
	struct scene s;

	scene_begin(&s);
	s.now_ns = SEC;
	scene_alloc(&s, 0x1000, 100, 0, 1);
	scene_alloc(&s, 0x2000, 1000, 1, 1); /* the peak: 1100 */
	scene_free(&s, 0x2000, 1);	     /* temporary: nothing in between */
	scene_alloc(&s, 0x3000, 500, 2, 1);
	scene_alloc(&s, 0x4000, 10, 3, 2); /* another thread's allocation does not count */
	scene_free(&s, 0x3000, 1);	   /* temporary */
	scene_alloc(&s, 0x5000, 20, 4, 1);
	scene_alloc(&s, 0x6000, 20, 5, 1);
	scene_free(&s, 0x5000, 1); /* not: site 5 came in between */
	scene_free(&s, 0x4000, 1); /* not: another thread frees it */
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *sites = fa_value_get(scene_section(&s, "sites"), "sites");
	static const uint64_t peak[] = {100, 1000, 0, 0, 0, 0};
	static const uint64_t temporary[] = {0, 1, 1, 0, 0, 0};
	static const uint64_t live[] = {100, 0, 0, 0, 0, 20};

	for (uint32_t i = 0; i < 6; i++) {
		const struct fa_value *row = scene_row(sites, "site", scene_stack(i));

		ck_assert_ptr_nonnull(row);
		ck_assert_uint_eq(fa_value_u64(row, "peak_bytes"), peak[i]);
		ck_assert_uint_eq(fa_value_u64(row, "temporary"), temporary[i]);
		ck_assert_uint_eq(fa_value_u64(row, "live_bytes"), live[i]);
	}
	scene_end(&s);
}
END_TEST

static void check_largest(struct scene *s, const uint64_t (*want)[4], size_t n)
{
	const struct fa_value *list = fa_value_get(scene_section(s, "largest"), "allocations");
	const struct fa_value *row = list->first;

	ck_assert_uint_eq(list->n, n);
	for (size_t i = 0; i < n; i++, row = row->next) {
		ck_assert_uint_eq(fa_value_u64(row, "seq"), want[i][0]);
		ck_assert_uint_eq(fa_value_u64(row, "size"), want[i][1]);
		ck_assert_uint_eq(fa_value_u64(row, "old_size"), want[i][2]);
		ck_assert_uint_eq(fa_value_u64(row, "site"), scene_stack((uint32_t)want[i][3]));
	}
	ck_assert(fa_value_is_null(fa_value_get(scene_section(s, "largest"), "since_ns")));
}

START_TEST(largest_allocations_are_those_of_the_window)
{
	static const char *const passes[] = {"largest", NULL};
	/* event, size, old size, site */
	static const uint64_t all[][4] = {{2, 3000, 1000, 2},
					  {4, 1500, 0, 3},
					  {0, 1000, 0, 0},
					  {1, 1000, 0, 1},
					  {5, 901, 900, 4}};
	struct scene s;

	scene_begin(&s);
	s.now_ns = SEC;
	scene_alloc(&s, 0x1000, 1000, 0, 1);
	scene_alloc(&s, 0x2000, 1000, 1, 1);
	scene_realloc(&s, 0x1000, 0x9000, 3000, 2, 1);
	s.now_ns = 3 * SEC;
	scene_realloc(&s, 0x9000, 0x9000, 900, 0, 1);  /* it becomes smaller */
	scene_realloc(&s, 0xa000, 0xb000, 1500, 3, 2); /* of a block that is not known */
	scene_realloc(&s, 0x9000, 0x9000, 901, 4, 1);
	scene_alloc(&s, 0xc000, 0, 5, 1); /* nothing is no size */
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);
	check_largest(&s, all, 5);
	scene_analysis_end(&s);
	/* A block from before the window has the size that it had. */
	scene_analyse(&s, passes, 2 * SEC, UINT64_MAX);
	check_largest(&s, (const uint64_t[][4]){{4, 1500, 0, 3}, {5, 901, 900, 4}}, 2);
	scene_end(&s);
}
END_TEST

START_TEST(a_realloc_is_never_a_moment_without_the_block)
{
	static const char *const passes[] = {"timeline", "sites", NULL};
	struct scene s;

	scene_begin(&s);
	s.now_ns = SEC;
	scene_alloc(&s, 0x1000, 1000, 0, 1);
	s.now_ns = 5 * SEC;
	scene_realloc(&s, 0x1000, 0x9000, 1200, 0, 1);
	s.now_ns = 10 * SEC;
	scene_realloc(&s, 0x9000, 0x9000, 900, 0, 1);
	s.now_ns = 12 * SEC;
	scene_finish(&s, false);
	scene_analyse(&s, passes, 2 * SEC, UINT64_MAX);

	const struct fa_column *low = scene_column(&s, "timeline.low_bytes");
	const struct fa_column *high = scene_column(&s, "timeline.peak_bytes");
	const struct fa_totals *totals = fa_engine_totals(s.engine);

	for (size_t i = 0; i < low->n; i++) {
		ck_assert_uint_ge(scene_u64(low, i), 900);
		ck_assert_uint_le(scene_u64(high, i), 1200);
	}
	ck_assert_uint_eq(totals->peak_bytes, 1200);
	ck_assert_uint_eq(totals->n_allocs, 2);
	ck_assert_uint_eq(totals->n_frees, 2);
	scene_end(&s);
}
END_TEST

START_TEST(the_timeline_keeps_a_peak_between_two_ticks)
{
	static const char *const passes[] = {"timeline", NULL};
	struct scene s;

	scene_begin(&s);
	scene_alloc(&s, 0x1000, 10, 0, 1);
	s.now_ns = 5 * SEC + MS; /* not on a tick */
	scene_alloc(&s, 0x2000, 1000000, 0, 1);
	s.now_ns += 1000;
	scene_free(&s, 0x2000, 1);
	s.now_ns = 10 * SEC;
	scene_free(&s, 0x1000, 1);
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_column *live = scene_column(&s, "timeline.live_bytes");
	const struct fa_column *high = scene_column(&s, "timeline.peak_bytes");
	size_t n_high = 0;

	ck_assert_uint_eq(high->n, fa_engine_n_ticks(s.engine));
	ck_assert_uint_eq(scene_column(&s, "timeline.fine_ns")->n, 0); /* few events: ticks do */
	for (size_t i = 0; i < high->n; i++) {
		ck_assert_uint_le(scene_u64(live, i), 10);
		n_high += scene_u64(high, i) == 1000010;
	}
	ck_assert_uint_eq(n_high, 1);
	ck_assert_uint_eq(scene_u64(live, live->n - 1), 0);
	ck_assert_uint_eq(scene_u64(scene_column(&s, "timeline.time_ns"), live->n - 1), 10 * SEC);
	scene_end(&s);
}
END_TEST

/* 16384 s: a fine step is a second, a tick 16. Each second a block comes and goes; one of them is
 * large. */
START_TEST(a_closer_look_keeps_a_peak_within_a_sixteenth_of_a_tick)
{
	enum { STEPS = 16384 };
	static const char *const passes[] = {"timeline", NULL};
	struct scene s;

	scene_begin(&s);
	for (uint64_t i = 0; i < STEPS; i++) {
		s.now_ns = i * SEC + SEC / 4;
		scene_alloc(&s, 0x1000 + i * 64, i == 5003 ? 1000000 : 10, 0, 1);
		s.now_ns += MS;
		if (i % 2)
			scene_free(&s, 0x1000 + i * 64, 1);
	}
	s.now_ns = STEPS * SEC;
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_column *live = scene_column(&s, "timeline.fine_live");
	const struct fa_column *low = scene_column(&s, "timeline.fine_low");
	const struct fa_column *high = scene_column(&s, "timeline.fine_high");

	ck_assert_uint_eq(high->n, STEPS);
	for (size_t i = 0; i < STEPS; i++) {
		uint64_t kept = 10 * (i / 2 + 1);

		ck_assert_uint_eq(scene_u64(scene_column(&s, "timeline.fine_ns"), i),
				  (i + 1) * SEC);
		ck_assert_uint_eq(scene_u64(live, i), kept);
		ck_assert_uint_eq(scene_u64(low, i), i % 2 ? kept : kept - 10);
		ck_assert_uint_eq(scene_u64(high, i), kept + (i == 5003 ? 1000000
							      : i % 2	? 10
									: 0));
	}
	scene_end(&s);
}
END_TEST

START_TEST(threads_own_what_they_allocate)
{
	static const char *const passes[] = {"threads", NULL};
	struct scene s;

	/* 1 produces 100 blocks of 200 bytes, 2 frees them; 3 keeps 50 of its own. */
	scene_begin(&s);
	for (uint64_t i = 0; i < 100; i++) {
		s.now_ns += 50 * MS;
		scene_alloc(&s, 0x1000, 200, 0, 1);
		scene_free(&s, 0x1000, 2);
		if (i % 2)
			scene_alloc(&s, 0x10000 + i * 64, 30, 1, 3);
	}
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *section = scene_section(&s, "threads");
	const struct fa_value *threads = fa_value_get(section, "threads");
	const struct fa_value *one = scene_row(threads, "id", 1),
			      *two = scene_row(threads, "id", 2);
	const struct fa_value *three = scene_row(threads, "id", 3);

	ck_assert_str_eq(fa_value_text(one, "name"), "thread-1");
	ck_assert_uint_eq(fa_value_u64(one, "allocated_bytes"), 20000);
	ck_assert_uint_eq(fa_value_u64(one, "live_bytes"), 0);
	ck_assert_uint_eq(fa_value_u64(one, "freed_by_others_bytes"), 20000);
	ck_assert_uint_eq(fa_value_u64(two, "allocated_bytes"), 0);
	ck_assert_uint_eq(fa_value_u64(three, "live_bytes"), 1500);
	ck_assert_uint_eq(fa_value_u64(three, "live_blocks"), 50);

	/* 30 bytes each 100 ms */
	ck_assert(fa_value_f64(three, "rate_bytes_per_s") > 270);
	ck_assert(fa_value_f64(three, "rate_bytes_per_s") < 330);
	ck_assert(fa_value_f64(one, "rate_bytes_per_s") == 0);

	const struct fa_value *matrix = fa_value_get(section, "free_matrix");
	const struct fa_value *row = fa_value_get(matrix, "bytes")->first;

	ck_assert_str_eq(fa_value_get(matrix, "ids")->first->text, "1");
	ck_assert_str_eq(row->first->text, "0");
	ck_assert_str_eq(row->first->next->text, "20000");

	const struct fa_column *series = scene_column(&s, "threads.series");

	ck_assert_uint_eq(series->n, threads->n * 128);
	ck_assert_uint_eq(scene_u64(series, 2 * 128 + 127), 1500);
	scene_end(&s);
}
END_TEST

/* A server's threads: each leaves 512 bytes behind. None of them grows, their kind does. */
START_TEST(ended_threads_are_folded_and_their_leak_is_seen)
{
	static const char *const passes[] = {"threads", NULL};
	struct scene s;

	scene_begin(&s);
	for (uint32_t i = 0; i < 200; i++) {
		char name[16];

		snprintf(name, sizeof(name), "conn-%u", i);
		ck_assert_ptr_null(ft_writer_thread(
			s.writer, &(struct ft_thread_row){.id = 5 + i,
							  .tid = 1000 + i,
							  .name = name,
							  .start_function = SCENE_MODULE_BASE + 64,
							  .start_ns = i * SEC,
							  .end_ns = i * SEC + SEC / 2}));
		s.now_ns = i * SEC;
		scene_alloc(&s, 0x100000 + i * 4096, 512, 0, 5 + i);
		scene_alloc(&s, 0x1000, 64, 1, 5 + i);
		scene_free(&s, 0x1000, 1);
	}
	s.now_ns += SEC;
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *section = scene_section(&s, "threads");
	const struct fa_value *threads = fa_value_get(section, "threads");
	const struct fa_value *row = scene_row(threads, "threads", 200);

	ck_assert_uint_eq(threads->n, 5); /* 1..4 and these */
	ck_assert_ptr_nonnull(row);
	ck_assert_str_eq(fa_value_text(row, "name"), "conn-#");
	ck_assert(fa_value_true(row, "folded"));
	ck_assert_str_eq(fa_value_text(row, "verdict"), "growing");
	ck_assert(fa_value_f64(row, "rate_bytes_per_s") > 500);
	ck_assert(fa_value_f64(row, "rate_bytes_per_s") < 525);
	ck_assert_uint_eq(fa_value_u64(row, "freed_by_others_bytes"), 200 * 64);
	ck_assert(fa_value_f64(row, "freed_by_others_pct") == 100);
	scene_end(&s);
}
END_TEST

static void arena_alloc(struct scene *s, uint64_t address, uint64_t size)
{
	scene_event(s, &(struct ft_event){.kind = FT_EVENT_ALLOC,
					  .api = FT_API_MALLOC,
					  .address = address,
					  .size = size,
					  .usable = size,
					  .stack = scene_stack(0),
					  .thread = 2,
					  .flags = FT_EVENT_F_NON_MAIN});
}

/* One arena holds 16 MiB of holes below its last block while another grows. */
START_TEST(arenas_out_of_balance_are_found)
{
	static const char *const passes[] = {"threads", "summary", NULL};
	const uint64_t idle = UINT64_C(0x7f0000000000), busy = UINT64_C(0x7f0004000000);
	struct scene s;
	bool found = false;

	scene_begin(&s);
	ck_assert_ptr_null(ft_writer_meta(s.writer, "allocator", "glibc"));
	for (uint64_t i = 0; i < 1024; i++)
		arena_alloc(&s, idle + i * 16384 + 16, 16368);
	for (uint64_t i = 0; i < 1023; i++)
		scene_free(&s, idle + i * 16384 + 16, 2);
	for (uint64_t i = 0; i < 1000; i++) {
		s.now_ns += SEC;
		arena_alloc(&s, busy + i * 16384 + 16, 16368);
	}
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *arenas = fa_value_get(scene_section(&s, "threads"), "arenas");
	const struct fa_value *first = fa_value_get(arenas, "list")->first;

	ck_assert_uint_eq(fa_value_u64(arenas, "n"), 2);
	ck_assert_uint_eq(fa_value_u64(first, "start"), idle);
	ck_assert(!fa_value_true(first, "grows"));
	ck_assert_uint_ge(fa_value_u64(first, "free_bytes"), 1023 * 16368);
	ck_assert_uint_eq(fa_value_u64(arenas, "imbalance_bytes"),
			  fa_value_u64(first, "free_bytes"));
	ck_assert(fa_value_true(first->next, "grows"));
	for (const struct fa_value *f =
		     fa_value_get(scene_section(&s, "summary"), "findings")->first;
	     f; f = f->next)
		found |= !strcmp(fa_value_text(f, "code"), "arena_imbalance");
	ck_assert(found);
	scene_end(&s);
}
END_TEST

START_TEST(more_threads_than_the_matrix_holds_become_other)
{
	static const char *const passes[] = {"threads", NULL};
	uint64_t total = 0;
	struct scene s;

	scene_begin(&s);
	for (uint32_t i = 5; i <= 40; i++)
		ck_assert_ptr_null(ft_writer_thread(
			s.writer,
			&(struct ft_thread_row){.id = i, .tid = i, .end_ns = FT_TIME_NONE}));
	for (uint32_t i = 1; i <= 40; i++) {
		scene_alloc(&s, 0x1000, i * 10, 0, i);
		scene_free(&s, 0x1000, i % 40 + 1);
		total += i * 10;
	}
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *matrix = fa_value_get(scene_section(&s, "threads"), "free_matrix");
	const struct fa_value *ids = fa_value_get(matrix, "ids"), *last = ids->first;

	while (last->next)
		last = last->next;
	ck_assert_uint_eq(ids->n, 17);
	ck_assert_int_eq(last->kind, FA_NULL);

	/* Nothing gets lost in the folding. */
	for (const struct fa_value *row = fa_value_get(matrix, "bytes")->first; row;
	     row = row->next)
		for (const struct fa_value *cell = row->first; cell; cell = cell->next)
			total -= strtoull(cell->text, NULL, 10);
	ck_assert_uint_eq(total, 0);
	scene_end(&s);
}
END_TEST

static const struct fa_value *find_kind(const struct fa_value *errors, const char *kind)
{
	for (const struct fa_value *e = errors->first; e; e = e->next)
		if (!strcmp(fa_value_text(e, "kind"), kind))
			return e;
	return NULL;
}

START_TEST(bad_frees_are_told_apart)
{
	static const char *const passes[] = {"errors", NULL};
	const struct fa_value *e;
	struct scene s;

	scene_begin(&s);
	s.now_ns = SEC;
	scene_alloc(&s, 0x1000, 64, 0, 1);
	scene_free(&s, 0x1000, 1);
	s.now_ns = 2 * SEC;
	scene_free(&s, 0x1000, 2); /* double */
	scene_alloc(&s, 0x2000, 64, 1, 1);
	scene_free(&s, 0x2010, 1);   /* interior */
	scene_free(&s, 0x777000, 1); /* older than the recording: nobody's error */
	for (int i = 0; i < 3; i++) {
		scene_event(&s, &(struct ft_event){.kind = FT_EVENT_ALLOC,
						   .api = FT_API_NEW_ARRAY,
						   .address = 0x3000,
						   .size = 8,
						   .stack = scene_stack(2),
						   .thread = 1});
		scene_event(&s, &(struct ft_event){.kind = FT_EVENT_FREE,
						   .api = FT_API_DELETE,
						   .address = 0x3000,
						   .thread = 1});
	}
	scene_event(&s, &(struct ft_event){.kind = FT_EVENT_ALLOC,
					   .api = FT_API_NEW,
					   .address = 0x4000,
					   .size = 8,
					   .stack = scene_stack(3),
					   .thread = 1});
	scene_event(&s, &(struct ft_event){.kind = FT_EVENT_FREE,
					   .api = FT_API_DELETE_SIZED,
					   .address = 0x4000,
					   .thread = 1}); /* matches */
	/* The tracer saw the double free, too, and something of its own. */
	ck_assert_ptr_null(ft_writer_error(s.writer, &(struct ft_error_row){.time_ns = 2 * SEC,
									    .kind = "double_free",
									    .address = 0x1000,
									    .thread = 2}));
	ck_assert_ptr_null(
		ft_writer_error(s.writer, &(struct ft_error_row){.time_ns = 2 * SEC,
								 .kind = "invalid_free",
								 .address = 0x7ffc0000,
								 .thread = 1,
								 .stack = scene_stack(9)}));
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *errors = fa_value_get(scene_section(&s, "errors"), "errors");

	ck_assert_uint_eq(errors->n, 4);
	e = find_kind(errors, "double_free");
	ck_assert_uint_eq(fa_value_u64(e, "address"), 0x1000);
	ck_assert_uint_eq(fa_value_u64(e, "thread"), 2);
	ck_assert_uint_eq(fa_value_u64(fa_value_get(e, "freed"), "thread"), 1);
	ck_assert_uint_le(fa_value_u64(fa_value_get(e, "allocated"), "time_ns"), SEC);
	e = find_kind(errors, "interior_free");
	ck_assert_uint_eq(fa_value_u64(e, "offset"), 16);
	e = find_kind(errors, "mismatched_free");
	ck_assert_uint_eq(fa_value_u64(e, "count"), 3);
	ck_assert_str_eq(fa_value_text(e, "call"), "operator delete");
	ck_assert_str_eq(fa_value_text(fa_value_get(e, "allocated"), "call"), "operator new[]");
	ck_assert_ptr_nonnull(find_kind(errors, "invalid_free"));
	ck_assert_uint_eq(fa_engine_totals(s.engine)->n_unknown_frees, 3);
	scene_end(&s);
}
END_TEST

static void put_error_row(struct scene *s, const char *kind, uint64_t time_ns, uint64_t address,
			  const char *call, const char *region, unsigned stack)
{
	ck_assert_ptr_null(ft_writer_error(s->writer, &(struct ft_error_row){
							      .time_ns = time_ns,
							      .kind = kind,
							      .address = address,
							      .thread = 1,
							      .stack = scene_stack(stack),
							      .call = call,
							      .size = -1,
							      .block_size = -1,
							      .region = region,
							      .offset = -1,
						      }));
}

START_TEST(what_the_tracer_saw_is_judged_by_the_events)
{
	static const char *const passes[] = {"errors", NULL};
	const struct fa_value *e;
	struct scene s;

	scene_begin(&s);
	s.now_ns = SEC;
	scene_alloc(&s, 0x1000, 64, 0, 1);
	scene_alloc(&s, 0x2000, 64, 1, 1);
	scene_alloc(&s, 0x9000, 64, 1, 1);
	scene_free(&s, 0x1000, 1);
	s.now_ns = 2 * SEC;
	scene_free(&s, 0x1000, 1); /* double, and suspect */
	put_error_row(&s, "suspect", s.now_ns, 0x1000, "free", "heap", 5);
	s.now_ns = 3 * SEC;
	scene_free(&s, 0x5000, 1); /* suspect, of a block that nobody knows */
	put_error_row(&s, "suspect", s.now_ns, 0x5000, "free", "heap", 5);
	s.now_ns = 4 * SEC;
	scene_free(&s, 0x2010, 1); /* refused, and inside of a block */
	put_error_row(&s, "invalid_free", s.now_ns, 0x2010, "free", "heap", 6);
	s.now_ns = 5 * SEC;
	scene_free(&s, 0x6000, 1); /* refused, and nothing else is known */
	put_error_row(&s, "invalid_free", s.now_ns, 0x6000, "free", "heap", 7);
	s.now_ns = 6 * SEC;
	scene_free(&s, 0x7000, 1); /* and one that the tracer had no word of */
	/* The program did not survive its realloc of a block that was freed. */
	put_error_row(&s, "suspect", s.now_ns, 0x1000, "realloc", "heap", 8);
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *section = scene_section(&s, "errors");
	const struct fa_value *errors = fa_value_get(section, "errors");

	ck_assert_uint_eq(errors->n, 4);
	ck_assert_uint_eq(fa_value_u64(section, "unknown_frees"), 2);
	e = errors->first;
	ck_assert_str_eq(fa_value_text(e, "kind"), "double_free");
	ck_assert(!fa_value_is_null(fa_value_get(e, "stack")));
	ck_assert(fa_value_is_null(fa_value_get(e, "region")));
	e = e->next;
	ck_assert_str_eq(fa_value_text(e, "kind"), "interior_free");
	ck_assert_uint_eq(fa_value_u64(e, "offset"), 16);
	ck_assert(!fa_value_is_null(fa_value_get(e, "stack")));
	e = e->next;
	ck_assert_str_eq(fa_value_text(e, "kind"), "invalid_free");
	ck_assert_uint_eq(fa_value_u64(e, "address"), 0x6000);
	ck_assert_str_eq(fa_value_text(e, "region"), "heap");
	e = e->next;
	ck_assert_str_eq(fa_value_text(e, "kind"), "double_free");
	ck_assert_str_eq(fa_value_text(e, "call"), "realloc");
	ck_assert_uint_eq(fa_value_u64(fa_value_get(e, "freed"), "time_ns"), 2 * SEC);
	scene_end(&s);
}
END_TEST

START_TEST(a_forked_childs_strangers_are_inherited)
{
	static const char *const passes[] = {"quality", NULL};
	struct scene s;

	scene_begin(&s);
	scene_free(&s, 0x1000, 1);
	scene_free(&s, 0x2000, 1);
	ck_assert_ptr_null(ft_writer_process(
		s.writer, &(struct ft_process_row){.pid = 2,
						   .exe = "/bin/child",
						   .parent_recording = "parent.frag",
						   .end_ns = SEC,
						   .exit_kind = "exit"}));
	ck_assert_ptr_null(ft_writer_finish(s.writer));
	s.writer = NULL;
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *quality = scene_section(&s, "quality");

	ck_assert_uint_eq(fa_value_u64(quality, "unknown_frees"), 0);
	ck_assert_uint_eq(fa_value_u64(quality, "inherited_frees"), 2);
	ck_assert_str_eq(fa_value_text(quality, "parent_recording"), "parent.frag");
	scene_end(&s);
}
END_TEST

START_TEST(losses_are_told_and_make_the_verdict)
{
	static const char *const passes[] = {"quality", "summary", NULL};
	struct scene s;

	scene_begin(&s);
	scene_alloc(&s, 0x1000, 8, 0, 1);
	ck_assert_ptr_null(ft_writer_loss(s.writer, &(struct ft_loss_row){.first_ns = 5,
									  .last_ns = 500,
									  .thread = 1,
									  .n_events = 42,
									  .reason = "ring_full"}));
	s.now_ns = SEC;
	scene_finish(&s, true);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *summary = scene_section(&s, "summary");
	const struct fa_value *quality = scene_section(&s, "quality");

	ck_assert_uint_eq(fa_value_u64(fa_value_get(summary, "totals"), "lost_events"), 42);
	ck_assert_uint_eq(fa_value_u64(quality, "lost_events"), 42);
	ck_assert_str_eq(fa_value_text(fa_value_get(summary, "verdict"), "code"), "losses");
	ck_assert(!fa_value_true(summary, "complete"));
	ck_assert_str_eq(fa_value_text(fa_value_get(summary, "recording"), "state"), "cut_off");
	scene_end(&s);
}
END_TEST

START_TEST(a_recording_without_events_says_so)
{
	struct scene s;

	scene_begin(&s);
	s.now_ns = SEC;
	scene_finish(&s, false);
	scene_analyse(&s, NULL, 0, UINT64_MAX);
	ck_assert_str_eq(
		fa_value_text(fa_value_get(scene_section(&s, "summary"), "verdict"), "code"),
		"no_events");
	ck_assert_uint_eq(fa_value_get(scene_section(&s, "leaks"), "leaks")->n, 0);
	scene_end(&s);
}
END_TEST

START_TEST(sites_are_named_by_whom_the_user_knows)
{
	static const char *const no_passes[] = {NULL};
	static const struct {
		const char *function, *name;
	} cases[] = {
		{"cache_put", "cache_put"},
		{"xmalloc", "main"},
		{"xmalloc.constprop.0", "main"},
		{"operator new(unsigned long)", "main"},
		{"void std::vector<int, std::allocator<int> >::_M_realloc_insert<int>(int&&)",
		 "main"},
		{"__gnu_cxx::new_allocator<char>::allocate(unsigned long, void const*)", "main"},
		{"Frame::operator()(std::string const&)", "Frame::operator()(std::string const&)"},
		{"void push(std::vector<int>&)", "void push(std::vector<int>&)"},
		{"(anonymous namespace)::History::record(long)",
		 "(anonymous namespace)::History::record(long)"},
		{"xmalloc_stats", "xmalloc_stats"},
	};
	enum { N = sizeof(cases) / sizeof(*cases) };
	struct ft_symbol_writer *writer;
	struct scene s;

	scene_begin(&s);
	for (uint32_t i = 0; i < N + 1; i++)
		scene_alloc(&s, 0x1000 + i * 64, 8, i, 1);
	scene_finish(&s, false);
	for (uint32_t i = 0; i < N; i++)
		scene_name(&s, i, cases[i].function);
	ck_assert_ptr_null(ft_symbol_writer_open(s.path, &writer));
	ck_assert_ptr_null(ft_symbol_writer_add(
		writer, &(struct ft_symbol_row){.module = 1, .offset = 0x100, .function = "main"}));
	ck_assert_ptr_null(ft_symbol_writer_commit(writer));
	ft_symbol_writer_close(writer);
	scene_analyse(&s, no_passes, 0, UINT64_MAX);
	for (uint32_t i = 0; i < N; i++)
		ck_assert_str_eq(fa_engine_site_name(s.engine, scene_stack(i)), cases[i].name);

	/* Without a symbol it is a place; without a stack it says that. */
	ck_assert_str_eq(fa_engine_site_name(s.engine, scene_stack(N)), "scene+0x10a0");
	ck_assert_str_eq(fa_engine_site_name(s.engine, 0), "(no stack)");
	scene_end(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("passes");
	TCase *tcase = tcase_create("passes");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, sites_at_the_exact_peak_and_temporary);
	tcase_add_test(tcase, largest_allocations_are_those_of_the_window);
	tcase_add_test(tcase, a_realloc_is_never_a_moment_without_the_block);
	tcase_add_test(tcase, the_timeline_keeps_a_peak_between_two_ticks);
	tcase_add_test(tcase, a_closer_look_keeps_a_peak_within_a_sixteenth_of_a_tick);
	tcase_add_test(tcase, threads_own_what_they_allocate);
	tcase_add_test(tcase, more_threads_than_the_matrix_holds_become_other);
	tcase_add_test(tcase, ended_threads_are_folded_and_their_leak_is_seen);
	tcase_add_test(tcase, arenas_out_of_balance_are_found);
	tcase_add_test(tcase, bad_frees_are_told_apart);
	tcase_add_test(tcase, what_the_tracer_saw_is_judged_by_the_events);
	tcase_add_test(tcase, a_forked_childs_strangers_are_inherited);
	tcase_add_test(tcase, losses_are_told_and_make_the_verdict);
	tcase_add_test(tcase, a_recording_without_events_says_so);
	tcase_add_test(tcase, sites_are_named_by_whom_the_user_knows);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

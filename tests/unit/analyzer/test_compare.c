/* SPDX-License-Identifier: MIT */
/*
 * Comparing recordings: which sites of two builds are the same one
 *
 * Each side is a small recording of its own, with modules at other addresses. A stack is written as
 * a list of frames, innermost first.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fa_compare.h"
#include "scene.h"

enum { PROGRAM = 1, LIBRARY = 2, MAX_DEPTH = 8, MAX_STACKS = 8 };

struct frame {
	uint32_t module;
	uint64_t offset;      /* of the return address; 0 ends the stack */
	const char *function; /* NULL: no name */
};

struct stack {
	struct frame frames[MAX_DEPTH];
	uint64_t bytes; /* one block, kept */
};

struct side {
	const char *exe, *library, *library_build;
	uint64_t bias;
	struct stack stacks[MAX_STACKS];
};

struct loaded {
	char path[64];
	struct ft_reader *reader;
	struct fa_doc *doc;
	struct ft_arena arena;
	struct fa_side side;
};

static void must(struct ft_error *error)
{
	if (error)
		ck_abort_msg("%s", error->message);
}

static void add_module(struct ft_writer *writer, uint32_t id, const char *path, const char *build,
		       uint64_t bias)
{
	must(ft_writer_module(writer, &(struct ft_module_row){.id = id,
							      .path = path,
							      .build_id = build,
							      .bias = bias,
							      .start = bias,
							      .end = bias + 0x100000,
							      .unload_ns = FT_TIME_NONE}));
}

static uint64_t bias_of(const struct side *side, uint32_t module)
{
	return side->bias + module * UINT64_C(0x10000000);
}

static void write_stacks(struct ft_writer *writer, const struct side *side)
{
	uint32_t id = 0;

	for (int i = 0; i < MAX_STACKS && side->stacks[i].bytes; i++) {
		const struct stack *stack = &side->stacks[i];
		uint32_t parent = 0;
		int depth = 0;

		while (depth < MAX_DEPTH && stack->frames[depth].offset)
			depth++;
		while (depth-- > 0) {
			const struct frame *f = &stack->frames[depth];

			must(ft_writer_stack_node(
				writer,
				&(struct ft_stack_node){++id, parent,
							bias_of(side, f->module) + f->offset}));
			parent = id;
		}
		must(ft_writer_event(writer,
				     &(struct ft_event){.kind = FT_EVENT_ALLOC,
							.api = FT_API_MALLOC,
							.time_ns = (uint64_t)i + 1,
							.address = 0x1000 * ((uint64_t)i + 1),
							.size = stack->bytes,
							.stack = id,
							.thread = 1},
				     NULL));
	}
}

static void write_names(const char *path, const struct side *side)
{
	struct ft_symbol_writer *writer;

	must(ft_symbol_writer_open(path, &writer));
	for (int i = 0; i < MAX_STACKS && side->stacks[i].bytes; i++) {
		for (int k = 0; k < MAX_DEPTH && side->stacks[i].frames[k].offset; k++) {
			const struct frame *f = &side->stacks[i].frames[k];

			if (f->function)
				must(ft_symbol_writer_add(
					writer, &(struct ft_symbol_row){.module = f->module,
									.offset = f->offset,
									.function = f->function}));
		}
	}
	must(ft_symbol_writer_commit(writer));
	ft_symbol_writer_close(writer);
}

static void load(struct loaded *l, const struct side *side)
{
	struct ft_writer *writer;

	*l = (struct loaded){.path = "/tmp/fa-compare-XXXXXX"};
	close(mkstemp(l->path));
	unlink(l->path);
	must(ft_writer_create(l->path, &writer));
	add_module(writer, PROGRAM, side->exe, "0101", bias_of(side, PROGRAM));
	add_module(writer, LIBRARY, side->library, side->library_build, bias_of(side, LIBRARY));
	must(ft_writer_thread(writer, &(struct ft_thread_row){.id = 1, .end_ns = FT_TIME_NONE}));
	write_stacks(writer, side);
	must(ft_writer_process(writer, &(struct ft_process_row){.exe = side->exe,
								.fork_ns = FT_TIME_NONE,
								.end_ns = SEC,
								.exit_kind = "exit"}));
	must(ft_writer_finish(writer));
	write_names(l->path, side);

	ft_arena_init(&l->arena);
	must(ft_reader_open(l->path, 0, &l->reader));
	must(fa_engine_create(l->reader, NULL, &l->side.engine));
	must(fa_engine_add(l->side.engine, fa_pass_find("leaks")));
	must(fa_engine_run(l->side.engine));
	must(fa_doc_create(&l->doc));
	must(fa_engine_emit(l->side.engine, l->doc));
	must(fa_json_parse(&l->arena, fa_doc_section(l->doc, "leaks"), &l->side.leaks));
}

static void unload(struct loaded *l)
{
	fa_doc_destroy(l->doc);
	fa_engine_destroy(l->side.engine);
	ft_reader_close(l->reader);
	ft_arena_deinit(&l->arena);
	unlink(l->path);
}

/* Compare, and count the rows by whether they are on both sides, only on a, only on b. */
static void count(const struct side *a, const struct side *b, size_t counts[3])
{
	struct fa_comparison comparison;
	struct loaded one, two;
	uint64_t live[2] = {0};

	load(&one, a);
	load(&two, b);
	must(fa_compare(&one.side, &two.side, &comparison));
	memset(counts, 0, 3 * sizeof(*counts));
	for (size_t i = 0; i < comparison.n_rows; i++) {
		const struct fa_difference *row = &comparison.rows[i];

		counts[row->a.present ? row->b.present ? 0 : 1 : 2]++;
		live[0] += row->a.live_bytes;
		live[1] += row->b.live_bytes;
	}
	ck_assert_uint_eq(live[0], fa_engine_totals(one.side.engine)->live_bytes);
	ck_assert_uint_eq(live[1], fa_engine_totals(two.side.engine)->live_bytes);
	fa_comparison_deinit(&comparison);
	unload(&one);
	unload(&two);
}

static const struct side base = {
	.exe = "/opt/app/server-1.0",
	.library = "/usr/lib/libfoo.so.1.2",
	.library_build = "aaaa",
	.bias = 0x1000000000,
	.stacks =
		{
			{.bytes = 100,
			 .frames = {{LIBRARY, 0x10, "foo_alloc"},
				    {PROGRAM, 0x20, "handle"},
				    {PROGRAM, 0x30, "main"}}},
			{.bytes = 200,
			 .frames = {{PROGRAM, 0x40, "parse"},
				    {PROGRAM, 0x48, "parse"},
				    {PROGRAM, 0x48, "parse"},
				    {PROGRAM, 0x30, "main"}}},
			{.bytes = 300, .frames = {{LIBRARY, 0x70, NULL}, {PROGRAM, 0x30, "main"}}},
		},
};

START_TEST(lines_addresses_versions_and_clones_make_no_difference)
{
	struct side other = {
		.exe = "/home/me/build/server-1.1",
		.library = "/opt/lib/libfoo.so.2",
		.library_build = "aaaa",
		.bias = 0x7000000000,
		.stacks =
			{
				{.bytes = 100,
				 .frames = {{LIBRARY, 0x11, "foo_alloc.part.0"},
					    {PROGRAM, 0x92, "handle.constprop.0"},
					    {PROGRAM, 0x93, "main"},
					    {LIBRARY, 0x94, "__libc_start_call_main"},
					    {PROGRAM, 0x95, "_start"}}},
				/* deeper in the recursion */
				{.bytes = 200,
				 .frames = {{PROGRAM, 0xa0, "parse"},
					    {PROGRAM, 0xa8, "parse"},
					    {PROGRAM, 0xa8, "parse"},
					    {PROGRAM, 0xa8, "parse.cold"},
					    {PROGRAM, 0xa8, "parse"},
					    {PROGRAM, 0x93, "main"}}},
				{.bytes = 300,
				 .frames = {{LIBRARY, 0x70, NULL}, {PROGRAM, 0x93, "main"}}},
			},
	};
	size_t counts[3];

	count(&base, &other, counts);
	ck_assert_uint_eq(counts[0], 3);
	ck_assert_uint_eq(counts[1] + counts[2], 0);
}
END_TEST

START_TEST(a_frame_without_a_name_is_its_offset_in_the_same_build_only)
{
	struct side other = base;
	size_t counts[3];

	/* The same build: another offset is another place. */
	other.stacks[2].frames[0].offset = 0x78;
	count(&base, &other, counts);
	ck_assert_uint_eq(counts[0], 2);
	ck_assert_uint_eq(counts[1], 1);
	ck_assert_uint_eq(counts[2], 1);

	/* Another build: offsets say nothing, the module is what is left. */
	other.library_build = "bbbb";
	count(&base, &other, counts);
	ck_assert_uint_eq(counts[0], 3);

	other.library = "/usr/lib/libbar.so.1";
	count(&base, &other, counts);
	ck_assert_uint_eq(counts[0], 1); /* parse: the others have a frame of the library */
	ck_assert_uint_eq(counts[1], 2);
	ck_assert_uint_eq(counts[2], 2);
}
END_TEST

START_TEST(another_function_or_caller_is_another_site)
{
	struct side other = base;
	size_t counts[3];

	other.stacks[0].frames[1].function = "handle_all";
	count(&base, &other, counts);
	ck_assert_uint_eq(counts[0], 2);
	ck_assert_uint_eq(counts[1], 1);
	ck_assert_uint_eq(counts[2], 1);

	other = base;
	other.stacks[1].bytes = 0; /* this one and those behind it are gone */
	count(&base, &other, counts);
	ck_assert_uint_eq(counts[0], 1);
	ck_assert_uint_eq(counts[1], 2);
	ck_assert_uint_eq(counts[2], 0);
}
END_TEST

START_TEST(a_status_follows_from_growth_first)
{
	static const struct {
		struct fa_figures a, b;
		const char *status;
	} cases[] = {
		{{0}, {.present = true}, "new"},
		{{.present = true}, {0}, "gone"},
		{{.present = true, .live_bytes = 1000},
		 {.present = true, .live_bytes = 1000},
		 "same"},
		{{.present = true, .live_bytes = 100000},
		 {.present = true, .live_bytes = 103000},
		 "same"},
		{{.present = true, .live_bytes = 10000},
		 {.present = true, .live_bytes = 20000},
		 "changed"},
		{{.present = true, .live_bytes = 10},
		 {.present = true, .live_bytes = 4000},
		 "same"},
		{{.present = true},
		 {.present = true, .growing = true, .rate = 5, .rate_low = 4, .rate_high = 6},
		 "changed"},
		{{.present = true, .growing = true, .rate = 5, .rate_low = 4, .rate_high = 6},
		 {.present = true, .growing = true, .rate = 6, .rate_low = 5, .rate_high = 7},
		 "same"},
		/* It had more time to grow in: that is no change. */
		{{.present = true,
		  .live_bytes = 5000,
		  .growing = true,
		  .rate = 5,
		  .rate_low = 4,
		  .rate_high = 6},
		 {.present = true,
		  .live_bytes = 50000,
		  .growing = true,
		  .rate = 5,
		  .rate_low = 4,
		  .rate_high = 6},
		 "same"},
		{{.present = true, .growing = true, .rate = 5, .rate_low = 4, .rate_high = 6},
		 {.present = true, .growing = true, .rate = 9, .rate_low = 8, .rate_high = 10},
		 "changed"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fa_difference row = {.a = cases[i].a, .b = cases[i].b};

		ck_assert_msg(!strcmp(fa_difference_status(&row), cases[i].status), "case %zu: %s",
			      i, fa_difference_status(&row));
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("compare");
	TCase *tcase = tcase_create("compare");

	tcase_add_test(tcase, lines_addresses_versions_and_clones_make_no_difference);
	tcase_add_test(tcase, a_frame_without_a_name_is_its_offset_in_the_same_build_only);
	tcase_add_test(tcase, another_function_or_caller_is_another_site);
	tcase_add_test(tcase, a_status_follows_from_growth_first);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

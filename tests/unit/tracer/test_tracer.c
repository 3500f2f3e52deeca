/* SPDX-License-Identifier: MIT */
/*
 * The preloaded library, seen from the collector's end
 *
 * Each test runs a small program under it (prog_*.c), and looks at the records that came.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracee.h"

static struct tracee *run_scene(const char *scene, const struct tracee_options *options)
{
	const char *argv[] = {PROG_MISC, scene, NULL};

	return tracee_run(argv, options);
}

static void assert_success(const struct tracee *tracee)
{
	ck_assert_msg(WIFEXITED(tracee->status) && WEXITSTATUS(tracee->status) == 0,
		      "status %#x, output:\n%s", (unsigned)tracee->status, tracee->output);
}

static unsigned type_of(const struct record *record)
{
	return ft_wire_type(record->words[0]);
}

static bool is_event(const struct record *record)
{
	unsigned type = type_of(record);

	return type == FT_WIRE_ALLOC || type == FT_WIRE_FREE || type == FT_WIRE_REALLOC;
}

static uint64_t size_of(const struct record *record)
{
	return record->words[type_of(record) == FT_WIRE_REALLOC ? 5 : 3];
}

static size_t find_size(const struct tracee_segment *segment, size_t from, uint64_t size)
{
	for (size_t i = from; i < segment->n_records; i++)
		if (type_of(&segment->records[i]) != FT_WIRE_FREE &&
		    is_event(&segment->records[i]) && size_of(&segment->records[i]) == size)
			return i;
	return SIZE_MAX;
}

static size_t count_size(const struct tracee_segment *segment, uint64_t size)
{
	size_t n = 0, at = 0;

	while ((at = find_size(segment, at, size)) != SIZE_MAX) {
		n++;
		at++;
	}
	return n;
}

/* What holds for every run: stamps of a ring do not go back, counts agree, ids exist. */
static void assert_sound(const struct tracee_segment *segment)
{
	struct ft_segment_header *h = segment->header;
	struct ft_ring_header *rings = (void *)((char *)h + h->rings_at);
	uint64_t *last = calloc(h->n_rings, sizeof(*last)), *n = calloc(h->n_rings, sizeof(*n));

	for (size_t i = 0; i < segment->n_records; i++) {
		const struct record *r = &segment->records[i];

		/* A passed assertion is a system call in Check: not for each record. */
		if (r->words[1] < h->start_stamp || r->thread > atomic_load(&h->n_threads))
			ck_abort_msg("record %zu: older than the start, or of no thread", i);
		if (!is_event(r))
			continue;
		if (r->words[1] < last[r->ring])
			ck_abort_msg("record %zu: its stamp goes back", i);
		last[r->ring] = r->words[1];
		n[r->ring]++;
		if (ft_wire_upper(r->words[0]) > atomic_load(&h->n_nodes))
			ck_abort_msg("record %zu: names a node that does not exist", i);
	}
	for (uint32_t i = 0; i < atomic_load(&h->n_rings_used); i++) {
		ck_assert_uint_eq(atomic_load(&rings[i].n_events), n[i]);
		ck_assert_uint_eq(atomic_load(&rings[i].floor), 0);
	}
	free(last);
	free(n);
}

static uint64_t lost_events(const struct tracee_segment *segment)
{
	struct ft_segment_header *h = segment->header;
	struct ft_ring_header *rings = (void *)((char *)h + h->rings_at);
	uint64_t lost = 0;

	for (uint32_t i = 0; i < atomic_load(&h->n_rings_used); i++)
		lost += atomic_load(&rings[i].n_lost);
	return lost;
}

START_TEST(every_call_is_recorded_once_as_what_it_is)
{
	static const struct {
		enum ft_wire_type type;
		enum ft_api api;
		uint64_t size, align_log2;
	} expected[] = {
		{FT_WIRE_ALLOC, FT_API_MALLOC, 1001, 0},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_CALLOC, 7 * 143, 0},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_REALLOC, 1003, 0},
		{FT_WIRE_REALLOC, FT_API_REALLOC, 100003, 0},
		{FT_WIRE_REALLOC, FT_API_REALLOCARRAY, 5 * 201, 0},
		{FT_WIRE_FREE, FT_API_REALLOC, 0, 0},
		{FT_WIRE_ALLOC, FT_API_POSIX_MEMALIGN, 1006, 8},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_ALIGNED_ALLOC, 1024, 7},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_MEMALIGN, 1007, 9},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_VALLOC, 1008, 12},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_PVALLOC, 1009, 12},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_MALLOC, 1011, 0},
		{FT_WIRE_FREE, FT_API_FREE_SIZED, 0, 0},
		{FT_WIRE_ALLOC, FT_API_MALLOC, 0, 0},
		{FT_WIRE_FREE, FT_API_FREE_ALIGNED_SIZED, 0, 0},
		{FT_WIRE_ALLOC, FT_API_MALLOC, 1012, 0},
		{FT_WIRE_FREE, FT_API_CFREE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW, 1, 0},
		{FT_WIRE_FREE, FT_API_DELETE_SIZED, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW_ARRAY, 1013, 0},
		{FT_WIRE_FREE, FT_API_DELETE_ARRAY, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW, 1014, 0},
		{FT_WIRE_FREE, FT_API_DELETE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW, 1015, 0},
		{FT_WIRE_FREE, FT_API_DELETE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW_ARRAY, 1016, 0},
		{FT_WIRE_FREE, FT_API_DELETE_ARRAY, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW, 1017, 0},
		{FT_WIRE_FREE, FT_API_DELETE_SIZED, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW_ARRAY, 1018, 0},
		{FT_WIRE_FREE, FT_API_DELETE_ARRAY_SIZED, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW_ALIGNED, 192, 6},
		{FT_WIRE_FREE, FT_API_DELETE_ALIGNED, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW_ARRAY_ALIGNED, 384, 6},
		{FT_WIRE_FREE, FT_API_DELETE_ARRAY_ALIGNED, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW_ALIGNED, 1019, 7},
		{FT_WIRE_FREE, FT_API_DELETE_ALIGNED, 0, 0},
		{FT_WIRE_ALLOC, FT_API_NEW_ARRAY_ALIGNED, 1020, 7},
		{FT_WIRE_FREE, FT_API_DELETE_ARRAY_ALIGNED, 0, 0},
		/* the exceptions: caught by nothrow new, and by the program */
		{FT_WIRE_ALLOC, FT_API_MALLOC, UINT64_MAX, 0},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_MALLOC, UINT64_MAX, 0},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0},
		{FT_WIRE_ALLOC, FT_API_MALLOC, 1021, 0},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0},
		{FT_WIRE_FREE, FT_API_FREE, 0, 0}, /* the frame */
		{FT_WIRE_ALLOC, FT_API_VALLOC, 4001, 12},
	};
	const char *argv[] = {PROG_API, NULL};
	struct tracee *tracee = tracee_run(argv, NULL);

	assert_success(tracee);
	ck_assert_uint_eq(tracee->n_segments, 1);

	const struct tracee_segment *segment = tracee->segments[0];
	size_t at = find_size(segment, 0, 4001);
	uint64_t frame, live;

	assert_sound(segment);
	ck_assert_uint_ne(at, SIZE_MAX);
	frame = live = record_address(&segment->records[at]);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		do
			at++;
		while (at < segment->n_records && !is_event(&segment->records[at]));
		ck_assert_uint_lt(at, segment->n_records);

		const struct record *r = &segment->records[at];

		ck_assert_msg(type_of(r) == expected[i].type &&
				      ft_wire_api(r->words[0]) == expected[i].api,
			      "event %zu is %s of type %u, expected %s", i,
			      ft_api_name(ft_wire_api(r->words[0])), type_of(r),
			      ft_api_name(expected[i].api));
		if (type_of(r) == FT_WIRE_FREE) {
			ck_assert_uint_eq(record_address(r), live);
			ck_assert_uint_eq(ft_wire_upper(r->words[0]), 0);
			live = frame;
			continue;
		}
		if (expected[i].size != UINT64_MAX)
			ck_assert_uint_eq(size_of(r), expected[i].size);
		ck_assert_uint_ge(record_usable(r), size_of(r));
		ck_assert_uint_lt(record_usable(r), size_of(r) + 4096 + 64);
		ck_assert_uint_eq(r->n > 4 && type_of(r) == FT_WIRE_ALLOC ? r->words[r->n - 1] : 0,
				  expected[i].align_log2);
		ck_assert_uint_ne(ft_wire_upper(r->words[0]), 0);
		if (type_of(r) == FT_WIRE_REALLOC) {
			ck_assert_uint_eq(r->words[3], live);
			ck_assert_uint_lt(r->words[1], r->words[2]);
		}
		live = record_address(r);
	}
	tracee_free(tracee);
}
END_TEST

START_TEST(stacks_name_the_callers)
{
	struct tracee *tracee = run_scene("stacks", NULL);

	assert_success(tracee);

	const struct tracee_segment *segment = tracee->segments[0];
	size_t at = find_size(segment, 0, 2222);
	size_t mark = tracee_find(segment, 0, FT_WIRE_MARK, 0);

	assert_sound(segment);
	ck_assert_uint_ne(at, SIZE_MAX);
	/* inner() calls malloc: its code is innermost, outer()'s next. */
	ck_assert(
		tracee_through(segment, &segment->records[at], tracee_number(tracee, "inner"), 64));
	ck_assert(
		tracee_through(segment, &segment->records[at], tracee_number(tracee, "outer"), 64));

	size_t deep = find_size(segment, 0, 3333);

	ck_assert(tracee_through(segment, &segment->records[deep], tracee_number(tracee, "deep"),
				 128));
	ck_assert_uint_gt(tracee_depth(segment, &segment->records[deep]), 102);

	ck_assert_uint_ne(mark, SIZE_MAX);
	ck_assert_uint_eq(ft_wire_upper(segment->records[mark].words[0]), strlen("half way"));
	ck_assert_mem_eq(segment->records[mark].words + 2, "half way", strlen("half way"));
	tracee_free(tracee);
}
END_TEST

START_TEST(depth_is_limited_on_request)
{
	char setting[] = "FRAGTRACE_DEPTH=7";
	char *environment[] = {setting, NULL};
	struct tracee *tracee =
		run_scene("stacks", &(struct tracee_options){.environment = environment});
	const struct tracee_segment *segment = tracee->segments[0];
	size_t deep = find_size(segment, 0, 3333);

	assert_success(tracee);
	ck_assert_uint_eq(tracee_depth(segment, &segment->records[deep]), 7);
	ck_assert(tracee_through(segment, &segment->records[deep], tracee_number(tracee, "inner"),
				 64));
	tracee_free(tracee);
}
END_TEST

static struct tracee *run_with(const char *scene, char *setting)
{
	char *environment[] = {setting, NULL};
	struct tracee *tracee =
		run_scene(scene, &(struct tracee_options){.environment = environment});

	assert_success(tracee);
	ck_assert_uint_ge(tracee->n_segments, 1);
	assert_sound(tracee->segments[0]);
	return tracee;
}

/* All ways see the same callers in a program that has unwind tables and frame pointers. */
START_TEST(every_way_to_unwind_names_the_callers)
{
	static const struct {
		const char *setting;
		enum ft_unwind unwind;
	} ways[] = {{"FRAGTRACE_UNWIND=auto", FT_UNWIND_AUTO},
		    {"FRAGTRACE_UNWIND=dwarf", FT_UNWIND_DWARF},
		    {"FRAGTRACE_UNWIND=fp", FT_UNWIND_FP},
		    {"FRAGTRACE_UNWIND=libunwind", FT_UNWIND_LIBUNWIND},
		    {"FRAGTRACE_UNWIND=nonsense", FT_UNWIND_AUTO}};
	char setting[64];

	strcpy(setting, ways[_i].setting);

	struct tracee *tracee = run_with("stacks", setting);
	const struct tracee_segment *segment = tracee->segments[0];
	size_t at = find_size(segment, 0, 2222), deep = find_size(segment, 0, 3333);

	ck_assert_uint_eq(segment->header->options & FT_OPTION_UNWIND_MASK, ways[_i].unwind);
	ck_assert_uint_ne(at, SIZE_MAX);
	ck_assert(
		tracee_through(segment, &segment->records[at], tracee_number(tracee, "inner"), 64));
	ck_assert(
		tracee_through(segment, &segment->records[at], tracee_number(tracee, "outer"), 64));
	ck_assert_uint_ne(deep, SIZE_MAX);
	ck_assert_uint_gt(tracee_depth(segment, &segment->records[deep]), 102);
	ck_assert_uint_lt(tracee_depth(segment, &segment->records[deep]), 112);
	tracee_free(tracee);
}
END_TEST

START_TEST(without_unwinding_there_is_the_caller)
{
	char setting[] = "FRAGTRACE_UNWIND=none";
	struct tracee *tracee = run_with("stacks", setting);
	const struct tracee_segment *segment = tracee->segments[0];
	size_t at = find_size(segment, 0, 3333);

	ck_assert_uint_ne(at, SIZE_MAX);
	ck_assert_uint_eq(tracee_depth(segment, &segment->records[at]), 1);
	ck_assert(
		tracee_through(segment, &segment->records[at], tracee_number(tracee, "inner"), 64));
	for (size_t i = 0; i < segment->n_records; i++)
		if (type_of(&segment->records[i]) == FT_WIRE_ALLOC)
			ck_assert_uint_eq(tracee_depth(segment, &segment->records[i]), 1);
	tracee_free(tracee);
}
END_TEST

START_TEST(frees_have_stacks_on_request)
{
	char setting[] = "FRAGTRACE_FREE_STACKS=1";
	struct tracee *tracee = run_with("stacks", setting);
	const struct tracee_segment *segment = tracee->segments[0];
	size_t born = find_size(segment, 0, 2222);
	unsigned n_frees = 0;

	ck_assert(segment->header->options & FT_OPTION_FREE_STACKS);
	ck_assert_uint_ne(born, SIZE_MAX);

	size_t died =
		tracee_find(segment, born, FT_WIRE_FREE, record_address(&segment->records[born]));

	ck_assert_uint_ne(died, SIZE_MAX);
	ck_assert(tracee_through(segment, &segment->records[died], tracee_number(tracee, "let_go"),
				 64));
	for (size_t i = 0; i < segment->n_records; i++) {
		if (type_of(&segment->records[i]) != FT_WIRE_FREE)
			continue;
		ck_assert_uint_ne(ft_wire_upper(segment->records[i].words[0]), 0);
		n_frees++;
	}
	ck_assert_uint_gt(n_frees, 0);
	tracee_free(tracee);
}
END_TEST

/* _i 0: comparing; 1: not, and then nothing is opened nor counted. */
START_TEST(a_self_check_compares_all_stacks)
{
	char on[] = "FRAGTRACE_SELF_CHECK=1", off[] = "FRAGTRACE_SELF_CHECK=0";
	struct tracee *tracee = run_with("stacks", _i ? off : on);
	const struct tracee_segment *segment = tracee->segments[0];
	struct ft_segment_header *h = segment->header;
	uint64_t n_stacks = 0;

	for (size_t i = 0; i < segment->n_records; i++)
		n_stacks += ft_wire_upper(segment->records[i].words[0]) != 0 &&
			    is_event(&segment->records[i]);
	if (_i) {
		ck_assert_uint_eq(atomic_load(&h->n_checked), 0);
	} else {
		ck_assert_uint_gt(n_stacks, 0);
		/* Not those before libc is initialised. */
		ck_assert_uint_ge(atomic_load(&h->n_checked) + 20, n_stacks);
		ck_assert_uint_le(atomic_load(&h->n_checked), n_stacks);
	}
	ck_assert_uint_eq(atomic_load(&h->n_differences), 0);
	tracee_free(tracee);
}
END_TEST

START_TEST(modules_have_paths_and_build_ids)
{
	struct tracee *tracee = run_scene("stacks", NULL);
	const struct tracee_segment *segment = tracee->segments[0];
	bool program = false, libc = false, vdso = false;
	uint64_t inner = tracee_number(tracee, "inner");

	for (size_t i = 0; i < segment->n_records; i++) {
		const uint64_t *w = segment->records[i].words;
		const char *path = (const char *)(w + 10);
		size_t bytes = ft_wire_upper(w[0]);

		if (ft_wire_type(w[0]) != FT_WIRE_MODULE)
			continue;
		if (bytes > 10 && memcmp(path + bytes - 10, "/libc.so.6", 10) == 0)
			libc = (uint32_t)w[5] == 20;
		if (bytes == 6 && memcmp(path, "[vdso]", 6) == 0)
			vdso = true;
		if (inner - w[3] < w[4] - w[3]) {
			ck_assert_uint_eq(bytes, strlen(PROG_MISC));
			ck_assert_mem_eq(path, PROG_MISC, bytes);
			program = (uint32_t)w[5] == 20;
		}
	}
	ck_assert(program);
	ck_assert(libc);
	ck_assert(vdso);
	tracee_free(tracee);
}
END_TEST

START_TEST(threads_have_names_and_start_routines)
{
	struct tracee *tracee = run_scene("threads", NULL);
	const struct tracee_segment *segment = tracee->segments[0];
	uint64_t start = tracee_number(tracee, "thread_main");
	unsigned started = 0, ended = 0;

	assert_success(tracee);
	assert_sound(segment);
	for (size_t i = 0; i < segment->n_records; i++) {
		const struct record *r = &segment->records[i];

		if (type_of(r) == FT_WIRE_THREAD && r->words[2] == start)
			started++;
		if (type_of(r) == FT_WIRE_THREAD_END) {
			ck_assert_str_eq((const char *)(r->words + 2), "worker-late");
			ended++;
		}
	}
	ck_assert_uint_eq(started, 4);
	ck_assert_uint_eq(ended, 4);
	for (unsigned size = 5001; size <= 5004; size++) {
		size_t born = find_size(segment, 0, size), died;

		ck_assert_uint_ne(born, SIZE_MAX);
		died = tracee_find(segment, 0, FT_WIRE_FREE,
				   record_address(&segment->records[born]));
		ck_assert_uint_ne(died, SIZE_MAX);
		ck_assert_uint_ne(segment->records[born].thread, segment->records[died].thread);
	}
	tracee_free(tracee);
}
END_TEST

START_TEST(short_threads_share_few_rings)
{
	struct tracee *tracee = run_scene("short-threads", NULL);
	const struct tracee_segment *segment = tracee->segments[0];

	assert_success(tracee);
	assert_sound(segment);
	ck_assert_uint_eq(atomic_load(&segment->header->n_threads), 2001);
	ck_assert_uint_lt(atomic_load(&segment->header->n_rings_used), 40);
	ck_assert_uint_eq(atomic_load(&segment->header->n_no_ring), 0);
	ck_assert_uint_eq(count_size(segment, 6001), 2000);
	tracee_free(tracee);
}
END_TEST

START_TEST(late_events_of_a_thread_are_recorded)
{
	struct tracee *tracee = run_scene("late", NULL);
	const struct tracee_segment *segment = tracee->segments[0];
	size_t n = count_size(segment, 7001), freed = 0, at = 0;

	assert_success(tracee);
	/* One by the thread, one in each of four rounds; the fifth is never destructed. */
	ck_assert_uint_ge(n, 4);
	while ((at = find_size(segment, at, 7001)) != SIZE_MAX) {
		at++;
		if (tracee_find(segment, at, FT_WIRE_FREE,
				record_address(&segment->records[at - 1])) != SIZE_MAX)
			freed++;
	}
	ck_assert_uint_eq(freed, n - 1);
	tracee_free(tracee);
}
END_TEST

START_TEST(a_forked_child_has_a_segment_of_its_own)
{
	static const char *const scenes[] = {"fork", "raw-clone"};
	struct tracee *tracee = run_scene(scenes[_i], NULL);

	assert_success(tracee);
	ck_assert_uint_eq(tracee->n_segments, 2);

	const struct tracee_segment *parent = tracee->segments[0], *child = tracee->segments[1];
	size_t before = find_size(parent, 0, 8001);

	ck_assert_uint_ne(before, SIZE_MAX);
	ck_assert_int_eq(child->header->parent_pid, parent->pid);
	ck_assert_uint_gt(child->header->fork_stamp, parent->records[before].words[1]);
	ck_assert_uint_eq(count_size(parent, 8002), 0);
	ck_assert_uint_eq(count_size(child, 8002), 1);
	ck_assert_uint_eq(count_size(child, 8003), 0);
	/* Each frees its own copy of the block. */
	for (size_t i = 0; i < 2; i++)
		ck_assert_uint_ne(tracee_find(tracee->segments[i], i == 0 ? before : 0,
					      FT_WIRE_FREE,
					      record_address(&parent->records[before])),
				  SIZE_MAX);
	ck_assert_uint_ne(tracee_find(child, 0, FT_WIRE_MODULE, 0), SIZE_MAX);
	assert_sound(parent);
	assert_sound(child);
	tracee_free(tracee);
}
END_TEST

START_TEST(a_vfork_child_writes_in_its_parents_place)
{
	struct tracee *tracee = run_scene("vfork", NULL);

	assert_success(tracee);
	ck_assert_uint_eq(tracee->n_segments, 1);
	ck_assert_uint_eq(count_size(tracee->segments[0], 8101), 1);
	ck_assert_uint_eq(count_size(tracee->segments[0], 8102), 1);
	assert_sound(tracee->segments[0]);
	tracee_free(tracee);
}
END_TEST

START_TEST(fork_in_a_busy_program_does_not_hang)
{
	struct tracee *tracee = run_scene("fork-storm", NULL);

	assert_success(tracee);
	ck_assert_uint_eq(tracee->n_segments, 41);
	for (size_t i = 1; i < tracee->n_segments; i++) {
		ck_assert_uint_eq(count_size(tracee->segments[i], 8201), 1);
		ck_assert_uint_eq(count_size(tracee->segments[i], 6001), 1);
		assert_sound(tracee->segments[i]);
	}
	tracee_free(tracee);
}
END_TEST

START_TEST(a_handler_that_allocates_inside_a_hook_is_recorded)
{
	const char *argv[] = {PROG_SIGNAL, "signal", NULL};
	/* Room for all: while a hook waits for some, the side buffer would run over. */
	char ring[] = "FRAGTRACE_RING_KIB=65536";
	char *environment[] = {ring, NULL};
	struct tracee *tracee =
		tracee_run(argv, &(struct tracee_options){.environment = environment});
	const struct tracee_segment *segment = tracee->segments[0];
	unsigned without_stack = 0;

	assert_success(tracee);
	ck_assert_uint_eq(lost_events(segment), 0);
	ck_assert_uint_eq(atomic_load(&segment->header->n_no_ring), 0);
	ck_assert_uint_eq(count_size(segment, 9001), tracee_number(tracee, "handled"));
	ck_assert_uint_eq(count_size(segment, 9002), tracee_number(tracee, "loops"));
	ck_assert_uint_eq(count_size(segment, 9003), tracee_number(tracee, "loops"));
	for (size_t i = 0; i < segment->n_records; i++) {
		const struct record *r = &segment->records[i];

		if (type_of(r) == FT_WIRE_ALLOC && size_of(r) == 9001 &&
		    ft_wire_upper(r->words[0]) == 0)
			without_stack++;
		if (type_of(r) == FT_WIRE_ALLOC && size_of(r) == 9002)
			if (record_usable(r) != 16384)
				ck_abort_msg("usable size is %zu", (size_t)record_usable(r));
	}
	/* Else the scene did not hit the hooks, and has shown nothing. */
	ck_assert_uint_gt(without_stack, 0);
	ck_assert_uint_lt(without_stack, tracee_number(tracee, "handled"));
	tracee_free(tracee);
}
END_TEST

START_TEST(a_handler_that_allocates_at_the_first_event_is_recorded)
{
	const char *argv[] = {PROG_SIGNAL, "first-signal", NULL};
	struct tracee *tracee = tracee_run(argv, NULL);
	const struct tracee_segment *segment = tracee->segments[0];

	assert_success(tracee);
	ck_assert_uint_eq(lost_events(segment), 0);
	ck_assert_uint_eq(atomic_load(&segment->header->n_no_ring), 0);
	ck_assert_uint_eq(count_size(segment, 9601), tracee_number(tracee, "threads"));
	ck_assert_uint_eq(count_size(segment, 9602), tracee_number(tracee, "threads"));
	tracee_free(tracee);
}
END_TEST

START_TEST(many_handlers_inside_one_call_leave_it_one_event)
{
	const char *argv[] = {PROG_SIGNAL, "crowd", NULL};
	struct tracee *tracee = tracee_run(argv, NULL);
	const struct tracee_segment *segment = tracee->segments[0];

	assert_success(tracee);
	ck_assert_uint_eq(lost_events(segment), 0);
	ck_assert_uint_eq(count_size(segment, 9701), tracee_number(tracee, "handled"));
	ck_assert_uint_eq(count_size(segment, 9702), 1);
	ck_assert_uint_eq(count_size(segment, 9703), 1);
	tracee_free(tracee);
}
END_TEST

START_TEST(unloaded_code_gets_new_stacks_and_the_same_its_own)
{
	const char *argv[] = {PROG_MISC, "plugins", PLUGIN_ONE, PLUGIN_TWO, NULL};
	struct tracee *tracee = tracee_run(argv, NULL);
	const struct tracee_segment *segment = tracee->segments[0];
	unsigned loads = 0, ends = 0;
	uint32_t stacks[4], n = 0;

	assert_success(tracee);
	assert_sound(segment);
	for (size_t i = 0; i < segment->n_records; i++) {
		const struct record *r = &segment->records[i];
		const uint64_t *w = r->words;

		if (type_of(r) == FT_WIRE_MODULE &&
		    memmem(w + 10, ft_wire_upper(w[0]), "tracer-plugin", 13))
			loads++;
		if (type_of(r) == FT_WIRE_MODULE_END)
			ends++;
		if (type_of(r) == FT_WIRE_ALLOC && size_of(r) / 10 == 910 && n < 4)
			stacks[n++] = ft_wire_upper(w[0]);
	}
	ck_assert_uint_eq(n, 4);
	ck_assert_uint_eq(loads, 4);
	ck_assert_uint_eq(ends, 4);
	/* One, three times, and two. */
	ck_assert_uint_eq(stacks[0], stacks[1]);
	ck_assert_uint_eq(stacks[0], stacks[2]);
	ck_assert_uint_ne(stacks[0], stacks[3]);
	tracee_free(tracee);
}
END_TEST

START_TEST(modules_are_told_of_when_the_tree_of_stacks_is_full)
{
	const char *argv[] = {PROG_MISC, "plugins", PLUGIN_ONE, PLUGIN_TWO, NULL};
	char *environment[] = {(char[]){"FRAGTRACE_MAX_NODES=2"}, NULL};
	struct tracee *tracee =
		tracee_run(argv, &(struct tracee_options){.environment = environment});
	const struct tracee_segment *segment = tracee->segments[0];
	unsigned loads = 0, raw = 0;

	assert_success(tracee);
	for (size_t i = 0; i < segment->n_records; i++) {
		const struct record *r = &segment->records[i];
		const uint64_t *w = r->words;

		if (type_of(r) == FT_WIRE_MODULE &&
		    memmem(w + 10, ft_wire_upper(w[0]), "tracer-plugin", 13))
			loads++;
		if (type_of(r) == FT_WIRE_ALLOC && size_of(r) / 10 == 910 &&
		    ft_wire_upper(w[0]) == FT_WIRE_RAW_STACK)
			raw++;
	}
	ck_assert_uint_eq(raw, 4);
	ck_assert_uint_eq(loads, 4);
	tracee_free(tracee);
}
END_TEST

START_TEST(a_cxx_plugin_of_a_c_program_finds_its_operators)
{
	const char *argv[] = {PROG_MISC, "cxx-plugin", PLUGIN_CXX, NULL};
	struct tracee *tracee = tracee_run(argv, NULL);
	const struct tracee_segment *segment = tracee->segments[0];
	size_t at = find_size(segment, 0, 9201);

	assert_success(tracee);
	ck_assert_uint_ne(at, SIZE_MAX);
	ck_assert_uint_eq(ft_wire_api(segment->records[at].words[0]), FT_API_NEW_ARRAY);
	ck_assert_uint_eq(count_size(segment, 9201), 1);
	ck_assert_uint_eq(count_size(segment, 9202), 1); /* the string */
	assert_sound(segment);
	tracee_free(tracee);
}
END_TEST

START_TEST(the_program_sees_nothing_of_us)
{
	struct tracee *tracee = run_scene("visible", NULL);

	assert_success(tracee);
	ck_assert_str_eq(tracee->output, "");
	tracee_free(tracee);
}
END_TEST

START_TEST(a_collector_of_its_own_is_nobodys_child)
{
	char path[64], output[96], answer[32] = "";
	char collector[] = "FRAGTRACE_COLLECTOR=" PROG_MISC, secret[] = "FT_TEST_SECRET=1";
	char *environment[] = {collector, output, secret, NULL};

	snprintf(path, sizeof(path), "/tmp/fragtrace-test-%d", getpid());
	snprintf(output, sizeof(output), "FRAGTRACE_OUTPUT=%s", path);
	unlink(path);

	/* Sees no child and no descriptor; and the pipe ends with the program, not the collector.
	 */
	struct tracee *tracee = run_scene(
		"visible", &(struct tracee_options){.environment = environment, .no_socket = true});

	assert_success(tracee);
	ck_assert_str_eq(tracee->output, "");
	ck_assert_double_lt(tracee->seconds, 0.4);
	tracee_free(tracee);

	FILE *file = NULL;

	for (int i = 0; i < 200 && (!file || !fgets(answer, sizeof(answer), file)); i++) {
		if (file)
			fclose(file);
		usleep(10000);
		file = fopen(path, "r");
	}
	ck_assert_str_eq(answer, "good");
	fclose(file);
	unlink(path);
}
END_TEST

START_TEST(a_collector_that_stalls_is_given_up)
{
	char ring[] = "FRAGTRACE_RING_KIB=64", limit[] = "FRAGTRACE_STALL_LIMIT_MS=300";
	char *environment[] = {ring, limit, NULL};
	struct tracee *tracee =
		run_scene("long-burst", &(struct tracee_options){.environment = environment,
								 .stop_after_ms = 30});

	assert_success(tracee);
	ck_assert_uint_gt(lost_events(tracee->segments[0]), 0);
	ck_assert_double_gt(tracee->seconds, 0.3);
	ck_assert_double_lt(tracee->seconds, 3);
	tracee_free(tracee);
}
END_TEST

START_TEST(a_full_ring_waits_for_a_slow_collector)
{
	char ring[] = "FRAGTRACE_RING_KIB=64";
	char *environment[] = {ring, NULL};
	struct tracee *tracee = run_scene(
		"burst", &(struct tracee_options){.environment = environment, .pause_us = 3000});
	const struct tracee_segment *segment = tracee->segments[0];
	struct ft_ring_header *rings =
		(void *)((char *)segment->header + segment->header->rings_at);

	assert_success(tracee);
	assert_sound(segment);
	ck_assert_uint_gt(atomic_load(&rings[0].n_waits), 0);
	ck_assert_uint_eq(atomic_load(&rings[0].n_lost), 0);
	ck_assert_uint_ge(segment->n_records, 200000);
	tracee_free(tracee);
}
END_TEST

/* Lost and recorded add up, and the gap is in the stream. */
static void assert_loss_is_told(const struct tracee_segment *segment, uint64_t n)
{
	struct ft_ring_header *rings =
		(void *)((char *)segment->header + segment->header->rings_at);
	uint64_t lost = atomic_load(&rings[0].n_lost), events = atomic_load(&rings[0].n_events);

	ck_assert_uint_gt(lost, 0);
	ck_assert_uint_ge(lost + events, n);
	ck_assert_uint_lt(lost + events, n + 1000);
}

START_TEST(a_collector_that_never_comes_costs_one_bounded_wait)
{
	char ring[] = "FRAGTRACE_RING_KIB=64";
	char *environment[] = {ring, NULL};
	struct tracee *tracee =
		run_scene("burst", &(struct tracee_options){.environment = environment,
							    .never_attach = true});

	assert_success(tracee);
	assert_loss_is_told(tracee->segments[0], 200000);
	ck_assert_double_gt(tracee->seconds, 4.0);
	ck_assert_double_lt(tracee->seconds, 7.5);
	tracee_free(tracee);
}
END_TEST

START_TEST(drop_mode_never_waits)
{
	char ring[] = "FRAGTRACE_RING_KIB=64", drop[] = "FRAGTRACE_ON_FULL=drop";
	char *environment[] = {ring, drop, NULL};
	struct tracee *tracee =
		run_scene("long-burst",
			  &(struct tracee_options){.environment = environment, .pause_us = 5000});
	const struct tracee_segment *segment = tracee->segments[0];
	struct ft_ring_header *rings =
		(void *)((char *)segment->header + segment->header->rings_at);
	uint64_t told = 0;
	bool flagged = true;

	assert_success(tracee);
	assert_loss_is_told(segment, 2000000);
	ck_assert_uint_eq(atomic_load(&rings[0].n_waits), 0);
	for (size_t i = 0; i < segment->n_records; i++) {
		const struct record *r = &segment->records[i];

		if (type_of(r) == FT_WIRE_LOSS) {
			told += r->words[2];
			flagged = false;
		} else if (is_event(r)) {
			ck_assert(flagged || ft_wire_flags(r->words[0]) & FT_EVENT_F_AFTER_LOSS);
			flagged = true;
		}
	}
	ck_assert_uint_gt(told, 0);
	ck_assert_uint_le(told, atomic_load(&rings[0].n_lost));
	tracee_free(tracee);
}
END_TEST

START_TEST(a_double_free_is_recorded_before_it_kills)
{
	struct tracee *tracee = run_scene("double-free", NULL);
	const struct tracee_segment *segment = tracee->segments[0];
	size_t born = find_size(segment, 0, 9301), died;

	ck_assert(WIFSIGNALED(tracee->status) && WTERMSIG(tracee->status) == SIGABRT);
	ck_assert_uint_ne(born, SIZE_MAX);
	died = tracee_find(segment, born, FT_WIRE_FREE, record_address(&segment->records[born]));
	ck_assert_uint_ne(died, SIZE_MAX);
	died = tracee_find(segment, died + 1, FT_WIRE_FREE,
			   record_address(&segment->records[born]));
	ck_assert_uint_ne(died, SIZE_MAX);
	tracee_free(tracee);
}
END_TEST

START_TEST(frees_at_exit_are_recorded)
{
	struct tracee *tracee = run_scene("exit", NULL);
	const struct tracee_segment *segment = tracee->segments[0];
	size_t born = find_size(segment, 0, 9401);

	assert_success(tracee);
	ck_assert_uint_ne(
		tracee_find(segment, born, FT_WIRE_FREE, record_address(&segment->records[born])),
		SIZE_MAX);
	tracee_free(tracee);
}
END_TEST

START_TEST(real_programs_run_as_ever)
{
	static const char *const commands[][4] = {
		{"/bin/sh", "-c", "ls / | sort | head -2; exit 7"},
		{"/usr/bin/python3", "-c", "import json; print(json.dumps(1))"},
		{"git", "--version"},
	};
	struct tracee *tracee = tracee_run(commands[_i], NULL);

	ck_assert(WIFEXITED(tracee->status));
	ck_assert_int_eq(WEXITSTATUS(tracee->status), _i == 0 ? 7 : 0);
	ck_assert_uint_ge(tracee->n_segments, 1);
	for (size_t i = 0; i < tracee->n_segments; i++)
		assert_sound(tracee->segments[i]);
	if (_i == 1)
		ck_assert_str_eq(tracee->output, "1\n");
	tracee_free(tracee);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tracer");
	TCase *calls = tcase_create("calls"), *life = tcase_create("life");

	tcase_set_timeout(calls, 60);
	tcase_add_test(calls, every_call_is_recorded_once_as_what_it_is);
	tcase_add_test(calls, stacks_name_the_callers);
	tcase_add_test(calls, depth_is_limited_on_request);
	tcase_add_loop_test(calls, every_way_to_unwind_names_the_callers, 0, 5);
	tcase_add_test(calls, without_unwinding_there_is_the_caller);
	tcase_add_test(calls, frees_have_stacks_on_request);
	tcase_add_loop_test(calls, a_self_check_compares_all_stacks, 0, 2);
	tcase_add_test(calls, a_handler_that_allocates_inside_a_hook_is_recorded);
	tcase_add_test(calls, a_handler_that_allocates_at_the_first_event_is_recorded);
	tcase_add_test(calls, many_handlers_inside_one_call_leave_it_one_event);
	tcase_add_test(calls, a_full_ring_waits_for_a_slow_collector);
	tcase_add_test(calls, a_collector_that_never_comes_costs_one_bounded_wait);
	tcase_add_test(calls, a_collector_that_stalls_is_given_up);
	tcase_add_test(calls, drop_mode_never_waits);
	tcase_add_test(calls, a_double_free_is_recorded_before_it_kills);
	suite_add_tcase(suite, calls);

	tcase_set_timeout(life, 60);
	tcase_add_test(life, modules_have_paths_and_build_ids);
	tcase_add_test(life, unloaded_code_gets_new_stacks_and_the_same_its_own);
	tcase_add_test(life, modules_are_told_of_when_the_tree_of_stacks_is_full);
	tcase_add_test(life, a_cxx_plugin_of_a_c_program_finds_its_operators);
	tcase_add_test(life, threads_have_names_and_start_routines);
	tcase_add_test(life, short_threads_share_few_rings);
	tcase_add_test(life, late_events_of_a_thread_are_recorded);
	tcase_add_loop_test(life, a_forked_child_has_a_segment_of_its_own, 0, 2);
	tcase_add_test(life, a_vfork_child_writes_in_its_parents_place);
	tcase_add_test(life, fork_in_a_busy_program_does_not_hang);
	tcase_add_test(life, the_program_sees_nothing_of_us);
	tcase_add_test(life, a_collector_of_its_own_is_nobodys_child);
	tcase_add_test(life, frees_at_exit_are_recorded);
	tcase_add_loop_test(life, real_programs_run_as_ever, 0, 3);
	suite_add_tcase(suite, life);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

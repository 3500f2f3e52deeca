/* SPDX-License-Identifier: MIT */
/* Keyframes and roll-ups of a recording that keeps all, and threads that become one of their kind.
 */
#include "budget_test.h"

/* ---- without a limit --------------------------------------------------------------------------
 */

static void check_keyframes(const char *path, size_t least, size_t most)
{
	const struct ft_keyframe_info *keyframes;
	struct ft_reader *reader;
	size_t n;

	ok(ft_reader_open(path, 0, &reader));
	ck_assert_uint_eq(ft_reader_first_seq(reader), 0);
	ok(ft_reader_keyframes(reader, &keyframes, &n));
	ck_assert_uint_ge(n, least);
	ck_assert_uint_le(n, most);
	for (size_t i = 0; i < n; i++)
		check_rollups(reader, keyframes[i].seq, &keyframes[i]);
	ft_reader_close(reader);
}

/* Chunks of 65536 events. */
static const struct ft_limits late_index = {.index_events = 300000, .keyframe_events = 100000};

START_TEST(long_recording_gets_an_index_of_all_its_events)
{
	const char *path = fresh_path();
	struct synth *synth = traffic();
	struct ft_writer *writer = start(path, synth, &late_index);

	write_events(writer, synth, 290000);
	ok(ft_writer_commit(writer, true));
	check_keyframes(path, 0, 0);
	write_events(writer, synth, 700000);
	ok(ft_writer_finish(writer));
	check_keyframes(path, 6, 9);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

/* In a program that runs on while its recording is looked back at. */
START_TEST(index_catches_up_while_events_come)
{
	enum { EVENTS = 700000 };
	const char *path = fresh_path();
	struct synth *synth = traffic();
	struct ft_writer *writer =
		start(path, synth,
		      &(struct ft_limits){.index_events = UINT64_MAX, .keyframe_events = 100000});
	bool ready = false;

	write_events(writer, synth, EVENTS);
	ft_writer_set_busy(writer, true);
	/* What rotation does first: it does not wait until there is time. */
	for (int i = 0; !ready; i++) {
		ck_assert_int_lt(i, 4 * EVENTS / FT_CHUNK_EVENTS);
		ok(ft_writer_follow(writer, &ready));
		write_events(writer, synth, COMMIT_EVERY);
		ok(ft_writer_commit(writer, true));
	}
	write_events(writer, synth, EVENTS);
	ok(ft_writer_finish(writer));
	check_keyframes(path, 10, 15);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

START_TEST(index_of_a_busy_writer_falls_behind_and_is_caught_up_with)
{
	const char *path = fresh_path();
	struct synth *synth = traffic();
	struct ft_writer *writer = start(path, synth, &late_index);
	bool behind = true;

	write_events(writer, synth, 600000);
	ok(ft_writer_commit(writer, true));
	check_keyframes(path, 3, 6);
	ft_writer_set_busy(writer, true);
	write_events(writer, synth, 900000);
	ok(ft_writer_commit(writer, true));
	check_keyframes(path, 3, 6);
	for (int i = 0; behind; i++) {
		ck_assert_int_lt(i, 900000 / FT_CHUNK_EVENTS * 2);
		ok(ft_writer_catch_up(writer, &behind));
	}
	ok(ft_writer_finish(writer));
	check_keyframes(path, 11, 15);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

/* ---- threads ----------------------------------------------------------------------------------
 */

/* A thread lives, and leaves a block behind if it is to. */
static void run_thread(struct ft_writer *writer, uint32_t id, uint64_t *now, bool leaves)
{
	struct ft_event event = {.stack = 1, .thread = id, .api = FT_API_MALLOC};
	struct ft_thread_row row = {.id = id,
				    .tid = 1000 + id,
				    .name = id % 2 ? "conn-1" : "conn-22",
				    .start_function = 0x1234,
				    .start_ns = *now};
	const int n = 50;

	for (int i = 0; i < n; i++) {
		event.address = 0x1000000 + (uint64_t)id * 0x10000 + (uint64_t)i * 64;
		event.size = event.usable = 32;
		event.kind = FT_EVENT_ALLOC;
		event.time_ns = *now += 1000;
		ok(ft_writer_event(writer, &event, NULL));
	}
	for (int i = leaves; i < n; i++) {
		event.address = 0x1000000 + (uint64_t)id * 0x10000 + (uint64_t)i * 64;
		event.kind = FT_EVENT_FREE;
		event.size = event.usable = 0;
		event.time_ns = *now += 1000;
		ok(ft_writer_event(writer, &event, NULL));
	}
	row.end_ns = *now;
	ok(ft_writer_thread(writer, &row));
}

START_TEST(threads_that_are_gone_become_one)
{
	enum { THREADS = 22000, LEAVES = 1000, BUDGET = 1 << 20 };
	const char *path = fresh_path();
	struct ft_writer *writer;
	struct ft_reader *reader;
	uint64_t now = 0;

	ok(ft_writer_create(path, &writer));
	ok(ft_writer_set_limits(writer, &(struct ft_limits){.max_bytes = BUDGET}));
	ok(ft_writer_stack_node(writer, &(struct ft_stack_node){.id = 1, .pc = 0x100}));
	for (uint32_t id = 1; id <= THREADS; id++) {
		run_thread(writer, id, &now, id % LEAVES == 0);
		if (id % 50 == 0)
			ok(ft_writer_commit(writer, true));
		ck_assert_uint_le(bytes_of(path, "") + bytes_of(path, "-wal"),
				  BUDGET + BUDGET / 32);
	}
	ok(ft_writer_finish(writer));
	ck_assert_int_lt(number_in(path, "SELECT count(*) FROM thread"), THREADS * 3 / 4);
	ck_assert_int_eq(number_in(path, "SELECT sum(coalesce(n_threads, 1)) FROM thread"),
			 THREADS);
	/* Who owns something is who he was. */
	ck_assert_int_eq(number_in(path, "SELECT count(*) FROM thread WHERE id % 1000 = 0 AND"
					 " n_threads IS NULL"),
			 THREADS / LEAVES);
	ok(ft_reader_open(path, 0, &reader));
	check_whole(reader);
	ft_reader_close(reader);
	unlink(path);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("index");

	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, long_recording_gets_an_index_of_all_its_events);
	tcase_add_test(tcase, index_catches_up_while_events_come);
	tcase_add_test(tcase, index_of_a_busy_writer_falls_behind_and_is_caught_up_with);
	tcase_add_test(tcase, threads_that_are_gone_become_one);
	return run_suite("index", tcase);
}

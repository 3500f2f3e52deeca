/* SPDX-License-Identifier: MIT */
/*
 * A session: rows of a recording, hostile segments, and real threads
 *
 * The threads test is meant for ThreadSanitizer too: producers, a drain thread and a write thread
 * run at the same time.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "co_drain.h"
#include "co_roster.h"
#include "fake_store.h"
#include "ft_error.h"
#include "program.h"

static uint64_t seed;

static uint64_t rnd(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void put_thread(struct program *program, unsigned ring, uint64_t at, uint32_t serial,
		       const char *name)
{
	uint64_t words[6] = {ft_wire_head(FT_WIRE_THREAD, 0, 0, 6, 1000 + serial),
			     program->start + at, 0x1234};

	strncpy((char *)(words + 3), name, 15);
	words[5] = serial;
	ck_assert(program_put(program, ring, words, 6));
}

static void put_thread_end(struct program *program, unsigned ring, uint64_t at, const char *name)
{
	uint64_t words[4] = {ft_wire_head(FT_WIRE_THREAD_END, 0, 0, 4, 0), program->start + at};

	strncpy((char *)(words + 2), name, 15);
	ck_assert(program_put(program, ring, words, 4));
}

START_TEST(a_ring_that_changes_hands_keeps_its_threads_apart)
{
	struct program program;

	program_init(&program, 1, 1 << 14);
	put_thread(&program, 0, 100, 1, "main");
	program_alloc(&program, 0, 110, 0x1000, 1, 0);
	put_thread_end(&program, 0, 120, "renamed");
	program_alloc(&program, 0, 130, 0x2000, 1, 0); /* libc's own clean-up */
	put_thread(&program, 0, 140, 2, "second\n");
	program_alloc(&program, 0, 150, 0x3000, 1, 0);
	put_thread(&program, 0, 160, 3, "third"); /* the second left without a word */
	program_end(&program, CO_END_SIGNAL, 9);

	ck_assert_uint_eq(fake.events[0].thread, 1);
	ck_assert_uint_eq(fake.events[1].thread, 1);
	ck_assert_uint_eq(fake.events[2].thread, 2);
	ck_assert_str_eq(fake.thread_names[1], "renamed");
	ck_assert_uint_eq(fake.threads[1].start_ns, 100);
	ck_assert_uint_eq(fake.threads[1].end_ns, 120);
	ck_assert_int_eq(fake.threads[1].tid, 1001);
	ck_assert_str_eq(fake.thread_names[2], "second?");
	ck_assert_uint_eq(fake.threads[2].end_ns, 150);
	ck_assert_uint_ne(fake.threads[3].end_ns, FT_TIME_NONE);
	ck_assert_str_eq(fake.exit_kind, "signal");
	ck_assert_int_eq(fake.exit_code, 9);
	ck_assert_str_eq(fake_meta_text("program_end"), "killed");
	program_deinit(&program);
}
END_TEST

START_TEST(modules_marks_losses_and_errors_become_rows)
{
	struct program program;
	uint64_t module[13] = {0}, words[5];
	uint32_t node;

	program_init(&program, 1, 1 << 14);
	node = program_node(&program, 0, 0xabc);
	module[0] = ft_wire_head(FT_WIRE_MODULE, 0, 0, 13, 9);
	module[1] = program.start + 100;
	module[2] = 0x10000;
	module[3] = 0x11000;
	module[4] = 0x19000;
	module[5] = 3;
	memcpy(module + 6, "\x01\xab\xff", 3);
	memcpy(module + 10, "/lib/x.so", 9);
	ck_assert(program_put(&program, 0, module, 13));
	program_alloc(&program, 0, 110, 0x1000, 5, node);

	words[0] = ft_wire_head(FT_WIRE_LOSS, 0, 0, 3, 0);
	words[1] = program.start + 200;
	words[2] = 17;
	ck_assert(program_put(&program, 0, words, 3));
	program_alloc(&program, 0, 210, 0x2000, 6, node);

	words[0] = ft_wire_head(FT_WIRE_MARK, 0, 0, 3, 5);
	words[1] = program.start + 220;
	memcpy(words + 2, "phase", 5);
	ck_assert(program_put(&program, 0, words, 3));

	words[0] = ft_wire_head(FT_WIRE_ERROR, 0, 0, 5, node);
	words[1] = program.start + 230;
	words[2] = 0x1000;
	words[3] = FT_WIRE_MISMATCHED_FREE;
	words[4] = 0;
	ck_assert(program_put(&program, 0, words, 5));

	words[0] = ft_wire_head(FT_WIRE_MODULE_END, 0, 0, 4, 0);
	words[1] = program.start + 240;
	words[2] = 0x11000;
	words[3] = node;
	ck_assert(program_put(&program, 0, words, 4));

	/* 20 were lost in all: the last 3 have no record that tells of them. */
	atomic_store(&program.rings[0].n_lost, 20);
	atomic_store(&program.header->n_no_ring, 4);
	program_end(&program, CO_END_EXIT, 3);

	ck_assert_str_eq(fake.module_paths[1], "/lib/x.so");
	ck_assert_str_eq(fake.module_ids[1], "01abff");
	ck_assert_uint_eq(fake.modules[1].bias, 0x10000);
	ck_assert_uint_eq(fake.modules[1].load_ns, 100);
	ck_assert_uint_eq(fake.modules[1].unload_ns, 240);
	ck_assert_uint_eq(fake.n_losses, 3);
	ck_assert_uint_eq(fake.losses[0].first_ns, 110);
	ck_assert_uint_eq(fake.losses[0].last_ns, 200);
	ck_assert_uint_eq(fake.losses[0].n_events, 17);
	ck_assert_uint_eq(fake.losses[1].n_events, 3);
	ck_assert_str_eq(fake.losses[2].reason, "no_ring");
	ck_assert_int_eq(fake_meta_int("lost_events"), 24);
	ck_assert_uint_eq(fake.events[0].flags & FT_EVENT_F_AFTER_LOSS, 0);
	ck_assert_uint_eq(fake.events[1].flags & FT_EVENT_F_AFTER_LOSS, FT_EVENT_F_AFTER_LOSS);
	ck_assert_uint_eq(fake.n_marks, 1);
	ck_assert_str_eq(fake.mark_labels[0], "phase");
	ck_assert_uint_eq(fake.marks[0].seq, 2);
	ck_assert_str_eq(fake.errors[0].kind, "mismatched_free");
	ck_assert_uint_eq(fake.errors[0].stack, 1);
	ck_assert_uint_eq(fake.errors[0].alloc_stack, 1);
	ck_assert_uint_eq(fake.sites[1].n_allocs, 2);
	ck_assert_uint_eq(fake.sites[1].live_bytes, 11);
	ck_assert_uint_eq(fake.sites[1].peak_bytes, 11);
	ck_assert_str_eq(fake.argv_json, "[\"program\",\"a \\\"b\\\"\\u000a\xef\xbf\xbd\"]");
	ck_assert_str_eq(fake_meta_text("program_end"), "exit");
	program_deinit(&program);
}
END_TEST

START_TEST(the_exiting_program_is_answered_after_a_commit)
{
	struct program program;
	size_t n_commits;

	program_init(&program, 1, 1 << 14);
	program_alloc(&program, 0, 100, 0x1000, 5, 0);
	program_settle(&program);
	n_commits = fake.n_commits;
	program_alloc(&program, 0, 200, 0x2000, 5, 0);
	atomic_store(&program.header->exiting, FT_EXITING_WAITING);
	for (int i = 0; i < 10000 && !atomic_load(&program.header->committed); i++)
		program_settle(&program);
	ck_assert_uint_eq(atomic_load(&program.header->committed), 1);
	ck_assert_uint_eq(fake.n_commits, n_commits + 1);
	ck_assert_uint_eq(fake.n_events, 2);

	/* What destructors still free is seen too. */
	program_free(&program, 0, 300, 0x2000);
	program_end(&program, CO_END_UNKNOWN, -1);
	ck_assert_uint_eq(fake.n_events, 3);
	ck_assert_str_eq(fake_meta_text("program_end"), "exit");
	ck_assert_uint_eq(atomic_load(&program.header->attached), FT_ATTACHED_REFUSED);
	program_deinit(&program);
}
END_TEST

START_TEST(the_exiting_program_is_not_answered_below_an_old_floor)
{
	struct program program;

	program_init(&program, 2, 1 << 14);
	program.session->floor_limit_ns = INT64_MAX;
	program.session->slack_ns = 0;
	/* A thread is in its very first call. */
	atomic_store(&program.rings[1].floor, 1);
	atomic_store(&program.header->n_rings_used, 2);
	program_alloc(&program, 0, 100, 0x1000, 5, 0);
	atomic_store(&program.header->exiting, FT_EXITING_WAITING);
	for (int i = 0; i < 5; i++) {
		co_session_pass(program.session);
		while (program.spill.first)
			co_write_step(program.write, 0);
	}
	ck_assert_uint_eq(fake.n_events, 0);
	ck_assert_uint_eq(atomic_load(&program.header->committed), 0);

	atomic_store(&program.rings[1].floor, 0);
	for (int i = 0; i < 10000 && !atomic_load(&program.header->committed); i++)
		program_settle(&program);
	ck_assert_uint_eq(atomic_load(&program.header->committed), 1);
	ck_assert_uint_eq(fake.n_events, 1);
	program_end(&program, CO_END_EXIT, 0);
	program_deinit(&program);
}
END_TEST

START_TEST(nothing_is_overwritten)
{
	struct program program;

	fake_reset();
	program_init_segment(&program, 1, 1 << 14);
	strcpy(program.header->output, "soak.frag");
	fake.n_exist = 2;
	program_attach(&program);
	program_end(&program, CO_END_EXIT, 0);
	ck_assert_str_eq(fake.path, "/somewhere/soak.3.frag");
	program_deinit(&program);
}
END_TEST

START_TEST(a_folder_that_is_not_writable_refuses_the_segment)
{
	struct program program;

	fake_reset();
	program_init_segment(&program, 1, 1 << 14);
	fake.create_errno = EACCES;
	program_attach(&program);
	program_alloc(&program, 0, 100, 0x1000, 5, 0);
	program_settle(&program);
	ck_assert_uint_eq(atomic_load(&program.header->attached), FT_ATTACHED_REFUSED);
	atomic_store(&program.header->exiting, FT_EXITING_WAITING);
	for (int i = 0; i < 10000 && !atomic_load(&program.header->committed); i++)
		program_settle(&program);
	ck_assert_uint_eq(atomic_load(&program.header->committed), 1);
	program_end(&program, CO_END_EXIT, 0);
	program_deinit(&program);
}
END_TEST

START_TEST(a_disk_that_is_full_ends_the_recording_not_the_program)
{
	struct program program;

	program_init(&program, 1, 1 << 14);
	fake.fail_events = 100;
	for (uint64_t i = 0; i < 20000; i++)
		if (!program_alloc(&program, 0, 100 + i, 0x1000 + 16 * i, 5, 0)) {
			program_settle(&program);
			i--;
		}
	program_end(&program, CO_END_EXIT, 0);
	ck_assert_uint_eq(fake.n_events, 100);
	ck_assert(!fake.finished);
	ck_assert_uint_eq(atomic_load(&program.header->attached), FT_ATTACHED_REFUSED);
	program_deinit(&program);
}
END_TEST

/* What could not be kept is a gap in the recording, of unknown size, and is told as one. */
START_TEST(memory_that_runs_out_is_a_loss)
{
	struct program program;

	program_init(&program, 1, 1 << 14);
	program_alloc(&program, 0, 100, 0x1000, 5, 0);
	program_settle(&program);
	program.session->out_of_memory = true;
	program_end(&program, CO_END_EXIT, 0);
	ck_assert_uint_eq(fake.n_losses, 1);
	ck_assert_str_eq(fake.losses[0].reason, "no_memory");
	ck_assert_uint_eq(fake.losses[0].n_events, 0);
	program_deinit(&program);
}
END_TEST

/* ---- hostile programs ------------------------------------------------------------------------ */

START_TEST(garbage_in_rings_and_nodes_does_no_harm)
{
	struct program program;

	seed = (uint64_t)_i;
	program_init(&program, 4, 1 << 13);
	for (unsigned i = 0; i < 4096; i++)
		program.nodes[i] = (struct ft_segment_node){
			.pc = rnd(1 << 30), .parent = (uint32_t)rnd(_i % 2 ? 5000 : i + 1)};
	for (int round = 0; round < 40; round++) {
		for (unsigned ring = 0; ring < 4; ring++) {
			uint64_t *body = program.producers[ring].body;
			uint64_t tail = atomic_load(&program.rings[ring].tail);

			/* Half of it looks like records, so that decoding gets further than the
			 * length. */
			for (unsigned at = 0; at < (1 << 13) / 8; at++)
				body[at] =
					rnd(2) ? ft_wire_head((unsigned)rnd(16), (unsigned)rnd(256),
							      (unsigned)rnd(256),
							      (unsigned)(2 + rnd(14)),
							      (uint32_t)rnd(6000))
					       : rnd(UINT64_MAX);
			switch (rnd(4)) {
			case 0:
				atomic_store(&program.rings[ring].tail, rnd(UINT64_MAX));
				break;
			case 1:
				atomic_store(&program.rings[ring].tail, tail + rnd(1 << 14));
				break;
			default:
				atomic_store(&program.rings[ring].tail, tail + 8 * rnd(1 << 10));
			}
			atomic_store(&program.rings[ring].head, rnd(UINT64_MAX));
			atomic_store(&program.rings[ring].floor, rnd(3) ? 0 : rnd(UINT64_MAX));
			atomic_store(&program.rings[ring].state, (uint32_t)rnd(UINT32_MAX));
		}
		atomic_store(&program.header->n_rings_used, (uint32_t)rnd(UINT32_MAX));
		for (int pass = 0; pass < 3; pass++) {
			co_session_pass(program.session);
			while (program.spill.first)
				co_write_step(program.write, 0);
		}
	}
	program_end(&program, CO_END_UNKNOWN, -1);
	ck_assert(fake.finished);
	program_deinit(&program);
}
END_TEST

START_TEST(headers_that_lie_are_refused_or_harmless)
{
	seed = 99;
	for (int round = 0; round < 300; round++) {
		struct program program;
		struct co_segment segment;
		struct ft_error *error;
		uint64_t *words;

		program_init_segment(&program, 4, 1 << 13);
		words = (uint64_t *)(void *)program.header;
		/* The first words are what sizes are taken from. */
		for (int i = 0; i < 3; i++)
			words[1 + rnd(12)] = rnd(2) ? rnd(UINT64_MAX) : rnd(1 << 20);
		error = co_segment_map(program.memfd, &segment);
		if (!error) {
			uint64_t sum = 0;

			/* All that it admits can be touched. */
			for (uint32_t i = 0; i < segment.n_rings; i++)
				sum += *(const volatile uint64_t *)co_segment_ring_body(&segment,
											i) +
				       segment.rings[i].head;
			sum += segment.nodes[segment.max_nodes - 1].pc;
			ck_assert_uint_ge(sum + 1, 0);
			co_segment_unmap(&segment);
		}
		ft_error_destroy(error);
		munmap(program.base, program.size);
		close(program.memfd);
	}
}
END_TEST

START_TEST(a_file_that_can_shrink_is_refused)
{
	struct co_segment segment;
	char path[] = "/tmp/fragtrace-test-XXXXXX";
	int fd = mkstemp(path);
	struct ft_error *error;

	unlink(path);
	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	error = co_segment_map(fd, &segment);
	ck_assert_ptr_nonnull(error);
	ft_error_destroy(error);
	close(fd);

	/* And a sealed one can't shrink afterwards. */
	struct program program;

	program_init(&program, 1, 1 << 13);
	ck_assert_int_lt(ftruncate(program.memfd, 0), 0);
	program_end(&program, CO_END_EXIT, 0);
	program_deinit(&program);
}
END_TEST

/* ---- threads --------------------------------------------------------------------------------- */

enum { PRODUCERS = 4, PER_PRODUCER = 50000 };

struct producer {
	struct program *program;
	unsigned ring;
};

static void *produce(void *ctx)
{
	struct producer *producer = ctx;
	struct program *program = producer->program;
	struct ft_ring_header *header = &program->rings[producer->ring];
	uint64_t last = 1;

	for (uint64_t i = 0; i < PER_PRODUCER; i++) {
		uint64_t at, address = ((uint64_t)producer->ring << 40) + 16 * (i / 2 + 1);

		atomic_store_explicit(&header->floor, last, memory_order_relaxed);
		at = (uint64_t)co_clock_monotonic() - program->start;
		while (!(i % 2 ? program_free(program, producer->ring, at, address)
			       : program_alloc(program, producer->ring, at, address, i, 0))) {
			/* As the tracer does: ring, say that we sleep, look again, sleep. */
			atomic_fetch_add(&program->header->doorbell, 1);
			co_futex_wake(&program->header->doorbell);
			atomic_store(&header->waiting, 1);
			usleep(50);
		}
		last = program->start + at;
		atomic_store_explicit(&header->floor, 0, memory_order_release);
	}
	return NULL;
}

static void *drain(void *ctx)
{
	co_drain_run(ctx);
	return NULL;
}

static void *write_out(void *ctx)
{
	co_write_run(ctx);
	return NULL;
}

START_TEST(producers_drain_and_writer_run_at_the_same_time)
{
	struct program program;
	struct co_roster roster;
	struct producer producers[PRODUCERS];
	pthread_t threads[PRODUCERS], drain_thread, write_thread;
	uint64_t last[PRODUCERS + 1] = {0};

	program_init(&program, PRODUCERS, 1 << 13);
	co_roster_init(&roster);
	program.session->floor_limit_ns = INT64_MAX; /* slow machines have slow threads */
	ck_assert(co_roster_add(&roster, program.session));
	pthread_create(&drain_thread, NULL, drain, &roster);
	pthread_create(&write_thread, NULL, write_out, program.write);
	for (unsigned i = 0; i < PRODUCERS; i++) {
		producers[i] = (struct producer){&program, i};
		pthread_create(&threads[i], NULL, produce, &producers[i]);
	}
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	co_session_end(program.session, CO_END_EXIT, 0);
	co_roster_wake(&roster);
	for (int i = 0; i < 20000; i++) {
		pthread_mutex_lock(&roster.lock);
		uint32_t n = roster.n;
		pthread_mutex_unlock(&roster.lock);
		if (!n)
			break;
		usleep(1000);
	}
	co_roster_stop(&roster);
	pthread_join(drain_thread, NULL);
	co_spill_close(&program.spill);
	pthread_join(write_thread, NULL);

	ck_assert(fake.finished);
	ck_assert_uint_eq(fake.n_events, PRODUCERS * PER_PRODUCER);
	ck_assert_int_eq(fake_meta_int("inversions"), 0);
	for (size_t i = 0; i < fake.n_events; i++) {
		const struct ft_event *event = &fake.events[i];
		uint64_t n = 2 * ((event->address & 0xffffffffff) / 16 - 1) +
			     (event->kind == FT_EVENT_FREE);

		ck_assert_uint_eq(n, last[event->thread]++);
	}
	co_roster_deinit(&roster);
	program_deinit(&program);
}
END_TEST

static uint64_t segment_bytes(const struct program *program)
{
	struct stat status;

	ck_assert_int_eq(fstat(program->memfd, &status), 0);
	return (uint64_t)status.st_blocks * 512;
}

/* Four times around, a few events at a time: a thread that seldom allocates keeps two pages of its
 * ring, one that is busy all. */
START_TEST(a_slow_thread_keeps_little_of_its_ring)
{
	enum { RING = 128 << 10, EVENTS = 4 * RING / 24 / 2 };
	struct program program;
	uint64_t before, most = 0;

	program_init(&program, 1, RING);
	before = segment_bytes(&program);
	for (uint64_t i = 0; i < EVENTS; i++) {
		ck_assert(program_alloc(&program, 0, 10 * i, 0x1000, 16, 0));
		ck_assert(program_free(&program, 0, 10 * i + 5, 0x1000));
		if (i % 10)
			continue;
		if (_i)
			program.session->rings[0].paged_ns = INT64_MIN / 2; /* long ago */
		program_settle(&program);
		if (segment_bytes(&program) - before > most)
			most = segment_bytes(&program) - before;
	}
	program_settle(&program);
	ck_assert_uint_eq(program.session->counters.n_events, 2 * EVENTS);
	ck_assert_int_eq(program.session->counters.n_bad_records, 0);
	if (_i)
		ck_assert_uint_le(most, 3 * 4096);
	else
		ck_assert_uint_eq(most, RING);
	program_end(&program, CO_END_EXIT, 0);
	ck_assert_uint_eq(fake.n_events, 2 * EVENTS);
	ck_assert_int_eq(fake_meta_int("unknown_frees"), 0);
	program_deinit(&program);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("collector-session");
	TCase *session = tcase_create("session");
	SRunner *runner;
	int failed;

	tcase_set_timeout(session, 120);
	tcase_add_loop_test(session, a_slow_thread_keeps_little_of_its_ring, 0, 2);
	tcase_add_test(session, a_ring_that_changes_hands_keeps_its_threads_apart);
	tcase_add_test(session, modules_marks_losses_and_errors_become_rows);
	tcase_add_test(session, memory_that_runs_out_is_a_loss);
	tcase_add_test(session, the_exiting_program_is_answered_after_a_commit);
	tcase_add_test(session, the_exiting_program_is_not_answered_below_an_old_floor);
	tcase_add_test(session, nothing_is_overwritten);
	tcase_add_test(session, a_folder_that_is_not_writable_refuses_the_segment);
	tcase_add_test(session, a_disk_that_is_full_ends_the_recording_not_the_program);
	tcase_add_loop_test(session, garbage_in_rings_and_nodes_does_no_harm, 0, 10);
	tcase_add_test(session, headers_that_lie_are_refused_or_harmless);
	tcase_add_test(session, a_file_that_can_shrink_is_refused);
	tcase_add_test(session, producers_drain_and_writer_run_at_the_same_time);
	suite_add_tcase(suite, session);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

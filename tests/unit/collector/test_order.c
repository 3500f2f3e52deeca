/* SPDX-License-Identifier: MIT */
/*
 * Order: what several rings deliver becomes the one sequence that the allocator saw
 *
 * The reference is a naive model: a list of calls in their true order, dealt out to rings. Whatever
 * the interleaving of publishing and draining, the recording must be that list again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "fake_store.h"
#include "ft_map.h"
#include "program.h"

static uint64_t seed;

static uint64_t rnd(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

START_TEST(events_of_many_rings_come_out_in_order_of_stamps)
{
	enum { N = 30000 };
	struct program program;
	unsigned n_rings = (unsigned)(1 + _i % 8);
	uint64_t address[N];
	unsigned ring_of[N], published[8] = {0};
	unsigned done = 0;

	seed = (uint64_t)_i;
	program_init(&program, n_rings, 1 << 16);
	program.session->floor_limit_ns = INT64_MAX; /* slow machines have slow threads */

	for (unsigned i = 0; i < N; i++) {
		/* Runs of one ring, as threads have them. */
		ring_of[i] = i && rnd(20) ? ring_of[i - 1] : (unsigned)rnd(n_rings);
		address[i] = 0x10000 + 16 * (uint64_t)i;
	}
	/* Each ring has its floor at the first stamp that it has not published yet. */
	while (done < N) {
		unsigned ring = (unsigned)rnd(n_rings), n = 1 + (unsigned)rnd(3000);

		while (n && published[ring] < N) {
			unsigned i = published[ring];

			if (ring_of[i] == ring) {
				if (!program_alloc(&program, ring, 1000 + 10 * i, address[i], i, 0))
					break;
				done++;
				n--;
			}
			published[ring]++;
		}
		for (unsigned r = 0; r < n_rings; r++)
			atomic_store(&program.rings[r].floor,
				     published[r] < N ? program.start + 1000 + 10 * published[r]
						      : 0);
		co_session_pass(program.session);
		while (program.spill.first)
			co_write_step(program.write, 0);
	}
	for (unsigned r = 0; r < n_rings; r++)
		atomic_store(&program.rings[r].floor, 0);
	program_end(&program, CO_END_EXIT, 0);

	ck_assert_uint_eq(fake.n_events, N);
	for (unsigned i = 0; i < N; i++) {
		ck_assert_uint_eq(fake.events[i].address, address[i]);
		ck_assert_uint_eq(fake.events[i].thread, ring_of[i] + 1);
		ck_assert_uint_eq(fake.events[i].time_ns, 1000 + 10 * i);
		ck_assert_uint_eq(fake.events[i].usable, i + 8);
	}
	ck_assert_int_eq(fake_meta_int("inversions"), 0);
	ck_assert_int_eq(fake_meta_int("events_written"), N);
	ck_assert(fake.finished);
	program_deinit(&program);
}
END_TEST

/* ---- a heap shared by threads ---------------------------------------------------------------- */

/* No address is born while it lives or dies while it does not. */
static void replay(size_t *n_live, uint64_t *live_bytes)
{
	struct ft_map live;

	ft_map_init(&live);
	*live_bytes = 0;
	for (size_t i = 0; i < fake.n_events; i++) {
		const struct ft_event *event = &fake.events[i];
		uint64_t size;
		bool created;

		if (event->kind == FT_EVENT_FREE || event->kind == FT_EVENT_REALLOC) {
			uint64_t dead =
				event->kind == FT_EVENT_FREE ? event->address : event->old_address;

			ck_assert_msg(ft_map_remove(&live, dead, &size),
				      "event %zu: %#llx is not live", i, (unsigned long long)dead);
			*live_bytes -= size;
		}
		if (event->kind != FT_EVENT_FREE) {
			*ft_map_put(&live, event->address, &created) = event->size;
			ck_assert_msg(created, "event %zu: %#llx lives already", i,
				      (unsigned long long)event->address);
			*live_bytes += event->size;
		}
	}
	*n_live = ft_map_count(&live);
	ft_map_deinit(&live);
}

/*
 * Threads hand addresses to each other as fast as they can: few addresses, reallocs whose stamps
 * lie far apart, so that within one realloc its old address is born and dies again elsewhere.
 */
START_TEST(addresses_that_wander_between_threads_never_live_twice)
{
	enum { N = 20000, ADDRESSES = 24, RINGS = 5 };
	struct program program;
	struct {
		bool live;
		uint64_t size;
	} heap[ADDRESSES] = {0};
	struct {
		bool busy;
		uint64_t early, old, address, size, late;
	} call[RINGS] = {0}; /* a realloc under way: the old block is dead, the new one born */
	uint64_t now = 1000, live_bytes = 0, found_bytes;
	size_t n_live = 0, n_found, n_calls = 0;

	seed = (uint64_t)_i + 77;
	program_init(&program, RINGS, 1 << 20);
	program.session->floor_limit_ns = INT64_MAX;

	for (unsigned i = 0; i < N; i++) {
		unsigned ring = (unsigned)rnd(RINGS), a = (unsigned)rnd(ADDRESSES);
		uint64_t address = 0x4000 + 64 * a, size = 1 + rnd(1000);

		now += 5;
		if (call[ring].busy) { /* it returns */
			ck_assert(program_realloc(&program, ring, call[ring].early, call[ring].late,
						  call[ring].old, call[ring].address,
						  call[ring].size, 0));
			atomic_store(&program.rings[ring].floor, 0);
			call[ring].busy = false;
			n_calls++;
		} else if (!heap[a].live) {
			ck_assert(program_alloc(&program, ring, now, address, size, 0));
			heap[a].live = true;
			heap[a].size = size;
			n_calls++;
		} else if (rnd(3)) {
			ck_assert(program_free(&program, ring, now, address));
			heap[a].live = false;
			n_calls++;
		} else {
			/* The new block is found first, then the old one is released. The call
			 * returns later; what another thread does with the old address comes
			 * between its two stamps. */
			unsigned b = (unsigned)rnd(ADDRESSES);

			if (b != a && heap[b].live)
				continue;
			call[ring].busy = true;
			call[ring].early = now;
			call[ring].old = address;
			call[ring].address = 0x4000 + 64 * b;
			call[ring].size = size;
			call[ring].late = now + 3;
			atomic_store(&program.rings[ring].floor, program.start + now);
			heap[a].live = false;
			heap[b].live = true;
			heap[b].size = size;
			/* Some take long; the new block is then born at the end. */
			if (rnd(2) && b != a) {
				unsigned steps = (unsigned)rnd(6);

				for (unsigned s = 0; s < steps; s++) {
					unsigned other =
						(ring + 1 + (unsigned)rnd(RINGS - 1)) % RINGS;

					if (call[other].busy)
						continue;
					now += 5;
					if (!heap[a].live) {
						ck_assert(program_alloc(&program, other, now,
									address, 7, 0));
						heap[a].live = true;
						heap[a].size = 7;
					} else {
						ck_assert(program_free(&program, other, now,
								       address));
						heap[a].live = false;
					}
					n_calls++;
				}
				call[ring].late = now + 3;
			}
		}
		if (rnd(50) == 0) {
			co_session_pass(program.session);
			while (program.spill.first)
				co_write_step(program.write, 0);
		}
	}
	for (unsigned ring = 0; ring < RINGS; ring++)
		if (call[ring].busy) {
			program_realloc(&program, ring, call[ring].early, call[ring].late,
					call[ring].old, call[ring].address, call[ring].size, 0);
			atomic_store(&program.rings[ring].floor, 0);
			n_calls++;
		}
	program_end(&program, CO_END_EXIT, 0);

	replay(&n_found, &found_bytes);
	for (unsigned a = 0; a < ADDRESSES; a++)
		if (heap[a].live) {
			n_live++;
			live_bytes += heap[a].size;
		}
	ck_assert_uint_eq(n_found, n_live);
	ck_assert_uint_eq(found_bytes, live_bytes);
	ck_assert_int_eq(fake_meta_int("unknown_frees"), 0);
	ck_assert_int_eq(fake_meta_int("implied_frees"), fake_meta_int("swallowed_frees"));
	/* An implied free stands for the one in a realloc: no call is lost, none invented. */
	ck_assert_uint_eq(fake.n_events, n_calls + (size_t)fake_meta_int("implied_frees"));
	program_deinit(&program);
}
END_TEST

START_TEST(an_old_block_whose_address_lived_and_died_within_the_realloc_dies_once)
{
	struct program program;
	size_t n_live;
	uint64_t bytes;

	program_init(&program, 2, 4096 * 4);
	program_alloc(&program, 0, 100, 0x1000, 10, 0);
	program_alloc(&program, 1, 210, 0x1000, 20, 0); /* inside of ring 0's realloc */
	program_free(&program, 1, 220, 0x1000);
	program_realloc(&program, 0, 200, 300, 0x1000, 0x2000, 30, 0);
	program_alloc(&program, 1, 310, 0x1000, 40, 0);
	program_end(&program, CO_END_EXIT, 0);

	replay(&n_live, &bytes);
	ck_assert_uint_eq(n_live, 2);
	ck_assert_uint_eq(bytes, 70);
	ck_assert_int_eq(fake_meta_int("implied_frees"), 1);
	ck_assert_int_eq(fake_meta_int("swallowed_frees"), 1);
	ck_assert_int_eq(fake_meta_int("unknown_frees"), 0);
	ck_assert_uint_eq(fake.events[1].flags & FT_EVENT_F_IMPLIED, FT_EVENT_F_IMPLIED);
	program_deinit(&program);
}
END_TEST

START_TEST(a_free_that_arrives_after_its_address_was_reused_is_swallowed)
{
	struct program program;
	size_t n_live;
	uint64_t bytes;

	program_init(&program, 2, 4096 * 4);
	program_alloc(&program, 0, 100, 0x1000, 10, 0);
	program_alloc(&program, 0, 300, 0x1000, 20, 0);
	program_settle(&program);
	program_free(&program, 1, 200, 0x1000); /* held up for long */
	program_settle(&program);
	program_free(&program, 1, 400, 0x1000);
	program_end(&program, CO_END_EXIT, 0);

	replay(&n_live, &bytes);
	ck_assert_uint_eq(n_live, 0);
	ck_assert_uint_eq(fake.n_events, 4);
	ck_assert_int_eq(fake_meta_int("swallowed_frees"), 1);
	ck_assert_int_eq(fake_meta_int("unknown_frees"), 0);
	program_deinit(&program);
}
END_TEST

START_TEST(a_floor_holds_back_what_is_younger_until_it_is_held_too_long)
{
	struct program program;

	program_init(&program, 2, 4096 * 4);
	atomic_store(&program.rings[0].floor, program.start + 150);
	program_alloc(&program, 1, 100, 0x1000, 10, 0);
	program_alloc(&program, 1, 200, 0x2000, 10, 0);
	program_settle(&program);
	ck_assert_uint_eq(fake.n_events, 1);

	usleep(250000);
	program_settle(&program);
	ck_assert_uint_eq(fake.n_events, 2);

	/* What comes then is late: it is written now, at a time that does not go back. */
	program_alloc(&program, 0, 150, 0x3000, 10, 0);
	atomic_store(&program.rings[0].floor, 0);
	program_end(&program, CO_END_EXIT, 0);
	ck_assert_uint_eq(fake.n_events, 3);
	ck_assert_uint_eq(fake.events[2].time_ns, 200);
	ck_assert_int_eq(fake_meta_int("inversions"), 1);
	ck_assert_int_eq(fake_meta_int("floors_passed_over"), 1);
	program_deinit(&program);
}
END_TEST

START_TEST(what_is_too_young_waits)
{
	struct program program;
	uint64_t now;

	program_init(&program, 1, 4096 * 4);
	program.session->slack_ns = 500000000;
	now = (uint64_t)co_clock_monotonic() - program.start;
	program_alloc(&program, 0, now, 0x1000, 10, 0);
	co_session_pass(program.session);
	ck_assert_uint_eq(program.session->counters.n_events, 0);
	usleep(600000);
	co_session_pass(program.session);
	ck_assert_uint_eq(program.session->counters.n_events, 1);
	program_end(&program, CO_END_EXIT, 0);
	program_deinit(&program);
}
END_TEST

START_TEST(a_stamp_from_the_future_is_written_as_now)
{
	struct program program;

	program_init(&program, 1, 4096 * 4);
	program_alloc(&program, 0, UINT64_C(1) << 62, 0x1000, 10, 0);
	program_free(&program, 0, 500, 0x1000);
	program_end(&program, CO_END_EXIT, 0);
	ck_assert_uint_eq(fake.n_events, 2);
	ck_assert_uint_lt(fake.events[1].time_ns, UINT64_C(100000000000));
	program_deinit(&program);
}
END_TEST

/* As after a guest was restored with another TSC: the last reading, and what was stamped by then,
 * is an hour ahead of what the clock says now. */
START_TEST(a_clock_that_goes_back_holds_nothing_back)
{
	const uint64_t hour = UINT64_C(3600000000000);
	struct program program;
	uint64_t now;

	program_init(&program, 2, 4096 * 4);
	now = (uint64_t)co_clock_monotonic() - program.start;
	program.session->timebase.now.stamp += hour;
	program_alloc(&program, 0, now + hour - 20, 0x1000, 10, 0);
	program_free(&program, 1, now + hour - 10, 0x1000);
	program_alloc(&program, 0, now + hour, 0x2000, 10, 0);
	co_session_pass(program.session);
	ck_assert_uint_eq(program.session->counters.n_events, 3);

	program_free(&program, 1, now, 0x2000);
	usleep(2000);
	program_settle(&program);
	ck_assert_uint_eq(program.session->counters.n_events, 4);
	program_end(&program, CO_END_EXIT, 0);
	ck_assert_uint_eq(fake.n_events, 4);
	for (size_t i = 1; i < fake.n_events; i++)
		ck_assert_uint_ge(fake.events[i].time_ns, fake.events[i - 1].time_ns);
	/* The times are those of the machine's clock, and the last one lived a moment. */
	ck_assert_uint_lt(fake.events[3].time_ns, now + UINT64_C(60000000000));
	ck_assert_int_eq(fake_meta_int("unknown_frees"), 0);
	program_deinit(&program);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("collector-order");
	TCase *order = tcase_create("order");
	SRunner *runner;
	int failed;

	tcase_set_timeout(order, 60);
	tcase_add_loop_test(order, events_of_many_rings_come_out_in_order_of_stamps, 0, 16);
	tcase_add_loop_test(order, addresses_that_wander_between_threads_never_live_twice, 0, 20);
	tcase_add_test(order,
		       an_old_block_whose_address_lived_and_died_within_the_realloc_dies_once);
	tcase_add_test(order, a_free_that_arrives_after_its_address_was_reused_is_swallowed);
	tcase_add_test(order, a_floor_holds_back_what_is_younger_until_it_is_held_too_long);
	tcase_add_test(order, what_is_too_young_waits);
	tcase_add_test(order, a_stamp_from_the_future_is_written_as_now);
	tcase_add_test(order, a_clock_that_goes_back_holds_nothing_back);
	suite_add_tcase(suite, order);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

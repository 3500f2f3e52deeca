/* SPDX-License-Identifier: MIT */
/*
 * The ring: single producer, single consumer, records that never wrap
 *
 * Against a plain queue as the model for random sequences of writes and reads, and with two real
 * threads that check every word.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "ft_ring.h"

enum { BYTES = 4096 };

struct fixture {
	struct ft_ring_header *header;
	uint64_t *body;
	struct ft_ring_producer producer;
	struct ft_ring_consumer consumer;
};

static void fixture_init(struct fixture *f, uint64_t start)
{
	f->header = aligned_alloc(64, sizeof(*f->header));
	f->body = malloc(BYTES);
	memset(f->header, 0, sizeof(*f->header));
	memset(f->body, 0xee, BYTES);
	atomic_store(&f->header->head, start);
	atomic_store(&f->header->tail, start);
	ft_ring_producer_init(&f->producer, f->header, f->body, BYTES);
	ft_ring_consumer_init(&f->consumer, f->header, f->body, BYTES);
}

static void fixture_deinit(struct fixture *f)
{
	free(f->header);
	free(f->body);
}

/* A passed assertion is a system call in Check: in loops of millions, only what fails is one. */
#define CHECK(condition)                                        \
	do {                                                    \
		if (!(condition))                               \
			ck_abort_msg("not so: %s", #condition); \
	} while (0)

static bool write_record(struct fixture *f, unsigned words, uint64_t value)
{
	uint64_t *w = ft_ring_reserve(&f->producer, words);

	if (!w)
		return false;
	CHECK(w >= f->body && w + words <= f->body + BYTES / 8);
	w[0] = ft_wire_head(FT_WIRE_MARK, 0, 0, words, (uint32_t)value);
	for (unsigned i = 1; i < words; i++)
		w[i] = value + i;
	ft_ring_publish(&f->producer, words);
	return true;
}

static void assert_record(const uint64_t *w, unsigned got, unsigned words, uint64_t value)
{
	CHECK(got == words);
	CHECK(ft_wire_upper(w[0]) == (uint32_t)value);
	for (unsigned i = 1; i < words; i++)
		CHECK(w[i] == value + i);
}

START_TEST(what_is_not_published_is_not_seen)
{
	struct fixture f;
	uint64_t w[FT_WIRE_MAX_WORDS];

	fixture_init(&f, 0);
	ck_assert_uint_eq(ft_ring_read(&f.consumer, w), 0);
	ck_assert_ptr_nonnull(ft_ring_reserve(&f.producer, 5));
	ck_assert_uint_eq(ft_ring_read(&f.consumer, w), 0);
	ck_assert(write_record(&f, 3, 7));
	assert_record(w, ft_ring_read(&f.consumer, w), 3, 7);
	fixture_deinit(&f);
}
END_TEST

START_TEST(a_full_ring_refuses_until_bytes_are_released)
{
	struct fixture f;
	uint64_t w[FT_WIRE_MAX_WORDS], n = 0, read = 0;

	fixture_init(&f, 0);
	while (write_record(&f, 8, n))
		n++;
	ck_assert_uint_eq(n, BYTES / 64); /* to the last byte */
	assert_record(w, ft_ring_read(&f.consumer, w), 8, read++);
	ck_assert(!write_record(&f, 8, n)); /* read, not yet given back */
	ft_ring_release(&f.consumer);
	ck_assert(write_record(&f, 8, n++));
	ck_assert(!write_record(&f, 2, n));
	while (read < n)
		assert_record(w, ft_ring_read(&f.consumer, w), 8, read++);
	ck_assert_uint_eq(ft_ring_read(&f.consumer, w), 0);
	fixture_deinit(&f);
}
END_TEST

START_TEST(a_ring_tells_once_that_it_is_half_full)
{
	struct fixture f;
	uint64_t w[FT_WIRE_MAX_WORDS];

	fixture_init(&f, 0);
	for (unsigned turn = 0; turn < 3; turn++) {
		unsigned told = 0, n = 0;

		while (write_record(&f, 8, n)) {
			n++;
			told += f.producer.half_full;
			/* Not before there is something to tell. */
			CHECK(!f.producer.half_full || n * 64 > BYTES / 2);
			f.producer.half_full = false;
		}
		ck_assert_uint_eq(told, 1);
		while (ft_ring_read(&f.consumer, w))
			;
		ft_ring_release(&f.consumer);
	}
	fixture_deinit(&f);
}
END_TEST

START_TEST(release_tells_of_a_sleeper_once)
{
	struct fixture f;

	fixture_init(&f, 0);
	ck_assert(!ft_ring_release(&f.consumer));
	atomic_store(&f.header->waiting, 1);
	ck_assert(ft_ring_release(&f.consumer));
	ck_assert_uint_eq(atomic_load(&f.header->futex), 1);
	ck_assert(!ft_ring_release(&f.consumer));
	fixture_deinit(&f);
}
END_TEST

/* Random lengths against a queue; the start positions are near the wrap of the counters, too. */
START_TEST(random_traffic_comes_out_as_it_went_in)
{
	static const uint64_t starts[] = {0, 4088, UINT64_MAX - 2047};
	struct fixture f;
	struct {
		unsigned words;
		uint64_t value;
	} queue[BYTES];
	size_t first = 0, last = 0;
	uint64_t w[FT_WIRE_MAX_WORDS], value = 1;
	unsigned seed = (unsigned)_i + 1;

	fixture_init(&f, starts[_i]);
	for (unsigned turn = 0; turn < 200000; turn++) {
		if (rand_r(&seed) % 2) {
			unsigned words = 2 + (unsigned)rand_r(&seed) % 254;

			if (words > FT_WIRE_MAX_WORDS)
				words = FT_WIRE_MAX_WORDS;
			if (write_record(&f, words, value)) {
				queue[last % BYTES].words = words;
				queue[last++ % BYTES].value = value;
			} else {
				/* It is refused only when it does not fit, a PAD included. */
				uint64_t used = f.producer.tail - atomic_load(&f.header->head);

				CHECK(used + 2 * words * 8 > BYTES);
			}
			value += 1000;
		} else {
			unsigned got = ft_ring_read(&f.consumer, w);

			if (first == last) {
				CHECK(got == 0);
			} else {
				assert_record(w, got, queue[first % BYTES].words,
					      queue[first % BYTES].value);
				first++;
			}
			if (rand_r(&seed) % 4 == 0)
				ft_ring_release(&f.consumer);
		}
		CHECK(!f.consumer.broken);
	}
	fixture_deinit(&f);
}
END_TEST

/* What a producer that scribbles can do to the consumer: break it, and no more. */
START_TEST(nonsense_breaks_the_ring_and_nothing_else)
{
	static const uint64_t heads[] = {
		1 | UINT64_C(1) << 24,	      /* one word */
		1 | UINT64_C(200) << 24,      /* longer than what is published */
		1,			      /* no length */
		(uint64_t)(uint32_t)24 << 32, /* a PAD that does not end at the end */
		UINT64_C(0xffffffff00000000), /* a PAD of 4 GiB */
	};
	uint64_t w[FT_WIRE_MAX_WORDS];

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct fixture f;

		fixture_init(&f, 0);
		f.body[0] = heads[i];
		atomic_store(&f.header->tail, 64);
		ck_assert_uint_eq(ft_ring_read(&f.consumer, w), 0);
		ck_assert(f.consumer.broken);
		ck_assert_uint_eq(ft_ring_read(&f.consumer, w), 0);
		fixture_deinit(&f);
	}
	for (uint64_t tail = BYTES + 8; tail; tail = tail == 12 ? 0 : 12) {
		struct fixture f;

		fixture_init(&f, 0);
		atomic_store(&f.header->tail, tail); /* too far, or not a multiple of 8 */
		ck_assert_uint_eq(ft_ring_read(&f.consumer, w), 0);
		ck_assert(f.consumer.broken);
		fixture_deinit(&f);
	}
}
END_TEST

enum { N_STRESS = 1000000 };

static void *produce(void *argument)
{
	struct fixture *f = argument;
	unsigned seed = 99;

	for (uint64_t n = 0; n < N_STRESS; n++) {
		unsigned words = 2 + (unsigned)rand_r(&seed) % 12;

		while (!write_record(f, words, n * 100))
			sched_yield();
	}
	return NULL;
}

START_TEST(two_threads_agree_on_every_word)
{
	struct fixture f;
	pthread_t producer;
	uint64_t w[FT_WIRE_MAX_WORDS], n = 0;
	unsigned seed = 99, reads = 0;

	fixture_init(&f, UINT64_MAX - 100 * 8 + 1);
	pthread_create(&producer, NULL, produce, &f);
	while (n < N_STRESS) {
		unsigned got = ft_ring_read(&f.consumer, w);

		if (!got) {
			CHECK(!f.consumer.broken);
			ft_ring_release(&f.consumer);
			sched_yield();
			continue;
		}
		assert_record(w, got, 2 + (unsigned)rand_r(&seed) % 12, n++ * 100);
		if (++reads % 16 == 0)
			ft_ring_release(&f.consumer);
	}
	pthread_join(producer, NULL);
	fixture_deinit(&f);
}
END_TEST

/* ---- short records --------------------------------------------------------------------------- */

static uint64_t state;

static uint64_t rnd(uint64_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (state >> 33) % below;
}

/* A record in its long form, with values on both sides of what the short form can hold. */
static unsigned random_record(uint64_t *words, uint64_t *stamp)
{
	static const uint64_t sizes[] = {0, 1, 24, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX};
	static const uint64_t steps[] = {0, 1, 300, UINT32_MAX, UINT64_C(1) << 32};
	unsigned kind = (unsigned)rnd(8), n = kind < 4 ? 4 : kind < 7 ? 3 : 6;

	*stamp += steps[rnd(5)];
	if (rnd(20) == 0)
		*stamp -= rnd(1000);
	for (unsigned i = 2; i < n; i++)
		words[i] = rnd(1 << 30) << 18 | rnd(1 << 18);
	words[1] = *stamp;
	if (kind < 4) {
		words[3] = sizes[rnd(6)];
		if (rnd(10) == 0)
			words[n++] = 5; /* an alignment */
		words[0] = ft_wire_head(FT_WIRE_ALLOC, (unsigned)rnd(20), (unsigned)rnd(256), n,
					(uint32_t)rnd(UINT32_MAX));
	} else if (kind < 7) {
		words[0] = ft_wire_head(FT_WIRE_FREE, (unsigned)rnd(20), (unsigned)rnd(256), n,
					rnd(10) ? 0 : (uint32_t)rnd(1000));
	} else {
		words[0] = ft_wire_head(FT_WIRE_REALLOC, 3, 0, n, (uint32_t)rnd(1000));
	}
	return n;
}

START_TEST(records_written_short_are_read_as_they_were)
{
	struct fixture f;
	uint64_t stamp = UINT64_C(1) << 50, last = 0, n_short = 0;
	unsigned n_records = 200000;

	state = (uint64_t)_i;
	fixture_init(&f, 0);
	while (n_records--) {
		uint64_t words[8] = {0}, got[FT_WIRE_MAX_WORDS];
		unsigned n = random_record(words, &stamp), n_short_words;
		uint64_t *w = ft_ring_reserve(&f.producer, n);

		CHECK(w);
		n_short_words = ft_wire_shorten(words[0], words, last, w);
		if (!n_short_words)
			memcpy(w, words, n * sizeof(*w));
		n_short += n_short_words != 0;
		last = stamp;
		ft_ring_publish(&f.producer, n_short_words ? n_short_words : n);
		CHECK(ft_ring_read(&f.consumer, got) == n);
		CHECK(memcmp(got, words, n * sizeof(*got)) == 0);
		ft_ring_release(&f.consumer);
	}
	ck_assert_uint_gt(n_short, 50000);
	fixture_deinit(&f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ring");
	TCase *tcase = tcase_create("ring");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, what_is_not_published_is_not_seen);
	tcase_add_test(tcase, a_full_ring_refuses_until_bytes_are_released);
	tcase_add_test(tcase, a_ring_tells_once_that_it_is_half_full);
	tcase_add_test(tcase, release_tells_of_a_sleeper_once);
	tcase_add_loop_test(tcase, random_traffic_comes_out_as_it_went_in, 0, 3);
	tcase_add_loop_test(tcase, records_written_short_are_read_as_they_were, 0, 3);
	tcase_add_test(tcase, nonsense_breaks_the_ring_and_nothing_else);
	tcase_add_test(tcase, two_threads_agree_on_every_word);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

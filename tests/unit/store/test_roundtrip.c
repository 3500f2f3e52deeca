/* SPDX-License-Identifier: MIT */
/* What is written is what is read: chunks and whole recordings. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fragtrace/store.h"
#include "ft_chunk.h"
#include "ft_columns.h"
#include "synth.h"

static void ok(struct ft_error *error)
{
	if (error)
		ck_abort_msg("%s", error->message);
}

/* An event as the file keeps it: coarse time, and only the fields that its kind has. */
static struct ft_event kept(struct ft_event event)
{
	event.time_ns = ft_tick_floor(event.time_ns);
	if (event.kind == FT_EVENT_FREE)
		event.size = event.usable = 0;
	if (event.kind != FT_EVENT_REALLOC)
		event.old_address = 0;
	return event;
}

static bool same(const struct ft_event *a, const struct ft_event *b)
{
	return a->seq == b->seq && a->time_ns == b->time_ns && a->kind == b->kind &&
	       a->api == b->api && a->flags == b->flags && a->align_log2 == b->align_log2 &&
	       a->address == b->address && a->old_address == b->old_address && a->size == b->size &&
	       a->usable == b->usable && a->stack == b->stack && a->thread == b->thread;
}

/* Check writes a message for each assertion: one an event, and only if it fails. */
static void assert_same(const struct ft_event *got, const struct ft_event *event)
{
	struct ft_event want = kept(*event);

	if (!same(got, &want))
		ck_abort_msg("event %llu came back as another one", (unsigned long long)want.seq);
}

/* Pairs are of each other, a birth and then the death of the same block. Returns how many events
 * have one. */
static size_t assert_pairs(const struct ft_event *events, size_t n)
{
	size_t n_paired = 0;

	for (size_t i = 0; i < n; i++) {
		const struct ft_event *other;

		if (!events[i].pair)
			continue;
		ck_assert_uint_le(events[i].pair, n);
		other = &events[events[i].pair - 1];
		ck_assert_uint_eq(other->pair, i + 1);
		ck_assert_uint_eq(other->address, events[i].address);
		ck_assert_uint_eq(events[i].kind,
				  other > &events[i] ? FT_EVENT_ALLOC : FT_EVENT_FREE);
		ck_assert_uint_eq(other->kind, other > &events[i] ? FT_EVENT_FREE : FT_EVENT_ALLOC);
		n_paired++;
	}
	return n_paired;
}

/* Returns how many events came back with the other one of their block. */
static size_t assert_round_trip(const struct ft_event *events, size_t n)
{
	struct ft_encoder *encoder = ft_encoder_create(1);
	struct ft_decoder *decoder = ft_decoder_create();
	struct ft_event *got = malloc(FT_CHUNK_EVENTS * sizeof(*got));
	struct ft_strbuf blob;
	struct ft_chunk_facts wrote, read;
	size_t n_got = 0, n_paired = 0;

	ft_strbuf_init(&blob);
	/* Twice: nothing of a chunk may stay behind in the encoder. */
	for (int pass = 0; pass < 2; pass++) {
		ft_strbuf_clear(&blob);
		ck_assert(ft_encode(encoder, events, n, &blob, &wrote));

		const char *damage =
			ft_decode(decoder, blob.data, blob.len, events[0].seq, got, &n_got, &read);

		if (damage)
			ck_abort_msg("%s", damage);
		ck_assert_uint_eq(n_got, n);
		for (size_t i = 0; i < n; i++)
			assert_same(&got[i], &events[i]);
		n_paired = assert_pairs(got, n);
		ck_assert_uint_eq(wrote.first_ns, read.first_ns);
		ck_assert_uint_eq(wrote.last_ns, read.last_ns);
		ck_assert_uint_eq(wrote.min_address, read.min_address);
		ck_assert_uint_eq(wrote.max_address, read.max_address);
		ck_assert_uint_eq(wrote.max_stack, read.max_stack);
		ck_assert_uint_eq(wrote.max_thread, read.max_thread);
	}
	ft_strbuf_deinit(&blob);
	ft_encoder_destroy(encoder);
	ft_decoder_destroy(decoder);
	free(got);
	return n_paired;
}

START_TEST(synthetic_traffic_round_trips)
{
	struct synth *synth = synth_create(&(struct synth_options){
		.seed = (uint64_t)_i + 1, .n_threads = _i % 2 ? 7 : 1, .n_sites = 20u << 2 * _i});
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events));

	for (size_t chunk = 0; chunk < 4; chunk++) {
		for (size_t i = 0; i < FT_CHUNK_EVENTS; i++)
			synth_next(synth, &events[i]);
		ck_assert_uint_gt(assert_round_trip(events, FT_CHUNK_EVENTS), 0);
	}
	free(events);
	synth_destroy(synth);
}
END_TEST

static uint64_t random_state;

static uint64_t random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* Values of every magnitude, and often one of a few, so that each predictor hits and misses. */
static uint64_t any_u64(void)
{
	switch (random_u64() % 4) {
	case 0:
		return random_u64() % 8;
	case 1:
		return UINT64_C(0x7f0000001000) + random_u64() % 64 * 16;
	case 2:
		return random_u64() >> random_u64() % 64;
	default:
		return UINT64_MAX - random_u64() % 3;
	}
}

START_TEST(any_values_round_trip)
{
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events));
	uint64_t now = 0;

	random_state = 12345 + (uint64_t)_i;

	size_t n = 1 + random_u64() % (_i % 3 ? 2000 : FT_CHUNK_EVENTS);

	for (size_t i = 0; i < n; i++) {
		now += random_u64() % 8 ? random_u64() % 1000 : random_u64() % (UINT64_C(1) << 40);
		events[i] = (struct ft_event){
			.seq = 77 + i,
			.time_ns = now,
			.address = any_u64(),
			.size = any_u64(),
			.usable = any_u64(),
			.old_address = any_u64(),
			.stack = (uint32_t)any_u64(),
			.thread = random_u64() % 3 ? 1 : (uint32_t)any_u64(),
			.kind = (uint8_t)(1 + random_u64() % 3),
			.api = (uint8_t)(random_u64() % FT_API_N),
			.flags = (uint8_t)random_u64(),
			.align_log2 = (uint8_t)(random_u64() % 64),
		};
		if (random_u64() % 4 == 0)
			events[i].old_address = events[i].address;
	}
	assert_round_trip(events, n);
	free(events);
}
END_TEST

static struct ft_error *count_residency(void *ctx, const struct ft_residency_row *row)
{
	struct ft_residency_row *last = ctx;

	ck_assert_uint_gt(row->time_ns, last->time_ns);
	*last = *row;
	last->method = NULL;
	return NULL;
}

/* Runs of any length at any distance; a sample like the one before it is stored once. */
START_TEST(residency_round_trips)
{
	char path[64];
	struct ft_page_run runs[3000], *got;
	struct ft_writer *writer;
	struct ft_reader *reader;
	uint64_t page = 0, n_resident = 0, n_swapped = 0;
	size_t n;

	random_state = UINT64_C(88172645463325252);
	for (size_t i = 0; i < 3000; i++) {
		page += i % 3 ? 0 : random_u64() % 100000;
		runs[i] = (struct ft_page_run){.start = page * 4096,
					       .n_pages = 1 + random_u64() % (1 + i),
					       .state = (uint8_t)(i % FT_PAGES_N)};
		page += runs[i].n_pages;
		if (runs[i].state == FT_PAGES_RESIDENT || runs[i].state == FT_PAGES_HUGE)
			n_resident += runs[i].n_pages;
		if (runs[i].state == FT_PAGES_SWAPPED)
			n_swapped += runs[i].n_pages;
	}

	struct ft_residency_row row = {.time_ns = 5,
				       .took_ns = 7,
				       .method = "pagemap",
				       .page_bytes = 4096,
				       .rss = -1,
				       .runs = runs,
				       .n_runs = 3000};

	snprintf(path, sizeof(path), "residency.%d.frag", (int)getpid());
	unlink(path);
	ok(ft_writer_create(path, &writer));
	ok(ft_writer_residency(writer, &row));
	row.time_ns = 6;
	row.rss = 12345;
	row.unchanged = true;
	ok(ft_writer_residency(writer, &row));
	row.time_ns = 7;
	row.unchanged = false;
	row.n_runs = 0;
	ok(ft_writer_residency(writer, &row));
	ok(ft_writer_finish(writer));

	struct ft_residency_row last = {0};

	ok(ft_reader_open(path, 0, &reader));
	ok(ft_reader_residency(reader, count_residency, &last));
	ck_assert_int_eq(last.id, 3);
	ck_assert_int_eq(last.rss, 12345);
	ck_assert_uint_eq(last.n_resident, 0);
	for (int64_t id = 1; id <= 2; id++) {
		uint64_t resident = 0, swapped = 0;

		ok(ft_reader_residency_runs(reader, id, &got, &n));
		ck_assert_uint_eq(n, 3000);
		for (size_t i = 0; i < n; i++) {
			ck_assert_uint_eq(got[i].start, runs[i].start);
			ck_assert_uint_eq(got[i].n_pages, runs[i].n_pages);
			ck_assert_uint_eq(got[i].state, runs[i].state);
			if (got[i].state == FT_PAGES_RESIDENT || got[i].state == FT_PAGES_HUGE)
				resident += got[i].n_pages;
			if (got[i].state == FT_PAGES_SWAPPED)
				swapped += got[i].n_pages;
		}
		ck_assert_uint_eq(resident, n_resident);
		ck_assert_uint_eq(swapped, n_swapped);
		free(got);
	}
	ok(ft_reader_residency_runs(reader, 3, &got, &n));
	ck_assert_uint_eq(n, 0);
	free(got);
	ft_reader_close(reader);
	unlink(path);
}
END_TEST

START_TEST(recording_round_trips)
{
	char path[64];
	struct ft_writer *writer;
	struct ft_reader *reader;
	struct ft_event event, *got = malloc(FT_CHUNK_EVENTS * sizeof(*got));
	const uint64_t n_events = 3 * FT_CHUNK_EVENTS + 1234;
	uint64_t seq = 0;

	snprintf(path, sizeof(path), "roundtrip.%d.frag", (int)getpid());
	unlink(path);
	ok(ft_writer_create(path, &writer));

	struct synth *synth = synth_create(&(struct synth_options){.seed = 5, .n_threads = 3});

	for (size_t i = 0; i < synth_n_nodes(synth); i++) {
		struct ft_stack_node node = synth_node(synth, i);

		ok(ft_writer_stack_node(writer, &node));
		if (i % 1000 == 999)
			ok(ft_writer_commit(writer, false));
	}
	for (uint64_t i = 0; i < n_events; i++) {
		synth_next(synth, &event);
		ok(ft_writer_event(writer, &event, &seq));
		if (seq != i)
			ck_abort_msg("event %llu got number %llu", (unsigned long long)i,
				     (unsigned long long)seq);
		/* Flushed tails are replaced and do not cut the sequence. */
		if (i % 5000 == 4999)
			ok(ft_writer_commit(writer, i % 10000 == 9999));
	}
	ok(ft_writer_finish(writer));
	synth_destroy(synth);

	synth = synth_create(&(struct synth_options){.seed = 5, .n_threads = 3});
	ok(ft_reader_open(path, 0, &reader));
	ck_assert_int_eq(ft_reader_state(reader), FT_STATE_COMPLETE);
	ck_assert_uint_eq(ft_reader_n_events(reader), n_events);
	seq = 0;
	for (size_t chunk = 0; chunk < ft_reader_n_chunks(reader); chunk++) {
		size_t n = 0;

		ok(ft_reader_chunk(reader, chunk, got, &n));
		ck_assert_uint_eq(ft_reader_chunk_info(reader, chunk)->first_seq, seq);
		for (size_t i = 0; i < n; i++, seq++) {
			synth_next(synth, &event);
			assert_same(&got[i], &event);
		}
	}
	ck_assert_uint_eq(seq, n_events);

	const struct ft_stack_node *stacks;
	size_t n_stacks;

	ok(ft_reader_stacks(reader, &stacks, &n_stacks));
	ck_assert_uint_eq(n_stacks, synth_n_nodes(synth) + 1);
	for (size_t i = 1; i < n_stacks; i++) {
		struct ft_stack_node node = synth_node(synth, i - 1);

		ck_assert(stacks[i].id == node.id && stacks[i].parent == node.parent &&
			  stacks[i].pc == node.pc);
	}
	ft_reader_close(reader);
	synth_destroy(synth);
	free(got);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("roundtrip");
	TCase *tcase = tcase_create("roundtrip");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, synthetic_traffic_round_trips, 0, 4);
	tcase_add_loop_test(tcase, any_values_round_trip, 0, 40);
	tcase_add_test(tcase, residency_round_trips);
	tcase_add_test(tcase, recording_round_trips);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The largest births of each interval, against a model that keeps all of them
 */
#include "ft_map.h"
#include "ft_rollup.h"
#include "store_test.h"

enum { COMMITS = 120, COMMIT_EVERY = 5000, BUDGET = 400000 };

static const struct synth_options traffic = {
	.seed = 11, .n_live = 800, .n_sites = 20, .n_threads = 3, .leak_every = 40};

/* ---- a model ----------------------------------------------------------------------------------
 */

static int compare_births(const void *a, const void *b)
{
	const struct ft_birth *x = a, *y = b;

	if (x->size != y->size)
		return x->size > y->size ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* All births of the traffic, by number of their event; those that are none have no size. */
static struct ft_birth *all_births(size_t n)
{
	struct ft_birth *births = calloc(n, sizeof(*births));
	struct synth *synth = synth_create(&traffic);
	struct ft_map sizes;

	ft_map_init(&sizes);
	for (size_t i = 0; i < n; i++) {
		uint64_t old_size = 0;
		struct ft_event e;

		synth_next(synth, &e);
		if (e.kind != FT_EVENT_ALLOC)
			ft_map_remove(&sizes, e.kind == FT_EVENT_FREE ? e.address : e.old_address,
				      &old_size);
		if (e.kind == FT_EVENT_FREE)
			continue;
		*ft_map_put(&sizes, e.address, NULL) = e.size;
		if (e.size > old_size)
			births[i] = (struct ft_birth){.seq = i,
						      .time_ns = e.time_ns & ~UINT64_C(127),
						      .size = e.size,
						      .old_size = old_size,
						      .stack = e.stack,
						      .thread = e.thread,
						      .api = e.api};
	}
	ft_map_deinit(&sizes);
	synth_destroy(synth);
	return births;
}

/* ---- recordings -------------------------------------------------------------------------------
 */

struct seen {
	const struct ft_birth *births;
	size_t n, n_merged, n_reallocs, n_unknown;
};

static void check_birth(const struct ft_birth *a, const struct ft_birth *b)
{
	ck_assert_uint_eq(a->seq, b->seq);
	ck_assert_uint_eq(a->time_ns, b->time_ns);
	ck_assert_uint_eq(a->size, b->size);
	ck_assert_uint_eq(a->old_size, b->old_size);
	ck_assert_uint_eq(a->stack, b->stack);
	ck_assert_uint_eq(a->thread, b->thread);
	ck_assert_uint_eq(a->api, b->api);
}

static struct ft_error *see(void *ctx, const struct ft_rollup *r)
{
	struct ft_birth *own = malloc((r->n_events + 1) * sizeof(*own));
	struct seen *seen = ctx;
	size_t n = 0;

	seen->n++;
	seen->n_merged += r->level > 0;
	seen->n_unknown += r->largest.unknown;
	for (uint64_t i = 0; i < r->n_events; i++)
		if (seen->births[r->first_seq + i].size)
			own[n++] = seen->births[r->first_seq + i];
	qsort(own, n, sizeof(*own), compare_births);
	ck_assert_uint_eq(r->largest.n, r->largest.unknown ? 0 : n < FT_LARGEST ? n : FT_LARGEST);
	for (uint32_t i = 0; i < r->largest.n; i++) {
		const struct ft_birth *a = &r->largest.births[i], *b = &own[i];

		check_birth(a, b);
		seen->n_reallocs += a->old_size != 0;
	}
	free(own);
	return NULL;
}

static void read_rollups(const char *path, struct seen *seen)
{
	struct ft_reader *reader;

	*seen = (struct seen){.births = seen->births};
	ok(ft_reader_open(path, 0, &reader));
	ok(ft_reader_rollups(reader, ft_reader_first_seq(reader), see, seen));
	ft_reader_close(reader);
}

/* Break it for a moment. */
static void refused(const char *path, const char *change, const char *back, const char *words)
{
	struct seen seen = {0};
	struct ft_reader *reader;

	sql(path, change);
	ok(ft_reader_open(path, 0, &reader));
	fails(ft_reader_rollups(reader, ft_reader_first_seq(reader), see, &seen), FT_ERROR_INPUT,
	      words);
	ft_reader_close(reader);
	sql(path, back);
}

START_TEST(intervals_have_their_largest_births_merged_or_not)
{
	struct ft_birth *births = all_births((size_t)COMMITS * COMMIT_EVERY);
	struct synth *synth = synth_create(&traffic);
	const char *path = fresh_path();
	struct seen seen = {.births = births};
	struct ft_writer *writer;

	ok(ft_writer_create(path, &writer));
	ok(ft_writer_set_limits(writer, &(struct ft_limits){.max_bytes = BUDGET}));
	write_stacks(writer, synth);
	for (int i = 0; i < COMMITS; i++) {
		write_events(writer, synth, COMMIT_EVERY);
		ok(ft_writer_commit(writer, true));
	}
	ok(ft_writer_finish(writer));
	read_rollups(path, &seen);
	ck_assert_uint_gt(seen.n, seen.n_merged);
	ck_assert_uint_gt(seen.n_merged, 0);
	ck_assert_uint_gt(seen.n_reallocs, 0);
	ck_assert_uint_eq(seen.n_unknown, 0);
	refused(path, "UPDATE site_rollup SET n_largest = n_largest - 1",
		"UPDATE site_rollup SET n_largest = n_largest + 1", "numbers of rows");
	refused(path, "UPDATE site_rollup SET largest = substr(largest, 2)",
		"UPDATE site_rollup SET largest = CAST(x'01' || largest AS BLOB)",
		"layout is unknown");
	/* As an earlier writer left it. */
	sql(path, "ALTER TABLE site_rollup DROP COLUMN largest;"
		  "ALTER TABLE site_rollup DROP COLUMN n_largest");
	read_rollups(path, &seen);
	ck_assert_uint_gt(seen.n, 0);
	ck_assert_uint_eq(seen.n_unknown, seen.n);
	free(births);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

/* ---- the list ---------------------------------------------------------------------------------
 */

static void offer(struct ft_largest *largest, uint64_t seq, uint64_t size)
{
	if (ft_largest_wants(largest, size))
		ft_largest_add(largest, &(struct ft_birth){.seq = seq, .size = size});
}

START_TEST(of_equal_sizes_the_earliest_stay)
{
	struct ft_largest a = {0}, b = {0};

	for (uint64_t i = 0; i < 10; i++)
		offer(&a, i, 7);
	for (uint64_t i = 10; i < 30; i++)
		offer(&b, i, i == 20 ? 8 : 7);
	offer(&b, 30, 0);
	ft_largest_join(&a, &b);
	ck_assert_uint_eq(a.n, FT_LARGEST);
	ck_assert_uint_eq(a.births[0].seq, 20);
	for (uint32_t i = 1; i < FT_LARGEST; i++)
		ck_assert_uint_eq(a.births[i].seq, i - 1);
}
END_TEST

/* Whatever is put in a row comes out of it. */
START_TEST(extremes_survive_the_blob)
{
	struct ft_rollup rollup = {
		.first_ns = 128, .last_ns = INT64_MAX, .first_seq = 3, .n_events = 9};
	struct ft_packer *packer = ft_packer_create(1);
	struct ft_unpacker *unpacker = ft_unpacker_create();
	struct ft_strbuf blob = {0};
	struct ft_rollup got = rollup;

	for (uint32_t i = 0; i < 9; i++)
		ft_largest_add(&rollup.largest,
			       &(struct ft_birth){.seq = 3 + i,
						  .time_ns = i ? INT64_MAX : 128,
						  .size = UINT64_MAX - i,
						  .old_size = i ? UINT64_MAX - i - 1 : 0,
						  .stack = UINT32_MAX,
						  .thread = UINT32_MAX - i,
						  .api = FT_API_N - 1});
	ck_assert(ft_rollup_pack_largest(packer, &rollup, &blob));
	ck_assert_ptr_null(ft_rollup_unpack_largest(unpacker, blob.data, blob.len, &got));
	ck_assert_uint_eq(got.largest.n, 9);
	for (uint32_t i = 0; i < 9; i++)
		check_birth(&got.largest.births[i], &rollup.largest.births[i]);
	ft_strbuf_deinit(&blob);
	ft_packer_destroy(packer);
	ft_unpacker_destroy(unpacker);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("largest");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, intervals_have_their_largest_births_merged_or_not);
	tcase_add_test(tcase, of_equal_sizes_the_earliest_stay);
	tcase_add_test(tcase, extremes_survive_the_blob);
	return run_suite("largest", tcase);
}

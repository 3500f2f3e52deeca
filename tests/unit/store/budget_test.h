/* SPDX-License-Identifier: MIT */
/* What the tests of budgets and of indexes share: traffic, and that what stands for events fits
 * together. */
#ifndef BUDGET_TEST_H
#define BUDGET_TEST_H

#include <sys/stat.h>

#include "store_test.h"

enum { COMMIT_EVERY = 5000 };

static inline uint64_t bytes_of(const char *path, const char *suffix)
{
	char name[96];
	struct stat st;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	return stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static inline struct ft_writer *start(const char *path, struct synth *synth,
				      const struct ft_limits *limits)
{
	struct ft_writer *writer;

	ok(ft_writer_create(path, &writer));
	ok(ft_writer_set_limits(writer, limits));
	write_stacks(writer, synth);
	return writer;
}

static inline struct synth *traffic(void)
{
	return synth_create(&(struct synth_options){
		.seed = 7, .n_live = 800, .n_sites = 20, .n_threads = 3, .leak_every = 40});
}

struct sums {
	uint64_t n_events, n_allocs, n_frees, bytes_allocated, bytes_freed, live_blocks, live_bytes;
	uint64_t site_allocs, site_frees, thread_allocs;
	size_t n;
};

static inline struct ft_error *add_rollup(void *ctx, const struct ft_rollup *r)
{
	struct sums *s = ctx;

	ck_assert_uint_eq(r->first_seq, s->n_events);
	s->n++;
	s->n_events += r->n_events;
	s->n_allocs += r->n_allocs;
	s->n_frees += r->n_frees;
	s->bytes_allocated += r->bytes_allocated;
	s->bytes_freed += r->bytes_freed;
	s->live_blocks = r->live_blocks;
	s->live_bytes = r->live_bytes;
	ck_assert_uint_le(r->low_bytes, r->live_bytes);
	ck_assert_uint_ge(r->peak_bytes, r->live_bytes);
	for (uint32_t i = 0; i < r->sites.n; i++) {
		const struct ft_rollup_account *a = &r->sites.accounts[i];

		s->site_allocs += a->value[FT_ROLLUP_BORN_BLOCKS];
		s->site_frees += a->value[FT_ROLLUP_FREED_BLOCKS];
		ck_assert_uint_le(a->value[FT_ROLLUP_LOW_BYTES], a->value[FT_ROLLUP_LIVE_BYTES]);
	}
	for (uint32_t i = 0; i < r->threads.n; i++)
		s->thread_allocs += r->threads.accounts[i].value[FT_ROLLUP_BORN_BLOCKS];
	return NULL;
}

/* The roll-ups up to event `seq` fit together, and to the keyframe there, if there is one. */
static inline void check_rollups(struct ft_reader *reader, uint64_t seq,
				 const struct ft_keyframe_info *keyframe)
{
	struct sums s = {0};

	ok(ft_reader_rollups(reader, seq, add_rollup, &s));
	ck_assert_uint_eq(s.n_events, seq);
	if (keyframe) {
		ck_assert_uint_eq(keyframe->seq, seq);
		ck_assert_uint_eq(keyframe->n_blocks, s.live_blocks);
		ck_assert_uint_eq(keyframe->bytes, s.live_bytes);
	}
	ck_assert_uint_eq(s.n_allocs - s.n_frees, s.live_blocks);
	ck_assert_uint_eq(s.bytes_allocated - s.bytes_freed, s.live_bytes);
	ck_assert_uint_eq(s.site_allocs, s.n_allocs);
	ck_assert_uint_eq(s.site_frees, s.n_frees);
	ck_assert_uint_eq(s.thread_allocs, s.n_allocs);
}

/* What a recording states, from its roll-ups on: events in all. Ends the test if anything of it
 * does not fit together. */
static inline uint64_t check_whole(struct ft_reader *reader)
{
	uint64_t first_seq = ft_reader_first_seq(reader);
	const struct ft_keyframe_info *keyframes;
	size_t n;

	ok(ft_reader_keyframes(reader, &keyframes, &n));
	if (first_seq)
		ck_assert_uint_ge(n, 1);
	check_rollups(reader, first_seq, first_seq ? &keyframes[0] : NULL);
	return first_seq + ft_reader_n_events(reader);
}

#endif

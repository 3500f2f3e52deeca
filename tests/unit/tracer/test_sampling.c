/* SPDX-License-Identifier: MIT */
/*
 * A sampled program, seen from the collector's end
 *
 * Records of several rings are put in the order of their stamps and replayed: the order that the
 * protocol promises must hold for a sample too.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "ft_map.h"
#include "ft_weight.h"
#include "tracee.h"

static struct tracee *run_sampled(const char *program, const char *scene, char *rate, char *seed)
{
	const char *argv[] = {program, scene, NULL};
	char *environment[] = {rate, seed, NULL};
	struct tracee *tracee =
		tracee_run(argv, &(struct tracee_options){.environment = environment});

	ck_assert_msg(WIFEXITED(tracee->status) && WEXITSTATUS(tracee->status) == 0,
		      "status %#x, output:\n%s", (unsigned)tracee->status, tracee->output);
	return tracee;
}

static unsigned type_of(const struct record *r)
{
	return ft_wire_type(r->words[0]);
}

static bool is_birth(const struct record *r)
{
	return type_of(r) == FT_WIRE_ALLOC || type_of(r) == FT_WIRE_REALLOC;
}

static bool is_death(const struct record *r)
{
	return type_of(r) == FT_WIRE_FREE || type_of(r) == FT_WIRE_REALLOC;
}

static uint64_t size_of(const struct record *r)
{
	return r->words[type_of(r) == FT_WIRE_REALLOC ? 5 : 3];
}

/* One half of a record: a block comes or goes. */
struct change {
	uint64_t stamp, address;
	bool born;
};

static int by_stamp(const void *a, const void *b)
{
	const struct change *x = a, *y = b;

	return x->stamp < y->stamp ? -1 : x->stamp > y->stamp;
}

/*
 * Replay; every death must be of a block that lives, every birth at an address that is free.
 * Returns how many blocks live at the end; `unknown` counts frees of blocks that do not.
 */
static size_t replay(const struct tracee_segment *segment, size_t *unknown)
{
	struct change *changes = calloc(2 * segment->n_records + 1, sizeof(*changes));
	struct ft_map live;
	size_t n = 0, n_live = 0;

	for (size_t i = 0; i < segment->n_records; i++) {
		const struct record *r = &segment->records[i];
		bool moves = type_of(r) == FT_WIRE_REALLOC;

		if (is_death(r))
			changes[n++] = (struct change){
				r->words[1], moves ? r->words[3] : record_address(r), false};
		if (is_birth(r))
			changes[n++] =
				(struct change){r->words[moves ? 2 : 1], record_address(r), true};
	}
	qsort(changes, n, sizeof(*changes), by_stamp);
	ft_map_init(&live);
	for (size_t i = 0; i < n; i++) {
		uint64_t *there = ft_map_put(&live, changes[i].address, NULL);

		if (changes[i].born && *there)
			ck_abort_msg("%#lx is born while it lives",
				     (unsigned long)changes[i].address);
		if (!changes[i].born && !*there)
			(*unknown)++;
		else
			n_live += changes[i].born ? 1 : (size_t)-1;
		*there = changes[i].born;
	}
	ft_map_deinit(&live);
	free(changes);
	return n_live;
}

START_TEST(a_sample_of_threads_that_hand_blocks_on)
{
	char rate[] = "FRAGTRACE_SAMPLE=8K", seed[] = "FRAGTRACE_SAMPLE_SEED=5";
	struct tracee *tracee = run_sampled(PROG_SAMPLED, "handoff", rate, seed);
	const struct tracee_segment *segment = tracee->segments[0];
	double bytes = 0, blocks = 0, spread = 0;
	uint64_t variance = 0;
	size_t unknown = 0, live, kinds[16] = {0};

	ck_assert_uint_eq(segment->header->sample_bytes, 8192);
	ck_assert_uint_eq(atomic_load(&segment->header->n_sample_full), 0);
	for (size_t i = 0; i < segment->n_records; i++) {
		const struct record *r = &segment->records[i];

		kinds[type_of(r) & 15]++;
		if (!is_birth(r))
			continue;

		struct ft_weight weight = ft_weight_of(size_of(r), 8192);

		bytes += (double)weight.bytes;
		blocks += weight.factor;
		variance += weight.variance;
		spread += weight.factor * (weight.factor - 1);
		/* Its stack was taken, and the size that the allocator gave. */
		ck_assert_uint_ne(ft_wire_upper(r->words[0]), 0);
		ck_assert_uint_ge(record_usable(r), size_of(r));
	}
	live = replay(segment, &unknown);
	ck_assert_uint_eq(unknown, 0);
	/* What libc keeps of the threads. */
	ck_assert_uint_le(live, 20);
	ck_assert_uint_gt(kinds[FT_WIRE_ALLOC], 20000);
	ck_assert_uint_gt(kinds[FT_WIRE_FREE], 20000);
	ck_assert_uint_gt(kinds[FT_WIRE_REALLOC], 100);

	double error = ft_weight_error(variance, 8192);
	double true_bytes = (double)tracee_number(tracee, "bytes");
	double true_blocks = (double)tracee_number(tracee, "blocks");

	/* libc's own blocks are some KiB. The error is a percent or less. */
	ck_assert_msg(fabs(bytes - true_bytes) < 5 * error + 65536, "%.0f are %.0f +- %.0f",
		      true_bytes, bytes, error);
	ck_assert_double_lt(error, true_bytes / 100);
	ck_assert_msg(fabs(blocks - true_blocks) < 5 * sqrt(spread) + 1000, "%.0f are %.0f +- %.0f",
		      true_blocks, blocks, sqrt(spread));
	tracee_free(tracee);
}
END_TEST

/* The child is sampled anew, and what it frees of its parent's sampled blocks is recorded. */
START_TEST(a_forked_child_frees_blocks_of_its_parent)
{
	char rate[] = "FRAGTRACE_SAMPLE=4KiB";
	struct tracee *tracee = run_sampled(PROG_SAMPLED, "fork", rate, NULL);

	ck_assert_uint_eq(tracee->n_segments, 2);

	const struct tracee_segment *parent = tracee->segments[0], *child = tracee->segments[1];
	size_t unknown = 0, inherited = 0, sampled[2] = {0}, common = 0;
	uint64_t fork_stamp = child->header->fork_stamp;

	for (size_t i = 0; i < parent->n_records; i++) {
		const struct record *r = &parent->records[i];

		if (type_of(r) != FT_WIRE_ALLOC || r->words[1] > fork_stamp || size_of(r) < 100 ||
		    size_of(r) >= 200)
			continue;
		inherited++;

		/* Once in each of the two. */
		for (size_t s = 0; s < 2; s++) {
			size_t at = tracee_find(tracee->segments[s], 0, FT_WIRE_FREE,
						record_address(r));

			ck_assert_uint_ne(at, SIZE_MAX);
		}
	}
	ck_assert_uint_gt(inherited, 300);
	replay(parent, &unknown);
	ck_assert_uint_eq(unknown, 0);
	replay(child, &unknown);
	/* Its parent's blocks, and no others. */
	ck_assert_uint_eq(unknown, inherited);

	/* Both make the same calls now, with the same addresses: another choice is taken. */
	for (size_t s = 0; s < 2; s++)
		for (size_t i = 0; i < tracee->segments[s]->n_records; i++) {
			const struct record *r = &tracee->segments[s]->records[i];

			if (type_of(r) != FT_WIRE_ALLOC || size_of(r) != 300)
				continue;
			sampled[s]++;
			common += s == 0 && tracee_find(child, 0, FT_WIRE_ALLOC,
							record_address(r)) != SIZE_MAX;
		}
	ck_assert_uint_gt(sampled[0], 1000);
	ck_assert_uint_gt(sampled[1], 1000);
	ck_assert_uint_lt(common, sampled[0] / 2);
	tracee_free(tracee);
}
END_TEST

START_TEST(reallocs_are_what_is_left_of_them)
{
	char rate[] = "FRAGTRACE_SAMPLE=1M", seed[] = "FRAGTRACE_SAMPLE_SEED=1";
	struct tracee *tracee = run_sampled(PROG_SAMPLED, "realloc", rate, seed);
	const struct tracee_segment *segment = tracee->segments[0];
	size_t unknown = 0, n = 0;
	static const struct {
		unsigned type;
		enum ft_api api;
		uint64_t size;
	} expected[] = {
		/* The block of 64 bytes is not sampled; the one of 50 MB is, for certain. */
		{FT_WIRE_ALLOC, FT_API_REALLOC, 50000000},
		{FT_WIRE_REALLOC, FT_API_REALLOC, 60000000}, /* after one that failed */
		{FT_WIRE_FREE, FT_API_FREE, 0},
		{FT_WIRE_ALLOC, FT_API_MALLOC, 40000000},
		{FT_WIRE_FREE, FT_API_REALLOC, 0},
	};

	for (size_t i = 0; i < segment->n_records; i++) {
		const struct record *r = &segment->records[i];

		if (!is_birth(r) && !is_death(r))
			continue;
		ck_assert_uint_lt(n, sizeof(expected) / sizeof(*expected));
		ck_assert_uint_eq(type_of(r), expected[n].type);
		ck_assert_uint_eq(ft_wire_api(r->words[0]), expected[n].api);
		if (is_birth(r))
			ck_assert_uint_eq(size_of(r), expected[n].size);
		n++;
	}
	ck_assert_uint_eq(n, sizeof(expected) / sizeof(*expected));
	ck_assert_uint_eq(replay(segment, &unknown), 0);
	ck_assert_uint_eq(unknown, 0);
	tracee_free(tracee);
}
END_TEST

/* At one byte in one, blocks of more than some 50 bytes are all there: the same events of theirs as
 * without sampling, operator new and delete, exceptions and all. */
static size_t large_events(const struct tracee_segment *segment, uint64_t *list, size_t max)
{
	struct ft_map live;
	size_t n = 0;

	ft_map_init(&live);
	for (size_t i = 0; i < segment->n_records; i++) {
		const struct record *r = &segment->records[i];
		uint64_t *there;

		if (!is_birth(r) && !is_death(r))
			continue;
		there = ft_map_put(&live, record_address(r), NULL);
		if (is_birth(r) ? size_of(r) < 900 : !*there) {
			*there = 0;
			continue;
		}
		*there = is_birth(r);
		if (n < max)
			list[n] = (uint64_t)type_of(r) << 48 |
				  (uint64_t)ft_wire_api(r->words[0]) << 40 |
				  (is_birth(r) ? size_of(r) : 0);
		n++;
	}
	ft_map_deinit(&live);
	return n;
}

START_TEST(every_call_is_seen_when_every_byte_is_struck)
{
	enum { MAX = 1000 };
	static uint64_t full[MAX], sampled[MAX];
	char all[] = "FRAGTRACE_SAMPLE=0", rate[] = "FRAGTRACE_SAMPLE=1";
	struct tracee *a = run_sampled(PROG_API, NULL, all, NULL);
	struct tracee *b = run_sampled(PROG_API, NULL, rate, NULL);
	size_t n = large_events(a->segments[0], full, MAX);

	ck_assert_uint_eq(a->segments[0]->header->sample_bytes, 0);
	ck_assert_uint_eq(b->segments[0]->header->sample_bytes, 1);
	ck_assert_uint_gt(n, 30);
	ck_assert_uint_lt(n, MAX);
	ck_assert_uint_eq(large_events(b->segments[0], sampled, MAX), n);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(full[i], sampled[i]);
	tracee_free(a);
	tracee_free(b);
}
END_TEST

START_TEST(nonsense_samples_nothing)
{
	char rate[] = "FRAGTRACE_SAMPLE=lots", say[] = "FRAGTRACE_VERBOSE=1";
	struct tracee *tracee = run_sampled(PROG_SAMPLED, "realloc", rate, say);

	ck_assert_uint_eq(tracee->segments[0]->header->sample_bytes, 0);
	ck_assert_ptr_nonnull(strstr(tracee->output, "FRAGTRACE_SAMPLE is a size"));
	tracee_free(tracee);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sampling");
	TCase *tcase = tcase_create("sampling");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_sample_of_threads_that_hand_blocks_on);
	tcase_add_test(tcase, a_forked_child_frees_blocks_of_its_parent);
	tcase_add_test(tcase, reallocs_are_what_is_left_of_them);
	tcase_add_test(tcase, every_call_is_seen_when_every_byte_is_struck);
	tcase_add_test(tcase, nonsense_samples_nothing);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

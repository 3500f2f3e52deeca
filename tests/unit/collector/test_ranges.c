/* SPDX-License-Identifier: MIT */
/* Ranges of addresses and who mapped them, against a table of single units. */
#include <check.h>
#include <stdlib.h>

#include "co_ranges.h"

enum { SPACE = 400, SITES = 5, STEPS = 6000 };

struct unit {
	uint32_t site; /* + 1; 0: nobody's */
	uint64_t born;
};

static struct unit units[SPACE];
static int64_t bytes[SITES], n_ranges[SITES];

static void changed(void *ctx, uint32_t site, int64_t by, int32_t n)
{
	bytes[site] += by;
	n_ranges[site] += n;
}

static void compare(const struct co_ranges *ranges)
{
	int64_t expected[SITES] = {0}, counted[SITES] = {0};
	uint64_t last = UINT64_MAX;
	bool same = true;

	for (unsigned i = 0; i < SPACE; i++)
		if (units[i].site)
			expected[units[i].site - 1]++;
	for (uint32_t i = 0; i < ranges->n; i++) {
		const struct co_range *range = &ranges->list[i];

		ck_assert_uint_lt(range->start, range->end);
		ck_assert_uint_le(range->end, last);
		last = range->start;
		counted[range->site]++;
		for (uint64_t at = range->start; at < range->end; at++)
			same &= units[at].site == range->site + 1;
	}
	ck_assert(same);
	for (unsigned i = 0; i < SITES; i++) {
		ck_assert_int_eq(bytes[i], expected[i]);
		ck_assert_int_eq(n_ranges[i], counted[i]);
	}
}

static void cut(struct co_ranges *ranges, uint64_t start, uint64_t end, uint64_t born)
{
	co_ranges_cut(ranges, start, end, born);
	for (uint64_t at = start; at < end; at++)
		if (units[at].born <= born)
			units[at] = (struct unit){0};
}

static void move(struct co_ranges *ranges, uint64_t old, uint64_t n_old, uint64_t early,
		 uint64_t to, uint64_t n, uint64_t now, uint32_t site)
{
	struct unit moved[SPACE] = {0};
	uint64_t added = 0;

	for (uint64_t i = 0; i < n_old; i++) {
		struct unit *unit = &units[old + i];

		if (unit->born > early)
			continue;
		if (i < n)
			moved[i] = *unit;
		*unit = (struct unit){0};
	}
	for (uint64_t i = 0; i < n; i++) {
		if (!moved[i].site && to == old && i < n_old) {
			units[to + i] = (struct unit){0};
			continue;
		}
		added += !moved[i].site;
		units[to + i] = (struct unit){moved[i].site ? moved[i].site : site + 1, now};
	}
	ck_assert_uint_eq(co_ranges_move(ranges, old, n_old, early, to, n, now, site), added);
}

START_TEST(test_as_single_units)
{
	struct co_ranges ranges = {.changed = changed};
	uint64_t now = 10;

	srand((unsigned)_i + 1);
	for (unsigned i = 0; i < SPACE; i++)
		units[i] = (struct unit){0};
	for (unsigned i = 0; i < SITES; i++)
		bytes[i] = n_ranges[i] = 0;
	for (int step = 0; step < STEPS; step++, now++) {
		uint64_t start = (uint64_t)rand() % SPACE, n = 1 + (uint64_t)rand() % 40;
		uint64_t to = (uint64_t)rand() % SPACE, n_to = 1 + (uint64_t)rand() % 40;
		/* Mostly all that is there, at times only what is older. */
		uint64_t early = now - (uint64_t)rand() % 3 * (uint64_t)(rand() % 8);
		uint32_t site = (uint32_t)rand() % SITES;
		struct co_range range;

		n = start + n > SPACE ? SPACE - start : n;
		n_to = to + n_to > SPACE ? SPACE - to : n_to;
		ranges.settled = now > 20 ? now - 20 : 0;
		switch (rand() % 4) {
		case 0:
		case 1:
			/* At times the word of it comes late: what is younger stays. */
			range = (struct co_range){start, start + n, early, site};
			co_ranges_add(&ranges, &range);
			for (uint64_t at = start; at < start + n; at++)
				if (!units[at].site || units[at].born <= early)
					units[at] = (struct unit){site + 1, early};
			break;
		case 2:
			cut(&ranges, start, start + n, early);
			break;
		case 3:
			if (rand() % 3 == 0) {
				to = start;
				n_to = to + n_to > SPACE ? SPACE - to : n_to;
			}
			move(&ranges, start, n, early, to, n_to, now, site);
			break;
		}
		if (step % 16 == 0 || step > STEPS - 50)
			compare(&ranges);
	}
	co_ranges_deinit(&ranges);
}
END_TEST

/* Where the kernel would make them one, room runs short only for what can't be joined. */
START_TEST(test_neighbours_are_joined)
{
	struct co_ranges ranges = {.changed = changed};
	enum { N = 100000 };

	bytes[0] = n_ranges[0] = 0;
	for (uint64_t i = N; i > 0; i--) {
		const struct co_range range = {i, i + 1, N - i, 0};

		ranges.settled = N - i > 10 ? N - i - 10 : 0;
		co_ranges_add(&ranges, &range);
	}
	ck_assert_int_eq(bytes[0], N);
	ck_assert_uint_eq(ranges.n_left_out, 0);
	ck_assert_uint_le(ranges.capacity, 64);
	co_ranges_deinit(&ranges);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ranges");
	TCase *tcase = tcase_create("ranges");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, test_as_single_units, 0, 8);
	tcase_add_test(tcase, test_neighbours_are_joined);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

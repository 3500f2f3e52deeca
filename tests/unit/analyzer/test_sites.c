/* SPDX-License-Identifier: MIT */
/*
 * Facts by site: each figure against a naive replay of the same events, and small recordings whose
 * answers can be counted by hand
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "scene.h"

enum { SITES = 24, SLOTS = 300, BINS = 48 };

/* ---- the naive model ---------------------------------------------------------------------------
 */

/* A block as somebody with a list would keep it: no accounts, everything is counted anew. */
struct naive_block {
	bool live;
	uint64_t address, size, usable, born_ns, chain;
	uint32_t site;
};

struct naive {
	struct naive_block blocks[SLOTS];
	uint64_t peak, peak_ns;
	uint64_t peak_bytes[SITES],
		peak_blocks[SITES]; /* what was live at the peak, counted then */
	uint64_t freed[SITES], freed_bins[BINS];
	uint64_t calls[SITES], moved[SITES], copied[SITES], longest[SITES], chains[SITES];
	uint64_t requested[SITES], usable[SITES];
};

static void naive_peak(struct naive *n, uint64_t time_ns)
{
	uint64_t live = 0;

	for (int i = 0; i < SLOTS; i++)
		live += n->blocks[i].live ? n->blocks[i].size : 0;
	if (live <= n->peak)
		return;
	n->peak = live;
	n->peak_ns = time_ns;
	memset(n->peak_bytes, 0, sizeof(n->peak_bytes));
	memset(n->peak_blocks, 0, sizeof(n->peak_blocks));
	for (int i = 0; i < SLOTS; i++) {
		if (!n->blocks[i].live)
			continue;
		n->peak_bytes[n->blocks[i].site] += n->blocks[i].size;
		n->peak_blocks[n->blocks[i].site]++;
	}
}

static void naive_end_chain(struct naive *n, const struct naive_block *b)
{
	if (!b->chain)
		return;
	n->chains[b->site]++;
	if (b->chain > n->longest[b->site])
		n->longest[b->site] = b->chain;
}

static uint64_t rounded(uint64_t size)
{
	return (size + 8 + 15) / 16 * 16 + 8; /* as scene_alloc() says */
}

static int log2_of(uint64_t value)
{
	int bin = 0;

	while (value >>= 1)
		bin++;
	return bin;
}

/* Heavy-tailed sizes, so that single blocks move the peak about; phases that grow and shrink. */
static uint64_t any_size(uint64_t *state)
{
	unsigned bits = (unsigned)(scene_random(state) >> 32) % 14;

	return scene_random(state) % ((uint64_t)1 << bits) + (scene_random(state) % 8 ? 1 : 0);
}

static void act(struct scene *s, struct naive *n, uint64_t *state, unsigned phase)
{
	struct naive_block *b = &n->blocks[scene_random(state) % SLOTS];
	uint32_t site = (uint32_t)(scene_random(state) % SITES), thread = 1 + site % 4;
	uint64_t size = any_size(state), choice = scene_random(state) % 10;

	s->now_ns += scene_random(state) % 64 << 16; /* times of a recording have fewer bits */
	if (!b->live) {
		if (phase % 2 && choice < 7)
			return;
		*b = (struct naive_block){true,	     0x1000 * (uint64_t)(b - n->blocks + 1),
					  size,	     rounded(size),
					  s->now_ns, 0,
					  site};
		n->requested[site] += size;
		n->usable[site] += b->usable;
		scene_alloc(s, b->address, size, site, thread);
	} else if (choice < 3) {
		uint64_t to = choice ? b->address ^ 0x80000000 : b->address;

		n->calls[site]++;
		n->moved[site] += to != b->address;
		n->copied[site] += to == b->address ? 0 : b->size < size ? b->size : size;
		n->requested[site] += size;
		n->usable[site] += rounded(size);
		scene_realloc(s, b->address, to, size, site, thread);
		b->address = to;
		b->size = size;
		b->usable = rounded(size);
		b->site = site;
		b->chain++;
	} else {
		n->freed[b->site]++;
		n->freed_bins[log2_of(s->now_ns - b->born_ns)]++;
		naive_end_chain(n, b);
		b->live = false;
		scene_free(s, b->address, thread);
	}
	naive_peak(n, s->now_ns);
}

START_TEST(figures_agree_with_a_naive_replay)
{
	static const char *const passes[] = {"sites", "lifetimes", "reallocs", "usage", NULL};
	struct naive *n = calloc(1, sizeof(*n));
	uint64_t state = 0x9e3779b97f4a7c15 + (uint64_t)_i;
	struct scene s;

	ck_assert_ptr_nonnull(n);
	scene_begin(&s);
	for (unsigned i = 0; i < 6000; i++)
		act(&s, n, &state, i / 1000);
	for (int i = 0; i < SLOTS; i++)
		if (n->blocks[i].live)
			naive_end_chain(n, &n->blocks[i]);
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *sites = fa_value_get(scene_section(&s, "sites"), "sites");
	const struct fa_value *lives = scene_section(&s, "lifetimes");
	const struct fa_value *reallocs = fa_value_get(scene_section(&s, "reallocs"), "sites");
	const struct fa_value *usage = fa_value_get(scene_section(&s, "usage"), "sites");
	uint64_t at_peak = 0;
	int bin = 0;

	ck_assert_uint_eq(fa_engine_totals(s.engine)->peak_bytes, n->peak);
	ck_assert_uint_eq(fa_engine_totals(s.engine)->peak_ns, n->peak_ns);
	for (uint32_t i = 0; i < SITES; i++) {
		uint64_t id = scene_stack(i);
		const struct fa_value *row = scene_row(sites, "site", id);

		at_peak += n->peak_bytes[i];
		ck_assert_uint_eq(fa_value_u64(row, "peak_bytes"), n->peak_bytes[i]);
		ck_assert_uint_eq(fa_value_u64(row, "peak_blocks"), n->peak_blocks[i]);
		row = scene_row(fa_value_get(lives, "sites"), "site", id);
		ck_assert_uint_eq(fa_value_u64(row, "freed"), n->freed[i]);
		row = scene_row(reallocs, "site", id);
		ck_assert_uint_eq(fa_value_u64(row, "calls"), n->calls[i]);
		ck_assert_uint_eq(fa_value_u64(row, "moved"), n->moved[i]);
		ck_assert_uint_eq(fa_value_u64(row, "copied_bytes"), n->copied[i]);
		ck_assert_uint_eq(fa_value_u64(row, "chains"), n->chains[i]);
		ck_assert_uint_eq(fa_value_u64(row, "longest"), n->longest[i]);
		row = scene_row(usage, "site", id);
		ck_assert_uint_eq(fa_value_u64(row, "requested_bytes"), n->requested[i]);
		ck_assert_uint_eq(fa_value_u64(row, "usable_bytes"), n->usable[i]);
	}
	ck_assert_uint_eq(at_peak, n->peak);
	for (const struct fa_value *b = fa_value_get(lives, "freed")->first; b; b = b->next, bin++)
		ck_assert_uint_eq(fa_value_u64(b, "blocks"), n->freed_bins[bin]);
	ck_assert_int_eq(bin, BINS);
	scene_end(&s);
	free(n);
}
END_TEST

/* ---- by hand -----------------------------------------------------------------------------------
 */

static uint64_t item(const struct fa_value *array, int index)
{
	const struct fa_value *value = array->first;

	while (index-- > 0)
		value = value->next;
	return strtoull(value->text, NULL, 10);
}

START_TEST(a_realloc_goes_on_with_the_life_of_its_block)
{
	static const char *const passes[] = {"lifetimes", "reallocs", NULL};
	struct scene s;

	scene_begin(&s);
	scene_alloc(&s, 0x1000, 10, 0, 1);
	s.now_ns = 1 * SEC;
	scene_realloc(&s, 0x1000, 0x2000, 20, 1, 1);
	s.now_ns = 2 * SEC;
	scene_realloc(&s, 0x2000, 0x2000, 5, 2, 1);
	s.now_ns = 3 * SEC;
	scene_free(&s, 0x2000, 1); /* 3 s: between 2^31 and 2^32 ns */
	s.now_ns = 4 * SEC;
	scene_alloc(&s, 0x3000, 100, 3, 1);
	scene_alloc(&s, 0x3000, 200, 4, 1); /* the free of the first was not seen */
	s.now_ns = 5 * SEC;
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *lives = scene_section(&s, "lifetimes");
	const struct fa_value *reallocs = scene_section(&s, "reallocs");
	const struct fa_value *sites = fa_value_get(lives, "sites");
	const struct fa_value *row = scene_row(sites, "site", scene_stack(2));

	ck_assert_uint_eq(fa_value_u64(row, "freed"), 1);
	ck_assert_uint_eq(item(fa_value_get(row, "median_ns"), 0), UINT64_C(1) << 31);
	ck_assert_uint_eq(item(fa_value_get(row, "median_ns"), 1), UINT64_C(1) << 32);
	ck_assert(fa_value_is_null(fa_value_get(row, "oldest_born_ns")));
	ck_assert_ptr_null(scene_row(sites, "site", scene_stack(0)));
	ck_assert_uint_eq(fa_value_u64(lives, "unknown"), 1);
	row = scene_row(sites, "site", scene_stack(4));
	ck_assert_uint_eq(fa_value_u64(row, "oldest_born_ns"), 4 * SEC);
	ck_assert(fa_value_is_null(fa_value_get(row, "median_ns")));

	/* 5 bytes that lived for 3 s: row 2 of the matrix */
	const struct fa_column *matrix = scene_column(&s, "lifetimes.blocks");

	ck_assert_uint_eq(matrix->n, (size_t)fa_value_u64(lives, "size_bins") * BINS);
	ck_assert_uint_eq(scene_u64(matrix, 2 * BINS + 31), 1);

	row = fa_value_get(reallocs, "total");
	ck_assert_uint_eq(fa_value_u64(row, "calls"), 2);
	ck_assert_uint_eq(fa_value_u64(row, "moved"), 1);
	ck_assert_uint_eq(fa_value_u64(row, "copied_bytes"), 10);
	ck_assert_uint_eq(fa_value_u64(row, "chains"), 1);
	ck_assert_uint_eq(fa_value_u64(row, "longest"), 2);
	ck_assert_uint_eq(item(fa_value_get(reallocs, "lengths"), 1), 1);
	scene_end(&s);
}
END_TEST

START_TEST(bursts_show_beside_the_mean)
{
	static const char *const passes[] = {"usage", NULL};
	struct scene s;

	/* 64 s: a step is a second. Site 0 allocates once a second, site 1 64 times at once. */
	scene_begin(&s);
	for (uint64_t i = 0; i < 64; i++) {
		s.now_ns = i * SEC + SEC / 2;
		scene_alloc(&s, 0x1000 * (i + 1), 100, 0, 1);
		for (uint64_t k = 0; k < 64 && i == 40; k++)
			scene_alloc(&s, 0x9000000 + 0x1000 * k, 100, 1, 1);
	}
	s.now_ns = 64 * SEC;
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_value *sites = fa_value_get(scene_section(&s, "usage"), "sites");
	const struct fa_value *even = scene_row(sites, "site", scene_stack(0));
	const struct fa_value *burst = scene_row(sites, "site", scene_stack(1));

	ck_assert_double_eq_tol(fa_value_f64(even, "allocations_per_s"), 1, 1e-9);
	ck_assert_double_eq_tol(fa_value_f64(even, "busiest_allocations_per_s"), 1, 1e-9);
	ck_assert_double_eq_tol(fa_value_f64(burst, "allocations_per_s"), 1, 1e-9);
	ck_assert_double_eq_tol(fa_value_f64(burst, "busiest_allocations_per_s"), 64, 1e-9);
	ck_assert_double_eq_tol(fa_value_f64(burst, "busiest_bytes_per_s"), 6400, 1e-9);
	ck_assert_uint_eq(fa_value_u64(even, "live_bytes"), 6400);
	ck_assert_uint_eq(fa_value_u64(even, "live_usable_bytes"), 64 * rounded(100));
	scene_end(&s);
}
END_TEST

/* 64 s: a step is a second. The row of the flame graph's steps that is about so many allocations.
 */
static size_t row_of_count(struct scene *s, uint64_t wanted)
{
	const struct fa_column *count = scene_column(s, "flame.step_count");
	size_t n_steps = scene_column(s, "flame.step_ns")->n;

	for (size_t row = 0; row < scene_column(s, "flame.step_node")->n; row++) {
		uint64_t sum = 0;

		for (size_t i = 0; i < n_steps; i++)
			sum += scene_u64(count, row * n_steps + i);
		if (sum == wanted)
			return row;
	}
	ck_abort_msg("no row has %llu allocations", (unsigned long long)wanted);
	return 0;
}

START_TEST(the_flame_graph_has_its_figures_step_by_step)
{
	static const char *const passes[] = {"flame", NULL};
	struct scene s;

	/* Site 0 allocates once a second and keeps all; site 1 works in the 40th second alone. */
	scene_begin(&s);
	for (uint64_t i = 0; i < 64; i++) {
		s.now_ns = i * SEC + SEC / 2;
		scene_alloc(&s, 0x1000 * (i + 1), 100, 0, 1);
		for (uint64_t k = 0; k < 20 && (i == 40 || i == 43); k++)
			if (i == 40)
				scene_alloc(&s, 0x9000000 + 0x1000 * k, 10, 1, 1);
			else
				scene_free(&s, 0x9000000 + 0x1000 * k, 1);
	}
	s.now_ns = 64 * SEC;
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_column *ends = scene_column(&s, "flame.step_ns");
	const struct fa_column *live = scene_column(&s, "flame.step_live");
	const struct fa_column *allocated = scene_column(&s, "flame.step_allocated");
	size_t even = row_of_count(&s, 64) * 64, burst = row_of_count(&s, 20) * 64;

	ck_assert_uint_eq(ends->n, 64);
	ck_assert_uint_eq(scene_column(&s, "flame.step_node")->n, 2);
	for (size_t i = 0; i < 64; i++) {
		ck_assert_uint_eq(scene_u64(ends, i), (i + 1) * SEC);
		ck_assert_uint_eq(scene_u64(live, even + i), 100 * (i + 1));
		ck_assert_uint_eq(scene_u64(allocated, even + i), 100);
		ck_assert_uint_eq(scene_u64(live, burst + i), i >= 40 && i < 43 ? 200 : 0);
		ck_assert_uint_eq(scene_u64(allocated, burst + i), i == 40 ? 200 : 0);
	}
	scene_end(&s);
}
END_TEST

/* More stacks than there are cells for at 64 steps, the last of them late: steps are joined, and
 * nothing is lost. */
START_TEST(steps_are_joined_where_stacks_are_many)
{
	enum { MANY = 20000 };
	static const char *const passes[] = {"flame", NULL};
	struct scene s;
	uint64_t sums[3] = {0}; /* live at the end, allocated, count */

	scene_begin(&s);
	for (uint32_t i = 0; i < MANY; i++) {
		struct ft_error *error = ft_writer_stack_node(
			s.writer, &(struct ft_stack_node){scene_stack(SCENE_SITES) + i, 1,
							  SCENE_MODULE_BASE + 0x8000 + i});

		ck_assert_ptr_null(error);
	}
	for (uint32_t i = 0; i < MANY; i++) {
		/* half of them in the first second, the others in the 34th */
		s.now_ns = (i < MANY / 2 ? 0 : 33) * SEC + SEC / 2;
		scene_event(&s, &(struct ft_event){.kind = FT_EVENT_ALLOC,
						   .api = FT_API_MALLOC,
						   .thread = 1,
						   .stack = scene_stack(SCENE_SITES) + i,
						   .address = UINT64_C(0x100000) + i * 64,
						   .size = 10,
						   .usable = 24});
	}
	s.now_ns = 64 * SEC;
	scene_finish(&s, false);
	scene_analyse(&s, passes, 0, UINT64_MAX);

	const struct fa_column *ends = scene_column(&s, "flame.step_ns");
	size_t n_rows = scene_column(&s, "flame.step_node")->n;

	ck_assert_uint_eq(ends->n, 32);
	for (size_t i = 0; i < 32; i++)
		ck_assert_uint_eq(scene_u64(ends, i), (i + 1) * 2 * SEC);
	for (size_t row = 0; row < n_rows; row++) {
		sums[0] += scene_u64(scene_column(&s, "flame.step_live"), row * 32 + 31);
		for (size_t i = 0; i < 32; i++) {
			uint64_t now =
				scene_u64(scene_column(&s, "flame.step_allocated"), row * 32 + i);

			ck_assert(!now || i == 0 || i == 16);
			sums[1] += now;
			sums[2] += scene_u64(scene_column(&s, "flame.step_count"), row * 32 + i);
		}
	}
	ck_assert_uint_eq(sums[0], MANY * 10);
	ck_assert_uint_eq(sums[1], MANY * 10);
	ck_assert_uint_eq(sums[2], MANY);
	scene_end(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sites");
	TCase *tcase = tcase_create("sites");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, figures_agree_with_a_naive_replay, 0, 4);
	tcase_add_test(tcase, a_realloc_goes_on_with_the_life_of_its_block);
	tcase_add_test(tcase, bursts_show_beside_the_mean);
	tcase_add_test(tcase, the_flame_graph_has_its_figures_step_by_step);
	tcase_add_test(tcase, steps_are_joined_where_stacks_are_many);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/*
 * The engine against a naive replay
 *
 * Random streams with everything in them: reallocs in place and away, frees of strangers, addresses
 * handed out twice, several threads. The reference keeps blocks in a plain array and looks through
 * all of them each time; the engine must agree on the live heap, the totals, the peak, each site's
 * account at the peak and in total, in the whole run and in a window of it.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "fa_heap.h"
#include "fa_layout.h"
#include "scene.h"

enum { N_ADDRESSES = 64, N_SITES = 8, N_THREADS = 3 };

/* ---- the reference -----------------------------------------------------------------------------
 */

struct naive {
	struct {
		bool live;
		uint64_t size;
		uint32_t site, thread;
	} blocks[N_ADDRESSES];
	uint64_t allocs, frees, unknown, overlaps, bytes_allocated;
	uint64_t peak, peak_site[N_SITES], live_site[N_SITES];
	uint64_t site_allocs[N_SITES], site_frees[N_SITES], temporary[N_SITES];
	int last[N_THREADS + 1]; /* index of each thread's latest block, or -1 */
};

static uint64_t naive_live(const struct naive *n)
{
	uint64_t bytes = 0;

	for (int i = 0; i < N_ADDRESSES; i++)
		bytes += n->blocks[i].live ? n->blocks[i].size : 0;
	return bytes;
}

static void naive_peak(struct naive *n)
{
	memset(n->live_site, 0, sizeof(n->live_site));
	for (int i = 0; i < N_ADDRESSES; i++)
		if (n->blocks[i].live)
			n->live_site[n->blocks[i].site] += n->blocks[i].size;
	if (naive_live(n) > n->peak) {
		n->peak = naive_live(n);
		memcpy(n->peak_site, n->live_site, sizeof(n->peak_site));
	}
}

static void naive_birth(struct naive *n, int at, uint64_t size, uint32_t site, uint32_t thread)
{
	n->blocks[at].live = true;
	n->blocks[at].size = size;
	n->blocks[at].site = site;
	n->blocks[at].thread = thread;
	n->allocs++;
	n->site_allocs[site]++;
	n->bytes_allocated += size;
	n->last[thread] = at;
}

static void naive_death(struct naive *n, int at)
{
	n->blocks[at].live = false;
	n->frees++;
	n->site_frees[n->blocks[at].site]++;
}

static void naive_window(struct naive *n)
{
	n->allocs = n->frees = n->unknown = n->overlaps = n->bytes_allocated = 0;
	memset(n->site_allocs, 0, sizeof(n->site_allocs));
	memset(n->site_frees, 0, sizeof(n->site_frees));
	memset(n->temporary, 0, sizeof(n->temporary));
	n->peak = 0;
	naive_peak(n);
}

/* One random event, into the recording and the reference. */
static void random_event(struct scene *s, struct naive *n, uint64_t *random)
{
	uint64_t r = scene_random(random);
	int at = (int)(r % N_ADDRESSES), to = (int)(r >> 8 & 63);
	uint32_t site = r >> 16 & (N_SITES - 1), thread = 1 + (uint32_t)(r >> 24) % N_THREADS;
	uint64_t size = r >> 32 & 0xfff, address = 0x10000 + (uint64_t)at * 0x1000;
	unsigned kind = (unsigned)(r >> 48) % 16;

	if (kind == 0) { /* whatever is there: overlaps */
		scene_alloc(s, address, size, site, thread);
		if (n->blocks[at].live) {
			n->overlaps++;
			naive_death(n, at);
		}
		naive_birth(n, at, size, site, thread);
	} else if (kind < 5 && n->blocks[at].live) {
		/* Away or in place; onto a live block is an overlap, too. */
		if (kind < 3)
			to = at;
		scene_realloc(s, address, 0x10000 + (uint64_t)to * 0x1000, size, site, thread);
		if (to != at && n->blocks[to].live) {
			n->overlaps++;
			naive_death(n, to);
		}
		naive_death(n, at);
		naive_birth(n, to, size, site, thread);
	} else if (n->blocks[at].live || kind == 6) {
		scene_free(s, address, thread);
		if (!n->blocks[at].live) {
			n->unknown++;
		} else {
			naive_death(n, at);
			if (n->last[thread] == at && n->blocks[at].thread == thread) {
				n->temporary[n->blocks[at].site]++;
				n->last[thread] = -1;
			}
		}
	} else {
		scene_alloc(s, address, size, site, thread);
		naive_birth(n, at, size, site, thread);
	}
	naive_peak(n);
}

static void compare(const struct scene *s, const struct naive *n)
{
	const struct fa_totals *t = fa_engine_totals(s->engine);
	const struct fa_block *block;
	size_t cursor = 0, n_live = 0;

	ck_assert_uint_eq(t->n_allocs, n->allocs);
	ck_assert_uint_eq(t->n_frees, n->frees);
	ck_assert_uint_eq(t->bytes_allocated, n->bytes_allocated);
	ck_assert_uint_eq(t->n_unknown_frees, n->unknown);
	ck_assert_uint_eq(t->n_overlaps, n->overlaps);
	ck_assert_uint_eq(t->live_bytes, naive_live(n));
	ck_assert_uint_eq(t->peak_bytes, n->peak);
	while (fa_engine_next_live(s->engine, &cursor, &block)) {
		int at = (int)((block->address - 0x10000) / 0x1000);

		ck_assert(n->blocks[at].live);
		ck_assert_uint_eq(block->size, n->blocks[at].size);
		ck_assert_uint_eq(block->stack, scene_stack(n->blocks[at].site));
		n_live++;
	}
	ck_assert_uint_eq(n_live, t->live_blocks);
	for (uint32_t i = 0; i < N_SITES; i++) {
		struct fa_site site;

		fa_engine_site(s->engine, scene_stack(i), &site);
		ck_assert_uint_eq(site.live_bytes, n->live_site[i]);
		ck_assert_uint_eq(site.peak_bytes, n->peak_site[i]);
		ck_assert_uint_eq(site.allocations, n->site_allocs[i]);
		ck_assert_uint_eq(site.frees, n->site_frees[i]);
		ck_assert_uint_eq(site.temporary, n->temporary[i]);
	}
}

START_TEST(engine_agrees_with_a_naive_replay)
{
	static const char *const no_passes[] = {NULL};
	uint64_t random = 0x9e3779b97f4a7c15u * (unsigned)(_i + 1);
	struct naive whole = {.last = {-1, -1, -1, -1}};
	struct scene s;

	scene_begin(&s);
	for (int i = 0; i < 3000; i++) {
		s.now_ns += scene_random(&random) % 1000;
		random_event(&s, &whole, &random);
	}
	scene_finish(&s, false);
	scene_analyse(&s, no_passes, 0, UINT64_MAX);
	compare(&s, &whole);
	scene_end(&s);
}
END_TEST

START_TEST(a_window_counts_from_what_was_live_at_its_begin)
{
	enum { STEP = 1280 }; /* a multiple of the recording's resolution in time */
	static const char *const no_passes[] = {NULL};
	const uint64_t from = 1001 * STEP, to = 2000 * STEP;
	uint64_t random = 77 + (uint64_t)_i;
	struct naive n = {.last = {-1, -1, -1, -1}};
	struct scene s;

	scene_begin(&s);
	for (int i = 0; i < 3000; i++) {
		s.now_ns = (uint64_t)i * STEP;
		if (s.now_ns == from) /* the window's first event comes next */
			naive_window(&n);
		if (s.now_ns <= to)
			random_event(&s, &n, &random);
		else
			scene_alloc(&s, 0x900000 + s.now_ns * 64, 1 << 20, 0, 1);
	}
	scene_finish(&s, false);
	scene_analyse(&s, no_passes, from, to);
	compare(&s, &n);
	ck_assert_uint_eq(fa_engine_from_ns(s.engine), from);
	ck_assert_uint_eq(fa_engine_to_ns(s.engine), to);
	scene_end(&s);
}
END_TEST

START_TEST(same_recording_same_bytes)
{
	uint64_t random = 5;
	struct naive n = {.last = {-1, -1, -1, -1}};
	struct fa_doc *first;
	struct scene s;

	scene_begin(&s);
	for (int i = 0; i < 2000; i++) {
		s.now_ns += 5 * MS;
		random_event(&s, &n, &random);
	}
	scene_finish(&s, false);
	scene_analyse(&s, NULL, 0, UINT64_MAX);
	first = s.doc;
	s.doc = NULL;
	scene_analysis_end(&s);
	scene_analyse(&s, NULL, 0, UINT64_MAX);

	for (size_t i = 0; fa_doc_section_name(first, i); i++) {
		const char *name = fa_doc_section_name(first, i);

		ck_assert_str_eq(fa_doc_section(first, name), fa_doc_section(s.doc, name));
	}
	for (size_t i = 0; fa_doc_column_at(first, i); i++) {
		const struct fa_column *a = fa_doc_column_at(first, i);
		const struct fa_column *b = fa_doc_column_at(s.doc, i);

		ck_assert_str_eq(a->name, b->name);
		ck_assert_uint_eq(a->n, b->n);
		if (a->type == FA_U64)
			ck_assert_int_eq(memcmp(a->data, b->data, a->n * 8), 0);
	}
	fa_doc_destroy(first);
	scene_end(&s);
}
END_TEST

START_TEST(the_heap_table_holds_under_churn)
{
	enum { N = 100000 }; /* more than one segment */
	uint64_t random = 3, *addresses = calloc(N, sizeof(*addresses));
	struct fa_heap heap;
	size_t n_live = 0;

	ck_assert_ptr_null(fa_heap_init(&heap));
	for (int round = 0; round < 400000; round++) {
		size_t at = scene_random(&random) % N;
		bool taken;

		if (addresses[at]) {
			const struct fa_block *died = fa_heap_take(&heap, addresses[at]);

			ck_assert_ptr_nonnull(died);
			ck_assert_uint_eq(died->address, addresses[at]);
			ck_assert_ptr_null(fa_heap_find(&heap, addresses[at]));
			fa_heap_release(&heap);
			ck_assert_ptr_null(fa_heap_take(&heap, addresses[at]));
			addresses[at] = 0;
			n_live--;
		} else {
			/* In progressions, as allocators hand them out. */
			addresses[at] = 0x7f0000000000 + at * 48;

			struct fa_block *block = fa_heap_insert(&heap, addresses[at], &taken);

			ck_assert_ptr_nonnull(block);
			ck_assert(!taken);
			ck_assert_ptr_eq(fa_heap_find(&heap, addresses[at]), block);
			ck_assert_ptr_null(fa_heap_insert(&heap, addresses[at], &taken));
			ck_assert(taken);
			n_live++;
		}
		if (round % 20000 == 0)
			ck_assert(fa_heap_check(&heap));
	}
	ck_assert_uint_eq(heap.n_live, n_live);
	ck_assert(fa_heap_check(&heap));
	fa_heap_deinit(&heap);
	free(addresses);
}
END_TEST

START_TEST(teardown_is_found_and_only_there)
{
	static const char *const no_passes[] = {NULL};
	uint64_t seq, time_ns;
	struct scene s;

	/* Work with as many frees as allocations, then a long stretch of frees with a few
	 * allocations among them. */
	scene_begin(&s);
	for (uint64_t i = 0; i < 1000; i++) {
		s.now_ns += MS;
		scene_alloc(&s, 0x10000 + i * 64, 32, 0, 1);
		scene_alloc(&s, 0x8000000, 32, 1, 1);
		scene_free(&s, 0x8000000, 1);
	}
	uint64_t work_events = s.n_events, work_ns = s.now_ns;

	for (uint64_t i = 0; i < 1000; i++) {
		s.now_ns += 1000;
		scene_free(&s, 0x10000 + i * 64, 1);
		if (i % 100 == 50)
			scene_alloc(&s, 0x9000000 + i * 64, 32, 1, 1);
	}
	scene_finish(&s, false);
	scene_analyse(&s, no_passes, 0, UINT64_MAX);
	ck_assert(fa_engine_teardown(s.engine, &seq, &time_ns));
	ck_assert_uint_le(seq, work_events);
	ck_assert_uint_ge(seq, work_events - 1); /* the last free of the work may count in */
	ck_assert_uint_ge(time_ns, work_ns);
	scene_analysis_end(&s);

	/* A window that ends before it has none. */
	scene_analyse(&s, no_passes, 0, work_ns - 1);
	ck_assert(!fa_engine_teardown(s.engine, &seq, &time_ns));
	scene_end(&s);
}
END_TEST

START_TEST(ids_out_of_range_become_none)
{
	static const char *const no_passes[] = {NULL};
	const struct fa_block *block;
	size_t cursor = 0;
	struct scene s;

	scene_begin(&s);
	scene_event(&s, &(struct ft_event){.kind = FT_EVENT_ALLOC,
					   .api = FT_API_MALLOC,
					   .address = 0x1000,
					   .size = 8,
					   .thread = 77});
	scene_finish(&s, false);
	scene_analyse(&s, no_passes, 0, UINT64_MAX);
	ck_assert(fa_engine_next_live(s.engine, &cursor, &block));
	ck_assert_uint_eq(block->thread, 0);
	ck_assert_uint_eq(block->stack, 0);
	scene_end(&s);
}
END_TEST

/* ---- ticks and alarms --------------------------------------------------------------------------
 */

/* A pass that is called when it should be, and says so itself. */
struct punctual {
	uint64_t alarm_ns, seen_ns, random, n_alarms, n_ticks, n_steps;
	uint64_t live_bytes, n_births, n_deaths;
};

static struct ft_error *set_alarm(struct fa_pass *pass, struct punctual *p, uint64_t now_ns)
{
	p->alarm_ns = now_ns + 1 + scene_random(&p->random) % (3 * MS);
	fa_pass_alarm(pass, p->alarm_ns);
	return NULL;
}

static struct ft_error *punctual_init(struct fa_pass *pass)
{
	struct punctual *p = fa_pass_state(pass);

	p->random = 99;
	return set_alarm(pass, p, 0);
}

/* Of the blocks that are in a place: what overlaps another is in none. */
static uint64_t bytes_in_place(const struct fa_engine *engine, struct fa_layout *layout)
{
	const struct fa_block *block;
	uint64_t bytes = 0;
	size_t cursor = 0;

	while (fa_engine_next_laid(engine, &cursor, &block)) {
		struct fa_place place;

		fa_engine_place(engine, block, &place);
		if (!ft_map_get(&layout->refused, block->address))
			bytes += place.end - place.start;
	}
	return bytes;
}

static void check_step(struct punctual *p, const struct fa_step *step)
{
	ck_assert_uint_ge(step->event->time_ns, p->seen_ns);
	ck_assert_uint_lt(step->event->time_ns, p->alarm_ns);
	ck_assert_int_eq(step->born != NULL, step->born_at != NULL);
	ck_assert_int_eq(step->died != NULL, step->died_at != NULL);
	if (step->died) {
		p->live_bytes -= step->died->bytes;
		p->n_deaths++;
	}
	if (step->born) {
		p->live_bytes += step->born->bytes;
		p->n_births++;
	}
	ck_assert_uint_eq(step->live_bytes, p->live_bytes);
	ck_assert_uint_eq(step->n_allocs, p->n_births);
	p->seen_ns = step->event->time_ns;
	p->n_steps++;
}

static struct ft_error *punctual_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct fa_engine *engine = fa_pass_engine(pass);
	struct punctual *p = fa_pass_state(pass);
	uint64_t n_births = p->n_births, n_deaths = p->n_deaths;
	struct fa_layout *layout;

	ck_assert_uint_gt(steps->n, 0);
	for (size_t i = 0; i < steps->n; i++) {
		ck_assert(!steps->all[i].unknown_free || i == steps->n - 1);
		check_step(p, &steps->all[i]);
	}
	ck_assert_uint_eq(steps->n_births, p->n_births - n_births);
	ck_assert_uint_eq(steps->n_deaths, p->n_deaths - n_deaths);
	for (size_t i = 0; i < steps->n_births; i++)
		ck_assert_ptr_nonnull(steps->births[i]->born);
	for (size_t i = 0; i < steps->n_deaths; i++)
		ck_assert_ptr_nonnull(steps->deaths[i]->died);
	/* Any pass may ask at any time: all is as it is after the last. */
	ck_assert_ptr_null(fa_engine_layout(engine, &layout));
	ck_assert_uint_eq(layout->pages.totals.live_bytes, bytes_in_place(engine, layout));
	ck_assert_uint_eq(fa_engine_totals(engine)->live_bytes, p->live_bytes);
	return NULL;
}

static struct ft_error *punctual_alarm(struct fa_pass *pass, uint64_t time_ns)
{
	struct punctual *p = fa_pass_state(pass);

	ck_assert_uint_eq(time_ns, p->alarm_ns);
	ck_assert(!p->n_steps || p->seen_ns < time_ns);
	p->n_alarms++;
	return set_alarm(pass, p, time_ns);
}

static struct ft_error *punctual_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct punctual *p = fa_pass_state(pass);

	ck_assert_uint_eq(tick, p->n_ticks);
	ck_assert_uint_le(p->seen_ns, time_ns);
	ck_assert_uint_gt(p->alarm_ns, time_ns);
	p->n_ticks++;
	return NULL;
}

static struct punctual ended;

static struct ft_error *punctual_finish(struct fa_pass *pass)
{
	ended = *(const struct punctual *)fa_pass_state(pass);
	return NULL;
}

static struct ft_error *punctual_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	return NULL;
}

START_TEST(ticks_and_alarms_come_between_the_events_where_they_belong)
{
	static const struct fa_pass_ops ops = {
		.name = "punctual",
		.state_size = sizeof(struct punctual),
		.needs_layout = true,
		.init = punctual_init,
		.on_steps = punctual_steps,
		.on_tick = punctual_tick,
		.on_alarm = punctual_alarm,
		.finish = punctual_finish,
		.emit = punctual_emit,
	};
	struct fa_options options = {.n_ticks = 50};
	uint64_t random = 5;
	struct naive n = {.last = {-1, -1, -1, -1}};
	struct ft_reader *reader;
	struct fa_engine *engine;
	struct scene s;

	scene_begin(&s);
	for (int i = 0; i < 3000; i++) {
		/* Many at one time, many gaps. */
		s.now_ns += scene_random(&random) % 4 ? 0 : scene_random(&random) % MS;
		random_event(&s, &n, &random);
	}
	s.now_ns += 5 * MS;
	scene_finish(&s, false);
	ck_assert_ptr_null(ft_reader_open(s.path, FT_READER_NO_WAIT, &reader));
	ck_assert_ptr_null(fa_engine_create(reader, &options, &engine));
	ck_assert_ptr_null(fa_engine_add(engine, &ops));
	ck_assert_ptr_null(fa_engine_run(engine));
	ck_assert_uint_eq(ended.n_ticks, 50);
	ck_assert_uint_gt(ended.n_steps, 2000);
	ck_assert_uint_gt(ended.n_alarms, 50);
	/* All of them, up to the end. */
	ck_assert_uint_gt(ended.alarm_ns, fa_engine_to_ns(engine));
	fa_engine_destroy(engine);
	ft_reader_close(reader);
	scene_end(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("engine");
	TCase *tcase = tcase_create("engine");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, engine_agrees_with_a_naive_replay, 0, 8);
	tcase_add_loop_test(tcase, a_window_counts_from_what_was_live_at_its_begin, 0, 4);
	tcase_add_test(tcase, same_recording_same_bytes);
	tcase_add_test(tcase, the_heap_table_holds_under_churn);
	tcase_add_test(tcase, teardown_is_found_and_only_there);
	tcase_add_test(tcase, ids_out_of_range_become_none);
	tcase_add_test(tcase, ticks_and_alarms_come_between_the_events_where_they_belong);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

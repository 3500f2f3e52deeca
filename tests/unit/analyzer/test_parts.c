/* SPDX-License-Identifier: MIT */
/*
 * Parts: a replay that is cut at keyframes says what a replay in one go says
 *
 * The oracle is the engine itself with one thread: every section and column, byte for byte.
 */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ft_error.h"
#include "scene.h"

enum {
	N_EVENTS = 16000,
	KEYFRAME_EVENTS = 1200,
	N_LIVE = 100,
	BURST_LIVE = 280,
	TORN_DOWN = 3000, /* so that there is a keyframe in it */
	PART_EVENTS = 300,
	FIRST_IN_TURNS = 40, /* of the sites */
	N_SCENES = 16
};
#define ARENA_BYTES (UINT64_C(64) << 20)

/* What of a program's life is in a scene. */
enum {
	TEARDOWN = 1, /* it frees all at its end, and had much to free */
	SAMPLED = 2,
	FOREIGN = 4, /* threads free each other's blocks */
	BURST = 8,   /* the peak is in the middle */
	DAMAGED = 16 /* frees of what was never allocated, and births where something lives */
};

struct heap {
	struct scene *scene;
	uint64_t state;
	unsigned what;
	uint64_t live[TORN_DOWN];
	uint32_t thread[TORN_DOWN];
	size_t n;
	uint64_t next;
};

static uint64_t below(struct heap *h, uint64_t n)
{
	return scene_random(&h->state) % n;
}

static uint64_t new_address(struct heap *h)
{
	h->next += 64 + below(h, 4096) / 16 * 16;
	return h->next;
}

static void allocate(struct heap *h, uint32_t site)
{
	uint32_t thread = 1 + (uint32_t)below(h, 4);
	uint64_t address = h->what & DAMAGED && h->n && !below(h, 150) ? h->live[below(h, h->n)]
								       : new_address(h);
	/* Whoever has a turn has an arena of glibc's to himself. */
	bool other = site >= FIRST_IN_TURNS && address < ARENA_BYTES * FIRST_IN_TURNS;
	uint64_t size = 1 + below(h, 3000);

	if (other)
		address += ARENA_BYTES * site;
	scene_event(h->scene, &(struct ft_event){.kind = FT_EVENT_ALLOC,
						 .api = FT_API_MALLOC,
						 .flags = other ? FT_EVENT_F_NON_MAIN : 0,
						 .address = address,
						 .size = size,
						 .usable = (size + 8 + 15) / 16 * 16 + 8,
						 .stack = scene_stack(site),
						 .thread = thread});
	if (h->n < TORN_DOWN) {
		h->live[h->n] = address;
		h->thread[h->n++] = thread;
	}
}

static void release(struct heap *h, size_t i)
{
	scene_free(h->scene, h->live[i],
		   h->what & FOREIGN ? 1 + (uint32_t)below(h, 4) : h->thread[i]);
	h->n--;
	h->live[i] = h->live[h->n];
	h->thread[i] = h->thread[h->n];
}

static void step(struct heap *h, unsigned i)
{
	size_t limit =
		h->what & BURST && i > N_EVENTS / 3 && i < N_EVENTS / 2 ? BURST_LIVE : N_LIVE;
	uint64_t r = below(h, 100);

	h->scene->now_ns += 1 + below(h, 8 * MS);
	if (!below(h, 100)) {
		/* A leak, and what it is not. */
		scene_alloc(h->scene, new_address(h), 48, 7, 1 + (uint32_t)below(h, 4));
	} else if (h->what & DAMAGED && !below(h, 100)) {
		scene_free(h->scene, UINT64_C(0x900000000) + below(h, 100) * 64, 2);
	} else if (r < 12 && h->n) {
		size_t at = below(h, h->n);
		uint64_t to = r < 6 ? h->live[at] : new_address(h);

		scene_realloc(h->scene, h->live[at], to, 1 + below(h, 5000), (uint32_t)below(h, 40),
			      h->thread[at]);
		h->live[at] = to;
	} else if (h->n >= limit || (r < 55 && h->n)) {
		/* Often the latest one: temporary blocks. */
		release(h, r & 1 ? h->n - 1 : below(h, h->n));
	} else {
		/* Half of them by whoever has his turn. */
		allocate(h, below(h, 2) ? (uint32_t)below(h, FIRST_IN_TURNS)
					: FIRST_IN_TURNS + i / 310 % 20);
	}
}

/* Keyframes come with commits, which take their time. */
static void commit(struct scene *s, unsigned i, unsigned every)
{
	if (i % every == 0)
		ck_assert_ptr_null(ft_writer_commit(s->writer, true));
}

static void record(struct scene *s, unsigned number)
{
	struct heap *h = calloc(1, sizeof(*h));

	scene_begin(s);
	if (number & SAMPLED)
		ck_assert_ptr_null(ft_writer_meta(s->writer, "sample_bytes", "1000"));
	ck_assert_ptr_null(ft_writer_set_limits(
		s->writer, &(struct ft_limits){.keyframe_events = KEYFRAME_EVENTS,
					       .sample_bytes = number & SAMPLED ? 1000 : 0}));
	*h = (struct heap){
		.scene = s, .state = number + 1, .what = number, .next = UINT64_C(0x10000000)};
	for (unsigned i = 0; i < N_EVENTS; i++) {
		step(h, i);
		commit(s, i, KEYFRAME_EVENTS);
	}
	while (h->what & TEARDOWN && h->n < TORN_DOWN)
		allocate(h, 39);
	while (h->what & TEARDOWN && h->n) {
		release(h, h->n - 1);
		commit(s, (unsigned)h->n, KEYFRAME_EVENTS / 3);
	}
	free(h);
	scene_finish(s, false);
}

static void put_value(FILE *file, const struct fa_column *column, size_t at)
{
	size_t size = fa_column_size(column->type);
	const unsigned char *bytes = (const unsigned char *)column->data + at * size;

	fprintf(file, "\n%s %zu ", column->name, at);
	while (size-- > 0)
		fprintf(file, "%02x", bytes[size]);
}

/* All that the document says. */
static char *document(struct ft_reader *reader, const char *const *passes,
		      const struct fa_options *options, size_t *size)
{
	struct fa_engine *engine;
	struct fa_doc *doc;
	const struct fa_column *column;
	const char *name;
	char *text = NULL;
	FILE *file = open_memstream(&text, size);

	ck_assert_ptr_null(fa_engine_create(reader, options, &engine));
	for (size_t i = 0; passes[i]; i++)
		ck_assert_ptr_null(fa_engine_add(engine, fa_pass_find(passes[i])));
	ck_assert_ptr_null(fa_engine_run(engine));
	ck_assert_ptr_null(fa_doc_create(&doc));
	ck_assert_ptr_null(fa_engine_emit(engine, doc));
	ck_assert_ptr_null(fa_doc_check(doc));
	for (size_t i = 0; (name = fa_doc_section_name(doc, i)); i++)
		fprintf(file, "%s: %s\n", name, fa_doc_section(doc, name));
	for (size_t i = 0; (column = fa_doc_column_at(doc, i)); i++)
		for (size_t at = 0; at < column->n; at++)
			put_value(file, column, at);
	for (size_t i = 0; fa_engine_finding(engine, i); i++)
		fprintf(file, "%s\n", fa_engine_finding(engine, i)->text);
	fclose(file);
	fa_doc_destroy(doc);
	fa_engine_destroy(engine);
	return text;
}

static void compare(struct ft_reader *reader, const char *const *passes, struct fa_options options)
{
	static const uint32_t n_threads[] = {2, 5, 16};
	size_t size, other_size;
	char *text, *other;

	options.n_threads = 1;
	text = document(reader, passes, &options, &size);
	options.part_events = PART_EVENTS;
	for (size_t k = 0; k < sizeof(n_threads) / sizeof(*n_threads); k++) {
		options.n_threads = n_threads[k];
		other = document(reader, passes, &options, &other_size);
		ck_assert_uint_eq(other_size, size);
		for (size_t i = 0; i < size; i++)
			if (text[i] != other[i])
				ck_abort_msg("%u threads: '%.60s' instead of '%.60s'",
					     options.n_threads, &other[i < 20 ? 0 : i - 20],
					     &text[i < 20 ? 0 : i - 20]);
		free(other);
	}
	free(text);
}

static const char *const joined[] = {"largest", "leaks", "lifetimes", "reallocs", "sites",
				     "threads", "usage", "quality",   "summary",  NULL};

START_TEST(parts_say_what_the_whole_says)
{
	struct scene s;
	struct ft_reader *reader;
	uint64_t end_ns, state = (uint64_t)_i + 77;

	record(&s, (unsigned)_i * 11 % 32); /* each with each, as good as */
	ck_assert_ptr_null(ft_reader_open(s.path, 0, &reader));
	ck_assert_ptr_null(fa_recording_end(reader, &end_ns));
	compare(reader, joined, (struct fa_options){0});
	for (int i = 0; i < 2; i++) {
		uint64_t a = scene_random(&state) % end_ns, b = scene_random(&state) % end_ns;

		compare(reader, joined,
			(struct fa_options){.from_ns = a < b ? a : b, .to_ns = a < b ? b : a});
	}
	ft_reader_close(reader);
	scene_end(&s);
}
END_TEST

/* What can't be joined is replayed in one go, whatever else was asked for. */
START_TEST(a_pass_that_keeps_a_history_is_not_cut)
{
	static const char *const mixed[] = {"leaks", "threads", "frag", "errors", NULL};
	struct scene s;
	struct ft_reader *reader;

	record(&s, FOREIGN);
	ck_assert_ptr_null(ft_reader_open(s.path, 0, &reader));
	compare(reader, mixed, (struct fa_options){0});
	ft_reader_close(reader);
	scene_end(&s);
}
END_TEST

/* ---- a pass of the test's own ------------------------------------------------------------------
 */

struct seen {
	uint64_t first_seq, last_seq, n_events;
	unsigned n_parts;
	uint32_t n_ticks;
	bool teardown;
};

static struct seen result; /* of the run that ended */

static struct ft_error *seen_init(struct fa_pass *pass)
{
	struct seen *seen = fa_pass_state(pass);

	seen->n_parts = 1;
	seen->first_seq = UINT64_MAX;
	return NULL;
}

static struct ft_error *seen_on_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct seen *seen = fa_pass_state(pass);

	if (seen->first_seq == UINT64_MAX)
		seen->first_seq = steps->all[0].event->seq;
	seen->last_seq = steps->all[steps->n - 1].event->seq;
	seen->n_events += steps->n;
	return NULL;
}

static struct ft_error *seen_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	(void)tick;
	(void)time_ns;
	((struct seen *)fa_pass_state(pass))->n_ticks++;
	return NULL;
}

static struct ft_error *seen_on_teardown(struct fa_pass *pass)
{
	struct seen *seen = fa_pass_state(pass);

	ck_assert(!seen->teardown);
	seen->teardown = true;
	return NULL;
}

static struct ft_error *seen_join(struct fa_pass *pass, struct fa_pass *earlier)
{
	struct seen *seen = fa_pass_state(pass);
	const struct seen *before = fa_pass_state(earlier);

	ck_assert_uint_eq(before->last_seq + 1, seen->first_seq);
	ck_assert_uint_eq(before->n_parts, 1);
	seen->first_seq = before->first_seq;
	seen->n_events += before->n_events;
	seen->n_ticks += before->n_ticks;
	ck_assert(!before->teardown || !seen->teardown);
	seen->teardown |= before->teardown;
	seen->n_parts++;
	return NULL;
}

static struct ft_error *seen_finish(struct fa_pass *pass)
{
	result = *(const struct seen *)fa_pass_state(pass);
	return NULL;
}

static const struct fa_pass_ops watcher = {
	.name = "watcher",
	.state_size = sizeof(struct seen),
	.init = seen_init,
	.on_steps = seen_on_steps,
	.on_tick = seen_on_tick,
	.on_teardown = seen_on_teardown,
	.join = seen_join,
	.finish = seen_finish,
};

static struct ft_error *run_watched(struct ft_reader *reader, const struct fa_pass_ops *ops,
				    const struct fa_options *options)
{
	struct fa_engine *engine;
	struct ft_error *error;

	result = (struct seen){0};
	ck_assert_ptr_null(fa_engine_create(reader, options, &engine));
	ck_assert_ptr_null(fa_engine_add(engine, ops));
	error = fa_engine_run(engine);
	fa_engine_destroy(engine);
	return error;
}

START_TEST(each_event_tick_and_end_is_in_one_part)
{
	struct fa_options options = {.part_events = PART_EVENTS};
	struct fa_pass_ops one_go = watcher;
	struct ft_reader *reader;
	struct scene s;

	one_go.join = NULL;
	record(&s, TEARDOWN);
	ck_assert_ptr_null(ft_reader_open(s.path, 0, &reader));
	for (options.n_threads = 1; options.n_threads <= 8; options.n_threads++) {
		ck_assert_ptr_null(run_watched(reader, &watcher, &options));
		ck_assert_uint_eq(result.n_parts, options.n_threads);
		ck_assert_uint_eq(result.n_events, s.n_events);
		ck_assert_uint_eq(result.first_seq, 0);
		ck_assert_uint_eq(result.n_ticks, 1024);
		ck_assert(result.teardown);
	}
	ck_assert_ptr_null(run_watched(reader, &one_go, &options));
	ck_assert_uint_eq(result.n_parts, 1);
	/* Parts that are too small, or may not be. */
	options.part_events = s.n_events;
	ck_assert_ptr_null(run_watched(reader, &watcher, &options));
	ck_assert_uint_eq(result.n_parts, 1);
	options.part_events = PART_EVENTS;
	options.no_keyframes = true;
	ck_assert_ptr_null(run_watched(reader, &watcher, &options));
	ck_assert_uint_eq(result.n_parts, 1);
	ft_reader_close(reader);
	scene_end(&s);
}
END_TEST

static bool count(void *ctx, uint64_t done, uint64_t total)
{
	uint64_t *most = ctx;

	ck_assert_uint_le(done, total);
	if (done > *most)
		*most = done;
	return true;
}

static bool give_up(void *ctx, uint64_t done, uint64_t total)
{
	unsigned *n = ctx;

	(void)done;
	(void)total;
	++*n;
	return false;
}

START_TEST(progress_is_of_all_parts_and_stops_them)
{
	uint64_t most = 0;
	struct fa_options options = {.n_threads = 4,
				     .part_events = PART_EVENTS,
				     .progress = count,
				     .progress_ctx = &most};
	struct ft_reader *reader;
	struct ft_error *error;
	struct scene s;
	unsigned n = 0;

	record(&s, 0);
	ck_assert_ptr_null(ft_reader_open(s.path, 0, &reader));
	ck_assert_ptr_null(run_watched(reader, &watcher, &options));
	ck_assert_uint_gt(most, 0);
	options.progress = give_up;
	options.progress_ctx = &n;
	error = run_watched(reader, &watcher, &options);
	ck_assert_ptr_nonnull(error);
	ck_assert_int_eq(error->kind, FT_ERROR_STOPPED);
	ck_assert_uint_eq(n, 1);
	ft_error_destroy(error);
	ft_reader_close(reader);
	scene_end(&s);
}
END_TEST

/* Damage in a part that is not the last is said as it is. */
START_TEST(an_error_of_a_part_is_that_of_the_replay)
{
	struct fa_options options = {.n_threads = 3, .part_events = PART_EVENTS};
	struct ft_reader *reader;
	struct ft_error *errors[2];
	struct scene s;
	sqlite3 *db;

	record(&s, 0);
	ck_assert_int_eq(sqlite3_open(s.path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db,
				      "UPDATE event_chunk SET data = zeroblob(length(data)) "
				      "WHERE id = (SELECT min(id) + 2 FROM event_chunk)",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	ck_assert_ptr_null(ft_reader_open(s.path, 0, &reader));
	for (int i = 0; i < 2; i++) {
		errors[i] = run_watched(reader, &watcher, &options);
		ck_assert_ptr_nonnull(errors[i]);
		options.n_threads = 1;
	}
	ck_assert_str_eq(errors[0]->message, errors[1]->message);
	ft_error_destroy(errors[0]);
	ft_error_destroy(errors[1]);
	ft_reader_close(reader);
	scene_end(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("parts");
	TCase *tcase = tcase_create("parts");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, parts_say_what_the_whole_says, 0, N_SCENES);
	tcase_add_test(tcase, a_pass_that_keeps_a_history_is_not_cut);
	tcase_add_test(tcase, each_event_tick_and_end_is_in_one_part);
	tcase_add_test(tcase, progress_is_of_all_parts_and_stops_them);
	tcase_add_test(tcase, an_error_of_a_part_is_that_of_the_replay);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

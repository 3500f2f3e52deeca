/* SPDX-License-Identifier: MIT */
/*
 * Keyframes, roll-ups and budgets: what stands for events that are gone, and that nothing is lost
 * or counted twice, whenever the writer dies
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>

#include "budget_test.h"
#include "ft_map.h"

enum { SMALL_BUDGET = 300000 };

/* ---- an oracle --------------------------------------------------------------------------------
 */

struct oracle {
	struct ft_map live; /* address -> size << 32 | thread << 24 | stack */
	uint64_t n_allocs, n_frees, bytes;
};

static void oracle_event(struct oracle *o, const struct ft_event *e)
{
	uint64_t old, gone = e->kind == FT_EVENT_REALLOC ? e->old_address : e->address;

	if (e->kind != FT_EVENT_ALLOC && ft_map_remove(&o->live, gone, &old)) {
		o->n_frees++;
		o->bytes -= old >> 32;
	}
	if (e->kind != FT_EVENT_FREE) {
		o->n_allocs++;
		o->bytes += e->size;
		*ft_map_put(&o->live, e->address, NULL) =
			e->size << 32 | (uint64_t)e->thread << 24 | e->stack;
	}
}

static void check_keyframe(struct ft_reader *reader, const struct ft_keyframe_info *keyframe,
			   const struct oracle *o)
{
	struct ft_event *births = calloc(FT_CHUNK_EVENTS, sizeof(*births));
	size_t n, n_all = 0;

	ck_assert_uint_eq(keyframe->n_blocks, ft_map_count(&o->live));
	ck_assert_uint_eq(keyframe->bytes, o->bytes);
	for (uint32_t part = 0; part < keyframe->n_parts; part++) {
		ok(ft_reader_keyframe_part(reader, keyframe, part, births, &n));
		for (size_t i = 0; i < n; i++) {
			const uint64_t *value = ft_map_get(&o->live, births[i].address);

			ck_assert_ptr_nonnull(value);
			ck_assert_uint_eq(*value, births[i].size << 32 |
							  (uint64_t)births[i].thread << 24 |
							  births[i].stack);
		}
		n_all += n;
	}
	ck_assert_uint_eq(n_all, keyframe->n_blocks);
	free(births);
}

START_TEST(keyframes_are_the_live_heap)
{
	const char *path = fresh_path();
	struct synth *synth = traffic();
	struct ft_writer *writer = start(path, synth, &(struct ft_limits){.keyframe_events = 4000});
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events));
	const struct ft_keyframe_info *keyframes;
	struct oracle o = {0};
	struct ft_reader *reader;
	size_t n_keyframes, n, k = 0;

	for (int i = 0; i < 12; i++) {
		write_events(writer, synth, COMMIT_EVERY);
		ok(ft_writer_commit(writer, true));
	}
	ok(ft_writer_finish(writer));
	ok(ft_reader_open(path, 0, &reader));
	ok(ft_reader_keyframes(reader, &keyframes, &n_keyframes));
	ck_assert_uint_ge(n_keyframes, 8);
	ft_map_init(&o.live);
	for (size_t c = 0; c < ft_reader_n_chunks(reader); c++) {
		ok(ft_reader_chunk(reader, c, events, &n));
		for (size_t i = 0; i < n; i++) {
			if (k < n_keyframes && keyframes[k].seq == events[i].seq)
				check_keyframe(reader, &keyframes[k++], &o);
			oracle_event(&o, &events[i]);
		}
	}
	if (k < n_keyframes)
		check_keyframe(reader, &keyframes[k++], &o);
	ck_assert_uint_eq(k, n_keyframes);
	ft_reader_close(reader);
	ft_map_deinit(&o.live);
	synth_destroy(synth);
	free(events);
	unlink(path);
}
END_TEST

/* ---- budgets ----------------------------------------------------------------------------------
 */

START_TEST(budget_is_kept_and_nothing_is_lost)
{
	enum { COMMITS = 240, BUDGET = 1 << 20, GROUP = BUDGET / 32 };
	const char *path = fresh_path();
	struct synth *synth = traffic();
	struct ft_writer *writer = start(path, synth, &(struct ft_limits){.max_bytes = BUDGET});
	struct ft_reader *reader;
	uint64_t most = 0;

	for (int i = 0; i < COMMITS; i++) {
		write_events(writer, synth, COMMIT_EVERY);
		ok(ft_writer_commit(writer, true));

		uint64_t bytes = bytes_of(path, "") + bytes_of(path, "-wal");

		most = bytes > most ? bytes : most;
	}
	ck_assert_uint_gt(ft_writer_event_bytes(writer), BUDGET * 3 / 2);
	ck_assert_uint_le(most, BUDGET + GROUP);
	ok(ft_writer_finish(writer));
	ok(ft_reader_open(path, 0, &reader));
	ck_assert_uint_gt(ft_reader_first_seq(reader), 0);
	ck_assert_uint_eq(check_whole(reader), (uint64_t)COMMITS * COMMIT_EVERY);
	ft_reader_close(reader);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

START_TEST(old_events_go_by_age)
{
	enum { COMMITS = 60 };
	const char *path = fresh_path();
	struct synth *synth = traffic();
	const uint64_t age = 20 * UINT64_C(1000000);
	struct ft_writer *writer = start(path, synth, &(struct ft_limits){.max_age_ns = age});
	struct ft_reader *reader;

	for (int i = 0; i < COMMITS; i++) {
		write_events(writer, synth, COMMIT_EVERY);
		ok(ft_writer_commit(writer, true));
	}
	ok(ft_writer_finish(writer));
	ok(ft_reader_open(path, 0, &reader));

	size_t last = ft_reader_n_chunks(reader) - 1;
	uint64_t span = ft_reader_chunk_info(reader, last)->last_ns -
			ft_reader_chunk_info(reader, 0)->first_ns;

	ck_assert_uint_gt(ft_reader_first_seq(reader), 0);
	ck_assert_uint_ge(span, age * 9 / 10);
	ck_assert_uint_le(span, age * 3 / 2);
	ck_assert_uint_eq(check_whole(reader), (uint64_t)COMMITS * COMMIT_EVERY);
	ft_reader_close(reader);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

START_TEST(lower_budget_makes_the_file_shorter)
{
	const char *path = fresh_path();
	struct synth *synth = traffic();
	struct ft_writer *writer = start(path, synth, &(struct ft_limits){.max_bytes = 8 << 20});
	struct ft_reader *reader;

	for (int i = 0; i < 200; i++) {
		write_events(writer, synth, COMMIT_EVERY);
		ok(ft_writer_commit(writer, true));
	}
	ck_assert_uint_gt(bytes_of(path, ""), 3 << 19);
	ok(ft_writer_set_limits(writer, &(struct ft_limits){.max_bytes = 1 << 20}));
	for (int i = 0; i < 40; i++) {
		write_events(writer, synth, COMMIT_EVERY);
		ok(ft_writer_commit(writer, true));
	}
	ok(ft_writer_finish(writer));
	ck_assert_uint_le(bytes_of(path, ""), (1 << 20) + (1 << 15));
	ok(ft_reader_open(path, 0, &reader));
	ck_assert_uint_eq(check_whole(reader), 240 * COMMIT_EVERY);
	ft_reader_close(reader);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

/* ---- pages ------------------------------------------------------------------------------------
 */

struct counter {
	uint64_t n_events, n_blocks, bytes; /* live, by all that it was shown */
	unsigned n_counts, fail_at;
};

static bool counter_events(void *ctx, const struct ft_event *events, size_t n)
{
	struct counter *c = ctx;

	c->n_events += n;
	return true;
}

/* Makes up a page for each block, and checks that blocks come by address. */
static bool counter_count(void *ctx, struct ft_page_blocks *blocks, struct ft_page_rollup *ret)
{
	struct counter *c = ctx;
	struct ft_event birth;
	uint64_t last = 0;

	if (++c->n_counts == c->fail_at)
		return false;
	while (ft_page_blocks_next(blocks, &birth)) {
		ck_assert_uint_gt(birth.address, last);
		last = birth.address;
		ret->n_blocks++;
		ret->live_bytes += birth.size;
	}
	ret->page_bytes = 4096;
	ret->n_pages = c->n_events;
	for (unsigned i = 0; i < FT_PAGES_HOLES; i++) {
		ret->holes[i] = i;
		ret->holes_bytes[i] = UINT64_C(1) << i;
	}
	ret->occupancy[10] = 7;
	ret->orders[3] = UINT64_MAX;
	ret->n_pins = 2;
	ret->pins[0] = (struct ft_page_pin){.site = UINT32_MAX, .sole = 1, .shapley = 2, .any = 3};
	ret->pins[1] = (struct ft_page_pin){.site = 1};
	return true;
}

static void counter_module(void *ctx, const char *path)
{
}

struct seen_pages {
	uint64_t n, last_seq;
};

static struct ft_error *see_pages(void *ctx, const struct ft_page_rollup *pages)
{
	struct seen_pages *seen = ctx;

	ck_assert_uint_gt(pages->seq, seen->last_seq);
	ck_assert_uint_eq(pages->n_pages, pages->seq); /* it had seen all events before */
	ck_assert_uint_eq(pages->holes[47], 47);
	ck_assert_uint_eq(pages->holes_bytes[47], UINT64_C(1) << 47);
	ck_assert_uint_eq(pages->occupancy[10], 7);
	ck_assert_uint_eq(pages->orders[3], UINT64_MAX);
	ck_assert_uint_eq(pages->n_pins, 2);
	ck_assert_uint_eq(pages->pins[0].site, UINT32_MAX);
	ck_assert_uint_eq(pages->pins[0].any, 3);
	seen->last_seq = pages->seq;
	seen->n++;
	return NULL;
}

static void read_pages(const char *path, struct seen_pages *seen)
{
	struct ft_reader *reader;

	*seen = (struct seen_pages){0};
	ok(ft_reader_open(path, 0, &reader));
	ok(ft_reader_page_rollups(reader, see_pages, seen));
	ft_reader_close(reader);
}

static void refused(const char *path, const char *statements, const char *words)
{
	struct seen_pages seen = {0};
	struct ft_reader *reader;

	sql(path, statements);
	ok(ft_reader_open(path, 0, &reader));
	fails(ft_reader_page_rollups(reader, see_pages, &seen), FT_ERROR_INPUT, words);
	ft_reader_close(reader);
}

START_TEST(pages_are_as_the_counter_said_and_damage_is_seen)
{
	const char *path = fresh_path();
	struct synth *synth = traffic();
	struct counter counter = {0};
	const struct ft_page_counter ops = {.ctx = &counter,
					    .module = counter_module,
					    .events = counter_events,
					    .count = counter_count};
	struct ft_writer *writer = start(path, synth, &(struct ft_limits){.max_bytes = 1 << 20});
	struct seen_pages seen;

	ok(ft_writer_set_pages(writer, &ops));
	for (int i = 0; i < 120; i++) {
		write_events(writer, synth, COMMIT_EVERY);
		ok(ft_writer_commit(writer, true));
	}
	ok(ft_writer_finish(writer));
	read_pages(path, &seen);
	ck_assert_uint_gt(seen.n, 4);
	ck_assert_uint_ge(counter.n_counts, seen.n);
	refused(path,
		"UPDATE page_rollup SET pins = x'00' WHERE id = (SELECT max(id) FROM page_rollup)",
		"page roll-up");
	refused(path,
		"UPDATE page_rollup SET page_bytes = 1 WHERE id = (SELECT min(id) FROM "
		"page_rollup)",
		"out of range");
	/* As an earlier writer left it. */
	sql(path, "DROP TABLE page_rollup; CREATE TABLE page_rollup(id INTEGER PRIMARY KEY, "
		  "level INTEGER)");
	read_pages(path, &seen);
	ck_assert_uint_eq(seen.n, 0);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

START_TEST(counter_that_fails_ends_nothing_but_the_counting)
{
	enum { COMMITS = 40 };
	const char *path = fresh_path();
	struct synth *synth = traffic();
	struct counter counter = {.fail_at = 3};
	const struct ft_page_counter ops = {.ctx = &counter,
					    .module = counter_module,
					    .events = counter_events,
					    .count = counter_count};
	struct ft_writer *writer =
		start(path, synth, &(struct ft_limits){.max_bytes = SMALL_BUDGET});
	struct seen_pages seen;
	struct ft_reader *reader;

	ok(ft_writer_set_pages(writer, &ops));
	for (int i = 0; i < COMMITS; i++) {
		write_events(writer, synth, COMMIT_EVERY);
		ok(ft_writer_commit(writer, true));
	}
	ok(ft_writer_finish(writer));
	ck_assert_uint_eq(counter.n_counts, 3);
	read_pages(path, &seen);
	ck_assert_uint_eq(seen.n, 2);
	ok(ft_reader_open(path, 0, &reader));
	ck_assert_uint_eq(check_whole(reader), (uint64_t)COMMITS * COMMIT_EVERY);
	ft_reader_close(reader);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

START_TEST(limits_come_before_events)
{
	const char *path = fresh_path();
	struct synth *synth = traffic();
	struct ft_writer *writer;

	ok(ft_writer_create(path, &writer));
	write_stacks(writer, synth);
	write_events(writer, synth, 1);
	fails(ft_writer_set_limits(writer, &(struct ft_limits){.max_bytes = 1 << 20}),
	      FT_ERROR_USAGE, "can't be set any more");
	ft_writer_discard(writer);
	synth_destroy(synth);
}
END_TEST

/* ---- faults -----------------------------------------------------------------------------------
 */

enum { BEFORE = 60, STEPPED = 6 }; /* commits without and with a stop at each system call */

/* Folds at nearly each commit. */
static pid_t start_folding(const char *path)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct synth *synth = traffic();
		struct ft_writer *writer =
			start(path, synth, &(struct ft_limits){.max_bytes = SMALL_BUDGET});

		for (int i = 0; i < BEFORE + STEPPED; i++) {
			if (i == BEFORE) {
				if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
					_exit(77);
				raise(SIGSTOP);
			}
			write_events(writer, synth, COMMIT_EVERY);
			ok(ft_writer_commit(writer, true));
		}
		_exit(0);
	}
	return pid;
}

static void copy_file(const char *path, const char *copy, const char *suffix)
{
	static char bytes[1 << 20];
	char from[96], to[96];
	ssize_t n;

	snprintf(from, sizeof(from), "%s%s", path, suffix);
	snprintf(to, sizeof(to), "%s%s", copy, suffix);
	unlink(to);

	int in = open(from, O_RDONLY | O_CLOEXEC);

	if (in < 0)
		return;

	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_int_ge(out, 0);
	while ((n = read(in, bytes, sizeof(bytes))) > 0)
		ck_assert_int_eq(write(out, bytes, (size_t)n), n);
	close(in);
	close(out);
}

START_TEST(writer_killed_while_it_folds_leaves_all_that_was_committed)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
	const char *path = fresh_path();
	char copy[80], beside[96];
	uint64_t seen = (uint64_t)BEFORE * COMMIT_EVERY, first_seq = 0;
	int status = 0, n_folds = 0;
	pid_t pid = start_folding(path);

	snprintf(copy, sizeof(copy), "%s.copy", path);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	while (WIFSTOPPED(status)) {
		struct ft_reader *reader;

		for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
			copy_file(path, copy, suffixes[i]);
		ok(ft_reader_open(copy, FT_READER_NO_WAIT, &reader));

		uint64_t n = check_whole(reader);

		/* Whole commits, and none goes back. */
		ck_assert_uint_ge(n, seen);
		ck_assert_uint_eq(n % COMMIT_EVERY, 0);
		seen = n;
		n_folds += ft_reader_first_seq(reader) != first_seq;
		first_seq = ft_reader_first_seq(reader);
		ft_reader_close(reader);
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	}
	ck_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		fprintf(stderr, "# skipped: ptrace is not permitted here\n");
		return;
	}
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_uint_eq(seen, (uint64_t)(BEFORE + STEPPED) * COMMIT_EVERY);
	ck_assert_int_ge(n_folds, 2);
	fresh_path();
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		snprintf(beside, sizeof(beside), "%s%s", copy, suffixes[i]);
		unlink(beside);
	}
}
END_TEST

/* The child's files may not become longer than so: each write past it fails. */
static void fill_up(const char *path, uint64_t limit, int report)
{
	struct synth *synth = traffic();
	struct ft_writer *writer =
		start(path, synth, &(struct ft_limits){.max_bytes = SMALL_BUDGET});
	uint64_t n = 0;

	signal(SIGXFSZ, SIG_IGN);
	for (int i = 0; i < BEFORE + STEPPED; i++) {
		if (i == BEFORE)
			setrlimit(RLIMIT_FSIZE,
				  &(struct rlimit){.rlim_cur = limit, .rlim_max = limit});
		write_events(writer, synth, COMMIT_EVERY);

		struct ft_error *error = ft_writer_commit(writer, true);

		if (error)
			break;
		n += COMMIT_EVERY;
	}
	ck_assert_int_eq(write(report, &n, sizeof(n)), sizeof(n));
	_exit(0);
}

START_TEST(full_disk_while_it_folds_loses_nothing_that_was_committed)
{
	uint64_t limit = UINT64_C(4096) * (uint64_t)(1 + _i * _i * 3), committed = 0, n;
	const char *path = fresh_path();
	struct ft_reader *reader;
	int ends[2], status;

	ck_assert_int_eq(pipe(ends), 0);

	pid_t pid = fork();

	if (pid == 0)
		fill_up(path, limit, ends[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_int_eq(read(ends[0], &committed, sizeof(committed)), sizeof(committed));
	ok(ft_reader_open(path, FT_READER_NO_WAIT, &reader));
	ck_assert_uint_ge(committed, (uint64_t)BEFORE * COMMIT_EVERY);
	/* Whole commits. The last one may have been made, and what is tidied up after it not. */
	n = check_whole(reader);
	ck_assert(n == committed || n == committed + COMMIT_EVERY);
	ft_reader_close(reader);
	close(ends[0]);
	close(ends[1]);
	fresh_path();
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("budget");

	tcase_set_timeout(tcase, 100);
	tcase_add_test(tcase, keyframes_are_the_live_heap);
	tcase_add_test(tcase, budget_is_kept_and_nothing_is_lost);
	tcase_add_test(tcase, old_events_go_by_age);
	tcase_add_test(tcase, lower_budget_makes_the_file_shorter);
	tcase_add_test(tcase, pages_are_as_the_counter_said_and_damage_is_seen);
	tcase_add_test(tcase, counter_that_fails_ends_nothing_but_the_counting);
	tcase_add_test(tcase, limits_come_before_events);
	tcase_add_test(tcase, writer_killed_while_it_folds_leaves_all_that_was_committed);
	tcase_add_loop_test(tcase, full_disk_while_it_folds_loses_nothing_that_was_committed, 0, 8);
	return run_suite("budget", tcase);
}

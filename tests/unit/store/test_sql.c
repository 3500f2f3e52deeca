/* SPDX-License-Identifier: MIT */
/*
 * The computed tables against a naive model
 *
 * The model keeps all events and blocks in plain arrays; a query with and without constraints must
 * say what a loop over them says. The work that a query does is counted in chunks, not in time.
 */
#include "store_test.h"

#include "ft_reader.h"

enum { N_EVENTS = 400000 };

struct model_block {
	struct ft_event born, died;
	bool has_died;
};

static struct ft_event *events;
static struct model_block *blocks;
static size_t n_blocks;
static struct ft_reader *reader;

static void model_died(uint64_t address, const struct ft_event *event)
{
	/* From the newest on: naive, but blocks die young here. */
	for (size_t i = n_blocks; i-- > 0;) {
		struct model_block *block = &blocks[i];

		if (block->born.address != address || block->has_died)
			continue;
		block->died = *event;
		block->has_died = true;
		return;
	}
}

static void setup(void)
{
	const struct synth_options options = {
		.seed = 11, .n_threads = 5, .n_sites = 3000, .n_live = 500, .leak_every = 3};
	struct synth *synth = synth_create(&options);
	const char *path = fresh_path();

	events = calloc(N_EVENTS, sizeof(*events));
	blocks = calloc(N_EVENTS, sizeof(*blocks));
	n_blocks = 0;
	for (size_t i = 0; i < N_EVENTS; i++) {
		struct ft_event *event = &events[i];

		synth_next(synth, event);
		event->time_ns = event->time_ns >> 7 << 7;
		if (event->kind == FT_EVENT_FREE)
			model_died(event->address, event);
		if (event->kind == FT_EVENT_REALLOC)
			model_died(event->old_address, event);
		if (event->kind != FT_EVENT_FREE)
			blocks[n_blocks++].born = *event;
	}
	synth_destroy(synth);
	make_recording(path, &options, N_EVENTS);
	ok(ft_reader_open(path, 0, &reader));
}

static void teardown(void)
{
	unlink(ft_reader_path(reader));
	ft_reader_close(reader);
	free(events);
	free(blocks);
}

/* The columns of the one row of a query. */
static void ask(const char *text, int64_t *values, int n)
{
	sqlite3_stmt *stmt;
	sqlite3 *db = ft_reader_sql(reader);

	if (sqlite3_prepare_v2(db, text, -1, &stmt, NULL) != SQLITE_OK ||
	    sqlite3_step(stmt) != SQLITE_ROW)
		ck_abort_msg("%s: %s", text, sqlite3_errmsg(db));
	for (int i = 0; i < n; i++)
		values[i] = sqlite3_column_int64(stmt, i);
	sqlite3_finalize(stmt);
}

/* Conditions as SQL and as C, tried on `event`. */
static bool w_all(const struct ft_event *e)
{
	return true;
}
static bool w_time(const struct ft_event *e)
{
	return e->time_ns >= 30000000 && e->time_ns < 50000000;
}
static bool w_real(const struct ft_event *e)
{
	return (double)e->time_ns <= 1.25e6 + 0.5;
}
static bool w_seq(const struct ft_event *e)
{
	return e->seq > 70000 && e->seq <= 70010;
}
static bool w_one(const struct ft_event *e)
{
	return e->seq == 131072;
}
static bool w_none(const struct ft_event *e)
{
	return false;
}
static bool w_thread(const struct ft_event *e)
{
	return e->thread == 3;
}
static bool w_stack(const struct ft_event *e)
{
	return e->stack == events[1].stack;
}
static bool w_address(const struct ft_event *e)
{
	return e->address == events[100].address;
}
static bool w_mixed(const struct ft_event *e)
{
	return e->thread == 2 && e->address > events[100].address && e->time_ns > 1000000 &&
	       e->kind == FT_EVENT_ALLOC;
}

/* 1$ time, 2$ sequence, 3$ "is an alloc", 4$ a stack, 5$ an address. */
static const struct {
	const char *where;
	bool (*holds)(const struct ft_event *event);
} conditions[] = {
	{"1", w_all},
	{"%1$s >= 30000000 AND %1$s < 50000000", w_time},
	{"%1$s <= 1.25e6 + 0.5", w_real},
	{"%2$s > 70000 AND %2$s <= 70010", w_seq},
	{"%2$s = 131072", w_one},
	{"%2$s = NULL", w_none},
	{"%2$s > 100 AND %2$s < 100", w_none},
	{"%1$s < -5", w_none},
	{"%2$s >= 9000000000", w_none},
	{"stack = 'text'", w_none},
	{"%1$s > -5.5", w_all},
	{"thread = 3", w_thread},
	{"stack = %4$lld", w_stack},
	{"address = %5$lld", w_address},
	{"thread = 2 AND address > %5$lld AND %1$s > 1000000 AND %3$s", w_mixed},
};

static void spell(char *where, size_t size, int i, const char *time, const char *seq,
		  const char *is_alloc)
{
	snprintf(where, size, conditions[i].where, time, seq, is_alloc, (long long)events[1].stack,
		 (long long)events[100].address);
}

static void check_events(int c)
{
	char where[256], text[512];
	int64_t got[4], want[4] = {0};

	spell(where, sizeof(where), c, "time_ns", "seq", "kind = 'alloc'");
	snprintf(text, sizeof(text),
		 "SELECT count(*), total(seq), total(size), total(old_address) FROM event WHERE %s",
		 where);
	for (size_t i = 0; i < N_EVENTS; i++) {
		if (!conditions[c].holds(&events[i]))
			continue;
		want[0]++;
		want[1] += (int64_t)events[i].seq;
		want[2] += (int64_t)(events[i].kind == FT_EVENT_FREE ? 0 : events[i].size);
	}
	ask(text, got, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_msg(got[i] == want[i], "%s: column %d is %lld, not %lld", where, i,
			      (long long)got[i], (long long)want[i]);
}

/* The same conditions on births. */
static void check_allocations(int c)
{
	char where[256], text[512];
	int64_t got[6], want[6] = {0};

	spell(where, sizeof(where), c, "born_ns", "born_seq", "api <> 'realloc'");
	snprintf(text, sizeof(text),
		 "SELECT count(*), total(requested), count(died_seq), total(died_ns - born_ns),"
		 " total(freed_by), total(usable) FROM allocation WHERE %s",
		 where);
	for (size_t i = 0; i < n_blocks; i++) {
		const struct model_block *block = &blocks[i];

		if (!conditions[c].holds(&block->born))
			continue;
		want[0]++;
		want[1] += (int64_t)block->born.size;
		want[5] += (int64_t)block->born.usable;
		if (!block->has_died)
			continue;
		want[2]++;
		want[3] += (int64_t)(block->died.time_ns - block->born.time_ns);
		want[4] += block->died.thread;
	}
	ask(text, got, 6);
	for (int i = 0; i < 6; i++)
		ck_assert_msg(got[i] == want[i], "%s: column %d is %lld, not %lld", text, i,
			      (long long)got[i], (long long)want[i]);
}

static const int n_conditions = (int)(sizeof(conditions) / sizeof(conditions[0]));

START_TEST(event_says_what_a_loop_says)
{
	for (int i = 0; i < n_conditions; i++)
		check_events(i);
}
END_TEST

START_TEST(allocation_says_what_a_loop_says)
{
	for (int i = 0; i < n_conditions; i++)
		check_allocations(i);
}
END_TEST

START_TEST(narrow_queries_decode_few_chunks)
{
	static const struct {
		const char *text;
		uint64_t most;
	} cases[] = {
		{"SELECT count(*) FROM event WHERE seq = 200000", 1},
		{"SELECT count(*) FROM event WHERE time_ns BETWEEN 100000000 AND 101000000", 2},
		{"SELECT sum(requested) FROM allocation WHERE born_ns BETWEEN 1e8 AND 101000000.0",
		 2},
		{"SELECT * FROM event ORDER BY seq LIMIT 5", 1},
		{"SELECT count(*) FROM event WHERE thread = 77", 0},
		{"SELECT count(*) FROM event WHERE address < 4096", 0},
	};
	int64_t value;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t before = reader->catalog.n_decoded;

		ask(cases[i].text, &value, 1);
		ck_assert_msg(reader->catalog.n_decoded - before <= cases[i].most,
			      "%s decoded %llu chunks", cases[i].text,
			      (unsigned long long)(reader->catalog.n_decoded - before));
	}
	ck_assert_uint_gt(ft_reader_n_chunks(reader), 5);
}
END_TEST

START_TEST(stacks_have_names)
{
	const char *path = fresh_path();
	struct synth *synth = synth_create(&(struct synth_options){.n_sites = 8});
	struct ft_stack_node node = synth_node(synth, 0);
	struct ft_symbol_writer *symbols;
	struct ft_writer *writer;
	const uint64_t bias = UINT64_C(0x555555000000);
	int64_t value = 0;

	ft_reader_close(reader);
	ok(ft_writer_create(path, &writer));
	write_stacks(writer, synth);
	ok(ft_writer_module(writer, &(struct ft_module_row){.id = 1,
							    .path = "/usr/bin/prog",
							    .bias = bias,
							    .start = bias,
							    .end = bias + 0x100000,
							    .unload_ns = FT_TIME_NONE}));
	ok(ft_writer_site_total(writer, &(struct ft_site_total_row){.stack = 1, .n_allocs = 1}));
	ok(ft_writer_site_total(writer, &(struct ft_site_total_row){.stack = 2, .n_allocs = 1}));
	ok(ft_writer_finish(writer));
	for (int pass = 0; pass < 2; pass++) {
		ok(ft_symbol_writer_open(path, &symbols));
		ok(ft_symbol_writer_add(symbols, &(struct ft_symbol_row){.module = 1,
									 .offset = node.pc - bias,
									 .function = "inner",
									 .file = "a.c",
									 .line = 12}));
		ok(ft_symbol_writer_add(symbols, &(struct ft_symbol_row){.module = 1,
									 .offset = node.pc - bias,
									 .depth = 1,
									 .function = "outer",
									 .file = "a.c"}));
		if (pass == 0) /* closed without a commit: nothing of it stays */
			ft_symbol_writer_close(symbols);
	}
	ok(ft_symbol_writer_commit(symbols));
	ft_symbol_writer_close(symbols);
	ok(ft_reader_open(path, 0, &reader));
	ask("SELECT count(*) FROM string", &value, 1);
	ck_assert_int_eq(value, 3);
	ask("SELECT count(*) FROM frame WHERE id = 1 AND function = 'inner' AND file = 'a.c' AND"
	    " line = 12 AND module = '/usr/bin/prog'",
	    &value, 1);
	ck_assert_int_eq(value, 1);
	ask("SELECT text = 'inner (a.c:12)' || char(10) || 'outer' FROM stack WHERE id = 1", &value,
	    1);
	ck_assert_int_eq(value, 1);
	ask("SELECT depth FROM stack WHERE id = 12", &value, 1);
	ck_assert_int_eq(value, 12);
	ask("SELECT count(*) FROM site s JOIN stack t ON t.id = s.stack WHERE s.text = t.text",
	    &value, 1);
	ck_assert_int_eq(value, 2);
	ask("SELECT count(*) FROM symbol WHERE function = 'outer' AND depth = 1", &value, 1);
	ck_assert_int_eq(value, 1);
	synth_destroy(synth);
}
END_TEST

/* The extension in the sqlite3 shell gives the same tables. FRAGTRACE_SQLITE names it. */
#ifndef __SANITIZE_ADDRESS__
START_TEST(extension_gives_the_same_tables)
{
	char command[512], line[128] = "", want[128];
	const char *extension = getenv("FRAGTRACE_SQLITE");
	FILE *pipe;
	int64_t births;

	ck_assert_ptr_nonnull(extension);
	ask("SELECT count(*) FROM allocation WHERE died_seq IS NULL", &births, 1);
	snprintf(command, sizeof(command),
		 "sqlite3 -readonly %s '.load %s' \"SELECT (SELECT count(*) FROM event) || ' ' ||"
		 " (SELECT count(*) FROM allocation WHERE died_seq IS NULL) || ' ' ||"
		 " (SELECT count(*) > 100 FROM frame) || ' ' || (SELECT max(depth) FROM stack)\"",
		 ft_reader_path(reader), extension);
	snprintf(want, sizeof(want), "%d %lld 1 12\n", N_EVENTS, (long long)births);
	pipe = popen(command, "r");
	ck_assert_ptr_nonnull(pipe);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), pipe));
	ck_assert_int_eq(pclose(pipe), 0);
	ck_assert_str_eq(line, want);

	snprintf(command, sizeof(command), "sqlite3 :memory: '.load %s' 2>&1", extension);
	pipe = popen(command, "r");
	ck_assert_ptr_nonnull(pipe);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), pipe));
	pclose(pipe);
	ck_assert_ptr_nonnull(strstr(line, "not a fragtrace recording"));
}
END_TEST
#endif

int main(void)
{
	TCase *tcase = tcase_create("sql");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, event_says_what_a_loop_says);
	tcase_add_test(tcase, allocation_says_what_a_loop_says);
	tcase_add_test(tcase, narrow_queries_decode_few_chunks);
	tcase_add_test(tcase, stacks_have_names);
#ifndef __SANITIZE_ADDRESS__ /* the shell has no runtime of it */
	tcase_add_test(tcase, extension_gives_the_same_tables);
#endif
	return run_suite("sql", tcase);
}

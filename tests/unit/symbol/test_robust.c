/* SPDX-License-Identifier: MIT */
/* What must not go wrong: damaged files, dying workers, deadlines, and the cache. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache.h"
#include "fixture.h"

static char scratch[] = "/tmp/ft-symbol-XXXXXX";

static const char *in_scratch(const char *name)
{
	static char paths[16][128];
	static int next;

	next = (next + 1) % 16;
	snprintf(paths[next], sizeof(paths[next]), "%s/%s", scratch, name);
	return paths[next];
}

static char *read_whole(const char *path, size_t *size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0 && fstat(fd, &st) == 0, "cannot open %s", path);
	char *data = malloc((size_t)st.st_size);
	*size = (size_t)st.st_size;
	ck_assert_int_eq(read(fd, data, *size), st.st_size);
	close(fd);
	return data;
}

static void write_whole(const char *path, const char *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
	close(fd);
}

/* ---- worker ---------------------------------------------------------------------------------- */

START_TEST(a_worker_gives_the_answers_of_the_same_work_done_here)
{
	static const char *const labels[] = {"innermost", "local", "outer_end", "renamed"};
	const char *path = fixture_path("plain");
	struct ft_lookup lookups[4];
	for (size_t i = 0; i < 4; i++) {
		uint64_t address = fixture_address("plain", labels[i]);
		lookups[i] = (struct ft_lookup){.offset = address, .address = address};
	}
	for (size_t i = 0; i < 4; i++) /* few enough to sort like this */
		for (size_t j = i + 1; j < 4; j++)
			if (lookups[j].address < lookups[i].address) {
				struct ft_lookup swap = lookups[i];
				lookups[i] = lookups[j];
				lookups[j] = swap;
			}
	struct ft_job job = {.identity = {.path = path, .build_id = fixture_build_id(path)},
			     .lookups = lookups,
			     .n = 4};
	struct ft_job_settings settings = fixture_settings();
	struct answers here, there;

	struct ft_job_sink sink = answers_sink(&here);
	ck_assert_ptr_null(ft_jobs_run(&job, 1, &settings, &sink));
	sink = answers_sink(&there);
	ck_assert_ptr_null(ft_jobs_run_isolated(&job, 1, &settings, &sink));

	ck_assert_uint_eq(here.n, 6);
	ck_assert_uint_eq(here.n, there.n);
	ck_assert_uint_eq(there.n_ends, 1);
	for (size_t i = 0; i < here.n; i++) {
		ck_assert_uint_eq(here.frames[i].offset, there.frames[i].offset);
		ck_assert_uint_eq(here.frames[i].depth, there.frames[i].depth);
		ck_assert_uint_eq(here.frames[i].line, there.frames[i].line);
		ck_assert_str_eq(here.frames[i].function, there.frames[i].function);
		ck_assert_str_eq(here.frames[i].file, there.frames[i].file);
	}
	answers_deinit(&here);
	answers_deinit(&there);
}
END_TEST

/* Lookups at an address that can't be read stand for a parser that crashes. */
START_TEST(a_crash_costs_the_names_of_one_module)
{
	uint64_t address = fixture_address("plain", "local");
	struct ft_lookup lookup = {.offset = address, .address = address};
	const char *path = fixture_path("plain");
	struct ft_object_identity identity = {.path = path, .build_id = fixture_build_id(path)};
	const struct ft_lookup *nowhere = (const void *)(uintptr_t)8;
	struct ft_job jobs[] = {
		{.module = 1, .identity = identity, .lookups = &lookup, .n = 1},
		{.module = 2, .identity = identity, .lookups = nowhere, .n = 1},
		{.module = 3, .identity = identity, .lookups = nowhere, .n = 1},
		{.module = 4, .identity = identity, .lookups = &lookup, .n = 1},
	};
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;

	for (size_t n = 1; n <= 4; n++) {
		struct ft_job_sink sink = answers_sink(&answers);
		ck_assert_ptr_null(ft_jobs_run_isolated(jobs, n, &settings, &sink));
		ck_assert_uint_eq(answers.n_ends, n);
		ck_assert_uint_eq(answers.n, n < 4 ? 1 : 2);
		ck_assert_uint_eq(answers.end.status,
				  n == 2 || n == 3 ? FT_OBJECT_DAMAGED : FT_OBJECT_OK);
		answers_deinit(&answers);
	}
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left behind */
}
END_TEST

START_TEST(the_deadline_ends_a_run_that_would_take_longer)
{
	enum { N = 200000 };
	uint64_t address = fixture_address("plain", "local");
	struct ft_lookup lookup = {.offset = address, .address = address};
	const char *path = fixture_path("plain");
	const char *id = fixture_build_id(path);
	struct ft_job *jobs = calloc(N, sizeof(*jobs));
	for (size_t i = 0; i < N; i++)
		jobs[i] = (struct ft_job){
			.identity = {.path = path, .build_id = id}, .lookups = &lookup, .n = 1};

	for (int isolated = 0; isolated < 2; isolated++) {
		struct ft_job_settings settings = fixture_settings();
		struct answers answers;
		struct ft_job_sink sink = answers_sink(&answers);
		double start = ft_monotonic_seconds();
		settings.deadline = start + 0.3;
		ck_assert_ptr_null(
			(isolated ? ft_jobs_run_isolated : ft_jobs_run)(jobs, N, &settings, &sink));
		ck_assert_double_lt(ft_monotonic_seconds() - start, 5);
		ck_assert_uint_gt(answers.n_ends, 0);
		ck_assert_uint_lt(answers.n_ends, N);
		answers_deinit(&answers);
	}
	free(jobs);
}
END_TEST

/* Bytes changed at random, everywhere and in the DWARF sections' part of the file, and files cut
 * short. Any answer is fine, an end is owed. */
static void damage(unsigned seed, const char *original, size_t size)
{
	char *data = malloc(size);
	memcpy(data, original, size);
	srand(seed);
	size_t from = seed % 2 ? size / 3 : 0;
	int n = 1 + rand() % 40;
	for (int i = 0; i < n; i++)
		data[from + (size_t)rand() % (size - from)] = (char)rand();
	if (seed % 5 == 0)
		size = (size_t)rand() % size;
	write_whole(in_scratch("damaged"), data, size);
	free(data);
}

START_TEST(damaged_files_end_in_time_and_without_harm)
{
	static const char *const labels[] = {"innermost", "local", "renamed"};
	size_t size;
	char *original = read_whole(fixture_path("plain"), &size);
	char id[130];
	snprintf(id, sizeof(id), "%s", fixture_build_id(fixture_path("plain")));
	struct ft_job_settings settings = fixture_settings();
	size_t n_named = 0;

	settings.debug_dirs = "/nowhere";
	settings.deadline = ft_monotonic_seconds() + 100;
	for (unsigned seed = 1; seed <= 120; seed++) {
		uint64_t address = fixture_address("plain", labels[seed % 3]);
		struct ft_lookup lookup = {.offset = address, .address = address};
		struct ft_job job = {.identity = {.path = in_scratch("damaged"), .build_id = id},
				     .lookups = &lookup,
				     .n = 1};
		struct answers answers;
		struct ft_job_sink sink = answers_sink(&answers);

		damage(seed, original, size);
		ck_assert_ptr_null(ft_jobs_run_isolated(&job, 1, &settings, &sink));
		ck_assert_uint_eq(answers.n_ends, 1);
		n_named += answers.n > 0;
		answers_deinit(&answers);
	}
	/* The damage must leave something to parse, or the test says nothing. */
	ck_assert_uint_gt(n_named, 20);
	free(original);
}
END_TEST

/* ---- cache ----------------------------------------------------------------------------------- */

static void ask_cached(const char *label, uint64_t n_cached, size_t n_frames, const char *function)
{
	struct ft_job_settings settings = fixture_settings();
	struct answers answers;
	char path[4096];

	snprintf(path, sizeof(path), "%s", fixture_path("plain"));
	settings.cache_dir = in_scratch("cache/symbols");
	settings.cache_max_bytes = 1 << 20;
	ask(path, fixture_build_id(path), fixture_address("plain", label), &settings, &answers);
	ck_assert_uint_eq(answers.end.n_cached, n_cached);
	ck_assert_uint_eq(answers.n, n_frames);
	ck_assert_str_eq(answers.frames[0].function, function);
	ck_assert_str_eq(answers.frames[0].file, SOURCES "/inline.c");
	answers_deinit(&answers);
}

static const char *cache_file(void)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/cache/symbols/%s", scratch,
		 fixture_build_id(fixture_path("plain")));
	return path;
}

START_TEST(a_second_question_is_answered_by_the_cache)
{
	ask_cached("innermost", 0, 3, "innermost");
	ask_cached("innermost", 1, 3, "innermost");
	ask_cached("local", 0, 1, "local_function"); /* added, not replaced */
	ask_cached("local", 1, 1, "local_function");
	ask_cached("innermost", 1, 3, "innermost");
}
END_TEST

START_TEST(a_corrupt_cache_is_as_good_as_none)
{
	ask_cached("innermost", 0, 3, "innermost");
	size_t size;
	char *good = read_whole(cache_file(), &size);
	char *bad = malloc(size);

	for (size_t i = 0; i < size; i += 7) {
		memcpy(bad, good, size);
		bad[i] = (char)(bad[i] ^ 0x41);
		write_whole(cache_file(), bad, size);
		ask_cached("innermost", 0, 3, "innermost");
	}
	for (size_t cut = 0; cut < size; cut += 11) {
		write_whole(cache_file(), good, cut);
		ask_cached("innermost", 0, 3, "innermost");
	}
	ask_cached("innermost", 1, 3, "innermost");
	free(bad);
	free(good);
}
END_TEST

/* A checksum can be forged or collide: references are checked for themselves. */
START_TEST(names_of_other_files_are_not_taken_from_the_cache)
{
	struct ft_frame_table table;
	ft_frame_table_init(&table);
	ft_frame_table_begin(&table, 1);
	ft_frame_table_push(&table, "function", "file", 1);
	const char *dir = in_scratch("cache2");
	ck_assert(ft_cache_store(dir, "abcd", "these files", &table, 1 << 20));
	ft_frame_table_deinit(&table);

	ft_frame_table_init(&table);
	ck_assert(!ft_cache_load(dir, "abcd", "those files", &table));
	ck_assert(!ft_cache_load(dir, "abce", "these files", &table));
	ck_assert(!ft_cache_load(dir, "../cache2/abcd", "these files", &table));
	ck_assert(ft_cache_load(dir, "abcd", "these files", &table));
	ck_assert_uint_eq(table.n_entries, 1);
	ck_assert_str_eq(table.frames[0].function, "function");
	ft_frame_table_deinit(&table);

	/* A directory that others can write to is nobody's cache. */
	ft_frame_table_init(&table);
	ck_assert_int_eq(chmod(dir, 0777), 0);
	ck_assert(!ft_cache_load(dir, "abcd", "these files", &table));
	ck_assert(!ft_cache_store(dir, "abcd", "these files", &table, 1 << 20));
	ft_frame_table_deinit(&table);
}
END_TEST

START_TEST(the_cache_keeps_to_its_size_and_drops_the_oldest)
{
	enum { FILES = 40, MAX_BYTES = 256 << 10 };
	struct ft_frame_table table;
	ft_frame_table_init(&table);
	for (uint64_t i = 0; i < 500; i++) {
		char name[64];
		snprintf(name, sizeof(name), "function_%d", (int)i);
		ft_frame_table_begin(&table, i);
		ft_frame_table_push(&table, name, "file", 1);
	}
	const char *dir = in_scratch("cache3");
	for (int i = 0; i < FILES; i++) {
		char id[16];
		snprintf(id, sizeof(id), "%04x", i);
		ck_assert(ft_cache_store(dir, id, "x", &table, MAX_BYTES));
		struct timespec times[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};
		char path[256];
		snprintf(path, sizeof(path), "%s/%s", dir, id);
		ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
	}
	ft_frame_table_deinit(&table);

	uint64_t total = 0;
	size_t n = 0;
	DIR *list = opendir(dir);
	for (struct dirent *item; (item = readdir(list));) {
		struct stat st;
		if (item->d_name[0] == '.')
			continue;
		ck_assert_int_eq(fstatat(dirfd(list), item->d_name, &st, 0), 0);
		total += (uint64_t)st.st_blocks * 512;
		n++;
		ck_assert_int_gt(strtol(item->d_name, NULL, 16), 20);
	}
	closedir(list);
	ck_assert_uint_le(total, MAX_BYTES);
	ck_assert_uint_gt(n, 1);
}
END_TEST

START_TEST(writers_at_the_same_time_leave_a_whole_file)
{
	enum { WRITERS = 4, ROUNDS = 100 };
	char dir[64];
	snprintf(dir, sizeof(dir), "%s", in_scratch("cache4"));
	pid_t pids[WRITERS];

	for (int w = 0; w < WRITERS; w++) {
		pids[w] = fork();
		if (pids[w] != 0)
			continue;
		for (int round = 0; round < ROUNDS; round++) {
			struct ft_frame_table table;
			ft_frame_table_init(&table);
			for (uint64_t i = 0; i < 50; i++) {
				ft_frame_table_begin(&table, i);
				ft_frame_table_push(&table, w % 2 ? "odd" : "even", NULL, 0);
			}
			ft_cache_store(dir, "abcd", "x", &table, 1 << 20);
			ft_frame_table_deinit(&table);
		}
		_exit(0);
	}
	char file[128];
	size_t n_loaded = 0;
	snprintf(file, sizeof(file), "%s/abcd", dir);
	for (int running = WRITERS; running > 0;) {
		struct ft_frame_table table;
		ft_frame_table_init(&table);
		if (access(file, R_OK) == 0) {
			ck_assert(ft_cache_load(dir, "abcd", "x", &table));
			ck_assert_uint_eq(table.n_entries, 50);
			ck_assert_str_eq(table.frames[0].function, table.frames[49].function);
			n_loaded++;
		}
		ft_frame_table_deinit(&table);
		if (waitpid(-1, NULL, WNOHANG) > 0)
			running--;
	}
	ck_assert_uint_gt(n_loaded, 0);
}
END_TEST

static void make_scratch(void)
{
	snprintf(scratch, sizeof(scratch), "/tmp/ft-symbol-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(scratch));
}

static void remove_scratch(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", scratch);
	ck_assert_int_eq(system(command), 0);
}

int main(void)
{
	Suite *suite = suite_create("symbol-robust");
	TCase *tc = tcase_create("robust");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, make_scratch, remove_scratch);
	tcase_add_test(tc, a_worker_gives_the_answers_of_the_same_work_done_here);
	tcase_add_test(tc, a_crash_costs_the_names_of_one_module);
	tcase_add_test(tc, the_deadline_ends_a_run_that_would_take_longer);
	tcase_add_test(tc, damaged_files_end_in_time_and_without_harm);
	tcase_add_test(tc, a_second_question_is_answered_by_the_cache);
	tcase_add_test(tc, a_corrupt_cache_is_as_good_as_none);
	tcase_add_test(tc, names_of_other_files_are_not_taken_from_the_cache);
	tcase_add_test(tc, the_cache_keeps_to_its_size_and_drops_the_oldest);
	tcase_add_test(tc, writers_at_the_same_time_leave_a_whole_file);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}

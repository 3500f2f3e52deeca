/* SPDX-License-Identifier: MIT */
/* What a writer with a budget gives back to the file system, and when. */
#include <sys/stat.h>

#include "store_test.h"

static uint64_t file_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static uint64_t free_bytes(const char *path)
{
	return (uint64_t)number_in(path, "PRAGMA freelist_count") * 4096;
}

/* More is written down at the end than events can make room for: what these had goes back to the
 * file system all the same. */
START_TEST(file_that_is_too_long_keeps_no_free_pages)
{
	enum { BUDGET = 1 << 20, GROUP = BUDGET / 32, N_SITES = 60000, COMMIT_EVERY = 5000 };
	const char *path = fresh_path();
	struct synth *synth = synth_create(&(struct synth_options){
		.seed = 7, .n_live = 800, .n_sites = 20, .n_threads = 3, .leak_every = 40});
	struct ft_writer *writer;

	ok(ft_writer_create(path, &writer));
	ok(ft_writer_set_limits(writer, &(struct ft_limits){.max_bytes = BUDGET}));
	write_stacks(writer, synth);
	for (int i = 0; i < 100 + _i; i++) {
		write_events(writer, synth, COMMIT_EVERY);
		ok(ft_writer_commit(writer, true));
	}
	write_events(writer, synth, 100); /* of which the chunk comes last */
	for (uint32_t i = 1; i <= N_SITES; i++)
		ok(ft_writer_site_total(
			writer, &(struct ft_site_total_row){
					.stack = i, .n_allocs = 1 << 20, .peak_bytes = 1 << 30}));
	ok(ft_writer_finish(writer));
	ck_assert_uint_gt(file_bytes(path), BUDGET);
	ck_assert_uint_le(free_bytes(path), GROUP);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("tidy");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, file_that_is_too_long_keeps_no_free_pages, 0, 8);
	return run_suite("tidy", tcase);
}

/* SPDX-License-Identifier: MIT */
/* The collector's parts, one at a time: live table, stacks, timeline, clock, names, /proc, ELF. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

#include "co_cgroup.h"
#include "co_clock.h"
#include "co_elf.h"
#include "co_exit.h"
#include "co_late.h"
#include "co_live.h"
#include "co_name.h"
#include "co_pages.h"
#include "co_past.h"
#include "co_procfs.h"
#include "co_stacks.h"
#include "co_timeline.h"
#include "ft_map.h"

static uint64_t seed;

static uint64_t rnd(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

/* ---- live table ------------------------------------------------------------------------------ */

START_TEST(live_table_agrees_with_a_map)
{
	struct co_live live;
	struct ft_map map;

	seed = (uint64_t)_i;
	co_live_init(&live);
	ft_map_init(&map);
	for (int i = 0; i < 200000; i++) {
		/* Few addresses, so that both outcomes are common; in strides, as heaps have them.
		 */
		uint64_t address = 16 * (1 + rnd(_i % 2 ? 500 : 60000)), value;
		/* Some of which do not fit into a slot: by size, and by slack. */
		uint64_t size = rnd(50) ? (uint64_t)i : (uint64_t)i + UINT32_MAX - 100000;
		uint32_t extra = rnd(50) ? 8 : CO_EXTRA_UNKNOWN - (uint32_t)rnd(2) * 0xffff0000;
		struct co_block block = {.address = address, .size = size, .extra = extra}, old;

		if (rnd(2)) {
			enum co_live_put put = co_live_put(&live, &block, &old);
			bool created;
			uint64_t *at = ft_map_put(&map, address, &created);

			ck_assert_int_eq(put, created ? CO_LIVE_NEW : CO_LIVE_REPLACED);
			if (!created)
				ck_assert_uint_eq(old.size ^ (uint64_t)old.extra << 32, *at);
			*at = size ^ (uint64_t)extra << 32;
		} else {
			bool was = ft_map_remove(&map, address, &value);

			ck_assert_int_eq(co_live_remove(&live, address, &old), was);
			if (was)
				ck_assert_uint_eq(old.size ^ (uint64_t)old.extra << 32, value);
		}
	}
	ck_assert_uint_eq(co_live_count(&live), ft_map_count(&map));
	for (size_t cursor = 0;;) {
		uint64_t address, value;
		struct co_block block;

		if (!ft_map_next(&map, &cursor, &address, &value))
			break;
		ck_assert(co_live_find(&live, address, &block));
		ck_assert_uint_eq(block.address, address);
		ck_assert_uint_eq(block.size ^ (uint64_t)block.extra << 32, value);
	}
	co_live_deinit(&live);
	ft_map_deinit(&map);
}
END_TEST

START_TEST(live_table_costs_at_most_48_bytes_a_block)
{
	struct co_live live;

	co_live_init(&live);
	for (uint64_t i = 1; i <= 1000000; i++) {
		struct co_block block = {.address = 48 * i}, old;

		ck_assert_int_eq(co_live_put(&live, &block, &old), CO_LIVE_NEW);
		if (i >= 10000 && i % 1000 == 0)
			ck_assert_uint_le(co_live_bytes(&live), 48 * i);
	}
	co_live_deinit(&live);
}
END_TEST

START_TEST(expected_deaths_are_taken_once_and_only_by_older_ones)
{
	struct co_late late;

	co_late_init(&late);
	co_late_expect(&late, 0x10, 100, 1000);
	co_late_expect(&late, 0x10, 200, 1000);
	ck_assert(!co_late_take(&late, 0x10, 200));
	ck_assert(!co_late_take(&late, 0x20, 50));
	ck_assert(co_late_take(&late, 0x10, 150));
	ck_assert(co_late_take(&late, 0x10, 90));
	ck_assert(!co_late_take(&late, 0x10, 90));

	/* What never comes is forgotten: the table stays small under endless losses. */
	for (uint64_t i = 0; i < 1000000; i++)
		co_late_expect(&late, 16 * (i + 1), 10 * i, 1000);
	ck_assert_uint_lt(ft_map_count(&late.births), 5000);
	co_late_deinit(&late);
}
END_TEST

/* ---- stacks ---------------------------------------------------------------------------------- */

struct emitted {
	struct ft_stack_node nodes[64];
	size_t n;
};

static void emit_node(void *ctx, const struct ft_stack_node *node)
{
	struct emitted *emitted = ctx;

	ck_assert_uint_lt(emitted->n, 64);
	emitted->nodes[emitted->n++] = *node;
}

static void keep_node(void *ctx, const struct ft_stack_node *node)
{
	*(struct ft_stack_node *)ctx = *node;
}

START_TEST(stacks_get_dense_ids_with_parents_first)
{
	struct ft_segment_node nodes[100] = {[3] = {.pc = 0xa},
					     [7] = {.pc = 0xb, .parent = 3},
					     [50] = {.pc = 0xc, .parent = 7},
					     [9] = {.pc = 0xd, .parent = 3}};
	struct emitted emitted = {0};
	struct co_stacks stacks;
	uint32_t a, b;

	ck_assert(co_stacks_init(&stacks, nodes, 100));
	a = co_stacks_site(&stacks, 50, emit_node, &emitted);
	b = co_stacks_site(&stacks, 9, emit_node, &emitted);
	ck_assert_uint_eq(co_stacks_site(&stacks, 50, emit_node, &emitted), a);
	ck_assert_uint_eq(emitted.n, 4);
	ck_assert_uint_eq(stacks.sites[a].stack, 3);
	ck_assert_uint_eq(stacks.sites[b].stack, 4);
	ck_assert_uint_eq(emitted.nodes[3].parent, 1);
	ck_assert_uint_eq(emitted.nodes[2].pc, 0xc);
	co_stacks_deinit(&stacks);
}
END_TEST

START_TEST(raw_stacks_continue_the_tree)
{
	struct ft_segment_node nodes[100] = {[3] = {.pc = 0xa}, [7] = {.pc = 0xb, .parent = 3}};
	const uint64_t pcs[] = {0xc, 0xd}, other[] = {0xc, 0xe};
	struct emitted emitted = {0};
	struct co_stacks stacks;
	uint32_t first, second, whole, site;

	ck_assert(co_stacks_init(&stacks, nodes, 100));
	first = co_stacks_raw(&stacks, 7, pcs, 2, emit_node, &emitted);
	ck_assert_uint_eq(emitted.n, 4);
	ck_assert_uint_eq(emitted.nodes[2].parent, 2);
	ck_assert_uint_eq(emitted.nodes[3].pc, 0xd);
	/* The same stack once more, in two pieces; then one that shares a frame, and one without
	 * the tree. */
	second = co_stacks_raw(&stacks, 7, pcs, 1, emit_node, &emitted);
	ck_assert_uint_eq(co_stacks_raw(&stacks, second, pcs + 1, 1, emit_node, &emitted), first);
	ck_assert_uint_eq(emitted.n, 4);
	second = co_stacks_raw(&stacks, 7, other, 2, emit_node, &emitted);
	ck_assert_uint_eq(emitted.n, 5);
	ck_assert_uint_eq(emitted.nodes[4].parent, 3);
	whole = co_stacks_raw(&stacks, 0, pcs, 2, emit_node, &emitted);
	ck_assert_uint_eq(emitted.nodes[5].parent, 0);
	ck_assert(first != second && second != whole);

	site = co_stacks_site(&stacks, first, emit_node, &emitted);
	ck_assert_uint_ne(site, 0);
	ck_assert_uint_eq(stacks.sites[site].stack, 4);
	ck_assert_uint_eq(co_stacks_site(&stacks, first, emit_node, &emitted), site);
	ck_assert_uint_eq(emitted.n, 7);
	ck_assert_uint_eq(stacks.n_bad, 0);
	/* What nobody has made leads nowhere. */
	ck_assert_uint_eq(co_stacks_site(&stacks, 100 + 60, emit_node, &emitted), 0);
	ck_assert_uint_eq(co_stacks_raw(&stacks, 100 + 60, pcs, 2, emit_node, &emitted), 0);
	ck_assert_uint_eq(stacks.n_bad, 2);
	co_stacks_deinit(&stacks);
}
END_TEST

START_TEST(many_raw_stacks_are_found_again)
{
	enum { N = 5000 };
	static uint32_t ids[N];
	struct ft_segment_node nodes[2] = {0};
	struct ft_stack_node last = {0};
	struct co_stacks stacks;

	ck_assert(co_stacks_init(&stacks, nodes, 2));
	for (unsigned round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < N; i++) {
			uint64_t pcs[] = {i % 7, i};
			uint32_t id = co_stacks_raw(&stacks, 0, pcs, 2, keep_node, &last);

			ck_assert_uint_ne(id, 0);
			if (round)
				ck_assert_uint_eq(id, ids[i]);
			else
				ck_assert_uint_eq(last.pc, i);
			ids[i] = id;
		}
	}
	ck_assert_uint_eq(stacks.n_file_ids, N + 7);
	co_stacks_deinit(&stacks);
}
END_TEST

START_TEST(scribbled_tries_end_at_no_stack)
{
	struct ft_segment_node nodes[100] = {[5] = {.parent = 5},
					     [6] = {.parent = 8},
					     [8] = {.parent = 6},
					     [9] = {.parent = 4000}};
	struct emitted emitted = {0};
	struct co_stacks stacks;

	ck_assert(co_stacks_init(&stacks, nodes, 100));
	ck_assert_uint_eq(co_stacks_site(&stacks, 5, emit_node, &emitted), 0);
	ck_assert_uint_eq(co_stacks_site(&stacks, 6, emit_node, &emitted), 0);
	ck_assert_uint_eq(co_stacks_site(&stacks, 8, emit_node, &emitted), 0);
	ck_assert_uint_eq(co_stacks_site(&stacks, 9, emit_node, &emitted), 0);
	ck_assert_uint_eq(co_stacks_site(&stacks, 100, emit_node, &emitted), 0);
	ck_assert_uint_eq(co_stacks_site(&stacks, UINT32_MAX, emit_node, &emitted), 0);
	ck_assert_uint_eq(co_stacks_site(&stacks, 0, emit_node, &emitted), 0);
	ck_assert_uint_eq(emitted.n, 0);
	ck_assert_uint_eq(stacks.n_bad, 6);
	co_stacks_deinit(&stacks);
}
END_TEST

/* ---- timeline -------------------------------------------------------------------------------- */

struct rows {
	struct ft_timeline_row rows[8000];
	size_t n;
};

static void keep_row(void *ctx, const struct ft_timeline_row *row, uint64_t interval)
{
	struct rows *rows = ctx;

	ck_assert_uint_lt(rows->n, 8000);
	rows->rows[rows->n++] = *row;
}

START_TEST(timeline_has_the_exact_peak_of_each_interval)
{
	static struct rows rows;
	struct co_timeline timeline;
	uint64_t time = 0, live = 0, peak = 0, highest = 0;
	size_t row = 0;

	seed = 5;
	rows.n = 0;
	co_timeline_init(&timeline);
	while (time < UINT64_C(10000000000)) {
		bool grow = live < 100 || rnd(2);
		uint64_t size = grow ? rnd(1000) : rnd(100);

		time += rnd(3000000);
		co_timeline_advance(&timeline, time, keep_row, &rows);
		for (; row < rows.n; row++) {
			ck_assert_uint_eq(rows.rows[row].peak_bytes, peak);
			ck_assert_uint_eq(rows.rows[row].live_bytes, live);
			ck_assert_uint_le(rows.rows[row].time_ns, time);
			peak = live;
		}
		if (grow)
			timeline.bytes_allocated += size;
		else
			timeline.bytes_freed += size;
		live += grow ? size : -size;
		if (live > peak)
			peak = live;
		if (live > highest)
			highest = live;
		co_timeline_peak(&timeline, time);
	}
	ck_assert_uint_eq(timeline.peak_bytes, highest);
	/* 200 rows in the first 4 s, then 10 a second. */
	ck_assert_uint_ge(rows.n, 258);
	ck_assert_uint_le(rows.n, 262);
}
END_TEST

START_TEST(timeline_of_an_hour_has_less_than_4200_rows)
{
	static struct rows rows;
	struct co_timeline timeline;

	rows.n = 0;
	co_timeline_init(&timeline);
	for (uint64_t time = 0; time <= UINT64_C(3600000000000); time += 50000000)
		co_timeline_advance(&timeline, time, keep_row, &rows);
	co_timeline_finish(&timeline, UINT64_C(3600000000001), keep_row, &rows);
	ck_assert_uint_lt(rows.n, 4200);

	/* A week of sleep is a gap. */
	co_timeline_advance(&timeline, UINT64_C(700000000000000), keep_row, &rows);
	ck_assert_uint_lt(rows.n, 4500);
}
END_TEST

/* ---- clock ----------------------------------------------------------------------------------- */

START_TEST(times_follow_a_clock_whose_rate_drifts_and_never_go_back)
{
	struct co_timebase base;
	struct co_reading now = {UINT64_C(1) << 40, 1000000000};
	uint64_t last = 0;

	co_timebase_init(&base, 1, now, now, 0.4);
	seed = 3;
	for (int i = 0; i < 20000; i++) {
		/* Around 2.5 GHz, up to 100 ppm off, readings 100 ns off. */
		int64_t step = 1000000 + (int64_t)rnd(1000000);
		uint64_t before = now.stamp, stamp, time;
		int64_t before_ns = now.monotonic_ns;

		now.stamp += (uint64_t)((double)step * 2.5 * (1 + 1e-4 * (i % 3 - 1)));
		now.monotonic_ns += step;
		co_timebase_update(&base, (struct co_reading){
						  now.stamp, now.monotonic_ns + (int64_t)rnd(100)});
		stamp = before + (now.stamp - before) / 2;
		time = co_timebase_time(&base, stamp);
		ck_assert_uint_ge(time, last);
		last = time;
		int64_t off = (int64_t)time + 1000000000 - (before_ns + step / 2);
		ck_assert_int_lt(off < 0 ? -off : off,
				 150000); /* 100 ppm of a second, and jitter */
	}
}
END_TEST

START_TEST(a_start_that_contradicts_the_rate_is_not_believed)
{
	struct co_reading now = {UINT64_C(5000000000), 3000000000};
	struct co_timebase base;

	/* In ticks it began a second ago, in ns two seconds. */
	co_timebase_init(&base, 1, (struct co_reading){UINT64_C(2500000000), 1000000000}, now, 0.4);
	ck_assert_int_eq(base.start_ns, 2000000000);
	co_timebase_init(&base, 1, (struct co_reading){UINT64_MAX, 5}, now, 0.4);
	ck_assert_int_eq(base.start_ns, 3000000000);
	co_timebase_init(&base, 1, (struct co_reading){7, INT64_MIN}, now, 0.4);
	ck_assert_int_eq(base.start_ns, 3000000000);
}
END_TEST

/* ---- names ----------------------------------------------------------------------------------- */

/* The name of a program that was called as `argv0` from a file `exe`. */
static void check_called(const char *argv0, const char *exe, const char *expected)
{
	struct co_name_facts facts = {.cwd = "/", .argv0 = argv0, .exe = exe};
	char *name = co_name_expand("/%n", &facts, 1);

	ck_assert_str_eq(name + 1, expected);
	free(name);
}

START_TEST(names_are_the_programs_as_they_were_called)
{
	static const char redis[] = "/usr/bin/redis-check-rdb";
	char longest[4096];

	check_called("redis-server", redis, "redis-server");
	check_called("/opt/my server/run it", redis, "run it");
	check_called("./a\tb", redis, "a_b");
	check_called("-bash", "/bin/bash", "bash");
	check_called("nginx: worker process", "/usr/sbin/nginx", "nginx");
	check_called("redis-rdb-bgsave *:6379", redis, "redis-rdb-bgsave");
	check_called("", redis, "redis-check-rdb");
	check_called("/", redis, "redis-check-rdb");
	check_called("..", "/x/..", "program");
	check_called(NULL, NULL, "program");
	check_called("-", redis, "redis-check-rdb");

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	check_called(longest, redis, longest + sizeof(longest) - 1 - 100);
}
END_TEST

static void check_name(const char *pattern, unsigned attempt, const char *expected)
{
	struct co_name_facts facts = {
		.cwd = "/home/u", .exe = "/usr/bin/pro\ngram (deleted)", .pid = 42};
	char *name = co_name_expand(pattern, &facts, attempt);

	ck_assert_str_eq(name, expected);
	free(name);
}

START_TEST(names_expand_and_number)
{
	check_name("", 1, "/home/u/pro_gram.42.frag");
	check_name(NULL, 2, "/home/u/pro_gram.42.2.frag");
	check_name("soak.frag", 1, "/home/u/soak.frag");
	check_name("soak.frag", 3, "/home/u/soak.3.frag");
	check_name("soak", 2, "/home/u/soak.2");
	check_name("/tmp/%n-%p-%%-%q-%", 1, "/tmp/pro_gram-42-%-%q-%");
	check_name(".frag", 2, "/home/u/.2.frag");
}
END_TEST

/* ---- /proc ----------------------------------------------------------------------------------- */

static void put_file(const char *folder, const char *name, const char *text)
{
	char path[300];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

START_TEST(the_lowest_limit_of_all_groups_counts)
{
	char root[] = "/tmp/ft-cgroup-XXXXXX", folder[200], command[240];
	struct co_cgroup group;

	ck_assert_ptr_nonnull(mkdtemp(root));
	snprintf(command, sizeof(command), "mkdir -p %s/a/b/c %s/memory/x", root, root);
	ck_assert_int_eq(system(command), 0);
	put_file(root, "memory.current", "9000\n");
	snprintf(folder, sizeof(folder), "%s/a", root);
	put_file(folder, "memory.max", "3000\n");
	snprintf(folder, sizeof(folder), "%s/a/b", root);
	put_file(folder, "memory.max", "2000\n");
	snprintf(folder, sizeof(folder), "%s/a/b/c", root);
	put_file(folder, "memory.max", "max\n");
	put_file(folder, "memory.current", "100\n");
	snprintf(folder, sizeof(folder), "%s/memory/x", root);
	put_file(folder, "memory.limit_in_bytes", "9223372036854771712\n");
	put_file(folder, "memory.usage_in_bytes", "77\n");
	snprintf(folder, sizeof(folder), "%s/memory", root);
	put_file(folder, "memory.limit_in_bytes", "5000\n");

	co_cgroup_find(&group, "0::/a/b/c\n", root);
	ck_assert_int_eq(co_cgroup_limit(&group), 2000);
	ck_assert_int_eq(co_cgroup_used(&group), 100);
	co_cgroup_find(&group, "1:cpu:/q\n0::/a\n", root);
	ck_assert_int_eq(co_cgroup_limit(&group), 3000);
	/* Not below this mount, as in a container: what there is of it counts. */
	co_cgroup_find(&group, "0::/elsewhere/a\n", root);
	ck_assert_int_eq(co_cgroup_limit(&group), -1);
	ck_assert_int_eq(co_cgroup_used(&group), 9000);
	co_cgroup_find(&group, "0::/\n", root);
	ck_assert_int_eq(co_cgroup_used(&group), 9000);
	co_cgroup_find(&group, "0::/../a\n", root);
	ck_assert_int_eq(co_cgroup_limit(&group), -1);
	/* Version 1 has the memory. */
	co_cgroup_find(&group, "5:cpu,memory,pids:/x\n4:memoryx:/a\n0::/a/b\n", root);
	ck_assert_int_eq(co_cgroup_limit(&group), 5000);
	ck_assert_int_eq(co_cgroup_used(&group), 77);
	co_cgroup_find(&group, "", root);
	ck_assert_int_eq(co_cgroup_limit(&group), -1);
	co_cgroup_find(&group, "nonsense\n:\n::\n3:memory\n0::a\n", root);
	ck_assert_int_eq(co_cgroup_limit(&group), -1);

	snprintf(command, sizeof(command), "rm -r %s", root);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(mappings_are_classified)
{
	static const char smaps[] =
		"55d0c0a00000-55d0c0a21000 rw-p 00000000 00:00 0                          [heap]\n"
		"Size:                132 kB\nRss:                  12 kB\nSwap:                  "
		"4 kB\n"
		"7f0000000000-7f0000021000 rw-p 00000000 00:00 0 \nRss:  8 kB\n"
		"7f0000021000-7f0004000000 ---p 00000000 00:00 0 \nRss:  0 kB\n"
		"7f1234500000-7f1234600000 rw-p 00000000 00:00 0 \n"
		"7f1300000000-7f1300100000 r-xp 00001000 08:01 77 /usr/lib/a b.so (deleted)\n"
		"7f1300200000-7f1300300000 rw-s 00000000 00:01 99 /memfd:fragtrace (deleted)\n"
		"7f1300300000-7f1300400000 rw-p 00000000 00:00 0 [anon:fragtrace]\n"
		"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";
	static const char *const kinds[] = {"heap",   "arena",	"other", "mmap", "file",
					    "tracer", "tracer", "stack", "other"};
	struct co_maps maps;

	ck_assert(co_maps_parse(&maps, strdup(smaps), 99));
	ck_assert_uint_eq(maps.n, 9);
	for (size_t i = 0; i < 9; i++)
		ck_assert_str_eq(maps.maps[i].kind, kinds[i]);
	ck_assert_int_eq(maps.maps[0].rss, 12 * 1024);
	ck_assert_int_eq(maps.maps[0].swap, 4 * 1024);
	ck_assert_int_eq(maps.maps[3].rss, -1);
	ck_assert_ptr_null(maps.maps[1].path);
	ck_assert_str_eq(maps.maps[4].path, "/usr/lib/a b.so (deleted)");
	ck_assert_uint_eq(maps.maps[4].offset, 0x1000);
	co_maps_deinit(&maps);
	ck_assert_int_eq(co_procfs_kb("A: 1 kB\nPss:  20 kB\nPss_Anon: 3 kB\n", "Pss"), 20480);
	ck_assert_int_eq(co_procfs_kb("A: 1 kB\n", "Pss"), -1);
}
END_TEST

/* As /proc/PID/smaps was read while mappings grew downwards, and one vanished into its neighbour.
 */
START_TEST(mappings_that_are_listed_twice_are_cut_to_what_is_new)
{
	static const char smaps[] = "1000-3000 rw-p 00000000 00:00 0\nRss: 8 kB\n"
				    "2000-5000 rw-p 00000000 00:00 0\nRss: 12 kB\n"
				    "4000-5000 rw-p 00000000 00:00 0\nRss: 4 kB\nSwap: 4 kB\n"
				    "4000-7000 r--p 00001000 08:01 7 /lib\nRss: 8 kB\n";
	struct co_maps maps;

	ck_assert(co_maps_parse(&maps, strdup(smaps), 99));
	ck_assert_uint_eq(maps.n, 3);
	ck_assert_uint_eq(maps.maps[1].start, 0x3000);
	ck_assert_uint_eq(maps.maps[1].end, 0x5000);
	ck_assert_int_eq(maps.maps[1].rss, 12 * 1024);
	ck_assert_int_eq(maps.maps[1].swap, -1);
	ck_assert_uint_eq(maps.maps[2].start, 0x5000);
	ck_assert_uint_eq(maps.maps[2].offset, 0x2000);
	co_maps_deinit(&maps);
}
END_TEST

START_TEST(our_own_executable_is_found_where_it_is_mapped)
{
	struct co_maps maps;
	struct co_elf elf;
	bool found = false;

	ck_assert(co_elf_read("/proc/self/exe", &elf));
	ck_assert_int_eq(elf.kind, CO_ELF_NATIVE);
	ck_assert(elf.has_interp);
	ck_assert_uint_gt(elf.n_loads, 1);
	ck_assert(co_maps_parse(&maps, co_procfs_read("/proc/self/maps", 1 << 20), 0));
	for (size_t i = 0; i < maps.n; i++) {
		const struct co_map *map = &maps.maps[i];
		uint64_t bias, here = (uint64_t)(uintptr_t)rnd;

		if (!map->path || !strstr(map->path, "test-collector-parts") || here < map->start ||
		    here >= map->end)
			continue;
		ck_assert(co_elf_bias(&elf, map->start, map->offset, &bias));
		ck_assert_uint_eq(bias % 4096, 0);
		ck_assert_uint_le(bias, map->start);
		found = true;
	}
	co_maps_deinit(&maps);
	ck_assert(found);
	ck_assert(co_elf_read("/proc/self/status", &elf));
	ck_assert_int_eq(elf.kind, CO_ELF_NONE);
}
END_TEST

/* Whether a page that was only read is the kernel's page of zeros, which no process' resident
 * memory counts. Most kernels do it so, not all. */
static bool reading_takes_no_memory(void)
{
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *text;
	struct co_maps maps;
	bool none = false;

	ck_assert(page != MAP_FAILED);
	madvise(page, 4096, MADV_NOHUGEPAGE); /* a mapping of its own */
	ck_assert_int_eq(*(volatile char *)page, 0);
	text = co_procfs_read("/proc/self/smaps", 1 << 24);
	ck_assert(text && co_maps_parse(&maps, text, 0));
	for (size_t i = 0; i < maps.n; i++)
		none |= maps.maps[i].start == (uint64_t)(uintptr_t)page && maps.maps[i].rss == 0;
	co_maps_deinit(&maps);
	munmap(page, 4096);
	return none;
}

/* A mapping whose pages are touched, read only, or neither, by both ways of asking. */
START_TEST(pages_are_resident_where_they_were_written)
{
	enum { N_PAGES = 5000, PAGE = 4096 };
	struct co_pages pages;
	char *memory = mmap(NULL, (size_t)N_PAGES * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t start = (uint64_t)(uintptr_t)memory, at = start;
	bool resident[N_PAGES] = {false};
	const bool takes_none = reading_takes_no_memory();
	volatile char sink = 0;

	ck_assert(memory != MAP_FAILED);
	madvise(memory, (size_t)N_PAGES * PAGE, MADV_NOHUGEPAGE);
	seed = 3;
	for (int i = 0; i < 3000; i++) {
		uint64_t page = rnd(N_PAGES);

		if (i % 3) {
			memory[page * PAGE] = 1;
			resident[page] = true;
		} else if (!_i) {
			sink ^= memory[page * PAGE];
			resident[page] |= !takes_none;
		}
	}
	co_pages_open(&pages, getpid());
	if (pages.fd < 0) {
		munmap(memory, (size_t)N_PAGES * PAGE);
		return; /* not permitted here: there is nothing to compare with */
	}
	pages.no_scan = _i; /* pagemap alone can't tell the page of zeros: not touched above */
	co_pages_begin(&pages);
	ck_assert(co_pages_scan(&pages, start, start + N_PAGES * PAGE));
	if (!_i && pages.no_scan) { /* an older kernel */
		co_pages_close(&pages);
		munmap(memory, (size_t)N_PAGES * PAGE);
		return;
	}
	ck_assert_str_eq(co_pages_method(&pages), _i ? "pagemap" : "pagemap_scan");
	for (size_t r = 0; r < pages.n_runs; r++) {
		ck_assert_uint_eq(pages.runs[r].start, at);
		for (uint64_t p = 0; p < pages.runs[r].n_pages; p++, at += PAGE)
			if (pages.runs[r].state != FT_PAGES_SWAPPED)
				ck_assert_int_eq(pages.runs[r].state == FT_PAGES_RESIDENT,
						 resident[(at - start) / PAGE]);
	}
	ck_assert_uint_eq(at, start + N_PAGES * PAGE);
	ck_assert(!co_pages_unchanged(&pages));
	co_pages_keep(&pages);
	co_pages_begin(&pages); /* looked at in part, not kept */
	ck_assert(co_pages_scan(&pages, start, start + N_PAGES / 2 * PAGE));
	ck_assert(!co_pages_unchanged(&pages));
	co_pages_begin(&pages);
	ck_assert(co_pages_scan(&pages, start, start + N_PAGES * PAGE));
	ck_assert(co_pages_unchanged(&pages));
	co_pages_close(&pages);
	munmap(memory, (size_t)N_PAGES * PAGE);

	/* A process that is not there. */
	co_pages_open(&pages, 0x7ffffff0);
	ck_assert_str_eq(co_pages_method(&pages), "none");
	ck_assert(!co_pages_scan(&pages, 0, PAGE));
	co_pages_close(&pages);
}
END_TEST

START_TEST(the_end_of_a_zombie_is_known)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0)
		_exit(7);
	for (int i = 0; i < 1000 && !co_exit_status(-1, pid, &status); i++)
		usleep(1000);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 7);
	waitpid(pid, NULL, 0);
	ck_assert(!co_exit_status(-1, pid, &status));
}
END_TEST

/* ---- images served --------------------------------------------------------------------------- */

START_TEST(an_image_that_runs_is_known_however_many_children_it_has_had)
{
	static struct co_past past;
	struct co_past_image server = {
		.key = 77, .id = 1, .start = 500, .pid = 10, .stat_pid = 3, .runs = true};
	struct co_past_image child = {.runs = true};

	past = (struct co_past){0};
	co_past_add(&past, &server);
	for (unsigned i = 0; i < 3 * CO_PAST_MAX; i++) {
		child.id = i + 2;
		child.key = 1000 + i;
		child.start = 500 + i;
		child.pid = 11 + (pid_t)i;
		co_past_add(&past, &child);
		co_past_end(&past, child.id);
		ck_assert_uint_eq(co_past_of_key(&past, 77), 1);
		ck_assert_uint_eq(co_past_of_key(&past, child.key), child.id);
	}
	ck_assert_uint_eq(co_past_of_process(&past, 500, 10), 1);
	ck_assert_uint_eq(co_past_of_process(&past, 500, 3), 0);
	ck_assert_uint_eq(co_past_of_parent(&past, 500, 3), 1);
	ck_assert_uint_eq(co_past_of_key(&past, 1000), 0); /* long gone */
	ck_assert_uint_eq(co_past_of_key(&past, 0), 0);

	/* What the process executes next is its newest image. */
	co_past_end(&past, 1);
	server.key = 78;
	server.id = 100000;
	co_past_add(&past, &server);
	ck_assert_uint_eq(co_past_of_process(&past, 500, 10), 100000);
}
END_TEST

START_TEST(more_images_that_run_than_are_kept_push_out_the_oldest)
{
	static struct co_past past;

	past = (struct co_past){0};
	for (unsigned i = 1; i <= CO_PAST_MAX + 1; i++)
		co_past_add(&past, &(struct co_past_image){.key = i, .id = i, .runs = true});
	ck_assert_uint_eq(co_past_of_key(&past, 1), 0);
	ck_assert_uint_eq(co_past_of_key(&past, 2), 2);
	ck_assert_uint_eq(co_past_of_key(&past, CO_PAST_MAX + 1), CO_PAST_MAX + 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("collector-parts");
	TCase *parts = tcase_create("parts");
	SRunner *runner;
	int failed;

	tcase_set_timeout(parts, 60);
	tcase_add_loop_test(parts, live_table_agrees_with_a_map, 0, 6);
	tcase_add_test(parts, live_table_costs_at_most_48_bytes_a_block);
	tcase_add_test(parts, expected_deaths_are_taken_once_and_only_by_older_ones);
	tcase_add_test(parts, stacks_get_dense_ids_with_parents_first);
	tcase_add_test(parts, raw_stacks_continue_the_tree);
	tcase_add_test(parts, many_raw_stacks_are_found_again);
	tcase_add_test(parts, scribbled_tries_end_at_no_stack);
	tcase_add_test(parts, timeline_has_the_exact_peak_of_each_interval);
	tcase_add_test(parts, timeline_of_an_hour_has_less_than_4200_rows);
	tcase_add_test(parts, times_follow_a_clock_whose_rate_drifts_and_never_go_back);
	tcase_add_test(parts, a_start_that_contradicts_the_rate_is_not_believed);
	tcase_add_test(parts, names_expand_and_number);
	tcase_add_test(parts, names_are_the_programs_as_they_were_called);
	tcase_add_test(parts, the_lowest_limit_of_all_groups_counts);
	tcase_add_test(parts, mappings_are_classified);
	tcase_add_test(parts, mappings_that_are_listed_twice_are_cut_to_what_is_new);
	tcase_add_test(parts, our_own_executable_is_found_where_it_is_mapped);
	tcase_add_loop_test(parts, pages_are_resident_where_they_were_written, 0, 2);
	tcase_add_test(parts, the_end_of_a_zombie_is_known);
	tcase_add_test(parts, an_image_that_runs_is_known_however_many_children_it_has_had);
	tcase_add_test(parts, more_images_that_run_than_are_kept_push_out_the_oldest);
	suite_add_tcase(suite, parts);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

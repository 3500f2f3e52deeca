/* SPDX-License-Identifier: MIT */
/*
 * Replay: events a second with the passes of `fraganalyze leaks`, and of decoding alone
 *
 *	taskset -c 1 bench_replay RECORDING [PASS...]
 *	bench_replay -d | -r RECORDING [PASS...]
 *
 * With -d or -r it decodes or replays once and is silent: for a profiler that counts instructions.
 * tests/bench/analysis.py runs it for the figures that docs/PERFORMANCE.md has.
 *
 * Both in one process on one thread's CPU time, decoding first and last, so that a machine that is
 * busy or changes its clock shows. On a machine with more processors the engine decodes ahead on a
 * second one; taskset keeps it on one, and only then the two compare. Fails on no clock.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "fa_engine.h"
#include "fa_pass.h"

static void check(struct ft_error *error)
{
	if (!error)
		return;
	fprintf(stderr, "bench_replay: %s\n", error->message);
	exit(1);
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double decode(struct ft_reader *reader, int n_passes)
{
	struct ft_event *events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
	double start = 0;
	size_t n;

	if (!events)
		check(&ft_enomem);
	/* The second time, so that neither side pays for reading the file. */
	for (int pass = 0; pass < n_passes; pass++) {
		start = cpu_seconds();
		for (size_t i = 0; i < ft_reader_n_chunks(reader); i++)
			check(ft_reader_chunk(reader, i, events, &n));
	}
	free(events);
	return cpu_seconds() - start;
}

static double replay(struct ft_reader *reader, const char *const *names)
{
	struct fa_options options = {0};
	struct fa_engine *engine;
	double start = cpu_seconds(), seconds;

	check(fa_engine_create(reader, &options, &engine));
	for (; *names; names++) {
		const struct fa_pass_ops *ops = fa_pass_find(*names);

		if (!ops) {
			fprintf(stderr, "bench_replay: no pass is called %s\n", *names);
			exit(2);
		}
		check(fa_engine_add(engine, ops));
	}
	check(fa_engine_run(engine));
	seconds = cpu_seconds() - start;
	fa_engine_destroy(engine);
	return seconds;
}

int main(int argc, char **argv)
{
	static const char *const leaks[] = {"leaks", "sites", "quality", "summary", NULL};
	struct ft_reader *reader;
	struct rusage usage;

	bool only_decode = argc > 1 && strcmp(argv[1], "-d") == 0;
	bool only_replay = argc > 1 && strcmp(argv[1], "-r") == 0;

	argv += only_decode || only_replay;
	argc -= only_decode || only_replay;
	if (argc < 2) {
		fputs("usage: bench_replay [-d | -r] RECORDING [PASS...]\n", stderr);
		return 2;
	}
	check(ft_reader_open(argv[1], FT_READER_NO_WAIT, &reader));

	const char *const *passes = argc > 2 ? (const char *const *)argv + 2 : leaks;

	if (only_decode || only_replay) {
		if (only_decode)
			decode(reader, 1);
		else
			replay(reader, passes);
		ft_reader_close(reader);
		return 0;
	}

	double n = (double)ft_reader_n_events(reader), before = decode(reader, 2);
	double with = replay(reader, passes), after = decode(reader, 2);

	getrusage(RUSAGE_SELF, &usage);
	printf("%.0f events: decode %.2f and %.2f M/s, replay %.2f M/s, %.2f x decoding; "
	       "peak memory %ld KiB\n",
	       n, n / before / 1e6, n / after / 1e6, n / with / 1e6, with / ((before + after) / 2),
	       usage.ru_maxrss);
	ft_reader_close(reader);
	return 0;
}

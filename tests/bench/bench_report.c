/* SPDX-License-Identifier: MIT */
/*
 * The report's cost: analysis with all passes, then writing the page
 *
 *	bench_report RECORDING PAGE.html [MAX_BYTES]
 *
 * CPU time of both, the page's size, and how much the peak of memory rose while it was written.
 * Fails on no clock.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "fa_engine.h"
#include "report.h"
#include "rp_fit.h"

static void check(struct ft_error *error)
{
	if (!error)
		return;
	fprintf(stderr, "bench_report: %s\n", error->message);
	exit(1);
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static long peak_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

int main(int argc, char **argv)
{
	const struct rp_options page = {.lang = "en"};
	const struct fa_options options = {0};
	struct fa_engine *engine;
	struct ft_reader *reader;
	struct fa_doc *doc;
	struct rp_fitted fitted;
	double start, analysed, written;
	long before, after;
	FILE *out;

	if (argc < 3) {
		fputs("usage: bench_report RECORDING PAGE.html [MAX_BYTES]\n", stderr);
		return 2;
	}
	start = cpu_seconds();
	check(ft_reader_open(argv[1], FT_READER_NO_WAIT, &reader));
	check(fa_engine_create(reader, &options, &engine));
	for (size_t i = 0; fa_all_passes[i]; i++)
		check(fa_engine_add(engine, fa_all_passes[i]));
	check(fa_engine_run(engine));
	check(fa_doc_create(&doc));
	check(fa_engine_emit(engine, doc));
	analysed = cpu_seconds();
	before = peak_kib();

	check(rp_fit(doc, &page, argc > 3 ? strtoull(argv[3], NULL, 10) : RP_DEFAULT_BYTES,
		     &fitted));
	out = fopen(argv[2], "w");
	if (!out) {
		perror(argv[2]);
		return 1;
	}
	check(rp_report_write(doc, &page, out));
	fclose(out);
	written = cpu_seconds();
	after = peak_kib();

	printf("%.0f events: analysis %.2f s, page %.2f s (%.2f %% of it), %.2f MiB in step %u; "
	       "peak memory %ld KiB, %ld more for the page\n",
	       (double)ft_reader_n_events(reader), analysed - start, written - analysed,
	       100 * (written - analysed) / (analysed - start), (double)fitted.bytes / 1048576,
	       fitted.step, after, after - before);
	fa_doc_destroy(doc);
	fa_engine_destroy(engine);
	ft_reader_close(reader);
	return 0;
}

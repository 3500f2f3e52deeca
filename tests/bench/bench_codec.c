/* SPDX-License-Identifier: MIT */
/*
 * Codec: bytes an event, encoding and decoding speed
 *
 *	bench_codec [-l ZSTD_LEVEL] [-n EVENTS] [RECORDING...]
 *
 * Packs the events of recordings again (or synthetic ones, without an argument), shows what each
 * column costs, decodes them again and compares. Times are CPU time of one thread; chunks are cut
 *as a writer under load cuts them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fragtrace/store.h"
#include "ft_chunk.h"
#include "synth.h"

enum { MAX_COLUMNS = 32 };

struct bench {
	struct ft_encoder *encoder;
	struct ft_decoder *decoder;
	struct ft_event *events, *again;
	struct ft_strbuf blob;
	uint64_t n_events, n_bytes;
	double encode_s, decode_s;
	struct ft_column_stat columns[MAX_COLUMNS];
	size_t n_columns;
};

static void fail(const char *what)
{
	fprintf(stderr, "bench_codec: %s\n", what);
	exit(1);
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void one_chunk(struct bench *b, size_t n)
{
	struct ft_chunk_facts facts;
	struct ft_column_stat stats[MAX_COLUMNS];
	size_t n_again;

	ft_strbuf_clear(&b->blob);

	double start = cpu_seconds();

	if (!ft_encode(b->encoder, b->events, n, &b->blob, &facts))
		fail("out of memory");
	b->encode_s += cpu_seconds() - start;
	b->n_columns = ft_encoder_stats(b->encoder, stats, MAX_COLUMNS);
	for (size_t i = 0; i < b->n_columns; i++) {
		b->columns[i].name = stats[i].name;
		b->columns[i].raw += stats[i].raw;
		b->columns[i].packed += stats[i].packed;
	}

	start = cpu_seconds();

	const char *damage = ft_decode(b->decoder, b->blob.data, b->blob.len, b->events[0].seq,
				       b->again, &n_again, &facts);

	b->decode_s += cpu_seconds() - start;
	if (damage)
		fail(damage);
	for (size_t i = 0; i < n; i++)
		if (b->again[i].address != b->events[i].address ||
		    b->again[i].size != b->events[i].size ||
		    b->again[i].usable != b->events[i].usable ||
		    b->again[i].stack != b->events[i].stack ||
		    b->again[i].old_address != b->events[i].old_address)
			fail("an event came back as another one");
	b->n_events += n;
	b->n_bytes += b->blob.len;
}

static void show(struct bench *b, const char *name)
{
	double n = (double)b->n_events;

	printf("%s: %llu events, %.3f bytes an event, encode %.1f ns, decode %.1f ns an event "
	       "(%.1f M/s)\n",
	       name, (unsigned long long)b->n_events, (double)b->n_bytes / n, b->encode_s / n * 1e9,
	       b->decode_s / n * 1e9, n / b->decode_s / 1e6);
	for (size_t i = 0; i < b->n_columns; i++)
		if (b->columns[i].raw)
			printf("  %-10s raw %.3f packed %.4f\n", b->columns[i].name,
			       (double)b->columns[i].raw / n, (double)b->columns[i].packed / n);
	b->n_events = b->n_bytes = 0;
	b->encode_s = b->decode_s = 0;
	memset(b->columns, 0, sizeof(b->columns));
}

static void check(struct ft_error *error)
{
	if (error)
		fail(error->message);
}

static void bench_recording(struct bench *b, const char *path)
{
	struct ft_reader *reader;
	size_t n;

	check(ft_reader_open(path, 0, &reader));
	for (size_t i = 0; i < ft_reader_n_chunks(reader); i++) {
		check(ft_reader_chunk(reader, i, b->events, &n));
		one_chunk(b, n);
	}
	ft_reader_close(reader);
	show(b, path);
}

static void bench_synthetic(struct bench *b, uint64_t n_events)
{
	struct synth *synth =
		synth_create(&(struct synth_options){.seed = 1, .n_threads = 4, .n_live = 50000});

	while (n_events) {
		size_t n = n_events < FT_CHUNK_EVENTS ? (size_t)n_events : FT_CHUNK_EVENTS;

		for (size_t i = 0; i < n; i++)
			synth_next(synth, &b->events[i]);
		one_chunk(b, n);
		n_events -= n;
	}
	synth_destroy(synth);
	show(b, "synthetic");
}

int main(int argc, char **argv)
{
	int level = 1, option;
	uint64_t n_events = 4000000;

	while ((option = getopt(argc, argv, "l:n:")) != -1) {
		if (option == 'l')
			level = atoi(optarg);
		else if (option == 'n')
			n_events = strtoull(optarg, NULL, 0);
		else
			return 2;
	}

	struct bench b = {
		.encoder = ft_encoder_create(level),
		.decoder = ft_decoder_create(),
		.events = calloc(FT_CHUNK_EVENTS, sizeof(struct ft_event)),
		.again = calloc(FT_CHUNK_EVENTS, sizeof(struct ft_event)),
	};

	if (!b.encoder || !b.decoder || !b.events || !b.again)
		fail("out of memory");
	if (optind == argc)
		bench_synthetic(&b, n_events);
	for (; optind < argc; optind++)
		bench_recording(&b, argv[optind]);
	ft_encoder_destroy(b.encoder);
	ft_decoder_destroy(b.decoder);
	ft_strbuf_deinit(&b.blob);
	free(b.events);
	free(b.again);
	return 0;
}

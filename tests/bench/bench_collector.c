/* SPDX-License-Identifier: MIT */
/*
 * Collector: what an event costs from the ring to the file
 *
 *	bench-collector [-r RING_KIB] RECORDING...
 *
 * Puts the events of recordings into rings again, as the traced program did, and drains, orders and
 * writes them in one thread: times are CPU time, apart for what the drain thread does and for what
 * the write thread does. The file is written into the current directory and removed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "co_session.h"
#include "co_write.h"
#include "ft_hello.h"

enum { N_RINGS = 64, MAX_NODES = 1 << 24 };

struct bench {
	int memfd;
	char *base;
	uint64_t size;
	struct ft_segment_header *header;
	struct ft_segment_node *nodes;
	struct ft_ring_producer producers[N_RINGS];
	uint64_t last_stamps[N_RINGS];
	uint64_t start;

	struct co_spill spill;
	struct co_write *write;
	struct co_session *session;
	double drain_s, write_s;
	uint64_t n_events;
};

static void fail(const char *what)
{
	fprintf(stderr, "bench-collector: %s\n", what);
	exit(1);
}

static void check(struct ft_error *error)
{
	if (error)
		fail(error->message);
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t pages(uint64_t n)
{
	return (n + 4095) & ~UINT64_C(4095);
}

static void make_program(struct bench *b, uint64_t ring_bytes, uint64_t duration_ns)
{
	struct ft_segment_header header = {.magic = FT_SEGMENT_MAGIC,
					   .version = FT_SEGMENT_VERSION,
					   .n_rings = N_RINGS,
					   .ring_bytes = ring_bytes,
					   .max_nodes = MAX_NODES,
					   .clock_source = FT_CLOCK_MONOTONIC,
					   .pid = getpid()};

	header.rings_at = pages(sizeof(header));
	header.nodes_at = pages(header.rings_at + N_RINGS * sizeof(struct ft_ring_header));
	header.bodies_at = pages(header.nodes_at + MAX_NODES * sizeof(struct ft_segment_node));
	header.size = b->size = header.bodies_at + N_RINGS * ring_bytes;
	header.start_monotonic_ns = co_clock_monotonic() - (int64_t)duration_ns;
	if (header.start_monotonic_ns < 0)
		fail("the machine has not been up for as long as the recording took");
	header.start_stamp = b->start = (uint64_t)header.start_monotonic_ns;
	snprintf(header.output, sizeof(header.output), "bench-collector.%d.frag", (int)getpid());
	if (!getcwd(header.cwd, sizeof(header.cwd)))
		fail("no working directory");
	strcpy(header.exe, "bench");

	b->memfd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (b->memfd < 0 || ftruncate(b->memfd, (off_t)header.size) < 0)
		fail("no memory for the segment");
	b->base = mmap(NULL, header.size, PROT_READ | PROT_WRITE, MAP_SHARED, b->memfd, 0);
	if (b->base == MAP_FAILED)
		fail("no memory for the segment");
	memcpy(b->base, &header, sizeof(header));
	b->header = (struct ft_segment_header *)(void *)b->base;
	b->nodes = (struct ft_segment_node *)(void *)(b->base + header.nodes_at);
	for (unsigned i = 0; i < N_RINGS; i++) {
		struct ft_ring_header *rings = (void *)(b->base + header.rings_at);
		uint64_t *body = (void *)(b->base + header.bodies_at + i * ring_bytes);

		ft_ring_producer_init(&b->producers[i], &rings[i], body, ring_bytes);
		atomic_store(&rings[i].thread, i + 1);
		atomic_store(&rings[i].state, FT_RING_ACTIVE);
	}
}

/* Everything that is in the rings goes into the file. */
static void drain(struct bench *b)
{
	enum co_pass_result result;

	do {
		double start = cpu_seconds();

		result = co_session_pass(b->session);

		double middle = cpu_seconds();

		while (b->spill.first)
			co_write_step(b->write, 0);
		b->drain_s += middle - start;
		b->write_s += cpu_seconds() - middle;
	} while (result != CO_PASS_IDLE && !b->session->finished);
}

static bool put(struct bench *b, const struct ft_event *event)
{
	unsigned ring = event->thread % N_RINGS, n, short_n;
	uint64_t *w = ft_ring_reserve(&b->producers[ring], 8), stamp = b->start + event->time_ns;
	uint64_t extra = event->usable > event->size ? event->usable - event->size : 0;
	uint64_t tagged = event->address | (extra < 1000 ? extra : 1000) << FT_WIRE_ADDRESS_BITS;
	uint64_t words[6] = {0, stamp, tagged, event->size};
	enum ft_wire_type type = FT_WIRE_ALLOC;

	if (!w)
		return false;
	n = 4;
	if (event->kind == FT_EVENT_FREE) {
		type = FT_WIRE_FREE;
		n = 3;
	} else if (event->kind == FT_EVENT_REALLOC) {
		type = FT_WIRE_REALLOC;
		n = 6;
		words[2] = stamp;
		words[3] = event->old_address;
		words[4] = tagged;
		words[5] = event->size;
	}
	words[0] = ft_wire_head(type, event->api, event->flags, n, event->stack);
	short_n = ft_wire_shorten(words[0], words, b->last_stamps[ring], w);
	if (!short_n)
		memcpy(w, words, n * sizeof(*words));
	b->last_stamps[ring] = stamp;
	ft_ring_publish(&b->producers[ring], short_n ? short_n : n);
	return true;
}

static void bench_recording(const char *path, uint64_t ring_bytes)
{
	static struct ft_event events[FT_CHUNK_EVENTS];
	struct bench b = {0};
	struct co_segment segment;
	struct ft_reader *reader;
	const struct ft_stack_node *stacks;
	size_t n_stacks, n_chunks, n;
	uint64_t duration_ns = 0;

	check(ft_reader_open(path, 0, &reader));
	check(ft_reader_stacks(reader, &stacks, &n_stacks));
	n_chunks = ft_reader_n_chunks(reader);
	if (n_chunks)
		duration_ns = ft_reader_chunk_info(reader, n_chunks - 1)->last_ns + 10000000;
	make_program(&b, ring_bytes, duration_ns);
	for (size_t i = 1; i < n_stacks && i < MAX_NODES; i++)
		b.nodes[i] =
			(struct ft_segment_node){.pc = stacks[i].pc, .parent = stacks[i].parent};
	check(co_segment_map(b.memfd, &segment));
	co_spill_init(&b.spill);
	check(co_session_create(&b.spill, getpid(), &segment, 1, &b.session));
	check(co_write_create(&b.spill, NULL, NULL, &b.write));
	atomic_store(&b.header->n_rings_used, N_RINGS);
	b.session->floor_limit_ns = INT64_MAX;

	for (size_t i = 0; i < n_chunks; i++) {
		check(ft_reader_chunk(reader, i, events, &n));
		for (size_t e = 0; e < n; e++)
			while (!put(&b, &events[e]))
				drain(&b);
		b.n_events += n;
	}
	co_session_end(b.session, CO_END_EXIT, 0);
	drain(&b);
	ft_reader_close(reader);
	printf("%s: %llu events, drain %.1f ns, write %.1f ns, both %.1f ns an event\n", path,
	       (unsigned long long)b.n_events, b.drain_s / (double)b.n_events * 1e9,
	       b.write_s / (double)b.n_events * 1e9,
	       (b.drain_s + b.write_s) / (double)b.n_events * 1e9);
	unlink(b.header->output);
	co_session_unref(b.session);
	co_write_destroy(b.write);
	co_spill_deinit(&b.spill);
	munmap(b.base, b.size);
	close(b.memfd);
}

int main(int argc, char **argv)
{
	uint64_t ring_kib = FT_SEGMENT_RING_BYTES / 1024;
	int option;

	while ((option = getopt(argc, argv, "r:")) != -1) {
		if (option != 'r')
			return 2;
		ring_kib = strtoull(optarg, NULL, 0);
	}
	for (; optind < argc; optind++)
		bench_recording(argv[optind], ring_kib * 1024);
	return 0;
}

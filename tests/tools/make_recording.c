/* SPDX-License-Identifier: MIT */
/*
 * Write a synthetic recording through the store
 *
 *	make_recording [-n EVENTS] [-l LIVE] [-s SITES] [-t THREADS] [-L LEAK_EVERY] [-g GAP_NS]
 *		[-S SEED] [-B MAX_BYTES] [-A MAX_AGE_NS] [-K EVENTS] [-I EVENTS] [-R EVENTS]
 *		[-X TIMES] [-T TICK_NS] [-c] FILE
 *
 * -B and -A keep it within a budget, -K writes a keyframe every so many events, -I an index once
 * there are so many (as a collector does from 4194304 on), -R goes on in
 * FILE.2, FILE.3 ... after each so many; the events are the same. -X goes on until so many times
 *the budget have been written as events, and says as JSON how many those were and the most that the
 * file and its log took together. -T is the time between commits and rows of the timeline. -c stops
 * without finishing, as a writer that was killed does. The same arguments write the same events;
 * rows that a collector samples (RSS, mappings) are made up from them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ft_map.h"
#include "ft_pages.h"
#include "synth.h"

enum { TICK_NS = 100 * 1000 * 1000, LOOK_EVERY = 256 };

struct recorder {
	struct ft_writer *writer;
	struct ft_limits limits;
	struct ft_pages *pages; /* with one that deletes */
	struct synth *synth;
	struct ft_map live; /* address -> index of `blocks` */
	struct {
		uint64_t size, usable; /* of a free entry: usable is the next one + 1 */
		uint32_t stack;
	} * blocks;
	size_t n_blocks, capacity, first_free; /* first_free: index + 1, or 0 */
	struct ft_site_total_row *totals;      /* by stack */
	size_t n_totals;
	struct ft_timeline_row line;
	const char *path;
	unsigned part; /* 0: the first */
	uint64_t most_bytes;
};

static void check(struct ft_error *error)
{
	if (!error)
		return;
	fprintf(stderr, "make_recording: %s\n", error->message);
	exit(1);
}

static uint64_t size_of(const char *path, const char *suffix)
{
	char name[4096];
	struct stat st;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	return stat(name, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The log shrinks only while it is written anew, and the file only where it gives pages back: what
 * is there between two commits is the most of the one before. Commits have some thousand events. */
static void look(struct recorder *r)
{
	uint64_t bytes = size_of(r->path, "") + size_of(r->path, "-wal");

	if (bytes > r->most_bytes)
		r->most_bytes = bytes;
}

static void born(struct recorder *r, const struct ft_event *event)
{
	struct ft_site_total_row *total = &r->totals[event->stack];
	bool created;
	uint64_t *slot = ft_map_put(&r->live, event->address, &created);

	size_t at = r->first_free;

	if (at) {
		at--;
		r->first_free = r->blocks[at].usable;
	} else {
		at = r->n_blocks++;
	}
	if (at == r->capacity) {
		r->capacity = r->capacity ? r->capacity * 2 : 1024;
		r->blocks = realloc(r->blocks, r->capacity * sizeof(*r->blocks));
	}
	if (!slot || !r->blocks)
		abort();
	*slot = at;
	r->blocks[at].size = event->size;
	r->blocks[at].usable = event->usable;
	r->blocks[at].stack = event->stack;
	total->n_allocs++;
	total->bytes_allocated += event->size;
	total->live_blocks++;
	total->live_bytes += event->size;
	if (total->live_bytes > total->peak_bytes)
		total->peak_bytes = total->live_bytes;
	r->line.n_allocs++;
	r->line.bytes_allocated += event->size;
	r->line.live_blocks++;
	r->line.live_bytes += event->size;
	r->line.usable_bytes += event->usable;
	if (r->line.live_bytes > r->line.peak_bytes)
		r->line.peak_bytes = r->line.live_bytes;
}

static void died(struct recorder *r, uint64_t address)
{
	uint64_t index;

	if (!ft_map_remove(&r->live, address, &index))
		return;

	struct ft_site_total_row *total = &r->totals[r->blocks[index].stack];
	uint64_t size = r->blocks[index].size;

	total->n_frees++;
	total->bytes_freed += size;
	total->live_blocks--;
	total->live_bytes -= size;
	r->line.n_frees++;
	r->line.bytes_freed += size;
	r->line.live_blocks--;
	r->line.live_bytes -= size;
	r->line.usable_bytes -= r->blocks[index].usable;
	r->blocks[index].usable = r->first_free;
	r->first_free = index + 1;
}

static void tick(struct recorder *r, uint64_t time_ns)
{
	r->line.time_ns = time_ns;
	r->line.rss = (int64_t)(r->line.usable_bytes * 5 / 4 + 4096 * 500);
	r->line.pss = r->line.rss - 4096 * 300;
	r->line.anon = r->line.rss - 4096 * 400;
	r->line.swap = 0;
	r->line.tracer = 3 << 20;
	check(ft_writer_timeline(r->writer, &r->line));
	check(ft_writer_clock(
		r->writer,
		&(struct ft_clock_row){.time_ns = time_ns,
				       .tsc = time_ns * 3,
				       .boottime_ns = (int64_t)time_ns + 1000,
				       .realtime_ns = 1700000000000000000 + (int64_t)time_ns}));
	r->line.peak_bytes = r->line.live_bytes;
	check(ft_writer_commit(r->writer, r->limits.max_bytes || r->limits.max_age_ns));
}

static void facts(struct recorder *r, const struct synth_options *options, uint64_t end_ns,
		  bool rotated)
{
	check(ft_writer_process(r->writer, &(struct ft_process_row){
						   .pid = 1000,
						   .ppid = 1,
						   .exe = "/usr/bin/synthetic",
						   .argv_json = "[\"synthetic\"]",
						   .fork_ns = FT_TIME_NONE,
						   .start_realtime_ns = 1700000000000000000,
						   .end_ns = end_ns,
						   .exit_kind = rotated ? "rotated" : "exit",
					   }));
	for (uint32_t i = 1; i <= options->n_threads; i++) {
		char name[32];

		snprintf(name, sizeof(name), "worker-%" PRIu32, i);
		check(ft_writer_thread(r->writer, &(struct ft_thread_row){
							  .id = i,
							  .tid = 999 + i,
							  .name = i == 1 ? "synthetic" : name,
							  .end_ns = rotated ? FT_TIME_NONE : end_ns,
						  }));
	}
	check(ft_writer_module(r->writer, &(struct ft_module_row){
						  .id = 1,
						  .path = "/usr/bin/synthetic",
						  .build_id = "00112233445566778899aabbccddeeff",
						  .bias = UINT64_C(0x555555000000),
						  .start = UINT64_C(0x555555000000),
						  .end = UINT64_C(0x555555100000),
						  .unload_ns = FT_TIME_NONE,
					  }));
}

static void begin(struct recorder *r, const struct synth_options *options)
{
	char path[4096];

	snprintf(path, sizeof(path), r->part ? "%s.%u" : "%s", r->path, r->part + 1);
	check(ft_writer_create(path, &r->writer));
	if (r->limits.max_bytes || r->limits.max_age_ns || r->limits.keyframe_events ||
	    r->limits.index_events)
		check(ft_writer_set_limits(r->writer, &r->limits));
	if (r->part)
		return;
	if (r->limits.max_bytes || r->limits.max_age_ns) {
		r->pages = ft_pages_create();
		if (!r->pages)
			abort();
		check(ft_writer_set_pages(r->writer, ft_pages_counter(r->pages)));
	}
	for (size_t i = 0; i < synth_n_nodes(r->synth); i++) {
		struct ft_stack_node node = synth_node(r->synth, i);

		check(ft_writer_stack_node(r->writer, &node));
	}
	facts(r, options, FT_TIME_NONE, false);
}

static void end(struct recorder *r, const struct synth_options *options, uint64_t end_ns,
		bool rotated)
{
	for (size_t i = 1; i < r->n_totals; i++) {
		r->totals[i].stack = (uint32_t)i;
		if (r->totals[i].n_allocs)
			check(ft_writer_site_total(r->writer, &r->totals[i]));
	}
	facts(r, options, end_ns, rotated);
	check(ft_writer_finish(r->writer));
}

/* Totals of the next part are its own, but for what lives. */
static void rotate(struct recorder *r, const struct synth_options *options, uint64_t time_ns)
{
	struct ft_writer *from = r->writer, *next;
	bool ready = false;

	tick(r, time_ns);
	while (!ready)
		check(ft_writer_follow(from, &ready));
	r->part++;
	begin(r, options);
	check(ft_writer_continue(r->writer, from, time_ns));
	next = r->writer;
	r->writer = from;
	end(r, options, time_ns, true);
	r->writer = next;
	facts(r, options, FT_TIME_NONE, false);
	check(ft_writer_commit(r->writer, false));
	for (size_t i = 0; i < r->n_totals; i++) {
		struct ft_site_total_row *total = &r->totals[i];

		total->n_allocs = total->n_frees = 0;
		total->bytes_allocated = total->bytes_freed = 0;
		total->peak_bytes = total->live_bytes;
	}
	r->line.n_allocs = r->line.n_frees = 0;
	r->line.bytes_allocated = r->line.bytes_freed = 0;
	r->line.peak_bytes = r->line.live_bytes;
}

int main(int argc, char **argv)
{
	struct synth_options options = {.seed = 1, .n_sites = 200, .n_threads = 1};
	uint64_t n_events = 1000000, part_events = 0, times = 0, tick_ns = TICK_NS, i;
	bool cut = false;
	int option;

	struct recorder r = {0};

	while ((option = getopt(argc, argv, "n:l:s:t:L:g:S:B:A:K:I:R:X:T:c")) != -1) {
		uint64_t value = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (option) {
		case 'n':
			n_events = value;
			break;
		case 'l':
			options.n_live = value;
			break;
		case 's':
			options.n_sites = (uint32_t)value;
			break;
		case 't':
			options.n_threads = (uint32_t)value;
			break;
		case 'L':
			options.leak_every = (uint32_t)value;
			break;
		case 'g':
			options.mean_gap_ns = value;
			break;
		case 'S':
			options.seed = value;
			break;
		case 'B':
			r.limits.max_bytes = value;
			break;
		case 'A':
			r.limits.max_age_ns = value;
			break;
		case 'K':
			r.limits.keyframe_events = value;
			break;
		case 'I':
			r.limits.index_events = value;
			break;
		case 'R':
			part_events = value;
			break;
		case 'X':
			times = value;
			break;
		case 'T':
			tick_ns = value;
			break;
		case 'c':
			cut = true;
			break;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc || !options.n_sites || !options.n_threads) {
		fprintf(stderr,
			"usage: make_recording [-n EVENTS] [-l LIVE] [-s SITES] [-t THREADS]"
			" [-L LEAK_EVERY] [-g GAP_NS] [-S SEED] [-B MAX_BYTES]"
			" [-A MAX_AGE_NS] [-K EVENTS] [-I EVENTS] [-R EVENTS] [-X TIMES] [-T "
			"TICK_NS]"
			" [-c] FILE\n");
		return 2;
	}

	r.synth = synth_create(&options);

	struct ft_event event = {0};
	uint64_t next_tick = tick_ns;

	r.path = argv[optind];
	r.n_totals = synth_n_nodes(r.synth) + 1;
	r.totals = calloc(r.n_totals, sizeof(*r.totals));
	if (!r.totals)
		abort();
	begin(&r, &options);
	for (i = 0; times || i < n_events; i++) {
		uint64_t before_ns = event.time_ns;

		synth_next(r.synth, &event);
		if (part_events && i && i % part_events == 0)
			rotate(&r, &options, before_ns + (event.time_ns - before_ns) / 2);
		check(ft_writer_event(r.writer, &event, NULL));
		if (event.kind == FT_EVENT_FREE)
			died(&r, event.address);
		if (event.kind == FT_EVENT_REALLOC)
			died(&r, event.old_address);
		if (event.kind != FT_EVENT_FREE)
			born(&r, &event);
		for (; event.time_ns >= next_tick; next_tick += tick_ns)
			tick(&r, next_tick);
		if (!times || i % LOOK_EVERY)
			continue;
		look(&r);
		if (ft_writer_event_bytes(r.writer) >= times * r.limits.max_bytes)
			break;
	}
	tick(&r, event.time_ns);
	if (cut) {
		check(ft_writer_commit(r.writer, true));
		_exit(0);
	}
	end(&r, &options, event.time_ns, false);
	if (times) {
		look(&r);
		printf("{\"events\":%" PRIu64 ",\"most_bytes\":%" PRIu64 "}\n", i + 1,
		       r.most_bytes);
	}
	ft_pages_destroy(r.pages);
	synth_destroy(r.synth);
	ft_map_deinit(&r.live);
	free(r.blocks);
	free(r.totals);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* fragtrace node: see no_record.h. The recorder's life; samples and snapshots have their own files.
 */
#include "no_record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "ft_cleanup.h"
#include "no_files.h"
#include "no_recorder.h"

/* What is dear to read (the kernel walks its free lists under a lock) is read this often at most.
 */
#define FULL_NS	 (UINT64_C(10) * 1000000000)
#define DRAIN_NS (UINT64_C(20) * 1000000)
#define FLUSH_NS (UINT64_C(1000) * 1000000)

enum { NAMES_MAX = 1000 };

static const struct {
	const char *name, *path;
} source_paths[NO_SOURCES] = {
	[NO_BUDDYINFO] = {"buddyinfo", "/proc/buddyinfo"},
	[NO_ZONEINFO] = {"zoneinfo", "/proc/zoneinfo"},
	[NO_VMSTAT] = {"vmstat", "/proc/vmstat"},
	[NO_MEMINFO] = {"meminfo", "/proc/meminfo"},
	[NO_PRESSURE] = {"pressure", "/proc/pressure/memory"},
	[NO_PAGETYPEINFO] = {"pagetypeinfo", "/proc/pagetypeinfo"},
	[NO_SLABINFO] = {"slabinfo", "/proc/slabinfo"},
	[NO_UNUSABLE] = {"unusable_index", "/sys/kernel/debug/extfrag/unusable_index"},
	[NO_EXTFRAG] = {"extfrag_index", "/sys/kernel/debug/extfrag/extfrag_index"},
	[NO_KPAGEFLAGS] = {"kpageflags", "/proc/kpageflags"},
	[NO_TRACE] = {"trace", "/sys/kernel/tracing"},
	[NO_COMPACT] = {"compact_memory", "/proc/sys/vm/compact_memory"},
};

static uint64_t monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t no_now(const struct no_recorder *r)
{
	return monotonic() - r->start_ns;
}

void no_keep(struct no_recorder *r, struct ft_error *error)
{
	if (r->error)
		ft_error_destroy(error);
	else
		r->error = error;
}

/* ---- sources --------------------------------------------------------------------------------- */

void no_source_failed(struct no_recorder *r, enum no_source source, int os_errno,
		      const char *detail)
{
	struct no_source_state *s = &r->sources[source];

	s->tried = true;
	s->os_errno = os_errno;
	s->detail = detail ? detail : os_errno ? strerrordesc_np(os_errno) : NULL;
}

bool no_source_read(struct no_recorder *r, enum no_source source)
{
	struct no_source_state *s = &r->sources[source];

	/* What was refused once is not asked for again. */
	if (s->off || (s->tried && s->os_errno))
		return false;
	no_source_failed(r, source, no_file_read(s->path, &r->text), NULL);
	return !s->os_errno;
}

static struct ft_error *write_sources(struct no_recorder *r)
{
	for (size_t i = 0; i < NO_SOURCES; i++) {
		const struct no_source_state *s = &r->sources[i];
		const struct ft_node_source_row row = {
			.name = s->name,
			.path = s->path,
			.status = s->off || !s->tried ? "off" : no_status(s->os_errno),
			.detail = s->detail};

		FT_TRY(ft_node_writer_source(r->writer, &row));
	}
	return NULL;
}

/* ---- zones and figures ----------------------------------------------------------------------- */

struct no_zone *no_zone_find(struct no_recorder *r, const struct no_zone_name *name)
{
	struct no_zone *zone;

	for (size_t i = 0; i < r->n_zones; i++)
		if (r->zones[i].name.node == name->node &&
		    !strcmp(r->zones[i].name.zone, name->zone))
			return &r->zones[i];
	if (r->n_zones == NO_ZONES_MAX)
		return NULL;
	zone = &r->zones[r->n_zones++];
	*zone = (struct no_zone){.name = *name};
	zone->row = (struct ft_node_zone_row){
		.id = (uint32_t)r->n_zones, .node = name->node, .name = zone->name.zone};
	return zone;
}

void no_figure(struct no_recorder *r, const char *source, const char *key, int64_t value)
{
	const struct ft_sample_row row = {
		.time_ns = r->time_ns, .source = source, .key = key, .value = value};
	uint64_t hash = 2, *last;
	bool created;

	for (const char *c = source; *c; c++)
		hash = ft_hash_u64(hash ^ (unsigned char)*c);
	hash = ft_hash_u64(hash ^ 256);
	for (const char *c = key; *c; c++)
		hash = ft_hash_u64(hash ^ (unsigned char)*c);
	last = ft_map_put(&r->last, hash, &created);
	if (!last) {
		no_keep(r, &ft_enomem);
		return;
	}
	if (!created && *last == (uint64_t)value)
		return;
	*last = (uint64_t)value;
	no_keep(r, ft_node_writer_sample(r->writer, &row));
}

/* ---- events ---------------------------------------------------------------------------------- */

static void flush_cpu(struct no_recorder *r, struct no_cpu_events *cpu)
{
	no_keep(r, ft_node_writer_events(r->writer, cpu->events, cpu->n));
	cpu->n = 0;
}

static void on_event(void *ctx, const struct ft_node_event *event)
{
	struct no_recorder *r = ctx;
	struct no_cpu_events *cpu = &r->cpus[event->cpu % FT_NODE_MAX_CPUS];

	if (event->time_ns < r->start_ns)
		return;
	if (!cpu->events)
		cpu->events = malloc(FT_NODE_CHUNK_EVENTS * sizeof(*cpu->events));
	if (!cpu->events) {
		no_keep(r, &ft_enomem);
		return;
	}
	cpu->events[cpu->n] = *event;
	cpu->events[cpu->n++].time_ns -= r->start_ns;
	r->n_events++;
	if (cpu->n == FT_NODE_CHUNK_EVENTS)
		flush_cpu(r, cpu);
}

static void on_lost(void *ctx, uint16_t cpu, uint64_t n)
{
	struct no_recorder *r = ctx;
	const struct ft_loss_row row = {.first_ns = r->drained_ns,
					.last_ns = no_now(r),
					.thread = (uint32_t)cpu + 1,
					.n_events = n,
					.reason = "overrun"};

	r->n_lost += n;
	no_keep(r, ft_node_writer_loss(r->writer, &row));
}

struct ft_error *no_drain(struct no_recorder *r)
{
	const struct no_trace_sink sink = {.event = on_event, .lost = on_lost, .ctx = r};
	uint64_t before = no_now(r);

	if (!r->trace)
		return NULL;
	FT_TRY(no_trace_drain(r->trace, &sink));
	r->drained_ns = before;
	return r->error;
}

static struct ft_error *flush_events(struct no_recorder *r)
{
	for (size_t i = 0; r->cpus && i < FT_NODE_MAX_CPUS; i++)
		if (r->cpus[i].n)
			flush_cpu(r, &r->cpus[i]);
	return r->error;
}

static struct ft_error *start_trace(struct no_recorder *r)
{
	const char *path;
	int error = no_tracefs(&path);
	struct ft_error *failed;

	if (error) {
		no_source_failed(r, NO_TRACE, error, NULL);
		return NULL;
	}
	r->cpus = calloc(FT_NODE_MAX_CPUS, sizeof(*r->cpus));
	if (!r->cpus)
		return &ft_enomem;
	failed = no_trace_open(path, r->options->buffer_kib, &r->trace);
	if (!failed)
		failed = no_trace_start(r->trace);
	if (failed) {
		r->trace_detail = strdup(failed->message);
		no_source_failed(r, NO_TRACE, failed->os_errno ? failed->os_errno : EINVAL,
				 r->trace_detail);
		ft_error_destroy(failed);
		no_trace_close(r->trace);
		r->trace = NULL;
		return NULL;
	}
	no_source_failed(r, NO_TRACE, 0, NULL);
	return NULL;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Until `until_ns`, or a signal says that it is enough (false). */
static bool wait_until(struct no_recorder *r, int signal_fd, uint64_t until_ns)
{
	uint64_t flushed = no_now(r);

	for (;;) {
		struct pollfd poll_fd = {.fd = signal_fd, .events = POLLIN};
		uint64_t now = no_now(r), left = until_ns > now ? until_ns - now : 0;
		struct timespec t;

		no_keep(r, no_drain(r));
		if (r->error)
			return false;
		if (r->trace && now - flushed >= FLUSH_NS) {
			no_keep(r, flush_events(r));
			no_keep(r, ft_node_writer_commit(r->writer));
			flushed = now;
		}
		if (r->trace && left > DRAIN_NS)
			left = DRAIN_NS;
		t = (struct timespec){.tv_sec = (time_t)(left / 1000000000),
				      .tv_nsec = (long)(left % 1000000000)};
		if (ppoll(&poll_fd, 1, &t, NULL) > 0)
			return false;
		if (no_now(r) >= until_ns)
			return true;
	}
}

static struct ft_error *take_samples(struct no_recorder *r, int signal_fd)
{
	uint64_t interval = r->options->interval_ns, end = r->options->duration_ns;
	uint64_t next = no_now(r), full = next + FULL_NS;

	end = end ? next + end : UINT64_MAX;
	for (;;) {
		next += interval;
		if (!wait_until(r, signal_fd, next < end ? next : end) || next >= end)
			return r->error;

		bool dear = no_now(r) >= full;

		FT_TRY(no_sample(r, dear));
		if (dear)
			full = no_now(r) + FULL_NS;
		FT_TRY(flush_events(r));
		FT_TRY(ft_node_writer_commit(r->writer));
		/* A machine that was asleep does not get all samples that it missed. */
		if (no_now(r) > next + interval)
			next = no_now(r);
	}
}

/* ---- compaction ------------------------------------------------------------------------------ */

static struct ft_error *try_compact(struct no_recorder *r)
{
	struct ft_node_action_row row = {.kind = "compact_memory"};
	ft_auto_close int fd = open(r->sources[NO_COMPACT].path, O_WRONLY | O_CLOEXEC);
	int error = 0;

	row.begin_ns = no_now(r);
	if (fd < 0 || write(fd, "1", 1) != 1)
		error = errno;
	row.end_ns = no_now(r);
	no_source_failed(r, NO_COMPACT, error, NULL);
	if (error)
		return NULL;
	FT_TRY(ft_node_writer_action(r->writer, &row));
	FT_TRY(no_drain(r));
	FT_TRY(no_sample(r, true));
	return r->options->pages ? no_snapshot(r) : NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void write_thp(struct no_recorder *r, const char *what)
{
	char path[96], key[32], *newline;

	snprintf(path, sizeof(path), "/sys/kernel/mm/transparent_hugepage/%s", what);
	snprintf(key, sizeof(key), "thp_%s", what);
	if (no_file_read(path, &r->text) != 0 || !r->text.len)
		return;
	newline = strchr(r->text.data, '\n');
	if (newline)
		*newline = '\0';
	no_keep(r, ft_node_writer_meta(r->writer, key, r->text.data));
}

static struct ft_error *write_facts(struct no_recorder *r)
{
	struct utsname name;
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	FT_TRY(ft_node_writer_meta_int(r->writer, "page_bytes", sysconf(_SC_PAGESIZE)));
	FT_TRY(ft_node_writer_meta_int(r->writer, "cpus", sysconf(_SC_NPROCESSORS_ONLN)));
	FT_TRY(ft_node_writer_meta_int(r->writer, "interval_ns", (int64_t)r->options->interval_ns));
	FT_TRY(ft_node_writer_meta_int(r->writer, "start_realtime_ns",
				       t.tv_sec * INT64_C(1000000000) + t.tv_nsec));
	if (uname(&name) == 0)
		FT_TRY(ft_node_writer_meta(r->writer, "kernel", name.release));
	write_thp(r, "enabled");
	write_thp(r, "defrag");
	return r->error;
}

static struct ft_error *record(struct no_recorder *r, int signal_fd)
{
	const struct no_options *options = r->options;

	FT_TRY(write_facts(r));
	if (options->trace)
		FT_TRY(start_trace(r));
	FT_TRY(no_sample(r, true));
	FT_TRY(write_sources(r));
	FT_TRY(ft_node_writer_commit(r->writer));
	if (options->pages)
		FT_TRY(no_snapshot(r));
	FT_TRY(take_samples(r, signal_fd));
	FT_TRY(no_sample(r, true));
	if (options->pages)
		FT_TRY(no_snapshot(r));
	if (options->try_compact)
		FT_TRY(try_compact(r));
	if (r->trace)
		no_trace_stop(r->trace);
	FT_TRY(no_drain(r));
	FT_TRY(flush_events(r));
	for (size_t i = 0; i < r->n_zones; i++)
		FT_TRY(ft_node_writer_zone(r->writer, &r->zones[i].row));
	FT_TRY(ft_node_writer_meta_int(r->writer, "end_ns", (int64_t)no_now(r)));
	return write_sources(r);
}

/* An existing file is never overwritten: NAME.2.frag, NAME.3.frag ... */
static struct ft_error *create(const char *output, char **path, struct ft_node_writer **ret)
{
	size_t len = strlen(output);
	const char *suffix = len > 5 && !strcmp(output + len - 5, ".frag") ? ".frag" : "";

	len -= strlen(suffix);
	for (unsigned i = 1; i < NAMES_MAX; i++) {
		struct ft_error *error;
		char number[16] = "";

		if (i > 1)
			snprintf(number, sizeof(number), ".%u", i);
		if (asprintf(path, "%.*s%s%s", (int)len, output, number, suffix) < 0) {
			*path = NULL;
			return &ft_enomem;
		}
		error = ft_node_writer_create(*path, ret);
		if (!error || error->os_errno != EEXIST)
			return error;
		ft_error_destroy(error);
		free(*path);
	}
	*path = NULL;
	return ft_error_create(FT_ERROR_USAGE, "%s and %d more names are taken", output, NAMES_MAX);
}

static void say(const struct no_recorder *r, const char *path)
{
	for (size_t i = 0; i < NO_SOURCES; i++) {
		const struct no_source_state *s = &r->sources[i];

		if (s->tried && s->os_errno)
			fprintf(stderr, "fragtrace: without %s: %s (%s)\n", s->name,
				s->detail ? s->detail : no_status(s->os_errno), s->path);
	}
	if (r->n_lost)
		fprintf(stderr,
			"fragtrace: the kernel overwrote %" PRIu64 " events before they were read; "
			"--buffer makes more room\n",
			r->n_lost);
	if (r->options->quiet)
		return;
	printf("%s: %" PRIu64 " samples", path, r->n_samples);
	if (r->n_snapshots)
		printf(", %" PRIu32 " snapshots of all page frames", r->n_snapshots);
	if (r->sources[NO_TRACE].tried && !r->sources[NO_TRACE].os_errno)
		printf(", %" PRIu64 " events", r->n_events);
	putchar('\n');
}

static void deinit(struct no_recorder *r)
{
	no_trace_close(r->trace);
	for (size_t i = 0; r->cpus && i < FT_NODE_MAX_CPUS; i++)
		free(r->cpus[i].events);
	free(r->cpus);
	free(r->flags);
	free(r->runs);
	free(r->trace_detail);
	if (r->pages_fd >= 0)
		close(r->pages_fd);
	ft_map_deinit(&r->last);
	ft_strbuf_deinit(&r->text);
}

struct ft_error *no_record(const struct no_options *options)
{
	struct no_recorder r = {.options = options, .start_ns = monotonic(), .pages_fd = -1};
	ft_auto_free char *path = NULL;
	ft_auto_close int signal_fd = -1;
	struct ft_error *error;
	const char *debugfs;
	sigset_t set;

	if (options->try_compact && access(source_paths[NO_COMPACT].path, W_OK) < 0)
		return ft_error_os(errno, "--try-compact: %s", source_paths[NO_COMPACT].path);
	for (size_t i = 0; i < NO_SOURCES; i++) {
		r.sources[i].name = source_paths[i].name;
		snprintf(r.sources[i].path, sizeof(r.sources[i].path), "%s", source_paths[i].path);
	}
	ft_map_init(&r.last);
	ft_strbuf_init(&r.text);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (signal_fd < 0)
		return ft_error_os(errno, "no signalfd");
	/* Made before the file: the name of a file is of the mounts that everybody sees. */
	error = create(options->output ? options->output : "node.frag", &path, &r.writer);
	if (!error) {
		int missing = no_debugfs(&debugfs);

		if (missing) {
			no_source_failed(&r, NO_UNUSABLE, missing, NULL);
			no_source_failed(&r, NO_EXTFRAG, missing, NULL);
		}
		error = record(&r, signal_fd);
		if (!error)
			error = ft_node_writer_finish(r.writer);
		else
			ft_node_writer_close(r.writer);
	}
	if (!error)
		say(&r, path);
	deinit(&r);
	return error;
}

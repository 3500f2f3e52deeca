/* SPDX-License-Identifier: MIT */
/* The kernel's tracepoints: see no_trace.h. */
#include "no_trace.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ft_cleanup.h"
#include "no_files.h"
#include "no_ring.h"

#define INSTANCE "fragtrace."

/* A drain ends even if events come faster than they are read. */
enum { PAGE_MAX = 65536, DRAIN_PAGES = 1 << 16 };

struct no_trace {
	char *path; /* of the instance */
	struct no_layout layouts[FT_NODE_EVENT_KINDS];
	int *fds; /* a cpu */
	uint64_t *overruns;
	size_t n_cpus;
	size_t page_bytes;
	uint8_t *page;
};

/* ---- the instance ---------------------------------------------------------------------------- */

/* rmdir() fails for an instance whose buffers somebody has open. */
static void remove_stale(const char *instances)
{
	DIR *dir = opendir(instances);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *digits = entry->d_name + strlen(INSTANCE);
		ft_auto_free char *path = NULL;

		if (strncmp(entry->d_name, INSTANCE, strlen(INSTANCE)) != 0 ||
		    !isdigit((unsigned char)*digits) ||
		    (kill((pid_t)strtol(digits, NULL, 10), 0) == 0 || errno != ESRCH))
			continue;
		if (asprintf(&path, "%s/%s", instances, entry->d_name) < 0)
			path = NULL;
		else
			rmdir(path);
	}
	if (dir)
		closedir(dir);
}

static struct ft_error *set(const struct no_trace *trace, const char *file, const char *value)
{
	ft_auto_free char *path = NULL;

	if (asprintf(&path, "%s/%s", trace->path, file) < 0) {
		path = NULL;
		return &ft_enomem;
	}

	ft_auto_close int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return ft_error_os(errno, "cannot write %s", path);
	return NULL;
}

static struct ft_error *find_event(struct no_trace *trace, unsigned kind)
{
	ft_auto_free char *path = NULL;
	ft_auto_strbuf struct ft_strbuf text;
	struct no_format format;

	ft_strbuf_init(&text);
	if (asprintf(&path, "%s/events/%s/format", trace->path, no_event_names[kind - 1]) < 0) {
		path = NULL;
		return &ft_enomem;
	}
	if (no_file_read(path, &text) != 0)
		return NULL; /* this kernel does not have it */
	if (!no_parse_format(ft_strbuf_text(&text), text.len, &format) ||
	    !no_layout_make((enum ft_node_event_kind)kind, &format, &trace->layouts[kind]))
		return ft_error_create(FT_ERROR_INPUT, "%s: not as expected", path);
	return NULL;
}

static struct ft_error *open_cpus(struct no_trace *trace)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);

	trace->n_cpus = n < 1 ? 1 : n > FT_NODE_MAX_CPUS ? FT_NODE_MAX_CPUS : (size_t)n;
	trace->fds = calloc(trace->n_cpus, sizeof(*trace->fds));
	trace->overruns = calloc(trace->n_cpus, sizeof(*trace->overruns));
	if (!trace->fds || !trace->overruns) {
		trace->n_cpus = 0;
		return &ft_enomem;
	}
	for (size_t i = 0; i < trace->n_cpus; i++) {
		ft_auto_free char *path = NULL;

		trace->fds[i] = -1;
		if (asprintf(&path, "%s/per_cpu/cpu%zu/trace_pipe_raw", trace->path, i) < 0) {
			path = NULL;
			return &ft_enomem;
		}
		trace->fds[i] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (trace->fds[i] < 0 && errno != ENOENT)
			return ft_error_os(errno, "cannot open %s", path);
	}
	return NULL;
}

static struct ft_error *set_up(struct no_trace *trace, unsigned buffer_kib)
{
	ft_auto_strbuf struct ft_strbuf text;
	ft_auto_free char *path = NULL;
	char size[32];

	ft_strbuf_init(&text);
	snprintf(size, sizeof(size), "%u", buffer_kib);
	FT_TRY(set(trace, "tracing_on", "0"));
	FT_TRY(set(trace, "buffer_size_kb", size));
	/* The clock that all our times are of. */
	FT_TRY(set(trace, "trace_clock", "mono"));
	for (unsigned kind = 1; kind < FT_NODE_EVENT_KINDS; kind++)
		FT_TRY(find_event(trace, kind));
	if (!trace->layouts[FT_NODE_TAKE].has || !trace->layouts[FT_NODE_DRAIN].has ||
	    !trace->layouts[FT_NODE_RELEASE].has)
		return ft_error_create(FT_ERROR_INPUT,
				       "this kernel has no tracepoints of its page allocator");
	/* Buffers are read by sub-buffers, a page each unless somebody says otherwise. */
	trace->page_bytes = 4096;
	if (asprintf(&path, "%s/buffer_subbuf_size_kb", trace->path) < 0)
		path = NULL;
	if (path && no_file_read(path, &text) == 0) {
		unsigned long kib = strtoul(ft_strbuf_text(&text), NULL, 10);

		if (kib >= 4 && kib * 1024 <= PAGE_MAX)
			trace->page_bytes = kib * 1024;
	}
	trace->page = malloc(trace->page_bytes);
	if (!trace->page)
		return &ft_enomem;
	return open_cpus(trace);
}

struct ft_error *no_trace_open(const char *tracefs, unsigned buffer_kib, struct no_trace **ret)
{
	ft_auto_free char *instances = NULL;
	struct no_trace *trace;
	struct ft_error *error;

	if (asprintf(&instances, "%s/instances", tracefs) < 0) {
		instances = NULL;
		return &ft_enomem;
	}
	remove_stale(instances);
	trace = calloc(1, sizeof(*trace));
	if (!trace)
		return &ft_enomem;
	if (asprintf(&trace->path, "%s/" INSTANCE "%d", instances, (int)getpid()) < 0) {
		free(trace);
		return &ft_enomem;
	}
	if (mkdir(trace->path, 0700) < 0) {
		error = ft_error_os(errno, "cannot make %s", trace->path);
		free(trace->path);
		free(trace);
		return error;
	}
	error = set_up(trace, buffer_kib);
	if (error) {
		no_trace_close(trace);
		return error;
	}
	*ret = trace;
	return NULL;
}

void no_trace_close(struct no_trace *trace)
{
	if (!trace)
		return;
	for (size_t i = 0; i < trace->n_cpus; i++)
		if (trace->fds[i] >= 0)
			close(trace->fds[i]);
	no_trace_stop(trace);
	rmdir(trace->path);
	free(trace->fds);
	free(trace->overruns);
	free(trace->page);
	free(trace->path);
	free(trace);
}

static struct ft_error *enable(const struct no_trace *trace, const char *value)
{
	for (unsigned kind = 1; kind < FT_NODE_EVENT_KINDS; kind++) {
		char file[96];

		snprintf(file, sizeof(file), "events/%s/enable", no_event_names[kind - 1]);
		if (trace->layouts[kind].has)
			FT_TRY(set(trace, file, value));
	}
	return NULL;
}

struct ft_error *no_trace_start(struct no_trace *trace)
{
	FT_TRY(enable(trace, "1"));
	return set(trace, "tracing_on", "1");
}

void no_trace_stop(struct no_trace *trace)
{
	ft_error_destroy(set(trace, "tracing_on", "0"));
	ft_error_destroy(enable(trace, "0"));
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct ft_error *check_overrun(struct no_trace *trace, size_t cpu,
				      const struct no_trace_sink *sink)
{
	ft_auto_free char *path = NULL;
	ft_auto_strbuf struct ft_strbuf text;
	uint64_t n;

	ft_strbuf_init(&text);
	if (asprintf(&path, "%s/per_cpu/cpu%zu/stats", trace->path, cpu) < 0) {
		path = NULL;
		return &ft_enomem;
	}
	if (no_file_read(path, &text) != 0)
		return NULL;
	n = no_parse_stat(ft_strbuf_text(&text), text.len, "overrun") +
	    no_parse_stat(ft_strbuf_text(&text), text.len, "commit overrun") +
	    no_parse_stat(ft_strbuf_text(&text), text.len, "dropped events");
	if (n > trace->overruns[cpu])
		sink->lost(sink->ctx, (uint16_t)cpu, n - trace->overruns[cpu]);
	trace->overruns[cpu] = n;
	return NULL;
}

struct ft_error *no_trace_drain(struct no_trace *trace, const struct no_trace_sink *sink)
{
	for (size_t cpu = 0; cpu < trace->n_cpus; cpu++) {
		if (trace->fds[cpu] < 0)
			continue;
		for (unsigned pages = 0; pages < DRAIN_PAGES; pages++) {
			ssize_t got = read(trace->fds[cpu], trace->page, trace->page_bytes);
			struct no_page_facts facts;

			if (got < 0 && errno == EINTR)
				continue;
			if (got < 0 && errno != EAGAIN)
				return ft_error_os(errno, "cannot read trace_pipe_raw");
			if (got <= 0)
				break;
			no_ring_page(trace->page, (size_t)got, trace->layouts, (uint16_t)cpu,
				     sink->event, sink->ctx, &facts);
			/* Overwritten events are in the statistics; a page that makes no sense is
			 * not. */
			if (facts.n_bad)
				sink->lost(sink->ctx, (uint16_t)cpu, facts.n_bad);
		}
		FT_TRY(check_overrun(trace, cpu, sink));
	}
	return NULL;
}

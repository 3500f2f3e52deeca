/* SPDX-License-Identifier: MIT */
/* The recorder's inside, shared by the files that fill a recording. */
#ifndef NO_RECORDER_H
#define NO_RECORDER_H

#include "fragtrace/node.h"
#include "ft_map.h"
#include "ft_strbuf.h"
#include "no_parse.h"
#include "no_record.h"
#include "no_trace.h"

enum { NO_ZONES_MAX = 64 };

enum no_source {
	NO_BUDDYINFO,
	NO_ZONEINFO,
	NO_VMSTAT,
	NO_MEMINFO,
	NO_PRESSURE,
	NO_PAGETYPEINFO,
	NO_SLABINFO,
	NO_UNUSABLE,
	NO_EXTFRAG,
	NO_KPAGEFLAGS,
	NO_TRACE,
	NO_COMPACT,
	NO_SOURCES,
};

struct no_zone {
	struct no_zone_name name;
	struct ft_node_zone_row row;
	uint64_t pcp_count;
	int64_t orders[2][NO_ORDERS]; /* buddyinfo, as it was read first and second */
};

struct no_recorder {
	const struct no_options *options;
	struct ft_node_writer *writer;
	struct ft_strbuf text;
	uint64_t start_ns; /* CLOCK_MONOTONIC of time 0 */
	struct no_source_state {
		const char *name;
		char path[64];
		int os_errno;
		bool tried, off, changed;
		const char *detail; /* static, or of `details` */
	} sources[NO_SOURCES];
	char *trace_detail;
	struct no_zone zones[NO_ZONES_MAX];
	size_t n_zones;
	struct ft_map last; /* mix of a source and a key -> the value that was written last */
	struct no_trace *trace;
	struct no_cpu_events {
		struct ft_node_event *events;
		size_t n;
	} * cpus; /* FT_NODE_MAX_CPUS */
	uint64_t n_events, n_lost, drained_ns;
	uint64_t n_samples;
	uint32_t n_snapshots;
	int pages_fd;
	uint64_t *flags;	  /* NO_PAGES_AT_ONCE */
	struct ft_node_run *runs; /* as many */
	uint64_t time_ns;	  /* of the sample that is being taken */
	unsigned pass;		  /* which of `orders` is being read */
	const char *index_kind;
	struct ft_error *error; /* the first one of a callback */
};

uint64_t no_now(const struct no_recorder *r);
/* Keep the first error of a callback that can't return one. */
void no_keep(struct no_recorder *r, struct ft_error *error);
/* Read a source into `text`; false: it is not there, and the recording will say so. */
bool no_source_read(struct no_recorder *r, enum no_source source);
void no_source_failed(struct no_recorder *r, enum no_source source, int os_errno,
		      const char *detail);
/* The zone, made if it is new; NULL: there are too many. */
struct no_zone *no_zone_find(struct no_recorder *r, const struct no_zone_name *name);
/* A figure, if it is not what was written last. */
void no_figure(struct no_recorder *r, const char *source, const char *key, int64_t value);

/* no_sample.c: one sample; `full`: also what is dear to read. */
struct ft_error *no_sample(struct no_recorder *r, bool full);
/* Rows of buddyinfo as it is now. */
struct ft_error *no_sample_free(struct no_recorder *r);

/* no_snapshot.c */
struct ft_error *no_snapshot(struct no_recorder *r);

/* no_record.c: what the tracepoints gave since the last time. */
struct ft_error *no_drain(struct no_recorder *r);

#endif

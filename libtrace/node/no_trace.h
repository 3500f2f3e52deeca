/* SPDX-License-Identifier: MIT */
/*
 * The kernel's tracepoints of pages and compaction, by an instance of our own
 *
 * An instance has its own buffers and its own events: whatever else is traced on the machine is
 * left alone, and what we switch on ends with the instance. One that a killed recorder left behind
 * is removed by the next. Single-threaded.
 */
#ifndef NO_TRACE_H
#define NO_TRACE_H

#include "fragtrace/node.h"
#include "ft_error.h"

struct no_trace;

/* The folder of tracefs; begins nothing. `buffer_kib`: for each cpu. */
struct ft_error *no_trace_open(const char *tracefs, unsigned buffer_kib, struct no_trace **ret);
/* Removes the instance. NULL is fine. */
void no_trace_close(struct no_trace *trace);

struct ft_error *no_trace_start(struct no_trace *trace);
void no_trace_stop(struct no_trace *trace);

struct no_trace_sink {
	/* Events of one cpu come in the order of their times; times are CLOCK_MONOTONIC. */
	void (*event)(void *ctx, const struct ft_node_event *event);
	/* The kernel overwrote events of a cpu; their number may be unknown (0). */
	void (*lost)(void *ctx, uint16_t cpu, uint64_t n);
	void *ctx;
};
/* Take what the buffers hold. */
struct ft_error *no_trace_drain(struct no_trace *trace, const struct no_trace_sink *sink);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Symbols of recordings that are closed: a process each, one after another
 *
 * It is the program's machine: one at a time, in the order in which they were closed. Main thread
 * only.
 */
#ifndef CO_RESOLVER_H
#define CO_RESOLVER_H

#include <stdbool.h>
#include <sys/types.h>

/* The recording has its symbols, or (`failed`) will have to do without. */
typedef void co_resolved_fn(void *ctx, void *arg, bool failed);

struct co_resolver_job;

struct co_resolver {
	const char *self;     /* program to start with --symbolize FILE */
	co_resolved_fn *done; /* from co_resolver_add() or co_resolver_reap() */
	void *ctx;
	struct co_resolver_job *jobs; /* the first one runs */
};

/* `path` is borrowed until `done` is called with `arg`, which may be at once. */
void co_resolver_add(struct co_resolver *resolver, const char *path, void *arg);

/* A child has ended. */
void co_resolver_reap(struct co_resolver *resolver);

#endif

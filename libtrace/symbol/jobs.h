/* SPDX-License-Identifier: MIT */
/*
 * Jobs: one module with the addresses to look up in it
 *
 * ft_jobs_run() does them here, ft_jobs_run_isolated() in a worker process; both report through the
 * same sink, in the order of the jobs: frames of a job (by ascending offset, innermost first), then
 * its end.
 */
#ifndef FT_SYMBOL_JOBS_H
#define FT_SYMBOL_JOBS_H

#include "ft_error.h"
#include "object.h"

struct ft_job {
	uint32_t module; /* id in the recording */
	struct ft_object_identity identity;
	const struct ft_lookup *lookups; /* sorted by address, offsets distinct */
	size_t n;
};

struct ft_job_settings {
	const char *debug_dirs;
	const char *cache_dir; /* NULL: no cache */
	uint64_t cache_max_bytes;
	double deadline; /* CLOCK_MONOTONIC seconds */
	int nice;
};

struct ft_job_end {
	uint32_t status; /* enum ft_object_status; DAMAGED also when the worker died */
	uint32_t timed_out;
	uint64_t n_cached; /* lookups that the cache answered */
};

/* The callbacks' errors end the run and are returned by it. */
struct ft_job_sink {
	struct ft_error *(*frame)(void *ctx, const struct ft_job *job, uint64_t offset,
				  uint32_t depth, const struct ft_frame *frame);
	struct ft_error *(*end)(void *ctx, const struct ft_job *job, const struct ft_job_end *end);
	void *ctx;
};

/* Jobs that the deadline leaves no time for are not reported. */
struct ft_error *ft_jobs_run(const struct ft_job *jobs, size_t n,
			     const struct ft_job_settings *settings,
			     const struct ft_job_sink *sink);
struct ft_error *ft_jobs_run_isolated(const struct ft_job *jobs, size_t n,
				      const struct ft_job_settings *settings,
				      const struct ft_job_sink *sink);

double ft_monotonic_seconds(void);

#endif

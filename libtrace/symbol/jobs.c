/* SPDX-License-Identifier: MIT */
/* A job: ask the cache, look the rest up, remember it, report. */
#include <stdlib.h>
#include <time.h>

#include "cache.h"
#include "ft_cleanup.h"
#include "jobs.h"

double ft_monotonic_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A return address and the start of a function can be the same number and mean different code. */
static uint64_t cache_key(const struct ft_lookup *lookup)
{
	return lookup->offset << 1 | (lookup->address == lookup->offset);
}

static void copy_entry(struct ft_frame_table *to, uint64_t key, const struct ft_frame_table *from,
		       const struct ft_frame_entry *entry)
{
	ft_frame_table_begin(to, key);
	for (uint32_t i = 0; i < entry->n; i++) {
		const struct ft_frame *frame = &from->frames[entry->first + i];
		ft_frame_table_push(to, frame->function, frame->file, frame->line);
	}
}

/* The lookups that `cached` doesn't answer, malloc'ed; the others' answers go to `answers`. */
static struct ft_lookup *ask_cache(const struct ft_job *job, const struct ft_frame_table *cached,
				   struct ft_frame_table *answers, size_t *n_missing)
{
	struct ft_lookup *missing = calloc(job->n ? job->n : 1, sizeof(*missing));
	if (!missing)
		return NULL;
	*n_missing = 0;
	for (size_t i = 0; i < job->n; i++) {
		const struct ft_frame_entry *entry =
			ft_frame_table_find(cached, cache_key(&job->lookups[i]));
		if (entry)
			copy_entry(answers, job->lookups[i].offset, cached, entry);
		else
			missing[(*n_missing)++] = job->lookups[i];
	}
	return missing;
}

/* Add what was found to what was known, and keep it. `cached` is used up. */
static void remember(const struct ft_job *job, const struct ft_job_settings *settings,
		     const char *fingerprint, const struct ft_lookup *found, size_t n_found,
		     const struct ft_frame_table *answers, struct ft_frame_table *cached)
{
	for (size_t i = 0; i < n_found; i++) {
		const struct ft_frame_entry *entry = ft_frame_table_find(answers, found[i].offset);
		if (entry)
			copy_entry(cached, cache_key(&found[i]), answers, entry);
	}
	ft_frame_table_sort(cached);
	if (!cached->failed)
		ft_cache_store(settings->cache_dir, job->identity.build_id, fingerprint, cached,
			       settings->cache_max_bytes);
}

static struct ft_error *report(const struct ft_job *job, const struct ft_frame_table *answers,
			       const struct ft_job_sink *sink)
{
	for (size_t i = 0; i < answers->n_entries; i++) {
		const struct ft_frame_entry *entry = &answers->entries[i];
		for (uint32_t depth = 0; depth < entry->n; depth++)
			FT_TRY(sink->frame(sink->ctx, job, entry->offset, depth,
					   &answers->frames[entry->first + depth]));
	}
	return NULL;
}

static void resolve(const struct ft_job *job, const struct ft_job_settings *settings,
		    struct ft_object *object, struct ft_frame_table *answers,
		    struct ft_job_end *end)
{
	bool may_cache = settings->cache_dir && job->identity.build_id;
	ft_auto_free char *fingerprint = may_cache ? ft_object_fingerprint(object) : NULL;
	struct ft_frame_table cached;
	ft_frame_table_init(&cached);
	if (fingerprint)
		ft_cache_load(settings->cache_dir, job->identity.build_id, fingerprint, &cached);

	size_t n_missing;
	ft_auto_free struct ft_lookup *missing = ask_cache(job, &cached, answers, &n_missing);
	if (!missing) {
		answers->failed = true;
		ft_frame_table_deinit(&cached);
		return;
	}
	end->n_cached = job->n - n_missing;
	if (n_missing)
		ft_object_resolve(object, missing, n_missing, answers);
	ft_frame_table_sort(answers);
	if (n_missing && fingerprint && !answers->failed && !object->incomplete)
		remember(job, settings, fingerprint, missing, n_missing, answers, &cached);
	ft_frame_table_deinit(&cached);
}

static struct ft_error *run_one(const struct ft_job *job, const struct ft_job_settings *settings,
				const struct ft_job_sink *sink)
{
	struct ft_job_end end = {0};
	struct ft_object object;
	struct ft_frame_table answers;

	ft_frame_table_init(&answers);
	end.status = ft_object_open(&object, &job->identity, settings->debug_dirs);
	object.deadline = settings->deadline;
	if (end.status == FT_OBJECT_OK)
		resolve(job, settings, &object, &answers, &end);
	end.timed_out = object.timed_out;
	ft_object_close(&object);

	struct ft_error *error = answers.failed ? &ft_enomem : report(job, &answers, sink);
	ft_frame_table_deinit(&answers);
	return error ? error : sink->end(sink->ctx, job, &end);
}

struct ft_error *ft_jobs_run(const struct ft_job *jobs, size_t n,
			     const struct ft_job_settings *settings, const struct ft_job_sink *sink)
{
	for (size_t i = 0; i < n && ft_monotonic_seconds() < settings->deadline; i++)
		FT_TRY(run_one(&jobs[i], settings, sink));
	return NULL;
}

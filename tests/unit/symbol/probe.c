/* SPDX-License-Identifier: MIT */
/* Print the frames of the addresses on stdin: probe FILE BUILD-ID. One line a frame, tab-separated:
 * address, depth, function, file, line. For compare.py. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "jobs.h"

static struct ft_error *print_frame(void *ctx, const struct ft_job *job, uint64_t offset,
				    uint32_t depth, const struct ft_frame *frame)
{
	printf("%" PRIx64 "\t%u\t%s\t%s\t%u\n", offset, depth,
	       frame->function ? frame->function : "??", frame->file ? frame->file : "??",
	       frame->line);
	return NULL;
}

static struct ft_error *print_end(void *ctx, const struct ft_job *job, const struct ft_job_end *end)
{
	if (end->status != FT_OBJECT_OK || end->timed_out)
		fprintf(stderr, "status %u, timed out %u\n", end->status, end->timed_out);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const struct ft_lookup *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	size_t n = 0, max = 0;
	struct ft_lookup *lookups = NULL;
	for (uint64_t address; scanf("%" SCNx64, &address) == 1; n++) {
		if (n == max) {
			max = max ? max * 2 : 1024;
			lookups = reallocarray(lookups, max, sizeof(*lookups));
			if (!lookups)
				return 1;
		}
		lookups[n] = (struct ft_lookup){.offset = address, .address = address};
	}
	if (n)
		qsort(lookups, n, sizeof(*lookups), compare);

	struct ft_job job = {
		.identity = {.path = argv[1], .build_id = argv[2]}, .lookups = lookups, .n = n};
	struct ft_job_settings settings = {.debug_dirs = "/usr/lib/debug",
					   .deadline = ft_monotonic_seconds() + 60};
	struct ft_job_sink sink = {.frame = print_frame, .end = print_end};
	struct ft_error *error = ft_jobs_run(&job, 1, &settings, &sink);
	if (error)
		fprintf(stderr, "%s\n", error->message);
	ft_error_destroy(error);
	free(lookups);
	return error != NULL;
}

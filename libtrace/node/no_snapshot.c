/* SPDX-License-Identifier: MIT */
/*
 * A snapshot of all page frames
 *
 * It takes a second for 24 GiB, and the machine goes on meanwhile: each stretch has the times
 * between which it was read, so that events can be put before or behind it, and buddyinfo is read
 * before and after each zone, so that a zone that stood still can be told.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "no_pages.h"
#include "no_recorder.h"

static bool prepare(struct no_recorder *r)
{
	struct no_source_state *source = &r->sources[NO_KPAGEFLAGS];

	if (source->tried)
		return r->pages_fd >= 0;
	r->pages_fd = open(source->path, O_RDONLY | O_CLOEXEC);
	no_source_failed(r, NO_KPAGEFLAGS, r->pages_fd < 0 ? errno : 0, NULL);
	return r->pages_fd >= 0;
}

static struct ft_error *stretch(struct no_recorder *r, uint64_t first, size_t n)
{
	struct ft_node_pages_row row = {
		.snapshot = r->n_snapshots, .first_pfn = first, .n_pages = (uint32_t)n};
	int error;

	row.begin_ns = no_now(r);
	error = no_pages_read(r->pages_fd, first, n, r->flags);
	row.end_ns = no_now(r);
	if (error)
		return ft_error_os(error, "cannot read /proc/kpageflags");
	row.n_runs = no_pages_runs(r->flags, first, n, r->runs);
	row.runs = r->runs;
	return ft_node_writer_pages(r->writer, &row);
}

struct ft_error *no_snapshot(struct no_recorder *r)
{
	if (!prepare(r))
		return NULL;
	if (!r->flags) {
		r->flags = malloc(NO_PAGES_AT_ONCE * sizeof(*r->flags));
		r->runs = malloc(NO_PAGES_AT_ONCE * sizeof(*r->runs));
		if (!r->flags || !r->runs)
			return &ft_enomem;
	}
	r->n_snapshots++;
	for (size_t z = 0; z < r->n_zones; z++) {
		uint64_t at = r->zones[z].row.start_pfn, end = at + r->zones[z].row.spanned;

		if (!r->zones[z].row.present)
			continue;
		FT_TRY(no_sample_free(r));
		while (at < end) {
			/* No block of the buddy allocator crosses a multiple of this. */
			uint64_t next = (at / NO_PAGES_AT_ONCE + 1) * NO_PAGES_AT_ONCE;

			next = next < end ? next : end;
			FT_TRY(stretch(r, at, (size_t)(next - at)));
			FT_TRY(no_drain(r));
			at = next;
		}
		FT_TRY(no_sample_free(r));
	}
	return NULL;
}

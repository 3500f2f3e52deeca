/* SPDX-License-Identifier: MIT */
/* The account of a recording, for somebody who looks on: see co_watch.h. */
#include "co_watch.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "co_control.h"
#include "co_session.h"

enum { BATCH = 512 }; /* sites on the stack at a time */

static bool write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

static void latest_rss(struct co_session *session, struct co_account *watch)
{
	pthread_mutex_lock(&session->lock);
	watch->rss = watch->swap = watch->tracer = -1;
	/* The quick samples have the resident bytes alone; the others are from the last full one.
	 */
	for (uint32_t i = 0; i < session->n_rss && i < CO_RSS_SAMPLES; i++) {
		const struct co_rss *rss = &session->rss[(session->n_rss - 1 - i) % CO_RSS_SAMPLES];

		if (watch->rss < 0)
			watch->rss = rss->rss;
		if (watch->swap < 0)
			watch->swap = rss->swap;
		if (watch->tracer < 0)
			watch->tracer = rss->tracer;
	}
	pthread_mutex_unlock(&session->lock);
}

static void fill(struct co_session *session, uint64_t stamp, struct co_account *watch)
{
	const struct co_counters *counters = &session->counters;
	const struct co_timeline *timeline = &session->timeline;

	*watch = (struct co_account){
		.magic = CO_ACCOUNT_MAGIC,
		.header_bytes = sizeof(*watch),
		.site_bytes = sizeof(struct co_account_site),
		.n_sites = session->stacks.n_sites,
		.pid = session->pid,
		.part = atomic_load_explicit(&session->part, memory_order_relaxed),
		.begin_ns = session->begin_ns,
		.time_ns = co_timebase_peek(&session->timebase, stamp),
		.n_events = counters->n_events,
		.n_lost = counters->n_lost,
		.n_unknown_frees = counters->n_unknown_frees,
		.n_paused = counters->n_paused,
		.n_allocs = co_timeline_blocks(timeline, timeline->n_allocs),
		.n_frees = co_timeline_blocks(timeline, timeline->n_frees),
		.bytes_allocated = timeline->bytes_allocated,
		.bytes_freed = timeline->bytes_freed,
		.live_blocks = co_timeline_live_blocks(timeline),
		.live_bytes = co_timeline_live(timeline),
		.usable_bytes = timeline->usable_bytes,
		.peak_bytes = timeline->peak_bytes,
		.peak_ns = timeline->peak_ns,
		.sample_bytes = session->segment.sample_bytes,
		.paused = session->paused,
	};
	latest_rss(session, watch);
}

static struct co_account_site site_of(const struct co_session *session, const struct co_site *site)
{
	uint64_t n_allocs = co_timeline_blocks(&session->timeline, site->n_allocs);
	uint64_t n_frees = co_timeline_blocks(&session->timeline, site->n_frees);

	return (struct co_account_site){
		.stack = site->stack,
		.n_allocs = n_allocs,
		.n_frees = n_frees,
		.bytes_allocated = site->bytes_allocated,
		.bytes_freed = site->bytes_freed,
		.live_blocks = co_timeline_blocks(&session->timeline, site->carried_blocks) +
			       n_allocs - n_frees,
		.live_bytes = co_site_live(site),
		.peak_bytes = site->peak_bytes,
	};
}

int co_watch_write(struct co_session *session, uint64_t stamp)
{
	const struct co_stacks *stacks = &session->stacks;
	int fd = memfd_create("fragtrace-watch", MFD_CLOEXEC);
	struct co_account watch;
	bool written;

	if (fd < 0)
		return -1;
	fill(session, stamp, &watch);
	written = write_all(fd, &watch, sizeof(watch));
	for (uint32_t i = 0; i < stacks->n_sites && written;) {
		struct co_account_site batch[BATCH];
		uint32_t n = 0;

		for (; n < BATCH && i < stacks->n_sites; i++)
			batch[n++] = site_of(session, &stacks->sites[i]);
		written = write_all(fd, batch, n * sizeof(batch[0]));
	}
	if (written)
		return fd;
	close(fd);
	return -1;
}

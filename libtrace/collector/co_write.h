/* SPDX-License-Identifier: MIT */
/*
 * The write thread: blocks of the spill into recordings
 *
 * Commits each recording about once a second. What went wrong with a file ends that recording, not
 * the program: its segment is refused, so that its threads drop instead of waiting.
 */
#ifndef CO_WRITE_H
#define CO_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "co_session.h"
#include "co_spill.h"

enum co_news_kind {
	CO_NEWS_OPENED,	  /* path */
	CO_NEWS_ROTATED,  /* path: of the next recording of the session */
	CO_NEWS_FAILED,	  /* message */
	CO_NEWS_FINISHED, /* path; NULL: there is no file (any more) */
};

struct co_news {
	enum co_news_kind kind;
	struct co_session *session; /* borrowed during the call */
	const char *path, *message;
};

/* Called from the write thread. */
typedef void co_news_fn(void *ctx, const struct co_news *news);

struct co_write;

struct ft_error *co_write_create(struct co_spill *spill, co_news_fn *news, void *ctx,
				 struct co_write **ret);

/* Images of fewer events leave a row in the recording that they come of; 0, the default: none do.
 * Before the first block. */
void co_write_set_min_events(struct co_write *write, uint64_t min_events);

/* How much a recording keeps; nothing is deleted by default. Before the first block. */
void co_write_set_limits(struct co_write *write, const struct ft_limits *limits);

/* Work until the spill is closed and empty: the body of the write thread. */
void co_write_run(struct co_write *write);

/* One block, or after `timeout_ms` none; then whatever is due. False when closed and empty. */
bool co_write_step(struct co_write *write, int timeout_ms);

void co_write_destroy(struct co_write *write);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Feed: the chunks of a recording in order, decoded ahead
 *
 * Replaying is one thread's work, decoding is not: where there is a second processor, a thread with
 * a reader of its own decodes the next chunks meanwhile. A recording that is still being written,
 * or a machine with one processor, is decoded on the way; the events are the same.
 *
 * Internal to the engine. Used by one thread.
 */
#ifndef FA_FEED_H
#define FA_FEED_H

#include "fragtrace/store.h"

struct fa_feed;

/* All chunks from number `first` on that begin at `to_ns` or before. `reader` is borrowed until
 * destroy. */
struct ft_error *fa_feed_create(struct ft_reader *reader, size_t first, uint64_t to_ns,
				struct fa_feed **ret);
void fa_feed_destroy(struct fa_feed *feed); /* NULL is fine; waits for the thread */

/* The next chunk, valid until the next call; *n is 0 at the end. */
struct ft_error *fa_feed_next(struct fa_feed *feed, const struct ft_event **events, size_t *n);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Feed: the chunks of a recording in order, decoded and resolved ahead
 *
 * Telling the passes of each event is one thread's work. What comes before is not: a chunk decodes
 * without any other, so that threads with readers of their own decode several at a time, and which
 * blocks its events are about (fa_index.h) depends on the chunks before it alone. Threads resolve
 * one chunk after the other, in order. A recording that is still being written, or a machine with
 * one processor, is read on the way; events and numbers are the same.
 *
 * Internal to the engine. Used by one thread.
 */
#ifndef FA_FEED_H
#define FA_FEED_H

#include "fa_index.h"
#include "fragtrace/store.h"

struct fa_feed;

struct fa_feed_options {
	size_t first;	/* chunk */
	uint64_t to_ns; /* chunks that begin at `to_ns` or before */
	size_t end;	/* the first chunk that is not wanted; 0: there is none */
	/* It belongs to the feed until destroy, so that threads can resolve with it. NULL: they do
	 * not. */
	struct fa_index *index;
	uint32_t n_threads; /* that decode, and the user's; 0: as processors are there */
};

/* That this process may run on. */
uint32_t fa_feed_processors(void);

/* Another reader of the same file, which is complete; NULL: there is none. */
struct ft_reader *fa_feed_open_again(const struct ft_reader *reader);

/* `reader` is borrowed until destroy. */
struct ft_error *fa_feed_create(struct ft_reader *reader, const struct fa_feed_options *options,
				struct fa_feed **ret);
void fa_feed_destroy(struct fa_feed *feed); /* NULL is fine; waits for the threads */

/* The next chunk, valid until the next call; *n is 0 at the end. */
struct ft_error *fa_feed_next(struct fa_feed *feed, const struct ft_event **events, size_t *n);

/* Of the chunk at hand. */
const struct fa_resolution *fa_feed_resolution(const struct fa_feed *feed);
/* Whether it was; else the user calls fa_feed_resolve() before. */
bool fa_feed_is_resolved(const struct fa_feed *feed);
/* See fa_index_resolve(). */
struct ft_error *fa_feed_resolve(struct fa_feed *feed, struct fa_index *index, size_t from,
				 size_t to, size_t paired);

#endif

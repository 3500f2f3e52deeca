/* SPDX-License-Identifier: MIT */
/* Feed: see feed.h. */
#include "feed.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "ft_cleanup.h"

enum { BUFFERS = 4, MIN_CHUNKS = 8 };

struct buffer {
	struct ft_event *events; /* FT_CHUNK_EVENTS */
	size_t n;
	struct ft_error *error;
};

/*
 * `filled` counts chunks that the thread has decoded, `taken` those that the user has asked for;
 * buffer i % BUFFERS holds chunk i. The thread may write chunk i once i < taken + BUFFERS - 1: the
 * chunk that was asked for last is in use.
 */
struct fa_feed {
	struct ft_reader *reader; /* borrowed; unused while the thread runs */
	struct ft_reader *own;	  /* the thread's */
	size_t first, n_chunks, taken, filled;
	bool threaded, stop;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct buffer buffers[BUFFERS];
};

static void *decode_ahead(void *arg)
{
	struct fa_feed *feed = arg;

	for (size_t i = feed->first; i < feed->n_chunks; i++) {
		struct buffer *buffer = &feed->buffers[i % BUFFERS];

		pthread_mutex_lock(&feed->lock);
		while (!feed->stop && i >= feed->taken + BUFFERS - 1)
			pthread_cond_wait(&feed->changed, &feed->lock);

		bool stop = feed->stop;

		pthread_mutex_unlock(&feed->lock);
		if (stop)
			break;
		buffer->error = ft_reader_chunk(feed->own, i, buffer->events, &buffer->n);

		bool failed = buffer->error != NULL;

		pthread_mutex_lock(&feed->lock);
		feed->filled = i + 1;
		pthread_cond_signal(&feed->changed);
		pthread_mutex_unlock(&feed->lock);
		if (failed)
			break;
	}
	return NULL;
}

static bool has_second_processor(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1;
}

/* Without the thread everything works as well: what fails here is not told. */
static void start_thread(struct fa_feed *feed)
{
	if (feed->n_chunks - feed->first < MIN_CHUNKS || !has_second_processor() ||
	    ft_reader_state(feed->reader) != FT_STATE_COMPLETE)
		return;

	struct ft_error *error =
		ft_reader_open(ft_reader_path(feed->reader), FT_READER_NO_WAIT, &feed->own);

	/* The same file, still: one that was replaced meanwhile has other chunks. */
	if (!error && (ft_reader_state(feed->own) != FT_STATE_COMPLETE ||
		       ft_reader_n_events(feed->own) != ft_reader_n_events(feed->reader) ||
		       ft_reader_n_chunks(feed->own) != ft_reader_n_chunks(feed->reader)))
		return;
	if (error) {
		ft_error_destroy(error);
		return;
	}
	for (size_t i = 0; i < BUFFERS; i++) {
		if (feed->buffers[i].events)
			continue;
		feed->buffers[i].events = malloc(FT_CHUNK_EVENTS * sizeof(struct ft_event));
		if (!feed->buffers[i].events)
			return;
	}
	feed->threaded = pthread_create(&feed->thread, NULL, decode_ahead, feed) == 0;
}

struct ft_error *fa_feed_create(struct ft_reader *reader, size_t first, uint64_t to_ns,
				struct fa_feed **ret)
{
	struct fa_feed *feed = calloc(1, sizeof(*feed));

	if (!feed)
		return &ft_enomem;
	feed->reader = reader;
	pthread_mutex_init(&feed->lock, NULL);
	pthread_cond_init(&feed->changed, NULL);
	feed->first = feed->taken = feed->filled = feed->n_chunks = first;
	while (feed->n_chunks < ft_reader_n_chunks(reader) &&
	       ft_reader_chunk_info(reader, feed->n_chunks)->first_ns <= to_ns)
		feed->n_chunks++;
	feed->buffers[0].events = malloc(FT_CHUNK_EVENTS * sizeof(struct ft_event));
	if (!feed->buffers[0].events) {
		fa_feed_destroy(feed);
		return &ft_enomem;
	}
	start_thread(feed);
	*ret = feed;
	return NULL;
}

void fa_feed_destroy(struct fa_feed *feed)
{
	if (!feed)
		return;
	if (feed->threaded) {
		pthread_mutex_lock(&feed->lock);
		feed->stop = true;
		pthread_cond_signal(&feed->changed);
		pthread_mutex_unlock(&feed->lock);
		pthread_join(feed->thread, NULL);
	}
	for (size_t i = 0; i < BUFFERS; i++) {
		free(feed->buffers[i].events);
		ft_error_destroy(feed->buffers[i].error);
	}
	ft_reader_close(feed->own);
	pthread_cond_destroy(&feed->changed);
	pthread_mutex_destroy(&feed->lock);
	free(feed);
}

struct ft_error *fa_feed_next(struct fa_feed *feed, const struct ft_event **events, size_t *n)
{
	size_t i = feed->taken;
	struct buffer *buffer = &feed->buffers[feed->threaded ? i % BUFFERS : 0];

	*n = 0;
	*events = buffer->events;
	if (i == feed->n_chunks)
		return NULL;
	if (!feed->threaded) {
		feed->taken++;
		return ft_reader_chunk(feed->reader, i, buffer->events, n);
	}
	pthread_mutex_lock(&feed->lock);
	feed->taken++;
	pthread_cond_signal(&feed->changed);
	while (feed->filled <= i)
		pthread_cond_wait(&feed->changed, &feed->lock);
	pthread_mutex_unlock(&feed->lock);

	struct ft_error *error = buffer->error;

	buffer->error = NULL;
	*n = error ? 0 : buffer->n;
	return error;
}

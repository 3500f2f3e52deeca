/* SPDX-License-Identifier: MIT */
/* Feed: see feed.h. */
#include "feed.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "ft_cleanup.h"

enum {
	MIN_CHUNKS = 8,
	MAX_WORKERS = 3,
	SPARE_BUFFERS = 3,
	MAX_BUFFERS = MAX_WORKERS + SPARE_BUFFERS
};

struct buffer {
	struct ft_event *events; /* FT_CHUNK_EVENTS */
	size_t n;
	struct fa_resolution resolution;
	struct ft_error *error;
};

struct worker {
	struct fa_feed *feed;
	struct ft_reader *reader; /* owned */
	pthread_t thread;
};

/*
 * Chunks are numbered: `taken` the user has asked for, `begun` a worker has at least begun to
 * decode, `filled` are decoded and resolved. Buffer i % n_buffers holds chunk i. A worker may begin
 * chunk i once i < taken + n_buffers - 1: the chunk that was asked for last is in use. Without
 * workers there is one buffer.
 */
struct fa_feed {
	struct ft_reader *reader; /* borrowed; unused while there are workers */
	struct fa_index *index;	  /* borrowed, or NULL; whose turn it is uses it */
	size_t n_chunks, taken, begun, filled;
	bool stop;
	struct worker workers[MAX_WORKERS];
	size_t n_workers, n_buffers;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct buffer buffers[MAX_BUFFERS];
};

/* ---- workers -----------------------------------------------------------------------------------
 */

static struct buffer *buffer_of(struct fa_feed *feed, size_t chunk)
{
	return &feed->buffers[chunk % feed->n_buffers];
}

static void resolve_all(const struct fa_feed *feed, struct buffer *buffer)
{
	if (feed->index && !buffer->error &&
	    !fa_index_resolve(feed->index, buffer->events, 0, buffer->n, 0, &buffer->resolution))
		buffer->error = &ft_enomem;
}

/* The next chunk to decode, when there is room for it. False: there is none, or nobody wants it. */
static bool begin_chunk(struct fa_feed *feed, size_t *chunk)
{
	bool go;

	pthread_mutex_lock(&feed->lock);
	while (!feed->stop && feed->begun < feed->n_chunks &&
	       feed->begun >= feed->taken + feed->n_buffers - 1)
		pthread_cond_wait(&feed->changed, &feed->lock);
	*chunk = feed->begun;
	go = !feed->stop && feed->begun < feed->n_chunks;
	feed->begun += go;
	pthread_mutex_unlock(&feed->lock);
	return go;
}

/* All chunks before it are resolved. False: it will not come to that. */
static bool await_turn(struct fa_feed *feed, size_t chunk)
{
	bool stop;

	pthread_mutex_lock(&feed->lock);
	while (!feed->stop && feed->filled < chunk)
		pthread_cond_wait(&feed->changed, &feed->lock);
	stop = feed->stop;
	pthread_mutex_unlock(&feed->lock);
	return !stop;
}

static void *work(void *arg)
{
	const struct worker *worker = arg;
	struct fa_feed *feed = worker->feed;
	size_t chunk;

	while (begin_chunk(feed, &chunk)) {
		struct buffer *buffer = buffer_of(feed, chunk);

		buffer->error = ft_reader_chunk(worker->reader, chunk, buffer->events, &buffer->n);
		if (!await_turn(feed, chunk))
			break;
		resolve_all(feed, buffer);

		/* What comes behind an error is of no interest. */
		bool failed = buffer->error != NULL;

		pthread_mutex_lock(&feed->lock);
		feed->filled = chunk + 1;
		feed->stop |= failed;
		pthread_cond_broadcast(&feed->changed);
		pthread_mutex_unlock(&feed->lock);
	}
	return NULL;
}

uint32_t fa_feed_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

static bool buffer_init(struct buffer *buffer)
{
	buffer->events = malloc(FT_CHUNK_EVENTS * sizeof(struct ft_event));
	return buffer->events && fa_resolution_init(&buffer->resolution);
}

struct ft_reader *fa_feed_open_again(const struct ft_reader *reader)
{
	struct ft_reader *again;
	struct ft_error *error = ft_reader_open(ft_reader_path(reader), FT_READER_NO_WAIT, &again);

	if (error) {
		ft_error_destroy(error);
		return NULL;
	}
	/* The same file, still: one that was replaced meanwhile has other chunks. */
	if (ft_reader_state(again) == FT_STATE_COMPLETE &&
	    ft_reader_n_events(again) == ft_reader_n_events(reader) &&
	    ft_reader_n_chunks(again) == ft_reader_n_chunks(reader))
		return again;
	ft_reader_close(again);
	return NULL;
}

/* Without workers everything works as well: what fails here is not told. */
static void start_workers(struct fa_feed *feed, uint32_t n_threads)
{
	uint32_t wanted = (n_threads ? n_threads : fa_feed_processors()) - 1;

	if (wanted > MAX_WORKERS)
		wanted = MAX_WORKERS;
	if (!wanted || (!n_threads && feed->n_chunks - feed->taken < MIN_CHUNKS) ||
	    ft_reader_state(feed->reader) != FT_STATE_COMPLETE)
		return;
	for (size_t i = 1; i < wanted + SPARE_BUFFERS; i++)
		if (!buffer_init(&feed->buffers[i]))
			return;
	feed->n_buffers = wanted + SPARE_BUFFERS;
	for (uint32_t i = 0; i < wanted; i++) {
		struct worker *worker = &feed->workers[feed->n_workers];

		worker->feed = feed;
		worker->reader = fa_feed_open_again(feed->reader);
		if (!worker->reader)
			break;
		if (pthread_create(&worker->thread, NULL, work, worker) != 0) {
			ft_reader_close(worker->reader);
			break;
		}
		feed->n_workers++;
	}
	if (!feed->n_workers)
		feed->n_buffers = 1;
}

/* ---- life cycle --------------------------------------------------------------------------------
 */

struct ft_error *fa_feed_create(struct ft_reader *reader, const struct fa_feed_options *options,
				struct fa_feed **ret)
{
	struct fa_feed *feed = calloc(1, sizeof(*feed));

	if (!feed)
		return &ft_enomem;
	feed->reader = reader;
	feed->index = options->index;
	feed->n_buffers = 1;
	pthread_mutex_init(&feed->lock, NULL);
	pthread_cond_init(&feed->changed, NULL);
	feed->taken = feed->begun = feed->filled = feed->n_chunks = options->first;
	while (feed->n_chunks < ft_reader_n_chunks(reader) &&
	       (!options->end || feed->n_chunks < options->end) &&
	       ft_reader_chunk_info(reader, feed->n_chunks)->first_ns <= options->to_ns)
		feed->n_chunks++;
	if (!buffer_init(&feed->buffers[0])) {
		fa_feed_destroy(feed);
		return &ft_enomem;
	}
	start_workers(feed, options->n_threads);
	*ret = feed;
	return NULL;
}

void fa_feed_destroy(struct fa_feed *feed)
{
	if (!feed)
		return;
	pthread_mutex_lock(&feed->lock);
	feed->stop = true;
	pthread_cond_broadcast(&feed->changed);
	pthread_mutex_unlock(&feed->lock);
	for (size_t i = 0; i < feed->n_workers; i++) {
		pthread_join(feed->workers[i].thread, NULL);
		ft_reader_close(feed->workers[i].reader);
	}
	for (size_t i = 0; i < MAX_BUFFERS; i++) {
		free(feed->buffers[i].events);
		fa_resolution_deinit(&feed->buffers[i].resolution);
		ft_error_destroy(feed->buffers[i].error);
	}
	pthread_cond_destroy(&feed->changed);
	pthread_mutex_destroy(&feed->lock);
	free(feed);
}

/* ---- use ---------------------------------------------------------------------------------------
 */

struct ft_error *fa_feed_next(struct fa_feed *feed, const struct ft_event **events, size_t *n)
{
	size_t i = feed->taken;
	struct buffer *buffer = buffer_of(feed, i);
	struct ft_error *error;

	*n = 0;
	*events = buffer->events;
	if (i == feed->n_chunks)
		return NULL;
	if (feed->n_workers) {
		pthread_mutex_lock(&feed->lock);
		feed->taken++;
		pthread_cond_broadcast(&feed->changed);
		while (feed->filled <= i)
			pthread_cond_wait(&feed->changed, &feed->lock);
		pthread_mutex_unlock(&feed->lock);
	} else {
		feed->taken++;
		buffer->error = ft_reader_chunk(feed->reader, i, buffer->events, &buffer->n);
	}
	error = buffer->error;
	buffer->error = NULL;
	*n = error ? 0 : buffer->n;
	return error;
}

/* `taken` is behind the chunk at hand. */
static struct buffer *at_hand(const struct fa_feed *feed)
{
	return buffer_of((struct fa_feed *)(uintptr_t)feed, feed->taken - 1);
}

bool fa_feed_is_resolved(const struct fa_feed *feed)
{
	return feed->index && feed->n_workers;
}

const struct fa_resolution *fa_feed_resolution(const struct fa_feed *feed)
{
	return &at_hand(feed)->resolution;
}

struct ft_error *fa_feed_resolve(struct fa_feed *feed, struct fa_index *index, size_t from,
				 size_t to, size_t paired)
{
	struct buffer *buffer = at_hand(feed);

	return fa_index_resolve(index, buffer->events, from, to, paired, &buffer->resolution)
		       ? NULL
		       : &ft_enomem;
}

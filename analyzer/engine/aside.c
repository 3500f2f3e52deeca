/* SPDX-License-Identifier: MIT */
/* Aside: see fa_aside.h. */
#include "fa_aside.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine_impl.h"
#include "feed.h"

enum { ITEMS = 1 << 13, BUFFERS = 4 };

/*
 * Buffers are numbered: `filled` were handed over, of which `run` are done. Buffer i % BUFFERS is
 * that of number i; number `filled` is being filled, so that filled - run < BUFFERS.
 */
struct fa_aside {
	struct fa_aside_buffer at_hand; /* first: fa_aside_add() */
	size_t item_size;
	fa_aside_fn *function;
	void *ctx;
	bool may_thread, threaded, joined;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows, and of buffers that were handed over */
	pthread_cond_t changed;
	size_t filled, run;
	bool no_more, stop;
	struct ft_error
		*error; /* the function's, until it is returned; later buffers are not run */
	bool failed;
	unsigned char *buffers[BUFFERS]; /* owned; without a thread there is the first alone */
	size_t n_items[BUFFERS];
};

/* ---- the thread --------------------------------------------------------------------------------
 */

/* The next buffer to run; false: there is none and none will come. */
static bool await(struct fa_aside *aside, size_t *number)
{
	bool go;

	pthread_mutex_lock(&aside->lock);
	while (!aside->stop && !aside->no_more && aside->run == aside->filled)
		pthread_cond_wait(&aside->changed, &aside->lock);
	go = !aside->stop && aside->run < aside->filled;
	*number = aside->run;
	pthread_mutex_unlock(&aside->lock);
	return go;
}

static void *work(void *arg)
{
	struct fa_aside *aside = arg;
	size_t number;

	while (await(aside, &number)) {
		/* Only this thread sets it. */
		struct ft_error *error =
			aside->failed
				? NULL
				: aside->function(aside->ctx, aside->buffers[number % BUFFERS],
						  aside->n_items[number % BUFFERS]);

		pthread_mutex_lock(&aside->lock);
		if (error) {
			aside->failed = true;
			aside->error = error;
		}
		aside->run++;
		pthread_cond_broadcast(&aside->changed);
		pthread_mutex_unlock(&aside->lock);
	}
	return NULL;
}

/* Not before there is something to do: a small recording needs no thread. Without one everything
 * works as well. */
static void start(struct fa_aside *aside)
{
	aside->may_thread = false;
	for (size_t i = 1; i < BUFFERS; i++) {
		aside->buffers[i] = malloc(ITEMS * aside->item_size);
		if (!aside->buffers[i])
			return;
	}
	aside->threaded = pthread_create(&aside->thread, NULL, work, aside) == 0;
}

static void join(struct fa_aside *aside)
{
	pthread_mutex_lock(&aside->lock);
	aside->no_more = true;
	pthread_cond_broadcast(&aside->changed);
	pthread_mutex_unlock(&aside->lock);
	if (aside->threaded && !aside->joined)
		pthread_join(aside->thread, NULL);
	aside->joined = true;
}

/* ---- life cycle --------------------------------------------------------------------------------
 */

struct ft_error *fa_aside_create(const struct fa_engine *engine, size_t item_size, fa_aside_fn *run,
				 void *ctx, struct fa_aside **ret)
{
	uint32_t n_threads = engine->options.n_threads;
	struct fa_aside *aside = calloc(1, sizeof(*aside));

	if (!aside)
		return &ft_enomem;
	aside->buffers[0] = malloc(ITEMS * item_size);
	if (!aside->buffers[0]) {
		free(aside);
		return &ft_enomem;
	}
	aside->at_hand = (struct fa_aside_buffer){.items = aside->buffers[0], .room = ITEMS};
	aside->item_size = item_size;
	aside->function = run;
	aside->ctx = ctx;
	aside->may_thread = (n_threads ? n_threads : fa_feed_processors()) > 1;
	pthread_mutex_init(&aside->lock, NULL);
	pthread_cond_init(&aside->changed, NULL);
	*ret = aside;
	return NULL;
}

void fa_aside_destroy(struct fa_aside *aside)
{
	if (!aside)
		return;
	pthread_mutex_lock(&aside->lock);
	aside->stop = true;
	pthread_mutex_unlock(&aside->lock);
	join(aside);
	pthread_cond_destroy(&aside->changed);
	pthread_mutex_destroy(&aside->lock);
	ft_error_destroy(aside->error);
	for (size_t i = 0; i < BUFFERS; i++)
		free(aside->buffers[i]);
	free(aside);
}

/* ---- use ---------------------------------------------------------------------------------------
 */

/* Run what the buffer has, or hand it over. */
static struct ft_error *hand_over(struct fa_aside *aside)
{
	struct fa_aside_buffer *buffer = &aside->at_hand;
	struct ft_error *error;

	if (!aside->threaded) {
		error = aside->function(aside->ctx, buffer->items, buffer->n);
		buffer->n = 0;
		return error;
	}
	pthread_mutex_lock(&aside->lock);
	aside->n_items[aside->filled++ % BUFFERS] = buffer->n;
	pthread_cond_broadcast(&aside->changed);
	while (aside->filled - aside->run == BUFFERS)
		pthread_cond_wait(&aside->changed, &aside->lock);
	error = aside->error;
	aside->error = NULL;
	pthread_mutex_unlock(&aside->lock);
	buffer->items = aside->buffers[aside->filled % BUFFERS];
	buffer->n = 0;
	return error;
}

struct ft_error *fa_aside_flush(struct fa_aside *aside)
{
	if (aside->may_thread)
		start(aside);
	return hand_over(aside);
}

struct ft_error *fa_aside_finish(struct fa_aside *aside)
{
	struct ft_error *error = hand_over(aside);

	join(aside);
	if (!error) {
		error = aside->error;
		aside->error = NULL;
	}
	return error;
}

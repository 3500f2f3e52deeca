/* SPDX-License-Identifier: MIT */
/* Names of sites, looked up beside the screen: see fa_top_names.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fa_engine.h"
#include "fa_top_names.h"
#include "ft_arena.h"
#include "ft_cleanup.h"
#include "ft_map.h"
#include "ft_symbol.h"

enum {
	FRAMES = 128, /* where the one that titles a site is looked for */
	BATCH = 64,   /* stacks looked up at a time: the first ones are shown soon */
	QUEUE_MAX = 1 << 16,
	RETRY_MS = 500,	    /* the file does not have the stack yet: its next commit will */
	LOOKUP_SECONDS = 60 /* for one batch */
};

struct fa_top_names {
	char *path;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wanted, known; /* on CLOCK_MONOTONIC */
	bool stop;
	/* Under the lock: what is known, and what is asked for in order. */
	struct ft_map by_stack; /* stack -> struct fa_top_name *, 0: asked for */
	uint32_t *queue;
	size_t n_queued;  /* of QUEUE_MAX, and room for a batch that comes back */
	size_t n_looking; /* of the batch that is being looked up */

	/* The thread's. */
	struct ft_arena arena;
	struct ft_reader *reader;
	struct fa_engine *engine;
};

static struct timespec after_ms(unsigned ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

/* ---- the thread --------------------------------------------------------------------------------
 */

static void forget_file(struct fa_top_names *names)
{
	fa_engine_destroy(names->engine);
	names->engine = NULL;
	ft_reader_close(names->reader);
	names->reader = NULL;
}

/* An engine that replays nothing: for its names alone. */
static struct ft_error *open_file(struct fa_top_names *names)
{
	struct fa_options options = {.tables_only = true};

	forget_file(names);
	FT_TRY(ft_reader_open(names->path, FT_READER_NO_WAIT | FT_READER_ROWS, &names->reader));
	return fa_engine_create(names->reader, &options, &names->engine);
}

static size_t n_stacks(const struct fa_top_names *names)
{
	return names->engine ? fa_engine_n_stacks(names->engine) : 0;
}

/* The frame that titles the site; false: there is none. */
static bool title_frame(struct fa_top_names *names, uint32_t stack, struct fa_frame *ret)
{
	struct fa_frame frames[FRAMES];
	bool found = fa_engine_user_frames(names->engine, stack, frames, FRAMES) > 0;

	*ret = found ? frames[0] : (struct fa_frame){0};
	return found;
}

static bool has_function(struct fa_top_names *names, uint32_t stack)
{
	struct fa_frame frame;

	return title_frame(names, stack, &frame) && frame.function;
}

struct symbols {
	struct ft_symbol_row *rows;
	size_t n, capacity;
	struct ft_arena arena;
};

static struct ft_error *keep_symbol(void *ctx, const struct ft_symbol_row *row)
{
	struct symbols *symbols = ctx;
	struct ft_symbol_row *kept;

	if (symbols->n == symbols->capacity) {
		size_t capacity = symbols->capacity ? 2 * symbols->capacity : 256;

		kept = reallocarray(symbols->rows, capacity, sizeof(*kept));
		if (!kept)
			return &ft_enomem;
		symbols->rows = kept;
		symbols->capacity = capacity;
	}
	kept = &symbols->rows[symbols->n++];
	*kept = *row;
	kept->function = row->function ? ft_arena_strdup(&symbols->arena, row->function) : NULL;
	kept->file = row->file ? ft_arena_strdup(&symbols->arena, row->file) : NULL;
	return NULL;
}

/* What the recording has no names for is looked up in the modules. Without success the names are
 * places in modules. */
static void symbolize(struct fa_top_names *names, const uint32_t *stacks, size_t n)
{
	const struct ft_symbolize_options how = {
		.use_cache = true, .isolate = true, .nice = 5, .max_seconds = LOOKUP_SECONDS};
	struct symbols symbols = {0};
	uint32_t nameless[BATCH];
	size_t n_nameless = 0;

	for (size_t i = 0; i < n; i++)
		if (!has_function(names, stacks[i]))
			nameless[n_nameless++] = stacks[i];
	if (!n_nameless)
		return;
	ft_arena_init(&symbols.arena);

	struct ft_error *error = ft_symbolize_stacks(names->reader, nameless, n_nameless, &how,
						     keep_symbol, &symbols);

	if (!error)
		error = fa_engine_add_symbols(names->engine, symbols.rows, symbols.n);
	ft_error_destroy(error);
	free(symbols.rows);
	ft_arena_deinit(&symbols.arena);
}

static const char *copy(struct fa_top_names *names, const char *text)
{
	return text ? ft_arena_strdup(&names->arena, text) : NULL;
}

/* Takes the lock only to publish. */
static void name_stack(struct fa_top_names *names, uint32_t stack)
{
	static const struct fa_top_name none = {.function = "(no name)"};
	struct fa_top_name *name = ft_arena_alloc(&names->arena, sizeof(*name));
	struct fa_frame frame = {0};
	uint64_t *value;

	if (name) {
		const char *function = fa_engine_site_name(names->engine, stack);

		title_frame(names, stack, &frame);
		*name = (struct fa_top_name){.function = copy(names, function),
					     .file = copy(names, frame.file),
					     .line = frame.line};
	}
	pthread_mutex_lock(&names->lock);
	value = ft_map_get(&names->by_stack, stack);
	if (value)
		*value = (uintptr_t)(name && name->function ? name : &none);
	pthread_mutex_unlock(&names->lock);
}

/* Stacks that the file knows come to the front. */
static size_t part(uint32_t *stacks, size_t n, size_t limit)
{
	size_t n_known = 0;

	for (size_t i = 0; i < n; i++)
		if (stacks[i] < limit) {
			uint32_t other = stacks[n_known];

			stacks[n_known++] = stacks[i];
			stacks[i] = other;
		}
	return n_known;
}

static size_t look_up(struct fa_top_names *names, uint32_t *stacks, size_t n)
{
	size_t n_known = part(stacks, n, n_stacks(names));

	if (n_known < n) {
		struct ft_error *error = open_file(names);

		if (error)
			forget_file(names);
		ft_error_destroy(error);
		n_known = part(stacks, n, n_stacks(names));
	}
	if (n_known)
		symbolize(names, stacks, n_known);
	for (size_t i = 0; i < n_known; i++)
		name_stack(names, stacks[i]);
	return n_known;
}

static void *run(void *arg)
{
	struct fa_top_names *names = arg;

	pthread_mutex_lock(&names->lock);
	while (!names->stop) {
		uint32_t batch[BATCH];
		size_t n = names->n_queued < BATCH ? names->n_queued : BATCH, n_done;

		if (!n) {
			pthread_cond_wait(&names->wanted, &names->lock);
			continue;
		}
		memcpy(batch, names->queue, n * sizeof(*batch));
		names->n_queued -= n;
		memmove(names->queue, names->queue + n, names->n_queued * sizeof(*batch));
		names->n_looking = n;
		pthread_mutex_unlock(&names->lock);
		n_done = look_up(names, batch, n);
		pthread_mutex_lock(&names->lock);
		/* The writer can't make one plain file of what somebody has open. */
		if (!names->n_queued) {
			pthread_mutex_unlock(&names->lock);
			forget_file(names);
			pthread_mutex_lock(&names->lock);
		}
		names->n_looking = 0;
		for (size_t i = n_done; i < n; i++)
			names->queue[names->n_queued++] = batch[i];
		pthread_cond_broadcast(&names->known);
		if (n_done < n && !names->stop) {
			struct timespec until = after_ms(RETRY_MS);

			pthread_cond_timedwait(&names->wanted, &names->lock, &until);
		}
	}
	pthread_mutex_unlock(&names->lock);
	return NULL;
}

/* ---- for the screen ----------------------------------------------------------------------------
 */

struct ft_error *fa_top_names_create(const char *path, struct fa_top_names **ret)
{
	struct fa_top_names *names = calloc(1, sizeof(*names));
	pthread_condattr_t attributes;
	sigset_t all, before;
	int failed;

	if (!names)
		return &ft_enomem;
	names->path = strdup(path);
	names->queue = calloc(QUEUE_MAX + BATCH, sizeof(*names->queue));
	if (!names->path || !names->queue) {
		free(names->path);
		free(names->queue);
		free(names);
		return &ft_enomem;
	}
	ft_map_init(&names->by_stack);
	ft_arena_init(&names->arena);
	pthread_mutex_init(&names->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&names->wanted, &attributes);
	pthread_cond_init(&names->known, &attributes);
	pthread_condattr_destroy(&attributes);
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&names->thread, NULL, run, names);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed) {
		names->stop = true;
		fa_top_names_destroy(names);
		return ft_error_os(failed, "no thread for names");
	}
	*ret = names;
	return NULL;
}

void fa_top_names_destroy(struct fa_top_names *names)
{
	bool started, looking;

	if (!names)
		return;
	pthread_mutex_lock(&names->lock);
	started = !names->stop;
	looking = names->n_looking > 0;
	names->stop = true;
	pthread_cond_broadcast(&names->wanted);
	pthread_mutex_unlock(&names->lock);
	if (looking) {
		pthread_detach(names->thread);
		return;
	}
	if (started)
		pthread_join(names->thread, NULL);
	forget_file(names);
	pthread_cond_destroy(&names->known);
	pthread_cond_destroy(&names->wanted);
	pthread_mutex_destroy(&names->lock);
	ft_arena_deinit(&names->arena);
	ft_map_deinit(&names->by_stack);
	free(names->queue);
	free(names->path);
	free(names);
}

const struct fa_top_name *fa_top_names_get(struct fa_top_names *names, uint32_t stack)
{
	static const struct fa_top_name no_stack = {.function = "(no stack)"};
	const struct fa_top_name *name = NULL;
	uint64_t *value;
	bool created;

	if (!stack)
		return &no_stack;
	pthread_mutex_lock(&names->lock);
	value = names->n_queued < QUEUE_MAX ? ft_map_put(&names->by_stack, stack, &created)
					    : ft_map_get(&names->by_stack, stack);
	if (value)
		name = (const struct fa_top_name *)(uintptr_t)*value;
	if (value && !name && names->n_queued < QUEUE_MAX && created) {
		names->queue[names->n_queued++] = stack;
		pthread_cond_signal(&names->wanted);
	}
	pthread_mutex_unlock(&names->lock);
	return name;
}

void fa_top_names_wait(struct fa_top_names *names, unsigned milliseconds)
{
	struct timespec until = after_ms(milliseconds);

	pthread_mutex_lock(&names->lock);
	while ((names->n_queued || names->n_looking) &&
	       pthread_cond_timedwait(&names->known, &names->lock, &until) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&names->lock);
}

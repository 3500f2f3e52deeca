/* SPDX-License-Identifier: MIT */
/*
 * Aside: what a pass works out of its steps alone, beside the replay
 *
 * A simulation that is told of every event and asked nothing before the end need not hold up the
 * others: the pass writes down what it saw as items, and a function of its own is given them in
 * order, many at a time. Where processors are free that is in a thread of its own, else at once
 * when a buffer is full; the function sees the same items either way. It touches nothing that
 * anything else touches until fa_aside_finish() has returned.
 *
 * Used by the thread of the passes.
 */
#ifndef FA_ASIDE_H
#define FA_ASIDE_H

#include <stddef.h>
#include <string.h>

#include "ft_error.h"

struct fa_aside;
struct fa_engine;

typedef struct ft_error *fa_aside_fn(void *ctx, const void *items, size_t n);

/* What fa_aside_add() looks at. */
struct fa_aside_buffer {
	unsigned char *items;
	size_t n, room;
};

struct ft_error *fa_aside_create(const struct fa_engine *engine, size_t item_size, fa_aside_fn *run,
				 void *ctx, struct fa_aside **ret);
/* What was not run yet is not run any more. NULL is fine. */
void fa_aside_destroy(struct fa_aside *aside);

/* Where the buffer is full; and an error of the function. */
struct ft_error *fa_aside_flush(struct fa_aside *aside);

/* The next item; `size` is item_size, as a constant. */
static inline struct ft_error *fa_aside_add(struct fa_aside *aside, const void *item, size_t size)
{
	struct fa_aside_buffer *buffer = (struct fa_aside_buffer *)(void *)aside;

	if (__builtin_expect(buffer->n == buffer->room, 0))
		FT_TRY(fa_aside_flush(aside));
	memcpy(buffer->items + buffer->n++ * size, item, size);
	return NULL;
}

/* Room for `n` items, far fewer than a buffer has, at *ret: of those that were written there,
 * fa_aside_took() says how many count. */
static inline struct ft_error *fa_aside_reserve(struct fa_aside *aside, size_t n, size_t size,
						void **ret)
{
	struct fa_aside_buffer *buffer = (struct fa_aside_buffer *)(void *)aside;

	if (__builtin_expect(buffer->room - buffer->n < n, 0))
		FT_TRY(fa_aside_flush(aside));
	*ret = buffer->items + buffer->n * size;
	return NULL;
}

static inline void fa_aside_took(struct fa_aside *aside, size_t n)
{
	((struct fa_aside_buffer *)(void *)aside)->n += n;
}

/* All items were run; what the function made of them may be looked at, and none follow. */
struct ft_error *fa_aside_finish(struct fa_aside *aside);

#endif

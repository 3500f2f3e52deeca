/* SPDX-License-Identifier: MIT */
/*
 * Markers for programs under test: phases, and memory that the program manages itself
 *
 *	#include <fragtrace/mark.h>
 *	...
 *	fragtrace_mark("warm-up done");
 *
 * Header-only, C and C++. Without the tracer preloaded each call is one test of a weak symbol, and
 * nothing has to be linked. With it, the label and the moment are in the recording: reports show it
 * on the timeline, and analyses can be cut at it.
 *
 * A pool takes blocks from the allocator and makes objects of its own in them. To the tracer that
 * is a few large blocks; these calls tell it of the objects:
 *
 *	pool->memory = malloc(size);
 *	fragtrace_pool_create(pool, "connections");
 *	fragtrace_pool_add(pool, pool->memory);          the block is memory of the pool
 *	...
 *	fragtrace_pool_alloc(pool, object, bytes);       after the pool has made it
 *	fragtrace_pool_free(pool, object);               before the pool takes it back
 *	fragtrace_pool_reset(pool);                      all objects of the pool are gone
 *	fragtrace_pool_destroy(pool);                    and the pool, too
 *	free(pool->memory);
 *
 * Objects are then blocks like others, with their own call stacks, in everything that counts live
 * memory: sites, leaks, threads, totals. A block that was added counts as none there from then on,
 * so that no byte is counted twice; the layout of the heap knows it alone, as it was. Any thread
 *may call these, at any time but in signal handlers. In a sampled recording they do nothing.
 */
#ifndef FRAGTRACE_MARK_H
#define FRAGTRACE_MARK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In libfragtrace.so, if it is preloaded. */
extern void fragtrace_mark_(const char *label) __attribute__((weak));
extern void fragtrace_pool_(int what, const void *pool, const void *block, size_t size,
			    const char *name) __attribute__((weak));

/* `what` of fragtrace_pool_(). */
enum fragtrace_pool_call {
	FRAGTRACE_POOL_CREATE = 1,
	FRAGTRACE_POOL_ADD = 2,
	FRAGTRACE_POOL_ALLOC = 3,
	FRAGTRACE_POOL_FREE = 4,
	FRAGTRACE_POOL_RESET = 5,
	FRAGTRACE_POOL_DESTROY = 6
};

/* Macros, so that no frame of this header is in the stacks. */
#define FRAGTRACE_POOL_(what, pool, block, size, name) \
	(fragtrace_pool_ ? fragtrace_pool_((what), (pool), (block), (size), (name)) : (void)0)

/* Put a mark into the recording. Any thread, any time; labels of up to 2 000 bytes. */
#define fragtrace_mark(label) (fragtrace_mark_ ? fragtrace_mark_(label) : (void)0)

/* A pool begins. `pool` is any address that tells it from others; `name` has up to 255 bytes. */
#define fragtrace_pool_create(pool, name) \
	FRAGTRACE_POOL_(FRAGTRACE_POOL_CREATE, pool, NULL, 0, name)

/* A block that malloc() or one of its kin has returned is memory of the pool from now on, until it
 * is freed or resized. Anything else, a mapping for example, need not be added. */
#define fragtrace_pool_add(pool, block) FRAGTRACE_POOL_(FRAGTRACE_POOL_ADD, pool, block, 0, NULL)

/* The pool has made an object of `size` bytes. */
#define fragtrace_pool_alloc(pool, object, size) \
	FRAGTRACE_POOL_(FRAGTRACE_POOL_ALLOC, pool, object, size, NULL)

/* The pool is about to take an object back. */
#define fragtrace_pool_free(pool, object) \
	FRAGTRACE_POOL_(FRAGTRACE_POOL_FREE, pool, object, 0, NULL)

/* The pool is about to take all its objects back. */
#define fragtrace_pool_reset(pool) FRAGTRACE_POOL_(FRAGTRACE_POOL_RESET, pool, NULL, 0, NULL)

/* The same, and the pool ends. */
#define fragtrace_pool_destroy(pool) FRAGTRACE_POOL_(FRAGTRACE_POOL_DESTROY, pool, NULL, 0, NULL)

#ifdef __cplusplus
}
#endif
#endif

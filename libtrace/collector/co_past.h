/* SPDX-License-Identifier: MIT */
/*
 * The images that a collector has served, to tell whom a new one comes of
 *
 * The latest CO_PAST_MAX; those that still run stay however many have come and gone since, so that
 * the last child of a server that forks for weeks is known as its child, like the first. Main
 * thread only.
 */
#ifndef CO_PAST_H
#define CO_PAST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { CO_PAST_MAX = 4096 };

struct co_past_image {
	uint64_t key;	     /* what its forked children show */
	uint64_t id;	     /* of its session, from 1 */
	uint64_t start;	     /* of the process, 0: unknown; */
	pid_t pid, stat_pid; /* as seen from here, and by itself */
	bool runs;
};

/* Zeroed memory is a valid start. */
struct co_past {
	struct co_past_image images[CO_PAST_MAX]; /* a ring */
	unsigned n;				  /* places gone over */
};

void co_past_add(struct co_past *past, const struct co_past_image *image);

/* The image has ended, or another one has taken its place. */
void co_past_end(struct co_past *past, uint64_t id);

/* The session of the image that has this key; 0: nobody's. */
uint64_t co_past_of_key(const struct co_past *past, uint64_t key);

/* Of the latest image of a process, by its start and its pid as seen from here; 0: none. */
uint64_t co_past_of_process(const struct co_past *past, uint64_t start, pid_t pid);

/* The same by a pid as seen from here or by that process itself. */
uint64_t co_past_of_parent(const struct co_past *past, uint64_t start, pid_t pid);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Sets in the directory of event chunks
 *
 * So that a query for a thread or a stack skips the chunks that lack it, a chunk's row carries two
 * bit sets. The bit of a value is hash(value) % bits; a clear bit says "not in this chunk", a set
 * one "perhaps". The number of bits is the blob's length * 8, a power of two from 64 to 8192.
 */
#ifndef FT_DIRECTORY_H
#define FT_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/event.h"

enum { FT_SET_MIN_BYTES = 8, FT_SET_MAX_BYTES = 1024 };

struct ft_directory_sets {
	uint8_t threads[FT_SET_MAX_BYTES], stacks[FT_SET_MAX_BYTES];
	size_t n_threads, n_stacks; /* bytes */
};

void ft_directory_sets_make(const struct ft_event *events, size_t n,
			    struct ft_directory_sets *sets);

/* False only if no event of the chunk has `value`. A length that no writer makes says "perhaps". */
bool ft_directory_may_have(const uint8_t *set, size_t n_bytes, uint32_t value);

#endif

/* SPDX-License-Identifier: MIT */
/* Sets in the directory of event chunks: see ft_directory.h. */
#include "ft_directory.h"

#include <string.h>

static uint32_t hash(uint32_t value)
{
	return value * UINT32_C(0x9e3779b1) >> 16;
}

static void set_add(uint8_t *set, uint32_t value)
{
	uint32_t bit = hash(value) % (FT_SET_MAX_BYTES * 8);

	set[bit / 8] |= (uint8_t)(1 << bit % 8);
}

/* Fold the set in halves as long as it stays at most a quarter full: bit i and bit i + half are the
 * same value modulo half. */
static size_t set_fold(uint8_t *set)
{
	size_t n = FT_SET_MAX_BYTES;

	for (;;) {
		size_t ones = 0;

		if (n == FT_SET_MIN_BYTES)
			return n;
		for (size_t i = 0; i < n / 2; i++)
			ones += (size_t)__builtin_popcount(set[i] | set[i + n / 2]);
		if (ones > n) /* n / 2 bytes have 4n bits */
			return n;
		n /= 2;
		for (size_t i = 0; i < n; i++)
			set[i] |= set[i + n];
	}
}

void ft_directory_sets_make(const struct ft_event *events, size_t n, struct ft_directory_sets *sets)
{
	memset(sets, 0, sizeof(*sets));
	for (size_t i = 0; i < n; i++) {
		set_add(sets->threads, events[i].thread);
		set_add(sets->stacks, events[i].stack);
	}
	sets->n_threads = set_fold(sets->threads);
	sets->n_stacks = set_fold(sets->stacks);
}

bool ft_directory_may_have(const uint8_t *set, size_t n_bytes, uint32_t value)
{
	if (n_bytes < FT_SET_MIN_BYTES || n_bytes > FT_SET_MAX_BYTES || n_bytes & (n_bytes - 1))
		return true;

	size_t bit = hash(value) % (n_bytes * 8);

	return set[bit / 8] >> bit % 8 & 1;
}

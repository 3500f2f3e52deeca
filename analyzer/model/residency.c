/* SPDX-License-Identifier: MIT */
/* Residency: see fa_residency.h. */
#include "fa_residency.h"

#include <stdlib.h>

void fa_residency_deinit(struct fa_residency *residency)
{
	free(residency->runs);
	*residency = (struct fa_residency){0};
}

void fa_residency_clear(struct fa_residency *residency)
{
	residency->n = 0;
	residency->resident = residency->swapped = residency->huge = 0;
}

struct ft_error *fa_residency_add(struct fa_residency *residency, uint64_t page, uint64_t n_pages,
				  uint8_t state)
{
	if (residency->n == residency->room) {
		size_t room = residency->room ? residency->room * 2 : 64;
		struct fa_residency_run *runs = realloc(residency->runs, room * sizeof(*runs));

		if (!runs)
			return &ft_enomem;
		residency->runs = runs;
		residency->room = room;
	}
	residency->runs[residency->n++] =
		(struct fa_residency_run){.page = page, .n_pages = n_pages, .state = state};
	if (state == FA_RUN_RESIDENT || state == FA_RUN_HUGE)
		residency->resident += n_pages;
	if (state == FA_RUN_HUGE)
		residency->huge += n_pages;
	if (state == FA_RUN_SWAPPED)
		residency->swapped += n_pages;
	return NULL;
}

/* First run that ends after `page`. */
static size_t run_index(const struct fa_residency *residency, uint64_t page)
{
	size_t low = 0, high = residency->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (residency->runs[mid].page + residency->runs[mid].n_pages <= page)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct fa_residency_count fa_residency_count(const struct fa_residency *residency, uint64_t first,
					     uint64_t last)
{
	struct fa_residency_count count = {0};

	for (size_t i = run_index(residency, first); i < residency->n; i++) {
		const struct fa_residency_run *run = &residency->runs[i];
		uint64_t from = run->page > first ? run->page : first;
		uint64_t to = run->page + run->n_pages < last ? run->page + run->n_pages : last;

		if (from >= to)
			break;
		count.known += to - from;
		if (run->state == FA_RUN_RESIDENT || run->state == FA_RUN_HUGE)
			count.resident += to - from;
		if (run->state == FA_RUN_HUGE)
			count.huge += to - from;
		if (run->state == FA_RUN_SWAPPED)
			count.swapped += to - from;
	}
	return count;
}

void fa_residency_bits(const struct fa_residency *residency, uint64_t first, unsigned n,
		       uint32_t *known, uint32_t *resident)
{
	uint64_t last = first + n;

	*known = *resident = 0;
	for (size_t i = run_index(residency, first); i < residency->n; i++) {
		const struct fa_residency_run *run = &residency->runs[i];
		uint64_t from = run->page > first ? run->page : first;
		uint64_t to = run->page + run->n_pages < last ? run->page + run->n_pages : last;

		if (from >= to)
			break;

		uint32_t bits = (uint32_t)((UINT64_C(1) << (to - from)) - 1) << (from - first);

		*known |= bits;
		if (run->state == FA_RUN_RESIDENT || run->state == FA_RUN_HUGE)
			*resident |= bits;
	}
}

/* SPDX-License-Identifier: MIT */
/* Fragmentation indices: see fa_ufi.h. */
#include "fa_ufi.h"

/* Head and tail of a run hold at most one block an order each; what is between are top blocks. */
static void orders_run(struct fa_orders *orders, uint64_t start, uint64_t end, uint64_t one)
{
	const uint64_t top = UINT64_C(1) << FA_MAX_ORDER;

	while (start < end && (start & (top - 1))) {
		unsigned order = (unsigned)__builtin_ctzll(start);

		while (start + (UINT64_C(1) << order) > end)
			order--;
		orders->n[order] += one;
		start += UINT64_C(1) << order;
	}
	if (start >= end)
		return;
	orders->n[FA_MAX_ORDER] += one * ((end - start) >> FA_MAX_ORDER);
	for (uint64_t rest = (end - start) & (top - 1); rest; rest &= rest - 1)
		orders->n[__builtin_ctzll(rest)] += one;
}

void fa_orders_add(struct fa_orders *orders, uint64_t start, uint64_t end)
{
	orders_run(orders, start, end, 1);
}

void fa_orders_remove(struct fa_orders *orders, uint64_t start, uint64_t end)
{
	orders_run(orders, start, end, UINT64_MAX);
}

uint64_t fa_orders_free_pages(const struct fa_orders *orders)
{
	uint64_t pages = 0;

	for (unsigned o = 0; o < FA_ORDERS; o++)
		pages += orders->n[o] << o;
	return pages;
}

/* Blocks of 2^order pages that the free memory offers. */
static uint64_t orders_suitable(const struct fa_orders *orders, unsigned order)
{
	uint64_t blocks = 0;

	for (unsigned o = order; o < FA_ORDERS; o++)
		blocks += orders->n[o] << (o - order);
	return blocks;
}

double fa_uf_index(const struct fa_orders *orders, unsigned order)
{
	uint64_t free_pages = fa_orders_free_pages(orders);

	if (!free_pages)
		return 0;
	return (double)(free_pages - (orders_suitable(orders, order) << order)) /
	       (double)free_pages;
}

unsigned fa_unusable_milli(const struct fa_orders *orders, unsigned order)
{
	uint64_t free_pages = fa_orders_free_pages(orders);

	if (!free_pages)
		return 1000;
	return (unsigned)((free_pages - (orders_suitable(orders, order) << order)) * 1000 /
			  free_pages);
}

int fa_extfrag_milli(const struct fa_orders *orders, unsigned order)
{
	uint64_t blocks = 0;

	for (unsigned o = 0; o < FA_ORDERS; o++)
		blocks += orders->n[o];
	if (!blocks)
		return 0;
	if (orders_suitable(orders, order))
		return -1000;
	return (int)(1000 - (1000 + fa_orders_free_pages(orders) * 1000 / (UINT64_C(1) << order)) /
				    blocks);
}

unsigned fa_frag_score(const struct fa_orders *orders, unsigned order)
{
	uint64_t free_pages = fa_orders_free_pages(orders);

	if (!free_pages)
		return 0;
	return (unsigned)((free_pages - (orders_suitable(orders, order) << order)) * 100 /
			  free_pages);
}

/* SPDX-License-Identifier: MIT */
/* Requests on a buddy allocator: see fa_arena.h. */
#include "fa_arena.h"

#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 32, LARGEST = 4 << 20 };

/* In fa_arena.blocks: such a block takes nothing of the arena. */
enum { PASSED_BY = 0xff, FAILED = 0xfe };

static bool is_power(uint64_t value)
{
	return value && (value & (value - 1)) == 0;
}

static unsigned log2_of(uint64_t power)
{
	return (unsigned)__builtin_ctzll(power);
}

struct ft_error *fa_arena_init(struct fa_arena *arena, const struct fa_arena_options *options)
{
	uint64_t smallest = options->smallest ? options->smallest : SMALLEST;
	uint64_t largest = options->largest ? options->largest : LARGEST;

	*arena = (struct fa_arena){.options = *options};
	if (options->fixed && !options->largest) {
		largest = smallest;
		while (largest <= options->fixed / 2 && largest << 1)
			largest <<= 1;
	}
	if (!is_power(smallest) || !is_power(largest) || smallest > largest)
		return ft_error_create(FT_ERROR_USAGE,
				       "blocks of %llu to %llu bytes: both must be powers of two",
				       (unsigned long long)smallest, (unsigned long long)largest);
	if (options->fixed && options->fixed < smallest)
		return ft_error_create(
			FT_ERROR_USAGE, "an arena of %llu bytes holds no block of %llu",
			(unsigned long long)options->fixed, (unsigned long long)smallest);
	arena->shift = log2_of(smallest);
	arena->options.smallest = smallest;
	arena->options.largest = largest;
	FT_TRY(fa_buddy_init(&arena->buddy, options->fixed >> arena->shift,
			     log2_of(largest) - arena->shift, FA_BUDDY_ORDERS));
	arena->now.held = (uint64_t)arena->buddy.n_pages << arena->shift;
	fa_buddy_add(&arena->buddy, 0, arena->buddy.n_pages);
	return NULL;
}

void fa_arena_deinit(struct fa_arena *arena)
{
	fa_buddy_deinit(&arena->buddy);
	free(arena->blocks);
	arena->blocks = NULL;
}

static unsigned order_of(const struct fa_arena *arena, uint64_t size)
{
	uint64_t blocks = (size + arena->options.smallest - 1) >> arena->shift;

	return blocks <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(blocks - 1);
}

/* One more largest block. Room for twice as many is made at once, so that growth costs little. */
static struct ft_error *grow(struct fa_arena *arena)
{
	struct fa_buddy *buddy = &arena->buddy;
	uint32_t held = (uint32_t)(arena->now.held >> arena->shift);
	uint32_t more = UINT32_C(1) << buddy->max_order;

	if (held == buddy->n_pages)
		FT_TRY(fa_buddy_grow(buddy, (uint64_t)buddy->n_pages * 2 + more));
	fa_buddy_add(buddy, held, held + more);
	arena->now.held += arena->options.largest;
	return NULL;
}

static void fail(struct fa_arena *arena, uint64_t size, unsigned order, uint64_t seq,
		 uint64_t time_ns)
{
	const struct fa_buddy *buddy = &arena->buddy;

	arena->n_failed++;
	arena->failed_bytes += size;
	if (arena->first_failure.happened)
		return;

	uint32_t any = buddy->nonempty[0];

	arena->first_failure = (struct fa_arena_failure){
		.happened = true,
		.seq = seq,
		.time_ns = time_ns,
		.size = size,
		.order = order,
		.held = arena->now.held,
		.free_bytes = buddy->free_pages << arena->shift,
		.largest_free =
			any ? arena->options.smallest << (31 - (unsigned)__builtin_clz(any)) : 0,
	};
}

static bool reach(struct fa_arena *arena, uint32_t number)
{
	size_t n = (size_t)number + number / 2 + 1024;
	uint64_t *blocks = realloc(arena->blocks, n * sizeof(*blocks));

	if (!blocks)
		return false;
	memset(blocks + arena->n_blocks, 0, (n - arena->n_blocks) * sizeof(*blocks));
	arena->blocks = blocks;
	arena->n_blocks = n;
	return true;
}

struct ft_error *fa_arena_born(struct fa_arena *arena, uint32_t number, uint64_t size, uint64_t seq,
			       uint64_t time_ns)
{
	unsigned order = order_of(arena, size);
	uint32_t page = FA_BUDDY_NONE;
	uint64_t *slot;

	if (number >= arena->n_blocks && !reach(arena, number))
		return &ft_enomem;
	slot = &arena->blocks[number];
	if (order > arena->buddy.max_order && !arena->options.fixed) {
		*slot = ((uint64_t)PASSED_BY << 32) + 1;
		arena->now.passed_by += size;
		arena->now.n_passed++;
		return NULL;
	}
	if (order <= arena->buddy.max_order)
		page = fa_buddy_alloc(&arena->buddy, order, 0);
	if (page == FA_BUDDY_NONE && !arena->options.fixed) {
		FT_TRY(grow(arena));
		page = fa_buddy_alloc(&arena->buddy, order, 0);
	}
	if (page == FA_BUDDY_NONE) {
		*slot = ((uint64_t)FAILED << 32) + 1;
		fail(arena, size, order, seq, time_ns);
		return NULL;
	}
	*slot = (page | (uint64_t)order << 32) + 1;
	arena->now.requested += size;
	arena->now.rounded += arena->options.smallest << order;
	if (arena->now.rounded > arena->peak.rounded)
		arena->peak = arena->now;
	return NULL;
}

void fa_arena_died(struct fa_arena *arena, uint32_t number, uint64_t size)
{
	uint64_t value;

	if (number >= arena->n_blocks || !arena->blocks[number])
		return;
	value = arena->blocks[number] - 1;
	arena->blocks[number] = 0;
	if (value >> 32 == FAILED)
		return;
	if (value >> 32 == PASSED_BY) {
		arena->now.passed_by -= size;
		arena->now.n_passed--;
		return;
	}
	arena->now.requested -= size;
	arena->now.rounded -= arena->options.smallest << (value >> 32);
	fa_buddy_free(&arena->buddy, (uint32_t)value, (unsigned)(value >> 32), false);
}

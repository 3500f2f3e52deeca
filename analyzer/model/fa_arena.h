/* SPDX-License-Identifier: MIT */
/*
 * Arena: the requests of a program, served by a buddy allocator
 *
 * What would this workload cost on a binary buddy allocator? Each block takes the smallest power of
 * two of the smallest block that holds it: the difference is internal fragmentation. What the arena
 * holds free beside that is external fragmentation. An arena grows by its largest block when
 *nothing fits, or it has a fixed size and requests fail: the first that does is kept with what was
 *free.
 *
 *	requested <= rounded <= held
 *
 * Blocks larger than the largest one pass the arena by, as with real allocators, and are counted;
 *in an arena of fixed size they fail.
 *
 * Memory: 10 bytes for each smallest block that the arena holds, 8 for each block that lives.
 *Single-threaded.
 */
#ifndef FA_ARENA_H
#define FA_ARENA_H

#include "fa_buddy.h"

struct fa_arena_options {
	uint64_t smallest; /* bytes; a power of two; 0: 32 */
	uint64_t largest;  /* bytes; a power of two; 0: 4 MiB, or with a fixed size all of it */
	uint64_t fixed;	   /* bytes; 0: it grows */
};

struct fa_arena_failure {
	bool happened;
	uint64_t seq, time_ns, size;
	unsigned order;
	uint64_t held, free_bytes, largest_free;
};

struct fa_arena_figures {
	uint64_t requested; /* of live blocks in the arena */
	uint64_t rounded;
	uint64_t held;		      /* the arena's own size */
	uint64_t passed_by, n_passed; /* live bytes of blocks that are too large for it */
};

struct fa_arena {
	struct fa_buddy buddy;
	struct fa_arena_options options;
	unsigned shift;	  /* log2(smallest) */
	uint64_t *blocks; /* owned; by number: (page | order << 32) + 1, or 0; see arena.c */
	size_t n_blocks;
	struct fa_arena_figures now, peak; /* peak: when `rounded` was highest */
	uint64_t n_failed, failed_bytes;
	struct fa_arena_failure first_failure;
};

/* A size that is no power of two, or an order that is too large, is FT_ERROR_USAGE. */
struct ft_error *fa_arena_init(struct fa_arena *arena, const struct fa_arena_options *options);
void fa_arena_deinit(struct fa_arena *arena);

/* Block `number`, which is not there, came; numbers are dense. `seq` and `time_ns` are kept if it
 * is the first that fails. */
struct ft_error *fa_arena_born(struct fa_arena *arena, uint32_t number, uint64_t size, uint64_t seq,
			       uint64_t time_ns);
/* It went; unknown ones are ignored. `size` as it came. */
void fa_arena_died(struct fa_arena *arena, uint32_t number, uint64_t size);

/*
 * Block `number` goes soon: start to fetch what is known of it; some blocks later, when it should
 * be there, its place; and again some blocks later the buddy that it merges with. A number that
 * is of no block, or of one in no place, does no harm: the caller need not know which blocks go.
 */
static inline __attribute__((always_inline)) void fa_arena_prefetch(const struct fa_arena *arena,
								    uint32_t number)
{
	__builtin_prefetch(&arena->blocks[number < arena->n_blocks ? number : 0], 1);
}

/* The place of a block as it is in `blocks`; page 0 of what is in none. */
static inline __attribute__((always_inline)) uint32_t fa_arena_page(const struct fa_arena *arena,
								    uint32_t number,
								    unsigned *order)
{
	uint64_t value = number < arena->n_blocks ? arena->blocks[number] : 0;

	value -= value != 0;
	*order = (unsigned)(value >> 32);
	return (uint32_t)value < arena->buddy.n_pages ? (uint32_t)value : 0;
}

static inline __attribute__((always_inline)) void fa_arena_prefetch_place(
	const struct fa_arena *arena, uint32_t number)
{
	unsigned order;
	uint32_t page = fa_arena_page(arena, number, &order);

	fa_buddy_prefetch(&arena->buddy, page, order);
}

static inline __attribute__((always_inline)) void fa_arena_prefetch_merge(
	const struct fa_arena *arena, uint32_t number)
{
	unsigned order;
	uint32_t page = fa_arena_page(arena, number, &order);

	fa_buddy_prefetch_merge(&arena->buddy, page, order);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Threads: imbalance between glibc's arenas
 *
 * Memory that is free in one arena serves no thread of another: an arena whose threads have stopped
 * allocating keeps its holes while the next one grows. A block's address tells its arena's piece:
 * pieces are 64 MiB, aligned to that (HEAP_MAX_SIZE in glibc's malloc/arena.c). What a piece has
 * free is what was handed out of it once, between its lowest and its highest byte, less what is
 * live: an upper bound, as its top may have been given back to the kernel.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "fa_format.h"
#include "fa_layout.h"
#include "threads_impl.h"

static const uint64_t piece_bytes = UINT64_C(64) << 20;
static const uint64_t min_imbalance = UINT64_C(1) << 20;

static struct thread_arena *arena_at(struct threads *t, uint64_t base)
{
	bool created;

	if (t->n_arenas && t->last_base == base)
		return &t->arenas[t->last_arena];

	/* Past the bound, pieces share the last entry: their sum is still right. */
	uint64_t *index = ft_map_count(&t->by_base) < THREADS_ARENAS
				  ? ft_map_put(&t->by_base, base, &created)
				  : ft_map_get(&t->by_base, base);

	if (!index)
		return t->n_arenas ? &t->arenas[t->n_arenas - 1] : NULL;
	if (ft_map_count(&t->by_base) > t->n_arenas) {
		if (t->n_arenas == t->arenas_capacity) {
			size_t capacity = t->arenas_capacity ? t->arenas_capacity * 2 : 16;
			struct thread_arena *arenas =
				realloc(t->arenas, capacity * sizeof(*arenas));

			if (!arenas)
				return NULL;
			t->arenas = arenas;
			t->arenas_capacity = capacity;
		}
		*index = t->n_arenas;
		t->arenas[t->n_arenas] = (struct thread_arena){.base = base, .low = UINT64_MAX};
		fa_track_begin(&t->arenas[t->n_arenas++].track, t->first_step, 0);
	}
	t->last_base = base;
	t->last_arena = (size_t)*index;
	return &t->arenas[*index];
}

/* `place`: NULL where nobody asked the engine for it. */
static inline bool arena_add(struct threads *t, const struct fa_engine *engine,
			     const struct fa_block *block, const struct fa_place *place, bool born)
{
	uint64_t sign = (uint64_t)born - 1; /* no branch: which it is can't be foreseen */
	struct thread_arena *arena;
	uint64_t start, end, change;

	if (block->flags & FT_EVENT_F_MMAPPED)
		return true;
	arena = arena_at(t, block->flags & FT_EVENT_F_NON_MAIN
				    ? block->address / piece_bytes * piece_bytes
				    : 0);
	if (!arena)
		return false;
	if (place) {
		start = place->start;
		end = place->end;
	} else {
		fa_engine_extent(engine, block, &start, &end);
	}
	change = ((end - start) ^ sign) - sign;
	arena->live_bytes += change;
	if (arena->live_bytes > arena->peak_bytes)
		arena->peak_bytes = arena->live_bytes;
	/* What dies was here before, as a rule. */
	if (start < arena->low && born)
		arena->low = start;
	if (end > arena->high && born)
		arena->high = end;
	return fa_track_add(&arena->track, t->step, change, &t->arena);
}

struct ft_error *threads_arena_step(struct threads *t, const struct fa_engine *engine,
				    const struct fa_step *step)
{
	const struct fa_block *born = step->born, *died = step->died;

	if (__builtin_expect((born != NULL) == (died != NULL), 0) && died &&
	    !arena_add(t, engine, died, step->died_at, false))
		return &ft_enomem;
	return arena_add(t, engine, step->block, step->block_at, born != NULL) ? NULL : &ft_enomem;
}

void threads_arena_begin(struct threads *t)
{
	for (size_t i = 0; i < t->n_arenas; i++)
		fa_track_begin(&t->arenas[i].track, t->first_step, t->arenas[i].live_bytes);
}

struct ft_error *threads_arena_join(struct threads *t, const struct threads *before)
{
	for (size_t i = 0; i < before->n_arenas; i++) {
		const struct thread_arena *earlier = &before->arenas[i];
		struct thread_arena *arena = arena_at(t, earlier->base);

		if (!arena || !fa_track_join(&arena->track, &earlier->track, &t->arena))
			return &ft_enomem;
		if (earlier->low < arena->low)
			arena->low = earlier->low;
		if (earlier->high > arena->high)
			arena->high = earlier->high;
		if (earlier->peak_bytes > arena->peak_bytes)
			arena->peak_bytes = earlier->peak_bytes;
	}
	return NULL;
}

static uint64_t free_bytes(const struct thread_arena *arena)
{
	uint64_t extent = arena->high > arena->low ? arena->high - arena->low : 0;

	return extent > arena->live_bytes ? extent - arena->live_bytes : 0;
}

/* A trend of its live bytes; births play no part here. */
static bool arena_grows(const struct threads *t, const struct thread_arena *arena)
{
	struct fa_evidence e = {
		.n_life = t->life.n_steps,
		.window_s = t->life.window_s,
		.life_s = t->life.life_s,
		.too_short = t->life.too_short,
		.blocks = UINT64_MAX,
		.end_blocks = UINT64_MAX,
		.frees = 1,
		.bytes = arena->live_bytes,
	};
	struct fa_growth growth;

	fa_track_expand(&arena->track, e.low, e.end);
	fa_growth_judge(&e, &growth);
	return growth.verdict == FA_GROWING || growth.verdict == FA_SUSPECT;
}

static int compare_arenas(const void *a, const void *b)
{
	const struct thread_arena *x = a, *y = b;
	uint64_t left = free_bytes(x), right = free_bytes(y);

	if (left != right)
		return left > right ? -1 : 1;
	return x->base < y->base ? -1 : x->base > y->base;
}

struct ft_error *threads_arena_finish(struct threads *t, struct fa_engine *engine)
{
	uint64_t idle_free = 0;
	size_t n_growing = 0;
	struct fa_text size, count;
	char text[256];

	for (size_t i = 0; i < t->n_arenas; i++) {
		struct thread_arena *arena = &t->arenas[i];

		arena->grows = arena_grows(t, arena);
		n_growing += arena->grows;
		if (!arena->grows)
			idle_free += free_bytes(arena);
	}
	if (t->n_arenas)
		qsort(t->arenas, t->n_arenas, sizeof(*t->arenas), compare_arenas);
	if (!n_growing)
		return NULL;
	t->imbalance_bytes = idle_free;
	if (idle_free < min_imbalance || idle_free < fa_engine_totals(engine)->live_bytes / 10)
		return NULL;
	snprintf(text, sizeof(text),
		 "%s are free in arenas of malloc that do not grow, while %s of %s do: threads "
		 "cannot use each other's holes (M_ARENA_MAX)",
		 fa_format_bytes(idle_free, &size), n_growing == 1 ? "one" : "several",
		 fa_format_count(t->n_arenas, &count));

	struct fa_param params[] = {
		{.name = "free_bytes", .kind = FA_PARAM_U64, .u64 = idle_free},
		{.name = "growing", .kind = FA_PARAM_U64, .u64 = n_growing},
		{.name = "arenas", .kind = FA_PARAM_U64, .u64 = t->n_arenas},
	};

	return fa_engine_finding_add(engine, &(struct fa_finding){
						     .code = "arena_imbalance",
						     .severity = FA_LOW,
						     .text = text,
						     .params = params,
						     .n_params = 3,
						     .section = "threads",
						     .weight = idle_free,
					     });
}

void threads_arena_emit(const struct threads *t, struct fa_json *json)
{
	fa_json_key(json, "arenas");
	if (!t->has_arenas) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "n", t->n_arenas);
	fa_json_kv_u64(json, "imbalance_bytes", t->imbalance_bytes);
	fa_json_key(json, "list");
	fa_json_array_begin(json);
	for (size_t i = 0; i < t->n_arenas && i < THREADS_ARENAS_LISTED; i++) {
		const struct thread_arena *arena = &t->arenas[i];

		fa_json_object_begin(json);
		fa_json_kv_bool(json, "main", !arena->base);
		if (arena->base)
			fa_json_kv_u64(json, "start", arena->base);
		else
			fa_json_kv_null(json, "start");
		fa_json_kv_u64(json, "live_bytes", arena->live_bytes);
		fa_json_kv_u64(json, "peak_bytes", arena->peak_bytes);
		fa_json_kv_u64(json, "free_bytes", free_bytes(arena));
		fa_json_kv_bool(json, "grows", arena->grows);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
}

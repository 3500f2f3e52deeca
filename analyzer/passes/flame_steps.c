/* SPDX-License-Identifier: MIT */
/* Steps of the flame graph: see flame_steps.h. */
#include "flame_steps.h"

#include <stdlib.h>
#include <string.h>

#include "fa_engine.h"

struct ft_error *flame_steps_init(struct flame_steps *steps, const struct fa_engine *engine)
{
	steps->n_ticks = fa_engine_n_ticks(engine);
	steps->n_stacks = fa_engine_n_stacks(engine);
	steps->row_of = calloc(steps->n_stacks + 1, sizeof(*steps->row_of));
	return steps->row_of ? NULL : &ft_enomem;
}

void flame_steps_deinit(struct flame_steps *steps)
{
	free(steps->row_of);
	for (unsigned kind = 0; kind < FLAME_N_KINDS; kind++) {
		free(steps->cells[kind]);
		free(steps->before[kind]);
	}
}

static size_t width(const struct flame_steps *steps)
{
	return (size_t)FLAME_STEPS >> steps->shift;
}

/* Two steps become one, in every row: rows move up, so that the same memory holds twice as many. */
static void join_steps(struct flame_steps *steps)
{
	size_t from = width(steps), to = from / 2;

	for (size_t row = 0; row < steps->n_rows; row++)
		for (unsigned kind = 0; kind < FLAME_N_KINDS; kind++) {
			const uint64_t *old = steps->cells[kind] + row * from;
			uint64_t *joined = steps->cells[kind] + row * to;

			for (size_t i = 0; i < to; i++) {
				/* the last one may have no second half yet */
				bool whole = 2 * i + 1 < steps->n;

				joined[i] = kind == FLAME_LIVE ? old[2 * i + whole]
							       : old[2 * i] + old[2 * i + 1];
			}
		}
	for (size_t i = 0; i < steps->n; i++)
		steps->time_ns[i / 2] = steps->time_ns[i];
	steps->n = (steps->n + 1) / 2;
	steps->shift++;
	steps->row_room *= 2;
	/* what the rows that come will find */
	for (unsigned kind = 0; kind < FLAME_N_KINDS; kind++)
		memset(steps->cells[kind] + steps->n_rows * to, 0,
		       (steps->row_room - steps->n_rows) * to * sizeof(uint64_t));
}

static struct ft_error *grow(uint64_t **cells, size_t used, size_t size)
{
	uint64_t *grown = realloc(*cells, size * sizeof(*grown));

	if (!grown)
		return &ft_enomem;
	memset(grown + used, 0, (size - used) * sizeof(*grown));
	*cells = grown;
	return NULL;
}

/* For one more row. */
static struct ft_error *make_room(struct flame_steps *steps)
{
	size_t room = steps->row_room ? steps->row_room * 2 : 256, n = steps->n_rows;

	if (room * width(steps) > FLAME_CELLS && width(steps) > FLAME_STEPS_LEAST) {
		join_steps(steps);
	} else {
		for (unsigned kind = 0; kind < FLAME_N_KINDS; kind++)
			FT_TRY(grow(&steps->cells[kind], n * width(steps), room * width(steps)));
		steps->row_room = room;
	}
	FT_TRY(grow(&steps->before[FLAME_ALLOCATED], n, room));
	return grow(&steps->before[FLAME_COUNT], n, room);
}

/* The values of all sites at the end of a step. */
static struct ft_error *take(struct flame_steps *steps, const struct fa_engine *engine,
			     uint64_t time_ns)
{
	struct fa_site site;

	/* Rows first: room for one may join steps. */
	for (size_t stack = 0; stack < steps->n_stacks; stack++) {
		if (steps->row_of[stack])
			continue;
		fa_engine_site(engine, (uint32_t)stack, &site);
		if (!site.allocations && !site.live_bytes)
			continue;
		if (steps->n_rows == steps->row_room)
			FT_TRY(make_room(steps));
		steps->row_of[stack] = (uint32_t)++steps->n_rows;
	}
	for (size_t stack = 0; stack < steps->n_stacks; stack++) {
		if (!steps->row_of[stack])
			continue;
		fa_engine_site(engine, (uint32_t)stack, &site);

		size_t row = steps->row_of[stack] - 1;
		size_t cell = row * width(steps) + (steps->taken >> steps->shift);
		uint64_t *allocated = &steps->before[FLAME_ALLOCATED][row];
		uint64_t *count = &steps->before[FLAME_COUNT][row];

		steps->cells[FLAME_LIVE][cell] = site.live_bytes;
		steps->cells[FLAME_ALLOCATED][cell] += site.bytes_allocated - *allocated;
		steps->cells[FLAME_COUNT][cell] += site.allocations - *count;
		*allocated = site.bytes_allocated;
		*count = site.allocations;
	}
	steps->n = (steps->taken >> steps->shift) + 1;
	steps->time_ns[steps->n - 1] = time_ns;
	steps->taken++;
	return NULL;
}

struct ft_error *flame_steps_tick(struct flame_steps *steps, const struct fa_engine *engine,
				  uint32_t tick, uint64_t time_ns)
{
	unsigned all = steps->n_ticks < FLAME_STEPS ? steps->n_ticks : FLAME_STEPS;

	if (tick + UINT64_C(1) < (uint64_t)(steps->taken + 1) * steps->n_ticks / all)
		return NULL;
	return take(steps, engine, time_ns);
}

const uint64_t *flame_steps_of(const struct flame_steps *steps, size_t stack,
			       enum flame_step_kind kind)
{
	if (stack >= steps->n_stacks || !steps->row_of[stack])
		return NULL;
	return steps->cells[kind] + (steps->row_of[stack] - 1) * width(steps);
}

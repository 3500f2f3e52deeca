/* SPDX-License-Identifier: MIT */
/*
 * Teardown: the last stretch of a run in which it does next to nothing but free
 *
 * A program that cleans up at its end makes each leak of its working life look like a cache, and
 * each cache look clean. Growth is therefore judged before. The stretch is the suffix with the
 * greatest score, where a free counts +1 and an allocation -20: in it, and in each part of it that
 * reaches to its start, frees outnumber allocations twenty to one. The search walks chunks from the
 * end and gives up when the score is hopeless, so that a run without a teardown costs one chunk.
 *
 * A stretch longer than a tenth of the window is no teardown: a program that drops its data and
 * lives on with what is left is in a phase of its life, and what it then holds is what it holds.
 */
#include <stdlib.h>

#include "engine_impl.h"
#include "ft_cleanup.h"

enum {
	TEARDOWN_ALLOC_COST = 20,
	TEARDOWN_GIVE_UP = 20 * 4096, /* this far below the best score */
	TEARDOWN_MIN_FREES = 16,
	TEARDOWN_MAX_SHARE = 10, /* one part in so many of the window */
};

struct ft_error *fa_engine_find_teardown(struct fa_engine *engine)
{
	ft_auto_free struct ft_event *events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
	int64_t score = 0, best = 0;

	if (!events)
		return &ft_enomem;
	if (engine->options.at_end)
		return NULL;
	for (size_t c = ft_reader_n_chunks(engine->reader); c-- > 0;) {
		const struct ft_chunk_info *info = ft_reader_chunk_info(engine->reader, c);
		size_t n = 0;

		if (info->first_ns > engine->to_ns)
			continue;
		if (info->last_ns < engine->from_ns)
			break;
		FT_TRY(ft_reader_chunk(engine->reader, c, events, &n));
		while (n-- > 0) {
			const struct ft_event *event = &events[n];

			if (event->time_ns > engine->to_ns)
				continue;
			if (event->time_ns < engine->from_ns)
				break;
			score += event->kind == FT_EVENT_FREE ? 1 : -TEARDOWN_ALLOC_COST;
			if (score > best) {
				best = score;
				engine->teardown_seq = event->seq;
				engine->teardown_ns = event->time_ns;
			}
		}
		if (score < best - TEARDOWN_GIVE_UP)
			break;
	}

	uint64_t longest = (engine->to_ns - engine->from_ns) / TEARDOWN_MAX_SHARE;

	engine->has_teardown = best >= TEARDOWN_MIN_FREES &&
			       engine->teardown_ns > engine->from_ns &&
			       engine->to_ns - engine->teardown_ns <= longest;
	return NULL;
}

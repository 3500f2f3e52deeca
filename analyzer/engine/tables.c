/* SPDX-License-Identifier: MIT */
/*
 * Totals without a replay: what the recorder counted
 *
 * The timeline's last row says how many blocks came and went up to the end, and the highest of its
 * rows where the peak was, to within its interval. Reading it takes milliseconds, however many
 * events there are. Nothing is judged: what grows, only the events tell.
 */
#include "engine_impl.h"
#include "ft_cleanup.h"

static struct ft_error *count_row(void *ctx, const struct ft_timeline_row *row)
{
	struct fa_totals *totals = ctx;

	totals->n_allocs = row->n_allocs;
	totals->n_frees = row->n_frees;
	totals->bytes_allocated = row->bytes_allocated;
	totals->bytes_freed = row->bytes_freed;
	totals->live_blocks = row->live_blocks;
	totals->live_bytes = row->live_bytes;
	totals->live_usable = row->usable_bytes;
	if (row->peak_bytes > totals->peak_bytes) {
		totals->peak_bytes = row->peak_bytes;
		totals->peak_ns = row->time_ns;
	}
	return NULL;
}

struct ft_error *fa_engine_read_totals(struct fa_engine *engine)
{
	struct fa_totals *totals = &engine->totals;

	if (engine->options.from_ns || engine->to_ns < engine->end_ns)
		return ft_error_create(FT_ERROR_USAGE,
				       "a window needs a replay: the tables know the whole run");
	if (engine->sample_bytes)
		return ft_error_create(FT_ERROR_USAGE,
				       "a sampled recording needs a replay: the tables do not know "
				       "how far off they may be");
	FT_TRY(ft_reader_timeline(engine->reader, count_row, totals));
	totals->n_events = ft_reader_first_seq(engine->reader) -
			   ft_reader_begin_seq(engine->reader) + ft_reader_n_events(engine->reader);
	if (totals->n_events && !totals->n_allocs && !totals->n_frees)
		return ft_error_create(FT_ERROR_INPUT,
				       "the recording has no counts yet: replay it instead");
	return fa_engine_finding_add(
		engine, &(struct fa_finding){.code = "not_replayed",
					     .severity = FA_INFO,
					     .text = "Counted by the recorder, not judged: whether "
						     "anything grows, only a replay tells",
					     .section = "summary"});
}

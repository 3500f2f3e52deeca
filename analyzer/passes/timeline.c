/* SPDX-License-Identifier: MIT */
/*
 * Timeline: the live heap over time, and the RSS that the recording sampled
 *
 * One value a tick, and the highest and lowest live bytes between two ticks: however short, the
 * peak is in the columns exactly. Of a stretch that is rolled up a tick has the values at the
 * nearest end of an interval.
 */
#include <stdlib.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fragtrace/rollup.h"

enum { RSS_POINTS = 4096 };

enum timeline_series {
	LIVE_BYTES,
	LIVE_BLOCKS,
	USABLE_BYTES,
	ALLOCATED_BYTES,
	ALLOCATIONS,
	PEAK_BYTES,
	LOW_BYTES,
	TIME_NS,
	N_SERIES
};

static const char *const series_names[N_SERIES] = {
	"timeline.live_bytes",	    "timeline.live_blocks", "timeline.usable_bytes",
	"timeline.allocated_bytes", "timeline.allocations", "timeline.peak_bytes",
	"timeline.low_bytes",	    "timeline.time_ns",
};

struct timeline {
	uint64_t *series[N_SERIES]; /* n_ticks each, of one allocation */
	uint64_t peak, low;	    /* of live bytes since the last tick */
	uint64_t *rss_time_ns, *rss_bytes;
	size_t n_rss, rss_capacity;
	uint64_t from_ns, to_ns;
};

static struct ft_error *timeline_init(struct fa_pass *pass)
{
	struct timeline *t = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	size_t n = fa_engine_n_ticks(engine);

	t->series[0] = calloc(n * N_SERIES, sizeof(uint64_t));
	if (!t->series[0])
		return &ft_enomem;
	for (int i = 1; i < N_SERIES; i++)
		t->series[i] = t->series[0] + n * (size_t)i;
	t->peak = t->low = fa_engine_totals(engine)->live_bytes;
	t->from_ns = fa_engine_from_ns(engine);
	t->to_ns = fa_engine_to_ns(engine);
	return NULL;
}

static struct ft_error *timeline_on_step(struct fa_pass *pass, const struct fa_step *step)
{
	struct timeline *t = fa_pass_state(pass);
	uint64_t live = fa_engine_totals(fa_pass_engine(pass))->live_bytes;

	if (live > t->peak)
		t->peak = live;
	if (live < t->low)
		t->low = live;
	return NULL;
}

static struct ft_error *timeline_on_span(struct fa_pass *pass, const struct fa_span *span)
{
	struct timeline *t = fa_pass_state(pass);

	if (span->rollup->peak_bytes > t->peak)
		t->peak = span->rollup->peak_bytes;
	if (span->rollup->low_bytes < t->low)
		t->low = span->rollup->low_bytes;
	return NULL;
}

static struct ft_error *timeline_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct timeline *t = fa_pass_state(pass);
	const struct fa_totals *totals = fa_engine_totals(fa_pass_engine(pass));

	t->series[TIME_NS][tick] = time_ns;
	t->series[LIVE_BYTES][tick] = totals->live_bytes;
	t->series[LIVE_BLOCKS][tick] = totals->live_blocks;
	t->series[USABLE_BYTES][tick] = totals->live_usable;
	t->series[ALLOCATED_BYTES][tick] = totals->bytes_allocated;
	t->series[ALLOCATIONS][tick] = totals->n_allocs;
	t->series[PEAK_BYTES][tick] = t->peak;
	t->series[LOW_BYTES][tick] = t->low;
	t->peak = t->low = totals->live_bytes;
	return NULL;
}

static struct ft_error *add_rss(void *ctx, const struct ft_timeline_row *row)
{
	struct timeline *t = ctx;

	if (row->rss < 0 || row->time_ns < t->from_ns || row->time_ns > t->to_ns)
		return NULL;
	if (t->n_rss == t->rss_capacity) {
		size_t capacity = t->rss_capacity ? t->rss_capacity * 2 : 256;
		uint64_t *times = realloc(t->rss_time_ns, capacity * sizeof(*times));

		if (times)
			t->rss_time_ns = times;

		uint64_t *bytes = realloc(t->rss_bytes, capacity * sizeof(*bytes));

		if (bytes)
			t->rss_bytes = bytes;
		if (!times || !bytes)
			return &ft_enomem;
		t->rss_capacity = capacity;
	}
	t->rss_time_ns[t->n_rss] = row->time_ns;
	t->rss_bytes[t->n_rss++] = (uint64_t)row->rss;
	return NULL;
}

/*
 * Days of samples are more than a page can use: of each of RSS_POINTS / 2 stretches the lowest and
 * the highest stay, in their order, so that the extremes are as they were.
 */
static void fold_rss(struct timeline *t)
{
	size_t n = t->n_rss, out = 0;

	if (n <= RSS_POINTS)
		return;
	for (size_t i = 0; i < RSS_POINTS / 2; i++) {
		size_t first = n * i / (RSS_POINTS / 2), end = n * (i + 1) / (RSS_POINTS / 2);
		size_t low = first, high = first;

		for (size_t k = first; k < end; k++) {
			if (t->rss_bytes[k] < t->rss_bytes[low])
				low = k;
			if (t->rss_bytes[k] > t->rss_bytes[high])
				high = k;
		}
		for (unsigned turn = 0; turn < 2; turn++) {
			size_t k = (turn == 0) == (low < high) ? low : high;

			t->rss_time_ns[out] = t->rss_time_ns[k];
			t->rss_bytes[out++] = t->rss_bytes[k];
			if (low == high)
				break;
		}
	}
	t->n_rss = out;
}

static struct ft_error *timeline_finish(struct fa_pass *pass)
{
	struct timeline *t = fa_pass_state(pass);

	FT_TRY(ft_reader_timeline(fa_engine_reader(fa_pass_engine(pass)), add_rss, t));
	fold_rss(t);
	return NULL;
}

static struct ft_error *timeline_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct timeline *t = fa_pass_state(pass);
	size_t n = fa_engine_n_ticks(fa_pass_engine(pass));

	for (int i = 0; i < N_SERIES; i++)
		fa_doc_column(doc, series_names[i], FA_U64, t->series[i], n);
	fa_doc_column(doc, "rss.time_ns", FA_U64, t->rss_time_ns, t->n_rss);
	fa_doc_column(doc, "rss.bytes", FA_U64, t->rss_bytes, t->n_rss);
	return NULL;
}

static void timeline_deinit(struct fa_pass *pass)
{
	struct timeline *t = fa_pass_state(pass);

	free(t->series[0]);
	free(t->rss_time_ns);
	free(t->rss_bytes);
}

const struct fa_pass_ops fa_pass_timeline = {
	.name = "timeline",
	.summary = "live bytes, blocks and RSS over time",
	.state_size = sizeof(struct timeline),
	.init = timeline_init,
	.on_step = timeline_on_step,
	.on_span = timeline_on_span,
	.on_tick = timeline_on_tick,
	.finish = timeline_finish,
	.emit = timeline_emit,
	.deinit = timeline_deinit,
};

/* SPDX-License-Identifier: MIT */
/*
 * Timeline: the live heap over time, and the resident sizes that the recording sampled
 *
 * One value a tick, and the highest and lowest live bytes between two ticks: however short, the
 * peak is in the columns exactly. The same in finer steps is for who looks closely. Of a stretch
 * that is rolled up a tick has the values at the nearest end of an interval, and there are no finer
 * steps.
 */
#include <stdlib.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fragtrace/rollup.h"

enum {
	SAMPLES = 4096, /* of resident sizes */
	FINE_STEPS = 16384,
	FINE_EVENTS = 16384, /* with fewer steps than that, ticks tell enough */
};

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

/* What was sampled. */
struct samples {
	uint64_t *time_ns, *bytes;
	size_t n, room;
};

/* Live bytes in equal steps of the window. */
struct fine {
	uint64_t *time_ns, *live, *low, *high; /* FINE_STEPS each, of one allocation; or NULL */
	size_t step;			       /* that is being filled */
	uint64_t end_ns;		       /* of it */
	uint64_t now, lowest, highest;
	uint64_t n_events;
};

struct timeline {
	uint64_t *series[N_SERIES]; /* n_ticks each, of one allocation */
	uint64_t peak, low;	    /* of live bytes since the last tick */
	struct samples rss, pss;
	struct fine fine;
	uint64_t from_ns, to_ns;
};

static uint64_t fine_end(const struct timeline *t, size_t step)
{
	return t->from_ns +
	       (uint64_t)((unsigned __int128)(t->to_ns - t->from_ns) * (step + 1) / FINE_STEPS);
}

/* Close the steps that end before `time_ns`. */
static void fine_close(struct timeline *t, uint64_t time_ns)
{
	struct fine *f = &t->fine;

	while (f->step < FINE_STEPS && f->end_ns < time_ns) {
		f->time_ns[f->step] = f->end_ns;
		f->live[f->step] = f->now;
		f->low[f->step] = f->lowest;
		f->high[f->step] = f->highest;
		f->lowest = f->highest = f->now;
		f->end_ns = fine_end(t, ++f->step);
	}
}

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
	if (fa_engine_rolled(engine))
		return NULL;
	t->fine.time_ns = calloc((size_t)FINE_STEPS * 4, sizeof(uint64_t));
	if (!t->fine.time_ns)
		return &ft_enomem;
	t->fine.live = t->fine.time_ns + FINE_STEPS;
	t->fine.low = t->fine.live + FINE_STEPS;
	t->fine.high = t->fine.low + FINE_STEPS;
	t->fine.now = t->fine.lowest = t->fine.highest = t->peak;
	t->fine.end_ns = fine_end(t, 0);
	return NULL;
}

static inline struct ft_error *timeline_on_step(struct fa_pass *pass, const struct fa_step *step)
{
	struct timeline *t = fa_pass_state(pass);
	uint64_t live = step->live_bytes;

	if (live > t->peak)
		t->peak = live;
	if (live < t->low)
		t->low = live;
	if (!t->fine.time_ns)
		return NULL;
	if (step->event->time_ns > t->fine.end_ns)
		fine_close(t, step->event->time_ns);
	t->fine.n_events++;
	t->fine.now = live;
	if (live > t->fine.highest)
		t->fine.highest = live;
	if (live < t->fine.lowest)
		t->fine.lowest = live;
	return NULL;
}

FA_ON_STEPS(timeline);

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

static struct ft_error *add_sample(struct samples *samples, uint64_t time_ns, uint64_t bytes)
{
	if (samples->n == samples->room) {
		size_t room = samples->room ? samples->room * 2 : 256;
		uint64_t *times = realloc(samples->time_ns, room * sizeof(*times));

		if (times)
			samples->time_ns = times;

		uint64_t *values = realloc(samples->bytes, room * sizeof(*values));

		if (values)
			samples->bytes = values;
		if (!times || !values)
			return &ft_enomem;
		samples->room = room;
	}
	samples->time_ns[samples->n] = time_ns;
	samples->bytes[samples->n++] = bytes;
	return NULL;
}

static struct ft_error *add_row(void *ctx, const struct ft_timeline_row *row)
{
	struct timeline *t = ctx;

	if (row->time_ns < t->from_ns || row->time_ns > t->to_ns)
		return NULL;
	if (row->rss >= 0)
		FT_TRY(add_sample(&t->rss, row->time_ns, (uint64_t)row->rss));
	if (row->pss >= 0)
		FT_TRY(add_sample(&t->pss, row->time_ns, (uint64_t)row->pss));
	return NULL;
}

/*
 * Days of samples are more than a page can use: of each of SAMPLES / 2 stretches the lowest and
 * the highest stay, in their order, so that the extremes are as they were.
 */
static void fold(struct samples *samples)
{
	size_t n = samples->n, out = 0;

	if (n <= SAMPLES)
		return;
	for (size_t i = 0; i < SAMPLES / 2; i++) {
		size_t first = n * i / (SAMPLES / 2), end = n * (i + 1) / (SAMPLES / 2);
		size_t low = first, high = first;

		for (size_t k = first; k < end; k++) {
			if (samples->bytes[k] < samples->bytes[low])
				low = k;
			if (samples->bytes[k] > samples->bytes[high])
				high = k;
		}
		for (unsigned turn = 0; turn < 2; turn++) {
			size_t k = (turn == 0) == (low < high) ? low : high;

			samples->time_ns[out] = samples->time_ns[k];
			samples->bytes[out++] = samples->bytes[k];
			if (low == high)
				break;
		}
	}
	samples->n = out;
}

static struct ft_error *timeline_finish(struct fa_pass *pass)
{
	struct timeline *t = fa_pass_state(pass);

	FT_TRY(ft_reader_timeline(fa_engine_reader(fa_pass_engine(pass)), add_row, t));
	fold(&t->rss);
	fold(&t->pss);
	if (t->fine.time_ns)
		fine_close(t, UINT64_MAX);
	return NULL;
}

static struct ft_error *timeline_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct timeline *t = fa_pass_state(pass);
	size_t n = fa_engine_n_ticks(fa_pass_engine(pass));
	size_t n_fine = t->fine.time_ns && t->fine.n_events >= FINE_EVENTS ? FINE_STEPS : 0;

	for (int i = 0; i < N_SERIES; i++)
		fa_doc_column(doc, series_names[i], FA_U64, t->series[i], n);
	fa_doc_column(doc, "timeline.fine_ns", FA_U64, t->fine.time_ns, n_fine);
	fa_doc_column(doc, "timeline.fine_live", FA_U64, t->fine.live, n_fine);
	fa_doc_column(doc, "timeline.fine_low", FA_U64, t->fine.low, n_fine);
	fa_doc_column(doc, "timeline.fine_high", FA_U64, t->fine.high, n_fine);
	fa_doc_column(doc, "rss.time_ns", FA_U64, t->rss.time_ns, t->rss.n);
	fa_doc_column(doc, "rss.bytes", FA_U64, t->rss.bytes, t->rss.n);
	fa_doc_column(doc, "pss.time_ns", FA_U64, t->pss.time_ns, t->pss.n);
	fa_doc_column(doc, "pss.bytes", FA_U64, t->pss.bytes, t->pss.n);
	return NULL;
}

static void timeline_deinit(struct fa_pass *pass)
{
	struct timeline *t = fa_pass_state(pass);

	free(t->series[0]);
	free(t->fine.time_ns);
	free(t->rss.time_ns);
	free(t->rss.bytes);
	free(t->pss.time_ns);
	free(t->pss.bytes);
}

const struct fa_pass_ops fa_pass_timeline = {
	.name = "timeline",
	.summary = "live bytes, blocks and RSS over time",
	.state_size = sizeof(struct timeline),
	.init = timeline_init,
	.on_steps = timeline_on_steps,
	.on_span = timeline_on_span,
	.on_tick = timeline_on_tick,
	.finish = timeline_finish,
	.emit = timeline_emit,
	.deinit = timeline_deinit,
};

/* SPDX-License-Identifier: MIT */
/* The series of the pass `frag` as columns: see frag.h and reports/FORMAT.md. */
#include <math.h>
#include <stdlib.h>

#include "frag.h"
#include "ft_cleanup.h"

/* Johnstone and Wilson 1998: memory that the heap took (A) over requested live bytes (L), less 1:
 * mean over time; at the time of most L; at the time of most A; most A over most L. */
struct jw {
	double sum, most_live, most_held, at_live, at_held;
	uint32_t n;
};

static void jw_add(struct jw *jw, const struct frag_series *series, uint32_t k)
{
	double held = (double)series->pages[k] * PAGE, live = (double)series->live_bytes[k];

	if (live <= 0)
		return;
	jw->sum += held / live;
	jw->n++;
	if (live > jw->most_live) {
		jw->most_live = live;
		jw->at_live = held / live;
	}
	if (held > jw->most_held) {
		jw->most_held = held;
		jw->at_held = held / live;
	}
}

/* In percent; without any moment they are nothing. */
static void jw_ratios(const struct jw *jw, double ret[4])
{
	ret[0] = jw->n ? 100 * (jw->sum / jw->n - 1) : NAN;
	ret[1] = 100 * (jw->at_live - 1);
	ret[2] = 100 * (jw->at_held - 1);
	ret[3] = jw->n ? 100 * (jw->most_held / jw->most_live - 1) : NAN;
}

void frag_emit_jw(const struct frag *frag, struct fa_json *json)
{
	const struct frag_series *series = &frag->series;
	struct jw jw = {.at_live = NAN, .at_held = NAN};
	double f[4];

	for (uint32_t k = 0; k < series->n && series->time_ns[k] <= frag->moment.at_ns; k++)
		jw_add(&jw, series, k);
	jw_ratios(&jw, f);
	fa_json_kv_f64(json, "jw_f1", f[0]);
	fa_json_kv_f64(json, "jw_f2", f[1]);
	fa_json_kv_f64(json, "jw_f3", f[2]);
	fa_json_kv_f64(json, "jw_f4", f[3]);
}

static void emit_waterfall_columns(const struct frag *frag, struct fa_doc *doc)
{
	const struct frag_samples *samples = &frag->samples;
	size_t n = samples->n_series;
	ft_auto_free int64_t *values = calloc(n ? n : 1, sizeof(*values));
	static const struct {
		const char *name;
		size_t offset;
	} terms[] = {
		{"waterfall.rss", offsetof(struct frag_waterfall, rss)},
		{"waterfall.file", offsetof(struct frag_waterfall, file)},
		{"waterfall.stack", offsetof(struct frag_waterfall, stack)},
		{"waterfall.other", offsetof(struct frag_waterfall, other)},
		{"waterfall.tracer", offsetof(struct frag_waterfall, tracer)},
		{"waterfall.live_req", offsetof(struct frag_waterfall, live_req)},
		{"waterfall.round", offsetof(struct frag_waterfall, round)},
		{"waterfall.meta", offsetof(struct frag_waterfall, meta)},
		{"waterfall.pin_free", offsetof(struct frag_waterfall, pin_free)},
		{"waterfall.empty_res", offsetof(struct frag_waterfall, empty_res)},
		{"waterfall.live_nr", offsetof(struct frag_waterfall, live_nr)},
		{"waterfall.swap", offsetof(struct frag_waterfall, swap)},
		{"waterfall.residual", offsetof(struct frag_waterfall, residual)},
	};

	if (!values)
		return;
	for (size_t i = 0; i < n; i++)
		values[i] = (int64_t)samples->series[i].time_ns;
	fa_doc_column(doc, "waterfall.time_ns", FA_U64, values, n);
	for (size_t t = 0; t < sizeof(terms) / sizeof(*terms); t++) {
		for (size_t i = 0; i < n; i++)
			values[i] = *(const int64_t *)((const char *)&samples->series[i] +
						       terms[t].offset);
		fa_doc_column(doc, terms[t].name, FA_I64, values, n);
	}
}

/* What each listed site held at the moments of the pins: a row a site. */
static void emit_pin_columns(const struct frag *frag, struct fa_doc *doc)
{
	const struct frag_moment *moment = &frag->moment;
	const struct frag_pins *pins = &frag->pins;
	size_t n = moment->n_sites * pins->n;
	ft_auto_free uint64_t *shapley = calloc(n ? n : 1, sizeof(*shapley));
	ft_auto_free uint64_t *sole = calloc(n ? n : 1, sizeof(*sole));
	ft_auto_free uint32_t *rank = calloc(frag->n_stacks, sizeof(*rank));

	if (!shapley || !sole || !rank)
		return;
	for (size_t i = 0; i < moment->n_sites; i++)
		rank[moment->sites[i].stack] = (uint32_t)i + 1;
	for (size_t c = 0; c < pins->n_cells; c++) {
		const struct frag_pin_cell *cell = &pins->cells[c];
		size_t at;

		if (!rank[cell->site])
			continue;
		at = (rank[cell->site] - 1) * (size_t)pins->n + cell->bucket;
		shapley[at] = cell->shapley;
		sole[at] = cell->sole;
	}
	fa_doc_column(doc, "frag.pin_time_ns", FA_U64, pins->time_ns, pins->n);
	fa_doc_column(doc, "frag.huge_util", FA_F64, pins->huge_util, pins->n);
	if (pins->has_slabs) {
		fa_doc_column(doc, "frag.mesh_gain_bytes", FA_U64, pins->mesh_gain, pins->n);
		fa_doc_column(doc, "frag.compact_gain_bytes", FA_U64, pins->compact_gain, pins->n);
	}
	fa_doc_column(doc, "frag.pin_shapley", FA_U64, shapley, n);
	fa_doc_column(doc, "frag.pin_sole", FA_U64, sole, n);
}

/* The four ratios of the run up to each moment. */
static void emit_jw_columns(const struct frag *frag, struct fa_doc *doc)
{
	static const char *const names[] = {"frag.jw_f1", "frag.jw_f2", "frag.jw_f3", "frag.jw_f4"};
	size_t n = frag->series.n;
	ft_auto_free double *values = calloc(4 * n + 1, sizeof(*values));
	struct jw jw = {.at_live = NAN, .at_held = NAN};

	if (!values)
		return;
	for (uint32_t k = 0; k < n; k++) {
		double f[4];

		jw_add(&jw, &frag->series, k);
		jw_ratios(&jw, f);
		for (unsigned i = 0; i < 4; i++)
			values[i * n + k] = f[i];
	}
	for (unsigned i = 0; i < 4; i++)
		fa_doc_column(doc, names[i], FA_F64, values + i * n, n);
}

void frag_emit_columns(const struct frag *frag, struct fa_doc *doc)
{
	const struct frag_series *series = &frag->series;
	size_t n = series->n;

	fa_doc_column(doc, "frag.time_ns", FA_U64, series->time_ns, n);
	fa_doc_column(doc, "frag.live_bytes", FA_U64, series->live_bytes, n);
	fa_doc_column(doc, "frag.pinned_free_bytes", FA_U64, series->pinned, n);
	fa_doc_column(doc, "frag.largest_hole", FA_U64, series->largest, n);
	fa_doc_column(doc, "frag.hole_bytes", FA_U64, series->hole_bytes, n);
	fa_doc_column(doc, "frag.pages", FA_U64, series->pages, n);
	if (frag->glibc)
		fa_doc_column(doc, "frag.trimmable_bytes", FA_U64, series->trimmable, n);
	fa_doc_column(doc, "frag.footprint_bytes", FA_I64, series->footprint, n);
	fa_doc_column(doc, "frag.internal_pct", FA_F64, series->internal, n);
	fa_doc_column(doc, "frag.overhead_ratio", FA_F64, series->overhead, n);
	fa_doc_column(doc, "frag.hole_usefulness", FA_F64, series->useful, 2 * n);
	fa_doc_column(doc, "frag.uf_index", FA_F64, series->uf, n * FA_ORDERS);
	fa_doc_column(doc, "frag.page_occupancy_hist", FA_U32, series->occupancy, n * FA_OCCUPANCY);
	fa_doc_column(doc, "frag.hole_size_hist", FA_U64, series->hole_hist, n * FRAG_HOLE_LOG2);
	fa_doc_column(doc, "frag.bin_live", FA_U8, frag->moment.bins.live, frag->moment.bins.n);
	fa_doc_column(doc, "frag.bin_resident", FA_U8, frag->moment.bins.resident,
		      frag->moment.bins.n);
	emit_waterfall_columns(frag, doc);
	emit_pin_columns(frag, doc);
	emit_jw_columns(frag, doc);
}

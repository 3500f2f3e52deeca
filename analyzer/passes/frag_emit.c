/* SPDX-License-Identifier: MIT */
/* The document of the pass `frag`: see frag.h and reports/FORMAT.md. */
#include <math.h>
#include <stdlib.h>

#include "frag.h"
#include "ft_cleanup.h"

static const char *const kind_names[] = {"heap",  "arena",  "mmap", "file",
					 "stack", "tracer", "other"};

static void kv_ratio(struct fa_json *json, const char *key, double part, double whole)
{
	if (whole > 0)
		fa_json_kv_f64(json, key, part / whole);
	else
		fa_json_kv_null(json, key);
}

static void kv_glibc(struct fa_json *json, const struct frag *frag, const char *key, uint64_t value)
{
	if (frag->glibc)
		fa_json_kv_u64(json, key, value);
	else
		fa_json_kv_null(json, key);
}

/* The moment of the series at or before the described one. */
static uint32_t series_at(const struct frag *frag)
{
	uint32_t k = 0;

	while (k + 1 < frag->series.n && frag->series.time_ns[k + 1] <= frag->moment.at_ns)
		k++;
	return k;
}

static void emit_hole_hist(const struct fa_hole_totals *holes, struct fa_json *json)
{
	uint64_t n[FRAG_HOLE_LOG2] = {0}, bytes[FRAG_HOLE_LOG2] = {0};

	for (unsigned b = 0; b < FA_HOLE_BINS; b++) {
		unsigned log2 = 63 - (unsigned)__builtin_clzll(fa_hole_bin_start(b) | 1);

		n[log2] += holes->bin_holes[b];
		bytes[log2] += holes->bin_bytes[b];
	}
	fa_json_key(json, "hole_size_hist");
	fa_json_array_begin(json);
	for (unsigned i = 0; i < FRAG_HOLE_LOG2; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "blocks", n[i]);
		fa_json_kv_u64(json, "bytes", bytes[i]);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "small_holes");
	fa_json_array_begin(json);
	for (unsigned b = 1; b < 32; b++)
		fa_json_u64(json, holes->bin_holes[b]);
	fa_json_array_end(json);
}

/* As src/object.c and src/zmalloc.c of Redis define them, from outside: `allocated` is what the
 * allocator handed out, `active` the slabs (elsewhere the pages) that hold some of it, `resident`
 * those and the empty ones that it keeps. */
static void emit_redis(const struct frag *frag, struct fa_json *json)
{
	const struct frag_moment *moment = &frag->moment;
	double allocated = (double)moment->heap.live_usable;
	double active = (double)(moment->pages.live_pages + moment->mapped.live_pages) * PAGE;
	double resident = (double)moment->footprint;
	const struct fa_slabs *slabs = &moment->slabs.found;

	if (moment->slabs.known)
		active = (double)(slabs->bytes + slabs->large_bytes + slabs->unplaced_bytes);

	fa_json_key(json, "redis");
	fa_json_object_begin(json);
	if (moment->has_waterfall)
		kv_ratio(json, "mem_fragmentation_ratio", (double)moment->waterfall.rss, allocated);
	else
		fa_json_kv_null(json, "mem_fragmentation_ratio");
	kv_ratio(json, "allocator_frag_ratio", active, allocated);
	kv_ratio(json, "allocator_rss_ratio", resident, active);
	if (moment->has_waterfall)
		kv_ratio(json, "rss_overhead_ratio", (double)moment->waterfall.rss, resident);
	else
		fa_json_kv_null(json, "rss_overhead_ratio");
	fa_json_object_end(json);
}

static void emit_metrics(const struct frag *frag, struct fa_json *json)
{
	const struct frag_moment *moment = &frag->moment;
	const struct fa_totals *heap = &moment->heap;
	uint64_t held =
		moment->pages.live_pages + moment->mapped.live_pages + moment->holes.free_pages;
	uint32_t k = series_at(frag);

	fa_json_key(json, "metrics");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "live_bytes", heap->live_bytes);
	fa_json_kv_u64(json, "footprint_bytes", moment->footprint);
	kv_ratio(json, "overhead_ratio", (double)moment->footprint, (double)heap->live_bytes);
	kv_ratio(json, "internal_pct", 100 * (double)(heap->live_usable - heap->live_bytes),
		 (double)heap->live_usable);
	fa_json_kv_u64(json, "pinned_free_bytes",
		       moment->pages.pinned_free_bytes + moment->mapped.pinned_free_bytes);
	fa_json_kv_u64(json, "largest_hole", moment->largest_hole);
	fa_json_kv_u64(json, "hole_bytes", moment->holes.hole_bytes);
	fa_json_kv_u64(json, "holes", moment->holes.n_holes);
	fa_json_kv_u64(json, "empty_bytes", moment->empty_pages * PAGE);
	kv_glibc(json, frag, "trimmable_bytes", moment->trim.pages * PAGE);
	kv_glibc(json, frag, "trimmable_top_bytes", moment->trim.top_pages * PAGE);

	fa_json_key(json, "uf_index");
	fa_json_array_begin(json);
	for (unsigned o = 0; o < FA_ORDERS; o++)
		fa_json_f64(json, fa_uf_index(&moment->holes.orders, o));
	fa_json_array_end(json);

	fa_json_key(json, "page_occupancy_hist");
	fa_json_array_begin(json);
	fa_json_u64(json, moment->holes.free_pages);
	for (unsigned d = 1; d < FA_OCCUPANCY; d++)
		fa_json_u64(json, moment->pages.occupancy[d] + moment->mapped.occupancy[d]);
	fa_json_array_end(json);

	fa_json_key(json, "page_fill");
	fa_json_object_begin(json);
	for (unsigned absent = 0; absent < 2; absent++) {
		fa_json_key(json, absent ? "absent" : "resident");
		fa_json_array_begin(json);
		for (unsigned i = 0; i < FRAG_FILL; i++)
			fa_json_u64(json, moment->fill[absent][i]);
		fa_json_array_end(json);
	}
	fa_json_object_end(json);

	emit_hole_hist(&moment->holes, json);
	fa_json_key(json, "hole_usefulness");
	fa_json_object_begin(json);
	fa_json_kv_f64(json, "p50", frag->series.n ? frag->series.useful[2 * (size_t)k] : NAN);
	fa_json_kv_f64(json, "p95", frag->series.n ? frag->series.useful[2 * (size_t)k + 1] : NAN);
	fa_json_object_end(json);
	fa_json_kv_u64(json, "pages", held);
	kv_ratio(json, "huge_util", 100 * (double)moment->huge.live_bytes,
		 (double)moment->huge.live_pages * (1 << FA_HUGE_SHIFT));
	fa_json_kv_u64(json, "huge_pinned_free_bytes", moment->huge.pinned_free_bytes);
	frag_emit_jw(frag, json);
	emit_redis(frag, json);
	fa_json_object_end(json);
}

/* ---- where the memory is -----------------------------------------------------------------------
 */

static void emit_waterfall(const struct frag *frag, struct fa_json *json)
{
	const struct frag_waterfall *w = &frag->moment.waterfall;

	fa_json_key(json, "waterfall");
	if (!frag->moment.has_waterfall) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "time_ns", w->time_ns);
	fa_json_kv_i64(json, "rss", w->rss);
	fa_json_kv_i64(json, "file", w->file);
	fa_json_kv_i64(json, "stack", w->stack);
	fa_json_kv_i64(json, "other", w->other);
	fa_json_kv_i64(json, "tracer", w->tracer);
	fa_json_kv_i64(json, "live_req", w->live_req);
	fa_json_kv_i64(json, "round", w->round);
	fa_json_kv_i64(json, "meta", w->meta);
	fa_json_kv_i64(json, "pin_free", w->pin_free);
	fa_json_kv_i64(json, "empty_res", w->empty_res);
	fa_json_kv_i64(json, "live_nr", w->live_nr);
	fa_json_kv_i64(json, "swap", w->swap);
	fa_json_kv_i64(json, "residual", w->residual);
	fa_json_object_end(json);
}

static int magnitude_order(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double p95(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), magnitude_order);
	return values[(n * 95 + 99) / 100 - 1];
}

/* How well the waterfall closes: residuals of the samples after the first second. */
static void emit_closing(const struct frag *frag, struct fa_json *json)
{
	const struct frag_samples *samples = &frag->samples;
	ft_auto_free double *bytes = calloc(samples->n_series + 1, sizeof(*bytes));
	ft_auto_free double *pct = calloc(samples->n_series + 1, sizeof(*pct));
	size_t n = 0, n_within = 0;

	for (size_t i = 0; bytes && pct && i < samples->n_series; i++) {
		const struct frag_waterfall *w = &samples->series[i];
		double limit = (double)w->rss / 100 > 1 << 20 ? (double)w->rss / 100 : 1 << 20;

		if (w->time_ns < 1000000000 || w->rss <= 0)
			continue;
		bytes[n] = fabs((double)w->residual);
		pct[n] = 100 * bytes[n] / (double)w->rss;
		n_within += bytes[n] <= limit;
		n++;
	}
	fa_json_key(json, "closing");
	if (!n) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "samples", n);
	fa_json_kv_u64(json, "p95_bytes", (uint64_t)p95(bytes, n));
	fa_json_kv_u64(json, "max_bytes", (uint64_t)bytes[n - 1]);
	fa_json_kv_f64(json, "p95_pct", p95(pct, n));
	fa_json_kv_f64(json, "within_pct", 100 * (double)n_within / (double)n);
	fa_json_object_end(json);
}

static void emit_regions(const struct frag *frag, struct fa_json *json)
{
	const struct frag_moment *moment = &frag->moment;
	size_t n = moment->n_regions;

	/* The last one is there for blocks with mappings of their own, if there are any. */
	if (n && !moment->regions[n - 1].live_req)
		n--;
	fa_json_key(json, "regions");
	fa_json_array_begin(json);
	for (size_t i = 0; i < n && i < FRAG_REGIONS; i++) {
		const struct frag_region *region = &moment->regions[i];

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "start", region->start);
		fa_json_kv_u64(json, "end", region->end);
		fa_json_kv_string(json, "kind",
				  i + 1 == moment->n_regions ? "mapped" : kind_names[region->kind]);
		if (i + 1 == moment->n_regions)
			fa_json_kv_null(json, "first_bin");
		else
			fa_json_kv_u64(json, "first_bin", region->first_bin);
		fa_json_kv_u64(json, "live_req", region->live_req);
		fa_json_kv_u64(json, "round", region->round);
		fa_json_kv_u64(json, "meta", region->meta);
		fa_json_kv_u64(json, "pin_free", region->pin_free);
		if (region->sampled) {
			fa_json_kv_u64(json, "empty_res", region->empty_res);
			fa_json_kv_u64(json, "live_nr", region->live_nr);
			fa_json_kv_u64(json, "arena_slack", region->pin_free + region->empty_res);
		} else {
			fa_json_kv_null(json, "empty_res");
			fa_json_kv_null(json, "live_nr");
			fa_json_kv_null(json, "arena_slack");
		}
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_kv_u64(json, "bin_bytes", UINT64_C(1) << moment->bins.shift);
	fa_json_kv_u64(json, "regions_left_out", n > FRAG_REGIONS ? n - FRAG_REGIONS : 0);
}

/* ---- who holds it ------------------------------------------------------------------------------
 */

static void emit_sites(const struct frag *frag, struct fa_engine *engine, struct fa_json *json)
{
	const struct frag_moment *moment = &frag->moment;

	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < moment->n_sites; i++) {
		const struct frag_site *site = &moment->sites[i];

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "site", site->stack);
		fa_json_kv_string(json, "name", fa_engine_site_name(engine, site->stack));
		fa_json_kv_u64(json, "sole", site->pin.sole);
		fa_json_kv_u64(json, "shapley", site->pin.shapley);
		fa_json_kv_u64(json, "any", site->pin.any);
		fa_json_kv_u64(json, "pages_sole", site->pin.pages_sole);
		fa_json_kv_u64(json, "pages_any", site->pin.pages_any);
		fa_json_kv_u64(json, "huge_sole", site->huge.sole);
		fa_json_kv_u64(json, "huge_shapley", site->huge.shapley);
		fa_json_kv_u64(json, "live_bytes", site->live_bytes);
		kv_ratio(json, "density", (double)site->pin.shapley, (double)site->live_bytes);
		if (site->age_weight > 0)
			fa_json_kv_u64(json, "age_ns",
				       (uint64_t)(site->age_sum / site->age_weight));
		else
			fa_json_kv_null(json, "age_ns");
		fa_json_kv_f64(json, "cost_byte_s", site->cost);
		if (moment->has_burst)
			kv_ratio(json, "born_in_peak", (double)site->burst_bytes, site->age_weight);
		else
			fa_json_kv_null(json, "born_in_peak");
		fa_json_key(json, "stack");
		fa_engine_emit_stack(engine, site->stack, json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);

	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", moment->n_other);
	fa_json_kv_u64(json, "shapley", moment->other_shapley);
	fa_json_object_end(json);
}

static void emit_set(const struct frag_moment *moment, const struct frag_set *set,
		     struct fa_engine *engine, struct fa_json *json)
{
	fa_json_object_begin(json);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (uint32_t i = 0; i < set->n; i++)
		fa_json_u64(json, moment->sites[set->sites[i]].stack);
	fa_json_array_end(json);
	fa_json_key(json, "names");
	fa_json_array_begin(json);
	for (uint32_t i = 0; i < set->n; i++)
		fa_json_string(json,
			       fa_engine_site_name(engine, moment->sites[set->sites[i]].stack));
	fa_json_array_end(json);
	fa_json_kv_u64(json, "free_bytes", set->bytes);
	fa_json_kv_u64(json, "pages", set->pages);
	fa_json_kv_u64(json, "live_bytes", set->live);
	fa_json_object_end(json);
}

static void emit_sets(const struct frag *frag, struct fa_engine *engine, struct fa_json *json)
{
	const struct frag_moment *moment = &frag->moment;

	fa_json_key(json, "sets");
	fa_json_array_begin(json);
	for (size_t i = 0; i < moment->n_sets; i++)
		emit_set(moment, &moment->sets[i], engine, json);
	fa_json_array_end(json);
	fa_json_key(json, "pairs");
	fa_json_array_begin(json);
	for (size_t i = 0; i < moment->n_pairs; i++) {
		const struct frag_pair *pair = &moment->pairs[i];

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "a", pair->a);
		fa_json_kv_u64(json, "b", pair->b);
		fa_json_kv_string(json, "a_name", fa_engine_site_name(engine, pair->a));
		fa_json_kv_string(json, "b_name", fa_engine_site_name(engine, pair->b));
		fa_json_kv_u64(json, "shared_bytes", pair->bytes);
		fa_json_kv_u64(json, "pages", pair->pages);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
}

static void emit_examples(const struct frag *frag, struct fa_engine *engine, struct fa_json *json)
{
	const struct frag_moment *moment = &frag->moment;

	fa_json_key(json, "examples");
	fa_json_array_begin(json);
	for (size_t i = 0; i < moment->n_examples; i++) {
		const struct frag_example *example = &moment->examples[i];

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "address", example->address);
		fa_json_kv_u64(json, "live_bytes", example->live);
		fa_json_kv_u64(json, "sites", example->n_sites);
		fa_json_kv_u64(json, "n_blocks", example->n_blocks);
		fa_json_key(json, "blocks");
		fa_json_array_begin(json);
		for (uint32_t b = 0; b < example->n_blocks && b < FRAG_EXAMPLE_BLOCKS; b++) {
			const struct frag_example_block *block = &example->blocks[b];

			fa_json_object_begin(json);
			fa_json_kv_u64(json, "address", block->address);
			fa_json_kv_u64(json, "size", block->size);
			fa_json_kv_u64(json, "age_ns", block->age_ns);
			fa_json_kv_u64(json, "thread", block->thread);
			fa_json_kv_u64(json, "site", block->site);
			fa_json_kv_string(json, "name", fa_engine_site_name(engine, block->site));
			fa_json_object_end(json);
		}
		fa_json_array_end(json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
}

/* ---- why, and what would help ------------------------------------------------------------------
 */

static void emit_peak(const struct frag *frag, struct fa_json *json)
{
	const struct frag_moment *moment = &frag->moment;

	fa_json_key(json, "peak");
	if (!moment->has_burst) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "bytes", moment->burst_peak);
	fa_json_kv_u64(json, "time_ns", moment->burst_peak_ns);
	fa_json_kv_u64(json, "from_ns", moment->burst_from_ns);
	fa_json_kv_u64(json, "to_ns", moment->burst_to_ns);
	fa_json_kv_u64(json, "survivors", moment->burst_blocks);
	fa_json_kv_u64(json, "survivor_bytes", moment->burst_bytes);
	fa_json_kv_u64(json, "survivor_pages", moment->burst_pages);
	fa_json_object_end(json);
}

static void emit_threshold(const struct frag *frag, struct fa_engine *engine, struct fa_json *json)
{
	const struct fa_mmap_threshold *threshold = &frag->threshold;

	fa_json_key(json, "mmap_threshold");
	if (!frag->glibc || !threshold->n_raised) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "bytes", threshold->bytes);
	fa_json_kv_u64(json, "times_raised", threshold->n_raised);
	fa_json_kv_u64(json, "time_ns", threshold->raised_ns);
	fa_json_kv_u64(json, "block_bytes", threshold->raised_by);
	fa_json_kv_u64(json, "thread", threshold->thread);
	fa_json_kv_u64(json, "site", threshold->stack);
	fa_json_kv_string(json, "name", fa_engine_site_name(engine, threshold->stack));
	fa_json_key(json, "stack");
	fa_engine_emit_stack(engine, threshold->stack, json);
	fa_json_object_end(json);
}

static void emit_remedies(const struct frag *frag, struct fa_engine *engine, struct fa_json *json)
{
	fa_json_key(json, "remedies");
	fa_json_array_begin(json);
	for (size_t i = 0; i < frag->n_remedies; i++) {
		const struct frag_remedy *remedy = &frag->remedies[i];

		fa_json_object_begin(json);
		fa_json_kv_string(json, "code", remedy->code);
		fa_json_kv_string(json, "text", remedy->text);
		fa_json_kv_u64(json, "saves_bytes", remedy->saves);
		fa_json_kv_bool(json, "exact", remedy->exact);
		if (remedy->value)
			fa_json_kv_u64(json, "value", remedy->value);
		else
			fa_json_kv_null(json, "value");
		fa_json_key(json, "set");
		if (remedy->code[0] == 'p' && frag->pool)
			emit_set(&frag->moment, frag->pool, engine, json);
		else
			fa_json_null(json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
}

/* ---- the section
 * ---------------------------------------------------------------------------------
 */

struct ft_error *frag_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct frag *frag = fa_pass_state(pass);
	const struct frag_moment *moment = &frag->moment;
	struct fa_engine *engine = fa_pass_engine(pass);
	struct fa_json *json = fa_doc_begin(doc, "frag");

	fa_json_kv_u64(json, "at_ns", moment->at_ns);
	fa_json_kv_string(json, "allocator", fa_engine_allocator(engine));
	emit_metrics(frag, json);
	fa_json_kv_u64(json, "rolled_moments", frag->n_rolled);
	fa_json_kv_string(json, "residency",
			  moment->sampled    ? "sampled"
			  : moment->mappings ? "mappings"
					     : "assumed");
	if (moment->sampled || moment->mappings)
		fa_json_kv_u64(json, "sample_ns", moment->sample_ns);
	else
		fa_json_kv_null(json, "sample_ns");
	fa_json_kv_u64(json, "unplaced_blocks", frag->layout->n_refused);
	emit_waterfall(frag, json);
	emit_closing(frag, json);
	emit_regions(frag, json);
	FT_TRY(frag_arenas_emit(frag, json, NULL));
	emit_sites(frag, engine, json);
	emit_sets(frag, engine, json);
	frag_slabs_emit(frag, engine, json);
	emit_examples(frag, engine, json);
	emit_peak(frag, json);
	emit_threshold(frag, engine, json);
	emit_remedies(frag, engine, json);
	fa_json_key(json, "verdict");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "code", frag->verdict);
	fa_json_kv_string(json, "text", frag->text);
	fa_json_object_end(json);
	fa_doc_end(doc);
	frag_emit_columns(frag, doc);
	return frag_arenas_emit(frag, NULL, doc);
}

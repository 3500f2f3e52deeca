/* SPDX-License-Identifier: MIT */
/*
 * What holds the memory, in a sentence, and what would help: see frag.h
 *
 * Trends are judged on the lows of the last half of the time before the moment. Live memory that
 * grows comes first: the rest grows with it. Then free bytes on pages with blocks, then whole pages
 * that the allocator keeps, then what a past peak has left.
 */
#include <stdio.h>
#include <string.h>

#include "fa_format.h"
#include "fa_trend.h"
#include "frag.h"

enum { MIB = 1 << 20 };

/* How much the lows of the series rose over the last half before the moment; 0: not by a trend. */
static uint64_t rise_of(const struct frag *frag, const uint64_t *values)
{
	double troughs[FA_TREND_TROUGHS];
	size_t last = 0;

	while (last < frag->series.n && frag->series.time_ns[last] <= frag->moment.at_ns)
		last++;
	if (last / 2 < FA_TREND_TROUGHS)
		return 0;
	fa_troughs(values, last / 2, last, troughs);

	struct fa_trend trend = fa_trough_test(troughs);

	/* Rising by a hundredth is no finding. */
	return trend.growing && trend.growth > 0.02 * (double)values[last - 1]
		       ? (uint64_t)trend.growth
		       : 0;
}

/* ---- remedies ----------------------------------------------------------------------------------
 */

static struct frag_remedy *remedy_add(struct frag *frag, const char *code, uint64_t saves,
				      bool exact)
{
	struct frag_remedy *remedy = &frag->remedies[frag->n_remedies];

	if (frag->n_remedies == sizeof(frag->remedies) / sizeof(*frag->remedies))
		return NULL;
	frag->n_remedies++;
	*remedy = (struct frag_remedy){.code = code, .saves = saves, .exact = exact};
	return remedy;
}

static void remedy_trim(struct frag *frag)
{
	uint64_t saves = frag->moment.trim.pages * PAGE;
	struct frag_remedy *remedy;
	struct fa_text a;

	if (saves < MIB || !(remedy = remedy_add(frag, "malloc_trim", saves, frag->moment.sampled)))
		return;
	snprintf(remedy->text, sizeof(remedy->text),
		 "malloc_trim(0) would return %s now: call it when a burst of work is over",
		 fa_format_bytes(saves, &a));
}

/* The top of the heap is given back by free() alone once it is larger than M_TRIM_THRESHOLD. */
static void remedy_trim_threshold(struct frag *frag)
{
	uint64_t saves = frag->moment.trim.top_pages * PAGE;
	struct frag_remedy *remedy;
	struct fa_text a, b;

	if (saves < MIB || !frag->threshold.n_raised ||
	    !(remedy = remedy_add(frag, "trim_threshold", saves, false)))
		return;
	remedy->value = FA_MMAP_THRESHOLD;
	snprintf(remedy->text, sizeof(remedy->text),
		 "M_TRIM_THRESHOLD fixed at %s: the top of the heap holds %s that free() keeps "
		 "since "
		 "the threshold was raised to twice a large block",
		 fa_format_bytes(remedy->value, &a), fa_format_bytes(saves, &b));
}

/* Large blocks went into the heap after the threshold had been raised, and left holes there. */
static void remedy_mmap_threshold(struct frag *frag)
{
	uint64_t cursor = 0, start, end, saves = 0;
	struct frag_remedy *remedy;
	struct fa_text a, b, c;

	if (!frag->threshold.n_raised || !frag->large_peak)
		return;
	while (fa_holes_next(&frag->layout->holes, &cursor, &start, &end))
		if (end - start >= FA_MMAP_THRESHOLD)
			saves += end - start;
	/* No more than such blocks ever took, and no more than is resident there. */
	if (saves > frag->large_peak - frag->large_live)
		saves = frag->large_peak - frag->large_live;
	if (saves > frag->moment.empty_pages * PAGE)
		saves = frag->moment.empty_pages * PAGE;
	if (saves < MIB || !(remedy = remedy_add(frag, "mmap_threshold", saves, false)))
		return;
	remedy->value = FA_MMAP_THRESHOLD;
	snprintf(
		remedy->text, sizeof(remedy->text),
		"M_MMAP_THRESHOLD fixed at %s: blocks of that size and more would be unmapped when "
		"they are freed; a free of %s raised it to %s, and %s of their room are kept",
		fa_format_bytes(remedy->value, &a), fa_format_bytes(frag->threshold.raised_by, &b),
		"its size", fa_format_bytes(saves, &c));
}

/* Each arena is as large as its own peak; one heap would be as large as the peak of all. */
static void remedy_arena_max(struct frag *frag)
{
	uint64_t peaks = 0, slack = 0, saves;
	size_t n = 0;
	struct frag_remedy *remedy;
	struct fa_text a;

	for (size_t i = 0; i < frag->n_arenas; i++) {
		peaks += frag->arenas[i].peak;
		n += frag->arenas[i].peak > 0;
	}
	for (size_t i = 0; i + 1 < frag->moment.n_regions; i++)
		slack += frag->moment.regions[i].pin_free + frag->moment.regions[i].empty_res;
	saves = peaks > frag->peak_heap ? peaks - frag->peak_heap : 0;
	if (saves > slack)
		saves = slack;
	if (n < 3 || saves < MIB || saves < frag->moment.footprint / 20 ||
	    !(remedy = remedy_add(frag, "arena_max", saves, false)))
		return;
	remedy->value = 2;
	snprintf(remedy->text, sizeof(remedy->text),
		 "M_ARENA_MAX=2 (or MALLOC_ARENA_MAX=2): %zu heaps of threads had their peaks at "
		 "different times, about %s of them never at once",
		 n, fa_format_bytes(saves, &a));
}

/* The set whose own pages save most, less the room that its blocks need elsewhere. */
static void remedy_pool(struct frag *frag, struct fa_engine *engine)
{
	const struct frag_moment *moment = &frag->moment;
	const struct frag_set *best = NULL;
	uint64_t saves = 0;
	struct frag_remedy *remedy;
	struct fa_text a;

	for (size_t i = 0; i < moment->n_sets; i++) {
		const struct frag_set *set = &moment->sets[i];
		uint64_t pages = set->pages * PAGE, room = (set->live + PAGE - 1) & -(uint64_t)PAGE;

		/* A larger set has to be worth more than its trouble. */
		if (pages > room && pages - room > saves + saves / 10) {
			saves = pages - room;
			best = set;
		}
	}
	if (saves < MIB || !(remedy = remedy_add(frag, "pool", saves, false)))
		return;
	frag->pool = best;
	snprintf(
		remedy->text, sizeof(remedy->text),
		"a pool of their own for the blocks of %.160s%s: the pages that only %s hold could "
		"go, about %s",
		fa_engine_site_name(engine, moment->sites[best->sites[0]].stack),
		best->n > 1 ? " and the others of its set" : "", best->n > 1 ? "they" : "it",
		fa_format_bytes(saves, &a));
}

static void find_remedies(struct frag *frag, struct fa_engine *engine)
{
	if (frag->glibc) {
		remedy_trim(frag);
		remedy_trim_threshold(frag);
		remedy_mmap_threshold(frag);
		remedy_arena_max(frag);
	}
	remedy_pool(frag, engine);
}

/* ---- the sentence ------------------------------------------------------------------------------
 */

static uint64_t trimmable(const struct frag *frag)
{
	return frag->moment.trim.pages * PAGE;
}

static void say_pinned(struct frag *frag, struct fa_engine *engine, uint64_t pinned, bool rising)
{
	const struct frag_moment *moment = &frag->moment;
	const char *site =
		moment->n_sites ? fa_engine_site_name(engine, moment->sites[0].stack) : "??";
	uint64_t share = moment->n_sites ? moment->sites[0].pin.shapley : 0;
	struct fa_text a, b, c;

	snprintf(frag->text, sizeof(frag->text),
		 "%s of free memory lie on pages that %s of live blocks keep%s; %.300s holds %s of "
		 "them (%s)",
		 fa_format_bytes(pinned, &a), fa_format_bytes(moment->heap.live_bytes, &b),
		 rising ? ", and it is growing" : "", site,
		 share > pinned / 2 ? "most" : "the largest part", fa_format_bytes(share, &c));
}

static void say_retained(struct frag *frag, uint64_t empty, bool rising)
{
	struct fa_text a, b;

	snprintf(frag->text, sizeof(frag->text),
		 "%s of whole pages without a live byte stay with the allocator%s%s%s",
		 fa_format_bytes(empty, &a), rising ? ", and more of them over time" : "",
		 frag->glibc ? "; malloc_trim() would give back " : "",
		 frag->glibc ? fa_format_bytes(trimmable(frag), &b) : "");
}

/* Where the peak was, if it explains what is held. */
static void say_burst(struct frag *frag)
{
	const struct frag_moment *moment = &frag->moment;
	size_t used = strlen(frag->text);
	struct fa_text a, b, c;

	if (!moment->has_burst || moment->burst_bytes < moment->extents / 20)
		return;
	snprintf(frag->text + used, sizeof(frag->text) - used,
		 "; blocks from the peak of %s at %s still hold parts of %s pages",
		 fa_format_bytes(moment->burst_peak, &a), fa_format_time(moment->burst_peak_ns, &b),
		 fa_format_count(moment->burst_pages, &c));
}

struct ft_error *frag_judge(struct frag *frag, struct fa_engine *engine)
{
	const struct frag_moment *moment = &frag->moment;
	uint64_t held = frag->moment.pages.live_pages + frag->moment.mapped.live_pages +
			frag->moment.holes.free_pages;
	uint64_t live = moment->heap.live_bytes, empty = moment->empty_pages * PAGE;
	uint64_t pinned = moment->pages.pinned_free_bytes + moment->mapped.pinned_free_bytes;
	uint64_t large = held * PAGE / 4 > MIB ? held * PAGE / 4 : MIB;
	uint64_t live_rise = rise_of(frag, frag->series.live_bytes);
	uint64_t pinned_rise = rise_of(frag, frag->series.pinned);
	struct fa_text a, b, c;
	struct fa_finding finding = {.section = "frag", .severity = FA_OK, .text = frag->text};

	find_remedies(frag, engine);
	if (pinned >= large && pinned >= empty / 2 && live_rise <= pinned) {
		frag->verdict = "pinned";
		finding.severity = pinned > live ? FA_MEDIUM : FA_LOW;
		finding.site = moment->n_sites ? moment->sites[0].stack : 0;
		finding.weight = pinned;
		say_pinned(frag, engine, pinned, pinned_rise);
		say_burst(frag);
	} else if (empty >= large) {
		frag->verdict = "retained";
		finding.severity = FA_INFO;
		finding.weight = empty;
		say_retained(frag, empty, rise_of(frag, frag->series.hole_bytes));
		say_burst(frag);
	} else if (live_rise) {
		frag->verdict = "growing";
		snprintf(frag->text, sizeof(frag->text),
			 "live memory itself grows; pages are well filled (%s live, %s held)",
			 fa_format_bytes(live, &a), fa_format_bytes(held * PAGE, &b));
	} else if (moment->footprint > live + live / 2 && moment->footprint - live > MIB &&
		   moment->heap.peak_bytes > live + live / 2) {
		frag->verdict = "past_peak";
		finding.severity = FA_INFO;
		finding.weight = moment->footprint - live;
		snprintf(frag->text, sizeof(frag->text),
			 "the heap takes %s for %s of live blocks: what is left of the peak of %s",
			 fa_format_bytes(moment->footprint, &a), fa_format_bytes(live, &b),
			 fa_format_bytes(moment->heap.peak_bytes, &c));
	} else {
		frag->verdict = "fine";
		snprintf(frag->text, sizeof(frag->text),
			 live < held * PAGE - held * PAGE / 4
				 ? "little memory is at stake: %s of live blocks on %s of pages"
				 : "pages are well filled: %s of live blocks on %s of pages",
			 fa_format_bytes(live, &a), fa_format_bytes(held * PAGE, &b));
	}

	const struct fa_param params[] = {
		{.name = "live_bytes", .kind = FA_PARAM_U64, .u64 = live},
		{.name = "pinned_free_bytes", .kind = FA_PARAM_U64, .u64 = pinned},
		{.name = "empty_bytes", .kind = FA_PARAM_U64, .u64 = empty},
		{.name = "footprint_bytes", .kind = FA_PARAM_U64, .u64 = moment->footprint},
		{.name = "peak_bytes", .kind = FA_PARAM_U64, .u64 = moment->heap.peak_bytes},
		{.name = "trimmable_bytes", .kind = FA_PARAM_U64, .u64 = trimmable(frag)},
		{.name = "site",
		 .kind = FA_PARAM_TEXT,
		 .text = finding.site ? fa_engine_site_name(engine, finding.site) : NULL},
	};

	frag->severity = finding.severity;
	finding.code = frag->verdict;
	finding.params = params;
	finding.n_params = sizeof(params) / sizeof(*params);
	return finding.severity > FA_OK ? fa_engine_finding_add(engine, &finding) : NULL;
}

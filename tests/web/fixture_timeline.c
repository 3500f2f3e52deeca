/* SPDX-License-Identifier: MIT */
/* The series of the timeline, and the largest allocations. */
#include <math.h>
#include <string.h>

#include "fixture.h"

enum {
	N_RSS = 720,
	N_FINE = 16 * N_TICKS,
	FINE_NEEDLE = N_FINE / 2,
	N_LARGEST = 16,
};

/* As the timeline, in steps of a sixteenth: one of them holds what the timeline has of its tick. */
static void emit_fine(const struct fixture *f, struct fa_doc *doc)
{
	static uint64_t time[N_FINE], live[N_FINE], low[N_FINE], high[N_FINE];

	for (size_t i = 0; i < N_FINE; i++) {
		double t = (double)(i + 1) / N_FINE;

		time[i] = (uint64_t)(t * (double)f->duration_ns);
		live[i] = (uint64_t)fixture_live(t);
		low[i] = live[i] - (uint64_t)(MIB / 2);
		high[i] = live[i] + (uint64_t)(i == FINE_NEEDLE ? 5 * MIB : MIB / 2);
	}
	fa_doc_column(doc, "timeline.fine_ns", FA_U64, time, N_FINE);
	fa_doc_column(doc, "timeline.fine_live", FA_U64, live, N_FINE);
	fa_doc_column(doc, "timeline.fine_low", FA_U64, low, N_FINE);
	fa_doc_column(doc, "timeline.fine_high", FA_U64, high, N_FINE);
}

void fixture_timeline(const struct fixture *f, struct fa_doc *doc)
{
	static uint64_t time[N_TICKS], live[N_TICKS], blocks[N_TICKS], usable[N_TICKS];
	static uint64_t allocated[N_TICKS], allocations[N_TICKS], peak[N_TICKS], low[N_TICKS];
	static uint64_t rss_time[N_RSS], rss[N_RSS], pss[N_RSS];
	bool quarter = strcmp(f->kind, "quarter") == 0;
	double resident = 0;

	for (size_t i = 0; i < N_TICKS; i++) {
		double t = (double)(i + 1) / N_TICKS, from = (double)i / N_TICKS;
		/* eight teeth, each from 10 to 100 MiB; the sixth has a needle that one tick holds
		 */
		double tooth = 10 * MIB + 90 * MIB * fmod(t * 8, 1);
		double now = quarter ? tooth : fixture_live(t);

		time[i] = (uint64_t)(t * (double)f->duration_ns);
		live[i] = (uint64_t)now;
		blocks[i] = (uint64_t)(now / 1800);
		usable[i] = live[i] + live[i] / 14;
		allocated[i] = (uint64_t)(t * 2084 * 1024 * MIB);
		allocations[i] = (uint64_t)(t * 50184022);
		peak[i] = live[i] + (uint64_t)(6 * MIB * fixture_random());
		low[i] = live[i] - (uint64_t)(4 * MIB * fixture_random());
		if (!quarter && from < 0.434 && t >= 0.434)
			peak[i] = (uint64_t)fixture_live(0.434);
		if (quarter && i == NEEDLE_TICK)
			peak[i] = NEEDLE_BYTES;
	}
	for (size_t i = 0; i < N_RSS; i++) {
		double t = (double)(i + 1) / N_RSS;
		double need = fixture_live(t) * 1.11 + 21 * MIB;

		/* given back a little at a time: the burst's pages stay */
		resident = need > resident ? need : resident - (resident - need) * 0.0006;
		rss_time[i] = (uint64_t)(t * (double)f->duration_ns);
		rss[i] = (uint64_t)resident & ~4095ull;
	}
	fa_doc_column(doc, "timeline.time_ns", FA_U64, time, N_TICKS);
	fa_doc_column(doc, "timeline.live_bytes", FA_U64, live, N_TICKS);
	fa_doc_column(doc, "timeline.live_blocks", FA_U64, blocks, N_TICKS);
	fa_doc_column(doc, "timeline.usable_bytes", FA_U64, usable, N_TICKS);
	fa_doc_column(doc, "timeline.allocated_bytes", FA_U64, allocated, N_TICKS);
	fa_doc_column(doc, "timeline.allocations", FA_U64, allocations, N_TICKS);
	fa_doc_column(doc, "timeline.peak_bytes", FA_U64, peak, N_TICKS);
	fa_doc_column(doc, "timeline.low_bytes", FA_U64, low, N_TICKS);
	if (!quarter) {
		fa_doc_column(doc, "rss.time_ns", FA_U64, rss_time, N_RSS);
		fa_doc_column(doc, "rss.bytes", FA_U64, rss, N_RSS);
		for (size_t i = 0; i < N_RSS; i++)
			pss[i] = rss[i] - 16 * (uint64_t)MIB;
		fa_doc_column(doc, "pss.time_ns", FA_U64, rss_time, N_RSS);
		fa_doc_column(doc, "pss.bytes", FA_U64, pss, N_RSS);
		emit_fine(f, doc);
	}
}

/* The first from a realloc, each a MiB less than the one before, half an hour later. */
void fixture_largest(const struct fixture *f, struct fa_doc *doc)
{
	struct fa_json *json = fa_doc_begin(doc, "largest");

	fa_json_key(json, "allocations");
	fa_json_array_begin(json);
	for (size_t i = 0; i < N_LARGEST; i++) {
		size_t site = i % fixture_n_sites();

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "seq", 1000 + i);
		fa_json_kv_u64(json, "time_ns", f->duration_ns / 24 * (i + 1));
		fa_json_kv_u64(json, "size", (uint64_t)((64 - (double)i) * MIB));
		if (i)
			fa_json_kv_null(json, "old_size");
		else
			fa_json_kv_u64(json, "old_size", (uint64_t)(32 * MIB));
		fa_json_kv_string(json, "call", i ? "malloc" : "realloc");
		fa_json_kv_u64(json, "thread", 1 + i % 4);
		fa_json_kv_u64(json, "site", site + 1);
		fa_json_kv_string(json, "name", fixture_site(f, site));
		fixture_stack(json, "stack", site, f->hostile);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	if (f->lost)
		fa_json_kv_u64(json, "since_ns", HOUR);
	else
		fa_json_kv_null(json, "since_ns");
	fa_doc_end(doc);
}

/* SPDX-License-Identifier: MIT */
/*
 * What the files of the pass `frag` share
 *
 *	frag.c           blocks come and go, series, life cycle
 *	frag_samples.c   mappings and pages as sampled: residency, the waterfall
 *	frag_moment.c    one moment in full: sites, sets of sites, example pages, peak
 *	frag_regions.c   regions: at the moment, and over time
 *	frag_rolled.c    the series of a stretch whose events are gone
 *	frag_trim.c      what malloc_trim() would give back
 *	frag_sets.c      sites that pin together
 *	frag_slabs.c     slabs of allocators that have some
 *	frag_bins.c      a map of the heap
 *	frag_verdict.c   the sentence, and what would help
 *	frag_emit.c      the document: facts
 *	frag_columns.c   and series
 */
#ifndef FRAG_H
#define FRAG_H

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_glibc.h"
#include "fa_layout.h"
#include "fa_residency.h"
#include "fa_slabs.h"

enum {
	FRAG_MOMENTS = 512,    /* of the series */
	FRAG_PIN_MOMENTS = 64, /* at which all sites are looked at */
	FRAG_SITES = 200,
	FRAG_REGIONS = 256,
	FRAG_SET_SITES = 32, /* sites that may be in a set */
	FRAG_SETS = 8,
	FRAG_SET_MAX = 6,
	FRAG_PAIRS = 10,
	FRAG_EXAMPLES = 24,
	FRAG_EXAMPLE_BLOCKS = 64,
	FRAG_BINS = 4096,     /* of the map of the moment */
	FRAG_FILL = 21,	      /* pages without a live byte, then by steps of 5 % */
	FRAG_ARENA_ROWS = 32, /* heaps over time; more are summed up in the last */
	/* Chunks and holes looked at for one moment of the series, and blocks for one of the pins,
	 * at most: beyond that each nth moment is looked at. */
	FRAG_TRIM_COST = 1 << 13,
	FRAG_SLABS_COST = 1 << 16,
	FRAG_USEFUL_REQUESTS = 10000,
	PAGE = 1 << FA_PAGE_SHIFT,
};

/* glibc maps its arenas at multiples of this (HEAP_MAX_SIZE). */
#define FRAG_ARENA_BYTES (UINT64_C(64) << 20)

/* Live extents of one of glibc's heaps. */
struct frag_arena {
	uint64_t base; /* 0: the main heap */
	uint64_t live, peak;
	uint64_t first; /* lowest extent that was ever there */
	uint64_t since; /* number of the birth that was its first */
};

/* ---- samples -----------------------------------------------------------------------------------
 */

enum frag_kind {
	KIND_HEAP,
	KIND_ARENA,
	KIND_MMAP, /* these three are looked at page by page */
	KIND_FILE,
	KIND_STACK,
	KIND_TRACER,
	KIND_OTHER
};

struct frag_map {
	uint64_t start, end;
	int64_t rss, swap;
	enum frag_kind kind;
};

struct frag_map_change {
	uint64_t time_ns;
	struct frag_map map; /* end == start: gone */
};

struct frag_sample {
	int64_t id, rss;
	uint64_t time_ns;
	uint32_t page_bytes;
	bool unchanged;
};

/* Addresses that belong to the heap, whether blocks are there or not. */
struct frag_range {
	uint64_t start, end;
	enum frag_kind kind;
};

/* Where the resident memory is. All but the last are measured, each on its own. */
struct frag_waterfall {
	uint64_t time_ns;
	int64_t rss;
	int64_t file, stack, other, tracer; /* outside of the heap */
	int64_t live_req, round, meta;
	int64_t pin_free, empty_res;
	int64_t live_nr; /* part of live_req, round and meta that is on no resident page */
	int64_t swap;	 /* beside it */
	int64_t residual;
};

struct frag_samples {
	struct frag_map_change *changes;
	size_t n_changes, changes_room, next_change;
	struct frag_map *maps;
	size_t n_maps, maps_room;
	struct ft_map map_index; /* start -> index of maps */
	struct frag_sample *items;
	size_t n_items, items_room, next, stride;

	struct fa_residency residency; /* of the last one applied */
	bool has_residency;
	uint64_t at_ns;
	uint64_t heap_resident; /* pages in ranges */
	uint64_t held_then;	/* pages that the layout had then */
	struct frag_range *ranges;
	size_t n_ranges, ranges_room;
	struct frag_waterfall *series;
	size_t n_series;
};

/* ---- series ------------------------------------------------------------------------------------
 */

struct frag_useful {
	uint64_t due; /* number of the birth at which the requests are complete */
	uint32_t k;
	uint64_t hole_bytes[FA_HOLE_BINS];
	uint32_t requests[FA_HOLE_BINS]; /* before */
};

/* What malloc_trim() gives back; `top_pages` of it of the main heap's top. */
struct frag_trim {
	uint64_t pages, top_pages;
	uint64_t cost; /* what was looked at: about 50 ns each */
};

struct frag_series {
	uint32_t n, stride; /* moments kept; ticks between two */
	uint32_t next_trim; /* the moment at which it is computed again */
	uint64_t *time_ns, *live_bytes, *pinned, *largest, *hole_bytes, *pages, *trimmable;
	int64_t *footprint; /* -1: no sample yet */
	double *internal, *overhead;
	double *useful;	     /* 2 a moment: for the median request, for the 95th percentile */
	double *uf;	     /* FA_ORDERS a moment */
	uint32_t *occupancy; /* FA_OCCUPANCY a moment */
	uint64_t *hole_hist; /* FRAG_HOLE_LOG2 a moment: bytes */
	struct frag_useful *waiting; /* [useful_first, useful_last) */
	size_t useful_first, useful_last, useful_room;
};
enum { FRAG_HOLE_LOG2 = 48 };

/* All sites at a few moments: what holds free bytes, packed. */
struct frag_pin_cell {
	uint32_t site, bucket;
	uint64_t sole, shapley;
};
struct frag_pins {
	uint32_t n, stride; /* buckets; moments between two */
	uint64_t time_ns[FRAG_PIN_MOMENTS + 1];
	double huge_util[FRAG_PIN_MOMENTS + 1];
	/* Of allocators with slabs; those of the moment before where that is too long a look. */
	uint64_t mesh_gain[FRAG_PIN_MOMENTS + 1], compact_gain[FRAG_PIN_MOMENTS + 1];
	uint32_t next_slabs;
	bool has_slabs;
	struct frag_pin_cell *cells;
	size_t n_cells, room;
	struct fa_pin *scratch; /* n_stacks */
};

/* ---- the moment --------------------------------------------------------------------------------
 */

/* A site that holds pages. */
struct frag_site {
	uint32_t stack;
	struct fa_pin pin, huge;
	uint64_t live_bytes, extent_bytes;
	double age_weight, age_sum; /* bytes on partial pages; those times their age in ns */
	uint64_t burst_bytes;	    /* of age_weight: born in the burst of the peak */
	double cost;		    /* byte seconds */
};

struct frag_set {
	uint32_t sites[FRAG_SET_MAX];
	uint32_t n;
	uint64_t bytes, pages; /* what their removal empties: free bytes, pages */
	uint64_t live;	       /* extents of their blocks, wherever */
};

struct frag_pair {
	uint32_t a, b;
	uint64_t bytes, pages;
};

struct frag_example_block {
	uint64_t address, size, age_ns;
	uint32_t site, thread;
};
struct frag_example {
	uint64_t address;
	uint32_t live, n_sites, n_blocks; /* n_blocks: all, also those not kept */
	struct frag_example_block blocks[FRAG_EXAMPLE_BLOCKS];
};

/* A stretch of the heap at the moment: what the waterfall has, of this place alone. */
struct frag_region {
	uint64_t start, end;
	enum frag_kind kind;
	uint64_t live_req, round, meta, pin_free, empty_res, live_nr;
	uint64_t first_bin;
	bool sampled;
};

/* While blocks and pages are visited. */
struct frag_regions {
	struct frag_region *items; /* by address; the last: blocks with mappings of their own */
	size_t n, last;		   /* last: found */
};

/* Regions at some samples of pages. */
enum { FRAG_ARENA_MAIN = 0, FRAG_ARENA_MAPPED = 1, FRAG_ARENA_TERMS = 7, FRAG_ARENA_SLACK = 6 };
struct frag_arena_cell {
	uint64_t key; /* FRAG_ARENA_..., or where it begins */
	uint32_t moment;
	enum frag_kind kind;
	int64_t terms[FRAG_ARENA_TERMS];
};
struct frag_arenas {
	uint32_t n;	     /* moments */
	size_t stride, next; /* samples between two; the number of the next one */
	uint64_t time_ns[FRAG_PIN_MOMENTS + 1];
	struct frag_arena_cell *cells; /* owned */
	size_t n_cells, room;
	struct fa_regions ever; /* mappings of allocators other than glibc, joined */
};

/* All regions but the last, in bins of 2^shift bytes, 0 empty to 255 full. */
struct frag_bins {
	unsigned shift;
	uint64_t n;
	uint8_t *live, *resident; /* owned */
};

/* Slabs of allocators that have some. */
struct frag_slabs {
	bool known;
	struct fa_slabs found;
	struct frag_slab_site {
		uint32_t stack;
		struct fa_pin pin; /* of slabs, not of pages */
	} * sites;		   /* owned; by shapley, largest first */
	size_t n_sites;
};

struct frag_moment {
	bool taken;
	uint64_t at_ns;
	struct fa_totals heap;
	struct fa_page_totals pages, mapped, huge;
	struct fa_hole_totals holes;
	uint64_t largest_hole, extents;
	uint64_t resident_pages, empty_pages; /* of the heap; estimates unless sampled */
	struct frag_trim trim;
	struct frag_site *sites; /* owned; by shapley, largest first; FRAG_SITES at most */
	size_t n_sites, n_other;
	uint64_t other_shapley;
	struct frag_set sets[FRAG_SETS];
	size_t n_sets;
	struct frag_pair pairs[FRAG_PAIRS];
	size_t n_pairs;
	struct frag_example *examples;
	size_t n_examples;
	struct frag_region *regions;
	size_t n_regions;
	struct frag_bins bins;
	uint64_t fill[2][FRAG_FILL]; /* pages by their live share: resident ones, absent ones */
	struct frag_slabs slabs;
	/* The burst: from below half of the way to the peak until below it again. */
	bool has_burst;
	uint64_t burst_from_ns, burst_to_ns, burst_peak_ns, burst_peak;
	uint64_t burst_blocks, burst_bytes, burst_pages; /* survivors; partial pages they are on */
	struct frag_waterfall waterfall;
	bool has_waterfall;
	bool sampled;  /* pages, and the sample fits this heap */
	bool mappings; /* only the sizes of mappings */
	uint64_t footprint, sample_ns;
};

/* ---- the verdict -------------------------------------------------------------------------------
 */

struct frag_remedy {
	const char *code;
	uint64_t saves; /* resident bytes, predicted */
	bool exact;	/* by the allocator's own rule, else an estimate */
	uint64_t value; /* of the setting; 0: none */
	char text[320];
};

struct frag {
	bool glibc;
	size_t n_stacks;
	struct fa_layout *layout; /* the engine's, as of the moment at hand */

	struct frag_arena *arenas; /* [0] is the main heap */
	size_t n_arenas, arena_room, last_arena;
	uint64_t live_heap, peak_heap; /* extents of all arenas together */
	struct fa_tcache tcache;
	struct fa_mmap_threshold threshold;
	/* Blocks of at least M_MMAP_THRESHOLD's first value that had no mapping of their own. */
	uint64_t large_live, large_peak;

	uint64_t n_requests, request_due;
	uint32_t requests[FA_HOLE_BINS]; /* births by what they took */
	struct frag_series series;
	uint32_t n_rolled; /* moments of it that are of a stretch without events */
	struct frag_pins pins;
	struct frag_samples samples;
	struct frag_arenas by_arena;
	struct frag_moment moment;

	const char *verdict;
	enum fa_severity severity;
	char text[768];
	const struct frag_set *pool; /* of the remedy "pool" */
	struct frag_remedy remedies[8];
	size_t n_remedies;
};

/* frag_samples.c */
struct ft_error *frag_samples_load(struct frag *frag, struct fa_pass *pass);
void frag_samples_deinit(struct frag_samples *samples);
/* Apply all samples up to `time_ns`. */
struct ft_error *frag_samples_until(struct frag *frag, struct fa_pass *pass, uint64_t time_ns);

/* Resident bytes of the heap by the last sample and what happened since; -1 before the first one.
 */
int64_t frag_footprint(const struct frag *frag);
/* Without samples of pages: resident bytes of the mappings that hold or held blocks, as last seen
 * up to `time_ns`. False when nothing is known. */
bool frag_mappings_footprint(struct frag *frag, uint64_t time_ns, uint64_t *footprint,
			     uint64_t *sample_ns);

/* frag_moment.c */
void frag_moment_deinit(struct frag_moment *moment);
struct ft_error *frag_moment_take(struct frag *frag, const struct fa_engine *engine,
				  uint64_t at_ns);
/* What needs all series. */
struct ft_error *frag_moment_finish(struct frag *frag, const struct fa_engine *engine);

/* frag_regions.c */
/* `sampled`: those of the last sample of pages, else what blocks ever covered. */
struct ft_error *frag_regions_make(const struct frag *frag, bool sampled, struct frag_region **ret,
				   size_t *n);
/* Add a block's bytes; `own`: it has a mapping of its own. */
void frag_regions_block(struct frag_regions *regions, bool own, const struct fa_block *block,
			uint64_t start, uint64_t end);
/* Add what the pages have. */
void frag_regions_pages(const struct frag *frag, struct frag_region *regions, size_t n);
/* At a sample that has just been applied. */
struct ft_error *frag_arenas_take(struct frag *frag, const struct fa_engine *engine,
				  uint64_t time_ns);
/* The list if `json`, else the columns. */
struct ft_error *frag_arenas_emit(const struct frag *frag, struct fa_json *json,
				  struct fa_doc *doc);
void frag_arenas_deinit(struct frag_arenas *arenas);

/* Room for one more in `pins`. */
struct ft_error *frag_pin_cell(struct frag_pins *pins, struct frag_pin_cell **ret);
/* frag_rolled.c: the first moments, of what is rolled up. */
struct ft_error *frag_rolled(struct frag *frag, const struct fa_engine *engine, uint32_t n_moments);

/* frag_trim.c: with `sampled` what the last sample says of pages counts, else all are resident. */
struct ft_error *frag_trim(const struct frag *frag, const struct fa_engine *engine, uint64_t at_ns,
			   bool sampled, struct frag_trim *ret);

/* frag_sets.c */
struct ft_error *frag_find_sets(struct frag *frag);

/* frag_slabs.c */
void frag_slabs_deinit(struct frag_slabs *slabs);
struct ft_error *frag_slabs_take(struct frag *frag, const struct fa_engine *engine);
/* What meshing and compaction of slabs would gain now; false for allocators without slabs. */
struct ft_error *frag_slabs_gains(const struct fa_engine *engine, bool *known, uint64_t *mesh,
				  uint64_t *compact);
void frag_slabs_emit(const struct frag *frag, struct fa_engine *engine, struct fa_json *json);

/* frag_bins.c */
void frag_fill_pages(struct frag *frag);
struct ft_error *frag_fill_bins(struct frag *frag);

/* frag_verdict.c */
struct ft_error *frag_judge(struct frag *frag, struct fa_engine *engine);

/* frag_columns.c */
void frag_emit_jw(const struct frag *frag, struct fa_json *json);
void frag_emit_columns(const struct frag *frag, struct fa_doc *doc);

/* frag_emit.c */
struct ft_error *frag_emit(const struct fa_pass *pass, struct fa_doc *doc);

#endif

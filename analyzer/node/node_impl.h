/* SPDX-License-Identifier: MIT */
/*
 * The analysis of a machine, as its files share it
 *
 * load.c reads the rows, frames.c looks at page frames and tries remedies on models, replay.c holds
 * the models against the events, advice.c says what to do, emit.c writes the section.
 */
#ifndef NODE_IMPL_H
#define NODE_IMPL_H

#include <stdbool.h>

#include "fa_compact.h"
#include "fa_node.h"
#include "fa_ufi.h"
#include "fa_zone.h"
#include "ft_arena.h"
#include "ft_map.h"

enum {
	NA_ZONES = 64,
	NA_SNAPSHOTS = 8,
	NA_TYPES = 8,
	NA_CHECKPOINTS = 10,
	NA_FIGURES = 512,
	NA_STRETCH = 1 << 15,
	NA_ENDS = 9
};

/* Zones with more page frames than this (1 TiB) are not modelled: a model takes 9 bytes a page. */
#define NA_MODEL_PAGES (UINT64_C(1) << 28)

/* A figure of the recording's `sample` rows: first and last, and the difference. */
struct na_figure {
	const char *source, *key;
	int64_t first, last;
};

struct na_moment {
	uint64_t time_ns;
	struct fa_orders *zones; /* n_zones of the node */
};

struct na_slab {
	const char *cache;
	struct ft_node_slab_row last; /* strings of it are not valid */
	uint64_t waste;		      /* bytes: free objects, and tails of slabs */
};

/* Blocks of 2^9 page frames, larger ones counted as several. */
static inline uint64_t na_huge(const struct fa_orders *orders)
{
	return orders->n[9] + 2 * orders->n[10];
}

struct na_zone {
	struct ft_node_zone_row row;
	char name[32];
	struct {
		char name[32];
		uint64_t blocks_first, blocks_last; /* pageblocks */
		bool seen;
	} types[NA_TYPES];
	size_t n_types;
};

/* What a snapshot shows of a zone. */
struct na_frames {
	bool has;
	uint64_t pages[FT_NODE_PAGE_KINDS];
	struct fa_orders orders;    /* the free ones, cut into blocks */
	uint64_t pageblocks, mixed; /* with both movable and unmovable pages in use */
	uint64_t pinned_by_few;	    /* mixed ones with at most 8 unmovable pages */
	int agrees; /* with buddyinfo: 1 yes, 0 no, -1 the zone did not stand still */
};

/* What would be won, in blocks of 2^9. */
struct na_remedy {
	bool has;
	uint64_t before, after, moved_pages, freed_pages;
};

struct na_snapshot {
	struct na_frames zones[NA_ZONES];
	uint64_t begin_ns, end_ns;
};

/* The state replay, and the policy replay, of one zone. */
struct na_zone_replay {
	uint64_t n_events; /* that were judged */
	uint64_t impossible_takes, impossible_frees;
	uint64_t ambiguous;		       /* during the first snapshot */
	uint64_t bypassed;		       /* blocks that were freed past a busy per-cpu list */
	uint64_t managed, compared, different; /* page frames at the end */
	double unusable_difference;	       /* largest of all orders */
	struct {
		uint64_t time_ns;
		double w1, unusable, unusable_real, state_unusable;
	} points[NA_CHECKPOINTS];
	size_t n_points;
	uint64_t takes, fallbacks, model_fallbacks;
};

struct na_replay {
	bool has;
	const char *why; /* it does not have one, or ended early; static */
	uint64_t from_ns, to_ns, n_events;
	struct na_zone_replay zones[NA_ZONES];
};

struct na_events {
	uint64_t n[FT_NODE_EVENT_KINDS];
	uint64_t first_ns, last_ns;
	uint64_t compact_ns;	 /* the first compaction; UINT64_MAX: none */
	uint64_t claims, steals; /* of the fallbacks */
	uint64_t alloc_orders[FT_NODE_ORDERS];
	uint64_t ends[NA_ENDS]; /* of compactions, by enum compact_result of the kernel */
};

struct na_node {
	struct ft_reader *reader;
	struct ft_arena arena;
	struct na_zone zones[NA_ZONES];
	size_t n_zones;
	struct na_moment *moments;
	size_t n_moments, room;
	struct na_figure figures[NA_FIGURES];
	size_t n_figures;
	struct na_slab *slabs; /* most waste first */
	size_t n_slabs;
	struct ft_map slab_index;
	uint64_t index_lines, index_equal; /* of lines that were steady */
	struct {
		uint64_t begin_ns, end_ns;
	} action;
	bool has_action;
	uint64_t lost_ns, n_lost; /* first loss; UINT64_MAX */
	uint32_t n_snapshots;
	struct na_snapshot *snapshots; /* NA_SNAPSHOTS */
	struct na_events events;
	uint8_t *block_types[NA_ZONES]; /* a pageblock, as the events tell; 0xff: unknown */
	struct na_remedy drop[NA_ZONES], compact[NA_ZONES], both[NA_ZONES];
	struct na_remedy measured[NA_ZONES], predicted[NA_ZONES]; /* of the compaction that ran */
	struct na_replay replay;
};

/* load.c */
struct ft_error *na_load(struct na_node *node);
/* First and last of a figure; false: the recording has none. */
bool na_figure(const struct na_node *node, const char *source, const char *key, int64_t *first,
	       int64_t *last);
/* Page 0 of a model of the zone: aligned like the stretches of a snapshot. */
static inline uint64_t na_base(const struct na_zone *zone)
{
	return zone->row.start_pfn & ~(uint64_t)(NA_STRETCH - 1);
}
/* The zone of a page frame, or -1. */
int na_zone_of(const struct na_node *node, uint64_t pfn);
/* buddyinfo of a zone at the last moment before, or the first after, a time; NULL. */
const struct fa_orders *na_orders_before(const struct na_node *node, size_t zone, uint64_t ns);
const struct fa_orders *na_orders_after(const struct na_node *node, size_t zone, uint64_t ns);

/* frames.c */
struct ft_error *na_frames(struct na_node *node);
/* A zone of the model as the snapshot shows it; page 0 is na_base(). `drop`: without the pages that
 * can be dropped. Types of pageblocks are those that events told, or are guessed by what is on
 * them. */
struct ft_error *na_zone_model(const struct na_node *node, size_t zone, uint32_t snapshot,
			       bool drop, struct fa_zone *ret);
/* For a pageblock of which no event tells. */
unsigned na_guess_type(uint64_t movable, uint64_t unmovable);

/* replay.c */
struct ft_error *na_scan_events(struct na_node *node);
struct ft_error *na_replay(struct na_node *node);

/* emit.c */
void na_emit(const struct na_node *node, const struct fa_node_options *options, struct fa_doc *doc);
/* advice.c */
void na_emit_advice(const struct na_node *node, struct fa_json *json);

#endif

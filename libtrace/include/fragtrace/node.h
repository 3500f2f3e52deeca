/* SPDX-License-Identifier: MIT */
/*
 * The recording of a machine's memory: writer and reader
 *
 * `fragtrace node` samples what the kernel says of its physical memory. Its recording is of another
 * kind than that of a program: the same identity and version, tables of its own, and
 * meta.kind = 'node'. What is in it is in FORMAT.md, section 9.
 *
 * Times are nanoseconds since the start of the recording on CLOCK_MONOTONIC. Memory is counted in
 * pages (meta.page_bytes), page frames by their number (pfn). Not for two threads at the same time.
 */
#ifndef FRAGTRACE_NODE_H
#define FRAGTRACE_NODE_H

#include "fragtrace/store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
	FT_NODE_ORDERS = 11, /* orders 0 .. 10; what is larger counts as blocks of order 10 */
	FT_NODE_PAGES_MAX = 1 << 20,	/* page frames of one row of node_pages */
	FT_NODE_CHUNK_EVENTS = 1 << 16, /* events of one row of node_event_chunk */
	FT_NODE_MAX_CPUS = 4096,
};

/* ---- rows ------------------------------------------------------------------------------------ */

/* One thing that is asked: "buddyinfo", "kpageflags" ... */
struct ft_node_source_row {
	const char *name, *path;
	const char *status; /* "read", "off" (not asked for), "missing", "denied", "failed" */
	const char *detail; /* what is wrong, in words; or NULL */
};

struct ft_node_zone_row {
	uint32_t id; /* from 1 */
	int64_t node;
	const char *name; /* "DMA32" */
	uint64_t start_pfn, spanned, present, managed;
};

/* Free blocks by order. */
struct ft_node_free_row {
	uint64_t time_ns;
	uint32_t zone;
	const char *type; /* "Movable" ...; NULL: of all types (buddyinfo) */
	uint64_t n[FT_NODE_ORDERS];
};

/* Pageblocks of a type. */
struct ft_node_block_row {
	uint64_t time_ns;
	uint32_t zone;
	const char *type;
	uint64_t n;
};

/* A cache of /proc/slabinfo, when it has changed. */
struct ft_node_slab_row {
	uint64_t time_ns;
	const char *cache;
	uint64_t active_objects, objects, object_bytes, objects_per_slab, pages_per_slab, slabs;
};

/* A line of debugfs extfrag/KIND_index in thousandths. */
struct ft_node_index_row {
	uint64_t time_ns;
	uint32_t zone;
	const char *kind; /* "unusable", "extfrag" */
	int64_t milli[FT_NODE_ORDERS];
	bool steady; /* buddyinfo was the same before and after: the two belong together */
};

/* What a page frame is used for, as /proc/kpageflags tells. */
enum ft_node_page {
	FT_NODE_ABSENT,	 /* no page frame, or not plugged in */
	FT_NODE_FREE,	 /* in the buddy allocator */
	FT_NODE_MOVABLE, /* of a process or file, and neither of the next */
	FT_NODE_CACHE,	 /* of a file, clean and not mapped: can be dropped */
	FT_NODE_SLAB,
	FT_NODE_OTHER, /* the kernel's own, page tables, per-cpu lists, unevictable ... */
	FT_NODE_PAGE_KINDS,
};

struct ft_node_run {
	uint8_t kind;  /* enum ft_node_page */
	uint8_t order; /* of each block: compound pages; 0 for FREE and ABSENT */
	uint32_t n;    /* blocks of 2^order page frames */
};

/* A stretch of page frames as they were between begin_ns and end_ns. Rows of one snapshot go up. */
struct ft_node_pages_row {
	uint32_t snapshot; /* from 1 */
	uint64_t first_pfn, begin_ns, end_ns;
	uint32_t n_pages; /* the runs add up to it */
	const struct ft_node_run *runs;
	size_t n_runs;
};

enum ft_node_event_kind {
	FT_NODE_ALLOC = 1, /* mm_page_alloc: somebody got pages (order, type) */
	FT_NODE_RELEASE,   /* mm_page_free: and gave them back */
	FT_NODE_TAKE,	   /* mm_page_alloc_zone_locked: a block left the buddy lists of `type` */
	FT_NODE_DRAIN,	   /* mm_page_pcpu_drain: a block came back from a per-cpu list */
	FT_NODE_FALLBACK,  /* mm_page_alloc_extfrag: `n` is the order of the block that was split */
	FT_NODE_COMPACT_BEGIN,	/* of the zone that starts at pfn; flag: synchronous */
	FT_NODE_COMPACT_END,	/* n: status */
	FT_NODE_COMPACT_FREE,	/* n free pages from pfn on were isolated */
	FT_NODE_COMPACT_SOURCE, /* n pages to be moved were isolated */
	FT_NODE_COMPACT_MOVED,	/* n pages were moved */
	FT_NODE_EVENT_KINDS,
};

struct ft_node_event {
	uint64_t time_ns, pfn;
	uint32_t n;
	uint16_t cpu;
	uint8_t kind;	    /* enum ft_node_event_kind */
	uint8_t order;	    /* 0 .. 15 */
	uint8_t type;	    /* migrate type as the kernel numbers it, 0 .. 7; 7: unknown */
	uint8_t other_type; /* FALLBACK: that of the list it was taken from */
	uint8_t flag;	    /* FALLBACK: the pageblock changed its type */
};

/* Something was done: kind "compact_memory". */
struct ft_node_action_row {
	const char *kind;
	uint64_t begin_ns, end_ns;
};

/* ---- writer ---------------------------------------------------------------------------------- */

struct ft_node_writer;

/* A new recording; fails if the file exists. State and liveness are as in FORMAT.md, section 1. */
struct ft_error *ft_node_writer_create(const char *path, struct ft_node_writer **ret);
/* Close without finishing: the recording is cut off. NULL is fine. */
void ft_node_writer_close(struct ft_node_writer *writer);

struct ft_error *ft_node_writer_meta(struct ft_node_writer *writer, const char *key,
				     const char *value);
struct ft_error *ft_node_writer_meta_int(struct ft_node_writer *writer, const char *key,
					 int64_t value);
struct ft_error *ft_node_writer_source(struct ft_node_writer *writer,
				       const struct ft_node_source_row *row); /* upsert */
struct ft_error *ft_node_writer_zone(struct ft_node_writer *writer,
				     const struct ft_node_zone_row *row); /* upsert */
struct ft_error *ft_node_writer_free(struct ft_node_writer *writer,
				     const struct ft_node_free_row *row);
struct ft_error *ft_node_writer_block(struct ft_node_writer *writer,
				      const struct ft_node_block_row *row);
struct ft_error *ft_node_writer_slab(struct ft_node_writer *writer,
				     const struct ft_node_slab_row *row);
struct ft_error *ft_node_writer_index(struct ft_node_writer *writer,
				      const struct ft_node_index_row *row);
struct ft_error *ft_node_writer_pages(struct ft_node_writer *writer,
				      const struct ft_node_pages_row *row);
/* At most FT_NODE_CHUNK_EVENTS events of one cpu in the order of their times: one row. */
struct ft_error *ft_node_writer_events(struct ft_node_writer *writer,
				       const struct ft_node_event *events, size_t n);
struct ft_error *ft_node_writer_action(struct ft_node_writer *writer,
				       const struct ft_node_action_row *row);
struct ft_error *ft_node_writer_sample(struct ft_node_writer *writer,
				       const struct ft_sample_row *row);
struct ft_error *ft_node_writer_loss(struct ft_node_writer *writer, const struct ft_loss_row *row);

/* Make everything so far durable. */
struct ft_error *ft_node_writer_commit(struct ft_node_writer *writer);
/* Last commit, one plain file, closed; the writer is gone whatever is returned. */
struct ft_error *ft_node_writer_finish(struct ft_node_writer *writer);

/* ---- reader: one that was opened with FT_READER_NODE ------------------------------------------
 */

/* Rows in order of time or id; the callback's error ends the visit and is returned. What a row
 * points to is valid until the callback returns. */
#define FT_NODE_VISIT(name, row)                \
	struct ft_error *ft_reader_node_##name( \
		struct ft_reader *reader,       \
		struct ft_error *(*visit)(void *ctx, const struct row *row_), void *ctx)
FT_NODE_VISIT(sources, ft_node_source_row);
FT_NODE_VISIT(zones, ft_node_zone_row);
FT_NODE_VISIT(free, ft_node_free_row);
FT_NODE_VISIT(blocks, ft_node_block_row);
FT_NODE_VISIT(slabs, ft_node_slab_row);
FT_NODE_VISIT(indices, ft_node_index_row);
FT_NODE_VISIT(actions, ft_node_action_row);
/* `snapshot` 0: all. Damage is FT_ERROR_INPUT. */
struct ft_error *ft_reader_node_pages(
	struct ft_reader *reader, uint32_t snapshot,
	struct ft_error *(*visit)(void *ctx, const struct ft_node_pages_row *row), void *ctx);
/* All events of all cpus, merged by time. */
FT_NODE_VISIT(events, ft_node_event);

#ifdef __cplusplus
}
#endif
#endif

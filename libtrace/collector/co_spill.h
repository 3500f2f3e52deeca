/* SPDX-License-Identifier: MIT */
/*
 * Between drain and write: a bounded spill
 *
 * The drain thread fills blocks, the write thread empties them in order. A disk that stands still
 * for a moment is taken up here instead of reaching the traced program; when CO_SPILL_BYTES are in
 * use the drain thread waits, the rings fill, and the program's own policy decides. Samplers put
 * their rows in too, in blocks of their own.
 *
 * Blocks are recycled; what is kept for reuse beyond a few is given back.
 */
#ifndef CO_SPILL_H
#define CO_SPILL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/store.h"

struct co_request;
struct co_session;

#define CO_SPILL_BYTES (UINT64_C(64) << 20)

enum {
	CO_BLOCK_EVENTS = 1024,
	CO_BLOCK_NODES = 1024,
	CO_BLOCKS_KEPT = 16,
	CO_BLOCKS_WAKE = 4,
	CO_CROWDED_PART = 8
};

enum co_op_kind {
	CO_OP_OPEN, /* create the file; process row */
	CO_OP_META,
	CO_OP_META_INT,
	CO_OP_THREAD,
	CO_OP_MODULE,
	CO_OP_TIMELINE,
	CO_OP_SITES, /* array of ft_site_total_row in `data` */
	CO_OP_SAMPLE,
	CO_OP_MAPPING,
	CO_OP_RESIDENCY, /* its runs are in `data` */
	CO_OP_MARK,
	CO_OP_ERROR,
	CO_OP_POOL,
	CO_OP_GOVERNOR,
	CO_OP_MAP_CALL,
	CO_OP_MAP_SITE,
	CO_OP_LOSS,
	CO_OP_CLOCK,
	CO_OP_COMMIT, /* commit now, then set the segment's `committed` */
	CO_OP_FLUSH,  /* commit now, then hand `request` back */
	CO_OP_ROTATE, /* what comes after it is the next recording's; then hand `request` back */
	CO_OP_END,    /* process row with its end; finish the file */
};

/* A row for the write thread. Strings of the row point into `data`. */
struct co_op {
	struct co_op *next;
	enum co_op_kind kind;
	union {
		struct ft_thread_row thread;
		struct ft_module_row module;
		struct ft_timeline_row timeline;
		struct ft_sample_row sample;
		struct ft_mapping_row mapping;
		struct ft_residency_row residency;
		struct ft_mark_row mark;
		struct ft_error_row error;
		struct ft_pool_row pool;
		struct ft_governor_row governor;
		struct ft_map_call_row map_call; /* texts are static */
		struct ft_map_site_row map_site;
		struct ft_loss_row loss;
		struct ft_clock_row clock;
		struct {
			const char *key, *text; /* META */
			int64_t value;		/* META_INT */
		} meta;
		struct {
			uint64_t end_ns;
			const char *exit_kind;
			int64_t exit_code;
		} end;
		size_t n_sites;
		struct co_request *request; /* FLUSH */
		struct {
			struct co_request *request;
			uint64_t at_ns;
		} rotate;
	};
	size_t n_bytes; /* of the whole op */
	char data[];
};

/* A new op with room for `data_bytes`; NULL when out of memory. */
struct co_op *co_op_create(enum co_op_kind kind, size_t data_bytes);

/* Ops for rows with strings, which they copy. NULL when out of memory. */
struct co_op *co_op_meta(const char *key, const char *text);
struct co_op *co_op_meta_int(const char *key, int64_t value);
struct co_op *co_op_thread(const struct ft_thread_row *row);
struct co_op *co_op_module(const struct ft_module_row *row);
struct co_op *co_op_mapping(const struct ft_mapping_row *row);
struct co_op *co_op_residency(const struct ft_residency_row *row);
struct co_op *co_op_mark(const struct ft_mark_row *row);
struct co_op *co_op_pool(const struct ft_pool_row *row);
struct co_op *co_op_error(const struct ft_error_row *row);
struct co_op *co_op_sample(uint64_t time_ns, const char *source, const char *key, int64_t value);

struct co_spill_block {
	struct co_spill_block *next;
	struct co_session *session; /* a reference, dropped by the write thread */
	uint32_t part; /* of the session's recordings, for rows that follow on earlier ones */
	uint32_t n_events, n_nodes;
	struct co_op *ops, **ops_tail; /* applied in order, between nodes and events */
	struct ft_stack_node nodes[CO_BLOCK_NODES];
	struct ft_event events[CO_BLOCK_EVENTS];
};

struct co_spill {
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	struct co_spill_block *first, **last; /* waiting for the write thread */
	struct co_spill_block *spare;	      /* for reuse */
	uint64_t n_bytes;		      /* of blocks in use and of ops in waiting ones */
	uint64_t peak_bytes;
	uint64_t n_written; /* blocks that the write thread has done: its progress */
	uint64_t n_waits;   /* times that the drain thread had to wait */
	uint32_t n_spare, n_waiting;
	bool closed;
};

void co_spill_init(struct co_spill *spill);
void co_spill_deinit(struct co_spill *spill);

/*
 * An empty block. Waits while the spill is full; `progress` is called, without the lock, whenever
 * the write thread got something done meanwhile. NULL when out of memory.
 */
struct co_spill_block *co_spill_get(struct co_spill *spill, void (*progress)(void *ctx), void *ctx);

/* The same without waiting: NULL when the spill is more than half full. For samplers. */
struct co_spill_block *co_spill_try_get(struct co_spill *spill);

static inline void co_block_add(struct co_spill_block *block, struct co_op *op)
{
	*block->ops_tail = op;
	block->ops_tail = &op->next;
}

/* Hand a block to the write thread. It is woken when the block has rows or when CO_BLOCKS_WAKE wait
 * for it: a block of events alone is not worth a change of threads. */
void co_spill_put(struct co_spill *spill, struct co_spill_block *block);

/* The next block, waiting at most `timeout_ms`; NULL on timeout, and when closed and empty. */
struct co_spill_block *co_spill_take(struct co_spill *spill, int timeout_ms);

/* Give a block back after its work is done; releases its ops. */
void co_spill_recycle(struct co_spill *spill, struct co_spill_block *block);

/* No more blocks will come: co_spill_take() stops waiting. */
void co_spill_close(struct co_spill *spill);
bool co_spill_is_done(struct co_spill *spill); /* closed and empty */

/* For the ledger. */
/* The drain thread may have to wait soon: what can be done later, should be. */
bool co_spill_is_crowded(struct co_spill *spill);
void co_spill_stats(struct co_spill *spill, uint64_t *peak_bytes, uint64_t *n_waits);

#endif

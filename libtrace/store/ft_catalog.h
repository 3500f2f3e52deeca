/* SPDX-License-Identifier: MIT */
/*
 * Catalog: chunks and stacks of a recording behind a SQLite connection
 *
 * Reader and virtual tables share it; the connection is the caller's (a reader's own, or the one
 * that loaded the extension). The directory is read once: events that a live writer appends later
 * are not seen. Single-threaded.
 *
 *   chunks are in order of id; first_seq + n_events of one == first_seq of the next
 *   times never decrease, neither in a chunk nor from one to the next
 */
#ifndef FT_CATALOG_H
#define FT_CATALOG_H

#include "fragtrace/store.h"
#include "ft_chunk.h"
#include "ft_sqlite.h"

/* Ids that arrays may be indexed by; beyond them a recording is damaged. */
enum { FT_MAX_THREAD = 1 << 26 };

struct ft_catalog {
	sqlite3 *db;	  /* borrowed */
	const char *path; /* borrowed; for messages */
	struct ft_chunk_info *chunks;
	size_t n_chunks;
	uint64_t n_events;  /* in all chunks */
	uint64_t n_decoded; /* chunks, so far: what a query cost */
	uint32_t max_stack, max_thread;

	struct ft_stack_node *stacks; /* by id; NULL until asked for */
	size_t n_stacks;

	sqlite3_stmt *chunk_stmt, *sets_stmt;
	struct ft_decoder *decoder;
};

/* Read the directory of events. deinit also after an error. */
struct ft_error *ft_catalog_init(struct ft_catalog *catalog, sqlite3 *db, const char *path);
void ft_catalog_deinit(struct ft_catalog *catalog);

/* Finalize what is prepared (it is prepared again when needed): a connection with an open statement
 * can't be closed. */
void ft_catalog_end_statements(struct ft_catalog *catalog);

/* See ft_reader_chunk(), ft_reader_stacks(). */
struct ft_error *ft_catalog_chunk(struct ft_catalog *catalog, size_t index, struct ft_event *events,
				  size_t *n);
struct ft_error *ft_catalog_stacks(struct ft_catalog *catalog);

/* The blocks that live before the first event, by birth, where older events are not there. */
struct ft_error *ft_catalog_carried(struct ft_catalog *catalog,
				    struct ft_error *(*visit)(void *ctx,
							      const struct ft_event *birth),
				    void *ctx);

/* Whether a chunk may have events of a thread or a stack; true when it can't be told. */
bool ft_catalog_may_have(struct ft_catalog *catalog, size_t index, const uint32_t *thread,
			 const uint32_t *stack);

/* Index of the first chunk that ends at or after a time, or a sequence number; n_chunks if none. */
size_t ft_catalog_find_ns(const struct ft_catalog *catalog, uint64_t time_ns);
size_t ft_catalog_find_seq(const struct ft_catalog *catalog, uint64_t seq);

#endif

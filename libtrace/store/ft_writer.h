/* SPDX-License-Identifier: MIT */
/* The writer's inside, shared by its files: rows and chunks (writer.c), the index of a recording
 * that keeps everything (index.c), and going on in another recording (continue.c). */
#ifndef FT_WRITER_H
#define FT_WRITER_H

#include "fragtrace/store.h"
#include "ft_budget.h"
#include "ft_chunk.h"
#include "ft_db.h"
#include "ft_stackchunk.h"
#include "ft_strbuf.h"

enum statement {
	STMT_META,
	STMT_PROCESS,
	STMT_THREAD,
	STMT_MODULE,
	STMT_TIMELINE,
	STMT_SITE_TOTAL,
	STMT_SAMPLE,
	STMT_MAPPING,
	STMT_RESIDENCY,
	STMT_MARK,
	STMT_ERROR,
	STMT_POOL,
	STMT_GOVERNOR,
	STMT_MAP_CALL,
	STMT_MAP_SITE,
	STMT_LOSS,
	STMT_CLOCK,
	STMT_CHILD,
	STMT_EVENT_CHUNK,
	STMT_STACK_CHUNK,
	STMT_N
};

struct ft_writer {
	char *path;
	sqlite3 *db;
	sqlite3_stmt *stmts[STMT_N];
	int lock_fd;
	bool in_transaction;
	bool begun; /* the state is no longer "creating" */

	struct ft_event *events; /* FT_CHUNK_EVENTS */
	size_t n_events;
	size_t chunk_events; /* a chunk has no more */
	uint64_t tail_seq;   /* of events[0] */
	int64_t tail_id;     /* rowid of the chunk that `events` will be */
	size_t n_flushed;    /* how many of `events` the file has */
	uint64_t last_ns;    /* of the last event */
	struct ft_encoder *encoder;

	struct ft_stack_node *nodes; /* FT_STACK_CHUNK_NODES */
	size_t n_nodes;
	struct ft_stack_codec *stack_codec;

	struct ft_strbuf blob; /* the chunk being written */
	uint64_t event_bytes, tail_bytes;
	uint64_t rows_bytes; /* of totals of sites, about, since the last commit */

	struct ft_budget *budget; /* NULL: no keyframe is written (yet) */
	size_t n_followed;	  /* how many of `events` the budget has seen */
	uint64_t committed_bytes; /* event_bytes at the last commit */

	/* index.c: a budget without limits, of a recording that has become long */
	struct ft_limits index_limits;
	bool catching_up;	 /* the budget has not seen the chunks from `next_followed` on, */
	int64_t next_followed;	 /* nor `events` */
	uint64_t followed_bytes; /* of those that it has seen */
	bool busy;
};

#define RUN(writer, stmt, ...) \
	ft_db_run((writer)->db, (writer)->path, (writer)->stmts[stmt], __VA_ARGS__)

/* Begin a transaction unless there is one. */
struct ft_error *ft_writer_begin(struct ft_writer *writer);

/* Show the budget the events that it has not seen. */
void ft_writer_follow_events(struct ft_writer *writer);

/* Whether there is a budget that sees the events as they come. */
static inline bool ft_writer_is_followed(const struct ft_writer *writer)
{
	return writer->budget && !writer->catching_up;
}

/* index.c, when a chunk has been sealed: leave those that follow for later. */
void ft_writer_fall_behind(struct ft_writer *writer);
/* After a chunk has been written: begin an index if it is time, and read some of what was
 * written before back for it. */
struct ft_error *ft_writer_index(struct ft_writer *writer);

#endif

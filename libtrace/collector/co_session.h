/* SPDX-License-Identifier: MIT */
/*
 * A session: one process image, from its rings to the rows of its recording
 *
 * Who touches what:
 *	drain thread   everything under "drain", alone
 *	sampler        the thread and module lists and `rss`, under `lock`
 *	write thread   everything under "write", alone
 *	main thread    creates, ends (`end`), and learns of the end of writing
 * The last reference frees it.
 *
 * Memory, stated: 26-39 bytes a live block, 8 bytes a trie node touched, 72 bytes a site, one spill
 * block, and the records that wait for their turn: at most CO_QUEUED_MAX (or CO_QUEUE_MIN a ring,
 *if that is more) of 64 bytes, in arrays that are at most half empty, that is 32 MiB.
 */
#ifndef CO_SESSION_H
#define CO_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fragtrace/store.h"

#include "co_clock.h"
#include "co_errors.h"
#include "co_governor.h"
#include "co_late.h"
#include "co_live.h"
#include "co_mapped.h"
#include "co_pools.h"
#include "co_record.h"
#include "co_request.h"
#include "co_segment.h"
#include "co_spill.h"
#include "co_stacks.h"
#include "co_timeline.h"
#include "ft_ring.h"

enum {
	CO_BATCH = 2048,	/* records taken from a ring before the merge has a look */
	CO_QUEUED_MAX = 262144, /* records of all rings that wait for their turn, */
	CO_QUEUE_MIN = 64,	/* but so many of each */
	CO_MAX_MODULES = 65536,
	CO_RSS_SAMPLES = 16,
};

#define CO_SLACK_NS	  INT64_C(500000)      /* a store buffer's time, generously */
#define CO_FLOOR_LIMIT_NS INT64_C(200000000)   /* a floor held longer is passed over */
#define CO_FLUSH_NS	  INT64_C(100000000)   /* a partial block waits so long */
#define CO_SITES_NS	  INT64_C(30000000000) /* between upserts of the site totals */

struct co_thread {
	uint32_t serial;
	int32_t tid;
	uint64_t start_function, start_ns;
	char name[FT_WIRE_NAME + 1];
	bool live;
};

struct co_ring {
	struct ft_ring_consumer consumer;
	struct co_queue queue;
	bool open;
	bool broken_counted;
	uint32_t serial;	 /* owner at the decoding end */
	struct co_thread thread; /* owner at the committing end; under the session's lock */
	uint64_t newest;	 /* highest stamp read */
	uint64_t last_ns;	 /* time of the last event */
	uint64_t n_lost_told;	 /* events in LOSS records so far */
	uint64_t floor;		 /* as last seen, */
	int64_t floor_since;	 /* and since when */
	bool after_loss;
	uint32_t raw_stack; /* of the last STACK record committed, as co_stacks numbers it */
	struct co_last_free last_free;
	uint64_t released; /* room up to here has been told to the producer, */
	int64_t paged_ns;  /* and since then it has not gone past a page */
};

struct co_module {
	struct ft_module_row row; /* strings owned */
	uint32_t serial;	  /* the tracer's; 0: found without it */
	bool live;
};

/* What the sampler read last, for timeline rows; -1 where it was not read. */
struct co_rss {
	uint64_t time_ns;
	int64_t rss, pss, anon, swap, tracer;
};

struct co_counters {
	uint64_t n_events;	  /* written */
	uint64_t n_records;	  /* ALLOC, FREE, REALLOC records read from rings */
	uint64_t n_unknown_frees; /* of blocks that were not known to live */
	uint64_t n_inversions;	  /* records older than one already written */
	uint64_t n_implied_frees, n_swallowed_frees;
	uint64_t n_bad_records, n_broken_rings;
	uint64_t n_passed_over; /* times that a floor was held too long */
	uint64_t n_untracked;	/* blocks that the live table had no memory for */
	uint64_t n_lost;	/* events that producers dropped and told of */
	uint64_t n_paused;	/* events left out because a user wished so */
	uint64_t n_unrecorded;	/* frees of blocks that the program left out: the governor */
};

/* Figures of the whole life of the program, whatever recordings it has. */
struct co_sums {
	uint64_t n_allocs, n_frees, peak_bytes;
};

/* What the recordings before this one have told of, in the order of write_ledger(). */
enum { CO_LEDGER_MAX = 32 };

enum co_end_kind { CO_END_EXIT, CO_END_SIGNAL, CO_END_EXEC, CO_END_UNKNOWN, CO_END_DETACHED };

struct co_writer_state; /* co_write.c */

struct co_session {
	_Atomic uint32_t n_refs;
	uint64_t id;
	pid_t pid;
	char host_exe[4096]; /* /proc/PID/exe as seen from here */
	struct co_segment segment;
	double rate; /* nanoseconds a tick, as measured when the session began */
	struct co_spill *spill;

	int64_t floor_limit_ns, slack_ns; /* CO_FLOOR_LIMIT_NS, CO_SLACK_NS; tests have their own */

	/* drain */
	struct co_timebase timebase;
	struct co_ring *rings; /* segment.n_rings, touched where used */
	struct co_merge merge;
	struct co_live live;
	struct co_stacks stacks;
	struct co_late late;
	struct co_timeline timeline;
	struct co_errors errors;
	struct co_mapped mapped;
	struct co_pools pools;
	struct co_governor governor;
	struct co_counters counters;
	struct co_sums before;		       /* of recordings that are closed, and */
	uint64_t ledger_before[CO_LEDGER_MAX]; /* what their ledgers had */
	uint64_t begin_ns;		       /* of the recording at hand */
	uint64_t n_no_ring_told;
	struct co_spill_block *block; /* being filled, NULL between */
	int64_t block_since, sites_written, sites_interval;
	uint64_t committed_stamp; /* highest stamp of an event written */
	bool exit_seen;		  /* `exiting` was set when we looked; */
	uint64_t exit_stamp;	  /* all before this must be written, */
	bool exit_answered;	  /* and then is told */
	bool out_of_memory;
	bool finished;
	bool paused, was_paused; /* co_request.h; ever */
	bool left_out;		 /* by the governor, blocks have been */

	/* drain to sampler: recordings that were closed; the next one's rows come after them */
	_Atomic uint32_t part;

	/* main to drain, under `lock` */
	struct co_request *requests;
	_Atomic uint32_t n_requests;

	/* drain and sampler */
	pthread_mutex_t lock;
	uint32_t greatest_serial; /* of threads so far; the drain thread's */
	struct co_module *modules;
	uint32_t n_modules, modules_capacity;
	struct co_rss rss[CO_RSS_SAMPLES]; /* a ring of the latest */
	uint32_t n_rss;

	/* main to drain: set before `ended`, read after it */
	enum co_end_kind end_kind;
	int end_code;
	_Atomic uint32_t ended;

	/* write to all: no file can be written any more */
	_Atomic uint32_t failed;
	_Atomic uint64_t file_bytes;

	struct co_writer_state *writer; /* write */
};

/*
 * A session of an image whose segment has been mapped; takes the segment over in any case. `rate`
 * is nanoseconds a stamp tick as measured by the collector. Queues the opening of the file.
 */
struct ft_error *co_session_create(struct co_spill *spill, pid_t pid, struct co_segment *segment,
				   double rate, struct co_session **ret);
struct co_session *co_session_ref(struct co_session *session);
void co_session_unref(struct co_session *session); /* NULL is fine */

enum co_pass_result {
	CO_PASS_IDLE, /* nothing was there */
	CO_PASS_SOME, /* something was */
	CO_PASS_MORE, /* something was left: come back at once */
};

/*
 * Drain the rings once and hand on what is in order. When the image has ended and everything is
 * drained, writes the end and sets `finished`. `progress` is called while the spill is full.
 */
enum co_pass_result co_session_pass(struct co_session *session);

/* Tell what has happened to the image (from the main thread; the first call counts). */
void co_session_end(struct co_session *session, enum co_end_kind kind, int code);

/* Time since the start of the recording of a CLOCK_MONOTONIC reading. */
uint64_t co_session_time(const struct co_session *session, int64_t monotonic_ns);

/* ---- between the files of the collector ------------------------------------------------------ */

/* co_apply.c: the records in order. A co_visit_fn. */
void co_apply(void *ctx, struct co_queue *queue, const struct co_record *records, uint32_t n);
/* One record, whatever its type says. */
void co_apply_free(struct co_session *session, struct co_ring *ring,
		   const struct co_record *record);
void co_apply_realloc(struct co_session *session, struct co_ring *ring,
		      const struct co_record *record);
void co_apply_timeline(struct co_session *session, uint64_t time_ns, bool final);

/* The stack that a record names, as the file numbers it. */
uint32_t co_session_stack(struct co_session *session, const struct co_ring *ring,
			  const struct co_record *record);

/* co_end.c: the last rows of a recording. */
void co_end_write(struct co_session *session);
void co_end_write_sites(struct co_session *session);
/* The same of a recording after which another one begins, and that one's beginning. Takes the
 * request over. */
void co_end_rotate(struct co_session *session, struct co_request *request);

struct co_sums co_session_sums(const struct co_session *session);

/* A row that joins the clocks. */
void co_session_clock(struct co_session *session);

/* Queue a row (NULL, out of memory, is remembered). */
void co_session_op(struct co_session *session, struct co_op *op);
struct ft_event *co_session_event(struct co_session *session);
void co_session_node(void *ctx, const struct ft_stack_node *node);
void co_session_flush(struct co_session *session);

/* Write the thread row of a ring's owner. Lock held. */
void co_session_thread_row(struct co_session *session, const struct co_thread *thread,
			   uint64_t end_ns);

/* Add a module (strings copied); ids count from 1. Returns its row for the caller to queue, NULL
 * when there is no room for it. Any thread. */
struct co_op *co_session_add_module(struct co_session *session, const struct ft_module_row *row,
				    uint32_t serial);

#endif

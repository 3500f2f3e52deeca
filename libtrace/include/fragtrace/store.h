/* SPDX-License-Identifier: MIT */
/*
 * The recording: writer and reader
 *
 * The only door to the SQLite file. What the file contains, and what always holds in it, is in
 * FORMAT.md; this header is the programming side of the same contract. Times are nanoseconds since
 * the start of the recording on CLOCK_MONOTONIC, sizes are bytes.
 *
 * Text in rows is UTF-8 as far as the traced program's names are; readers treat it as hostile.
 * Neither a writer nor a reader may be used by two threads at the same time.
 */
#ifndef FRAGTRACE_STORE_H
#define FRAGTRACE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/error.h"
#include "fragtrace/event.h"
#include "fragtrace/rollup.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sqlite3;

enum { FT_FORMAT_VERSION = 1, FT_FORMAT_MIN_READ = 1, FT_CHUNK_EVENTS = 65536 };

#define FT_APPLICATION_ID 0x46524147 /* "FRAG" */
#define FT_TIME_NONE	  UINT64_MAX /* "not yet" or "not known" for a time: NULL in the file */

/* ---- rows: shared by writer and reader ------------------------------------------------------- */

/* Strings are borrowed: by the writer during the call, from the reader until its close. NULL is
 * NULL in the file. */

struct ft_process_row {
	int64_t pid, ppid;
	const char *exe;	      /* absolute path */
	const char *argv_json;	      /* JSON array of strings */
	const char *parent_recording; /* the file of the parent image, for a forked child */
	uint64_t fork_ns;	      /* the parent's time of the fork, or FT_TIME_NONE */
	int64_t start_realtime_ns;    /* CLOCK_REALTIME at time 0 */
	uint64_t end_ns;	      /* FT_TIME_NONE while it runs */
	const char *exit_kind;	      /* "exit", "signal", "exec", "unknown"; NULL while it runs */
	int64_t exit_code;	      /* status or signal number, -1 when unknown */
};

struct ft_thread_row {
	uint32_t id; /* serial, from 1; 1 is the thread that started the recording */
	int64_t tid;
	const char *name;	   /* as last read */
	uint64_t start_function;   /* pc of the start routine, 0 when unknown (main thread) */
	uint64_t start_ns, end_ns; /* end FT_TIME_NONE while it runs */
	uint32_t n_threads; /* read: threads of its kind that it stands for, itself included; else 0
			     */
};

struct ft_module_row {
	uint32_t id; /* from 1 */
	const char *path;
	const char *build_id;	     /* lower-case hex, NULL when the file has none */
	uint64_t bias;		     /* run-time address - ELF virtual address */
	uint64_t start, end;	     /* run-time range of the loaded segments, end exclusive */
	uint64_t load_ns, unload_ns; /* unload FT_TIME_NONE while loaded */
	uint32_t last_stack; /* the greatest stack id when it was unloaded; 0: loaded, or unknown */
};

/*
 * Of the modules that lay at a pc one after the other, a stack's frame there belongs to the first
 * one, in the order in which they were loaded, for which this is true; to the last one if it is for
 * none.
 */
static inline bool ft_module_had(uint64_t unload_ns, uint32_t last_stack, uint32_t stack)
{
	return unload_ns == FT_TIME_NONE || (last_stack && stack <= last_stack);
}

/* A node of the stack trie: the frame `pc` called from the stack `parent`. A stack id is the id of
 * its innermost frame's node. `pc` is the return address as found on the stack (look up pc - 1),
 * except for the frames of a signal handler's interrupted function. parent < id always; 0 is the
 * root. */
struct ft_stack_node {
	uint32_t id, parent;
	uint64_t pc;
};

/* One interval of the timeline. Values hold at `time_ns`, the end of the interval, except `peak_`.
 */
struct ft_timeline_row {
	uint64_t time_ns;
	uint64_t n_allocs, n_frees;	       /* so far; a realloc counts in both */
	uint64_t bytes_allocated, bytes_freed; /* so far, requested bytes */
	uint64_t live_blocks, live_bytes;
	uint64_t peak_bytes;		      /* highest live_bytes within this interval */
	uint64_t usable_bytes;		      /* live, as the allocator reserved them */
	int64_t rss, pss, anon, swap, tracer; /* bytes, -1 when not sampled at this time */
};

struct ft_site_total_row {
	uint32_t stack;
	uint64_t n_allocs, n_frees, bytes_allocated, bytes_freed;
	uint64_t live_blocks, live_bytes; /* at the end of the recording so far */
	uint64_t peak_bytes;		  /* this site's own highest live_bytes */
};

/* One reading of one figure, for samplers whose set of figures depends on the kernel. */
struct ft_sample_row {
	uint64_t time_ns;
	const char *source; /* "smaps_rollup", "statm", "cgroup", ... */
	const char *key;    /* "Rss", "memory.max", ... */
	int64_t value;	    /* bytes unless the key says otherwise */
};

/* A mapping of the program as /proc/PID/smaps showed it; only mappings that changed are written. */
struct ft_mapping_row {
	uint64_t time_ns; /* first sample that saw it like this */
	uint64_t start, end;
	const char *perms; /* "rw-p" */
	const char *path;  /* "[heap]", "/usr/lib/...", NULL for anonymous */
	const char *kind;  /* "heap", "arena", "mmap", "stack", "file", "tracer", "other" */
	int64_t rss, swap; /* bytes; -1 when unknown; a mapping that went away has end == start */
};

/* Pages of one state. Pages of a range that was looked at and that are in none of the other states
 * are FT_PAGES_ABSENT: never touched, given back, or the kernel's shared page of zeros. Values are
 * on disk. */
enum ft_page_state {
	FT_PAGES_ABSENT = 0,
	FT_PAGES_RESIDENT = 1,
	FT_PAGES_SWAPPED = 2,
	FT_PAGES_HUGE = 3, /* resident, as a part of a huge page */
	FT_PAGES_N
};
struct ft_page_run {
	uint64_t start, n_pages;
	uint8_t state;
};

/* Which pages of the writable anonymous mappings were resident. What no run covers was not looked
 * at. */
struct ft_residency_row {
	int64_t id; /* from the reader */
	uint64_t time_ns, took_ns;
	const char *method;  /* "pagemap_scan", "pagemap" */
	uint32_t page_bytes; /* of the machine */
	int64_t rss;	     /* of the process, read directly after it; -1: unknown */
	bool unchanged;	     /* the same runs as the row before, which are not stored again */
	const struct ft_page_run *runs; /* by address; the reader has none here */
	size_t n_runs;			/* at most FT_RESIDENCY_RUNS */
	uint64_t n_resident, n_swapped; /* pages; from the reader */
};
enum { FT_RESIDENCY_RUNS = 1 << 20 };

struct ft_mark_row {
	uint64_t time_ns;
	uint64_t seq;	  /* sequence number of the first event after the mark */
	const char *kind; /* "user", "clock", "fork", "dlopen", ... */
	const char *label;
	uint64_t n; /* read: marks of that label that it stands for, the latest of them; else 0 */
};

/* A call that the heap did not survive or should not have: see enum names in FORMAT.md. */
struct ft_error_row {
	uint64_t time_ns;
	const char *kind; /* double_free, interior_free, invalid_free, mismatched_free, bad_size,
			     suspect */
	uint64_t address;
	uint32_t thread;
	uint32_t stack, alloc_stack, free_stack; /* 0 when unknown */
	const char *call;			 /* "free", "realloc", ...; NULL: unknown */
	int64_t size, block_size; /* bad_size: what was given, what the block had; else -1 */
	const char *region;	  /* what lies at the address: see FORMAT.md; NULL: not looked at */
	const char *mapping;	  /* path or [name] of what it lies in; NULL: none */
	int64_t offset;		  /* into that; region "stack": the thread's serial; -1: unknown */
};

/* A pool of the program's own (fragtrace/mark.h), as it was at the end. */
struct ft_pool_row {
	uint32_t id; /* from 1 */
	uint64_t address;
	const char *name; /* NULL: the program gave none */
	uint64_t created_ns, destroyed_ns;
	uint32_t thread, stack; /* that created it; 0 when unknown */
	uint64_t n_allocs, n_frees, bytes_allocated;
	uint64_t live_objects, live_bytes, peak_bytes;
	uint64_t memory_bytes; /* of the blocks that were added to it, in all */
};

/* A step that was taken to keep what recording adds below meta.max_overhead_ppm, from `time_ns` on;
 * also what was in force at the beginning and at the end. */
struct ft_governor_row {
	uint64_t time_ns;
	uint32_t step;	       /* 0: everything is recorded */
	uint32_t depth;	       /* frames kept of a stack; 0: no limit of this */
	uint64_t sample_bytes; /* 0: every block is recorded; else one in so many bytes */
	uint64_t overhead_ppm; /* measured in the window before, of the program's own time */
	uint64_t n_left_out, bytes_left_out; /* blocks so far, since the start of the program */
};

/* A call that mapped, moved, unmapped or advised; lengths in whole pages. */
struct ft_map_call_row {
	uint64_t time_ns;
	uint64_t seq;			 /* of the first event after it */
	uint32_t thread, stack;		 /* 0 when unknown */
	const char *call;		 /* "mmap", "munmap", "mremap", "brk", "sbrk", "madvise" */
	uint64_t address, bytes;	 /* what is mapped after it; 0, 0: nothing new */
	uint64_t old_address, old_bytes; /* what was before it; 0, 0: nothing */
	int64_t prot, flags;		 /* as given; of madvise the advice; -1: none */
};

/* What calls by one stack have mapped and not unmapped. */
struct ft_map_site_row {
	uint32_t stack;	     /* 0 when unknown */
	const char *call;    /* as in ft_map_call_row */
	int64_t prot, flags; /* of the latest call; advices are sites of their own */
	uint64_t n_calls;
	uint64_t bytes; /* in all: mapped (mremap: in addition), or unmapped, or advised */
	uint64_t live_bytes, live_ranges, peak_bytes; /* of what they mapped */
};

struct ft_loss_row {
	uint64_t first_ns, last_ns; /* events between the two are missing */
	uint32_t thread;	    /* 0: not known */
	uint64_t n_events;	    /* how many; 0 when not known */
	const char *reason;	    /* see FORMAT.md: "ring_full", "no_ring", ... */
};

struct ft_clock_row {
	uint64_t time_ns; /* recording time: CLOCK_MONOTONIC since the start */
	uint64_t tsc;	  /* 0 when stamps are not TSC readings */
	int64_t boottime_ns, realtime_ns;
};

/* An image of few calls that comes of this one and has no recording of its own. */
struct ft_child_row {
	uint64_t start_ns, end_ns; /* in this recording's time; end may lie after the recording's */
	int64_t pid, ppid;
	const char *exe, *argv_json;
	const char *origin;    /* "fork", "exec" */
	const char *exit_kind; /* as in ft_process_row */
	int64_t exit_code;
	uint64_t n_allocs, n_frees, bytes_allocated, peak_bytes, n_lost;
};

/* A resolved frame of an address: depth 0 is the innermost inlined function. */
struct ft_symbol_row {
	uint32_t module; /* module id, or 0 when the pc is in none; offset is then the pc itself */
	uint64_t offset; /* pc - module bias */
	uint32_t depth;	 /* 0 innermost ... n-1 the function that is really there */
	const char *function; /* demangled; NULL when unknown */
	const char *file;     /* NULL when unknown */
	int64_t line;	      /* 0 when unknown */
};

/* ---- writer ------------------------------------------------------------------------------------
 */

struct ft_writer;

/*
 * Create a recording. Fails with os_errno EEXIST if `path` exists: nothing is ever overwritten.
 * Mode 0600. The state is "recording" until ft_writer_finish().
 */
struct ft_error *ft_writer_create(const char *path, struct ft_writer **ret);

/* Commit what is complete and close; the state stays "recording" (readers will say "cut off"). NULL
 * is fine. After a call that failed, what was committed before it stays, and nothing that lacks its
 * beginning is added. */
void ft_writer_close(struct ft_writer *writer);

/*
 * Append an event. seq is assigned here (the field is ignored) and returned; time_ns must not
 * decrease. Packs a chunk when FT_CHUNK_EVENTS are there.
 */
struct ft_error *ft_writer_event(struct ft_writer *writer, const struct ft_event *event,
				 uint64_t *seq);

/* The same for many. Those before one that is refused have been appended. */
struct ft_error *ft_writer_events(struct ft_writer *writer, const struct ft_event *events,
				  size_t n);

/* The stack node must be known before the first event that names it is committed; any order within
 * a commit. Writing a node twice is an error of the caller. */
struct ft_error *ft_writer_stack_node(struct ft_writer *writer, const struct ft_stack_node *node);

struct ft_error *ft_writer_meta(struct ft_writer *writer, const char *key, const char *value);
struct ft_error *ft_writer_meta_int(struct ft_writer *writer, const char *key, int64_t value);
struct ft_error *ft_writer_process(struct ft_writer *writer, const struct ft_process_row *row);
struct ft_error *ft_writer_thread(struct ft_writer *writer,
				  const struct ft_thread_row *row); /* upsert by id */
struct ft_error *ft_writer_module(struct ft_writer *writer,
				  const struct ft_module_row *row); /* upsert by id */
struct ft_error *ft_writer_timeline(struct ft_writer *writer, const struct ft_timeline_row *row);
struct ft_error *ft_writer_site_total(struct ft_writer *writer,
				      const struct ft_site_total_row *row); /* upsert */
struct ft_error *ft_writer_sample(struct ft_writer *writer, const struct ft_sample_row *row);
struct ft_error *ft_writer_mapping(struct ft_writer *writer, const struct ft_mapping_row *row);
struct ft_error *ft_writer_residency(struct ft_writer *writer, const struct ft_residency_row *row);
struct ft_error *ft_writer_mark(struct ft_writer *writer, const struct ft_mark_row *row);
struct ft_error *ft_writer_error(struct ft_writer *writer, const struct ft_error_row *row);
struct ft_error *ft_writer_pool(struct ft_writer *writer, const struct ft_pool_row *row);
struct ft_error *ft_writer_governor(struct ft_writer *writer, const struct ft_governor_row *row);
struct ft_error *ft_writer_map_call(struct ft_writer *writer, const struct ft_map_call_row *row);
struct ft_error *ft_writer_map_site(struct ft_writer *writer,
				    const struct ft_map_site_row *row); /* upsert */
struct ft_error *ft_writer_loss(struct ft_writer *writer, const struct ft_loss_row *row);
struct ft_error *ft_writer_clock(struct ft_writer *writer, const struct ft_clock_row *row);
struct ft_error *ft_writer_child(struct ft_writer *writer, const struct ft_child_row *row);

/* How much a recording keeps. */
struct ft_limits {
	uint64_t max_bytes;  /* of the file and its log, exceeded by a group of chunks at most */
	uint64_t max_age_ns; /* of events in full detail */
	uint64_t keyframe_events; /* between two keyframes, or 4 x the live blocks; 0: 2^20,
				   * where nothing is deleted 2^22 */
	uint64_t sample_bytes;	  /* the rate of a sampled recording: meta.sample_bytes */
	/* Where nothing is deleted (no max_*): keyframes and roll-ups are written once there are so
	 * many events, those before included; 0: from the beginning if keyframe_events is not 0,
	 * else never. */
	uint64_t index_events;
};

/*
 * From now on write keyframes and roll-ups, and where there is a limit (max_bytes or max_age_ns is
 * not 0) delete the oldest events when it is exceeded. Before the first event; after that only the
 * limits can be changed. Costs a second table of live blocks in the writer: ft_follow.h.
 *
 * Without a limit they are an index: an analysis begins in the middle, or knows by them what was
 * before. It is to cost little: it takes about a third of the events' bytes at most, short
 * recordings have none, and it ends, as it is, when more than 2^22 blocks live.
 */
struct ft_error *ft_writer_set_limits(struct ft_writer *writer, const struct ft_limits *limits);

/* Whether somebody waits for the writer: the index then falls behind, and is caught up with later:
 * a little with what is written then, or a chunk with each call, as long as *behind. */
void ft_writer_set_busy(struct ft_writer *writer, bool busy);
struct ft_error *ft_writer_catch_up(struct ft_writer *writer, bool *behind);

/*
 * Who knows how blocks lie: the store asks, and keeps the answers (struct ft_page_rollup). Called
 * on the writer's thread. False: out of memory, and there are no answers any more.
 */
struct ft_page_blocks; /* live ones, by address */
struct ft_page_counter {
	void *ctx;
	void (*module)(void *ctx, const char *path); /* a module has been written */
	bool (*events)(void *ctx, const struct ft_event *events, size_t n);
	bool (*count)(void *ctx, struct ft_page_blocks *blocks, struct ft_page_rollup *ret);
};
/* The next one as the event of its birth; false: there is none. */
bool ft_page_blocks_next(struct ft_page_blocks *blocks, struct ft_event *birth);

/*
 * At the ends of intervals, and so seldom that counting takes about a fiftieth of a processor, take
 * what `counter` says of the live blocks; borrowed until the writer is gone. After
 * ft_writer_set_limits(), before the first event; not for a sampled recording, which has not all
 * blocks.
 */
struct ft_error *ft_writer_set_pages(struct ft_writer *writer,
				     const struct ft_page_counter *counter);

/*
 * Make everything so far durable. A pending chunk is written even if it is short when `flush_chunk`
 * is set, otherwise only full chunks are (their events, and all rows, are then in the file).
 */
struct ft_error *ft_writer_commit(struct ft_writer *writer, bool flush_chunk);

/*
 * Find out which blocks live, so that another recording can go on from here; call it until *ready.
 * Where keyframes are written it is known at once; else each call reads a chunk of up to 65536
 * events back, and they are written from then on, however many blocks live.
 */
struct ft_error *ft_writer_follow(struct ft_writer *writer, bool *ready);

/*
 * Let a recording that has nothing yet but limits like those of `from` (or none, like it) go on
 * where `from` ends now: its sequence numbers, its time, its live blocks as a keyframe, its stacks,
 * modules and threads. begin_ns: when; not before the last event. Commits `from`, which takes no
 * event any more; the caller commits `writer`. After an error there is nothing to go on from.
 */
struct ft_error *ft_writer_continue(struct ft_writer *writer, struct ft_writer *from,
				    uint64_t begin_ns);

/* The traced program has ended; what follows is the rest of its rings. Commits the state
 * "finishing": a reader then waits for ft_writer_finish(). */
struct ft_error *ft_writer_set_ending(struct ft_writer *writer);

/* Last commit: pending chunk, state "complete", WAL folded into one plain file, closed. The writer
 * is gone afterwards whatever is returned. */
struct ft_error *ft_writer_finish(struct ft_writer *writer);

/* Close and remove the file: it was not worth one. */
void ft_writer_discard(struct ft_writer *writer);

/* Bytes handed to SQLite so far for event chunks and for stack chunks; for the ledger. */
uint64_t ft_writer_event_bytes(const struct ft_writer *writer);

/* ---- adding symbols to a closed recording ------------------------------------------------------
 */

/* Open a finished (or cut-off) recording to add symbols; fails with FT_ERROR_BUSY while its writer
 * lives. Call ft_symbol_writer_commit() at the end. `site` texts are made by the commit. */
struct ft_symbol_writer;
struct ft_error *ft_symbol_writer_open(const char *path, struct ft_symbol_writer **ret);
struct ft_error *ft_symbol_writer_add(struct ft_symbol_writer *writer,
				      const struct ft_symbol_row *row);
struct ft_error *ft_symbol_writer_commit(struct ft_symbol_writer *writer);
void ft_symbol_writer_close(struct ft_symbol_writer *writer); /* rolls back unless committed */

/* ---- reader ------------------------------------------------------------------------------------
 */

struct ft_reader;

enum ft_reader_flags {
	FT_READER_NO_WAIT = 1 << 0,  /* do not wait for a writer that is finishing */
	FT_READER_NODE = 1 << 1,     /* a machine's recording is wanted (fragtrace/node.h) */
	FT_READER_ANY_KIND = 1 << 2, /* either kind will do: for SQL */
	FT_READER_ROWS = 1 << 3, /* no events are read: a recording with a budget is not copied */
};

enum ft_recording_state {
	FT_STATE_COMPLETE,  /* the writer finished */
	FT_STATE_RECORDING, /* its writer is alive: a consistent prefix is read */
	FT_STATE_CUT_OFF,   /* the writer died before it finished */
};

/*
 * Open a recording. Validates application_id, version, schema. A recording whose program has ended
 * but whose writer is still finishing is waited for, at most 10 s, unless FT_READER_NO_WAIT. A live
 * one is fixed at its last committed chunk.
 *
 * Errors: FT_ERROR_OS (can't open), FT_ERROR_INPUT (not a recording, damaged), FT_ERROR_NEWER.
 */
struct ft_error *ft_reader_open(const char *path, unsigned flags, struct ft_reader **ret);
void ft_reader_close(struct ft_reader *reader); /* NULL is fine */

const char *ft_reader_path(const struct ft_reader *reader);
enum ft_recording_state ft_reader_state(const struct ft_reader *reader);
/* It is being written and kept within a budget: a large one may lose its oldest events while it is
 * read, which is FT_ERROR_BUSY where it is met, or FT_ERROR_INPUT where a part of a keyframe or a
 * roll-up is missing. Open it again then. */
bool ft_reader_may_fold(const struct ft_reader *reader);
/* A machine's recording: it has no events of a program. */
bool ft_reader_is_node(const struct ft_reader *reader);

/* Value of a meta key, or NULL; borrowed until close. meta_int gives `fallback` when absent. */
const char *ft_reader_meta(struct ft_reader *reader, const char *key);
int64_t ft_reader_meta_int(struct ft_reader *reader, const char *key, int64_t fallback);

struct ft_error *ft_reader_process(struct ft_reader *reader, struct ft_process_row *ret);

/* Visit rows in order of time or id. The callback's error ends the visit and is returned. Strings
 * in a row are valid until the callback returns. */
struct ft_error *ft_reader_threads(struct ft_reader *reader,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_thread_row *row),
				   void *ctx);
struct ft_error *ft_reader_modules(struct ft_reader *reader,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_module_row *row),
				   void *ctx);
struct ft_error *ft_reader_timeline(struct ft_reader *reader,
				    struct ft_error *(*visit)(void *ctx,
							      const struct ft_timeline_row *row),
				    void *ctx);
/* The last `max` of them; not dearer the longer the recording is. */
struct ft_error *ft_reader_timeline_tail(
	struct ft_reader *reader, uint32_t max,
	struct ft_error *(*visit)(void *ctx, const struct ft_timeline_row *row), void *ctx);
struct ft_error *ft_reader_site_totals(
	struct ft_reader *reader,
	struct ft_error *(*visit)(void *ctx, const struct ft_site_total_row *row), void *ctx);
struct ft_error *ft_reader_samples(struct ft_reader *reader,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_sample_row *row),
				   void *ctx);
struct ft_error *ft_reader_mappings(struct ft_reader *reader,
				    struct ft_error *(*visit)(void *ctx,
							      const struct ft_mapping_row *row),
				    void *ctx);
/* Samples of residency without their runs; none in a recording that has no such table. */
struct ft_error *ft_reader_residency(struct ft_reader *reader,
				     struct ft_error *(*visit)(void *ctx,
							       const struct ft_residency_row *row),
				     void *ctx);
/* The runs of the sample `id` (also when they are those of an earlier one): a new array, free() it.
 * None when there is no such sample. */
struct ft_error *ft_reader_residency_runs(struct ft_reader *reader, int64_t id,
					  struct ft_page_run **ret, size_t *n);
struct ft_error *ft_reader_marks(struct ft_reader *reader,
				 struct ft_error *(*visit)(void *ctx,
							   const struct ft_mark_row *row),
				 void *ctx);
struct ft_error *ft_reader_errors(struct ft_reader *reader,
				  struct ft_error *(*visit)(void *ctx,
							    const struct ft_error_row *row),
				  void *ctx);
/* None in a recording that has no such table. */
struct ft_error *ft_reader_pools(struct ft_reader *reader,
				 struct ft_error *(*visit)(void *ctx,
							   const struct ft_pool_row *row),
				 void *ctx);
/* None in a recording that has no such table. */
struct ft_error *ft_reader_governor(struct ft_reader *reader,
				    struct ft_error *(*visit)(void *ctx,
							      const struct ft_governor_row *row),
				    void *ctx);
/* Most live bytes first, then by peak. None in a recording that has no such table. */
struct ft_error *ft_reader_map_sites(struct ft_reader *reader,
				     struct ft_error *(*visit)(void *ctx,
							       const struct ft_map_site_row *row),
				     void *ctx);
struct ft_error *ft_reader_losses(struct ft_reader *reader,
				  struct ft_error *(*visit)(void *ctx,
							    const struct ft_loss_row *row),
				  void *ctx);
struct ft_error *ft_reader_clocks(struct ft_reader *reader,
				  struct ft_error *(*visit)(void *ctx,
							    const struct ft_clock_row *row),
				  void *ctx);
struct ft_error *ft_reader_children(struct ft_reader *reader,
				    struct ft_error *(*visit)(void *ctx,
							      const struct ft_child_row *row),
				    void *ctx);
struct ft_error *ft_reader_symbols(struct ft_reader *reader,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_symbol_row *row),
				   void *ctx);

/* All stack nodes, dense: *ret is indexed by id, entry 0 is the root, ids without a node have pc 0
 * and parent 0. Borrowed until close; loaded on first use. */
struct ft_error *ft_reader_stacks(struct ft_reader *reader, const struct ft_stack_node **ret,
				  size_t *n);

/* Event chunks. The directory is loaded at open. */
struct ft_chunk_info {
	int64_t id; /* rowid */
	uint64_t first_seq, first_ns, last_ns;
	uint64_t min_address, max_address;
	uint32_t n_events;
	uint32_t n_bytes; /* packed */
};
size_t ft_reader_n_chunks(const struct ft_reader *reader);
const struct ft_chunk_info *ft_reader_chunk_info(const struct ft_reader *reader, size_t index);
uint64_t ft_reader_n_events(const struct ft_reader *reader);
/* Greatest thread id that any event may have (bounded: arrays may be indexed by it). The greatest
 * stack id is the `n` of ft_reader_stacks() - 1. */
uint32_t ft_reader_max_thread(const struct ft_reader *reader);

/* Decode one chunk into `events`, which has room for FT_CHUNK_EVENTS; *n gets their number. A chunk
 * decodes alone. Damage is FT_ERROR_INPUT that names the chunk. */
struct ft_error *ft_reader_chunk(struct ft_reader *reader, size_t index, struct ft_event *events,
				 size_t *n);

/* Keyframes, oldest first; loaded on first use, borrowed until close. Each is complete: all its
 * parts are there. */
struct ft_keyframe_info {
	uint64_t seq;	  /* the blocks that live before this event, */
	uint64_t time_ns; /* the time of the one before it */
	uint32_t n_parts;
	uint64_t n_blocks, bytes;
};
struct ft_error *ft_reader_keyframes(struct ft_reader *reader, const struct ft_keyframe_info **ret,
				     size_t *n);
/* A part of a keyframe: births, by seq, into `events` with room for FT_CHUNK_EVENTS. */
struct ft_error *ft_reader_keyframe_part(struct ft_reader *reader,
					 const struct ft_keyframe_info *keyframe, uint32_t part,
					 struct ft_event *events, size_t *n);
/* Roll-ups of the events before `until_seq`, in order: the seq of a keyframe, or that of the first
 * chunk. What `visit` gets is gone when it returns. Not called where there are no roll-ups. */
struct ft_error *ft_reader_rollups(struct ft_reader *reader, uint64_t until_seq,
				   struct ft_error *(*visit)(void *ctx,
							     const struct ft_rollup *rollup),
				   void *ctx);
/* Pages of the heap, in order of time, whether or not their events are still there. */
struct ft_error *ft_reader_page_rollups(
	struct ft_reader *reader,
	struct ft_error *(*visit)(void *ctx, const struct ft_page_rollup *rollup), void *ctx);
/* Where the events that are there begin: 0, or the seq of a keyframe. */
uint64_t ft_reader_first_seq(const struct ft_reader *reader);
/* Where the recording itself begins: 0 and 0, or where it goes on from another one. */
uint64_t ft_reader_begin_seq(const struct ft_reader *reader);
uint64_t ft_reader_begin_ns(const struct ft_reader *reader);

/* ---- SQL ---------------------------------------------------------------------------------------
 */

/*
 * The read-only connection behind a reader with the virtual tables `event`, `allocation`, `frame`
 * and `stack` registered on it. Borrowed until close; only for code that links SQLite itself
 * (fraganalyze query).
 */
struct sqlite3 *ft_reader_sql(struct ft_reader *reader);

#ifdef __cplusplus
}
#endif
#endif

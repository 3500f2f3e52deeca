/* SPDX-License-Identifier: MIT */
/*
 * Engine: replays a recording and runs passes over it
 *
 *	reader -> chunks -> resolve against the live heap -> steps and ticks -> passes -> document
 *
 * The engine owns the live heap, the table of sites, the findings and the names of frames.
 * Single-threaded for its user; the same recording and options give the same document, byte for
 * byte.
 *
 * A window (from_ns..to_ns, both ends included) limits what passes see. What came before is
 *replayed without them, so that the heap is right: at `init` the live heap is as it was at from_ns,
 *and fa_engine_next_live() visits the blocks that were live then. Totals count from there on.
 */
#ifndef FA_ENGINE_H
#define FA_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fa_pass.h"
#include "fa_suppress.h"
#include "fragtrace/store.h"

struct fa_options {
	uint64_t from_ns, to_ns; /* window; 0 and UINT64_MAX for all (a to_ns of 0 is all, too) */
	uint32_t n_ticks;	 /* 0: 1024 */
	uint32_t max_sites;	 /* rows of tables of sites; 0: 500 */
	/* Processors that the replay keeps busy; 0: all that are there. With 1 it stays in the
	 * thread that asked for it; the result is the same. */
	uint32_t n_threads;
	/* The end of the window is the moment that the user asks about: it is described as it is,
	 * even if the program was cleaning up by then (fa_engine_teardown() finds nothing). */
	bool at_end;
	/* Do not replay: the totals are those that the recorder counted, the peak's time is the end
	 * of the timeline's interval that has it. Only for passes without steps and ticks that ask
	 * for no sites (`summary`); not with a window, nor for a sampled recording. */
	bool tables_only;
	/* Replay from the first event that is there, whatever keyframes there are: slower, and the
	 * same. */
	bool no_keyframes;
	/* Where there are processors and passes can be joined (fa_pass_ops.join), the replay is cut
	 * at keyframes into parts of so many events or more; 0: as many as pay. The result is the
	 * same. */
	uint64_t part_events;
	/* Where a keyframe stands for so many events or more, and there are roll-ups of these,
	 * begin with those as if the events were gone (fa_engine_rolled()). Of the whole recording
	 * only; 0: never. */
	uint64_t rolled_events;
	/* Sites that passes leave out and count; borrowed until fa_engine_destroy(). May be NULL.
	 */
	const struct fa_suppressions *suppressions;
	const char *per_mark; /* label of the marks that count operations; NULL: see leaks.c */
	/* For the models of a buddy allocator and of compaction. */
	uint64_t min_block, arena_bytes; /* see fa_arena_options; 0: the defaults */
	const char *const *unmovable;	 /* sites: a part of a function's name, or a stack's id;
					  * borrowed */
	size_t n_unmovable;
	uint64_t limit_bytes; /* of resident memory, for the time that is left; 0: as recorded */
	unsigned
		generation; /* internal: how many forks lead from here to the recording asked for */
	/* Called now and then with the number of events done; returning false stops the run with
	 * FT_ERROR_STOPPED. May be NULL. */
	bool (*progress)(void *ctx, uint64_t done, uint64_t total);
	void *progress_ctx;
};

/* Where a recording ends, as a time: the end of the process, its last event or its last sample,
 * whichever is latest. */
struct ft_error *fa_recording_end(struct ft_reader *reader, uint64_t *ret);

/* `reader` is borrowed until fa_engine_destroy(). */
struct ft_error *fa_engine_create(struct ft_reader *reader, const struct fa_options *options,
				  struct fa_engine **ret);
void fa_engine_destroy(struct fa_engine *engine); /* NULL is fine */

/* Add passes before the run; the same one only once. */
struct ft_error *fa_engine_add(struct fa_engine *engine, const struct fa_pass_ops *ops);
/* All passes of the program, NULL-terminated; by name. */
extern const struct fa_pass_ops *const fa_all_passes[];
const struct fa_pass_ops *fa_pass_find(const char *name);

/* Why this recording can't answer the pass (fa_pass_ops.needs_all_blocks), or NULL. A pass that is
 * added nevertheless is not run; its section has the one key "unavailable", with the reason. */
const char *fa_engine_refuses(const struct fa_engine *engine, const struct fa_pass_ops *ops);

struct ft_error *fa_engine_run(struct fa_engine *engine);
/* Let each pass write its answer. */
struct ft_error *fa_engine_emit(struct fa_engine *engine, struct fa_doc *doc);

/* ---- for passes ---------------------------------------------------------------------------------
 */

struct ft_reader *fa_engine_reader(const struct fa_engine *engine);

/*
 * Recordings that were kept within a budget, or fa_options.rolled_events: what is older than
 * fa_engine_detail_ns() is there as roll-ups (fragtrace/rollup.h). Totals, sites and passes with
 * on_span cover the whole window, others the events from there on. A window that begins in the
 * rolled-up stretch begins with an interval.
 */
bool fa_engine_rolled(const struct fa_engine *engine);	      /* part of the window is rolled up */
uint64_t fa_engine_detail_ns(const struct fa_engine *engine); /* fa_engine_from_ns() if it is not */
uint64_t fa_engine_n_rollups(const struct fa_engine *engine);
/* From when on the recording has the window's events, and of how many roll-ups before that it has
 * none: fa_engine_from_ns() and 0 where none was deleted. */
uint64_t fa_engine_kept_ns(const struct fa_engine *engine, uint64_t *n_gone);
/* The replay, or a part of it, began with a keyframe. */
bool fa_engine_has_resumed(const struct fa_engine *engine);
/* What each thread had allocated and was live at the start of a rolled-up window, at `init`: the
 * heap is empty there. */
struct fa_thread_live {
	uint64_t blocks, bytes, variance;
};
void fa_engine_thread_live(const struct fa_engine *engine, uint32_t thread,
			   struct fa_thread_live *ret);

/* Totals of the live heap after the step at hand, and of the window so far. */
struct fa_totals {
	uint64_t live_blocks, live_bytes, live_usable;
	/* What the heap's blocks were asked for: live_bytes, but for objects of the program's own
	 * pools, in whose stead it has the blocks that they lie in. Not of a sampled recording. */
	uint64_t laid_bytes;
	uint64_t n_allocs, n_frees, bytes_allocated, bytes_freed; /* a realloc counts in both */
	uint64_t peak_bytes, peak_ns, peak_seq;
	uint64_t n_unknown_frees, n_overlaps, n_events;
	/* Of a sampled recording: for fa_engine_error(). */
	uint64_t live_variance, peak_variance, allocated_variance;
};
const struct fa_totals *fa_engine_totals(const struct fa_engine *engine);

/*
 * What a forked child had from its parent, whose recording is replayed up to the fork for it. These
 * blocks are live before the first event, like those from before a window; allocations count
 * without them. Their stacks are the parent's, their thread is 0, their time of birth is 0.
 */
struct fa_inheritance {
	bool forked;
	bool seeded;		    /* the parent's recording was there */
	const char *unknown;	    /* why inherited blocks are missing, a clause; NULL: none is */
	uint64_t n_blocks, n_bytes; /* once the replay has begun */
	uint64_t n_frees;	    /* of these blocks, so far */
};
const struct fa_inheritance *fa_engine_inheritance(const struct fa_engine *engine);

uint32_t fa_engine_max_sites(const struct fa_engine *engine);
const struct fa_options *fa_engine_options(const struct fa_engine *engine);
uint64_t fa_engine_from_ns(const struct fa_engine *engine); /* real bounds of the window: */
uint64_t fa_engine_to_ns(const struct fa_engine *engine);   /* clipped to the recording */
/* When the first event comes that this engine replays: fa_engine_from_ns(), but in a later part of
 * a replay (fa_pass_ops.join). */
uint64_t fa_engine_part_ns(const struct fa_engine *engine);
uint32_t fa_engine_n_ticks(const struct fa_engine *engine);
uint64_t fa_engine_tick_ns(const struct fa_engine *engine, uint32_t tick); /* when `tick` is */

/*
 * Where the program began to tear itself down: from the event `*seq` at `*time_ns` to the end of
 * the window it did next to nothing but free. What is judged for growth is judged before. False
 * when there is no such stretch. See fa_pass_ops.on_teardown.
 */
bool fa_engine_teardown(const struct fa_engine *engine, uint64_t *seq, uint64_t *time_ns);

/* What a stack did within the window. Exact. */
struct fa_site {
	uint64_t allocations, frees, bytes_allocated; /* a realloc counts in both */
	uint64_t live_blocks, live_bytes;	      /* now */
	uint64_t peak_blocks, peak_bytes; /* when the whole heap was at its peak (the last moment so
					   * far at which fa_totals.peak_bytes was reached) */
	/* Blocks that their own thread freed before it allocated anything else (a realloc is an
	 * allocation): they did not need the heap. */
	uint64_t temporary, temporary_bytes; /* 0 in a sampled recording: unknown */
	/* Of a sampled recording: for fa_engine_error(); and how many blocks were sampled. */
	uint64_t live_variance, peak_variance, allocated_variance;
	uint64_t samples;
};
void fa_engine_site(const struct fa_engine *engine, uint32_t stack, struct fa_site *ret);

/* Stacks by a figure: largest first, equal ones by their ids. */
struct fa_ranked {
	uint32_t stack;
	uint64_t value;
};
void fa_rank(struct fa_ranked *list, size_t n);
/* Rank, and put the first `max` stacks at most into *ret, which the caller frees. */
struct ft_error *fa_rank_stacks(struct fa_ranked *list, size_t n, size_t max, uint32_t **ret,
				size_t *n_ret);

/*
 * Sampled recordings. Where the rate is not 0, every sum over blocks is an estimate: totals, sites,
 * and what a pass adds up of fa_block.bytes and .blocks. The variances of blocks add up, too, and
 * mean a standard error in bytes: fa_engine_error() of their sum.
 */
uint64_t fa_engine_sample_bytes(const struct fa_engine *engine); /* the rate; 0: not sampled */
uint64_t fa_engine_variance(const struct fa_engine *engine, const struct fa_block *block);
double fa_engine_error(const struct fa_engine *engine, uint64_t variance);
/* Usable bytes, of a sample those that the block stands for. */
uint64_t fa_engine_usable(const struct fa_engine *engine, const struct fa_block *block);

struct fa_json;
/* Write "estimated" and "sample_bytes": each section with such sums begins with them. */
void fa_engine_emit_estimated(const struct fa_engine *engine, struct fa_json *json);
/* Write the standard error of `bytes` as `key` and its ratio to `bytes` as `relative_key` (NULL:
 * not at all); in a recording that is not sampled, neither. */
void fa_engine_emit_error(const struct fa_engine *engine, const char *key, const char *relative_key,
			  uint64_t bytes, uint64_t variance, struct fa_json *json);

/* Blocks that fa_engine_next_live() visits: of a sample, those that are in it. */
size_t fa_engine_n_live(const struct fa_engine *engine);

/*
 * A sentence that the summary repeats, with its evidence. Passes add theirs in `finish`; the engine
 * keeps them by severity, then by weight (bytes, as a rule), and at most 64 of them.
 */
enum fa_severity { FA_OK, FA_INFO, FA_LOW, FA_MEDIUM, FA_HIGH };
const char *fa_severity_name(enum fa_severity severity); /* "ok", "info", "low", ... */

/* A value that the sentence of a finding is about; FORMAT.md lists those of each code. */
struct fa_param {
	const char *name; /* static */
	enum fa_param_kind { FA_PARAM_TEXT, FA_PARAM_U64, FA_PARAM_F64 } kind;
	union {
		const char *text; /* copied when added; NULL: unknown */
		uint64_t u64;
		double f64;
	};
};

struct fa_finding {
	const char *code; /* "growing", "never_freed", "double_free", ...: stable, static */
	enum fa_severity severity;
	const char *text;	       /* one English sentence; copied when added */
	const struct fa_param *params; /* for those who word it in another way; copied when added */
	size_t n_params;
	const char *section; /* of the document that holds the evidence; static */
	uint32_t site;	     /* stack id, or 0 */
	uint64_t weight;
};
struct ft_error *fa_engine_finding_add(struct fa_engine *engine, const struct fa_finding *finding);
const struct fa_finding *fa_engine_finding(const struct fa_engine *engine,
					   size_t index); /* worst first; NULL past the end */

/* Visit live blocks (order unspecified but repeatable); from finish: what is live at the end.
 * *cursor - 1 is then the number of the block (fa_step.born_number). */
bool fa_engine_next_live(const struct fa_engine *engine, size_t *cursor,
			 const struct fa_block **ret);
/* Those of them that the allocator made: what lies in the heap. */
bool fa_engine_next_laid(const struct fa_engine *engine, size_t *cursor,
			 const struct fa_block **ret);

/* "glibc", "jemalloc", "tcmalloc", "mimalloc", or what the recording says. */
const char *fa_engine_allocator(const struct fa_engine *engine);

/* The bytes that the block takes from its heap, headers and rounding included: nothing of them can
 * hold another block. Multiples of 8; the same for the same block whenever asked. */
void fa_engine_extent(const struct fa_engine *engine, const struct fa_block *block, uint64_t *start,
		      uint64_t *end);

/* The same, with the heap that the block lies in. */
void fa_engine_place(const struct fa_engine *engine, const struct fa_block *block,
		     struct fa_place *ret);

/* Where the live blocks lie, after the step at hand; for passes with needs_layout. What changed
 * since it was asked for last is found out now: ask at moments, not at steps. Valid until the next
 * step. What is not const in it is residency, which the pass `frag` sets. */
struct fa_layout;
struct ft_error *fa_engine_layout(struct fa_engine *engine, struct fa_layout **ret);

/* One more than the largest stack and thread id: passes index arrays with them. */
size_t fa_engine_n_stacks(const struct fa_engine *engine);
size_t fa_engine_n_threads(const struct fa_engine *engine);

/* ---- names --------------------------------------------------------------------------------------
 */

/* A frame as people read it. Inlined functions are frames of their own. Strings are owned by the
 * engine; NULL where unknown, never invented. */
struct fa_frame {
	const char *function, *file, *module; /* module: path */
	int64_t line;			      /* 0 when unknown */
	uint64_t offset;		      /* pc - module bias; the pc itself without a module */
	bool inlined;
};

/* Expand a stack, innermost first, the tracer's own frames left out; at most `max` frames are
 * written. Returns how many there are in all. */
size_t fa_engine_frames(struct fa_engine *engine, uint32_t stack, struct fa_frame *frames,
			size_t max);

/* The same from the frame on that titles the site: what only passes a request on to malloc is left
 * out. All frames where nothing else is there. */
size_t fa_engine_user_frames(struct fa_engine *engine, uint32_t stack, struct fa_frame *frames,
			     size_t max);

/* Names that the recording does not have yet: they are known from here on, as if it had. What was
 * returned by the functions of this section before stays readable, and may be out of date. */
struct ft_error *fa_engine_add_symbols(struct fa_engine *engine, const struct ft_symbol_row *rows,
				       size_t n);

/* The name that titles a site: the innermost frame that is neither in the allocator family nor
 * libc, libstdc++ or an allocation wrapper the user would not recognise; "??" never:
 * module+0xoffset. Owned by the engine. */
const char *fa_engine_site_name(struct fa_engine *engine, uint32_t stack);

/* Whether a stack belongs to the start-up of libc, libstdc++ or the loader (stdio's buffers, thread
 * control blocks, the emergency pool of exceptions): alive at every exit, and nobody's leak. */
bool fa_engine_site_is_system(struct fa_engine *engine, uint32_t stack);

/* ---- suppressions -------------------------------------------------------------------------------
 */

/* Whether the user's suppressions cover leaks of this site, which then counts as left out with so
 * many blocks and bytes: to be asked once a site, from finish on. */
bool fa_engine_suppress(struct fa_engine *engine, uint32_t stack, uint64_t blocks, uint64_t bytes);
/* Whether they cover a bad free by this call. Not counted. */
bool fa_engine_suppress_free(struct fa_engine *engine, uint32_t stack, enum ft_api api);
/* Add a finding that says how much was left out, if suppressions were given. */
struct ft_error *fa_engine_find_suppressed(struct fa_engine *engine);
/* Write "suppressed": {sites, blocks, bytes, rules}, null without suppressions. */
void fa_engine_emit_suppressed(struct fa_engine *engine, struct fa_json *json);
/* Append a suppression for a site. */
struct ft_error *fa_engine_print_suppression(struct fa_engine *engine, uint32_t stack,
					     enum fa_suppress_format format, struct ft_strbuf *out);

/* How many frames of the recording have a name, of how many. */
void fa_engine_symbolised(struct fa_engine *engine, uint64_t *resolved, uint64_t *frames);

/* Write a stack as the array that FORMAT.md describes. */
void fa_engine_emit_stack(struct fa_engine *engine, uint32_t stack, struct fa_json *json);

struct fa_thread {
	uint32_t id;
	int64_t tid;
	const char *name, *start_function; /* NULL when unknown; start_function from `finish` on */
	uint64_t start_pc;
	uint64_t start_ns, end_ns; /* FT_TIME_NONE while it runs */
	uint32_t n_threads;	   /* 1, or more of its kind that have ended: it stands for all */
};
const struct fa_thread *fa_engine_thread(const struct fa_engine *engine, uint32_t id); /* or NULL */

#endif

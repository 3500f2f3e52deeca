/* SPDX-License-Identifier: MIT */
/* What the files of the engine share: see fa_engine.h for the promises. */
#ifndef ENGINE_IMPL_H
#define ENGINE_IMPL_H

#include "fa_batch.h"
#include "fa_engine.h"
#include "fa_heap.h"
#include "ft_arena.h"

enum {
	ENGINE_MAX_PASSES = 32,
	ENGINE_MAX_FINDINGS = 64,
	ENGINE_TICKS = 1024,
	ENGINE_MAX_SITES = 500
};

struct fa_pass {
	const struct fa_pass_ops *ops;
	struct fa_engine *engine;
	void *state; /* owned, ops->state_size bytes */
	bool initialized;
	uint64_t alarm_ns; /* UINT64_MAX: none */
};

/*
 * The account of one stack; one cache line.
 *
 * What was live at the heap's peak is kept without visiting all sites at each new peak: a peak only
 * raises the engine's epoch. A site that has not changed since (its epoch is older) was at the peak
 * as it is now; one that changes first puts away its values and takes the epoch.
 */
struct site_account {
	uint64_t live_bytes, allocations, bytes_allocated;
	uint64_t peak_bytes, epoch;
	uint64_t temporary, temporary_bytes;
	uint32_t live_blocks, peak_blocks;
};
_Static_assert(sizeof(struct site_account) == 64, "one cache line");

/* The same of a sampled recording's variances, by the same epochs. */
struct site_errors {
	uint64_t live, peak, allocated;
	uint64_t samples;
};

/* Steps that passes are told of together: a pass that has its state, its code and its branches at
 * hand does so many in the time of a few. Each event makes two at most. */
enum { ENGINE_GROUP = 64, ENGINE_STEPS = 2 * ENGINE_GROUP };

struct engine_steps {
	size_t n, n_births, n_deaths;
	struct fa_step all[ENGINE_STEPS];
	const struct fa_step *births[ENGINE_STEPS + 1], *deaths[ENGINE_STEPS + 1];
	struct {
		struct fa_block born, died;
		struct fa_place born_at, died_at;
	} copies[ENGINE_STEPS]; /* what the steps lead to */
};

struct fa_names;
struct fa_suppressed;

struct fa_engine {
	struct ft_reader *reader; /* borrowed */
	struct fa_options options;
	struct ft_reader *parent_reader; /* owned; NULL unless it is a forked child's */
	struct fa_engine *parent;	 /* likewise */
	struct fa_inheritance inheritance;

	struct fa_heap heap;
	const struct fa_resolution *resolution; /* of the chunk at hand; the feed's */
	size_t n_evicted;			/* of its list that were replayed */
	struct fa_totals totals;
	void *sites_memory;
	struct site_account *sites; /* n_stacks, aligned to a cache line within sites_memory */
	uint64_t sample_bytes;	    /* 0: not sampled */
	uint64_t left_out_ns; /* from then on blocks may be missing (--max-overhead), or UINT64_MAX
			       */
	struct site_errors *site_errors; /* n_stacks; NULL: not sampled */
	uint32_t *start_blocks; /* live at `from`, by stack; NULL when the window starts at 0 */
	uint64_t epoch;		/* number of the peak; sites start with 0, this with 1 */
	uint64_t *last_address; /* by thread: its latest allocation, 0 once freed */
	size_t n_own_stacks;	/* of the recording; the parent's follow */
	size_t n_stacks, n_threads;
	struct fa_thread *threads; /* by id; id 0 when there is none */

	/* resume.c: where the replay begins */
	const struct ft_keyframe_info *start; /* the reader's; NULL: with the first event */
	size_t first_chunk;
	bool rolled;	    /* there are roll-ups of the window's beginning */
	uint64_t detail_ns; /* the window's events begin here; from_ns unless `rolled` */
	uint64_t n_rollups;
	uint64_t kept_ns, n_gone;	    /* fa_engine_kept_ns() */
	struct fa_thread_live *thread_live; /* by id, as of the roll-ups; NULL: not rolled */
	bool window_begun;

	const char *allocator; /* the reader's or static */
	bool is_glibc;
	struct fa_layout *layout; /* owned; NULL: no pass needs it */
	struct fa_batch batch;	  /* of its changes */
	bool needs_places;	  /* a pass does */
	bool has_layout;	  /* kept up to date: from the begin of the window on */

	/* parts.c: what of the replay is this engine's. */
	bool is_later_part;  /* it begins with a keyframe, in the middle of the window, */
	uint64_t part_ns;    /* and its first event at this time */
	size_t end_chunk;    /* the first one that is not its; 0: as the window has it */
	uint64_t end_due_ns; /* then: what is due before this time is done */

	uint64_t from_ns, to_ns, end_ns; /* end_ns: of the recording */
	uint32_t n_ticks, next_tick;
	uint64_t next_tick_ns; /* UINT64_MAX: there is none */
	uint64_t due_ns;       /* before an event at this time there is more to do */
	bool has_teardown, teardown_seen;
	uint64_t teardown_seq, teardown_ns;

	struct fa_pass passes[ENGINE_MAX_PASSES];
	size_t n_passes;
	const struct fa_pass_ops *refused[ENGINE_MAX_PASSES]; /* added, but they can't be run */
	size_t n_refused;
	char refusal[256]; /* why; "": they can */
	/* Those with on_steps, in order: the inner loop walks nothing else. */
	struct fa_pass *steppers[ENGINE_MAX_PASSES];
	size_t n_steppers;
	struct engine_steps steps; /* that they are not told of yet */

	struct fa_finding findings[ENGINE_MAX_FINDINGS]; /* sorted, worst first */
	size_t n_findings;

	struct fa_names *names;		  /* NULL until asked for */
	struct fa_suppressed *suppressed; /* likewise */
	struct ft_arena arena;		  /* texts of threads and findings */
};

/* replay.c */
struct ft_error *fa_engine_replay(struct fa_engine *engine);
void fa_engine_pass_tick(struct fa_engine *engine); /* the next one is not this engine's any more */
/* parts.c: the same, in parts where that can be. */
struct ft_error *fa_engine_replay_parts(struct fa_engine *engine);
struct site_account *fa_engine_touch_site(struct fa_engine *engine, uint32_t stack);
/* Ticks and alarms that come before an event at `time_ns`. */
struct ft_error *fa_engine_run_due(struct fa_engine *engine, uint64_t time_ns);
/* Which passes begin: those that take roll-ups or nothing but the end, those that need each event,
 * or both. */
enum engine_stretch { ENGINE_WHOLE = 1, ENGINE_DETAIL = 2, ENGINE_BOTH = 3 };
struct ft_error *fa_engine_begin_window(struct fa_engine *engine, enum engine_stretch stretch);
/* Put a block of a keyframe into the heap; `counted`: totals and accounts know it already. */
struct ft_error *fa_engine_revive(struct fa_engine *engine, const struct ft_event *birth,
				  bool counted);
/* resume.c: decide where to begin, in engine_init(); fill the heap from the keyframe; apply the
 * roll-ups and do so. */
struct ft_error *fa_engine_find_start(struct fa_engine *engine);
struct ft_error *fa_engine_find_rolled(struct fa_engine *engine); /* once the teardown is known */
/* The first chunk that begins at `seq` or later; fa_engine_find_start() has it for the replay. */
size_t fa_engine_chunk_of(const struct ft_reader *reader, uint64_t seq);
/* No events of it were deleted; and from when on it has them. */
bool fa_engine_is_whole(const struct ft_reader *reader);
uint64_t fa_engine_first_ns(const struct ft_reader *reader);
struct ft_error *fa_engine_resume(struct fa_engine *engine, bool counted);
struct ft_error *fa_engine_roll(struct fa_engine *engine);
/* sampled.c */
struct ft_error *fa_engine_find_rate(struct fa_engine *engine);
/* Fill `bytes` and `blocks` of a block of a sampled recording; its birth is known. */
void fa_engine_weigh(const struct fa_engine *engine, struct fa_block *block);
/* inherit.c: find the parent, in engine_init(); put its blocks into the empty heap */
struct ft_error *fa_engine_find_parent(struct fa_engine *engine);
struct ft_error *fa_engine_inherit(struct fa_engine *engine);
/* allocator.c */
struct ft_error *fa_engine_find_allocator(struct fa_engine *engine);
/* tables.c: fills `totals` */
struct ft_error *fa_engine_read_totals(struct fa_engine *engine);
/* teardown.c */
struct ft_error *fa_engine_find_teardown(struct fa_engine *engine);

/* names.c */
struct ft_error *fa_engine_load_names(struct fa_engine *engine); /* once; later calls do nothing */
void fa_names_destroy(struct fa_names *names);			 /* NULL is fine */

/* suppressed.c */
void fa_suppressed_destroy(struct fa_suppressed *suppressed); /* NULL is fine */

/* site_name.c: what a frame is to somebody who looks for the culprit */
enum frame_kind {
	FRAME_USER,
	FRAME_RUNTIME, /* libc, libstdc++, the loader, an allocator's library, or std:: code */
	FRAME_WRAPPER, /* xmalloc and its kin: code of the program that only allocates */
};
bool fa_module_is_tracer(const char *path);
bool fa_module_is_runtime(const char *path);
enum frame_kind fa_function_kind(const char *function);
/* Functions that allocate once for the process or thread and keep it. */
bool fa_function_is_startup(const char *function);

#endif

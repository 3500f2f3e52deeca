/* SPDX-License-Identifier: MIT */
/*
 * Passes: analyses over the replayed heap
 *
 * The engine replays the events in order and owns the live heap. A pass sees each event as a
 * resolved step (which block was born, which died) and a tick at regular moments; it keeps only
 * what its own answer needs. Adding an analysis is adding a file with one `const struct fa_pass_ops
 * fa_pass_NAME` and the word NAME to the list in analyzer/passes/meson.build.
 *
 *	init -> ((on_tick | on_alarm)* on_teardown? on_steps)* -> (on_tick | on_alarm)*
 *	     -> finish -> emit -> deinit
 *
 * All in one thread; before each event come the ticks and alarms that are due, in order of time,
 * and once the teardown. An
 * allocation that returned NULL is no step. Heap, totals and sites can be asked for at any
 * time, names of sites and frames from `finish` on. deinit is called once init was, also after an
 * error, and finds what was not set zeroed. An error stops the run; the caller owns it.
 *
 * The heap is not empty at `init` when the window begins later than the recording, or when a forked
 * child has blocks from its parent: a pass that counts what is live begins with fa_engine_site() or
 * fa_engine_next_live(), and sees blocks die that it has never seen born. Stack and thread ids are
 * smaller than fa_engine_n_stacks() and fa_engine_n_threads(); id 0 is "none".
 *
 * A replay may be cut into parts, each with engines and passes of its own in a thread of its own:
 * the heap is not empty at `init` there either, the first event is at fa_engine_part_ns(), and
 * `finish` is called for the last part alone, once the others have been joined to it.
 *
 * In a sampled recording a block stands for others: sums add up fa_block.bytes and .blocks, and the
 * section begins with fa_engine_emit_estimated(). What the user asked for (rows, limits, labels) is
 * in fa_engine_options(); a pass takes it from there and from nowhere else.
 *
 * Passes include this header, base/ and model/, and nothing of each other: a fact that two passes
 * need belongs to the engine.
 */
#ifndef FA_PASS_H
#define FA_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/event.h"
#include "ft_error.h"

struct fa_place;  /* fa_layout.h: the bytes that a block takes */
struct fa_doc;	  /* fa_doc.h: the analysis document being written */
struct fa_engine; /* fa_engine.h: queries about the recording (sites, threads, window) */
struct fa_pass;

/* A live block. Borrowed from the engine during a step. */
struct fa_block {
	uint64_t address;
	uint64_t size;	   /* requested */
	uint64_t usable;   /* >= size; equal to size when the recording does not know */
	uint64_t born_ns;  /* of the logical block: a realloc keeps it */
	uint64_t born_seq; /* likewise */
	/* What it adds to totals: `size` and 1. In a sampled recording (fa_engine_sample_bytes())
	 * all that it stands for: sums of these are estimates without bias. */
	uint64_t bytes;
	uint32_t blocks;
	uint32_t stack, thread; /* that made it (realloc: the last one) */
	uint8_t api, flags;
	uint16_t slot; /* the engine's */
};

/* Is it an object that a pool of the program's made in a block (fragtrace/mark.h)? It counts as a
 * block, and the block that it lies in as none: its `bytes` and `blocks` are 0. But for the layout
 * of the heap there is that block alone. */
static inline bool fa_block_is_object(const struct fa_block *block)
{
	return block->address & FT_ADDRESS_POOL;
}

/*
 * One event, resolved. A realloc has both `died` (the block as it was) and `born` (as it is now):
 * never a moment without it. What the pointers lead to is valid during the call: copies, as later
 * steps of the same call may have changed the heap since.
 */
struct fa_step {
	const struct ft_event *event;
	const struct fa_block *born; /* NULL unless a block came (alloc, realloc) */
	const struct fa_block *died; /* NULL unless a block went (free, realloc) */
	/* Where `born` lies and `died` lay; NULL without it, of an object of a pool, or unless a
	 * pass needs places. */
	const struct fa_place *born_at, *died_at;
	/* Of both: a number that no other block has while it lives, for what a pass keeps of each
	 * block. Numbers are used again, and below the most blocks that ever lived. */
	uint32_t born_number, died_number;
	/* Those of `born`, or of `died` where nothing was born: who takes these, and a sign, needs
	 * no branch on which it is. */
	const struct fa_block *block;
	const struct fa_place *block_at;
	uint32_t block_number;
	uint64_t live_bytes, n_allocs; /* fa_totals after the step */
	bool unknown_free; /* a free or realloc of an address that was not live; the last of its
			    * call: the heap is as it is after it */
	bool overlap;	   /* `born` took the place of a live block whose free was not seen;
			    * the engine reports that block as `died` in a step of its own first */
};

/* Some of them, in order. Those with a birth and those with a death apart, too: a pass to which
 * their order among each other is nothing asks of no step which of both it is, which a processor
 * can't foresee. */
struct fa_steps {
	const struct fa_step *all;
	const struct fa_step *const *births; /* those with `born` */
	const struct fa_step *const *deaths; /* those with `died` */
	size_t n, n_births, n_deaths;
};

/* An interval of which there are no events any more. Totals and sites are as they are at its end.
 */
struct ft_rollup;
struct fa_span {
	const struct ft_rollup *rollup; /* valid during the call */
	uint64_t time_ns;		/* its middle: what happened in it, happened then */
};

struct fa_pass_ops {
	const char *name;
	const char *summary; /* one line for --help */
	size_t state_size;   /* bytes of zeroed state that fa_pass_state() returns */
	/* Says where blocks lie, and is nonsense without all of them: not run on a sampled
	 * recording. Its section then says that it is not there, and why. */
	bool needs_all_blocks;
	/* Looks at where blocks lie in its steps. Implies needs_all_blocks. */
	bool needs_places;
	/* Asks fa_engine_layout(), which the engine keeps only for those who need it. Implies
	 * needs_places. */
	bool needs_layout;

	/* Before the first event of the window. May be NULL, as may all but emit. */
	struct ft_error *(*init)(struct fa_pass *pass);
	/*
	 * Every event, in order, some at a time: what one pass does is done for all of them before
	 * the next pass has its turn. Heap, totals and sites are then as they are after the last.
	 */
	struct ft_error *(*on_steps)(struct fa_pass *pass, const struct fa_steps *steps);
	/*
	 * In place of the steps of a rolled-up interval. A pass with on_steps and without on_span
	 * begins where events do (fa_engine_detail_ns()): its init is called there, with the heap
	 * as it was, and no tick before. One with both begins with the window, with an empty heap
	 * (fa_engine_thread_live()); on_detail tells it that the events follow and the heap is
	 * there.
	 */
	struct ft_error *(*on_span)(struct fa_pass *pass, const struct fa_span *span);
	struct ft_error *(*on_detail)(struct fa_pass *pass);
	/* At the ends of n_ticks equal stretches of the window (time), before the events that
	 * follow. May be NULL. `tick` counts from 0 to n_ticks - 1; the last one is the end of the
	 * window. */
	struct ft_error *(*on_tick)(struct fa_pass *pass, uint32_t tick, uint64_t time_ns);
	/* When time reaches what fa_pass_alarm() asked for, before the first event at that time or
	 * later, and before a tick at that time. */
	struct ft_error *(*on_alarm)(struct fa_pass *pass, uint64_t time_ns);
	/* Before the first event of the teardown (fa_engine_teardown()), when there is one: the
	 * live heap is as the program had it at work. */
	struct ft_error *(*on_teardown)(struct fa_pass *pass);
	/*
	 * `earlier` is the same pass as it was when the part right before this one's had ended:
	 * become what one pass would be that has seen both. May take what `earlier` owns. Both
	 * engines still have the totals and accounts of their own part. A pass that is called
	 * during the replay and has not this is replayed in one go, and all others with it.
	 */
	struct ft_error *(*join)(struct fa_pass *pass, struct fa_pass *earlier);
	/* After the last event: compute what emit will say. */
	struct ft_error *(*finish)(struct fa_pass *pass);
	/* Write the answer; computes nothing. */
	struct ft_error *(*emit)(const struct fa_pass *pass, struct fa_doc *doc);
	/* Release what the state owns. */
	void (*deinit)(struct fa_pass *pass);
};

/* Call on_alarm at this time, once; UINT64_MAX: never. It takes the place of the one before it.
 * Allowed wherever a pass is called, but in on_steps. */
void fa_pass_alarm(struct fa_pass *pass, uint64_t time_ns);

/* Both never change: a loop asks once. */
__attribute__((const)) void *fa_pass_state(const struct fa_pass *pass);
__attribute__((const)) struct fa_engine *fa_pass_engine(const struct fa_pass *pass);

/* NAME_on_steps of a pass that looks at one step after the other, with NAME_on_step. */
#define FA_ON_STEPS(name)                                                     \
	static struct ft_error *name##_on_steps(struct fa_pass *pass,         \
						const struct fa_steps *steps) \
	{                                                                     \
		for (size_t i = 0; i < steps->n; i++)                         \
			FT_TRY(name##_on_step(pass, &steps->all[i]));         \
		return NULL;                                                  \
	}                                                                     \
	_Static_assert(true, "a semicolon follows")

#endif

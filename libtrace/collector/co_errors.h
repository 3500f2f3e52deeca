/* SPDX-License-Identifier: MIT */
/*
 * Bad calls, as far as they can be told while the program runs
 *
 * The tracer says what a call looked like before the allocator saw it (tr_suspect.h), the live
 * table says whether its block lives. A block that lives was no invalid one, whatever it looked
 * like. The size that came with a call is compared here with the one that was asked for.
 *
 * Double frees, frees inside a block and by another family's call are left to the analyzer, which
 * sees them from the events; what the tracer says of these becomes a row of the kind `suspect` that
 * has the stack of the call.
 */
#ifndef CO_ERRORS_H
#define CO_ERRORS_H

#include <stdbool.h>
#include <stdint.h>

#include "co_live.h"
#include "co_record.h"
#include "ft_map.h"

struct co_ring;
struct co_session;

enum {
	CO_ERRORS_ALIKE = 64, /* rows of one place; what comes later is counted */
	CO_ERRORS_MAX = 4096, /* rows in all */
};

/*
 * When a bad free of a call comes without its stack, the tracer is asked for the stacks of all
 * frees by that call, for a while: mistakes come again. That costs time, so that it ends after so
 * many frees, and sooner when there are stacks enough.
 */
enum { CO_WATCH_FREES = 100000, CO_WATCH_ENOUGH = 64, CO_WATCH_TIMES = 4 };

struct co_watch {
	uint32_t n_left; /* frees to look at; 0: not watched */
	uint16_t n_stacks, n_times;
};

struct co_errors {
	struct co_watch watch[32]; /* by enum ft_api */
	uint32_t watched;	   /* as in the segment */
	struct ft_map alike;	   /* places: rows so far */
	uint64_t n_rows, n_left_out;
	uint64_t n_invalid, n_bad_sizes; /* all that there were */
};

/* The last free of a ring: an error record that comes next is about it. */
struct co_last_free {
	uint64_t address, stamp;
	bool was_live, has_row; /* a bad size, of which the row is not written yet */
	uint64_t time_ns, given, size;
	uint32_t thread, alloc_stack;
	uint8_t api;
};

void co_errors_init(struct co_errors *errors);
void co_errors_deinit(struct co_errors *errors);

/* A block dies by a call that is not in order, or by one that is watched. */
void co_errors_bad_free(struct co_session *session, struct co_ring *ring,
			const struct co_record *record, const struct co_block *block,
			uint64_t time_ns);

/* The tracer's own word. */
void co_errors_record(struct co_session *session, struct co_ring *ring,
		      const struct co_record *record, uint64_t time_ns, uint32_t stack);

/* Write what still waits for an error record: the ring has nothing more. */
void co_errors_settle(struct co_session *session, struct co_ring *ring);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Recording below a limit: the traced program's part (ft_governor.h)
 *
 * Without a limit nothing of this runs: `tr_choosy` is false, which each event looks at anyway.
 *
 * Measured is what recording an event takes, of about one event in 64, at random distances so that
 * no pattern of the program's falls in with them; the sum goes into the ring's header. A wait for
 * room in the ring, or another program's turn on the processor, counts 50 microseconds at most.
 *
 * Blocks that were left out are remembered by address in a table of the process, so that their
 * frees are left out, too, for the price of a look:
 *
 *	slot(address) == address  =>  the block that lives there was left out
 *
 * A birth that is recorded takes its address out, and a free that is seen does. Two addresses that
 * share a slot drive each other out: then a free of a block that nobody has recorded is recorded,
 * and the collector, which has all blocks that were, leaves it out. What a block's free finds
 * was written by its birth or later, as the program's own synchronisation has it: who frees a block
 * has been told of it, and who is given an address gets it after it was freed. So the free of a
 * recorded block is never left out.
 */
#ifndef TR_GOVERNOR_H
#define TR_GOVERNOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tr_thread.h"

enum {
	TR_LEFT_OUT_SLOTS = 1 << 17, /* 1 MiB, committed on touch */
	TR_TIMED_OF = 64,	     /* events, on the mean */
	TR_TIMED_MOST_NS = 50000
};

/* Sampling, or a limit: the event must not simply be recorded. */
extern bool tr_choosy;

/* A session begins. `limit`: in millionths, 0: there is none. `header` NULL: no session. */
void tr_governor_start(uint32_t limit, struct ft_segment_header *header);

extern bool tr_governed; /* there is a limit */

/* Is the block that was just allocated to be recorded? If so, nothing of it is remembered. */
bool tr_governor_takes(const void *block, size_t size);
/* Is the free of this block to be recorded? Forgets that it was left out. */
bool tr_governor_frees(const void *block);
/* Was it left out, for certain? Forgets nothing. */
bool tr_governor_left_out(const void *block);
/* A block is recorded whatever the step is. */
void tr_governor_recorded(const void *block);

/* Around the recording of an event, taken or left out. */
struct tr_timed {
	uint64_t since; /* 0: not measured */
};
struct tr_timed tr_timed_begin(void);
void tr_timed_end(struct tr_timed timed);

/* The limit of stacks now; the lane is entered. */
unsigned tr_governor_depth(struct tr_lane *lane);

size_t tr_governor_memory(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The self-check: is each stack what libunwind says it is? (x86-64, FRAGTRACE_SELF_CHECK=1)
 *
 * Counted in the segment's header: n_checked stacks were compared, of which n_differences are not
 * what the reference says, and n_explained are not either, by these rules and no others:
 *
 * - ours is the beginning of the reference's and ended in code without unwind information
 *   (TR_WALK_UNKNOWN): there the reference goes on by guessing that rbp is a frame pointer;
 * - the reference's is the beginning of ours and ended by an error of its own: it gave up.
 *
 * A stack that the depth limit cuts is compared as far as it was kept. The first differences are
 * written as marks, with the frames around the first one that differs.
 */
#ifndef TR_CHECK_H
#define TR_CHECK_H

#include "tr_thread.h"
#include "tr_walk.h"

/* `node` is the stack that was taken from `regs`, and `end` how that walk ended. */
void tr_check_stack(struct tr_lane *lane, struct tr_regs regs, uint32_t node, enum tr_walk_end end,
		    uint64_t stamp);

#endif

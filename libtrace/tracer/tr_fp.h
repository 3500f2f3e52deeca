/* SPDX-License-Identifier: MIT */
/*
 * The call stack by frame pointers (x86-64)
 *
 * For programs that are built with -fno-omit-frame-pointer throughout, and for generated code that
 * keeps them: FRAGTRACE_UNWIND=fp. A function without a frame pointer of its own is passed over
 * together with its caller; what it left in rbp ends the stack, or, where that happens to look like
 * a chain, misleads it. Each step has to lie on the stack and above the one before.
 *
 * A chain may point anywhere, so that what is not known to be mapped is read by the kernel. Known
 * is the stack that the thread was first met on: its extent is read once from /proc/self/maps.
 */
#ifndef TR_FP_H
#define TR_FP_H

#include <stddef.h>
#include <stdint.h>

#include "tr_maps.h"
#include "tr_walk.h"

/* `own`: the stack that the thread was first met on, mapped as far as it lies above a stack pointer
 * in it; all 0: not yet known. Up to `max` pcs, innermost first; returns their number, at least 1.
 */
size_t tr_fp_walk(struct tr_extent *own, struct tr_regs regs, uintptr_t *pcs, size_t max);

#endif

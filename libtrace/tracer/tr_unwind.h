/* SPDX-License-Identifier: MIT */
/*
 * The call stack by libunwind
 *
 * Elsewhere than on x86-64 it is the walk that there is: it works, and it is slow. On x86-64 it is
 * the reference for tr_walk.h (FRAGTRACE_SELF_CHECK) and a choice for comparisons
 * (FRAGTRACE_UNWIND=libunwind), and is opened only where one of these asks for it, with RTLD_LOCAL:
 * linked, it would put _Unwind_* and backtrace() into the global scope, before libgcc's where that
 * comes with a plugin. Its walk takes the loader's lock, which another thread may hold while it
 * waits for a lock of the program that our caller has, and a fork may find its locks taken: nothing
 * to be left on in production.
 *
 * It may allocate. Callers have entered their lane, so that such blocks are recorded without a
 * stack (tr_thread.h). errno is kept.
 */
#ifndef TR_UNWIND_H
#define TR_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Return addresses, innermost first, from the one that equals `caller` on; at most `max`, which is
 * the room in `pcs`. 0: the caller was not met. */
size_t tr_unwind(uintptr_t caller, uintptr_t *pcs, size_t max);

#ifdef __x86_64__
/*
 * Opened by the first event for which that is possible: not before libc is initialised (our
 * constructor comes earlier), nor for an allocation of the loader's own. False: not yet, or there
 * is none, which is said once, in the recording too. The calling thread has entered its lane.
 */
bool tr_unwind_ready(uintptr_t caller);

/* The same by its cursor, frame by frame and without its shortcuts, from the frame on that has both
 * this pc and this stack pointer. *gave_up: it ended by an error and not by an outermost frame. */
size_t tr_unwind_reference(uintptr_t pc, uintptr_t sp, uintptr_t *pcs, size_t max, bool *gave_up);
#else
void tr_unwind_init(void); /* once, in the constructor: sets up its tables */
#endif

#endif

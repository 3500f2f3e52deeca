/* SPDX-License-Identifier: MIT */
/*
 * Which code is where
 *
 * Modules are met, not asked for: the loaded ones at start-up, later ones when a new trie node's pc
 * lies in code that we do not know yet (_dl_find_object(), lock-free). So dlopen() is not hooked:
 * it looks at its caller. dlclose() is, and says afterwards what has gone.
 */
#ifndef TR_MODULE_H
#define TR_MODULE_H

#include <stdint.h>

#include "tr_retired.h"
#include "tr_thread.h"

bool tr_modules_init(void); /* once; takes in all that is loaded */

/* A new session: its collector knows none of them. */
void tr_modules_reset(void);

/* Write MODULE and MODULE_END records that the collector has not had yet. */
void tr_modules_emit(struct tr_lane *lane, uint64_t stamp);

/* A pc of a new node: make its module known. Cheap if it is. */
void tr_module_meet(struct tr_lane *lane, uintptr_t pc, uint64_t stamp);

/* Around a dlclose(), which may be at work in several threads: nothing is remembered of code
 * meanwhile that could be another's afterwards. Then the modules that are no longer there are
 * ended. */
void tr_modules_closing(void);
void tr_modules_closed(void);

/* Not 0: some module's record, of its begin or its end, did not get out yet. */
extern _Atomic uint32_t tr_modules_unsent;

size_t tr_modules_memory(void); /* bytes of the table, at most */

#endif

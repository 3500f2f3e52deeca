/* SPDX-License-Identifier: MIT */
/*
 * Stacks as ids: the trie in the shared segment and the private index over it
 *
 * A stack is a node of the trie, its callers are the node's ancestors. The walk (tr_walk.h) asks
 * for the child of a node for a pc; the index answers that with one probe in a hash table.
 *
 * The index is a series of tables, each twice the size of the one before; one that is half full is
 * followed by the next, and what is still in use moves up as it is looked up. A slot is one word,
 * written by one compare-and-swap: nobody ever waits. Two threads that meet the same new
 * stack at one moment may give it two ids; readers may join nodes of equal (parent, pc).
 */
#ifndef TR_STACK_H
#define TR_STACK_H

#include <stdint.h>

#include "tr_thread.h"

/* Walk and intern the stack of the hook's caller. 0: none, or the trie is full. */
uint32_t tr_stack(struct tr_lane *lane, const void *frame, uint64_t stamp);

/* The node for `pc` below `parent` (0: the root), made if it is new; 0 when the trie is full. The
 * calling thread has entered its lane. */
uint32_t tr_stack_child(uint32_t parent, uintptr_t pc);

size_t tr_stacks_memory(void); /* bytes of the index, at most */

size_t tr_stacks_bytes(uint64_t max_nodes); /* what tr_stacks_init() reserves */
bool tr_stacks_init(uint64_t max_nodes);
void tr_stacks_reset(void);

/* The code at [start, end) is gone: stacks through it get new nodes from now on. */
void tr_stacks_retire(uintptr_t start, uintptr_t end);

#endif

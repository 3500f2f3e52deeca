/* SPDX-License-Identifier: MIT */
/*
 * Stacks as ids: the trie in the shared segment
 *
 * A stack is a node of the trie, its callers are the node's ancestors. One that was met before
 * costs one probe in the index (tr_index.h), by the hash of the whole. Only when that fails are its
 * ancestors looked up, from the leaf on, until one is known; the others are made. Two threads that
 * meet the same new stack at one moment may give it two ids; readers may join nodes of equal
 * (parent, pc).
 *
 * Past the tree's end (FRAGTRACE_MAX_NODES) a new stack travels in the ring, as what it has beyond
 * the tree.
 */
#ifndef TR_STACK_H
#define TR_STACK_H

#include <stdint.h>

#include "tr_thread.h"

/* Walk and intern the stack of the hook's caller: a node, FT_WIRE_RAW_STACK when the stack is in
 * the ring itself, or 0 when both are full. Before tr_reserve() for the event. */
uint32_t tr_stack(struct tr_lane *lane, const void *frame, uint64_t stamp);

/* The same for a call that an allocator makes while it holds its locks: libunwind, which allocates,
 * is not asked, whatever FRAGTRACE_UNWIND and the self-check say. */
uint32_t tr_stack_inside(struct tr_lane *lane, const void *frame, uint64_t stamp);

#endif

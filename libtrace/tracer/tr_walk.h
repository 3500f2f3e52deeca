/* SPDX-License-Identifier: MIT */
/*
 * The stack walk of a traced thread (x86-64)
 *
 * Follows unwind rules (tr_cfi.h), which are cached by pc for the whole process, and reuses the
 * last walk of the same thread: from the leaf until a frame is met that the last walk had too (same
 * pc, rsp and rbp), then the remaining frames are taken over as far as their return-address slots,
 * and the saved-rbp slots beside them, still hold what they held. Every frame carries the trie node
 * of the stack that ends in it, so that what is taken over need not be interned again.
 *
 * No lock, no malloc, no loader lock, no system call but for more memory of the rule cache. Return
 * addresses are read, never written.
 */
#ifndef TR_WALK_H
#define TR_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TR_WALK_MAX = 512 };

/* Registers in the caller of a hook, right after the hook has returned. */
struct tr_regs {
	uintptr_t rip, rsp, rbp;
};

/* The registers of the calling function's caller; in a function that keeps its frame pointer. */
#define TR_CALLER_REGS()                                               \
	((struct tr_regs){                                             \
		.rip = (uintptr_t)__builtin_return_address(0),         \
		.rsp = (uintptr_t)__builtin_frame_address(0) + 16,     \
		.rbp = *(const uintptr_t *)__builtin_frame_address(0), \
	})

enum tr_walk_end {
	TR_WALK_COMPLETE,    /* the outermost frame was reached */
	TR_WALK_UNKNOWN,     /* code without unwind information: the stack ends there, honestly */
	TR_WALK_CUT,	     /* the depth limit */
	TR_WALK_UNSUPPORTED, /* a rule that this walk can't follow; it was followed up to there */
};

struct tr_frame {
	uintptr_t pc, rsp, rbp;
	uintptr_t rbp_slot; /* where the caller's rbp was loaded from; 0: passed on unchanged */
	uint32_t node;	    /* of the stack that has this frame innermost */
};

/* One a thread; zeroed memory is a valid start. About 50 KiB, touched as far as stacks are deep:
 * the traced program's own stack may be a small one, so that no array lives there. */
struct tr_walker {
	uint64_t generation; /* of the modules, when `last` was walked */
	uint32_t n_last;     /* frames of the last walk */
	uint32_t busy;	     /* walks under way: that of a signal handler must not touch `last` */
	uintptr_t end_slot;  /* its value 0 ended the last walk; 0: something else did */
	enum tr_walk_end last_end;
	struct tr_frame last[TR_WALK_MAX];  /* outermost first */
	struct tr_frame fresh[TR_WALK_MAX]; /* the walk under way, innermost first */
	uintptr_t pcs[2][TR_WALK_MAX]; /* walks without memory: of the thread, of its handler */
};

/* The child of `parent` for `pc` in the trie of stacks; 0 when the trie is full. */
typedef uint32_t tr_child_fn(uint32_t parent, uintptr_t pc);

/*
 * Walk from `regs` and intern the stack. *node gets its id (0 if the trie is full); the innermost
 * `max_depth` frames at most are taken. With TR_WALK_UNSUPPORTED *node is not set and nothing is
 * remembered: the caller falls back to another unwinder.
 */
enum tr_walk_end tr_walk(struct tr_walker *walker, struct tr_regs regs, size_t max_depth,
			 tr_child_fn *child, uint32_t *node);

/* The same walk without memory of an earlier one: up to `max` pcs, innermost first. For fallbacks,
 * nested signal handlers and comparison. */
enum tr_walk_end tr_walk_plain(struct tr_regs regs, uintptr_t *pcs, size_t max, size_t *n);

/* A module has gone: cached rules and walks that may speak of it are no longer used. */
void tr_walk_forget(void);

/* Private memory of the rule cache, in bytes. */
size_t tr_walk_memory(void);

#endif

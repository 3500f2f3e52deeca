/* SPDX-License-Identifier: MIT */
/*
 * The stack walk of a traced thread (x86-64)
 *
 * Follows unwind rules (tr_rules.h) and remembers the last walk of the same thread: from the leaf
 * until a frame is met that the last walk had too (same pc and rsp), then the remaining frames are
 * taken over as far as their return-address slots still hold what they held. Where a frame further
 * out is found by rbp, that register and the slot that it was saved in must be the same, too; most
 * code uses rbp as one register of many, and what is in it then is no matter. That pays where calls
 * come and go at the leaf. Where stacks part near the root, to look for a common frame, and to
 * write all others down, costs more than it saves: then only the frames that the thread's stacks
 * share, at the root, stay remembered, and the others are walked and forgotten. Now and then a
 * thread tries both and keeps to the cheaper one.
 *
 * Whole stacks that come again and again, from leaves that differ, are told without a walk: a memo
 * has the words that each rests on, and what its user found for it. It is asked as long as it knows
 * enough of a thread's stacks, and filled from walks that look for what they share with the last.
 *
 * A walk also gives the hash of its stack, a polynomial over the frames, so that a stack can be
 * looked up by one number (tr_hash.h).
 *
 * No lock, no malloc, no loader lock, no system call but for more memory of the rule cache. Return
 * addresses are read, never written.
 *
 * Where a stack ends without being complete: in code without unwind information (generated code,
 * assembly without CFI), whose caller nobody can know; in a signal frame whose context does not lie
 * on the stack; where the CFI names another register than rsp or rbp, or computes by an expression
 * other than the linkers' for the PLT and the compilers' for realigned stacks (tr_cfi.h); and where
 * a rule leads off the stack.
 */
#ifndef TR_WALK_H
#define TR_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tr_hash.h"

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
	uintptr_t pc, rsp, rbp; /* rbp is out of date where no step outwards needs it */
	uint64_t hash;		/* of the stack that has this frame innermost */
	uintptr_t slot;		/* where the step to the caller found its rbp; 0: left in place */
	uintptr_t deref;	/* where the step found the CFA; 0: it was computed */
	uint32_t n_checks;	/* of the words that this frame and its callers rest on */
	bool by_rbp;		/* the step to the caller takes rbp, */
	bool needs_rbp;		/* or a later one does, with the rbp of this frame */
};

/* A word that the steps of remembered frames have read, or rest on. */
struct tr_check_word {
	uintptr_t at, value;
};

/* log2 of the slots; words that the log has room for, 10 bytes each. */
enum { TR_MEMO_BITS = 9, TR_MEMO_WORDS = 8192 };

/* Stacks by the registers at their leaf. Their words lie in a log, each as its distance from rsp in
 * units of 8 and its value; what the log has overwritten is forgotten. About 100 KiB, touched as it
 * fills. */
struct tr_memo {
	uint64_t n_words; /* ever written to the log, gaps at its end included */
	struct tr_memo_slot {
		uintptr_t rip, rsp, rbp;
		uint64_t
			first; /* word; the slot holds nothing if that is not in the log any more */
		uint32_t id;
		uint16_t n_words;
		bool needs_rbp;
	} slots[1 << TR_MEMO_BITS];
	uint64_t values[TR_MEMO_WORDS];
	uint16_t distances[TR_MEMO_WORDS];
};

/* One a thread; zeroed memory is a valid start. About 85 KiB, touched as far as stacks are deep:
 * the traced program's own stack may be a small one, so that no array lives there. */
struct tr_walker {
	uint64_t generation;	      /* of the rules, when `last` was walked */
	uint32_t n_last;	      /* frames of `last` that may still be there */
	bool apart;		      /* frames are taken over, and none written down */
	uint8_t n_walks, n_phases;    /* so many walks are a phase; phases since both were tried */
	uint32_t cost, cost_together; /* of the walks of this phase, and of the one that tried */
	bool recalls;		      /* the memo is asked: of so many walks, it knew so many */
	uint32_t n_asked, n_recalled;
	uint32_t n_unasked;   /* walks since it was asked last */
	struct tr_memo *memo; /* NULL: none */
	enum tr_walk_end last_end;
	struct tr_frame last[TR_WALK_MAX];  /* outermost first */
	struct tr_frame fresh[TR_WALK_MAX]; /* the walk under way, innermost first; `hash` is the
					       frame's own term */
	struct tr_check_word checks[3 * TR_WALK_MAX]; /* of `last`, the outermost frame's first */
	uintptr_t pcs[TR_WALK_MAX];		      /* of a walk that is not remembered */
	uintptr_t own_low, own_size;		      /* the thread's own stack; 0, 0: not known */
};

/* A stack: the pcs of the innermost frames, and below them those that are remembered. Lives until
 * the thread's next walk. */
struct tr_walked {
	uint64_t hash;
	const uintptr_t *pcs;	       /* innermost first */
	const struct tr_frame *frames; /* outermost first */
	uint32_t n_pcs, n_frames;
	bool lasting; /* all frames are remembered, and on a stack that lasts as long as the thread
		       */
};

/*
 * Walk from `regs`; the innermost `max_depth` frames at most are taken. *walked is the stack, as
 * far as it could be followed. Not to be interrupted by a walk with the same walker.
 */
enum tr_walk_end tr_walk(struct tr_walker *walker, struct tr_regs regs, size_t max_depth,
			 struct tr_walked *walked);

/*
 * What tr_walk_memorize() was given for the very stack that a walk from `regs` would find; 0: that
 * is not known. Walk then, and if the stack is `lasting`, memorize an id for it, which is not 0.
 */
uint32_t tr_walk_recall(struct tr_walker *walker, struct tr_regs regs);
void tr_walk_memorize(struct tr_walker *walker, struct tr_regs regs, const struct tr_walked *walked,
		      uint32_t id);

/* Forget all: another thread, another tree of stacks, or a walk that was left half way. */
void tr_walk_reset(struct tr_walker *walker, struct tr_memo *memo);

/* All frames of a stack, innermost first, at most TR_WALK_MAX. */
size_t tr_walked_pcs(const struct tr_walked *walked, uintptr_t *pcs);

/* The same walk without memory of an earlier one: up to `max` pcs, innermost first. For signal
 * frames and for comparison. */
enum tr_walk_end tr_walk_plain(struct tr_regs regs, uintptr_t *pcs, size_t max, size_t *n);

#endif

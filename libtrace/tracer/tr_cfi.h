/* SPDX-License-Identifier: MIT */
/*
 * Unwind rules from call frame information (x86-64)
 *
 * For a pc: how to find the caller's frame. Read from .eh_frame through .eh_frame_hdr of the module
 * that _dl_find_object() names, so without the loader lock, without memory and without a system
 * call.
 *
 * A rule is one word, so that it can be cached and read without a lock. Only what compilers emit is
 * expressed: a CFA from rsp or rbp, or loaded from rbp + offset (realigned stacks), the PLT's own
 * expression, signal frames; the return address at CFA - 8; rbp saved beside the CFA or rbp. All
 * else is TR_RULE_UNSUPPORTED, and the caller decides what to do about it.
 *
 * Sources: DWARF 5 section 6.4; Linux Standard Base 5.0 core, section 10.6 (.eh_frame,
 * .eh_frame_hdr); System V ABI x86-64, section 3.7.
 */
#ifndef TR_CFI_H
#define TR_CFI_H

#include <stdbool.h>
#include <stdint.h>

enum tr_rule_kind {
	TR_RULE_NONE =
		1, /* no unwind information: generated or hand-written code; the stack ends */
	TR_RULE_UNSUPPORTED, /* information that this form can't express */
	TR_RULE_END,	     /* the outermost frame: its return address is undefined */
	TR_RULE_CFA_RSP,     /* CFA = rsp + cfa */
	TR_RULE_CFA_RBP,     /* CFA = rbp + cfa */
	TR_RULE_CFA_DEREF,   /* CFA = *(rbp + cfa) */
	TR_RULE_CFA_PLT,     /* CFA = rsp + 8 + (rip & 15 >= 11 ? 8 : 0) */
	TR_RULE_SIGNAL,	     /* rsp points to the kernel's ucontext */
};

enum tr_rbp_kind {
	TR_RBP_SAME = 0, /* the caller's rbp is in rbp */
	TR_RBP_AT_CFA,	 /* at CFA + rbp */
	TR_RBP_AT_RBP,	 /* at rbp + rbp (realigned stacks) */
};

/*
 * bits 0-3 kind, 4-5 rbp kind, 8-23 a stamp that the rule's user puts there (0 as it comes from
 * here), 24-39 rbp offset / 8 (signed; -1, the return address, where rbp is not saved, so that
 * there is always a word to load), 40-63 CFA offset / 8 (signed). Never 0. With CFA_RSP the CFA is
 * above rsp; with RBP_AT_CFA the slot is below the CFA, and with both not below rsp.
 */
typedef uint64_t tr_rule;

enum { TR_RULE_STAMP_SHIFT = 8, TR_RULE_STAMP_MAX = 0xffff };

static inline enum tr_rule_kind tr_rule_kind(tr_rule rule)
{
	return (enum tr_rule_kind)(rule & 15);
}

static inline enum tr_rbp_kind tr_rule_rbp_kind(tr_rule rule)
{
	return (enum tr_rbp_kind)(rule >> 4 & 3);
}

/* The kinds that most code has, told by one comparison: rbp is not saved beside rbp. */
static inline bool tr_rule_is(tr_rule rule, enum tr_rule_kind kind)
{
	return (rule & 0x2f) == (tr_rule)kind;
}

static inline intptr_t tr_rule_rbp(tr_rule rule)
{
	return (intptr_t)(int16_t)(rule >> 24) * 8;
}

static inline intptr_t tr_rule_cfa(tr_rule rule)
{
	return ((intptr_t)rule >> 40) * 8;
}

static inline uint64_t tr_rule_stamp(tr_rule rule)
{
	return rule >> TR_RULE_STAMP_SHIFT & TR_RULE_STAMP_MAX;
}

/* The rule that holds at the instruction at `pc`. Async-signal-safe; reads only the module's
 * tables. */
tr_rule tr_cfi_rule(uintptr_t pc);

#endif

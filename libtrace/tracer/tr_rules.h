/* SPDX-License-Identifier: MIT */
/*
 * The cache of unwind rules by pc (x86-64)
 *
 * One for the whole process, read without a lock: open addressing, at most a quarter full, so that
 * nearly every pc is found at its first slot. A slot's key is claimed by compare-and-swap, its rule
 * is stored afterwards: whoever meets a key without a rule works the rule out on its own. A table
 * that has its share is replaced by one in which the rules that still hold have room to spare; the
 * old one stays mapped, because a thread may still be reading it, and serves again when one of its
 * size is needed (of each size there are two at most).
 *
 * A key names the generation that it was learned in. When a module goes the generation changes, and
 * no older rule is found again. A rule carries the stamp of its code (tr_retired.h).
 */
#ifndef TR_RULES_H
#define TR_RULES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "tr_cfi.h"

struct tr_rule_slot {
	_Atomic uint64_t key; /* generation << 48 | pc; 0: empty */
	_Atomic tr_rule rule; /* 0: not yet there */
};

struct tr_rule_table {
	size_t mask; /* in bytes of `slots`: (slots - 1) * sizeof(struct tr_rule_slot) */
	_Atomic size_t n_used;
	struct tr_rule_slot slots[];
};

/* What a walk reads once, at its beginning. */
struct tr_rules {
	const struct tr_rule_slot *slots;
	size_t mask;
	uint64_t generation; /* << 48 */
};

extern _Atomic(const struct tr_rule_table *) tr_rule_table; /* never NULL */
extern _Atomic uint64_t tr_rule_generation;

static inline struct tr_rules tr_rules(void)
{
	/* Acquire pairs with the release in rules.c: the table is filled, the stamps are made. */
	uint64_t generation = atomic_load_explicit(&tr_rule_generation, memory_order_acquire);
	const struct tr_rule_table *table =
		atomic_load_explicit(&tr_rule_table, memory_order_acquire);

	return (struct tr_rules){
		.slots = table->slots, .mask = table->mask, .generation = generation << 48};
}

/* The first slot that is looked at, as an offset in bytes. */
static inline size_t tr_rule_place(uint64_t pc, size_t mask)
{
	return (pc * UINT64_C(0x9e3779b97f4a7c15) >> 36) & mask;
}

/* Not in its first slot, or not known at all. */
tr_rule tr_rule_find_slow(uintptr_t pc);

/* The rule for the instruction at `pc`, with its stamp. */
static inline tr_rule tr_rule_find(struct tr_rules rules, uintptr_t pc)
{
	const struct tr_rule_slot *slot =
		(const void *)((const char *)rules.slots + tr_rule_place(pc, rules.mask));
	/* The key first: acquire, so that the rule is not older. */
	uint64_t key = atomic_load_explicit(&slot->key, memory_order_acquire);
	tr_rule rule = atomic_load_explicit(&slot->rule, memory_order_acquire);

	if (__builtin_expect(key == (rules.generation | pc) && rule, 1))
		return rule;
	return tr_rule_find_slow(pc);
}

/* A module has gone: cached rules that may speak of it are no longer used. */
void tr_rules_forget(void);

/* Private memory, in bytes. */
size_t tr_rules_memory(void);

#endif

/* SPDX-License-Identifier: MIT */
/* The cache of unwind rules: see tr_rules.h. */
#include "tr_rules.h"

#include <sys/mman.h>

#include "tr_retired.h"
#include "tr_sys.h"

enum { N_FIRST = 8192, N_MAX = 1 << 22, PROBES_MAX = 32 };

/* Before the first rule is learned: one slot that no key ever gets. */
static struct {
	size_t mask;
	_Atomic size_t n_used;
	struct tr_rule_slot slots[1];
} no_rules;
_Static_assert(offsetof(__typeof__(no_rules), slots) == offsetof(struct tr_rule_table, slots),
	       "the same layout");

_Atomic(const struct tr_rule_table *) tr_rule_table =
	(const struct tr_rule_table *)(const void *)&no_rules;
_Atomic uint64_t tr_rule_generation;
static _Atomic size_t rule_memory; /* of all tables */

static size_t n_slots(const struct tr_rule_table *table)
{
	return table->mask / sizeof(struct tr_rule_slot) + 1;
}

static void insert(struct tr_rule_table *table, uint64_t key, tr_rule rule)
{
	size_t mask = n_slots(table) - 1;
	size_t at = tr_rule_place(key & 0xffffffffffff, table->mask) / sizeof(struct tr_rule_slot);

	for (unsigned i = 0; i < PROBES_MAX; i++, at++) {
		struct tr_rule_slot *slot = &table->slots[at & mask];
		uint64_t seen = 0;

		if (atomic_compare_exchange_strong_explicit(
			    &slot->key, &seen, key, memory_order_relaxed, memory_order_relaxed))
			atomic_fetch_add_explicit(&table->n_used, 1, memory_order_relaxed);
		else if (seen != key)
			continue;
		/* Release pairs with the acquire in tr_rule_find(): one word, and complete. */
		atomic_store_explicit(&slot->rule, rule, memory_order_release);
		return;
	}
}

/* Tables that were replaced, by log2 of their slots. Threads may still read them, or even write:
 * keys of an older generation, which are none in a table that is used again. */
static _Atomic(struct tr_rule_table *) spare[32];

static struct tr_rule_table *empty_table(size_t n)
{
	size_t bytes = sizeof(struct tr_rule_table) + n * sizeof(struct tr_rule_slot);
	struct tr_rule_table *table = atomic_exchange(&spare[__builtin_ctzl(n)], NULL);
	long at = (long)table;

	if (table) {
		if (tr_sys(SYS_madvise, table, bytes, MADV_DONTNEED) != 0)
			return NULL;
	} else {
		/* libc's mmap() would leave its failure in errno. */
		at = tr_sys(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at < 0 && at >= -4095)
			return NULL;
		atomic_fetch_add_explicit(&rule_memory, bytes, memory_order_relaxed);
	}
	table = (struct tr_rule_table *)at;
	table->mask = (n - 1) * sizeof(struct tr_rule_slot);
	return table;
}

/*
 * Publish another table with the rules of `old` that still hold, an eighth full at most, or the
 * first one. Whoever is late puts its own aside: a flag that lets one thread in would stay set in a
 * child that was forked meanwhile.
 */
static void replace(const struct tr_rule_table *old)
{
	uint64_t now = atomic_load_explicit(&tr_rule_generation, memory_order_acquire) & 0xffff;
	size_t n = N_FIRST, n_alive = 0, n_old = old->mask ? n_slots(old) : 0;
	struct tr_rule_table *table;

	for (size_t i = 0; i < n_old; i++)
		n_alive +=
			atomic_load_explicit(&old->slots[i].key, memory_order_relaxed) >> 48 == now;
	while (n < n_alive * 8)
		n *= 2;
	if (n > N_MAX)
		return;
	table = empty_table(n);
	if (!table)
		return;
	for (size_t i = 0; i < n_old; i++) {
		uint64_t key = atomic_load_explicit(&old->slots[i].key, memory_order_relaxed);
		tr_rule rule = atomic_load_explicit(&old->slots[i].rule, memory_order_acquire);

		if (key && rule && key >> 48 == now)
			insert(table, key, rule);
	}
	/* Release pairs with the acquire in tr_rules(): the table is filled. */
	if (!atomic_compare_exchange_strong_explicit(&tr_rule_table, &old, table,
						     memory_order_release, memory_order_relaxed))
		old = table;
	if (old->mask)
		atomic_store(&spare[__builtin_ctzl(n_slots(old))],
			     (struct tr_rule_table *)(uintptr_t)old);
}

static tr_rule learn(uintptr_t pc, uint64_t key)
{
	tr_rule rule = tr_cfi_rule(pc) | (tr_rule)tr_retired_stamp(pc) << TR_RULE_STAMP_SHIFT;
	const struct tr_rule_table *table =
		atomic_load_explicit(&tr_rule_table, memory_order_acquire);

	/* "No information" is not remembered: generated code comes and goes without our knowing. */
	if (tr_rule_kind(rule) == TR_RULE_NONE)
		return rule;
	/* The key's generation is not older than the unloading that is under way: see
	 * tr_modules_closing(). */
	if (tr_unlikely(tr_unloading()))
		return rule;
	if (atomic_load_explicit(&table->n_used, memory_order_relaxed) * 4 >= n_slots(table) ||
	    !table->mask) {
		replace(table);
		table = atomic_load_explicit(&tr_rule_table, memory_order_acquire);
	}
	if (table->mask)
		insert((struct tr_rule_table *)(uintptr_t)table, key, rule);
	return rule;
}

__attribute__((noinline)) tr_rule tr_rule_find_slow(uintptr_t pc)
{
	struct tr_rules rules = tr_rules();
	uint64_t key = rules.generation | pc;
	size_t n = rules.mask / sizeof(struct tr_rule_slot);
	size_t at = tr_rule_place(pc, rules.mask) / sizeof(struct tr_rule_slot);

	for (unsigned i = 0; i < PROBES_MAX; i++, at++) {
		const struct tr_rule_slot *slot = &rules.slots[at & n];
		uint64_t seen = atomic_load_explicit(&slot->key, memory_order_acquire);

		if (seen == key) {
			tr_rule rule = atomic_load_explicit(&slot->rule, memory_order_acquire);

			if (rule)
				return rule;
			break;
		}
		if (!seen)
			break;
	}
	return learn(pc, key);
}

void tr_rules_forget(void)
{
	uint64_t now = atomic_fetch_add_explicit(&tr_rule_generation, 1, memory_order_release) + 1;

	/* A key has 16 bits of it: those of the last round are cleared away. */
	if ((now & 0xffff) == 0)
		replace(atomic_load_explicit(&tr_rule_table, memory_order_acquire));
}

size_t tr_rules_memory(void)
{
	return atomic_load_explicit(&rule_memory, memory_order_relaxed);
}

/* SPDX-License-Identifier: MIT */
/* The stack walk: see tr_walk.h. */
#include "tr_walk.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "tr_cfi.h"
#include "tr_sys.h"

/* ---- the rule cache
 * -------------------------------------------------------------------------------- */

/*
 * Open addressing, read without a lock. A slot's key is claimed by compare-and-swap, its rule is
 * stored afterwards: whoever meets a key without a rule works the rule out on its own. A table that
 * is half full is replaced by one of twice the size; the old one stays mapped, because a thread may
 * still be reading it (together the old ones are smaller than the current one).
 */
struct rule_slot {
	_Atomic uint64_t key; /* generation << 48 | pc; 0: empty */
	_Atomic tr_rule rule; /* 0: not yet there */
};

struct rule_table {
	size_t mask;
	_Atomic size_t n_used;
	struct rule_slot slots[];
};

enum { RULES_FIRST = 4096, RULES_MAX = 1 << 22, PROBES_MAX = 64 };

static _Atomic(struct rule_table *) rule_table;
static _Atomic size_t rule_memory;
static _Atomic uint64_t rule_generation;

static uint64_t rule_key(uintptr_t pc, uint64_t generation)
{
	return generation << 48 | (pc & 0xffffffffffff);
}

static size_t rule_hash(uint64_t key)
{
	key *= UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(key >> 20);
}

static void rule_insert(struct rule_table *table, uint64_t key, tr_rule rule)
{
	size_t at = rule_hash(key);

	for (unsigned i = 0; i < PROBES_MAX; i++, at++) {
		struct rule_slot *slot = &table->slots[at & table->mask];
		uint64_t seen = 0;

		if (atomic_compare_exchange_strong_explicit(
			    &slot->key, &seen, key, memory_order_relaxed, memory_order_relaxed))
			atomic_fetch_add_explicit(&table->n_used, 1, memory_order_relaxed);
		else if (seen != key)
			continue;
		/* Release pairs with the acquire in rule_find(); the rule is one word and complete.
		 */
		atomic_store_explicit(&slot->rule, rule, memory_order_release);
		return;
	}
}

/*
 * Publish a larger table with the rules of `old` that still hold, or the first one. Whoever is late
 * throws its own away: a flag that lets one thread in would stay set in a child that was forked
 * meanwhile.
 */
static void rules_grow(struct rule_table *old)
{
	size_t n = old ? (old->mask + 1) * 2 : RULES_FIRST;
	size_t bytes = sizeof(struct rule_table) + n * sizeof(struct rule_slot);
	uint64_t now = atomic_load_explicit(&rule_generation, memory_order_acquire) & 0xffff;

	if (n > RULES_MAX)
		return;

	/* libc's mmap() would leave its failure in errno. */
	long at = tr_sys(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	if (at < 0 && at >= -4095)
		return;

	struct rule_table *table = (struct rule_table *)at;

	table->mask = n - 1;
	for (size_t i = 0; old && i <= old->mask; i++) {
		uint64_t key = atomic_load_explicit(&old->slots[i].key, memory_order_relaxed);
		tr_rule rule = atomic_load_explicit(&old->slots[i].rule, memory_order_acquire);

		if (key && rule && key >> 48 == now)
			rule_insert(table, key, rule);
	}
	/* Release pairs with the acquire in rule_find(): the table is filled. */
	if (atomic_compare_exchange_strong_explicit(&rule_table, &old, table, memory_order_release,
						    memory_order_relaxed))
		atomic_fetch_add_explicit(&rule_memory, bytes, memory_order_relaxed);
	else
		tr_sys(SYS_munmap, table, bytes);
}

static __attribute__((noinline)) tr_rule rule_learn(struct rule_table *table, uintptr_t pc,
						    uint64_t key)
{
	tr_rule rule = tr_cfi_rule(pc);

	if (!table ||
	    atomic_load_explicit(&table->n_used, memory_order_relaxed) * 2 > table->mask) {
		rules_grow(table);
		table = atomic_load_explicit(&rule_table, memory_order_acquire);
	}
	/* "No information" is not remembered: generated code comes and goes without our knowing. */
	if (table && tr_rule_kind(rule) != TR_RULE_NONE)
		rule_insert(table, key, rule);
	return rule;
}

static inline tr_rule rule_find(uintptr_t pc, uint64_t generation)
{
	struct rule_table *table = atomic_load_explicit(&rule_table, memory_order_acquire);
	uint64_t key = rule_key(pc, generation);

	if (table) {
		size_t at = rule_hash(key);

		for (unsigned i = 0; i < PROBES_MAX; i++, at++) {
			struct rule_slot *slot = &table->slots[at & table->mask];
			uint64_t seen = atomic_load_explicit(&slot->key, memory_order_relaxed);

			if (seen == key) {
				tr_rule rule =
					atomic_load_explicit(&slot->rule, memory_order_acquire);

				if (rule)
					return rule;
				break;
			}
			if (!seen)
				break;
		}
	}
	return rule_learn(table, pc, key);
}

void tr_walk_forget(void)
{
	atomic_fetch_add_explicit(&rule_generation, 1, memory_order_release);
}

size_t tr_walk_memory(void)
{
	return atomic_load_explicit(&rule_memory, memory_order_relaxed);
}

/* ---- where a stack ends
 * ----------------------------------------------------------------------------- */

extern void *__libc_stack_end; /* the loader's: where the main thread's stack began */

enum { OWN_STACK_MAX = 64 << 20, OTHER_STACK_MAX = 8 << 20 };

/*
 * No frame of the stack that `rsp` lies on reaches above the limit. glibc keeps a thread's control
 * block at the top of its stack, and the loader knows where the main thread's begins; of any other
 * stack (a coroutine's, a signal's) only a generous size is assumed, because to ask the kernel
 * would cost more than the walk. What really keeps a walk on its stack are the rules, as in every
 * unwinder.
 */
static inline uintptr_t stack_limit(uintptr_t rsp)
{
	uintptr_t thread = (uintptr_t)__builtin_thread_pointer();
	uintptr_t start = (uintptr_t)__libc_stack_end;

	if (rsp < thread && thread - rsp < OWN_STACK_MAX)
		return thread;
	if (rsp < start && start - rsp < (uintptr_t)1 << 40)
		return start;
	return rsp + OTHER_STACK_MAX;
}

/* ---- one step
 * --------------------------------------------------------------------------------------- */

static inline uintptr_t load(uintptr_t address)
{
	return *(const volatile uintptr_t *)address;
}

/* [address, address + 8) lies on the stack [low, high). */
static inline bool on_stack(uintptr_t address, uintptr_t low, uintptr_t high)
{
	return address >= low && address + 8 <= high && !(address & 7);
}

enum step {
	STEP_ON,       /* regs are the caller's */
	STEP_SIGNAL,   /* regs are the interrupted function's */
	STEP_END,      /* there is no caller */
	STEP_END_SLOT, /* the return address is 0: *slot is where */
	STEP_UNKNOWN,  /* no information about this code */
	STEP_UNSUPPORTED,
};

/* Offsets in the kernel's ucontext on x86-64 (arch/x86/include/uapi/asm/sigcontext.h). */
enum { UC_RBP = 120, UC_RSP = 160, UC_RIP = 168 };

/*
 * From the frame in `regs` to its caller. `exact`: rip is where the function was interrupted, not a
 * return address (which may be the first byte of the next function, so that its rule is looked up
 * one byte earlier).
 */
static inline enum step step(struct tr_regs *regs, bool exact, uintptr_t high, uint64_t generation,
			     uintptr_t *slot)
{
	uintptr_t low = regs->rsp, cfa;
	tr_rule rule = rule_find(regs->rip - !exact, generation);

	*slot = 0;
	switch (tr_rule_kind(rule)) {
	case TR_RULE_CFA_RSP:
		cfa = regs->rsp + (uintptr_t)tr_rule_cfa(rule);
		break;
	case TR_RULE_CFA_RBP:
		cfa = regs->rbp + (uintptr_t)tr_rule_cfa(rule);
		break;
	case TR_RULE_CFA_DEREF:
		if (!on_stack(regs->rbp + (uintptr_t)tr_rule_cfa(rule), low, high))
			return STEP_UNSUPPORTED;
		cfa = load(regs->rbp + (uintptr_t)tr_rule_cfa(rule));
		break;
	case TR_RULE_CFA_PLT:
		cfa = regs->rsp + 8 + ((regs->rip & 15) >= 11 ? 8 : 0);
		break;
	case TR_RULE_SIGNAL:
		if (!on_stack(regs->rsp + UC_RBP, low, high) ||
		    !on_stack(regs->rsp + UC_RIP, low, high))
			return STEP_UNSUPPORTED;
		*regs = (struct tr_regs){.rip = load(low + UC_RIP),
					 .rsp = load(low + UC_RSP),
					 .rbp = load(low + UC_RBP)};
		return regs->rip ? STEP_SIGNAL : STEP_END;
	case TR_RULE_END:
		return STEP_END;
	case TR_RULE_NONE:
		return STEP_UNKNOWN;
	default:
		return STEP_UNSUPPORTED;
	}

	/* A caller's frame lies above; anything else is a stack that the rule does not describe. */
	if (cfa <= regs->rsp || !on_stack(cfa - 8, low, high))
		return STEP_UNSUPPORTED;

	uintptr_t rip = load(cfa - 8);

	if (!rip) {
		*slot = cfa - 8;
		return STEP_END_SLOT;
	}
	if (tr_rule_rbp_kind(rule) != TR_RBP_SAME) {
		uintptr_t base = tr_rule_rbp_kind(rule) == TR_RBP_AT_CFA ? cfa : regs->rbp;
		uintptr_t at = base + (uintptr_t)tr_rule_rbp(rule);

		if (!on_stack(at, low, high))
			return STEP_UNSUPPORTED;
		*slot = at;
		regs->rbp = load(at);
	}
	regs->rip = rip;
	regs->rsp = cfa;
	return STEP_ON;
}

/* ---- walks
 * ------------------------------------------------------------------------------------------ */

enum tr_walk_end tr_walk_plain(struct tr_regs regs, uintptr_t *pcs, size_t max, size_t *n)
{
	uint64_t generation = atomic_load_explicit(&rule_generation, memory_order_acquire);
	uintptr_t high = stack_limit(regs.rsp), slot;
	bool exact = false;

	for (*n = 0; *n < max;) {
		pcs[(*n)++] = regs.rip;

		enum step done = step(&regs, exact, high, generation, &slot);

		if (done == STEP_UNSUPPORTED)
			return TR_WALK_UNSUPPORTED;
		if (done == STEP_UNKNOWN)
			return TR_WALK_UNKNOWN;
		if (done == STEP_END || done == STEP_END_SLOT)
			return TR_WALK_COMPLETE;
		exact = done == STEP_SIGNAL;
		if (exact)
			high = stack_limit(regs.rsp);
	}
	return TR_WALK_CUT;
}

/*
 * Are the frames [0, from] of the last walk still what is on the stack, given that frame `from` is?
 * The lowest index that is certain; 0 when all are, and then *whole tells whether the end is
 * certain too.
 */
static inline uint32_t verify(const struct tr_walker *walker, uint32_t from, bool *whole)
{
	const struct tr_frame *frame = &walker->last[from];

	for (; frame > walker->last; frame--) {
		const struct tr_frame *caller = frame - 1;

		if (load(caller->rsp - 8) != caller->pc ||
		    (frame->rbp_slot && load(frame->rbp_slot) != caller->rbp))
			break;
	}
	*whole = frame == walker->last && (!walker->end_slot || !load(walker->end_slot));
	return (uint32_t)(frame - walker->last);
}

/* Walk by rules and hand over a whole stack of which nothing is remembered. */
static enum tr_walk_end walk_apart(struct tr_walker *walker, struct tr_regs regs, size_t max_depth,
				   tr_child_fn *child, uint32_t *node)
{
	uintptr_t *pcs = walker->pcs[walker->busy - 1];
	size_t n;
	enum tr_walk_end end = tr_walk_plain(regs, pcs, max_depth, &n);

	if (end == TR_WALK_UNSUPPORTED)
		return end;
	*node = 0;
	while (n) {
		*node = child(*node, pcs[--n]);
		if (!*node)
			break;
	}
	return end;
}

enum tr_walk_end tr_walk(struct tr_walker *walker, struct tr_regs regs, size_t max_depth,
			 tr_child_fn *child, uint32_t *node)
{
	uint64_t generation = atomic_load_explicit(&rule_generation, memory_order_acquire);

	if (max_depth > TR_WALK_MAX)
		max_depth = TR_WALK_MAX;
	if (walker->busy) {
		enum tr_walk_end nested = TR_WALK_UNSUPPORTED;

		if (walker->busy == 1) {
			walker->busy = 2;
			nested = walk_apart(walker, regs, max_depth, child, node);
			walker->busy = 1;
		}
		return nested;
	}
	walker->busy = 1;
	/* The compiler must not move the work out of the section that `busy` marks for handlers. */
	atomic_signal_fence(memory_order_seq_cst);

	struct tr_frame *fresh = walker->fresh;
	uint32_t n_fresh = 0, n_kept = 0, search;
	enum tr_walk_end end = TR_WALK_CUT;
	uintptr_t end_slot = 0, high = stack_limit(regs.rsp);

	if (walker->generation != generation) {
		walker->n_last = 0;
		walker->generation = generation;
	}
	search = walker->n_last;
	while (n_fresh < max_depth) {
		while (search && walker->last[search - 1].rsp < regs.rsp)
			search--;
		if (search) {
			const struct tr_frame *same = &walker->last[search - 1];

			if (same->rsp == regs.rsp && same->pc == regs.rip &&
			    same->rbp == regs.rbp) {
				bool whole;
				uint32_t certain = verify(walker, search - 1, &whole);

				if (whole) {
					n_kept = search;
					end = walker->last_end;
					end_slot = walker->end_slot;
					break;
				}
				/* Known up to `certain`: take those frames and go on by rules from
				 * there. */
				while (search - 1 > certain && n_fresh < max_depth - 1)
					fresh[n_fresh++] = walker->last[--search];
				regs = (struct tr_regs){.rip = walker->last[search - 1].pc,
							.rsp = walker->last[search - 1].rsp,
							.rbp = walker->last[search - 1].rbp};
				search = 0;
			}
		}

		struct tr_frame *frame = &fresh[n_fresh++];
		uintptr_t slot;

		*frame = (struct tr_frame){.pc = regs.rip, .rsp = regs.rsp, .rbp = regs.rbp};

		enum step done = step(&regs, false, high, generation, &slot);

		if (__builtin_expect(done == STEP_ON, 1)) {
			frame->rbp_slot = slot;
			continue;
		}
		if (done == STEP_SIGNAL) {
			/* The frames beyond lie on another stack, maybe: not worth remembering. */
			walker->n_last = 0;
			regs = (struct tr_regs){
				.rip = fresh[0].pc, .rsp = fresh[0].rsp, .rbp = fresh[0].rbp};
			end = walk_apart(walker, regs, max_depth, child, node);
			goto out;
		}
		if (done == STEP_END_SLOT)
			end_slot = slot;
		end = done == STEP_UNSUPPORTED ? TR_WALK_UNSUPPORTED
		      : done == STEP_UNKNOWN   ? TR_WALK_UNKNOWN
					       : TR_WALK_COMPLETE;
		break;
	}

	/* A stack that is cut is the innermost frames only: its outer end depends on its leaf, so
	 * that a deeper or shallower leaf could not take it over. The same when kept frames make it
	 * too deep. */
	if (end == TR_WALK_UNSUPPORTED) {
		walker->n_last = 0;
		goto out;
	}
	if (end == TR_WALK_CUT || n_kept + n_fresh > max_depth) {
		regs = (struct tr_regs){
			.rip = n_fresh ? fresh[0].pc : walker->last[n_kept - 1].pc,
			.rsp = n_fresh ? fresh[0].rsp : walker->last[n_kept - 1].rsp,
			.rbp = n_fresh ? fresh[0].rbp : walker->last[n_kept - 1].rbp};
		walker->n_last = 0;
		end = walk_apart(walker, regs, max_depth, child, node);
		goto out;
	}

	*node = n_kept ? walker->last[n_kept - 1].node : 0;
	while (n_fresh) {
		struct tr_frame *frame = &walker->last[n_kept];

		*frame = fresh[--n_fresh];
		*node = frame->node = child(*node, frame->pc);
		if (!*node)
			break;
		n_kept++;
	}
	walker->n_last = *node ? n_kept : 0;
	walker->end_slot = end_slot;
	walker->last_end = end;
out:
	atomic_signal_fence(memory_order_seq_cst);
	walker->busy = 0;
	return end;
}

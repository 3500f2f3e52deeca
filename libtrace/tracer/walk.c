/* SPDX-License-Identifier: MIT */
/* The stack walk: see tr_walk.h. */
#include "tr_walk.h"

#include <string.h>

#include "tr_maps.h"
#include "tr_retired.h"
#include "tr_rules.h"
#include "tr_sys.h"

#define INLINE static inline __attribute__((always_inline))

/* ---- where a stack ends --------------------------------------------------------------------- */

extern void *__libc_stack_end; /* the loader's: where the main thread's stack began */

/* The kernel leaves more than that free below the main thread's stack, which grows. */
enum { MAIN_STACK_MAX = 64 << 20, OTHER_STACK_MAX = 8 << 20 };

/* The limit of a stack whose end is not known: the kernel is asked page by page. */
enum { NO_LIMIT = 0 };

/*
 * No frame of the stack that `rsp` lies on reaches above the limit. glibc keeps a thread's control
 * block at the top of its stack, and the loader knows where the main thread's begins. Any other
 * stack (a coroutine's, a signal's) may end with its page: frames on it are taken the careful way,
 * and a generous size is assumed.
 */
INLINE uintptr_t stack_limit(const struct tr_walker *walker, uintptr_t rsp)
{
	uintptr_t start = (uintptr_t)__libc_stack_end;

	if (rsp < start && start - rsp < MAIN_STACK_MAX)
		return start;
	if (walker && rsp - walker->own_low < walker->own_size)
		return walker->own_low + walker->own_size;
	return NO_LIMIT;
}

/* ---- one step ------------------------------------------------------------------------------- */

/* Slots are read before it is known whether they hold anything: on the stack, and maybe between two
 * variables of another frame. */
#ifdef __SANITIZE_ADDRESS__
__attribute__((no_sanitize_address, noinline)) static uintptr_t load(uintptr_t address)
#else
INLINE uintptr_t load(uintptr_t address)
#endif
{
	return *(const volatile uintptr_t *)address;
}

/* [address, address + 8) lies on the stack from `low` on, up to `high`. */
static bool on_stack(uintptr_t address, uintptr_t low, uintptr_t high)
{
	if (address < low || (address & 7))
		return false;
	if (high != NO_LIMIT)
		return address + 8 <= high;
	/* What lies directly below is on the stack, and so is its page. */
	return address - low < OTHER_STACK_MAX &&
	       ((address ^ (low - 1)) < 4096 || tr_is_readable(address));
}

enum step {
	STEP_ON,       /* regs are the caller's */
	STEP_SIGNAL,   /* regs are the interrupted function's */
	STEP_END,      /* there is no caller */
	STEP_END_SLOT, /* the return address is 0: `slot` is where */
	STEP_UNKNOWN,  /* no information about this code */
	STEP_UNSUPPORTED,
};

struct stepped {
	struct tr_regs regs;
	enum step how;
	uintptr_t slot, deref; /* as in struct tr_frame */
	bool by_rbp;
	uint64_t term; /* of the frame that was left */
};

/* Offsets in the kernel's ucontext on x86-64 (arch/x86/include/uapi/asm/sigcontext.h). */
enum { UC_RBP = 120, UC_RSP = 160, UC_RIP = 168 };

/* By any rule, with every address checked. */
static __attribute__((noinline)) struct stepped step_rare(struct tr_regs regs, uintptr_t high,
							  tr_rule rule)
{
	struct stepped to = {.regs = regs,
			     .term = tr_hash_term(regs.rip, (uint32_t)tr_rule_stamp(rule)),
			     .how = STEP_UNSUPPORTED};
	uintptr_t low = regs.rsp, cfa;

	switch (tr_rule_kind(rule)) {
	case TR_RULE_CFA_RSP:
		cfa = regs.rsp + (uintptr_t)tr_rule_cfa(rule);
		break;
	case TR_RULE_CFA_RBP:
		cfa = regs.rbp + (uintptr_t)tr_rule_cfa(rule);
		to.by_rbp = true;
		break;
	case TR_RULE_CFA_DEREF:
		to.deref = regs.rbp + (uintptr_t)tr_rule_cfa(rule);
		to.by_rbp = true;
		if (!on_stack(to.deref, low, high))
			return to;
		cfa = load(to.deref);
		break;
	case TR_RULE_CFA_PLT:
		cfa = regs.rsp + 8 + ((regs.rip & 15) >= 11 ? 8 : 0);
		break;
	case TR_RULE_SIGNAL:
		if (!on_stack(regs.rsp + UC_RBP, low, high) ||
		    !on_stack(regs.rsp + UC_RIP, low, high))
			return to;
		to.regs = (struct tr_regs){.rip = load(low + UC_RIP),
					   .rsp = load(low + UC_RSP),
					   .rbp = load(low + UC_RBP)};
		to.how = to.regs.rip ? STEP_SIGNAL : STEP_END;
		return to;
	case TR_RULE_END:
		to.how = STEP_END;
		return to;
	case TR_RULE_NONE:
		to.how = STEP_UNKNOWN;
		return to;
	default:
		return to;
	}

	/* A caller's frame lies above; anything else is a stack that the rule does not describe. */
	if (cfa <= regs.rsp || !on_stack(cfa - 8, low, high))
		return to;

	uintptr_t rip = load(cfa - 8);

	if (!rip) {
		to.slot = cfa - 8;
		to.how = STEP_END_SLOT;
		return to;
	}
	if (tr_rule_rbp_kind(rule) != TR_RBP_SAME) {
		bool at_cfa = tr_rule_rbp_kind(rule) == TR_RBP_AT_CFA;
		uintptr_t at = (at_cfa ? cfa : regs.rbp) + (uintptr_t)tr_rule_rbp(rule);

		to.by_rbp |= !at_cfa;

		if (!on_stack(at, low, high))
			return to;
		to.slot = at;
		to.regs.rbp = load(at);
	}
	to.regs.rip = rip;
	to.regs.rsp = cfa;
	to.how = STEP_ON;
	return to;
}

/*
 * From the frame in `regs` to its caller. `exact`: rip is where the function was interrupted, not a
 * return address (which may be the first byte of the next function, so that its rule is looked up
 * one byte earlier). The chain from one stack pointer to the next is what a walk waits for: no more
 * is done here than has to be, and nothing branches on what differs from frame to frame but the
 * register that the CFA is counted from. (rsp is a multiple of 8 at every call.)
 */
INLINE struct stepped step(struct tr_regs regs, bool exact, uintptr_t high, struct tr_rules rules)
{
	tr_rule rule = tr_rule_find(rules, regs.rip - !exact);
	uintptr_t cfa, slot;
	bool by_rbp = false;

	if (tr_likely(tr_rule_is(rule, TR_RULE_CFA_RSP))) {
		cfa = regs.rsp + (uintptr_t)tr_rule_cfa(rule);
		slot = cfa + (uintptr_t)tr_rule_rbp(rule);
	} else if (tr_likely(tr_rule_is(rule, TR_RULE_CFA_RBP))) {
		cfa = regs.rbp + (uintptr_t)tr_rule_cfa(rule);
		slot = cfa + (uintptr_t)tr_rule_rbp(rule);
		by_rbp = true;
		if (tr_unlikely(cfa <= regs.rsp || slot < regs.rsp || (cfa & 7)))
			return step_rare(regs, high, rule);
	} else {
		return step_rare(regs, high, rule);
	}
	if (tr_unlikely(cfa > high))
		return step_rare(regs, high, rule);

	uintptr_t rip = load(cfa - 8), saved = load(slot);

	if (tr_unlikely(!rip))
		return step_rare(regs, high, rule);

	uintptr_t is_saved = -(uintptr_t)(rule >> 4 & 1); /* TR_RBP_AT_CFA and not TR_RBP_SAME */

	return (struct stepped){
		.regs = {.rip = rip, .rsp = cfa, .rbp = regs.rbp ^ ((regs.rbp ^ saved) & is_saved)},
		.how = STEP_ON,
		.slot = slot & is_saved,
		.by_rbp = by_rbp,
		.term = tr_hash_term(regs.rip, (uint32_t)tr_rule_stamp(rule)),
	};
}

static enum tr_walk_end end_of(enum step how)
{
	return how == STEP_UNSUPPORTED ? TR_WALK_UNSUPPORTED
	       : how == STEP_UNKNOWN   ? TR_WALK_UNKNOWN
				       : TR_WALK_COMPLETE;
}

/* ---- walks that remember nothing ------------------------------------------------------------ */

static enum tr_walk_end walk_plain(const struct tr_walker *walker, struct tr_regs regs,
				   uintptr_t *pcs, size_t max, size_t *n)
{
	struct tr_rules rules = tr_rules();
	uintptr_t high = stack_limit(walker, regs.rsp);
	bool exact = false;

	for (*n = 0; *n < max;) {
		pcs[(*n)++] = regs.rip;

		struct stepped to = step(regs, exact, high, rules);

		if (to.how != STEP_ON && to.how != STEP_SIGNAL)
			return end_of(to.how);
		regs = to.regs;
		exact = to.how == STEP_SIGNAL;
		if (exact)
			high = stack_limit(walker, regs.rsp);
	}
	return TR_WALK_CUT;
}

enum tr_walk_end tr_walk_plain(struct tr_regs regs, uintptr_t *pcs, size_t max, size_t *n)
{
	return walk_plain(NULL, regs, pcs, max, n);
}

/* A whole stack of which nothing is remembered, nor will be. */
static __attribute__((noinline)) enum tr_walk_end walk_whole(struct tr_walker *walker,
							     struct tr_regs regs, size_t max_depth,
							     struct tr_walked *walked)
{
	size_t n;
	enum tr_walk_end end = walk_plain(walker, regs, walker->pcs, max_depth, &n);
	uint64_t hash = TR_HASH_EMPTY;

	for (size_t i = n; i-- > 0;)
		hash = tr_hash_push(hash,
				    tr_hash_term(walker->pcs[i], tr_retired_stamp(walker->pcs[i])));
	*walked = (struct tr_walked){.hash = hash, .pcs = walker->pcs, .n_pcs = (uint32_t)n};
	return end;
}

size_t tr_walked_pcs(const struct tr_walked *walked, uintptr_t *pcs)
{
	size_t n = 0;

	for (uint32_t i = 0; i < walked->n_pcs && n < TR_WALK_MAX; i++)
		pcs[n++] = walked->pcs[i];
	for (uint32_t i = walked->n_frames; i > 0 && n < TR_WALK_MAX; i--)
		pcs[n++] = walked->frames[i - 1].pc;
	return n;
}

/* ---- walks that remember -------------------------------------------------------------------- */

/*
 * What a walk costs, in about a nanosecond: a frame by its rule, one that is taken over, one that
 * is written down, and one of the last walk that turns out to be another.
 */
enum { COST_WALK = 5, COST_VERIFY = 1, COST_WRITE = 4, COST_MISS = 6, COST_TOGETHER = 10 };

/* In a first phase all walks are remembered, in a second one only what stacks share, and what was
 * cheaper is kept to for the others; but what they share may become less, so that it is not. */
enum { WALKS_OF_PHASE = 64, N_PHASES = 64 };

INLINE bool is_frame(const struct tr_frame *frame, struct tr_regs regs)
{
	return frame->rsp == regs.rsp && frame->pc == regs.rip &&
	       (!frame->needs_rbp || frame->rbp == regs.rbp);
}

/* Is all that the walk from frame `from` outwards rests on still the same? */
INLINE bool verify_all(const struct tr_walker *walker, uint32_t from)
{
	const struct tr_check_word *checks = walker->checks;
	uintptr_t changed = 0;

	for (uint32_t i = walker->last[from].n_checks; i > 0; i--)
		changed |= load(checks[i - 1].at) ^ checks[i - 1].value;
	return !changed;
}

/* The lowest index up to which, from `from` on, nothing has changed. */
static uint32_t verify_some(const struct tr_walker *walker, uint32_t from)
{
	for (; from > 0; from--) {
		uint32_t end = walker->last[from].n_checks;

		for (uint32_t i = walker->last[from - 1].n_checks; i < end; i++)
			if (load(walker->checks[i].at) != walker->checks[i].value)
				return from;
	}
	return 0;
}

/*
 * Write down the frames `fresh`, innermost first, within the `n_kept` that stay. Outermost first:
 * whether a frame's rbp matters is known when its callers are. `end_slot`: the word that ended the
 * walk by being 0, or 0.
 */
INLINE uint64_t remember(struct tr_walker *walker, uint32_t n_kept, uint32_t n_fresh,
			 uintptr_t end_slot)
{
	struct tr_frame *frame = walker->last + n_kept;
	const struct tr_frame *from = walker->fresh + n_fresh;
	struct tr_check_word *check = walker->checks;
	uintptr_t pc = 0, cfa = end_slot + 8, rbp = 0;
	uint64_t hash = TR_HASH_EMPTY;
	bool needs_rbp = false, has_caller = end_slot != 0;

	if (n_kept) {
		check += frame[-1].n_checks;
		pc = frame[-1].pc;
		cfa = frame[-1].rsp;
		rbp = frame[-1].rbp;
		hash = frame[-1].hash;
		needs_rbp = frame[-1].needs_rbp;
		has_caller = true;
	}
	for (; from > walker->fresh; frame++) {
		from--;
		if (tr_likely(has_caller))
			*check++ = (struct tr_check_word){cfa - 8, pc};
		if (needs_rbp && from->slot)
			*check++ = (struct tr_check_word){from->slot, rbp};
		if (tr_unlikely(from->deref && has_caller))
			*check++ = (struct tr_check_word){from->deref, cfa};
		needs_rbp = from->by_rbp || (needs_rbp && !from->slot);
		has_caller = true;
		pc = from->pc;
		cfa = from->rsp;
		rbp = from->rbp;
		hash = tr_hash_push(hash, from->hash);
		*frame = (struct tr_frame){.pc = pc,
					   .rsp = cfa,
					   .rbp = rbp,
					   .hash = hash,
					   .slot = from->slot,
					   .deref = from->deref,
					   .n_checks = (uint32_t)(check - walker->checks),
					   .by_rbp = from->by_rbp,
					   .needs_rbp = needs_rbp};
	}
	walker->n_last = (uint32_t)(frame - walker->last);
	return hash;
}

static __attribute__((noinline)) void next_phase(struct tr_walker *walker)
{
	if (walker->n_phases == 0) {
		walker->cost_together = walker->cost;
		walker->apart = true;
	} else if (walker->n_phases == N_PHASES || walker->cost >= walker->cost_together) {
		walker->apart = false;
	}
	walker->n_phases = walker->n_phases == N_PHASES ? 0 : walker->n_phases + 1;
	walker->cost = walker->n_walks = 0;
}

/* The outermost frames of an earlier walk are taken over, if they are there, all others are walked
 * and not written down. What turns out not to be shared is forgotten, so that soon only what is
 * remains. */
static __attribute__((noinline)) enum tr_walk_end walk_apart(struct tr_walker *walker,
							     struct tr_regs regs, size_t max_depth,
							     struct tr_rules rules,
							     struct tr_walked *walked)
{
	const struct tr_regs leaf = regs;
	const uintptr_t high = stack_limit(walker, regs.rsp);
	uint64_t hash = 0, power = 1, callers = TR_HASH_EMPTY;
	uintptr_t *at = walker->pcs, *limit = at + max_depth;
	/* No frame of this stack is looked for above the next one that may be shared. */
	uint32_t n = walker->n_last;
	uintptr_t stop = n ? walker->last[n - 1].rsp : high;
	enum tr_walk_end end = TR_WALK_COMPLETE;

	if (tr_unlikely(stop > high)) { /* that was another stack, or its limit is not known */
		n = 0;
		stop = high;
	}
	for (;;) {
		if (tr_unlikely(regs.rsp >= stop)) {
			if (n && is_frame(&walker->last[n - 1], regs)) {
				if (tr_likely(verify_all(walker, n - 1))) {
					callers = walker->last[n - 1].hash;
					end = walker->last_end;
					break;
				}
				walker->n_last = n = verify_some(walker, n - 1);
			} else {
				while (n && walker->last[n - 1].rsp <= regs.rsp)
					n--;
				walker->n_last = n;
			}
			stop = n ? walker->last[n - 1].rsp : high;
		}
		if (tr_unlikely(at == limit))
			return walk_whole(walker, leaf, max_depth, walked);
		*at++ = regs.rip;

		struct stepped to = step(regs, false, stop, rules);

		if (tr_unlikely(to.how != STEP_ON)) {
			/* A frame that reaches past the bound: the next one above may be shared. */
			while (to.how == STEP_UNSUPPORTED && stop != high) {
				walker->n_last = --n;
				stop = n ? walker->last[n - 1].rsp : high;
				to = step_rare(regs, stop, tr_rule_find(rules, regs.rip - 1));
			}
			if (to.how == STEP_SIGNAL)
				return walk_whole(walker, leaf, max_depth, walked);
		}
		hash += power * to.term;
		power *= TR_HASH_FACTOR;
		if (tr_unlikely(to.how != STEP_ON)) {
			n = 0;
			end = end_of(to.how);
			break;
		}
		regs = to.regs;
	}

	uint32_t n_pcs = (uint32_t)(at - walker->pcs);

	if (tr_unlikely(n_pcs + n > max_depth))
		return walk_whole(walker, leaf, max_depth, walked);
	walker->cost += n_pcs * COST_WALK + n * COST_VERIFY;
	*walked = (struct tr_walked){.hash = hash + power * callers,
				     .pcs = walker->pcs,
				     .n_pcs = n_pcs,
				     .frames = walker->last,
				     .n_frames = n};
	return end;
}

/* The last walk is looked through for a frame that this one has too, and this one remembered. */
static __attribute__((noinline)) enum tr_walk_end walk_together(struct tr_walker *walker,
								struct tr_regs regs,
								size_t max_depth,
								struct tr_rules rules,
								struct tr_walked *walked)
{
	struct tr_frame *fresh = walker->fresh, *last = walker->last;
	const struct tr_regs leaf = regs;
	uint32_t n_fresh = 0, n_kept = 0, search = walker->n_last, n_missed = 0;
	uintptr_t high = stack_limit(walker, regs.rsp), end_slot = 0;
	uintptr_t stop = search ? last[search - 1].rsp : UINTPTR_MAX;
	enum tr_walk_end end = TR_WALK_CUT;

	while (n_fresh < max_depth) {
		if (regs.rsp >= stop) {
			while (search && last[search - 1].rsp < regs.rsp)
				search--;
			n_missed++;
			if (search && is_frame(&last[search - 1], regs)) {
				if (tr_likely(verify_all(walker, search - 1))) {
					n_kept = search;
					end = walker->last_end;
					break;
				}
				/* Take over what is certain, and go on by rules from there: with
				 * the rbp of now, which may matter now. */
				for (uint32_t certain = verify_some(walker, search - 1);
				     search - 1 > certain && n_fresh < max_depth - 1;) {
					struct tr_frame *to = &fresh[n_fresh++];

					*to = last[--search];
					to->hash -= tr_hash_push(last[search - 1].hash, 0);
					to->rbp = regs.rbp;
					if (to->slot)
						regs.rbp = load(to->slot);
				}
				regs.rip = last[search - 1].pc;
				regs.rsp = last[search - 1].rsp;
				search = 0;
			}
			/* One that begins here and is another is not met again. */
			if (search && last[search - 1].rsp == regs.rsp)
				search--;
			stop = search ? last[search - 1].rsp : UINTPTR_MAX;
		}

		struct tr_frame *frame = &fresh[n_fresh++];
		struct stepped to = step(regs, false, high, rules);

		*frame = (struct tr_frame){.pc = regs.rip,
					   .rsp = regs.rsp,
					   .rbp = regs.rbp,
					   .hash = to.term,
					   .slot = to.slot,
					   .deref = to.deref,
					   .by_rbp = to.by_rbp};
		regs = to.regs;
		if (tr_unlikely(to.how != STEP_ON)) {
			/* The frames beyond a signal's lie on another stack, maybe: not worth
			 * remembering. */
			if (to.how == STEP_SIGNAL)
				return walk_whole(walker, leaf, max_depth, walked);
			if (to.how == STEP_END_SLOT)
				end_slot = to.slot;
			end = end_of(to.how);
			break;
		}
	}

	/* A stack that is cut is the innermost frames only: its outer end depends on its leaf, so
	 * that a deeper or shallower leaf could not take it over. The same when kept frames make it
	 * too deep; and what can't be followed is not to be built upon. */
	if (tr_unlikely(end == TR_WALK_UNSUPPORTED || end == TR_WALK_CUT ||
			n_kept + n_fresh > max_depth))
		return walk_whole(walker, leaf, max_depth, walked);

	walker->cost += COST_TOGETHER + n_missed * COST_MISS + n_fresh * (COST_WALK + COST_WRITE) +
			n_kept * COST_VERIFY;

	uint64_t hash = remember(walker, n_kept, n_fresh, end_slot);

	walker->last_end = end;
	*walked = (struct tr_walked){.hash = hash,
				     .frames = last,
				     .n_frames = walker->n_last,
				     .lasting = high != NO_LIMIT && end == TR_WALK_COMPLETE};
	return end;
}

/* ---- the memo ------------------------------------------------------------------------------- */

/* It is asked on as long as it knows three of eight; else it is tried again later. */
enum { ASKED_AT_A_TIME = 256, RECALLED_LEAST = 96, UNASKED_AT_A_TIME = 16384 };

INLINE struct tr_memo_slot *memo_slot(struct tr_memo *memo, struct tr_regs regs)
{
	uint64_t hash = (regs.rip ^ regs.rsp << 20) * UINT64_C(0x9e3779b97f4a7c15);

	return &memo->slots[hash >> (64 - TR_MEMO_BITS)];
}

/* Is it time to change? Also for a memo that is not asked. */
static __attribute__((noinline)) void change_memo(struct tr_walker *walker)
{
	if (walker->recalls)
		walker->recalls = walker->n_recalled >= RECALLED_LEAST;
	else
		walker->recalls = walker->memo != NULL;
	walker->n_asked = walker->n_recalled = walker->n_unasked = 0;
}

uint32_t tr_walk_recall(struct tr_walker *walker, struct tr_regs regs)
{
	struct tr_memo *memo = walker->memo;
	const struct tr_memo_slot *slot;

	if (!walker->recalls) {
		if (tr_unlikely(++walker->n_unasked >= UNASKED_AT_A_TIME))
			change_memo(walker);
		return 0;
	}
	if (tr_unlikely(walker->n_asked++ == ASKED_AT_A_TIME))
		change_memo(walker);
	slot = memo_slot(memo, regs);
	if (slot->rip != regs.rip || slot->rsp != regs.rsp ||
	    (slot->needs_rbp && slot->rbp != regs.rbp) ||
	    memo->n_words - slot->first > TR_MEMO_WORDS ||
	    tr_unlikely(walker->generation !=
			atomic_load_explicit(&tr_rule_generation, memory_order_acquire) << 48))
		return 0;

	const uint64_t *values = memo->values + slot->first % TR_MEMO_WORDS;
	const uint16_t *distances = memo->distances + slot->first % TR_MEMO_WORDS;
	uintptr_t changed = 0;

#pragma GCC unroll 4
	for (uint32_t i = 0; i < slot->n_words; i++)
		changed |= load(regs.rsp + (uintptr_t)distances[i] * 8) ^ values[i];
	if (changed)
		return 0;
	walker->n_recalled++;
	return slot->id;
}

void tr_walk_memorize(struct tr_walker *walker, struct tr_regs regs, const struct tr_walked *walked,
		      uint32_t id)
{
	struct tr_memo *memo = walker->memo;
	const struct tr_frame *leaf = walked->frames + walked->n_frames - 1;
	uint32_t n = leaf->n_checks;

	if (!walker->recalls || !walked->lasting || n > TR_MEMO_WORDS / 8)
		return;

	uint64_t first = memo->n_words;
	uint32_t at = first % TR_MEMO_WORDS;

	if (at + n > TR_MEMO_WORDS) {
		first += TR_MEMO_WORDS - at;
		at = 0;
	}
	/* First, so that who had these words has lost them even if we are left half way. */
	memo->n_words = first + n;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t distance = (walker->checks[i].at - regs.rsp) / 8;

		if (distance > UINT16_MAX)
			return;
		memo->distances[at + i] = (uint16_t)distance;
		memo->values[at + i] = walker->checks[i].value;
	}
	*memo_slot(memo, regs) = (struct tr_memo_slot){.rip = regs.rip,
						       .rsp = regs.rsp,
						       .rbp = regs.rbp,
						       .first = first,
						       .id = id,
						       .n_words = (uint16_t)n,
						       .needs_rbp = leaf->needs_rbp};
}

/* The words of its slots have left the log. */
static void clear_memo(struct tr_walker *walker)
{
	if (walker->memo)
		walker->memo->n_words += TR_MEMO_WORDS + 1;
}

void tr_walk_reset(struct tr_walker *walker, struct tr_memo *memo)
{
	memset(walker, 0, offsetof(struct tr_walker, last));
	walker->memo = memo;
	clear_memo(walker);
}

/* ---- any walk ------------------------------------------------------------------------------- */

enum tr_walk_end tr_walk(struct tr_walker *walker, struct tr_regs regs, size_t max_depth,
			 struct tr_walked *walked)
{
	struct tr_rules rules = tr_rules();

	if (tr_unlikely(max_depth > TR_WALK_MAX))
		max_depth = TR_WALK_MAX;
	if (tr_unlikely(walker->generation != rules.generation)) {
		walker->n_last = 0;
		walker->generation = rules.generation;
		clear_memo(walker);
	}
	if (walker->recalls) {
		/* No part of the phases, whose costs are compared. */
		uint32_t cost = walker->cost;
		enum tr_walk_end end = walk_together(walker, regs, max_depth, rules, walked);

		walker->cost = cost;
		return end;
	}
	if (tr_unlikely(walker->n_walks++ == WALKS_OF_PHASE))
		next_phase(walker);
	return walker->apart ? walk_apart(walker, regs, max_depth, rules, walked)
			     : walk_together(walker, regs, max_depth, rules, walked);
}

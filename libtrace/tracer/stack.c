/* SPDX-License-Identifier: MIT */
/* Stacks as ids: see tr_stack.h. */
#include "tr_stack.h"

#include "tr_governor.h"
#include "tr_hash.h"
#include "tr_index.h"
#include "tr_module.h"
#include "tr_record.h"
#include "tr_retired.h"
#include "tr_unwind.h"
#ifdef __x86_64__
#include "tr_check.h"
#endif

static inline unsigned max_depth(struct tr_lane *lane)
{
	return tr_unlikely(tr_governed) ? tr_governor_depth(lane) : tr_settings.depth;
}

static uint32_t new_node(uint32_t parent, uintptr_t pc, uint32_t depth)
{
	struct ft_segment_header *segment = tr_session.header;
	uint64_t limit = atomic_load_explicit(&tr_session.node_limit, memory_order_relaxed);

	/* Look before taking: the counter must not run away once the trie is full. */
	if (atomic_load_explicit(&segment->n_nodes, memory_order_relaxed) + UINT64_C(1) >= limit)
		return 0;

	uint32_t id = atomic_fetch_add_explicit(&segment->n_nodes, 1, memory_order_relaxed) + 1;

	if (id >= limit)
		return 0;
	tr_session.nodes[id] = (struct ft_segment_node){.pc = pc, .parent = parent, .depth = depth};
	if (id % 4096 == 1)
		tr_session_account();
	return id;
}

/* The tree is full: the `n` innermost frames, which `node` calls, travel in the ring, for the event
 * that comes next. 0: the ring is full, too. */
static uint32_t send_raw(struct tr_lane *lane, uint32_t node, const uintptr_t *pcs, size_t n)
{
	enum { HEAD = 2, MOST = FT_WIRE_MAX_WORDS - HEAD };
	enum ft_wire_stack from = FT_WIRE_STACK_NODE;

	for (size_t i = n; i-- > 0;)
		tr_module_meet(lane, pcs[i], tr_self.stamp);
	while (n) {
		unsigned taken = n < MOST ? (unsigned)n : MOST;
		uint64_t *w = tr_reserve(lane, HEAD + taken, tr_self.stamp);

		if (!w) {
			atomic_fetch_add_explicit(&tr_session.header->n_no_node, 1,
						  memory_order_relaxed);
			return 0;
		}
		w[0] = ft_wire_head(FT_WIRE_STACK, from, 0, HEAD + taken, node);
		w[1] = tr_self.stamp;
		for (unsigned i = 0; i < taken; i++)
			w[HEAD + i] = pcs[--n];
		tr_publish(lane, HEAD + taken, tr_self.stamp);
		from = FT_WIRE_STACK_MORE;
	}
	return FT_WIRE_RAW_STACK;
}

/* The node of a stack of which the leaf, at least, is new: the innermost ancestor that is known is
 * looked for, and the rest made. `leaf` is the whole stack's finished hash. */
static __attribute__((noinline)) uint32_t make_nodes(struct tr_lane *lane, uint64_t leaf,
						     const uintptr_t *pcs, size_t n)
{
	enum { FETCHED = 8 };
	uint64_t hash = TR_HASH_EMPTY, *hashes = lane->hashes;
	uint32_t id = 0;
	size_t known;

	for (size_t i = n; i-- > 0;) {
		hash = tr_hash_push(hash, tr_hash_term(pcs[i], tr_retired_stamp(pcs[i])));
		hashes[i] = tr_hash_finish(hash);
		if (i <= FETCHED)
			tr_index_prefetch(hashes[i]);
	}
	/* A library may have gone since the walk: the stack is found again as it was looked for. */
	hashes[0] = leaf;

	for (known = 1; known < n; known++) {
		id = tr_index_find(hashes[known]);
		if (id)
			break;
	}
	for (size_t i = known; i-- > 0;) {
		uint32_t caller = id;

		tr_module_meet(lane, pcs[i], tr_self.stamp);
		id = new_node(caller, pcs[i], (uint32_t)(n - i));
		if (!id)
			return send_raw(lane, caller, pcs, i + 1);
		tr_index_insert(hashes[i], id);
	}
	return id;
}

/* The node of a stack of n > 0 frames, innermost first. */
static uint32_t intern(struct tr_lane *lane, const uintptr_t *pcs, size_t n)
{
	uint64_t hash = TR_HASH_EMPTY;

	for (size_t i = n; i-- > 0;)
		hash = tr_hash_push(hash, tr_hash_term(pcs[i], tr_retired_stamp(pcs[i])));
	hash = tr_hash_finish(hash);

	uint32_t id = tr_index_find(hash);

	return id ? id : make_nodes(lane, hash, pcs, n);
}

#ifdef __x86_64__

static inline uint32_t intern_walked(struct tr_lane *lane, const struct tr_walked *walked)
{
	uint64_t hash = tr_hash_finish(walked->hash);
	uint32_t id = tr_index_find(hash);

	if (tr_likely(id))
		return id;
	return make_nodes(lane, hash, lane->pcs, tr_walked_pcs(walked, lane->pcs));
}

/* By the memo, or a walk. *end: how the walk ended. */
static inline uint32_t stack_by_rules(struct tr_lane *lane, struct tr_regs regs,
				      enum tr_walk_end *end)
{
	unsigned depth = max_depth(lane);
	uint32_t id = tr_walk_recall(&lane->walker, regs);
	struct tr_walked walked;

	if (id)
		return id;
	*end = tr_walk(&lane->walker, regs, depth, &walked);
	if (tr_unlikely(*end == TR_WALK_UNSUPPORTED && tr_settings.unwind == FT_UNWIND_DWARF))
		return intern(lane, &regs.rip, 1);
	id = intern_walked(lane, &walked);
	if (walked.lasting && tr_likely(id && id != FT_WIRE_RAW_STACK))
		tr_walk_memorize(&lane->walker, regs, &walked, id);
	return id;
}

/* By what FRAGTRACE_UNWIND says instead of the rules, or compared with libunwind, unless that is
 * not to be asked. */
static __attribute__((noinline)) uint32_t stack_otherwise(struct tr_lane *lane, struct tr_regs regs,
							  uint64_t stamp, bool ask_libunwind)
{
	bool wants_libunwind = ask_libunwind && (tr_settings.self_check ||
						 tr_settings.unwind == FT_UNWIND_LIBUNWIND);
	bool has_libunwind = wants_libunwind && tr_unwind_ready(regs.rip);
	enum ft_unwind how = tr_settings.unwind;
	enum tr_walk_end end = TR_WALK_COMPLETE;
	uint32_t node = 0;
	size_t n = 0;

	if (how == FT_UNWIND_LIBUNWIND && !has_libunwind)
		how = FT_UNWIND_AUTO;
	switch (how) {
	case FT_UNWIND_AUTO:
	case FT_UNWIND_DWARF:
		node = stack_by_rules(lane, regs, &end);
		break;
	case FT_UNWIND_FP:
		n = tr_fp_walk(&lane->own_stack, regs, lane->pcs, max_depth(lane));
		node = intern(lane, lane->pcs, n);
		break;
	case FT_UNWIND_LIBUNWIND:
		n = tr_unwind(regs.rip, lane->pcs, TR_MAX_DEPTH);
		if (!n)
			lane->pcs[n++] = regs.rip;
		node = intern(lane, lane->pcs, n < max_depth(lane) ? n : max_depth(lane));
		break;
	default:
		node = intern(lane, &regs.rip, 1);
	}
	if (tr_settings.self_check && has_libunwind && how <= FT_UNWIND_FP)
		tr_check_stack(lane, regs, node, end, stamp);
	return node;
}

static inline __attribute__((always_inline)) uint32_t stack_of(struct tr_lane *lane,
							       const void *frame, uint64_t stamp,
							       bool ask_libunwind)
{
	/* A hook keeps a frame pointer: its caller's registers are in its frame and above it. */
	const uintptr_t *saved = frame;
	struct tr_regs regs = {.rip = saved[1], .rsp = (uintptr_t)(saved + 2), .rbp = saved[0]};
	enum tr_walk_end end;

	tr_self.stamp = stamp;
	if (tr_unlikely(!tr_settings.usual_stacks))
		return stack_otherwise(lane, regs, stamp, ask_libunwind);

	uint32_t node = stack_by_rules(lane, regs, &end);

	/* A library that came back has the stacks that it had, and is a module all the same. */
	if (tr_unlikely(atomic_load_explicit(&tr_modules_unsent, memory_order_relaxed) != 0))
		tr_modules_emit(lane, stamp);
	return node;
}

#else

static inline uint32_t stack_of(struct tr_lane *lane, const void *frame, uint64_t stamp,
				bool ask_libunwind)
{
	uintptr_t caller = ((const uintptr_t *)frame)[1];
	size_t n = 0;

	tr_self.stamp = stamp;
	if (ask_libunwind && tr_settings.unwind != FT_UNWIND_NONE)
		n = tr_unwind(caller, lane->pcs, TR_MAX_DEPTH);
	if (!n)
		lane->pcs[n++] = caller;
	return intern(lane, lane->pcs, n < max_depth(lane) ? n : max_depth(lane));
}

#endif

uint32_t tr_stack(struct tr_lane *lane, const void *frame, uint64_t stamp)
{
	return stack_of(lane, frame, stamp, true);
}

uint32_t tr_stack_inside(struct tr_lane *lane, const void *frame, uint64_t stamp)
{
	return stack_of(lane, frame, stamp, false);
}

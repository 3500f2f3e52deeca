/* SPDX-License-Identifier: MIT */
/* Stacks as ids: see tr_stack.h. */
#include "tr_stack.h"

#include <sys/mman.h>

#include "tr_module.h"
#include "tr_unwind.h"
#ifdef __x86_64__
#include "tr_check.h"
#endif

enum {
	FIRST_BITS = 12,
	LAST_BITS = 25,
	N_LEVELS = LAST_BITS - FIRST_BITS + 1,
	ID_BITS = 24,
	MAX_PROBES = 64,
	N_RETIRED = 32,
};
_Static_assert(FT_SEGMENT_MAX_NODES <= 1 << ID_BITS, "an id must fit in a slot");

/* A slot: the upper 40 bits of the path's hash, then the node id; 0 is empty. */
static _Atomic uint64_t *index_base;
static size_t index_bytes;
static unsigned n_levels;
static _Atomic uint32_t top;		  /* the level that new entries go to */
static _Atomic uint32_t n_used[N_LEVELS]; /* entries of each level */

/* Unloaded code whose addresses may come again. Past N_RETIRED ranges all hashes change. */
static struct {
	_Atomic uintptr_t start, end;
	_Atomic uint32_t salt;
} retired[N_RETIRED];
static _Atomic uint32_t n_retired, n_unloads, everything_salt;

static inline uint64_t level_slots(uint32_t level)
{
	return UINT64_C(1) << (FIRST_BITS + level);
}

static inline _Atomic uint64_t *level_base(uint32_t level)
{
	return index_base + (level_slots(level) - level_slots(0));
}

static unsigned levels_for(uint64_t max_nodes)
{
	unsigned n = 1;

	while (n < N_LEVELS && level_slots(n - 1) < 2 * max_nodes)
		n++;
	return n;
}

size_t tr_stacks_bytes(uint64_t max_nodes)
{
	return (level_slots(levels_for(max_nodes)) - level_slots(0)) * sizeof(*index_base);
}

bool tr_stacks_init(uint64_t max_nodes)
{
	n_levels = levels_for(max_nodes);
	index_bytes = tr_stacks_bytes(max_nodes);
	index_base = tr_reserve_memory(index_bytes);
	return index_base != NULL;
}

void tr_stacks_reset(void)
{
	if (index_base)
		tr_sys(SYS_munmap, index_base, index_bytes);
	index_base = NULL;
	atomic_store(&top, 0);
	for (unsigned i = 0; i < N_LEVELS; i++)
		atomic_store(&n_used[i], 0);
}

size_t tr_stacks_memory(void)
{
	return (level_slots(atomic_load_explicit(&top, memory_order_relaxed) + 1) -
		level_slots(0)) *
	       sizeof(*index_base);
}

static uint32_t find_in(uint32_t level, uint64_t hash)
{
	uint64_t mask = level_slots(level) - 1, tag = hash >> ID_BITS;
	_Atomic uint64_t *base = level_base(level);

	for (unsigned i = 0; i < MAX_PROBES; i++) {
		uint64_t slot =
			atomic_load_explicit(&base[(hash + i) & mask], memory_order_acquire);

		if (slot >> ID_BITS == tag && slot)
			return (uint32_t)(slot & ((1 << ID_BITS) - 1));
		if (!slot)
			return 0;
	}
	return 0;
}

static void insert(uint64_t hash, uint32_t id)
{
	uint32_t level = atomic_load_explicit(&top, memory_order_acquire);
	uint64_t mask = level_slots(level) - 1, want = hash >> ID_BITS << ID_BITS | id;
	_Atomic uint64_t *base = level_base(level);

	for (unsigned i = 0; i < MAX_PROBES; i++) {
		uint64_t empty = 0;

		/* Release pairs with the acquire in find_in(): the node is filled. */
		if (atomic_compare_exchange_strong_explicit(&base[(hash + i) & mask], &empty, want,
							    memory_order_release,
							    memory_order_relaxed))
			break;
	}

	uint32_t n = atomic_fetch_add_explicit(&n_used[level], 1, memory_order_relaxed) + 1;

	if (n > level_slots(level) / 2 && level + 1 < n_levels)
		atomic_compare_exchange_strong_explicit(&top, &level, level + 1,
							memory_order_release, memory_order_relaxed);
	if (n % 4096 == 1)
		tr_session_account();
}

static uint32_t find(uint64_t hash)
{
	uint32_t level = atomic_load_explicit(&top, memory_order_acquire);
	uint32_t id = find_in(level, hash);

	if (tr_likely(id))
		return id;
	for (uint32_t older = level; older-- > 0;) {
		id = find_in(older, hash);
		if (id) {
			insert(hash, id);
			return id;
		}
	}
	return 0;
}

static uint32_t new_node(uint32_t parent, uintptr_t pc, unsigned depth)
{
	struct ft_segment_header *segment = tr_session.header;

	/* Look before taking: the counter must not run away once the trie is full. */
	if (atomic_load_explicit(&segment->n_nodes, memory_order_relaxed) + 1 >= segment->max_nodes)
		return 0;

	uint32_t id = atomic_fetch_add_explicit(&segment->n_nodes, 1, memory_order_relaxed) + 1;

	if (id >= segment->max_nodes)
		return 0;
	tr_session.nodes[id] = (struct ft_segment_node){.pc = pc, .parent = parent, .depth = depth};
	return id;
}

static inline uint64_t mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * UINT64_C(0xff51afd7ed558ccd);
	return hash ^ hash >> 32;
}

static uint64_t salt_of(uintptr_t pc, uint32_t n)
{
	uint64_t salt = atomic_load_explicit(&everything_salt, memory_order_relaxed);

	for (uint32_t i = 0; i < n && i < N_RETIRED; i++) {
		uintptr_t start = atomic_load_explicit(&retired[i].start, memory_order_relaxed);
		uintptr_t end = atomic_load_explicit(&retired[i].end, memory_order_relaxed);

		if (pc - start < end - start)
			salt += atomic_load_explicit(&retired[i].salt, memory_order_relaxed);
	}
	return salt << 48;
}

void tr_stacks_retire(uintptr_t start, uintptr_t end)
{
	uint32_t salt = atomic_fetch_add(&n_unloads, 1) + 1;
	uint32_t n = atomic_load(&n_retired);

	/* The same library again and again takes one entry. */
	for (uint32_t i = 0; i < n && i < N_RETIRED; i++) {
		if (atomic_load(&retired[i].start) == start &&
		    atomic_load(&retired[i].end) == end) {
			atomic_store(&retired[i].salt, salt);
			return;
		}
	}
	n = atomic_fetch_add(&n_retired, 1);
	if (n >= N_RETIRED) {
		atomic_store(&n_retired, N_RETIRED);
		atomic_store(&everything_salt, salt);
		return;
	}
	atomic_store(&retired[n].salt, salt);
	atomic_store(&retired[n].start, start);
	atomic_store(&retired[n].end, end);
}

static uint32_t depth_of(uint32_t node)
{
	return node ? tr_session.nodes[node].depth : 0;
}

uint32_t tr_stack_child(uint32_t parent, uintptr_t pc)
{
	uint32_t n_salts = atomic_load_explicit(&n_retired, memory_order_relaxed);
	uint64_t salt = tr_unlikely(n_salts) ? salt_of(pc, n_salts) : 0;
	/* A slot of 0 is empty: no hash may be 0 in its upper bits. */
	uint64_t hash = mix(mix(parent * UINT64_C(0x9e3779b97f4a7c15), pc), salt) | UINT64_C(1)
											    << 63;
	uint32_t id = find(hash);

	if (tr_likely(id))
		return id;
	tr_module_meet(tr_self.lane, pc, tr_self.stamp);
	id = new_node(parent, pc, depth_of(parent) + 1);
	if (id)
		insert(hash, id);
	else
		atomic_fetch_add_explicit(&tr_session.header->n_no_node, 1, memory_order_relaxed);
	return id;
}

static uint32_t intern(const uintptr_t *pcs, size_t n)
{
	uint32_t id = 0;

	while (n) {
		id = tr_stack_child(id, pcs[--n]);
		if (!id)
			break;
	}
	return id;
}

#ifdef __x86_64__

/* By what FRAGTRACE_UNWIND says instead of the rules, or compared with libunwind. */
static __attribute__((noinline)) uint32_t stack_otherwise(struct tr_lane *lane, struct tr_regs regs,
							  uint64_t stamp)
{
	bool wants_libunwind = tr_settings.self_check || tr_settings.unwind == FT_UNWIND_LIBUNWIND;
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
		end = tr_walk(&lane->walker, regs, tr_settings.depth, tr_stack_child, &node);
		if (end == TR_WALK_UNSUPPORTED && how == FT_UNWIND_AUTO) {
			tr_walk_plain(regs, lane->pcs, tr_settings.depth, &n);
			node = intern(lane->pcs, n);
		} else if (end == TR_WALK_UNSUPPORTED) {
			node = tr_stack_child(0, regs.rip);
		}
		break;
	case FT_UNWIND_FP:
		n = tr_fp_walk(&lane->own_stack, regs, lane->pcs, tr_settings.depth);
		node = intern(lane->pcs, n);
		break;
	case FT_UNWIND_LIBUNWIND:
		n = tr_unwind(regs.rip, lane->pcs, TR_MAX_DEPTH);
		if (!n)
			lane->pcs[n++] = regs.rip;
		node = intern(lane->pcs, n < tr_settings.depth ? n : tr_settings.depth);
		break;
	default:
		node = tr_stack_child(0, regs.rip);
	}
	if (tr_settings.self_check && has_libunwind && how <= FT_UNWIND_FP)
		tr_check_stack(lane, regs, node, end, stamp);
	return node;
}

uint32_t tr_stack(struct tr_lane *lane, const void *frame, uint64_t stamp)
{
	/* A hook keeps a frame pointer: its caller's registers are in its frame and above it. */
	const uintptr_t *saved = frame;
	struct tr_regs regs = {.rip = saved[1], .rsp = (uintptr_t)(saved + 2), .rbp = saved[0]};
	uint32_t node = 0;
	size_t n;

	tr_self.stamp = stamp;
	if (tr_unlikely(!tr_settings.usual_stacks))
		return stack_otherwise(lane, regs, stamp);
	if (tr_likely(tr_walk(&lane->walker, regs, tr_settings.depth, tr_stack_child, &node) !=
		      TR_WALK_UNSUPPORTED))
		return node;
	/* As far as it can be followed. */
	tr_walk_plain(regs, lane->pcs, tr_settings.depth, &n);
	return intern(lane->pcs, n);
}

#else

uint32_t tr_stack(struct tr_lane *lane, const void *frame, uint64_t stamp)
{
	uintptr_t caller = ((const uintptr_t *)frame)[1];
	size_t n = 0;

	tr_self.stamp = stamp;
	if (tr_settings.unwind != FT_UNWIND_NONE)
		n = tr_unwind(caller, lane->pcs, TR_MAX_DEPTH);
	if (!n)
		lane->pcs[n++] = caller;
	return intern(lane->pcs, n < tr_settings.depth ? n : tr_settings.depth);
}

#endif

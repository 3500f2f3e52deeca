/* SPDX-License-Identifier: MIT */
/* From the hash of a stack to its node: see tr_index.h. */
#include "tr_index.h"

#include <sys/mman.h>

#include "tr_session.h"

enum { FIRST_BITS = 14, LAST_BITS = TR_INDEX_ID_BITS + 1, AHEAD = 8 };

struct tr_index tr_index;

static size_t hashes_bytes, slots_bytes;
static unsigned last_bits;
static char *tables; /* all of them, the smallest first */
static _Atomic uint64_t n_entries;
static _Atomic bool growing;

static uintptr_t table_of(unsigned bits)
{
	size_t before = (((size_t)1 << bits) - ((size_t)1 << FIRST_BITS)) * sizeof(uint32_t);

	return (uintptr_t)tables + before + bits;
}

static size_t table_bytes(unsigned bits)
{
	return sizeof(uint32_t) << bits;
}

static unsigned bits_for(uint64_t max_nodes)
{
	unsigned bits = FIRST_BITS;

	while (bits < LAST_BITS && UINT64_C(1) << bits < 2 * max_nodes)
		bits++;
	return bits;
}

static size_t slots_bytes_for(uint64_t max_nodes)
{
	return table_bytes(bits_for(max_nodes) + 1) - table_bytes(FIRST_BITS);
}

size_t tr_index_bytes(uint64_t max_nodes)
{
	return slots_bytes_for(max_nodes) + max_nodes * sizeof(uint64_t);
}

bool tr_index_init(uint64_t max_nodes)
{
	last_bits = bits_for(max_nodes);
	slots_bytes = slots_bytes_for(max_nodes);
	hashes_bytes = max_nodes * sizeof(uint64_t);
	tables = tr_reserve_memory(slots_bytes);
	tr_index.hashes = tr_reserve_memory(hashes_bytes);
	if (!tables || !tr_index.hashes) {
		tr_index_reset();
		return false;
	}
	atomic_store(&tr_index.table, table_of(FIRST_BITS));
	return true;
}

void tr_index_reset(void)
{
	if (tables)
		tr_sys(SYS_munmap, tables, slots_bytes);
	if (tr_index.hashes)
		tr_sys(SYS_munmap, tr_index.hashes, hashes_bytes);
	tables = NULL;
	tr_index.hashes = NULL;
	atomic_store(&tr_index.table, 0);
	atomic_store(&n_entries, 0);
	atomic_store(&growing, false);
}

static size_t page_up(size_t n)
{
	return (n + 4095) & ~(size_t)4095;
}

void tr_index_trim(uint64_t max_nodes)
{
	size_t hashes = page_up(max_nodes * sizeof(uint64_t)), slots;
	unsigned bits = bits_for(max_nodes), now;

	/* A table that is being filled may be one that is to go. */
	if (atomic_exchange(&growing, true))
		return;
	now = atomic_load(&tr_index.table) & 63;
	bits = bits > now ? bits : now;
	slots = page_up(table_bytes(bits + 1) - table_bytes(FIRST_BITS));
	if (bits < last_bits && slots < slots_bytes) {
		last_bits = bits;
		tr_sys(SYS_munmap, tables + slots, slots_bytes - slots);
		slots_bytes = slots;
	}
	if (hashes < hashes_bytes) {
		tr_sys(SYS_munmap, (uintptr_t)tr_index.hashes + hashes, hashes_bytes - hashes);
		hashes_bytes = hashes;
	}
	atomic_store(&growing, false);
}

size_t tr_index_memory(void)
{
	unsigned bits = atomic_load_explicit(&tr_index.table, memory_order_relaxed) & 63;

	return (bits ? table_bytes(bits) : 0) +
	       atomic_load_explicit(&n_entries, memory_order_relaxed) * sizeof(uint64_t);
}

static void place(uintptr_t table, uint64_t hash, uint32_t id)
{
	_Atomic uint32_t *slots = tr_index_slots(table);
	size_t at = tr_index_place(table, hash), mask = ((size_t)1 << (table & 63)) - 1;

	for (unsigned i = 0; i < TR_INDEX_PROBES; i++, at++) {
		uint32_t empty = 0;

		if (atomic_load_explicit(&slots[at & mask], memory_order_relaxed))
			continue;
		/* Release pairs with the acquire in tr_index_find(). */
		if (atomic_compare_exchange_strong_explicit(
			    &slots[at & mask], &empty, tr_index_slot(hash, id),
			    memory_order_release, memory_order_relaxed))
			return;
	}
}

static uint64_t hash_of(uint32_t id)
{
	return atomic_load_explicit(&tr_index.hashes[id], memory_order_acquire);
}

/* Enter the nodes [from, to) that are complete into a table. */
static void fill(uintptr_t table, uint32_t from, uint32_t to)
{
	const char *slots = (const char *)(table & ~(uintptr_t)63);

	for (uint32_t id = from; id < to; id++) {
		uint64_t hash = hash_of(id);

		if (id + AHEAD < to) {
			size_t ahead = tr_index_place(table, hash_of(id + AHEAD));

			__builtin_prefetch(slots + ahead * sizeof(uint32_t), 1);
		}
		if (hash)
			place(table, hash, id);
	}
}

static uint32_t ids_end(void)
{
	struct ft_segment_header *header = tr_session.header;
	uint64_t n = atomic_load_explicit(&header->n_nodes, memory_order_acquire) + UINT64_C(1);

	uint64_t limit = atomic_load_explicit(&tr_session.node_limit, memory_order_relaxed);

	return (uint32_t)(n < limit ? n : limit);
}

static void grow(uintptr_t old)
{
	unsigned bits = old & 63;
	uintptr_t table;
	uint32_t end;

	if (bits >= last_bits || atomic_exchange(&growing, true))
		return;
	if (bits < last_bits && atomic_load(&tr_index.table) == old) {
		table = table_of(bits + 1);
		end = ids_end();
		fill(table, 1, end);
		atomic_store_explicit(&tr_index.table, table, memory_order_release);
		/* What others have entered into the old one since. */
		fill(table, end, ids_end());
		tr_sys(SYS_madvise, tr_index_slots(old), table_bytes(bits), MADV_DONTNEED);
		tr_session_account();
	}
	atomic_store(&growing, false);
}

void tr_index_insert(uint64_t hash, uint32_t id)
{
	uintptr_t table = atomic_load_explicit(&tr_index.table, memory_order_acquire);
	uint64_t n = atomic_fetch_add_explicit(&n_entries, 1, memory_order_relaxed) + 1;

	atomic_store_explicit(&tr_index.hashes[id], hash, memory_order_release);
	place(table, hash, id);
	if (tr_unlikely(n * 2 > UINT64_C(1) << (table & 63)))
		grow(table);
}

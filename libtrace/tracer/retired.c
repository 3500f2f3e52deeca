/* SPDX-License-Identifier: MIT */
/* Code that was unloaded: see tr_retired.h. */
#include "tr_retired.h"

enum { N_RETIRED = 32, STAMP_MAX = 0xffff };

/* Past N_RETIRED ranges the stamps of all code change. */
static struct {
	_Atomic uintptr_t start, end;
	_Atomic uint32_t stamp;
} retired[N_RETIRED];
static _Atomic uint32_t n_unloads, stamp_of_all;
_Atomic uint32_t tr_n_retired;

uint32_t tr_retired_stamp_slow(uintptr_t pc)
{
	uint32_t stamp = atomic_load_explicit(&stamp_of_all, memory_order_relaxed);
	uint32_t n = atomic_load_explicit(&tr_n_retired, memory_order_acquire);

	for (uint32_t i = 0; i < n && i < N_RETIRED; i++) {
		uintptr_t start = atomic_load_explicit(&retired[i].start, memory_order_relaxed);
		uintptr_t end = atomic_load_explicit(&retired[i].end, memory_order_relaxed);

		if (pc - start < end - start)
			stamp += atomic_load_explicit(&retired[i].stamp, memory_order_relaxed);
	}
	return stamp & STAMP_MAX;
}

void tr_retire(uintptr_t start, uintptr_t end)
{
	uint32_t stamp = atomic_fetch_add(&n_unloads, 1) + 1;
	uint32_t n = atomic_load(&tr_n_retired);

	/* The same library again and again takes one entry. */
	for (uint32_t i = 0; i < n && i < N_RETIRED; i++) {
		if (atomic_load(&retired[i].start) == start &&
		    atomic_load(&retired[i].end) == end) {
			atomic_store(&retired[i].stamp, stamp);
			return;
		}
	}
	n = atomic_fetch_add(&tr_n_retired, 1);
	if (n >= N_RETIRED) {
		atomic_store(&tr_n_retired, N_RETIRED);
		atomic_store(&stamp_of_all, stamp);
		return;
	}
	atomic_store(&retired[n].stamp, stamp);
	atomic_store(&retired[n].start, start);
	atomic_store(&retired[n].end, end);
}

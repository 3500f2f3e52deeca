/* SPDX-License-Identifier: MIT */
/*
 * Code that was unloaded, and whose addresses may come again
 *
 * A pc stands for code only together with the stamp of its range: that of the last unload there, 0
 * where nothing was ever unloaded. Stacks are told apart by both, so that a library that comes to
 * lie where another one lay gets new stacks. Read without a lock. Past 32 ranges, and after 65 535
 * unloads, stamps are coarser: more stacks get new ids than have to, and at a multiple of 65 536
 * unloads of one range, a stack may get an old one.
 */
#ifndef TR_RETIRED_H
#define TR_RETIRED_H

#include <stdatomic.h>
#include <stdint.h>

extern _Atomic uint32_t tr_n_retired;

/* The code at [start, end) is gone. */
void tr_retire(uintptr_t start, uintptr_t end);

uint32_t tr_retired_stamp_slow(uintptr_t pc);

/* 0 to 65535 */
static inline uint32_t tr_retired_stamp(uintptr_t pc)
{
	if (__builtin_expect(atomic_load_explicit(&tr_n_retired, memory_order_relaxed) == 0, 1))
		return 0;
	return tr_retired_stamp_slow(pc);
}

#endif

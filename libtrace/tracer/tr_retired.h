/* SPDX-License-Identifier: MIT */
/*
 * Code that was unloaded, and whose addresses may come again
 *
 * A pc stands for code only together with the stamp of that code: 0 where nothing was ever
 * unloaded, and one of its own for each other module that comes to lie there. Stacks are told apart
 * by both, so that a library that lies where another one lay gets new stacks. One that is loaded
 * once more at the place where it was has the stamp that it had, and with it its stacks: known by
 * range and build-id (without one, it is another module each time).
 *
 * Read without a lock. Past 256 modules the stamps of all code change with each unload; and stamps
 * have 16 bits: more stacks get new ids than have to, or, after 65 536 different modules at one
 * place, a stack may get an old one.
 */
#ifndef TR_RETIRED_H
#define TR_RETIRED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tr_code {
	uintptr_t start, end;
	uint64_t id; /* hash of the build-id; 0: it has none */
};

/* 0: no code was ever unloaded, and none is being unloaded. */
extern _Atomic uint32_t tr_retired_watch;
enum { TR_RETIRED = 1, TR_UNLOADING = 1 << 16 }; /* any; and one for each that is */

/* Some thread is inside of dlclose(): what is learned now of code may soon be another's. */
static inline bool tr_unloading(void)
{
	return atomic_load_explicit(&tr_retired_watch, memory_order_acquire) >= TR_UNLOADING;
}

/* Around the loader's dlclose(): stamps are not remembered meanwhile. */
void tr_retire_begin(void);
void tr_retire_end(void);

/* In module.c: which code lies at `pc`, of a frame of this thread; it is made known, and what lay
 * there before is ended. Slow. False: none of a module. */
bool tr_module_identify(uintptr_t pc, struct tr_code *code);

/* This code is gone. */
void tr_retire(const struct tr_code *code);

uint32_t tr_retired_stamp_slow(uintptr_t pc);

/* 0 to 65535 */
static inline uint32_t tr_retired_stamp(uintptr_t pc)
{
	if (__builtin_expect(atomic_load_explicit(&tr_retired_watch, memory_order_relaxed) == 0, 1))
		return 0;
	return tr_retired_stamp_slow(pc);
}

#endif

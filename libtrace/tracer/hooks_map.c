/* SPDX-License-Identifier: MIT */
/*
 * The calls that map memory: mmap, munmap, mremap, madvise, brk, sbrk
 *
 * As the program and its libraries make them, an allocator's among them. What libc does for itself
 * (the heap of its malloc, threads' stacks, files of the loader) does not come here, nor does what
 * the tracer does: that is in the samples of /proc. Calls that failed are not recorded.
 *
 * A record is written after its call, with a stamp from before it too. What dies at the old place
 * is only what was there by then (ft_wire.h), so that no floor has to be held over the call.
 *
 * Other libraries define these as well (gperftools' tcmalloc): the next definition is called, and
 * the kernel where none is known yet. That is not so for the break, which libc keeps a copy of.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "tr_real.h"
#include "tr_record.h"
#include "tr_stack.h"

#define HOOK  __attribute__((visibility("default")))
#define FRAME __builtin_frame_address(0)

#define RESOLVED(name) (tr_likely(tr_real.name) || (tr_real_resolve() && tr_real.name))

struct span {
	uint64_t address, bytes;
};

static struct span span_of(const void *address, size_t bytes)
{
	return (struct span){.address = (uint64_t)(uintptr_t)address, .bytes = bytes};
}

static void record(enum ft_wire_map what, uint64_t early, struct span now, struct span old,
		   uint64_t detail, const void *frame)
{
	struct tr_self *self = &tr_self;
	struct tr_lane *lane = tr_enter(self, frame);
	uint64_t outer = lane ? tr_set_floor(self, lane, frame) : 0;
	uint64_t stamp = tr_stamp_ordered();
	const uint64_t words[FT_WIRE_MAP_WORDS] = {
		ft_wire_head(FT_WIRE_MAP, what, 0, 0, 0),
		stamp,
		early,
		now.address,
		now.bytes,
		old.address,
		old.bytes,
		detail,
	};

	if (!lane) {
		tr_record_nested(self, words, FT_WIRE_MAP_WORDS);
		return;
	}

	/* Its nodes, modules and raw frames come before it. */
	uint32_t stack = tr_stack_inside(lane, frame, stamp);
	uint64_t *w = tr_reserve(lane, FT_WIRE_MAP_WORDS, stamp);

	if (w) {
		for (unsigned i = 1; i < FT_WIRE_MAP_WORDS; i++)
			w[i] = words[i];
		w[0] = words[0] | (uint64_t)FT_WIRE_MAP_WORDS << 24 | (uint64_t)stack << 32;
		tr_publish(lane, FT_WIRE_MAP_WORDS, stamp);
	} else {
		tr_count_lost(lane);
	}
	tr_restore_floor(lane, outer);
	tr_leave(self, lane);
}

/* What the kernel said, as libc would say it. */
static long answer(long result)
{
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}

static inline __attribute__((always_inline)) void *map(void *address, size_t bytes, int prot,
						       int flags, int fd, long offset,
						       const void *frame)
{
	uint64_t early = tr_stamp_ordered();
	void *at =
		tr_likely(tr_real.mmap != NULL)
			? tr_real.mmap(address, bytes, prot, flags, fd, offset)
			: (void *)answer(tr_sys(SYS_mmap, address, bytes, prot, flags, fd, offset));

	if (at != MAP_FAILED)
		record(FT_WIRE_MAP_MMAP, early, span_of(at, bytes), (struct span){0},
		       (uint32_t)prot | (uint64_t)(uint32_t)flags << 32, frame);
	return at;
}

/* Under names of their own: with 64-bit offsets, libc's header makes both the same. */
void *tr_hook_mmap(void *address, size_t bytes, int prot, int flags, int fd,
		   long offset) __asm__("mmap");
void *tr_hook_mmap64(void *address, size_t bytes, int prot, int flags, int fd,
		     long offset) __asm__("mmap64");

HOOK void *tr_hook_mmap(void *address, size_t bytes, int prot, int flags, int fd, long offset)
{
	return map(address, bytes, prot, flags, fd, offset, FRAME);
}

HOOK void *tr_hook_mmap64(void *address, size_t bytes, int prot, int flags, int fd, long offset)
{
	return map(address, bytes, prot, flags, fd, offset, FRAME);
}

HOOK int munmap(void *address, size_t bytes)
{
	uint64_t early = tr_stamp_ordered();
	int failed = tr_likely(tr_real.munmap != NULL)
			     ? tr_real.munmap(address, bytes)
			     : (int)answer(tr_sys(SYS_munmap, address, bytes));

	if (!failed)
		record(FT_WIRE_MAP_MUNMAP, early, (struct span){0}, span_of(address, bytes), 0,
		       FRAME);
	return failed;
}

HOOK void *mremap(void *old, size_t old_bytes, size_t bytes, int flags, ...)
{
	void *to = NULL, *at;
	uint64_t early;

	if (flags & ~MREMAP_MAYMOVE) {
		va_list more;

		va_start(more, flags);
		to = va_arg(more, void *);
		va_end(more);
	}
	early = tr_stamp_ordered();
	at = tr_likely(tr_real.mremap != NULL)
		     ? tr_real.mremap(old, old_bytes, bytes, flags, to)
		     : (void *)answer(tr_sys(SYS_mremap, old, old_bytes, bytes, flags, to));
	if (at != MAP_FAILED)
		record(FT_WIRE_MAP_MREMAP, early, span_of(at, bytes), span_of(old, old_bytes),
		       (uint64_t)(uint32_t)flags << 32, FRAME);
	return at;
}

HOOK int madvise(void *address, size_t bytes, int advice)
{
	uint64_t early = tr_stamp_ordered();
	int failed = tr_likely(tr_real.madvise != NULL)
			     ? tr_real.madvise(address, bytes, advice)
			     : (int)answer(tr_sys(SYS_madvise, address, bytes, advice));

	if (!failed)
		record(FT_WIRE_MAP_MADVISE, early, span_of(address, bytes), (struct span){0},
		       (uint64_t)(uint32_t)advice << 32, FRAME);
	return failed;
}

/* The break has moved from one address to the other. */
static void record_break(enum ft_wire_map what, uint64_t early, const char *from, const char *to,
			 const void *frame)
{
	if (to > from)
		record(what, early, span_of(from, (size_t)(to - from)), (struct span){0}, 0, frame);
	else if (to < from)
		record(what, early, (struct span){0}, span_of(to, (size_t)(from - to)), 0, frame);
}

HOOK int brk(void *address)
{
	if (!RESOLVED(brk)) {
		errno = ENOMEM;
		return -1;
	}

	uint64_t early = tr_stamp_ordered();
	const char *before = tr_real.sbrk(0);
	int failed = tr_real.brk(address);

	if (!failed)
		record_break(FT_WIRE_MAP_BRK, early, before, address, FRAME);
	return failed;
}

HOOK void *sbrk(intptr_t increment)
{
	if (!RESOLVED(sbrk)) {
		errno = ENOMEM;
		return (void *)-1;
	}

	uint64_t early = tr_stamp_ordered();
	char *before = tr_real.sbrk(increment);

	if ((intptr_t)before != -1)
		record_break(FT_WIRE_MAP_SBRK, early, before, before + increment, FRAME);
	return before;
}

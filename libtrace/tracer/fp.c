/* SPDX-License-Identifier: MIT */
/* The call stack by frame pointers: see tr_fp.h. */
#include "tr_fp.h"

#include <stdbool.h>
#include <sys/uio.h>

#include "tr_sys.h"

/*
 * The first thread's stack grows: below it the kernel leaves far more than this free for it. No
 * frame of another stack is further up than OTHER_STACK_MAX.
 */
enum { FIRST_STACK_MAX = 64 << 20, OTHER_STACK_MAX = 8 << 20 };

extern void *__libc_stack_end; /* the loader's: where the first thread's stack began */

static struct tr_extent learn_extent(uintptr_t rsp)
{
	struct tr_extent extent;
	uintptr_t first = (uintptr_t)__libc_stack_end;

	if (!tr_find_mapping(rsp, &extent))
		return (struct tr_extent){1, 1}; /* known, and empty */
	if (first - extent.low < extent.high - extent.low)
		extent.low = extent.high - FIRST_STACK_MAX;
	return extent;
}

/* What a frame pointer points to: the caller's frame pointer and the return address. */
static bool read_link(uintptr_t at, bool mapped, uintptr_t link[2])
{
	if (mapped) {
		link[0] = ((const volatile uintptr_t *)at)[0];
		link[1] = ((const volatile uintptr_t *)at)[1];
		return true;
	}

	enum { BYTES = 2 * sizeof(uintptr_t) };
	struct iovec here = {link, BYTES}, there = {(void *)at, BYTES};

	return tr_sys(SYS_process_vm_readv, tr_sys(SYS_getpid), &here, 1, &there, 1, 0) == BYTES;
}

size_t tr_fp_walk(struct tr_extent *own, struct tr_regs regs, uintptr_t *pcs, size_t max)
{
	enum { LINK = 2 * sizeof(uintptr_t), FIRST_PAGE = 4096 };
	uintptr_t low = regs.rsp, at = regs.rbp, link[2];
	size_t n = 0;

	if (!own->high)
		*own = learn_extent(regs.rsp);

	bool known = regs.rsp - own->low < own->high - own->low;
	uintptr_t high = known ? own->high : regs.rsp + OTHER_STACK_MAX;

	pcs[n++] = regs.rip;
	while (n < max && at >= low && at < high && high - at >= LINK && !(at & 7)) {
		if (!read_link(at, known, link))
			break;
		/* No code is in the first page, on the stack, or in the kernel's half. */
		if (link[1] < FIRST_PAGE || link[1] >> 47 || link[1] - regs.rsp < high - regs.rsp)
			break;
		pcs[n++] = link[1];
		low = at + LINK;
		at = link[0];
	}
	return n;
}

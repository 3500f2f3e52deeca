/* SPDX-License-Identifier: MIT */
/* The call stack by frame pointers: see tr_fp.h. */
#include "tr_fp.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/uio.h>

#include "tr_sys.h"

/*
 * The first thread's stack grows: below it the kernel leaves far more than this free for it. No
 * frame of another stack is further up than OTHER_STACK_MAX.
 */
enum { FIRST_STACK_MAX = 64 << 20, OTHER_STACK_MAX = 8 << 20 };

extern void *__libc_stack_end; /* the loader's: where the first thread's stack began */

/* The mapping that `address` lies in, from /proc/self/maps: "start-end perms ..." a line. */
static bool find_mapping(uintptr_t address, struct tr_extent *ret)
{
	char buffer[512];
	uintptr_t bounds[2] = {0, 0};
	unsigned field = 0; /* 0: start, 1: end, 2: the rest of the line */
	bool found = false;
	int fd = (int)tr_sys(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
	long n = 1;

	while (fd >= 0 && !found && n > 0) {
		n = tr_sys(SYS_read, fd, buffer, sizeof(buffer));
		for (long i = 0; i < n && !found; i++) {
			unsigned char c = (unsigned char)buffer[i];

			if (c == '\n') {
				field = 0;
				bounds[0] = bounds[1] = 0;
			} else if (field < 2 && (c == '-' || c == ' ')) {
				field++;
				found = field == 2 && address - bounds[0] < bounds[1] - bounds[0];
			} else if (field < 2) {
				bounds[field] = bounds[field] << 4 |
						(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
			}
		}
	}
	tr_close(fd);
	*ret = (struct tr_extent){bounds[0], bounds[1]};
	return found;
}

static struct tr_extent learn_extent(uintptr_t rsp)
{
	struct tr_extent extent;
	uintptr_t first = (uintptr_t)__libc_stack_end;

	if (!find_mapping(rsp, &extent))
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

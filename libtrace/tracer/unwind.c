/* SPDX-License-Identifier: MIT */
/* The call stack by libunwind: see tr_unwind.h. */
#define UNW_LOCAL_ONLY
#include "tr_unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <libunwind.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "tr_record.h"

enum { OWN_FRAMES = 16 };

/* Our own frames go, however many the compiler made of them. */
static size_t from_caller(uintptr_t caller, uintptr_t *pcs, size_t n)
{
	size_t first = 0;

	while (first < n && pcs[first] != caller)
		first++;
	memmove(pcs, pcs + first, (n - first) * sizeof(*pcs));
	return n - first;
}

#ifdef __x86_64__

enum { CLOSED, OPENING, OPEN, MISSING };
static _Atomic int state;

static struct {
	int (*backtrace)(void **pcs, int max);
	int (*getcontext)(unw_context_t *context);
	int (*init_local)(unw_cursor_t *cursor, unw_context_t *context);
	int (*step)(unw_cursor_t *cursor);
	int (*get_reg)(unw_cursor_t *cursor, int reg, unw_word_t *value);
} libunwind;

static bool open_libunwind(void)
{
	const struct {
		void *slot;
		const char *name;
	} wanted[] = {
		{&libunwind.backtrace, "unw_backtrace"},
		{&libunwind.getcontext, "_Ux86_64_getcontext"},
		{&libunwind.init_local, "_ULx86_64_init_local"},
		{&libunwind.step, "_ULx86_64_step"},
		{&libunwind.get_reg, "_ULx86_64_get_reg"},
	};
	void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		dlerror(); /* ours, not for the program to find */
		return false;
	}
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		void *function = dlsym(library, wanted[i].name);

		if (!function)
			return false;
		memcpy(wanted[i].slot, &function, sizeof(function));
	}
	return true;
}

/* The loader calls malloc in the middle of its work: no moment to ask it for a library. */
static bool is_loader(uintptr_t pc)
{
	struct dl_find_object object;

	return _dl_find_object((void *)pc, &object) == 0 && object.dlfo_link_map &&
	       object.dlfo_link_map->l_addr == _r_debug.r_ldbase;
}

static __attribute__((noinline)) bool open_now(uintptr_t caller)
{
	static const char missing[] = "libunwind.so.8 can't be loaded";
	int closed = CLOSED, saved_errno = errno;
	void *pcs[OWN_FRAMES];

	/* Before libc has been initialised, dlopen() would do that, and badly. */
	if (!environ || is_loader(caller) ||
	    !atomic_compare_exchange_strong(&state, &closed, OPENING))
		return false;

	bool opened = open_libunwind();

	if (opened) {
		libunwind.backtrace(pcs, OWN_FRAMES); /* sets up its tables */
	} else {
		tr_say("stacks as with FRAGTRACE_UNWIND=auto, none compared: ", missing, 0);
		tr_write_mark(tr_self.lane, FT_WIRE_MARK_SELF_CHECK, missing, tr_self.stamp);
	}
	/* Release: who sees it open sees its functions. */
	atomic_store_explicit(&state, opened ? OPEN : MISSING, memory_order_release);
	errno = saved_errno;
	return opened;
}

bool tr_unwind_ready(uintptr_t caller)
{
	int seen = atomic_load_explicit(&state, memory_order_acquire);

	return seen == OPEN || (seen == CLOSED && open_now(caller));
}

size_t tr_unwind_reference(uintptr_t pc, uintptr_t sp, uintptr_t *pcs, size_t max, bool *gave_up)
{
	unw_context_t context;
	unw_cursor_t cursor;
	size_t n = 0;
	int saved_errno = errno, more;

	*gave_up = true;
	libunwind.getcontext(&context);
	if (libunwind.init_local(&cursor, &context) < 0) {
		errno = saved_errno;
		return 0;
	}
	do {
		unw_word_t ip = 0, at = 0;

		libunwind.get_reg(&cursor, UNW_REG_IP, &ip);
		libunwind.get_reg(&cursor, UNW_REG_SP, &at);
		more = 0;
		if (!ip)
			break;
		if (n || (ip == pc && at == sp))
			pcs[n++] = ip;
		more = libunwind.step(&cursor);
	} while (more > 0 && n < max);
	*gave_up = more < 0;
	errno = saved_errno;
	return n;
}

#else

static const struct {
	int (*backtrace)(void **pcs, int max);
} libunwind = {unw_backtrace};

void tr_unwind_init(void)
{
	void *pcs[OWN_FRAMES];

	libunwind.backtrace(pcs, OWN_FRAMES);
}

#endif

size_t tr_unwind(uintptr_t caller, uintptr_t *pcs, size_t max)
{
	int saved_errno = errno;
	int n = libunwind.backtrace((void **)(void *)pcs, (int)max);

	errno = saved_errno;
	return n > 0 ? from_caller(caller, pcs, (size_t)n) : 0;
}

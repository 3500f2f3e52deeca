/* SPDX-License-Identifier: MIT */
/*
 * From the first instruction to the last
 *
 * The constructor runs before all others (-z initfirst), so that what libraries allocate in theirs
 * is recorded. There is no end: the segment is mapped until the process is gone, and frees that
 * come after every destructor are recorded like any other.
 */
#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "fragtrace/mark.h"
#include "tr_collector.h"
#include "tr_module.h"
#include "tr_real.h"
#include "tr_record.h"
#include "tr_suspect.h"
#ifndef __x86_64__
#include "tr_unwind.h"
#endif

#ifdef __x86_64__

/* Does the vDSO answer by itself? Else it takes as long as the system call that it makes. What
 * comes between only makes a reading longer, so that the shortest of a few tells. */
static bool clock_needs_no_kernel(void)
{
	enum { TRIES = 16 };
	uint64_t without = UINT64_MAX, with = UINT64_MAX;
	struct timespec now;

	for (int i = 0; i < TRIES; i++) {
		uint64_t begin = __rdtsc();

		clock_gettime(CLOCK_MONOTONIC, &now);

		uint64_t middle = __rdtsc();

		tr_sys(SYS_clock_gettime, CLOCK_MONOTONIC, &now);

		uint64_t end = __rdtsc();

		without = middle - begin < without ? middle - begin : without;
		with = end - middle < with ? end - middle : with;
	}
	return without < with / 4 * 3;
}

/*
 * The TSC orders events between processors where the kernel, which has tested it, uses it as its
 * clock. It also does in a guest whose clock is kvm-clock, where that is read without the kernel:
 * the vDSO then takes the TSC of whichever processor it runs on and applies the parameters of
 * processor 0 to it, which the kernel permits only if the host promises (PVCLOCK_TSC_STABLE_BIT)
 * that all of them count together (arch/x86/kernel/kvmclock.c, kvm_setup_vsyscall_timeinfo()). That
 * it counts at one rate is the processor's own word (CPUID 0x80000007). What remains is that the
 * host may restore the guest elsewhere, with another count: the collector sees that (co_clock.h).
 */
static bool tsc_is_clock(void)
{
	char name[16];
	unsigned a, b, c, d;

	tr_read_file("/sys/devices/system/clocksource/clocksource0/current_clocksource", name,
		     sizeof(name));
	if (strncmp(name, "tsc", 3) == 0)
		return true;
	return strncmp(name, "kvm-clock", 9) == 0 && __get_cpuid(0x80000007, &a, &b, &c, &d) &&
	       d >> 8 & 1 && clock_needs_no_kernel();
}

#else

static bool tsc_is_clock(void)
{
	return false;
}

#endif

static void finish(void);

__attribute__((constructor)) static void start(int argc, char **argv, char **envp)
{
	/* A set-user-ID program is none of our business. */
	if (getauxval(AT_SECURE))
		return;

	int saved_errno = errno;

	tr_real_resolve();
	tr_runtime_resolve();
	tr_suspect_init();
	if (tr_settings_read(envp)) {
		tr_use_tsc = tsc_is_clock();
#ifndef __x86_64__
		tr_unwind_init();
#endif
		tr_collector_init(argc, argv);
		if (!tr_modules_init() || !tr_threads_init() ||
		    pthread_atfork(tr_session_before_fork, tr_session_parent_forked,
				   tr_session_after_fork) != 0)
			tr_say("not recording: ", "no memory", 0);
		else if (tr_settings.follow_exec || !tr_collector_has_ancestor())
			tr_session_start(0, 0);
		at_quick_exit(finish);
	}
	errno = saved_errno;
}

/* ---- the end --------------------------------------------------------------------------------- */

/*
 * exit() comes here, last of all destructors; quick_exit() by at_quick_exit(), where what was
 * registered first runs last. What libc frees after that is recorded as long as the segment is
 * mapped, but not waited for.
 */
__attribute__((destructor)) static void finish(void)
{
	tr_session_goodbye();
}

static _Noreturn void end_now(int status)
{
	tr_session_goodbye();
	for (;;)
		tr_sys(SYS_exit_group, status);
}

/* Nothing of libc runs in these, so that nothing of it has to be called. */
__attribute__((visibility("default"))) _Noreturn void _exit(int status)
{
	end_now(status);
}

__attribute__((visibility("default"))) _Noreturn void _Exit(int status)
{
	end_now(status);
}

__attribute__((visibility("default"))) void fragtrace_mark_(const char *label)
{
	if (label)
		tr_record_mark(label);
}

__attribute__((visibility("default"))) void fragtrace_pool_(int what, const void *pool,
							    const void *block, size_t size,
							    const char *name)
{
	if (what < FRAGTRACE_POOL_CREATE || what > FRAGTRACE_POOL_DESTROY ||
	    (!block && what >= FRAGTRACE_POOL_ADD && what <= FRAGTRACE_POOL_FREE))
		return;
	tr_record_pool((enum ft_wire_pool)what, pool, block, size, name,
		       __builtin_frame_address(0));
}

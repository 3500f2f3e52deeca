/* SPDX-License-Identifier: MIT */
/*
 * From the first instruction to the last
 *
 * The constructor runs before all others (-z initfirst), so that what libraries allocate in theirs
 * is recorded. There is no end: the segment is mapped until the process is gone, and frees that
 * come after every destructor are recorded like any other.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include "fragtrace/mark.h"
#include "tr_collector.h"
#include "tr_module.h"
#include "tr_real.h"
#include "tr_record.h"
#ifndef __x86_64__
#include "tr_unwind.h"
#endif

/* The TSC is a clock where the kernel, which has tested it, uses it as one. */
static bool kernel_trusts_tsc(void)
{
	char name[16];

	tr_read_file("/sys/devices/system/clocksource/clocksource0/current_clocksource", name,
		     sizeof(name));
	return name[0] == 't' && name[1] == 's' && name[2] == 'c';
}

static void finish(void);

__attribute__((constructor)) static void start(int argc, char **argv, char **envp)
{
	/* A set-user-ID program is none of our business. */
	if (getauxval(AT_SECURE))
		return;

	int saved_errno = errno;

	tr_real_resolve();
	tr_runtime_resolve();
	if (tr_settings_read(envp)) {
		tr_use_tsc = kernel_trusts_tsc();
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

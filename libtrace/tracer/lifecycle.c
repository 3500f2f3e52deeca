/* SPDX-License-Identifier: MIT */
/*
 * From the first instruction to the last
 *
 * The constructor runs before all others (-z initfirst), so that what libraries allocate in theirs
 * is recorded. There is no end: the segment is mapped until the process is gone, and frees that
 * come after every destructor are recorded like any other.
 */
#include <pthread.h>
#include <sys/auxv.h>
#include <time.h>

#include "fragtrace/mark.h"
#include "tr_collector.h"
#include "tr_module.h"
#include "tr_real.h"
#include "tr_record.h"
#ifndef __x86_64__
#include "tr_unwind.h"
#endif

#include <linux/futex.h>

/* The TSC is a clock where the kernel, which has tested it, uses it as one. */
static bool kernel_trusts_tsc(void)
{
	char name[16];

	tr_read_file("/sys/devices/system/clocksource/clocksource0/current_clocksource", name,
		     sizeof(name));
	return name[0] == 't' && name[1] == 's' && name[2] == 'c';
}

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
		else
			tr_session_start(0, 0);
	}
	errno = saved_errno;
}

/*
 * As PID 1 of a namespace the program takes the collector with it when it goes: give it a moment
 * to write. Anywhere else the collector outlives us and needs no waiting.
 */
__attribute__((destructor)) static void finish(void)
{
	static const struct timespec limit = {.tv_sec = 2};
	struct ft_segment_header *segment = tr_session.header;

	if (!tr_session_live())
		return;
	atomic_store(&segment->exiting, 1);
	atomic_fetch_add(&segment->doorbell, 1);
	tr_sys(SYS_futex, &segment->doorbell, FUTEX_WAKE, 1);
	if (tr_session.pid == 1 && atomic_load(&segment->attached) == FT_ATTACHED_SERVED &&
	    !atomic_load(&segment->committed))
		tr_sys(SYS_futex, &segment->committed, FUTEX_WAIT, 0, &limit);
}

__attribute__((visibility("default"))) void fragtrace_mark_(const char *label)
{
	if (label)
		tr_record_mark(label);
}

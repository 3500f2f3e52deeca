/* SPDX-License-Identifier: MIT */
/*
 * Between the hooks and glibc's allocator: signals wait while that one runs
 *
 * No allocator may be entered by a handler that has interrupted it, nor left by longjmp(). With
 * this library preloaded after the tracer, a handler can come at any instruction of the tracer's
 * hooks, and at none of glibc's.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

void *__libc_malloc(size_t size);
void __libc_free(void *block);
void shield_ready(volatile sig_atomic_t *may);

static volatile sig_atomic_t *flag, async;

/* The handler looks at the flag; what it finds unset it lets pass. NULL: cancellation is held back.
 */
void shield_ready(volatile sig_atomic_t *may)
{
	flag = may;
	async = !may;
}

static int close_shield(void)
{
	int old = 0;

	if (flag)
		*flag = 0;
	else if (async)
		pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
	return old;
}

static void open_shield(int old)
{
	if (flag)
		*flag = 1;
	else if (async)
		pthread_setcanceltype(old, &old);
}

void *malloc(size_t size)
{
	int old = close_shield();
	void *block = __libc_malloc(size);

	open_shield(old);
	return block;
}

void free(void *block)
{
	int old = close_shield();

	__libc_free(block);
	open_shield(old);
}

/* SPDX-License-Identifier: MIT */
/*
 * System calls without errno, and the few string functions that the tracer needs
 *
 * Everything in libtrace/tracer runs inside another program, often inside its malloc: nothing here
 * allocates, locks, or touches errno. Results are the kernel's: a negative number is -errno.
 */
#ifndef TR_SYS_H
#define TR_SYS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define tr_likely(x)   __builtin_expect(!!(x), 1)
#define tr_unlikely(x) __builtin_expect(!!(x), 0)

static inline long tr_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
#ifdef __x86_64__
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
#else
	int saved_errno = errno;
	long ret = syscall(nr, a, b, c, d, e, f);

	if (ret < 0)
		ret = -errno;
	errno = saved_errno;
	return ret;
#endif
}

#define TR_SYSCALL_(nr, a, b, c, d, e, f, ...) \
	tr_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* tr_sys(SYS_name, up to six arguments) */
#define tr_sys(...) TR_SYSCALL_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static inline void tr_close(int fd)
{
	if (fd >= 0)
		tr_sys(SYS_close, fd);
}

/* Append to a buffer, cut at its end, always terminated. Returns the new end. */
static inline char *tr_append(char *at, const char *end, const char *text)
{
	while (*text && at + 1 < end)
		*at++ = *text++;
	if (at < end)
		*at = '\0';
	return at;
}

static inline char *tr_append_number(char *at, const char *end, uint64_t n, unsigned base)
{
	char digits[24], *p = digits + sizeof(digits);

	*--p = '\0';
	do {
		*--p = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	return tr_append(at, end, p);
}

/* Read at most size - 1 bytes of a file and terminate them. Returns the number of bytes, 0 if it
 * can't. */
size_t tr_read_file(const char *path, char *buffer, size_t size);

/* A decimal number, or `otherwise` where the text is NULL or is none. */
uint64_t tr_parse_number(const char *text, uint64_t otherwise);

/* Reserved private memory that is committed on touch, left out of core dumps; NULL if there is
 * none. */
void *tr_reserve_memory(size_t size);

/* One line on the program's stderr, if FRAGTRACE_VERBOSE asks for it. */
void tr_say(const char *what, const char *detail, long code);

#endif

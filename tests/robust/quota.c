/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a collector: its files may have QUOTA_BYTES between them, and then no more, as
 * where a user's quota is used up; or they don't become longer while the file QUOTA_WHILE exists
 *
 * What a kernel without quotas can't do by itself. Only what goes to regular files counts.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static _Atomic long left = -1;

/* `end`: where the bytes end in the file. */
static bool may_write(int fd, size_t n, off64_t end)
{
	const char *used_up = getenv("QUOTA_WHILE");
	struct stat status;
	long unset = -1;

	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return true;
	if (used_up) {
		if (end <= status.st_size || access(used_up, F_OK) < 0)
			return true;
		errno = EDQUOT;
		return false;
	}
	if (atomic_load(&left) < 0) {
		const char *text = getenv("QUOTA_BYTES");

		atomic_compare_exchange_strong(&left, &unset, text ? strtol(text, NULL, 10) : 0);
	}
	if (atomic_load(&left) >= (long)n) {
		atomic_fetch_sub(&left, (long)n);
		return true;
	}
	errno = EDQUOT;
	return false;
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
	ssize_t (*next)(int, const void *, size_t, off64_t) = NULL;

	if (!may_write(fd, n, at + (off64_t)n))
		return -1;
	*(void **)&next = dlsym(RTLD_NEXT, "pwrite64");
	return next(fd, data, n, at);
}

ssize_t write(int fd, const void *data, size_t n)
{
	ssize_t (*next)(int, const void *, size_t) = NULL;

	if (!may_write(fd, n, lseek64(fd, 0, SEEK_CUR) + (off64_t)n))
		return -1;
	*(void **)&next = dlsym(RTLD_NEXT, "write");
	return next(fd, data, n);
}

/* SPDX-License-Identifier: MIT */
/* A file that is there with its content, or not at all: see ft_create.h. */
#include "ft_create.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ft_cleanup.h"

/* 0, or -1 with errno. */
static int fill(int fd, const char *bytes, size_t n)
{
	while (n) {
		ssize_t written = write(fd, bytes, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		bytes += written;
		n -= (size_t)written;
	}
	return fdatasync(fd);
}

/* A descriptor of a new file without a name in the folder of `path`; -1: not possible here. */
static int open_nameless(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) + 1 : 0;
	ft_auto_free char *folder = len ? strndup(path, len) : strdup(".");

	return folder ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
}

/* Whether it was made; false: another way must be tried, or `path` is there already. */
static bool create_at_once(const char *path, const void *bytes, size_t n)
{
	ft_auto_close int fd = open_nameless(path);
	char name[40];

	if (fd < 0 || fill(fd, bytes, n) < 0)
		return false;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0;
}

struct ft_error *ft_create_file(const char *path, const void *bytes, size_t n)
{
	if (create_at_once(path, bytes, n))
		return NULL;

	ft_auto_close int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return ft_error_os(errno, "%s: cannot create the recording", path);
	if (fill(fd, bytes, n) < 0) {
		struct ft_error *error =
			ft_error_os(errno, "%s: cannot create the recording", path);

		unlink(path);
		return error;
	}
	return NULL;
}

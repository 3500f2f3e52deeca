/* SPDX-License-Identifier: MIT */
/* The writer's lock: see ft_lock.h. */
#include "ft_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "ft_cleanup.h"

/* One byte far behind any content. */
static struct flock lock_range(void)
{
	return (struct flock){
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = INT64_C(0x7fffffff00000000),
		.l_len = 1,
	};
}

struct ft_error *ft_lock_take(const char *path, int *fd)
{
	ft_auto_free char *wal = NULL;

	if (asprintf(&wal, "%s-wal", path) < 0)
		return &ft_enomem;

	ft_auto_close int file = open(wal, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0)
		return ft_error_os(errno, "%s: cannot open to lock it", wal);

	struct flock range = lock_range();

	if (fcntl(file, F_OFD_SETLK, &range) < 0) {
		if (errno == EAGAIN || errno == EACCES)
			return ft_error_create(FT_ERROR_BUSY, "%s: another writer is at work",
					       path);
		return ft_error_os(errno, "%s: cannot lock", wal);
	}
	*fd = ft_take_fd(file);
	return NULL;
}

bool ft_lock_held(const char *path)
{
	ft_auto_free char *wal = NULL;

	if (asprintf(&wal, "%s-wal", path) < 0)
		return false;

	ft_auto_close int file = open(wal, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct flock range = lock_range();

	/* A query does not need a descriptor that can write. */
	return file >= 0 && fcntl(file, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

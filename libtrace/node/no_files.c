/* SPDX-License-Identifier: MIT */
/* Files of the kernel: see no_files.h. */
#include "no_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mount.h>
#include <unistd.h>

#include "ft_cleanup.h"

int no_file_read(const char *path, struct ft_strbuf *out)
{
	ft_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	ft_strbuf_clear(out);
	if (fd < 0)
		return errno;
	for (;;) {
		/* The kernel gives some of these files in pieces of a page at most. */
		enum { PIECE = 65536 };
		char *room = ft_strbuf_reserve(out, PIECE);
		ssize_t got = room ? read(fd, room, PIECE) : -1;

		if (!room)
			return ENOMEM;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (!got)
			break;
		out->len += (size_t)got;
	}
	ft_strbuf_addc(out, '\0');
	if (out->failed)
		return ENOMEM;
	out->len--;
	return 0;
}

const char *no_status(int os_errno)
{
	switch (os_errno) {
	case 0:
		return "read";
	case ENOENT:
	case ENODEV:
	case ENOTDIR:
		return "missing";
	case EACCES:
	case EPERM:
		return "denied";
	default:
		return "failed";
	}
}

/* Mounts that we make are seen by nobody else, and end with us. */
static int own_mounts(void)
{
	static bool done;

	if (done)
		return 0;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return errno;
	done = true;
	return 0;
}

static int find(const char *folder, const char *type, const char *probe)
{
	int error;

	if (access(probe, F_OK) == 0)
		return 0;
	/* The folder of the mount is there whenever the kernel has the file system. */
	if (access(folder, F_OK) < 0)
		return errno;
	error = own_mounts();
	if (error)
		return error;
	if (mount("fragtrace", folder, type, 0, NULL) < 0)
		return errno;
	return access(probe, F_OK) == 0 ? 0 : errno;
}

int no_tracefs(const char **path)
{
	*path = "/sys/kernel/tracing";
	return find(*path, "tracefs", "/sys/kernel/tracing/instances");
}

int no_debugfs(const char **path)
{
	*path = "/sys/kernel/debug";
	return find(*path, "debugfs", "/sys/kernel/debug/extfrag");
}

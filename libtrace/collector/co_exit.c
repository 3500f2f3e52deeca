/* SPDX-License-Identifier: MIT */
/* How somebody else's child ended: see co_exit.h. */
#include "co_exit.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "co_procfs.h"
#include "ft_cleanup.h"

/* <linux/pidfd.h> of Linux 6.15: older headers lack it, older kernels answer with an error. */
struct info {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};
#define INFO_EXIT (UINT64_C(1) << 3)
#define GET_INFO  _IOWR(0xFF, 11, struct info)

/* Field 52 of stat, while state Z says that it is still that process and that the field is final;
 * the name in parentheses may hold anything. */
static bool zombie_status(pid_t pid, int *status)
{
	char path[64];
	ft_auto_free char *text = NULL;
	char *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	text = co_procfs_read(path, 4096);
	at = text ? strrchr(text, ')') : NULL;
	if (!at || strncmp(at, ") Z", 3) != 0)
		return false;
	for (int field = 2; field < 52 && at; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return false;
	*status = (int)strtol(at + 1, NULL, 10);
	return true;
}

bool co_exit_status(int pidfd, pid_t pid, int *status)
{
	/* The pidfd knows after the parent has reaped the process, /proc until then; between our
	 * two looks it may have changed from one to the other. */
	for (int i = 0; i < 3; i++) {
		struct info info = {.mask = INFO_EXIT};

		if (pidfd >= 0 && ioctl(pidfd, GET_INFO, &info) == 0 && (info.mask & INFO_EXIT)) {
			*status = info.exit_code;
			return true;
		}
		if (zombie_status(pid, status))
			return true;
	}
	return false;
}

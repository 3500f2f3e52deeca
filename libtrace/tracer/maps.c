/* SPDX-License-Identifier: MIT */
/* What is mapped: see tr_maps.h. */
#include "tr_maps.h"

#include <fcntl.h>

#include "tr_sys.h"

/* From "start-end perms ..." a line. */
bool tr_find_mapping(uintptr_t address, struct tr_extent *ret)
{
	char buffer[512];
	uintptr_t bounds[2] = {0, 0};
	unsigned field = 0; /* 0: start, 1: end, 2: the rest of the line */
	bool found = false;
	int fd = (int)tr_sys(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
	long n = 1;

	while (fd >= 0 && !found && n > 0) {
		n = tr_sys(SYS_read, fd, buffer, sizeof(buffer));
		for (long i = 0; i < n && !found; i++) {
			unsigned char c = (unsigned char)buffer[i];

			if (c == '\n') {
				field = 0;
				bounds[0] = bounds[1] = 0;
			} else if (field < 2 && (c == '-' || c == ' ')) {
				field++;
				found = field == 2 && address - bounds[0] < bounds[1] - bounds[0];
			} else if (field < 2) {
				bounds[field] = bounds[field] << 4 |
						(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
			}
		}
	}
	tr_close(fd);
	*ret = (struct tr_extent){bounds[0], bounds[1]};
	return found;
}

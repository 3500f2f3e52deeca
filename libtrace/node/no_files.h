/* SPDX-License-Identifier: MIT */
/* Files of the kernel, and where they are. */
#ifndef NO_FILES_H
#define NO_FILES_H

#include <stdbool.h>

#include "ft_strbuf.h"

/* Read all of a file; what was in `out` goes. 0, or errno. */
int no_file_read(const char *path, struct ft_strbuf *out);

/* "read" for 0, "missing", "denied" or "failed" for an errno. */
const char *no_status(int os_errno);

/*
 * The folders of tracefs and debugfs. Where they are not mounted they are mounted in a mount
 * namespace of this process alone, which ends with it; that needs CAP_SYS_ADMIN. 0, or errno: the
 * path is then not usable.
 */
int no_tracefs(const char **path);
int no_debugfs(const char **path);

#endif

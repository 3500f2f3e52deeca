/* SPDX-License-Identifier: MIT */
/*
 * Is a recording's writer alive?
 *
 * The writer holds an open-file-description lock on the recording's -wal file as long as it lives;
 * the kernel drops it with the process, however that ends, and it is seen across containers and pid
 * namespaces, which a stored pid is not. It lies on the -wal file because SQLite takes POSIX locks
 * on the two other files, and the kernel drops all of a process's POSIX locks on a file when any of
 * its descriptors is closed: a probe of the database itself would quietly unlock a connection of
 * the same process. SQLite locks no byte of the -wal file, keeps it as long as a connection that
 * writes is open, and removes it when the recording is folded into one file.
 */
#ifndef FT_LOCK_H
#define FT_LOCK_H

#include <stdbool.h>

#include "ft_error.h"

/* Take the lock of the recording at `path`, whose -wal file exists; *fd is closed to release it. */
struct ft_error *ft_lock_take(const char *path, int *fd);

/* Whether somebody holds it. No -wal file, or one that can't be opened, is "no". */
bool ft_lock_held(const char *path);

#endif

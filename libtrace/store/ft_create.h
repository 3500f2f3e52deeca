/* SPDX-License-Identifier: MIT */
/* A file that is there with its content, or not at all. */
#ifndef FT_CREATE_H
#define FT_CREATE_H

#include <stddef.h>

#include "ft_error.h"

/*
 * Make the file `path` (mode 0600) with these bytes, synced; its name appears when all of them are
 * there. It must not be there before. Where the file system knows no files without a name
 * (O_TMPFILE), the name comes first, and whoever is killed in between leaves a shorter file.
 */
struct ft_error *ft_create_file(const char *path, const void *bytes, size_t n);

#endif

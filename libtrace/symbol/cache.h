/* SPDX-License-Identifier: MIT */
/*
 * Resolved addresses, kept between runs
 *
 * One file a build-id in a directory of the user's own. A file is written aside and renamed, so
 * that a reader sees a whole one and concurrent writers replace each other's (the loser's additions
 * are looked up again one day). It is believed only if its checksum, its structure and its
 * fingerprint (the files the names came from) are right; anything else is as if it weren't there.
 * Nothing here is an error: a cache that doesn't work makes the work slower.
 */
#ifndef FT_SYMBOL_CACHE_H
#define FT_SYMBOL_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "frames.h"

/* $XDG_CACHE_HOME/fragtrace/symbols or $HOME/.cache/...; malloc'ed, NULL without either. */
char *ft_cache_default_dir(void);

/* Read what is known of a build into `table` (initialized, empty), sorted. False: nothing. */
bool ft_cache_load(const char *dir, const char *build_id, const char *fingerprint,
		   struct ft_frame_table *table);

/* Replace what is known of a build, then remove the least recently used files beyond `max_bytes`.
 * False: it was not written. */
bool ft_cache_store(const char *dir, const char *build_id, const char *fingerprint,
		    const struct ft_frame_table *table, uint64_t max_bytes);

#endif

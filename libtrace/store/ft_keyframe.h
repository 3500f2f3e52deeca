/* SPDX-License-Identifier: MIT */
/* The live table as rows of the table keyframe. Internal to the store. */
#ifndef FT_KEYFRAME_H
#define FT_KEYFRAME_H

#include "ft_chunk.h"
#include "ft_db.h"
#include "ft_follow.h"

/* What writing them takes; used again for each. */
struct ft_keyframes {
	struct ft_encoder *encoder;
	struct ft_strbuf blob;
	uint64_t n_bytes; /* packed, of the last one */
};

bool ft_keyframes_init(
	struct ft_keyframes *keyframes); /* false: out of memory; deinit it then too */
void ft_keyframes_deinit(struct ft_keyframes *keyframes);

/* The blocks that `follow` has, as those that live before event `seq`; `time_ns` is the time of the
 * one before it. In the caller's transaction. */
struct ft_error *ft_keyframe_write(struct ft_keyframes *keyframes, sqlite3 *db, const char *path,
				   const struct ft_follow *follow, uint64_t seq, uint64_t time_ns);

#endif

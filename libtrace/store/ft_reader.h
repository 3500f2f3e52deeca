/* SPDX-License-Identifier: MIT */
/* The reader's inside, shared by its two files: opening and rows. */
#ifndef FT_READER_H
#define FT_READER_H

#include "fragtrace/store.h"
#include "ft_arena.h"
#include "ft_catalog.h"
#include "ft_sqlite.h"

struct ft_reader_meta {
	const char *key;
	const char *text; /* as text, also of numbers */
	int64_t number;
	bool is_number;
};

struct ft_reader {
	char *path;
	sqlite3 *db;
	enum ft_recording_state state;
	struct ft_catalog catalog;
	bool has_catalog; /* events: not in a machine's recording */
	bool is_node;
	unsigned flags;
	struct ft_arena arena; /* meta, and the process row's strings */
	struct ft_reader_meta *meta;
	size_t n_meta;
	struct ft_keyframe_info *keyframes; /* NULL until asked for, or when there are none */
	size_t n_keyframes;
};

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Names of frames, for SQL and for the texts of sites
 *
 * A pc belongs to the module whose range holds pc - 1 (a return address may lie just behind the
 * last byte of its module), of several that lay there one after the other to the one that did when
 * its stack was seen first (ft_module_had()). Symbols are looked up by (module, pc - bias), or (0,
 * pc) without a module.
 */
#ifndef FT_NAMES_H
#define FT_NAMES_H

#include <stdint.h>

#include "fragtrace/store.h"

#include "ft_arena.h"
#include "ft_error.h"
#include "ft_map.h"
#include "ft_sqlite.h"
#include "ft_strbuf.h"

struct ft_names_module {
	uint32_t id;
	uint64_t bias, start, end, unload_ns;
	uint32_t last_stack;
	const char *path; /* or NULL */
};

struct ft_names_place {
	const struct ft_names_module *module; /* or NULL */
	uint64_t offset;
};

struct ft_names {
	sqlite3 *db;
	const char *path;
	struct ft_names_module *modules; /* the one loaded last comes first */
	size_t n_modules;
	sqlite3_stmt *stmt;
	struct ft_arena arena;
	struct ft_map lines; /* pc -> struct ft_names_text *, a list: one for each module */
};

struct ft_error *ft_names_init(struct ft_names *names, sqlite3 *db, const char *path);
void ft_names_deinit(struct ft_names *names);

/* Of a frame of this stack. */
struct ft_names_place ft_names_place(const struct ft_names *names, uint32_t stack, uint64_t pc);

/* Run `visit` for each frame at a place, innermost first; borrowed strings. */
struct ft_names_frame {
	uint32_t depth;
	const char *function, *file;
	int64_t line;
};
struct ft_error *ft_names_frames(struct ft_names *names, struct ft_names_place place,
				 void (*visit)(void *ctx, const struct ft_names_frame *frame),
				 void *ctx);

/* "function (file:line)\n" for each frame at the pc of a node, innermost first, "module+0xoffset\n"
 * where no name is known. *ret is owned by `names`. */
struct ft_error *ft_names_lines(struct ft_names *names, const struct ft_stack_node *node,
				const char **ret);

#endif

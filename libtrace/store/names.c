/* SPDX-License-Identifier: MIT */
/* Names of frames: see ft_names.h. */
#include "ft_names.h"

#include <stdlib.h>
#include <string.h>

#include "ft_cleanup.h"
#include "ft_db.h"

enum { MAX_NAME = 512 }; /* bytes of a function's name in a line: templates run to kilobytes */

static struct ft_error *read_modules(struct ft_names *names)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	size_t capacity = 0;
	int rc;

	FT_TRY(ft_db_prepare(
		names->db, names->path,
		ft_db_has_column(names->db, "module", "last_stack")
			? "SELECT id, bias, start_address, end_address, path, unload_ns,"
			  " last_stack FROM module ORDER BY load_ns DESC, id DESC"
			: "SELECT id, bias, start_address, end_address, path, unload_ns,"
			  " NULL FROM module ORDER BY load_ns DESC, id DESC",
		&stmt));
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *path = ft_db_text(stmt, 4);

		if (names->n_modules == capacity) {
			size_t bigger = capacity ? capacity * 2 : 64;
			struct ft_names_module *modules =
				realloc(names->modules, bigger * sizeof(*modules));

			if (!modules)
				return &ft_enomem;
			names->modules = modules;
			capacity = bigger;
		}

		struct ft_names_module *module = &names->modules[names->n_modules];

		*module = (struct ft_names_module){
			.id = (uint32_t)ft_db_u64(stmt, 0),
			.bias = ft_db_u64(stmt, 1),
			.start = ft_db_u64(stmt, 2),
			.end = ft_db_u64(stmt, 3),
			.unload_ns = ft_db_time(stmt, 5),
			.last_stack = (uint32_t)ft_db_u64(stmt, 6),
			.path = path ? ft_arena_strdup(&names->arena, path) : NULL,
		};
		if (path && !module->path)
			return &ft_enomem;
		names->n_modules++;
	}
	return rc == SQLITE_DONE ? NULL : ft_db_error(names->db, names->path, "modules");
}

struct ft_error *ft_names_init(struct ft_names *names, sqlite3 *db, const char *path)
{
	*names = (struct ft_names){.db = db, .path = path};
	ft_arena_init(&names->arena);
	ft_map_init(&names->lines);

	struct ft_error *error = read_modules(names);

	if (!error)
		error = ft_db_prepare(db, path,
				      "SELECT f.depth, a.text, b.text, f.line FROM symbol_frame f"
				      " LEFT JOIN string a ON a.id = f.function"
				      " LEFT JOIN string b ON b.id = f.file"
				      " WHERE f.module = ? AND f.\"offset\" = ? ORDER BY f.depth",
				      &names->stmt);
	if (error)
		ft_names_deinit(names);
	return error;
}

void ft_names_deinit(struct ft_names *names)
{
	sqlite3_finalize(names->stmt);
	free(names->modules);
	ft_arena_deinit(&names->arena);
	ft_map_deinit(&names->lines);
	*names = (struct ft_names){0};
}

struct ft_names_place ft_names_place(const struct ft_names *names, uint32_t stack, uint64_t pc)
{
	const struct ft_names_module *found = NULL;

	/* From the one loaded last to the first. */
	for (size_t i = 0; i < names->n_modules; i++) {
		const struct ft_names_module *module = &names->modules[i];

		if (pc - 1 >= module->start && pc - 1 < module->end &&
		    (!found || ft_module_had(module->unload_ns, module->last_stack, stack)))
			found = module;
	}
	return (struct ft_names_place){.module = found, .offset = found ? pc - found->bias : pc};
}

struct ft_error *ft_names_frames(struct ft_names *names, struct ft_names_place place,
				 void (*visit)(void *ctx, const struct ft_names_frame *frame),
				 void *ctx)
{
	sqlite3_stmt *stmt = names->stmt;
	struct ft_error *error = NULL;
	int rc;

	sqlite3_bind_int64(stmt, 1, place.module ? place.module->id : 0);
	sqlite3_bind_int64(stmt, 2, (int64_t)place.offset);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		visit(ctx, &(struct ft_names_frame){
				   .depth = (uint32_t)ft_db_u64(stmt, 0),
				   .function = ft_db_text(stmt, 1),
				   .file = ft_db_text(stmt, 2),
				   .line = sqlite3_column_int64(stmt, 3),
			   });
	if (rc != SQLITE_DONE)
		error = ft_db_error(names->db, names->path, "symbols");
	sqlite3_reset(stmt);
	return error;
}

static void add_line(void *ctx, const struct ft_names_frame *frame)
{
	struct ft_strbuf *text = ctx;

	if (!frame->function)
		return;
	ft_strbuf_addf(text, "%.*s", MAX_NAME, frame->function);
	if (frame->file && frame->line > 0)
		ft_strbuf_addf(text, " (%.*s:%lld)", MAX_NAME, frame->file, (long long)frame->line);
	ft_strbuf_addc(text, '\n');
}

struct ft_names_text {
	const struct ft_names_module *module;
	const char *lines;
	struct ft_names_text *next;
};

struct ft_error *ft_names_lines(struct ft_names *names, const struct ft_stack_node *node,
				const char **ret)
{
	struct ft_names_place place = ft_names_place(names, node->id, node->pc);
	uint64_t *slot = ft_map_put(&names->lines, node->pc, NULL);
	struct ft_names_text *known;

	if (!slot)
		return &ft_enomem;
	for (known = (void *)(uintptr_t)*slot; known; known = known->next) {
		if (known->module == place.module) {
			*ret = known->lines;
			return NULL;
		}
	}

	ft_auto_strbuf struct ft_strbuf text = {0};

	FT_TRY(ft_names_frames(names, place, add_line, &text));
	if (!text.len) {
		const char *path = place.module ? place.module->path : NULL;
		const char *slash = path ? strrchr(path, '/') : NULL;

		if (path)
			ft_strbuf_addf(&text, "%s+", slash ? slash + 1 : path);
		ft_strbuf_addf(&text, "0x%llx\n", (unsigned long long)place.offset);
	}
	*ret = text.failed ? NULL : ft_arena_strdup(&names->arena, ft_strbuf_text(&text));
	known = *ret ? ft_arena_alloc(&names->arena, sizeof(*known)) : NULL;
	if (!known)
		return &ft_enomem;
	*known = (struct ft_names_text){
		.module = place.module, .lines = *ret, .next = (void *)(uintptr_t)*slot};
	*slot = (uint64_t)(uintptr_t)known;
	return NULL;
}

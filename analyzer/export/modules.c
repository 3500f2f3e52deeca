/* SPDX-License-Identifier: MIT */
/* Modules by their path, as formats that name addresses need them. */
#include "modules.h"

#include <stdlib.h>
#include <string.h>

static struct ft_error *add(void *ctx, const struct ft_module_row *row)
{
	struct fa_modules *m = ctx;
	const char *path = m->redact ? fa_redact_path(m->redact, row->path) : row->path;
	uint32_t id;
	bool created;

	if (!path)
		return NULL;
	/* A file that was loaded twice is what it was the first time. */
	if (!fa_intern_put(&m->paths, path, strlen(path), &id, &created))
		return &ft_enomem;
	if (!created)
		return NULL;

	struct fa_module *list = realloc(m->list, (id + 1) * sizeof(*list));

	if (!list)
		return &ft_enomem;
	m->list = list;
	list[id] = (struct fa_module){
		.path = m->paths.entries[id].data,
		.build_id = row->build_id ? ft_arena_strdup(&m->paths.arena, row->build_id) : NULL,
		.start = row->start,
		.end = row->end,
		.bias = row->bias,
	};
	return NULL;
}

struct ft_error *fa_modules_load(struct fa_modules *modules, const struct fa_export_source *source)
{
	modules->redact = source->redact;
	return ft_reader_modules(fa_engine_reader(source->engine), add, modules);
}

struct ft_error *fa_modules_find(struct fa_modules *modules, const char *path, uint32_t *ret)
{
	bool created;

	if (!fa_intern_put(&modules->paths, path, strlen(path), ret, &created))
		return &ft_enomem;
	if (!created)
		return NULL;

	/* Not among the rows of the recording. */
	struct fa_module *list = realloc(modules->list, (*ret + 1) * sizeof(*list));

	if (!list)
		return &ft_enomem;
	modules->list = list;
	list[*ret] = (struct fa_module){.path = modules->paths.entries[*ret].data};
	return NULL;
}

void fa_modules_deinit(struct fa_modules *modules)
{
	fa_intern_deinit(&modules->paths);
	free(modules->list);
}

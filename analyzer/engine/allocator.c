/* SPDX-License-Identifier: MIT */
/*
 * Whose heap it is, and which bytes a block really takes (fa_place.h)
 *
 * The modules say whose it is, unless the recording does: an allocator that is linked into the
 * program has no module of its own.
 */
#include <string.h>

#include "block_place.h"
#include "engine_impl.h"

static struct ft_error *find_allocator(void *ctx, const struct ft_module_row *row)
{
	const char **allocator = ctx, *name = fa_place_allocator(row->path);

	if (name)
		*allocator = name;
	return NULL;
}

struct ft_error *fa_engine_find_allocator(struct fa_engine *engine)
{
	const char *meta = ft_reader_meta(engine->reader, "allocator");
	const char *allocator = "glibc";

	if (meta)
		allocator = meta;
	else
		FT_TRY(ft_reader_modules(engine->reader, find_allocator, &allocator));
	engine->allocator = allocator;
	engine->is_glibc = strcmp(allocator, "glibc") == 0;
	return NULL;
}

const char *fa_engine_allocator(const struct fa_engine *engine)
{
	return engine->allocator;
}

void fa_engine_extent(const struct fa_engine *engine, const struct fa_block *block, uint64_t *start,
		      uint64_t *end)
{
	block_extent(engine->is_glibc, block, start, end);
}

void fa_engine_place(const struct fa_engine *engine, const struct fa_block *block,
		     struct fa_place *ret)
{
	*ret = block_place(engine->is_glibc, block);
}

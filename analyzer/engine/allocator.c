/* SPDX-License-Identifier: MIT */
/*
 * Whose heap it is, and which bytes a block really takes
 *
 * The allocator decides what lies around the bytes that a program asked for. glibc keeps 8 bytes of
 * header in front of each block, which is why its usable sizes are 8 more than a multiple of 16; a
 * block without that mark was not laid out by glibc, whatever the modules say (an allocator that is
 * linked into the program has no module of its own).
 */
#include <string.h>

#include "engine_impl.h"

enum { GLIBC_HEADER = 8, GLIBC_MMAP_HEADER = 16, GLIBC_MIN_USABLE = 24 };

static struct ft_error *find_allocator(void *ctx, const struct ft_module_row *row)
{
	static const char *const names[] = {"jemalloc", "tcmalloc", "mimalloc"};
	const char **allocator = ctx, *base = row->path ? strrchr(row->path, '/') : NULL;

	if (!base || strncmp(base, "/lib", 4) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strncmp(base + 4, names[i], strlen(names[i])) == 0)
			*allocator = names[i];
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
	uint64_t usable = block->usable;

	*start = block->address & ~UINT64_C(7);
	if (engine->is_glibc && block->flags & FT_EVENT_F_MMAPPED) {
		*start -= GLIBC_MMAP_HEADER;
	} else if (engine->is_glibc) {
		/* Equal sizes: exact or unknown; the rule gives the right answer for both. */
		if (usable == block->size) {
			usable = ((usable + GLIBC_HEADER + 15) & ~UINT64_C(15)) - GLIBC_HEADER;
			if (usable < GLIBC_MIN_USABLE)
				usable = GLIBC_MIN_USABLE;
		}
		if (usable % 16 == 8 && usable >= GLIBC_MIN_USABLE && !(block->address & 15))
			*start -= GLIBC_HEADER;
	}
	if (!usable)
		usable = 8;
	*end = (block->address + usable + 7) & ~UINT64_C(7);
}

void fa_engine_place(const struct fa_engine *engine, const struct fa_block *block,
		     struct fa_place *ret)
{
	*ret = (struct fa_place){
		.own_mapping = engine->is_glibc && block->flags & FT_EVENT_F_MMAPPED,
		.tag = block->flags & FT_EVENT_F_NON_MAIN ? FA_TAG_ARENA : FA_TAG_MAIN,
	};
	fa_engine_extent(engine, block, &ret->start, &ret->end);
}

/* SPDX-License-Identifier: MIT */
/*
 * What a forked child inherited
 *
 * The heap of a forked child begins as its parent's was at the fork. The parent's recording, where
 * it is still to be had, is replayed up to that moment by an engine of its own (which may have a
 * parent in turn); what is live then is live before the child's first event, as what was before a
 * window is. An inherited block keeps its stack: the parent's stack s is the child's stack
 * n_own_stacks + s, and its names are the parent's. Its thread is none of the child's: 0.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_impl.h"
#include "ft_cleanup.h"
#include "ft_error.h"

/* The two recordings' clocks agree within microseconds; a fork takes some tens of them, in which
 * the thread that forks does nothing else. */
enum { MAX_GENERATIONS = 16, FORK_SLACK_NS = 20000 };

static struct ft_error *because(struct fa_engine *engine, const char *format, const char *what)
{
	char text[512];

	snprintf(text, sizeof(text), format, what);
	engine->inheritance.unknown = ft_arena_strdup(&engine->arena, text);
	return engine->inheritance.unknown ? NULL : &ft_enomem;
}

/* Is it the recording that the child means? One that can't be opened is not. */
static struct ft_reader *open_if_parent(const char *path, const char *image)
{
	struct ft_reader *reader;
	struct ft_error *error = ft_reader_open(path, FT_READER_NO_WAIT, &reader);
	const char *found;

	if (error) {
		ft_error_destroy(error);
		return NULL;
	}
	found = ft_reader_meta(reader, "image");
	if (found && image && strcmp(found, image) == 0)
		return reader;
	ft_reader_close(reader);
	return NULL;
}

/* Beside the child's file, as when both were copied from elsewhere; else where it was made. */
static struct ft_reader *find_parent(const struct fa_engine *engine, const char *path)
{
	const char *own = ft_reader_path(engine->reader), *slash = strrchr(own, '/');
	const char *image = ft_reader_meta(engine->reader, "parent_image");
	const char *name = strrchr(path, '/');
	size_t folder = slash ? (size_t)(slash - own) + 1 : 0, bytes;
	ft_auto_free char *beside = NULL;
	struct ft_reader *reader = NULL;

	name = name ? name + 1 : path;
	bytes = folder + strlen(name) + 1;
	beside = malloc(bytes);
	if (beside) {
		snprintf(beside, bytes, "%.*s%s", (int)folder, own, name);
		reader = open_if_parent(beside, image);
	}
	return reader ? reader : open_if_parent(path, image);
}

struct ft_error *fa_engine_find_parent(struct fa_engine *engine)
{
	const char *origin = ft_reader_meta(engine->reader, "origin");
	struct fa_options options = {.at_end = true,
				     .progress = engine->options.progress,
				     .progress_ctx = engine->options.progress_ctx};
	struct ft_process_row process = {0};

	engine->n_own_stacks = engine->n_stacks;
	FT_TRY(ft_reader_process(engine->reader, &process));
	/* Earlier writers named the parents of forked children only. */
	if (origin ? strcmp(origin, "fork") != 0 : !process.parent_recording)
		return NULL;
	engine->inheritance.forked = true;
	if (!process.parent_recording || process.fork_ns == FT_TIME_NONE)
		return because(engine, "%s",
			       "the recording does not say when it was forked of what");
	if (ft_reader_meta_int(engine->reader, "sample_bytes", 0))
		return because(engine, "%s", "a sampled recording has no blocks of its parent");
	if (engine->options.generation == MAX_GENERATIONS)
		return because(engine, "%s", "it has too many ancestors");
	engine->parent_reader = find_parent(engine, process.parent_recording);
	if (!engine->parent_reader)
		return because(
			engine,
			"its parent's recording is neither beside it nor where it was made (%s)",
			process.parent_recording);

	if (ft_reader_begin_seq(engine->reader))
		return because(engine, "%s",
			       "this recording goes on from another one of it, which does not "
			       "tell");
	if (ft_reader_first_seq(engine->reader))
		return because(engine, "%s",
			       "its own first events are not there any more: what it had freed of "
			       "it is not known");
	options.generation = engine->options.generation + 1;
	options.to_ns = process.fork_ns + FORK_SLACK_NS;
	if (fa_engine_first_ns(engine->parent_reader) > options.to_ns)
		return because(engine, "%s",
			       "its parent's recording has no events of that time any more");
	FT_TRY(fa_engine_create(engine->parent_reader, &options, &engine->parent));
	if (engine->parent->sample_bytes)
		return because(engine, "%s", "its parent's recording is a sampled one");
	if (engine->parent->to_ns < options.to_ns &&
	    ft_reader_state(engine->parent_reader) != FT_STATE_COMPLETE)
		FT_TRY(because(engine, "%s",
			       "its parent's recording ends before the fork: what came between is "
			       "missing"));
	engine->inheritance.seeded = true;
	engine->n_stacks += engine->parent->n_stacks;
	return NULL;
}

struct ft_error *fa_engine_inherit(struct fa_engine *engine)
{
	const struct fa_block *from;
	size_t cursor = 0;

	if (!engine->inheritance.seeded)
		return NULL;
	FT_TRY(fa_engine_replay(engine->parent));
	while (fa_engine_next_live(engine->parent, &cursor, &from)) {
		bool taken;
		struct fa_block *block = fa_heap_insert(&engine->heap, from->address, &taken);
		struct site_account *site;

		if (!block)
			return &ft_enomem;
		*block = *from;
		block->stack = (uint32_t)(engine->n_own_stacks + from->stack);
		block->thread = 0;
		block->born_ns = block->born_seq = 0;
		site = &engine->sites[block->stack];
		site->live_blocks += block->blocks;
		site->live_bytes += block->bytes;
		engine->totals.live_blocks += block->blocks;
		engine->totals.live_bytes += block->bytes;
		if (!fa_block_is_object(block)) {
			engine->totals.live_usable += block->usable;
			engine->totals.laid_bytes += block->size;
		}
		engine->inheritance.n_blocks++;
		engine->inheritance.n_bytes += block->size;
	}
	/* Only its names are wanted from now on. */
	fa_heap_deinit(&engine->parent->heap);
	engine->parent->heap = (struct fa_heap){0};
	return NULL;
}

const struct fa_inheritance *fa_engine_inheritance(const struct fa_engine *engine)
{
	return &engine->inheritance;
}

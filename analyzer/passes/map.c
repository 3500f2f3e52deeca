/* SPDX-License-Identifier: MIT */
/*
 * Heap map: a picture of addresses over time
 *
 * A row is a range of addresses, a column a stretch of time, a cell how full the range was at the
 * end of the stretch. At most 256 rows and 512 columns, and 8 MiB while counting, however large
 * the heap.
 */
#include <stdlib.h>
#include <string.h>

#include "fa_aside.h"
#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_grid.h"
#include "fa_layout.h"

enum {
	MAP_ROWS = 256,
	MAP_COLUMNS = 512,
	MAP_GRANULES = 1 << 14,
	TAG_MMAP = 4, /* beside FA_TAG_... */
};

/* What the grid is told. Two are written for most blocks: they are small. */
struct map_item {
	uint64_t start; /* a multiple of 8; of a birth with its tags in the lowest bits */
	uint64_t end;	/* 0 ends the column */
};

struct map {
	struct fa_aside *aside; /* owned */
	struct fa_grid grid;	/* the aside's until it is finished */
	struct fa_picture picture;
	uint32_t stride; /* ticks a column */
	uint32_t n;	 /* columns that ended */
	uint64_t time_ns[MAP_COLUMNS];
	bool glibc;
};

static struct ft_error *run_items(void *ctx, const void *items, size_t n)
{
	struct fa_grid *grid = ctx;
	const struct map_item *item = items;

	for (; n--; item++)
		if (item->start & 7)
			FT_TRY(fa_grid_add(grid, item->start & -(uint64_t)8, item->end,
					   (uint8_t)(item->start & 7)));
		else if (item->end)
			fa_grid_remove(grid, item->start, item->end);
		else
			fa_grid_next_column(grid);
	return NULL;
}

static inline struct ft_error *tell(struct map *map, uint64_t start, uint64_t end, uint8_t tags)
{
	struct map_item item = {.start = start | tags, .end = end};

	return fa_aside_add(map->aside, &item, sizeof(item));
}

static struct ft_error *map_born(struct map *map, const struct fa_place *place, uint8_t flags)
{
	bool mapped = !map->glibc || flags & FT_EVENT_F_MMAPPED;

	return tell(map, place->start, place->end, mapped ? TAG_MMAP : place->tag);
}

static struct ft_error *map_init(struct fa_pass *pass)
{
	struct map *map = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);
	const struct fa_block *block;
	uint32_t n_ticks = fa_engine_n_ticks(engine);
	size_t cursor = 0;

	map->glibc = strcmp(fa_engine_allocator(engine), "glibc") == 0;
	map->stride = (n_ticks + MAP_COLUMNS - 1) / MAP_COLUMNS;
	FT_TRY(fa_grid_init(&map->grid, (n_ticks + map->stride - 1) / map->stride, MAP_GRANULES));
	FT_TRY(fa_aside_create(engine, sizeof(struct map_item), run_items, &map->grid,
			       &map->aside));
	while (fa_engine_next_laid(engine, &cursor, &block)) {
		struct fa_place place;

		fa_engine_place(engine, block, &place);
		FT_TRY(map_born(map, &place, block->flags));
	}
	return NULL;
}

static inline struct map_item item_of(const struct map *map, const struct fa_place *place,
				      const struct fa_block *block, bool born)
{
	bool mapped = !map->glibc || block->flags & FT_EVENT_F_MMAPPED;
	uint64_t tags = mapped ? TAG_MMAP : place->tag;

	return (struct map_item){.start = place->start | (tags & (0 - (uint64_t)born)),
				 .end = place->end};
}

/* Without a branch on whether a block was born or died, which can't be foreseen. */
static struct ft_error *map_on_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct map *map = fa_pass_state(pass);
	struct map_item *items;
	void *room;
	size_t n = 0;

	FT_TRY(fa_aside_reserve(map->aside, 2 * steps->n, sizeof(*items), &room));
	items = room;
	for (size_t i = 0; i < steps->n; i++) {
		const struct fa_step *step = &steps->all[i];
		bool born = step->born != NULL;

		if (__builtin_expect(born == (step->died != NULL), 0) && step->died &&
		    step->died_at)
			items[n++] = item_of(map, step->died_at, step->died, false);
		if (__builtin_expect(step->block && step->block_at, 1))
			items[n++] = item_of(map, step->block_at, step->block, born);
	}
	fa_aside_took(map->aside, n);
	return NULL;
}

static struct ft_error *map_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct map *map = fa_pass_state(pass);

	if ((tick + 1) % map->stride && tick + 1 != fa_engine_n_ticks(fa_pass_engine(pass)))
		return NULL;
	map->time_ns[map->n++] = time_ns;
	return tell(map, 0, 0, 0);
}

static struct ft_error *map_finish(struct fa_pass *pass)
{
	struct map *map = fa_pass_state(pass);

	FT_TRY(fa_aside_finish(map->aside));
	return fa_grid_fold(&map->grid, MAP_ROWS, &map->picture);
}

static void map_deinit(struct fa_pass *pass)
{
	struct map *map = fa_pass_state(pass);

	fa_aside_destroy(map->aside);
	fa_grid_deinit(&map->grid);
	fa_picture_deinit(&map->picture);
}

static const char *band_kind(const struct fa_band *band)
{
	return band->tags & FA_TAG_MAIN ? "heap" : band->tags & FA_TAG_ARENA ? "arena" : "mmap";
}

static struct ft_error *map_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct map *map = fa_pass_state(pass);
	const struct fa_picture *picture = &map->picture;
	struct fa_json *json = fa_doc_begin(doc, "map");

	fa_json_kv_u64(json, "rows", picture->n_rows);
	fa_json_kv_u64(json, "columns", picture->n_columns);
	fa_json_kv_u64(json, "bin_bytes", picture->bin_bytes);
	fa_json_key(json, "regions");
	fa_json_array_begin(json);
	for (size_t i = 0; i < picture->n_bands; i++) {
		const struct fa_band *band = &picture->bands[i];

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "start", band->start);
		fa_json_kv_u64(json, "end", band->end);
		fa_json_kv_u64(json, "first_row", band->first_row);
		fa_json_kv_u64(json, "n_rows", band->n_rows);
		fa_json_kv_string(json, "kind", band_kind(band));
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "time_ns");
	fa_json_array_begin(json);
	for (uint32_t c = 0; c < picture->n_columns; c++)
		fa_json_u64(json, map->time_ns[c]);
	fa_json_array_end(json);
	fa_doc_end(doc);
	fa_doc_column(doc, "map.occupancy", FA_U8, picture->cells,
		      (size_t)picture->n_rows * picture->n_columns);
	return NULL;
}

const struct fa_pass_ops fa_pass_map = {
	.name = "map",
	.summary = "how full which addresses were over time",
	.state_size = sizeof(struct map),
	.needs_all_blocks = true,
	.needs_places = true,
	.init = map_init,
	.on_steps = map_on_steps,
	.on_tick = map_on_tick,
	.finish = map_finish,
	.emit = map_emit,
	.deinit = map_deinit,
};

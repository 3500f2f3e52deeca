/* SPDX-License-Identifier: MIT */
/*
 * Pages: the heap page by page at a few moments, and the blocks of its emptiest pages
 *
 * Where `map` shows addresses over time, this shows a moment closely: for each cell (a page, or so
 * many that a large heap fits) how full it is, which site and which thread hold most of it, and how
 * old its bytes are; then, for the cells with most free bytes, every block. Moments are the ends of
 * equal stretches of the window, and the begin of the teardown.
 *
 * The site and the thread of a cell are found by weighted majority vote (Boyer and Moore 1991):
 * right where one of them holds more than half of the cell's live bytes, else one of those that
 * hold much.
 *
 * Memory: 10 bytes a cell and 32 a block kept, at most 65536 cells and 4096 blocks a moment; while
 * a moment is taken 56 bytes a cell, and 40 for each 64 KiB of addresses that hold something.
 */
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "ft_cleanup.h"
#include "ft_map.h"

enum {
	MOMENTS = 8, /* and the teardown */
	MAX_CELLS = 1 << 16,
	MAX_BLOCKS = 1 << 12,
	MAX_REGIONS = 256,
	SITE_RANKS = 250,
	RANK_OTHER = 255,
	PAGE_SHIFT = 12,
	GRANULE_SHIFT = 16,
	MAX_GRANULES = 1 << 20,
	RECENT = 1 << 13,
	GAP = 8, /* granules without anything that do not end a region */
};

struct page_region {
	uint64_t start;
	uint32_t first_cell, n_cells;
};

struct page_block {
	uint64_t address, size, born_ns;
	uint32_t stack, thread;
};

struct moment {
	uint64_t time_ns;
	bool teardown;
	unsigned cell_shift;
	size_t n_cells, n_regions, n_blocks;
	uint64_t blocks_left_out; /* on cells that are not listed */
	uint8_t *live, *age;	  /* n_cells */
	uint32_t *site, *thread;
	struct page_region *regions;
	struct page_block *blocks;
};

struct pages {
	struct moment moments[MOMENTS + 1];
	size_t n_moments;
	uint32_t stride; /* ticks a moment */
	/* for the document, made in finish */
	uint32_t sites[SITE_RANKS];
	size_t n_sites, n_cells, n_blocks;
	uint8_t *live, *site, *age, *thread;
	uint64_t *block_address, *block_size, *block_born;
	uint32_t *block_site, *block_thread;
};

/* ---- taking a moment ------------------------------------------------------------------------- */

/* One cell while it is added up. A vote is won by what is left of its weight at the end. */
struct cell {
	uint64_t live, site_weight, thread_weight;
	double age; /* ns, weighted by bytes */
	uint32_t site, thread, n_blocks;
};

/* The addresses in use at a moment: granules in order, joined to regions. */
/* A granule that was looked for lately. */
struct recent {
	uint64_t granule; /* + 1; 0: none */
	uint64_t first_cell;
};

struct layout {
	struct ft_map index;   /* of a granule: its first cell */
	struct recent *recent; /* owned; RECENT, by the lower bits of the granule */
	uint64_t *granules;
	size_t n_granules;
	unsigned granule_shift, cell_shift;
	struct cell *cells;
	size_t n_cells;
};

static void layout_deinit(struct layout *layout)
{
	ft_map_deinit(&layout->index);
	free(layout->recent);
	free(layout->granules);
	free(layout->cells);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Blocks may be of any size, terabytes that are never touched included: granules are as large as it
 * takes for MAX_GRANULES of them, and two a block, to hold all. */
static void choose_granules(struct layout *layout, const struct fa_engine *engine)
{
	const struct fa_block *block;
	uint64_t pages = 0;
	size_t cursor = 0;

	while (fa_engine_next_laid(engine, &cursor, &block)) {
		uint64_t start, end;

		fa_engine_extent(engine, block, &start, &end);
		pages += (end - start) >> PAGE_SHIFT;
	}
	layout->granule_shift = GRANULE_SHIFT;
	while (pages >> (layout->granule_shift - PAGE_SHIFT) > MAX_GRANULES)
		layout->granule_shift++;
}

static struct ft_error *find_granules(struct layout *layout, const struct fa_engine *engine)
{
	const struct fa_block *block;
	size_t cursor = 0, at = 0;
	uint64_t key, value;

	choose_granules(layout, engine);
	while (fa_engine_next_laid(engine, &cursor, &block)) {
		uint64_t start, end;

		fa_engine_extent(engine, block, &start, &end);
		for (uint64_t g = start >> layout->granule_shift;
		     g <= (end - 1) >> layout->granule_shift; g++) {
			struct recent *recent = &layout->recent[g % RECENT];

			if (recent->granule == g + 1)
				continue;
			if (!ft_map_put(&layout->index, g, NULL))
				return &ft_enomem;
			recent->granule = g + 1;
		}
	}
	layout->granules = malloc((ft_map_count(&layout->index) + 1) * sizeof(*layout->granules));
	if (!layout->granules)
		return &ft_enomem;
	cursor = 0;
	while (ft_map_next(&layout->index, &cursor, &key, &value))
		layout->granules[at++] = key;
	layout->n_granules = at;
	qsort(layout->granules, at, sizeof(*layout->granules), compare_u64);
	return NULL;
}

/* Cells as large as they must be for the heap to fit: first larger parts of granules, then larger
 * granules. */
static void choose_cells(struct layout *layout)
{
	layout->cell_shift = PAGE_SHIFT;
	while (layout->n_granules << (layout->granule_shift - layout->cell_shift) > MAX_CELLS) {
		size_t n = 0;

		layout->cell_shift++;
		if (layout->cell_shift <= layout->granule_shift)
			continue;
		layout->granule_shift++;
		for (size_t i = 0; i < layout->n_granules; i++) {
			uint64_t wider = layout->granules[i] >> 1;

			if (!n || layout->granules[n - 1] != wider)
				layout->granules[n++] = wider;
		}
		layout->n_granules = n;
	}
}

/* Small gaps become cells without anything, while there is room for them. */
static bool joins(const struct layout *layout, size_t i, size_t cells_left)
{
	uint64_t gap = layout->granules[i] - layout->granules[i - 1] - 1;
	unsigned shift = layout->granule_shift - layout->cell_shift;

	return gap <= GAP && (gap << shift) <= cells_left;
}

static struct ft_error *lay_out(struct layout *layout, struct moment *moment)
{
	unsigned shift = layout->granule_shift - layout->cell_shift;
	size_t spare = MAX_CELLS - (layout->n_granules << shift), n = 0;

	ft_map_deinit(&layout->index);
	ft_map_init(&layout->index);
	memset(layout->recent, 0, RECENT * sizeof(*layout->recent));
	moment->regions = calloc(layout->n_granules + 1, sizeof(*moment->regions));
	if (!moment->regions)
		return &ft_enomem;
	for (size_t i = 0; i < layout->n_granules; i++) {
		struct page_region *region = &moment->regions[moment->n_regions];

		if (i && joins(layout, i, spare)) {
			size_t gap = (layout->granules[i] - layout->granules[i - 1] - 1) << shift;

			spare -= gap;
			n += gap;
			region--;
			region->n_cells += (uint32_t)gap;
		} else {
			region->start = layout->granules[i] << layout->granule_shift;
			region->first_cell = (uint32_t)n;
			moment->n_regions++;
		}
		region->n_cells += 1u << shift;

		uint64_t *first = ft_map_put(&layout->index, layout->granules[i], NULL);

		if (!first)
			return &ft_enomem;
		*first = n;
		n += (size_t)1 << shift;
	}
	layout->n_cells = n;
	layout->cells = calloc(n + 1, sizeof(*layout->cells));
	return layout->cells ? NULL : &ft_enomem;
}

/* The cell of an address that a live block takes. */
static struct cell *cell_at(const struct layout *layout, uint64_t address)
{
	uint64_t granule = address >> layout->granule_shift;
	uint64_t inner = address >> layout->cell_shift;
	unsigned shift = layout->granule_shift - layout->cell_shift;
	struct recent *recent = &layout->recent[granule % RECENT];

	if (recent->granule != granule + 1)
		*recent = (struct recent){granule + 1, *ft_map_get(&layout->index, granule)};
	return &layout->cells[recent->first_cell + (inner & ((UINT64_C(1) << shift) - 1))];
}

static void vote(uint32_t *candidate, uint64_t *weight, uint32_t who, uint64_t bytes)
{
	if (*candidate == who) {
		*weight += bytes;
	} else if (*weight >= bytes) {
		*weight -= bytes;
	} else {
		*candidate = who;
		*weight = bytes - *weight;
	}
}

static void add_block(struct layout *layout, const struct fa_engine *engine,
		      const struct fa_block *block, uint64_t now_ns)
{
	uint64_t start, end, age = now_ns > block->born_ns ? now_ns - block->born_ns : 0;
	uint64_t cell_bytes = UINT64_C(1) << layout->cell_shift;

	fa_engine_extent(engine, block, &start, &end);
	for (uint64_t at = start; at < end;) {
		uint64_t next = (at | (cell_bytes - 1)) + 1, to = next < end ? next : end;
		struct cell *cell = cell_at(layout, at);

		cell->live += to - at;
		cell->age += (double)age * (double)(to - at);
		cell->n_blocks++;
		vote(&cell->site, &cell->site_weight, block->stack, to - at);
		vote(&cell->thread, &cell->thread_weight, block->thread, to - at);
		at = to;
	}
}

static uint8_t share_of(const struct cell *cell, uint64_t bytes)
{
	uint64_t share = cell->live >= bytes ? 255 : cell->live * 255 / bytes;

	return cell->live && !share ? 1 : (uint8_t)share;
}

static struct ft_error *keep_cells(const struct layout *layout, struct moment *moment)
{
	size_t n = layout->n_cells;

	moment->n_cells = n;
	moment->cell_shift = layout->cell_shift;
	moment->live = malloc(n + 1);
	moment->age = malloc(n + 1);
	moment->site = calloc(n + 1, sizeof(*moment->site));
	moment->thread = calloc(n + 1, sizeof(*moment->thread));
	if (!moment->live || !moment->age || !moment->site || !moment->thread)
		return &ft_enomem;
	for (size_t i = 0; i < n; i++) {
		const struct cell *cell = &layout->cells[i];
		uint64_t age = cell->live ? (uint64_t)(cell->age / (double)cell->live) : 0;

		moment->live[i] = share_of(cell, UINT64_C(1) << layout->cell_shift);
		moment->age[i] = age ? (uint8_t)(63 - __builtin_clzll(age)) : 0;
		moment->site[i] = cell->site;
		moment->thread[i] = cell->thread;
	}
	return NULL;
}

/* ---- the blocks of the emptiest cells ----------------------------------------------------------
 */

struct candidate {
	uint64_t live;
	uint32_t cell;
};

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->live != y->live)
		return x->live < y->live ? -1 : 1;
	return x->cell < y->cell ? -1 : x->cell > y->cell;
}

/* Cells with anything on them, least full first, until their blocks are enough. */
static struct ft_error *choose_sparse(const struct layout *layout, bool *chosen, size_t *n_blocks)
{
	ft_auto_free struct candidate *order = malloc((layout->n_cells + 1) * sizeof(*order));
	size_t n = 0;

	if (!order)
		return &ft_enomem;
	for (size_t i = 0; i < layout->n_cells; i++)
		if (layout->cells[i].live)
			order[n++] = (struct candidate){layout->cells[i].live, (uint32_t)i};
	qsort(order, n, sizeof(*order), compare_candidates);
	*n_blocks = 0;
	for (size_t i = 0; i < n; i++) {
		size_t more = layout->cells[order[i].cell].n_blocks;

		if (*n_blocks + more > MAX_BLOCKS)
			break;
		*n_blocks += more;
		chosen[order[i].cell] = true;
	}
	return NULL;
}

static int compare_blocks(const void *a, const void *b)
{
	const struct page_block *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static struct ft_error *keep_blocks(const struct layout *layout, const struct fa_engine *engine,
				    struct moment *moment)
{
	ft_auto_free bool *chosen = calloc(layout->n_cells + 1, sizeof(*chosen));
	const struct fa_block *block;
	size_t cursor = 0, most = 0;

	if (!chosen)
		return &ft_enomem;
	FT_TRY(choose_sparse(layout, chosen, &most));
	moment->blocks = malloc((most + 1) * sizeof(*moment->blocks));
	if (!moment->blocks)
		return &ft_enomem;
	while (fa_engine_next_laid(engine, &cursor, &block)) {
		uint64_t start, end;
		size_t first, last;

		fa_engine_extent(engine, block, &start, &end);
		if (start >= end) /* beyond all addresses: on no page */
			continue;
		first = (size_t)(cell_at(layout, start) - layout->cells);
		last = (size_t)(cell_at(layout, end - 1) - layout->cells);
		if ((!chosen[first] && !chosen[last]) || moment->n_blocks == most) {
			moment->blocks_left_out++;
			continue;
		}
		moment->blocks[moment->n_blocks++] = (struct page_block){
			block->address, block->size, block->born_ns, block->stack, block->thread};
	}
	qsort(moment->blocks, moment->n_blocks, sizeof(*moment->blocks), compare_blocks);
	return NULL;
}

static struct ft_error *fill_moment(struct layout *layout, const struct fa_engine *engine,
				    struct moment *moment)
{
	const struct fa_block *block;
	size_t cursor = 0;

	layout->recent = calloc(RECENT, sizeof(*layout->recent));
	if (!layout->recent)
		return &ft_enomem;
	FT_TRY(find_granules(layout, engine));
	choose_cells(layout);
	FT_TRY(lay_out(layout, moment));
	while (fa_engine_next_laid(engine, &cursor, &block))
		add_block(layout, engine, block, moment->time_ns);
	FT_TRY(keep_cells(layout, moment));
	return keep_blocks(layout, engine, moment);
}

static struct ft_error *take_moment(struct pages *pages, const struct fa_engine *engine,
				    uint64_t time_ns, bool teardown)
{
	struct moment *moment = &pages->moments[pages->n_moments++];
	struct layout layout = {0};
	struct ft_error *error;

	moment->time_ns = time_ns;
	moment->teardown = teardown;
	ft_map_init(&layout.index);
	error = fill_moment(&layout, engine, moment);
	layout_deinit(&layout);
	return error;
}

/* ---- the pass ----------------------------------------------------------------------------------
 */

static struct ft_error *pages_init(struct fa_pass *pass)
{
	struct pages *pages = fa_pass_state(pass);
	uint32_t n_ticks = fa_engine_n_ticks(fa_pass_engine(pass));

	pages->stride = (n_ticks + MOMENTS - 1) / MOMENTS;
	return NULL;
}

static struct ft_error *pages_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct pages *pages = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);

	if ((tick + 1) % pages->stride && tick + 1 != fa_engine_n_ticks(engine))
		return NULL;
	return take_moment(pages, engine, time_ns, false);
}

static struct ft_error *pages_on_teardown(struct fa_pass *pass)
{
	const struct fa_engine *engine = fa_pass_engine(pass);
	uint64_t seq, time_ns;

	if (!fa_engine_teardown(engine, &seq, &time_ns))
		return NULL;
	return take_moment(fa_pass_state(pass), engine, time_ns, true);
}

struct ranked {
	uint32_t stack;
	uint64_t cells;
};

static int compare_ranked(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->cells != y->cells)
		return x->cells > y->cells ? -1 : 1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

/* Sites by how many cells are theirs; `rank` has 0 for none, and those past the last the same. */
static struct ft_error *rank_sites(struct pages *pages, size_t n_stacks, uint8_t *rank)
{
	ft_auto_free struct ranked *ranked = calloc(n_stacks + 1, sizeof(*ranked));

	if (!ranked)
		return &ft_enomem;
	for (size_t i = 0; i < n_stacks; i++)
		ranked[i].stack = (uint32_t)i;
	for (size_t m = 0; m < pages->n_moments; m++)
		for (size_t i = 0; i < pages->moments[m].n_cells; i++)
			if (pages->moments[m].live[i])
				ranked[pages->moments[m].site[i]].cells++;
	qsort(ranked, n_stacks, sizeof(*ranked), compare_ranked);
	for (size_t i = 0; i < n_stacks && ranked[i].cells; i++) {
		if (i < SITE_RANKS)
			pages->sites[pages->n_sites++] = ranked[i].stack;
		rank[ranked[i].stack] = i < SITE_RANKS ? (uint8_t)(i + 1) : RANK_OTHER;
	}
	return NULL;
}

static struct ft_error *allocate_columns(struct pages *pages)
{
	for (size_t m = 0; m < pages->n_moments; m++) {
		pages->n_cells += pages->moments[m].n_cells;
		pages->n_blocks += pages->moments[m].n_blocks;
	}

	size_t cells = pages->n_cells + 1, blocks = pages->n_blocks + 1;

	pages->live = malloc(cells);
	pages->site = calloc(cells, 1);
	pages->age = malloc(cells);
	pages->thread = calloc(cells, 1);
	pages->block_address = malloc(blocks * sizeof(uint64_t));
	pages->block_size = malloc(blocks * sizeof(uint64_t));
	pages->block_born = malloc(blocks * sizeof(uint64_t));
	pages->block_site = malloc(blocks * sizeof(uint32_t));
	pages->block_thread = malloc(blocks * sizeof(uint32_t));
	return pages->live && pages->site && pages->age && pages->thread && pages->block_address &&
			       pages->block_size && pages->block_born && pages->block_site &&
			       pages->block_thread
		       ? NULL
		       : &ft_enomem;
}

static struct ft_error *pages_finish(struct fa_pass *pass)
{
	struct pages *pages = fa_pass_state(pass);
	size_t n_stacks = fa_engine_n_stacks(fa_pass_engine(pass)), cell = 0, row = 0;
	ft_auto_free uint8_t *rank = calloc(n_stacks + 1, 1);

	if (!rank)
		return &ft_enomem;
	FT_TRY(rank_sites(pages, n_stacks, rank));
	FT_TRY(allocate_columns(pages));
	for (size_t m = 0; m < pages->n_moments; m++) {
		const struct moment *moment = &pages->moments[m];

		for (size_t i = 0; i < moment->n_cells; i++, cell++) {
			uint32_t thread = moment->thread[i];

			pages->live[cell] = moment->live[i];
			pages->age[cell] = moment->age[i];
			if (!moment->live[i])
				continue;
			pages->site[cell] = rank[moment->site[i]];
			pages->thread[cell] = thread < RANK_OTHER ? (uint8_t)thread : RANK_OTHER;
		}
		for (size_t i = 0; i < moment->n_blocks; i++, row++) {
			const struct page_block *block = &moment->blocks[i];

			pages->block_address[row] = block->address;
			pages->block_size[row] = block->size;
			pages->block_born[row] = block->born_ns;
			pages->block_site[row] = block->stack;
			pages->block_thread[row] = block->thread;
		}
	}
	return NULL;
}

static void pages_deinit(struct fa_pass *pass)
{
	struct pages *pages = fa_pass_state(pass);

	for (size_t m = 0; m < pages->n_moments; m++) {
		struct moment *moment = &pages->moments[m];

		free(moment->live);
		free(moment->age);
		free(moment->site);
		free(moment->thread);
		free(moment->regions);
		free(moment->blocks);
	}
	free(pages->live);
	free(pages->site);
	free(pages->age);
	free(pages->thread);
	free(pages->block_address);
	free(pages->block_size);
	free(pages->block_born);
	free(pages->block_site);
	free(pages->block_thread);
}

/* ---- emit ---------------------------------------------------------------------------------------
 */

static void emit_moment(const struct moment *moment, size_t first_cell, size_t first_block,
			struct fa_json *json)
{
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "time_ns", moment->time_ns);
	fa_json_kv_bool(json, "teardown", moment->teardown);
	fa_json_kv_u64(json, "cell_bytes", UINT64_C(1) << moment->cell_shift);
	fa_json_kv_u64(json, "first_cell", first_cell);
	fa_json_kv_u64(json, "n_cells", moment->n_cells);
	fa_json_kv_u64(json, "first_block", first_block);
	fa_json_kv_u64(json, "n_blocks", moment->n_blocks);
	fa_json_kv_u64(json, "blocks_left_out", moment->blocks_left_out);
	fa_json_key(json, "regions");
	fa_json_array_begin(json);
	for (size_t i = 0; i < moment->n_regions && i < MAX_REGIONS; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "start", moment->regions[i].start);
		fa_json_kv_u64(json, "first_cell", moment->regions[i].first_cell);
		fa_json_kv_u64(json, "n_cells", moment->regions[i].n_cells);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_kv_u64(json, "regions_left_out",
		       moment->n_regions > MAX_REGIONS ? moment->n_regions - MAX_REGIONS : 0);
	fa_json_object_end(json);
}

static struct ft_error *pages_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct pages *pages = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct fa_json *json = fa_doc_begin(doc, "pages");
	size_t cell = 0, block = 0;

	fa_json_key(json, "moments");
	fa_json_array_begin(json);
	for (size_t m = 0; m < pages->n_moments; m++) {
		emit_moment(&pages->moments[m], cell, block, json);
		cell += pages->moments[m].n_cells;
		block += pages->moments[m].n_blocks;
	}
	fa_json_array_end(json);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < pages->n_sites; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "site", pages->sites[i]);
		fa_json_kv_string(json, "name", fa_engine_site_name(engine, pages->sites[i]));
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_doc_end(doc);
	fa_doc_column(doc, "pages.live", FA_U8, pages->live, pages->n_cells);
	fa_doc_column(doc, "pages.site", FA_U8, pages->site, pages->n_cells);
	fa_doc_column(doc, "pages.age", FA_U8, pages->age, pages->n_cells);
	fa_doc_column(doc, "pages.thread", FA_U8, pages->thread, pages->n_cells);
	fa_doc_column(doc, "pages.block_address", FA_U64, pages->block_address, pages->n_blocks);
	fa_doc_column(doc, "pages.block_size", FA_U64, pages->block_size, pages->n_blocks);
	fa_doc_column(doc, "pages.block_born_ns", FA_U64, pages->block_born, pages->n_blocks);
	fa_doc_column(doc, "pages.block_site", FA_U32, pages->block_site, pages->n_blocks);
	fa_doc_column(doc, "pages.block_thread", FA_U32, pages->block_thread, pages->n_blocks);
	return NULL;
}

const struct fa_pass_ops fa_pass_pages = {
	.name = "pages",
	.summary = "the heap page by page at a few moments, with the blocks of the emptiest pages",
	.state_size = sizeof(struct pages),
	.needs_all_blocks = true,
	.init = pages_init,
	.on_tick = pages_on_tick,
	.on_teardown = pages_on_teardown,
	.finish = pages_finish,
	.emit = pages_emit,
	.deinit = pages_deinit,
};

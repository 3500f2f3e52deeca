/* SPDX-License-Identifier: MIT */
/*
 * The heap region by region: see frag.h
 *
 * At the moment in full, and at some samples of pages, so that it can be told which arena grows
 * and which one lies idle.
 */
#include <stdlib.h>
#include <string.h>

#include "frag.h"
#include "ft_cleanup.h"

/* ---- one moment --------------------------------------------------------------------------------
 */

/* By the ranges of the last sample; without one by what blocks ever covered. */
struct ft_error *frag_regions_make(const struct frag *frag, bool sampled, struct frag_region **ret,
				   size_t *n_ret)
{
	const struct frag_samples *samples = &frag->samples;
	size_t n = sampled ? samples->n_ranges : frag->layout->holes.regions.n;
	struct frag_region *regions = calloc(n + 1, sizeof(*regions));

	if (!regions)
		return &ft_enomem;
	for (size_t i = 0; i < n; i++) {
		struct frag_region *region = &regions[i];

		if (sampled) {
			region->start = samples->ranges[i].start;
			region->end = samples->ranges[i].end;
			region->kind = samples->ranges[i].kind;
			region->sampled = true;
			region->empty_res = fa_residency_count(&samples->residency,
							       region->start >> FA_PAGE_SHIFT,
							       region->end >> FA_PAGE_SHIFT)
						    .resident *
					    PAGE;
		} else {
			const struct fa_region *ever = &frag->layout->holes.regions.items[i];

			region->start = ever->start;
			region->end = ever->end;
			region->kind = !frag->glibc		   ? KIND_MMAP
				       : ever->tags & FA_TAG_ARENA ? KIND_ARENA
								   : KIND_HEAP;
		}
	}
	/* The last: blocks with mappings of their own. */
	regions[n].kind = KIND_MMAP;
	regions[n].sampled = sampled;
	*ret = regions;
	*n_ret = n + 1;
	return NULL;
}

/* The region that holds `address`, or NULL. */
static struct frag_region *region_at(struct frag_regions *regions, uint64_t address)
{
	struct frag_region *last = &regions->items[regions->last];
	size_t low = 0, high = regions->n - 1;

	if (regions->last < high && last->start <= address && address < last->end)
		return last;
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (regions->items[mid].end <= address)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == regions->n - 1 || regions->items[low].start > address)
		return NULL;
	regions->last = low;
	return &regions->items[low];
}

void frag_regions_block(struct frag_regions *regions, bool own, const struct fa_block *block,
			uint64_t start, uint64_t end)
{
	struct frag_region *region =
		own ? &regions->items[regions->n - 1] : region_at(regions, start);

	if (!region)
		return;
	region->live_req += block->size;
	region->round += block->usable - block->size;
	region->meta += end - start - block->usable;
	if (own && (!region->start || start < region->start))
		region->start = start;
	if (own && end > region->end)
		region->end = end;
}

struct visit {
	const struct fa_residency *residency;
	struct frag_regions regions;
	bool own; /* all pages belong to the last one */
};

static struct frag_region *visited(struct visit *visit, uint64_t address)
{
	return visit->own ? &visit->regions.items[visit->regions.n - 1]
			  : region_at(&visit->regions, address);
}

static void region_page(void *ctx, const struct fa_page_view *page)
{
	struct visit *visit = ctx;
	struct frag_region *region = visited(visit, page->address);
	uint32_t known, resident;

	if (!region)
		return;
	if (page->absent)
		region->live_nr += page->live;
	else
		region->pin_free += PAGE - page->live;
	/* `empty_res` counts down from all that was resident. */
	fa_residency_bits(visit->residency, page->address >> FA_PAGE_SHIFT, 1, &known, &resident);
	if (resident && region->empty_res >= PAGE)
		region->empty_res -= PAGE;
}

static void region_span(void *ctx, const struct fa_page_span *span)
{
	struct visit *visit = ctx;
	struct frag_region *region = visited(visit, span->first << FA_PAGE_SHIFT);
	uint64_t resident;

	if (!region)
		return;
	region->live_nr += span->n_absent * PAGE;
	resident = fa_residency_count(visit->residency, span->first, span->first + span->n_pages)
			   .resident *
		   PAGE;
	region->empty_res -= resident < region->empty_res ? resident : region->empty_res;
}

void frag_regions_pages(const struct frag *frag, struct frag_region *regions, size_t n)
{
	struct visit visit = {.residency = &frag->samples.residency, .regions = {regions, n, 0}};

	fa_pagemap_visit(&frag->layout->pages, region_page, &visit);
	fa_pagemap_visit_spans(&frag->layout->pages, region_span, &visit);
	visit.own = true;
	fa_pagemap_visit(&frag->layout->mapped, region_page, &visit);
	fa_pagemap_visit_spans(&frag->layout->mapped, region_span, &visit);
}

/* ---- over time ---------------------------------------------------------------------------------
 */

void frag_arenas_deinit(struct frag_arenas *arenas)
{
	free(arenas->cells);
	fa_regions_deinit(&arenas->ever);
}

static struct ft_error *keep(struct frag *frag, const struct frag_region *region, bool own)
{
	struct frag_arenas *arenas = &frag->by_arena;
	bool main = frag->glibc && region->kind != KIND_ARENA;

	if (arenas->n_cells == arenas->room) {
		size_t room = arenas->room ? arenas->room * 2 : 64;
		struct frag_arena_cell *cells = realloc(arenas->cells, room * sizeof(*cells));

		if (!cells)
			return &ft_enomem;
		arenas->cells = cells;
		arenas->room = room;
	}
	/* Mappings of other allocators grow and join: what they ever covered names them. */
	if (!own && !frag->glibc)
		FT_TRY(fa_regions_cover(&arenas->ever, region->start, region->end, 0));
	arenas->cells[arenas->n_cells++] = (struct frag_arena_cell){
		.key = own    ? FRAG_ARENA_MAPPED
		       : main ? FRAG_ARENA_MAIN
			      : region->start,
		.moment = arenas->n,
		.kind = region->kind,
		.terms = {(int64_t)region->live_req, (int64_t)region->round, (int64_t)region->meta,
			  (int64_t)region->pin_free, (int64_t)region->empty_res,
			  (int64_t)region->live_nr,
			  (int64_t)(region->pin_free + region->empty_res)},
	};
	return NULL;
}

struct ft_error *frag_arenas_take(struct frag *frag, const struct fa_engine *engine,
				  uint64_t time_ns)
{
	struct frag_arenas *arenas = &frag->by_arena;
	ft_auto_free struct frag_region *regions = NULL;
	const struct fa_block *block;
	size_t n, cursor = 0;

	FT_TRY(frag_regions_make(frag, true, &regions, &n));

	struct frag_regions all = {regions, n, 0};

	while (fa_engine_next_laid(engine, &cursor, &block)) {
		uint64_t start, end;
		bool own = frag->glibc && block->flags & FT_EVENT_F_MMAPPED;

		fa_engine_extent(engine, block, &start, &end);
		frag_regions_block(&all, own, block, start, end);
	}
	frag_regions_pages(frag, regions, n);
	for (size_t i = 0; i < n; i++)
		if (i + 1 < n || regions[i].live_req)
			FT_TRY(keep(frag, &regions[i], i + 1 == n));
	arenas->time_ns[arenas->n++] = time_ns;
	return NULL;
}

/* A row of the table: one of glibc's heaps, or a stretch of mappings. */
struct row {
	uint64_t key;
	enum frag_kind kind;
	int64_t most; /* bytes that it ever took */
	bool others;  /* the sum of the smallest */
};

static int row_by_key(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

static int row_by_size(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->most != y->most)
		return x->most < y->most ? 1 : -1;
	return row_by_key(a, b);
}

static uint64_t row_key(const struct frag_arenas *arenas, uint64_t key)
{
	size_t i = fa_regions_index(&arenas->ever, key + 1);

	return key > FRAG_ARENA_MAPPED && i < arenas->ever.n && arenas->ever.items[i].start <= key
		       ? arenas->ever.items[i].start
		       : key;
}

/* The rows by key, and which of them each cell belongs to (`rows_of`, a number a cell). */
static struct ft_error *find_rows(const struct frag_arenas *arenas, struct row **ret, size_t *n_ret,
				  uint32_t *rows_of)
{
	struct row *rows = calloc(arenas->n_cells + 1, sizeof(*rows));
	ft_auto_free struct row *mine = rows;
	size_t n = 0;

	if (!rows)
		return &ft_enomem;
	for (size_t c = 0; c < arenas->n_cells; c++) {
		const struct frag_arena_cell *cell = &arenas->cells[c];

		rows[c] = (struct row){.key = row_key(arenas, cell->key),
				       .kind = cell->kind,
				       .most = cell->terms[0] + cell->terms[FRAG_ARENA_SLACK]};
	}
	qsort(rows, arenas->n_cells, sizeof(*rows), row_by_key);
	for (size_t c = 0; c < arenas->n_cells; c++) {
		if (!n || rows[n - 1].key != rows[c].key)
			rows[n++] = rows[c];
		else if (rows[c].most > rows[n - 1].most)
			rows[n - 1].most = rows[c].most;
	}
	if (n > FRAG_ARENA_ROWS) {
		qsort(rows, n, sizeof(*rows), row_by_size);
		n = FRAG_ARENA_ROWS;
		rows[n - 1] = (struct row){.key = UINT64_MAX, .kind = KIND_ARENA, .others = true};
		qsort(rows, n, sizeof(*rows), row_by_key);
	}
	for (size_t c = 0; c < arenas->n_cells; c++) {
		struct row wanted = {.key = row_key(arenas, arenas->cells[c].key)};
		const struct row *found = bsearch(&wanted, rows, n, sizeof(*rows), row_by_key);

		rows_of[c] = (uint32_t)(found ? found - rows : (ptrdiff_t)n - 1);
	}
	*ret = ft_take(mine);
	*n_ret = n;
	return NULL;
}

static const char *row_kind(const struct frag *frag, const struct row *row)
{
	if (row->others)
		return "others";
	if (row->key == FRAG_ARENA_MAPPED)
		return "mapped";
	if (row->key == FRAG_ARENA_MAIN)
		return "main";
	return frag->glibc ? "arena" : "mmap";
}

struct ft_error *frag_arenas_emit(const struct frag *frag, struct fa_json *json, struct fa_doc *doc)
{
	static const char *const names[FRAG_ARENA_TERMS] = {
		"frag.arena_live_req", "frag.arena_round",     "frag.arena_meta",
		"frag.arena_pin_free", "frag.arena_empty_res", "frag.arena_live_nr",
		"frag.arena_slack"};
	const struct frag_arenas *arenas = &frag->by_arena;
	ft_auto_free uint32_t *rows_of = calloc(arenas->n_cells + 1, sizeof(*rows_of));
	ft_auto_free struct row *rows = NULL;
	size_t n;

	if (!rows_of)
		return &ft_enomem;
	FT_TRY(find_rows(arenas, &rows, &n, rows_of));
	if (json) {
		fa_json_key(json, "arenas");
		fa_json_array_begin(json);
		for (size_t r = 0; r < n; r++) {
			bool placed = rows[r].key > FRAG_ARENA_MAPPED && !rows[r].others;

			fa_json_object_begin(json);
			fa_json_kv_string(json, "kind", row_kind(frag, &rows[r]));
			if (placed)
				fa_json_kv_u64(json, "start", rows[r].key);
			else
				fa_json_kv_null(json, "start");
			fa_json_object_end(json);
		}
		fa_json_array_end(json);
		return NULL;
	}

	ft_auto_free int64_t *values = calloc(n * arenas->n + 1, sizeof(*values));

	if (!values)
		return &ft_enomem;
	fa_doc_column(doc, "frag.arena_time_ns", FA_U64, arenas->time_ns, arenas->n);
	for (unsigned t = 0; t < FRAG_ARENA_TERMS; t++) {
		memset(values, 0, n * arenas->n * sizeof(*values));
		for (size_t c = 0; c < arenas->n_cells; c++)
			values[rows_of[c] * (size_t)arenas->n + arenas->cells[c].moment] +=
				arenas->cells[c].terms[t];
		fa_doc_column(doc, names[t], FA_I64, values, n * arenas->n);
	}
	return NULL;
}

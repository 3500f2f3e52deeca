/* SPDX-License-Identifier: MIT */
/*
 * Compact: what moving blocks would win
 *
 * The pages of the heap at one moment (the end of the window, or before the program began to clean
 * up for its exit) as a zone, a page each: movable unless the user named a site on it as unmovable.
 * The kernel's two scanners (fa_compact.h) run over it, and every so many pages moved the blocks of
 * 2 MiB that are whole and free are counted: the budget curve.
 *
 * Whole pages move here, with all that is on them, as in the kernel. Had the blocks themselves
 * moved, they would need `packed_pages` at best: where few pages are empty but none is full, that
 * is the figure to look at.
 *
 * C programs can't have their blocks moved: what is won is the upper bound of what a moving
 * allocator, or a restart, would give, and what is moved is its price. Pages keep their place
 * within 4 MiB, so that a free aligned block here is one that a huge page could back, or that could
 * be returned as one.
 *
 * Space before the first and after the last block of a region is not counted, nor are blocks with a
 * mapping of their own. Memory: 16 bytes a live block, 11 a page, at that moment; nothing before
 * it.
 */
#include <stdlib.h>
#include <string.h>

#include "fa_compact.h"
#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_layout.h"
#include "ft_cleanup.h"

enum {
	PAGE_SHIFT = 12,
	BUDGET_POINTS = 64,
	STRIP_BINS = 256,
	FRAMES = 64,
};

struct extent {
	uint64_t start, end;
	bool unmovable;
};

/* A stretch of the heap in the zone. */
struct stretch {
	uint64_t address; /* of its first page */
	uint32_t first, end;
};

struct figures {
	struct fa_orders orders;
	uint64_t whole; /* free blocks of 2 MiB */
};

struct budget_point {
	uint64_t moved_pages, whole;
};

struct compact {
	bool glibc;

	bool done;
	uint64_t at_ns;
	struct fa_zone zone;
	struct stretch *stretches;
	size_t n_stretches;
	uint64_t used_pages, unmovable_pages, unmovable_blocks, unmovable_bytes;
	uint64_t packed_pages; /* that the blocks would take side by side */
	uint32_t unmovable_sites;
	struct figures before, after;
	struct fa_compact_stats stats;
	struct budget_point *budget;
	size_t n_budget;
	uint64_t budget_step;
	uint8_t strips[3][STRIP_BINS]; /* used before, used after, unmovable: 0..255 of the pages */
	size_t n_bins;
};

static struct ft_error *compact_init(struct fa_pass *pass)
{
	struct compact *c = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);

	c->glibc = strcmp(fa_engine_allocator(engine), "glibc") == 0;
	return NULL;
}

/* ---- the zone -------------------------------------------------------------------------------- */

/* Whether the user named the site: by its id, or by a part of a function's name in its stack. */
static bool is_named(struct fa_engine *engine, uint32_t stack)
{
	const struct fa_options *options = fa_engine_options(engine);
	struct fa_frame frames[FRAMES];
	size_t n = fa_engine_frames(engine, stack, frames, FRAMES);

	for (size_t k = 0; k < options->n_unmovable; k++) {
		const char *name = options->unmovable[k];
		char *end;
		unsigned long id = strtoul(name, &end, 10);

		if (!*end && end != name && id == stack)
			return true;
		for (size_t i = 0; i < n && i < FRAMES; i++)
			if (frames[i].function && strstr(frames[i].function, name))
				return true;
	}
	return false;
}

static int compare_extents(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* The live blocks of the heap in address order. */
static struct ft_error *take_extents(struct compact *c, struct fa_engine *engine,
				     struct extent **ret, size_t *n_ret)
{
	size_t n_stacks = fa_engine_n_stacks(engine), cursor = 0, n = 0;
	bool any_named = fa_engine_options(engine)->n_unmovable > 0;
	ft_auto_free uint8_t *named = calloc(n_stacks + 1, 1); /* 1: no, 2: yes */
	ft_auto_free struct extent *extents =
		malloc((fa_engine_n_live(engine) + 1) * sizeof(*extents));
	const struct fa_block *block;

	if (!named || !extents)
		return &ft_enomem;
	while (fa_engine_next_laid(engine, &cursor, &block)) {
		struct extent *extent = &extents[n];

		if (c->glibc && (block->flags & FT_EVENT_F_MMAPPED))
			continue;
		fa_engine_extent(engine, block, &extent->start, &extent->end);
		if (any_named && !named[block->stack]) {
			named[block->stack] = is_named(engine, block->stack) ? 2 : 1;
			c->unmovable_sites += named[block->stack] == 2;
		}
		c->packed_pages += extent->end - extent->start; /* bytes, so far */
		extent->unmovable = named[block->stack] == 2;
		if (extent->unmovable) {
			c->unmovable_blocks++;
			c->unmovable_bytes += block->size;
		}
		n++;
	}
	c->packed_pages = (c->packed_pages + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT;
	qsort(extents, n, sizeof(*extents), compare_extents);
	*ret = extents;
	extents = NULL;
	*n_ret = n;
	return NULL;
}

/* Where each region's blocks lie in the zone; regions are those that the heap ever used. They
 * follow each other, and every address keeps its place within the largest block. */
static struct ft_error *lay_out(struct compact *c, const struct fa_regions *regions,
				const struct extent *extents, size_t n)
{
	const uint32_t top = UINT32_C(1) << FA_MAX_ORDER;
	uint64_t next = 0;

	c->stretches = calloc(regions->n + 1, sizeof(*c->stretches));
	if (!c->stretches)
		return &ft_enomem;
	for (size_t r = 0, i = 0; r < regions->n; r++) {
		const struct fa_region *region = &regions->items[r];
		uint64_t first, last = 0;

		while (i < n && extents[i].start < region->start)
			i++;
		if (i == n || extents[i].start >= region->end)
			continue;
		first = extents[i].start >> PAGE_SHIFT;
		for (; i < n && extents[i].start < region->end; i++)
			if (extents[i].end > last)
				last = extents[i].end;
		next = (next + top - 1) / top * top + first % top;

		uint64_t pages = ((last - 1) >> PAGE_SHIFT) + 1 - first;

		if (next + pages > UINT32_MAX - top)
			return ft_error_create(FT_ERROR_INPUT,
					       "the heap is too large to be compacted in a model");
		c->stretches[c->n_stretches++] = (struct stretch){.address = first << PAGE_SHIFT,
								  .first = (uint32_t)next,
								  .end = (uint32_t)(next + pages)};
		next += pages;
	}
	return fa_zone_init(&c->zone, next, &(struct fa_zone_options){0});
}

static void fill(struct compact *c, const struct extent *extents, size_t n)
{
	struct fa_buddy *buddy = &c->zone.buddy;

	for (size_t s = 0, i = 0; s < c->n_stretches; s++) {
		const struct stretch *stretch = &c->stretches[s];
		uint64_t base = (stretch->address >> PAGE_SHIFT) - stretch->first;
		uint32_t done = stretch->first;

		while (i < n && extents[i].start < stretch->address)
			i++;
		for (; i < n && (extents[i].start >> PAGE_SHIFT) - base < stretch->end; i++) {
			uint32_t from = (uint32_t)((extents[i].start >> PAGE_SHIFT) - base);
			uint32_t to = (uint32_t)(((extents[i].end - 1) >> PAGE_SHIFT) + 1 - base);

			if (from > done)
				fa_buddy_add(buddy, done, from);
			for (uint32_t page = from > done ? from : done; page < to; page++) {
				fa_buddy_add_used(buddy, page, page + 1);
				buddy->state[page] |= FA_PAGE_MOVABLE;
				c->used_pages++;
			}
			for (uint32_t page = from; extents[i].unmovable && page < to; page++) {
				c->unmovable_pages += buddy->state[page] & FA_PAGE_MOVABLE ? 1 : 0;
				buddy->state[page] &= (uint8_t)~FA_PAGE_MOVABLE;
			}
			if (to > done)
				done = to;
		}
	}
	fa_zone_ready(&c->zone);
}

/* ---- the run --------------------------------------------------------------------------------- */

static struct figures look(const struct fa_buddy *buddy)
{
	struct figures figures = {.orders = fa_buddy_orders(buddy)};

	for (unsigned o = FA_PAGEBLOCK_ORDER; o < FA_ORDERS; o++)
		figures.whole += figures.orders.n[o] << (o - FA_PAGEBLOCK_ORDER);
	return figures;
}

/* Used pages by place, or the unmovable ones. */
static void draw(const struct compact *c, uint8_t *bins, bool unmovable)
{
	const struct fa_buddy *buddy = &c->zone.buddy;
	uint64_t all = 0, at = 0, used[STRIP_BINS] = {0}, seen[STRIP_BINS] = {0};

	for (size_t s = 0; s < c->n_stretches; s++)
		all += c->stretches[s].end - c->stretches[s].first;
	for (size_t s = 0; s < c->n_stretches; s++)
		for (uint32_t page = c->stretches[s].first; page < c->stretches[s].end; page++) {
			uint64_t bin = at++ * c->n_bins / all;
			uint8_t state = buddy->state[page];

			seen[bin]++;
			if ((state & FA_PAGE_KIND) == FA_PAGE_USED)
				used[bin] += unmovable ? !(state & FA_PAGE_MOVABLE) : 1;
		}
	for (size_t i = 0; i < c->n_bins; i++)
		bins[i] = seen[i] ? (uint8_t)((used[i] * 255 + seen[i] - 1) / seen[i]) : 0;
}

static void on_moved(void *context, uint32_t from, uint32_t to, unsigned order)
{
	struct compact *c = context;

	(void)from, (void)to, (void)order;
	if (c->n_budget < BUDGET_POINTS &&
	    c->stats.moved_pages >= c->budget_step * (c->n_budget + 1))
		c->budget[c->n_budget++] =
			(struct budget_point){c->stats.moved_pages, look(&c->zone.buddy).whole};
}

static struct ft_error *compact_run(struct compact *c, struct fa_engine *engine, uint64_t at_ns)
{
	ft_auto_free struct extent *extents = NULL;
	struct fa_compact_request request = {.order = -1,
					     .type = FA_MOVABLE,
					     .mode = FA_COMPACT_SYNC,
					     .whole_zone = true,
					     .moved = on_moved,
					     .context = c};
	struct fa_layout *layout;
	struct ft_error *error;
	uint64_t pages;
	size_t n;

	c->done = true;
	c->at_ns = at_ns;
	FT_TRY(take_extents(c, engine, &extents, &n));
	FT_TRY(fa_engine_layout(engine, &layout));
	FT_TRY(lay_out(c, &layout->holes.regions, extents, n));
	fill(c, extents, n);
	c->budget = calloc(BUDGET_POINTS, sizeof(*c->budget));
	if (!c->budget)
		return &ft_enomem;
	/* No run moves more than all that is used. */
	c->budget_step = c->used_pages / BUDGET_POINTS + 1;
	pages = c->zone.managed_pages;
	c->n_bins = pages < STRIP_BINS ? pages : STRIP_BINS;
	c->before = look(&c->zone.buddy);
	draw(c, c->strips[0], false);
	draw(c, c->strips[2], true);
	fa_compact(&c->zone, &request, &c->stats, &error);
	FT_TRY(error);
	c->after = look(&c->zone.buddy);
	draw(c, c->strips[1], false);
	return NULL;
}

static struct ft_error *compact_on_teardown(struct fa_pass *pass)
{
	uint64_t seq, at_ns;

	if (!fa_engine_teardown(fa_pass_engine(pass), &seq, &at_ns))
		return NULL;
	return compact_run(fa_pass_state(pass), fa_pass_engine(pass), at_ns);
}

static struct ft_error *compact_finish(struct fa_pass *pass)
{
	struct compact *c = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);

	return c->done ? NULL : compact_run(c, engine, fa_engine_to_ns(engine));
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void emit_figures(struct fa_json *json, const char *key, const struct figures *figures)
{
	fa_json_key(json, key);
	fa_json_object_begin(json);
	fa_json_key(json, "free_blocks");
	fa_json_array_begin(json);
	for (unsigned o = 0; o < FA_ORDERS; o++)
		fa_json_u64(json, figures->orders.n[o]);
	fa_json_array_end(json);
	fa_json_kv_f64(json, "uf_index", fa_uf_index(&figures->orders, FA_PAGEBLOCK_ORDER));
	fa_json_kv_u64(json, "score", fa_frag_score(&figures->orders, FA_PAGEBLOCK_ORDER));
	fa_json_kv_u64(json, "huge_blocks", figures->whole);
	fa_json_object_end(json);
}

static uint64_t won_bytes(const struct compact *c, uint64_t whole)
{
	uint64_t won = whole > c->before.whole ? whole - c->before.whole : 0;

	return won << (FA_PAGEBLOCK_ORDER + PAGE_SHIFT);
}

static void emit_strip(struct fa_json *json, const char *key, const uint8_t *bins, size_t n)
{
	fa_json_key(json, key);
	fa_json_array_begin(json);
	for (size_t i = 0; i < n; i++)
		fa_json_u64(json, bins[i]);
	fa_json_array_end(json);
}

static struct ft_error *compact_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct compact *c = fa_pass_state(pass);
	struct fa_json *json = fa_doc_begin(doc, "compact");

	fa_json_kv_u64(json, "at_ns", c->at_ns);
	fa_json_kv_u64(json, "pages", c->zone.managed_pages);
	fa_json_kv_u64(json, "used_pages", c->used_pages);
	fa_json_kv_u64(json, "packed_pages", c->packed_pages);
	fa_json_kv_u64(json, "unmovable_pages", c->unmovable_pages);
	fa_json_key(json, "unmovable");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", c->unmovable_sites);
	fa_json_kv_u64(json, "blocks", c->unmovable_blocks);
	fa_json_kv_u64(json, "bytes", c->unmovable_bytes);
	fa_json_object_end(json);
	emit_figures(json, "before", &c->before);
	emit_figures(json, "after", &c->after);
	fa_json_kv_u64(json, "moved_pages", c->stats.moved_pages);
	fa_json_kv_u64(json, "moved_bytes", c->stats.moved_pages << PAGE_SHIFT);
	fa_json_kv_u64(json, "won_bytes", won_bytes(c, c->after.whole));
	fa_json_kv_u64(json, "migrate_scanned", c->stats.migrate_scanned);
	fa_json_kv_u64(json, "free_scanned", c->stats.free_scanned);
	fa_json_kv_u64(json, "batches", c->stats.batches);
	fa_json_key(json, "budget");
	fa_json_array_begin(json);
	for (size_t i = 0; i < c->n_budget; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "moved_bytes", c->budget[i].moved_pages << PAGE_SHIFT);
		fa_json_kv_u64(json, "won_bytes", won_bytes(c, c->budget[i].whole));
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	emit_strip(json, "strip_before", c->strips[0], c->n_bins);
	emit_strip(json, "strip_after", c->strips[1], c->n_bins);
	emit_strip(json, "strip_unmovable", c->strips[2], c->n_bins);
	fa_doc_end(doc);
	return NULL;
}

static void compact_deinit(struct fa_pass *pass)
{
	struct compact *c = fa_pass_state(pass);

	if (c->done)
		fa_zone_deinit(&c->zone);
	free(c->stretches);
	free(c->budget);
}

const struct fa_pass_ops fa_pass_compact = {
	.name = "compact",
	.summary = "what moving blocks would win: compaction of the heap, as a model",
	.state_size = sizeof(struct compact),
	.needs_all_blocks = true,
	.needs_layout = true,
	.init = compact_init,
	.on_teardown = compact_on_teardown,
	.finish = compact_finish,
	.emit = compact_emit,
	.deinit = compact_deinit,
};

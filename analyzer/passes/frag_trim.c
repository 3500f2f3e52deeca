/* SPDX-License-Identifier: MIT */
/* What malloc_trim() of glibc would give back: see frag.h, fa_glibc.h. */
#include <stdlib.h>

#include "frag.h"

struct trim {
	const struct frag *frag;
	const struct fa_engine *engine;
	uint64_t at_ns;
	bool sampled;
	struct fa_kept *kept; /* owned */
	size_t n_kept;
	uint64_t pages;
};

static bool thread_alive(const void *ctx, uint32_t thread)
{
	const struct trim *trim = ctx;
	const struct fa_thread *info = fa_engine_thread(trim->engine, thread);

	return !info || info->end_ns > trim->at_ns;
}

static uint64_t resident_pages(const struct trim *trim, uint64_t first, uint64_t last)
{
	struct fa_residency_count count;

	if (!trim->sampled)
		return last - first;
	count = fa_residency_count(&trim->frag->samples.residency, first, last);
	return count.resident + (last - first - count.known);
}

static void trim_chunk(struct trim *trim, uint64_t p, uint64_t end)
{
	uint64_t first, last;

	if (end > p && fa_trim_pages(p, end - p, &first, &last))
		trim->pages += resident_pages(trim, first, last);
}

/* The first kept chunk at or after p. */
static size_t first_kept(const struct trim *trim, uint64_t p)
{
	size_t low = 0, high = trim->n_kept;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (trim->kept[mid].address - 16 < p)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Free space from chunk p to chunk `end`, cut where caches keep a chunk. */
static void trim_space(struct trim *trim, uint64_t p, uint64_t end)
{
	for (size_t i = first_kept(trim, p); i < trim->n_kept && trim->kept[i].address - 16 < end;
	     i++) {
		trim_chunk(trim, p, trim->kept[i].address - 16);
		p = trim->kept[i].address - 16 + trim->kept[i].chunk;
	}
	trim_chunk(trim, p, end);
}

/* The main heap's top: from the last block (or kept chunk) to the break, which the sample has. */
static uint64_t trim_main_top(const struct frag *frag, const struct trim *trim)
{
	uint64_t heap_start = 0, brk = 0, last_end, first, last;

	for (size_t i = 0; i < frag->samples.n_ranges && trim->sampled; i++)
		if (frag->samples.ranges[i].kind == KIND_HEAP) {
			heap_start = frag->samples.ranges[i].start;
			brk = frag->samples.ranges[i].end;
		}
	if (!brk || !fa_holes_last_end(&frag->layout->holes, brk, &last_end) ||
	    last_end <= heap_start)
		return 0;

	uint64_t p = last_end - 8;

	for (size_t i = 0; i < trim->n_kept; i++)
		if (trim->kept[i].address - 16 >= p && trim->kept[i].address < brk)
			p = trim->kept[i].address - 16 + trim->kept[i].chunk;
	return fa_trim_top(p, brk, &first, &last) ? resident_pages(trim, first, last) : 0;
}

struct ft_error *frag_trim(const struct frag *frag, const struct fa_engine *engine, uint64_t at_ns,
			   bool sampled, struct frag_trim *ret)
{
	struct trim trim = {.frag = frag, .engine = engine, .at_ns = at_ns, .sampled = sampled};
	const struct fa_holes *holes = &frag->layout->holes;
	uint64_t cursor = 0, start, end;

	*ret = (struct frag_trim){0};
	if (!frag->glibc)
		return NULL;
	FT_TRY(fa_tcache_kept(&frag->tcache, thread_alive, &trim, &trim.kept, &trim.n_kept));
	/* Smaller holes have no page to give. */
	while (fa_holes_next_large(holes, &cursor, &start, &end)) {
		uint64_t border = (start / FRAG_ARENA_BYTES + 1) * FRAG_ARENA_BYTES;

		/* Between two arenas there is the head of the second. */
		if (border < end && (fa_holes_tags(holes, start) & FA_TAG_ARENA))
			continue;
		trim_space(&trim, start - 8, end - 8);
	}
	/* Below the first block of an arena: down to where its first one ever was. */
	for (size_t i = 0; i < frag->n_arenas; i++) {
		const struct frag_arena *arena = &frag->arenas[i];
		uint64_t first;

		if (!fa_holes_first(holes, arena->first, &first) || first <= arena->first)
			continue;
		if (arena->base && first >= arena->base + FRAG_ARENA_BYTES)
			continue;
		trim_space(&trim, arena->first - 8, first - 8);
	}
	ret->top_pages = trim_main_top(frag, &trim);
	ret->pages = trim.pages + ret->top_pages;
	/* A step a cell and a block of several pages, or a hole instead. */
	ret->cost = fa_holes_used_cells(holes) + ft_map_count(&frag->layout->pages.span_map) +
		    trim.n_kept;
	free(trim.kept);
	return NULL;
}

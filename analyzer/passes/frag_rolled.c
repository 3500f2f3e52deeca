/* SPDX-License-Identifier: MIT */
/*
 * The series of what is rolled up: see frag.h
 *
 * Where the events of a stretch are gone, the recording says how the pages were at some moments of
 * it (struct ft_page_rollup). They become the first moments of the series and of the sites' shares,
 * the last one of each stretch between two that the series would have had. What they can't say is
 * unknown: the resident size, and whether holes were of use.
 */
#include <math.h>

#include "frag.h"
#include "fragtrace/rollup.h"

_Static_assert((int)FT_PAGES_OCCUPANCY == (int)FA_OCCUPANCY, "deciles");
_Static_assert((int)FT_PAGES_ORDERS == (int)FA_ORDERS, "orders");
_Static_assert((int)FT_PAGES_HOLES == (int)FRAG_HOLE_LOG2, "sizes of holes");

struct rolled {
	struct frag *frag;
	uint64_t from_ns, detail_ns, slot_ns;
	bool any;
	struct ft_page_rollup last; /* of its slot, so far */
};

static uint32_t u32_clamp(uint64_t value)
{
	return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static struct ft_error *take_pins(struct frag *frag, const struct ft_page_rollup *pages)
{
	struct frag_pins *pins = &frag->pins;

	for (uint32_t i = 0; i < pages->n_pins; i++) {
		struct frag_pin_cell *cell;

		if (pages->pins[i].site >= frag->n_stacks)
			continue;
		FT_TRY(frag_pin_cell(pins, &cell));
		*cell = (struct frag_pin_cell){.site = pages->pins[i].site,
					       .bucket = pins->n,
					       .sole = pages->pins[i].sole,
					       .shapley = pages->pins[i].shapley};
	}
	pins->huge_util[pins->n] = pages->n_huge_pages
					   ? 100 * (double)pages->huge_live_bytes /
						     (double)(pages->n_huge_pages << FA_HUGE_SHIFT)
					   : NAN;
	pins->time_ns[pins->n++] = pages->time_ns;
	return NULL;
}

/* A moment of the series. */
static struct ft_error *take(struct frag *frag, const struct ft_page_rollup *pages)
{
	struct frag_series *series = &frag->series;
	uint32_t k = series->n;
	struct fa_orders orders;

	series->time_ns[k] = pages->time_ns;
	series->live_bytes[k] = pages->live_bytes;
	series->pinned[k] = pages->pinned_bytes;
	series->largest[k] = pages->largest_hole;
	series->hole_bytes[k] = pages->hole_bytes;
	series->pages[k] = pages->n_pages + pages->n_free_pages;
	series->trimmable[k] = pages->trim_pages * PAGE;
	series->footprint[k] = -1;
	series->internal[k] = pages->usable_bytes
				      ? 100 * (double)(pages->usable_bytes - pages->live_bytes) /
						(double)pages->usable_bytes
				      : NAN;
	series->overhead[k] =
		pages->live_bytes ? (double)(series->pages[k] * PAGE) / (double)pages->live_bytes
				  : NAN;
	series->useful[2 * (size_t)k] = series->useful[2 * (size_t)k + 1] = NAN;
	for (unsigned o = 0; o < FA_ORDERS; o++)
		orders.n[o] = pages->orders[o];
	for (unsigned o = 0; o < FA_ORDERS; o++)
		series->uf[(size_t)k * FA_ORDERS + o] = fa_uf_index(&orders, o);
	series->occupancy[(size_t)k * FA_OCCUPANCY] = u32_clamp(pages->n_free_pages);
	for (unsigned d = 1; d < FA_OCCUPANCY; d++)
		series->occupancy[(size_t)k * FA_OCCUPANCY + d] = u32_clamp(pages->occupancy[d]);
	for (unsigned i = 0; i < FRAG_HOLE_LOG2; i++)
		series->hole_hist[(size_t)k * FRAG_HOLE_LOG2 + i] = pages->holes_bytes[i];
	series->n++;
	if (series->n % frag->pins.stride == 0 && frag->pins.n < FRAG_PIN_MOMENTS)
		return take_pins(frag, pages);
	return NULL;
}

static struct ft_error *visit(void *ctx, const struct ft_page_rollup *pages)
{
	struct rolled *r = ctx;
	uint64_t slot = (pages->time_ns - r->from_ns) / r->slot_ns;

	/* The one in which the events begin has a moment of theirs. */
	if (pages->time_ns < r->from_ns || slot >= (r->detail_ns - r->from_ns) / r->slot_ns)
		return NULL;
	if (r->any && slot != (r->last.time_ns - r->from_ns) / r->slot_ns)
		FT_TRY(take(r->frag, &r->last));
	r->last = *pages;
	r->any = true;
	return NULL;
}

struct ft_error *frag_rolled(struct frag *frag, const struct fa_engine *engine, uint32_t n_moments)
{
	struct rolled r = {.frag = frag,
			   .from_ns = fa_engine_from_ns(engine),
			   .detail_ns = fa_engine_detail_ns(engine)};

	if (!fa_engine_rolled(engine) || r.detail_ns <= r.from_ns)
		return NULL;
	r.slot_ns = (fa_engine_to_ns(engine) - r.from_ns) / n_moments + 1;
	FT_TRY(ft_reader_page_rollups(fa_engine_reader(engine), visit, &r));
	if (r.any)
		FT_TRY(take(frag, &r.last));
	frag->n_rolled = frag->series.n;
	return NULL;
}

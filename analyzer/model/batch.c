/* SPDX-License-Identifier: MIT */
/* Changes that wait: see fa_batch.h. */
#include "fa_batch.h"

#include <stdlib.h>
#include <string.h>

enum {
	FIRST_ROOM = 256,
	/* Fewer are not worth a sort. */
	SORT_FROM = 64,
	/* Pages are sorted by so many of their number's lower bits: a heap of 16 GiB is walked
	 * through from begin to end, a larger one in so many places at a time. */
	DIGIT_BITS = 11,
	DIGITS = 2,
	DIGIT = 1 << DIGIT_BITS,
	/* Changes that are fetched ahead: themselves, then their pages, then their pages' lists. */
	AHEAD_CHANGE = 24,
	AHEAD_PAGE = 12,
	AHEAD_SITES = 6,
};

void fa_batch_init(struct fa_batch *batch, struct fa_layout *layout)
{
	*batch = (struct fa_batch){.layout = layout};
}

void fa_batch_deinit(struct fa_batch *batch)
{
	free(batch->born);
	free(batch->died);
	free(batch->order);
	free(batch->spare);
	*batch = (struct fa_batch){0};
}

/* Room for one more. */
static bool grow(struct fa_batch_change **changes, uint32_t *room, uint32_t most)
{
	uint32_t more = *room ? *room * 2 : FIRST_ROOM;
	struct fa_batch_change *list;

	if (more > most)
		more = most;
	list = realloc(*changes, more * sizeof(*list));
	if (!list)
		return false;
	*changes = list;
	*room = more;
	return true;
}

/* ---- in address order --------------------------------------------------------------------------
 */

/* One pass of a radix sort, by the digit that begins at bit `shift`. */
static void sort_by(const uint64_t *from, uint64_t *to, size_t n, unsigned shift)
{
	uint32_t at[DIGIT] = {0}, sum = 0;

	for (size_t i = 0; i < n; i++)
		at[from[i] >> shift & (DIGIT - 1)]++;
	for (unsigned d = 0; d < DIGIT; d++) {
		uint32_t count = at[d];

		at[d] = sum;
		sum += count;
	}
	for (size_t i = 0; i < n; i++)
		to[at[from[i] >> shift & (DIGIT - 1)]++] = from[i];
}

/* The changes that are some, as page << 32 | index, in *ret. */
static struct ft_error *order_of(struct fa_batch *batch, const struct fa_batch_change *changes,
				 size_t n, const uint64_t **ret, size_t *n_ret)
{
	uint64_t differ = 0, *order;
	size_t n_order = 0;

	if (n > batch->order_room) {
		free(batch->order);
		free(batch->spare);
		batch->order_room = 0;
		batch->order = malloc(n * sizeof(*batch->order));
		batch->spare = malloc(n * sizeof(*batch->spare));
		if (!batch->order || !batch->spare)
			return &ft_enomem;
		batch->order_room = n;
	}
	order = batch->order;
	for (size_t i = 0; i < n; i++) {
		order[n_order] = changes[i].place.start >> FA_PAGE_SHIFT << 32 | i;
		differ |= order[n_order] ^ order[0];
		n_order += changes[i].number != FA_BATCH_NONE;
	}
	for (unsigned d = 0; d < DIGITS && n_order >= SORT_FROM; d++) {
		unsigned shift = 32 + d * DIGIT_BITS;

		if (!(differ >> shift & (DIGIT - 1)))
			continue;
		sort_by(order, batch->spare, n_order, shift);
		batch->spare = order == batch->spare ? batch->order : batch->spare;
		order = batch->spare;
		batch->spare = batch->order;
		batch->order = order;
	}
	*ret = order;
	*n_ret = n_order;
	return NULL;
}

/* Start to fetch what the changes behind order[i] want. */
static inline __attribute__((always_inline)) void look_ahead(struct fa_layout *layout,
							     const struct fa_batch_change *changes,
							     const uint64_t *order, size_t i,
							     size_t n)
{
	if (i + AHEAD_CHANGE < n)
		__builtin_prefetch(&changes[(uint32_t)order[i + AHEAD_CHANGE]]);
	if (i + AHEAD_PAGE < n)
		fa_layout_prefetch(layout, changes[(uint32_t)order[i + AHEAD_PAGE]].place.start);
	if (i + AHEAD_SITES < n)
		fa_layout_prefetch_sites(layout,
					 changes[(uint32_t)order[i + AHEAD_SITES]].place.start);
}

/* All deaths come first: they make room for those who were born there. */
struct ft_error *fa_batch_apply(struct fa_batch *batch)
{
	struct fa_layout *layout = batch->layout;
	const uint64_t *order;
	size_t n;

	FT_TRY(order_of(batch, batch->died, batch->n_died, &order, &n));
	for (size_t i = 0; i < n; i++) {
		const struct fa_batch_change *change = &batch->died[(uint32_t)order[i]];

		look_ahead(layout, batch->died, order, i, n);
		fa_layout_remove(layout, &change->place, change->address, change->site);
	}
	batch->n_died = 0;
	FT_TRY(order_of(batch, batch->born, batch->n_born, &order, &n));
	for (size_t i = 0; i < n; i++) {
		const struct fa_batch_change *change = &batch->born[(uint32_t)order[i]];

		look_ahead(layout, batch->born, order, i, n);
		FT_TRY(fa_layout_add(layout, &change->place, change->address, change->site));
	}
	batch->n_born = batch->free_slot = 0;
	return NULL;
}

/* ---- blocks come and go ------------------------------------------------------------------------
 */

struct ft_error *fa_batch_born(struct fa_batch *batch, const struct fa_place *place,
			       uint64_t address, uint32_t site, uint32_t number, uint16_t *slot)
{
	struct fa_batch_change *change;

	if (batch->free_slot) {
		/* The latest that was given back: it is in the cache. */
		change = &batch->born[batch->free_slot - 1];
		batch->free_slot = change->site;
	} else {
		if (batch->n_born == FA_BATCH_BORN)
			FT_TRY(fa_batch_apply(batch));
		if (batch->n_born == batch->born_room &&
		    !grow(&batch->born, &batch->born_room, FA_BATCH_BORN))
			return &ft_enomem;
		change = &batch->born[batch->n_born++];
	}
	*change = (struct fa_batch_change){
		.place = *place, .address = address, .site = site, .number = number};
	*slot = (uint16_t)(change - batch->born + 1);
	return NULL;
}

/* A block came and went. Most lie in the region that the one before was in. */
static inline struct ft_error *pass_by(struct fa_batch *batch, const struct fa_place *place)
{
	const struct fa_region *known = &batch->known;
	const struct fa_regions *regions = &batch->layout->holes.regions;

	if (!place->own_mapping && (place->start < known->start || place->end > known->end ||
				    (known->tags & place->tag) != place->tag)) {
		FT_TRY(fa_holes_cover(&batch->layout->holes, place->start, place->end, place->tag));
		/* It may become larger, and be joined by others: what is known of it stays true. */
		batch->known = regions->items[fa_regions_index(regions, place->end)];
	}
	return fa_layout_pass(batch->layout, place);
}

struct ft_error *fa_batch_died(struct fa_batch *batch, const struct fa_place *place,
			       uint64_t address, uint32_t site, uint32_t number, uint16_t slot)
{
	/* What a slot says is worth nothing but for the block that it is of. */
	if (slot && slot <= batch->n_born && batch->born[slot - 1].number == number) {
		struct fa_batch_change *born = &batch->born[slot - 1];

		born->number = FA_BATCH_NONE;
		born->site = batch->free_slot;
		batch->free_slot = slot;
		return pass_by(batch, place);
	}
	if (batch->n_died == FA_BATCH_DIED)
		FT_TRY(fa_batch_apply(batch));
	if (batch->n_died == batch->died_room &&
	    !grow(&batch->died, &batch->died_room, FA_BATCH_DIED))
		return &ft_enomem;
	batch->died[batch->n_died++] = (struct fa_batch_change){
		.place = *place, .address = address, .site = site, .number = number};
	return NULL;
}

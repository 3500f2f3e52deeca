/* SPDX-License-Identifier: MIT */
/*
 * Batch: changes of a layout that nobody has looked at yet
 *
 * Blocks come and go far more often than somebody asks where they lie. Births and deaths are kept
 * here until then: a block that is born and dies in between never touches the layout, and what is
 * left is applied in address order, so that memory is walked through instead of visited at random.
 * The layout is the same as if each had been applied at once, however the batch is cut:
 *
 *   regions know the blocks that came and went in between, too
 *   pages that were not resident are, once such a block was on them
 *
 * but for blocks that overlap others: which of them has no place depends on who comes first, and
 * all deaths come before all births. A recording that is not damaged has none.
 *
 * A slot of `born` that a block gave back is the next one's, so that births take as many slots as
 * such blocks live at a time. Memory: 56 bytes for each change that waits. Single-threaded.
 */
#ifndef FA_BATCH_H
#define FA_BATCH_H

#include "fa_layout.h"

/* A block keeps the number of its slot + 1, in 16 bits. */
enum { FA_BATCH_BORN = UINT16_MAX, FA_BATCH_DIED = 1 << 16 };

struct fa_batch_change {
	struct fa_place place;
	uint64_t address;
	uint32_t site;
	uint32_t number; /* of the block; FA_BATCH_NONE in a slot that is not in use, whose `site`
			  * is the next of them + 1 */
};
#define FA_BATCH_NONE UINT32_MAX

struct fa_batch {
	struct fa_layout *layout;      /* borrowed */
	struct fa_batch_change *born;  /* owned */
	struct fa_batch_change *died;  /* owned */
	uint32_t n_born, n_died;       /* in use, or were */
	uint32_t born_room, died_room; /* allocated */
	uint32_t free_slot;	       /* + 1, the latest; 0: none */
	struct fa_region known;	       /* of the layout: where a block was found lately */
	uint64_t *order, *spare;       /* owned; order_room each */
	size_t order_room;
};

void fa_batch_init(struct fa_batch *batch, struct fa_layout *layout);
void fa_batch_deinit(struct fa_batch *batch);

/*
 * Block `number`, which does not live, came to life. *slot is to be given back when it dies.
 * Numbers are below FA_BATCH_NONE. After an error only deinit is allowed.
 */
struct ft_error *fa_batch_born(struct fa_batch *batch, const struct fa_place *place,
			       uint64_t address, uint32_t site, uint32_t number, uint16_t *slot);
/* It died. `slot` may be anything for a block that the layout got past the batch. */
struct ft_error *fa_batch_died(struct fa_batch *batch, const struct fa_place *place,
			       uint64_t address, uint32_t site, uint32_t number, uint16_t slot);

/* Bring the layout up to date. */
struct ft_error *fa_batch_apply(struct fa_batch *batch);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Buddy: the heap as a zone of pages, and its requests on a buddy allocator
 *
 * Two models, and neither is the machine's physical memory, which a recording of calls can't tell:
 * - Heap as zone. A page (4 KiB) of the heap is free when no block lives on it. The free pages
 *   between blocks, cut into naturally aligned blocks of 2^order pages as the kernel would hold
 * them, are what /proc/buddyinfo is for a zone; the kernel's indices follow.
 * - Arena. The requests themselves, served by a buddy allocator (fa_arena.h): what rounding up to
 *   powers of two and splitting would cost this workload, or which request would be the first to
 *   fail in an arena of fixed size.
 *
 * A block with a mapping of its own leaves no hole in the heap: it is not part of the zone, but it
 * is a request. A realloc frees first. Memory: that of fa_arena; the holes are the engine's. The
 * arena is served aside (fa_aside.h): nobody asks it anything before the end.
 */
#include <stdlib.h>
#include <string.h>

#include "fa_arena.h"
#include "fa_aside.h"
#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_layout.h"

/* AHEAD: items from one step of fetching what a death needs to the next. */
enum { MOMENTS = 512, AHEAD = 12 };

struct buddy_moment {
	uint64_t at_ns;
	struct fa_orders orders;
	struct fa_arena_figures arena;
	bool taken;
};

/* What the arena is told. Two are written for most blocks: they are small. */
struct buddy_item {
	enum {
		ITEM_BORN,
		ITEM_DIED,
		ITEM_SEQ, /* of the births that follow, in `value` */
		ITEM_TIME,
		ITEM_COLUMN, /* its figures now are those of column `number` */
		ITEM_MOMENT, /* ... and those of the moment */
	} kind;
	uint32_t number;
	uint64_t value; /* size of a block */
};

struct buddy {
	struct fa_aside *aside; /* owned */
	struct fa_arena arena;	/* the aside's until it is finished, with the columns below */
	uint64_t seq, now_ns;	/* likewise */
	struct buddy_moment moment;
	uint32_t stride, n;
	uint64_t *time_ns, *requested, *rounded, *held;
	uint64_t *orders; /* n * FA_ORDERS */
	uint32_t *score;
};

static struct ft_error *run_items(void *ctx, const void *items, size_t n)
{
	struct buddy *b = ctx;
	const struct buddy_item *item = items, *end = item + n;

	for (; item < end; item++) {
		if (end - item > 3 * AHEAD) {
			fa_arena_prefetch(&b->arena, item[3 * AHEAD].number);
			fa_arena_prefetch_place(&b->arena, item[2 * AHEAD].number);
			fa_arena_prefetch_merge(&b->arena, item[AHEAD].number);
		}
		switch (item->kind) {
		case ITEM_BORN:
			FT_TRY(fa_arena_born(&b->arena, item->number, item->value, b->seq,
					     b->now_ns));
			break;
		case ITEM_DIED:
			fa_arena_died(&b->arena, item->number, item->value);
			break;
		case ITEM_SEQ:
			b->seq = item->value;
			break;
		case ITEM_TIME:
			b->now_ns = item->value;
			break;
		case ITEM_COLUMN:
			b->requested[item->number] = b->arena.now.requested;
			b->rounded[item->number] = b->arena.now.rounded;
			b->held[item->number] = b->arena.now.held;
			break;
		case ITEM_MOMENT:
			b->moment.arena = b->arena.now;
			break;
		}
	}
	return NULL;
}

static inline struct ft_error *tell(struct buddy *b, struct buddy_item item)
{
	return fa_aside_add(b->aside, &item, sizeof(item));
}

static inline struct buddy_item item_of(uint32_t number, const struct fa_block *block, bool born)
{
	return (struct buddy_item){
		.kind = born ? ITEM_BORN : ITEM_DIED, .number = number, .value = block->size};
}

/* When a birth came is asked only of one that fails; how many items were written. */
static size_t write_birth_time(struct buddy_item *items, uint64_t seq, uint64_t time_ns)
{
	items[0] = (struct buddy_item){.kind = ITEM_SEQ, .value = seq};
	items[1] = (struct buddy_item){.kind = ITEM_TIME, .value = time_ns};
	return 2;
}

static struct ft_error *tell_live(struct buddy *b, uint32_t number, const struct fa_block *block)
{
	struct buddy_item items[2];

	if (b->arena.options.fixed) {
		write_birth_time(items, block->born_seq, block->born_ns);
		FT_TRY(tell(b, items[0]));
		FT_TRY(tell(b, items[1]));
	}
	return tell(b, item_of(number, block, true));
}

static struct ft_error *buddy_init(struct fa_pass *pass)
{
	struct buddy *b = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);
	const struct fa_options *options = fa_engine_options(engine);
	uint32_t n_ticks = fa_engine_n_ticks(engine), n;
	const struct fa_block *block;
	size_t cursor = 0;

	FT_TRY(fa_arena_init(&b->arena, &(struct fa_arena_options){.smallest = options->min_block,
								   .fixed = options->arena_bytes}));
	FT_TRY(fa_aside_create(engine, sizeof(struct buddy_item), run_items, b, &b->aside));
	b->stride = (n_ticks + MOMENTS - 1) / MOMENTS;
	n = (n_ticks + b->stride - 1) / b->stride + 1;
	b->time_ns = calloc(n, sizeof(*b->time_ns));
	b->requested = calloc(n, sizeof(*b->requested));
	b->rounded = calloc(n, sizeof(*b->rounded));
	b->held = calloc(n, sizeof(*b->held));
	b->orders = calloc((size_t)n * FA_ORDERS, sizeof(*b->orders));
	b->score = calloc(n, sizeof(*b->score));
	if (!b->time_ns || !b->requested || !b->rounded || !b->held || !b->orders || !b->score)
		return &ft_enomem;
	while (fa_engine_next_laid(engine, &cursor, &block))
		FT_TRY(tell_live(b, (uint32_t)(cursor - 1), block));
	return NULL;
}

/* Without a branch on whether a block was born or died, which can't be foreseen. */
static struct ft_error *buddy_on_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct buddy *b = fa_pass_state(pass);
	bool fixed = b->arena.options.fixed;
	struct buddy_item *items;
	void *room;
	size_t n = 0;

	FT_TRY(fa_aside_reserve(b->aside, 4 * steps->n, sizeof(*items), &room));
	items = room;
	for (size_t i = 0; i < steps->n; i++) {
		const struct fa_step *step = &steps->all[i];
		bool born = step->born != NULL;

		if (__builtin_expect(born == (step->died != NULL), 0) && step->died &&
		    step->died_at)
			items[n++] = item_of(step->died_number, step->died, false);
		if (__builtin_expect(!step->block || !step->block_at, 0))
			continue;
		if (__builtin_expect(fixed, 0) && born)
			n += write_birth_time(items + n, step->event->seq, step->event->time_ns);
		items[n++] = item_of(step->block_number, step->block, born);
	}
	fa_aside_took(b->aside, n);
	return NULL;
}

static struct ft_error *buddy_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct buddy *b = fa_pass_state(pass);
	const struct fa_orders *orders;
	struct fa_layout *layout;

	if ((tick + 1) % b->stride && tick + 1 != fa_engine_n_ticks(fa_pass_engine(pass)))
		return NULL;
	FT_TRY(fa_engine_layout(fa_pass_engine(pass), &layout));
	orders = &layout->holes.totals.orders;
	b->time_ns[b->n] = time_ns;
	FT_TRY(tell(b, (struct buddy_item){.kind = ITEM_COLUMN, .number = b->n}));
	memcpy(b->orders + (size_t)b->n * FA_ORDERS, orders->n, sizeof(orders->n));
	b->score[b->n++] = fa_frag_score(orders, FA_PAGEBLOCK_ORDER);
	return NULL;
}

static struct ft_error *moment_take(struct buddy *b, struct fa_engine *engine, uint64_t at_ns)
{
	struct fa_layout *layout;

	FT_TRY(fa_engine_layout(engine, &layout));
	b->moment.at_ns = at_ns;
	b->moment.orders = layout->holes.totals.orders;
	b->moment.taken = true;
	return tell(b, (struct buddy_item){.kind = ITEM_MOMENT});
}

static struct ft_error *buddy_on_teardown(struct fa_pass *pass)
{
	struct fa_engine *engine = fa_pass_engine(pass);
	uint64_t seq, at_ns;

	return fa_engine_teardown(engine, &seq, &at_ns)
		       ? moment_take(fa_pass_state(pass), engine, at_ns)
		       : NULL;
}

static struct ft_error *buddy_finish(struct fa_pass *pass)
{
	struct buddy *b = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);

	if (!b->moment.taken)
		FT_TRY(moment_take(b, engine, fa_engine_to_ns(engine)));
	return fa_aside_finish(b->aside);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void emit_zone(const struct fa_orders *orders, struct fa_json *json)
{
	fa_json_kv_u64(json, "free_pages", fa_orders_free_pages(orders));
	fa_json_key(json, "free_blocks");
	fa_json_array_begin(json);
	for (unsigned o = 0; o < FA_ORDERS; o++)
		fa_json_u64(json, orders->n[o]);
	fa_json_array_end(json);
	fa_json_key(json, "uf_index");
	fa_json_array_begin(json);
	for (unsigned o = 0; o < FA_ORDERS; o++)
		fa_json_f64(json, fa_uf_index(orders, o));
	fa_json_array_end(json);
	fa_json_key(json, "extfrag_milli");
	fa_json_array_begin(json);
	for (unsigned o = 0; o < FA_ORDERS; o++)
		fa_json_i64(json, fa_extfrag_milli(orders, o));
	fa_json_array_end(json);
	fa_json_kv_u64(json, "score", fa_frag_score(orders, FA_PAGEBLOCK_ORDER));
}

static void emit_figures(const struct fa_arena_figures *figures, struct fa_json *json,
			 const char *key)
{
	fa_json_key(json, key);
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "requested_bytes", figures->requested);
	fa_json_kv_u64(json, "rounded_bytes", figures->rounded);
	fa_json_kv_u64(json, "held_bytes", figures->held);
	fa_json_kv_u64(json, "passed_by_bytes", figures->passed_by);
	fa_json_kv_u64(json, "passed_by_blocks", figures->n_passed);
	fa_json_object_end(json);
}

static void emit_failure(const struct fa_arena_failure *failure, struct fa_json *json)
{
	fa_json_key(json, "first_failure");
	if (!failure->happened) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "time_ns", failure->time_ns);
	fa_json_kv_u64(json, "seq", failure->seq);
	fa_json_kv_u64(json, "bytes", failure->size);
	fa_json_kv_u64(json, "order", failure->order);
	fa_json_kv_u64(json, "held_bytes", failure->held);
	fa_json_kv_u64(json, "free_bytes", failure->free_bytes);
	fa_json_kv_u64(json, "largest_free", failure->largest_free);
	fa_json_object_end(json);
}

static struct ft_error *buddy_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct buddy *b = fa_pass_state(pass);
	const struct fa_arena *arena = &b->arena;
	struct fa_json *json = fa_doc_begin(doc, "buddy");

	fa_json_kv_u64(json, "at_ns", b->moment.at_ns);
	fa_json_key(json, "zone");
	fa_json_object_begin(json);
	emit_zone(&b->moment.orders, json);
	fa_json_object_end(json);
	fa_json_key(json, "arena");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "smallest_block", arena->options.smallest);
	fa_json_kv_u64(json, "largest_block", arena->options.largest);
	if (arena->options.fixed)
		fa_json_kv_u64(json, "fixed_bytes", arena->options.fixed);
	else
		fa_json_kv_null(json, "fixed_bytes");
	emit_figures(&b->moment.arena, json, "now");
	emit_figures(&arena->peak, json, "peak");
	fa_json_kv_u64(json, "splits", arena->buddy.counts.splits);
	fa_json_kv_u64(json, "merges", arena->buddy.counts.merges);
	fa_json_kv_u64(json, "failed", arena->n_failed);
	fa_json_kv_u64(json, "failed_bytes", arena->failed_bytes);
	emit_failure(&arena->first_failure, json);
	fa_json_object_end(json);
	fa_doc_end(doc);

	fa_doc_column(doc, "buddy.time_ns", FA_U64, b->time_ns, b->n);
	fa_doc_column(doc, "buddy.free_blocks", FA_U64, b->orders, (size_t)b->n * FA_ORDERS);
	fa_doc_column(doc, "buddy.score", FA_U32, b->score, b->n);
	fa_doc_column(doc, "buddy.requested_bytes", FA_U64, b->requested, b->n);
	fa_doc_column(doc, "buddy.rounded_bytes", FA_U64, b->rounded, b->n);
	fa_doc_column(doc, "buddy.held_bytes", FA_U64, b->held, b->n);
	return NULL;
}

static void buddy_deinit(struct fa_pass *pass)
{
	struct buddy *b = fa_pass_state(pass);

	fa_aside_destroy(b->aside);
	fa_arena_deinit(&b->arena);
	free(b->time_ns);
	free(b->requested);
	free(b->rounded);
	free(b->held);
	free(b->orders);
	free(b->score);
}

const struct fa_pass_ops fa_pass_buddy = {
	.name = "buddy",
	.summary = "the heap as a zone of pages, and its requests on a buddy allocator",
	.state_size = sizeof(struct buddy),
	.needs_all_blocks = true,
	.needs_layout = true,
	.init = buddy_init,
	.on_steps = buddy_on_steps,
	.on_tick = buddy_on_tick,
	.on_teardown = buddy_on_teardown,
	.finish = buddy_finish,
	.emit = buddy_emit,
	.deinit = buddy_deinit,
};

/* SPDX-License-Identifier: MIT */
/*
 * The virtual table `allocation`: one row a block
 *
 * Without the columns that tell of the block's death a row is an event that bears a block. With
 * them the scan goes on behind the window until each of its blocks has died, or to the end, and a
 * row comes at its block's death, so that only the blocks that live at a time are kept; those that
 * never die come last, in the order of their birth. A block whose address is handed out again
 * without a death comes then, without one.
 *
 * Where a recording begins with blocks that lived before its first event, these were born before
 * it.
 */
#include <stdlib.h>
#include <string.h>

#include "ft_map.h"
#include "ft_vtab.h"
#include "ft_vtab_scan.h"

enum {
	A_ADDRESS,
	A_REQUESTED,
	A_USABLE,
	A_STACK,
	A_THREAD,
	A_API,
	A_BORN_NS,
	A_BORN_SEQ,
	A_DIED_NS,
	A_DIED_SEQ,
	A_FREED_BY,
	A_FREE_STACK,
	A_N
};

enum { NEEDS_DEATHS = 1 };

static const uint64_t death_columns =
	1 << A_DIED_NS | 1 << A_DIED_SEQ | 1 << A_FREED_BY | 1 << A_FREE_STACK;

static const char declaration[] =
	"CREATE TABLE allocation(address INTEGER, requested INTEGER, usable INTEGER,"
	" stack INTEGER, thread INTEGER, api TEXT, born_ns INTEGER, born_seq INTEGER,"
	" died_ns INTEGER, died_seq INTEGER, freed_by INTEGER, free_stack INTEGER)";

struct block {
	struct ft_event born;
	uint32_t next_free; /* index + 1 of the next unused slot */
};

struct cursor {
	sqlite3_vtab_cursor base;
	struct ft_scan scan;
	struct ft_scan_filter births; /* which blocks are asked for */
	bool with_deaths;

	/* With deaths: the blocks of the window that live, by address. */
	struct ft_map live; /* address -> index into blocks */
	struct block *blocks;
	size_t n_blocks, capacity;
	uint32_t free_slots; /* index + 1 */
	/* At the end: `blocks` is what is left, in the order of birth. */
	size_t n_rest, at_rest;
	bool at_end;

	/* Without deaths: what was born before the first event comes first. */
	struct ft_event *carried;
	size_t n_carried, carried_capacity, at_carried;

	/* The row. */
	bool has_row;
	struct ft_event born, died; /* died.seq is meaningless unless has_died */
	bool has_died;
	/* An event can end one block and begin another: the birth waits for the next step. */
	bool birth_waits;
};

static int allocation_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
			      sqlite3_vtab **ret, char **message)
{
	return ft_vtab_connect(db, aux, declaration, ret);
}

static int allocation_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
	const struct ft_catalog *catalog = ((struct ft_vtab *)base)->context->catalog;
	uint64_t equal, bounded;
	int rc = ft_vtab_push(info,
			      1 << A_ADDRESS | 1 << A_STACK | 1 << A_THREAD | 1 << A_BORN_NS |
				      1 << A_BORN_SEQ,
			      &equal, &bounded);

	ft_scan_cost(catalog, info, equal & 1 << A_BORN_SEQ,
		     ((equal | bounded) & (1 << A_BORN_NS | 1 << A_BORN_SEQ)) != 0,
		     (equal & (1 << A_ADDRESS | 1 << A_STACK | 1 << A_THREAD)) != 0);
	info->idxNum = info->colUsed & death_columns ? NEEDS_DEATHS : 0;
	if (info->idxNum)
		info->estimatedCost *= 4;
	if (!info->idxNum && info->nOrderBy == 1 && !info->aOrderBy[0].desc &&
	    (info->aOrderBy[0].iColumn == A_BORN_SEQ || info->aOrderBy[0].iColumn == A_BORN_NS))
		info->orderByConsumed = 1;
	return rc;
}

static int allocation_open(sqlite3_vtab *base, sqlite3_vtab_cursor **ret)
{
	struct cursor *cursor = calloc(1, sizeof(*cursor));

	if (!cursor)
		return SQLITE_NOMEM;
	cursor->scan.catalog = ((struct ft_vtab *)base)->context->catalog;
	ft_map_init(&cursor->live);
	*ret = &cursor->base;
	return SQLITE_OK;
}

static void forget_blocks(struct cursor *cursor)
{
	ft_map_deinit(&cursor->live);
	ft_map_init(&cursor->live);
	free(cursor->blocks);
	free(cursor->carried);
	cursor->blocks = NULL;
	cursor->carried = NULL;
	cursor->n_carried = cursor->carried_capacity = cursor->at_carried = 0;
	cursor->n_blocks = cursor->capacity = cursor->n_rest = cursor->at_rest = 0;
	cursor->free_slots = 0;
	cursor->at_end = cursor->birth_waits = false;
}

static int allocation_close(sqlite3_vtab_cursor *base)
{
	struct cursor *cursor = (struct cursor *)base;

	ft_scan_deinit(&cursor->scan);
	forget_blocks(cursor);
	free(cursor);
	return SQLITE_OK;
}

static bool in_range(struct ft_vtab_range range, uint64_t value)
{
	return value >= range.low && value <= range.high;
}

static bool is_wanted(const struct cursor *cursor, const struct ft_event *event)
{
	const struct ft_scan_filter *births = &cursor->births;

	return event->kind != FT_EVENT_FREE && in_range(births->seq, event->seq) &&
	       in_range(births->time, event->time_ns) &&
	       in_range(births->address, event->address) && in_range(births->stack, event->stack) &&
	       in_range(births->thread, event->thread);
}

static bool past_window(const struct cursor *cursor, const struct ft_event *event)
{
	return event->seq > cursor->births.seq.high || event->time_ns > cursor->births.time.high;
}

static struct ft_error *keep_block(struct cursor *cursor, const struct ft_event *event)
{
	uint64_t *slot = ft_map_put(&cursor->live, event->address, NULL);
	uint32_t index;

	if (!slot)
		return &ft_enomem;
	if (cursor->free_slots) {
		index = cursor->free_slots - 1;
		cursor->free_slots = cursor->blocks[index].next_free;
	} else {
		if (cursor->n_blocks == cursor->capacity) {
			size_t bigger = cursor->capacity ? cursor->capacity * 2 : 256;
			struct block *blocks = realloc(cursor->blocks, bigger * sizeof(*blocks));

			if (!blocks) {
				ft_map_remove(&cursor->live, event->address, NULL);
				return &ft_enomem;
			}
			cursor->blocks = blocks;
			cursor->capacity = bigger;
		}
		index = (uint32_t)cursor->n_blocks++;
	}
	cursor->blocks[index].born = *event;
	*slot = index;
	return NULL;
}

/* The kept block at `address`, if any, becomes the row. */
static bool take_block(struct cursor *cursor, uint64_t address, const struct ft_event *death)
{
	uint64_t index;

	if (!ft_map_remove(&cursor->live, address, &index))
		return false;
	cursor->born = cursor->blocks[index].born;
	cursor->blocks[index].next_free = cursor->free_slots;
	cursor->free_slots = (uint32_t)index + 1;
	cursor->has_died = death != NULL;
	if (death)
		cursor->died = *death;
	cursor->has_row = true;
	return true;
}

static int compare_births(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return x->born.seq < y->born.seq ? -1 : x->born.seq > y->born.seq;
}

/* Nothing more can die: what is left comes in the order of birth. */
static struct ft_error *collect_rest(struct cursor *cursor)
{
	size_t n = ft_map_count(&cursor->live), at = 0, i = 0;
	uint64_t address, index;
	struct block *rest = calloc(n ? n : 1, sizeof(*rest));

	if (!rest)
		return &ft_enomem;
	while (ft_map_next(&cursor->live, &at, &address, &index))
		rest[i++] = cursor->blocks[index];
	qsort(rest, n, sizeof(*rest), compare_births);
	free(cursor->blocks);
	cursor->blocks = rest;
	cursor->n_rest = n;
	cursor->at_end = true;
	return NULL;
}

static struct ft_error *next_with_deaths(struct cursor *cursor)
{
	cursor->has_row = false;
	while (!cursor->at_end) {
		const struct ft_event *event = cursor->scan.event;

		if (!cursor->birth_waits) {
			FT_TRY(ft_scan_next(&cursor->scan));
			event = cursor->scan.event;
			if (!event ||
			    (past_window(cursor, event) && !ft_map_count(&cursor->live))) {
				FT_TRY(collect_rest(cursor));
				break;
			}
			cursor->birth_waits = event->kind != FT_EVENT_FREE;
			if (event->kind != FT_EVENT_ALLOC &&
			    take_block(cursor,
				       event->kind == FT_EVENT_FREE ? event->address
								    : event->old_address,
				       event))
				return NULL;
			if (!cursor->birth_waits)
				continue;
		}
		/* The birth; it may first push out a block whose death nobody saw. */
		if (take_block(cursor, event->address, NULL))
			return NULL;
		cursor->birth_waits = false;
		if (is_wanted(cursor, event))
			FT_TRY(keep_block(cursor, event));
	}
	if (cursor->at_rest < cursor->n_rest) {
		cursor->born = cursor->blocks[cursor->at_rest++].born;
		cursor->has_died = false;
		cursor->has_row = true;
	}
	return NULL;
}

static struct ft_error *carry(void *ctx, const struct ft_event *birth)
{
	struct cursor *cursor = ctx;

	if (!is_wanted(cursor, birth))
		return NULL;
	if (cursor->with_deaths)
		return keep_block(cursor, birth);
	if (cursor->n_carried == cursor->carried_capacity) {
		size_t bigger = cursor->carried_capacity ? cursor->carried_capacity * 2 : 256;
		struct ft_event *carried = realloc(cursor->carried, bigger * sizeof(*carried));

		if (!carried)
			return &ft_enomem;
		cursor->carried = carried;
		cursor->carried_capacity = bigger;
	}
	cursor->carried[cursor->n_carried++] = *birth;
	return NULL;
}

static struct ft_error *next_birth(struct cursor *cursor)
{
	if (cursor->at_carried < cursor->n_carried) {
		cursor->born = cursor->carried[cursor->at_carried++];
		cursor->has_row = true;
		return NULL;
	}
	do {
		FT_TRY(ft_scan_next(&cursor->scan));
	} while (cursor->scan.event && !is_wanted(cursor, cursor->scan.event));
	cursor->has_row = cursor->scan.event != NULL;
	if (cursor->has_row)
		cursor->born = *cursor->scan.event;
	return NULL;
}

static int allocation_next(sqlite3_vtab_cursor *base)
{
	struct cursor *cursor = (struct cursor *)base;
	struct ft_error *error =
		cursor->with_deaths ? next_with_deaths(cursor) : next_birth(cursor);

	return error ? ft_vtab_fail(base->pVtab, error) : SQLITE_OK;
}

static int allocation_filter(sqlite3_vtab_cursor *base, int number, const char *plan, int argc,
			     sqlite3_value **argv)
{
	struct cursor *cursor = (struct cursor *)base;
	struct ft_vtab_range ranges[A_N];

	ft_vtab_ranges(plan, argc, argv, ranges, A_N);
	forget_blocks(cursor);
	cursor->births = (struct ft_scan_filter){
		.seq = ranges[A_BORN_SEQ],
		.time = ranges[A_BORN_NS],
		.address = ranges[A_ADDRESS],
		.stack = ranges[A_STACK],
		.thread = ranges[A_THREAD],
	};
	cursor->with_deaths = number == NEEDS_DEATHS;

	struct ft_scan_filter filter = cursor->births;

	if (cursor->with_deaths) {
		/* A death has another time, stack and thread than its birth, and a realloc names
		 * the block that dies in its second address. */
		const struct ft_vtab_range all = {.high = UINT64_MAX};

		filter.seq.high = filter.time.high = UINT64_MAX;
		filter.address = filter.stack = filter.thread = all;
	}
	ft_scan_start(&cursor->scan, &filter);

	struct ft_error *error = ft_catalog_carried(cursor->scan.catalog, carry, cursor);

	return error ? ft_vtab_fail(base->pVtab, error) : allocation_next(base);
}

static int allocation_eof(sqlite3_vtab_cursor *base)
{
	return !((struct cursor *)base)->has_row;
}

static int allocation_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
	const struct cursor *cursor = (struct cursor *)base;
	const struct ft_event *born = &cursor->born, *died = &cursor->died;

	if (death_columns >> column & 1 && !cursor->has_died)
		return SQLITE_OK; /* NULL */
	switch (column) {
	case A_ADDRESS:
		sqlite3_result_int64(context, (int64_t)born->address);
		break;
	case A_REQUESTED:
		sqlite3_result_int64(context, (int64_t)born->size);
		break;
	case A_USABLE:
		if (born->usable)
			sqlite3_result_int64(context, (int64_t)born->usable);
		break;
	case A_STACK:
		if (born->stack)
			sqlite3_result_int64(context, born->stack);
		break;
	case A_THREAD:
		sqlite3_result_int64(context, born->thread);
		break;
	case A_API:
		sqlite3_result_text(context, ft_api_name(born->api), -1, SQLITE_STATIC);
		break;
	case A_BORN_NS:
		sqlite3_result_int64(context, (int64_t)born->time_ns);
		break;
	case A_BORN_SEQ:
		sqlite3_result_int64(context, (int64_t)born->seq);
		break;
	case A_DIED_NS:
		sqlite3_result_int64(context, (int64_t)died->time_ns);
		break;
	case A_DIED_SEQ:
		sqlite3_result_int64(context, (int64_t)died->seq);
		break;
	case A_FREED_BY:
		sqlite3_result_int64(context, died->thread);
		break;
	case A_FREE_STACK:
		if (died->stack)
			sqlite3_result_int64(context, died->stack);
		break;
	}
	return SQLITE_OK;
}

static int allocation_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
	*rowid = (int64_t)((struct cursor *)base)->born.seq;
	return SQLITE_OK;
}

const sqlite3_module ft_vtab_allocation = {
	.xConnect = allocation_connect,
	.xBestIndex = allocation_best_index,
	.xDisconnect = ft_vtab_disconnect,
	.xOpen = allocation_open,
	.xClose = allocation_close,
	.xFilter = allocation_filter,
	.xNext = allocation_next,
	.xEof = allocation_eof,
	.xColumn = allocation_column,
	.xRowid = allocation_rowid,
};

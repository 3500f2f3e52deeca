/* SPDX-License-Identifier: MIT */
/* The virtual table `event`: see ft_vtab.h. */
#include <stdlib.h>
#include <string.h>

#include "ft_vtab.h"
#include "ft_vtab_scan.h"

enum {
	E_SEQ,
	E_TIME,
	E_KIND,
	E_API,
	E_ADDRESS,
	E_SIZE,
	E_USABLE,
	E_OLD_ADDRESS,
	E_STACK,
	E_THREAD,
	E_FLAGS,
	E_ALIGNMENT,
	E_N
};

static const char declaration[] =
	"CREATE TABLE event(seq INTEGER, time_ns INTEGER, kind TEXT, api TEXT, address INTEGER,"
	" size INTEGER, usable INTEGER, old_address INTEGER, stack INTEGER, thread INTEGER,"
	" flags INTEGER, alignment INTEGER)";

struct cursor {
	sqlite3_vtab_cursor base;
	struct ft_scan scan;
};

static int event_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
			 sqlite3_vtab **ret, char **message)
{
	return ft_vtab_connect(db, aux, declaration, ret);
}

static int event_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
	const struct ft_catalog *catalog = ((struct ft_vtab *)base)->context->catalog;
	uint64_t equal, bounded;
	int rc = ft_vtab_push(
		info, 1 << E_SEQ | 1 << E_TIME | 1 << E_ADDRESS | 1 << E_STACK | 1 << E_THREAD,
		&equal, &bounded);

	ft_scan_cost(catalog, info, equal & 1 << E_SEQ,
		     ((equal | bounded) & (1 << E_SEQ | 1 << E_TIME)) != 0,
		     (equal & (1 << E_ADDRESS | 1 << E_STACK | 1 << E_THREAD)) != 0);
	/* Events come in order of both. */
	if (info->nOrderBy == 1 && !info->aOrderBy[0].desc &&
	    (info->aOrderBy[0].iColumn == E_SEQ || info->aOrderBy[0].iColumn == E_TIME))
		info->orderByConsumed = 1;
	return rc;
}

static int event_open(sqlite3_vtab *base, sqlite3_vtab_cursor **ret)
{
	struct cursor *cursor = calloc(1, sizeof(*cursor));

	if (!cursor)
		return SQLITE_NOMEM;
	cursor->scan.catalog = ((struct ft_vtab *)base)->context->catalog;
	*ret = &cursor->base;
	return SQLITE_OK;
}

static int event_close(sqlite3_vtab_cursor *base)
{
	struct cursor *cursor = (struct cursor *)base;

	ft_scan_deinit(&cursor->scan);
	free(cursor);
	return SQLITE_OK;
}

static int event_next(sqlite3_vtab_cursor *base)
{
	struct cursor *cursor = (struct cursor *)base;
	struct ft_error *error = ft_scan_next(&cursor->scan);

	return error ? ft_vtab_fail(base->pVtab, error) : SQLITE_OK;
}

static int event_filter(sqlite3_vtab_cursor *base, int number, const char *plan, int argc,
			sqlite3_value **argv)
{
	struct cursor *cursor = (struct cursor *)base;
	struct ft_vtab_range ranges[E_N];

	ft_vtab_ranges(plan, argc, argv, ranges, E_N);
	ft_scan_start(&cursor->scan, &(struct ft_scan_filter){
					     .seq = ranges[E_SEQ],
					     .time = ranges[E_TIME],
					     .address = ranges[E_ADDRESS],
					     .stack = ranges[E_STACK],
					     .thread = ranges[E_THREAD],
				     });
	return event_next(base);
}

static int event_eof(sqlite3_vtab_cursor *base)
{
	return !((struct cursor *)base)->scan.event;
}

static int event_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
	static const char *const kinds[] = {NULL, "alloc", "free", "realloc"};
	const struct ft_event *event = ((struct cursor *)base)->scan.event;
	bool dies = event->kind == FT_EVENT_FREE;

	switch (column) {
	case E_SEQ:
		sqlite3_result_int64(context, (int64_t)event->seq);
		break;
	case E_TIME:
		sqlite3_result_int64(context, (int64_t)event->time_ns);
		break;
	case E_KIND:
		sqlite3_result_text(context, kinds[event->kind], -1, SQLITE_STATIC);
		break;
	case E_API:
		sqlite3_result_text(context, ft_api_name(event->api), -1, SQLITE_STATIC);
		break;
	case E_ADDRESS:
		sqlite3_result_int64(context, (int64_t)event->address);
		break;
	case E_SIZE:
		if (!dies)
			sqlite3_result_int64(context, (int64_t)event->size);
		break;
	case E_USABLE:
		if (event->usable)
			sqlite3_result_int64(context, (int64_t)event->usable);
		break;
	case E_OLD_ADDRESS:
		if (event->kind == FT_EVENT_REALLOC)
			sqlite3_result_int64(context, (int64_t)event->old_address);
		break;
	case E_STACK:
		if (event->stack)
			sqlite3_result_int64(context, event->stack);
		break;
	case E_THREAD:
		sqlite3_result_int64(context, event->thread);
		break;
	case E_FLAGS:
		sqlite3_result_int64(context, event->flags);
		break;
	case E_ALIGNMENT:
		if (event->align_log2)
			sqlite3_result_int64(context, INT64_C(1) << event->align_log2);
		break;
	}
	return SQLITE_OK;
}

static int event_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
	*rowid = (int64_t)((struct cursor *)base)->scan.event->seq;
	return SQLITE_OK;
}

const sqlite3_module ft_vtab_event = {
	.xConnect = event_connect,
	.xBestIndex = event_best_index,
	.xDisconnect = ft_vtab_disconnect,
	.xOpen = event_open,
	.xClose = event_close,
	.xFilter = event_filter,
	.xNext = event_next,
	.xEof = event_eof,
	.xColumn = event_column,
	.xRowid = event_rowid,
};

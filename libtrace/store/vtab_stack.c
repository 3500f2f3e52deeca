/* SPDX-License-Identifier: MIT */
/* The virtual tables `frame` and `stack`: a row a node of the stack trie. See ft_vtab.h. */
#include <stdlib.h>
#include <string.h>

#include "ft_vtab.h"

enum { F_ID, F_PARENT, F_PC, F_MODULE, F_OFFSET, F_FUNCTION, F_FILE, F_LINE, F_N };
enum { S_ID, S_DEPTH, S_TEXT, S_N };

static const char frame_declaration[] =
	"CREATE TABLE frame(id INTEGER, parent INTEGER, pc INTEGER, module TEXT,"
	" \"offset\" INTEGER, function TEXT, file TEXT, line INTEGER)";
static const char stack_declaration[] = "CREATE TABLE stack(id INTEGER, depth INTEGER, text TEXT)";

struct cursor {
	sqlite3_vtab_cursor base;
	struct ft_vtab_context *context;
	uint64_t id, last; /* the node at hand; past `last` at the end */
};

static int frame_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
			 sqlite3_vtab **ret, char **message)
{
	return ft_vtab_connect(db, aux, frame_declaration, ret);
}

static int stack_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
			 sqlite3_vtab **ret, char **message)
{
	return ft_vtab_connect(db, aux, stack_declaration, ret);
}

static int node_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
	uint64_t equal, bounded;
	int rc = ft_vtab_push(info, 1 << F_ID, &equal, &bounded);

	info->estimatedRows = equal ? 1 : bounded ? 1000 : 100000;
	info->estimatedCost = (double)info->estimatedRows * 2;
	if (equal)
		info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
	if (info->nOrderBy == 1 && !info->aOrderBy[0].desc && info->aOrderBy[0].iColumn == F_ID)
		info->orderByConsumed = 1;
	return rc;
}

static int node_open(sqlite3_vtab *base, sqlite3_vtab_cursor **ret)
{
	struct cursor *cursor = calloc(1, sizeof(*cursor));

	if (!cursor)
		return SQLITE_NOMEM;
	cursor->context = ((struct ft_vtab *)base)->context;
	*ret = &cursor->base;
	return SQLITE_OK;
}

static int node_close(sqlite3_vtab_cursor *base)
{
	free(base);
	return SQLITE_OK;
}

/* Ids that nobody used have pc 0 and no row. */
static void skip_unused(struct cursor *cursor)
{
	const struct ft_stack_node *stacks = cursor->context->catalog->stacks;

	while (cursor->id <= cursor->last && !stacks[cursor->id].pc)
		cursor->id++;
}

static int node_filter(sqlite3_vtab_cursor *base, int number, const char *plan, int argc,
		       sqlite3_value **argv)
{
	struct cursor *cursor = (struct cursor *)base;
	struct ft_vtab_range ranges[1];
	struct ft_error *error = ft_catalog_stacks(cursor->context->catalog);

	if (!error)
		error = ft_vtab_names(cursor->context);
	if (error)
		return ft_vtab_fail(base->pVtab, error);

	size_t n = cursor->context->catalog->n_stacks;

	ft_vtab_ranges(plan, argc, argv, ranges, 1);
	cursor->id = ranges[0].low ? ranges[0].low : 1;
	cursor->last = ranges[0].high < n ? ranges[0].high : n - 1;
	skip_unused(cursor);
	return SQLITE_OK;
}

static int node_next(sqlite3_vtab_cursor *base)
{
	struct cursor *cursor = (struct cursor *)base;

	cursor->id++;
	skip_unused(cursor);
	return SQLITE_OK;
}

static int node_eof(sqlite3_vtab_cursor *base)
{
	const struct cursor *cursor = (struct cursor *)base;

	return cursor->id > cursor->last;
}

static int node_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
	*rowid = (int64_t)((struct cursor *)base)->id;
	return SQLITE_OK;
}

/* ---- frame --------------------------------------------------------------------------------------
 */

struct symbol_column {
	sqlite3_context *context;
	int column;
};

static void give_symbol(void *ctx, const struct ft_names_frame *frame)
{
	const struct symbol_column *want = ctx;
	const char *text = want->column == F_FUNCTION ? frame->function : frame->file;

	if (frame->depth != 0)
		return; /* the innermost; `symbol` has the whole chain */
	if (want->column == F_LINE) {
		if (frame->line > 0)
			sqlite3_result_int64(want->context, frame->line);
	} else if (text) {
		sqlite3_result_text(want->context, text, -1, SQLITE_TRANSIENT);
	}
}

static int frame_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
	const struct cursor *cursor = (struct cursor *)base;
	const struct ft_stack_node *node = &cursor->context->catalog->stacks[cursor->id];
	struct ft_names *names = &cursor->context->names;
	struct ft_names_place place;
	struct ft_error *error = NULL;

	switch (column) {
	case F_ID:
		sqlite3_result_int64(context, node->id);
		break;
	case F_PARENT:
		sqlite3_result_int64(context, node->parent);
		break;
	case F_PC:
		sqlite3_result_int64(context, (int64_t)node->pc);
		break;
	case F_MODULE:
		place = ft_names_place(names, node->id, node->pc);
		if (place.module && place.module->path)
			sqlite3_result_text(context, place.module->path, -1, SQLITE_TRANSIENT);
		break;
	case F_OFFSET:
		sqlite3_result_int64(context,
				     (int64_t)ft_names_place(names, node->id, node->pc).offset);
		break;
	default:
		error = ft_names_frames(
			names, ft_names_place(names, node->id, node->pc), give_symbol,
			&(struct symbol_column){.context = context, .column = column});
	}
	return error ? ft_vtab_fail(base->pVtab, error) : SQLITE_OK;
}

const sqlite3_module ft_vtab_frame = {
	.xConnect = frame_connect,
	.xBestIndex = node_best_index,
	.xDisconnect = ft_vtab_disconnect,
	.xOpen = node_open,
	.xClose = node_close,
	.xFilter = node_filter,
	.xNext = node_next,
	.xEof = node_eof,
	.xColumn = frame_column,
	.xRowid = node_rowid,
};

/* ---- stack --------------------------------------------------------------------------------------
 */

static struct ft_error *stack_text(struct cursor *cursor, struct ft_strbuf *text)
{
	const struct ft_stack_node *stacks = cursor->context->catalog->stacks;

	/* parent < id always: the walk ends. */
	for (uint32_t id = (uint32_t)cursor->id; id; id = stacks[id].parent) {
		const char *lines;

		FT_TRY(ft_names_lines(&cursor->context->names, &stacks[id], &lines));
		ft_strbuf_adds(text, lines);
	}
	if (text->len)
		text->len--; /* the last newline */
	return text->failed ? &ft_enomem : NULL;
}

static int stack_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
	struct cursor *cursor = (struct cursor *)base;
	const struct ft_stack_node *stacks = cursor->context->catalog->stacks;
	int64_t depth = 0;

	if (column == S_ID) {
		sqlite3_result_int64(context, (int64_t)cursor->id);
		return SQLITE_OK;
	}
	if (column == S_DEPTH) {
		for (uint32_t id = (uint32_t)cursor->id; id; id = stacks[id].parent)
			depth++;
		sqlite3_result_int64(context, depth);
		return SQLITE_OK;
	}

	struct ft_strbuf text = {0};
	struct ft_error *error = stack_text(cursor, &text);

	if (!error)
		sqlite3_result_text64(context, ft_strbuf_text(&text), text.len, SQLITE_TRANSIENT,
				      SQLITE_UTF8);
	ft_strbuf_deinit(&text);
	return error ? ft_vtab_fail(base->pVtab, error) : SQLITE_OK;
}

const sqlite3_module ft_vtab_stack = {
	.xConnect = stack_connect,
	.xBestIndex = node_best_index,
	.xDisconnect = ft_vtab_disconnect,
	.xOpen = node_open,
	.xClose = node_close,
	.xFilter = node_filter,
	.xNext = node_next,
	.xEof = node_eof,
	.xColumn = stack_column,
	.xRowid = node_rowid,
};

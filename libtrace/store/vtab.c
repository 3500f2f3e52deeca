/* SPDX-License-Identifier: MIT */
/* Virtual tables, what they share: see ft_vtab.h. */
#include "ft_vtab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void context_destroy(void *aux)
{
	struct ft_vtab_context *context = aux;

	if (context->has_names)
		ft_names_deinit(&context->names);
	free(context);
}

struct ft_error *ft_vtab_register(sqlite3 *db, struct ft_catalog *catalog)
{
	struct ft_vtab_context *context = calloc(1, sizeof(*context));

	if (!context)
		return &ft_enomem;
	context->catalog = catalog;
	/* The first one owns the context: SQLite destroys it with the connection, and here if the
	 * registration fails. */
	if (sqlite3_create_module_v2(db, "event", &ft_vtab_event, context, context_destroy) !=
		    SQLITE_OK ||
	    sqlite3_create_module_v2(db, "allocation", &ft_vtab_allocation, context, NULL) !=
		    SQLITE_OK ||
	    sqlite3_create_module_v2(db, "frame", &ft_vtab_frame, context, NULL) != SQLITE_OK ||
	    sqlite3_create_module_v2(db, "stack", &ft_vtab_stack, context, NULL) != SQLITE_OK)
		return &ft_enomem;
	return NULL;
}

int ft_vtab_connect(sqlite3 *db, void *aux, const char *declaration, sqlite3_vtab **ret)
{
	struct ft_vtab *vtab = calloc(1, sizeof(*vtab));
	int rc;

	if (!vtab)
		return SQLITE_NOMEM;
	rc = sqlite3_declare_vtab(db, declaration);
	if (rc != SQLITE_OK) {
		free(vtab);
		return rc;
	}
	/* A view in the file must not be able to start a scan of the events. */
	sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
	vtab->context = aux;
	vtab->context->n_connected++;
	*ret = &vtab->base;
	return SQLITE_OK;
}

int ft_vtab_disconnect(sqlite3_vtab *base)
{
	struct ft_vtab *vtab = (struct ft_vtab *)base;
	struct ft_vtab_context *context = vtab->context;

	/* sqlite3_close() refuses while a statement is open, and disconnects the tables first. */
	if (--context->n_connected == 0) {
		if (context->has_names)
			ft_names_deinit(&context->names);
		context->has_names = false;
		ft_catalog_end_statements(context->catalog);
	}
	free(vtab);
	return SQLITE_OK;
}

int ft_vtab_fail(sqlite3_vtab *vtab, struct ft_error *error)
{
	int rc = error->kind == FT_ERROR_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT_VTAB;

	sqlite3_free(vtab->zErrMsg);
	vtab->zErrMsg = sqlite3_mprintf("%s", error->message);
	ft_error_destroy(error);
	return rc;
}

struct ft_error *ft_vtab_names(struct ft_vtab_context *context)
{
	if (context->has_names)
		return NULL;
	FT_TRY(ft_names_init(&context->names, context->catalog->db, context->catalog->path));
	context->has_names = true;
	return NULL;
}

/* ---- pushing down -------------------------------------------------------------------------------
 */

static char relation(unsigned char op)
{
	switch (op) {
	case SQLITE_INDEX_CONSTRAINT_EQ:
		return '=';
	case SQLITE_INDEX_CONSTRAINT_LT:
	case SQLITE_INDEX_CONSTRAINT_LE:
		return '<';
	case SQLITE_INDEX_CONSTRAINT_GT:
	case SQLITE_INDEX_CONSTRAINT_GE:
		return '>';
	default:
		return 0;
	}
}

int ft_vtab_push(sqlite3_index_info *info, uint64_t columns, uint64_t *equal, uint64_t *bounded)
{
	char *plan = sqlite3_malloc(2 * info->nConstraint + 1);
	int n = 0;

	*equal = *bounded = 0;
	if (!plan)
		return SQLITE_NOMEM;
	for (int i = 0; i < info->nConstraint; i++) {
		int column = info->aConstraint[i].iColumn;
		char op = relation(info->aConstraint[i].op);

		if (!info->aConstraint[i].usable || !op || column < 0 || column > 25 ||
		    !(columns >> column & 1))
			continue;
		plan[2 * n] = (char)('a' + column);
		plan[2 * n + 1] = op;
		info->aConstraintUsage[i].argvIndex = ++n;
		*(op == '=' ? equal : bounded) |= UINT64_C(1) << column;
	}
	plan[2 * n] = '\0';
	info->idxStr = plan;
	info->needToFreeIdxStr = 1;
	return SQLITE_OK;
}

/* The whole numbers that a value may stand for, generously. False when it says nothing: text sorts
 * behind all numbers, and addresses are unsigned where SQL is signed. */
static bool bounds_of(sqlite3_value *value, uint64_t *low, uint64_t *high)
{
	if (sqlite3_value_type(value) == SQLITE_INTEGER) {
		int64_t number = sqlite3_value_int64(value);

		*low = *high = (uint64_t)number;
		return number >= 0;
	}
	if (sqlite3_value_type(value) == SQLITE_FLOAT) {
		double number = sqlite3_value_double(value);

		if (!(number >= 0 && number < 9e18))
			return false;
		*low = (uint64_t)floor(number);
		*high = (uint64_t)ceil(number);
		return true;
	}
	return false;
}

void ft_vtab_ranges(const char *plan, int argc, sqlite3_value **argv, struct ft_vtab_range *ranges,
		    size_t n_columns)
{
	for (size_t i = 0; i < n_columns; i++)
		ranges[i] = (struct ft_vtab_range){.high = UINT64_MAX};
	for (int i = 0; plan && i < argc && plan[2 * i]; i++) {
		struct ft_vtab_range *range = &ranges[plan[2 * i] - 'a'];
		uint64_t low, high;

		/* Nothing is equal to NULL, or less, or greater. */
		if (sqlite3_value_type(argv[i]) == SQLITE_NULL) {
			*range = (struct ft_vtab_range){.low = 1, .high = 0};
			continue;
		}
		if (!bounds_of(argv[i], &low, &high))
			continue;
		if (plan[2 * i + 1] != '<' && low > range->low)
			range->low = low;
		if (plan[2 * i + 1] != '>' && high < range->high)
			range->high = high;
	}
}

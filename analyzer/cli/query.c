/* SPDX-License-Identifier: MIT */
/*
 * fraganalyze query: one SQL statement over the recording
 *
 * The connection is the reader's, read-only, with the events as tables. Nothing else can be
 * reached through it: attaching other files is refused.
 *
 * Text is aligned by its first rows, so that a result of any length streams.
 */
#include <ctype.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { ALIGN_ROWS = 200, COLUMN_MAX = 60, INTERRUPT_STEPS = 10000 };

struct query {
	const struct cli_options *options;
	sqlite3 *db;
	sqlite3_stmt *statement;
	int n_columns;
};

/* ---- CSV and JSON ------------------------------------------------------------------------------
 */

/* RFC 4180: quotes where they are needed, doubled inside; lines end with CR LF only there. */
static void csv_field(const char *text)
{
	if (!text)
		return;
	if (!strpbrk(text, ",\"\r\n")) {
		fputs(text, stdout);
		return;
	}
	putchar('"');
	for (; *text; text++) {
		if (*text == '"')
			putchar('"');
		putchar(*text);
	}
	putchar('"');
}

static char *blob_text(sqlite3_stmt *statement, int column)
{
	const unsigned char *blob = sqlite3_column_blob(statement, column);
	int n = sqlite3_column_bytes(statement, column);
	char *text = malloc((size_t)n * 2 + 4), *at = text;

	if (!text)
		return NULL;
	at += sprintf(at, "X'");
	for (int i = 0; i < n; i++)
		at += sprintf(at, "%02x", blob[i]);
	sprintf(at, "'");
	return text;
}

/* The value as text; NULL stays NULL. malloc'ed. */
static char *value_text(sqlite3_stmt *statement, int column)
{
	const unsigned char *text;

	switch (sqlite3_column_type(statement, column)) {
	case SQLITE_NULL:
		return NULL;
	case SQLITE_BLOB:
		return blob_text(statement, column);
	}
	text = sqlite3_column_text(statement, column);
	return text ? strdup((const char *)text) : NULL;
}

static void csv_row(const struct query *q)
{
	for (int i = 0; i < q->n_columns; i++) {
		char *text = value_text(q->statement, i);

		if (i)
			putchar(',');
		csv_field(text);
		free(text);
	}
	fputs("\r\n", stdout);
}

static void csv_head(const struct query *q)
{
	for (int i = 0; i < q->n_columns; i++) {
		if (i)
			putchar(',');
		csv_field(sqlite3_column_name(q->statement, i));
	}
	fputs("\r\n", stdout);
}

static bool json_row(const struct query *q, bool first)
{
	struct ft_strbuf text;
	struct fa_json json;
	bool good;

	ft_strbuf_init(&text);
	fa_json_init(&json, &text);
	fa_json_array_begin(&json);
	for (int i = 0; i < q->n_columns; i++) {
		char *own;

		switch (sqlite3_column_type(q->statement, i)) {
		case SQLITE_INTEGER:
			fa_json_i64(&json, sqlite3_column_int64(q->statement, i));
			break;
		case SQLITE_FLOAT:
			fa_json_f64(&json, sqlite3_column_double(q->statement, i));
			break;
		default:
			own = value_text(q->statement, i);
			fa_json_string(&json, own);
			free(own);
		}
	}
	fa_json_array_end(&json);
	good = !text.failed;
	printf("%s%s", first ? "\n" : ",\n", ft_strbuf_text(&text));
	ft_strbuf_deinit(&text);
	return good;
}

static void json_head(const struct query *q)
{
	struct ft_strbuf text;
	struct fa_json json;

	ft_strbuf_init(&text);
	fa_json_init(&json, &text);
	fa_json_array_begin(&json);
	for (int i = 0; i < q->n_columns; i++)
		fa_json_string(&json, sqlite3_column_name(q->statement, i));
	fa_json_array_end(&json);
	printf("{\"schema\":1,\"columns\":%s,\"rows\":[", ft_strbuf_text(&text));
	ft_strbuf_deinit(&text);
}

/* ---- aligned text ------------------------------------------------------------------------------
 */

struct text_table {
	char **held; /* the first rows, n_columns texts each */
	size_t n_held;
	unsigned *widths;
	bool *numeric;
};

static unsigned display_width(const char *text)
{
	unsigned n = 0;

	for (; text && *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void text_cell(const char *text, unsigned width, bool right, bool last)
{
	unsigned n = display_width(text);

	if (right && n < width)
		printf("%*s", (int)(width - n), "");
	term_text(text ? text : "", 0);
	if (!right && !last && n < width)
		printf("%*s", (int)(width - n), "");
	fputs(last ? "\n" : "  ", stdout);
}

static void text_flush(const struct query *q, struct text_table *t)
{
	printf("%s", term_on(STYLE_BOLD));
	for (int i = 0; i < q->n_columns; i++)
		text_cell(sqlite3_column_name(q->statement, i), t->widths[i], t->numeric[i],
			  i + 1 == q->n_columns);
	printf("%s", term_off());
	for (size_t r = 0; r < t->n_held; r++)
		for (int i = 0; i < q->n_columns; i++) {
			char *text = t->held[r * (size_t)q->n_columns + (size_t)i];

			text_cell(text, t->widths[i], t->numeric[i], i + 1 == q->n_columns);
			free(text);
		}
	free(t->held);
	t->held = NULL;
}

static void text_hold(const struct query *q, struct text_table *t)
{
	for (int i = 0; i < q->n_columns; i++) {
		int type = sqlite3_column_type(q->statement, i);
		char *text = value_text(q->statement, i);
		unsigned width = display_width(text);

		t->held[t->n_held * (size_t)q->n_columns + (size_t)i] = text;
		if (width > t->widths[i])
			t->widths[i] = width < COLUMN_MAX ? width : COLUMN_MAX;
		if (type != SQLITE_INTEGER && type != SQLITE_FLOAT && type != SQLITE_NULL)
			t->numeric[i] = false;
	}
	if (++t->n_held == ALIGN_ROWS)
		text_flush(q, t);
}

static void text_row(const struct query *q, struct text_table *t)
{
	if (t->held) {
		text_hold(q, t);
		return;
	}
	for (int i = 0; i < q->n_columns; i++) {
		char *text = value_text(q->statement, i);

		text_cell(text, t->widths[i], t->numeric[i], i + 1 == q->n_columns);
		free(text);
	}
}

static bool text_init(const struct query *q, struct text_table *t)
{
	size_t n = (size_t)q->n_columns;

	t->held = calloc(n * ALIGN_ROWS + 1, sizeof(char *));
	t->widths = calloc(n + 1, sizeof(*t->widths));
	t->numeric = calloc(n + 1, sizeof(*t->numeric));
	if (!t->held || !t->widths || !t->numeric)
		return false;
	for (int i = 0; i < q->n_columns; i++) {
		t->widths[i] = display_width(sqlite3_column_name(q->statement, i));
		t->numeric[i] = true;
	}
	return true;
}

static void text_deinit(struct text_table *t)
{
	free(t->held);
	free(t->widths);
	free(t->numeric);
}

/* ---- run ---------------------------------------------------------------------------------------
 */

static int authorize(void *ctx, int action, const char *a, const char *b, const char *c,
		     const char *d)
{
	if (action == SQLITE_ATTACH || action == SQLITE_DETACH)
		return SQLITE_DENY;
	if (action == SQLITE_FUNCTION && b && !strcmp(b, "load_extension"))
		return SQLITE_DENY;
	return SQLITE_OK;
}

static int check_interrupt(void *ctx)
{
	return cli_interrupted();
}

static int fail_sql(const struct query *q)
{
	if (cli_interrupted()) {
		cli_warn("stopped by the user");
		return CLI_INTERRUPTED;
	}
	cli_warn("query: %s", sqlite3_errmsg(q->db));
	return CLI_FAILED;
}

static int prepare(struct query *q)
{
	const char *rest;

	sqlite3_set_authorizer(q->db, authorize, NULL);
	sqlite3_progress_handler(q->db, INTERRUPT_STEPS, check_interrupt, NULL);
	if (sqlite3_prepare_v2(q->db, q->options->sql, -1, &q->statement, &rest) != SQLITE_OK) {
		cli_warn("query: %s", sqlite3_errmsg(q->db));
		return CLI_USAGE;
	}
	if (!q->statement) {
		cli_warn("query: there is no statement in '%s'", q->options->sql);
		return CLI_USAGE;
	}
	while (isspace((unsigned char)*rest) || *rest == ';')
		rest++;
	if (*rest) {
		cli_warn("query: one statement at a time, please: '%s' is left over", rest);
		return CLI_USAGE;
	}
	if (!sqlite3_stmt_readonly(q->statement)) {
		cli_warn("query: a recording is never changed; only reading statements are run");
		return CLI_USAGE;
	}
	q->n_columns = sqlite3_column_count(q->statement);
	return CLI_OK;
}

static int run(struct query *q)
{
	struct text_table table = {0};
	bool first = true, good = true;
	int step;

	if (!q->options->json && !q->options->csv && !text_init(q, &table)) {
		text_deinit(&table);
		return cli_fail(&ft_enomem, CLI_FAILED);
	}
	if (q->options->csv)
		csv_head(q);
	else if (q->options->json)
		json_head(q);
	while (good && (step = sqlite3_step(q->statement)) == SQLITE_ROW) {
		if (q->options->csv)
			csv_row(q);
		else if (q->options->json)
			good = json_row(q, first);
		else
			text_row(q, &table);
		first = false;
	}
	if (q->options->json)
		fputs("]}\n", stdout);
	else if (!q->options->csv && table.held)
		text_flush(q, &table);
	text_deinit(&table);
	if (!good)
		return cli_fail(&ft_enomem, CLI_FAILED);
	return step == SQLITE_DONE ? CLI_OK : fail_sql(q);
}

int verb_query(const struct cli_verb *verb, const struct cli_options *options)
{
	struct ft_reader *reader = NULL;
	struct ft_error *error = cli_open(options, &reader);
	struct query q = {.options = options};
	int status;

	if (error)
		return cli_fail_input(error);
	cli_catch_interrupt();
	q.db = ft_reader_sql(reader);
	status = prepare(&q);
	if (status == CLI_OK)
		status = run(&q);
	sqlite3_finalize(q.statement);
	sqlite3_set_authorizer(q.db, NULL, NULL);
	sqlite3_progress_handler(q.db, 0, NULL, NULL);
	ft_reader_close(reader);
	return status;
}

/* SPDX-License-Identifier: MIT */
/* Thinning: see ft_thin.h. */
#include "ft_thin.h"

#include <string.h>

#include "ft_strbuf.h"

struct thinning {
	const char *table;
	const char *sql; /* ?1: before_ns, ?2: now_ns */
};

/* Marks that are no phases: of a label that comes often. */
#define COUNTS                                                                                  \
	"kind = 'user' AND label IN (SELECT label FROM mark WHERE kind = 'user' GROUP BY label" \
	" HAVING count(*) > 64)"

/* The windows number the rows that may go; the odd ones go, so that the last one stays. */
static const struct thinning thinnings[] = {
	{"timeline",
	 "UPDATE timeline SET peak_bytes = max(peak_bytes, coalesce((SELECT p.peak_bytes FROM"
	 " timeline p WHERE p.id < timeline.id ORDER BY p.id DESC LIMIT 1), 0)) WHERE id IN"
	 " (SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM timeline"
	 " WHERE time_ns < ?1) WHERE n % 2 = 0)"},
	{NULL,
	 "DELETE FROM timeline WHERE id IN (SELECT a FROM (SELECT id AS a, lead(id) OVER (ORDER BY"
	 " id) AS b, row_number() OVER (ORDER BY id) AS n FROM timeline WHERE time_ns < ?1)"
	 " WHERE n % 2 = 1 AND b IS NOT NULL)"},
	{"sample",
	 "DELETE FROM sample WHERE id IN (SELECT a FROM (SELECT id AS a, lead(id) OVER w AS b,"
	 " row_number() OVER w AS n FROM sample WHERE time_ns < ?1 WINDOW w AS"
	 " (PARTITION BY source, key ORDER BY id)) WHERE n % 2 = 1 AND b IS NOT NULL)"},
	{"clock",
	 "DELETE FROM clock WHERE id IN (SELECT a FROM (SELECT id AS a, lead(id) OVER (ORDER BY id)"
	 " AS b, row_number() OVER (ORDER BY id) AS n FROM clock WHERE time_ns < ?1)"
	 " WHERE n % 2 = 0 AND b IS NOT NULL)"},
	{"residency",
	 "DELETE FROM residency WHERE id IN (SELECT a FROM (SELECT id AS a, lead(data) OVER w AS b,"
	 " data AS d, lead(id) OVER w AS c, row_number() OVER w AS n FROM residency"
	 " WHERE time_ns < ?1 WINDOW w AS (ORDER BY id)) WHERE c IS NOT NULL AND n % 2 = 1"
	 " AND (d IS NULL OR b IS NOT NULL))"},
	{"mapping",
	 "DELETE FROM mapping WHERE id IN (SELECT a FROM (SELECT id AS a, lead(id) OVER"
	 " (PARTITION BY start_address ORDER BY id) AS b FROM mapping WHERE time_ns < ?1)"
	 " WHERE b IS NOT NULL)"},
	{"map_call", "DELETE FROM map_call WHERE time_ns < ?1"},
	/* Those that count operations: one comes to stand for two, if both are of a 512th of the
	 * time. */
	{"mark",
	 "UPDATE mark SET n = coalesce(mark.n, 1) + two.before FROM (SELECT id AS i,"
	 " lag(coalesce(n, 1)) OVER w AS before, row_number() OVER w AS k,"
	 " time_ns - lag(time_ns, 2, 0) OVER w AS took FROM mark WHERE time_ns < ?1 AND " COUNTS
	 " WINDOW w AS (PARTITION BY label ORDER BY id)) AS two"
	 " WHERE two.i = mark.id AND two.k % 2 = 0 AND two.took < ?2 / 512"},
	{NULL,
	 "DELETE FROM mark WHERE id IN (SELECT i FROM (SELECT id AS i, row_number() OVER w AS k,"
	 " lead(time_ns) OVER w - lag(time_ns, 1, 0) OVER w AS took FROM mark"
	 " WHERE time_ns < ?1 AND " COUNTS " WINDOW w AS (PARTITION BY label ORDER BY id))"
	 " WHERE k % 2 = 1 AND took < ?2 / 512)"},
};

static struct ft_error *count(sqlite3 *db, const char *path, const char *table, uint64_t before_ns,
			      uint64_t *n, uint64_t *bytes)
{
	const char *blobs = strcmp(table, "residency") ? "0" : "total(length(data))";
	ft_auto_strbuf struct ft_strbuf sql;
	ft_auto_stmt sqlite3_stmt *stmt = NULL;

	ft_strbuf_init(&sql);
	ft_strbuf_addf(&sql, "SELECT count(*), %s FROM %s WHERE time_ns < ?", blobs, table);
	if (sql.failed)
		return &ft_enomem;
	FT_TRY(ft_db_prepare(db, path, sql.data, &stmt));
	sqlite3_bind_int64(stmt, 1, (int64_t)before_ns);
	if (sqlite3_step(stmt) != SQLITE_ROW)
		return ft_db_error(db, path, table);
	*n = ft_db_u64(stmt, 0);
	*bytes = ft_db_u64(stmt, 1);
	return NULL;
}

struct ft_error *ft_thin_rows(sqlite3 *db, const char *path, uint64_t before_ns, uint64_t now_ns,
			      uint64_t rows, uint64_t blob_bytes)
{
	uint64_t n = 0, bytes = 0;
	bool thinned = false;

	for (size_t i = 0; i < sizeof(thinnings) / sizeof(thinnings[0]); i++) {
		ft_auto_stmt sqlite3_stmt *stmt = NULL;

		/* A second statement goes with the one before it. */
		if (thinnings[i].table && thinned)
			break;
		if (thinnings[i].table)
			FT_TRY(count(db, path, thinnings[i].table, before_ns, &n, &bytes));
		if (n <= rows && (!blob_bytes || bytes <= blob_bytes || n < 2))
			continue;
		FT_TRY(ft_db_prepare(db, path, thinnings[i].sql, &stmt));
		FT_TRY(ft_db_run(db, path, stmt,
				 sqlite3_bind_parameter_count(stmt) > 1 ? "uu" : "u", before_ns,
				 now_ns));
		thinned = true;
	}
	return NULL;
}

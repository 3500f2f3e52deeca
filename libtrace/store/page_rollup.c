/* SPDX-License-Identifier: MIT */
/* Pages of the heap at moments: see ft_page_rollup.h. How they are read is at the end. */
#include "ft_page_rollup.h"

#include <stdlib.h>

#include "ft_cleanup.h"
#include "ft_reader.h"

enum { NCOL_HOLES, NCOL_PAGES, NCOL_N }; /* a row a power of two */
enum { PCOL_PIN, PCOL_N };

enum { VARINT = 10, HOLES_BYTES = 2 * VARINT, PAGES_BYTES = 2 * VARINT, PIN_BYTES = 4 * VARINT };

#define COLUMNS                                                                                 \
	" time_ns, seq, page_bytes, n_blocks, live_bytes, usable_bytes, n_pages, n_free_pages," \
	" pinned_bytes, n_holes, hole_bytes, largest_hole, trim_pages, n_huge_pages,"           \
	" huge_live_bytes, data, pins"

/* ---- blocks -----------------------------------------------------------------------------------
 */

static int compare_addresses(const void *a, const void *b)
{
	const struct ft_follow_order *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

bool ft_page_blocks_init(struct ft_page_blocks *blocks, const struct ft_follow *follow)
{
	size_t n = 0;

	*blocks = (struct ft_page_blocks){
		.follow = follow,
		.order = malloc((follow->live.n_live + 1) * sizeof(*blocks->order)),
	};
	if (!blocks->order)
		return false;
	for (uint32_t i = 0; i < follow->live.n_blocks; i++)
		if (follow->live.blocks[i].address)
			blocks->order[n++] = (struct ft_follow_order){
				.seq = follow->live.blocks[i].address, .number = i};
	qsort(blocks->order, n, sizeof(*blocks->order), compare_addresses);
	return true;
}

void ft_page_blocks_deinit(struct ft_page_blocks *blocks)
{
	free(blocks->order);
}

bool ft_page_blocks_next(struct ft_page_blocks *blocks, struct ft_event *birth)
{
	if (blocks->at == blocks->follow->live.n_live)
		return false;
	*birth = ft_follow_birth(blocks->follow, blocks->order[blocks->at++].number);
	return true;
}

/* ---- rows -------------------------------------------------------------------------------------
 */

static bool pack_figures(struct ft_packer *packer, const struct ft_page_rollup *pages,
			 struct ft_strbuf *out)
{
	const struct ft_columns_head head = {
		.type = FT_COLUMNS_PAGES, .n_columns = NCOL_N, .n_rows = FT_PAGES_HOLES};
	uint8_t bytes[NCOL_N][FT_PAGES_HOLES * HOLES_BYTES];
	struct ft_column_out columns[NCOL_N] = {{.data = bytes[0]}, {.data = bytes[1]}};
	size_t packed[FT_COLUMNS_MAX];

	for (unsigned i = 0; i < FT_PAGES_HOLES; i++) {
		ft_put_varint(&columns[NCOL_HOLES], pages->holes[i]);
		ft_put_varint(&columns[NCOL_HOLES], pages->holes_bytes[i]);
		if (i >= FT_PAGES_OCCUPANCY)
			continue;
		ft_put_varint(&columns[NCOL_PAGES], pages->occupancy[i]);
		ft_put_varint(&columns[NCOL_PAGES], pages->orders[i]);
	}
	return ft_pack(packer, &head, columns, packed, out);
}

static bool pack_pins(struct ft_packer *packer, const struct ft_page_rollup *pages,
		      struct ft_strbuf *out)
{
	const struct ft_columns_head head = {
		.type = FT_COLUMNS_PINS, .n_columns = PCOL_N, .n_rows = pages->n_pins};
	uint8_t bytes[FT_PAGES_PINS * PIN_BYTES];
	struct ft_column_out columns[PCOL_N] = {{.data = bytes}};
	size_t packed[FT_COLUMNS_MAX];

	for (uint32_t i = 0; i < pages->n_pins; i++) {
		ft_put_varint(&columns[PCOL_PIN], pages->pins[i].site);
		ft_put_varint(&columns[PCOL_PIN], pages->pins[i].sole);
		ft_put_varint(&columns[PCOL_PIN], pages->pins[i].shapley);
		ft_put_varint(&columns[PCOL_PIN], pages->pins[i].any);
	}
	return ft_pack(packer, &head, columns, packed, out);
}

struct ft_error *ft_page_rollup_write(sqlite3 *db, const char *path, struct ft_packer *packer,
				      const struct ft_page_rollup *pages)
{
	ft_auto_stmt sqlite3_stmt *insert = NULL;
	ft_auto_strbuf struct ft_strbuf figures, pins;

	ft_strbuf_init(&figures);
	ft_strbuf_init(&pins);
	if (!pack_figures(packer, pages, &figures) || !pack_pins(packer, pages, &pins))
		return &ft_enomem;
	FT_TRY(ft_db_prepare(db, path,
			     "INSERT INTO page_rollup(" COLUMNS
			     ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
			     &insert));
	return ft_db_run(db, path, insert, "uuuuuuuuuuuuuuubb", pages->time_ns, pages->seq,
			 pages->page_bytes, pages->n_blocks, pages->live_bytes, pages->usable_bytes,
			 pages->n_pages, pages->n_free_pages, pages->pinned_bytes, pages->n_holes,
			 pages->hole_bytes, pages->largest_hole, pages->trim_pages,
			 pages->n_huge_pages, pages->huge_live_bytes, figures.data, figures.len,
			 pins.data, pins.len);
}

struct ft_error *ft_page_rollup_thin(sqlite3 *db, const char *path, uint64_t most)
{
	ft_auto_stmt sqlite3_stmt *remove = NULL;

	/* The last one of each stretch of time stays. Stretches are as many as may stay at least.
	 */
	FT_TRY(ft_db_prepare(
		db, path,
		"WITH span AS (SELECT max(time_ns) / ?1 + 1 AS ns FROM page_rollup)"
		" DELETE FROM page_rollup WHERE id NOT IN (SELECT max(id) FROM page_rollup, span"
		" GROUP BY time_ns / ns)",
		&remove));
	return ft_db_run(db, path, remove, "u", most);
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static const char ends_early[] = "a column ends early";

static uint64_t take(struct ft_column_in *column, const char **damage)
{
	if (column->at >= column->end) {
		*damage = ends_early;
		return 0;
	}
	return ft_get_varint(column);
}

static const char *unpack_figures(struct ft_unpacker *unpacker, const void *data, size_t len,
				  struct ft_page_rollup *pages)
{
	static const uint16_t row_bytes[NCOL_N] = {HOLES_BYTES, PAGES_BYTES};
	struct ft_column_in columns[NCOL_N];
	struct ft_columns_head head = {0};
	const char *damage = ft_unpack(unpacker, data, len, FT_COLUMNS_PAGES, FT_PAGES_HOLES,
				       row_bytes, NCOL_N, &head, columns);

	if (!damage && head.n_rows != FT_PAGES_HOLES)
		damage = "it has not all sizes of holes";
	for (unsigned i = 0; i < FT_PAGES_HOLES && !damage; i++) {
		pages->holes[i] = take(&columns[NCOL_HOLES], &damage);
		pages->holes_bytes[i] = take(&columns[NCOL_HOLES], &damage);
		if (i >= FT_PAGES_OCCUPANCY)
			continue;
		pages->occupancy[i] = take(&columns[NCOL_PAGES], &damage);
		pages->orders[i] = take(&columns[NCOL_PAGES], &damage);
	}
	for (unsigned i = 0; i < NCOL_N && !damage; i++)
		if (columns[i].at != columns[i].end)
			damage = "a column is longer or shorter than its rows need";
	return damage;
}

static const char *unpack_pins(struct ft_unpacker *unpacker, const void *data, size_t len,
			       struct ft_page_rollup *pages)
{
	static const uint16_t row_bytes[PCOL_N] = {PIN_BYTES};
	struct ft_column_in columns[PCOL_N];
	struct ft_columns_head head = {0};
	const char *damage = ft_unpack(unpacker, data, len, FT_COLUMNS_PINS, FT_PAGES_PINS,
				       row_bytes, PCOL_N, &head, columns);

	if (damage)
		return damage;
	for (pages->n_pins = 0; pages->n_pins < head.n_rows && !damage; pages->n_pins++) {
		struct ft_page_pin *pin = &pages->pins[pages->n_pins];
		uint64_t site = take(&columns[PCOL_PIN], &damage);

		pin->site = (uint32_t)site;
		pin->sole = take(&columns[PCOL_PIN], &damage);
		pin->shapley = take(&columns[PCOL_PIN], &damage);
		pin->any = take(&columns[PCOL_PIN], &damage);
		if (site > UINT32_MAX || pin->sole > pin->shapley || pin->shapley > pin->any)
			damage = "a site's shares are out of order";
	}
	if (!damage && columns[0].at != columns[0].end)
		damage = "a column is longer or shorter than its rows need";
	return damage;
}

static const char *from_row(struct ft_unpacker *unpacker, sqlite3_stmt *row,
			    struct ft_page_rollup *pages)
{
	enum { DATA = 16, PINS };
	uint64_t *const figures[] = {
		&pages->time_ns,    &pages->seq,	  &pages->page_bytes,
		&pages->n_blocks,   &pages->live_bytes,	  &pages->usable_bytes,
		&pages->n_pages,    &pages->n_free_pages, &pages->pinned_bytes,
		&pages->n_holes,    &pages->hole_bytes,	  &pages->largest_hole,
		&pages->trim_pages, &pages->n_huge_pages, &pages->huge_live_bytes,
	};

	*pages = (struct ft_page_rollup){0};
	for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++)
		*figures[i] = ft_db_u64(row, (int)i + 1);
	if (!sqlite3_column_blob(row, DATA) || !sqlite3_column_blob(row, PINS))
		return "a part of it is empty";
	if (pages->time_ns > INT64_MAX || pages->page_bytes != 4096 ||
	    pages->n_pages > UINT64_MAX >> 12 || pages->n_free_pages > UINT64_MAX >> 12)
		return "a figure is out of range";

	const char *damage = unpack_figures(unpacker, sqlite3_column_blob(row, DATA),
					    (size_t)sqlite3_column_bytes(row, DATA), pages);

	return damage ? damage
		      : unpack_pins(unpacker, sqlite3_column_blob(row, PINS),
				    (size_t)sqlite3_column_bytes(row, PINS), pages);
}

struct ft_error *ft_reader_page_rollups(
	struct ft_reader *reader,
	struct ft_error *(*visit)(void *ctx, const struct ft_page_rollup *rollup), void *ctx)
{
	ft_auto_stmt sqlite3_stmt *stmt = NULL;
	ft_auto_free struct ft_page_rollup *pages = malloc(sizeof(*pages));
	struct ft_unpacker *unpacker;
	struct ft_error *error = NULL;
	uint64_t last_ns = 0;
	int rc = SQLITE_DONE;

	/* Earlier writers had the table, with other columns, and left it empty. */
	if (!ft_db_has_column(reader->db, "page_rollup", "pins"))
		return NULL;
	FT_TRY(ft_db_prepare(reader->db, reader->path,
			     "SELECT id," COLUMNS " FROM page_rollup ORDER BY id", &stmt));
	unpacker = ft_unpacker_create();
	if (!pages || !unpacker)
		error = &ft_enomem;
	while (!error && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *why = from_row(unpacker, stmt, pages);

		if (!why && pages->time_ns < last_ns)
			why = "it is before the one before it";
		error = why ? ft_error_create(FT_ERROR_INPUT,
					      "%s: the recording is damaged: page roll-up %lld: %s",
					      reader->path,
					      (long long)sqlite3_column_int64(stmt, 0), why)
			    : visit(ctx, pages);
		last_ns = pages->time_ns;
	}
	ft_unpacker_destroy(unpacker);
	if (!error && rc != SQLITE_DONE)
		error = ft_db_error(reader->db, reader->path, "page roll-ups");
	return error;
}

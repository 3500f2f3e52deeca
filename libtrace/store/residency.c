/* SPDX-License-Identifier: MIT */
/* Runs of pages: see ft_residency.h. */
#include "ft_residency.h"

#include <stdlib.h>

#include "ft_cleanup.h"
#include "ft_columns.h"

enum residency_column { RCOL_GAP, RCOL_PAGES, RCOL_STATE, RCOL_N };

static const uint16_t column_bytes[RCOL_N] = {[RCOL_GAP] = 10, [RCOL_PAGES] = 10, [RCOL_STATE] = 1};

bool ft_residency_encode(const struct ft_page_run *runs, size_t n, uint32_t page_bytes, int level,
			 struct ft_strbuf *out)
{
	struct ft_column_out columns[RCOL_N] = {0};
	struct ft_packer *packer = ft_packer_create(level);
	bool done = packer != NULL;
	uint64_t at = 0;

	for (size_t i = 0; i < RCOL_N; i++) {
		columns[i].capacity = n * column_bytes[i] + 1;
		columns[i].data = malloc(columns[i].capacity);
		done = done && columns[i].data;
	}
	for (size_t i = 0; done && i < n; i++) {
		uint64_t page = runs[i].start / page_bytes;

		ft_put_varint(&columns[RCOL_GAP], page - at);
		ft_put_varint(&columns[RCOL_PAGES], runs[i].n_pages);
		ft_put_byte(&columns[RCOL_STATE], runs[i].state);
		at = page + runs[i].n_pages;
	}
	if (done) {
		const struct ft_columns_head head = {
			.type = FT_COLUMNS_RESIDENCY, .n_columns = RCOL_N, .n_rows = (uint32_t)n};
		size_t packed[RCOL_N];

		done = ft_pack(packer, &head, columns, packed, out);
	}
	for (size_t i = 0; i < RCOL_N; i++)
		free(columns[i].data);
	ft_packer_destroy(packer);
	return done;
}

static const char *decode(struct ft_column_in *columns, uint32_t page_bytes,
			  struct ft_page_run *runs, size_t n)
{
	const uint64_t n_pages = UINT64_MAX / page_bytes;
	uint64_t at = 0;

	if (columns[RCOL_STATE].end - columns[RCOL_STATE].at != (ptrdiff_t)n)
		return "it does not have one state for each run";
	for (size_t i = 0; i < n; i++) {
		if (columns[RCOL_GAP].at >= columns[RCOL_GAP].end ||
		    columns[RCOL_PAGES].at >= columns[RCOL_PAGES].end)
			return "a column ends early";

		uint64_t gap = ft_get_varint(&columns[RCOL_GAP]);
		uint64_t pages = ft_get_varint(&columns[RCOL_PAGES]);
		uint8_t state = *columns[RCOL_STATE].at++;

		if (!pages || gap > n_pages - at || pages > n_pages - at - gap)
			return "a run of pages is empty or beyond all addresses";
		if (state >= FT_PAGES_N)
			return "a run of pages is in an unknown state";
		runs[i] = (struct ft_page_run){
			.start = (at + gap) * page_bytes, .n_pages = pages, .state = state};
		at += gap + pages;
	}
	for (size_t i = 0; i < RCOL_N; i++)
		if (columns[i].at != columns[i].end)
			return "a column is longer or shorter than its runs need";
	return NULL;
}

const char *ft_residency_decode(const void *data, size_t len, uint32_t page_bytes,
				struct ft_page_run **ret, size_t *n)
{
	struct ft_unpacker *unpacker = ft_unpacker_create();
	struct ft_column_in columns[RCOL_N];
	struct ft_columns_head head = {0};
	struct ft_page_run *runs = NULL;
	const char *damage = unpacker ? NULL : ft_unpack_nomem;

	if (!damage)
		damage = ft_unpack(unpacker, data, len, FT_COLUMNS_RESIDENCY, FT_RESIDENCY_RUNS,
				   column_bytes, RCOL_N, &head, columns);
	if (!damage) {
		runs = malloc((head.n_rows + (size_t)1) * sizeof(*runs));
		damage = runs ? decode(columns, page_bytes, runs, head.n_rows) : ft_unpack_nomem;
	}
	ft_unpacker_destroy(unpacker);
	if (damage) {
		free(runs);
		return damage;
	}
	*ret = runs;
	*n = head.n_rows;
	return NULL;
}

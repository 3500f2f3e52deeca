/* SPDX-License-Identifier: MIT */
/* Page frames and events of a machine as blobs: see ft_node_chunk.h. */
#include "ft_node_chunk.h"

#include <stdlib.h>

enum page_column { PCOL_KIND, PCOL_COUNT, PCOL_N };
enum event_column { ECOL_KIND, ECOL_TYPES, ECOL_TIME, ECOL_PFN, ECOL_EXTRA, ECOL_N };

static const uint16_t page_bytes[PCOL_N] = {[PCOL_KIND] = 1, [PCOL_COUNT] = 5};
static const uint16_t event_bytes[ECOL_N] = {
	[ECOL_KIND] = 1, [ECOL_TYPES] = 1, [ECOL_TIME] = 10, [ECOL_PFN] = 10, [ECOL_EXTRA] = 5};

static bool columns_make(struct ft_column_out *columns, const uint16_t *bytes, size_t n,
			 size_t rows)
{
	bool made = true;

	for (size_t i = 0; i < n; i++) {
		columns[i] = (struct ft_column_out){.capacity = rows * bytes[i] + 1};
		columns[i].data = malloc(columns[i].capacity);
		made = made && columns[i].data;
	}
	return made;
}

static bool columns_pack(struct ft_column_out *columns, size_t n, enum ft_columns_type type,
			 size_t rows, bool good, struct ft_packer *packer, struct ft_strbuf *out)
{
	const struct ft_columns_head head = {
		.type = (uint8_t)type, .n_columns = (uint8_t)n, .n_rows = (uint32_t)rows};
	size_t packed[FT_COLUMNS_MAX];

	good = good && ft_pack(packer, &head, columns, packed, out);
	for (size_t i = 0; i < n; i++)
		free(columns[i].data);
	return good;
}

static const char *columns_end(const struct ft_column_in *columns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (columns[i].at != columns[i].end)
			return "a column is longer or shorter than its rows need";
	return NULL;
}

/* ---- pages ----------------------------------------------------------------------------------- */

bool ft_node_pages_encode(const struct ft_node_run *runs, size_t n, struct ft_packer *packer,
			  struct ft_strbuf *out)
{
	struct ft_column_out columns[PCOL_N];
	bool good = columns_make(columns, page_bytes, PCOL_N, n);

	for (size_t i = 0; good && i < n; i++) {
		ft_put_byte(&columns[PCOL_KIND], (uint8_t)(runs[i].kind | runs[i].order << 4));
		ft_put_varint(&columns[PCOL_COUNT], runs[i].n);
	}
	return columns_pack(columns, PCOL_N, FT_COLUMNS_NODE_PAGES, n, good, packer, out);
}

static const char *pages_decode(struct ft_column_in *columns, uint32_t n_pages,
				struct ft_node_run *runs, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		if (columns[PCOL_KIND].at >= columns[PCOL_KIND].end ||
		    columns[PCOL_COUNT].at >= columns[PCOL_COUNT].end)
			return "a column ends early";

		uint8_t byte = *columns[PCOL_KIND].at++;
		uint64_t count = ft_get_varint(&columns[PCOL_COUNT]);

		if ((byte & 15) >= FT_NODE_PAGE_KINDS)
			return "page frames of an unknown kind";
		if (!count || count > n_pages)
			return "a run of page frames is empty or too long";
		runs[i] = (struct ft_node_run){
			.kind = byte & 15, .order = byte >> 4, .n = (uint32_t)count};
		sum += count << runs[i].order;
		if (sum > n_pages)
			return "its runs are longer than its page frames";
	}
	if (sum != n_pages)
		return "its runs are shorter than its page frames";
	return columns_end(columns, PCOL_N);
}

const char *ft_node_pages_decode(const void *data, size_t len, uint32_t n_pages,
				 struct ft_unpacker *unpacker, struct ft_node_run **ret, size_t *n)
{
	struct ft_column_in columns[PCOL_N];
	struct ft_columns_head head = {0};
	struct ft_node_run *runs;
	const char *damage = ft_unpack(unpacker, data, len, FT_COLUMNS_NODE_PAGES,
				       FT_NODE_PAGES_MAX, page_bytes, PCOL_N, &head, columns);

	if (damage)
		return damage;
	runs = malloc((head.n_rows + (size_t)1) * sizeof(*runs));
	if (!runs)
		return ft_unpack_nomem;
	damage = pages_decode(columns, n_pages, runs, head.n_rows);
	if (damage) {
		free(runs);
		return damage;
	}
	*ret = runs;
	*n = head.n_rows;
	return NULL;
}

/* ---- events ---------------------------------------------------------------------------------- */

/* What is more than a block and a type. */
static bool has_extra(uint8_t kind)
{
	return kind >= FT_NODE_FALLBACK;
}

bool ft_node_events_encode(const struct ft_node_event *events, size_t n, struct ft_packer *packer,
			   struct ft_strbuf *out)
{
	struct ft_column_out columns[ECOL_N];
	bool good = columns_make(columns, event_bytes, ECOL_N, n);
	uint64_t time = 0, pfn[FT_NODE_EVENT_KINDS] = {0};

	for (size_t i = 0; good && i < n; i++) {
		const struct ft_node_event *event = &events[i];

		ft_put_byte(&columns[ECOL_KIND], (uint8_t)(event->kind | event->order << 4));
		ft_put_byte(&columns[ECOL_TYPES],
			    (uint8_t)((event->type & 7) | (event->other_type & 7) << 3 |
				      (event->flag ? 64 : 0)));
		ft_put_varint(&columns[ECOL_TIME], event->time_ns - time);
		ft_put_varint(&columns[ECOL_PFN], ft_zigzag(event->pfn - pfn[event->kind]));
		if (has_extra(event->kind))
			ft_put_varint(&columns[ECOL_EXTRA], event->n);
		time = event->time_ns;
		pfn[event->kind] = event->pfn;
	}
	return columns_pack(columns, ECOL_N, FT_COLUMNS_NODE_EVENTS, n, good, packer, out);
}

static const char *events_decode(struct ft_column_in *columns, uint16_t cpu,
				 struct ft_node_event *events, size_t n)
{
	uint64_t time = 0, pfn[FT_NODE_EVENT_KINDS] = {0};

	for (size_t i = 0; i < n; i++) {
		for (size_t c = 0; c < ECOL_EXTRA; c++)
			if (columns[c].at >= columns[c].end)
				return "a column ends early";

		uint8_t byte = *columns[ECOL_KIND].at++, types = *columns[ECOL_TYPES].at++;
		uint64_t passed = ft_get_varint(&columns[ECOL_TIME]), extra = 0;
		uint8_t kind = byte & 15;

		if (!kind || kind >= FT_NODE_EVENT_KINDS)
			return "an event of an unknown kind";
		if (passed > UINT64_MAX - time)
			return "its times are beyond all times";
		pfn[kind] += ft_unzigzag(ft_get_varint(&columns[ECOL_PFN]));
		if (has_extra(kind)) {
			if (columns[ECOL_EXTRA].at >= columns[ECOL_EXTRA].end)
				return "a column ends early";
			extra = ft_get_varint(&columns[ECOL_EXTRA]);
			if (extra > UINT32_MAX)
				return "a count is too large";
		}
		time += passed;
		events[i] = (struct ft_node_event){.time_ns = time,
						   .pfn = pfn[kind],
						   .n = (uint32_t)extra,
						   .cpu = cpu,
						   .kind = kind,
						   .order = byte >> 4,
						   .type = types & 7,
						   .other_type = types >> 3 & 7,
						   .flag = types >> 6 & 1};
	}
	return columns_end(columns, ECOL_N);
}

const char *ft_node_events_decode(const void *data, size_t len, uint16_t cpu,
				  struct ft_unpacker *unpacker, struct ft_node_event *events,
				  size_t *n)
{
	struct ft_column_in columns[ECOL_N];
	struct ft_columns_head head = {0};
	const char *damage = ft_unpack(unpacker, data, len, FT_COLUMNS_NODE_EVENTS,
				       FT_NODE_CHUNK_EVENTS, event_bytes, ECOL_N, &head, columns);

	if (damage)
		return damage;
	*n = head.n_rows;
	return events_decode(columns, cpu, events, head.n_rows);
}

/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of what `fragtrace node` reads: the kernel's texts, pages of its trace buffer, and the
 * blobs of a machine's recording
 *
 * The first byte says which. Whatever is decoded stays within its bounds, and what was decoded from
 * a blob is encoded and decoded again to the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ft_node_chunk.h"
#include "no_parse.h"
#include "no_ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_orders(void *ctx, const struct no_orders_line *line)
{
	assert(memchr(line->zone.zone, 0, NO_NAME) && memchr(line->type, 0, NO_NAME));
}

static void on_block(void *ctx, const struct no_block_line *line)
{
	assert(memchr(line->type, 0, NO_NAME));
}

static void on_zone(void *ctx, const struct no_zone_name *zone, const char *key, uint64_t value)
{
	assert(memchr(zone->zone, 0, NO_NAME) && strlen(key) < 64);
}

static void on_key(void *ctx, const char *key, int64_t value)
{
	assert(strlen(key) < 64);
}

static void on_slab(void *ctx, const struct no_slab_line *line)
{
	assert(memchr(line->cache, 0, sizeof(line->cache)));
}

static void on_event(void *ctx, const struct ft_node_event *event)
{
	assert(event->kind && event->kind < FT_NODE_EVENT_KINDS && event->order < 16);
	++*(size_t *)ctx;
}

static void fuzz_ring(const uint8_t *data, size_t size)
{
	struct no_layout layouts[FT_NODE_EVENT_KINDS] = {
		[FT_NODE_RELEASE] = {.has = true, .id = 1, .pfn = {8, 8}, .order = {16, 4}},
		[FT_NODE_FALLBACK] = {.has = true,
				      .id = 2,
				      .pfn = {8, 8},
				      .order = {16, 4},
				      .type = {24, 4},
				      .other_type = {28, 4},
				      .n = {20, 4},
				      .flag = {32, 4}},
		[FT_NODE_COMPACT_BEGIN] = {.has = true, .id = 3, .pfn = {8, 8}, .flag = {40, 1}},
	};
	struct no_page_facts facts;
	size_t n = 0;

	no_ring_page(data, size, layouts, 0, on_event, &n, &facts);
	assert(n <= size / 8);
}

static void fuzz_blobs(const uint8_t *data, size_t size)
{
	struct ft_unpacker *unpacker = ft_unpacker_create();
	struct ft_packer *packer = ft_packer_create(1);
	struct ft_node_event *events = malloc(2 * FT_NODE_CHUNK_EVENTS * sizeof(*events));
	struct ft_node_event *again = events + FT_NODE_CHUNK_EVENTS;
	struct ft_node_run *runs = NULL;
	ft_auto_strbuf struct ft_strbuf out;
	size_t n = 0, m = 0;

	ft_strbuf_init(&out);
	if (!ft_node_pages_decode(data, size, 32768, unpacker, &runs, &n))
		free(runs);
	if (!ft_node_events_decode(data, size, 7, unpacker, events, &n)) {
		assert(ft_node_events_encode(events, n, packer, &out));
		assert(!ft_node_events_decode(out.data, out.len, 7, unpacker, again, &m));
		assert(n == m);
		for (size_t i = 0; i < n; i++)
			assert(events[i].time_ns == again[i].time_ns &&
			       events[i].pfn == again[i].pfn && events[i].n == again[i].n &&
			       events[i].kind == again[i].kind && events[i].type == again[i].type);
	}
	free(events);
	ft_packer_destroy(packer);
	ft_unpacker_destroy(unpacker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	size_t len = size - 1;
	struct no_format format;
	struct no_layout layout;
	uint64_t order;

	if (!size)
		return 0;
	switch (data[0] % 10) {
	case 0:
		no_parse_buddyinfo(text, len, on_orders, NULL);
		break;
	case 1:
		no_parse_extfrag(text, len, on_orders, NULL);
		break;
	case 2:
		no_parse_pagetypeinfo(text, len, on_orders, on_block, NULL, &order);
		break;
	case 3:
		no_parse_zoneinfo(text, len, on_zone, NULL);
		break;
	case 4:
		no_parse_keys(text, len, on_key, NULL);
		break;
	case 5:
		no_parse_pressure(text, len, on_key, NULL);
		break;
	case 6:
		no_parse_slabinfo(text, len, on_slab, NULL);
		break;
	case 7:
		if (no_parse_format(text, len, &format))
			no_layout_make(FT_NODE_RELEASE, &format, &layout);
		no_parse_stat(text, len, "overrun");
		break;
	case 8:
		fuzz_ring(data + 1, len);
		break;
	default:
		fuzz_blobs(data + 1, len);
		break;
	}
	return 0;
}

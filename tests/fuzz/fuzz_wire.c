/* SPDX-License-Identifier: MIT */
/*
 * Wire records as a traced program may leave them in a ring: bytes are put into a ring whose tail
 * is taken from them too, read, decoded, and taken apart as far as the collector does: once copied
 * record by record, and once where they lie, which must give the same.
 */
#include <stdlib.h>
#include <string.h>

#include "co_record.h"
#include "ft_ring.h"

enum { RING_BYTES = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_apart(const struct co_record *record)
{
	static struct co_wire_module module;
	char text[FT_WIRE_MAX_WORDS * 8], name[FT_WIRE_NAME + 1];

	switch (record->type) {
	case FT_WIRE_THREAD:
		co_wire_name(record->side, 3, name);
		break;
	case FT_WIRE_THREAD_END:
		co_wire_name(record->side, 2, name);
		break;
	case FT_WIRE_MODULE:
		if (co_wire_module(record->side, &module) && module.start >= module.end)
			abort();
		break;
	case FT_WIRE_MARK:
		co_wire_mark(record->side, text);
		break;
	}
}

static bool same(const struct co_record *a, const struct co_record *b)
{
	return a->type == b->type && a->stamp == b->stamp && a->address == b->address &&
	       a->size == b->size && a->usable == b->usable && a->stack == b->stack &&
	       a->api == b->api && a->flags == b->flags && a->align_log2 == b->align_log2 &&
	       (co_record_has_side(a) || a->old_address == b->old_address) && a->early == b->early;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint64_t body[RING_BYTES / 8];
	static struct co_record taken[RING_BYTES / 16 + 1];
	struct ft_ring_header header = {0};
	struct ft_ring_consumer consumer, in_place;
	uint64_t words[FT_WIRE_MAX_WORDS], tail, n_bad = 0, n_bad_in_place = 0;
	uint32_t n_taken, i = 0;
	bool exhausted;
	unsigned n;

	if (size < sizeof(tail))
		return 0;
	memcpy(&tail, data, sizeof(tail));
	data += sizeof(tail);
	size -= sizeof(tail);
	memset(body, 0, sizeof(body));
	memcpy(body, data, size < sizeof(body) ? size : sizeof(body));

	ft_ring_consumer_init(&consumer, &header, body, RING_BYTES);
	ft_ring_consumer_init(&in_place, &header, body, RING_BYTES);
	atomic_store(&header.tail, tail % 4 ? tail % (RING_BYTES + 1) / 8 * 8 : tail);
	n_taken =
		co_record_take(&in_place, taken, RING_BYTES / 16 + 1, &n_bad_in_place, &exhausted);
	while ((n = ft_ring_read(&consumer, words)) != 0) {
		struct co_record record;

		if (!co_record_decode(words, n, &record)) {
			n_bad++;
			continue;
		}
		if (i == n_taken || !same(&record, &taken[i++]))
			abort();
		if (record.type <= FT_WIRE_REALLOC && record.type != FT_WIRE_FREE &&
		    record.usable && record.usable < record.size &&
		    record.size < UINT64_MAX - 0xffff)
			abort();
		if (co_record_has_side(&record)) {
			take_apart(&record);
			free(record.side);
		}
	}
	if (i != n_taken || n_bad != n_bad_in_place || !exhausted ||
	    consumer.broken != in_place.broken)
		abort();
	while (n_taken--)
		if (co_record_has_side(&taken[n_taken]))
			free(taken[n_taken].side);
	return 0;
}

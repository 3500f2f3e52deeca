/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the chunk decoder: any blob is decoded or refused, and what is decoded is in bounds
 *
 * The input is tried as a blob, and then as the bytes of the columns, packed here: the checksums of
 * a blob keep mutated ones from reaching what is behind them. In the second form each column is a
 * length byte (times 4) and its bytes; the number of rows is that of the codes.
 */
#include <assert.h>
#include <stdlib.h>

#include "fragtrace/store.h"
#include "ft_chunk.h"
#include "ft_columns.h"
#include "ft_model.h"
#include "ft_stackchunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STACK_COLUMNS = 5 };

static struct ft_decoder *decoder;
static struct ft_stack_codec *stacks;
static struct ft_packer *packer;
static struct ft_event *events;
static struct ft_stack_node *nodes;

static void decode(const void *data, size_t size)
{
	struct ft_chunk_facts facts;
	size_t n = 0;

	if (!ft_decode(decoder, data, size, 7, events, &n, &facts)) {
		assert(n >= 1 && n <= FT_CHUNK_EVENTS);
		for (size_t i = 0; i < n; i++) {
			assert(events[i].seq == 7 + i);
			assert(events[i].stack <= facts.max_stack);
			assert(i == 0 || events[i].time_ns >= events[i - 1].time_ns);
		}
	}
	ft_decode_keyframe(decoder, data, size, events, &n, &facts);
	if (!ft_stack_decode(stacks, data, size, nodes, &n))
		for (size_t i = 0; i < n; i++)
			assert(nodes[i].parent < nodes[i].id);
}

static void decode_columns(const uint8_t *data, size_t size, enum ft_columns_type type,
			   uint8_t n_columns, uint8_t rows_column)
{
	struct ft_column_out columns[COL_N] = {0};
	struct ft_strbuf blob = {0};
	size_t packed[COL_N];

	for (size_t i = 0; i < n_columns && size; i++) {
		size_t len = (size_t)data[0] * 4;

		data++;
		size--;
		len = len < size ? len : size;
		columns[i].data = (uint8_t *)(uintptr_t)data;
		columns[i].len = len;
		data += len;
		size -= len;
	}

	const struct ft_columns_head head = {
		.type = (uint8_t)type,
		.n_columns = n_columns,
		.n_rows = (uint32_t)columns[rows_column].len,
	};

	if (ft_pack(packer, &head, columns, packed, &blob))
		decode(blob.data, blob.len);
	ft_strbuf_deinit(&blob);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!decoder) {
		decoder = ft_decoder_create();
		stacks = ft_stack_codec_create(1);
		packer = ft_packer_create(1);
		events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
		nodes = malloc(FT_STACK_CHUNK_NODES * sizeof(*nodes));
	}
	decode(data, size);
	decode_columns(data, size, FT_COLUMNS_EVENTS, COL_N, COL_CODE);
	decode_columns(data, size, FT_COLUMNS_KEYFRAME, COL_N, COL_CODE);
	decode_columns(data, size, FT_COLUMNS_STACKS, STACK_COLUMNS, 0);
	return 0;
}

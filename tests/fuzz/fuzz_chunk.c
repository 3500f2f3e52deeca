/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the decoders of chunks, keyframes and roll-ups: any blob is decoded or refused, and
 * what is decoded is in bounds
 *
 * The input is tried as a blob, and then as the bytes of the columns, packed here: the checksums of
 * a blob keep mutated ones from reaching what is behind them. In the second form each column is a
 * length byte (times 4) and its bytes; the number of rows is that of the codes, and where there are
 * none, that of the bytes of the first column by those of a small row.
 */
#include <assert.h>
#include <stdlib.h>

#include "fragtrace/store.h"
#include "ft_chunk.h"
#include "ft_columns.h"
#include "ft_model.h"
#include "ft_rollup.h"
#include "ft_stackchunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	STACK_COLUMNS = 5,
	ACCOUNT_COLUMNS = 2,
	ACCOUNT_BYTES = FT_ROLLUP_FIELDS + 2, /* a row at its smallest */
	PAIR_BYTES = 3,
	BIRTH_BYTES = 7,
};

static struct ft_decoder *decoder;
static struct ft_stack_codec *stacks;
static struct ft_packer *packer;
static struct ft_unpacker *unpacker;
static struct ft_event *events;
static struct ft_stack_node *nodes;

static void unpack_rollup(const void *data, size_t size)
{
	struct ft_rollup rollup = {
		.first_ns = 5, .last_ns = UINT32_MAX, .first_seq = 7, .n_events = UINT32_MAX};

	if (!ft_rollup_unpack(unpacker, data, size, &rollup.sites))
		for (uint32_t i = 0; i < rollup.sites.n; i++) {
			const struct ft_rollup_account *a = &rollup.sites.accounts[i];

			assert(!i || a->id > a[-1].id);
			assert(a->first_cohort + a->n_cohorts <= rollup.sites.n_cohorts);
		}
	ft_rollup_unpack_pairs(unpacker, data, size, &rollup.pairs, &rollup.n_pairs);
	ft_rollup_unpack_largest(unpacker, data, size, &rollup);
	assert(rollup.largest.n <= FT_LARGEST);
	for (uint32_t i = 0; i < rollup.largest.n; i++) {
		const struct ft_birth *birth = &rollup.largest.births[i];

		assert(birth->size > birth->old_size && birth->api < FT_API_N);
		assert(birth->seq >= 7 && birth->seq - 7 < UINT32_MAX);
		assert(birth->time_ns >= 5 && birth->time_ns <= UINT32_MAX);
		assert(!i || birth->size <= birth[-1].size);
	}
	ft_rollup_clear(&rollup);
}

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
	unpack_rollup(data, size);
}

static void decode_columns(const uint8_t *data, size_t size, enum ft_columns_type type,
			   uint8_t n_columns, uint8_t rows_column, uint8_t row_bytes)
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
		.n_rows = (uint32_t)columns[rows_column].len / row_bytes,
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
		unpacker = ft_unpacker_create();
		events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
		nodes = malloc(FT_STACK_CHUNK_NODES * sizeof(*nodes));
	}
	decode(data, size);
	decode_columns(data, size, FT_COLUMNS_EVENTS, COL_N, COL_CODE, 1);
	decode_columns(data, size, FT_COLUMNS_KEYFRAME, COL_N, COL_CODE, 1);
	decode_columns(data, size, FT_COLUMNS_STACKS, STACK_COLUMNS, 0, 1);
	decode_columns(data, size, FT_COLUMNS_ROLLUP, ACCOUNT_COLUMNS, 0, ACCOUNT_BYTES);
	decode_columns(data, size, FT_COLUMNS_PAIRS, 1, 0, PAIR_BYTES);
	decode_columns(data, size, FT_COLUMNS_LARGEST, 1, 0, BIRTH_BYTES);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* Columns: see ft_columns.h. The only file that knows zstd. */
#include "ft_columns.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { HEAD_BYTES = 8, ENTRY_BYTES = 8 };
/* More than any chunk is, whatever numbers of rows are allowed. */
#define MAX_BYTES (UINT64_C(1) << 30)

const char ft_unpack_nomem[] = "out of memory";

struct ft_packer {
	ZSTD_CCtx *zstd;
};

struct ft_unpacker {
	ZSTD_DCtx *zstd;
	uint8_t *buffer; /* all columns in a row, each followed by FT_COLUMN_PAD zeros */
	size_t capacity;
};

static void put_u32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t get_u32(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
	       (uint32_t)at[3] << 24;
}

struct ft_packer *ft_packer_create(int level)
{
	struct ft_packer *packer = calloc(1, sizeof(*packer));

	if (!packer)
		return NULL;
	packer->zstd = ZSTD_createCCtx();
	if (!packer->zstd ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(packer->zstd, ZSTD_c_compressionLevel, level)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(packer->zstd, ZSTD_c_checksumFlag, 1))) {
		ft_packer_destroy(packer);
		return NULL;
	}
	return packer;
}

void ft_packer_destroy(struct ft_packer *packer)
{
	if (!packer)
		return;
	ZSTD_freeCCtx(packer->zstd);
	free(packer);
}

bool ft_pack(struct ft_packer *packer, const struct ft_columns_head *head,
	     const struct ft_column_out *columns, size_t *packed_bytes, struct ft_strbuf *out)
{
	size_t start = out->len, fixed = HEAD_BYTES + (size_t)head->n_columns * ENTRY_BYTES;
	uint8_t *room = ft_strbuf_reserve(out, fixed);

	if (!room)
		return false;
	room[0] = FT_COLUMNS_LAYOUT;
	room[1] = head->type;
	room[2] = head->n_columns;
	room[3] = head->tick_shift;
	put_u32(room + 4, head->n_rows);
	out->len += fixed;

	for (size_t i = 0; i < head->n_columns; i++) {
		size_t packed = 0;

		if (columns[i].len) {
			size_t bound = ZSTD_compressBound(columns[i].len);
			void *at = ft_strbuf_reserve(out, bound);

			if (!at)
				return false;
			packed = ZSTD_compress2(packer->zstd, at, bound, columns[i].data,
						columns[i].len);
			/* With room for the worst case only memory can be short. */
			if (ZSTD_isError(packed))
				return false;
		}
		/* The reserve may have moved the buffer. */
		uint8_t *entry = (uint8_t *)out->data + start + HEAD_BYTES + i * ENTRY_BYTES;

		put_u32(entry, (uint32_t)columns[i].len);
		put_u32(entry + 4, (uint32_t)packed);
		out->len += packed;
		packed_bytes[i] = packed;
	}
	return true;
}

struct ft_unpacker *ft_unpacker_create(void)
{
	struct ft_unpacker *unpacker = calloc(1, sizeof(*unpacker));

	if (!unpacker)
		return NULL;
	unpacker->zstd = ZSTD_createDCtx();
	if (!unpacker->zstd) {
		free(unpacker);
		return NULL;
	}
	return unpacker;
}

void ft_unpacker_destroy(struct ft_unpacker *unpacker)
{
	if (!unpacker)
		return;
	ZSTD_freeDCtx(unpacker->zstd);
	free(unpacker->buffer);
	free(unpacker);
}

const char *ft_unpack(struct ft_unpacker *unpacker, const void *data, size_t len,
		      enum ft_columns_type type, uint32_t max_rows, const uint16_t *max_row_bytes,
		      size_t n_columns, struct ft_columns_head *head, struct ft_column_in *columns)
{
	const uint8_t *bytes = data;

	if (len < HEAD_BYTES)
		return "it is shorter than its head";
	*head = (struct ft_columns_head){
		.type = bytes[1],
		.n_columns = bytes[2],
		.tick_shift = bytes[3],
		.n_rows = get_u32(bytes + 4),
	};
	if (bytes[0] != FT_COLUMNS_LAYOUT)
		return "its layout is unknown";
	if (head->type != type)
		return "it holds something else";
	if (head->n_columns != n_columns)
		return "its number of columns is wrong";
	if (head->tick_shift > FT_TICK_SHIFT_MAX)
		return "its clock tick is out of range";
	if (head->n_rows > max_rows)
		return "it has too many rows";

	size_t fixed = HEAD_BYTES + (size_t)head->n_columns * ENTRY_BYTES;

	if (len < fixed)
		return "it is shorter than its table of columns";

	/* Add up before anything is allocated: no column may be larger than its rows can need, nor
	 * larger than what is packed says. */
	size_t raw_total = 0, packed_total = 0;

	for (size_t i = 0; i < head->n_columns; i++) {
		uint32_t raw = get_u32(bytes + HEAD_BYTES + i * ENTRY_BYTES);
		uint32_t packed = get_u32(bytes + HEAD_BYTES + i * ENTRY_BYTES + 4);

		if (raw > (size_t)max_row_bytes[i] * head->n_rows + FT_COLUMN_PAD)
			return "a column is larger than its rows allow";
		if (!raw != !packed)
			return "a column is empty and is not";
		if (packed > len - fixed - packed_total)
			return "its columns do not add up to its length";
		if (raw && ZSTD_getFrameContentSize(bytes + fixed + packed_total, packed) != raw)
			return "a column is not as long as it says";
		raw_total += raw + FT_COLUMN_PAD;
		packed_total += packed;
	}
	if (packed_total != len - fixed)
		return "its columns do not add up to its length";
	if (raw_total > MAX_BYTES)
		return "its columns are too long";

	if (raw_total > unpacker->capacity) {
		uint8_t *bigger = realloc(unpacker->buffer, raw_total);

		if (!bigger)
			return ft_unpack_nomem;
		unpacker->buffer = bigger;
		unpacker->capacity = raw_total;
	}

	const uint8_t *from = bytes + fixed;
	uint8_t *to = unpacker->buffer;

	for (size_t i = 0; i < n_columns; i++) {
		uint32_t raw = get_u32(bytes + HEAD_BYTES + i * ENTRY_BYTES);
		uint32_t packed = get_u32(bytes + HEAD_BYTES + i * ENTRY_BYTES + 4);

		if (raw && ZSTD_decompressDCtx(unpacker->zstd, to, raw, from, packed) != raw)
			return "a column does not unpack (damaged bytes)";
		memset(to + raw, 0, FT_COLUMN_PAD);
		columns[i] = (struct ft_column_in){.at = to, .end = to + raw};
		to += raw + FT_COLUMN_PAD;
		from += packed;
	}
	return NULL;
}

uint64_t ft_get_varint_long(struct ft_column_in *column)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint64_t byte = *column->at++;

		value |= shift < 64 ? (byte & 0x7f) << shift : 0;
		if (byte < 0x80)
			break;
	}
	return value;
}

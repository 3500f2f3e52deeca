/* SPDX-License-Identifier: MIT */
/*
 * Columns: the container that event, stack, keyframe and roll-up blobs share
 *
 *	u8 layout (1) | u8 type | u8 n_columns | u8 tick_shift | u32 n_rows
 *	n_columns x { u32 raw_bytes, u32 packed_bytes }
 *	the columns, each a zstd frame of its own with a content checksum; an empty one has no frame
 *
 * Little endian. A column can be unpacked without the others. Everything that a hostile blob can
 * claim is checked against a bound of the caller's before memory is touched.
 */
#ifndef FT_COLUMNS_H
#define FT_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_strbuf.h"

enum ft_columns_type {
	FT_COLUMNS_EVENTS = 1,
	FT_COLUMNS_STACKS = 2,
	FT_COLUMNS_KEYFRAME = 3,
	FT_COLUMNS_ROLLUP = 4,
	FT_COLUMNS_RESIDENCY = 5,
	FT_COLUMNS_NODE_PAGES = 6,
	FT_COLUMNS_NODE_EVENTS = 7,
	FT_COLUMNS_PAIRS = 8,
	FT_COLUMNS_PAGES = 9,
	FT_COLUMNS_PINS = 10,
	FT_COLUMNS_LARGEST = 11,
};

enum { FT_COLUMNS_LAYOUT = 1, FT_COLUMNS_MAX = 24, FT_TICK_SHIFT_MAX = 30 };

/* Bytes of a column that is being built. Room is reserved at the start of a chunk (`data` has space
 * for the most that the rows can need), so that appending never checks. */
struct ft_column_out {
	uint8_t *data;
	size_t len, capacity;
};

/* A column that is being read. `end` is followed by FT_COLUMN_PAD readable bytes, so that a varint
 * that starts before `end` may be read without looking at each byte. */
struct ft_column_in {
	const uint8_t *at, *end;
};

enum { FT_COLUMN_PAD = 16 };

struct ft_columns_head {
	uint8_t type, n_columns, tick_shift;
	uint32_t n_rows;
};

struct ft_packer;
struct ft_packer *ft_packer_create(int level); /* NULL when out of memory */
void ft_packer_destroy(struct ft_packer *packer);
/* Append the container to `out`; `packed_bytes` gets each column's size. False: out of memory. */
bool ft_pack(struct ft_packer *packer, const struct ft_columns_head *head,
	     const struct ft_column_out *columns, size_t *packed_bytes, struct ft_strbuf *out);

struct ft_unpacker;
struct ft_unpacker *ft_unpacker_create(void);
void ft_unpacker_destroy(struct ft_unpacker *unpacker);
/*
 * Check the container and unpack all of it. `max_row_bytes` bounds each column's raw bytes a row
 * (plus FT_COLUMN_PAD). The columns are valid until the next call.
 *
 * Returns NULL, or what is wrong as a static text; "out of memory" is ft_unpack_nomem.
 */
const char *ft_unpack(struct ft_unpacker *unpacker, const void *data, size_t len,
		      enum ft_columns_type type, uint32_t max_rows, const uint16_t *max_row_bytes,
		      size_t n_columns, struct ft_columns_head *head, struct ft_column_in *columns);
extern const char ft_unpack_nomem[];

/* ---- numbers ------------------------------------------------------------------------------------
 */

static inline uint64_t ft_zigzag(uint64_t difference)
{
	return difference << 1 ^ (uint64_t)((int64_t)difference >> 63);
}

static inline uint64_t ft_unzigzag(uint64_t value)
{
	return value >> 1 ^ (0 - (value & 1));
}

static inline void ft_put_byte(struct ft_column_out *column, uint8_t byte)
{
	column->data[column->len++] = byte;
}

static inline void ft_put_varint(struct ft_column_out *column, uint64_t value)
{
	while (value >= 0x80) {
		column->data[column->len++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	column->data[column->len++] = (uint8_t)value;
}

uint64_t ft_get_varint_long(struct ft_column_in *column);

/* The caller has checked at < end. A varint that runs past the end leaves at > end: check once,
 * when the column has been read. At most 10 bytes are consumed. */
static inline uint64_t ft_get_varint(struct ft_column_in *column)
{
	uint64_t byte = *column->at;

	if (__builtin_expect(byte < 0x80, 1)) {
		column->at++;
		return byte;
	}
	return ft_get_varint_long(column);
}

#endif

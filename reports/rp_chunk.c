/* SPDX-License-Identifier: MIT */
/* Data blocks and the column codecs: see rp_chunk.h and FORMAT.md. */
#include "rp_chunk.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

/* A chunk decodes as a whole, so its size bounds the work of showing one value. */
#define RP_CHUNK_VALUES ((size_t)1 << 20)

#define RP_CHUNK_MAGIC	 0x43475246u /* "FRGC" */
#define RP_CHUNK_VERSION 1

enum rp_codec { RP_CODEC_RAW = 0, RP_CODEC_DELTA = 1, RP_CODEC_PLANES = 2 };

struct rp_chunk_header {
	uint32_t magic;
	uint8_t version, type, codec, zero;
	uint32_t column, part;
	uint64_t first, count;
};
_Static_assert(sizeof(struct rp_chunk_header) == 32, "the header is 32 bytes without padding");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "chunks are little-endian");

static void put_base64(struct rp_block *block, const unsigned char *data, size_t length)
{
	static const char digit[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[4096];
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		block->carry[block->n_carry++] = data[i];
		if (block->n_carry < 3)
			continue;
		const unsigned char *c = block->carry;
		text[n++] = digit[c[0] >> 2];
		text[n++] = digit[(c[0] & 3) << 4 | c[1] >> 4];
		text[n++] = digit[(c[1] & 15) << 2 | c[2] >> 6];
		text[n++] = digit[c[2] & 63];
		block->n_carry = 0;
		if (n == sizeof(text)) {
			fwrite(text, 1, n, block->out);
			n = 0;
		}
	}
	fwrite(text, 1, n, block->out);
}

static void put_base64_end(struct rp_block *block)
{
	static const unsigned char zero[2];
	unsigned n_pad = (3 - block->n_carry) % 3;
	static const char digit[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	if (n_pad == 0)
		return;
	memcpy(block->carry + block->n_carry, zero, n_pad);
	const unsigned char *c = block->carry;
	char text[4] = {digit[c[0] >> 2], digit[(c[0] & 3) << 4 | c[1] >> 4],
			n_pad == 2 ? '=' : digit[(c[1] & 15) << 2 | c[2] >> 6], '='};
	fwrite(text, 1, sizeof(text), block->out);
}

/* Run deflate until it has nothing more to say for this input. */
static void drain(struct rp_block *block, int flush)
{
	unsigned char out[16384];

	if (block->status != Z_OK)
		return;
	do {
		block->deflate.next_out = out;
		block->deflate.avail_out = sizeof(out);
		block->status = deflate(&block->deflate, flush);
		put_base64(block, out, sizeof(out) - block->deflate.avail_out);
	} while (block->status == Z_OK && block->deflate.avail_out == 0);

	if (block->status == Z_BUF_ERROR && flush == Z_NO_FLUSH)
		block->status = Z_OK; /* no progress was possible: the input was already taken */
}

struct ft_error *rp_block_begin(struct rp_block *block, FILE *out, const char *id)
{
	memset(block, 0, sizeof(*block));
	block->out = out;
	/* 15 + 16: a gzip frame; zlib leaves its time stamp 0, so the bytes are reproducible */
	if (deflateInit2(&block->deflate, 6, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return &ft_enomem;
	fprintf(out, "<script type=\"application/octet-stream\" id=\"%s\">", id);
	return NULL;
}

void rp_block_write(struct rp_block *block, const void *data, size_t length)
{
	const unsigned char *p = data;

	while (length > 0) {
		uInt n = length > (1u << 30) ? 1u << 30 : (uInt)length;

		block->deflate.next_in = (z_const Bytef *)(uintptr_t)p;
		block->deflate.avail_in = n;
		drain(block, Z_NO_FLUSH);
		p += n;
		length -= n;
	}
}

struct ft_error *rp_block_end(struct rp_block *block)
{
	block->deflate.next_in = NULL;
	block->deflate.avail_in = 0;
	drain(block, Z_FINISH);
	bool finished = block->status == Z_STREAM_END;
	deflateEnd(&block->deflate);
	if (!finished)
		return ft_error_create(FT_ERROR_OS, "cannot compress the report's data");

	put_base64_end(block);
	fputs("</script>\n", block->out);
	if (ferror(block->out))
		return ft_error_os(errno, "cannot write the report");
	return NULL;
}

/* Series differ little from value to value; floats share their high bytes; cells are bytes. */
static enum rp_codec codec_of(enum fa_column_type type)
{
	switch (type) {
	case FA_U32:
	case FA_U64:
	case FA_I64:
		return RP_CODEC_DELTA;
	case FA_F64:
		return RP_CODEC_PLANES;
	case FA_U8:
		break;
	}
	return RP_CODEC_RAW;
}

size_t rp_column_chunks(const struct fa_column *column)
{
	return (column->n + RP_CHUNK_VALUES - 1) / RP_CHUNK_VALUES;
}

const char *rp_column_codec(const struct fa_column *column)
{
	static const char *const name[] = {"raw", "delta", "planes"};

	return name[codec_of(column->type)];
}

const char *rp_column_type(const struct fa_column *column)
{
	static const char *const name[] = {
		[FA_U8] = "u8",	  [FA_U32] = "u32", [FA_U64] = "u64",
		[FA_I64] = "i64", [FA_F64] = "f64",
	};

	return name[column->type];
}

static uint64_t integer_at(const struct fa_column *column, size_t index)
{
	uint64_t wide;
	uint32_t narrow;

	if (column->type == FA_U32) {
		memcpy(&narrow, (const char *)column->data + index * 4, 4);
		return narrow;
	}
	memcpy(&wide, (const char *)column->data + index * 8, 8);
	return wide;
}

static void write_delta(struct rp_block *block, const struct fa_column *column, size_t first,
			size_t count)
{
	unsigned char buffer[4096];
	size_t n = 0;
	uint64_t previous = 0;

	for (size_t i = first; i < first + count; i++) {
		uint64_t value = integer_at(column, i);
		uint64_t difference = value - previous;
		/* zig-zag: small differences of either sign become small numbers */
		uint64_t code = difference << 1 ^ (difference >> 63 ? UINT64_MAX : 0);

		previous = value;
		for (; code >= 0x80; code >>= 7)
			buffer[n++] = (unsigned char)(code | 0x80);
		buffer[n++] = (unsigned char)code;
		if (n > sizeof(buffer) - 10) {
			rp_block_write(block, buffer, n);
			n = 0;
		}
	}
	rp_block_write(block, buffer, n);
}

/* All first bytes, then all second bytes, and so on. */
static void write_planes(struct rp_block *block, const struct fa_column *column, size_t first,
			 size_t count)
{
	size_t size = fa_column_size(column->type);
	unsigned char buffer[4096];

	for (size_t plane = 0; plane < size; plane++) {
		const unsigned char *p = (const unsigned char *)column->data + first * size + plane;
		size_t n = 0;

		for (size_t i = 0; i < count; i++) {
			buffer[n++] = p[i * size];
			if (n == sizeof(buffer)) {
				rp_block_write(block, buffer, n);
				n = 0;
			}
		}
		rp_block_write(block, buffer, n);
	}
}

struct ft_error *rp_column_write(const struct fa_column *column, size_t index, size_t first_id,
				 FILE *out)
{
	enum rp_codec codec = codec_of(column->type);

	for (size_t part = 0; part < rp_column_chunks(column); part++) {
		size_t first = part * RP_CHUNK_VALUES;
		size_t count = column->n - first;
		if (count > RP_CHUNK_VALUES)
			count = RP_CHUNK_VALUES;
		struct rp_chunk_header header = {
			.magic = RP_CHUNK_MAGIC,
			.version = RP_CHUNK_VERSION,
			.type = (uint8_t)column->type,
			.codec = codec,
			.column = (uint32_t)index,
			.part = (uint32_t)part,
			.first = first,
			.count = count,
		};
		struct rp_block block;
		char id[32];

		snprintf(id, sizeof(id), "c%zu", first_id + part);
		FT_TRY(rp_block_begin(&block, out, id));
		rp_block_write(&block, &header, sizeof(header));
		if (codec == RP_CODEC_DELTA)
			write_delta(&block, column, first, count);
		else if (codec == RP_CODEC_PLANES)
			write_planes(&block, column, first, count);
		else
			rp_block_write(&block, (const char *)column->data + first, count);
		FT_TRY(rp_block_end(&block));
	}
	return NULL;
}

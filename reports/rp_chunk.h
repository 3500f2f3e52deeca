/* SPDX-License-Identifier: MIT */
/*
 * Data blocks: bytes -> gzip -> base64 -> one <script type="application/octet-stream"> element
 *
 * base64 is the only text form that browsers decode natively, gzip the only compression that they
 * all undo natively. Nothing in base64 can end the element early, whatever the data.
 * A failed write or deflate is remembered; rp_block_end() returns it.
 */
#ifndef RP_CHUNK_H
#define RP_CHUNK_H

#include <stddef.h>
#include <stdio.h>
#include <zlib.h>

#include "fa_doc.h"
#include "ft_error.h"

struct rp_block {
	FILE *out; /* borrowed */
	z_stream deflate;
	unsigned char carry[3]; /* bytes that do not make a base64 group yet */
	unsigned n_carry;
	int status; /* of zlib */
};

struct ft_error *rp_block_begin(struct rp_block *block, FILE *out, const char *id);
void rp_block_write(struct rp_block *block, const void *data, size_t length);
struct ft_error *rp_block_end(struct rp_block *block);

/* How many chunks a column takes, and which codec; rp_column_write() writes them as c<first_id>...
 */
size_t rp_column_chunks(const struct fa_column *column);
const char *rp_column_codec(const struct fa_column *column);
const char *rp_column_type(const struct fa_column *column);
struct ft_error *rp_column_write(const struct fa_column *column, size_t index, size_t first_id,
				 FILE *out);

#endif

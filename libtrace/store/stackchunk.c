/* SPDX-License-Identifier: MIT */
/* Stack chunks: see ft_stackchunk.h. */
#include "ft_stackchunk.h"

#include <stdlib.h>
#include <string.h>

#include "ft_columns.h"

enum stack_column {
	SCOL_CODE,   /* a byte a node: enum node_code */
	SCOL_ID,     /* varint: zigzag(id - previous id - 1), with NODE_ID */
	SCOL_PARENT, /* varint: id - parent - 1, with NODE_PARENT */
	SCOL_PC,     /* varint: index of a pc that the chunk has shown, with NODE_PC_KNOWN */
	SCOL_NEW_PC, /* varint: zigzag(pc - last new pc), with NODE_PC_NEW */
	SCOL_N
};

/* Bits of a code. Without a bit the value is the predicted one: id = the previous id + 1, parent =
 * the previous node, pc = what was called last from the parent's pc. */
enum node_code {
	NODE_ID = 1 << 0,
	NODE_PARENT = 1 << 1,
	NODE_PC_KNOWN = 1 << 2,
	NODE_PC_NEW = 1 << 3,
	NODE_CODE_END = 1 << 4, /* greater than any code */
};

enum { PC_SLOTS = 2 * FT_STACK_CHUNK_NODES, CALL_SLOTS = 65536 };

struct ft_stack_codec {
	struct ft_packer *packer;
	struct ft_unpacker *unpacker;
	struct ft_column_out out[SCOL_N];

	/* pcs of this chunk by index, from 1 */
	uint64_t pcs[FT_STACK_CHUNK_NODES + 1];
	uint32_t n_pcs;
	/* last callee (index of its pc) by hash of the caller's pc */
	uint32_t calls[CALL_SLOTS];
	/* encoder: index by pc */
	uint32_t pc_slots[PC_SLOTS];
	/* pc by node of this chunk, direct-mapped by id, to know a parent's pc */
	struct {
		uint32_t id;
		uint32_t pc;
	} nodes[FT_STACK_CHUNK_NODES];
};

static const uint16_t column_bytes[SCOL_N] = {
	[SCOL_CODE] = 1, [SCOL_ID] = 6, [SCOL_PARENT] = 5, [SCOL_PC] = 3, [SCOL_NEW_PC] = 10,
};

struct ft_stack_codec *ft_stack_codec_create(int level)
{
	struct ft_stack_codec *codec = calloc(1, sizeof(*codec));

	if (!codec)
		return NULL;
	codec->packer = ft_packer_create(level);
	codec->unpacker = ft_unpacker_create();
	if (!codec->packer || !codec->unpacker) {
		ft_stack_codec_destroy(codec);
		return NULL;
	}
	return codec;
}

void ft_stack_codec_destroy(struct ft_stack_codec *codec)
{
	if (!codec)
		return;
	for (size_t i = 0; i < SCOL_N; i++)
		free(codec->out[i].data);
	ft_packer_destroy(codec->packer);
	ft_unpacker_destroy(codec->unpacker);
	free(codec);
}

static void codec_reset(struct ft_stack_codec *codec)
{
	codec->n_pcs = 0;
	memset(codec->calls, 0, sizeof(codec->calls));
	memset(codec->nodes, 0, sizeof(codec->nodes));
}

static uint64_t mix(uint64_t x)
{
	return (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
}

/* The slot that predicts the callee of node `parent`: by its pc where this chunk has it, else by
 * its id. */
static uint32_t *codec_call(struct ft_stack_codec *codec, uint32_t parent)
{
	size_t at = parent % FT_STACK_CHUNK_NODES;
	uint64_t caller = parent && codec->nodes[at].id == parent ? codec->pcs[codec->nodes[at].pc]
								  : ~(uint64_t)parent;

	return &codec->calls[mix(caller) >> 48];
}
_Static_assert(CALL_SLOTS == 1 << (64 - 48), "the slot is the top bits of the product");

static void codec_seen(struct ft_stack_codec *codec, uint32_t id, uint32_t *call, uint32_t pc)
{
	*call = pc;
	codec->nodes[id % FT_STACK_CHUNK_NODES].id = id;
	codec->nodes[id % FT_STACK_CHUNK_NODES].pc = pc;
}

bool ft_stack_encode(struct ft_stack_codec *codec, const struct ft_stack_node *nodes, size_t n,
		     struct ft_strbuf *out)
{
	uint32_t last_id = 0;
	uint64_t last_new = 0;

	for (size_t i = 0; i < SCOL_N; i++) {
		struct ft_column_out *column = &codec->out[i];
		size_t need = column_bytes[i] * n;

		column->len = 0;
		if (need <= column->capacity)
			continue;
		free(column->data);
		column->data = malloc(need);
		column->capacity = column->data ? need : 0;
		if (!column->data)
			return false;
	}
	codec_reset(codec);
	memset(codec->pc_slots, 0, sizeof(codec->pc_slots));

	for (size_t i = 0; i < n; i++) {
		const struct ft_stack_node *node = &nodes[i];
		uint32_t *call = codec_call(codec, node->parent);
		uint8_t code = 0;

		if (node->id != last_id + 1) {
			code |= NODE_ID;
			ft_put_varint(&codec->out[SCOL_ID],
				      ft_zigzag((uint64_t)node->id - last_id - 1));
		}
		if (node->parent != last_id) {
			code |= NODE_PARENT;
			ft_put_varint(&codec->out[SCOL_PARENT],
				      (uint64_t)node->id - node->parent - 1);
		}

		size_t slot = mix(node->pc) >> 47;

		while (codec->pc_slots[slot] && codec->pcs[codec->pc_slots[slot]] != node->pc)
			slot = (slot + 1) % PC_SLOTS;

		uint32_t pc = codec->pc_slots[slot];

		if (!pc) {
			code |= NODE_PC_NEW;
			ft_put_varint(&codec->out[SCOL_NEW_PC], ft_zigzag(node->pc - last_new));
			last_new = node->pc;
			pc = ++codec->n_pcs;
			codec->pcs[pc] = node->pc;
			codec->pc_slots[slot] = pc;
		} else if (pc != *call) {
			code |= NODE_PC_KNOWN;
			ft_put_varint(&codec->out[SCOL_PC], pc);
		}
		codec_seen(codec, node->id, call, pc);
		ft_put_byte(&codec->out[SCOL_CODE], code);
		last_id = node->id;
	}

	const struct ft_columns_head head = {
		.type = FT_COLUMNS_STACKS,
		.n_columns = SCOL_N,
		.n_rows = (uint32_t)n,
	};
	size_t packed[SCOL_N];

	return ft_pack(codec->packer, &head, codec->out, packed, out);
}
_Static_assert(PC_SLOTS == 1 << (64 - 47), "the slot is the top bits of the product");

static bool take(struct ft_column_in *column, uint64_t *value)
{
	if (column->at >= column->end)
		return false;
	*value = ft_get_varint(column);
	return true;
}

const char *ft_stack_decode(struct ft_stack_codec *codec, const void *data, size_t len,
			    struct ft_stack_node *nodes, size_t *n)
{
	struct ft_column_in columns[SCOL_N];
	struct ft_columns_head head;
	const char *damage = ft_unpack(codec->unpacker, data, len, FT_COLUMNS_STACKS,
				       FT_STACK_CHUNK_NODES, column_bytes, SCOL_N, &head, columns);

	if (damage)
		return damage;
	if (!head.n_rows)
		return "it has no nodes";
	if (columns[SCOL_CODE].end - columns[SCOL_CODE].at != (ptrdiff_t)head.n_rows)
		return "it does not have one code for each node";

	uint64_t last_id = 0, last_new = 0;

	codec_reset(codec);
	for (size_t i = 0; i < head.n_rows; i++) {
		uint8_t code = *columns[SCOL_CODE].at++;
		uint64_t id = last_id + 1, parent = last_id, number;

		if (code >= NODE_CODE_END || (code & NODE_PC_KNOWN && code & NODE_PC_NEW))
			return "a node is given in an unknown way";
		if (code & NODE_ID) {
			if (!take(&columns[SCOL_ID], &number))
				return "a column ends early";
			id += ft_unzigzag(number);
		}
		if (!id || id > UINT32_MAX)
			return "the number of a node is out of range";
		if (code & NODE_PARENT) {
			if (!take(&columns[SCOL_PARENT], &number))
				return "a column ends early";
			if (number >= id)
				return "a node is its own ancestor";
			parent = id - number - 1;
		}
		if (parent >= id)
			return "a node is its own ancestor";

		uint32_t *call = codec_call(codec, (uint32_t)parent), pc = *call;

		if (code & NODE_PC_NEW) {
			if (!take(&columns[SCOL_NEW_PC], &number))
				return "a column ends early";
			last_new += ft_unzigzag(number);
			pc = ++codec->n_pcs;
			codec->pcs[pc] = last_new;
		} else if (code & NODE_PC_KNOWN) {
			if (!take(&columns[SCOL_PC], &number))
				return "a column ends early";
			pc = number <= codec->n_pcs ? (uint32_t)number : 0;
		}
		if (!pc)
			return "a node names a pc that its chunk has not shown";
		codec_seen(codec, (uint32_t)id, call, pc);
		nodes[i] = (struct ft_stack_node){
			.id = (uint32_t)id,
			.parent = (uint32_t)parent,
			.pc = codec->pcs[pc],
		};
		last_id = id;
	}
	for (size_t i = 0; i < SCOL_N; i++)
		if (columns[i].at != columns[i].end)
			return "a column is longer or shorter than its nodes need";
	*n = head.n_rows;
	return NULL;
}

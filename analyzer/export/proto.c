/* SPDX-License-Identifier: MIT */
/* Protocol buffers: see proto.h. */
#include "proto.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_LEN = 2 };

void fa_proto_varint(struct ft_strbuf *message, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		ft_strbuf_addc(message, (char)(value | 0x80));
	ft_strbuf_addc(message, (char)value);
}

void fa_proto_u64_always(struct ft_strbuf *message, unsigned field, uint64_t value)
{
	fa_proto_varint(message, field << 3 | WIRE_VARINT);
	fa_proto_varint(message, value);
}

void fa_proto_u64(struct ft_strbuf *message, unsigned field, uint64_t value)
{
	if (value)
		fa_proto_u64_always(message, field, value);
}

void fa_proto_bytes(struct ft_strbuf *message, unsigned field, const void *data, size_t len)
{
	fa_proto_varint(message, field << 3 | WIRE_LEN);
	fa_proto_varint(message, len);
	ft_strbuf_add(message, data, len);
}

void fa_proto_text(struct ft_strbuf *message, unsigned field, const char *text)
{
	fa_proto_bytes(message, field, text, strlen(text));
}

void fa_proto_message(struct ft_strbuf *message, unsigned field, const struct ft_strbuf *inner)
{
	fa_proto_bytes(message, field, inner->data, inner->len);
	message->failed |= inner->failed;
}

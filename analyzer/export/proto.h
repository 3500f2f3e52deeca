/* SPDX-License-Identifier: MIT */
/*
 * Protocol buffers, as far as writing needs it: a message is a buffer, a field is appended to it
 *
 * https://protobuf.dev/programming-guides/encoding. Zeros are not written: they are the default.
 */
#ifndef FA_PROTO_H
#define FA_PROTO_H

#include <stdint.h>

#include "ft_strbuf.h"

void fa_proto_varint(struct ft_strbuf *message, uint64_t value);

/* Fields of the types uint64, int64, uint32, bool and enum. */
void fa_proto_u64(struct ft_strbuf *message, unsigned field, uint64_t value);
/* The same, zero included: for values of a oneof, and where a reader tells unset from 0. */
void fa_proto_u64_always(struct ft_strbuf *message, unsigned field, uint64_t value);
/* Fields of the types string and bytes, and messages, also when empty. */
void fa_proto_bytes(struct ft_strbuf *message, unsigned field, const void *data, size_t len);
void fa_proto_text(struct ft_strbuf *message, unsigned field, const char *text);
void fa_proto_message(struct ft_strbuf *message, unsigned field, const struct ft_strbuf *inner);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Event chunks: up to 65536 events as columns, decoded without any other chunk
 *
 * The layout, exact enough for another reader, is in FORMAT.md ("Event chunk"). In short: most
 * fields of most events follow from what the chunk has shown so far (the same site asks for the
 * same size, the allocator hands out what was freed last), so that encoder and decoder run the same
 * small model and the file holds one code byte an event plus what the model did not foresee.
 */
#ifndef FT_CHUNK_H
#define FT_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/event.h"
#include "ft_strbuf.h"

/* Times are stored in ticks of 2^7 ns: finer than the skew between two threads' stamps, and half a
 * byte an event cheaper than nanoseconds. */
enum { FT_TICK_SHIFT = 7 };

static inline uint64_t ft_tick_floor(uint64_t time_ns)
{
	return time_ns >> FT_TICK_SHIFT << FT_TICK_SHIFT;
}

/* What a chunk's row in the directory says about its events. */
struct ft_chunk_facts {
	uint64_t first_ns, last_ns;
	uint64_t min_address, max_address; /* of address, and of old_address of a realloc */
	uint32_t max_stack, max_thread;
};

struct ft_encoder;
struct ft_encoder *ft_encoder_create(int level); /* zstd level; NULL when out of memory */
void ft_encoder_destroy(struct ft_encoder *encoder);

/*
 * Append the blob of `n` events (1 to 65536) to `out`. Fields that the kind does not have are not
 * stored (see FORMAT.md). kind, api and align_log2 must be in range, time must not decrease.
 * False when out of memory.
 */
bool ft_encode(struct ft_encoder *encoder, const struct ft_event *events, size_t n,
	       struct ft_strbuf *out, struct ft_chunk_facts *facts);

/* The same for a keyframe's part: births with their sequence numbers. */
bool ft_encode_keyframe(struct ft_encoder *encoder, const struct ft_event *events, size_t n,
			struct ft_strbuf *out, struct ft_chunk_facts *facts);

/* Raw and packed bytes by column of the last ft_encode(), for benchmarks. */
struct ft_column_stat {
	const char *name;
	size_t raw, packed;
};
size_t ft_encoder_stats(const struct ft_encoder *encoder, struct ft_column_stat *stats, size_t max);

struct ft_decoder;
struct ft_decoder *ft_decoder_create(void);
void ft_decoder_destroy(struct ft_decoder *decoder);

/*
 * Decode a blob into `events` (room for 65536); seq counts from `first_seq`. Returns NULL, or what
 * is wrong as a static text (ft_unpack_nomem when out of memory). Nothing in `data` is trusted.
 */
const char *ft_decode(struct ft_decoder *decoder, const void *data, size_t len, uint64_t first_seq,
		      struct ft_event *events, size_t *n, struct ft_chunk_facts *facts);
const char *ft_decode_keyframe(struct ft_decoder *decoder, const void *data, size_t len,
			       struct ft_event *events, size_t *n, struct ft_chunk_facts *facts);

#endif

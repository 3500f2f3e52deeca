/* SPDX-License-Identifier: MIT */
/*
 * Single-producer, single-consumer ring of wire records in a shared segment
 *
 * The traced thread writes, the collector reads. A full ring refuses the record; what then happens
 * is the caller's policy (wait for room, the default, or count a drop): the ring itself never
 * blocks, so that it can be reasoned about, and tested, alone. No allocation, no lock, no system
 * call.
 *
 * A record is contiguous: where it would cross the end of the body a PAD record fills the rest.
 */
#ifndef FT_RING_H
#define FT_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_segment.h"
#include "ft_wire.h"

/* ---- producer
 * ------------------------------------------------------------------------------------ */

struct ft_ring_producer {
	struct ft_ring_header *header;
	uint64_t *body;
	uint64_t mask;	      /* body size in bytes - 1 */
	uint64_t tail;	      /* ours; published by ft_ring_publish() */
	uint64_t cached_head; /* last head seen: the consumer's line is read again only when this
				 says that more than `limit` bytes are in use */
	uint64_t limit;	      /* half of the body, or, once that has been told, all of it */
	bool half_full;	      /* it has become half full: for the caller to tell, and to clear */
};

void ft_ring_producer_init(struct ft_ring_producer *producer, struct ft_ring_header *header,
			   uint64_t *body, uint64_t ring_bytes);

/* Look how far the consumer is. False: there is no room for `need` bytes. */
bool ft_ring_look(struct ft_ring_producer *producer, uint64_t need);

/* Room for `words` contiguous words, or NULL when the ring is full. Nothing is visible to the
 * consumer before ft_ring_publish(); reserving again without publishing replaces the reservation.
 */
static inline uint64_t *ft_ring_reserve(struct ft_ring_producer *producer, unsigned words)
{
	uint64_t bytes = (uint64_t)words * 8, tail = producer->tail;
	uint64_t room_to_end = producer->mask + 1 - (tail & producer->mask);
	uint64_t need = bytes <= room_to_end ? bytes : room_to_end + bytes;

	if (__builtin_expect(tail - producer->cached_head + need > producer->limit, 0) &&
	    !ft_ring_look(producer, need))
		return NULL;
	/* So that no checker takes room for none. */
	if (!producer->body)
		__builtin_unreachable();
	if (need != bytes) {
		/* PAD holds its length in bytes in the upper half: it may be longer than 255 words.
		 */
		producer->body[(tail & producer->mask) / 8] =
			ft_wire_head(FT_WIRE_PAD, 0, 0, 0, (uint32_t)room_to_end);
		producer->tail = tail += room_to_end;
	}
	return producer->body + (tail & producer->mask) / 8;
}

/* Make the reserved record of `words` words visible. */
static inline void ft_ring_publish(struct ft_ring_producer *producer, unsigned words)
{
	producer->tail += (uint64_t)words * 8;
	/* Release pairs with the acquire in ft_ring_peek_slow(): the words, and the nodes that they
	 * name. */
	atomic_store_explicit(&producer->header->tail, producer->tail, memory_order_release);
}

/* ---- consumer
 * ------------------------------------------------------------------------------------ */

struct ft_ring_consumer {
	struct ft_ring_header *header;
	const uint64_t *body;
	uint64_t mask;
	uint64_t head; /* ours; published by ft_ring_release() */
	uint64_t cached_tail;
	uint64_t stamp; /* of the last record gone past: what a short one adds to */
	bool broken;	/* the producer's side made no sense: nothing more is read from it */
};

void ft_ring_consumer_init(struct ft_ring_consumer *consumer, struct ft_ring_header *header,
			   const uint64_t *body, uint64_t ring_bytes);

/*
 * The next record where it lies, its length in words in *n and its checked first word in *head;
 * PADs are skipped. NULL when there is none. It stays where it is until ft_ring_release(), but its
 * producer may scribble on: the length is checked against the published bytes in the copy that
 * *head is, so that no read goes out of bounds; each further word is to be read once, by
 * ft_ring_word(). On nonsense `broken` is set. ft_ring_skip() goes past the record, whose stamp the
 * caller leaves in consumer->stamp.
 */
const uint64_t *ft_ring_peek_slow(struct ft_ring_consumer *consumer, uint64_t *head, unsigned *n);

static inline const uint64_t *ft_ring_peek(struct ft_ring_consumer *consumer, uint64_t *head,
					   unsigned *n)
{
	uint64_t at = consumer->head & consumer->mask;
	uint64_t available = consumer->cached_tail - consumer->head;
	uint64_t room_to_end = consumer->mask + 1 - at;

	if (__builtin_expect(available != 0, 1)) {
		*head = *(const volatile uint64_t *)(consumer->body + at / 8);
		*n = ft_wire_words(*head);
		if (__builtin_expect(ft_wire_type(*head) != FT_WIRE_PAD &&
					     *n >= FT_WIRE_MIN_WORDS &&
					     *n * UINT64_C(8) <= available &&
					     *n * UINT64_C(8) <= room_to_end && !consumer->broken,
				     1))
			return consumer->body + at / 8;
	}
	return ft_ring_peek_slow(consumer, head, n);
}

static inline bool ft_ring_has_next(struct ft_ring_consumer *consumer)
{
	uint64_t head;
	unsigned n;

	return ft_ring_peek(consumer, &head, &n) != NULL;
}

static inline void ft_ring_skip(struct ft_ring_consumer *consumer, unsigned n)
{
	consumer->head += (uint64_t)n * 8;
}

static inline uint64_t ft_ring_word(const uint64_t *record, unsigned i)
{
	return *(const volatile uint64_t *)(record + i);
}

/* Copy the next record into `words`, a short one in its long form, and go past it. Returns its
 * length in words, 0 when there is none. */
unsigned ft_ring_read(struct ft_ring_consumer *consumer, uint64_t words[FT_WIRE_MAX_WORDS]);

/* Give the bytes read so far back to the producer, or those before `position`, which is none that
 * was given back before. True if the producer sleeps and must be woken (futex on header->futex,
 * which this has bumped). */
bool ft_ring_release(struct ft_ring_consumer *consumer);
bool ft_ring_release_to(struct ft_ring_consumer *consumer, uint64_t position);

#endif

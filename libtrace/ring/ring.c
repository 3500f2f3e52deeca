/* SPDX-License-Identifier: MIT */
/* Ring: see ft_ring.h. */
#include "ft_ring.h"

#include <string.h>

void ft_ring_producer_init(struct ft_ring_producer *producer, struct ft_ring_header *header,
			   uint64_t *body, uint64_t ring_bytes)
{
	uint64_t tail = atomic_load_explicit(&header->tail, memory_order_relaxed);

	*producer = (struct ft_ring_producer){.header = header,
					      .body = body,
					      .mask = ring_bytes - 1,
					      .tail = tail,
					      .limit = ring_bytes / 2};
	producer->cached_head = atomic_load_explicit(&header->head, memory_order_acquire);
}

bool ft_ring_look(struct ft_ring_producer *producer, uint64_t need)
{
	uint64_t size = producer->mask + 1, used;

	/* Acquire pairs with the release in ft_ring_release(): the consumer is done with it. */
	producer->cached_head = atomic_load_explicit(&producer->header->head, memory_order_acquire);
	used = producer->tail - producer->cached_head + need;
	if (used <= size / 2) {
		producer->limit = size / 2;
	} else if (producer->limit < size) {
		producer->limit = size;
		producer->half_full = true;
	}
	return used <= size;
}

void ft_ring_consumer_init(struct ft_ring_consumer *consumer, struct ft_ring_header *header,
			   const uint64_t *body, uint64_t ring_bytes)
{
	uint64_t head = atomic_load_explicit(&header->head, memory_order_relaxed);

	*consumer = (struct ft_ring_consumer){.header = header,
					      .body = body,
					      .mask = ring_bytes - 1,
					      .head = head,
					      .cached_tail = head};
}

static const uint64_t *ring_broken(struct ft_ring_consumer *consumer)
{
	consumer->broken = true;
	return NULL;
}

const uint64_t *ft_ring_peek_slow(struct ft_ring_consumer *consumer, uint64_t *head, unsigned *n)
{
	uint64_t size = consumer->mask + 1;

	while (!consumer->broken) {
		if (consumer->cached_tail == consumer->head) {
			/* Acquire pairs with the release in ft_ring_publish(). */
			uint64_t tail =
				atomic_load_explicit(&consumer->header->tail, memory_order_acquire);

			if (tail == consumer->head)
				return NULL;
			if (tail - consumer->head > size || tail % 8)
				return ring_broken(consumer);
			consumer->cached_tail = tail;
		}

		uint64_t available = consumer->cached_tail - consumer->head;
		uint64_t to_end = size - (consumer->head & consumer->mask);
		const uint64_t *at = consumer->body + (consumer->head & consumer->mask) / 8;

		*head = ft_ring_word(at, 0);
		*n = ft_wire_words(*head);
		if (ft_wire_type(*head) == FT_WIRE_PAD) {
			if (ft_wire_upper(*head) != to_end || to_end > available)
				return ring_broken(consumer);
			consumer->head += to_end;
			continue;
		}
		if (*n < FT_WIRE_MIN_WORDS || (uint64_t)*n * 8 > available ||
		    (uint64_t)*n * 8 > to_end)
			return ring_broken(consumer);
		return at;
	}
	return NULL;
}

/* The long form of a record that has been copied. */
static unsigned expand(struct ft_ring_consumer *consumer, uint64_t *words, unsigned n)
{
	uint64_t head = words[0], tagged = words[1];
	unsigned api = ft_wire_api(head), flags = ft_wire_flags(head);

	switch (ft_wire_type(head)) {
	case FT_WIRE_SHORT_ALLOC:
		if (n != FT_WIRE_SHORT_ALLOC_WORDS)
			break;
		words[3] = words[2] & UINT32_MAX;
		consumer->stamp += words[2] >> 32;
		words[2] = tagged;
		words[1] = consumer->stamp;
		words[0] = ft_wire_head(FT_WIRE_ALLOC, api, flags, 4, ft_wire_upper(head));
		return 4;
	case FT_WIRE_SHORT_FREE:
		if (n != FT_WIRE_SHORT_FREE_WORDS)
			break;
		consumer->stamp += ft_wire_upper(head);
		words[2] = tagged;
		words[1] = consumer->stamp;
		words[0] = ft_wire_head(FT_WIRE_FREE, api, flags, 3, 0);
		return 3;
	}
	consumer->stamp = words[1];
	return n;
}

unsigned ft_ring_read(struct ft_ring_consumer *consumer, uint64_t words[FT_WIRE_MAX_WORDS])
{
	uint64_t head;
	unsigned n;
	const uint64_t *at = ft_ring_peek(consumer, &head, &n);

	if (!at)
		return 0;
	memcpy(words, at, (size_t)n * 8);
	words[0] = head; /* as checked: the shared word may have changed meanwhile */
	ft_ring_skip(consumer, n);
	return expand(consumer, words, n);
}

bool ft_ring_release_to(struct ft_ring_consumer *consumer, uint64_t position)
{
	struct ft_ring_header *header = consumer->header;

	/* Release pairs with the acquire in ft_ring_reserve(). Sequentially consistent, so that
	 * either we see `waiting` or the producer, which sets it before it looks again, sees the
	 * room. */
	atomic_store_explicit(&header->head, position, memory_order_seq_cst);
	if (!atomic_exchange_explicit(&header->waiting, 0, memory_order_seq_cst))
		return false;
	atomic_fetch_add_explicit(&header->futex, 1, memory_order_release);
	return true;
}

bool ft_ring_release(struct ft_ring_consumer *consumer)
{
	return ft_ring_release_to(consumer, consumer->head);
}

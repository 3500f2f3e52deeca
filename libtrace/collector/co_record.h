/* SPDX-License-Identifier: MIT */
/*
 * Decoded wire records, and the queue of a ring
 *
 * What comes out of a ring was written by a program that may be broken or hostile: decoding accepts
 * only records whose length fits their type, and nothing here trusts a value for more than being a
 * number.
 */
#ifndef CO_RECORD_H
#define CO_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_ring.h"
#include "ft_wire.h"

struct co_record {
	uint64_t stamp; /* the place in the order; of a realloc the late one */
	uint64_t address;
	uint64_t size;
	uint64_t usable; /* 0 when not known */
	union {
		uint64_t old_address; /* FT_WIRE_REALLOC */
		struct co_side *side; /* record types other than alloc, free, realloc; owned */
	};
	union {
		uint64_t early; /* FT_WIRE_REALLOC: the old block died between this and `stamp` */
		uint64_t given; /* FT_WIRE_FREE: the size that came with it, + 1; 0: none */
	};
	uint32_t stack;	 /* trie id as in the ring */
	uint32_t thread; /* serial of the ring's owner */
	uint8_t type;	 /* enum ft_wire_type */
	uint8_t api, flags, align_log2;
};
_Static_assert(sizeof(struct co_record) == 64, "one cache line a record");

/* A rare record in its wire form. */
struct co_side {
	unsigned n_words;
	uint64_t words[];
};

/*
 * Decode `n` words. False if they are no record of a known type and fitting length (the reader
 * counts and skips it), or if there is no memory for a side record. `stamp` is set for every type.
 */
bool co_record_decode(const uint64_t *words, unsigned n, struct co_record *record);

/*
 * Decode up to `max` records from a ring, where they lie, and go past them. `records` gets the good
 * ones; those that are none are left out and counted in *n_bad. Returns the number of records.
 * *exhausted: the ring has no more. A record whose ring has another owner than the last one is told
 * by its FT_WIRE_THREAD alone: `thread` is not set here.
 */
uint32_t co_record_take(struct ft_ring_consumer *consumer, struct co_record *records, uint32_t max,
			uint64_t *n_bad, bool *exhausted);

static inline bool co_record_has_side(const struct co_record *record)
{
	return record->type > FT_WIRE_REALLOC;
}

struct co_wire_module {
	uint64_t bias, start, end;
	uint32_t serial;			 /* of this load; as in its MODULE_END */
	char build_id[2 * FT_WIRE_BUILD_ID + 1]; /* hex, "" when there is none */
	char path[FT_WIRE_MAX_WORDS * 8];
};

/* False when the lengths in the record contradict each other. */
bool co_wire_module(const struct co_side *side, struct co_wire_module *module);

struct co_wire_error {
	uint64_t address;
	unsigned kind, region; /* enum ft_wire_error, enum ft_wire_region */
	uint64_t offset;
	char text[FT_WIRE_MAX_WORDS * 8];
};

/* False when it is none that there is, or the lengths contradict each other. */
bool co_wire_error(const struct co_side *side, struct co_wire_error *error);

/* The text of a mark; `text` has room for FT_WIRE_MAX_WORDS * 8 bytes. */
bool co_wire_mark(const struct co_side *side, char *text);

/* The name in a THREAD (word 3) or THREAD_END (word 2) record, as printable text. */
void co_wire_name(const struct co_side *side, unsigned word, char name[FT_WIRE_NAME + 1]);

/* FIFO of the records of one ring that wait for their turn; contiguous, so that runs are arrays. */
struct co_queue {
	struct co_record *records; /* [head, n) are waiting */
	uint32_t head, n, capacity;
	uint32_t index; /* the owner's number for it */
};

void co_queue_deinit(struct co_queue *queue); /* releases side records too */

/* Room for so many more records at the end (raise n to keep them), NULL when out of memory. */
struct co_record *co_queue_reserve(struct co_queue *queue, uint32_t n_more);

static inline uint32_t co_queue_count(const struct co_queue *queue)
{
	return queue->n - queue->head;
}

/*
 * Merge: visit the records of all queues in order of their stamps, those with a stamp below `bound`
 * only. `visit` gets them in runs of one queue. A queue that is not in order itself is kept in its
 * own order: a record comes as early as those before it in its queue allow.
 */
struct co_merge {
	struct co_queue **heap; /* scratch, room for `capacity` queues */
	uint32_t n, capacity;
};

void co_merge_deinit(struct co_merge *merge);

/* Begin a pass: forget the queues; then add each queue that is not empty. False when out of memory.
 */
void co_merge_begin(struct co_merge *merge);
bool co_merge_add(struct co_merge *merge, struct co_queue *queue);

typedef void co_visit_fn(void *ctx, struct co_queue *queue, const struct co_record *records,
			 uint32_t n);
void co_merge_run(struct co_merge *merge, uint64_t bound, co_visit_fn *visit, void *ctx);

#endif

/* SPDX-License-Identifier: MIT */
/* Decoded wire records: see co_record.h. */
#include "co_record.h"

#include "fragtrace/event.h"

#include <stdlib.h>
#include <string.h>

#define ADDRESS_MASK ((UINT64_C(1) << FT_WIRE_ADDRESS_BITS) - 1)

/* ---- decoding -------------------------------------------------------------------------------- */

/* Usable size from what stands beside the address; `word` counts what the record has used up. */
static bool decode_usable(const uint64_t *words, unsigned n, uint64_t tagged, unsigned *word,
			  struct co_record *record)
{
	uint64_t extra = tagged >> FT_WIRE_ADDRESS_BITS;

	if (extra != FT_WIRE_EXTRA_ESCAPE) {
		record->usable = record->size + extra;
		return true;
	}
	if (*word >= n)
		return false;
	record->usable = words[(*word)++];
	if (record->usable < record->size)
		record->usable = 0; /* unknown */
	return true;
}

static bool decode_side(const uint64_t *words, unsigned n, struct co_record *record)
{
	struct co_side *side = malloc(sizeof(*side) + n * sizeof(*words));

	if (!side)
		return false;
	side->n_words = n;
	memcpy(side->words, words, n * sizeof(*words));
	record->side = side;
	return true;
}

/* Objects of pools are blocks like others, at addresses of their own; what else there is to say of
 * pools is rare. */
static bool decode_pool(const uint64_t *words, unsigned n, struct co_record *record)
{
	uint64_t block = words[3] & (FT_ADDRESS_POOL - 1);
	unsigned what = record->api;

	record->old_address = words[2];
	switch (what) {
	case FT_WIRE_POOL_ALLOC:
		record->type = FT_WIRE_ALLOC;
		record->api = FT_API_POOL_ALLOC;
		record->address = block | FT_ADDRESS_POOL;
		record->size = words[4];
		return block != 0;
	case FT_WIRE_POOL_FREE:
		record->type = FT_WIRE_FREE;
		record->api = FT_API_POOL_FREE;
		record->address = block | FT_ADDRESS_POOL;
		return block != 0;
	case FT_WIRE_POOL_CREATE:
	case FT_WIRE_POOL_ADD:
	case FT_WIRE_POOL_RESET:
	case FT_WIRE_POOL_DESTROY:
		return decode_side(words, n, record);
	default:
		return false;
	}
}

bool co_record_decode(const uint64_t *words, unsigned n, struct co_record *record)
{
	unsigned word;

	if (n < 2 || n > FT_WIRE_MAX_WORDS)
		return false;
	*record = (struct co_record){.stamp = words[1],
				     .type = (uint8_t)ft_wire_type(words[0]),
				     .api = (uint8_t)ft_wire_api(words[0]),
				     .flags = (uint8_t)ft_wire_flags(words[0]),
				     .stack = ft_wire_upper(words[0])};

	switch (record->type) {
	case FT_WIRE_ALLOC:
		if (n < 4)
			return false;
		record->address = words[2] & ADDRESS_MASK;
		record->size = words[3];
		word = 4;
		if (!decode_usable(words, n, words[2], &word, record))
			return false;
		if (word < n)
			record->align_log2 = words[word] < 64 ? (uint8_t)words[word] : 0;
		return record->address != 0;
	case FT_WIRE_FREE:
		if (n < 3)
			return false;
		record->address = words[2] & ADDRESS_MASK;
		record->given = words[2] >> FT_WIRE_ADDRESS_BITS;
		if (record->given == FT_WIRE_GIVEN_ESCAPE)
			record->given = n > 3 ? words[3] + 1 : 0;
		return record->address != 0;
	case FT_WIRE_REALLOC:
		if (n < 6)
			return false;
		record->early = words[1];
		record->stamp = words[2] < words[1] ? words[1] : words[2];
		record->old_address = words[3] & ADDRESS_MASK;
		record->address = words[4] & ADDRESS_MASK;
		record->size = words[5];
		word = 6;
		return decode_usable(words, n, words[4], &word, record) && record->address != 0;
	case FT_WIRE_THREAD:
		return n >= 6 && decode_side(words, n, record);
	case FT_WIRE_THREAD_END:
		return n >= 4 && decode_side(words, n, record);
	case FT_WIRE_MODULE:
		return n >= 10 && decode_side(words, n, record);
	case FT_WIRE_MODULE_END:
		return n >= 4 && decode_side(words, n, record);
	case FT_WIRE_LOSS:
	case FT_WIRE_STACK:
		return n >= 3 && decode_side(words, n, record);
	case FT_WIRE_MARK:
		return decode_side(words, n, record);
	case FT_WIRE_POOL:
		return n >= 5 && decode_pool(words, n, record);
	case FT_WIRE_MAP:
		return n == FT_WIRE_MAP_WORDS && decode_side(words, n, record);
	case FT_WIRE_ERROR:
		if (n < 5)
			return false;
		record->address = words[2] & ADDRESS_MASK;
		return decode_side(words, n, record);
	default:
		return false;
	}
}

/* A record as it lies in the ring; *stamp is that of the record before it, and then its own. */
static inline bool take_one(const uint64_t *at, uint64_t head, unsigned n, uint64_t *stamp,
			    struct co_record *record)
{
	uint64_t words[FT_WIRE_MAX_WORDS], tagged, size;

	switch (ft_wire_type(head)) {
	case FT_WIRE_SHORT_ALLOC:
		if (n != FT_WIRE_SHORT_ALLOC_WORDS)
			break;
		tagged = ft_ring_word(at, 1);
		size = ft_ring_word(at, 2);
		*stamp += size >> 32;
		size &= UINT32_MAX;
		*record = (struct co_record){
			.stamp = *stamp,
			.address = tagged & ADDRESS_MASK,
			.size = size,
			.usable = size + (tagged >> FT_WIRE_ADDRESS_BITS),
			.stack = ft_wire_upper(head),
			.type = FT_WIRE_ALLOC,
			.api = (uint8_t)ft_wire_api(head),
			.flags = (uint8_t)ft_wire_flags(head),
		};
		return record->address != 0 &&
		       tagged >> FT_WIRE_ADDRESS_BITS != FT_WIRE_EXTRA_ESCAPE;
	case FT_WIRE_SHORT_FREE:
		if (n != FT_WIRE_SHORT_FREE_WORDS)
			break;
		*stamp += ft_wire_upper(head);
		tagged = ft_ring_word(at, 1);
		*record = (struct co_record){
			.stamp = *stamp,
			.address = tagged & ADDRESS_MASK,
			.given = tagged >> FT_WIRE_ADDRESS_BITS,
			.type = FT_WIRE_FREE,
			.api = (uint8_t)ft_wire_api(head),
			.flags = (uint8_t)ft_wire_flags(head),
		};
		if (record->given == FT_WIRE_GIVEN_ESCAPE)
			record->given = 0; /* no further word: as if it had come without a size */
		return record->address != 0;
	}
	words[0] = head;
	words[1] = *stamp = ft_ring_word(at, 1);
	for (unsigned i = 2; i < n; i++)
		words[i] = ft_ring_word(at, i);
	return co_record_decode(words, n, record);
}

uint32_t co_record_take(struct ft_ring_consumer *consumer, struct co_record *records, uint32_t max,
			uint64_t *n_bad, bool *exhausted)
{
	/* In registers: what is stored into the records could be anything else. */
	struct ft_ring_consumer ring = *consumer;
	uint32_t n_good = 0;

	*exhausted = false;
	for (uint32_t i = 0; i < max; i++) {
		uint64_t head;
		unsigned n;
		const uint64_t *at = ft_ring_peek(&ring, &head, &n);

		if (!at) {
			*exhausted = true;
			break;
		}
		if (take_one(at, head, n, &ring.stamp, &records[n_good]))
			n_good++;
		else
			++*n_bad;
		ft_ring_skip(&ring, n);
	}
	*consumer = ring;
	return n_good;
}

bool co_wire_module(const struct co_side *side, struct co_wire_module *module)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t id_bytes = (uint32_t)side->words[5];
	size_t text = ft_wire_upper(side->words[0]);
	unsigned char id[FT_WIRE_BUILD_ID];

	if (id_bytes > FT_WIRE_BUILD_ID || text > (side->n_words - 10) * sizeof(uint64_t))
		return false;
	module->serial = (uint32_t)(side->words[5] >> 32);
	module->bias = side->words[2];
	module->start = side->words[3];
	module->end = side->words[4];
	memcpy(id, side->words + 6, sizeof(id));
	for (size_t i = 0; i < id_bytes; i++) {
		module->build_id[2 * i] = digits[id[i] >> 4];
		module->build_id[2 * i + 1] = digits[id[i] & 15];
	}
	module->build_id[2 * id_bytes] = 0;
	memcpy(module->path, side->words + 10, text);
	module->path[text] = 0;
	return module->start < module->end;
}

bool co_wire_error(const struct co_side *side, struct co_wire_error *error)
{
	uint64_t what = side->words[3];
	size_t text = what >> 16;

	*error = (struct co_wire_error){.address = side->words[2],
					.kind = what & 0xff,
					.region = what >> 8 & 0xff,
					.offset = side->words[4]};
	if (text > (side->n_words - 5) * sizeof(uint64_t) || error->region >= FT_WIRE_REGION_N ||
	    error->kind == 0 || error->kind > FT_WIRE_SUSPECT)
		return false;
	memcpy(error->text, side->words + 5, text);
	error->text[text] = 0;
	return true;
}

bool co_wire_mark(const struct co_side *side, char *text)
{
	size_t len = ft_wire_upper(side->words[0]);

	if (len > (side->n_words - 2) * sizeof(uint64_t))
		return false;
	memcpy(text, side->words + 2, len);
	text[len] = 0;
	return true;
}

void co_wire_name(const struct co_side *side, unsigned word, char name[FT_WIRE_NAME + 1])
{
	memcpy(name, side->words + word, FT_WIRE_NAME);
	name[FT_WIRE_NAME] = 0;
	for (char *c = name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

/* ---- queues ---------------------------------------------------------------------------------- */

void co_queue_deinit(struct co_queue *queue)
{
	for (uint32_t i = queue->head; i < queue->n; i++)
		if (co_record_has_side(&queue->records[i]))
			free(queue->records[i].side);
	free(queue->records);
	*queue = (struct co_queue){.index = queue->index};
}

struct co_record *co_queue_reserve(struct co_queue *queue, uint32_t n_more)
{
	uint32_t capacity = queue->capacity ? queue->capacity : 64;
	struct co_record *records;

	if (queue->capacity - queue->n >= n_more)
		return queue->records + queue->n;

	if (queue->head > queue->capacity / 2) {
		queue->n -= queue->head;
		memmove(queue->records, queue->records + queue->head,
			queue->n * sizeof(*queue->records));
		queue->head = 0;
		if (queue->capacity - queue->n >= n_more)
			return queue->records + queue->n;
	}

	while (capacity - queue->n < n_more)
		capacity *= 2;
	records = realloc(queue->records, capacity * sizeof(*records));
	if (!records)
		return NULL;
	queue->records = records;
	queue->capacity = capacity;
	return queue->records + queue->n;
}

/* ---- merge -----------------------------------------------------------------------------------
 */

static uint64_t queue_stamp(const struct co_queue *queue)
{
	return queue->records[queue->head].stamp;
}

static void heap_sift_down(struct co_merge *merge, uint32_t at)
{
	struct co_queue *queue = merge->heap[at];
	uint64_t stamp = queue_stamp(queue);

	for (uint32_t child; (child = 2 * at + 1) < merge->n; at = child) {
		if (child + 1 < merge->n &&
		    queue_stamp(merge->heap[child + 1]) < queue_stamp(merge->heap[child]))
			child++;
		if (stamp <= queue_stamp(merge->heap[child]))
			break;
		merge->heap[at] = merge->heap[child];
	}
	merge->heap[at] = queue;
}

static void heap_push(struct co_merge *merge, struct co_queue *queue)
{
	uint32_t at = merge->n++;

	while (at && queue_stamp(queue) < queue_stamp(merge->heap[(at - 1) / 2])) {
		merge->heap[at] = merge->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	merge->heap[at] = queue;
}

void co_merge_deinit(struct co_merge *merge)
{
	free(merge->heap);
	*merge = (struct co_merge){0};
}

void co_merge_begin(struct co_merge *merge)
{
	merge->n = 0;
}

bool co_merge_add(struct co_merge *merge, struct co_queue *queue)
{
	if (merge->n == merge->capacity) {
		uint32_t capacity = merge->capacity ? merge->capacity * 2 : 16;
		struct co_queue **heap = realloc(merge->heap, capacity * sizeof(struct co_queue *));

		if (!heap)
			return false;
		merge->heap = heap;
		merge->capacity = capacity;
	}
	heap_push(merge, queue);
	return true;
}

/* How many records of the queue's front may be taken before another queue has its turn. */
static uint32_t run_length(const struct co_merge *merge, const struct co_queue *queue,
			   uint64_t bound)
{
	uint64_t limit = bound;
	uint32_t n = queue->head;

	for (uint32_t child = 1; child <= 2 && child < merge->n; child++) {
		uint64_t stamp = queue_stamp(merge->heap[child]);

		if (stamp < limit)
			limit = stamp;
	}
	/* The first one is the smallest of all whatever ties there are. */
	do
		n++;
	while (n < queue->n && queue->records[n].stamp < limit);
	return n - queue->head;
}

void co_merge_run(struct co_merge *merge, uint64_t bound, co_visit_fn *visit, void *ctx)
{
	while (merge->n && queue_stamp(merge->heap[0]) < bound) {
		struct co_queue *queue = merge->heap[0];
		uint32_t n = run_length(merge, queue, bound);

		visit(ctx, queue, queue->records + queue->head, n);
		queue->head += n;
		if (queue->head == queue->n) {
			queue->head = queue->n = 0;
			merge->heap[0] = merge->heap[--merge->n];
		}
		if (merge->n)
			heap_sift_down(merge, 0);
	}
}

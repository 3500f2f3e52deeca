/* SPDX-License-Identifier: MIT */
/* Encoding event chunks: see ft_chunk.h for the idea, ft_model.h for what both sides predict. */
#include "ft_chunk.h"

#include <stdlib.h>
#include <string.h>

#include "ft_columns.h"
#include "ft_model.h"

enum {
	CODE_SLOTS = 1024,
	STACK_SLOTS = 2 * MODEL_EVENTS,
	ADDRESS_SLOTS = 4 * MODEL_EVENTS,
	PREFETCH_AHEAD = 16,
};

/* What the encoder alone must know: where in the chunk an address was last born and freed. A slot
 * with neither is empty. */
struct address_slot {
	uint64_t address;
	uint32_t birth; /* live birth, or 0 */
	uint32_t death; /* its last death + 1, or 0 */
};

struct ft_encoder {
	struct ft_packer *packer;
	struct ft_model model;
	struct ft_column_out columns[COL_N];
	size_t packed[COL_N];

	struct {
		uint64_t key; /* the code's fields in one word */
		uint16_t code;
		bool used;
	} codes[CODE_SLOTS];
	unsigned n_codes;

	struct {
		uint32_t stack, index; /* index 0: empty */
	} stacks[STACK_SLOTS];
	uint32_t stack_mask;

	struct address_slot addresses[ADDRESS_SLOTS];
	uint32_t address_mask;
};

static const uint8_t column_row_bytes[COL_N] = {
	[COL_DICT] = CODE_BYTES, [COL_CODE] = 1,   [COL_ESCAPE] = CODE_BYTES,
	[COL_TIME] = 10,	 [COL_THREAD] = 8, [COL_RANK] = 1,
	[COL_DIST] = 3,		 [COL_GONE] = 10,  [COL_DEPTH] = 1,
	[COL_REUSE] = 3,	 [COL_DELTA] = 10, [COL_SIZE] = 10,
	[COL_USABLE] = 10,	 [COL_STACK] = 3,  [COL_NEW_STACK] = 5,
	[COL_SEQ] = 10,
};

static const char *const column_names[COL_N] = {
	"dict",	 "code",  "escape", "time", "thread", "rank",  "dist",	    "gone",
	"depth", "reuse", "delta",  "size", "usable", "stack", "new_stack", "seq",
};

struct ft_encoder *ft_encoder_create(int level)
{
	struct ft_encoder *encoder = calloc(1, sizeof(*encoder));

	if (!encoder)
		return NULL;
	encoder->packer = ft_packer_create(level);
	if (!encoder->packer) {
		ft_encoder_destroy(encoder);
		return NULL;
	}
	return encoder;
}

void ft_encoder_destroy(struct ft_encoder *encoder)
{
	if (!encoder)
		return;
	for (size_t i = 0; i < COL_N; i++)
		free(encoder->columns[i].data);
	ft_packer_destroy(encoder->packer);
	free(encoder);
}

static uint32_t table_mask(size_t n, size_t most)
{
	size_t slots = 64;

	while (slots < n && slots < most)
		slots *= 2;
	return (uint32_t)slots - 1;
}

static bool encoder_reset(struct ft_encoder *encoder, const struct ft_event *events, size_t n)
{
	size_t n_addresses = n;

	for (size_t i = 0; i < n; i++)
		n_addresses += events[i].kind == FT_EVENT_REALLOC;

	for (size_t i = 0; i < COL_N; i++) {
		struct ft_column_out *column = &encoder->columns[i];
		size_t need = column_row_bytes[i] * n + FT_COLUMN_PAD;

		column->len = 0;
		if (need <= column->capacity)
			continue;
		free(column->data);
		column->data = malloc(need);
		column->capacity = column->data ? need : 0;
		if (!column->data)
			return false;
	}
	ft_model_reset(&encoder->model);
	memset(encoder->codes, 0, sizeof(encoder->codes));
	encoder->n_codes = 0;
	/* At least a quarter of the slots stays empty. */
	encoder->stack_mask = table_mask(n + n / 3, STACK_SLOTS);
	encoder->address_mask = table_mask(n_addresses + n_addresses / 3, ADDRESS_SLOTS);
	memset(encoder->stacks, 0, (encoder->stack_mask + 1) * sizeof(encoder->stacks[0]));
	memset(encoder->addresses, 0, (encoder->address_mask + 1) * sizeof(encoder->addresses[0]));
	return true;
}

static size_t address_home(const struct ft_encoder *encoder, uint64_t address)
{
	uint64_t hash = (address ^ address >> 29) * UINT64_C(0x9e3779b97f4a7c15);

	return hash >> 32 & encoder->address_mask;
}

/* The slot of an address, or the empty one where it would go: who fills it sets the address. */
static struct address_slot *address_slot(struct ft_encoder *encoder, uint64_t address)
{
	for (size_t i = address_home(encoder, address);; i = (i + 1) & encoder->address_mask) {
		struct address_slot *slot = &encoder->addresses[i];

		if (slot->address == address || !(slot->birth | slot->death))
			return slot;
	}
}

static void encode_code(struct ft_encoder *encoder, const struct ft_code *code)
{
	uint8_t bytes[CODE_BYTES];
	uint64_t key = (uint64_t)code->kind | (uint64_t)code->api << 8 |
		       (uint64_t)code->flags << 16 | (uint64_t)code->align_log2 << 24 |
		       (uint64_t)code->ref << 32 | (uint64_t)code->addr << 40 |
		       (uint64_t)code->size << 48 | (uint64_t)code->usable << 52 |
		       (uint64_t)code->stack << 56;
	uint32_t i = (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 54);

	memcpy(bytes, code, CODE_BYTES);
	while (encoder->codes[i].used && encoder->codes[i].key != key)
		i = (i + 1) % CODE_SLOTS;
	if (!encoder->codes[i].used) {
		if (encoder->n_codes == CODE_ESCAPE) {
			struct ft_column_out *escape = &encoder->columns[COL_ESCAPE];

			memcpy(escape->data + escape->len, bytes, CODE_BYTES);
			escape->len += CODE_BYTES;
			ft_put_byte(&encoder->columns[COL_CODE], CODE_ESCAPE);
			return;
		}
		struct ft_column_out *dict = &encoder->columns[COL_DICT];

		memcpy(dict->data + dict->len, bytes, CODE_BYTES);
		dict->len += CODE_BYTES;
		encoder->codes[i].used = true;
		encoder->codes[i].key = key;
		encoder->codes[i].code = (uint16_t)encoder->n_codes++;
	}
	ft_put_byte(&encoder->columns[COL_CODE], (uint8_t)encoder->codes[i].code);
}

/* Returns the stack's index in this chunk. */
static uint32_t encode_stack(struct ft_encoder *encoder, struct ft_code *code, uint32_t stack,
			     uint32_t *one, uint32_t *two)
{
	struct ft_model *model = &encoder->model;

	if (!stack) {
		code->stack = STACK_NONE;
		return 0;
	}

	uint32_t i = (stack * UINT32_C(0x9e3779b1)) >> 8 & encoder->stack_mask;

	while (encoder->stacks[i].index && encoder->stacks[i].stack != stack)
		i = (i + 1) & encoder->stack_mask;

	uint32_t index = encoder->stacks[i].index;

	if (!index) {
		code->stack = STACK_NEW;
		ft_put_varint(&encoder->columns[COL_NEW_STACK],
			      ft_zigzag((uint64_t)stack - model->max_stack));
		index = ft_model_stack_add(model, stack);
		encoder->stacks[i].stack = stack;
		encoder->stacks[i].index = index;
	} else if (model->pair_next[ft_model_pair_slot(*one, *two)] == index) {
		code->stack = STACK_PAIR;
	} else if (model->single_next[*one] == index) {
		code->stack = STACK_SINGLE;
	} else {
		code->stack = STACK_GIVEN;
		ft_put_varint(&encoder->columns[COL_STACK], index);
	}
	ft_model_stack_seen(model, one, two, index);
	return index;
}

static void encode_size(struct ft_encoder *encoder, struct ft_code *code,
			const struct ft_event *event, uint32_t stack)
{
	struct ft_model *model = &encoder->model;
	uint64_t size = event->size, usable = event->usable;

	if (size == model->last_size[stack]) {
		code->size = SIZE_LAST;
	} else if (size == model->before_size[stack]) {
		code->size = SIZE_BEFORE;
	} else {
		code->size = SIZE_GIVEN;
		ft_put_varint(&encoder->columns[COL_SIZE], size);
	}
	ft_model_size_seen(model, stack, size);

	size_t slot = ft_model_usable_slot(size);

	if (!usable) {
		code->usable = USABLE_NONE;
		return;
	}
	if (usable == ft_model_rule(size)) {
		code->usable = USABLE_RULE;
		return;
	}
	if (model->usables[slot].size == size && model->usables[slot].usable == usable) {
		code->usable = USABLE_CACHED;
		return;
	}
	code->usable = USABLE_GIVEN;
	ft_put_varint(&encoder->columns[COL_USABLE], ft_zigzag(usable - size));
	model->usables[slot].size = size;
	model->usables[slot].usable = usable;
}

/* How the block that dies is named. *birth gets its number in this chunk, or 0. */
static void encode_ref(struct ft_encoder *encoder, struct ft_code *code, uint64_t address,
		       uint32_t *birth)
{
	struct ft_model *model = &encoder->model;
	struct address_slot *slot = address_slot(encoder, address);

	*birth = slot->birth;
	if (!*birth) {
		uint64_t delta = address - model->last_gone;

		code->ref = delta & 15 ? REF_GONE_ODD : REF_GONE;
		ft_put_varint(&encoder->columns[COL_GONE],
			      delta & 15 ? ft_zigzag(delta)
					 : ft_zigzag((uint64_t)((int64_t)delta >> 4)));
		return;
	}
	if (*birth == model->older[0]) {
		code->ref = REF_TOP;
		return;
	}
	if (model->last_dead && *birth == model->newer[model->last_dead]) {
		code->ref = REF_NEWER;
		return;
	}
	if (model->last_dead && *birth == model->older[model->last_dead]) {
		code->ref = REF_OLDER;
		return;
	}

	uint32_t at = model->older[0];

	for (unsigned rank = 1; rank <= MODEL_RANKS && at; rank++) {
		at = model->older[at];
		if (at == *birth) {
			code->ref = REF_RANK;
			ft_put_byte(&encoder->columns[COL_RANK], (uint8_t)rank);
			return;
		}
	}
	code->ref = REF_DIST;
	ft_put_varint(&encoder->columns[COL_DIST], model->n_births - *birth);
}

static void encode_address(struct ft_encoder *encoder, struct ft_code *code,
			   const struct ft_event *event)
{
	struct ft_model *model = &encoder->model;
	uint64_t address = event->address, class = event->usable ? event->usable : event->size;
	struct ft_model_list *list = ft_model_list(model, event->thread, class);
	struct ft_model_thread *thread = &model->threads[event->thread % MODEL_THREADS];
	struct address_slot *slot = address_slot(encoder, address);

	for (uint32_t depth = 0; depth < list->n; depth++) {
		if (list->address[list->n - 1 - depth] != address)
			continue;
		code->addr = depth ? ADDR_DEPTH : ADDR_TOP;
		if (depth)
			ft_put_byte(&encoder->columns[COL_DEPTH], (uint8_t)depth);
		ft_model_list_take(list, depth);
		return;
	}
	if (address == thread->next) {
		code->addr = ADDR_NEXT;
	} else if (address == list->last + class) {
		code->addr = ADDR_STRIDE;
	} else if (slot->death) {
		code->addr = ADDR_REUSE;
		ft_put_varint(&encoder->columns[COL_REUSE], model->n_deaths - slot->death);
		return;
	} else {
		uint64_t delta = address - (list->last ? list->last : thread->next);

		code->addr = delta & 15 ? ADDR_DELTA_ODD : ADDR_DELTA;
		ft_put_varint(&encoder->columns[COL_DELTA],
			      delta & 15 ? ft_zigzag(delta)
					 : ft_zigzag((uint64_t)((int64_t)delta >> 4)));
	}
	thread->next = address + class + 8;
	list->last = address;
}

/* The model's side of a death. `birth` 0: born before this chunk. */
static void encode_death(struct ft_encoder *encoder, uint32_t thread, uint64_t address,
			 uint32_t birth, bool reusable)
{
	struct ft_model *model = &encoder->model;

	if (birth) {
		ft_model_died(model, birth);
		if (reusable)
			ft_model_list_push(ft_model_list(model, thread, model->birth_usable[birth]),
					   address);
	} else {
		ft_model_gone(model, address);
	}
	*address_slot(encoder, address) =
		(struct address_slot){.address = address, .death = model->n_deaths};
}

static void encode_birth(struct ft_encoder *encoder, const struct ft_event *event)
{
	ft_model_born(&encoder->model, event->address, event->usable ? event->usable : event->size);

	struct address_slot *slot = address_slot(encoder, event->address);

	slot->address = event->address;
	slot->birth = encoder->model.n_births;
}

static void encode_event(struct ft_encoder *encoder, const struct ft_event *event)
{
	struct ft_code code = {
		.kind = event->kind,
		.api = event->api,
		.flags = event->flags,
		.align_log2 = event->align_log2,
	};
	struct ft_model *model = &encoder->model;
	struct ft_model_thread *thread = &model->threads[event->thread % MODEL_THREADS];
	uint32_t dead = 0;

	if (event->kind == FT_EVENT_FREE) {
		encode_stack(encoder, &code, event->stack, &thread->death1, &thread->death2);
		encode_ref(encoder, &code, event->address, &dead);
		encode_death(encoder, event->thread, event->address, dead, true);
		encode_code(encoder, &code);
		return;
	}

	uint32_t stack =
		encode_stack(encoder, &code, event->stack, &thread->stack1, &thread->stack2);

	encode_size(encoder, &code, event, stack);
	if (event->kind == FT_EVENT_REALLOC) {
		bool moved = event->address != event->old_address;

		encode_ref(encoder, &code, event->old_address, &dead);
		if (moved)
			encode_address(encoder, &code, event);
		else
			code.addr = ADDR_SAME;
		encode_death(encoder, event->thread, event->old_address, dead, moved);
	} else {
		encode_address(encoder, &code, event);
	}
	encode_birth(encoder, event);
	encode_code(encoder, &code);
}

static void facts_of(const struct ft_event *events, size_t n, struct ft_chunk_facts *facts)
{
	*facts = (struct ft_chunk_facts){
		.first_ns = ft_tick_floor(events[0].time_ns),
		.last_ns = ft_tick_floor(events[n - 1].time_ns),
		.min_address = UINT64_MAX,
	};
	for (size_t i = 0; i < n; i++) {
		const struct ft_event *event = &events[i];
		uint64_t low = event->address, high = event->address;

		if (event->kind == FT_EVENT_REALLOC && event->old_address < low)
			low = event->old_address;
		if (event->kind == FT_EVENT_REALLOC && event->old_address > high)
			high = event->old_address;
		if (low < facts->min_address)
			facts->min_address = low;
		if (high > facts->max_address)
			facts->max_address = high;
		if (event->stack > facts->max_stack)
			facts->max_stack = event->stack;
		if (event->thread > facts->max_thread)
			facts->max_thread = event->thread;
	}
}

static bool encode(struct ft_encoder *encoder, enum ft_columns_type type,
		   const struct ft_event *events, size_t n, struct ft_strbuf *out,
		   struct ft_chunk_facts *facts)
{
	struct ft_column_out *columns = encoder->columns;
	uint64_t tick = 0, seq = 0;
	size_t run = 0;

	if (!encoder_reset(encoder, events, n))
		return false;
	for (size_t i = 0; i < n; i++) {
		uint64_t now = events[i].time_ns >> FT_TICK_SHIFT;

		/* The table of addresses is what misses the caches. */
		if (i + PREFETCH_AHEAD < n)
			__builtin_prefetch(&encoder->addresses[address_home(
				encoder, events[i + PREFETCH_AHEAD].address)]);
		ft_put_varint(&columns[COL_TIME], now - tick);
		tick = now;
		if (i + 1 == n || events[i + 1].thread != events[i].thread) {
			ft_put_varint(&columns[COL_THREAD], events[i].thread);
			ft_put_varint(&columns[COL_THREAD], i - run);
			run = i + 1;
		}
		if (type == FT_COLUMNS_KEYFRAME) {
			ft_put_varint(&columns[COL_SEQ], events[i].seq - seq);
			seq = events[i].seq;
		}
		encode_event(encoder, &events[i]);
	}
	facts_of(events, n, facts);

	const struct ft_columns_head head = {
		.type = (uint8_t)type,
		.n_columns = COL_N,
		.tick_shift = FT_TICK_SHIFT,
		.n_rows = (uint32_t)n,
	};

	return ft_pack(encoder->packer, &head, columns, encoder->packed, out);
}

bool ft_encode(struct ft_encoder *encoder, const struct ft_event *events, size_t n,
	       struct ft_strbuf *out, struct ft_chunk_facts *facts)
{
	return encode(encoder, FT_COLUMNS_EVENTS, events, n, out, facts);
}

bool ft_encode_keyframe(struct ft_encoder *encoder, const struct ft_event *events, size_t n,
			struct ft_strbuf *out, struct ft_chunk_facts *facts)
{
	return encode(encoder, FT_COLUMNS_KEYFRAME, events, n, out, facts);
}

size_t ft_encoder_stats(const struct ft_encoder *encoder, struct ft_column_stat *stats, size_t max)
{
	size_t n = 0;

	for (; n < COL_N && n < max; n++)
		stats[n] = (struct ft_column_stat){
			.name = column_names[n],
			.raw = encoder->columns[n].len,
			.packed = encoder->packed[n],
		};
	return n;
}

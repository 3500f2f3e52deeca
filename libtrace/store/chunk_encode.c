/* SPDX-License-Identifier: MIT */
/* Encoding event chunks: see ft_chunk.h for the idea, ft_model.h for what both sides predict. */
#include "ft_chunk.h"

#include <stdlib.h>
#include <string.h>

#include "ft_columns.h"
#include "ft_model.h"

/* The tables of a chunk begin small, so that they stay in the caches when there are few stacks and
 * addresses, and grow: at least a quarter of the slots is empty. */
enum {
	CODE_SLOTS = 1024,
	STACK_SLOTS_LEAST = 1024,
	STACK_SLOTS = 2 * MODEL_EVENTS,
	ADDRESS_SLOTS_LEAST = 8192,
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

	struct stack_slot {
		uint32_t stack, index; /* index 0: empty */
	} * stacks, *other_stacks;
	uint32_t stack_mask;

	struct address_slot *addresses, *other_addresses;
	uint32_t address_mask, n_addresses;

	/* Each table is in the one half or the other. */
	struct stack_slot stack_slots[2][STACK_SLOTS];
	struct address_slot address_slots[2][ADDRESS_SLOTS];
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
	encoder->stacks = encoder->stack_slots[0];
	encoder->other_stacks = encoder->stack_slots[1];
	encoder->addresses = encoder->address_slots[0];
	encoder->other_addresses = encoder->address_slots[1];
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

/* The mask of a table that had this mask and n entries, for the next chunk. */
static uint32_t shrunk(uint32_t mask, uint32_t n, uint32_t least)
{
	while (mask >= least && n < mask / 8 * 3)
		mask /= 2;
	return mask < least ? least - 1 : mask;
}

static bool encoder_reset(struct ft_encoder *encoder, size_t n)
{
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
	/* The last chunk tells how many there will be. */
	encoder->stack_mask =
		shrunk(encoder->stack_mask, encoder->model.n_stacks, STACK_SLOTS_LEAST);
	encoder->address_mask =
		shrunk(encoder->address_mask, encoder->n_addresses, ADDRESS_SLOTS_LEAST);
	encoder->n_addresses = 0;
	ft_model_reset(&encoder->model);
	memset(encoder->codes, 0, sizeof(encoder->codes));
	encoder->n_codes = 0;
	memset(encoder->stacks, 0, (encoder->stack_mask + 1) * sizeof(encoder->stacks[0]));
	memset(encoder->addresses, 0, (encoder->address_mask + 1) * sizeof(encoder->addresses[0]));
	return true;
}

static inline size_t address_home(const struct ft_encoder *encoder, uint64_t address)
{
	uint64_t hash = (address ^ address >> 29) * UINT64_C(0x9e3779b97f4a7c15);

	return hash >> 32 & encoder->address_mask;
}

static inline bool is_empty(const struct address_slot *slot)
{
	return !(slot->birth | slot->death);
}

static void grow_addresses(struct ft_encoder *encoder)
{
	struct address_slot *from = encoder->addresses, *to = encoder->other_addresses;
	uint32_t n = encoder->address_mask + 1, mask = 2 * n - 1;

	memset(to, 0, 2 * n * sizeof(*to));
	encoder->address_mask = mask;
	for (uint32_t i = 0; i < n; i++) {
		size_t at = address_home(encoder, from[i].address);

		if (is_empty(&from[i]))
			continue;
		while (!is_empty(&to[at]))
			at = (at + 1) & mask;
		to[at] = from[i];
	}
	encoder->addresses = to;
	encoder->other_addresses = from;
}

/* The slot of an address, or the empty one where it would go: who fills it sets the address. */
static inline struct address_slot *address_slot(struct ft_encoder *encoder, uint64_t address)
{
	for (size_t i = address_home(encoder, address);; i = (i + 1) & encoder->address_mask) {
		struct address_slot *slot = &encoder->addresses[i];

		if (slot->address == address || !(slot->birth | slot->death))
			return slot;
	}
}

/* A code while it is put together: the fields of struct ft_code in one word, which is also its key
 * in the table of codes. */
enum {
	AT_KIND = 0,
	AT_API = 8,
	AT_FLAGS = 16,
	AT_ALIGN = 24,
	AT_REF = 32,
	AT_ADDR = 40,
	AT_SIZE = 48,
	AT_USABLE = 52,
	AT_STACK = 56,
};
_Static_assert((int)SIZE_N <= 16 && (int)USABLE_N <= 16, "four bits each");

static inline void set_field(uint64_t *code, unsigned at, uint64_t value)
{
	*code |= value << at;
}

static void code_bytes(uint64_t code, uint8_t bytes[CODE_BYTES])
{
	const struct ft_code fields = {
		.kind = (uint8_t)(code >> AT_KIND),
		.api = (uint8_t)(code >> AT_API),
		.flags = (uint8_t)(code >> AT_FLAGS),
		.align_log2 = (uint8_t)(code >> AT_ALIGN),
		.ref = (uint8_t)(code >> AT_REF),
		.addr = (uint8_t)(code >> AT_ADDR),
		.size = (uint8_t)(code >> AT_SIZE & 15),
		.usable = (uint8_t)(code >> AT_USABLE & 15),
		.stack = (uint8_t)(code >> AT_STACK),
	};

	memcpy(bytes, &fields, CODE_BYTES);
}

/* The first event with this code in the chunk, or one more than the dictionary has room for.
 * Returns the byte that stands for it. */
static uint8_t add_code(struct ft_encoder *encoder, uint32_t slot, uint64_t code)
{
	bool is_full = encoder->n_codes == CODE_ESCAPE;
	struct ft_column_out *to = &encoder->columns[is_full ? COL_ESCAPE : COL_DICT];

	code_bytes(code, to->data + to->len);
	to->len += CODE_BYTES;
	if (is_full)
		return CODE_ESCAPE;
	encoder->codes[slot].used = true;
	encoder->codes[slot].key = code;
	encoder->codes[slot].code = (uint16_t)encoder->n_codes++;
	return (uint8_t)encoder->codes[slot].code;
}

static inline void encode_code(struct ft_encoder *encoder, uint64_t code)
{
	uint32_t i = (uint32_t)((code * UINT64_C(0x9e3779b97f4a7c15)) >> 54);

	while (encoder->codes[i].used && encoder->codes[i].key != code)
		i = (i + 1) % CODE_SLOTS;
	ft_put_byte(&encoder->columns[COL_CODE], encoder->codes[i].used
							 ? (uint8_t)encoder->codes[i].code
							 : add_code(encoder, i, code));
}

static inline uint32_t stack_home(const struct ft_encoder *encoder, uint32_t stack)
{
	return (stack * UINT32_C(0x9e3779b1)) >> 8 & encoder->stack_mask;
}

static void grow_stacks(struct ft_encoder *encoder)
{
	struct stack_slot *from = encoder->stacks, *to = encoder->other_stacks;
	uint32_t n = encoder->stack_mask + 1, mask = 2 * n - 1;

	memset(to, 0, 2 * n * sizeof(*to));
	encoder->stack_mask = mask;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = stack_home(encoder, from[i].stack);

		if (!from[i].index)
			continue;
		while (to[at].index)
			at = (at + 1) & mask;
		to[at] = from[i];
	}
	encoder->stacks = to;
	encoder->other_stacks = from;
}

/* Returns the stack's index in this chunk. */
static inline uint32_t encode_stack(struct ft_encoder *encoder, uint64_t *code, uint32_t stack,
				    uint32_t *one, uint32_t *two)
{
	struct ft_model *model = &encoder->model;

	if (!stack) {
		set_field(code, AT_STACK, STACK_NONE);
		return 0;
	}

	uint32_t i = stack_home(encoder, stack);

	while (encoder->stacks[i].index && encoder->stacks[i].stack != stack)
		i = (i + 1) & encoder->stack_mask;

	uint32_t index = encoder->stacks[i].index;

	if (!index) {
		set_field(code, AT_STACK, STACK_NEW);
		ft_put_varint(&encoder->columns[COL_NEW_STACK],
			      ft_zigzag((uint64_t)stack - model->max_stack));
		index = ft_model_stack_add(model, stack);
		encoder->stacks[i].stack = stack;
		encoder->stacks[i].index = index;
		if (index > encoder->stack_mask / 4 * 3)
			grow_stacks(encoder);
	} else if (model->pair_next[ft_model_pair_slot(*one, *two)] == index) {
		set_field(code, AT_STACK, STACK_PAIR);
	} else if (model->single_next[*one] == index) {
		set_field(code, AT_STACK, STACK_SINGLE);
	} else {
		set_field(code, AT_STACK, STACK_GIVEN);
		ft_put_varint(&encoder->columns[COL_STACK], index);
	}
	ft_model_stack_seen(model, one, two, index);
	return index;
}

static inline void encode_size(struct ft_encoder *encoder, uint64_t *code,
			       const struct ft_event *event, uint32_t stack)
{
	struct ft_model *model = &encoder->model;
	uint64_t size = event->size, usable = event->usable;

	if (size == model->last_size[stack]) {
		set_field(code, AT_SIZE, SIZE_LAST);
	} else if (size == model->before_size[stack]) {
		set_field(code, AT_SIZE, SIZE_BEFORE);
	} else {
		set_field(code, AT_SIZE, SIZE_GIVEN);
		ft_put_varint(&encoder->columns[COL_SIZE], size);
	}
	ft_model_size_seen(model, stack, size);

	size_t slot = ft_model_usable_slot(size);

	if (!usable) {
		set_field(code, AT_USABLE, USABLE_NONE);
		return;
	}
	if (usable == ft_model_rule(size)) {
		set_field(code, AT_USABLE, USABLE_RULE);
		return;
	}
	if (model->usables[slot].size == size && model->usables[slot].usable == usable) {
		set_field(code, AT_USABLE, USABLE_CACHED);
		return;
	}
	set_field(code, AT_USABLE, USABLE_GIVEN);
	ft_put_varint(&encoder->columns[COL_USABLE], ft_zigzag(usable - size));
	model->usables[slot].size = size;
	model->usables[slot].usable = usable;
}

/* How the block that dies is named, `birth` being its number in this chunk, or 0. */
static inline void encode_ref(struct ft_encoder *encoder, uint64_t *code, uint64_t address,
			      uint32_t birth)
{
	struct ft_model *model = &encoder->model;

	if (!birth) {
		uint64_t delta = address - model->last_gone;

		set_field(code, AT_REF, delta & 15 ? REF_GONE_ODD : REF_GONE);
		ft_put_varint(&encoder->columns[COL_GONE],
			      delta & 15 ? ft_zigzag(delta)
					 : ft_zigzag((uint64_t)((int64_t)delta >> 4)));
		return;
	}
	if (birth == model->older[0]) {
		set_field(code, AT_REF, REF_TOP);
		return;
	}
	if (model->last_dead && birth == model->newer[model->last_dead]) {
		set_field(code, AT_REF, REF_NEWER);
		return;
	}
	if (model->last_dead && birth == model->older[model->last_dead]) {
		set_field(code, AT_REF, REF_OLDER);
		return;
	}

	uint32_t at = model->older[0];

	for (unsigned rank = 1; rank <= MODEL_RANKS && at; rank++) {
		at = model->older[at];
		if (at == birth) {
			set_field(code, AT_REF, REF_RANK);
			ft_put_byte(&encoder->columns[COL_RANK], (uint8_t)rank);
			return;
		}
	}
	set_field(code, AT_REF, REF_DIST);
	ft_put_varint(&encoder->columns[COL_DIST], model->n_births - birth);
}

static inline void encode_address(struct ft_encoder *encoder, uint64_t *code,
				  const struct ft_event *event, const struct address_slot *slot)
{
	struct ft_model *model = &encoder->model;
	uint64_t address = event->address, class = event->usable ? event->usable : event->size;
	struct ft_model_list *list = ft_model_list(model, event->thread, class);
	struct ft_model_thread *thread = &model->threads[event->thread % MODEL_THREADS];

	for (uint32_t depth = 0; depth < list->n; depth++) {
		if (list->address[list->n - 1 - depth] != address)
			continue;
		set_field(code, AT_ADDR, depth ? ADDR_DEPTH : ADDR_TOP);
		if (depth)
			ft_put_byte(&encoder->columns[COL_DEPTH], (uint8_t)depth);
		ft_model_list_take(list, depth);
		return;
	}
	if (address == thread->next) {
		set_field(code, AT_ADDR, ADDR_NEXT);
	} else if (address == list->last + class) {
		set_field(code, AT_ADDR, ADDR_STRIDE);
	} else if (slot->death) {
		set_field(code, AT_ADDR, ADDR_REUSE);
		ft_put_varint(&encoder->columns[COL_REUSE], model->n_deaths - slot->death);
		return;
	} else {
		uint64_t delta = address - (list->last ? list->last : thread->next);

		set_field(code, AT_ADDR, delta & 15 ? ADDR_DELTA_ODD : ADDR_DELTA);
		ft_put_varint(&encoder->columns[COL_DELTA],
			      delta & 15 ? ft_zigzag(delta)
					 : ft_zigzag((uint64_t)((int64_t)delta >> 4)));
	}
	thread->next = address + class + 8;
	list->last = address;
}

/* The model's side of a death of slot->birth; 0: born before this chunk. */
static inline void encode_death(struct ft_encoder *encoder, uint32_t thread, uint64_t address,
				struct address_slot *slot, bool reusable)
{
	struct ft_model *model = &encoder->model;
	uint32_t birth = slot->birth;

	if (birth) {
		ft_model_died(model, birth);
		if (reusable)
			ft_model_list_push(ft_model_list(model, thread, model->birth_usable[birth]),
					   address);
	} else {
		ft_model_gone(model, address);
	}
	encoder->n_addresses += is_empty(slot);
	*slot = (struct address_slot){.address = address, .death = model->n_deaths};
}

static inline void encode_birth(struct ft_encoder *encoder, const struct ft_event *event,
				struct address_slot *slot)
{
	ft_model_born(&encoder->model, event->address, event->usable ? event->usable : event->size);
	encoder->n_addresses += is_empty(slot);
	slot->address = event->address;
	slot->birth = encoder->model.n_births;
}

static void encode_realloc(struct ft_encoder *encoder, const struct ft_event *event, uint64_t *code)
{
	bool moved = event->address != event->old_address;
	struct address_slot *old = address_slot(encoder, event->old_address);

	encode_ref(encoder, code, event->old_address, old->birth);
	if (moved)
		encode_address(encoder, code, event, address_slot(encoder, event->address));
	else
		set_field(code, AT_ADDR, ADDR_SAME);
	encode_death(encoder, event->thread, event->old_address, old, moved);
	/* Looked up again: the old address may just have taken the slot that was free for it. */
	encode_birth(encoder, event, address_slot(encoder, event->address));
}

static inline void encode_event(struct ft_encoder *encoder, const struct ft_event *event)
{
	uint64_t code = (uint64_t)event->kind << AT_KIND | (uint64_t)event->api << AT_API |
			(uint64_t)event->flags << AT_FLAGS |
			(uint64_t)event->align_log2 << AT_ALIGN;
	struct ft_model_thread *thread = &encoder->model.threads[event->thread % MODEL_THREADS];
	struct address_slot *slot;
	uint32_t stack;

	if (event->kind == FT_EVENT_FREE) {
		slot = address_slot(encoder, event->address);
		encode_stack(encoder, &code, event->stack, &thread->death1, &thread->death2);
		encode_ref(encoder, &code, event->address, slot->birth);
		encode_death(encoder, event->thread, event->address, slot, true);
	} else {
		stack = encode_stack(encoder, &code, event->stack, &thread->stack1,
				     &thread->stack2);
		encode_size(encoder, &code, event, stack);
		if (event->kind == FT_EVENT_REALLOC) {
			encode_realloc(encoder, event, &code);
		} else {
			slot = address_slot(encoder, event->address);
			encode_address(encoder, &code, event, slot);
			encode_birth(encoder, event, slot);
		}
	}
	encode_code(encoder, code);
}

static inline void add_facts(const struct ft_event *event, struct ft_chunk_facts *facts)
{
	uint64_t low = event->address, high = event->address;

	if (event->kind == FT_EVENT_REALLOC) {
		low = event->old_address < low ? event->old_address : low;
		high = event->old_address > high ? event->old_address : high;
	}
	if (low < facts->min_address)
		facts->min_address = low;
	if (high > facts->max_address)
		facts->max_address = high;
	if (event->stack > facts->max_stack)
		facts->max_stack = event->stack;
	if (event->thread > facts->max_thread)
		facts->max_thread = event->thread;
}

static bool encode(struct ft_encoder *encoder, enum ft_columns_type type,
		   const struct ft_event *events, size_t n, struct ft_strbuf *out,
		   struct ft_chunk_facts *facts)
{
	struct ft_column_out *columns = encoder->columns;
	uint64_t tick = 0, seq = 0;
	size_t run = 0;

	if (!encoder_reset(encoder, n))
		return false;
	*facts = (struct ft_chunk_facts){
		.first_ns = ft_tick_floor(events[0].time_ns),
		.last_ns = ft_tick_floor(events[n - 1].time_ns),
		.min_address = UINT64_MAX,
	};
	for (size_t i = 0; i < n; i++) {
		uint64_t now = events[i].time_ns >> FT_TICK_SHIFT;

		/* The table of addresses is what misses the caches. */
		if (i + PREFETCH_AHEAD < n)
			__builtin_prefetch(&encoder->addresses[address_home(
				encoder, events[i + PREFETCH_AHEAD].address)]);
		ft_put_varint(&columns[COL_TIME], now - tick);
		tick = now;
		/* A realloc may need two. */
		if (encoder->n_addresses + 2 > encoder->address_mask / 4 * 3)
			grow_addresses(encoder);
		if (i + 1 == n || events[i + 1].thread != events[i].thread) {
			ft_put_varint(&columns[COL_THREAD], events[i].thread);
			ft_put_varint(&columns[COL_THREAD], i - run);
			run = i + 1;
		}
		if (type == FT_COLUMNS_KEYFRAME) {
			ft_put_varint(&columns[COL_SEQ], events[i].seq - seq);
			seq = events[i].seq;
		}
		add_facts(&events[i], facts);
		encode_event(encoder, &events[i]);
	}

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

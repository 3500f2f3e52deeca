/* SPDX-License-Identifier: MIT */
/*
 * Decoding event chunks: see ft_chunk.h, ft_model.h
 *
 * The blob may come from anywhere. The dictionary is checked before the first event, so that the
 * loop may trust a code; each number that selects something is compared with what there is; a
 * column is never read from past its end, and must be used up exactly.
 */
#include "ft_chunk.h"

#include <stdlib.h>
#include <string.h>

#include "ft_columns.h"
#include "ft_model.h"

struct ft_decoder {
	struct ft_unpacker *unpacker;
	struct ft_model model;
	struct ft_column_in columns[COL_N];
	struct ft_code codes[CODE_ESCAPE];
	/* By birth: number of the event if it is a plain allocation, else 0. */
	uint32_t birth_event[MODEL_EVENTS + 1];
	const char *damage; /* the first thing found wrong in the event at hand */
};

static const uint16_t column_max_bytes[COL_N] = {
	[COL_DICT] = CODE_BYTES, [COL_CODE] = 1,   [COL_ESCAPE] = CODE_BYTES,
	[COL_TIME] = 10,	 [COL_THREAD] = 8, [COL_RANK] = 1,
	[COL_DIST] = 3,		 [COL_GONE] = 10,  [COL_DEPTH] = 1,
	[COL_REUSE] = 3,	 [COL_DELTA] = 10, [COL_SIZE] = 10,
	[COL_USABLE] = 10,	 [COL_STACK] = 3,  [COL_NEW_STACK] = 5,
	[COL_SEQ] = 10,
};

struct ft_decoder *ft_decoder_create(void)
{
	struct ft_decoder *decoder = calloc(1, sizeof(*decoder));

	if (!decoder)
		return NULL;
	decoder->unpacker = ft_unpacker_create();
	if (!decoder->unpacker) {
		free(decoder);
		return NULL;
	}
	return decoder;
}

void ft_decoder_destroy(struct ft_decoder *decoder)
{
	if (!decoder)
		return;
	ft_unpacker_destroy(decoder->unpacker);
	free(decoder);
}

/* A code says the same thing in all its fields. */
static const char *code_check(const struct ft_code *code, enum ft_columns_type type)
{
	if (code->kind < FT_EVENT_ALLOC || code->kind > FT_EVENT_REALLOC)
		return "an event has an unknown kind";
	if (code->api >= FT_API_N)
		return "an event has an unknown call";
	if (code->align_log2 > 63)
		return "an alignment is out of range";
	if (code->ref >= REF_N || code->addr >= ADDR_N || code->size >= SIZE_N ||
	    code->usable >= USABLE_N || code->stack >= STACK_N)
		return "an event is given in an unknown way";
	if ((code->kind == FT_EVENT_ALLOC) != (code->ref == REF_NONE) ||
	    (code->kind == FT_EVENT_FREE) != (code->addr == ADDR_NONE) ||
	    (code->kind == FT_EVENT_FREE) != (code->size == SIZE_NONE) ||
	    (code->kind == FT_EVENT_FREE && code->usable != USABLE_NONE) ||
	    (code->kind != FT_EVENT_REALLOC && code->addr == ADDR_SAME))
		return "an event's parts contradict each other";
	if (type == FT_COLUMNS_KEYFRAME && code->kind != FT_EVENT_ALLOC)
		return "a keyframe holds something else than births";
	return NULL;
}

static const char *read_codes(struct ft_decoder *decoder, enum ft_columns_type type, size_t *n)
{
	const struct ft_column_in *dict = &decoder->columns[COL_DICT];
	size_t bytes = (size_t)(dict->end - dict->at);

	if (bytes % CODE_BYTES || bytes > sizeof(decoder->codes))
		return "its dictionary has an odd length";
	*n = bytes / CODE_BYTES;
	memcpy(decoder->codes, dict->at, bytes);
	for (size_t i = 0; i < *n; i++) {
		const char *damage = code_check(&decoder->codes[i], type);

		if (damage)
			return damage;
	}
	return NULL;
}

static inline uint64_t take_varint(struct ft_decoder *decoder, enum ft_event_column id)
{
	struct ft_column_in *column = &decoder->columns[id];

	if (__builtin_expect(column->at >= column->end, 0)) {
		decoder->damage = "a column ends early";
		return 0;
	}
	return ft_get_varint(column);
}

static inline uint8_t take_byte(struct ft_decoder *decoder, enum ft_event_column id)
{
	struct ft_column_in *column = &decoder->columns[id];

	if (__builtin_expect(column->at >= column->end, 0)) {
		decoder->damage = "a column ends early";
		return 0;
	}
	return *column->at++;
}

static inline uint32_t decode_stack(struct ft_decoder *decoder, const struct ft_code *code,
				    uint32_t *one, uint32_t *two)
{
	struct ft_model *model = &decoder->model;
	uint32_t index = 0;

	switch (code->stack) {
	case STACK_NONE:
		return 0;
	case STACK_PAIR:
		index = model->pair_next[ft_model_pair_slot(*one, *two)];
		break;
	case STACK_SINGLE:
		index = model->single_next[*one];
		break;
	case STACK_GIVEN: {
		uint64_t given = take_varint(decoder, COL_STACK);

		index = given <= model->n_stacks ? (uint32_t)given : 0;
		break;
	}
	case STACK_NEW: {
		uint64_t stack =
			model->max_stack + ft_unzigzag(take_varint(decoder, COL_NEW_STACK));

		if (stack && stack <= UINT32_MAX)
			index = ft_model_stack_add(model, (uint32_t)stack);
		break;
	}
	}
	if (__builtin_expect(!index, 0)) {
		decoder->damage = "an event names a stack that its chunk has not shown";
		return 0;
	}
	ft_model_stack_seen(model, one, two, index);
	return index;
}

static inline void decode_size(struct ft_decoder *decoder, const struct ft_code *code,
			       uint32_t stack, struct ft_event *event)
{
	struct ft_model *model = &decoder->model;
	uint64_t size;

	if (code->size == SIZE_LAST)
		size = model->last_size[stack];
	else if (code->size == SIZE_BEFORE)
		size = model->before_size[stack];
	else
		size = take_varint(decoder, COL_SIZE);
	ft_model_size_seen(model, stack, size);
	event->size = size;

	size_t slot = ft_model_usable_slot(size);

	switch (code->usable) {
	case USABLE_RULE:
		event->usable = ft_model_rule(size);
		break;
	case USABLE_CACHED:
		if (model->usables[slot].size != size)
			decoder->damage =
				"a usable size refers to one that its chunk has not shown";
		event->usable = model->usables[slot].usable;
		break;
	case USABLE_GIVEN:
		event->usable = size + ft_unzigzag(take_varint(decoder, COL_USABLE));
		model->usables[slot].size = size;
		model->usables[slot].usable = event->usable;
		break;
	default:
		event->usable = 0;
	}
}

/* The address of the block that dies; *birth gets its number in the chunk, or 0. */
static inline uint64_t decode_ref(struct ft_decoder *decoder, const struct ft_code *code,
				  uint32_t *birth)
{
	struct ft_model *model = &decoder->model;
	uint32_t dead = 0;

	switch (code->ref) {
	case REF_TOP:
		dead = model->older[0];
		break;
	case REF_RANK: {
		unsigned rank = take_byte(decoder, COL_RANK);

		if (rank > MODEL_RANKS)
			break;
		dead = model->older[0];
		for (; rank && dead; rank--)
			dead = model->older[dead];
		break;
	}
	case REF_NEWER:
		dead = model->last_dead ? model->newer[model->last_dead] : 0;
		break;
	case REF_OLDER:
		dead = model->last_dead ? model->older[model->last_dead] : 0;
		break;
	case REF_DIST: {
		uint64_t back = take_varint(decoder, COL_DIST);

		dead = back < model->n_births ? model->n_births - (uint32_t)back : 0;
		break;
	}
	default: {
		uint64_t delta = ft_unzigzag(take_varint(decoder, COL_GONE));

		*birth = 0;
		return model->last_gone + (code->ref == REF_GONE ? delta << 4 : delta);
	}
	}
	if (__builtin_expect(!model->live[dead], 0)) {
		decoder->damage = "a death names a block that does not live in its chunk";
		dead = 0;
	}
	*birth = dead;
	return model->birth_address[dead];
}

static inline uint64_t decode_address(struct ft_decoder *decoder, const struct ft_code *code,
				      const struct ft_event *event)
{
	struct ft_model *model = &decoder->model;
	uint64_t address, class = event->usable ? event->usable : event->size;
	struct ft_model_list *list = ft_model_list(model, event->thread, class);
	struct ft_model_thread *thread = &model->threads[event->thread % MODEL_THREADS];

	switch (code->addr) {
	case ADDR_TOP:
	case ADDR_DEPTH: {
		uint32_t depth = code->addr == ADDR_DEPTH ? take_byte(decoder, COL_DEPTH) : 0;

		if (__builtin_expect(depth >= list->n, 0)) {
			decoder->damage =
				"a birth refers to a freed block that its chunk has not shown";
			return 0;
		}
		address = list->address[list->n - 1 - depth];
		ft_model_list_take(list, depth);
		return address;
	}
	case ADDR_REUSE: {
		uint64_t back = take_varint(decoder, COL_REUSE);

		if (__builtin_expect(back >= model->n_deaths, 0)) {
			decoder->damage = "a birth refers to a death that its chunk has not shown";
			return 0;
		}
		return model->death_address[model->n_deaths - 1 - back];
	}
	case ADDR_NEXT:
		address = thread->next;
		break;
	case ADDR_STRIDE:
		address = list->last + class;
		break;
	default: {
		uint64_t delta = ft_unzigzag(take_varint(decoder, COL_DELTA));

		address = (list->last ? list->last : thread->next) +
			  (code->addr == ADDR_DELTA ? delta << 4 : delta);
	}
	}
	thread->next = address + class + 8;
	list->last = address;
	return address;
}

static inline void decode_death(struct ft_model *model, uint32_t thread, uint64_t address,
				uint32_t birth, bool reusable)
{
	if (birth) {
		ft_model_died(model, birth);
		if (reusable)
			ft_model_list_push(ft_model_list(model, thread, model->birth_usable[birth]),
					   address);
	} else {
		ft_model_gone(model, address);
	}
}

/* `event` is number i of `events`. */
static inline void decode_event(struct ft_decoder *decoder, const struct ft_code *code,
				struct ft_event *events, uint32_t i)
{
	struct ft_event *event = &events[i];

	struct ft_model *model = &decoder->model;
	struct ft_model_thread *thread = &model->threads[event->thread % MODEL_THREADS];
	uint32_t dead = 0, stack;

	event->kind = code->kind;
	event->api = code->api;
	event->flags = code->flags;
	event->align_log2 = code->align_log2;
	event->old_address = 0;
	event->pair = 0;
	if (code->kind == FT_EVENT_FREE) {
		stack = decode_stack(decoder, code, &thread->death1, &thread->death2);
		event->stack = model->stack_id[stack];
		event->size = event->usable = 0;
		event->address = decode_ref(decoder, code, &dead);
		decode_death(model, event->thread, event->address, dead, true);
		if (dead && decoder->birth_event[dead]) {
			event->pair = decoder->birth_event[dead];
			events[event->pair - 1].pair = i + 1;
		}
		return;
	}

	stack = decode_stack(decoder, code, &thread->stack1, &thread->stack2);
	event->stack = model->stack_id[stack];
	decode_size(decoder, code, stack, event);
	if (code->kind == FT_EVENT_REALLOC) {
		bool moved = code->addr != ADDR_SAME;

		event->old_address = decode_ref(decoder, code, &dead);
		event->address = moved ? decode_address(decoder, code, event) : event->old_address;
		decode_death(model, event->thread, event->old_address, dead, moved);
	} else {
		event->address = decode_address(decoder, code, event);
	}
	ft_model_born(model, event->address, event->usable ? event->usable : event->size);
	decoder->birth_event[model->n_births] =
		code->kind == FT_EVENT_ALLOC && event->address ? i + 1 : 0;
}

static inline void facts_add(struct ft_chunk_facts *facts, const struct ft_event *event)
{
	uint64_t low = event->address, high = event->address;

	if (event->kind == FT_EVENT_REALLOC) {
		low = event->old_address < low ? event->old_address : low;
		high = event->old_address > high ? event->old_address : high;
	}
	facts->min_address = low < facts->min_address ? low : facts->min_address;
	facts->max_address = high > facts->max_address ? high : facts->max_address;
	facts->max_stack = event->stack > facts->max_stack ? event->stack : facts->max_stack;
	facts->max_thread = event->thread > facts->max_thread ? event->thread : facts->max_thread;
}

static const char *decode(struct ft_decoder *decoder, enum ft_columns_type type, const void *data,
			  size_t len, uint64_t first_seq, struct ft_event *events, size_t *n,
			  struct ft_chunk_facts *facts)
{
	struct ft_column_in *columns = decoder->columns;
	struct ft_columns_head head;
	size_t n_codes = 0;
	const char *damage = ft_unpack(decoder->unpacker, data, len, type, MODEL_EVENTS,
				       column_max_bytes, COL_N, &head, columns);

	if (!damage)
		damage = read_codes(decoder, type, &n_codes);
	if (damage)
		return damage;
	if (!head.n_rows)
		return "it has no events";
	if (columns[COL_CODE].end - columns[COL_CODE].at != (ptrdiff_t)head.n_rows)
		return "it does not have one code for each event";
	columns[COL_DICT].at = columns[COL_DICT].end;
	ft_model_reset(&decoder->model);
	decoder->damage = NULL;

	uint64_t tick = 0, seq = 0, run = 0;
	const uint64_t max_tick = UINT64_MAX >> head.tick_shift;
	uint32_t thread = 0;
	const uint8_t *codes = columns[COL_CODE].at;

	columns[COL_CODE].at = columns[COL_CODE].end;
	*facts = (struct ft_chunk_facts){.min_address = UINT64_MAX};
	for (uint32_t i = 0; i < head.n_rows; i++) {
		struct ft_event *event = &events[i];
		uint64_t step = take_varint(decoder, COL_TIME);

		if (step > max_tick - tick)
			return "its times run over";
		tick += step;
		event->time_ns = tick << head.tick_shift;

		if (!run) {
			uint64_t id = take_varint(decoder, COL_THREAD);

			run = take_varint(decoder, COL_THREAD) + 1;
			if (id > UINT32_MAX || !run || run > head.n_rows - i)
				return "a run of a thread is out of range";
			thread = (uint32_t)id;
		}
		run--;
		event->thread = thread;
		event->seq = first_seq + i;
		if (type == FT_COLUMNS_KEYFRAME)
			event->seq = seq += take_varint(decoder, COL_SEQ);

		if (__builtin_expect(codes[i] < n_codes, 1)) {
			decode_event(decoder, &decoder->codes[codes[i]], events, i);
		} else {
			struct ft_column_in *escape = &columns[COL_ESCAPE];
			struct ft_code code;

			if (codes[i] != CODE_ESCAPE || escape->end - escape->at < CODE_BYTES)
				return "an event's code is not in its dictionary";
			memcpy(&code, escape->at, CODE_BYTES);
			escape->at += CODE_BYTES;
			damage = code_check(&code, type);
			if (damage)
				return damage;
			decode_event(decoder, &code, events, i);
		}
		if (__builtin_expect(decoder->damage != NULL, 0))
			return decoder->damage;
		facts_add(facts, event);
	}
	for (size_t i = 0; i < COL_N; i++)
		if (columns[i].at != columns[i].end)
			return "a column is longer or shorter than its events need";
	facts->first_ns = events[0].time_ns;
	facts->last_ns = events[head.n_rows - 1].time_ns;
	*n = head.n_rows;
	return NULL;
}

const char *ft_decode(struct ft_decoder *decoder, const void *data, size_t len, uint64_t first_seq,
		      struct ft_event *events, size_t *n, struct ft_chunk_facts *facts)
{
	return decode(decoder, FT_COLUMNS_EVENTS, data, len, first_seq, events, n, facts);
}

const char *ft_decode_keyframe(struct ft_decoder *decoder, const void *data, size_t len,
			       struct ft_event *events, size_t *n, struct ft_chunk_facts *facts)
{
	return decode(decoder, FT_COLUMNS_KEYFRAME, data, len, 0, events, n, facts);
}

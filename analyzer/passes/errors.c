/* SPDX-License-Identifier: MIT */
/*
 * Errors: frees that should not have been
 *
 * From the events: a block freed by another family than it came from; a free of an address inside a
 * live block; a free of an address that is not live. The last one is a double free if the address
 * was handed out and freed before, else nobody's error: it may be older than the recording. To know
 * without remembering every freed block, a table of bits says whether an address may have been seen
 * (a bit for 64 bytes, by hash); for the few that may, finish() looks through the chunks that hold
 * them once more.
 *
 * From the recording: the rows of the tracer's own checks, which see what the heap did not survive.
 */
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_format.h"
#include "ft_cleanup.h"
#include "ft_map.h"

enum {
	SEEN_WORDS_LOG2 = 14, /* 128 KiB: stays in the second-level cache */
	ERRORS_MAX = 1000,    /* listed */
	CANDIDATES_MAX = 256, /* unknown frees that are looked up */
};

/* Blocks that may be visited to find what holds an interior address, in the whole run. */
static const uint64_t max_scanned = UINT64_C(50000000);

enum family { FAMILY_NONE, FAMILY_MALLOC, FAMILY_NEW, FAMILY_NEW_ARRAY };

static const unsigned char families[FT_API_N] = {
	[FT_API_MALLOC] = FAMILY_MALLOC,
	[FT_API_CALLOC] = FAMILY_MALLOC,
	[FT_API_REALLOC] = FAMILY_MALLOC,
	[FT_API_REALLOCARRAY] = FAMILY_MALLOC,
	[FT_API_POSIX_MEMALIGN] = FAMILY_MALLOC,
	[FT_API_ALIGNED_ALLOC] = FAMILY_MALLOC,
	[FT_API_MEMALIGN] = FAMILY_MALLOC,
	[FT_API_VALLOC] = FAMILY_MALLOC,
	[FT_API_PVALLOC] = FAMILY_MALLOC,
	[FT_API_FREE] = FAMILY_MALLOC,
	[FT_API_CFREE] = FAMILY_MALLOC,
	[FT_API_FREE_SIZED] = FAMILY_MALLOC,
	[FT_API_FREE_ALIGNED_SIZED] = FAMILY_MALLOC,
	[FT_API_NEW] = FAMILY_NEW,
	[FT_API_NEW_ALIGNED] = FAMILY_NEW,
	[FT_API_DELETE] = FAMILY_NEW,
	[FT_API_DELETE_SIZED] = FAMILY_NEW,
	[FT_API_DELETE_ALIGNED] = FAMILY_NEW,
	[FT_API_NEW_ARRAY] = FAMILY_NEW_ARRAY,
	[FT_API_NEW_ARRAY_ALIGNED] = FAMILY_NEW_ARRAY,
	[FT_API_DELETE_ARRAY] = FAMILY_NEW_ARRAY,
	[FT_API_DELETE_ARRAY_SIZED] = FAMILY_NEW_ARRAY,
	[FT_API_DELETE_ARRAY_ALIGNED] = FAMILY_NEW_ARRAY,
};

/* One end of a block's life, as far as known. */
struct life_end {
	bool known;
	uint64_t time_ns;
	uint32_t thread, stack;
	uint8_t api;
};

struct bad_free {
	char kind[24];
	uint64_t address, time_ns, seq;
	uint32_t thread, stack;
	uint8_t api;
	uint64_t count; /* alike: same kind, calls and stacks */
	int64_t offset; /* interior: into the block; -1 otherwise */
	struct life_end allocated, freed;
};

struct errors {
	uint64_t *seen; /* see seen_word() */
	struct bad_free list[ERRORS_MAX];
	size_t n;
	uint64_t n_more, n_suppressed;
	struct ft_map alike; /* key of a mismatched free -> index + 1 in list */
	struct bad_free candidates[CANDIDATES_MAX];
	size_t n_candidates;
	uint64_t n_scanned;
};

static struct ft_error *errors_init(struct fa_pass *pass)
{
	struct errors *e = fa_pass_state(pass);

	ft_map_init(&e->alike);
	e->seen = calloc((size_t)1 << SEEN_WORDS_LOG2, sizeof(*e->seen));
	return e->seen ? NULL : &ft_enomem;
}

/* A word a page (by hash), a bit for each of its lines of 64 bytes: what is allocated together is
 * noted together. */
static uint64_t *seen_word(const struct errors *e, uint64_t address, uint64_t *bit)
{
	uint64_t page = (address >> 12) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SEEN_WORDS_LOG2);

	*bit = UINT64_C(1) << (address >> 6 & 63);
	return &e->seen[page];
}

static struct bad_free *add_error(struct errors *e, const struct bad_free *bad)
{
	if (e->n == ERRORS_MAX) {
		e->n_more++;
		return NULL;
	}
	e->list[e->n] = *bad;
	return &e->list[e->n++];
}

static struct bad_free bad_free_of(const char *kind, const struct ft_event *event, uint64_t address)
{
	struct bad_free bad = {
		.address = address,
		.time_ns = event->time_ns,
		.seq = event->seq,
		.thread = event->thread,
		.stack = event->kind == FT_EVENT_FREE ? event->stack : 0,
		.api = event->api,
		.count = 1,
		.offset = -1,
	};

	strncpy(bad.kind, kind, sizeof(bad.kind) - 1);
	return bad;
}

static struct life_end birth_of(const struct fa_block *block)
{
	return (struct life_end){
		.known = true,
		.time_ns = block->born_ns,
		.thread = block->thread,
		.stack = block->stack,
		.api = block->api,
	};
}

/* Such mistakes come by the thousand from one place: one row each, with a count. */
static struct ft_error *add_mismatch(struct errors *e, const struct ft_event *event,
				     const struct fa_block *died)
{
	uint64_t key = ft_hash_u64((uint64_t)died->stack << 32 | event->stack) ^
		       (uint64_t)event->api << 8 ^ died->api;
	uint64_t *index = ft_map_put(&e->alike, key, NULL);

	if (!index)
		return &ft_enomem;
	if (*index) {
		e->list[*index - 1].count++;
		return NULL;
	}

	struct bad_free bad = bad_free_of("mismatched_free", event, died->address);

	bad.allocated = birth_of(died);
	if (add_error(e, &bad))
		*index = e->n;
	return NULL;
}

/* The live block that holds `address` in its middle, or NULL. */
static const struct fa_block *find_holder(struct errors *e, const struct fa_engine *engine,
					  uint64_t address)
{
	const struct fa_block *block;
	size_t cursor = 0;

	e->n_scanned += fa_engine_n_live(engine);
	if (e->n_scanned > max_scanned)
		return NULL;
	while (fa_engine_next_live(engine, &cursor, &block))
		if (address > block->address && address - block->address < block->usable)
			return block;
	return NULL;
}

static void on_unknown(struct errors *e, const struct fa_engine *engine,
		       const struct ft_event *event)
{
	uint64_t address = event->kind == FT_EVENT_REALLOC ? event->old_address : event->address;
	uint64_t bit, *word = seen_word(e, address, &bit);
	const struct fa_block *holder = find_holder(e, engine, address);

	if (holder) {
		struct bad_free bad = bad_free_of("interior_free", event, address);

		bad.offset = (int64_t)(address - holder->address);
		bad.allocated = birth_of(holder);
		add_error(e, &bad);
	} else if (*word & bit) {
		if (e->n_candidates < CANDIDATES_MAX)
			e->candidates[e->n_candidates++] =
				bad_free_of("double_free", event, address);
		else
			e->n_more++;
	}
}

static struct ft_error *errors_on_step(struct fa_pass *pass, const struct fa_step *step)
{
	struct errors *e = fa_pass_state(pass);
	const struct ft_event *event = step->event;

	if (step->born) {
		uint64_t bit, *word = seen_word(e, step->born->address, &bit);

		*word |= bit;
	}
	if (step->died && event->kind != FT_EVENT_ALLOC && !(event->flags & FT_EVENT_F_IMPLIED)) {
		unsigned from = step->died->api < FT_API_N ? families[step->died->api] : 0;
		unsigned to = event->api < FT_API_N ? families[event->api] : 0;

		if (from && to && from != to)
			return add_mismatch(e, event, step->died);
	}
	if (step->unknown_free)
		on_unknown(e, fa_pass_engine(pass), event);
	return NULL;
}

/* ---- finish: who was at the address before? ----------------------------------------------------
 */

static void look_at(struct bad_free *bad, const struct ft_event *event)
{
	struct life_end end = {.known = true,
			       .time_ns = event->time_ns,
			       .thread = event->thread,
			       .stack = event->stack,
			       .api = event->api};
	bool moved_away = event->kind == FT_EVENT_REALLOC && event->old_address == bad->address;

	if (event->seq >= bad->seq)
		return;
	if (event->address == bad->address && event->kind != FT_EVENT_FREE) {
		bad->allocated = end;
		bad->freed.known = false;
	} else if ((event->address == bad->address || moved_away) && bad->allocated.known) {
		if (event->kind == FT_EVENT_REALLOC)
			end.stack = 0; /* that is where the new block was made */
		bad->freed = end;
	}
}

static struct ft_error *look_up_candidates(struct errors *e, struct fa_engine *engine)
{
	struct ft_reader *reader = fa_engine_reader(engine);
	ft_auto_free struct ft_event *events = malloc(FT_CHUNK_EVENTS * sizeof(*events));
	uint64_t last_seq = 0;

	if (!events)
		return &ft_enomem;
	for (size_t i = 0; i < e->n_candidates; i++)
		if (e->candidates[i].seq > last_seq)
			last_seq = e->candidates[i].seq;

	for (size_t c = 0; c < ft_reader_n_chunks(reader); c++) {
		const struct ft_chunk_info *info = ft_reader_chunk_info(reader, c);
		bool wanted = false;
		size_t n;

		if (info->first_seq > last_seq)
			break;
		for (size_t i = 0; i < e->n_candidates && !wanted; i++)
			wanted = e->candidates[i].address >= info->min_address &&
				 e->candidates[i].address <= info->max_address &&
				 e->candidates[i].seq > info->first_seq;
		if (!wanted)
			continue;
		FT_TRY(ft_reader_chunk(reader, c, events, &n));
		for (size_t k = 0; k < n; k++) {
			uint64_t bit_new, bit_old;

			/* Nearly all events are none of the addresses: two compares each. */
			for (size_t i = 0; i < e->n_candidates; i++) {
				bit_new = events[k].address ^ e->candidates[i].address;
				bit_old = events[k].old_address ^ e->candidates[i].address;
				if (!bit_new || !bit_old)
					look_at(&e->candidates[i], &events[k]);
			}
		}
	}
	for (size_t i = 0; i < e->n_candidates; i++)
		if (e->candidates[i].allocated.known && e->candidates[i].freed.known)
			add_error(e, &e->candidates[i]);
	return NULL;
}

/* The tracer's row of an error that the events showed, too, is the same error. */
static bool is_listed(const struct errors *e, const struct ft_error_row *row)
{
	for (size_t i = 0; i < e->n; i++) {
		const struct bad_free *bad = &e->list[i];
		uint64_t apart = bad->time_ns > row->time_ns ? bad->time_ns - row->time_ns
							     : row->time_ns - bad->time_ns;

		if (bad->address == row->address && !strcmp(bad->kind, row->kind) &&
		    bad->thread == row->thread && apart < 1000000)
			return true;
	}
	return false;
}

static struct ft_error *add_row(void *ctx, const struct ft_error_row *row)
{
	struct fa_pass *pass = ctx;
	struct errors *e = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);

	if (!row->kind || row->time_ns < fa_engine_from_ns(engine) ||
	    row->time_ns > fa_engine_to_ns(engine) || is_listed(e, row))
		return NULL;

	struct bad_free bad = {
		.address = row->address,
		.time_ns = row->time_ns,
		.thread = row->thread,
		.stack = row->stack,
		.count = 1,
		.offset = -1,
		.allocated = {.known = row->alloc_stack != 0, .stack = row->alloc_stack},
		.freed = {.known = row->free_stack != 0, .stack = row->free_stack},
	};

	strncpy(bad.kind, row->kind, sizeof(bad.kind) - 1);
	add_error(e, &bad);
	return NULL;
}

static int compare_bad(const void *a, const void *b)
{
	const struct bad_free *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return x->address < y->address ? -1 : x->address > y->address;
}

static struct ft_error *add_findings(const struct errors *e, struct fa_engine *engine)
{
	static const struct {
		const char *kind, *sentence;
		enum fa_severity severity;
	} kinds[] = {
		{"double_free", "freed a block twice", FA_HIGH},
		{"interior_free", "freed an address inside a live block", FA_HIGH},
		{"invalid_free", "freed an address that no allocator call returned", FA_HIGH},
		{"mismatched_free", "released a block by another family's call", FA_MEDIUM},
		{"bad_size", "gave another size to a sized free", FA_MEDIUM},
	};

	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		uint64_t count = 0;
		struct fa_text times;
		char text[128];

		for (size_t i = 0; i < e->n; i++)
			if (!strcmp(e->list[i].kind, kinds[k].kind))
				count += e->list[i].count;
		if (!count)
			continue;
		snprintf(text, sizeof(text), "The program %s (%s time%s)", kinds[k].sentence,
			 fa_format_count(count, &times), count == 1 ? "" : "s");
		FT_TRY(fa_engine_finding_add(engine,
					     &(struct fa_finding){.code = kinds[k].kind,
								  .severity = kinds[k].severity,
								  .text = text,
								  .section = "errors",
								  .weight = UINT64_MAX}));
	}
	return NULL;
}

/* Leave out what the user's suppressions cover, and count it. */
static void suppress(struct errors *e, struct fa_engine *engine)
{
	size_t kept = 0;

	for (size_t i = 0; i < e->n; i++) {
		const struct bad_free *bad = &e->list[i];

		if (fa_engine_suppress_free(engine, bad->stack, bad->api))
			e->n_suppressed += bad->count;
		else
			e->list[kept++] = *bad;
	}
	e->n = kept;
}

static struct ft_error *errors_finish(struct fa_pass *pass)
{
	struct errors *e = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);

	if (e->n_candidates)
		FT_TRY(look_up_candidates(e, engine));
	FT_TRY(ft_reader_errors(fa_engine_reader(engine), add_row, pass));
	if (e->n)
		qsort(e->list, e->n, sizeof(*e->list), compare_bad);
	suppress(e, engine);
	return add_findings(e, engine);
}

/* ---- emit --------------------------------------------------------------------------------------
 */

static void emit_stack_or_null(struct fa_engine *engine, uint32_t stack, struct fa_json *json)
{
	fa_json_key(json, "stack");
	if (stack)
		fa_engine_emit_stack(engine, stack, json);
	else
		fa_json_null(json);
}

static void emit_life_end(struct fa_engine *engine, const char *key, const struct life_end *end,
			  struct fa_json *json)
{
	fa_json_key(json, key);
	if (!end->known) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	if (end->api) {
		fa_json_kv_u64(json, "time_ns", end->time_ns);
		fa_json_kv_u64(json, "thread", end->thread);
		fa_json_kv_string(json, "call", ft_api_name(end->api));
	} else {
		fa_json_kv_null(json, "time_ns");
		fa_json_kv_null(json, "thread");
		fa_json_kv_null(json, "call");
	}
	emit_stack_or_null(engine, end->stack, json);
	fa_json_object_end(json);
}

static struct ft_error *errors_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct errors *e = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	struct fa_json *json = fa_doc_begin(doc, "errors");

	/* The frees of a sample are those of its blocks, each once, at their beginning. */
	fa_json_kv_bool(json, "all_frees_seen", !fa_engine_sample_bytes(engine));
	if (fa_engine_sample_bytes(engine))
		fa_json_kv_string(
			json, "limits",
			"the recording is a sample: a free by another family's call is found "
			"for sampled blocks; double, interior and invalid frees are not");
	else
		fa_json_kv_null(json, "limits");
	fa_json_key(json, "errors");
	fa_json_array_begin(json);
	for (size_t i = 0; i < e->n; i++) {
		const struct bad_free *bad = &e->list[i];

		fa_json_object_begin(json);
		fa_json_kv_string(json, "kind", bad->kind);
		fa_json_kv_u64(json, "address", bad->address);
		fa_json_kv_u64(json, "time_ns", bad->time_ns);
		fa_json_kv_u64(json, "thread", bad->thread);
		fa_json_kv_string(json, "call", bad->api ? ft_api_name(bad->api) : NULL);
		fa_json_kv_u64(json, "count", bad->count);
		if (bad->offset >= 0)
			fa_json_kv_i64(json, "offset", bad->offset);
		else
			fa_json_kv_null(json, "offset");
		emit_stack_or_null(engine, bad->stack, json);
		emit_life_end(engine, "allocated", &bad->allocated, json);
		emit_life_end(engine, "freed", &bad->freed, json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_kv_u64(json, "more", e->n_more);
	fa_json_kv_u64(json, "suppressed", e->n_suppressed);
	fa_doc_end(doc);
	return NULL;
}

static void errors_deinit(struct fa_pass *pass)
{
	struct errors *e = fa_pass_state(pass);

	free(e->seen);
	ft_map_deinit(&e->alike);
}

const struct fa_pass_ops fa_pass_errors = {
	.name = "errors",
	.summary = "double, interior and mismatched frees",
	.state_size = sizeof(struct errors),
	.init = errors_init,
	.on_step = errors_on_step,
	.finish = errors_finish,
	.emit = errors_emit,
	.deinit = errors_deinit,
};

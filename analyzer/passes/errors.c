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
 * From the recording: the rows of what the tracer saw before the allocator did. They have the stack
 * of the call, and are all that there is of a realloc that the program did not survive. A row about
 * a free that the events tell of, too, is the same error, and what the events say of it is better
 * known. A row of the kind `suspect` is one only if the block was freed before, or lies in another.
 */
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "fa_format.h"
#include "ft_arena.h"
#include "ft_cleanup.h"
#include "ft_map.h"

enum {
	SEEN_WORDS_LOG2 = 14, /* 128 KiB: stays in the second-level cache */
	ERRORS_MAX = 1000,    /* listed */
	CANDIDATES_MAX = 256, /* unknown frees that are looked up */
};

/* Events have that much of an address. */
#define ADDRESS_MASK ((UINT64_C(1) << 48) - 1)

/* Blocks that may be visited to find what holds an interior address, in the whole run. */
static const uint64_t max_scanned = UINT64_C(50000000);

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
	int64_t offset; /* interior: into the block; else into what is mapped there; -1: neither */
	int64_t size, block_size;  /* bad_size: given, and the block's; else -1 */
	char region[16], *mapping; /* of an address that is no heap's; "", NULL: not known */
	const char *otherwise;	   /* what a candidate is that the events do not confirm */
	struct life_end allocated, freed;
};

struct errors {
	uint64_t *seen; /* see seen_word() */
	struct bad_free list[ERRORS_MAX];
	size_t n;
	uint64_t n_more, n_suppressed;
	uint64_t n_unknown, n_explained; /* frees of what did not live; those that are errors */
	struct ft_map alike;		 /* key of a mismatched free -> index + 1 in list */
	struct bad_free candidates[CANDIDATES_MAX];
	size_t n_candidates;
	uint64_t n_scanned;
	struct ft_arena names;
};

static struct ft_error *errors_init(struct fa_pass *pass)
{
	struct errors *e = fa_pass_state(pass);

	ft_map_init(&e->alike);
	ft_arena_init(&e->names);
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

static void set_kind(struct bad_free *bad, const char *kind)
{
	memset(bad->kind, 0, sizeof(bad->kind));
	strncpy(bad->kind, kind, sizeof(bad->kind) - 1);
}

static struct bad_free bad_free_of(const char *kind, const struct ft_event *event, uint64_t address)
{
	struct bad_free bad = {
		.address = address,
		.time_ns = event->time_ns,
		.seq = event->seq,
		.thread = event->thread,
		/* A realloc's one stack is where it was called. */
		.stack = event->stack,
		.api = event->api,
		.count = 1,
		.offset = -1,
		.size = -1,
		.block_size = -1,
	};

	set_kind(&bad, kind);
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

static uint64_t *find_alike(struct errors *e, const struct ft_event *event,
			    const struct fa_block *died, uint32_t stack)
{
	return ft_map_put(&e->alike,
			  ft_hash_u64((uint64_t)died->stack << 32 | stack) ^
				  (uint64_t)event->api << 8 ^ died->api,
			  NULL);
}

/*
 * Such mistakes come by the thousand from one place: one row each, with a count. Without
 * --free-stacks the first ones have no stack of the call, and then some have (ft_segment.h,
 * `watch`): those without are counted where their block came from, and have the first stack that
 * there is.
 */
static struct ft_error *add_mismatch(struct errors *e, const struct ft_event *event,
				     const struct fa_block *died)
{
	uint64_t *any = find_alike(e, event, died, 0), *own;

	if (!any)
		return &ft_enomem;
	if (*any && (!event->stack || !e->list[*any - 1].stack ||
		     e->list[*any - 1].stack == event->stack)) {
		struct bad_free *bad = &e->list[*any - 1];

		bad->count++;
		if (!bad->stack)
			bad->stack = event->stack;
		return NULL;
	}
	own = *any ? find_alike(e, event, died, event->stack) : any;
	if (!own)
		return &ft_enomem;
	if (*own) {
		e->list[*own - 1].count++;
		return NULL;
	}

	struct bad_free bad = bad_free_of("mismatched_free", event, died->address);

	bad.allocated = birth_of(died);
	if (add_error(e, &bad))
		*own = e->n;
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

	e->n_unknown++;
	if (holder) {
		struct bad_free bad = bad_free_of("interior_free", event, address);

		bad.offset = (int64_t)(address - holder->address);
		bad.allocated = birth_of(holder);
		e->n_explained++;
		add_error(e, &bad);
	} else if (*word & bit) {
		if (e->n_candidates < CANDIDATES_MAX)
			e->candidates[e->n_candidates++] =
				bad_free_of("double_free", event, address);
		else
			e->n_more++;
	}
}

static inline struct ft_error *check_death(struct errors *e, const struct fa_step *step)
{
	const struct ft_event *event = step->event;

	if (event->kind != FT_EVENT_ALLOC && !(event->flags & FT_EVENT_F_IMPLIED) &&
	    ft_api_mismatch(step->died->api, event->api))
		return add_mismatch(e, event, step->died);
	return NULL;
}

static struct ft_error *errors_on_steps(struct fa_pass *pass, const struct fa_steps *steps)
{
	struct errors *e = fa_pass_state(pass);

	for (size_t i = 0; i < steps->n_births; i++) {
		uint64_t bit, *word = seen_word(e, steps->births[i]->born->address, &bit);

		*word |= bit;
	}
	for (size_t i = 0; i < steps->n_deaths; i++)
		FT_TRY(check_death(e, steps->deaths[i]));
	/* No other is. */
	if (steps->all[steps->n - 1].unknown_free)
		on_unknown(e, fa_pass_engine(pass), steps->all[steps->n - 1].event);
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

	if (event->seq >= bad->seq || event->time_ns > bad->time_ns)
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

/* A realloc that only a row tells of ended the program; a free has its event in any case. */
static bool has_event(const struct bad_free *bad)
{
	return bad->seq != UINT64_MAX ||
	       (bad->api != FT_API_REALLOC && bad->api != FT_API_REALLOCARRAY);
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
	for (size_t i = 0; i < e->n_candidates; i++) {
		struct bad_free *bad = &e->candidates[i];

		if (bad->block_size >= 0) {
			bad->freed = (struct life_end){0};
			add_error(e, bad);
		} else if (bad->allocated.known && bad->freed.known) {
			/* Of the heap that it lies in there is nothing more to say. */
			bad->region[0] = '\0';
			bad->offset = -1;
			e->n_explained += has_event(bad);
			add_error(e, bad);
		} else if (bad->otherwise) {
			set_kind(bad, bad->otherwise);
			bad->allocated = bad->freed = (struct life_end){0};
			e->n_explained += has_event(bad);
			add_error(e, bad);
		}
	}
	return NULL;
}

/* The error among `list` that the row, too, is about: the same call, which has one time where it
 * was a free, and two where it was a realloc. */
static struct bad_free *find_same(struct bad_free *list, size_t n, const struct ft_error_row *row)
{
	bool moved = row->call && !strncmp(row->call, "realloc", strlen("realloc"));
	uint64_t limit = moved ? UINT64_C(1000000000) : UINT64_C(1000000);

	for (size_t i = 0; i < n; i++) {
		struct bad_free *bad = &list[i];
		uint64_t apart = bad->time_ns > row->time_ns ? bad->time_ns - row->time_ns
							     : row->time_ns - bad->time_ns;

		if (bad->address == (row->address & ADDRESS_MASK) && bad->thread == row->thread &&
		    apart < limit && strcmp(bad->kind, "mismatched_free") != 0)
			return bad;
	}
	return NULL;
}

static struct ft_error *fill_in(struct errors *e, struct bad_free *bad,
				const struct ft_error_row *row)
{
	if (!bad->stack)
		bad->stack = row->stack;
	if (bad->offset >= 0)
		return NULL;
	bad->address = row->address;
	bad->offset = row->region ? row->offset : -1;
	if (row->region)
		strncpy(bad->region, row->region, sizeof(bad->region) - 1);
	if (row->mapping && !bad->mapping) {
		bad->mapping = ft_arena_strdup(&e->names, row->mapping);
		if (!bad->mapping)
			return &ft_enomem;
	}
	return NULL;
}

static enum ft_api api_of(const char *call)
{
	for (unsigned api = 1; call && api < FT_API_N; api++)
		if (!strcmp(call, ft_api_name((enum ft_api)api)))
			return (enum ft_api)api;
	return FT_API_UNKNOWN;
}

/* Rows of one place come by the dozen: true if there is one like it, which is counted. */
static bool count_like(struct bad_free *list, size_t n, const struct bad_free *bad)
{
	for (size_t i = 0; i < n; i++) {
		struct bad_free *a = &list[i];

		if (strcmp(a->kind, bad->kind) != 0 || a->api != bad->api ||
		    (a->stack && bad->stack && a->stack != bad->stack) ||
		    a->allocated.stack != bad->allocated.stack || a->size != bad->size ||
		    a->block_size != bad->block_size || strcmp(a->region, bad->region) != 0)
			continue;
		a->count++;
		if (!a->stack)
			a->stack = bad->stack;
		return true;
	}
	return false;
}

static struct ft_error *add_row(void *ctx, const struct ft_error_row *row)
{
	struct fa_pass *pass = ctx;
	struct errors *e = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	bool suspect, invalid;
	struct bad_free *same;

	if (!row->kind || row->time_ns < fa_engine_from_ns(engine) ||
	    row->time_ns > fa_engine_to_ns(engine))
		return NULL;
	suspect = !strcmp(row->kind, "suspect");
	invalid = !strcmp(row->kind, "invalid_free");
	same = find_same(e->list, e->n, row);
	if (same && (suspect || invalid || !strcmp(row->kind, same->kind)))
		return fill_in(e, same, row);
	same = find_same(e->candidates, e->n_candidates, row);
	if (same && (suspect || invalid || !strcmp(row->kind, same->kind))) {
		same->otherwise = invalid ? "invalid_free" : suspect ? NULL : "double_free";
		return fill_in(e, same, row);
	}

	struct bad_free bad = {
		.address = row->address & ADDRESS_MASK,
		.time_ns = row->time_ns,
		.seq = UINT64_MAX,
		.thread = row->thread,
		.stack = row->stack,
		.api = (uint8_t)api_of(row->call),
		.count = 1,
		.offset = -1,
		.size = row->size,
		.block_size = row->block_size,
		.otherwise = invalid ? "invalid_free" : NULL,
		.allocated = {.known = row->alloc_stack != 0, .stack = row->alloc_stack},
		.freed = {.known = row->free_stack != 0, .stack = row->free_stack},
	};

	set_kind(&bad, row->kind);
	if (strcmp(row->kind, "bad_size") != 0)
		bad.size = bad.block_size = -1;
	if (suspect || (invalid && row->region && !strcmp(row->region, "heap"))) {
		const struct fa_block *holder = find_holder(e, engine, bad.address);

		/* The events do not tell of it: the program did not survive it, and what lives at
		 * the end is what lived then. */
		if (holder && holder->born_ns <= bad.time_ns) {
			set_kind(&bad, "interior_free");
			bad.offset = (int64_t)(bad.address - holder->address);
			bad.allocated = birth_of(holder);
			add_error(e, &bad);
			return NULL;
		}
		if (e->n_candidates < CANDIDATES_MAX) {
			set_kind(&bad, "double_free");
			e->candidates[e->n_candidates] = bad;
			return fill_in(e, &e->candidates[e->n_candidates++], row);
		}
		if (suspect)
			return NULL;
	}
	FT_TRY(fill_in(e, &bad, row));
	e->n_explained += invalid && has_event(&bad);
	if (count_like(e->list, e->n, &bad) || count_like(e->candidates, e->n_candidates, &bad))
		return NULL;
	/* Of the block of a bad size the events know more. */
	if (bad.block_size >= 0 && e->n_candidates < CANDIDATES_MAX)
		e->candidates[e->n_candidates++] = bad;
	else
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
		/* Of events that were not looked at, there are the recorder's rows: it stops
		 * to write those that are alike. */
		snprintf(text, sizeof(text), "The program %s (%s%s time%s)", kinds[k].sentence,
			 fa_engine_rolled(engine) ? "at least " : "",
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

/*
 * A C++ runtime that a plugin has within it and hides calls malloc and free unseen. By the names on
 * the stack, such a call is that of the outermost operator. Operators of arrays jump to the others,
 * and operator delete to free(): then they are not on the stack.
 */
enum {
	OF_NEW = 1 << FT_FAMILY_NEW | 1 << FT_FAMILY_NEW_ARRAY,
	OF_NEW_ALIGNED = 1 << FT_FAMILY_NEW_ALIGNED | 1 << FT_FAMILY_NEW_ARRAY_ALIGNED,
};

/* The families that a call may be of, as bits. */
static unsigned families_of(struct fa_engine *engine, unsigned api, uint32_t stack)
{
	static const char *const operators[] = {"operator new[](", "operator new(",
						"operator delete[](", "operator delete("};
	unsigned family = api < FT_API_N ? ft_api_families[api] : (unsigned)FT_FAMILY_NONE;
	unsigned families = 1U << family;
	struct fa_frame frames[8];
	size_t n = 0;

	if (family == FT_FAMILY_MALLOC && stack)
		n = fa_engine_frames(engine, stack, frames, 8);
	for (size_t i = 0; i < n && i < 8; i++) {
		const char *name = frames[i].function ? frames[i].function : "";
		size_t k = 0;

		while (k < 4 && strncmp(name, operators[k], strlen(operators[k])) != 0)
			k++;
		if (k == 4)
			break;
		families = strstr(name, "align_val_t") ? OF_NEW_ALIGNED : OF_NEW;
	}
	return families;
}

/* Those that only looked like a mismatch. */
static void drop_hidden(struct errors *e, struct fa_engine *engine)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n; i++) {
		const struct bad_free *bad = &e->list[i];

		if (strcmp(bad->kind, "mismatched_free") != 0 ||
		    !(families_of(engine, bad->api, bad->stack) &
		      families_of(engine, bad->allocated.api, bad->allocated.stack)))
			e->list[n++] = *bad;
	}
	e->n = n;
}

static struct ft_error *errors_finish(struct fa_pass *pass)
{
	struct errors *e = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);

	FT_TRY(ft_reader_errors(fa_engine_reader(engine), add_row, pass));
	if (e->n_candidates)
		FT_TRY(look_up_candidates(e, engine));
	drop_hidden(e, engine);
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

static void emit_size(struct fa_json *json, const char *key, int64_t size)
{
	if (size >= 0)
		fa_json_kv_i64(json, key, size);
	else
		fa_json_kv_null(json, key);
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
		fa_json_kv_string(json, "region", bad->region[0] ? bad->region : NULL);
		fa_json_kv_string(json, "mapping", bad->mapping);
		emit_size(json, "given_bytes", bad->size);
		emit_size(json, "block_bytes", bad->block_size);
		emit_stack_or_null(engine, bad->stack, json);
		emit_life_end(engine, "allocated", &bad->allocated, json);
		emit_life_end(engine, "freed", &bad->freed, json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_kv_u64(json, "more", e->n_more);
	fa_json_kv_u64(json, "suppressed", e->n_suppressed);
	/* Of blocks that are older than the recording, or whose birth was not recorded. */
	fa_json_kv_u64(json, "unknown_frees",
		       e->n_unknown > e->n_explained ? e->n_unknown - e->n_explained : 0);
	fa_doc_end(doc);
	return NULL;
}

static void errors_deinit(struct fa_pass *pass)
{
	struct errors *e = fa_pass_state(pass);

	free(e->seen);
	ft_map_deinit(&e->alike);
	ft_arena_deinit(&e->names);
}

const struct fa_pass_ops fa_pass_errors = {
	.name = "errors",
	.summary = "double, interior, invalid and mismatched frees, and wrong sizes",
	.state_size = sizeof(struct errors),
	.init = errors_init,
	.on_steps = errors_on_steps,
	.finish = errors_finish,
	.emit = errors_emit,
	.deinit = errors_deinit,
};

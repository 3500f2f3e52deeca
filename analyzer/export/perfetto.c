/* SPDX-License-Identifier: MIT */
/*
 * Perfetto: a trace with one heap profile, as heapprofd writes it, and counters over time
 *
 * https://perfetto.dev/docs/reference/trace-packet-proto. Packets are the fields 1 of one message,
 * so that they stand one after another in the file. Names, frames and stacks are interned data of
 * the one packet sequence; what is listed before it is referred to needs no order beyond that.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fa_json_read.h"
#include "modules.h"
#include "proto.h"

enum {
	TRACE_PACKET = 1,
	PACKET_TIMESTAMP = 8,
	PACKET_SEQUENCE_ID = 10,
	PACKET_TRACK_EVENT = 11,
	PACKET_INTERNED_DATA = 12,
	PACKET_SEQUENCE_FLAGS = 13,
	PACKET_PROFILE_PACKET = 37,
	PACKET_TRACK_DESCRIPTOR = 60,
	/* SequenceFlags */
	SEQ_STATE_CLEARED = 1,
	SEQ_NEEDS_STATE = 2,
	/* InternedData */
	INTERNED_FUNCTION_NAMES = 5,
	INTERNED_FRAMES = 6,
	INTERNED_CALLSTACKS = 7,
	INTERNED_BUILD_IDS = 16,
	INTERNED_MAPPING_PATHS = 17,
	INTERNED_MAPPINGS = 19,
	STRING_IID = 1,
	STRING_STR = 2,
	MAPPING_IID = 1,
	MAPPING_BUILD_ID = 2,
	MAPPING_START = 4,
	MAPPING_END = 5,
	MAPPING_PATH_STRING_IDS = 7,
	FRAME_IID = 1,
	FRAME_FUNCTION_NAME_ID = 2,
	FRAME_MAPPING_ID = 3,
	FRAME_REL_PC = 4,
	FRAME_LINE_NUMBER = 6,
	CALLSTACK_IID = 1,
	CALLSTACK_FRAME_IDS = 2,
	/* ProfilePacket */
	PROFILE_PROCESS_DUMPS = 5,
	PROFILE_CONTINUED = 6,
	PROFILE_INDEX = 7,
	DUMP_PID = 1,
	DUMP_SAMPLES = 2,
	DUMP_FROM_STARTUP = 3,
	DUMP_TIMESTAMP = 9,
	SAMPLE_CALLSTACK_ID = 1,
	SAMPLE_SELF_ALLOCATED = 2,
	SAMPLE_SELF_FREED = 3,
	SAMPLE_TIMESTAMP = 4,
	SAMPLE_ALLOC_COUNT = 5,
	SAMPLE_FREE_COUNT = 6,
	/* TrackDescriptor, TrackEvent */
	TRACK_UUID = 1,
	TRACK_NAME = 2,
	TRACK_PROCESS = 3,
	TRACK_PARENT_UUID = 5,
	TRACK_COUNTER = 8,
	PROCESS_PID = 1,
	PROCESS_NAME = 6,
	COUNTER_UNIT = 3,
	COUNTER_UNIT_COUNT = 2,
	COUNTER_UNIT_BYTES = 3,
	EVENT_TYPE = 9,
	EVENT_TRACK_UUID = 11,
	EVENT_COUNTER_VALUE = 30,
	EVENT_TYPE_COUNTER = 4,
	/* Ours. */
	SEQUENCE = 1,
	UUID_PROCESS = 1,
	UUID_COUNTERS = 2, /* and on */
	PACKET_BYTES = 256 << 10,
};

struct perfetto {
	const struct fa_export_source *source;
	FILE *out;
	struct ft_strbuf packet, interned, inner, packed, file;
	struct fa_intern functions, frames;
	struct fa_modules modules;
	bool begun;
	uint64_t pid, end_ns;
};

/* ---- packets -----------------------------------------------------------------------------------
 */

/* Write the packet, whose timestamp and payload are there already. */
static struct ft_error *put_packet(struct perfetto *p)
{
	fa_proto_u64(&p->packet, PACKET_SEQUENCE_ID, SEQUENCE);
	fa_proto_u64(&p->packet, PACKET_SEQUENCE_FLAGS,
		     p->begun ? SEQ_NEEDS_STATE : SEQ_STATE_CLEARED);
	p->begun = true;
	fa_proto_message(&p->file, TRACE_PACKET, &p->packet);
	ft_strbuf_clear(&p->packet);
	return fa_export_flush(&p->file, p->out);
}

static struct ft_error *put_interned(struct perfetto *p)
{
	fa_proto_u64_always(&p->packet, PACKET_TIMESTAMP, 0);
	fa_proto_message(&p->packet, PACKET_INTERNED_DATA, &p->interned);
	ft_strbuf_clear(&p->interned);
	return put_packet(p);
}

static void intern_string(struct perfetto *p, unsigned field, uint64_t iid, const void *text,
			  size_t len)
{
	ft_strbuf_clear(&p->inner);
	fa_proto_u64(&p->inner, STRING_IID, iid);
	fa_proto_bytes(&p->inner, STRING_STR, text, len);
	fa_proto_message(&p->interned, field, &p->inner);
}

/* ---- interned data -----------------------------------------------------------------------------
 */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Build ids are bytes here. */
static void intern_build_id(struct perfetto *p, uint64_t iid, const char *hex)
{
	unsigned char bytes[64];
	size_t n = 0;

	for (; n < sizeof(bytes) && hex_digit(hex[0]) >= 0 && hex_digit(hex[1]) >= 0; hex += 2)
		bytes[n++] = (unsigned char)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
	intern_string(p, INTERNED_BUILD_IDS, iid, bytes, n);
}

static void intern_module(struct perfetto *p, uint64_t iid, const struct fa_module *m)
{
	const char *path = *m->path == '/' ? m->path + 1 : m->path; /* the reader puts one before */

	intern_string(p, INTERNED_MAPPING_PATHS, iid, path, strlen(path));
	if (m->build_id)
		intern_build_id(p, iid, m->build_id);
	ft_strbuf_clear(&p->inner);
	fa_proto_u64(&p->inner, MAPPING_IID, iid);
	fa_proto_u64(&p->inner, MAPPING_BUILD_ID, m->build_id ? iid : 0);
	fa_proto_u64(&p->inner, MAPPING_START, m->start);
	fa_proto_u64(&p->inner, MAPPING_END, m->end);
	fa_proto_u64(&p->inner, MAPPING_PATH_STRING_IDS, iid);
	fa_proto_message(&p->interned, INTERNED_MAPPINGS, &p->inner);
}

/* Inlined functions are frames of their own. */
static struct ft_error *frame_id(struct perfetto *p, const struct fa_frame *frame, uint32_t *ret)
{
	struct {
		uint64_t function, module, offset, line;
	} key = {.offset = frame->offset, .line = frame->line > 0 ? (uint64_t)frame->line : 0};
	size_t n_modules = p->modules.paths.n;
	char text[FA_EXPORT_TEXT];
	const char *name = fa_export_frame_text(frame, text);
	uint32_t id;
	bool created;

	if (!fa_intern_put(&p->functions, name, strlen(name), &id, &created))
		return &ft_enomem;
	key.function = (uint64_t)id + 1;
	if (created)
		intern_string(p, INTERNED_FUNCTION_NAMES, key.function, name, strlen(name));
	if (frame->module) {
		FT_TRY(fa_modules_find(&p->modules, frame->module, &id));
		key.module = (uint64_t)id + 1;
		if (p->modules.paths.n > n_modules)
			intern_module(p, key.module, &p->modules.list[id]);
	}
	if (!fa_intern_put(&p->frames, &key, sizeof(key), ret, &created))
		return &ft_enomem;
	++*ret;
	if (!created)
		return NULL;
	ft_strbuf_clear(&p->inner);
	fa_proto_u64(&p->inner, FRAME_IID, *ret);
	fa_proto_u64(&p->inner, FRAME_FUNCTION_NAME_ID, key.function);
	fa_proto_u64(&p->inner, FRAME_MAPPING_ID, key.module);
	if (key.module)
		fa_proto_u64_always(&p->inner, FRAME_REL_PC, key.offset);
	fa_proto_u64(&p->inner, FRAME_LINE_NUMBER, key.line);
	fa_proto_message(&p->interned, INTERNED_FRAMES, &p->inner);
	return NULL;
}

/* A callstack's number is that of the recording, from 1. */
static struct ft_error *intern_stack(struct perfetto *p, const struct fa_export_stack *stack)
{
	ft_strbuf_clear(&p->packed);
	fa_proto_u64(&p->packed, CALLSTACK_IID, (uint64_t)stack->id + 1);
	for (size_t i = stack->n_frames; i-- > 0;) { /* outermost first */
		uint32_t id;

		FT_TRY(frame_id(p, &stack->frames[i], &id));
		fa_proto_u64(&p->packed, CALLSTACK_FRAME_IDS, id);
	}
	fa_proto_message(&p->interned, INTERNED_CALLSTACKS, &p->packed);
	return p->interned.len > PACKET_BYTES ? put_interned(p) : NULL;
}

static struct ft_error *put_stacks(struct perfetto *p)
{
	struct fa_export_stack stack;
	struct fa_export_walk walk;
	struct ft_error *error = NULL, *walked;

	for (size_t i = 0; i < p->modules.paths.n; i++)
		intern_module(p, i + 1, &p->modules.list[i]);
	fa_export_walk_init(&walk, p->source);
	while (!error && fa_export_next(&walk, &stack))
		error = intern_stack(p, &stack);
	walked = fa_export_walk_end(&walk);
	if (error || walked)
		return error ? error : walked;
	return put_interned(p);
}

/* ---- the profile -------------------------------------------------------------------------------
 */

static struct ft_error *put_dump(struct perfetto *p, struct ft_strbuf *samples, uint64_t index,
				 bool continued)
{
	ft_strbuf_clear(&p->inner);
	fa_proto_u64(&p->inner, DUMP_PID, p->pid);
	fa_proto_u64(&p->inner, DUMP_FROM_STARTUP, 1);
	fa_proto_u64(&p->inner, DUMP_TIMESTAMP, p->end_ns);
	ft_strbuf_add(&p->inner, samples->data, samples->len);
	p->inner.failed |= samples->failed;
	ft_strbuf_clear(samples);
	ft_strbuf_clear(&p->interned);
	fa_proto_message(&p->interned, PROFILE_PROCESS_DUMPS, &p->inner);
	fa_proto_u64(&p->interned, PROFILE_CONTINUED, continued);
	fa_proto_u64(&p->interned, PROFILE_INDEX, index);
	fa_proto_u64_always(&p->packet, PACKET_TIMESTAMP, p->end_ns);
	fa_proto_message(&p->packet, PACKET_PROFILE_PACKET, &p->interned);
	ft_strbuf_clear(&p->interned);
	return put_packet(p);
}

/*
 * What was live at the begin of a window counts as allocated within it: a reader takes the
 * difference of both for what is live.
 */
static void add_sample(struct perfetto *p, uint32_t stack, const struct fa_site *site,
		       struct ft_strbuf *samples)
{
	uint64_t freed = site->bytes_allocated > site->live_bytes
				 ? site->bytes_allocated - site->live_bytes
				 : 0;
	uint64_t frees =
		site->allocations > site->live_blocks ? site->allocations - site->live_blocks : 0;

	ft_strbuf_clear(&p->inner);
	fa_proto_u64(&p->inner, SAMPLE_CALLSTACK_ID, (uint64_t)stack + 1);
	fa_proto_u64(&p->inner, SAMPLE_SELF_ALLOCATED, freed + site->live_bytes);
	fa_proto_u64(&p->inner, SAMPLE_SELF_FREED, freed);
	fa_proto_u64(&p->inner, SAMPLE_TIMESTAMP, p->end_ns);
	fa_proto_u64(&p->inner, SAMPLE_ALLOC_COUNT, frees + site->live_blocks);
	fa_proto_u64(&p->inner, SAMPLE_FREE_COUNT, frees);
	fa_proto_message(samples, DUMP_SAMPLES, &p->inner);
}

static struct ft_error *put_profile(struct perfetto *p)
{
	ft_auto_strbuf struct ft_strbuf samples;
	uint64_t index = 0;

	ft_strbuf_init(&samples);
	for (uint32_t i = 0; i < fa_engine_n_stacks(p->source->engine); i++) {
		struct fa_site site;

		fa_engine_site(p->source->engine, i, &site);
		if (!site.allocations && !site.live_bytes && !site.peak_bytes)
			continue;
		add_sample(p, i, &site, &samples);
		if (samples.len > PACKET_BYTES)
			FT_TRY(put_dump(p, &samples, index++, true));
	}
	return put_dump(p, &samples, index, false);
}

/* ---- counters ----------------------------------------------------------------------------------
 */

static struct ft_error *put_process(struct perfetto *p, const char *name)
{
	ft_strbuf_clear(&p->packed);
	fa_proto_u64(&p->packed, PROCESS_PID, p->pid);
	if (name)
		fa_proto_text(&p->packed, PROCESS_NAME, name);
	ft_strbuf_clear(&p->inner);
	fa_proto_u64(&p->inner, TRACK_UUID, UUID_PROCESS);
	fa_proto_message(&p->inner, TRACK_PROCESS, &p->packed);
	fa_proto_u64_always(&p->packet, PACKET_TIMESTAMP, 0);
	fa_proto_message(&p->packet, PACKET_TRACK_DESCRIPTOR, &p->inner);
	return put_packet(p);
}

static struct ft_error *put_counter(struct perfetto *p, unsigned uuid, const char *name,
				    unsigned unit)
{
	ft_strbuf_clear(&p->packed);
	fa_proto_u64(&p->packed, COUNTER_UNIT, unit);
	ft_strbuf_clear(&p->inner);
	fa_proto_u64(&p->inner, TRACK_UUID, uuid);
	fa_proto_text(&p->inner, TRACK_NAME, name);
	fa_proto_u64(&p->inner, TRACK_PARENT_UUID, UUID_PROCESS);
	fa_proto_message(&p->inner, TRACK_COUNTER, &p->packed);
	fa_proto_u64_always(&p->packet, PACKET_TIMESTAMP, 0);
	fa_proto_message(&p->packet, PACKET_TRACK_DESCRIPTOR, &p->inner);
	return put_packet(p);
}

static struct ft_error *put_values(struct perfetto *p, unsigned uuid, const char *times,
				   const char *values)
{
	const uint64_t *time, *value;
	uint64_t n = fa_export_column(p->source, times, &time);

	if (fa_export_column(p->source, values, &value) != n)
		return NULL;
	for (uint64_t i = 0; i < n; i++) {
		ft_strbuf_clear(&p->inner);
		fa_proto_u64(&p->inner, EVENT_TYPE, EVENT_TYPE_COUNTER);
		fa_proto_u64(&p->inner, EVENT_TRACK_UUID, uuid);
		fa_proto_u64_always(&p->inner, EVENT_COUNTER_VALUE, value[i]);
		fa_proto_u64_always(&p->packet, PACKET_TIMESTAMP, time[i]);
		fa_proto_message(&p->packet, PACKET_TRACK_EVENT, &p->inner);
		FT_TRY(put_packet(p));
	}
	return NULL;
}

static struct ft_error *put_counters(struct perfetto *p)
{
	static const struct {
		const char *name, *times, *values;
		unsigned unit;
	} counters[] = {
		{"live bytes", "timeline.time_ns", "timeline.live_bytes", COUNTER_UNIT_BYTES},
		{"highest live bytes", "timeline.time_ns", "timeline.peak_bytes",
		 COUNTER_UNIT_BYTES},
		{"live blocks", "timeline.time_ns", "timeline.live_blocks", COUNTER_UNIT_COUNT},
		{"resident bytes", "rss.time_ns", "rss.bytes", COUNTER_UNIT_BYTES},
	};

	for (unsigned i = 0; i < sizeof(counters) / sizeof(*counters); i++) {
		FT_TRY(put_counter(p, UUID_COUNTERS + i, counters[i].name, counters[i].unit));
		FT_TRY(put_values(p, UUID_COUNTERS + i, counters[i].times, counters[i].values));
	}
	return NULL;
}

static struct ft_error *write_trace(struct perfetto *p)
{
	ft_auto_arena struct ft_arena arena;
	const struct fa_value *summary, *program;

	ft_arena_init(&arena);
	FT_TRY(fa_export_summary(p->source, &arena, &summary));
	program = fa_value_get(summary, "program");
	p->pid = fa_value_u64(program, "pid");
	if (!p->pid)
		p->pid = 1; /* unknown; 0 is the kernel's */
	p->end_ns = fa_engine_to_ns(p->source->engine);
	FT_TRY(fa_modules_load(&p->modules, p->source));
	FT_TRY(put_process(p, fa_value_text(program, "name")));
	FT_TRY(put_counters(p));
	FT_TRY(put_stacks(p));
	return put_profile(p);
}

FA_EXPORT_WRITER(fa_export_perfetto)
{
	struct perfetto p = {.source = source, .out = out};
	struct ft_error *error = write_trace(&p);

	ft_strbuf_deinit(&p.packet);
	ft_strbuf_deinit(&p.interned);
	ft_strbuf_deinit(&p.inner);
	ft_strbuf_deinit(&p.packed);
	ft_strbuf_deinit(&p.file);
	fa_intern_deinit(&p.functions);
	fa_intern_deinit(&p.frames);
	fa_modules_deinit(&p.modules);
	return error;
}

/* SPDX-License-Identifier: MIT */
/*
 * pprof: a gzipped profile.proto (https://github.com/google/pprof/blob/main/proto/profile.proto)
 *
 * The sample types are those of Go's and gperftools' heap profiles, so that `pprof -sample_index=`
 * has the names that its users know, and what was live at the peak besides. A location is an
 * address with its inlined functions; all names are in the file, and no binary is needed to read
 * it.
 */
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "fa_json_read.h"
#include "modules.h"
#include "proto.h"

enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE = 2,
	PROFILE_MAPPING = 3,
	PROFILE_LOCATION = 4,
	PROFILE_FUNCTION = 5,
	PROFILE_STRING_TABLE = 6,
	PROFILE_TIME_NANOS = 9,
	PROFILE_DURATION_NANOS = 10,
	PROFILE_PERIOD_TYPE = 11,
	PROFILE_PERIOD = 12,
	PROFILE_DEFAULT_SAMPLE_TYPE = 14,
	VALUE_TYPE_TYPE = 1,
	VALUE_TYPE_UNIT = 2,
	SAMPLE_LOCATION_ID = 1,
	SAMPLE_VALUE = 2,
	MAPPING_ID = 1,
	MAPPING_START = 2,
	MAPPING_LIMIT = 3,
	MAPPING_FILENAME = 5,
	MAPPING_BUILD_ID = 6,
	MAPPING_HAS_FUNCTIONS = 7, /* and filenames, line numbers, inline frames: 8, 9, 10 */
	LOCATION_ID = 1,
	LOCATION_MAPPING_ID = 2,
	LOCATION_ADDRESS = 3,
	LOCATION_LINE = 4,
	LINE_FUNCTION_ID = 1,
	LINE_LINE = 2,
	FUNCTION_ID = 1,
	FUNCTION_NAME = 2,
	FUNCTION_SYSTEM_NAME = 3,
	FUNCTION_FILENAME = 4,
	GZIP_WINDOW = 15 + 16, /* deflateInit2: a gzip header, without a time */
};

/* Types of value, in the order of a sample's values. */
static const struct {
	const char *type, *unit;
	enum fa_metric metric; /* that --metric names it by; FA_N_METRICS: none */
} types[] = {
	{"alloc_objects", "count", FA_METRIC_COUNT},
	{"alloc_space", "bytes", FA_METRIC_ALLOCATED},
	{"inuse_objects", "count", FA_N_METRICS},
	{"inuse_space", "bytes", FA_METRIC_LEAKED},
	{"peak_objects", "count", FA_N_METRICS},
	{"peak_space", "bytes", FA_METRIC_PEAK},
	{"temporary_objects", "count", FA_METRIC_TEMPORARY}, /* the last: a sample has none */
};
enum { N_TYPES = sizeof(types) / sizeof(*types) };

struct pprof {
	struct ft_strbuf message; /* what is not written yet */
	struct ft_strbuf inner, packed, line;
	struct fa_modules modules;
	struct fa_intern strings, functions, locations;
	z_stream deflate;
	FILE *out;
};

/* ---- gzip --------------------------------------------------------------------------------------
 */

static struct ft_error *drain(struct pprof *p, int flush)
{
	unsigned char block[16384];
	int status;

	if (p->message.failed)
		return &ft_enomem;
	p->deflate.next_in = (Bytef *)p->message.data;
	p->deflate.avail_in = (uInt)p->message.len;
	do {
		p->deflate.next_out = block;
		p->deflate.avail_out = sizeof(block);
		status = deflate(&p->deflate, flush);
		errno = 0;

		size_t n = sizeof(block) - p->deflate.avail_out;

		if (fwrite(block, 1, n, p->out) != n)
			return ft_error_os(errno, "cannot write the export");
	} while (p->deflate.avail_out == 0 || (flush == Z_FINISH && status == Z_OK));
	ft_strbuf_clear(&p->message);
	return NULL;
}

static struct ft_error *drain_some(struct pprof *p)
{
	return p->message.len > (64 << 10) || p->message.failed ? drain(p, Z_NO_FLUSH) : NULL;
}

/* ---- what is referred to by number
 * ---------------------------------------------------------------
 */

static struct ft_error *string_id(struct pprof *p, const char *text, uint32_t *ret)
{
	return fa_intern_text(&p->strings, text, ret) ? NULL : &ft_enomem;
}

static struct ft_error *function_id(struct pprof *p, const struct fa_frame *frame, uint32_t *ret)
{
	char text[FA_EXPORT_TEXT];
	uint32_t key[2];
	bool created;

	FT_TRY(string_id(p, fa_export_frame_text(frame, text), &key[0]));
	FT_TRY(string_id(p, frame->file, &key[1]));
	if (!fa_intern_put(&p->functions, key, sizeof(key), ret, &created))
		return &ft_enomem;
	++*ret; /* 0 is none */
	if (!created)
		return NULL;
	ft_strbuf_clear(&p->line);
	fa_proto_u64(&p->line, FUNCTION_ID, *ret);
	fa_proto_u64(&p->line, FUNCTION_NAME, key[0]);
	fa_proto_u64(&p->line, FUNCTION_SYSTEM_NAME, key[0]);
	fa_proto_u64(&p->line, FUNCTION_FILENAME, key[1]);
	fa_proto_message(&p->message, PROFILE_FUNCTION, &p->line);
	return NULL;
}

/* The location of the frames [0, n): n - 1 inlined ones and what they were inlined into. */
static struct ft_error *location_id(struct pprof *p, const struct fa_frame *frames, size_t n,
				    uint32_t *ret)
{
	struct {
		uint64_t offset, module;
	} key = {.offset = frames[n - 1].offset};
	uint64_t address = key.offset;
	uint32_t module = 0, function;
	bool created;

	if (frames[n - 1].module) {
		FT_TRY(fa_modules_find(&p->modules, frames[n - 1].module, &module));
		key.module = ++module;
		address += p->modules.list[module - 1].bias;
	}
	if (!fa_intern_put(&p->locations, &key, sizeof(key), ret, &created))
		return &ft_enomem;
	++*ret;
	if (!created)
		return NULL;
	ft_strbuf_clear(&p->inner);
	fa_proto_u64(&p->inner, LOCATION_ID, *ret);
	fa_proto_u64(&p->inner, LOCATION_MAPPING_ID, module);
	fa_proto_u64(&p->inner, LOCATION_ADDRESS, address);
	for (size_t i = 0; i < n; i++) {
		FT_TRY(function_id(p, &frames[i], &function));
		ft_strbuf_clear(&p->line);
		fa_proto_u64(&p->line, LINE_FUNCTION_ID, function);
		fa_proto_u64(&p->line, LINE_LINE,
			     frames[i].line > 0 ? (uint64_t)frames[i].line : 0);
		fa_proto_message(&p->inner, LOCATION_LINE, &p->line);
	}
	fa_proto_message(&p->message, PROFILE_LOCATION, &p->inner);
	return NULL;
}

/* ---- parts of the profile
 * ------------------------------------------------------------------------
 */

static struct ft_error *add_type(struct pprof *p, unsigned field, const char *type,
				 const char *unit)
{
	uint32_t of_type, of_unit;

	FT_TRY(string_id(p, type, &of_type));
	FT_TRY(string_id(p, unit, &of_unit));
	ft_strbuf_clear(&p->inner);
	fa_proto_u64(&p->inner, VALUE_TYPE_TYPE, of_type);
	fa_proto_u64(&p->inner, VALUE_TYPE_UNIT, of_unit);
	fa_proto_message(&p->message, field, &p->inner);
	return NULL;
}

static struct ft_error *add_head(struct pprof *p, const struct fa_export_source *source,
				 const struct fa_export_options *options, unsigned n_types)
{
	uint64_t sampled = fa_engine_sample_bytes(source->engine);
	ft_auto_arena struct ft_arena arena;
	const struct fa_value *summary;
	uint32_t id;

	ft_arena_init(&arena);
	FT_TRY(string_id(p, "", &id)); /* the first one has to be */
	for (unsigned i = 0; i < n_types; i++)
		FT_TRY(add_type(p, PROFILE_SAMPLE_TYPE, types[i].type, types[i].unit));
	for (unsigned i = 0; i < n_types; i++)
		if (types[i].metric == options->metric) {
			FT_TRY(string_id(p, types[i].type, &id));
			fa_proto_u64(&p->message, PROFILE_DEFAULT_SAMPLE_TYPE, id);
		}
	FT_TRY(add_type(p, PROFILE_PERIOD_TYPE, "space", "bytes"));
	fa_proto_u64(&p->message, PROFILE_PERIOD, sampled ? sampled : 1);
	FT_TRY(fa_export_summary(source, &arena, &summary));
	fa_proto_u64(&p->message, PROFILE_TIME_NANOS,
		     fa_value_u64(fa_value_get(summary, "recording"), "started_realtime_ns") +
			     fa_engine_from_ns(source->engine));
	fa_proto_u64(&p->message, PROFILE_DURATION_NANOS, fa_value_u64(summary, "duration_ns"));
	return NULL;
}

static struct ft_error *add_sample(struct pprof *p, const struct fa_export_stack *stack,
				   unsigned n_types)
{
	const struct fa_site *s = &stack->site;
	const uint64_t values[N_TYPES] = {s->allocations, s->bytes_allocated, s->live_blocks,
					  s->live_bytes,  s->peak_blocks,     s->peak_bytes,
					  s->temporary};

	ft_strbuf_clear(&p->packed);
	for (size_t first = 0, end; first < stack->n_frames; first = end) {
		uint32_t id;

		for (end = first; end + 1 < stack->n_frames && stack->frames[end].inlined;)
			end++;
		end++;
		FT_TRY(location_id(p, &stack->frames[first], end - first, &id));
		fa_proto_varint(&p->packed, id);
	}
	ft_strbuf_clear(&p->inner);
	fa_proto_message(&p->inner, SAMPLE_LOCATION_ID, &p->packed);
	ft_strbuf_clear(&p->packed);
	for (unsigned i = 0; i < n_types; i++)
		fa_proto_varint(&p->packed, values[i]);
	fa_proto_message(&p->inner, SAMPLE_VALUE, &p->packed);
	fa_proto_message(&p->message, PROFILE_SAMPLE, &p->inner);
	return drain_some(p);
}

static struct ft_error *add_mappings(struct pprof *p)
{
	for (size_t i = 0; i < p->modules.paths.n; i++) {
		const struct fa_module *m = &p->modules.list[i];
		uint32_t path, build_id;

		FT_TRY(string_id(p, m->path, &path));
		FT_TRY(string_id(p, m->build_id, &build_id));
		ft_strbuf_clear(&p->inner);
		fa_proto_u64(&p->inner, MAPPING_ID, i + 1);
		fa_proto_u64(&p->inner, MAPPING_START, m->start);
		fa_proto_u64(&p->inner, MAPPING_LIMIT, m->end);
		fa_proto_u64(&p->inner, MAPPING_FILENAME, path);
		fa_proto_u64(&p->inner, MAPPING_BUILD_ID, build_id);
		/* Symbols are in here: there is nothing to look up. */
		for (unsigned has = 0; has < 4; has++)
			fa_proto_u64(&p->inner, MAPPING_HAS_FUNCTIONS + has, 1);
		fa_proto_message(&p->message, PROFILE_MAPPING, &p->inner);
	}
	for (size_t i = 0; i < p->strings.n; i++) {
		fa_proto_bytes(&p->message, PROFILE_STRING_TABLE, p->strings.entries[i].data,
			       p->strings.entries[i].len);
		FT_TRY(drain_some(p));
	}
	return drain(p, Z_FINISH);
}

static struct ft_error *write_profile(struct pprof *p, const struct fa_export_source *source,
				      const struct fa_export_options *options)
{
	unsigned n_types = fa_export_n_metrics(source) == FA_N_METRICS ? N_TYPES : N_TYPES - 1;
	struct fa_export_stack stack;
	struct fa_export_walk walk;
	struct ft_error *error, *walked;

	FT_TRY(fa_modules_load(&p->modules, source));
	error = add_head(p, source, options, n_types);
	fa_export_walk_init(&walk, source);
	while (!error && fa_export_next(&walk, &stack))
		error = add_sample(p, &stack, n_types);
	walked = fa_export_walk_end(&walk);
	if (error || walked)
		return error ? error : walked;
	return add_mappings(p);
}

FA_EXPORT_WRITER(fa_export_pprof)
{
	struct pprof p = {.out = out};
	struct ft_error *error;

	if (deflateInit2(&p.deflate, 6, Z_DEFLATED, GZIP_WINDOW, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return &ft_enomem;
	error = write_profile(&p, source, options);
	deflateEnd(&p.deflate);
	ft_strbuf_deinit(&p.message);
	ft_strbuf_deinit(&p.inner);
	ft_strbuf_deinit(&p.packed);
	ft_strbuf_deinit(&p.line);
	fa_modules_deinit(&p.modules);
	fa_intern_deinit(&p.strings);
	fa_intern_deinit(&p.functions);
	fa_intern_deinit(&p.locations);
	return error;
}

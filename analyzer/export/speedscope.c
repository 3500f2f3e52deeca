/* SPDX-License-Identifier: MIT */
/*
 * speedscope's file format: the frames once, then a "sampled" profile for each metric, in which a
 * stack is a sample and its value the weight. https://www.speedscope.app/file-format-schema.json
 */
#include <stdlib.h>
#include <string.h>

#include "export_impl.h"
#include "fa_json_read.h"

struct speedscope {
	struct fa_intern frames; /* text and file, parted by a NUL: a function is one frame,
				  * whatever line it is at */
	uint32_t *ids;		 /* of all stacks one after another, outermost first */
	size_t n_ids, ids_room;
	struct sample {
		size_t first;
		uint32_t n;
		uint64_t value[FA_N_METRICS];
	} * samples;
	size_t n_samples, samples_room;
	struct ft_strbuf key;
};

static struct ft_error *add_frame(struct speedscope *s, const struct fa_frame *frame, uint32_t *ret)
{
	char text[FA_EXPORT_TEXT];

	ft_strbuf_clear(&s->key);
	ft_strbuf_adds(&s->key, fa_export_frame_text(frame, text));
	ft_strbuf_addc(&s->key, '\0');
	ft_strbuf_adds(&s->key, frame->file ? frame->file : "");
	if (s->key.failed || !fa_intern_put(&s->frames, s->key.data, s->key.len, ret, NULL))
		return &ft_enomem;
	return NULL;
}

static void *grow(void *list, size_t *room, size_t n, size_t size)
{
	if (n <= *room)
		return list;

	void *longer = realloc(list, 2 * n * size);

	if (longer)
		*room = 2 * n;
	return longer;
}

static struct ft_error *add_stack(struct speedscope *s, const struct fa_export_stack *stack)
{
	uint32_t *ids = grow(s->ids, &s->ids_room, s->n_ids + stack->n_frames + 1, sizeof(*ids));

	if (!ids)
		return &ft_enomem;
	s->ids = ids;

	struct sample *samples =
		grow(s->samples, &s->samples_room, s->n_samples + 1, sizeof(*samples));

	if (!samples)
		return &ft_enomem;
	s->samples = samples;

	struct sample *sample = &samples[s->n_samples++];

	*sample = (struct sample){.first = s->n_ids, .n = (uint32_t)stack->n_frames};
	memcpy(sample->value, stack->value, sizeof(sample->value));
	for (size_t i = stack->n_frames; i-- > 0;)
		FT_TRY(add_frame(s, &stack->frames[i], &s->ids[s->n_ids++]));
	return NULL;
}

static struct ft_error *write_frames(const struct speedscope *s, struct fa_json *json, FILE *out)
{
	fa_json_key(json, "shared");
	fa_json_object_begin(json);
	fa_json_key(json, "frames");
	fa_json_array_begin(json);
	for (size_t i = 0; i < s->frames.n; i++) {
		const char *name = s->frames.entries[i].data, *file = name + strlen(name) + 1;

		fa_json_object_begin(json);
		fa_json_kv_string(json, "name", name);
		if (*file)
			fa_json_kv_string(json, "file", file);
		fa_json_object_end(json);
		FT_TRY(fa_export_flush_some(json->out, out));
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
	return NULL;
}

static struct ft_error *write_profile(const struct speedscope *s, enum fa_metric metric,
				      struct fa_json *json, FILE *out)
{
	bool counts = metric == FA_METRIC_COUNT || metric == FA_METRIC_TEMPORARY;
	uint64_t sum = 0;

	fa_json_object_begin(json);
	fa_json_kv_string(json, "type", "sampled");
	fa_json_kv_string(json, "name", fa_metric_name(metric));
	fa_json_kv_string(json, "unit", counts ? "none" : "bytes");
	fa_json_kv_u64(json, "startValue", 0);
	for (size_t i = 0; i < s->n_samples; i++)
		sum += s->samples[i].value[metric];
	fa_json_kv_u64(json, "endValue", sum);
	fa_json_key(json, "samples");
	fa_json_array_begin(json);
	for (size_t i = 0; i < s->n_samples; i++) {
		if (!s->samples[i].value[metric])
			continue;
		fa_json_array_begin(json);
		for (uint32_t f = 0; f < s->samples[i].n; f++)
			fa_json_u64(json, s->ids[s->samples[i].first + f]);
		fa_json_array_end(json);
		FT_TRY(fa_export_flush_some(json->out, out));
	}
	fa_json_array_end(json);
	fa_json_key(json, "weights");
	fa_json_array_begin(json);
	for (size_t i = 0; i < s->n_samples; i++)
		if (s->samples[i].value[metric])
			fa_json_u64(json, s->samples[i].value[metric]);
	fa_json_array_end(json);
	fa_json_object_end(json);
	return fa_export_flush_some(json->out, out);
}

static struct ft_error *write_all(const struct speedscope *s, const struct fa_export_source *source,
				  const struct fa_export_options *options, FILE *out)
{
	ft_auto_arena struct ft_arena arena;
	ft_auto_strbuf struct ft_strbuf buf;
	const struct fa_value *summary;
	struct fa_json json;

	ft_arena_init(&arena);
	ft_strbuf_init(&buf);
	FT_TRY(fa_export_summary(source, &arena, &summary));
	fa_json_init(&json, &buf);
	fa_json_object_begin(&json);
	fa_json_kv_string(&json, "$schema", "https://www.speedscope.app/file-format-schema.json");
	fa_json_kv_string(&json, "exporter", "fraganalyze " FT_VERSION);
	fa_json_kv_string(&json, "name", fa_value_text(fa_value_get(summary, "program"), "name"));
	fa_json_kv_u64(&json, "activeProfileIndex", options->metric);
	FT_TRY(write_frames(s, &json, out));
	fa_json_key(&json, "profiles");
	fa_json_array_begin(&json);
	for (unsigned m = 0; m < fa_export_n_metrics(source); m++)
		FT_TRY(write_profile(s, m, &json, out));
	fa_json_array_end(&json);
	fa_json_object_end(&json);
	ft_strbuf_addc(&buf, '\n');
	return fa_export_flush(&buf, out);
}

FA_EXPORT_WRITER(fa_export_speedscope)
{
	struct fa_export_stack stack;
	struct fa_export_walk walk;
	struct speedscope s = {0};
	struct ft_error *error = NULL, *walked;

	fa_export_walk_init(&walk, source);
	while (!error && fa_export_next(&walk, &stack))
		error = add_stack(&s, &stack);
	walked = fa_export_walk_end(&walk);
	if (!error)
		error = walked ? walked : write_all(&s, source, options, out);
	fa_intern_deinit(&s.frames);
	ft_strbuf_deinit(&s.key);
	free(s.ids);
	free(s.samples);
	return error;
}

/* SPDX-License-Identifier: MIT */
/*
 * Suppressed sites: what the user's suppressions cover, and how much that is
 *
 * Nothing is left out silently: each site that a pass leaves out is counted with the suppression
 * that covered it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine_impl.h"
#include "fa_format.h"
#include "fa_json.h"
#include "fa_suppress.h"

enum { MAX_FRAMES = 256 };

struct suppression_use {
	uint64_t sites, blocks, bytes;
};

struct fa_suppressed {
	uint8_t *calls;		      /* enum ft_api of what is live, by stack; 0: nothing is */
	struct suppression_use *uses; /* by suppression */
};

void fa_suppressed_destroy(struct fa_suppressed *suppressed)
{
	if (!suppressed)
		return;
	free(suppressed->calls);
	free(suppressed->uses);
	free(suppressed);
}

static struct fa_suppressed *suppressed_of(struct fa_engine *engine)
{
	struct fa_suppressed *own = engine->suppressed;
	const struct fa_block *block;
	size_t cursor = 0;

	if (own)
		return own;
	own = calloc(1, sizeof(*own));
	if (!own)
		return NULL;
	own->calls = calloc(engine->n_stacks + 1, 1);
	own->uses =
		calloc(fa_suppressions_count(engine->options.suppressions) + 1, sizeof(*own->uses));
	if (!own->calls || !own->uses) {
		fa_suppressed_destroy(own);
		return NULL;
	}
	while (fa_engine_next_live(engine, &cursor, &block))
		own->calls[block->stack] = block->api;
	engine->suppressed = own;
	return own;
}

/* The stack as a suppression sees it; returns how many frames, at most MAX_FRAMES + 1. */
static size_t suppress_frames(struct fa_engine *engine, uint32_t stack, unsigned api,
			      struct fa_suppress_frame *ret)
{
	struct fa_frame frames[MAX_FRAMES];
	size_t n = fa_engine_frames(engine, stack, frames, MAX_FRAMES);

	if (n > MAX_FRAMES)
		n = MAX_FRAMES;
	ret[0] = fa_suppress_call(api);
	for (size_t i = 0; i < n; i++)
		ret[i + 1] = (struct fa_suppress_frame){
			.function = frames[i].function,
			.file = frames[i].file,
			.line = frames[i].line,
			.module = frames[i].module,
			.inlined = frames[i].inlined,
		};
	return n + 1;
}

bool fa_engine_suppress(struct fa_engine *engine, uint32_t stack, uint64_t blocks, uint64_t bytes)
{
	const struct fa_suppressions *set = engine->options.suppressions;
	struct fa_suppress_frame frames[MAX_FRAMES + 1];

	if (!fa_suppressions_count(set))
		return false;

	struct fa_suppressed *own = suppressed_of(engine);

	/* Out of memory: nothing is left out. */
	if (!own || stack >= engine->n_stacks)
		return false;

	size_t n = suppress_frames(engine, stack, own->calls[stack], frames);
	ptrdiff_t index = fa_suppressions_match(set, FA_SUPPRESS_LEAK, FA_LEAK_ALL, frames, n);

	if (index < 0)
		return false;
	own->uses[index].sites++;
	own->uses[index].blocks += blocks;
	own->uses[index].bytes += bytes;
	return true;
}

bool fa_engine_suppress_free(struct fa_engine *engine, uint32_t stack, enum ft_api api)
{
	struct fa_suppress_frame frames[MAX_FRAMES + 1];
	size_t n;

	if (!fa_suppressions_count(engine->options.suppressions))
		return false;

	n = suppress_frames(engine, stack, api, frames);
	return fa_suppressions_match(engine->options.suppressions, FA_SUPPRESS_FREE, FA_LEAK_ALL,
				     frames, n) >= 0;
}

/* The sum over all suppressions; *used: those that covered anything. */
static struct suppression_use sum_uses(const struct fa_engine *engine, size_t *used)
{
	const struct fa_suppressed *own = engine->suppressed;
	size_t n = own ? fa_suppressions_count(engine->options.suppressions) : 0;
	struct suppression_use all = {0};

	*used = 0;
	for (size_t i = 0; i < n; i++) {
		all.sites += own->uses[i].sites;
		all.blocks += own->uses[i].blocks;
		all.bytes += own->uses[i].bytes;
		*used += own->uses[i].sites > 0;
	}
	return all;
}

struct ft_error *fa_engine_find_suppressed(struct fa_engine *engine)
{
	size_t used, n = fa_suppressions_count(engine->options.suppressions);
	struct suppression_use all = sum_uses(engine, &used);
	struct fa_text bytes;
	char text[160];
	struct fa_param params[] = {
		{.name = "sites", .kind = FA_PARAM_U64, .u64 = all.sites},
		{.name = "blocks", .kind = FA_PARAM_U64, .u64 = all.blocks},
		{.name = "bytes", .kind = FA_PARAM_U64, .u64 = all.bytes},
		{.name = "used", .kind = FA_PARAM_U64, .u64 = used},
		{.name = "suppressions", .kind = FA_PARAM_U64, .u64 = n},
	};

	if (!engine->options.suppressions)
		return NULL;
	snprintf(text, sizeof(text),
		 "Suppressed: %s of %" PRIu64 " site%s (%zu of %zu suppressions had an effect)",
		 fa_format_bytes(all.bytes, &bytes), all.sites, all.sites == 1 ? "" : "s", used, n);
	return fa_engine_finding_add(engine, &(struct fa_finding){
						     .code = "suppressed",
						     .severity = FA_INFO,
						     .text = text,
						     .params = params,
						     .n_params = 5,
						     .section = "leaks",
						     .weight = all.bytes,
					     });
}

void fa_engine_emit_suppressed(struct fa_engine *engine, struct fa_json *json)
{
	const struct fa_suppressions *set = engine->options.suppressions;
	const struct fa_suppressed *own = engine->suppressed;
	size_t used;
	struct suppression_use all = sum_uses(engine, &used);

	fa_json_key(json, "suppressed");
	if (!set) {
		fa_json_null(json);
		return;
	}
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", all.sites);
	fa_json_kv_u64(json, "blocks", all.blocks);
	fa_json_kv_u64(json, "bytes", all.bytes);
	fa_json_key(json, "rules");
	fa_json_array_begin(json);
	for (size_t i = 0; i < fa_suppressions_count(set); i++) {
		const struct fa_suppression *rule = fa_suppressions_at(set, i);

		fa_json_object_begin(json);
		fa_json_kv_string(json, "name", rule->name);
		fa_json_kv_string(json, "file", rule->path);
		fa_json_kv_u64(json, "line", rule->line);
		fa_json_kv_u64(json, "sites", own ? own->uses[i].sites : 0);
		fa_json_kv_u64(json, "blocks", own ? own->uses[i].blocks : 0);
		fa_json_kv_u64(json, "bytes", own ? own->uses[i].bytes : 0);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
}

struct ft_error *fa_engine_print_suppression(struct fa_engine *engine, uint32_t stack,
					     enum fa_suppress_format format, struct ft_strbuf *out)
{
	struct fa_suppress_frame frames[MAX_FRAMES + 1];
	struct fa_suppressed *own = suppressed_of(engine);
	size_t n;

	if (!own || stack >= engine->n_stacks)
		return &ft_enomem;
	n = suppress_frames(engine, stack, own->calls[stack], frames);
	fa_suppress_print(format, fa_engine_site_name(engine, stack), frames, n, out);
	return out->failed ? &ft_enomem : NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * Flame graph: figures of all stacks, joined at their common callers
 *
 * A tree from the outermost function inwards; inlined functions are nodes of their own. A node has
 * its own values only, so that those of all nodes add up to the totals of the program. At most 5000
 * nodes are written: those with the largest share of any metric, of which an ancestor is never
 * smaller; what is left out goes, as a sum, to a child "(other)" of its nearest ancestor. Nodes
 * with values of their own have them step by step, too (flame_steps.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fa_doc.h"
#include "fa_engine.h"
#include "flame_steps.h"
#include "ft_arena.h"
#include "ft_cleanup.h"
#include "ft_map.h"

enum {
	FLAME_NODES = 5000,
	FLAME_DEPTH = 1024,
	N_METRICS = 5,
};

static const char *const metric_names[N_METRICS] = {"leaked", "peak", "allocated", "count",
						    "temporary"};

struct flame_node {
	uint32_t parent, function;
	uint64_t own[N_METRICS];
	uint32_t n_sites; /* that end here */
};

struct flame {
	struct flame_node *nodes; /* [0] is the root; a parent comes before its children */
	size_t n_nodes, node_room;
	struct ft_map children; /* parent << 32 | function -> node */
	const char **functions; /* texts of the engine or of the arena */
	size_t n_functions, function_room;
	struct ft_map by_name; /* hash of the text -> function; see function_id() */
	struct ft_arena arena;
	struct flame_steps steps;
	uint32_t *leaf_of; /* by stack: the node that it ends at; 0: none */

	/* What emit writes. */
	size_t n_kept, n_texts;
	const char **texts; /* of the functions that are left */
	uint32_t *parent, *function;
	uint64_t *metric[N_METRICS];
	uint32_t *step_node; /* of each row of the steps */
	uint64_t *step[FLAME_N_KINDS];
	size_t n_step_rows;
	uint64_t other_sites, other_bytes;
};

/* ---- tree --------------------------------------------------------------------------------------
 */

static struct ft_error *function_id(struct flame *flame, const char *text, uint32_t *ret)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (const char *p = text; *p; p++)
		hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);

	/* Another text with this hash moves on to the next key. */
	for (;; hash++) {
		bool created;
		uint64_t *id = ft_map_put(&flame->by_name, hash, &created);

		if (!id)
			return &ft_enomem;
		if (!created && strcmp(flame->functions[*id], text) != 0)
			continue;
		if (created) {
			if (flame->n_functions == flame->function_room) {
				size_t room = flame->function_room ? flame->function_room * 2 : 256;
				const char **functions =
					realloc(flame->functions, room * sizeof(*functions));

				if (!functions)
					return &ft_enomem;
				flame->functions = functions;
				flame->function_room = room;
			}
			*id = flame->n_functions;
			flame->functions[flame->n_functions] = ft_arena_strdup(&flame->arena, text);
			if (!flame->functions[flame->n_functions++])
				return &ft_enomem;
		}
		*ret = (uint32_t)*id;
		return NULL;
	}
}

static struct ft_error *node_make(struct flame *flame, uint32_t parent, uint32_t function,
				  uint32_t *ret)
{
	if (flame->n_nodes == flame->node_room) {
		size_t room = flame->node_room ? flame->node_room * 2 : 1024;
		struct flame_node *nodes = realloc(flame->nodes, room * sizeof(*nodes));

		if (!nodes)
			return &ft_enomem;
		flame->nodes = nodes;
		flame->node_room = room;
	}
	flame->nodes[flame->n_nodes] = (struct flame_node){.parent = parent, .function = function};
	*ret = (uint32_t)flame->n_nodes++;
	return NULL;
}

static struct ft_error *node_child(struct flame *flame, uint32_t parent, uint32_t function,
				   uint32_t *ret)
{
	bool created;
	uint64_t *node = ft_map_put(&flame->children, (uint64_t)parent << 32 | function, &created);

	if (!node)
		return &ft_enomem;
	if (created) {
		uint32_t made;

		FT_TRY(node_make(flame, parent, function, &made));
		*node = made;
	}
	*ret = (uint32_t)*node;
	return NULL;
}

/* The text of a frame without a name: where it is. */
static const char *frame_text(const struct fa_frame *frame, char *buffer, size_t size)
{
	const char *slash = frame->module ? strrchr(frame->module, '/') : NULL;

	if (frame->function)
		return frame->function;
	if (!frame->module)
		snprintf(buffer, size, "0x%llx", (unsigned long long)frame->offset);
	else
		snprintf(buffer, size, "%s+0x%llx", slash ? slash + 1 : frame->module,
			 (unsigned long long)frame->offset);
	return buffer;
}

static struct ft_error *flame_stack(struct flame *flame, struct fa_engine *engine, uint32_t stack,
				    struct fa_frame *frames)
{
	struct fa_site site;
	uint32_t node = 0, function;
	char buffer[512];

	fa_engine_site(engine, stack, &site);
	if (!site.allocations && !site.live_bytes && !site.peak_bytes)
		return NULL;

	size_t n = fa_engine_frames(engine, stack, frames, FLAME_DEPTH);

	/* A stack deeper than that hangs in the tree by its inner part. */
	for (size_t i = n < FLAME_DEPTH ? n : FLAME_DEPTH; i-- > 0;) {
		FT_TRY(function_id(flame, frame_text(&frames[i], buffer, sizeof(buffer)),
				   &function));
		FT_TRY(node_child(flame, node, function, &node));
	}
	if (!n) {
		FT_TRY(function_id(flame, "(no stack)", &function));
		FT_TRY(node_child(flame, node, function, &node));
	}

	struct flame_node *leaf = &flame->nodes[node];

	flame->leaf_of[stack] = node;
	const uint64_t values[N_METRICS] = {site.live_bytes, site.peak_bytes, site.bytes_allocated,
					    site.allocations, site.temporary};

	for (unsigned m = 0; m < N_METRICS; m++)
		leaf->own[m] += values[m];
	leaf->n_sites++;
	return NULL;
}

/* ---- folding -----------------------------------------------------------------------------------
 */

struct flame_rank {
	double share; /* largest of all metrics, subtree included */
	uint32_t node;
};

static int rank_order(const void *a, const void *b)
{
	const struct flame_rank *x = a, *y = b;

	if (x->share != y->share)
		return x->share < y->share ? 1 : -1;
	return (x->node > y->node) - (x->node < y->node);
}

static struct ft_error *flame_rank(const struct flame *flame, struct flame_rank **ret)
{
	size_t n = flame->n_nodes;
	ft_auto_free uint64_t *sums = calloc(n, N_METRICS * sizeof(*sums));
	ft_auto_free struct flame_rank *ranks = malloc(n * sizeof(*ranks));

	if (!sums || !ranks)
		return &ft_enomem;
	for (size_t i = n; i-- > 0;)
		for (unsigned m = 0; m < N_METRICS; m++) {
			sums[i * N_METRICS + m] += flame->nodes[i].own[m];
			if (i)
				sums[flame->nodes[i].parent * (size_t)N_METRICS + m] +=
					sums[i * N_METRICS + m];
		}
	for (size_t i = 0; i < n; i++) {
		ranks[i] = (struct flame_rank){.node = (uint32_t)i};
		for (unsigned m = 0; m < N_METRICS; m++) {
			double share =
				sums[m] ? (double)sums[i * N_METRICS + m] / (double)sums[m] : 0;

			if (share > ranks[i].share)
				ranks[i].share = share;
		}
	}
	ranks[0].share = 2; /* the root comes first even where it ties with its only child */
	qsort(ranks, n, sizeof(*ranks), rank_order);
	*ret = ft_take(ranks);
	return NULL;
}

/* Mark the first `n` of the ranking; returns how many of them lose a child. */
static size_t keep_first(const struct flame *flame, const struct flame_rank *ranks, size_t n,
			 bool *kept, bool *cut)
{
	size_t n_cut = 0;

	memset(kept, 0, flame->n_nodes * sizeof(*kept));
	memset(cut, 0, flame->n_nodes * sizeof(*cut));
	for (size_t i = 0; i < n; i++)
		kept[ranks[i].node] = true;
	for (size_t i = 1; i < flame->n_nodes; i++)
		if (!kept[i] && kept[flame->nodes[i].parent] && !cut[flame->nodes[i].parent]) {
			cut[flame->nodes[i].parent] = true;
			n_cut++;
		}
	return n_cut;
}

/* Number anew the functions that are left. */
static struct ft_error *flame_texts(struct flame *flame)
{
	ft_auto_free uint32_t *number = calloc(flame->n_functions, sizeof(*number));

	flame->texts = calloc(flame->n_functions, sizeof(*flame->texts));
	if (!number || !flame->texts)
		return &ft_enomem;
	for (size_t i = 0; i < flame->n_kept; i++) {
		uint32_t *id = &number[flame->function[i]];

		if (!*id) {
			flame->texts[flame->n_texts] = flame->functions[flame->function[i]];
			*id = (uint32_t)++flame->n_texts;
		}
		flame->function[i] = *id - 1;
	}
	return NULL;
}

/* The steps of all stacks, added up by the node that speaks for each. */
static struct ft_error *flame_write_steps(struct flame *flame, const uint32_t *place)
{
	size_t n_steps = flame->steps.n;
	ft_auto_free uint32_t *row_of = calloc(flame->n_kept, sizeof(*row_of));

	flame->step_node = calloc(flame->n_kept, sizeof(*flame->step_node));
	if (!row_of || !flame->step_node)
		return &ft_enomem;
	for (size_t stack = 0; stack < flame->steps.n_stacks; stack++) {
		uint32_t node = place[flame->leaf_of[stack]];

		if (!flame->leaf_of[stack] || row_of[node])
			continue;
		flame->step_node[flame->n_step_rows] = node;
		row_of[node] = (uint32_t)++flame->n_step_rows;
	}
	for (unsigned kind = 0; kind < FLAME_N_KINDS; kind++) {
		uint64_t *sums = calloc(flame->n_step_rows * n_steps + 1, sizeof(*sums));

		if (!sums)
			return &ft_enomem;
		flame->step[kind] = sums;
		for (size_t stack = 0; stack < flame->steps.n_stacks; stack++) {
			const uint64_t *own = flame_steps_of(&flame->steps, stack, kind);

			if (!own || !flame->leaf_of[stack])
				continue;

			size_t row = row_of[place[flame->leaf_of[stack]]] - 1;

			for (size_t i = 0; i < n_steps; i++)
				sums[row * n_steps + i] += own[i];
		}
	}
	return NULL;
}

static struct ft_error *flame_write(struct flame *flame, const bool *kept, bool *cut, size_t n_out)
{
	ft_auto_free uint32_t *place = calloc(flame->n_nodes, sizeof(*place));
	ft_auto_free uint32_t *other = calloc(flame->n_nodes, sizeof(*other));
	uint32_t other_name = 0, n = 0;

	flame->parent = calloc(n_out, sizeof(*flame->parent));
	flame->function = calloc(n_out, sizeof(*flame->function));
	for (unsigned m = 0; m < N_METRICS; m++) {
		flame->metric[m] = calloc(n_out, sizeof(*flame->metric[m]));
		if (!flame->metric[m])
			return &ft_enomem;
	}
	if (!place || !other || !flame->parent || !flame->function)
		return &ft_enomem;
	if (n_out < flame->n_nodes || memchr(cut, true, flame->n_nodes))
		FT_TRY(function_id(flame, "(other)", &other_name));

	for (size_t i = 0; i < flame->n_nodes; i++)
		if (kept[i]) {
			flame->parent[n] = i ? place[flame->nodes[i].parent] : 0;
			flame->function[n] = flame->nodes[i].function;
			for (unsigned m = 0; m < N_METRICS; m++)
				flame->metric[m][n] = flame->nodes[i].own[m];
			place[i] = n++;
		}
	/* A node that is left out hands on to its parent, whose heir is its "(other)" child. */
	for (size_t i = 0; i < flame->n_nodes; i++) {
		const struct flame_node *node = &flame->nodes[i];

		if (kept[i])
			continue;
		if (kept[node->parent]) {
			if (cut[node->parent]) {
				cut[node->parent] = false;
				other[node->parent] = n;
				flame->parent[n] = place[node->parent];
				flame->function[n++] = other_name;
			}
			other[i] = other[node->parent];
		} else {
			other[i] = other[node->parent];
		}
		for (unsigned m = 0; m < N_METRICS; m++)
			flame->metric[m][other[i]] += node->own[m];
		flame->other_sites += node->n_sites;
		flame->other_bytes += node->own[2];
		place[i] = other[i];
	}
	flame->n_kept = n;
	FT_TRY(flame_write_steps(flame, place));
	return flame_texts(flame);
}

static struct ft_error *flame_fold(struct flame *flame)
{
	struct flame_rank *ranked;

	FT_TRY(flame_rank(flame, &ranked));

	ft_auto_free struct flame_rank *ranks = ranked;
	ft_auto_free bool *kept = malloc(flame->n_nodes * sizeof(*kept));
	ft_auto_free bool *cut = malloc(flame->n_nodes * sizeof(*cut));
	size_t n = flame->n_nodes < FLAME_NODES ? flame->n_nodes : FLAME_NODES, n_cut;

	if (!kept || !cut)
		return &ft_enomem;
	for (;;) {
		n_cut = keep_first(flame, ranks, n, kept, cut);
		if (n + n_cut <= FLAME_NODES)
			break;
		n -= (n + n_cut - FLAME_NODES + 1) / 2;
	}
	return flame_write(flame, kept, cut, n + n_cut);
}

/* ---- life cycle --------------------------------------------------------------------------------
 */

static struct ft_error *flame_init(struct fa_pass *pass)
{
	struct flame *flame = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);

	flame->leaf_of = calloc(fa_engine_n_stacks(engine) + 1, sizeof(*flame->leaf_of));
	return flame->leaf_of ? flame_steps_init(&flame->steps, engine) : &ft_enomem;
}

static struct ft_error *flame_on_tick(struct fa_pass *pass, uint32_t tick, uint64_t time_ns)
{
	struct flame *flame = fa_pass_state(pass);

	return flame_steps_tick(&flame->steps, fa_pass_engine(pass), tick, time_ns);
}

static struct ft_error *flame_finish(struct fa_pass *pass)
{
	struct flame *flame = fa_pass_state(pass);
	struct fa_engine *engine = fa_pass_engine(pass);
	ft_auto_free struct fa_frame *frames = calloc(FLAME_DEPTH, sizeof(*frames));
	uint32_t root, all;

	if (!frames)
		return &ft_enomem;
	FT_TRY(function_id(flame, "(all)", &all));
	FT_TRY(node_make(flame, 0, all, &root));
	for (size_t s = 0; s < fa_engine_n_stacks(engine); s++)
		FT_TRY(flame_stack(flame, engine, (uint32_t)s, frames));
	return flame_fold(flame);
}

static void flame_deinit(struct fa_pass *pass)
{
	struct flame *flame = fa_pass_state(pass);

	free(flame->nodes);
	free(flame->functions);
	free(flame->texts);
	ft_map_deinit(&flame->children);
	ft_map_deinit(&flame->by_name);
	ft_arena_deinit(&flame->arena);
	flame_steps_deinit(&flame->steps);
	free(flame->leaf_of);
	free(flame->parent);
	free(flame->function);
	free(flame->step_node);
	for (unsigned kind = 0; kind < FLAME_N_KINDS; kind++)
		free(flame->step[kind]);
	for (unsigned m = 0; m < N_METRICS; m++)
		free(flame->metric[m]);
}

static struct ft_error *flame_emit(const struct fa_pass *pass, struct fa_doc *doc)
{
	const struct flame *flame = fa_pass_state(pass);
	const struct fa_engine *engine = fa_pass_engine(pass);
	/* A sample does not know what is temporary: the last one is left out. */
	unsigned n_metrics = fa_engine_sample_bytes(engine) ? N_METRICS - 1 : N_METRICS;
	struct fa_json *json = fa_doc_begin(doc, "flame");

	fa_engine_emit_estimated(engine, json);
	fa_json_key(json, "functions");
	fa_json_array_begin(json);
	for (size_t i = 0; i < flame->n_texts; i++)
		fa_json_string(json, flame->texts[i]);
	fa_json_array_end(json);
	fa_json_key(json, "metrics");
	fa_json_array_begin(json);
	for (unsigned m = 0; m < n_metrics; m++)
		fa_json_string(json, metric_names[m]);
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", flame->other_sites);
	fa_json_kv_u64(json, "bytes", flame->other_bytes);
	fa_json_object_end(json);
	fa_doc_end(doc);

	fa_doc_column(doc, "flame.parent", FA_U32, flame->parent, flame->n_kept);
	fa_doc_column(doc, "flame.function", FA_U32, flame->function, flame->n_kept);
	for (unsigned m = 0; m < n_metrics; m++) {
		char name[32];

		snprintf(name, sizeof(name), "flame.%s", metric_names[m]);
		fa_doc_column(doc, name, FA_U64, flame->metric[m], flame->n_kept);
	}
	fa_doc_column(doc, "flame.step_ns", FA_U64, flame->steps.time_ns, flame->steps.n);
	fa_doc_column(doc, "flame.step_node", FA_U32, flame->step_node, flame->n_step_rows);
	for (unsigned kind = 0; kind < FLAME_N_KINDS; kind++) {
		static const char *const names[FLAME_N_KINDS] = {
			"flame.step_live", "flame.step_allocated", "flame.step_count"};

		fa_doc_column(doc, names[kind], FA_U64, flame->step[kind],
			      flame->n_step_rows * flame->steps.n);
	}
	return NULL;
}

const struct fa_pass_ops fa_pass_flame = {
	.name = "flame",
	.summary = "figures of all stacks, joined at their common callers",
	.state_size = sizeof(struct flame),
	.init = flame_init,
	.on_tick = flame_on_tick,
	.finish = flame_finish,
	.emit = flame_emit,
	.deinit = flame_deinit,
};

/* SPDX-License-Identifier: MIT */
/*
 * massif.out: the heap over time as Valgrind's Massif writes it, for ms_print and massif-visualizer
 *
 * A snapshot a moment of the timeline, and one at the peak itself. Two of them have a tree of
 * callers: the peak, and the end. As Massif does, a branch below 1 % of its snapshot is added up
 * with its siblings, and a tree ends 30 callers deep. mem_heap_B is requested bytes; what the
 * allocator adds is not known at the peak, and so mem_heap_extra_B is 0 throughout.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export_impl.h"
#include "fa_json_read.h"

enum { DEPTH = 30, THRESHOLD_PERCENT = 1 };
enum tree { TREE_PEAK, TREE_END, N_TREES };

/* Callers, innermost first: a child is who called. */
struct node {
	uint32_t parent, label;
	uint64_t bytes[N_TREES];
	uint32_t first_child, next_sibling; /* 0: none */
};

struct massif {
	struct fa_intern labels;
	struct node *nodes; /* [0] is all of the heap */
	size_t n_nodes, room;
	struct ft_map children; /* parent << 32 | label -> node */
	const struct fa_export_source *source;
	struct ft_strbuf buf;
	FILE *out;
};

/* ---- tree --------------------------------------------------------------------------------------
 */

/* "0x1234: function (file.c:12)"; addresses are those of the file. */
static struct ft_error *label_id(struct massif *m, const struct fa_frame *frame, uint32_t *ret)
{
	ft_auto_strbuf struct ft_strbuf label;
	char text[FA_EXPORT_TEXT];

	ft_strbuf_init(&label);
	ft_strbuf_addf(&label, "0x%" PRIX64 ": ", frame->offset);
	/* '#' begins a comment, a line ends the node. */
	for (const char *c = fa_export_frame_text(frame, text); *c; c++)
		ft_strbuf_addc(&label, *c == '#' || (unsigned char)*c < ' ' ? '?' : *c);
	if (frame->file && !strpbrk(frame->file, "#\n"))
		ft_strbuf_addf(&label, " (%s:%" PRIi64 ")", frame->file, frame->line);
	else if (frame->module && !strpbrk(frame->module, "#\n"))
		ft_strbuf_addf(&label, " (in %s)", frame->module);
	if (label.failed || !fa_intern_put(&m->labels, label.data, label.len, ret, NULL))
		return &ft_enomem;
	return NULL;
}

static struct ft_error *child_of(struct massif *m, uint32_t parent, uint32_t label, uint32_t *ret)
{
	bool created = true;
	uint64_t *node =
		m->n_nodes ? ft_map_put(&m->children, (uint64_t)parent << 32 | label, &created)
			   : &(uint64_t){0};

	if (!node)
		return &ft_enomem;
	if (created) {
		if (m->n_nodes == m->room) {
			size_t room = m->room ? m->room * 2 : 1024;
			struct node *nodes = realloc(m->nodes, room * sizeof(*nodes));

			if (!nodes)
				return &ft_enomem;
			m->nodes = nodes;
			m->room = room;
		}
		*node = m->n_nodes++;
		m->nodes[*node] = (struct node){.parent = parent, .label = label};
		if (*node) {
			m->nodes[*node].next_sibling = m->nodes[parent].first_child;
			m->nodes[parent].first_child = (uint32_t)*node;
		}
	}
	*ret = (uint32_t)*node;
	return NULL;
}

static struct ft_error *add_stack(struct massif *m, const struct fa_export_stack *stack)
{
	const uint64_t bytes[N_TREES] = {stack->value[FA_METRIC_PEAK],
					 stack->value[FA_METRIC_LEAKED]};
	uint32_t node = 0, label;

	if (!bytes[TREE_PEAK] && !bytes[TREE_END])
		return NULL;
	for (size_t i = 0;; i++) {
		for (unsigned t = 0; t < N_TREES; t++)
			m->nodes[node].bytes[t] += bytes[t];
		if (i == stack->n_frames || i == DEPTH)
			return NULL;
		FT_TRY(label_id(m, &stack->frames[i], &label));
		FT_TRY(child_of(m, node, label, &node));
	}
}

/* ---- output ------------------------------------------------------------------------------------
 */

struct ranked {
	uint32_t node;
	uint64_t bytes;
};

static int most_first(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return (x->node > y->node) - (x->node < y->node);
}

/* Children that are worth a line, most bytes first, and behind them the sum of the others. */
static struct ft_error *children_of(const struct massif *m, uint32_t node, enum tree tree,
				    struct ranked **ret, size_t *n, size_t *n_small,
				    uint64_t *small)
{
	uint64_t least = m->nodes[0].bytes[tree] / 100 * THRESHOLD_PERCENT;
	struct ranked *list;
	size_t count = 0;

	for (uint32_t c = m->nodes[node].first_child; c; c = m->nodes[c].next_sibling)
		count++;
	list = malloc((count + 1) * sizeof(*list));
	if (!list)
		return &ft_enomem;
	*n = *n_small = 0;
	*small = 0;
	for (uint32_t c = m->nodes[node].first_child; c; c = m->nodes[c].next_sibling) {
		uint64_t bytes = m->nodes[c].bytes[tree];

		if (bytes && bytes >= least) {
			list[(*n)++] = (struct ranked){c, bytes};
		} else if (bytes) {
			++*n_small;
			*small += bytes;
		}
	}
	qsort(list, *n, sizeof(*list), most_first);
	*ret = list;
	return NULL;
}

/* Recursion ends DEPTH deep. */
static struct ft_error *write_node(struct massif *m, uint32_t node, enum tree tree,
				   unsigned depth) /* NOLINT(misc-no-recursion) */
{
	size_t n, n_small;
	struct ranked *list;
	struct ft_error *error;
	uint64_t small;

	FT_TRY(children_of(m, node, tree, &list, &n, &n_small, &small));
	ft_strbuf_addf(&m->buf, "%*sn%zu: %" PRIu64 " ", (int)depth, "", n + (n_small > 0),
		       m->nodes[node].bytes[tree]);
	if (node)
		ft_strbuf_add(&m->buf, m->labels.entries[m->nodes[node].label].data,
			      m->labels.entries[m->nodes[node].label].len);
	else
		ft_strbuf_adds(&m->buf, "(heap allocation functions) malloc/new/new[], "
					"--alloc-fns, etc.");
	ft_strbuf_addc(&m->buf, '\n');
	error = fa_export_flush_some(&m->buf, m->out);
	for (size_t i = 0; i < n && !error; i++)
		error = write_node(m, list[i].node, tree, depth + 1);
	if (n_small)
		ft_strbuf_addf(&m->buf,
			       "%*sn0: %" PRIu64 " in %zu place%s, all below massif's threshold "
			       "(%d.00%%)\n",
			       (int)depth + 1, "", small, n_small, n_small == 1 ? "" : "s",
			       THRESHOLD_PERCENT);
	free(list);
	return error;
}

static struct ft_error *write_snapshot(struct massif *m, size_t *number, uint64_t time_ns,
				       uint64_t bytes, const enum tree *tree)
{
	ft_strbuf_addf(&m->buf,
		       "#-----------\nsnapshot=%zu\n#-----------\ntime=%" PRIu64
		       "\nmem_heap_B=%" PRIu64 "\nmem_heap_extra_B=0\nmem_stacks_B=0\n"
		       "heap_tree=%s\n",
		       (*number)++, time_ns / 1000000, bytes,
		       !tree		    ? "empty"
		       : *tree == TREE_PEAK ? "peak"
					    : "detailed");
	FT_TRY(fa_export_flush_some(&m->buf, m->out));
	return tree ? write_node(m, 0, *tree, 0) : NULL;
}

/* A value in a header: it ends with its line. */
static void add_text(struct ft_strbuf *buf, const char *text)
{
	for (; *text; text++)
		ft_strbuf_addc(buf, *text == '#' || (unsigned char)*text < ' ' ? '?' : *text);
}

static struct ft_error *write_head(struct massif *m)
{
	ft_auto_arena struct ft_arena arena;
	const struct fa_value *summary, *argv;

	ft_arena_init(&arena);
	FT_TRY(fa_export_summary(m->source, &arena, &summary));
	argv = fa_value_get(fa_value_get(summary, "program"), "argv");
	ft_strbuf_adds(&m->buf, "desc: fraganalyze " FT_VERSION "\ncmd:");
	for (const struct fa_value *a = argv ? argv->first : NULL; a; a = a->next) {
		ft_strbuf_addc(&m->buf, ' ');
		add_text(&m->buf, a->text ? a->text : "");
	}
	if (!argv || !argv->first)
		ft_strbuf_adds(&m->buf, " (unknown)");
	ft_strbuf_adds(&m->buf, "\ntime_unit: ms\n");
	return NULL;
}

static struct ft_error *write_all(struct massif *m)
{
	static const enum tree peak_tree = TREE_PEAK, end_tree = TREE_END;
	const struct fa_totals *totals = fa_engine_totals(m->source->engine);
	const uint64_t *time, *live;
	uint64_t n = fa_export_column(m->source, "timeline.time_ns", &time);
	bool peak_written = false;
	size_t number = 0;

	if (fa_export_column(m->source, "timeline.live_bytes", &live) != n)
		n = 0;
	FT_TRY(write_head(m));
	for (uint64_t i = 0; i < n; i++) {
		if (!peak_written && totals->peak_ns <= time[i]) {
			FT_TRY(write_snapshot(m, &number, totals->peak_ns, totals->peak_bytes,
					      &peak_tree));
			peak_written = true;
		}
		FT_TRY(write_snapshot(m, &number, time[i], live[i], i + 1 == n ? &end_tree : NULL));
	}
	return fa_export_flush(&m->buf, m->out);
}

FA_EXPORT_WRITER(fa_export_massif)
{
	struct massif m = {.source = source, .out = out};
	struct fa_export_stack stack;
	struct fa_export_walk walk;
	struct ft_error *error, *walked;
	uint32_t root;

	error = child_of(&m, 0, 0, &root);
	fa_export_walk_init(&walk, source);
	while (!error && fa_export_next(&walk, &stack))
		error = add_stack(&m, &stack);
	walked = fa_export_walk_end(&walk);
	if (!error)
		error = walked ? walked : write_all(&m);
	fa_intern_deinit(&m.labels);
	ft_map_deinit(&m.children);
	ft_strbuf_deinit(&m.buf);
	free(m.nodes);
	return error;
}

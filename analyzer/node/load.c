/* SPDX-License-Identifier: MIT */
/* The rows of a machine's recording: see node_impl.h. */
#include <stdlib.h>
#include <string.h>

#include "node_impl.h"

static struct ft_error *on_zone(void *ctx, const struct ft_node_zone_row *row)
{
	struct na_node *node = ctx;
	struct na_zone *zone = &node->zones[node->n_zones];

	/* Rows of zones are numbered from 1 without gaps; others name them by their number. */
	if (node->n_zones == NA_ZONES || row->id != node->n_zones + 1 || !row->name ||
	    row->start_pfn > UINT64_MAX >> 12 || row->spanned > UINT64_MAX >> 12)
		return ft_error_create(FT_ERROR_INPUT, "%s: the recording is damaged: zone %u",
				       ft_reader_path(node->reader), row->id);
	zone->row = *row;
	zone->row.name = zone->name;
	strncpy(zone->name, row->name, sizeof(zone->name) - 1);
	node->n_zones++;
	return NULL;
}

static struct ft_error *on_free(void *ctx, const struct ft_node_free_row *row)
{
	struct na_node *node = ctx;
	struct na_moment *moment = node->n_moments ? &node->moments[node->n_moments - 1] : NULL;

	if (row->type || !row->zone || row->zone > node->n_zones)
		return NULL;
	if (!moment || moment->time_ns != row->time_ns) {
		if (!node->moments || node->n_moments == node->room) {
			size_t room = node->room ? node->room * 2 : 256;
			struct na_moment *moments = realloc(node->moments, room * sizeof(*moments));

			if (!moments)
				return &ft_enomem;
			node->moments = moments;
			node->room = room;
		}
		moment = &node->moments[node->n_moments];
		moment->time_ns = row->time_ns;
		moment->zones =
			ft_arena_alloc(&node->arena, node->n_zones * sizeof(*moment->zones));
		if (!moment->zones)
			return &ft_enomem;
		memset(moment->zones, 0, node->n_zones * sizeof(*moment->zones));
		node->n_moments++;
	}
	for (size_t o = 0; o < FT_NODE_ORDERS; o++)
		/* Sums over orders and zones stay below 2^64. */
		moment->zones[row->zone - 1].n[o] = row->n[o] & (UINT64_MAX >> 24);
	return NULL;
}

static struct ft_error *on_block(void *ctx, const struct ft_node_block_row *row)
{
	struct na_node *node = ctx;
	struct na_zone *zone;
	size_t i = 0;

	if (!row->zone || row->zone > node->n_zones || !row->type)
		return NULL;
	zone = &node->zones[row->zone - 1];
	while (i < zone->n_types && strncmp(zone->types[i].name, row->type, 31) != 0)
		i++;
	if (i == NA_TYPES)
		return NULL;
	if (i == zone->n_types) {
		strncpy(zone->types[i].name, row->type, sizeof(zone->types[i].name) - 1);
		zone->types[i].blocks_first = row->n;
		zone->n_types++;
	}
	zone->types[i].blocks_last = row->n;
	return NULL;
}

static struct ft_error *on_figure(void *ctx, const struct ft_sample_row *row)
{
	struct na_node *node = ctx;
	struct na_figure *figure;

	if (!row->source || !row->key)
		return NULL;
	for (size_t i = 0; i < node->n_figures; i++) {
		figure = &node->figures[i];
		if (!strcmp(figure->key, row->key) && !strcmp(figure->source, row->source)) {
			figure->last = row->value;
			return NULL;
		}
	}
	if (node->n_figures == NA_FIGURES)
		return NULL;
	figure = &node->figures[node->n_figures++];
	*figure = (struct na_figure){.source = ft_arena_strdup(&node->arena, row->source),
				     .key = ft_arena_strdup(&node->arena, row->key),
				     .first = row->value,
				     .last = row->value};
	return figure->source && figure->key ? NULL : &ft_enomem;
}

bool na_figure(const struct na_node *node, const char *source, const char *key, int64_t *first,
	       int64_t *last)
{
	for (size_t i = 0; i < node->n_figures; i++)
		if (!strcmp(node->figures[i].key, key) &&
		    !strcmp(node->figures[i].source, source)) {
			*first = node->figures[i].first;
			*last = node->figures[i].last;
			return true;
		}
	*first = *last = 0;
	return false;
}

/* ---- slabs ----------------------------------------------------------------------------------- */

/* Bytes of its slabs that no object is in. */
static uint64_t slab_waste(const struct ft_node_slab_row *row)
{
	uint64_t held = row->slabs * row->pages_per_slab * 4096;
	uint64_t used = row->active_objects * row->object_bytes;

	return held > used ? held - used : 0;
}

static struct ft_error *on_slab(void *ctx, const struct ft_node_slab_row *row)
{
	struct na_node *node = ctx;
	uint64_t hash = 3, *index;
	struct na_slab *slab;
	bool created;

	if (!row->cache)
		return NULL;
	for (const char *c = row->cache; *c; c++)
		hash = ft_hash_u64(hash ^ (unsigned char)*c);
	index = ft_map_put(&node->slab_index, hash, &created);
	if (!index)
		return &ft_enomem;
	if (created) {
		struct na_slab *slabs = realloc(node->slabs, (node->n_slabs + 1) * sizeof(*slabs));

		if (!slabs)
			return &ft_enomem;
		node->slabs = slabs;
		*index = node->n_slabs;
		slabs[node->n_slabs++] =
			(struct na_slab){.cache = ft_arena_strdup(&node->arena, row->cache)};
	}
	slab = &node->slabs[*index];
	if (!slab->cache)
		return &ft_enomem;
	slab->last = *row;
	slab->last.cache = slab->cache;
	slab->waste = slab_waste(row);
	return NULL;
}

static int by_waste(const void *a, const void *b)
{
	const struct na_slab *x = a, *y = b;

	if (x->waste != y->waste)
		return x->waste < y->waste ? 1 : -1;
	return strcmp(x->cache, y->cache);
}

/* ---- indices --------------------------------------------------------------------------------- */

static const struct na_moment *moment_at(const struct na_node *node, uint64_t time_ns)
{
	size_t low = 0, high = node->n_moments;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (node->moments[middle].time_ns < time_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low < node->n_moments && node->moments[low].time_ns == time_ns ? &node->moments[low]
									      : NULL;
}

/* Is what the kernel says what we compute from its free blocks? */
static struct ft_error *on_index(void *ctx, const struct ft_node_index_row *row)
{
	struct na_node *node = ctx;
	const struct na_moment *moment = moment_at(node, row->time_ns);
	bool equal = true, unusable;

	if (!row->steady || !moment || !row->zone || row->zone > node->n_zones || !row->kind)
		return NULL;
	unusable = !strcmp(row->kind, "unusable");
	for (unsigned o = 0; o < FT_NODE_ORDERS; o++) {
		const struct fa_orders *orders = &moment->zones[row->zone - 1];
		int64_t ours = unusable ? (int64_t)fa_unusable_milli(orders, o)
					: fa_extfrag_milli(orders, o);

		equal = equal && ours == row->milli[o];
	}
	node->index_lines++;
	node->index_equal += equal;
	return NULL;
}

static struct ft_error *on_action(void *ctx, const struct ft_node_action_row *row)
{
	struct na_node *node = ctx;

	if (row->kind && !strcmp(row->kind, "compact_memory") && !node->has_action) {
		node->has_action = true;
		node->action.begin_ns = row->begin_ns;
		node->action.end_ns = row->end_ns;
	}
	return NULL;
}

static struct ft_error *on_loss(void *ctx, const struct ft_loss_row *row)
{
	struct na_node *node = ctx;

	if (row->first_ns < node->lost_ns)
		node->lost_ns = row->first_ns;
	node->n_lost += row->n_events;
	return NULL;
}

/* ---- look-ups -------------------------------------------------------------------------------- */

int na_zone_of(const struct na_node *node, uint64_t pfn)
{
	for (size_t i = 0; i < node->n_zones; i++)
		if (pfn >= node->zones[i].row.start_pfn &&
		    pfn - node->zones[i].row.start_pfn < node->zones[i].row.spanned)
			return (int)i;
	return -1;
}

const struct fa_orders *na_orders_before(const struct na_node *node, size_t zone, uint64_t ns)
{
	for (size_t i = node->n_moments; i-- > 0;)
		if (node->moments[i].time_ns <= ns)
			return &node->moments[i].zones[zone];
	return NULL;
}

const struct fa_orders *na_orders_after(const struct na_node *node, size_t zone, uint64_t ns)
{
	for (size_t i = 0; i < node->n_moments; i++)
		if (node->moments[i].time_ns >= ns)
			return &node->moments[i].zones[zone];
	return NULL;
}

struct ft_error *na_load(struct na_node *node)
{
	struct ft_reader *reader = node->reader;

	node->lost_ns = UINT64_MAX;
	FT_TRY(ft_reader_node_zones(reader, on_zone, node));
	FT_TRY(ft_reader_node_free(reader, on_free, node));
	FT_TRY(ft_reader_node_blocks(reader, on_block, node));
	FT_TRY(ft_reader_samples(reader, on_figure, node));
	FT_TRY(ft_reader_node_slabs(reader, on_slab, node));
	if (node->n_slabs)
		qsort(node->slabs, node->n_slabs, sizeof(*node->slabs), by_waste);
	FT_TRY(ft_reader_node_indices(reader, on_index, node));
	FT_TRY(ft_reader_node_actions(reader, on_action, node));
	return ft_reader_losses(reader, on_loss, node);
}

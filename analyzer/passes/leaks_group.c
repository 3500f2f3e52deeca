/* SPDX-License-Identifier: MIT */
/*
 * Leaks: who answers for the growth
 *
 * Sites are whole stacks. What they grow is brought together by their innermost function (of the
 * program: what only passes a request on to malloc is left out where its name is known), and judged
 * as a sum, so that a leak that is spread over many stacks is seen, too. Then the function is
 * narrowed to a caller, so that a wrapper whose name says nothing is not accused:
 *
 *	Look outwards along the only caller to the first function that has several active ones. Take
 *	the fewest callers that hold 90 % of the growth. If the others allocate through it as well
 *but keep less than a quarter as much of it, the growth is the chosen callers': go on with each of
 *	them. Otherwise it is the function's own.
 *
 * "Keep" is growth for each byte allocated. Callers that were active in the first fifth of the run
 * only do not count: that a program warms up through the same function proves nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ft_cleanup.h"
#include "leaks_impl.h"

enum { MAX_DEPTH = 24, MAX_FRAMES = 96, MAX_CHOSEN = 8, MIN_OTHER_CALLS = 16, ACTIVE_STEPS = 3 };

static const double chosen_share = 0.9, others_keep = 0.25;

/* A stack below an innermost function that grows. */
struct member {
	uint32_t stack, first; /* first: function as an index of `first_functions` */
	double weight;	       /* bytes a second that it grows */
	uint64_t allocations, bytes_allocated;
	bool active;
	size_t n; /* of its path, innermost first */
	uint64_t *path;
};

struct node {
	uint64_t function;
	uint32_t parent, first_child, next_sibling;
	double weight;
	uint64_t allocations, bytes_allocated;
	bool active;
};

struct tree {
	struct leaks *l;
	struct fa_engine *engine;
	struct member *members; /* of one innermost function */
	size_t n_members;
	struct node *nodes; /* 0 is the innermost function */
	size_t n, capacity;
	struct ft_map children; /* parent and function, mixed -> node */
};

/* ---- functions ---------------------------------------------------------------------------------
 */

static uint64_t hash_text(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; text && *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return hash;
}

/* Same function, same number, in each run of the analysis. Without a name: the place of the call.
 */
static uint64_t identity(const struct fa_frame *frame)
{
	if (frame->function)
		return hash_text(frame->function);
	return ft_hash_u64(hash_text(frame->module) ^ frame->offset << 1);
}

/* The first `max` functions of a stack from the one that titles it outwards, recursion collapsed.
 */
static size_t functions(struct fa_engine *engine, uint32_t stack, size_t max, uint64_t *path)
{
	struct fa_frame frames[MAX_FRAMES];
	size_t n_frames = fa_engine_user_frames(engine, stack, frames, MAX_FRAMES), n = 0;

	for (size_t i = 0; i < n_frames && n < max; i++) {
		uint64_t function = identity(&frames[i]);

		if (!n || path[n - 1] != function)
			path[n++] = function;
	}
	return n;
}

/* The name at `depth` of what functions() returns. */
static const char *name_at(struct leaks *l, struct fa_engine *engine, uint32_t stack, size_t depth)
{
	struct fa_frame frames[MAX_FRAMES];
	size_t n_frames = fa_engine_user_frames(engine, stack, frames, MAX_FRAMES), n = 0;
	uint64_t last = 0;

	for (size_t i = 0; i < n_frames; i++) {
		uint64_t function = identity(&frames[i]);

		if (n && function == last)
			continue;
		last = function;
		if (n++ < depth)
			continue;
		if (frames[i].function)
			return frames[i].function;

		const char *module = frames[i].module ? frames[i].module : "";
		const char *slash = strrchr(module, '/');
		char text[320];

		snprintf(text, sizeof(text), "%.256s+0x%llx", slash ? slash + 1 : module,
			 (unsigned long long)frames[i].offset);
		return ft_arena_strdup(&l->arena, text);
	}
	return fa_engine_site_name(engine, stack);
}

/* ---- the tree of callers -----------------------------------------------------------------------
 */

static struct node *tree_child(struct tree *t, uint32_t parent, uint64_t function)
{
	bool created;
	uint64_t *index = ft_map_put(&t->children, ft_hash_u64(function) + parent, &created);

	if (!index)
		return NULL;
	if (!created)
		return &t->nodes[*index];
	if (t->n == t->capacity) {
		size_t capacity = t->capacity * 2;
		struct node *nodes = realloc(t->nodes, capacity * sizeof(*nodes));

		if (!nodes)
			return NULL;
		t->nodes = nodes;
		t->capacity = capacity;
	}
	*index = t->n;
	t->nodes[t->n] = (struct node){
		.function = function,
		.parent = parent,
		.next_sibling = t->nodes[parent].first_child,
	};
	t->nodes[parent].first_child = (uint32_t)t->n;
	return &t->nodes[t->n++];
}

static void node_add(struct node *node, const struct member *member)
{
	node->weight += member->weight;
	node->allocations += member->allocations;
	node->bytes_allocated += member->bytes_allocated;
	node->active |= member->active;
}

static struct ft_error *tree_build(struct tree *t)
{
	t->capacity = 64;
	t->nodes = calloc(t->capacity, sizeof(*t->nodes));
	if (!t->nodes)
		return &ft_enomem;
	t->n = 1;
	for (size_t i = 0; i < t->n_members; i++) {
		const struct member *member = &t->members[i];
		uint32_t at = 0;

		t->nodes[0].function = member->path[0];
		node_add(&t->nodes[0], member);
		for (size_t k = 1; k < member->n; k++) {
			struct node *node = tree_child(t, at, member->path[k]);

			if (!node)
				return &ft_enomem;
			node_add(node, member);
			at = (uint32_t)(node - t->nodes);
		}
	}
	return NULL;
}

static bool is_caller(const struct node *node)
{
	return node->active || node->weight > 0;
}

/* The callers of the first function from `at` on that has several; returns how many, heaviest
 * first (at most MAX_CHOSEN are kept), and the figures of all of them in *all. */
static size_t fork_of(const struct tree *t, uint32_t at, uint32_t heaviest[MAX_CHOSEN],
		      struct node *all)
{
	for (;;) {
		size_t n = 0, kept = 0;

		*all = (struct node){0};
		for (uint32_t c = t->nodes[at].first_child; c; c = t->nodes[c].next_sibling) {
			const struct node *node = &t->nodes[c];
			size_t to;

			if (!is_caller(node))
				continue;
			n++;
			all->weight += node->weight;
			all->allocations += node->allocations;
			all->bytes_allocated += node->bytes_allocated;
			for (to = kept; to > 0; to--) {
				const struct node *before = &t->nodes[heaviest[to - 1]];

				if (before->weight > node->weight ||
				    (before->weight == node->weight && heaviest[to - 1] < c))
					break;
				if (to < MAX_CHOSEN)
					heaviest[to] = heaviest[to - 1];
			}
			if (to < MAX_CHOSEN)
				heaviest[to] = c;
			if (kept < MAX_CHOSEN)
				kept++;
		}
		if (n != 1)
			return kept;
		at = heaviest[0];
	}
}

static double kept_share(const struct node *node)
{
	return node->bytes_allocated ? node->weight / (double)node->bytes_allocated : 0;
}

/* The callers that answer for what grows below `at`; 0: it does itself. */
static size_t guilty_callers(const struct tree *t, uint32_t at, uint32_t chosen[MAX_CHOSEN])
{
	struct node all, sum = {0}, others;
	size_t n = fork_of(t, at, chosen, &all), m = 0;

	while (m < n && sum.weight < chosen_share * all.weight) {
		const struct node *node = &t->nodes[chosen[m++]];

		sum.weight += node->weight;
		sum.allocations += node->allocations;
		sum.bytes_allocated += node->bytes_allocated;
	}
	others = (struct node){
		.weight = all.weight - sum.weight,
		.allocations = all.allocations - sum.allocations,
		.bytes_allocated = all.bytes_allocated - sum.bytes_allocated,
	};
	if (sum.weight < chosen_share * all.weight || others.allocations < MIN_OTHER_CALLS ||
	    kept_share(&others) > others_keep * kept_share(&sum))
		return 0;
	return m;
}

/* ---- groups ------------------------------------------------------------------------------------
 */

/* Nodes from the root to `at`, innermost first, without the root. */
static size_t node_path(const struct tree *t, uint32_t at, uint64_t path[MAX_DEPTH])
{
	size_t n = 0;

	for (uint32_t i = at; i; i = t->nodes[i].parent)
		n++;
	for (size_t i = n; at; at = t->nodes[at].parent)
		path[--i] = t->nodes[at].function;
	return n;
}

static bool is_below(const struct member *member, const uint64_t *path, size_t n)
{
	return member->n > n && !memcmp(member->path + 1, path, n * sizeof(*path));
}

static int compare_members(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

/* What the members of a group say together; where the noise of some hides it, what those that are
 * seen to grow say. */
static void judge_group(const struct tree *t, const struct member *const *members, size_t n,
			struct leak_group *group)
{
	struct fa_evidence sum = {0}, part;
	struct fa_growth hot = {.verdict = FA_FREED};

	for (size_t i = 0; i < n; i++) {
		struct fa_growth own;
		struct fa_site site;

		leaks_evidence(t->l, t->engine, members[i]->stack, &part);
		fa_engine_site(t->engine, members[i]->stack, &site);
		group->bytes += site.live_bytes;
		group->blocks += site.live_blocks;
		fa_growth_judge(&part, &own);
		if (leaks_is_hot(&own) && (hot.verdict == FA_FREED || own.verdict == FA_GROWING)) {
			if (hot.verdict == FA_FREED ||
			    (hot.verdict == FA_SUSPECT && own.verdict == FA_GROWING)) {
				hot = own;
			} else {
				hot.rate += own.rate;
				hot.rate_low += own.rate_low;
				hot.rate_high += own.rate_high;
				hot.growth += own.growth;
				hot.block_rate += own.block_rate;
			}
		}
		if (i)
			fa_evidence_add(&sum, &part);
		else
			sum = part;
	}
	fa_growth_judge(&sum, &group->growth);
	if (hot.verdict == FA_GROWING ? group->growth.verdict != FA_GROWING
				      : hot.verdict == FA_SUSPECT && !leaks_is_hot(&group->growth))
		group->growth = hot;
}

static struct ft_error *add_group(struct tree *t, uint32_t at)
{
	struct leaks *l = t->l;
	struct leak_group group = {0};
	uint64_t path[MAX_DEPTH];
	size_t depth = node_path(t, at, path), n = 0;
	ft_auto_free const struct member **members = calloc(t->n_members, sizeof(*members));

	if (!members)
		return &ft_enomem;
	for (size_t i = 0; i < t->n_members; i++)
		if (t->members[i].weight > 0 && is_below(&t->members[i], path, depth))
			members[n++] = &t->members[i];
	if (!n || l->n_groups == LEAKS_MAX_GROUPS)
		return NULL;
	judge_group(t, members, n, &group);
	if (!leaks_is_hot(&group.growth))
		return NULL;

	group.n_sites = n;
	group.n_stacks = n < LEAKS_MAX_GROUP_SITES ? n : LEAKS_MAX_GROUP_SITES;
	group.stacks = ft_arena_alloc(&l->arena, group.n_stacks * sizeof(*group.stacks));
	if (!group.stacks)
		return &ft_enomem;
	for (size_t i = 0; i < group.n_stacks; i++)
		group.stacks[i] = members[i]->stack;
	group.stack = members[0]->stack;
	group.depth = depth;
	group.name = name_at(l, t->engine, group.stack, depth);
	if (!group.name)
		return &ft_enomem;
	l->groups[l->n_groups++] = group;
	return NULL;
}

static struct ft_error *refine(struct tree *t, uint32_t at, unsigned depth)
{
	uint32_t chosen[MAX_CHOSEN];
	size_t n = depth < MAX_DEPTH ? guilty_callers(t, at, chosen) : 0;

	if (!n)
		return add_group(t, at);
	for (size_t i = 0; i < n; i++)
		FT_TRY(refine(t, chosen[i], depth + 1));
	return NULL;
}

/* ---- innermost functions -----------------------------------------------------------------------
 */

/* Innermost functions of the survivors, with what they hold together. */
struct first_function {
	uint64_t function;
	uint32_t survivor; /* index */
};

static int compare_first(const void *a, const void *b)
{
	const struct first_function *x = a, *y = b;

	if (x->function != y->function)
		return x->function < y->function ? -1 : 1;
	return x->survivor < y->survivor ? -1 : x->survivor > y->survivor;
}

static bool any_growing(const struct leaks *l, struct fa_engine *engine,
			const struct first_function *list, size_t n)
{
	struct fa_evidence sum = {0}, part;
	struct fa_growth growth;

	for (size_t i = 0; i < n; i++) {
		leaks_evidence(l, engine, l->survivors[list[i].survivor].stack, &part);
		fa_growth_judge(&part, &growth);
		if (leaks_is_hot(&growth))
			return true;
		if (i)
			fa_evidence_add(&sum, &part);
		else
			sum = part;
	}
	if (n < 2)
		return false;
	fa_growth_judge(&sum, &growth);
	return leaks_is_hot(&growth);
}

/* The functions below which something grows: function -> 1 + number. */
static struct ft_error *find_first(struct leaks *l, struct fa_engine *engine, struct ft_map *ret)
{
	ft_auto_free struct first_function *list = calloc(l->n_survivors + 1, sizeof(*list));
	size_t n = 0;

	if (!list)
		return &ft_enomem;
	for (size_t i = 0; i < l->n_survivors; i++) {
		uint64_t path[MAX_DEPTH];

		if (!l->survivors[i].suppressed &&
		    functions(engine, l->survivors[i].stack, 1, path))
			list[n++] = (struct first_function){path[0], (uint32_t)i};
	}
	if (n)
		qsort(list, n, sizeof(*list), compare_first);
	for (size_t i = 0, next; i < n; i = next) {
		next = i;
		while (next < n && list[next].function == list[i].function)
			next++;
		if (!any_growing(l, engine, list + i, next - i))
			continue;

		uint64_t *number = ft_map_put(ret, list[i].function, NULL);

		if (!number)
			return &ft_enomem;
		*number = ft_map_count(ret);
	}
	return NULL;
}

static double member_weight(const struct leaks *l, const struct fa_engine *engine, uint32_t stack)
{
	struct fa_evidence evidence;
	struct fa_growth growth;
	uint64_t kept = 0;

	const uint64_t *index = ft_map_get(&l->by_stack, stack);

	if (!index || l->survivors[*index].suppressed)
		return 0;
	leaks_evidence(l, engine, stack, &evidence);
	fa_growth_judge(&evidence, &growth);
	if (leaks_is_hot(&growth))
		return growth.rate > 0 ? growth.rate : 0;
	if (evidence.cohorts[0].freed_bytes)
		return 0;
	for (size_t i = 0; i < FA_TREND_COHORTS; i++)
		kept += evidence.cohorts[0].bytes[i];
	return l->life.life_s > 0 ? (double)kept / (0.6 * l->life.life_s) : 0;
}

static bool is_active(const struct leaks *l, uint32_t stack)
{
	const struct fa_track *track = &l->tracks[stack];
	unsigned n = track->step >= l->life.n_steps / 5;

	for (uint16_t i = 0; i < track->n; i++)
		n += track->values[i].step >= l->life.n_steps / 5;
	return n >= ACTIVE_STEPS;
}

static struct ft_error *find_members(struct leaks *l, struct fa_engine *engine,
				     const struct ft_map *first, struct member **ret, size_t *n_ret)
{
	size_t n = 0, capacity = 0;

	for (size_t stack = 1; stack < fa_engine_n_stacks(engine); stack++) {
		uint64_t path[MAX_DEPTH];
		struct fa_site site;
		size_t depth;

		fa_engine_site(engine, (uint32_t)stack, &site);
		if (!site.allocations && !site.live_blocks)
			continue;
		depth = functions(engine, (uint32_t)stack, 1, path);

		const uint64_t *number = depth ? ft_map_get(first, path[0]) : NULL;

		if (!number)
			continue;
		depth = functions(engine, (uint32_t)stack, MAX_DEPTH, path);
		if (n == capacity) {
			size_t bigger = capacity ? capacity * 2 : 256;
			struct member *members = realloc(*ret, bigger * sizeof(*members));

			if (!members)
				return &ft_enomem;
			*ret = members;
			capacity = bigger;
		}

		struct member *member = &(*ret)[n];

		*member = (struct member){
			.stack = (uint32_t)stack,
			.first = (uint32_t)*number,
			.weight = member_weight(l, engine, (uint32_t)stack),
			.allocations = site.allocations,
			.bytes_allocated = site.bytes_allocated,
			.active = is_active(l, (uint32_t)stack),
			.n = depth,
			.path = ft_arena_alloc(&l->arena, depth * sizeof(*path)),
		};
		if (!member->path)
			return &ft_enomem;
		memcpy(member->path, path, depth * sizeof(*path));
		*n_ret = ++n;
	}
	return NULL;
}

static int compare_by_first(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return compare_members(a, b);
}

static int compare_groups(const void *a, const void *b)
{
	const struct leak_group *x = a, *y = b;

	if (x->growth.verdict != y->growth.verdict)
		return x->growth.verdict < y->growth.verdict ? -1 : 1;
	if (x->growth.rate != y->growth.rate)
		return x->growth.rate > y->growth.rate ? -1 : 1;
	return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static struct ft_error *group_members(struct leaks *l, struct fa_engine *engine,
				      struct member *members, size_t n)
{
	struct ft_error *error = NULL;

	if (n)
		qsort(members, n, sizeof(*members), compare_by_first);
	for (size_t i = 0, next; i < n && !error; i = next) {
		struct tree t = {.l = l, .engine = engine, .members = members + i};

		next = i;
		while (next < n && members[next].first == members[i].first)
			next++;
		t.n_members = next - i;
		ft_map_init(&t.children);
		error = tree_build(&t);
		if (!error)
			error = refine(&t, 0, 0);
		free(t.nodes);
		ft_map_deinit(&t.children);
	}
	return error;
}

/* Rows know the group that names them. */
static void mark_rows(struct leaks *l)
{
	for (size_t g = 0; g < l->n_groups; g++)
		for (size_t i = 0; i < l->groups[g].n_stacks; i++)
			for (size_t r = 0; r < l->n_all; r++)
				if (l->rows[r].stack == l->groups[g].stacks[i])
					l->rows[r].group = (uint32_t)g + 1;
}

struct ft_error *leaks_group(struct leaks *l, struct fa_engine *engine)
{
	struct member *members = NULL;
	struct ft_error *error;
	struct ft_map first;
	size_t n = 0;

	ft_map_init(&first);
	error = l->life.too_short ? NULL : find_first(l, engine, &first);
	if (!error && ft_map_count(&first))
		error = find_members(l, engine, &first, &members, &n);
	if (!error)
		error = group_members(l, engine, members, n);
	if (l->n_groups)
		qsort(l->groups, l->n_groups, sizeof(*l->groups), compare_groups);
	mark_rows(l);
	free(members);
	ft_map_deinit(&first);
	return error;
}

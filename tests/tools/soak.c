/* SPDX-License-Identifier: MIT */
/*
 * Play a scenario of a soak test and write it as a recording
 *
 *	soak [-s SEED] [-x FACTOR] [-y BLOCKS] [-B MAX_BYTES] [-K EVENTS] [-I EVENTS] SCENARIO FILE
 *		writes FILE, prints the truth as JSON
 *	soak -l	names of the scenarios
 *
 * -B keeps the recording within a budget, -K writes a keyframe every so many events, -I an index
 *once there are so many; the events are the same. -x multiplies the length of the run, -y adds so
 *many blocks that live shortly, in the run's whole length. The same arguments write the same
 *events. See soak.h.
 */
#include "soak.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fragtrace/store.h"
#include "ft_pages.h"

enum {
	MAX_ACTORS = 16,
	MAX_FUNCTIONS = 1024,
	MAX_NODES = 8192,
	MAX_FAN = 512,
	CLASSES = 1024,
	TICKS = 600,
	MODULE_BASE = 0x400000,
	FUNCTION_BYTES = 0x100,
	TRAFFIC_LIVE = 50, /* blocks of it, on the mean */
};

static const uint64_t inherited_base = UINT64_C(0x700000000000);

struct block {
	uint64_t address, size;
	uint32_t stack, thread, freer;
	uint32_t generation; /* counts the uses of this entry */
	bool live, leaked;
};

/* A block by its entry, as long as that is the same block. */
struct ref {
	uint32_t index, generation;
};

struct timer {
	double at;
	uint64_t order;
	int actor;	 /* its turn, or -1: */
	struct ref dies; /* this block dies */
};

struct actor {
	const struct soak_actor *spec;
	uint32_t stacks[MAX_FAN];
	double from, to;  /* seconds */
	struct ref *held; /* capacity */
	uint32_t n_held, next;
	uint64_t size; /* of a buffer */
	uint64_t leaked_bytes, n_operations;
};

struct world {
	const struct soak_scenario *scenario;
	struct ft_writer *writer;
	struct ft_limits limits;
	struct ft_pages *pages; /* with a budget */
	uint64_t random, order;
	double now, seconds, stop; /* stop: when the actors do */

	struct block *blocks;
	size_t n_blocks, capacity;
	uint32_t *free_entries;
	size_t n_free;

	uint64_t *free_lists[CLASSES];
	size_t n_free_list[CLASSES], free_capacity[CLASSES];
	uint64_t top;

	struct timer *timers; /* a heap, earliest first */
	size_t n_timers, timers_capacity;

	struct actor actors[MAX_ACTORS];
	int n_actors;
	struct soak_actor traffic; /* of -y; without a path: none */

	char functions[MAX_FUNCTIONS][40];
	uint32_t n_functions;
	struct {
		uint32_t parent, function;
	} nodes[MAX_NODES];
	uint32_t n_nodes, n_threads;
	uint64_t n_inherited;
	struct ft_timeline_row line;
};

static void check(struct ft_error *error)
{
	if (!error)
		return;
	fprintf(stderr, "soak: %s\n", error->message);
	exit(1);
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- chance ------------------------------------------------------------------------------------
 */

static uint64_t next_random(struct world *w)
{
	/* xorshift64* */
	uint64_t x = w->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	w->random = x;
	return x * UINT64_C(0x2545f4914f6cdd1d);
}

static double uniform(struct world *w) /* in (0, 1) */
{
	return ((double)(next_random(w) >> 11) + 0.5) / 9007199254740992.0;
}

static double exponential(struct world *w, double mean)
{
	return -mean * log(uniform(w));
}

static double life_of(struct world *w, const struct soak_actor *a)
{
	switch (a->life) {
	case SOAK_EXP:
		return exponential(w, a->life_s);
	case SOAK_PARETO:
		return a->life_s * pow(uniform(w), -1 / a->alpha);
	case SOAK_UNIFORM:
		return a->life_s * uniform(w);
	case SOAK_EVER:
		break;
	}
	return INFINITY;
}

/* ---- stacks ------------------------------------------------------------------------------------
 */

static uint32_t function_of(struct world *w, const char *name, size_t len)
{
	for (uint32_t i = 0; i < w->n_functions; i++)
		if (!strncmp(w->functions[i], name, len) && !w->functions[i][len])
			return i;
	if (w->n_functions == MAX_FUNCTIONS || len >= sizeof(w->functions[0]))
		abort();
	memcpy(w->functions[w->n_functions], name, len);
	return w->n_functions++;
}

static uint64_t function_pc(uint32_t function)
{
	return MODULE_BASE + (function + UINT64_C(1)) * FUNCTION_BYTES + 0x10;
}

static uint32_t node_of(struct world *w, uint32_t parent, uint32_t function)
{
	for (uint32_t i = 1; i <= w->n_nodes; i++)
		if (w->nodes[i].parent == parent && w->nodes[i].function == function)
			return i;
	if (w->n_nodes + 1 == MAX_NODES)
		abort();
	w->n_nodes++;
	w->nodes[w->n_nodes].parent = parent;
	w->nodes[w->n_nodes].function = function;
	check(ft_writer_stack_node(
		w->writer, &(struct ft_stack_node){w->n_nodes, parent, function_pc(function)}));
	return w->n_nodes;
}

/* "main>plugin>*>value_new": the star is the caller of this number. */
static uint32_t stack_of(struct world *w, const char *path, uint32_t fan)
{
	uint32_t node = 0;

	while (*path) {
		size_t len = strcspn(path, ">");
		char caller[40];

		if (*path == '*') {
			snprintf(caller, sizeof(caller), "caller_%" PRIu32, fan);
			node = node_of(w, node, function_of(w, caller, strlen(caller)));
		} else {
			node = node_of(w, node, function_of(w, path, len));
		}
		path += len + (path[len] == '>');
	}
	return node;
}

/* ---- the heap ----------------------------------------------------------------------------------
 */

static uint64_t usable_of(uint64_t size)
{
	uint64_t usable = ((size + 8 + 15) & ~UINT64_C(15)) - 8;

	return usable < 24 ? 24 : usable;
}

static uint64_t take_address(struct world *w, uint64_t size)
{
	uint64_t usable = usable_of(size), class = usable / 16, address = w->top;

	if (class < CLASSES && w->n_free_list[class])
		return w->free_lists[class][--w->n_free_list[class]];
	w->top += usable + 8;
	return address;
}

static void give_address(struct world *w, uint64_t address, uint64_t size)
{
	uint64_t class = usable_of(size) / 16;

	if (class >= CLASSES)
		return;
	if (w->n_free_list[class] == w->free_capacity[class]) {
		w->free_capacity[class] = w->free_capacity[class] * 2 + 16;
		w->free_lists[class] = must(
			realloc(w->free_lists[class], w->free_capacity[class] * sizeof(uint64_t)));
	}
	w->free_lists[class][w->n_free_list[class]++] = address;
}

static void event(struct world *w, struct ft_event *e)
{
	e->time_ns = (uint64_t)(w->now * 1e9);
	check(ft_writer_event(w->writer, e, NULL));
}

static struct ref born(struct world *w, uint64_t size, uint32_t stack, uint32_t thread,
		       uint32_t freer)
{
	uint32_t index;

	if (w->n_free) {
		index = w->free_entries[--w->n_free];
	} else {
		if (w->n_blocks == w->capacity) {
			w->capacity = w->capacity * 2 + 1024;
			w->blocks = must(realloc(w->blocks, w->capacity * sizeof(*w->blocks)));
			w->free_entries = must(
				realloc(w->free_entries, w->capacity * sizeof(*w->free_entries)));
		}
		index = (uint32_t)w->n_blocks++;
		w->blocks[index] = (struct block){0};
	}

	struct block *block = &w->blocks[index];

	*block = (struct block){
		.address = take_address(w, size),
		.size = size,
		.stack = stack,
		.thread = thread,
		.freer = freer ? freer : thread,
		.generation = block->generation + 1,
		.live = true,
	};
	event(w, &(struct ft_event){.kind = FT_EVENT_ALLOC,
				    .api = FT_API_MALLOC,
				    .address = block->address,
				    .size = size,
				    .usable = usable_of(size),
				    .stack = stack,
				    .thread = thread});
	w->line.n_allocs++;
	w->line.bytes_allocated += size;
	w->line.live_blocks++;
	w->line.live_bytes += size;
	w->line.usable_bytes += usable_of(size);
	return (struct ref){index, block->generation};
}

static void died(struct world *w, struct ref ref)
{
	struct block *block = &w->blocks[ref.index];

	if (!block->live || block->generation != ref.generation)
		return;
	event(w, &(struct ft_event){.kind = FT_EVENT_FREE,
				    .api = FT_API_FREE,
				    .address = block->address,
				    .thread = block->freer});
	block->live = false;
	give_address(w, block->address, block->size);
	w->free_entries[w->n_free++] = ref.index;
	w->line.n_frees++;
	w->line.bytes_freed += block->size;
	w->line.live_blocks--;
	w->line.live_bytes -= block->size;
	w->line.usable_bytes -= usable_of(block->size);
}

static void resized(struct world *w, struct ref ref, uint64_t size)
{
	struct block *block = &w->blocks[ref.index];
	uint64_t address = take_address(w, size);

	event(w, &(struct ft_event){.kind = FT_EVENT_REALLOC,
				    .api = FT_API_REALLOC,
				    .address = address,
				    .old_address = block->address,
				    .size = size,
				    .usable = usable_of(size),
				    .stack = block->stack,
				    .thread = block->thread});
	give_address(w, block->address, block->size);
	w->line.live_bytes += size - block->size;
	w->line.usable_bytes += usable_of(size) - usable_of(block->size);
	block->address = address;
	block->size = size;
}

/* ---- time --------------------------------------------------------------------------------------
 */

static bool before(const struct timer *a, const struct timer *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct world *w, struct timer timer)
{
	size_t i = w->n_timers++;

	if (!(timer.at < w->seconds)) {
		w->n_timers--; /* after the end */
		return;
	}
	if (i == w->timers_capacity) {
		w->timers_capacity = w->timers_capacity * 2 + 1024;
		w->timers = must(realloc(w->timers, w->timers_capacity * sizeof(*w->timers)));
	}
	timer.order = w->order++;
	for (; i && before(&timer, &w->timers[(i - 1) / 2]); i = (i - 1) / 2)
		w->timers[i] = w->timers[(i - 1) / 2];
	w->timers[i] = timer;
}

static struct timer pop(struct world *w)
{
	struct timer first = w->timers[0], last = w->timers[--w->n_timers];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= w->n_timers)
			break;
		if (child + 1 < w->n_timers && before(&w->timers[child + 1], &w->timers[child]))
			child++;
		if (!before(&w->timers[child], &last))
			break;
		w->timers[i] = w->timers[child];
		i = child;
	}
	if (w->n_timers)
		w->timers[i] = last;
	return first;
}

/* ---- actors ------------------------------------------------------------------------------------
 */

static struct ref make(struct world *w, struct actor *a)
{
	const struct soak_actor *s = a->spec;
	uint64_t size = s->size + (s->spread ? next_random(w) % (s->spread + 1) : 0);
	uint32_t fan = s->fan ? (uint32_t)(next_random(w) % s->fan) : 0;

	return born(w, size, a->stacks[fan], s->thread ? s->thread : 1, s->freer);
}

/* Never to be freed, but by a teardown. */
static void leak(struct world *w, struct actor *a, struct ref ref)
{
	w->blocks[ref.index].leaked = true;
	if (a->spec->guilty)
		a->leaked_bytes += w->blocks[ref.index].size;
}

static void flow(struct world *w, struct actor *a)
{
	for (uint32_t i = 0; i < (a->spec->burst ? a->spec->burst : 1); i++) {
		struct ref ref = make(w, a);
		double life = life_of(w, a->spec);

		if (a->spec->life == SOAK_EVER || uniform(w) < a->spec->keep)
			leak(w, a, ref);
		else
			push(w, (struct timer){.at = w->now + life, .actor = -1, .dies = ref});
	}
}

static void lru(struct world *w, struct actor *a)
{
	uint32_t at = a->next;

	if (a->n_held < a->spec->capacity) {
		at = a->n_held++;
	} else {
		if (a->spec->random)
			at = (uint32_t)(next_random(w) % a->spec->capacity);
		else
			a->next = (a->next + 1) % a->spec->capacity;
		died(w, a->held[at]);
	}
	a->held[at] = make(w, a);
}

static void fill(struct world *w, struct actor *a)
{
	uint32_t key = (uint32_t)(next_random(w) % a->spec->capacity);

	if (!a->held[key].generation)
		a->held[key] = make(w, a);
}

static void saw(struct world *w, struct actor *a)
{
	if (a->n_held == a->spec->capacity)
		while (a->n_held)
			died(w, a->held[--a->n_held]);
	a->held[a->n_held++] = make(w, a);
}

static void buffer(struct world *w, struct actor *a)
{
	const struct soak_actor *s = a->spec;

	if (!a->size) {
		a->size = s->kind == SOAK_STEADY ? s->size : s->size * 16;
		a->held[0] = born(w, a->size, a->stacks[0], 1, 0);
		if (s->kind == SOAK_BUFFER)
			leak(w, a, a->held[0]);
		return;
	}
	if (s->kind == SOAK_STEADY) {
		resized(w, a->held[0], s->size + next_random(w) % (s->spread + 1));
	} else if (s->kind == SOAK_BUFFER) {
		a->size += s->size;
		a->leaked_bytes += s->size;
		resized(w, a->held[0], a->size);
	} else if (a->n_held < s->capacity && ++a->n_held * s->size > a->size) {
		struct ref old = a->held[0];

		a->size *= 2;
		a->held[0] = born(w, a->size, a->stacks[0], 1, 0);
		died(w, old);
	}
}

static void thread_run(struct world *w, struct actor *a)
{
	uint32_t id = ++w->n_threads, first = a->stacks[0];
	struct ref work, context;

	while (w->nodes[first].parent)
		first = w->nodes[first].parent;
	check(ft_writer_thread(w->writer,
			       &(struct ft_thread_row){
				       .id = id,
				       .tid = 2000 + id,
				       .name = "worker",
				       .start_function = function_pc(w->nodes[first].function),
				       .start_ns = (uint64_t)(w->now * 1e9),
				       .end_ns = (uint64_t)((w->now + 2) * 1e9),
			       }));
	context = born(w, a->spec->size, a->stacks[0], id, 0);
	work = born(w, 100 + next_random(w) % 5000, a->stacks[0], id, 0);
	push(w, (struct timer){.at = w->now + 1, .actor = -1, .dies = work});
	if (uniform(w) < a->spec->keep)
		leak(w, a, context);
	else
		push(w, (struct timer){.at = w->now + 2, .actor = -1, .dies = context});
}

static void act(struct world *w, struct actor *a)
{
	const struct soak_actor *s = a->spec;

	switch (s->kind) {
	case SOAK_OPERATE:
		check(ft_writer_mark(w->writer, &(struct ft_mark_row){
							.time_ns = (uint64_t)(w->now * 1e9),
							.kind = "user",
							.label = "order",
						}));
		a->n_operations++;
		flow(w, a);
		break;
	case SOAK_FLOW:
		flow(w, a);
		break;
	case SOAK_LRU:
		lru(w, a);
		break;
	case SOAK_FILL:
		fill(w, a);
		break;
	case SOAK_SAW:
		saw(w, a);
		break;
	case SOAK_BUFFER:
	case SOAK_DOUBLE:
	case SOAK_STEADY:
		buffer(w, a);
		break;
	case SOAK_ONCE:
		for (uint32_t i = 0; i < s->capacity; i++)
			make(w, a);
		break;
	case SOAK_THREADS:
		thread_run(w, a);
		break;
	case SOAK_INHERIT:
		event(w, &(struct ft_event){.kind = FT_EVENT_FREE,
					    .api = FT_API_FREE,
					    .address = inherited_base + w->n_inherited++ * 512,
					    .thread = 1});
		break;
	}
}

/* The next turn; a daily cycle thins the turns out. */
static void turn(struct world *w, int index)
{
	struct actor *a = &w->actors[index];
	const struct soak_actor *s = a->spec;
	double load = 1 + s->daily * sin(w->now / 86400 * 2 * M_PI - M_PI / 2);
	double most = 1 + s->daily;

	if (w->now >= a->to)
		return;
	if (s->daily <= 0 || uniform(w) * most < load)
		act(w, a);
	if (s->kind == SOAK_ONCE)
		return;

	double pause = s->regular ? s->period * (0.9 + 0.2 * uniform(w))
				  : exponential(w, s->period / most);

	push(w, (struct timer){.at = w->now + pause, .actor = index});
}

/* ---- a run -------------------------------------------------------------------------------------
 */

static void add_actor(struct world *w, const struct soak_actor *s)
{
	struct actor *a = &w->actors[w->n_actors];

	a->spec = s;
	a->held = must(calloc(s->capacity + 1, sizeof(*a->held)));
	for (uint32_t i = 0; i < (s->fan ? s->fan : 1); i++)
		a->stacks[i] = stack_of(w, s->path, i);
	a->from = s->from * w->seconds;
	a->to = s->to > 0 ? s->to * w->seconds : w->seconds;
	if (a->to > w->stop)
		a->to = w->stop;
	push(w, (struct timer){.at = a->from + uniform(w) * s->period, .actor = w->n_actors});
	w->n_actors++;
}

static void begin(struct world *w)
{
	for (const struct soak_actor *s = w->scenario->actors; s->path; s++)
		add_actor(w, s);
	if (w->traffic.path)
		add_actor(w, &w->traffic);
}

static void tick(struct world *w, double at)
{
	w->line.time_ns = (uint64_t)(at * 1e9);
	w->line.peak_bytes = w->line.live_bytes;
	w->line.rss = (int64_t)(w->line.usable_bytes * 5 / 4 + 2000000);
	w->line.pss = w->line.anon = -1;
	w->line.swap = w->line.tracer = -1;
	check(ft_writer_timeline(w->writer, &w->line));
	if (w->limits.max_bytes)
		check(ft_writer_commit(w->writer, true));
}

/* All that is live dies, spread over the rest of the run. */
static void tear_down(struct world *w)
{
	double from = w->stop,
	       step = w->scenario->teardown * w->seconds / (double)(w->n_blocks + 2);

	for (uint32_t i = 0; i < w->n_blocks; i++) {
		const struct block *block = &w->blocks[i];

		if (!block->live || (block->leaked && !w->scenario->frees_leaks))
			continue;
		w->now = from + step * (i + 1);
		died(w, (struct ref){i, block->generation});
	}
}

static void play(struct world *w)
{
	double next_tick = w->seconds / TICKS;

	begin(w);
	while (w->n_timers) {
		struct timer timer = pop(w);

		if (timer.at >= w->stop)
			break;
		for (; timer.at >= next_tick; next_tick += w->seconds / TICKS)
			tick(w, next_tick);
		w->now = timer.at;
		if (timer.actor >= 0)
			turn(w, timer.actor);
		else
			died(w, timer.dies);
	}
	if (w->scenario->teardown > 0)
		tear_down(w);
	tick(w, w->seconds);
}

static void facts(struct world *w)
{
	static const char *const names[] = {"main", "producer", "consumer"};
	uint64_t end_ns = (uint64_t)(w->seconds * 1e9);

	check(ft_writer_process(
		w->writer, &(struct ft_process_row){
				   .pid = 1000,
				   .ppid = 1,
				   .exe = "/usr/bin/soak",
				   .argv_json = "[\"soak\"]",
				   .parent_recording = w->scenario->child ? "parent.frag" : NULL,
				   .fork_ns = w->scenario->child ? 0 : FT_TIME_NONE,
				   .start_realtime_ns = 1700000000000000000,
				   .end_ns = end_ns,
				   .exit_kind = "exit",
			   }));
	for (uint32_t i = 1; i <= 3; i++)
		check(ft_writer_thread(w->writer, &(struct ft_thread_row){.id = i,
									  .tid = 999 + i,
									  .name = names[i - 1],
									  .end_ns = end_ns}));
	check(ft_writer_module(w->writer,
			       &(struct ft_module_row){
				       .id = 1,
				       .path = "/usr/bin/soak",
				       .bias = MODULE_BASE,
				       .start = MODULE_BASE,
				       .end = MODULE_BASE + MAX_FUNCTIONS * FUNCTION_BYTES * 2,
				       .unload_ns = FT_TIME_NONE,
			       }));
}

static void name_functions(struct world *w, const char *path)
{
	struct ft_symbol_writer *writer;

	check(ft_symbol_writer_open(path, &writer));
	for (uint32_t i = 0; i < w->n_functions; i++)
		check(ft_symbol_writer_add(writer, &(struct ft_symbol_row){
							   .module = 1,
							   .offset = function_pc(i) - MODULE_BASE,
							   .function = w->functions[i],
							   .file = "soak.c",
							   .line = 10 + i,
						   }));
	check(ft_symbol_writer_commit(writer));
	ft_symbol_writer_close(writer);
}

static const char *leaf(const char *path)
{
	const char *last = strrchr(path, '>');

	return last ? last + 1 : path;
}

static const char *answers(const struct soak_actor *s)
{
	return s->guilty ? s->guilty : leaf(s->path);
}

/* Actors of one function are one site here: the first guilty one speaks, or else the first. */
static int speaker(const struct world *w, const char *function)
{
	int found = -1;

	for (int i = w->n_actors; i-- > 0;)
		if (!strcmp(answers(w->actors[i].spec), function) &&
		    (found < 0 || w->actors[i].spec->guilty || !w->actors[found].spec->guilty))
			found = i;
	return found;
}

static void print_site(const struct world *w, const struct actor *a)
{
	const struct soak_actor *s = a->spec;
	const char *function = answers(s);
	uint64_t leaked = 0, operations = 0;

	for (int i = 0; i < w->n_actors; i++) {
		if (strcmp(answers(w->actors[i].spec), function) != 0)
			continue;
		leaked += w->actors[i].leaked_bytes;
		operations += w->actors[i].n_operations;
	}
	printf("{\"function\":\"%s\",\"leak\":%s", function, s->guilty ? "true" : "false");
	if (s->guilty)
		printf(",\"rate\":%.6g,\"tolerance\":%.2f", (double)leaked / (a->to - a->from),
		       s->tolerance > 0 ? s->tolerance : 0.10);
	if (s->guilty && operations)
		printf(",\"per_operation\":%.6g", (double)leaked / (double)operations);
	printf("}");
}

static void print_truth(const struct world *w, uint64_t seed)
{
	const char *separator = "";

	printf("{\"scenario\":\"%s\",\"what\":\"%s\",\"seed\":%" PRIu64 ",\"sites\":[",
	       w->scenario->name, w->scenario->what, seed);
	for (int i = 0; i < w->n_actors; i++) {
		if (speaker(w, answers(w->actors[i].spec)) != i)
			continue;
		fputs(separator, stdout);
		print_site(w, &w->actors[i]);
		separator = ",";
	}
	puts("]}");
}

int main(int argc, char **argv)
{
	static struct world w;
	uint64_t seed = 1;
	double factor = 1, traffic = 0;
	int option;

	while ((option = getopt(argc, argv, "s:x:y:B:K:I:l")) != -1) {
		switch (option) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'x':
			factor = strtod(optarg, NULL);
			break;
		case 'y':
			traffic = strtod(optarg, NULL);
			break;
		case 'B':
			w.limits.max_bytes = strtoull(optarg, NULL, 0);
			break;
		case 'K':
			w.limits.keyframe_events = strtoull(optarg, NULL, 0);
			break;
		case 'I':
			w.limits.index_events = strtoull(optarg, NULL, 0);
			break;
		case 'l':
			for (const struct soak_scenario *s = soak_scenarios; s->name; s++)
				puts(s->name);
			return 0;
		default:
			return 2;
		}
	}
	for (const struct soak_scenario *s = soak_scenarios; s->name && optind + 2 == argc; s++)
		if (!strcmp(s->name, argv[optind]))
			w.scenario = s;
	if (!w.scenario || factor <= 0) {
		fprintf(stderr,
			"usage: soak [-s SEED] [-x FACTOR] [-y BLOCKS] [-B MAX_BYTES] [-K EVENTS]"
			" [-I EVENTS] SCENARIO FILE | soak -l\n");
		return 2;
	}
	w.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 88172645463325252u;
	w.seconds = w.scenario->seconds * factor;
	if (traffic > 0)
		w.traffic = (struct soak_actor){.path = "main>relay>forward_packet",
						.period = w.seconds / traffic,
						.size = 64,
						.spread = 1500,
						.life = SOAK_EXP,
						.life_s = w.seconds / traffic * TRAFFIC_LIVE};
	w.stop = w.seconds * (1 - w.scenario->teardown);
	if (w.scenario->idle_from > 0)
		w.stop = w.seconds * w.scenario->idle_from;
	w.top = UINT64_C(0x555555559000) + 0x2a0;
	w.n_threads = 3;
	check(ft_writer_create(argv[optind + 1], &w.writer));
	if (w.limits.max_bytes || w.limits.keyframe_events || w.limits.index_events)
		check(ft_writer_set_limits(w.writer, &w.limits));
	if (w.limits.max_bytes) {
		w.pages = must(ft_pages_create());
		check(ft_writer_set_pages(w.writer, ft_pages_counter(w.pages)));
	}
	play(&w);
	facts(&w);
	check(ft_writer_finish(w.writer));
	ft_pages_destroy(w.pages);
	name_functions(&w, argv[optind + 1]);
	print_truth(&w, seed);
	return 0;
}

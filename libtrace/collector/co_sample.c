/* SPDX-License-Identifier: MIT */
/* The sampler: see co_sample.h. */
#include "co_sample.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "co_cgroup.h"
#include "co_elf.h"
#include "co_pages.h"
#include "co_procfs.h"
#include "ft_cleanup.h"

#define MS INT64_C(1000000)

enum { SMAPS_MAX = 64 << 20, MAX_THREAD_NAMES = 256, VIEWS_MAX = 4 };

/* A session as the sampler keeps it. */
struct sampled {
	struct co_session *session; /* a reference */
	int statm_fd;
	int64_t started, next_rss, next_full;
	struct co_maps maps; /* the last full sample */
	struct co_cgroup cgroup;
	int64_t pss, anon, swap, tracer;
	struct co_pages pages;
	const char *residency; /* what the recording says of it so far; NULL: nothing */
	uint32_t part;	       /* which of the session's recordings these are of */
};

static void sampled_destroy(struct sampled *s)
{
	if (s->statm_fd >= 0)
		close(s->statm_fd);
	co_maps_deinit(&s->maps);
	co_pages_close(&s->pages);
	co_session_unref(s->session);
	free(s);
}

static void find_cgroup(struct sampled *s)
{
	char path[64];
	ft_auto_free char *text = NULL;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)s->session->pid);
	text = co_procfs_read(path, 4096);
	if (text)
		co_cgroup_find(&s->cgroup, text, "/sys/fs/cgroup");
}

static struct sampled *sampled_create(struct co_session *session)
{
	struct sampled *s = calloc(1, sizeof(*s));
	char path[64];

	if (!s)
		return NULL;
	s->session = co_session_ref(session);
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)session->pid);
	s->statm_fd = open(path, O_RDONLY | O_CLOEXEC);
	co_pages_open(&s->pages, session->pid);
	s->started = co_clock_monotonic();
	s->next_rss = s->started + 2 * MS;
	s->next_full = s->started + 10 * MS;
	s->pss = s->anon = s->swap = s->tracer = -1;
	find_cgroup(s);
	return s;
}

/* ---- resident size ---------------------------------------------------------------------------
 */

static void put_rss(struct sampled *s, int64_t now, int64_t rss)
{
	struct co_session *session = s->session;

	pthread_mutex_lock(&session->lock);
	session->rss[session->n_rss++ % CO_RSS_SAMPLES] =
		(struct co_rss){.time_ns = co_session_time(session, now),
				.rss = rss,
				.pss = s->pss,
				.anon = s->anon,
				.swap = s->swap,
				.tracer = s->tracer};
	if (session->n_rss >= 2 * CO_RSS_SAMPLES) /* keeps the index, bounds the count */
		session->n_rss -= CO_RSS_SAMPLES;
	pthread_mutex_unlock(&session->lock);
	s->pss = s->anon = s->swap = s->tracer = -1; /* each reading is used once */
}

/* Resident bytes, or -1. */
static int64_t read_rss(const struct sampled *s)
{
	char text[128];
	uint64_t size, resident;
	ssize_t n = s->statm_fd >= 0 ? pread(s->statm_fd, text, sizeof(text) - 1, 0) : -1;

	if (n <= 0)
		return -1;
	text[n] = 0;
	if (sscanf(text, "%" SCNu64 " %" SCNu64, &size, &resident) != 2 || !size)
		return -1;
	return (int64_t)(resident * (uint64_t)sysconf(_SC_PAGESIZE));
}

static void sample_rss(struct sampled *s, int64_t now)
{
	int64_t rss = read_rss(s);

	if (rss >= 0)
		put_rss(s, now, rss);
}

/* ---- full samples ---------------------------------------------------------------------------- */

/* Rows go to the write thread in blocks of the sampler's own. */
struct rows {
	struct co_session *session;
	uint32_t part;
	struct co_spill_block *block;
};

/* False when the row is left out: no memory, or the disk is behind, where events come first. */
static bool rows_add(struct rows *rows, struct co_op *op)
{
	if (!op)
		return false;
	if (!rows->block)
		rows->block = co_spill_try_get(rows->session->spill);
	if (!rows->block) {
		free(op);
		return false;
	}
	co_block_add(rows->block, op);
	return true;
}

static void rows_put(struct rows *rows)
{
	if (!rows->block)
		return;
	rows->block->session = co_session_ref(rows->session);
	rows->block->part = rows->part;
	co_spill_put(rows->session->spill, rows->block);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_map(const struct co_map *a, const struct co_map *b)
{
	return a->start == b->start && a->end == b->end && a->rss == b->rss && a->swap == b->swap &&
	       a->kind == b->kind && strcmp(a->perms, b->perms) == 0 && same_text(a->path, b->path);
}

static void add_map_row(struct rows *rows, uint64_t time_ns, const struct co_map *map, bool gone)
{
	struct ft_mapping_row row = {.time_ns = time_ns,
				     .start = map->start,
				     .end = gone ? map->start : map->end,
				     .perms = map->perms,
				     .path = map->path,
				     .kind = map->kind,
				     .rss = gone ? 0 : map->rss,
				     .swap = gone ? 0 : map->swap};

	rows_add(rows, co_op_mapping(&row));
}

/* Rows for what is new, changed or gone; both lists are in order of addresses. */
static void write_changes(struct rows *rows, uint64_t time_ns, const struct co_maps *old,
			  const struct co_maps *new)
{
	size_t i = 0;

	for (size_t j = 0; j < new->n; j++) {
		const struct co_map *map = &new->maps[j];

		for (; i < old->n && old->maps[i].start < map->start; i++)
			add_map_row(rows, time_ns, &old->maps[i], true);
		if (i < old->n && old->maps[i].start == map->start) {
			if (!same_map(&old->maps[i], map))
				add_map_row(rows, time_ns, map, false);
			i++;
		} else {
			add_map_row(rows, time_ns, map, false);
		}
	}
	for (; i < old->n; i++)
		add_map_row(rows, time_ns, &old->maps[i], true);
}

/* Say once how residency is known, and again when that changes. */
static void tell_residency(struct sampled *s, struct rows *rows, const char *method)
{
	if (s->residency == method)
		return;
	s->residency = method;
	rows_add(rows, co_op_meta("residency", method));
	if (strcmp(method, "none") == 0)
		rows_add(rows, co_op_meta("residency_error", strerror(s->pages.open_errno)));
}

/*
 * What is seen of the address space in one go
 *
 * The parts are read one after another while the program runs on: they belong together only as far
 * as little time has passed between them.
 */
struct view {
	struct co_maps maps;
	int64_t at;			  /* CLOCK_MONOTONIC when the mappings were asked for, */
	int64_t pages_begun, pages_ended; /* and while the pages were */
	int64_t rss;			  /* bytes, directly after the pages; -1: unknown */
	bool has_pages;
};

/* The pages of all mappings that can hold blocks. */
static void view_pages(struct sampled *s, struct view *view)
{
	struct co_pages *pages = &s->pages;

	if (pages->fd < 0)
		return;
	view->pages_begun = co_clock_monotonic();
	co_pages_begin(pages);
	for (size_t i = 0; i < view->maps.n; i++) {
		const struct co_map *map = &view->maps.maps[i];

		if (strcmp(map->kind, "heap") != 0 && strcmp(map->kind, "arena") != 0 &&
		    strcmp(map->kind, "mmap") != 0)
			continue;
		if (map->rss == 0 && map->swap == 0)
			co_pages_absent(pages, map->start, map->end);
		else if (!co_pages_scan(pages, map->start, map->end))
			return; /* it is ending, or has exec'ed */
	}
	view->rss = read_rss(s);
	view->pages_ended = co_clock_monotonic();
	view->has_pages = !pages->overflow;
}

/* False when the process has ended, or there is no memory. */
static bool view_take(struct sampled *s, struct view *view)
{
	char path[64];
	char *text;

	*view = (struct view){.at = co_clock_monotonic(), .rss = -1};
	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)s->session->pid);
	text = co_procfs_read(path, SMAPS_MAX);
	if (!text || !*text || !co_maps_parse(&view->maps, text, s->session->segment.inode)) {
		if (text && !*text)
			free(text);
		return false;
	}
	view_pages(s, view);
	return true;
}

/* What this thread has worked so far: a machine that is busy with other things makes a sample late,
 * not dear. */
static int64_t worked(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

/* Look again when others had the processor in between, as on a busy machine they do for tens of
 * milliseconds: a sample of two moments fits neither. */
static bool view_take_undisturbed(struct sampled *s, struct view *view)
{
	for (int i = 1;; i++) {
		int64_t work = worked(), waited;

		if (!view_take(s, view))
			return false;
		work = worked() - work;
		waited = co_clock_monotonic() - view->at - work;
		if (waited <= MS || waited <= work / 4 || i == VIEWS_MAX)
			return true;
		co_maps_deinit(&view->maps);
	}
}

static void write_pages(struct sampled *s, struct rows *rows, const struct view *view)
{
	struct co_pages *pages = &s->pages;

	if (pages->fd < 0)
		tell_residency(s, rows, "none");
	if (!view->has_pages)
		return;

	int64_t took = view->pages_ended - view->pages_begun;
	const struct ft_residency_row row = {
		.time_ns = co_session_time(s->session, view->pages_begun + took / 2),
		.took_ns = (uint64_t)took,
		.method = co_pages_method(pages),
		.page_bytes = (uint32_t)pages->page_bytes,
		.rss = view->rss,
		.unchanged = co_pages_unchanged(pages),
		.runs = pages->runs,
		.n_runs = pages->n_runs,
	};

	if (rows_add(rows, co_op_residency(&row)))
		co_pages_keep(pages);
	tell_residency(s, rows, row.method);
}

static void sample_rollup(struct sampled *s, struct rows *rows, uint64_t time_ns)
{
	static const char *const keys[] = {"Rss",  "Pss",      "Anonymous",    "Private_Dirty",
					   "Swap", "LazyFree", "AnonHugePages"};
	char path[64];
	ft_auto_free char *text = NULL;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)s->session->pid);
	text = co_procfs_read(path, 65536);
	if (!text)
		return;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		int64_t value = co_procfs_kb(text, keys[i]);

		if (value >= 0)
			rows_add(rows, co_op_sample(time_ns, "smaps_rollup", keys[i], value));
	}
	s->pss = co_procfs_kb(text, "Pss");
	s->anon = co_procfs_kb(text, "Anonymous");
	s->swap = co_procfs_kb(text, "Swap");
}

static void sample_cgroup(struct sampled *s, struct rows *rows, uint64_t time_ns)
{
	int64_t used = co_cgroup_used(&s->cgroup), limit = co_cgroup_limit(&s->cgroup);

	if (used >= 0)
		rows_add(rows, co_op_sample(time_ns, "cgroup", "memory.current", used));
	if (limit >= 0)
		rows_add(rows, co_op_sample(time_ns, "cgroup", "memory.max", limit));
}

static bool is_announced(struct co_session *session, const struct co_map *map)
{
	bool found = false;

	pthread_mutex_lock(&session->lock);
	for (uint32_t i = 0; i < session->n_modules && !found; i++) {
		const struct co_module *module = &session->modules[i];

		/* One that the tracer has told of was unloaded, or is back and the word under way.
		 */
		found = map->start < module->row.end && map->end > module->row.start &&
			(module->live ||
			 (module->serial && same_text(module->row.path, map->path)));
	}
	pthread_mutex_unlock(&session->lock);
	return found;
}

/* A file whose code was mapped at the last sample already, and that the tracer never told of. */
static void announce(struct co_session *session, struct rows *rows, uint64_t time_ns,
		     const struct co_maps *maps, const struct co_map *map)
{
	struct ft_module_row row = {.path = map->path,
				    .start = map->start,
				    .end = map->end,
				    .load_ns = time_ns,
				    .unload_ns = FT_TIME_NONE};
	struct co_elf elf;
	char path[4200];

	/* Through the program's own root: a container's files are not ours. */
	snprintf(path, sizeof(path), "/proc/%d/root%s", (int)session->pid, map->path);
	if (!co_elf_read(path, &elf) || elf.kind != CO_ELF_NATIVE ||
	    !co_elf_bias(&elf, map->start, map->offset, &row.bias))
		return;
	row.build_id = elf.build_id;
	for (size_t i = 0; i < maps->n; i++) { /* the neighbours of the same file */
		const struct co_map *other = &maps->maps[i];

		if (other->inode != map->inode || !same_text(other->path, map->path))
			continue;
		if (other->start < row.start)
			row.start = other->start;
		if (other->end > row.end)
			row.end = other->end;
	}
	rows_add(rows, co_session_add_module(session, &row, 0));
}

static void find_modules(struct sampled *s, struct rows *rows, uint64_t time_ns,
			 struct co_maps *maps)
{
	size_t i = 0;

	for (size_t j = 0; j < maps->n; j++) {
		struct co_map *map = &maps->maps[j];

		if (map->perms[2] != 'x' || !map->path || map->path[0] != '/' ||
		    is_announced(s->session, map))
			continue;
		while (i < s->maps.n && s->maps.maps[i].start < map->start)
			i++;
		map->unannounced = true;
		if (i < s->maps.n && s->maps.maps[i].start == map->start &&
		    s->maps.maps[i].unannounced)
			announce(s->session, rows, time_ns, maps, map);
	}
}

/* Names change (pthread_setname_np, after the start): read those of the living again. */
static void sample_names(struct co_session *session, struct rows *rows)
{
	uint32_t n_rings = co_segment_n_rings_used(&session->segment);

	for (uint32_t i = 0; i < n_rings && i < MAX_THREAD_NAMES; i++) {
		struct co_thread thread;
		struct co_op *op = NULL;
		char path[96];
		ft_auto_free char *name = NULL;

		pthread_mutex_lock(&session->lock);
		thread = session->rings[i].thread;
		pthread_mutex_unlock(&session->lock);
		if (!thread.live || !thread.serial)
			continue;

		snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)session->pid,
			 thread.tid);
		name = co_procfs_read(path, 64);
		if (!name)
			continue;
		name[strcspn(name, "\n")] = 0;
		name[FT_WIRE_NAME < strlen(name) ? FT_WIRE_NAME : strlen(name)] = 0;
		if (!*name || strcmp(name, thread.name) == 0)
			continue;

		pthread_mutex_lock(&session->lock);
		if (session->rings[i].thread.live &&
		    session->rings[i].thread.serial == thread.serial) {
			struct co_thread *t = &session->rings[i].thread;
			struct ft_thread_row row = {.id = t->serial,
						    .tid = t->tid,
						    .name = t->name,
						    .start_function = t->start_function,
						    .start_ns = t->start_ns,
						    .end_ns = FT_TIME_NONE};

			strcpy(t->name, name);
			op = co_op_thread(&row);
		}
		pthread_mutex_unlock(&session->lock);
		rows_add(rows, op);
	}
}

bool co_sample_has_left(const struct co_session *session)
{
	char path[64];
	struct co_maps maps;
	bool has_segment = false;
	char *text;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)session->pid);
	text = co_procfs_read(path, SMAPS_MAX);
	if (!text || !*text || !co_maps_parse(&maps, text, session->segment.inode)) {
		if (text && !*text)
			free(text);
		return false;
	}
	for (size_t i = 0; i < maps.n && !has_segment; i++)
		has_segment = maps.maps[i].inode == session->segment.inode;
	has_segment = has_segment || maps.n == 0;
	co_maps_deinit(&maps);
	return !has_segment;
}

/* In the next recording nothing is as it was before: it has no before. */
static void begin_part(struct sampled *s)
{
	uint32_t part = atomic_load_explicit(&s->session->part, memory_order_acquire);

	if (part == s->part)
		return;
	s->part = part;
	s->residency = NULL;
	co_maps_deinit(&s->maps);
	s->maps = (struct co_maps){0};
	co_pages_forget(&s->pages);
}

static void sample_full(struct sampled *s)
{
	struct co_session *session = s->session;
	struct rows rows = {.session = session};
	struct view view;
	bool has_segment = false;
	int64_t tracer = 0;

	begin_part(s);
	rows.part = s->part;
	if (!view_take_undisturbed(s, &view))
		return;
	for (size_t i = 0; i < view.maps.n; i++) {
		const struct co_map *map = &view.maps.maps[i];

		has_segment |= map->inode == session->segment.inode;
		if (strcmp(map->kind, "tracer") == 0 && map->rss > 0)
			tracer += map->rss;
	}
	if (view.maps.n && !has_segment) {
		/* Another image runs under this pid, one that is not traced. */
		co_maps_deinit(&view.maps);
		co_session_end(session, CO_END_EXEC, -1);
		return;
	}

	uint64_t time_ns = co_session_time(session, view.at);

	write_pages(s, &rows, &view);
	write_changes(&rows, time_ns, &s->maps, &view.maps);
	find_modules(s, &rows, time_ns, &view.maps);
	sample_rollup(s, &rows, time_ns);
	s->tracer = tracer;
	sample_cgroup(s, &rows, time_ns);
	sample_names(session, &rows);
	rows_put(&rows);
	co_maps_deinit(&s->maps);
	s->maps = view.maps;
	sample_rss(s, view.at);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Sample what is due; returns when it is due next. */
static int64_t sample_session(struct sampled *s)
{
	int64_t now = co_clock_monotonic();

	if (atomic_load_explicit(&s->session->ended, memory_order_acquire))
		return now + 3600 * 1000 * MS;
	if (now >= s->next_full) {
		/* Short programs are worth a look, too. */
		int64_t took = worked(), gap = (now - s->started) / 10;

		gap = gap < 100 * MS ? 100 * MS : gap > 1000 * MS ? 1000 * MS : gap;
		sample_full(s);
		took = worked() - took;
		if (took * 100 > gap)
			gap = took * 100;
		if ((now - s->started) / 3600 > gap)
			gap = (now - s->started) / 3600;
		s->next_full = now + gap;
		s->next_rss = now + 100 * MS;
	} else if (now >= s->next_rss) {
		sample_rss(s, now);
		s->next_rss = now + 100 * MS;
	}
	return s->next_full < s->next_rss ? s->next_full : s->next_rss;
}

/* Match our list with the roster's: keep who is still there, add who is new. */
static void sync_sampled(struct sampled ***list, uint32_t *n, const struct co_roster_copy *copy)
{
	struct sampled **fresh = calloc(copy->n + 1, sizeof(struct sampled *));
	uint32_t n_fresh = 0;

	if (!fresh)
		return;
	for (uint32_t i = 0; i < copy->n; i++) {
		struct sampled *found = NULL;

		for (uint32_t j = 0; j < *n && !found; j++)
			if ((*list)[j] && (*list)[j]->session == copy->sessions[i]) {
				found = (*list)[j];
				(*list)[j] = NULL;
			}
		if (!found)
			found = sampled_create(copy->sessions[i]);
		if (found)
			fresh[n_fresh++] = found;
	}
	for (uint32_t j = 0; j < *n; j++)
		if ((*list)[j])
			sampled_destroy((*list)[j]);
	free(*list);
	*list = fresh;
	*n = n_fresh;
}

void co_sample_run(struct co_roster *roster)
{
	struct co_roster_copy copy = {0};
	struct sampled **list = NULL;
	uint32_t n = 0;

	while (!atomic_load_explicit(&roster->stopping, memory_order_acquire)) {
		int64_t next = co_clock_monotonic() + 1000 * MS, now;

		if (co_roster_refresh(roster, &copy))
			sync_sampled(&list, &n, &copy);
		for (uint32_t i = 0; i < n; i++) {
			int64_t due = sample_session(list[i]);

			if (due < next)
				next = due;
		}
		now = co_clock_monotonic();
		if (next > now)
			co_roster_nap(roster, &copy, NULL, next - now);
	}
	for (uint32_t i = 0; i < n; i++)
		sampled_destroy(list[i]);
	free(list);
	co_roster_copy_deinit(&copy);
}

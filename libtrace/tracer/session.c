/* SPDX-License-Identifier: MIT */
/* Settings and the shared segment: see tr_session.h. */
#include "tr_session.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "ft_governor.h"
#include "ft_hello.h"
#include "ft_sample.h"
#include "tr_collector.h"
#include "tr_governor.h"
#include "tr_index.h"
#include "tr_module.h"
#include "tr_real.h"
#include "tr_record.h"
#ifdef __x86_64__
#include "tr_rules.h"
#endif
#include "tr_sample.h"
#include "tr_thread.h"

struct tr_settings tr_settings;
struct tr_session tr_session;

/* ---- settings ------------------------------------------------------------------------------- */

static const char *lookup(char **envp, const char *name)
{
	size_t n = strlen(name);

	for (; envp && *envp; envp++)
		if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
			return *envp + n + 1;
	return NULL;
}

static void copy_text(char *to, size_t size, const char *from)
{
	tr_append(to, to + size, from ? from : "");
}

/* The collector gets what it needs to find files and to speak; not LD_PRELOAD, and no secrets. */
static void copy_environment(char **envp)
{
	static const char *const prefixes[] = {"FRAGTRACE_", "PATH=", "HOME=",	 "LANG=",
					       "LC_",	     "TZ=",   "TMPDIR=", "XDG_CACHE_HOME="};
	struct tr_settings *s = &tr_settings;

	for (; envp && *envp; envp++) {
		size_t bytes = strlen(*envp) + 1;
		bool wanted = false;

		for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
			wanted |= strncmp(*envp, prefixes[i], strlen(prefixes[i])) == 0;
		if (!wanted || s->environment_bytes + bytes > sizeof(s->environment))
			continue;
		memcpy(s->environment + s->environment_bytes, *envp, bytes);
		s->environment_bytes += (unsigned)bytes;
	}
}

/* Our own programs are not the program under test. */
static bool is_own_program(void)
{
	static const char *const own[] = {"fragtrace", "fragtrace-collector", "fraganalyze"};
	char exe[1024] = "";
	long n = tr_sys(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", exe, sizeof(exe) - 1);
	const char *name;

	if (n <= 0)
		return false;
	exe[n] = '\0';
	name = strrchr(exe, '/');
	for (size_t i = 0; name && i < sizeof(own) / sizeof(own[0]); i++)
		if (strcmp(name + 1, own[i]) == 0)
			return true;
	return false;
}

static enum ft_unwind parse_unwind(const char *text)
{
	static const char *const names[FT_UNWIND_N] = {"auto", "dwarf", "fp", "none", "libunwind"};

	for (int i = 0; text && i < FT_UNWIND_N; i++)
		if (strcmp(text, names[i]) == 0)
			return (enum ft_unwind)i;
	if (text && *text)
		tr_say("stacks as with FRAGTRACE_UNWIND=auto: there is no ", text, 0);
	return FT_UNWIND_AUTO;
}

static uint64_t parse_sample(const char *text)
{
	uint64_t bytes = text ? ft_sample_parse(text) : 0;

	if (text && *text && !bytes && strcmp(text, "0") != 0)
		tr_say("recording every block: FRAGTRACE_SAMPLE is a size of at most 64MiB, not ",
		       text, 0);
	return bytes;
}

static uint32_t parse_overhead(const char *text, bool sampling)
{
	uint32_t limit = text ? ft_overhead_parse(text) : 0;

	if (text && *text && !limit)
		tr_say("no limit: FRAGTRACE_MAX_OVERHEAD is a percentage from 0.1% to 1000%, not ",
		       text, 0);
	if (limit && sampling)
		tr_say("no limit of the overhead: ", "a sample is recorded", 0);
	return sampling ? 0 : limit;
}

static bool is_on(char **envp, const char *name)
{
	const char *text = lookup(envp, name);

	return text && strcmp(text, "1") == 0;
}

/* Is `what` a word of the list? All are where nothing is said. */
static bool follows(const char *list, const char *what)
{
	size_t n = strlen(what);

	if (!list || !*list)
		return true;
	while (*list) {
		size_t word = strcspn(list, ",");

		if (word == n && strncmp(list, what, n) == 0)
			return true;
		list += word;
		list += *list == ',';
	}
	return false;
}

bool tr_settings_read(char **envp)
{
	struct tr_settings *s = &tr_settings;
	const char *full = lookup(envp, "FRAGTRACE_ON_FULL");
	uint64_t kib = tr_parse_number(lookup(envp, "FRAGTRACE_RING_KIB"), 0);

	s->verbose = is_on(envp, FT_ENV_VERBOSE);
	s->drop_on_full = full && strcmp(full, "drop") == 0;
	s->stall_limit_ms =
		(uint32_t)tr_parse_number(lookup(envp, "FRAGTRACE_STALL_LIMIT_MS"), 2000);
	s->depth = (unsigned)tr_parse_number(lookup(envp, "FRAGTRACE_DEPTH"), TR_DEFAULT_DEPTH);
	if (s->depth < 1 || s->depth > TR_MAX_DEPTH)
		s->depth = TR_MAX_DEPTH;
	s->unwind = parse_unwind(lookup(envp, "FRAGTRACE_UNWIND"));
	s->self_check = is_on(envp, "FRAGTRACE_SELF_CHECK");
	s->free_stacks = is_on(envp, "FRAGTRACE_FREE_STACKS");
	s->sample_bytes = parse_sample(lookup(envp, FT_ENV_SAMPLE));
	s->max_overhead = parse_overhead(lookup(envp, FT_ENV_MAX_OVERHEAD), s->sample_bytes != 0);
	s->sample_seed = tr_parse_number(lookup(envp, FT_ENV_SAMPLE_SEED), 0);
	s->ring_bytes = FT_SEGMENT_RING_BYTES;
	if (kib >= 64 && kib <= 64 << 10 && (kib & (kib - 1)) == 0)
		s->ring_bytes = kib << 10;
	s->max_nodes = tr_parse_number(lookup(envp, "FRAGTRACE_MAX_NODES"), FT_SEGMENT_MAX_NODES);
	if (s->max_nodes < 2)
		s->max_nodes = 2; /* node 0 is none */
#ifndef __x86_64__
	if (s->unwind == FT_UNWIND_DWARF || s->unwind == FT_UNWIND_FP)
		s->unwind = FT_UNWIND_AUTO;
	s->self_check = false; /* it would compare the reference with itself */
#endif
	s->usual_stacks = s->unwind == FT_UNWIND_AUTO && !s->self_check;
	copy_text(s->socket, sizeof(s->socket), lookup(envp, FT_ENV_SOCKET));
	s->own_collector = !s->socket[0];
	s->socket_known = s->socket[0];
	s->follow_fork = follows(lookup(envp, FT_ENV_FOLLOW), "fork");
	s->follow_exec = follows(lookup(envp, FT_ENV_FOLLOW), "exec");
	copy_text(s->output, sizeof(s->output), lookup(envp, FT_ENV_OUTPUT));
	copy_text(s->collector, sizeof(s->collector), lookup(envp, FT_ENV_COLLECTOR));
	copy_environment(envp);
	return !is_own_program();
}

/* ---- the segment ---------------------------------------------------------------------------- */

struct layout {
	uint32_t n_rings;
	uint64_t max_nodes;
	uint64_t rings_at, nodes_at, bodies_at, size;
};

static uint64_t page_up(uint64_t n)
{
	return (n + 4095) & ~UINT64_C(4095);
}

static struct layout plan(uint32_t n_rings, uint64_t max_nodes)
{
	struct layout l = {.n_rings = n_rings, .max_nodes = max_nodes};

	l.rings_at = page_up(sizeof(struct ft_segment_header));
	l.nodes_at = page_up(l.rings_at + n_rings * sizeof(struct ft_ring_header));
	l.bodies_at = page_up(l.nodes_at + max_nodes * sizeof(struct ft_segment_node));
	l.size = l.bodies_at + n_rings * tr_settings.ring_bytes;
	return l;
}

/* Past RLIMIT_FSIZE the kernel would send SIGXFSZ (set_size() lifts the soft one); of RLIMIT_AS and
 * RLIMIT_DATA, which count what is reserved and not only what is touched, we leave the program
 * most. */
static bool fits_limits(const struct layout *l)
{
	uint64_t bytes = l->size;
	uint64_t private_bytes = l->n_rings * sizeof(*tr_lanes) + tr_index_bytes(l->max_nodes);
	struct rlimit limit = {0};

	if (tr_sys(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit) == 0 && bytes > limit.rlim_max)
		return false;
	if (tr_sys(SYS_prlimit64, 0, RLIMIT_AS, NULL, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur / 8)
		return false;
	if (tr_sys(SYS_prlimit64, 0, RLIMIT_DATA, NULL, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY && private_bytes > limit.rlim_cur / 8)
		return false;
	return true;
}

/* This thread is the only one there is. */
static long set_size(int fd, uint64_t size)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY}, lifted;
	long failed;

	tr_sys(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit);
	lifted = limit;
	lifted.rlim_cur = limit.rlim_max;
	if (limit.rlim_cur < size)
		tr_sys(SYS_prlimit64, 0, RLIMIT_FSIZE, &lifted, NULL);
	failed = tr_sys(SYS_ftruncate, fd, size);
	if (limit.rlim_cur < size)
		tr_sys(SYS_prlimit64, 0, RLIMIT_FSIZE, &limit, NULL);
	return failed;
}

static int map_segment(const struct layout *l, struct ft_segment_header **ret)
{
	int fd = (int)tr_sys(SYS_memfd_create, "fragtrace", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	long base;

	if (fd < 0)
		return fd;
	if (set_size(fd, l->size) < 0) {
		tr_close(fd);
		return -ENOSPC;
	}
	base = tr_sys(SYS_mmap, NULL, l->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		      fd, 0);
	if (base < 0 && base > -4096) {
		tr_close(fd);
		return (int)base;
	}
	tr_sys(SYS_madvise, base, l->size, MADV_DONTDUMP);
	/* A forked child has nothing to write there. */
	tr_sys(SYS_madvise, base, l->size, MADV_DONTFORK);
	*ret = (void *)base;
	return fd;
}

static int64_t clock_ns(int clock)
{
	struct timespec now = {0};

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void fill_header(struct ft_segment_header *h, const struct layout *l, int32_t parent_pid,
			uint64_t fork_stamp)
{
	long n;

	h->version = FT_SEGMENT_VERSION;
	h->n_rings = l->n_rings;
	h->ring_bytes = tr_settings.ring_bytes;
	h->max_nodes = l->max_nodes;
	h->rings_at = l->rings_at;
	h->nodes_at = l->nodes_at;
	h->bodies_at = l->bodies_at;
	h->size = l->size;
	h->clock_source = tr_use_tsc ? FT_CLOCK_TSC : FT_CLOCK_MONOTONIC;
	h->pid = (int32_t)tr_sys(SYS_getpid);
	h->ppid = (int32_t)tr_sys(SYS_getppid);
	h->parent_pid = parent_pid;
	h->fork_stamp = fork_stamp;
	copy_text(h->output, sizeof(h->output), tr_settings.output);
	n = tr_sys(SYS_getcwd, h->cwd, sizeof(h->cwd));
	if (n <= 0)
		h->cwd[0] = '\0';
	n = tr_sys(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", h->exe, sizeof(h->exe) - 1);
	h->exe[n > 0 ? n : 0] = '\0';
	h->argv_bytes = (uint32_t)tr_read_file("/proc/self/cmdline", h->argv, sizeof(h->argv));
	h->options = tr_settings.unwind | (tr_settings.self_check ? FT_OPTION_SELF_CHECK : 0) |
		     (tr_settings.free_stacks ? FT_OPTION_FREE_STACKS : 0);
	h->sample_bytes = tr_settings.sample_bytes;
	h->max_overhead = tr_settings.max_overhead;
	/* The stamp first: no event is older than the start. */
	h->start_stamp = tr_stamp();
	h->start_monotonic_ns = clock_ns(CLOCK_MONOTONIC);
	h->start_realtime_ns = clock_ns(CLOCK_REALTIME);
	h->start_boottime_ns = clock_ns(CLOCK_BOOTTIME);
	h->magic = FT_SEGMENT_MAGIC;
}

/* A page of its own: the kernel empties it in every child that gets a copy. */
static uint32_t *make_alive(void)
{
	long page = tr_sys(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page < 0 && page > -4096)
		return NULL;
	if (tr_sys(SYS_madvise, page, 4096, MADV_WIPEONFORK) < 0) {
		tr_sys(SYS_munmap, page, 4096);
		return NULL;
	}
	return (uint32_t *)page;
}

static void release(const struct layout *l, struct ft_segment_header *header)
{
	tr_index_reset();
	if (tr_lanes)
		tr_sys(SYS_munmap, tr_lanes, l->n_rings * sizeof(*tr_lanes));
	tr_lanes = NULL;
	if (header)
		tr_sys(SYS_munmap, header, l->size);
}

/* The largest layout that this process has room for. Returns the segment's descriptor. */
static int make_memory(struct layout *l, struct ft_segment_header **header)
{
	static const struct {
		uint32_t n_rings;
		uint64_t max_nodes;
	} sizes[] = {{FT_SEGMENT_N_RINGS, FT_SEGMENT_MAX_NODES},
		     {1024, 1 << 22},
		     {256, 1 << 20},
		     {32, 1 << 18},
		     {8, 1 << 16}};
	int fd = -ENOMEM;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		*l = plan(sizes[i].n_rings, sizes[i].max_nodes < tr_settings.max_nodes
						    ? sizes[i].max_nodes
						    : tr_settings.max_nodes);
		*header = NULL;
		if (!fits_limits(l))
			continue;
		fd = map_segment(l, header);
		if (fd < 0)
			continue;
		tr_lanes = tr_reserve_memory(l->n_rings * sizeof(*tr_lanes));
		if (tr_lanes && tr_index_init(l->max_nodes))
			return fd;
		release(l, *header);
		tr_close(fd);
		fd = -ENOMEM;
	}
	return fd;
}

void tr_session_account(void)
{
	struct ft_segment_header *header = tr_session.header;
	uint32_t lanes;

	if (!header)
		return;
	lanes = atomic_load_explicit(&header->n_rings_used, memory_order_relaxed);
	atomic_store_explicit(&header->tracer_bytes,
			      lanes * sizeof(*tr_lanes) + tr_index_memory() + tr_modules_memory() +
				      tr_sample_memory() + tr_governor_memory() +
#ifdef __x86_64__
				      tr_rules_memory() +
				      (lanes < TR_N_MEMOS ? lanes : TR_N_MEMOS) *
					      sizeof(struct tr_memo) +
#endif
				      sizeof(tr_settings) + TR_BOOT_BYTES,
			      memory_order_relaxed);
}

bool tr_session_start(int32_t parent_pid, uint64_t fork_stamp)
{
	struct tr_session *s = &tr_session;
	struct layout l;
	struct ft_segment_header *header;
	uint64_t parent_key;
	int fd, failed;

	if (!s->alive)
		s->alive = make_alive();
	if (!s->alive) {
		tr_say("not recording: ", "no memory that a fork wipes", 0);
		return false;
	}
	fd = make_memory(&l, &header);
	if (fd < 0) {
		tr_say("not recording: ", "no memory for the shared segment", fd);
		return false;
	}
	fill_header(header, &l, parent_pid, fork_stamp);
	parent_key = fork_stamp ? s->key : 0;
	s->key = tr_random();
	failed = tr_collector_connect(fd, s->key, parent_key);
	tr_close(fd);
	if (failed) {
		tr_say("not recording: ", "no collector", failed);
		release(&l, header);
		return false;
	}

	s->header = header;
	s->rings = (struct ft_ring_header *)(void *)((char *)header + l.rings_at);
	s->nodes = (struct ft_segment_node *)(void *)((char *)header + l.nodes_at);
	s->bodies = (char *)header + l.bodies_at;
	s->segment_bytes = l.size;
	s->nodes_bytes = l.bodies_at;
	atomic_store(&s->n_lanes, l.n_rings);
	atomic_store(&s->node_limit, l.max_nodes);
	s->pid = header->pid;
	s->started_ns = (uint64_t)header->start_monotonic_ns;
	atomic_store(&s->stalled_at, 0);
	atomic_store(&header->tracer_bytes, 0);
	tr_threads_reset();
	tr_modules_reset();
	tr_sample_start(tr_settings.sample_bytes, tr_settings.sample_seed);
	tr_governor_start(tr_settings.max_overhead, header);
	*(uint32_t *)(uintptr_t)s->alive = 1;
	atomic_store_explicit(&s->state, TR_READY, memory_order_release);
	tr_say("recording", "", 0);
	return true;
}

/* ---- fork ------------------------------------------------------------------------------------ */

/* Taken by the forking thread, just before. Its own: threads may fork at one time, and the parent's
 * is forgotten, lest a later child of _Fork() or a raw clone take it for its own. */
static __thread uint64_t fork_stamp;

/* The child finds the collector by the name that this has given, also if nobody of its ancestors is
 * left by then. Many threads may write the same at one time. */
static void learn_socket(const struct ft_segment_header *header)
{
	if (tr_session_live() && !tr_settings.socket_known &&
	    atomic_load_explicit(&header->attached, memory_order_acquire) == FT_ATTACHED_SERVED) {
		copy_text(tr_settings.socket, sizeof(tr_settings.socket), header->socket);
		tr_settings.socket_known = true;
	}
}

void tr_session_before_fork(void)
{
	learn_socket(tr_session.header);
	fork_stamp = tr_stamp();
}

void tr_session_parent_forked(void)
{
	fork_stamp = 0;
}

void tr_session_after_fork(void)
{
	struct tr_session *s = &tr_session;
	int32_t parent = s->pid;

	/* Whoever is here first; the wiped word stays 0 until the new session is complete. */
	uint32_t ready = TR_READY;

	if (*s->alive || !atomic_compare_exchange_strong(&s->state, &ready, TR_OFF))
		return;

	if (tr_self.owner) {
		/* A handler that interrupted a hook has forked. The hook will go on here too, and
		 * write into a segment that was not inherited: give it a private one, and leave
		 * this child untraced. */
		tr_sys(SYS_mmap, s->header, s->nodes_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		tr_sys(SYS_mmap, s->bodies, (char *)s->header + s->segment_bytes - s->bodies,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		return;
	}
	tr_index_reset();
	/* Copies of the parent's lanes: the address space is ours to give back. */
	if (tr_lanes)
		tr_sys(SYS_munmap, tr_lanes, s->n_lanes * sizeof(*tr_lanes));
	tr_lanes = NULL;
	s->header = NULL;
	tr_threads_reset();
	if (tr_settings.follow_fork)
		tr_session_start(parent, fork_stamp ? fork_stamp : tr_stamp());
	fork_stamp = 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

void tr_session_goodbye(void)
{
	struct ft_segment_header *segment = tr_session.header;
	bool waits = tr_session.pid == 1;
	uint64_t until;

	/* A vfork child shares our memory, but not our end. */
	if (!tr_session_live() || tr_sys(SYS_getpid) != tr_session.pid)
		return;
	tr_record_last();
	atomic_store(&segment->exiting, waits ? FT_EXITING_WAITING : FT_EXITING_GOODBYE);
	if (!waits)
		return;
	atomic_fetch_add(&segment->doorbell, 1);
	tr_sys(SYS_futex, &segment->doorbell, FUTEX_WAKE, 1);
	until = tr_stamp_clock() + UINT64_C(2000000000);
	/* A collector that has not come yet is on its way, and is waited for, too. */
	while (atomic_load(&segment->attached) != FT_ATTACHED_REFUSED &&
	       !atomic_load(&segment->committed)) {
		uint64_t now = tr_stamp_clock();
		struct timespec left = {.tv_sec = (time_t)((until - now) / 1000000000),
					.tv_nsec = (long)((until - now) % 1000000000)};

		if (now >= until)
			break;
		tr_sys(SYS_futex, &segment->committed, FUTEX_WAIT, 0, &left);
	}
}

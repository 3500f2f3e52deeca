/* SPDX-License-Identifier: MIT */
/*
 * setrlimit() and prlimit(): a limit that the program sets is the program's
 *
 * RLIMIT_AS and RLIMIT_DATA count what is reserved. The segment and the tables beside it reserve
 * gigabytes of which little is ever touched; under a limit of the program's that would be all there
 * is, and its next malloc would fail. Before the limit comes, what was never touched is given back.
 * Limits that are there at the start are looked at when the segment is made (session.c).
 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "tr_index.h"
#include "tr_session.h"
#include "tr_sys.h"
#include "tr_thread.h"

#define HOOK __attribute__((visibility("default")))

static uint64_t page_up(uint64_t n)
{
	return (n + 4095) & ~UINT64_C(4095);
}

/* Less than `more` than what is in use, others may take at this moment. */
static uint64_t at_least(uint64_t wanted, uint64_t used, uint64_t more)
{
	return wanted > used + more ? wanted : used + more;
}

static void drop_rings(uint64_t wanted)
{
	struct tr_session *s = &tr_session;
	uint32_t had = atomic_load(&s->n_lanes), used = atomic_load(&s->header->n_rings_used), n;
	uint64_t lanes, lanes_had = page_up(had * sizeof(*tr_lanes)), bytes;

	n = (uint32_t)at_least(wanted, used, 8);
	if (n >= had)
		return;
	/* Who has taken one by what it read before is in the count that is read after. */
	atomic_store(&s->n_lanes, n);
	used = atomic_load(&s->header->n_rings_used);
	if (used > n && used <= had)
		atomic_store(&s->n_lanes, n = used);
	bytes = (uint64_t)(s->bodies - (char *)s->header) + n * s->header->ring_bytes;
	if (bytes < s->segment_bytes)
		tr_sys(SYS_munmap, (char *)s->header + bytes, s->segment_bytes - bytes);
	s->segment_bytes = bytes;
	lanes = page_up(n * sizeof(*tr_lanes));
	if (lanes < lanes_had)
		tr_sys(SYS_munmap, (char *)tr_lanes + lanes, lanes_had - lanes);
}

static void drop_nodes(uint64_t wanted)
{
	enum { MORE = 1 << 16 };
	struct tr_session *s = &tr_session;
	uint64_t n = at_least(wanted, atomic_load(&s->header->n_nodes), MORE), bytes;

	if (n >= atomic_load(&s->node_limit))
		return;
	atomic_store(&s->node_limit, n);
	bytes = page_up((uint64_t)((char *)(s->nodes + n) - (char *)s->header));
	if (bytes < s->nodes_bytes)
		tr_sys(SYS_munmap, (char *)s->header + bytes, s->nodes_bytes - bytes);
	s->nodes_bytes = bytes;
	tr_index_trim(n);
}

void tr_session_make_room(uint64_t limit)
{
	enum { NODE_BYTES = sizeof(struct ft_segment_node) + 8 + 32 }; /* with its index */
	static _Atomic bool busy;
	uint64_t share = limit / 16;

	/* A vfork child limits itself, not us. */
	if (!tr_session_live() || tr_sys(SYS_getpid) != tr_session.pid ||
	    atomic_exchange(&busy, true))
		return;
	drop_rings(share / (tr_session.header->ring_bytes + sizeof(*tr_lanes)));
	drop_nodes(share / NODE_BYTES);
	atomic_store(&busy, false);
}

static int set(int pid, int resource, const struct rlimit *limit, struct rlimit *old)
{
	long failed;

	if (limit && limit->rlim_cur != RLIM_INFINITY &&
	    (resource == RLIMIT_AS || resource == RLIMIT_DATA) &&
	    (pid == 0 || pid == tr_session.pid))
		tr_session_make_room(limit->rlim_cur);
	failed = tr_sys(SYS_prlimit64, pid, resource, limit, old);
	if (failed < 0)
		errno = (int)-failed;
	return failed < 0 ? -1 : 0;
}

/* Under names of their own: with 64-bit offsets, libc's header makes both the same. */
int tr_hook_setrlimit(int resource, const struct rlimit *limit) __asm__("setrlimit");
int tr_hook_setrlimit64(int resource, const struct rlimit *limit) __asm__("setrlimit64");
int tr_hook_prlimit(int pid, int resource, const struct rlimit *limit,
		    struct rlimit *old) __asm__("prlimit");
int tr_hook_prlimit64(int pid, int resource, const struct rlimit *limit,
		      struct rlimit *old) __asm__("prlimit64");

HOOK int tr_hook_setrlimit(int resource, const struct rlimit *limit)
{
	return set(0, resource, limit, NULL);
}

HOOK int tr_hook_setrlimit64(int resource, const struct rlimit *limit)
{
	return set(0, resource, limit, NULL);
}

HOOK int tr_hook_prlimit(int pid, int resource, const struct rlimit *limit, struct rlimit *old)
{
	return set(pid, resource, limit, old);
}

HOOK int tr_hook_prlimit64(int pid, int resource, const struct rlimit *limit, struct rlimit *old)
{
	return set(pid, resource, limit, old);
}

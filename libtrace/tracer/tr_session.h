/* SPDX-License-Identifier: MIT */
/*
 * The tracer's side of one recording: settings, shared segment, the way to the collector
 *
 * A session is one process image. It starts in the constructor, and anew in each forked child,
 * whose memory of the parent's session is stale from the first instruction on: `alive` points to a
 * word that the kernel clears in every child that has a copy of our memory (MADV_WIPEONFORK), be it
 * by fork(), _Fork() or a raw clone. A vfork child shares memory and stays in the parent's session.
 */
#ifndef TR_SESSION_H
#define TR_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ft_segment.h"
#include "tr_sys.h"

struct tr_settings {
	bool verbose;
	bool drop_on_full;	 /* FRAGTRACE_ON_FULL=drop */
	uint32_t stall_limit_ms; /* FRAGTRACE_STALL_LIMIT_MS */
	unsigned depth;		 /* FRAGTRACE_DEPTH: frames kept of a stack */
	enum ft_unwind unwind;	 /* FRAGTRACE_UNWIND */
	bool self_check;	 /* FRAGTRACE_SELF_CHECK: compare each stack with libunwind's */
	bool free_stacks;	 /* FRAGTRACE_FREE_STACKS: take the stack of a free too */
	uint64_t sample_bytes;	 /* FRAGTRACE_SAMPLE; 0: everything is recorded */
	uint32_t max_overhead;	 /* FRAGTRACE_MAX_OVERHEAD, in millionths; 0: no limit */
	uint64_t sample_seed;	 /* FRAGTRACE_SAMPLE_SEED; 0: another one each time */
	bool usual_stacks;	 /* unwind is AUTO, and nothing is compared */
	uint64_t ring_bytes;	 /* FRAGTRACE_RING_KIB, a power of two */
	uint64_t max_nodes;	 /* FRAGTRACE_MAX_NODES: of the tree of stacks, at most */
	bool own_collector;	 /* no FRAGTRACE_SOCKET: we start a collector ourselves */
	bool follow_fork, follow_exec; /* FRAGTRACE_FOLLOW */
	char socket[108];	       /* abstract name, without the leading NUL */
	bool socket_known;	       /* it is the collector's own, not an ancestor's */
	char output[1024];
	char collector[1024];	   /* path of the program; "" if there is none */
	char environment[8 << 10]; /* for the collector: NAME=VALUE strings */
	unsigned environment_bytes;
};

extern struct tr_settings tr_settings;

enum tr_state {
	TR_OFF = 0,   /* hooks only forward */
	TR_READY = 1, /* hooks record */
};

struct tr_session {
	_Atomic uint32_t state;
	const uint32_t *alive; /* 1 in the process that owns this session */
	int32_t pid;
	uint64_t key; /* ft_hello.h; a forked child inherits it, and shows it as its parent's */
	struct ft_segment_header *header;
	struct ft_ring_header *rings;
	struct ft_segment_node *nodes;
	char *bodies;
	uint64_t segment_bytes;
	uint64_t nodes_bytes; /* from the header's start to the end of the nodes that are mapped */
	/* What is mapped here of the rings and nodes that the segment has: see
	 * tr_session_make_room(). */
	_Atomic uint32_t n_lanes;
	_Atomic uint64_t node_limit;
	uint64_t started_ns;	     /* CLOCK_MONOTONIC */
	_Atomic uint64_t stalled_at; /* heartbeat + 1 at which a wait was given up; 0: never */
};

extern struct tr_session tr_session;

static inline bool tr_session_live(void)
{
	return tr_likely(atomic_load_explicit(&tr_session.state, memory_order_relaxed) ==
			 TR_READY) &&
	       tr_likely(*tr_session.alive);
}

/* Read the environment, once, before main(). False: this program is not to be traced. */
bool tr_settings_read(char **envp);

/* Make the segment, find or start the collector, and become TR_READY. False: stays TR_OFF.
 * fork_stamp 0: not a forked child. */
bool tr_session_start(int32_t parent_pid, uint64_t fork_stamp);

/* The program ends by itself. Says so, and waits, at most 2 s, until what was published is in the
 * file, if its end is the end of the collector too: PID 1 of a namespace takes all others with it.
 * Once is enough; more calls do no harm. */
void tr_session_goodbye(void);

/*
 * The program is about to limit its address space, or its data, to so many bytes: what is reserved
 * and was never touched is given back, as far as it is more than an eighth of that. There are then
 * fewer rings, and stacks that find no place in the tree travel raw.
 */
void tr_session_make_room(uint64_t limit);

/* Tell the collector how much private memory we have touched, at most. */
void tr_session_account(void);

/* Around a fork: in the parent, last thing before it and first after it; in the child, by the
 * atfork handler or by the first hook that finds `alive` wiped. */
void tr_session_before_fork(void);
void tr_session_parent_forked(void);
void tr_session_after_fork(void);

#endif

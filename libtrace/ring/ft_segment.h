/* SPDX-License-Identifier: MIT */
/*
 * The shared segment of one process image
 *
 * A memfd that the traced process maps whole and hands to the collector, which maps it too:
 *
 *	0            struct ft_segment_header
 *	rings_at     n_rings x struct ft_ring_header (a page each would waste: 192 bytes each)
 *	nodes_at     max_nodes x struct ft_segment_node: the stack trie
 *	bodies_at    n_rings x ring_bytes: the ring bodies
 *
 * The file is sparse: what is never touched costs nothing. A forked child makes a segment of its
 *own.
 *
 * Trie nodes are filled before a record that names them is published in a ring, so that whoever has
 * read the record (acquire) sees the node and all its ancestors. Ids of nodes that lost a race are
 * never named: readers follow parents from the ids that they meet, they do not scan.
 *
 * Everything here can be scribbled over by the traced program: the collector validates each value
 * that it reads (once: it copies before it checks) and takes sizes from its own fstat and copies.
 *
 * The memfd is made with MFD_ALLOW_SEALING, at its full size, and without F_SEAL_SEAL: the
 *collector adds F_SEAL_SHRINK before it maps, so that no access of its own can fault, and refuses
 *the segment if it can't. Futexes are shared ones (no FUTEX_PRIVATE_FLAG).
 */
#ifndef FT_SEGMENT_H
#define FT_SEGMENT_H

#include <stdatomic.h>
#include <stdint.h>

#define FT_SEGMENT_MAGIC UINT64_C(0x31304745534d5446) /* "FTMSEG01" */

enum {
	FT_SEGMENT_PAGE = 4096,		 /* what the layout is aligned to */
	FT_SEGMENT_N_RINGS = 4096,	 /* threads that record at one time */
	FT_SEGMENT_RING_BYTES = 1 << 20, /* default; a power of two */
	FT_SEGMENT_MAX_NODES = 1 << 24,	 /* virtual: 256 MiB, committed on touch */
};

/* How stacks are taken; the values of FRAGTRACE_UNWIND in this order. */
enum ft_unwind {
	FT_UNWIND_AUTO = 0, /* what is best on this machine */
	FT_UNWIND_DWARF = 1,
	FT_UNWIND_FP = 2,
	FT_UNWIND_NONE = 3,
	FT_UNWIND_LIBUNWIND = 4,
	FT_UNWIND_N
};

/* `options`: the low byte is an enum ft_unwind. */
enum ft_option {
	FT_OPTION_UNWIND_MASK = 0xff,
	FT_OPTION_SELF_CHECK = 1 << 8,
	FT_OPTION_FREE_STACKS = 1 << 9,
};

enum ft_clock_source { FT_CLOCK_TSC = 1, FT_CLOCK_MONOTONIC = 2 };

struct ft_segment_node {
	uint64_t pc;
	uint32_t parent; /* < own id; 0 is the root */
	uint32_t depth;	 /* 1 for a child of the root */
};
_Static_assert(sizeof(struct ft_segment_node) == 16, "shared layout");

enum ft_ring_state {
	FT_RING_FREE = 0,   /* never used */
	FT_RING_ACTIVE = 1, /* a thread owns it, or has owned it last */
	FT_RING_CLOSED = 2, /* never written again; not used by this tracer */
};

/*
 * A ring outlives its thread. When a thread is gone (its tid no longer exists), a new thread takes
 * the ring over just as it is, undrained records included, and opens with FT_WIRE_THREAD: in the
 * stream of one ring, every record belongs to the thread of the last FT_WIRE_THREAD before it. So
 * nobody has to wait for the collector, and a program of many short threads stays in a few rings.
 */

/*
 * Single-producer single-consumer ring. `tail` is written by the producer only, `head` by the
 * consumer only; both grow without bound and are masked on use. Bytes, always a multiple of 8.
 * Records never wrap: a PAD record fills the end of the body.
 *
 * floor: 0 while the producer is between events, else a stamp no younger than any that it may still
 * publish. The collector commits only below the smallest floor, and below a `now` of some
 * milliseconds ago: the store to `floor` is not fenced, so it may be seen a store buffer's time
 * after the stamp was taken. Stamps of one ring may go back a little where a signal handler
 * allocates.
 */
struct ft_ring_header {
	_Alignas(64) _Atomic uint64_t tail; /* release by the producer */
	_Atomic uint64_t floor;
	_Atomic uint32_t state;	   /* enum ft_ring_state */
	_Atomic uint32_t thread;   /* serial of the last owner, from 1; see FT_WIRE_THREAD */
	_Atomic uint64_t n_lost;   /* events that were dropped here, ever */
	_Atomic uint64_t n_waits;  /* times that the producer waited for room */
	_Atomic uint64_t n_events; /* ALLOC, FREE and REALLOC records published here, ever */
	_Alignas(64) _Atomic uint64_t head; /* release by the consumer */
	_Atomic uint32_t
		futex; /* bumped by the consumer when it has made room and `waiting` is set */
	_Atomic uint32_t waiting; /* set by the producer before it sleeps */
	/* Below a limit (ft_governor.h): ticks of the stamps' clock spent on recording, and blocks
	 * that were left out, ever. The producer's. */
	_Alignas(64) _Atomic uint64_t recording_ticks;
	_Atomic uint64_t n_left_out, bytes_left_out;
	uint64_t reserved[5];
};
_Static_assert(sizeof(struct ft_ring_header) == 192, "shared layout");

/* `attached`: REFUSED (no file could be made, or the recording has ended) means that nobody will
 * ever empty a ring again: producers drop at once instead of waiting for room. */
enum ft_attached { FT_ATTACHED_NOT_YET = 0, FT_ATTACHED_SERVED = 1, FT_ATTACHED_REFUSED = 2 };

/* `exiting`: the program has come to its end by itself; WAITING, and sleeps on `committed`. */
enum ft_exiting { FT_EXITING_NOT = 0, FT_EXITING_GOODBYE = 1, FT_EXITING_WAITING = 2 };

struct ft_segment_header {
	uint64_t magic;
	uint32_t version; /* of this layout; collector and tracer of different builds refuse each
			     other */
	uint32_t n_rings;
	uint64_t ring_bytes;
	uint64_t max_nodes;
	uint64_t rings_at, nodes_at, bodies_at, size; /* offsets and size in bytes */
	uint32_t clock_source;			      /* enum ft_clock_source: what stamps are */
	int32_t pid, ppid;
	uint64_t start_stamp; /* time 0 of the recording, and the clocks at that moment: */
	int64_t start_monotonic_ns, start_realtime_ns, start_boottime_ns;
	int32_t parent_pid;  /* forked from a traced image: its pid, else 0 */
	uint64_t fork_stamp; /* the stamp of the fork, else 0 */
	char output[1024];   /* value of FRAGTRACE_OUTPUT, "" for the default; relative to `cwd` */
	char cwd[1024];
	char exe[1024];
	char argv[4096]; /* NUL-separated, cut if longer */
	uint32_t argv_bytes;
	uint32_t options; /* enum ft_option: what is in force */
	uint64_t
		sample_bytes; /* mean bytes between two samples (ft_sample.h); 0: all is recorded */
	uint32_t max_overhead; /* ft_governor.h, in millionths; 0: no limit */

	/* The program's side, while it runs. */
	_Alignas(64) _Atomic uint32_t n_rings_used; /* rings [0, n) have ever been used */
	_Atomic uint32_t n_threads;		    /* serials given out */
	_Atomic uint32_t n_nodes;		    /* node ids given out; ids are 1..n */
	_Atomic uint32_t exiting;		    /* enum ft_exiting */
	_Atomic uint64_t n_no_node;	/* stacks that found no node free: their events say 0 */
	_Atomic uint64_t n_no_ring;	/* events dropped because no ring was free */
	_Atomic uint64_t n_sample_full; /* blocks that were struck but found no place in the set */
	/* Blocks that threads without a ring left out: the others are counted in their rings. */
	_Atomic uint64_t n_left_out, bytes_left_out;
	_Atomic uint64_t tracer_bytes; /* private memory of the tracer */
	_Atomic uint32_t
		doorbell; /* bumped, then FUTEX_WAKE, when a producer finds its ring half full or
			     full and after setting `exiting`: ends an idle collector's nap */
	/* The self-check: stacks compared with libunwind's; of these, ones that differ, and ones
	 * that differ where the reference is known to be wrong (not among n_differences). */
	_Atomic uint64_t n_checked, n_differences, n_explained;

	/* The collector's side. */
	char socket[108]; /* its own address, for forked children; set before `attached` */
	_Alignas(64) _Atomic uint64_t heartbeat; /* grows while the collector makes progress */
	_Atomic uint32_t attached;		 /* enum ft_attached (futex) */
	_Atomic uint32_t
		committed; /* 1: all rings were drained and committed after `exiting` (futex) */

	/* Frees by these calls (1 << enum ft_api) bring their stacks, because one that should not
	 * have been came without. Read by every free. */
	_Alignas(64) _Atomic uint32_t watch;
	_Atomic uint32_t governor_step; /* ft_governor.h; read by every event if there is a limit */
};

#endif

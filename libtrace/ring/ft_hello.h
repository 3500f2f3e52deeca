/* SPDX-License-Identifier: MIT */
/*
 * How a process image finds its collector
 *
 * The collector listens on abstract SOCK_SEQPACKET Unix sockets (nothing in the file system,
 * nothing on the network). An image connects, sends one struct ft_hello with descriptors attached
 * (SCM_RIGHTS) and closes its ends; from then on only the segment connects the two. The collector
 * takes the peer's pid and uid from SO_PEERCRED and refuses another user's, root's apart. A forked
 * child that has changed its user since shows its parent's key, which nobody else knows.
 *
 * `fragtrace run` gives the name of its collector's socket in FRAGTRACE_SOCKET. Without a launcher
 * the first image makes up a name and starts the collector with the listening socket as descriptor
 * (`fragtrace-collector --listen-fd N`); its forked children remember the name.
 *
 * An image that was exec'ed remembers nothing. So each image also binds the address of its own
 * process, "fragtrace/NAMESPACE/PID/START" (the number of its pid namespace, its pid there, the
 * start time of its /proc/PID/stat), and hands that socket to the collector too: the image that
 * comes next in this process, its descendants, and `fragtrace ctl PID` find the collector there. A
 * name is no secret: whoever connects checks that the socket was bound by its own user.
 */
#ifndef FT_HELLO_H
#define FT_HELLO_H

#include <stdint.h>

#define FT_HELLO_MAGIC UINT64_C(0x3230484f4c4c4546) /* "FELLOH02" */
#define FT_ENV_SOCKET  "FRAGTRACE_SOCKET"	    /* abstract name without the leading NUL */
#define FT_ENV_OUTPUT  "FRAGTRACE_OUTPUT"	    /* name of the recording */
#define FT_ENV_COLLECTOR \
	"FRAGTRACE_COLLECTOR"		     /* path of fragtrace-collector, for unusual installs */
#define FT_ENV_VERBOSE	"FRAGTRACE_VERBOSE"  /* "1": messages on the program's stderr */
#define FT_ENV_FOLLOW	"FRAGTRACE_FOLLOW"   /* "fork,exec", "fork", "exec" or "none" */
#define FT_ENV_MAX_SIZE "FRAGTRACE_MAX_SIZE" /* a recording's budget on the disk: ft_quantity.h */
#define FT_ENV_MAX_AGE	"FRAGTRACE_MAX_AGE"  /* of events in full detail */
#define FT_ENV_MIN_EVENTS \
	"FRAGTRACE_MIN_EVENTS" /* images with fewer are rows of their parent's recording */

#define FT_ADDRESS_PREFIX "fragtrace/"
#define FT_SOCKET_PREFIX  "fragtrace." /* of the launcher's: its pid follows */

enum { FT_SEGMENT_VERSION = 8, FT_ADDRESS_BYTES = 108 /* of a socket's name, NUL included */ };

/* Descriptors: the segment's memfd, then the image's own listening socket, if it has one. */
struct ft_hello {
	uint64_t magic;
	uint32_t segment_version;
	int32_t pid;
	uint64_t key;	     /* random; what a forked child of this image shows */
	uint64_t parent_key; /* of the image that this one was forked from, else 0 */
	/* This process and its parent: pid and start time of /proc/PID/stat; 0 without a /proc. */
	uint64_t start, parent_start;
	int32_t stat_pid, stat_parent;
};

#endif

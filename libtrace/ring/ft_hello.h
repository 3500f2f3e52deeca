/* SPDX-License-Identifier: MIT */
/*
 * How a process image finds its collector
 *
 * The collector listens on an abstract SOCK_SEQPACKET Unix socket (nothing in the file system,
 * nothing on the network). An image connects, sends one struct ft_hello with the segment's memfd
 * attached (SCM_RIGHTS) and closes its ends; from then on only the segment connects the two. The
 * collector takes the peer's pid and uid from SO_PEERCRED and refuses another user's.
 *
 * The socket's name is in FRAGTRACE_SOCKET when `fragtrace run` started the program; a bare
 * LD_PRELOAD run makes up a name, starts the collector with the listening socket as descriptor
 * (`fragtrace-collector --listen-fd N`), and its forked children remember the name.
 */
#ifndef FT_HELLO_H
#define FT_HELLO_H

#include <stdint.h>

#define FT_HELLO_MAGIC UINT64_C(0x3130484f4c4c4546) /* "FELLOH01" */
#define FT_ENV_SOCKET  "FRAGTRACE_SOCKET"	    /* abstract name without the leading NUL */
#define FT_ENV_OUTPUT  "FRAGTRACE_OUTPUT"	    /* name of the recording */
#define FT_ENV_COLLECTOR \
	"FRAGTRACE_COLLECTOR"		   /* path of fragtrace-collector, for unusual installs */
#define FT_ENV_VERBOSE "FRAGTRACE_VERBOSE" /* "1": messages on the program's stderr */

enum { FT_SEGMENT_VERSION = 4 };

struct ft_hello {
	uint64_t magic;
	uint32_t segment_version;
	int32_t pid;
};

#endif

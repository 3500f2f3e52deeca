/* SPDX-License-Identifier: MIT */
/*
 * The collector as a process: who connects, who has ended, what is still to be done
 */
#ifndef CO_SERVER_H
#define CO_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "fragtrace/error.h"

struct co_server_options {
	int listen_fd;			/* listening abstract SOCK_SEQPACKET socket */
	int notify_fd;			/* to the launcher, -1 without one */
	bool symbols;			/* resolve symbols at the end */
	bool verbose;			/* messages on stderr */
	int min_events;			/* images with fewer leave a row instead of a file */
	uint64_t max_bytes, max_age_ns; /* of a recording: struct ft_limits; 0: none */
	int linger_ms;	  /* wait so long for children after the last image has ended */
	const char *self; /* program to start with --symbolize FILE */
};

/*
 * Serve until every image has ended, nobody else connects, and the launcher (if there is one) has
 * closed its end. Blocks the signals that it handles for all threads; takes the descriptors over.
 */
struct ft_error *co_server_run(const struct co_server_options *options);

#endif

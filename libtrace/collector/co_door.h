/* SPDX-License-Identifier: MIT */
/*
 * The door: listening sockets, and connections until they have said what they want
 *
 * A connection sends one message: an image says hello (ft_hello.h), `fragtrace ctl` asks for
 * something (co_control.h). Who is at the other end is the kernel's word. Main thread only.
 */
#ifndef CO_DOOR_H
#define CO_DOOR_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "co_control.h"
#include "ft_hello.h"

/* Who has come. Descriptors that the callback keeps it replaces by -1; the door closes the rest. */
struct co_guest {
	int fd;	   /* the connection */
	pid_t pid; /* as seen from here */
	uid_t uid;
	int pidfd;    /* -1: it has ended already, or the kernel is of before 5.3 */
	int memfd;    /* an image's segment, else -1 */
	int listener; /* an image's own listening socket, or -1 */
	bool is_image;
	pid_t host; /* whose address was called; 0: the collector's own */
	union {
		struct ft_hello hello;		   /* an image's */
		struct co_control_request request; /* somebody else's */
	};
};

typedef void co_guest_fn(void *ctx, struct co_guest *guest);

enum { CO_DOOR_PENDING = 64 };

struct co_door {
	co_guest_fn *fn;
	void *ctx;
	struct co_listener {
		int fd;
		int pidfd; /* closed with its process; -1: stays */
		pid_t pid; /* of that process; 0: none */
	} * listeners;
	unsigned n_listeners, capacity;
	struct co_pending {
		int fd;
		pid_t host;
		int64_t since;
	} pending[CO_DOOR_PENDING]; /* whose message has not come yet */
	unsigned n_pending;
};

/* False when out of memory; the descriptors stay the caller's then. `pidfd` is duplicated. */
bool co_door_add(struct co_door *door, int fd, int pidfd, pid_t pid);
void co_door_deinit(struct co_door *door); /* closes all */

/* Fill in what to poll for; there is room for co_door_n_polls() of them. Returns how many. */
unsigned co_door_n_polls(const struct co_door *door);
unsigned co_door_polls(const struct co_door *door, struct pollfd *polls);

/* Serve what the polls showed. */
void co_door_serve(struct co_door *door, const struct pollfd *polls);

/* Take in everybody who has connected by now. */
void co_door_accept_all(struct co_door *door);

#endif

/* SPDX-License-Identifier: MIT */
/* Listening sockets and first messages: see co_door.h. */
#include "co_door.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "co_clock.h"

/* Since Linux 6.5. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

enum { PENDING_MS = 5000, MAX_FDS = 4 };

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* ---- listeners ------------------------------------------------------------------------------- */

bool co_door_add(struct co_door *door, int fd, int pidfd, pid_t pid)
{
	if (door->n_listeners == door->capacity) {
		unsigned capacity = door->capacity ? 2 * door->capacity : 16;
		struct co_listener *grown =
			realloc(door->listeners, capacity * sizeof(*door->listeners));

		if (!grown)
			return false;
		door->listeners = grown;
		door->capacity = capacity;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	door->listeners[door->n_listeners++] = (struct co_listener){
		.fd = fd, .pidfd = pidfd >= 0 ? fcntl(pidfd, F_DUPFD_CLOEXEC, 0) : -1, .pid = pid};
	return true;
}

void co_door_deinit(struct co_door *door)
{
	for (unsigned i = 0; i < door->n_listeners; i++) {
		close_fd(door->listeners[i].fd);
		close_fd(door->listeners[i].pidfd);
	}
	for (unsigned i = 0; i < door->n_pending; i++)
		close_fd(door->pending[i].fd);
	free(door->listeners);
}

unsigned co_door_n_polls(const struct co_door *door)
{
	return 2 * door->n_listeners + door->n_pending;
}

unsigned co_door_polls(const struct co_door *door, struct pollfd *polls)
{
	unsigned n = 0;

	for (unsigned i = 0; i < door->n_listeners; i++) {
		polls[n++] = (struct pollfd){door->listeners[i].fd, POLLIN, 0};
		polls[n++] = (struct pollfd){door->listeners[i].pidfd, POLLIN, 0};
	}
	for (unsigned i = 0; i < door->n_pending; i++)
		polls[n++] = (struct pollfd){door->pending[i].fd, POLLIN, 0};
	return n;
}

/* ---- first messages -------------------------------------------------------------------------- */

/* A descriptor for the peer of a connection: it names the process even when that has ended and its
 * pid is somebody else's by now; kernels before 6.5 know only the pid. */
static int peer_pidfd(int fd, pid_t pid)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0)
		return pidfd;
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static unsigned take_fds(struct msghdr *message, int fds[MAX_FDS])
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (n < MAX_FDS)
				fds[n++] = got;
			else
				close(got);
		}
	}
	return n;
}

/* The message and what comes with it. False: it is none of ours (errno EAGAIN: has not come). */
static bool receive(int fd, struct co_guest *guest)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * MAX_FDS)];
		struct cmsghdr align;
	} control;
	union {
		struct ft_hello hello;
		struct co_control_request request;
	} text;
	struct iovec iov = {&text, sizeof(text)};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	int fds[MAX_FDS];
	ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	unsigned n_fds;

	if (n < 0)
		return false;
	errno = 0;
	n_fds = take_fds(&message, fds);
	guest->memfd = n_fds > 0 ? fds[0] : -1;
	guest->listener = n_fds > 1 ? fds[1] : -1;
	for (unsigned i = 2; i < n_fds; i++)
		close(fds[i]);
	if (n == sizeof(guest->hello) && guest->memfd >= 0 && text.hello.magic == FT_HELLO_MAGIC) {
		guest->is_image = true;
		guest->hello = text.hello;
		return true;
	}
	guest->is_image = false;
	guest->request = text.request;
	return n == sizeof(guest->request) && text.request.magic == CO_CONTROL_MAGIC;
}

/* Takes the connection over; false while its message has not come: it stays the caller's then. */
static bool handle(struct co_door *door, int fd, pid_t host)
{
	struct co_guest guest = {.fd = fd, .host = host, .pidfd = -1, .memfd = -1, .listener = -1};
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (receive(fd, &guest)) {
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0) {
			guest.pid = peer.pid;
			guest.uid = peer.uid;
			guest.pidfd = peer_pidfd(fd, peer.pid);
			door->fn(door->ctx, &guest);
		}
	} else if (errno == EAGAIN) {
		return false;
	}
	close_fd(guest.fd);
	close_fd(guest.pidfd);
	close_fd(guest.memfd);
	close_fd(guest.listener);
	return true;
}

/* ---- connections ----------------------------------------------------------------------------- */

static void accept_from(struct co_door *door, int listener, pid_t host)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			/* Out of descriptors: the connection stays, and poll() says so at once. */
			if (errno == EMFILE || errno == ENFILE)
				usleep(10000);
			return;
		}
		if (handle(door, fd, host))
			continue;
		if (door->n_pending == CO_DOOR_PENDING)
			close(fd);
		else
			door->pending[door->n_pending++] =
				(struct co_pending){fd, host, co_clock_monotonic()};
	}
}

void co_door_accept_all(struct co_door *door)
{
	/* Guests may add listeners: they come at the end. */
	for (unsigned i = 0; i < door->n_listeners; i++)
		accept_from(door, door->listeners[i].fd, door->listeners[i].pid);
}

static void serve_pending(struct co_door *door)
{
	int64_t now = co_clock_monotonic();

	for (unsigned i = 0; i < door->n_pending;) {
		struct co_pending pending = door->pending[i];

		if (handle(door, pending.fd, pending.host)) {
			door->pending[i] = door->pending[--door->n_pending];
		} else if (now - pending.since > PENDING_MS * INT64_C(1000000)) {
			close(pending.fd);
			door->pending[i] = door->pending[--door->n_pending];
		} else {
			i++;
		}
	}
}

void co_door_serve(struct co_door *door, const struct pollfd *polls)
{
	unsigned n = door->n_listeners;

	if (door->n_pending)
		serve_pending(door);
	for (unsigned i = 0; i < n; i++)
		if (polls[2 * i].revents)
			accept_from(door, door->listeners[i].fd, door->listeners[i].pid);
	/* From the end, so that the indices before it stay what they were in `polls`. A child that
	 * found the address before its process ended has been accepted just now. */
	for (unsigned i = n; i-- > 0;) {
		if (!polls[2 * i + 1].revents)
			continue;
		close_fd(door->listeners[i].fd);
		close_fd(door->listeners[i].pidfd);
		door->listeners[i] = door->listeners[--door->n_listeners];
	}
}

/* SPDX-License-Identifier: MIT */
/* Asking a collector: see ft_control.h. */
#include "ft_control.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ft_cleanup.h"
#include "ft_hello.h"

/* Where the images of a process listen (ft_hello.h). The second name is as a process in a pid
 * namespace with a /proc of its own calls itself. */
struct address {
	uint64_t start;
	uint64_t space;
	long pids[2];
};

/* What fits of a file of /proc. */
static bool read_text(const char *path, char *text, size_t size)
{
	ft_auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return false;
	while (len + 1 < size && (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return len > 0;
}

static struct ft_error *read_address(pid_t pid, struct address *address)
{
	char path[64], link[64] = "", text[16384];
	const char *at, *nspid;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	at = read_text(path, text, sizeof(text)) ? strrchr(text, ')') : NULL;
	if (!at)
		return ft_error_create(FT_ERROR_USAGE, "there is no process %d", (int)pid);
	for (int field = 2; field < 22 && at; field++)
		at = strchr(at + 1, ' ');
	address->start = at ? strtoull(at + 1, NULL, 10) : 0;

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		return ft_error_os(errno, "process %d", (int)pid);
	address->space = strlen(link) > 5 ? strtoull(link + 5, NULL, 10) : 0;

	address->pids[0] = address->pids[1] = pid;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	nspid = read_text(path, text, sizeof(text)) ? strstr(text, "\nNSpid:") : NULL;
	if (nspid) {
		size_t len = strcspn(nspid + 1, "\n");
		const char *last = memrchr(nspid + 1, '\t', len);

		if (last)
			address->pids[1] = strtol(last + 1, NULL, 10);
	}
	return NULL;
}

static struct ft_error *connect_to(pid_t pid, int *ret)
{
	struct address address = {0};
	struct ucred peer;
	socklen_t peer_bytes = sizeof(peer);
	ft_auto_close int fd = -1;
	int failed = -1;

	FT_TRY(read_address(pid, &address));
	for (int i = 0; i < 2 && failed < 0; i++) {
		struct sockaddr_un name = {.sun_family = AF_UNIX};
		int n = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1,
				 FT_ADDRESS_PREFIX "%" PRIu64 "/%ld/%" PRIu64, address.space,
				 address.pids[i], address.start);

		if (fd >= 0)
			close(fd);
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return ft_error_os(errno, "no socket");
		failed = connect(
			fd, (struct sockaddr *)&name,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n));
	}
	if (failed < 0)
		return ft_error_create(FT_ERROR_USAGE,
				       "process %d is not recorded (or its collector is gone)",
				       (int)pid);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) < 0)
		return ft_error_os(errno, "no credentials of the peer");
	/* Anybody can bind a name: what we say is for our own recordings. */
	if (peer.uid != geteuid() && geteuid() != 0)
		return ft_error_create(FT_ERROR_USAGE, "process %d is recorded by another user",
				       (int)pid);
	*ret = ft_take_fd(fd);
	return NULL;
}

/* The answer, and the descriptor that came with it. */
static ssize_t receive(int socket, struct co_control_answer *answer, int *fd)
{
	struct iovec iov = {answer, sizeof(*answer)};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr header;
	} control;
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&message);

	*fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	return n;
}

struct ft_error *ft_control_ask(pid_t pid, enum co_control_verb verb, const char *text,
				struct co_control_answer *ret, int *fd)
{
	struct co_control_request request = {.magic = CO_CONTROL_MAGIC, .verb = verb};
	/* A rotation is answered when the file that is closed has its symbols. */
	struct timeval limit = {.tv_sec = verb == CO_CONTROL_ROTATE ? 3600 : 10};
	ft_auto_close int socket = -1;
	ft_auto_close int came_with = -1;
	ssize_t n;

	if (text && strlen(text) > sizeof(request.text))
		return ft_error_create(FT_ERROR_USAGE, "a label has at most %zu bytes",
				       sizeof(request.text));
	if (text) {
		request.n_text = (uint32_t)strlen(text);
		memcpy(request.text, text, request.n_text);
	}
	FT_TRY(connect_to(pid, &socket));
	setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(socket, &request, sizeof(request), MSG_NOSIGNAL) != (ssize_t)sizeof(request))
		return ft_error_os(errno, "can't ask the collector");
	n = receive(socket, ret, &came_with);
	if (n < 0 && errno == EAGAIN)
		return ft_error_create(FT_ERROR_BUSY, "the collector does not answer");
	if (n != (ssize_t)sizeof(*ret) || ret->magic != CO_CONTROL_MAGIC ||
	    ret->n_text >= sizeof(ret->text))
		return ft_error_create(FT_ERROR_INPUT,
				       "no answer: the collector has ended, or is another version");
	ret->text[ret->n_text] = '\0';
	if (ret->failed)
		return ft_error_create(FT_ERROR_USAGE, "%s", ret->text);
	if (fd)
		*fd = ft_take_fd(came_with);
	return NULL;
}

/* SPDX-License-Identifier: MIT */
/* Asking a collector: see la_control.h. */
#include "la_control.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "co_procfs.h"
#include "ft_cleanup.h"
#include "ft_error.h"
#include "ft_hello.h"

/* Where the images of a process listen (ft_hello.h). The second name is as a process in a pid
 * namespace with a /proc of its own calls itself. */
struct address {
	uint64_t start;
	uint64_t space;
	long pids[2];
};

static struct ft_error *read_address(pid_t pid, struct address *address)
{
	char path[64], link[64] = "";
	ft_auto_free char *stat = NULL;
	ft_auto_free char *status = NULL;
	const char *at, *nspid;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	stat = co_procfs_read(path, 4096);
	at = stat ? strrchr(stat, ')') : NULL;
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
	status = co_procfs_read(path, 65536);
	nspid = status ? strstr(status, "\nNSpid:") : NULL;
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

struct ft_error *la_control(pid_t pid, enum co_control_verb verb, const char *text)
{
	struct co_control_request request = {.magic = CO_CONTROL_MAGIC, .verb = verb};
	struct co_control_answer answer;
	/* A rotation is answered when the file that is closed has its symbols. */
	struct timeval limit = {.tv_sec = verb == CO_CONTROL_ROTATE ? 3600 : 10};
	ft_auto_close int fd = -1;
	ssize_t n;

	if (text && strlen(text) > sizeof(request.text))
		return ft_error_create(FT_ERROR_USAGE, "a label has at most %zu bytes",
				       sizeof(request.text));
	if (text) {
		request.n_text = (uint32_t)strlen(text);
		memcpy(request.text, text, request.n_text);
	}
	FT_TRY(connect_to(pid, &fd));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(fd, &request, sizeof(request), MSG_NOSIGNAL) != (ssize_t)sizeof(request))
		return ft_error_os(errno, "can't ask the collector");
	n = recv(fd, &answer, sizeof(answer), 0);
	if (n < 0 && errno == EAGAIN)
		return ft_error_create(FT_ERROR_BUSY, "the collector does not answer");
	if (n != (ssize_t)sizeof(answer) || answer.magic != CO_CONTROL_MAGIC ||
	    answer.n_text >= sizeof(answer.text))
		return ft_error_create(FT_ERROR_INPUT,
				       "no answer: the collector has ended, or is another version");
	answer.text[answer.n_text] = '\0';
	if (answer.failed)
		return ft_error_create(FT_ERROR_USAGE, "%s", answer.text);
	if (answer.n_text)
		puts(answer.text);
	return NULL;
}

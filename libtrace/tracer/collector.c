/* SPDX-License-Identifier: MIT */
/*
 * The way to the collector: see tr_collector.h, ft_hello.h
 *
 * A collector of our own must not be the program's child: waitpid(-1) and SIGCHLD handlers would
 * meet it. So the program clones, with exit signal 0, a stub: such a child is seen by neither. The
 * stub never execs, because exec would set its exit signal back to SIGCHLD; it forks the collector
 * and waits for it. It keeps nothing of the program open (a pipe that the program closes must reach
 * its reader) and shows another command line than the program's, so that nobody takes it for that.
 *
 * Between clone and exec there are system calls only: the program may have had threads.
 */
#include "tr_collector.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "ft_hello.h"
#include "tr_session.h"
#include "tr_sys.h"

static char *command_line;
static size_t command_line_bytes;

void tr_collector_init(int argc, char **argv)
{
	if (argc < 1)
		return;
	command_line = argv[0];
	command_line_bytes = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]);
}

/* ---- the socket ----------------------------------------------------------------------------- */

static socklen_t address_of(const char *name, struct sockaddr_un *address)
{
	size_t n = strlen(name);

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path + 1, name, n);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

static int open_socket(void)
{
	return (int)tr_sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int listen_on(const char *name)
{
	struct sockaddr_un address;
	socklen_t bytes = address_of(name, &address);
	int fd = open_socket(), result;

	if (fd < 0)
		return fd;
	result = (int)tr_sys(SYS_bind, fd, &address, bytes);
	if (!result)
		result = (int)tr_sys(SYS_listen, fd, 128);
	/* The collector may block in accept(); connecting ends do not. */
	if (!result)
		result = (int)tr_sys(SYS_fcntl, fd, F_SETFL, O_RDWR);
	if (!result)
		return fd;
	tr_close(fd);
	return result;
}

/* A connection to `name`, or -errno. Names can be guessed: one that another user has bound is
 * refused, unless this is a forked child, which was told the name. */
static int connect_to(const char *name, bool forked)
{
	static const struct timespec pause = {.tv_nsec = 2 * 1000 * 1000};
	struct sockaddr_un address;
	socklen_t bytes = address_of(name, &address);
	struct ucred peer;
	socklen_t peer_bytes = sizeof(peer);
	int fd = open_socket(), result;

	if (fd < 0)
		return fd;
	/* EAGAIN: its queue of connections is full. */
	for (unsigned i = 0; i < 1000; i++) {
		result = (int)tr_sys(SYS_connect, fd, &address, bytes);
		if (result != -EAGAIN && result != -EINTR)
			break;
		tr_sys(SYS_nanosleep, &pause, NULL);
	}
	if (!result)
		result = (int)tr_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer,
				     &peer_bytes);
	if (!result && !forked && peer.uid != (uid_t)tr_sys(SYS_geteuid))
		result = -EACCES;
	if (!result)
		return fd;
	tr_close(fd);
	return result;
}

uint64_t tr_random(void)
{
	uint64_t random = 0;

	if (tr_sys(SYS_getrandom, &random, sizeof(random), 1 /* GRND_NONBLOCK */) < 0) {
		struct timespec now;

		clock_gettime(CLOCK_REALTIME, &now);
		random = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec ^
			 (uint64_t)tr_sys(SYS_getpid) << 48;
	}
	return random;
}

static int listen_on_new_name(char *name, size_t size)
{
	char *at = tr_append(name, name + size, "fragtrace-");

	at = tr_append_number(at, name + size, tr_random(), 16);
	tr_append_number(at, name + size, tr_random(), 16);
	return listen_on(name);
}

/* ---- addresses of processes ------------------------------------------------------------------ */

/* What /proc says of a process: pids as in the namespace of that /proc, which need not be ours. */
struct relative {
	int32_t pid, parent;
	uint64_t start;
};

static uint64_t field_of(const char *at, unsigned field)
{
	uint64_t n = 0;

	for (unsigned i = 0; *at && i < field; at++)
		i += *at == ' ';
	for (; *at >= '0' && *at <= '9'; at++)
		n = n * 10 + (uint64_t)(*at - '0');
	return n;
}

/* pid 0: this process. */
static bool read_relative(int32_t pid, struct relative *relative)
{
	char path[32], text[1024], *at = path, *name_end;
	const char *end = path + sizeof(path);

	at = tr_append(at, end, "/proc/");
	at = pid ? tr_append_number(at, end, (uint64_t)pid, 10) : tr_append(at, end, "self");
	tr_append(at, end, "/stat");
	if (!tr_read_file(path, text, sizeof(text)))
		return false;
	/* "PID (NAME) STATE PARENT ...": the name may hold anything. The start is field 22. */
	name_end = strrchr(text, ')');
	if (!name_end)
		return false;
	relative->pid = (int32_t)field_of(text, 0);
	relative->parent = (int32_t)field_of(name_end, 2);
	relative->start = field_of(name_end, 20);
	return relative->start != 0;
}

static void address_name(const struct relative *relative, char name[FT_ADDRESS_BYTES])
{
	char space[64] = "";
	const char *end = name + FT_ADDRESS_BYTES - 1;
	long n = tr_sys(SYS_readlinkat, AT_FDCWD, "/proc/self/ns/pid", space, sizeof(space) - 1);
	const char *digits = n > 5 ? space + 5 : "0"; /* "pid:[4026531836]" */
	char *at = tr_append(name, end, FT_ADDRESS_PREFIX);

	while (*digits >= '0' && *digits <= '9' && at < end)
		*at++ = *digits++;
	at = tr_append(at, end, "/");
	at = tr_append_number(at, end, (uint64_t)relative->pid, 10);
	at = tr_append(at, end, "/");
	tr_append_number(at, end, relative->start, 10);
}

/* The launcher's pid, which is part of the name of its socket; 0 without one. */
static int32_t launcher_pid(void)
{
	static const char prefix[] = FT_SOCKET_PREFIX;
	const char *name = tr_settings.socket;

	return strncmp(name, prefix, sizeof(prefix) - 1) == 0
		       ? (int32_t)field_of(name + sizeof(prefix) - 1, 0)
		       : 0;
}

/*
 * A connection to the address of this process, which an earlier image of it has bound, or to that
 * of the nearest ancestor that answers. Daemons that were re-parented are found as long as the
 * process between bound its own address, as every traced image does.
 */
static int connect_to_ancestor(void)
{
	enum { MAX_GENERATIONS = 64 };
	struct relative at;
	int32_t next = 0, launcher = launcher_pid();

	for (unsigned i = 0; i < MAX_GENERATIONS && read_relative(next, &at); i++) {
		char name[FT_ADDRESS_BYTES];
		int fd;

		if (at.pid == launcher)
			break;
		address_name(&at, name);
		fd = connect_to(name, false);
		if (fd >= 0) {
			tr_append(tr_settings.socket,
				  tr_settings.socket + sizeof(tr_settings.socket), name);
			return fd;
		}
		next = at.parent;
		if (next <= 0)
			break;
	}
	return -ENOENT;
}

bool tr_collector_has_ancestor(void)
{
	int fd = connect_to_ancestor();

	tr_close(fd);
	return fd >= 0;
}

/* Who we are, for the collector, and the socket of our own address: -1 if an earlier image of this
 * process has it bound already. */
static int introduce(struct ft_hello *hello)
{
	struct relative self, parent;
	char name[FT_ADDRESS_BYTES];

	if (!read_relative(0, &self))
		return -1;
	hello->start = self.start;
	hello->stat_pid = self.pid;
	hello->stat_parent = self.parent;
	if (self.parent && read_relative(self.parent, &parent))
		hello->parent_start = parent.start;
	address_name(&self, name);
	return listen_on(name);
}

static int send_hello(int fd, int segment_fd, uint64_t key, uint64_t parent_key)
{
	struct ft_hello hello = {.magic = FT_HELLO_MAGIC,
				 .segment_version = FT_SEGMENT_VERSION,
				 .pid = (int32_t)tr_sys(SYS_getpid),
				 .key = key,
				 .parent_key = parent_key};
	struct iovec data = {.iov_base = &hello, .iov_len = sizeof(hello)};
	int fds[] = {segment_fd, introduce(&hello)};
	size_t fd_bytes = fds[1] < 0 ? sizeof(int) : sizeof(fds);
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(fds))];
	} control = {0};
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = CMSG_SPACE(fd_bytes)};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(fd_bytes);
	memcpy(CMSG_DATA(&control.header), fds, fd_bytes);

	long sent = tr_sys(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);

	tr_close(fds[1]);
	return sent == (long)sizeof(hello) ? 0 : sent < 0 ? (int)sent : -EIO;
}

/* ---- the program ---------------------------------------------------------------------------- */

static bool is_program(const char *path)
{
	return tr_sys(SYS_faccessat, AT_FDCWD, path, X_OK) == 0;
}

/* Beside this library: installed, in /usr/lib or in a multiarch directory, or in a build tree. */
static bool find_collector(void)
{
	static const char *const places[] = {"/", "/../collector/", "/../bin/", "/../../bin/"};
	char *path = tr_settings.collector;
	const char *end = path + sizeof(tr_settings.collector);
	struct dl_find_object object;

	if (*path)
		return is_program(path);
	if (_dl_find_object((void *)tr_collector_connect, &object) == 0) {
		char own[1024] = "", *at = own, *slash;
		const char *name = object.dlfo_link_map->l_name;

		if (*name != '/') {
			long n = tr_sys(SYS_getcwd, own, sizeof(own) - 1);

			if (n > 1)
				at = tr_append(own + n - 1, own + sizeof(own), "/");
		}
		tr_append(at, own + sizeof(own), name);
		slash = strrchr(own, '/');
		if (slash)
			*slash = '\0';
		for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			at = tr_append(path, end, own);
			at = tr_append(at, end, places[i]);
			tr_append(at, end, "fragtrace-collector");
			if (is_program(path))
				return true;
		}
	}
	tr_append(path, end, TR_BINDIR "/fragtrace-collector");
	if (is_program(path))
		return true;
	*path = '\0';
	return false;
}

/* ---- the stub ------------------------------------------------------------------------------- */

static void default_signals(void)
{
	/* The kernel's struct sigaction; all zero is SIG_DFL. */
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} standard = {0};
	uint64_t none = 0;

	for (int sig = 1; sig <= 64; sig++)
		tr_sys(SYS_rt_sigaction, sig, &standard, NULL, sizeof(none));
	tr_sys(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

/* 0-2 are /dev/null (2 stays in verbose runs), 3 is the socket, nothing else is open. */
static void only_needed_descriptors(int listener)
{
	int high = (int)tr_sys(SYS_fcntl, listener, F_DUPFD, 10);
	int null = (int)tr_sys(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR);

	for (int fd = 0; fd <= (tr_settings.verbose ? 1 : 2); fd++)
		if (null >= 0 && null != fd)
			tr_sys(SYS_dup3, null, fd, 0);
	tr_sys(SYS_dup3, high, 3, 0);
	if (tr_sys(SYS_close_range, 4, ~0U, 0) < 0)
		for (int fd = 4; fd < 65536; fd++)
			tr_close(fd);
}

/* The program's soft limits are about the program. */
static void lift_limits(void)
{
	static const int resources[] = {RLIMIT_AS, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_CPU,
					RLIMIT_NOFILE};
	struct rlimit limit = {0};

	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
		if (tr_sys(SYS_prlimit64, 0, resources[i], NULL, &limit) != 0)
			continue;
		limit.rlim_cur = limit.rlim_max;
		tr_sys(SYS_prlimit64, 0, resources[i], &limit, NULL);
	}
}

static _Noreturn void run_stub(int listener)
{
	static char option[] = "--listen-fd", descriptor[] = "3";
	char *const argv[] = {tr_settings.collector, option, descriptor, NULL};
	static char *envp[256];
	unsigned n = 0;
	long child;

	tr_sys(SYS_setsid);
	default_signals();
	lift_limits();
	only_needed_descriptors(listener);
	tr_sys(SYS_chdir, "/");

	for (char *at = tr_settings.environment;
	     at < tr_settings.environment + tr_settings.environment_bytes && n < 255;
	     at += strlen(at) + 1)
		envp[n++] = at;

#ifdef SYS_fork
	child = tr_sys(SYS_fork);
#else
	child = tr_sys(SYS_clone, SIGCHLD);
#endif
	if (child == 0) {
		tr_sys(SYS_execve, argv[0], argv, envp);
		tr_sys(SYS_exit_group, 127);
	}

	/* Only the collector holds the socket now: it decides when nobody can connect any more. */
	tr_close(3);
	tr_sys(SYS_prctl, PR_SET_NAME, "fragtrace-stub");
	if (command_line) {
		memset(command_line, 0, command_line_bytes);
		tr_append(command_line, command_line + command_line_bytes + 1, "fragtrace-stub");
	}
	while (child > 0 && tr_sys(SYS_wait4, child, NULL, 0, NULL) == -EINTR)
		;
	tr_sys(SYS_exit_group, 0);
	__builtin_unreachable();
}

static int start_collector(void)
{
	uint64_t all = ~UINT64_C(0), mask;
	long stub;
	int listener;

	if (!find_collector())
		return -ENOENT;
	listener = listen_on_new_name(tr_settings.socket, sizeof(tr_settings.socket));
	if (listener < 0)
		return listener;

	/* No handler of the program runs in the stub. */
	tr_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &mask, sizeof(all));
	stub = tr_sys(SYS_clone, 0 /* exit signal */, NULL, NULL, NULL, 0);
	if (stub == 0)
		run_stub(listener);
	tr_sys(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
	tr_close(listener);
	return stub < 0 ? (int)stub : 0;
}

int tr_collector_connect(int segment_fd, uint64_t key, uint64_t parent_key)
{
	struct tr_settings *s = &tr_settings;
	int fd = -ENOENT, failed;

	if (s->socket[0])
		fd = connect_to(s->socket, parent_key != 0);
	/* An exec after a change of user: the launcher's collector is not this user's. */
	if (fd == -EACCES)
		s->own_collector = true;
	if (fd < 0 && s->own_collector)
		fd = connect_to_ancestor();
	if (fd < 0 && s->own_collector) {
		failed = start_collector();
		s->socket_known = !failed;
		fd = failed ? failed : connect_to(s->socket, true);
		if (fd < 0)
			s->socket[0] = '\0';
	}
	if (fd < 0)
		return fd;
	failed = send_hello(fd, segment_fd, key, parent_key);
	tr_close(fd);
	return failed;
}

/* SPDX-License-Identifier: MIT */
/*
 * fragtrace run: see la_run.h
 *
 * Three processes: the launcher, the program as its child on the same terminal and in the same
 * process group, and the collector as another child in a group of its own. What the terminal sends
 * reaches the program without us; what is sent to the launcher alone is passed on.
 */
#include "la_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "co_notice.h"
#include "ft_cleanup.h"
#include "ft_error.h"
#include "ft_governor.h"
#include "ft_hello.h"
#include "ft_sample.h"
#include "ft_strbuf.h"
#include "la_program.h"
#include "la_report.h"

extern char **environ;

/* Our descriptors stay clear of 0-2 (which may be closed, and are the program's) and of those that
 * the collector is given. */
enum { LOW_FD = 10, COLLECTOR_LISTEN_FD = 3, COLLECTOR_NOTIFY_FD = 4 };

/* How long images that outlive the program are given before the launcher leaves without them. */
enum { GRACE_MS = 300, PROGRESS_MS = 1000, GIVE_UP_MS = 600000 };

struct run {
	const struct la_run_options *options;
	struct la_report report;
	char *program, *library, *collector; /* paths */
	char socket[64];
	int notify_fd, signal_fd;
	pid_t program_pid, collector_pid;
	bool program_ended, collector_ended, collector_silent;
	int program_status;
	sigset_t old_mask;
	struct sigaction old_child; /* the program's SIGCHLD, as we were given it */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

/* ---- starting -------------------------------------------------------------------------------- */

static struct ft_error *move_up(int *fd)
{
	int high = fcntl(*fd, F_DUPFD_CLOEXEC, LOW_FD);

	if (high < 0)
		return ft_error_os(errno, "no descriptor");
	close(*fd);
	*fd = high;
	return NULL;
}

static struct ft_error *listen_somewhere(struct run *run, int *ret)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	ft_auto_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	uint64_t random = 0;
	socklen_t len;

	if (fd < 0)
		return ft_error_os(errno, "no socket");
	FT_TRY(move_up(&fd));
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return ft_error_os(errno, "no random number");
	snprintf(run->socket, sizeof(run->socket), FT_SOCKET_PREFIX "%d.%016llx", (int)getpid(),
		 (unsigned long long)random);
	memcpy(address.sun_path + 1, run->socket, strlen(run->socket));
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(run->socket));
	if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 128) < 0)
		return ft_error_os(errno, "no listening socket");
	*ret = ft_take_fd(fd);
	return NULL;
}

static _Noreturn void exec_collector(const struct run *run, int listen_fd, int notify_fd)
{
	char listen_text[] = "3", notify_text[] = "4";
	char *argv[] = {(char *)(uintptr_t) "fragtrace-collector",
			(char *)(uintptr_t) "--listen-fd",
			listen_text,
			(char *)(uintptr_t) "--notify-fd",
			notify_text,
			(char *)(uintptr_t) "--linger",
			(char *)(uintptr_t) "0",
			run->options->no_symbols ? (char *)(uintptr_t) "--no-symbols" : NULL,
			NULL};
	const char *verbose = getenv(FT_ENV_VERBOSE);
	int null = open("/dev/null", O_RDWR);

	_Static_assert(COLLECTOR_LISTEN_FD == 3 && COLLECTOR_NOTIFY_FD == 4, "as in argv");
	setpgid(0, 0);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		if (!verbose || strcmp(verbose, "1") != 0)
			dup2(null, 2);
	}
	dup2(listen_fd, COLLECTOR_LISTEN_FD);
	dup2(notify_fd, COLLECTOR_NOTIFY_FD);
	sigprocmask(SIG_SETMASK, &run->old_mask, NULL);
	execv(run->collector, argv);
	_exit(LA_OWN_FAILURE);
}

static struct ft_error *start_collector(struct run *run)
{
	ft_auto_close int listen_fd = -1;
	int pair[2];

	FT_TRY(listen_somewhere(run, &listen_fd));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return ft_error_os(errno, "no socket pair");

	ft_auto_close int theirs = pair[1];

	run->notify_fd = pair[0];
	FT_TRY(move_up(&run->notify_fd));
	FT_TRY(move_up(&theirs));
	run->collector_pid = fork();
	if (run->collector_pid < 0)
		return ft_error_os(errno, "can't start the collector");
	if (run->collector_pid == 0)
		exec_collector(run, listen_fd, theirs);
	return NULL;
}

/* A recording that can't be made is better refused now than after a night. Folders with patterns in
 * their names are known only when the program has started. */
static struct ft_error *check_folder(const char *pattern)
{
	ft_auto_free char *folder = strdup(pattern);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!folder)
		return &ft_enomem;
	if (!slash || slash == folder)
		return NULL;
	*slash = 0;
	if (!strchr(folder, '%') && access(folder, W_OK | X_OK) < 0)
		return ft_error_os(errno, "can't write recordings to %s", folder);
	return NULL;
}

/* Where recordings go, as an absolute pattern: the program may change its folder. */
static struct ft_error *set_output(const char *output)
{
	ft_auto_strbuf struct ft_strbuf buf;

	ft_strbuf_init(&buf);
	if (!output)
		output = getenv(FT_ENV_OUTPUT);
	if (!output || !*output)
		output = "%n.%p.frag";
	if (*output != '/') {
		ft_auto_free char *cwd = getcwd(NULL, 0);

		if (!cwd)
			return ft_error_os(errno, "the current folder");
		for (const char *c = cwd; *c; c++) {
			if (*c == '%')
				ft_strbuf_addc(&buf, '%');
			ft_strbuf_addc(&buf, *c);
		}
		ft_strbuf_addc(&buf, '/');
	}
	ft_strbuf_adds(&buf, output);
	if (buf.failed)
		return &ft_enomem;
	if (buf.len >= 1024)
		return ft_error_create(FT_ERROR_USAGE, "the name of the recording is too long: %s",
				       buf.data);
	FT_TRY(check_folder(buf.data));
	return setenv(FT_ENV_OUTPUT, buf.data, 1) < 0 ? &ft_enomem : NULL;
}

static struct ft_error *set_environment(struct run *run)
{
	const struct la_run_options *options = run->options;
	const char *before = getenv("LD_PRELOAD");
	ft_auto_strbuf struct ft_strbuf preload;
	int rc;

	ft_strbuf_init(&preload);
	ft_strbuf_adds(&preload, run->library);
	if (before && *before)
		ft_strbuf_addf(&preload, ":%s", before);
	if (preload.failed)
		return &ft_enomem;
	rc = setenv("LD_PRELOAD", preload.data, 1);
	rc |= setenv(FT_ENV_SOCKET, run->socket, 1);
	if (options->depth)
		rc |= setenv("FRAGTRACE_DEPTH", options->depth, 1);
	if (options->on_full)
		rc |= setenv("FRAGTRACE_ON_FULL", options->on_full, 1);
	if (options->stall_limit)
		rc |= setenv("FRAGTRACE_STALL_LIMIT_MS", options->stall_limit, 1);
	if (options->unwind)
		rc |= setenv("FRAGTRACE_UNWIND", options->unwind, 1);
	if (options->max_overhead)
		rc |= setenv(FT_ENV_MAX_OVERHEAD, options->max_overhead, 1);
	if (options->sample)
		rc |= setenv(FT_ENV_SAMPLE, options->sample, 1);
	if (options->follow)
		rc |= setenv(FT_ENV_FOLLOW, options->follow, 1);
	if (options->self_check)
		rc |= setenv("FRAGTRACE_SELF_CHECK", "1", 1);
	if (options->free_stacks)
		rc |= setenv("FRAGTRACE_FREE_STACKS", "1", 1);
	return rc ? &ft_enomem : NULL;
}

static struct ft_error *start_program(struct run *run)
{
	int report[2], failed = 0;

	if (pipe2(report, O_CLOEXEC) < 0)
		return ft_error_os(errno, "no pipe");

	ft_auto_close int in = report[0];
	ft_auto_close int out = report[1];

	FT_TRY(move_up(&in));
	FT_TRY(move_up(&out));
	run->program_pid = fork();
	if (run->program_pid < 0)
		return ft_error_os(errno, "can't start %s", run->program);
	if (run->program_pid == 0) {
		sigaction(SIGCHLD, &run->old_child, NULL);
		sigprocmask(SIG_SETMASK, &run->old_mask, NULL);
		execv(run->program, run->options->argv);
		if (errno == ENOEXEC) {
			/* A script without "#!": shells run it themselves, so do we. */
			size_t n = 0;

			while (run->options->argv[n])
				n++;

			char **argv = calloc(n + 2, sizeof(*argv));

			if (argv) {
				argv[0] = (char *)(uintptr_t) "/bin/sh";
				argv[1] = run->program;
				memcpy(argv + 2, run->options->argv + 1, n * sizeof(*argv));
				execv(argv[0], argv);
			}
		}
		failed = errno;
		if (write(out, &failed, sizeof(failed)) < 0)
			_exit(LA_NOT_EXECUTABLE);
		_exit(LA_NOT_EXECUTABLE);
	}
	close(out);
	out = -1;
	while (read(in, &failed, sizeof(failed)) < 0 && errno == EINTR)
		;
	if (failed) {
		waitpid(run->program_pid, NULL, 0);
		return ft_error_os(failed, "%s", run->program);
	}
	return NULL;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void tell_exit(struct run *run)
{
	struct co_notice notice = {
		.kind = CO_NOTICE_EXITED, .pid = run->program_pid, .status = run->program_status};

	if (send(run->notify_fd, &notice, sizeof(notice), MSG_NOSIGNAL) < 0)
		run->collector_silent = true;
}

static void reap(struct run *run)
{
	int status;
	pid_t pid;

	/* Everybody's: as PID 1 of a container we inherit the orphans. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == run->program_pid && !run->program_ended) {
			run->program_ended = true;
			run->program_status = status;
			tell_exit(run);
		} else if (pid == run->collector_pid) {
			run->collector_ended = true;
		}
	}
}

static void read_signals(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		int sig = (int)info.ssi_signo;

		if (sig == SIGCHLD)
			reap(run);
		/* Positive codes come from the kernel: the terminal has told the program too. */
		else if (info.ssi_code <= 0 && !run->program_ended)
			kill(run->program_pid, sig);
		else if (run->program_ended && sig != SIGCHLD)
			run->collector_silent = true; /* asked to stop waiting for the recording */
	}
}

static void read_notices(struct run *run)
{
	struct co_notice notice;
	ssize_t n;

	while ((n = recv(run->notify_fd, &notice, sizeof(notice), MSG_DONTWAIT)) > 0)
		if (n == sizeof(notice))
			la_report_notice(&run->report, &notice);
	if (n == 0)
		run->collector_silent = true;
}

/* Is there anything left to wait for? */
static bool is_complete(const struct run *run, int64_t ended_ms)
{
	const struct co_notice *state = &run->report.state;

	if (!run->program_ended)
		return false;
	if (run->collector_silent || run->collector_ended)
		return true;
	if (now_ms() - ended_ms > GIVE_UP_MS)
		return true;
	if (!state->exited_seen || state->n_finishing)
		return false;
	return !state->n_running || now_ms() - ended_ms > GRACE_MS;
}

static void wait_for_end(struct run *run)
{
	int64_t ended = 0;

	for (;;) {
		struct pollfd polls[] = {{run->signal_fd, POLLIN, 0}, {run->notify_fd, POLLIN, 0}};

		if (run->collector_silent)
			polls[1].fd = -1;
		poll(polls, 2, run->program_ended ? 50 : -1);
		read_signals(run);
		if (!run->collector_silent)
			read_notices(run);
		if (run->program_ended && !ended)
			ended = now_ms();
		if (is_complete(run, ended))
			return;
		if (ended && now_ms() - ended > PROGRESS_MS)
			la_report_progress(&run->report);
	}
}

/* ---- all of it ------------------------------------------------------------------------------- */

static struct ft_error *run_all(struct run *run, int *status)
{
	int64_t started;
	sigset_t signals;

	FT_TRY(la_find_program(run->options->argv[0], &run->program, status));
	FT_TRY(la_find_library(&run->library));
	FT_TRY(la_find_collector(&run->collector));

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	sigprocmask(SIG_BLOCK, &signals, &run->old_mask);
	/* Whoever started us may ignore it: the kernel would then reap our children unseen. */
	sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, &run->old_child);
	run->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signal_fd < 0)
		return ft_error_os(errno, "no signalfd");
	FT_TRY(move_up(&run->signal_fd));

	FT_TRY(set_output(run->options->output));
	/* The collector reads it, and those that images of other users may start. */
	if (run->options->min_events && setenv(FT_ENV_MIN_EVENTS, run->options->min_events, 1) < 0)
		return &ft_enomem;
	if (run->options->max_size && setenv(FT_ENV_MAX_SIZE, run->options->max_size, 1) < 0)
		return &ft_enomem;
	if (run->options->max_age && setenv(FT_ENV_MAX_AGE, run->options->max_age, 1) < 0)
		return &ft_enomem;
	FT_TRY(start_collector(run));
	FT_TRY(set_environment(run));
	started = now_ms();
	FT_TRY(start_program(run));
	run->report.program = run->program_pid;
	wait_for_end(run);
	la_report_end(&run->report, (double)(now_ms() - started) / 1000);
	return NULL;
}

/* When nothing is left to record the collector ends at once: see it off, leave no zombie. */
static void wait_for_collector(const struct run *run)
{
	if (run->collector_pid <= 0 || run->collector_ended || run->report.state.n_running)
		return;
	for (int i = 0; i < 100 && waitpid(run->collector_pid, NULL, WNOHANG) == 0; i++)
		usleep(2000);
}

struct ft_error *la_run(const struct la_run_options *options, int *status, int *signal)
{
	struct run run = {.options = options, .notify_fd = -1, .signal_fd = -1};
	struct ft_error *error;

	*signal = 0;
	*status = LA_OWN_FAILURE;
	la_report_init(&run.report);
	error = run_all(&run, status);
	if (run.notify_fd >= 0)
		close(run.notify_fd); /* the collector ends when its work does */
	wait_for_collector(&run);
	if (run.signal_fd >= 0)
		close(run.signal_fd);
	if (!error) {
		*signal = WIFSIGNALED(run.program_status) ? WTERMSIG(run.program_status) : 0;
		*status = WIFEXITED(run.program_status) ? WEXITSTATUS(run.program_status)
							: 128 + *signal;
	}
	free(run.program);
	free(run.library);
	free(run.collector);
	return error;
}

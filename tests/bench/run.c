/* SPDX-License-Identifier: MIT */
/*
 * Run one program and say what it and everything that it left beside it used
 *
 *	bench-run REPORT SECONDS [NAME=VALUE]... PROGRAM [ARGUMENT]...
 *
 * The program gets the assignments in its environment; this process does not, so that nothing is
 * preloaded here. It is a subreaper: what the program leaves behind (a tracer's collector) becomes
 * its child, so that the kernel tells what that used, and it ends only when all of them have ended.
 * It is small, because a program's peak RSS as the kernel counts it includes that of the process
 * that forked it. After SECONDS, at SIGTERM, and when its parent dies, everything is killed.
 *
 * REPORT is written as JSON: status (negative: the signal), timeout, wall, finished (seconds from
 * the start to the program's end, and to the end of all), cpu, beside (seconds), rss, beside_rss
 * (bytes, peak of one process).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static volatile sig_atomic_t stop; /* SIGALRM or SIGTERM */
static pid_t program;		   /* 0: has ended */

static void on_stop(int sig)
{
	stop = sig;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_of(const struct rusage *usage)
{
	return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
	       (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

/* Orphans of what is killed become children in turn: called until none is left. */
static void kill_children(void)
{
	char path[64], text[4096];
	ssize_t n;
	int fd;

	if (program > 0) {
		kill(-program, SIGKILL);
		kill(program, SIGKILL);
	}
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	for (char *at = text, *end; *at; at = end) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		if (pid > 1)
			kill((pid_t)pid, SIGKILL);
	}
}

static void start(char **argv)
{
	program = fork();
	if (program < 0) {
		perror("bench-run: fork");
		exit(125);
	}
	if (program)
		return;
	setpgid(0, 0);
	for (; *argv && strchr(*argv, '='); argv++)
		putenv(*argv);
	if (*argv)
		execvp(argv[0], argv);
	fprintf(stderr, "bench-run: %s: %s\n", *argv ? *argv : "no program", strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_stop};
	double begin, wall = 0, cpu = 0, beside = 0;
	long rss = 0, beside_rss = 0;
	int status = 0;
	bool timeout = false;
	FILE *report;

	if (argc < 4 || atoi(argv[2]) < 1) {
		fprintf(stderr, "usage: bench-run REPORT SECONDS [NAME=VALUE]... PROGRAM "
				"[ARGUMENT]...\n");
		return 125;
	}
	sigaction(SIGALRM, &action, NULL); /* no SA_RESTART: wait4() is to return */
	sigaction(SIGTERM, &action, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	prctl(PR_SET_CHILD_SUBREAPER, 1);

	begin = now();
	start(argv + 3);
	alarm((unsigned)atoi(argv[2]));
	for (;;) {
		struct rusage usage;
		int how;
		pid_t pid = wait4(-1, &how, __WALL, &usage);

		if (stop) {
			timeout = true;
			kill_children();
			stop = 0;
			alarm(1); /* again, for those that had not become children yet */
		}
		if (pid < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		if (pid == program) {
			wall = now() - begin;
			cpu = cpu_of(&usage);
			rss = usage.ru_maxrss;
			status = WIFSIGNALED(how) ? -WTERMSIG(how) : WEXITSTATUS(how);
			program = 0;
		} else {
			beside += cpu_of(&usage);
			if (usage.ru_maxrss > beside_rss)
				beside_rss = usage.ru_maxrss;
		}
	}

	report = fopen(argv[1], "w");
	if (!report) {
		perror(argv[1]);
		return 125;
	}
	fprintf(report,
		"{\"status\": %d, \"timeout\": %s, \"wall\": %.6f, \"finished\": %.6f, \"cpu\": "
		"%.6f, \"beside\": %.6f, \"rss\": %ld, \"beside_rss\": %ld}\n",
		status, timeout ? "true" : "false", wall, now() - begin, cpu, beside, rss * 1024,
		beside_rss * 1024);
	return fclose(report) ? 125 : 0;
}

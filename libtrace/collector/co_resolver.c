/* SPDX-License-Identifier: MIT */
/* Symbols: see co_resolver.h. */
#include "co_resolver.h"

#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

struct co_resolver_job {
	struct co_resolver_job *next;
	const char *path;
	void *arg;
	pid_t pid; /* 0: not started */
};

static bool start(const struct co_resolver *resolver, struct co_resolver_job *job)
{
	char *argv[] = {(char *)(uintptr_t) "fragtrace-collector",
			(char *)(uintptr_t) "--symbolize", (char *)(uintptr_t)job->path, NULL};
	posix_spawnattr_t attr;
	sigset_t none;
	int failed;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	failed = posix_spawn(&job->pid, resolver->self, NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	if (failed)
		job->pid = 0;
	return !failed;
}

static void end_first(struct co_resolver *resolver, bool failed)
{
	struct co_resolver_job *job = resolver->jobs;

	resolver->jobs = job->next;
	resolver->done(resolver->ctx, job->arg, failed);
	free(job);
}

/* Those that can't be started wait for nobody else. */
static void start_next(struct co_resolver *resolver)
{
	while (resolver->jobs && !resolver->jobs->pid && !start(resolver, resolver->jobs))
		end_first(resolver, true);
}

void co_resolver_add(struct co_resolver *resolver, const char *path, void *arg)
{
	struct co_resolver_job *job = calloc(1, sizeof(*job)), **last = &resolver->jobs;

	if (!job) {
		resolver->done(resolver->ctx, arg, true);
		return;
	}
	job->path = path;
	job->arg = arg;
	while (*last)
		last = &(*last)->next;
	*last = job;
	start_next(resolver);
}

void co_resolver_reap(struct co_resolver *resolver)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (resolver->jobs && resolver->jobs->pid == pid)
			end_first(resolver, status != 0);
	start_next(resolver);
}

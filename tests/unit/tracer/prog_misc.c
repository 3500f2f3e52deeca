/* SPDX-License-Identifier: MIT */
/* Small scenes for the tracer's tests; argv[1] names one. Addresses go to stdout as "name hex". */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fragtrace/mark.h"

static void *volatile sink;

static void tell(const char *name, uintptr_t value)
{
	dprintf(1, "%s %lx\n", name, (unsigned long)value);
}

/* ---- stacks */

__attribute__((noinline)) static void *inner(size_t size)
{
	void *p = malloc(size);

	sink = p;
	return p;
}

__attribute__((noinline)) static void *outer(size_t size)
{
	void *p = inner(size);

	sink = p;
	return p;
}

__attribute__((noinline)) static int deep(unsigned levels)
{
	volatile int more = 1;

	if (levels == 0)
		tell("deep_block", (uintptr_t)outer(3333));
	else
		more += deep(levels - 1);
	return more;
}

__attribute__((noinline)) static void let_go(void *block)
{
	free(block);
	sink = NULL;
}

static int scene_stacks(void)
{
	void *block;

	tell("let_go", (uintptr_t)let_go);
	tell("inner", (uintptr_t)inner);
	tell("outer", (uintptr_t)outer);
	tell("deep", (uintptr_t)deep);
	block = outer(2222);
	tell("block", (uintptr_t)block);
	let_go(block);
	deep(100);
	fragtrace_mark("half way");
	return 0;
}

/* ---- threads */

static void *thread_main(void *argument)
{
	pthread_setname_np(pthread_self(), "worker-late");
	sink = malloc((size_t)(uintptr_t)argument);
	return sink;
}

static int scene_threads(void)
{
	pthread_t threads[4];

	tell("thread_main", (uintptr_t)thread_main);
	for (size_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, thread_main, (void *)(uintptr_t)(5001 + i));
	for (size_t i = 0; i < 4; i++) {
		void *block;

		pthread_join(threads[i], &block);
		free(block);
	}
	return 0;
}

static void *short_thread(void *argument)
{
	free(malloc(6001));
	return argument;
}

static int scene_short_threads(void)
{
	for (unsigned i = 0; i < 2000; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, short_thread, NULL) != 0)
			return 1;
		pthread_join(thread, NULL);
	}
	return 0;
}

static pthread_key_t late_key;

static void late(void *value)
{
	static __thread int rounds;

	free(value);
	if (++rounds < 5)
		pthread_setspecific(late_key, malloc(7001));
}

static void *late_thread(void *argument)
{
	pthread_setspecific(late_key, malloc(7001));
	return argument;
}

/* Allocations in destructors of thread-specific data, in every round. */
static int scene_late(void)
{
	pthread_t thread;

	pthread_key_create(&late_key, late);
	pthread_create(&thread, NULL, late_thread, NULL);
	pthread_join(thread, NULL);
	return 0;
}

/* ---- fork */

static int scene_fork(void)
{
	void *before = malloc(8001);
	pid_t child = fork();
	int status;

	if (child == 0) {
		free(before);
		sink = malloc(8002);
		_exit(3);
	}
	waitpid(child, &status, 0);
	free(before);
	sink = malloc(8003);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 3;
}

static int scene_raw_clone(void)
{
	void *before = malloc(8001);
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
	int status;

	if (child == 0) {
		free(before);
		sink = malloc(8002);
		_exit(3);
	}
	waitpid(child, &status, 0);
	free(before);
	sink = malloc(8003);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 3;
}

static int scene_vfork(void)
{
	pid_t child = vfork();
	int status;

	if (child == 0) {
		free(malloc(8101));
		_exit(3);
	}
	waitpid(child, &status, 0);
	sink = malloc(8102);
	return !WIFEXITED(status) || WEXITSTATUS(status) != 3;
}

static volatile int stop;

static void *churn(void *argument)
{
	while (!stop)
		free(malloc(100 + (rand() & 1023)));
	return argument;
}

/* fork() while other threads are inside hooks; the children allocate and start threads. */
static int scene_fork_storm(void)
{
	pthread_t threads[3];
	int bad = 0;

	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, churn, NULL);
	for (int i = 0; i < 40; i++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			pthread_t thread;

			free(malloc(8201));
			pthread_create(&thread, NULL, short_thread, NULL);
			pthread_join(thread, NULL);
			_exit(5);
		}
		waitpid(child, &status, 0);
		bad |= !WIFEXITED(status) || WEXITSTATUS(status) != 5;
	}
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	return bad;
}

/* ---- signals */

static volatile unsigned long n_handled;
static void *volatile kept[64];

static void on_alarm(int sig)
{
	unsigned long i = n_handled++ % 64;

	free(kept[i]);
	kept[i] = malloc(9001);
}

/* A handler that allocates, hitting the hooks at random places. Linked with an allocator that may
 * be interrupted and re-entered (reentrant_malloc.c, which gives 9001 bytes from another ring). */
static int scene_signal(void)
{
	struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct itimerval every = {.it_interval = {.tv_usec = 100}, .it_value = {.tv_usec = 100}};
	unsigned long n = 0;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (; n_handled < 2000 && n < 5000000; n++) {
		void *p = malloc(9002);

		p = realloc(p, 9003);
		sink = p;
		free(p);
	}
	every.it_value.tv_usec = every.it_interval.tv_usec = 0;
	setitimer(ITIMER_REAL, &every, NULL);
	tell("handled", n_handled);
	tell("loops", n);
	return 0;
}

enum { N_FIRST = 96 };

static __thread volatile sig_atomic_t is_hit;
static _Atomic size_t n_first;
static pthread_barrier_t all_hit;

static void on_hit(int sig)
{
	sink = malloc(9601);
	is_hit = 1;
}

static void *first_event(void *argument)
{
	struct itimerval once = {.it_value = {.tv_usec = (suseconds_t)(uintptr_t)argument}};
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
	setitimer(ITIMER_REAL, &once, NULL);
	sink = malloc(9602);
	while (!is_hit)
		;
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	atomic_fetch_add(&n_first, 1);
	pthread_barrier_wait(&all_hit);
	return NULL;
}

/* A handler that allocates, hitting each thread a microsecond later than the one before, somewhere
 * in its first call. All live to the end, so that each one's ring is a new one, of fresh pages. */
static int scene_first_signal(void)
{
	struct sigaction action = {.sa_handler = on_hit, .sa_flags = SA_RESTART};
	pthread_t threads[N_FIRST];
	sigset_t alarm;

	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	pthread_barrier_init(&all_hit, NULL, N_FIRST + 1);
	for (size_t i = 0; i < N_FIRST; i++) {
		pthread_create(&threads[i], NULL, first_event, (void *)(i + 1));
		while (atomic_load(&n_first) == i)
			sched_yield();
	}
	pthread_barrier_wait(&all_hit);
	for (size_t i = 0; i < N_FIRST; i++)
		pthread_join(threads[i], NULL);
	tell("threads", N_FIRST);
	return 0;
}

enum { N_CROWD = 20 };

static void on_crowd(int sig)
{
	sink = malloc(9701);
}

static void crowd(void)
{
	for (int i = 0; i < N_CROWD; i++)
		raise(SIGUSR1);
}

/* One realloc, and many handlers that allocate before it does. */
static int scene_crowd(void)
{
	struct sigaction action = {.sa_handler = on_crowd};
	void (**pause)(void) = dlsym(RTLD_DEFAULT, "reentrant_pause");
	void *p = malloc(9702);

	if (!pause)
		return 1;
	sigaction(SIGUSR1, &action, NULL);
	*pause = crowd;
	p = realloc(p, 9703);
	*pause = NULL;
	free(p);
	tell("handled", N_CROWD);
	return 0;
}

/* ---- modules */

static void *call_plugin(const char *path, const char *function, size_t size)
{
	void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	void *(*allocate)(size_t) = NULL;

	if (!plugin) {
		dprintf(2, "%s\n", dlerror());
		exit(1);
	}
	*(void **)&allocate = dlsym(plugin, function);
	sink = allocate(size);

	void *block = sink;

	tell("plugin_code", (uintptr_t)allocate);
	dlclose(plugin);
	return block;
}

/* The same file three times, then another one of the same size that takes its place. */
static int scene_plugins(const char *one, const char *two)
{
	for (int i = 0; i < 3; i++)
		tell("one", (uintptr_t)call_plugin(one, "plugin_allocate", 9101));
	tell("two", (uintptr_t)call_plugin(two, "plugin_allocate", 9102));
	return 0;
}

/* A C++ plugin in a C program: operator new is bound to the tracer, whose RTLD_NEXT has none. */
static int scene_cxx_plugin(const char *path)
{
	void *plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	int (*work)(size_t) = NULL;

	if (!plugin) {
		dprintf(2, "%s\n", dlerror());
		return 1;
	}
	*(void **)&work = dlsym(plugin, "plugin_work");
	return work(9201);
}

/* ---- what the program can see */

static int scene_visible(void)
{
	char text[64];
	int status;

	/* No descriptor beside 0-2, no child, the environment as given. */
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0) {
			snprintf(text, sizeof(text), "/proc/self/fd/%d", fd);
			dprintf(2, "descriptor %d is open\n", fd);
			return 1;
		}
	errno = 0;
	if (waitpid(-1, &status, WNOHANG) != -1 || errno != ECHILD)
		return 2;
	errno = 4711;
	free(malloc(123));
	return errno == 4711 ? 0 : 3;
}

/* Stands for the collector: is it started as promised? The answer goes into a file. */
static int pretend_collector(void)
{
	char cwd[256] = "";
	const char *path = getenv("FRAGTRACE_OUTPUT");
	int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	const char *answer = "good";

	for (int fd = 4; fd < 1024; fd++)
		if (fd != out && fcntl(fd, F_GETFD) >= 0)
			answer = "descriptors";
	if (fcntl(3, F_GETFD) < 0)
		answer = "socket";
	if (getenv("LD_PRELOAD") || !getenv("PATH") || getenv("FT_TEST_SECRET"))
		answer = "environment";
	if (!getcwd(cwd, sizeof(cwd)) || strcmp(cwd, "/") != 0)
		answer = "cwd";
	if (getpgrp() == getpid() || getsid(0) != getpgrp())
		answer = "session";
	dprintf(out, "%s", answer);
	usleep(500000);
	return 0;
}

/* ---- a burst, for full rings */

/* Ten times as long, told in milliseconds. */
static int scene_long_burst(void)
{
	for (unsigned i = 0; i < 1000000; i++)
		free(malloc(1 + i % 1000));
	return 0;
}

static int scene_burst(void)
{
	for (unsigned i = 0; i < 100000; i++)
		free(malloc(1 + i % 1000));
	return 0;
}

/* ---- a bad end */

static int scene_double_free(void)
{
	char *volatile p = malloc(9301);

	free(p);
	free(p);
	return 0;
}

static void *exit_block;

static void free_late(void)
{
	free(exit_block);
}

static int scene_exit(void)
{
	exit_block = malloc(9401);
	atexit(free_late);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} scenes[] = {
		{"stacks", scene_stacks},
		{"threads", scene_threads},
		{"short-threads", scene_short_threads},
		{"late", scene_late},
		{"fork", scene_fork},
		{"raw-clone", scene_raw_clone},
		{"vfork", scene_vfork},
		{"fork-storm", scene_fork_storm},
		{"signal", scene_signal},
		{"first-signal", scene_first_signal},
		{"crowd", scene_crowd},
		{"visible", scene_visible},
		{"burst", scene_burst},
		{"long-burst", scene_long_burst},
		{"double-free", scene_double_free},
		{"exit", scene_exit},
	};

	for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++)
		if (argc == 2 && strcmp(argv[1], scenes[i].name) == 0)
			return scenes[i].run();
	if (argc == 4 && strcmp(argv[1], "plugins") == 0)
		return scene_plugins(argv[2], argv[3]);
	if (argc == 3 && strcmp(argv[1], "--listen-fd") == 0)
		return pretend_collector();
	if (argc == 3 && strcmp(argv[1], "cxx-plugin") == 0)
		return scene_cxx_plugin(argv[2]);
	return 99;
}

/* SPDX-License-Identifier: MIT */
/*
 * A process that is told what to do, so that a test knows what must be in its recording
 *
 *	test-tree WORD...	done from left to right; sizes are unusual, so that a test can ask
 *for them
 *
 *	alloc N		a block of N bytes, kept (and freed by a later `free`)
 *	free		the block of the last alloc, also when a parent made it
 *	free-first	the block of the first alloc
 *	read		waits for a line on stdin, or its end
 *	many N		N blocks of 64 bytes, freed at once
 *	hog N FILE	blocks of N bytes, written to, without end; FILE has a count of them
 *	busy N		N threads that allocate and free 48 bytes from here on
 *	limit WHAT N	setrlimit of AS, DATA, NOFILE or CORE, soft and hard
 *	fill N		blocks of N bytes until there is no memory, which must come; then they are
 *freed fork, vfork, clone, clone3, clone-vm, double, thread-fork the rest of the words up to `end`
 *is done in a child, which is waited for (the one of `double` is not: its parent is gone before it
 *begins) spawn, system	the same, in a new image of this program exec		the rest of the
 *words in a new image, in this process _exit, quick_exit, abort, kill	the end close
 *closes all descriptors but 0-2 chdir DIR, chroot DIR, setuid N say TEXT	on stdout, at once
 *	sleep MS
 *	wait-any	waitpid(-1) must find no child
 *	sigchld		a handler that counts; `no-sigchld` then says how many came
 *	block-signals
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void *last, *first_block;
static volatile sig_atomic_t n_children;
static int argc_all;
static char **words, **words_end;

static void fail(const char *what)
{
	dprintf(2, "test-tree: %s: %s\n", what, strerror(errno));
	_exit(99);
}

static void on_child(int sig)
{
	n_children += sig == SIGCHLD;
}

static char *next_word(void)
{
	if (words == words_end)
		fail("a word is missing");
	return *words++;
}

static long next_number(void)
{
	return strtol(next_word(), NULL, 10);
}

static void say(const char *text)
{
	if (write(1, text, strlen(text)) < 0 || write(1, "\n", 1) < 0)
		_exit(98);
}

static void nap(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* The words up to the `end` that belongs here; steps over them. */
static char **take_child_words(char ***end)
{
	char **first = words;
	int depth = 1;

	for (; words < words_end; words++) {
		static const char *const openers[] = {"fork",	"vfork",       "clone",
						      "double", "thread-fork", "spawn",
						      "system", "clone3",      "clone-vm"};

		for (size_t i = 0; i < sizeof(openers) / sizeof(openers[0]); i++)
			depth += strcmp(*words, openers[i]) == 0;
		if (strcmp(*words, "end") == 0 && --depth == 0)
			break;
	}
	*end = words;
	if (words < words_end)
		words++;
	return first;
}

static void run(void);

static _Noreturn void run_child(char **first, char **end)
{
	words = first;
	words_end = end;
	run();
	exit(0);
}

static void reap(pid_t pid)
{
	int status;
	pid_t got;

	if (pid < 0)
		fail("no child");
	while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
		;
	if (got != pid)
		fail("waitpid");
}

static char **new_argv(char **first, char **end)
{
	static char self[] = "/proc/self/exe";
	static char *argv[64];
	int n = 0;

	argv[n++] = self;
	while (first < end && n < 63)
		argv[n++] = *first++;
	argv[n] = NULL;
	return argv;
}

static void churn(int n)
{
	for (int i = 0; i < n; i++) {
		void *volatile block = malloc(48);

		free(block);
	}
}

static void *fork_in_thread(void *argument)
{
	char ***range = argument;
	pid_t pid;

	churn(1000);
	pid = fork();
	if (pid == 0)
		run_child(range[0], range[1]);
	churn(1000);
	reap(pid);
	return NULL;
}

static void *stay_busy(void *argument)
{
	for (;;)
		churn(100);
	return argument;
}

/* The memory is the parent's, so that only the process ends. */
static int run_sharing(void *argument)
{
	char ***range = argument;

	words = range[0];
	words_end = range[1];
	run();
	_exit(0);
}

static void hog(size_t bytes, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	volatile unsigned long *count;

	if (fd < 0 || ftruncate(fd, sizeof(*count)) < 0)
		fail(path);
	count = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (count == MAP_FAILED)
		fail("mmap");
	for (;;) {
		char *block = malloc(bytes);

		if (!block)
			fail("malloc");
		++*count;
		memset(block, 1, bytes);
	}
}

static void limit(const char *what, long value)
{
	static const struct {
		const char *name;
		int resource;
	} limits[] = {{"AS", RLIMIT_AS},
		      {"DATA", RLIMIT_DATA},
		      {"NOFILE", RLIMIT_NOFILE},
		      {"CORE", RLIMIT_CORE}};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct rlimit both = {(rlim_t)value, (rlim_t)value}, now;

		if (strcmp(limits[i].name, what) != 0)
			continue;
		if (setrlimit(limits[i].resource, &both) < 0 ||
		    getrlimit(limits[i].resource, &now) < 0 || now.rlim_cur != both.rlim_cur ||
		    now.rlim_max != both.rlim_max)
			fail("setrlimit");
	}
}

/* Says how many there were. */
static void fill(size_t bytes)
{
	void **first = NULL, **block;
	char line[32];
	int n = 0;

	while ((block = malloc(bytes))) {
		*block = first;
		first = block;
		if (++n > 1 << 20)
			fail("the limit holds nothing back");
	}
	if (errno != ENOMEM)
		fail("malloc");
	while (first) {
		block = *first;
		free(first);
		first = block;
	}
	snprintf(line, sizeof(line), "%d", n);
	say(line);
}

static void do_child(const char *how)
{
	char **end, **first = take_child_words(&end), **range[] = {first, end};
	pid_t pid;

	if (strcmp(how, "fork") == 0) {
		pid = fork();
		if (pid == 0)
			run_child(first, end);
		reap(pid);
	} else if (strcmp(how, "double") == 0) {
		pid = fork();
		if (pid == 0) {
			setsid();
			pid = fork();
			if (pid == 0) {
				nap(100);
				run_child(first, end);
			}
			_exit(0);
		}
		reap(pid);
	} else if (strcmp(how, "clone") == 0) {
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
		if (pid == 0)
			run_child(first, end);
		reap(pid);
	} else if (strcmp(how, "clone3") == 0) {
		struct clone_args arguments = {.exit_signal = SIGCHLD};

		pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
		if (pid == 0)
			run_child(first, end);
		reap(pid);
	} else if (strcmp(how, "clone-vm") == 0) {
		enum { STACK = 1 << 18 };
		char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0);
		char **mine = words, **mine_end = words_end;

		if (stack == MAP_FAILED)
			fail("mmap");
		pid = clone(run_sharing, stack + STACK, CLONE_VM | SIGCHLD, range);
		reap(pid);
		words = mine;
		words_end = mine_end;
	} else if (strcmp(how, "thread-fork") == 0) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, fork_in_thread, range) != 0)
			fail("pthread_create");
		pthread_join(thread, NULL);
	} else if (strcmp(how, "vfork") == 0) {
		char **argv = new_argv(first, end);

		pid = vfork();
		if (pid == 0) {
			execv(argv[0], argv);
			_exit(97);
		}
		reap(pid);
	} else if (strcmp(how, "spawn") == 0) {
		if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, new_argv(first, end),
				environ) != 0)
			fail("posix_spawn");
		reap(pid);
	} else {
		char line[2048], exe[1024];
		ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
		size_t used;

		exe[n > 0 ? n : 0] = 0;
		used = (size_t)snprintf(line, sizeof(line), "%s", exe);
		for (; first < end; first++)
			used += (size_t)snprintf(line + used, sizeof(line) - used, " %s", *first);
		if (system(line) != 0)
			fail("system");
	}
}

static void wait_any(void)
{
	if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
		fail("waitpid(-1) found a child that is not ours");
}

static void run(void)
{
	while (words < words_end) {
		const char *word = next_word();

		if (strcmp(word, "alloc") == 0) {
			last = malloc((size_t)next_number());
			memset(last, 1, 1);
			if (!first_block)
				first_block = last;
		} else if (strcmp(word, "free-first") == 0) {
			free(first_block);
		} else if (strcmp(word, "read") == 0) {
			char byte;

			while (read(0, &byte, 1) == 1 && byte != '\n')
				;
		} else if (strcmp(word, "free") == 0) {
			free(last);
			last = NULL;
		} else if (strcmp(word, "many") == 0) {
			for (long n = next_number(); n > 0; n--) {
				void *volatile block = malloc(64);

				free(block);
			}
		} else if (strcmp(word, "hog") == 0) {
			long bytes = next_number();

			hog((size_t)bytes, next_word());
		} else if (strcmp(word, "limit") == 0) {
			const char *what = next_word();

			limit(what, next_number());
		} else if (strcmp(word, "fill") == 0) {
			fill((size_t)next_number());
		} else if (strcmp(word, "busy") == 0) {
			pthread_t thread;

			for (long n = next_number(); n > 0; n--)
				if (pthread_create(&thread, NULL, stay_busy, NULL) != 0)
					fail("pthread_create");
		} else if (strcmp(word, "exec") == 0) {
			execv("/proc/self/exe", new_argv(words, words_end));
			fail("exec");
		} else if (strcmp(word, "_exit") == 0) {
			_exit(0);
		} else if (strcmp(word, "quick_exit") == 0) {
			quick_exit(0);
		} else if (strcmp(word, "abort") == 0) {
			abort();
		} else if (strcmp(word, "kill") == 0) {
			kill(getpid(), SIGKILL);
		} else if (strcmp(word, "close") == 0) {
			closefrom(3);
		} else if (strcmp(word, "chdir") == 0) {
			if (chdir(next_word()) < 0)
				fail("chdir");
		} else if (strcmp(word, "chroot") == 0) {
			if (chroot(next_word()) < 0 || chdir("/") < 0)
				fail("chroot");
		} else if (strcmp(word, "setuid") == 0) {
			long id = next_number();

			if (setgroups(0, NULL) < 0 || setgid((gid_t)id) < 0 ||
			    setuid((uid_t)id) < 0)
				fail("setuid");
		} else if (strcmp(word, "say") == 0) {
			say(next_word());
		} else if (strcmp(word, "sleep") == 0) {
			nap(next_number());
		} else if (strcmp(word, "wait-any") == 0) {
			wait_any();
		} else if (strcmp(word, "sigchld") == 0) {
			signal(SIGCHLD, on_child);
		} else if (strcmp(word, "no-sigchld") == 0) {
			if (n_children)
				fail("SIGCHLD came");
		} else if (strcmp(word, "block-signals") == 0) {
			sigset_t all;

			sigfillset(&all);
			sigprocmask(SIG_SETMASK, &all, NULL);
		} else {
			do_child(word);
		}
	}
}

int main(int argc, char **argv)
{
	argc_all = argc;
	words = argv + 1;
	words_end = argv + argc;
	run();
	return argc_all > 0 ? 0 : 1;
}

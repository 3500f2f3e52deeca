/* SPDX-License-Identifier: MIT */
/*
 * Mappings of the program's own, and what the kernel says of them
 *
 *	test-maps random N SEED	N threads map, cut, move and replace pages of one file, interrupted
 *				by handlers that do so too; then a line "START END" for each range
 *				that /proc/self/maps has of the file
 *	test-maps calls		one of each call, with lengths that no other has
 *	test-maps failing	calls that fail: errno and result as without the tracer
 *	test-maps vfork		a vfork child maps a page, its parent unmaps it
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, SLOTS = 24, STEPS = 700, MOST = 16 };

#define FILE_NAME "ft-maps"

static int fd;
static int with_holes; /* unmap in the middle of ranges */

static void need(int holds, const char *what)
{
	if (holds)
		return;
	perror(what);
	exit(2);
}

static char *map_file(size_t pages, void *where)
{
	char *at =
		mmap(where, pages * PAGE, PROT_READ, MAP_SHARED | (where ? MAP_FIXED : 0), fd, 0);

	need(at != MAP_FAILED, "mmap");
	return at;
}

static void on_timer(int signal)
{
	int saved_errno = errno;

	munmap(map_file(3, NULL) + PAGE, PAGE);
	errno = saved_errno;
}

struct slot {
	char *at;
	size_t pages;
};

/* A range with holes can't be moved in one: it then stays as it is. */
static void resize(struct slot *slot, size_t pages)
{
	char *at = mremap(slot->at, slot->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE);

	if (at != MAP_FAILED)
		*slot = (struct slot){at, pages};
}

static void move(struct slot *slot)
{
	/* Over a mapping that it replaces. */
	char *to = map_file(slot->pages, NULL);
	char *at = mremap(slot->at, slot->pages * PAGE, slot->pages * PAGE,
			  MREMAP_MAYMOVE | MREMAP_FIXED, to);

	if (at == MAP_FAILED)
		munmap(to, slot->pages * PAGE);
	else
		slot->at = at;
}

static void *work(void *argument)
{
	unsigned seed = (unsigned)(uintptr_t)argument;
	struct slot slots[SLOTS] = {0};

	for (int i = 0; i < STEPS; i++) {
		struct slot *slot = &slots[(unsigned)rand_r(&seed) % SLOTS];
		size_t first, n;

		if (!slot->pages) {
			slot->pages = 1 + (unsigned)rand_r(&seed) % MOST;
			slot->at = map_file(slot->pages, NULL);
			continue;
		}
		first = (unsigned)rand_r(&seed) % slot->pages;
		n = 1 + (unsigned)rand_r(&seed) % (slot->pages - first);
		switch (rand_r(&seed) % 7) {
		case 0:
			need(munmap(slot->at, slot->pages * PAGE) == 0, "munmap");
			slot->pages = 0;
			break;
		case 1:
			/* What other threads may map in a hole would be unmapped with the rest. A
			 * length need not be whole pages. */
			if (!with_holes)
				n = slot->pages - first;
			need(munmap(slot->at + first * PAGE, n * PAGE - 1) == 0, "munmap");
			if (first + n == slot->pages)
				slot->pages = first;
			break;
		case 2:
			map_file(n, slot->at + first * PAGE);
			break;
		case 3:
		case 4:
			resize(slot, 1 + (unsigned)rand_r(&seed) % MOST);
			break;
		case 5:
			move(slot);
			break;
		case 6:
			/* A second view of the same pages; the first one stays. */
			if (mremap(slot->at, 0, PAGE, MREMAP_MAYMOVE) == MAP_FAILED)
				need(errno == EFAULT || errno == EINVAL, "mremap");
			madvise(slot->at, PAGE, MADV_RANDOM);
			break;
		}
	}
	return NULL;
}

static void print_ranges(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];

	need(maps != NULL, "/proc/self/maps");
	while (fgets(line, sizeof(line), maps)) {
		unsigned long start, end;

		if (strstr(line, FILE_NAME) && sscanf(line, "%lx-%lx", &start, &end) == 2)
			printf("%lu %lu\n", start, end);
	}
	fclose(maps);
}

static void random_calls(int n, unsigned seed)
{
	struct itimerval often = {.it_interval = {.tv_usec = 1700}, .it_value = {.tv_usec = 1700}};
	struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
	pthread_t threads[16];

	/* With one thread the order of calls is the order of rows: no handlers either. */
	with_holes = n == 1;
	if (n > 1) {
		sigaction(SIGALRM, &action, NULL);
		setitimer(ITIMER_REAL, &often, NULL);
	}
	for (int i = 0; i < n; i++)
		need(pthread_create(&threads[i], NULL, work,
				    (void *)(uintptr_t)(seed + (unsigned)i)) == 0,
		     "pthread_create");
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	signal(SIGALRM, SIG_IGN);
	print_ranges();
}

/* The numbers are in maps.py. */
static void calls(void)
{
	char *a =
		mmap(NULL, 101 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *b = mmap(NULL, 102 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		       0);
	char *c = mmap(NULL, 103 * PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *d, *top;

	need(a != MAP_FAILED && b != MAP_FAILED && c != MAP_FAILED, "mmap");
	memset(a, 1, 101 * PAGE);
	for (int i = 0; i < 7; i++)
		need(madvise(a + 50 * PAGE, 2 * PAGE, MADV_DONTNEED) == 0, "madvise");
	need(madvise(a, PAGE, MADV_NOHUGEPAGE) == 0 || errno == EINVAL, "madvise");
	need(munmap(a + 10 * PAGE, 11 * PAGE) == 0, "munmap"); /* 10 + 80 are left */
	d = mremap(a + 21 * PAGE, 80 * PAGE, 200 * PAGE, MREMAP_MAYMOVE);
	need(d != MAP_FAILED, "mremap"); /* 80 are mmap's, 120 mremap's */
	need(munmap(c, 103 * PAGE) == 0, "munmap");

	top = sbrk(5 * PAGE);
	need(top != (void *)-1 && sbrk(0) == top + 5 * PAGE, "sbrk");
	need(brk(top + 9 * PAGE) == 0 && sbrk(0) == top + 9 * PAGE, "brk");
	need(sbrk(-2 * PAGE) == top + 9 * PAGE, "sbrk");
	need(brk(top + 4 * PAGE) == 0, "brk"); /* 4 are sbrk's */
}

static void failing(void)
{
	errno = 0;
	need(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
		     errno == EINVAL,
	     "mmap of nothing");
	errno = 0;
	need(munmap((void *)1, PAGE) == -1 && errno == EINVAL, "munmap within a page");
	errno = 0;
	need(mremap((void *)1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL, "mremap");
	errno = 0;
	need(madvise((void *)1, PAGE, MADV_DONTNEED) == -1 && errno == EINVAL, "madvise");
	errno = 0;
	need(sbrk(INTPTR_MAX) == (void *)-1 && errno == ENOMEM, "sbrk");
	errno = 0;
	need(brk((void *)-1) == -1 && errno == ENOMEM, "brk");
	errno = 4711;
	need(munmap(map_file(1, NULL), PAGE) == 0 && errno == 4711,
	     "errno of a call that succeeds");
}

static void in_vfork_child(void)
{
	char *volatile at = NULL;
	pid_t child = vfork(); /* NOLINT */
	int status;

	if (child == 0) {
		at = map_file(211, NULL); /* NOLINT: that is the case */
		_exit(0);
	}
	need(child > 0 && waitpid(child, &status, 0) == child && status == 0, "vfork");
	need(munmap(at, 200 * PAGE) == 0, "munmap");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	fd = memfd_create(FILE_NAME, MFD_CLOEXEC);
	need(fd >= 0 && ftruncate(fd, 1024 * PAGE) == 0, "memfd");
	if (strcmp(what, "random") == 0 && argc > 3)
		random_calls(atoi(argv[2]), (unsigned)atoi(argv[3]));
	else if (strcmp(what, "calls") == 0)
		calls();
	else if (strcmp(what, "failing") == 0)
		failing();
	else if (strcmp(what, "vfork") == 0)
		in_vfork_child();
	else
		return 1;
	return 0;
}

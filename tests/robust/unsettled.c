/* SPDX-License-Identifier: MIT */
/*
 * Threads and signals at their most unsettled
 *
 *	test-unsettled SCENE	ends with lines `NAME COUNT` on stdout: what a witness in the
 *				program counted, for the recording to be held to
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

static void *volatile sink;

static void fail(const char *what)
{
	dprintf(2, "test-unsettled: %s: %s\n", what, strerror(errno));
	_exit(99);
}

static void witness(const char *name, unsigned long count)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s %lu\n", name, count);

	if (write(1, line, (size_t)n) != n)
		_exit(98);
}

__attribute__((noinline)) static void pair(size_t size)
{
	void *block = malloc(size);

	sink = block;
	free(block);
}

static pthread_t begin(void *(*routine)(void *), void *argument)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, routine, argument) != 0)
		fail("pthread_create");
	return thread;
}

static char *map_stack(size_t size)
{
	char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stack == MAP_FAILED)
		fail("mmap");
	return stack;
}

/* ---- short threads -------------------------------------------------------------------------- */

static void *short_thread(void *argument)
{
	pair(61001);
	return argument;
}

static void short_threads(void)
{
	enum { N = 10000, AT_ONCE = 8 };
	pthread_t threads[AT_ONCE];

	for (int i = 0; i < N; i += AT_ONCE) {
		for (int k = 0; k < AT_ONCE; k++)
			threads[k] = begin(short_thread, NULL);
		for (int k = 0; k < AT_ONCE; k++)
			pthread_join(threads[k], NULL);
	}
	witness("threads", N);
}

/* ---- destructors of a thread's own data ----------------------------------------------------- */

static pthread_key_t key;
static atomic_ulong n_destroyed;

static void destroy(void *value)
{
	unsigned round = *(unsigned char *)value;

	free(value);
	pair(61002);
	atomic_fetch_add(&n_destroyed, 1);
	if (round == 4) /* as often as POSIX has it done */
		return;
	value = malloc(61003);
	*(unsigned char *)value = (unsigned char)(round + 1);
	pthread_setspecific(key, value);
}

static void *with_data(void *argument)
{
	unsigned char *value = malloc(61003);

	*value = 1;
	pthread_setspecific(key, value);
	return argument;
}

static void tls_destructors(void)
{
	enum { N = 50 };

	pthread_key_create(&key, destroy);
	for (int i = 0; i < N; i++)
		pthread_join(begin(with_data, NULL), NULL);
	witness("destroyed", atomic_load(&n_destroyed));
	witness("threads", N);
}

/* ---- signals -------------------------------------------------------------------------------- */

static volatile sig_atomic_t n_handled, may_allocate, may_jump;
static volatile unsigned long n_jumps;
static sigjmp_buf back;

static void start_timer(int microseconds, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags | SA_RESTART};
	struct itimerval every = {{0, microseconds}, {0, microseconds}};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

static void stop_timer(void)
{
	struct itimerval never = {{0, 0}, {0, 0}};

	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_IGN);
}

static void on_alarm_allocate(int sig)
{
	if (!may_allocate)
		return;
	pair(61004);
	n_handled += sig == SIGALRM;
}

/* Of shield.c, which says when a handler may allocate: no allocator may be interrupted by itself.
 */
extern void shield_ready(volatile sig_atomic_t *flag) __attribute__((weak));

static void handlers(int flags)
{
	unsigned long n = 0;

	if (!shield_ready)
		fail("no shield is preloaded");
	shield_ready(&may_allocate);
	may_allocate = 1;
	start_timer(100, on_alarm_allocate, flags);
	while (n_handled < 3000) {
		pair(61005);
		n++;
	}
	stop_timer();
	witness("loops", n);
	witness("handled", (unsigned long)n_handled);
}

static void on_alarm_jump(int sig)
{
	if (may_allocate && may_jump && sig == SIGALRM) {
		may_jump = 0;
		n_jumps++;
		siglongjmp(back, 1);
	}
}

static volatile unsigned long n_returned, n_begun;

__attribute__((noinline)) static void call_until_left(void)
{
	for (;;) {
		void *block;

		n_begun++;
		block = malloc(61006);
		n_returned++;
		sink = block;
		free(block);
	}
}

/* Out of a handler that has interrupted a hook: what comes afterwards is recorded as ever. */
static void jumps(int flags)
{
	if (!shield_ready)
		fail("no shield is preloaded");
	shield_ready(&may_allocate);
	may_allocate = 1;
	start_timer(200, on_alarm_jump, flags);
	while (n_jumps < 500) {
		if (sigsetjmp(back, 1) == 0) {
			may_jump = 1;
			call_until_left();
		}
		for (int i = 0; i < 4; i++)
			pair(61007);
	}
	stop_timer();
	witness("returned", n_returned);
	witness("begun", n_begun);
	witness("jumps", n_jumps);
	witness("pairs", n_jumps * 4);
}

/* ---- cancellation --------------------------------------------------------------------------- */

static _Thread_local atomic_ulong n_own;
static atomic_ulong n_all, n_ended;

static void add_up(void *argument)
{
	atomic_fetch_add(&n_all, *(atomic_ulong *)argument);
	atomic_fetch_add(&n_ended, 1);
}

static void *until_cancelled(void *argument)
{
	pthread_cleanup_push(add_up, &n_own);
	for (;;) {
		pair(61008);
		n_own++;
		pthread_testcancel();
	}
	pthread_cleanup_pop(0);
	return argument;
}

static void deferred_cancel(void)
{
	enum { N = 100 };

	for (int i = 0; i < N; i++) {
		pthread_t thread = begin(until_cancelled, NULL);

		usleep(200);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
	}
	witness("loops", atomic_load(&n_all));
	witness("threads", atomic_load(&n_ended));
}

/* Cancelled where it stands, but outside of glibc's malloc, whose lock would stay taken: that is in
 * our hooks, or between the calls. */
static void *until_torn(void *argument)
{
	int old;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	pthread_cleanup_push(add_up, &n_own);
	for (;;) {
		void *block = malloc(61009);

		n_own++;
		free(block);
	}
	pthread_cleanup_pop(0);
	return argument;
}

static void async_cancel(void)
{
	enum { N = 200 };

	if (!shield_ready)
		fail("no shield is preloaded");
	shield_ready(NULL);
	for (int i = 0; i < N; i++) {
		pthread_t thread = begin(until_torn, NULL);

		usleep(200 + (unsigned)i * 7);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
		pair(61010);
	}
	witness("returned", atomic_load(&n_all));
	witness("threads", N);
	witness("pairs", N);
}

/* ---- coroutines ----------------------------------------------------------------------------- */

enum { SMALL = 16 << 10, N_COROUTINES = 16 };

static ucontext_t scheduler, contexts[N_COROUTINES];

__attribute__((noinline)) static void deeper(unsigned levels)
{
	volatile char room[32];

	room[0] = (char)levels;
	if (levels)
		deeper(levels - 1);
	else
		pair(61011);
	room[1] = room[0];
}

static void coroutine(int number)
{
	for (unsigned i = 0;; i++) {
		deeper(i % 12);
		swapcontext(&contexts[number], &scheduler);
	}
}

/* Small stacks that end where a mapping ends: above them nothing may be read. */
static void coroutines(void)
{
	enum { ROUNDS = 20000 };
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (int i = 0; i < N_COROUTINES; i++) {
		char *stack = map_stack(SMALL + 2 * page);

		mprotect(stack, page, PROT_NONE);
		mprotect(stack + page + SMALL, page, PROT_NONE);
		getcontext(&contexts[i]);
		contexts[i].uc_stack.ss_sp = stack + page;
		contexts[i].uc_stack.ss_size = SMALL;
		makecontext(&contexts[i], (void (*)(void))coroutine, 1, i);
	}
	for (unsigned i = 0; i < ROUNDS; i++)
		swapcontext(&scheduler, &contexts[i % N_COROUTINES]);
	witness("rounds", ROUNDS);
}

/* A stack whose outermost frame lies directly below memory that can't be read: a rule that leads
 * past it must not be followed. */
__attribute__((noinline, used)) static void at_the_edge(void)
{
	deeper(3);
}

#ifdef __x86_64__
__attribute__((naked, used)) static void call_at(void *top, void (*function)(void))
{
	__asm__("pushq %rbp\n\tmovq %rsp, %rbp\n\tmovq %rdi, %rsp\n\tcall *%rsi\n\t"
		"movq %rbp, %rsp\n\tpopq %rbp\n\tret");
}
#endif

static void edge(void)
{
#ifdef __x86_64__
	enum { ROUNDS = 1000 };
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *stack = map_stack(SMALL + page);

	mprotect(stack + SMALL, page, PROT_NONE);
	for (int i = 0; i < ROUNDS; i++)
		call_at(stack + SMALL, at_the_edge);
	witness("rounds", ROUNDS);
#else
	witness("rounds", 0);
#endif
}

/* ---- a stack that is used up ---------------------------------------------------------------- */

static sigjmp_buf out_of_stack;

static void on_overflow(int sig)
{
	for (int i = 0; i < 10; i++)
		pair(61012);
	siglongjmp(out_of_stack, sig);
}

__attribute__((noinline)) static unsigned fall(unsigned level)
{
	volatile char room[512];

	room[0] = (char)level;
	pair(61013);
	if (level == UINT_MAX) /* never so deep */
		return 0;
	return fall(level + 1) + (unsigned)room[0];
}

static void *overflow_thread(void *argument)
{
	stack_t own = {.ss_sp = map_stack(64 << 10), .ss_size = 64 << 10};
	struct sigaction action = {.sa_handler = on_overflow, .sa_flags = SA_ONSTACK};

	sigaltstack(&own, NULL);
	sigaction(SIGSEGV, &action, NULL);
	for (volatile int i = 0; i < 20; i++)
		if (sigsetjmp(out_of_stack, 1) == 0)
			fall(0);
	for (int i = 0; i < 100; i++)
		pair(61014);
	return argument;
}

static void overflow(void)
{
	pthread_attr_t small;
	pthread_t thread;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 << 10);
	if (pthread_create(&thread, &small, overflow_thread, NULL) != 0)
		fail("pthread_create");
	pthread_join(thread, NULL);
	witness("overflows", 20);
	witness("handled", 200);
	witness("after", 100);
}

/* ---- before the first constructor, after the last destructor -------------------------------- */

static void *early_block;

static void late(void)
{
	pair(61015);
	free(early_block);
}

static void early(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	early_block = malloc(61016);
	atexit(late);
}

__attribute__((section(".preinit_array"), used)) static void (*first)(int, char **,
								      char **) = early;

__attribute__((destructor)) static void destructor(void)
{
	pair(61017);
}

static void early_and_late(void)
{
	witness("late", 1);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*play)(void);
	} scenes[] = {
		{"short-threads", short_threads},
		{"tls-destructors", tls_destructors},
		{"deferred-cancel", deferred_cancel},
		{"async-cancel", async_cancel},
		{"coroutines", coroutines},
		{"edge", edge},
		{"overflow", overflow},
		{"early-and-late", early_and_late},
	};
	stack_t own = {.ss_size = 256 << 10};

	if (argc < 2)
		return 2;
	own.ss_sp = map_stack(own.ss_size);
	sigaltstack(&own, NULL);
	for (size_t i = 0; i < sizeof(scenes) / sizeof(*scenes); i++)
		if (strcmp(argv[1], scenes[i].name) == 0) {
			scenes[i].play();
			return 0;
		}
	if (strcmp(argv[1], "handlers") == 0)
		handlers(0);
	else if (strcmp(argv[1], "handlers-onstack") == 0)
		handlers(SA_ONSTACK);
	else if (strcmp(argv[1], "jumps") == 0)
		jumps(0);
	else if (strcmp(argv[1], "jumps-onstack") == 0)
		jumps(SA_ONSTACK);
	else
		return 2;
	return 0;
}

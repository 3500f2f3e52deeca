/* SPDX-License-Identifier: MIT */
/*
 * Allocates where stacks are awkward: in signal handlers, on the thread's stack and on one of their
 * own, that interrupt the program anywhere; in coroutines; below alloca() of changing sizes; in
 * threads; and below a realigned frame.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

enum { STACK = 256 << 10, COROUTINES = 4 };

static void *volatile sink;
static volatile sig_atomic_t n_signals;

__attribute__((noinline)) static void allocate(size_t size)
{
	void *block = malloc(size);

	sink = block;
	free(block);
}

__attribute__((noinline)) static unsigned recurse(unsigned levels, unsigned seed)
{
	volatile char *memory = __builtin_alloca(16 + seed * 48 % 500);

	memory[0] = (char)seed;
	if (levels == 0) {
		allocate(100 + seed % 64);
		return (unsigned)memory[0];
	}
	if (seed % 5 == 0)
		allocate(24);
	return recurse(levels - 1, seed * 7 + levels) + (unsigned)memory[0];
}

__attribute__((noinline, force_align_arg_pointer)) static void realigned(unsigned seed)
{
	_Alignas(64) volatile char buffer[128];

	buffer[0] = (char)seed;
	recurse(seed % 3, seed);
	buffer[1] = buffer[0];
}

/* malloc() is no matter for signal handlers: this one comes only while the program computes, below.
 */
static volatile sig_atomic_t handler_may_allocate;

static void on_signal(int number)
{
	(void)number;
	if (!handler_may_allocate)
		return;
	recurse(3, (unsigned)n_signals);
	n_signals++;
}

__attribute__((noinline)) static uint64_t compute(uint64_t seed)
{
	for (int i = 0; i < 20000; i++)
		seed = seed * 6364136223846793005U + 1442695040888963407U;
	return seed;
}

static void with_signals(unsigned rounds, int flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags | SA_RESTART};
	struct itimerval every = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	uint64_t seed = rounds;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (unsigned i = 0; i < rounds; i++) {
		handler_may_allocate = 1;
		seed = compute(seed);
		if (i % 10 == 0)
			raise(SIGALRM);
		handler_may_allocate = 0;
		recurse((unsigned)seed % 8, i);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	sink = (void *)(uintptr_t)seed;
}

static ucontext_t scheduler, contexts[COROUTINES];

static void coroutine(int number)
{
	for (unsigned i = 0;; i++) {
		recurse(i % 6, i + (unsigned)number);
		swapcontext(&contexts[number], &scheduler);
	}
}

static void with_coroutines(unsigned rounds)
{
	/* getcontext() returns twice, as setjmp() does. */
	for (volatile int i = 0; i < COROUTINES; i++) {
		getcontext(&contexts[i]);
		contexts[i].uc_stack.ss_size = STACK;
		contexts[i].uc_stack.ss_sp = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
						  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		makecontext(&contexts[i], (void (*)(void))coroutine, 1, i);
	}
	for (unsigned i = 0; i < rounds; i++) {
		swapcontext(&scheduler, &contexts[i % COROUTINES]);
		realigned(i);
	}
}

static void *thread_main(void *argument)
{
	unsigned rounds = *(const unsigned *)argument;

	for (unsigned i = 0; i < rounds; i++)
		realigned(i);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100;
	stack_t own = {.ss_size = STACK};
	pthread_t threads[2];

	with_signals(rounds, 0);
	own.ss_sp = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaltstack(&own, NULL);
	with_signals(rounds, SA_ONSTACK);
	with_coroutines(rounds);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, thread_main, &rounds);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("%d signals\n", (int)n_signals);
	return n_signals > 0 ? 0 : 1;
}

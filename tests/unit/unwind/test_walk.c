/* SPDX-License-Identifier: MIT */
/*
 * The stack walk against libunwind's cursor, frame by frame
 *
 * Each scene calls look() from a place that is hard for an unwinder. look() compares the walk that
 * remembers, the plain walk, and libunwind on the same stack.
 */
#define UNW_LOCAL_ONLY
#include <check.h>
#include <libunwind.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "tr_cfi.h"
#include "tr_retired.h"
#include "tr_rules.h"
#include "tr_walk.h"

/* Nothing is unloaded here. */
bool tr_module_identify(uintptr_t pc, struct tr_code *code)
{
	return false;
}

enum { DEPTH = TR_WALK_MAX, LOOKS_RECALLED = 5000 };

static unsigned n_looks;

static _Thread_local struct tr_walker walker;
static _Thread_local struct tr_walker recaller; /* one with a memo */
static _Thread_local struct tr_memo memo;

/* What the memo is given: numbers of stacks. */
static _Thread_local struct {
	uintptr_t *pcs;
	size_t n;
} * stacks;
static _Thread_local uint32_t n_stacks;
static _Thread_local unsigned n_recalled;

/* glibc's makecontext() lets a coroutine return to the first byte of a function: one byte earlier,
 * where a return address is looked up, there is no code. */
static enum tr_walk_end expected_end = TR_WALK_COMPLETE;

/* libunwind's view of the callers of look(), innermost first. */
static size_t reference(uintptr_t *pcs, uintptr_t first)
{
	unw_context_t context;
	unw_cursor_t cursor;
	size_t n = 0;
	bool found = false;

	unw_getcontext(&context);
	unw_init_local(&cursor, &context);
	do {
		unw_word_t ip = 0;

		unw_get_reg(&cursor, UNW_REG_IP, &ip);
		if (!ip)
			break;
		found |= ip == first;
		if (found && n < DEPTH)
			pcs[n++] = ip;
	} while (unw_step(&cursor) > 0);
	return n;
}

/* The hash of a walk is that of its pcs, however much of it was remembered. */
static void check_walked(const struct tr_walked *walked, const uintptr_t *expected, size_t n)
{
	uintptr_t pcs[DEPTH];
	uint64_t hash = TR_HASH_EMPTY;

	ck_assert_uint_eq(tr_walked_pcs(walked, pcs), n);
	for (size_t i = n; i-- > 0;) {
		ck_assert_uint_eq(pcs[i], expected[i]);
		hash = tr_hash_push(hash, tr_hash_term(pcs[i], 0));
	}
	ck_assert_uint_eq(hash, walked->hash);
}

static void memorize(struct tr_regs regs, const struct tr_walked *walked, const uintptr_t *expected,
		     size_t n)
{
	if (n_stacks % 4096 == 0)
		stacks = realloc(stacks, (n_stacks + 4096) * sizeof(*stacks));
	ck_assert_ptr_nonnull(stacks);
	stacks[n_stacks].n = n;
	stacks[n_stacks].pcs = malloc(n * sizeof(*expected));
	ck_assert_ptr_nonnull(stacks[n_stacks].pcs);
	memcpy(stacks[n_stacks].pcs, expected, n * sizeof(*expected));
	tr_walk_memorize(&recaller, regs, walked, ++n_stacks);
}

/* What is recalled is the very stack, whatever else has been on these addresses. */
static void recall(struct tr_regs regs, const uintptr_t *expected, size_t n)
{
	struct tr_walked walked;
	uint32_t id;

	if (n_looks > LOOKS_RECALLED)
		return;
	if (!recaller.memo)
		tr_walk_reset(&recaller, &memo);
	recaller.recalls = true; /* however little it knows */
	id = tr_walk_recall(&recaller, regs);
	if (id) {
		ck_assert_uint_le(id, n_stacks);
		ck_assert_uint_eq(stacks[id - 1].n, n);
		ck_assert_mem_eq(stacks[id - 1].pcs, expected, n * sizeof(*expected));
		n_recalled++;
		return;
	}
	recaller.recalls = true;
	ck_assert_int_eq(tr_walk(&recaller, regs, DEPTH, &walked), expected_end);
	check_walked(&walked, expected, n);
	if (walked.lasting)
		memorize(regs, &walked, expected, n);
}

__attribute__((noinline)) static void look(void)
{
	uintptr_t expected[DEPTH], plain[DEPTH];
	struct tr_regs regs = TR_CALLER_REGS();
	struct tr_walked walked;
	size_t n = reference(expected, regs.rip), n_plain;

	ck_assert_uint_gt(n, 0);
	ck_assert_int_eq(tr_walk_plain(regs, plain, DEPTH, &n_plain), expected_end);
	ck_assert_uint_eq(n_plain, n);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(plain[i], expected[i]);
	ck_assert_int_eq(tr_walk(&walker, regs, DEPTH, &walked), expected_end);
	check_walked(&walked, expected, n);
	recall(regs, expected, n);
	n_looks++;
}

/* ---- scenes
 * ------------------------------------------------------------------------------------------ */

static unsigned random_state = 1;

static unsigned random_next(void)
{
	random_state = random_state * 1103515245 + 12345;
	return random_state >> 16;
}

__attribute__((noinline)) static int branch_a(int depth);
__attribute__((noinline)) static int branch_b(int depth);
__attribute__((noinline)) static int branch_alloca(int depth);

static int branch(int depth)
{
	if (depth == 0) {
		look();
		return 1;
	}
	switch (random_next() % 4) {
	case 0:
		return branch_a(depth - 1) + 1;
	case 1:
		return branch_alloca(depth - 1) + 2;
	default:
		return branch_b(depth - 1) + 3;
	}
}

__attribute__((noinline)) static int branch_a(int depth)
{
	volatile char pad[40];

	pad[0] = 1;
	return branch(depth) + pad[0];
}

__attribute__((noinline)) static int branch_b(int depth)
{
	if (depth > 2 && random_next() % 3 == 0) {
		/* Two visits from one frame: the second shares all outer frames with the first. */
		int first = branch(depth - 2);

		return first + branch(depth - 1);
	}
	return branch(depth) + 5;
}

/* The frame's size is not the code's: only rbp knows the CFA. */
__attribute__((noinline)) static int branch_alloca(int depth)
{
	volatile char *memory = __builtin_alloca(16 + random_next() % 300);

	memory[0] = 1;
	return branch(depth) + memory[0];
}

START_TEST(random_recursion_equals_libunwind)
{
	for (int i = 0; i < 400; i++)
		branch((int)(random_next() % 30));
	ck_assert_uint_gt(n_looks, 400);
}
END_TEST

/* Same pcs and same stack pointers with different saved rbp contents must not be taken over. */
__attribute__((noinline)) static int alloca_recursion(int depth, size_t size)
{
	volatile char *memory = __builtin_alloca(size);

	memory[0] = 0;
	if (depth == 0) {
		look();
		return memory[0];
	}
	return alloca_recursion(depth - 1, (size_t)(depth % 3) * 16 + 16) + memory[0];
}

START_TEST(alloca_recursion_is_not_confused)
{
	for (size_t i = 0; i < 64; i++)
		alloca_recursion((int)(i % 7) + 1, 16 * (i % 5) + 16);
}
END_TEST

static int compare_looking(const void *a, const void *b)
{
	look();
	return *(const int *)a - *(const int *)b;
}

START_TEST(callback_through_libc)
{
	int values[9] = {3, 1, 4, 1, 5, 9, 2, 6, 5};

	qsort(values, 9, sizeof(values[0]), compare_looking);
}
END_TEST

__attribute__((noinline, force_align_arg_pointer)) static void realigned(void)
{
	_Alignas(64) volatile char buffer[64];

	buffer[0] = 1;
	look();
	buffer[1] = buffer[0];
}

START_TEST(realigned_stack)
{
	for (int i = 0; i < 8; i++) {
		volatile char *memory = __builtin_alloca((size_t)i * 8 + 8);

		memory[0] = 0;
		realigned();
	}
}
END_TEST

static void on_signal(int number)
{
	(void)number;
	look();
}

START_TEST(signal_handler_and_interrupted_function)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 3; i++)
		raise(SIGUSR1);
}
END_TEST

START_TEST(signal_handler_on_a_stack_of_its_own)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
	stack_t stack = {.ss_size = 256 << 10};

	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	look();
	raise(SIGUSR1);
}
END_TEST

static void *thread_looks(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++)
		branch(i % 10);
	return NULL;
}

START_TEST(threads)
{
	pthread_t workers[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&workers[i], NULL, thread_looks, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(workers[i], NULL);
}
END_TEST

static ucontext_t main_context, coroutine_contexts[2];

static void coroutine(void)
{
	for (;;) {
		branch_a(3);
		swapcontext(&coroutine_contexts[0], &main_context);
	}
}

START_TEST(coroutine_stack)
{
	static _Alignas(16) char stack[256 << 10];

	getcontext(&coroutine_contexts[0]);
	coroutine_contexts[0].uc_stack.ss_sp = stack;
	coroutine_contexts[0].uc_stack.ss_size = sizeof(stack);
	makecontext(&coroutine_contexts[0], coroutine, 0);
	for (int i = 0; i < 5; i++) {
		expected_end = TR_WALK_UNKNOWN;
		swapcontext(&main_context, &coroutine_contexts[0]);
		expected_end = TR_WALK_COMPLETE;
		branch_b(4);
	}
}
END_TEST

/* A loop that asks from the same place walks no rule after the first time. */
START_TEST(repeated_stack_is_taken_over)
{
	struct tr_regs regs = TR_CALLER_REGS();
	struct tr_walked first, walked;

	memset(&walker, 0, sizeof(walker));
	ck_assert_int_eq(tr_walk(&walker, regs, DEPTH, &first), TR_WALK_COMPLETE);
	for (int i = 0; i < 200; i++) {
		walker.fresh[0].pc = 0;
		ck_assert_int_eq(tr_walk(&walker, regs, DEPTH, &walked), TR_WALK_COMPLETE);
		ck_assert_uint_eq(walked.hash, first.hash);
		ck_assert_uint_eq(walked.n_frames, first.n_frames);
		ck_assert_uint_eq(walker.fresh[0].pc, 0); /* nothing was walked */
	}
}
END_TEST

/* The same stacks over and over, from leaves that differ: nothing is left to walk. And no others.
 */
START_TEST(stacks_that_come_again_are_recalled)
{
	unsigned state = random_state, first, n;

	for (int i = 0; i < 20; i++) {
		random_state = state + (unsigned)i % 5;
		branch(6 + i % 5);
	}
	first = n_recalled;
	n = n_looks;
	for (int i = 0; i < 20; i++) {
		random_state = state + (unsigned)i % 5;
		branch(6 + i % 5);
	}
	n = n_looks - n;
	/* But for those that share a place in the memo. */
	ck_assert_uint_gt(n_recalled - first, n / 2);
}
END_TEST

/* Stacks that have no more in common than their outermost frames: the walk comes to remember those
 * alone, and is as right as before. */
START_TEST(stacks_that_part_at_the_root)
{
	unsigned n_apart = 0;

	memset(&walker, 0, sizeof(walker));
	for (int i = 0; i < 6000; i++) {
		random_state = (unsigned)(i % 300) * 2654435761U;
		branch_a(12);
		n_apart += walker.apart;
	}
	ck_assert_uint_gt(n_apart, 4000);
}
END_TEST

/* Generated code has no unwind information: the stack ends in it, nothing is invented beyond. */
START_TEST(generated_code_ends_the_stack)
{
	/* push %rbx; call *%rdi; pop %rbx; ret */
	static const unsigned char code[] = {0x53, 0xff, 0xd7, 0x5b, 0xc3};
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t pcs[DEPTH];
	size_t n;

	ck_assert_ptr_ne(page, MAP_FAILED);
	memcpy(page, code, sizeof(code));
	ck_assert_int_eq(tr_cfi_rule((uintptr_t)page + 1), TR_RULE_NONE);

	struct tr_regs regs = TR_CALLER_REGS();

	regs.rip = (uintptr_t)page + 3;
	ck_assert_int_eq(tr_walk_plain(regs, pcs, DEPTH, &n), TR_WALK_UNKNOWN);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(pcs[0], regs.rip);
}
END_TEST

__attribute__((noinline)) static int deep(int depth)
{
	if (depth == 0) {
		struct tr_regs regs = TR_CALLER_REGS();
		struct tr_walked walked;
		uintptr_t expected[64];
		size_t n;

		ck_assert_int_eq(tr_walk_plain(regs, expected, 64, &n), TR_WALK_CUT);
		ck_assert_int_eq(tr_walk(&walker, regs, 64, &walked), TR_WALK_CUT);
		check_walked(&walked, expected, 64);
		return 0;
	}

	volatile int below = deep(depth - 1); /* no tail call, no loop */

	return below + 1;
}

START_TEST(deep_stack_keeps_its_innermost_frames)
{
	deep(1000);
	deep(90);
	deep(91);
}
END_TEST

START_TEST(after_a_module_went_the_walk_starts_afresh)
{
	branch_a(3);
	tr_rules_forget();
	branch_a(3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("walk");
	TCase *tests = tcase_create("walk");

	tcase_set_timeout(tests, 60); /* a bound against hanging, not a measurement */
	tcase_add_test(tests, random_recursion_equals_libunwind);
	tcase_add_test(tests, alloca_recursion_is_not_confused);
	tcase_add_test(tests, callback_through_libc);
	tcase_add_test(tests, realigned_stack);
	tcase_add_test(tests, signal_handler_and_interrupted_function);
	tcase_add_test(tests, signal_handler_on_a_stack_of_its_own);
	tcase_add_test(tests, threads);
	tcase_add_test(tests, coroutine_stack);
	tcase_add_test(tests, repeated_stack_is_taken_over);
	tcase_add_test(tests, stacks_that_come_again_are_recalled);
	tcase_add_test(tests, stacks_that_part_at_the_root);
	tcase_add_test(tests, generated_code_ends_the_stack);
	tcase_add_test(tests, deep_stack_keeps_its_innermost_frames);
	tcase_add_test(tests, after_a_module_went_the_walk_starts_afresh);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

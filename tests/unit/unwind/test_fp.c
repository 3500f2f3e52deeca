/* SPDX-License-Identifier: MIT */
/*
 * The walk by frame pointers: it finds a chain that is there, and nothing that it reads on the way
 * can hurt it
 *
 * Built with frame pointers. Chains that no compiler makes are laid out by hand on a stack of
 * their own, below a page that is not mapped.
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tr_fp.h"

enum { DEPTH = 64, PAGE = 4096, CODE = 0x400000, RESERVED_PAGES = 256 };

static struct tr_extent own;
static uintptr_t pcs[DEPTH];

__attribute__((noinline)) static size_t look(size_t max)
{
	struct tr_regs regs = TR_CALLER_REGS();
	size_t n = tr_fp_walk(&own, regs, pcs, max);

	ck_assert_uint_eq(pcs[0], (uintptr_t)__builtin_return_address(0));
	return n;
}

__attribute__((noinline)) static size_t nest(unsigned levels, size_t max)
{
	volatile size_t n = levels ? nest(levels - 1, max) : look(max);

	return n;
}

static bool is_nest(uintptr_t pc)
{
	return pc - (uintptr_t)nest < 256;
}

START_TEST(a_chain_is_followed)
{
	size_t n = nest(20, DEPTH), in_nest = 0;

	while (in_nest < n && is_nest(pcs[in_nest]))
		in_nest++;
	ck_assert_uint_eq(in_nest, 21);
	ck_assert_uint_gt(n, in_nest);
}
END_TEST

START_TEST(the_limit_keeps_the_innermost)
{
	ck_assert_uint_eq(nest(20, 7), 7);
	for (size_t i = 0; i < 7; i++)
		ck_assert(is_nest(pcs[i]));
	ck_assert_uint_eq(nest(20, 1), 1);
}
END_TEST

static void *thread_looks(void *argument)
{
	own = (struct tr_extent){0};
	*(size_t *)argument = nest(5, DEPTH);
	return NULL;
}

START_TEST(a_thread_has_a_stack_of_its_own)
{
	pthread_t thread;
	size_t n = 0;

	ck_assert_int_eq(pthread_create(&thread, NULL, thread_looks, &n), 0);
	pthread_join(thread, NULL);
	ck_assert_uint_gt(n, 6);
	for (size_t i = 0; i < 6; i++)
		ck_assert(is_nest(pcs[i]));
}
END_TEST

/* ---- chains by hand -------------------------------------------------------------------------- */

struct chain {
	uintptr_t *words; /* of one page; what lies around it is reserved, and can't be read */
};

/*
 * One page that can be read, in the midst of a reservation: what a wild link points to is nothing
 * that happens to be mapped there.
 */
static struct chain make_stack(void)
{
	char *pages = mmap(NULL, (size_t)RESERVED_PAGES * PAGE, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(pages, MAP_FAILED);
	ck_assert_int_eq(mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
	return (struct chain){(uintptr_t *)(void *)(pages + PAGE)};
}

static void drop_stack(struct chain chain)
{
	munmap((char *)chain.words - PAGE, (size_t)RESERVED_PAGES * PAGE);
}

/* Walk from word 0 with the frame pointer at `rbp`. */
static size_t walk(struct chain chain, uintptr_t rbp)
{
	struct tr_regs regs = {.rip = CODE, .rsp = (uintptr_t)chain.words, .rbp = rbp};

	return tr_fp_walk(&own, regs, pcs, DEPTH);
}

static uintptr_t word(struct chain chain, size_t i)
{
	return (uintptr_t)(chain.words + i);
}

static void link_at(struct chain chain, size_t i, uintptr_t next, uintptr_t pc)
{
	chain.words[i] = next;
	chain.words[i + 1] = pc;
}

/* _i 0: the thread's stack is another one, so that the kernel reads; 1: it is this one. */
START_TEST(wild_chains_end)
{
	struct chain c = make_stack();
	size_t last = PAGE / sizeof(uintptr_t);

	own = (struct tr_extent){1, 1};
	if (_i)
		own = (struct tr_extent){(uintptr_t)c.words, (uintptr_t)c.words + PAGE};

	link_at(c, 8, word(c, 16), CODE + 1);
	link_at(c, 16, word(c, 8), CODE + 2); /* back */
	ck_assert_uint_eq(walk(c, word(c, 8)), 3);
	ck_assert_uint_eq(pcs[2], CODE + 2);

	link_at(c, 16, word(c, 16), CODE + 2); /* to itself */
	ck_assert_uint_eq(walk(c, word(c, 8)), 3);
	link_at(c, 16, word(c, 20) + 4, CODE + 2); /* not aligned */
	ck_assert_uint_eq(walk(c, word(c, 8)), 3);
	link_at(c, 16, word(c, last), CODE + 2); /* into the page that is not there */
	ck_assert_uint_eq(walk(c, word(c, 8)), 3);
	link_at(c, 16, word(c, last) + 100 * PAGE, CODE + 2);
	ck_assert_uint_eq(walk(c, word(c, 8)), 3);
	link_at(c, 16, word(c, last - 1), CODE + 2); /* its second word is not there */
	ck_assert_uint_eq(walk(c, word(c, 8)), 3);
	link_at(c, 16, UINTPTR_MAX & ~(uintptr_t)7, CODE + 2);
	ck_assert_uint_eq(walk(c, word(c, 8)), 3);
	link_at(c, 16, 0, CODE + 2);
	ck_assert_uint_eq(walk(c, word(c, 8)), 3);

	static const uintptr_t no_code[] = {0, 1, PAGE - 1, (uintptr_t)1 << 47, UINTPTR_MAX};

	for (size_t i = 0; i < sizeof(no_code) / sizeof(no_code[0]); i++) {
		link_at(c, 16, 0, no_code[i]);
		ck_assert_uint_eq(walk(c, word(c, 8)), 2);
	}
	link_at(c, 16, 0, word(c, 30)); /* the stack itself */
	ck_assert_uint_eq(walk(c, word(c, 8)), 2);
	ck_assert_uint_eq(walk(c, word(c, 0) - 8), 1); /* below the stack pointer */
	ck_assert_uint_eq(walk(c, 42), 1);
	drop_stack(c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fp");
	TCase *tests = tcase_create("fp");

	tcase_add_test(tests, a_chain_is_followed);
	tcase_add_test(tests, the_limit_keeps_the_innermost);
	tcase_add_test(tests, a_thread_has_a_stack_of_its_own);
	tcase_add_loop_test(tests, wild_chains_end, 0, 2);
	suite_add_tcase(suite, tests);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/*
 * One bad call each, and calls that look bad and are not
 *
 * `bad NAME` makes the block in make_block(), where it needs one, frees it in first_free(), where
 * it was freed before, and makes the bad call in bad_call(). It says the address first. What the
 * allocator makes of it is its own affair; where it lets the program live, that ends with status 0.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <new>

#define APART __attribute__((noinline, noipa))

/* C23's, which the library under test has in any case. */
extern "C" void free_sized(void *block, size_t size) __attribute__((weak));
extern "C" void free_aligned_sized(void *block, size_t alignment, size_t size)
	__attribute__((weak));
extern "C" void *reallocarray(void *block, size_t n, size_t size) throw();

static long in_data[16] = {1, 2, 3};
static long in_bss[4096];
static void *kept;

static void say(const void *address)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%#lx\n", (unsigned long)address);

	if (write(1, line, (size_t)n) != n)
		_exit(99);
}

APART static void *make_block(size_t size)
{
	return malloc(size);
}

APART static void first_free(void *block)
{
	free(block);
}

APART static void bad_call(void *block)
{
	say(block);
	free(block);
}

APART static void *bad_realloc(void *block)
{
	say(block);
	return realloc(block, 300);
}

APART static void *bad_reallocarray(void *block)
{
	say(block);
	return reallocarray(block, 10, 30);
}

APART static void bad_delete(void *block)
{
	say(block);
	::operator delete(block);
}

APART static void bad_delete_array(void *block)
{
	say(block);
	::operator delete[](block);
}

APART static void bad_sized_delete(void *block, size_t size)
{
	say(block);
	::operator delete(block, size);
}

/* ---- freed before */

static void double_free()
{
	void *block = make_block(72001);

	make_block(100); /* between it and the end of the heap */
	first_free(block);
	bad_call(block);
}

static void double_small()
{
	void *block = make_block(40);

	first_free(block);
	bad_call(block);
}

/* glibc looks at the last block of the list alone: the program lives on. */
static void double_fast()
{
	void *blocks[9];

	for (void *&block : blocks)
		block = make_block(40);
	for (int i = 0; i < 9; i++)
		first_free(blocks[i]);
	bad_call(blocks[7]);
}

static void *double_in_thread_(void *)
{
	double_small();
	return NULL;
}

static void double_in_thread()
{
	pthread_t thread;

	pthread_create(&thread, NULL, double_in_thread_, NULL);
	pthread_join(thread, NULL);
}

static void double_realloc()
{
	void *block = make_block(40);

	first_free(block);
	kept = bad_realloc(block);
}

/* ---- inside of a block */

static void interior()
{
	bad_call((char *)make_block(500) + 64);
}

static void interior_realloc()
{
	kept = bad_realloc((char *)make_block(500) + 64);
}

/* ---- nobody's */

static void stack()
{
	long array[64] = {0};

	kept = array;
	bad_call(array + 8);
}

static pthread_barrier_t barrier;

static void *other_stack_(void *)
{
	long array[64] = {0};

	free(malloc(10)); /* it has a ring now */
	kept = array + 8;
	pthread_barrier_wait(&barrier);
	pause();
	return NULL;
}

static void other_stack()
{
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, other_stack_, NULL);
	pthread_barrier_wait(&barrier);
	bad_call(kept);
}

static void data()
{
	bad_call(in_data + 2);
}

static void bss()
{
	bad_call(in_bss + 2048);
}

static void text()
{
	bad_call((void *)(uintptr_t) "a text that is no block");
}

static void code()
{
	bad_call((void *)(((uintptr_t)&code + 15) & ~(uintptr_t)15));
}

static void mapped()
{
	char *at = (char *)mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0);

	bad_call(at + 0x2340);
}

static void file()
{
	int fd = memfd_create("a file", 0);

	if (ftruncate(fd, 1 << 16) < 0)
		_exit(98);
	bad_call((char *)mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) + 0x1230);
}

static void unmapped()
{
	bad_call((void *)0x123450);
}

static void wild()
{
	bad_call((void *)0xdeadbeefcafe10);
}

static void own_heap()
{
	char *at = (char *)sbrk(65536);

	memset(at, 0, 65536);
	bad_call(at + 4096);
}

static void stack_realloc()
{
	long array[64] = {0};

	kept = array;
	kept = bad_realloc(array + 8);
}

static void data_reallocarray()
{
	kept = bad_reallocarray(in_data + 2);
}

/* ---- by another family's call */

static void malloc_delete()
{
	bad_delete(make_block(100));
}

static void new_free()
{
	bad_call(::operator new(100));
}

static void array_delete()
{
	bad_delete(::operator new[](100));
}

static void new_array_delete()
{
	bad_delete_array(::operator new(100));
}

static void aligned_delete()
{
	bad_delete(::operator new(100, std::align_val_t(64)));
}

static void new_realloc()
{
	kept = bad_realloc(::operator new(100));
}

/* ---- with another size */

static void size_near()
{
	bad_sized_delete(::operator new(100), 97); /* the same chunk */
}

static void size_far()
{
	bad_sized_delete(::operator new(100), 400);
}

static void size_huge()
{
	bad_sized_delete(::operator new(100), 70000);
}

static void size_c()
{
	void *block = make_block(100);

	say(block);
	free_sized(block, 260);
}

static void size_aligned_c()
{
	void *block = aligned_alloc(64, 128);

	say(block);
	free_aligned_sized(block, 64, 320);
}

/* The same mistake again and again, until somebody has seen enough. */
static void repeated()
{
	struct pollfd input = {0, POLLIN, 0};

	while (poll(&input, 1, 2) == 0)
		free(::operator new(100));
}

/* ---- what is in order, whatever it looks like */

static void *many(void *)
{
	void *blocks[400];

	for (int round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 400; i++) {
			size_t size = (i * 7919 + round * 104729) % 3000 + 1;

			if (i % 50 == 7)
				size = (i + 1) * 4099;
			blocks[i] = i % 5 ? malloc(size) : memalign(64 << i % 4, size);
			if (i % 3 == 1)
				blocks[i] = realloc(blocks[i], size * 2);
			/* Words that are links, heads and small numbers. */
			((uintptr_t *)blocks[i])[0] = i % 2 ? (uintptr_t)blocks[i / 2] : i;
		}
		for (unsigned i = 0; i < 400; i++)
			free(blocks[(i * 173) % 400]);
	}
	return NULL;
}

static ucontext_t main_context, coroutine_context;

static void coroutine()
{
	many(NULL);
}

static void innocent()
{
	pthread_t threads[4];
	char *big = (char *)malloc(64 << 20), *stack_ = (char *)malloc(1 << 20);
	long *other = new long[10];

	many(NULL);
	for (pthread_t &thread : threads)
		pthread_create(&thread, NULL, many, NULL);
	for (pthread_t &thread : threads)
		pthread_join(thread, NULL);
	getcontext(&coroutine_context);
	coroutine_context.uc_stack.ss_sp = stack_;
	coroutine_context.uc_stack.ss_size = 1 << 20;
	coroutine_context.uc_link = &main_context;
	makecontext(&coroutine_context, coroutine, 0);
	swapcontext(&main_context, &coroutine_context);
	free(stack_);
	free(big);
	delete[] other;
	delete new int;
	::operator delete(::operator new(77), (size_t)77);
	free_sized(malloc(33), 33);
	free_aligned_sized(aligned_alloc(256, 512), 256, 512);
}

/* The main heap can't grow and goes on in mappings. */
static void no_break()
{
	uintptr_t end;

	free(malloc(100));
	end = ((uintptr_t)sbrk(0) + 4095) & ~(uintptr_t)4095;
	if (mmap((void *)end, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED)
		_exit(96);
	many(NULL);
	many(NULL);
}

/* Blocks that no hook has seen. */
static void unseen()
{
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	void *(*unhooked)(size_t) = (void *(*)(size_t))dlsym(libc, "malloc");

	for (int i = 0; i < 100; i++)
		free(unhooked(50 + i * 100));
	kept = realloc(unhooked(70), 200);
	free(kept);
}

static void inherited()
{
	void *blocks[50];
	int status = 0;

	for (int i = 0; i < 50; i++)
		blocks[i] = malloc(100 + i * 40);

	pid_t child = fork();

	for (void *block : blocks)
		free(block);
	if (!child)
		_exit(0);
	if (waitpid(child, &status, 0) != child || status)
		_exit(97);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)();
	} scenes[] = {
		{"double", double_free},
		{"double-small", double_small},
		{"double-fast", double_fast},
		{"double-in-thread", double_in_thread},
		{"double-realloc", double_realloc},
		{"interior", interior},
		{"interior-realloc", interior_realloc},
		{"stack", stack},
		{"other-stack", other_stack},
		{"data", data},
		{"bss", bss},
		{"text", text},
		{"code", code},
		{"mapped", mapped},
		{"file", file},
		{"unmapped", unmapped},
		{"wild", wild},
		{"own-heap", own_heap},
		{"stack-realloc", stack_realloc},
		{"data-reallocarray", data_reallocarray},
		{"malloc-delete", malloc_delete},
		{"new-free", new_free},
		{"array-delete", array_delete},
		{"new-array-delete", new_array_delete},
		{"aligned-delete", aligned_delete},
		{"new-realloc", new_realloc},
		{"size-near", size_near},
		{"size-far", size_far},
		{"size-huge", size_huge},
		{"size-c", size_c},
		{"size-aligned-c", size_aligned_c},
		{"repeated", repeated},
		{"innocent", innocent},
		{"no-break", no_break},
		{"unseen", unseen},
		{"inherited", inherited},
	};

	for (const auto &scene : scenes)
		if (argc == 2 && strcmp(argv[1], scene.name) == 0) {
			scene.run();
			return 0;
		}
	return 99;
}

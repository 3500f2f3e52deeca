/* SPDX-License-Identifier: MIT */
/*
 * Libraries that come and go: test-plugins HOW ONE TWO TIMES
 *
 * HOW is `turns` (one, then two, and so on), `reload` (one, again and again), `threads` (two
 * threads each reload a library of their own, and two allocate all the while), `deep` (one,
 * RTLD_DEEPBIND) or `space` (one, in a namespace of its own). Blocks of library one have 64001
 * bytes, of two 64002, the program's own 64003. Prints how often a library lay where another one
 * had lain.
 */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct library {
	const char *path, *name;
	size_t size;
	int mode;
	unsigned times;
};

static _Atomic unsigned n_same;
static _Atomic uintptr_t last_base;
static _Atomic int n_loading;

static void *symbol(void *handle, const struct library *library, const char *what)
{
	char name[64];
	void *found;

	snprintf(name, sizeof(name), "%s_%s", library->name, what);
	found = dlsym(handle, name);
	if (!found) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	return found;
}

__attribute__((noinline)) static void use(const struct library *library, void *handle)
{
	void *(*allocate)(size_t);
	void (*release)(void *);

	*(void **)&allocate = symbol(handle, library, "allocate");
	*(void **)&release = symbol(handle, library, "release");
	release(allocate(library->size));
	free(allocate(library->size));

	void *own = malloc(64003);

	memset(own, 1, 64003);
	release(own);
}

__attribute__((noinline)) static void turn(const struct library *library)
{
	void *handle = library->mode < 0 ? dlmopen(LM_ID_NEWLM, library->path, RTLD_NOW)
					 : dlopen(library->path, RTLD_NOW | library->mode);
	struct link_map *map;

	if (!handle) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	dlinfo(handle, RTLD_DI_LINKMAP, &map);
	if (atomic_exchange(&last_base, map->l_addr) == map->l_addr)
		atomic_fetch_add(&n_same, 1);
	if (library->mode < 0) {
		/* Another libc: its blocks are its own. */
		void *(*allocate)(size_t);
		void (*release)(void *);

		*(void **)&allocate = symbol(handle, library, "allocate");
		*(void **)&release = symbol(handle, library, "release");
		release(allocate(library->size));
		free(malloc(64003));
	} else {
		use(library, handle);
	}
	dlclose(handle);
}

static void *reload(void *argument)
{
	const struct library *library = argument;

	for (unsigned i = 0; i < library->times; i++)
		turn(library);
	atomic_fetch_sub(&n_loading, 1);
	return NULL;
}

static void *allocate_on(void *unused)
{
	while (atomic_load(&n_loading)) {
		void *block = malloc(64003);

		memset(block, 1, 8);
		free(block);
	}
	return unused;
}

int main(int argc, char **argv)
{
	struct library one = {.name = "one", .size = 64001, .mode = RTLD_LOCAL};
	struct library two = {.name = "two", .size = 64002, .mode = RTLD_LOCAL};
	pthread_t threads[4];

	if (argc < 5)
		return 2;
	one.path = argv[2];
	two.path = argv[3];
	one.times = two.times = (unsigned)atoi(argv[4]);
	if (strcmp(argv[1], "threads") == 0) {
		n_loading = 2;
		pthread_create(&threads[0], NULL, reload, &one);
		pthread_create(&threads[1], NULL, reload, &two);
		pthread_create(&threads[2], NULL, allocate_on, NULL);
		pthread_create(&threads[3], NULL, allocate_on, NULL);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
	} else {
		if (strcmp(argv[1], "deep") == 0)
			one.mode |= RTLD_DEEPBIND;
		if (strcmp(argv[1], "space") == 0)
			one.mode = -1;
		for (unsigned i = 0; i < one.times; i++)
			turn(strcmp(argv[1], "turns") == 0 && i % 2 ? &two : &one);
	}
	printf("%u\n", atomic_load(&n_same));
	return 0;
}

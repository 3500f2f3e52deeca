/* SPDX-License-Identifier: MIT */
/*
 * Heaps of several kinds, and what malloc_trim() really returns of them
 *
 *	layouts arenas|realloc|large|churn|one_arena [b]
 *
 * Each makes a heap, frees most of it, waits until the recording has a sample of its pages, and
 *trims. Prints how many resident pages that returned, of all writable anonymous mappings, by the
 *process's own page table. With `b` the blocks of site_b are freed as well before the trim.
 *Survivors stay.
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096, THREADS = 8, BLOCKS = 30000 };

static int with_b;
static pthread_barrier_t barrier;

struct worker {
	uint64_t state;
	char *blocks[BLOCKS];
	char sites[BLOCKS];
};

static unsigned below(struct worker *w, unsigned n)
{
	w->state ^= w->state << 13;
	w->state ^= w->state >> 7;
	w->state ^= w->state << 17;
	return (unsigned)(w->state % n);
}

__attribute__((noinline)) static char *site_a(size_t size)
{
	char *block = malloc(size);

	memset(block, 1, size);
	return block;
}

__attribute__((noinline)) static char *site_b(size_t size)
{
	char *block = malloc(size);

	memset(block, 2, size);
	return block;
}

__attribute__((noinline)) static char *site_c(size_t size)
{
	char *block = malloc(size);

	memset(block, 3, size);
	return block;
}

static void free_all(struct worker *w, char site)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		if (w->sites[i] == site) {
			free(w->blocks[i]);
			w->sites[i] = 0;
		}
}

/* Runs of blocks that stay, between such that go; the last one stays. */
static void fill(struct worker *w, unsigned most)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		unsigned run = i / 500 % 8;

		w->sites[i] = i == BLOCKS - 1 ? 'c' : run == 3 ? 'b' : run == 6 ? 'c' : 'a';
		if (w->sites[i] == 'a' && below(w, 200) == 0)
			w->sites[i] = 'c';
		w->blocks[i] = w->sites[i] == 'a'   ? site_a(16 + below(w, most))
			       : w->sites[i] == 'b' ? site_b(48 + below(w, 200))
						    : site_c(16 + below(w, 500));
	}
	free_all(w, 'a');
	if (with_b)
		free_all(w, 'b');
}

static void *arena_worker(void *arg)
{
	fill(arg, 700);
	pthread_barrier_wait(&barrier); /* all is freed */
	pthread_barrier_wait(&barrier); /* all is said */
	return NULL;
}

/* Blocks that grow, some to the end, through sizes that leave holes. */
static void fill_realloc(struct worker *w)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		w->sites[i] = i % 9 ? 'a' : 'c';
		w->blocks[i] = w->sites[i] == 'a' ? site_a(24) : site_c(24);
	}
	for (unsigned round = 0; round < 6; round++)
		for (unsigned i = 0; i < BLOCKS; i += 1 + below(w, 5)) {
			size_t size = 24 + below(w, 200u << round);

			w->blocks[i] = realloc(w->blocks[i], size);
			memset(w->blocks[i], 4, size);
		}
	w->blocks[BLOCKS - 1] = realloc(w->blocks[BLOCKS - 1], 9000);
	w->sites[BLOCKS - 1] = 'c';
	free_all(w, 'a');
}

/* Blocks around M_MMAP_THRESHOLD; its rise brings later ones into the heap. */
static void fill_large(struct worker *w)
{
	for (unsigned i = 0; i < 400; i++) {
		w->sites[i] = i % 5 ? 'a' : 'c';
		w->blocks[i] = w->sites[i] == 'a' ? site_a(20000 + below(w, 400000))
						  : site_c(100 + below(w, 3000));
		if (i % 7 == 0 && w->sites[i] == 'a') {
			free(w->blocks[i]);
			w->sites[i] = 0;
		}
	}
	free_all(w, 'a');
}

/* A working set that turns over many times before most of it goes. */
static void fill_churn(struct worker *w)
{
	for (unsigned i = 0; i < 20 * BLOCKS; i++) {
		unsigned k = below(w, BLOCKS);

		if (w->sites[k])
			free(w->blocks[k]);
		w->sites[k] = below(w, 30) ? 'a' : 'c';
		w->blocks[k] = w->sites[k] == 'a' ? site_a(16 + below(w, 900))
						  : site_c(16 + below(w, 900));
	}
	free_all(w, 'a');
}

/* Resident pages of all writable private mappings without a file. */
static long resident(void)
{
	static char line[1024];
	static uint64_t entries[512];
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	static char text[1 << 20];
	int maps = open("/proc/self/maps", O_RDONLY);
	size_t n = 0;
	ssize_t got;
	long pages = 0;

	if (pagemap < 0 || maps < 0)
		_exit(77);
	while ((got = read(maps, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	close(maps);
	for (char *at = text; at < text + n;) {
		char *end = memchr(at, '\n', (size_t)(text + n - at));
		unsigned long from, to, inode;
		char perms[5], path[200] = "";

		snprintf(line, sizeof(line), "%.*s", (int)(end - at), at);
		at = end + 1;
		if (sscanf(line, "%lx-%lx %4s %*x %*s %lu %199s", &from, &to, perms, &inode, path) <
			    4 ||
		    inode || strncmp(perms, "rw", 2) || (path[0] && strcmp(path, "[heap]")))
			continue;
		for (uint64_t page = from / PAGE; page < to / PAGE; page += (uint64_t)got / 8) {
			size_t want = to / PAGE - page < 512 ? to / PAGE - page : 512;

			got = pread(pagemap, entries, want * 8, (off_t)(page * 8));
			if (got <= 0)
				_exit(77);
			for (ssize_t i = 0; i < got / 8; i++)
				pages += (long)(entries[i] >> 63);
		}
	}
	close(pagemap);
	return pages;
}

int main(int argc, char **argv)
{
	static struct worker workers[THREADS];
	static char output[256];
	pthread_t threads[THREADS];
	int arenas = argc > 1 && strcmp(argv[1], "arenas") == 0;

	if (argc < 2)
		return 2;
	with_b = argc > 2;
	setvbuf(stdout, output, _IOFBF, sizeof(output)); /* no block after the last free */
	for (unsigned i = 0; i < THREADS; i++)
		workers[i].state = UINT64_C(88172645463325252) + i * 7919;
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	if (strcmp(argv[1], "one_arena") == 0)
		mallopt(M_ARENA_MAX, 1);
	if (arenas || strcmp(argv[1], "one_arena") == 0) {
		arenas = 1;
		for (unsigned i = 0; i < THREADS; i++)
			pthread_create(&threads[i], NULL, arena_worker, &workers[i]);
		pthread_barrier_wait(&barrier);
	} else if (strcmp(argv[1], "realloc") == 0) {
		fill_realloc(workers);
	} else if (strcmp(argv[1], "large") == 0) {
		fill_large(workers);
	} else if (strcmp(argv[1], "churn") == 0) {
		fill_churn(workers);
	} else {
		return 2;
	}
	/* Longer than the samples are apart by now. */
	usleep(2200000);

	long before = resident();

	malloc_trim(0);
	printf("%ld\n", before - resident());
	fflush(stdout);
	_exit(0); /* nothing is torn down */
}

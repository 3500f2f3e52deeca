/* SPDX-License-Identifier: MIT */
/*
 * Blocks of many sizes that come and go, on jemalloc, and what it says of its slabs in the end
 *
 *	slabs
 *
 * To be run with libjemalloc in LD_PRELOAD and MALLOC_CONF=tcache:false, so that what is allocated
 * to jemalloc is what the program holds. Prints "SIZE SLAB_BYTES BLOCKS SLABS", a line a class.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 40000, ROUNDS = 300000 };

typedef int mallctl_fn(const char *name, void *old, size_t *old_len, void *new, size_t new_len);

static uint64_t state = 88172645463325252u;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static size_t read_size(mallctl_fn *ctl, const char *format, unsigned i, size_t width)
{
	char name[64];
	uint64_t value = 0;

	snprintf(name, sizeof(name), format, i);
	if (ctl(name, &value, &width, NULL, 0) != 0) {
		fprintf(stderr, "slabs: no %s\n", name);
		_exit(1);
	}
	return value;
}

int main(void)
{
	static void *blocks[BLOCKS];
	mallctl_fn *ctl = (mallctl_fn *)dlsym(RTLD_DEFAULT, "mallctl");
	uint64_t epoch = 1;
	size_t len = sizeof(epoch);
	char text[16384];
	size_t used = 0;

	if (!ctl) {
		fputs("slabs: this is not jemalloc\n", stderr);
		return 77;
	}
	for (int i = 0; i < ROUNDS; i++) {
		unsigned at = next() % BLOCKS;

		free(blocks[at]);
		/* Fewer and fewer are there. */
		blocks[at] = NULL;
		if (next() % (2 * ROUNDS) > (unsigned)i)
			blocks[at] = malloc(1 + next() % (next() % 8 ? 300 : 14000));
	}
	/* No call of malloc from here on. */
	ctl("epoch", &epoch, &len, &epoch, sizeof(epoch));
	for (unsigned i = 0; i < read_size(ctl, "arenas.nbins", 0, sizeof(unsigned)); i++)
		used += (size_t)snprintf(
			text + used, sizeof(text) - used, "%zu %zu %zu %zu\n",
			read_size(ctl, "arenas.bin.%u.size", i, sizeof(size_t)),
			read_size(ctl, "arenas.bin.%u.slab_size", i, sizeof(size_t)),
			/* 4096: all arenas together */
			read_size(ctl, "stats.arenas.4096.bins.%u.curregs", i, sizeof(size_t)),
			read_size(ctl, "stats.arenas.4096.bins.%u.curslabs", i, sizeof(size_t)));
	if (write(1, text, used) != (ssize_t)used)
		_exit(1);
	_exit(0);
}
